/* ESP batches: published packets, both implementations against each other, tampering, mixed batches, no allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "crypto/esp.h"
#include "lib/vectors.h"

static struct tape tape = {.seed = 1};
static struct crypto *crypto;
static struct crypto *plain; /* the same, everything by OpenSSL */
static struct vec vec;
static struct pool pool;

/* OpenSSL's allocations are counted: seal and open must make none. */
static size_t allocations;
static void *counted_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    allocations++;
    return malloc(n);
}
static void *counted_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    allocations++;
    return realloc(p, n);
}
static void counted_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static int set_up(void **state)
{
    (void)state;
    struct rng rng = {tape_fill, &tape};
    if (!CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) ||
        crypto_new(&rng, &crypto) != RC_OK || crypto_new(&rng, &plain) != RC_OK)
        return -1;
    plain->esp.gcm = plain->esp.hmac = &esp_ossl;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    crypto_free(plain);
    crypto_free(crypto);
    return 0;
}

static const struct esp_alg algs[] = {
    {ENCR_AES_GCM_16, 128, INTEG_NONE},           {ENCR_AES_GCM_16, 192, INTEG_NONE},
    {ENCR_AES_GCM_16, 256, INTEG_NONE},           {ENCR_AES_CBC, 128, INTEG_HMAC_SHA1_96},
    {ENCR_AES_CBC, 256, INTEG_HMAC_SHA1_96},      {ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128},
    {ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192}, {ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256},
    {ENCR_NULL, 0, INTEG_HMAC_SHA1_96},           {ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128},
};

static struct esp_key *key_new(struct crypto *c, struct esp_alg alg, const uint8_t *keymat)
{
    struct esp_sizes s;
    struct esp_key *k = NULL;
    assert_true(crypto_esp_sizes(alg, &s));
    assert_int_equal(crypto_esp_key_new(c, alg, span_of(keymat, (size_t)s.key_e + s.key_a), &k), RC_OK);
    return k;
}

static void random_bytes(uint8_t *p, size_t n)
{
    tape_fill(&tape, p, n);
}

/* draft-mcgrew-gcm-test: the packets without ESN, by both implementations. */
static void mcgrew_gcm_packets(void **state)
{
    (void)state;
    struct crypto *both[] = {crypto, plain};
    size_t n = 0, i;
    json_t *all = vec_json("tests/vectors/ietf/gcm_esp.json"), *test;
    json_array_foreach(all, i, test)
    {
        if (json_is_true(json_object_get(test, "esn")))
            continue;
        for (size_t b = 0; b < 2; b++) {
            uint8_t pkt[512], keymat[36];
            pool.n = 0;
            struct span key = json_hex(&pool, test, "key"), salt = json_hex(&pool, test, "salt");
            struct span text = json_hex(&pool, test, "plaintext"), packet = json_hex(&pool, test, "esp_packet");
            memcpy(keymat, key.p, key.n);
            memcpy(keymat + key.n, salt.p, salt.n);
            memcpy(pkt, packet.p, packet.n);
            const struct esp_alg alg = {ENCR_AES_GCM_16, (uint16_t)(key.n * 8), INTEG_NONE};
            struct esp_key *k = key_new(both[b], alg, keymat);
            struct esp_op op = {.key = k, .pkt = pkt, .text_len = (uint32_t)text.n, .rc = RC_CRYPTO};
            crypto_esp_open(both[b], &op, 1);
            assert_int_equal(op.rc, RC_OK);
            assert_memory_equal(pkt + 16, text.p, text.n);
            memset(pkt + packet.n - 16, 0, 16);
            crypto_esp_seal(both[b], &op, 1);
            assert_int_equal(op.rc, RC_OK);
            assert_memory_equal(pkt, packet.p, packet.n);
            crypto_esp_key_free(k);
        }
        n++;
    }
    json_decref(all);
    assert_int_equal(n, 4);
}

