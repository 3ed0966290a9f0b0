/* The difference of two configurations: what changed and nothing else, in an order that can be executed. */
#include "lib/config_full.h"
#include "lib/unit.h"

#include <stdio.h>

static struct loaded loaded_full(const char *text)
{
    struct files f = config_full_files();
    struct loaded l = load_text(&f, text);
    if (l.rc != RC_OK)
        report_empty(&l.report); /* prints it */
    OK(l.rc);
    return l;
}

/* The full file against itself with one text replaced. */
struct pair {
    struct loaded old, new;
    struct config_diff diff;
};
static struct pair pair_open(const char *from, const char *to)
{
    struct pair p = {.old = config_full_load()};
    char *text = text_replaced(config_full, from, to);
    p.new = loaded_full(text);
    free(text);
    OK(config_diff(p.old.c, p.new.c, &p.diff));
    return p;
}

static void pair_close(struct pair *p)
{
    config_diff_free(&p->diff);
    loaded_free(&p->old);
    loaded_free(&p->new);
}

/* ---- one value changes: exactly that is reported */

#define SECTIONS(X)                                                                              \
    X(node, true, "name: edge-7, address", "name: edge-8, address")                              \
    X(node, true, "probe_address: \"2001:db8:f::7\"", "probe_address: \"2001:db8:f::8\"")        \
    X(node, true, "slot: 9}", "slot: 10}")                                                       \
    X(outer, true, "mark: 0x10", "mark: 17")                                                     \
    X(outer, true, "device: bond0.5", "device: bond0.6")                                         \
    X(outer, true, "mode: packet", "mode: raw")                                                  \
    X(workers, true, "workers: 3", "workers: 2")                                                 \
    X(endpoints, false, "endpoints: [198.51.100.2,", "endpoints: [198.51.100.2, 198.51.100.77,") \
    X(endpoints, false, "[198.51.100.2, \"2001:db8::2\"]", "[\"2001:db8::2\", 198.51.100.2]")    \
    X(ike, false, "encryption: [aes256, aes128gcm16]", "encryption: [aes128gcm16, aes256]")      \
    X(ike, false, "prf: [sha512, sha256]", "prf: [sha512]")                                      \
    X(ike, false, "child_lifetime: 45m", "child_lifetime: 44m")                                  \
    X(ike, false, "max_children: 10", "max_children: 11")                                        \
    X(ike, false, "downgrade_protection: false", "downgrade_protection: true")                   \
    X(fleet, true, "cluster: eu", "cluster: us")                                                 \
    X(fleet, true, "epoch: 4", "epoch: 3")                                                       \
    X(fleet, true, "user: adit", "user: other")                                                  \
    X(fleet, true, "https://etcd-2.", "https://etcd-3.")                                         \
    X(fleet, true, "address: 203.0.113.8", "address: 203.0.113.9")                               \
    X(fleet, true, "ddee08", "ddee09")                                                           \
    X(control, true, "group: netops", "group: other")                                            \
    X(metrics, true, "]:9588", "]:9589")                                                         \
    X(log, false, "level: debug", "level: info")                                                 \
    X(log, false, "rate: 100", "rate: 0")

static void test_one_section(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum config_top_field field;
        bool restart;
    } cases[] = {
#define X(field, restart, from, to) {from, to, CONFIG_TOP_##field, restart},
        SECTIONS(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = pair_open(cases[i].from, cases[i].to);
        if (p.diff.sections != CONFIG_BIT(cases[i].field) || p.diff.n != 0)
            fail_msg("%s: sections %llx, %zu rows", cases[i].to, (unsigned long long)p.diff.sections, p.diff.n);
        assert_int_equal(p.diff.restart, cases[i].restart ? CONFIG_BIT(cases[i].field) : 0);
        pair_close(&p);
    }
}

