/* One SA that all workers send on, because its peer does not check replay: what goes out where it came, what does not, and the
 * end of its numbers. The IPsec tunnel is number 1's. */
#include "dp/worker.h"
#include "lib/inet.h"
#include "lib/world.h"

#define EDGE4 "198.51.100.2"
#define PEER4 "192.0.2.2"
#define DOWN "10.9.0.1", "10.1.0.1"     /* to the customer by IPsec */
#define DOWN_GRE "10.9.0.1", "10.2.0.1" /* by GRE */

/* ---- who sends ---------------------------------------------------------------------------------- */

static struct pkt *give(struct world *w, unsigned worker, struct pkt **v, size_t n)
{
    w->w[EDGE] = w->edge[worker];
    struct pkt *out = v[0]->from == PKT_FROM_TUN ? world_run_tun(w, EDGE, v, n) : world_run_net(w, EDGE, v, n);
    w->w[EDGE] = w->edge[0];
    return out;
}

static struct pkt *tun_to(struct world *w, unsigned worker, struct span packet)
{
    world_done(w);
    struct pkt *p = world_packet(w, packet, PKT_FROM_TUN);
    return give(w, worker, &p, 1);
}

static struct dp_sa_info info_of(const struct world *w, uint32_t spi)
{
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], spi, &info));
    return info;
}

static struct sa *sa_of(const struct world *w)
{
    struct sa *sa = sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE);
    assert_non_null(sa);
    return sa;
}

