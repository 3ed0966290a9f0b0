/* Bodies of KE, Nonce, ID, AUTH, Notify, Delete, TS (RFC 7296 3.4-3.13) and SKF (RFC 7383 2.5); adversarial rows 6, 10, 18, 27,
 * 29, 32, 33, 37. */
#include "adit/wire_ike.h"
#include "lib/unit.h"

static uint8_t space[70000];
static struct ike_writer iw;

/* The body of the one payload just written. */
static struct span written(uint8_t type)
{
    static struct ike_chain c;
    struct ike_error e;
    struct span s;
    OK(ike_write_finish(&iw, &s));
    OK(ike_chain_read(ike_write_first(&iw), s, &c, &e));
    assert_int_equal(c.n, 1);
    assert_int_equal(c.v[0].type, type);
    assert_null(ike_chain_critical(&c));
    ike_write_inner(&iw, wr_of(space, sizeof space));
    return c.v[0].body;
}

static int start(void **state)
{
    (void)state;
    ike_write_inner(&iw, wr_of(space, sizeof space));
    return 0;
}

static void ke(void **state)
{
    (void)state;
    struct ike_ke k = {.method = 99};
    OK(ike_ke_read(hex("0014 ffff aabbcc"), &k)); /* RESERVED is ignored */
    assert_int_equal(k.method, 20);
    assert_span_equal(k.data, hex("aabbcc"));
    OK(ike_ke_read(hex("0401 0000"), &k)); /* no data, private group: others judge */
    assert_int_equal(k.method, 1025);
    assert_int_equal(k.data.n, 0);
    k.method = 99;
    assert_int_equal(ike_ke_read(hex("001400"), &k), RC_SHORT);
    assert_int_equal(ike_ke_read(hex(""), &k), RC_SHORT);
    assert_int_equal(k.method, 99);
    ike_write_ke(&iw, 36, hex("0102"));
    assert_span_equal(written(PAYLOAD_KE), hex("0024 0000 0102"));
}

