/* A peer that moves (RFC 7296 2.23): ESP from elsewhere only nominates, an answer from there decides. NAT keepalives. */
#include "lib/adv.h"

static struct pair *p;
static struct tunnel_policy tunnel;

static int set_up(void **state)
{
    (void)state;
    p = pair_new(NULL);
    tunnel = edge_tunnel();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    return 0;
}

static struct endpoint endpoint(const char *addr, uint16_t port)
{
    struct endpoint e = {.port = port};
    OK(addr_parse(addr, &e.addr));
    return e;
}

static struct ike_sa_info only_sa(void)
{
    struct ike_sa_info info = {0};
    assert_int_equal(edge_sas(p->e, &info), 1);
    return info;
}

static void connect_behind_nat(void)
{
    p->seen = endpoint("203.0.113.9", 4500);
    pair_connect(p);
    edge_clear(p->e);
}

/* The datapath saw authentic ESP from there. */
static void esp_from(const char *addr, uint16_t port)
{
    struct path path = {.local = endpoint(EDGE_ADDRESS, port ? 4500 : 0), .remote = endpoint(addr, port)};
    edge_clear(p->e);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_MOVED, .spi_in = p->e->child[0].spi_in, .path = &path}));
    assert_null(edge_act(p->e, ACT_CHILD_MOVED)); /* whatever it says */
}

static void assert_sent_to(const char *addr, uint16_t port)
{
    struct endpoint to = endpoint(addr, port);
    assert_int_equal(edge_sent(p->e), 1);
    assert_true(endpoint_equal(&edge_act(p->e, ACT_SEND)->path.remote, &to));
}

/* What the edge sent reaches the peer, whose answer the edge sees coming from there. */
static void answer_from(const char *addr, uint16_t port)
{
    assert_true(pair_take(p));
    p->seen = endpoint(addr, port);
    pair_give(p);
}

static void assert_at(const char *addr, uint16_t port)
{
    struct endpoint at = endpoint(addr, port);
    struct ike_sa_info sa = only_sa();
    assert_true(endpoint_equal(&sa.path.remote, &at));
    for (size_t k = 0; k < p->e->n_children; k++)
        assert_true(endpoint_equal(&p->e->child[k].path.remote, &at));
}

static void wait_for_repetition(void)
{
    edge_clear(p->e);
    p->e->now = ike_deadline(p->e->ike);
    edge_tick(p->e);
}

/* ---- nominations */

static void answer_from_the_nominated_place_moves_the_sa(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.10", 7777);
    assert_sent_to("203.0.113.10", 7777);
    assert_int_equal(pair_header(p, 0).exchange, INFORMATIONAL);
    assert_int_equal(pair_header(p, 0).flags & IKE_FLAG_RESPONSE, 0);
    assert_true(edge_act(p->e, ACT_SEND)->marker);
    assert_at("203.0.113.9", 4500);
    answer_from("203.0.113.10", 7777);
    assert_int_equal(edge_act(p->e, ACT_CHILD_MOVED)->spi_in, p->e->child[0].spi_in);
    assert_true(edge_act(p->e, ACT_CHILD_MOVED)->udp);
    assert_int_equal(edge_act(p->e, ACT_CHILD_MOVED)->tunnel, EDGE_TUNNEL);
    assert_at("203.0.113.10", 7777);
    assert_int_equal(edge_count(p->e, IKE_COUNT_NOMINATED), 1);
    assert_int_equal(edge_count(p->e, IKE_COUNT_MOVED), 1);
    assert_string_equal(p->e->event, "ike.moved");
}

static void answer_from_anywhere_else_moves_nothing(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.10", 7777);
    answer_from("203.0.113.11", 7777);
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_at("203.0.113.9", 4500);
    p->e->now += 6 * NS_PER_S;
    esp_from("203.0.113.10", 7777);
    answer_from("203.0.113.9", 4500); /* the peer is where it was: somebody repeats its packets */
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_at("203.0.113.9", 4500);
    pair_assert_agree(p);
}

