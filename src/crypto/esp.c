/* crypto/esp: keys and batches (RFC 4303); the work is the backends'. */
#include "esp.h"

#include <stdio.h>

#include "aes.h"

/* Only a bound against a leak: the IKE engine limits the SAs long before. */
#define KEYS_MAX ((size_t)1 << 22)

enum rc esp_backends_init(struct crypto *c)
{
    const struct esp_backend *gcm = NULL, *hmac = NULL;
    snprintf(c->esp.gcm_name, sizeof c->esp.gcm_name, "openssl");
    snprintf(c->esp.hmac_name, sizeof c->esp.hmac_name, "openssl");
    esp_mb_init(c, &gcm, &hmac); /* puts its own names there */
    const struct esp_backend *all[] = {&esp_ossl, gcm, hmac};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        enum rc rc = all[i] ? crypto_arena_new(all[i]->key_bytes, KEYS_MAX, &c->esp.keys[all[i]->id]) : RC_OK;
        if (rc != RC_OK)
            return rc;
    }
    c->esp.gcm = gcm ? gcm : &esp_ossl;
    c->esp.hmac = hmac ? hmac : &esp_ossl;
    return RC_OK;
}

void esp_backends_free(struct crypto *c)
{
    for (size_t i = 0; i < ESP_BACKENDS; i++)
        crypto_arena_free(c->esp.keys[i]);
    esp_mb_free(c);
}

enum rc crypto_esp_key_new(struct crypto *c, struct esp_alg alg, struct span keymat, struct esp_key **ret)
{
    struct esp_sizes sizes;
    if (!crypto_esp_sizes(alg, &sizes))
        return RC_UNSUPPORTED;
    if (keymat.n != (size_t)sizes.key_e + sizes.key_a)
        return RC_RANGE;
    const struct integ_alg *integ = integ_alg(alg.integ);
    const struct esp_backend *backend = integ ? c->esp.hmac : c->esp.gcm;
    struct arena *arena = c->esp.keys[backend->id];
    struct esp_key *k = crypto_arena_get(arena);
    if (!k)
        return RC_NOMEM;
    *k = (struct esp_key){
        .backend = backend,
        .arena = arena,
        .encr = encr_alg(alg.encr, alg.encr_bits),
        .integ = integ,
        .sizes = sizes,
    };
    /* RFC 7296 2.17: the encryption key is taken first, then the integrity key. */
    enum rc rc = backend->expand(c, k, keymat.p, keymat.p + sizes.key_e);
    if (rc != RC_OK) {
        crypto_esp_key_free(k);
        return rc;
    }
    *ret = k;
    return RC_OK;
}

void crypto_esp_key_free(struct esp_key *k)
{
    if (!k)
        return;
    k->backend->release(k);
    crypto_arena_put(k->arena, k);
}

size_t crypto_esp_key_bytes(const struct esp_key *k)
{
    return k->backend->key_bytes;
}

/* Every backend sees the whole batch and takes what is its own, so that packets of like ciphers go side by side although others
 * stand between them. */
static void run(struct crypto *c, enum direction dir, struct esp_op *ops, size_t n)
{
    const struct esp_backend *present[ESP_BACKENDS] = {NULL};
    for (size_t i = 0; i < n; i++)
        present[ops[i].key->backend->id] = ops[i].key->backend;
    for (size_t i = 0; i < ESP_BACKENDS; i++)
        if (present[i])
            (dir == SEAL ? present[i]->seal : present[i]->open)(c, ops, n);
}

void crypto_esp_seal(struct crypto *c, struct esp_op *ops, size_t n)
{
    run(c, SEAL, ops, n);
}

void crypto_esp_open(struct crypto *c, struct esp_op *ops, size_t n)
{
    run(c, OPEN, ops, n);
}
