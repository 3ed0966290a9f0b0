/* ML-KEM-768 and -1024 (FIPS 203) as IKEv2 uses them, against NIST's ACVP and Wycheproof's cases. The injected random
 * source plays back what FIPS 203 draws: d | z for a key pair, m for an encapsulation. Only the cases that start from
 * an expanded decapsulation key, which adit never reads, go to OpenSSL directly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>

#include "adit/crypto.h"
#include "lib/vectors.h"

static struct tape tape;
static struct crypto *crypto;
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

static void play(struct span bytes)
{
    tape = (struct tape){.data = bytes, .seed = 1};
}

static void assert_sha256(struct span data, const json_t *test, const char *name)
{
    uint8_t got[32];
    crypto_sha256(crypto, &data, 1, got);
    assert_true(span_equal(span_of(got, 32), json_hex(&pool, test, name)));
}

static uint16_t method(const json_t *group)
{
    return strcmp(json_text(group, "set"), "ML-KEM-768") == 0 ? KE_ML_KEM_768 : KE_ML_KEM_1024;
}

static void key_pair(uint16_t ke, struct span d, struct span z, struct ke **ret, struct ke_value *ret_public)
{
    uint8_t seed[64];
    assert_int_equal(d.n + z.n, sizeof seed);
    memcpy(seed, d.p, d.n);
    memcpy(seed + d.n, z.p, z.n);
    play(span_of(seed, sizeof seed));
    assert_int_equal(crypto_ke_begin(crypto, ke, ret, ret_public), RC_OK);
    assert_int_equal(tape.drawn, sizeof seed); /* the whole seed and nothing else */
}

static void acvp_key_generation(void **state)
{
    (void)state;
    size_t n = 0, i, k;
    json_t *groups = vec_json("tests/vectors/acvp/keygen.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct ke *ke;
            struct ke_value ek;
            pool.n = 0;
            key_pair(method(group), json_hex(&pool, test, "d"), json_hex(&pool, test, "z"), &ke, &ek);
            assert_sha256(span_of(ek.b, ek.n), test, "ek_sha256");
            crypto_ke_free(ke);
            n++;
        }
    }
    json_decref(groups);
    assert_int_equal(n, 50);
}

static void wycheproof_key_generation(void **state)
{
    (void)state;
    size_t n = 0, i, k;
    json_t *groups = vec_json("tests/vectors/wycheproof/mlkem_768_keygen.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct ke *ke;
            struct ke_value ek;
            pool.n = 0;
            struct span seed = json_hex(&pool, test, "seed");
            key_pair(KE_ML_KEM_768, span_of(seed.p, 32), span_of(seed.p + 32, 32), &ke, &ek);
            assert_sha256(span_of(ek.b, ek.n), test, "ek_sha256");
            crypto_ke_free(ke);
            n++;
        }
    }
    json_decref(groups);
    assert_int_equal(n, 100);
}

static void acvp_encapsulation(void **state)
{
    (void)state;
    size_t n = 0, i, k;
    json_t *groups = vec_json("tests/vectors/acvp/encaps.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct ke_value c;
            struct ke_secret secret;
            pool.n = 0;
            play(json_hex(&pool, test, "m"));
            assert_int_equal(crypto_ke_respond(crypto, method(group), json_hex(&pool, test, "ek"), &c, &secret), RC_OK);
            assert_int_equal(tape.drawn, 32);
            assert_sha256(span_of(c.b, c.n), test, "c_sha256");
            assert_true(span_equal(span_of(secret.b, secret.n), json_hex(&pool, test, "k")));
            n++;
        }
    }
    json_decref(groups);
    assert_int_equal(n, 50);
}

/* FIPS 203 7.2: type check (length) and modulus check (every coefficient < 3329). */
static void wycheproof_encapsulation_checks_the_key(void **state)
{
    (void)state;
    size_t valid = 0, length = 0, modulus = 0, i, k;
    json_t *groups = vec_json("tests/vectors/wycheproof/mlkem_768_encaps.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct ke_value c = {.n = 99};
            struct ke_secret secret = {.n = 99};
            pool.n = 0;
            struct span ek = json_hex(&pool, test, "ek");
            play(json_hex(&pool, test, "m"));
            enum rc rc = crypto_ke_respond(crypto, KE_ML_KEM_768, ek, &c, &secret);
            if (json_valid(test)) {
                assert_int_equal(rc, RC_OK);
                assert_sha256(span_of(c.b, c.n), test, "c_sha256");
                assert_true(span_equal(span_of(secret.b, secret.n), json_hex(&pool, test, "K")));
                valid++;
                continue;
            }
            assert_int_equal(rc, ek.n == 1184 ? RC_CRYPTO : RC_SYNTAX);
            assert_true(c.n == 99 && secret.n == 99);
            *(ek.n == 1184 ? &modulus : &length) += 1;
        }
    }
    json_decref(groups);
    assert_int_equal(valid, 133);
    assert_int_equal(modulus, 112);
    assert_int_equal(length, 20);
}

/* Each of the 768 (1024) coefficients in turn is set to 3329 and to 4095. */
static void every_coefficient_is_checked(void **state)
{
    (void)state;
    static const uint16_t methods[] = {KE_ML_KEM_768, KE_ML_KEM_1024};
    play(span_of(NULL, 0));
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        struct ke *k;
        struct ke_value ek, c;
        struct ke_secret secret;
        assert_int_equal(crypto_ke_begin(crypto, methods[m], &k, &ek), RC_OK);
        crypto_ke_free(k);
        size_t coefficients = (ek.n - 32) * 2 / 3;
        for (size_t i = 0; i < coefficients; i++) {
            for (int v = 0; v < 2; v++) {
                struct ke_value bad = ek;
                uint8_t *p = bad.b + i / 2 * 3; /* two 12-bit values in 3 octets, low bits first */
                unsigned value = v ? 4095 : 3329;
                if (i % 2) {
                    p[1] = (uint8_t)((p[1] & 0x0f) | (value & 0x0f) << 4);
                    p[2] = (uint8_t)(value >> 4);
                } else {
                    p[0] = (uint8_t)value;
                    p[1] = (uint8_t)((p[1] & 0xf0) | value >> 8);
                }
                assert_int_equal(crypto_ke_respond(crypto, methods[m], span_of(bad.b, bad.n), &c, &secret), RC_CRYPTO);
            }
        }
    }
}

