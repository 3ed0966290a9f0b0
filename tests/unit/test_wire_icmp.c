/* ICMP "too big", TCP's MSS option, the GRE header and ESP's trailer, from RFC 792, 1122, 1191, 1812, 2784, 2890, 4303, 4443, 9293. */
#include "adit/wire_ip.h"
#include "lib/inet.h"

#include <stdio.h>

/* ---- ICMP, made ---------------------------------------------------------------------------------- */

#define A1 "20010db8000000000000000000000001"
#define A2 "20010db8000000000000000000000002"

static struct addr address(const char *text)
{
    struct addr a;
    OK(addr_parse(text, &a));
    return a;
}

/* A packet of n octets in all, from the first octets on. */
static struct span original(struct span head, size_t n)
{
    static uint8_t p[3000];
    memcpy(p, head.p, head.n);
    for (size_t i = head.n; i < n; i++)
        p[i] = (uint8_t)(i * 5);
    bool v6 = p[0] >> 4 == 6;
    p[v6 ? 4 : 2] = (uint8_t)((n - (v6 ? 40 : 0)) >> 8);
    p[v6 ? 5 : 3] = (uint8_t)(n - (v6 ? 40 : 0));
    if (!v6)
        ip4_finish(p);
    return span_of(p, n);
}

static void too_big_4(void **state)
{
    (void)state;
    struct addr src = address("192.0.2.1");
    for (size_t n = 20; n < 1600; n += n < 80 || (n > 530 && n < 560) ? 1 : 100) {
        struct span in = original(hex("450000000001400040110000 0a000001 0a000002"), n);
        uint8_t *out = malloc(576);
        assert_non_null(out);
        struct wr w = wr_of(out, 576);
        wire_icmp_too_big(&w, &src, 1438, in);
        assert_false(w.failed);
        struct span p = wr_span(&w);
        /* RFC 1812 4.3.2.3: as much of it as fits into 576 octets */
        assert_int_equal(p.n, n > 548 ? 576 : n + 28);
        assert_true(ip4_header_ok(p));
        assert_int_equal(p.p[0], 0x45);
        assert_int_equal(p.p[9], 1);
        assert_true(p.p[8] >= 64);
        assert_span_equal(span_of(p.p + 12, 8), hex("c0000201 0a000001"));
        assert_int_equal(inet_checksum(p.p + 20, p.n - 20), 0);
        assert_int_equal(p.p[20], 3); /* unreachable, fragmentation needed */
        assert_int_equal(p.p[21], 4);
        assert_int_equal(be32(p.p + 24), 1438); /* RFC 1191 4: the upper half is unused and zero */
        assert_memory_equal(p.p + 28, in.p, p.n - 28);
        free(out);
    }
}

static void too_big_6(void **state)
{
    (void)state;
    struct addr src = address("2001:db8:5::2");
    for (size_t n = 40; n < 1600; n += n < 80 || (n > 1220 && n < 1290) ? 1 : 100) {
        struct span in = original(hex("6000000000001140" A1 A2), n);
        uint8_t *out = malloc(1280);
        assert_non_null(out);
        struct wr w = wr_of(out, 1280);
        wire_icmp_too_big(&w, &src, 1406, in);
        assert_false(w.failed);
        struct span p = wr_span(&w);
        assert_int_equal(p.n, n > 1232 ? 1280 : n + 48); /* RFC 4443 2.4 (c) */
        assert_int_equal(p.p[0] >> 4, 6);
        assert_int_equal(be16(p.p + 4), p.n - 40);
        assert_int_equal(p.p[6], 58);
        assert_true(p.p[7] >= 64);
        assert_span_equal(span_of(p.p + 8, 32), hex("20010db8000500000000000000000002" A1));
        assert_int_equal(inet_checksum_pseudo(p, 40, 58), 0);
        assert_int_equal(be16(p.p + 40), 0x0200); /* type 2, code 0 */
        assert_int_equal(be32(p.p + 44), 1406);
        assert_memory_equal(p.p + 48, in.p, p.n - 48);
        free(out);
    }
}

