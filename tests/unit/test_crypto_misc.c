/* Digests, keyed hashes, compare, arenas, IVs, names, versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/context.h"
#include "lib/vectors.h"

static struct crypto *crypto;

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

static void assert_hex(const uint8_t *got, size_t n, const char *want)
{
    static struct pool p;
    p.n = 0;
    assert_true(span_equal(span_of(got, n), pool_hex(&p, want, strlen(want))));
}

/* FIPS 180-4's example "abc", in parts and whole. */
static void sha1_and_sha256(void **state)
{
    (void)state;
    const struct span parts[] = {span_str("a"), span_of(NULL, 0), span_str("bc")}, whole = span_str("abc");
    uint8_t h[32];
    for (int i = 0; i < 2; i++) { /* twice: a context is used again */
        crypto_sha1(crypto, parts, 3, h);
        assert_hex(h, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
        crypto_sha1(crypto, &whole, 1, h);
        assert_hex(h, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
        crypto_sha256(crypto, parts, 3, h);
        assert_hex(h, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    crypto_sha1(crypto, NULL, 0, h);
    assert_hex(h, 20, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

/* The example of the SipHash paper: key 00..0f, data 00..0e. */
static void siphash(void **state)
{
    (void)state;
    uint8_t key[16], data[15];
    for (uint8_t i = 0; i < 16; i++)
        key[i] = i;
    memcpy(data, key, sizeof data);
    assert_true(crypto_siphash(key, span_of(data, 15)) == UINT64_C(0xa129ca6149be45e5));
    key[0] ^= 1;
    assert_true(crypto_siphash(key, span_of(data, 15)) != UINT64_C(0xa129ca6149be45e5));
}

static void mac_depends_on_key_and_every_part(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, a[32], b[32];
    const struct span ab[] = {span_str("a"), span_str("b")}, whole = span_str("ab"), other = span_str("ac");
    crypto_mac(key, ab, 2, a);
    crypto_mac(key, &whole, 1, b);
    assert_memory_equal(a, b, 32);
    crypto_mac(key, &other, 1, b);
    assert_memory_not_equal(a, b, 32);
    key[31] ^= 1;
    crypto_mac(key, ab, 2, b);
    assert_memory_not_equal(a, b, 32);
}

static void equal(void **state)
{
    (void)state;
    assert_true(crypto_equal(span_str("same"), span_str("same")));
    assert_false(crypto_equal(span_str("same"), span_str("sane")));
    assert_false(crypto_equal(span_str("same"), span_str("same.")));
    assert_true(crypto_equal(span_of(NULL, 0), span_str("")));
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void cbc_ivs_never_repeat(void **state)
{
    (void)state;
    enum { N = 20000 };
    static uint8_t iv[N][16];
    for (int i = 0; i < N; i++)
        crypto_esp_cbc_iv(crypto, iv[i]);
    qsort(iv, N, 16, compare);
    for (int i = 1; i < N; i++)
        assert_memory_not_equal(iv[i - 1], iv[i], 16);
}

static void cbc_ivs_follow_the_seed(void **state)
{
    (void)state;
    uint8_t iv[3][100][16];
    for (int run = 0; run < 3; run++) {
        struct tape t = {.seed = run == 2};
        struct rng rng = {tape_fill, &t};
        struct crypto *c;
        assert_int_equal(crypto_new(&rng, &c), RC_OK);
        size_t seeded = t.drawn;
        for (int i = 0; i < 100; i++)
            crypto_esp_cbc_iv(c, iv[run][i]);
        assert_int_equal(t.drawn, seeded); /* no draw per packet */
        crypto_free(c);
    }
    assert_memory_equal(iv[0], iv[1], sizeof iv[0]);
    assert_memory_not_equal(iv[0], iv[2], sizeof iv[0]);
}

/* A look into memory tells neither an IV that was handed out nor the key that made it. */
static void cbc_ivs_leave_nothing_behind(void **state)
{
    (void)state;
    uint8_t iv[16];
    for (int i = 0; i < 200; i++) { /* more than one refill */
        crypto_esp_cbc_iv(crypto, iv);
        assert_null(memmem(crypto->iv.b, sizeof crypto->iv.b, iv, sizeof iv));
        assert_null(memmem(crypto->iv.b, sizeof crypto->iv.b, crypto->iv.key, sizeof crypto->iv.key));
    }
}

static void arena_objects_are_zeroed_and_limited(void **state)
{
    (void)state;
    enum { MAX = 1000, SIZE = 100 };
    static uint8_t *o[MAX];
    struct arena *a;
    assert_int_equal(crypto_arena_new(SIZE, MAX, &a), RC_OK);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < MAX; i++) {
            o[i] = crypto_arena_get(a);
            assert_non_null(o[i]);
            assert_int_equal((uintptr_t)o[i] % 64, 0);
            for (size_t k = 0; k < SIZE; k++)
                assert_int_equal(o[i][k], 0);
            memset(o[i], 0xff, SIZE);
        }
        assert_int_equal(crypto_arena_used(a), MAX);
        assert_null(crypto_arena_get(a));
        for (size_t i = 0; i < MAX; i++) /* in another order than they came */
            crypto_arena_put(a, o[i * 7 % MAX]);
        assert_int_equal(crypto_arena_used(a), 0);
    }
    crypto_arena_put(a, NULL);
    crypto_arena_free(a);
    crypto_arena_free(NULL);
}

static void arena_wipes_what_comes_back(void **state)
{
    (void)state;
    struct arena *a;
    assert_int_equal(crypto_arena_new(64, 2, &a), RC_OK);
    uint8_t *p = crypto_arena_get(a), *q = crypto_arena_get(a);
    memset(p, 0xff, 64);
    crypto_arena_put(a, p);
    for (size_t i = sizeof(void *); i < 64; i++) /* the first word links unused objects */
        assert_int_equal(p[i], 0);
    crypto_arena_put(a, q);
    crypto_arena_free(a);
}

/* Large pieces: as many objects as fill several, on lines, zero, none inside another; behind the last of each piece nobody may read. */
static void arena_guards_large_pieces(void **state)
{
    (void)state;
    enum { MAX = 6000, SIZE = 1088 };
    static uint8_t *o[MAX];
    struct arena *a;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(crypto_arena_new(SIZE, MAX, &a), RC_OK);
    for (size_t i = 0; i < MAX; i++) {
        assert_non_null(o[i] = crypto_arena_get(a));
        assert_int_equal((uintptr_t)o[i] % 64, 0);
        for (size_t k = 0; k < SIZE; k++)
            assert_int_equal(o[i][k], 0);
        memset(o[i], (int)(i % 251) + 1, SIZE);
    }
    assert_null(crypto_arena_get(a));
    size_t guards = 0;
    for (size_t i = 0; i < MAX; i++) {
        assert_int_equal(o[i][0], i % 251 + 1);
        assert_int_equal(o[i][SIZE - 1], i % 251 + 1);
        if (i + 1 == MAX || o[i + 1] != o[i] + SIZE) { /* the last one before a gap */
            assert_int_equal(write(fd[1], o[i] + SIZE, 1), -1);
            guards++;
        }
    }
    assert_in_range(guards, 4, 16); /* the largest pieces hold 1927 */
    for (size_t i = 0; i < MAX; i++)
        crypto_arena_put(a, o[i]);
    crypto_arena_free(a);
    close(fd[0]);
    close(fd[1]);
}

static void arena_refuses_nonsense(void **state)
{
    (void)state;
    struct arena *a = NULL;
    assert_int_equal(crypto_arena_new(0, 1, &a), RC_RANGE);
    assert_int_equal(crypto_arena_new(1, 0, &a), RC_RANGE);
    assert_int_equal(crypto_arena_new(SIZE_MAX / 2, 8, &a), RC_RANGE);
    assert_int_equal(crypto_arena_new(64, SIZE_MAX / 64, &a), RC_RANGE);
    assert_null(a);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(crypto_encr_name(ENCR_AES_GCM_16, 256), "AES_GCM_16_256");
    assert_string_equal(crypto_encr_name(ENCR_NULL, 0), "NULL");
    assert_string_equal(crypto_encr_name(ENCR_AES_GCM_16, 7), "?");
    assert_string_equal(crypto_prf_name(PRF_HMAC_SHA2_384), "PRF_HMAC_SHA2_384");
    assert_string_equal(crypto_prf_name(0), "?");
    assert_string_equal(crypto_integ_name(INTEG_HMAC_SHA2_256_128), "HMAC_SHA2_256_128");
    assert_string_equal(crypto_integ_name(INTEG_NONE), "NONE");
    assert_string_equal(crypto_integ_name(99), "?");
    assert_string_equal(crypto_ke_name(KE_ECP384), "ECP_384");
    assert_string_equal(crypto_ke_name(KE_ML_KEM_768), "ML_KEM_768");
    assert_string_equal(crypto_ke_name(KE_NONE), "NONE");
    assert_string_equal(crypto_ke_name(99), "?");
}

static void versions(void **state)
{
    (void)state;
    struct crypto_versions v;
    crypto_versions(crypto, &v);
    assert_non_null(strstr(v.openssl, "OpenSSL 3."));
    assert_non_null(v.sodium);
    assert_non_null(v.esp_gcm);
#ifdef ADIT_HAVE_IPSEC_MB
    assert_non_null(v.ipsec_mb);
#else
    assert_null(v.ipsec_mb);
    assert_string_equal(v.esp_gcm, "openssl");
#endif
}

/* Two contexts live side by side and go in any order. */
static void contexts_are_independent(void **state)
{
    (void)state;
    struct tape t = {.seed = 3};
    struct rng rng = {tape_fill, &t};
    struct crypto *a, *b;
    struct ke *k;
    struct ke_value public;
    assert_int_equal(crypto_new(&rng, &a), RC_OK);
    assert_int_equal(crypto_new(NULL, &b), RC_OK);
    size_t before = t.drawn;
    assert_int_equal(crypto_ke_begin(b, KE_ECP384, &k, &public), RC_OK);
    assert_int_equal(t.drawn, before); /* b's randomness does not come from a's source */
    crypto_free(a);
    crypto_ke_free(k);
    crypto_free(b);
    crypto_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_and_sha256),
        cmocka_unit_test(siphash),
        cmocka_unit_test(mac_depends_on_key_and_every_part),
        cmocka_unit_test(equal),
        cmocka_unit_test(cbc_ivs_never_repeat),
        cmocka_unit_test(cbc_ivs_follow_the_seed),
        cmocka_unit_test(cbc_ivs_leave_nothing_behind),
        cmocka_unit_test(arena_objects_are_zeroed_and_limited),
        cmocka_unit_test(arena_wipes_what_comes_back),
        cmocka_unit_test(arena_guards_large_pieces),
        cmocka_unit_test(arena_refuses_nonsense),
        cmocka_unit_test(names),
        cmocka_unit_test(versions),
        cmocka_unit_test(contexts_are_independent),
    };
    return cmocka_run_group_tests_name("crypto_misc", tests, set_up, tear_down);
}
