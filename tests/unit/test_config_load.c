/* Loading: every field of the schema read back, the forms of a secret, file modes; adversarial rows 29, 30, 42. Errors by class are
 * in test_config_errors.c, YAML in test_config_yaml.c. */
#include "lib/config_full.h"
#include "lib/unit.h"

#include <stdio.h>

#include "config/schema.h"

#define IPSEC(rest) "      - {name: i, type: ipsec, endpoint: 198.51.100.2, " rest "}\n"
#define TOP(rest) "version: 1\nendpoints: [198.51.100.2]\n" rest

static void assert_addr(const struct addr *a, const char *text)
{
    char got[ADDR_TEXT];
    assert_string_equal(addr_text(a, got), text);
}

static void assert_prefix(const struct prefix *p, const char *text)
{
    char got[PREFIX_TEXT];
    assert_string_equal(prefix_text(p, got), text);
}

static void assert_words(enum type_id type, const struct config_choices *c, const char *text)
{
    char got[256] = "";
    for (size_t i = 0, n = 0; i < c->n; i++)
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%s", i ? " " : "", config_types[type].words[c->v[i]].text);
    assert_string_equal(got, text);
}

/* ---- every field */

/* Bits of the fields of a section that some row of it sets. */
static void collect(const struct section *s, const void *row, uint64_t seen[SECTION_END])
{
    seen[s->id] |= ((const struct config_row *)row)->set;
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        const struct type *t = &config_types[f->type];
        const struct section *of = &config_sections[t->section];
        if (t->shape == SHAPE_SECTION)
            collect(of, field_of(f, row), seen);
        if (t->shape != SHAPE_ROWS)
            continue;
        struct sequence rows = sequence_get(field_of(f, row));
        for (size_t r = 0; r < rows.n; r++)
            collect(of, (const char *)rows.v + r * of->size, seen);
    }
}

static void test_the_full_file_has_every_field(void **state)
{
    (void)state;
    uint64_t seen[SECTION_END] = {0};
    struct loaded l = config_full_load();
    collect(&config_sections[SECTION_TOP], l.c, seen);
    for (unsigned s = 0; s < SECTION_END; s++)
        for (size_t i = 0; i < config_sections[s].n_fields; i++)
            if (!(seen[s] & CONFIG_BIT(i)))
                fail_msg("config_full has no %s of %s", config_sections[s].fields[i].keyword, config_sections[s].title);
    loaded_free(&l);
}

static void test_server_sections(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    const struct config *c = l.c;
    char text[ENDPOINT_TEXT];
    assert_int_equal(c->version, 1);
    assert_string_equal(c->node.name, "edge-7");
    assert_addr(&c->node.address, "203.0.113.7");
    assert_addr(&c->node.probe_address, "2001:db8:f::7");
    assert_int_equal(c->node.slot, 9);
    assert_int_equal(c->endpoints.n, 2);
    assert_addr(&c->endpoints.v[0], "198.51.100.2");
    assert_addr(&c->endpoints.v[1], "2001:db8::2");
    assert_int_equal(c->outer.mark, 16);
    assert_string_equal(c->outer.device, "bond0.5");
    assert_int_equal(c->outer.mode, CONFIG_OUTER_PACKET);
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->control.path, "/run/adit/other.sock");
    assert_string_equal(c->control.group, "netops");
    assert_string_equal(endpoint_text(&c->metrics.listen, text), "[2001:db8:f::7]:9588");
    assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->log.format, CONFIG_LOG_JSON);
    assert_int_equal(c->log.rate, 100);
    assert_int_equal(c->n_tunnels, 4);
    assert_int_equal(c->n_routes, 2);
    loaded_free(&l);
}

