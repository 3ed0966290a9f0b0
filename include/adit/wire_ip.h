/* wire_ip: the codecs of the data plane: IPv4 and IPv6 headers, ICMP "too big", TCP's MSS option, GRE, ESP's trailer.
 * Pure functions over bytes. Fixed offsets of a header whose length was checked are read by load_be*(), which compilers turn
 * into one instruction; whatever has a variable shape is walked with the cursors of base.
 */
#ifndef ADIT_WIRE_IP_H
#define ADIT_WIRE_IP_H

#include "adit/base.h"

/* ---- fixed offsets --------------------------------------------------------------------------- */

static inline uint16_t load_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t load_be64(const uint8_t *p)
{
    return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}
static inline void store_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void store_be32(uint8_t *p, uint32_t v)
{
    store_be16(p, (uint16_t)(v >> 16));
    store_be16(p + 2, (uint16_t)v);
}
static inline void store_be64(uint8_t *p, uint64_t v)
{
    store_be32(p, (uint32_t)(v >> 32));
    store_be32(p + 4, (uint32_t)v);
}

/* ---- the Internet checksum (RFC 1071, RFC 1624) ------------------------------------------------ */

/* One's complement sum of p[0..n), folded to 16 bits and not inverted; `start` is the sum of what stands before, an even number
 * of octets. Over data with a right checksum in it the result is 0xffff. */
uint16_t wire_sum(const uint8_t *p, size_t n, uint16_t start);
/* The same of from[0..n), which is copied to `to` on the way. */
uint16_t wire_sum_copy(uint8_t *to, const uint8_t *from, size_t n);
static inline uint16_t wire_checksum(const uint8_t *p, size_t n)
{
    return (uint16_t)~wire_sum(p, n, 0);
}
/* The sum of a TCP, UDP or ICMPv6 pseudo-header (RFC 9293 3.1, RFC 8200 8.1). */
uint16_t wire_sum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto, uint32_t len);
/* RFC 1624 eqn. 3: the checksum after one 16-bit word went from `from` to `to`. */
static inline uint16_t wire_checksum_change(uint16_t checksum, uint16_t from, uint16_t to)
{
    uint32_t s = (uint16_t)~checksum + (uint32_t)(uint16_t)~from + to;
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    return (uint16_t)~s;
}

/* ---- IP (RFC 791, RFC 8200) -------------------------------------------------------------------- */

enum ip_proto {
    IP_PROTO_HOPOPTS = 0,
    IP_PROTO_ICMP = 1,
    IP_PROTO_IPV4 = 4,
    IP_PROTO_TCP = 6,
    IP_PROTO_UDP = 17,
    IP_PROTO_IPV6 = 41,
    IP_PROTO_ROUTING = 43,
    IP_PROTO_FRAGMENT = 44,
    IP_PROTO_GRE = 47,
    IP_PROTO_ESP = 50,
    IP_PROTO_AH = 51,
    IP_PROTO_ICMP6 = 58,
    IP_PROTO_NONE = 59,
    IP_PROTO_DSTOPTS = 60,
};
#define IP4_HEADER 20
#define IP6_HEADER 40
#define IP6_MIN_MTU 1280 /* RFC 8200 5 */
#define IP4_SRC 12       /* offsets of the addresses */
#define IP4_DST 16
#define IP6_SRC 8
#define IP6_DST 24

