/* dp: the ESP/GRE datapath core. Packets and now in, packets with a verdict out. Pure: no socket, clock, thread, allocation or
 * log on the packet path.
 *
 * struct dp is the control side: tables that dp_publish() makes visible to the workers by pointer swap. struct dp_worker is one
 * thread's mutable state. With one loop both live in one thread; else every function on a dp belongs to the control thread, every
 * one on a worker to its own, save dp_events(), which is the control thread's.
 *
 * A tunnel belongs to one worker, with its SAs: window, sequence numbers, IVs, path MTU. A packet that needs them and came to
 * another worker leaves that one as PKT_TO_WORKER, as it came, to be given to p->worker. An SA without replay protection sends from
 * every worker.
 */
#ifndef ADIT_DP_H
#define ADIT_DP_H

#include "adit/child.h"
#include "adit/pkt.h"
#include "adit/policy.h"

struct dp;
struct dp_worker;

struct dp_config {
    struct crypto *crypto; /* outlives dp */
    const struct rng *rng; /* flow-hash seed; outlives dp */
    uint32_t sender_id;    /* 24 bit, RFC 6054: high bits of every GCM IV */
    uint32_t max_tunnels, max_sas, max_routes;
    uint8_t coalesce; /* DP_COALESCE_*: what every TUN takes as super-packets; see dp_coalesce() */
    unsigned workers; /* threads, numbered from 0, at most DP_WORKERS_MAX; 0: one, which is the control thread */
};
enum { DP_COALESCE_TCP = 1, DP_COALESCE_UDP = 2 };
#define DP_WORKERS_MAX 64
enum rc dp_new(const struct dp_config *config, struct dp **ret) ADIT_MUST_USE;
void dp_free(struct dp *dp);
/* From the next batch on. A super-packet has pkt.offload set and its payload in a chain of packets (pkt.more). */
void dp_coalesce(struct dp *dp, uint8_t what);

/* ---- control side. Changes are seen by workers after dp_publish(). */
/* Add, or change in place. RC_RANGE: addresses that do not fit each other; RC_LIMIT: the handle, or that of the tunnel that
 * protects this one, is not below max_tunnels, or its former holder waits in dp_garbage. */
enum rc dp_tunnel_set(struct dp *dp, const struct tunnel_policy *tunnel) ADIT_MUST_USE;
void dp_tunnel_remove(struct dp *dp, uint32_t tunnel);                               /* its SAs and routes go too */
enum rc dp_route_set(struct dp *dp, const struct route_policy *route) ADIT_MUST_USE; /* key: account, prefix, tunnel */
void dp_route_remove(struct dp *dp, uint32_t account, const struct prefix *prefix, uint32_t tunnel);
/* Copies the keys. RC_ABSENT: no such IPsec tunnel; RC_EXISTS: spi_in is taken; RC_LIMIT: max_sas; RC_RANGE: in
 * transport mode, selectors that are not the two ends of GRE; RC_UNSUPPORTED: unknown algorithm. */
enum rc dp_child_up(struct dp *dp, uint64_t now, const struct child_sa *child) ADIT_MUST_USE;
void dp_child_down(struct dp *dp, uint32_t spi_in);
/* Another has its place: nothing goes out on it any more, what the peer has sent before is still taken until then. It stays until
 * dp_child_down(). */
void dp_child_retire(struct dp *dp, uint32_t spi_in, uint64_t until);
enum rc dp_child_moved(struct dp *dp, uint32_t spi_in, const struct path *path, bool udp) ADIT_MUST_USE;
/* RC_EXISTS: two GRE tunnels have one endpoint pair and no distinct keys; RC_NOMEM. Either way the old tables stay. */
enum rc dp_publish(struct dp *dp) ADIT_MUST_USE;
/* The addresses we terminate, besides the endpoints of the tunnels themselves; anything else is not ours (io filters too), and
 * no inner packet may go to them. */
