/* tables: what dp keeps. Three kinds of things, by who may write them:
 *   - struct tables, and all that hangs off it: immutable once published, replaced by pointer swap (dp_publish);
 *   - struct sa and struct live: the lasting state of an SA and of a tunnel, found through the tables, written by the worker that
 *     owns them (window, sequence, path MTU); they outlive any number of publications;
 *   - struct tunnel, account, route, source_set: the control side's own books, never seen by a worker.
 * The SA index takes insertions and removals in place, as single pointer stores: a rekey of one SA among 100,000 must not cost a
 * copy of the index.
 */
#ifndef ADIT_DP_TABLES_H
#define ADIT_DP_TABLES_H

#include "adit/dp.h"
#include "lpm.h"
#include "selector.h"
#include "window.h"

#define LINE 64
#define WORKERS_MAX 64

/* ---- limits (docs/limits.md) ------------------------------------------------------------------- */

#define SEQ_HARD UINT32_MAX              /* RFC 4303 3.3.3: never wraps; 2^32 - 1 is the last one sent */
#define SEQ_SOFT UINT32_C(0xc0000000)    /* three quarters: at 10 Mpps 107 s are left for the rekey */
#define IV_HARD (UINT64_C(1) << 40)      /* the counter's 40 bits behind the 24 of the sender id */
#define IV_SOFT (UINT64_C(3) << 38)
#define PMTU_AGE (600 * NS_PER_S)        /* RFC 1191 6.3 */
#define PMTU_FLOOR4 576
#define PMTU_FLOOR6 IP6_MIN_MTU
#define ICMP_RATE 100                    /* "too big" per second and tunnel */
#define KEEPALIVE_RATE 1                 /* answers per second and tunnel; Cisco's default is one every 10 s */
#define KEEPALIVE_BURST 5
#define MOVED_REPEAT NS_PER_S            /* the same nomination again at the earliest */

/* ---- immutable: published ----------------------------------------------------------------------- */

struct tun { /* a tunnel as the workers see it */
    uint32_t handle, account;
    uint8_t type, df, ecn, dscp; /* enums of policy.h */
    uint8_t gre_len;             /* GRE header we prepend */
    bool has_key, sequence_check, keepalive, check_sources;
    uint16_t gre_flags;
    uint16_t path_mtu, mtu, mss; /* configured; 0: derived */
    uint32_t key;
    uint32_t net4, mask4;       /* interface subnet; mask 0: none */
    struct key net6, mask6;
    struct addr icmp4, icmp6;   /* interface addresses, sources of our ICMP; family 0: none */
    struct addr local, remote;  /* endpoints; remote of family 0: IPsec from anywhere */
    struct pkt_outer outer;     /* GRE: the outer header, to be copied and patched; IPsec: ttl, dscp */
    struct source_set *sources, *allow_sources; /* the account's and its own */
};

struct gre_table {  /* GRE tunnels by endpoint pair; those that share a pair are chained */
    uint32_t mask;
    uint32_t *slot; /* handle + 1 of the first tunnel of a pair; 0: free */
    uint32_t *next; /* by handle: handle + 1 of the next one; 0: last */
};

struct addr_set { /* our own addresses */
    uint32_t mask;
    struct key *slot; /* all zero: free */
    struct addr any4, any6; /* one of each family, or family 0 */
};

struct hop {
    uint32_t tunnel, priority, weight;
};
struct hops { /* the choices of one prefix, best priority first */
    uint32_t first, n; /* in fib.hop */
};
struct fib { /* one account's routes */
    uint32_t account;
    struct lpm v4, v6; /* value: index into `set` */
    struct hops *set;  /* set[0] is unused */
    struct hop *hop;
};

struct tables {
    struct tun **tun; /* by handle; NULL: none */
    uint32_t n_tun;
    struct gre_table *gre;
    struct addr_set *ours;
    struct fib **fib; /* open addressing by account */
    uint32_t fib_mask;
};

/* ---- lasting, written on the packet path ---------------------------------------------------------- */

struct limits { /* what an encapsulation lets through now */
    uint16_t mtu, mss4, mss6;
};

