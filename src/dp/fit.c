/* Does an inner packet fit its tunnel? RFC 4301 8.2.1, RFC 7588, RFC 2473 7.1: IPv4 that may be is fragmented before it is
 * encapsulated; IPv4 with DF and IPv6 is answered with the exact MTU; IPv6 of up to 1280 octets, which must pass, goes in one piece
 * and is left to outer fragmentation. */
#include "worker.h"

#define FRAGMENTS_MAX 64

/* Written where it stays: a copy of fields just written would have to wait for them. */
static struct job *add(struct batch *b, struct pkt *p, const struct ip_view *ip, const struct way *way)
{
    const struct tun *tun = way->tun;
    uint8_t dscp = tun->dscp == DSCP_COPY ? ip->tos & 0xfc : (uint8_t)(tun->dscp << 2);
    uint8_t ecn =
        tun->ecn == ECN_NORMAL ? ip->tos & 3 : 0; /* RFC 6040 4.1: normal mode copies, compatibility mode clears */
    struct job *j = out_add(b);
    j->p = p;
    j->tun = tun;
    j->sa = way->sa;
    j->version = ip->version;
    j->tos = dscp | ecn;
    j->df = tun->df == DF_COPY ? ip->df : tun->df == DF_SET;
    return j;
}

/* ---- the answer "too big" ----------------------------------------------------------------------- */

/* The tunnel's interface address; else one of our endpoints; else, for IPv4, the address that RFC 7600 4.8 keeps for this. */
static struct addr icmp_source(const struct batch *b, const struct tun *tun, uint8_t family)
{
    static const uint8_t dummy4[4] = {192, 0, 0, 8};
    const struct addr *own = family == 4 ? &tun->icmp4 : &tun->icmp6;
    if (own->family)
        return *own;
    if (tun->local.family == family)
        return tun->local;
    const struct addr *any = family == 4 ? &b->t->ours->any4 : &b->t->ours->any6;
    return any->family || family == 6 ? *any : addr_of(4, dummy4);
}

void way_too_big(struct batch *b, struct pkt *p, const struct ip_view *ip, const struct tun *tun, uint16_t mtu)
{
    struct bucket *bucket = &b->w->count[tun->handle].icmp;
    struct addr src = icmp_source(b, tun, ip->version);
    struct pkt *answer = NULL;
    bool own = tun->owner == b->w->index; /* as always, unless the MTU has become less meanwhile */
    if (own && mtu != 0 && src.family && wire_icmp_may_answer(p->data, ip) &&
        bucket_allows(bucket, ICMP_RATE, ICMP_RATE, b->now))
        answer = pkt_get(b->pool, false);
    if (answer) {
        struct wr w = wr_of(answer->data, PKT_SMALL);
        wire_icmp_too_big(&w, &src, ip->version == 6 && mtu < IP6_MIN_MTU ? IP6_MIN_MTU : mtu,
                          span_of(p->data, ip->len));
        answer->len = (uint32_t)wr_len(&w);
        answer->account = tun->account;
        answer->verdict = PKT_TO_TUN;
        batch_emit(b, answer);
    }
    batch_drop(b, p, tun, DP_REASON_TOO_BIG);
    batch_emit(b, p);
}

/* ---- fragments ---------------------------------------------------------------------------------- */

static void refuse(struct batch *b, struct pkt *p, const struct tun *tun, enum dp_reason reason)
{
    batch_drop(b, p, tun, reason);
    batch_emit(b, p);
}

static void fragment(struct batch *b, struct pkt *p, const struct ip_view *ip, const struct way *way, uint16_t mtu)
{
    struct pkt *part[FRAGMENTS_MAX];
    size_t n = wire_ip4_fragments(p->data, ip, mtu), k;
    if (n == 0 || n > FRAGMENTS_MAX) {
        refuse(b, p, way->tun, DP_REASON_FRAGMENT);
        return;
    }
    part[0] = p;
    for (k = 1; k < n && (part[k] = pkt_get(b->pool, mtu > PKT_SMALL)) != NULL; k++) {
        struct wr w = wr_of(part[k]->data, mtu);
        wire_ip4_fragment(&w, p->data, ip, mtu, k);
        part[k]->len = (uint32_t)wr_len(&w);
        part[k]->from = p->from;
        part[k]->account = p->account;
    }
    if (k < n) {
        while (--k > 0)
            pkt_put(b->pool, part[k]);
        refuse(b, p, way->tun, DP_REASON_POOL);
        return;
    }
    p->len = wire_ip4_fragment_first(p->data, ip, mtu); /* the last use of the whole packet */
    for (k = 0; k < n; k++) {
        add(b, part[k], ip, way);
    }
}

void way_fit(struct batch *b, struct pkt *p, const struct ip_view *ip, const struct way *way)
{
    struct limits limits;
    way_limits(b, way, &limits);
    mss_clamp(p, ip, &limits);

    if (LIKELY(ip->len <= limits.mtu))
        add(b, p, ip, way);
    else if (ip->version == 6 && ip->len <= IP6_MIN_MTU && limits.mtu != 0)
        add(b, p, ip, way)->df = false;
    else if (ip->df || limits.mtu == 0)
        way_too_big(b, p, ip, way->tun, limits.mtu);
    else
        fragment(b, p, ip, way, limits.mtu);
}
