/* Traffic selectors against packets (RFC 4301 4.4.1.1 and 7, RFC 7296 3.13.1): addresses, protocol, ports, ICMP type and code, OPAQUE, and
 * fragments. */
#include "dp/selector.h"
#include "lib/inet.h"
#include "lib/world.h"

static struct ts range(const char *first, const char *last)
{
    return (struct ts){.port_last = UINT16_MAX, .first = ip(first), .last = ip(last)};
}
static struct ts any4(void)
{
    return range("0.0.0.0", "255.255.255.255");
}
static struct ts any6(void)
{
    return range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static struct ts with(struct ts t, uint8_t proto, uint16_t first, uint16_t last)
{
    t.proto = proto;
    t.port_first = first;
    t.port_last = last;
    return t;
}

static bool out_matches(struct ts local, struct ts remote, struct span packet)
{
    struct selectors s = selectors_of(&local, &remote);
    struct ip_view v = {0};
    OK(wire_ip_parse(packet.p, packet.n, &v));
    return selectors_match(&s, packet.p, &v, false);
}

static bool in_matches(struct ts local, struct ts remote, struct span packet)
{
    struct selectors s = selectors_of(&local, &remote);
    struct ip_view v = {0};
    OK(wire_ip_parse(packet.p, packet.n, &v));
    return selectors_match(&s, packet.p, &v, true);
}

static void addresses(void **state)
{
    (void)state;
    struct ts remote = range("10.1.0.5", "10.1.1.9"), local = range("10.9.0.0", "10.9.255.255");
    static const struct {
        const char *src, *dst;
        bool matches;
    } row[] = {{"10.9.0.0", "10.1.0.5", true},   {"10.9.255.255", "10.1.1.9", true},
               {"10.9.0.1", "10.1.0.255", true}, {"10.9.0.1", "10.1.0.4", false},
               {"10.9.0.1", "10.1.1.10", false}, {"10.8.255.255", "10.1.0.5", false},
               {"10.10.0.0", "10.1.0.5", false}, {"10.1.0.5", "10.9.0.1", false}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        assert_int_equal(out_matches(local, remote, ip_packet(row[i].src, row[i].dst, IP_PROTO_UDP, 8)),
                         row[i].matches);
        assert_int_equal(in_matches(local, remote, ip_packet(row[i].dst, row[i].src, IP_PROTO_UDP, 8)), row[i].matches);
    }
    struct ts remote6 = range("2001:db8:1::ff00", "2001:db8:1::1:00ff");
    assert_true(out_matches(any6(), remote6, ip_packet("::1", "2001:db8:1::ff00", IP_PROTO_UDP, 8)));
    assert_true(out_matches(any6(), remote6, ip_packet("::1", "2001:db8:1::1:ff", IP_PROTO_UDP, 8)));
    assert_false(out_matches(any6(), remote6, ip_packet("::1", "2001:db8:1::1:100", IP_PROTO_UDP, 8)));
    assert_false(out_matches(any6(), remote6, ip_packet("::1", "2001:db8:1::feff", IP_PROTO_UDP, 8)));
}

static void families(void **state)
{
    (void)state;
    struct span p4 = ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8),
                p6 = ip_packet("2001:db8:77::1", "2001:db8:1::1", IP_PROTO_UDP, 8);
    assert_true(out_matches(any4(), any4(), p4));
    assert_false(out_matches(any4(), any4(), p6));
    assert_true(out_matches(any6(), any6(), p6));
    assert_false(out_matches(any6(), any6(), p4));
    assert_false(out_matches(any4(), any6(), p4)); /* two families make no packet */
    assert_false(out_matches(any4(), any6(), p6));
    assert_false(out_matches(any6(), any4(), p4));
}