#define TUNNELS(X)                                                                        \
    X(description, "the \\\"old\\\" line", "the \\\"new\\\" line")                        \
    X(customer_endpoint, "\"2001:db8::2\", psk_file",                                     \
      "\"2001:db8::2\", customer_endpoint: \"2001:db8:9::2\", psk_file")                  \
    X(mtu, "mtu: 1400", "mtu: 1399")                                                      \
    X(mss, "mss: 1300", "mss: 1299")                                                      \
    X(outer, "df: set, dscp", "df: copy, dscp")                                           \
    X(outer, "dscp: 46", "dscp: copy")                                                    \
    X(outer, ", ecn: normal}", "}")                                                       \
    X(health_check, "rate: high", "rate: low")                                            \
    X(health_check, ", target: 10.255.0.2}", "}")                                         \
    X(ttl, "ttl: 32", "ttl: 33")                                                          \
    X(key, "key: 4294967295", "key: 0")                                                   \
    X(key, "        key: 4294967295\n", "")                                               \
    X(checksum, "checksum: true", "checksum: false")                                      \
    X(sequence, "sequence: true", "sequence: false")                                      \
    X(sequence_check, "sequence_check: true", "sequence_check: false")                    \
    X(keepalive, "keepalive: false", "keepalive: true")                                   \
    X(allow_sources, "172.16.0.0/12,", "172.16.0.0/13,")                                  \
    X(allow_sources, "[172.16.0.0/12, \"2001:db8:77::/48\"]", "[172.16.0.0/12]")          \
    X(protect, "        protect: acme-ipsec\n", "")                                       \
    X(id, "id: f5407d8db1a542b196c59f6d04ba8bd1", "id: f5407d8db1a542b196c59f6d04ba8bd2") \
    X(fqdn, "fqdn: router.acme.example", "fqdn: other.acme.example")                      \
    X(strict_peer, "strict_peer: true", "strict_peer: false")                             \
    X(psk, "not_after: 2027-01-31", "not_after: 2027-01-30")                              \
    X(psk, "keys/old", "kek-4")                                                           \
    X(psk_file, "/etc/adit/six.psk", "keys/old")                                          \
    X(pq, "pq: require", "pq: prefer")                                                    \
    X(allow_null_cipher, "allow_null_cipher: true", "allow_null_cipher: false")           \
    X(replay_protection, "replay_protection: true", "replay_protection: false")           \
    X(replay_window, "replay_window: 64", "replay_window: 128")

static void test_one_tunnel(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum config_tunnel_field field;
    } cases[] = {
#define X(field, from, to) {from, to, CONFIG_TUNNEL_##field},
        TUNNELS(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = pair_open(cases[i].from, cases[i].to);
        const struct config_delta *d = p.diff.v;
        uint64_t fields = CONFIG_BIT(cases[i].field);
        if (cases[i].field == CONFIG_TUNNEL_psk_file)
            fields |= CONFIG_BIT(CONFIG_TUNNEL_psk);                /* another file holds another key */
        size_t n = cases[i].field == CONFIG_TUNNEL_protect ? 2 : 1; /* the one that carries it follows */
        if (p.diff.n != n || p.diff.sections || d->kind != CONFIG_KIND_TUNNEL || d->change != CONFIG_CHANGED ||
            d->fields != fields)
            fail_msg("%s: %zu rows, the first has fields %llx", cases[i].to, p.diff.n,
                     (unsigned long long)(p.diff.n ? d->fields : 0));
        assert_string_equal(d->old_tunnel->name, d->new_tunnel->name);
        assert_ptr_equal(d->old_account, &p.old.c->accounts.v[0]);
        assert_ptr_equal(d->new_account, &p.new.c->accounts.v[0]);
        pair_close(&p);
    }
}

static void test_the_end_of_what_a_tunnel_carries(void **state)
{
    (void)state;
    struct pair p = pair_open("        protect: acme-ipsec\n", "");
    assert_int_equal(p.diff.n, 2);
    assert_string_equal(p.diff.v[1].new_tunnel->name, "acme-ipsec");
    assert_true(p.diff.v[1].derived);
    assert_int_equal(p.diff.v[1].fields, 0);
    pair_close(&p);
}

/* The file of a key is the same, its content is not. */
static void test_new_content_of_a_psk_file(void **state)
{
    (void)state;
    struct files f = config_full_files();
    struct loaded old = load_text(&f, config_full);
    f.n--;
    files_add(&f, "/etc/adit/six.psk", "k#9Tq!x2Lw;7zPd%4sRmQ+Hj", 0600, 0);
    struct loaded new = load_text(&f, config_full);
    struct config_diff diff = {0};
    OK(old.rc);
    OK(new.rc);
    OK(config_diff(old.c, new.c, &diff));
    assert_int_equal(diff.n, 1);
    assert_int_equal(diff.v[0].fields, CONFIG_BIT(CONFIG_TUNNEL_psk));
    assert_string_equal(diff.v[0].new_tunnel->name, "six");
    config_diff_free(&diff);
    loaded_free(&old);
    loaded_free(&new);
}

