/* crypto/aes: see aes.h. NIST SP 800-38D (GCM), SP 800-38A (CBC). */
#include "aes.h"

#include <limits.h>

#include "context.h"

bool aes_key(EVP_CIPHER_CTX *ctx, const uint8_t *key, enum direction dir)
{
    return EVP_CipherInit_ex2(ctx, NULL, key, NULL, dir, NULL);
}

enum rc aes_gcm(EVP_CIPHER_CTX *ctx, enum direction dir, const uint8_t nonce[GCM_NONCE], struct span aad, uint8_t *text,
                size_t n, uint8_t icv[GCM_ICV])
{
    int len;
    if (n > INT_MAX || aad.n > INT_MAX)
        return RC_RANGE;
    if (!EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, dir, NULL) ||
        (aad.n && !EVP_CipherUpdate(ctx, NULL, &len, aad.p, (int)aad.n)) ||
        (n && !EVP_CipherUpdate(ctx, text, &len, text, (int)n)) ||
        (dir == OPEN && !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_ICV, icv)))
        return crypto_failed();
    if (!EVP_CipherFinal_ex(ctx, icv, &len)) { /* writes nothing: GCM has no last block */
        (void)crypto_failed();
        return dir == OPEN ? RC_AUTH : RC_CRYPTO;
    }
    if (dir == SEAL && !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, GCM_ICV, icv))
        return crypto_failed();
    return RC_OK;
}

enum rc aes_cbc(EVP_CIPHER_CTX *ctx, enum direction dir, const uint8_t iv[CBC_BLOCK], uint8_t *text, size_t n)
{
    int len;
    if (n > INT_MAX || n % CBC_BLOCK)
        return RC_RANGE;
    if (!EVP_CipherInit_ex2(ctx, NULL, NULL, iv, dir, NULL) || (n && !EVP_CipherUpdate(ctx, text, &len, text, (int)n)))
        return crypto_failed();
    return RC_OK; /* no Final: padding is off and n is whole blocks */
}