static void altered_answer_moves_nothing(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.10", 7777);
    assert_true(pair_take(p));
    p->seen = endpoint("203.0.113.10", 7777);
    p->i->out[0].bytes.p[p->i->out[0].bytes.n - 1] ^= 1;
    pair_give(p);
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_INTEGRITY), 1);
    assert_at("203.0.113.9", 4500);
}

/* A nomination by somebody who only repeats packets costs the SA nothing. */
static void silent_place_is_given_up_and_the_peer_asked(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.66", 6666);
    for (int k = 0; k < 2; k++) {
        wait_for_repetition();
        assert_sent_to("203.0.113.66", 6666);
    }
    wait_for_repetition();
    assert_sent_to("203.0.113.9", 4500);
    answer_from("203.0.113.9", 4500);
    assert_at("203.0.113.9", 4500);
    pair_assert_agree(p);
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_TIMEOUT), 0);
}

static void late_answer_after_giving_up_moves_nothing(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.66", 6666);
    for (int k = 0; k < 3; k++)
        wait_for_repetition();
    answer_from("203.0.113.66", 6666);
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_at("203.0.113.9", 4500);
}

static void nominations_are_limited(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.66", 6666);
    assert_int_equal(edge_sent(p->e), 1);
    for (unsigned k = 0; k < 1000; k++) {
        esp_from("203.0.113.67", (uint16_t)(2000 + k));
        assert_int_equal(edge_sent(p->e), 0);
    }
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_RATE), 1000);
    p->e->now += 5 * NS_PER_S;
    esp_from("203.0.113.67", 2000);
    assert_sent_to("203.0.113.67", 2000); /* the request that is still unanswered */
    answer_from("203.0.113.67", 2000);
    assert_at("203.0.113.67", 2000);
}

/* Window 1: a rekey on its way serves as the question. */
static void outstanding_request_goes_there_too(void **state)
{
    (void)state;
    connect_behind_nat();
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = p->e->child[0].spi_in}));
    assert_sent_to("203.0.113.9", 4500); /* lost: the NAT has forgotten that port */
    esp_from("203.0.113.9", 7777);
    assert_sent_to("203.0.113.9", 7777);
    assert_int_equal(pair_header(p, 0).exchange, CREATE_CHILD_SA);
    answer_from("203.0.113.9", 7777);
    pair_carry(p);
    assert_at("203.0.113.9", 7777);
    pair_assert_agree(p);
    assert_int_equal(edge_count(p->e, IKE_COUNT_REKEYED), 1);
}

static void who_is_being_deleted_is_not_looked_for(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.66", 6666);
    edge_clear(p->e);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_REMOVE, .handle = EDGE_TUNNEL}));
    assert_int_equal(edge_sent(p->e), 0); /* window 1 */
    wait_for_repetition();
    assert_sent_to("203.0.113.9", 4500);
    answer_from("203.0.113.9", 4500);
    assert_sent_to("203.0.113.9", 4500); /* the Delete */
    pair_carry(p);
    assert_true(ike_idle(p->e->ike));
}

static void same_place_is_no_move(void **state)
{
    (void)state;
    connect_behind_nat();
    esp_from("203.0.113.9", 4500);
    assert_int_equal(p->e->acts.n, 0);
    assert_int_equal(edge_count(p->e, IKE_COUNT_NOMINATED), 0);
}

static void another_address_of_ours_nominates_nothing(void **state)
{
    (void)state;
    connect_behind_nat();
    struct path path = {.local = endpoint("198.51.100.3", 4500), .remote = endpoint("203.0.113.10", 7777)};
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_MOVED, .spi_in = p->e->child[0].spi_in, .path = &path}));
    assert_int_equal(p->e->acts.n, 0);
}

