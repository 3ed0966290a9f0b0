/* ike/own: our own rekeys (RFC 7296 2.8): what we ask for, and what becomes of an SA that cannot be rekeyed. We never make a child
 * that was not there: a responder only replaces.
 */
#include "create.h"

/* ---- the offer: what the old SA has. The first child of an IKE SA could have no key exchange of its own (1.2): its rekey offers
 * one, as many peers want it then, and in a proposal behind that none. */

static void offer_methods(struct ike_create *c, const struct proposal_policy *ours)
{
    struct proposal_policy *offer = &c->offer;
    if (c->method == KE_NONE)
        return;
    offer->ke[offer->n_ke++] = c->method;
    for (uint8_t i = 0; i < ours->n_ke && offer->n_ke < ALGS_MAX; i++)
        if (ours->ke[i] != c->method)
            offer->ke[offer->n_ke++] = ours->ke[i];
}

static void offer_additional(struct ike_create *c, const uint16_t addke[ADDKE_MAX])
{
    for (uint8_t i = 0; i < ADDKE_MAX && addke[i]; i++) {
        c->addke[i] = addke[i];
        c->offer.addke[c->offer.n_addke++] = addke[i];
    }
}

static bool listed(const uint16_t *list, uint8_t n, uint16_t id)
{
    for (uint8_t i = 0; i < n; i++)
        if (list[i] == id)
            return true;
    return false;
}

static void offer_cipher(struct ike_create *c, const struct suite *old)
{
    c->offer.encr[c->offer.n_encr++] = (struct encr_choice){old->encr, old->encr_bits};
    if (old->integ)
        c->offer.integ[c->offer.n_integ++] = old->integ;
    if (old->prf)
        c->offer.prf[c->offer.n_prf++] = old->prf;
}

static void offer_child(const struct ike *ike, struct ike_create *c, const struct suite *old)
{
    struct proposal_policy policy, *ours = &policy;
    const struct suite *sa = &c->sa->suite;
    ike_proposal_restrict(&ike->policy.esp, &c->sa->tunnel->esp, ours);
    c->ke_must = old->ke != KE_NONE;
    c->addke_must = old->addke[0] != KE_NONE;
    c->method = old->ke;
    if (!c->method && ours->n_ke)
        c->method = listed(ours->ke, ours->n_ke, sa->ke) ? sa->ke : ours->ke[0];
    offer_cipher(c, old);
    offer_methods(c, ours);
    bool all = c->method == sa->ke;
    for (uint8_t i = 0; i < ADDKE_MAX && sa->addke[i]; i++)
        all &= listed(ours->addke, ours->n_addke, sa->addke[i]);
    if (c->addke_must)
        offer_additional(c, old->addke);
    else if (!c->ke_must && all)
        offer_additional(c, sa->addke);
}

static void offer_ike(const struct ike *ike, struct ike_create *c)
{
    const struct suite *old = &c->sa->suite;
    struct proposal_policy policy;
    ike_proposal_restrict(&ike->policy.ike, &c->sa->tunnel->ike, &policy);
    c->ke_must = true;
    c->addke_must = old->addke[0] != KE_NONE;
    c->method = old->ke;
    offer_cipher(c, old);
    offer_methods(c, &policy);
    offer_additional(c, old->addke);
}

/* ---- the request */

