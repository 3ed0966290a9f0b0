/* The key schedule against all 900 IKEv2 cases of NIST's CAVS (RFC 7296 2.14, 2.17, 2.18). The SHA-1 PRF is known to the
 * crypto room for their sake; no policy can offer it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ike/keys.h"
#include "lib/vectors.h"

static struct crypto *crypto;
static struct vec vec;
static size_t ran[PRF_HMAC_SHA2_512 + 1];

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

static uint16_t prf_of_section(void)
{
    return vec_in(&vec, "SHA-1")     ? PRF_HMAC_SHA1
           : vec_in(&vec, "SHA-256") ? PRF_HMAC_SHA2_256
           : vec_in(&vec, "SHA-384") ? PRF_HMAC_SHA2_384
                                     : PRF_HMAC_SHA2_512;
}

static void check(uint16_t prf)
{
    uint8_t seed[PRF_MAX], dkm[512];
    size_t size = crypto_prf_size(prf);
    const struct ike_nonces n = {vec_hex(&vec, "Ni"), vec_hex(&vec, "Nr")};
    struct span g_ir = vec_hex(&vec, "g^ir"), g_ir_new = vec_hex(&vec, "g^ir (new)"), want;
    struct rd spi_i = rd_of(vec_hex(&vec, "SPIi")), spi_r = rd_of(vec_hex(&vec, "SPIr"));

    want = vec_hex(&vec, "SKEYSEED");
    assert_int_equal(want.n, size);
    assert_int_equal(ike_keys_seed_initial(crypto, prf, n, g_ir, seed), RC_OK);
    assert_memory_equal(seed, want.p, size);

    want = vec_hex(&vec, "DKM");
    assert_in_range(want.n, size, sizeof dkm);
    assert_int_equal(ike_keys_expand(crypto, prf, span_of(seed, size), n, rd_u64(&spi_i), rd_u64(&spi_r), dkm, want.n),
                     RC_OK);
    assert_memory_equal(dkm, want.p, want.n);

    const struct span sk_d = span_of(want.p, size); /* the first key of the material */
    want = vec_hex(&vec, "DKM(Child SA)");
    assert_in_range(want.n, size, sizeof dkm);
    assert_int_equal(ike_keys_child(crypto, prf, sk_d, span_of(NULL, 0), n, NULL, 0, dkm, want.n), RC_OK);
    assert_memory_equal(dkm, want.p, want.n);

    want = vec_hex(&vec, "DKM(Child SA D-H)");
    assert_in_range(want.n, size, sizeof dkm);
    assert_int_equal(ike_keys_child(crypto, prf, sk_d, g_ir_new, n, NULL, 0, dkm, want.n), RC_OK);
    assert_memory_equal(dkm, want.p, want.n);

    want = vec_hex(&vec, "SKEYSEED(Rekey)");
    assert_int_equal(want.n, size);
    assert_int_equal(ike_keys_seed_rekey(crypto, prf, sk_d, g_ir_new, n, NULL, 0, seed), RC_OK);
    assert_memory_equal(seed, want.p, size);
}

/* One test per PRF; each reads the file and takes its own cases. */
static void run(uint16_t prf)
{
    for (vec_open(&vec, "tests/vectors/nss/ikev2.fax.gz"); vec_next(&vec);) {
        if (prf_of_section() != prf)
            continue;
        check(prf);
        ran[prf]++;
    }
}

static void cavs_sha1(void **state)
{
    (void)state;
    run(PRF_HMAC_SHA1);
    assert_int_equal(ran[PRF_HMAC_SHA1], 300);
}

static void cavs_sha2_256(void **state)
{
    (void)state;
    run(PRF_HMAC_SHA2_256);
    assert_int_equal(ran[PRF_HMAC_SHA2_256], 200);
}

static void cavs_sha2_384(void **state)
{
    (void)state;
    run(PRF_HMAC_SHA2_384);
    assert_int_equal(ran[PRF_HMAC_SHA2_384], 200);
}

static void cavs_sha2_512(void **state)
{
    (void)state;
    run(PRF_HMAC_SHA2_512);
    assert_int_equal(ran[PRF_HMAC_SHA2_512], 200);
}

static void nothing_was_left_out(void **state)
{
    (void)state;
    size_t n = 0, all = 0;
    for (size_t i = 0; i < ARRAY_LEN(ran); i++)
        all += ran[i];
    for (vec_open(&vec, "tests/vectors/nss/ikev2.fax.gz"); vec_next(&vec);)
        n++;
    assert_int_equal(n, 900);
    assert_int_equal(all, 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cavs_sha1),     cmocka_unit_test(cavs_sha2_256),        cmocka_unit_test(cavs_sha2_384),
        cmocka_unit_test(cavs_sha2_512), cmocka_unit_test(nothing_was_left_out),
    };
    return cmocka_run_group_tests_name("ike_kdf", tests, set_up, tear_down);
}
