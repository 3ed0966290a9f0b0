/* Path MTU from outer ICMP (RFC 1191, RFC 8201; RFC 4301 8.2). ICMP is not authenticated: a message counts only if the packet it
 * quotes is one of ours (endpoints and key of a GRE tunnel; SPI, endpoints and ports of an SA), only to lower the path MTU, never
 * below the floor, and for ten minutes.
 *
 * It comes to any worker. The order in which path_mtu and its end are written sees to it that none is kept for ever, and
 * limits_update() to it that the limits are those of the last one. */
#include "worker.h"

void pmtu_forget(struct live *live, const struct tun *tun)
{
    WRITE(live->path_mtu_until, NEVER);
    (void)SWAP(live->path_mtu, 0);
    limits_update(live, tun);
}

static void lower(struct batch *b, const struct tun *tun, uint16_t mtu)
{
    struct live *live = &b->w->dp->live[tun->handle];
    uint16_t learned = READ(live->path_mtu), now = learned ? learned : tun->path_mtu;
    if (mtu > now || mtu >= tun->path_mtu)
        return;
    (void)SWAP(live->path_mtu, mtu);
    SHOW(live->path_mtu_until, b->now + PMTU_AGE);
    limits_update(live, tun);
}

/* Did the tunnel send what is quoted? Its flags are always the same, so other ones, in which a key could be missing or out of sight,
 * are somebody else's; behind a checksum the key is beyond the eight octets that RFC 792 promises: then any is meant. */
static bool is_gre_of(const struct tun *t, struct span quoted)
{
    struct rd r = rd_of(quoted);
    uint16_t flags = rd_u16(&r), proto = rd_u16(&r);
    if (r.failed || flags != t->gre_flags || (proto != GRE_PROTO_IPV4 && proto != GRE_PROTO_IPV6))
        return false;
    if (flags & GRE_CHECKSUM)
        rd_u32(&r);
    return !t->has_key || rd_left(&r) < 4 || rd_u32(&r) == t->key;
}

static bool match_gre(struct batch *b, const struct icmp_too_big *m, uint16_t mtu)
{
    bool found = false;
    for (const struct tun *t = gre_find(b->t, &m->src, &m->dst); t; t = gre_next(b->t, t)) {
        if (t->esp != TUNNEL_NONE || !is_gre_of(t, m->payload)) /* of one inside ESP no such packet ever went out */
            continue;
        lower(b, t, mtu);
        found = true;
    }
    return found;
}

static bool match_esp(struct batch *b, const struct icmp_too_big *m, bool udp, struct span esp, uint16_t mtu)
{
    bool found = false;
    if (esp.n < 4)
        return false;
    const struct sa_index *x = SEE(b->w->dp->by_out);
    uint32_t spi = load_be32(esp.p);
    struct sa *sa;
    for (size_t i = sa_slot(x, spi); (sa = sa_in_slot(&x->slot[i], spi)) != NULL; i = (i + 1) & x->mask) {
        if (sa == SA_GONE || sa->tunnel >= b->t->n_tun)
            continue;
        const struct sa_peer *peer = SEE(sa->peer);
        const struct pkt_outer *o = &peer->outer;
        if (peer->udp != udp)
            continue;
        const struct tun *tun = b->t->tun[sa->tunnel];
        if (!tun || !addr_equal(&o->src, &m->src) || !addr_equal(&o->dst, &m->dst))
            continue;
        if (udp && (load_be16(m->payload.p) != o->sport || load_be16(m->payload.p + 2) != o->dport))
            continue;
        lower(b, tun, mtu);
        found = true;
    }
    return found;
}

static bool match(struct batch *b, const struct icmp_too_big *m, uint16_t mtu)
{
    switch (m->proto) {
    case IP_PROTO_GRE: return match_gre(b, m, mtu);
    case IP_PROTO_ESP: return match_esp(b, m, false, m->payload, mtu);
    case IP_PROTO_UDP: /* the eight octets that every router quotes hold the ports; for the SPI it takes four more */
        return match_esp(b, m, true, span_of(m->payload.p + UDP_HEADER, m->payload.n - UDP_HEADER), mtu);
    }
    return false;
}

void pmtu_in(struct batch *b, struct pkt *p)
{
    struct icmp_too_big m;
    uint8_t family = p->outer.dst.family;
    uint32_t floor = family == 6 ? PMTU_FLOOR6 : PMTU_FLOOR4;
    bool used = (family == 4 || family == 6) && wire_icmp_too_big_read(family, span_of(p->data, p->len), &m) == RC_OK &&
                m.mtu != 0 && !(family == 6 && m.mtu < PMTU_FLOOR6); /* RFC 8201 4: MUST discard */
    if (used) {
        uint32_t mtu = m.mtu < floor ? floor : m.mtu > UINT16_MAX ? UINT16_MAX : m.mtu;
        used = match(b, &m, (uint16_t)mtu);
    }
    batch_drop(b, p, NULL, used ? DP_REASON_ICMP_DONE : DP_REASON_ICMP_UNMATCHED);
}
