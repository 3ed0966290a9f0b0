/* ICMP "fragmentation needed" (RFC 792, RFC 1191) and ICMPv6 "packet too big" (RFC 4443 3.2): made, and read. */
#include "adit/wire_ip.h"

enum {
    ICMP4_UNREACHABLE = 3,
    ICMP4_FRAGMENTATION_NEEDED = 4, /* the code */
    ICMP6_PACKET_TOO_BIG = 2,
    ICMP6_REDIRECT = 137,
    ICMP_HEADER = 8,
    ICMP_TTL = 64,
};

void wire_icmp_too_big(struct wr *w, const struct addr *src, uint16_t mtu, struct span original)
{
    bool v6 = src->family == 6;
    size_t header = (v6 ? IP6_HEADER : IP4_HEADER) + ICMP_HEADER;
    size_t room = (v6 ? ICMP6_TOO_BIG_MAX : ICMP4_TOO_BIG_MAX) - header;
    struct span quote = span_of(original.p, original.n < room ? original.n : room);
    struct ip_fields ip = {
        .src = *src,
        .dst = wire_ip_src(original.p),
        .proto = v6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP,
        .ttl = ICMP_TTL,
        .df = true, /* so that an id of 0 is right: an atomic datagram, RFC 6864 4.1 */
        .payload_len = (uint32_t)(ICMP_HEADER + quote.n),
    };
    wire_ip_write(w, &ip);
    size_t at = wr_len(w);
    wr_u8(w, v6 ? ICMP6_PACKET_TOO_BIG : ICMP4_UNREACHABLE);
    wr_u8(w, v6 ? 0 : ICMP4_FRAGMENTATION_NEEDED);
    wr_u16(w, 0);
    wr_u32(w, mtu); /* RFC 1191 4: the lower half, the upper unused; RFC 4443: 32 bits */
    wr_bytes(w, quote);
    if (w->failed)
        return;
    uint16_t start = v6 ? wire_sum_pseudo(&ip.src, &ip.dst, IP_PROTO_ICMP6, ip.payload_len) : 0;
    wr_patch_u16(w, at + 2, (uint16_t)~wire_sum(w->start + at, wr_len(w) - at, start));
}

bool wire_icmp_may_answer(const uint8_t *p, const struct ip_view *ip)
{
    struct addr src = wire_ip_src(p);
    /* RFC 1122 3.2.2, RFC 4443 2.4 (e.6): not to a broadcast, multicast or loopback address. A link-local source is fine: tunnels
     * are numbered from 169.254/16. */
    bool link_local4 = src.family == 4 && src.b[0] == 169 && src.b[1] == 254;
    if (addr_is_local_scope(&src) && !link_local4)
        return false;
    /* Not for a fragment other than the first, nor about multicast. In IPv6 "packet too big" is free from both rules: 3.2, 2.4 (e.3). */
    if (ip->version == 4 && (ip->later || p[IP4_DST] >= 224))
        return false;
    if (ip->proto != (ip->version == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMP6) || ip->later)
        return true;
    if (ip->payload >= ip->len)
        return false;
    /* Never an error about an error: IPv4's queries are echo, timestamp, information and mask; ICMPv6's errors are < 128. */
    uint8_t type = p[ip->payload];
    if (ip->version == 6)
        return type >= 128 && type != ICMP6_REDIRECT;
    return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

enum rc wire_icmp_too_big_read(uint8_t family, struct span p, struct icmp_too_big *ret)
{
    struct rd r = rd_of(p);
    uint8_t type = rd_u8(&r), code = rd_u8(&r);
    rd_u16(&r); /* checksum */
    uint32_t mtu = rd_u32(&r);
    if (r.failed)
        return RC_SHORT;
    if (family == 4 ? type != ICMP4_UNREACHABLE || code != ICMP4_FRAGMENTATION_NEEDED : type != ICMP6_PACKET_TOO_BIG)
        return RC_ABSENT;
    if (family == 4 && wire_sum(p.p, p.n, 0) != 0xffff)
        return RC_AUTH;

    /* The quoted packet is cut off somewhere: only its header is held to its word. */
    size_t header = family == 4 ? IP4_HEADER : IP6_HEADER;
    if (rd_left(&r) < header)
        return RC_SHORT;
    const uint8_t *q = r.at;
    if (q[0] >> 4 != family)
        return RC_SYNTAX;
    if (family == 4)
        header = (q[0] & 15u) * 4;
    if (header < (family == 4 ? IP4_HEADER : IP6_HEADER) || rd_left(&r) < header + 8)
        return RC_SHORT;
    rd_take(&r, header);
    *ret = (struct icmp_too_big){
        .mtu = family == 4 ? mtu & 0xffff : mtu,
        .src = wire_ip_src(q),
        .dst = wire_ip_dst(q),
        .proto = family == 4 ? q[9] : q[6],
        .payload = rd_rest(&r),
    };
    return RC_OK;
}
