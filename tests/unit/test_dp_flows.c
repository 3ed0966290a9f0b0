/* Which of several equal tunnels a flow takes: shares by weight, one way per flow, and when a tunnel is lost only its flows move. */
#include "lib/inet.h"
#include "lib/ways.h"

#include <stdio.h>

enum { FLOWS = 20000 };

/* UDP from varying hosts and ports; `v6`: the same by IPv6. */
static struct span flow(uint32_t i, bool v6, size_t payload)
{
    char src[48];
    snprintf(src, sizeof src, v6 ? "2001:db8:77::%x" : "10.9.%u.1", i % 251);
    struct span p = v6 ? ip_packet(src, "2001:db8:20::1", IP_PROTO_UDP, payload + 8)
                       : ip_packet(src, "20.0.0.1", IP_PROTO_UDP, payload + 8);
    uint8_t *udp = edit(p) + (v6 ? 40 : 20);
    store_be16(udp, (uint16_t)(1024 + i));
    store_be16(udp + 2, 443);
    return p;
}

static void take_all(struct world *w, bool v6, int8_t *ret)
{
    for (uint32_t i = 0; i < FLOWS; i++)
        ret[i] = (int8_t)taken(w, ACCOUNT, flow(i, v6, 0));
}

/* Shares as the weights say, within five standard deviations. */
static void assert_shares(const int8_t *to, const uint16_t *weight, size_t n, double *chosen)
{
    double total = 0, flows = 0;
    for (size_t i = 0; i < n; i++)
        total += weight[i];
    memset(chosen, 0, n * sizeof *chosen);
    for (size_t i = 0; i < FLOWS; i++)
        if (to[i] >= 0) {
            assert_true((size_t)to[i] < n);
            chosen[to[i]]++;
            flows++;
        }
    for (size_t i = 0; i < n; i++) {
        double share = weight[i] / total, mean = flows * share, d = chosen[i] - mean;
        if (d * d >
            25 * (mean * (1 - share) + 1) + 1e-4 * mean * mean) { /* and one per cent for an approximate logarithm */
            print_error("tunnel %zu: %.0f of %.0f flows, not %.0f\n", i, chosen[i], flows, mean);
            fail();
        }
    }
}

static void set_weights(struct world *w, const char *prefix, const uint16_t *weight, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (weight[i])
            world_route(w, EDGE, prefix, FIRST + i, 100, weight[i]);
}

static void weights_share_flows(void **state)
{
    struct world *w = *state;
    static const uint16_t set[][5] = {
        {1, 1, 1, 1, 1}, {256, 256, 256, 256, 256}, {1, 2, 3, 4, 5}, {256, 1, 1, 1, 1}, {100, 50, 25, 12, 6}};
    static int8_t to[FLOWS];
    double chosen[5];
    add_tunnels(w, 5);
    for (size_t i = 0; i < ARRAY_LEN(set); i++)
        for (int v6 = 0; v6 < 2; v6++) {
            set_weights(w, v6 ? "2001:db8:20::/48" : "20.0.0.0/8", set[i], 5);
            take_all(w, v6, to);
            assert_shares(to, set[i], 5, chosen);
        }
}

static void a_flow_keeps_its_tunnel(void **state)
{
    struct world *w = *state;
    static const uint16_t weight[] = {3, 1, 2};
    add_tunnels(w, 3);
    set_weights(w, "20.0.0.0/8", weight, 3);
    set_weights(w, "2001:db8:20::/48", weight, 3);
    bool moved = false;
    for (uint32_t i = 0; i < 300; i++)
        for (int v6 = 0; v6 < 2; v6++) {
            int first = taken(w, ACCOUNT, flow(i, v6, 0));
            for (size_t n = 1; n < 1000; n += 333) { /* other lengths, TTL and DSCP: the same flow */
                struct span p = flow(i, v6, n);
                edit(p)[v6 ? 7 : 8] = (uint8_t)(i + 2);
                edit(p)[v6 ? 0 : 1] = v6 ? 0x6b : 0x20;
                edit(p)[v6 ? 60 : 40] ^= 0xff;
                ip_mend(p);
                assert_int_equal(taken(w, ACCOUNT, p), first);
            }
            moved |= taken(w, ACCOUNT, flow(i + 7, v6, 0)) != first;
        }
    assert_true(moved);
}

