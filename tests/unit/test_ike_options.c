/* What an operator switches: downgrade protection, pq: off, ESP without encryption. */
#include "lib/adv.h"

static struct pair *p;
static struct ike_policy policy;
static struct tunnel_policy tunnel;

static int set_up(void **state)
{
    (void)state;
    ike_policy_default(&policy);
    tunnel = edge_tunnel();
    p = pair_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    return 0;
}

static void start_over(void)
{
    pair_free(p);
    p = pair_new(&policy);
    edge_set(p->e, &tunnel);
}

/* ---- notify 16447: what the edge signs, put together here by hand */

static struct buf request, response; /* IKE_SA_INIT */

static bool has_notify(struct span message, uint16_t type)
{
    struct ike_header h;
    struct ike_chain chain;
    struct ike_error error;
    struct ike_notify n;
    OK(ike_header_read(message, &h));
    OK(ike_chain_read(h.next, span_of(message.p + IKE_HEADER_SIZE, message.n - IKE_HEADER_SIZE), &chain, &error));
    return ike_notify_find(&chain, type, &n);
}

static struct span nonce_of(struct span message)
{
    static struct ike_chain chain;
    struct ike_header h;
    struct ike_error error;
    OK(ike_header_read(message, &h));
    OK(ike_chain_read(h.next, span_of(message.p + IKE_HEADER_SIZE, message.n - IKE_HEADER_SIZE), &chain, &error));
    return ike_chain_find(&chain, PAYLOAD_NONCE)->body;
}

/* AUTH = prf(prf(PSK, pad), [0^8 | received |] sent | Ni | prf(SK_pr, ID)), without IKE_INTERMEDIATE */
static void assert_auth(bool transcript)
{
    static uint8_t octets[8192];
    static const uint8_t ZERO[8];
    const uint16_t prf = PRF_HMAC_SHA2_384;
    const struct span pad = span_str("Key Pad for IKEv2");
    uint8_t key[PRF_MAX], id[PRF_MAX], expected[PRF_MAX];
    struct wr w = wr_of(octets, sizeof octets);
    struct span idr = ike_chain_find(&p->i->last.chain, PAYLOAD_IDR)->body;
    struct ike_auth auth;
    OK(crypto_prf(p->e->crypto, prf, tunnel.psks[0].value, &pad, 1, key));
    OK(crypto_prf(p->e->crypto, prf, span_of(initiator_current(p->i)->s.keys.pr, 48), &idr, 1, id));
    if (transcript) {
        wr_bytes(&w, span_of(ZERO, sizeof ZERO));
        wr_bytes(&w, buf_span(&request));
    }
    wr_bytes(&w, buf_span(&response));
    wr_bytes(&w, nonce_of(buf_span(&request)));
    wr_bytes(&w, span_of(id, 48));
    struct span all = wr_span(&w);
    OK(crypto_prf(p->e->crypto, prf, span_of(key, 48), &all, 1, expected));
    OK(ike_auth_read(ike_chain_find(&p->i->last.chain, PAYLOAD_AUTH)->body, &auth));
    assert_span_equal(auth.data, span_of(expected, 48));
}

static void both_forms_of_auth_and_all_four_announcements(void **state)
{
    (void)state;
    for (int ours = 0; ours < 2; ours++)
        for (int theirs = 0; theirs < 2; theirs++) {
            policy.downgrade_protection = ours;
            start_over();
            p->i->wish.full_transcript = theirs;
            p->i->wish.ike.addke[0] = 0;
            initiator_connect(p->i, p->e->now);
            pair_give(p);
            OK(buf_set(&request, buf_span(&p->sent.v[0])));
            OK(buf_set(&response, buf_span(&edge_act(p->e, ACT_SEND)->datagram)));
            assert_int_equal(has_notify(buf_span(&request), N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH), theirs);
            assert_int_equal(has_notify(buf_span(&response), N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH), ours);
            pair_carry(p);
            assert_non_null(initiator_current(p->i));
            assert_auth(ours && theirs);
            pair_assert_agree(p); /* and the peer's proof, in the same form, was taken */
        }
    buf_free(&request);
    buf_free(&response);
}

static void announce(struct draft *d, const void *arg)
{
    (void)arg;
    draft_append_notify(d, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, span_of(NULL, 0));
}
static void conceal(struct draft *d, const void *arg)
{
    (void)arg;
    draft_remove_notify(d, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH);
}

/* A peer that signs in the other form than it announced proves nothing. */
static void wrong_form_of_auth_is_refused(void **state)
{
    (void)state;
    struct adv_bend more = {IKE_SA_INIT, announce, NULL}, less = {IKE_SA_INIT, conceal, NULL};
    for (int k = 0; k < 2; k++) {
        start_over();
        p->i->wish.full_transcript = k;
        adv_bend(p, k ? &less : &more);
        initiator_connect(p->i, p->e->now);
        pair_carry(p);
        assert_int_equal(p->i->refused, N_AUTHENTICATION_FAILED);
        assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_PSK), 1);
    }
}

/* ---- pq: off */

static struct tunnel_policy neighbour(const char *name)
{
    struct tunnel_policy t = edge_tunnel();
    t.tunnel = 9;
    t.name = name;
    t.identities[0].n = (uint16_t)strlen(name);
    memcpy(t.identities[0].data, name, strlen(name));
    return t;
}

