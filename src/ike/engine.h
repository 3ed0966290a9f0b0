/* ike/engine: the objects of the IKEv2 responder and the functions its files share. Nobody outside src/ike includes this.
 *
 *   ike ---- tunnels by handle, identities by (identity, local address)
 *    |------ SAs by our SPI; half-open ones also in order of age and by source address
 *    |          |--- children (our inbound SPI), at most one own request, at most one reassembly per direction
 *    |          '--- at most one CREATE_CHILD_SA of the peer that waits for its IKE_FOLLOWUP_KE, at most one of ours
 *    '------ one deadline heap for every timer there is
 */
#ifndef ADIT_IKE_ENGINE_H
#define ADIT_IKE_ENGINE_H

#include "adit/ike.h"
#include "adit/wire_ike.h"
#include "cookie.h"
#include "fragment.h"
#include "keys.h"

/* Limits of our own (docs/limits.md). */
#define IKE_DATAGRAM_MAX 65536
#define IKE_INNER_MAX 8192   /* payloads of one message of ours */
#define IKE_PIECES_MAX 16    /* datagrams one message of ours is cut into */
#define IKE_TUNNEL_SAS 16    /* IKE SAs of one tunnel; the oldest goes */
#define IKE_CHILDREN_MAX 100 /* child SAs of one tunnel, whatever the policy says */
#define IKE_HANDLE_MAX (1u << 20)
#define IKE_FRAGMENT_BUDGET (32u << 20) /* octets of incomplete messages of all SAs */
#define IKE_ACTS_RESERVE 256            /* room one call may need: children of a tunnel, its SAs, pieces */
#define IKE_NONCE_SIZE 32               /* >= half the key of PRF_HMAC_SHA2_512, RFC 7296 2.10 */
#define IKE_LINGER (30 * NS_PER_S)      /* an ended SA still repeats its last response */
#define IKE_RETRANSMIT_CAP (32 * NS_PER_S)
#define IKE_STATELESS_RATE 500    /* unprotected answers per second, and at once */
#define IKE_CANDIDATES_MAX 4096   /* identities among which the one meant is sought, */
#define IKE_EXPLAIN_RATE 10       /* so often per second */
#define IKE_RATE_SOURCES_MAX 8192 /* hosts whose rate of IKE_SA_INIT is known */
#define IKE_RATE_ROW 4
#define IKE_RESEND_RATE 5 /* repeated answers of one SA per second */
#define IKE_RESEND_BURST 10
#define IKE_CHILD_SOFT (7 * 3600 * NS_PER_S) /* a child is rekeyed at this age whatever the policy says, */
#define IKE_CHILD_MORE (3600 * NS_PER_S)     /* and ends so much later whatever life the peer believes in */
#define IKE_UNBORN_MAX \
    (8 * 3600 * NS_PER_S)                 /* timer of what is not installed yet: whoever prepared it limits its time */
#define IKE_REPLACED_MAX (120 * NS_PER_S) /* for the peer to delete what it has replaced; then we do */
#define IKE_BUSY_RETRY (10 * NS_PER_S)    /* after TEMPORARY_FAILURE, up to twice that; */
#define IKE_BUSY_MAX (300 * NS_PER_S)     /* for so long, then the SA is closed (RFC 7296 2.25) */
#define IKE_CREATE_RATE 10                /* CREATE_CHILD_SA requests of a tunnel's peer per second, */
#define IKE_CREATE_BURST 200              /* and at once: it may set up and rekey all its children */
#define IKE_NOMINATE_TRIES 3              /* requests to a place that the peer may have moved to */
#define IKE_NOMINATE_RETRY (5 * NS_PER_S) /* the next such place at the earliest */
#define IKE_PSK_DIGEST 32
#define IKE_CREATES_MAX 4096 /* CREATE_CHILD_SA exchanges of all SAs that are not done: up to 5 KB each */

