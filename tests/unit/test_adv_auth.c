/* Adversarial list, rows 27-32, 36, 37: identities, proofs, selectors, what is offered beside, what is logged. */
#include "lib/adv.h"
#include "lib/config_files.h"

/* The handshake with a bend in IKE_AUTH, to its end. */
static void handshake(void (*bend)(struct draft *d, const void *arg), const void *arg)
{
    struct adv_bend b = {IKE_AUTH, bend, arg};
    adv_bend(adv, bend ? &b : NULL);
    adv->i->refused = 0;
    initiator_connect(adv->i, adv->e->now);
    pair_carry(adv);
    adv_bend(adv, NULL);
}

static void assert_refused(void)
{
    assert_int_equal(adv->i->refused, N_AUTHENTICATION_FAILED);
    assert_int_equal(adv->i->last.chain.n, 1);
    assert_true(ike_idle(adv->e->ike));
    assert_int_equal(adv->e->ups, 0);
}

/* ---- row 27 */

struct id {
    uint8_t type;
    const void *p;
    size_t n;
};
static void id_of(struct draft *d, const void *arg)
{
    static uint8_t body[PLAIN_MAX];
    const struct id *id = arg;
    struct wr w = wr_of(body, sizeof body);
    wr_u8(&w, id->type);
    wr_reserve(&w, 3);
    wr_bytes(&w, span_of(id->p, id->n));
    assert_false(w.failed);
    draft_replace(d, PAYLOAD_IDI, wr_span(&w));
}

static void adv_27_identities_of_every_type(void **state)
{
    static const char NAME[] = "office.example.net";
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        const struct id id = {(uint8_t)type, NAME, sizeof NAME - 1};
        if (type == ID_FQDN)
            continue;
        handshake(id_of, &id);
        assert_refused();
    }
}

static void adv_27_identities_of_every_length(void **state)
{
    static uint8_t octets[65000];
    static const size_t LENGTHS[] = {0, 1, 3, 4, 5, 15, 16, 17, 255, 256, 257, 1000, 8191, 16384, 60000};
    static const uint8_t TYPES[] = {ID_IPV4_ADDR, ID_FQDN, ID_IPV6_ADDR, ID_KEY_ID};
    (void)state;
    memset(octets, 'a', sizeof octets);
    adv->i->wish.no_fragmentation = true; /* one datagram, as large as UDP has them */
    for (size_t k = 0; k < ARRAY_LEN(LENGTHS); k++) {
        const struct id id = {TYPES[k % ARRAY_LEN(TYPES)], octets, LENGTHS[k]};
        handshake(id_of, &id);
        assert_refused();
    }
}

static void adv_27_identities_that_want_to_be_commands(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } TEXTS[] = {{"%n%n%s%s", 8},
                 {"; sh", 4},
                 {"$(reboot)", 9},
                 {"\x1b[2J\x1b[31m", 9},
                 {"office\0.example.net", 19},
                 {"\xff\xfe\xc0\x80", 4},
                 {"../../etc", 9},
                 {"office.example.net\n", 19},
                 {"OFFICE.example.net", 18}};
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(TEXTS); k++) {
        const struct id id = {ID_FQDN, TEXTS[k].text, TEXTS[k].n};
        handshake(id_of, &id);
        assert_refused();
        assert_string_equal(adv->e->reason, "no tunnel at this address has that identity");
    }
}

static void adv_27_truncated_identity_payload(void **state)
{
    static const size_t SHORT[] = {0, 1, 3};
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(SHORT); k++) {
        struct adv_bend b;
        const struct span body = span_of("\2\0\0", SHORT[k]);
        (void)b;
        adv->i->bend = NULL;
        pair_connect_to(adv, IKE_AUTH);
        struct initiator_sa *sa = adv->i->sa[adv->i->n_sas - 1];
        initiator_forget_out(adv->i);
        static struct draft d;
        d = adv->i->draft;
        draft_replace(&d, PAYLOAD_IDI, body);
        struct parcel parcel = {.n = 0};
        session_seal(&sa->s, &d.header, d.first, span_of(d.bytes, d.n), &parcel);
        for (size_t n = 0; n < parcel.n; n++)
            pair_give_octets(adv, buf_span(&parcel.v[n]));
        parcel_clear(&parcel);
        assert_true(pair_take(adv));
        assert_int_equal(adv->i->refused, N_INVALID_SYNTAX);
        assert_true(ike_idle(adv->e->ike));
    }
}

