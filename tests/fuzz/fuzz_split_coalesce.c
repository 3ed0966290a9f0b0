/* Packets of one batch put together for the TUN and cut again: what comes back is what comes without any of that, octet for octet, and in
 * the order of each flow.
 *
 * Input: what is put together (1: TCP, 2: UDP), then packets; each: how (1: IPv6, 2: UDP, 4, 8: which flow, 16: not the next of it, 32:
 * PSH, 64: bent, 128: with the checksums as they are), its payload in units of five octets, and one; when bent: where (16 bits), by what. */
#include "lib/core.h"
#include "lib/fuzz.h"

#include "unit/lib/inet.h"
#include "unit/lib/super.h"

#define SEGMENTS_MAX 512
#define GRE_LEN 4

struct flow {
    uint32_t seq;
    uint16_t id;
};
struct segments { /* each in an allocation of its own */
    struct span v[SEGMENTS_MAX];
    size_t n;
};

/* ---- packets in */

static void write_ip(struct wr *w, bool v6, uint8_t proto, uint16_t id, uint16_t payload)
{
    struct ip_fields f = {.src = ip(v6 ? "2001:db8:1::1" : "10.1.0.1"),
                          .dst = ip(v6 ? "2001:db8:6::9" : "172.16.0.9"),
                          .proto = proto,
                          .ttl = 64,
                          .df = id & 0x8000,
                          .id = id,
                          .payload_len = payload};
    wire_ip_write(w, &f);
}

static void mend(uint8_t *p, size_t n, bool v6, bool udp)
{
    size_t l4 = v6 ? IP6_HEADER : IP4_HEADER, at = l4 + (udp ? 6 : 16);
    store_be16(p + at, 0);
    store_be16(p + at, inet_checksum_pseudo(span_of(p, n), l4, udp ? IP_PROTO_UDP : IP_PROTO_TCP));
    if (!v6)
        ip4_finish(p);
}

/* GRE and what is inside. */
static struct span next_packet(struct rd *r, struct flow flows[16])
{
    uint8_t room[2048], how = rd_u8(r);
    bool v6 = how & 1, udp = how & 2;
    struct flow *f = &flows[how & 15];
    uint16_t payload = (uint16_t)(rd_u8(r) * 5 + 1), header = udp ? UDP_HEADER : TCP_HEADER;
    struct wr w = wr_of(room, sizeof room);
    if (how & 16) {
        f->seq += 1000;
        f->id = (uint16_t)(f->id + 7 + (how & 32 ? 0x8000 : 0));
    }
    wr_u32(&w, v6 ? GRE_PROTO_IPV6 : GRE_PROTO_IPV4);
    write_ip(&w, v6, udp ? IP_PROTO_UDP : IP_PROTO_TCP, f->id++, (uint16_t)(header + payload));
    wr_u16(&w, (uint16_t)(1000 + (how >> 2 & 3)));
    wr_u16(&w, 80);
    if (udp) {
        wr_u16(&w, (uint16_t)(header + payload));
        wr_u16(&w, 0);
    } else {
        wr_u32(&w, f->seq);
        wr_u32(&w, 1);
        wr_u16(&w, (uint16_t)(0x5000 | ACK | (how & 32 ? PSH : 0)));
        wr_u16(&w, 1024);
        wr_u32(&w, 0);
    }
    for (uint16_t i = 0; i < payload; i++)
        wr_u8(&w, (uint8_t)(f->seq + i));
    f->seq += payload;
    size_t n = wr_len(&w) - GRE_LEN;
    if (how & 64) {
        size_t at = rd_u16(r) % n, dst = v6 ? IP6_DST : IP4_DST;
        uint8_t by = rd_u8(r);
        if (at < dst || at >= (v6 ? IP6_HEADER : IP4_HEADER)) /* or another route would be taken */
            room[GRE_LEN + at] ^= by;
    }
    if (!(how & 128))
        mend(room + GRE_LEN, n, v6, udp);
    return exact_copy(wr_span(&w));
}

/* ---- packets out */

static void keep(struct segments *s, struct span packet)
{
    assert_in_range(s->n, 0, SEGMENTS_MAX - 1);
    s->v[s->n++] = packet;
}

