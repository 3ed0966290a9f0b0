/* Which tunnel an inner packet takes: longest prefix, priority, and what changes of the tables do; IPv4 and IPv6, and accounts
 * whose addresses overlap. Flows and weights have test_dp_flows.c. */
#include "lib/inet.h"
#include "lib/ways.h"

#include <stdio.h>

static int taken_to(struct world *w, const char *dst)
{
    const char *src = strchr(dst, ':') ? "2001:db8:77::1" : "10.9.0.1";
    return taken(w, ACCOUNT, ip_packet(src, dst, IP_PROTO_UDP, 8));
}

/* ---- longest prefix -------------------------------------------------------------------------------------------- */

static void longest_prefix(void **state)
{
    struct world *w = *state;
    add_tunnels(w, 8);
    world_route(w, EDGE, "0.0.0.0/0", FIRST, 100, 1);
    assert_int_equal(taken_to(w, "8.8.8.8"), 0);
    world_route(w, EDGE, "20.0.0.0/8", FIRST + 1, 100, 1);
    world_route(w, EDGE, "20.1.0.0/16", FIRST + 2, 100, 1);
    world_route(w, EDGE, "20.1.1.0/24", FIRST + 3, 200, 1); /* the length comes before the priority */
    world_route(w, EDGE, "20.1.1.1/32", FIRST + 4, 300, 1);
    world_route(w, EDGE, "20.1.1.0/31", FIRST + 5, 300, 1);
    static const struct {
        const char *dst;
        int tunnel;
    } row[] = {{"20.1.1.1", 4},   {"20.1.1.0", 5}, {"20.1.1.2", 3},       {"20.1.1.255", 3}, {"20.1.2.0", 2},
               {"20.1.0.255", 2}, {"20.2.0.0", 1}, {"20.255.255.255", 1}, {"21.0.0.0", 0},   {"19.255.255.255", 0}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++)
        assert_int_equal(taken_to(w, row[i].dst), row[i].tunnel);
    assert_int_equal(taken_to(w, "2001:db8:3::1"), -1); /* 0.0.0.0/0 is no default for IPv6 */
    world_route(w, EDGE, "::/0", FIRST + 6, 100, 1);
    world_route(w, EDGE, "2001:db8:3::/64", FIRST + 1, 100, 1);
    world_route(w, EDGE, "2001:db8:3::/65", FIRST + 2, 100, 1);
    world_route(w, EDGE, "2001:db8:3::8000:0/97", FIRST + 3, 100, 1);
    world_route(w, EDGE, "2001:db8:3::8000:7/128", FIRST + 4, 100, 1);
    static const struct {
        const char *dst;
        int tunnel;
    } row6[] = {{"2001:db8:3::8000:7", 4},
                {"2001:db8:3::8000:6", 3},
                {"2001:db8:3::7fff:ffff", 2},
                {"2001:db8:3:0:8000::", 1},
                {"2001:db8:3:1::", 6},
                {"2001:db8:2:ffff:ffff:ffff:ffff:ffff", -2},
                {"2001:db8:3:0:7fff::8000:7", 2},
                {"::2", 6},
                {"::20.1.1.1", 6}};
    for (size_t i = 0; i < ARRAY_LEN(row6); i++)
        if (row6[i].tunnel >= 0)
            assert_int_equal(taken_to(w, row6[i].dst), row6[i].tunnel);
    assert_int_equal(taken_to(w, "20.1.1.1"), 4);
}

struct entry {
    struct prefix prefix;
    int tunnel;
};

static struct addr random_addr(uint64_t *d, uint8_t family)
{
    uint8_t b[16];
    for (size_t i = 0; i < sizeof b; i++) /* few distinct octets, so that prefixes nest and share ends */
        b[i] = (uint8_t)(dice(d) >> 33 & 1 ? 0xff : dice(d) >> 33 & 1 ? 0 : 0x55 << (dice(d) >> 33 & 1));
    b[0] = family == 4 ? 20 : 0x20;
    return addr_of(family, b);
}

static int slow_lookup(const struct entry *v, size_t n, const struct addr *a)
{
    int best = -1, len = -1;
    for (size_t i = 0; i < n; i++)
        if (prefix_contains(&v[i].prefix, a) && v[i].prefix.len > len) {
            best = v[i].tunnel;
            len = v[i].prefix.len;
        }
    return best;
}

static struct span packet_to(const struct addr *a)
{
    char text[ADDR_TEXT];
    return ip_packet(a->family == 6 ? "2001:db8:77::1" : "10.9.0.1", addr_text(a, text), IP_PROTO_UDP, 4);
}