/* ---- row 28 */

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* How long the edge takes over a refused IKE_AUTH. */
static uint64_t refusal_time(const char *psk, uint8_t first_letter)
{
    adv->i->wish.psk = psk;
    adv->i->wish.id.data[0] = first_letter;
    pair_connect_to(adv, IKE_AUTH);
    uint64_t start = cpu_ns();
    pair_give(adv);
    uint64_t took = cpu_ns() - start;
    assert_true(pair_take(adv));
    assert_refused();
    return took;
}

static void adv_28_unknown_identity_and_wrong_psk_look_alike(void **state)
{
    enum { ROUNDS = 101 };
    uint64_t psk[ROUNDS], id[ROUNDS];
    struct octets text[2];
    size_t length[2];
    (void)state;
    for (size_t k = 0; k < ROUNDS; k++) {
        psk[k] = refusal_time("some other key of sufficient length", 'o');
        length[0] = adv->i->last.header.length;
        text[0].n = adv->i->last.n;
        memcpy(text[0].b, adv->i->last.text, adv->i->last.n);
        id[k] = refusal_time("some other key of sufficient length", 'x');
        length[1] = adv->i->last.header.length;
        text[1].n = adv->i->last.n;
        memcpy(text[1].b, adv->i->last.text, adv->i->last.n);
        assert_int_equal(length[0], length[1]);
        assert_span_equal(span_of(text[0].b, text[0].n), span_of(text[1].b, text[1].n));
    }
    assert_int_equal(edge_count(adv->e, IKE_COUNT_FAIL_PSK), ROUNDS);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_FAIL_IDENTITY), ROUNDS);
    qsort(psk, ROUNDS, sizeof psk[0], by_value);
    qsort(id, ROUNDS, sizeof id[0], by_value);
    uint64_t a = psk[ROUNDS / 2], b = id[ROUNDS / 2];
    assert_true(a < b * 3 / 2 && b < a * 3 / 2); /* a look-up that ended early would take a small part */
}

/* ---- row 29 */

struct proof {
    uint8_t method;
    int longer;
    bool gone;
};
static void proof_of(struct draft *d, const void *arg)
{
    const struct proof *p = arg;
    struct ike_chain chain;
    struct ike_error error;
    struct ike_auth auth = {0};
    uint8_t body[4 + PRF_MAX + 1];
    OK(ike_chain_read(d->first, span_of(d->bytes, d->n), &chain, &error));
    OK(ike_auth_read(ike_chain_find(&chain, PAYLOAD_AUTH)->body, &auth));
    struct wr w = wr_of(body, sizeof body);
    wr_u8(&w, p->method);
    wr_reserve(&w, 3);
    wr_bytes(&w, auth.data);
    wr_u8(&w, 0);
    long n = (long)(4 + auth.data.n) + p->longer;
    if (p->gone)
        draft_remove(d, PAYLOAD_AUTH);
    else
        draft_replace(d, PAYLOAD_AUTH, span_of(body, (size_t)n));
}

static void adv_29_other_methods_and_lengths_of_auth(void **state)
{
    (void)state;
    for (unsigned method = 0; method < 256; method++) {
        const struct proof p = {.method = (uint8_t)method};
        if (method == AUTH_SHARED_KEY_MIC)
            continue;
        handshake(proof_of, &p);
        assert_refused();
    }
    static const struct proof OTHERS[] = {{AUTH_SHARED_KEY_MIC, -1, false},
                                          {AUTH_SHARED_KEY_MIC, 1, false},
                                          {AUTH_SHARED_KEY_MIC, -48, false},
                                          {0, 0, true}};
    for (size_t k = 0; k < ARRAY_LEN(OTHERS); k++) {
        handshake(proof_of, &OTHERS[k]);
        assert_refused();
    }
    const struct proof good = {AUTH_SHARED_KEY_MIC, 0, false};
    handshake(proof_of, &good);
    assert_non_null(initiator_current(adv->i));
}

static void adv_29_our_own_identity(void **state)
{
    static const char US[] = "edge.example.net";
    (void)state;
    adv->i->wish.id.n = sizeof US - 1;
    memcpy(adv->i->wish.id.data, US, sizeof US - 1);
    handshake(NULL, NULL);
    assert_refused();
    assert_int_equal(edge_count(adv->e, IKE_COUNT_FAIL_IDENTITY), 1);
}

