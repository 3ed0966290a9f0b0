/* crypto/esp_mb_hmac: AES-CBC (RFC 3602) and NULL (RFC 2410) with HMAC (RFC 2404, RFC 4868) by ipsec-mb's job manager, which works on
 * as many packets side by side as the processor has lanes, whatever their keys. Two managers: the widest one there is, and the one
 * of SSE with the SHA instructions, which is quicker as long as the wide one's lanes would run half empty. A packet alone
 * is for OpenSSL where that is quicker still. */
#ifdef ADIT_HAVE_IPSEC_MB

/* The hashes by name are deprecated; but no others go on from a state that is given. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "esp_mb.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "aes.h"

#define LANES 16 /* of the widest manager; a last group of fewer packets is decided on its own */
#define CHUNK 64 /* ops between two flushes */
#define BLOCK_MAX 128

struct hmac_key {
    struct esp_key common;
    _Alignas(64) uint8_t inner[64], outer[64]; /* hash states after HMAC's first block, RFC 2104 4 */
    _Alignas(16) uint8_t enc[16 * 15], dec[16 * 15];
};

static const IMB_HASH_ALG hashes[HASHES] = {
    [HASH_SHA1] = IMB_AUTH_HMAC_SHA_1,
    [HASH_SHA256] = IMB_AUTH_HMAC_SHA_256,
    [HASH_SHA384] = IMB_AUTH_HMAC_SHA_384,
    [HASH_SHA512] = IMB_AUTH_HMAC_SHA_512,
};

/* ---- keys --------------------------------------------------------------------------------------- */

/* RFC 2104 2. ESP's keys are as long as the hash, never longer than a block. */
static void expand_pad(IMB_MGR *m, const struct esp_key *key, const uint8_t *key_a, uint8_t pad, uint8_t *ret)
{
    uint8_t block[BLOCK_MAX];
    memset(block, pad, sizeof block);
    for (size_t i = 0; i < key->sizes.key_a; i++)
        block[i] ^= key_a[i];
    switch (key->integ->hash) {
    case HASH_SHA1: IMB_SHA1_ONE_BLOCK(m, block, ret); break;
    case HASH_SHA256: IMB_SHA256_ONE_BLOCK(m, block, ret); break;
    case HASH_SHA384: IMB_SHA384_ONE_BLOCK(m, block, ret); break;
    case HASH_SHA512: IMB_SHA512_ONE_BLOCK(m, block, ret); break;
    case HASHES: break;
    }
    wipe(block, sizeof block);
}

static enum rc hmac_expand(struct crypto *c, struct esp_key *key, const uint8_t *key_e, const uint8_t *key_a)
{
    struct hmac_key *k = (struct hmac_key *)key;
    IMB_MGR *m = c->esp.mb_narrow;
    expand_pad(m, key, key_a, 0x36, k->inner);
    expand_pad(m, key, key_a, 0x5c, k->outer);
    switch (key->encr->bits) {
    case 0: break; /* NULL */
    case 128: IMB_AES_KEYEXP_128(m, key_e, k->enc, k->dec); break;
    case 192: IMB_AES_KEYEXP_192(m, key_e, k->enc, k->dec); break;
    case 256: IMB_AES_KEYEXP_256(m, key_e, k->enc, k->dec); break;
    default: return RC_UNSUPPORTED;
    }
    return RC_OK;
}

static void hmac_release(struct esp_key *key)
{
    (void)key; /* nothing beyond the arena's object */
}

/* ---- jobs --------------------------------------------------------------------------------------- */

static void job_fill(IMB_JOB *j, struct esp_op *op, enum direction dir, uint8_t *icv)
{
    const struct hmac_key *k = (const struct hmac_key *)op->key;
    const struct esp_key *key = &k->common;
    size_t head = ESP_HEADER + (size_t)key->sizes.iv;
    j->user_data = op;
    j->cipher_mode = key->encr->bits ? IMB_CIPHER_CBC : IMB_CIPHER_NULL;
    j->cipher_direction = dir == SEAL ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    j->chain_order = dir == SEAL ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    j->enc_keys = k->enc;
    j->dec_keys = k->dec;
    j->key_len_in_bytes = key->encr->key;
    j->src = op->pkt;
    j->dst = op->pkt + head;
    j->iv = esp_iv(op);
    j->iv_len_in_bytes = key->sizes.iv;
    j->cipher_start_src_offset_in_bytes = head;
    j->msg_len_to_cipher_in_bytes = op->text_len;
    j->hash_alg = hashes[key->integ->hash];
    j->hash_start_src_offset_in_bytes = 0; /* RFC 4303 2.8: from the SPI on, IV and ciphertext included */
    j->msg_len_to_hash_in_bytes = head + op->text_len;
    j->auth_tag_output = icv;
    j->auth_tag_output_len_in_bytes = key->sizes.icv;
    j->u.HMAC._hashed_auth_key_xor_ipad = k->inner;
    j->u.HMAC._hashed_auth_key_xor_opad = k->outer;
}

