/* The IKE responder as a machine: message IDs, retransmission, fragments, Deletes, our own requests, commands. */
#include "sim/lib/one_pair.h"

static struct span sent(size_t n) /* the n-th datagram of the edge */
{
    for (size_t k = 0; k < p->e->acts.n; k++)
        if (p->e->acts.v[k].type == ACT_SEND && n-- == 0)
            return buf_span(&p->e->acts.v[k].datagram);
    fail_msg("it sent less");
    return span_of(NULL, 0);
}

static struct octets copy_of(struct span s)
{
    struct octets o = {.n = s.n};
    assert_true(s.n <= sizeof o.b);
    memcpy(o.b, s.p, s.n);
    return o;
}

static bool ask_nothing(void) /* liveness */
{
    uint8_t bytes[16];
    struct ike_writer iw;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    return pair_ask(p, INFORMATIONAL, &iw);
}

/* ---- headers */

static void bad_headers_are_silent(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
    } CASES[] = {
        {15, 1},    /* responder SPI in IKE_SA_INIT */
        {23, 1},    /* message ID not 0 */
        {27, 0},    /* length differs */
        {19, 0},    /* no Initiator flag */
        {19, 0x28}, /* a response, to nothing of ours */
        {17, 0x10}, /* IKEv1 */
        {18, 99},   /* no such exchange */
    };
    initiator_connect(p->i, p->e->now);
    pair_give(p);
    p->e->now += 40 * NS_PER_S;
    edge_tick(p->e);
    uint64_t header = edge_count(p->e, IKE_COUNT_DROP_HEADER);
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++) {
        uint8_t *octet = &p->sent.v[0].p[CASES[k].at], old = *octet;
        *octet = old == CASES[k].value ? (uint8_t)(old + 1) : CASES[k].value;
        pair_give_again(p);
        assert_int_equal(p->e->acts.n, 0);
        *octet = old;
    }
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_HEADER), header + 4);
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_VERSION), 1);
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_EXCHANGE), 1);
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_UNKNOWN_SPI), 1);
}

static void higher_major_version_is_told_ours(void **state)
{
    (void)state;
    struct ike_notify n;
    initiator_connect(p->i, p->e->now);
    p->i->out[0].bytes.p[17] = 0x30;
    pair_give(p);
    assert_int_equal(pair_plain_notify(p, &n), N_INVALID_MAJOR_VERSION);
    assert_int_equal(pair_header(p, 0).version, IKE_VERSION);
}

static void unknown_spi_is_told_so_without_amplification(void **state)
{
    (void)state;
    struct ike_notify n;
    pair_connect(p);
    initiator_current(p->i)->s.spi_r ^= 1;
    initiator_say(p->i, p->e->now, INFORMATIONAL, PAYLOAD_NONE, span_of(NULL, 0));
    pair_give(p);
    assert_int_equal(pair_plain_notify(p, &n), N_INVALID_IKE_SPI);
    assert_true(sent(0).n <= p->sent.v[0].n);
}

/* ---- retransmission and message IDs */

static void repeated_init_gets_the_same_octets(void **state)
{
    (void)state;
    initiator_connect(p->i, p->e->now);
    pair_give(p);
    struct octets first = copy_of(sent(0));
    pair_give_again(p);
    assert_int_equal(edge_sent(p->e), 1);
    assert_span_equal(sent(0), span_of(first.b, first.n));
    assert_int_equal(edge_count(p->e, IKE_COUNT_RETRANSMIT_ANSWERED), 1);
    assert_int_not_equal(only_sa().spi_r, 0);
}

static void init_repeated_after_the_next_exchange_is_ignored(void **state)
{
    (void)state;
    initiator_connect(p->i, p->e->now);
    pair_give(p);
    struct octets init = copy_of(buf_span(&p->sent.v[0]));
    pair_step(p);
    pair_give_octets(p, span_of(init.b, init.n));
    assert_int_equal(p->e->acts.n, 0);
}

static void repeated_intermediate_is_answered_although_keys_changed(void **state)
{
    (void)state;
    p->i->wish.datagram = 9000; /* in one piece */
    pair_connect_to(p, IKE_INTERMEDIATE);
    pair_give(p);
    assert_int_equal(edge_sent(p->e), 1);
    struct span s = sent(0);
    struct span first = exact_copy(s);
    pair_give_again(p);
    assert_int_equal(edge_sent(p->e), 1);
    assert_span_equal(sent(0), first);
    exact_free(first);
    pair_carry(p);
    pair_assert_agree(p);
}

static void only_fragment_one_makes_the_answer_repeat(void **state)
{
    (void)state;
    p->i->wish.datagram = 800;
    pair_connect_to(p, IKE_INTERMEDIATE);
    pair_give(p);
    size_t n = edge_sent(p->e);
    assert_true(n > 1 && p->sent.n > 1); /* cut like the request */
    pair_give_octets(p, buf_span(&p->sent.v[1]));
    assert_int_equal(p->e->acts.n, 0);
    pair_give_octets(p, buf_span(&p->sent.v[0]));
    assert_int_equal(edge_sent(p->e), n);
    pair_carry(p);
    pair_assert_agree(p);
}

