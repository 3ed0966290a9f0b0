/* What ike and dp get to obey: identities, keys, selectors, sources, proposals; and that nothing is lost on the way. */
#include "lib/config_full.h"
#include "lib/unit.h"

#include <stdio.h>

#include "config/loader.h"

static struct tunnel_policy policy_of(const struct loaded *l, size_t account, size_t tunnel)
{
    struct tunnel_policy p;
    config_tunnel_policy(l->c, &l->c->accounts.v[account].tunnels.v[tunnel], 17, 5, 3, &p);
    return p;
}

static void assert_identity(const struct identity *id, enum id_type type, const char *text)
{
    assert_int_equal(id->type, type);
    assert_span_equal(span_of(id->data, id->n), span_str(text));
}

static void assert_prefixes(const struct prefix *v, size_t n, const char *text)
{
    char got[1024] = "", one[PREFIX_TEXT];
    for (size_t i = 0, at = 0; i < n; i++)
        at += (size_t)snprintf(got + at, sizeof got - at, "%s%s", i ? " " : "", prefix_text(&v[i], one));
    assert_string_equal(got, text);
}

static struct loaded load_good(const char *text)
{
    struct loaded l = load_text(NULL, text);
    if (l.rc != RC_OK)
        report_empty(&l.report); /* prints it */
    OK(l.rc);
    return l;
}

/* ---- identities */

static void test_four_formats_and_the_custom_one(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    struct tunnel_policy p = policy_of(&l, 0, 1);
    assert_int_equal(p.n_identities, 5);
    assert_identity(&p.identities[0], ID_RFC822_ADDR,
                    "ipsec@f5407d8db1a542b196c59f6d04ba8bd1.123456789.ipsec.example.net");
    assert_identity(&p.identities[1], ID_FQDN, "f5407d8db1a542b196c59f6d04ba8bd1.123456789.ipsec.example.net");
    assert_identity(&p.identities[2], ID_KEY_ID, "123456789_f5407d8db1a542b196c59f6d04ba8bd1");
    assert_identity(&p.identities[3], ID_FQDN, "router.acme.example");
    assert_int_equal(p.identities[4].type, ID_IPV4_ADDR);
    assert_span_equal(span_of(p.identities[4].data, p.identities[4].n), hex("c0000202"));
    assert_identity(&p.local_identity, ID_RFC822_ADDR, "edge@example.net");

    p = policy_of(&l, 0, 2); /* no id: the name; no customer_endpoint: no address */
    assert_int_equal(p.n_identities, 3);
    assert_identity(&p.identities[0], ID_RFC822_ADDR, "ipsec@six.123456789.ipsec.example.net");
    assert_identity(&p.identities[2], ID_KEY_ID, "123456789_six");
    p = policy_of(&l, 0, 0); /* GRE has none */
    assert_int_equal(p.n_identities, 0);
    loaded_free(&l);
}

static void test_without_a_domain(void **state)
{
    (void)state;
    struct loaded l =
        load_good("version: 1\nendpoints: [\"2001:db8::2\"]\naccounts:\n  - id: a\n    netns: a\n    tunnels:\n"
                  "      - {name: i, type: ipsec, endpoint: \"2001:db8::2\", customer_endpoint: "
                  "\"2001:db8:1::1\", psk: " GOOD_PSK "}\n");
    struct tunnel_policy p = policy_of(&l, 0, 0);
    assert_int_equal(p.n_identities, 2);
    assert_identity(&p.identities[0], ID_KEY_ID, "a_i");
    assert_int_equal(p.identities[1].type, ID_IPV6_ADDR);
    assert_span_equal(span_of(p.identities[1].data, p.identities[1].n), hex("20010db8000100000000000000000001"));
    assert_int_equal(p.local_identity.type, ID_IPV6_ADDR); /* our endpoint */
    assert_span_equal(span_of(p.local_identity.data, p.local_identity.n), hex("20010db8000000000000000000000002"));
    loaded_free(&l);
}

