/* ike/create_answer: CREATE_CHILD_SA of the peer (RFC 7296 1.3): another child, a child in the place of another, or a new IKE SA.
 * Whether it collides with what we do comes first (2.25), then the proposal, the selectors, the key exchange; only what can be
 * carried out to the end is answered, and only a sealed answer changes anything.
 */
#include "create.h"

struct create { /* the request, read */
    enum ike_create_kind kind;
    struct span sa, nonce, tsi, tsr;
    struct ike_ke ke;      /* method KE_NONE: there was none */
    struct ike_child *old; /* REKEY_CHILD */
    struct ike_choice choice;
    struct ike_ts_pair ts;
    bool transport;
};

struct refusal {
    uint16_t notify;
    enum ike_count count;
    const char *reason, *offered, *nearest, *differs;
};

static enum ike_outcome refuse(struct ike_inbound *x, const struct create *in, const struct refusal *r)
{
    const struct ike_create_report report = {
        .sa = x->sa,
        .kind = in->kind,
        .old = in->old ? in->old->spi_in : 0,
        .count = r->count,
        .reason = r->reason,
        .offered = r->offered,
        .nearest = r->nearest,
        .differs = r->differs,
    };
    ike_event_create_failed(x->turn, &report);
    ike_reply_notify(x, r->notify, span_of(NULL, 0));
    return OUTCOME_STAY;
}

static enum ike_outcome refuse_busy(struct ike_inbound *x, const struct create *in, const char *reason)
{
    const struct refusal r = {N_TEMPORARY_FAILURE, IKE_COUNT_FAIL_COLLISION, reason, NULL, NULL};
    return refuse(x, in, &r);
}

static const char *read_request(const struct ike_inbound *x, struct create *in)
{
    const struct ike_payload *ke = ike_chain_find(&x->chain, PAYLOAD_KE);
    struct ike_error error = {.what = "malformed"};
    in->sa = ike_chain_find(&x->chain, PAYLOAD_SA)->body;
    in->nonce = ike_chain_find(&x->chain, PAYLOAD_NONCE)->body;
    if (ike_nonce_check(in->nonce) != RC_OK)
        return "nonce not of 16 to 256 octets";
    if (ke && ike_ke_read(ke->body, &in->ke) != RC_OK)
        return "malformed KE payload";
    return ike_sa_check(in->sa, &error) == RC_OK ? NULL : error.what;
}

/* ---- collisions with what we, or the peer itself, have under way (RFC 7296 2.25) */

static bool touches_children(const struct ike_sa *sa)
{
    const struct ike_create *own = sa->own.create;
    return sa->own.errand == ERRAND_DELETE_CHILDREN || (own && own->kind != CREATE_REKEY_IKE);
}

/* Does it rekey what `c` rekeys? */
static bool same_rekey(const struct ike_create *c, const struct create *in)
{
    uint32_t old = in->old ? in->old->spi_in : 0;
    return c && c->kind == in->kind && c->kind != CREATE_CHILD && c->old == old;
}

/* NULL: none. A peer that begins the very same rekey again has given the first up. */
static const char *collision(struct ike_inbound *x, const struct create *in)
{
    struct ike_sa *sa = x->sa;
    const struct ike_create *own = sa->own.create, *pending = sa->pending;
    bool ike = in->kind == CREATE_REKEY_IKE;
    if (same_rekey(pending, in)) {
        ike_create_failed(x->turn, pending, IKE_COUNT_FAIL_REKEY, "the peer begins it anew");
        ike_create_free(x->turn->ike, sa->pending);
        pending = NULL;
    }
    if (!bucket_take(&sa->tunnel->creates, x->turn->now))
        return "too many CREATE_CHILD_SA requests";
    if (pending)
        return "another CREATE_CHILD_SA waits for its IKE_FOLLOWUP_KE";
    if (in->old && (in->old->expiring || in->old->deleting || in->old->replaced))
        return "the child is being replaced or deleted";
    if (!ike && own && own->kind == CREATE_REKEY_IKE)
        return "we are rekeying the IKE SA";
    if (ike && touches_children(sa))
        return "we are rekeying or deleting a child";
    if (same_rekey(own, in) && own->link.n) /* ours is past the nonces: it will be done before this one */
        return "our own rekey is nearly done";
    return NULL;
}