static void test_one_account(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum config_account_field field;
    } cases[] = {
        {"netns: acme-ns", "netns: acme-new", CONFIG_ACCOUNT_netns},
        {"create: true", "create: false", CONFIG_ACCOUNT_create},
        {"device: adit7", "device: adit9", CONFIG_ACCOUNT_device},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = pair_open(cases[i].from, cases[i].to);
        assert_int_equal(p.diff.n, 1);
        assert_int_equal(p.diff.v[0].kind, CONFIG_KIND_ACCOUNT);
        assert_int_equal(p.diff.v[0].change, CONFIG_CHANGED);
        assert_int_equal(p.diff.v[0].fields, CONFIG_BIT(cases[i].field));
        pair_close(&p);
    }
}

static void test_one_route(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum config_route_field field;
    } cases[] = {
        {"priority: 7", "priority: 8", CONFIG_ROUTE_priority},
        {"weight: 256", "weight: 1", CONFIG_ROUTE_weight},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = pair_open(cases[i].from, cases[i].to);
        assert_int_equal(p.diff.n, 1);
        assert_int_equal(p.diff.v[0].kind, CONFIG_KIND_ROUTE);
        assert_int_equal(p.diff.v[0].change, CONFIG_CHANGED);
        assert_int_equal(p.diff.v[0].fields, CONFIG_BIT(cases[i].field));
        assert_ptr_equal(p.diff.v[0].new_route, &p.new.c->accounts.v[0].routes.v[0]);
        pair_close(&p);
    }
}

/* ---- nothing changes */

static void test_nothing(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"version: 1\n", "version: 1\n"},
        {"version: 1\n", "# a comment\n\n\nversion: 1 # another\n"}, /* every line moves */
        {"mark: 0x10", "mark: 16"},
        {"timeout: 1500ms", "timeout: 1500ms\n"},
        {"child_lifetime: 45m", "child_lifetime: 2700s"},
        {"address: 203.0.113.8", "address: \"203.0.113.8\""},
        {"interface_address6: \"fd00::2/127\"", "interface_address6: \"FD00:0::0002/127\""},
        {"not_after: 2027-01-31", "not_after: \"2027-01-31T23:59:59Z\""},
        {"  - id: other\n", "  - id: other\n    tunnels: []\n    create: false\n"},
        {"pq: off}", "pq: off, strict_peer: false, replay_protection: false}"},
        {"tunnel: six}", "tunnel: six, priority: 100, weight: 64}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct pair p = pair_open(same[i][0], same[i][1]);
        if (p.diff.n || p.diff.sections || p.diff.restart)
            fail_msg("%s: %zu rows, sections %llx", same[i][1], p.diff.n, (unsigned long long)p.diff.sections);
        pair_close(&p);
    }
}

/* Rows in another order are the same rows. */
static void test_order_of_rows(void **state)
{
    (void)state;
    static const char gre[] = "      - {name: %s, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.%u}\n";
    char a[128], b[128], text[2][1024];
    snprintf(a, sizeof a, gre, "a", 3);
    snprintf(b, sizeof b, gre, "b", 4);
    static const char routes[][64] = {"      - {prefix: 10.1.0.0/16, tunnel: a}\n",
                                      "      - {prefix: 10.2.0.0/16, tunnel: b}\n"};
    snprintf(text[0], sizeof text[0], HEAD "%s%s    routes:\n%s%s", a, b, routes[0], routes[1]);
    snprintf(text[1], sizeof text[1], HEAD "%s%s    routes:\n%s%s", b, a, routes[1], routes[0]);
    struct loaded old = loaded_full(text[0]), new = loaded_full(text[1]);
    struct config_diff diff = {0};
    OK(config_diff(old.c, new.c, &diff));
    assert_int_equal(diff.n, 0);
    config_diff_free(&diff);
    loaded_free(&old);
    loaded_free(&new);
}

/* ---- rows come and go */

static void assert_delta(const struct config_delta *d, enum config_change change, enum config_kind kind,
                         const char *name)
{
    const struct config_account *a = d->new_account ? d->new_account : d->old_account;
    const struct config_tunnel *t = d->new_tunnel ? d->new_tunnel : d->old_tunnel;
    const struct config_route *r = d->new_route ? d->new_route : d->old_route;
    char text[PREFIX_TEXT];
    assert_int_equal(d->change, change);
    assert_int_equal(d->kind, kind);
    const char *got = kind == CONFIG_KIND_ACCOUNT  ? a->id
                      : kind == CONFIG_KIND_TUNNEL ? t->name
                                                   : prefix_text(&r->prefix, text);
    assert_string_equal(got, name);
    assert_true((change == CONFIG_ADDED) == (kind == CONFIG_KIND_ACCOUNT  ? !d->old_account
                                             : kind == CONFIG_KIND_TUNNEL ? !d->old_tunnel
                                                                          : !d->old_route));
}

