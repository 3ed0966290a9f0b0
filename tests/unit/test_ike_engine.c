/* The IKE responder as a whole: handshakes, message IDs, retransmission, refusals, Deletes. */
#include "ike_peer.h"

#include <stdio.h>

static struct peer *p;

static int set_up(void **state)
{
    (void)state;
    p = peer_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    peer_free(p);
    return 0;
}

static struct ike_sa_info only_sa(void)
{
    struct ike_sa_info info = {0};
    size_t cursor = ike_sa_next(p->ike, 0, &info);
    struct ike_sa_info other;
    if (cursor)
        assert_int_equal(ike_sa_next(p->ike, cursor, &other), 0);
    return info;
}

/* ---- handshakes */

static void hybrid_handshake_comes_up(void **state)
{
    (void)state;
    peer_up(p);
    const struct act *up = peer_act(p, ACT_CHILD_UP);
    assert_non_null(up);
    assert_int_equal(up->child->tunnel, TUNNEL);
    assert_int_equal(up->child->spi_out, 0xc0ffee01);
    assert_int_equal(up->child->key_len, 36);
    assert_false(up->child->udp);
    assert_true(up < peer_act(p, ACT_SEND)); /* ready to receive before the peer hears of it */
    assert_int_equal(peer_act(p, ACT_UP)->tunnel, TUNNEL);
    struct ike_sa_info info = only_sa();
    assert_true(info.established && info.established_pq);
    assert_int_equal(info.suite.addke[0], KE_ML_KEM_768);
    assert_string_equal(p->last_event, "ike.established");
    assert_int_equal(peer_count(p, IKE_COUNT_ESTABLISHED), 1);
}

static void child_keys_are_those_the_initiator_derives(void **state)
{
    (void)state;
    peer_up(p);
    uint8_t keymat[72];
    const struct ike_nonces n = {span_of(p->ni, sizeof p->ni), span_of(p->nr, p->nr_len)};
    OK(ike_keys_child(p->crypto, p->prf, span_of(p->keys.d, p->keys.n_prf), span_of(NULL, 0), n, NULL, 0, keymat, 72));
    const struct child_sa *child = peer_act(p, ACT_CHILD_UP)->child;
    assert_memory_equal(child->key_in, keymat, 36); /* the initiator's sending half comes first */
    assert_memory_equal(child->key_out, keymat + 36, 36);
}

static void classical_handshake_comes_up(void **state)
{
    (void)state;
    p->addke = 0;
    peer_up(p);
    assert_false(only_sa().established_pq);
}

static void cbc_modp_handshake_comes_up(void **state)
{
    (void)state;
    p->addke = 0;
    p->ke = KE_MODP2048;
    p->prf = PRF_HMAC_SHA2_256;
    p->alg = (struct sk_alg){ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128};
    p->esp_encr = ENCR_AES_CBC;
    p->esp_integ = INTEG_HMAC_SHA1_96;
    peer_up(p);
    assert_int_equal(peer_act(p, ACT_CHILD_UP)->child->key_len, 32 + 20);
}

static void ml_kem_1024_handshake_comes_up_in_fragments(void **state)
{
    (void)state;
    p->addke = KE_ML_KEM_1024;
    peer_init(p);
    peer_make_intermediate(p, 2);
    peer_repeat(p);
    assert_int_equal(peer_sent(p), 2); /* 1568 octets do not fit 1280: the answer comes in pieces as well */
    peer_finish_intermediate(p);
    assert_true(peer_auth(p));
}

static void full_transcript_is_signed_when_both_ask(void **state)
{
    (void)state;
    p->transcript = true;
    peer_up(p);
    assert_true(p->peer_transcript);
}

static void address_of_a_peer_on_500_without_nat_gets_plain_esp_and_4500_marker(void **state)
{
    (void)state;
    peer_init(p);
    assert_false(peer_act(p, ACT_SEND)->marker);
    p->path.local.port = 4500;
    p->path.remote.port = 61234;
    peer_intermediate(p);
    assert_true(peer_act(p, ACT_SEND)->marker);
    assert_int_equal(peer_act(p, ACT_SEND)->path.remote.port, 61234);
    assert_true(peer_auth(p));
    assert_int_equal(only_sa().path.remote.port, 61234);
}

/* ---- IKE_SA_INIT refusals */

