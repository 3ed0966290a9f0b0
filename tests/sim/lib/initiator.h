/* The other side of the engine: a whole IKEv2 peer for tests, initiator of the first IKE SA and in both roles afterwards
 * (RFC 7296, 7383, 9242, 9370). Independent of the engine: it shares the wire codec, the crypto room and the key schedule, each
 * with tests of its own, and no state. Like the engine it is pure: datagrams and now in, datagrams and a deadline out.
 *
 * It is strict where the engine could be wrong (what comes must authenticate, be well formed, belong to what was asked: else the
 * test stops) and lenient where the network may lie (anything late, doubled or unknown is dropped).
 */
#ifndef ADIT_TESTS_INITIATOR_H
#define ADIT_TESTS_INITIATOR_H

#include "session.h"
#define INITIATOR_SAS 16
#define INITIATOR_CHILDREN 128
#define INITIATOR_JOBS 128
#define INITIATOR_OUT 1024
#define INITIATOR_NONCE 256
#define INITIATOR_REDUNDANT (60 * NS_PER_S)

/* ---- who it is and what it wants; a test may change any of it between two calls */
struct initiator_wish {
    const char *psk;
    struct identity id;
    struct suite ike, esp; /* of esp, ke and addke serve CREATE_CHILD_SA only */
    bool esn;
    uint16_t ke_guess; /* method of the first KE payload if it is not the suite's */
    struct ts ts_local, ts_remote;
    bool initial_contact, full_transcript, no_fragmentation, no_intermediate, natd;
    int ni_first,
        nr_first;        /* first octet of the nonces of CREATE_CHILD_SA, to decide collisions; negative: by chance */
    bool stay;           /* connect again when the other side seems gone */
    size_t datagram;     /* IP datagrams of at most this size */
    uint64_t retransmit; /* first interval; doubles up to 16 s */
    unsigned tries;      /* of a request */
};
void initiator_wish_default(struct initiator_wish *ret); /* hybrid: ECP-384 and ML-KEM-768 */

struct draft { /* a message of ours on its way out, for a test to bend */
    struct ike_header header;
    uint8_t first;            /* type of the first payload */
    uint8_t bytes[PLAIN_MAX]; /* the payloads: inner ones, or those of IKE_SA_INIT */
    size_t n;
};

/* ---- parts */
enum initiator_job_type {
    JOB_NONE,
    JOB_INIT,
    JOB_INTERMEDIATE,
    JOB_AUTH,
    JOB_CHILD_NEW,
    JOB_CHILD_REKEY,
    JOB_CHILD_DELETE,
    JOB_IKE_REKEY,
    JOB_IKE_DELETE,
    JOB_ALIVE,
    JOB_RAW, /* whatever a test says */
};
struct initiator_job {
    enum initiator_job_type type;
    uint32_t spi_in; /* JOB_CHILD_REKEY, _DELETE */
    uint64_t spi_i;  /* JOB_IKE_DELETE; 0: the current SA */
    uint64_t at;     /* not before */
};

/* One side's attempt to replace something, for the comparison of RFC 7296 2.8.1. */
struct initiator_attempt {
    bool made; /* nonces are known */
    uint8_t lowest[INITIATOR_NONCE];
    size_t n;
};

/* One CREATE_CHILD_SA with its follow-ups, from either side. */
struct initiator_exchange {
    bool ours, ike;
    struct suite suite;
    uint32_t old;             /* our inbound SPI of the child being rekeyed; 0: none */
    uint32_t spi_in, spi_out; /* a child's */
    uint64_t spi_ours, spi_theirs;
    uint8_t ni[INITIATOR_NONCE], nr[INITIATOR_NONCE];
    size_t n_ni, n_nr;
    struct ke *ke;
    struct ke_secret secret[1 + ADDKE_MAX]; /* SK(0), SK(1) .. */
    size_t n_secrets, addke_done;
    uint8_t link[64]; /* what the next IKE_FOLLOWUP_KE has to carry */
    size_t n_link;
    struct ts ts_local, ts_remote;
    struct initiator_attempt rival; /* ours: they rekey the same at the same time */
};

