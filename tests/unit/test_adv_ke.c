/* Adversarial list, rows 9-12: every algorithm, and public values that are none. */
#include "lib/adv.h"

/* Give the peer's IKE_SA_INIT as the bend left it; the peer forgets. */
static void give_bent(struct adv_bend *b)
{
    adv_bend(adv, b);
    initiator_connect(adv->i, adv->e->now);
    pair_give(adv);
    initiator_sa_close(adv->i, adv->i->sa[adv->i->n_sas - 1]);
}

/* ---- row 9 */

static void adv_09_everything_offered_works(void **state)
{
    const struct ike_policy policy = adv_policy();
    struct initiator_wish *wish;
    (void)state;
    for (uint8_t e = 0; e < policy.ike.n_encr; e++)
        for (uint8_t f = 0; f < policy.ike.n_prf; f++)
            for (uint8_t k = 0; k < policy.ike.n_ke; k++) {
                adv_start_over(&policy);
                wish = &adv->i->wish;
                bool aead = policy.ike.encr[e].encr == ENCR_AES_GCM_16;
                wish->ike = (struct suite){.encr = policy.ike.encr[e].encr,
                                           .encr_bits = policy.ike.encr[e].bits,
                                           .integ = aead ? INTEG_NONE : policy.ike.integ[f % policy.ike.n_integ],
                                           .prf = policy.ike.prf[f],
                                           .ke = policy.ike.ke[k],
                                           .addke = {policy.ike.addke[k % policy.ike.n_addke]}};
                pair_connect(adv);
                pair_assert_agree(adv);
            }
    for (uint8_t e = 0; e < policy.esp.n_encr; e++)
        for (uint8_t a = 0; a < policy.esp.n_integ; a++) {
            adv_start_over(&policy);
            wish = &adv->i->wish;
            bool aead = policy.esp.encr[e].encr == ENCR_AES_GCM_16;
            wish->esp = (struct suite){.encr = policy.esp.encr[e].encr,
                                       .encr_bits = policy.esp.encr[e].bits,
                                       .integ = aead ? INTEG_NONE : policy.esp.integ[a]};
            pair_connect(adv);
            assert_int_equal(adv->e->n_children, 1);
            pair_assert_agree(adv);
        }
    struct crypto_versions v;
    crypto_versions(adv->e->crypto, &v);
    assert_true(v.ml_kem);
}

/* ---- row 10 */

struct ke {
    uint16_t method;
    size_t n;
};
static void ke_of(struct draft *d, const void *arg)
{
    static uint8_t body[4 + 60000];
    const struct ke *ke = arg;
    struct wr w = wr_of(body, sizeof body);
    wr_u16(&w, ke->method);
    wr_u16(&w, 0);
    wr_reserve(&w, ke->n);
    assert_false(w.failed);
    draft_replace(d, PAYLOAD_KE, wr_span(&w));
}

static void adv_10_wrong_methods_and_lengths(void **state)
{
    static const struct ke CASES[] = {
        {2, 128},        {22, 128},          {31, 32},
        {1024, 64},      {1025, 64},         {0xffff, 64},
        {0, 64},         {KE_MODP2048, 256}, {KE_ML_KEM_768, 1184},
        {KE_ECP256, 0},  {KE_ECP256, 63},    {KE_ECP256, 65},
        {KE_ECP256, 96}, {KE_ECP256, 60000},
    };
    struct ike_notify n;
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++) {
        struct adv_bend b = {IKE_SA_INIT, ke_of, &CASES[k]};
        give_bent(&b);
        assert_int_equal(pair_plain_notify(adv, &n), N_INVALID_KE_PAYLOAD);
        assert_span_equal(n.data, hex("0013"));
        edge_assert_empty(adv->e);
    }
}

/* ---- row 11 */

