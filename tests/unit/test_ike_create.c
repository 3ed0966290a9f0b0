/* CREATE_CHILD_SA that the peer begins: more children, rekeys of both kinds, and every way to refuse them. */
#include "sim/lib/one_pair.h"

/* ---- children */

static void further_children_come_up_without_pfs(void **state)
{
    (void)state;
    connect_with(KE_NONE, KE_NONE);
    for (int k = 0; k < 3; k++)
        want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->e->n_children, 4);
    assert_int_equal(only_sa().children, 4);
    assert_int_equal(edge_count(p->e, IKE_COUNT_CHILDREN), 3);
    pair_assert_agree(p);
}

static void pfs_of_every_group(void **state)
{
    (void)state;
    static const uint16_t GROUPS[] = {KE_ECP384, KE_MODP2048, KE_MODP1536};
    pair_connect(p);
    for (size_t k = 0; k < ARRAY_LEN(GROUPS); k++) {
        p->i->wish.esp.ke = GROUPS[k];
        want_and_carry(JOB_CHILD_NEW, 0);
        want_and_carry(JOB_CHILD_REKEY, first_child());
        assert_int_equal(p->i->child_refused, 0);
    }
    assert_int_equal(p->e->n_children, 4);
    pair_assert_agree(p);
}

static void child_up_stands_before_the_answer(void **state)
{
    (void)state;
    connect_with(KE_ECP384, KE_NONE);
    want(JOB_CHILD_NEW, 0);
    pair_give(p);
    assert_int_equal(p->e->acts.n, 2);
    assert_int_equal(p->e->acts.v[0].type, ACT_CHILD_UP);
    assert_int_equal(p->e->acts.v[1].type, ACT_SEND);
    assert_int_equal(p->e->acts.v[0].child->replaces, 0);
}

static void child_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.max_children = 2;
    const struct ike_cmd cmd = {.type = IKE_CMD_POLICY, .policy = &policy};
    pair_connect(p);
    OK(edge_command(p->e, cmd));
    want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->i->child_refused, 0);
    want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->i->child_refused, N_NO_ADDITIONAL_SAS);
    p->i->child_refused = 0;
    want_and_carry(JOB_CHILD_REKEY, first_child()); /* replacing is not adding */
    assert_int_equal(p->i->child_refused, 0);
    assert_int_equal(p->e->n_children, 2);
    pair_assert_agree(p);
}

static void hundred_children(void **state)
{
    (void)state;
    pair_connect(p);
    for (int k = 1; k < 100; k++)
        want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->i->child_refused, 0);
    want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->i->child_refused, N_NO_ADDITIONAL_SAS);
    assert_int_equal(p->e->n_children, 100);
    pair_assert_agree(p);
    p->e->now += 60 * NS_PER_S;
    want_and_carry(JOB_IKE_REKEY, 0);
    assert_int_equal(only_sa().children, 100);
    pair_assert_agree(p);
}

/* ---- rekey of children */

static void child_rekey_replaces_and_the_peer_deletes(void **state)
{
    (void)state;
    connect_with(KE_ECP384, KE_NONE);
    uint32_t old = edge_act(p->e, ACT_CHILD_UP)->child->spi_in;
    edge_clear(p->e);
    want(JOB_CHILD_REKEY, first_child());
    pair_give(p);
    const struct act *up = edge_act(p->e, ACT_CHILD_UP);
    assert_int_equal(up->child->replaces, old);
    assert_false(up->child->ready);
    assert_int_equal(p->e->n_children, 2); /* until the peer deletes the old one */
    assert_string_equal(p->e->event, "ike.rekeyed");
    pair_take(p);
    pair_give(p);
    const struct act *down = edge_act(p->e, ACT_CHILD_DOWN);
    assert_int_equal(down->spi_in, old);
    assert_int_equal(down->why, CHILD_DOWN_REKEYED);
    pair_carry(p);
    assert_int_equal(edge_count(p->e, IKE_COUNT_REKEYED), 1);
    pair_assert_agree(p);
}

