/* Which IKE_SA_INIT is worth a key exchange: cookies by host, prefix and rate; the budget; the secret that servers share. */
#include "lib/adv.h"

#include "ike/engine.h"

static struct ike_policy policy; /* nothing in the way but what a test sets */
static struct span init;         /* an IKE_SA_INIT of the peer */
static uint64_t spi;
static uint8_t with_cookie[2048];

static int set_up(void **state)
{
    adv_set_up(state);
    policy = adv_policy();
    policy.cookie_threshold = policy.cookie_threshold_per_ip = policy.cookie_threshold_per_prefix = 1000000;
    policy.max_half_open = 1000000;
    policy.init_rate_per_ip = policy.handshakes_per_second = 0;
    initiator_connect(adv->i, adv->e->now);
    init = exact_copy(buf_span(&adv->i->out[0].bytes));
    initiator_forget_out(adv->i);
    initiator_sa_close(adv->i, adv->i->sa[0]);
    spi = 0;
    return 0;
}

static int tear_down(void **state)
{
    exact_free(init);
    init = span_of(NULL, 0);
    return adv_tear_down(state);
}

static void obey(void)
{
    OK(edge_command(adv->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
}

static void give(struct span s, const char *from)
{
    struct path path = {.local.port = 500, .remote.port = 500};
    OK(addr_parse(from, &path.remote.addr));
    OK(addr_parse(path.remote.addr.family == 6 ? "2001:db8::2" : EDGE_ADDRESS, &path.local.addr));
    edge_clear(adv->e);
    edge_input(adv->e, &path, s);
}

/* One that the edge has not seen yet. 0: it was answered as it should; else the notify; 65535: silence. */
static uint16_t answer(void)
{
    struct ike_notify n;
    if (!edge_sent(adv->e))
        return UINT16_MAX;
    return pair_plain_notify(adv, &n);
}
static uint16_t ask(const char *from)
{
    struct wr w = wr_of((uint8_t *)(uintptr_t)init.p, 8);
    wr_u64(&w, ++spi);
    give(init, from);
    return answer();
}

/* The message given last, with the cookie that came back in front of its payloads (RFC 7296 2.6). */
static struct span add_cookie(void)
{
    struct ike_notify n;
    struct ike_header h;
    struct wr w = wr_of(with_cookie, sizeof with_cookie);
    assert_int_equal(pair_plain_notify(adv, &n), N_COOKIE);
    OK(ike_header_read(init, &h));
    uint8_t next = h.next;
    h.next = PAYLOAD_NOTIFY;
    h.length += 8 + (uint32_t)n.data.n;
    ike_header_write(&w, &h);
    wr_u8(&w, next);
    wr_u8(&w, 0);
    wr_u16(&w, (uint16_t)(8 + n.data.n));
    wr_u16(&w, 0);
    wr_u16(&w, N_COOKIE);
    wr_bytes(&w, n.data);
    wr_bytes(&w, span_of(init.p + IKE_HEADER_SIZE, init.n - IKE_HEADER_SIZE));
    return wr_span(&w);
}
static uint16_t ask_proved(const char *from)
{
    assert_int_equal(ask(from), N_COOKIE);
    give(add_cookie(), from);
    return answer();
}

/* ---- half-open SAs */

static void prefix_over_its_threshold_gets_cookies(void **state)
{
    (void)state;
    policy.cookie_threshold_per_prefix = 5;
    obey();
    char from[32];
    for (unsigned k = 0; k < 5; k++) {
        snprintf(from, sizeof from, "203.0.113.%u", 1 + 50 * k);
        assert_int_equal(ask(from), 0);
    }
    assert_int_equal(ask("203.0.113.77"), N_COOKIE);
    assert_int_equal(ask("203.0.114.77"), 0); /* the next /24 */
    assert_int_equal(ask_proved("203.0.113.77"), 0);
    adv->e->now += 31 * NS_PER_S; /* they are forgotten, and with them their number */
    edge_tick(adv->e);
    assert_int_equal(ask("203.0.113.77"), 0);
}

static void ipv6_host_is_a_64_and_its_prefix_a_48(void **state)
{
    struct tunnel_policy t = edge_tunnel();
    (void)state;
    t.tunnel = 9;
    t.identities[0].data[0] = 'x';
    OK(addr_parse("2001:db8::2", &t.endpoint));
    edge_set(adv->e, &t);
    policy.cookie_threshold_per_ip = 2;
    policy.cookie_threshold_per_prefix = 4;
    obey();
    assert_int_equal(ask("2001:db8:1:1::1"), 0);
    assert_int_equal(ask("2001:db8:1:1::2"), 0);
    assert_int_equal(ask("2001:db8:1:1:ffff::3"), N_COOKIE);
    assert_int_equal(ask("2001:db8:1:2::1"), 0);
    assert_int_equal(ask("2001:db8:1:3::1"), 0);
    assert_int_equal(ask("2001:db8:1:4::1"), N_COOKIE);
    assert_int_equal(ask("2001:db8:2:1::1"), 0);
}

/* ---- rates */

static void rate_of_one_address_is_limited(void **state)
{
    (void)state;
    policy.init_rate_per_ip = 10;
    obey();
    for (unsigned k = 0; k < 10; k++)
        assert_int_equal(ask("203.0.113.1"), 0);
    for (unsigned k = 0; k < 10; k++) /* with a cookie there is as much again */
        assert_int_equal(ask_proved("203.0.113.1"), 0);
    assert_int_equal(ask_proved("203.0.113.1"), UINT16_MAX);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_DROP_RATE), 1);
    assert_int_equal(ask("203.0.113.2"), 0); /* somebody else */
    adv->e->now += NS_PER_S;
    assert_int_equal(ask("203.0.113.1"), 0);
}

