/* Workers as threads, while the control side changes everything under them: rekeys, moves, routes, tunnels. What a worker may see is
 * asserted here; that nothing is raced for is ThreadSanitizer's to say (make check BUILD=build/tsan SAN=thread T=test_dp_threads).
 * Packets that are handed on go through a ring of pointers, one writer and one reader each. */
#include "dp/worker.h"
#include "lib/inet.h"
#include "lib/world.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define WORKERS 2
#define ROUNDS 100
#define RING 256

struct ring { /* copies: a packet's buffer belongs to the pool of the thread that got it */
    size_t in, out;
    struct {
        uint8_t from;
        uint32_t len;
        uint8_t b[256];
    } slot[RING];
};

struct party {
    struct dp_worker *w;
    struct crypto *crypto;
    struct pkt_pool *pool;
    struct ring *mine, *other; /* handed to me, by me */
    struct span esp;           /* a packet of the peer's, always the same */
    struct span icmp[2];       /* routers' words about our GRE and our ESP */
    size_t rounds;             /* batches done: between two of them it holds nothing */
    bool *stop;
    uint64_t handed, taken, sent, sent_esp, to_tun, replays, lowered, wrong;
    unsigned index;
};

static void hand_on(struct party *me, const struct pkt *p)
{
    struct ring *r = me->other;
    size_t in = r->in;
    if (in - SEE(r->out) == RING)
        return;
    r->slot[in % RING].from = p->from;
    r->slot[in % RING].len = p->len;
    memcpy(r->slot[in % RING].b, p->data, p->len);
    SHOW(r->in, in + 1);
    me->handed++;
}

static void look_at(struct party *me, struct pkt *p)
{
    switch ((enum pkt_verdict)p->verdict) {
    case PKT_TO_WORKER:
        me->wrong += p->worker == me->index;
        hand_on(me, p);
        break;
    case PKT_TO_ESP:
    case PKT_TO_NATT: me->sent_esp++; /* fall through */
    case PKT_TO_GRE: me->sent++; break;
    case PKT_TO_TUN:
        me->wrong += p->account != ACCOUNT;
        me->to_tun++;
        break;
    case PKT_DROP:
        me->replays += p->reason == DP_REASON_ESP_REPLAY;
        me->lowered += p->reason == DP_REASON_ICMP_DONE;
        break;
    }
}

static void run(struct party *me, struct pkt **v, size_t n, bool tun)
{
    static _Thread_local struct pkt *out[64 * PKT_BATCH];
    struct pkt_list ret = {.v = out, .cap = 64 * PKT_BATCH};
    (tun ? dp_from_tun : dp_from_net)(me->w, 1000 * NS_PER_S, v, n, me->pool, &ret);
    for (size_t i = 0; i < ret.n; i++) {
        look_at(me, ret.v[i]);
        pkt_put(me->pool, ret.v[i]);
    }
}

static struct pkt *packet(struct party *me, struct span data, enum pkt_from from)
{
    struct pkt *p = pkt_get(me->pool, false);
    if (!p)
        abort();
    memcpy(p->data, data.p, data.n);
    p->len = (uint32_t)data.n;
    p->from = from;
    p->account = ACCOUNT;
    p->outer = world_outer(EDGE, 4);
    return p;
}

static void take_ring(struct party *me)
{
    struct ring *r = me->mine;
    for (size_t out = r->out, in = SEE(r->in); out != in; out++) {
        uint8_t from = r->slot[out % RING].from;
        struct pkt *p = packet(me, span_of(r->slot[out % RING].b, r->slot[out % RING].len), from);
        SHOW(r->out, out + 1);
        me->taken++;
        run(me, &p, 1, from == PKT_FROM_TUN);
    }
}

static void *work(void *ctx)
{
    struct party *me = ctx;
    uint8_t inner[3][64];
    static const char *const to[] = {"10.1.0.1", "10.2.0.1", "10.255.0.1"};
    for (size_t i = 0; i < 3; i++) { /* not ip_packet(), whose buffers all share */
        struct wr w = wr_of(inner[i], sizeof inner[i]);
        struct ip_fields f = {
            .src = ip("10.9.0.1"), .dst = ip(to[i]), .proto = IP_PROTO_UDP, .ttl = 64, .payload_len = 44};
        wire_ip_write(&w, &f);
        memset(inner[i] + IP4_HEADER, (int)i, 44);
    }
    while (!SEE(*me->stop)) {
        struct pkt *v[16];
        for (size_t i = 0; i < 16; i++)
            v[i] = packet(me, span_of(inner[i % 3], sizeof inner[0]), PKT_FROM_TUN);
        run(me, v, 16, true);
        for (size_t i = 0; i < 4; i++)
            v[i] = i < 2 ? packet(me, me->esp, PKT_FROM_ESP) : packet(me, me->icmp[i - 2], PKT_FROM_ICMP);
        run(me, v, 4, false);
        take_ring(me);
        SHOW(me->rounds, me->rounds + 1);
    }
    return NULL;
}

