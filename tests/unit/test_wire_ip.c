/* IPv4 and IPv6 headers, the Internet checksum and IPv4 fragments, from RFC 791, 1071, 1624, 8200 and 6946. ICMP, TCP and GRE have
 * test_wire_icmp.c. */
#include "adit/wire_ip.h"
#include "lib/inet.h"

/* ---- the checksum ------------------------------------------------------------------------------ */

static void checksum_of_known_octets(void **state)
{
    (void)state;
    /* RFC 1071 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2 */
    struct span s = hex("0001 f203 f4f5 f6f7");
    assert_int_equal(wire_sum(s.p, s.n, 0), 0xddf2);
    assert_int_equal(wire_checksum(s.p, s.n), 0x220d);
    /* an odd octet is the upper half of a last word */
    s = hex("0001 f203 f4f5 f6");
    assert_int_equal(wire_sum(s.p, s.n, 0), 0xdcfb);
    assert_int_equal(wire_sum(NULL, 0, 0x1234), 0x1234);
    s = hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7");
    assert_int_equal(wire_sum(s.p, s.n, 0), 0xffff);
}

static void checksum_of_any_length(void **state)
{
    (void)state;
    uint64_t d = 7;
    uint8_t p[700];
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < sizeof p; i++)
            p[i] = round == 0 ? 0xff : round == 1 ? 0 : (uint8_t)(dice(&d) >> 40);
        for (size_t n = 0; n <= sizeof p; n++) {
            struct span s = exact_copy(span_of(p, n));
            assert_int_equal(wire_checksum(s.p, s.n), inet_checksum(s.p, s.n));
            exact_free(s);
        }
        for (size_t cut = 0; cut <= sizeof p; cut += 2) /* in two parts, the first one even */
            assert_int_equal(wire_sum(p + cut, sizeof p - cut, wire_sum(p, cut, 0)), wire_sum(p, sizeof p, 0));
        for (size_t at = 0; at < 16; at++) /* from any address */
            assert_int_equal(wire_checksum(p + at, 600), inet_checksum(p + at, 600));
    }
}

static void checksum_of_64k_of_ones(void **state)
{
    (void)state;
    uint8_t *p = malloc(65536);
    assert_non_null(p);
    memset(p, 0xff, 65536);
    assert_int_equal(wire_sum(p, 65536, 0xffff), 0xffff);
    p[65535] = 0xfe;
    assert_int_equal(wire_sum(p, 65536, 0), 0xfffe);
    free(p);
}

static void checksum_change(void **state)
{
    (void)state;
    /* RFC 1624 4: dd2f, 5555 becomes 3285: 0000, not ffff */
    assert_int_equal(wire_checksum_change(0xdd2f, 0x5555, 0x3285), 0x0000);
    uint64_t d = 3;
    uint8_t p[40];
    for (int i = 0; i < 200000; i++) {
        uint64_t r = dice(&d);
        for (size_t k = 0; k < sizeof p; k++)
            p[k] = (uint8_t)(dice(&d) >> 32 & (r & 1 ? 0xff : r & 2 ? 0x80 : 1));
        size_t at = (r >> 8) % 20 * 2;
        uint16_t before = inet_checksum(p, sizeof p), from = be16(p + at), to = (uint16_t)(r >> 16);
        p[at] = (uint8_t)(to >> 8);
        p[at + 1] = (uint8_t)to;
        uint16_t changed = wire_checksum_change(before, from, to);
        uint32_t sum = (uint16_t)~inet_checksum(p, sizeof p) + (uint32_t)changed; /* as a receiver verifies */
        sum = (sum & 0xffff) + (sum >> 16);
        assert_int_equal(sum, 0xffff);
    }
}

static void pseudo_header(void **state)
{
    (void)state;
    /* a UDP datagram of 10.0.0.1:53 to 10.0.0.2:1024, 4 octets of data */
    struct span p4 = hex("45000020 00000000 40110000 0a000001 0a000002 | 0035 0400 000c 0000 | 61626364");
    struct addr s4 = addr_of(4, p4.p + 12), d4 = addr_of(4, p4.p + 16);
    uint16_t sum = wire_sum(p4.p + 20, 12, wire_sum_pseudo(&s4, &d4, 17, 12));
    assert_int_equal((uint16_t)~sum, inet_checksum_pseudo(p4, 20, 17));
    assert_int_equal((uint16_t)~sum, 0x22d8);
    struct span p6 = hex("60000000 000c 11 40 | 20010db8000000000000000000000001 20010db8ffff00000000000000000002"
                         "| 0035 0400 000c 0000 | 61626364");
    struct addr s6 = addr_of(6, p6.p + 8), d6 = addr_of(6, p6.p + 24);
    sum = wire_sum(p6.p + 40, 12, wire_sum_pseudo(&s6, &d6, 17, 12));
    assert_int_equal((uint16_t)~sum, inet_checksum_pseudo(p6, 40, 17));
    assert_int_not_equal(wire_sum_pseudo(&s6, &d6, 17, 0x10000),
                         wire_sum_pseudo(&s6, &d6, 17, 0)); /* 32 bits of length */
}