/* ---- proposal and key exchange */

static struct ike_offer_rule offer_rule(const struct ike_inbound *x, const struct create *in,
                                        struct proposal_policy *policy)
{
    const struct ike *ike = x->turn->ike;
    const struct ike_sa *sa = x->sa;
    if (in->kind != CREATE_REKEY_IKE) {
        ike_proposal_restrict(&ike->policy.esp, &sa->tunnel->esp, policy);
        return (struct ike_offer_rule){.protocol = PROTO_ESP,
                                       .spi_size = 4,
                                       .policy = policy,
                                       .ke = KE_RULE_OPTIONAL,
                                       .addke = sa->tunnel->pq != PQ_OFF || sa->suite.addke[0],
                                       .null_cipher = sa->tunnel->allow_null_cipher};
    }
    /* Peers disagree on which PRF makes SKEYSEED when it changes (RFC 7296 2.18: the old one): it must not. */
    ike_proposal_restrict(&ike->policy.ike, &sa->tunnel->ike, policy);
    policy->prf[0] = sa->suite.prf;
    policy->n_prf = 1;
    return (struct ike_offer_rule){.protocol = PROTO_IKE,
                                   .spi_size = 8,
                                   .policy = policy,
                                   .ke = KE_RULE_REQUIRED,
                                   .addke = sa->tunnel->pq != PQ_OFF || sa->suite.addke[0],
                                   .addke_must = sa->suite.addke[0] || sa->tunnel->pq == PQ_REQUIRE};
}

static bool choose(struct ike_inbound *x, struct create *in, enum ike_outcome *ret)
{
    struct proposal_policy policy;
    const struct ike_offer_rule rule = offer_rule(x, in, &policy);
    if (ike_proposal_choose(&rule, in->sa, &in->choice) == RC_OK)
        return true;
    char offered[IKE_OFFER_TEXT];
    struct ike_nearest nearest;
    ike_proposal_nearest(&rule, in->sa, &nearest);
    const struct refusal r = {
        .notify = N_NO_PROPOSAL_CHOSEN,
        .count = IKE_COUNT_FAIL_PROPOSAL,
        .reason =
            in->kind == CREATE_REKEY_IKE ? "no IKE proposal acceptable for a rekey" : "no ESP proposal acceptable",
        .offered = ike_offer_text(in->sa, offered),
        .nearest = nearest.text,
        .differs = nearest.differs,
    };
    *ret = refuse(x, in, &r);
    return false;
}

/* RFC 7296 1.3: the group of the proposal chosen, or its number as the answer; no failure yet. */
static bool same_method(struct ike_inbound *x, const struct create *in)
{
    uint16_t ke = in->choice.suite.ke;
    if (ke == KE_NONE || (in->ke.method == ke && in->ke.data.n == crypto_ke_public_size(ke, false)))
        return true;
    uint8_t wanted[2];
    struct wr w = wr_of(wanted, sizeof wanted);
    wr_u16(&w, ke);
    ike_event_drop(x->turn, &x->path, IKE_COUNT_FAIL_KE, x->sa->spi_i, "KE payload of another method than chosen");
    ike_reply_notify(x, N_INVALID_KE_PAYLOAD, wr_span(&w));
    return false;
}

/* ---- the answer */

static void commit(struct ike_inbound *x)
{
    struct ike_create *c = x->create;
    x->create = NULL;
    ike_create_meet(c);
    if (ike_create_method(c) == KE_NONE)
        ike_create_install(x->turn, c);
    else
        c->sa->pending = c;
}

static struct span our_spi(const struct ike_create *c, uint8_t octets[8])
{
    struct wr w = wr_of(octets, 8);
    if (c->kind == CREATE_REKEY_IKE)
        wr_u64(&w, ike_sa_our_spi(c->fresh));
    else
        wr_u32(&w, c->child->spi_in);
    return wr_span(&w);
}

