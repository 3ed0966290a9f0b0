/* See replay_state.h: the keys of an IKE SA (RFC 7296 2.14, RFC 9370 2.2.2), IntAuth (RFC 9242 3.3), AUTH (2.15). */
#include "replay_state.h"

#include <stdlib.h>

#include "ike/seal.h"

struct sa *sa_new(struct replay *r)
{
    struct sa *sa = r->n_sas < ARRAY_LEN(r->sas) ? calloc(1, sizeof *sa) : NULL;
    if (sa)
        r->sas[r->n_sas++] = sa;
    check(r, sa != NULL, "room for another IKE SA");
    return sa;
}

void sa_free(struct sa *sa)
{
    buf_free(&sa->init_request);
    buf_free(&sa->init_response);
    buf_free(&sa->ni);
    buf_free(&sa->nr);
    buf_free(&sa->child[0].link);
    buf_free(&sa->child[1].link);
    for (size_t i = 0; i < 2 * PARTS_MAX; i++)
        buf_free(&sa->parts[i / PARTS_MAX].text[i % PARTS_MAX]);
    free(sa);
}

static struct ike_nonces nonces(const struct sa *sa)
{
    return (struct ike_nonces){buf_span(&sa->ni), buf_span(&sa->nr)};
}

static void check_key(struct replay *r, const char *label, const uint8_t *key, size_t n, const char *what)
{
    if (n)
        check_event(r, label, span_of(key, n), what);
}

/* From SKEYSEED to the seven keys, each compared. */
bool sa_keys(struct replay *r, struct sa *sa, struct span seed, const char *what)
{
    uint8_t both[512];
    struct wr w = wr_of(both, sizeof both);
    wr_bytes(&w, buf_span(&sa->ni));
    wr_bytes(&w, buf_span(&sa->nr));
    check_event(r, "nonces", wr_span(&w), what);
    check_event(r, "SKEYSEED", seed, what);
    enum rc rc = ike_keys_derive(r->c, sa->prf, sa->alg, seed, nonces(sa), sa->spi_i, sa->spi_r, &sa->keys);
    if (!check(r, rc == RC_OK, "%s: key derivation: %s", what, rc_name(rc)))
        return false;
    const struct ike_keys *k = &sa->keys;
    check_key(r, "Sk_d secret", k->d, k->n_prf, what);
    check_key(r, "Sk_ai secret", k->ai, k->n_a, what);
    check_key(r, "Sk_ar secret", k->ar, k->n_a, what);
    check_key(r, "Sk_ei secret", k->ei, k->n_e, what);
    check_key(r, "Sk_er secret", k->er, k->n_e, what);
    check_key(r, "Sk_pi secret", k->pi, k->n_prf, what);
    check_key(r, "Sk_pr secret", k->pr, k->n_prf, what);
    return true;
}

void sa_begin(struct replay *r, struct span request, struct span response, const struct ike_chain *ci,
              const struct ike_chain *cr)
{
    struct ike_ke kei, ker;
    struct ike_header h;
    struct span secret, more;
    struct sa *sa = sa_new(r);
    if (!sa)
        return;
    enum rc rc = ike_header_read(response, &h);
    if (rc != RC_OK || !check(r, offer_read(body_of(cr, PAYLOAD_SA), 0, &sa->suite), "IKE_SA_INIT: chosen proposal"))
        return;
    sa->spi_i = h.spi_i;
    sa->spi_r = h.spi_r;
    sa->prf = sa->suite.prf;
    sa->alg = (struct sk_alg){sa->suite.encr, sa->suite.bits, sa->suite.integ};
    struct span ni = body_of(ci, PAYLOAD_NONCE), nr = body_of(cr, PAYLOAD_NONCE);
    if (buf_set(&sa->init_request, request) != RC_OK || buf_set(&sa->init_response, response) != RC_OK ||
        buf_set(&sa->ni, ni) != RC_OK || buf_set(&sa->nr, nr) != RC_OK)
        abort();
    check(r, ike_nonce_check(ni) == RC_OK && ike_nonce_check(nr) == RC_OK, "IKE_SA_INIT: nonces");
    check(r,
          ke_of(ci, &kei) && ke_of(cr, &ker) && kei.method == sa->suite.ke && ker.method == sa->suite.ke &&
              kei.data.n == crypto_ke_public_size(sa->suite.ke, false) &&
              ker.data.n == crypto_ke_public_size(sa->suite.ke, true),
          "IKE_SA_INIT: KE payloads are %s", crypto_ke_name(sa->suite.ke));
    if (!check(r, events_take(&r->events, "key exchange secret", &secret), "IKE_SA_INIT: a logged secret"))
        return;
    check(r, events_take(&r->events, "additional key exchange secret", &more) && !more.n,
          "IKE_SA_INIT: one secret alone");
    uint8_t seed[PRF_MAX];
    rc = ike_keys_seed_initial(r->c, sa->prf, nonces(sa), secret, seed);
    if (check(r, rc == RC_OK, "IKE_SA_INIT: SKEYSEED: %s", rc_name(rc)))
        sa_keys(r, sa, span_of(seed, crypto_prf_size(sa->prf)), "IKE_SA_INIT");
}

