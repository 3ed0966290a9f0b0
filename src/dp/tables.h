/* tables: what dp keeps. Three kinds of things, by who may write them:
 *   - struct tables, and all that hangs off it: immutable once published, replaced by pointer swap (dp_publish);
 *   - struct sa and struct live: the lasting state of an SA and of a tunnel, found through the tables, written by the worker that
 *     owns the tunnel (window, sequence, path MTU); they outlive any number of publications;
 *   - struct tunnel, account, route, source_set: the control side's own books, never seen by a worker.
 * The SA index takes insertions and removals in place, as single pointer stores: a rekey of one SA among 100,000 must not cost a
 * copy of the index. What is taken away is freed when no worker can hold it any more (garbage.c).
 */
#ifndef ADIT_DP_TABLES_H
#define ADIT_DP_TABLES_H

#include "adit/dp.h"
#include "adit/shared.h"
#include "lpm.h"
#include "selector.h"
#include "window.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- limits (docs/limits.md) ------------------------------------------------------------------- */

#define SEQ_HARD UINT32_MAX           /* RFC 4303 3.3.3: never wraps; 2^32 - 1 is the last one sent */
#define SEQ_SOFT UINT32_C(0xc0000000) /* three quarters: at 10 Mpps 107 s are left for the rekey */
#define IV_HARD (UINT64_C(1) << 40)   /* the counter's 40 bits behind the 24 of the sender id */
#define IV_SOFT (UINT64_C(3) << 38)
#define PMTU_AGE (600 * NS_PER_S) /* RFC 1191 6.3 */
#define PMTU_FLOOR4 576
#define PMTU_FLOOR6 IP6_MIN_MTU
#define ICMP_RATE 100    /* "too big" per second and tunnel */
#define KEEPALIVE_RATE 1 /* answers per second and tunnel; Cisco's default is one every 10 s */
#define KEEPALIVE_BURST 5
#define MOVED_REPEAT NS_PER_S /* the same nomination again at the earliest */

/* ---- taken away ----------------------------------------------------------------------------------- */

typedef void garbage_free_fn(struct dp *dp, struct dp_garbage *g);
struct dp_garbage { /* lies in what is to be freed, so that taking away needs no memory */
    struct dp_garbage *next;
    garbage_free_fn *free;
};

/* ---- immutable: published ----------------------------------------------------------------------- */

struct tun { /* a tunnel as the workers see it */
    /* what every packet needs: one line */
    uint32_t handle, account;
    uint32_t esp; /* the IPsec tunnel on whose SAs it is sent: itself, or the one that carries this GRE; TUNNEL_NONE */
    uint8_t type, df, ecn, dscp; /* enums of policy.h */
    uint8_t gre_len;             /* GRE header we prepend */
    bool has_key, sequence_check, keepalive, check_sources;
    uint8_t ttl;   /* of the outer header */
    uint8_t owner; /* its worker */
    uint16_t gre_flags;
    uint32_t key;
    uint32_t net4, mask4;                       /* interface subnet; mask 0: none */
    struct source_set *sources, *allow_sources; /* the account's and its own */

    /* GRE alone: another. The outer header, to be copied and patched; its addresses are the endpoint pair. */
    _Alignas(LINE) struct pkt_outer outer;

    /* seldom, or IPv6 */
    struct key net6, mask6;
    struct addr icmp4, icmp6;    /* interface addresses, sources of our ICMP; family 0: none */
    struct addr local, remote;   /* endpoints; remote of family 0: IPsec from anywhere */
    uint16_t path_mtu, mtu, mss; /* configured; 0: derived */
    struct dp_garbage garbage;

    /* GRE in ESP: an IP header as its packets have it, for the selectors of SAs to look at */
    uint8_t head[IP6_HEADER];
    struct ip_view head_ip;
};

struct gre_table { /* GRE tunnels by endpoint pair; those that share a pair are chained */
    uint32_t mask;
    uint32_t *slot; /* handle + 1 of the first tunnel of a pair; 0: free */
    uint32_t *next; /* by handle: handle + 1 of the next one; 0: last */
};

struct addr_set {   /* our own addresses */
    uint64_t maybe; /* addr_bit() of each: nearly always says no, without a look at the slots */
    uint32_t mask;
    struct key *slot;       /* all zero: free */
    struct addr any4, any6; /* one of each family, or family 0 */
};

