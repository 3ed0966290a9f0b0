/* ike/auth: IKE_AUTH with a pre-shared key (RFC 7296 1.2, 2.15) and the first Child SA.
 * Every way to fail gives the same octets after the same work: the peer does not learn whether an identity exists.
 */
#include "event.h"
#include "proposal.h"
#include "selector.h"

struct auth { /* the request, read */
    struct ike_id id;
    struct ike_auth auth; /* method 0: there was none, the peer wants EAP */
    bool child;           /* false: it wants none (RFC 6023) */
    struct span sa, tsi, tsr;
};

static struct span body_of(const struct ike_inbound *x, uint8_t type)
{
    const struct ike_payload *p = ike_chain_find(&x->chain, type);
    return p ? p->body : span_of(NULL, 0);
}

static bool good_child(const struct auth *in)
{
    struct ike_error error;
    struct rd selectors;
    uint8_t n;
    return ike_sa_check(in->sa, &error) == RC_OK && ike_ts_read(in->tsi, &n, &selectors) == RC_OK &&
           ike_ts_read(in->tsr, &n, &selectors) == RC_OK;
}

static bool read_request(struct ike_inbound *x, struct auth *ret)
{
    const struct ike_payload *auth = ike_chain_find(&x->chain, PAYLOAD_AUTH);
    struct auth in = {
        .child = ike_chain_find(&x->chain, PAYLOAD_SA),
        .sa = body_of(x, PAYLOAD_SA),
        .tsi = body_of(x, PAYLOAD_TSI),
        .tsr = body_of(x, PAYLOAD_TSR),
    };
    if (ike_id_read(body_of(x, PAYLOAD_IDI), &in.id) != RC_OK ||
        (auth && ike_auth_read(auth->body, &in.auth) != RC_OK) || (in.child && !good_child(&in)))
        return false;
    *ret = in;
    return true;
}

/* ---- who it is */

static struct ike_auth_input signed_by_peer(const struct ike_inbound *x, const struct auth *in)
{
    const struct ike_sa *sa = x->sa;
    const struct ike_secrets *s = sa->secrets;
    size_t n = s->keys.n_prf;
    return (struct ike_auth_input){
        .message = buf_span(&sa->request),
        .peer_message = buf_span(&sa->response),
        .full_transcript = sa->full_transcript,
        .peer_nonce = buf_span(&sa->nr),
        .sk_p = span_of(s->keys.pi, n),
        .id = in->id.maced,
        .int_auth_i = span_of(s->int_auth_i, s->has_int_auth ? n : 0),
        .int_auth_r = span_of(s->int_auth_r, s->has_int_auth ? n : 0),
        .auth_mid = x->header.mid,
    };
}

/* Which PSK of the tunnel gives the AUTH received; -1: none. Always TUNNEL_PSKS rounds, with stand-ins where there is no key or
 * no tunnel, so that the time does not tell. */
static int match_psk(const struct ike_inbound *x, const struct ike_tunnel *tunnel, const struct auth *in)
{
    const struct ike *ike = x->turn->ike;
    const struct ike_auth_input input = signed_by_peer(x, in);
    size_t n = crypto_prf_size(x->sa->suite.prf);
    int found = -1;
    for (uint8_t i = 0; i < TUNNEL_PSKS; i++) {
        bool real = tunnel && i < tunnel->n_psks;
        struct span psk = real ? buf_span(&tunnel->psks[i].value) : span_of(ike->digest_key, sizeof ike->digest_key);
        uint8_t expected[PRF_MAX];
        if (ike_keys_auth(ike->crypto, x->sa->suite.prf, psk, &input, expected) != RC_OK)
            continue;
        if (crypto_equal(span_of(expected, n), in->auth.data) && real)
            found = i;
        wipe(expected, sizeof expected);
    }
    return found;
}

struct verdict {
    enum ike_count count;
    const char *reason; /* NULL: authenticated */
};