static void job_done(const IMB_JOB *j)
{
    struct esp_op *op = j->user_data;
    op->rc = j->status == IMB_STATUS_COMPLETED ? RC_OK : RC_CRYPTO;
}

static void job_submit(IMB_MGR *m, struct esp_op *op, enum direction dir, uint8_t *icv)
{
    job_fill(IMB_GET_NEXT_JOB(m), op, dir, icv);
    for (IMB_JOB *j = IMB_SUBMIT_JOB_NOCHECK(m); j; j = IMB_GET_COMPLETED_JOB(m))
        job_done(j);
}

static void jobs_flush(IMB_MGR *m)
{
    for (IMB_JOB *j; (j = IMB_FLUSH_JOB(m)) != NULL;)
        job_done(j);
}

/* ---- a packet alone: OpenSSL -------------------------------------------------------------------- */

/* The hash of one block, whose state is given, and the text. */
static bool hash_sha1(const uint8_t *state, struct span text, uint8_t *ret)
{
    SHA_CTX x;
    uint32_t h[5];
    bool ok = SHA1_Init(&x);
    memcpy(h, state, sizeof h);
    x.h0 = h[0], x.h1 = h[1], x.h2 = h[2], x.h3 = h[3], x.h4 = h[4];
    x.Nl = SHA_CBLOCK * 8;
    ok = ok && SHA1_Update(&x, text.p, text.n) && SHA1_Final(ret, &x);
    wipe(&x, sizeof x);
    wipe(h, sizeof h);
    return ok;
}

static bool hash_sha256(const uint8_t *state, struct span text, uint8_t *ret)
{
    SHA256_CTX x;
    bool ok = SHA256_Init(&x);
    memcpy(x.h, state, sizeof x.h);
    x.Nl = SHA256_CBLOCK * 8;
    ok = ok && SHA256_Update(&x, text.p, text.n) && SHA256_Final(ret, &x);
    wipe(&x, sizeof x);
    return ok;
}

static bool hash_sha512(enum hash hash, const uint8_t *state, struct span text, uint8_t *ret)
{
    SHA512_CTX x; /* the two differ in their starts and in the octets given out */
    bool ok = hash == HASH_SHA384 ? SHA384_Init(&x) : SHA512_Init(&x);
    memcpy(x.h, state, sizeof x.h);
    x.Nl = SHA512_CBLOCK * 8;
    ok = ok && SHA512_Update(&x, text.p, text.n) && SHA512_Final(ret, &x);
    wipe(&x, sizeof x);
    return ok;
}

static bool hash_on(enum hash hash, const uint8_t *state, struct span text, uint8_t *ret)
{
    switch (hash) {
    case HASH_SHA1: return hash_sha1(state, text, ret);
    case HASH_SHA256: return hash_sha256(state, text, ret);
    default: return hash_sha512(hash, state, text, ret);
    }
}

