/* The path MTU from outer ICMP (RFC 1191, RFC 8201, RFC 4301 8.2, RFC 4443): believed only when it quotes a packet of ours, only to lower,
 * never below the floor, and for ten minutes. */
#include "dp/tables.h"
#include "lib/super.h"

#define EDGE4 "198.51.100.2"
#define EDGE6 "2001:db8:5::2"
#define PEER4 "192.0.2.2"
#define PEER6 "2001:db8:9::2"

static uint16_t mtu_of(struct world *w, uint32_t tunnel)
{
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], tunnel, &info));
    return info.mtu;
}

static uint16_t path_mtu_of(struct world *w, uint32_t tunnel)
{
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], tunnel, &info));
    return info.path_mtu;
}

/* "Too big" from a router on the way, as the edge receives it, quoting a packet src -> dst of which `rest` stands behind the IP header. */
static struct span icmp_of(const char *src, const char *dst, uint8_t proto, struct span rest, uint32_t mtu)
{
    static uint8_t p[600];
    struct span quoted = ip_packet_of(src, dst, proto, rest);
    bool v6 = quoted.p[0] >> 4 == 6;
    memset(p, 0, 8);
    p[0] = v6 ? 2 : 3;
    p[1] = v6 ? 0 : 4;
    store_be32(p + 4, mtu);
    memcpy(p + 8, quoted.p, quoted.n);
    if (v6)
        store_be16(p + 8 + 4, 1400); /* the whole packet's lengths, though it is cut off */
    else {
        store_be16(p + 8 + 2, 1500);
        ip4_finish(p + 8);
        store_be16(p + 2, inet_checksum(p, 8 + quoted.n));
    }
    return span_of(p, 8 + quoted.n);
}

static bool give(struct world *w, uint8_t family, struct span icmp)
{
    struct pkt_outer o = {.src = ip(family == 6 ? "2001:db8:aaaa::1" : "203.0.113.254"),
                          .dst = ip(family == 6 ? EDGE6 : EDGE4),
                          .ttl = 50};
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_ICMP, icmp);
    assert_int_equal(w->n_out, 1);
    assert_int_equal(p->verdict, PKT_DROP); /* it never reaches an account */
    assert_true(p->reason == DP_REASON_ICMP_DONE || p->reason == DP_REASON_ICMP_UNMATCHED);
    return p->reason == DP_REASON_ICMP_DONE;
}

static bool give_gre(struct world *w, const char *gre_hex, uint32_t mtu)
{
    return give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_GRE, hex(gre_hex), mtu));
}

#define GRE_PLAIN "00000800 45000578"

static void send_one(struct world *w, uint32_t tunnel)
{
    world_tun(w, EDGE, ip_packet("10.9.0.1", tunnel == GRE_TUNNEL ? "10.2.0.1" : "10.1.0.1", IP_PROTO_UDP, 8));
}

/* Of a GRE tunnel inside ESP no such packet was ever seen outside. */
static void gre_inside_esp_is_never_quoted(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.protect = IPSEC_TUNNEL;
    world_set(w, EDGE, &t);
    assert_false(give_gre(w, GRE_PLAIN, 1300));
}

/* Its path is its carrier's, and ends its time with the first packet of either. */
static void gre_inside_esp_forgets_too(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.protect = IPSEC_TUNNEL;
    world_set(w, EDGE, &t);
    world_up(w, GCM256, 4, false, 4);
    assert_true(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, hex("22222222 00000001"), 1400)));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1346 - 24);
    w->now += 600 * NS_PER_S;
    send_one(w, GRE_TUNNEL);
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1446);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1446 - 24);
}

static void esp_of_a_tunnel_not_yet_published(void **state)
{
    struct world *w = *state;
    world_up_early(w);
    struct span quoted = hex("22222222 00000001");
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, quoted, 1400)));
    OK(dp_publish(w->dp[EDGE]));
    assert_true(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, quoted, 1400)));
}

