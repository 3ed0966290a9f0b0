/* GRE inside ESP, the only decapsulation inside another: both modes, both ways, what fits, and what must not pass. */
#include "dp/worker.h"
#include "lib/inet.h"
#include "lib/world.h"

#define EDGE4 "198.51.100.2"
#define PEER4 "192.0.2.2"
#define DOWN4 "10.9.0.1", "10.2.0.1" /* to the customer, by the edge's route into GRE */
#define UP4 "10.2.0.1", "172.16.0.1" /* by the default route of the peer */
enum mode { TUNNEL, TRANSPORT };

static void protect(struct world *w, uint32_t key)
{
    for (int side = 0; side < 2; side++) {
        struct tunnel_policy t = world_gre(side);
        t.protect = IPSEC_TUNNEL;
        t.has_key = key != 0;
        t.key = key;
        world_set(w, side, &t);
    }
}

static void up(struct world *w, enum mode mode, struct esp_alg alg, bool udp)
{
    for (int side = 0; side < 2; side++) {
        struct child_sa c = world_child(side, alg);
        c.udp = udp;
        c.transport = mode == TRANSPORT;
        world_selectors(&c, side == EDGE ? EDGE4 "/32" : PEER4 "/32", side == EDGE ? PEER4 "/32" : EDGE4 "/32");
        c.ts_local.proto = c.ts_remote.proto = IP_PROTO_GRE;
        OK(dp_child_up(w->dp[side], w->now, &c));
    }
}

static void down(struct world *w)
{
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    dp_child_down(w->dp[PEER], SPI_PEER);
}

static struct dp_tunnel_info info_of(const struct world *w, enum side side, uint32_t tunnel)
{
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[side], tunnel, &info));
    return info;
}

static void assert_passes(struct world *w, enum side from, struct span packet)
{
    struct pkt *p = world_tun(w, from, packet);
    assert_non_null(p);
    assert_in_range(p->verdict, PKT_TO_ESP, PKT_TO_NATT);
    p = world_carry(w, !from);
    assert_string_equal(dp_reason_name(p->reason), "none");
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_span_equal(span_of(p->data, p->len), packet);
}

static void dropped(const struct world *w, const struct pkt *p, enum dp_reason why) /* at the edge */
{
    assert_dropped(w, EDGE, p, why);
}

static void both_modes_both_ways(void **state)
{
    struct world *w = *state;
    for (int mode = 0; mode < 2; mode++)
        for (uint32_t key = 0; key < 2; key++)
            for (size_t a = 0; a < world_n_algs; a++)
                for (int udp = 0; udp < 2; udp++) {
                    protect(w, key * 0xdeadbeef);
                    up(w, mode, world_algs[a], udp);
                    uint16_t mtu = info_of(w, EDGE, GRE_TUNNEL).mtu;
                    for (size_t n = 0; n < 20; n++) {
                        assert_passes(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, n));
                        assert_passes(w, PEER, ip_packet(UP4, IP_PROTO_UDP, n));
                    }
                    assert_passes(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, mtu - 20u));
                    assert_passes(w, EDGE, ip_packet("2001:db8:9::1", "2001:db8:2::1", IP_PROTO_UDP, 99));
                    down(w);
                }
}

static void what_it_looks_like(void **state)
{
    struct world *w = *state;
    static const struct esp_alg null = {.encr = ENCR_NULL, .integ = INTEG_HMAC_SHA2_256_128};
    struct span in = ip_packet(DOWN4, IP_PROTO_UDP, 20);
    protect(w, 5);
    for (int mode = 0; mode < 2; mode++) {
        up(w, mode, null, false);
        const struct pkt *p = world_tun(w, EDGE, in);
        assert_int_equal(p->verdict, PKT_TO_ESP);
        assert_int_equal(load_be32(p->data), SPI_PEER);
        const uint8_t *gre = p->data + ESP_HEADER;
        if (mode == TUNNEL) {
            struct ip_view view;
            struct addr src = wire_ip_src(gre), dst = wire_ip_dst(gre), edge = ip(EDGE4), peer = ip(PEER4);
            OK(wire_ip_parse(gre, p->len - ESP_HEADER, &view));
            assert_int_equal(view.proto, IP_PROTO_GRE);
            assert_int_equal(view.len, 20 + 8 + in.n);
            assert_int_equal(wire_sum(gre, IP4_HEADER, 0), 0xffff);
            assert_true(addr_equal(&src, &edge) && addr_equal(&dst, &peer));
            gre += IP4_HEADER;
        }
        assert_span_equal(span_of(gre, 8), hex("2000 0800 00000005"));
        assert_span_equal(span_of(gre + 8, in.n), in);
        assert_int_equal(p->data[p->len - 16 - 1], mode == TUNNEL ? IP_PROTO_IPV4 : IP_PROTO_GRE);
        down(w);
    }
}

