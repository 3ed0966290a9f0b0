/* What may be inside a tunnel, both ways: sources, destinations, nesting and lengths (rows 39 and 41 of the adversarial list), and the
 * keepalives of routers that send their own answer. */
#include "lib/inet.h"
#include "lib/world.h"

enum { C = 0x8000, K = 0x2000, S = 0x1000, IPV4 = 0x0800, IPV6 = 0x86dd };

/* Decapsulate one inner packet of the customer's by GRE or, when an SA is up, by ESP. */
static struct pkt *give(struct world *w, struct span inner)
{
    struct pkt_outer o = world_outer(EDGE, 4);
    return world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(0, inner.p[0] >> 4 == 6 ? IPV6 : IPV4, 0, 0, inner));
}

static struct pkt *give_from_to(struct world *w, const char *src, const char *dst)
{
    return give(w, ip_packet(src, dst, IP_PROTO_UDP, 8));
}

static void expect(struct world *w, const char *src, const char *dst, enum dp_reason why)
{
    struct pkt *p = give_from_to(w, src, dst);
    if (why == DP_REASON_NONE) {
        assert_string_equal(dp_reason_name(p->reason), "none");
        assert_int_equal(p->verdict, PKT_TO_TUN);
    } else
        assert_dropped(w, EDGE, p, why);
}

/* ---- sources ---------------------------------------------------------------------------------------- */