enum ike_state {
    IKE_STATE_NEW,           /* no SA yet */
    IKE_STATE_ADDING_KEYS,   /* IKE_INTERMEDIATE exchanges are due (RFC 9370) */
    IKE_STATE_AWAITING_AUTH, /* IKE_AUTH is due */
    IKE_STATE_ESTABLISHED,
    IKE_STATE_CONTESTED, /* the peer made it while our own rekey was on its way: which one inherits is open (2.8.2) */
    IKE_STATE_REPLACED,  /* rekeyed by the peer, which is to delete it */
    IKE_STATE_DELETING,  /* we want it gone: our Delete is sent, or queued behind another request */
    IKE_STATE_ENDED,     /* everything said; a repeated request gets the stored response again */
    IKE_STATES
};
const char *ike_state_name(enum ike_state state);

enum ike_timer_kind { TIMER_SA, TIMER_REQUEST, TIMER_FRAGMENTS, TIMER_CHILD, TIMER_CREATE };
struct ike_timer {
    struct timer t;
    enum ike_timer_kind kind;
};

/* A message of ours as it went out: a repeated request gets the same octets (RFC 7296 2.1). */
struct ike_message {
    struct buf bytes; /* the datagrams, one after the other */
    uint16_t length[IKE_PIECES_MAX];
    uint8_t n;
    /* To be cut anew, into more pieces, while the peer keeps asking (RFC 7383 2.5.2); empty: it cannot be. */
    struct buf inner;
    struct ike_header header;
    uint8_t first, repeats;
};

struct ike_half { /* the keys of one direction */
    uint8_t e[SK_E_MAX], a[SK_A_MAX];
};

struct ike_secrets { /* lives in the guarded arena */
    struct ike_keys keys;
    /* Under which keys the last answered request came and its answer went: IKE_INTERMEDIATE changes them afterwards. */
    struct ike_half last_in, last_out;
    uint8_t int_auth_i[PRF_MAX], int_auth_r[PRF_MAX];
    bool has_int_auth;
};

struct ike_queue { /* a message of one direction being reassembled */
    struct ike_timer timer;
    struct list age; /* of all queues; the oldest pays when the budget is spent */
    struct ike_sa *sa;
    bool response;
    struct ike_fragments f;
};

enum ike_errand {
    ERRAND_NONE,
    ERRAND_DELETE_IKE,
    ERRAND_DELETE_CHILDREN,
    ERRAND_CREATE, /* CREATE_CHILD_SA, then IKE_FOLLOWUP_KEs; `create` is NULL when it came to nothing meanwhile */
    ERRAND_LIVENESS,
};
struct ike_request { /* our own request: window 1 */
    struct ike_timer timer;
    enum ike_errand errand;
    uint32_t mid;
    uint8_t exchange, tries;
    uint64_t interval;
    struct ike_message message;
    struct ike_create *create; /* stays between the exchanges of one rekey */
};

struct ike_nomination { /* where the peer may have gone: an answer from there has to prove it */
    struct path path;   /* family 0: none */
    bool udp;           /* ESP came from there in UDP */
    uint8_t tries;      /* requests of ours that went there */
    uint64_t after;     /* no other one before */
};

enum ike_create_kind { CREATE_CHILD, CREATE_REKEY_CHILD, CREATE_REKEY_IKE };

struct ike_child {
    struct map_node by_spi; /* inbound */
    struct list of_sa;
    struct ike_timer timer;
    struct ike_sa *sa;
    uint32_t spi_in, spi_out;
    struct suite suite;
    struct ts ts_local, ts_remote;
    bool udp, transport;
    bool rekey_due;   /* our rekey of it is due */
    bool replaced;    /* another has its place: it is not rekeyed, it goes */
    bool expiring;    /* our Delete is due */
    bool deleting;    /* our Delete for it is on its way */
    uint32_t made_by; /* message ID of the peer's request that made it */
    uint64_t since, hard;
};

enum ike_scope { SCOPE_HOST, SCOPE_PREFIX, IKE_SCOPES };
struct ike_source { /* half-open SAs of one host, or one prefix */
    struct map_node node;
    struct prefix prefix;
    uint32_t n;
};
struct ike_rate { /* IKE_SA_INIT of one host */
    uint64_t hash;
    struct bucket bucket;
};

struct ike_sa {
    struct map_node by_spi, by_init;
    struct list of_tunnel, half_open_order;
    struct ike_timer timer;