static void strict_peer_keeps_its_address(void **state)
{
    (void)state;
    tunnel.strict_peer = true;
    OK(addr_parse("203.0.113.9", &tunnel.customer_endpoint));
    edge_set(p->e, &tunnel);
    connect_behind_nat();
    esp_from("203.0.113.10", 4500);
    assert_int_equal(p->e->acts.n, 0);
    esp_from("203.0.113.9", 7777); /* only the port */
    assert_sent_to("203.0.113.9", 7777);
    answer_from("203.0.113.9", 7777);
    assert_at("203.0.113.9", 7777);
}

static void plain_esp_from_a_new_address(void **state)
{
    (void)state;
    pair_connect(p);
    esp_from("192.0.2.77", 0);
    assert_sent_to("192.0.2.77", 500); /* ESP has no ports: IKE's stay */
    assert_false(edge_act(p->e, ACT_SEND)->marker);
    answer_from("192.0.2.77", 500);
    assert_at("192.0.2.77", 500);
    assert_false(p->e->child[0].udp);
}

static void peer_that_begins_to_encapsulate(void **state)
{
    (void)state;
    pair_connect(p);
    assert_false(p->e->child[0].udp);
    esp_from("203.0.113.10", 7777); /* it went behind a NAT */
    assert_true(edge_act(p->e, ACT_SEND)->marker);
    initiator_current(p->i)->port = initiator_current(p->i)->remote.port = 4500;
    answer_from("203.0.113.10", 7777);
    assert_at("203.0.113.10", 7777);
    assert_true(p->e->child[0].udp);
    assert_true(only_sa().nat_peer);
}

/* Whoever sees plain ESP can wrap it; a peer whose kernel found no NAT would take nothing in UDP from us. */
static void plain_esp_that_somebody_wrapped(void **state)
{
    char at[ADDR_TEXT];
    (void)state;
    pair_connect(p);
    struct ike_sa_info sa = only_sa();
    esp_from(addr_text(&sa.path.remote.addr, at), 4500);
    assert_int_equal(edge_sent(p->e), 0);
    assert_int_equal(edge_count(p->e, IKE_COUNT_NOMINATED), 0);
    assert_false(p->e->child[0].udp);
}

/* ---- requests of the peer */

static bool ask_nothing(void)
{
    uint8_t bytes[16];
    struct ike_writer iw;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    return pair_ask(p, INFORMATIONAL, &iw);
}

static void request_from_another_address_without_nat_nominates(void **state)
{
    (void)state;
    pair_connect(p);
    p->seen = endpoint("192.0.2.77", 500);
    uint8_t bytes[16];
    struct ike_writer iw;
    struct span inner;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    OK(ike_write_finish(&iw, &inner));
    initiator_say(p->i, p->e->now, INFORMATIONAL, ike_write_first(&iw), inner);
    pair_give(p);
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_int_equal(edge_sent(p->e), 2); /* the answer, and our question */
    assert_at("192.0.2.2", 500);
    answer_from("192.0.2.77", 500);
    assert_non_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_at("192.0.2.77", 500);
}

static void peer_behind_nat_is_followed_at_once(void **state)
{
    (void)state;
    connect_behind_nat();
    p->seen = endpoint("203.0.113.10", 7777);
    assert_true(ask_nothing());
    assert_non_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_at("203.0.113.10", 7777);
}

/* ---- we are behind a NAT ourselves */

static void other_destination(struct draft *d, const void *arg)
{
    static const uint8_t OTHER[20];
    (void)arg;
    draft_remove_notify(d, N_NAT_DETECTION_DESTINATION_IP);
    draft_append_notify(d, N_NAT_DETECTION_DESTINATION_IP, span_of(OTHER, sizeof OTHER));
}

