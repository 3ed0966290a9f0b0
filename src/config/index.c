/* index: a hash table from base, keys compared in full. */
#include "index.h"

#include <stdarg.h>
#include <stdio.h>

#define KEY_MAX 512u

struct entry {
    struct map_node node;
    struct span key;
    void *row;
};

static uint64_t hash_of(struct span key) /* FNV-1a: the keys are the operator's own */
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ key.p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static struct entry *find(const struct config_index *x, struct span key, uint64_t hash)
{
    for (struct map_node *n = map_first(&x->map, hash); n; n = map_next(n)) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (span_equal(e->key, key))
            return e;
    }
    return NULL;
}

void *config_index_put_bytes(struct config_index *x, void *row, struct span key)
{
    uint64_t hash = hash_of(key);
    struct entry *e = find(x, key, hash);
    if (e)
        return e->row;
    e = config_arena_take(x->arena, sizeof *e);
    const char *copy = config_arena_text(x->arena, key);
    if (!e || !copy)
        return NULL;
    e->key = span_of(copy, key.n);
    e->row = row;
    if (map_insert(&x->map, &e->node, hash) != RC_OK)
        config_arena_take(x->arena, SIZE_MAX); /* the load fails as out of memory */
    return NULL;
}

__attribute__((format(printf, 2, 0))) static struct span key_of(char text[KEY_MAX], const char *format, va_list args)
{
    int n = vsnprintf(text, KEY_MAX, format, args);
    return span_of(text, n < 0 ? 0 : (size_t)n < KEY_MAX ? (size_t)n : KEY_MAX - 1);
}

void *config_index_put(struct config_index *x, void *row, const char *format, ...)
{
    char text[KEY_MAX];
    va_list args;
    va_start(args, format);
    struct span key = key_of(text, format, args);
    va_end(args);
    return config_index_put_bytes(x, row, key);
}

void *config_index_get(const struct config_index *x, const char *format, ...)
{
    char text[KEY_MAX];
    va_list args;
    va_start(args, format);
    struct span key = key_of(text, format, args);
    va_end(args);
    struct entry *e = find(x, key, hash_of(key));
    return e ? e->row : NULL;
}

void config_index_free(struct config_index *x)
{
    map_free(&x->map);
}