static void no_proposal_chosen_is_said_and_explained(void **state)
{
    (void)state;
    struct ike_notify n;
    p->prf = 2; /* HMAC_SHA1 */
    peer_make_init(p, span_of(NULL, 0));
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_plain_notify(p, &n), N_NO_PROPOSAL_CHOSEN);
    assert_string_equal(p->last_event, "ike.handshake_failed");
    assert_int_equal(only_sa().spi_r, 0);
}

static void hybrid_without_intermediate_support_is_refused(void **state)
{
    (void)state;
    struct ike_notify n;
    p->no_intermediate_notify = true;
    peer_make_init(p, span_of(NULL, 0));
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_plain_notify(p, &n), N_NO_PROPOSAL_CHOSEN);
}

static void unknown_local_address_is_silent(void **state)
{
    (void)state;
    OK(addr_parse("198.51.100.99", &p->path.local.addr));
    peer_make_init(p, span_of(NULL, 0));
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(p->acts.n, 0);
    assert_int_equal(peer_count(p, IKE_COUNT_DROP_UNKNOWN_ENDPOINT), 1);
}

static void bad_headers_are_silent(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        enum ike_count count;
    } CASES[] = {
        {15, 1, IKE_COUNT_DROP_HEADER},          /* responder SPI in IKE_SA_INIT */
        {23, 1, IKE_COUNT_DROP_HEADER},          /* message ID not 0 */
        {27, 0, IKE_COUNT_DROP_HEADER},          /* length differs */
        {19, 0, IKE_COUNT_DROP_HEADER},          /* no Initiator flag */
        {19, 0x28, IKE_COUNT_DROP_EXCHANGE + 0}, /* a response: checked below */
        {17, 0x10, IKE_COUNT_DROP_VERSION},      {18, 99, IKE_COUNT_DROP_EXCHANGE},
    };
    peer_make_init(p, span_of(NULL, 0));
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        uint8_t bent[2048];
        memcpy(bent, p->init_request, p->init_request_len);
        if (bent[CASES[i].at] == CASES[i].value)
            bent[CASES[i].at]++;
        else
            bent[CASES[i].at] = CASES[i].value;
        peer_give(p, bent, p->init_request_len);
        assert_int_equal(p->acts.n, 0);
    }
    assert_int_equal(peer_count(p, IKE_COUNT_DROP_HEADER), 4);
    assert_int_equal(peer_count(p, IKE_COUNT_DROP_VERSION), 1);
    assert_int_equal(peer_count(p, IKE_COUNT_DROP_EXCHANGE), 1);
    assert_int_equal(peer_count(p, IKE_COUNT_DROP_UNKNOWN_SPI), 1);
}

static void higher_major_version_is_told_ours(void **state)
{
    (void)state;
    struct ike_notify n;
    peer_make_init(p, span_of(NULL, 0));
    p->init_request[17] = 0x30;
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_plain_notify(p, &n), N_INVALID_MAJOR_VERSION);
    assert_int_equal(peer_act(p, ACT_SEND)->datagram.p[17], IKE_VERSION);
}

static void ke_of_another_group_is_told_ours(void **state)
{
    (void)state;
    struct ike_notify n;
    peer_make_init(p, span_of(NULL, 0));
    for (size_t i = 0; i + 8 < p->init_request_len; i++) /* the KE payload's method: 96 octets of value follow */
        if (p->init_request[i + 2] == 0 && p->init_request[i + 3] == 104 && p->init_request[i + 5] == KE_ECP384)
            p->init_request[i + 5] = KE_MODP2048;
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_plain_notify(p, &n), N_INVALID_KE_PAYLOAD);
    assert_span_equal(n.data, hex("0014"));
    assert_int_equal(only_sa().spi_r, 0);
}

static void flood_gets_cookies_and_the_honest_comes_through(void **state)
{
    (void)state;
    struct ike_notify n;
    uint8_t cookie[64];
    for (int i = 0; i < 3; i++) { /* three half-open from this address: the threshold */
        p->spi_i = rng_u64(&p->own_rng);
        peer_make_init(p, span_of(NULL, 0));
        peer_give(p, p->init_request, p->init_request_len);
        assert_int_equal(peer_plain_notify(p, &n), 0);
    }
    p->spi_i = rng_u64(&p->own_rng);
    peer_make_init(p, span_of(NULL, 0));
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_plain_notify(p, &n), N_COOKIE);
    memcpy(cookie, n.data.p, n.data.n);
    size_t length = n.data.n;

    peer_make_init(p, hex("00112233445566778899aabbccddeeff00")); /* a wrong one counts as none */
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_plain_notify(p, &n), N_COOKIE);

    peer_make_init(p, span_of(cookie, length));
    peer_up(p);
    assert_int_equal(peer_count(p, IKE_COUNT_COOKIE_SENT), 2);
}

