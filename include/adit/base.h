/* base: what every room stands on. Knows no protocol and nobody who listens.
 *
 * Ownership: a span borrows, a buf owns. Outputs are named ret_ and untouched on failure.
 * Time is monotonic nanoseconds, always an argument (`now`), never read here.
 */
#ifndef ADIT_BASE_H
#define ADIT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ADIT_MUST_USE __attribute__((warn_unused_result))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define NEVER UINT64_MAX /* a deadline that does not come */
#define LINE 64          /* octets of a cache line */

/* Ask for the cache lines of n octets ahead of their use, into the second level: what a whole batch asks for together has no place in
 * the first, which also lets fewer be on their way at a time. The empty statement has a purpose: a function that only prefetches is
 * to GCC one without effect, and calls of it vanish. */
static inline void prefetch(const void *p, size_t n)
{
    const uint8_t *at = (const uint8_t *)p - (uintptr_t)p % LINE, *end = (const uint8_t *)p + n;
    if (n == 1) /* nearly always, and known to the compiler */
        __builtin_prefetch(p, 0, 2);
    else
        for (; at < end; at += LINE)
            __builtin_prefetch(at, 0, 2);
    __asm__ volatile("");
}

/* ---- result codes ---------------------------------------------------------------------------- */

enum rc {
    RC_OK = 0,
    RC_SHORT,  /* input ends too early */
    RC_SYNTAX, /* malformed: a length, a count, a reserved value */
    RC_LIMIT,  /* one of our limits (docs/limits.md) is reached */
    RC_NOMEM,  /* out of memory, or a fixed pool is empty */
    RC_ABSENT, /* no such object */
    RC_EXISTS, /* already there */
    RC_RANGE,  /* a value outside what is allowed */
    RC_AUTH,   /* integrity or authentication failed */
    RC_CRYPTO, /* a primitive refused its input (public value, algorithm) or the library failed */
    RC_UNSUPPORTED,
};
const char *rc_name(enum rc rc);

/* ---- bytes ----------------------------------------------------------------------------------- */

struct span { /* borrowed, read-only */
    const uint8_t *p;
    size_t n;
};
struct buf { /* owned: malloc'ed; NULL p when empty */
    uint8_t *p;
    size_t n;   /* bytes in use */
    size_t cap; /* bytes allocated */
};

static inline struct span span_of(const void *p, size_t n)
{
    return (struct span){.p = p, .n = n};
}
static inline struct span span_str(const char *s)
{
    return (struct span){.p = (const uint8_t *)s, .n = strlen(s)};
}
static inline bool span_equal(struct span a, struct span b) /* not for secrets: crypto_equal() is */
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* Replace b's content by a copy of s. RC_NOMEM leaves b unchanged. */
enum rc buf_set(struct buf *b, struct span s) ADIT_MUST_USE;
/* Grow b by a copy of s. RC_NOMEM leaves b unchanged. */
enum rc buf_append(struct buf *b, struct span s) ADIT_MUST_USE;
/* Wipe and free. */
void buf_free(struct buf *b);
static inline struct span buf_span(const struct buf *b)
{
    return span_of(b->p, b->n);
}
void wipe(void *p, size_t n); /* never optimised away */

/* ---- bounded reader: sticky error, sub-readers that must end empty ---------------------------- */

