/* Adversarial list, rows 6-8, 22-24: what IKE_SA_INIT may be made of, and what a flood gets. */
#include "lib/adv.h"

/* Give the peer's IKE_SA_INIT as the bend left it; the peer forgets. */
static void give_bent(struct adv_bend *b)
{
    adv_bend(adv, b);
    initiator_connect(adv->i, adv->e->now);
    pair_give(adv);
    initiator_sa_close(adv->i, adv->i->sa[adv->i->n_sas - 1]);
}

static size_t half_open(void)
{
    struct ike_sa_info info;
    return edge_sas(adv->e, &info);
}

static void pass_half_open(void)
{
    edge_clear(adv->e);
    adv->e->now += 60 * NS_PER_S;
    adv->i->now = adv->e->now;
    edge_tick(adv->e);
    edge_assert_empty(adv->e);
}

/* ---- row 6 */

static void without(struct draft *d, const void *arg)
{
    draft_remove(d, *(const uint8_t *)arg);
}
static void twice(struct draft *d, const void *arg)
{
    draft_double(d, *(const uint8_t *)arg);
}
static void nonce_of(struct draft *d, const void *arg)
{
    static uint8_t nonce[300];
    draft_replace(d, PAYLOAD_NONCE, span_of(nonce, *(const size_t *)arg));
}

static void adv_06_missing_double_and_odd_payloads(void **state)
{
    static const uint8_t TYPES[] = {PAYLOAD_SA, PAYLOAD_KE, PAYLOAD_NONCE};
    static const size_t BAD[] = {0, 1, 15, 257, 300}, GOOD[] = {16, 256};
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(TYPES); k++)
        for (int doubled = 0; doubled < 2; doubled++) {
            struct adv_bend b = {IKE_SA_INIT, doubled ? twice : without, &TYPES[k]};
            struct adv_counts before = adv_counts(adv);
            give_bent(&b);
            assert_int_equal(adv->e->acts.n, 0);
            adv_assert_only(adv, &before, IKE_COUNT_DROP_SYNTAX, 1);
        }
    for (size_t k = 0; k < ARRAY_LEN(BAD); k++) {
        struct adv_bend b = {IKE_SA_INIT, nonce_of, &BAD[k]};
        give_bent(&b);
        assert_int_equal(adv->e->acts.n, 0);
    }
    edge_assert_empty(adv->e);
    for (size_t k = 0; k < ARRAY_LEN(GOOD); k++) {
        struct adv_bend b = {IKE_SA_INIT, nonce_of, &GOOD[k]};
        give_bent(&b);
        assert_int_equal(edge_sent(adv->e), 1);
        assert_int_equal(half_open(), k + 1);
    }
}

/* ---- rows 7, 8: proposals */

struct proposals {
    const char *sa; /* body of the SA payload */
    bool good;
};
static void sa_of(struct draft *d, const void *arg)
{
    draft_replace(d, PAYLOAD_SA, hex(((const struct proposals *)arg)->sa));
}

#define GCM256 "0300000c 01000014 800e0100"
#define PRF384 "03000008 02000006"
#define KE256 "03000008 04000013"
#define LAST_KE256 "00000008 04000013"

static void proposals(const struct proposals *v, size_t n)
{
    struct ike_notify notify;
    for (size_t k = 0; k < n; k++) {
        struct adv_bend b = {IKE_SA_INIT, sa_of, &v[k]};
        give_bent(&b);
        if (v[k].good) {
            assert_int_equal(pair_header(adv, 0).next, PAYLOAD_SA);
            pass_half_open();
            continue;
        }
        uint16_t said = pair_plain_notify(adv, &notify);
        if (said)
            assert_int_equal(said, N_NO_PROPOSAL_CHOSEN);
        else
            assert_int_equal(adv->e->acts.n, 0); /* malformed */
        edge_assert_empty(adv->e);
    }
}

