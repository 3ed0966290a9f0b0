/* arena: everything a configuration owns, freed and wiped at once. Secrets lie among the rest, so all of it is wiped. */
#ifndef ADIT_CONFIG_ARENA_H
#define ADIT_CONFIG_ARENA_H

#include <stdarg.h>

#include "adit/base.h"

struct config_arena;
struct config_arena *config_arena_new(void);    /* NULL: out of memory */
void config_arena_free(struct config_arena *a); /* wipes; NULL is fine */
/* Zeroed memory, aligned for any type; NULL when out of memory, and from then on config_arena_failed(). */
void *config_arena_take(struct config_arena *a, size_t n);
const char *config_arena_text(struct config_arena *a, struct span s); /* a copy with a NUL behind it */
const char *config_arena_format(struct config_arena *a, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
bool config_arena_failed(const struct config_arena *a);

#endif