struct rd {
    const uint8_t *start, *at, *end;
    bool failed;
};
static inline struct rd rd_of(struct span s)
{
    return (struct rd){.start = s.p, .at = s.p, .end = s.n ? s.p + s.n : s.p};
}
static inline size_t rd_left(const struct rd *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->at);
}
static inline size_t rd_offset(const struct rd *r)
{
    return (size_t)(r->at - r->start);
}
static inline bool rd_need(struct rd *r, size_t n)
{
    if (r->failed || (size_t)(r->end - r->at) < n) {
        r->failed = true;
        return false;
    }
    return true;
}
static inline uint8_t rd_u8(struct rd *r)
{
    return rd_need(r, 1) ? *r->at++ : 0;
}
static inline uint16_t rd_u16(struct rd *r)
{
    if (!rd_need(r, 2))
        return 0;
    uint16_t v = (uint16_t)(r->at[0] << 8 | r->at[1]);
    r->at += 2;
    return v;
}
static inline uint32_t rd_u32(struct rd *r)
{
    if (!rd_need(r, 4))
        return 0;
    uint32_t v = (uint32_t)r->at[0] << 24 | (uint32_t)r->at[1] << 16 | (uint32_t)r->at[2] << 8 | r->at[3];
    r->at += 4;
    return v;
}
static inline uint64_t rd_u64(struct rd *r)
{
    uint64_t hi = rd_u32(r);
    return hi << 32 | rd_u32(r);
}
static inline struct span rd_take(struct rd *r, size_t n) /* {NULL, 0} on failure */
{
    if (!rd_need(r, n))
        return (struct span){NULL, 0};
    struct span s = {r->at, n};
    r->at += n;
    return s;
}
static inline struct span rd_rest(struct rd *r)
{
    return rd_take(r, rd_left(r));
}
static inline struct rd rd_sub(struct rd *r, size_t n) /* a failed reader when n is too long */
{
    struct rd sub = rd_of(rd_take(r, n));
    sub.failed = r->failed;
    return sub;
}
static inline bool rd_done(const struct rd *r) /* everything read, nothing failed */
{
    return !r->failed && r->at == r->end;
}

/* ---- bounded writer: sticky error, back-patched lengths --------------------------------------- */

struct wr {
    uint8_t *start, *at, *end;
    bool failed;
};
static inline struct wr wr_of(void *p, size_t n)
{
    return (struct wr){.start = p, .at = p, .end = (uint8_t *)p + n};
}
static inline bool wr_need(struct wr *w, size_t n)
{
    if (w->failed || (size_t)(w->end - w->at) < n) {
        w->failed = true;
        return false;
    }
    return true;
}
static inline size_t wr_len(const struct wr *w)
{
    return (size_t)(w->at - w->start);
}
static inline struct span wr_span(const struct wr *w)
{
    return span_of(w->start, wr_len(w));
}
static inline void wr_u8(struct wr *w, uint8_t v)
{
    if (wr_need(w, 1))
        *w->at++ = v;
}
static inline void wr_u16(struct wr *w, uint16_t v)
{
    if (wr_need(w, 2)) {
        *w->at++ = (uint8_t)(v >> 8);
        *w->at++ = (uint8_t)v;
    }
}
static inline void wr_u32(struct wr *w, uint32_t v)
{
    wr_u16(w, (uint16_t)(v >> 16));
    wr_u16(w, (uint16_t)v);
}
static inline void wr_u64(struct wr *w, uint64_t v)
{
    wr_u32(w, (uint32_t)(v >> 32));
    wr_u32(w, (uint32_t)v);
}
static inline void wr_bytes(struct wr *w, struct span s)
{
    if (s.n && wr_need(w, s.n)) {
        memcpy(w->at, s.p, s.n);
        w->at += s.n;
    }
}
static inline uint8_t *wr_reserve(struct wr *w, size_t n) /* zeroed; NULL on failure */
{
    if (!wr_need(w, n))
        return NULL;
    uint8_t *p = w->at;
    memset(p, 0, n);
    w->at += n;
    return p;
}
static inline void wr_patch_u8(struct wr *w, size_t offset, uint8_t v)
{
    if (!w->failed && offset + 1 <= wr_len(w))
        w->start[offset] = v;
    else
        w->failed = true;
}
static inline void wr_patch_u16(struct wr *w, size_t offset, uint16_t v)
{
    if (!w->failed && offset + 2 <= wr_len(w)) {
        w->start[offset] = (uint8_t)(v >> 8);
        w->start[offset + 1] = (uint8_t)v;
    } else
        w->failed = true;
}
static inline void wr_patch_u32(struct wr *w, size_t offset, uint32_t v)
{
    wr_patch_u16(w, offset, (uint16_t)(v >> 16));
    wr_patch_u16(w, offset + 2, (uint16_t)v);
}

/* ---- addresses ------------------------------------------------------------------------------- */

struct addr {
    uint8_t family; /* 0 none, 4, 6 */
    uint8_t b[16];  /* network order; IPv4 in b[0..3], the rest zero */
};
struct endpoint {
    struct addr addr;
    uint16_t port;
};
struct prefix {
    struct addr addr; /* host bits zero unless it is an interface address */
    uint8_t len;
};
struct path { /* between which addresses a datagram travelled: local is ours */
    struct endpoint local, remote;
};