/* ---- GRE -------------------------------------------------------------------------------------------------------- */

static void gre_path_is_lowered(void **state)
{
    struct world *w = *state;
    assert_true(give_gre(w, GRE_PLAIN, 1400));
    assert_int_equal(path_mtu_of(w, GRE_TUNNEL), 1400);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1376);
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1446); /* that one alone */
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_int_equal(info.mss4, 1336);
    assert_int_equal(info.mss6, 1316);
    struct span big = ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 1377 - 20); /* and it holds for packets */
    edit(big)[6] = 0x40;
    ip_mend(big);
    world_tun(w, EDGE, big);
    assert_int_equal(w->n_out, 2);
    assert_int_equal(be32(w->out[0]->data + 24), 1376);
    struct pkt *p = world_tun(w, EDGE, tcp_syn("10.9.0.1", "10.2.0.1", hex("020405b4")));
    assert_int_equal(be16(p->data + 4 + 42), 1336);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_ICMP_DONE), 1);
    assert_true(give_gre(w, GRE_PLAIN "00000000 0102030405060708", 1300)); /* RFC 1812: quotes may be longer */
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1276);
}

static void never_raised(void **state)
{
    struct world *w = *state;
    static const uint32_t higher[] = {1500, 1501, 9000, 65535};
    for (size_t i = 0; i < ARRAY_LEN(higher); i++) {
        give_gre(w, GRE_PLAIN, higher[i]);
        assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);
    }
    give_gre(w, GRE_PLAIN, 1300);
    give_gre(w, GRE_PLAIN, 1301);
    give_gre(w, GRE_PLAIN, 1499);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1276);
    struct tunnel_policy t = world_gre(EDGE);
    t.path_mtu = 1280; /* configured below what was learned */
    world_set(w, EDGE, &t);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1256);
    give_gre(w, GRE_PLAIN, 1290);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1256);
}

static void never_below_the_floor(void **state)
{
    struct world *w = *state;
    assert_true(give_gre(w, GRE_PLAIN, 68)); /* a forger's favourite */
    assert_int_equal(path_mtu_of(w, GRE_TUNNEL), 576);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 552);
    give_gre(w, GRE_PLAIN, 1);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 552);
    w->now += 700 * NS_PER_S;
    world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);
    assert_false(give_gre(w, GRE_PLAIN, 0)); /* RFC 1191 5: from an old router, no number at all */
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);
}

static void unmatched(void **state)
{
    struct world *w = *state;
    struct span gre = hex(GRE_PLAIN);
    assert_false(give(w, 4, icmp_of(EDGE4, "192.0.2.3", IP_PROTO_GRE, gre, 1300)));
    assert_false(give(w, 4, icmp_of("198.51.100.3", PEER4, IP_PROTO_GRE, gre, 1300)));
    assert_false(give(w, 4, icmp_of(PEER4, EDGE4, IP_PROTO_GRE, gre, 1300)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_TCP, gre, 1300)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_IPV4, gre, 1300)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_UDP, gre, 1300)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, gre, 1300)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_GRE, span_of(gre.p, 7), 1300)));
    assert_false(give(w, 4, icmp_of(EDGE6, PEER6, IP_PROTO_GRE, gre, 1300)));
    assert_false(give(w, 6, icmp_of(EDGE4, PEER4, IP_PROTO_GRE, gre, 1300)));
    assert_false(give_gre(w, "20000800 00000007", 1300)); /* we send no key */
    struct span good = icmp_of(EDGE4, PEER4, IP_PROTO_GRE, gre, 1300);
    for (size_t n = 0; n < good.n; n++)
        assert_false(give(w, 4, span_of(good.p, n)));
    for (size_t i = 0; i < good.n; i++) { /* a wrong checksum */
        edit(good)[i] ^= 1;
        assert_false(give(w, 4, good));
        edit(good)[i] ^= 1;
    }
    edit(good)[1] = 3; /* port unreachable, and any other code */
    store_be16(edit(good) + 2, (uint16_t)(be16(good.p + 2) + 1));
    assert_false(give(w, 4, good));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1446);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_ICMP_DONE), 0);
    struct pkt_outer o = {0}; /* no family: io did not say to whom it came */
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_ICMP, good);
    assert_dropped(w, EDGE, p, DP_REASON_ICMP_UNMATCHED);
}

