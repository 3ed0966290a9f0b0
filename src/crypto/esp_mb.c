/* crypto/esp_mb: ESP by Intel's ipsec-mb: its managers, and AES-GCM through the manager's direct calls, which are synchronous and
 * have a quarter of OpenSSL's fixed cost. ADIT_HAVE_IPSEC_MB unset: nothing. */
#ifdef ADIT_HAVE_IPSEC_MB

#include "esp_mb.h"

#include <stdio.h>
#include <stdlib.h>

#include "aes.h"

struct mb_key { /* the first line holds all but the key itself */
    struct esp_key common;
    uint8_t salt[4];
    aes_gcm_enc_dec_t seal, open;
    _Alignas(64) struct gcm_key_data gcm; /* the header aligns its types only where LINUX is defined */
};

static enum rc mb_expand(struct crypto *c, struct esp_key *key, const uint8_t *key_e, const uint8_t *key_a)
{
    struct mb_key *k = (struct mb_key *)key;
    IMB_MGR *m = c->esp.mb;
    (void)key_a;
    switch (key->encr->bits) {
    case 128:
        IMB_AES128_GCM_PRE(m, key_e, &k->gcm);
        k->seal = m->gcm128_enc;
        k->open = m->gcm128_dec;
        break;
    case 192:
        IMB_AES192_GCM_PRE(m, key_e, &k->gcm);
        k->seal = m->gcm192_enc;
        k->open = m->gcm192_dec;
        break;
    case 256:
        IMB_AES256_GCM_PRE(m, key_e, &k->gcm);
        k->seal = m->gcm256_enc;
        k->open = m->gcm256_dec;
        break;
    default: return RC_UNSUPPORTED;
    }
    memcpy(k->salt, key_e + key->encr->key, sizeof k->salt);
    return RC_OK;
}

static void mb_release(struct esp_key *key)
{
    (void)key; /* nothing beyond the arena's object */
}

#define NONCES 4
#define NONCE_ROOM 16 /* none lies on two cache lines */

/* RFC 4106 4: nonce = salt | IV. What was just written in two parts cannot be read as one before both have reached the cache, so a
 * packet's nonce is made some packets before it is used. */
static inline void mb_nonce(const struct esp_op *ops, size_t i, size_t n, uint8_t nonce[NONCES][NONCE_ROOM])
{
    if (i >= n || ops[i].key->backend != &esp_mb_gcm)
        return;
    const struct mb_key *k = (const struct mb_key *)ops[i].key;
    memcpy(nonce[i % NONCES], k->salt, sizeof k->salt);
    memcpy(nonce[i % NONCES] + sizeof k->salt, esp_iv(&ops[i]), GCM_NONCE - sizeof k->salt);
}

/* Of the key: the round keys, and as many powers of the hash key (the highest stand first) as a packet of that length uses. What another
 * backend's key has there comes in vain. */
static inline void mb_fetch(const struct esp_op *op)
{
    const struct mb_key *k = (const struct mb_key *)op->key;
    size_t all = sizeof k->gcm, round_keys = 256, powers = ((size_t)op->text_len + 63) / 64 * 64 + 64;
    prefetch(k, offsetof(struct mb_key, gcm) + round_keys);
    if (powers > all - round_keys)
        powers = all - round_keys;
    prefetch((const uint8_t *)&k->gcm + all - powers, powers);
}

static void mb_begin(const struct esp_op *ops, size_t n, uint8_t nonce[NONCES][NONCE_ROOM])
{
    for (size_t i = 1; i < n && i < ESP_AHEAD; i++)
        if (ops[i].key != ops[i - 1].key)
            mb_fetch(&ops[i]);
    for (size_t i = 0; i < NONCES - 1; i++)
        mb_nonce(ops, i, n, nonce);
}

static inline void mb_look_ahead(const struct esp_op *ops, size_t i, size_t n, uint8_t nonce[NONCES][NONCE_ROOM])
{
    size_t ahead = i + ESP_AHEAD;
    if (ahead < n && ops[ahead].key != ops[ahead - 1].key)
        mb_fetch(&ops[ahead]);
    mb_nonce(ops, i + NONCES - 1, n, nonce);
}

