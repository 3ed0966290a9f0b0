/* See replay_state.h: Child SAs (RFC 7296 2.17), rekeys (2.18) with IKE_FOLLOWUP_KE (RFC 9370 2.2.4), ESP packets. */
#include "replay_state.h"

#include <stdlib.h>

static json_t *logged_key(struct replay *r, uint32_t spi)
{
    char name[16];
    snprintf(name, sizeof name, "0x%08x", spi);
    return json_object_get(json_object_get(r->esp_keys, "sas"), name);
}

static void esp_add(struct replay *r, struct span spi, struct esp_alg alg, struct span keymat, const char *what)
{
    struct rd reader = rd_of(spi);
    struct esp_sizes s;
    if (!check(r, spi.n == 4 && r->n_esp < ARRAY_LEN(r->esp) && crypto_esp_sizes(alg, &s), "%s: a usable ESP SA", what))
        return;
    struct esp_sa *e = &r->esp[r->n_esp];
    *e = (struct esp_sa){.spi = rd_u32(&reader), .alg = alg};
    enum rc rc = crypto_esp_key_new(r->c, alg, keymat, &e->key);
    if (!check(r, rc == RC_OK, "%s: ESP key %08x: %s", what, e->spi, rc_name(rc)))
        return;
    r->n_esp++;
    if (!r->esp_keys)
        return;
    json_t *logged = logged_key(r, e->spi);
    check(r,
          logged && span_equal(json_hex(&r->events.pool, logged, "enc_key"), span_of(keymat.p, s.key_e)) &&
              span_equal(json_hex(&r->events.pool, logged, "integ_key"), span_of(keymat.p + s.key_e, s.key_a)),
          "%s: keys of ESP SA %08x in esp_keys.json", what, e->spi);
}

/* KEYMAT: initiator to responder first, and in each direction encryption before integrity. `shared` and `more` empty:
 * without a key exchange. The initiator's SPI is where it receives. */
static void child_keys(struct replay *r, const struct sa *sa, const struct offer *offered, const struct offer *chosen,
                       struct ike_nonces n, struct span shared, struct span more, const char *what)
{
    const struct esp_alg alg = {chosen->encr, chosen->bits, chosen->integ};
    uint8_t keymat[2 * ESP_KEYMAT_MAX], seed[4096];
    struct esp_sizes s;
    if (!check(r, crypto_esp_sizes(alg, &s), "%s: %s %s", what, crypto_encr_name(alg.encr, alg.encr_bits),
               crypto_integ_name(alg.integ)))
        return;
    size_t one = (size_t)s.key_e + s.key_a;
    struct wr w = wr_of(seed, sizeof seed);
    wr_bytes(&w, shared);
    wr_bytes(&w, n.ni);
    wr_bytes(&w, n.nr);
    wr_bytes(&w, more);
    check_event(r, "seed", wr_span(&w), what);
    enum rc rc = ike_keys_child(r->c, sa->prf, span_of(sa->keys.d, sa->keys.n_prf), shared, n, &more, more.n > 0,
                                keymat, 2 * one);
    if (!check(r, rc == RC_OK, "%s: KEYMAT: %s", what, rc_name(rc)))
        return;
    if (s.key_e) {
        check_event(r, "encryption initiator key", span_of(keymat, s.key_e), what);
        check_event(r, "encryption responder key", span_of(keymat + one, s.key_e), what);
    }
    if (s.key_a) {
        check_event(r, "integrity initiator key", span_of(keymat + s.key_e, s.key_a), what);
        check_event(r, "integrity responder key", span_of(keymat + one + s.key_e, s.key_a), what);
    }
    esp_add(r, chosen->spi, alg, span_of(keymat, one), what);
    esp_add(r, offered->spi, alg, span_of(keymat + one, one), what);
}

void child_first(struct replay *r, struct sa *sa, const struct inner *response)
{
    struct offer offered, chosen;
    if (!body_of(&response->chain, PAYLOAD_SA).p)
        return;
    if (check(r,
              offer_read(body_of(&response->chain, PAYLOAD_SA), 0, &chosen) &&
                  offer_read(body_of(&sa->auth_request.chain, PAYLOAD_SA), chosen.num, &offered),
              "IKE_AUTH: proposals of the first Child SA"))
        child_keys(r, sa, &offered, &chosen, (struct ike_nonces){buf_span(&sa->ni), buf_span(&sa->nr)},
                   span_of(NULL, 0), span_of(NULL, 0), "first Child SA");
}