static void old_child_that_nobody_deletes_goes(void **state)
{
    (void)state;
    connect_with(KE_ECP384, KE_NONE);
    want(JOB_CHILD_REKEY, first_child());
    pair_give(p);
    edge_clear(p->e); /* the answer is lost, and the peer silent */
    p->e->now += 121 * NS_PER_S;
    edge_tick(p->e);
    assert_int_equal(edge_sent(p->e), 1);
    struct ike_header h = pair_header(p, 0);
    assert_int_equal(h.exchange, INFORMATIONAL);
    assert_int_equal(h.flags, 0);
}

static void rekey_of_no_child_of_ours_is_told_so(void **state)
{
    (void)state;
    pair_connect(p);
    static const struct {
        uint8_t protocol;
        const char *spi;
    } CASES[] = {{PROTO_ESP, "01020304"}, {PROTO_AH, "01020304"}, {PROTO_ESP, "0102030405060708"}, {PROTO_NONE, ""}};
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++) {
        uint8_t bytes[512];
        struct ike_writer iw;
        struct ike_notify n;
        struct ike_transform_out t[2] = {{T_ENCR, ENCR_AES_GCM_16, 256}, {T_ESN, 0, 0}};
        ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
        ike_write_notify(&iw, CASES[k].protocol, hex(CASES[k].spi), N_REKEY_SA, span_of(NULL, 0));
        ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee02"), t, 2);
        ike_write_nonce(&iw, span_of(bytes, 32));
        initiator_write_ts(&iw, PAYLOAD_TSI, &p->i->wish.ts_local);
        initiator_write_ts(&iw, PAYLOAD_TSR, &p->i->wish.ts_remote);
        assert_true(pair_ask(p, CREATE_CHILD_SA, &iw));
        assert_true(plain_notify(&p->i->last, N_CHILD_SA_NOT_FOUND, &n));
        assert_int_equal(n.protocol, PROTO_ESP);
        assert_int_equal(n.spi.n, 4);
        if (k == 0)
            assert_memory_equal(n.spi.p, hex("01020304").p, 4);
    }
    assert_int_equal(only_sa().children, 1);
    assert_string_equal(p->e->event, "ike.rekey_failed");
}

static void rekey_with_narrower_selectors_is_refused(void **state)
{
    (void)state;
    pair_connect(p);
    OK(addr_parse("10.1.0.255", &p->i->wish.ts_local.last));
    want_and_carry(JOB_CHILD_REKEY, first_child());
    assert_int_equal(p->i->child_refused, N_TS_UNACCEPTABLE);
    assert_int_equal(p->e->n_children, 1);
    want_and_carry(JOB_CHILD_NEW, 0); /* a child of its own may be narrower */
    assert_int_equal(p->e->n_children, 2);
    pair_assert_agree(p);
}

static void ke_of_another_group_is_told_ours(void **state)
{
    (void)state;
    pair_connect(p);
    uint8_t bytes[1024], public[256] = {2};
    struct ike_writer iw;
    struct ike_notify n;
    struct ike_transform_out t[] = {
        {T_ENCR, ENCR_AES_GCM_16, 256}, {T_KE, KE_MODP2048, 0}, {T_KE, KE_ECP384, 0}, {T_ESN, 0, 0}};
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee02"), t, ARRAY_LEN(t));
    ike_write_nonce(&iw, span_of(public, 32));
    ike_write_ke(&iw, KE_MODP2048, span_of(public, sizeof public));
    initiator_write_ts(&iw, PAYLOAD_TSI, &p->i->wish.ts_local);
    initiator_write_ts(&iw, PAYLOAD_TSR, &p->i->wish.ts_remote);
    assert_true(pair_ask(p, CREATE_CHILD_SA, &iw));
    assert_true(plain_notify(&p->i->last, N_INVALID_KE_PAYLOAD, &n));
    assert_memory_equal(n.data.p, hex("0014").p, 2);
    assert_int_equal(n.data.n, 2);
    assert_int_equal(only_sa().children, 1);
}