/* RFC 3602 4, cases 5 to 8: whole packets, to which we add an ICV computed by the PRF. */
static void rfc3602_cbc_packets(void **state)
{
    (void)state;
    size_t n = 0;
    for (vec_open(&vec, "tests/vectors/ietf/rfc3602.vec"); vec_next(&vec); n++) {
        uint8_t pkt[256], keymat[48] = {0}, mac[PRF_MAX];
        struct span key = vec_hex(&vec, "Key"), text = vec_hex(&vec, "Plain"), cipher = vec_hex(&vec, "Cipher");
        struct wr w = wr_of(pkt, sizeof pkt);
        wr_bytes(&w, vec_hex(&vec, "Header"));
        wr_bytes(&w, vec_hex(&vec, "IV"));
        wr_bytes(&w, cipher);
        const struct span covered = wr_span(&w);
        memcpy(keymat, key.p, key.n);
        assert_int_equal(crypto_prf(crypto, PRF_HMAC_SHA2_256, span_of(keymat + 16, 32), &covered, 1, mac), RC_OK);
        wr_bytes(&w, span_of(mac, 16));
        struct esp_key *k = key_new(crypto, (struct esp_alg){ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128}, keymat);
        struct esp_op op = {.key = k, .pkt = pkt, .text_len = (uint32_t)text.n};
        crypto_esp_open(crypto, &op, 1);
        assert_int_equal(op.rc, RC_OK);
        assert_memory_equal(pkt + 24, text.p, text.n);
        memset(pkt + covered.n, 0, 16);
        crypto_esp_seal(crypto, &op, 1);
        assert_int_equal(op.rc, RC_OK);
        assert_memory_equal(pkt + 24, cipher.p, cipher.n);
        assert_memory_equal(pkt + covered.n, mac, 16);
        crypto_esp_key_free(k);
    }
    assert_int_equal(n, 4);
}

/* RFC 4868 2.7 and RFC 2404: truncated HMAC over SPI to Next Header; NULL leaves the text as it is. */
static void null_encryption_only_authenticates(void **state)
{
    (void)state;
    static const uint8_t text[24] = "plain to be seen";
    uint8_t pkt[8 + 24 + 12], keymat[20], mac[PRF_MAX];
    random_bytes(keymat, sizeof keymat);
    random_bytes(pkt, 8);
    memcpy(pkt + 8, text, sizeof text);
    struct esp_key *k = key_new(crypto, (struct esp_alg){ENCR_NULL, 0, INTEG_HMAC_SHA1_96}, keymat);
    struct esp_op op = {.key = k, .pkt = pkt, .text_len = sizeof text};
    crypto_esp_seal(crypto, &op, 1);
    assert_int_equal(op.rc, RC_OK);
    assert_memory_equal(pkt + 8, text, sizeof text);
    const struct span covered = span_of(pkt, 32);
    assert_int_equal(crypto_prf(crypto, PRF_HMAC_SHA1, span_of(keymat, 20), &covered, 1, mac), RC_OK);
    assert_memory_equal(pkt + 32, mac, 12);
    crypto_esp_open(crypto, &op, 1);
    assert_int_equal(op.rc, RC_OK);
    crypto_esp_key_free(k);
}

/* 10,000 random packets of all sizes at all offsets: what one implementation seals is bit for bit what the other seals,
 * and the other opens it. Without ipsec-mb this compares OpenSSL with itself. */
static void implementations_agree(void **state)
{
    (void)state;
    static uint8_t buffer[2][9300];
    uint8_t text[9100];
    size_t n = 0;
    tape.seed = 20;
    for (int round = 0; round < 1000; round++) {
        uint8_t keymat[ESP_KEYMAT_MAX];
        random_bytes(keymat, sizeof keymat);
        const struct esp_alg alg = algs[round % ARRAY_LEN(algs)];
        struct esp_sizes s;
        assert_true(crypto_esp_sizes(alg, &s));
        struct esp_key *a = key_new(crypto, alg, keymat), *b = key_new(plain, alg, keymat);
        for (int i = 0; i < 10; i++, n++) {
            uint16_t r[2];
            random_bytes((uint8_t *)r, sizeof r);
            size_t max = i == 0 ? 9000 : i < 4 ? 1500 : 200;
            size_t len = (r[0] % max / s.align + 1) * s.align, all = 8u + s.iv + len + s.icv, offset = r[1] % 64;
            uint8_t *pa = buffer[0] + offset, *pb = buffer[1] + 63 - offset;
            memset(buffer, 0xa5, sizeof buffer);
            random_bytes(text, len);
            random_bytes(pa, 8u + s.iv);
            memcpy(pa + 8 + s.iv, text, len);
            memcpy(pb, pa, 8 + s.iv + len);
            struct esp_op oa = {a, pa, (uint32_t)len, RC_CRYPTO}, ob = {b, pb, (uint32_t)len, RC_CRYPTO};
            crypto_esp_seal(crypto, &oa, 1);
            crypto_esp_seal(plain, &ob, 1);
            assert_true(oa.rc == RC_OK && ob.rc == RC_OK);
            assert_memory_equal(pa, pb, all);
            assert_true(pa[all] == 0xa5 && (offset == 0 || pa[-1] == 0xa5)); /* nothing around it is touched */
            oa.pkt = pb, ob.pkt = pa;
            crypto_esp_open(crypto, &oa, 1);
            crypto_esp_open(plain, &ob, 1);
            assert_true(oa.rc == RC_OK && ob.rc == RC_OK);
            assert_memory_equal(pa + 8 + s.iv, text, len);
            assert_memory_equal(pb + 8 + s.iv, text, len);
        }
        crypto_esp_key_free(a);
        crypto_esp_key_free(b);
    }
    assert_int_equal(n, 10000);
}