struct initiator_child {
    uint32_t spi_in, spi_out;
    struct initiator_sa *sa;
    struct suite suite;
    struct ts ts_local, ts_remote;
    uint8_t key_in[ESP_KEYMAT_MAX], key_out[ESP_KEYMAT_MAX];
    size_t key_len;
    bool ours;     /* made by an exchange of ours */
    bool deleting; /* our Delete is wanted or on its way */
    bool replaced; /* a newer one is there: whoever made it deletes this one */
    bool theirs;   /* they have begun to rekey it */
};

enum initiator_stage { STAGE_INIT, STAGE_KEYS, STAGE_AUTH, STAGE_UP, STAGE_CLOSED };
struct initiator_initial { /* what only the first exchanges need */
    uint8_t ni[32], nr[INITIATOR_NONCE];
    size_t n_nr;
    uint16_t method; /* of the KE payload sent last */
    struct ke *ke;
    struct ke_value public;
    struct buf cookie, request, response;
    uint8_t int_auth_i[PRF_MAX], int_auth_r[PRF_MAX];
    bool int_auth, transcript;
    size_t addke_done;
    uint32_t spi_in; /* of the child asked for */
};
struct initiator_request {
    struct initiator_job job;
    uint8_t exchange;
    uint32_t mid;
    struct parcel parcel;
    unsigned tries;
    uint64_t interval, at;
};
struct initiator_sa {
    struct session s;
    enum initiator_stage stage;
    uint16_t port; /* ours and theirs: 500, or 4500 after a NAT was seen */
    struct endpoint remote;
    uint32_t mid_out, mid_in;
    struct initiator_request own;
    struct parcel answer; /* to mid_in - 1 */
    struct initiator_initial *initial;
    struct initiator_exchange *ours, *theirs;
    bool closing;   /* our Delete is wanted or on its way */
    bool replaced;  /* rekeyed; whoever did it deletes this one */
    bool attempted; /* they have begun to rekey it */
    struct initiator_sa *their_new;
    uint64_t redundant; /* they will delete it, and if they do not, it goes at that time; 0: it is not */
    uint64_t born, closed;
};

struct initiator_out {
    struct endpoint from, to;
    struct buf bytes; /* without marker */
};
struct initiator {
    struct crypto *crypto;
    bool borrowed; /* the crypto context: initiator_new_on() */
    const struct rng *rng;
    struct endpoint local, remote; /* port 500 */
    struct initiator_wish wish;
    uint64_t now;
    struct initiator_sa *sa[INITIATOR_SAS];
    size_t n_sas;
    struct initiator_child child[INITIATOR_CHILDREN];
    size_t n_children;
    struct initiator_job job[INITIATOR_JOBS];
    size_t n_jobs;
    struct initiator_out out[INITIATOR_OUT];
    size_t n_out;
    void (*bend)(void *ctx, struct draft *d);
    void *ctx;
    bool tampered; /* what comes may have been altered on the way */

    /* what happened, for tests */
    struct plain last;      /* the last whole protected message of theirs */
    uint16_t refused;       /* error notify of the last answer to us, protected or not; 0: none */
    uint16_t child_refused; /* the same for the child of IKE_AUTH and of CREATE_CHILD_SA */
    unsigned unauthentic, engine_unproved, gave_up, reconnects, collisions, cookies, wrong_ke;
    struct draft draft; /* scratch */
};

/* ---- for tests */
struct initiator *initiator_new(const struct rng *rng, const char *local, const char *remote);
struct initiator *initiator_new_on(struct crypto *crypto, const struct rng *rng, const char *local, const char *remote);
void initiator_free(struct initiator *i);
void initiator_connect(struct initiator *i, uint64_t now); /* IKE_SA_INIT and all that follows */
void initiator_want(struct initiator *i, uint64_t now, struct initiator_job job);
/* A request of any content on the current SA. */
void initiator_say(struct initiator *i, uint64_t now, uint8_t exchange, uint8_t first, struct span inner);
void initiator_input(struct initiator *i, uint64_t now, const struct endpoint *from, const struct endpoint *to,
                     struct span datagram);