/* ---- row 30 */

static void adv_30_weak_keys_are_refused_at_load(void **state)
{
    static const char *const WEAK[] = {"short", "password", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                       "1234567890123456789", "abcabcabcabcabcabcabcabcabcabc"};
    char text[1024];
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(WEAK); k++) {
        snprintf(text, sizeof text, HEAD "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: \"%s\"}\n",
                 WEAK[k]);
        struct loaded l = load_text(NULL, text);
        assert_int_not_equal(l.rc, RC_OK);
        assert_true(report_has(&l.report, 9, 61, "is weak", "", ""));
        loaded_free(&l);
    }
    struct loaded l =
        load_text(NULL, HEAD "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK "}\n");
    assert_int_equal(l.rc, RC_OK);
    loaded_free(&l);
}

/* ---- row 31 */

struct watcher {
    unsigned lines;
    struct span secret;
};
static bool holds(struct span hay, struct span needle)
{
    for (size_t k = 0; needle.n && k + needle.n <= hay.n; k++)
        if (!memcmp(hay.p + k, needle.p, needle.n))
            return true;
    return false;
}
static void watch(void *ctx, const struct log_event *event)
{
    struct watcher *w = ctx;
    w->lines++;
    assert_non_null(event->name);
    for (size_t k = 0; k < event->n_fields; k++) {
        const struct log_field *f = &event->fields[k];
        if (f->type == LOG_TYPE_STR) { /* text of ours: nothing of the peer's may stand there unescaped */
            for (const char *c = f->str; *c; c++)
                assert_true(*c >= ' ' && *c < 0x7f);
            assert_false(holds(span_str(f->str), w->secret));
        } else if (f->type == LOG_TYPE_BYTES || f->type == LOG_TYPE_HEX) {
            assert_false(holds(f->bytes, w->secret));
        }
    }
}

static void adv_31_log_of_ten_thousand_hostile_packets(void **state)
{
    struct watcher w = {.secret = span_str("a pre-shared key of sufficient length")};
    uint64_t seed = 11;
    (void)state;
    adv->e->log.emit = watch;
    adv->e->log.ctx = &w;
    adv->e->log.rate = 1;
    adv->e->log.burst = 10;
    pair_connect(adv);
    struct initiator_sa *sa = initiator_current(adv->i);
    edge_clear(adv->e);
    initiator_connect(adv->i, adv->e->now);
    struct span init = exact_copy(buf_span(&adv->i->out[0].bytes));
    initiator_forget_out(adv->i);
    initiator_sa_close(adv->i, adv->i->sa[adv->i->n_sas - 1]);
    for (int k = 0; k < 10000; k++) {
        uint8_t bytes[600];
        size_t n = 28 + dice(&seed) % 500;
        for (size_t b = 0; b < n; b++)
            bytes[b] = b < init.n && dice(&seed) % 16 ? init.p[b] : (uint8_t)dice(&seed);
        struct wr length = wr_of(bytes + 24, 4);
        wr_u32(&length, (uint32_t)n);
        if (dice(&seed) % 4 == 0) { /* or to the SA there is */
            struct wr h = wr_of(bytes, 20);
            wr_u64(&h, sa->s.spi_i);
            wr_u64(&h, sa->s.spi_r);
            wr_u8(&h, PAYLOAD_SK);
            wr_u8(&h, IKE_VERSION);
            wr_u8(&h, (uint8_t)(34 + dice(&seed) % 12));
            wr_u8(&h, IKE_FLAG_INITIATOR);
        }
        pair_give_octets(adv, span_of(bytes, n));
    }
    exact_free(init);
    assert_in_range(w.lines, 5, 100); /* one class after the other, ten each at once */
    edge_clear(adv->e);
    pair_assert_agree(adv);
    adv->e->log.emit = NULL;
}

/* ---- row 32 */

#define V4(first, last) "07 00 0010 0000 ffff " first last
struct selectors {
    const char *tsi;          /* body of TSi */
    uint16_t refused;         /* what becomes of the child; N_INVALID_SYNTAX: of the whole exchange */
    const char *first, *last; /* of our remote selector, if it came up */
};
static void tsi_of(struct draft *d, const void *arg)
{
    draft_replace(d, PAYLOAD_TSI, hex(((const struct selectors *)arg)->tsi));
}

