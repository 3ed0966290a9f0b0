/* crypto/arena: guarded memory for secrets. One mapping (guard pages, locked as far as RLIMIT_MEMLOCK goes, which is not an error, and
 * left out of core dumps) holds a piece of many objects: a mapping per secret would exhaust the kernel's limit of mappings at some
 * ten thousand SAs. Small pieces are libsodium's; large ones are one page of PAGE_HUGE. */
#include "adit/crypto.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#define ALIGN 64 /* of sizes; a mapping ends with the last object, so this aligns the addresses too */
#define SLAB_MIN ((size_t)16 << 10)
#define SLAB_MAX PAGE_HUGE

struct piece {
    struct piece *next;
    bool is_huge;
    size_t bytes;
    void *memory;
};
struct unused { /* lies in an object that is not handed out */
    struct unused *next;
};
struct arena {
    size_t size, max, used, total;
    struct unused *unused;
    struct piece *pieces;
};

enum rc crypto_arena_new(size_t object_size, size_t max, struct arena **ret)
{
    if (!object_size || !max || object_size > SIZE_MAX / 2 / max || object_size > SLAB_MAX)
        return RC_RANGE;
    if (sodium_init() < 0)
        return RC_CRYPTO;
    struct arena *a = calloc(1, sizeof *a);
    if (!a)
        return RC_NOMEM;
    a->size = (object_size + ALIGN - 1) / ALIGN * ALIGN;
    a->max = max;
    *ret = a;
    return RC_OK;
}

/* The objects end with the page: what is written behind the last one hits the guard. */
static void *huge_get(size_t n)
{
    uint8_t *p = pages_guarded_get();
    if (!p)
        return NULL;
    (void)sodium_mlock(p, PAGE_HUGE); /* and out of core dumps */
    return p + PAGE_HUGE - n;
}

static void huge_put(void *memory, size_t n)
{
    uint8_t *p = (uint8_t *)memory + n - PAGE_HUGE;
    (void)sodium_munlock(p, PAGE_HUGE); /* wipes */
    pages_guarded_put(p);
}

/* Pieces double, so a small arena stays small and a large one has few mappings. */
static bool arena_grow(struct arena *a)
{
    size_t bytes = a->total * a->size;
    bytes = bytes < SLAB_MIN ? SLAB_MIN : bytes > SLAB_MAX ? SLAB_MAX : bytes;
    size_t n = bytes / a->size ? bytes / a->size : 1;
    if (n > a->max - a->total)
        n = a->max - a->total;
    struct piece *piece = n ? malloc(sizeof *piece) : NULL;
    if (!piece)
        return false;
    *piece = (struct piece){.next = a->pieces, .bytes = n * a->size};
    piece->is_huge = piece->bytes > PAGE_HUGE / 2;
    piece->memory = piece->is_huge ? huge_get(piece->bytes) : sodium_malloc(piece->bytes);
    if (!piece->memory) {
        free(piece);
        return false;
    }
    if (!piece->is_huge)
        memset(piece->memory, 0, piece->bytes); /* libsodium's garbage */
    a->pieces = piece;
    a->total += n;
    for (size_t i = n; i-- > 0;) {
        struct unused *u = (void *)((uint8_t *)piece->memory + i * a->size);
        u->next = a->unused;
        a->unused = u;
    }
    return true;
}

void *crypto_arena_get(struct arena *a)
{
    if (!a->unused && !arena_grow(a))
        return NULL;
    struct unused *u = a->unused;
    a->unused = u->next;
    u->next = NULL; /* the rest was wiped when it came back */
    a->used++;
    return u;
}

void crypto_arena_put(struct arena *a, void *object)
{
    if (!object)
        return;
    assert(a->used > 0);
    wipe(object, a->size);
    struct unused *u = object;
    u->next = a->unused;
    a->unused = u;
    a->used--;
}

size_t crypto_arena_used(const struct arena *a)
{
    return a->used;
}

void crypto_arena_free(struct arena *a)
{
    if (!a)
        return;
    assert(a->used == 0);
    for (struct piece *next, *p = a->pieces; p; p = next) {
        next = p->next;
        if (p->is_huge)
            huge_put(p->memory, p->bytes);
        else
            sodium_free(p->memory); /* wipes, and stops the program if the canary was overrun */
        free(p);
    }
    free(a);
}