static const struct {
    enum config_kind kind;
    const char *name;
} full_rows[] = {
    {CONFIG_KIND_ACCOUNT, "123456789"}, {CONFIG_KIND_ACCOUNT, "other"},
    {CONFIG_KIND_TUNNEL, "acme-gre"},   {CONFIG_KIND_TUNNEL, "acme-ipsec"},
    {CONFIG_KIND_TUNNEL, "six"},        {CONFIG_KIND_TUNNEL, "inline"},
    {CONFIG_KIND_ROUTE, "10.1.0.0/16"}, {CONFIG_KIND_ROUTE, "2001:db8:1::/48"},
};

static void test_everything_is_added(void **state)
{
    (void)state;
    struct loaded l = config_full_load(), empty = loaded_full("version: 1\n");
    const struct config *const from[] = {NULL, empty.c};
    for (size_t k = 0; k < ARRAY_LEN(from); k++) {
        struct config_diff diff = {0};
        OK(config_diff(from[k], l.c, &diff));
        assert_int_equal(diff.n, ARRAY_LEN(full_rows));
        for (size_t i = 0; i < diff.n; i++)
            assert_delta(&diff.v[i], CONFIG_ADDED, full_rows[i].kind, full_rows[i].name);
        config_diff_free(&diff);
    }
    loaded_free(&l);
    loaded_free(&empty);
}

/* Routes go before their tunnels, tunnels before their account. */
static void test_everything_is_removed(void **state)
{
    (void)state;
    static const size_t order[] = {6, 7, 2, 3, 4, 5, 0, 1};
    struct loaded l = config_full_load(), empty = loaded_full("version: 1\n");
    struct config_diff diff = {0};
    OK(config_diff(l.c, empty.c, &diff));
    assert_int_equal(diff.n, ARRAY_LEN(order));
    for (size_t i = 0; i < diff.n; i++)
        assert_delta(&diff.v[i], CONFIG_REMOVED, full_rows[order[i]].kind, full_rows[order[i]].name);
    config_diff_free(&diff);
    loaded_free(&l);
    loaded_free(&empty);
}

static void test_one_tunnel_comes_and_goes(void **state)
{
    (void)state;
    static const char row[] = "      - {name: new, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.99}\n";
    char text[256];
    snprintf(text, sizeof text, "%s    routes:\n", row);
    struct pair p = pair_open("    routes:\n", text);
    struct config_diff back = {0};
    assert_int_equal(p.diff.n, 1);
    assert_delta(&p.diff.v[0], CONFIG_ADDED, CONFIG_KIND_TUNNEL, "new");
    OK(config_diff(p.new.c, p.old.c, &back));
    assert_int_equal(back.n, 1);
    assert_delta(&back.v[0], CONFIG_REMOVED, CONFIG_KIND_TUNNEL, "new");
    config_diff_free(&back);
    pair_close(&p);
}

static void test_a_tunnel_is_renamed(void **state)
{
    (void)state;
    struct pair p = pair_open("name: inline,", "name: outline,");
    assert_int_equal(p.diff.n, 2);
    assert_delta(&p.diff.v[0], CONFIG_REMOVED, CONFIG_KIND_TUNNEL, "inline");
    assert_delta(&p.diff.v[1], CONFIG_ADDED, CONFIG_KIND_TUNNEL, "outline");
    pair_close(&p);
}

static void test_a_tunnel_of_another_type(void **state)
{
    (void)state;
    struct pair p = pair_open("{name: inline, type: ipsec, endpoint: 198.51.100.2, psk: [{value: " GOOD_PSK "}]}",
                              "{name: inline, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.99}");
    assert_int_equal(p.diff.n, 1);
    assert_delta(&p.diff.v[0], CONFIG_CHANGED, CONFIG_KIND_TUNNEL, "inline");
    assert_true(p.diff.v[0].fields & CONFIG_BIT(CONFIG_TUNNEL_type));
    assert_true(p.diff.v[0].fields & CONFIG_BIT(CONFIG_TUNNEL_psk));
    pair_close(&p);
}

/* ---- what follows from other rows */