/* Facts, section 19, GRE in ESP: raw and in UDP. */
static void what_fits(void **state)
{
    struct world *w = *state;
    static const struct {
        enum mode mode;
        bool cbc, key;
        uint16_t raw, udp;
    } row[] = {
        {TRANSPORT, false, false, 1442, 1434}, {TRANSPORT, false, true, 1438, 1430},
        {TRANSPORT, true, false, 1434, 1418},  {TRANSPORT, true, true, 1430, 1414},
        {TUNNEL, false, false, 1422, 1414},    {TUNNEL, true, false, 1414, 1398},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++)
        for (int udp = 0; udp < 2; udp++) {
            uint16_t mtu = udp ? row[i].udp : row[i].raw;
            protect(w, row[i].key);
            up(w, row[i].mode, row[i].cbc ? CBC256 : GCM256, udp);
            struct dp_tunnel_info info = info_of(w, EDGE, GRE_TUNNEL);
            assert_int_equal(info.mtu, mtu);
            assert_int_equal(info.mss4, mtu - 40);
            assert_int_equal(info.mss6, mtu - 60);
            struct span big = ip_packet(DOWN4, IP_PROTO_UDP, mtu - 20u + 1);
            edit(big)[6] = 0x40;
            ip_mend(big);
            struct pkt *p = world_tun(w, EDGE, big);
            assert_int_equal(w->n_out, 2);
            assert_int_equal(p->verdict, PKT_TO_TUN);
            assert_int_equal(load_be16(p->data + 26), mtu); /* ICMP: next-hop MTU */
            dropped(w, w->out[1], DP_REASON_TOO_BIG);
            p = world_tun(w, EDGE, tcp_syn(DOWN4, hex("02040fff")));
            p = world_carry(w, PEER);
            assert_int_equal(load_be16(p->data + 42), mtu - 40);
            down(w);
        }
}

static void counters_and_state(void **state)
{
    struct world *w = *state;
    protect(w, 0);
    assert_false(info_of(w, EDGE, GRE_TUNNEL).sendable);
    dropped(w, world_tun(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, 8)), DP_REASON_NO_SA);
    assert_int_equal(info_of(w, EDGE, GRE_TUNNEL).counters.drops[DP_REASON_NO_SA], 1);
    up(w, TUNNEL, GCM256, false);
    assert_true(info_of(w, EDGE, GRE_TUNNEL).sendable);
    assert_passes(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, 80));
    assert_passes(w, PEER, ip_packet(UP4, IP_PROTO_UDP, 80));
    struct dp_tunnel_info gre = info_of(w, EDGE, GRE_TUNNEL), ipsec = info_of(w, EDGE, IPSEC_TUNNEL);
    assert_int_equal(gre.counters.bytes_in, 100);
    assert_int_equal(gre.counters.bytes_out, 100);
    assert_int_equal(gre.counters.packets_in, 1);
    assert_int_equal(gre.last_in, w->now);
    assert_int_equal(ipsec.counters.bytes_out, 124);
    assert_int_equal(ipsec.counters.packets_out, 1);
    assert_int_equal(ipsec.counters.packets_in, 1);
    assert_int_equal(ipsec.last_in, w->now);
    dp_tunnel_remove(w->dp[EDGE], IPSEC_TUNNEL); /* without the one that carries it, nothing goes out */
    OK(dp_publish(w->dp[EDGE]));
    dropped(w, world_tun(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, 8)), DP_REASON_NO_SA);
}

/* An SA for everything carries GRE and the tunnel's own routes; one of transport mode carries GRE alone. */
static void own_routes_of_the_carrier(void **state)
{
    struct world *w = *state;
    protect(w, 0);
    world_up(w, GCM256, 4, false, 4);
    assert_passes(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, 8));
    assert_passes(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    down(w);
    up(w, TRANSPORT, GCM256, false);
    dropped(w, world_tun(w, EDGE, ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8)), DP_REASON_ESP_SELECTOR);
    world_route(w, EDGE, "192.0.2.0/24", IPSEC_TUNNEL, 100, 1); /* what could pass for the GRE packet itself */
    dropped(w, world_tun(w, EDGE, ip_packet(EDGE4, PEER4, IP_PROTO_GRE, 8)), DP_REASON_ESP_SELECTOR);
}

