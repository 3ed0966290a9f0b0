/* The life of an SA in the core: limits, IVs, which SA a packet takes, rekeying, a peer that moves. */
#include "dp/worker.h"
#include "lib/world.h"

#define INNER4 "10.9.0.1", "10.1.0.1" /* customer-bound, as the edge's TUN sees it */

/* ---- limits ----------------------------------------------------------------------------------- */

static size_t take_events(struct world *w, enum side side, enum dp_event_type type)
{
    struct dp_event e[16];
    size_t n = dp_events(w->w[side], e, 16), found = 0;
    for (size_t i = 0; i < n; i++)
        found += e[i].type == type;
    return found;
}

static void sequence_never_wraps(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct sa *sa = sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE);
    sa->seq = SEQ_SOFT - 2;
    world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    assert_int_equal(take_events(w, EDGE, DP_EVENT_SA_SOFT), 0);
    world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    assert_int_equal(take_events(w, EDGE, DP_EVENT_SA_SOFT), 1); /* once */

    sa->seq = UINT32_MAX - 2;
    struct pkt *v[4];
    world_done(w);
    for (int i = 0; i < 4; i++)
        v[i] = world_packet(w, ip_packet(INNER4, IP_PROTO_UDP, 20), PKT_FROM_TUN);
    world_run_tun(w, EDGE, v, 4); /* the end lies inside the batch */
    assert_int_equal(load_be32(v[1]->data + 4), UINT32_MAX);
    assert_int_equal(v[1]->verdict, PKT_TO_ESP);
    assert_dropped(w, EDGE, v[2], DP_REASON_ESP_EXPIRED);
    assert_dropped(w, EDGE, v[3], DP_REASON_ESP_EXPIRED);
    assert_int_equal(take_events(w, EDGE, DP_EVENT_SA_HARD), 1);
    struct pkt *p = world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    assert_dropped(w, EDGE, p, DP_REASON_ESP_EXPIRED);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &info));
    assert_false(info.sendable);
}

static void iv_counter_ends(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct sa *sa = sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE);
    sa->iv_next = IV_SOFT - 1;
    world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    assert_int_equal(take_events(w, EDGE, DP_EVENT_SA_SOFT), 1);
    sa->iv_next = IV_HARD - 1;
    struct pkt *p = world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    assert_true(load_be64(p->data + 8) == ((uint64_t)SENDER_ID << 40 | (IV_HARD - 1)));
    p = world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    assert_dropped(w, EDGE, p, DP_REASON_ESP_EXPIRED);
}

static void hard_lifetime(void **state)
{
    struct world *w = *state;
    struct child_sa e = world_child(EDGE, GCM256), p = world_child(PEER, GCM256);
    e.hard_expiry = w->now + NS_PER_S;
    OK(dp_child_up(w->dp[EDGE], w->now, &e));
    OK(dp_child_up(w->dp[PEER], w->now, &p));
    w->now += NS_PER_S;
    world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    struct pkt *in = world_carry(w, EDGE);
    assert_dropped(w, EDGE, in, DP_REASON_ESP_EXPIRED);
    assert_int_equal(take_events(w, EDGE, DP_EVENT_SA_HARD), 1);
    in = world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
    assert_dropped(w, EDGE, in, DP_REASON_ESP_EXPIRED);
    assert_int_equal(take_events(w, EDGE, DP_EVENT_SA_HARD), 0);
}

/* ---- IVs: GCM's; those of CBC have test_dp_iv.c ------------------------------------------------- */

static void gcm_ivs_are_a_counter_under_the_sender_id(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct span in = exact_copy(ip_packet(INNER4, IP_PROTO_UDP, 20));
    for (uint64_t i = 0; i < 10000; i++) {
        struct pkt *p = world_tun(w, EDGE, in);
        assert_true(load_be64(p->data + 8) == ((uint64_t)SENDER_ID << 40 | i));
    }
    exact_free(in);
}

/* ---- which SA --------------------------------------------------------------------------------- */

