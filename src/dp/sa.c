/* Child SAs on the control side: up, down, moved; the index by SPI; the order in which a tunnel's SAs are sent on. */
#include "tables.h"

#include <stdlib.h>

/* ---- the index -------------------------------------------------------------------------------- */

static struct sa_index *index_new(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    struct sa_index *x = pages_get(sizeof *x + slots * sizeof *x->slot);
    if (x)
        x->mask = slots - 1;
    return x;
}

static void index_free(struct sa_index *x)
{
    if (x)
        pages_put(x, sizeof *x + (x->mask + 1) * sizeof *x->slot);
}

enum rc sa_indexes_new(struct dp *dp)
{
    dp->by_in = index_new(dp->config.max_sas);
    dp->by_out = index_new(dp->config.max_sas);
    return dp->by_in && dp->by_out ? RC_OK : RC_NOMEM;
}

static void index_insert(struct sa_index *x, uint32_t spi, struct sa *sa)
{
    size_t i = sa_slot(x, spi);
    while (x->slot[i].sa && x->slot[i].sa != SA_GONE)
        i = (i + 1) & x->mask;
    x->used += x->slot[i].sa == NULL;
    SHOW(x->slot[i].spi, spi); /* after SA_GONE, before the SA: sa_in_slot() */
    SHOW(x->slot[i].sa, sa);
}

static void index_remove(struct sa_index *x, uint32_t spi, const struct sa *sa)
{
    size_t i = sa_slot(x, spi);
    while (x->slot[i].sa != sa)
        i = (i + 1) & x->mask;
    SHOW(x->slot[i].sa, SA_GONE);
    if (x->slot[(i + 1) & x->mask].sa)
        return;
    for (; x->slot[i].sa == SA_GONE; i = (i - 1) & x->mask) { /* the end of a chain: free for good */
        SHOW(x->slot[i].sa, NULL);
        x->used--;
    }
}

static void garbage_index(struct dp *dp, struct dp_garbage *g)
{
    (void)dp;
    index_free(CONTAINER_OF(g, struct sa_index, garbage));
}

/* Removed entries inside long chains stay: when they fill the index, it is made anew. */
static enum rc index_make_room(struct dp *dp, struct sa_index **x)
{
    struct sa_index *old = *x;
    if (old->used < (old->mask + 1) / 4 * 3)
        return RC_OK;
    struct sa_index *new = index_new((old->mask + 1) / 2);
    if (!new)
        return RC_NOMEM;
    for (size_t i = 0; i <= old->mask; i++)
        if (old->slot[i].sa && old->slot[i].sa != SA_GONE)
            index_insert(new, old->slot[i].spi, old->slot[i].sa);
    SHOW(*x, new);
    garbage_add(dp, &old->garbage, garbage_index);
    return RC_OK;
}

/* ---- memory ----------------------------------------------------------------------------------- */

static struct slab *slab_of(struct dp *dp, uint32_t words) /* a power of two from 2 on */
{
    return &dp->sas[__builtin_ctz(words) - 1];
}

void sa_slabs_init(struct dp *dp)
{
    for (uint32_t words = 2; words <= window_words(WINDOW_MAX); words *= 2)
        slab_init(slab_of(dp, words), offsetof(struct sa, words) + words * sizeof(uint64_t));
}

void sa_memory_free(struct dp *dp)
{
    for (size_t i = 0; i < WINDOW_CLASSES; i++)
        slab_clear(&dp->sas[i]);
    index_free(dp->by_in);
    index_free(dp->by_out);
}

static void sa_free(struct dp *dp, struct sa *sa)
{
    if (!sa)
        return;
    crypto_esp_key_free(sa->key_in);
    crypto_esp_key_free(sa->key_out);
    if (sa->peer != &sa->first_peer)
        free(sa->peer);
    slab_put(slab_of(dp, sa->window.mask + 1), sa);
}

/* ---- up --------------------------------------------------------------------------------------- */

static struct sa_peer peer_of(const struct path *path, bool udp, const struct tun *tun)
{
    return (struct sa_peer){
        .outer = {.src = path->local.addr,
                  .dst = path->remote.addr,
                  .sport = udp ? path->local.port : 0,
                  .dport = udp ? path->remote.port : 0,
                  .ttl = tun->ttl},
        .udp = udp,
        .local_port = path->local.port,
        .remote_port = path->remote.port,
    };
}

static bool path_is_usable(const struct path *p)
{
    return p->local.addr.family != 0 && p->local.addr.family == p->remote.addr.family;
}