static void transport_mode_is_not_confirmed(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct ike_writer iw;
    struct ike_notify n;
    struct ike_transform_out t[2] = {{T_ENCR, ENCR_AES_GCM_16, 256}, {T_ESN, 0, 0}};
    pair_connect(p);
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_USE_TRANSPORT_MODE, span_of(NULL, 0));
    ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee02"), t, 2);
    ike_write_nonce(&iw, span_of(bytes, 32));
    initiator_write_ts(&iw, PAYLOAD_TSI, &p->i->wish.ts_local);
    initiator_write_ts(&iw, PAYLOAD_TSR, &p->i->wish.ts_remote);
    assert_true(pair_ask(p, CREATE_CHILD_SA, &iw));
    assert_false(plain_notify(&p->i->last, N_USE_TRANSPORT_MODE, &n));
    assert_non_null(ike_chain_find(&p->i->last.chain, PAYLOAD_TSR));
    assert_false(edge_act(p->e, ACT_CHILD_UP)->child->transport);
}

static void flood_of_requests_is_temporarily_refused(void **state)
{
    (void)state;
    pair_connect(p);
    unsigned refused = 0;
    for (int k = 0; k < 300; k++) {
        uint8_t bytes[512];
        struct ike_writer iw;
        struct ike_transform_out t[2] = {{T_ENCR, ENCR_AES_CBC, 128}, {T_ESN, 0, 0}};
        ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
        ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee02"), t, 2);
        ike_write_nonce(&iw, span_of(bytes, 32));
        initiator_write_ts(&iw, PAYLOAD_TSI, &p->i->wish.ts_local);
        initiator_write_ts(&iw, PAYLOAD_TSR, &p->i->wish.ts_remote);
        assert_true(pair_ask(p, CREATE_CHILD_SA, &iw));
        refused += plain_error(&p->i->last) == N_TEMPORARY_FAILURE;
    }
    assert_int_equal(refused, 100);
    want(JOB_CHILD_NEW, 0);
    pair_carry(p);
    pair_pass(p, 5 * NS_PER_S); /* the peer tries again, and comes through */
    assert_int_equal(p->e->n_children, 2);
}

/* ---- rekey of the IKE SA */

static void ike_rekey_moves_everything(void **state)
{
    (void)state;
    p->i->wish.ike.addke[0] = KE_NONE;
    pair_connect(p);
    want_and_carry(JOB_CHILD_NEW, 0);
    uint64_t old = only_sa().spi_r;
    edge_clear(p->e);
    want(JOB_IKE_REKEY, 0);
    pair_give(p);
    assert_non_null(edge_act(p->e, ACT_UP));
    assert_int_equal(edge_act(p->e, ACT_DOWN)->sa, old);
    assert_null(edge_act(p->e, ACT_CHILD_DOWN));
    assert_string_equal(p->e->event, "ike.rekeyed");
    pair_carry(p);
    pair_pass(p, 60 * NS_PER_S);
    assert_int_not_equal(only_sa().spi_r, old);
    assert_int_equal(only_sa().children, 2);
    pair_assert_agree(p);
    want_and_carry(JOB_CHILD_REKEY, first_child()); /* on the new SA, whose message IDs began at 0 */
    want_and_carry(JOB_CHILD_NEW, 0);
    want_and_carry(JOB_ALIVE, 0);
    assert_int_equal(p->e->n_children, 3);
    assert_int_equal(edge_count(p->e, IKE_COUNT_IKE_REKEYED), 1);
    pair_assert_agree(p);
}

static void replaced_sa_refuses_and_goes_in_time(void **state)
{
    (void)state;
    p->i->wish.ike.addke[0] = KE_NONE;
    pair_connect(p);
    struct initiator_sa *old = initiator_current(p->i);
    want(JOB_IKE_REKEY, 0);
    pair_give(p);
    edge_clear(p->e); /* the answer does not arrive */
    old->own.job.type = JOB_NONE;
    uint8_t bytes[512];
    struct ike_writer iw;
    struct ike_transform_out t[2] = {{T_ENCR, ENCR_AES_GCM_16, 256}, {T_ESN, 0, 0}};
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_sa(&iw, 1, PROTO_ESP, hex("c0ffee02"), t, 2);
    ike_write_nonce(&iw, span_of(bytes, 32));
    initiator_write_ts(&iw, PAYLOAD_TSI, &p->i->wish.ts_local);
    initiator_write_ts(&iw, PAYLOAD_TSR, &p->i->wish.ts_remote);
    assert_true(pair_ask(p, CREATE_CHILD_SA, &iw));
    assert_int_equal(plain_error(&p->i->last), N_TEMPORARY_FAILURE);
    struct ike_sa_info info;
    assert_int_equal(edge_sas(p->e, &info), 2);
    edge_clear(p->e);
    p->e->now += 121 * NS_PER_S;
    edge_tick(p->e);
    assert_int_equal(edge_sent(p->e), 1); /* our Delete of the old one */
    assert_int_equal(p->e->n_children, 1);
}