static void test_ike_section(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    const struct config_ike *k = &l.c->ike;
    assert_string_equal(k->identity_domain, "ipsec.example.net");
    assert_string_equal(k->identity, "edge@example.net");
    assert_words(TYPE_IKE_ENCR, &k->proposal.encryption, "aes256 aes128gcm16");
    assert_words(TYPE_IKE_INTEG, &k->proposal.integrity, "sha256");
    assert_words(TYPE_IKE_PRF, &k->proposal.prf, "sha512 sha256");
    assert_words(TYPE_KE, &k->proposal.key_exchange, "modp2048 ecp384");
    assert_words(TYPE_ADDKE, &k->proposal.additional_key_exchange, "mlkem1024");
    assert_words(TYPE_ESP_ENCR, &k->child_proposal.encryption, "aes128 aes256gcm16");
    assert_words(TYPE_ESP_INTEG, &k->child_proposal.integrity, "sha1 sha512 sha384");
    assert_words(TYPE_KE, &k->child_proposal.key_exchange, "modp1536 modp3072 ecp256 modp4096");
    assert_words(TYPE_ADDKE, &k->child_proposal.additional_key_exchange, "mlkem1024 mlkem768");
    assert_int_equal(k->ike_lifetime, 8 * 3600 * NS_PER_S);
    assert_int_equal(k->child_lifetime, 45 * 60 * NS_PER_S);
    assert_int_equal(k->lifetime_jitter, 25);
    assert_int_equal(k->dpd_interval, 45 * NS_PER_S);
    assert_int_equal(k->followup_timeout, 12 * NS_PER_S);
    assert_int_equal(k->half_open_timeout, 20 * NS_PER_S);
    assert_int_equal(k->fragment_timeout, 1500 * NS_PER_MS);
    assert_int_equal(k->fragment_size, 1400);
    assert_int_equal(k->fragment_size_min, 640);
    assert_int_equal(k->max_fragments, 32);
    assert_int_equal(k->max_half_open, 5000);
    assert_int_equal(k->cookie_threshold, 40);
    assert_int_equal(k->cookie_threshold_per_ip, 5);
    assert_int_equal(k->cookie_threshold_per_prefix, 20);
    assert_string_equal(k->cookie_secret_file, "cookie.secret");
    assert_int_equal(k->init_rate_per_ip, 7);
    assert_int_equal(k->handshakes_per_second, 900);
    assert_int_equal(k->max_sas, 100000);
    assert_int_equal(k->max_children, 10);
    assert_int_equal(k->retransmit_first, 2 * NS_PER_S);
    assert_int_equal(k->retransmit_tries, 5);
    assert_int_equal(k->nat_keepalive, 15 * NS_PER_S);
    assert_false(k->downgrade_protection);
    loaded_free(&l);
}

static void test_fleet_section(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    const struct config_fleet *f = &l.c->fleet;
    assert_int_equal(f->store, CONFIG_STORE_ETCD);
    assert_string_equal(f->cluster, "eu");
    assert_string_equal(f->directory, "/var/lib/adit/store");
    assert_int_equal(f->etcd.endpoints.n, 2);
    assert_string_equal(f->etcd.endpoints.v[1], "https://etcd-2.example.net:2379");
    assert_int_equal(f->etcd.read_endpoints.n, 1);
    assert_string_equal(f->etcd.read_endpoints.v[0], "https://mirror.example.net:2379");
    assert_int_equal(f->etcd.write_endpoints.n, 1);
    assert_string_equal(f->etcd.write_endpoints.v[0], "https://leader.example.net:2379");
    assert_string_equal(f->etcd.prefix, "/adit/eu");
    assert_string_equal(f->etcd.ca_file, "etcd/ca.pem");
    assert_string_equal(f->etcd.cert_file, "etcd/cert.pem");
    assert_string_equal(f->etcd.key_file, "etcd/key.pem");
    assert_string_equal(f->etcd.user, "adit");
    assert_string_equal(f->etcd.password_file, "etcd/password");
    assert_int_equal(f->etcd.timeout, 3 * NS_PER_S);
    assert_int_equal(f->kek.n, 2);
    assert_int_equal(f->kek.v[1].epoch, 5);
    assert_string_equal(f->kek.v[1].file, "kek-5");
    assert_string_equal(f->node_key_file, "node.key");
    assert_int_equal(f->nodes.n, 2);
    assert_int_equal(f->nodes.v[0].slot, 9);
    assert_string_equal(f->nodes.v[0].name, "edge-7");
    assert_null(f->nodes.v[1].name);
    assert_addr(&f->nodes.v[1].address, "203.0.113.8");
    assert_string_equal(f->nodes.v[1].public_key, "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddee08");
    assert_int_equal(f->port, 4748);
    assert_int_equal(f->lease, 20 * NS_PER_S);
    assert_int_equal(f->commit_wait, 200 * NS_PER_MS);
    assert_int_equal(f->replay, CONFIG_REPLAY_SINGLE_EGRESS);
    loaded_free(&l);
}

