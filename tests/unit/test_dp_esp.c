/* ESP through the core: round trips, every drop reason, replay. Rows 39 and 40 of the adversarial list as far as they concern one
 * server. */
#include "dp/worker.h"
#include "lib/world.h"

#define INNER4 "10.9.0.1", "10.1.0.1" /* customer-bound, as the edge's TUN sees it */

/* ---- round trips ------------------------------------------------------------------------------ */

static void check_round_trip(struct world *w, enum side from, struct span packet)
{
    struct pkt *p = world_tun(w, from, packet);
    assert_non_null(p);
    assert_in_range(p->verdict, PKT_TO_ESP, PKT_TO_NATT);
    p = world_carry(w, !from);
    assert_int_equal(w->n_out, 1);
    assert_string_equal(dp_reason_name(p->reason), "none");
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->account, ACCOUNT);
    assert_span_equal(span_of(p->data, p->len), packet);
}

static void round_trips(struct world *w, uint8_t outer, uint8_t inner)
{
    for (size_t a = 0; a < world_n_algs; a++)
        for (int udp = 0; udp < 2; udp++) {
            world_up(w, world_algs[a], outer, udp, inner);
            struct dp_sa_info info;
            assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
            size_t header = inner == 4 ? IP4_HEADER : IP6_HEADER, sent = 0;
            for (size_t n = 0; header + n <= info.mtu; n += n < 80 ? 1 : 37, sent++)
                check_round_trip(w, EDGE,
                                 inner == 4 ? ip_packet(INNER4, IP_PROTO_UDP, n)
                                            : ip_packet("2001:db8:77::1", "2001:db8:1::1", IP_PROTO_UDP, n));
            check_round_trip(w, EDGE,
                             inner == 4
                                 ? ip_packet(INNER4, IP_PROTO_UDP, info.mtu - header)
                                 : ip_packet("2001:db8:77::1", "2001:db8:1::1", IP_PROTO_UDP, info.mtu - header));
            check_round_trip(w, PEER,
                             inner == 4 ? ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 100)
                                        : ip_packet("2001:db8:1::1", "2001:db8:77::1", IP_PROTO_UDP, 100));
            assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
            assert_int_equal(info.packets_out, sent + 1);
            assert_int_equal(info.seq_out, sent + 1);
            assert_int_equal(info.packets_in, 1);
            assert_int_equal(info.seq_in, 1);
            dp_child_down(w->dp[EDGE], SPI_EDGE);
            dp_child_down(w->dp[PEER], SPI_PEER);
        }
}

static void round_trip_4_in_4(void **state)
{
    round_trips(*state, 4, 4);
}
static void round_trip_6_in_4(void **state)
{
    round_trips(*state, 4, 6);
}
static void round_trip_4_in_6(void **state)
{
    round_trips(*state, 6, 4);
}
static void round_trip_6_in_6(void **state)
{
    round_trips(*state, 6, 6);
}

/* Facts: inner 40 -> 96 and 1400 -> 1456 (GCM, raw, IPv4), 40 -> 108 and 1400 -> 1468 (CBC + SHA2-256): minus 20 of outer header. */
static void sizes_on_the_wire(void **state)
{
    struct world *w = *state;
    static const struct {
        size_t inner, gcm, cbc;
    } row[] = {{40, 96, 108}, {100, 156, 172}, {1280, 1336, 1356}, {1400, 1456, 1468}};
    for (int cbc = 0; cbc < 2; cbc++) {
        world_up(w, cbc ? CBC256 : GCM256, 4, false, 4);
        for (size_t i = 0; i < ARRAY_LEN(row); i++) {
            struct pkt *p = world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, row[i].inner - 20));
            assert_int_equal(p->len + 20, cbc ? row[i].cbc : row[i].gcm);
        }
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