static void changed_prf_is_refused(void **state)
{
    (void)state;
    pair_connect(p);
    p->i->wish.ike.prf = PRF_HMAC_SHA2_256;
    want_and_carry(JOB_IKE_REKEY, 0);
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    assert_string_equal(p->e->event, "ike.rekey_failed");
    assert_true(only_sa().established);
}

static void additional_exchange_cannot_be_left_out(void **state)
{
    (void)state;
    pair_connect(p);
    p->i->wish.ike.addke[0] = KE_NONE;
    want_and_carry(JOB_IKE_REKEY, 0);
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    assert_true(only_sa().established_pq);
}

/* ---- malformed */

static void bend_nonce(void *ctx, struct draft *d)
{
    (void)ctx;
    if (d->header.exchange == CREATE_CHILD_SA)
        d->n -= 4; /* the last payload is cut short */
}

static void malformed_request_ends_the_ike_sa(void **state)
{
    (void)state;
    pair_connect(p);
    p->i->bend = bend_nonce;
    want(JOB_CHILD_NEW, 0);
    pair_give(p);
    assert_true(ike_idle(p->e->ike));
    assert_int_equal(p->e->n_children, 0);
}

/* ---- no child at all */

static void leave_child_out(void *ctx, struct draft *d)
{
    (void)ctx;
    struct ike_chain chain;
    struct ike_error error;
    struct ike_writer iw;
    uint8_t bytes[2048];
    struct span inner;
    if (d->header.exchange != IKE_AUTH)
        return;
    OK(ike_chain_read(d->first, span_of(d->bytes, d->n), &chain, &error));
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    for (size_t k = 0; k < chain.n; k++) {
        if (chain.v[k].type != PAYLOAD_IDI && chain.v[k].type != PAYLOAD_AUTH)
            continue;
        ike_write_begin(&iw, chain.v[k].type);
        wr_bytes(&iw.w, chain.v[k].body);
        ike_write_end(&iw);
    }
    OK(ike_write_finish(&iw, &inner));
    memcpy(d->bytes, inner.p, inner.n);
    d->n = inner.n;
}

static void handshake_without_a_child(void **state) /* RFC 6023 */
{
    (void)state;
    p->i->bend = leave_child_out;
    pair_connect_to(p, IKE_AUTH);
    pair_give(p);
    assert_non_null(edge_act(p->e, ACT_UP));
    assert_null(edge_act(p->e, ACT_CHILD_UP));
    assert_int_equal(edge_sent(p->e), 1);
    assert_int_equal(only_sa().children, 0);
}

static void last_child_goes_and_another_comes(void **state)
{
    (void)state;
    pair_connect(p);
    want_and_carry(JOB_CHILD_DELETE, first_child());
    assert_int_equal(only_sa().children, 0);
    want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(only_sa().children, 1);
    pair_assert_agree(p);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(further_children_come_up_without_pfs),
        CASE(pfs_of_every_group),
        CASE(child_up_stands_before_the_answer),
        CASE(child_over_the_limit_is_refused),
        CASE(hundred_children),
        CASE(child_rekey_replaces_and_the_peer_deletes),
        CASE(old_child_that_nobody_deletes_goes),
        CASE(rekey_of_no_child_of_ours_is_told_so),
        CASE(rekey_with_narrower_selectors_is_refused),
        CASE(ke_of_another_group_is_told_ours),
        CASE(transport_mode_is_not_confirmed),
        CASE(flood_of_requests_is_temporarily_refused),
        CASE(ike_rekey_moves_everything),
        CASE(replaced_sa_refuses_and_goes_in_time),
        CASE(changed_prf_is_refused),
        CASE(additional_exchange_cannot_be_left_out),
        CASE(malformed_request_ends_the_ike_sa),
        CASE(handshake_without_a_child),
        CASE(last_child_goes_and_another_comes),
    };
    return cmocka_run_group_tests_name("ike: CREATE_CHILD_SA", tests, NULL, NULL);
}
