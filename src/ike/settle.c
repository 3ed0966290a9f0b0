/* ike/settle: what a finished CREATE_CHILD_SA changes: the new SA in, the old one out, and when both peers rekeyed the same SA at
 * once, which of the two new ones stays (RFC 7296 2.8.1, 2.8.2, 2.25).
 *
 * Of an IKE SA the peer's new one waits as CONTESTED while ours is on its way; tunnel and children stay with the old one until
 * that is decided, whatever decides it: our answer, the peer's Delete of the old one or of its new one, or time.
 */
#include "create.h"

/* Octet by octet; where one ends, it is the lower (RFC 7296 2.8.1). */
static int nonce_compare(const struct ike_nonce *a, const struct ike_nonce *b)
{
    int order = memcmp(a->b, b->b, a->n < b->n ? a->n : b->n);
    return order ? order : (int)a->n - (int)b->n;
}

static const struct ike_nonce *lower_nonce(const struct ike_create *c)
{
    return nonce_compare(&c->ni, &c->nr) < 0 ? &c->ni : &c->nr;
}

bool ike_create_lost(const struct ike_create *c)
{
    return c->rival && nonce_compare(lower_nonce(c), &c->rival_low) < 0;
}

void ike_create_meet(struct ike_create *c)
{
    struct ike_create *own = c->sa->own.create;
    if (!own || c->kind == CREATE_CHILD || own->kind != c->kind || own->old != c->old)
        return;
    own->rival = true;
    own->rival_low = *lower_nonce(c);
    own->rival_spi = ike_create_spi(c);
}

/* ---- children */

static void install_child(struct ike_turn *t, struct ike_create *c)
{
    struct ike_sa *sa = c->sa;
    struct ike_child *old = c->old ? ike_child_find(t->ike, c->old) : NULL, *child = c->child;
    struct ike_child *rival = c->rival ? ike_child_find(t->ike, (uint32_t)c->rival_spi) : NULL;
    struct child_sa *keys = c->keys;
    bool lost = ike_create_lost(c); /* even if the peer's has been rekeyed again before our answer came */

    if (c->gone == child->spi_out && c->gone) { /* deleted before we knew it: so ends the line */
        if (old)
            old->expiring = true;
        return;
    }
    c->child = NULL;
    c->keys = NULL;
    keys->replaces = old ? old->spi_in : 0;
    keys->ready = c->ours && !lost; /* the peer was ready before it answered; else it may not have our answer yet */
    child->made_by = c->ours ? UINT32_MAX : sa->mid_in - 1;
    ike_child_install(t, sa, keys, child);
    if (lost) { /* who made it deletes it, and the peer the old one */
        ike_child_replace(t, child);
        child->expiring = true;
        return;
    }
    ike_count_add(t->ike, old ? IKE_COUNT_REKEYED : IKE_COUNT_CHILDREN);
    if (rival)
        ike_child_replace(t, rival); /* the peer deletes it */
    if (old) {
        ike_child_replace(t, old);
        old->expiring = c->ours;
    }
}

/* ---- IKE SAs */

static void hand_over(struct ike_turn *t, struct ike_sa *old, struct ike_sa *heir)
{
    ike_sa_open(t, heir);
    ike_sa_inherit(t, old, heir);
    ike_count_add(t->ike, IKE_COUNT_IKE_REKEYED);
}

static struct ike_sa *contested(struct ike_turn *t, const struct ike_create *c)
{
    struct ike_sa *sa = c->rival && c->kind == CREATE_REKEY_IKE ? ike_sa_find(t->ike, c->rival_spi) : NULL;
    return sa && sa->state == IKE_STATE_CONTESTED ? sa : NULL;
}

static void install_peers_ike(struct ike_turn *t, struct ike_sa *old, struct ike_sa *fresh)
{
    const struct ike_create *own = old->own.create;
    if (own && own->kind == CREATE_REKEY_IKE) {
        ike_sa_retire(t, fresh, IKE_STATE_CONTESTED);
        fresh->heir = ike_sa_our_spi(old);
    } else {
        hand_over(t, old, fresh);
    }
    ike_sa_retire(t, old, IKE_STATE_REPLACED);
}

static void install_our_ike(struct ike_turn *t, const struct ike_create *c, struct ike_sa *fresh)
{
    struct ike_sa *old = c->sa, *rival = contested(t, c);
    if (rival && ike_create_lost(c)) {
        hand_over(t, old, rival);
        ike_sa_delete(t, fresh, CHILD_DOWN_REKEYED);
        return; /* the peer deletes the old one */
    }
    hand_over(t, old, fresh);
    if (rival)
        ike_sa_retire(t, rival, IKE_STATE_REPLACED); /* the peer deletes it */
    ike_sa_delete(t, old, CHILD_DOWN_REKEYED);       /* the last request on it */
}

/* ---- both */

static void let_go(struct ike_create *c)
{
    if (c->sa->own.create == c)
        c->sa->own.create = NULL;
    if (c->sa->pending == c)
        c->sa->pending = NULL;
}

void ike_create_install(struct ike_turn *t, struct ike_create *c)
{
    struct ike_sa *fresh = c->fresh;
    let_go(c);
    c->sa->busy_since = 0;
    if (ike_create_lost(c))
        ike_create_failed(t, c, IKE_COUNT_FAIL_COLLISION, "the peer rekeyed at the same time: its new SA stays");
    else
        ike_event_created(t, c);
    c->fresh = NULL;
    if (!fresh)
        install_child(t, c);
    else if (c->ours)
        install_our_ike(t, c, fresh);
    else
        install_peers_ike(t, c->sa, fresh);
    ike_create_free(t->ike, c);
}

void ike_create_abandon(struct ike_turn *t, struct ike_create *c)
{
    struct ike_sa *heir = contested(t, c);
    let_go(c);
    if (heir && c->sa->tunnel)
        hand_over(t, c->sa, heir);
    ike_create_free(t->ike, c);
}
