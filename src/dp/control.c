/* The control side: making and freeing a dp, tunnels, endpoints. Nothing here is seen by a worker before dp_publish(). */
#include "tables.h"

#include <stdlib.h>

enum rc dp_new(const struct dp_config *config, struct dp **ret)
{
    if (config->workers > DP_WORKERS_MAX || config->sender_id >> 24 != 0 || config->max_tunnels == 0 ||
        config->max_tunnels >= FIB_SINGLE)
        return RC_RANGE;
    struct dp *dp = calloc(1, sizeof *dp);
    if (!dp)
        return RC_NOMEM;
    dp->config = *config;
    dp->tunnels_dirty = true;
    dp->garbage_end = &dp->garbage;
    slab_init(&dp->tuns, sizeof(struct tun));
    sa_slabs_init(dp);
    dp->seed = config->rng ? rng_u64(config->rng) : 0;
    dp->live = pages_get(config->max_tunnels * sizeof *dp->live);
    dp->tunnel = calloc(config->max_tunnels, sizeof(struct tunnel *));
    if (!dp->live || !dp->tunnel || sa_indexes_new(dp) != RC_OK || dp_publish(dp) != RC_OK) {
        dp_free(dp);
        return RC_NOMEM;
    }
    *ret = dp;
    return RC_OK;
}

void dp_coalesce(struct dp *dp, uint8_t what)
{
    WRITE(dp->config.coalesce, what);
}

void dp_free(struct dp *dp)
{
    if (!dp)
        return;
    for (uint32_t i = 0; dp->tunnel && i < dp->config.max_tunnels; i++)
        dp_tunnel_remove(dp, i);
    /* Without a route or tunnel left, publishing frees what the workers saw last; should it lack the memory, that stays. */
    if (dp->tables && dp_publish(dp) == RC_OK)
        tables_free(dp->tables);
    dp_garbage_free(dp, dp_garbage_take(dp));
    for (struct map_node *n = map_walk(&dp->routes, NULL), *next; n; n = next) {
        next = map_walk(&dp->routes, n);
        map_remove(&dp->routes, n);
        free(CONTAINER_OF(n, struct route, node));
    }
    for (struct map_node *n = map_walk(&dp->accounts, NULL), *next; n; n = next) {
        next = map_walk(&dp->accounts, n);
        map_remove(&dp->accounts, n);
        fib_free(CONTAINER_OF(n, struct account, node)->fib);
        free(CONTAINER_OF(n, struct account, node));
    }
    map_free(&dp->routes);
    map_free(&dp->accounts);
    map_free(&dp->sources);
    sa_memory_free(dp);
    slab_clear(&dp->tuns);
    pages_put(dp->live, dp->config.max_tunnels * sizeof *dp->live);
    free(dp->tunnel);
    free(dp->endpoints);
    free(dp);
}

/* ---- tunnels ---------------------------------------------------------------------------------- */

static struct key mask6(uint8_t len)
{
    return (struct key){
        .hi = len == 0    ? 0
              : len >= 64 ? UINT64_MAX
                          : ~(UINT64_MAX >> len),
        .lo = len <= 64    ? 0
              : len >= 128 ? UINT64_MAX
                           : ~(UINT64_MAX >> (len - 64)),
    };
}

static void view_interface(struct tun *v, const struct tunnel_policy *t)
{
    if (t->interface4.addr.family == 4 && t->interface4.len > 0) {
        v->icmp4 = t->interface4.addr;
        v->mask4 = UINT32_MAX << (32 - t->interface4.len);
        v->net4 = load_be32(t->interface4.addr.b) & v->mask4;
    }
    if (t->interface6.addr.family == 6 && t->interface6.len > 0) {
        struct key k = key_of(&t->interface6.addr), m = mask6(t->interface6.len);
        v->icmp6 = t->interface6.addr;
        v->mask6 = m;
        v->net6 = (struct key){.hi = k.hi & m.hi, .lo = k.lo & m.lo};
    }
}