static void test_account_and_routes(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    const struct config_account *a = l.c->accounts.v;
    assert_int_equal(l.c->accounts.n, 2);
    assert_string_equal(a->id, "123456789");
    assert_string_equal(a->name, "acme");
    assert_string_equal(a->netns, "acme-ns");
    assert_true(a->create);
    assert_string_equal(a->device, "adit7");
    assert_int_equal(a->tunnels.n, 4);
    assert_int_equal(a->routes.n, 2);
    assert_prefix(&a->routes.v[0].prefix, "10.1.0.0/16");
    assert_string_equal(a->routes.v[0].tunnel, "acme-ipsec");
    assert_int_equal(a->routes.v[0].priority, 7);
    assert_int_equal(a->routes.v[0].weight, 256);
    assert_prefix(&a->routes.v[1].prefix, "2001:db8:1::/48");
    assert_int_equal(a->routes.v[1].priority, 100);
    assert_int_equal(a->routes.v[1].weight, 64);
    assert_int_equal(a->row.line, 71);
    assert_int_equal(a->row.col, 5);
    assert_null(a->row.at);
    assert_int_equal(a[1].tunnels.n, 0);
    loaded_free(&l);
}

static void test_gre_tunnel(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    const struct config_tunnel *t = &l.c->accounts.v[0].tunnels.v[0];
    assert_int_equal(t->type, TUNNEL_GRE);
    assert_string_equal(t->name, "acme-gre");
    assert_string_equal(t->description, "the \"old\" line, C:\\path, \xc3\xa4");
    assert_addr(&t->endpoint, "198.51.100.2");
    assert_addr(&t->customer_endpoint, "192.0.2.2");
    assert_prefix(&t->interface_address, "10.255.0.1/30");
    assert_prefix(&t->interface_address6, "fd00::2/127");
    assert_int_equal(t->mtu, 1400);
    assert_int_equal(t->mss, 1300);
    assert_int_equal(t->outer.df, DF_SET);
    assert_int_equal(t->outer.dscp, 46);
    assert_int_equal(t->outer.ecn, ECN_NORMAL);
    assert_true(t->health_check.enabled);
    assert_int_equal(t->health_check.direction, CONFIG_BIDIRECTIONAL);
    assert_int_equal(t->health_check.type, CONFIG_PROBE_REQUEST);
    assert_int_equal(t->health_check.rate, CONFIG_RATE_HIGH);
    assert_addr(&t->health_check.target, "10.255.0.2");
    assert_int_equal(t->ttl, 32);
    assert_int_equal(t->key, UINT32_MAX);
    assert_true(t->checksum);
    assert_true(t->sequence);
    assert_true(t->sequence_check);
    assert_false(t->keepalive);
    assert_int_equal(t->allow_sources.n, 2);
    assert_prefix(&t->allow_sources.v[0], "172.16.0.0/12");
    assert_prefix(&t->allow_sources.v[1], "2001:db8:77::/48");
    assert_string_equal(t->protect, "acme-ipsec");
    assert_ptr_equal(config_tunnel_protector(t), t + 1);
    assert_ptr_equal(t[1].carries, t);
    assert_null(t[3].carries);
    assert_ptr_equal(t->account, &l.c->accounts.v[0]);
    loaded_free(&l);
}

