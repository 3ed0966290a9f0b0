/* Building the trie of lpm.h: recursively, over routes sorted so that a prefix stands before all that lie inside it. */
#include "lpm.h"

#include <stdlib.h>

#define STRIDE 6
#define FANOUT 64

static int compare(const void *x, const void *y)
{
    const struct lpm_route *a = x, *b = y;
    if (a->key.hi != b->key.hi)
        return a->key.hi < b->key.hi ? -1 : 1;
    if (a->key.lo != b->key.lo)
        return a->key.lo < b->key.lo ? -1 : 1;
    return a->len - b->len;
}

static unsigned bits_at(struct key k, unsigned depth) /* the six bits from `depth` on, beyond the end zero */
{
    if (depth < 64)
        return (unsigned)((k.hi << depth | (depth ? k.lo >> (64 - depth) : 0)) >> (64 - STRIDE));
    return (unsigned)(k.lo << (depth - 64) >> (64 - STRIDE));
}

static bool grow(void **v, uint32_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return true;
    size_t n = *cap ? *cap * (size_t)2 : 64;
    while (n < need)
        n *= 2;
    void *p = n > UINT32_MAX ? NULL : realloc(*v, n * size);
    if (!p)
        return false;
    *v = p;
    *cap = (uint32_t)n;
    return true;
}

/* Allocate k nodes or leaves at the end; UINT32_MAX if there is no memory. */
static uint32_t take_nodes(struct lpm *t, uint32_t k)
{
    void *v = t->nodes;
    bool ok = grow(&v, &t->cap_nodes, (size_t)t->n_nodes + k, sizeof *t->nodes);
    t->nodes = v;
    t->n_nodes += ok ? k : 0;
    return ok ? t->n_nodes - k : UINT32_MAX;
}

static uint32_t take_leaves(struct lpm *t, uint32_t k)
{
    void *v = t->leaves;
    bool ok = grow(&v, &t->cap_leaves, (size_t)t->n_leaves + k, sizeof *t->leaves);
    t->leaves = v;
    t->n_leaves += ok ? k : 0;
    return ok ? t->n_leaves - k : UINT32_MAX;
}

/* What the 64 branches of a node are: the leaf value, and the range of routes that go deeper. */
struct fan {
    uint32_t value[FANOUT];
    size_t from[FANOUT], to[FANOUT];
};

static void spread(struct fan *f, const struct lpm_route *r, size_t n, unsigned depth, uint32_t inherited)
{
    for (unsigned v = 0; v < FANOUT; v++)
        f->value[v] = inherited;
    memset(f->from, 0, sizeof f->from);
    memset(f->to, 0, sizeof f->to);
    for (size_t i = 0; i < n; i++) {
        unsigned v = bits_at(r[i].key, depth);
        if (r[i].len > depth + STRIDE) { /* contiguous: all shorter ones of this branch stand before */
            if (f->to[v] == 0)
                f->from[v] = i;
            f->to[v] = i + 1;
        } else /* a longer prefix comes later and overwrites */
            for (unsigned k = 0; k < 1u << (depth + STRIDE - r[i].len); k++)
                f->value[v + k] = r[i].value;
    }
}

static bool build(struct lpm *t, uint32_t at, const struct lpm_route *r, size_t n, unsigned depth, uint32_t inherited)
{
    struct fan f;
    struct lpm_node node = {0};
    uint32_t run[FANOUT], n_run = 0;
    spread(&f, r, n, depth, inherited);
    for (unsigned v = 0; v < FANOUT; v++)
        if (f.to[v])
            node.children |= UINT64_C(1) << v;
        else if (n_run == 0 || run[n_run - 1] != f.value[v]) {
            node.runs |= UINT64_C(1) << v;
            run[n_run++] = f.value[v];
        }
    node.leaf = take_leaves(t, n_run);
    node.child = take_nodes(t, bits_count(node.children));
    if (node.leaf == UINT32_MAX || node.child == UINT32_MAX)
        return false;
    for (uint32_t i = 0; i < n_run; i++)
        t->leaves[node.leaf + i] = run[i];
    t->nodes[at] = node;
    uint32_t child = node.child;
    for (unsigned v = 0; v < FANOUT; v++)
        if (f.to[v] && !build(t, child++, r + f.from[v], f.to[v] - f.from[v], depth + STRIDE, f.value[v]))
            return false;
    return true;
}

enum rc lpm_build(struct lpm *t, struct lpm_route *routes, size_t n)
{
    struct lpm new = {0};
    if (n > 0) {
        qsort(routes, n, sizeof *routes, compare);
        uint32_t root = take_nodes(&new, 1);
        if (root == UINT32_MAX || !build(&new, root, routes, n, 0, 0)) {
            lpm_clear(&new);
            return RC_NOMEM;
        }
    }
    *t = new;
    return RC_OK;
}

void lpm_clear(struct lpm *t)
{
    free(t->nodes);
    free(t->leaves);
    *t = (struct lpm){0};
}
