/* The packet pool: all buffers in one allocation, free ones on a stack, so that the buffer used last is used next (it is still in
 * the cache). Descriptors stand apart from the bytes: a pass over a vector of packets touches descriptors alone. */
#include "adit/pkt.h"

#include <stdlib.h>

#define SMALL_CAP (PKT_HEADROOM + PKT_SMALL + PKT_TAILROOM)
#define LARGE_CAP (PKT_HEADROOM + PKT_LARGE + PKT_TAILROOM)
/* Every descriptor and buffer starts on a line. */
#define DESCRIPTOR ((sizeof(struct pkt) + LINE - 1) / LINE * LINE)

struct stack {
    struct pkt **v;
    size_t n, cap;
};
struct pkt_pool {
    void *memory;
    uintptr_t first, end; /* where its descriptors lie */
    struct stack small, large;
};

static void fill(struct stack *s, size_t n, uint8_t *descriptors, uint8_t *bytes, uint32_t cap)
{
    s->cap = n;
    while (s->n < n) {
        struct pkt *p = (void *)(descriptors + s->n * DESCRIPTOR);
        *p = (struct pkt){.room = bytes + s->n * cap, .cap = cap};
        s->v[s->n++] = p;
    }
}

enum rc pkt_pool_new(size_t n_small, size_t n_large, struct pkt_pool **ret)
{
    size_t n = n_small + n_large, most = SIZE_MAX / 2 / (LARGE_CAP + DESCRIPTOR);
    if (n == 0 || n_small > most || n_large > most)
        return RC_RANGE;
    struct pkt_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return RC_NOMEM;
    pool->small.v = calloc(n, sizeof(struct pkt *));
    pool->memory = aligned_alloc(LINE, n * DESCRIPTOR + n_small * SMALL_CAP + n_large * LARGE_CAP);
    if (!pool->small.v || !pool->memory) {
        pkt_pool_free(pool);
        return RC_NOMEM;
    }
    pool->large.v = pool->small.v + n_small;
    uint8_t *descriptors = pool->memory, *bytes = descriptors + n * DESCRIPTOR;
    pool->first = (uintptr_t)descriptors;
    pool->end = (uintptr_t)bytes;
    fill(&pool->small, n_small, descriptors, bytes, SMALL_CAP);
    fill(&pool->large, n_large, descriptors + n_small * DESCRIPTOR, bytes + n_small * SMALL_CAP, LARGE_CAP);
    *ret = pool;
    return RC_OK;
}

void pkt_pool_free(struct pkt_pool *pool)
{
    if (!pool)
        return;
    free(pool->small.v);
    free(pool->memory);
    free(pool);
}

struct pkt *pkt_get(struct pkt_pool *pool, bool large)
{
    struct stack *s = large ? &pool->large : &pool->small;
    if (s->n == 0)
        return NULL;
    struct pkt *p = s->v[--s->n];
    *p = (struct pkt){.room = p->room, .cap = p->cap, .data = p->room + PKT_HEADROOM};
    return p;
}

void pkt_put(struct pkt_pool *pool, struct pkt *p)
{
    for (struct pkt *more; p; p = more) {
        struct stack *s = p->cap == LARGE_CAP ? &pool->large : &pool->small;
        bool ours = (uintptr_t)p >= pool->first && (uintptr_t)p < pool->end;
        more = p->more;
        p->more = NULL;
        if (ours && s->n < s->cap) /* a packet that is put twice must not become a write beyond the stack */
            s->v[s->n++] = p;
    }
}

size_t pkt_pool_available(const struct pkt_pool *pool, bool large)
{
    return large ? pool->large.n : pool->small.n;
}
