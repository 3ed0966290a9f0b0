/* Several workers over one core, driven in turn by one thread: who does what, what is handed on, what may be freed when. With two, the GRE
 * tunnel is number 0's and the IPsec tunnel number 1's. */
#include "dp/worker.h"
#include "lib/inet.h"
#include "lib/world.h"

#include <stdio.h>

#define TO_IPSEC "10.9.0.1", "10.1.0.1" /* customer-bound, as the edge's TUN sees it */
#define TO_GRE "10.9.0.1", "10.2.0.1"

/* One packet to a worker of the edge. */
static struct pkt *give(struct world *w, unsigned worker, struct pkt *p)
{
    w->w[EDGE] = w->edge[worker];
    struct pkt *out = p->from == PKT_FROM_TUN ? world_run_tun(w, EDGE, &p, 1) : world_run_net(w, EDGE, &p, 1);
    w->w[EDGE] = w->edge[0];
    return out;
}

static struct pkt *tun_to(struct world *w, unsigned worker, struct span packet)
{
    world_done(w);
    return give(w, worker, world_packet(w, packet, PKT_FROM_TUN));
}

static struct pkt *net_to(struct world *w, unsigned worker, enum pkt_from from, struct span data)
{
    world_done(w);
    struct pkt *p = world_packet(w, data, from);
    p->outer = world_outer(EDGE, 4);
    return give(w, worker, p);
}

/* It was handed to `to` as it came; there it gets `verdict`. */
static struct pkt *assert_handed(struct world *w, struct pkt *p, unsigned to, struct span data,
                                 enum pkt_verdict verdict)
{
    assert_non_null(p);
    assert_int_equal(w->n_out, 1);
    assert_int_equal(p->verdict, PKT_TO_WORKER);
    assert_int_equal(p->worker, to);
    assert_span_equal(span_of(p->data, p->len), data);
    w->n_out = 0; /* it goes in again */
    p = give(w, to, p);
    assert_non_null(p);
    assert_int_equal(p->verdict, verdict);
    return p;
}

static struct span esp_from_peer(struct world *w)
{
    static uint8_t kept[PKT_SMALL];
    struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    assert_in_range(p->verdict, PKT_TO_ESP, PKT_TO_NATT);
    memcpy(kept, p->data, p->len);
    struct span s = span_of(kept, p->len);
    world_done(w);
    return s;
}

static uint64_t drops_of(struct world *w, unsigned worker, enum dp_reason reason)
{
    return w->edge[worker]->total.drops[reason];
}

/* ---- who does what ------------------------------------------------------------------------------ */

static void esp_goes_to_its_worker(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct span esp = esp_from_peer(w), raw = esp;
    assert_handed(w, net_to(w, 0, PKT_FROM_ESP, raw), 1, esp, PKT_TO_TUN);
    esp = esp_from_peer(w);
    assert_int_equal(net_to(w, 1, PKT_FROM_ESP, esp)->verdict, PKT_TO_TUN);
    esp = esp_from_peer(w);
    assert_handed(w, net_to(w, 0, PKT_FROM_NATT, esp), 1, esp, PKT_TO_TUN);

    struct span in = ip_packet(TO_IPSEC, IP_PROTO_UDP, 20);
    assert_handed(w, tun_to(w, 0, in), 1, in, PKT_TO_ESP);
    assert_int_equal(tun_to(w, 1, in)->verdict, PKT_TO_ESP);
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    assert_int_equal(info.packets_in, 3);
    assert_int_equal(info.seq_out, 2);
}

/* A number that was seen is refused wherever its copies come in, and counted once each; the other worker keeps no window. */
static void one_window(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct span esp = esp_from_peer(w);
    assert_int_equal(net_to(w, 1, PKT_FROM_ESP, esp)->verdict, PKT_TO_TUN);
    for (int i = 1; i <= 3; i++) {
        struct pkt *p = assert_handed(w, net_to(w, 0, PKT_FROM_ESP, esp), 1, esp, PKT_DROP);
        assert_int_equal(p->reason, DP_REASON_ESP_REPLAY);
        assert_int_equal(drops_of(w, 0, DP_REASON_ESP_REPLAY), 0);
        assert_int_equal(drops_of(w, 1, DP_REASON_ESP_REPLAY), i);
        assert_int_equal(world_drops(w, EDGE, DP_REASON_ESP_REPLAY), i);
    }
}