struct hop {
    uint32_t tunnel, priority, weight;
};
struct hops {          /* the choices of one prefix, best priority first */
    uint32_t first, n; /* in fib.hop */
};
#define FIB_SINGLE (UINT32_C(1) << 30) /* the only choice, as nearly always: it takes no look at the set */
struct fib {                           /* one account's routes */
    uint32_t account;
    struct lpm v4, v6; /* value: FIB_SINGLE + tunnel, or index into `set` */
    struct hops *set;  /* set[0] is unused */
    struct hop *hop;
    struct dp_garbage garbage;
};

struct tables {
    struct tun **tun; /* by handle; NULL: none */
    uint32_t n_tun;
    struct gre_table *gre;
    struct addr_set *ours;
    struct fib **fib; /* open addressing by account */
    uint32_t fib_mask;
    bool tun_shared; /* with the next tables */
    struct dp_garbage garbage;
};

/* ---- lasting, written on the packet path ---------------------------------------------------------- */

struct limits { /* what an encapsulation lets through now */
    uint16_t mtu, mss4, mss6;
};
static inline void limits_write(struct limits *to, struct limits l)
{
    WRITE(to->mtu, l.mtu);
    WRITE(to->mss4, l.mss4);
    WRITE(to->mss6, l.mss6);
}
static inline struct limits limits_read(const struct limits *l)
{
    return (struct limits){READ(l->mtu), READ(l->mss4), READ(l->mss6)};
}

struct sa_peer { /* where the SA's packets go; replaced as a whole when the peer moves */
    _Alignas(LINE) struct pkt_outer outer;
    uint16_t local_port, remote_port; /* of the path, those of raw ESP included */
    bool udp;
    struct dp_garbage garbage;
};

struct sa_shape { /* what both directions look at; each has a copy in its own lines */
    struct limits limits;
    uint8_t iv, icv, align;
    bool cbc, all4, all6; /* the selectors hold every IPv4, IPv6 packet */
    bool transport;       /* GRE stands straight behind the ESP header */
    bool shared;          /* any worker sends on it, by struct sa_shared */
};

/* Of an SA whose peer does not check replay, so that its packets may overtake each other: what all workers write, apart from what all
 * of them read, and once for all packets of the SA that follow each other in a batch (esp_out.c). */
struct sa_shared {
    _Alignas(LINE) uint64_t seq; /* last one given to a worker; may pass SEQ_HARD */
    uint64_t iv_next;            /* likewise IV_HARD */
    uint64_t packets_out, bytes_out;
};

struct traffic { /* what an SA, or all SAs of a tunnel have counted */
    uint64_t packets_in, bytes_in, packets_out, bytes_out, last_in;
};

/* Of 100,000 SAs none is in the cache when its packet comes: what a direction touches stands together, and next to nothing else. */
struct sa {
    /* receiving: two lines, the window's words, and the key */
    uint32_t spi_in, tunnel;
    struct esp_key *key_in;
    uint64_t hard_expiry;
    struct window window;
    struct sa_shape in;
    bool seen, expired; /* expired: DP_EVENT_SA_HARD is out */

    _Alignas(LINE) uint64_t packets_in;
    uint64_t bytes_in;
    uint64_t last_in; /* now of the last authentic packet */
    uint32_t replay_drops, integrity_drops;
    struct endpoint from;  /* where its packets come from as far as we know; port 0: raw ESP */
    struct sa_peer *moved; /* set by the control side: where they come from now */

    /* sending: one line, the peer, and the key. packets_out is seq: both count what was sent */
    _Alignas(LINE) struct esp_key *key_out;
    struct sa_peer *peer;
    uint64_t hard_expiry_out; /* the same once more */
    uint64_t iv_next;         /* counter of the next packet, below the sender id */
    uint64_t bytes_out;
    uint32_t spi_out;
    uint32_t seq; /* last one sent; shared: 0, and SEQ_HARD when its numbers or IVs are used up */
    struct sa_shape out;
    bool soft;  /* DP_EVENT_SA_SOFT is out */
    bool early; /* replaces another one and is not seen yet */