/* "All of it" is a short cut; whatever is less by one bit must not take it. */
static void nearly_everything(void **state)
{
    (void)state;
    struct ts all = any4();
    struct span p = ip_packet("0.0.0.0", "255.255.255.255", IP_PROTO_UDP, 8);
    assert_true(out_matches(all, all, p));
    assert_false(out_matches(range("0.0.0.1", "255.255.255.255"), all, p));
    assert_false(out_matches(all, range("0.0.0.0", "255.255.255.254"), p));
    assert_false(out_matches(with(all, IP_PROTO_TCP, 0, 65535), all, p));
    assert_false(out_matches(all, with(all, IP_PROTO_TCP, 0, 65535), p));
    edit(p)[20] = 0xff; /* source port 65281, destination 515 */
    assert_false(out_matches(with(all, 0, 0, 65280), all, p));
    assert_false(out_matches(all, with(all, 0, 516, 65535), p));
    struct ts half = any6();
    half.last.b[15] = 0xfe;
    p = ip_packet("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", IP_PROTO_UDP, 8);
    assert_true(out_matches(any6(), any6(), p));
    assert_false(out_matches(any6(), half, p));
}

static struct span ports(uint8_t proto, uint16_t src, uint16_t dst)
{
    const uint8_t l4[20] = {(uint8_t)(src >> 8), (uint8_t)src, (uint8_t)(dst >> 8), (uint8_t)dst};
    return ip_packet_of("10.9.0.1", "10.1.0.1", proto, span_of(l4, sizeof l4));
}

static void protocols_and_ports(void **state)
{
    (void)state;
    struct ts all = any4();
    static const uint8_t two_ports[] = {IP_PROTO_TCP, IP_PROTO_UDP, 33, 132, 136}; /* TCP, UDP, DCCP, SCTP, UDP-Lite */
    for (size_t i = 0; i < sizeof two_ports; i++) {
        uint8_t proto = two_ports[i];
        struct ts some = with(all, proto, 1000, 2000);
        static const struct {
            uint16_t port;
            bool matches;
        } row[] = {{999, false}, {1000, true}, {1500, true}, {2000, true}, {2001, false}, {0, false}, {65535, false}};
        for (size_t k = 0; k < ARRAY_LEN(row); k++) {
            assert_int_equal(out_matches(some, all, ports(proto, row[k].port, 7)),
                             row[k].matches); /* local: the source */
            assert_int_equal(out_matches(all, some, ports(proto, 7, row[k].port)), row[k].matches);
            assert_int_equal(in_matches(all, some, ports(proto, row[k].port, 7)), row[k].matches);
            assert_int_equal(in_matches(some, all, ports(proto, 7, row[k].port)), row[k].matches);
        }
        assert_false(out_matches(all, some, ports(proto == IP_PROTO_TCP ? IP_PROTO_UDP : IP_PROTO_TCP, 7, 1500)));
        assert_true(out_matches(with(all, proto, 0, 65535), with(all, proto, 0, 65535), ports(proto, 1, 2)));
        assert_true(
            out_matches(all, with(all, 0, 1000, 2000), ports(proto, 7, 1500))); /* any protocol that has ports */
        assert_true(out_matches(all, with(all, proto, 0, 0), ports(proto, 7, 0)));
        assert_false(out_matches(all, with(all, proto, 0, 0), ports(proto, 7, 1)));
    }
    static const uint8_t no_ports[] = {IP_PROTO_GRE, IP_PROTO_ESP, IP_PROTO_IPV4, 89};
    for (size_t i = 0; i < sizeof no_ports; i++) { /* what stands at their place is none */
        assert_false(out_matches(all, with(all, no_ports[i], 1000, 2000), ports(no_ports[i], 1500, 1500)));
        assert_true(out_matches(all, with(all, no_ports[i], 0, 65535), ports(no_ports[i], 1500, 1500)));
    }
}

/* RFC 4301 4.4.1.1: T-start * 256 + C-start <= t * 256 + c <= T-end * 256 + C-end */
static void icmp_type_and_code(void **state)
{
    (void)state;
    static const struct {
        uint16_t first, last, packet;
        bool matches;
    } row[] = {{0x0800, 0x08ff, 0x0800, true},  {0x0800, 0x08ff, 0x08ff, true}, {0x0800, 0x08ff, 0x0900, false},
               {0x0800, 0x08ff, 0x07ff, false}, {0x0304, 0x0304, 0x0304, true}, {0x0304, 0x0304, 0x0303, false},
               {0, 65535, 0x1234, true}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        const uint8_t icmp[8] = {(uint8_t)(row[i].packet >> 8), (uint8_t)row[i].packet, 0xab, 0xcd};
        struct ts some = with(any4(), IP_PROTO_ICMP, row[i].first, row[i].last);
        struct span p = ip_packet_of("10.9.0.1", "10.1.0.1", IP_PROTO_ICMP, span_of(icmp, 8));
        assert_int_equal(out_matches(some, some, p), row[i].matches); /* in both selectors: RFC 7296 3.13.1 */
        assert_int_equal(out_matches(any4(), some, p), row[i].matches);
        assert_int_equal(in_matches(some, some, p), row[i].matches);
        struct ts some6 = with(any6(), IP_PROTO_ICMP6, row[i].first, row[i].last);
        p = ip_packet_of("2001:db8:77::1", "2001:db8:1::1", IP_PROTO_ICMP6, span_of(icmp, 8));
        assert_int_equal(out_matches(some6, some6, p), row[i].matches);
    }
}