/* Seed to key pair, ciphertext to secret: all through the initiator's side. */
static void wycheproof_decapsulation(void **state)
{
    (void)state;
    size_t valid = 0, invalid = 0, i, k;
    json_t *groups = vec_json("tests/vectors/wycheproof/mlkem_768.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct ke *ke;
            struct ke_value ek;
            struct ke_secret secret;
            pool.n = 0;
            struct span seed = json_hex(&pool, test, "seed"), c = json_hex(&pool, test, "c");
            if (!json_valid(test) && seed.n != 64) { /* a seed is never read by adit, always drawn */
                invalid++;
                continue;
            }
            key_pair(KE_ML_KEM_768, span_of(seed.p, 32), span_of(seed.p + 32, 32), &ke, &ek);
            enum rc rc = crypto_ke_finish(ke, c, &secret);
            crypto_ke_free(ke);
            if (json_valid(test)) {
                assert_int_equal(rc, RC_OK);
                assert_sha256(span_of(ek.b, ek.n), test, "ek_sha256");
                assert_true(span_equal(span_of(secret.b, secret.n), json_hex(&pool, test, "K")));
                valid++;
            } else { /* a ciphertext of the wrong length */
                assert_int_equal(rc, RC_SYNTAX);
                invalid++;
            }
        }
    }
    json_decref(groups);
    assert_int_equal(valid, 153);
    assert_int_equal(valid + invalid, 193);
}

/* ---- from an expanded decapsulation key: the library under us, with the inputs our API cannot carry */

static bool evp_decapsulate(const char *type, struct span dk, struct span c, uint8_t ret[32])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, type, NULL, dk.p, dk.n);
    EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    size_t n = 32;
    bool ok = ctx && EVP_PKEY_decapsulate_init(ctx, NULL) > 0 && EVP_PKEY_decapsulate(ctx, ret, &n, c.p, c.n) > 0;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok && n == 32;
}

static void acvp_decapsulation(void **state)
{
    (void)state;
    static struct pool keys;
    size_t n = 0, modified = 0, i, k;
    json_t *groups = vec_json("tests/vectors/acvp/decaps.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        keys.n = 0;
        struct span dk = json_hex(&keys, group, "dk");
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            uint8_t secret[32];
            pool.n = 0;
            assert_true(evp_decapsulate(json_text(group, "set"), dk, json_hex(&pool, test, "c"), secret));
            assert_true(span_equal(span_of(secret, 32), json_hex(&pool, test, "k")));
            modified += strcmp(json_text(test, "reason"), "no modification") != 0;
            n++;
        }
    }
    json_decref(groups);
    assert_int_equal(n, 20);
    assert_true(modified > 0); /* implicit rejection, FIPS 203 7.3 */
}

static void wycheproof_decapsulation_keys(void **state)
{
    (void)state;
    size_t n = 0, i, k;
    json_t *groups = vec_json("tests/vectors/wycheproof/mlkem_768_decaps_dk.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            uint8_t secret[32];
            pool.n = 0;
            bool ok = evp_decapsulate("ML-KEM-768", json_hex(&pool, test, "dk"), json_hex(&pool, test, "c"), secret);
            assert_int_equal(ok, json_valid(test));
            if (ok)
                assert_true(span_equal(span_of(secret, 32), json_hex(&pool, test, "K")));
            n++;
        }
    }
    json_decref(groups);
    assert_int_equal(n, 9);
}

/* ---- what IKE sees of it */

static void a_modified_ciphertext_gives_another_secret(void **state)
{
    (void)state;
    struct ke *k;
    struct ke_value ek, c;
    struct ke_secret theirs, ours;
    play(span_of(NULL, 0));
    assert_int_equal(crypto_ke_begin(crypto, KE_ML_KEM_768, &k, &ek), RC_OK);
    assert_int_equal(crypto_ke_respond(crypto, KE_ML_KEM_768, span_of(ek.b, ek.n), &c, &theirs), RC_OK);
    c.b[100] ^= 1;
    assert_int_equal(crypto_ke_finish(k, span_of(c.b, c.n), &ours), RC_OK);
    assert_int_equal(ours.n, 32);
    assert_memory_not_equal(ours.b, theirs.b, 32);
    crypto_ke_free(k);
}

static void the_library_says_it_is_there(void **state)
{
    (void)state;
    struct crypto_versions v;
    crypto_versions(crypto, &v);
    assert_true(v.ml_kem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acvp_key_generation),
        cmocka_unit_test(wycheproof_key_generation),
        cmocka_unit_test(acvp_encapsulation),
        cmocka_unit_test(wycheproof_encapsulation_checks_the_key),
        cmocka_unit_test(every_coefficient_is_checked),
        cmocka_unit_test(wycheproof_decapsulation),
        cmocka_unit_test(acvp_decapsulation),
        cmocka_unit_test(wycheproof_decapsulation_keys),
        cmocka_unit_test(a_modified_ciphertext_gives_another_secret),
        cmocka_unit_test(the_library_says_it_is_there),
    };
    return cmocka_run_group_tests_name("crypto_mlkem", tests, set_up, tear_down);
}