static void adv_07_odd_proposals(void **state)
{
    static const struct proposals CASES[] = {
        {"00000024 01010003" GCM256 PRF384 LAST_KE256, true},
        {"0000001c 01010002" GCM256 "00000008 02000006", false},                /* no key exchange */
        {"00000024 01010003" GCM256 PRF384 "00000008 04000000", false},         /* NONE */
        {"00000008 01010000", false},                                           /* no transforms at all */
        {"00000024 01010004" GCM256 PRF384 LAST_KE256, false},                  /* a count that lies */
        {"00000024 01010002" GCM256 PRF384 LAST_KE256, false},                  /* likewise */
        {"00000024 01010003" GCM256 PRF384 KE256, false},                       /* the last one promises another */
        {"00000023 01010003" GCM256 PRF384 LAST_KE256, false},                  /* a length that lies */
        {"02000024 01010003" GCM256 PRF384 LAST_KE256, false},                  /* another proposal promised */
        {"00000024 01030003" GCM256 PRF384 LAST_KE256, false},                  /* of ESP */
        {"0000002c 01010803 0011223344556677" GCM256 PRF384 LAST_KE256, false}, /* with an SPI */
        {"02000024 01010003" GCM256 PRF384 LAST_KE256 "00000024 01010003" GCM256 PRF384 LAST_KE256,
         false}, /* number 1 twice */
        {"02000024 01010003" GCM256 PRF384 LAST_KE256 "00000024 03010003" GCM256 PRF384 LAST_KE256, false}, /* 1, 3 */
        {"02000024 02010003" GCM256 PRF384 LAST_KE256 "00000024 01010003" GCM256 PRF384 LAST_KE256, false}, /* 2, 1 */
        {"02000024 01010003" GCM256 PRF384 "00000008 0400001f"
         "00000024 02010003" GCM256 PRF384 LAST_KE256,
         true},
        {"0000002c 01010004" GCM256 PRF384 KE256 "00000008 0d000024",
         false}, /* a transform type that is none, RFC 7296 3.3.6 */
        {"0000002c 01010004" GCM256 PRF384 KE256 "00000008 05000000", false}, /* ESN is ESP's */
        {"0000002c 01010004" GCM256 PRF384 KE256 "00000008 0300000c", false}, /* integrity beside an AEAD */
        {"0000002c 01010004" GCM256 PRF384 KE256 "00000008 03000000", true},  /* NONE may stand there */
    };
    (void)state;
    proposals(CASES, ARRAY_LEN(CASES));
}

static void adv_08_odd_key_lengths(void **state)
{
    static const struct proposals CASES[] = {
        {"00000020 01010003 03000008 01000014" PRF384 LAST_KE256, false},                   /* missing */
        {"00000024 01010003 0300000c 01000014 800e0000" PRF384 LAST_KE256, false},          /* 0 */
        {"00000024 01010003 0300000c 01000014 800effff" PRF384 LAST_KE256, false},          /* 65535 */
        {"00000024 01010003 0300000c 01000014 800e00ff" PRF384 LAST_KE256, false},          /* 255 */
        {"00000028 01010003 03000010 01000014 800e0100 800e0100" PRF384 LAST_KE256, false}, /* twice */
        {"00000028 01010003 03000010 01000014 800e0100 800e0080" PRF384 LAST_KE256, false}, /* contradicting */
        {"00000028 01010003 03000010 01000014 800e0100 800f0001" PRF384 LAST_KE256,
         false},                                                                        /* an attribute nobody knows */
        {"00000028 01010003" GCM256 "0300000c 02000006 800e0100" LAST_KE256, false},    /* on a PRF */
        {"00000024 01010003 0300000c 01000014 000e0100" PRF384 LAST_KE256, false},      /* as TLV, longer than it is */
        {"00000026 01010003 0300000e 01000014 000e0002 0100" PRF384 LAST_KE256, false}, /* as TLV */
        /* What cannot be taken does not spoil what can. */
        {"00000030 01010004 0300000c 01000014 800effff" GCM256 PRF384 LAST_KE256, true},
    };
    (void)state;
    proposals(CASES, ARRAY_LEN(CASES));
}

static void huge_sa(struct draft *d, const void *arg)
{
    static uint8_t body[62000];
    struct wr w = wr_of(body, sizeof body);
    (void)arg;
    for (unsigned p = 1; p <= 30; p++) { /* as many as a datagram holds: each of 255 transforms */
        wr_u8(&w, p < 30 ? 2 : 0);
        wr_u8(&w, 0);
        wr_u16(&w, 8 + 255 * 8);
        wr_u8(&w, (uint8_t)p);
        wr_u8(&w, PROTO_IKE);
        wr_u8(&w, 0);
        wr_u8(&w, 255);
        for (unsigned t = 0; t < 255; t++) {
            wr_u8(&w, t < 254 ? 3 : 0);
            wr_u8(&w, 0);
            wr_u16(&w, 8);
            wr_u8(&w, (uint8_t)(1 + t % 12));
            wr_u8(&w, 0);
            wr_u16(&w, (uint16_t)(1 + t % 40));
        }
    }
    assert_false(w.failed);
    draft_replace(d, PAYLOAD_SA, wr_span(&w));
}

static void adv_07_as_many_transforms_as_fit(void **state)
{
    struct adv_bend b = {IKE_SA_INIT, huge_sa, NULL};
    struct ike_notify n;
    uint64_t best = NEVER;
    (void)state;
    for (int k = 0; k < 5; k++) {
        adv_bend(adv, &b);
        initiator_connect(adv->i, adv->e->now);
        uint64_t start = cpu_ns();
        pair_give(adv);
        uint64_t took = cpu_ns() - start;
        best = took < best ? took : best;
        assert_int_equal(pair_plain_notify(adv, &n), N_NO_PROPOSAL_CHOSEN);
        initiator_sa_close(adv->i, adv->i->sa[k]);
    }
    edge_assert_empty(adv->e);
    assert_true(best < 25 * NS_PER_MS); /* 5 ms is the rule; sanitizers are slower */
}