/* ---- IPv4 -------------------------------------------------------------------------------------- */

#define IP4 "450a001c 1234 0000 3f 11 0000 c0000201 c6336402 | 0001020304050607"

static void ip4_fields(void **state)
{
    (void)state;
    struct span p = exact_copy(hex(IP4));
    struct ip_view v = {0};
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(v.version, 4);
    assert_int_equal(v.len, 28);
    assert_int_equal(v.payload, 20);
    assert_int_equal(v.proto, 17);
    assert_int_equal(v.tos, 0x0a);
    assert_int_equal(v.ttl, 63);
    assert_false(v.df || v.fragment || v.later);
    struct addr src = wire_ip_src(p.p), dst = wire_ip_dst(p.p);
    char text[ADDR_TEXT];
    assert_string_equal(addr_text(&src, text), "192.0.2.1");
    assert_string_equal(addr_text(&dst, text), "198.51.100.2");
    exact_free(p);

    static const struct {
        const char *flags;
        bool df, fragment, later;
    } row[] = {{"4000", true, false, false}, {"2000", false, true, false},  {"0001", false, true, true},
               {"3fff", false, true, true},  {"8000", false, false, false}, {"5fff", true, true, true}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct octets o;
        octets_hex(&o, IP4);
        memcpy(o.b + 6, hex(row[i].flags).p, 2);
        OK(wire_ip_parse(o.b, o.n, &v));
        assert_int_equal(v.df, row[i].df);
        assert_int_equal(v.fragment, row[i].fragment);
        assert_int_equal(v.later, row[i].later);
    }
}

static enum rc parse_exact(struct span s, struct ip_view *ret)
{
    struct span copy = exact_copy(s);
    enum rc rc = wire_ip_parse(copy.p, copy.n, ret);
    exact_free(copy);
    return rc;
}

static void ip4_lengths_lie(void **state)
{
    (void)state;
    struct ip_view v = {.len = 99};
    struct octets o;
    octets_hex(&o, IP4);
    for (size_t n = 0; n < 20; n++) /* less than any header */
        assert_int_not_equal(parse_exact(span_of(o.b, n), &v), RC_OK);
    for (size_t n = 20; n < 28; n++) /* less than the total length says */
        assert_int_equal(parse_exact(span_of(o.b, n), &v), RC_SHORT);
    for (unsigned ihl = 0; ihl < 5; ihl++) { /* RFC 791 3.1: the minimum is 5 */
        o.b[0] = (uint8_t)(0x40 | ihl);
        assert_int_equal(parse_exact(span_of(o.b, 28), &v), RC_SYNTAX);
    }
    for (unsigned ihl = 8; ihl < 16; ihl++) { /* a header longer than the packet */
        o.b[0] = (uint8_t)(0x40 | ihl);
        assert_int_equal(parse_exact(span_of(o.b, 28), &v), RC_SYNTAX);
    }
    o.b[0] = 0x45;
    for (unsigned len = 0; len < 20; len++) {
        o.b[3] = (uint8_t)len;
        assert_int_equal(parse_exact(span_of(o.b, 28), &v), RC_SYNTAX);
    }
    o.b[2] = 0xff;
    assert_int_equal(parse_exact(span_of(o.b, 28), &v), RC_SHORT);
    for (unsigned version = 0; version < 16; version++)
        if (version != 4 && version != 6) {
            o.b[0] = (uint8_t)(version << 4 | 5);
            assert_int_equal(parse_exact(span_of(o.b, 28), &v), RC_SYNTAX);
        }
    assert_int_equal(v.len, 99);  /* untouched on failure */
    octets_hex(&o, IP4 "aabbcc"); /* padding behind the packet is none of it */
    OK(parse_exact(span_of(o.b, o.n), &v));
    assert_int_equal(v.len, 28);
    octets_hex(&o, "47000020 1234 0000 3f 06 0000 c0000201 c6336402 | 9404 0000 01010100 | 00010203");
    OK(parse_exact(span_of(o.b, o.n), &v));
    assert_int_equal(v.payload, 28);
}