/* What a job does, at once. */
static void lone_run(struct crypto *c, struct esp_op *op, enum direction dir, uint8_t *icv)
{
    static const uint8_t size[HASHES] = {SHA_DIGEST_LENGTH, SHA256_DIGEST_LENGTH, SHA384_DIGEST_LENGTH,
                                         SHA512_DIGEST_LENGTH};
    const struct hmac_key *k = (const struct hmac_key *)op->key;
    const struct esp_key *key = &k->common;
    enum hash hash = key->integ->hash;
    const struct span covered = span_of(op->pkt, ESP_HEADER + (size_t)key->sizes.iv + op->text_len);
    EVP_CIPHER_CTX *ctx = key->encr->cipher == CIPHER_NONE ? NULL : c->cipher[key->encr->cipher];
    uint8_t mac[HASH_MAX];
    bool ok = !ctx || aes_key(ctx, k->enc, dir); /* the first round keys are the key: FIPS 197 5.2 */
    if (ok && ctx && dir == SEAL)
        ok = aes_cbc(ctx, SEAL, esp_iv(op), esp_text(op), op->text_len) == RC_OK;
    ok = ok && hash_on(hash, k->inner, covered, mac) && hash_on(hash, k->outer, span_of(mac, size[hash]), mac);
    if (ok && ctx && dir == OPEN)
        ok = aes_cbc(ctx, OPEN, esp_iv(op), esp_text(op), op->text_len) == RC_OK;
    if (ok)
        memcpy(icv, mac, key->sizes.icv);
    op->rc = ok ? RC_OK : crypto_failed();
}

/* ---- batches ------------------------------------------------------------------------------------ */

struct share {
    bool alone;  /* there is only one */
    size_t wide; /* so many to the wide manager: all full groups of lanes, and the rest if it is worth it */
};

static void share_out(const struct crypto *c, const struct esp_op *ops, size_t n, struct share ret[HASHES])
{
    size_t count[HASHES] = {0};
    for (size_t i = 0; i < n; i++)
        if (ops[i].key->backend == &esp_mb_hmac)
            count[ops[i].key->integ->hash]++;
    for (int h = 0; h < HASHES; h++) {
        size_t rest = count[h] % LANES, from = c->esp.wide_from[h];
        ret[h].alone = count[h] == 1;
        ret[h].wide = from == 0 || count[h] < from ? 0 : count[h] - (rest < from ? rest : 0);
    }
}

static inline void key_prefetch(const struct esp_op *op, const struct esp_op *end)
{
    if (end - op > ESP_AHEAD && op[ESP_AHEAD].key != op[ESP_AHEAD - 1].key &&
        op[ESP_AHEAD].key->backend == &esp_mb_hmac)
        prefetch(op[ESP_AHEAD].key, sizeof(struct hmac_key));
}

/* icv: where the computed check values go when opening; NULL: into the packets. */
static void run(struct crypto *c, struct esp_op *ops, size_t n, enum direction dir, uint8_t (*icv)[HASH_MAX])
{
    IMB_MGR *wide = c->esp.mb, *narrow = c->esp.mb_narrow;
    struct share share[HASHES];
    share_out(c, ops, n, share);
    for (size_t i = 0; i < n; i++) {
        struct esp_op *op = &ops[i];
        key_prefetch(op, ops + n);
        if (op->key->backend != &esp_mb_hmac)
            continue;
        enum hash hash = op->key->integ->hash;
        bool to_wide = share[hash].wide > 0;
        uint8_t *to = icv ? icv[i] : esp_icv(op);
        if (!esp_is_aligned(op)) {
            op->rc = dir == SEAL ? RC_RANGE : RC_AUTH;
        } else if (share[hash].alone && op->key->encr->bits && op->text_len >= c->esp.lone_from[dir][hash]) {
            lone_run(c, op, dir, to);
        } else {
            share[hash].wide -= to_wide;
            job_submit(to_wide ? wide : narrow, op, dir, to);
        }
    }
    jobs_flush(narrow);
    jobs_flush(wide);
}

static void hmac_seal(struct crypto *c, struct esp_op *ops, size_t n)
{
    for (size_t at = 0; at < n; at += CHUNK)
        run(c, ops + at, n - at < CHUNK ? n - at : CHUNK, SEAL, NULL);
}

static void hmac_open(struct crypto *c, struct esp_op *ops, size_t n)
{
    uint8_t icv[CHUNK][HASH_MAX];
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;
        run(c, ops + at, count, OPEN, icv);
        for (size_t i = 0; i < count; i++) {
            struct esp_op *op = &ops[at + i];
            if (op->key->backend == &esp_mb_hmac && op->rc == RC_OK &&
                !esp_icv_equal(icv[i], esp_icv(op), op->key->sizes.icv))
                op->rc = RC_AUTH;
        }
    }
}

const struct esp_backend esp_mb_hmac = {
    .id = ESP_MB_HMAC,
    .key_bytes = sizeof(struct hmac_key),
    .expand = hmac_expand,
    .release = hmac_release,
    .seal = hmac_seal,
    .open = hmac_open,
};