static void view_head(struct tun *v)
{
    if (v->type != TUNNEL_GRE || v->esp == TUNNEL_NONE)
        return;
    struct wr w = wr_of(v->head, sizeof v->head);
    wire_ip_write(&w, &(struct ip_fields){.src = v->local, .dst = v->remote, .proto = IP_PROTO_GRE});
    uint16_t n = (uint16_t)wr_len(&w);
    v->head_ip = (struct ip_view){.len = n, .payload = n, .version = v->local.family, .proto = IP_PROTO_GRE};
}

static struct tun view_of(const struct dp_config *config, const struct tunnel_policy *t)
{
    uint32_t esp = t->type == TUNNEL_IPSEC ? t->tunnel : t->protect;
    uint16_t flags =
        (uint16_t)((t->checksum ? GRE_CHECKSUM : 0) | (t->has_key ? GRE_KEY : 0) | (t->sequence ? GRE_SEQUENCE : 0));
    struct tun v = {
        .handle = t->tunnel,
        .account = t->account,
        .esp = esp,
        .type = t->type,
        .ttl = t->ttl ? t->ttl : 64,
        .owner = (uint8_t)(config->workers > 1 ? (esp == TUNNEL_NONE ? t->tunnel : esp) % config->workers : 0),
        .df = t->df,
        .ecn = t->ecn,
        .dscp = t->dscp,
        .gre_len = wire_gre_len(flags),
        .has_key = t->has_key,
        .sequence_check = t->sequence_check,
        .keepalive = t->keepalive,
        .check_sources = t->check_sources,
        .gre_flags = t->type == TUNNEL_GRE ? flags : 0,
        .path_mtu = t->path_mtu ? t->path_mtu : 1500,
        .mtu = t->mtu,
        .mss = t->mss,
        .key = t->key,
        .local = t->endpoint,
        .remote = t->customer_endpoint,
        .outer = {.src = t->endpoint, .dst = t->customer_endpoint, .ttl = t->ttl ? t->ttl : 64},
    };
    view_interface(&v, t);
    view_head(&v);
    return v;
}

static bool policy_is_usable(const struct tunnel_policy *t)
{
    if (t->endpoint.family != 4 && t->endpoint.family != 6)
        return false;
    if (t->customer_endpoint.family != t->endpoint.family &&
        (t->type == TUNNEL_GRE || t->customer_endpoint.family != 0))
        return false;
    return !addr_equal(&t->customer_endpoint, &t->endpoint) && t->dscp <= DSCP_COPY;
}

static void tun_free(struct dp *dp, struct tun *v)
{
    if (v) {
        sources_put(dp, v->sources);
        sources_put(dp, v->allow_sources);
    }
    slab_put(&dp->tuns, v);
}

/* No worker has the view any more: should one have computed limits by it to the end, they are the present ones' again. A removed
 * tunnel's handle is free. */
static void garbage_tun(struct dp *dp, struct dp_garbage *g)
{
    struct tun *v = CONTAINER_OF(g, struct tun, garbage);
    struct live *live = &dp->live[v->handle];
    if (dp->tunnel[v->handle])
        limits_update(live, dp->tunnel[v->handle]->view);
    if (live->leaving == v)
        live->leaving = NULL;
    tun_free(dp, v);
}

/* A view that no table refers to can go at once; a published one goes with the next publication. */
static void view_replace(struct dp *dp, struct tunnel *t, uint32_t handle, struct tun *view)
{
    const struct tables *pub = dp->tables;
    struct tun *seen = handle < pub->n_tun ? pub->tun[handle] : NULL; /* by workers */
    if (t->view && t->view != seen)
        tun_free(dp, t->view);
    if (!view && dp->config.workers > 0)
        dp->live[handle].leaving = seen;
    t->view = view;
    dp->tunnels_dirty = true;
}

