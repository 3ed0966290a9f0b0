/* outer.mode packet between two network namespaces: what goes by the packet sockets, what by the raw ones, and nothing twice. */
#include "io/lib/cable.h"
#include "io/lib/place.h"

#include "io/ways.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HIGH "198.51.100.9"

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
    descriptors_note();
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
    descriptors_check();
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

/* An ESP packet from NEAR to FAR as a frame to that link address; `damage` goes into its checksum. */
static void inject(struct pair *pair, const uint8_t link[6], uint8_t damage)
{
    static const char header[] = "45000078 0000 4000 4032 0000 0a090001 0a090002";
    uint8_t frame[120] = {0};
    struct span h = hex(header);
    uint32_t sum = 0;
    memcpy(frame, h.p, h.n);
    for (struct rd r = rd_of(h); rd_left(&r);)
        sum += rd_u16(&r);
    sum = ~((sum & 0xffff) + (sum >> 16));
    frame[10] = (uint8_t)(sum >> 8 ^ damage);
    frame[11] = (uint8_t)sum;
    frame[22] = 0x10; /* the SPI of all */
    enter(pair->near_ns);
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_IP),
                             .sll_ifindex = (int)if_nametoindex("wire"),
                             .sll_halen = 6};
    memcpy(to.sll_addr, link, 6);
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(fd, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to), sizeof frame);
    close(fd);
}

static void link_address(int ns, uint8_t ret[6])
{
    struct ifreq r = {.ifr_name = "wire"};
    enter(ns);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &r), 0);
    memcpy(ret, r.ifr_hwaddr.sa_data, 6);
    close(fd);
}

/* The ring sees what ip_rcv() would have refused. */
static void broken_and_foreign_frames_stay_out(void **state)
{
    struct pair *pair = both(state);
    static const uint8_t other[6] = {2, 0, 0, 0, 0, 0x77};
    uint8_t link[6];
    resolve(pair, false);
    uint64_t before = io_outer_count(pair->far.outer, IO_OUTER_COUNT_RECEIVED);
    link_address(pair->far_ns, link);
    inject(pair, other, 0); /* as on a device that hears all */
    silence(pair);
    assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_RECEIVED), before);
    inject(pair, link, 1);
    silence(pair);
    assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_RECEIVED), before + 1); /* and dropped */
    assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_DROP_HEADER), 1);
    inject(pair, link, 0);
    size_t at = pair->far.n;
    run(&pair->far, 1);
    assert_int_equal(pair->far.n, at + 1);
    assert_int_equal(pair->far.got[at % GOT_MAX].n, 100);
}

/* The checksum's carry, and a carry of that: whatever TTL and length are. And as long as the device lets through. */
static void every_header_adds_up(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, false);
    struct addr ends[2];
    enter(pair->near_ns);
    add_address("wire", HIGH, 24); /* large words, or no carry goes that far */
    OK(addr_parse(HIGH, &ends[0]));
    OK(addr_parse(FAR, &ends[1]));
    uint32_t base = 0x4500 + 2 + 20 + 0x4000 + 50, twice = 0;
    for (size_t i = 0; i < 2; i++)
        base += (uint32_t)(ends[i].b[0] << 8 | ends[i].b[1]) + (uint32_t)(ends[i].b[2] << 8 | ends[i].b[3]);
    for (unsigned ttl = 1; ttl < 256; ttl++)
        for (uint32_t size = 8; size <= 1480; size++) {
            uint32_t sum = base + (ttl << 8) + size;
            bool again = (sum & 0xffff) + (sum >> 16) > 0xffff;
            if (!again && (size < 1480 || ttl % 16))
                continue;
            twice += again;
            struct pkt *k = esp(&pair->near, NEAR, FAR, size, size);
            k->verdict = PKT_TO_ESP;
            k->outer = (struct pkt_outer){.src = ends[0], .dst = ends[1], .tos = 2, .ttl = (uint8_t)ttl, .df = true};
            assert_int_equal(send_all(&pair->near, &k, 1), 0);
            size_t at = pair->far.n;
            run(&pair->far, 1);
            assert_int_equal(pair->far.n, at + 1);
            assert_int_equal(pair->far.got[at % GOT_MAX].n, size);
            assert_int_equal(pair->far.got[at % GOT_MAX].outer.ttl, ttl);
        }
    assert_true(twice > 0);
    assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_DROP_HEADER), 0);
}