static void nonce_of_16_to_256_octets(void **state)
{
    (void)state;
    static const uint8_t zeros[300];
    static const struct {
        size_t n;
        enum rc rc;
    } cases[] = {{0, RC_SYNTAX}, {1, RC_SYNTAX}, {15, RC_SYNTAX},  {16, RC_OK},
                 {32, RC_OK},    {256, RC_OK},   {257, RC_SYNTAX}, {300, RC_SYNTAX}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(ike_nonce_check(span_of(zeros, cases[i].n)), cases[i].rc);
    ike_write_nonce(&iw, hex("0102"));
    assert_span_equal(written(PAYLOAD_NONCE), hex("0102"));
}

static void identity(void **state)
{
    (void)state;
    struct ike_id id = {.type = 99};
    struct span body = hex("0b a1b2c3 00257f00"); /* embedded NULs, RESERVED not zero */
    OK(ike_id_read(body, &id));
    assert_int_equal(id.type, 11);
    assert_span_equal(id.data, hex("00257f00"));
    assert_span_equal(id.maced, body); /* AUTH covers RESERVED as received, RFC 7296 2.15 */
    OK(ike_id_read(hex("00 000000"), &id));
    assert_int_equal(id.data.n, 0);
    id.type = 99;
    assert_int_equal(ike_id_read(hex("020000"), &id), RC_SHORT);
    assert_int_equal(ike_id_read(hex(""), &id), RC_SHORT);
    assert_int_equal(id.type, 99);
    ike_write_id(&iw, PAYLOAD_IDR, 2, span_str("a.b"));
    assert_span_equal(written(PAYLOAD_IDR), hex("02 000000 612e62"));
}

/* Row 27: the longest identity a payload can hold is borrowed, never copied. */
static void identity_of_65_527_octets(void **state)
{
    (void)state;
    static uint8_t name[65535 - 8];
    struct ike_id id;
    memset(name, '%', sizeof name);
    ike_write_id(&iw, PAYLOAD_IDI, 11, span_of(name, sizeof name));
    struct span body = written(PAYLOAD_IDI);
    OK(ike_id_read(body, &id));
    assert_ptr_equal(id.data.p, body.p + 4);
    assert_int_equal(id.data.n, sizeof name);
}

static void auth(void **state)
{
    (void)state;
    struct ike_auth a = {.method = 99};
    OK(ike_auth_read(hex("02 ffffff aabb"), &a));
    assert_int_equal(a.method, AUTH_SHARED_KEY_MIC);
    assert_span_equal(a.data, hex("aabb"));
    a.method = 99;
    assert_int_equal(ike_auth_read(hex("020000"), &a), RC_SHORT);
    assert_int_equal(a.method, 99);
    ike_write_auth(&iw, 2, hex("cc"));
    assert_span_equal(written(PAYLOAD_AUTH), hex("02 000000 cc"));
}

static void notify(void **state)
{
    (void)state;
    struct ike_notify n = {.type = 99};
    OK(ike_notify_read(hex("03 04 4009 aabbccdd"), &n)); /* REKEY_SA */
    assert_int_equal(n.protocol, PROTO_ESP);
    assert_int_equal(n.type, N_REKEY_SA);
    assert_span_equal(n.spi, hex("aabbccdd"));
    assert_int_equal(n.data.n, 0);
    OK(ike_notify_read(hex("00 00 0011 0014"), &n)); /* INVALID_KE_PAYLOAD */
    assert_int_equal(n.spi.n, 0);
    assert_span_equal(n.data, hex("0014"));
    OK(ike_notify_read(hex("63 08 4009 0102030405060708 ff"), &n)); /* row 33: odd protocol, SPI of 8 */
    assert_int_equal(n.protocol, 99);
    assert_int_equal(n.spi.n, 8);
    assert_span_equal(n.data, hex("ff"));
    n.type = 99;
    assert_int_equal(ike_notify_read(hex("000040"), &n), RC_SHORT);
    assert_int_equal(ike_notify_read(hex("03044009 aabbcc"), &n), RC_SHORT);
    assert_int_equal(ike_notify_read(hex("03ff4009 aabbccdd"), &n), RC_SHORT);
    assert_int_equal(n.type, 99);
}

static void notify_is_written(void **state)
{
    (void)state;
    ike_write_notify(&iw, PROTO_ESP, hex("aabbccdd"), N_REKEY_SA, span_of(NULL, 0));
    assert_span_equal(written(PAYLOAD_NOTIFY), hex("03 04 4009 aabbccdd"));
    /* "If the SPI field is empty, this field MUST be sent as zero" */
    ike_write_notify(&iw, PROTO_ESP, span_of(NULL, 0), N_INVALID_KE_PAYLOAD, hex("0014"));
    assert_span_equal(written(PAYLOAD_NOTIFY), hex("00 00 0011 0014"));
}

static void first_notify_of_a_type_is_found(void **state)
{
    (void)state;
    struct ike_chain c;
    struct ike_error e;
    struct ike_notify n = {.type = 99};
    struct span s = hex(
        "29 00 0009 0000 4005 01 | 2b 00 0009 0000 4004 02 | 29 00 0004 | 29 00 0009 0000 4004 03 | 00 00 0006 0304");
    OK(ike_chain_read(PAYLOAD_NOTIFY, s, &c, &e));
    assert_false(ike_notify_find(&c, N_COOKIE, &n));
    assert_int_equal(n.type, 99);
    assert_true(ike_notify_find(&c, N_NAT_DETECTION_SOURCE_IP, &n));
    assert_span_equal(n.data, hex("02"));
    assert_true(ike_notify_find(&c, N_NAT_DETECTION_DESTINATION_IP, &n));
    assert_span_equal(n.data, hex("01"));
}

static void delete_payload(void **state)
{
    (void)state;
    struct ike_delete d = {.n = 99};
    OK(ike_delete_read(hex("01 00 0000"), &d));
    assert_int_equal(d.protocol, PROTO_IKE);
    assert_int_equal(d.n, 0);
    OK(ike_delete_read(hex("03 04 0002 00000101 00000102"), &d));
    assert_int_equal(d.n, 2);
    assert_int_equal(rd_u32(&d.spis), 0x101);
    assert_int_equal(rd_u32(&d.spis), 0x102);
    assert_true(rd_done(&d.spis));
    OK(ike_delete_read(hex("02 04 0001 00000101"), &d)); /* AH: well-formed, though not ours */
    OK(ike_delete_read(hex("03 04 0000"), &d));
}

static void bad_delete_payloads(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "01 00 00",
        "01 04 0001 00000101", /* IKE: the size MUST be zero */
        "01 08 0001 0102030405060708",
        "01 00 0001", /* and there are no SPIs */
        "03 00 0001", /* ESP: the size MUST be four */
        "03 08 0001 0102030405060708",
        "03 04 0001", /* fewer than said */
        "03 04 0002 00000101",
        "03 04 ffff 00000101",
        "03 ff ffff 00000101",
        "03 04 0001 00000101 00", /* more than said */
        "01 00 0000 00",
        "00 00 0000", /* protocols that do not exist */
        "04 04 0001 00000101",
    };
    struct ike_delete d = {.n = 99};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct span s = exact_copy(hex(bad[i]));
        assert_int_not_equal(ike_delete_read(s, &d), RC_OK);
        exact_free(s);
    }
    assert_int_equal(d.n, 99);
}