static void request_cut_anew_gets_the_stored_answer(void **state)
{
    (void)state;
    pair_connect_to(p, IKE_INTERMEDIATE);
    struct session before = p->i->sa[0]->s;
    struct ike_header h = session_header(&before, IKE_INTERMEDIATE, false, 1);
    pair_give(p);
    size_t n = edge_sent(p->e);
    before.limit = 600;
    uint8_t text[1200] = {0}; /* which does not matter: it is not read any more */
    session_seal(&before, &h, PAYLOAD_KE, span_of(text, sizeof text), &p->sent);
    pair_give_again(p);
    assert_int_equal(edge_sent(p->e), n);
    assert_int_equal(edge_count(p->e, IKE_COUNT_RETRANSMIT_ANSWERED), 1);
    pair_carry(p);
    pair_assert_agree(p);
}

static void repeated_request_is_answered_at_a_bounded_rate(void **state)
{
    (void)state;
    size_t answered = 0;
    pair_connect(p);
    for (int k = 0; k < 100; k++) {
        pair_give_again(p);
        answered += edge_sent(p->e);
        assert_null(edge_act(p->e, ACT_CHILD_UP)); /* never processed twice */
    }
    assert_in_range(answered, 1, 20);
    p->e->now += 5 * NS_PER_S;
    pair_give_again(p);
    assert_int_equal(edge_sent(p->e), 1);
}

static void message_ids_outside_the_window_are_silent(void **state)
{
    (void)state;
    pair_connect(p);
    struct initiator_sa *sa = initiator_current(p->i);
    uint32_t good = sa->mid_out;
    static const int OFF[] = {-2, 1, 2, 100};
    for (size_t k = 0; k < ARRAY_LEN(OFF); k++) {
        sa->mid_out = good + (uint32_t)OFF[k];
        assert_false(ask_nothing());
    }
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_MESSAGE_ID), ARRAY_LEN(OFF));
    sa->mid_out = good;
    assert_true(ask_nothing());
}

static void flipped_bit_leaves_no_trace(void **state)
{
    (void)state;
    p->i->wish.datagram = 9000;
    pair_connect_to(p, IKE_INTERMEDIATE);
    struct span good = exact_copy(buf_span(&p->i->out[0].bytes));
    for (size_t k = IKE_HEADER_SIZE + 4; k < good.n; k += 97) {
        struct span bent = exact_copy(good);
        ((uint8_t *)(uintptr_t)bent.p)[k] ^= 1;
        pair_give_octets(p, bent);
        exact_free(bent);
        assert_int_equal(p->e->acts.n, 0);
    }
    exact_free(good);
    pair_carry(p);
    pair_assert_agree(p);
}

static void fragment_that_does_not_authenticate_is_not_stored(void **state)
{
    (void)state;
    pair_connect_to(p, IKE_INTERMEDIATE);
    p->i->out[0].bytes.p[60] ^= 1;
    pair_give(p);
    assert_int_equal(p->e->acts.n, 0);
    p->sent.v[0].p[60] ^= 1;
    pair_give_octets(p, buf_span(&p->sent.v[0]));
    pair_carry(p);
    pair_assert_agree(p);
}

static void half_open_sa_times_out(void **state)
{
    (void)state;
    pair_connect_to(p, IKE_INTERMEDIATE);
    pair_give_octets(p, buf_span(&p->i->out[0].bytes));
    assert_false(ike_idle(p->e->ike));
    p->e->now += 31 * NS_PER_S;
    edge_tick(p->e);
    edge_assert_empty(p->e);
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_TIMEOUT), 1);
}

/* ---- after the handshake */

static void liveness_is_answered_empty(void **state)
{
    (void)state;
    pair_connect(p);
    assert_true(ask_nothing());
    assert_int_equal(p->i->last.n, 0);
}

static void delete_of_the_child_is_answered_with_ours(void **state)
{
    (void)state;
    struct ike_delete d;
    pair_connect(p);
    uint32_t ours = edge_act(p->e, ACT_CHILD_UP)->child->spi_in;
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_CHILD_DELETE, .spi_in = p->i->child[0].spi_in});
    pair_give(p);
    assert_int_equal(edge_act(p->e, ACT_CHILD_DOWN)->spi_in, ours);
    assert_int_equal(edge_act(p->e, ACT_CHILD_DOWN)->why, CHILD_DOWN_PEER);
    pair_carry(p);
    OK(ike_delete_read(ike_chain_find(&p->i->last.chain, PAYLOAD_DELETE)->body, &d));
    assert_int_equal(d.n, 1);
    assert_int_equal(rd_u32(&d.spis), ours);
    assert_int_equal(only_sa().children, 0);
    pair_assert_agree(p);
}