static void endpoint_where_all_are_off_chooses_no_additional_exchange(void **state)
{
    (void)state;
    struct tunnel_policy other = neighbour("branch.example.net");
    tunnel.pq = PQ_OFF;
    start_over();
    initiator_connect(p->i, p->e->now); /* insists on ML-KEM */
    pair_carry(p);
    assert_int_equal(p->i->refused, N_NO_PROPOSAL_CHOSEN);
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_PROPOSAL), 1);

    start_over();
    p->i->wish.ike.addke[0] = 0;
    pair_connect(p); /* classical */

    start_over();
    edge_set(p->e, &other); /* one that prefers it, at the same endpoint */
    pair_connect(p);
    struct ike_sa_info sa;
    assert_int_equal(edge_sas(p->e, &sa), 1);
    assert_true(sa.established_pq);

    start_over();
    edge_set(p->e, &other);
    other.pq = PQ_OFF;
    edge_set(p->e, &other); /* and turns away from it */
    initiator_connect(p->i, p->e->now);
    pair_carry(p);
    assert_int_equal(p->i->refused, N_NO_PROPOSAL_CHOSEN);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_REMOVE, .handle = 9}));
}

static void optional_additional_exchange_is_left_out_where_all_are_off(void **state)
{
    /* AES-GCM-16-256, PRF SHA2-384, ECP-384, ADDKE1 ML-KEM-768 or NONE */
    static const char BODY[] = "00000034 01010005 0300000c01000014800e0100 0300000802000006 0300000804000014"
                               " 0300000806000024 0000000806000000";
    (void)state;
    for (int off = 0; off < 2; off++) {
        tunnel.pq = off ? PQ_OFF : PQ_PREFER;
        start_over();
        p->i->wish.ike.addke[0] = 0;
        initiator_connect(p->i, p->e->now);
        pair_give(p);
        struct ike_header h;
        struct buf init = {0};
        struct span old = buf_span(&p->sent.v[0]);
        OK(ike_header_read(old, &h));
        /* The SA payload is the first: replaced by the one above, in a message with another SPI. */
        struct rd r = rd_of(old);
        rd_take(&r, IKE_HEADER_SIZE);
        uint8_t next = rd_u8(&r);
        rd_u8(&r);
        uint16_t length = rd_u16(&r);
        rd_take(&r, length - 4u);
        assert_int_equal(h.next, PAYLOAD_SA);
        struct span body = hex(BODY), rest = rd_rest(&r);
        uint8_t bytes[2048];
        struct wr w = wr_of(bytes, sizeof bytes);
        h.spi_i++;
        h.length = (uint32_t)(IKE_HEADER_SIZE + 4 + body.n + rest.n);
        ike_header_write(&w, &h);
        wr_u8(&w, next);
        wr_u8(&w, 0);
        wr_u16(&w, (uint16_t)(4 + body.n));
        wr_bytes(&w, body);
        wr_bytes(&w, rest);
        OK(buf_set(&init, wr_span(&w)));
        pair_give_octets(p, buf_span(&init));
        buf_free(&init);
        struct ike_sa_info sa = {0}, other;
        for (size_t c = ike_sa_next(p->e->ike, 0, &other); c; c = ike_sa_next(p->e->ike, c, &other))
            if (other.spi_i == h.spi_i)
                sa = other;
        assert_string_equal(sa.state, off ? "awaiting-auth" : "adding-keys");
        assert_int_equal(sa.suite.addke[0], off ? 0 : KE_ML_KEM_768);
    }
}

static void rekey_keeps_what_the_sa_has_although_off(void **state)
{
    (void)state;
    pair_connect(p);
    tunnel.pq = PQ_OFF;
    edge_set(p->e, &tunnel);
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_IKE_REKEY});
    initiator_tick(p->i, p->e->now);
    edge_clear(p->e);
    pair_give(p);
    pair_carry(p);
    struct ike_sa_info sa;
    assert_int_equal(edge_count(p->e, IKE_COUNT_IKE_REKEYED), 1);
    assert_int_equal(edge_sas(p->e, &sa), 1);
    assert_true(sa.established_pq);
    pair_assert_agree(p);
}

/* ---- allow_null_cipher */

static void esp_without_encryption_by_opt_in_only(void **state)
{
    (void)state;
    for (int allowed = 0; allowed < 2; allowed++) {
        tunnel.allow_null_cipher = allowed;
        start_over();
        p->i->wish.esp = (struct suite){.encr = ENCR_NULL, .integ = INTEG_HMAC_SHA2_256_128};
        initiator_connect(p->i, p->e->now);
        pair_carry(p);
        assert_non_null(initiator_current(p->i)); /* the IKE SA in either case */
        assert_int_equal(p->i->child_refused, allowed ? 0 : N_NO_PROPOSAL_CHOSEN);
        assert_int_equal(p->e->n_children, allowed);
        if (allowed)
            assert_int_equal(p->e->child[0].alg.encr, ENCR_NULL);
        pair_assert_agree(p);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(both_forms_of_auth_and_all_four_announcements),
        CASE(wrong_form_of_auth_is_refused),
        CASE(endpoint_where_all_are_off_chooses_no_additional_exchange),
        CASE(optional_additional_exchange_is_left_out_where_all_are_off),
        CASE(rekey_keeps_what_the_sa_has_although_off),
        CASE(esp_without_encryption_by_opt_in_only),
    };
    return cmocka_run_group_tests_name("ike: options", tests, NULL, NULL);
}
