/* The control side without memory: of every call each allocation fails once. What was published stays and works, nothing leaks, and the same
 * call succeeds when there is memory again. lib/starve.h is in front of the allocator, in this program alone. */
#include "lib/inet.h"
#include "lib/starve.h"
#include "lib/ways.h"

/* Run `call` with its first, second, .. allocation failing until it needs no more; `check` after each failure. */
static void exhaust(enum rc (*call)(struct world *w), struct world *w, void (*check)(struct world *w))
{
    size_t n = 0;
    enum rc rc;
    do {
        asked = 0;
        fail_at = ++n;
        rc = call(w);
        bool failed = asked >= fail_at;
        fail_at = 0;
        if (failed) { /* a failure may be survived, or refused; not half of either */
            assert_true(rc == RC_OK || rc == RC_NOMEM || rc == RC_CRYPTO);
            if (check)
                check(w);
        }
        if (!failed)
            break;
    } while (rc != RC_OK);
    OK(rc);
    assert_in_range(n, 2, 1000);
}

static void still_works(struct world *w)
{
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_GRE);
    struct pkt_outer o = world_outer(EDGE, 4);
    p = world_net(w, EDGE, &o, PKT_FROM_GRE,
                  gre_packet(0, GRE_PROTO_IPV4, 0, 0, ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 8)));
    assert_int_equal(p->verdict, PKT_TO_TUN);
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "169.254.1.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_GRE);
}

/* ---- making things -------------------------------------------------------------------------------------------- */

static enum rc make_core(struct world *w)
{
    struct dp_config config = {.crypto = w->crypto, .rng = &w->rng, .max_tunnels = 5, .max_sas = 5, .max_routes = 5};
    struct dp *dp = NULL;
    enum rc rc = dp_new(&config, &dp);
    assert_int_equal(rc == RC_OK, dp != NULL);
    fail_at = 0;
    dp_free(dp);
    return rc;
}

static enum rc make_worker(struct world *w)
{
    struct dp_worker *worker = NULL;
    enum rc rc = dp_worker_new(w->dp[EDGE], 3, NULL, &worker);
    assert_int_equal(rc == RC_OK, worker != NULL);
    dp_worker_free(worker);
    return rc;
}

static enum rc make_pool(struct world *w)
{
    (void)w;
    struct pkt_pool *pool = NULL;
    enum rc rc = pkt_pool_new(3, 1, &pool);
    assert_int_equal(rc == RC_OK, pool != NULL);
    pkt_pool_free(pool);
    return rc;
}

static void cores_workers_pools(void **state)
{
    struct world *w = *state;
    dp_worker_free(w->edge[3]);
    w->edge[3] = NULL;
    exhaust(make_core, w, NULL);
    exhaust(make_worker, w, NULL);
    exhaust(make_pool, w, NULL);
}

/* ---- tunnels and routes ------------------------------------------------------------------------------------------- */

static enum rc new_tunnel(struct world *w)
{
    struct prefix sources[] = {net("10.0.0.0/8"), net("2001:db8::/32"), net("10.7.0.0/16")};
    struct tunnel_policy t = gre_number(1, 77); /* the first one of its account */
    t.interface4 = net("169.254.9.0/31");
    t.interface6 = net("2001:db8:fe::2/127");
    t.check_sources = true;
    t.sources = sources;
    t.n_sources = ARRAY_LEN(sources);
    return dp_tunnel_set(w->dp[EDGE], &t);
}

static enum rc changed_tunnel(struct world *w)
{
    struct prefix sources[] = {net("10.2.0.0/16")};
    struct tunnel_policy t = world_gre(EDGE);
    t.interface6 = net("2001:db8:fd::2/127");
    t.check_sources = true;
    t.sources = sources;
    t.n_sources = 1;
    return dp_tunnel_set(w->dp[EDGE], &t);
}

static enum rc publish(struct world *w)
{
    return dp_publish(w->dp[EDGE]);
}

