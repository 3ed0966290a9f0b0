#include "handoff.h"

#include <stdatomic.h>
#include <stdlib.h>

/* What different threads write lies on different lines. */
struct ring {
    _Alignas(LINE) atomic_size_t in;  /* packets ever shown */
    size_t put, back;                 /* the writer's own: ever put in, and taken back */
    _Alignas(LINE) atomic_size_t out; /* packets ever done with, by the reader */
    _Alignas(LINE) struct pkt *slot[HANDOFF_SLOTS];
};
struct sleeper {
    _Alignas(LINE) atomic_bool asleep;
};
struct handoff {
    unsigned members;
    struct handoff_hooks hooks;
    struct sleeper *sleeper; /* by member */
    struct ring *ring;       /* from * members + to */
    void *memory;
};

static struct ring *ring_of(const struct handoff *h, unsigned from, unsigned to)
{
    return &h->ring[from * h->members + to];
}

enum rc handoff_new(unsigned members, const struct handoff_hooks *hooks, struct handoff **ret)
{
    struct handoff *h = calloc(1, sizeof *h);
    size_t pairs = (size_t)members * members;
    /* zero as it is: what no packet ever passes takes no memory */
    void *memory = calloc(1, pairs * sizeof(struct ring) + members * sizeof(struct sleeper) + LINE);
    if (!h || !memory) {
        free(h);
        free(memory);
        return RC_NOMEM;
    }
    h->members = members;
    h->hooks = *hooks;
    h->memory = memory;
    h->ring = (void *)(((uintptr_t)memory + LINE - 1) / LINE * LINE);
    h->sleeper = (void *)(h->ring + pairs);
    *ret = h;
    return RC_OK;
}

void handoff_free(struct handoff *h)
{
    if (!h)
        return;
    free(h->memory);
    free(h);
}

unsigned handoff_members(const struct handoff *h)
{
    return h->members;
}

/* ---- the writer */

bool handoff_put(struct handoff *h, unsigned from, unsigned to, struct pkt *p)
{
    struct ring *r = ring_of(h, from, to);
    if (r->put - r->back == HANDOFF_SLOTS)
        return false;
    r->slot[r->put++ % HANDOFF_SLOTS] = p;
    return true;
}

/* In one order for all: `in` moves, then `asleep` is read here; `asleep` is set, then `in` is read in handoff_sleep(). One of the
 * two sees what the other did. */
void handoff_publish(struct handoff *h, unsigned from)
{
    for (unsigned to = 0; to < h->members; to++) {
        struct ring *r = ring_of(h, from, to);
        if (r->put == atomic_load_explicit(&r->in, memory_order_relaxed))
            continue;
        atomic_store(&r->in, r->put);
        if (atomic_load(&h->sleeper[to].asleep) && atomic_exchange(&h->sleeper[to].asleep, false))
            h->hooks.wake(h->hooks.ctx, to);
    }
}

void handoff_reclaim(struct handoff *h, unsigned from, struct pkt_pool *pool)
{
    for (unsigned to = 0; to < h->members; to++) {
        struct ring *r = ring_of(h, from, to);
        for (size_t out = atomic_load_explicit(&r->out, memory_order_acquire); r->back != out; r->back++)
            pkt_put(pool, r->slot[r->back % HANDOFF_SLOTS]);
    }
}

/* ---- the reader */

size_t handoff_look(struct handoff *h, unsigned from, unsigned to, struct pkt **ret, size_t max)
{
    const struct ring *r = ring_of(h, from, to);
    size_t out = atomic_load_explicit(&r->out, memory_order_relaxed), n = 0;
    size_t in = atomic_load_explicit(&r->in, memory_order_acquire);
    for (; n < max && out + n != in; n++)
        ret[n] = r->slot[(out + n) % HANDOFF_SLOTS];
    return n;
}

void handoff_done(struct handoff *h, unsigned from, unsigned to, size_t n)
{
    struct ring *r = ring_of(h, from, to);
    size_t out = atomic_load_explicit(&r->out, memory_order_relaxed);
    atomic_store_explicit(&r->out, out + n, memory_order_release);
}

bool handoff_sleep(struct handoff *h, unsigned to)
{
    atomic_store(&h->sleeper[to].asleep, true);
    for (unsigned from = 0; from < h->members; from++) {
        const struct ring *r = ring_of(h, from, to);
        if (atomic_load(&r->in) == atomic_load_explicit(&r->out, memory_order_relaxed))
            continue;
        handoff_awake(h, to);
        return false;
    }
    return true;
}

void handoff_awake(struct handoff *h, unsigned to)
{
    atomic_store_explicit(&h->sleeper[to].asleep, false, memory_order_relaxed);
}
