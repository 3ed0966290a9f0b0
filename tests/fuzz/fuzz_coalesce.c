/* A batch of inner packets out of a GRE tunnel, put together again: a super-packet's pieces still have their own headers in front of them,
 * and these must be what the cutter would write.
 *
 * Input: packets, each a flag and a part. Flag 1: checksums are made right; flag 2: the addresses are those of the tunnel. */
#include "lib/core.h"
#include "lib/fuzz.h"

#include "adit/wire_ip.h"

#define PACKETS_MAX 32

static void mend(uint8_t *p, size_t n, uint8_t flags)
{
    struct ip_view ip = {0};
    if (n >= IP4_HEADER && p[0] >> 4 == 4 && flags & 2) {
        store_be32(p + IP4_SRC, 0x0a000001);
        store_be32(p + IP4_DST, 0xac100009);
    }
    if (!(flags & 1) || wire_ip_parse(p, n, &ip) != RC_OK)
        return;
    if (ip.version == 4) {
        store_be16(p + 10, 0);
        store_be16(p + 10, wire_checksum(p, ip.payload));
    }
    size_t at = ip.payload + (ip.proto == IP_PROTO_TCP ? 16u : 6u);
    if ((ip.proto != IP_PROTO_TCP && ip.proto != IP_PROTO_UDP) || ip.later || at + 2 > ip.len)
        return;
    struct addr src = wire_ip_src(p), dst = wire_ip_dst(p);
    uint32_t l4 = ip.len - ip.payload;
    store_be16(p + at, 0);
    uint16_t sum = (uint16_t)~wire_sum(p + ip.payload, l4, wire_sum_pseudo(&src, &dst, ip.proto, l4));
    store_be16(p + at, sum ? sum : 0xffff);
}

static void check_super(const struct pkt *p)
{
    const struct pkt_offload *o = &p->offload;
    struct ip_view ip = {0};
    uint32_t total = 0, at = 0, pieces = 0;
    for (const struct pkt *q = p; q; q = q->more)
        total += q->len;
    struct span flat = span_of(p->data, p->len);
    assert_true(flat.n >= o->hdr_len && o->needs_csum && o->gso_size > 0);
    uint8_t head[UINT16_MAX] = {0}; /* only its headers are looked at, but as long as it says it is */
    memcpy(head, p->data, o->hdr_len);
    OK(wire_ip_parse(head, total, &ip));
    assert_int_equal(ip.len, total);
    assert_int_equal(o->csum_start, ip.payload);
    for (const struct pkt *q = p; q; q = q->more, pieces++) {
        uint32_t n = q == p ? q->len - o->hdr_len : q->len;
        assert_true(n == o->gso_size || (!q->more && n > 0 && n < o->gso_size));
        const uint8_t *own = q == p ? q->data : q->data - o->hdr_len;
        if (ip.proto == IP_PROTO_TCP)
            assert_int_equal(load_be32(own + ip.payload + 4), (uint32_t)(load_be32(head + ip.payload + 4) + at));
        assert_memory_equal(own + ip.payload, head + ip.payload, 4); /* ports */
        at += n;
    }
    assert_in_range(pieces, 2, PKT_SUPER_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core c;
    struct rd r = rd_of(span_of(data, n));
    struct path path = core_path(PKT_FROM_GRE, "192.0.2.3");
    struct span gre[PACKETS_MAX];
    size_t k = 0, pieces = 0;
    while (k < PACKETS_MAX && rd_left(&r)) {
        uint8_t flags = rd_u8(&r);
        struct span inner = fuzz_part(&r, PKT_SMALL - 4);
        uint8_t *p = malloc(4 + inner.n);
        if (!p)
            abort();
        if (inner.n)
            memcpy(p + 4, inner.p, inner.n);
        mend(p + 4, inner.n, flags);
        store_be16(p, 0);
        store_be16(p + 2, inner.n && p[4] >> 4 == 6 ? GRE_PROTO_IPV6 : GRE_PROTO_IPV4);
        gre[k++] = span_of(p, 4 + inner.n);
        exact_free(inner);
    }
    core_open(&c, false);
    dp_coalesce(c.dp, DP_COALESCE_TCP | DP_COALESCE_UDP);
    core_packets(&c, PKT_FROM_GRE, &path, gre, k);
    for (size_t i = 0; i < c.n_out; i++) {
        const struct pkt *p = c.out[i];
        if (p->offload.gso != PKT_GSO_NONE)
            check_super(p);
        else
            assert_null(p->more);
        for (pieces++; p->more; p = p->more)
            pieces++;
    }
    assert_int_equal(pieces, k); /* none is lost */
    core_done(&c);
    for (size_t i = 0; i < k; i++)
        exact_free(gre[i]);
    core_close(&c);
    return 0;
}