struct ip_view {      /* what the datapath wants to know of an IP packet */
    uint32_t len;     /* of the packet by its own header */
    uint16_t payload; /* offset of the transport header, behind IPv4 options or IPv6 extension headers */
    uint8_t version;  /* 4, 6 */
    uint8_t proto;    /* of the transport header; of a later fragment as far as it is known */
    uint8_t tos;      /* DSCP and ECN */
    uint8_t ttl;
    bool df;       /* IPv4; true for IPv6 */
    bool fragment; /* part of a larger packet, the first part included */
    bool later;    /* a part other than the first: no transport header at `payload` */
};
/* RC_SYNTAX: the version or an impossible header length; RC_SHORT: n is less than the header or the packet's own length. */
enum rc wire_ip6_parse(const uint8_t *p, size_t n, struct ip_view *ret) ADIT_MUST_USE;
static inline enum rc wire_ip4_parse(const uint8_t *p, size_t n, struct ip_view *ret)
{
    if (n < IP4_HEADER)
        return RC_SHORT;
    uint32_t header = (p[0] & 15u) * 4, len = load_be16(p + 2), fragment = load_be16(p + 6);
    if (p[0] >> 4 != 4 || header < IP4_HEADER || len < header)
        return RC_SYNTAX;
    if (len > n)
        return RC_SHORT;
    *ret = (struct ip_view){.len = len,
                            .payload = (uint16_t)header,
                            .version = 4,
                            .proto = p[9],
                            .tos = p[1],
                            .ttl = p[8],
                            .df = fragment & 0x4000,
                            .fragment = fragment & 0x3fff,
                            .later = fragment & 0x1fff};
    return RC_OK;
}
static inline enum rc wire_ip_parse(const uint8_t *p, size_t n, struct ip_view *ret)
{
    if (n == 0)
        return RC_SHORT;
    return p[0] >> 4 == 6 ? wire_ip6_parse(p, n, ret) : wire_ip4_parse(p, n, ret);
}
struct addr wire_ip_src(const uint8_t *p); /* of a parsed packet */
struct addr wire_ip_dst(const uint8_t *p);

struct ip_fields { /* a header to be made; options and extension headers never */
    struct addr src, dst;
    uint8_t proto, tos, ttl;
    bool df;     /* IPv4 */
    uint16_t id; /* IPv4 */
    uint32_t payload_len;
};
void wire_ip_write(struct wr *w, const struct ip_fields *f); /* 20 or 40 octets, checksum done */

/* Set the two ECN bits in place; the IPv4 checksum follows. */
static inline void wire_ip_ecn_set(uint8_t *p, uint8_t ecn)
{
    if (p[0] >> 4 == 6) {
        p[1] = (uint8_t)((p[1] & 0xcf) | ecn << 4);
        return;
    }
    uint16_t before = load_be16(p);
    p[1] = (uint8_t)((p[1] & 0xfc) | ecn);
    store_be16(p + 10, wire_checksum_change(load_be16(p + 10), before, load_be16(p)));
}

/* Fragments of an IPv4 packet without DF (RFC 791 3.2): how many it takes at `mtu`, 0 if there is no way. */
size_t wire_ip4_fragments(const uint8_t *p, const struct ip_view *ip, uint16_t mtu);
/* Write fragment number k >= 1; the first one is made in place by wire_ip4_fragment_first(), after all others. */
void wire_ip4_fragment(struct wr *w, const uint8_t *p, const struct ip_view *ip, uint16_t mtu, size_t k);
uint32_t wire_ip4_fragment_first(uint8_t *p, const struct ip_view *ip, uint16_t mtu); /* the new length */

/* ---- TCP -------------------------------------------------------------------------------------- */

#define TCP_HEADER 20
#define TCP_FLAG_SYN 0x02
/* Lower the MSS option of a SYN to `mss` and mend the checksum. Never raises, never adds; a segment that is no SYN, has no such
 * option, or whose options are malformed stays as it is. True if something changed. */
bool wire_tcp_mss_clamp(uint8_t *tcp, size_t n, uint16_t mss);

/* ---- ICMP "too big" (RFC 792, RFC 1191, RFC 4443) ----------------------------------------------- */

#define ICMP4_TOO_BIG_MAX 576         /* RFC 1812 4.3.2.3: the whole datagram */
#define ICMP6_TOO_BIG_MAX IP6_MIN_MTU /* RFC 4443 2.4 (c) */
/* The complete IP packet that answers `original` (which starts at its IP header). */
void wire_icmp_too_big(struct wr *w, const struct addr *src, uint16_t mtu, struct span original);
/* RFC 1122 3.2.2, RFC 4443 2.4 (e): may an ICMP error be sent about this packet at all? */
bool wire_icmp_may_answer(const uint8_t *p, const struct ip_view *ip);

