/* Objects of one size, in large pieces of memory. */
#include "adit/base.h"

#include <stdlib.h>

#define PIECE_MIN ((size_t)16 << 10)
#define PIECE_MAX PAGE_HUGE

struct slab_unused { /* lies in an object that is not handed out */
    struct slab_unused *next;
};
struct slab_piece {
    struct slab_piece *next;
    size_t bytes;
    void *memory;
};

/* A sanitizer is to see each object come and go. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ONE_BY_ONE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define ONE_BY_ONE 1
#endif
#endif
#ifndef ONE_BY_ONE
#define ONE_BY_ONE 0
#endif

void slab_init(struct slab *s, size_t size)
{
    *s = (struct slab){.size = (size ? size + LINE - 1 : LINE) / LINE * LINE};
}

/* Pieces double, so that few objects take little and many take few pieces. */
static bool grow(struct slab *s)
{
    size_t bytes = s->total * s->size;
    bytes = bytes < PIECE_MIN ? PIECE_MIN : bytes > PIECE_MAX ? PIECE_MAX : bytes;
    if (bytes < s->size)
        bytes = s->size;
    struct slab_piece *piece = malloc(sizeof *piece);
    if (!piece)
        return false;
    *piece = (struct slab_piece){.next = s->pieces, .bytes = bytes, .memory = pages_get(bytes)};
    if (!piece->memory) {
        free(piece);
        return false;
    }
    s->pieces = piece;
    size_t n = bytes / s->size;
    s->total += n;
    while (n-- > 0)
        slab_put(s, (uint8_t *)piece->memory + n * s->size);
    return s->unused != NULL; /* a piece holds one at least */
}

void *slab_get(struct slab *s)
{
    if (ONE_BY_ONE)
        return aligned_alloc(LINE, s->size);
    if (!s->unused && !grow(s))
        return NULL;
    struct slab_unused *u = s->unused;
    s->unused = u->next;
    return u;
}

void slab_put(struct slab *s, void *object)
{
    if (!object)
        return;
    if (ONE_BY_ONE) {
        free(object);
        return;
    }
    struct slab_unused *u = object;
    u->next = s->unused;
    s->unused = u;
}

void slab_clear(struct slab *s)
{
    for (struct slab_piece *next, *p = s->pieces; p; p = next) {
        next = p->next;
        pages_put(p->memory, p->bytes);
        free(p);
    }
    *s = (struct slab){.size = s->size};
}
