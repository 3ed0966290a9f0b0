/* ike/own_answer: the peer's answers to our CREATE_CHILD_SA and IKE_FOLLOWUP_KE. An answer that does not go with what we asked is
 * never answered (RFC 7296 2.21.3); as the peer may have made an SA of it, the IKE SA is closed.
 */
#include "create.h"

/* ---- errors */

/* The first error notify of an answer; 0: none. Unknown ones are errors too (RFC 7296 3.10.1). */
static uint16_t error_of(const struct ike_chain *chain, struct ike_notify *ret)
{
    for (size_t i = 0; i < chain->n; i++)
        if (chain->v[i].type == PAYLOAD_NOTIFY && ike_notify_read(chain->v[i].body, ret) == RC_OK &&
            ret->type <= N_ERROR_LAST)
            return ret->type;
    return 0;
}

/* Another method of our offer that the peer wants. */
static bool try_again(struct ike_create *c, const struct ike_notify *n)
{
    struct rd r = rd_of(n->data);
    uint16_t method = rd_u16(&r);
    if (!rd_done(&r) || method == c->method || c->tries >= c->offer.n_ke || c->link.n)
        return false;
    for (uint8_t i = 0; i < c->offer.n_ke; i++)
        if (c->offer.ke[i] == method) {
            c->method = method;
            return true;
        }
    return false;
}

/* The peer is busy, or has lost the state of our exchange. For too long: the two of us are out of step (RFC 7296 2.25). */
static void busy(struct ike_turn *t, const struct ike_create *c)
{
    struct ike_sa *sa = c->sa;
    if (!sa->busy_since)
        sa->busy_since = t->now;
    if (t->now - sa->busy_since > IKE_BUSY_MAX)
        sa->doomed = true;
    else
        ike_own_later(t, sa, c->old);
}

/* A child that its last request made the peer will know when our answer reaches it. */
static void child_unknown(struct ike_turn *t, const struct ike_create *c)
{
    struct ike_child *old = c->old ? ike_child_find(t->ike, c->old) : NULL;
    if (!old || old->replaced)
        return;
    if (old->made_by + 1 == c->sa->mid_in && c->sa->mid_in)
        busy(t, c);
    else
        ike_child_down(t, old, CHILD_DOWN_PEER); /* RFC 7296 2.25: silently */
}

/* Ends the exchange, or begins it again; what follows from that for the SA is in its flags afterwards. */
static enum ike_outcome failed(struct ike_inbound *x, struct ike_create *c, const struct ike_notify *n)
{
    struct ike_turn *t = x->turn;
    bool temporary = n->type == N_TEMPORARY_FAILURE || n->type == N_STATE_NOT_FOUND;
    if (n->type == N_INVALID_KE_PAYLOAD && !c->rival && try_again(c, n))
        return OUTCOME_STAY;
    ike_create_failed(t, c, temporary || c->rival ? IKE_COUNT_FAIL_COLLISION : IKE_COUNT_FAIL_REKEY,
                      ike_notify_name(n->type));
    if (n->type == N_INVALID_SYNTAX) /* the peer has dropped the IKE SA, RFC 7296 2.21.3 */
        return OUTCOME_KILL;
    if (c->rival)
        ; /* what the peer made of the same SA does it */
    else if (temporary)
        busy(t, c);
    else if (n->type == N_CHILD_SA_NOT_FOUND)
        child_unknown(t, c);
    else
        ike_own_refused(t, c);
    ike_create_abandon(t, c);
    return OUTCOME_STAY;
}

static enum ike_outcome broken(struct ike_inbound *x, struct ike_create *c, const char *why)
{
    ike_create_failed(x->turn, c, IKE_COUNT_FAIL_REKEY, why);
    x->sa->doomed = true;
    ike_create_free(x->turn->ike, c);
    return OUTCOME_STAY;
}

/* ---- answers; each part returns NULL or what is wrong with it */

static const char *read_suite(const struct ike_inbound *x, struct ike_create *c)
{
    const struct ike_payload *sa = ike_chain_find(&x->chain, PAYLOAD_SA);
    const struct ike_offer_rule rule = {
        .protocol = c->fresh ? PROTO_IKE : PROTO_ESP,
        .spi_size = c->fresh ? 8 : 4,
        .policy = &c->offer,
        .ke = c->ke_must ? KE_RULE_REQUIRED : KE_RULE_OPTIONAL,
        .addke = true,
        .addke_must = c->addke_must,
    };
    struct ike_error error = {.what = "malformed"};
    struct ike_choice choice;
    struct ike_proposal proposal;
    if (!sa || ike_sa_check(sa->body, &error) != RC_OK)
        return sa ? error.what : "no SA payload in the answer";
    if (ike_proposal_choose(&rule, sa->body, &choice) != RC_OK)
        return "the answer has a proposal that we did not offer";
    struct rd r = rd_of(sa->body), spi = rd_of(choice.spi);
    bool one = ike_proposal_next(&r, &proposal) && proposal.n_transforms == choice.n && rd_done(&r);
    for (uint8_t i = 0; i < ADDKE_MAX && choice.suite.addke[0]; i++)
        one &= choice.suite.addke[i] == c->addke[i];
    if (!one)
        return "the answer leaves a choice, or is not of our offer";
    c->suite = choice.suite;
    if (c->fresh) {
        c->fresh->spi_r = rd_u64(&spi);
        c->fresh->suite = c->suite;
        c->fresh->alg = (struct sk_alg){c->suite.encr, c->suite.encr_bits, c->suite.integ};
        return c->fresh->spi_r ? NULL : "the SPI of the new IKE SA is zero";
    }
    c->child->spi_out = rd_u32(&spi);
    c->child->suite = c->suite;
    return NULL;
}