/* IntAuth of one message under the keys before it, and after the response the next generation of keys. */
void sa_intermediate(struct replay *r, struct sa *sa, const struct inner *m, bool response)
{
    uint8_t a[IKE_HEADER_SIZE + 4], ap[INNER_MAX], out[PRF_MAX];
    char what[48];
    size_t size = crypto_prf_size(sa->prf);
    snprintf(what, sizeof what, "IKE_INTERMEDIATE %zu %s", sa->intermediates + 1, response ? "response" : "request");
    uint8_t *previous = response ? sa->int_auth_r : sa->int_auth_i;
    struct span before = span_of(previous, sa->intermediates ? size : 0);
    struct span sk_p = span_of(response ? sa->keys.pr : sa->keys.pi, sa->keys.n_prf);
    ike_seal_a(&m->h, m->first, m->reserved, m->n, a);
    struct wr w = wr_of(ap, sizeof ap);
    wr_bytes(&w, span_of(a, sizeof a));
    wr_bytes(&w, span_of(m->text, m->n));
    check_event(r, "IntAuth_N-1", before, what);
    check_event(r, "IntAuth_A|P", wr_span(&w), what);
    check_event(r, "SK_p", sk_p, what);
    enum rc rc = ike_keys_int_auth(r->c, sa->prf, sk_p, before, span_of(a, sizeof a), span_of(m->text, m->n), out);
    if (!check(r, rc == RC_OK, "%s: IntAuth: %s", what, rc_name(rc)))
        return;
    check_event(r, "IntAuth_N = prf(Sk_px, data)", span_of(out, size), what);
    memcpy(previous, out, size);

    struct ike_ke ke;
    uint16_t method = sa->intermediates < sa->suite.n_addke ? sa->suite.addke[sa->intermediates] : KE_NONE;
    check(r, ke_of(&m->chain, &ke) && ke.method == method && ke.data.n == crypto_ke_public_size(method, response),
          "%s: its KE payload is %s", what, crypto_ke_name(method));
    if (!response)
        return;
    struct span secret, more;
    if (!check(r, events_take(&r->events, "key exchange secret", &secret), "%s: a logged secret", what))
        return;
    check(r, events_take(&r->events, "additional key exchange secret", &more) && !more.n, "%s: one secret alone", what);
    rc = ike_keys_seed_intermediate(r->c, sa->prf, span_of(sa->keys.d, sa->keys.n_prf), secret, nonces(sa), out);
    if (check(r, rc == RC_OK, "%s: SKEYSEED: %s", what, rc_name(rc)))
        sa_keys(r, sa, span_of(out, size), what);
    sa->intermediates++;
}

static bool announced(struct span message, uint16_t notify)
{
    struct ike_header h;
    struct ike_chain c;
    struct ike_error e;
    struct ike_notify n;
    return ike_header_read(message, &h) == RC_OK &&
           ike_chain_read(h.next, span_of(message.p + IKE_HEADER_SIZE, message.n - IKE_HEADER_SIZE), &c, &e) == RC_OK &&
           ike_notify_find(&c, notify, &n);
}