static void adv_32_selectors(void **state)
{
    static const struct selectors CASES[] = {
        {"00 000000", N_TS_UNACCEPTABLE, NULL, NULL},                                     /* none */
        {"01 000000", N_INVALID_SYNTAX, NULL, NULL},                                      /* one promised */
        {"02 000000" V4("0a010000", "0a01ffff"), N_INVALID_SYNTAX, NULL, NULL},           /* two promised */
        {"01 000000" V4("0a010000", "0a01ffff") "00", N_INVALID_SYNTAX, NULL, NULL},      /* something behind */
        {"01 000000 07 00 000f 0000 ffff 0a010000 0a01ff", N_INVALID_SYNTAX, NULL, NULL}, /* lengths that lie */
        {"01 000000 07 00 0011 0000 ffff 0a010000 0a01ffff 00", N_INVALID_SYNTAX, NULL, NULL},
        {"01 000000 07 00 0003 0000 ffff 0a010000 0a01ffff", N_INVALID_SYNTAX, NULL, NULL},
        {"01 000000 07 00 0028 0000 ffff 20010db8000000000000000000000000 20010db80000000000000000000000ff",
         N_INVALID_SYNTAX, NULL, NULL},                                                      /* IPv6 inside of IPv4 */
        {"01 000000 08 00 0010 0000 ffff 0a010000 0a01ffff", N_INVALID_SYNTAX, NULL, NULL},  /* and the other way */
        {"01 000000" V4("0a01ffff", "0a010000"), N_TS_UNACCEPTABLE, NULL, NULL},             /* last before first */
        {"01 000000 07 00 0010 0050 0010 0a010000 0a01ffff", N_TS_UNACCEPTABLE, NULL, NULL}, /* of ports */
        {"01 000000 09 00 0008 00000000", N_TS_UNACCEPTABLE, NULL, NULL},                    /* a type nobody knows */
        {"01 000000" V4("0a090000", "0a09ffff"), N_TS_UNACCEPTABLE, NULL, NULL},             /* another tunnel's */
        {"01 000000" V4("00000000", "ffffffff"), 0, "10.1.0.0", "10.1.255.255"},             /* more than the policy */
        {"01 000000" V4("0a010200", "0a0102ff"), 0, "10.1.2.0", "10.1.2.255"},               /* less */
        {"01 000000" V4("0a00ff00", "0a0100ff"), 0, "10.1.0.0", "10.1.0.255"},               /* half of it */
        {"02 000000 09 00 0008 00000000" V4("0a010000", "0a01ffff"), 0, "10.1.0.0", "10.1.255.255"},
    };
    struct tunnel_policy t = edge_tunnel();
    (void)state;
    OK(addr_parse("10.1.0.0", &t.ts_remote[0].first));
    OK(addr_parse("10.1.255.255", &t.ts_remote[0].last));
    edge_set(adv->e, &t);
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++) {
        const struct selectors *c = &CASES[k];
        adv->i->child_refused = 0;
        handshake(tsi_of, c);
        if (c->refused == N_INVALID_SYNTAX) {
            assert_int_equal(adv->i->refused, N_INVALID_SYNTAX);
            assert_true(ike_idle(adv->e->ike));
            continue;
        }
        assert_int_equal(adv->i->child_refused, c->refused);
        assert_int_equal(adv->e->n_children, c->refused ? 0 : 1);
        pair_assert_agree(adv);
        if (!c->refused) {
            char text[ADDR_TEXT];
            assert_string_equal(addr_text(&adv->e->child[0].ts_remote.first, text), c->first);
            assert_string_equal(addr_text(&adv->e->child[0].ts_remote.last, text), c->last);
        }
        initiator_want(adv->i, adv->e->now, (struct initiator_job){.type = JOB_IKE_DELETE});
        pair_carry(adv);
    }
}