static const char *read_nonce(const struct ike_inbound *x, struct ike_create *c)
{
    const struct ike_payload *nonce = ike_chain_find(&x->chain, PAYLOAD_NONCE);
    if (!nonce || ike_nonce_check(nonce->body) != RC_OK)
        return "no nonce of 16 to 256 octets in the answer";
    struct wr w = wr_of(c->nr.b, sizeof c->nr.b);
    wr_bytes(&w, nonce->body);
    c->nr.n = (uint16_t)wr_len(&w);
    return NULL;
}

static const char *read_public(const struct ike_inbound *x, struct ike_create *c, uint16_t method,
                               struct ke_secret *ret)
{
    const struct ike_payload *p = ike_chain_find(&x->chain, PAYLOAD_KE);
    struct ike_ke ke;
    if (method == KE_NONE)
        return NULL;
    if (!p || ike_ke_read(p->body, &ke) != RC_OK || ke.method != method || method != c->method)
        return "no KE payload of the method agreed on";
    return crypto_ke_finish(c->exchange, ke.data, ret) == RC_OK ? NULL : "public value of the key exchange refused";
}

static const char *read_selectors(const struct ike_inbound *x, const struct ike_create *c)
{
    const struct ike_payload *i = ike_chain_find(&x->chain, PAYLOAD_TSI), *r = ike_chain_find(&x->chain, PAYLOAD_TSR);
    struct ike_ts_pair pair;
    if (!c->child)
        return NULL;
    const struct ts *local = &c->child->ts_local, *remote = &c->child->ts_remote;
    const struct ike_ts_policy offered = {local, remote, 1, 1};
    if (!i || !r || ike_selector_rekey(&offered, r->body, i->body, local, remote, &pair) != RC_OK)
        return "the answer narrows the traffic selectors";
    /* Unconfirmed, the child is one of tunnel mode (RFC 7296 1.3.1), which carries GRE as well. */
    struct ike_notify confirmed;
    c->child->transport = c->child->transport && ike_notify_find(&x->chain, N_USE_TRANSPORT_MODE, &confirmed);
    return NULL;
}

/* The link to the IKE_FOLLOWUP_KE that must come next, or none: then it is done. */
static enum ike_outcome go_on(struct ike_inbound *x, struct ike_create *c)
{
    struct ike_notify link;
    bool linked = ike_notify_find(&x->chain, N_ADDITIONAL_KEY_EXCHANGE, &link) && link.data.n;
    if (ike_create_method(c) != KE_NONE) {
        if (!linked)
            return broken(x, c, "no ADDITIONAL_KEY_EXCHANGE in the answer");
        if (buf_set(&c->link, link.data) != RC_OK)
            return broken(x, c, "out of memory");
        if (ike_create_lost(c)) { /* known before anything was made: there is nothing to delete */
            ike_create_failed(x->turn, c, IKE_COUNT_FAIL_COLLISION,
                              "the peer rekeys at the same time: its exchange goes on");
            ike_create_abandon(x->turn, c);
        }
        return OUTCOME_STAY;
    }
    if (ike_create_derive(x->turn, c, c->rounds) != RC_OK)
        return broken(x, c, "out of memory");
    ike_create_install(x->turn, c);
    return OUTCOME_STAY;
}

/* What an answer made of the SA: it goes now, or goes on. */
static enum ike_outcome conclude(struct ike_inbound *x, enum ike_outcome outcome)
{
    if (outcome == OUTCOME_STAY && x->sa->doomed && x->sa->state != IKE_STATE_DELETING)
        ike_sa_delete(x->turn, x->sa, CHILD_DOWN_EXPIRED);
    return outcome;
}

enum ike_outcome ike_create_response(struct ike_inbound *x)
{
    struct ike_create *c = x->sa->own.create;
    struct ike_notify n;
    ike_request_done(x->turn->ike, x->sa);
    if (!c) /* it came to nothing while the answer was on its way */
        return OUTCOME_STAY;
    if (error_of(&x->chain, &n))
        return conclude(x, failed(x, c, &n));
    const char *wrong = read_suite(x, c);
    if (!wrong)
        wrong = read_nonce(x, c);
    if (!wrong)
        wrong = read_selectors(x, c);
    if (!wrong)
        wrong = read_public(x, c, c->suite.ke, &c->shared[0]);
    return conclude(x, wrong ? broken(x, c, wrong) : go_on(x, c));
}

enum ike_outcome ike_followup_response(struct ike_inbound *x)
{
    struct ike_create *c = x->sa->own.create;
    struct ike_notify n;
    ike_request_done(x->turn->ike, x->sa);
    if (!c)
        return OUTCOME_STAY;
    if (error_of(&x->chain, &n))
        return conclude(x, failed(x, c, &n));
    const char *wrong = read_public(x, c, ike_create_method(c), &c->shared[1 + c->rounds]);
    if (wrong)
        return conclude(x, broken(x, c, wrong));
    c->rounds++;
    return conclude(x, go_on(x, c));
}
