/* crypto/ke: key exchange. MODP (RFC 3526) and ECP (RFC 5903) groups and ML-KEM (FIPS 203) behind the same four calls;
 * in IKEv2 the responder of ML-KEM encapsulates (draft-ietf-ipsecme-ikev2-mlkem 2). */
#include "context.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>

#define POINT_UNCOMPRESSED 0x04 /* SEC 1 2.3.3: OpenSSL's first octet, which the KE payload omits (RFC 5903 7) */

struct ke {
    struct crypto *c;
    const struct ke_alg *alg;
    EVP_PKEY *own;
};

static OSSL_PARAM group_param(const struct ke_alg *alg)
{
    return alg->group ? OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)alg->group, 0)
                      : OSSL_PARAM_construct_end();
}

/* A fresh key for each exchange: none is ever reused (RFC 7296 2.12 would allow it). */
static EVP_PKEY *key_make(struct crypto *c, const struct ke_alg *alg)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(c->lib, alg->type, NULL);
    const OSSL_PARAM params[] = {group_param(alg), OSSL_PARAM_construct_end()};
    if (ctx && EVP_PKEY_keygen_init(ctx) > 0 && EVP_PKEY_CTX_set_params(ctx, params) > 0)
        (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* The public value as it stands in the KE payload. */
static bool key_public(const struct ke_alg *alg, const EVP_PKEY *key, struct ke_value *ret)
{
    uint8_t b[KE_PUBLIC_MAX + 1];
    size_t n, skip = alg->kind == KE_KIND_ECP ? 1 : 0;
    if (!EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, b, sizeof b, &n) ||
        n != alg->public_i + skip)
        return false;
    memcpy(ret->b, b + skip, alg->public_i);
    ret->n = alg->public_i;
    return true;
}

/* RFC 6989 2.1: for a safe-prime group the receiver MUST check 1 < r < p - 1. */
static bool modp_in_range(const EVP_PKEY *own, const BIGNUM *r)
{
    BIGNUM *last = NULL;
    bool ok = EVP_PKEY_get_bn_param(own, OSSL_PKEY_PARAM_FFC_P, &last) && BN_sub_word(last, 1) &&
              BN_cmp(r, BN_value_one()) > 0 && BN_cmp(r, last) < 0;
    BN_free(last);
    return ok;
}

static EVP_PKEY *key_import(struct crypto *c, const struct ke_alg *alg, OSSL_PARAM public_param)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(c->lib, alg->type, NULL);
    OSSL_PARAM params[] = {public_param, group_param(alg), OSSL_PARAM_construct_end()};
    if (!ctx || EVP_PKEY_fromdata_init(ctx) <= 0 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* The peer's value as a key, or NULL when it is not a valid one. `own` gives the MODP group. */
static EVP_PKEY *peer_import(struct crypto *c, const struct ke_alg *alg, const EVP_PKEY *own, struct span value)
{
    uint8_t b[KE_PUBLIC_MAX];
    EVP_PKEY *peer = NULL;
    BIGNUM *r;
    switch (alg->kind) {
    case KE_KIND_MODP:
        r = BN_bin2bn(value.p, (int)value.n, NULL);
        if (r && modp_in_range(own, r) && BN_bn2nativepad(r, b, (int)value.n) > 0)
            peer = key_import(c, alg, OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PUB_KEY, b, value.n));
        BN_free(r);
        break;
    case KE_KIND_ECP: /* RFC 5903 8 and RFC 6989 2.3: OpenSSL checks x, y < p and that the point is on the curve */
        b[0] = POINT_UNCOMPRESSED;
        memcpy(b + 1, value.p, value.n);
        peer = key_import(c, alg, OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, b, value.n + 1));
        break;
    case KE_KIND_KEM: /* FIPS 203 7.2 modulus check: OpenSSL refuses coefficients >= 3329 */
        memcpy(b, value.p, value.n);
        peer = key_import(c, alg, OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, b, value.n));
        break;
    }
    return peer;
}