static void test_ipsec_tunnel(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    const struct config_tunnel *t = &l.c->accounts.v[0].tunnels.v[1];
    assert_int_equal(t->type, TUNNEL_IPSEC);
    assert_int_equal(t->outer.df, DF_CLEAR);
    assert_int_equal(t->outer.dscp, 0);
    assert_int_equal(t->outer.ecn, ECN_COMPAT);
    assert_string_equal(t->id, "f5407d8db1a542b196c59f6d04ba8bd1");
    assert_string_equal(t->fqdn, "router.acme.example");
    assert_true(t->strict_peer);
    assert_int_equal(t->psk.n, 2);
    assert_string_equal(t->psk.v[0].file, "keys/old");
    assert_int_equal(t->psk.v[0].not_after, 1801439999); /* date -ud '2027-01-31 23:59:59' +%s */
    assert_int_equal(t->psk.v[1].not_after, 1835440205); /* date -ud '2028-02-29 12:30:05' +%s */
    assert_int_equal(t->pq, PQ_REQUIRE);
    assert_true(t->allow_null_cipher);
    assert_true(t->replay_protection);
    assert_int_equal(t->replay_window, 64);
    assert_int_equal(t[1].pq, PQ_OFF);
    assert_string_equal(t[1].psk_file, "/etc/adit/six.psk");
    assert_false(t[1].replay_protection); /* several servers: none of them sees all packets */
    loaded_free(&l);
}

/* "accepted, not active yet" for what the schema calls LATER, and for nothing else. */
static void test_notes_are_those_of_the_schema(void **state)
{
    (void)state;
    struct loaded l = config_full_load();
    size_t later = 0;
    assert_int_equal(l.report.total[CONFIG_ERROR], 0);
    assert_true(l.report.total[CONFIG_NOTE] > 0 && l.report.total[CONFIG_NOTE] < CONFIG_MESSAGES_MAX);
    for (unsigned s = 0; s < SECTION_END; s++)
        for (size_t i = 0; i < config_sections[s].n_fields; i++) {
            const struct field *f = &config_sections[s].fields[i];
            enum shape shape = config_types[f->type].shape;
            char end[128];
            bool found = false, row = s == SECTION_KEK || s == SECTION_MEMBER; /* noted as a whole */
            snprintf(end, sizeof end, "%s: accepted, not active yet", f->keyword);
            for (size_t m = 0; m < l.report.n; m++) {
                const char *text = l.report.v[m].text, *at = strstr(text, end);
                found |= at && (at == text || at[-1] == '.' || at[-1] == ' ');
            }
            if (f->status == CONFIG_STATUS_LATER && shape != SHAPE_SECTION && !row) {
                later++;
                if (!found)
                    fail_msg("no note about %s of %s", f->keyword, config_sections[s].title);
            }
        }
    assert_true(later > 0);
    assert_int_equal(l.report.total[CONFIG_NOTE], later);
    loaded_free(&l);
}

/* ---- forms of a secret */

static void assert_psk(struct files *f, const char *psk, struct span value)
{
    char text[4096];
    snprintf(text, sizeof text, HEAD IPSEC("%s"), psk);
    struct loaded l = load_text(f, text);
    assert_true(report_empty(&l.report));
    assert_int_equal(l.rc, RC_OK);
    const struct config_tunnel *t = l.c->accounts.v[0].tunnels.v;
    assert_int_equal(t->psk.n, 1);
    assert_span_equal(t->psk.v[0].value, value);
    assert_int_equal(t->psk.v[0].not_after, 0);
    loaded_free(&l);
}