static void adv_41_inner_source_outside_the_account(void **state)
{
    struct world *w = *state;
    struct prefix sources[] = {net("10.2.0.0/16"), net("2001:db8:2::/48"), net("10.7.7.7/32"), net("10.64.0.0/10"),
                               net("2001:db8:99::1/128")};
    struct tunnel_policy t = world_gre(EDGE);
    t.check_sources = true;
    t.sources = sources;
    t.n_sources = 2;
    t.allow_sources = sources + 2;
    t.n_allow_sources = ARRAY_LEN(sources) - 2;
    t.interface6 = net("2001:db8:ff::2/127");
    world_set(w, EDGE, &t);
    memset(sources, 0xee, sizeof sources); /* dp has its own copy */

    static const char *const good[] = {"10.2.0.0",       "10.2.255.255", "10.7.7.7",   "10.64.0.0",
                                       "10.127.255.255", "169.254.1.0",  "169.254.1.1"};
    static const char *const bad[] = {"10.1.255.255",  "10.3.0.0",   "10.7.7.6",    "10.7.7.8",
                                      "10.63.255.255", "10.128.0.0", "169.254.1.2", "169.254.0.255",
                                      "8.8.8.8",       "10.9.0.1",   "192.0.2.2"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        expect(w, good[i], "10.9.0.1", DP_REASON_NONE);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(w, bad[i], "10.9.0.1", DP_REASON_INNER_SOURCE);
    static const char *const good6[] = {"2001:db8:2::", "2001:db8:2:ffff:ffff:ffff:ffff:ffff", "2001:db8:99::1",
                                        "2001:db8:ff::2", "2001:db8:ff::3"};
    static const char *const bad6[] = {"2001:db8:1:ffff:ffff:ffff:ffff:ffff",
                                       "2001:db8:3::",
                                       "2001:db8:99::2",
                                       "2001:db8:ff::1",
                                       "2001:db8:ff::4",
                                       "::a02:1",
                                       "::ffff:10.2.0.1",
                                       "fe80::1"};
    for (size_t i = 0; i < ARRAY_LEN(good6); i++)
        expect(w, good6[i], "2001:db8:77::1", DP_REASON_NONE);
    for (size_t i = 0; i < ARRAY_LEN(bad6); i++)
        expect(w, bad6[i], "2001:db8:77::1", DP_REASON_INNER_SOURCE);

    t.n_sources = t.n_allow_sources = 0; /* empty lists allow the interface subnets alone */
    world_set(w, EDGE, &t);
    expect(w, "10.2.0.1", "10.9.0.1", DP_REASON_INNER_SOURCE);
    expect(w, "169.254.1.1", "10.9.0.1", DP_REASON_NONE);
    struct prefix all[] = {net("0.0.0.0/0"), net("::/0")};
    t.sources = all;
    t.n_sources = 2;
    world_set(w, EDGE, &t);
    expect(w, "8.8.8.8", "10.9.0.1", DP_REASON_NONE);
    expect(w, "2001:db8:3::", "2001:db8:77::1", DP_REASON_NONE);
    expect(w, "127.0.0.1", "10.9.0.1", DP_REASON_INNER_SOURCE);
}

/* Not a source of anything on the wire, whatever the list says (RFC 1122 3.2.1.3, RFC 4291 2.5.2, 2.5.3, 2.7). */
static void adv_41_inner_source_martian(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"0.0.0.0",   "0.1.2.3",   "127.0.0.1",       "127.255.255.255",
                                      "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(w, bad[i], "10.9.0.1", DP_REASON_INNER_SOURCE);
    static const char *const bad6[] = {"::", "::1", "ff02::1", "ff0e::1"};
    for (size_t i = 0; i < ARRAY_LEN(bad6); i++)
        expect(w, bad6[i], "2001:db8:77::1", DP_REASON_INNER_SOURCE);
    expect(w, "8.8.8.8", "10.9.0.1", DP_REASON_NONE); /* sources are not checked here */
}

/* An interface without a subnet holds no source, not every one. */
static void adv_41_no_interface_subnet(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.check_sources = true;
    t.interface4 = t.interface6 = (struct prefix){0};
    world_set(w, EDGE, &t);
    expect(w, "8.8.8.8", "10.9.0.1", DP_REASON_INNER_SOURCE);
    expect(w, "2001:db8:66::1", "2001:db8:77::1", DP_REASON_INNER_SOURCE);
}

static void adv_41_sources_of_two_accounts(void **state)
{
    struct world *w = *state;
    struct prefix a[] = {net("10.2.0.0/16")}, b[] = {net("10.3.0.0/16")};
    struct tunnel_policy t = world_gre(EDGE), u = world_gre(EDGE);
    t.check_sources = u.check_sources = t.has_key = u.has_key = true;
    t.sources = a;
    u.sources = b;
    t.n_sources = u.n_sources = 1;
    t.key = 1;
    u.key = 2;
    u.tunnel = 9;
    u.account = 8;
    OK(dp_tunnel_set(w->dp[EDGE], &t));
    world_set(w, EDGE, &u);
    struct pkt_outer o = world_outer(EDGE, 4);
    for (uint32_t key = 1; key <= 2; key++)
        for (int net = 2; net <= 3; net++) {
            struct span in = ip_packet(net == 2 ? "10.2.0.1" : "10.3.0.1", "10.9.0.1", IP_PROTO_UDP, 8);
            struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(K, IPV4, key, 0, in));
            if ((key == 1) == (net == 2))
                assert_int_equal(p->account, key == 1 ? 7 : 8);
            else
                assert_dropped(w, EDGE, p, DP_REASON_INNER_SOURCE);
        }
}

/* ---- destinations ------------------------------------------------------------------------------------- */

