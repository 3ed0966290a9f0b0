/* See hostile.h. */
#include "hostile.h"

#include <stdlib.h>

#define MTU 1500

uint32_t roll(struct hostile *g, uint32_t n) /* 0 .. n-1; splitmix64 */
{
    uint64_t z = (g->dice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z >> 32) * n >> 32);
}

void put_random(struct hostile *g, struct wr *w, size_t n)
{
    for (; n; n--)
        wr_u8(w, (uint8_t)roll(g, 256));
}

struct addr any_addr(struct hostile *g, const char *const *list, size_t n)
{
    struct addr a;
    if (addr_parse(list[roll(g, (uint32_t)n)], &a) != RC_OK)
        abort();
    return a;
}

/* ---- inner packets */

static const char *const sources4[] = {"10.2.0.9",  "10.2.255.7", "10.255.0.3",      "10.9.9.9",
                                       "127.0.0.1", "224.0.0.5",  "255.255.255.255", "198.51.100.2"};
static const char *const targets4[] = {"10.0.0.2",  "10.0.0.2", "10.0.0.77",   "198.51.100.2", "127.0.0.1",
                                       "224.0.0.1", "0.0.0.0",  "169.254.1.1", "10.255.0.2",   "255.255.255.255"};
static const char *const sources6[] = {"fd00:2::9", "fd00:2::9", "fe80::9", "::1", "ff02::1", "2001:db8:5::2"};
static const char *const targets6[] = {"fd00::2", "fd00::2", "fe80::1", "::1", "ff02::1", "2001:db8:5::2", "::"};
static const uint8_t protos[] = {IP_PROTO_TCP,  IP_PROTO_TCP,      IP_PROTO_UDP, IP_PROTO_UDP,
                                 IP_PROTO_ICMP, IP_PROTO_GRE,      IP_PROTO_ESP, IP_PROTO_IPV4,
                                 IP_PROTO_IPV6, IP_PROTO_FRAGMENT, 255};

/* Ports, lengths and checksums right, wrong or left open; TCP options that lie. */
static void put_transport(struct hostile *g, struct wr *w, uint8_t proto, const struct ip_fields *f)
{
    size_t at = wr_len(w), n = f->payload_len, field = proto == IP_PROTO_TCP ? 16 : 6;
    if (proto != IP_PROTO_TCP && proto != IP_PROTO_UDP) {
        put_random(g, w, n);
        return;
    }
    wr_u16(w, (uint16_t)roll(g, 65536));
    wr_u16(w, 9);
    if (proto == IP_PROTO_UDP)
        wr_u16(w, (uint16_t)(roll(g, 4) ? n : roll(g, 65536)));
    put_random(g, w, n - (wr_len(w) - at));
    if (w->failed || n < TCP_HEADER)
        return;
    if (proto == IP_PROTO_TCP && roll(g, 2)) {
        wr_patch_u16(w, at + 12, (uint16_t)(roll(g, 16) << 12 | TCP_FLAG_SYN));
        for (size_t i = 20; i + 4 <= n && i < 60; i += 4)
            wr_patch_u16(w, at + i, (uint16_t)(2 << 8 | roll(g, 6))); /* MSS of some length */
    }
    uint16_t pseudo = wire_sum_pseudo(&f->src, &f->dst, proto, (uint32_t)n);
    wr_patch_u16(w, at + field, pseudo);
    if (roll(g, 3))
        wr_patch_u16(w, at + field, (uint16_t)~wire_sum(w->start + at, n, 0));
}

/* Octets of options: source routes, records and nonsense among them. */
void put_options4(struct hostile *g, struct wr *w, size_t at)
{
    static const uint8_t types[] = {0x83, 0x89, 7, 0x44, 1, 0, 0x94, 0x82};
    size_t n = (1 + roll(g, 10)) * 4;
    uint8_t tail[MTU];
    struct wr copy = wr_of(tail, sizeof tail);
    wr_bytes(&copy, span_of(w->start + at + IP4_HEADER, wr_len(w) - at - IP4_HEADER));
    w->at = w->start + at + IP4_HEADER;
    wr_u8(w, ANY(g, types));
    wr_u8(w, (uint8_t)roll(g, 44));
    wr_u8(w, 4);
    put_random(g, w, n - 3);
    wr_bytes(w, wr_span(&copy));
    wr_patch_u8(w, at, (uint8_t)(0x40 | (5 + n / 4)));
    wr_patch_u16(w, at + 2, (uint16_t)(wr_len(w) - at));
}