static void gre_keys_are_told_apart(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 2; i++) {
        struct tunnel_policy t = world_gre(EDGE);
        t.tunnel = i ? 5 : GRE_TUNNEL;
        t.has_key = true;
        t.key = 7 + i;
        OK(dp_tunnel_set(w->dp[EDGE], &t));
    }
    OK(dp_publish(w->dp[EDGE]));
    assert_false(give_gre(w, "20000800 00000009", 1300));
    assert_false(give_gre(w, "00000800 00000007", 1300));
    assert_true(give_gre(w, "20000800 00000008", 1300));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1472);
    assert_int_equal(mtu_of(w, 5), 1272);
    /* flags that we never send, so that the key is out of sight: no way around it */
    static const char *const forged[] = {
        "a0000800 12340000", "a0000800 12340000 00000008", "20010800 00000008",          "60000800 00000008",
        "30000800 00000008", "20000000 00000008",          "00000800 00000008 00000008", "10000800 00000008"};
    for (size_t i = 0; i < ARRAY_LEN(forged); i++)
        assert_false(give_gre(w, forged[i], 1200));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1472);
    assert_int_equal(mtu_of(w, 5), 1272);
}

/* With a checksum in front the key is not among the eight octets that RFC 792 quotes: it may be either. */
static void gre_keys_out_of_sight(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 2; i++) {
        struct tunnel_policy t = world_gre(EDGE);
        t.tunnel = i ? 5 : GRE_TUNNEL;
        t.has_key = t.checksum = true;
        t.key = 7 + i;
        OK(dp_tunnel_set(w->dp[EDGE], &t));
    }
    OK(dp_publish(w->dp[EDGE]));
    assert_false(give_gre(w, "20000800 00000008", 1200));
    assert_false(give_gre(w, "a0000800 12340000 00000009", 1200));
    assert_true(give_gre(w, "a0000800 12340000 00000008", 1300));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1468);
    assert_int_equal(mtu_of(w, 5), 1268);
    assert_true(give_gre(w, "a00086dd 12340000", 1200));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1168);
    assert_int_equal(mtu_of(w, 5), 1168);
}

static void gre_over_ipv6(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.endpoint = ip(EDGE6);
    t.customer_endpoint = ip(PEER6);
    world_set(w, EDGE, &t);
    struct span gre = hex(GRE_PLAIN);
    assert_false(give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_GRE, gre, 1279))); /* RFC 8201 4: MUST be discarded */
    assert_false(give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_GRE, gre, 576)));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1456);
    assert_true(give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_GRE, gre, 1400)));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1356);
    assert_true(give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_GRE, gre, 1280)));
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1236);
    give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_GRE, gre, 0x10000 + 1270)); /* 32 bits */
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1236);
    assert_false(give(w, 6, icmp_of(EDGE6, "2001:db8:9::3", IP_PROTO_GRE, gre, 1300)));
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

static void forgotten_after_ten_minutes(void **state)
{
    struct world *w = *state;
    give_gre(w, GRE_PLAIN, 1400);
    w->now += 599 * NS_PER_S;
    send_one(w, GRE_TUNNEL);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1376);
    w->now += NS_PER_S;
    send_one(w, GRE_TUNNEL);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);                      /* RFC 1191 6.3: try again */
    assert_true(w->dp[EDGE]->live[GRE_TUNNEL].path_mtu_until == NEVER); /* once: not for every packet to come */
    struct span big = ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 1476 - 20);
    edit(big)[6] = 0x40;
    ip_mend(big);
    assert_int_equal(world_tun(w, EDGE, big)->verdict, PKT_TO_GRE);
    give_gre(w, GRE_PLAIN, 1400); /* told again in between: ten minutes from then */
    w->now += 400 * NS_PER_S;
    give_gre(w, GRE_PLAIN, 1400);
    w->now += 400 * NS_PER_S;
    send_one(w, GRE_TUNNEL);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1376);
    give_gre(w, GRE_PLAIN, 1450); /* a higher one does not keep it alive */
    w->now += 200 * NS_PER_S;
    send_one(w, GRE_TUNNEL);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);
}

