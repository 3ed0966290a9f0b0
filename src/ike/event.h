/* ike/event: one log event for each handshake that failed or came up, rate-limited ones for drops.
 */
#ifndef ADIT_IKE_EVENT_H
#define ADIT_IKE_EVENT_H

#include "explain.h"

struct ike_report { /* why a handshake failed; NULL and empty fields are left out */
    enum ike_count count;
    const char *reason;                    /* a literal, a sentence for an operator */
    const char *offered, *nearest;         /* suites, selectors or addresses as text */
    const char *differs;                   /* in what these two */
    const struct ike_id *identity;         /* as received */
    const struct ike_candidate *candidate; /* whom the peer may have meant */
    struct ike_tunnel *tunnel;             /* NULL: guessed from the peer's address */
    const struct path *path;
    const struct ike_sa *sa; /* NULL: there is none yet, then */
    uint64_t spi_i;
};
void ike_event_failed(struct ike_turn *t, const struct ike_report *r);
void ike_event_established(struct ike_turn *t, const struct ike_sa *sa, const struct ike_child *child);
void ike_event_moved(struct ike_turn *t, const struct ike_sa *sa, const struct path *from);
void ike_event_ended(struct ike_turn *t, const struct ike_sa *sa, enum child_down why);

struct ike_create_report { /* why a CREATE_CHILD_SA came to nothing */
    const struct ike_sa *sa;
    enum ike_create_kind kind;
    bool ours;
    uint32_t old; /* REKEY_CHILD: our inbound SPI; 0: unknown */
    enum ike_count count;
    const char *reason, *offered, *nearest, *differs; /* as above */
};
void ike_event_create_failed(struct ike_turn *t, const struct ike_create_report *r);
struct ike_create;
void ike_event_created(struct ike_turn *t, const struct ike_create *c);
/* Count a datagram that is not answered; `why` is a literal. */
void ike_event_drop(struct ike_turn *t, const struct path *path, enum ike_count count, uint64_t spi_i, const char *why);

#endif