static void delete_is_written(void **state)
{
    (void)state;
    ike_write_delete_ike(&iw);
    assert_span_equal(written(PAYLOAD_DELETE), hex("01 00 0000"));
    ike_write_delete_esp(&iw, (uint32_t[]){0x101, 0x102}, 2);
    assert_span_equal(written(PAYLOAD_DELETE), hex("03 04 0002 00000101 00000102"));
}

#define TS4 "07 2f 0010 0001 fffe 0a000000 0a0000ff |"
#define TS6 "08 00 0028 0000 ffff 20010db8000000000000000000000000 20010db80000000000000000ffffffff |"

static void selectors(void **state)
{
    (void)state;
    uint8_t n;
    struct rd r;
    struct ike_ts ts;
    OK(ike_ts_read(hex("03 ffffff " TS4 "f1 00 0008 01020304 |" TS6), &n, &r));
    assert_int_equal(n, 3);
    assert_true(ike_ts_next(&r, &ts));
    assert_int_equal(ts.type, TS_IPV4_ADDR_RANGE);
    assert_int_equal(ts.proto, 47);
    assert_int_equal(ts.port_first, 1);
    assert_int_equal(ts.port_last, 0xfffe);
    char text[ADDR_TEXT];
    assert_string_equal(addr_text(&ts.first, text), "10.0.0.0");
    assert_string_equal(addr_text(&ts.last, text), "10.0.0.255");
    assert_true(ike_ts_next(&r, &ts)); /* unknown types are passed on, to be ignored */
    assert_int_equal(ts.type, 0xf1);
    assert_int_equal(ts.first.family, 0);
    assert_true(ike_ts_next(&r, &ts));
    assert_string_equal(addr_text(&ts.last, text), "2001:db8::ffff:ffff");
    assert_false(ike_ts_next(&r, &ts));
}

static void selector_values_are_not_judged(void **state)
{
    (void)state;
    uint8_t n;
    struct rd r;
    struct ike_ts ts;
    OK(ike_ts_read(hex("01 000000 07 00 0010 ffff 0000 0a000002 0a000001"), &n, &r)); /* OPAQUE ports; start > end */
    assert_true(ike_ts_next(&r, &ts));
    assert_int_equal(ts.port_first, 65535);
    assert_int_equal(ts.port_last, 0);
    OK(ike_ts_read(hex("00 000000"), &n, &r)); /* none at all */
    assert_int_equal(n, 0);
    assert_false(ike_ts_next(&r, &ts));
}

