/* What the engine asks on its own: rekeys at the end of lifetimes, with everything a peer may answer, and signs of life. */
#include "sim/lib/pair.h"

#define CHILD_LIFE (1000 * NS_PER_S)
#define IKE_LIFE (2500 * NS_PER_S)

static struct pair *p;
static struct {
    uint8_t exchange; /* answers of this exchange become N(notify) */
    uint16_t notify;
    unsigned times;
    struct span data;
} spoil;

static int set_up(void **state)
{
    (void)state;
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.child_lifetime = CHILD_LIFE;
    policy.ike_lifetime = 24 * 3600 * NS_PER_S;
    p = pair_new(&policy);
    memset(&spoil, 0, sizeof spoil);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    p = NULL;
    return 0;
}

static struct ike_sa_info only_sa(void)
{
    struct ike_sa_info info = {0};
    assert_int_equal(edge_sas(p->e, &info), 1);
    return info;
}

static void set_policy(struct ike_policy *policy)
{
    const struct ike_cmd cmd = {.type = IKE_CMD_POLICY, .policy = policy};
    OK(edge_command(p->e, cmd));
}

static void spoil_answer(void *ctx, struct draft *d)
{
    (void)ctx;
    struct ike_writer iw;
    struct span inner;
    if (!spoil.times || d->header.exchange != spoil.exchange || !(d->header.flags & IKE_FLAG_RESPONSE))
        return;
    spoil.times--;
    ike_write_inner(&iw, wr_of(d->bytes, sizeof d->bytes));
    ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), spoil.notify, spoil.data);
    OK(ike_write_finish(&iw, &inner));
    d->first = PAYLOAD_NOTIFY;
    d->n = inner.n;
}

static void spoil_with(uint8_t exchange, uint16_t notify, unsigned times)
{
    spoil.exchange = exchange;
    spoil.notify = notify;
    spoil.times = times;
    p->i->bend = spoil_answer;
}

/* The edge's next deadline, and what it does then; nothing is carried. */
static void next_deadline(void)
{
    p->e->now = ike_deadline(p->e->ike);
    edge_clear(p->e);
    edge_tick(p->e);
}

/* ---- children */

static void child_is_rekeyed_before_its_time_is_over(void **state)
{
    (void)state;
    pair_connect(p);
    uint64_t began = p->e->now;
    uint32_t old = p->e->child[0].spi_in;
    next_deadline();
    assert_in_range(p->e->now, began + CHILD_LIFE * 9 / 10, began + CHILD_LIFE);
    struct ike_header h = pair_header(p, 0);
    assert_int_equal(h.exchange, CREATE_CHILD_SA);
    assert_int_equal(h.flags, 0); /* a request of the original responder */
    assert_int_equal(h.mid, 0);
    assert_int_equal(p->e->n_children, 1);
    pair_take(p);
    pair_give(p); /* its answer */
    while (!edge_act(p->e, ACT_CHILD_UP)) {
        pair_take(p);
        pair_give(p);
    }
    const struct act *up = edge_act(p->e, ACT_CHILD_UP);
    assert_int_equal(up->child->replaces, old);
    assert_true(up->child->ready);        /* the peer could answer only when it was */
    assert_int_equal(edge_sent(p->e), 1); /* Delete of the old one */
    assert_string_equal(p->e->event, "ike.rekeyed");
    pair_carry(p);
    assert_int_equal(p->e->n_children, 1);
    assert_int_not_equal(p->e->child[0].spi_in, old);
    pair_assert_agree(p);
}

static void first_child_gets_the_key_exchanges_of_its_ike_sa(void **state)
{
    (void)state;
    pair_connect(p);
    pair_pass(p, CHILD_LIFE);
    struct ike_child_info info;
    assert_int_not_equal(ike_child_next(p->e->ike, 0, &info), 0);
    assert_int_equal(info.suite.ke, KE_ECP384);
    assert_int_equal(info.suite.addke[0], KE_ML_KEM_768);
    pair_assert_agree(p);
}

static void generations_go_on(void **state)
{
    (void)state;
    p->i->wish.ike.addke[1] = KE_ML_KEM_1024;
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.child_lifetime = CHILD_LIFE;
    policy.ike_lifetime = IKE_LIFE;
    set_policy(&policy);
    pair_connect(p);
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_CHILD_NEW});
    pair_carry(p);
    pair_pass(p, 8 * IKE_LIFE);
    assert_int_equal(only_sa().children, 2);
    assert_in_range(edge_count(p->e, IKE_COUNT_REKEYED), 38, 46);
    assert_in_range(edge_count(p->e, IKE_COUNT_IKE_REKEYED), 8, 9);
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_REKEY), 0);
    pair_assert_agree(p);
}

