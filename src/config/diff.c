/* diff: two configurations -> the rows that a running daemon has to remove, add or change. Rows that are alike do not appear,
 * so that a reload cannot touch their tunnels. */
#include <stdlib.h>

#include "index.h"
#include "loader.h"

struct differ {
    const struct config *old, *new;
    struct config_index index[2]; /* accounts, tunnels and routes of old and of new, by kind and key */
    struct config_arena *arena;
    struct config_delta *v;
    size_t n, cap;
    bool sources_differ; /* of the account whose tunnels are being compared */
    bool failed;
};
enum side { OLD, NEW };

static struct config_delta *add(struct differ *d, enum config_kind kind, enum config_change change)
{
    static struct config_delta nowhere;
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 64;
        struct config_delta *v = realloc(d->v, cap * sizeof *v);
        if (!v) {
            d->failed = true;
            return &nowhere;
        }
        d->v = v;
        d->cap = cap;
    }
    struct config_delta *delta = &d->v[d->n++];
    *delta = (struct config_delta){.kind = kind, .change = change};
    return delta;
}

/* ---- look-up by what a row is known by */

static void *account_at(struct differ *d, enum side side, const struct config_account *a)
{
    return config_index_get(&d->index[side], "a %s", a->id);
}

static void *tunnel_at(struct differ *d, enum side side, const struct config_tunnel *t)
{
    return config_index_get(&d->index[side], "t %s %s", t->account->id, t->name);
}

static void *route_at(struct differ *d, enum side side, const struct config_account *a, const struct config_route *r)
{
    char text[PREFIX_TEXT];
    return config_index_get(&d->index[side], "r %s %s %s", a->id, prefix_text(&r->prefix, text), r->tunnel);
}

static void index_rows(struct differ *d, enum side side, const struct config *c)
{
    struct config_index *x = &d->index[side];
    char text[PREFIX_TEXT];
    x->arena = d->arena;
    if (!c)
        return;
    CONFIG_EACH_TUNNEL(c, a, t)
    config_index_put(x, t, "t %s %s", a->id, t->name);
    CONFIG_EACH_ROUTE(c, a, r)
    config_index_put(x, r, "r %s %s %s", a->id, prefix_text(&r->prefix, text), r->tunnel);
    for (size_t i = 0; i < c->accounts.n; i++)
        config_index_put(x, &c->accounts.v[i], "a %s", c->accounts.v[i].id);
}

/* ---- removed: routes, tunnels, accounts */

static void find_removed(struct differ *d)
{
    if (!d->old)
        return;
    CONFIG_EACH_ROUTE(d->old, a, r)
    if (!route_at(d, NEW, a, r)) {
        struct config_delta *delta = add(d, CONFIG_KIND_ROUTE, CONFIG_REMOVED);
        delta->old_account = a;
        delta->new_account = account_at(d, NEW, a);
        delta->old_route = r;
    }
    CONFIG_EACH_TUNNEL(d->old, a, t)
    if (!tunnel_at(d, NEW, t)) {
        struct config_delta *delta = add(d, CONFIG_KIND_TUNNEL, CONFIG_REMOVED);
        delta->old_account = a;
        delta->new_account = account_at(d, NEW, a);
        delta->old_tunnel = t;
    }
    for (size_t i = 0; i < d->old->accounts.n; i++)
        if (!account_at(d, NEW, &d->old->accounts.v[i]))
            add(d, CONFIG_KIND_ACCOUNT, CONFIG_REMOVED)->old_account = &d->old->accounts.v[i];
}

/* ---- added and changed: accounts, tunnels, routes */

static uint64_t compare(enum section_id id, const void *a, const void *b)
{
    return a && b ? config_row_compare(&config_sections[id], a, b) : 0;
}

static bool sources_differ(const struct config_prefixes *a, const struct config_prefixes *b)
{
    bool differ = a->n != b->n;
    for (size_t i = 0; !differ && i < a->n; i++)
        differ = !prefix_equal(&a->v[i], &b->v[i]);
    return differ;
}

static bool carries_differ(const struct config_tunnel *a, const struct config_tunnel *b)
{
    const struct addr none = {0};
    return !addr_equal(a->carries ? &a->carries->customer_endpoint : &none,
                       b->carries ? &b->carries->customer_endpoint : &none);
}

static bool identity_differs(const struct identity *a, const struct identity *b)
{
    return a->type != b->type || !span_equal(span_of(a->data, a->n), span_of(b->data, b->n));
}

