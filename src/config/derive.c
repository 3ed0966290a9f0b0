/* derive: what follows from several rows together. */
#include <stdlib.h>

#include "index.h"
#include "loader.h"

static const char *name_of(const struct config_tunnel *t)
{
    return t->name ? t->name : "";
}

static int by_name(const void *pa, const void *pb)
{
    const struct config_tunnel *const *a = pa, *const *b = pb;
    int order = strcmp(name_of(*a), name_of(*b));
    return order ? order : (*a > *b) - (*a < *b);
}

void config_link(struct loader *l, struct config *c)
{
    CONFIG_EACH(struct config_account, a, c->accounts)
    {
        size_t n = a->tunnels.n;
        a->by_name = config_arena_take(l->arena, n * sizeof(struct config_tunnel *) + 1);
        if (!a->by_name)
            return;
        for (size_t i = 0; i < n; i++) {
            a->tunnels.v[i].account = a;
            a->by_name[i] = &a->tunnels.v[i];
        }
        if (n)
            qsort(a->by_name, n, sizeof(struct config_tunnel *), by_name);
        c->n_tunnels += n;
        c->n_routes += a->routes.n;
    }
}

const struct config_tunnel *config_tunnel_find(const struct config_account *a, const char *name)
{
    size_t low = 0, high = a->tunnels.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name_of(a->by_name[middle]), name);
        if (order == 0)
            return a->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct config_tunnel *config_tunnel_protector(const struct config_tunnel *t)
{
    return t->protect ? config_tunnel_find(t->account, t->protect) : NULL;
}

const char *config_account_label(const struct config_account *a)
{
    return a->name ? a->name : a->id;
}

/* ---- sources */

static int by_prefix(const void *pa, const void *pb)
{
    const struct prefix *a = pa, *b = pb;
    int order = addr_compare(&a->addr, &b->addr);
    return order ? order : (int)a->len - (int)b->len;
}

static void add_prefix(struct config_prefixes *list, const struct prefix *p)
{
    if (p->addr.family)
        list->v[list->n++] = prefix_network(*p);
}

static void sort_prefixes(struct config_prefixes *list)
{
    size_t kept = 0;
    if (list->n)
        qsort(list->v, list->n, sizeof list->v[0], by_prefix);
    for (size_t i = 0; i < list->n; i++)
        if (!kept || !prefix_equal(&list->v[kept - 1], &list->v[i]))
            list->v[kept++] = list->v[i];
    list->n = kept;
}

/* Inner packets of an account may come from wherever packets of the account are sent to. */
static void derive_sources(struct loader *l, struct config_account *a)
{
    struct config_prefixes all = {0};
    all.v = config_arena_take(l->arena, (a->routes.n + 2 * a->tunnels.n) * sizeof all.v[0] + 1);
    if (!all.v)
        return;
    for (size_t i = 0; i < a->routes.n; i++)
        add_prefix(&all, &a->routes.v[i].prefix);
    for (size_t i = 0; i < a->tunnels.n; i++) {
        add_prefix(&all, &a->tunnels.v[i].interface_address);
        add_prefix(&all, &a->tunnels.v[i].interface_address6);
    }
    sort_prefixes(&all);
    a->sources = all;
}

static void derive_carried(struct config *c)
{
    CONFIG_EACH_TUNNEL(c, a, t)
    {
        const struct config_tunnel *by = t->type == TUNNEL_GRE ? config_tunnel_protector(t) : NULL;
        if (by && !by->carries)
            a->tunnels.v[by - a->tunnels.v].carries = t;
    }
}

/* An address identifies a tunnel only where (our endpoint, customer's endpoint) does. */
static void derive_address_identities(struct loader *l, struct config *c)
{
    struct config_index pairs = {.arena = l->scratch};
    CONFIG_EACH_TUNNEL(c, a, t)
    {
        char ours[ADDR_TEXT], theirs[ADDR_TEXT];
        if (t->type != TUNNEL_IPSEC || !t->endpoint.family || !t->customer_endpoint.family)
            continue;
        struct config_tunnel *first = config_index_put(&pairs, t, "%s %s", addr_text(&t->endpoint, ours),
                                                       addr_text(&t->customer_endpoint, theirs));
        t->address_identity = !first;
        if (first)
            first->address_identity = false;
    }
    config_index_free(&pairs);
}

/* RFC 6040 4.3: where the far end may not know the RFC, compatibility mode keeps it from losing marks; a GRE router may not,
 * an IKEv2 peer does (RFC 4301 5.1.2). A window per server is honest on one server only. */
static void derive_defaults(const struct config *c, struct config_tunnel *t)
{
    enum { ECN_FIELD = 2 };
    if (!(t->outer.row.set & CONFIG_BIT(ECN_FIELD)))
        t->outer.ecn = t->type == TUNNEL_GRE ? ECN_COMPAT : ECN_NORMAL;
    t->outer.row.set |= CONFIG_BIT(ECN_FIELD);
    if (t->type != TUNNEL_IPSEC)
        return;
    if (!(t->row.set & CONFIG_BIT(CONFIG_TUNNEL_replay_protection)))
        t->replay_protection = c->fleet.store == CONFIG_STORE_NONE;
    t->row.set |= CONFIG_BIT(CONFIG_TUNNEL_replay_protection);
}

void config_derive(struct loader *l, struct config *c)
{
    derive_address_identities(l, c);
    derive_carried(c);
    CONFIG_EACH(struct config_account, a, c->accounts)
    derive_sources(l, a);
    CONFIG_EACH_TUNNEL(c, a, t)
    derive_defaults(c, t);
}
