/* index: rows by a key that is put together like a text, so that no check compares every row with every other. */
#ifndef ADIT_CONFIG_INDEX_H
#define ADIT_CONFIG_INDEX_H

#include "arena.h"

struct config_index {
    struct map map;
    struct config_arena *arena; /* keys and nodes lie there */
};
/* The row that already has the key; else NULL, and `row` has it from now on (also when out of memory: see the arena). */
void *config_index_put(struct config_index *x, void *row, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void *config_index_put_bytes(struct config_index *x, void *row, struct span key);
void *config_index_get(const struct config_index *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
void config_index_free(struct config_index *x);

#endif
