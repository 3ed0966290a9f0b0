/* The cipher with many keys; see keys.h. */
#include "keys.h"

#include <string.h>

#include "adit/pkt.h"
#include "adit/wire_ip.h"
#include "fatal.h"

#define RING 64

struct keys {
    struct crypto *crypto;
    struct esp_alg alg;
    struct esp_sizes sizes;
    uint32_t n;
    struct esp_key **out, **in;
    size_t batch, each;
    uint32_t text_len;
    uint64_t counter, dice;
    uint8_t *memory;
    struct esp_op op[RING];
};

struct keys *keys_new(struct esp_alg alg, uint32_t n)
{
    struct keys *k = calloc(1, sizeof *k);
    MUST(k != NULL);
    MUST(crypto_new(NULL, &k->crypto) == RC_OK);
    MUST(crypto_esp_sizes(alg, &k->sizes));
    k->alg = alg;
    k->n = n;
    k->dice = 88172645463325252u;
    k->out = calloc(n, sizeof(struct esp_key *));
    k->in = calloc(n, sizeof(struct esp_key *));
    MUST(k->out && k->in);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t keymat[ESP_KEYMAT_MAX] = {0};
        struct span s = span_of(keymat, (size_t)k->sizes.key_e + k->sizes.key_a);
        store_be32(keymat, i);
        MUST(crypto_esp_key_new(k->crypto, alg, s, &k->in[i]) == RC_OK); /* side by side, as those of an SA */
        store_be32(keymat, (i + n / 2) % n);
        MUST(crypto_esp_key_new(k->crypto, alg, s, &k->out[i]) == RC_OK);
    }
    return k;
}

void keys_free(struct keys *k)
{
    for (uint32_t i = 0; i < k->n; i++) {
        crypto_esp_key_free(k->in[i]);
        crypto_esp_key_free(k->out[i]);
    }
    crypto_free(k->crypto);
    free(k->in);
    free(k->out);
    free(k->memory);
    free(k);
}

void keys_resize(struct keys *k, uint32_t inner_size, size_t batch)
{
    k->batch = batch;
    k->text_len = wire_esp_text_len(inner_size, k->sizes.align);
    k->each = (PKT_HEADROOM + (size_t)inner_size + PKT_TAILROOM + 128 + 63) / 64 * 64;
    free(k->memory);
    MUST((k->memory = aligned_alloc(64, k->each * RING)) != NULL);
    memset(k->memory, 0x5a, k->each * RING);
}

/* What went out by key i comes in by another one's, as in looped.h. */
static void draw(struct keys *k)
{
    size_t head = ESP_HEADER + (size_t)k->sizes.iv;
    for (size_t i = 0; i < RING; i++) {
        k->dice ^= k->dice >> 12;
        k->dice ^= k->dice << 25;
        k->dice ^= k->dice >> 27;
        uint32_t key = (uint32_t)((k->dice * UINT64_C(0x2545f4914f6cdd1d) >> 32) * k->n >> 32);
        uint8_t *pkt = k->memory + i * k->each + PKT_HEADROOM - head;
        k->op[i] = (struct esp_op){.key = k->out[key], .pkt = pkt, .text_len = k->text_len};
        store_be32(pkt, key);
        store_be64(pkt + ESP_HEADER, k->counter++);
    }
}

void keys_pass(void *ctx, struct series *s)
{
    struct keys *k = ctx;
    draw(k);
    uint64_t begin = measure_begin();
    for (size_t i = 0; i < RING; i += k->batch)
        crypto_esp_seal(k->crypto, k->op + i, k->batch);
    measure_end(&s[0], begin, RING);
    for (size_t i = 0; i < RING; i++)
        k->op[i].key = k->in[(load_be32(k->op[i].pkt) + k->n / 2) % k->n];
    begin = measure_begin();
    for (size_t i = 0; i < RING; i += k->batch)
        crypto_esp_open(k->crypto, k->op + i, k->batch);
    measure_end(&s[1], begin, RING);
    for (size_t i = 0; i < RING; i++)
        MUST(k->op[i].rc == RC_OK);
}
