/* The cipher alone; see bare.h. */
#include "bare.h"

#ifdef ADIT_HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <string.h>

#include "adit/pkt.h"
#include "adit/wire_ip.h"
#include "fatal.h"

#define RING 64
#define WIDE_FROM 8 /* jobs from which on the widest manager is the quickest */

struct bare {
    struct esp_alg alg;
    struct esp_sizes sizes;
    size_t batch, text_len;
    uint64_t counter;
    IMB_MGR *mgr;
    uint8_t *at[RING];
    uint8_t *memory;
    uint8_t icv[RING][32];
    _Alignas(16) uint8_t aes_enc[16 * 15], aes_dec[16 * 15];
    _Alignas(64) uint8_t ipad[64], opad[64];
    _Alignas(64) struct gcm_key_data gcm;
};

static void expand_hmac(struct bare *b, const uint8_t *key, size_t n)
{
    uint8_t block[64];
    for (int pad = 0; pad < 2; pad++) {
        memset(block, pad ? 0x5c : 0x36, sizeof block);
        for (size_t i = 0; i < n; i++)
            block[i] ^= key[i];
        if (b->alg.integ == INTEG_HMAC_SHA1_96)
            IMB_SHA1_ONE_BLOCK(b->mgr, block, pad ? b->opad : b->ipad);
        else
            IMB_SHA256_ONE_BLOCK(b->mgr, block, pad ? b->opad : b->ipad);
    }
}

struct bare *bare_new(struct esp_alg alg, uint32_t inner_size, size_t batch)
{
    struct bare *b = aligned_alloc(64, (sizeof *b + 63) / 64 * 64);
    uint8_t key[64] = {1, 2, 3};
    MUST(b != NULL);
    memset(b, 0, sizeof *b);
    MUST(crypto_esp_sizes(alg, &b->sizes));
    b->alg = alg;
    b->batch = batch;
    b->text_len = wire_esp_text_len(inner_size, b->sizes.align);
    MUST((b->mgr = alloc_mb_mgr(0)) != NULL);
    if (alg.encr == ENCR_AES_GCM_16 || batch >= WIDE_FROM)
        init_mb_mgr_auto(b->mgr, NULL);
    else
        init_mb_mgr_sse(b->mgr);
    if (alg.encr == ENCR_AES_GCM_16 && alg.encr_bits == 256)
        IMB_AES256_GCM_PRE(b->mgr, key, &b->gcm);
    else if (alg.encr == ENCR_AES_GCM_16)
        IMB_AES128_GCM_PRE(b->mgr, key, &b->gcm);
    else {
        IMB_AES_KEYEXP_256(b->mgr, key, b->aes_enc, b->aes_dec);
        expand_hmac(b, key, b->sizes.key_a);
    }
    size_t each = PKT_HEADROOM + (size_t)inner_size + PKT_TAILROOM + 128;
    each = (each + 63) / 64 * 64;
    MUST((b->memory = aligned_alloc(64, each * RING)) != NULL);
    memset(b->memory, 0x5a, each * RING);
    for (size_t i = 0; i < RING; i++)
        b->at[i] = b->memory + i * each + PKT_HEADROOM;
    return b;
}

void bare_free(struct bare *b)
{
    if (!b)
        return;
    free_mb_mgr(b->mgr);
    free(b->memory);
    free(b);
}

static void gcm(struct bare *b, uint8_t *pkt, bool seal)
{
    struct gcm_context_data ctx;
    uint8_t nonce[12] = {9, 9, 9, 9}, *text = pkt + ESP_HEADER + b->sizes.iv, *icv = text + b->text_len;
    store_be64(nonce + 4, b->counter++);
    if (b->alg.encr_bits == 256 && seal)
        IMB_AES256_GCM_ENC(b->mgr, &b->gcm, &ctx, text, text, b->text_len, nonce, pkt, ESP_HEADER, icv, 16);
    else if (b->alg.encr_bits == 256)
        IMB_AES256_GCM_DEC(b->mgr, &b->gcm, &ctx, text, text, b->text_len, nonce, pkt, ESP_HEADER, icv, 16);
    else if (seal)
        IMB_AES128_GCM_ENC(b->mgr, &b->gcm, &ctx, text, text, b->text_len, nonce, pkt, ESP_HEADER, icv, 16);
    else
        IMB_AES128_GCM_DEC(b->mgr, &b->gcm, &ctx, text, text, b->text_len, nonce, pkt, ESP_HEADER, icv, 16);
}

static void job(struct bare *b, uint8_t *pkt, uint8_t *icv, bool seal)
{
    IMB_JOB *j = IMB_GET_NEXT_JOB(b->mgr);
    bool sha1 = b->alg.integ == INTEG_HMAC_SHA1_96, null = b->alg.encr == ENCR_NULL;
    uint8_t *text = pkt + ESP_HEADER + b->sizes.iv;
    j->cipher_mode = null ? IMB_CIPHER_NULL : IMB_CIPHER_CBC;
    j->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    j->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    j->enc_keys = b->aes_enc;
    j->dec_keys = b->aes_dec;
    j->key_len_in_bytes = 32;
    j->src = pkt;
    j->dst = text;
    j->iv = pkt + ESP_HEADER;
    j->iv_len_in_bytes = 16;
    j->cipher_start_src_offset_in_bytes = ESP_HEADER + b->sizes.iv;
    j->msg_len_to_cipher_in_bytes = b->text_len;
    j->hash_alg = sha1 ? IMB_AUTH_HMAC_SHA_1 : IMB_AUTH_HMAC_SHA_256;
    j->hash_start_src_offset_in_bytes = 0;
    j->msg_len_to_hash_in_bytes = ESP_HEADER + b->sizes.iv + b->text_len;
    j->auth_tag_output = seal ? text + b->text_len : icv;
    j->auth_tag_output_len_in_bytes = b->sizes.icv;
    j->u.HMAC._hashed_auth_key_xor_ipad = b->ipad;
    j->u.HMAC._hashed_auth_key_xor_opad = b->opad;
    for (j = IMB_SUBMIT_JOB_NOCHECK(b->mgr); j; j = IMB_GET_COMPLETED_JOB(b->mgr))
        MUST(j->status == IMB_STATUS_COMPLETED);
}

static void run(struct bare *b, size_t from, size_t offset, bool seal)
{
    for (size_t i = from; i < from + b->batch; i++)
        if (b->alg.encr == ENCR_AES_GCM_16)
            gcm(b, b->at[i] + offset, seal);
        else
            job(b, b->at[i] + offset, b->icv[i], seal);
    if (b->alg.encr != ENCR_AES_GCM_16)
        for (IMB_JOB *j; (j = IMB_FLUSH_JOB(b->mgr)) != NULL;)
            MUST(j->status == IMB_STATUS_COMPLETED);
}

void bare_pass(void *ctx, struct series *s)
{
    struct bare *b = ctx;
    for (int k = 0; k < 2; k++) { /* out: the inner packet at PKT_HEADROOM; in: the SPI */
        size_t back = k == 0 ? ESP_HEADER + (size_t)b->sizes.iv : 0;
        uint64_t begin = measure_begin();
        for (size_t i = 0; i < RING; i += b->batch)
            run(b, i, 0 - back, k == 0);
        measure_end(&s[k], begin, RING);
    }
}

#else

struct bare *bare_new(struct esp_alg alg, uint32_t inner_size, size_t batch)
{
    (void)alg, (void)inner_size, (void)batch;
    return NULL;
}
void bare_free(struct bare *b)
{
    (void)b;
}
void bare_pass(void *b, struct series *s)
{
    (void)b, (void)s;
}

#endif