static void too_big_without_room(void **state)
{
    (void)state;
    struct addr src = address("192.0.2.1");
    struct span in = original(hex("450000000001400040110000 0a000001 0a000002"), 100);
    for (size_t n = 0; n < 128; n++) {
        uint8_t *out = malloc(n ? n : 1);
        assert_non_null(out);
        struct wr w = wr_of(out, n);
        wire_icmp_too_big(&w, &src, 1438, in);
        assert_true(w.failed);
        free(out);
    }
}

/* ---- may an error be sent at all? ------------------------------------------------------------------ */

static bool may_answer(struct span p)
{
    struct ip_view v = {0};
    struct span copy = exact_copy(p);
    OK(wire_ip_parse(copy.p, copy.n, &v));
    bool may = wire_icmp_may_answer(copy.p, &v);
    exact_free(copy);
    return may;
}

static bool may_answer4(const char *src, const char *dst, uint8_t proto, uint16_t flags, uint8_t first)
{
    uint8_t p[28] = {0x45, 0, 0, 28, 0, 1, (uint8_t)(flags >> 8), (uint8_t)flags, 64, proto};
    struct addr s = address(src), d = address(dst);
    memcpy(p + 12, s.b, 4);
    memcpy(p + 16, d.b, 4);
    p[20] = first;
    ip4_finish(p);
    return may_answer(span_of(p, sizeof p));
}

static void errors_about_ipv4(void **state)
{
    (void)state;
    assert_true(may_answer4("10.0.0.1", "10.0.0.2", 17, 0x4000, 0));
    assert_true(may_answer4("169.254.1.1", "10.0.0.2", 17, 0x4000, 0)); /* tunnels are numbered from there */
    assert_true(may_answer4("10.0.0.1", "10.0.0.2", 17, 0x2000, 0));    /* the first fragment */
    assert_true(may_answer4("10.0.0.1", "10.0.0.2", 47, 0, 3));         /* 3 is a type in ICMP only */
    /* RFC 1122 3.2.2, RFC 1812 4.3.2.7 */
    assert_false(may_answer4("10.0.0.1", "10.0.0.2", 17, 0x0001, 0)); /* a fragment other than the first */
    assert_false(may_answer4("10.0.0.1", "10.0.0.2", 17, 0x2001, 0));
    static const char *const no_source[] = {"0.0.0.0", "127.0.0.1", "224.0.0.1", "239.1.2.3", "255.255.255.255"};
    for (size_t i = 0; i < ARRAY_LEN(no_source); i++)
        assert_false(may_answer4(no_source[i], "10.0.0.2", 17, 0, 0));
    assert_false(may_answer4("10.0.0.1", "224.0.0.5", 17, 0, 0));
    assert_false(may_answer4("10.0.0.1", "239.1.1.1", 17, 0, 0));
    assert_false(may_answer4("10.0.0.1", "255.255.255.255", 17, 0, 0));
    /* an ICMP error: unreachable, source quench, redirect, time exceeded, parameter problem */
    static const uint8_t error[] = {3, 4, 5, 11, 12}, query[] = {0, 8, 13, 14, 15, 16, 17, 18};
    for (size_t i = 0; i < sizeof error; i++)
        assert_false(may_answer4("10.0.0.1", "10.0.0.2", 1, 0, error[i]));
    for (size_t i = 0; i < sizeof query; i++)
        assert_true(may_answer4("10.0.0.1", "10.0.0.2", 1, 0, query[i]));
    struct octets o; /* ICMP without an octet: it may be an error. What lies behind is none of it. */
    octets_hex(&o, "45000014 0001 0000 40010000 0a000001 0a000002");
    assert_false(may_answer(span_of(o.b, o.n)));
    octets_hex(&o, "45000014 0001 0000 40010000 0a000001 0a000002 | 08");
    assert_false(may_answer(span_of(o.b, o.n)));
}

