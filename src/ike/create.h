/* ike/create: one CREATE_CHILD_SA exchange and the IKE_FOLLOWUP_KEs that belong to it (RFC 7296 1.3, 2.8; RFC 9370 2.2.4), of the
 * peer or of ours. It collects nonces and secrets until all are there; what comes of it, a Child SA or an IKE SA, waits inside,
 * and is installed by one function whoever asked for it.
 *
 *   peer's  create_answer.c reads and answers, followup.c goes on; waits at sa->pending
 *   ours    own.c asks, own_answer.c reads what comes back; waits at sa->own.create
 *   both    create.c makes keys, settle.c installs, retires the old SA and decides collisions
 */
#ifndef ADIT_IKE_CREATE_H
#define ADIT_IKE_CREATE_H

#include "engine.h"
#include "event.h"
#include "proposal.h"
#include "selector.h"

#define IKE_NONCE_MAX 256 /* RFC 7296 3.9 */
#define IKE_LINK_SIZE 16  /* of our ADDITIONAL_KEY_EXCHANGE data; the peer's may have any size */

struct ike_nonce {
    uint8_t b[IKE_NONCE_MAX];
    uint16_t n;
};

struct ike_create {         /* lives in guarded memory for its secrets */
    struct ike_timer timer; /* peer's: its IKE_FOLLOWUP_KE does not come */
    struct list all;
    struct ike_sa *sa;
    enum ike_create_kind kind;
    bool ours;
    struct suite suite;
    struct ike_nonce ni, nr;

    struct ke_secret shared[1 + ADDKE_MAX]; /* of CREATE_CHILD_SA: n is 0 without PFS; then of the additional ones */
    uint8_t rounds;                         /* additional key exchanges done */
    struct buf link;                        /* that the next IKE_FOLLOWUP_KE must carry */

    uint32_t old;            /* REKEY_CHILD: our inbound SPI of the old one */
    struct ike_child *child; /* the new one, not installed yet */
    struct child_sa *keys;
    struct ike_sa *fresh; /* REKEY_IKE: the new SA, in state NEW */

    /* ours */
    struct ke *exchange; /* our private half */
    uint16_t method;     /* of `exchange` */
    uint8_t tries;       /* key exchange methods tried */
    struct proposal_policy offer;
    uint16_t addke[ADDKE_MAX]; /* offered, all or (if not must) none */
    bool ke_must, addke_must;
    /* An outbound SPI we do not know that the peer deleted meanwhile: it may be the new child's; 0: none. */
    uint32_t gone;

    /* The peer's rekey of the same SA that was answered meanwhile (RFC 7296 2.8.1). */
    bool rival;
    struct ike_nonce rival_low; /* the lower of its nonces */
    uint64_t rival_spi;         /* ours, of what it makes */
};

/* ---- followup.c */
/* A new link, and from now on only so much time for the IKE_FOLLOWUP_KE that brings it. */
enum rc ike_create_wait(struct ike_turn *t, struct ike_create *c) ADIT_MUST_USE;

/* ---- create.c */
struct ike_create *ike_create_new(struct ike_turn *t, struct ike_sa *sa,
                                  enum ike_create_kind kind); /* NULL: no memory */
void ike_create_free(struct ike *ike, struct ike_create *c);  /* and what waits inside; NULL: nothing */
void ike_create_nonce(struct ike *ike, struct ike_nonce *ret);
uint64_t ike_create_spi(const struct ike_create *c); /* ours, of what waits inside; 0: nothing does */
/* The next additional key exchange; KE_NONE: none is left. */
uint16_t ike_create_method(const struct ike_create *c);
/* All secrets are there, those of `rounds` additional key exchanges too: the keys of what it makes, inside c. May be repeated. */
enum rc ike_create_derive(struct ike_turn *t, struct ike_create *c, uint8_t rounds) ADIT_MUST_USE;
void ike_create_due(struct ike_turn *t, struct ike_create *c); /* its timer */
void ike_create_failed(struct ike_turn *t, const struct ike_create *c, enum ike_count count, const char *reason);

/* ---- settle.c: what an exchange that is done changes. Both free c. */
void ike_create_install(struct ike_turn *t, struct ike_create *c);
/* Our own exchange comes to nothing. What the peer made of the same IKE SA inherits. */
void ike_create_abandon(struct ike_turn *t, struct ike_create *c);
/* Notes in an exchange of ours that c, the peer's, rekeys the same SA. */
void ike_create_meet(struct ike_create *c);
/* RFC 7296 2.8.1: is the lowest of the four nonces of ours, with c of ours and all known? */
bool ike_create_lost(const struct ike_create *c);

/* ---- own.c: our requests; the writer is open, sa->own.create becomes or is what is asked for. */
/* False: nothing is due, or not now. */
bool ike_own_begin(struct ike_turn *t, struct ike_sa *sa, struct ike_writer *iw);
/* The next message of an exchange that has begun; false: it could not go on, and is gone. */
bool ike_own_next(struct ike_turn *t, struct ike_sa *sa, struct ike_writer *iw, uint8_t *ret_exchange);
/* The rekey of that child, or (0) of the SA itself, is due again after a while. */
void ike_own_later(struct ike_turn *t, struct ike_sa *sa, uint32_t spi_in);
/* It never will be: the SA that was to be rekeyed is marked to go. */
void ike_own_refused(struct ike_turn *t, const struct ike_create *c);

#endif