#define ADDR_TEXT 48     /* an address as text, with NUL */
#define ENDPOINT_TEXT 56 /* 192.0.2.2:500, [2001:db8::1]:500 */
#define PREFIX_TEXT 56

static inline size_t addr_size(const struct addr *a)
{
    return a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
}
struct addr addr_of(uint8_t family, const uint8_t *bytes); /* family 4: 4 bytes, 6: 16 */
bool addr_equal(const struct addr *a, const struct addr *b);
int addr_compare(const struct addr *a, const struct addr *b); /* family first, then numerically */
bool addr_is_local_scope(const struct addr *a); /* loopback, link-local, multicast, unspecified, broadcast */
enum rc addr_parse(const char *text, struct addr *ret) ADIT_MUST_USE;
const char *addr_text(const struct addr *a, char ret[ADDR_TEXT]);
const char *endpoint_text(const struct endpoint *e, char ret[ENDPOINT_TEXT]);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
/* "10.0.0.1/31"; a bare address has full length. Host bits are kept: prefix_network() clears them. */
enum rc prefix_parse(const char *text, struct prefix *ret) ADIT_MUST_USE;
struct prefix prefix_network(struct prefix p);
bool prefix_contains(const struct prefix *p, const struct addr *a);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
bool prefix_equal(const struct prefix *a, const struct prefix *b);
const char *prefix_text(const struct prefix *p, char ret[PREFIX_TEXT]);
/* The prefix that holds exactly first..last; RC_RANGE when no single one does. */
enum rc prefix_of_range(const struct addr *first, const struct addr *last, struct prefix *ret) ADIT_MUST_USE;

/* ---- randomness: always injected -------------------------------------------------------------- */

struct rng {
    void (*fill)(void *ctx, void *ret, size_t n); /* cannot fail; aborting is the source's business */
    void *ctx;
};
static inline void rng_fill(const struct rng *r, void *ret, size_t n)
{
    r->fill(r->ctx, ret, n);
}
static inline uint32_t rng_u32(const struct rng *r)
{
    uint32_t v;
    rng_fill(r, &v, sizeof v);
    return v;
}
static inline uint64_t rng_u64(const struct rng *r)
{
    uint64_t v;
    rng_fill(r, &v, sizeof v);
    return v;
}

/* ---- memory for what is large or many --------------------------------------------------------- */

#define PAGE_HUGE ((size_t)2 << 20) /* x86-64, and arm64 with pages of 4 KiB; elsewhere only an alignment */

/* Zeroed, on a cache line; from PAGE_HUGE on in whole pages of that size, where the kernel has them: when one of 100,000 objects is
 * asked for at random, to find its page costs as much as to fetch a cache line. */
void *pages_get(size_t n); /* NULL: no memory */
void pages_put(void *p, size_t n);
/* PAGE_HUGE octets between two as large that nobody can touch, for secrets. */
void *pages_guarded_get(void);
void pages_guarded_put(void *p);

/* Objects of one size, close together; grows by ever larger pieces, which stay until slab_clear(). */
struct slab {
    size_t size, total;
    struct slab_unused *unused;
    struct slab_piece *pieces;
};
void slab_init(struct slab *s, size_t size); /* what it is rounded up to: whole cache lines */
void *slab_get(struct slab *s);              /* its content is undefined; NULL: no memory */
void slab_put(struct slab *s, void *object); /* NULL is fine */
void slab_clear(struct slab *s);             /* all objects must be back */

/* ---- containers: intrusive, no allocation but the hash table's own ---------------------------- */

struct list { /* a node, or the head of a circular list */
    struct list *next, *prev;
};
static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_remove(struct list *node) /* safe on a removed or initialised node */
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Hash table of nodes, chained, doubling. The caller hashes (peer-chosen keys: crypto_siphash()) and compares.
 *     for (struct map_node *n = map_first(m, hash); n; n = map_next(n)) ...   -- all nodes with that hash */