static void adv_41_inner_destination(void **state)
{
    struct world *w = *state;
    struct addr ends[] = {ip("198.51.100.2"), ip("2001:db8:5::2"), ip("198.51.100.77"), ip("2001:db8:5::77")};
    OK(dp_endpoints_set(w->dp[EDGE], ends, ARRAY_LEN(ends)));
    struct tunnel_policy t = world_gre(EDGE);
    t.interface6 = net("fe80::2/127");
    world_set(w, EDGE, &t);
    static const char *const bad[] = {"198.51.100.2",   "198.51.100.77",   "127.0.0.1",   "127.255.0.1",
                                      "0.0.0.0",        "0.0.0.7",         "224.0.0.5",   "239.255.255.250",
                                      "240.0.0.1",      "255.255.255.255", "169.254.0.1", "169.254.1.2",
                                      "169.254.255.255"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(w, "10.2.0.1", bad[i], DP_REASON_INNER_DESTINATION);
    static const char *const bad6[] = {"2001:db8:5::2", "2001:db8:5::77", "::",      "::1",    "fe80::1",
                                       "fe80::4",       "febf::2",        "ff02::1", "ff0e::1"};
    for (size_t i = 0; i < ARRAY_LEN(bad6); i++)
        expect(w, "2001:db8:2::1", bad6[i], DP_REASON_INNER_DESTINATION);
    /* the tunnel's own subnet is link-local more often than not */
    expect(w, "10.2.0.1", "169.254.1.0", DP_REASON_NONE);
    expect(w, "10.2.0.1", "169.254.1.1", DP_REASON_NONE);
    expect(w, "2001:db8:2::1", "fe80::2", DP_REASON_NONE);
    expect(w, "2001:db8:2::1", "fe80::3", DP_REASON_NONE);
    static const char *const good[] = {"10.9.0.1",        "1.0.0.0",       "126.255.255.255", "128.0.0.0",
                                       "169.253.255.255", "169.255.0.0",   "223.255.255.255", "198.51.100.3",
                                       "192.0.2.2",       "198.51.100.66", "10.9.0.2",        "198.51.100.13"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        expect(w, "10.2.0.1", good[i], DP_REASON_NONE);
    static const char *const good6[] = {"2001:db8:5::3", "::2", "fec0::1", "fe7f::1", "fd00::1", "2001:db8:5::42"};
    for (size_t i = 0; i < ARRAY_LEN(good6); i++)
        expect(w, "2001:db8:2::1", good6[i], DP_REASON_NONE);
}

/* An endpoint that a tunnel alone names is ours as well, and stays ours only as long. */
static void adv_41_inner_destination_of_a_tunnel(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.tunnel = 9;
    t.endpoint = ip("203.0.113.5");
    world_set(w, EDGE, &t);
    expect(w, "10.2.0.1", "203.0.113.5", DP_REASON_INNER_DESTINATION);
    dp_tunnel_remove(w->dp[EDGE], 9);
    expect(w, "10.2.0.1", "203.0.113.5", DP_REASON_INNER_DESTINATION); /* until it is published */
    OK(dp_publish(w->dp[EDGE]));
    expect(w, "10.2.0.1", "203.0.113.5", DP_REASON_NONE);
}

/* The same rules hold for what comes out of ESP. */
static void adv_39_inner_rules_of_esp(void **state)
{
    struct world *w = *state;
    struct prefix sources[] = {net("10.1.0.0/16")};
    struct tunnel_policy t = world_ipsec(EDGE);
    t.check_sources = true;
    t.sources = sources;
    t.n_sources = 1;
    world_set(w, EDGE, &t);
    world_up(w, GCM256, 4, false, 4);
    static const struct {
        const char *src, *dst;
        enum dp_reason why;
    } row[] = {{"10.1.0.1", "10.9.0.1", DP_REASON_NONE},
               {"10.2.0.1", "10.9.0.1", DP_REASON_INNER_SOURCE},
               {"127.0.0.1", "10.9.0.1", DP_REASON_INNER_SOURCE},
               {"10.255.0.1", "10.9.0.1", DP_REASON_NONE}, /* the interface subnet */
               {"10.1.0.1", "10.255.0.0", DP_REASON_NONE}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        world_tun(w, PEER, ip_packet(row[i].src, row[i].dst, IP_PROTO_UDP, 8));
        struct pkt *p = world_carry(w, EDGE);
        assert_string_equal(dp_reason_name(p->reason), dp_reason_name(row[i].why));
        assert_int_equal(p->verdict, row[i].why == DP_REASON_NONE ? PKT_TO_TUN : PKT_DROP);
    }
    world_route(w, PEER, "127.0.0.0/8", IPSEC_TUNNEL, 1, 1);
    world_tun(w, PEER, ip_packet("10.1.0.1", "127.0.0.1", IP_PROTO_UDP, 8));
    struct pkt *p = world_carry(w, EDGE);
    assert_dropped(w, EDGE, p, DP_REASON_INNER_DESTINATION);
    /* GRE of the customer's own, through ESP: it is data, and nobody here opens it */
    world_tun(w, PEER, ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_GRE, 60));
    p = world_carry(w, EDGE);
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->len, 80);
}

