/* outer.mode packet between two network namespaces: what goes by the packet sockets, what by the raw ones, and nothing twice. */
#include "io/lib/cable.h"
#include "io/lib/place.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

struct pair {
    struct place near, far;
    int near_ns, far_ns;
};

static int pair_start(void **state, const char *device)
{
    static struct pair pair;
    if (!*state)
        return 0;
    const struct io_outer_config packet = {.packet = true, .device = device, .want = {.gre = true, .ipsec = true}};
    cable_open(&pair.near_ns, &pair.far_ns);
    enter(pair.near_ns);
    place_start(&pair.near, (const char *const[]){NEAR, NEAR6}, 2, &packet);
    enter(pair.far_ns);
    place_start(&pair.far, (const char *const[]){FAR, FAR6}, 2, &packet);
    assert_null(io_outer_trouble(pair.near.outer));
    assert_null(io_outer_trouble(pair.far.outer));
    *state = &pair;
    return 0;
}

static int pair_open(void **state)
{
    return pair_start(state, NULL);
}

static int pair_open_bound(void **state)
{
    return pair_start(state, "wire");
}

static int pair_close(void **state)
{
    struct pair *pair = *state;
    if (!pair)
        return 0;
    place_end(&pair->near);
    place_end(&pair->far);
    close(pair->near_ns);
    close(pair->far_ns);
    return 0;
}

static struct pair *both(void **state)
{
    if (!*state)
        skip();
    return *state;
}

/* ---- packets */

static size_t send_numbers(struct pair *pair, bool v6, enum pkt_verdict verdict, size_t size, bool df, uint32_t first,
                           size_t n)
{
    struct pkt *v[PKT_BATCH];
    for (size_t i = 0; i < n; i++) {
        v[i] = esp(&pair->near, v6 ? NEAR6 : NEAR, v6 ? FAR6 : FAR, size, first + (uint32_t)i);
        v[i]->verdict = verdict;
        v[i]->outer.df = df;
        v[i]->outer.tos = 2;
        v[i]->outer.dport = 0;
    }
    return send_all(&pair->near, v, n);
}

static void expect(struct pair *pair, enum pkt_from from, size_t size, bool df, uint32_t first, size_t n)
{
    size_t at = pair->far.n;
    run(&pair->far, n);
    assert_int_equal(pair->far.n - at, n);
    for (size_t i = 0; i < n; i++) {
        const struct got *g = &pair->far.got[(at + i) % GOT_MAX];
        assert_got(g, size, first + (uint32_t)i, 2);
        assert_int_equal(g->from, from);
        assert_int_equal(g->outer.df, df);
    }
}

static void silence(struct pair *pair)
{
    size_t before = pair->far.n;
    pair->far.wanted = SIZE_MAX;
    pair->far.until = io_clock_now() + 50 * NS_PER_MS;
    OK(io_loop_run(pair->far.loop, NULL));
    assert_int_equal(pair->far.n, before);
}

/* The first packet finds no neighbour: the kernel sends it, and asks. From then on the way is known. */
static void resolve(struct pair *pair, bool v6)
{
    assert_int_equal(send_numbers(pair, v6, PKT_TO_ESP, 100, true, 0, 1), 0);
    expect(pair, PKT_FROM_ESP, 100, true, 0, 1);
    pair->near.wanted = SIZE_MAX; /* near hears of the neighbour, or finds out after a while */
    pair->near.until = io_clock_now() + 150 * NS_PER_MS;
    OK(io_loop_run(pair->near.loop, NULL));
    assert_int_equal(send_numbers(pair, v6, PKT_TO_ESP, 100, true, 1, 1), 0);
    expect(pair, PKT_FROM_ESP, 100, true, 1, 1);
}

/* From here on this raw socket neither sends nor hears anything on the cable. */
static void blind(struct place *p, int ns, enum outer_kind kind, unsigned family)
{
    enter(ns);
    assert_int_equal(setsockopt(p->outer->sockets[kind][family].watch.fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0);
}

/* ---- tests */

static void whole_packets_pass_the_sockets_by(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, false);
    for (unsigned kind = OUTER_GRE; kind <= OUTER_ESP; kind++) {
        blind(&pair->near, pair->near_ns, (enum outer_kind)kind, OUTER_V4);
        blind(&pair->far, pair->far_ns, (enum outer_kind)kind, OUTER_V4);
    }
    assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 1400, true, 10, 60), 0);
    expect(pair, PKT_FROM_ESP, 1400, true, 10, 60);
    assert_int_equal(send_numbers(pair, false, PKT_TO_GRE, 9, true, 70, 3), 0); /* padded on the link */
    expect(pair, PKT_FROM_GRE, 9, true, 70, 3);
    send_numbers(pair, false, PKT_TO_ESP, 200, false, 80, 1); /* without DF: a blind socket's */
    silence(pair);
}

static void nothing_arrives_twice(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, false);
    for (unsigned df = 0; df < 2; df++) {
        assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 1000, df, 10 * df, 5), 0);
        expect(pair, PKT_FROM_ESP, 1000, df, 10 * df, 5);
        silence(pair);
    }
    assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_RECEIVED), 12);
    assert_int_equal(io_outer_count(pair->near.outer, IO_OUTER_COUNT_SENT), 12);
}

