/* crypto/esp_mb: ESP by Intel's ipsec-mb: AES-GCM through the manager's direct calls, which are synchronous and have a
 * quarter of OpenSSL's fixed cost. ADIT_HAVE_IPSEC_MB unset: empty. */
#include "esp.h"

#ifdef ADIT_HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <stdlib.h>

#include "aes.h"

struct mb_key {
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

/* RFC 4106 4: nonce = salt | IV. */
static void mb_nonce(const struct mb_key *k, const struct esp_op *op, uint8_t ret[GCM_NONCE])
{
    memcpy(ret, k->salt, sizeof k->salt);
    memcpy(ret + sizeof k->salt, esp_iv(op), GCM_NONCE - sizeof k->salt);
}

static void mb_seal(struct crypto *c, struct esp_op *ops, size_t n)
{
    _Alignas(64) struct gcm_context_data ctx;
    uint8_t nonce[GCM_NONCE];
    (void)c;
    for (struct esp_op *op = ops; op < ops + n; op++) {
        const struct mb_key *k = (const struct mb_key *)op->key;
        mb_nonce(k, op, nonce);
        k->seal(&k->gcm, &ctx, esp_text(op), esp_text(op), op->text_len, nonce, op->pkt, ESP_HEADER, esp_icv(op),
                GCM_ICV);
        op->rc = RC_OK;
    }
}

static void mb_open(struct crypto *c, struct esp_op *ops, size_t n)
{
    _Alignas(64) struct gcm_context_data ctx;
    uint8_t nonce[GCM_NONCE], icv[GCM_ICV];
    (void)c;
    for (struct esp_op *op = ops; op < ops + n; op++) {
        const struct mb_key *k = (const struct mb_key *)op->key;
        mb_nonce(k, op, nonce);
        k->open(&k->gcm, &ctx, esp_text(op), esp_text(op), op->text_len, nonce, op->pkt, ESP_HEADER, icv, GCM_ICV);
        op->rc = crypto_equal(span_of(icv, GCM_ICV), span_of(esp_icv(op), GCM_ICV)) ? RC_OK : RC_AUTH;
    }
}

static const char *mb_gcm_name(const struct crypto *c)
{
    return c->esp.mb_name;
}

static const struct esp_backend esp_mb = {mb_expand, mb_release, mb_seal, mb_open, mb_gcm_name};

static const char *mb_arch_name(IMB_ARCH arch)
{
    return arch == IMB_ARCH_AVX512 ? "ipsec-mb (avx512)"
           : arch == IMB_ARCH_AVX2 ? "ipsec-mb (avx2)"
           : arch == IMB_ARCH_SSE  ? "ipsec-mb (sse)"
                                   : "ipsec-mb";
}

const struct esp_backend *esp_mb_init(struct crypto *c)
{
    IMB_ARCH arch = IMB_ARCH_NONE;
    IMB_MGR *m = alloc_mb_mgr(0);
    if (!m)
        return NULL;
    init_mb_mgr_auto(m, &arch);
    /* Without the instructions version 1.3 would emulate AES, in software that is not constant-time. */
    const uint64_t need = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    if (imb_get_errno(m) != 0 || arch == IMB_ARCH_NONE || (m->features & need) != need) {
        free_mb_mgr(m);
        return NULL;
    }
    c->esp.mb = m;
    c->esp.mb_name = mb_arch_name(arch);
    return &esp_mb;
}

void esp_mb_free(struct crypto *c)
{
    if (c->esp.mb)
        free_mb_mgr(c->esp.mb);
}

size_t esp_mb_key_bytes(void)
{
    return sizeof(struct mb_key);
}

const char *esp_mb_version(void)
{
    return imb_get_version_str();
}

#else

const struct esp_backend *esp_mb_init(struct crypto *c)
{
    (void)c;
    return NULL;
}

void esp_mb_free(struct crypto *c)
{
    (void)c;
}

size_t esp_mb_key_bytes(void)
{
    return 0;
}

const char *esp_mb_version(void)
{
    return NULL;
}

#endif
