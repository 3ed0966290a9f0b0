/* crypto/esp: keys and batches (RFC 4303); the work is the backends'. */
#include "esp.h"

/* Only a bound against a leak: the IKE engine limits the SAs long before. */
#define KEYS_MAX ((size_t)1 << 22)

enum rc esp_backends_init(struct crypto *c)
{
    enum rc rc = crypto_arena_new(esp_ossl_key_bytes, KEYS_MAX, &c->esp.ossl_keys);
    c->esp.gcm = c->esp.hmac = &esp_ossl;
    const struct esp_backend *mb = esp_mb_init(c);
    if (rc == RC_OK && mb) {
        rc = crypto_arena_new(esp_mb_key_bytes(), KEYS_MAX, &c->esp.mb_keys);
        c->esp.gcm = mb;
    }
    return rc;
}

void esp_backends_free(struct crypto *c)
{
    crypto_arena_free(c->esp.ossl_keys);
    crypto_arena_free(c->esp.mb_keys);
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
    bool ossl = backend == &esp_ossl;
    struct arena *arena = ossl ? c->esp.ossl_keys : c->esp.mb_keys;
    struct esp_key *k = crypto_arena_get(arena);
    if (!k)
        return RC_NOMEM;
    *k = (struct esp_key){
        .backend = backend,
        .arena = arena,
        .bytes = ossl ? esp_ossl_key_bytes : esp_mb_key_bytes(),
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
    return k->bytes;
}

/* The ops from the first on whose keys are of one backend. */
static size_t run_length(const struct esp_op *ops, size_t n)
{
    size_t run = 1;
    while (run < n && ops[run].key->backend == ops[0].key->backend)
        run++;
    return run;
}

void crypto_esp_seal(struct crypto *c, struct esp_op *ops, size_t n)
{
    for (size_t run; n; ops += run, n -= run) {
        run = run_length(ops, n);
        ops->key->backend->seal(c, ops, run);
    }
}

void crypto_esp_open(struct crypto *c, struct esp_op *ops, size_t n)
{
    for (size_t run; n; ops += run, n -= run) {
        run = run_length(ops, n);
        ops->key->backend->open(c, ops, run);
    }
}