static bool may_answer6(const char *src, const char *dst, uint8_t next, const char *rest)
{
    uint8_t p[200] = {0x60, 0, 0, 0, 0, 0, next, 64};
    struct addr s = address(src), d = address(dst);
    struct span body = hex(rest);
    memcpy(p + 8, s.b, 16);
    memcpy(p + 24, d.b, 16);
    memcpy(p + 40, body.p, body.n);
    p[5] = (uint8_t)body.n;
    return may_answer(span_of(p, 40 + body.n));
}

static void errors_about_ipv6(void **state)
{
    (void)state;
    assert_true(may_answer6("2001:db8::1", "2001:db8::2", 17, "0035003500080000"));
    assert_true(may_answer6("2001:db8::1", "2001:db8::2", 58, "80000000"));
    assert_true(may_answer6("2001:db8::1", "2001:db8::2", 58, "81000000"));
    /* RFC 4443 2.4 (e.3): "packet too big" may go out about multicast, so that path MTU discovery works there */
    assert_true(may_answer6("2001:db8::1", "ff0e::1", 17, "0035003500080000"));
    /* RFC 4443 3.2: it MUST be sent; of a packet's parts none is excepted, unlike in IPv4 */
    assert_true(may_answer6("2001:db8::1", "2001:db8::2", 44, "1100 0009 00000001 0000000000000000"));
    assert_true(may_answer6("2001:db8::1", "2001:db8::2", 44, "1100 0001 00000001 0035003500080000"));
    assert_true(may_answer6("2001:db8::1", "2001:db8::2", 44, "3a00 0009 00000001 0100000000000000")); /* no type */
    assert_true(may_answer6("2001:db8::1", "2001:db8::2", 60, "06ff0000"));
    /* (e.1) errors, also behind an extension header; (e.2) redirects; (e.6) a source that is not one node */
    assert_false(may_answer6("2001:db8::1", "2001:db8::2", 58, "01000000"));
    assert_false(may_answer6("2001:db8::1", "2001:db8::2", 58, "02000000"));
    assert_false(may_answer6("2001:db8::1", "2001:db8::2", 58, "7f000000"));
    assert_false(may_answer6("2001:db8::1", "2001:db8::2", 60, "3a000104 00000000 | 0300 0000"));
    assert_false(may_answer6("2001:db8::1", "2001:db8::2", 58, "89000000"));
    assert_false(may_answer6("2001:db8::1", "2001:db8::2", 58, ""));
    assert_false(may_answer6("::", "2001:db8::2", 17, "0035003500080000"));
    assert_false(may_answer6("::1", "2001:db8::2", 17, "0035003500080000"));
    assert_false(may_answer6("ff02::1", "2001:db8::2", 17, "0035003500080000"));
}

/* ---- ICMP, received --------------------------------------------------------------------------------- */

#define QUOTE4 "450005dc 0001 4000 402f 0000 c6336402 c0000202 | 20000800 00000007"
#define QUOTE6 "60000000 0578 2f40" A1 A2 "| 20000800 00000007"

static struct span icmp4(const char *head, const char *quote)
{
    static struct octets o;
    char text[400];
    snprintf(text, sizeof text, "%s%s", head, quote);
    octets_hex(&o, text);
    o.b[2] = o.b[3] = 0;
    uint16_t sum = inet_checksum(o.b, o.n);
    o.b[2] = (uint8_t)(sum >> 8);
    o.b[3] = (uint8_t)sum;
    return span_of(o.b, o.n);
}

static enum rc read_exact(uint8_t family, struct span s, struct icmp_too_big *ret)
{
    struct span copy = exact_copy(s);
    enum rc rc = wire_icmp_too_big_read(family, copy, ret);
    if (rc == RC_OK) { /* the quoted payload lies inside */
        assert_true(ret->payload.p >= copy.p && ret->payload.p + ret->payload.n == copy.p + copy.n);
        assert_true(ret->payload.n >= 8);
    }
    exact_free(copy);
    return rc;
}