static void write_proposal(struct ike_writer *iw, const struct ike_create *c, uint8_t num, bool ke, bool addke,
                           bool last)
{
    const struct proposal_policy *p = &c->offer;
    struct ike_transform_out t[4 + ALGS_MAX + ADDKE_MAX];
    size_t n = 0;
    uint8_t octets[8], protocol = c->fresh ? PROTO_IKE : PROTO_ESP;
    struct wr spi = wr_of(octets, sizeof octets);
    if (c->fresh)
        wr_u64(&spi, c->fresh->spi_i);
    else
        wr_u32(&spi, c->child->spi_in);
    t[n++] = (struct ike_transform_out){T_ENCR, p->encr[0].encr, p->encr[0].bits};
    if (p->n_prf)
        t[n++] = (struct ike_transform_out){T_PRF, p->prf[0], 0};
    if (p->n_integ)
        t[n++] = (struct ike_transform_out){T_INTEG, p->integ[0], 0};
    for (uint8_t i = 0; ke && i < p->n_ke; i++)
        t[n++] = (struct ike_transform_out){T_KE, p->ke[i], 0};
    if (!c->fresh)
        t[n++] = (struct ike_transform_out){T_ESN, 0, 0};
    for (uint8_t i = 0; addke && i < p->n_addke; i++)
        t[n++] = (struct ike_transform_out){(uint8_t)(T_ADDKE1 + i), c->addke[i], 0};
    ike_write_proposal(iw, num, protocol, wr_span(&spi), t, n, last);
}

static void write_offer(struct ike_writer *iw, const struct ike_create *c)
{
    bool has_ke = c->offer.n_ke > 0, has_addke = c->offer.n_addke > 0;
    bool plain_ke = has_ke && !(has_addke && c->addke_must), without = !has_ke || !c->ke_must;
    uint8_t num = 1;
    ike_write_begin(iw, PAYLOAD_SA);
    if (has_addke)
        write_proposal(iw, c, num++, true, true, !plain_ke && !without);
    if (plain_ke)
        write_proposal(iw, c, num++, true, false, !without);
    if (without && !c->addke_must)
        write_proposal(iw, c, num, false, false, true);
    ike_write_end(iw);
}

static bool write_create(struct ike_turn *t, struct ike_create *c, struct ike_writer *iw)
{
    struct ke_value public = {.n = 0};
    if (c->method && crypto_ke_begin(t->ike->crypto, c->method, &c->exchange, &public) != RC_OK)
        return false;
    c->tries++;
    ike_create_nonce(t->ike, &c->ni);
    if (c->old) {
        uint8_t octets[4];
        struct wr spi = wr_of(octets, sizeof octets);
        wr_u32(&spi, c->old); /* RFC 7296 1.3.3: the one we receive with */
        ike_write_notify(iw, PROTO_ESP, wr_span(&spi), N_REKEY_SA, span_of(NULL, 0));
    }
    write_offer(iw, c);
    ike_write_nonce(iw, span_of(c->ni.b, c->ni.n));
    if (c->method)
        ike_write_ke(iw, c->method, span_of(public.b, public.n));
    if (c->child) {
        const struct ike_ts local = ike_selector_wire(&c->child->ts_local);
        const struct ike_ts remote = ike_selector_wire(&c->child->ts_remote);
        ike_write_ts(iw, PAYLOAD_TSI, &local, 1);
        ike_write_ts(iw, PAYLOAD_TSR, &remote, 1);
    }
    if (c->child && c->child->transport)
        ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), N_USE_TRANSPORT_MODE, span_of(NULL, 0));
    return true;
}

static bool write_followup(struct ike_turn *t, struct ike_create *c, struct ike_writer *iw)
{
    struct ke_value public;
    uint16_t method = ike_create_method(c);
    if (crypto_ke_begin(t->ike->crypto, method, &c->exchange, &public) != RC_OK)
        return false;
    c->method = method;
    ike_write_ke(iw, method, span_of(public.b, public.n));
    ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), N_ADDITIONAL_KEY_EXCHANGE, buf_span(&c->link));
    return true;
}

bool ike_own_next(struct ike_turn *t, struct ike_sa *sa, struct ike_writer *iw, uint8_t *ret_exchange)
{
    struct ike_create *c = sa->own.create;
    bool more = c->link.n > 0;
    crypto_ke_free(c->exchange);
    c->exchange = NULL;
    *ret_exchange = more ? IKE_FOLLOWUP_KE : CREATE_CHILD_SA;
    if (more ? write_followup(t, c, iw) : write_create(t, c, iw))
        return true;
    ike_own_later(t, sa, c->old);
    ike_create_abandon(t, c);
    return false;
}