/* Every worker has ended the batch it was in. */
static void wait_for_grace(const struct party *party)
{
    for (unsigned i = 0; i < WORKERS; i++)
        for (size_t seen = SEE(party[i].rounds); SEE(party[i].rounds) < seen + 2;)
            sched_yield();
}

/* GRE, with sequence numbers, goes inside ESP and out again: it changes its owner. */
static void change_gre(struct world *w, uint32_t round)
{
    struct tunnel_policy gre = world_gre(EDGE);
    gre.sequence = true;
    gre.protect = round % 2 ? IPSEC_TUNNEL : TUNNEL_NONE;
    OK(dp_tunnel_set(w->dp[EDGE], &gre));
}

/* One round of changes: the SA is replaced, its peer moves, a route comes and goes, a tunnel changes and another is made and removed. */
static void change_all(struct world *w, uint32_t round, bool shared)
{
    struct dp *dp = w->dp[EDGE];
    struct child_sa c = world_child(EDGE, round % 2 ? GCM256 : CBC256);
    struct tunnel_policy ipsec = world_ipsec(EDGE), more = ipsec;
    struct route_policy r = {ACCOUNT, net("20.0.0.0/8"), IPSEC_TUNNEL, 1, 1};
    struct path moved = c.path;
    uint32_t before = round ? 0x1000 + round - 1 : SPI_EDGE;
    c.spi_in = 0x1000 + round;
    c.replaces = before;
    c.ready = round % 2; /* sent on at once, or once the peer has */
    OK(dp_child_up(dp, w->now, &c));
    moved.remote.port = (uint16_t)(1024 + round);
    OK(dp_child_moved(dp, c.spi_in, &moved, round % 3 == 0));
    OK(dp_child_moved(dp, c.spi_in, &moved, round % 3 == 1));
    if (shared)
        dp_child_retire(dp, before, NEVER);
    if (before != SPI_EDGE)
        dp_child_down(dp, before);
    if (shared)
        change_gre(w, round);
    ipsec.replay_protection = more.replay_protection = !shared;
    ipsec.ttl = (uint8_t)(round % 200 + 1);
    OK(dp_tunnel_set(dp, &ipsec));
    more.tunnel = 5;
    more.interface4 = net("10.255.0.1/32");
    OK(dp_tunnel_set(dp, &more));
    OK(dp_route_set(dp, &r));
    OK(dp_publish(dp));
    dp_tunnel_remove(dp, 5);
    dp_route_remove(dp, ACCOUNT, &r.prefix, IPSEC_TUNNEL);
    OK(dp_publish(dp));
}

static uint64_t ask(struct world *w, uint64_t before)
{
    struct dp_tunnel_info info;
    struct dp_counters sum;
    struct dp_event e[64];
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &info));
    assert_in_range(info.mtu, 1300, 1500);
    dp_total_info(w->dp[EDGE], &sum);
    assert_true(sum.packets_out >= before); /* never less */
    for (unsigned i = 0; i < WORKERS; i++)
        while (dp_events(w->edge[i], e, ARRAY_LEN(e)) > 0)
            ;
    return sum.packets_out;
}

/* "Too big", quoting a packet of ours of that protocol. */
static struct span icmp_about(uint8_t *p, uint8_t proto, struct span payload, uint16_t mtu)
{
    struct span quoted = ip_packet_of("198.51.100.2", "192.0.2.2", proto, payload);
    memset(p, 0, 8);
    p[0] = 3;
    p[1] = 4;
    store_be16(p + 6, mtu);
    memcpy(p + 8, quoted.p, quoted.n);
    store_be16(p + 2, inet_checksum(p, 8 + quoted.n));
    return span_of(p, 8 + quoted.n);
}