static void put_inner4(struct hostile *g, struct wr *w)
{
    size_t at = wr_len(w), room = (size_t)(w->end - w->at) - IP4_HEADER - 40;
    uint8_t proto = ANY(g, protos);
    struct ip_fields f = {.src = ANY_ADDR(g, sources4),
                          .dst = ANY_ADDR(g, targets4),
                          .proto = proto,
                          .tos = (uint8_t)roll(g, 256),
                          .ttl = (uint8_t)roll(g, 256),
                          .df = roll(g, 2),
                          .id = (uint16_t)roll(g, 65536),
                          .payload_len = roll(g, roll(g, 4) ? 120 : (uint32_t)room)};
    if (f.payload_len < 8)
        f.payload_len = 8;
    wire_ip_write(w, &f);
    put_transport(g, w, proto, &f);
    switch (roll(g, 12)) {
    case 0: wr_patch_u16(w, at + 2, (uint16_t)roll(g, 65536)); break; /* total length */
    case 1: wr_patch_u16(w, at + 2, (uint16_t)(IP4_HEADER + f.payload_len + roll(g, 3) - 1)); break;
    case 2: wr_patch_u8(w, at, (uint8_t)roll(g, 256)); break;                 /* version, header length */
    case 3: wr_patch_u16(w, at + 6, (uint16_t)roll(g, 65536)); break;         /* a fragment */
    case 4: wr_patch_u16(w, at + 6, (uint16_t)(0x1ff0 + roll(g, 16))); break; /* one that ends behind 65535 */
    case 5: put_options4(g, w, at); break;
    case 6: w->at = w->start + at + roll(g, (uint32_t)(wr_len(w) - at)); return; /* cut off */
    default: break;
    }
    size_t header = w->failed ? 0 : (w->start[at] & 15u) * 4;
    if (header < IP4_HEADER || header > wr_len(w) - at || roll(g, 16) == 0)
        return;
    wr_patch_u16(w, at + 10, 0);
    wr_patch_u16(w, at + 10, wire_checksum(w->start + at, header));
}

static void put_inner6(struct hostile *g, struct wr *w)
{
    static const uint8_t next[] = {IP_PROTO_HOPOPTS,
                                   IP_PROTO_ROUTING,
                                   IP_PROTO_FRAGMENT,
                                   IP_PROTO_DSTOPTS,
                                   IP_PROTO_HOPOPTS,
                                   IP_PROTO_AH,
                                   IP_PROTO_NONE,
                                   IP_PROTO_TCP,
                                   IP_PROTO_ICMP6,
                                   IP_PROTO_GRE,
                                   135};
    size_t at = wr_len(w), chain = roll(g, 2) ? roll(g, 14) : 0;
    uint8_t proto = chain ? ANY(g, next) : ANY(g, protos);
    struct ip_fields f = {.src = ANY_ADDR(g, sources6),
                          .dst = ANY_ADDR(g, targets6),
                          .proto = proto,
                          .tos = (uint8_t)roll(g, 256),
                          .ttl = (uint8_t)roll(g, 256),
                          .payload_len = roll(g, 200) + 8};
    wire_ip_write(w, &f);
    size_t behind = wr_len(w);
    for (size_t i = 0; i < chain; i++) {
        uint8_t length = (uint8_t)(roll(g, 8) ? 0 : roll(g, 256));
        wr_u8(w, i + 1 < chain ? ANY(g, next) : IP_PROTO_UDP);
        wr_u8(w, length);
        put_random(g, w, 6 + (length < 4 ? length * 8u : 0));
    }
    put_transport(g, w, chain ? IP_PROTO_UDP : proto, &f);
    uint32_t lie = roll(g, 8);
    wr_patch_u16(w, at + 4,
                 (uint16_t)(lie == 0 ? roll(g, 65536) : wr_len(w) - behind + (lie == 1 ? roll(g, 3) - 1 : 0)));
}

void put_inner(struct hostile *g, struct wr *w)
{
    if (roll(g, 16) == 0)
        put_random(g, w, roll(g, 100));
    else if (roll(g, 3))
        put_inner4(g, w);
    else
        put_inner6(g, w);
}

/* ---- what stands behind the outer header */

struct span any_kept(struct hostile *g, uint8_t proto)
{
    for (int tries = 0; g->n_kept && tries < 64; tries++) {
        uint32_t i = roll(g, (uint32_t)g->n_kept);
        if (g->kept_proto[i] == proto)
            return g->kept[i];
    }
    return span_of(NULL, 0);
}

