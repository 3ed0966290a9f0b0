/* What fits into a tunnel and what becomes of the rest: inner MTU and MSS of every encapsulation, the clamp, "too big" answers and
 * fragments; RFC 791, 1191, 1812, 2473 7.1, 2784, 4301 8.2, 4303, 4443, 7588, 9293. Received ICMP has test_dp_pmtu.c. */
#include "lib/inet.h"
#include "lib/world.h"

#define ALG(e, bits, i)                                \
    {                                                  \
        .encr = (e), .encr_bits = (bits), .integ = (i) \
    }
#define GCM ALG(ENCR_AES_GCM_16, 256, INTEG_NONE)
#define CBC_SHA2 ALG(ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128)
#define CBC_SHA1 ALG(ENCR_AES_CBC, 128, INTEG_HMAC_SHA1_96)
#define NULL_SHA2 ALG(ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128)
#define NULL_SHA1 ALG(ENCR_NULL, 0, INTEG_HMAC_SHA1_96)

/* ---- the table: outer path of 1500 -------------------------------------------------------------------------- */

static const struct {
    struct dp_overhead o;
    uint16_t mtu;
} gre_rows[] = {
    {{.type = TUNNEL_GRE}, 1476},
    {{.type = TUNNEL_GRE, .gre_key = true}, 1472},
    {{.type = TUNNEL_GRE, .gre_checksum = true, .gre_key = true}, 1468},
    {{.type = TUNNEL_GRE, .gre_checksum = true, .gre_key = true, .gre_sequence = true}, 1464},
    {{.type = TUNNEL_GRE, .outer_v6 = true}, 1456},
    {{.type = TUNNEL_GRE, .outer_v6 = true, .gre_key = true}, 1452},
};

static const struct {
    struct dp_overhead o;
    uint16_t raw, natt; /* 0: not in the table */
} esp_rows[] = {
    {{.alg = GCM}, 1446, 1438},
    {{.alg = GCM, .outer_v6 = true}, 1426, 1418},
    {{.alg = CBC_SHA2}, 1438, 1422},
    {{.alg = CBC_SHA2, .outer_v6 = true}, 1406, 1406},
    {{.alg = CBC_SHA1}, 1438, 1422},
    {{.alg = CBC_SHA1, .outer_v6 = true}, 1422, 1406},
    {{.alg = NULL_SHA2}, 1454, 1446},
    {{.alg = NULL_SHA1}, 1458, 1450},
    {{.alg = GCM, .gre_in_esp = GRE_IN_ESP_TRANSPORT}, 1442, 1434},
    {{.alg = GCM, .gre_in_esp = GRE_IN_ESP_TRANSPORT, .gre_key = true}, 1438, 1430},
    {{.alg = CBC_SHA2, .gre_in_esp = GRE_IN_ESP_TRANSPORT}, 1434, 1418},
    {{.alg = CBC_SHA2, .gre_in_esp = GRE_IN_ESP_TRANSPORT, .gre_key = true}, 1430, 1414},
    {{.alg = GCM, .gre_in_esp = GRE_IN_ESP_TUNNEL}, 1422, 1414},
    {{.alg = CBC_SHA2, .gre_in_esp = GRE_IN_ESP_TUNNEL}, 1414, 1398},
};

static void inner_mtu_by_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(gre_rows); i++)
        assert_int_equal(dp_inner_mtu(&gre_rows[i].o, 1500), gre_rows[i].mtu);
    for (size_t i = 0; i < ARRAY_LEN(esp_rows); i++) {
        struct dp_overhead o = esp_rows[i].o;
        o.type = TUNNEL_IPSEC;
        assert_int_equal(dp_inner_mtu(&o, 1500), esp_rows[i].raw);
        o.udp = true;
        assert_int_equal(dp_inner_mtu(&o, 1500), esp_rows[i].natt);
    }
}

