/* crypto/sk: the cipher of IKE's Encrypted payload: AES-GCM (RFC 5282) and AES-CBC with HMAC, encrypt-then-MAC
 * (RFC 7296 3.14). The same call serves SK and SKF: only the length of the associated data differs. */
#include "aes.h"
#include "context.h"

struct sk { /* the parts of one message */
    const struct encr_alg *encr;
    const struct integ_alg *integ; /* NULL with GCM */
    EVP_CIPHER_CTX *ctx;
    struct span aad;
    uint8_t *iv, *text, *icv;
    size_t n;
};

static bool sk_lay_out(struct crypto *c, struct sk_alg alg, uint8_t *msg, size_t aad_len, size_t text_len,
                       struct sk *ret)
{
    struct sk_sizes sizes;
    if (!crypto_sk_sizes(alg, &sizes))
        return false;
    const struct encr_alg *encr = encr_alg(alg.encr, alg.encr_bits);
    *ret = (struct sk){
        .encr = encr,
        .integ = integ_alg(alg.integ),
        .ctx = c->cipher[encr->cipher],
        .aad = span_of(msg, aad_len),
        .iv = msg + aad_len,
        .text = msg + aad_len + sizes.iv,
        .icv = msg + aad_len + sizes.iv + text_len,
        .n = text_len,
    };
    return true;
}

/* RFC 5282 4: nonce = salt | IV; the salt is the end of the keying material (7.1). */
static void gcm_nonce(const struct sk *s, const uint8_t *key_e, uint8_t ret[GCM_NONCE])
{
    memcpy(ret, key_e + s->encr->key, s->encr->salt);
    memcpy(ret + s->encr->salt, s->iv, s->encr->iv);
}

/* RFC 7296 3.14: from the first octet of the IKE header through the Pad Length, ciphertext included. */
static enum rc sk_mac(struct crypto *c, const struct sk *s, const uint8_t *key_a, uint8_t ret[HASH_MAX])
{
    const struct span covered = span_of(s->aad.p, (size_t)(s->icv - s->aad.p));
    return hmac_parts(c, s->integ->hash, span_of(key_a, s->integ->key), &covered, 1, ret);
}

enum rc crypto_sk_seal(struct crypto *c, struct sk_alg alg, const uint8_t *key_e, const uint8_t *key_a, uint8_t *msg,
                       size_t aad_len, size_t text_len, uint64_t iv)
{
    struct sk s;
    if (!sk_lay_out(c, alg, msg, aad_len, text_len, &s))
        return RC_UNSUPPORTED;
    if (s.n % (s.integ ? CBC_BLOCK : 1))
        return RC_RANGE;
    if (!aes_key(s.ctx, key_e, SEAL))
        return crypto_failed();
    if (!s.integ) {
        uint8_t nonce[GCM_NONCE];
        struct wr w = wr_of(s.iv, s.encr->iv);
        wr_u64(&w, iv);
        gcm_nonce(&s, key_e, nonce);
        return aes_gcm(s.ctx, SEAL, nonce, s.aad, s.text, s.n, s.icv);
    }
    rng_fill(&c->rng, s.iv, s.encr->iv); /* RFC 7296 3.14: MUST be unpredictable for CBC */
    uint8_t mac[HASH_MAX];
    enum rc rc = aes_cbc(s.ctx, SEAL, s.iv, s.text, s.n);
    if (rc == RC_OK)
        rc = sk_mac(c, &s, key_a, mac);
    if (rc == RC_OK)
        memcpy(s.icv, mac, s.integ->icv);
    return rc;
}

static enum rc gcm_open(const struct sk *s, const uint8_t *key_e)
{
    uint8_t nonce[GCM_NONCE], icv[GCM_ICV];
    gcm_nonce(s, key_e, nonce);
    enum rc rc = aes_gcm(s->ctx, OPEN, nonce, s->aad, s->text, s->n, s->icv);
    /* A forged fragment must not cost us the true message in the same buffer: the mode is its own inverse, so the
     * ciphertext comes back by encrypting again. */
    if (rc == RC_AUTH && aes_gcm(s->ctx, SEAL, nonce, s->aad, s->text, s->n, icv) != RC_OK)
        rc = RC_CRYPTO;
    return rc;
}

/* The ICV is checked before anything is decrypted, so the padding tells an attacker nothing. */
static enum rc cbc_open(struct crypto *c, const struct sk *s, const uint8_t *key_a)
{
    uint8_t mac[HASH_MAX];
    enum rc rc = sk_mac(c, s, key_a, mac);
    if (rc != RC_OK)
        return rc;
    if (!crypto_equal(span_of(mac, s->integ->icv), span_of(s->icv, s->integ->icv)))
        return RC_AUTH;
    if (s->n % CBC_BLOCK) /* authentic, and yet not a CBC text */
        return RC_SYNTAX;
    return aes_cbc(s->ctx, OPEN, s->iv, s->text, s->n);
}

enum rc crypto_sk_open(struct crypto *c, struct sk_alg alg, const uint8_t *key_e, const uint8_t *key_a, uint8_t *msg,
                       size_t aad_len, size_t text_len)
{
    struct sk s;
    if (!sk_lay_out(c, alg, msg, aad_len, text_len, &s))
        return RC_UNSUPPORTED;
    if (!aes_key(s.ctx, key_e, OPEN))
        return crypto_failed();
    return s.integ ? cbc_open(c, &s, key_a) : gcm_open(&s, key_e);
}