/* ---- IPv6 -------------------------------------------------------------------------------------- */

#define A1 "20010db8000000000000000000000001"
#define A2 "20010db8000000000000000000000002"

/* An IPv6 packet whose payload is `rest`, first header `next`. */
static struct span ip6(uint8_t next, struct span rest)
{
    static struct octets o;
    octets_hex(&o, "6ab00000 0000 00 3e" A1 A2);
    o.b[4] = (uint8_t)(rest.n >> 8);
    o.b[5] = (uint8_t)rest.n;
    o.b[6] = next;
    if (rest.n)
        memcpy(o.b + 40, rest.p, rest.n);
    o.n = 40 + rest.n;
    return span_of(o.b, o.n);
}

static void ip6_fields(void **state)
{
    (void)state;
    struct ip_view v = {0};
    OK(parse_exact(ip6(6, hex("00010203 04050607")), &v));
    assert_int_equal(v.version, 6);
    assert_int_equal(v.len, 48);
    assert_int_equal(v.payload, 40);
    assert_int_equal(v.proto, 6);
    assert_int_equal(v.tos, 0xab);
    assert_int_equal(v.ttl, 62);
    assert_true(v.df); /* a router never fragments it */
    assert_false(v.fragment || v.later);
    struct span p = ip6(59, hex(""));
    struct addr src = wire_ip_src(p.p), dst = wire_ip_dst(p.p);
    char text[ADDR_TEXT];
    assert_string_equal(addr_text(&src, text), "2001:db8::1");
    assert_string_equal(addr_text(&dst, text), "2001:db8::2");
    OK(parse_exact(p, &v)); /* RFC 8200 4.7: nothing follows, and that is a packet */
    assert_int_equal(v.len, 40);
    assert_int_equal(v.proto, 59);
    for (size_t n = 1; n < 48; n++)
        assert_int_equal(parse_exact(span_of(ip6(17, hex("0001020304050607")).p, n), &v), RC_SHORT);
    OK(parse_exact(span_of(ip6(17, hex("0001020304050607")).p, 48 + 5), &v));
    assert_int_equal(v.len, 48);
    struct octets o = {{0x50}, 0};
    assert_int_equal(wire_ip6_parse(o.b, 48, &v), RC_SYNTAX);
}