static struct pkt *send_one(struct world *w)
{
    return world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20));
}

static void without_sa(void **state)
{
    struct world *w = *state;
    struct pkt *p = send_one(w);
    assert_dropped(w, EDGE, p, DP_REASON_NO_SA);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], IPSEC_TUNNEL, &info));
    assert_false(info.sendable);
    assert_int_equal(info.counters.drops[DP_REASON_NO_SA], 1);
    assert_int_equal(info.mtu, 1446);
}

/* Both ends: a second SA that replaces the first. */
static void rekey(struct world *w)
{
    for (int side = 0; side < 2; side++) {
        struct child_sa c = world_child(side, GCM256);
        c.replaces = c.spi_in;
        c.spi_in += 1;
        c.spi_out += 1;
        OK(dp_child_up(w->dp[side], w->now, &c));
    }
}

static void rekey_sends_on_the_old_one_until_the_new_is_seen(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    rekey(w);
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER);
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info) && info.sending);
    dp_child_down(w->dp[PEER], SPI_PEER); /* the peer drops its old one: now it sends on the new one */
    struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    assert_int_equal(load_be32(p->data), SPI_EDGE + 1);
    assert_int_equal(world_carry(w, EDGE)->verdict, PKT_TO_TUN);
    struct dp_event e;
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 1);
    assert_int_equal(e.type, DP_EVENT_SA_SEEN);
    assert_int_equal(e.spi_in, SPI_EDGE + 1);
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER + 1);
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE + 1, &info) && info.sending);
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    assert_false(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER + 1);
}

static void retired_takes_what_was_on_its_way(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    rekey(w);
    struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    assert_int_equal(load_be32(p->data), SPI_EDGE);
    dp_child_retire(w->dp[EDGE], SPI_EDGE, w->now + 2 * NS_PER_S);
    assert_int_equal(world_carry(w, EDGE)->verdict, PKT_TO_TUN);
    struct dp_event e;
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 1);
    assert_int_equal(e.type, DP_EVENT_SA_SEEN);
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER + 1); /* though nothing came on the new one yet */
    p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    assert_int_equal(load_be32(p->data), SPI_EDGE);
    w->now += 2 * NS_PER_S;
    assert_int_equal(world_carry(w, EDGE)->verdict, PKT_DROP);
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 0);
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    dp_child_retire(w->dp[EDGE], SPI_EDGE, w->now); /* is gone: nothing happens */
}

static void rekey_without_the_old_one(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    rekey(w);
    struct sa *old = sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE);
    old->seq = SEQ_HARD; /* done, though not down */
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER + 1);
    old->seq = 1;
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER);
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER + 1);
}

static void newest_that_matches(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 3; i++) {
        struct child_sa c = world_child(EDGE, GCM256);
        static const char *const remote[] = {"0.0.0.0/0", "10.1.0.0/24", "10.1.1.0/24"};
        c.spi_in += i;
        c.spi_out += i;
        world_selectors(&c, "0.0.0.0/0", remote[i]);
        OK(dp_child_up(w->dp[EDGE], w->now, &c));
    }
    assert_int_equal(load_be32(world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.9", 17, 8))->data), SPI_PEER + 1);
    assert_int_equal(load_be32(world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.1.9", 17, 8))->data), SPI_PEER + 2);
    assert_int_equal(load_be32(world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.2.9", 17, 8))->data), SPI_PEER);
}

static void child_up_refuses(void **state)
{
    struct world *w = *state;
    struct child_sa c = world_child(EDGE, GCM256);
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &c), RC_EXISTS);
    struct child_sa bad = c;
    bad.spi_in++;
    bad.tunnel = GRE_TUNNEL;
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &bad), RC_ABSENT);
    bad.tunnel = 50;
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &bad), RC_ABSENT);
    bad = c;
    bad.spi_in++;
    bad.transport = true;
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &bad), RC_RANGE);
    bad.transport = false;
    bad.alg.encr = 99;
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &bad), RC_UNSUPPORTED);
    bad.alg = c.alg;
    bad.hard_expiry = w->now;
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &bad), RC_RANGE);
    bad.hard_expiry = NEVER;
    bad.path.remote.addr = ip("2001:db8::1");
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &bad), RC_RANGE);
    for (uint32_t i = 1; i < 32; i++) {
        c.spi_in++;
        OK(dp_child_up(w->dp[EDGE], w->now, &c));
    }
    c.spi_in++;
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &c), RC_LIMIT);
    dp_child_down(w->dp[EDGE], 0xdeadbeef); /* unknown: nothing happens */
}

