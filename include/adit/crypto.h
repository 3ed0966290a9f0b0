/* crypto: the only room that includes OpenSSL, libsodium and Intel ipsec-mb.
 * Algorithms go by their IANA number (IKEv2 Parameters registry; facts in RFC 7296 3.3.2, RFC 8247, RFC 9370).
 * Every function that returns enum rc returns RC_UNSUPPORTED for a number it does not know, RC_CRYPTO when the library
 * refuses, RC_AUTH when a check value differs; outputs are untouched on failure.
 */
#ifndef ADIT_CRYPTO_H
#define ADIT_CRYPTO_H

#include "adit/base.h"

enum encr_id { ENCR_NULL = 11, ENCR_AES_CBC = 12, ENCR_AES_GCM_16 = 20 };
enum prf_id {
    PRF_HMAC_SHA1 = 2 /* test vectors only, never offered */,
    PRF_HMAC_SHA2_256 = 5,
    PRF_HMAC_SHA2_384 = 6,
    PRF_HMAC_SHA2_512 = 7
};
enum integ_id {
    INTEG_NONE = 0,
    INTEG_HMAC_SHA1_96 = 2,
    INTEG_HMAC_SHA2_256_128 = 12,
    INTEG_HMAC_SHA2_384_192 = 13,
    INTEG_HMAC_SHA2_512_256 = 14,
};
enum ke_id {
    KE_NONE = 0,
    KE_MODP1536 = 5,
    KE_MODP2048 = 14,
    KE_MODP3072 = 15,
    KE_MODP4096 = 16,
    KE_ECP256 = 19,
    KE_ECP384 = 20,
    KE_ML_KEM_768 = 36,
    KE_ML_KEM_1024 = 37,
};

#define PRF_MAX 64         /* octets of the largest PRF output and key */
#define KE_PUBLIC_MAX 1568 /* ML-KEM-1024 */
#define KE_SECRET_MAX 512  /* MODP-4096 */
#define ESP_KEYMAT_MAX 96  /* encryption key (+ GCM salt) + integrity key, one direction */

/* ---- library context: one per thread. rng NULL: the libraries' own generator; else every random byte drawn, OpenSSL's
 * key generation and ML-KEM encapsulation included, comes from rng (deterministic tests). rng must outlive the context. */
struct crypto;
enum rc crypto_new(const struct rng *rng, struct crypto **ret) ADIT_MUST_USE;
void crypto_free(struct crypto *c);
struct crypto_versions {
    const char *openssl; /* "OpenSSL 3.5.4 ..." of the library that runs */
    const char *sodium;
    const char *ipsec_mb; /* NULL when not built in */
    const char *esp_gcm;  /* which implementation ESP uses: "ipsec-mb (avx512)", "openssl" */
    /* ... for CBC and NULL: "ipsec-mb (sse; avx512 from 8/16/8/8 packets with sha1/256/384/512; ...)"; lives with c. */
    const char *esp_hmac;
    bool ml_kem; /* ML-KEM-768 really works (a key was made) */
};
void crypto_versions(struct crypto *c, struct crypto_versions *ret);

/* ---- names for logs and tools: "AES_GCM_16_256", "PRF_HMAC_SHA2_384", "ECP_384", "ML_KEM_768"; "?" if unknown */
const char *crypto_encr_name(uint16_t encr, uint16_t bits);
const char *crypto_prf_name(uint16_t prf);
const char *crypto_integ_name(uint16_t integ);
const char *crypto_ke_name(uint16_t ke);

/* ---- PRF (HMAC) and prf+ (RFC 7296 2.13); data is the concatenation of the parts */
size_t crypto_prf_size(uint16_t prf); /* 0: unknown */
enum rc crypto_prf(struct crypto *c, uint16_t prf, struct span key, const struct span *parts, size_t n_parts,
                   uint8_t *ret) ADIT_MUST_USE;
enum rc crypto_prf_plus(struct crypto *c, uint16_t prf, struct span key, const struct span *parts, size_t n_parts,
                        uint8_t *ret, size_t n_ret) ADIT_MUST_USE; /* n_ret <= 255 * size: RC_RANGE; on RC_CRYPTO
                                                                     ret is wiped */

/* ---- key exchange. Public values as they stand in the KE payload: MODP left-padded to the modulus, ECP x|y without
 * 0x04, ML-KEM encapsulation key from the initiator and ciphertext from the responder. Secrets: MODP left-padded, ECP x
 * only, ML-KEM 32 octets. All checks of RFC 6989, RFC 5903 and FIPS 203 7.2 are made: RC_CRYPTO. Wrong length: RC_SYNTAX. */
struct ke_value {
    uint8_t b[KE_PUBLIC_MAX];
    size_t n;
};
struct ke_secret { /* wipe() it */
    uint8_t b[KE_SECRET_MAX];
    size_t n;
};
bool crypto_ke_known(uint16_t ke);
bool crypto_ke_is_pq(uint16_t ke);
size_t crypto_ke_public_size(uint16_t ke, bool responder); /* 0: unknown */
enum rc crypto_ke_respond(struct crypto *c, uint16_t ke, struct span peer_public, struct ke_value *ret_public,
                          struct ke_secret *ret_secret) ADIT_MUST_USE;