/* ---- nesting and loops ------------------------------------------------------------------------------------ */

static void adv_41_gre_in_gre(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 8);
    struct span gre = gre_packet(0, IPV4, 0, 0, in);
    struct pkt *p = give(w, ip_packet_of("10.2.0.1", "10.9.0.1", IP_PROTO_GRE, gre));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    p = give(w, ip_packet_of("192.0.2.2", "198.51.100.2", IP_PROTO_GRE, gre)); /* once more the same tunnel */
    assert_int_equal(p->verdict, PKT_DROP);
    p = give(w, ip_packet_of("2001:db8:2::1", "2001:db8:77::1", IP_PROTO_GRE, gre));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    struct span hidden =
        ip_packet_of("2001:db8:2::1", "2001:db8:77::1", IP_PROTO_DSTOPTS, hex("2f00010400000000 00000800"));
    p = give(w, hidden); /* behind destination options */
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    p = give(w, ip_packet_of("10.2.0.1", "10.9.0.1", IP_PROTO_IPV4, in)); /* anything else is data */
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->len, 20 + in.n);
}

/* From the TUN: an outer packet that the namespace routed back in, to be put into itself for ever. */
static void adv_41_outer_packet_into_a_tunnel(void **state)
{
    struct world *w = *state;
    world_route(w, EDGE, "0.0.0.0/0", GRE_TUNNEL, 1000, 1);
    world_route(w, EDGE, "::/0", GRE_TUNNEL, 1000, 1);
    world_route(w, EDGE, "192.0.2.0/24", IPSEC_TUNNEL, 1000, 1);
    world_route(w, EDGE, "203.0.113.0/24", IPSEC_TUNNEL, 1000, 1);
    struct child_sa c = world_child(EDGE, GCM256);
    c.path.remote.addr = ip("203.0.113.4");
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
    struct pkt *p =
        world_tun(w, EDGE, ip_packet("10.9.0.1", "198.51.100.2", IP_PROTO_GRE, 8)); /* to an endpoint of ours */
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    p = world_tun(w, EDGE, ip_packet("2001:db8:77::1", "2001:db8:5::2", IP_PROTO_UDP, 8));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "203.0.113.4", IP_PROTO_UDP, 8)); /* to the SA's own far end */
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "203.0.113.5", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_ESP);
    world_route(w, EDGE, "192.0.2.0/24", GRE_TUNNEL, 1, 1);
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "192.0.2.2", IP_PROTO_UDP, 8)); /* to the GRE tunnel's far end */
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "192.0.2.3", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_GRE);
}

/* ---- lengths ------------------------------------------------------------------------------------------------ */

static void adv_41_inner_lengths_lie(void **state)
{
    struct world *w = *state;
    struct span in = ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 20);
    for (size_t n = 1; n < 40; n++) {
        struct pkt *p = give(w, span_of(in.p, n));
        assert_dropped(w, EDGE, p, DP_REASON_INNER_LENGTH);
    }
    struct pkt_outer o = world_outer(EDGE, 4);
    for (unsigned c = 0; c < 2; c++) { /* no inner packet at all */
        struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(c ? C : 0, c ? IPV6 : IPV4, 0, 0, hex("")));
        assert_dropped(w, EDGE, p, DP_REASON_INNER_LENGTH);
    }
    for (unsigned ihl = 0; ihl < 16; ihl++) {
        edit(in)[0] = (uint8_t)(0x40 | ihl);
        struct pkt *p = give(w, in);
        assert_int_equal(p->verdict, ihl >= 5 && ihl <= 10 ? PKT_TO_TUN : PKT_DROP);
    }
    edit(in)[0] = 0x45;
    for (unsigned version = 0; version < 16; version++)
        if (version != 4) {
            edit(in)[0] = (uint8_t)(version << 4 | 5);
            struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(0, IPV4, 0, 0, in));
            assert_dropped(w, EDGE, p, DP_REASON_INNER_VERSION);
            p = world_tun(w, EDGE, in);
            if (version != 6)
                assert_dropped(w, EDGE, p, DP_REASON_INNER_VERSION);
        }
    in = ip_packet("2001:db8:2::1", "2001:db8:77::1", IP_PROTO_UDP, 20);
    for (size_t n = 1; n < 60; n++) {
        struct pkt *p = give(w, span_of(in.p, n));
        assert_dropped(w, EDGE, p, DP_REASON_INNER_LENGTH);
    }
    in = ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 20);
    for (size_t n = 0; n < 40; n++) { /* and from the TUN */
        struct pkt *p = world_tun(w, EDGE, span_of(in.p, n));
        assert_dropped(w, EDGE, p, DP_REASON_INNER_LENGTH);
    }
}