/* What is known of a way is forgotten when the kernel says that it has changed. */
static void ways_follow_neighbour_and_route(void **state)
{
    struct pair *pair = both(state);
    static const uint8_t other[6] = {2, 0, 0, 0, 0, 0x77};
    uint8_t link[6];
    union netlink_message m;
    struct addr far;
    OK(addr_parse(FAR, &far));
    link_address(pair->far_ns, link);
    resolve(pair, false);
    enter(pair->near_ns);
    for (unsigned right = 0; right < 2; right++) {
        struct ndmsg *n = netlink_begin(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof *n);
        *n = (struct ndmsg){
            .ndm_family = AF_INET, .ndm_ifindex = (int)if_nametoindex("wire"), .ndm_state = NUD_PERMANENT};
        mnl_attr_put(&m.header, NDA_DST, 4, far.b);
        mnl_attr_put(&m.header, NDA_LLADDR, 6, right ? link : other);
        ask(&m);
        wait_at(&pair->near, 20 * NS_PER_MS);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 100, true, i, 1), 0);
            if (right)
                expect(pair, PKT_FROM_ESP, 100, true, i, 1);
            else
                silence(pair);
        }
    }
    for (unsigned type = 0; type < 2; type++) { /* a route that is none, and its end */
        struct rtmsg *r = netlink_begin(&m, type ? RTM_DELROUTE : RTM_NEWROUTE, type ? 0 : NLM_F_CREATE, sizeof *r);
        *r = (struct rtmsg){.rtm_family = AF_INET,
                            .rtm_dst_len = 32,
                            .rtm_table = RT_TABLE_MAIN,
                            .rtm_protocol = RTPROT_STATIC,
                            .rtm_type = RTN_UNREACHABLE};
        mnl_attr_put(&m.header, RTA_DST, 4, far.b);
        ask(&m);
        wait_at(&pair->near, 150 * NS_PER_MS);
        assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 100, true, 5, 1), type ? 0 : 1);
    }
    expect(pair, PKT_FROM_ESP, 100, true, 5, 1);
}

/* A link that is down by the time of sending: refused, and counted as what it is. */
static void a_refusal_is_counted(void **state)
{
    struct pair *pair = both(state);
    resolve(pair, false);
    set_link(pair->near_ns, false);
    assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 500, true, 20, 3), 3); /* near has not heard of it yet */
    assert_int_equal(io_outer_count(pair->near.outer, IO_OUTER_COUNT_SEND_UNREACHABLE), 3);
}

/* ---- the ways by themselves */

static void a_way_leads_by_the_gateway(void **state)
{
    struct pair *pair = both(state);
    struct addr far, near, beyond, nearby;
    uint8_t link[6];
    union netlink_message m;
    struct ways w;
    OK(addr_parse(FAR, &far));
    OK(addr_parse(NEAR, &near));
    OK(addr_parse("203.0.113.1", &beyond));
    OK(addr_parse("10.9.0.99", &nearby));
    link_address(pair->far_ns, link);
    resolve(pair, false);
    enter(pair->near_ns);
    struct rtmsg *r = netlink_begin(&m, RTM_NEWROUTE, NLM_F_CREATE, sizeof *r);
    *r = (struct rtmsg){.rtm_family = AF_INET,
                        .rtm_dst_len = 24,
                        .rtm_table = RT_TABLE_MAIN,
                        .rtm_protocol = RTPROT_STATIC,
                        .rtm_type = RTN_UNICAST};
    mnl_attr_put(&m.header, RTA_DST, 4, prefix_network((struct prefix){beyond, 24}).addr.b);
    mnl_attr_put(&m.header, RTA_GATEWAY, 4, far.b);
    ask(&m);
    OK(ways_open(pair->near.loop, 0, NULL, &w, NULL));
    uint64_t now = io_clock_now();
    assert_null(ways_find(&w, now, &near, &beyond)); /* the first is the kernel's */
    const struct way *way = ways_find(&w, now, &near, &beyond);
    assert_non_null(way);
    assert_true(addr_equal(&way->via, &far));
    assert_int_equal(way->link_len, 6);
    assert_memory_equal(way->link, link, 6);
    assert_int_equal(way->mtu, 1500);
    assert_null(ways_find(&w, now + 2 * NS_PER_S, &near, &beyond)); /* and one every second */
    for (unsigned i = 0; i < 2; i++)                                /* nobody is there */
        assert_null(ways_find(&w, now, &near, &nearby));
    for (size_t i = 0; i < WAYS;
         i++) /* all places are taken by others: same destination, another source; and the reverse */
        w.v[i] = (struct way){.src = i % 2 ? near : far, .dst = i % 2 ? near : beyond, .until = NEVER, .device = 1};
    assert_null(ways_find(&w, now, &near, &beyond));
    assert_null(ways_find(&w, now, &near, &far));
    for (size_t i = 0; i < WAYS; i++)
        w.v[i] = (struct way){.src = near, .dst = near, .until = NEVER, .device = 1};
    assert_null(ways_find(&w, now, &near, &beyond));
    ways_close(&w);
}