static void child_with_classical_pfs_keeps_its_group(void **state)
{
    (void)state;
    p->i->wish.ike = (struct suite){.encr = ENCR_AES_CBC,
                                    .encr_bits = 256,
                                    .integ = INTEG_HMAC_SHA2_256_128,
                                    .prf = PRF_HMAC_SHA2_256,
                                    .ke = KE_MODP2048};
    p->i->wish.esp =
        (struct suite){.encr = ENCR_AES_CBC, .encr_bits = 256, .integ = INTEG_HMAC_SHA1_96, .ke = KE_MODP2048};
    pair_connect(p);
    for (int k = 0; k < 3; k++) {
        pair_pass(p, CHILD_LIFE);
        struct ike_child_info info;
        assert_int_not_equal(ike_child_next(p->e->ike, 0, &info), 0);
        assert_int_equal(info.suite.ke, KE_MODP2048);
        assert_int_equal(info.suite.integ, INTEG_HMAC_SHA1_96);
        pair_assert_agree(p);
    }
}

static void peer_may_want_another_group(void **state)
{
    (void)state;
    pair_connect(p);
    p->i->wish.esp.ke = KE_MODP2048;
    p->i->wish.ike.ke = KE_MODP2048;
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.child_lifetime = policy.ike_lifetime = CHILD_LIFE;
    set_policy(&policy);
    pair_pass(p, CHILD_LIFE);
    struct ike_child_info info;
    assert_int_not_equal(ike_child_next(p->e->ike, 0, &info), 0);
    assert_int_equal(info.suite.ke, KE_MODP2048);
    pair_assert_agree(p);
}

static void group_that_was_not_offered_ends_it(void **state)
{
    (void)state;
    pair_connect(p);
    spoil.data = hex("0005beef");
    spoil_with(CREATE_CHILD_SA, N_INVALID_KE_PAYLOAD, 1);
    pair_pass(p, CHILD_LIFE);
    assert_string_equal(p->e->reason, "lifetime over");
    pair_assert_agree(p);
    assert_true(ike_idle(p->e->ike));
}

static void busy_peer_is_asked_again_later(void **state)
{
    (void)state;
    pair_connect(p);
    spoil_with(CREATE_CHILD_SA, N_TEMPORARY_FAILURE, 1);
    next_deadline();
    pair_carry(p);
    uint64_t refused = p->e->now;
    assert_string_equal(p->e->reason, "TEMPORARY_FAILURE");
    initiator_child(p->i, p->i->child[0].spi_in)->replaced = false; /* it believes it had agreed */
    next_deadline();
    assert_in_range(p->e->now, refused + 10 * NS_PER_S, refused + 20 * NS_PER_S);
    assert_int_equal(pair_header(p, 0).exchange, CREATE_CHILD_SA);
}

static void busy_for_minutes_closes_the_ike_sa(void **state)
{
    (void)state;
    pair_connect(p);
    spoil_with(CREATE_CHILD_SA, N_TEMPORARY_FAILURE, 1000);
    pair_pass(p, CHILD_LIFE);
    assert_false(ike_idle(p->e->ike));
    pair_pass(p, 400 * NS_PER_S);
    assert_true(ike_idle(p->e->ike));
    assert_int_equal(p->e->n_children, 0);
}

static void lost_followup_state_begins_anew(void **state)
{
    (void)state;
    pair_connect(p);
    spoil_with(IKE_FOLLOWUP_KE, N_STATE_NOT_FOUND, 1);
    next_deadline();
    pair_carry(p);
    assert_int_equal(p->e->n_children, 1);
    assert_string_equal(p->e->reason, "STATE_NOT_FOUND");
    assert_true(only_sa().established);
    next_deadline();
    assert_int_equal(pair_header(p, 0).exchange, CREATE_CHILD_SA);
}

static void unknown_child_is_dropped_silently(void **state)
{
    (void)state;
    pair_connect(p);
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_ALIVE});
    pair_carry(p); /* so it has our answer that made the child */
    spoil_with(CREATE_CHILD_SA, N_CHILD_SA_NOT_FOUND, 1);
    next_deadline();
    pair_take(p);
    pair_give(p);
    assert_int_equal(edge_act(p->e, ACT_CHILD_DOWN)->why, CHILD_DOWN_PEER);
    assert_int_equal(edge_sent(p->e), 0);
    assert_int_equal(only_sa().children, 0);
}

