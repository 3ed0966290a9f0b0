/* Child SAs on the control side: up, down, moved; the index by SPI; the order in which a tunnel's SAs are sent on. */
#include "tables.h"

#include <stdlib.h>

/* ---- the index -------------------------------------------------------------------------------- */

static struct sa_index *index_new(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    struct sa_index *x = calloc(1, sizeof *x + slots * sizeof *x->slot);
    if (x)
        x->mask = slots - 1;
    return x;
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
    x->slot[i].spi = spi;
    x->slot[i].sa = sa;
}

static void index_remove(struct sa_index *x, uint32_t spi, const struct sa *sa)
{
    size_t i = sa_slot(x, spi);
    while (x->slot[i].sa != sa)
        i = (i + 1) & x->mask;
    x->slot[i].sa = SA_GONE;
    if (x->slot[(i + 1) & x->mask].sa)
        return;
    for (; x->slot[i].sa == SA_GONE; i = (i - 1) & x->mask) { /* the end of a chain: free for good */
        x->slot[i].sa = NULL;
        x->used--;
    }
}

/* Removed entries inside long chains stay: when they fill the index, it is made anew. */
static enum rc index_make_room(struct sa_index **x)
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
    *x = new;
    free(old);
    return RC_OK;
}

/* ---- up --------------------------------------------------------------------------------------- */

static void peer_free(struct sa *sa)
{
    if (sa->peer != &sa->first_peer)
        free(sa->peer);
}

static void sa_free(struct sa *sa)
{
    if (!sa)
        return;
    crypto_esp_key_free(sa->key_in);
    crypto_esp_key_free(sa->key_out);
    peer_free(sa);
    free(sa);
}

static struct sa_peer peer_of(const struct path *path, bool udp, const struct tun *tun)
{
    return (struct sa_peer){
        .outer = {.src = path->local.addr,
                  .dst = path->remote.addr,
                  .sport = udp ? path->local.port : 0,
                  .dport = udp ? path->remote.port : 0,
                  .ttl = tun->ttl},
        .udp = udp,
        .path = *path,
    };
}

static struct endpoint from_of(const struct sa_peer *peer)
{
    return (struct endpoint){.addr = peer->outer.dst, .port = peer->outer.dport};
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
    size_t size = (offsetof(struct sa, words) + words * sizeof(uint64_t) + LINE - 1) / LINE * LINE;
    if (size < sizeof(struct sa))
        size = sizeof(struct sa);
    struct sa *sa = aligned_alloc(LINE, size);
    if (!sa)
        return RC_NOMEM;
    *sa = (struct sa){
        .spi_in = c->spi_in,
        .spi_out = c->spi_out,
        .tunnel = c->tunnel,
        .hard_expiry = c->hard_expiry,
        .hard_expiry_out = c->hard_expiry,
        .in = {.iv = sizes.iv, .icv = sizes.icv, .align = sizes.align, .cbc = c->alg.encr == ENCR_AES_CBC},
        .window = {.size = window, .mask = words - 1},
        .selectors = selectors_of(&c->ts_local, &c->ts_remote),
        .alg = c->alg,
    };
    memset(sa->words, 0, words * sizeof(uint64_t)); /* after the assignment, whose padding may reach into them */
    sa->window.word = sa->words;
    sa->in.all4 = sa->selectors.all4;
    sa->in.all6 = sa->selectors.all6;
    sa->out = sa->in;
    sa->first_peer = peer_of(&c->path, c->udp, tun);
    sa->peer = &sa->first_peer;
    sa->from = from_of(sa->peer);
    enum rc rc = crypto_esp_key_new(dp->config.crypto, c->alg, span_of(c->key_in, c->key_len), &sa->key_in);
    if (rc == RC_OK)
        rc = crypto_esp_key_new(dp->config.crypto, c->alg, span_of(c->key_out, c->key_len), &sa->key_out);
    if (rc != RC_OK) {
        sa_free(sa);
        return rc;
    }
    *ret = sa;
    return RC_OK;
}

/* The tunnel's SAs with `add` in front (NULL: none) and without `remove`. */
static enum rc set_replace(struct live *live, struct sa *add, const struct sa *remove)
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
    struct sa_set *old = live->sas;
    live->sas = new;
    live->newest = new->n > 0 ? new->v[0] : NULL;
    free(old);
    return RC_OK;
}

enum rc dp_child_up(struct dp *dp, uint64_t now, const struct child_sa *c)
{
    struct tunnel *t = c->tunnel < dp->config.max_tunnels ? dp->tunnel[c->tunnel] : NULL;
    if (!t || t->view->type != TUNNEL_IPSEC)
        return RC_ABSENT;
    if (c->transport)
        return RC_UNSUPPORTED;
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
    struct live *live = &dp->live[c->tunnel];
    if (index_make_room(&dp->by_in) != RC_OK || index_make_room(&dp->by_out) != RC_OK ||
        set_replace(live, sa, NULL) != RC_OK) {
        sa_free(sa);
        return RC_NOMEM;
    }
    struct sa *replaced = c->replaces ? sa_find_in(dp->by_in, c->replaces) : NULL;
    if (replaced && replaced->tunnel == c->tunnel && !c->ready)
        sa->replaces = replaced;
    sa->early = sa->replaces != NULL;
    index_insert(dp->by_in, sa->spi_in, sa);
    index_insert(dp->by_out, sa->spi_out, sa);
    dp->n_sas++;
    limits_update(live, t->view);
    return RC_OK;
}

/* ---- down, moved ------------------------------------------------------------------------------ */

static void sa_remove(struct dp *dp, struct sa *sa)
{
    struct live *live = &dp->live[sa->tunnel];
    for (uint32_t i = 0; i < live->sas->n; i++)
        if (live->sas->v[i]->replaces == sa) {
            live->sas->v[i]->replaces = NULL;
            live->sas->v[i]->early = false;
        }
    if (set_replace(live, NULL, sa) != RC_OK) { /* no memory: close the gap in the old set instead */
        uint32_t k = 0;
        for (uint32_t i = 0; i < live->sas->n; i++)
            if (live->sas->v[i] != sa)
                live->sas->v[k++] = live->sas->v[i];
        live->sas->n = k;
        live->newest = k > 0 ? live->sas->v[0] : NULL;
    }
    index_remove(dp->by_in, sa->spi_in, sa);
    index_remove(dp->by_out, sa->spi_out, sa);
    dp->n_sas--;
    struct traffic t = traffic_of_sa(sa);
    traffic_add(&live->gone, &t);
    sa_free(sa);
}

void dp_child_down(struct dp *dp, uint32_t spi_in)
{
    struct sa *sa = sa_find_in(dp->by_in, spi_in);
    if (sa)
        sa_remove(dp, sa);
}

void sa_remove_all(struct dp *dp, uint32_t tunnel)
{
    struct live *live = &dp->live[tunnel];
    while (live->sas && live->sas->n > 0)
        sa_remove(dp, live->sas->v[0]);
    free(live->sas);
    live->sas = NULL;
    live->newest = NULL;
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
    peer_free(sa);
    sa->peer = new;
    sa->from = from_of(new);
    sa->nominated = (struct endpoint){0};
    dp->live[sa->tunnel].path_mtu = 0; /* it was another path's */
    limits_update(&dp->live[sa->tunnel], tun);
    return RC_OK;
}