/* Batches of 1 to 150 packets, keys of all algorithms in any order, sizes and offsets at random, every sixth one forged: both
 * implementations seal the same octets and give each packet the same verdict, whatever manager and lane it went through. */
static void batches_agree(void **state)
{
    (void)state;
    enum { KEYS = 2 * ARRAY_LEN(algs), MOST = 150, ROOM = 2048 };
    static uint8_t sent[MOST][ROOM], buffer[2][MOST][ROOM];
    struct crypto *both[] = {crypto, plain};
    struct esp_key *key[2][KEYS];
    for (size_t k = 0; k < KEYS; k++) {
        uint8_t keymat[ESP_KEYMAT_MAX];
        random_bytes(keymat, sizeof keymat);
        for (int b = 0; b < 2; b++)
            key[b][k] = key_new(both[b], algs[k % ARRAY_LEN(algs)], keymat);
    }
    size_t good = 0, forged = 0;
    for (int round = 0; round < 400; round++) {
        struct esp_op ops[2][MOST];
        uint16_t r[4];
        random_bytes((uint8_t *)r, sizeof r);
        size_t n = round < 200 ? r[0] % 20 + 1u : r[0] % MOST + 1u, one = r[1] % KEYS;
        for (size_t i = 0; i < n; i++) {
            random_bytes((uint8_t *)r, sizeof r);
            size_t k = round % 3 == 0 ? one : r[0] % KEYS; /* every third batch is one SA's */
            uint8_t align = key[0][k]->sizes.align;
            uint32_t len = (uint32_t)(r[1] % (i % 4 ? 300 : 1700) / align + 1) * align;
            random_bytes(sent[i], 24u + len);
            for (int b = 0; b < 2; b++) {
                uint8_t *pkt = buffer[b][i] + (b ? r[2] % 64 : r[3] % 64);
                memcpy(pkt, sent[i], 24u + len);
                ops[b][i] = (struct esp_op){key[b][k], pkt, len, RC_CRYPTO};
            }
        }
        for (int b = 0; b < 2; b++)
            crypto_esp_seal(both[b], ops[b], n);
        for (size_t i = 0; i < n; i++) {
            const struct esp_op *a = &ops[0][i];
            size_t all = 8u + a->key->sizes.iv + a->text_len + a->key->sizes.icv;
            assert_true(a->rc == RC_OK && ops[1][i].rc == RC_OK);
            assert_memory_equal(a->pkt, ops[1][i].pkt, all);
            random_bytes((uint8_t *)r, sizeof r);
            if (r[0] % 6 == 0)
                a->pkt[r[1] % all] ^= 1, ops[1][i].pkt[r[1] % all] ^= 1;
        }
        for (int b = 0; b < 2; b++)
            crypto_esp_open(both[b], ops[b], n);
        for (size_t i = 0; i < n; i++) {
            const struct esp_op *a = &ops[0][i];
            assert_int_equal(a->rc, ops[1][i].rc);
            good += a->rc == RC_OK;
            forged += a->rc == RC_AUTH;
            if (a->rc == RC_OK) {
                size_t head = 8u + a->key->sizes.iv;
                assert_memory_equal(a->pkt + head, ops[1][i].pkt + head, a->text_len);
                assert_memory_equal(a->pkt + head, sent[i] + head, a->text_len);
            }
        }
    }
    assert_true(good > 5000 && forged > 1000);
    for (size_t k = 0; k < KEYS; k++)
        for (int b = 0; b < 2; b++)
            crypto_esp_key_free(key[b][k]);
}