static void full_half_open_table_drops_its_oldest(void **state)
{
    struct ike_policy policy;
    struct ike_notify n;
    (void)state;
    ike_policy_default(&policy);
    policy.max_half_open = 2;
    policy.cookie_threshold = policy.cookie_threshold_per_ip = 1000;
    peer_free(p);
    p = peer_new(&policy);
    for (int i = 0; i < 5; i++) {
        p->spi_i = rng_u64(&p->own_rng);
        peer_make_init(p, span_of(NULL, 0));
        peer_give(p, p->init_request, p->init_request_len);
        assert_int_equal(peer_plain_notify(p, &n), 0);
        assert_int_equal(peer_sent(p), 1);
    }
    assert_int_equal(peer_count(p, IKE_COUNT_DROP_LIMIT), 3);
    p->spi_i = rng_u64(&p->own_rng);
    p->init_request_len = 0;
    peer_up(p);
}

/* ---- retransmission and message IDs */

static void repeated_init_gets_the_same_octets(void **state)
{
    (void)state;
    peer_init(p);
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(peer_sent(p), 1);
    assert_span_equal(buf_span(&peer_act(p, ACT_SEND)->datagram), span_of(p->init_response, p->init_response_len));
    assert_int_equal(peer_count(p, IKE_COUNT_RETRANSMIT_ANSWERED), 1);
    assert_int_not_equal(only_sa().spi_r, 0);
}

static void init_repeated_after_the_next_exchange_is_ignored(void **state)
{
    (void)state;
    peer_init(p);
    peer_intermediate(p);
    peer_give(p, p->init_request, p->init_request_len);
    assert_int_equal(p->acts.n, 0);
}

static void repeated_intermediate_is_answered_although_keys_changed(void **state)
{
    (void)state;
    uint8_t first[2048];
    peer_init(p);
    peer_make_intermediate(p, 0);
    peer_repeat(p);
    struct span d = buf_span(&peer_act(p, ACT_SEND)->datagram);
    size_t n = d.n;
    memcpy(first, d.p, n);
    peer_repeat(p);
    assert_int_equal(peer_sent(p), 1);
    assert_span_equal(buf_span(&peer_act(p, ACT_SEND)->datagram), span_of(first, n));
    peer_finish_intermediate(p);
    assert_true(peer_auth(p));
}

static void only_fragment_one_makes_the_answer_repeat(void **state)
{
    (void)state;
    peer_init(p);
    peer_make_intermediate(p, 2);
    peer_repeat(p);
    peer_give(p, p->request[1], p->request_len[1]);
    assert_int_equal(p->acts.n, 0);
    peer_give(p, p->request[0], p->request_len[0]);
    assert_int_equal(peer_sent(p), 2); /* cut like the request */
    peer_finish_intermediate(p);
}

static void request_cut_anew_gets_the_stored_answer(void **state)
{
    (void)state;
    struct ike_keys before;
    static uint8_t inner[4096];
    peer_init(p);
    before = p->keys;
    peer_make_intermediate(p, 2);
    struct ke_value again; /* the text does not matter: it is not read any more */
    crypto_ke_free(p->exchange);
    OK(crypto_ke_begin(p->crypto, p->addke, &p->exchange, &again));
    peer_make_intermediate(p, 2);
    peer_repeat(p);
    peer_finish_intermediate(p);
    p->mid--;
    struct ike_keys after = p->keys;
    p->keys = before;
    peer_make(p, IKE_INTERMEDIATE, PAYLOAD_KE, span_of(inner, 1200), 3);
    peer_repeat(p);
    assert_int_equal(peer_sent(p), 2);
    assert_int_equal(peer_count(p, IKE_COUNT_RETRANSMIT_ANSWERED), 1);
    p->keys = after;
    p->mid++;
    assert_true(peer_auth(p));
}

static void repeated_request_is_answered_at_a_bounded_rate(void **state)
{
    (void)state;
    size_t answered = 0;
    peer_up(p);
    for (int i = 0; i < 100; i++) {
        peer_repeat(p);
        answered += peer_sent(p);
        assert_null(peer_act(p, ACT_CHILD_UP)); /* never processed twice */
    }
    assert_in_range(answered, 1, 20);
    p->now += 5 * NS_PER_S;
    peer_repeat(p);
    assert_int_equal(peer_sent(p), 1);
}

