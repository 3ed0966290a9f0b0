/* crypto/hash: the small primitives: digests, keyed hashes, constant-time compare. */
#include "context.h"

#include <openssl/err.h>
#include <sodium.h>

bool crypto_equal(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || sodium_memcmp(a.p, b.p, a.n) == 0);
}

/* For NAT detection alone (RFC 7296 2.23). Should the library fail, zeros: the peer then believes in a NAT, which costs
 * it a UDP header. */
void crypto_sha1(struct crypto *c, const struct span *parts, size_t n, uint8_t ret[20])
{
    EVP_MD_CTX *ctx = c->md_ctx[HASH_SHA1];
    bool ok = EVP_DigestInit_ex2(ctx, NULL, NULL);
    for (size_t i = 0; ok && i < n; i++)
        ok = EVP_DigestUpdate(ctx, parts[i].p, parts[i].n);
    if (!ok || !EVP_DigestFinal_ex(ctx, ret, NULL)) {
        memset(ret, 0, 20);
        ERR_clear_error();
    }
}

void crypto_sha256(struct crypto *c, const struct span *parts, size_t n, uint8_t ret[32])
{
    crypto_hash_sha256_state state;
    (void)c;
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < n; i++)
        crypto_hash_sha256_update(&state, parts[i].p, parts[i].n);
    crypto_hash_sha256_final(&state, ret);
}

uint64_t crypto_siphash(const uint8_t key[16], struct span data)
{
    uint64_t h;
    _Static_assert(sizeof h == crypto_shorthash_BYTES, "SipHash-2-4 has 64 bits");
    crypto_shorthash((uint8_t *)&h, data.p, data.n, key);
    return h;
}

void crypto_mac(const uint8_t key[32], const struct span *parts, size_t n, uint8_t ret[32])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, key, 32, 32);
    for (size_t i = 0; i < n; i++)
        crypto_generichash_update(&state, parts[i].p, parts[i].n);
    crypto_generichash_final(&state, ret, 32);
    wipe(&state, sizeof state);
}
