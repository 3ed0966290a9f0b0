/* ike/child: Child SAs on the control side: SPI, keys, table. ESP itself is the datapath's.
 */
#include "engine.h"

#include <stdlib.h>

struct ike_child *ike_child_find(const struct ike *ike, uint32_t spi_in)
{
    for (struct map_node *n = map_first(&ike->children, spi_in); n; n = map_next(n)) {
        struct ike_child *child = CONTAINER_OF(n, struct ike_child, by_spi);
        if (child->spi_in == spi_in)
            return child;
    }
    return NULL;
}

struct ike_child *ike_child_of(const struct ike_sa *sa, uint32_t spi_out)
{
    for (struct list *l = sa->children.next; l != &sa->children; l = l->next) {
        struct ike_child *child = CONTAINER_OF(l, struct ike_child, of_sa);
        if (child->spi_out == spi_out)
            return child;
    }
    return NULL;
}

/* ESP goes in UDP when a NAT was seen (RFC 7296 2.23), and for a peer that uses 4500 without saying what it sees: what lets its
 * IKE through may let nothing else through. */
bool ike_child_udp(const struct ike_sa *sa)
{
    return sa->nat_peer || sa->nat_local || (sa->path.local.port != 500 && !sa->natd_seen);
}

/* 0: the source gave nothing usable. SPIs up to 255 are reserved (RFC 4303 2.1). */
static uint32_t fresh_spi(struct ike *ike, uint32_t tunnel)
{
    for (int i = 0; i < 64; i++) {
        uint32_t spi = ike->spi_source ? ike->spi_source(ike->spi_ctx, tunnel, ike->rng) : rng_u32(ike->rng);
        if (spi > 255 && !ike_child_find(ike, spi))
            return spi;
    }
    return 0;
}

enum rc ike_child_prepare(struct ike_turn *t, struct ike_sa *sa, uint32_t tunnel, const struct suite *suite,
                          struct ike_child **ret)
{
    struct ike *ike = t->ike;
    struct ike_child *child = calloc(1, sizeof *child);
    if (!child)
        return RC_NOMEM;
    *child = (struct ike_child){
        .timer.kind = TIMER_CHILD,
        .sa = sa,
        .spi_in = fresh_spi(ike, tunnel),
        .suite = *suite,
        .since = t->now,
    };
    list_init(&child->of_sa);
    enum rc rc = child->spi_in ? map_insert(&ike->children, &child->by_spi, child->spi_in) : RC_LIMIT;
    if (rc == RC_OK && !ike_timer_set(ike, &child->timer, t->now + IKE_UNBORN_MAX)) {
        map_remove(&ike->children, &child->by_spi);
        rc = RC_NOMEM;
    }
    if (rc) {
        free(child);
        return rc;
    }
    *ret = child;
    return RC_OK;
}

enum rc ike_child_derive(struct ike_turn *t, const struct ike_sa *sa, const struct ike_keymat *m,
                         const struct ike_child *child, struct child_sa **ret)
{
    struct esp_sizes sizes;
    uint8_t raw[2 * ESP_KEYMAT_MAX];
    const struct esp_alg alg = {child->suite.encr, child->suite.encr_bits, child->suite.integ};
    if (!crypto_esp_sizes(alg, &sizes) || sizes.key_e + sizes.key_a > ESP_KEYMAT_MAX)
        return RC_UNSUPPORTED;
    struct child_sa *keys = crypto_arena_get(t->ike->child_keys);
    if (!keys)
        return RC_NOMEM;
    size_t n = (size_t)sizes.key_e + sizes.key_a;
    enum rc rc = ike_keys_child(t->ike->crypto, sa->suite.prf, span_of(sa->secrets->keys.d, sa->secrets->keys.n_prf),
                                m->shared, m->nonces, m->more, m->n_more, raw, 2 * n);
    if (rc == RC_OK) {
        /* RFC 7296 2.17: first what the initiator of THIS exchange sends with, then what it receives with. */
        memcpy(m->ours ? keys->key_out : keys->key_in, raw, n);     /* lint: not wire bytes: key material */
        memcpy(m->ours ? keys->key_in : keys->key_out, raw + n, n); /* lint: not wire bytes: key material */
        keys->key_len = (uint8_t)n;
        keys->spi_in = child->spi_in;
        keys->alg = alg;
        *ret = keys;
    } else {
        crypto_arena_put(t->ike->child_keys, keys);
    }
    wipe(raw, sizeof raw);
    return rc;
}

