/* What an operator is told: one event for every handshake that failed, with its reason, and one for every one that came up. */
#include "lib/adv.h"

#include <stdio.h>

static struct pair *p;
static struct tunnel_policy tunnel;

/* ---- the log, as lines "name key=value|key=value|" */

static char lines[1 << 16];

static void keep(void *ctx, const struct log_event *event)
{
    char addr[ENDPOINT_TEXT];
    size_t at = strlen(lines), n = sizeof lines;
    (void)ctx;
    at += (size_t)snprintf(lines + at, n - at, "%s ", event->name);
    for (size_t i = 0; i < event->n_fields && at < n; i++) {
        const struct log_field *f = &event->fields[i];
        at += (size_t)snprintf(lines + at, n - at, "%s=", f->key);
        switch (f->type) {
        case LOG_TYPE_U64:
        case LOG_TYPE_BOOL: at += (size_t)snprintf(lines + at, n - at, "%llu|", (unsigned long long)f->u); break;
        case LOG_TYPE_STR: at += (size_t)snprintf(lines + at, n - at, "%s|", f->str); break;
        case LOG_TYPE_BYTES:
            at += (size_t)snprintf(lines + at, n - at, "%.*s|", (int)f->bytes.n, (const char *)f->bytes.p);
            break;
        case LOG_TYPE_HEX: at += (size_t)snprintf(lines + at, n - at, "%zu octets|", f->bytes.n); break;
        case LOG_TYPE_ADDR: at += (size_t)snprintf(lines + at, n - at, "%s|", addr_text(&f->addr, addr)); break;
        case LOG_TYPE_ENDPOINT:
            at += (size_t)snprintf(lines + at, n - at, "%s|", endpoint_text(&f->endpoint, addr));
            break;
        }
    }
    snprintf(lines + at, n - at, "\n");
}

/* The only line of that event. */
static const char *only(const char *event)
{
    static char line[4096];
    const char *found = strstr(lines, event);
    if (!found || strstr(found + 1, event)) {
        fail_msg("not once: %s in\n%s", event, lines);
        return "";
    }
    snprintf(line, sizeof line, "%.*s", (int)strcspn(found, "\n"), found);
    return line;
}
static void assert_says(const char *line, const char *part)
{
    if (!strstr(line, part))
        fail_msg("no \"%s\" in \"%s\"", part, line);
}
static void assert_silent_about(const char *line, const char *part)
{
    if (strstr(line, part))
        fail_msg("\"%s\" in \"%s\"", part, line);
}

static void listen(void)
{
    lines[0] = '\0';
    p->e->log.emit = keep;
}

static int set_up(void **state)
{
    (void)state;
    p = pair_new(NULL);
    tunnel = edge_tunnel();
    listen();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    return 0;
}

/* A whole attempt, and the time after it in which more could be said. */
static const char *failure(void)
{
    initiator_connect(p->i, p->e->now);
    pair_carry(p);
    pair_pass(p, 60 * NS_PER_S);
    return only("ike.handshake_failed ");
}

/* ---- each class */

static void proposal(void **state)
{
    struct ike_failure last;
    (void)state;
    p->i->wish.ike.encr = ENCR_AES_CBC;
    p->i->wish.ike.encr_bits = 128;
    p->i->wish.ike.integ = INTEG_HMAC_SHA1_96;
    tunnel.customer_endpoint = p->i->local.addr; /* then the tunnel is known by it */
    struct identity *id = &tunnel.identities[tunnel.n_identities++];
    *id = (struct identity){.type = ID_IPV4_ADDR, .n = 4};
    memcpy(id->data, p->i->local.addr.b, 4);
    edge_set(p->e, &tunnel);
    const char *s = failure();
    assert_says(s, "class=fail_proposal|");
    assert_says(s, "trace=8 octets|");
    assert_says(s, "peer=192.0.2.2:500|");
    assert_says(s, "tunnel=acme/office|tunnel_by_address=1|");
    assert_says(s, "offered=AES_CBC_128/PRF_HMAC_SHA2_384/");
    assert_says(s, "nearest=AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/ADDKE1_ML_KEM_768|");
    assert_says(s, "differs=encryption or integrity|");
    assert_true(ike_last_failure(p->e->ike, EDGE_TUNNEL, &last));
    assert_says(last.text, "no IKE proposal acceptable; offered AES_CBC_128");
    assert_says(last.text, "; nearest AES_GCM_16_256");
    assert_says(last.text, "; differs in encryption or integrity");
}

static void proposal_that_differs_in_two_things(void **state)
{
    struct ike_policy policy;
    (void)state;
    ike_policy_default(&policy);
    policy.ike.prf[0] = PRF_HMAC_SHA2_512;
    policy.ike.n_prf = 1;
    policy.ike.ke[0] = KE_MODP2048;
    policy.ike.n_ke = 1;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
    const char *s = failure();
    assert_says(s, "nearest=AES_GCM_16_256/PRF_HMAC_SHA2_512/MODP_2048");
    assert_says(s, "differs=PRF, key exchange");
}

