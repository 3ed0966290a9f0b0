/* crypto/context: what one thread needs of the libraries, fetched once. OpenSSL lives in a library context of its own,
 * so nothing here depends on process-wide state, an openssl.cnf or what another library does with OpenSSL. */
#ifndef ADIT_CRYPTO_CONTEXT_H
#define ADIT_CRYPTO_CONTEXT_H

#include <openssl/evp.h>
#include <openssl/provider.h>

#include "algs.h"

#define IV_POOL 1024

struct esp_backend;
enum esp_backend_id { ESP_OSSL, ESP_MB_GCM, ESP_MB_HMAC, ESP_BACKENDS };

struct crypto {
    struct rng rng;
    OSSL_LIB_CTX *lib;
    OSSL_PROVIDER *algorithms, *entropy; /* entropy: only where rng was given */
    EVP_MD *md[HASHES];
    EVP_MD_CTX *md_ctx[HASHES]; /* for one digest at a time */
    EVP_MAC_CTX *hmac[HASHES];  /* keeps the last key's pads until the next use */
    EVP_CIPHER_CTX *cipher[CIPHERS];
    struct { /* CBC IVs: fast key erasure, iv.c */
        uint8_t key[32];
        uint8_t b[IV_POOL];
        size_t left;
    } iv;
    struct {
        const struct esp_backend *gcm, *hmac; /* who does AEAD and who encrypt-then-MAC */
        struct arena *keys[ESP_BACKENDS];
        struct IMB_MGR *mb, *mb_narrow;    /* NULL: not built in, or not on this processor */
        const char *mb_name, *narrow_name; /* "avx512", "sse" */
        uint8_t wide_from[HASHES];         /* packets from which on `mb` is the quicker of the two; 0: never */
        uint32_t lone_from[2][HASHES];     /* octets from which OpenSSL is quicker for a packet alone, by direction */
        char gcm_name[32], hmac_name[256];
    } esp;
};

/* RC_CRYPTO, with OpenSSL's error queue emptied: nobody reads it, and it would grow stale. */
enum rc crypto_failed(void);

/* HMAC of the concatenated parts; ret takes the whole output. */
enum rc hmac_parts(struct crypto *c, enum hash hash, struct span key, const struct span *parts, size_t n_parts,
                   uint8_t ret[HASH_MAX]) ADIT_MUST_USE;

void iv_pool_seed(struct crypto *c);

#endif