static void unlink_child(struct ike *ike, struct ike_child *child)
{
    heap_cancel(&ike->timers, &child->timer.t);
    map_remove(&ike->children, &child->by_spi);
}

void ike_child_discard(struct ike *ike, struct child_sa *keys, struct ike_child *child)
{
    if (keys)
        crypto_arena_put(ike->child_keys, keys);
    if (!child)
        return;
    unlink_child(ike, child);
    free(child);
}

void ike_child_install(struct ike_turn *t, struct ike_sa *sa, struct child_sa *keys, struct ike_child *child)
{
    uint64_t lifetime = t->ike->policy.child_lifetime;
    uint64_t soft = lifetime < IKE_CHILD_SOFT ? lifetime : IKE_CHILD_SOFT;
    child->udp = ike_child_udp(sa);
    child->since = t->now;
    child->hard = t->now + soft + IKE_CHILD_MORE;
    list_push_back(&sa->children, &child->of_sa);
    if (!child->replaced) {
        sa->n_children++;
        sa->tunnel->n_children++;
    }
    /* Our rekey is due a little before, by chance, so that not both peers begin at once (RFC 7296 2.8.1). The timer is armed
     * already: moving cannot fail. */
    (void)ike_timer_set(t->ike, &child->timer,
                        t->now + (child->replaced ? IKE_REPLACED_MAX : ike_jitter(t->ike, soft)));
    keys->tunnel = sa->tunnel_handle;
    keys->spi_out = child->spi_out;
    keys->ts_local = child->ts_local;
    keys->ts_remote = child->ts_remote;
    keys->udp = child->udp;
    keys->transport = child->transport;
    keys->path = sa->path;
    keys->hard_expiry = child->hard;
    struct act *act = ike_act_add(t, ACT_CHILD_UP);
    if (act)
        act->child = keys;
    else
        crypto_arena_put(t->ike->child_keys, keys);
}

void ike_child_replace(struct ike_turn *t, struct ike_child *child)
{
    if (child->replaced)
        return;
    child->replaced = true;
    child->rekey_due = false;
    if (list_empty(&child->of_sa)) /* lost before it was made: not counted yet, and will not be */
        return;
    child->sa->n_children--;
    child->sa->tunnel->n_children--;
    (void)ike_timer_set(t->ike, &child->timer, t->now + IKE_REPLACED_MAX);
}

void ike_child_due(struct ike_turn *t, struct ike_child *child)
{
    if (list_empty(&child->of_sa))
        return; /* not installed yet */
    if (child->replaced || t->now >= child->hard)
        child->expiring = true;
    else
        child->rekey_due = true;
    (void)ike_timer_set(t->ike, &child->timer, child->expiring ? NEVER : child->hard);
    ike_request_next(t, child->sa);
}

void ike_child_free(struct ike *ike, struct ike_child *child)
{
    unlink_child(ike, child);
    list_remove(&child->of_sa);
    if (!child->replaced) {
        child->sa->n_children--;
        if (child->sa->tunnel)
            child->sa->tunnel->n_children--;
    }
    free(child);
}

void ike_child_down(struct ike_turn *t, struct ike_child *child, enum child_down why)
{
    struct act *act = ike_act_add(t, ACT_CHILD_DOWN);
    if (act) {
        act->spi_in = child->spi_in;
        act->why = why;
        act->tunnel = child->sa->tunnel_handle;
    }
    ike_child_free(t->ike, child);
}
