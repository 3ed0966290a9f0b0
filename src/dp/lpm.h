/* lpm: longest prefix match over an immutable set, IPv4 and IPv6 alike (a multibit trie of stride 6 whose nodes hold two bit
 * vectors instead of arrays, as in the "Poptrie" paper of Asai and Ohara, SIGCOMM 2015, under a root that is a plain array of the
 * first 6, 12 or 18 bits). 32 octets per inner node and 4 per run of equal leaves; a look-up counts bits and allocates nothing.
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
static inline bool addr_same(const struct addr *a, const struct addr *b) /* addr_equal() in two comparisons */
{
    return a->family == b->family && memcmp(a->b, b->b, sizeof a->b) == 0;
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
    uint32_t value; /* 1 .. LPM_VALUE */
    uint8_t len;
};
#define LPM_LEAF (UINT32_C(1) << 31) /* in the root: a value, not the number of a node */
#define LPM_VALUE (LPM_LEAF - 1)     /* the bits of a value */
#define LPM_AT_ONCE 64

struct lpm_node {      /* two to a cache line */
    uint64_t children; /* bit v: the six bits v lead to node child + (children below v) */
    uint64_t runs;     /* bit v: a run of equal leaves starts here */
    uint32_t child, leaf;
    uint32_t unused[2];
};
struct lpm {
    uint32_t *root; /* by the first root_bits; NULL: empty */
    struct lpm_node *nodes;
    uint32_t *leaves;
    uint32_t n_nodes, n_leaves;
    uint8_t root_bits;
};
/* Sorts routes in place. The prefixes are distinct. */
enum rc lpm_build(struct lpm *t, struct lpm_route *routes, size_t n) ADIT_MUST_USE;
void lpm_clear(struct lpm *t);
size_t lpm_bytes(const struct lpm *t);

static inline struct key key_advance(struct key k, unsigned bits) /* 1..63 */
{
    return (struct key){k.hi << bits | k.lo >> (64 - bits), k.lo << bits};
}

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

static inline __attribute__((always_inline)) uint32_t lpm_walk(const struct lpm *t, struct key k,
                                                               unsigned (*count)(uint64_t))
{
    if (!t->root)
        return 0;
    uint32_t at = t->root[k.hi >> (64 - t->root_bits)];
    k = key_advance(k, t->root_bits);
    while (!(at & LPM_LEAF)) {
        const struct lpm_node *n = &t->nodes[at];
        unsigned v = (unsigned)(k.hi >> 58);
        uint64_t upto = (UINT64_C(2) << v) - 1; /* bits 0..v; for 63 the shift leaves 0, minus 1 is all of them */
        if (!(n->children >> v & 1))
            return t->leaves[n->leaf + count(n->runs & upto) - 1];
        at = n->child + count(n->children & upto) - 1;
        k = key_advance(k, 6);
    }
    return at & LPM_VALUE;
}
static inline uint32_t lpm_find(const struct lpm *t, struct key k) /* 0: no route */
{
    return lpm_walk(t, k, bits_count);
}
/* Up to LPM_AT_ONCE at a time, which wait for memory together. */
void lpm_find_many(const struct lpm *t, const struct key *k, uint32_t *ret, size_t n);

#endif