static void message_ids_outside_the_window_are_silent(void **state)
{
    (void)state;
    struct ike_writer iw;
    uint8_t bytes[16];
    peer_up(p);
    uint32_t good = p->mid;
    static const int OFF[] = {-2, 1, 2, 100};
    for (size_t i = 0; i < ARRAY_LEN(OFF); i++) {
        ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
        p->mid = good + (uint32_t)OFF[i];
        assert_false(peer_ask(p, INFORMATIONAL, &iw));
    }
    assert_int_equal(peer_count(p, IKE_COUNT_DROP_MESSAGE_ID), ARRAY_LEN(OFF));
    p->mid = good;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    assert_true(peer_ask(p, INFORMATIONAL, &iw));
}

static void flipped_bit_leaves_no_trace(void **state)
{
    (void)state;
    peer_init(p);
    peer_make_intermediate(p, 0);
    for (size_t i = IKE_HEADER_SIZE + 4; i < p->request_len[0]; i += 97) {
        uint8_t bent[2048];
        memcpy(bent, p->request[0], p->request_len[0]);
        bent[i] ^= 1;
        peer_give(p, bent, p->request_len[0]);
        assert_int_equal(p->acts.n, 0);
    }
    peer_repeat(p);
    peer_finish_intermediate(p);
    assert_true(peer_auth(p));
}

static void fragment_that_does_not_authenticate_is_not_stored(void **state)
{
    (void)state;
    peer_init(p);
    peer_make_intermediate(p, 2);
    p->request[0][60] ^= 1;
    peer_repeat(p);
    assert_int_equal(p->acts.n, 0);
    p->request[0][60] ^= 1;
    peer_give(p, p->request[0], p->request_len[0]);
    peer_finish_intermediate(p);
}

static void half_open_sa_times_out(void **state)
{
    (void)state;
    peer_init(p);
    peer_make_intermediate(p, 2);
    peer_give(p, p->request[0], p->request_len[0]);
    assert_false(ike_idle(p->ike));
    p->now += 31 * NS_PER_S;
    acts_clear(p->ike, &p->acts);
    ike_tick(p->ike, p->now, &p->acts);
    assert_true(ike_idle(p->ike));
    assert_int_equal(peer_count(p, IKE_COUNT_FAIL_TIMEOUT), 1);
    assert_int_equal(ike_deadline(p->ike), NEVER);
}

/* ---- IKE_AUTH */

static void auth_before_all_keys_is_silent(void **state)
{
    (void)state;
    peer_init(p);
    assert_false(peer_auth(p));
    assert_int_equal(p->acts.n, 0);
    assert_string_equal(only_sa().state, "adding-keys");
}

static void intermediate_that_was_not_negotiated_is_silent(void **state)
{
    (void)state;
    p->addke = 0;
    peer_init(p);
    p->addke = KE_ML_KEM_768;
    peer_make_intermediate(p, 0);
    peer_repeat(p);
    assert_int_equal(p->acts.n, 0);
    p->addke = 0;
    assert_true(peer_auth(p));
}

static void requests_before_auth_are_silent(void **state)
{
    (void)state;
    static const uint8_t EXCHANGES[] = {INFORMATIONAL, CREATE_CHILD_SA, IKE_FOLLOWUP_KE};
    p->addke = 0;
    peer_init(p);
    for (size_t i = 0; i < ARRAY_LEN(EXCHANGES); i++) {
        struct ike_writer iw;
        uint8_t bytes[16];
        ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
        assert_false(peer_ask(p, EXCHANGES[i], &iw));
    }
    assert_true(peer_auth(p));
}

/* The answer to a refused IKE_AUTH, as octets without IV and ICV: all refusals look the same. */
static struct span refusal(void)
{
    peer_init(p);
    peer_intermediate(p);
    assert_false(peer_auth(p));
    assert_int_equal(peer_notify(p), N_AUTHENTICATION_FAILED);
    assert_int_equal(p->chain.n, 1);
    assert_null(peer_act(p, ACT_UP));
    assert_null(peer_act(p, ACT_CHILD_UP));
    assert_true(ike_idle(p->ike));
    return buf_span(&peer_act(p, ACT_SEND)->datagram);
}