/* ROUNDS of changes under two threads. party: what they have seen. Returns what went out, as the core counts it. */
static uint64_t change_under(struct world *w, struct party *party, bool shared)
{
    static struct ring ring[WORKERS];
    pthread_t thread[WORKERS];
    bool stop = false;
    uint8_t esp[256], icmp[WORKERS][2][128];
    world_up(w, GCM256, 4, false, 4);
    struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    uint32_t esp_len = p->len;
    memcpy(esp, p->data, esp_len);
    for (unsigned i = 0; i < WORKERS; i++) {
        party[i] = (struct party){
            .mine = &ring[i], .other = &ring[!i], .esp = span_of(esp, esp_len), .stop = &stop, .index = i};
        ring[i].in = ring[i].out = 0;
        party[i].icmp[0] =
            icmp_about(icmp[i][0], IP_PROTO_GRE, hex(shared ? "10000800 00000000" : "00000800 45000578"), 1400);
        party[i].icmp[1] = icmp_about(icmp[i][1], IP_PROTO_ESP, hex("22222222 00000001"), (uint16_t)(1380 + 20 * i));
        OK(crypto_new(NULL, &party[i].crypto));
        OK(pkt_pool_new(256, 4, &party[i].pool));
        dp_worker_free(w->edge[i]);
        OK(dp_worker_new(w->dp[EDGE], i, party[i].crypto, &w->edge[i]));
        party[i].w = w->edge[i];
    }
    w->w[EDGE] = w->edge[0];
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &party[i]), 0);

    uint64_t out = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        change_all(w, round, shared);
        out = ask(w, out);
        struct dp_garbage *g = dp_garbage_take(w->dp[EDGE]);
        assert_non_null(g);
        wait_for_grace(party);
        dp_garbage_free(w->dp[EDGE], g);
    }
    SHOW(stop, true);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    dp_garbage_free(w->dp[EDGE], dp_garbage_take(w->dp[EDGE]));
    return ask(w, out);
}

/* The last ICMP, move and publication may have been at it all together: what is let through is what the path MTU allows. */
static void assert_settled(struct world *w)
{
    struct dp_tunnel_info info;
    struct dp_overhead o = {.type = TUNNEL_IPSEC, .alg = GCM256}; /* of the last round's SA */
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &info));
    assert_true(info.path_mtu == 1500 || info.path_mtu == 1400 || info.path_mtu == 1380);
    assert_int_equal(info.mtu, dp_inner_mtu(&o, info.path_mtu));
    assert_int_equal(info.mss4, info.mtu - 40);
}

static void close_parties(struct world *w, struct party *party)
{
    assert_settled(w);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(party[i].wrong, 0);
        assert_true(party[i].lowered > 0);
        assert_int_equal(pkt_pool_available(party[i].pool, false), 256);
        pkt_pool_free(party[i].pool);
        dp_worker_free(w->edge[i]);
        OK(dp_worker_new(w->dp[EDGE], i, NULL, &w->edge[i]));
        crypto_free(party[i].crypto);
    }
    w->w[EDGE] = w->edge[0];
}

static void everything_changes(void **state)
{
    struct world *w = *state;
    struct party party[WORKERS];
    uint64_t out = change_under(w, party, false);
    assert_int_equal(out, party[0].sent + party[1].sent);
    assert_int_equal(party[0].sent_esp, 0);
    assert_int_equal(party[0].to_tun + party[1].to_tun, 1); /* one number, once, wherever it came in */
    assert_true(party[1].replays > 0);
    assert_true(party[1].taken > 0 && party[0].handed >= party[1].taken);
    assert_int_equal(party[1].handed, 0);                         /* of number 0's tunnel nothing needs it */
    assert_int_equal(world_drops(w, EDGE, DP_REASON_TOO_BIG), 0); /* no SA is seen before what it lets through */
    close_parties(w, party);
}

/* Both send on the SA that is replaced, retired, moved and removed; GRE, with its numbers, is one's and the other's by turns, and inside
 * ESP counts for both tunnels. */
static void one_sa_of_both(void **state)
{
    struct world *w = *state;
    struct party party[WORKERS];
    struct dp_tunnel_info gre;
    world_unprotect(w);
    uint64_t out = change_under(w, party, true);
    assert_true(party[0].sent_esp > 0 && party[1].sent_esp > 0);
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &gre));
    uint64_t gre_alone = party[0].sent + party[1].sent - party[0].sent_esp - party[1].sent_esp;
    assert_in_range(gre.counters.packets_out, gre_alone, UINT64_MAX);
    assert_int_equal(out - gre.counters.packets_out, party[0].sent_esp + party[1].sent_esp);
    assert_true(party[0].handed > 0 && party[1].handed > 0);
    close_parties(w, party);
}

int main(void)
{
#define T2(f) cmocka_unit_test_setup_teardown(f, world_open_two, world_close)
    const struct CMUnitTest tests[] = {
        T2(everything_changes),
        T2(one_sa_of_both),
    };
    return cmocka_run_group_tests_name("dp_threads", tests, NULL, NULL);
}