static void test_psk_forms(void **state)
{
    (void)state;
    struct span good = span_str(GOOD_PSK),
                octets = hex("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    struct files f = {0};
    files_add(&f, "text", GOOD_PSK, 0600, 0);
    files_add(&f, "unix", GOOD_PSK "\n", 0400, 0);
    files_add(&f, "dos", GOOD_PSK "\r\n", 0600, 0);
    files_add(&f, "hex", FULL_KEY "\n", 0600, 0);
    assert_psk(&f, "psk: " GOOD_PSK, good);
    assert_psk(&f, "psk: \"" GOOD_PSK "\"", good);
    assert_psk(&f, "psk: " FULL_KEY, octets);
    assert_psk(&f, "psk: [{value: " GOOD_PSK "}]", good);
    assert_psk(&f, "psk: [{value: " FULL_KEY "}]", octets);
    assert_psk(&f, "psk: [{file: hex}]", octets);
    assert_psk(&f, "psk_file: text", good);
    assert_psk(&f, "psk_file: unix", good);
    assert_psk(&f, "psk_file: dos", good);
    assert_psk(&f, "psk_file: hex", octets);
    assert_psk(&f, "psk: \"spaces and: marks # are 'part' of it, {too}\"",
               span_str("spaces and: marks # are 'part' of it, {too}"));
}

static void test_psk_file_beside_the_configuration(void **state)
{
    (void)state;
    struct files f = {0};
    struct config_report report = {0};
    struct config *c = NULL;
    files_add(&f, "/etc/adit/adit.yaml", HEAD IPSEC("psk_file: keys/i"), 0640, 33);
    files_add(&f, "/etc/adit/keys/i", GOOD_PSK, 0600, 33); /* of the file's owner */
    struct config_reader reader = files_reader(&f);
    assert_int_equal(config_load(&reader, "/etc/adit/adit.yaml", &report, &c), RC_OK);
    assert_span_equal(c->accounts.v[0].tunnels.v[0].psk.v[0].value, span_str(GOOD_PSK));
    config_free(c);
    config_report_free(&report);
}

static void refuse_psk(struct files *f, const char *psk, const char *what, const char *remedy)
{
    char text[4096];
    struct place at;
    snprintf(text, sizeof text, HEAD IPSEC("%s"), psk);
    struct loaded l = load_marked(f, text, &at);
    assert_int_equal(l.rc, RC_SYNTAX);
    assert_true(report_has(&l.report, at.line, at.col, "tunnel i: ", what, remedy));
    loaded_free(&l);
}

static void test_psk_files_refused(void **state)
{
    (void)state;
    struct files f = {0};
    files_add(&f, "foreign", GOOD_PSK, 0600, 1000);
    files_add(&f, "empty", "\n", 0600, 0);
    files_add(&f, "two", GOOD_PSK "\n" GOOD_PSK2 "\n", 0600, 0);
    files_add(&f, "odd", FULL_KEY "0", 0600, 0);
    files_add(&f, "nothex", FULL_KEY "zz", 0600, 0);
    refuse_psk(&f, "psk_file: ^nowhere", "does not exist (looked for nowhere)", "create it with mode 0600");
    refuse_psk(&f, "psk_file: ^foreign", "belongs to user 1000", "chown it");
    refuse_psk(&f, "psk_file: ^empty", "is empty", "write the key");
    refuse_psk(&f, "psk_file: ^two", "holds a control character", "one line of text");
    refuse_psk(&f, "psk_file: ^odd", "odd number of hexadecimal digits", "two for each octet");
    refuse_psk(&f, "psk_file: ^nothex", "is not hexadecimal", "or another text");
    refuse_psk(&f, "psk_file: ^text, psk: " GOOD_PSK, "both psk and psk_file", "keep one");
    refuse_psk(&f, "psk: [^{not_after: 2027-01-01}]", "needs either value or file", "");
    refuse_psk(&f, "psk: [{value: " GOOD_PSK ", file: ^two}]", "needs either value or file", "not both");
    refuse_psk(&f, "psk: ^<redacted>", "is redacted: this file is a dump", "put the key back");
}

static void test_psk_file_too_large(void **state)
{
    (void)state;
    static char large[CONFIG_SECRET_FILE_MAX + 2];
    struct files f = {0};
    memset(large, 'x', sizeof large - 1);
    files_add(&f, "k", large, 0600, 0);
    refuse_psk(&f, "psk_file: ^k", "larger than 16384 octets", "one line with the key");
    large[CONFIG_SECRET_FILE_MAX] = 0;
    f.n = 0;
    files_add(&f, "k", large, 0600, 0);
    refuse_psk(&f, "psk_file: ^k", "longer than 256 characters", "shorten it");
}

/* ---- adversarial rows 29, 30, 42 */

static void test_adv_29_own_identity_as_peer(void **state)
{
    (void)state;
    struct place at;
    /* Each of the ways in which a tunnel's identity can be our own. */
    static const char *const files[] = {
        TOP("ike: {identity: edge.example.net}\naccounts:\n  - id: a\n    netns: a\n    tunnels:\n")
            IPSEC("fqdn: ^edge.example.net, psk: " GOOD_PSK),
        TOP("ike: {identity: i.a.example.net, identity_domain: example.net}\naccounts:\n  - id: a\n    netns: a\n"
            "    tunnels:\n      - ^{name: i, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK "}\n"),
        TOP("ike: {identity: ipsec@x.a.example.net, identity_domain: example.net}\naccounts:\n  - id: a\n    netns: a\n"
            "    tunnels:\n") IPSEC("id: ^x, psk: " GOOD_PSK),
        TOP("ike: {identity: 192.0.2.9}\naccounts:\n  - id: a\n    netns: a\n    tunnels:\n"
            "      - ^{name: i, type: ipsec, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.9, psk: " GOOD_PSK
            "}\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct loaded l = load_marked(NULL, files[i], &at);
        assert_int_equal(l.rc, RC_SYNTAX);
        assert_true(
            report_has(&l.report, at.line, at.col, "is our own (ike.identity)", "reflect our proof", "use another"));
        loaded_free(&l);
    }
}

static void test_adv_30_weak_psks(void **state)
{
    (void)state;
    static const struct {
        const char *psk, *why;
    } weak[] = {
        {"short-Kq9!xT2mLw7z", "18 characters"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "is weak"},
        {"abcdefghijklmnopqrstuvwxyz", "is weak"},
        {"hunter2hunter2hunter2hunter2", "is weak"},
        {"12345678901234567890", "is weak"},
        {"31415926535897932384626433832795", "is weak"}, /* digits only: 106 bits */
        {"aabbaabcccabcbacbbcabacbcacabbca", "is weak"}, /* three letters */
        {"0x00112233445566778899aabbccddee", "is weak"}, /* 120 bits */
        {"0x"
         "0000000000000000000000000000000000000000000000000000000000000000",
         "is weak"},
        {"0x", "is weak"},
    };
    struct files f = {0};
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
        char text[256];
        snprintf(text, sizeof text, "psk: ^\"%s\"", weak[i].psk);
        refuse_psk(NULL, text, weak[i].why, "openssl rand -base64 32");
        f.n = 0;
        files_add(&f, "k", weak[i].psk, 0600, 0);
        refuse_psk(&f, "psk_file: ^k", "is weak", "openssl rand -base64 32");
        refuse_psk(&f, "psk: [{file: ^k}]", "is weak", "openssl rand -base64 32");
    }
    /* What the advice makes, 128 bits in hexadecimal and in base64, the shortest text. */
    assert_psk(NULL, "psk: \"8+PzYw2dLCS5XqDc3Ih9sQWv0mRjTnGk1bFoEa7Ux4U=\"",
               span_str("8+PzYw2dLCS5XqDc3Ih9sQWv0mRjTnGk1bFoEa7Ux4U="));
    assert_psk(NULL, "psk: \"0x4f1d8a63c7e09b25f61e3d8740ba95c2\"", hex("4f1d8a63c7e09b25f61e3d8740ba95c2"));
    assert_psk(NULL, "psk: \"u3Kf9WqTz0yXb7RmE1vLsA==\"", span_str("u3Kf9WqTz0yXb7RmE1vLsA=="));
    assert_psk(NULL, "psk: \"k#9Tq!x2Lw;7zPd%4sRm\"", span_str("k#9Tq!x2Lw;7zPd%4sRm"));
}

static void test_adv_30_file_modes(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0601, 0602, 0604, 0610, 0620, 0640, 0660, 0666, 0777, 04755};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct files f = {0};
        char mode[32];
        snprintf(mode, sizeof mode, "0%o: ", bad[i]);
        files_add(&f, "k", GOOD_PSK, bad[i], 0);
        refuse_psk(&f, "psk_file: ^k", mode, "chmod 0600 k");
        f.n = 0; /* the configuration itself, with a secret in it */
        files_add(&f, "adit.yaml", HEAD IPSEC("psk: " GOOD_PSK), bad[i], 0);
        struct loaded l = load_text(&f, "");
        assert_int_equal(l.rc, RC_SYNTAX);
        assert_true(report_has(&l.report, 9, 61, "a secret stands in this file", mode,
                               "chmod 0600 adit.yaml, or use psk_file"));
        loaded_free(&l);
        f.n = 0; /* without a secret, others may read it but not write */
        files_add(&f, "adit.yaml", HEAD IPSEC("psk_file: k"), bad[i], 0);
        files_add(&f, "k", GOOD_PSK, 0600, 0);
        l = load_text(&f, "");
        assert_int_equal(l.rc, bad[i] & 2 ? RC_SYNTAX : RC_OK);
        if (bad[i] & 2)
            assert_true(report_has(&l.report, 1, 1, mode, "every user of the machine could change it", "chmod o-w"));
        loaded_free(&l);
    }
}