static void write_answer(struct ike_inbound *x, const struct create *in, const struct ike_create *c,
                         const struct ke_value *public)
{
    uint8_t octets[8];
    struct ike_writer *iw = &x->reply;
    uint8_t protocol = c->kind == CREATE_REKEY_IKE ? PROTO_IKE : PROTO_ESP;
    ike_write_sa(iw, in->choice.num, protocol, our_spi(c, octets), in->choice.out, in->choice.n);
    ike_write_nonce(iw, span_of(c->nr.b, c->nr.n));
    if (c->suite.ke)
        ike_write_ke(iw, c->suite.ke, span_of(public->b, public->n));
    if (c->child) {
        const struct ike_ts remote = ike_selector_wire(&in->ts.remote), local = ike_selector_wire(&in->ts.local);
        ike_write_ts(iw, PAYLOAD_TSI, &remote, 1);
        ike_write_ts(iw, PAYLOAD_TSR, &local, 1);
    }
    if (in->transport)
        ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), N_USE_TRANSPORT_MODE, span_of(NULL, 0));
    if (in->ts.more)
        ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), N_ADDITIONAL_TS_POSSIBLE, span_of(NULL, 0));
    if (c->link.n)
        ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), N_ADDITIONAL_KEY_EXCHANGE, buf_span(&c->link));
}

static enum rc prepare(struct ike_inbound *x, const struct create *in, struct ike_create *c)
{
    struct rd spi = rd_of(in->choice.spi);
    if (c->kind == CREATE_REKEY_IKE) {
        c->fresh = ike_sa_successor(x->turn, x->sa, rd_u64(&spi), false);
        if (!c->fresh)
            return RC_NOMEM;
        c->fresh->suite = c->suite;
        c->fresh->alg = (struct sk_alg){c->suite.encr, c->suite.encr_bits, c->suite.integ};
        return RC_OK;
    }
    enum rc rc = ike_child_prepare(x->turn, x->sa, x->sa->tunnel_handle, &c->suite, &c->child);
    if (rc != RC_OK)
        return rc;
    c->child->spi_out = rd_u32(&spi);
    c->child->ts_local = in->ts.local;
    c->child->ts_remote = in->ts.remote;
    c->child->transport = in->transport;
    c->old = in->old ? in->old->spi_in : 0;
    return RC_OK;
}

static enum ike_outcome answer(struct ike_inbound *x, const struct create *in)
{
    struct ike *ike = x->turn->ike;
    struct ike_create *c = x->create = ike_create_new(x->turn, x->sa, in->kind);
    struct ke_value public = {.n = 0};
    const struct refusal no_room = {N_NO_ADDITIONAL_SAS, IKE_COUNT_DROP_LIMIT, "no room for another SA", NULL, NULL};
    if (!c)
        return refuse(x, in, &no_room);
    c->suite = in->choice.suite;
    struct wr ni = wr_of(c->ni.b, sizeof c->ni.b);
    wr_bytes(&ni, in->nonce);
    c->ni.n = (uint16_t)wr_len(&ni);
    ike_create_nonce(ike, &c->nr);

    if (prepare(x, in, c) != RC_OK)
        return refuse(x, in, &no_room);
    if (c->suite.ke && crypto_ke_respond(ike->crypto, c->suite.ke, in->ke.data, &public, &c->shared[0]) != RC_OK)
        return ike_refuse_syntax(x, "public value of the key exchange refused");
    enum rc rc = ike_create_method(c) ? ike_create_wait(x->turn, c) : ike_create_derive(x->turn, c, 0);
    if (rc != RC_OK)
        return refuse(x, in, &no_room);
    write_answer(x, in, c, &public);
    x->commit = commit;
    return OUTCOME_REPLY;
}

/* ---- the three kinds */

/* false: there is no such child of this peer, or not yet; said so with the SPI it gave, if that can be one (RFC 7296 2.25). */
static bool find_old(struct ike_inbound *x, struct create *in, const struct ike_notify *rekey)
{
    struct rd spi = rd_of(rekey->spi);
    bool well = rekey->protocol == PROTO_ESP && rekey->spi.n == 4;
    in->kind = CREATE_REKEY_CHILD;
    in->old = well ? ike_child_of(x->sa, rd_u32(&spi)) : NULL;
    if (in->old)
        return true;
    const struct ike_create *own = x->sa->own.create;
    if (well && own &&
        own->kind != CREATE_REKEY_IKE) { /* the peer has made it, and its answer is still on its way to us */
        (void)refuse_busy(x, in, "it may be the child we are making");
        return false;
    }
    const struct refusal r = {N_CHILD_SA_NOT_FOUND, IKE_COUNT_FAIL_REKEY, "no such child to rekey", NULL, NULL};
    (void)refuse(x, in, &r);
    ike_reply_reset(x);
    ike_write_notify(&x->reply, PROTO_ESP, rekey->spi.n == 4 ? rekey->spi : span_of("\0\0\0", 4), N_CHILD_SA_NOT_FOUND,
                     span_of(NULL, 0));
    return false;
}

