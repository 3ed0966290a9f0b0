/* lpm: longest prefix match over an immutable set, IPv4 and IPv6 alike (a multibit trie of stride 6 whose nodes hold two bit
 * vectors instead of arrays, as in the "Poptrie" paper of Asai and Ohara, SIGCOMM 2015). About 24 octets per inner node and 4 per
 * run of equal leaves; a look-up counts bits and allocates nothing.
 */
#ifndef ADIT_DP_LPM_H
#define ADIT_DP_LPM_H

#include "adit/wire_ip.h"

struct key { /* an address, left-aligned: IPv4 in the upper half of hi */
    uint64_t hi, lo;
};
static inline struct key key4(uint32_t a)
{
    return (struct key){.hi = (uint64_t)a << 32};
}
static inline struct key key6(const uint8_t *p)
{
    return (struct key){.hi = load_be64(p), .lo = load_be64(p + 8)};
}
static inline struct key key_of(const struct addr *a)
{
    return a->family == 6 ? key6(a->b) : key4(load_be32(a->b));
}
static inline bool key_equal(struct key a, struct key b)
{
    return a.hi == b.hi && a.lo == b.lo;
}
static inline uint64_t key_hash(struct key k, uint64_t seed)
{
    uint64_t h = (k.hi ^ seed) * UINT64_C(0x9e3779b97f4a7c15);
    h = ((h ^ h >> 32) + k.lo) * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

struct lpm_route {
    struct key key; /* bits behind len are zero */
    uint32_t value; /* not 0 */
    uint8_t len;
};
struct lpm_node {
    uint64_t children; /* bit v: the six bits v lead to node child + (children below v) */
    uint64_t runs;     /* bit v: a run of equal leaves starts here */
    uint32_t child, leaf;
};
struct lpm {
    struct lpm_node *nodes; /* nodes[0] is the root */
    uint32_t *leaves;
    uint32_t n_nodes, n_leaves, cap_nodes, cap_leaves;
};
/* Sorts routes in place. The prefixes are distinct. */
enum rc lpm_build(struct lpm *t, struct lpm_route *routes, size_t n) ADIT_MUST_USE;
void lpm_clear(struct lpm *t);

static inline unsigned bits_count(uint64_t x)
{
#if defined(__POPCNT__) || defined(__aarch64__)
    return (unsigned)__builtin_popcountll(x);
#else /* the portable x86-64 has no instruction for it, and the library's table walk costs a call */
    x -= x >> 1 & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(x * UINT64_C(0x0101010101010101) >> 56);
#endif
}

static inline uint32_t lpm_find(const struct lpm *t, struct key k) /* 0: no route */
{
    if (!t->nodes)
        return 0;
    const struct lpm_node *n = t->nodes;
    for (;;) {
        unsigned v = (unsigned)(k.hi >> 58);
        uint64_t upto = (UINT64_C(2) << v) - 1; /* bits 0..v; for 63 the shift leaves 0, minus 1 is all of them */
        if (!(n->children >> v & 1))
            return t->leaves[n->leaf + bits_count(n->runs & upto) - 1];
        n = &t->nodes[n->child + bits_count(n->children & upto) - 1];
        k.hi = k.hi << 6 | k.lo >> 58;
        k.lo <<= 6;
    }
}

#endif