/* RFC 4303 2: octets on the wire of an inner packet. */
static uint32_t on_the_wire(uint32_t inner, const struct dp_overhead *o)
{
    bool gcm = o->alg.encr == ENCR_AES_GCM_16, cbc = o->alg.encr == ENCR_AES_CBC;
    uint32_t iv = gcm ? 8 : cbc ? 16 : 0, block = cbc ? 16 : 4, icv = o->alg.integ == INTEG_HMAC_SHA1_96 ? 12 : 16;
    uint32_t text = inner + 2;
    text += (block - text % block) % block;
    return (o->outer_v6 ? 40u : 20u) + (o->udp ? 8 : 0) + 8 + iv + text + icv;
}

static void inner_mtu_is_the_largest_that_fits(void **state)
{
    (void)state;
    for (size_t a = 0; a < world_n_algs; a++)
        for (unsigned form = 0; form < 4; form++) {
            struct dp_overhead o = {.type = TUNNEL_IPSEC, .alg = world_algs[a], .outer_v6 = form & 1, .udp = form & 2};
            for (uint32_t path = 100; path < 9300; path++) {
                uint16_t mtu = dp_inner_mtu(&o, (uint16_t)path);
                assert_true(mtu == 0 || on_the_wire(mtu, &o) <= path);
                assert_true(on_the_wire(mtu + 1u, &o) > path);
            }
        }
}

static void inner_mtu_of_nonsense(void **state)
{
    (void)state;
    struct dp_overhead o = {.type = TUNNEL_IPSEC, .alg = {.encr = 99}};
    assert_int_equal(dp_inner_mtu(&o, 1500), 0);
    o.alg = (struct esp_alg)GCM;
    for (uint16_t path = 0; path < 56; path++)
        assert_int_equal(dp_inner_mtu(&o, path), 0);
    o.alg = (struct esp_alg)CBC_SHA2;
    o.gre_in_esp = GRE_IN_ESP_TUNNEL;
    for (uint16_t path = 0; path < 80; path++)
        assert_int_equal(dp_inner_mtu(&o, path), 0);
    o = (struct dp_overhead){.type = TUNNEL_GRE};
    for (uint16_t path = 0; path <= 24; path++)
        assert_int_equal(dp_inner_mtu(&o, path), 0);
    assert_int_equal(dp_inner_mtu(&o, 25), 1);
    assert_int_equal(dp_inner_mtu(&o, 65535), 65511);
}

static struct dp_tunnel_info info_of(struct world *w, uint32_t tunnel)
{
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], tunnel, &info));
    return info;
}

static void assert_limits(struct world *w, uint32_t tunnel, uint16_t mtu, uint16_t mss4, uint16_t mss6)
{
    struct dp_tunnel_info info = info_of(w, tunnel);
    assert_int_equal(info.mtu, mtu);
    assert_int_equal(info.mss4, mss4);
    assert_int_equal(info.mss6, mss6);
}

static void limits_in_the_status(void **state)
{
    struct world *w = *state;
    assert_limits(w, GRE_TUNNEL, 1476, 1436, 1416);
    struct tunnel_policy t = world_gre(EDGE);
    t.has_key = true;
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 1472, 1432, 1412);
    t.checksum = t.sequence = true;
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 1464, 1424, 1404);
    t = world_gre(EDGE);
    t.endpoint = ip("2001:db8:5::2");
    t.customer_endpoint = ip("2001:db8:9::2");
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 1456, 1416, 1396);
    static const struct {
        struct esp_alg alg;
        uint8_t outer;
        bool udp;
        uint16_t mtu, mss4, mss6;
    } row[] = {{GCM, 4, false, 1446, 1406, 1386},       {GCM, 4, true, 1438, 1398, 1378},
               {GCM, 6, false, 1426, 1386, 1366},       {GCM, 6, true, 1418, 1378, 1358},
               {CBC_SHA2, 4, false, 1438, 1398, 1378},  {CBC_SHA2, 4, true, 1422, 1382, 1362},
               {CBC_SHA2, 6, false, 1406, 1366, 1346},  {CBC_SHA2, 6, true, 1406, 1366, 1346},
               {CBC_SHA1, 6, false, 1422, 1382, 1362},  {CBC_SHA1, 6, true, 1406, 1366, 1346},
               {NULL_SHA2, 4, false, 1454, 1414, 1394}, {NULL_SHA1, 4, true, 1450, 1410, 1390}};
    assert_limits(w, IPSEC_TUNNEL, 1446, 1406, 1386); /* before there is an SA: what AES-GCM will have */
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        world_up(w, row[i].alg, row[i].outer, row[i].udp, 4);
        assert_limits(w, IPSEC_TUNNEL, row[i].mtu, row[i].mss4, row[i].mss6);
        struct dp_sa_info sa;
        assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &sa));
        assert_int_equal(sa.mtu, row[i].mtu);
        assert_int_equal(sa.mss4, row[i].mss4);
        assert_int_equal(sa.mss6, row[i].mss6);
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