static void ike_rekeyed(struct replay *r, const struct sa *old, const struct exchange *x, struct span shared,
                        struct span more)
{
    struct sa *sa = sa_new(r);
    if (!sa)
        return;
    struct rd spi_i = rd_of(x->offered.spi), spi_r = rd_of(x->chosen.spi);
    const struct ike_nonces n = {body_of(&x->request.chain, PAYLOAD_NONCE), body_of(&x->response.chain, PAYLOAD_NONCE)};
    sa->spi_i = rd_u64(&spi_i);
    sa->spi_r = rd_u64(&spi_r);
    sa->suite = x->chosen;
    sa->prf = x->chosen.prf;
    sa->alg = (struct sk_alg){x->chosen.encr, x->chosen.bits, x->chosen.integ};
    if (buf_set(&sa->ni, n.ni) != RC_OK || buf_set(&sa->nr, n.nr) != RC_OK)
        abort();
    uint8_t seed[PRF_MAX];
    enum rc rc =
        ike_keys_seed_rekey(r->c, old->prf, span_of(old->keys.d, old->keys.n_prf), shared, n, &more, more.n > 0, seed);
    if (check(r, rc == RC_OK && rd_done(&spi_i) && rd_done(&spi_r), "IKE SA rekey: SKEYSEED: %s", rc_name(rc)))
        sa_keys(r, sa, span_of(seed, crypto_prf_size(old->prf)), "IKE SA rekey");
}

/* All key exchanges of a CREATE_CHILD_SA are done. */
static void exchange_complete(struct replay *r, struct sa *sa, struct exchange *x)
{
    struct span shared = {NULL, 0}, more = {NULL, 0};
    x->open = false;
    check(r, x->followups == x->chosen.n_addke, "CREATE_CHILD_SA: one IKE_FOLLOWUP_KE per additional key exchange");
    if (x->chosen.ke != KE_NONE) {
        check(r, events_take(&r->events, "key exchange secret", &shared), "CREATE_CHILD_SA: a logged secret");
        check(r, events_take(&r->events, "additional key exchange secret", &more) && (more.n > 0) == (x->followups > 0),
              "CREATE_CHILD_SA: logged additional secrets");
    }
    if (x->chosen.protocol == PROTO_IKE)
        ike_rekeyed(r, sa, x, shared, more);
    else
        child_keys(
            r, sa, &x->offered, &x->chosen,
            (struct ike_nonces){body_of(&x->request.chain, PAYLOAD_NONCE), body_of(&x->response.chain, PAYLOAD_NONCE)},
            shared, more, "CREATE_CHILD_SA");
}

void child_request(struct replay *r, struct exchange *x, const struct inner *m)
{
    struct ike_notify n;
    check(r, !x->open, "CREATE_CHILD_SA: one at a time");
    inner_keep(&x->request, m);
    x->followups = 0;
    if (!ike_notify_find(&m->chain, N_REKEY_SA, &n))
        return;
    struct rd spi = rd_of(n.spi);
    uint32_t old = rd_u32(&spi);
    size_t i = 0;
    while (i < r->n_esp && r->esp[i].spi != old)
        i++;
    check(r, rd_done(&spi) && i < r->n_esp, "CREATE_CHILD_SA: REKEY_SA names a Child SA there is");
}

/* RFC 9370 2.2.4: while more key exchanges follow, each response carries a link that the next request repeats. */
static void follow(struct replay *r, struct sa *sa, struct exchange *x, const struct inner *m)
{
    struct ike_notify n;
    if (!ike_notify_find(&m->chain, N_ADDITIONAL_KEY_EXCHANGE, &n)) {
        exchange_complete(r, sa, x);
        return;
    }
    check(r, n.data.n > 0, "%s: a link for the next IKE_FOLLOWUP_KE", ike_exchange_name(m->h.exchange));
    if (buf_set(&x->link, n.data) != RC_OK)
        abort();
}

static bool ke_is(const struct inner *m, uint16_t method, bool response)
{
    struct ike_ke ke;
    return ke_of(&m->chain, &ke) && ke.method == method && ke.data.n == crypto_ke_public_size(method, response);
}

