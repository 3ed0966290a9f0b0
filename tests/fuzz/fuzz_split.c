/* Super-packets from an account's TUN: whatever their header claims, what leaves are whole segments with right checksums, and their
 * payloads together are the super-packet's, as far as there were buffers.
 *
 * Input: offload fields (gso, flags, and four of 16 bits), the packet. Flag 1: checksum to be done; flag 2: the offsets are made right. */
#include "lib/core.h"
#include "lib/fuzz.h"

#include "adit/wire_ip.h"

static size_t headers_of(const uint8_t *p, const struct ip_view *ip)
{
    return ip->payload + (ip->proto == IP_PROTO_TCP ? (p[ip->payload + 12] >> 4) * 4u : 8u);
}

static void check_segment(const uint8_t *p, const struct ip_view *ip)
{
    struct addr src = wire_ip_src(p), dst = wire_ip_dst(p);
    uint32_t n = ip->len - ip->payload;
    assert_true(ip->proto == IP_PROTO_TCP || ip->proto == IP_PROTO_UDP);
    assert_int_equal(wire_sum(p + ip->payload, n, wire_sum_pseudo(&src, &dst, ip->proto, n)), 0xffff);
    if (ip->version == 4)
        assert_int_equal(wire_sum(p, (p[0] & 15u) * 4, 0), 0xffff);
}

static void check(const struct core *c, struct span whole, const struct pkt_offload *o)
{
    struct ip_view super = {0}, ip = {0};
    size_t at = 0;
    for (size_t i = 0; i < c->n_out; i++) {
        const struct pkt *p = c->out[i];
        if (p->verdict == PKT_DROP) {
            assert_in_range(p->reason, 1, DP_REASON_END - 1);
            continue;
        }
        if (p->verdict != PKT_TO_GRE || o->gso == PKT_GSO_NONE)
            continue;
        OK(wire_ip_parse(whole.p, whole.n, &super));
        OK(wire_ip_parse(p->data + 4, p->len - 4, &ip));
        assert_int_equal(ip.len, p->len - 4);
        if (ip.fragment) /* a segment that did not fit */
            return;
        check_segment(p->data + 4, &ip);
        size_t headers = headers_of(p->data + 4, &ip), n = ip.len - headers;
        assert_int_equal(headers, headers_of(whole.p, &super));
        assert_in_range(n, 1, o->gso_size);
        assert_true(headers + at + n <= super.len);
        assert_memory_equal(p->data + 4 + headers, whole.p + headers + at, n);
        at += n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core c;
    struct rd r = rd_of(span_of(data, n));
    struct pkt_offload o = {.gso = rd_u8(&r)};
    uint8_t flags = rd_u8(&r);
    o.needs_csum = flags & 1;
    o.gso_size = rd_u16(&r);
    o.hdr_len = rd_u16(&r);
    o.csum_start = rd_u16(&r);
    o.csum_offset = rd_u16(&r);
    struct span packet = fuzz_rest(&r);
    struct ip_view ip = {0};
    if (flags & 2 && wire_ip_parse(packet.p, packet.n, &ip) == RC_OK) {
        o.csum_start = ip.payload;
        o.csum_offset = ip.proto == IP_PROTO_TCP ? 16 : 6;
        o.hdr_len = 0;
    }
    core_open(&c, false);
    if (core_super(&c, packet, &o))
        check(&c, packet, &o);
    core_done(&c);
    exact_free(packet);
    core_close(&c);
    return 0;
}