static void wrong_psk(void **state)
{
    struct ike_failure last;
    (void)state;
    p->i->wish.psk = "another key of sufficient length.....";
    const char *s = failure();
    assert_says(s, "class=fail_psk|");
    assert_says(s, "reason=wrong pre-shared key|");
    assert_says(s, "id_type=FQDN|id=office.example.net|");
    assert_says(s, "tunnel=acme/office|tunnel_by_address=0|");
    assert_says(s, "state=awaiting-auth|additional_exchanges=1|keys_ms=0|");
    assert_silent_about(s, "candidate");
    assert_true(ike_last_failure(p->e->ike, EDGE_TUNNEL, &last));
    assert_says(last.text, "wrong pre-shared key");
}

static const char *stranger(uint8_t type, const char *id)
{
    struct identity *i = &p->i->wish.id;
    *i = (struct identity){.type = type, .n = (uint16_t)strlen(id)};
    memcpy(i->data, id, i->n);
    const char *s = failure();
    assert_says(s, "class=fail_identity|");
    assert_silent_about(s, " tunnel=");
    return s;
}

static void identity_similar(void **state)
{
    (void)state;
    const char *s = stranger(ID_FQDN, "ofice.example.net");
    assert_says(s, "id=ofice.example.net|");
    assert_says(s, "candidate_type=FQDN|candidate=office.example.net|candidate_tunnel=acme/office|hint=similar|");
}

static void identity_in_capitals(void **state)
{
    (void)state;
    assert_says(stranger(ID_FQDN, "Office.Example.NET"), "hint=only upper and lower case differ|");
}

static void identity_as_another_type(void **state)
{
    (void)state;
    const char *s = stranger(ID_KEY_ID, "office.example.net");
    assert_says(s, "id_type=KEY_ID|");
    assert_says(s, "candidate_type=FQDN|candidate=office.example.net|");
    assert_says(s, "hint=the same octets as another type of identity|");
}

static void identity_of_another_endpoint(void **state)
{
    (void)state;
    struct tunnel_policy other = edge_tunnel();
    static const char ID[] = "branch.elsewhere.example.org";
    other.tunnel = 9;
    other.name = "branch";
    other.identities[0] = (struct identity){.type = ID_FQDN, .n = sizeof ID - 1};
    memcpy(other.identities[0].data, ID, sizeof ID - 1);
    OK(addr_parse("198.51.100.3", &other.endpoint));
    edge_set(p->e, &other);
    const char *s = stranger(ID_FQDN, ID);
    assert_says(s, "candidate_tunnel=acme/branch|hint=it belongs to another endpoint|");
}

static void identity_like_nobody_s(void **state)
{
    (void)state;
    assert_silent_about(stranger(ID_FQDN, "zzz"), "candidate");
}

/* The search costs time, so it is rationed; and it is made for wrong keys as well, so that the time does not tell. */
static void searches_are_limited(void **state)
{
    struct ike_policy policy;
    (void)state;
    ike_policy_default(&policy);
    policy.init_rate_per_ip = policy.handshakes_per_second = 0;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
    for (unsigned k = 0; k < 11; k++) {
        const char *psk = p->i->wish.psk;
        listen();
        if (k < 10)
            p->i->wish.psk = "another key of sufficient length.....";
        else
            p->i->wish.id.data[0] = 'x';
        initiator_connect(p->i, p->e->now);
        pair_carry(p);
        p->i->wish.psk = psk;
    }
    assert_silent_about(only("ike.handshake_failed "), "candidate");
    p->e->now += NS_PER_S;
    listen();
    initiator_connect(p->i, p->e->now);
    pair_carry(p);
    assert_says(only("ike.handshake_failed "), "hint=similar|");
}

static void post_quantum_required(void **state)
{
    (void)state;
    tunnel.pq = PQ_REQUIRE;
    edge_set(p->e, &tunnel);
    p->i->wish.ike.addke[0] = 0;
    const char *s = failure();
    assert_says(s, "class=fail_pq_required|");
    assert_says(s, "offered=AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384|");
    assert_says(s, "differs=additional key exchange|");
}

static void strict_peer(void **state)
{
    (void)state;
    tunnel.strict_peer = true;
    OK(addr_parse("192.0.2.99", &tunnel.customer_endpoint));
    edge_set(p->e, &tunnel);
    const char *s = failure();
    assert_says(s, "class=fail_peer_address|");
    assert_says(s, "nearest=192.0.2.99|differs=peer address|");
}

