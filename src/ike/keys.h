/* ike/keys: the IKEv2 key schedule as pure functions on spans (RFC 7296 2.13-2.18, RFC 9242 3.3, RFC 9370 2.2).
 * Nothing here knows an SA, a message or a state. Nonces come without headers, secrets as the key exchange gives
 * them (crypto.h). All outputs are secret: wipe() them. Outputs are untouched on failure.
 */
#ifndef ADIT_IKE_KEYS_H
#define ADIT_IKE_KEYS_H

#include "adit/crypto.h"

#define SK_E_MAX 36 /* AES-256 key and GCM salt */
#define SK_A_MAX 64 /* HMAC-SHA2-512 */

/* What every derivation mixes in besides the shared secret. */
struct ike_nonces {
    struct span ni, nr;
};

struct ike_keys { /* {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} of one generation */
    uint8_t d[PRF_MAX], ai[SK_A_MAX], ar[SK_A_MAX], ei[SK_E_MAX], er[SK_E_MAX], pi[PRF_MAX], pr[PRF_MAX];
    uint8_t n_prf, n_a, n_e; /* lengths of SK_d and SK_p*, SK_a*, SK_e* */
};

/* SKEYSEED = prf(Ni | Nr, g^ir), RFC 7296 2.14. ret: crypto_prf_size(prf) octets. */
enum rc ike_keys_seed_initial(struct crypto *c, uint16_t prf, struct ike_nonces n, struct span shared,
                              uint8_t ret[PRF_MAX]) ADIT_MUST_USE;
/* SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), RFC 9370 2.2.2. */
enum rc ike_keys_seed_intermediate(struct crypto *c, uint16_t prf, struct span sk_d, struct span shared,
                                   struct ike_nonces n, uint8_t ret[PRF_MAX]) ADIT_MUST_USE;
/* SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr [| SK(1) .. SK(n)]) with the PRF of the OLD SA (RFC 7296 2.18,
 * RFC 9370 2.2.4). */
enum rc ike_keys_seed_rekey(struct crypto *c, uint16_t old_prf, struct span old_sk_d, struct span shared,
                            struct ike_nonces n, const struct span *more, size_t n_more,
                            uint8_t ret[PRF_MAX]) ADIT_MUST_USE;

/* prf+(SKEYSEED, Ni | Nr | SPIi | SPIr) as raw octets; on a rekey prf, nonces and SPIs are those of the NEW SA. */
enum rc ike_keys_expand(struct crypto *c, uint16_t prf, struct span skeyseed, struct ike_nonces n, uint64_t spi_i,
                        uint64_t spi_r, uint8_t *ret, size_t n_ret) ADIT_MUST_USE;
/* The same, cut into the seven keys that `alg` and `prf` ask for. */
enum rc ike_keys_derive(struct crypto *c, uint16_t prf, struct sk_alg alg, struct span skeyseed, struct ike_nonces n,
                        uint64_t spi_i, uint64_t spi_r, struct ike_keys *ret) ADIT_MUST_USE;

/* IntAuth_n = prf(SK_p, [IntAuth_(n-1) |] A | P), RFC 9242 3.3.2. SK_p: the newest BEFORE exchange n changes it. */
enum rc ike_keys_int_auth(struct crypto *c, uint16_t prf, struct span sk_p, struct span previous, struct span a,
                          struct span p, uint8_t ret[PRF_MAX]) ADIT_MUST_USE;

/* What one side signs, RFC 7296 2.15 with RFC 9242 3.3.1 and the downgrade prevention draft. */
struct ike_auth_input {
    struct span message;      /* the IKE_SA_INIT message the signer sent */
    struct span peer_message; /* the one it received */
    bool full_transcript;     /* both sent 16447: the message becomes 8 zero octets | received | sent */
    struct span peer_nonce;
    struct span sk_p, id;               /* the signer's SK_p and MACed identity (IDtype | RESERVED | data) */
    struct span int_auth_i, int_auth_r; /* of the last IKE_INTERMEDIATE; empty: none took place */
    uint32_t auth_mid;                  /* message ID of IKE_AUTH; covered only after an IKE_INTERMEDIATE */
};
/* AUTH = prf(prf(PSK, "Key Pad for IKEv2"), octets) */
enum rc ike_keys_auth(struct crypto *c, uint16_t prf, struct span psk, const struct ike_auth_input *in,
                      uint8_t ret[PRF_MAX]) ADIT_MUST_USE;

/* KEYMAT = prf+(SK_d, [SK(0) |] Ni | Nr [| SK(1) .. SK(n)]), RFC 7296 2.17, RFC 9370 2.2.4. `shared` is empty
 * without PFS; in IKE_AUTH the nonces are those of IKE_SA_INIT. The first half of ret serves the initiator of the
 * exchange as sender. */
enum rc ike_keys_child(struct crypto *c, uint16_t prf, struct span sk_d, struct span shared, struct ike_nonces n,
                       const struct span *more, size_t n_more, uint8_t *ret, size_t n_ret) ADIT_MUST_USE;

#endif