/* Random tables, IPv4 and IPv6, against a walk over all of it; then half of it goes, and again. */
static void against_a_slow_table(void **state)
{
    struct world *w = *state;
    enum { N = 300 };
    static struct entry v[N];
    uint64_t d = 314159;
    add_tunnels(w, 16);
    for (int round = 0; round < 12; round++) {
        uint8_t family = round % 2 ? 6 : 4;
        size_t n = 0;
        while (n < N) {
            struct prefix p = {random_addr(&d, family), (uint8_t)(4 + dice(&d) % (family == 4 ? 29 : 125))};
            p = prefix_network(p);
            size_t i = 0;
            while (i < n && !prefix_equal(&v[i].prefix, &p))
                i++;
            if (i < n)
                continue;
            v[n] = (struct entry){p, (int)(dice(&d) % 16)};
            struct route_policy r = {ACCOUNT, p, FIRST + (uint32_t)v[n++].tunnel, 5, 1};
            OK(dp_route_set(w->dp[EDGE], &r));
        }
        OK(dp_publish(w->dp[EDGE]));
        for (int left = 0; left < 3; left++) {
            for (int i = 0; i < 1500; i++) {
                struct addr a = random_addr(&d, family);
                if (i % 3 == 0 && n) { /* an end of a prefix, or just beyond it */
                    a = v[dice(&d) % n].prefix.addr;
                    a.b[addr_size(&a) - 1] ^= (uint8_t)(dice(&d) & 1);
                }
                assert_int_equal(taken(w, ACCOUNT, packet_to(&a)), slow_lookup(v, n, &a));
            }
            for (size_t keep = left ? 0 : n / 2; n > keep; n--)
                dp_route_remove(w->dp[EDGE], ACCOUNT, &v[n - 1].prefix, FIRST + (uint32_t)v[n - 1].tunnel);
            OK(dp_publish(w->dp[EDGE]));
        }
    }
}

/* ---- priority ----------------------------------------------------------------------------------------------------- */

static void lower_priority_wins(void **state)
{
    struct world *w = *state;
    add_tunnels(w, 3);
    world_route(w, EDGE, "20.0.0.0/8", FIRST, 100, 256);
    world_route(w, EDGE, "20.0.0.0/8", FIRST + 1, 50, 1);
    world_route(w, EDGE, "20.0.0.0/8", FIRST + 2, 4000000000u, 256);
    for (uint32_t i = 0; i < 200; i++) {
        char dst[32];
        snprintf(dst, sizeof dst, "20.0.%u.1", i);
        assert_int_equal(taken_to(w, dst), 1);
    }
    world_route(w, EDGE, "20.0.0.0/8", FIRST + 1, 1000050, 1); /* a failed health check: the route stays, behind */
    assert_int_equal(taken_to(w, "20.0.0.1"), 0);
    world_route(w, EDGE, "20.0.0.0/8", FIRST, 1000100, 1);
    assert_int_equal(taken_to(w, "20.0.0.1"), 1);
}

/* An IPsec tunnel without an SA is passed over, down to the classes behind; all lost: the reason is the tunnel's. */
static void tunnel_without_sa_is_passed_over(void **state)
{
    struct world *w = *state;
    add_tunnels(w, 1);
    world_route(w, EDGE, "10.1.0.0/16", FIRST, 200, 1);
    assert_int_equal(taken_to(w, "10.1.0.1"), 0);
    world_up(w, GCM256, 4, false, 4);
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_ESP);
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    assert_int_equal(taken_to(w, "10.1.0.1"), 0);
    struct prefix prefix = net("10.1.0.0/16");
    dp_route_remove(w->dp[EDGE], ACCOUNT, &prefix, FIRST);
    OK(dp_publish(w->dp[EDGE]));
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_dropped(w, EDGE, p, DP_REASON_NO_SA);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &info));
    assert_int_equal(info.counters.drops[DP_REASON_NO_SA], 1);
    /* and a shorter prefix is no way out: the route says where it goes */
    world_route(w, EDGE, "10.0.0.0/8", FIRST, 1, 1);
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_dropped(w, EDGE, p, DP_REASON_NO_SA);
}

/* ---- changes of the tables --------------------------------------------------------------------------------------------------- */