static void without_an_sa_its_worker_says_why(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet(TO_IPSEC, IP_PROTO_UDP, 20);
    struct pkt *p = assert_handed(w, tun_to(w, 0, in), 1, in, PKT_DROP);
    assert_int_equal(p->reason, DP_REASON_NO_SA);
    assert_int_equal(drops_of(w, 0, DP_REASON_NO_SA), 0);
    p = net_to(w, 0, PKT_FROM_ESP, hex("99999999 00000001 0000000000000000 0000000000000000 0000000000000000"));
    assert_int_equal(p->verdict, PKT_DROP); /* belongs to nobody: counted where it came */
    assert_int_equal(p->reason, DP_REASON_ESP_UNKNOWN_SPI);
    assert_int_equal(drops_of(w, 0, DP_REASON_ESP_UNKNOWN_SPI), 1);
}

/* What plain GRE needs no worker has for itself. */
static void gre_passes_anywhere(void **state)
{
    struct world *w = *state;
    struct dp_tunnel_info info;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(tun_to(w, i, ip_packet(TO_GRE, IP_PROTO_UDP, 20))->verdict, PKT_TO_GRE);
        struct span gre = gre_packet(0, GRE_PROTO_IPV4, 0, 0, ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
        assert_int_equal(net_to(w, i, PKT_FROM_GRE, gre)->verdict, PKT_TO_TUN);
    }
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_int_equal(info.counters.packets_out, 2); /* the workers' together */
    assert_int_equal(info.counters.packets_in, 2);
    assert_int_equal(w->edge[1]->count[GRE_TUNNEL].c.packets_in, 1);
}

/* A super-packet is handed on whole; of plain GRE it is cut where it came. */
static void super_packets(void **state)
{
    struct world *w = *state;
    const char *const to[] = {"10.1.0.1", "10.2.0.1"};
    world_up(w, GCM256, 4, false, 4);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t udp[UDP_HEADER + 2500] = {0x12, 0x34, 0, 80, (UDP_HEADER + 2500) >> 8, (UDP_HEADER + 2500) & 0xff};
        world_done(w);
        struct pkt *p =
            world_packet(w, ip_packet_of("10.9.0.1", to[i], IP_PROTO_UDP, span_of(udp, sizeof udp)), PKT_FROM_TUN);
        p->offload = (struct pkt_offload){.gso = PKT_GSO_UDP,
                                          .needs_csum = true,
                                          .gso_size = 1000,
                                          .hdr_len = IP4_HEADER + UDP_HEADER,
                                          .csum_start = IP4_HEADER,
                                          .csum_offset = 6};
        p = give(w, i == 0 ? 0 : 1, p);
        if (i == 0) {
            assert_int_equal(p->verdict, PKT_TO_WORKER);
            assert_int_equal(p->offload.gso_size, 1000);
            w->n_out = 0;
            p = give(w, p->worker, p);
        }
        assert_int_equal(p->verdict, i == 0 ? PKT_TO_ESP : PKT_TO_GRE);
        assert_int_equal(w->n_out, 3);
    }
}

static void gre_sequence_goes_to_its_worker(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.sequence = t.sequence_check = true;
    world_set(w, EDGE, &t);
    struct span in = ip_packet(TO_GRE, IP_PROTO_UDP, 20);
    for (uint32_t i = 0; i < 3; i++) {
        struct pkt *p = assert_handed(w, tun_to(w, 1, in), 0, in, PKT_TO_GRE);
        assert_int_equal(be32(p->data + 4), i);
    }
    struct span data = ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 20);
    struct span gre = gre_packet(GRE_SEQUENCE, GRE_PROTO_IPV4, 0, 7, data);
    assert_int_equal(net_to(w, 0, PKT_FROM_GRE, gre)->verdict, PKT_TO_TUN);
    struct pkt *p = assert_handed(w, net_to(w, 1, PKT_FROM_GRE, gre), 0, gre, PKT_DROP);
    assert_int_equal(p->reason, DP_REASON_GRE_SEQUENCE);
}

