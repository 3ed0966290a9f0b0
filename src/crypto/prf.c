/* crypto/prf: HMAC as IKEv2's pseudo-random function, and prf+ (RFC 7296 2.13). */
#include "context.h"

/* A NULL key starts another MAC under the key the context has. */
static bool hmac_start(EVP_MAC_CTX *ctx, const struct span *key)
{
    static const uint8_t none[1];
    return key ? EVP_MAC_init(ctx, key->n ? key->p : none, key->n, NULL) : EVP_MAC_init(ctx, NULL, 0, NULL);
}

static bool hmac_add(EVP_MAC_CTX *ctx, const struct span *parts, size_t n_parts)
{
    for (size_t i = 0; i < n_parts; i++)
        if (parts[i].n && !EVP_MAC_update(ctx, parts[i].p, parts[i].n))
            return false;
    return true;
}

enum rc hmac_parts(struct crypto *c, enum hash hash, struct span key, const struct span *parts, size_t n_parts,
                   uint8_t ret[HASH_MAX])
{
    EVP_MAC_CTX *ctx = c->hmac[hash];
    size_t n;
    if (!hmac_start(ctx, &key) || !hmac_add(ctx, parts, n_parts) || !EVP_MAC_final(ctx, ret, &n, HASH_MAX))
        return crypto_failed();
    return RC_OK;
}

enum rc crypto_prf(struct crypto *c, uint16_t prf, struct span key, const struct span *parts, size_t n_parts,
                   uint8_t *ret)
{
    const struct prf_alg *alg = prf_alg(prf);
    if (!alg)
        return RC_UNSUPPORTED;
    uint8_t out[HASH_MAX];
    enum rc rc = hmac_parts(c, alg->hash, key, parts, n_parts, out);
    if (rc == RC_OK)
        memcpy(ret, out, alg->size);
    wipe(out, sizeof out);
    return rc;
}

/* T1 = prf(K, S | 0x01), Tn = prf(K, Tn-1 | S | n): one octet counts, so 255 blocks are the end (RFC 7296 2.13). */
enum rc crypto_prf_plus(struct crypto *c, uint16_t prf, struct span key, const struct span *parts, size_t n_parts,
                        uint8_t *ret, size_t n_ret)
{
    const struct prf_alg *alg = prf_alg(prf);
    if (!alg)
        return RC_UNSUPPORTED;
    if (n_ret > 255 * (size_t)alg->size)
        return RC_RANGE;
    EVP_MAC_CTX *ctx = c->hmac[alg->hash];
    uint8_t t[HASH_MAX];
    size_t done = 0, n = 0;
    enum rc rc = RC_OK;
    for (uint8_t block = 1; rc == RC_OK && done < n_ret; block++) {
        if (!hmac_start(ctx, block == 1 ? &key : NULL) || (block > 1 && !EVP_MAC_update(ctx, t, n)) ||
            !hmac_add(ctx, parts, n_parts) || !EVP_MAC_update(ctx, &block, 1) || !EVP_MAC_final(ctx, t, &n, sizeof t)) {
            wipe(ret, n_ret);
            rc = crypto_failed();
            break;
        }
        size_t take = n_ret - done < n ? n_ret - done : n;
        memcpy(ret + done, t, take);
        done += take;
    }
    wipe(t, sizeof t);
    return rc;
}
