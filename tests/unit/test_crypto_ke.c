/* Key exchange in the MODP and ECP groups: RFC 5903 8.2, Wycheproof, Botan/CAVS, RFC 6989 checks, leading zeros.
 * Private keys of the vectors go in by the injected random source, which OpenSSL's key generation draws from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/bn.h>

#include "adit/crypto.h"
#include "lib/vectors.h"

static struct tape tape;
static struct crypto *crypto; /* draws from the tape */
static struct vec vec;
static struct pool pool;

static int set_up(void **state)
{
    (void)state;
    struct rng rng = {tape_fill, &tape};
    return crypto_new(&rng, &crypto) == RC_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    crypto_free(crypto);
    return 0;
}

/* The private key n octets long, left-padded or cut of leading zeros. */
static void play_private(struct span private, size_t n)
{
    static uint8_t b[64];
    memset(b, 0, sizeof b);
    while (private.n > n) {
        assert_int_equal(private.p[0], 0);
        private = span_of(private.p + 1, private.n - 1);
    }
    memcpy(b + n - private.n, private.p, private.n);
    tape = (struct tape){.data = span_of(b, n), .seed = 1};
}

static enum rc agree(uint16_t ke, struct span private, struct span peer, struct ke_value *ret_public,
                     struct ke_secret *ret_secret)
{
    struct ke *k;
    play_private(private, crypto_ke_public_size(ke, false) / 2);
    assert_int_equal(crypto_ke_begin(crypto, ke, &k, ret_public), RC_OK);
    enum rc rc = crypto_ke_finish(k, peer, ret_secret);
    crypto_ke_free(k);
    return rc;
}

static void rfc5903_ecp384(void **state)
{
    (void)state;
    size_t n = 0;
    for (vec_open(&vec, "tests/vectors/ietf/rfc5903.vec"); vec_next(&vec); n++) {
        struct ke_value public;
        struct ke_secret secret;
        struct span gi = vec_hex(&vec, "GI"), gr = vec_hex(&vec, "GR"), gir = vec_hex(&vec, "GIR");
        assert_int_equal(agree(KE_ECP384, vec_hex(&vec, "I"), gr, &public, &secret), RC_OK);
        assert_true(span_equal(span_of(public.b, public.n), gi));
        assert_true(span_equal(span_of(secret.b, secret.n), gir));
        /* the responder: one call, its private key drawn in it */
        play_private(vec_hex(&vec, "R"), 48);
        assert_int_equal(crypto_ke_respond(crypto, KE_ECP384, gi, &public, &secret), RC_OK);
        assert_true(span_equal(span_of(public.b, public.n), gr));
        assert_true(span_equal(span_of(secret.b, secret.n), gir));
    }
    assert_int_equal(n, 1);
}

static void wycheproof_ecdh_secp384r1(void **state)
{
    (void)state;
    size_t n = 0, refused = 0, i, k;
    json_t *groups = vec_json("tests/vectors/wycheproof/ecdh_secp384r1.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct ke_value public;
            struct ke_secret secret = {.n = 99};
            pool.n = 0;
            struct span peer = json_hex(&pool, test, "xy");
            enum rc rc = agree(KE_ECP384, json_hex(&pool, test, "private"), peer, &public, &secret);
            if (strcmp(json_text(test, "result"), "valid") == 0) {
                assert_int_equal(rc, RC_OK);
                assert_true(span_equal(span_of(secret.b, secret.n), json_hex(&pool, test, "shared")));
            } else {
                assert_int_equal(rc, RC_CRYPTO);
                assert_int_equal(secret.n, 99); /* untouched */
                assert_int_equal(crypto_ke_respond(crypto, KE_ECP384, peer, &public, &secret), RC_CRYPTO);
                refused++;
            }
            n++;
        }
    }
    json_decref(groups);
    assert_int_equal(n, 790);
    assert_int_equal(refused, 19); /* one of them "acceptable" to an ASN.1 parser: its point is off the curve too */
}

static void cavs_ecdh(void **state)
{
    (void)state;
    size_t n = 0;
    for (vec_open(&vec, "tests/vectors/botan/ecdh.vec"); vec_next(&vec); n++) {
        struct ke_value public;
        struct ke_secret secret;
        struct span peer = vec_hex(&vec, "CounterKey");
        uint16_t ke = vec_in(&vec, "secp384r1") ? KE_ECP384 : KE_ECP256;
        peer = span_of(peer.p + 1, peer.n - 1); /* without 0x04 */
        assert_int_equal(agree(ke, vec_hex(&vec, "Secret"), peer, &public, &secret), RC_OK);
        assert_true(span_equal(span_of(secret.b, secret.n), vec_hex(&vec, "K")));
    }
    assert_int_equal(n, 50);
}

