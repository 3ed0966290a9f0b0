/* crypto/algs: tables of algorithms by their number in the IKEv2 registry (RFC 7296 3.3.2, RFC 8247, RFC 9370). */
#include "algs.h"

const char *const hash_names[HASHES] = {"SHA1", "SHA2-256", "SHA2-384", "SHA2-512"};

const char *const cipher_names[CIPHERS] = {"AES-128-GCM", "AES-192-GCM", "AES-256-GCM",
                                           "AES-128-CBC", "AES-192-CBC", "AES-256-CBC"};

/* GCM: salt and 8-octet IV, RFC 4106 3.1 and 8.1 (ESP), RFC 5282 4 (IKE); alignment 4 is ESP's own (RFC 4303 2.4).
 * CBC: RFC 3602 2. NULL: RFC 2410. */
static const struct encr_alg encr_algs[] = {
    {ENCR_AES_GCM_16, 128, CIPHER_GCM_128, 16, 4, 8, 16, 4, "AES_GCM_16_128"},
    {ENCR_AES_GCM_16, 192, CIPHER_GCM_192, 24, 4, 8, 16, 4, "AES_GCM_16_192"},
    {ENCR_AES_GCM_16, 256, CIPHER_GCM_256, 32, 4, 8, 16, 4, "AES_GCM_16_256"},
    {ENCR_AES_CBC, 128, CIPHER_CBC_128, 16, 0, 16, 0, 16, "AES_CBC_128"},
    {ENCR_AES_CBC, 192, CIPHER_CBC_192, 24, 0, 16, 0, 16, "AES_CBC_192"},
    {ENCR_AES_CBC, 256, CIPHER_CBC_256, 32, 0, 16, 0, 16, "AES_CBC_256"},
    {ENCR_NULL, 0, CIPHER_NONE, 0, 0, 0, 0, 4, "NULL"},
};

/* RFC 2404; RFC 4868 2.6: the key is as long as the hash, the ICV is its first half. */
static const struct integ_alg integ_algs[] = {
    {INTEG_HMAC_SHA1_96, HASH_SHA1, 20, 12, "HMAC_SHA1_96"},
    {INTEG_HMAC_SHA2_256_128, HASH_SHA256, 32, 16, "HMAC_SHA2_256_128"},
    {INTEG_HMAC_SHA2_384_192, HASH_SHA384, 48, 24, "HMAC_SHA2_384_192"},
    {INTEG_HMAC_SHA2_512_256, HASH_SHA512, 64, 32, "HMAC_SHA2_512_256"},
};

static const struct prf_alg prf_algs[] = {
    {PRF_HMAC_SHA1, HASH_SHA1, 20, "PRF_HMAC_SHA1"},
    {PRF_HMAC_SHA2_256, HASH_SHA256, 32, "PRF_HMAC_SHA2_256"},
    {PRF_HMAC_SHA2_384, HASH_SHA384, 48, "PRF_HMAC_SHA2_384"},
    {PRF_HMAC_SHA2_512, HASH_SHA512, 64, "PRF_HMAC_SHA2_512"},
};

/* MODP: RFC 3526 2 to 5. ECP: RFC 5903 3 and 7. ML-KEM: FIPS 203 table 3. */
static const struct ke_alg ke_algs[] = {
    {KE_MODP1536, KE_KIND_MODP, "DH", "modp_1536", 192, 192, 192, "MODP_1536"},
    {KE_MODP2048, KE_KIND_MODP, "DH", "modp_2048", 256, 256, 256, "MODP_2048"},
    {KE_MODP3072, KE_KIND_MODP, "DH", "modp_3072", 384, 384, 384, "MODP_3072"},
    {KE_MODP4096, KE_KIND_MODP, "DH", "modp_4096", 512, 512, 512, "MODP_4096"},
    {KE_ECP256, KE_KIND_ECP, "EC", "P-256", 64, 64, 32, "ECP_256"},
    {KE_ECP384, KE_KIND_ECP, "EC", "P-384", 96, 96, 48, "ECP_384"},
    {KE_ML_KEM_768, KE_KIND_KEM, "ML-KEM-768", NULL, 1184, 1088, 32, "ML_KEM_768"},
    {KE_ML_KEM_1024, KE_KIND_KEM, "ML-KEM-1024", NULL, 1568, 1568, 32, "ML_KEM_1024"},
};