/* ---- what is due */

static struct ike_create *begin_child(struct ike_turn *t, struct ike_sa *sa, const struct ike_child *old)
{
    struct ike_create *c = ike_create_new(t, sa, CREATE_REKEY_CHILD);
    if (!c)
        return NULL;
    c->ours = true;
    c->old = old->spi_in;
    if (ike_child_prepare(t, sa, sa->tunnel_handle, &old->suite, &c->child) != RC_OK) {
        ike_create_free(t->ike, c);
        return NULL;
    }
    c->child->ts_local = old->ts_local; /* RFC 7296 2.9.2: the same */
    c->child->ts_remote = old->ts_remote;
    c->child->transport = old->transport;
    offer_child(t->ike, c, &old->suite);
    return c;
}

static struct ike_create *begin_ike(struct ike_turn *t, struct ike_sa *sa)
{
    struct ike_create *c = ike_create_new(t, sa, CREATE_REKEY_IKE);
    if (!c)
        return NULL;
    c->ours = true;
    c->fresh = ike_sa_successor(t, sa, 0, true); /* the peer's SPI comes with its answer */
    if (!c->fresh) {
        ike_create_free(t->ike, c);
        return NULL;
    }
    offer_ike(t->ike, c);
    return c;
}

static struct ike_child *due_child(const struct ike_sa *sa)
{
    for (struct list *l = sa->children.next; l != &sa->children; l = l->next) {
        struct ike_child *child = CONTAINER_OF(l, struct ike_child, of_sa);
        if (child->rekey_due && !child->replaced && !child->expiring)
            return child;
    }
    return NULL;
}

bool ike_own_begin(struct ike_turn *t, struct ike_sa *sa, struct ike_writer *iw)
{
    uint8_t exchange;
    struct ike_child *child = due_child(sa);
    if (sa->pending || (!sa->rekey_due && !child)) /* the peer is at work: afterwards */
        return false;
    struct ike_create *c = sa->rekey_due ? begin_ike(t, sa) : begin_child(t, sa, child);
    if (!c) { /* no room: after a while */
        ike_own_later(t, sa, sa->rekey_due ? 0 : child->spi_in);
        return false;
    }
    sa->own.create = c;
    sa->rekey_due = false;
    if (c->old)
        child->rekey_due = false;
    return ike_own_next(t, sa, iw, &exchange);
}

/* ---- when it does not work */

static struct ike_child *old_child(struct ike_turn *t, const struct ike_sa *sa, uint32_t spi_in)
{
    struct ike_child *old = spi_in ? ike_child_find(t->ike, spi_in) : NULL;
    return old && old->sa == sa && !old->replaced ? old : NULL;
}

void ike_own_later(struct ike_turn *t, struct ike_sa *sa, uint32_t spi_in)
{
    struct ike_child *old = old_child(t, sa, spi_in);
    uint64_t again = t->now + IKE_BUSY_RETRY + rng_u64(t->ike->rng) % IKE_BUSY_RETRY;
    if (old) {
        old->rekey_due = false;
        (void)ike_timer_set(t->ike, &old->timer, again < old->hard ? again : old->hard); /* armed: cannot fail */
    } else if (!spi_in) {
        sa->rekey_due = false;
        sa->rekey_at = again;
        ike_sa_rearm(t, sa);
    }
}

void ike_own_refused(struct ike_turn *t, const struct ike_create *c)
{
    struct ike_sa *sa = c->sa;
    struct ike_child *old = old_child(t, sa, c->old);
    if (c->kind == CREATE_REKEY_IKE || (old && sa->n_children == 1))
        sa->doomed = true; /* nothing that carries traffic would be left; RFC 7296 2.8: the peer starts over */
    else if (old)
        old->expiring = true;
}
