/* crypto/arena: guarded memory for secrets. One mapping of libsodium's (guard pages, canary, locked and left out of core
 * dumps as far as RLIMIT_MEMLOCK goes, which is not an error) holds a slab of many objects: a mapping per secret would
 * exhaust the kernel's limit of mappings at some ten thousand SAs. */
#include "adit/crypto.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#define ALIGN 64 /* of sizes; libsodium ends a mapping with the object, so this aligns the addresses too */
#define SLAB_MIN ((size_t)16 << 10)
#define SLAB_MAX ((size_t)1 << 20)

struct slab {
    struct slab *next;
    void *memory;
};
struct unused { /* lies in an object that is not handed out */
    struct unused *next;
};
struct arena {
    size_t size, max, used, total;
    struct unused *unused;
    struct slab *slabs;
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

/* Slabs double, so a small arena stays small and a large one has few mappings. */
static bool arena_grow(struct arena *a)
{
    size_t bytes = a->total * a->size;
    bytes = bytes < SLAB_MIN ? SLAB_MIN : bytes > SLAB_MAX ? SLAB_MAX : bytes;
    size_t n = bytes / a->size ? bytes / a->size : 1;
    if (n > a->max - a->total)
        n = a->max - a->total;
    struct slab *slab = n ? malloc(sizeof *slab) : NULL;
    if (!slab)
        return false;
    slab->memory = sodium_malloc(n * a->size);
    if (!slab->memory) {
        free(slab);
        return false;
    }
    memset(slab->memory, 0, n * a->size);
    slab->next = a->slabs;
    a->slabs = slab;
    a->total += n;
    for (size_t i = n; i-- > 0;) {
        struct unused *u = (void *)((uint8_t *)slab->memory + i * a->size);
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
    for (struct slab *next, *s = a->slabs; s; s = next) {
        next = s->next;
        sodium_free(s->memory); /* wipes, and stops the program if the canary was overrun */
        free(s);
    }
    free(a);
}