/* A super-packet is the first to go once the time is over: by then its segments fit again. */
static void forgotten_by_a_super_packet(void **state)
{
    struct world *w = *state;
    struct super_spec s = {4, IP_PROTO_TCP, ACK, 0, 0, 64, true, 7, 1000, 1, 1300, 5};
    give_gre(w, GRE_PLAIN, 576);
    for (int i = 0; i < 2; i++) {
        struct pkt *p = super_make(w, &s, false);
        world_done(w);
        p = world_run_tun(w, EDGE, &p, 1);
        assert_int_equal(w->n_out, 2);
        if (i == 0) {
            assert_dropped(w, EDGE, w->out[1], DP_REASON_TOO_BIG);
            w->now += 600 * NS_PER_S;
            continue;
        }
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(w->out[k]->verdict, PKT_TO_GRE);
            super_check_segment(&s, k, span_of(w->out[k]->data + 4, w->out[k]->len - 4));
        }
    }
}

static void another_path_starts_anew(void **state)
{
    struct world *w = *state;
    give_gre(w, GRE_PLAIN, 1400);
    struct tunnel_policy t = world_gre(EDGE);
    t.ttl = 9;
    world_set(w, EDGE, &t); /* the same path */
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1376);
    t.customer_endpoint = ip("192.0.2.9");
    world_set(w, EDGE, &t);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);
}

/* ---- ESP --------------------------------------------------------------------------------------------------------------- */

static void esp_by_spi(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, hex("22222223 00000001"), 1400)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, hex("11111111 00000001"), 1400))); /* the other way's */
    assert_false(give(w, 4, icmp_of(EDGE4, "192.0.2.3", IP_PROTO_ESP, hex("22222222 00000001"), 1400)));
    assert_false(give(w, 4, icmp_of("198.51.100.3", PEER4, IP_PROTO_ESP, hex("22222222 00000001"), 1400)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_UDP, hex("11941194 00680000 22222222 00000001"), 1400)));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1446);
    assert_true(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, hex("22222222 00000001"), 1400)));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1346);
    assert_int_equal(mtu_of(w, GRE_TUNNEL), 1476);
    struct dp_sa_info sa;
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &sa));
    assert_int_equal(sa.mtu, 1346);
    assert_int_equal(sa.mss4, 1306);
    w->now += 600 * NS_PER_S;
    send_one(w, IPSEC_TUNNEL);
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &sa));
    assert_int_equal(sa.mtu, 1446);
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, hex("22222222 00000001"), 1400)));
}

static void esp_peer_that_moved(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, true, 4);
    assert_true(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_UDP, hex("1194ef32 00680000 22222222"), 1400)));
    struct path path = {{ip(EDGE4), 4500}, {ip("192.0.2.77"), 4500}};
    OK(dp_child_moved(w->dp[EDGE], SPI_EDGE, &path, true));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1438); /* another path */
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_UDP, hex("1194ef32 00680000 22222222"), 1400)));
    assert_true(give(w, 4, icmp_of(EDGE4, "192.0.2.77", IP_PROTO_UDP, hex("11941194 00680000 22222222"), 1400)));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1338);
    OK(dp_child_moved(w->dp[EDGE], SPI_EDGE, &path, false)); /* the NAT is gone */
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1446);
}

