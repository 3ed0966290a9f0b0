/* ike/selector: narrowing traffic selectors to a single pair (RFC 7296 2.9).
 */
#include "selector.h"

#include <stdio.h>

static bool is_opaque(uint16_t first, uint16_t last) /* RFC 7296 3.13.1 */
{
    return first == 65535 && last == 0;
}

/* Ports of a into b. OPAQUE is part of ANY and otherwise meets only itself. */
static bool meet_ports(const struct ts *a, const struct ts *b, struct ts *ret)
{
    bool a_opaque = is_opaque(a->port_first, a->port_last), b_opaque = is_opaque(b->port_first, b->port_last);
    if (a_opaque || b_opaque) {
        const struct ts *other = a_opaque ? b : a;
        bool any = other->port_first == 0 && other->port_last == 65535;
        ret->port_first = 65535;
        ret->port_last = 0;
        return any || (a_opaque && b_opaque);
    }
    ret->port_first = a->port_first > b->port_first ? a->port_first : b->port_first;
    ret->port_last = a->port_last < b->port_last ? a->port_last : b->port_last;
    return ret->port_first <= ret->port_last;
}

static bool meet(const struct ts *a, const struct ts *b, struct ts *ret)
{
    if (a->first.family != b->first.family || (a->proto && b->proto && a->proto != b->proto))
        return false;
    struct ts t = {.proto = a->proto ? a->proto : b->proto};
    t.first = addr_compare(&a->first, &b->first) > 0 ? a->first : b->first;
    t.last = addr_compare(&a->last, &b->last) < 0 ? a->last : b->last;
    if (addr_compare(&t.first, &t.last) > 0 || !meet_ports(a, b, &t))
        return false;
    *ret = t;
    return true;
}

static bool same(const struct ts *a, const struct ts *b)
{
    return a->proto == b->proto && a->port_first == b->port_first && a->port_last == b->port_last &&
           addr_equal(&a->first, &b->first) && addr_equal(&a->last, &b->last);
}

static bool holds(const struct ts *wide, const struct ts *narrow)
{
    struct ts t;
    return meet(wide, narrow, &t) && same(&t, narrow);
}

/* false: a selector we cannot read a range from; it is left out (RFC 7296 3.13.1: unknown types, first above last). */
static bool from_wire(const struct ike_ts *w, struct ts *ret)
{
    if (w->type != TS_IPV4_ADDR_RANGE && w->type != TS_IPV6_ADDR_RANGE)
        return false;
    *ret = (struct ts){w->proto, w->port_first, w->port_last, w->first, w->last};
    return addr_compare(&w->first, &w->last) <= 0 &&
           (w->port_first <= w->port_last || is_opaque(w->port_first, w->port_last));
}

struct side {
    struct rd peer; /* its selectors */
    const struct ts *policy;
    uint8_t n;
};

/* Of one address family: the first acceptable selector, or a later one that holds it and more. */
static bool narrow_side(const struct side *s, uint8_t family, struct ts *ret)
{
    struct rd r = s->peer;
    struct ike_ts w;
    struct ts peer, t, best = {0};
    bool found = false;
    while (ike_ts_next(&r, &w)) {
        if (!from_wire(&w, &peer) || peer.first.family != family)
            continue;
        for (uint8_t i = 0; i < s->n; i++)
            if (meet(&peer, &s->policy[i], &t) && (!found || holds(&t, &best))) {
                best = t;
                found = true;
            }
    }
    if (found)
        *ret = best;
    return found;
}

static bool leaves_out(const struct side *s, const struct ts *chosen)
{
    struct rd r = s->peer;
    struct ike_ts w;
    struct ts peer, t;
    while (ike_ts_next(&r, &w))
        for (uint8_t i = 0; i < s->n; i++)
            if (from_wire(&w, &peer) && meet(&peer, &s->policy[i], &t) && !holds(chosen, &t))
                return true;
    return false;
}

static uint8_t first_family(struct rd peer)
{
    struct ike_ts w;
    struct ts t;
    while (ike_ts_next(&peer, &w))
        if (from_wire(&w, &t))
            return t.first.family;
    return 4;
}

enum rc ike_selector_narrow(const struct ike_ts_policy *policy, struct span peer_remote, struct span peer_local,
                            struct ike_ts_pair *ret)
{
    struct side remote = {.policy = policy->remote, .n = policy->n_remote};
    struct side local = {.policy = policy->local, .n = policy->n_local};
    uint8_t n;
    enum rc rc = ike_ts_read(peer_remote, &n, &remote.peer);
    if (rc == RC_OK)
        rc = ike_ts_read(peer_local, &n, &local.peer);
    if (rc)
        return rc;