static void child_that_the_peer_does_not_know_yet_stays(void **state)
{
    (void)state;
    pair_connect(p);
    spoil_with(CREATE_CHILD_SA, N_CHILD_SA_NOT_FOUND, 1);
    next_deadline();
    pair_carry(p);
    assert_int_equal(only_sa().children, 1);
    next_deadline();
    assert_int_equal(pair_header(p, 0).exchange, CREATE_CHILD_SA);
}

static void refused_child_is_deleted_and_others_stay(void **state)
{
    (void)state;
    pair_connect(p);
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_CHILD_NEW});
    pair_carry(p);
    spoil_with(CREATE_CHILD_SA, N_NO_PROPOSAL_CHOSEN, 1);
    next_deadline();
    pair_take(p);
    pair_give(p);
    assert_string_equal(p->e->event, "ike.rekey_failed");
    assert_int_equal(edge_sent(p->e), 1); /* Delete */
    pair_take(p);
    pair_give(p);
    assert_int_equal(edge_act(p->e, ACT_CHILD_DOWN)->why, CHILD_DOWN_EXPIRED);
    assert_int_equal(only_sa().children, 1);
}

static void refused_last_child_closes_the_ike_sa(void **state)
{
    (void)state;
    pair_connect(p);
    spoil_with(CREATE_CHILD_SA, N_NO_ADDITIONAL_SAS, 1);
    next_deadline();
    pair_carry(p);
    assert_true(ike_idle(p->e->ike));
}

static void invalid_syntax_means_the_peer_has_closed(void **state)
{
    (void)state;
    pair_connect(p);
    spoil_with(CREATE_CHILD_SA, N_INVALID_SYNTAX, 1);
    next_deadline();
    pair_take(p);
    pair_give(p);
    assert_int_equal(edge_sent(p->e), 0);
    assert_true(ike_idle(p->e->ike));
}

static void answer_without_anything_closes_the_ike_sa(void **state)
{
    (void)state;
    pair_connect(p);
    spoil_with(CREATE_CHILD_SA, N_USE_TRANSPORT_MODE, 1); /* a status, no error */
    next_deadline();
    pair_carry(p);
    assert_true(ike_idle(p->e->ike));
}

static void silent_peer_takes_everything_down(void **state)
{
    (void)state;
    pair_connect(p);
    unsigned sent = 0;
    while (!ike_idle(p->e->ike)) {
        next_deadline();
        sent += edge_sent(p->e) > 0;
    }
    assert_int_equal(sent, 13);
    assert_int_equal(p->e->n_children, 0);
    p->e->now += 60 * NS_PER_S;
    edge_tick(p->e);
    edge_assert_empty(p->e);
}

static void datapath_may_ask_for_a_rekey(void **state)
{
    (void)state;
    pair_connect(p);
    uint32_t old = p->e->child[0].spi_in;
    edge_clear(p->e);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = old}));
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = old}));
    pair_carry(p);
    assert_int_equal(edge_count(p->e, IKE_COUNT_REKEYED), 1);
    assert_null(edge_child(p->e, old));
    pair_assert_agree(p);
}

static void datapath_may_give_a_child_up(void **state)
{
    (void)state;
    pair_connect(p);
    edge_clear(p->e);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_LOST, .spi_in = p->e->child[0].spi_in}));
    pair_carry(p);
    assert_int_equal(p->e->n_children, 0);
    assert_int_equal(p->i->n_children, 0);
    assert_true(only_sa().established);
}

/* ---- the IKE SA */