static uint8_t public_value[512];
static size_t public_n;
static void public_of(struct draft *d, const void *arg)
{
    static uint8_t body[4 + sizeof public_value];
    struct wr w = wr_of(body, sizeof body);
    wr_u16(&w, *(const uint16_t *)arg);
    wr_u16(&w, 0);
    wr_bytes(&w, span_of(public_value, public_n));
    draft_replace(d, PAYLOAD_KE, wr_span(&w));
}

static void refuse_public(uint16_t method)
{
    struct adv_bend b = {IKE_SA_INIT, public_of, &method};
    struct ike_notify n;
    uint64_t before = edge_count(adv->e, IKE_COUNT_FAIL_KE);
    adv->i->wish.ike.ke = method;
    give_bent(&b);
    assert_int_equal(pair_plain_notify(adv, &n), N_INVALID_SYNTAX);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_FAIL_KE), before + 1);
    edge_assert_empty(adv->e);
}

static void adv_11_modp_values_out_of_range(void **state)
{
    /* RFC 3526 2: the 1536-bit prime begins and ends in 64 ones; between stand the digits of pi. */
    static const char P[] =
        "FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74 020BBEA6 3B139B22 514A0879"
        "8E3404DD EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B"
        "0BFF5CB6 F406B7ED EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D C2007CB8 A163BF05 98DA4836"
        "1C55D39A 69163FA8 FD24CF5F 83655D23 DCA3AD96 1C62F356 208552BB 9ED52907 7096966D 670C354E 4ABC9804"
        "F1746C08 CA237327 FFFFFFFF FFFFFFFF";
    struct span p = hex(P);
    (void)state;
    assert_int_equal(p.n, 192);
    public_n = 192;
    for (int k = 0; k < 6; k++) {
        memset(public_value, k == 5 ? 0xff : 0, sizeof public_value);
        if (k == 1)
            public_value[191] = 1;
        if (k >= 2 && k <= 4)
            memcpy(public_value, p.p, 192);
        if (k == 2)
            public_value[191]--; /* p - 1 */
        if (k == 4)
            public_value[191 - 8]++; /* above p */
        refuse_public(KE_MODP1536);
    }
}

static void adv_11_points_off_the_curve(void **state)
{
    (void)state;
    static const struct {
        uint16_t method;
        size_t n;
    } GROUPS[] = {{KE_ECP384, 48}, {KE_ECP256, 32}};
    for (size_t g = 0; g < ARRAY_LEN(GROUPS); g++) {
        size_t n = GROUPS[g].n;
        struct ke *mine;
        struct ke_value good;
        OK(crypto_ke_begin(adv->i->crypto, GROUPS[g].method, &mine, &good));
        crypto_ke_free(mine);
        public_n = 2 * n;
        memset(public_value, 0, sizeof public_value); /* the point at infinity has no such form */
        refuse_public(GROUPS[g].method);
        memcpy(public_value, good.b, good.n);
        public_value[2 * n - 1] ^= 1;
        refuse_public(GROUPS[g].method);
        memcpy(public_value, good.b, good.n);
        memset(public_value, 0xff, n); /* x >= p */
        refuse_public(GROUPS[g].method);
        memcpy(public_value, good.b, good.n);
        memset(public_value + n, 0xff, n);
        refuse_public(GROUPS[g].method);
    }
}

/* A shared secret that begins with zeros is one in 256: without left padding, some of these would not come up. */
static void adv_11_two_thousand_handshakes_agree(void **state)
{
    (void)state;
    for (int k = 0; k < 2000; k++) {
        pair_connect(adv);
        adv->i->wish.initial_contact = true;
        edge_clear(adv->e);
        pair_assert_agree(adv);
        adv->e->now += NS_PER_S;
        edge_tick(adv->e);
        initiator_tick(adv->i, adv->e->now);
    }
    assert_int_equal(edge_count(adv->e, IKE_COUNT_ESTABLISHED), 2000);
}

/* ---- row 12 */