static void changes_wait_for_publish(void **state)
{
    struct world *w = *state;
    add_tunnels(w, 2);
    struct route_policy r = {ACCOUNT, net("20.0.0.0/8"), FIRST, 100, 1};
    OK(dp_route_set(w->dp[EDGE], &r));
    assert_int_equal(taken_to(w, "20.0.0.1"), -1);
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "20.0.0.1"), 0);
    dp_route_remove(w->dp[EDGE], ACCOUNT, &r.prefix, FIRST + 1); /* not there */
    dp_route_remove(w->dp[EDGE], ACCOUNT + 1, &r.prefix, FIRST);
    dp_route_remove(w->dp[EDGE], ACCOUNT, &r.prefix, FIRST);
    assert_int_equal(taken_to(w, "20.0.0.1"), 0);
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "20.0.0.1"), -1);
    r.prefix = (struct prefix){ip("20.1.2.3"), 8}; /* bits behind the length do not count */
    OK(dp_route_set(w->dp[EDGE], &r));
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "20.200.0.1"), 0);
    r.weight = 0; /* is taken for 1 */
    OK(dp_route_set(w->dp[EDGE], &r));
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "20.200.0.1"), 0);
    dp_route_remove(w->dp[EDGE], ACCOUNT, &r.prefix, FIRST);
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "20.200.0.1"), -1);
}

static void routes_refused(void **state)
{
    struct world *w = *state;
    struct route_policy r = {ACCOUNT, net("20.0.0.0/8"), FIRST, 100, 1};
    assert_int_equal(dp_route_set(w->dp[EDGE], &r), RC_ABSENT);
    r.tunnel = 64;
    assert_int_equal(dp_route_set(w->dp[EDGE], &r), RC_ABSENT);
    r.tunnel = GRE_TUNNEL;
    r.prefix = (struct prefix){0};
    assert_int_equal(dp_route_set(w->dp[EDGE], &r), RC_ABSENT);
    uint32_t n = 0;
    enum rc rc;
    for (rc = RC_OK; rc == RC_OK && n < 5000; n++) { /* the world has room for 1000 */
        uint8_t b[4] = {21, (uint8_t)(n >> 8), (uint8_t)n};
        r.prefix = (struct prefix){addr_of(4, b), 24};
        rc = dp_route_set(w->dp[EDGE], &r);
    }
    assert_int_equal(rc, RC_LIMIT);
    assert_in_range(n, 990, 1200);
    OK(dp_publish(w->dp[EDGE]));
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "21.0.7.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_GRE);
}

static void a_tunnel_that_goes_takes_its_routes(void **state)
{
    struct world *w = *state;
    add_tunnels(w, 2);
    world_route(w, EDGE, "20.0.0.0/8", FIRST, 100, 1);
    world_route(w, EDGE, "20.0.0.0/8", FIRST + 1, 200, 1);
    world_route(w, EDGE, "20.1.0.0/16", FIRST, 100, 1);
    assert_int_equal(taken_to(w, "20.1.0.1"), 0);
    dp_tunnel_remove(w->dp[EDGE], FIRST);
    dp_tunnel_remove(w->dp[EDGE], FIRST);
    dp_tunnel_remove(w->dp[EDGE], 64);
    assert_int_equal(taken_to(w, "20.1.0.1"), 0);
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "20.1.0.1"), 1);
    struct tunnel_policy t = gre_number(0, ACCOUNT); /* back, but not its routes */
    world_set(w, EDGE, &t);
    assert_int_equal(taken_to(w, "20.1.0.1"), 1);
}

static void interface_subnets_are_routes(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = gre_number(0, ACCOUNT);
    t.interface4 = net("169.254.77.2/30");
    t.interface6 = net("2001:db8:fe::2/127");
    world_set(w, EDGE, &t);
    assert_int_equal(taken_to(w, "169.254.77.1"), 0);
    assert_int_equal(taken_to(w, "169.254.77.3"), 0);
    assert_int_equal(taken_to(w, "169.254.77.4"), -1);
    assert_int_equal(taken_to(w, "2001:db8:fe::3"), 0);
    assert_int_equal(taken_to(w, "2001:db8:fe::4"), -1);
    struct prefix p = prefix_network(t.interface4);
    dp_route_remove(w->dp[EDGE], ACCOUNT, &p, FIRST); /* they belong to the tunnel, not to the table */
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "169.254.77.1"), 0);
    world_route(w, EDGE, "169.254.77.0/30", FIRST, 9, 9); /* and stay when the table has them too */
    dp_route_remove(w->dp[EDGE], ACCOUNT, &p, FIRST);
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(taken_to(w, "169.254.77.1"), 0);
    t.interface4 = net("169.254.78.2/31");
    t.interface6 = (struct prefix){0};
    world_set(w, EDGE, &t);
    assert_int_equal(taken_to(w, "169.254.77.1"), -1);
    assert_int_equal(taken_to(w, "169.254.78.3"), 0);
    assert_int_equal(taken_to(w, "2001:db8:fe::3"), -1);
    t.account = 8; /* the tunnel moves to another account, and its subnet with it */
    world_set(w, EDGE, &t);
    assert_int_equal(taken_to(w, "169.254.78.3"), -1);
    assert_int_equal(taken(w, 8, ip_packet("10.9.0.1", "169.254.78.3", IP_PROTO_UDP, 8)), 0);
}