/* What one SA learned is the path's: a rekeyed SA of the same tunnel starts with it. */
static void esp_rekeyed(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    assert_true(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, hex("22222222 00000001"), 1400)));
    struct child_sa c = world_child(EDGE, CBC256);
    c.spi_in = 0x33333333;
    c.spi_out = 0x44444444;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    struct dp_sa_info sa;
    assert_true(dp_sa_info(w->dp[EDGE], 0x33333333, &sa));
    assert_int_equal(sa.mtu, 1326); /* 1400 - 20 - 8 - 16 - 16 = 1340, down to 83 blocks, minus 2 */
    dp_child_down(w->dp[EDGE], 0x33333333);
}

static void esp_in_udp_by_ports(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, true, 4); /* the peer is at port 61234 = ef32, behind a NAT; ours is 4500 = 1194 */
    uint16_t whole = mtu_of(w, IPSEC_TUNNEL);
    static const char *const wrong[] = {
        "11941194 00680000 22222222 00000001", /* another port of the peer's address */
        "1195ef32 00680000 22222222 00000001",
        "ef321194 00680000 22222222 00000001",
        "1194ef32 00680000 22222223 00000001",
        "1194ef32 00680000 00000000 00000001", /* IKE: the marker is no SPI */
        "1194ef32 00680000",                   /* no SPI in sight */
        "1194ef32 00680000 222222",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_UDP, hex(wrong[i]), 1400)));
    assert_false(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_ESP, hex("22222222 00000001"), 1400)));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), whole);
    assert_true(give(w, 4, icmp_of(EDGE4, PEER4, IP_PROTO_UDP, hex("1194ef32 00680000 22222222"), 1400)));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1338);
}

static void esp_over_ipv6(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 6, false, 4);
    assert_false(give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_ESP, hex("22222222 00000001"), 1000)));
    assert_true(give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_ESP, hex("22222222 00000001"), 1300)));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1226);
    assert_true(give(w, 6, icmp_of(EDGE6, PEER6, IP_PROTO_ESP, hex("22222222 00000001"), 1280)));
    assert_int_equal(mtu_of(w, IPSEC_TUNNEL), 1206);
}

/* Whatever octets come as ICMP: no read outside, no verdict but a drop. */
static void hostile_octets(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, true, 4);
    uint64_t d = 77;
    for (int i = 0; i < 30000; i++) {
        struct span s = icmp_of(EDGE4, PEER4, dice(&d) % 2 ? IP_PROTO_GRE : IP_PROTO_UDP,
                                hex("1194ef32 00680000 22222222 00000001"), (uint32_t)dice(&d));
        uint8_t *p = edit(s);
        size_t n = dice(&d) % (s.n + 1);
        for (uint64_t k = dice(&d) % 4; k > 0 && n; k--)
            p[dice(&d) % n] = (uint8_t)dice(&d);
        if (n >= 4) {
            store_be16(p + 2, 0);
            store_be16(p + 2, inet_checksum(p, n));
        }
        give(w, i % 2 ? 4 : 6, span_of(p, n));
        assert_true(path_mtu_of(w, GRE_TUNNEL) >= 576 && path_mtu_of(w, GRE_TUNNEL) <= 1500);
        assert_true(path_mtu_of(w, IPSEC_TUNNEL) >= 576 && path_mtu_of(w, IPSEC_TUNNEL) <= 1500);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(gre_inside_esp_is_never_quoted),
        T(gre_inside_esp_forgets_too),
        T(esp_of_a_tunnel_not_yet_published),
        T(gre_path_is_lowered),
        T(never_raised),
        T(never_below_the_floor),
        T(unmatched),
        T(gre_keys_are_told_apart),
        T(gre_keys_out_of_sight),
        T(gre_over_ipv6),
        T(forgotten_after_ten_minutes),
        T(forgotten_by_a_super_packet),
        T(another_path_starts_anew),
        T(esp_by_spi),
        T(esp_peer_that_moved),
        T(esp_rekeyed),
        T(esp_in_udp_by_ports),
        T(esp_over_ipv6),
        T(hostile_octets),
    };
    return cmocka_run_group_tests_name("dp_pmtu", tests, NULL, NULL);
}
