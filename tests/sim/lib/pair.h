/* An edge and one peer, hand to hand: no network and no time but what a test lets pass. */
#ifndef ADIT_TESTS_PAIR_H
#define ADIT_TESTS_PAIR_H

#include "edge.h"
#include "initiator.h"

struct pair {
    struct tape tape;
    struct rng rng;
    struct edge *e;
    struct initiator *i;
    struct endpoint seen; /* where the edge sees the peer; family 0: where it is */
    struct parcel sent;   /* what the peer sent last */
    struct path path;     /* of those */
};
struct pair *pair_new(const struct ike_policy *policy);
struct pair *pair_new_on(struct crypto *crypto, const struct ike_policy *policy); /* both on one that outlives them */
void pair_free(struct pair *p);

/* The peer's queue to the edge, as one message; e->acts are those of this call. */
void pair_give(struct pair *p);
void pair_give_again(struct pair *p);                   /* the same datagrams */
void pair_give_octets(struct pair *p, struct span s);   /* any datagram from there */
bool pair_take(struct pair *p);                         /* the edge's answers to the peer; false: there were none */
void pair_connect_to(struct pair *p, uint8_t exchange); /* until the peer's request of that exchange is in its queue */
void pair_step(struct pair *p);                         /* the answer to the peer, its next request to the edge */
void pair_carry(struct pair *p);                        /* to and fro until all is quiet */
void pair_pass(struct pair *p, uint64_t ns);            /* time, in steps of deadlines, carrying */

void pair_connect(struct pair *p); /* must come up, with a child */
/* A protected request by hand: true when it was answered, the answer is i->last. */
bool pair_ask(struct pair *p, uint8_t exchange, struct ike_writer *iw);
/* The only notify of an unprotected answer; 0: none. */
uint16_t pair_plain_notify(struct pair *p, struct ike_notify *ret);
/* The IKE header of the n-th datagram the edge sent. */
struct ike_header pair_header(const struct pair *p, size_t n);
/* Both sides hold the same SAs and children with the same keys. */
void pair_assert_agree(struct pair *p);

#endif
