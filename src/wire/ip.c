/* IPv4 and IPv6 headers (RFC 791, RFC 8200), the Internet checksum (RFC 1071), IPv4 fragmentation (RFC 791 3.2). */
#include "adit/wire_ip.h"

/* The one's complement sum does not mind the byte order (RFC 1071 2 (B)), nor how the words are grouped: here numbers of eight octets,
 * two to a register on any x86-64 or ARM, whose halves are added up in lanes of their own so that no carry is lost. The result is
 * swapped once. */
typedef uint64_t lanes __attribute__((vector_size(16)));

static inline lanes load_lanes(const uint8_t *p)
{
    lanes v;
    memcpy(&v, p, sizeof v); /* lint: not wire bytes: a load, of a length the caller has checked */
    return v;
}

static inline void store_lanes(uint8_t *p, lanes v)
{
    memcpy(p, &v, sizeof v); /* lint: not wire bytes: a store, of a length the caller has checked */
}

static inline lanes halves(lanes v)
{
    return (v & UINT32_MAX) + (v >> 32);
}

#define LITTLE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

/* Fewer than 16 octets, as the machine's own numbers; an odd one at the end as if a zero followed. */
static inline uint64_t sum_rest(const uint8_t *p, size_t n)
{
    uint64_t s = 0;
    for (; n >= 4; p += 4, n -= 4) {
        uint32_t v;
        memcpy(&v, p, sizeof v); /* lint: not wire bytes: a load, of a length just checked */
        s += v;
    }
    if (n >= 2)
        s += LITTLE ? (uint32_t)(p[0] | p[1] << 8) : (uint32_t)(p[0] << 8 | p[1]);
    if (n % 2)
        s += LITTLE ? p[n - 1] : (uint32_t)p[n - 1] << 8;
    return s;
}

static inline uint16_t finish(lanes sum, const uint8_t *p, size_t n, uint16_t start)
{
    if (n >= sizeof sum) {
        sum += halves(load_lanes(p));
        p += sizeof sum;
        n -= sizeof sum;
    }
    uint64_t s = sum_rest(p, n) + (sum[0] & UINT32_MAX) + (sum[0] >> 32) + (sum[1] & UINT32_MAX) + (sum[1] >> 32);
    s = (s & 0xffff) + (s >> 16 & 0xffff) + (s >> 32);
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    if (LITTLE)
        s = (s >> 8 | s << 8) & 0xffff;
    uint32_t both = (uint32_t)s + start;
    return (uint16_t)((both & 0xffff) + (both >> 16));
}

uint16_t wire_sum(const uint8_t *p, size_t n, uint16_t start)
{
    lanes a = {0}, b = {0};
    for (; n >= 2 * sizeof a; p += 2 * sizeof a, n -= 2 * sizeof a) {
        a += halves(load_lanes(p));
        b += halves(load_lanes(p + sizeof a));
    }
    return finish(a + b, p, n, start);
}

uint16_t wire_sum_copy(uint8_t *to, const uint8_t *from, size_t n)
{
    lanes a = {0}, b = {0};
    for (; n >= 2 * sizeof a; to += 2 * sizeof a, from += 2 * sizeof a, n -= 2 * sizeof a) {
        lanes v = load_lanes(from), w = load_lanes(from + sizeof a);
        store_lanes(to, v);
        store_lanes(to + sizeof a, w);
        a += halves(v);
        b += halves(w);
    }
    for (size_t i = 0; i < n; i++)
        to[i] = from[i];
    return finish(a + b, from, n, 0);
}

uint16_t wire_sum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto, uint32_t len)
{
    uint8_t tail[8];
    store_be32(tail, len);
    store_be32(tail + 4, proto);
    return wire_sum(tail, sizeof tail, wire_sum(dst->b, addr_size(dst), wire_sum(src->b, addr_size(src), 0)));
}

/* ---- parsing ---------------------------------------------------------------------------------- */

#define EXTENSIONS_MAX 8 /* headers in a chain; what lies behind more stays unknown (docs/limits.md) */

