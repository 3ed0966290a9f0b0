/* ike/init: IKE_SA_INIT (RFC 7296 1.2). Nothing is remembered before the proposal, the key exchange method and, under load, the
 * peer's address are known to be good.
 */
#include "event.h"
#include "guard.h"
#include "proposal.h"

struct init { /* the request, read */
    struct span sa, nonce;
    struct ike_ke ke;
    bool fragmentation, intermediate, full_transcript;
    bool pq; /* a tunnel of this endpoint wants it */
    struct ike_choice choice;
};

static struct ike_offer_rule offer_rule(const struct ike *ike, const struct init *in)
{
    return (struct ike_offer_rule){
        .protocol = PROTO_IKE,
        .spi_size = 0,
        .policy = &ike->policy.ike,
        .ke = KE_RULE_REQUIRED,
        .addke = in->intermediate && in->pq, /* RFC 9370 2.2.1: additional exchanges need IKE_INTERMEDIATE from both */
    };
}

static void fail(struct ike_inbound *x, const struct init *in, enum ike_count count, const char *reason)
{
    char offered[IKE_OFFER_TEXT];
    struct ike_nearest nearest;
    const struct ike_offer_rule rule = offer_rule(x->turn->ike, in);
    ike_proposal_nearest(&rule, in->sa, &nearest);
    const struct ike_report report = {
        .count = count,
        .reason = reason,
        .offered = ike_offer_text(in->sa, offered),
        .nearest = nearest.text,
        .differs = nearest.differs,
        .path = &x->path,
        .spi_i = x->header.spi_i,
    };
    ike_event_failed(x->turn, &report);
}

static bool read_request(struct ike_inbound *x, struct init *ret)
{
    struct ike_error error = {.what = "malformed"};
    struct ike_notify n;
    struct init in = {
        .sa = ike_chain_find(&x->chain, PAYLOAD_SA)->body,
        .nonce = ike_chain_find(&x->chain, PAYLOAD_NONCE)->body,
        .fragmentation = ike_notify_find(&x->chain, N_IKEV2_FRAGMENTATION_SUPPORTED, &n),
        .intermediate = ike_notify_find(&x->chain, N_INTERMEDIATE_EXCHANGE_SUPPORTED, &n),
        .full_transcript = ike_notify_find(&x->chain, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, &n),
        .pq = ike_endpoint_pq(x->turn->ike, &x->path.local.addr),
    };
    if (ike_nonce_check(in.nonce) != RC_OK)
        error.what = "nonce not of 16 to 256 octets";
    else if (ike_ke_read(ike_chain_find(&x->chain, PAYLOAD_KE)->body, &in.ke) != RC_OK)
        error.what = "malformed KE payload";
    else if (ike_sa_check(in.sa, &error) == RC_OK) {
        *ret = in;
        return true;
    }
    ike_event_drop(x->turn, &x->path, IKE_COUNT_DROP_SYNTAX, x->header.spi_i, error.what);
    return false;
}

static bool choose(struct ike_inbound *x, struct init *in)
{
    const struct ike_offer_rule rule = offer_rule(x->turn->ike, in);
    if (ike_proposal_choose(&rule, in->sa, &in->choice) != RC_OK) {
        fail(x, in, IKE_COUNT_FAIL_PROPOSAL, "no IKE proposal acceptable");
        ike_stateless_notify(x->turn, &x->path, &x->header, N_NO_PROPOSAL_CHOSEN, span_of(NULL, 0));
        return false;
    }
    uint16_t ke = in->choice.suite.ke;
    if (in->ke.method == ke && in->ke.data.n == crypto_ke_public_size(ke, false))
        return true;
    /* RFC 7296 1.2: the wanted group as two octets. Not a failure yet: the initiator starts over with it. */
    uint8_t wanted[2];
    struct wr w = wr_of(wanted, sizeof wanted);
    wr_u16(&w, ke);
    ike_event_drop(x->turn, &x->path, IKE_COUNT_FAIL_KE, x->header.spi_i, "KE payload of another method than chosen");
    ike_stateless_notify(x->turn, &x->path, &x->header, N_INVALID_KE_PAYLOAD, wr_span(&w));
    return false;
}

