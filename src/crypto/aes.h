/* crypto/aes: AES-GCM and AES-CBC in place through OpenSSL, for the SK payload and for ESP. */
#ifndef ADIT_CRYPTO_AES_H
#define ADIT_CRYPTO_AES_H

#include <openssl/evp.h>

#include "adit/base.h"

#define GCM_NONCE 12
#define GCM_ICV 16
#define CBC_BLOCK 16

enum direction { SEAL = 1, OPEN = 0 }; /* as OpenSSL's `enc` */

/* Keys the context until the next call; its algorithm fixes the key's length. */
bool aes_key(EVP_CIPHER_CTX *ctx, const uint8_t *key, enum direction dir) ADIT_MUST_USE;

/* The ICV is written when sealing, compared when opening. RC_AUTH leaves garbage in text. */
enum rc aes_gcm(EVP_CIPHER_CTX *ctx, enum direction dir, const uint8_t nonce[GCM_NONCE], struct span aad, uint8_t *text,
                size_t n, uint8_t icv[GCM_ICV]) ADIT_MUST_USE;
enum rc aes_cbc(EVP_CIPHER_CTX *ctx, enum direction dir, const uint8_t iv[CBC_BLOCK], uint8_t *text,
                size_t n) ADIT_MUST_USE;

#endif