static void test_adv_42_customer_is_ours(void **state)
{
    (void)state;
    static const struct {
        const char *server, *customer, *what;
    } cases[] = {
        {"endpoints: [198.51.100.2, 198.51.100.9]\n", "198.51.100.9", "(endpoints)"},
        {"endpoints: [198.51.100.2]\n", "198.51.100.2", "(endpoints)"},
        {"endpoints: [198.51.100.2]\nnode: {address: 203.0.113.7}\n", "203.0.113.7", "(node.address)"},
        {"endpoints: [198.51.100.2]\nnode: {probe_address: 203.0.113.8}\n", "203.0.113.8", "(node.probe_address)"},
        {"endpoints: [198.51.100.2]\nfleet: {nodes: [{slot: 1, address: 203.0.113.9, public_key: \"" FULL_KEY "\"}]}\n",
         "203.0.113.9", "(fleet.nodes)"},
    };
    static const char *const types[] = {"gre", "ipsec"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        char text[1024];
        struct place at;
        snprintf(text, sizeof text,
                 "version: 1\n%saccounts:\n  - id: a\n    netns: a\n    tunnels:\n"
                 "      - {name: t, type: %s, endpoint: 198.51.100.2, customer_endpoint: ^%s%s}\n",
                 cases[i / 2].server, types[i % 2], cases[i / 2].customer, i % 2 ? ", psk: " GOOD_PSK : "");
        struct loaded l = load_marked(NULL, text, &at);
        assert_int_equal(l.rc, RC_SYNTAX);
        assert_true(report_has(&l.report, at.line, at.col, "is an address of our own", cases[i / 2].what,
                               "packets would go in a circle; correct it"));
        loaded_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_full_file_has_every_field),
        TEST(test_server_sections),
        TEST(test_ike_section),
        TEST(test_fleet_section),
        TEST(test_account_and_routes),
        TEST(test_gre_tunnel),
        TEST(test_ipsec_tunnel),
        TEST(test_notes_are_those_of_the_schema),
        TEST(test_psk_forms),
        TEST(test_psk_file_beside_the_configuration),
        TEST(test_psk_files_refused),
        TEST(test_psk_file_too_large),
        TEST(test_adv_29_own_identity_as_peer),
        TEST(test_adv_30_weak_psks),
        TEST(test_adv_30_file_modes),
        TEST(test_adv_42_customer_is_ours),
    };
    return cmocka_run_group_tests_name("config: load", tests, NULL, NULL);
}