static void outer_header(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_ipsec(EDGE);
    t.ttl = 33;
    t.dscp = 46;
    t.ecn = ECN_NORMAL;
    world_set(w, EDGE, &t);
    world_up(w, GCM256, 4, true, 4);
    struct span in = ip_packet(INNER4, IP_PROTO_UDP, 8);
    edit(in)[1] = 0x02 | 10 << 2;
    edit(in)[6] = 0x40;
    ip_mend(in);
    struct pkt *p = world_tun(w, EDGE, in);
    assert_int_equal(p->verdict, PKT_TO_NATT);
    assert_int_equal(p->outer.ttl, 33);
    assert_int_equal(p->outer.tos, 46 << 2 | 2);
    assert_true(p->outer.df);
    assert_int_equal(p->outer.sport, 4500);
    assert_int_equal(p->outer.dport, 61234);
    struct addr src = ip("198.51.100.2"), dst = ip("192.0.2.2");
    assert_true(addr_equal(&p->outer.src, &src) && addr_equal(&p->outer.dst, &dst));
    assert_int_equal(load_be32(p->data), SPI_PEER);
    assert_int_equal(load_be32(p->data + 4), 1); /* RFC 4303 3.3.3: the first one sent is 1 */

    t.dscp = DSCP_COPY;
    t.ecn = ECN_COMPAT;
    t.df = DF_CLEAR;
    world_set(w, EDGE, &t);
    p = world_tun(w, EDGE, in);
    assert_int_equal(p->outer.tos, 10 << 2);
    assert_false(p->outer.df);
    t.df = DF_SET;
    world_set(w, EDGE, &t);
    p = world_tun(w, EDGE, ip_packet(INNER4, IP_PROTO_UDP, 8));
    assert_true(p->outer.df);
}

/* ---- what must not come in (row 39) ----------------------------------------------------------- */

static void adv_39_every_corrupt_octet_is_dropped(void **state)
{
    struct world *w = *state;
    for (size_t a = 0; a < world_n_algs; a++) {
        world_up(w, world_algs[a], 4, false, 4);
        struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 60));
        struct pkt_outer o = world_outer(EDGE, 4);
        uint8_t good[256];
        size_t n = p->len;
        memcpy(good, p->data, n);
        for (size_t i = 0; i < n; i++)
            for (unsigned bit = 0; bit < 8; bit++) {
                good[i] ^= (uint8_t)(1 << bit);
                p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(good, n));
                assert_int_equal(p->verdict, PKT_DROP);
                enum dp_reason why = i < 4 ? DP_REASON_ESP_UNKNOWN_SPI : DP_REASON_ESP_INTEGRITY;
                if (!(i >= 4 && i < 8 && p->reason == DP_REASON_ESP_REPLAY)) /* sequence 0 */
                    assert_int_equal(p->reason, why);
                good[i] ^= (uint8_t)(1 << bit);
            }
        p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(good, n)); /* and none of that moved the window */
        assert_int_equal(p->verdict, PKT_TO_TUN);
        for (size_t k = 0; k < n; k++) {
            p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(good, k));
            assert_int_equal(p->verdict, PKT_DROP);
        }
        struct dp_sa_info info;
        assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
        assert_int_equal(info.packets_in, 1);
        assert_true(info.integrity_drops >= (n - 4) * 8 - 1); /* but for the sequence number that became 0 */
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

/* An authentic ESP packet of the peer's making, whatever the text is. */
static struct span sealed(struct world *w, uint32_t seq, struct span text)
{
    static uint8_t pkt[4096];
    struct child_sa c = world_child(PEER, GCM256);
    struct esp_key *key;
    OK(crypto_esp_key_new(w->crypto, c.alg, span_of(c.key_out, c.key_len), &key));
    store_be32(pkt, SPI_EDGE);
    store_be32(pkt + 4, seq);
    store_be64(pkt + 8, seq);
    memcpy(pkt + 16, text.p, text.n);
    struct esp_op op = {.key = key, .pkt = pkt, .text_len = (uint32_t)text.n};
    crypto_esp_seal(w->crypto, &op, 1);
    OK(op.rc);
    crypto_esp_key_free(key);
    return span_of(pkt, 16 + text.n + 16);
}

static struct span text_of(struct span inner, const char *trailer_hex)
{
    static uint8_t text[3000];
    struct span trailer = hex(trailer_hex);
    memcpy(text, inner.p, inner.n);
    memcpy(text + inner.n, trailer.p, trailer.n);
    return span_of(text, inner.n + trailer.n);
}