static void assert_derived(const struct config_delta *d, const char *name)
{
    assert_delta(d, CONFIG_CHANGED, CONFIG_KIND_TUNNEL, name);
    assert_true(d->derived);
    assert_int_equal(d->fields, 0);
}

static void test_a_new_prefix_changes_sources(void **state)
{
    (void)state;
    struct pair p = pair_open("prefix: 10.1.0.0/16", "prefix: 10.3.0.0/16");
    assert_int_equal(p.diff.n, 3);
    assert_delta(&p.diff.v[0], CONFIG_REMOVED, CONFIG_KIND_ROUTE, "10.1.0.0/16");
    assert_derived(&p.diff.v[1], "acme-gre"); /* the account's only GRE tunnel: its allowed inner sources */
    assert_delta(&p.diff.v[2], CONFIG_ADDED, CONFIG_KIND_ROUTE, "10.3.0.0/16");
    pair_close(&p);
}

static void test_our_identity_changes_every_ipsec_tunnel(void **state)
{
    (void)state;
    struct pair p = pair_open("identity: edge@example.net", "identity: edge.example.net");
    assert_int_equal(p.diff.sections, CONFIG_BIT(CONFIG_TOP_ike));
    assert_int_equal(p.diff.n, 3);
    assert_derived(&p.diff.v[0], "acme-ipsec");
    assert_derived(&p.diff.v[1], "six");
    assert_derived(&p.diff.v[2], "inline");
    pair_close(&p);
}

static void test_an_address_that_is_no_identity_any_more(void **state)
{
    (void)state;
    struct pair p = pair_open("{name: inline, type: ipsec, endpoint: 198.51.100.2,",
                              "{name: inline, type: ipsec, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.2,");
    assert_int_equal(p.diff.n, 2);
    assert_derived(&p.diff.v[0], "acme-ipsec");
    assert_delta(&p.diff.v[1], CONFIG_CHANGED, CONFIG_KIND_TUNNEL, "inline");
    assert_int_equal(p.diff.v[1].fields, CONFIG_BIT(CONFIG_TUNNEL_customer_endpoint));
    assert_false(p.diff.v[1].derived);
    pair_close(&p);
}

static void test_an_account_is_renamed(void **state)
{
    (void)state;
    struct pair p = pair_open("    name: acme\n", "    name: acme-inc\n");
    assert_int_equal(p.diff.n, 4);
    assert_delta(&p.diff.v[0], CONFIG_CHANGED, CONFIG_KIND_ACCOUNT, "123456789");
    assert_int_equal(p.diff.v[0].fields, CONFIG_BIT(CONFIG_ACCOUNT_name));
    assert_derived(&p.diff.v[1], "acme-ipsec"); /* events name the account */
    pair_close(&p);
}

/* A store appears: no server sees all packets any more, and windows that nobody asked for go. */
static void test_a_fleet_changes_replay_protection(void **state)
{
    (void)state;
    struct pair p = pair_open("store: etcd", "store: none");
    assert_int_equal(p.diff.sections, CONFIG_BIT(CONFIG_TOP_fleet));
    assert_int_equal(p.diff.n, 2);
    for (size_t i = 0; i < p.diff.n; i++) {
        assert_delta(&p.diff.v[i], CONFIG_CHANGED, CONFIG_KIND_TUNNEL, i ? "inline" : "six");
        assert_int_equal(p.diff.v[i].fields, CONFIG_BIT(CONFIG_TUNNEL_replay_protection));
        assert_true(p.diff.v[i].new_tunnel->replay_protection);
    }
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_section),
        TEST(test_one_tunnel),
        TEST(test_the_end_of_what_a_tunnel_carries),
        TEST(test_new_content_of_a_psk_file),
        TEST(test_one_account),
        TEST(test_one_route),
        TEST(test_nothing),
        TEST(test_order_of_rows),
        TEST(test_everything_is_added),
        TEST(test_everything_is_removed),
        TEST(test_one_tunnel_comes_and_goes),
        TEST(test_a_tunnel_is_renamed),
        TEST(test_a_tunnel_of_another_type),
        TEST(test_a_new_prefix_changes_sources),
        TEST(test_our_identity_changes_every_ipsec_tunnel),
        TEST(test_an_address_that_is_no_identity_any_more),
        TEST(test_an_account_is_renamed),
        TEST(test_a_fleet_changes_replay_protection),
    };
    return cmocka_run_group_tests_name("config: diff", tests, NULL, NULL);
}