    uint64_t spi_i, spi_r;
    uint64_t heir;  /* our SPI of the SA that has its children now; 0: none has */
    bool initiator; /* we are its original initiator; our SPI is then spi_i */
    enum ike_state state;
    struct suite suite;
    struct sk_alg alg;
    struct path path;
    struct ike_nomination nominated;
    uint64_t keepalive_at; /* NEVER: no NAT in front of us */
    bool nat_peer, nat_local, natd_seen, fragmentation, full_transcript, fragments_used;

    struct buf ni, nr;            /* of IKE_SA_INIT; gone when the first child is up */
    struct buf request, response; /* IKE_SA_INIT as received and sent, for AUTH */
    uint64_t init_hash;
    struct ike_secrets *secrets; /* NULL once ended */
    uint8_t addke_done;
    uint16_t fragments_have, fragments_total; /* of the peer's message that is not complete; 0: there is none */
    uint64_t keyed;                           /* when the last IKE_INTERMEDIATE was answered */
    uint64_t iv_out;                          /* GCM: never twice under one key */

    struct ike_create *pending;        /* of the peer: its IKE_FOLLOWUP_KE is due */
    uint64_t rekey_at;                 /* NEVER: not, or not any more */
    uint64_t heard;                    /* last sign of life of the peer */
    uint64_t busy_since;               /* first of a row of TEMPORARY_FAILUREs; 0: none */
    bool rekey_due, probe_due, doomed; /* doomed: to be deleted as soon as its timer fires */
    bool rekeyed;                      /* made by CREATE_CHILD_SA: there was no IKE_SA_INIT */

    uint32_t mid_in, mid_out; /* the next request we expect, the next we send */
    struct {
        bool valid;
        uint8_t exchange;
        uint64_t hash; /* of the request, or of its first fragment */
        struct ike_message message;
    } answered; /* response to mid_in - 1 */
    struct bucket resend;
    struct ike_request own;
    struct ike_queue *queue[2]; /* requests, responses */

    struct ike_source *source[IKE_SCOPES]; /* set while half-open */
    struct ike_tunnel *tunnel;             /* set while established */
    uint32_t tunnel_handle;
    struct identity peer;
    uint8_t psk_digest[IKE_PSK_DIGEST];
    struct list children;
    uint32_t n_children;
    uint64_t created, established;
};

struct ike_identity {
    struct map_node node;
    struct ike_tunnel *tunnel;
    uint8_t type;
    uint16_t n;
    uint8_t data[];
};
struct ike_endpoint { /* a local address that terminates a tunnel */
    struct map_node node;
    struct addr addr;
    uint32_t refs, pq; /* tunnels; those without pq: off */
};
struct ike_psk {
    struct buf value;
    uint64_t not_after;
};
struct ike_tunnel {
    uint32_t handle;
    char *name; /* account/tunnel */
    struct addr endpoint, customer_endpoint;
    struct addr gre_remote; /* the other end of the GRE it carries; family 0: it carries none */
    struct identity local_identity;
    struct ike_identity *identities[TUNNEL_IDENTITIES];
    uint8_t n_identities;
    struct ike_psk psks[TUNNEL_PSKS];
    uint8_t n_psks;
    enum pq_mode pq;
    bool strict_peer, allow_null_cipher;
    struct proposal_policy ike, esp; /* of the daemon's lists; empty: all */
    struct ts ts_local[2], ts_remote[2];
    uint8_t n_ts_local, n_ts_remote;
    struct list sas; /* oldest first */
    uint32_t n_sas, n_children;
    struct bucket creates; /* CREATE_CHILD_SA requests of its peer */
    struct ike_failure failure;
};

struct ike {
    struct ike_policy policy;
    struct log *log;
    struct crypto *crypto;
    const struct rng *rng;
    uint32_t (*spi_source)(void *ctx, uint32_t tunnel, const struct rng *rng);
    void *spi_ctx;
    uint64_t unix_time_at_zero;
    uint8_t hash_key[16];
    uint8_t digest_key[32];
    struct ike_cookies cookies;

    struct map sas, inits, children, sources, identities, endpoints;
    struct ike_tunnel **tunnels;
    size_t n_tunnels;
    struct list half_open; /* oldest first */
    size_t n_half_open, n_alive;
    struct list creates; /* all CREATE_CHILD_SA exchanges that are not done */
    struct list queues;  /* oldest first */
    size_t queued;       /* octets in all queues */
    struct heap timers;
    struct arena *secrets, *child_keys, *exchanges;
    struct bucket stateless;             /* unprotected errors */
    struct bucket handshakes, strangers; /* key exchanges of IKE_SA_INIT; of those without a cookie */
    struct bucket explanations;          /* searches for the identity that a peer may have meant */
    struct ike_rate *rates;              /* IKE_RATE_SOURCES_MAX, in rows of IKE_RATE_ROW */