/* ---- NAT detection (RFC 7296 2.23): SHA1(SPIi | SPIr | address | port) */

struct natd {
    uint8_t b[20];
};

static struct natd natd_of(struct ike *ike, uint64_t spi_i, uint64_t spi_r, const struct endpoint *e)
{
    uint8_t spis[16], port[2];
    struct natd ret;
    struct wr w = wr_of(spis, sizeof spis);
    wr_u64(&w, spi_i);
    wr_u64(&w, spi_r);
    struct wr p = wr_of(port, sizeof port);
    wr_u16(&p, e->port);
    const struct span parts[] = {wr_span(&w), span_of(e->addr.b, addr_size(&e->addr)), wr_span(&p)};
    crypto_sha1(ike->crypto, parts, ARRAY_LEN(parts), ret.b);
    return ret;
}

static void detect_nat(struct ike_inbound *x, struct ike_sa *sa)
{
    struct ike *ike = x->turn->ike;
    struct natd src = natd_of(ike, x->header.spi_i, 0, &x->path.remote),
                dst = natd_of(ike, x->header.spi_i, 0, &x->path.local);
    bool src_seen = false, dst_seen = false, src_match = false, dst_match = false;
    for (size_t i = 0; i < x->chain.n; i++) {
        struct ike_notify n;
        if (x->chain.v[i].type != PAYLOAD_NOTIFY || ike_notify_read(x->chain.v[i].body, &n) != RC_OK || n.data.n != 20)
            continue;
        if (n.type == N_NAT_DETECTION_SOURCE_IP) { /* there may be several; one match is enough */
            src_seen = true;
            src_match |= span_equal(n.data, span_of(src.b, sizeof src.b));
        } else if (n.type == N_NAT_DETECTION_DESTINATION_IP) {
            dst_seen = true;
            dst_match |= span_equal(n.data, span_of(dst.b, sizeof dst.b));
        }
    }
    sa->natd_seen = src_seen && dst_seen;
    sa->nat_peer = src_seen && !src_match;
    sa->nat_local = dst_seen && !dst_match;
}

/* ---- the answer */

static void write_flag(struct ike_writer *iw, uint16_t type)
{
    ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), type, span_of(NULL, 0));
}

static enum rc write_answer(struct ike_inbound *x, struct ike_sa *sa, const struct init *in, struct span public,
                            struct span nonce, struct span *ret)
{
    struct ike *ike = x->turn->ike;
    struct ike_writer iw;
    const struct ike_header header = {
        .spi_i = sa->spi_i,
        .spi_r = sa->spi_r,
        .version = IKE_VERSION,
        .exchange = IKE_SA_INIT,
        .flags = IKE_FLAG_RESPONSE,
    };
    ike_write_message(&iw, wr_of(ike->out, IKE_DATAGRAM_MAX), &header);
    ike_write_sa(&iw, in->choice.num, PROTO_IKE, span_of(NULL, 0), in->choice.out, in->choice.n);
    ike_write_ke(&iw, sa->suite.ke, public);
    ike_write_nonce(&iw, nonce);
    if (sa->natd_seen) {
        struct natd src = natd_of(ike, sa->spi_i, sa->spi_r, &x->path.local);
        struct natd dst = natd_of(ike, sa->spi_i, sa->spi_r, &x->path.remote);
        ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_NAT_DETECTION_SOURCE_IP, span_of(src.b, sizeof src.b));
        ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_NAT_DETECTION_DESTINATION_IP,
                         span_of(dst.b, sizeof dst.b));
    }
    if (sa->fragmentation)
        write_flag(&iw, N_IKEV2_FRAGMENTATION_SUPPORTED);
    write_flag(&iw, N_CHILDLESS_IKEV2_SUPPORTED);
    if (sa->suite.addke[0])
        write_flag(&iw, N_INTERMEDIATE_EXCHANGE_SUPPORTED);
    if (ike->policy.downgrade_protection) /* unconditionally: that is what makes stripping it visible */
        write_flag(&iw, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH);
    return ike_write_finish(&iw, ret);
}

