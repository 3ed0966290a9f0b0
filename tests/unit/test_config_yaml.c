/* YAML: the forms a file may have, what is refused and where, files that were made to hurt, and the time that a large one takes. */
#include "lib/config_full.h"
#include "lib/unit.h"

#include <stdio.h>

#define TOP(rest) "version: 1\nendpoints: [198.51.100.2]\n" rest
#ifndef SLOWER /* given where the processor is emulated */
#if defined __SANITIZE_ADDRESS__ || !defined __OPTIMIZE__
#define SLOWER 10
#else
#define SLOWER 1
#endif
#endif

static char *file_read(const char *path)
{
    static char text[65536];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    assert_in_range(n, 1, sizeof text - 2);
    text[n] = 0;
    return text;
}

static void assert_refused(struct span text, unsigned line, unsigned col, const char *what, const char *remedy)
{
    struct loaded l = load_bytes(NULL, text);
    assert_int_equal(l.rc, RC_SYNTAX);
    assert_null(l.c);
    assert_true(report_has(&l.report, line, col, what, remedy, ""));
    loaded_free(&l);
}

/* ---- the forms of one configuration */

static void assert_same(const char *a, const char *b)
{
    struct loaded x = load_text(NULL, a), y = load_text(NULL, b);
    struct config_diff diff = {0};
    assert_true(report_empty(&x.report) && report_empty(&y.report));
    OK(x.rc);
    OK(y.rc);
    OK(config_diff(x.c, y.c, &diff));
    assert_int_equal(diff.n, 0);
    assert_int_equal(diff.sections, 0);
    config_diff_free(&diff);
    loaded_free(&x);
    loaded_free(&y);
}

#define BLOCK                                \
    "version: 1\n"                           \
    "endpoints:\n"                           \
    "  - 198.51.100.2\n"                     \
    "accounts:\n"                            \
    "  - id: a\n"                            \
    "    netns: a\n"                         \
    "    tunnels:\n"                         \
    "      - name: g\n"                      \
    "        type: gre\n"                    \
    "        endpoint: 198.51.100.2\n"       \
    "        customer_endpoint: 192.0.2.3\n" \
    "        key: 7\n"                       \
    "        outer:\n"                       \
    "          df: set\n"                    \
    "        allow_sources:\n"               \
    "          - 172.16.0.0/12\n"            \
    "    routes:\n"                          \
    "      - prefix: 10.0.0.0/8\n"           \
    "        tunnel: g\n"
#define JSON                                                                                                     \
    "{\"version\": 1, \"endpoints\": [\"198.51.100.2\"], \"accounts\": [{\"id\": \"a\", \"netns\": \"a\",\n"     \
    "\"tunnels\": [{\"name\": \"g\", \"type\": \"gre\", \"endpoint\": \"198.51.100.2\", \"customer_endpoint\": " \
    "\"192.0.2.3\", \"key\": 7, \"outer\": {\"df\": \"set\"}, \"allow_sources\": [\"172.16.0.0/12\"]}],\n"       \
    "\"routes\": [{\"prefix\": \"10.0.0.0/8\", \"tunnel\": \"g\"}]}]}"

static void test_flow_and_json(void **state)
{
    (void)state;
    assert_same(BLOCK, JSON);
    assert_same(BLOCK,
                "version: 1\nendpoints: [198.51.100.2]\naccounts: [{id: a, netns: a, tunnels: [{name: g, type: gre, "
                "endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3, key: 0x7, outer: {df: set}, allow_sources: "
                "[172.16.0.0/12]}], routes: [{prefix: 10.0.0.0/8, tunnel: g}]}]\n");
}

static void test_order_quotes_and_comments(void **state)
{
    (void)state;
    assert_same(BLOCK, "# a comment\n---\naccounts:\n- routes: [{tunnel: 'g', prefix: \"10.0.0.0/8\"}]\n  tunnels:\n"
                       "  - outer: {df: \"set\"} # set\n    allow_sources: ['172.16.0.0/12']\n    key: \"7\"\n"
                       "    customer_endpoint: 192.0.2.3\n    endpoint: 198.51.100.2\n    type: gre\n    name: g\n"
                       "  netns: a\n  id: 'a'\nendpoints: [198.51.100.2]\nversion: 1\n...\n");
}

static void test_crlf_and_byte_order_mark(void **state)
{
    (void)state;
    char crlf[2 * sizeof BLOCK], bom[sizeof BLOCK + 3];
    size_t n = 0;
    for (const char *p = BLOCK; *p; p++) {
        if (*p == '\n')
            crlf[n++] = '\r';
        crlf[n++] = *p;
    }
    crlf[n] = 0;
    assert_same(BLOCK, crlf);
    snprintf(bom, sizeof bom, "\xef\xbb\xbf%s", BLOCK);
    assert_same(BLOCK, bom);
}

