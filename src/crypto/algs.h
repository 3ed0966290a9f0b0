/* crypto/algs: what the IANA numbers stand for: sizes and the libraries' names, one row per algorithm. */
#ifndef ADIT_CRYPTO_ALGS_H
#define ADIT_CRYPTO_ALGS_H

#include "adit/crypto.h"

enum hash { HASH_SHA1, HASH_SHA256, HASH_SHA384, HASH_SHA512, HASHES };
extern const char *const hash_names[HASHES];
#define HASH_MAX 64

/* One AES context per mode and key length. */
enum cipher { CIPHER_GCM_128, CIPHER_GCM_192, CIPHER_GCM_256, CIPHER_CBC_128, CIPHER_CBC_192, CIPHER_CBC_256, CIPHERS };
#define CIPHER_NONE CIPHERS
extern const char *const cipher_names[CIPHERS];

struct encr_alg {
    uint16_t id, bits;
    enum cipher cipher;
    uint8_t key, salt, iv, icv, block; /* octets; icv 0: needs an integrity algorithm */
    const char *name;
};
struct integ_alg {
    uint16_t id;
    enum hash hash;
    uint8_t key, icv;
    const char *name;
};
struct prf_alg {
    uint16_t id;
    enum hash hash;
    uint8_t size; /* of the output, and the preferred size of keys */
    const char *name;
};
enum ke_kind { KE_KIND_MODP, KE_KIND_ECP, KE_KIND_KEM };
struct ke_alg {
    uint16_t id;
    enum ke_kind kind;
    const char *type, *group;            /* OpenSSL's key type and group */
    uint16_t public_i, public_r, secret; /* octets in the KE payload and in g^ir */
    const char *name;
};

/* NULL when unknown. */
const struct encr_alg *encr_alg(uint16_t id, uint16_t bits);
const struct integ_alg *integ_alg(uint16_t id);
const struct prf_alg *prf_alg(uint16_t id);
const struct ke_alg *ke_alg(uint16_t id);

#endif