static struct verdict authenticate(struct ike_inbound *x, const struct auth *in, struct ike_tunnel *tunnel)
{
    const struct ike *ike = x->turn->ike;
    int i = match_psk(x, tunnel, in); /* first and always */
    if (!in->auth.method)
        return (struct verdict){IKE_COUNT_FAIL_PSK, "no AUTH payload: the peer wants EAP, we do pre-shared keys only"};
    if (in->auth.method != AUTH_SHARED_KEY_MIC)
        return (struct verdict){IKE_COUNT_FAIL_PSK, "authentication method other than pre-shared key"};
    if (!tunnel)
        return (struct verdict){IKE_COUNT_FAIL_IDENTITY, "no tunnel at this address has that identity"};
    if (i < 0)
        return (struct verdict){IKE_COUNT_FAIL_PSK, "wrong pre-shared key"};
    if (tunnel->psks[i].not_after && ike_unix_time(ike, x->turn->now) > tunnel->psks[i].not_after)
        return (struct verdict){IKE_COUNT_FAIL_PSK, "pre-shared key past its not_after"};
    if (tunnel->strict_peer && !addr_equal(&tunnel->customer_endpoint, &x->path.remote.addr))
        return (struct verdict){IKE_COUNT_FAIL_PEER_ADDRESS, "peer address is not customer_endpoint (strict_peer)"};
    if (tunnel->pq == PQ_REQUIRE && !ike_sa_is_pq(x->sa))
        return (struct verdict){IKE_COUNT_FAIL_PQ_REQUIRED,
                                "no post-quantum key exchange, but the tunnel requires one"};
    if (!ike_proposal_allows(&tunnel->ike, &x->sa->suite))
        return (struct verdict){IKE_COUNT_FAIL_PROPOSAL, "the tunnel does not allow the algorithms of this IKE SA"};
    ike_psk_digest(ike, buf_span(&tunnel->psks[i].value), x->auth.psk_digest);
    return (struct verdict){0};
}

static void fail(struct ike_inbound *x, const struct auth *in, struct ike_tunnel *tunnel, struct verdict v)
{
    char suite[IKE_SUITE_TEXT], address[ADDR_TEXT];
    struct ike_candidate meant;
    bool near =
        ike_explain_identity(x->turn, &x->path.local.addr, &in->id, &meant); /* always: the time must not tell */
    const char *nearest = NULL, *differs = NULL;
    if (v.count == IKE_COUNT_FAIL_PEER_ADDRESS) {
        nearest = addr_text(&tunnel->customer_endpoint, address);
        differs = "peer address";
    } else if (v.count == IKE_COUNT_FAIL_PQ_REQUIRED) {
        differs = "additional key exchange";
    }
    const struct ike_report report = {
        .count = v.count,
        .reason = v.reason,
        .offered = ike_suite_text(&x->sa->suite, suite),
        .nearest = nearest,
        .differs = differs,
        .identity = &in->id,
        .candidate = near && !tunnel ? &meant : NULL,
        .tunnel = tunnel,
        .path = &x->path,
        .sa = x->sa,
    };
    ike_event_failed(x->turn, &report);
    ike_reply_notify(x, N_AUTHENTICATION_FAILED, span_of(NULL, 0));
}

/* ---- the first child. Its failure leaves the IKE SA up (RFC 7296 2.21.2). */

struct child_offer {
    struct ike_choice choice;
    struct ike_ts_pair ts;
    bool transport;
};

static void report_child(struct ike_inbound *x, struct ike_tunnel *tunnel, struct ike_report report)
{
    report.tunnel = tunnel;
    report.path = &x->path;
    report.sa = x->sa;
    ike_event_failed(x->turn, &report);
}

static uint16_t choose_esp(struct ike_inbound *x, const struct auth *in, struct ike_tunnel *tunnel,
                           struct ike_choice *ret)
{
    /* RFC 7296 1.2: IKE_AUTH carries no key exchange. ESN, IPComp: not confirmed, hence not in use. */
    struct proposal_policy policy;
    ike_proposal_restrict(&x->turn->ike->policy.esp, &tunnel->esp, &policy);
    const struct ike_offer_rule rule = {
        .protocol = PROTO_ESP,
        .spi_size = 4,
        .policy = &policy,
        .ke = KE_RULE_NEVER,
        .null_cipher = tunnel->allow_null_cipher,
    };
    if (ike_proposal_choose(&rule, in->sa, ret) == RC_OK)
        return 0;
    char offered[IKE_OFFER_TEXT];
    struct ike_nearest nearest;
    ike_proposal_nearest(&rule, in->sa, &nearest);
    report_child(x, tunnel,
                 (struct ike_report){.count = IKE_COUNT_FAIL_PROPOSAL,
                                     .reason = "no ESP proposal acceptable",
                                     .offered = ike_offer_text(in->sa, offered),
                                     .nearest = nearest.text,
                                     .differs = nearest.differs});
    return N_NO_PROPOSAL_CHOSEN;
}