/* Many rekeys must not fill the index with what is gone. */
static void index_survives_churn(void **state)
{
    struct world *w = *state;
    struct child_sa c = world_child(EDGE, GCM256);
    uint32_t spi[24] = {0};
    for (int i = 0; i < 5000; i++) {
        size_t k = dice(&w->dice) % ARRAY_LEN(spi);
        if (spi[k])
            dp_child_down(w->dp[EDGE], spi[k]);
        c.spi_in = spi[k] = (uint32_t)dice(&w->dice) | 1;
        c.spi_out = (uint32_t)dice(&w->dice) | 1;
        OK(dp_child_up(w->dp[EDGE], w->now, &c));
        for (size_t j = 0; j < ARRAY_LEN(spi); j++)
            assert_true(!spi[j] || sa_find_in(w->dp[EDGE]->by_in, spi[j]));
        assert_null(sa_find_in(w->dp[EDGE]->by_in, 2));
    }
}

static void no_sa_has_number_zero(void **state)
{
    struct world *w = *state;
    for (int in = 0; in < 2; in++) {
        struct child_sa c = world_child(EDGE, GCM256);
        *(in ? &c.spi_in : &c.spi_out) = 0;
        assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &c), RC_RANGE);
    }
}

static void retiring_lengthens_no_life(void **state)
{
    struct world *w = *state;
    struct child_sa c = world_child(EDGE, GCM256);
    c.hard_expiry = w->now + 10;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    dp_child_retire(w->dp[EDGE], c.spi_in, w->now + 20);
    assert_true(sa_find_in(w->dp[EDGE]->by_in, c.spi_in)->hard_expiry == w->now + 10);
}

/* Two wait for the peer to use them, and what they replace is done: the newest of them. */
static void newest_of_those_that_wait(void **state)
{
    struct world *w = *state;
    struct child_sa c = world_child(EDGE, GCM256);
    c.hard_expiry = w->now + 10;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    c.hard_expiry = NEVER;
    for (uint32_t i = 1; i < 3; i++) {
        c.replaces = c.spi_in++;
        c.spi_out++;
        OK(dp_child_up(w->dp[EDGE], w->now, &c));
    }
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER);
    w->now += 10;
    assert_int_equal(load_be32(send_one(w)->data), SPI_PEER + 2);
}

/* ---- a peer that moves ------------------------------------------------------------------------ */

static void new_source_nominates_and_moves_nothing(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, true, 4);
    struct dp_event e[4];
    for (int i = 0; i < 3; i++) {
        struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
        p->outer.src = ip("203.0.113.9");
        p->outer.sport = 7777;
        assert_int_equal(world_carry(w, EDGE)->verdict, PKT_TO_TUN);
    }
    assert_int_equal(dp_events(w->w[EDGE], e, 4), 2); /* seen, and one nomination for three packets */
    assert_int_equal(e[1].type, DP_EVENT_PEER_MOVED);
    assert_int_equal(e[1].path.remote.port, 7777);
    struct addr from = ip("203.0.113.9"), old = ip("192.0.2.2");
    assert_true(addr_equal(&e[1].path.remote.addr, &from));
    struct pkt *p = send_one(w);
    assert_true(addr_equal(&p->outer.dst, &old));
    assert_int_equal(p->outer.dport, 61234);

    OK(dp_child_moved(w->dp[EDGE], SPI_EDGE, &e[1].path, true));
    p = send_one(w);
    assert_true(addr_equal(&p->outer.dst, &from));
    assert_int_equal(p->outer.dport, 7777);
    assert_int_equal(dp_child_moved(w->dp[EDGE], 99, &e[1].path, true), RC_ABSENT);
    OK(dp_child_moved(w->dp[EDGE], SPI_EDGE, &e[1].path, false));
    assert_int_equal(send_one(w)->verdict, PKT_TO_ESP);
}

