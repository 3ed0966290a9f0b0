/* The dump: YAML that loads to the same configuration, complete, and without a secret. */
#include "lib/config_full.h"
#include "lib/unit.h"

#include <stdio.h>

/* Free it. */
static char *dumped(const struct config *c)
{
    struct buf b = {0};
    OK(config_dump(c, &b));
    char *text = malloc(b.n + 1);
    assert_non_null(text);
    memcpy(text, b.p, b.n);
    text[b.n] = 0;
    buf_free(&b);
    return text;
}

static void assert_equal(const struct config *a, const struct config *b)
{
    struct config_diff diff = {0};
    OK(config_diff(a, b, &diff));
    assert_int_equal(diff.n, 0);
    assert_int_equal(diff.sections, 0);
    config_diff_free(&diff);
}

/* text -> configuration -> dump -> configuration: the same, and its dump the same octets. */
static void assert_round_trip(struct files *f, const char *text)
{
    struct loaded l = load_text(f, text);
    if (l.rc != RC_OK)
        report_empty(&l.report); /* prints it */
    OK(l.rc);
    char *first = dumped(l.c);
    struct loaded again = load_text(f, first);
    if (again.rc != RC_OK)
        report_empty(&again.report);
    OK(again.rc);
    assert_equal(l.c, again.c);
    char *second = dumped(again.c);
    assert_string_equal(first, second);
    free(first);
    free(second);
    loaded_free(&l);
    loaded_free(&again);
}

/* Every default, as docs/configuration.md states it. */
static void test_defaults(void **state)
{
    (void)state;
    struct files f = {.any = GOOD_PSK};
    struct loaded l =
        load_text(&f, "version: 1\nendpoints: [198.51.100.2]\naccounts:\n  - id: a\n    tunnels:\n"
                      "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3}\n"
                      "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk_file: k}\n"
                      "    routes: [{prefix: 10.0.0.0/8, tunnel: g}]\n");
    OK(l.rc);
    char *text = dumped(l.c);
    assert_string_equal(text, "version: 1\n"
                              "node: {}\n"
                              "endpoints: [\"198.51.100.2\"]\n"
                              "outer:\n"
                              "  mode: raw\n"
                              "workers: 0\n"
                              "ike:\n"
                              "  proposal:\n"
                              "    encryption: [aes256gcm16, aes128gcm16, aes256]\n"
                              "    integrity: [sha256]\n"
                              "    prf: [sha384, sha512, sha256]\n"
                              "    key_exchange: [ecp384, modp2048, modp1536]\n"
                              "    additional_key_exchange: [mlkem768, mlkem1024]\n"
                              "  child_proposal:\n"
                              "    encryption: [aes256gcm16, aes128gcm16, aes256, aes128]\n"
                              "    integrity: [sha256, sha1]\n"
                              "    key_exchange: [ecp384, modp2048, modp1536]\n"
                              "    additional_key_exchange: [mlkem768, mlkem1024]\n"
                              "  ike_lifetime: 23h\n"
                              "  child_lifetime: 7h\n"
                              "  lifetime_jitter: 10\n"
                              "  dpd_interval: 0s\n"
                              "  followup_timeout: 20s\n"
                              "  half_open_timeout: 30s\n"
                              "  fragment_timeout: 15s\n"
                              "  fragment_size: 1280\n"
                              "  fragment_size_min: 576\n"
                              "  max_fragments: 64\n"
                              "  max_half_open: 10000\n"
                              "  cookie_threshold: 30\n"
                              "  cookie_threshold_per_ip: 3\n"
                              "  cookie_threshold_per_prefix: 10\n"
                              "  init_rate_per_ip: 20\n"
                              "  handshakes_per_second: 500\n"
                              "  max_sas: 200000\n"
                              "  max_children: 100\n"
                              "  retransmit_first: 1s\n"
                              "  retransmit_tries: 12\n"
                              "  nat_keepalive: 20s\n"
                              "  downgrade_protection: true\n"
                              "fleet:\n"
                              "  store: none\n"
                              "  etcd:\n"
                              "    prefix: \"/adit/v1\"\n"
                              "    timeout: 5s\n"
                              "  port: 4747\n"
                              "  lease: 10s\n"
                              "  commit_wait: 150ms\n"
                              "  replay: off\n"
                              "control:\n"
                              "  path: \"/run/adit/control.sock\"\n"
                              "metrics: {}\n"
                              "log:\n"
                              "  level: info\n"
                              "  format: text\n"
                              "  rate: 20\n"
                              "accounts:\n"
                              "  - id: \"a\"\n"
                              "    create: false\n"
                              "    device: \"adit0\"\n"
                              "    tunnels:\n"
                              "      - name: \"g\"\n"
                              "        type: gre\n"
                              "        endpoint: \"198.51.100.2\"\n"
                              "        customer_endpoint: \"192.0.2.3\"\n"
                              "        outer:\n"
                              "          df: copy\n"
                              "          dscp: copy\n"
                              "          ecn: compat\n"
                              "        health_check:\n"
                              "          enabled: false\n"
                              "          direction: unidirectional\n"
                              "          type: reply\n"
                              "          rate: mid\n"
                              "        ttl: 64\n"
                              "        checksum: false\n"
                              "        sequence: false\n"
                              "        sequence_check: false\n"
                              "        keepalive: true\n"
                              "      - name: \"i\"\n"
                              "        type: ipsec\n"
                              "        endpoint: \"198.51.100.2\"\n"
                              "        outer:\n"
                              "          df: copy\n"
                              "          dscp: copy\n"
                              "          ecn: normal\n"
                              "        health_check:\n"
                              "          enabled: false\n"
                              "          direction: unidirectional\n"
                              "          type: reply\n"
                              "          rate: mid\n"
                              "        strict_peer: false\n"
                              "        psk_file: \"k\"\n"
                              "        pq: prefer\n"
                              "        ike: {}\n"
                              "        esp: {}\n"
                              "        allow_null_cipher: false\n"
                              "        replay_protection: true\n"
                              "        replay_window: 1024\n"
                              "    routes:\n"
                              "      - prefix: \"10.0.0.0/8\"\n"
                              "        tunnel: \"g\"\n"
                              "        priority: 100\n"
                              "        weight: 64\n");
    free(text);
    loaded_free(&l);
}