/* The outer header, what it costs, and what cannot be sent are the carrier's. */
static void no_room_for_the_second_header(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_ipsec(EDGE);
    t.ttl = 77;
    world_set(w, EDGE, &t);
    protect(w, 0);
    up(w, TUNNEL, GCM256, false);
    for (size_t front = 20; front < 44; front++) { /* GRE 4, IPv4 20, ESP 16 */
        world_done(w);
        struct pkt *p = world_packet(w, ip_packet(DOWN4, IP_PROTO_UDP, 8), PKT_FROM_TUN);
        memmove(p->room + front, p->data, p->len);
        p->data = p->room + front;
        p = world_run_tun(w, EDGE, &p, 1);
        if (front < 40) {
            dropped(w, p, DP_REASON_POOL);
            assert_true(p->data >= p->room);
        } else {
            assert_int_equal(be32(p->data + 4), front - 39);
            assert_int_equal(p->outer.ttl, 77);
        }
    }
    assert_int_equal(info_of(w, EDGE, GRE_TUNNEL).counters.drops[DP_REASON_POOL], 4);
    assert_int_equal(info_of(w, EDGE, IPSEC_TUNNEL).counters.drops[DP_REASON_POOL], 16);
}

static void selectors_that_leave_gre_out(void **state)
{
    struct world *w = *state;
    protect(w, 0);
    for (int side = 0; side < 2; side++) {
        struct child_sa c = world_child(side, GCM256);
        world_selectors(&c, side == EDGE ? "10.0.0.0/8" : "0.0.0.0/0", side == EDGE ? "0.0.0.0/0" : "10.0.0.0/8");
        if (side == PEER)
            world_selectors(&c, "0.0.0.0/0", "0.0.0.0/0");
        OK(dp_child_up(w->dp[side], w->now, &c));
    }
    dropped(w, world_tun(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, 8)), DP_REASON_ESP_SELECTOR);
    assert_int_equal(world_tun(w, PEER, ip_packet(UP4, IP_PROTO_UDP, 8))->verdict, PKT_TO_ESP);
    dropped(w, world_carry(w, EDGE), DP_REASON_ESP_SELECTOR);
}

static void selectors_of_transport_mode(void **state)
{
    struct world *w = *state;
    protect(w, 0);
    static const char *const bad[][2] = {{"0.0.0.0/0", PEER4 "/32"},
                                         {EDGE4 "/32", "0.0.0.0/0"},
                                         {"198.51.100.3/32", PEER4 "/32"},
                                         {EDGE4 "/32", "2001:db8:9::2/128"}};
    struct child_sa c = world_child(EDGE, GCM256);
    c.transport = true;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        world_selectors(&c, bad[i][0], bad[i][1]);
        assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &c), RC_RANGE);
    }
    world_selectors(&c, EDGE4 "/32", PEER4 "/32");
    c.ts_local.proto = IP_PROTO_UDP;
    assert_int_equal(dp_child_up(w->dp[EDGE], w->now, &c), RC_RANGE);
}

/* ---- what must not pass --------------------------------------------------------------------------- */

static struct span gre(uint32_t key, struct span inner)
{
    static uint8_t octets[2048];
    struct gre_header h = {.flags = key ? GRE_KEY : 0, .proto = GRE_PROTO_IPV4, .key = key, .len = key ? 8 : 4};
    wire_gre_write(octets, &h);
    struct wr w = wr_of(octets + h.len, sizeof octets - h.len);
    wr_bytes(&w, inner);
    assert_false(w.failed);
    return span_of(octets, h.len + inner.n);
}

/* The peer's SA seals whatever it is given: `text` as next header `next`. */
static struct pkt *sealed(struct world *w, struct span text, uint8_t next)
{
    static uint32_t seq = 1000;
    struct child_sa c = world_child(PEER, GCM256);
    struct esp_key *key;
    uint8_t esp[2048];
    uint32_t n = wire_esp_text_len((uint32_t)text.n, 4);
    struct wr wr = wr_of(esp, sizeof esp);
    wr_u32(&wr, SPI_EDGE);
    wr_u32(&wr, ++seq);
    wr_u64(&wr, seq);
    wr_bytes(&wr, text);
    assert_false(wr.failed);
    wire_esp_trailer_write(esp + 16, (uint32_t)text.n, n, next);
    OK(crypto_esp_key_new(w->crypto, c.alg, span_of(c.key_out, c.key_len), &key));
    struct esp_op op = {.key = key, .pkt = esp, .text_len = n};
    crypto_esp_seal(w->crypto, &op, 1);
    OK(op.rc);
    crypto_esp_key_free(key);
    struct pkt_outer outer = world_outer(EDGE, 4);
    return world_net(w, EDGE, &outer, PKT_FROM_ESP, span_of(esp, 16 + n + 16));
}

