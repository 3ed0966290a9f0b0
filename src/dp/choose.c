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

static const struct hop *weighted(const struct hop *hop, uint32_t weights, uint32_t hash)
{
    uint32_t at = (uint32_t)((uint64_t)hash * weights >> 32);
    while (at >= hop->weight)
        at -= hop++->weight;
    return hop;
}

/* The first choice is not to be used: among the others of its class, by the same flow hash, so that only the flows of the lost tunnel
 * move; then the classes behind. */
static enum dp_reason choose_other(struct batch *b, const struct hop *hop, uint32_t n, uint32_t hash, const struct pkt *p,
                                   const struct ip_view *ip, struct way *ret)
{
    for (uint32_t i = 0, j; i < n; i = j) {
        uint32_t weights = 0;
        struct way way;
        for (j = i; j < n && hop[j].priority == hop[i].priority; j++)
            weights += way_of(b, hop[j].tunnel, p, ip, &way) == DP_REASON_NONE ? hop[j].weight : 0;
        uint32_t at = (uint32_t)((uint64_t)hash * weights >> 32);
        for (uint32_t k = i; k < j && weights; k++) {
            if (way_of(b, hop[k].tunnel, p, ip, &way) != DP_REASON_NONE)
                continue;
            if (at < hop[k].weight) {
                *ret = way;
                return DP_REASON_NONE;
            }
            at -= hop[k].weight;
        }
    }
    return DP_REASON_NO_ROUTE;
}

enum dp_reason way_choose(struct batch *b, const struct pkt *p, const struct ip_view *ip, struct way *ret)
{
    const struct hops *h = route_find(b, p, ip);
    if (!h)
        return DP_REASON_NO_ROUTE;
    const struct hop *hop = &b->fib_last->hop[h->first];
    if (LIKELY(h->n == 1))
        return way_of(b, hop->tunnel, p, ip, ret);
    uint32_t hash = flow_hash(b, p->data, ip);
    enum dp_reason reason = way_of(b, weighted(hop, h->weight_best, hash)->tunnel, p, ip, ret);
    if (LIKELY(reason == DP_REASON_NONE))
        return reason;
    return choose_other(b, hop, h->n, hash, p, ip, ret) == DP_REASON_NONE ? DP_REASON_NONE : reason;
}
