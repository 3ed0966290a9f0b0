/* Chained hash table of intrusive nodes; the number of slots is a power of two and doubles at load 1. The nodes move to the new slots
 * little by little, with the insertions that follow: no call takes long because the table is large. */
#include "adit/base.h"

#include <stdlib.h>

#define FIRST_SLOTS 16
/* Old slots emptied by an insertion: as many insertions as there are old slots come before the table doubles again. */
#define MOVES 4

/* All slots in one row: the present ones, then those of before. Of an old slot that is not emptied yet all nodes are there. */
static size_t place_of(const struct map *m, uint64_t hash)
{
    size_t old = hash & (m->n_old - 1);
    return m->n_old && old >= m->moved ? m->n_slots + old : hash & (m->n_slots - 1);
}

static struct map_node **slot_at(const struct map *m, size_t place)
{
    return place < m->n_slots ? &m->slot[place] : &m->old[place - m->n_slots];
}

static void push(struct map *m, struct map_node *n)
{
    struct map_node **slot = slot_at(m, place_of(m, n->hash));
    n->next = *slot;
    *slot = n;
}

static void move_some(struct map *m)
{
    for (int i = 0; i < MOVES && m->moved < m->n_old; i++) {
        struct map_node *n = m->old[m->moved];
        m->old[m->moved++] = NULL;
        for (struct map_node *next; n; n = next) {
            next = n->next;
            push(m, n);
        }
    }
    if (m->n_old && m->moved == m->n_old) {
        free(m->old);
        m->old = NULL;
        m->n_old = m->moved = 0;
    }
}

static enum rc grow(struct map *m)
{
    size_t n = m->n_slots ? m->n_slots * 2 : FIRST_SLOTS;
    struct map_node **slot = calloc(n, sizeof(struct map_node *));
    if (!slot)
        return RC_NOMEM;
    *m = (struct map){.slot = slot, .n_slots = n, .n = m->n, .old = m->slot, .n_old = m->n_slots};
    return RC_OK;
}

enum rc map_insert(struct map *m, struct map_node *node, uint64_t hash)
{
    if (m->n >= m->n_slots && !m->n_old && grow(m) != RC_OK && m->n_slots == 0)
        return RC_NOMEM; /* a full table that cannot grow only gets slower */
    move_some(m);
    node->hash = hash;
    push(m, node);
    m->n++;
    return RC_OK;
}

void map_remove(struct map *m, struct map_node *node)
{
    struct map_node **at = slot_at(m, place_of(m, node->hash));
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
    return m->n_slots ? same_hash(*slot_at(m, place_of(m, hash)), hash) : NULL;
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
    for (size_t i = after ? place_of(m, after->hash) + 1 : 0; i < m->n_slots + m->n_old; i++)
        if (*slot_at(m, i))
            return *slot_at(m, i);
    return NULL;
}

void map_free(struct map *m)
{
    free(m->slot);
    free(m->old);
    *m = (struct map){0};
}
