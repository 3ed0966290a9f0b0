/* One handshake's worth of bare OpenSSL; see bound.h. */
#include "bound.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "fatal.h"
#include "measure.h"

#define NONCES 64 /* Ni and Nr as a rule */
#define ESP_KEYS 72
#define INTERMEDIATE 32 /* A of RFC 9242 3.3.2 */

const char *const bound_names[BOUND_PARTS] = {"ke", "addke", "prf", "cipher", "random"};

struct method { /* of key exchange */
    const char *type, *group;
    bool kem;
    EVP_PKEY_CTX *generate, *import;
    uint8_t peer[2048]; /* the initiator's public value as OpenSSL reads it */
    size_t n_peer;
};
struct bound {
    OSSL_LIB_CTX *lib;
    struct method ke, addke;
    bool hybrid;
    EVP_MAC_CTX *hmac;
    EVP_MD *sha1;
    EVP_MD_CTX *md;
    EVP_CIPHER *gcm;
    EVP_CIPHER_CTX *cipher;
    size_t n_prf;
    struct parley_message message[PARLEY_MESSAGES];
    size_t n_messages;
    uint8_t text[4096], key[64], out[64];
};

/* ---- key exchange */

static EVP_PKEY *generate(const struct method *m)
{
    EVP_PKEY *key = NULL;
    MUST(EVP_PKEY_generate(m->generate, &key) > 0);
    return key;
}

static size_t public_of(const EVP_PKEY *key, uint8_t *ret, size_t size)
{
    size_t n = 0;
    MUST(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, ret, size, &n));
    return n;
}

static void method_init(struct bound *b, struct method *m, uint16_t ke)
{
    switch (ke) {
    case KE_ECP384: *m = (struct method){.type = "EC", .group = "P-384"}; break;
    case KE_MODP2048: *m = (struct method){.type = "DH", .group = "modp_2048"}; break;
    case KE_ML_KEM_768: *m = (struct method){.type = "ML-KEM-768", .kem = true}; break;
    default: MUST(!"a method that bound.c knows");
    }
    const OSSL_PARAM params[] = {
        m->group ? OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)m->group, 0)
                 : OSSL_PARAM_construct_end(),
        OSSL_PARAM_construct_end()};
    MUST((m->generate = EVP_PKEY_CTX_new_from_name(b->lib, m->type, NULL)) != NULL);
    MUST(EVP_PKEY_keygen_init(m->generate) > 0 && EVP_PKEY_CTX_set_params(m->generate, params) > 0);
    MUST((m->import = EVP_PKEY_CTX_new_from_name(b->lib, m->type, NULL)) != NULL);
    EVP_PKEY *peer = generate(m);
    m->n_peer = public_of(peer, m->peer, sizeof m->peer);
    if (!strcmp(m->type, "DH")) /* a number in the machine's order */
        for (size_t i = 0; i < m->n_peer / 2; i++) {
            uint8_t t = m->peer[i];
            m->peer[i] = m->peer[m->n_peer - 1 - i];
            m->peer[m->n_peer - 1 - i] = t;
        }
    EVP_PKEY_free(peer);
}

static EVP_PKEY *import(const struct method *m)
{
    EVP_PKEY *key = NULL;
    uint8_t *at = (uint8_t *)(uintptr_t)m->peer;
    OSSL_PARAM params[] = {
        !strcmp(m->type, "DH") ? OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PUB_KEY, at, m->n_peer)
                               : OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, at, m->n_peer),
        m->group ? OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)m->group, 0)
                 : OSSL_PARAM_construct_end(),
        OSSL_PARAM_construct_end()};
    MUST(EVP_PKEY_fromdata_init(m->import) > 0);
    MUST(EVP_PKEY_fromdata(m->import, &key, EVP_PKEY_PUBLIC_KEY, params) > 0);
    return key;
}

static void agree(struct bound *b, const struct method *m)
{
    uint8_t public[2048], secret[512];
    size_t n_public = sizeof public, n_secret = sizeof secret;
    EVP_PKEY *peer = import(m), *own = m->kem ? NULL : generate(m);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(b->lib, m->kem ? peer : own, NULL);
    if (m->kem) {
        MUST(EVP_PKEY_encapsulate_init(ctx, NULL) > 0);
        MUST(EVP_PKEY_encapsulate(ctx, public, &n_public, secret, &n_secret) > 0);
    } else {
        public_of(own, public, sizeof public);
        MUST(EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) > 0);
        MUST(EVP_PKEY_derive(ctx, secret, &n_secret) > 0);
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(own);
    EVP_PKEY_free(peer);
}

/* ---- PRF: which MACs, over how much, is RFC 7296 2.13 to 2.17, RFC 9242 3.3.2, RFC 9370 2.2.2 */

static void prf(struct bound *b, size_t n)
{
    size_t n_out;
    MUST(EVP_MAC_init(b->hmac, b->key, b->n_prf, NULL) && EVP_MAC_update(b->hmac, b->text, n) &&
         EVP_MAC_final(b->hmac, b->out, &n_out, sizeof b->out));
}

static void prf_plus(struct bound *b, size_t seed, size_t wanted)
{
    size_t n_out;
    for (size_t have = 0; have < wanted; have += b->n_prf) {
        MUST(have ? EVP_MAC_init(b->hmac, NULL, 0, NULL) : EVP_MAC_init(b->hmac, b->key, b->n_prf, NULL));
        MUST(EVP_MAC_update(b->hmac, b->text, (have ? b->n_prf : 0) + seed + 1) &&
             EVP_MAC_final(b->hmac, b->out, &n_out, sizeof b->out));
    }
}