static void wrong_psk_and_unknown_identity_look_alike(void **state)
{
    (void)state;
    uint8_t inner[64];
    struct ike_failure failure;
    p->psk = "another key of sufficient length.....";
    size_t n = refusal().n, inner_len = p->inner_len;
    memcpy(inner, p->inner, inner_len);
    assert_int_equal(peer_count(p, IKE_COUNT_FAIL_PSK), 1);
    assert_true(ike_last_failure(p->ike, TUNNEL, &failure));
    assert_non_null(strstr(failure.text, "wrong pre-shared key"));

    peer_free(p);
    p = peer_new(NULL);
    p->id = "nobody.example.net";
    assert_int_equal(refusal().n, n);
    assert_span_equal(span_of(p->inner, p->inner_len), span_of(inner, inner_len));
    assert_int_equal(peer_count(p, IKE_COUNT_FAIL_IDENTITY), 1);
}

static void refused_auth_is_repeated_from_memory(void **state)
{
    (void)state;
    uint8_t first[256];
    p->psk = "another key of sufficient length.....";
    struct span d = refusal();
    size_t n = d.n;
    memcpy(first, d.p, n);
    peer_repeat(p);
    assert_span_equal(buf_span(&peer_act(p, ACT_SEND)->datagram), span_of(first, n));
    p->now += 60 * NS_PER_S;
    ike_tick(p->ike, p->now, &p->acts);
    peer_repeat(p);
    assert_int_equal(ike_deadline(p->ike), NEVER);
}

static void required_pq_refuses_a_classical_sa(void **state)
{
    (void)state;
    struct tunnel_policy t = peer_tunnel();
    t.pq = PQ_REQUIRE;
    peer_set_tunnel(p, &t);
    p->addke = 0;
    peer_init(p);
    assert_false(peer_auth(p));
    assert_int_equal(peer_notify(p), N_AUTHENTICATION_FAILED);
    assert_int_equal(peer_count(p, IKE_COUNT_FAIL_PQ_REQUIRED), 1);
    assert_non_null(strstr(p->last_reason, "post-quantum"));
}

static void strict_peer_refuses_another_address(void **state)
{
    (void)state;
    struct tunnel_policy t = peer_tunnel();
    t.strict_peer = true;
    OK(addr_parse("192.0.2.77", &t.customer_endpoint));
    peer_set_tunnel(p, &t);
    refusal();
    assert_int_equal(peer_count(p, IKE_COUNT_FAIL_PEER_ADDRESS), 1);
}

static void psk_past_its_date_is_refused_and_one_before_it_taken(void **state)
{
    (void)state;
    struct tunnel_policy t = peer_tunnel();
    t.psks[1] = t.psks[0];
    t.psks[0] = (struct psk){.value = span_str("the newer key, which the peer has not got yet")};
    t.psks[1].not_after = 1000000 + 1000 + 10; /* ten seconds from now */
    t.n_psks = 2;
    peer_set_tunnel(p, &t);
    peer_up(p); /* answered under the key the peer used */
    peer_free(p);
    p = peer_new(NULL);
    peer_set_tunnel(p, &t);
    p->now += 11 * NS_PER_S;
    refusal();
    assert_non_null(strstr(p->last_reason, "not_after"));
}

static void missing_or_foreign_auth_is_refused(void **state)
{
    (void)state;
    static const struct peer_auth_bend BENDS[] = {{.no_auth = true}, {.method = AUTH_RSA}, {.method = AUTH_NULL}};
    for (size_t i = 0; i < ARRAY_LEN(BENDS); i++) {
        peer_free(p);
        p = peer_new(NULL);
        peer_init(p);
        peer_intermediate(p);
        peer_make_auth(p, &BENDS[i]);
        peer_repeat(p);
        assert_true(peer_open(p, &p->keys, NULL));
        assert_int_equal(peer_notify(p), N_AUTHENTICATION_FAILED);
    }
}

static void unknown_critical_payload_is_named(void **state)
{
    (void)state;
    const struct peer_auth_bend bend = {.extra = 200};
    struct ike_notify n;
    peer_init(p);
    peer_intermediate(p);
    peer_make_auth(p, &bend);
    peer_repeat(p);
    assert_true(peer_open(p, &p->keys, NULL));
    OK(ike_notify_read(ike_chain_find(&p->chain, PAYLOAD_NOTIFY)->body, &n));
    assert_int_equal(n.type, N_UNSUPPORTED_CRITICAL_PAYLOAD);
    assert_span_equal(n.data, hex("c8"));
}

