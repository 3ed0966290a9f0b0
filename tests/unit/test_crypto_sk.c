/* The Encrypted payload's cipher: AES-GCM (RFC 5282) and AES-CBC + HMAC (RFC 7296 3.14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "adit/crypto.h"
#include "lib/vectors.h"

static struct tape tape = {.seed = 1};
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

/* A message laid out as the contract says: aad | IV | text | ICV. */
struct message {
    uint8_t b[4096];
    size_t aad, iv, text, icv;
};
static void lay_out(struct message *m, struct span aad, struct span iv, struct span text, struct span icv)
{
    struct wr w = wr_of(m->b, sizeof m->b);
    wr_bytes(&w, aad);
    wr_bytes(&w, iv);
    wr_bytes(&w, text);
    wr_bytes(&w, icv);
    assert_false(w.failed);
    m->aad = aad.n, m->iv = iv.n, m->text = text.n, m->icv = icv.n;
}
static struct span text_of(const struct message *m)
{
    return span_of(m->b + m->aad + m->iv, m->text);
}
static struct span icv_of(const struct message *m)
{
    return span_of(m->b + m->aad + m->iv + m->text, m->icv);
}

/* Wycheproof's 12-octet nonce is salt | IV. */
static void wycheproof_aes_gcm(void **state)
{
    (void)state;
    size_t valid = 0, invalid = 0, i, k;
    json_t *groups = vec_json("tests/vectors/wycheproof/aes_gcm.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        uint16_t bits = (uint16_t)json_integer_value(json_object_get(group, "key_bits"));
        const struct sk_alg alg = {ENCR_AES_GCM_16, bits, INTEG_NONE};
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct message m, sent;
            uint8_t key_e[36];
            pool.n = 0;
            struct span key = json_hex(&pool, test, "key"), nonce = json_hex(&pool, test, "iv");
            struct span aad = json_hex(&pool, test, "aad"), text = json_hex(&pool, test, "msg");
            struct span ct = json_hex(&pool, test, "ct"), tag = json_hex(&pool, test, "tag");
            struct rd iv = rd_of(span_of(nonce.p + 4, 8));
            memcpy(key_e, key.p, key.n);
            memcpy(key_e + key.n, nonce.p, 4);
            lay_out(&m, aad, span_of(nonce.p + 4, 8), ct, tag);
            sent = m;
            enum rc rc = crypto_sk_open(crypto, alg, key_e, NULL, m.b, m.aad, m.text);
            if (!json_valid(test)) {
                assert_int_equal(rc, RC_AUTH);
                assert_memory_equal(m.b, sent.b, m.aad + m.iv + m.text + m.icv); /* unchanged */
                invalid++;
                continue;
            }
            assert_int_equal(rc, RC_OK);
            assert_true(span_equal(text_of(&m), text));
            uint64_t counter = rd_u64(&iv);
            memset(m.b + m.aad, 0, m.iv);
            assert_int_equal(crypto_sk_seal(crypto, alg, key_e, NULL, m.b, m.aad, m.text, counter), RC_OK);
            assert_memory_equal(m.b, sent.b, m.aad + m.iv + m.text + m.icv);
            valid++;
        }
    }
    json_decref(groups);
    assert_int_equal(valid, 116);
    assert_int_equal(invalid, 81);
}

/* The ESP packets of draft-mcgrew-gcm-test have the same shape; 8 of 12 carry ESN, whose 12 octets of associated data
 * our ESP (no ESN) never has. */
static void mcgrew_gcm_with_and_without_esn(void **state)
{
    (void)state;
    size_t n = 0, esn = 0, i;
    json_t *all = vec_json("tests/vectors/ietf/gcm_esp.json"), *test;
    json_array_foreach(all, i, test)
    {
        struct message m;
        uint8_t key_e[36];
        pool.n = 0;
        struct span key = json_hex(&pool, test, "key"), salt = json_hex(&pool, test, "salt");
        struct span aad = json_hex(&pool, test, "aad"), iv = json_hex(&pool, test, "iv");
        struct span text = json_hex(&pool, test, "plaintext"), packet = json_hex(&pool, test, "esp_packet");
        struct span sealed = span_of(packet.p + 16, packet.n - 16);
        struct rd counter = rd_of(iv);
        const struct sk_alg alg = {ENCR_AES_GCM_16, (uint16_t)(key.n * 8), INTEG_NONE};
        memcpy(key_e, key.p, key.n);
        memcpy(key_e + key.n, salt.p, salt.n);
        lay_out(&m, aad, iv, span_of(sealed.p, sealed.n - 16), span_of(sealed.p + sealed.n - 16, 16));
        assert_int_equal(crypto_sk_open(crypto, alg, key_e, NULL, m.b, m.aad, m.text), RC_OK);
        assert_true(span_equal(text_of(&m), text));
        assert_int_equal(crypto_sk_seal(crypto, alg, key_e, NULL, m.b, m.aad, m.text, rd_u64(&counter)), RC_OK);
        assert_memory_equal(text_of(&m).p, sealed.p, sealed.n);
        esn += json_is_true(json_object_get(test, "esn"));
        n++;
    }
    json_decref(all);
    assert_int_equal(n, 12);
    assert_int_equal(esn, 8);
}

