/* crypto/iv: unpredictable IVs for CBC (RFC 3602 3) without a system call each: ChaCha20 with fast key erasure. Every
 * refill's first 32 octets become the next key, and each IV is erased as it is handed out, so that a later look into
 * memory tells nothing about IVs already used. */
#include "context.h"

#include <sodium.h>

void iv_pool_seed(struct crypto *c)
{
    rng_fill(&c->rng, c->iv.key, sizeof c->iv.key);
    c->iv.left = 0;
}

static void iv_pool_refill(struct crypto *c)
{
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES]; /* zero: the key is used once */
    _Static_assert(sizeof c->iv.key == crypto_stream_chacha20_KEYBYTES, "ChaCha20 key");
    crypto_stream_chacha20(c->iv.b, sizeof c->iv.b, nonce, c->iv.key);
    memcpy(c->iv.key, c->iv.b, sizeof c->iv.key);
    wipe(c->iv.b, sizeof c->iv.key);
    c->iv.left = sizeof c->iv.b - sizeof c->iv.key;
}

void crypto_esp_cbc_iv(struct crypto *c, uint8_t ret[16])
{
    if (c->iv.left < 16)
        iv_pool_refill(c);
    uint8_t *iv = c->iv.b + sizeof c->iv.b - c->iv.left;
    memcpy(ret, iv, 16);
    memset(iv, 0, 16);
    c->iv.left -= 16;
}