static void connect_with_us_behind_nat(void)
{
    static const struct adv_bend BEND = {IKE_SA_INIT, other_destination, NULL};
    static struct adv_bend bend;
    bend = BEND;
    p->i->tampered = true; /* its own detection sees no NAT */
    adv_bend(p, &bend);
    p->i->remote.port = 500;
    p->seen = endpoint("192.0.2.2", 4500);
    initiator_connect(p->i, p->e->now);
    pair_give(p);
    assert_true(pair_take(p));
    for (size_t k = 0; k < p->i->n_sas; k++)
        p->i->sa[k]->port = 4500;
    for (size_t k = 0; k < p->i->n_out; k++)
        p->i->out[k].to.port = p->i->out[k].from.port = 4500;
    pair_carry(p);
    assert_non_null(initiator_current(p->i));
    assert_true(only_sa().nat_local);
    assert_int_equal(only_sa().path.local.port, 4500);
}

static void behind_a_nat_we_do_not_follow(void **state)
{
    (void)state;
    connect_with_us_behind_nat();
    esp_from("203.0.113.10", 7777);
    assert_int_equal(p->e->acts.n, 0);
    p->seen = endpoint("192.0.2.2", 7777);
    assert_true(ask_nothing());
    assert_null(edge_act(p->e, ACT_CHILD_MOVED));
    assert_int_equal(only_sa().path.remote.port, 4500);
}

static unsigned keepalives(uint64_t ns)
{
    unsigned n = 0;
    uint64_t end = p->e->now + ns;
    edge_clear(p->e);
    while (ike_deadline(p->e->ike) <= end) {
        p->e->now = ike_deadline(p->e->ike);
        edge_tick(p->e);
        for (size_t k = 0; k < p->e->acts.n; k++) {
            const struct act *act = &p->e->acts.v[k];
            assert_int_equal(act->type, ACT_SEND);
            assert_span_equal(buf_span(&act->datagram), hex("ff"));
            assert_false(act->marker);
            assert_int_equal(act->path.local.port, 4500);
            n++;
        }
        edge_clear(p->e);
    }
    p->e->now = end;
    return n;
}

static void behind_a_nat_we_keep_its_mapping_alive(void **state)
{
    (void)state;
    struct ike_policy policy;
    connect_with_us_behind_nat();
    assert_int_equal(keepalives(201 * NS_PER_S), 10);
    ike_policy_default(&policy);
    policy.nat_keepalive = 0;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
    assert_int_equal(keepalives(201 * NS_PER_S), 0);
    policy.nat_keepalive = 50 * NS_PER_S;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
    assert_int_equal(keepalives(201 * NS_PER_S), 4);
    assert_int_equal(edge_count(p->e, IKE_COUNT_KEEPALIVE), 14);
}

static void who_is_not_behind_a_nat_sends_no_keepalives(void **state)
{
    (void)state;
    connect_behind_nat(); /* the peer's */
    assert_int_equal(keepalives(600 * NS_PER_S), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(answer_from_the_nominated_place_moves_the_sa),
        CASE(answer_from_anywhere_else_moves_nothing),
        CASE(altered_answer_moves_nothing),
        CASE(silent_place_is_given_up_and_the_peer_asked),
        CASE(late_answer_after_giving_up_moves_nothing),
        CASE(nominations_are_limited),
        CASE(outstanding_request_goes_there_too),
        CASE(who_is_being_deleted_is_not_looked_for),
        CASE(same_place_is_no_move),
        CASE(another_address_of_ours_nominates_nothing),
        CASE(strict_peer_keeps_its_address),
        CASE(plain_esp_from_a_new_address),
        CASE(peer_that_begins_to_encapsulate),
        CASE(plain_esp_that_somebody_wrapped),
        CASE(request_from_another_address_without_nat_nominates),
        CASE(peer_behind_nat_is_followed_at_once),
        CASE(behind_a_nat_we_do_not_follow),
        CASE(behind_a_nat_we_keep_its_mapping_alive),
        CASE(who_is_not_behind_a_nat_sends_no_keepalives),
    };
    return cmocka_run_group_tests_name("ike: a peer that moves", tests, NULL, NULL);
}