static void bad_selectors(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "01 0000",
        "01 000000",      /* none there */
        "00 000000 " TS4, /* one too many */
        "02 000000 " TS4,
        "ff 000000 " TS4,
        "01 000000 07 00 0000 0000 ffff 0a000000 0a0000ff", /* selector lengths */
        "01 000000 07 00 0003 0000 ffff 0a000000 0a0000ff",
        "01 000000 07 00 000f 0000 ffff 0a000000 0a0000",
        "01 000000 07 00 0011 0000 ffff 0a000000 0a0000ff 00",
        "01 000000 07 00 0028 0000 ffff 0a000000 0a0000ff",
        "01 000000 07 00 ffff 0000 ffff 0a000000 0a0000ff",
        "01 000000 08 00 0029 0000 ffff 20010db8000000000000000000000000 20010db80000000000000000ffffffff 00",
        "01 000000 08 00 0010 0000 ffff 0a000000 0a0000ff", /* IPv4 in the name of IPv6 */
        "01 000000 07 00 0028 0000 ffff 20010db8000000000000000000000000 20010db80000000000000000ffffffff",
        "01 000000 f1 00 0003",
        "01 000000 f1 00 0005",
    };
    uint8_t n = 99;
    struct rd r;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct span s = exact_copy(hex(bad[i]));
        assert_int_not_equal(ike_ts_read(s, &n, &r), RC_OK);
        exact_free(s);
    }
    assert_int_equal(n, 99);
}

static void selectors_are_written(void **state)
{
    (void)state;
    uint8_t n;
    struct rd r;
    struct ike_ts ts[2];
    struct span body = hex("02 000000 " TS4 TS6);
    OK(ike_ts_read(body, &n, &r));
    assert_true(ike_ts_next(&r, &ts[0]));
    assert_true(ike_ts_next(&r, &ts[1]));
    ike_write_ts(&iw, PAYLOAD_TSR, ts, 2);
    assert_span_equal(written(PAYLOAD_TSR), body);
}

static void all_255_selectors(void **state)
{
    (void)state;
    static struct ike_ts many[255];
    uint8_t n;
    unsigned seen = 0;
    struct rd r;
    struct ike_ts ts;
    for (unsigned i = 0; i < 255; i++)
        many[i] = (struct ike_ts){.type = TS_IPV4_ADDR_RANGE, .port_last = (uint16_t)i};
    ike_write_ts(&iw, PAYLOAD_TSI, many, 255);
    OK(ike_ts_read(written(PAYLOAD_TSI), &n, &r));
    while (ike_ts_next(&r, &ts))
        assert_int_equal(ts.port_last, seen++);
    assert_int_equal(seen, 255);
}

static void fragment_numbers(void **state)
{
    (void)state;
    struct ike_skf f = {.total = 99};
    OK(ike_skf_read(hex("0002 0003 aabb"), &f));
    assert_int_equal(f.number, 2);
    assert_int_equal(f.total, 3);
    assert_span_equal(f.rest, hex("aabb"));
    OK(ike_skf_read(hex("0001 0001"), &f));
    OK(ike_skf_read(hex("ffff ffff"), &f)); /* how many we take is not the codec's business */
    f.total = 99;
    assert_int_equal(ike_skf_read(hex("0000 0003 aabb"), &f), RC_RANGE);
    assert_int_equal(ike_skf_read(hex("0001 0000 aabb"), &f), RC_RANGE);
    assert_int_equal(ike_skf_read(hex("0004 0003 aabb"), &f), RC_RANGE);
    assert_int_equal(ike_skf_read(hex("000100"), &f), RC_SHORT);
    assert_int_equal(f.total, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ke),
        TEST(nonce_of_16_to_256_octets),
        TEST(identity),
        TEST(identity_of_65_527_octets),
        TEST(auth),
        TEST(notify),
        TEST(notify_is_written),
        TEST(first_notify_of_a_type_is_found),
        TEST(delete_payload),
        TEST(bad_delete_payloads),
        TEST(delete_is_written),
        TEST(selectors),
        TEST(selector_values_are_not_judged),
        TEST(bad_selectors),
        TEST(selectors_are_written),
        TEST(all_255_selectors),
        TEST(fragment_numbers),
    };
    return cmocka_run_group_tests_name("wire_ike_payload", tests, start, NULL);
}