static void child_that_fails_leaves_the_ike_sa_up(void **state)
{
    (void)state;
    p->esn = true; /* only ESN offered */
    peer_init(p);
    peer_intermediate(p);
    assert_true(peer_auth(p));
    assert_int_equal(peer_notify(p), N_NO_PROPOSAL_CHOSEN);
    assert_null(peer_act(p, ACT_CHILD_UP));
    assert_true(only_sa().established);
    assert_int_equal(only_sa().children, 0);
}

static void selectors_outside_the_policy_leave_the_ike_sa_up(void **state)
{
    (void)state;
    struct tunnel_policy t = peer_tunnel();
    OK(addr_parse("10.9.0.0", &t.ts_remote[0].first));
    OK(addr_parse("10.9.255.255", &t.ts_remote[0].last));
    peer_set_tunnel(p, &t);
    peer_init(p);
    peer_intermediate(p);
    assert_true(peer_auth(p));
    assert_int_equal(peer_notify(p), N_TS_UNACCEPTABLE);
    assert_int_equal(peer_count(p, IKE_COUNT_FAIL_SELECTORS), 1);
}

static void initial_contact_replaces_the_old_sa(void **state)
{
    (void)state;
    peer_up(p);
    uint32_t old = peer_act(p, ACT_CHILD_UP)->child->spi_in;
    p->spi_i = rng_u64(&p->own_rng);
    p->init_request_len = 0;
    p->int_auth = false;
    p->initial_contact = true;
    peer_up(p);
    assert_int_equal(peer_act(p, ACT_CHILD_DOWN)->spi_in, old);
    assert_int_equal(only_sa().spi_r, p->spi_r);
}

/* ---- after the handshake */

static void liveness_is_answered_empty(void **state)
{
    (void)state;
    struct ike_writer iw;
    uint8_t bytes[16];
    peer_up(p);
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    assert_true(peer_ask(p, INFORMATIONAL, &iw));
    assert_int_equal(p->inner_len, 0);
}

static void delete_of_the_child_is_answered_with_ours(void **state)
{
    (void)state;
    struct ike_writer iw;
    struct ike_delete d;
    uint8_t bytes[64];
    uint32_t spi = 0xc0ffee01;
    peer_up(p);
    uint32_t ours = peer_act(p, ACT_CHILD_UP)->child->spi_in;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_delete_esp(&iw, &spi, 1);
    assert_true(peer_ask(p, INFORMATIONAL, &iw));
    OK(ike_delete_read(ike_chain_find(&p->chain, PAYLOAD_DELETE)->body, &d));
    assert_int_equal(d.n, 1);
    assert_int_equal(rd_u32(&d.spis), ours);
    assert_int_equal(peer_act(p, ACT_CHILD_DOWN)->spi_in, ours);
    assert_int_equal(only_sa().children, 0);
}

static void delete_of_the_ike_sa_is_answered_empty_and_ends_it(void **state)
{
    (void)state;
    struct ike_writer iw;
    uint8_t bytes[64];
    peer_up(p);
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_delete_ike(&iw);
    assert_true(peer_ask(p, INFORMATIONAL, &iw));
    assert_int_equal(p->inner_len, 0);
    assert_non_null(peer_act(p, ACT_CHILD_DOWN));
    assert_int_equal(peer_act(p, ACT_DOWN)->sa, p->spi_r);
    assert_true(ike_idle(p->ike));
    peer_repeat(p); /* its answer got lost: the same again */
    assert_int_equal(peer_sent(p), 1);
}

static void create_child_sa_is_refused_lawfully(void **state)
{
    (void)state;
    struct ike_writer iw;
    uint8_t bytes[256];
    struct ike_transform_out t[2] = {{T_ENCR, ENCR_AES_GCM_16, 256}, {T_ESN, 0, 0}};
    peer_up(p);
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee02"), t, 2);
    ike_write_nonce(&iw, span_of(p->ni, sizeof p->ni));
    assert_true(peer_ask(p, CREATE_CHILD_SA, &iw));
    assert_int_equal(peer_notify(p), N_NO_ADDITIONAL_SAS);
    assert_true(only_sa().established);
}

static void unknown_spi_is_told_so_without_amplification(void **state)
{
    (void)state;
    struct ike_notify n;
    struct ike_writer iw;
    uint8_t bytes[16];
    peer_up(p);
    p->spi_r ^= 1;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    struct span inner;
    OK(ike_write_finish(&iw, &inner));
    peer_make(p, INFORMATIONAL, PAYLOAD_NONE, inner, 0);
    peer_repeat(p);
    assert_int_equal(peer_plain_notify(p, &n), N_INVALID_IKE_SPI);
    assert_true(peer_act(p, ACT_SEND)->datagram.n <= p->request_len[0]);
}