/* What is chosen is said, and each way is used by some batch here whatever this machine prefers. */
static void either_way(void **state)
{
    (void)state;
    struct crypto_versions v;
    crypto_versions(crypto, &v);
    assert_non_null(v.esp_gcm);
    assert_non_null(v.esp_hmac);
    assert_int_equal(strncmp(v.esp_hmac, "ipsec-mb", 8) == 0, crypto->esp.mb != NULL);
    uint8_t wide[HASHES];
    uint32_t lone[2][HASHES];
    memcpy(wide, crypto->esp.wide_from, sizeof wide);
    memcpy(lone, crypto->esp.lone_from, sizeof lone);
    static const uint8_t tries[] = {0, 4, 8, 32}; /* never, nearly always, full groups and large rests, large batches */
    for (size_t i = 0; crypto->esp.mb && i < sizeof tries; i++) { /* OpenSSL has one way only */
        memset(crypto->esp.wide_from, tries[i], sizeof wide);
        memset(crypto->esp.lone_from, i % 2 ? 0 : 0xff, sizeof lone); /* one alone never by OpenSSL, always */
        batches_agree(NULL);
        if (i < 2)
            implementations_agree(NULL);
    }
    memcpy(crypto->esp.wide_from, wide, sizeof wide);
    memcpy(crypto->esp.lone_from, lone, sizeof lone);
}

/* Every octet of header, IV, text and ICV is covered, in both implementations. */
static void every_octet_is_protected(void **state)
{
    (void)state;
    struct crypto *both[] = {crypto, plain};
    for (size_t i = 0; i < 2 * ARRAY_LEN(algs); i++) {
        struct crypto *c = both[i % 2];
        struct esp_sizes s;
        uint8_t keymat[ESP_KEYMAT_MAX], pkt[160], sent[160];
        random_bytes(keymat, sizeof keymat);
        random_bytes(pkt, sizeof pkt);
        assert_true(crypto_esp_sizes(algs[i / 2], &s));
        struct esp_key *k = key_new(c, algs[i / 2], keymat);
        struct esp_op op = {.key = k, .pkt = pkt, .text_len = 64};
        crypto_esp_seal(c, &op, 1);
        assert_int_equal(op.rc, RC_OK);
        size_t n = 8u + s.iv + 64 + s.icv;
        memcpy(sent, pkt, n);
        for (size_t at = 0; at < n; at++) {
            memcpy(pkt, sent, n);
            pkt[at] ^= (uint8_t)(1 << at % 8);
            crypto_esp_open(c, &op, 1);
            assert_int_equal(op.rc, RC_AUTH);
        }
        memcpy(pkt, sent, n);
        crypto_esp_open(c, &op, 1);
        assert_int_equal(op.rc, RC_OK);
        crypto_esp_key_free(k);
    }
}

/* Keys of all algorithms in turn, one forged packet among them: each op has its own verdict. */
static void a_batch_may_mix_keys(void **state)
{
    (void)state;
    enum { N = 3 * ARRAY_LEN(algs) };
    static uint8_t pkt[N][256], text[N][96];
    struct esp_key *k[N];
    struct esp_op ops[N];
    for (size_t i = 0; i < N; i++) {
        uint8_t keymat[ESP_KEYMAT_MAX];
        random_bytes(keymat, sizeof keymat);
        random_bytes(pkt[i], sizeof pkt[i]);
        k[i] = key_new(crypto, algs[i * 7 % ARRAY_LEN(algs)], keymat);
        ops[i] = (struct esp_op){.key = k[i], .pkt = pkt[i], .text_len = 96, .rc = RC_CRYPTO};
        memcpy(text[i], esp_text(&ops[i]), 96);
    }
    crypto_esp_seal(crypto, ops, N);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(ops[i].rc, RC_OK);
    pkt[11][40] ^= 1;
    crypto_esp_open(crypto, ops, N);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(ops[i].rc, i == 11 ? RC_AUTH : RC_OK);
        if (i != 11)
            assert_memory_equal(esp_text(&ops[i]), text[i], 96);
        crypto_esp_key_free(k[i]);
    }
    crypto_esp_seal(crypto, ops, 0);
    crypto_esp_open(crypto, ops, 0);
}

