/* PRF and prf+ against published HMAC cases (RFC 4231, Botan, Wycheproof) and RFC 7296 2.13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "adit/crypto.h"
#include "lib/vectors.h"

static struct crypto *crypto;
static struct vec vec;

static int set_up(void **state)
{
    (void)state;
    return crypto_new(NULL, &crypto) == RC_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    crypto_free(crypto);
    return 0;
}

static void check(uint16_t prf, struct span key, struct span in, struct span out)
{
    uint8_t got[PRF_MAX];
    assert_true(out.n > 0 && out.n <= crypto_prf_size(prf));
    assert_int_equal(crypto_prf(crypto, prf, key, &in, 1, got), RC_OK);
    assert_memory_equal(got, out.p, out.n);
}

static void rfc4231(void **state)
{
    (void)state;
    size_t n = 0;
    for (vec_open(&vec, "tests/vectors/ietf/rfc4231.vec"); vec_next(&vec); n++) {
        uint16_t prf = vec_in(&vec, "SHA-256")   ? PRF_HMAC_SHA2_256
                       : vec_in(&vec, "SHA-384") ? PRF_HMAC_SHA2_384
                                                 : PRF_HMAC_SHA2_512;
        check(prf, vec_hex(&vec, "Key"), vec_hex(&vec, "In"), vec_hex(&vec, "Out"));
    }
    assert_int_equal(n, 21);
}

static void botan(void **state)
{
    (void)state;
    size_t n = 0;
    for (vec_open(&vec, "tests/vectors/botan/hmac.vec"); vec_next(&vec); n++) {
        uint16_t prf = vec_in(&vec, "HMAC(SHA-1)")     ? PRF_HMAC_SHA1
                       : vec_in(&vec, "HMAC(SHA-256)") ? PRF_HMAC_SHA2_256
                       : vec_in(&vec, "HMAC(SHA-384)") ? PRF_HMAC_SHA2_384
                                                       : PRF_HMAC_SHA2_512;
        check(prf, vec_hex(&vec, "Key"), vec_hex(&vec, "In"), vec_hex(&vec, "Out"));
    }
    assert_int_equal(n, 25);
}

/* Tags of other lengths are prefixes; an invalid case's tag must not come out. */
static size_t wycheproof(const char *path, uint16_t prf)
{
    static struct pool pool;
    size_t n = 0, i, k;
    json_t *groups = vec_json(path), *group, *test;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            uint8_t got[PRF_MAX];
            pool.n = 0;
            struct span in = json_hex(&pool, test, "msg"), tag = json_hex(&pool, test, "tag");
            assert_int_equal(crypto_prf(crypto, prf, json_hex(&pool, test, "key"), &in, 1, got), RC_OK);
            assert_int_equal(crypto_equal(span_of(got, tag.n), tag), json_valid(test));
            n++;
        }
    }
    json_decref(groups);
    return n;
}

static void wycheproof_hmac(void **state)
{
    (void)state;
    assert_int_equal(wycheproof("tests/vectors/wycheproof/hmac_sha1.json", PRF_HMAC_SHA1), 170);
    assert_int_equal(wycheproof("tests/vectors/wycheproof/hmac_sha256.json", PRF_HMAC_SHA2_256), 174);
    assert_int_equal(wycheproof("tests/vectors/wycheproof/hmac_sha384.json", PRF_HMAC_SHA2_384), 174);
    assert_int_equal(wycheproof("tests/vectors/wycheproof/hmac_sha512.json", PRF_HMAC_SHA2_512), 174);
}

static void parts_are_concatenated(void **state)
{
    (void)state;
    const struct span whole = span_str("what do ya want for nothing?"), key = span_str("Jefe");
    const struct span parts[] = {span_str("what do "), span_of(NULL, 0), span_str("ya want"),
                                 span_str(" for nothing?")};
    uint8_t a[PRF_MAX], b[PRF_MAX];
    assert_int_equal(crypto_prf(crypto, PRF_HMAC_SHA2_384, key, &whole, 1, a), RC_OK);
    assert_int_equal(crypto_prf(crypto, PRF_HMAC_SHA2_384, key, parts, ARRAY_LEN(parts), b), RC_OK);
    assert_memory_equal(a, b, 48);
}