static void too_big_read(void **state)
{
    (void)state;
    struct icmp_too_big m;
    OK(read_exact(4, icmp4("0304 0000 0000 0578", QUOTE4), &m));
    struct addr src = address("198.51.100.2"), dst = address("192.0.2.2");
    assert_true(addr_equal(&m.src, &src) && addr_equal(&m.dst, &dst));
    assert_int_equal(m.mtu, 1400);
    assert_int_equal(m.proto, 47);
    assert_int_equal(m.payload.n, 8);
    OK(read_exact(4, icmp4("0304 0000 0500 0578", QUOTE4), &m)); /* RFC 1191 4, RFC 4884: the upper half is no MTU */
    assert_int_equal(m.mtu, 1400);
    OK(read_exact(4, icmp4("0304 0000 0000 0000", QUOTE4), &m)); /* older than RFC 1191 */
    assert_int_equal(m.mtu, 0);
    OK(read_exact(4,
                  icmp4("0304 0000 0000 0578", "470005dc 0001 4000 4032 0000 c6336402 c0000202 94040000 94040000"
                                               "| 11223344 00000001 55"),
                  &m)); /* options in the quoted header */
    assert_int_equal(m.proto, 50);
    assert_int_equal(m.payload.n, 9);
    OK(read_exact(6, hex("0200 abcd 00010000" QUOTE6), &m)); /* 32 bits of MTU; its checksum is the kernel's business */
    assert_int_equal(m.mtu, 65536);
    src = address("2001:db8::1");
    dst = address("2001:db8::2");
    assert_true(addr_equal(&m.src, &src) && addr_equal(&m.dst, &dst));
    assert_int_equal(m.proto, 47);
}

static void too_big_not_read(void **state)
{
    (void)state;
    struct icmp_too_big m = {.mtu = 7};
    struct span good = icmp4("0304 0000 0000 0578", QUOTE4);
    struct octets o;
    for (size_t i = 0; i < good.n; i++) { /* a flipped bit anywhere breaks the checksum, or it is another message */
        memcpy(o.b, good.p, good.n);
        o.b[i] ^= 0x10;
        assert_in_set(read_exact(4, span_of(o.b, good.n), &m), ((const unsigned long[]){RC_ABSENT, RC_AUTH}), 2);
    }
    for (size_t n = 0; n < good.n; n++)
        assert_int_not_equal(read_exact(4, span_of(good.p, n), &m), RC_OK);
    for (size_t n = 0; n < 28; n++) { /* cut off before eight octets behind the header, with a right checksum */
        static const char *const quote = "4500 05dc 0001 4000 402f 0000 c633 6402 c000 0202 2000 0800 0000 0007";
        char text[100];
        size_t digits = 0, k = 0;
        for (; digits < 2 * n; k++)
            digits += quote[k] != ' ';
        memcpy(text, quote, k);
        text[k] = 0;
        assert_int_equal(read_exact(4, icmp4("0304 0000 0000 0578", text), &m), RC_SHORT);
    }
    for (unsigned type = 0; type < 256; type++)
        for (unsigned code = 0; code < 16; code++) {
            char head[40];
            snprintf(head, sizeof head, "%02x%02x 0000 0000 0578", type, code);
            enum rc rc = read_exact(4, icmp4(head, QUOTE4), &m);
            assert_int_equal(rc, type == 3 && code == 4 ? RC_OK : RC_ABSENT);
            m.mtu = 7;
            snprintf(head, sizeof head, "%02x%02x 0000 0000 0578", type, 0);
            rc = read_exact(6, icmp4(head, QUOTE6), &m);
            assert_int_equal(rc, type == 2 ? RC_OK : RC_ABSENT);
            m.mtu = 7;
        }
    assert_int_equal(read_exact(4, icmp4("0304 0000 0000 0578", QUOTE6), &m), RC_SYNTAX);
    assert_int_equal(read_exact(6, hex("0200 0000 00000578 | 45" QUOTE6), &m), RC_SYNTAX);
    assert_int_not_equal(read_exact(4, icmp4("0304 0000 0000 0578", "44" QUOTE4), &m), RC_OK);
    assert_int_equal(read_exact(4,
                                icmp4("0304 0000 0000 0578", "4f0005dc 0001 4000 402f 0000 c6336402 c0000202"
                                                             "| 20000800 00000007"),
                                &m),
                     RC_SHORT);
    assert_int_equal(read_exact(6,
                                hex("0200 0000 00000578"
                                    "60000000 0578 2f40" A1 A2 "20000800000000"),
                                &m),
                     RC_SHORT);
    assert_int_equal(m.mtu, 7);
}