struct map_node {
    struct map_node *next;
    uint64_t hash;
};
struct map {
    struct map_node **slot;
    size_t n_slots; /* power of two, 0 before the first insert */
    size_t n;
    struct map_node **old; /* while it grows: the slots of before, emptied up to number `moved` */
    size_t n_old, moved;
};
enum rc map_insert(struct map *m, struct map_node *node, uint64_t hash) ADIT_MUST_USE; /* RC_NOMEM */
void map_remove(struct map *m, struct map_node *node);                                 /* must be in m */
struct map_node *map_first(const struct map *m, uint64_t hash);
struct map_node *map_next(const struct map_node *node);
/* Walk all: pass NULL first. Removing the node just returned is allowed, inserting is not. */
struct map_node *map_walk(const struct map *m, const struct map_node *after);
void map_free(struct map *m); /* the slots, not the nodes */

/* Deadline heap. A timer lies inside its owner; at == NEVER means not armed. */
struct timer {
    uint64_t at;
    size_t index; /* heap position + 1, 0 = not armed */
};
struct heap {
    struct timer **v;
    size_t n, cap;
};
enum rc heap_set(struct heap *h, struct timer *t, uint64_t at) ADIT_MUST_USE; /* arm or move; NEVER disarms */
void heap_cancel(struct heap *h, struct timer *t);
struct timer *heap_due(struct heap *h, uint64_t now); /* earliest timer with at <= now, disarmed; or NULL */
uint64_t heap_deadline(const struct heap *h);         /* NEVER when empty */
void heap_free(struct heap *h);

/* Token bucket: `rate` tokens per second up to `burst`. */
struct bucket {
    uint32_t rate, burst;
    uint64_t nano_tokens; /* tokens * 1e9 */
    uint64_t at;
};
void bucket_init(struct bucket *b, uint32_t rate, uint32_t burst, uint64_t now);
bool bucket_take(struct bucket *b, uint64_t now);

/* ---- log sink: events are data; who formats and where they go is the sink's business ---------- */

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_type {
    LOG_TYPE_U64,
    LOG_TYPE_STR,
    LOG_TYPE_BYTES,
    LOG_TYPE_HEX,
    LOG_TYPE_ADDR,
    LOG_TYPE_ENDPOINT,
    LOG_TYPE_BOOL
};
struct log_field {
    const char *key;
    enum log_type type;
    union {
        uint64_t u;
        const char *str;   /* ours: trusted text */
        struct span bytes; /* BYTES: peer text, the sink escapes it; HEX: printed as hex */
        struct addr addr;
        struct endpoint endpoint;
    };
};
#define LOG_FIELD_(k, kind, member, v)                     \
    {                                                      \
        .key = (k), .type = LOG_TYPE_##kind, .member = (v) \
    }
#define LOG_U64(k, v) LOG_FIELD_(k, U64, u, v)
#define LOG_BOOL(k, v) LOG_FIELD_(k, BOOL, u, v)
#define LOG_STR(k, v) LOG_FIELD_(k, STR, str, v)
#define LOG_BYTES(k, v) LOG_FIELD_(k, BYTES, bytes, v)
#define LOG_HEX(k, v) LOG_FIELD_(k, HEX, bytes, v)
#define LOG_ADDR(k, v) LOG_FIELD_(k, ADDR, addr, v)
#define LOG_ENDPOINT(k, v) LOG_FIELD_(k, ENDPOINT, endpoint, v)

struct log_event {
    uint64_t now;
    enum log_level level;
    const char *name;    /* "ike.handshake_failed": room.event, a literal */
    uint64_t suppressed; /* events of this name swallowed by the rate limit since the last one */
    const struct log_field *fields;
    size_t n_fields;
};
#define LOG_CLASSES 64
struct log {
    void (*emit)(void *ctx, const struct log_event *event);
    void *ctx;
    enum log_level level; /* events above it are not made */
    uint32_t rate, burst; /* per event name; 0 = unlimited */
    struct log_class {
        const char *name;
        struct bucket bucket;
        uint64_t suppressed;
    } classes[LOG_CLASSES]; /* beyond that many names, the last class is shared */
};
/* A NULL log, or one without emit, swallows everything. */
void log_event(struct log *log, uint64_t now, enum log_level level, const char *name, const struct log_field *fields,
               size_t n_fields);
#define LOG(log, now, level, name, ...)                                               \
    log_event((log), (now), (level), (name), (const struct log_field[]){__VA_ARGS__}, \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

#endif