/* ---- rows 22, 23 */

/* The same IKE_SA_INIT with another SPI and nonce, from anywhere. */
static void spoofed(struct span init, size_t nonce_at, uint64_t *seed)
{
    uint8_t *b = (uint8_t *)(uintptr_t)init.p;
    struct wr spi = wr_of(b, 8), nonce = wr_of(b + nonce_at, 8);
    wr_u64(&spi, dice(seed) | 1);
    wr_u64(&nonce, dice(seed));
    struct wr a = wr_of(adv->path.remote.addr.b, 4);
    wr_u32(&a, (uint32_t)dice(seed));
    adv->path.remote.port = (uint16_t)dice(seed);
    pair_give_octets(adv, init);
}

static size_t nonce_offset(struct span init)
{
    struct ike_header h;
    struct ike_chain chain;
    struct ike_error error;
    OK(ike_header_read(init, &h));
    OK(ike_chain_read(h.next, span_of(init.p + IKE_HEADER_SIZE, init.n - IKE_HEADER_SIZE), &chain, &error));
    return IKE_HEADER_SIZE + ike_chain_find(&chain, PAYLOAD_NONCE)->offset + 4;
}

static void adv_22_flood_from_spoofed_sources(void **state)
{
    uint64_t seed = 7;
    struct ike_notify n;
    (void)state;
    initiator_connect(adv->i, adv->e->now);
    struct span init = exact_copy(buf_span(&adv->i->out[0].bytes));
    initiator_forget_out(adv->i);
    initiator_sa_close(adv->i, adv->i->sa[0]);
    size_t at = nonce_offset(init);
    for (int k = 0; k < 20000; k++) {
        spoofed(init, at, &seed);
        assert_int_equal(edge_sent(adv->e), 1);
        if (k >= 30) {
            assert_int_equal(pair_plain_notify(adv, &n), N_COOKIE);
            assert_true(edge_act(adv->e, ACT_SEND)->datagram.n <= init.n);
        }
    }
    assert_int_equal(half_open(), 30); /* the threshold; cookies cost no state */
    assert_int_equal(edge_count(adv->e, IKE_COUNT_COOKIE_SENT), 20000 - 30);
    exact_free(init);
    edge_clear(adv->e);
    pair_connect(adv); /* an honest one comes through, with one more round */
    assert_int_equal(adv->i->cookies, 1);
    edge_clear(adv->e);
}

static void adv_22_three_of_one_address(void **state)
{
    struct ike_notify n;
    (void)state;
    for (unsigned k = 0; k < 10; k++) {
        give_bent(NULL);
        assert_int_equal(pair_plain_notify(adv, &n), k < 3 ? 0 : N_COOKIE);
    }
    assert_int_equal(half_open(), 3);
}

/* Answer the cookie request of the edge `maker` to adv->e, after `change` made something different. */
static bool cookie_taken(void (*change)(struct initiator *i, struct initiator_sa *sa))
{
    struct initiator_sa *sa;
    initiator_connect(adv->i, adv->e->now);
    pair_give(adv);
    sa = adv->i->sa[adv->i->n_sas - 1];
    assert_true(pair_take(adv));
    assert_int_equal(sa->initial->cookie.n, 17);
    initiator_forget_out(adv->i);
    change(adv->i, sa);
    initiator_done(sa);
    initiator_init_again(adv->i, sa);
    size_t before = half_open();
    pair_give(adv);
    bool taken = half_open() > before;
    struct ike_notify n;
    if (!taken)
        assert_int_equal(pair_plain_notify(adv, &n), N_COOKIE);
    initiator_sa_close(adv->i, sa);
    edge_clear(adv->e);
    return taken;
}

