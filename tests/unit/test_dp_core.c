/* Around the packet path: the pool, making and freeing cores and workers, events that find no room, checksums that the kernel left open, and
 * doors a packet may not come in by. */
#include "dp/worker.h"

#include <stdio.h>

#include "lib/inet.h"
#include "lib/ways.h"

/* ---- the pool ------------------------------------------------------------------------------------------------- */

static void pool_hands_out_and_takes_back(void **state)
{
    (void)state;
    struct pkt_pool *pool;
    struct pkt *p[7];
    OK(pkt_pool_new(5, 2, &pool));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 7; i++) {
            assert_int_equal(pkt_pool_available(pool, i >= 5), i >= 5 ? 7 - i : 5 - i);
            p[i] = pkt_get(pool, i >= 5);
            assert_non_null(p[i]);
            size_t payload = i >= 5 ? PKT_LARGE : PKT_SMALL;
            assert_int_equal(pkt_headroom(p[i]), PKT_HEADROOM);
            assert_int_equal(p[i]->len, 0);
            assert_int_equal(p[i]->outer.dst.family, 0);
            assert_int_equal(p[i]->offload.gso_size, 0);
            assert_true(pkt_tailroom(p[i]) >= payload + PKT_TAILROOM);
            memset(p[i]->room, (int)i, p[i]->cap); /* every octet is this buffer's own */
            p[i]->data = p[i]->room + i;
            p[i]->len = 99;
            p[i]->outer.dst = ip("10.0.0.1");
            p[i]->offload.gso_size = 5;
        }
        assert_null(pkt_get(pool, false));
        assert_null(pkt_get(pool, true));
        for (size_t i = 0; i < 7; i++) {
            for (size_t k = 0; k < p[i]->cap; k++)
                assert_int_equal(p[i]->room[k], i);
            pkt_put(pool, p[i]);
        }
        pkt_put(pool, NULL);
        pkt_put(pool, p[0]); /* once too often: nothing breaks, and no more come out than there are */
        assert_int_equal(pkt_pool_available(pool, false), 5);
        assert_int_equal(pkt_pool_available(pool, true), 2);
    }
    pkt_pool_free(pool);
    pkt_pool_free(NULL);
}

static void pool_sizes(void **state)
{
    (void)state;
    struct pkt_pool *pool = NULL;
    assert_int_equal(pkt_pool_new(0, 0, &pool), RC_RANGE);
    assert_int_equal(pkt_pool_new(SIZE_MAX, 0, &pool), RC_RANGE);
    assert_int_equal(pkt_pool_new(0, SIZE_MAX / 2, &pool), RC_RANGE);
    assert_null(pool);
    OK(pkt_pool_new(0, 1, &pool));
    assert_null(pkt_get(pool, false));
    pkt_put(pool, pkt_get(pool, true));
    pkt_pool_free(pool);
}

/* ---- cores and workers ------------------------------------------------------------------------------------------ */

static void cores_refused(void **state)
{
    struct world *w = *state;
    struct dp *dp = NULL;
    struct dp_config good = {
        .crypto = w->crypto, .rng = &w->rng, .sender_id = 0xffffff, .max_tunnels = 1, .max_sas = 1, .max_routes = 1};
    struct dp_config c = good;
    c.sender_id = 0x1000000; /* 24 bits of an IV */
    assert_int_equal(dp_new(&c, &dp), RC_RANGE);
    c = good;
    c.max_tunnels = 0;
    assert_int_equal(dp_new(&c, &dp), RC_RANGE);
    c.max_tunnels = TUNNEL_NONE;
    assert_int_equal(dp_new(&c, &dp), RC_RANGE);
    assert_null(dp);
    for (c = good; c.workers <= DP_WORKERS_MAX; c.workers += 16) {
        unsigned n = c.workers ? c.workers : 1;
        OK(dp_new(&c, &dp));
        struct dp_worker *first, *other = NULL, *last = NULL;
        OK(dp_worker_new(dp, 0, NULL, &first));
        assert_int_equal(dp_worker_new(dp, 0, NULL, &other), RC_RANGE); /* taken */
        assert_int_equal(dp_worker_new(dp, n, NULL, &other),
                         RC_RANGE); /* nobody would wait for it to let go of garbage */
        assert_null(other);
        if (n > 1)
            OK(dp_worker_new(dp, n - 1, NULL, &last));
        dp_worker_free(first);
        OK(dp_worker_new(dp, 0, NULL, &first));
        dp_worker_free(first);
        dp_worker_free(last);
        dp_free(dp);
    }
    dp_worker_free(NULL);
    dp_free(NULL);
}