struct icmp_too_big {     /* as received */
    uint32_t mtu;         /* of the next hop; 0 from a router older than RFC 1191 */
    struct addr src, dst; /* of the packet that was too big: one of ours */
    uint8_t proto;
    struct span payload; /* as much of it as is quoted behind the IP header; at least 8 octets */
};
/* p: the ICMP header and what follows. RC_ABSENT: some other message. RC_AUTH: checksum (IPv4 only: the kernel checks the other). */
enum rc wire_icmp_too_big_read(uint8_t family, struct span p, struct icmp_too_big *ret) ADIT_MUST_USE;

/* ---- GRE (RFC 2784, RFC 2890) ------------------------------------------------------------------ */

#define GRE_CHECKSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_RESERVED 0x4c00 /* routing, strict source route, recursion: discard unless RFC 1701 is implemented (2.3) */
#define GRE_VERSION 0x0007
#define GRE_PROTO_KEEPALIVE 0
#define GRE_PROTO_IPV4 0x0800
#define GRE_PROTO_IPV6 0x86dd
#define GRE_HEADER_MAX 16

struct gre_header {
    uint16_t flags; /* GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE */
    uint16_t proto;
    uint32_t key, sequence;
    uint8_t len; /* 4, 8, 12, 16 */
};
static inline uint8_t wire_gre_len(uint16_t flags)
{
    return (uint8_t)(4 + 4 * ((flags >> 15 & 1) + (flags >> 13 & 1) + (flags >> 12 & 1)));
}
/* RC_RANGE: version; RC_SYNTAX: reserved bits or routing; RC_SHORT. The checksum is not looked at: wire_sum() over all is 0xffff. */
enum rc wire_gre_read(const uint8_t *p, size_t n, struct gre_header *ret) ADIT_MUST_USE;
/* Write h->len octets at p, checksum 0; wire_gre_seal() sums header and payload. */
void wire_gre_write(uint8_t *p, const struct gre_header *h);
void wire_gre_seal(uint8_t *p, size_t n);

/* ---- ESP (RFC 4303) ----------------------------------------------------------------------------- */

#define ESP_HEADER 8  /* SPI, sequence */
#define ESP_TRAILER 2 /* pad length, next header */
#define UDP_HEADER 8

/* Payload + padding + trailer: the smallest multiple of `align` (a power of two) that holds `payload`. */
static inline uint32_t wire_esp_text_len(uint32_t payload, uint32_t align)
{
    return (payload + ESP_TRAILER + align - 1) & ~(align - 1);
}
/* Padding 1, 2, 3 ... (RFC 4303 2.4), its length and the next header behind `payload` octets at p. */
static inline void wire_esp_trailer_write(uint8_t *p, uint32_t payload, uint32_t text_len, uint8_t next)
{
    uint8_t pad = (uint8_t)(text_len - ESP_TRAILER - payload);
    for (uint8_t i = 0; i < pad; i++)
        p[payload + i] = (uint8_t)(i + 1);
    p[text_len - 2] = pad;
    p[text_len - 1] = next;
}
/* RC_SYNTAX: more padding than text, or padding that is not 1, 2, 3 ... */
static inline enum rc wire_esp_trailer_read(const uint8_t *p, uint32_t text_len, uint32_t *ret_payload,
                                            uint8_t *ret_next)
{
    if (text_len < ESP_TRAILER || p[text_len - 2] > text_len - ESP_TRAILER)
        return RC_SYNTAX;
    uint32_t pad = p[text_len - 2], payload = text_len - ESP_TRAILER - pad;
    for (uint32_t i = 0; i < pad; i++)
        if (p[payload + i] != i + 1)
            return RC_SYNTAX;
    *ret_payload = payload;
    *ret_next = p[text_len - 1];
    return RC_OK;
}

#endif