static void mb_seal(struct crypto *c, struct esp_op *ops, size_t n)
{
    _Alignas(64) struct gcm_context_data ctx;
    _Alignas(64) uint8_t nonce[NONCES][NONCE_ROOM];
    (void)c;
    mb_begin(ops, n, nonce);
    for (size_t i = 0; i < n; i++) {
        struct esp_op *op = &ops[i];
        mb_look_ahead(ops, i, n, nonce);
        if (op->key->backend != &esp_mb_gcm)
            continue;
        const struct mb_key *k = (const struct mb_key *)op->key;
        k->seal(&k->gcm, &ctx, esp_text(op), esp_text(op), op->text_len, nonce[i % NONCES], op->pkt, ESP_HEADER,
                esp_icv(op), GCM_ICV);
        op->rc = RC_OK;
    }
}

static void mb_verify(struct esp_op *op, const uint8_t *icv) /* NULL is fine */
{
    if (op)
        op->rc = esp_icv_equal(icv, esp_icv(op), GCM_ICV) ? RC_OK : RC_AUTH;
}

/* A check value is compared one packet after it was made, for the same reason. */
static void mb_open(struct crypto *c, struct esp_op *ops, size_t n)
{
    _Alignas(64) struct gcm_context_data ctx;
    _Alignas(64) uint8_t nonce[NONCES][NONCE_ROOM], icv[2][GCM_ICV];
    struct esp_op *before = NULL;
    unsigned at = 0;
    (void)c;
    mb_begin(ops, n, nonce);
    for (size_t i = 0; i < n; i++) {
        struct esp_op *op = &ops[i];
        mb_look_ahead(ops, i, n, nonce);
        if (op->key->backend != &esp_mb_gcm)
            continue;
        const struct mb_key *k = (const struct mb_key *)op->key;
        k->open(&k->gcm, &ctx, esp_text(op), esp_text(op), op->text_len, nonce[i % NONCES], op->pkt, ESP_HEADER,
                icv[at], GCM_ICV);
        at = !at;
        mb_verify(before, icv[at]);
        before = op;
    }
    mb_verify(before, icv[!at]);
}

const struct esp_backend esp_mb_gcm = {
    .id = ESP_MB_GCM,
    .key_bytes = sizeof(struct mb_key),
    .expand = mb_expand,
    .release = mb_release,
    .seal = mb_seal,
    .open = mb_open,
};

/* ---- the managers ------------------------------------------------------------------------------- */

static const char *arch_name(IMB_ARCH arch)
{
    return arch == IMB_ARCH_AVX512 ? "avx512" : arch == IMB_ARCH_AVX2 ? "avx2" : arch == IMB_ARCH_SSE ? "sse" : "avx";
}

void esp_mb_init(struct crypto *c, const struct esp_backend **ret_gcm, const struct esp_backend **ret_hmac)
{
    /* Without the instructions version 1.3 would emulate AES, in software that is not constant-time. */
    const uint64_t need = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    IMB_ARCH arch = IMB_ARCH_NONE;
    IMB_MGR *wide = alloc_mb_mgr(0), *narrow = alloc_mb_mgr(0);
    if (wide && narrow) {
        init_mb_mgr_auto(wide, &arch);
        init_mb_mgr_sse(narrow);
    }
    if (!wide || !narrow || imb_get_errno(wide) != 0 || imb_get_errno(narrow) != 0 || arch == IMB_ARCH_NONE ||
        (wide->features & need) != need) {
        if (wide)
            free_mb_mgr(wide);
        if (narrow)
            free_mb_mgr(narrow);
        return;
    }
    c->esp.mb = wide;
    c->esp.mb_narrow = narrow;
    c->esp.mb_name = arch_name(arch);
    snprintf(c->esp.gcm_name, sizeof c->esp.gcm_name, "ipsec-mb (%s)", c->esp.mb_name);
    esp_mb_hmac_tune(c);
    *ret_gcm = &esp_mb_gcm;
    *ret_hmac = &esp_mb_hmac;
}

void esp_mb_free(struct crypto *c)
{
    if (c->esp.mb)
        free_mb_mgr(c->esp.mb);
    if (c->esp.mb_narrow)
        free_mb_mgr(c->esp.mb_narrow);
}

const char *esp_mb_version(void)
{
    return imb_get_version_str();
}

#else

#include "esp.h"

void esp_mb_init(struct crypto *c, const struct esp_backend **ret_gcm, const struct esp_backend **ret_hmac)
{
    (void)c, (void)ret_gcm, (void)ret_hmac;
}

void esp_mb_free(struct crypto *c)
{
    (void)c;
}

const char *esp_mb_version(void)
{
    return NULL;
}

#endif
