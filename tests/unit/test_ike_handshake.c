/* The responder's handshake: what comes up, what IKE_SA_INIT and IKE_AUTH refuse, and how. */
#include "sim/lib/one_pair.h"

static void start_over(const struct ike_policy *policy)
{
    pair_free(p);
    p = pair_new(policy);
}

/* ---- handshakes */

static void hybrid_handshake_comes_up(void **state)
{
    (void)state;
    pair_connect(p);
    const struct act *up = edge_act(p->e, ACT_CHILD_UP);
    assert_non_null(up);
    assert_int_equal(up->child->tunnel, EDGE_TUNNEL);
    assert_int_equal(up->child->key_len, 36);
    assert_false(up->child->udp);
    assert_true(up < edge_act(p->e, ACT_SEND)); /* ready to receive before the peer hears of it */
    assert_int_equal(edge_act(p->e, ACT_UP)->tunnel, EDGE_TUNNEL);
    struct ike_sa_info info = only_sa();
    assert_true(info.established && info.established_pq && !info.nat_peer && !info.nat_local);
    assert_int_equal(info.suite.addke[0], KE_ML_KEM_768);
    assert_string_equal(p->e->event, "ike.established");
    assert_int_equal(edge_count(p->e, IKE_COUNT_ESTABLISHED), 1);
    pair_assert_agree(p);
}

static void classical_handshake_comes_up(void **state)
{
    (void)state;
    p->i->wish.ike.addke[0] = 0;
    pair_connect(p);
    assert_false(only_sa().established_pq);
    pair_assert_agree(p);
}

static void cbc_modp_handshake_comes_up(void **state)
{
    (void)state;
    p->i->wish.ike = (struct suite){.encr = ENCR_AES_CBC,
                                    .encr_bits = 256,
                                    .integ = INTEG_HMAC_SHA2_256_128,
                                    .prf = PRF_HMAC_SHA2_256,
                                    .ke = KE_MODP2048};
    p->i->wish.esp = (struct suite){.encr = ENCR_AES_CBC, .encr_bits = 256, .integ = INTEG_HMAC_SHA1_96};
    pair_connect(p);
    assert_int_equal(edge_act(p->e, ACT_CHILD_UP)->child->key_len, 32 + 20);
    pair_assert_agree(p);
}

static void two_additional_exchanges_in_fragments(void **state)
{
    (void)state;
    p->i->wish.ike.addke[0] = KE_ML_KEM_1024;
    p->i->wish.ike.addke[1] = KE_ML_KEM_768;
    pair_connect_to(p, IKE_INTERMEDIATE);
    assert_int_equal(p->i->n_out, 2); /* 1568 octets do not fit 1280 */
    pair_give(p);
    assert_int_equal(edge_sent(p->e), 2);
    pair_carry(p);
    assert_int_equal(only_sa().suite.addke[1], KE_ML_KEM_768);
    pair_assert_agree(p);
}

static void without_fragmentation_everything_is_whole(void **state)
{
    (void)state;
    p->i->wish.no_fragmentation = true;
    p->i->wish.ike.addke[0] = KE_ML_KEM_1024;
    pair_connect_to(p, IKE_INTERMEDIATE);
    pair_give(p);
    assert_int_equal(edge_sent(p->e), 1);
    pair_carry(p);
    pair_assert_agree(p);
}

static void full_transcript_is_signed_when_both_ask(void **state)
{
    (void)state;
    p->i->wish.full_transcript = true;
    pair_connect_to(p, IKE_AUTH);
    assert_true(p->i->sa[0]->initial->transcript);
    pair_carry(p);
    pair_assert_agree(p);
}

static void peer_behind_nat_goes_to_4500(void **state)
{
    (void)state;
    OK(addr_parse("203.0.113.9", &p->seen.addr));
    p->seen.port = 61234;
    initiator_connect(p->i, p->e->now);
    pair_give(p);
    assert_false(edge_act(p->e, ACT_SEND)->marker);
    p->seen.port = 61235;
    pair_step(p);
    assert_int_equal(p->path.local.port, 4500);
    assert_true(edge_act(p->e, ACT_SEND)->marker);
    assert_int_equal(edge_act(p->e, ACT_SEND)->path.remote.port, 61235);
    pair_step(p);
    assert_true(edge_act(p->e, ACT_CHILD_UP)->child->udp);
    assert_true(only_sa().nat_peer);
    assert_int_equal(only_sa().path.remote.port, 61235);
}

