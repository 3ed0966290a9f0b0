/* Packets on their way to a TUN, put together again: what came out of tunnels in one batch and is one flow's, in order, becomes one
 * super-packet, so that the kernel's stack is walked once for many segments. Nothing is copied: the first packet gets the headers, the
 * others follow it as a chain (pkt.more) of payload.
 *
 * Only what can be taken apart again into exactly what came: the kernel, or the account's next router, must not be able to tell. Hence
 * every checksum is verified before the kernel is told to trust it, IPv4's header included; whole headers are alike but for length,
 * sequence, ID and checksum; sequence numbers follow each other; all segments but the last are of one size; PSH and FIN end it; a packet
 * that cannot join ends it too, so that no packet of a flow passes another. */
#include "worker.h"

enum { TCP_FLAG_FIN = 0x01, TCP_FLAG_PSH = 0x08, TCP_FLAG_ACK = 0x10 };
enum { TCP_SEQ = 4, TCP_ACK = 8, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_WINDOW = 14, TCP_CHECKSUM = 16, TCP_URGENT = 18 };
enum { UDP_LENGTH = 4, UDP_CHECKSUM = 6 };
enum { IP4_ID = 4, IP4_FRAGMENT = 6, IP4_CHECKSUM = 10 };

#define FLOWS 8 /* super-packets under way at one time; a further flow closes the oldest */

struct segment { /* a packet that could be part of one */
    struct pkt *p;
    struct ip_view ip;
    uint32_t headers, payload; /* octets */
    uint8_t flags;             /* TCP */
};

struct super {
    struct segment first;
    struct pkt *last;
    uint32_t n, payload; /* segments, their octets together */
    uint8_t last_flags;
    uint8_t id_step; /* IPv4: 1, or 0 for senders that do not number what cannot be fragmented (RFC 6864 4.1) */
};

struct flows {
    struct super v[FLOWS];
    size_t n, oldest;
};

/* ---- what can join ------------------------------------------------------------------------------ */

static bool checksums_hold(const uint8_t *p, const struct ip_view *ip)
{
    struct addr src = wire_ip_src(p), dst = wire_ip_dst(p);
    uint32_t n = ip->len - ip->payload;
    if (ip->version == 4 && wire_sum(p, IP4_HEADER, 0) != 0xffff)
        return false;
    return wire_sum(p + ip->payload, n, wire_sum_pseudo(&src, &dst, ip->proto, n)) == 0xffff;
}

static bool tcp_is_plain(struct segment *s)
{
    const uint8_t *tcp = s->p->data + s->ip.payload;
    if (s->ip.len < s->ip.payload + (uint32_t)TCP_HEADER)
        return false;
    s->headers = s->ip.payload + (tcp[TCP_OFFSET] >> 4) * 4u;
    s->flags = tcp[TCP_FLAGS];
    return tcp[TCP_OFFSET] >> 4 >= TCP_HEADER / 4 && (tcp[TCP_OFFSET] & 15) == 0 && s->headers < s->ip.len &&
           (s->flags & ~(TCP_FLAG_PSH | TCP_FLAG_FIN)) == TCP_FLAG_ACK && load_be16(tcp + TCP_URGENT) == 0;
}

static bool udp_is_plain(struct segment *s)
{
    const uint8_t *udp = s->p->data + s->ip.payload;
    s->headers = s->ip.payload + UDP_HEADER;
    return s->headers < s->ip.len && load_be16(udp + UDP_LENGTH) == s->ip.len - s->ip.payload &&
           load_be16(udp + UDP_CHECKSUM) != 0;
}

/* No fragments, IPv4 options or extension headers; data; nothing but ACK, PSH, FIN; checksums right. */
static bool can_join(const struct batch *b, struct segment *s)
{
    if (s->ip.fragment || s->ip.payload != (s->ip.version == 4 ? IP4_HEADER : IP6_HEADER))
        return false;
    bool plain = s->ip.proto == IP_PROTO_TCP   ? b->coalesce & DP_COALESCE_TCP && tcp_is_plain(s)
                 : s->ip.proto == IP_PROTO_UDP ? b->coalesce & DP_COALESCE_UDP && udp_is_plain(s)
                                               : false;
    if (!plain)
        return false;
    s->payload = s->ip.len - s->headers;
    return checksums_hold(s->p->data, &s->ip);
}

/* ---- what belongs together ---------------------------------------------------------------------- */

static bool same(const uint8_t *a, const uint8_t *b, size_t from, size_t to)
{
    return memcmp(a + from, b + from, to - from) == 0;
}

/* One flow: addresses and ports. Packets between the same two whose ports cannot be seen may be anybody's. */
static bool same_flow(const struct super *s, const struct segment *t)
{
    const struct segment *f = &s->first;
    size_t from = f->ip.version == 4 ? IP4_SRC : IP6_SRC, ports = f->ip.payload;
    if (t->p->account != f->p->account || t->ip.version != f->ip.version ||
        !same(t->p->data, f->p->data, from, f->ip.version == 4 ? IP4_HEADER : IP6_HEADER))
        return false;
    if (t->ip.payload != f->ip.payload || t->ip.fragment || t->ip.len < ports + 4)
        return true;
    return t->ip.proto == f->ip.proto && same(t->p->data, f->p->data, ports, ports + 4);
}