/* 0, or the notify that says why there will be no child. */
static uint16_t choose_child(struct ike_inbound *x, const struct auth *in, struct ike_tunnel *tunnel,
                             struct child_offer *ret)
{
    const struct ike_ts_policy policy = {tunnel->ts_local, tunnel->ts_remote, tunnel->n_ts_local, tunnel->n_ts_remote};
    uint32_t max = x->turn->ike->policy.max_children;
    if (tunnel->n_children >= (max < IKE_CHILDREN_MAX ? max : IKE_CHILDREN_MAX)) {
        report_child(x, tunnel,
                     (struct ike_report){.count = IKE_COUNT_DROP_LIMIT,
                                         .reason = "the tunnel has all the child SAs it may have"});
        return N_NO_ADDITIONAL_SAS;
    }
    uint16_t refused = choose_esp(x, in, tunnel, &ret->choice);
    if (refused)
        return refused;
    ret->transport = ike_transport_narrow(x, tunnel, NULL, in->tsi, in->tsr, &ret->ts);
    if (!ret->transport && ike_selector_narrow(&policy, in->tsi, in->tsr, &ret->ts) != RC_OK) {
        char offered[IKE_TS_TEXT], allowed[IKE_TS_TEXT];
        report_child(x, tunnel,
                     (struct ike_report){.count = IKE_COUNT_FAIL_SELECTORS,
                                         .reason = "no traffic selectors acceptable",
                                         .offered = ike_selector_text(in->tsi, in->tsr, offered),
                                         .nearest = ike_selector_policy_text(&policy, allowed)});
        return N_TS_UNACCEPTABLE;
    }
    return 0;
}

static enum rc make_child(struct ike_inbound *x, const struct ike_tunnel *tunnel, const struct child_offer *offer)
{
    struct ike_auth_plan *plan = &x->auth;
    const struct ike_keymat m = {.nonces = {buf_span(&x->sa->ni), buf_span(&x->sa->nr)}};
    enum rc rc = ike_child_prepare(x->turn, x->sa, tunnel->handle, &offer->choice.suite, &plan->child);
    if (rc == RC_OK)
        rc = ike_child_derive(x->turn, x->sa, &m, plan->child, &plan->keys);
    if (rc)
        return rc;
    struct rd spi = rd_of(offer->choice.spi);
    plan->child->spi_out = rd_u32(&spi);
    plan->child->made_by = x->header.mid;
    plan->child->ts_local = offer->ts.local;
    plan->child->ts_remote = offer->ts.remote;
    plan->child->transport = offer->transport;
    return RC_OK;
}

/* ---- the answer */

static enum rc write_identity(struct ike_inbound *x, const struct ike_tunnel *tunnel)
{
    const struct ike_sa *sa = x->sa;
    const struct ike_secrets *s = sa->secrets;
    size_t n = s->keys.n_prf;
    const struct identity *us = &tunnel->local_identity;
    uint8_t maced[4 + IDENTITY_MAX], auth[PRF_MAX];
    struct wr w = wr_of(maced, sizeof maced);
    wr_u8(&w, us->type);
    wr_reserve(&w, 3);
    wr_bytes(&w, span_of(us->data, us->n));
    const struct ike_auth_input input = {
        .message = buf_span(&sa->response),
        .peer_message = buf_span(&sa->request),
        .full_transcript = sa->full_transcript,
        .peer_nonce = buf_span(&sa->ni),
        .sk_p = span_of(s->keys.pr, n),
        .id = wr_span(&w),
        .int_auth_i = span_of(s->int_auth_i, s->has_int_auth ? n : 0),
        .int_auth_r = span_of(s->int_auth_r, s->has_int_auth ? n : 0),
        .auth_mid = x->header.mid,
    };
    /* With the key the peer proved: during a rotation it may not know the newer one. */
    enum rc rc = RC_ABSENT;
    for (uint8_t i = 0; i < tunnel->n_psks && rc == RC_ABSENT; i++) {
        uint8_t digest[IKE_PSK_DIGEST];
        ike_psk_digest(x->turn->ike, buf_span(&tunnel->psks[i].value), digest);
        if (crypto_equal(span_of(digest, sizeof digest), span_of(x->auth.psk_digest, sizeof digest)))
            rc = ike_keys_auth(x->turn->ike->crypto, sa->suite.prf, buf_span(&tunnel->psks[i].value), &input, auth);
    }
    if (rc == RC_OK) {
        ike_write_id(&x->reply, PAYLOAD_IDR, us->type, span_of(us->data, us->n));
        ike_write_auth(&x->reply, AUTH_SHARED_KEY_MIC, span_of(auth, n));
    }
    return rc;
}