static void test_place_in_a_crlf_file(void **state)
{
    (void)state;
    assert_refused(span_str("version: 1\r\n\r\nworkers: 99\r\n"), 3, 10, "workers 99 is out of range", "use 0 to 64");
}

static void test_the_demonstration_loads(void **state)
{
    (void)state;
    struct files f = {.any = GOOD_PSK};
    struct loaded l = load_text(&f, file_read("conf/demo.yaml"));
    assert_true(report_empty(&l.report)); /* nothing in it waits for a later version */
    OK(l.rc);
    assert_int_equal(l.c->n_tunnels, 2);
    assert_int_equal(l.c->n_routes, 2);
    loaded_free(&l);
}

static void test_the_example_of_the_readme_loads(void **state)
{
    (void)state;
    struct files f = {.any = GOOD_PSK};
    char *text = strstr(file_read("README.md"), "```yaml\n");
    assert_non_null(text);
    text += strlen("```yaml\n");
    char *end = strstr(text, "```");
    assert_non_null(end);
    *end = 0;
    struct loaded l = load_text(&f, text);
    assert_true(report_empty(&l.report));
    OK(l.rc);
    assert_int_equal(l.c->n_tunnels, 2);
    const struct config_account *a = l.c->accounts.v;
    assert_string_equal(config_account_label(a), "acme");
    assert_string_equal(a->tunnels.v[0].name, "acme-gre");
    assert_int_equal(a->tunnels.v[1].pq, PQ_REQUIRE);
    assert_span_equal(a->tunnels.v[1].psk.v[0].value, span_str(GOOD_PSK));
    loaded_free(&l);
}

/* ---- what is refused */

static void test_anchors_aliases_tags(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
        unsigned line, col;
    } cases[] = {
        {"version: &v 1\n", "anchors (&) and tags (!)", 1, 10},
        {"version: 1\nlog: &l {level: info}\n", "anchors (&) and tags (!)", 2, 6},
        {"version: 1\nendpoints: &e [198.51.100.2]\n", "anchors (&) and tags (!)", 2, 12},
        {"version: 1\nworkers: *w\n", "aliases (*)", 2, 10},
        {"version: 1\n<<: *base\n", "aliases (*)", 2, 5},
        {"version: !!int 1\n", "anchors (&) and tags (!)", 1, 10},
        {"version: !!python/object/apply:os.system [ls]\n", "anchors (&) and tags (!)", 1, 10},
        {"!!map\nversion: 1\n", "anchors (&) and tags (!)", 1, 1},
        {"version: ! 1\n", "anchors (&) and tags (!)", 1, 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(span_str(cases[i].text), cases[i].line, cases[i].col, cases[i].what, "write the value itself");
}

static void test_documents(void **state)
{
    (void)state;
    assert_refused(span_str("version: 1\n---\nversion: 1\n"), 2, 1, "a second YAML document", "keep one document");
    assert_refused(span_str(""), 1, 1, "version is missing", "");
    assert_refused(span_str("# nothing\n"), 1, 1, "version is missing", "");
    assert_refused(span_str("%YAML 3.0\n---\nversion: 1\n"), 1, 1, "not YAML: found incompatible YAML document", "");
    assert_refused(span_str("just text\n"), 1, 1, "top level is a single value", "write its keys");
}

static void test_malformed_yaml(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line, col;
    } cases[] = {
        {"version: 1\n log: {}\n", 2, 5},
        {"version: [1\n", 2, 1},
        {"version: \"1\n", 2, 1},
        {"version: 1\n\tlog: {}\n", 2, 1},
        {"version: 1\n}\n", 2, 1},
        {"a: b: c\n", 1, 5},
        {"version: 1\nlog: {level: info]\n", 2, 18},
        {"version: 1\n- a\n", 2, 1},
        {"version: \"\\q\"\n", 1, 11},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(span_str(cases[i].text), cases[i].line, cases[i].col, "not YAML: ", "look for indentation");
}

static void test_octets_that_are_no_text(void **state)
{
    (void)state;
    static const char nul[] = "version: 1\nlog: {level: in\0fo}\n";
    assert_refused(span_of(nul, sizeof nul - 1), 2, 16, "not UTF-8 text (control characters are not allowed)", "UTF-8");
    assert_refused(span_str("version: \"\\0\"\n"), 1, 10, "holds a NUL character", "remove it");
    assert_refused(span_str("version: 1\n# \xff\n"), 2, 3, "not UTF-8 text (invalid leading UTF-8 octet)",
                   "save the file");
    assert_refused(span_str("version: 1\nx: \xc0\x80\n"), 2, 4, "not UTF-8 text", "save the file");     /* overlong */
    assert_refused(span_str("version: 1\nx: \xed\xa0\x80\n"), 2, 4, "not UTF-8 text", "save the file"); /* surrogate */
    assert_refused(span_str("version: 1\nx: \xf5\x80\x80\x80\n"), 2, 4, "not UTF-8 text",
                   "save the file");                                                              /* > 10ffff */
    assert_refused(span_str("version: 1\nx: \xe2\x82"), 2, 4, "not UTF-8 text", "save the file"); /* cut short */
    static const char utf16[] = "\xff\xfev\0e\0r\0s\0i\0o\0n\0:\0 \0001\0\n\0";
    assert_refused(span_of(utf16, sizeof utf16 - 1), 1, 1, "not UTF-8 text", "save the file");
    assert_refused(span_str("\x1b[31m: 1\n"), 1, 1, "not UTF-8 text (control characters", "");
}

/* Each names what YAML cannot hold as it stands: a dump could not be read back. */
static void test_text_that_is_no_line(void **state)
{
    (void)state;
    static const char *const escapes[] = {"\\x7f", "\\x80", "\\N", "\\L", "\\P", "\\ufeff", "\\ufffe", "\\n", "\\e"};
    for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
        char text[512];
        snprintf(text, sizeof text, HEAD "      - {name: g, type: gre, description: \"a%sb\"}\n", escapes[i]);
        assert_refused(span_str(text), 9, 43, "holds a control character", "one line of printable text");
    }
    assert_refused(span_str("version: 1\nfleet: {etcd: {endpoints: [\"https://a\\x01\"]}}\n"), 2, 28, "is not a URL",
                   "");
}