    /* seldom */
    _Alignas(LINE) struct sa *replaces; /* still sent on until this one is seen */
    struct selectors selectors;
    struct esp_alg alg;
    struct endpoint nominated;
    uint64_t nominated_at;
    struct dp_garbage garbage;
    struct traffic counted;    /* when it was taken away */
    struct sa_peer first_peer; /* in the same page, until the peer moves */
    uint64_t words[];          /* of the window; struct sa_shared of an SA that has none */
};
static inline struct sa_shared *sa_shared(const struct sa *sa)
{
    return (void *)sa->words;
}
_Static_assert(offsetof(struct sa, words) % LINE == 0 && sizeof(struct sa_shared) == LINE, "in the window's place");
_Static_assert(offsetof(struct sa, key_out) == 2 * LINE && offsetof(struct sa, replaces) == 3 * LINE, "lines of an SA");
_Static_assert(offsetof(struct sa, moved) + sizeof(void *) <= 2 * LINE, "lines of an SA");
_Static_assert(sizeof(struct sa_peer) == LINE, "a peer is one line");

static inline struct endpoint sa_from(const struct sa_peer *peer) /* where its packets come from */
{
    return (struct endpoint){.addr = peer->outer.dst, .port = peer->outer.dport};
}

/* Is the inner packet inside the SA's traffic selectors? `shape` is the copy of the direction at hand. */
static inline bool sa_holds(const struct sa *sa, const struct sa_shape *shape, const uint8_t *p,
                            const struct ip_view *ip, bool inbound)
{
    return (ip->version == 4 ? shape->all4 : shape->all6) || selectors_match(&sa->selectors, p, ip, inbound);
}

struct sa_set { /* of one tunnel, newest first; replaced as a whole */
    struct dp_garbage garbage;
    uint32_t n;
    struct sa *v[];
};

struct live {                            /* what every packet needs on one line, and the rest */
    _Alignas(LINE) struct limits limits; /* GRE */
    uint16_t path_mtu;                   /* learned; 0: none */
    uint64_t path_mtu_until;
    uint32_t seq_out;                   /* GRE: next sequence number */
    uint32_t seq_in;                    /* GRE: last one received, 2^32 - 1 before the first (RFC 2890 2.2) */
    struct sa_set *sas;                 /* IPsec; NULL: none */
    struct sa *newest;                  /* sas->v[0], or NULL */
    _Alignas(LINE) struct traffic gone; /* of SAs that are no more */
    const struct tun *leaving;          /* of the handle's former holder: may still be in a worker's hands */
};

struct sa_index { /* open addressing; a removed entry leaves SA_GONE behind where a chain runs on */
    struct dp_garbage garbage;
    size_t mask, used; /* used: slots not free */
    struct sa_slot {
        struct sa *sa;
        uint32_t spi; /* here too, so that of all SAs in a chain only the right one is touched */
    } slot[];
};
#define SA_GONE ((struct sa *)(uintptr_t)1)

static inline size_t sa_slot(const struct sa_index *x, uint32_t spi) /* where its chain begins */
{
    return (size_t)(spi * UINT64_C(0x9e3779b97f4a7c15) >> 32) & x->mask;
}
/* The slot's SA if it has this SPI. A slot may change hands meanwhile, by way of SA_GONE: asked before and after, the SPI is the
 * SA's own. NULL: the chain ends; SA_GONE: another. */
static inline struct sa *sa_in_slot(const struct sa_slot *s, uint32_t spi)
{
    bool same = SEE(s->spi) == spi;
    struct sa *sa = SEE(s->sa);
    return !sa || (same && READ(s->spi) == spi) ? sa : SA_GONE;
}
static inline struct sa *sa_find_in(const struct sa_index *x, uint32_t spi_in)
{
    struct sa *sa;
    for (size_t i = sa_slot(x, spi_in); (sa = sa_in_slot(&x->slot[i], spi_in)) != NULL; i = (i + 1) & x->mask)
        if (sa != SA_GONE)
            return sa;
    return NULL;
}

/* ---- control side --------------------------------------------------------------------------------- */

struct source_set {       /* allowed inner sources; tunnels of an account share one */
    struct map_node node; /* by content */
    uint32_t refs;
    size_t n;
    struct prefix *prefixes;
    struct lpm v4, v6;
};