/* A flood in a customer's name: he comes through with a cookie all the same. */
static void forged_flood_does_not_lock_out_whom_it_names(void **state)
{
    (void)state;
    policy.init_rate_per_ip = 10;
    obey();
    for (unsigned k = 0; k < 5000; k++)
        ask("203.0.113.1");
    assert_int_equal(ask_proved("203.0.113.1"), 0);
}

static void rates_live_in_a_table_of_fixed_size(void **state)
{
    char from[32];
    (void)state;
    policy.init_rate_per_ip = 1;
    policy.cookie_threshold = 0; /* every one gets a cookie: no SA, only rates */
    obey();
    for (unsigned k = 0; k < 4 * IKE_RATE_SOURCES_MAX; k++) {
        snprintf(from, sizeof from, "10.%u.%u.1", k >> 8, k & 255);
        assert_int_equal(ask(from), N_COOKIE);
    }
    assert_int_equal(ask_proved("203.0.113.1"), 0);
    assert_int_equal(ask_proved("203.0.113.1"), UINT16_MAX);
}

/* ---- the budget */

static void budget_of_key_exchanges(void **state)
{
    (void)state;
    policy.handshakes_per_second = 20;
    obey();
    for (unsigned k = 0; k < 10; k++)
        assert_int_equal(ask("203.0.113.1"), 0);
    for (unsigned k = 0; k < 10; k++) /* the other half is for those who prove their address */
        assert_int_equal(ask_proved("203.0.113.2"), 0);
    assert_int_equal(ask_proved("203.0.113.3"), UINT16_MAX);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_DROP_BUDGET), 12);
    struct ike_sa_info sa;
    assert_int_equal(edge_sas(adv->e, &sa), 20);
    adv->e->now += NS_PER_S / 20;
    assert_int_equal(ask_proved("203.0.113.3"), 0);
    assert_int_equal(ask_proved("203.0.113.3"), UINT16_MAX);
    adv->e->now += NS_PER_S;
    assert_int_equal(ask("203.0.113.1"), 0);
}