static struct pkt *give_text(struct world *w, uint32_t seq, struct span text)
{
    struct pkt_outer o = world_outer(EDGE, 4);
    return world_net(w, EDGE, &o, PKT_FROM_ESP, sealed(w, seq, text));
}

static void adv_39_what_an_authentic_peer_may_not_send(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct span in = ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20); /* 40 octets */
    uint32_t seq = 1;
    struct pkt *p = give_text(w, seq++, text_of(in, "01 02 02 04"));
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->len, 40);

    p = give_text(w, seq++, text_of(in, "01 03 02 04")); /* padding is 1, 2, 3 .. */
    assert_dropped(w, EDGE, p, DP_REASON_ESP_PADDING);
    p = give_text(w, seq++, text_of(in, "01 02 ff 04")); /* more padding than there is text */
    assert_dropped(w, EDGE, p, DP_REASON_ESP_PADDING);
    p = give_text(w, seq++, text_of(in, "01 02 03 02 04")); /* the text does not end on four octets */
    assert_dropped(w, EDGE, p, DP_REASON_ESP_PADDING);
    p = give_text(w, seq++, text_of(in, "00 04")); /* but on two */
    assert_dropped(w, EDGE, p, DP_REASON_ESP_PADDING);
    p = give_text(w, seq++, text_of(in, "01 02 02 3b")); /* RFC 4303 2.6 */
    assert_dropped(w, EDGE, p, DP_REASON_ESP_DUMMY);
    static const char *const other[] = {"01 02 02 00", "01 02 02 06", "01 02 02 11", "01 02 02 2f", "01 02 02 32"};
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        p = give_text(w, seq++, text_of(in, other[i]));
        assert_dropped(w, EDGE, p, DP_REASON_ESP_NEXT_HEADER);
    }
    p = give_text(w, seq++, text_of(in, "01 02 02 29")); /* IPv6 says the trailer */
    assert_dropped(w, EDGE, p, DP_REASON_INNER_VERSION);
    p = give_text(w, seq++, hex("01020204")); /* no inner packet at all */
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LENGTH);
    edit(in)[3] = 41;
    p = give_text(w, seq++, text_of(in, "01 02 02 04"));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LENGTH);
    edit(in)[0] = 0x44; /* a header of 16 octets */
    p = give_text(w, seq++, text_of(in, "01 02 02 04"));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LENGTH);
}

static void traffic_flow_padding_is_cut(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    uint8_t text[244] = {0};
    struct span in = ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20);
    memcpy(text, in.p, in.n);
    text[242] = 0;
    text[243] = 4;
    struct pkt *p = give_text(w, 1, span_of(text, sizeof text));
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_span_equal(span_of(p->data, p->len), in);
}

static void adv_39_short_and_foreign(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct pkt_outer o = world_outer(EDGE, 4);
    uint8_t pkt[64] = {0x11, 0x11, 0x11, 0x11, 0, 0, 0, 1};
    for (size_t n = 0; n < 34; n++) {
        struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(pkt, n));
        assert_dropped(w, EDGE, p, DP_REASON_SHORT);
    }
    pkt[0] = 0x12;
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_NATT, span_of(pkt, 64));
    assert_dropped(w, EDGE, p, DP_REASON_ESP_UNKNOWN_SPI);
    o.dst = ip("198.51.100.77");
    p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(pkt, 64));
    assert_dropped(w, EDGE, p, DP_REASON_OUTER_DESTINATION);
    p = world_net(w, EDGE, &o, PKT_FROM_TUN, span_of(pkt, 64)); /* the wrong door */
    assert_dropped(w, EDGE, p, DP_REASON_SHORT);
}