/* A packet of the peer's, to be given to the edge by world_run_net(). */
static struct pkt *from_peer(struct world *w, const char *src, enum pkt_from door, uint16_t sport)
{
    struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20));
    struct span data = exact_copy(span_of(p->data, p->len));
    world_done(w);
    p = world_packet(w, data, door);
    p->outer = world_outer(EDGE, 4);
    p->outer.src = ip(src);
    p->outer.sport = sport;
    p->outer.dport = 4500;
    exact_free(data);
    return p;
}

static size_t events_of_one(struct world *w, const char *src, enum pkt_from door, struct dp_event e[4])
{
    struct pkt *p = from_peer(w, src, door, 7777);
    assert_int_equal(world_run_net(w, EDGE, &p, 1)->verdict, PKT_TO_TUN);
    return dp_events(w->w[EDGE], e, 4);
}

/* A place is nominated once a second, and at once after a move that took it for the old one. */
static void nominated_again(void **state)
{
    struct world *w = *state;
    struct dp_event e[4];
    world_up(w, GCM256, 4, true, 4);
    assert_int_equal(events_of_one(w, "203.0.113.9", PKT_FROM_NATT, e), 2);
    assert_int_equal(e[1].path.remote.port, 7777);
    assert_int_equal(e[1].path.local.port, 4500);
    w->now += MOVED_REPEAT - 1;
    assert_int_equal(events_of_one(w, "203.0.113.9", PKT_FROM_NATT, e), 0);
    w->now += 1;
    assert_int_equal(events_of_one(w, "203.0.113.9", PKT_FROM_NATT, e), 1);

    struct path to = e[0].path;
    to.remote.addr = ip("203.0.113.10");
    OK(dp_child_moved(w->dp[EDGE], SPI_EDGE, &to, true));
    assert_int_equal(events_of_one(w, "203.0.113.10", PKT_FROM_NATT, e), 0);
    assert_int_equal(events_of_one(w, "203.0.113.9", PKT_FROM_NATT, e), 1);
    assert_int_equal(e[0].type, DP_EVENT_PEER_MOVED);
}

/* Raw ESP has no port: the same address by the other door is the same place. */
static void raw_esp_has_no_port(void **state)
{
    struct world *w = *state;
    struct dp_event e[4];
    world_up(w, GCM256, 4, false, 4);
    assert_int_equal(events_of_one(w, "192.0.2.2", PKT_FROM_ESP, e), 1);
    assert_int_equal(e[0].type, DP_EVENT_SA_SEEN);
    assert_int_equal(events_of_one(w, "192.0.2.2", PKT_FROM_NATT, e), 0);
}

/* Neither does a replay, though its check value is right: nor one that stands in the same batch as the packet it repeats. */
static void replay_nominates_nothing(void **state)
{
    struct world *w = *state;
    struct dp_event e[4];
    world_up(w, GCM256, 4, false, 4);
    struct pkt *v[2] = {from_peer(w, "192.0.2.2", PKT_FROM_ESP, 0)};
    v[1] = world_packet(w, span_of(v[0]->data, v[0]->len), PKT_FROM_ESP);
    v[1]->outer = v[0]->outer;
    v[1]->outer.src = ip("203.0.113.9");
    world_run_net(w, EDGE, v, 2);
    assert_int_equal(w->out[0]->verdict, PKT_TO_TUN);
    assert_dropped(w, EDGE, w->out[1], DP_REASON_ESP_REPLAY);
    assert_int_equal(dp_events(w->w[EDGE], e, 4), 1);
    assert_int_equal(e[0].type, DP_EVENT_SA_SEEN);
}