/* ---- TCP MSS ------------------------------------------------------------------------------------ */

/* A TCP segment with these options, checksummed as if under an empty pseudo-header. */
static struct span segment(uint8_t flags, const char *options, const char *data)
{
    static struct octets o;
    struct span opt = hex(options), d = hex(data);
    octets_hex(&o, "c001 0050 00000001 00000000 5002 ffff 0000 0000");
    o.b[12] = (uint8_t)((20 + opt.n) / 4 << 4);
    o.b[13] = flags;
    memcpy(o.b + 20, opt.p, opt.n);
    memcpy(o.b + 20 + opt.n, d.p, d.n);
    o.n = 20 + opt.n + d.n;
    uint16_t sum = inet_checksum(o.b, o.n);
    o.b[16] = (uint8_t)(sum >> 8);
    o.b[17] = (uint8_t)sum;
    return span_of(o.b, o.n);
}

enum { SYN = 2, ACK = 16 };

/* Clamp to 1400. `after`: the options that must come out; NULL: not an octet changes. */
static void check_clamp(uint8_t flags, const char *options, const char *data, const char *after)
{
    struct span in = segment(flags, options, data), copy = exact_copy(in);
    bool changed = wire_tcp_mss_clamp((uint8_t *)(uintptr_t)copy.p, copy.n, 1400);
    assert_int_equal(changed, after != NULL);
    if (!after)
        assert_span_equal(copy, in);
    else {
        struct span expected = hex(after);
        assert_memory_equal(copy.p, in.p, 16);
        assert_memory_equal(copy.p + 20, expected.p, expected.n);
        assert_memory_equal(copy.p + 20 + expected.n, in.p + 20 + expected.n, in.n - 20 - expected.n);
        assert_int_equal(inet_checksum(copy.p, copy.n), 0);
    }
    exact_free(copy);
}

static void mss_is_lowered(void **state)
{
    (void)state;
    check_clamp(SYN, "020405b4", "", "02040578");
    check_clamp(SYN | ACK, "020405b4", "", "02040578");
    check_clamp(SYN | 0xc0, "020405b4", "", "02040578"); /* with ECN set-up flags */
    check_clamp(SYN, "0204ffff", "aabbcc", "02040578");  /* with data, of odd length */
    check_clamp(SYN, "020405b4 0402 080a 00000001 00000000 01 030307", "",
                "02040578 0402 080a 00000001 00000000 01 030307");
    check_clamp(SYN, "01 020405b4 000000", "aabb", "01 02040578 000000"); /* the value on an odd octet */
    check_clamp(SYN, "030307 020405b4 00", "", "030307 02040578 00");
    check_clamp(SYN, "0402 020405b4 0101", "", "0402 02040578 0101");
    check_clamp(SYN, "fd08 f9890000 0000 020405b4", "", "fd08 f9890000 0000 02040578"); /* an option nobody knows */
    check_clamp(SYN, "010101 030307 0402 080a 00000001 00000000 020405b4 0101 0101 0101 0101 0101 0101 01 01", "",
                "010101 030307 0402 080a 00000001 00000000 02040578"); /* all 40 octets */
    check_clamp(SYN, "02040579", "", "02040578");
}