/* What is refused costs no key exchange, so it takes nothing from the budget. */
static void refused_proposals_do_not_spend(void **state)
{
    struct ike_policy other;
    (void)state;
    policy.handshakes_per_second = 2;
    other = policy;
    other.ike.prf[0] = PRF_HMAC_SHA2_512;
    other.ike.n_prf = 1;
    OK(edge_command(adv->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &other}));
    for (unsigned k = 0; k < 50; k++)
        assert_int_equal(ask("203.0.113.1"), N_NO_PROPOSAL_CHOSEN);
    obey();
    assert_int_equal(ask("203.0.113.1"), 0);
}

/* A handshake that has begun goes on, and so do the rekeys of those that are up. */
static void spent_budget_holds_back_nothing_else(void **state)
{
    (void)state;
    adv->i->wish.ike.addke[0] = KE_ML_KEM_768;
    policy.handshakes_per_second = 2;
    obey();
    initiator_connect(adv->i, adv->e->now);
    pair_give(adv);
    assert_int_equal(ask("203.0.113.1"), N_COOKIE);
    give(adv->sent.v[0].n ? buf_span(&adv->sent.v[0]) : init, "192.0.2.2"); /* its answer again */
    pair_carry(adv);
    pair_assert_agree(adv);
    initiator_want(adv->i, adv->e->now, (struct initiator_job){.type = JOB_IKE_REKEY});
    initiator_tick(adv->i, adv->e->now);
    pair_carry(adv);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_IKE_REKEYED), 1);
    pair_assert_agree(adv);
}

/* ---- the secret */

static struct span asked_for_cookie(void)
{
    assert_int_equal(ask("203.0.113.1"), N_COOKIE);
    return add_cookie();
}

static void secret_that_changes_is_good_for_a_while(void **state)
{
    (void)state;
    policy.cookie_threshold = 0;
    obey();
    struct span s = asked_for_cookie();
    memset(policy.cookie_secret, 'b', sizeof policy.cookie_secret);
    obey();
    give(s, "203.0.113.1");
    assert_int_equal(answer(), 0); /* made with the one before */
    s = asked_for_cookie();
    memset(policy.cookie_secret, 'c', sizeof policy.cookie_secret);
    obey();
    memset(policy.cookie_secret, 'd', sizeof policy.cookie_secret);
    obey();
    give(s, "203.0.113.1");
    assert_int_equal(answer(), N_COOKIE); /* two are gone since */
}

static void servers_of_one_secret_take_each_others_cookies(void **state)
{
    (void)state;
    policy.cookie_threshold = 0;
    memset(policy.cookie_secret, 'b', sizeof policy.cookie_secret);
    obey();
    struct span s = asked_for_cookie();
    uint64_t now = adv->e->now;
    for (unsigned k = 0; k < 2; k++) {
        edge_free(adv->e);
        adv->e = edge_new(NULL, 99 + k); /* another server, with another secret, */
        adv->e->now = now;
        if (k == 1)
            obey(); /* or the same */
        else
            policy.cookie_secret[0] ^= 1, obey(), policy.cookie_secret[0] ^= 1;
        give(s, "203.0.113.1");
        assert_int_equal(answer(), k == 1 ? 0 : N_COOKIE);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(prefix_over_its_threshold_gets_cookies),  CASE(ipv6_host_is_a_64_and_its_prefix_a_48),
        CASE(rate_of_one_address_is_limited),          CASE(forged_flood_does_not_lock_out_whom_it_names),
        CASE(rates_live_in_a_table_of_fixed_size),     CASE(budget_of_key_exchanges),
        CASE(refused_proposals_do_not_spend),          CASE(spent_budget_holds_back_nothing_else),
        CASE(secret_that_changes_is_good_for_a_while), CASE(servers_of_one_secret_take_each_others_cookies),
    };
    return cmocka_run_group_tests_name("ike: guard", tests, NULL, NULL);
}