static void answers_come_from_the_tunnels_worker(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.keepalive = true;
    world_set(w, EDGE, &t);
    struct span inner = gre_packet(0, GRE_PROTO_KEEPALIVE, 0, 0, span_of(NULL, 0));
    struct span keepalive =
        gre_packet(0, GRE_PROTO_IPV4, 0, 0, ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, inner));
    struct pkt *p = assert_handed(w, net_to(w, 1, PKT_FROM_GRE, keepalive), 0, keepalive, PKT_TO_GRE);
    assert_span_equal(span_of(p->data, p->len), inner);

    struct span big = ip_packet(TO_GRE, IP_PROTO_UDP, 1470);
    edit(big)[6] |= 0x40; /* DF */
    ip_mend(big);
    p = assert_handed(w, tun_to(w, 1, big), 0, big, PKT_TO_TUN); /* ICMP */
    assert_int_equal(p->data[9], IP_PROTO_ICMP);
    assert_int_equal(w->n_out, 2);
}

/* Expired while nobody sent: the event comes from the SA's worker alone, once, wherever the packets come in. */
static void one_event(void **state)
{
    struct world *w = *state;
    struct child_sa c = world_child(EDGE, GCM256);
    c.hard_expiry = w->now + 1;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    w->now += 2;
    struct span in = ip_packet(TO_IPSEC, IP_PROTO_UDP, 20);
    struct dp_event e[4];
    assert_false(dp_events_pending(w->edge[1]));
    for (int i = 0; i < 3; i++) {
        struct pkt *p = assert_handed(w, tun_to(w, 0, in), 1, in, PKT_DROP);
        assert_int_equal(p->reason, DP_REASON_ESP_EXPIRED);
    }
    assert_false(dp_events_pending(w->edge[0]));
    assert_true(dp_events_pending(w->edge[1]));
    assert_int_equal(dp_events(w->edge[0], e, 4), 0);
    assert_int_equal(dp_events(w->edge[1], e, 4), 1);
    assert_false(dp_events_pending(w->edge[1]));
    assert_int_equal(e[0].type, DP_EVENT_SA_HARD);
    assert_int_equal(e[0].spi_in, SPI_EDGE);
}

/* ---- four workers, eight SAs, packets from everywhere: no number and no IV comes twice under a key ------------- */

#define SAS 8
#define PACKETS 4000

static void eight_tunnels(struct world *w)
{
    for (uint32_t i = 0; i < SAS; i++) {
        char prefix[32];
        struct tunnel_policy t = world_ipsec(EDGE);
        struct child_sa c = world_child(EDGE, i % 2 ? GCM256 : CBC256);
        t.tunnel = c.tunnel = 10 + i;
        t.interface4 = t.interface6 = (struct prefix){0};
        c.spi_in = 0x1000 + i;
        c.spi_out = 0x2000 + i;
        world_set(w, EDGE, &t);
        snprintf(prefix, sizeof prefix, "20.%u.0.0/16", i);
        world_route(w, EDGE, prefix, t.tunnel, 1, 1);
        OK(dp_child_up(w->dp[EDGE], w->now, &c));
    }
}

static void no_iv_comes_twice(void **state)
{
    struct world *w = *state;
    static uint64_t iv[SAS][PACKETS];
    uint32_t n[SAS] = {0};
    eight_tunnels(w);
    for (int i = 0; i < PACKETS; i++) {
        char to[32];
        uint64_t draw = dice(&w->dice) >> 32;
        uint32_t k = draw % SAS;
        snprintf(to, sizeof to, "20.%u.0.%u", k, (unsigned)(draw >> 8 & 0xff));
        struct pkt *p = tun_to(w, draw >> 16 & 3, ip_packet("10.9.0.1", to, IP_PROTO_UDP, 20));
        if (p->verdict == PKT_TO_WORKER) {
            assert_int_equal(p->worker, (10 + k) % 4);
            w->n_out = 0;
            p = give(w, p->worker, p);
        }
        assert_int_equal(p->verdict, PKT_TO_ESP);
        assert_int_equal(be32(p->data), 0x2000 + k);
        assert_int_equal(be32(p->data + 4), n[k] + 1); /* without a gap */
        iv[k][n[k]++] = load_be64(p->data + 8);
    }
    for (uint32_t k = 0; k < SAS; k++) {
        assert_in_range(n[k], PACKETS / SAS / 2, PACKETS);
        for (uint32_t i = 0; i < n[k]; i++)
            for (uint32_t j = 0; j < i; j++)
                assert_true(iv[k][i] != iv[k][j]);
    }
}

/* ---- taken away while a worker still looks -------------------------------------------------------------------- */