static void any_worker_sends(void **state)
{
    struct world *w = *state;
    for (size_t a = 0; a < world_n_algs; a++) {
        world_unprotect(w);
        world_up(w, world_algs[a], 4, false, 4);
        for (uint32_t i = 0; i < 12; i++) {
            struct span in = ip_packet(DOWN, IP_PROTO_UDP, i * 9);
            struct pkt *p = tun_to(w, i % 4, in);
            assert_int_equal(p->verdict, PKT_TO_ESP);
            assert_int_equal(be32(p->data + 4), i + 1);
            if (world_algs[a].encr == ENCR_AES_GCM_16)
                assert_true(load_be64(p->data + 8) == ((uint64_t)SENDER_ID << 40 | i));
            p = world_carry(w, PEER);
            assert_int_equal(p->verdict, PKT_TO_TUN);
            assert_span_equal(span_of(p->data, p->len), in);
        }
        assert_int_equal(info_of(w, SPI_EDGE).packets_out, 12);
        assert_int_equal(info_of(w, SPI_EDGE).bytes_out, 12 * 20 + 66 * 9);
        assert_int_equal(info_of(w, SPI_EDGE).seq_out, 12);
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

/* What comes in belongs to the tunnel's worker as ever: the packets of an SA stay in order. */
static void in_goes_to_its_worker(void **state)
{
    struct world *w = *state;
    world_unprotect(w);
    world_up(w, GCM256, 4, false, 4);
    world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    struct pkt *p = w->out[0];
    w->n_out = 0;
    p->from = PKT_FROM_ESP;
    give(w, 2, &p, 1);
    assert_int_equal(p->verdict, PKT_TO_WORKER);
    assert_int_equal(p->worker, 1);
    give(w, 1, &p, 1);
    assert_int_equal(p->verdict, PKT_TO_TUN);
}

/* What came in is written to the queues by flow: the kernel gives a flow's other direction to the queue that was last written to. */
static void flows_come_back_by_all_queues(void **state)
{
    struct world *w = *state;
    unsigned n[WORLD_WORKERS] = {0};
    for (int protection = 0; protection < 2; protection++) {
        if (!protection)
            world_unprotect(w);
        else
            for (int side = 0; side < 2; side++) {
                struct tunnel_policy t = world_ipsec(side);
                world_set(w, side, &t);
            }
        world_up(w, GCM256, 4, false, 4);
        for (uint32_t i = 0; i < 400; i++) {
            uint8_t udp[UDP_HEADER] = {(uint8_t)(i / 2), 1, 0, 80, 0, UDP_HEADER};
            static uint8_t queue;
            world_tun(w, PEER, ip_packet_of("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, span_of(udp, sizeof udp)));
            struct pkt *p = w->out[0];
            p->from = PKT_FROM_ESP;
            give(w, 1, &p, 1);
            assert_int_equal(p->verdict, PKT_TO_TUN);
            if (protection) {
                assert_int_equal(p->queue, 0);
                continue;
            }
            assert_in_range(p->queue, 1, WORLD_WORKERS);
            assert_true(i % 2 == 0 || p->queue == queue); /* one flow, one queue */
            queue = p->queue;
            n[queue - 1]++;
        }
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
    for (unsigned i = 0; i < WORLD_WORKERS; i++)
        assert_in_range(n[i], 50, 150);
}

/* A Child SA is what it was made as: a change of the tunnel is for the next one. */
static void a_change_is_for_the_next_sa(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_ipsec(EDGE);
    struct child_sa c = world_child(EDGE, GCM256);
    world_up(w, GCM256, 4, false, 4);
    t.replay_protection = false;
    world_set(w, EDGE, &t);
    assert_int_equal(tun_to(w, 0, ip_packet(DOWN, IP_PROTO_UDP, 20))->verdict, PKT_TO_WORKER);
    c.spi_in++;
    c.spi_out++;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    struct pkt *p = tun_to(w, 0, ip_packet(DOWN, IP_PROTO_UDP, 20));
    assert_int_equal(p->verdict, PKT_TO_ESP);
    assert_int_equal(be32(p->data), c.spi_out);
    t.replay_protection = true;
    world_set(w, EDGE, &t);
    assert_int_equal(tun_to(w, 0, ip_packet(DOWN, IP_PROTO_UDP, 20))->verdict, PKT_TO_ESP);
    c.spi_in++;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    assert_int_equal(tun_to(w, 0, ip_packet(DOWN, IP_PROTO_UDP, 20))->verdict, PKT_TO_WORKER);
}

/* In one batch: two shared SAs by turns, and GRE. */
static void a_mixed_batch(void **state)
{
    struct world *w = *state;
    static const char *const to[] = {"10.1.0.1", "20.0.0.1", "10.2.0.1"};
    struct tunnel_policy t = world_ipsec(EDGE);
    struct child_sa c = world_child(EDGE, CBC256);
    struct pkt *v[48];
    uint32_t n[2] = {0};
    world_unprotect(w);
    t.tunnel = c.tunnel = 6;
    t.interface4 = t.interface6 = (struct prefix){0};
    t.replay_protection = false;
    world_set(w, EDGE, &t);
    world_route(w, EDGE, "20.0.0.0/8", 6, 1, 1);
    c.spi_in++;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    world_up(w, GCM256, 4, false, 4);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = world_packet(w, ip_packet("10.9.0.1", to[i / 4 % 3], IP_PROTO_UDP, 20), PKT_FROM_TUN);
    give(w, 3, v, ARRAY_LEN(v));
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        size_t k = i / 4 % 3;
        assert_int_equal(v[i]->verdict, k == 2 ? PKT_TO_GRE : PKT_TO_ESP);
        if (k < 2)
            assert_int_equal(be32(v[i]->data + 4), ++n[k]);
    }
    assert_int_equal(info_of(w, SPI_EDGE).packets_out, 16);
    assert_int_equal(info_of(w, SPI_EDGE + 1).packets_out, 16);
    assert_int_equal(info_of(w, SPI_EDGE + 1).bytes_out, 16 * 40);
    struct dp_counters total;
    dp_total_info(w->dp[EDGE], &total);
    assert_int_equal(total.packets_out, 48);
}

static void super_packets_are_cut_where_they_came(void **state)
{
    struct world *w = *state;
    uint8_t udp[UDP_HEADER + 2500] = {0x12, 0x34, 0, 80, (UDP_HEADER + 2500) >> 8, (UDP_HEADER + 2500) & 0xff};
    world_unprotect(w);
    world_up(w, GCM256, 4, false, 4);
    struct pkt *p = world_packet(w, ip_packet_of(DOWN, IP_PROTO_UDP, span_of(udp, sizeof udp)), PKT_FROM_TUN);
    p->offload = (struct pkt_offload){.gso = PKT_GSO_UDP,
                                      .needs_csum = true,
                                      .gso_size = 1000,
                                      .hdr_len = IP4_HEADER + UDP_HEADER,
                                      .csum_start = IP4_HEADER,
                                      .csum_offset = 6};
    give(w, 0, &p, 1);
    assert_int_equal(w->n_out, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(w->out[i]->verdict, PKT_TO_ESP);
        assert_int_equal(be32(w->out[i]->data + 4), i + 1);
    }
    assert_int_equal(info_of(w, SPI_EDGE).packets_out, 3);
}

/* Fragments and answers are the tunnel's worker's; its answers are limited. */
static void what_does_not_fit_goes_to_its_worker(void **state)
{
    struct world *w = *state;
    world_unprotect(w);
    world_up(w, GCM256, 4, false, 4);
    uint16_t mtu = info_of(w, SPI_EDGE).mtu;
    assert_int_equal(tun_to(w, 0, ip_packet(DOWN, IP_PROTO_UDP, mtu - 20u))->verdict, PKT_TO_ESP);
    struct span big = ip_packet(DOWN, IP_PROTO_UDP, mtu - 19u);
    struct pkt *p = tun_to(w, 0, big);
    assert_int_equal(p->verdict, PKT_TO_WORKER);
    assert_int_equal(p->worker, 1);
    w->n_out = 0;
    give(w, 1, &p, 1);
    assert_int_equal(w->n_out, 2);
    assert_int_equal(be32(w->out[1]->data + 4), 3);
    edit(big)[6] |= 0x40; /* DF */
    ip_mend(big);
    p = tun_to(w, 0, big);
    assert_int_equal(p->verdict, PKT_TO_WORKER);
    w->n_out = 0;
    p = give(w, 1, &p, 1);
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->data[9], IP_PROTO_ICMP);
    assert_int_equal(be16(p->data + 26), mtu);
    p = tun_to(w, 2, tcp_syn(DOWN, hex("020405b4")));
    assert_int_equal(p->verdict, PKT_TO_ESP);
    world_carry(w, PEER);
    assert_int_equal(be16(w->out[0]->data + 42), mtu - 40);
    assert_true(tcp_checksum_ok(span_of(w->out[0]->data, w->out[0]->len)));
}

/* The IP header of tunnel mode takes its identification from the number that ESP will have. */
static void gre_inside_it(void **state)
{
    struct world *w = *state;
    world_unprotect(w);
    for (int transport = 0; transport < 2; transport++) {
        for (int side = 0; side < 2; side++) {
            struct tunnel_policy t = world_gre(side);
            struct child_sa c = world_child(side, GCM256);
            t.protect = IPSEC_TUNNEL;
            world_set(w, side, &t);
            c.transport = transport;
            world_selectors(&c, side == EDGE ? EDGE4 "/32" : PEER4 "/32", side == EDGE ? PEER4 "/32" : EDGE4 "/32");
            c.ts_local.proto = c.ts_remote.proto = IP_PROTO_GRE;
            OK(dp_child_up(w->dp[side], w->now, &c));
        }
        for (uint32_t i = 0; i < 8; i++) {
            struct span in = ip_packet(DOWN_GRE, IP_PROTO_UDP, 20);
            struct pkt *v[3] = {world_packet(w, in, PKT_FROM_TUN), world_packet(w, in, PKT_FROM_TUN),
                                world_packet(w, in, PKT_FROM_TUN)};
            give(w, i % 4, v, 3);
            for (uint32_t k = 0; k < 3; k++) {
                assert_int_equal(v[k]->verdict, PKT_TO_ESP);
                assert_int_equal(be32(v[k]->data + 4), i * 3 + k + 1);
            }
            world_carry(w, PEER);
            for (uint32_t k = 0; k < 3; k++) {
                assert_int_equal(v[k]->verdict, PKT_TO_TUN);
                assert_span_equal(span_of(v[k]->data, v[k]->len), in);
                if (!transport) /* it still stands there: IP, GRE, the packet */
                    assert_int_equal(be16(v[k]->data - 4 - 20 + 4), i * 3 + k + 1);
            }
            world_done(w);
        }
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

/* A number that was reserved and not used is lost, neither repeated nor counted as sent. */
static void without_room(void **state)
{
    struct world *w = *state;
    struct pkt *v[5];
    world_unprotect(w);
    world_up(w, GCM256, 4, false, 4);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = world_packet(w, ip_packet(DOWN, IP_PROTO_UDP, 20), PKT_FROM_TUN);
    for (size_t i = 0; i < 4; i += 3) { /* the first one, and one in their midst */
        memmove(v[i]->room, v[i]->data, v[i]->len);
        v[i]->data = v[i]->room;
    }
    give(w, 0, v, ARRAY_LEN(v));
    assert_dropped(w, EDGE, v[0], DP_REASON_POOL);
    assert_dropped(w, EDGE, v[3], DP_REASON_POOL);
    assert_int_equal(info_of(w, SPI_EDGE).packets_out, 3);
    assert_int_equal(be32(v[1]->data + 4), 1);
    assert_int_equal(be32(v[4]->data + 4), 3);
    world_done(w);
    struct pkt *p = tun_to(w, 3, ip_packet(DOWN, IP_PROTO_UDP, 20));
    assert_int_equal(p->verdict, PKT_TO_ESP);
    assert_in_range(be32(p->data + 4), 4, 6);
}

/* ---- the end ------------------------------------------------------------------------------------ */

static size_t take_events(struct world *w, enum dp_event_type type)
{
    struct dp_event e[16];
    size_t found = 0;
    for (unsigned i = 0; i < WORLD_WORKERS; i++)
        for (size_t n = w->edge[i] ? dp_events(w->edge[i], e, 16) : 0; n > 0; n--)
            found += e[n - 1].type == type && e[n - 1].spi_in == SPI_EDGE;
    return found;
}

static void batch_to(struct world *w, unsigned worker, struct pkt **v, size_t n)
{
    world_done(w);
    for (size_t i = 0; i < n; i++)
        v[i] = world_packet(w, ip_packet(DOWN, IP_PROTO_UDP, 20), PKT_FROM_TUN);
    give(w, worker, v, n);
}

static void sequence_ends_inside_a_batch(void **state)
{
    struct world *w = *state;
    struct pkt *v[4];
    world_unprotect(w);
    world_up(w, GCM256, 4, false, 4);
    sa_shared(sa_of(w))->seq = SEQ_SOFT - 2;
    batch_to(w, 0, v, 1);
    assert_int_equal(take_events(w, DP_EVENT_SA_SOFT), 0);
    for (unsigned i = 0; i < 4; i++)
        batch_to(w, i, v, 1);
    assert_int_equal(take_events(w, DP_EVENT_SA_SOFT), 1);

    sa_shared(sa_of(w))->seq = UINT32_MAX - 2;
    batch_to(w, 2, v, 4);
    assert_int_equal(be32(v[0]->data + 4), UINT32_MAX - 1);
    assert_int_equal(be32(v[1]->data + 4), UINT32_MAX);
    assert_dropped(w, EDGE, v[2], DP_REASON_ESP_EXPIRED);
    assert_dropped(w, EDGE, v[3], DP_REASON_ESP_EXPIRED);
    assert_int_equal(info_of(w, SPI_EDGE).packets_out, 7);
    assert_int_equal(info_of(w, SPI_EDGE).seq_out, UINT32_MAX);
    for (unsigned i = 0; i < 4; i++) {
        batch_to(w, i, v, 3);
        if (i != 1) { /* without an SA its worker says why */
            assert_int_equal(v[2]->verdict, PKT_TO_WORKER);
            w->n_out = 0;
            give(w, 1, v, 3);
        }
        assert_dropped(w, EDGE, v[2], DP_REASON_ESP_EXPIRED);
    }
    assert_int_equal(take_events(w, DP_EVENT_SA_HARD), 1);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &info));
    assert_false(info.sendable);
}

static void ivs_end(void **state)
{
    struct world *w = *state;
    struct pkt *v[4];
    world_unprotect(w);
    world_up(w, GCM256, 4, false, 4);
    sa_shared(sa_of(w))->iv_next = IV_SOFT - 2;
    batch_to(w, 0, v, 1);
    assert_int_equal(take_events(w, DP_EVENT_SA_SOFT), 0);
    batch_to(w, 3, v, 1);
    assert_int_equal(take_events(w, DP_EVENT_SA_SOFT), 1);
    sa_shared(sa_of(w))->iv_next = IV_HARD - 3;
    batch_to(w, 0, v, 4);
    assert_true(load_be64(v[2]->data + 8) == ((uint64_t)SENDER_ID << 40 | (IV_HARD - 1)));
    assert_dropped(w, EDGE, v[3], DP_REASON_ESP_EXPIRED);
    assert_int_equal(take_events(w, DP_EVENT_SA_HARD), 1);
    batch_to(w, 1, v, 1);
    assert_dropped(w, EDGE, v[0], DP_REASON_ESP_EXPIRED);
    assert_int_equal(take_events(w, DP_EVENT_SA_HARD), 0);
}

/* Past its lifetime: whoever would send says so, and once; what replaces it goes on. */
static void lifetime_ends(void **state)
{
    struct world *w = *state;
    struct child_sa c = world_child(EDGE, GCM256);
    world_unprotect(w);
    c.hard_expiry = w->now + 1;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    w->now++;
    for (unsigned i = 0; i < 4; i++)
        tun_to(w, i, ip_packet(DOWN, IP_PROTO_UDP, 20));
    assert_int_equal(take_events(w, DP_EVENT_SA_HARD), 1);
    c.spi_in++;
    c.replaces = SPI_EDGE;
    c.hard_expiry = NEVER;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    assert_int_equal(tun_to(w, 2, ip_packet(DOWN, IP_PROTO_UDP, 20))->verdict, PKT_TO_ESP);
    assert_int_equal(info_of(w, SPI_EDGE + 1).packets_out, 1);
}

/* ---- memory ------------------------------------------------------------------------------------- */

/* Nothing of it exists where one worker sends: its SA without a window is as it was. */
static void one_worker_shares_nothing(void **state)
{
    struct world *w = *state;
    world_unprotect(w);
    world_up(w, GCM256, 4, false, 4);
    assert_false(sa_of(w)->out.shared);
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(be32(world_tun(w, EDGE, ip_packet(DOWN, IP_PROTO_UDP, 20))->data + 4), i);
    assert_int_equal(info_of(w, SPI_EDGE).packets_out, 3);
}

int main(void)
{
#define T1(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
#define T4(f) cmocka_unit_test_setup_teardown(f, world_open_four, world_close)
    const struct CMUnitTest tests[] = {
        T4(any_worker_sends),
        T4(in_goes_to_its_worker),
        T4(flows_come_back_by_all_queues),
        T4(a_change_is_for_the_next_sa),
        T4(a_mixed_batch),
        T4(super_packets_are_cut_where_they_came),
        T4(what_does_not_fit_goes_to_its_worker),
        T4(gre_inside_it),
        T4(without_room),
        T4(sequence_ends_inside_a_batch),
        T4(ivs_end),
        T4(lifetime_ends),
        T1(one_worker_shares_nothing),
    };
    return cmocka_run_group_tests_name("dp_shared", tests, NULL, NULL);
}