static void no_allocation_per_packet(void **state)
{
    (void)state;
    struct crypto *both[] = {crypto, plain};
    for (size_t i = 0; i < 2 * ARRAY_LEN(algs); i++) {
        struct crypto *c = both[i % 2];
        uint8_t keymat[ESP_KEYMAT_MAX] = {1}, pkt[8][256] = {{0}};
        struct esp_key *k = key_new(c, algs[i / 2], keymat);
        struct esp_op ops[8];
        for (int p = 0; p < 8; p++)
            ops[p] = (struct esp_op){.key = k, .pkt = pkt[p], .text_len = 64};
        crypto_esp_seal(c, ops, 1); /* the first use of an algorithm may warm up */
        crypto_esp_open(c, ops, 1);
        size_t before = allocations;
        crypto_esp_seal(c, ops, 8);
        crypto_esp_open(c, ops, 8);
        assert_int_equal(allocations, before);
        crypto_esp_key_free(k);
    }
    assert_true(allocations > 0); /* the counter counts */
}

static void a_text_that_is_not_aligned(void **state)
{
    (void)state;
    uint8_t keymat[48] = {1}, pkt[128] = {0}, mac[PRF_MAX];
    struct esp_key *k = key_new(crypto, (struct esp_alg){ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128}, keymat);
    struct esp_op op = {.key = k, .pkt = pkt, .text_len = 20};
    crypto_esp_seal(crypto, &op, 1);
    assert_int_equal(op.rc, RC_RANGE);
    const struct span covered = span_of(pkt, 8 + 16 + 20);
    assert_int_equal(crypto_prf(crypto, PRF_HMAC_SHA2_256, span_of(keymat + 16, 32), &covered, 1, mac), RC_OK);
    memcpy(pkt + covered.n, mac, 16);
    crypto_esp_open(crypto, &op, 1);
    assert_int_equal(op.rc, RC_AUTH); /* although the ICV is right */
    crypto_esp_key_free(k);
}

static void keys(void **state)
{
    (void)state;
    static const uint8_t b[ESP_KEYMAT_MAX + 1];
    static const struct esp_alg bad[] = {
        {ENCR_NULL, 0, INTEG_NONE},                      /* RFC 8221 5: never without both */
        {ENCR_AES_GCM_16, 256, INTEG_HMAC_SHA2_256_128}, /* RFC 8221 4 */
        {ENCR_AES_CBC, 256, INTEG_NONE},
        {ENCR_NULL, 128, INTEG_HMAC_SHA1_96},
        {28, 0, INTEG_NONE},
    };
    struct esp_key *k = NULL;
    struct esp_sizes s;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(crypto_esp_sizes(bad[i], &s));
        assert_int_equal(crypto_esp_key_new(crypto, bad[i], span_of(b, 32), &k), RC_UNSUPPORTED);
    }
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        assert_true(crypto_esp_sizes(algs[i], &s));
        size_t n = (size_t)s.key_e + s.key_a;
        assert_true(n <= ESP_KEYMAT_MAX);
        assert_int_equal(crypto_esp_key_new(crypto, algs[i], span_of(b, n - 1), &k), RC_RANGE);
        assert_int_equal(crypto_esp_key_new(crypto, algs[i], span_of(b, n + 1), &k), RC_RANGE);
        assert_null(k);
        assert_int_equal(crypto_esp_key_new(crypto, algs[i], span_of(b, n), &k), RC_OK);
        assert_int_equal((uintptr_t)k % 64, 0); /* what the vector code loads is aligned */
        assert_true(crypto_esp_key_bytes(k) >= n);
        crypto_esp_key_free(k);
        k = NULL;
    }
    crypto_esp_key_free(NULL);
}

/* Keys share slabs: a mapping each would run into vm.max_map_count. */
static void many_keys(void **state)
{
    (void)state;
    enum { N = 20000 };
    static struct esp_key *k[N];
    static const uint8_t b[36];
    for (size_t i = 0; i < N; i++)
        k[i] = key_new(crypto, algs[2], b);
    for (size_t i = 0; i < N; i++)
        crypto_esp_key_free(k[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mcgrew_gcm_packets),
        cmocka_unit_test(rfc3602_cbc_packets),
        cmocka_unit_test(null_encryption_only_authenticates),
        cmocka_unit_test(implementations_agree),
        cmocka_unit_test(batches_agree),
        cmocka_unit_test(either_way),
        cmocka_unit_test(every_octet_is_protected),
        cmocka_unit_test(a_batch_may_mix_keys),
        cmocka_unit_test(no_allocation_per_packet),
        cmocka_unit_test(a_text_that_is_not_aligned),
        cmocka_unit_test(keys),
        cmocka_unit_test(many_keys),
    };
    return cmocka_run_group_tests_name("crypto_esp", tests, set_up, tear_down);
}