/* RFC 3526: the primes from OpenSSL's own constants, not from the named groups under test. */
struct modp {
    uint16_t ke;
    BIGNUM *(*prime)(BIGNUM *);
};
static const struct modp modps[] = {
    {KE_MODP1536, BN_get_rfc3526_prime_1536},
    {KE_MODP2048, BN_get_rfc3526_prime_2048},
    {KE_MODP3072, BN_get_rfc3526_prime_3072},
    {KE_MODP4096, BN_get_rfc3526_prime_4096},
};

static BIGNUM *power(const BIGNUM *base, const BIGNUM *x, const BIGNUM *p)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *r = BN_new();
    assert_true(ctx && r && BN_mod_exp(r, base, x, p, ctx));
    BN_CTX_free(ctx);
    return r;
}

/* One case in the 1536-bit group; its private half also serves as a peer in all four, calculated with plain bignums. */
static void botan_dh_and_every_modp_group(void **state)
{
    (void)state;
    vec_open(&vec, "tests/vectors/botan/dh.vec");
    assert_true(vec_next(&vec));
    struct span sx = vec_hex(&vec, "X"), sy = vec_hex(&vec, "Y"), sk = vec_hex(&vec, "K");
    BIGNUM *x = BN_bin2bn(sx.p, (int)sx.n, NULL), *y = BN_bin2bn(sy.p, (int)sy.n, NULL), *g = BN_new();
    assert_true(BN_set_word(g, 2));
    for (size_t i = 0; i < ARRAY_LEN(modps); i++) {
        struct ke_value public;
        struct ke_secret secret;
        uint8_t theirs[KE_PUBLIC_MAX], want[KE_SECRET_MAX];
        size_t n = crypto_ke_public_size(modps[i].ke, false);
        BIGNUM *p = modps[i].prime(NULL), *gx = power(g, x, p);
        assert_int_equal(BN_num_bytes(p), n);
        if (modps[i].ke == KE_MODP1536) { /* the published case */
            BIGNUM *k = power(y, x, p);
            assert_int_equal(BN_bn2binpad(k, want, (int)n), n);
            assert_true(span_equal(span_of(want, n), sk));
            BN_free(k);
            assert_int_equal(crypto_ke_respond(crypto, KE_MODP1536, sy, &public, &secret), RC_OK);
        }
        BN_bn2binpad(gx, theirs, (int)n);
        assert_int_equal(crypto_ke_respond(crypto, modps[i].ke, span_of(theirs, n), &public, &secret), RC_OK);
        assert_int_equal(public.n, n);
        BIGNUM *ours = BN_bin2bn(public.b, (int)n, NULL), *shared = power(ours, x, p);
        BN_bn2binpad(shared, want, (int)n);
        assert_true(span_equal(span_of(secret.b, secret.n), span_of(want, n)));
        BN_free(shared), BN_free(ours), BN_free(gx), BN_free(p);
    }
    assert_false(vec_next(&vec));
    BN_free(g), BN_free(y), BN_free(x);
}

/* RFC 6989 2.1: 1 < r < p - 1. */
static void modp_values_out_of_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(modps); i++) {
        size_t n = crypto_ke_public_size(modps[i].ke, false);
        BIGNUM *p = modps[i].prime(NULL), *r = BN_new();
        uint8_t b[KE_PUBLIC_MAX];
        struct ke_value public = {.n = 99};
        struct ke_secret secret = {.n = 99};
        for (int k = 0; k < 6; k++) { /* 0, 1, p - 1, p, p + 1, 2^bits - 1 */
            assert_true(k < 2 ? BN_set_word(r, (BN_ULONG)k) : BN_copy(r, p) != NULL);
            if (k == 2)
                BN_sub_word(r, 1);
            if (k == 4)
                BN_add_word(r, 1);
            assert_int_equal(BN_bn2binpad(r, b, (int)n), n);
            if (k == 5)
                memset(b, 0xff, n);
            struct ke *ke;
            assert_int_equal(crypto_ke_respond(crypto, modps[i].ke, span_of(b, n), &public, &secret), RC_CRYPTO);
            assert_int_equal(public.n, 99);
            assert_int_equal(secret.n, 99);
            if (k == 2) { /* the initiator's side makes the same check */
                assert_int_equal(crypto_ke_begin(crypto, modps[i].ke, &ke, &public), RC_OK);
                assert_int_equal(crypto_ke_finish(ke, span_of(b, n), &secret), RC_CRYPTO);
                crypto_ke_free(ke);
                public.n = 99;
            }
        }
        memset(b, 0, n);
        b[n - 1] = 2; /* the smallest valid one */
        assert_int_equal(crypto_ke_respond(crypto, modps[i].ke, span_of(b, n), &public, &secret), RC_OK);
        BN_free(r), BN_free(p);
    }
}