struct ke; /* an initiator's private half */
enum rc crypto_ke_begin(struct crypto *c, uint16_t ke, struct ke **ret, struct ke_value *ret_public) ADIT_MUST_USE;
enum rc crypto_ke_finish(struct ke *k, struct span peer_public, struct ke_secret *ret_secret) ADIT_MUST_USE;
void crypto_ke_free(struct ke *k);

/* ---- the Encrypted payload's cipher (RFC 7296 3.14, RFC 5282). In `msg` stand, without gaps,
 *     aad (IKE header .. SK or SKF header) | IV | text | ICV
 * text is plaintext with padding when sealing. GCM: the IV is the caller's 8-octet counter. CBC: the IV is drawn from rng and
 * `iv` is ignored; integrity covers aad|IV|ciphertext. */
struct sk_alg {
    uint16_t encr, encr_bits, integ; /* integ INTEG_NONE with GCM */
};
struct sk_sizes {
    uint8_t key_e; /* with GCM's 4-octet salt */
    uint8_t key_a; /* 0 with GCM */
    uint8_t iv, icv, block;
};
bool crypto_sk_sizes(struct sk_alg alg, struct sk_sizes *ret); /* false: not a usable combination */
enum rc crypto_sk_seal(struct crypto *c, struct sk_alg alg, const uint8_t *key_e, const uint8_t *key_a, uint8_t *msg,
                       size_t aad_len, size_t text_len, uint64_t iv) ADIT_MUST_USE;
enum rc crypto_sk_open(struct crypto *c, struct sk_alg alg, const uint8_t *key_e, const uint8_t *key_a, uint8_t *msg,
                       size_t aad_len,
                       size_t text_len) ADIT_MUST_USE; /* RC_AUTH: msg is unchanged. RC_SYNTAX: authentic, but
                                                                 not whole blocks. */

/* ---- ESP, in batches (RFC 4303, 4106, 3602, 2404, 4868). */
struct esp_alg {
    uint16_t encr, encr_bits, integ;
};
struct esp_sizes {
    uint8_t key_e; /* with GCM's salt */
    uint8_t key_a;
    uint8_t iv, icv, align; /* align: of payload + padding + 2 */
};
bool crypto_esp_sizes(struct esp_alg alg, struct esp_sizes *ret);
/* Expanded key of one direction; immutable after creation, may be used by all threads. Made and freed by the thread of c,
 * which must outlive it. keymat: exactly key_e + key_a octets, else RC_RANGE. */
struct esp_key;
enum rc crypto_esp_key_new(struct crypto *c, struct esp_alg alg, struct span keymat,
                           struct esp_key **ret) ADIT_MUST_USE;
void crypto_esp_key_free(struct esp_key *k);
size_t crypto_esp_key_bytes(const struct esp_key *k);
struct esp_op { /* many at a time: HMAC and CBC gain a factor of up to six when their packets go side by side */
    const struct esp_key *key;
    uint8_t *pkt;      /* SPI | sequence | IV | text | ICV, without gaps; IV already written when sealing */
    uint32_t text_len; /* payload + padding + 2 */
    enum rc rc; /* set by the call: RC_OK, RC_AUTH; RC_RANGE (seal: CBC, not whole blocks) and RC_CRYPTO are bugs */
};
/* The IV of one packet for CBC; GCM's is the caller's sender id + counter. Draws from a per-context fast generator. */
void crypto_esp_cbc_iv(struct crypto *c, uint8_t ret[16]);
void crypto_esp_seal(struct crypto *c, struct esp_op *ops, size_t n);
void crypto_esp_open(struct crypto *c, struct esp_op *ops, size_t n); /* RC_AUTH: text must not be used */

/* ---- small things */
bool crypto_equal(struct span a, struct span b); /* constant time in the content */
void crypto_sha1(struct crypto *c, const struct span *parts, size_t n, uint8_t ret[20]); /* NAT detection only */
void crypto_sha256(struct crypto *c, const struct span *parts, size_t n, uint8_t ret[32]);
uint64_t crypto_siphash(const uint8_t key[16], struct span data); /* hash tables of peer-chosen keys */
void crypto_mac(const uint8_t key[32], const struct span *parts, size_t n,
                uint8_t ret[32]); /* BLAKE2b: cookies, tokens */

/* ---- guarded memory for secrets: slabs of equal objects, locked, wiped on return (libsodium). An arena grows by slabs up to
 * `max` objects; one guarded mapping per slab, never per object. */
struct arena;
enum rc crypto_arena_new(size_t object_size, size_t max, struct arena **ret) ADIT_MUST_USE;
void *crypto_arena_get(struct arena *a); /* zeroed; NULL when full */
void crypto_arena_put(struct arena *a, void *object);
size_t crypto_arena_used(const struct arena *a);
void crypto_arena_free(struct arena *a); /* all objects must be back */

#endif