static bool ip_follows(const struct super *s, const struct segment *t)
{
    const uint8_t *a = s->first.p->data, *b = t->p->data;
    if (t->ip.version == 6) /* traffic class, flow label; hop limit */
        return same(a, b, 0, 4) && same(a, b, 6, IP6_SRC);
    uint16_t id = (uint16_t)(load_be16(b + IP4_ID) - load_be16(a + IP4_ID));
    if (s->n == 1 ? id > 1 || (id == 0 && !t->ip.df) : id != (uint16_t)(s->n * s->id_step))
        return false;
    return same(a, b, 0, 2) && same(a, b, IP4_FRAGMENT, IP4_CHECKSUM); /* TOS with ECN; DF, TTL, protocol */
}

static bool tcp_follows(const struct super *s, const struct segment *t)
{
    const uint8_t *a = s->first.p->data + s->first.ip.payload, *b = t->p->data + t->ip.payload;
    size_t header = t->headers - t->ip.payload;
    return load_be32(b + TCP_SEQ) == load_be32(a + TCP_SEQ) + s->payload && same(a, b, TCP_ACK, TCP_FLAGS) &&
           same(a, b, TCP_WINDOW, TCP_CHECKSUM) && same(a, b, TCP_HEADER, header);
}

static bool follows(const struct super *s, const struct segment *t)
{
    uint32_t size = s->first.payload;
    if (s->n == PKT_SUPER_MAX || t->headers != s->first.headers || t->ip.proto != s->first.ip.proto ||
        t->payload > size || t->headers + s->payload + t->payload > UINT16_MAX)
        return false;
    return ip_follows(s, t) && (t->ip.proto == IP_PROTO_UDP || tcp_follows(s, t));
}

static bool is_last(const struct super *s, const struct segment *t)
{
    return t->payload < s->first.payload || t->flags & (TCP_FLAG_PSH | TCP_FLAG_FIN);
}

/* ---- opening, joining, closing ------------------------------------------------------------------ */

static void close_super(const struct super *s)
{
    if (s->n == 1)
        return; /* as it came */
    struct pkt *p = s->first.p;
    uint16_t l4 = s->first.ip.payload;
    uint32_t len = s->first.headers + s->payload;
    bool tcp = s->first.ip.proto == IP_PROTO_TCP;
    if (s->first.ip.version == 4) {
        store_be16(p->data + IP4_CHECKSUM,
                   wire_checksum_change(load_be16(p->data + IP4_CHECKSUM), load_be16(p->data + 2), (uint16_t)len));
        store_be16(p->data + 2, (uint16_t)len);
    } else
        store_be16(p->data + 4, (uint16_t)(len - IP6_HEADER));
    if (tcp)
        p->data[l4 + TCP_FLAGS] |= s->last_flags;
    else
        store_be16(p->data + l4 + UDP_LENGTH, (uint16_t)(len - l4));
    struct addr src = wire_ip_src(p->data), dst = wire_ip_dst(p->data);
    uint16_t at = tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    store_be16(p->data + l4 + at, wire_sum_pseudo(&src, &dst, s->first.ip.proto, len - l4));
    p->offload = (struct pkt_offload){
        .gso = (uint8_t)(!tcp                       ? PKT_GSO_UDP
                         : s->first.ip.version == 4 ? PKT_GSO_TCP4
                                                    : PKT_GSO_TCP6),
        .needs_csum = true,
        .gso_size = (uint16_t)s->first.payload,
        .hdr_len = (uint16_t)s->first.headers,
        .csum_start = l4,
        .csum_offset = at,
    };
}

static void forget(struct flows *f, struct super *s)
{
    close_super(s);
    *s = f->v[--f->n];
}

static void begin(struct flows *f, const struct segment *t)
{
    if (t->flags & (TCP_FLAG_PSH | TCP_FLAG_FIN))
        return; /* complete by itself */
    if (f->n == FLOWS) {
        f->oldest = (f->oldest + 1) % FLOWS;
        forget(f, &f->v[f->oldest]);
    }
    f->v[f->n++] = (struct super){.first = *t, .last = t->p, .n = 1, .payload = t->payload};
}

static void join(struct flows *f, struct super *s, const struct segment *t)
{
    if (s->n == 1 && t->ip.version == 4)
        s->id_step = load_be16(t->p->data + IP4_ID) != load_be16(s->first.p->data + IP4_ID);
    t->p->data += t->headers;
    t->p->len = t->payload;
    s->last = s->last->more = t->p;
    s->n++;
    s->payload += t->payload;
    s->last_flags = t->flags & (TCP_FLAG_PSH | TCP_FLAG_FIN);
    if (is_last(s, t))
        forget(f, s);
}

/* True: the packet hangs on another one now. */
static bool take(const struct batch *b, struct flows *f, struct pkt *p)
{
    struct segment t = {.p = p};
    struct super *s = f->v;
    if (p->verdict != PKT_TO_TUN || wire_ip_parse(p->data, p->len, &t.ip) != RC_OK)
        return false;
    while (s < f->v + f->n && !same_flow(s, &t))
        s++;
    bool known = s < f->v + f->n, can = can_join(b, &t);
    if (known && can && follows(s, &t)) {
        join(f, s, &t);
        return true;
    }
    if (known)
        forget(f, s);
    if (can)
        begin(f, &t);
    return false;
}

size_t coalesce(const struct batch *b, struct pkt **v, size_t n)
{
    struct flows f = {.n = 0};
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!take(b, &f, v[i]))
            v[kept++] = v[i];
    while (f.n > 0)
        forget(&f, &f.v[f.n - 1]);
    return kept;
}