static void fragments_are_the_kernels(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, false);
    assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 3000, false, 5, 3), 0);
    expect(pair, PKT_FROM_ESP, 3000, false, 5, 3);
    assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 3000, true, 5, 3), 3);
    assert_int_equal(io_outer_count(pair->near.outer, IO_OUTER_COUNT_SEND_TOO_BIG), 3);
}

static void ipv6_goes_out_by_the_packet_socket(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, true);
    blind(&pair->near, pair->near_ns, OUTER_ESP, OUTER_V6);
    assert_int_equal(send_numbers(pair, true, PKT_TO_ESP, 1400, true, 10, 30), 0);
    expect(pair, PKT_FROM_ESP, 1400, true, 10, 30);
    silence(pair);
}

static void set_mtu(int ns, uint32_t mtu)
{
    union netlink_message m;
    enter(ns);
    struct ifinfomsg *h = netlink_begin(&m, RTM_NEWLINK, 0, sizeof *h);
    h->ifi_index = (int)if_nametoindex("wire");
    mnl_attr_put_u32(&m.header, IFLA_MTU, mtu);
    ask(&m);
}

/* As long as an IPv4 packet can be: so may be what GRO makes of GRE. And about what a frame of the ring holds, 1968 octets. */
static void long_packets_come_by_the_raw_socket(void **state)
{
    static const uint16_t total[] = {65535, 65534, 65533, 1970, 1969, 1968, 1967};
    struct pair *pair = both(state);
    set_mtu(pair->far_ns, 65535);
    set_mtu(pair->near_ns, 65535);
    resolve(pair, false);
    for (unsigned i = 0; i < ARRAY_LEN(total); i++) {
        assert_int_equal(send_numbers(pair, false, PKT_TO_GRE, total[i] - 20u, true, i, 1), 0);
        expect(pair, PKT_FROM_GRE, total[i] - 20u, true, i, 1);
    }
    assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_DROP_TRUNCATED), 0);
    silence(pair);
}

/* What comes in numbers is no longer listened for; what comes after it is, and at once. Ring and raw socket (no DF) alike. */
static void a_packet_alone_after_many(void **state)
{
    struct pair *pair = both(state);
    const struct io_watch *raw = &pair->far.outer->sockets[OUTER_ESP][OUTER_V4].watch;
    resolve(pair, false);
    for (unsigned i = 0; i < 8; i++) {
        bool ring = i % 2;
        assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 600, ring, 100, 40), 0);
        expect(pair, PKT_FROM_ESP, 600, ring, 100, 40);
        assert_int_equal(raw->loop == NULL, !ring);
        if (i < 4)
            silence(pair);
        assert_true(i >= 4 || raw->loop);
        uint64_t before = io_clock_now();
        assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 600, ring, 200, 1), 0);
        expect(pair, PKT_FROM_ESP, 600, ring, 200, 1);
        assert_true(io_clock_now() - before < PATIENCE / 2);
        silence(pair);
        assert_non_null(raw->loop);
    }
}

static void wait_at(struct place *p, uint64_t ns)
{
    p->wanted = SIZE_MAX;
    p->until = io_clock_now() + ns;
    OK(io_loop_run(p->loop, NULL));
}

static void set_link(int ns, bool up)
{
    union netlink_message m;
    enter(ns);
    struct ifinfomsg *h = netlink_begin(&m, RTM_NEWLINK, 0, sizeof *h);
    *h = (struct ifinfomsg){
        .ifi_index = (int)if_nametoindex("wire"), .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP};
    ask(&m);
}

/* A cable pulled and plugged: the neighbour is forgotten, the kernel finds it again. */
static void ways_follow_the_link(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, false);
    for (unsigned up = 0; up < 2; up++) {
        set_link(pair->near_ns, up);
        wait_at(&pair->near, 150 * NS_PER_MS);
        assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 500, true, 20, 1), up ? 0 : 1);
    }
    expect(pair, PKT_FROM_ESP, 500, true, 20, 1);
    assert_int_equal(io_outer_count(pair->near.outer, IO_OUTER_COUNT_SEND_UNREACHABLE), 1);
}

/* The ring of a device that goes down has an error pending: it is taken, or the loop would turn without end. */
static void a_bound_ring_survives_its_device(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, false);
    for (unsigned up = 0; up < 2; up++) {
        set_link(pair->far_ns, up);
        pair->far.rounds = 0;
        wait_at(&pair->far, 200 * NS_PER_MS);
        assert_in_range(pair->far.rounds, 1, 100);
    }
    resolve(pair, false);
    blind(&pair->far, pair->far_ns, OUTER_ESP, OUTER_V4);
    assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 1400, true, 10, 60), 0);
    expect(pair, PKT_FROM_ESP, 1400, true, 10, 60);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, pair_open, pair_close)
    const struct CMUnitTest tests[] = {
        T(whole_packets_pass_the_sockets_by),
        T(nothing_arrives_twice),
        T(fragments_are_the_kernels),
        T(ipv6_goes_out_by_the_packet_socket),
        T(long_packets_come_by_the_raw_socket),
        T(a_packet_alone_after_many),
        T(ways_follow_the_link),
        cmocka_unit_test_setup_teardown(a_bound_ring_survives_its_device, pair_open_bound, pair_close)};
    return cmocka_run_group_tests_name("io_packet", tests, namespace_enter, NULL);
}
