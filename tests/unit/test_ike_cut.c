/* Messages of ours that have to be repeated get smaller (RFC 7383 2.5.2). */
#include "lib/adv.h"

static struct pair *p;
static struct ike_policy policy;

static int set_up(void **state)
{
    (void)state;
    ike_policy_default(&policy);
    p = pair_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    return 0;
}

static void obey(void)
{
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
}

/* ---- what was sent: every IV only once, whatever message it belongs to */

#define IVS_MAX 64
static uint64_t ivs[IVS_MAX];
static size_t n_ivs;

static void note_iv(uint64_t iv)
{
    for (size_t i = 0; i < n_ivs; i++)
        assert_true(ivs[i] != iv);
    assert_true(n_ivs < IVS_MAX);
    ivs[n_ivs++] = iv;
}

struct shape {
    size_t n, largest;
};
static struct shape shape_sent(bool fresh)
{
    struct shape s = {0};
    for (size_t k = 0; k < p->e->acts.n; k++) {
        const struct act *act = &p->e->acts.v[k];
        struct ike_header h;
        if (act->type != ACT_SEND)
            continue;
        OK(ike_header_read(buf_span(&act->datagram), &h));
        s.n++;
        if (act->datagram.n > s.largest)
            s.largest = act->datagram.n;
        struct rd r = rd_of(buf_span(&act->datagram));
        rd_take(&r, IKE_HEADER_SIZE + (h.next == PAYLOAD_SKF ? 8 : 4));
        if (fresh)
            note_iv(rd_u64(&r));
    }
    return s;
}

static void ask_for_intermediate(uint16_t addke)
{
    n_ivs = 0;
    p->i->wish.ike.addke[0] = addke;
    pair_connect_to(p, IKE_INTERMEDIATE);
    pair_give(p);
}

static void answer_that_does_not_arrive_is_cut_smaller(void **state)
{
    (void)state;
    ask_for_intermediate(KE_ML_KEM_1024);
    struct shape s = shape_sent(true);
    assert_int_equal(s.n, 2);
    assert_in_range(s.largest, 1000, 1280 - 28);
    pair_give_again(p); /* once it may just be lost */
    s = shape_sent(false);
    assert_int_equal(s.n, 2);
    assert_int_equal(edge_count(p->e, IKE_COUNT_CUT_SMALLER), 0);
    pair_give_again(p); /* half-way it would be two pieces as well, and those the peer may have in part */
    s = shape_sent(true);
    assert_int_equal(s.n, 4);
    assert_in_range(s.largest, 500, 576 - 28);
    pair_give_again(p);
    s = shape_sent(false);
    assert_int_equal(s.n, 4);
    assert_int_equal(edge_count(p->e, IKE_COUNT_CUT_SMALLER), 1);
    pair_carry(p); /* the peer has had no answer until now */
    pair_assert_agree(p);
}

static void whole_answer_goes_in_two_steps(void **state)
{
    (void)state;
    policy.fragment_size = 1400;
    obey();
    ask_for_intermediate(KE_ML_KEM_768);
    assert_int_equal(shape_sent(true).n, 1); /* on port 500 all fits one datagram */
    pair_give_again(p);
    assert_int_equal(shape_sent(false).n, 1);
    pair_give_again(p);
    struct shape s = shape_sent(true);
    assert_int_equal(s.n, 2);
    assert_in_range(s.largest, 577, (1400 + 576) / 2 - 28);
    pair_give_again(p);
    s = shape_sent(true);
    assert_int_equal(s.n, 3);
    assert_in_range(s.largest, 500, 576 - 28);
    assert_int_equal(edge_count(p->e, IKE_COUNT_CUT_SMALLER), 2);
    pair_carry(p);
    pair_assert_agree(p);
}

/* A piece of the first try and all of the second: the peer puts only the second together. */
static void pieces_of_two_tries_do_not_mix(void **state)
{
    (void)state;
    ask_for_intermediate(KE_ML_KEM_1024);
    struct buf first = {0};
    OK(buf_set(&first, buf_span(&edge_act(p->e, ACT_SEND)->datagram)));
    initiator_input(p->i, p->e->now, &p->path.local, &p->path.remote, buf_span(&first));
    buf_free(&first);
    assert_int_equal(p->i->n_out, 0);
    pair_give_again(p);
    pair_give_again(p);
    assert_int_equal(shape_sent(true).n, 4);
    pair_carry(p);
    pair_assert_agree(p);
}

static void size_is_the_configuration_s(void **state)
{
    (void)state;
    policy.fragment_size = policy.fragment_size_min = 1280;
    obey();
    ask_for_intermediate(KE_ML_KEM_1024);
    for (unsigned k = 0; k < 5; k++)
        pair_give_again(p);
    assert_int_equal(shape_sent(false).n, 2);
    assert_int_equal(edge_count(p->e, IKE_COUNT_CUT_SMALLER), 0);
    pair_carry(p);
    pair_assert_agree(p);
}

static void peer_without_fragmentation_gets_the_same_again(void **state)
{
    (void)state;
    p->i->wish.no_fragmentation = true;
    ask_for_intermediate(KE_ML_KEM_1024);
    struct span first = exact_copy(buf_span(&edge_act(p->e, ACT_SEND)->datagram));
    for (unsigned k = 0; k < 5; k++) {
        pair_give_again(p);
        assert_int_equal(edge_sent(p->e), 1);
        assert_span_equal(buf_span(&edge_act(p->e, ACT_SEND)->datagram), first);
    }
    exact_free(first);
    pair_carry(p);
    pair_assert_agree(p);
}

static void our_own_request_gets_smaller_too(void **state)
{
    (void)state;
    p->i->wish.ike.addke[0] = KE_ML_KEM_1024;
    pair_connect(p);
    edge_clear(p->e);
    n_ivs = 0;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = p->e->child[0].spi_in}));
    while (pair_header(p, 0).exchange != IKE_FOLLOWUP_KE)
        pair_step(p);
    assert_int_equal(shape_sent(true).n, 2);
    size_t pieces[] = {2, 4, 4};
    for (size_t k = 0; k < ARRAY_LEN(pieces); k++) { /* they get lost */
        edge_clear(p->e);
        p->e->now = ike_deadline(p->e->ike);
        edge_tick(p->e);
        assert_int_equal(shape_sent(k == 1).n, pieces[k]);
    }
    assert_int_equal(edge_count(p->e, IKE_COUNT_CUT_SMALLER), 1);
    pair_carry(p);
    assert_int_equal(edge_count(p->e, IKE_COUNT_REKEYED), 1);
    pair_assert_agree(p);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(answer_that_does_not_arrive_is_cut_smaller),
        CASE(whole_answer_goes_in_two_steps),
        CASE(pieces_of_two_tries_do_not_mix),
        CASE(size_is_the_configuration_s),
        CASE(peer_without_fragmentation_gets_the_same_again),
        CASE(our_own_request_gets_smaller_too),
    };
    return cmocka_run_group_tests_name("ike: smaller fragments", tests, NULL, NULL);
}
