/* crypto/esp: how the implementations of ESP's ciphers plug in. A key belongs to the backend that expanded it; of a
 * batch each backend takes the ops that are its own, in whatever order it likes. */
#ifndef ADIT_CRYPTO_ESP_H
#define ADIT_CRYPTO_ESP_H

#include "context.h"

#define ESP_HEADER 8 /* SPI | sequence number, RFC 4303 2; all of GCM's associated data (RFC 4106 5) */

struct esp_backend {
    enum esp_backend_id id;
    size_t key_bytes;
    /* Fill the backend's part of a key whose common part is set. */
    enum rc (*expand)(struct crypto *c, struct esp_key *key, const uint8_t *key_e, const uint8_t *key_a);
    void (*release)(struct esp_key *key);
    /* The ops whose keys are this backend's; the others are left alone. */
    void (*seal)(struct crypto *c, struct esp_op *ops, size_t n);
    void (*open)(struct crypto *c, struct esp_op *ops, size_t n);
};

struct esp_key { /* the part all backends share; theirs embed it as first member */
    const struct esp_backend *backend;
    struct arena *arena;
    const struct encr_alg *encr;
    const struct integ_alg *integ; /* NULL with GCM */
    struct esp_sizes sizes;
};

/* Where the parts of a packet stand. */
static inline uint8_t *esp_iv(const struct esp_op *op)
{
    return op->pkt + ESP_HEADER;
}
static inline uint8_t *esp_text(const struct esp_op *op)
{
    return op->pkt + ESP_HEADER + op->key->sizes.iv;
}
static inline uint8_t *esp_icv(const struct esp_op *op)
{
    return esp_text(op) + op->text_len;
}
/* Whole blocks, and not none: what the ciphers that need it are given. */
static inline bool esp_is_aligned(const struct esp_op *op)
{
    return op->text_len != 0 && op->text_len % op->key->sizes.align == 0;
}
/* Constant time; crypto_equal() goes octet by octet, which takes as long as a small packet's cipher. n is a multiple of 4. */
static inline bool esp_icv_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint32_t differ = 0, x, y;
    for (size_t i = 0; i < n; i += sizeof x) {
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        differ |= x ^ y;
    }
    return differ == 0;
}

/* Expanded keys are large: of 100,000 SAs none is in the cache. A loop over packets asks for them this many ahead. */
#define ESP_AHEAD 8

extern const struct esp_backend esp_ossl; /* everything */

/* Intel ipsec-mb: GCM one packet after the other, the ciphers with HMAC many at a time. Both NULL where it is not built in, or
 * where this processor lacks what it needs. */
void esp_mb_init(struct crypto *c, const struct esp_backend **ret_gcm, const struct esp_backend **ret_hmac);
void esp_mb_free(struct crypto *c);
const char *esp_mb_version(void);

enum rc esp_backends_init(struct crypto *c) ADIT_MUST_USE;
void esp_backends_free(struct crypto *c);

#endif