static void removed_sa_stays_until_its_grace_is_over(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    dp_garbage_free(w->dp[EDGE], dp_garbage_take(w->dp[EDGE]));
    const struct sa_set *set = w->dp[EDGE]->live[IPSEC_TUNNEL].sas;
    struct sa *sa = sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE); /* in the midst of its batch */
    assert_ptr_equal(set->v[0], sa);
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    assert_null(sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE));
    assert_ptr_equal(set->v[0], sa);
    ADD(sa->packets_in, 5); /* and counts */
    struct dp_garbage *g = dp_garbage_take(w->dp[EDGE]);
    assert_non_null(g);
    assert_null(dp_garbage_take(w->dp[EDGE]));
    assert_int_equal(sa->spi_in, SPI_EDGE);
    dp_garbage_free(w->dp[EDGE], g);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &info));
    assert_int_equal(info.counters.packets_in, 5);
}

static void removed_tunnel_stays_until_its_grace_is_over(void **state)
{
    struct world *w = *state;
    struct tunnel_policy ipsec = world_ipsec(EDGE), changed = ipsec;
    struct dp *dp = w->dp[EDGE];
    world_up(w, GCM256, 4, false, 4);
    const struct tables *first = dp->tables;
    changed.ttl = 7;
    world_set(w, EDGE, &changed);
    const struct tables *second = dp->tables;
    struct dp_garbage *early = dp_garbage_take(dp);
    dp_tunnel_remove(dp, IPSEC_TUNNEL);
    assert_int_equal(dp_tunnel_set(dp, &ipsec), RC_LIMIT); /* the handle is not free yet */
    OK(dp_publish(dp));
    assert_int_equal(first->tun[IPSEC_TUNNEL]->ttl, 64);
    assert_int_equal(second->tun[IPSEC_TUNNEL]->ttl, 7);
    assert_non_null(fib_find(second, ACCOUNT));
    assert_int_not_equal(lpm_find(&fib_find(second, ACCOUNT)->v4, key4(0x0a010001)), 0);
    dp_garbage_free(dp, early); /* the first view: the second is still out */
    assert_int_equal(dp_tunnel_set(dp, &ipsec), RC_LIMIT);
    assert_int_equal(second->tun[IPSEC_TUNNEL]->ttl, 7);
    dp_garbage_free(dp, dp_garbage_take(dp));
    world_set(w, EDGE, &ipsec);
    struct span in = ip_packet("10.9.0.1", "10.255.0.1", IP_PROTO_UDP, 20);
    struct pkt *p = assert_handed(w, tun_to(w, 0, in), 1, in, PKT_DROP);
    assert_int_equal(p->reason, DP_REASON_NO_SA);
}

static void moved_peer_stays_until_its_grace_is_over(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, true, 4);
    struct dp *dp = w->dp[EDGE];
    struct sa *sa = sa_find_in(dp->by_in, SPI_EDGE);
    struct path path = {{ip("198.51.100.2"), 4500}, {ip("203.0.113.9"), 7777}}, again = path;
    again.remote.port = 8888;
    OK(dp_child_moved(dp, SPI_EDGE, &path, true));
    const struct sa_peer *held = sa->peer;
    OK(dp_child_moved(dp, SPI_EDGE, &again, true));
    assert_int_equal(held->outer.dport, 7777);
    dp_garbage_free(dp, dp_garbage_take(dp));
    assert_int_equal(tun_to(w, 1, ip_packet(TO_IPSEC, IP_PROTO_UDP, 20))->outer.dport, 8888);

    struct span esp = esp_from_peer(w);
    struct pkt *p = world_packet(w, esp, PKT_FROM_NATT);
    p->outer = world_outer(EDGE, 4);
    p->outer.src = again.remote.addr;
    p->outer.sport = 8888;
    assert_int_equal(give(w, 1, p)->verdict, PKT_TO_TUN); /* expected there: nominates nobody */
    struct dp_event e[4];
    assert_int_equal(dp_events(w->edge[1], e, 4), 1);
    assert_int_equal(e[0].type, DP_EVENT_SA_SEEN);
}

/* ---- handed on, and meanwhile everything is different -------------------------------------------- */

/* A packet that waits to be taken by worker `to`, as it came. */
static struct pkt *in_flight(struct world *w, struct pkt *p, unsigned to)
{
    assert_int_equal(w->n_out, 1);
    assert_int_equal(p->verdict, PKT_TO_WORKER);
    assert_int_equal(p->worker, to);
    w->n_out = 0;
    return p;
}