    uint8_t family = first_family(remote.peer);
    for (int try = 0; try < 2; try++, family = family == 4 ? 6 : 4) {
        struct ike_ts_pair pair = {0};
        if (!narrow_side(&remote, family, &pair.remote) || !narrow_side(&local, family, &pair.local))
            continue;
        if (pair.remote.proto && pair.local.proto && pair.remote.proto != pair.local.proto)
            continue; /* no packet has two protocols */
        pair.more = leaves_out(&remote, &pair.remote) || leaves_out(&local, &pair.local);
        *ret = pair;
        return RC_OK;
    }
    return RC_ABSENT;
}

/* Is `ts` inside one selector of the policy, and of the peer? */
static bool allowed(const struct side *s, const struct ts *ts)
{
    struct rd r = s->peer;
    struct ike_ts w;
    struct ts peer;
    bool by_policy = false, by_peer = false;
    for (uint8_t i = 0; i < s->n; i++)
        by_policy |= holds(&s->policy[i], ts);
    while (ike_ts_next(&r, &w))
        by_peer |= from_wire(&w, &peer) && holds(&peer, ts);
    return by_policy && by_peer;
}

enum rc ike_selector_rekey(const struct ike_ts_policy *policy, struct span peer_remote, struct span peer_local,
                           const struct ts *old_local, const struct ts *old_remote, struct ike_ts_pair *ret)
{
    struct side remote = {.policy = policy->remote, .n = policy->n_remote};
    struct side local = {.policy = policy->local, .n = policy->n_local};
    struct ike_ts_pair pair;
    uint8_t n;
    enum rc rc = ike_selector_narrow(policy, peer_remote, peer_local, &pair);
    if (rc == RC_OK && holds(&pair.local, old_local) && holds(&pair.remote, old_remote)) {
        *ret = pair;
        return RC_OK;
    }
    if (rc != RC_OK || ike_ts_read(peer_remote, &n, &remote.peer) != RC_OK ||
        ike_ts_read(peer_local, &n, &local.peer) != RC_OK)
        return rc == RC_OK ? RC_SYNTAX : rc;
    if (!allowed(&remote, old_remote) || !allowed(&local, old_local))
        return RC_ABSENT;
    *ret = (struct ike_ts_pair){*old_local, *old_remote, true}; /* the peer names more, and the old pair not first */
    return RC_OK;
}

struct ike_ts ike_selector_wire(const struct ts *ts)
{
    return (struct ike_ts){
        .type = ts->first.family == 4 ? TS_IPV4_ADDR_RANGE : TS_IPV6_ADDR_RANGE,
        .proto = ts->proto,
        .port_first = ts->port_first,
        .port_last = ts->port_last,
        .first = ts->first,
        .last = ts->last,
    };
}

static void first_text(struct span body, char *ret, size_t n)
{
    char first[ADDR_TEXT], last[ADDR_TEXT];
    struct ike_ts w;
    struct rd r;
    uint8_t count;
    snprintf(ret, n, "none");
    if (ike_ts_read(body, &count, &r) || !ike_ts_next(&r, &w))
        return;
    if (w.type != TS_IPV4_ADDR_RANGE && w.type != TS_IPV6_ADDR_RANGE)
        snprintf(ret, n, "type %u", w.type);
    else
        snprintf(ret, n, "%s-%s", addr_text(&w.first, first), addr_text(&w.last, last));
}

const char *ike_selector_text(struct span peer_remote, struct span peer_local, char ret[IKE_TS_TEXT])
{
    char remote[2 * ADDR_TEXT], local[2 * ADDR_TEXT];
    first_text(peer_remote, remote, sizeof remote);
    first_text(peer_local, local, sizeof local);
    snprintf(ret, IKE_TS_TEXT, "%s === %s", remote, local);
    return ret;
}

const char *ike_selector_policy_text(const struct ike_ts_policy *policy, char ret[IKE_TS_TEXT])
{
    char remote[2 * ADDR_TEXT] = "none", local[2 * ADDR_TEXT] = "none", first[ADDR_TEXT], last[ADDR_TEXT];
    const struct ts *r = policy->remote, *l = policy->local;
    if (policy->n_remote)
        snprintf(remote, sizeof remote, "%s-%s", addr_text(&r->first, first), addr_text(&r->last, last));
    if (policy->n_local)
        snprintf(local, sizeof local, "%s-%s", addr_text(&l->first, first), addr_text(&l->last, last));
    snprintf(ret, IKE_TS_TEXT, "%s === %s", remote, local);
    return ret;
}
