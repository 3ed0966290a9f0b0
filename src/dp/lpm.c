/* The trie of lpm.h: built recursively, over routes sorted so that a prefix stands before all that lie inside it; looked up for
 * many addresses at a time. */
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

struct builder {
    struct lpm_node *nodes;
    uint32_t *leaves;
    uint32_t n_nodes, n_leaves, cap_nodes, cap_leaves;
};

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
static uint32_t take_nodes(struct builder *t, uint32_t k)
{
    void *v = t->nodes;
    bool ok = grow(&v, &t->cap_nodes, (size_t)t->n_nodes + k, sizeof *t->nodes);
    t->nodes = v;
    t->n_nodes += ok ? k : 0;
    return ok ? t->n_nodes - k : UINT32_MAX;
}

static uint32_t take_leaves(struct builder *t, uint32_t k)
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

static bool build(struct builder *t, uint32_t at, const struct lpm_route *r, size_t n, unsigned depth,
                  uint32_t inherited)
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

/* The root takes as many bits as its array is worth: from one entry per four routes on. */
static uint8_t root_bits(size_t n)
{
    return n >= 1 << 16 ? 18 : n >= 1 << 10 ? 12 : 6;
}

/* Shorter prefixes than the root's fill its entries; of the longer ones, each group of one entry becomes a node. */
static bool build_root(struct builder *t, uint32_t *root, unsigned bits, const struct lpm_route *r, size_t n)
{
    for (size_t i = 0; i < (size_t)1 << bits; i++)
        root[i] = LPM_LEAF;
    for (size_t i = 0, j; i < n; i = j) {
        size_t at = r[i].key.hi >> (64 - bits);
        j = i + 1;
        if (r[i].len <= bits) { /* those inside it come later and overwrite */
            for (size_t k = 0; k < (size_t)1 << (bits - r[i].len); k++)
                root[at + k] = LPM_LEAF | r[i].value;
            continue;
        }
        while (j < n && r[j].key.hi >> (64 - bits) == at)
            j++;
        uint32_t inherited = root[at] & LPM_VALUE;
        root[at] = take_nodes(t, 1);
        if (root[at] >= LPM_LEAF || !build(t, root[at], r + i, j - i, bits, inherited))
            return false;
    }
    return true;
}

/* What was built, in memory of just its size, nodes on cache lines. */
static bool settle(const struct builder *b, struct lpm *t)
{
    size_t bytes = (b->n_nodes * sizeof *t->nodes / 64 + 1) * 64;
    t->nodes = aligned_alloc(64, bytes);
    t->leaves = calloc(b->n_leaves + 1, sizeof *t->leaves);
    if (!t->nodes || !t->leaves)
        return false;
    for (uint32_t i = 0; i < b->n_nodes; i++)
        t->nodes[i] = b->nodes[i];
    for (uint32_t i = 0; i < b->n_leaves; i++)
        t->leaves[i] = b->leaves[i];
    t->n_nodes = b->n_nodes;
    t->n_leaves = b->n_leaves;
    return true;
}

enum rc lpm_build(struct lpm *t, struct lpm_route *routes, size_t n)
{
    struct lpm new = {.root_bits = root_bits(n)};
    struct builder b = {0};
    bool ok = true;
    if (n > 0) {
        qsort(routes, n, sizeof *routes, compare);
        new.root = calloc((size_t)1 << new.root_bits, sizeof *new.root);
        ok = new.root &&build_root(&b, new.root, new.root_bits, routes, n) && settle(&b, &new);
    }
    free(b.nodes);
    free(b.leaves);
    if (ok)
        *t = new;
    else
        lpm_clear(&new);
    return ok ? RC_OK : RC_NOMEM;
}

void lpm_clear(struct lpm *t)
{
    free(t->root);
    free(t->nodes);
    free(t->leaves);
    *t = (struct lpm){0};
}

size_t lpm_bytes(const struct lpm *t)
{
    return (t->root ? sizeof *t->root << t->root_bits : 0) + t->n_nodes * sizeof *t->nodes +
           t->n_leaves * sizeof *t->leaves;
}

/* ---- look-up of many ---------------------------------------------------------------------------- */

#define FEW 3

struct walk { /* one address on its way down */
    struct key key;
    uint32_t at, i; /* node; number in the batch */
};

/* Fewer than FEW one by one. Else one node for every address that is still on its way; their next nodes, or leaves, are asked for all at once. */
static inline __attribute__((always_inline)) void walk_all(const struct lpm *t, const struct key *k, uint32_t *ret,
                                                           size_t n, unsigned (*count)(uint64_t))
{
    struct walk walk[LPM_AT_ONCE];
    uint32_t leaf[LPM_AT_ONCE]; /* its number + 1; 0: the root knew the value */
    size_t left = 0;
    if (n < FEW || !t->root) {
        for (size_t i = 0; i < n; i++)
            ret[i] = lpm_walk(t, k[i], count);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t at = t->root[k[i].hi >> (64 - t->root_bits)];
        ret[i] = at & LPM_VALUE;
        leaf[i] = 0;
        walk[left] = (struct walk){key_advance(k[i], t->root_bits), at, (uint32_t)i};
        left += !(at & LPM_LEAF);
        prefetch(at & LPM_LEAF ? t->nodes : &t->nodes[at], 1);
    }
    while (left > 0) {
        size_t still = 0;
        for (size_t j = 0; j < left; j++) {
            struct walk w = walk[j];
            const struct lpm_node *node = &t->nodes[w.at];
            unsigned v = (unsigned)(w.key.hi >> 58);
            uint64_t upto = (UINT64_C(2) << v) - 1;
            if (node->children >> v & 1) {
                w.at = node->child + count(node->children & upto) - 1;
                w.key = key_advance(w.key, STRIDE);
                walk[still++] = w;
                prefetch(&t->nodes[w.at], 1);
            } else {
                leaf[w.i] = node->leaf + count(node->runs & upto);
                prefetch(&t->leaves[leaf[w.i] - 1], 1);
            }
        }
        left = still;
    }
    for (size_t i = 0; i < n; i++)
        if (leaf[i])
            ret[i] = t->leaves[leaf[i] - 1];
}

static void find_many(const struct lpm *t, const struct key *k, uint32_t *ret, size_t n)
{
    walk_all(t, k, ret, n, bits_count);
}

#if defined(__x86_64__) && !defined(__POPCNT__) /* the instruction is asked for at run time */
__attribute__((target("popcnt"))) static unsigned popcnt(uint64_t x)
{
    return (unsigned)__builtin_popcountll(x);
}
__attribute__((target("popcnt"))) static void find_many_popcnt(const struct lpm *t, const struct key *k, uint32_t *ret,
                                                               size_t n)
{
    walk_all(t, k, ret, n, popcnt);
}
#endif

void lpm_find_many(const struct lpm *t, const struct key *k, uint32_t *ret, size_t n)
{
#if defined(__x86_64__) && !defined(__POPCNT__)
    if (__builtin_cpu_supports("popcnt")) {
        find_many_popcnt(t, k, ret, n);
        return;
    }
#endif
    find_many(t, k, ret, n);
}