struct ek {
    uint16_t method;
    int longer;
    bool coefficient;
    bool other;
};
static void ek_of(struct draft *d, const void *arg)
{
    static uint8_t body[4 + KE_PUBLIC_MAX + 1];
    const struct ek *ek = arg;
    struct ike_chain chain;
    struct ike_error error;
    struct ike_ke ke = {0};
    OK(ike_chain_read(d->first, span_of(d->bytes, d->n), &chain, &error));
    OK(ike_ke_read(chain.v[0].body, &ke));
    struct wr w = wr_of(body, sizeof body);
    wr_u16(&w, ek->method);
    wr_u16(&w, 0);
    wr_bytes(&w, ke.data);
    wr_u8(&w, 0);
    long n = (long)(4 + ke.data.n) + ek->longer;
    if (ek->coefficient) { /* the first two of 12 bits each: 3329 is the modulus, FIPS 203 7.2 */
        body[4] = 0x01;
        body[5] = 0x0d;
    }
    draft_replace(d, PAYLOAD_KE, span_of(body, (size_t)n));
}

static void adv_12_ml_kem_keys_that_are_none(void **state)
{
    static const struct {
        uint16_t negotiated;
        struct ek ek;
    } CASES[] = {
        {KE_ML_KEM_768, {KE_ML_KEM_768, -1, false, false}},      {KE_ML_KEM_768, {KE_ML_KEM_768, 1, false, false}},
        {KE_ML_KEM_768, {KE_ML_KEM_768, 0, true, false}},        {KE_ML_KEM_1024, {KE_ML_KEM_1024, 0, true, false}},
        {KE_ML_KEM_768, {KE_ML_KEM_1024, 0, false, false}},      {KE_ML_KEM_1024, {KE_ML_KEM_768, 0, false, false}},
        {KE_ML_KEM_1024, {KE_ML_KEM_1024, -1184, false, false}},
    };
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++) {
        struct adv_bend b = {IKE_INTERMEDIATE, ek_of, &CASES[k].ek};
        uint64_t before = edge_count(adv->e, IKE_COUNT_FAIL_KE);
        adv->i->wish.ike.addke[0] = CASES[k].negotiated;
        adv_bend(adv, &b);
        initiator_connect(adv->i, adv->e->now);
        pair_carry(adv);
        assert_int_equal(adv->i->refused, N_INVALID_SYNTAX);
        assert_int_equal(adv->i->last.chain.n, 1);
        assert_true(ike_idle(adv->e->ike));
        assert_int_equal(edge_count(adv->e, IKE_COUNT_FAIL_KE), before + 1);
    }
}

/* A wrong ciphertext cannot be told from a right one: it decapsulates to another key, and what follows does not authenticate. */
static void adv_12_no_decapsulation_oracle(void **state)
{
    (void)state;
    adv->i->wish.ike.addke[0] = KE_ML_KEM_768;
    pair_connect_to(adv, IKE_AUTH);
    adv->i->sa[0]->s.keys.ei[0] ^= 1; /* as if the shared secrets differed */
    struct initiator_request *own = &adv->i->sa[0]->own;
    struct ike_header h = session_header(&adv->i->sa[0]->s, IKE_AUTH, false, own->mid);
    struct buf b = {0};
    session_seal_one(&adv->i->sa[0]->s, &h, 0, span_of(NULL, 0), 0, 0, &b);
    adv_silent(adv, buf_span(&b), IKE_COUNT_DROP_INTEGRITY);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADV(adv_09_everything_offered_works),      ADV(adv_10_wrong_methods_and_lengths),
        ADV(adv_11_modp_values_out_of_range),      ADV(adv_11_points_off_the_curve),
        ADV(adv_11_two_thousand_handshakes_agree), ADV(adv_12_ml_kem_keys_that_are_none),
        ADV(adv_12_no_decapsulation_oracle),
    };
    return cmocka_run_group_tests_name("adversarial: key exchanges", tests, NULL, NULL);
}