static struct tunnel *tunnel_get(struct dp *dp, const struct tunnel_policy *p)
{
    struct tunnel *t = dp->tunnel[p->tunnel];
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    list_init(&t->routes);
    worker_counters_sum(dp, p->tunnel, &t->base);
    struct traffic gone = traffic_of_tunnel(&dp->live[p->tunnel]);
    traffic_add(&dp->gone, &gone);
    dp->live[p->tunnel] = (struct live){.path_mtu_until = NEVER, .seq_in = UINT32_MAX};
    dp->tunnel[p->tunnel] = t;
    return t;
}

enum rc dp_tunnel_set(struct dp *dp, const struct tunnel_policy *policy)
{
    if (policy->tunnel >= dp->config.max_tunnels)
        return RC_LIMIT;
    if (dp->live[policy->tunnel].leaving)
        return RC_LIMIT;
    if (policy->type == TUNNEL_GRE && policy->protect != TUNNEL_NONE && policy->protect >= dp->config.max_tunnels)
        return RC_LIMIT;
    if (!policy_is_usable(policy))
        return RC_RANGE;
    bool is_new = dp->tunnel[policy->tunnel] == NULL;
    if (!is_new && dp->tunnel[policy->tunnel]->view->type != policy->type)
        return RC_RANGE;

    struct tun *view = slab_get(&dp->tuns);
    struct tunnel *t = view ? tunnel_get(dp, policy) : NULL;
    if (!t) {
        slab_put(&dp->tuns, view);
        return RC_NOMEM;
    }
    *view = view_of(&dp->config, policy);
    struct tun *old = t->view;
    struct prefix net[2] = {policy->interface4, policy->interface6};
    if (sources_get(dp, policy->sources, policy->n_sources, &view->sources) != RC_OK ||
        sources_get(dp, policy->allow_sources, policy->n_allow_sources, &view->allow_sources) != RC_OK ||
        route_implicit_set(dp, view, t->net, net) != RC_OK) {
        tun_free(dp, view);
        if (is_new) {
            routes_of_tunnel_remove(dp, policy->tunnel);
            dp->tunnel[policy->tunnel] = NULL;
            free(t);
        }
        return RC_NOMEM;
    }
    t->window = 0;
    if (policy->replay_protection)
        t->window = policy->replay_window < WINDOW_MIN   ? WINDOW_MIN
                    : policy->replay_window > WINDOW_MAX ? WINDOW_MAX
                                                         : policy->replay_window;
    t->net[0] = net[0];
    t->net[1] = net[1];
    struct live *live = &dp->live[policy->tunnel];
    if (old && !(addr_equal(&old->local, &view->local) && addr_equal(&old->remote, &view->remote)))
        (void)SWAP(live->path_mtu, 0); /* it was another path's */
    view_replace(dp, t, policy->tunnel, view);
    limits_update(live, view);
    return RC_OK;
}

void dp_tunnel_remove(struct dp *dp, uint32_t handle)
{
    struct tunnel *t = handle < dp->config.max_tunnels ? dp->tunnel[handle] : NULL;
    if (!t)
        return;
    sa_remove_all(dp, handle);
    routes_of_tunnel_remove(dp, handle);
    view_replace(dp, t, handle, NULL);
    dp->tunnel[handle] = NULL;
    free(t);
}

void tables_reap(struct dp *dp, const struct tables *old, const struct tables *new)
{
    for (uint32_t i = 0; i < old->n_tun; i++)
        if (old->tun[i] && !(i < new->n_tun &&new->tun[i] == old->tun[i]))
            garbage_add(dp, &old->tun[i]->garbage, garbage_tun);
}

enum rc dp_endpoints_set(struct dp *dp, const struct addr *endpoints, size_t n)
{
    struct addr *copy = calloc(n ? n : 1, sizeof *copy);
    if (!copy)
        return RC_NOMEM;
    for (size_t i = 0; i < n; i++)
        copy[i] = endpoints[i];
    free(dp->endpoints);
    dp->endpoints = copy;
    dp->n_endpoints = n;
    dp->tunnels_dirty = true;
    return RC_OK;
}
