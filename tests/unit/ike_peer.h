/* A small initiator for the tests of the IKE engine: it makes one request after the other by hand, so that a test can bend any
 * of them. It seals with the crypto room directly; keys come from ike/keys.h, which has tests of its own.
 */
#ifndef ADIT_TESTS_IKE_PEER_H
#define ADIT_TESTS_IKE_PEER_H

#include "lib/unit.h"
#include "lib/vectors.h"

#include "adit/ike.h"
#include "adit/wire_ike.h"
#include "ike/keys.h"

#define PEER_PSK "a pre-shared key of sufficient length"
#define PEER_ID "office.example.net"
#define TUNNEL 3

struct peer {
    struct crypto *crypto;
    struct ike *ike;
    struct tape engine_tape, own_tape;
    struct rng engine_rng, own_rng;
    struct log log;
    char last_event[64], last_reason[160];
    struct acts acts;
    uint64_t now;
    struct path path;

    /* what to do */
    uint16_t ke, addke; /* addke 0: classical */
    const char *psk, *id;
    bool initial_contact, no_intermediate_notify, no_fragmentation, transcript, esn;
    uint16_t esp_encr, esp_bits, esp_integ;

    /* how it stands */
    uint64_t spi_i, spi_r;
    uint8_t ni[32], nr[256];
    size_t nr_len;
    struct ke *exchange;
    struct ike_keys keys;
    uint16_t prf;
    struct sk_alg alg;
    uint8_t init_request[2048], init_response[2048];
    size_t init_request_len, init_response_len;
    uint8_t int_auth_i[PRF_MAX], int_auth_r[PRF_MAX];
    bool int_auth, peer_transcript;
    uint32_t mid;
    uint64_t iv;
    uint8_t request[8][2048]; /* the last request, as datagrams */
    size_t request_len[8], n_request;
    uint8_t inner[8192]; /* the last response, decrypted */
    size_t inner_len;
    struct ike_chain chain;
};

static void peer_event(void *ctx, const struct log_event *e)
{
    struct peer *p = ctx;
    snprintf(p->last_event, sizeof p->last_event, "%s", e->name);
    for (size_t i = 0; i < e->n_fields; i++)
        if (!strcmp(e->fields[i].key, "reason"))
            snprintf(p->last_reason, sizeof p->last_reason, "%s", e->fields[i].str);
}

static struct tunnel_policy peer_tunnel(void)
{
    static const char *const LOCAL = "edge.example.net";
    struct tunnel_policy t = {
        .tunnel = TUNNEL,
        .type = TUNNEL_IPSEC,
        .account_name = "acme",
        .name = "office",
        .n_identities = 1,
        .identities = {{.type = ID_FQDN, .n = sizeof PEER_ID - 1}},
        .local_identity = {.type = ID_FQDN},
        .psks = {{.value = span_of(PEER_PSK, sizeof PEER_PSK - 1)}},
        .n_psks = 1,
        .pq = PQ_PREFER,
        .n_ts_local = 1,
        .n_ts_remote = 1,
    };
    memcpy(t.identities[0].data, PEER_ID, sizeof PEER_ID - 1);
    memcpy(t.local_identity.data, LOCAL, strlen(LOCAL));
    t.local_identity.n = (uint16_t)strlen(LOCAL);
    OK(addr_parse("198.51.100.2", &t.endpoint));
    t.ts_local[0].port_last = t.ts_remote[0].port_last = 65535;
    OK(addr_parse("0.0.0.0", &t.ts_local[0].first));
    OK(addr_parse("255.255.255.255", &t.ts_local[0].last));
    t.ts_remote[0] = t.ts_local[0];
    return t;
}

static void peer_set_tunnel(struct peer *p, const struct tunnel_policy *t)
{
    const struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_SET, .tunnel = t};
    OK(ike_command(p->ike, p->now, &cmd, &p->acts));
}