enum rc dp_endpoints_set(struct dp *dp, const struct addr *endpoints, size_t n) ADIT_MUST_USE;

/* Where workers are threads, what was taken away may still be in the hands of one. Once every worker has been between two batches since
 * the call of dp_garbage_take(), it may be freed; before the next tunnel gets a removed one's handle, it must be. NULL: nothing. */
struct dp_garbage;
struct dp_garbage *dp_garbage_take(struct dp *dp);
void dp_garbage_free(struct dp *dp, struct dp_garbage *garbage);

/* ---- packet side */
/* crypto: the worker's own, where there are several; NULL: dp's. It outlives the worker. RC_RANGE: there is one of that number, or
 * it is not below dp_config.workers. */
enum rc dp_worker_new(struct dp *dp, unsigned index, struct crypto *crypto, struct dp_worker **ret) ADIT_MUST_USE;
void dp_worker_free(struct dp_worker *w);
/* v: up to PKT_BATCH packets, ownership goes in and comes out in ret with a verdict. ret->cap must be >= 64 * n: a packet that
 * finds ret full goes back to the pool and counts as POOL. */
void dp_from_net(struct dp_worker *w, uint64_t now, struct pkt **v, size_t n, struct pkt_pool *pool,
                 struct pkt_list *ret);
void dp_from_tun(struct dp_worker *w, uint64_t now, struct pkt **v, size_t n, struct pkt_pool *pool,
                 struct pkt_list *ret);

enum dp_event_type {
    DP_EVENT_SA_SEEN,    /* first authentic packet on spi_in */
    DP_EVENT_SA_SOFT,    /* sequence or IV space past its soft limit: rekey */
    DP_EVENT_SA_HARD,    /* exhausted or expired: no more packets go out */
    DP_EVENT_PEER_MOVED, /* an authentic packet on spi_in came from `path`: a nomination, nothing more */
};
struct dp_event {
    enum dp_event_type type;
    uint32_t spi_in;
    struct path path;
};
size_t dp_events(struct dp_worker *w, struct dp_event *ret, size_t max);
/* Asked by the worker: are there any that dp_events() has not returned? */
bool dp_events_pending(const struct dp_worker *w);

/* ---- counters, by reason */
#define DP_REASONS(X)                                                                                           \
    X(NONE, "none")                                                                                             \
    X(SHORT, "short")                         /* shorter than its headers say */                                \
    X(OUTER_DESTINATION, "outer_destination") /* not one of our endpoints */                                    \
    X(GRE_SOURCE, "gre_source")               /* (source, destination) is no GRE tunnel */                      \
    X(GRE_FLAGS, "gre_flags")                 /* reserved bits, routing */                                      \
    X(GRE_VERSION, "gre_version")                                                                               \
    X(GRE_PROTOCOL, "gre_protocol") /* ethertype other than IPv4, IPv6 */                                       \
    X(GRE_PROTECT, "gre_protect")   /* GRE as it is where ESP must carry it, or through another IPsec tunnel */ \
    X(GRE_KEY, "gre_key")                                                                                       \
    X(GRE_CHECKSUM, "gre_checksum")                                                                             \
    X(GRE_SEQUENCE, "gre_sequence")                                                                             \
    X(ESP_UNKNOWN_SPI, "esp_unknown_spi")                                                                       \
    X(ESP_REPLAY, "esp_replay")                                                                                 \
    X(ESP_INTEGRITY, "esp_integrity")                                                                           \
    X(ESP_PADDING, "esp_padding")                                                                               \
    X(ESP_NEXT_HEADER, "esp_next_header")                                                                       \
    X(ESP_DUMMY, "esp_dummy")       /* next header 59: TFC, not an error */                                     \
    X(ESP_SELECTOR, "esp_selector") /* inner packet outside the SA's traffic selectors */                       \
    X(ESP_EXPIRED, "esp_expired")   /* sequence, IV or lifetime exhausted */                                    \
    X(INNER_VERSION, "inner_version")                                                                           \
    X(INNER_LENGTH, "inner_length")                                                                             \
    X(INNER_SOURCE, "inner_source")           /* not a source of the account */                                 \
    X(INNER_DESTINATION, "inner_destination") /* our endpoint, loopback, link-local, multicast */               \
    X(INNER_LOOP, "inner_loop")               /* encapsulation or decapsulation loop */                         \
    X(ECN, "ecn")                             /* RFC 6040: CE outside, Not-ECT inside */                        \
    X(NO_ROUTE, "no_route")                                                                                     \
    X(NO_SA, "no_sa")     /* IPsec tunnel without a usable Child SA */                                          \
    X(TOO_BIG, "too_big") /* answered by ICMP or counted only */                                                \
    X(FRAGMENT, "fragment")                                                                                     \
    X(OFFLOAD, "offload") /* malformed super-packet */                                                          \
    X(POOL, "pool")       /* no buffer left */                                                                  \
    X(SEND, "send")       /* the kernel refused; counted by dp_count_drop(), as the next one */                 \
    X(HANDOFF, "handoff") /* to the tunnel's worker: no room on the way, or not its tunnel any more */          \
    X(ICMP_UNMATCHED, "icmp_unmatched")                                                                         \
    X(ICMP_DONE, "icmp_done") /* used; nothing to forward */                                                    \
    X(KEEPALIVE, "keepalive") /* GRE keepalive answered or refused */