static bool narrow(struct ike_inbound *x, struct create *in, enum ike_outcome *ret)
{
    const struct ike_tunnel *tunnel = x->sa->tunnel;
    const struct ike_ts_policy policy = {tunnel->ts_local, tunnel->ts_remote, tunnel->n_ts_local, tunnel->n_ts_remote};
    const struct ike_child *old = in->old;
    in->transport = ike_transport_narrow(x, tunnel, old, in->tsi, in->tsr, &in->ts);
    if (in->transport)
        return true;
    enum rc rc = old ? ike_selector_rekey(&policy, in->tsi, in->tsr, &old->ts_local, &old->ts_remote, &in->ts)
                     : ike_selector_narrow(&policy, in->tsi, in->tsr, &in->ts);
    if (rc == RC_OK)
        return true;
    char offered[IKE_TS_TEXT];
    const struct refusal r = {
        .notify = N_TS_UNACCEPTABLE,
        .count = IKE_COUNT_FAIL_SELECTORS,
        .reason =
            old ? "traffic selectors narrower than those of the child to rekey" : "no traffic selectors acceptable",
        .offered = ike_selector_text(in->tsi, in->tsr, offered),
    };
    *ret = rc == RC_ABSENT ? refuse(x, in, &r) : ike_refuse_syntax(x, "malformed traffic selectors");
    return false;
}

enum ike_outcome ike_create_child(struct ike_inbound *x)
{
    struct create in = {.kind = CREATE_CHILD};
    struct ike_notify rekey;
    enum ike_outcome refused;
    const uint32_t max = x->turn->ike->policy.max_children;
    const struct refusal full = {N_NO_ADDITIONAL_SAS, IKE_COUNT_DROP_LIMIT,
                                 "the tunnel has all the child SAs it may have", NULL, NULL};
    const char *malformed = read_request(x, &in);
    if (malformed)
        return ike_refuse_syntax(x, malformed);
    in.tsi = ike_chain_find(&x->chain, PAYLOAD_TSI)->body;
    in.tsr = ike_chain_find(&x->chain, PAYLOAD_TSR)->body;
    if (ike_notify_find(&x->chain, N_REKEY_SA, &rekey) && !find_old(x, &in, &rekey))
        return OUTCOME_STAY;
    const char *busy = collision(x, &in);
    if (busy)
        return refuse_busy(x, &in, busy);
    if (!in.old && x->sa->tunnel->n_children >= (max < IKE_CHILDREN_MAX ? max : IKE_CHILDREN_MAX))
        return refuse(x, &in, &full);
    /* IPComp, TFC padding: not confirmed, hence not in use (RFC 7296 1.3.1). */
    if (!choose(x, &in, &refused) || !narrow(x, &in, &refused))
        return refused;
    return same_method(x, &in) ? answer(x, &in) : OUTCOME_STAY;
}

enum ike_outcome ike_create_ike(struct ike_inbound *x)
{
    struct create in = {.kind = CREATE_REKEY_IKE};
    enum ike_outcome refused;
    const char *malformed = read_request(x, &in);
    if (malformed)
        return ike_refuse_syntax(x, malformed);
    const char *busy = collision(x, &in);
    if (busy)
        return refuse_busy(x, &in, busy);
    if (!choose(x, &in, &refused))
        return refused;
    struct rd spi = rd_of(in.choice.spi);
    if (!rd_u64(&spi)) /* RFC 7296 3.1 */
        return ike_refuse_syntax(x, "the SPI of the new IKE SA is zero");
    return same_method(x, &in) ? answer(x, &in) : OUTCOME_STAY;
}

enum ike_outcome ike_create_closing(struct ike_inbound *x)
{
    ike_reply_notify(x, N_TEMPORARY_FAILURE, span_of(NULL, 0));
    return OUTCOME_STAY;
}