    uint8_t *in, *joined, *out, *inner; /* scratch of one call; wiped when it held plaintext */
    uint64_t counts[IKE_COUNT_END];
};

/* One call into the engine. */
struct ike_turn {
    struct ike *ike;
    uint64_t now;
    struct acts *acts;
};

/* What a handler found: nothing is changed before its reply is sealed and stored, then commit() runs. */
enum ike_outcome {
    OUTCOME_DROP,  /* silence; the message ID stays, the peer may try again */
    OUTCOME_REPLY, /* go to the row's next state */
    OUTCOME_STAY,  /* reply and keep the state */
    OUTCOME_KILL,  /* reply, then the SA ends; of a response: the peer has ended it */
    OUTCOME_DONE,  /* nothing to send: the handler did it all (IKE_SA_INIT); of a response: our Delete is answered */
};

struct ike_auth_plan { /* what a good IKE_AUTH brings, until commit */
    struct ike_tunnel *tunnel;
    struct identity peer;
    uint8_t psk_digest[IKE_PSK_DIGEST];
    bool initial_contact;
    struct ike_child *child; /* NULL: no child */
    struct child_sa *keys;
};

struct ike_inbound { /* one message on its way through the engine */
    struct ike_turn *turn;
    struct path path;
    struct ike_header header;
    struct ike_sa *sa; /* NULL: IKE_SA_INIT */
    struct span datagram;
    uint64_t hash;
    bool fragmented;
    size_t largest;        /* UDP payload of the (largest) datagram */
    const char *malformed; /* authentic, but no list of payloads: why */
    uint8_t first;         /* type of the first inner payload */

    struct ike_chain chain;         /* inner payloads; those of the datagram itself in IKE_SA_INIT */
    struct span inner;              /* the octets of the chain, P of RFC 9242 3.3.2 */
    uint8_t a[IKE_HEADER_SIZE + 4]; /* A of RFC 9242 3.3.2 */

    struct ike_writer reply; /* inner payloads */
    void (*commit)(struct ike_inbound *x);
    struct ike_secrets next; /* becomes the SA's at commit */
    bool has_next;
    struct ike_auth_plan auth;                /* IKE_AUTH */
    struct ike_create *create;                /* CREATE_CHILD_SA */
    struct ike_child *gone[IKE_CHILDREN_MAX]; /* INFORMATIONAL: children the peer deletes */
    size_t n_gone;
};

/* ---- sa.c */
/* A half-open SA with SPIs, timers and tables set up; NULL at a limit (counted) or out of memory. */
struct ike_sa *ike_sa_new(struct ike_turn *t, uint64_t spi_i, const struct path *path, uint64_t init_hash);
/* What an IKE rekey makes of `old`, in state NEW and known to nobody yet (RFC 7296 2.18); `ours`: we are its initiator. NULL as
 * above. */
struct ike_sa *ike_sa_successor(struct ike_turn *t, const struct ike_sa *old, uint64_t peer_spi, bool ours);
struct ike_sa *ike_sa_find(struct ike *ike, uint64_t spi); /* by our SPI */
struct ike_sa *ike_sa_find_init(struct ike *ike, uint64_t init_hash, uint64_t spi_i);
void ike_sa_establish(struct ike_turn *t, struct ike_sa *sa, struct ike_tunnel *tunnel);
/* Children down, tunnel told, secrets wiped; the SA lingers as ENDED to repeat its last response. */
void ike_sa_end(struct ike_turn *t, struct ike_sa *sa, enum child_down why);
/* The same, but first the peer is sent a Delete. */
void ike_sa_delete(struct ike_turn *t, struct ike_sa *sa, enum child_down why);
struct ike_sa *ike_sa_holder(struct ike *ike, struct ike_sa *sa); /* of its children: itself, or its last heir */
/* Tunnel and children of `from`, whose identity `to` has, go over to it. */
void ike_sa_inherit(struct ike_turn *t, struct ike_sa *from, struct ike_sa *to);
void ike_sa_open(struct ike_turn *t, struct ike_sa *sa); /* ESTABLISHED from now on, with all its timers */
void ike_sa_retire(struct ike_turn *t, struct ike_sa *sa, enum ike_state state); /* CONTESTED, REPLACED */
void ike_sa_heard(struct ike_turn *t, struct ike_sa *sa);                        /* a sign of life */
void ike_sa_rearm(struct ike_turn *t, struct ike_sa *sa); /* rekey_at or the policy has changed */
void ike_sa_free(struct ike *ike, struct ike_sa *sa);     /* silently */
uint64_t ike_sa_our_spi(const struct ike_sa *sa);
void ike_sa_due(struct ike_turn *t, struct ike_sa *sa); /* its timer */
bool ike_sa_is_pq(const struct ike_sa *sa);