/* The signed octets as the log has them, put together here without the key schedule. */
static void check_octets(struct replay *r, const struct sa *sa, const struct ike_auth_input *in, const char *what)
{
    static uint8_t octets[2 * INNER_MAX];
    uint8_t maced[PRF_MAX];
    size_t size = crypto_prf_size(sa->prf);
    struct wr w = wr_of(octets, sizeof octets);
    enum rc rc = crypto_prf(r->c, sa->prf, in->sk_p, &in->id, 1, maced);
    check(r, rc == RC_OK, "%s: MACed ID", what);
    wr_bytes(&w, in->message);
    wr_bytes(&w, in->peer_nonce);
    wr_bytes(&w, span_of(maced, size));
    wr_bytes(&w, in->int_auth_i);
    wr_bytes(&w, in->int_auth_r);
    if (in->int_auth_i.n)
        wr_u32(&w, in->auth_mid);
    check_event(r, "octets = message + nonce + prf(Sk_px, IDx') + IntAuth", wr_span(&w), what);
}

void sa_auth(struct replay *r, struct sa *sa, const struct inner *m, bool response)
{
    const char *what = response ? "IKE_AUTH response" : "IKE_AUTH request";
    size_t size = crypto_prf_size(sa->prf);
    struct ike_id id;
    struct ike_auth auth;
    struct span auth_body = body_of(&m->chain, PAYLOAD_AUTH);
    if (!response)
        inner_keep(&sa->auth_request, m);
    if (response && !auth_body.p) { /* refused: the comparison of payload lists has said how */
        check(r, m->chain.n > 0 && m->chain.v[0].type == PAYLOAD_NOTIFY, "%s: a refusal", what);
        return;
    }
    check(r, sa->intermediates == sa->suite.n_addke, "%s: all additional key exchanges are done", what);
    if (!check(r,
               ike_auth_read(auth_body, &auth) == RC_OK && auth.method == AUTH_SHARED_KEY_MIC &&
                   ike_id_read(body_of(&m->chain, response ? PAYLOAD_IDR : PAYLOAD_IDI), &id) == RC_OK,
               "%s: ID and AUTH payloads", what))
        return;
    struct span sent = buf_span(response ? &sa->init_response : &sa->init_request);
    struct span received = buf_span(response ? &sa->init_request : &sa->init_response);
    const struct ike_auth_input in = {
        .message = sent,
        .peer_message = received,
        .full_transcript = announced(sent, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH) &&
                           announced(received, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH),
        .peer_nonce = buf_span(response ? &sa->ni : &sa->nr),
        .sk_p = span_of(response ? sa->keys.pr : sa->keys.pi, sa->keys.n_prf),
        .id = id.maced,
        .int_auth_i = span_of(sa->int_auth_i, sa->intermediates ? size : 0),
        .int_auth_r = span_of(sa->int_auth_r, sa->intermediates ? size : 0),
        .auth_mid = m->h.mid,
    };
    check_event(r, "IDx'", id.maced, what);
    check_event(r, "SK_p", in.sk_p, what);
    if (!in.full_transcript)
        check_octets(r, sa, &in, what);
    uint8_t out[PRF_MAX];
    const struct span pad = span_str("Key Pad for IKEv2");
    check_event(r, "secret", r->psk, what);
    enum rc rc = crypto_prf(r->c, sa->prf, r->psk, &pad, 1, out);
    check(r, rc == RC_OK, "%s: padded PSK", what);
    check_event(r, "prf(secret, keypad)", span_of(out, size), what);
    rc = ike_keys_auth(r->c, sa->prf, r->psk, &in, out);
    check(r, rc == RC_OK, "%s: AUTH: %s", what, rc_name(rc));
    check_event(r, "AUTH = prf(prf(secret, keypad), octets)", span_of(out, size), what);
    check(r, crypto_equal(auth.data, span_of(out, size)), "%s: AUTH as it came over the wire", what);
}
