/* Adversarial list, rows 17, 33, 35: what an authenticated peer may ask for afterwards. */
#include "lib/adv.h"

static void want(enum initiator_job_type type, uint32_t spi_in)
{
    adv->i->child_refused = 0;
    initiator_want(adv->i, adv->e->now, (struct initiator_job){.type = type, .spi_in = spi_in});
    pair_carry(adv);
}

static struct ike_sa_info only_sa(void)
{
    struct ike_sa_info info = {0};
    assert_int_equal(edge_sas(adv->e, &info), 1);
    return info;
}

/* ---- row 17 */

static void adv_17_ike_rekey_without_the_additional_exchange(void **state)
{
    (void)state;
    adv->i->wish.ike.addke[0] = KE_ML_KEM_768;
    pair_connect(adv);
    uint64_t spi = only_sa().spi_r;
    adv->i->wish.ike.addke[0] = KE_NONE;
    want(JOB_IKE_REKEY, 0);
    assert_int_equal(adv->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    assert_true(only_sa().spi_r == spi && only_sa().established_pq);
    pair_assert_agree(adv);
    adv->i->wish.ike.addke[0] = KE_ML_KEM_768;
    want(JOB_IKE_REKEY, 0);
    assert_true(only_sa().spi_r != spi && only_sa().established_pq);
    pair_assert_agree(adv);
}

/* It promises the exchange, and then does not make it: the old SA stays. */
static void adv_17_promised_exchange_that_never_comes(void **state)
{
    (void)state;
    adv->i->wish.ike.addke[0] = KE_ML_KEM_768;
    pair_connect(adv);
    uint64_t spi = only_sa().spi_r;
    initiator_want(adv->i, adv->e->now, (struct initiator_job){.type = JOB_IKE_REKEY});
    pair_give(adv);
    assert_true(pair_take(adv));
    initiator_forget_out(adv->i);
    initiator_done(initiator_current(adv->i));
    initiator_current(adv->i)->mid_out--;
    adv->e->now += 60 * NS_PER_S;
    edge_tick(adv->e);
    edge_clear(adv->e);
    assert_true(only_sa().spi_r == spi);
    assert_true(edge_count(adv->e, IKE_COUNT_FAIL_TIMEOUT) > 0);
    pair_assert_agree(adv);
}

/* ---- row 33 */

struct rekey {
    const char *notify; /* body */
    uint16_t answer;
};
static void rekey_of(struct draft *d, const void *arg)
{
    draft_remove_notify(d, N_REKEY_SA);
    draft_append(d, PAYLOAD_NOTIFY, false, hex(((const struct rekey *)arg)->notify));
}

static void adv_33_rekey_of_what_is_none(void **state)
{
    static const struct rekey CASES[] = {
        {"03 04 4009 c0ffee99", N_CHILD_SA_NOT_FOUND},
        {"03 04 4009 00000000", N_CHILD_SA_NOT_FOUND},
        {"00 04 4009 c0ffee99", N_CHILD_SA_NOT_FOUND},
        {"01 04 4009 c0ffee99", N_CHILD_SA_NOT_FOUND},
        {"02 04 4009 c0ffee99", N_CHILD_SA_NOT_FOUND},
        {"ff 04 4009 c0ffee99", N_CHILD_SA_NOT_FOUND},
        {"03 00 4009", N_CHILD_SA_NOT_FOUND},
        {"03 08 4009 0011223344556677", N_CHILD_SA_NOT_FOUND},
        {"01 08 4009 0011223344556677", N_CHILD_SA_NOT_FOUND},
    };
    (void)state;
    pair_connect(adv);
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++) {
        struct adv_bend b = {CREATE_CHILD_SA, rekey_of, &CASES[k]};
        uint32_t child = adv->i->child[0].spi_in;
        adv_bend(adv, &b);
        initiator_want(adv->i, adv->e->now, (struct initiator_job){.type = JOB_CHILD_REKEY, .spi_in = child});
        pair_give(adv);
        assert_null(edge_act(adv->e, ACT_CHILD_UP));
        assert_null(edge_act(adv->e, ACT_CHILD_DOWN));
        struct initiator_sa *sa = initiator_current(adv->i);
        const struct act *act = edge_act(adv->e, ACT_SEND);
        assert_int_equal(session_open(&sa->s, buf_span(&act->datagram), &adv->i->last), OPENED_WHOLE);
        assert_int_equal(plain_error(&adv->i->last), CASES[k].answer);
        initiator_done(sa); /* as if nothing had been said */
        edge_clear(adv->e);
        adv->e->now += 10 * NS_PER_S;
        adv_bend(adv, NULL);
        pair_assert_agree(adv);
    }
}