static void peer_on_4500_that_says_nothing_of_nat_gets_udp(void **state)
{
    (void)state;
    p->i->wish.natd = false;
    pair_connect_to(p, IKE_INTERMEDIATE);
    p->i->sa[0]->port = p->i->sa[0]->remote.port = 4500;
    p->i->out[0].to.port = p->i->out[0].from.port = 4500;
    pair_give(p);
    pair_step(p);
    assert_true(edge_act(p->e, ACT_CHILD_UP)->child->udp);
    assert_false(only_sa().nat_peer);
}

/* ---- IKE_SA_INIT refusals */

static void give_init(void)
{
    initiator_connect(p->i, p->e->now);
    pair_give(p);
}

static void no_proposal_chosen_is_said_and_explained(void **state)
{
    (void)state;
    struct ike_notify n;
    p->i->wish.ike.prf = PRF_HMAC_SHA1;
    give_init();
    assert_int_equal(pair_plain_notify(p, &n), N_NO_PROPOSAL_CHOSEN);
    assert_string_equal(p->e->event, "ike.handshake_failed");
    edge_assert_empty(p->e);
}

static void hybrid_without_intermediate_support_is_refused(void **state)
{
    (void)state;
    struct ike_notify n;
    p->i->wish.no_intermediate = true;
    give_init();
    assert_int_equal(pair_plain_notify(p, &n), N_NO_PROPOSAL_CHOSEN);
}

static void unknown_local_address_is_silent(void **state)
{
    (void)state;
    OK(addr_parse("198.51.100.99", &p->i->remote.addr));
    give_init();
    assert_int_equal(p->e->acts.n, 0);
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_UNKNOWN_ENDPOINT), 1);
}

static void ke_of_another_group_is_told_ours(void **state)
{
    (void)state;
    struct ike_notify n;
    p->i->wish.ke_guess = KE_MODP2048;
    give_init();
    assert_int_equal(pair_plain_notify(p, &n), N_INVALID_KE_PAYLOAD);
    assert_span_equal(n.data, hex("0014"));
    edge_assert_empty(p->e);
    pair_carry(p); /* and it comes back with that */
    assert_int_equal(p->i->wrong_ke, 1);
    pair_assert_agree(p);
}

static void fill_half_open(unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        give_init();
        edge_clear(p->e);
    }
}

static void flood_gets_cookies_and_the_honest_comes_through(void **state)
{
    (void)state;
    struct ike_notify n;
    fill_half_open(3); /* from this address: the threshold */
    give_init();
    assert_int_equal(pair_plain_notify(p, &n), N_COOKIE);
    pair_carry(p);
    assert_int_equal(p->i->cookies, 1);
    assert_non_null(initiator_current(p->i));
    assert_int_equal(edge_count(p->e, IKE_COUNT_COOKIE_SENT), 1);
    assert_int_equal(edge_count(p->e, IKE_COUNT_ESTABLISHED), 1);
}

static void cookie_survives_a_wrong_group(void **state)
{
    (void)state;
    p->i->wish.ke_guess = KE_MODP2048;
    fill_half_open(0);
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.cookie_threshold = 0;
    start_over(&policy);
    p->i->wish.ke_guess = KE_MODP2048;
    give_init();
    pair_carry(p);
    assert_int_equal(p->i->cookies, 1); /* RFC 7296 2.6.1: no second one */
    assert_int_equal(p->i->wrong_ke, 1);
    pair_assert_agree(p);
}

static void full_half_open_table_drops_its_oldest(void **state)
{
    struct ike_policy policy;
    struct ike_sa_info info;
    (void)state;
    ike_policy_default(&policy);
    policy.max_half_open = 2;
    policy.cookie_threshold = policy.cookie_threshold_per_ip = policy.cookie_threshold_per_prefix = 1000;
    policy.init_rate_per_ip = policy.handshakes_per_second = 0;
    start_over(&policy);
    fill_half_open(5);
    assert_int_equal(edge_sas(p->e, &info), 2);
    assert_int_equal(edge_count(p->e, IKE_COUNT_DROP_LIMIT), 3);
    pair_connect(p);
}