static void padding_is_cut(void **state)
{
    struct world *w = *state;
    uint8_t padded[100] = {0};
    struct span in = ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 6);
    memcpy(padded, in.p, in.n);
    struct pkt *p = give(w, span_of(padded, 46)); /* Ethernet's minimum */
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_span_equal(span_of(p->data, p->len), in);
    in = ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 6);
    memcpy(padded, in.p, in.n);
    p = world_tun(w, EDGE, span_of(padded, 46));
    assert_int_equal(p->len, 4 + in.n);
}

/* ---- keepalives --------------------------------------------------------------------------------------------- */

static void answer_keepalives(struct world *w, bool on)
{
    struct tunnel_policy t = world_gre(EDGE);
    t.keepalive = on;
    t.ttl = 77;
    world_set(w, EDGE, &t);
}

static struct pkt *keepalive(struct world *w, uint16_t flags)
{
    struct span back = gre_packet(flags, 0, 0x55, 9, hex(""));
    return give(w, ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, back));
}

static void keepalive_is_sent_back(void **state)
{
    struct world *w = *state;
    answer_keepalives(w, true);
    static const uint16_t flags[] = {0, K, C, K | S};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        struct pkt *p = keepalive(w, flags[i]);
        assert_int_equal(p->verdict, PKT_TO_GRE);
        assert_int_equal(w->n_out, 1);
        assert_span_equal(span_of(p->data, p->len), gre_packet(flags[i], 0, 0x55, 9, hex(""))); /* as it is */
        struct addr src = ip("198.51.100.2"), dst = ip("192.0.2.2");
        assert_true(addr_equal(&p->outer.src, &src) && addr_equal(&p->outer.dst, &dst));
        assert_int_equal(p->outer.ttl, 77);
    }
    struct span back = gre_packet(0, 0, 0, 0, hex("cafe"));
    struct pkt *p = give(w, ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, back));
    assert_span_equal(span_of(p->data, p->len), back);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_int_equal(info.counters.packets_in, 0); /* no traffic of the account's */
}

/* Ethernet's padding behind it does not go back. */
static void keepalive_without_its_padding(void **state)
{
    struct world *w = *state;
    uint8_t padded[46] = {0};
    answer_keepalives(w, true);
    struct span back = gre_packet(0, 0, 0, 0, hex(""));
    struct span in = ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, back);
    memcpy(padded, in.p, in.n);
    struct pkt *p = give(w, span_of(padded, sizeof padded));
    assert_int_equal(p->verdict, PKT_TO_GRE);
    assert_int_equal(p->len, 4);
}

static void keepalive_rate(void **state)
{
    struct world *w = *state;
    answer_keepalives(w, true);
    unsigned answered = 0;
    for (int i = 0; i < 100; i++)
        answered += keepalive(w, 0)->verdict == PKT_TO_GRE;
    assert_in_range(answered, 1, 10);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_KEEPALIVE), 100 - answered);
    answered = 0;
    for (int i = 0; i < 600; i++) { /* ten a second for a minute */
        w->now += NS_PER_S / 10;
        answered += keepalive(w, 0)->verdict == PKT_TO_GRE;
    }
    assert_in_range(answered, 59, 61);
    w->now += 10 * NS_PER_S; /* the usual interval never meets the limit */
    for (int i = 0; i < 10; i++, w->now += 10 * NS_PER_S)
        assert_int_equal(keepalive(w, 0)->verdict, PKT_TO_GRE);
}