/* An engine with one tunnel, and a peer that has not sent anything. */
static struct peer *peer_new(const struct ike_policy *policy)
{
    struct peer *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->engine_tape.seed = 1;
    p->own_tape.seed = 2;
    p->engine_rng = (struct rng){tape_fill, &p->engine_tape};
    p->own_rng = (struct rng){tape_fill, &p->own_tape};
    p->log = (struct log){.emit = peer_event, .ctx = p, .level = LOG_LEVEL_DEBUG};
    p->now = 1000 * NS_PER_S;
    OK(crypto_new(NULL, &p->crypto));
    struct ike_config config = {
        .crypto = p->crypto, .rng = &p->engine_rng, .log = &p->log, .unix_time_at_zero = 1000000};
    ike_policy_default(&config.policy);
    if (policy)
        config.policy = *policy;
    OK(ike_new(&config, &p->ike));
    struct tunnel_policy t = peer_tunnel();
    peer_set_tunnel(p, &t);
    OK(addr_parse("198.51.100.2", &p->path.local.addr));
    OK(addr_parse("192.0.2.2", &p->path.remote.addr));
    p->path.local.port = p->path.remote.port = 500;
    p->ke = KE_ECP384;
    p->addke = KE_ML_KEM_768;
    p->psk = PEER_PSK;
    p->id = PEER_ID;
    p->prf = PRF_HMAC_SHA2_384;
    p->alg = (struct sk_alg){ENCR_AES_GCM_16, 256, INTEG_NONE};
    p->esp_encr = ENCR_AES_GCM_16;
    p->esp_bits = 256;
    p->spi_i = rng_u64(&p->own_rng);
    return p;
}

static void peer_free(struct peer *p)
{
    if (!p)
        return;
    acts_clear(p->ike, &p->acts);
    ike_free(p->ike);
    crypto_ke_free(p->exchange);
    crypto_free(p->crypto);
    free(p);
}

/* ---- datagrams in and out */

static size_t peer_sent(const struct peer *p) /* SEND actions of the last call */
{
    size_t n = 0;
    for (size_t i = 0; i < p->acts.n; i++)
        n += p->acts.v[i].type == ACT_SEND;
    return n;
}

static const struct act *peer_act(const struct peer *p, enum act_type type)
{
    for (size_t i = 0; i < p->acts.n; i++)
        if (p->acts.v[i].type == type)
            return &p->acts.v[i];
    return NULL;
}

static void peer_give(struct peer *p, const void *datagram, size_t n)
{
    acts_clear(p->ike, &p->acts);
    struct span copy = exact_copy(span_of(datagram, n));
    ike_input(p->ike, p->now, &p->path, copy, &p->acts);
    exact_free(copy);
}

static void peer_repeat(struct peer *p) /* the last request again */
{
    acts_clear(p->ike, &p->acts);
    for (size_t i = 0; i < p->n_request; i++)
        ike_input(p->ike, p->now, &p->path, span_of(p->request[i], p->request_len[i]), &p->acts);
}

static void peer_seal(struct peer *p, struct ike_header h, uint8_t first, struct span text, uint16_t number,
                      uint16_t total)
{
    struct sk_sizes s;
    assert_true(crypto_sk_sizes(p->alg, &s));
    size_t pad = s.block > 1 ? (s.block - (text.n + 1) % s.block) % s.block : 0;
    size_t aad = total ? 36 : 32, length = aad + s.iv + text.n + pad + 1 + s.icv;
    uint8_t *out = p->request[p->n_request];
    struct wr w = wr_of(out, sizeof p->request[0]);
    h.next = total ? PAYLOAD_SKF : PAYLOAD_SK;
    h.length = (uint32_t)length;
    ike_header_write(&w, &h);
    wr_u8(&w, first);
    wr_u8(&w, 0);
    wr_u16(&w, (uint16_t)(length - 28));
    if (total) {
        wr_u16(&w, number);
        wr_u16(&w, total);
    }
    wr_reserve(&w, s.iv);
    wr_bytes(&w, text);
    wr_reserve(&w, pad);
    wr_u8(&w, (uint8_t)pad);
    wr_reserve(&w, s.icv);
    assert_false(w.failed);
    OK(crypto_sk_seal(p->crypto, p->alg, p->keys.ei, p->keys.ai, out, aad, text.n + pad + 1, p->iv++));
    p->request_len[p->n_request++] = length;
}