/* ---- acts, timers, hashes: engine.c */
bool ike_acts_room(struct ike_turn *t);
void ike_act_send(struct ike_turn *t, const struct path *path, struct span datagram);
void ike_act_send_message(struct ike_turn *t, const struct path *path, const struct ike_message *m);
struct act *ike_act_add(struct ike_turn *t, enum act_type type);           /* never NULL inside the reserve */
bool ike_timer_set(struct ike *ike, struct ike_timer *timer, uint64_t at); /* false: out of memory */
uint64_t ike_jitter(const struct ike *ike, uint64_t life);                 /* a little less than `life` */
uint64_t ike_hash(const struct ike *ike, struct span s);
uint64_t ike_hash_addr(const struct ike *ike, const struct addr *a);
uint64_t ike_unix_time(const struct ike *ike, uint64_t now);
static inline void ike_count_add(struct ike *ike, enum ike_count c)
{
    ike->counts[c]++;
}

/* ---- tunnel.c */
struct ike_tunnel *ike_tunnel_get(const struct ike *ike, uint32_t handle);
enum rc ike_tunnel_set(struct ike_turn *t, const struct tunnel_policy *p) ADIT_MUST_USE;
void ike_tunnel_reset(struct ike_turn *t, struct ike_tunnel *tunnel);
void ike_tunnel_remove(struct ike_turn *t, struct ike_tunnel *tunnel);
void ike_tunnel_free(struct ike *ike, struct ike_tunnel *tunnel); /* without SAs */
struct ike_tunnel *ike_tunnel_by_identity(const struct ike *ike, const struct addr *local, uint8_t type,
                                          struct span data);
bool ike_endpoint_known(const struct ike *ike, const struct addr *local);
bool ike_endpoint_pq(const struct ike *ike, const struct addr *local); /* not all its tunnels have pq: off */
/* Which PSK proved an SA, without keeping the PSK. */
void ike_psk_digest(const struct ike *ike, struct span psk, uint8_t ret[IKE_PSK_DIGEST]);

/* ---- child.c */
/* A child with an inbound SPI of its own, not installed; ike_child_discard() takes it back. tunnel: the SA's, or what is to be. */
enum rc ike_child_prepare(struct ike_turn *t, struct ike_sa *sa, uint32_t tunnel, const struct suite *suite,
                          struct ike_child **ret) ADIT_MUST_USE;
/* Its keys from the KEYMAT of an exchange (keys.h: ike_keys_child()). */
struct ike_keymat {
    struct ike_nonces nonces;
    struct span shared;      /* empty without PFS */
    const struct span *more; /* secrets of additional key exchanges */
    size_t n_more;
    bool ours; /* we initiated the exchange */
};
enum rc ike_child_derive(struct ike_turn *t, const struct ike_sa *sa, const struct ike_keymat *m,
                         const struct ike_child *child, struct child_sa **ret) ADIT_MUST_USE;