static void publishing_nothing(void **state)
{
    struct world *w = *state;
    const struct tables *before = w->dp[EDGE]->tables;
    OK(dp_publish(w->dp[EDGE]));
    assert_ptr_equal(w->dp[EDGE]->tables, before);
    struct route_policy r = {ACCOUNT, net("20.0.0.0/8"), GRE_TUNNEL, 1, 1};
    OK(dp_route_set(w->dp[EDGE], &r));
    OK(dp_publish(w->dp[EDGE]));
    assert_ptr_not_equal(w->dp[EDGE]->tables, before);
}

/* A core that is freed with all it has: routes, SAs, sources, tunnels changed and not published. ASan looks for what stays. */
static void freed_while_full(void **state)
{
    struct world *w = *state;
    struct dp_config config = {.crypto = w->crypto, .rng = &w->rng, .max_tunnels = 9, .max_sas = 9, .max_routes = 9};
    struct dp *dp;
    OK(dp_new(&config, &dp));
    struct prefix sources[] = {net("10.0.0.0/8")};
    struct tunnel_policy g = world_gre(EDGE), e = world_ipsec(EDGE);
    g.sources = e.sources = sources;
    g.n_sources = e.n_sources = 1;
    OK(dp_tunnel_set(dp, &g));
    OK(dp_tunnel_set(dp, &e));
    OK(dp_publish(dp));
    struct child_sa c = world_child(EDGE, GCM256);
    OK(dp_child_up(dp, w->now, &c));
    struct route_policy r = {ACCOUNT, net("20.0.0.0/8"), IPSEC_TUNNEL, 1, 1};
    OK(dp_route_set(dp, &r));
    g.key = 1;
    g.has_key = true;
    OK(dp_tunnel_set(dp, &g));
    OK(dp_tunnel_set(dp, &g)); /* twice in a row */
    g.tunnel = 3;
    OK(dp_tunnel_set(dp, &g));
    dp_free(dp);
}

static void names_of_reasons(void **state)
{
    (void)state;
    for (int i = 0; i < DP_REASON_END; i++) {
        assert_true(strlen(dp_reason_name(i)) > 1);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(dp_reason_name(i), dp_reason_name(k));
    }
    assert_string_equal(dp_reason_name(DP_REASON_NO_ROUTE), "no_route");
    assert_string_equal(dp_reason_name(DP_REASON_END), "?");
    assert_string_equal(dp_reason_name((enum dp_reason) - 1), "?");
}

/* ---- events ---------------------------------------------------------------------------------------------------------- */

/* The ring is full: nothing is lost, a later packet raises the event again. */
static void events_wait_for_room(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct span in = exact_copy(ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 8));
    struct dp_event e;
    for (uint32_t i = 0; i < EVENTS + 50; i++) { /* each from a place of its own */
        struct pkt *p = world_tun(w, PEER, in);
        uint8_t from[4] = {203, 0, (uint8_t)(i >> 8), (uint8_t)i};
        p->outer.src = addr_of(4, from);
        assert_int_equal(world_carry(w, EDGE)->verdict, PKT_TO_TUN);
    }
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 1);
    assert_int_equal(e.type, DP_EVENT_SA_SEEN);
    for (uint32_t i = 0; i < EVENTS - 1; i++) {
        assert_int_equal(dp_events(w->w[EDGE], &e, 1), 1);
        assert_int_equal(e.type, DP_EVENT_PEER_MOVED);
        assert_int_equal(e.spi_in, SPI_EDGE);
        assert_int_equal(be16(e.path.remote.addr.b + 2), i); /* in order */
    }
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 0);
    struct pkt *p = world_tun(w, PEER, in); /* the one that found no room is told now */
    p->outer.src = ip("203.0.1.49");
    world_carry(w, EDGE);
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 1);
    assert_int_equal(be16(e.path.remote.addr.b + 2), 0x131);
    exact_free(in);
}

/* ---- a checksum left open (struct virtio_net_hdr, NEEDS_CSUM) ------------------------------------------------------------ */