/* Decrypts what came back into p->inner and p->chain; false: nothing came. */
static bool peer_open(struct peer *p, const struct ike_keys *keys, uint8_t ret_a[32])
{
    struct sk_sizes s;
    uint8_t first = 0;
    struct ike_header h = {0};
    struct wr w = wr_of(p->inner, sizeof p->inner);
    assert_true(crypto_sk_sizes(p->alg, &s));
    for (size_t i = 0; i < p->acts.n; i++) {
        if (p->acts.v[i].type != ACT_SEND)
            continue;
        uint8_t msg[2048];
        struct span d = buf_span(&p->acts.v[i].datagram);
        struct ike_chain outer;
        struct ike_error error;
        struct rd r = rd_of(d);
        OK(ike_header_read(d, &h));
        rd_take(&r, IKE_HEADER_SIZE);
        OK(ike_chain_read(h.next, rd_rest(&r), &outer, &error));
        size_t aad = outer.v[0].type == PAYLOAD_SKF ? 36 : 32, text = d.n - aad - s.iv - s.icv;
        memcpy(msg, d.p, d.n);
        if (crypto_sk_open(p->crypto, p->alg, keys->er, keys->ar, msg, aad, text) != RC_OK)
            fail_msg("response does not decrypt");
        if (!wr_len(&w))
            first = outer.sk_next;
        wr_bytes(&w, span_of(msg + aad + s.iv, text - 1 - msg[aad + s.iv + text - 1]));
    }
    if (!h.spi_i)
        return false;
    struct ike_error error;
    p->inner_len = wr_len(&w);
    OK(ike_chain_read(first, span_of(p->inner, p->inner_len), &p->chain, &error));
    if (ret_a) {
        struct wr a = wr_of(ret_a, 32);
        h.next = PAYLOAD_SK;
        h.length = (uint32_t)(32 + p->inner_len);
        ike_header_write(&a, &h);
        wr_u8(&a, first);
        wr_u8(&a, 0);
        wr_u16(&a, (uint16_t)(4 + p->inner_len));
    }
    return true;
}

static struct ike_header peer_header(const struct peer *p, uint8_t exchange)
{
    return (struct ike_header){
        .spi_i = p->spi_i,
        .spi_r = p->spi_r,
        .version = IKE_VERSION,
        .exchange = exchange,
        .flags = IKE_FLAG_INITIATOR,
        .mid = p->mid,
    };
}

/* One protected request, in `pieces` fragments (0: whole), not yet given. */
static void peer_make(struct peer *p, uint8_t exchange, uint8_t first, struct span inner, uint16_t pieces)
{
    p->n_request = 0;
    if (!pieces) {
        peer_seal(p, peer_header(p, exchange), first, inner, 0, 0);
        return;
    }
    size_t chunk = (inner.n + pieces - 1) / pieces;
    struct rd r = rd_of(inner);
    for (uint16_t i = 1; i <= pieces; i++)
        peer_seal(p, peer_header(p, exchange), i == 1 ? first : PAYLOAD_NONE,
                  rd_take(&r, rd_left(&r) < chunk ? rd_left(&r) : chunk), i, pieces);
}

/* ---- exchanges */