static void ip6_extension_headers(void **state)
{
    (void)state;
    static const struct {
        uint8_t first;
        const char *rest;
        uint8_t proto;
        uint16_t payload;
        bool fragment, later;
    } row[] = {
        /* hop-by-hop 8, destination options 16, routing 8, then TCP */
        {0, "3c00 010400000000 | 2b01 010c 000000000000000000000000 | 0600 000000000000 | 00501234", 6, 72, false,
         false},
        {51, "0604 0000 00000001 00000001 000102030405060708090a0b | 00350035", 51, 40, false,
         false},                                                            /* AH: RFC 4301 4.4.1.1 */
        {44, "1100 0001 00000007 | 00350035", 17, 48, true, false},         /* first fragment */
        {44, "1100 0000 00000007 | 00350035", 17, 48, false, false},        /* atomic: RFC 6946 */
        {44, "1100 0006 00000007 | 00350035", 17, 48, false, false},        /* reserved bits are ignored */
        {44, "1100 0008 00000007 | 00350035", 17, 48, true, true},          /* last of two */
        {44, "3c00 0009 00000007 | 00350035 00000000", 60, 48, true, true}, /* not a header: the middle of one */
        {50, "11111111 00000001", 50, 40, false, false},
        {135, "3b00 0100 0000 0000", 135, 40, false, false}, /* one that no router looks into */
        {43, "2c00 040000000000 | 3a00 0001 00000001 | 8000", 58, 56, true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct ip_view v = {0};
        OK(parse_exact(ip6(row[i].first, hex(row[i].rest)), &v));
        assert_int_equal(v.proto, row[i].proto);
        assert_int_equal(v.payload, row[i].payload);
        assert_int_equal(v.fragment, row[i].fragment);
        assert_int_equal(v.later, row[i].later);
    }
}

static void ip6_eight_extension_headers(void **state)
{
    (void)state;
    for (size_t n = 1; n < 12; n++) { /* docs/limits.md: what lies behind more than eight stays unknown */
        struct octets o = {{0}, 0};
        for (size_t i = 0; i < n; i++)
            memcpy(o.b + 8 * i, hex(i + 1 < n ? "3c00 010400000000" : "1100 010400000000").p, 8);
        memcpy(o.b + 8 * n, hex("0035 0035").p, 4);
        struct ip_view v = {0};
        OK(parse_exact(ip6(60, span_of(o.b, 8 * n + 4)), &v));
        assert_int_equal(v.later, n > 8);
        if (n <= 8) {
            assert_int_equal(v.proto, 17);
            assert_int_equal(v.payload, 40 + 8 * n);
        }
    }
}

/* What ends in the middle of a header chain has no transport header; nothing is read beyond the packet. */
static void ip6_chain_ends_early(void **state)
{
    (void)state;
    struct ip_view v = {0};
    static const char *const rest[] = {
        "", "06", "06ff", "0601 010400000000", "0600 0000", "2c00 010400000000", "2c00 010400000000 0600 0001"};
    static const uint8_t kind[] = {0, 43, 44, 60};
    for (size_t k = 0; k < ARRAY_LEN(kind); k++)
        for (size_t i = 0; i < ARRAY_LEN(rest) - (kind[k] == 44 ? 4 : 0); i++) {
            OK(parse_exact(ip6(kind[k], hex(rest[i])), &v));
            assert_true(v.later);
            assert_true(v.payload <= v.len);
        }
    OK(parse_exact(ip6(44, hex("0600 0009 0000")), &v)); /* not even the fragment header */
    assert_int_equal(v.proto, 44);
    assert_int_equal(v.payload, 40);
    struct octets o = {{0}, 0}; /* a hundred hop-by-hop headers end somewhere */
    for (size_t i = 0; i < 100; i++)
        memcpy(o.b + 8 * i, hex("0000 010400000000").p, 8);
    OK(parse_exact(ip6(0, span_of(o.b, 800)), &v));
    assert_true(v.later);
    uint64_t d = 99; /* no length leads anywhere outside */
    for (int i = 0; i < 100000; i++) {
        static const uint8_t next[] = {0, 43, 44, 51, 60, 6, 17};
        uint8_t body[64];
        for (size_t k = 0; k < sizeof body; k++)
            body[k] = k % 8 == 0 ? next[dice(&d) % 7] : k % 8 == 1 ? (uint8_t)(dice(&d) % 5) : (uint8_t)dice(&d);
        OK(parse_exact(ip6(next[dice(&d) % 7], span_of(body, dice(&d) % 65)), &v));
        assert_true(v.payload <= v.len && v.payload >= 40);
    }
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void ip_headers_written(void **state)
{
    (void)state;
    uint8_t out[64];
    struct wr w = wr_of(out, sizeof out);
    struct ip_fields f = {.proto = 47, .tos = 0xb9, .ttl = 64, .df = true, .id = 0xbeef, .payload_len = 100};
    OK(addr_parse("192.0.2.1", &f.src));
    OK(addr_parse("198.51.100.2", &f.dst));
    wire_ip_write(&w, &f);
    assert_span_equal(span_of(out, 10), hex("45b90078 beef4000 402f"));
    assert_span_equal(span_of(out + 12, 8), hex("c0000201 c6336402"));
    assert_int_equal(wr_len(&w), 20);
    assert_int_equal(inet_checksum(out, 20), 0);
    f.df = false;
    w = wr_of(out, sizeof out);
    wire_ip_write(&w, &f);
    assert_span_equal(span_of(out + 6, 2), hex("0000"));
    OK(addr_parse("2001:db8::1", &f.src));
    OK(addr_parse("2001:db8::2", &f.dst));
    w = wr_of(out, sizeof out);
    wire_ip_write(&w, &f);
    assert_span_equal(wr_span(&w), hex("6b900000 0064 2f40" A1 A2));
    for (size_t n = 0; n < 40; n++) { /* no room: nothing is written beyond, and it says so */
        w = wr_of(out, n);
        wire_ip_write(&w, &f);
        assert_true(w.failed);
    }
}

static void ecn_bits_set(void **state)
{
    (void)state;
    for (unsigned tos = 0; tos < 256; tos++)
        for (uint8_t ecn = 0; ecn < 4; ecn++) {
            struct octets o;
            octets_hex(&o, IP4);
            o.b[1] = (uint8_t)tos;
            ip4_finish(o.b);
            wire_ip_ecn_set(o.b, ecn);
            assert_int_equal(o.b[1], (tos & 0xfc) | ecn);
            assert_int_equal(inet_checksum(o.b, 20), 0);
            octets_hex(&o, "60012345 0000 3b40" A1 A2);
            o.b[0] = (uint8_t)(0x60 | tos >> 4);
            o.b[1] = (uint8_t)(tos << 4 | 1);
            wire_ip_ecn_set(o.b, ecn);
            assert_int_equal(be32(o.b), 0x60012345u | ((tos & 0xfc) | ecn) << 20); /* the flow label stays */
        }
}

/* ---- fragments (RFC 791 3.2) --------------------------------------------------------------------- */

static struct span whole(const char *options, uint16_t flags_offset, size_t payload)
{
    static uint8_t p[4096];
    struct span opt = hex(options);
    size_t header = 20 + opt.n;
    memcpy(p, hex("45 2e 0000 abcd 0000 37 06 0000 c0000201 c6336402").p, 20);
    p[0] = (uint8_t)(0x40 | header / 4);
    p[2] = (uint8_t)((header + payload) >> 8);
    p[3] = (uint8_t)(header + payload);
    p[6] = (uint8_t)(flags_offset >> 8);
    p[7] = (uint8_t)flags_offset;
    if (opt.n)
        memcpy(p + 20, opt.p, opt.n);
    for (size_t i = 0; i < payload; i++)
        p[header + i] = (uint8_t)(i * 7 + i / 256);
    ip4_finish(p);
    return span_of(p, header + payload);
}

/* Put the fragments of `in` together again and compare. `later_options`: what RFC 791 wants in the fragments but the first. */
static void check_fragments(struct span in, uint16_t mtu, struct span later_options)
{
    static uint8_t together[4096];
    struct ip_view v = {0};
    OK(wire_ip_parse(in.p, in.n, &v));
    size_t n = wire_ip4_fragments(in.p, &v, mtu), at = 0, payload = v.len - v.payload;
    assert_true(n >= 1);
    for (size_t k = 0; k < n; k++) {
        uint8_t *out = malloc(k ? mtu : in.n);
        assert_non_null(out);
        size_t len;
        if (k == 0) {
            memcpy(out, in.p, in.n);
            len = n > 1 ? wire_ip4_fragment_first(out, &v, mtu) : in.n;
        } else {
            struct wr w = wr_of(out, mtu);
            wire_ip4_fragment(&w, in.p, &v, mtu, k);
            assert_false(w.failed);
            len = wr_len(&w);
        }
        size_t header = (out[0] & 15u) * 4;
        assert_true(len <= mtu && ip4_header_ok(span_of(out, len)));
        assert_int_equal(out[1], in.p[1]);
        assert_memory_equal(out + 4, in.p + 4, 2); /* identification */
        assert_memory_equal(out + 8, in.p + 8, 2); /* TTL, protocol */
        assert_memory_equal(out + 12, in.p + 12, 8);
        if (k == 0)
            assert_span_equal(span_of(out + 20, header - 20), span_of(in.p + 20, v.payload - 20u));
        else
            assert_span_equal(span_of(out + 20, header - 20), later_options);
        unsigned field = be16(out + 6), was = be16(in.p + 6);
        assert_int_equal((field & 0x1fff) * 8, (was & 0x1fff) * 8 + at);
        assert_int_equal(field & 0x4000, 0);
        assert_int_equal(field >> 13 & 1, k + 1 < n || was & 0x2000);
        if (k + 1 < n) {
            assert_int_equal((len - header) % 8, 0);
            assert_true(len + 8 > mtu); /* no more fragments than needed */
        }
        memcpy(together + at, out + header, len - header);
        at += len - header;
        free(out);
    }
    assert_int_equal(at, payload);
    assert_memory_equal(together, in.p + v.payload, payload);
}

static void fragments_come_together(void **state)
{
    (void)state;
    for (size_t payload = 0; payload < 200; payload++)
        for (uint16_t mtu = 28; mtu < 240; mtu += payload % 7 + 1)
            check_fragments(whole("", 0, payload), mtu, hex(""));
    for (uint16_t mtu = 68; mtu < 1600; mtu++)
        check_fragments(whole("", 0, 1480), mtu, hex(""));
    check_fragments(whole("", 0x2000, 1480), 1400, hex(""));       /* a first fragment: each part has MF */
    check_fragments(whole("", 0x2000 | 185, 1480), 1400, hex("")); /* the middle */
    check_fragments(whole("", 370, 1111), 600, hex(""));           /* the end: the last part has none */
    for (size_t payload = 8; payload < 700; payload += 41) {
        /* record route (7, not copied), router alert (0x94, copied), padding */
        check_fragments(whole("0707 04 00000000 01 | 94040000", 0, payload), 100, hex("94040000"));
        check_fragments(whole("01 83 07 04 0a000001", 0, payload), 68, hex("8307040a00000100"));
        check_fragments(whole("8205 000000 000000", 0, payload), 68, hex("8205000000000000")); /* padded to a word */
        check_fragments(whole("4408 05 00 00000000 00 94 04 00", 0, payload), 200,
                        hex("")); /* behind the end of list */
    }
}

static void fragments_refused(void **state)
{
    (void)state;
    struct ip_view v = {0};
    struct span p = whole("", 0x4000, 1480);
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(wire_ip4_fragments(p.p, &v, 1400), 0); /* DF */
    p = whole("", 0, 1480);
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(wire_ip4_fragments(p.p, &v, 27), 0); /* no eight octets fit */
    p = whole("0707 04 00000000 01", 0,
              400); /* they fit into the later ones, which have no options, but not into the first */
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(wire_ip4_fragments(p.p, &v, 35), 0);
    assert_true(wire_ip4_fragments(p.p, &v, 36) > 1);
    p = whole("", 0, 1480);
    OK(wire_ip_parse(p.p, p.n, &v));
    uint8_t out[28];
    struct wr w = wr_of(out, sizeof out);
    wire_ip4_fragment(&w, p.p, &v, 27, 1);
    assert_true(w.failed);
    uint8_t first[100];
    memcpy(first, p.p, sizeof first);
    assert_int_equal(wire_ip4_fragment_first(first, &v, 27), 1500);
    assert_memory_equal(first, p.p, sizeof first);
    p = ip6(17, hex("0001020304050607"));
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(wire_ip4_fragments(p.p, &v, 40), 0); /* RFC 8200 4.5: not by a router */
}

/* RFC 791 3.2: the offset has 13 bits, and a datagram ends at octet 65535. A fragment that reaches beyond must not come out as parts
 * whose offsets have wrapped: those would land on the start of the datagram, behind the back of every filter. */
static void fragments_do_not_wrap(void **state)
{
    (void)state;
    struct ip_view v = {0};
    struct span p = whole("", 0x1fff, 1480);
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(wire_ip4_fragments(p.p, &v, 1400), 0);
    p = whole("", (65535 - 20 - 1480) / 8 + 1, 1480); /* header and data: 65536 and some */
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(wire_ip4_fragments(p.p, &v, 1400), 0);
    p = whole("", (65536 - 20 - 1484) / 8, 1484); /* 65536 */
    OK(wire_ip_parse(p.p, p.n, &v));
    assert_int_equal(wire_ip4_fragments(p.p, &v, 1400), 0);
    check_fragments(whole("", (65536 - 20 - 1484) / 8, 1483), 1400, hex("")); /* 65535 */
    check_fragments(whole("", (65535 - 20 - 1480) / 8, 1480), 1400, hex(""));
}

static void fragments_of_broken_options(void **state)
{
    (void)state;
    static const char *const options[] = {"94000000", "94010000", "94ff0000", "01010194", "83030483 83838383"};
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        struct span p = exact_copy(whole(options[i], 0, 400));
        struct ip_view v = {0};
        OK(wire_ip_parse(p.p, p.n, &v));
        size_t n = wire_ip4_fragments(p.p, &v, 128);
        assert_true(n > 1);
        for (size_t k = 1; k < n; k++) {
            uint8_t out[128];
            struct wr w = wr_of(out, sizeof out);
            wire_ip4_fragment(&w, p.p, &v, 128, k);
            assert_false(w.failed);
            assert_true(ip4_header_ok(wr_span(&w)));
        }
        exact_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(checksum_of_known_octets),
        TEST(checksum_of_any_length),
        TEST(checksum_of_64k_of_ones),
        TEST(checksum_change),
        TEST(pseudo_header),
        TEST(ip4_fields),
        TEST(ip4_lengths_lie),
        TEST(ip6_fields),
        TEST(ip6_extension_headers),
        TEST(ip6_eight_extension_headers),
        TEST(ip6_chain_ends_early),
        TEST(ip_headers_written),
        TEST(ecn_bits_set),
        TEST(fragments_come_together),
        TEST(fragments_refused),
        TEST(fragments_do_not_wrap),
        TEST(fragments_of_broken_options),
    };
    return cmocka_run_group_tests_name("wire_ip", tests, NULL, NULL);
}