static struct pkt *sealed_ip(struct world *w, const char *src, const char *dst, uint8_t proto, struct span payload)
{
    return sealed(w, ip_packet_of(src, dst, proto, payload), IP_PROTO_IPV4);
}

static void naked_gre_neither_comes_in_nor_goes_out(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet(UP4, IP_PROTO_UDP, 8);
    struct pkt_outer outer = world_outer(EDGE, 4);
    protect(w, 0);
    for (int mode = 0; mode < 3; mode++) { /* at last without an SA */
        if (mode < 2)
            up(w, mode, GCM256, false);
        dropped(w, world_net(w, EDGE, &outer, PKT_FROM_GRE, gre(0, in)), DP_REASON_GRE_PROTECT);
        assert_int_equal(info_of(w, EDGE, GRE_TUNNEL).counters.drops[DP_REASON_GRE_PROTECT], mode + 1);
        if (mode < 2)
            down(w);
    }
    dropped(w, world_tun(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, 8)), DP_REASON_NO_SA);
}

/* Its carrier is another account's, or not there, or lets nothing through: it goes nowhere. */
static void carrier_that_cannot(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_ipsec(EDGE), g = world_gre(EDGE);
    protect(w, 0);
    up(w, TUNNEL, GCM256, false);
    struct span in = ip_packet(DOWN4, IP_PROTO_UDP, 8);
    assert_int_equal(world_tun(w, EDGE, in)->verdict, PKT_TO_ESP);
    t.mtu = 20;
    world_set(w, EDGE, &t);
    dropped(w, world_tun(w, EDGE, in), DP_REASON_TOO_BIG);
    t.mtu = 0;
    t.account = ACCOUNT + 1;
    world_set(w, EDGE, &t);
    dropped(w, world_tun(w, EDGE, in), DP_REASON_NO_SA);
    t.account = ACCOUNT;
    world_set(w, EDGE, &t);
    assert_int_equal(world_tun(w, EDGE, in)->verdict, PKT_TO_ESP);
    g.protect = 60; /* beyond all that were published */
    world_set(w, EDGE, &g);
    dropped(w, world_tun(w, EDGE, in), DP_REASON_NO_SA);
}

/* The header of the GRE tunnel's own layer counts as long as it is. */
static void what_fits_over_ipv6(void **state)
{
    struct world *w = *state;
    for (int side = 0; side < 2; side++) {
        struct tunnel_policy t = world_gre(side);
        t.protect = IPSEC_TUNNEL;
        t.endpoint = ip(side == EDGE ? "2001:db8:5::2" : "2001:db8:9::2");
        t.customer_endpoint = ip(side == EDGE ? "2001:db8:9::2" : "2001:db8:5::2");
        world_set(w, side, &t);
    }
    world_up(w, GCM256, 4, false, 6);
    struct span in = ip_packet(DOWN4, IP_PROTO_UDP, 1446 - IP6_HEADER - 4 - IP4_HEADER);
    edit(in)[6] = 0x40;
    ip_mend(in);
    assert_passes(w, EDGE, in);
    in = ip_packet(DOWN4, IP_PROTO_UDP, 1446 - IP6_HEADER - 4 - IP4_HEADER + 1);
    edit(in)[6] = 0x40;
    ip_mend(in);
    world_tun(w, EDGE, in);
    assert_int_equal(w->n_out, 2);
    dropped(w, w->out[1], DP_REASON_TOO_BIG);
}

static void wrong_key(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet(UP4, IP_PROTO_UDP, 8);
    protect(w, 7);
    up(w, TUNNEL, GCM256, false);
    assert_int_equal(sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(7, in))->verdict, PKT_TO_TUN);
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(8, in)), DP_REASON_GRE_KEY);
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, in)), DP_REASON_GRE_KEY);
    down(w);
    up(w, TRANSPORT, GCM256, false);
    assert_int_equal(sealed(w, gre(7, in), IP_PROTO_GRE)->verdict, PKT_TO_TUN);
    dropped(w, sealed(w, gre(8, in), IP_PROTO_GRE), DP_REASON_GRE_KEY);
    dropped(w, sealed(w, span_of("\0\0", 2), IP_PROTO_GRE), DP_REASON_SHORT);
}