/* A good packet, as it was or with a few octets or its end changed. */
void put_kept(struct hostile *g, struct wr *w, struct span good)
{
    size_t at = wr_len(w), n = good.n;
    if (roll(g, 4) == 0)
        n = roll(g, (uint32_t)n + 1);
    wr_bytes(w, span_of(good.p, n));
    for (uint32_t k = roll(g, 4); k && n; k--)
        wr_patch_u8(w, at + roll(g, (uint32_t)n), (uint8_t)roll(g, 256));
}

void put_gre_header(struct hostile *g, struct wr *w)
{
    static const uint16_t flags[] = {0,      0,      0,      0x8000, 0x2000, 0x1000, 0xb000, 0x4000,
                                     0x0800, 0x0400, 0x0100, 0x0001, 0x2001, 0x3081, 0x0007, 0x00f8};
    static const uint16_t types[] = {0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0, 0x88be, 0x6558, 0x880b, 0x8847};
    uint16_t f = roll(g, 8) ? ANY(g, flags) : (uint16_t)roll(g, 65536);
    wr_u16(w, f);
    wr_u16(w, ANY(g, types));
    put_random(g, w, wire_gre_len(f) - 4u);
}

void put_gre(struct hostile *g, struct wr *w)
{
    size_t at = wr_len(w);
    struct span good = any_kept(g, IP_PROTO_GRE);
    switch (roll(g, 6)) {
    case 0: put_kept(g, w, good); return;
    case 1: /* a keepalive, or nearly */
        wr_u32(w, GRE_PROTO_IPV4);
        wire_ip_write(w, &(struct ip_fields){.src = addr_of(4, (const uint8_t[]){198, 51, 100, 2}),
                                             .dst = addr_of(4, (const uint8_t[]){192, 0, 2, 3}),
                                             .proto = IP_PROTO_GRE,
                                             .ttl = 255,
                                             .payload_len = 4});
        wr_u16(w, (uint16_t)(roll(g, 4) ? 0 : roll(g, 65536)));
        wr_u16(w, GRE_PROTO_KEEPALIVE);
        return;
    case 2: put_gre_header(g, w); break; /* one in the other */
    case 3:                              /* nothing is wrong with the header */
        wr_u32(w, GRE_PROTO_IPV4);
        put_inner4(g, w);
        return;
    default: break;
    }
    put_gre_header(g, w);
    put_inner(g, w);
    if (w->failed)
        return;
    if (w->start[at] & 0x80 && wr_len(w) - at >= 8 && roll(g, 2)) {
        wr_patch_u16(w, at + 4, 0);
        wr_patch_u16(w, at + 4, wire_checksum(w->start + at, wr_len(w) - at));
    }
    if (roll(g, 6) == 0) /* of every length */
        w->at = w->start + at + g->count++ % (wr_len(w) - at);
}

void put_esp(struct hostile *g, struct wr *w)
{
    size_t at = wr_len(w);
    struct span good = any_kept(g, IP_PROTO_ESP);
    uint32_t how = roll(g, 6);
    if (how < 2 && good.n) { /* a replay, or spoiled */
        if (how)
            put_kept(g, w, good);
        else
            wr_bytes(w, good);
        return;
    }
    if (how < 5 && good.n >= 4) /* an SPI that exists */
        wr_bytes(w, span_of(good.p, 4));
    else
        wr_u32(w, roll(g, 2) ? roll(g, 300) : 0x100 + roll(g, UINT32_MAX - 0x100));
    wr_u32(w, roll(g, 3) ? roll(g, 100000) : roll(g, UINT32_MAX));
    put_random(g, w, how == 3 ? 1300 + roll(g, 130) : roll(g, 200));
    if (how == 4)
        w->at = w->start + at + g->count++ % 48;
}

void put_natt(struct hostile *g, struct wr *w)
{
    struct span ike = any_kept(g, IP_PROTO_UDP);
    switch (roll(g, 8)) {
    case 0: wr_u8(w, 0xff); return;
    case 1: put_random(g, w, roll(g, 5)); return;
    case 2:
        wr_u32(w, 0);
        put_random(g, w, roll(g, 60));
        return;
    case 3:
        wr_u32(w, 0);
        put_kept(g, w, ike);
        return;
    default: put_esp(g, w);
    }
}
