/* One account's routes as the workers use them: a trie per family whose leaves name the choices of a prefix. */
#include "tables.h"

#include <stdlib.h>

static int compare(const void *x, const void *y)
{
    const struct route_policy *a = &(*(struct route *const *)x)->policy, *b = &(*(struct route *const *)y)->policy;
    int c = addr_compare(&a->prefix.addr, &b->prefix.addr);
    if (c != 0)
        return c;
    if (a->prefix.len != b->prefix.len)
        return a->prefix.len - b->prefix.len;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return a->tunnel < b->tunnel ? -1 : a->tunnel > b->tunnel;
}

/* Equal choices get one number, so that the trie can merge leaves: nearly all prefixes of an account go the same few ways. */
static uint32_t set_add(struct fib *f, uint32_t *n_sets, uint32_t *index, uint32_t mask, uint32_t first, uint32_t n)
{
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++) {
        const struct hop *hop = &f->hop[first + i];
        h = key_hash((struct key){(uint64_t)hop->tunnel << 32 | hop->priority, hop->weight}, h);
    }
    uint32_t i = (uint32_t)h & mask;
    for (; index[i]; i = (i + 1) & mask) {
        const struct hops *s = &f->set[index[i]];
        if (s->n == n && memcmp(&f->hop[s->first], &f->hop[first], n * sizeof *f->hop) == 0)
            return index[i];
    }
    f->set[*n_sets] = (struct hops){first, n};
    return index[i] = (*n_sets)++;
}

struct scratch {
    struct route **sorted;
    struct lpm_route *v4, *v6;
    uint32_t *index, mask;
};

static enum rc fill(struct fib *f, struct scratch *s, size_t n)
{
    size_t n4 = 0, n6 = 0;
    uint32_t n_sets = 1;
    for (size_t i = 0, j; i < n; i = j) {
        const struct prefix *p = &s->sorted[i]->policy.prefix;
        for (j = i; j < n && prefix_equal(&s->sorted[j]->policy.prefix, p); j++)
            f->hop[j] = (struct hop){.tunnel = s->sorted[j]->policy.tunnel,
                                     .priority = s->sorted[j]->policy.priority,
                                     .weight = s->sorted[j]->policy.weight};
        struct lpm_route r = {.key = key_of(&p->addr), .len = p->len};
        r.value = j - i == 1 ? FIB_SINGLE + f->hop[i].tunnel
                             : set_add(f, &n_sets, s->index, s->mask, (uint32_t)i, (uint32_t)(j - i));
        if (p->addr.family == 4)
            s->v4[n4++] = r;
        else
            s->v6[n6++] = r;
    }
    enum rc rc = lpm_build(&f->v4, s->v4, n4);
    return rc == RC_OK ? lpm_build(&f->v6, s->v6, n6) : rc;
}

enum rc fib_build(const struct account *a, struct fib **ret)
{
    size_t n = 0;
    for (const struct list *l = a->routes.next; l != &a->routes; l = l->next)
        n++;
    uint32_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    struct scratch s = {
        .sorted = calloc(n + 1, sizeof(struct route *)),
        .v4 = calloc(n + 1, sizeof *s.v4),
        .v6 = calloc(n + 1, sizeof *s.v6),
        .index = calloc(slots, sizeof *s.index),
        .mask = slots - 1,
    };
    struct fib *f = calloc(1, sizeof *f);
    enum rc rc = RC_NOMEM;
    if (f) {
        f->account = a->id;
        f->hop = calloc(n + 1, sizeof *f->hop);
        f->set = calloc(n + 1, sizeof *f->set);
    }
    if (f && f->hop && f->set && s.sorted && s.v4 && s.v6 && s.index) {
        size_t i = 0;
        for (const struct list *l = a->routes.next; l != &a->routes; l = l->next)
            s.sorted[i++] = CONTAINER_OF(l, struct route, in_account);
        qsort(s.sorted, n, sizeof(struct route *), compare);
        rc = fill(f, &s, n);
    }
    free(s.sorted);
    free(s.v4);
    free(s.v6);
    free(s.index);
    if (rc == RC_OK)
        *ret = f;
    else
        fib_free(f);
    return rc;
}

static void garbage_fib(struct dp *dp, struct dp_garbage *g)
{
    (void)dp;
    fib_free(CONTAINER_OF(g, struct fib, garbage));
}

void fib_retire(struct dp *dp, struct fib *f)
{
    if (f)
        garbage_add(dp, &f->garbage, garbage_fib);
}

void fib_free(struct fib *f)
{
    if (!f)
        return;
    lpm_clear(&f->v4);
    lpm_clear(&f->v6);
    free(f->hop);
    free(f->set);
    free(f);
}