/* A way is asked for with the mark and the device of the sockets: where those have none, there is none. */
static void a_way_is_that_of_mark_and_device(void **state)
{
    struct pair *pair = both(state);
    struct addr far, near;
    union netlink_message m;
    struct ways w;
    OK(addr_parse(FAR, &far));
    OK(addr_parse(NEAR, &near));
    resolve(pair, false);
    enter(pair->near_ns);
    struct fib_rule_hdr *r = netlink_begin(&m, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, sizeof *r);
    *r = (struct fib_rule_hdr){.family = AF_INET, .action = FR_ACT_UNREACHABLE};
    mnl_attr_put_u32(&m.header, FRA_FWMARK, 5);
    mnl_attr_put_u32(&m.header, FRA_PRIORITY, 10);
    ask(&m);
    for (unsigned i = 0; i < 3; i++) {
        OK(ways_open(pair->near.loop, i == 1 ? 5 : 0, i == 2 ? "lo" : NULL, &w, NULL));
        uint64_t now = io_clock_now();
        ways_find(&w, now, &near, &far);
        assert_int_equal(ways_find(&w, now, &near, &far) != NULL, i == 0);
        ways_close(&w);
    }
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

/* Whoever does not look loses what the ring has no room for, and can say how much that was. */
static void a_full_ring_is_counted(void **state)
{
    enum { FRAMES = 4096 }; /* of the ring */
    struct pair *pair = both(state);
    uint64_t lost = 0;
    resolve(pair, false);
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned sent = 0; sent < FRAMES + 1024; sent += PKT_BATCH)
            assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 100, true, sent, PKT_BATCH), 0);
        run(&pair->far, FRAMES);
        silence(pair);
        assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_RECEIVED), 2 + round * FRAMES);
        uint64_t all = io_outer_count(pair->far.outer, IO_OUTER_COUNT_LOST_RING);
        assert_in_range(all - lost, 1, 1024);
        lost = all;
    }
}

/* By raw socket (no DF) and by ring: what finds no buffer has been received, and is dropped. */
static void without_buffers_all_is_counted(void **state)
{
    static struct pkt *held[8192];
    struct pair *pair = both(state);
    size_t n = 0;
    while (n < ARRAY_LEN(held) && (held[n] = pkt_get(pair->far.pool, false)))
        n++;
    assert_true(n < ARRAY_LEN(held));
    for (unsigned df = 0; df < 2; df++) {
        assert_int_equal(send_numbers(pair, false, PKT_TO_ESP, 100, df, 0, 3), 0);
        silence(pair);
        assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_RECEIVED), 3 + 3 * df);
        assert_int_equal(io_outer_count(pair->far.outer, IO_OUTER_COUNT_DROP_POOL), 3 + 3 * df);
    }
    while (n)
        pkt_put(pair->far.pool, held[--n]);
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
        T(a_full_ring_is_counted),
        T(without_buffers_all_is_counted),
        T(ways_follow_the_link),
        T(broken_and_foreign_frames_stay_out),
        T(every_header_adds_up),
        T(ways_follow_neighbour_and_route),
        T(a_refusal_is_counted),
        T(a_way_leads_by_the_gateway),
        T(a_way_is_that_of_mark_and_device),
        cmocka_unit_test_setup_teardown(a_bound_ring_survives_its_device, pair_open_bound, pair_close)};
    return cmocka_run_group_tests_name("io_packet", tests, namespace_enter, NULL);
}