static void test_every_field_round_trips(void **state)
{
    (void)state;
    struct files f = config_full_files();
    struct loaded l = config_full_load();
    char *text = dumped(l.c), *whole = text_replaced(text, "<redacted>", GOOD_PSK);
    struct loaded again = load_text(&f, whole);
    OK(again.rc);
    assert_equal(l.c, again.c);
    char *second = dumped(again.c);
    assert_string_equal(second, text);
    free(text);
    free(whole);
    free(second);
    loaded_free(&l);
    loaded_free(&again);
}

static void test_values_are_the_files_own(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\n  name: \"edge-7\"\n",
        "\n  mark: 16\n",
        "\n  fragment_timeout: 1500ms\n",
        "\n  child_lifetime: 45m\n",
        "\n    - epoch: 5\n",
        "\n  listen: \"[2001:db8:f::7]:9588\"\n",
        "\n        description: \"the \\\"old\\\" line, C:\\\\path, \xc3\xa4\"\n",
        "\n          dscp: 0\n",
        "\n            not_after: 2027-01-31T23:59:59Z\n",
        "\n            not_after: 2028-02-29T12:30:05Z\n",
        "\n        allow_sources: [\"172.16.0.0/12\", \"2001:db8:77::/48\"]\n",
    };
    struct loaded l = config_full_load();
    char *text = dumped(l.c);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("no line%sin the dump", lines[i]);
    free(text);
    loaded_free(&l);
}