static void one_layer_and_no_more(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet(UP4, IP_PROTO_UDP, 8);
    protect(w, 0);
    world_up(w, GCM256, 4, false, 4);
    struct span nested = ip_packet_of(PEER4, EDGE4, IP_PROTO_GRE, gre(0, in));
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, nested)), DP_REASON_INNER_LOOP);
    nested = ip_packet_of("10.2.0.1", "10.9.0.1", IP_PROTO_GRE, gre(0, in));
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, nested)), DP_REASON_INNER_LOOP);
    nested = ip_packet(PEER4, EDGE4, IP_PROTO_ESP, 40);
    dropped(w, sealed(w, nested, IP_PROTO_IPV4), DP_REASON_INNER_DESTINATION);
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, nested)), DP_REASON_INNER_DESTINATION);
    dropped(w, sealed(w, nested, IP_PROTO_ESP), DP_REASON_ESP_NEXT_HEADER);
}

static void next_header_is_the_modes(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet(UP4, IP_PROTO_UDP, 8);
    protect(w, 0);
    up(w, TUNNEL, GCM256, false);
    dropped(w, sealed(w, gre(0, in), IP_PROTO_GRE), DP_REASON_ESP_NEXT_HEADER);
    down(w);
    up(w, TRANSPORT, GCM256, false);
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, in)), DP_REASON_ESP_NEXT_HEADER);
}

static void from_elsewhere_or_in_fragments(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet(UP4, IP_PROTO_UDP, 8);
    protect(w, 0);
    world_up(w, GCM256, 4, false, 4);
    dropped(w, sealed_ip(w, "192.0.2.3", EDGE4, IP_PROTO_GRE, gre(0, in)), DP_REASON_INNER_DESTINATION);
    struct span part = ip_packet_of(PEER4, EDGE4, IP_PROTO_GRE, gre(0, in));
    edit(part)[6] = 0x20;
    ip_mend(part);
    dropped(w, sealed(w, part, IP_PROTO_IPV4), DP_REASON_FRAGMENT);
    struct span marked = ip_packet_of(PEER4, EDGE4, IP_PROTO_GRE, gre(0, in));
    edit(marked)[1] = 3; /* congestion on the way, and the inner packet cannot say so */
    ip_mend(marked);
    dropped(w, sealed(w, marked, IP_PROTO_IPV4), DP_REASON_ECN);
}

/* A GRE tunnel that comes in the clear, or in the SA of another tunnel, is not this SA's. */
static void another_tunnels_sa(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet(UP4, IP_PROTO_UDP, 8);
    struct tunnel_policy other = world_ipsec(EDGE), t = world_gre(EDGE);
    other.tunnel = 2;
    world_set(w, EDGE, &other);
    world_up(w, GCM256, 4, false, 4);
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, in)), DP_REASON_INNER_DESTINATION);
    t.protect = 2;
    world_set(w, EDGE, &t);
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, in)), DP_REASON_INNER_DESTINATION);
    dropped(w, world_tun(w, EDGE, ip_packet(DOWN4, IP_PROTO_UDP, 8)), DP_REASON_NO_SA);
    down(w);
    t.protect = TUNNEL_NONE;
    world_set(w, EDGE, &t);
    up(w, TRANSPORT, GCM256, false);
    dropped(w, sealed(w, gre(0, in), IP_PROTO_GRE), DP_REASON_GRE_SOURCE);
}

static void sources_and_keepalives(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    struct prefix allowed = net("10.2.0.0/16");
    t.protect = IPSEC_TUNNEL;
    t.check_sources = t.keepalive = true;
    t.sources = &allowed;
    t.n_sources = 1;
    world_set(w, EDGE, &t);
    world_up(w, GCM256, 4, false, 4);
    struct span in = ip_packet(UP4, IP_PROTO_UDP, 8);
    assert_int_equal(sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, in))->verdict, PKT_TO_TUN);
    in = ip_packet("10.3.0.1", "10.9.0.1", IP_PROTO_UDP, 8);
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, in)), DP_REASON_INNER_SOURCE);
    in = ip_packet_of(EDGE4, PEER4, IP_PROTO_GRE, hex("0000 0000"));
    dropped(w, sealed_ip(w, PEER4, EDGE4, IP_PROTO_GRE, gre(0, in)), DP_REASON_KEEPALIVE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(both_modes_both_ways),         T(what_it_looks_like),          T(what_fits),
        T(counters_and_state),           T(own_routes_of_the_carrier),   T(no_room_for_the_second_header),
        T(selectors_that_leave_gre_out), T(selectors_of_transport_mode), T(naked_gre_neither_comes_in_nor_goes_out),
        T(carrier_that_cannot),          T(what_fits_over_ipv6),         T(wrong_key),
        T(one_layer_and_no_more),        T(next_header_is_the_modes),    T(from_elsewhere_or_in_fragments),
        T(another_tunnels_sa),           T(sources_and_keepalives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
