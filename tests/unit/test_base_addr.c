/* Addresses, endpoints and prefixes: text both ways, comparison, containment. */
#include "lib/unit.h"

static struct addr a(const char *text)
{
    struct addr ret;
    OK(addr_parse(text, &ret));
    return ret;
}
static struct prefix p(const char *text)
{
    struct prefix ret;
    OK(prefix_parse(text, &ret));
    return ret;
}
static bool same(const char *x, const char *y)
{
    struct addr ax = a(x), ay = a(y);
    return addr_equal(&ax, &ay);
}
static bool contains(const char *x, const char *y)
{
    struct prefix px = p(x);
    struct addr ay = a(y);
    return prefix_contains(&px, &ay);
}
static bool overlaps(const char *x, const char *y)
{
    struct prefix px = p(x), py = p(y);
    assert_int_equal(prefix_overlaps(&px, &py), prefix_overlaps(&py, &px));
    return prefix_overlaps(&px, &py);
}

static void addresses_parse(void **state)
{
    (void)state;
    struct addr v4 = a("192.0.2.1"), v6 = a("2001:db8::1");
    assert_int_equal(v4.family, 4);
    assert_int_equal(addr_size(&v4), 4);
    assert_span_equal(span_of(v4.b, 16), hex("c0000201 00000000 00000000 00000000"));
    assert_int_equal(v6.family, 6);
    assert_span_equal(span_of(v6.b, addr_size(&v6)), hex("20010db8 00000000 00000000 00000001"));
    assert_true(same("2001:DB8:0:0::1", "2001:db8::1"));
    assert_false(same("::ffff:192.0.2.1", "192.0.2.1"));
    struct addr made = addr_of(4, v4.b);
    assert_true(addr_equal(&made, &v4));
}

static void bad_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",           "1.2.3",     "1.2.3.4.5", "256.0.0.1", " 1.2.3.4",   "1.2.3.4 ",
                                      "1.2.3.4/32", "0x1.2.3.4", ":",         "1::2::3",   "fe80::1%lo", "host"};
    struct addr untouched = a("192.0.2.9"), before = untouched;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(addr_parse(bad[i], &untouched), RC_SYNTAX);
        assert_memory_equal(&untouched, &before, sizeof before);
    }
}

