/* Binary heap of timers by deadline; a timer knows its place, so that it can be moved and cancelled. */
#include "adit/base.h"

#include <stdlib.h>

static void place(struct heap *h, size_t i, struct timer *t)
{
    h->v[i] = t;
    t->index = i + 1;
}

static void up(struct heap *h, size_t i)
{
    struct timer *t = h->v[i];
    for (; i && h->v[(i - 1) / 2]->at > t->at; i = (i - 1) / 2)
        place(h, i, h->v[(i - 1) / 2]);
    place(h, i, t);
}

static void down(struct heap *h, size_t i)
{
    struct timer *t = h->v[i];
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->v[child + 1]->at < h->v[child]->at)
            child++;
        if (h->v[child]->at >= t->at)
            break;
        place(h, i, h->v[child]);
    }
    place(h, i, t);
}

static void settle(struct heap *h, size_t i)
{
    struct timer *t = h->v[i];
    up(h, i);
    down(h, t->index - 1);
}

enum rc heap_set(struct heap *h, struct timer *t, uint64_t at)
{
    if (at == NEVER) {
        heap_cancel(h, t);
        return RC_OK;
    }
    if (!t->index) {
        if (h->n == h->cap) {
            size_t cap = h->cap ? h->cap * 2 : 64;
            struct timer **v = realloc(h->v, cap * sizeof(struct timer *));
            if (!v)
                return RC_NOMEM;
            h->v = v;
            h->cap = cap;
        }
        place(h, h->n++, t);
    }
    t->at = at;
    settle(h, t->index - 1);
    return RC_OK;
}

void heap_cancel(struct heap *h, struct timer *t)
{
    if (t->index) {
        size_t i = t->index - 1;
        struct timer *last = h->v[--h->n];
        if (last != t) {
            place(h, i, last);
            settle(h, i);
        }
    }
    t->index = 0;
    t->at = NEVER;
}

struct timer *heap_due(struct heap *h, uint64_t now)
{
    if (!h->n || h->v[0]->at > now)
        return NULL;
    struct timer *t = h->v[0];
    heap_cancel(h, t);
    return t;
}

uint64_t heap_deadline(const struct heap *h)
{
    return h->n ? h->v[0]->at : NEVER;
}

void heap_free(struct heap *h)
{
    free(h->v);
    *h = (struct heap){0};
}
