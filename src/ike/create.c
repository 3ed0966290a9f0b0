/* ike/create: what a CREATE_CHILD_SA exchange collects, and the keys that come of it (RFC 7296 2.17, 2.18, RFC 9370 2.2.4).
 */
#include "create.h"

struct ike_create *ike_create_new(struct ike_turn *t, struct ike_sa *sa, enum ike_create_kind kind)
{
    struct ike_create *c = crypto_arena_get(t->ike->exchanges);
    if (!c)
        return NULL;
    c->timer.kind = TIMER_CREATE;
    c->sa = sa;
    c->kind = kind;
    list_push_back(&t->ike->creates, &c->all);
    return c;
}

void ike_create_free(struct ike *ike, struct ike_create *c)
{
    if (!c)
        return;
    struct ike_create *own = c->sa->own.create;
    if (own == c)
        c->sa->own.create = NULL;
    else if (own && own->rival && own->rival_spi == ike_create_spi(c))
        own->rival = false; /* it came to nothing before it made anything */
    if (c->sa->pending == c)
        c->sa->pending = NULL;
    heap_cancel(&ike->timers, &c->timer.t);
    list_remove(&c->all);
    ike_child_discard(ike, c->keys, c->child);
    if (c->fresh)
        ike_sa_free(ike, c->fresh);
    crypto_ke_free(c->exchange);
    buf_free(&c->link);
    crypto_arena_put(ike->exchanges, c);
}

void ike_create_nonce(struct ike *ike, struct ike_nonce *ret)
{
    ret->n = IKE_NONCE_SIZE;
    rng_fill(ike->rng, ret->b, IKE_NONCE_SIZE);
}

uint64_t ike_create_spi(const struct ike_create *c)
{
    return c->fresh ? ike_sa_our_spi(c->fresh) : c->child ? c->child->spi_in : 0;
}

uint16_t ike_create_method(const struct ike_create *c)
{
    return c->rounds < ADDKE_MAX ? c->suite.addke[c->rounds] : KE_NONE;
}

static enum rc derive_ike(struct ike_turn *t, struct ike_create *c, struct span shared, struct ike_nonces nonces,
                          const struct span *more, size_t n_more)
{
    const struct ike_keys *old = &c->sa->secrets->keys;
    struct ike_sa *fresh = c->fresh;
    uint16_t prf = fresh->suite.prf; /* the same as the old SA's: the answer and the offer see to that */
    uint8_t seed[PRF_MAX];
    enum rc rc = ike_keys_seed_rekey(t->ike->crypto, c->sa->suite.prf, span_of(old->d, old->n_prf), shared, nonces,
                                     more, n_more, seed);
    if (rc == RC_OK)
        rc = ike_keys_derive(t->ike->crypto, prf, fresh->alg, span_of(seed, crypto_prf_size(prf)), nonces, fresh->spi_i,
                             fresh->spi_r, &fresh->secrets->keys);
    wipe(seed, sizeof seed);
    return rc;
}

enum rc ike_create_derive(struct ike_turn *t, struct ike_create *c, uint8_t rounds)
{
    struct span more[ADDKE_MAX], shared = span_of(c->shared[0].b, c->shared[0].n);
    const struct ike_nonces nonces = {span_of(c->ni.b, c->ni.n), span_of(c->nr.b, c->nr.n)};
    for (size_t i = 0; i < rounds; i++)
        more[i] = span_of(c->shared[1 + i].b, c->shared[1 + i].n);
    if (c->kind == CREATE_REKEY_IKE)
        return derive_ike(t, c, shared, nonces, more, rounds);
    const struct ike_keymat m = {nonces, shared, more, rounds, c->ours};
    crypto_arena_put(t->ike->child_keys, c->keys); /* of an answer that could not be sent */
    c->keys = NULL;
    return ike_child_derive(t, c->sa, &m, c->child, &c->keys);
}

void ike_create_due(struct ike_turn *t, struct ike_create *c)
{
    struct ike_sa *sa = c->sa;
    ike_create_failed(t, c, IKE_COUNT_FAIL_TIMEOUT, "no IKE_FOLLOWUP_KE came");
    ike_create_free(t->ike, c);
    ike_request_next(t, sa); /* our own rekey may have waited for it */
}

void ike_create_failed(struct ike_turn *t, const struct ike_create *c, enum ike_count count, const char *reason)
{
    const struct ike_create_report report = {
        .sa = c->sa, .kind = c->kind, .ours = c->ours, .old = c->old, .count = count, .reason = reason};
    ike_event_create_failed(t, &report);
}
