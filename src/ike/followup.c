/* ike/followup: IKE_FOLLOWUP_KE of the peer: one additional key exchange of the CREATE_CHILD_SA that waits for it (RFC 9370 2.2.4).
 * The link names it: random, good for this SA and this step only.
 */
#include "create.h"

enum rc ike_create_wait(struct ike_turn *t, struct ike_create *c)
{
    uint8_t link[IKE_LINK_SIZE];
    rng_fill(t->ike->rng, link, sizeof link);
    enum rc rc = buf_set(&c->link, span_of(link, sizeof link));
    if (rc == RC_OK && !ike_timer_set(t->ike, &c->timer, t->now + t->ike->policy.followup_timeout))
        rc = RC_NOMEM;
    return rc;
}

static enum ike_outcome drop_pending(struct ike_inbound *x, uint16_t notify, enum ike_count count, const char *reason)
{
    struct ike_create *c = x->sa->pending;
    if (c)
        ike_create_failed(x->turn, c, count, reason);
    else
        ike_event_drop(x->turn, &x->path, count, x->sa->spi_i, reason);
    ike_create_free(x->turn->ike, c);
    ike_reply_notify(x, notify, span_of(NULL, 0));
    return OUTCOME_STAY;
}

static void commit(struct ike_inbound *x)
{
    struct ike_create *c = x->sa->pending;
    c->rounds++;
    if (ike_create_method(c) == KE_NONE)
        ike_create_install(x->turn, c);
}

/* Our half of the exchange, and what it leads to: another link, or the keys. */
static enum rc go_on(struct ike_inbound *x, struct ike_create *c, uint16_t method, const struct ke_value *public)
{
    uint8_t rounds = (uint8_t)(c->rounds + 1);
    bool more = rounds < ADDKE_MAX && c->suite.addke[rounds];
    enum rc rc = more ? ike_create_wait(x->turn, c) : ike_create_derive(x->turn, c, rounds);
    if (rc != RC_OK)
        return rc;
    ike_write_ke(&x->reply, method, span_of(public->b, public->n));
    if (more)
        ike_write_notify(&x->reply, PROTO_NONE, span_of(NULL, 0), N_ADDITIONAL_KEY_EXCHANGE, buf_span(&c->link));
    x->commit = commit;
    return RC_OK;
}

enum ike_outcome ike_followup_request(struct ike_inbound *x)
{
    struct ike_create *c = x->sa->pending;
    struct ike_notify link;
    struct ike_ke ke;
    struct ke_value public;
    if (!c || !ike_notify_find(&x->chain, N_ADDITIONAL_KEY_EXCHANGE, &link) ||
        !crypto_equal(link.data, buf_span(&c->link)))
        return drop_pending(x, N_STATE_NOT_FOUND, IKE_COUNT_FAIL_REKEY, "IKE_FOLLOWUP_KE without the right link");
    uint16_t method = ike_create_method(c);
    if (ike_ke_read(ike_chain_find(&x->chain, PAYLOAD_KE)->body, &ke) != RC_OK)
        return ike_refuse_syntax(x, "malformed KE payload in IKE_FOLLOWUP_KE");
    if (ke.method != method)
        return drop_pending(x, N_NO_PROPOSAL_CHOSEN, IKE_COUNT_FAIL_KE,
                            "IKE_FOLLOWUP_KE brings another key exchange than negotiated");
    if (crypto_ke_respond(x->turn->ike->crypto, method, ke.data, &public, &c->shared[1 + c->rounds]) != RC_OK)
        return ike_refuse_syntax(x, "public value of the additional key exchange refused");
    return go_on(x, c, method, &public) == RC_OK ? OUTCOME_STAY : OUTCOME_DROP;
}