struct tunnel {
    struct tun *view;     /* the next published one */
    struct prefix net[2]; /* implicit routes; family 0: none */
    struct list routes;
    uint32_t window;         /* replay window of SAs to come, packets; 0: no check */
    struct dp_counters base; /* of the handle's former holders */
};

struct account {
    struct map_node node; /* by id */
    uint32_t id;
    bool dirty;
    struct list routes;
    struct fib *fib;
};

struct route {
    struct map_node node; /* by account, prefix, tunnel */
    struct list in_account, in_tunnel;
    struct route_policy policy;
    bool implicit;
};

struct dp {
    struct dp_config config;
    struct tables *tables;
    struct live *live; /* by handle */
    struct sa_index *by_in, *by_out;
    struct tunnel **tunnel; /* by handle */
    struct map accounts, routes, sources;
    struct addr *endpoints;
    size_t n_endpoints;
    uint32_t n_sas;
    struct traffic gone; /* of tunnels that are no more */
    uint64_t seed;
    struct slab tuns, sas[WINDOW_CLASSES]; /* memory of all struct tun, and of struct sa by the size of its window */
    bool tunnels_dirty;                    /* tunnels or endpoints changed since the last publication */
    struct dp_garbage *garbage, **garbage_end;
    struct dp_worker *worker[DP_WORKERS_MAX];
};

/* garbage.c */
void garbage_add(struct dp *dp, struct dp_garbage *g, garbage_free_fn *free); /* freed at once with one worker */

/* control.c */
void tables_reap(struct dp *dp, const struct tables *old, const struct tables *new); /* views only the old ones have */

/* publish.c, fib.c */
void tables_free(struct tables *t);
enum rc fib_build(const struct account *a, struct fib **ret) ADIT_MUST_USE;
void fib_free(struct fib *f);
void fib_retire(struct dp *dp, struct fib *f); /* NULL is fine */
static inline const struct fib *fib_find(const struct tables *t, uint32_t account)
{
    const struct fib *f;
    for (uint32_t i = account & t->fib_mask; (f = t->fib[i]) != NULL; i = (i + 1) & t->fib_mask)
        if (f->account == account)
            return f;
    return NULL;
}
static inline uint64_t addr_bit(struct key k)
{
    return UINT64_C(1) << ((k.hi >> 32 ^ k.lo) & 63);
}
static inline bool addr_is_ours(const struct addr_set *s, struct key k)
{
    if (LIKELY(!(s->maybe & addr_bit(k))))
        return false;
    for (uint32_t i = (uint32_t)key_hash(k, 0) & s->mask; s->slot[i].hi | s->slot[i].lo; i = (i + 1) & s->mask)
        if (key_equal(s->slot[i], k))
            return true;
    return false;
}
static inline uint64_t pair_hash(struct key local, struct key remote)
{
    return key_hash(remote, key_hash(local, 0));
}

/* routes.c */
void routes_of_tunnel_remove(struct dp *dp, uint32_t tunnel);
enum rc route_implicit_set(struct dp *dp, const struct tun *tun, const struct prefix *old,
                           const struct prefix *new) ADIT_MUST_USE;

/* sources.c */
enum rc sources_get(struct dp *dp, const struct prefix *prefixes, size_t n, struct source_set **ret) ADIT_MUST_USE;
void sources_put(struct dp *dp, struct source_set *s);

/* sa.c */
void sa_slabs_init(struct dp *dp);
enum rc sa_indexes_new(struct dp *dp) ADIT_MUST_USE;
void sa_memory_free(struct dp *dp); /* all SAs must be gone */
void sa_remove_all(struct dp *dp, uint32_t tunnel);

/* limits.c */
void limits_update(struct live *live, const struct tun *tun);
void limits_begin(const struct live *live, const struct tun *tun, struct sa *sa); /* before a worker can see it */
/* Of a GRE tunnel inside ESP, where `esp` is what ESP lets through. */
struct limits limits_carried(const struct tun *tun, const struct limits *esp, bool transport);

/* info.c */
void worker_counters_sum(const struct dp *dp, uint32_t tunnel, struct dp_counters *ret); /* since the workers began */
void traffic_add(struct traffic *to, const struct traffic *t);
struct traffic traffic_of_sa(const struct sa *sa);
struct traffic traffic_of_tunnel(const struct live *live);

#endif