/* ---- which manager ------------------------------------------------------------------------------ */

#define TRY_TEXT 1024
#define TRY_ROUNDS 5

static uint64_t ticks(void)
{
    return __builtin_ia32_rdtsc(); /* only to compare two runs with each other: no clock */
}

/* m NULL: OpenSSL. */
static uint64_t try_one(struct crypto *c, IMB_MGR *m, enum direction dir, struct esp_op *ops, size_t n)
{
    uint64_t best = UINT64_MAX;
    for (int round = 0; round <= TRY_ROUNDS; round++) { /* the first one warms up */
        uint64_t t = ticks();
        for (size_t i = 0; i < n; i++) {
            if (m)
                job_submit(m, &ops[i], dir, esp_icv(&ops[i]));
            else
                lone_run(c, &ops[i], dir, esp_icv(&ops[i]));
        }
        if (m)
            jobs_flush(m);
        t = ticks() - t;
        if (round > 0 && t < best)
            best = t;
    }
    return best;
}

static void tune_hash(struct crypto *c, enum hash hash, uint16_t integ)
{
    static const uint8_t tries[] = {2 * LANES, LANES, 12, 8}; /* below 8 the wide one has lost everywhere */
    static const uint8_t zeros[64];
    uint8_t pkt[2 * LANES][ESP_HEADER + CBC_BLOCK + TRY_TEXT + HASH_MAX] = {{0}};
    struct hmac_key key = {.common = {.encr = encr_alg(ENCR_AES_CBC, 256), .integ = integ_alg(integ)}};
    struct esp_op ops[2 * LANES];
    if (!crypto_esp_sizes((struct esp_alg){ENCR_AES_CBC, 256, integ}, &key.common.sizes) ||
        hmac_expand(c, &key.common, zeros, zeros) != RC_OK)
        return;
    for (size_t i = 0; i < 2 * LANES; i++)
        ops[i] = (struct esp_op){.key = &key.common, .pkt = pkt[i], .text_len = TRY_TEXT};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        if (try_one(c, c->esp.mb, SEAL, ops, tries[i]) >= try_one(c, c->esp.mb_narrow, SEAL, ops, tries[i]))
            break;
        c->esp.wide_from[hash] = tries[i];
    }
    for (int dir = OPEN; dir <= SEAL; dir++) {
        uint32_t *from = &c->esp.lone_from[dir][hash];
        *from = UINT32_MAX;
        for (uint32_t text = TRY_TEXT; text >= 64; text /= 2) {
            ops[0].text_len = text;
            if (try_one(c, NULL, dir, ops, 1) >= try_one(c, c->esp.mb_narrow, dir, ops, 1))
                break;
            *from = text;
        }
    }
}

/* "512/512/64/64": of each hash. */
static const char *octets(char ret[48], const uint32_t *from)
{
    size_t n = 0;
    for (int h = 0; h < HASHES; h++)
        n += (size_t)snprintf(ret + n, 48 - n, from[h] == UINT32_MAX ? "%snever" : "%s%u", h ? "/" : "", from[h]);
    return ret;
}

void esp_mb_hmac_tune(struct crypto *c)
{
    tune_hash(c, HASH_SHA1, INTEG_HMAC_SHA1_96);
    tune_hash(c, HASH_SHA256, INTEG_HMAC_SHA2_256_128);
    tune_hash(c, HASH_SHA384, INTEG_HMAC_SHA2_384_192);
    tune_hash(c, HASH_SHA512, INTEG_HMAC_SHA2_512_256);
    char from[HASHES][8], seal[48], open[48];
    for (int h = 0; h < HASHES; h++)
        snprintf(from[h], sizeof from[h], c->esp.wide_from[h] ? "%u" : "never", (unsigned)c->esp.wide_from[h]);
    snprintf(
        c->esp.hmac_name, sizeof c->esp.hmac_name,
        "ipsec-mb (sse; %s from %s/%s/%s/%s packets with sha1/256/384/512; one alone by openssl from %s octets sealed, "
        "%s opened)",
        c->esp.mb_name, from[HASH_SHA1], from[HASH_SHA256], from[HASH_SHA384], from[HASH_SHA512],
        octets(seal, c->esp.lone_from[SEAL]), octets(open, c->esp.lone_from[OPEN]));
}

#endif