/* The ring is full when the SA is first seen: a later packet tells, and only then is nothing left to be told. */
static void seen_waits_for_room(void **state)
{
    struct world *w = *state;
    struct dp_event e[4];
    world_up(w, GCM256, 4, false, 4);
    w->w[EDGE]->event_in = EVENTS;
    struct pkt *p = from_peer(w, "192.0.2.2", PKT_FROM_ESP, 0);
    assert_int_equal(world_run_net(w, EDGE, &p, 1)->verdict, PKT_TO_TUN);
    w->w[EDGE]->event_in = 0;
    assert_int_equal(events_of_one(w, "192.0.2.2", PKT_FROM_ESP, e), 1);
    assert_int_equal(e[0].type, DP_EVENT_SA_SEEN);
    assert_int_equal(events_of_one(w, "192.0.2.2", PKT_FROM_ESP, e), 0);
}

/* Likewise that its numbers come to an end. */
static void soft_limit_waits_for_room(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE)->seq = SEQ_SOFT;
    w->w[EDGE]->event_in = EVENTS;
    assert_int_equal(world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20))->verdict, PKT_TO_ESP);
    w->w[EDGE]->event_in = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 20))->verdict, PKT_TO_ESP);
        assert_int_equal(take_events(w, EDGE, DP_EVENT_SA_SOFT), i == 0);
    }
}

static void forged_source_moves_nothing(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct pkt_outer o = world_outer(EDGE, 4);
    uint8_t junk[100] = {0x11, 0x11, 0x11, 0x11, 0, 0, 0, 1};
    o.src = ip("203.0.113.9");
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(junk, 96));
    assert_dropped(w, EDGE, p, DP_REASON_ESP_INTEGRITY);
    struct dp_event e;
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 0);
}

/* Text that is not whole blocks, which the core never makes, stands for a cipher that fails. */
static void what_cannot_be_sealed_never_leaves(void **state)
{
    struct world *w = *state;
    world_up(w, CBC256, 4, false, 4);
    sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE)->out.align = 4;
    struct pkt *v[PKT_BATCH];
    world_done(w);
    for (unsigned i = 0; i < PKT_BATCH; i++)
        v[i] = world_packet(w, ip_packet(INNER4, IP_PROTO_UDP, 20 + i), PKT_FROM_TUN);
    world_run_tun(w, EDGE, v, PKT_BATCH);
    assert_int_equal(w->n_out, PKT_BATCH);
    unsigned sent = 0;
    for (unsigned i = 0; i < PKT_BATCH; i++) {
        uint32_t text = (IP4_HEADER + 20 + i + ESP_TRAILER + 3) / 4 * 4;
        if (text % 16 != 0) {
            assert_dropped(w, EDGE, v[i], DP_REASON_ESP_INTEGRITY);
            continue;
        }
        assert_int_equal(v[i]->verdict, PKT_TO_ESP);
        sent++;
    }
    assert_in_range(sent, PKT_BATCH / 8, PKT_BATCH / 2);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_ESP_INTEGRITY), PKT_BATCH - sent);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(sequence_never_wraps),
        T(iv_counter_ends),
        T(hard_lifetime),
        T(gcm_ivs_are_a_counter_under_the_sender_id),
        T(without_sa),
        T(rekey_sends_on_the_old_one_until_the_new_is_seen),
        T(retired_takes_what_was_on_its_way),
        T(rekey_without_the_old_one),
        T(newest_that_matches),
        T(no_sa_has_number_zero),
        T(retiring_lengthens_no_life),
        T(newest_of_those_that_wait),
        T(child_up_refuses),
        T(index_survives_churn),
        T(new_source_nominates_and_moves_nothing),
        T(nominated_again),
        T(raw_esp_has_no_port),
        T(replay_nominates_nothing),
        T(seen_waits_for_room),
        T(soft_limit_waits_for_room),
        T(forged_source_moves_nothing),
        T(what_cannot_be_sealed_never_leaves),
    };
    return cmocka_run_group_tests_name("dp_sa", tests, NULL, NULL);
}