static enum rc sa_new(struct dp *dp, const struct child_sa *c, const struct tun *tun, uint32_t window, struct sa **ret)
{
    struct esp_sizes sizes;
    if (!crypto_esp_sizes(c->alg, &sizes))
        return RC_UNSUPPORTED;
    if (c->key_len > ESP_KEYMAT_MAX || !path_is_usable(&c->path))
        return RC_RANGE;
    uint32_t words = window_words(window);
    struct slab *slab = slab_of(dp, words);
    struct sa *sa = slab_get(slab);
    if (!sa)
        return RC_NOMEM;
    *sa = (struct sa){
        .spi_in = c->spi_in,
        .spi_out = c->spi_out,
        .tunnel = c->tunnel,
        .hard_expiry = c->hard_expiry,
        .hard_expiry_out = c->hard_expiry,
        .in = {.iv = sizes.iv,
               .icv = sizes.icv,
               .align = sizes.align,
               .cbc = c->alg.encr == ENCR_AES_CBC,
               .transport = c->transport},
        .window = {.size = window, .mask = words - 1},
        .selectors = selectors_of(&c->ts_local, &c->ts_remote),
        .alg = c->alg,
    };
    /* after the assignment, whose padding may reach into it */
    memset(sa->words, 0, slab->size - offsetof(struct sa, words));
    sa->window.word = window ? sa->words : &sa->window.top; /* read ahead, also without a window */
    sa->in.all4 = sa->selectors.all4;
    sa->in.all6 = sa->selectors.all6;
    sa->in.shared = dp->config.workers > 1 && window == 0;
    sa->out = sa->in;
    sa->first_peer = peer_of(&c->path, c->udp, tun);
    sa->peer = &sa->first_peer;
    sa->from = sa_from(sa->peer);
    enum rc rc = crypto_esp_key_new(dp->config.crypto, c->alg, span_of(c->key_in, c->key_len), &sa->key_in);
    if (rc == RC_OK)
        rc = crypto_esp_key_new(dp->config.crypto, c->alg, span_of(c->key_out, c->key_len), &sa->key_out);
    if (rc != RC_OK) {
        sa_free(dp, sa);
        return rc;
    }
    *ret = sa;
    return RC_OK;
}

static void garbage_set(struct dp *dp, struct dp_garbage *g)
{
    (void)dp;
    free(CONTAINER_OF(g, struct sa_set, garbage));
}

static void set_show(struct dp *dp, struct live *live, struct sa_set *new)
{
    struct sa_set *old = live->sas;
    SHOW(live->newest, new &&new->n > 0 ? new->v[0] : NULL);
    SHOW(live->sas, new);
    if (old)
        garbage_add(dp, &old->garbage, garbage_set);
}

/* The tunnel's SAs with `add` in front (NULL: none) and without `remove`. */
static enum rc set_replace(struct dp *dp, struct live *live, struct sa *add, const struct sa *remove)
{
    uint32_t n = live->sas ? live->sas->n : 0;
    struct sa_set *new = calloc(1, sizeof *new + (n + 1) * sizeof(struct sa *));
    if (!new)
        return RC_NOMEM;
    if (add)
        new->v[new->n++] = add;
    for (uint32_t i = 0; i < n; i++)
        if (live->sas->v[i] != remove)
            new->v[new->n++] = live->sas->v[i];
    set_show(dp, live, new);
    return RC_OK;
}

/* Transport mode is for GRE alone, and the selectors name its two ends: the packet has no header that does. */
static bool is_transport(const struct child_sa *c, const struct tun *tun)
{
    const struct ts *l = &c->ts_local, *r = &c->ts_remote;
    return addr_equal(&l->first, &tun->local) && addr_equal(&l->last, &l->first) && addr_equal(&r->last, &r->first) &&
           r->first.family == l->first.family && (l->proto == 0 || l->proto == IP_PROTO_GRE) &&
           (r->proto == 0 || r->proto == IP_PROTO_GRE);
}

enum rc dp_child_up(struct dp *dp, uint64_t now, const struct child_sa *c)
{
    struct tunnel *t = c->tunnel < dp->config.max_tunnels ? dp->tunnel[c->tunnel] : NULL;
    if (!t || t->view->type != TUNNEL_IPSEC)
        return RC_ABSENT;
    if (c->transport && !is_transport(c, t->view))
        return RC_RANGE;
    if (c->spi_in == 0 || c->spi_out == 0 || now >= c->hard_expiry)
        return RC_RANGE;
    if (sa_find_in(dp->by_in, c->spi_in))
        return RC_EXISTS;
    if (dp->n_sas >= dp->config.max_sas)
        return RC_LIMIT;
    struct sa *sa;
    enum rc rc = sa_new(dp, c, t->view, t->window, &sa);
    if (rc != RC_OK)
        return rc;
    struct sa *replaced = c->replaces ? sa_find_in(dp->by_in, c->replaces) : NULL;
    if (replaced && replaced->tunnel == c->tunnel && !c->ready)
        sa->replaces = replaced;
    sa->early = sa->replaces != NULL;
    struct live *live = &dp->live[c->tunnel];
    limits_begin(live, t->view, sa);
    if (index_make_room(dp, &dp->by_in) != RC_OK || index_make_room(dp, &dp->by_out) != RC_OK ||
        set_replace(dp, live, sa, NULL) != RC_OK) {
        sa_free(dp, sa);
        return RC_NOMEM;
    }
    index_insert(dp->by_in, sa->spi_in, sa);
    index_insert(dp->by_out, sa->spi_out, sa);
    dp->n_sas++;
    limits_update(live, t->view);
    return RC_OK;
}