void ike_child_discard(struct ike *ike, struct child_sa *keys, struct ike_child *child);
void ike_child_install(struct ike_turn *t, struct ike_sa *sa, struct child_sa *keys, struct ike_child *child);
void ike_child_replace(struct ike_turn *t, struct ike_child *child); /* another has its place; its Delete is due soon */
void ike_child_due(struct ike_turn *t, struct ike_child *child);     /* its timer */
void ike_child_down(struct ike_turn *t, struct ike_child *child, enum child_down why);
void ike_child_free(struct ike *ike, struct ike_child *child);
struct ike_child *ike_child_find(const struct ike *ike, uint32_t spi_in);
struct ike_child *ike_child_of(const struct ike_sa *sa, uint32_t spi_out);
bool ike_child_udp(const struct ike_sa *sa);
struct ike_ts_pair;
/* Does the peer ask for transport mode, and may it have it? Then *ret are the selectors. old: the child it rekeys, or NULL. */
bool ike_transport_narrow(const struct ike_inbound *x, const struct ike_tunnel *tunnel, const struct ike_child *old,
                          struct span peer_remote, struct span peer_local, struct ike_ts_pair *ret);

/* ---- request.c: our own requests */
void ike_request_next(struct ike_turn *t, struct ike_sa *sa); /* starts what is wanted unless one is outstanding */
void ike_request_due(struct ike_turn *t, struct ike_sa *sa);  /* retransmit or give up */
void ike_request_done(struct ike *ike, struct ike_sa *sa);    /* its answer is here */
void ike_request_clear(struct ike *ike, struct ike_sa *sa);   /* and what it was to bring is forgotten */

void ike_request_send(struct ike_turn *t, struct ike_sa *sa); /* the one outstanding, once more */

/* ---- move.c: where the peer is */
void ike_move_by_request(struct ike_inbound *x); /* a fresh request: moves the SA, or nominates */
/* An answer to us, authentic: moves the SA if from the place nominated. */
void ike_move_by_answer(struct ike_inbound *x);
/* ESP came from there, authentic but perhaps a repetition. Port 0: not in UDP. */
void ike_move_nominate(struct ike_turn *t, struct ike_sa *sa, const struct path *path);
struct path ike_move_target(struct ike_sa *sa); /* where our request goes this time */
void ike_move_keepalive(struct ike_turn *t, struct ike_sa *sa);

/* ---- unlock.c: authenticate, decrypt, reassemble */
/* true: the message is whole, x->inner, first, a, hash are set. false: dropped, or waiting for more fragments. */
bool ike_unlock(struct ike_inbound *x);
/* Is it, or its first fragment, protected by the keys of the request answered last? */
bool ike_unlock_repeated(struct ike_inbound *x);
void ike_queue_free(struct ike *ike, struct ike_queue *q);

/* ---- input.c */
struct ike_header ike_reply_header(const struct ike_inbound *x); /* of the protected reply; next and length open */
/* The inner payloads written so far; RC_LIMIT: too many. */
enum rc ike_reply_inner(struct ike_inbound *x, uint8_t *ret_first, struct span *ret_inner) ADIT_MUST_USE;
void ike_reply_reset(struct ike_inbound *x);

/* ---- seal.c */
void ike_message_free(struct ike_message *m);

/* ---- the handlers of the transition table */
enum ike_outcome ike_init_request(struct ike_inbound *x);
enum ike_outcome ike_intermediate_request(struct ike_inbound *x);
enum ike_outcome ike_auth_request(struct ike_inbound *x);
enum ike_outcome ike_create_child(struct ike_inbound *x); /* with or without N(REKEY_SA) */
enum ike_outcome ike_create_ike(struct ike_inbound *x);
enum ike_outcome ike_create_closing(struct ike_inbound *x); /* TEMPORARY_FAILURE */
enum ike_outcome ike_create_response(struct ike_inbound *x);
enum ike_outcome ike_followup_request(struct ike_inbound *x);
enum ike_outcome ike_followup_response(struct ike_inbound *x);
enum ike_outcome ike_informational_request(struct ike_inbound *x);
enum ike_outcome ike_informational_response(struct ike_inbound *x);

/* What cannot be understood is fatal for the IKE SA, RFC 7296 2.21.3. `why` is a literal. */
enum ike_outcome ike_refuse_syntax(struct ike_inbound *x, const char *why);
/* Answer with one error notify and nothing else. */
void ike_reply_notify(struct ike_inbound *x, uint16_t type, struct span data);
/* An unprotected answer without state: HDR(same SPIs, MID, exchange; R), N(type); at most one `stateless` token each. */
void ike_stateless_notify(struct ike_turn *t, const struct path *path, const struct ike_header *h, uint16_t type,
                          struct span data);

#endif
