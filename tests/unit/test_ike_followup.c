/* IKE_FOLLOWUP_KE that the peer begins: additional key exchanges of children and IKE SAs, links, what waits for them. */
#include "sim/lib/one_pair.h"

/* ---- IKE_FOLLOWUP_KE */

static void hybrid_rekeys_of_both_kinds(void **state)
{
    (void)state;
    connect_with(KE_ECP384, KE_ML_KEM_768);
    for (int k = 0; k < 2; k++) {
        want_and_carry(JOB_CHILD_REKEY, first_child());
        want_and_carry(JOB_IKE_REKEY, 0);
        pair_pass(p, 60 * NS_PER_S);
        assert_true(only_sa().established_pq);
        pair_assert_agree(p);
    }
    assert_int_equal(edge_count(p->e, IKE_COUNT_REKEYED), 2);
    assert_int_equal(edge_count(p->e, IKE_COUNT_IKE_REKEYED), 2);
}

static void two_additional_exchanges(void **state)
{
    (void)state;
    p->i->wish.ike.addke[1] = p->i->wish.esp.addke[1] = KE_ML_KEM_1024;
    connect_with(KE_ECP384, KE_ML_KEM_768);
    want_and_carry(JOB_CHILD_REKEY, first_child());
    want_and_carry(JOB_IKE_REKEY, 0);
    pair_pass(p, 60 * NS_PER_S);
    assert_int_equal(only_sa().suite.addke[1], KE_ML_KEM_1024);
    assert_int_equal(p->e->n_children, 1);
    pair_assert_agree(p);
}

static void repeated_method_is_not_chosen(void **state)
{
    (void)state;
    p->i->wish.esp.addke[1] = KE_ML_KEM_768;
    connect_with(KE_ECP384, KE_ML_KEM_768);
    want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
}

/* A CREATE_CHILD_SA whose answer has come, the IKE_FOLLOWUP_KE not yet given. */
static void half_done(void)
{
    connect_with(KE_ECP384, KE_ML_KEM_768);
    want(JOB_CHILD_NEW, 0);
    pair_give(p);
    assert_null(edge_act(p->e, ACT_CHILD_UP));
    pair_take(p);
}

static void spoil_link(void *ctx, struct draft *d)
{
    (void)ctx;
    if (d->header.exchange == IKE_FOLLOWUP_KE)
        d->bytes[d->n - 1] ^= 1; /* the link stands last */
}

static void wrong_link_drops_what_waits(void **state)
{
    (void)state;
    p->i->bend = spoil_link;
    connect_with(KE_ECP384, KE_ML_KEM_768);
    want(JOB_CHILD_NEW, 0);
    pair_give(p);
    pair_step(p);
    pair_take(p);
    assert_int_equal(p->i->refused, N_STATE_NOT_FOUND);
    assert_string_equal(p->e->event, "ike.child_failed");
    assert_int_equal(p->e->n_children, 1);
    p->i->bend = NULL;
    pair_pass(p, 5 * NS_PER_S); /* from the beginning */
    assert_int_equal(p->e->n_children, 2);
    pair_assert_agree(p);
}

static void what_waits_is_forgotten_in_time(void **state)
{
    (void)state;
    half_done();
    p->e->now += 21 * NS_PER_S;
    edge_tick(p->e);
    assert_string_equal(p->e->reason, "no IKE_FOLLOWUP_KE came");
    pair_give(p);
    pair_take(p);
    assert_int_equal(p->i->refused, N_STATE_NOT_FOUND);
    assert_int_equal(p->e->n_children, 1);
}

static void one_at_a_time_waits(void **state)
{
    (void)state;
    half_done();
    initiator_forget_out(p->i);
    struct initiator_sa *sa = initiator_current(p->i);
    initiator_done(sa);
    sa->mid_out--; /* the follow-up was never sent */
    want(JOB_CHILD_NEW, 0);
    pair_give(p);
    pair_take(p);
    assert_int_equal(p->i->refused, N_TEMPORARY_FAILURE);
}

static void delete_while_something_waits_returns_it(void **state)
{
    (void)state;
    half_done();
    initiator_forget_out(p->i);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_REMOVE, .handle = EDGE_TUNNEL}));
    pair_take(p);
    pair_carry(p);
    p->e->now += 60 * NS_PER_S;
    edge_tick(p->e);
    edge_assert_empty(p->e);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hybrid_rekeys_of_both_kinds),
        CASE(two_additional_exchanges),
        CASE(repeated_method_is_not_chosen),
        CASE(wrong_link_drops_what_waits),
        CASE(what_waits_is_forgotten_in_time),
        CASE(one_at_a_time_waits),
        CASE(delete_while_something_waits_returns_it),
    };
    return cmocka_run_group_tests_name("ike: IKE_FOLLOWUP_KE", tests, NULL, NULL);
}