/* Walk the extension headers (RFC 8200 4.1) from `at` on. A chain that ends early is no error here, since a router looks at it for
 * its own sake only: the packet then has no transport header we know of, as if it were a later fragment. AH is a next layer like ESP
 * (RFC 4301 4.4.1.1), and what it covers must not be changed. */
static void walk_extensions(const uint8_t *p, struct ip_view *ip)
{
    struct rd r = rd_of(span_of(p + IP6_HEADER, ip->len - IP6_HEADER));
    uint8_t next = p[6];
    for (int i = 0; i <= EXTENSIONS_MAX; i++) {
        ip->proto = next;
        ip->payload = (uint16_t)(IP6_HEADER + rd_offset(&r));
        if (next == IP_PROTO_FRAGMENT) {
            next = rd_u8(&r);
            rd_u8(&r);
            uint16_t offset = rd_u16(&r); /* offset 13 | reserved 2 | more 1 */
            rd_u32(&r);
            ip->fragment |= (offset & ~6) != 0;
            ip->later |= offset >> 3 != 0;
        } else if (next == IP_PROTO_HOPOPTS || next == IP_PROTO_ROUTING || next == IP_PROTO_DSTOPTS) {
            next = rd_u8(&r);
            rd_take(&r, rd_u8(&r) * 8u + 6);
        } else
            return;
        if (ip->later && !r.failed) {
            ip->proto = next;
            ip->payload = (uint16_t)(IP6_HEADER + rd_offset(&r));
            return;
        }
        if (r.failed)
            break;
    }
    ip->later = true;
}

enum rc wire_ip6_parse(const uint8_t *p, size_t n, struct ip_view *ret)
{
    if (n < IP6_HEADER)
        return RC_SHORT;
    if (p[0] >> 4 != 6)
        return RC_SYNTAX;
    struct ip_view ip = {
        .len = IP6_HEADER + (uint32_t)load_be16(p + 4), /* jumbograms (RFC 2675) do not exist here */
        .payload = IP6_HEADER,
        .version = 6,
        .proto = p[6],
        .tos = (uint8_t)(load_be16(p) >> 4),
        .ttl = p[7],
        .df = true,
    };
    if (ip.len > n)
        return RC_SHORT;
    if (ip.proto != IP_PROTO_TCP && ip.proto != IP_PROTO_UDP && ip.proto != IP_PROTO_ICMP6)
        walk_extensions(p, &ip);
    *ret = ip;
    return RC_OK;
}

struct addr wire_ip_src(const uint8_t *p)
{
    return p[0] >> 4 == 6 ? addr_of(6, p + IP6_SRC) : addr_of(4, p + IP4_SRC);
}

struct addr wire_ip_dst(const uint8_t *p)
{
    return p[0] >> 4 == 6 ? addr_of(6, p + IP6_DST) : addr_of(4, p + IP4_DST);
}

/* ---- writing ---------------------------------------------------------------------------------- */

void wire_ip_write(struct wr *w, const struct ip_fields *f)
{
    size_t start = wr_len(w);
    if (f->dst.family == 6) {
        wr_u32(w, 6u << 28 | (uint32_t)f->tos << 20);
        wr_u16(w, (uint16_t)f->payload_len);
        wr_u8(w, f->proto);
        wr_u8(w, f->ttl);
    } else {
        wr_u8(w, 0x45);
        wr_u8(w, f->tos);
        wr_u16(w, (uint16_t)(IP4_HEADER + f->payload_len));
        wr_u16(w, f->id);
        wr_u16(w, f->df ? 0x4000 : 0);
        wr_u8(w, f->ttl);
        wr_u8(w, f->proto);
        wr_u16(w, 0);
    }
    wr_bytes(w, span_of(f->src.b, addr_size(&f->dst)));
    wr_bytes(w, span_of(f->dst.b, addr_size(&f->dst)));
    if (f->dst.family == 4 && !w->failed)
        wr_patch_u16(w, start + 10, wire_checksum(w->start + start, IP4_HEADER));
}

