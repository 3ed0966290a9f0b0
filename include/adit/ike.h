/* ike: the IKEv2 responder core. Bytes and now in, actions and a deadline out. Pure: no socket, clock, file or thread.
 */
#ifndef ADIT_IKE_H
#define ADIT_IKE_H

#include "adit/child.h"
#include "adit/policy.h"

struct ike;

/* ---- actions: data, in the order of execution (CHILD_UP stands before the SEND that tells the peer) */
enum act_type {
    ACT_SEND,        /* datagram on path; the buf is owned by the action */
    ACT_CHILD_UP,    /* install; keys are in `child` */
    ACT_CHILD_DOWN,  /* remove spi_in; why */
    ACT_CHILD_MOVED, /* all ESP of spi_in goes to another path from now on */
    ACT_UP,          /* an IKE SA of `tunnel` is established */
    ACT_DOWN,        /* it is gone */
};
enum child_down { CHILD_DOWN_PEER, CHILD_DOWN_REKEYED, CHILD_DOWN_EXPIRED, CHILD_DOWN_IKE_GONE, CHILD_DOWN_ADMIN };

struct act {
    enum act_type type;
    struct path path; /* SEND, CHILD_MOVED */
    bool marker; /* SEND: prepend the four zero octets (port 4500); they are not in `datagram`. Not to a keepalive */
    struct buf datagram;    /* SEND */
    struct child_sa *child; /* CHILD_UP; guarded memory owned by the action */
    uint32_t spi_in;        /* CHILD_DOWN, CHILD_MOVED */
    bool udp;               /* CHILD_MOVED */
    enum child_down why;    /* CHILD_DOWN */
    uint32_t tunnel;        /* UP, DOWN, CHILD_MOVED */
    uint64_t sa;            /* UP, DOWN: our SPI */
};
#define ACTS_MAX 512
struct acts {
    struct act v[ACTS_MAX];
    size_t n;
    bool full; /* something was not done for lack of room: execute, acts_clear(), then ike_tick() again at once */
};
void acts_clear(struct ike *ike, struct acts *a); /* frees and wipes what the actions own; n = 0 */

/* ---- life */
struct ike_config {
    struct ike_policy policy;
    struct log *log;       /* may be NULL */
    struct crypto *crypto; /* outlives the engine */
    const struct rng *rng; /* SPIs, nonces, cookies; outlives the engine */
    /* Inbound ESP SPIs, > 255; NULL: random */
    uint32_t (*spi_source)(void *ctx, uint32_t tunnel, const struct rng *rng);
    void *spi_ctx;
    uint64_t unix_time_at_zero; /* Unix seconds at now == 0, for PSK not_after */
};
/* The reference set: every algorithm and limit of docs/configuration.md at its default. */
void ike_policy_default(struct ike_policy *ret);
enum rc ike_new(const struct ike_config *config, struct ike **ret) ADIT_MUST_USE;
void ike_free(struct ike *ike); /* silently: no Delete */

/* One datagram from UDP 500 or, marker already removed, 4500; path tells which. Never fails: hostile input counts a reason. */
void ike_input(struct ike *ike, uint64_t now, const struct path *path, struct span datagram, struct acts *ret);
void ike_tick(struct ike *ike, uint64_t now, struct acts *ret); /* everything due by now */
uint64_t ike_deadline(const struct ike *ike);                   /* when ike_tick() is wanted next; NEVER */

/* ---- commands */
enum ike_cmd_type {
    /* New or changed policy; a changed identity, endpoint or lost PSK ends its SAs. An identity that another tunnel has goes over to
     * this one: in a configuration that is good as a whole, the other one is set or removed as well. */
    IKE_CMD_TUNNEL_SET,
    IKE_CMD_TUNNEL_REMOVE, /* Delete to the peer */
    IKE_CMD_TUNNEL_RESET,  /* Delete all SAs of the tunnel, keep the policy */
    IKE_CMD_POLICY,        /* daemon-wide policy changed; running SAs stay */
    IKE_CMD_ESP_SEEN,      /* dp saw the first packet on spi_in, or liveness: an authentic packet */
    IKE_CMD_ESP_EXPIRE,    /* dp: sequence, IV or time of spi_in near its end: it is rekeyed */
    IKE_CMD_ESP_LOST,      /* dp does not have spi_in, or not any more: it is deleted */
    IKE_CMD_ESP_MOVED, /* dp: an authentic packet on spi_in came from `path`; nothing moves before the peer answers there */
    IKE_CMD_SHUTDOWN, /* Delete to every peer; ike_idle() tells when all are answered or given up */
};
struct ike_cmd {
    enum ike_cmd_type type;
    const struct tunnel_policy *tunnel; /* SET */
    const struct ike_policy *policy;    /* POLICY */
    uint32_t handle;                    /* REMOVE, RESET */
    uint32_t spi_in;                    /* ESP_* */
    const struct path *path;            /* ESP_MOVED; ports 0: not in UDP */
};
enum rc ike_command(struct ike *ike, uint64_t now, const struct ike_cmd *cmd, struct acts *ret) ADIT_MUST_USE;
bool ike_idle(const struct ike *ike); /* no SA left */