static void addresses_print(void **state)
{
    (void)state;
    char text[ADDR_TEXT], endpoint[ENDPOINT_TEXT];
    struct endpoint e = {.addr = a("192.0.2.1"), .port = 500};
    assert_string_equal(addr_text(&e.addr, text), "192.0.2.1");
    assert_string_equal(endpoint_text(&e, endpoint), "192.0.2.1:500");
    e = (struct endpoint){.addr = a("2001:0db8::0001"), .port = 4500};
    assert_string_equal(endpoint_text(&e, endpoint), "[2001:db8::1]:4500");
    e.addr = a("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    e.port = 65535;
    assert_string_equal(endpoint_text(&e, endpoint), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    assert_string_equal(addr_text(&(struct addr){0}, text), "none");
}

static void addresses_order(void **state)
{
    (void)state;
    struct addr small = a("10.0.0.9"), big = a("10.0.1.0"), six = a("::");
    assert_true(addr_compare(&small, &big) < 0);
    assert_true(addr_compare(&big, &small) > 0);
    assert_true(addr_compare(&big, &six) < 0);
    assert_int_equal(addr_compare(&six, &six), 0);
    struct endpoint e = {.addr = small, .port = 1}, f = {.addr = small, .port = 2};
    assert_false(endpoint_equal(&e, &f));
    f.port = 1;
    assert_true(endpoint_equal(&e, &f));
}

static void local_scope(void **state)
{
    (void)state;
    static const char *const local[] = {"127.0.0.1", "127.255.0.1",     "0.0.0.0", "169.254.1.1",
                                        "224.0.0.1", "255.255.255.255", "::",      "::1",
                                        "fe80::1",   "febf::1",         "ff02::1"};
    static const char *const global[] = {"10.0.0.1", "128.0.0.1",   "169.253.0.1", "223.255.255.255",
                                         "fec0::1",  "2001:db8::1", "::2",         "fd00::1"};
    for (size_t i = 0; i < ARRAY_LEN(local); i++) {
        struct addr x = a(local[i]);
        assert_true(addr_is_local_scope(&x));
    }
    for (size_t i = 0; i < ARRAY_LEN(global); i++) {
        struct addr x = a(global[i]);
        assert_false(addr_is_local_scope(&x));
    }
    assert_true(addr_is_local_scope(&(struct addr){0}));
}

static void prefixes_parse_and_print(void **state)
{
    (void)state;
    char text[PREFIX_TEXT];
    struct prefix x = p("10.0.0.1/31");
    assert_int_equal(x.len, 31);
    assert_string_equal(prefix_text(&x, text), "10.0.0.1/31"); /* host bits are kept */
    x = prefix_network(x);
    assert_string_equal(prefix_text(&x, text), "10.0.0.0/31");
    assert_int_equal(p("192.0.2.1").len, 32);
    assert_int_equal(p("2001:db8::").len, 128);
    x = prefix_network(p("2001:db8:ffff::1/33"));
    assert_string_equal(prefix_text(&x, text), "2001:db8:8000::/33");
    x = prefix_network(p("1.2.3.4/0"));
    assert_string_equal(prefix_text(&x, text), "0.0.0.0/0");
}

static void bad_prefixes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "10.0.0.0/",   "10.0.0.0/-1",
        "10.0.0.0/+8", "10.0.0.0/8x",
        "10.0.0.0/ 8", "/8",
        "10.0.0/8",    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/8"};
    struct prefix untouched = p("10.0.0.0/8"), before = untouched;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(prefix_parse(bad[i], &untouched), RC_SYNTAX);
    assert_int_equal(prefix_parse("10.0.0.0/33", &untouched), RC_RANGE);
    assert_int_equal(prefix_parse("::/129", &untouched), RC_RANGE);
    assert_int_equal(prefix_parse("10.0.0.0/99999999999999999999999", &untouched), RC_RANGE);
    assert_memory_equal(&untouched, &before, sizeof before);
}

static void containment(void **state)
{
    (void)state;
    assert_true(contains("10.1.0.0/16", "10.1.255.255"));
    assert_false(contains("10.1.0.0/16", "10.2.0.0"));
    assert_true(contains("10.1.0.0/17", "10.1.127.1"));
    assert_false(contains("10.1.0.0/17", "10.1.128.0"));
    assert_true(contains("0.0.0.0/0", "255.255.255.255"));
    assert_false(contains("0.0.0.0/0", "::"));
    assert_true(contains("2001:db8::/127", "2001:db8::1"));
    assert_false(contains("2001:db8::/127", "2001:db8::2"));
    assert_true(contains("192.0.2.1", "192.0.2.1"));
}

static void overlap(void **state)
{
    (void)state;
    assert_true(overlaps("10.0.0.0/8", "10.1.0.0/16"));
    assert_true(overlaps("10.0.0.0/8", "10.0.0.0/8"));
    assert_false(overlaps("10.0.0.0/9", "10.128.0.0/9"));
    assert_false(overlaps("0.0.0.0/0", "::/0"));
    struct prefix x = p("10.0.0.0/8"), y = p("10.0.0.0/9");
    assert_false(prefix_equal(&x, &y));
    y.len = 8;
    assert_true(prefix_equal(&x, &y));
}

/* Only what is a prefix to the last bit comes out as one. */
static void ranges_that_are_prefixes(void **state)
{
    (void)state;
    static const struct {
        const char *first, *last, *prefix; /* NULL: none */
    } row[] = {
        {"10.0.0.0", "10.0.0.3", "10.0.0.0/30"},
        {"10.0.0.7", "10.0.0.7", "10.0.0.7/32"},
        {"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
        {"10.0.0.0", "10.0.0.2", NULL},
        {"10.0.0.1", "10.0.0.3", NULL},
        {"10.0.0.0", "10.0.1.254", NULL},
        {"10.0.0.1", "10.0.0.0", NULL},
        {"2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8::/63"},
        {"2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:fffe", NULL},
        {"0.0.0.0", "::", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct addr first = a(row[i].first), last = a(row[i].last);
        struct prefix got = {.len = 99};
        assert_int_equal(prefix_of_range(&first, &last, &got), row[i].prefix ? RC_OK : RC_RANGE);
        struct prefix expected = row[i].prefix ? p(row[i].prefix) : got;
        assert_true(prefix_equal(&got, &expected));
        assert_true(row[i].prefix || got.len == 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(addresses_parse), TEST(bad_addresses_are_refused), TEST(addresses_print), TEST(addresses_order),
        TEST(local_scope),     TEST(prefixes_parse_and_print),  TEST(containment),     TEST(bad_prefixes_are_refused),
        TEST(overlap),         TEST(ranges_that_are_prefixes),
    };
    return cmocka_run_group_tests_name("base_addr", tests, NULL, NULL);
}