static void test_no_secret_in_the_dump(void **state)
{
    (void)state;
    static const char *const secrets[] = {GOOD_PSK, GOOD_PSK2, "q8Zr7Nw4", &FULL_KEY[2], &FULL_KEY2[2], "Nw4Kd8Hs"};
    struct loaded l = config_full_load();
    char *text = dumped(l.c);
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        assert_null(strstr(text, secrets[i]));
    assert_non_null(strstr(text, "- value: <redacted>\n"));
    free(text);
    loaded_free(&l);

    /* Nor in a message, whatever is wrong with it. */
    static const char *const bad[] = {
        "psk: hunter2hunter2hunter2", "psk: [{value: hunter2hunter2hunter2}]", "psk: \"0xhunter2hunter2\"",
        "psk: \"hunter2\\thunter2\"", "psk: hunter2hunter2, psk_file: k",      "psk_file: weak",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char line[512], file[1024];
        struct files f = {0};
        files_add(&f, "weak", "hunter2hunter2", 0600, 0);
        snprintf(file, sizeof file, HEAD "      - {name: i, type: ipsec, endpoint: 198.51.100.2, %s}\n", bad[i]);
        l = load_text(&f, file);
        assert_int_equal(l.rc, RC_SYNTAX);
        assert_true(l.report.n > 0);
        for (size_t m = 0; config_report_line(&l.report, "adit.yaml", m, line, sizeof line) == RC_OK; m++)
            assert_null(strstr(line, "hunter2"));
        loaded_free(&l);
    }
}

static void test_a_redacted_dump_is_refused(void **state)
{
    (void)state;
    struct files f = config_full_files();
    struct loaded l = config_full_load();
    char *text = dumped(l.c);
    struct loaded again = load_text(&f, text);
    assert_int_equal(again.rc, RC_SYNTAX);
    assert_int_equal(again.report.total[CONFIG_ERROR], 1);
    assert_non_null(strstr(again.report.v[0].text, "value is redacted: this file is a dump; put the key back"));
    free(text);
    loaded_free(&l);
    loaded_free(&again);
}

static void test_forms_round_trip(void **state)
{
    (void)state;
    struct files f = {.any = GOOD_PSK};
    assert_round_trip(&f, "version: 1\n");
    assert_round_trip(&f, "version: 1\nendpoints: []\naccounts: []\n");
    assert_round_trip(
        &f, "version: 1\nike: {proposal: {additional_key_exchange: []}, child_proposal: {key_exchange: []}}\n");
    assert_round_trip(&f, "version: 1\nlog: {rate: 0}\nfleet: {commit_wait: 0ms}\nike: {ike_lifetime: 1d}\n");
    assert_round_trip(&f, "version: 1\nmetrics: {listen: 127.0.0.1:1}\n");
    assert_round_trip(&f, "version: 1\naccounts: [{id: a, tunnels: [], routes: []}]\n");
}

/* Names that a reader of YAML might take for something else. */
static void test_odd_names_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {"no", "null", "1e3", "0x10", "true", "010", "2027-01-31", "_", "1_000"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[256];
        snprintf(text, sizeof text, "version: 1\nnode: {name: \"%s\"}\naccounts: [{id: \"%s\"}]\n", names[i], names[i]);
        assert_round_trip(NULL, text);
    }
}

static void fill(char ret[4096], const char *unit, size_t times)
{
    for (size_t i = 0, n = 0; i < times; i++)
        n += (size_t)snprintf(ret + n, 4096 - n, "%s", unit);
}

/* The longest texts, of characters that take most room. */
static void test_long_texts_round_trip(void **state)
{
    (void)state;
    static const char *const units[] = {"\\\\", "\\\"", "\xf0\x9f\x9a\x87", "'", "# ", ": "};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        char description[4096] = "", path[4096] = "", text[16384];
        size_t octets = units[i][0] == '\\' ? 1 : strlen(units[i]);
        fill(description, units[i], 1000 / octets);
        fill(path, units[i], 1023 / octets);
        snprintf(text, sizeof text,
                 "fleet: {directory: \"%s\"}\n" HEAD "      - {name: g, type: gre, endpoint: 198.51.100.2, "
                 "customer_endpoint: 192.0.2.3, description: \"%s\"}\n",
                 path, description);
        assert_round_trip(NULL, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_every_field_round_trips),
        TEST(test_values_are_the_files_own),
        TEST(test_no_secret_in_the_dump),
        TEST(test_a_redacted_dump_is_refused),
        TEST(test_forms_round_trip),
        TEST(test_odd_names_round_trip),
        TEST(test_long_texts_round_trip),
    };
    return cmocka_run_group_tests_name("config: dump", tests, NULL, NULL);
}