static void configured_limits(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.path_mtu = 9000;
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 8976, 8936, 8916);
    t.mtu = 1400;
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 1400, 1360, 1340);
    t.path_mtu = 1280; /* what does not fit the path cannot be configured into it */
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 1256, 1216, 1196);
    t.mss = 1200;
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 1256, 1200, 1196); /* 1200 + 60 would not fit */
    t.mss = 1000;
    world_set(w, EDGE, &t);
    assert_limits(w, GRE_TUNNEL, 1256, 1000, 1000);
}

/* ---- the clamp ------------------------------------------------------------------------------------------------- */

static uint16_t mss_of(const struct pkt *p, size_t skip, size_t ip_header)
{
    const uint8_t *tcp = p->data + skip + ip_header;
    assert_int_equal(be16(tcp + 20), 0x0204);
    assert_int_equal(inet_checksum_pseudo(span_of(p->data + skip, p->len - skip), ip_header, IP_PROTO_TCP), 0);
    return be16(tcp + 22);
}

/* A SYN with this MSS, out through a tunnel and, from the other side, in. */
static void check_clamp(struct world *w, uint32_t tunnel, int version, uint16_t mss, uint16_t expected)
{
    uint8_t option[4] = {2, 4, (uint8_t)(mss >> 8), (uint8_t)mss};
    bool gre = tunnel == GRE_TUNNEL;
    const char *out = version == 6 ? (gre ? "2001:db8:2::1" : "2001:db8:1::1") : gre ? "10.2.0.1" : "10.1.0.1";
    const char *in = version == 6 ? "2001:db8:77::1" : "10.9.0.1";
    size_t header = version == 6 ? 40 : 20;
    for (int ack = 0; ack < 2; ack++) {
        struct span syn = tcp_syn(in, out, span_of(option, 4));
        uint8_t *tcp = edit(syn) + header;
        tcp[13] |= ack ? 0x10 : 0;
        store_be16(tcp + 16, 0);
        store_be16(tcp + 16, inet_checksum_pseudo(syn, header, IP_PROTO_TCP));
        struct pkt *p = world_tun(w, EDGE, syn);
        if (gre)
            assert_int_equal(mss_of(p, 4, header), expected);
        else { /* the peer's own limits are the same: it sees what the edge made of it, or less */
            p = world_carry(w, PEER);
            assert_int_equal(mss_of(p, 0, header), expected);
        }
        syn = tcp_syn(out, in, span_of(option, 4));
        if (gre) {
            struct pkt_outer o = world_outer(EDGE, 4);
            p = world_net(w, EDGE, &o, PKT_FROM_GRE,
                          gre_packet(0, version == 6 ? GRE_PROTO_IPV6 : GRE_PROTO_IPV4, 0, 0, syn));
        } else {
            world_tun(w, PEER, syn);
            p = world_carry(w, EDGE);
        }
        assert_int_equal(p->verdict, PKT_TO_TUN);
        assert_int_equal(mss_of(p, 0, header), expected);
    }
}