static void test_forms_of_our_identity(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum id_type type;
        const char *octets;
    } cases[] = {
        {"192.0.2.77", ID_IPV4_ADDR, "c000024d"},
        {"\"2001:db8::77\"", ID_IPV6_ADDR, "20010db8000000000000000000000077"},
        {"e.example", ID_FQDN, "652e6578616d706c65"},
        {"a@e.example", ID_RFC822_ADDR, "6140652e6578616d706c65"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "version: 1\nendpoints: [198.51.100.2]\nike: {identity: %s}\naccounts:\n  - id: a\n    netns: a\n    tunnels:\n"
            "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK "}\n",
            cases[i].text);
        struct loaded l = load_good(text);
        struct tunnel_policy p = policy_of(&l, 0, 0);
        assert_int_equal(p.local_identity.type, cases[i].type);
        assert_span_equal(span_of(p.local_identity.data, p.local_identity.n), hex(cases[i].octets));
        loaded_free(&l);
    }
}

#define TWO(endpoint2, rest1, rest2)                                                                          \
    "version: 1\nendpoints: [198.51.100.2, 198.51.100.3]\naccounts:\n  - id: a\n    netns: a\n    tunnels:\n" \
    "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK rest1 "}\n"                       \
    "      - {name: j, type: ipsec, endpoint: " endpoint2 ", psk: " rest2 "}\n"

static bool has_address(const struct tunnel_policy *p)
{
    bool found = false;
    for (uint8_t i = 0; i < p->n_identities; i++)
        found |= p->identities[i].type == ID_IPV4_ADDR;
    return found;
}

static void test_address_only_where_the_pair_is_unique(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool first, second;
    } cases[] = {
        {TWO("198.51.100.2", ", customer_endpoint: 192.0.2.1", GOOD_PSK2 ", customer_endpoint: 192.0.2.2"), true, true},
        {TWO("198.51.100.3", ", customer_endpoint: 192.0.2.1", GOOD_PSK2 ", customer_endpoint: 192.0.2.1"), true, true},
        {TWO("198.51.100.2", ", customer_endpoint: 192.0.2.1", GOOD_PSK2 ", customer_endpoint: 192.0.2.1"), false,
         false},
        {TWO("198.51.100.2", ", customer_endpoint: 192.0.2.1", GOOD_PSK2), true, false},
        {TWO("198.51.100.2", "", GOOD_PSK2), false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l = load_good(cases[i].text);
        struct tunnel_policy a = policy_of(&l, 0, 0), b = policy_of(&l, 0, 1);
        assert_int_equal(has_address(&a), cases[i].first);
        assert_int_equal(has_address(&b), cases[i].second);
        loaded_free(&l);
    }
}

/* A third one of the same pair must not bring the identity back. */
static void test_three_tunnels_of_one_pair(void **state)
{
    (void)state;
    char text[2048];
    static const char row[] =
        "      - {name: i%u, type: ipsec, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.1, psk: %s}\n";
    static const char *const psks[] = {GOOD_PSK, GOOD_PSK2, FULL_KEY};
    int n = snprintf(text, sizeof text, HEAD);
    for (unsigned i = 0; i < 3; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, row, i, psks[i]);
    struct loaded l = load_good(text);
    for (unsigned i = 0; i < 3; i++) {
        struct tunnel_policy p = policy_of(&l, 0, i);
        assert_false(has_address(&p));
    }
    loaded_free(&l);
}

/* The look-up key is (identity, our address): one FQDN and one key at two endpoints is one customer. */
static void test_one_fqdn_at_two_endpoints(void **state)
{
    (void)state;
    struct loaded l = load_good(
        TWO("198.51.100.3", ", fqdn: r1.example.net", GOOD_PSK ", fqdn: r1.example.net, customer_endpoint: 192.0.2.9"));
    assert_true(report_empty(&l.report)); /* nor is the shared key a reason to warn */
    struct tunnel_policy a = policy_of(&l, 0, 0), b = policy_of(&l, 0, 1);
    assert_identity(&a.identities[1], ID_FQDN, "r1.example.net");
    assert_identity(&b.identities[1], ID_FQDN, "r1.example.net");
    assert_false(addr_equal(&a.endpoint, &b.endpoint));
    loaded_free(&l);
}

#define LONG63(c) c "23456789a123456789b123456789c123456789d123456789e123456789f12"