/* As the kernel gives it: the field holds the sum of the pseudo-header, not inverted. */
static struct pkt *open_checksum(struct world *w, struct span packet, uint8_t proto, uint16_t offset)
{
    size_t header = packet.p[0] >> 4 == 6 ? 40 : 20;
    uint8_t zero[PKT_SMALL] = {0};
    memcpy(zero, packet.p, header);
    uint16_t pseudo = (uint16_t)~inet_checksum_pseudo(span_of(zero, packet.n), header, proto);
    store_be16(edit(packet) + header + offset, pseudo);
    world_done(w);
    struct pkt *p = world_packet(w, packet, PKT_FROM_TUN);
    p->offload = (struct pkt_offload){.needs_csum = true, .csum_start = (uint16_t)header, .csum_offset = offset};
    return world_run_tun(w, EDGE, &p, 1);
}

static void open_checksums_are_finished(void **state)
{
    struct world *w = *state;
    static const struct {
        uint8_t proto;
        uint16_t offset;
    } row[] = {{IP_PROTO_TCP, 16}, {IP_PROTO_UDP, 6}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++)
        for (int v6 = 0; v6 < 2; v6++)
            for (size_t n = 20; n < 200; n++) {
                struct span in = v6 ? ip_packet("2001:db8:77::1", "2001:db8:2::1", row[i].proto, n)
                                    : ip_packet("10.9.0.1", "10.2.0.1", row[i].proto, n);
                if (row[i].proto == IP_PROTO_TCP)
                    edit(in)[(v6 ? 40 : 20) + 13] = 0x10;
                struct pkt *p = open_checksum(w, in, row[i].proto, row[i].offset);
                assert_int_equal(p->verdict, PKT_TO_GRE);
                assert_int_equal(p->offload.needs_csum, false);
                assert_int_equal(inet_checksum_pseudo(span_of(p->data + 4, p->len - 4), v6 ? 40 : 20, row[i].proto), 0);
            }
    /* and before the MSS is lowered, so that the sum is right after it */
    struct span syn = tcp_syn("10.9.0.1", "10.2.0.1", hex("020405b4"));
    struct pkt *p = open_checksum(w, syn, IP_PROTO_TCP, 16);
    assert_int_equal(be16(p->data + 4 + 42), 1436);
    assert_true(tcp_checksum_ok(span_of(p->data + 4, p->len - 4)));
}

/* RFC 768: a sum of zero is sent as ffff; zero says that there is none. TCP has no such rule. */
static void udp_checksum_is_never_zero(void **state)
{
    struct world *w = *state;
    for (int tcp = 0; tcp < 2; tcp++) {
        struct span in = ip_packet("10.9.0.1", "10.2.0.1", tcp ? IP_PROTO_TCP : IP_PROTO_UDP, 24);
        size_t field = tcp ? 36 : 26;
        store_be16(edit(in) + field, 0);
        edit(in)[20 + 13] = 0;
        store_be16(edit(in) + 42, 0);
        uint16_t sum = inet_checksum_pseudo(in, 20, tcp ? IP_PROTO_TCP : IP_PROTO_UDP);
        store_be16(edit(in) + 42, sum); /* data that makes it come out as zero */
        struct pkt *p = open_checksum(w, in, tcp ? IP_PROTO_TCP : IP_PROTO_UDP, tcp ? 16 : 6);
        assert_int_equal(p->verdict, PKT_TO_GRE);
        assert_int_equal(be16(p->data + 4 + field), tcp ? 0 : 0xffff);
    }
}

static void open_checksum_outside_the_packet(void **state)
{
    struct world *w = *state;
    static const struct {
        uint16_t start, offset;
    } row[] = {{20, 19}, {20, 20}, {20, 17}, {39, 0}, {40, 0}, {65535, 0}, {20, 65534}, {65535, 65535}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        world_done(w);
        struct pkt *p = world_packet(w, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 20), PKT_FROM_TUN);
        p->offload = (struct pkt_offload){.needs_csum = true, .csum_start = row[i].start, .csum_offset = row[i].offset};
        p = world_run_tun(w, EDGE, &p, 1);
        assert_dropped(w, EDGE, p, DP_REASON_OFFLOAD);
    }
}

/* ---- doors ------------------------------------------------------------------------------------------------------------------ */

static void unknown_door(void **state)
{
    struct world *w = *state;
    struct pkt_outer o = world_outer(EDGE, 4);
    struct span g = gre_packet(0, GRE_PROTO_IPV4, 0, 0, ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 8));
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_TUN, g);
    assert_int_equal(p->verdict, PKT_DROP);
    p = world_net(w, EDGE, &o, (enum pkt_from)77, g);
    assert_int_equal(p->verdict, PKT_DROP);
    p = world_net(w, EDGE, &o, PKT_FROM_GRE, g);
    assert_int_equal(p->verdict, PKT_TO_TUN);
}