static void child_proposal(void **state)
{
    struct ike_policy policy;
    (void)state;
    ike_policy_default(&policy);
    policy.esp.encr[0] = (struct encr_choice){ENCR_AES_CBC, 128};
    policy.esp.n_encr = 1;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
    initiator_connect(p->i, p->e->now);
    pair_carry(p);
    const char *s = only("ike.handshake_failed ");
    assert_says(s, "reason=no ESP proposal acceptable|class=fail_proposal|");
    assert_says(s, "nearest=AES_CBC_128/HMAC_SHA2_256_128|differs=encryption or integrity|");
    assert_says(only("ike.established "), "child=0|");
}

static void selectors(void **state)
{
    (void)state;
    OK(addr_parse("10.9.0.0", &tunnel.ts_remote[0].first));
    OK(addr_parse("10.9.255.255", &tunnel.ts_remote[0].last));
    edge_set(p->e, &tunnel);
    OK(addr_parse("10.1.0.0", &p->i->wish.ts_local.first));
    OK(addr_parse("10.1.0.255", &p->i->wish.ts_local.last));
    initiator_connect(p->i, p->e->now);
    pair_carry(p);
    const char *s = only("ike.handshake_failed ");
    assert_says(s, "class=fail_selectors|");
    assert_says(s, "offered=10.1.0.0-10.1.0.255 === ");
    assert_says(s, "nearest=10.9.0.0-10.9.255.255 === 0.0.0.0-255.255.255.255|");
}

static void fragments_that_did_not_all_come(void **state)
{
    (void)state;
    p->i->wish.datagram = 600;
    pair_connect_to(p, IKE_INTERMEDIATE);
    size_t n = p->i->n_out;
    char total[32];
    assert_true(n > 2);
    snprintf(total, sizeof total, "fragments_total=%zu|", n);
    struct path path = {.local = p->i->out[0].to, .remote = p->i->out[0].from};
    for (size_t k = 0; k + 1 < n; k++)
        edge_input(p->e, &path, buf_span(&p->i->out[k].bytes));
    initiator_forget_out(p->i);
    while (!ike_idle(p->e->ike)) {
        p->e->now = ike_deadline(p->e->ike);
        edge_tick(p->e);
    }
    const char *s = only("ike.handshake_failed ");
    assert_says(s, "class=fail_timeout|");
    assert_says(s, "fragments of the peer's message were lost");
    snprintf(lines, sizeof lines, "fragments_received=%zu|", n - 1);
    assert_says(s, lines);
    assert_says(s, total);
    assert_says(s, "after_ms=30000|");
}

static void nothing_came_any_more(void **state)
{
    (void)state;
    pair_connect_to(p, IKE_AUTH);
    p->e->now += 2 * NS_PER_S;
    initiator_forget_out(p->i);
    while (!ike_idle(p->e->ike)) {
        p->e->now = ike_deadline(p->e->ike);
        edge_tick(p->e);
    }
    const char *s = only("ike.handshake_failed ");
    assert_says(s, "reason=no IKE_AUTH came|");
    assert_says(s, "state=awaiting-auth|additional_exchanges=1|");
    assert_says(s, "after_ms=30000|");
    assert_silent_about(s, "fragments_total");
}

/* ---- and the one that came up; no secret anywhere */

static void success(void **state)
{
    (void)state;
    initiator_connect(p->i, p->e->now);
    pair_give(p);
    assert_true(pair_take(p));
    p->e->now += 70 * NS_PER_MS;
    pair_give(p);
    assert_true(pair_take(p));
    p->e->now += 30 * NS_PER_MS;
    pair_carry(p);
    const char *s = only("ike.established ");
    assert_says(s, "tunnel=acme/office|");
    assert_says(s, "id_type=FQDN|id=office.example.net|");
    assert_says(s, "suite=AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/ADDKE1_ML_KEM_768|pq=1|");
    assert_says(s, "keys_ms=70|nat_peer=0|nat_local=0|fragmentation=1|after_ms=100|");
    assert_null(strstr(lines, "ike.handshake_failed"));
    assert_null(strstr(lines, "a pre-shared key"));
}

static void no_event_holds_a_secret(void **state)
{
    (void)state;
    p->i->wish.psk = "another key of sufficient length.....";
    assert_silent_about(failure(), "key of sufficient length");
    assert_null(strstr(lines, "a pre-shared key"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(proposal),
        CASE(proposal_that_differs_in_two_things),
        CASE(wrong_psk),
        CASE(identity_similar),
        CASE(identity_in_capitals),
        CASE(identity_as_another_type),
        CASE(identity_of_another_endpoint),
        CASE(identity_like_nobody_s),
        CASE(searches_are_limited),
        CASE(post_quantum_required),
        CASE(strict_peer),
        CASE(child_proposal),
        CASE(selectors),
        CASE(fragments_that_did_not_all_come),
        CASE(nothing_came_any_more),
        CASE(success),
        CASE(no_event_holds_a_secret),
    };
    return cmocka_run_group_tests_name("ike: events", tests, NULL, NULL);
}