/* All fragments of a packet go one way, though only the first has ports. */
static void fragments_stay_together(void **state)
{
    struct world *w = *state;
    static const uint16_t weight[] = {1, 1, 1, 1};
    add_tunnels(w, 4);
    set_weights(w, "20.0.0.0/8", weight, 4);
    set_weights(w, "2001:db8:20::/48", weight, 4);
    for (uint32_t i = 0; i < 200; i++) {
        struct span p = flow(i, false, 64);
        edit(p)[6] = 0x20; /* more fragments */
        ip_mend(p);
        int first = taken(w, ACCOUNT, p);
        for (uint8_t offset = 9; offset < 30; offset += 7) {
            p = flow(i + 1000, false, 64); /* what stands where ports would is data */
            memcpy(edit(p) + 12, flow(i, false, 0).p + 12, 8);
            edit(p)[6] = offset < 20 ? 0x20 : 0;
            edit(p)[7] = offset;
            ip_mend(p);
            assert_int_equal(taken(w, ACCOUNT, p), first);
        }
        char src[48];
        snprintf(src, sizeof src, "2001:db8:77::%x", i);
        static const char *const part[2][3] = {
            {"1100 0001 00000007 0035 0035 0010 0000", "1100 0011 00000007 0102 0304 0506 0708",
             "1100 0018 00000007 1112 1314 1516 1718"},
            /* destination options behind the fragment header: the first part shows UDP, the others do not */
            {"3c00 0001 00000008 1100 0104 00000000 0035 0035 0010 0000", "3c00 0011 00000008 0102 0304 0506 0708",
             "3c00 0018 00000008 1112 1314 1516 1718"}};
        for (size_t k = 0; k < 6; k++) {
            int now =
                taken(w, ACCOUNT, ip_packet_of(src, "2001:db8:20::1", IP_PROTO_FRAGMENT, hex(part[k / 3][k % 3])));
            assert_true(now >= 0 && (k % 3 == 0 || now == first));
            first = now;
        }
    }
}

/* ---- a tunnel is lost --------------------------------------------------------------------------------------------------- */

/* Of the flows that were not on `lost` none has moved; those that were are shared among the others by weight. */
static void assert_only_lost_ones_moved(const int8_t *before, const int8_t *after, int lost, const uint16_t *weight,
                                        size_t n)
{
    static int8_t moved[FLOWS];
    uint16_t rest[16];
    double chosen[16];
    for (size_t i = 0; i < n; i++)
        rest[i] = (int)i == lost ? 0 : weight[i];
    size_t n_moved = 0;
    for (size_t i = 0; i < FLOWS; i++) {
        bool was_there = before[i] == lost;
        assert_true(was_there || after[i] == before[i]);
        assert_true(after[i] >= 0 && after[i] != lost);
        moved[i] = was_there ? after[i] : -1;
        n_moved += was_there;
    }
    assert_true(n_moved > 100);
    assert_shares(moved, rest, n, chosen);
}

static void a_route_that_goes_moves_only_its_flows(void **state)
{
    struct world *w = *state;
    static const uint16_t weight[] = {1, 2, 3, 4};
    static int8_t before[FLOWS], after[FLOWS];
    add_tunnels(w, 4);
    struct prefix prefix = net("20.0.0.0/8");
    set_weights(w, "20.0.0.0/8", weight, 4);
    take_all(w, false, before);
    for (uint32_t lost = 0; lost < 4; lost++) {
        dp_route_remove(w->dp[EDGE], ACCOUNT, &prefix, FIRST + lost);
        OK(dp_publish(w->dp[EDGE]));
        take_all(w, false, after);
        assert_only_lost_ones_moved(before, after, (int)lost, weight, 4);
        world_route(w, EDGE, "20.0.0.0/8", FIRST + lost, 100, weight[lost]);
        take_all(w, false, after); /* and back where they were */
        assert_memory_equal(after, before, FLOWS);
        world_route(w, EDGE, "20.0.0.0/8", FIRST + lost, 1000100, weight[lost]); /* a health check fails */
        take_all(w, false, after);
        assert_only_lost_ones_moved(before, after, (int)lost, weight, 4);
        world_route(w, EDGE, "20.0.0.0/8", FIRST + lost, 100, weight[lost]);
    }
}

/* Tunnel 3 is IPsec here: its SA comes and goes without a publication. */
static void an_sa_that_goes_moves_only_its_flows(void **state)
{
    struct world *w = *state;
    static const uint16_t weight[] = {2, 1, 3, 2};
    static int8_t before[FLOWS], after[FLOWS];
    double chosen[4];
    add_tunnels(w, 3);
    set_weights(w, "20.0.0.0/8", weight, 3);
    world_route(w, EDGE, "20.0.0.0/8", IPSEC_TUNNEL, 100, weight[3]);
    struct child_sa c = world_child(EDGE, GCM256);
    c.path.remote.addr = ip("192.0.2.103");
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    for (int round = 0; round < 3; round++) {
        int8_t *to = round == 1 ? after : before;
        for (uint32_t i = 0; i < FLOWS; i++) {
            world_done(w);
            struct pkt *p = world_packet(w, flow(i, false, 0), PKT_FROM_TUN);
            p = world_run_tun(w, EDGE, &p, 1);
            assert_in_range(p->verdict, PKT_TO_GRE, PKT_TO_ESP);
            int t = p->outer.dst.b[3] - 100;
            assert_true(round != 2 || t == before[i]);
            to[i] = (int8_t)t;
        }
        if (round == 0)
            dp_child_down(w->dp[EDGE], SPI_EDGE);
        else if (round == 1)
            OK(dp_child_up(w->dp[EDGE], w->now, &c));
    }
    assert_shares(before, weight, 4, chosen);
    assert_only_lost_ones_moved(before, after, 3, weight, 4);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(weights_share_flows),
        T(a_flow_keeps_its_tunnel),
        T(fragments_stay_together),
        T(a_route_that_goes_moves_only_its_flows),
        T(an_sa_that_goes_moves_only_its_flows),
    };
    return cmocka_run_group_tests_name("dp_flows", tests, NULL, NULL);
}