/* ---- to look at: for aditctl and metrics */
struct ike_sa_info {
    uint64_t spi_i, spi_r;
    uint32_t tunnel; /* TUNNEL_NONE before authentication */
    const char *state;
    struct suite suite;
    struct path path;
    bool nat_peer, nat_local, fragmentation, established_pq;
    uint64_t since; /* creation, or establishment once established */
    bool established;
    uint32_t children;
};
struct ike_child_info {
    uint32_t tunnel, spi_in, spi_out;
    uint64_t ike_spi_r;
    struct suite suite; /* encr, integ, ke and addke (PFS) */
    struct ts ts_local, ts_remote;
    struct path path;
    bool udp;
    uint64_t since;
};
/* Iterate: pass 0 first, then the value returned; 0 ends. No input, tick or command in between. */
size_t ike_sa_next(const struct ike *ike, size_t cursor, struct ike_sa_info *ret);
size_t ike_child_next(const struct ike *ike, size_t cursor, struct ike_child_info *ret);

/* The last failed handshake of a tunnel, for its status line; text is empty when none. */
struct ike_failure {
    uint64_t at;
    char text[480];
};
bool ike_last_failure(const struct ike *ike, uint32_t tunnel, struct ike_failure *ret);

/* Counters: index is enum ike_count. Monotonic. */
#define IKE_COUNTS(X)                                                                        \
    X(RECEIVED, "received")                                                                  \
    X(SENT, "sent")                                                                          \
    X(ESTABLISHED, "established")                                                            \
    X(DELETED, "deleted")                                                                    \
    X(CHILDREN, "children") /* Child SAs made by CREATE_CHILD_SA, and of them */             \
    X(REKEYED, "rekeyed")   /* those that replaced one */                                    \
    X(IKE_REKEYED, "ike_rekeyed")                                                            \
    X(DROP_HEADER, "drop_header") /* shorter than a header, wrong length, zero SPI, flags */ \
    X(DROP_VERSION, "drop_version")                                                          \
    X(DROP_EXCHANGE, "drop_exchange") /* unknown, or not an edge of the transition table */  \
    X(DROP_SYNTAX, "drop_syntax")                                                            \
    X(DROP_UNKNOWN_SPI, "drop_unknown_spi")                                                  \
    X(DROP_UNKNOWN_ENDPOINT, "drop_unknown_endpoint")                                        \
    X(DROP_INTEGRITY, "drop_integrity") /* ICV of SK or SKF */                               \
    X(DROP_MESSAGE_ID, "drop_message_id")                                                    \
    X(DROP_FRAGMENT, "drop_fragment")                                                        \
    X(DROP_LIMIT, "drop_limit") /* half-open table, SA table, memory */                      \
    X(DROP_RATE, "drop_rate")                                                                \
    X(DROP_BUDGET, "drop_budget") /* handshakes_per_second */                                \
    X(RETRANSMIT_ANSWERED, "retransmit_answered")                                            \
    X(CUT_SMALLER, "cut_smaller") /* a repeated message of ours, into smaller fragments */   \
    X(COOKIE_SENT, "cookie_sent")                                                            \
    X(NOMINATED, "nominated") /* places that a peer may have moved to */                     \
    X(MOVED, "moved")         /* SAs whose peer has */                                       \
    X(KEEPALIVE, "keepalive") /* sent */                                                     \
    X(FAIL_PROPOSAL, "fail_proposal")                                                        \
    X(FAIL_KE, "fail_ke")                                                                    \
    X(FAIL_IDENTITY, "fail_identity")                                                        \
    X(FAIL_PSK, "fail_psk")                                                                  \
    X(FAIL_PQ_REQUIRED, "fail_pq_required")                                                  \
    X(FAIL_PEER_ADDRESS, "fail_peer_address") /* strict_peer */                              \
    X(FAIL_SELECTORS, "fail_selectors")                                                      \
    X(FAIL_TIMEOUT, "fail_timeout")     /* half-open too long, or no answer to us */         \
    X(FAIL_COLLISION, "fail_collision") /* TEMPORARY_FAILURE, either way */                  \
    X(FAIL_REKEY, "fail_rekey")         /* refused, either way */
enum ike_count {
#define X(id, text) IKE_COUNT_##id,
    IKE_COUNTS(X)
#undef X
        IKE_COUNT_END
};
const char *ike_count_name(enum ike_count c);
uint64_t ike_count(const struct ike *ike, enum ike_count c);

#endif