static void empty_key_and_data(void **state)
{
    (void)state;
    static const uint8_t zero[64];
    uint8_t a[PRF_MAX], b[PRF_MAX];
    /* HMAC pads a key with zeros: no key and one zero block's worth are the same. */
    assert_int_equal(crypto_prf(crypto, PRF_HMAC_SHA2_256, span_of(NULL, 0), NULL, 0, a), RC_OK);
    assert_int_equal(crypto_prf(crypto, PRF_HMAC_SHA2_256, span_of(zero, sizeof zero), NULL, 0, b), RC_OK);
    assert_memory_equal(a, b, 32);
}

static void unknown_prf(void **state)
{
    (void)state;
    const struct span s = span_str("x");
    uint8_t out[PRF_MAX] = {0x5a};
    assert_int_equal(crypto_prf(crypto, 1, s, &s, 1, out), RC_UNSUPPORTED);
    assert_int_equal(crypto_prf_plus(crypto, 99, s, &s, 1, out, 1), RC_UNSUPPORTED);
    assert_int_equal(out[0], 0x5a);
    assert_int_equal(crypto_prf_size(1), 0);
    assert_int_equal(crypto_prf_size(PRF_HMAC_SHA2_512), 64);
}

/* RFC 7296 2.13: T1 = prf(K, S | 0x01), T2 = prf(K, T1 | S | 0x02), ... built here by hand from the PRF. */
static void prf_plus_is_the_chain(void **state)
{
    (void)state;
    static const uint16_t prfs[] = {PRF_HMAC_SHA2_256, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512};
    const struct span key = span_str("a key"), s1 = span_str("see"), s2 = span_str("d");
    for (size_t p = 0; p < ARRAY_LEN(prfs); p++) {
        size_t size = crypto_prf_size(prfs[p]);
        uint8_t want[5 * PRF_MAX], got[5 * PRF_MAX];
        for (uint8_t i = 1; i <= 5; i++) {
            const struct span parts[] = {i > 1 ? span_of(want + (i - 2) * size, size) : span_of(NULL, 0), s1, s2,
                                         span_of(&i, 1)};
            assert_int_equal(crypto_prf(crypto, prfs[p], key, parts, 4, want + (i - 1) * size), RC_OK);
        }
        const struct span seed[] = {s1, s2};
        for (size_t n = 0; n <= 5 * size; n++) {
            memset(got, 0xee, sizeof got);
            assert_int_equal(crypto_prf_plus(crypto, prfs[p], key, seed, 2, got, n), RC_OK);
            assert_memory_equal(got, want, n);
            assert_true(n == sizeof got || got[n] == 0xee); /* not an octet more */
        }
    }
}

static void prf_plus_ends_at_255_blocks(void **state)
{
    (void)state;
    static uint8_t out[255 * 32 + 1];
    const struct span s = span_str("s");
    assert_int_equal(crypto_prf_plus(crypto, PRF_HMAC_SHA2_256, s, &s, 1, out, 255 * 32), RC_OK);
    out[0] = 0x5a;
    assert_int_equal(crypto_prf_plus(crypto, PRF_HMAC_SHA2_256, s, &s, 1, out, 255 * 32 + 1), RC_RANGE);
    assert_int_equal(out[0], 0x5a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc4231),
        cmocka_unit_test(botan),
        cmocka_unit_test(wycheproof_hmac),
        cmocka_unit_test(parts_are_concatenated),
        cmocka_unit_test(empty_key_and_data),
        cmocka_unit_test(unknown_prf),
        cmocka_unit_test(prf_plus_is_the_chain),
        cmocka_unit_test(prf_plus_ends_at_255_blocks),
    };
    return cmocka_run_group_tests_name("crypto_prf", tests, set_up, tear_down);
}