static void mss_stays(void **state)
{
    (void)state;
    check_clamp(SYN, "02040578", "", NULL); /* never raised */
    check_clamp(SYN, "02040577", "", NULL);
    check_clamp(SYN, "02040218", "", NULL);
    check_clamp(SYN, "02040000", "", NULL);
    check_clamp(SYN, "", "", NULL); /* never added */
    check_clamp(SYN, "01010402", "", NULL);
    check_clamp(0, "020405b4", "", NULL); /* RFC 9293 3.2: in SYN segments only */
    check_clamp(ACK, "020405b4", "", NULL);
    check_clamp(0xff ^ SYN, "020405b4", "", NULL);
    check_clamp(SYN, "00 020405b4 000000", "", NULL); /* behind the end of the list */
    check_clamp(SYN, "", "020405b4", NULL);           /* data looks like an option */
}

static void mss_behind_bad_options(void **state)
{
    (void)state;
    check_clamp(SYN, "0300 0402 020405b4", "", NULL); /* a length below 2 */
    check_clamp(SYN, "0301 0402 020405b4", "", NULL);
    check_clamp(SYN, "03ff 0402 020405b4", "", NULL);
    check_clamp(SYN, "01010102", "", NULL);         /* the kind alone */
    check_clamp(SYN, "01010204", "05b40000", NULL); /* the value would lie in the data */
    check_clamp(SYN, "01020405", "b4000000", NULL);
    check_clamp(SYN, "020305b4", "", NULL);
    check_clamp(SYN, "020605b4 00000000", "", NULL);
    check_clamp(SYN, "02000000", "", NULL);
    struct span s = segment(SYN, "020405b4", "");
    for (size_t n = 0; n < s.n; n++) { /* cut off */
        struct span copy = exact_copy(span_of(s.p, n));
        assert_false(wire_tcp_mss_clamp((uint8_t *)(uintptr_t)copy.p, copy.n, 1400));
        exact_free(copy);
    }
    for (unsigned offset = 0; offset < 16; offset++) { /* a data offset that is too small, or beyond the end */
        uint8_t p[24];
        assert_int_equal(s.n, sizeof p);
        memcpy(p, s.p, sizeof p);
        p[12] = (uint8_t)(offset << 4);
        assert_int_equal(wire_tcp_mss_clamp(p, sizeof p, 1400), offset == 6);
    }
    uint64_t d = 5;
    for (int i = 0; i < 200000; i++) { /* whatever the options are, the sum stays right and nothing is read outside */
        uint8_t p[60] = {[12] = 0xf0, [13] = SYN};
        for (size_t k = 20; k < sizeof p; k++)
            p[k] = (uint8_t)(dice(&d) >> 32) % (k % 3 ? 6 : 255);
        uint16_t sum = inet_checksum(p, sizeof p);
        p[16] = (uint8_t)(sum >> 8);
        p[17] = (uint8_t)sum;
        wire_tcp_mss_clamp(p, sizeof p, 300);
        assert_int_equal(inet_checksum(p, sizeof p), 0);
    }
}

/* ---- GRE ----------------------------------------------------------------------------------------- */