static void adv_33_rekey_of_another_peers_child(void **state)
{
    struct tunnel_policy t = edge_tunnel();
    (void)state;
    pair_connect(adv);
    const struct child_sa theirs = adv->e->child[0];
    /* Another customer at another tunnel, who knows all there is to know about it. */
    struct initiator *victim = adv->i;
    adv->i = initiator_new(&adv->rng, "192.0.2.9", EDGE_ADDRESS);
    adv->i->wish.ike = victim->wish.ike;
    adv->i->wish.id.data[0] = 'x';
    t.tunnel = EDGE_TUNNEL + 1;
    t.identities[0].data[0] = 'x';
    edge_set(adv->e, &t);
    pair_connect(adv);
    assert_int_equal(adv->e->n_children, 2);
    const uint32_t spis[] = {theirs.spi_out, theirs.spi_in};
    for (size_t k = 0; k < ARRAY_LEN(spis); k++) {
        struct ike_writer iw = {0};
        uint8_t bytes[512], spi[4], nonce[32] = {0};
        struct ike_transform_out esp[16];
        const struct ike_ts ts = {.type = TS_IPV4_ADDR_RANGE,
                                  .port_last = UINT16_MAX,
                                  .first = adv->i->wish.ts_remote.first,
                                  .last = adv->i->wish.ts_remote.last};
        struct wr w = wr_of(spi, sizeof spi);
        wr_u32(&w, spis[k]);
        ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
        ike_write_notify(&iw, PROTO_ESP, wr_span(&w), N_REKEY_SA, span_of(NULL, 0));
        ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee77"), esp,
                     initiator_transforms(&adv->i->wish.esp, false, false, esp));
        ike_write_nonce(&iw, span_of(nonce, sizeof nonce));
        ike_write_ts(&iw, PAYLOAD_TSI, &ts, 1);
        ike_write_ts(&iw, PAYLOAD_TSR, &ts, 1);
        assert_true(pair_ask(adv, CREATE_CHILD_SA, &iw));
        assert_int_equal(adv->i->refused, N_CHILD_SA_NOT_FOUND);
        ike_write_inner(&iw, wr_of(bytes, sizeof bytes)); /* nor can he delete it */
        ike_write_delete_esp(&iw, &spis[k], 1);
        assert_true(pair_ask(adv, INFORMATIONAL, &iw));
        assert_int_equal(adv->i->last.n, 0);
        const struct child_sa *still = edge_child(adv->e, theirs.spi_in);
        assert_non_null(still);
        assert_memory_equal(still->key_in, theirs.key_in, theirs.key_len);
        assert_int_equal(still->tunnel, EDGE_TUNNEL);
    }
    edge_clear(adv->e);
    OK(edge_command(adv->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_RESET, .handle = EDGE_TUNNEL + 1}));
    pair_carry(adv);
    initiator_free(adv->i);
    adv->i = victim;
    pair_assert_agree(adv);
}

/* ---- row 35 */

static void adv_35_more_than_a_hundred_children(void **state)
{
    (void)state;
    pair_connect(adv);
    unsigned refused = 0;
    for (int k = 0; k < 150; k++) {
        adv->e->now += NS_PER_S;
        edge_tick(adv->e);
        want(JOB_CHILD_NEW, 0);
        if (adv->i->child_refused) {
            assert_int_equal(adv->i->child_refused, N_NO_ADDITIONAL_SAS);
            refused++;
        }
        assert_in_range(adv->e->n_children, 1, 100);
    }
    assert_int_equal(adv->e->n_children, 100);
    assert_int_equal(refused, 51);
    pair_assert_agree(adv);
}

static void adv_35_ten_thousand_requests_in_a_second(void **state)
{
    uint8_t bytes[512], nonce[32] = {0};
    struct ike_transform_out esp[16];
    unsigned busy = 0, others = 0;
    (void)state;
    pair_connect(adv);
    for (int k = 0; k < 10000; k++) {
        struct ike_writer iw;
        const struct ts *any = &adv->i->wish.ts_remote;
        const struct ike_ts ts = {
            .type = TS_IPV4_ADDR_RANGE, .port_last = UINT16_MAX, .first = any->first, .last = any->last};
        adv->e->now += NS_PER_S / 10000;
        edge_tick(adv->e);
        ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
        ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee77"), esp,
                     initiator_transforms(&adv->i->wish.esp, false, false, esp));
        ike_write_nonce(&iw, span_of(nonce, sizeof nonce));
        ike_write_ts(&iw, PAYLOAD_TSI, &ts, 1);
        ike_write_ts(&iw, PAYLOAD_TSR, &ts, 1);
        assert_true(pair_ask(adv, CREATE_CHILD_SA, &iw));
        busy += adv->i->refused == N_TEMPORARY_FAILURE;
        others += adv->i->refused == N_NO_ADDITIONAL_SAS;
    }
    assert_true(busy > 9000); /* a bucket per tunnel */
    assert_in_range(adv->e->n_children, 1, 100);
    assert_int_equal(busy + others + adv->e->n_children - 1, 10000);
}

static void adv_35_a_rekey_every_second(void **state)
{
    (void)state;
    adv->i->wish.ike.addke[0] = KE_ML_KEM_768;
    pair_connect(adv);
    for (int k = 0; k < 300; k++) {
        adv->e->now += NS_PER_S;
        edge_tick(adv->e);
        initiator_tick(adv->i, adv->e->now);
        pair_carry(adv);
        assert_int_equal(adv->i->n_children, 1);
        want(k % 3 ? JOB_CHILD_REKEY : JOB_IKE_REKEY, k % 3 ? adv->i->child[0].spi_in : 0);
        assert_in_range(adv->e->n_children, 1, 2);
    }
    pair_pass(adv, 120 * NS_PER_S);
    assert_int_equal(adv->e->n_children, 1);
    assert_int_equal(only_sa().children, 1);
    pair_assert_agree(adv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADV(adv_17_ike_rekey_without_the_additional_exchange),
        ADV(adv_17_promised_exchange_that_never_comes),
        ADV(adv_33_rekey_of_what_is_none),
        ADV(adv_33_rekey_of_another_peers_child),
        ADV(adv_35_more_than_a_hundred_children),
        ADV(adv_35_ten_thousand_requests_in_a_second),
        ADV(adv_35_a_rekey_every_second),
    };
    return cmocka_run_group_tests_name("adversarial: authenticated peers", tests, NULL, NULL);
}