/* ---- IKE_AUTH */

/* The handshake, which must be refused: by AUTHENTICATION_FAILED alone, and nothing stays. */
static void refused(void)
{
    initiator_connect(p->i, p->e->now);
    pair_carry(p);
    assert_int_equal(p->i->refused, N_AUTHENTICATION_FAILED);
    assert_int_equal(p->i->last.chain.n, 1);
    assert_null(initiator_current(p->i));
    assert_int_equal(p->e->ups + p->e->child_ups, 0);
    assert_true(ike_idle(p->e->ike));
}

static void wrong_psk_and_unknown_identity_look_alike(void **state)
{
    (void)state;
    struct ike_failure failure;
    p->i->wish.psk = "another key of sufficient length.....";
    refused();
    size_t length = p->i->last.header.length, n = p->i->last.n;
    struct octets first = {.n = n};
    memcpy(first.b, p->i->last.text, n);
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_PSK), 1);
    assert_true(ike_last_failure(p->e->ike, EDGE_TUNNEL, &failure));
    assert_non_null(strstr(failure.text, "wrong pre-shared key"));

    start_over(NULL);
    p->i->wish.id.data[0] = 'x';
    refused();
    assert_int_equal(p->i->last.header.length, length);
    assert_span_equal(span_of(p->i->last.text, p->i->last.n), span_of(first.b, n));
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_IDENTITY), 1);
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_PSK), 0);
}

static void refused_auth_is_repeated_from_memory(void **state)
{
    (void)state;
    struct octets first;
    p->i->wish.psk = "another key of sufficient length.....";
    pair_connect_to(p, IKE_AUTH);
    pair_give(p);
    struct span d = buf_span(&edge_act(p->e, ACT_SEND)->datagram);
    memcpy(first.b, d.p, d.n);
    first.n = d.n;
    pair_give_again(p);
    assert_span_equal(buf_span(&edge_act(p->e, ACT_SEND)->datagram), span_of(first.b, first.n));
    p->e->now += 60 * NS_PER_S;
    edge_tick(p->e);
    edge_assert_empty(p->e);
    pair_give_again(p); /* forgotten: an unknown SPI */
    struct ike_notify n;
    assert_int_equal(pair_plain_notify(p, &n), N_INVALID_IKE_SPI);
}

static void required_pq_refuses_a_classical_sa(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    t.pq = PQ_REQUIRE;
    edge_set(p->e, &t);
    p->i->wish.ike.addke[0] = 0;
    refused();
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_PQ_REQUIRED), 1);
    assert_non_null(strstr(p->e->reason, "post-quantum"));
}

static void strict_peer_refuses_another_address(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    t.strict_peer = true;
    OK(addr_parse("192.0.2.77", &t.customer_endpoint));
    edge_set(p->e, &t);
    refused();
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_PEER_ADDRESS), 1);
}

static void psk_past_its_date_is_refused_and_one_before_it_taken(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    t.psks[1] = t.psks[0];
    t.psks[0] = (struct psk){.value = span_str("the newer key, which the peer has not got yet")};
    t.psks[1].not_after = EDGE_UNIX_TIME + p->e->now / NS_PER_S + 10;
    t.n_psks = 2;
    edge_set(p->e, &t);
    pair_connect(p); /* answered under the key the peer used */
    start_over(NULL);
    edge_set(p->e, &t);
    p->e->now += 11 * NS_PER_S;
    refused();
    assert_non_null(strstr(p->e->reason, "not_after"));
}

static void child_that_fails_leaves_the_ike_sa_up(void **state)
{
    (void)state;
    p->i->wish.esn = true; /* only ESN offered */
    pair_connect(p);
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    assert_null(edge_act(p->e, ACT_CHILD_UP));
    assert_true(only_sa().established);
    assert_int_equal(only_sa().children, 0);
    pair_assert_agree(p);
}

static void selectors_outside_the_policy_leave_the_ike_sa_up(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    OK(addr_parse("10.9.0.0", &t.ts_remote[0].first));
    OK(addr_parse("10.9.255.255", &t.ts_remote[0].last));
    edge_set(p->e, &t);
    pair_connect(p);
    assert_int_equal(p->i->child_refused, N_TS_UNACCEPTABLE);
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_SELECTORS), 1);
}