/* ---- down, moved ------------------------------------------------------------------------------ */

/* What it counted in a batch that ran while it was taken away. */
static void garbage_sa(struct dp *dp, struct dp_garbage *g)
{
    struct sa *sa = CONTAINER_OF(g, struct sa, garbage);
    struct traffic late = traffic_of_sa(sa);
    late.packets_in -= sa->counted.packets_in;
    late.bytes_in -= sa->counted.bytes_in;
    late.packets_out -= sa->counted.packets_out;
    late.bytes_out -= sa->counted.bytes_out;
    traffic_add(dp->tunnel[sa->tunnel] ? &dp->live[sa->tunnel].gone : &dp->gone, &late);
    sa_free(dp, sa);
}

/* Who waited to be sent on in its place waits no more. */
static void succeed(const struct live *live, const struct sa *sa)
{
    for (uint32_t i = 0; i < live->sas->n; i++)
        if (live->sas->v[i]->replaces == sa) {
            live->sas->v[i]->replaces = NULL;
            WRITE(live->sas->v[i]->early, false);
        }
}

static void sa_remove(struct dp *dp, struct sa *sa)
{
    struct live *live = &dp->live[sa->tunnel];
    succeed(live, sa);
    if (set_replace(dp, live, NULL, sa) != RC_OK) { /* no memory: close the gap in the old set instead */
        uint32_t k = 0;
        for (uint32_t i = 0; i < live->sas->n; i++)
            if (live->sas->v[i] != sa)
                SHOW(live->sas->v[k++], live->sas->v[i]);
        WRITE(live->sas->n, k);
        SHOW(live->newest, k > 0 ? live->sas->v[0] : NULL);
    }
    index_remove(dp->by_in, sa->spi_in, sa);
    index_remove(dp->by_out, sa->spi_out, sa);
    dp->n_sas--;
    sa->counted = traffic_of_sa(sa);
    traffic_add(&live->gone, &sa->counted);
    garbage_add(dp, &sa->garbage, garbage_sa);
}

void dp_child_down(struct dp *dp, uint32_t spi_in)
{
    struct sa *sa = sa_find_in(dp->by_in, spi_in);
    if (sa)
        sa_remove(dp, sa);
}

void dp_child_retire(struct dp *dp, uint32_t spi_in, uint64_t until)
{
    struct sa *sa = sa_find_in(dp->by_in, spi_in);
    if (!sa)
        return;
    succeed(&dp->live[sa->tunnel], sa);
    WRITE(sa->expired, true); /* no event */
    WRITE(sa->hard_expiry_out, 0);
    if (until < sa->hard_expiry)
        WRITE(sa->hard_expiry, until);
}

void sa_remove_all(struct dp *dp, uint32_t tunnel)
{
    struct live *live = &dp->live[tunnel];
    while (live->sas && live->sas->n > 0)
        sa_remove(dp, live->sas->v[0]);
    set_show(dp, live, NULL);
}

static void garbage_peer(struct dp *dp, struct dp_garbage *g)
{
    (void)dp;
    free(CONTAINER_OF(g, struct sa_peer, garbage));
}

enum rc dp_child_moved(struct dp *dp, uint32_t spi_in, const struct path *path, bool udp)
{
    struct sa *sa = sa_find_in(dp->by_in, spi_in);
    if (!sa)
        return RC_ABSENT;
    if (!path_is_usable(path))
        return RC_RANGE;
    const struct tun *tun = dp->tunnel[sa->tunnel]->view;
    struct sa_peer *new = aligned_alloc(LINE, sizeof *new);
    if (!new)
        return RC_NOMEM;
    *new = peer_of(path, udp, tun);
    struct sa_peer *old = sa->peer;
    SHOW(sa->peer, new);
    SHOW(sa->moved, new);
    if (old != &sa->first_peer)
        garbage_add(dp, &old->garbage, garbage_peer);
    (void)SWAP(dp->live[sa->tunnel].path_mtu, 0); /* it was another path's */
    limits_update(&dp->live[sa->tunnel], tun);
    return RC_OK;
}