static void cut(struct segments *s, struct core *other, const struct pkt *p, struct span flat)
{
    assert_true(core_super(other, flat, &p->offload));
    for (size_t i = 0; i < other->n_out; i++) {
        const struct pkt *out = other->out[i];
        assert_int_equal(out->verdict, PKT_TO_GRE);
        keep(s, exact_copy(span_of(out->data + GRE_LEN, out->len - GRE_LEN)));
    }
    core_done(other);
}

/* What of c is for the TUN, as segments; other cuts. */
static void collect(struct segments *s, struct core *c, struct core *other)
{
    for (size_t i = 0; i < c->n_out; i++) {
        const struct pkt *p = c->out[i];
        if (p->verdict != PKT_TO_TUN)
            continue;
        struct span flat = super_flat(p);
        if (p->offload.gso == PKT_GSO_NONE) {
            assert_false(p->offload.needs_csum);
            keep(s, exact_copy(flat));
        } else if (other)
            cut(s, other, p, flat);
        else
            fail_msg("a super-packet that nobody asked for");
        exact_free(flat);
    }
}

/* Octet for octet; but what must not be fragmented needs no ID (RFC 6864 4.1), and a kernel numbers what it cuts. */
static bool alike(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;
    if (a.n < IP4_HEADER || a.p[0] >> 4 != 4 || !(a.p[6] & 0x40))
        return memcmp(a.p, b.p, a.n) == 0;
    return memcmp(a.p, b.p, 4) == 0 && memcmp(a.p + 6, b.p + 6, 4) == 0 && memcmp(a.p + 12, b.p + 12, a.n - 12) == 0 &&
           ip4_header_ok(a) == ip4_header_ok(b);
}

static bool one_flow(struct span a, struct span b)
{
    bool v6 = a.p[0] >> 4 == 6;
    size_t proto = v6 ? 6 : 9, from = v6 ? IP6_SRC : IP4_SRC, to = v6 ? IP6_HEADER + 4 : IP4_HEADER + 4;
    return a.p[0] == b.p[0] && a.n >= to && b.n >= to && a.p[proto] == b.p[proto] &&
           memcmp(a.p + from, b.p + from, to - from) == 0;
}

/* Each of `got` is one of `want`, none twice, none missing; those of a flow in the order they had. */
static void compare(const struct segments *got, const struct segments *want)
{
    size_t place[SEGMENTS_MAX];
    bool used[SEGMENTS_MAX] = {false};
    assert_int_equal(got->n, want->n);
    for (size_t i = 0; i < got->n; i++) {
        size_t k = 0;
        while (k < want->n && (used[k] || !alike(got->v[i], want->v[k])))
            k++;
        assert_in_range(k, 0, want->n - 1);
        used[k] = true;
        place[i] = k;
        for (size_t j = 0; j < i; j++)
            assert_true(place[j] < k || !one_flow(got->v[j], got->v[i]));
    }
}

static void forget(struct segments *s)
{
    while (s->n > 0)
        exact_free(s->v[--s->n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core joined, plain;
    struct rd r = rd_of(span_of(data, n));
    struct flow flows[16] = {{0}};
    struct span batch[PKT_BATCH];
    struct segments got = {.n = 0}, want = {.n = 0};
    struct path path = core_path(PKT_FROM_GRE, "192.0.2.3");
    uint8_t what = rd_u8(&r);
    size_t count = 0;
    while (count < PKT_BATCH && rd_left(&r))
        batch[count++] = next_packet(&r, flows);
    if (!count)
        return 0;
    core_open(&joined, false);
    core_open(&plain, false);
    dp_coalesce(joined.dp, what & (DP_COALESCE_TCP | DP_COALESCE_UDP));
    assert_true(core_packets(&plain, PKT_FROM_GRE, &path, batch, count));
    collect(&want, &plain, NULL);
    core_done(&plain);
    assert_true(core_packets(&joined, PKT_FROM_GRE, &path, batch, count));
    collect(&got, &joined, &plain);
    core_done(&joined);
    compare(&got, &want);
    forget(&got);
    forget(&want);
    while (count > 0)
        exact_free(batch[--count]);
    core_close(&joined);
    core_close(&plain);
    return 0;
}