static void peer_make_init(struct peer *p, struct span cookie)
{
    struct ike_writer iw;
    struct ke_value public;
    struct ike_transform_out t[] = {
        {T_ENCR, p->alg.encr, p->alg.encr_bits},
        {T_PRF, p->prf, 0},
        {T_KE, p->ke, 0},
        {p->alg.integ ? T_INTEG : T_ADDKE1, p->alg.integ ? p->alg.integ : p->addke, 0},
        {T_ADDKE1, p->addke, 0},
    };
    size_t n = p->alg.integ ? (p->addke ? 5 : 4) : p->addke ? 4 : 3;
    struct span message;
    if (!p->exchange) {
        rng_fill(&p->own_rng, p->ni, sizeof p->ni);
    } else {
        crypto_ke_free(p->exchange);
        p->exchange = NULL;
    }
    OK(crypto_ke_begin(p->crypto, p->ke, &p->exchange, &public));
    p->spi_r = 0;
    p->mid = 0;
    struct ike_header h = peer_header(p, IKE_SA_INIT);
    ike_write_message(&iw, wr_of(p->init_request, sizeof p->init_request), &h);
    if (cookie.n)
        ike_write_notify(&iw, 0, span_of(NULL, 0), N_COOKIE, cookie);
    ike_write_sa(&iw, 1, PROTO_IKE, span_of(NULL, 0), t, n);
    ike_write_ke(&iw, p->ke, span_of(public.b, public.n));
    ike_write_nonce(&iw, span_of(p->ni, sizeof p->ni));
    if (!p->no_fragmentation)
        ike_write_notify(&iw, 0, span_of(NULL, 0), N_IKEV2_FRAGMENTATION_SUPPORTED, span_of(NULL, 0));
    if (!p->no_intermediate_notify)
        ike_write_notify(&iw, 0, span_of(NULL, 0), N_INTERMEDIATE_EXCHANGE_SUPPORTED, span_of(NULL, 0));
    if (p->transcript)
        ike_write_notify(&iw, 0, span_of(NULL, 0), N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, span_of(NULL, 0));
    OK(ike_write_finish(&iw, &message));
    p->init_request_len = message.n;
    memcpy(p->request[0], message.p, message.n);
    p->request_len[0] = message.n;
    p->n_request = 1;
}

/* The notify of an unprotected answer; 0: none. */
static uint16_t peer_plain_notify(struct peer *p, struct ike_notify *ret)
{
    struct ike_header h;
    struct ike_error error;
    if (peer_sent(p) != 1)
        return 0;
    struct span d = buf_span(&peer_act(p, ACT_SEND)->datagram);
    struct rd r = rd_of(d);
    OK(ike_header_read(d, &h));
    rd_take(&r, IKE_HEADER_SIZE);
    if (ike_chain_read(h.next, rd_rest(&r), &p->chain, &error) != RC_OK || p->chain.n != 1)
        return 0;
    OK(ike_notify_read(p->chain.v[0].body, ret));
    return ret->type;
}

static void peer_init(struct peer *p)
{
    struct ike_header h;
    struct ike_error error;
    struct ike_ke ke;
    struct ike_notify notify;
    struct ke_secret secret;
    uint8_t seed[PRF_MAX];
    if (!p->init_request_len)
        peer_make_init(p, span_of(NULL, 0));
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_sent(p), 1);
    struct span d = buf_span(&peer_act(p, ACT_SEND)->datagram);
    struct rd r = rd_of(d);
    OK(ike_header_read(d, &h));
    rd_take(&r, IKE_HEADER_SIZE);
    OK(ike_chain_read(h.next, rd_rest(&r), &p->chain, &error));
    OK(ike_shape_check(IKE_SA_INIT, true, false, &p->chain, &error));
    memcpy(p->init_response, d.p, d.n);
    p->init_response_len = d.n;
    p->spi_r = h.spi_r;
    assert_int_not_equal(p->spi_r, 0);
    p->peer_transcript = ike_notify_find(&p->chain, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, &notify);
    struct span nonce = ike_chain_find(&p->chain, PAYLOAD_NONCE)->body;
    memcpy(p->nr, nonce.p, nonce.n);
    p->nr_len = nonce.n;
    OK(ike_ke_read(ike_chain_find(&p->chain, PAYLOAD_KE)->body, &ke));
    OK(crypto_ke_finish(p->exchange, ke.data, &secret));
    const struct ike_nonces n = {span_of(p->ni, sizeof p->ni), span_of(p->nr, p->nr_len)};
    OK(ike_keys_seed_initial(p->crypto, p->prf, n, span_of(secret.b, secret.n), seed));
    OK(ike_keys_derive(p->crypto, p->prf, p->alg, span_of(seed, crypto_prf_size(p->prf)), n, p->spi_i, p->spi_r,
                       &p->keys));
    p->mid = 1;
}

