/* crypto/esp_ossl: ESP by OpenSSL, one packet after the other: AES-GCM (RFC 4106) where ipsec-mb is absent, AES-CBC
 * (RFC 3602) and NULL (RFC 2410) with HMAC (RFC 2404, RFC 4868).
 *
 * A key may serve several threads, an OpenSSL context may not. So a key holds the raw cipher key, with which each run
 * keys the thread's own context once, and the two hash states of HMAC after their first block, which a packet copies
 * into the thread's own: no allocation, and half of the compressions saved. */
#include "aes.h"
#include "esp.h"

struct ossl_key {
    struct esp_key common;
    uint8_t key_e[36]; /* GCM: with the salt */
    EVP_MD_CTX *inner, *outer;
};

/* RFC 2104 2: H(K xor opad, H(K xor ipad, text)). ESP's keys are as long as the hash, never longer than a block. */
static EVP_MD_CTX *hmac_pad(const EVP_MD *md, const uint8_t *key, size_t key_len, uint8_t pad)
{
    uint8_t block[128];
    size_t n = (size_t)EVP_MD_get_block_size(md);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    memset(block, pad, sizeof block);
    for (size_t i = 0; i < key_len; i++)
        block[i] ^= key[i];
    if (ctx &&
        (n > sizeof block || key_len > n || !EVP_DigestInit_ex2(ctx, md, NULL) || !EVP_DigestUpdate(ctx, block, n))) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    wipe(block, sizeof block);
    return ctx;
}

static enum rc ossl_expand(struct crypto *c, struct esp_key *key, const uint8_t *key_e, const uint8_t *key_a)
{
    struct ossl_key *k = (struct ossl_key *)key;
    memcpy(k->key_e, key_e, key->sizes.key_e);
    if (!key->integ)
        return RC_OK;
    const EVP_MD *md = c->md[key->integ->hash];
    k->inner = hmac_pad(md, key_a, key->sizes.key_a, 0x36);
    k->outer = hmac_pad(md, key_a, key->sizes.key_a, 0x5c);
    return k->inner && k->outer ? RC_OK : crypto_failed();
}

static void ossl_release(struct esp_key *key)
{
    struct ossl_key *k = (struct ossl_key *)key;
    EVP_MD_CTX_free(k->inner);
    EVP_MD_CTX_free(k->outer);
}

/* RFC 4303 2.8: everything from the SPI to the Next Header, IV and ciphertext included. */
static bool ossl_icv(struct crypto *c, const struct ossl_key *k, const struct esp_op *op, uint8_t ret[HASH_MAX])
{
    EVP_MD_CTX *ctx = c->md_ctx[k->common.integ->hash];
    uint8_t inner[HASH_MAX];
    unsigned int n;
    return EVP_MD_CTX_copy_ex(ctx, k->inner) &&
           EVP_DigestUpdate(ctx, op->pkt, ESP_HEADER + (size_t)k->common.sizes.iv + op->text_len) &&
           EVP_DigestFinal_ex(ctx, inner, &n) && EVP_MD_CTX_copy_ex(ctx, k->outer) && EVP_DigestUpdate(ctx, inner, n) &&
           EVP_DigestFinal_ex(ctx, ret, NULL);
}

static enum rc ossl_gcm(const struct ossl_key *k, EVP_CIPHER_CTX *ctx, enum direction dir, const struct esp_op *op)
{
    uint8_t nonce[GCM_NONCE];
    size_t salt = k->common.encr->salt;
    memcpy(nonce, k->key_e + k->common.encr->key, salt);
    memcpy(nonce + salt, esp_iv(op), GCM_NONCE - salt);
    return aes_gcm(ctx, dir, nonce, span_of(op->pkt, ESP_HEADER), esp_text(op), op->text_len, esp_icv(op));
}

static enum rc ossl_seal_one(struct crypto *c, const struct ossl_key *k, EVP_CIPHER_CTX *ctx, const struct esp_op *op)
{
    uint8_t icv[HASH_MAX];
    if (!k->common.integ)
        return ossl_gcm(k, ctx, SEAL, op);
    if (!esp_is_aligned(op))
        return RC_RANGE;
    enum rc rc = ctx ? aes_cbc(ctx, SEAL, esp_iv(op), esp_text(op), op->text_len) : RC_OK;
    if (rc != RC_OK)
        return rc;
    if (!ossl_icv(c, k, op, icv))
        return crypto_failed();
    memcpy(esp_icv(op), icv, k->common.sizes.icv);
    return RC_OK;
}

/* Integrity first: RFC 4303 3.4.4.1. */
static enum rc ossl_open_one(struct crypto *c, const struct ossl_key *k, EVP_CIPHER_CTX *ctx, const struct esp_op *op)
{
    uint8_t icv[HASH_MAX];
    size_t n = k->common.sizes.icv;
    if (!k->common.integ)
        return ossl_gcm(k, ctx, OPEN, op);
    if (!ossl_icv(c, k, op, icv))
        return crypto_failed();
    if (!esp_icv_equal(icv, esp_icv(op), n) || !esp_is_aligned(op))
        return RC_AUTH;
    return ctx ? aes_cbc(ctx, OPEN, esp_iv(op), esp_text(op), op->text_len) : RC_OK;
}

static void ossl_run(struct crypto *c, enum direction dir, struct esp_op *ops, size_t n)
{
    const struct esp_key *keyed = NULL;
    for (struct esp_op *op = ops; op < ops + n; op++) {
        if (op->key->backend != &esp_ossl)
            continue;
        const struct ossl_key *k = (const struct ossl_key *)op->key;
        EVP_CIPHER_CTX *ctx = op->key->encr->cipher == CIPHER_NONE ? NULL : c->cipher[op->key->encr->cipher];
        if (ctx && op->key != keyed && !aes_key(ctx, k->key_e, dir)) {
            keyed = NULL; /* whatever the context holds now */
            op->rc = crypto_failed();
            continue;
        }
        keyed = op->key;
        op->rc = dir == SEAL ? ossl_seal_one(c, k, ctx, op) : ossl_open_one(c, k, ctx, op);
    }
}

static void ossl_seal(struct crypto *c, struct esp_op *ops, size_t n)
{
    ossl_run(c, SEAL, ops, n);
}

static void ossl_open(struct crypto *c, struct esp_op *ops, size_t n)
{
    ossl_run(c, OPEN, ops, n);
}

const struct esp_backend esp_ossl = {
    .id = ESP_OSSL,
    .key_bytes = sizeof(struct ossl_key),
    .expand = ossl_expand,
    .release = ossl_release,
    .seal = ossl_seal,
    .open = ossl_open,
};