const struct encr_alg *encr_alg(uint16_t id, uint16_t bits)
{
    for (size_t i = 0; i < ARRAY_LEN(encr_algs); i++)
        if (encr_algs[i].id == id && encr_algs[i].bits == bits)
            return &encr_algs[i];
    return NULL;
}

const struct integ_alg *integ_alg(uint16_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(integ_algs); i++)
        if (integ_algs[i].id == id)
            return &integ_algs[i];
    return NULL;
}

const struct prf_alg *prf_alg(uint16_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(prf_algs); i++)
        if (prf_algs[i].id == id)
            return &prf_algs[i];
    return NULL;
}

const struct ke_alg *ke_alg(uint16_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(ke_algs); i++)
        if (ke_algs[i].id == id)
            return &ke_algs[i];
    return NULL;
}

const char *crypto_encr_name(uint16_t encr, uint16_t bits)
{
    const struct encr_alg *a = encr_alg(encr, bits);
    return a ? a->name : "?";
}

const char *crypto_prf_name(uint16_t prf)
{
    const struct prf_alg *a = prf_alg(prf);
    return a ? a->name : "?";
}

const char *crypto_integ_name(uint16_t integ)
{
    const struct integ_alg *a = integ_alg(integ);
    return a ? a->name : integ == INTEG_NONE ? "NONE" : "?";
}

const char *crypto_ke_name(uint16_t ke)
{
    const struct ke_alg *a = ke_alg(ke);
    return a ? a->name : ke == KE_NONE ? "NONE" : "?";
}

size_t crypto_prf_size(uint16_t prf)
{
    const struct prf_alg *a = prf_alg(prf);
    return a ? a->size : 0;
}

bool crypto_ke_known(uint16_t ke)
{
    return ke_alg(ke) != NULL;
}

bool crypto_ke_is_pq(uint16_t ke)
{
    const struct ke_alg *a = ke_alg(ke);
    return a && a->kind == KE_KIND_KEM;
}

size_t crypto_ke_public_size(uint16_t ke, bool responder)
{
    const struct ke_alg *a = ke_alg(ke);
    return !a ? 0 : responder ? a->public_r : a->public_i;
}

/* RFC 8247 2.1: NULL encryption MUST NOT be used for IKE. */
bool crypto_sk_sizes(struct sk_alg alg, struct sk_sizes *ret)
{
    struct esp_sizes s;
    if (alg.encr == ENCR_NULL || !crypto_esp_sizes((struct esp_alg){alg.encr, alg.encr_bits, alg.integ}, &s))
        return false;
    *ret = (struct sk_sizes){
        .key_e = s.key_e, .key_a = s.key_a, .iv = s.iv, .icv = s.icv, .block = alg.encr == ENCR_AES_CBC ? 16 : 1};
    return true;
}

/* RFC 8221 4: an AEAD takes no integrity algorithm; without one of the two, ESP MUST NOT be used. */
bool crypto_esp_sizes(struct esp_alg alg, struct esp_sizes *ret)
{
    const struct encr_alg *e = encr_alg(alg.encr, alg.encr_bits);
    const struct integ_alg *i = integ_alg(alg.integ);
    if (!e || (e->icv ? alg.integ != INTEG_NONE : !i))
        return false;
    *ret = (struct esp_sizes){.key_e = (uint8_t)(e->key + e->salt),
                              .key_a = i ? i->key : 0,
                              .iv = e->iv,
                              .icv = i ? i->icv : e->icv,
                              .align = e->block};
    return true;
}