/* IKE_INTERMEDIATE with our KE, made but not given. */
static void peer_make_intermediate(struct peer *p, uint16_t pieces)
{
    static uint8_t bytes[4096];
    struct ike_writer iw;
    struct ke_value public;
    struct span inner;
    crypto_ke_free(p->exchange);
    p->exchange = NULL;
    OK(crypto_ke_begin(p->crypto, p->addke, &p->exchange, &public));
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_ke(&iw, p->addke, span_of(public.b, public.n));
    OK(ike_write_finish(&iw, &inner));
    uint8_t a[32];
    struct wr w = wr_of(a, sizeof a);
    struct ike_header h = peer_header(p, IKE_INTERMEDIATE);
    h.next = PAYLOAD_SK;
    h.length = (uint32_t)(32 + inner.n);
    ike_header_write(&w, &h);
    wr_u8(&w, PAYLOAD_KE);
    wr_u8(&w, 0);
    wr_u16(&w, (uint16_t)(4 + inner.n));
    OK(ike_keys_int_auth(p->crypto, p->prf, span_of(p->keys.pi, p->keys.n_prf), span_of(NULL, 0), wr_span(&w), inner,
                         p->int_auth_i));
    peer_make(p, IKE_INTERMEDIATE, PAYLOAD_KE, inner, pieces);
}

static void peer_finish_intermediate(struct peer *p)
{
    struct ke_secret secret;
    struct ike_ke ke;
    uint8_t a[32], seed[PRF_MAX];
    const struct ike_nonces n = {span_of(p->ni, sizeof p->ni), span_of(p->nr, p->nr_len)};
    assert_true(peer_open(p, &p->keys, a));
    OK(ike_ke_read(ike_chain_find(&p->chain, PAYLOAD_KE)->body, &ke));
    assert_int_equal(ke.method, p->addke);
    OK(ike_keys_int_auth(p->crypto, p->prf, span_of(p->keys.pr, p->keys.n_prf), span_of(NULL, 0), span_of(a, sizeof a),
                         span_of(p->inner, p->inner_len), p->int_auth_r));
    OK(crypto_ke_finish(p->exchange, ke.data, &secret));
    OK(ike_keys_seed_intermediate(p->crypto, p->prf, span_of(p->keys.d, p->keys.n_prf), span_of(secret.b, secret.n), n,
                                  seed));
    OK(ike_keys_derive(p->crypto, p->prf, p->alg, span_of(seed, crypto_prf_size(p->prf)), n, p->spi_i, p->spi_r,
                       &p->keys));
    p->int_auth = true;
    p->mid++;
}

static void peer_intermediate(struct peer *p)
{
    peer_make_intermediate(p, 2);
    peer_repeat(p);
    peer_finish_intermediate(p);
}

struct peer_auth_bend { /* how a test may bend IKE_AUTH; all zero: straight */
    bool no_auth;
    uint8_t method;
    uint8_t extra; /* an unknown payload type with the critical bit */
    const char *tsi_last;
};