static void adv_32_many_selectors_become_one_pair(void **state)
{
    static uint8_t body[4 + 255 * 16];
    static char unused;
    struct wr w = wr_of(body, sizeof body);
    (void)state, (void)unused;
    wr_u32(&w, 255u << 24);
    for (unsigned k = 0; k < 255; k++) {
        wr_u16(&w, TS_IPV4_ADDR_RANGE << 8);
        wr_u16(&w, 16);
        wr_u32(&w, 0xffff);
        wr_u32(&w, 0x0a010000 + (k << 8));
        wr_u32(&w, 0x0a0100ff + (k << 8));
    }
    assert_false(w.failed);
    pair_connect_to(adv, IKE_AUTH);
    struct initiator_sa *sa = adv->i->sa[0];
    initiator_forget_out(adv->i);
    static struct draft d;
    d = adv->i->draft;
    draft_replace(&d, PAYLOAD_TSI, wr_span(&w));
    struct parcel parcel = {.n = 0};
    session_seal(&sa->s, &d.header, d.first, span_of(d.bytes, d.n), &parcel);
    edge_clear(adv->e);
    for (size_t n = 0; n < parcel.n; n++)
        edge_input(adv->e, &adv->path, buf_span(&parcel.v[n]));
    parcel_clear(&parcel);
    assert_true(pair_take(adv)); /* the peer insists on one selector each */
    assert_int_equal(adv->e->n_children, 1);
    struct ike_notify n;
    assert_true(plain_notify(&adv->i->last, N_ADDITIONAL_TS_POSSIBLE, &n));
    pair_assert_agree(adv);
}

/* ---- row 36 */

static void extras(struct draft *d, const void *arg)
{
    static const uint16_t NOTIFIES[] = {N_USE_TRANSPORT_MODE,
                                        16387 /* IPCOMP_SUPPORTED */,
                                        16396 /* MOBIKE_SUPPORTED */,
                                        N_ESP_TFC_PADDING_NOT_SUPPORTED,
                                        N_NON_FIRST_FRAGMENTS_ALSO,
                                        16404 /* MULTIPLE_AUTH_SUPPORTED */,
                                        16406 /* REDIRECT_SUPPORTED */,
                                        16417 /* EAP_ONLY_AUTHENTICATION */,
                                        16435 /* USE_PPK */,
                                        16442 /* USE_AGGFRAG */,
                                        16420 /* IKEV2_MESSAGE_ID_SYNC_SUPPORTED */,
                                        65000};
    for (size_t k = 0; k < ARRAY_LEN(NOTIFIES); k++)
        draft_append_notify(d, NOTIFIES[k], hex("00010203"));
    if (arg) /* and in IKE_AUTH a request for an address */
        draft_append(d, PAYLOAD_CP, false, hex("01000000 00010000 00030000"));
}

static bool says(const struct ike_chain *chain, uint16_t type)
{
    struct ike_notify n;
    return ike_notify_find(chain, type, &n);
}

static void adv_36_what_is_offered_beside_is_not_confirmed(void **state)
{
    static const int CP = 1;
    struct adv_bend b = {IKE_SA_INIT, extras, NULL};
    (void)state;
    adv_bend(adv, &b);
    pair_connect(adv);
    pair_assert_agree(adv);
    adv_start_over(NULL);
    adv->i->wish.ike.ke = KE_ECP384;
    handshake(extras, &CP);
    assert_non_null(initiator_current(adv->i));
    assert_int_equal(adv->e->n_children, 1);
    assert_false(adv->e->child[0].transport);
    const struct ike_chain *chain = &adv->i->last.chain;
    assert_null(ike_chain_find(chain, PAYLOAD_CP));
    assert_null(ike_chain_find(chain, PAYLOAD_NOTIFY)); /* none of them comes back */
    assert_false(says(chain, N_USE_TRANSPORT_MODE));
    pair_assert_agree(adv);
}

struct esp_offer {
    const char *sa;
    bool good;
};
static void esp_of(struct draft *d, const void *arg)
{
    draft_replace(d, PAYLOAD_SA, hex(((const struct esp_offer *)arg)->sa));
}

