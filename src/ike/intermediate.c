/* ike/intermediate: IKE_INTERMEDIATE with one additional key exchange each (RFC 9242, RFC 9370 2.2.2).
 */
#include "event.h"
#include "seal.h"

static enum ike_outcome fail(struct ike_inbound *x, const char *reason)
{
    const struct ike_report report = {
        .count = IKE_COUNT_FAIL_KE,
        .reason = reason,
        .path = &x->path,
        .sa = x->sa,
    };
    ike_event_failed(x->turn, &report);
    ike_reply_notify(x, N_INVALID_SYNTAX, span_of(NULL, 0));
    return OUTCOME_KILL;
}

/* IntAuth of both directions, under the SK_p that hold before this exchange changes them (RFC 9242 3.3.2). */
static enum rc chain_auth(struct ike_inbound *x, struct ike_secrets *next)
{
    struct crypto *c = x->turn->ike->crypto;
    const struct ike_secrets *now = x->sa->secrets;
    size_t n = now->keys.n_prf;
    struct span previous_i = span_of(now->int_auth_i, now->has_int_auth ? n : 0);
    struct span previous_r = span_of(now->int_auth_r, now->has_int_auth ? n : 0);
    uint8_t a[IKE_HEADER_SIZE + 4], first;
    struct span p;
    enum rc rc = ike_reply_inner(x, &first, &p);
    if (rc)
        return rc;
    struct ike_header header = ike_reply_header(x);
    ike_seal_a(&header, first, 0, p.n, a);
    rc = ike_keys_int_auth(c, x->sa->suite.prf, span_of(now->keys.pi, n), previous_i, span_of(x->a, sizeof x->a),
                           x->inner, next->int_auth_i);
    if (rc == RC_OK)
        rc = ike_keys_int_auth(c, x->sa->suite.prf, span_of(now->keys.pr, n), previous_r, span_of(a, sizeof a), p,
                               next->int_auth_r);
    next->has_int_auth = rc == RC_OK;
    return rc;
}

static enum rc next_keys(struct ike_inbound *x, struct span shared, struct ike_secrets *next)
{
    struct crypto *c = x->turn->ike->crypto;
    const struct ike_sa *sa = x->sa;
    const struct ike_nonces nonces = {buf_span(&sa->ni), buf_span(&sa->nr)};
    uint8_t seed[PRF_MAX];
    struct span sk_d = span_of(sa->secrets->keys.d, sa->secrets->keys.n_prf);
    enum rc rc = ike_keys_seed_intermediate(c, sa->suite.prf, sk_d, shared, nonces, seed);
    if (rc == RC_OK)
        rc = ike_keys_derive(c, sa->suite.prf, sa->alg, span_of(seed, crypto_prf_size(sa->suite.prf)), nonces,
                             sa->spi_i, sa->spi_r, &next->keys);
    wipe(seed, sizeof seed);
    return rc;
}

static void commit(struct ike_inbound *x)
{
    x->sa->addke_done++;
    x->sa->keyed = x->turn->now;
}

enum ike_outcome ike_intermediate_request(struct ike_inbound *x)
{
    const struct ike_sa *sa = x->sa;
    uint16_t method = sa->suite.addke[sa->addke_done];
    struct {
        struct ke_value ours;
        struct ke_secret secret;
    } kx = {0};
    struct ike_ke ke;

    if (ike_ke_read(ike_chain_find(&x->chain, PAYLOAD_KE)->body, &ke) != RC_OK)
        return fail(x, "malformed KE payload in IKE_INTERMEDIATE");
    if (ke.method != method) /* RFC 9370 2.2.2: in the order that was negotiated */
        return fail(x, "IKE_INTERMEDIATE brings another key exchange than negotiated");
    if (crypto_ke_respond(x->turn->ike->crypto, method, ke.data, &kx.ours, &kx.secret) != RC_OK)
        return fail(x, "public value of the additional key exchange refused");

    ike_write_ke(&x->reply, method, span_of(kx.ours.b, kx.ours.n));
    x->next = *sa->secrets;
    enum rc rc = chain_auth(x, &x->next);
    if (rc == RC_OK)
        rc = next_keys(x, span_of(kx.secret.b, kx.secret.n), &x->next);
    wipe(&kx, sizeof kx);
    if (rc != RC_OK)
        return OUTCOME_DROP;
    x->has_next = true;
    x->commit = commit;
    bool more = sa->addke_done + 1 < ADDKE_MAX && sa->suite.addke[sa->addke_done + 1];
    return more ? OUTCOME_STAY : OUTCOME_REPLY;
}