static void delete_of_the_ike_sa_is_answered_empty_and_ends_it(void **state)
{
    (void)state;
    pair_connect(p);
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_IKE_DELETE});
    pair_give(p);
    assert_non_null(edge_act(p->e, ACT_CHILD_DOWN));
    assert_non_null(edge_act(p->e, ACT_DOWN));
    assert_true(ike_idle(p->e->ike));
    pair_give_again(p); /* its answer got lost: the same again */
    assert_int_equal(edge_sent(p->e), 1);
    pair_carry(p);
    assert_int_equal(p->i->last.n, 0);
    pair_assert_agree(p);
}

/* ---- our own requests */

static void removed_tunnel_sends_delete_and_ends_when_answered(void **state)
{
    (void)state;
    const struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_REMOVE, .handle = EDGE_TUNNEL};
    pair_connect(p);
    edge_clear(p->e);
    OK(edge_command(p->e, cmd));
    assert_non_null(edge_act(p->e, ACT_CHILD_DOWN));
    assert_non_null(edge_act(p->e, ACT_DOWN));
    assert_int_equal(pair_header(p, 0).flags, 0); /* a request from the original responder */
    assert_false(ike_idle(p->e->ike));
    pair_carry(p);
    assert_non_null(ike_chain_find(&p->i->last.chain, PAYLOAD_DELETE));
    assert_true(ike_idle(p->e->ike));
    pair_assert_agree(p);
    assert_int_equal(edge_command(p->e, cmd), RC_ABSENT);
}

static void unanswered_request_is_repeated_and_given_up(void **state)
{
    (void)state;
    size_t n = 0;
    pair_connect(p);
    edge_clear(p->e);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_SHUTDOWN}));
    n += edge_sent(p->e);
    while (!ike_idle(p->e->ike)) {
        p->e->now = ike_deadline(p->e->ike);
        assert_true(p->e->now != NEVER);
        edge_clear(p->e);
        edge_tick(p->e);
        n += edge_sent(p->e);
    }
    assert_int_equal(n, 13); /* first and retransmit_tries */
}

static void shutdown_tells_the_peer(void **state)
{
    (void)state;
    pair_connect(p);
    edge_clear(p->e);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_SHUTDOWN}));
    pair_carry(p);
    assert_true(ike_idle(p->e->ike));
    pair_assert_agree(p);
}

static void changed_secret_ends_the_sa_and_other_changes_do_not(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    pair_connect(p);
    edge_clear(p->e);
    t.n_psks = 2;
    t.psks[1] = (struct psk){.value = span_str("a second key for the rotation")};
    edge_set(p->e, &t);
    assert_int_equal(p->e->acts.n, 0);
    t.psks[0] = t.psks[1];
    t.n_psks = 1;
    edge_set(p->e, &t);
    assert_non_null(edge_act(p->e, ACT_DOWN));
}

/* ---- a peer that moves */

static void peer_behind_nat_is_followed(void **state)
{
    (void)state;
    OK(addr_parse("203.0.113.9", &p->seen.addr));
    p->seen.port = 4500;
    pair_connect(p);
    p->seen.port = 7777;
    assert_true(ask_nothing());
    assert_int_equal(edge_act(p->e, ACT_CHILD_MOVED)->path.remote.port, 7777);
    OK(addr_parse("203.0.113.10", &p->seen.addr)); /* the NAT has many addresses */
    assert_true(ask_nothing());
    assert_true(addr_equal(&edge_act(p->e, ACT_CHILD_MOVED)->path.remote.addr, &p->seen.addr));
}

static void peer_without_nat_moves_its_port_only(void **state)
{
    (void)state;
    pair_connect(p);
    p->seen = p->i->local;
    p->seen.port = 1234;
    assert_true(ask_nothing());
    assert_int_equal(edge_act(p->e, ACT_CHILD_MOVED)->path.remote.port, 1234);
    OK(addr_parse("203.0.113.9", &p->seen.addr));
    assert_true(ask_nothing());
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
}

static void repeated_request_from_elsewhere_moves_nothing(void **state)
{
    (void)state;
    OK(addr_parse("203.0.113.9", &p->seen.addr));
    p->seen.port = 4500;
    pair_connect(p);
    assert_true(ask_nothing());
    p->path.remote.port = 6666;
    pair_give_again(p);
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_int_equal(only_sa().path.remote.port, 4500);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bad_headers_are_silent),
        CASE(higher_major_version_is_told_ours),
        CASE(unknown_spi_is_told_so_without_amplification),
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
        CASE(liveness_is_answered_empty),
        CASE(delete_of_the_child_is_answered_with_ours),
        CASE(delete_of_the_ike_sa_is_answered_empty_and_ends_it),
        CASE(removed_tunnel_sends_delete_and_ends_when_answered),
        CASE(unanswered_request_is_repeated_and_given_up),
        CASE(shutdown_tells_the_peer),
        CASE(changed_secret_ends_the_sa_and_other_changes_do_not),
        CASE(peer_behind_nat_is_followed),
        CASE(peer_without_nat_moves_its_port_only),
        CASE(repeated_request_from_elsewhere_moves_nothing),
    };
    return cmocka_run_group_tests_name("ike: engine", tests, NULL, NULL);
}