/* ---- made to hurt */

static char *repeated(const char *head, const char *unit, size_t times)
{
    size_t n = strlen(unit), at = strlen(head);
    char *text = malloc(at + n * times + 1);
    assert_non_null(text);
    memcpy(text, head, at);
    for (size_t i = 0; i < times; i++, at += n)
        memcpy(text + at, unit, n);
    text[at] = 0;
    return text;
}

static void test_bombs_are_refused_in_no_time(void **state)
{
    (void)state;
    static const struct {
        const char *head, *unit;
        size_t times;
        const char *what;
    } cases[] = {
        {"version: 1\nx: ", "[", 1000000, "nested more than 12 levels"},
        {"version: 1\nx: ", "{a: ", 500000, "nested more than 12 levels"},
        {"version: 1\nx:\n", "- ", 500000, "nested more than 12 levels"},
        {"version: 1\nx: ", "? ", 500000, ""},
        {"version: 1\n", "a: 1\n", 400000, "unknown key a"},
        {"version: 1\nendpoints:\n", "- ::1\n", 400000, "elements; use 0 to 64"},
        {"version: 1\nx: \"", "\\n\n", 400000, "not YAML"},
        {"version: 1\nx: ", "a b ", 500000, "unknown key x"},
        {"version: 1\n", "# a comment\n\n", 200000, ""},
        {"version: 1\nlog:", "\n\n", 500000, "is a single value"},
        {"version: 1\nx: &a [", "*a,", 200000, "anchors"},
        {"version: 1\n? ", "a", 1000000, "unknown key aaa"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = repeated(cases[i].head, cases[i].unit, cases[i].times);
        uint64_t start = cpu_ns();
        struct loaded l = load_text(NULL, text);
        assert_in_range((cpu_ns() - start) / NS_PER_MS, 0, 2000 * SLOWER);
        bool found = !cases[i].what[0];
        for (size_t m = 0; m < l.report.n; m++)
            found |= strstr(l.report.v[m].text, cases[i].what) != NULL;
        assert_true(found || report_empty(&l.report));
        assert_true(found);
        assert_true(l.report.n <= CONFIG_MESSAGES_MAX);
        loaded_free(&l);
        free(text);
    }
}

static void test_file_too_large(void **state)
{
    (void)state;
    char *text = repeated("version: 1\n", "################################\n", CONFIG_FILE_MAX / 33 + 1);
    assert_refused(span_str(text), 1, 1, "larger than 64 MiB", "is it the right file?");
    free(text);
}

static void test_limits_of_rows(void **state)
{
    (void)state;
    char *text = repeated(TOP("accounts:\n"), "  - {}\n", CONFIG_ACCOUNTS_MAX + 1);
    assert_refused(span_str(text), 4, 3, "accounts has 20001 elements", "use 0 to 20000");
    free(text);
    text = repeated(TOP("accounts:\n  - id: a\n    tunnels:\n"), "    - {}\n", CONFIG_TUNNELS_MAX + 1);
    assert_refused(span_str(text), 6, 5, "tunnels has 100001 elements", "use 0 to 100000");
    free(text);
}

/* ---- time */

struct text {
    char *p;
    size_t n, cap;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    va_list args;
    if (t->cap - t->n < 1024) {
        t->cap = 2 * t->cap + 4096;
        t->p = realloc(t->p, t->cap);
        assert_non_null(t->p);
    }
    va_start(args, format);
    t->n += (size_t)vsnprintf(t->p + t->n, t->cap - t->n, format, args);
    va_end(args);
}

/* Half GRE, half IPsec, each with an interface address and a route, in accounts of per_account tunnels. */
static struct text large_file(unsigned tunnels, unsigned per_account)
{
    struct text t = {0};
    uint64_t seed = 1;
    put(&t, "version: 1\nendpoints: [198.51.100.2]\nike: {identity_domain: ipsec.example.net}\naccounts:\n");
    for (unsigned first = 0; first < tunnels; first += per_account) {
        unsigned end = first + per_account;
        put(&t, "  - id: \"%u\"\n    netns: ns%u\n    tunnels:\n", first, first);
        for (unsigned i = first; i < end; i++) {
            unsigned a = i >> 8 & 255, b = i & 255;
            put(&t, "      - name: tunnel-%u\n        endpoint: 198.51.100.2\n        customer_endpoint: 203.1.%u.%u\n",
                i, a, b);
            put(&t, "        interface_address: 10.%u.%u.%u/31\n", 64 + (i >> 15), i >> 7 & 255, 2 * i & 255);
            if (i % 2)
                put(&t, "        type: gre\n        ttl: 64\n        allow_sources: [172.16.0.0/12]\n");
            else
                put(&t, "        type: ipsec\n        id: f%08x%016llx\n        psk: \"0x%016llx%016llx%016llx\"\n", i,
                    (unsigned long long)dice(&seed), (unsigned long long)dice(&seed), (unsigned long long)dice(&seed),
                    (unsigned long long)dice(&seed));
        }
        put(&t, "    routes:\n");
        for (unsigned i = first; i < end; i++)
            put(&t, "      - {prefix: 10.%u.%u.0/24, tunnel: tunnel-%u, priority: 100}\n", i >> 8 & 63, i & 255, i);
    }
    return t;
}

static void load_in_time(unsigned per_account)
{
    struct text t = large_file(10000, per_account);
    uint64_t start = cpu_ns();
    struct loaded l = load_bytes(NULL, span_of(t.p, t.n));
    uint64_t took = cpu_ns() - start;
    assert_true(report_empty(&l.report));
    OK(l.rc);
    assert_int_equal(l.c->n_tunnels, 10000);
    assert_int_equal(l.c->n_routes, 10000);
    assert_in_range(took / NS_PER_MS, 1, 1000 * SLOWER);

    struct loaded again = load_bytes(NULL, span_of(t.p, t.n));
    struct config_diff diff = {0};
    OK(again.rc);
    start = cpu_ns();
    OK(config_diff(l.c, again.c, &diff));
    assert_in_range((cpu_ns() - start) / NS_PER_MS, 0, 1000 * SLOWER);
    assert_int_equal(diff.n, 0);
    print_message("# 10000 tunnels, %u per account, %zu octets: %u ms\n", per_account, t.n,
                  (unsigned)(took / NS_PER_MS));
    config_diff_free(&diff);
    loaded_free(&again);
    loaded_free(&l);
    free(t.p);
}

static void test_10000_tunnels_in_100_accounts(void **state)
{
    (void)state;
    load_in_time(100);
}

static void test_10000_tunnels_in_one_account(void **state)
{
    (void)state;
    load_in_time(10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flow_and_json),
        TEST(test_order_quotes_and_comments),
        TEST(test_crlf_and_byte_order_mark),
        TEST(test_place_in_a_crlf_file),
        TEST(test_the_demonstration_loads),
        TEST(test_the_example_of_the_readme_loads),
        TEST(test_anchors_aliases_tags),
        TEST(test_documents),
        TEST(test_malformed_yaml),
        TEST(test_octets_that_are_no_text),
        TEST(test_text_that_is_no_line),
        TEST(test_bombs_are_refused_in_no_time),
        TEST(test_file_too_large),
        TEST(test_limits_of_rows),
        TEST(test_10000_tunnels_in_100_accounts),
        TEST(test_10000_tunnels_in_one_account),
    };
    return cmocka_run_group_tests_name("config: YAML", tests, NULL, NULL);
}