static void integrity(uint16_t prf, struct span key_a, struct message *m)
{
    const struct span covered = span_of(m->b, m->aad + m->iv + m->text);
    uint8_t mac[PRF_MAX];
    assert_int_equal(crypto_prf(crypto, prf, key_a, &covered, 1, mac), RC_OK);
    memcpy(m->b + m->aad + m->iv + m->text, mac, m->icv);
}

/* Wycheproof's ciphertext with its PKCS #5 padding as part of the text: IV from the injected source, ICV by the PRF. */
static void wycheproof_aes_cbc(void **state)
{
    (void)state;
    static const uint8_t key_a[32] = {7};
    size_t n = 0, i, k;
    json_t *groups = vec_json("tests/vectors/wycheproof/aes_cbc.json"), *group, *test;
    json_array_foreach(groups, i, group)
    {
        uint16_t bits = (uint16_t)json_integer_value(json_object_get(group, "key_bits"));
        const struct sk_alg alg = {ENCR_AES_CBC, bits, INTEG_HMAC_SHA2_256_128};
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            struct message m, sent;
            pool.n = 0;
            struct span key = json_hex(&pool, test, "key"), iv = json_hex(&pool, test, "iv");
            struct span text = json_hex(&pool, test, "msg"), ct = json_hex(&pool, test, "ct");
            lay_out(&m, span_str("the header"), iv, ct, span_of(key_a, 16));
            integrity(PRF_HMAC_SHA2_256, span_of(key_a, 32), &m);
            sent = m;
            assert_int_equal(crypto_sk_open(crypto, alg, key.p, key_a, m.b, m.aad, m.text), RC_OK);
            assert_true(span_equal(span_of(text_of(&m).p, text.n), text));
            for (size_t pad = text.n; pad < ct.n; pad++) /* RFC 2315 10.3 */
                assert_int_equal(text_of(&m).p[pad], ct.n - text.n);
            tape = (struct tape){.data = iv};
            assert_int_equal(crypto_sk_seal(crypto, alg, key.p, key_a, m.b, m.aad, m.text, 0), RC_OK);
            assert_memory_equal(m.b, sent.b, m.aad + m.iv + m.text + m.icv);
            n++;
        }
    }
    json_decref(groups);
    assert_int_equal(n, 72);
}

static const struct sk_alg usable[] = {
    {ENCR_AES_GCM_16, 128, INTEG_NONE},           {ENCR_AES_GCM_16, 192, INTEG_NONE},
    {ENCR_AES_GCM_16, 256, INTEG_NONE},           {ENCR_AES_CBC, 128, INTEG_HMAC_SHA1_96},
    {ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128}, {ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192},
    {ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256},
};

static const struct {
    uint8_t key_e, key_a, iv, icv, block;
} usable_sizes[] = {
    {20, 0, 8, 16, 1},    {28, 0, 8, 16, 1},    {36, 0, 8, 16, 1},    {16, 20, 16, 12, 16},
    {16, 32, 16, 16, 16}, {24, 48, 16, 24, 16}, {32, 64, 16, 32, 16},
};

static void sizes(void **state)
{
    (void)state;
    struct sk_sizes s;
    for (size_t i = 0; i < ARRAY_LEN(usable); i++) {
        assert_true(crypto_sk_sizes(usable[i], &s));
        assert_int_equal(s.key_e, usable_sizes[i].key_e);
        assert_int_equal(s.key_a, usable_sizes[i].key_a);
        assert_int_equal(s.iv, usable_sizes[i].iv);
        assert_int_equal(s.icv, usable_sizes[i].icv);
        assert_int_equal(s.block, usable_sizes[i].block);
    }
}

static void unusable_combinations(void **state)
{
    (void)state;
    static const struct sk_alg bad[] = {
        {ENCR_AES_GCM_16, 256, INTEG_HMAC_SHA2_256_128}, /* RFC 8221 4: an AEAD has none */
        {ENCR_AES_CBC, 256, INTEG_NONE},                 /* never without integrity */
        {ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128},         /* RFC 8247 2.1: MUST NOT in IKE */
        {ENCR_AES_GCM_16, 0, INTEG_NONE},                /* RFC 7296 3.3.5: AES needs a key length */
        {ENCR_AES_CBC, 255, INTEG_HMAC_SHA2_256_128},
        {ENCR_AES_CBC, 128, 5},
        {3, 0, INTEG_HMAC_SHA1_96},
    };
    uint8_t msg[64] = {0}, key[64] = {0};
    struct sk_sizes s;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(crypto_sk_sizes(bad[i], &s));
        assert_int_equal(crypto_sk_seal(crypto, bad[i], key, key, msg, 8, 16, 1), RC_UNSUPPORTED);
        assert_int_equal(crypto_sk_open(crypto, bad[i], key, key, msg, 8, 16), RC_UNSUPPORTED);
    }
}