/* No room behind or in front of an ESP packet: dropped whole, the sequence number stays. */
static void esp_without_room(void **state)
{
    struct world *w = *state;
    world_up(w, CBC256, 4, false, 4);
    for (size_t front = 20; front < 28; front++) {
        world_done(w);
        struct pkt *p = world_packet(w, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8), PKT_FROM_TUN);
        memmove(p->room + front, p->data, p->len);
        p->data = p->room + front;
        p = world_run_tun(w, EDGE, &p, 1);
        if (front < 24)
            assert_dropped(w, EDGE, p, DP_REASON_POOL);
        else
            assert_int_equal(be32(p->data + 4), front - 23);
    }
    for (size_t behind = 16; behind < 24; behind++) { /* 28 octets: text of 32, so 4 and the ICV of 16 */
        world_done(w);
        struct pkt *p = world_packet(w, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8), PKT_FROM_TUN);
        uint32_t cap = p->cap;
        p->cap = PKT_HEADROOM + p->len + (uint32_t)behind;
        p = world_run_tun(w, EDGE, &p, 1);
        p->cap = cap;
        if (behind < 20)
            assert_dropped(w, EDGE, p, DP_REASON_POOL);
        else
            assert_int_equal(be32(p->data + 4), behind - 20 + 5);
    }
}

/* A path on which nothing fits: no fragments of nothing, no ICMP with an MTU of 0. */
static void path_too_small_for_anything(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.path_mtu = 24;
    world_set(w, EDGE, &t);
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(w->n_out, 1);
    assert_dropped(w, EDGE, p, DP_REASON_TOO_BIG);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_int_equal(info.mss4, 1);
    assert_int_equal(info.mss6, 1);
    t.path_mtu = 24 + 27; /* 27 octets: a header and not eight of data */
    world_set(w, EDGE, &t);
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8));
    assert_dropped(w, EDGE, p, DP_REASON_FRAGMENT);
}

/* Equal ways, all of them without an SA: the drop is counted where it belongs. */
static void all_ways_lost(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_ipsec(EDGE);
    t.tunnel = FIRST;
    t.interface4 = t.interface6 = (struct prefix){0};
    world_set(w, EDGE, &t);
    world_route(w, EDGE, "10.1.0.0/16", FIRST, 100, 1);
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    assert_dropped(w, EDGE, p, DP_REASON_NO_SA);
    struct dp_tunnel_info a = {0}, b = {0};
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &a) && dp_tunnel_info(w->dp[EDGE], FIRST, &b));
    assert_int_equal(a.counters.drops[DP_REASON_NO_SA] + b.counters.drops[DP_REASON_NO_SA], 1);
}

/* One way of two is lost: it takes nothing from the other, whichever of them comes first or draws the lower number. */
static void one_way_lost(void **state)
{
    struct world *w = *state;
    add_tunnels(w, 1);
    static const uint32_t good[] = {GRE_TUNNEL, FIRST}; /* before and behind the one without an SA */
    for (uint32_t k = 0; k < 2; k++) {
        char prefix[20], dst[20];
        snprintf(prefix, sizeof prefix, "10.%u.0.0/16", 40 + k);
        world_route(w, EDGE, prefix, IPSEC_TUNNEL, 100, 1);
        world_route(w, EDGE, prefix, good[k], 100, 1);
        for (unsigned i = 0; i < 100; i++) {
            snprintf(dst, sizeof dst, "10.%u.0.%u", 40 + k, i + 1);
            struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", dst, IP_PROTO_UDP, 8));
            assert_int_equal(p->verdict, PKT_TO_GRE);
        }
    }
    assert_int_equal(world_drops(w, EDGE, DP_REASON_NO_SA), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(pool_hands_out_and_takes_back),
        TEST(pool_sizes),
        T(cores_refused),
        T(publishing_nothing),
        T(freed_while_full),
        TEST(names_of_reasons),
        T(events_wait_for_room),
        T(open_checksums_are_finished),
        T(udp_checksum_is_never_zero),
        T(open_checksum_outside_the_packet),
        T(unknown_door),
        T(esp_without_room),
        T(path_too_small_for_anything),
        T(all_ways_lost),
        T(one_way_lost),
    };
    return cmocka_run_group_tests_name("dp_core", tests, NULL, NULL);
}