static void natd(struct bound *b)
{
    for (int i = 0; i < 4; i++) /* two to compare with, two to send */
        MUST(EVP_DigestInit_ex2(b->md, b->sha1, NULL) && EVP_DigestUpdate(b->md, b->text, 8 + 8 + 4 + 2) &&
             EVP_DigestFinal_ex(b->md, b->out, NULL));
}

static void keys(struct bound *b, size_t secret)
{
    prf(b, secret);                                        /* SKEYSEED */
    prf_plus(b, NONCES + 16, 3 * b->n_prf + 2 * (32 + 4)); /* SK_d, SK_e, SK_p */
}

static void prfs(struct bound *b)
{
    size_t init[2] = {0}, n_init = 0, id = 30;
    natd(b);
    keys(b, 48);
    for (size_t i = 0; i < b->n_messages; i++) {
        const struct parley_message *m = &b->message[i];
        if (!m->sealed && n_init < 2)
            init[n_init++] = m->n;
        else if (m->sealed && b->hybrid && i < 4) /* IKE_INTERMEDIATE: IntAuth */
            prf(b, b->n_prf + INTERMEDIATE + m->n);
    }
    if (b->hybrid)
        keys(b, 32 + NONCES);
    for (int i = 0; i < 2; i++) { /* AUTH of the peer and ours */
        prf(b, 17);
        prf(b, id);
        prf(b, init[i] + NONCES / 2 + (b->hybrid ? 3 : 1) * b->n_prf);
    }
    prf_plus(b, NONCES, (size_t)2 * (32 + 4)); /* KEYMAT of ESP */
}

/* ---- the Encrypted payloads, in and out alike */

static void ciphers(struct bound *b)
{
    static const uint8_t nonce[12] = {1};
    uint8_t tag[16];
    int len;
    for (size_t i = 0; i < b->n_messages; i++) {
        const struct parley_message *m = &b->message[i];
        if (!m->sealed)
            continue;
        MUST(EVP_EncryptInit_ex2(b->cipher, NULL, b->key, nonce, NULL) &&
             EVP_EncryptUpdate(b->cipher, NULL, &len, b->text, 32) &&
             EVP_EncryptUpdate(b->cipher, b->text, &len, b->text, (int)m->n - 32 - 8 - 16) &&
             EVP_EncryptFinal_ex(b->cipher, tag, &len) &&
             EVP_CIPHER_CTX_ctrl(b->cipher, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag));
    }
}

static void draw(struct bound *b)
{
    uint8_t r[32];
    MUST(RAND_bytes_ex(b->lib, r, 32, 0) > 0 && RAND_bytes_ex(b->lib, r, 8, 0) > 0 &&
         RAND_bytes_ex(b->lib, r, 4, 0) > 0);
}

/* ---- life */

struct bound *bound_new(const struct suite *ike, const struct parley_message *message, size_t n)
{
    struct bound *b = calloc(1, sizeof *b);
    MUST(b && (b->lib = OSSL_LIB_CTX_new()));
    MUST(ike->encr == ENCR_AES_GCM_16 && ike->encr_bits == 256 && ike->prf == PRF_HMAC_SHA2_384);
    b->n_prf = crypto_prf_size(ike->prf);
    b->hybrid = ike->addke[0];
    method_init(b, &b->ke, ike->ke);
    if (b->hybrid)
        method_init(b, &b->addke, ike->addke[0]);
    EVP_MAC *mac = EVP_MAC_fetch(b->lib, "HMAC", NULL);
    const OSSL_PARAM digest[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA2-384"}, 0),
                                 OSSL_PARAM_construct_end()};
    MUST(mac && (b->hmac = EVP_MAC_CTX_new(mac)) && EVP_MAC_CTX_set_params(b->hmac, digest));
    EVP_MAC_free(mac);
    MUST((b->sha1 = EVP_MD_fetch(b->lib, "SHA1", NULL)) && (b->md = EVP_MD_CTX_new()));
    MUST((b->gcm = EVP_CIPHER_fetch(b->lib, "AES-256-GCM", NULL)) && (b->cipher = EVP_CIPHER_CTX_new()));
    MUST(EVP_EncryptInit_ex2(b->cipher, b->gcm, NULL, NULL, NULL));
    memcpy(b->message, message, n * sizeof *message);
    b->n_messages = n;
    return b;
}

static void method_free(struct method *m)
{
    EVP_PKEY_CTX_free(m->generate);
    EVP_PKEY_CTX_free(m->import);
}

void bound_free(struct bound *b)
{
    method_free(&b->ke);
    method_free(&b->addke);
    EVP_MAC_CTX_free(b->hmac);
    EVP_MD_CTX_free(b->md);
    EVP_MD_free(b->sha1);
    EVP_CIPHER_CTX_free(b->cipher);
    EVP_CIPHER_free(b->gcm);
    OSSL_LIB_CTX_free(b->lib);
    free(b);
}

void bound_handshake(struct bound *b, uint64_t ret_ns[BOUND_PARTS])
{
    for (enum bound_part part = 0; part < BOUND_PARTS; part++) {
        uint64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        switch (part) {
        case BOUND_KE: agree(b, &b->ke); break;
        case BOUND_ADDKE:
            if (b->hybrid)
                agree(b, &b->addke);
            break;
        case BOUND_PRF: prfs(b); break;
        case BOUND_CIPHER: ciphers(b); break;
        case BOUND_RANDOM: draw(b); break;
        case BOUND_PARTS: break;
        }
        ret_ns[part] += clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
    }
}