/* What is kept of the packet before serves only packets like it: two SAs in turn, and an address that is not ours behind one that is. */
static void batch_of_strangers(void **state)
{
    struct world *w = *state;
    struct child_sa other[2];
    struct span data[2];
    world_up(w, GCM256, 4, false, 4);
    for (int side = 0; side < 2; side++) {
        other[side] = world_child(side, world_algs[1]);
        other[side].spi_in = side == EDGE ? 0x33333333 : 0x44444444;
        other[side].spi_out = side == EDGE ? 0x44444444 : 0x33333333;
    }
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            for (int side = 0; side < 2; side++)
                OK(dp_child_up(w->dp[side], w->now, &other[side]));
        struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 60));
        data[i] = exact_copy(span_of(p->data, p->len));
        assert_int_equal(load_be32(p->data), i == 0 ? SPI_EDGE : 0x33333333);
    }
    world_done(w);
    struct pkt *v[4];
    for (int i = 0; i < 4; i++) {
        v[i] = world_packet(w, data[i & 1], PKT_FROM_ESP);
        v[i]->outer = world_outer(EDGE, 4);
    }
    v[2]->outer.dst = v[3]->outer.dst = ip("198.51.100.77");
    world_run_net(w, EDGE, v, 4);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(w->out[i]->verdict, PKT_TO_TUN);
        assert_dropped(w, EDGE, w->out[2 + i], DP_REASON_OUTER_DESTINATION);
        exact_free(data[i]);
    }
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], 0x33333333, &info));
    assert_int_equal(info.packets_in, 1);
}

static void tunnel_not_yet_published(void **state)
{
    struct world *w = *state;
    world_up_early(w);
    struct span in = ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20);
    struct pkt *p = give_text(w, 1, text_of(in, "01 02 02 04"));
    assert_dropped(w, EDGE, p, DP_REASON_ESP_UNKNOWN_SPI);
    OK(dp_publish(w->dp[EDGE]));
    assert_int_equal(give_text(w, 1, text_of(in, "01 02 02 04"))->verdict, PKT_TO_TUN);
}

static void adv_39_huge_reassembled_packet(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct pkt_outer o = world_outer(EDGE, 4);
    static uint8_t big[PKT_LARGE];
    store_be32(big, SPI_EDGE);
    store_be32(big + 4, 9);
    for (size_t n = PKT_LARGE - 8; n <= PKT_LARGE; n++) {
        struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(big, n));
        assert_int_equal(p->verdict, PKT_DROP);
    }
    assert_true(world_drops(w, EDGE, DP_REASON_ESP_INTEGRITY) > 0);
}

static void adv_39_selectors_hold_both_ways(void **state)
{
    struct world *w = *state;
    struct child_sa e = world_child(EDGE, GCM256), p = world_child(PEER, GCM256);
    world_selectors(&e, "10.9.0.0/24", "10.1.0.0/24");
    OK(dp_child_up(w->dp[EDGE], w->now, &e));
    OK(dp_child_up(w->dp[PEER], w->now, &p));
    static const struct {
        const char *src, *dst;
        bool good;
    } row[] = {
        {"10.1.0.1", "10.9.0.1", true},      {"10.1.0.255", "10.9.0.255", true}, {"10.1.1.0", "10.9.0.1", false},
        {"10.0.255.255", "10.9.0.1", false}, {"10.1.0.1", "10.9.1.0", false},    {"10.1.0.1", "10.8.255.255", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        world_tun(w, PEER, ip_packet(row[i].src, row[i].dst, IP_PROTO_UDP, 20));
        struct pkt *in = world_carry(w, EDGE);
        if (row[i].good)
            assert_int_equal(in->verdict, PKT_TO_TUN);
        else
            assert_dropped(w, EDGE, in, DP_REASON_ESP_SELECTOR);
    }
    assert_int_equal(world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 1))->verdict, PKT_TO_ESP);
    struct pkt *out = world_tun(w, EDGE, ip_packet("10.9.1.1", "10.1.0.1", IP_PROTO_UDP, 1));
    assert_dropped(w, EDGE, out, DP_REASON_ESP_SELECTOR);
}

