/* Chained hash table of intrusive nodes; the number of slots is a power of two and doubles at load 1. */
#include "adit/base.h"

#include <stdlib.h>

#define FIRST_SLOTS 16

static struct map_node **slot_of(const struct map *m, uint64_t hash)
{
    return &m->slot[hash & (m->n_slots - 1)];
}

static enum rc grow(struct map *m)
{
    struct map bigger = {.n_slots = m->n_slots ? m->n_slots * 2 : FIRST_SLOTS, .n = m->n};
    bigger.slot = calloc(bigger.n_slots, sizeof(struct map_node *));
    if (!bigger.slot)
        return RC_NOMEM;
    for (size_t i = 0; i < m->n_slots; i++)
        for (struct map_node *n = m->slot[i], *next; n; n = next) {
            next = n->next;
            struct map_node **slot = slot_of(&bigger, n->hash);
            n->next = *slot;
            *slot = n;
        }
    free(m->slot);
    *m = bigger;
    return RC_OK;
}

enum rc map_insert(struct map *m, struct map_node *node, uint64_t hash)
{
    if (m->n >= m->n_slots && grow(m) != RC_OK && m->n_slots == 0)
        return RC_NOMEM; /* a full table that cannot grow only gets slower */
    struct map_node **slot = slot_of(m, hash);
    *node = (struct map_node){.next = *slot, .hash = hash};
    *slot = node;
    m->n++;
    return RC_OK;
}

void map_remove(struct map *m, struct map_node *node)
{
    struct map_node **at = slot_of(m, node->hash);
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    m->n--;
}

static struct map_node *same_hash(struct map_node *n, uint64_t hash)
{
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct map_node *map_first(const struct map *m, uint64_t hash)
{
    return m->n_slots ? same_hash(*slot_of(m, hash), hash) : NULL;
}

struct map_node *map_next(const struct map_node *node)
{
    return same_hash(node->next, node->hash);
}

/* A removed node keeps its next and hash, so the walk can go on from it. */
struct map_node *map_walk(const struct map *m, const struct map_node *after)
{
    if (after && after->next)
        return after->next;
    for (size_t i = after ? (after->hash & (m->n_slots - 1)) + 1 : 0; i < m->n_slots; i++)
        if (m->slot[i])
            return m->slot[i];
    return NULL;
}

void map_free(struct map *m)
{
    free(m->slot);
    *m = (struct map){0};
}