static void peer_make_auth(struct peer *p, const struct peer_auth_bend *bend)
{
    static uint8_t bytes[4096];
    uint8_t maced[4 + 64], auth[PRF_MAX];
    struct ike_writer iw;
    struct span inner;
    struct wr w = wr_of(maced, sizeof maced);
    size_t n = p->keys.n_prf;
    wr_u32(&w, (uint32_t)ID_FQDN << 24);
    wr_bytes(&w, span_str(p->id));
    const struct ike_auth_input in = {
        .message = span_of(p->init_request, p->init_request_len),
        .peer_message = span_of(p->init_response, p->init_response_len),
        .full_transcript = p->transcript && p->peer_transcript,
        .peer_nonce = span_of(p->nr, p->nr_len),
        .sk_p = span_of(p->keys.pi, n),
        .id = wr_span(&w),
        .int_auth_i = span_of(p->int_auth_i, p->int_auth ? n : 0),
        .int_auth_r = span_of(p->int_auth_r, p->int_auth ? n : 0),
        .auth_mid = p->mid,
    };
    OK(ike_keys_auth(p->crypto, p->prf, span_str(p->psk), &in, auth));
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_id(&iw, PAYLOAD_IDI, ID_FQDN, span_str(p->id));
    if (!bend->no_auth)
        ike_write_auth(&iw, bend->method ? bend->method : AUTH_SHARED_KEY_MIC, span_of(auth, n));
    if (p->initial_contact)
        ike_write_notify(&iw, 0, span_of(NULL, 0), N_INITIAL_CONTACT, span_of(NULL, 0));
    struct ike_transform_out t[3] = {
        {T_ENCR, p->esp_encr, p->esp_bits}, {T_ESN, p->esn, 0}, {T_INTEG, p->esp_integ, 0}};
    ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee01"), t, p->esp_integ ? 3 : 2);
    struct ike_ts ts = {.type = TS_IPV4_ADDR_RANGE, .port_last = 65535};
    OK(addr_parse("10.1.0.0", &ts.first));
    OK(addr_parse(bend->tsi_last ? bend->tsi_last : "10.1.255.255", &ts.last));
    ike_write_ts(&iw, PAYLOAD_TSI, &ts, 1);
    OK(addr_parse("0.0.0.0", &ts.first));
    OK(addr_parse("255.255.255.255", &ts.last));
    ike_write_ts(&iw, PAYLOAD_TSR, &ts, 1);
    OK(ike_write_finish(&iw, &inner));
    if (bend->extra) { /* put in front: next | critical | length 4 */
        memmove(bytes + 4, bytes, inner.n);
        memcpy(bytes, (uint8_t[]){PAYLOAD_IDI, 0x80, 0, 4}, 4);
        inner.n += 4;
    }
    peer_make(p, IKE_AUTH, bend->extra ? bend->extra : PAYLOAD_IDI, inner, 0);
}

/* true: the SA is up and our side of the AUTH check passed. */
static bool peer_auth(struct peer *p)
{
    const struct peer_auth_bend straight = {0};
    struct ike_id id;
    struct ike_auth auth;
    uint8_t expected[PRF_MAX];
    size_t n = p->keys.n_prf;
    peer_make_auth(p, &straight);
    peer_repeat(p);
    if (!peer_open(p, &p->keys, NULL))
        return false;
    p->mid++;
    if (!ike_chain_find(&p->chain, PAYLOAD_AUTH))
        return false;
    OK(ike_id_read(ike_chain_find(&p->chain, PAYLOAD_IDR)->body, &id));
    OK(ike_auth_read(ike_chain_find(&p->chain, PAYLOAD_AUTH)->body, &auth));
    const struct ike_auth_input in = {
        .message = span_of(p->init_response, p->init_response_len),
        .peer_message = span_of(p->init_request, p->init_request_len),
        .full_transcript = p->transcript && p->peer_transcript,
        .peer_nonce = span_of(p->ni, sizeof p->ni),
        .sk_p = span_of(p->keys.pr, n),
        .id = id.maced,
        .int_auth_i = span_of(p->int_auth_i, p->int_auth ? n : 0),
        .int_auth_r = span_of(p->int_auth_r, p->int_auth ? n : 0),
        .auth_mid = p->mid - 1,
    };
    OK(ike_keys_auth(p->crypto, p->prf, span_str(p->psk), &in, expected));
    return span_equal(auth.data, span_of(expected, n));
}

/* A whole handshake that must succeed. */
static void peer_up(struct peer *p)
{
    peer_init(p);
    if (p->addke)
        peer_intermediate(p);
    assert_true(peer_auth(p));
}

/* One protected request after IKE_AUTH; true when it was answered. */
static bool peer_ask(struct peer *p, uint8_t exchange, struct ike_writer *iw)
{
    struct span inner;
    OK(ike_write_finish(iw, &inner));
    peer_make(p, exchange, ike_write_first(iw), inner, 0);
    peer_repeat(p);
    if (!peer_open(p, &p->keys, NULL))
        return false;
    p->mid++;
    return true;
}

static uint64_t peer_count(const struct peer *p, enum ike_count c)
{
    return ike_count(p->ike, c);
}

/* The only notify of the last protected answer; 0: none. */
static uint16_t peer_notify(const struct peer *p)
{
    struct ike_notify n;
    const struct ike_payload *pl = ike_chain_find(&p->chain, PAYLOAD_NOTIFY);
    return pl && ike_notify_read(pl->body, &n) == RC_OK ? n.type : 0;
}

#endif
