/* Which way an inner packet goes: longest prefix, lowest priority, weights among equals by flow, and for IPsec the SA. */
#include "worker.h"

/* All packets of a flow get one number; all fragments of a packet too, hence no ports where there are fragments, nor the protocol:
 * IPv6's later ones name a header that the first one has passed (RFC 8200 4.5). */
uint32_t flow_hash(const struct batch *b, const uint8_t *p, const struct ip_view *ip)
{
    enum { SCTP = 132 };
    uint64_t ports = ip->fragment ? 0 : ip->proto;
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

/* ---- routes of a batch ------------------------------------------------------------------------ */

struct goal {        /* a destination, for the packets of it that follow each other */
    uint32_t in;     /* the first one's number */
    uint32_t tunnel; /* the first choice */
};

/* The look-ups of a batch of different flows go ahead of the work by passes, each of which asks the memory for what the next one reads.
 * A wrong guess costs time, nothing else. What a tunnel consists of, level by level: tun, SA, peer and key. */
static void prefetch_tunnels(const struct batch *b, const struct goal *goal, size_t n)
{
    const struct live *live = b->w->dp->live;
    for (size_t i = 0; i < n; i++)
        if (goal[i].tunnel < b->t->n_tun) {
            prefetch(&b->t->tun[goal[i].tunnel], 1);
            prefetch(&live[goal[i].tunnel], 1);
        }
    for (size_t i = 0; i < n; i++)
        if (goal[i].tunnel < b->t->n_tun) {
            const struct sa *sa = SEE(live[goal[i].tunnel].newest);
            prefetch(b->t->tun[goal[i].tunnel], sa ? LINE : 2 * LINE);
            if (sa)
                prefetch(&sa->key_out, 1);
            else
                prefetch(&b->w->count[goal[i].tunnel], 1);
        }
    for (size_t i = 0; i < n; i++) {
        const struct sa *sa = goal[i].tunnel < b->t->n_tun ? SEE(live[goal[i].tunnel].newest) : NULL;
        if (sa) {
            prefetch(SEE(sa->peer), 1);
            prefetch(sa->key_out, 1);
            if (sa->out.shared)
                prefetch(sa_shared(sa), 1);
        }
    }
}

static void prefetch_ways(const struct batch *b, const struct in *in, struct goal *goal, size_t n)
{
    bool several = false;
    for (size_t i = 0; i < n; i++) {
        const struct in *x = &in[goal[i].in];
        goal[i].tunnel = x->route & FIB_SINGLE ? x->route - FIB_SINGLE : TUNNEL_NONE;
        if (x->route && goal[i].tunnel == TUNNEL_NONE) {
            several = true;
            prefetch(&x->fib->set[x->route], 1);
        }
    }
    for (int pass = 0; pass < 2 && several; pass++)
        for (size_t i = 0; i < n; i++) {
            const struct in *x = &in[goal[i].in];
            if (!x->route || x->route & FIB_SINGLE)
                continue;
            const struct hop *hop = &x->fib->hop[x->fib->set[x->route].first];
            if (pass == 0)
                prefetch(hop, 1);
            else
                goal[i].tunnel = hop->tunnel;
        }
    prefetch_tunnels(b, goal, n);
}

/* The destinations of one account and IP version together, in one look-up of many. */
static void routes_find(const struct batch *b, struct in *in, const struct goal *goal, size_t n)
{
    struct key key[PKT_BATCH];
    uint32_t route[PKT_BATCH];
    for (size_t i = 0, j; i < n; i = j) {
        const struct in *first = &in[goal[i].in];
        const struct fib *fib = fib_find(b->t, first->p->account);
        for (j = i; j < n; j++) {
            const struct in *x = &in[goal[j].in];
            if (x->p->account != first->p->account || x->ip.version != first->ip.version)
                break;
            key[j - i] = x->dst;
            route[j - i] = 0;
        }
        if (fib)
            lpm_find_many(first->ip.version == 4 ? &fib->v4 : &fib->v6, key, route, j - i);
        for (size_t k = i; k < j; k++) {
            struct in *x = &in[goal[k].in];
            x->fib = fib;
            x->route = route[k - i];
            x->ours = addr_is_ours(b->t->ours, x->dst);
        }
    }
}

void ways_choose(const struct batch *b, struct in *in, size_t n)
{
    struct goal goal[PKT_BATCH];
    uint8_t of[PKT_BATCH]; /* by packet */
    size_t n_goals = 0;
    for (size_t i = 0; i < n; i++) {
        bool same = i > 0 && key_equal(in[i].dst, in[i - 1].dst) && in[i].p->account == in[i - 1].p->account &&
                    in[i].ip.version == in[i - 1].ip.version;
        if (!same)
            goal[n_goals++].in = (uint32_t)i;
        of[i] = (uint8_t)(n_goals - 1);
    }
    routes_find(b, in, goal, n_goals);
    for (size_t i = 0; i < n; i++) {
        const struct in *first = &in[goal[of[i]].in];
        in[i].fib = first->fib;
        in[i].route = first->route;
        in[i].ours = first->ours;
    }
    if (n_goals > 1)
        prefetch_ways(b, in, goal, n_goals);
}

/* ---- the choice ------------------------------------------------------------------------------- */

/* May the packet go out on the SA? GRE alone (`head`: its IP header is yet to be made) on one of transport mode. */
static bool may_carry(const struct sa *sa, const uint8_t *p, const struct ip_view *ip, bool head)
{
    return (head || !sa->out.transport) && sa_holds(sa, &sa->out, p, ip, false);
}

/* The newest usable SA whose selectors hold the packet. One that replaces another waits until the peer has used it, or until the
 * other one is gone or done: the peer may not have installed it yet. */
static struct sa *sa_choose(struct batch *b, const struct live *live, const uint8_t *p, const struct ip_view *ip,
                            bool head, enum dp_reason *ret_reason)
{
    struct sa *early = NULL, *newest = SEE(live->newest);
    if (LIKELY(newest && !READ(newest->early) && !sa_is_exhausted(b, newest) && may_carry(newest, p, ip, head)))
        return newest; /* without a look at the set */
    *ret_reason = DP_REASON_NO_SA;
    const struct sa_set *sas = SEE(live->sas);
    for (uint32_t i = 0; sas && i < READ(sas->n); i++) {
        struct sa *sa = SEE(sas->v[i]);
        if (UNLIKELY(sa_is_exhausted(b, sa))) {
            *ret_reason = DP_REASON_ESP_EXPIRED;
            continue;
        }
        if (!may_carry(sa, p, ip, head)) {
            *ret_reason = DP_REASON_ESP_SELECTOR;
            continue;
        }
        if (LIKELY(!READ(sa->early)))
            return sa;
        if (!early)
            early = sa;
    }
    return early;
}

/* Is there the tunnel that the GRE tunnel is to go through? Never without. */
static bool can_carry(const struct tables *t, const struct tun *tun)
{
    const struct tun *by = tun->esp < t->n_tun ? t->tun[tun->esp] : NULL;
    return by && by->type == TUNNEL_IPSEC && by->account == tun->account;
}

static enum dp_reason way_of(struct batch *b, uint32_t tunnel, const struct pkt *p, const struct ip_view *ip,
                             struct way *ret)
{
    const struct tun *tun = tunnel < b->t->n_tun ? b->t->tun[tunnel] : NULL;
    if (!tun)
        return DP_REASON_NO_ROUTE;
    struct sa *sa = NULL;
    if (tun->esp != TUNNEL_NONE) {
        enum dp_reason reason = DP_REASON_NO_SA;
        const struct live *live = &b->w->dp->live[tun->esp];
        if (LIKELY(tun->esp == tunnel))
            sa = sa_choose(b, live, p->data, ip, false, &reason);
        else if (can_carry(b->t, tun))
            sa = sa_choose(b, live, tun->head, &tun->head_ip, true, &reason);
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
static enum dp_reason choose(struct batch *b, const struct in *in, struct way *ret)
{
    const struct hops *h = &in->fib->set[in->route];
    const struct hop *hop = &in->fib->hop[h->first], *end = hop + h->n;
    uint32_t flow = flow_hash(b, in->p->data, &in->ip);
    enum dp_reason lost = DP_REASON_NONE;
    while (hop < end) {
        uint64_t best = 0, best_weight = 0; /* weight 0: none yet */
        for (uint32_t class = hop->priority; hop < end && hop->priority == class; hop++) {
            struct way way = {0};
            uint64_t drawn = draw(flow, hop->tunnel);
            if (best_weight && drawn * best_weight >= best * hop->weight)
                continue;
            enum dp_reason reason = way_of(b, hop->tunnel, in->p, &in->ip, &way);
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

enum dp_reason way_choose(struct batch *b, const struct in *in, struct way *ret)
{
    if (UNLIKELY(in->route == 0))
        return DP_REASON_NO_ROUTE;
    if (LIKELY(in->route & FIB_SINGLE))
        return way_of(b, in->route - FIB_SINGLE, in->p, &in->ip, ret);
    return choose(b, in, ret);
}
