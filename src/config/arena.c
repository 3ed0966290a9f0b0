/* arena: a chain of chunks, each twice as large as the one before. */
#include "arena.h"

#include <stdio.h>
#include <stdlib.h>

#define CHUNK_FIRST 4096u
#define CHUNK_LARGEST (1u << 20)

struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(max_align_t) uint8_t data[];
};

struct config_arena {
    struct chunk *chunks; /* the newest first */
    size_t next_size;
    bool failed;
};

struct config_arena *config_arena_new(void)
{
    struct config_arena *a = calloc(1, sizeof *a);
    if (a)
        a->next_size = CHUNK_FIRST;
    return a;
}

void config_arena_free(struct config_arena *a)
{
    if (!a)
        return;
    for (struct chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        wipe(c->data, c->used);
        free(c);
    }
    free(a);
}

void *config_arena_take(struct config_arena *a, size_t n)
{
    const size_t align = _Alignof(max_align_t);
    if (n > SIZE_MAX / 2) {
        a->failed = true;
        return NULL;
    }
    n = (n + align - 1) / align * align;
    struct chunk *c = a->chunks;
    if (!c || c->size - c->used < n) {
        size_t size = n > a->next_size ? n : a->next_size;
        c = calloc(1, sizeof *c + size);
        if (!c) {
            a->failed = true;
            return NULL;
        }
        c->size = size;
        c->next = a->chunks;
        a->chunks = c;
        if (a->next_size < CHUNK_LARGEST)
            a->next_size *= 2;
    }
    void *p = c->data + c->used;
    c->used += n;
    return p;
}

const char *config_arena_text(struct config_arena *a, struct span s)
{
    char *text = config_arena_take(a, s.n + 1);
    if (text && s.n)
        memcpy(text, s.p, s.n); /* lint: not wire bytes: text of the configuration */
    return text;
}

const char *config_arena_format(struct config_arena *a, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = n < 0 ? NULL : config_arena_take(a, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, args);
    return text;
}

bool config_arena_failed(const struct config_arena *a)
{
    return a->failed;
}
