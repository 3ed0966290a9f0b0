/* dp_publish: build what changed, swap one pointer, give away what no batch to come can see (garbage.c). */
#include "tables.h"

#include <stdlib.h>

static uint32_t slots_for(size_t n)
{
    uint32_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

/* ---- GRE by endpoint pair --------------------------------------------------------------------- */

static bool same_pair(const struct tun *a, const struct tun *b)
{
    return addr_equal(&a->local, &b->local) && addr_equal(&a->remote, &b->remote);
}

static void gre_free(struct gre_table *g)
{
    if (!g)
        return;
    free(g->slot);
    free(g->next);
    free(g);
}

static enum rc gre_insert(struct gre_table *g, struct tun *const *tun, uint32_t handle)
{
    const struct tun *t = tun[handle];
    uint32_t i = (uint32_t)pair_hash(key_of(&t->local), key_of(&t->remote)) & g->mask;
    while (g->slot[i] && !same_pair(tun[g->slot[i] - 1], t))
        i = (i + 1) & g->mask;
    /* Two tunnels on one pair can be told apart by distinct keys only. */
    for (uint32_t k = g->slot[i]; k; k = g->next[k - 1])
        if (!t->has_key || !tun[k - 1]->has_key || t->key == tun[k - 1]->key)
            return RC_EXISTS;
    g->next[handle] = g->slot[i];
    g->slot[i] = handle + 1;
    return RC_OK;
}

static enum rc gre_build(struct tun *const *tun, uint32_t n, struct gre_table **ret)
{
    struct gre_table *g = calloc(1, sizeof *g);
    if (!g)
        return RC_NOMEM;
    uint32_t slots = slots_for(n);
    g->mask = slots - 1;
    g->slot = calloc(slots, sizeof *g->slot);
    g->next = calloc(n + 1, sizeof *g->next);
    enum rc rc = g->slot && g->next ? RC_OK : RC_NOMEM;
    for (uint32_t i = 0; i < n && rc == RC_OK; i++)
        if (tun[i] && tun[i]->type == TUNNEL_GRE)
            rc = gre_insert(g, tun, i);
    if (rc == RC_OK)
        *ret = g;
    else
        gre_free(g);
    return rc;
}

/* ---- our own addresses ------------------------------------------------------------------------ */

static void ours_insert(struct addr_set *s, const struct addr *a)
{
    struct key k = key_of(a);
    uint32_t i = (uint32_t)key_hash(k, 0) & s->mask;
    while ((s->slot[i].hi | s->slot[i].lo) && !key_equal(s->slot[i], k))
        i = (i + 1) & s->mask;
    s->slot[i] = k;
    s->maybe |= addr_bit(k);
    struct addr *any = a->family == 4 ? &s->any4 : &s->any6;
    if (any->family == 0)
        *any = *a;
}

static void ours_free(struct addr_set *s)
{
    if (s)
        free(s->slot);
    free(s);
}

static enum rc ours_build(const struct dp *dp, struct tun *const *tun, uint32_t n, struct addr_set **ret)
{
    uint32_t slots = slots_for(dp->n_endpoints + n); /* an upper bound: tunnels share endpoints */
    struct addr_set *s = calloc(1, sizeof *s);
    if (s)
        s->slot = calloc(slots, sizeof *s->slot);
    if (!s || !s->slot) {
        ours_free(s);
        return RC_NOMEM;
    }
    s->mask = slots - 1;
    for (size_t i = 0; i < dp->n_endpoints; i++)
        ours_insert(s, &dp->endpoints[i]);
    for (uint32_t i = 0; i < n; i++)
        if (tun[i])
            ours_insert(s, &tun[i]->local);
    *ret = s;
    return RC_OK;
}

/* ---- parts of a publication --------------------------------------------------------------------- */

static enum rc build_tunnels(const struct dp *dp, struct tables *t)
{
    uint32_t n = dp->config.max_tunnels;
    while (n > 0 && !dp->tunnel[n - 1])
        n--;
    t->n_tun = n;
    t->tun = calloc(n + 1, sizeof(struct tun *));
    if (!t->tun)
        return RC_NOMEM;
    for (uint32_t i = 0; i < n; i++)
        t->tun[i] = dp->tunnel[i] ? dp->tunnel[i]->view : NULL;
    enum rc rc = gre_build(t->tun, n, &t->gre);
    return rc == RC_OK ? ours_build(dp, t->tun, n, &t->ours) : rc;
}

static void free_tunnels(struct tables *t)
{
    free(t->tun);
    gre_free(t->gre);
    ours_free(t->ours);
}

/* An account whose fib is being replaced; all are built before the first one is seen. */
struct change {
    struct account *account;
    struct fib *fib;
};

static enum rc build_fibs(const struct dp *dp, struct tables *t, struct change **ret, size_t *ret_n)
{
    uint32_t slots = slots_for(dp->accounts.n);
    struct change *v = calloc(dp->accounts.n + 1, sizeof *v);
    t->fib = calloc(slots, sizeof(struct fib *));
    t->fib_mask = slots - 1;
    enum rc rc = v && t->fib ? RC_OK : RC_NOMEM;
    size_t n = 0;
    for (struct map_node *m = map_walk(&dp->accounts, NULL); m && rc == RC_OK; m = map_walk(&dp->accounts, m)) {
        struct account *a = CONTAINER_OF(m, struct account, node);
        struct fib *fib = a->fib;
        if (a->dirty || !fib) {
            rc = fib_build(a, &fib);
            if (rc != RC_OK)
                break;
            v[n++] = (struct change){a, fib};
        }
        uint32_t i = a->id & t->fib_mask;
        while (t->fib[i])
            i = (i + 1) & t->fib_mask;
        t->fib[i] = fib;
    }
    *ret = v;
    *ret_n = n;
    return rc;
}

static bool any_dirty_account(const struct dp *dp)
{
    for (struct map_node *m = map_walk(&dp->accounts, NULL); m; m = map_walk(&dp->accounts, m))
        if (CONTAINER_OF(m, struct account, node)->dirty)
            return true;
    return false;
}

/* ---- the swap ----------------------------------------------------------------------------------- */

void tables_free(struct tables *t)
{
    if (!t)
        return;
    free_tunnels(t);
    free(t->fib);
    free(t);
}

static void garbage_tables(struct dp *dp, struct dp_garbage *g)
{
    struct tables *t = CONTAINER_OF(g, struct tables, garbage);
    (void)dp;
    if (!t->tun_shared)
        free_tunnels(t);
    free(t->fib);
    free(t);
}

/* What the new tables no longer hold. */
static void retire(struct dp *dp, struct tables *old, const struct tables *new, struct change *change, size_t n)
{
    for (size_t i = 0; i < n; i++) /* by now the old ones */
        fib_retire(dp, change[i].fib);
    if (!old)
        return;
    tables_reap(dp, old, new);
    old->tun_shared = old->tun == new->tun;
    garbage_add(dp, &old->garbage, garbage_tables);
}

enum rc dp_publish(struct dp *dp)
{
    struct tables *old = dp->tables, *new;
    if (old && !dp->tunnels_dirty && !any_dirty_account(dp))
        return RC_OK;
    new = calloc(1, sizeof *new);
    if (!new)
        return RC_NOMEM;
    enum rc rc = RC_OK;
    if (dp->tunnels_dirty || !old)
        rc = build_tunnels(dp, new);
    else {
        new->tun = old->tun;
        new->n_tun = old->n_tun;
        new->gre = old->gre;
        new->ours = old->ours;
    }
    struct change *change = NULL;
    size_t n = 0;
    if (rc == RC_OK)
        rc = build_fibs(dp, new, &change, &n);
    if (rc != RC_OK) {
        for (size_t i = 0; i < n; i++)
            fib_free(change[i].fib);
        if (dp->tunnels_dirty)
            free_tunnels(new);
        free(new->fib);
        free(new);
        free(change);
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        struct fib *before = change[i].account->fib;
        change[i].account->fib = change[i].fib;
        change[i].account->dirty = false;
        change[i].fib = before;
    }
    SHOW(dp->tables, new);
    dp->tunnels_dirty = false;
    retire(dp, old, new, change, n);
    free(change);
    return RC_OK;
}