struct sa_peer { /* where the SA's packets go; replaced as a whole when the peer moves */
    struct pkt_outer outer;
    struct path path;
    bool udp;
};

struct sa {
    /* receiving: two lines */
    uint32_t spi_in, tunnel;
    struct esp_key *key_in;
    uint64_t hard_expiry;
    uint8_t iv, icv, align;
    bool cbc, seen, expired; /* expired: DP_EVENT_SA_HARD is out */
    struct limits limits;
    struct window window;
    uint64_t packets_in, bytes_in;
    uint32_t replay_drops, integrity_drops;
    struct sa_peer *peer;

    /* sending: two lines */
    _Alignas(LINE) struct esp_key *key_out;
    uint64_t iv_next; /* counter of the next packet, below the sender id */
    uint32_t spi_out;
    uint32_t seq;     /* last one sent */
    struct sa *replaces; /* still sent on until `seen` */
    uint64_t packets_out, bytes_out;
    bool soft;        /* DP_EVENT_SA_SOFT is out */

    /* seldom */
    struct selectors selectors;
    struct esp_alg alg;
    struct endpoint nominated;
    uint64_t nominated_at;
    uint64_t words[];
};

struct sa_set { /* of one tunnel, newest first; replaced as a whole */
    uint32_t n;
    struct sa *v[];
};

struct live {
    struct limits limits; /* GRE */
    uint16_t path_mtu;    /* learned; 0: none */
    uint64_t path_mtu_until;
    uint32_t seq_out;     /* GRE: next sequence number */
    uint32_t seq_in;      /* GRE: last one received, 2^32 - 1 before the first (RFC 2890 2.2) */
    struct bucket icmp, keepalive;
    struct sa_set *sas;   /* IPsec; NULL: none */
};

struct sa_index { /* open addressing; a removed entry leaves SA_GONE behind where a chain runs on */
    size_t mask, used; /* used: slots not free */
    struct sa *slot[];
};
#define SA_GONE ((struct sa *)(uintptr_t)1)

static inline uint32_t spi_hash(uint32_t spi)
{
    return (spi * UINT32_C(0x9e3779b1)) >> 8;
}
static inline struct sa *sa_find_in(const struct sa_index *x, uint32_t spi_in)
{
    struct sa *sa;
    for (size_t i = spi_hash(spi_in) & x->mask; (sa = x->slot[i]) != NULL; i = (i + 1) & x->mask)
        if (sa != SA_GONE && sa->spi_in == spi_in)
            return sa;
    return NULL;
}

/* ---- control side --------------------------------------------------------------------------------- */

struct source_set { /* allowed inner sources; tunnels of an account share one */
    struct map_node node; /* by content */
    uint32_t refs;
    size_t n;
    struct prefix *prefixes;
    struct lpm v4, v6;
};

struct tunnel {
    struct tun *view; /* the next published one */
    struct prefix net[2];    /* implicit routes; family 0: none */
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
    uint64_t seed;
    bool tunnels_dirty; /* tunnels or endpoints changed since the last publication */
    struct dp_worker *worker[WORKERS_MAX];
};

/* control.c */
void tables_reap(struct dp *dp, const struct tables *old, const struct tables *new); /* views only the old ones have */

/* publish.c, fib.c */
void tables_free(struct tables *t);
enum rc fib_build(const struct account *a, struct fib **ret) ADIT_MUST_USE;
void fib_free(struct fib *f);
static inline const struct fib *fib_find(const struct tables *t, uint32_t account)
{
    const struct fib *f;
    for (uint32_t i = account & t->fib_mask; (f = t->fib[i]) != NULL; i = (i + 1) & t->fib_mask)
        if (f->account == account)
            return f;
    return NULL;
}
static inline bool addr_is_ours(const struct addr_set *s, struct key k)
{
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
enum rc sa_indexes_new(struct dp *dp) ADIT_MUST_USE;
void sa_remove_all(struct dp *dp, uint32_t tunnel);

/* limits.c */
void limits_update(struct live *live, const struct tun *tun);

/* info.c */
void worker_counters_sum(const struct dp *dp, uint32_t tunnel, struct dp_counters *ret); /* since the workers began */

#endif