/* Any single changed bit is noticed, and leaves the message as it came. */
static void every_bit_is_protected(void **state)
{
    (void)state;
    static const uint8_t key_e[36] = {1}, key_a[64] = {2};
    for (size_t i = 0; i < ARRAY_LEN(usable); i++) {
        struct message m, sent;
        struct sk_sizes s;
        uint8_t b[64] = {3};
        assert_true(crypto_sk_sizes(usable[i], &s));
        lay_out(&m, span_of(b, 32), span_of(b, s.iv), span_of(b, 48), span_of(b, s.icv));
        assert_int_equal(crypto_sk_seal(crypto, usable[i], key_e, key_a, m.b, m.aad, m.text, 9), RC_OK);
        size_t n = m.aad + m.iv + m.text + m.icv;
        sent = m;
        for (size_t bit = 0; bit < n * 8; bit++) {
            m.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
            struct message damaged = m;
            assert_int_equal(crypto_sk_open(crypto, usable[i], key_e, key_a, m.b, m.aad, m.text), RC_AUTH);
            assert_memory_equal(m.b, damaged.b, n);
            m.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_memory_equal(m.b, sent.b, n);
        assert_int_equal(crypto_sk_open(crypto, usable[i], key_e, key_a, m.b, m.aad, m.text), RC_OK);
        assert_memory_equal(text_of(&m).p, b, 48);
    }
}

static void cbc_text_must_be_whole_blocks(void **state)
{
    (void)state;
    static const struct sk_alg alg = {ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128};
    static const uint8_t key_e[16] = {1}, key_a[32] = {2}, b[64] = {3};
    struct message m;
    lay_out(&m, span_of(b, 28), span_of(b, 16), span_of(b, 17), span_of(b, 16));
    assert_int_equal(crypto_sk_seal(crypto, alg, key_e, key_a, m.b, m.aad, m.text, 0), RC_RANGE);
    assert_int_equal(crypto_sk_open(crypto, alg, key_e, key_a, m.b, m.aad, m.text), RC_AUTH);
    integrity(PRF_HMAC_SHA2_256, span_of(key_a, 32), &m); /* a peer that knows the key and breaks the rule */
    assert_int_equal(crypto_sk_open(crypto, alg, key_e, key_a, m.b, m.aad, m.text), RC_SYNTAX);
}

/* RFC 7296 3.14: the IV MUST be unpredictable for CBC: drawn for each message. */
static void cbc_ivs_are_drawn(void **state)
{
    (void)state;
    static const struct sk_alg alg = {ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128};
    static const uint8_t key_e[32] = {1}, key_a[32] = {2}, b[64] = {3};
    struct message m[2];
    tape = (struct tape){.seed = 5};
    for (int i = 0; i < 2; i++) {
        lay_out(&m[i], span_of(b, 28), span_of(b, 16), span_of(b, 32), span_of(b, 16));
        assert_int_equal(crypto_sk_seal(crypto, alg, key_e, key_a, m[i].b, 28, 32, 0), RC_OK);
    }
    assert_int_equal(tape.drawn, 32);
    assert_memory_not_equal(m[0].b + 28, m[1].b + 28, 16);
    assert_memory_not_equal(text_of(&m[0]).p, text_of(&m[1]).p, 32);
    assert_memory_not_equal(icv_of(&m[0]).p, icv_of(&m[1]).p, 16);
}

/* The GCM IV on the wire is the caller's counter, big-endian. */
static void gcm_iv_is_the_counter(void **state)
{
    (void)state;
    static const struct sk_alg alg = {ENCR_AES_GCM_16, 256, INTEG_NONE};
    static const uint8_t key_e[36] = {1}, b[64] = {3}, want[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct message m;
    lay_out(&m, span_of(b, 32), span_of(b, 8), span_of(b, 1), span_of(b, 16));
    assert_int_equal(crypto_sk_seal(crypto, alg, key_e, NULL, m.b, 32, 1, UINT64_C(0x0102030405060708)), RC_OK);
    assert_memory_equal(m.b + 32, want, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_aes_gcm),
        cmocka_unit_test(mcgrew_gcm_with_and_without_esn),
        cmocka_unit_test(wycheproof_aes_cbc),
        cmocka_unit_test(sizes),
        cmocka_unit_test(unusable_combinations),
        cmocka_unit_test(every_bit_is_protected),
        cmocka_unit_test(cbc_text_must_be_whole_blocks),
        cmocka_unit_test(cbc_ivs_are_drawn),
        cmocka_unit_test(gcm_iv_is_the_counter),
    };
    return cmocka_run_group_tests_name("crypto_sk", tests, set_up, tear_down);
}
