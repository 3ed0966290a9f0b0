/* Which way an inner packet goes: longest prefix, lowest priority, weights among equals by flow, and for IPsec the SA. */
#include "worker.h"

/* All packets of a flow get one number; all fragments of a packet too, hence no ports where there are fragments. */
static uint32_t flow_hash(const struct batch *b, const uint8_t *p, const struct ip_view *ip)
{
    enum { SCTP = 132 };
    uint64_t ports = ip->proto;
    bool has_ports = ip->proto == IP_PROTO_TCP || ip->proto == IP_PROTO_UDP || ip->proto == SCTP;
    if (has_ports && !ip->fragment && ip->len >= ip->payload + 4u)
        ports |= (uint64_t)load_be32(p + ip->payload) << 8;
    uint64_t seed = b->w->dp->seed;
    if (ip->version == 4) {
        struct key k = {load_be64(p + IP4_SRC), ports};
        return (uint32_t)(key_hash(k, seed) >> 16);
    }
    uint64_t h = key_hash(key6(p + IP6_DST), key_hash(key6(p + IP6_SRC), seed));
    return (uint32_t)(key_hash((struct key){ports, 0}, h) >> 16);
}

static const struct hops *route_find(struct batch *b, const struct pkt *p, const struct ip_view *ip)
{
    struct key dst = ip->version == 4 ? key4(load_be32(p->data + IP4_DST)) : key6(p->data + IP6_DST);
    if (!b->fib_last || b->fib_last->account != p->account) {
        b->fib_last = fib_find(b->t, p->account);
        b->version_last = 0;
        if (!b->fib_last)
            return NULL;
    }
    if (ip->version == b->version_last && key_equal(dst, b->dst_last))
        return b->hops_last;
    uint32_t set = lpm_find(ip->version == 4 ? &b->fib_last->v4 : &b->fib_last->v6, dst);
    b->dst_last = dst;
    b->version_last = ip->version;
    return b->hops_last = set ? &b->fib_last->set[set] : NULL;
}

/* The newest usable SA whose selectors hold the packet. One that replaces another waits until the peer has used it, or until the
 * other one is gone or done: the peer may not have installed it yet. */
static struct sa *sa_choose(struct batch *b, const struct live *live, const uint8_t *p, const struct ip_view *ip,
                            enum dp_reason *ret_reason)
{
    struct sa *early = NULL;
    *ret_reason = DP_REASON_NO_SA;
    for (uint32_t i = 0; live->sas && i < live->sas->n; i++) {
        struct sa *sa = live->sas->v[i];
        if (UNLIKELY(sa_is_exhausted(b, sa))) {
            *ret_reason = DP_REASON_ESP_EXPIRED;
            continue;
        }
        if (!selectors_match(&sa->selectors, p, ip, false)) {
            *ret_reason = DP_REASON_ESP_SELECTOR;
            continue;
        }
        if (LIKELY(!sa->replaces || sa->seen))
            return sa;
        if (!early)
            early = sa;
    }
    return early;
}

static enum dp_reason way_of(struct batch *b, uint32_t tunnel, const struct pkt *p, const struct ip_view *ip,
                             struct way *ret)
{
    const struct tun *tun = tunnel < b->t->n_tun ? b->t->tun[tunnel] : NULL;
    if (!tun)
        return DP_REASON_NO_ROUTE;
    struct sa *sa = NULL;
    if (tun->type == TUNNEL_IPSEC) {
        enum dp_reason reason;
        sa = sa_choose(b, &b->w->dp->live[tunnel], p->data, ip, &reason);
        if (!sa) {
            ret->tun = tun; /* for the count */
            return reason;
        }
    }
    *ret = (struct way){tun, sa};
    return DP_REASON_NONE;
}

/* -log2(u / 2^32) in 1/65536, never 0. Between two powers of two the logarithm is a line with a bow, right in value and slope at both
 * ends. */
static uint32_t bits_short_of_one(uint32_t u)
{
    unsigned top = 31 - (unsigned)__builtin_clz(u | 1);
    uint32_t f = (u | 1) << (31 - top) >> 15 & 0xffff, bow = f * (0x10000 - f) >> 16;
    return ((32 - top) << 16) - f - (bow * (29013 - (10748 * f >> 16)) >> 16);
}

/* The draw of a tunnel for a flow: an exponential variable. Divided by the weight, the lowest one wins with the probability that the
 * weight says. */
static uint32_t draw(uint32_t flow, uint32_t tunnel)
{
    uint64_t x = (uint64_t)tunnel << 32 | flow;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits_short_of_one((uint32_t)(x >> 32));
}

/* Among the usable ones of the best class, by rendezvous (RFC 2991, "highest random weight"): every tunnel draws for itself, so that one
 * that is lost or comes back, in the tables or for want of an SA, moves its own flows and no others. */
static enum dp_reason choose(struct batch *b, const struct hops *h, const struct pkt *p, const struct ip_view *ip,
                             struct way *ret)
{
    const struct hop *hop = &b->fib_last->hop[h->first], *end = hop + h->n;
    uint32_t flow = flow_hash(b, p->data, ip);
    enum dp_reason lost = DP_REASON_NONE;
    while (hop < end) {
        uint64_t best = 0, best_weight = 0; /* weight 0: none yet */
        for (uint32_t class = hop->priority; hop < end && hop->priority == class; hop++) {
            struct way way = {0};
            uint64_t drawn = draw(flow, hop->tunnel);
            if (best_weight && drawn * best_weight >= best * hop->weight)
                continue;
            enum dp_reason reason = way_of(b, hop->tunnel, p, ip, &way);
            if (reason == DP_REASON_NONE) {
                best = drawn;
                best_weight = hop->weight;
                *ret = way;
            } else if (lost == DP_REASON_NONE && !best_weight) {
                lost = reason;
                *ret = way; /* for the count */
            }
        }
        if (best_weight)
            return DP_REASON_NONE;
    }
    return lost;
}

enum dp_reason way_choose(struct batch *b, const struct pkt *p, const struct ip_view *ip, struct way *ret)
{
    const struct hops *h = route_find(b, p, ip);
    if (!h)
        return DP_REASON_NO_ROUTE;
    if (LIKELY(h->n == 1))
        return way_of(b, b->fib_last->hop[h->first].tunnel, p, ip, ret);
    return choose(b, h, p, ip, ret);
}