static enum rc first_keys(struct ike *ike, struct ike_sa *sa, const struct ike_nonces n, const struct ke_secret *shared)
{
    uint8_t seed[PRF_MAX];
    enum rc rc = ike_keys_seed_initial(ike->crypto, sa->suite.prf, n, span_of(shared->b, shared->n), seed);
    if (rc == RC_OK)
        rc = ike_keys_derive(ike->crypto, sa->suite.prf, sa->alg, span_of(seed, crypto_prf_size(sa->suite.prf)), n,
                             sa->spi_i, sa->spi_r, &sa->secrets->keys);
    wipe(seed, sizeof seed);
    return rc;
}

static enum rc complete(struct ike_inbound *x, struct ike_sa *sa, const struct init *in, const struct ke_value *ours,
                        const struct ke_secret *secret)
{
    struct ike *ike = x->turn->ike;
    uint8_t octets[IKE_NONCE_SIZE];
    rng_fill(ike->rng, octets, sizeof octets);
    struct span nonce = span_of(octets, sizeof octets), message;

    sa->suite = in->choice.suite;
    sa->alg = (struct sk_alg){sa->suite.encr, sa->suite.encr_bits, sa->suite.integ};
    sa->fragmentation = in->fragmentation;
    sa->full_transcript = in->full_transcript && ike->policy.downgrade_protection;
    detect_nat(x, sa);

    enum rc rc = first_keys(ike, sa, (struct ike_nonces){in->nonce, nonce}, secret);
    if (rc == RC_OK)
        rc = write_answer(x, sa, in, span_of(ours->b, ours->n), nonce, &message);
    if (rc == RC_OK)
        rc = buf_set(&sa->ni, in->nonce);
    if (rc == RC_OK)
        rc = buf_set(&sa->nr, nonce);
    if (rc == RC_OK)
        rc = buf_set(&sa->request, x->datagram);
    if (rc == RC_OK)
        rc = buf_set(&sa->response, message);
    if (rc == RC_OK)
        rc = buf_set(&sa->answered.message.bytes, message);
    if (rc)
        return rc;
    sa->answered.message.length[0] = (uint16_t)message.n;
    sa->answered.message.n = 1;
    sa->answered.valid = true;
    sa->answered.exchange = IKE_SA_INIT;
    sa->answered.hash = x->hash;
    sa->mid_in = 1;
    sa->state = sa->suite.addke[0] ? IKE_STATE_ADDING_KEYS : IKE_STATE_AWAITING_AUTH;
    return RC_OK;
}

enum ike_outcome ike_init_request(struct ike_inbound *x)
{
    struct init in;
    struct ke_value ours;
    struct ke_secret secret;
    if (!read_request(x, &in) || !ike_guard_admit(x, in.nonce) || !choose(x, &in) || !ike_guard_spend(x, in.nonce))
        return OUTCOME_DROP;
    if (crypto_ke_respond(x->turn->ike->crypto, in.choice.suite.ke, in.ke.data, &ours, &secret) != RC_OK) {
        fail(x, &in, IKE_COUNT_FAIL_KE, "public value of the key exchange refused");
        ike_stateless_notify(x->turn, &x->path, &x->header, N_INVALID_SYNTAX, span_of(NULL, 0));
        return OUTCOME_DROP;
    }
    struct ike_sa *sa = ike_sa_new(x->turn, x->header.spi_i, &x->path, x->hash);
    if (sa && complete(x, sa, &in, &ours, &secret) != RC_OK) {
        ike_sa_free(x->turn->ike, sa);
        sa = NULL;
        ike_event_drop(x->turn, &x->path, IKE_COUNT_DROP_LIMIT, x->header.spi_i, "the reply could not be made");
    }
    wipe(&secret, sizeof secret);
    if (!sa)
        return OUTCOME_DROP;
    ike_act_send_message(x->turn, &x->path, &sa->answered.message);
    return OUTCOME_DONE;
}