/* ---- our own requests */

static void answer_own_request(uint8_t first, struct span inner)
{
    struct ike_header h;
    OK(ike_header_read(buf_span(&peer_act(p, ACT_SEND)->datagram), &h));
    assert_int_equal(h.flags, 0); /* a request from the original responder */
    struct ike_header reply = peer_header(p, h.exchange);
    reply.flags |= IKE_FLAG_RESPONSE;
    reply.mid = h.mid;
    p->n_request = 0;
    peer_seal(p, reply, first, inner, 0, 0);
    peer_repeat(p);
}

static void removed_tunnel_sends_delete_and_ends_when_answered(void **state)
{
    (void)state;
    const struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_REMOVE, .handle = TUNNEL};
    peer_up(p);
    acts_clear(p->ike, &p->acts);
    OK(ike_command(p->ike, p->now, &cmd, &p->acts));
    assert_non_null(peer_act(p, ACT_CHILD_DOWN));
    assert_non_null(peer_act(p, ACT_DOWN));
    assert_true(peer_open(p, &p->keys, NULL));
    assert_non_null(ike_chain_find(&p->chain, PAYLOAD_DELETE));
    assert_false(ike_idle(p->ike));
    answer_own_request(PAYLOAD_NONE, span_of(NULL, 0));
    assert_true(ike_idle(p->ike));
    assert_int_equal(ike_command(p->ike, p->now, &cmd, &p->acts), RC_ABSENT);
}

static void unanswered_request_is_repeated_and_given_up(void **state)
{
    (void)state;
    const struct ike_cmd cmd = {.type = IKE_CMD_SHUTDOWN};
    size_t sent = 0;
    peer_up(p);
    acts_clear(p->ike, &p->acts);
    OK(ike_command(p->ike, p->now, &cmd, &p->acts));
    sent += peer_sent(p);
    while (!ike_idle(p->ike)) {
        p->now = ike_deadline(p->ike);
        assert_int_not_equal(p->now, NEVER);
        acts_clear(p->ike, &p->acts);
        ike_tick(p->ike, p->now, &p->acts);
        sent += peer_sent(p);
    }
    assert_int_equal(sent, 13); /* first and retransmit_tries */
}

static void expired_child_is_deleted_by_request(void **state)
{
    (void)state;
    peer_up(p);
    uint32_t spi = peer_act(p, ACT_CHILD_UP)->child->spi_in;
    const struct ike_cmd cmd = {.type = IKE_CMD_ESP_EXPIRE, .spi_in = spi};
    acts_clear(p->ike, &p->acts);
    OK(ike_command(p->ike, p->now, &cmd, &p->acts));
    assert_true(peer_open(p, &p->keys, NULL));
    assert_null(peer_act(p, ACT_CHILD_DOWN)); /* not before the peer has answered */
    answer_own_request(PAYLOAD_NONE, span_of(NULL, 0));
    assert_int_equal(peer_act(p, ACT_CHILD_DOWN)->spi_in, spi);
    assert_true(only_sa().established);
}

static void ike_lifetime_ends_in_a_delete(void **state)
{
    (void)state;
    peer_up(p);
    acts_clear(p->ike, &p->acts);
    p->now += 25 * 3600 * NS_PER_S;
    ike_tick(p->ike, p->now, &p->acts);
    assert_non_null(peer_act(p, ACT_DOWN));
    assert_non_null(peer_act(p, ACT_SEND));
}

static void changed_secret_ends_the_sa_and_other_changes_do_not(void **state)
{
    (void)state;
    struct tunnel_policy t = peer_tunnel();
    peer_up(p);
    acts_clear(p->ike, &p->acts);
    t.n_psks = 2;
    t.psks[1] = (struct psk){.value = span_str("a second key for the rotation")};
    peer_set_tunnel(p, &t);
    assert_int_equal(p->acts.n, 0);
    t.psks[0] = t.psks[1];
    t.n_psks = 1;
    peer_set_tunnel(p, &t);
    assert_non_null(peer_act(p, ACT_DOWN));
}