/* Identities that only differ beyond what a message quotes of them. */
static void test_long_identities_are_compared_in_full(void **state)
{
    (void)state;
    static const char row[] =
        "      - {name: %s, type: ipsec, endpoint: 198.51.100.2, fqdn: %s.%s.%s.example, psk: %s}\n";
    char text[4096];
    int n = snprintf(text, sizeof text,
                     "version: 1\nendpoints: [198.51.100.2]\naccounts:\n  - id: %s\n    netns: a\n    tunnels:\n",
                     LONG63("a"));
    n += snprintf(text + n, sizeof text - (size_t)n, row, LONG63("n") "x", LONG63("l"), LONG63("m"), "one", GOOD_PSK);
    snprintf(text + n, sizeof text - (size_t)n, row, LONG63("n") "y", LONG63("l"), LONG63("m"), "two", GOOD_PSK2);
    struct loaded l = load_good(text);
    assert_true(report_empty(&l.report));
    struct tunnel_policy p = policy_of(&l, 0, 1);
    assert_identity(&p.identities[0], ID_KEY_ID, LONG63("a") "_" LONG63("n") "y");
    assert_identity(&p.identities[1], ID_FQDN, LONG63("l") "." LONG63("m") ".two.example");
    loaded_free(&l);
}

/* ---- the rest of a tunnel */

static void test_ipsec_policy(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    struct tunnel_policy p = policy_of(&l, 0, 1);
    char text[ADDR_TEXT];
    assert_int_equal(p.tunnel, 17);
    assert_int_equal(p.account, 5);
    assert_int_equal(p.type, TUNNEL_IPSEC);
    assert_string_equal(p.account_name, "acme");
    assert_string_equal(p.name, "acme-ipsec");
    assert_string_equal(addr_text(&p.endpoint, text), "198.51.100.2");
    assert_string_equal(addr_text(&p.customer_endpoint, text), "192.0.2.2");
    assert_prefixes(&p.interface4, 1, "10.255.0.4/31");
    assert_int_equal(p.interface6.addr.family, 0);
    assert_int_equal(p.df, DF_CLEAR);
    assert_int_equal(p.dscp, 0);
    assert_int_equal(p.ecn, ECN_COMPAT);
    assert_int_equal(p.ttl, 64);
    assert_int_equal(p.path_mtu, 1500);
    assert_int_equal(p.mtu, 0);
    assert_int_equal(p.mss, 0);
    assert_int_equal(p.n_psks, 2);
    assert_span_equal(p.psks[0].value, span_str("q8Zr7Nw4Kd8Hs3Bf6M-old-0"));
    assert_int_equal(p.psks[0].not_after, 1801439999);
    assert_span_equal(p.psks[1].value, hex(&FULL_KEY2[2]));
    assert_int_equal(p.pq, PQ_REQUIRE);
    assert_true(p.strict_peer);
    assert_true(p.allow_null_cipher);
    assert_true(p.replay_protection);
    assert_int_equal(p.replay_window, 64);
    assert_int_equal(p.protect, TUNNEL_NONE);
    assert_false(p.check_sources);
    loaded_free(&l);
}