static void ecp_values_off_the_curve(void **state)
{
    (void)state;
    static const uint16_t groups[] = {KE_ECP256, KE_ECP384};
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        struct ke *k;
        struct ke_value good, public;
        struct ke_secret secret;
        assert_int_equal(crypto_ke_begin(crypto, groups[i], &k, &good), RC_OK);
        for (int what = 0; what < 4; what++) {
            struct ke_value bad = good;
            if (what == 0)
                memset(bad.b, 0, bad.n); /* where the point at infinity might hide */
            else if (what == 1)
                bad.b[bad.n - 1] ^= 1; /* another y */
            else if (what == 2)
                memset(bad.b, 0xff, bad.n / 2); /* x >= p */
            else
                memset(bad.b + bad.n / 2, 0xff, bad.n / 2); /* y >= p */
            assert_int_equal(crypto_ke_respond(crypto, groups[i], span_of(bad.b, bad.n), &public, &secret), RC_CRYPTO);
            assert_int_equal(crypto_ke_finish(k, span_of(bad.b, bad.n), &secret), RC_CRYPTO);
        }
        crypto_ke_free(k);
    }
}

static const uint16_t all[] = {KE_MODP1536, KE_MODP2048, KE_MODP3072,   KE_MODP4096,
                               KE_ECP256,   KE_ECP384,   KE_ML_KEM_768, KE_ML_KEM_1024};

static void both_sides_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct ke *k;
        struct ke_value pi, pr;
        struct ke_secret si, sr;
        assert_true(crypto_ke_known(all[i]));
        assert_int_equal(crypto_ke_is_pq(all[i]), all[i] == KE_ML_KEM_768 || all[i] == KE_ML_KEM_1024);
        assert_int_equal(crypto_ke_begin(crypto, all[i], &k, &pi), RC_OK);
        assert_int_equal(pi.n, crypto_ke_public_size(all[i], false));
        assert_int_equal(crypto_ke_respond(crypto, all[i], span_of(pi.b, pi.n), &pr, &sr), RC_OK);
        assert_int_equal(pr.n, crypto_ke_public_size(all[i], true));
        assert_int_equal(crypto_ke_finish(k, span_of(pr.b, pr.n), &si), RC_OK);
        assert_true(crypto_equal(span_of(si.b, si.n), span_of(sr.b, sr.n)));
        crypto_ke_free(k);
    }
}

/* RFC 7296 2.14: the secret is padded to the modulus. One in 256 has a leading zero octet: the fixed seed meets some,
 * in the secret as well as in the public value. */
static void leading_zeros_are_kept(void **state)
{
    (void)state;
    static const struct {
        uint16_t ke;
        int tries;
    } runs[] = {{KE_MODP1536, 700}, {KE_ECP384, 1500}};
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        int secrets = 0, publics = 0;
        tape = (struct tape){.seed = 10};
        struct ke *k;
        struct ke_value pi, pr;
        struct ke_secret si, sr;
        assert_int_equal(crypto_ke_begin(crypto, runs[i].ke, &k, &pi), RC_OK);
        for (int t = 0; t < runs[i].tries && (!secrets || !publics); t++) {
            assert_int_equal(crypto_ke_respond(crypto, runs[i].ke, span_of(pi.b, pi.n), &pr, &sr), RC_OK);
            assert_int_equal(pr.n, crypto_ke_public_size(runs[i].ke, true));
            assert_int_equal(sr.n, runs[i].ke == KE_ECP384 ? 48 : 192);
            secrets += sr.b[0] == 0;
            publics += pr.b[0] == 0;
            if (sr.b[0] && pr.b[0])
                continue;
            assert_int_equal(crypto_ke_finish(k, span_of(pr.b, pr.n), &si), RC_OK);
            assert_true(crypto_equal(span_of(si.b, si.n), span_of(sr.b, sr.n)));
        }
        crypto_ke_free(k);
        assert_true(secrets && publics);
    }
}