static void initial_contact_replaces_the_old_sa(void **state)
{
    (void)state;
    pair_connect(p);
    uint32_t old = edge_act(p->e, ACT_CHILD_UP)->child->spi_in;
    p->i->wish.initial_contact = true;
    initiator_sa_close(p->i, p->i->sa[0]); /* it has lost its memory */
    pair_connect(p);
    assert_int_equal(edge_act(p->e, ACT_CHILD_DOWN)->spi_in, old);
    pair_assert_agree(p);
}

static void identity_is_looked_up_with_the_local_address(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    t.tunnel = EDGE_TUNNEL + 1;
    t.name = "branch";
    OK(addr_parse("198.51.100.3", &t.endpoint));
    edge_set(p->e, &t); /* the same name at another address of ours */
    pair_connect(p);
    assert_int_equal(edge_act(p->e, ACT_UP)->tunnel, EDGE_TUNNEL);
    p->i->remote.addr = t.endpoint;
    pair_connect(p);
    assert_int_equal(edge_act(p->e, ACT_UP)->tunnel, EDGE_TUNNEL + 1);
}

/* A reload lets two tunnels change their identities: in between one has both. */
static void identities_change_places(void **state)
{
    (void)state;
    struct tunnel_policy a = edge_tunnel(), b = edge_tunnel();
    b.tunnel = EDGE_TUNNEL + 1;
    b.name = "branch";
    b.identities[0].data[0] = 'b'; /* bffice */
    edge_set(p->e, &b);
    pair_connect(p);
    assert_int_equal(edge_act(p->e, ACT_UP)->tunnel, a.tunnel);
    uint32_t spi = edge_act(p->e, ACT_CHILD_UP)->child->spi_in;

    struct identity office = a.identities[0];
    a.identities[0] = b.identities[0];
    b.identities[0] = office;
    edge_set(p->e, &a);
    assert_int_equal(edge_act(p->e, ACT_CHILD_DOWN)->spi_in, spi); /* whoever that peer is now */
    edge_set(p->e, &b);
    initiator_sa_close(p->i, p->i->sa[0]);
    pair_connect(p);
    assert_int_equal(edge_act(p->e, ACT_UP)->tunnel, b.tunnel);

    a.identities[0] = office; /* one takes it from the other, which is then removed */
    edge_set(p->e, &a);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_REMOVE, .handle = b.tunnel}));
    initiator_sa_close(p->i, p->i->sa[0]);
    pair_connect(p);
    assert_int_equal(edge_act(p->e, ACT_UP)->tunnel, a.tunnel);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hybrid_handshake_comes_up),
        CASE(classical_handshake_comes_up),
        CASE(cbc_modp_handshake_comes_up),
        CASE(two_additional_exchanges_in_fragments),
        CASE(without_fragmentation_everything_is_whole),
        CASE(full_transcript_is_signed_when_both_ask),
        CASE(peer_behind_nat_goes_to_4500),
        CASE(peer_on_4500_that_says_nothing_of_nat_gets_udp),
        CASE(no_proposal_chosen_is_said_and_explained),
        CASE(hybrid_without_intermediate_support_is_refused),
        CASE(unknown_local_address_is_silent),
        CASE(ke_of_another_group_is_told_ours),
        CASE(flood_gets_cookies_and_the_honest_comes_through),
        CASE(cookie_survives_a_wrong_group),
        CASE(full_half_open_table_drops_its_oldest),
        CASE(wrong_psk_and_unknown_identity_look_alike),
        CASE(refused_auth_is_repeated_from_memory),
        CASE(required_pq_refuses_a_classical_sa),
        CASE(strict_peer_refuses_another_address),
        CASE(psk_past_its_date_is_refused_and_one_before_it_taken),
        CASE(child_that_fails_leaves_the_ike_sa_up),
        CASE(selectors_outside_the_policy_leave_the_ike_sa_up),
        CASE(initial_contact_replaces_the_old_sa),
        CASE(identity_is_looked_up_with_the_local_address),
        CASE(identities_change_places),
    };
    return cmocka_run_group_tests_name("ike: handshake", tests, NULL, NULL);
}
