/* crypto/context: making and freeing a library context, and the way OpenSSL's own draws reach the injected source. */
#include "context.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <sodium.h>
#include <stdlib.h>

#include "esp.h"

enum rc crypto_failed(void)
{
    ERR_clear_error();
    return RC_CRYPTO;
}

/* ---- a provider with one function: random bytes. ECDH, DH and ML-KEM ask their library context, which asks it. */

static int entropy_bytes(void *provctx, int which, void *buf, size_t n, unsigned int strength)
{
    (void)which, (void)strength;
    rng_fill(provctx, buf, n);
    return 1;
}

static void entropy_teardown(void *provctx)
{
    free(provctx);
}

static int entropy_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                        void **provctx)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_RANDOM_BYTES, (void (*)(void))entropy_bytes},
        {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))entropy_teardown},
        OSSL_DISPATCH_END,
    };
    (void)core, (void)in;
    *provctx = calloc(1, sizeof(struct rng));
    *out = functions;
    return *provctx != NULL;
}

static bool entropy_inject(struct crypto *c)
{
    if (!OSSL_PROVIDER_add_builtin(c->lib, "adit-entropy", entropy_init) ||
        !(c->entropy = OSSL_PROVIDER_load(c->lib, "adit-entropy")))
        return false;
    *(struct rng *)OSSL_PROVIDER_get0_provider_ctx(c->entropy) = c->rng;
    return RAND_set1_random_provider(c->lib, c->entropy);
}

static void sodium_fill(void *ctx, void *ret, size_t n)
{
    (void)ctx;
    randombytes_buf(ret, n);
}

/* ---- algorithms */

static bool hashes_fetch(struct crypto *c)
{
    EVP_MAC *mac = EVP_MAC_fetch(c->lib, "HMAC", NULL);
    bool ok = mac != NULL;
    for (int i = 0; ok && i < HASHES; i++) {
        const OSSL_PARAM digest[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)hash_names[i], 0),
            OSSL_PARAM_construct_end(),
        };
        c->md[i] = EVP_MD_fetch(c->lib, hash_names[i], NULL);
        c->md_ctx[i] = EVP_MD_CTX_new();
        c->hmac[i] = EVP_MAC_CTX_new(mac);
        ok = c->md[i] && c->md_ctx[i] && c->hmac[i] && EVP_DigestInit_ex2(c->md_ctx[i], c->md[i], NULL) &&
             EVP_MAC_CTX_set_params(c->hmac[i], digest);
    }
    EVP_MAC_free(mac);
    return ok;
}

static bool ciphers_fetch(struct crypto *c)
{
    for (int i = 0; i < CIPHERS; i++) {
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(c->lib, cipher_names[i], NULL);
        c->cipher[i] = EVP_CIPHER_CTX_new();
        bool ok = cipher && c->cipher[i] && EVP_EncryptInit_ex2(c->cipher[i], cipher, NULL, NULL, NULL) &&
                  EVP_CIPHER_CTX_set_padding(c->cipher[i], 0); /* IKE and ESP pad themselves */
        EVP_CIPHER_free(cipher);                               /* the context holds its own reference */
        if (!ok)
            return false;
    }
    return true;
}

enum rc crypto_new(const struct rng *rng, struct crypto **ret)
{
    if (sodium_init() < 0)
        return RC_CRYPTO;
    struct crypto *c = calloc(1, sizeof *c);
    if (!c)
        return RC_NOMEM;
    c->rng = rng ? *rng : (struct rng){.fill = sodium_fill};
    enum rc rc = RC_OK;
    if (!(c->lib = OSSL_LIB_CTX_new()) || !(c->algorithms = OSSL_PROVIDER_load(c->lib, "default")) ||
        (rng && !entropy_inject(c)) || !hashes_fetch(c) || !ciphers_fetch(c))
        rc = crypto_failed();
    if (rc == RC_OK)
        rc = esp_backends_init(c);
    if (rc != RC_OK) {
        crypto_free(c);
        return rc;
    }
    iv_pool_seed(c);
    *ret = c;
    return RC_OK;
}

void crypto_free(struct crypto *c)
{
    if (!c)
        return;
    esp_backends_free(c);
    for (int i = 0; i < CIPHERS; i++)
        EVP_CIPHER_CTX_free(c->cipher[i]);
    for (int i = 0; i < HASHES; i++) {
        EVP_MAC_CTX_free(c->hmac[i]);
        EVP_MD_CTX_free(c->md_ctx[i]);
        EVP_MD_free(c->md[i]);
    }
    if (c->entropy)
        OSSL_PROVIDER_unload(c->entropy);
    if (c->algorithms)
        OSSL_PROVIDER_unload(c->algorithms);
    OSSL_LIB_CTX_free(c->lib);
    wipe(c, sizeof *c);
    free(c);
}

void crypto_versions(struct crypto *c, struct crypto_versions *ret)
{
    struct ke *k = NULL;
    struct ke_value public;
    bool ml_kem = crypto_ke_begin(c, KE_ML_KEM_768, &k, &public) == RC_OK;
    crypto_ke_free(k);
    *ret = (struct crypto_versions){
        .openssl = OpenSSL_version(OPENSSL_VERSION),
        .sodium = sodium_version_string(),
        .ipsec_mb = esp_mb_version(),
        .esp_gcm = c->esp.gcm_name,
        .esp_hmac = c->esp.hmac_name,
        .ml_kem = ml_kem,
    };
}
