/* crypto/esp: how the implementations of ESP's ciphers plug in. A key belongs to the backend that expanded it; a batch is
 * cut into runs of ops of one backend, and a backend may reorder its run internally as it likes. */
#ifndef ADIT_CRYPTO_ESP_H
#define ADIT_CRYPTO_ESP_H

#include "context.h"

#define ESP_HEADER 8 /* SPI | sequence number, RFC 4303 2; all of GCM's associated data (RFC 4106 5) */

struct esp_backend {
    /* Fill the backend's part of a key whose common part is set. */
    enum rc (*expand)(struct crypto *c, struct esp_key *key, const uint8_t *key_e, const uint8_t *key_a);
    void (*release)(struct esp_key *key);
    void (*seal)(struct crypto *c, struct esp_op *ops, size_t n);
    void (*open)(struct crypto *c, struct esp_op *ops, size_t n);
    const char *(*gcm_name)(const struct crypto *c);
};

struct esp_key { /* the part all backends share; theirs embed it as first member */
    const struct esp_backend *backend;
    struct arena *arena;
    size_t bytes;
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

extern const struct esp_backend esp_ossl; /* everything */
extern const size_t esp_ossl_key_bytes;

/* Intel ipsec-mb: GCM, one packet after the other. NULL and 0 where it is not built in. */
const struct esp_backend *esp_mb_init(struct crypto *c); /* NULL: this processor lacks what it needs */
void esp_mb_free(struct crypto *c);
size_t esp_mb_key_bytes(void);
const char *esp_mb_version(void);

enum rc esp_backends_init(struct crypto *c) ADIT_MUST_USE;
void esp_backends_free(struct crypto *c);

#endif