/* What follows from other rows: sources from routes, identities from ike and from other tunnels, the GRE that is carried. */
static bool derived_differs(const struct differ *d, const struct config_tunnel *a, const struct config_tunnel *b)
{
    struct identity x[TUNNEL_IDENTITIES], y[TUNNEL_IDENTITIES], mine, yours;
    if (b->type == TUNNEL_GRE)
        return d->sources_differ;
    if (carries_differ(a, b))
        return true;
    uint8_t n = config_identities(d->old, a, x);
    bool differ = n != config_identities(d->new, b, y);
    for (uint8_t i = 0; !differ && i < n; i++)
        differ = identity_differs(&x[i], &y[i]);
    config_local_identity(d->old, a, &mine);
    config_local_identity(d->new, b, &yours);
    return differ || identity_differs(&mine, &yours) ||
           strcmp(config_account_label(a->account), config_account_label(b->account)) != 0;
}

static void compare_account(struct differ *d, const struct config_account *a)
{
    const struct config_account *was = account_at(d, OLD, a);
    uint64_t fields =
        compare(SECTION_ACCOUNT, was, a) & ~(CONFIG_BIT(CONFIG_ACCOUNT_tunnels) | CONFIG_BIT(CONFIG_ACCOUNT_routes));
    if (was && !fields)
        return;
    struct config_delta *delta = add(d, CONFIG_KIND_ACCOUNT, was ? CONFIG_CHANGED : CONFIG_ADDED);
    delta->fields = fields;
    delta->old_account = was;
    delta->new_account = a;
}

static void compare_tunnel(struct differ *d, const struct config_tunnel *t)
{
    const struct config_tunnel *was = tunnel_at(d, OLD, t);
    uint64_t fields = compare(SECTION_TUNNEL, was, t);
    bool derived = was && was->type == t->type && derived_differs(d, was, t);
    if (was && !fields && !derived)
        return;
    struct config_delta *delta = add(d, CONFIG_KIND_TUNNEL, was ? CONFIG_CHANGED : CONFIG_ADDED);
    delta->fields = fields;
    delta->derived = derived;
    delta->old_account = account_at(d, OLD, t->account);
    delta->new_account = t->account;
    delta->old_tunnel = was;
    delta->new_tunnel = t;
}

static void compare_tunnels(struct differ *d, const struct config_account *a)
{
    const struct config_account *was = account_at(d, OLD, a);
    d->sources_differ = was && sources_differ(&was->sources, &a->sources);
    for (size_t i = 0; i < a->tunnels.n; i++)
        compare_tunnel(d, &a->tunnels.v[i]);
}

static void compare_route(struct differ *d, const struct config_account *a, const struct config_route *r)
{
    const struct config_route *was = route_at(d, OLD, a, r);
    uint64_t fields = compare(SECTION_ROUTE, was, r);
    if (was && !fields)
        return;
    struct config_delta *delta = add(d, CONFIG_KIND_ROUTE, was ? CONFIG_CHANGED : CONFIG_ADDED);
    delta->fields = fields;
    delta->old_account = account_at(d, OLD, a);
    delta->new_account = a;
    delta->old_route = was;
    delta->new_route = r;
}

enum rc config_diff(const struct config *old, const struct config *new, struct config_diff *ret)
{
    /* What sockets, threads, the store and the control socket are made from, once. */
    const uint64_t restart = CONFIG_BIT(CONFIG_TOP_node) | CONFIG_BIT(CONFIG_TOP_outer) |
                             CONFIG_BIT(CONFIG_TOP_workers) | CONFIG_BIT(CONFIG_TOP_fleet) |
                             CONFIG_BIT(CONFIG_TOP_control) | CONFIG_BIT(CONFIG_TOP_metrics);
    struct differ d = {.old = old, .new = new, .arena = config_arena_new()};
    if (!d.arena)
        return RC_NOMEM;
    index_rows(&d, OLD, old);
    index_rows(&d, NEW, new);
    find_removed(&d);
    for (size_t i = 0; i < new->accounts.n; i++)
        compare_account(&d, &new->accounts.v[i]);
    for (size_t i = 0; i < new->accounts.n; i++)
        compare_tunnels(&d, &new->accounts.v[i]);
    CONFIG_EACH_ROUTE(new, a, r)
    compare_route(&d, a, r);
    bool failed = d.failed || config_arena_failed(d.arena);
    config_index_free(&d.index[OLD]);
    config_index_free(&d.index[NEW]);
    config_arena_free(d.arena);
    if (failed) {
        free(d.v);
        return RC_NOMEM;
    }
    uint64_t sections = compare(SECTION_TOP, old, new) & ~CONFIG_BIT(CONFIG_TOP_accounts);
    if (old && memcmp(old->ike.cookie_secret, new->ike.cookie_secret, sizeof new->ike.cookie_secret) != 0)
        sections |= CONFIG_BIT(CONFIG_TOP_ike); /* the file of the same name holds another one */
    *ret = (struct config_diff){.v = d.v, .n = d.n, .sections = sections, .restart = sections & restart};
    return RC_OK;
}

void config_diff_free(struct config_diff *d)
{
    free(d->v);
    *d = (struct config_diff){0};
}