static void wrong_worker_hands_it_on(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct span esp = esp_from_peer(w);
    struct pkt *p = in_flight(w, net_to(w, 0, PKT_FROM_ESP, esp), 1);
    p = in_flight(w, give(w, 3, p), 1); /* whoever misdelivers it */
    assert_int_equal(give(w, 1, p)->verdict, PKT_TO_TUN);
}

/* The SA it came on, then the tunnel it would go into, then the handle's new holder, which has nothing to do with either. */
static void its_tunnel_vanishes(void **state)
{
    struct world *w = *state;
    struct dp *dp = w->dp[EDGE];
    world_up(w, GCM256, 4, false, 4);
    struct span esp = esp_from_peer(w);
    struct pkt *p = in_flight(w, net_to(w, 0, PKT_FROM_ESP, esp), 1);
    dp_child_down(dp, SPI_EDGE);
    give(w, 1, p);
    assert_int_equal(p->verdict, PKT_DROP);
    assert_int_equal(p->reason, DP_REASON_ESP_UNKNOWN_SPI);
    assert_int_equal(drops_of(w, 1, DP_REASON_ESP_UNKNOWN_SPI), 1);

    struct span in = ip_packet(TO_IPSEC, IP_PROTO_UDP, 20);
    struct pkt *first = in_flight(w, tun_to(w, 0, in), 1), *second = world_packet(w, in, PKT_FROM_TUN);
    dp_tunnel_remove(dp, IPSEC_TUNNEL);
    OK(dp_publish(dp));
    give(w, 1, first);
    assert_int_equal(first->reason, DP_REASON_NO_ROUTE);
    world_done(w);

    dp_garbage_free(dp, dp_garbage_take(dp));
    struct tunnel_policy other = world_gre(EDGE);
    other.tunnel = IPSEC_TUNNEL;
    other.account = ACCOUNT + 1;
    other.customer_endpoint = ip("192.0.2.77");
    world_set(w, EDGE, &other);
    give(w, 1, second);
    assert_int_equal(second->verdict, PKT_DROP);
    assert_int_equal(second->reason, DP_REASON_NO_ROUTE);
    assert_int_equal(drops_of(w, 1, DP_REASON_NO_ROUTE), 2);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(dp, IPSEC_TUNNEL, &info));
    assert_int_equal(info.counters.packets_out, 0);
    for (int i = 0; i < DP_REASON_END; i++)
        assert_int_equal(info.counters.drops[i], 0);
}

/* GRE goes inside ESP from now on, or no longer: another worker's. What is under way is handed on once more, and no number comes twice. */
static void its_tunnel_gets_another_owner(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    struct child_sa c = world_child(EDGE, GCM256);
    struct span in = ip_packet(TO_GRE, IP_PROTO_UDP, 20);
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    t.sequence = true;
    world_set(w, EDGE, &t);
    assert_int_equal(tun_to(w, 0, in)->verdict, PKT_TO_GRE);
    struct pkt *p = in_flight(w, tun_to(w, 3, in), 0);
    t.protect = IPSEC_TUNNEL;
    world_set(w, EDGE, &t);
    p = in_flight(w, give(w, 0, p), 1);
    assert_int_equal(give(w, 1, p)->verdict, PKT_TO_ESP);
    p = in_flight(w, tun_to(w, 0, in), 1);
    t.protect = TUNNEL_NONE;
    world_set(w, EDGE, &t);
    p = in_flight(w, give(w, 1, p), 0);
    assert_int_equal(give(w, 0, p)->verdict, PKT_TO_GRE);
    assert_int_equal(be32(p->data + 4), 2); /* 0 as it was, 1 inside ESP */
}

/* It waits for its worker, and does not fit any more: the worker whose tunnel it is answers, and the limit is one for the tunnel. */
static void the_path_shrinks(void **state)
{
    struct world *w = *state;
    struct span big = ip_packet(TO_GRE, IP_PROTO_UDP, 1400);
    edit(big)[6] |= 0x40; /* DF */
    ip_mend(big);
    assert_int_equal(tun_to(w, 3, big)->verdict, PKT_TO_GRE);
    uint8_t icmp[8 + IP4_HEADER + 8] = {3, 4, [6] = 1300 >> 8, 1300 & 0xff};
    struct span quoted = ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, hex("00000800 45000578"));
    memcpy(icmp + 8, quoted.p, quoted.n);
    store_be16(icmp + 2, inet_checksum(icmp, sizeof icmp));
    struct pkt *p = net_to(w, 2, PKT_FROM_ICMP, span_of(icmp, sizeof icmp)); /* no worker of this tunnel's */
    assert_int_equal(p->reason, DP_REASON_ICMP_DONE);
    assert_int_equal(drops_of(w, 2, DP_REASON_ICMP_DONE), 1);
    unsigned answers = 0;
    for (int i = 0; i < 150; i++) {
        p = in_flight(w, tun_to(w, 1 + (unsigned)i % 3, big), 0);
        p = give(w, 0, p);
        answers += p->verdict == PKT_TO_TUN;
    }
    assert_int_equal(answers, 100);
    assert_int_equal(drops_of(w, 0, DP_REASON_TOO_BIG), 150);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_TOO_BIG), 150);
}