static void keepalive_refused(void **state)
{
    struct world *w = *state;
    struct pkt *p = keepalive(w, 0); /* off by default here */
    assert_dropped(w, EDGE, p, DP_REASON_KEEPALIVE);
    answer_keepalives(w, true);
    struct span back = exact_copy(gre_packet(0, 0, 0, 0, hex("")));
    static const char *const pair[][2] = {{"192.0.2.2", "198.51.100.2"}, /* the wrong way round */
                                          {"198.51.100.2", "192.0.2.3"}, /* reflection to somebody else */
                                          {"198.51.100.3", "192.0.2.2"},
                                          {"10.2.0.1", "10.9.0.1"}};
    for (size_t i = 0; i < ARRAY_LEN(pair); i++) {
        p = give(w, ip_packet_of(pair[i][0], pair[i][1], IP_PROTO_GRE, back));
        assert_int_equal(p->verdict, PKT_DROP);
    }
    /* protocols but 0 would be data, forwarded under our address; versions, reserved bits and a cut header are no GRE */
    p = give(w, ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, gre_packet(0, IPV4, 0, 0, back)));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    static const uint16_t bad[] = {1, 0x4000, 0x0800, 0x0400};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(keepalive(w, bad[i])->verdict, PKT_DROP);
    for (size_t n = 0; n < 4; n++)
        assert_int_equal(give(w, ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, span_of(back.p, n)))->verdict,
                         PKT_DROP);
    struct span in = ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, back);
    for (size_t n = 1; n < in.n; n++)
        assert_int_equal(give(w, span_of(in.p, n))->verdict, PKT_DROP);
    edit(in)[6] = 0x20; /* a fragment */
    ip_mend(in);
    assert_int_equal(give(w, in)->verdict, PKT_DROP);
    in = ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, hex("94040000 00000000")); /* with an IP option */
    edit(in)[0] = 0x46;
    ip_mend(in);
    assert_int_equal(give(w, in)->verdict, PKT_DROP);
    assert_int_equal(give(w, ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_UDP, back))->verdict, PKT_TO_TUN);
    assert_int_equal(keepalive(w, 0)->verdict, PKT_TO_GRE); /* the limit was not touched by any of them */
    exact_free(back);
}

/* Over IPv6 there is none; a packet that looks like one is nested GRE. */
static void keepalive_over_ipv6(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.endpoint = ip("2001:db8:5::2");
    t.customer_endpoint = ip("2001:db8:9::2");
    t.keepalive = true;
    world_set(w, EDGE, &t);
    struct pkt_outer o = world_outer(EDGE, 6);
    struct span back = gre_packet(0, 0, 0, 0, hex(""));
    struct span in = ip_packet_of("2001:db8:5::2", "2001:db8:9::2", IP_PROTO_GRE, back);
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(0, IPV6, 0, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
    in = ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_GRE, back);
    p = world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(0, IPV4, 0, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_LOOP);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(adv_41_inner_source_outside_the_account),
        T(adv_41_inner_source_martian),
        T(adv_41_no_interface_subnet),
        T(adv_41_sources_of_two_accounts),
        T(adv_41_inner_destination),
        T(adv_41_inner_destination_of_a_tunnel),
        T(adv_39_inner_rules_of_esp),
        T(adv_41_gre_in_gre),
        T(adv_41_outer_packet_into_a_tunnel),
        T(adv_41_inner_lengths_lie),
        T(padding_is_cut),
        T(keepalive_is_sent_back),
        T(keepalive_without_its_padding),
        T(keepalive_rate),
        T(keepalive_refused),
        T(keepalive_over_ipv6),
    };
    return cmocka_run_group_tests_name("dp_inner", tests, NULL, NULL);
}