void initiator_tick(struct initiator *i, uint64_t now);
uint64_t initiator_deadline(const struct initiator *i);
void initiator_forget_out(struct initiator *i);                    /* what was not taken from the queue */
struct initiator_sa *initiator_current(const struct initiator *i); /* the newest SA that is up; NULL */
bool initiator_connecting(const struct initiator *i);
struct initiator_child *initiator_child(struct initiator *i, uint32_t spi_in);
bool initiator_busy(const struct initiator *i); /* a request outstanding or a job waiting */

/* ---- between its files */
struct ike_writer initiator_begin(struct initiator *i); /* payloads into the draft */
/* Bends, seals, sends and keeps for repetition what was written. */
void initiator_request(struct initiator *i, struct initiator_sa *sa, struct initiator_job job, uint8_t exchange,
                       struct ike_writer *iw);
void initiator_queue(struct initiator *i, struct initiator_job job); /* for the next tick */
void initiator_done(struct initiator_sa *sa);                        /* own request answered */
struct initiator_sa *initiator_sa_new(struct initiator *i);
void initiator_sa_close(struct initiator *i, struct initiator_sa *sa);
void initiator_sa_failed(struct initiator *i, struct initiator_sa *sa); /* the same; tries anew if it wishes to stay */
void initiator_initial_free(struct initiator_initial *n);
struct initiator_child *initiator_child_add(struct initiator *i, const struct initiator_child *child);
void initiator_child_drop(struct initiator *i, struct initiator_child *child);
void initiator_gone(struct initiator *i); /* all SAs are lost */

void initiator_init_again(struct initiator *i, struct initiator_sa *sa); /* with what is known by now */
void initiator_init_response(struct initiator *i, struct initiator_sa *sa, struct span datagram);
void initiator_intermediate_start(struct initiator *i, struct initiator_sa *sa);
void initiator_intermediate_response(struct initiator *i, struct initiator_sa *sa);
void initiator_auth_start(struct initiator *i, struct initiator_sa *sa);
void initiator_auth_response(struct initiator *i, struct initiator_sa *sa);

void initiator_exchange_free(struct initiator_exchange *x);
void initiator_nonce(struct initiator *i, int first, uint8_t ret[32]);
void initiator_child_start(struct initiator *i, struct initiator_sa *sa, struct initiator_job job);
void initiator_ike_start(struct initiator *i, struct initiator_sa *sa, struct initiator_job job);
void initiator_create_response(struct initiator *i, struct initiator_sa *sa);
void initiator_followup_response(struct initiator *i, struct initiator_sa *sa);
void initiator_create_request(struct initiator *i, struct initiator_sa *sa, struct ike_writer *iw);
void initiator_followup_request(struct initiator *i, struct initiator_sa *sa, struct ike_writer *iw);
/* All key exchanges are done: the child, or the IKE SA, that x was for. */
struct initiator_child *initiator_make_child(struct initiator *i, struct initiator_sa *sa,
                                             struct initiator_exchange *x);
struct initiator_sa *initiator_make_sa(struct initiator *i, struct initiator_sa *sa, struct initiator_exchange *x);
struct initiator_attempt initiator_attempt(const struct initiator_exchange *x);
size_t initiator_transforms(const struct suite *s, bool ike, bool esn, struct ike_transform_out ret[16]);
void initiator_inherit(struct initiator *i, struct initiator_sa *from, struct initiator_sa *to); /* all children */
bool initiator_suite_read(struct span body, uint8_t protocol, struct suite *ret, struct span *ret_spi);
void initiator_flag(struct ike_writer *iw, uint16_t type);
void initiator_write_ts(struct ike_writer *iw, uint8_t payload, const struct ts *ts);
void initiator_read_ts(const struct plain *p, uint8_t payload, struct ts *ret); /* the only one of an answer */

#endif