static void selectors_of_protocol_and_port(void **state)
{
    (void)state;
    struct ts any = {.port_last = UINT16_MAX, .first = ip("0.0.0.0"), .last = ip("255.255.255.255")};
    struct ts tcp80 = any, opaque = any, echo = any;
    tcp80.proto = IP_PROTO_TCP;
    tcp80.port_first = tcp80.port_last = 80;
    opaque.proto = IP_PROTO_TCP;
    opaque.port_first = UINT16_MAX;
    opaque.port_last = 0;
    echo.proto = IP_PROTO_ICMP;
    echo.port_first = 0x0800;
    echo.port_last = 0x08ff;
    struct span p =
        ip_packet_of("10.1.0.1", "10.9.0.1", IP_PROTO_TCP, hex("1234 0050 00000000 00000000 5002 0000 0000 0000"));
    struct ip_view v;
    OK(wire_ip_parse(p.p, p.n, &v));
    struct selectors s = selectors_of(&any, &tcp80), all = selectors_of(&any, &any), o = selectors_of(&any, &opaque),
                     e = selectors_of(&any, &echo);
    assert_true(all.all4 && !all.all6);
    assert_true(selectors_match(&s, p.p, &v, false)); /* remote port is the destination's */
    assert_false(selectors_match(&s, p.p, &v, true));
    assert_false(selectors_match(&o, p.p, &v, false));
    v.later = v.fragment = true; /* RFC 4301 7: the ports of a later fragment are unknown */
    assert_false(selectors_match(&s, p.p, &v, false));
    assert_true(selectors_match(&o, p.p, &v, false));
    p = ip_packet_of("10.1.0.1", "10.9.0.1", IP_PROTO_ICMP, hex("0805 0000 0000 0000"));
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_true(selectors_match(&e, p.p, &v, true));
    edit(p)[20] = 0;
    assert_false(selectors_match(&e, p.p, &v, true));
}

/* ---- replay (row 40) -------------------------------------------------------------------------- */

static void adv_40_replay_is_dropped_also_inside_a_batch(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct pkt *p = world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 60));
    struct span data = exact_copy(span_of(p->data, p->len));
    struct pkt *v[3];
    world_done(w);
    for (int i = 0; i < 3; i++) {
        v[i] = world_packet(w, data, PKT_FROM_ESP);
        v[i]->outer = world_outer(EDGE, 4);
    }
    world_run_net(w, EDGE, v, 3);
    assert_int_equal(w->out[0]->verdict, PKT_TO_TUN);
    assert_dropped(w, EDGE, w->out[1], DP_REASON_ESP_REPLAY);
    assert_dropped(w, EDGE, w->out[2], DP_REASON_ESP_REPLAY);
    struct pkt_outer o = world_outer(EDGE, 4);
    p = world_net(w, EDGE, &o, PKT_FROM_ESP, data);
    assert_dropped(w, EDGE, p, DP_REASON_ESP_REPLAY);
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    assert_int_equal(info.replay_drops, 3);
    exact_free(data);
}

static void replay_protection_off(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_ipsec(EDGE);
    t.replay_protection = false;
    world_set(w, EDGE, &t);
    world_up(w, GCM256, 4, false, 4);
    struct span in = ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 20);
    static const uint32_t seq[] = {5, 5, 1, 0, UINT32_MAX, 7};
    for (size_t i = 0; i < ARRAY_LEN(seq); i++)
        assert_int_equal(give_text(w, seq[i], text_of(in, "01 02 02 04"))->verdict, PKT_TO_TUN);
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    assert_int_equal(info.seq_in, UINT32_MAX);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(round_trip_4_in_4),
        T(round_trip_6_in_4),
        T(round_trip_4_in_6),
        T(round_trip_6_in_6),
        T(sizes_on_the_wire),
        T(outer_header),
        T(adv_39_every_corrupt_octet_is_dropped),
        T(adv_39_what_an_authentic_peer_may_not_send),
        T(traffic_flow_padding_is_cut),
        T(adv_39_short_and_foreign),
        T(batch_of_strangers),
        T(tunnel_not_yet_published),
        T(adv_39_huge_reassembled_packet),
        T(adv_39_selectors_hold_both_ways),
        T(selectors_of_protocol_and_port),
        T(adv_40_replay_is_dropped_also_inside_a_batch),
        T(replay_protection_off),
    };
    return cmocka_run_group_tests_name("dp_esp", tests, NULL, NULL);
}