/* ---- accounts ------------------------------------------------------------------------------------------------------------------ */

static void accounts_overlap(void **state)
{
    struct world *w = *state;
    enum { ACCOUNTS = 40 };
    struct route_policy r = {.prefix = net("20.0.0.0/8"), .priority = 100, .weight = 1};
    for (uint32_t i = 0; i < ACCOUNTS; i++) { /* numbers that share low bits, so that they meet in the table */
        struct tunnel_policy t = gre_number(i, 1000 + i * 64);
        OK(dp_tunnel_set(w->dp[EDGE], &t));
        r.account = t.account;
        r.tunnel = t.tunnel;
        OK(dp_route_set(w->dp[EDGE], &r));
    }
    OK(dp_publish(w->dp[EDGE]));
    struct span in = exact_copy(ip_packet("10.9.0.1", "20.0.0.1", IP_PROTO_UDP, 8));
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        assert_int_equal(taken(w, 1000 + i * 64, in), i);
    assert_int_equal(taken(w, 999, in), -1);
    assert_int_equal(taken(w, ACCOUNT_NONE, in), -1);
    assert_int_equal(taken(w, 0, in), -1);
    /* one batch of all accounts, the same destination each time */
    struct pkt *v[ACCOUNTS];
    world_done(w);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        v[i] = world_packet(w, in, PKT_FROM_TUN);
        v[i]->account = 1000 + (i * 7 % ACCOUNTS) * 64;
    }
    world_run_tun(w, EDGE, v, ACCOUNTS);
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        assert_int_equal(w->out[i]->outer.dst.b[3], 100 + i * 7 % ACCOUNTS);
    dp_tunnel_remove(w->dp[EDGE], FIRST + 5);
    OK(dp_publish(w->dp[EDGE]));
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        assert_int_equal(taken(w, 1000 + i * 64, in), i == 5 ? -1 : (int)i);
    exact_free(in);
}

/* A batch with alternating families and destinations: the look-up of the packet before must not stick. */
static void batches_do_not_mix_destinations(void **state)
{
    struct world *w = *state;
    add_tunnels(w, 4);
    world_route(w, EDGE, "20.0.0.0/9", FIRST, 1, 1);
    world_route(w, EDGE, "20.128.0.0/9", FIRST + 1, 1, 1);
    world_route(w, EDGE, "2001:db8:20::/48", FIRST + 2, 1, 1);
    world_route(w, EDGE, "2001:db8:21::/48", FIRST + 3, 1, 1);
    static const char *const dst[] = {"20.0.0.1", "20.128.0.1", "2001:db8:20::1", "2001:db8:21::1", "30.0.0.1"};
    struct pkt *v[PKT_BATCH];
    uint64_t d = 5;
    uint8_t kind[PKT_BATCH];
    for (int round = 0; round < 50; round++) {
        world_done(w);
        for (size_t i = 0; i < PKT_BATCH; i++) {
            kind[i] = (uint8_t)(dice(&d) >> 30) % 5;
            const char *src = kind[i] == 2 || kind[i] == 3 ? "2001:db8:77::1" : "10.9.0.1";
            v[i] = world_packet(w, ip_packet(src, dst[kind[i]], IP_PROTO_UDP, 8), PKT_FROM_TUN);
        }
        world_run_tun(w, EDGE, v, PKT_BATCH);
        assert_int_equal(w->n_out, PKT_BATCH);
        for (size_t i = 0, lost = 0, sent = 0; i < PKT_BATCH; i++) { /* each list in the order of the batch */
            bool none = kind[i] == 4;
            for (size_t *at = none ? &lost : &sent;; (*at)++)
                if ((w->out[*at]->verdict == PKT_DROP) == none) {
                    assert_true(none || w->out[*at]->outer.dst.b[3] == 100 + kind[i]);
                    (*at)++;
                    break;
                }
        }
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(longest_prefix),
        T(against_a_slow_table),
        T(lower_priority_wins),
        T(tunnel_without_sa_is_passed_over),
        T(changes_wait_for_publish),
        T(routes_refused),
        T(a_tunnel_that_goes_takes_its_routes),
        T(interface_subnets_are_routes),
        T(accounts_overlap),
        T(batches_do_not_mix_destinations),
    };
    return cmocka_run_group_tests_name("dp_route", tests, NULL, NULL);
}