static void test_default_selectors_are_everything(void **state)
{
    (void)state;
    static const char *const last[] = {"255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    static const char *const first[] = {"0.0.0.0", "::"};
    struct loaded l = config_full_load();
    struct tunnel_policy p = policy_of(&l, 0, 1);
    assert_int_equal(p.n_ts_local, 2);
    assert_int_equal(p.n_ts_remote, 2);
    for (unsigned i = 0; i < 4; i++) {
        const struct ts *ts = i / 2 ? &p.ts_remote[i % 2] : &p.ts_local[i % 2];
        char text[ADDR_TEXT];
        assert_int_equal(ts->proto, 0);
        assert_int_equal(ts->port_first, 0);
        assert_int_equal(ts->port_last, 65535);
        assert_string_equal(addr_text(&ts->first, text), first[i % 2]);
        assert_string_equal(addr_text(&ts->last, text), last[i % 2]);
    }
    loaded_free(&l);
}

static void test_gre_policy(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    struct tunnel_policy p = policy_of(&l, 0, 0);
    assert_int_equal(p.type, TUNNEL_GRE);
    assert_prefixes(&p.interface4, 1, "10.255.0.1/30");
    assert_prefixes(&p.interface6, 1, "fd00::2/127");
    assert_int_equal(p.df, DF_SET);
    assert_int_equal(p.dscp, 46);
    assert_int_equal(p.ecn, ECN_NORMAL);
    assert_int_equal(p.ttl, 32);
    assert_int_equal(p.mtu, 1400);
    assert_int_equal(p.mss, 1300);
    assert_true(p.has_key);
    assert_int_equal(p.key, UINT32_MAX);
    assert_true(p.checksum);
    assert_true(p.sequence);
    assert_true(p.sequence_check);
    assert_false(p.keepalive);
    assert_int_equal(p.protect, 3); /* as the caller found it */
    assert_int_equal(p.n_psks, 0);
    struct addr end = p.customer_endpoint;
    p = policy_of(&l, 0, 1);
    assert_true(addr_equal(&p.gre_remote, &end));
    p = policy_of(&l, 0, 3);
    assert_int_equal(p.gre_remote.family, 0);
    loaded_free(&l);
}

static void test_gre_key_zero_is_a_key(void **state)
{
    (void)state;
    static const char row[] =
        HEAD "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3%s}\n";
    for (unsigned key = 0; key < 2; key++) {
        char text[1024];
        snprintf(text, sizeof text, row, key ? ", key: 0" : "");
        struct loaded l = load_good(text);
        struct tunnel_policy p = policy_of(&l, 0, 0);
        assert_int_equal(p.has_key, key);
        assert_int_equal(p.key, 0);
        loaded_free(&l);
    }
}

/* All route prefixes and interface subnets of the account, each once, and nobody else's; allow_sources beside them. */
static void test_sources(void **state)
{
    (void)state;
    struct loaded l = load_good(
        "version: 1\nendpoints: [198.51.100.2]\naccounts:\n"
        "  - id: a\n    netns: a\n    tunnels:\n"
        "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3, interface_address: 10.0.0.1/31, "
        "interface_address6: \"fd00::1/127\", allow_sources: [172.16.0.0/12, 10.0.0.0/31]}\n"
        "      - {name: h, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.4}\n"
        "      - {name: i, type: ipsec, endpoint: 198.51.100.2, interface_address: 10.0.0.5/30, psk: " GOOD_PSK "}\n"
        "    routes:\n"
        "      - {prefix: 10.9.0.0/16, tunnel: h}\n      - {prefix: \"2001:db8:1::/48\", tunnel: i}\n"
        "      - {prefix: 10.9.0.0/16, tunnel: g}\n      - {prefix: 10.0.0.0/8, tunnel: g}\n"
        "  - id: b\n    netns: b\n    tunnels:\n"
        "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.5, interface_address: 10.1.0.0/31}\n");
    static const char all[] = "10.0.0.0/8 10.0.0.0/31 10.0.0.4/30 10.9.0.0/16 2001:db8:1::/48 fd00::/127";
    struct tunnel_policy g = policy_of(&l, 0, 0), h = policy_of(&l, 0, 1), other = policy_of(&l, 1, 0);
    assert_true(g.check_sources && h.check_sources && other.check_sources);
    assert_prefixes(g.sources, g.n_sources, all);
    assert_prefixes(g.allow_sources, g.n_allow_sources, "172.16.0.0/12 10.0.0.0/31");
    assert_ptr_equal(h.sources, g.sources);
    assert_int_equal(h.n_allow_sources, 0);
    assert_prefixes(other.sources, other.n_sources, "10.1.0.0/31");
    loaded_free(&l);
}

static void test_route_policy(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    struct route_policy r;
    config_route_policy(&l.c->accounts.v[0].routes.v[0], 5, 17, &r);
    assert_int_equal(r.account, 5);
    assert_int_equal(r.tunnel, 17);
    assert_prefixes(&r.prefix, 1, "10.1.0.0/16");
    assert_int_equal(r.priority, 7);
    assert_int_equal(r.weight, 256);
    loaded_free(&l);
}

/* ---- the responder */

static void assert_numbers(const uint16_t *v, uint8_t n, const char *text)
{
    char got[128] = "";
    for (uint8_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%u", i ? " " : "", v[i]);
    assert_string_equal(got, text);
}

/* Numbers of the IANA registry "Internet Key Exchange Version 2 (IKEv2) Parameters". */
static void test_proposals_of_a_tunnel(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    struct tunnel_policy p = policy_of(&l, 0, 1);
    assert_int_equal(p.ike.n_encr, 2);
    assert_int_equal(p.ike.encr[0].encr, 20);
    assert_int_equal(p.ike.encr[0].bits, 128);
    assert_numbers(p.ike.integ, p.ike.n_integ, "12");
    assert_numbers(p.ike.prf, p.ike.n_prf, "7");
    assert_numbers(p.ike.ke, p.ike.n_ke, "20");
    assert_numbers(p.ike.addke, p.ike.n_addke, "37");
    assert_int_equal(p.esp.n_encr, 2);
    assert_int_equal(p.esp.encr[1].bits, 128);
    assert_numbers(p.esp.integ, p.esp.n_integ, "13");
    assert_numbers(p.esp.ke, p.esp.n_ke, "19");
    assert_numbers(p.esp.addke, p.esp.n_addke, "36");
    p = policy_of(&l, 0, 2);
    assert_int_equal(p.ike.n_encr + p.ike.n_prf + p.ike.n_ke + p.esp.n_encr + p.esp.n_integ,
                     0); /* all of the daemon's */
    loaded_free(&l);
}

static void test_ike_policy(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    struct ike_policy k;
    config_ike_policy(l.c, &k);
    assert_int_equal(k.ike.n_encr, 2);
    assert_int_equal(k.ike.encr[0].encr, 12);
    assert_int_equal(k.ike.encr[0].bits, 256);
    assert_int_equal(k.ike.encr[1].encr, 20);
    assert_int_equal(k.ike.encr[1].bits, 128);
    assert_numbers(k.ike.integ, k.ike.n_integ, "12");
    assert_numbers(k.ike.prf, k.ike.n_prf, "7 5");
    assert_numbers(k.ike.ke, k.ike.n_ke, "14 20");
    assert_numbers(k.ike.addke, k.ike.n_addke, "37");
    assert_int_equal(k.esp.n_encr, 2);
    assert_int_equal(k.esp.encr[0].encr, 12);
    assert_int_equal(k.esp.encr[0].bits, 128);
    assert_numbers(k.esp.integ, k.esp.n_integ, "2 14 13");
    assert_numbers(k.esp.ke, k.esp.n_ke, "5 15 19 16");
    assert_numbers(k.esp.addke, k.esp.n_addke, "37 36");
    assert_int_equal(k.esp.n_prf, 0);
    assert_int_equal(k.half_open_timeout, 20 * NS_PER_S);
    assert_int_equal(k.fragment_timeout, 1500 * NS_PER_MS);
    assert_int_equal(k.ike_lifetime, 8 * 3600 * NS_PER_S);
    assert_int_equal(k.child_lifetime, 45 * 60 * NS_PER_S);
    assert_int_equal(k.jitter, 25);
    assert_int_equal(k.dpd_interval, 45 * NS_PER_S);
    assert_int_equal(k.followup_timeout, 12 * NS_PER_S);
    assert_int_equal(k.retransmit_first, 2 * NS_PER_S);
    assert_int_equal(k.retransmit_tries, 5);
    assert_int_equal(k.fragment_size, 1400);
    assert_int_equal(k.fragment_size_min, 640);
    assert_int_equal(k.max_fragments, 32);
    assert_int_equal(k.max_half_open, 5000);
    assert_int_equal(k.cookie_threshold, 40);
    assert_int_equal(k.cookie_threshold_per_ip, 5);
    assert_int_equal(k.cookie_threshold_per_prefix, 20);
    assert_int_equal(k.cookie_secret[31], l.c->ike.cookie_secret[31]);
    assert_int_equal(k.init_rate_per_ip, 7);
    assert_int_equal(k.handshakes_per_second, 900);
    assert_int_equal(k.max_sas, 100000);
    assert_int_equal(k.max_children, 10);
    assert_int_equal(k.nat_keepalive, 15 * NS_PER_S);
    assert_false(k.downgrade_protection);
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_four_formats_and_the_custom_one),
        TEST(test_without_a_domain),
        TEST(test_forms_of_our_identity),
        TEST(test_address_only_where_the_pair_is_unique),
        TEST(test_three_tunnels_of_one_pair),
        TEST(test_one_fqdn_at_two_endpoints),
        TEST(test_long_identities_are_compared_in_full),
        TEST(test_ipsec_policy),
        TEST(test_default_selectors_are_everything),
        TEST(test_gre_policy),
        TEST(test_gre_key_zero_is_a_key),
        TEST(test_sources),
        TEST(test_route_policy),
        TEST(test_proposals_of_a_tunnel),
        TEST(test_ike_policy),
    };
    return cmocka_run_group_tests_name("config: policy", tests, NULL, NULL);
}