static enum rc endpoints(struct world *w)
{
    struct addr ends[] = {ip("198.51.100.2"), ip("2001:db8:5::2"), ip("198.51.100.9")};
    return dp_endpoints_set(w->dp[EDGE], ends, ARRAY_LEN(ends));
}

static enum rc routes(struct world *w)
{
    struct route_policy r = {78, net("20.0.0.0/8"), GRE_TUNNEL, 1, 1};
    enum rc rc = dp_route_set(w->dp[EDGE], &r);
    r.account = ACCOUNT;
    for (uint8_t i = 1; rc == RC_OK && i < 100; i++) { /* enough to need more than the first nodes of a trie */
        r.prefix = (struct prefix){addr_of(4, (const uint8_t[4]){30, i, (uint8_t)(i * 2), 0}), 24};
        rc = dp_route_set(w->dp[EDGE], &r);
        if (rc != RC_OK)
            break;
        r.prefix = (struct prefix){addr_of(6, (const uint8_t[16]){0x20, 1, i, [15] = i}), 128};
        rc = dp_route_set(w->dp[EDGE], &r);
    }
    return rc;
}

static void tunnels_routes_publication(void **state)
{
    struct world *w = *state;
    exhaust(new_tunnel, w, still_works);
    exhaust(changed_tunnel, w, still_works);
    exhaust(publish, w, still_works);
    exhaust(endpoints, w, still_works);
    exhaust(publish, w, still_works);
    still_works(w);
    assert_int_equal(taken(w, 77, ip_packet("10.9.0.1", "169.254.9.1", IP_PROTO_UDP, 8)), 1);
    assert_int_equal(taken(w, 77, ip_packet("2001:db8:77::1", "2001:db8:fe::3", IP_PROTO_UDP, 8)), 1);
    exhaust(routes, w, still_works);
    exhaust(publish, w, still_works);
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "30.99.198.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_GRE);
    p = world_tun(w, EDGE, ip_packet("2001:db8:77::1", "2001:6300::63", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_GRE);
}

/* ---- SAs --------------------------------------------------------------------------------------------------------------- */

static enum rc child(struct world *w)
{
    struct child_sa c = world_child(EDGE, GCM256);
    return dp_child_up(w->dp[EDGE], w->now, &c);
}

static void no_child(struct world *w)
{
    struct dp_sa_info info;
    still_works(w);
    assert_false(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_dropped(w, EDGE, p, DP_REASON_NO_SA);
}

static enum rc moved(struct world *w)
{
    struct path path = {{ip("198.51.100.2"), 4500}, {ip("192.0.2.77"), 4500}};
    return dp_child_moved(w->dp[EDGE], SPI_EDGE, &path, true);
}

static void not_moved(struct world *w)
{
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_ESP);
}

static void security_associations(void **state)
{
    struct world *w = *state;
    exhaust(child, w, no_child);
    exhaust(moved, w, not_moved);
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_NATT);
    struct child_sa c = world_child(EDGE, GCM256);
    c.spi_in++;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    asked = 0;
    fail_at = 1; /* going down must not need memory */
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    fail_at = 0;
    struct dp_sa_info info;
    assert_false(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE + 1, &info));
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_ESP);
}

/* The packet path itself never asks. */
static void packets_need_no_memory(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    for (int i = 0; i < 3; i++) {
        asked = 0;
        fail_at = SIZE_MAX;
        world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 1000));
        world_carry(w, EDGE);
        still_works(w);
        world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 3000)); /* with fragments */
        fail_at = 0;
        assert_int_equal(asked, 0);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
#define T4(f) cmocka_unit_test_setup_teardown(f, world_open_four, world_close)
    const struct CMUnitTest tests[] = {
        T4(cores_workers_pools),
        T(tunnels_routes_publication),
        T(security_associations),
        T(packets_need_no_memory),
    };
    return cmocka_run_group_tests_name("dp_memory", tests, NULL, NULL);
}