/* Should the MTU become less between the look at a packet and its turn, only the tunnel's worker may answer. */
static void others_never_answer(void **state)
{
    struct world *w = *state;
    for (unsigned worker = 0; worker < 2; worker++) {
        world_done(w);
        struct pkt *p = world_packet(w, ip_packet(TO_GRE, IP_PROTO_UDP, 1400), PKT_FROM_TUN);
        struct pkt_list list = {.v = w->out, .cap = 4};
        struct batch b;
        struct ip_view view;
        OK(wire_ip_parse(p->data, p->len, &view));
        batch_begin(&b, w->edge[worker], w->now, w->pool, &list);
        way_too_big(&b, p, &view, b.t->tun[GRE_TUNNEL], 1300);
        w->n_out = list.n;
        assert_int_equal(list.n, worker == 0 ? 2 : 1);
        assert_int_equal(w->out[list.n - 1]->reason, DP_REASON_TOO_BIG);
    }
}

/* With one worker nothing waits. */
static void one_worker_leaves_no_garbage(void **state)
{
    struct world *w = *state;
    struct tunnel_policy ipsec = world_ipsec(EDGE);
    world_up(w, GCM256, 4, false, 4);
    dp_tunnel_remove(w->dp[EDGE], IPSEC_TUNNEL);
    OK(dp_publish(w->dp[EDGE]));
    assert_null(dp_garbage_take(w->dp[EDGE]));
    world_set(w, EDGE, &ipsec);
}

/* The index gives a slot to another SA while somebody reads it: the SPI alone does not make a match. */
static void a_slot_changes_hands(void **state)
{
    struct sa a = {.spi_in = 1};
    struct sa_slot s = {.sa = &a, .spi = 1};
    (void)state;
    assert_ptr_equal(sa_in_slot(&s, 1), &a);
    assert_ptr_equal(sa_in_slot(&s, 2), SA_GONE);
    s.sa = SA_GONE;
    assert_ptr_equal(sa_in_slot(&s, 1), SA_GONE);
    s.spi = 2;
    assert_ptr_equal(sa_in_slot(&s, 2), SA_GONE); /* announced, not there yet */
    s.sa = NULL;
    assert_null(sa_in_slot(&s, 1)); /* the chain ends, whatever the SPI */
}

static void too_many_workers(void **state)
{
    struct world *w = *state;
    struct dp *dp;
    struct dp_config c = {.crypto = w->crypto, .max_tunnels = 1, .workers = DP_WORKERS_MAX + 1};
    assert_int_equal(dp_new(&c, &dp), RC_RANGE);
}

int main(void)
{
#define T1(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
#define T2(f) cmocka_unit_test_setup_teardown(f, world_open_two, world_close)
#define T4(f) cmocka_unit_test_setup_teardown(f, world_open_four, world_close)
    const struct CMUnitTest tests[] = {
        T2(esp_goes_to_its_worker),
        T2(one_window),
        T2(without_an_sa_its_worker_says_why),
        T2(gre_passes_anywhere),
        T2(super_packets),
        T2(gre_sequence_goes_to_its_worker),
        T2(answers_come_from_the_tunnels_worker),
        T2(one_event),
        T4(no_iv_comes_twice),
        T2(removed_sa_stays_until_its_grace_is_over),
        T2(removed_tunnel_stays_until_its_grace_is_over),
        T2(moved_peer_stays_until_its_grace_is_over),
        T4(wrong_worker_hands_it_on),
        T4(its_tunnel_vanishes),
        T4(its_tunnel_gets_another_owner),
        T4(the_path_shrinks),
        T2(others_never_answer),
        T1(one_worker_leaves_no_garbage),
        TEST(a_slot_changes_hands),
        T1(too_many_workers),
    };
    return cmocka_run_group_tests_name("dp_workers", tests, NULL, NULL);
}