/* ---- fragments -------------------------------------------------------------------------------- */

/* RFC 791 3.1: an option whose copied flag (0x80) is set goes into every fragment, the others into the first only. */
static void copy_options(struct wr *w, const uint8_t *p, const struct ip_view *ip)
{
    struct rd r = rd_of(span_of(p + IP4_HEADER, ip->payload - IP4_HEADER));
    size_t start = wr_len(w);
    while (rd_left(&r) > 0) {
        const uint8_t *option = r.at;
        uint8_t type = rd_u8(&r);
        if (type == 0)
            break;
        if (type == 1)
            continue;
        uint8_t len = rd_u8(&r);
        if (len < 2 || !rd_need(&r, len - 2u))
            break;
        rd_take(&r, len - 2u);
        if (type & 0x80)
            wr_bytes(w, span_of(option, len));
    }
    while ((wr_len(w) - start) % 4)
        wr_u8(w, 0);
}

static size_t later_header(const uint8_t *p, const struct ip_view *ip)
{
    uint8_t options[40];
    struct wr w = wr_of(options, sizeof options);
    copy_options(&w, p, ip);
    return IP4_HEADER + wr_len(&w);
}

/* Octets of payload in the first and in each later fragment: multiples of 8. */
static bool fragment_room(const uint8_t *p, const struct ip_view *ip, uint16_t mtu, size_t *ret_first,
                          size_t *ret_later)
{
    size_t later = later_header(p, ip);
    if (mtu < ip->payload + 8u || mtu < later + 8)
        return false;
    *ret_first = (mtu - ip->payload) & ~7u;
    *ret_later = (mtu - later) & ~(size_t)7;
    return true;
}

size_t wire_ip4_fragments(const uint8_t *p, const struct ip_view *ip, uint16_t mtu)
{
    size_t first, later, payload = ip->len - ip->payload;
    if (ip->version != 4 || ip->df || !fragment_room(p, ip, mtu, &first, &later))
        return 0;
    /* A part of a datagram that would end behind octet 65535: the offsets of its own parts would not hold in 13 bits. */
    if ((load_be16(p + 6) & 0x1fffu) * 8 + ip->len > UINT16_MAX)
        return 0;
    return payload <= first ? 1 : 1 + (payload - first + later - 1) / later;
}

static void header_finish(uint8_t *p, size_t header, size_t payload, uint16_t flags_offset)
{
    store_be16(p + 2, (uint16_t)(header + payload));
    store_be16(p + 6, flags_offset);
    store_be16(p + 10, 0);
    store_be16(p + 10, wire_checksum(p, header));
}

void wire_ip4_fragment(struct wr *w, const uint8_t *p, const struct ip_view *ip, uint16_t mtu, size_t k)
{
    size_t first, later, payload = ip->len - ip->payload, start = wr_len(w);
    if (!fragment_room(p, ip, mtu, &first, &later)) {
        w->failed = true;
        return;
    }
    size_t at = first + (k - 1) * later, n = payload - at < later ? payload - at : later;
    uint16_t was = load_be16(p + 6);
    bool more = at + n < payload || was & 0x2000;
    wr_bytes(w, span_of(p, IP4_HEADER));
    copy_options(w, p, ip);
    size_t header = wr_len(w) - start;
    wr_bytes(w, span_of(p + ip->payload + at, n));
    if (w->failed)
        return;
    w->start[start] = (uint8_t)(0x40 | header / 4);
    header_finish(w->start + start, header, n, (uint16_t)(((was & 0x1fff) + at / 8) | (more ? 0x2000 : 0)));
}

uint32_t wire_ip4_fragment_first(uint8_t *p, const struct ip_view *ip, uint16_t mtu)
{
    size_t first, later;
    if (!fragment_room(p, ip, mtu, &first, &later))
        return ip->len;
    header_finish(p, ip->payload, first, load_be16(p + 6) | 0x2000);
    return (uint32_t)(ip->payload + first);
}