/* RFC 4301 7: a fragment without ports fits ANY and OPAQUE only; OPAQUE fits nothing else. */
static void fragments_and_opaque(void **state)
{
    (void)state;
    struct ts all = any4(), some = with(all, IP_PROTO_UDP, 1000, 2000), opaque = with(all, IP_PROTO_UDP, 65535, 0);
    struct span p = ports(IP_PROTO_UDP, 1500, 1500);
    assert_true(out_matches(all, some, p));
    assert_false(out_matches(all, opaque, p));
    edit(p)[6] = 0x20; /* the first one has its ports */
    ip_mend(p);
    assert_true(out_matches(all, some, p));
    assert_false(out_matches(all, opaque, p));
    edit(p)[6] = 0;
    edit(p)[7] = 9;
    ip_mend(p);
    assert_false(out_matches(all, some, p));
    assert_false(in_matches(some, all, p));
    assert_true(out_matches(all, opaque, p));
    assert_true(out_matches(all, with(all, IP_PROTO_UDP, 0, 65535), p)); /* the protocol is in every fragment of IPv4 */
    assert_false(out_matches(all, with(all, IP_PROTO_TCP, 0, 65535), p));
    assert_true(out_matches(all, all, p));
    struct span cut = ip_packet_of("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, hex("05dc05")); /* ends inside the ports */
    assert_false(out_matches(all, some, cut));
    assert_true(out_matches(all, opaque, cut));
}

/* The next layer of IPv6 stands behind hop-by-hop, routing, fragment and destination options; AH and ESP are next layers themselves. */
static void ipv6_next_layer(void **state)
{
    (void)state;
    struct ts all = any6(), tcp = with(all, IP_PROTO_TCP, 0, 65535), tcp80 = with(all, IP_PROTO_TCP, 80, 80),
              ah = with(all, IP_PROTO_AH, 0, 65535);
    const char *src = "2001:db8:77::1", *dst = "2001:db8:1::1";
    struct span p = ip_packet_of(src, dst, IP_PROTO_DSTOPTS, hex("0600 0104 00000000 | 1234 0050 00000000"));
    assert_true(out_matches(all, tcp80, p));
    p = ip_packet_of(src, dst, IP_PROTO_FRAGMENT, hex("0600 0001 00000007 | 1234 0050 00000000"));
    assert_true(out_matches(all, tcp80, p));
    p = ip_packet_of(src, dst, IP_PROTO_FRAGMENT, hex("0600 0009 00000007 | 1234 0050 00000000"));
    assert_true(out_matches(all, tcp, p));
    assert_false(out_matches(all, tcp80, p));
    p = ip_packet_of(src, dst, IP_PROTO_AH,
                     hex("0604 0000 00000001 00000001 000102030405060708090a0b | 1234 0050 00000000"));
    assert_true(out_matches(all, ah, p));
    assert_false(out_matches(all, tcp, p));
    p = ip_packet_of(src, dst, IP_PROTO_ESP, hex("00000001 00000001"));
    assert_true(out_matches(all, with(all, IP_PROTO_ESP, 0, 65535), p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(addresses),           TEST(families),           TEST(nearly_everything),
        TEST(protocols_and_ports), TEST(icmp_type_and_code), TEST(fragments_and_opaque),
        TEST(ipv6_next_layer),
    };
    return cmocka_run_group_tests_name("dp_selector", tests, NULL, NULL);
}