static void gre_every_flag_word(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 0x10000; flags++) {
        uint8_t p[16] = {(uint8_t)(flags >> 8),
                         (uint8_t)flags,
                         0x86,
                         0xdd,
                         0x11,
                         0x12,
                         0x13,
                         0x14,
                         0x21,
                         0x22,
                         0x23,
                         0x24,
                         0x31,
                         0x32,
                         0x33,
                         0x34};
        bool c = flags & 0x8000, k = flags & 0x2000, s = flags & 0x1000;
        struct gre_header h = {.len = 99};
        enum rc rc = wire_gre_read(p, sizeof p, &h);
        if (flags & 7) { /* RFC 2784 2.3.1 */
            assert_int_equal(rc, RC_RANGE);
            continue;
        }
        if (flags & 0x4c00) { /* 2.3: bits 1, 4 and 5, and the two that RFC 2890 took are 2 and 3 */
            assert_int_equal(rc, RC_SYNTAX);
            continue;
        }
        OK(rc); /* bits 6 to 12 MUST be ignored */
        assert_int_equal(h.flags, flags & 0xb000);
        assert_int_equal(h.proto, 0x86dd);
        assert_int_equal(h.len, 4 + 4 * c + 4 * k + 4 * s);
        assert_int_equal(h.key, !k ? 0 : c ? 0x21222324 : 0x11121314);
        assert_int_equal(h.sequence, !s ? 0 : c && k ? 0x31323334 : c || k ? 0x21222324 : 0x11121314);
        struct gre_header again = {.len = 99};
        for (size_t n = 0; n < h.len; n++) {
            struct span copy = exact_copy(span_of(p, n));
            assert_int_equal(wire_gre_read(copy.p, copy.n, &again), RC_SHORT);
            exact_free(copy);
        }
        assert_int_equal(again.len, 99);
        if (flags & 0x03f8)
            continue;
        uint8_t out[64]; /* and back */
        memset(out, 0xee, sizeof out);
        wire_gre_write(out, &h);
        if (c)
            p[4] = p[5] = p[6] = p[7] = 0; /* checksum and Reserved1 */
        assert_memory_equal(out, p, h.len);
        assert_int_equal(out[h.len], 0xee);
        for (size_t n = h.len; c && n < 60; n++) {
            wire_gre_write(out, &h);
            wire_gre_seal(out, n);
            assert_int_equal(inet_checksum(out, n), 0);
            assert_int_equal(be16(out + 6), 0);
        }
    }
}

/* ---- ESP's trailer (RFC 4303 2.4) ---------------------------------------------------------------- */

static void esp_trailer(void **state)
{
    (void)state;
    for (uint32_t align = 4; align <= 16; align *= 4)
        for (uint32_t n = 0; n < 64; n++) {
            uint32_t text = wire_esp_text_len(n, align), payload;
            uint8_t p[96], next;
            assert_int_equal(text % align, 0);
            assert_true(text >= n + 2 && text < n + 2 + align);
            memset(p, 0xee, sizeof p);
            wire_esp_trailer_write(p, n, text, 41);
            assert_int_equal(p[text], 0xee);
            for (uint32_t i = n; i < text - 2; i++)
                assert_int_equal(p[i], i - n + 1);
            assert_int_equal(p[text - 2], text - 2 - n);
            assert_int_equal(p[text - 1], 41);
            OK(wire_esp_trailer_read(p, text, &payload, &next));
            assert_int_equal(payload, n);
            assert_int_equal(next, 41);
            for (uint32_t i = n; i < text - 2; i++) {
                p[i] ^= 1;
                assert_int_equal(wire_esp_trailer_read(p, text, &payload, &next), RC_SYNTAX);
                p[i] ^= 1;
            }
            p[text - 2] = (uint8_t)(text - 1); /* more than there is */
            assert_int_equal(wire_esp_trailer_read(p, text, &payload, &next), RC_SYNTAX);
        }
    uint8_t p[257], next; /* 255 octets of padding and nothing else */
    uint32_t payload;
    wire_esp_trailer_write(p, 0, 257, 59);
    OK(wire_esp_trailer_read(p, 257, &payload, &next));
    assert_int_equal(payload, 0);
    assert_int_equal(wire_esp_trailer_read(p, 0, &payload, &next), RC_SYNTAX);
    assert_int_equal(wire_esp_trailer_read(p, 1, &payload, &next), RC_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(too_big_4),
        TEST(too_big_6),
        TEST(too_big_without_room),
        TEST(errors_about_ipv4),
        TEST(errors_about_ipv6),
        TEST(too_big_read),
        TEST(too_big_not_read),
        TEST(mss_is_lowered),
        TEST(mss_stays),
        TEST(mss_behind_bad_options),
        TEST(gre_every_flag_word),
        TEST(esp_trailer),
    };
    return cmocka_run_group_tests_name("wire_icmp", tests, NULL, NULL);
}