static void mss_is_clamped_both_ways(void **state)
{
    struct world *w = *state;
    check_clamp(w, GRE_TUNNEL, 4, 1460, 1436);
    check_clamp(w, GRE_TUNNEL, 4, 1437, 1436);
    check_clamp(w, GRE_TUNNEL, 4, 1436, 1436);
    check_clamp(w, GRE_TUNNEL, 4, 1435, 1435); /* never raised */
    check_clamp(w, GRE_TUNNEL, 4, 536, 536);
    check_clamp(w, GRE_TUNNEL, 4, 65535, 1436);
    check_clamp(w, GRE_TUNNEL, 6, 1440, 1416);
    check_clamp(w, GRE_TUNNEL, 6, 1220, 1220);
    for (int version = 4; version <= 6; version += 2) {
        world_up(w, CBC256, 4, true, (uint8_t)version);
        check_clamp(w, IPSEC_TUNNEL, version, 1460, version == 4 ? 1382 : 1362);
        check_clamp(w, IPSEC_TUNNEL, version, 1200, 1200);
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

static void clamp_of_each_side_alone(void **state)
{
    struct world *w = *state;
    for (int side = 0; side < 2; side++) { /* only one of the two lowers; the other one's path is wide */
        struct tunnel_policy narrow = world_ipsec(side), wide = world_ipsec(!side);
        narrow.mss = 1111;
        wide.path_mtu = 9000;
        world_set(w, side, &narrow);
        world_set(w, !side, &wide);
        world_up(w, GCM256, 4, false, 4);
        check_clamp(w, IPSEC_TUNNEL, 4, 1460, 1111);
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

static void clamp_leaves_alone(void **state)
{
    struct world *w = *state;
    static const char *const options[] = {"",       "02040218",           "0300 0204ffff 0000",
                                          "020405", "0205ffff 00 000000", "00 0204ffff 000000"};
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        struct span syn = tcp_syn("10.9.0.1", "10.2.0.1", hex(options[i])), copy = exact_copy(syn);
        struct pkt *p = world_tun(w, EDGE, syn);
        assert_int_equal(p->verdict, PKT_TO_GRE);
        assert_span_equal(span_of(p->data + 4, p->len - 4), copy);
        exact_free(copy);
    }
    struct span syn = tcp_syn("10.9.0.1", "10.2.0.1", hex("0204ffff"));
    edit(syn)[6] = 0x20; /* the first fragment has the header, and is clamped */
    ip_mend(syn);
    struct pkt *p = world_tun(w, EDGE, syn);
    assert_int_equal(be16(p->data + 4 + 42), 1436);
    syn = tcp_syn("10.9.0.1", "10.2.0.1", hex("0204ffff"));
    edit(syn)[7] = 1; /* a later one only looks so */
    ip_mend(syn);
    p = world_tun(w, EDGE, syn);
    assert_int_equal(be16(p->data + 4 + 42), 0xffff);
    syn = tcp_syn("10.9.0.1", "10.2.0.1", hex("0204ffff"));
    edit(syn)[9] = IP_PROTO_UDP;
    ip_mend(syn);
    p = world_tun(w, EDGE, syn);
    assert_int_equal(be16(p->data + 4 + 42), 0xffff);
    syn = tcp_syn("10.9.0.1", "10.2.0.1", hex("0204ffff"));
    for (size_t n = 20; n < syn.n; n++) { /* cut off inside TCP, by IP's own length */
        struct span cut = ip_packet_of("10.9.0.1", "10.2.0.1", IP_PROTO_TCP, span_of(syn.p + 20, n - 20));
        p = world_tun(w, EDGE, cut);
        assert_span_equal(span_of(p->data + 4 + 20, p->len - 24), span_of(syn.p + 20, n - 20));
    }
    /* IPv6, behind an extension header */
    struct span v6 = tcp_syn("2001:db8:77::1", "2001:db8:2::1", hex("0204ffff"));
    uint8_t body[8 + 24] = {IP_PROTO_TCP, 0, 1, 4};
    memcpy(body + 8, v6.p + 40, 24);
    p = world_tun(w, EDGE,
                  ip_packet_of("2001:db8:77::1", "2001:db8:2::1", IP_PROTO_DSTOPTS, span_of(body, sizeof body)));
    assert_int_equal(be16(p->data + 4 + 48 + 22), 1416);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(inner_mtu_by_the_table), TEST(inner_mtu_is_the_largest_that_fits),
        TEST(inner_mtu_of_nonsense),  T(limits_in_the_status),
        T(configured_limits),         T(mss_is_clamped_both_ways),
        T(clamp_of_each_side_alone),  T(clamp_leaves_alone),
    };
    return cmocka_run_group_tests_name("dp_mtu", tests, NULL, NULL);
}