enum dp_reason {
#define X(id, text) DP_REASON_##id,
    DP_REASONS(X)
#undef X
        DP_REASON_END
};
const char *dp_reason_name(enum dp_reason r);

struct dp_counters {
    uint64_t packets_in, bytes_in;   /* inner packets and bytes, after decapsulation */
    uint64_t packets_out, bytes_out; /* inner, before encapsulation */
    uint64_t drops[DP_REASON_END];
};
struct dp_tunnel_info {
    struct dp_counters counters;
    uint16_t mtu;        /* exact inner MTU now */
    uint16_t mss4, mss6; /* clamp values */
    uint16_t path_mtu;
    bool sendable;    /* GRE: always; IPsec, and GRE inside it: has an SA to send on */
    uint64_t last_in; /* now of the last authentic packet; 0 never */
};
bool dp_tunnel_info(const struct dp *dp, uint32_t tunnel, struct dp_tunnel_info *ret);
struct dp_sa_info {
    uint64_t packets_in, bytes_in, packets_out, bytes_out;
    uint64_t seq_in, seq_out; /* highest received; last sent */
    uint32_t replay_drops, integrity_drops;
    uint16_t mtu, mss4, mss6;
    bool sending; /* the SA this tunnel sends on */
};
bool dp_sa_info(const struct dp *dp, uint32_t spi_in, struct dp_sa_info *ret);
/* Everything together: all tunnels, and the drops that belong to none. A packet of GRE inside ESP is one of both tunnels. */
void dp_total_info(const struct dp *dp, struct dp_counters *ret);
void dp_count_drop(struct dp_worker *w, enum dp_reason reason, uint32_t n); /* after dp: SEND, HANDOFF */

/* Inner MTU and MSS of an encapsulation (facts in RFC 4303, 2784; docs/limits.md): used by dp, tools and tests. */
struct dp_overhead {
    enum tunnel_type type;
    bool outer_v6, udp, gre_key, gre_checksum, gre_sequence;
    enum { GRE_IN_ESP_NONE, GRE_IN_ESP_TRANSPORT, GRE_IN_ESP_TUNNEL } gre_in_esp; /* type IPSEC that carries GRE */
    struct esp_alg alg;
};
/* 0: the combination is unknown, or nothing fits. */
uint16_t dp_inner_mtu(const struct dp_overhead *o, uint16_t path_mtu);

#endif