static void identity_is_looked_up_with_the_local_address(void **state)
{
    (void)state;
    struct tunnel_policy t = peer_tunnel();
    t.tunnel = TUNNEL + 1;
    t.name = "branch";
    const struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_SET, .tunnel = &t};
    assert_int_equal(ike_command(p->ike, p->now, &cmd, &p->acts), RC_EXISTS);
    OK(addr_parse("198.51.100.3", &t.endpoint));
    OK(ike_command(p->ike, p->now, &cmd, &p->acts)); /* the same name at another address of ours */
    p->path.local.addr = t.endpoint;
    peer_up(p);
    assert_int_equal(peer_act(p, ACT_UP)->tunnel, TUNNEL + 1);
}

static void peer_behind_nat_is_followed(void **state)
{
    (void)state;
    struct ike_writer iw;
    uint8_t bytes[16];
    peer_init(p);
    p->path.local.port = 4500;
    p->path.remote.port = 4500;
    peer_intermediate(p);
    assert_true(peer_auth(p));
    assert_true(peer_act(p, ACT_CHILD_UP)->child->udp); /* 4500 and not a word about NAT: in UDP */
    p->path.remote.port = 7777;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    assert_true(peer_ask(p, INFORMATIONAL, &iw));
    assert_int_equal(peer_act(p, ACT_CHILD_MOVED)->path.remote.port, 7777);
    OK(addr_parse("203.0.113.9", &p->path.remote.addr)); /* no NAT seen: another address does not move the SA */
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    assert_true(peer_ask(p, INFORMATIONAL, &iw));
    assert_null(peer_act(p, ACT_CHILD_MOVED));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hybrid_handshake_comes_up),
        CASE(child_keys_are_those_the_initiator_derives),
        CASE(classical_handshake_comes_up),
        CASE(cbc_modp_handshake_comes_up),
        CASE(ml_kem_1024_handshake_comes_up_in_fragments),
        CASE(full_transcript_is_signed_when_both_ask),
        CASE(address_of_a_peer_on_500_without_nat_gets_plain_esp_and_4500_marker),
        CASE(no_proposal_chosen_is_said_and_explained),
        CASE(hybrid_without_intermediate_support_is_refused),
        CASE(unknown_local_address_is_silent),
        CASE(bad_headers_are_silent),
        CASE(higher_major_version_is_told_ours),
        CASE(ke_of_another_group_is_told_ours),
        CASE(flood_gets_cookies_and_the_honest_comes_through),
        CASE(full_half_open_table_drops_its_oldest),
        CASE(repeated_init_gets_the_same_octets),
        CASE(init_repeated_after_the_next_exchange_is_ignored),
        CASE(repeated_intermediate_is_answered_although_keys_changed),
        CASE(only_fragment_one_makes_the_answer_repeat),
        CASE(request_cut_anew_gets_the_stored_answer),
        CASE(repeated_request_is_answered_at_a_bounded_rate),
        CASE(message_ids_outside_the_window_are_silent),
        CASE(flipped_bit_leaves_no_trace),
        CASE(fragment_that_does_not_authenticate_is_not_stored),
        CASE(half_open_sa_times_out),
        CASE(auth_before_all_keys_is_silent),
        CASE(intermediate_that_was_not_negotiated_is_silent),
        CASE(requests_before_auth_are_silent),
        CASE(wrong_psk_and_unknown_identity_look_alike),
        CASE(refused_auth_is_repeated_from_memory),
        CASE(required_pq_refuses_a_classical_sa),
        CASE(strict_peer_refuses_another_address),
        CASE(psk_past_its_date_is_refused_and_one_before_it_taken),
        CASE(missing_or_foreign_auth_is_refused),
        CASE(unknown_critical_payload_is_named),
        CASE(child_that_fails_leaves_the_ike_sa_up),
        CASE(selectors_outside_the_policy_leave_the_ike_sa_up),
        CASE(initial_contact_replaces_the_old_sa),
        CASE(liveness_is_answered_empty),
        CASE(delete_of_the_child_is_answered_with_ours),
        CASE(delete_of_the_ike_sa_is_answered_empty_and_ends_it),
        CASE(create_child_sa_is_refused_lawfully),
        CASE(unknown_spi_is_told_so_without_amplification),
        CASE(removed_tunnel_sends_delete_and_ends_when_answered),
        CASE(unanswered_request_is_repeated_and_given_up),
        CASE(expired_child_is_deleted_by_request),
        CASE(ike_lifetime_ends_in_a_delete),
        CASE(changed_secret_ends_the_sa_and_other_changes_do_not),
        CASE(identity_is_looked_up_with_the_local_address),
        CASE(peer_behind_nat_is_followed),
    };
    return cmocka_run_group_tests_name("ike: engine", tests, NULL, NULL);
}