#define ESP_GCM "0300000c 01000014 800e0100"
#define NO_ESN "00000008 05000000"
static void adv_36_odd_proposals_of_esp(void **state)
{
    static const struct esp_offer CASES[] = {
        {"00000020 01030402 c0ffee01" ESP_GCM NO_ESN, true},
        {"00000020 01030402 c0ffee01" ESP_GCM "00000008 05000001", false},       /* ESN only */
        {"00000028 01030403 c0ffee01" ESP_GCM "03000008 05000001" NO_ESN, true}, /* or none */
        {"00000020 01020402 c0ffee01"
         "03000008 0300000c" NO_ESN,
         false}, /* a length that lies */
        {"0000001c 01020402 c0ffee01"
         "03000008 0300000c" NO_ESN,
         false},                                                                 /* AH */
        {"00000020 01030402 c0ffee01 0300000c 0100001e 800e0100" NO_ESN, false}, /* implicit IV, RFC 8750 */
        {"00000018 01030401 c0ffee01 0000000c 01000014 800e0100", false},        /* says nothing of ESN */
        {"00000024 01030802 c0ffee0100000000" ESP_GCM NO_ESN, false},            /* an SPI of 8 */
        {"0000001c 01030002" ESP_GCM NO_ESN, false},                             /* none */
        {"02000020 01030402 c0ffee01 0300000c 0100001e 800e0100" NO_ESN "00000020 02030402 c0ffee01" ESP_GCM NO_ESN,
         true},
        {"02000020 01030402 c0ffee01" ESP_GCM "00000008 05000001"
         "00000020 02030402 c0ffee02" ESP_GCM NO_ESN,
         true},
    };
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++) {
        struct adv_counts before = adv_counts(adv);
        adv->i->child_refused = 0;
        handshake(esp_of, &CASES[k]);
        if (adv->i->refused == N_INVALID_SYNTAX) { /* so malformed that nothing else is believed */
            assert_false(CASES[k].good);
            assert_int_equal(edge_count(adv->e, IKE_COUNT_DROP_SYNTAX), before.v[IKE_COUNT_DROP_SYNTAX] + 1);
            continue;
        }
        assert_int_equal(adv->i->child_refused, CASES[k].good ? 0 : N_NO_PROPOSAL_CHOSEN);
        assert_int_equal(adv->e->n_children, CASES[k].good);
        initiator_want(adv->i, adv->e->now, (struct initiator_job){.type = JOB_IKE_DELETE});
        pair_carry(adv);
        assert_true(ike_idle(adv->e->ike));
    }
}

/* ---- row 37 */

static void natd_of_size(struct draft *d, const void *arg)
{
    static const uint8_t octets[64] = {0};
    size_t n = *(const size_t *)arg;
    draft_append_notify(d, N_NAT_DETECTION_SOURCE_IP, span_of(octets, n));
    draft_append_notify(d, N_NAT_DETECTION_DESTINATION_IP, span_of(octets, n));
}

static void adv_37_nat_detection_of_any_length(void **state)
{
    const struct ike_policy policy = adv_policy();
    (void)state;
    for (size_t n = 0; n <= 64; n++) {
        struct adv_bend b = {IKE_SA_INIT, natd_of_size, &n};
        struct ike_sa_info info;
        adv_start_over(&policy);
        adv->i->wish.natd = false;
        adv_bend(adv, &b);
        initiator_connect(adv->i, adv->e->now);
        pair_give(adv);
        assert_int_equal(edge_sas(adv->e, &info), 1);
        /* Only what has 20 octets says something: that both sides are behind a NAT, here. */
        assert_int_equal(info.nat_peer, n == 20);
        assert_int_equal(info.nat_local, n == 20);
        struct ike_header h = pair_header(adv, 0);
        assert_int_not_equal(h.spi_r, 0);
    }
}

static void adv_37_one_source_of_many_matches(void **state)
{
    static const size_t TWENTY = 20;
    struct adv_bend b = {IKE_SA_INIT, natd_of_size, &TWENTY}; /* beside the right ones: a host of many addresses */
    struct ike_sa_info info;
    (void)state;
    adv_bend(adv, &b);
    initiator_connect(adv->i, adv->e->now);
    pair_give(adv);
    assert_int_equal(edge_sas(adv->e, &info), 1);
    assert_false(info.nat_peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADV(adv_27_identities_of_every_type),
        ADV(adv_27_identities_of_every_length),
        ADV(adv_27_identities_that_want_to_be_commands),
        ADV(adv_27_truncated_identity_payload),
        ADV(adv_28_unknown_identity_and_wrong_psk_look_alike),
        ADV(adv_29_other_methods_and_lengths_of_auth),
        ADV(adv_29_our_own_identity),
        ADV(adv_30_weak_keys_are_refused_at_load),
        ADV(adv_31_log_of_ten_thousand_hostile_packets),
        ADV(adv_32_selectors),
        ADV(adv_32_many_selectors_become_one_pair),
        ADV(adv_36_what_is_offered_beside_is_not_confirmed),
        ADV(adv_36_odd_proposals_of_esp),
        ADV(adv_37_nat_detection_of_any_length),
        ADV(adv_37_one_source_of_many_matches),
    };
    return cmocka_run_group_tests_name("adversarial: identities, proofs, selectors", tests, NULL, NULL);
}
