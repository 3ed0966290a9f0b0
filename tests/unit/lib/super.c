/* Super-packets of the tests' own making; see super.h. */
#include "super.h"

size_t super_headers(const struct super_spec *s)
{
    return (s->version == 4 ? 20u : 40u) + (s->proto == IP_PROTO_TCP ? 20u + s->options : 8u);
}

static void put_ip(uint8_t *p, const struct super_spec *s, size_t len)
{
    if (s->version == 6) {
        store_be32(p, 6u << 28 | (uint32_t)s->tos << 20 | 0x12345);
        store_be16(p + 4, (uint16_t)(len - 40));
        p[6] = s->proto;
        p[7] = s->ttl;
        struct addr src = ip("2001:db8:9:9::1"), dst = ip("2001:db8:2::5");
        memcpy(p + 8, src.b, 16);
        memcpy(p + 24, dst.b, 16);
        return;
    }
    p[0] = 0x45;
    p[1] = s->tos;
    store_be16(p + 2, (uint16_t)len);
    store_be16(p + 4, s->id);
    store_be16(p + 6, s->df ? 0x4000 : 0);
    p[8] = s->ttl;
    p[9] = s->proto;
    store_be32(p + 12, 0x0a090001);
    store_be32(p + 16, 0x0a020005);
    ip4_finish(p);
}

static uint8_t octet(uint32_t i)
{
    return (uint8_t)(i * 7 + (i >> 8) * 13 + 1);
}

struct pkt *super_make(struct world *w, const struct super_spec *s, bool whole)
{
    size_t headers = super_headers(s), l4 = s->version == 4 ? 20 : 40, len = headers + s->payload;
    bool tcp = s->proto == IP_PROTO_TCP;
    struct pkt *p = pkt_get(w->pool, len > PKT_SMALL);
    assert_non_null(p);
    assert_true(len <= 65535);
    memset(p->data, 0, headers);
    put_ip(p->data, s, len);
    uint8_t *t = p->data + l4;
    store_be16(t, s->sport);
    store_be16(t + 2, 443);
    if (tcp) {
        store_be32(t + 4, s->seq);
        store_be32(t + 8, 0x87654321);
        t[12] = (uint8_t)((20 + s->options) / 4 << 4);
        t[13] = s->flags;
        store_be16(t + 14, 0x1234);
        for (uint8_t i = 0; i < s->options; i++)
            t[20 + i] = i < 2 ? 1 : (uint8_t)(i + 7); /* the datapath does not look */
    } else
        store_be16(t + 4, (uint16_t)(len - l4));
    for (uint32_t i = 0; i < s->payload; i++)
        p->data[headers + i] = octet(i);
    uint16_t at = tcp ? 16 : 6;
    p->len = (uint32_t)len;
    p->from = PKT_FROM_TUN;
    p->account = ACCOUNT;
    if (whole) {
        store_be16(t + at, inet_checksum_pseudo(span_of(p->data, len), l4, s->proto));
        return p;
    }
    uint8_t zeros[65536] = {0}; /* the pseudo-header's sum alone: over a payload of zeros, not inverted */
    memcpy(zeros, p->data, l4);
    store_be16(t + at, (uint16_t)~inet_checksum_pseudo(span_of(zeros, len), l4, s->proto));
    p->offload = (struct pkt_offload){.gso = (uint8_t)(!tcp              ? PKT_GSO_UDP
                                                       : s->version == 4 ? PKT_GSO_TCP4
                                                                         : PKT_GSO_TCP6),
                                      .needs_csum = true,
                                      .gso_size = s->size,
                                      .hdr_len = (uint16_t)headers,
                                      .csum_start = (uint16_t)l4,
                                      .csum_offset = at};
    return p;
}

struct span super_flat(const struct pkt *p)
{
    uint8_t *flat = malloc(65536 + 4096);
    size_t n = 0;
    assert_non_null(flat);
    for (; p; p = p->more) {
        assert_true(n + p->len <= 65535);
        memcpy(flat + n, p->data, p->len);
        n += p->len;
    }
    return span_of(flat, n);
}

void super_check_segment(const struct super_spec *s, size_t k, struct span g)
{
    size_t headers = super_headers(s), l4 = s->version == 4 ? 20 : 40;
    uint32_t from = (uint32_t)k * s->size, n = s->payload - from < s->size ? s->payload - from : s->size;
    bool tcp = s->proto == IP_PROTO_TCP, last = from + n == s->payload;
    assert_int_equal(g.n, headers + n);
    const uint8_t *t = g.p + l4;
    if (s->version == 4) {
        assert_true(ip4_header_ok(g));
        assert_int_equal(be16(g.p + 4), (uint16_t)(s->id + k));
        assert_int_equal(be16(g.p + 6), s->df ? 0x4000 : 0);
        assert_int_equal(g.p[1], s->tos);
        assert_int_equal(g.p[8], s->ttl);
    } else {
        assert_int_equal(be32(g.p), 6u << 28 | (uint32_t)s->tos << 20 | 0x12345);
        assert_int_equal(be16(g.p + 4), g.n - 40);
        assert_int_equal(g.p[7], s->ttl);
    }
    assert_int_equal(be16(t), s->sport);
    assert_int_equal(be16(t + 2), 443);
    if (tcp) {
        uint8_t flags = (uint8_t)(s->flags & (last ? 0xff : ~(FIN | PSH)) & (k == 0 ? 0xff : ~CWR));
        assert_int_equal(be32(t + 4), s->seq + from);
        assert_int_equal(be32(t + 8), 0x87654321);
        assert_int_equal(t[13], flags);
        assert_int_equal(be16(t + 14), 0x1234);
        for (uint8_t i = 0; i < s->options; i++)
            assert_int_equal(t[20 + i], i < 2 ? 1 : i + 7);
    } else {
        assert_int_equal(be16(t + 4), g.n - l4);
        assert_true(be16(t + 6) != 0);
    }
    assert_int_equal(inet_checksum_pseudo(g, l4, s->proto), 0);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(g.p[headers + i], octet(from + i));
}
