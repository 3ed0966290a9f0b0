/* Routes of the accounts, on the control side: kept by (account, prefix, tunnel), turned into a fib at the next publication. */
#include "tables.h"

#include <stdlib.h>

static struct account *account_find(const struct dp *dp, uint32_t id)
{
    for (struct map_node *n = map_first(&dp->accounts, key_hash(key4(id), 0)); n; n = map_next(n))
        if (CONTAINER_OF(n, struct account, node)->id == id)
            return CONTAINER_OF(n, struct account, node);
    return NULL;
}

static struct account *account_get(struct dp *dp, uint32_t id)
{
    struct account *a = account_find(dp, id);
    if (a)
        return a;
    a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->id = id;
    list_init(&a->routes);
    if (map_insert(&dp->accounts, &a->node, key_hash(key4(id), 0)) != RC_OK) {
        free(a);
        return NULL;
    }
    return a;
}

static uint64_t route_hash(uint32_t account, const struct prefix *p, uint32_t tunnel)
{
    return key_hash(key_of(&p->addr), (uint64_t)account << 32 ^ (uint64_t)p->len << 24 ^ tunnel);
}

static struct route *route_find(const struct dp *dp, uint32_t account, const struct prefix *p, uint32_t tunnel)
{
    for (struct map_node *n = map_first(&dp->routes, route_hash(account, p, tunnel)); n; n = map_next(n)) {
        struct route *r = CONTAINER_OF(n, struct route, node);
        if (r->policy.account == account && r->policy.tunnel == tunnel && prefix_equal(&r->policy.prefix, p))
            return r;
    }
    return NULL;
}

static enum rc route_set(struct dp *dp, const struct route_policy *policy, bool implicit)
{
    struct route *r = route_find(dp, policy->account, &policy->prefix, policy->tunnel);
    if (r) {
        if (implicit || !r->implicit) { /* a route in the table does not take the interface subnet's place */
            r->policy = *policy;
            r->implicit = implicit;
        }
        account_find(dp, policy->account)->dirty = true;
        return RC_OK;
    }
    if (dp->routes.n >= (size_t)dp->config.max_routes + 2 * (size_t)dp->config.max_tunnels)
        return RC_LIMIT;
    struct account *a = account_get(dp, policy->account);
    r = a ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return RC_NOMEM;
    r->policy = *policy;
    r->implicit = implicit;
    if (map_insert(&dp->routes, &r->node, route_hash(policy->account, &policy->prefix, policy->tunnel)) != RC_OK) {
        free(r);
        return RC_NOMEM;
    }
    list_push_back(&a->routes, &r->in_account);
    list_push_back(&dp->tunnel[policy->tunnel]->routes, &r->in_tunnel);
    a->dirty = true;
    return RC_OK;
}

static void route_drop(struct dp *dp, struct route *r)
{
    account_find(dp, r->policy.account)->dirty = true;
    map_remove(&dp->routes, &r->node);
    list_remove(&r->in_account);
    list_remove(&r->in_tunnel);
    free(r);
}

enum rc dp_route_set(struct dp *dp, const struct route_policy *route)
{
    struct route_policy p = *route;
    p.prefix = prefix_network(p.prefix);
    if (p.tunnel >= dp->config.max_tunnels || !dp->tunnel[p.tunnel] || p.prefix.addr.family == 0)
        return RC_ABSENT;
    if (p.weight == 0)
        p.weight = 1;
    return route_set(dp, &p, false);
}

void dp_route_remove(struct dp *dp, uint32_t account, const struct prefix *prefix, uint32_t tunnel)
{
    struct prefix p = prefix_network(*prefix);
    struct route *r = route_find(dp, account, &p, tunnel);
    if (r && !r->implicit)
        route_drop(dp, r);
}

enum rc route_implicit_set(struct dp *dp, const struct tun *tun, const struct prefix *old, const struct prefix *new)
{
    struct tunnel *t = dp->tunnel[tun->handle];
    for (int i = 0; i < 2; i++) {
        uint32_t account = t->view ? t->view->account : tun->account;
        if (old[i].addr.family && !(prefix_equal(&old[i], &new[i]) && account == tun->account)) {
            struct prefix p = prefix_network(old[i]);
            struct route *r = route_find(dp, account, &p, tun->handle);
            if (r && r->implicit)
                route_drop(dp, r);
        }
        if (!new[i].addr.family || new[i].len == 0)
            continue;
        struct route_policy p = {
            .account = tun->account, .prefix = prefix_network(new[i]), .tunnel = tun->handle, .weight = 1};
        enum rc rc = route_set(dp, &p, true);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

void routes_of_tunnel_remove(struct dp *dp, uint32_t tunnel)
{
    struct list *routes = &dp->tunnel[tunnel]->routes;
    for (struct list *l = routes->next, *next; l != routes; l = next) {
        next = l->next;
        route_drop(dp, CONTAINER_OF(l, struct route, in_tunnel));
    }
}