void child_response(struct replay *r, struct sa *sa, struct exchange *x, const struct inner *m)
{
    if (!body_of(&m->chain, PAYLOAD_SA).p) { /* refused */
        check(r, m->chain.n > 0 && m->chain.v[0].type == PAYLOAD_NOTIFY, "CREATE_CHILD_SA: a refusal");
        return;
    }
    inner_keep(&x->response, m);
    if (!check(r,
               offer_read(body_of(&x->response.chain, PAYLOAD_SA), 0, &x->chosen) &&
                   offer_read(body_of(&x->request.chain, PAYLOAD_SA), x->chosen.num, &x->offered),
               "CREATE_CHILD_SA: proposals"))
        return;
    check(r, x->chosen.ke == KE_NONE || (ke_is(&x->request, x->chosen.ke, false) && ke_is(m, x->chosen.ke, true)),
          "CREATE_CHILD_SA: KE payloads are %s", crypto_ke_name(x->chosen.ke));
    x->open = true;
    follow(r, sa, x, m);
}

void followup_request(struct replay *r, const struct exchange *x, const struct inner *m)
{
    struct ike_notify n;
    uint16_t method = x->followups < x->chosen.n_addke ? x->chosen.addke[x->followups] : KE_NONE;
    check(r, x->open && ke_is(m, method, false), "IKE_FOLLOWUP_KE request: its KE payload is %s",
          crypto_ke_name(method));
    check(r, ike_notify_find(&m->chain, N_ADDITIONAL_KEY_EXCHANGE, &n) && span_equal(n.data, buf_span(&x->link)),
          "IKE_FOLLOWUP_KE request: repeats the link");
}

void followup_response(struct replay *r, struct sa *sa, struct exchange *x, const struct inner *m)
{
    uint16_t method = x->followups < x->chosen.n_addke ? x->chosen.addke[x->followups] : KE_NONE;
    if (!check(r, x->open && ke_is(m, method, true), "IKE_FOLLOWUP_KE response: its KE payload is %s",
               crypto_ke_name(method)))
        return;
    x->followups++;
    follow(r, sa, x, m);
}

/* RFC 4303 2.4, 2.6: padding 1, 2, 3 .., a next header that fits what is inside. */
static bool trailer_ok(const uint8_t *text, size_t n)
{
    size_t pad = text[n - 2];
    if (pad + 2 > n)
        return false;
    for (size_t i = 1; i <= pad; i++)
        if (text[n - 2 - pad + i - 1] != i)
            return false;
    struct span in = span_of(text, n - 2 - pad);
    switch (text[n - 1]) {
    case 4: return in.n >= 20 && in.p[0] >> 4 == 4 && (size_t)(in.p[2] << 8 | in.p[3]) <= in.n;
    case 41: return in.n >= 40 && in.p[0] >> 4 == 6 && 40u + (size_t)(in.p[4] << 8 | in.p[5]) <= in.n;
    default: return true; /* transport mode */
    }
}

void esp_packet(struct replay *r, struct span packet)
{
    uint8_t copy[INNER_MAX];
    struct rd rd = rd_of(packet);
    uint32_t spi = rd_u32(&rd), seq = rd_u32(&rd);
    struct esp_sa *e = r->esp;
    struct esp_sizes s;
    while (e < r->esp + r->n_esp && e->spi != spi)
        e++;
    if (e == r->esp + r->n_esp || packet.n > sizeof copy || !crypto_esp_sizes(e->alg, &s) ||
        packet.n < 8u + s.iv + s.icv + s.align) {
        check(r, false, "ESP packet %08x/%u: a known SA and a whole packet", spi, seq);
        return;
    }
    memcpy(copy, packet.p, packet.n);
    size_t n = packet.n - 8 - s.iv - s.icv;
    struct esp_op op = {.key = e->key, .pkt = copy, .text_len = (uint32_t)n, .rc = RC_CRYPTO};
    crypto_esp_open(r->c, &op, 1);
    if (check(r, op.rc == RC_OK && trailer_ok(copy + 8 + s.iv, n), "ESP packet %08x/%u decrypts", spi, seq)) {
        e->packets++;
        r->ret->esp_packets++;
        /* and seals to the same octets again */
        crypto_esp_seal(r->c, &op, 1);
        check(r, op.rc == RC_OK && memcmp(copy, packet.p, packet.n) == 0, "ESP packet %08x/%u sealed again", spi, seq);
    }
}

void esp_finish(struct replay *r)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(r->esp_keys, "sas"), name, value)
    {
        uint32_t spi = (uint32_t)strtoul(name, NULL, 16);
        size_t i = 0;
        while (i < r->n_esp && r->esp[i].spi != spi)
            i++;
        check(r, i < r->n_esp, "ESP SA %s of esp_keys.json came up", name);
    }
    for (size_t i = 0; i < r->n_esp; i++)
        crypto_esp_key_free(r->esp[i].key);
}