static void wrong_lengths(void **state)
{
    (void)state;
    static const uint8_t b[KE_PUBLIC_MAX + 1] = {1};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct ke *k;
        struct ke_value public;
        struct ke_secret secret;
        size_t n = crypto_ke_public_size(all[i], false);
        const size_t wrong[] = {0, 1, n - 1, n + 1};
        for (size_t w = 0; w < ARRAY_LEN(wrong); w++)
            assert_int_equal(crypto_ke_respond(crypto, all[i], span_of(b, wrong[w]), &public, &secret), RC_SYNTAX);
        n = crypto_ke_public_size(all[i], true);
        assert_int_equal(crypto_ke_begin(crypto, all[i], &k, &public), RC_OK);
        assert_int_equal(crypto_ke_finish(k, span_of(b, n - 1), &secret), RC_SYNTAX);
        assert_int_equal(crypto_ke_finish(k, span_of(b, n + 1), &secret), RC_SYNTAX);
        crypto_ke_free(k);
    }
}

static void unknown_methods(void **state)
{
    (void)state;
    static const uint16_t unknown[] = {KE_NONE, 2, 21, 31, 35, 0xffff};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        struct ke *k;
        struct ke_value public;
        struct ke_secret secret;
        assert_false(crypto_ke_known(unknown[i]));
        assert_false(crypto_ke_is_pq(unknown[i]));
        assert_int_equal(crypto_ke_public_size(unknown[i], true), 0);
        assert_int_equal(crypto_ke_begin(crypto, unknown[i], &k, &public), RC_UNSUPPORTED);
        assert_int_equal(crypto_ke_respond(crypto, unknown[i], span_str("x"), &public, &secret), RC_UNSUPPORTED);
    }
}

/* All randomness is injected: the same seed gives the same keys and ciphertexts, another one others. */
static void same_seed_same_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct ke_value pi[3], pr[3];
        for (int run = 0; run < 3; run++) {
            struct tape t = {.seed = run < 2 ? 42 : 43};
            struct rng rng = {tape_fill, &t};
            struct crypto *c;
            struct ke *k;
            struct ke_secret secret;
            assert_int_equal(crypto_new(&rng, &c), RC_OK);
            assert_int_equal(crypto_ke_begin(c, all[i], &k, &pi[run]), RC_OK);
            assert_int_equal(crypto_ke_respond(c, all[i], span_of(pi[0].b, pi[0].n), &pr[run], &secret), RC_OK);
            crypto_ke_free(k);
            crypto_free(c);
        }
        assert_memory_equal(pi[0].b, pi[1].b, pi[0].n);
        assert_memory_equal(pr[0].b, pr[1].b, pr[0].n);
        assert_memory_not_equal(pi[0].b, pi[2].b, pi[0].n);
        assert_memory_not_equal(pr[0].b, pr[2].b, pr[0].n);
    }
}

static void without_a_source_keys_differ(void **state)
{
    (void)state;
    struct crypto *a, *b;
    assert_int_equal(crypto_new(NULL, &a), RC_OK);
    assert_int_equal(crypto_new(NULL, &b), RC_OK);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct crypto *who[] = {a, a, b};
        struct ke_value v[3];
        for (int k = 0; k < 3; k++) {
            struct ke *ke;
            assert_int_equal(crypto_ke_begin(who[k], all[i], &ke, &v[k]), RC_OK);
            crypto_ke_free(ke);
        }
        assert_memory_not_equal(v[0].b, v[1].b, v[0].n);
        assert_memory_not_equal(v[0].b, v[2].b, v[0].n);
    }
    crypto_free(a);
    crypto_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc5903_ecp384),
        cmocka_unit_test(wycheproof_ecdh_secp384r1),
        cmocka_unit_test(cavs_ecdh),
        cmocka_unit_test(botan_dh_and_every_modp_group),
        cmocka_unit_test(modp_values_out_of_range),
        cmocka_unit_test(ecp_values_off_the_curve),
        cmocka_unit_test(both_sides_agree),
        cmocka_unit_test(leading_zeros_are_kept),
        cmocka_unit_test(wrong_lengths),
        cmocka_unit_test(unknown_methods),
        cmocka_unit_test(same_seed_same_keys),
        cmocka_unit_test(without_a_source_keys_differ),
    };
    return cmocka_run_group_tests_name("crypto_ke", tests, set_up, tear_down);
}