static void ike_sa_is_rekeyed_and_roles_change(void **state)
{
    (void)state;
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.ike_lifetime = IKE_LIFE;
    set_policy(&policy);
    pair_connect(p);
    uint64_t old = only_sa().spi_r;
    p->e->now += IKE_LIFE;
    edge_clear(p->e);
    edge_tick(p->e);
    while (!edge_act(p->e, ACT_UP)) {
        pair_take(p);
        pair_give(p);
    }
    assert_int_equal(edge_act(p->e, ACT_DOWN)->sa, old);
    assert_null(edge_act(p->e, ACT_CHILD_DOWN));
    pair_carry(p);
    struct ike_sa_info now = only_sa();
    assert_int_not_equal(now.spi_i, old); /* SPIi is ours now */
    assert_true(now.established_pq);
    pair_assert_agree(p);

    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_CHILD_NEW}); /* the peer asks as responder */
    pair_give(p);
    assert_int_equal(pair_header(p, 0).flags, IKE_FLAG_RESPONSE | IKE_FLAG_INITIATOR);
    pair_carry(p);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = p->e->child[0].spi_in}));
    assert_int_equal(pair_header(p, 0).flags, IKE_FLAG_INITIATOR);
    pair_carry(p);
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_IKE_REKEY}); /* and back again */
    pair_carry(p);
    assert_int_equal(only_sa().children, 2);
    pair_assert_agree(p);
}

static void refused_ike_rekey_closes_it(void **state)
{
    (void)state;
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.ike_lifetime = IKE_LIFE;
    set_policy(&policy);
    pair_connect(p);
    spoil_with(CREATE_CHILD_SA, N_NO_PROPOSAL_CHOSEN, 1);
    pair_pass(p, IKE_LIFE);
    assert_true(ike_idle(p->e->ike));
    assert_int_equal(p->e->n_children, 0);
}

static void removed_while_rekeying_returns_everything(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 4; steps++) {
        pair_connect(p);
        OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = p->e->child[0].spi_in}));
        for (unsigned k = 0; k < steps; k++) {
            pair_take(p);
            pair_give(p);
        }
        OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_RESET, .handle = EDGE_TUNNEL}));
        pair_carry(p);
        pair_pass(p, 60 * NS_PER_S);
        edge_assert_empty(p->e);
    }
}

/* ---- liveness */

static void silence_is_asked_about(void **state)
{
    (void)state;
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.dpd_interval = 30 * NS_PER_S;
    pair_connect(p);
    pair_carry(p);
    set_policy(&policy);
    uint64_t heard = p->e->now;
    next_deadline();
    assert_int_equal(p->e->now, heard + 30 * NS_PER_S);
    assert_int_equal(pair_header(p, 0).exchange, INFORMATIONAL);
    pair_take(p);
    assert_int_equal(p->i->last.n, 0); /* empty */
    pair_carry(p);
    p->e->now += 20 * NS_PER_S;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_SEEN, .spi_in = p->e->child[0].spi_in}));
    heard = p->e->now;
    do
        next_deadline();
    while (!edge_sent(p->e));
    assert_int_equal(p->e->now, heard + 30 * NS_PER_S);
    initiator_gone(p->i);
    while (!ike_idle(p->e->ike))
        next_deadline();
    assert_in_range(p->e->now - heard, 240 * NS_PER_S, 400 * NS_PER_S);
    assert_int_equal(p->e->n_children, 0);
}

static void nobody_asks_by_default(void **state)
{
    (void)state;
    pair_connect(p);
    edge_clear(p->e);
    p->e->now += CHILD_LIFE * 8 / 10;
    edge_tick(p->e);
    assert_int_equal(edge_sent(p->e), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(child_is_rekeyed_before_its_time_is_over),
        CASE(first_child_gets_the_key_exchanges_of_its_ike_sa),
        CASE(generations_go_on),
        CASE(child_with_classical_pfs_keeps_its_group),
        CASE(peer_may_want_another_group),
        CASE(group_that_was_not_offered_ends_it),
        CASE(busy_peer_is_asked_again_later),
        CASE(busy_for_minutes_closes_the_ike_sa),
        CASE(lost_followup_state_begins_anew),
        CASE(unknown_child_is_dropped_silently),
        CASE(child_that_the_peer_does_not_know_yet_stays),
        CASE(refused_child_is_deleted_and_others_stay),
        CASE(refused_last_child_closes_the_ike_sa),
        CASE(invalid_syntax_means_the_peer_has_closed),
        CASE(answer_without_anything_closes_the_ike_sa),
        CASE(silent_peer_takes_everything_down),
        CASE(datapath_may_ask_for_a_rekey),
        CASE(datapath_may_give_a_child_up),
        CASE(ike_sa_is_rekeyed_and_roles_change),
        CASE(refused_ike_rekey_closes_it),
        CASE(removed_while_rekeying_returns_everything),
        CASE(silence_is_asked_about),
        CASE(nobody_asks_by_default),
    };
    return cmocka_run_group_tests_name("ike: own requests", tests, NULL, NULL);
}