static void write_child(struct ike_inbound *x, const struct child_offer *offer)
{
    uint8_t spi[4];
    struct wr w = wr_of(spi, sizeof spi);
    wr_u32(&w, x->auth.child->spi_in);
    const struct ike_ts remote = ike_selector_wire(&offer->ts.remote), local = ike_selector_wire(&offer->ts.local);
    ike_write_sa(&x->reply, offer->choice.num, PROTO_ESP, wr_span(&w), offer->choice.out, offer->choice.n);
    ike_write_ts(&x->reply, PAYLOAD_TSI, &remote, 1);
    ike_write_ts(&x->reply, PAYLOAD_TSR, &local, 1);
    if (offer->transport)
        ike_write_notify(&x->reply, PROTO_NONE, span_of(NULL, 0), N_USE_TRANSPORT_MODE, span_of(NULL, 0));
    if (offer->ts.more)
        ike_write_notify(&x->reply, PROTO_NONE, span_of(NULL, 0), N_ADDITIONAL_TS_POSSIBLE, span_of(NULL, 0));
}

static bool same_peer(const struct ike_sa *a, const struct ike_sa *b)
{
    return a->peer.type == b->peer.type &&
           span_equal(span_of(a->peer.data, a->peer.n), span_of(b->peer.data, b->peer.n));
}

/* RFC 7296 2.4: the peer says it has no other SA with us; without a Delete, as it could not read one. */
static void initial_contact(struct ike_turn *t, const struct ike_sa *fresh)
{
    for (struct list *l = fresh->tunnel->sas.next, *next; l != &fresh->tunnel->sas; l = next) {
        struct ike_sa *sa = CONTAINER_OF(l, struct ike_sa, of_tunnel);
        next = l->next;
        if (sa != fresh && same_peer(sa, fresh))
            ike_sa_end(t, sa, CHILD_DOWN_IKE_GONE);
    }
}

static void commit(struct ike_inbound *x)
{
    struct ike_sa *sa = x->sa;
    struct ike_auth_plan *plan = &x->auth;
    struct ike_child *child = plan->child;
    sa->peer = plan->peer;
    memcpy(sa->psk_digest, plan->psk_digest, sizeof sa->psk_digest); /* lint: not wire bytes: a digest of ours */
    ike_sa_establish(x->turn, sa, plan->tunnel);
    if (child)
        ike_child_install(x->turn, sa, plan->keys, child);
    plan->keys = NULL;
    plan->child = NULL;
    ike_event_established(x->turn, sa, child);
    if (plan->initial_contact)
        initial_contact(x->turn, sa);
}

enum ike_outcome ike_auth_request(struct ike_inbound *x)
{
    struct auth in;
    struct child_offer offer = {0};
    struct ike_notify notify;
    if (!read_request(x, &in)) {
        ike_event_drop(x->turn, &x->path, IKE_COUNT_DROP_SYNTAX, x->sa->spi_i, "malformed payload in IKE_AUTH");
        ike_reply_notify(x, N_INVALID_SYNTAX, span_of(NULL, 0));
        return OUTCOME_KILL;
    }
    struct ike_tunnel *tunnel = ike_tunnel_by_identity(x->turn->ike, &x->path.local.addr, in.id.type, in.id.data);
    struct verdict verdict = authenticate(x, &in, tunnel);
    if (verdict.reason) {
        fail(x, &in, tunnel, verdict);
        return OUTCOME_KILL;
    }
    if (write_identity(x, tunnel) != RC_OK)
        return OUTCOME_DROP;
    uint16_t refused = in.child ? choose_child(x, &in, tunnel, &offer) : 0;
    if (in.child && !refused && make_child(x, tunnel, &offer) != RC_OK)
        refused = N_NO_ADDITIONAL_SAS;
    if (refused)
        ike_write_notify(&x->reply, PROTO_NONE, span_of(NULL, 0), refused, span_of(NULL, 0));
    else if (in.child)
        write_child(x, &offer);

    x->auth.tunnel = tunnel;
    x->auth.peer = (struct identity){.type = in.id.type, .n = (uint16_t)in.id.data.n};
    struct wr w = wr_of(x->auth.peer.data, sizeof x->auth.peer.data);
    wr_bytes(&w, in.id.data); /* fits: a longer one matches no tunnel */
    x->auth.initial_contact = ike_notify_find(&x->chain, N_INITIAL_CONTACT, &notify);
    x->commit = commit;
    return OUTCOME_REPLY;
}