/* g^ir, left-padded to the group's size (RFC 7296 2.14: "MUST" be padded with zeros). */
static bool derive(struct crypto *c, const struct ke_alg *alg, EVP_PKEY *own, EVP_PKEY *peer, struct ke_secret *ret)
{
    unsigned int pad = 1;
    const OSSL_PARAM params[] = {alg->kind == KE_KIND_MODP ? OSSL_PARAM_construct_uint(OSSL_EXCHANGE_PARAM_PAD, &pad)
                                                           : OSSL_PARAM_construct_end(),
                                 OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(c->lib, own, NULL);
    size_t n = sizeof ret->b;
    /* The peer's value has been checked: 0 spares OpenSSL's own check, a second exponentiation. */
    bool ok = ctx && EVP_PKEY_derive_init_ex(ctx, params) > 0 && EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) > 0 &&
              EVP_PKEY_derive(ctx, ret->b, &n) > 0 && n == alg->secret;
    ret->n = n;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool encapsulate(struct crypto *c, const struct ke_alg *alg, EVP_PKEY *peer, struct ke_value *ret_public,
                        struct ke_secret *ret_secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(c->lib, peer, NULL);
    ret_public->n = sizeof ret_public->b;
    ret_secret->n = sizeof ret_secret->b;
    bool ok = ctx && EVP_PKEY_encapsulate_init(ctx, NULL) > 0 &&
              EVP_PKEY_encapsulate(ctx, ret_public->b, &ret_public->n, ret_secret->b, &ret_secret->n) > 0 &&
              ret_public->n == alg->public_r && ret_secret->n == alg->secret;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Never fails on a ciphertext of the right length: a modified one gives another secret (FIPS 203 7.3). */
static bool decapsulate(struct crypto *c, const struct ke_alg *alg, EVP_PKEY *own, struct span ciphertext,
                        struct ke_secret *ret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(c->lib, own, NULL);
    size_t n = sizeof ret->b;
    bool ok = ctx && EVP_PKEY_decapsulate_init(ctx, NULL) > 0 &&
              EVP_PKEY_decapsulate(ctx, ret->b, &n, ciphertext.p, ciphertext.n) > 0 && n == alg->secret;
    ret->n = n;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

enum rc crypto_ke_respond(struct crypto *c, uint16_t ke, struct span peer_public, struct ke_value *ret_public,
                          struct ke_secret *ret_secret)
{
    const struct ke_alg *alg = ke_alg(ke);
    if (!alg)
        return RC_UNSUPPORTED;
    if (peer_public.n != alg->public_i)
        return RC_SYNTAX;
    bool kem = alg->kind == KE_KIND_KEM;
    struct ke_value public;
    struct ke_secret secret;
    EVP_PKEY *own = kem ? NULL : key_make(c, alg);
    EVP_PKEY *peer = kem || own ? peer_import(c, alg, own, peer_public) : NULL;
    bool ok = peer && (kem ? encapsulate(c, alg, peer, &public, &secret)
                           : key_public(alg, own, &public) && derive(c, alg, own, peer, &secret));
    if (ok) {
        *ret_public = public;
        *ret_secret = secret;
    }
    wipe(&secret, sizeof secret);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    return ok ? RC_OK : crypto_failed();
}

enum rc crypto_ke_begin(struct crypto *c, uint16_t ke, struct ke **ret, struct ke_value *ret_public)
{
    const struct ke_alg *alg = ke_alg(ke);
    if (!alg)
        return RC_UNSUPPORTED;
    struct ke *k = calloc(1, sizeof *k);
    if (!k)
        return RC_NOMEM;
    struct ke_value public;
    *k = (struct ke){.c = c, .alg = alg, .own = key_make(c, alg)};
    if (!k->own || !key_public(alg, k->own, &public)) {
        crypto_ke_free(k);
        return crypto_failed();
    }
    *ret_public = public;
    *ret = k;
    return RC_OK;
}

enum rc crypto_ke_finish(struct ke *k, struct span peer_public, struct ke_secret *ret_secret)
{
    if (peer_public.n != k->alg->public_r)
        return RC_SYNTAX;
    struct ke_secret secret;
    EVP_PKEY *peer = NULL;
    bool ok = k->alg->kind == KE_KIND_KEM ? decapsulate(k->c, k->alg, k->own, peer_public, &secret)
                                          : (peer = peer_import(k->c, k->alg, k->own, peer_public)) &&
                                                derive(k->c, k->alg, k->own, peer, &secret);
    if (ok)
        *ret_secret = secret;
    wipe(&secret, sizeof secret);
    EVP_PKEY_free(peer);
    return ok ? RC_OK : crypto_failed();
}

void crypto_ke_free(struct ke *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->own);
    free(k);
}