static void nothing(struct initiator *i, struct initiator_sa *sa)
{
    (void)i, (void)sa;
}
static void wrong_cookie(struct initiator *i, struct initiator_sa *sa)
{
    (void)i;
    sa->initial->cookie.p[16] ^= 1;
}
static void wrong_epoch_octet(struct initiator *i, struct initiator_sa *sa)
{
    (void)i;
    sa->initial->cookie.p[0] ^= 1;
}
static void short_cookie(struct initiator *i, struct initiator_sa *sa)
{
    (void)i;
    sa->initial->cookie.n = 16;
}
static void long_cookie(struct initiator *i, struct initiator_sa *sa)
{
    uint8_t bytes[65] = {0};
    (void)i;
    memcpy(bytes, sa->initial->cookie.p, 17);
    OK(buf_set(&sa->initial->cookie, span_of(bytes, sizeof bytes)));
}
static void other_spi(struct initiator *i, struct initiator_sa *sa)
{
    (void)i;
    sa->s.spi_i ^= 2;
}
static void other_nonce(struct initiator *i, struct initiator_sa *sa)
{
    (void)i;
    sa->initial->ni[0] ^= 1;
}
static void other_address(struct initiator *i, struct initiator_sa *sa)
{
    (void)sa;
    OK(addr_parse("192.0.2.3", &i->local.addr));
}
static void two_epochs_later(struct initiator *i, struct initiator_sa *sa)
{
    (void)i, (void)sa;
    adv->e->now += 121 * NS_PER_S;
}
static void one_epoch_later(struct initiator *i, struct initiator_sa *sa)
{
    (void)i, (void)sa;
    adv->e->now += 60 * NS_PER_S;
}
static void other_server(struct initiator *i, struct initiator_sa *sa)
{
    struct ike_policy policy = adv_policy();
    uint64_t now = adv->e->now;
    (void)i, (void)sa;
    policy.cookie_threshold = 0;
    edge_free(adv->e);
    adv->e = edge_new(&policy, 99); /* of the same set: the cookie secret is common, nothing else is */
    adv->e->now = now;
}

static void adv_23_cookies(void **state)
{
    static void (*const BAD[])(struct initiator *, struct initiator_sa *) = {
        wrong_cookie, wrong_epoch_octet, short_cookie,  long_cookie,
        other_spi,    other_nonce,       other_address, two_epochs_later};
    static void (*const GOOD[])(struct initiator *, struct initiator_sa *) = {nothing, one_epoch_later, other_server};
    struct ike_policy policy = adv_policy();
    (void)state;
    policy.cookie_threshold = 0;
    adv_start_over(&policy);
    for (size_t k = 0; k < ARRAY_LEN(BAD); k++)
        assert_false(cookie_taken(BAD[k]));
    for (size_t k = 0; k < ARRAY_LEN(GOOD); k++)
        assert_true(cookie_taken(GOOD[k]));
}

/* ---- row 24 */

static void adv_24_no_amplification(void **state)
{
    struct ike_policy policy = adv_policy();
    uint64_t seed = 3;
    (void)state;
    policy.cookie_threshold = policy.cookie_threshold_per_ip = policy.cookie_threshold_per_prefix = 100000;
    policy.init_rate_per_ip = policy.handshakes_per_second = 0;
    adv_start_over(&policy);
    static const uint16_t ADDKE[] = {0, KE_ML_KEM_768};
    for (size_t k = 0; k < ARRAY_LEN(ADDKE); k++) {
        adv->i->wish.ike.addke[0] = ADDKE[k];
        initiator_connect(adv->i, adv->e->now);
        pair_give(adv);
        assert_int_equal(edge_sent(adv->e), 1);
        assert_true(edge_act(adv->e, ACT_SEND)->datagram.n * 2 <= adv->sent.v[0].n * 3);
        uint8_t *octets = adv->sent.v[0].p;
        size_t length = adv->sent.v[0].n;
        for (int n = 0; n < 20000; n++) { /* anything like it gets at most as much */
            struct span bent = exact_copy(span_of(octets, length));
            for (uint64_t flips = 1 + dice(&seed) % 3; flips; flips--)
                ((uint8_t *)(uintptr_t)bent.p)[dice(&seed) % length] = (uint8_t)dice(&seed);
            pair_give_octets(adv, bent);
            size_t back = 0;
            for (size_t a = 0; a < adv->e->acts.n; a++)
                back += adv->e->acts.v[a].datagram.n;
            bool init = edge_sent(adv->e) == 1 && pair_header(adv, 0).next == PAYLOAD_SA;
            assert_true(init ? back * 2 <= length * 3 : back <= length);
            exact_free(bent);
            adv->e->now += NS_PER_MS;
            edge_clear(adv->e);
            edge_tick(adv->e);
            assert_int_equal(edge_sent(adv->e), 0); /* a responder does not repeat by itself */
        }
        initiator_sa_close(adv->i, adv->i->sa[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADV(adv_06_missing_double_and_odd_payloads),
        ADV(adv_07_odd_proposals),
        ADV(adv_07_as_many_transforms_as_fit),
        ADV(adv_08_odd_key_lengths),
        ADV(adv_22_flood_from_spoofed_sources),
        ADV(adv_22_three_of_one_address),
        ADV(adv_23_cookies),
        ADV(adv_24_no_amplification),
    };
    return cmocka_run_group_tests_name("adversarial: first messages", tests, NULL, NULL);
}
