/* The engine with what a daemon would hold around it: clock, randomness, log, and the table of Child SAs its actions make. Every
 * call checks what must always hold: actions fit the table, the deadline lies ahead, the engine's own lists agree.
 */
#ifndef ADIT_TESTS_EDGE_H
#define ADIT_TESTS_EDGE_H

#include "unit/lib/unit.h"
#include "unit/lib/vectors.h"

#include "adit/ike.h"

#define EDGE_TUNNEL 3
#define EDGE_ADDRESS "198.51.100.2"
#define EDGE_UNIX_TIME 1000000 /* at now == 0 */

struct edge {
    struct tape tape;
    struct rng rng;
    struct crypto *crypto;
    bool borrowed; /* the crypto context */
    struct log log;
    char event[64], reason[160]; /* of the last line */
    unsigned lines;
    struct ike *ike;
    struct acts acts; /* since edge_clear() */
    size_t seen;      /* of them */
    uint64_t now;
    struct child_sa *child; /* what is installed */
    size_t n_children, max_children;
    unsigned child_ups, child_downs, ups, downs;
};
struct edge *edge_new(const struct ike_policy *policy, uint64_t seed); /* NULL: the default policy */
/* The same on a context that outlives it and may have served others: to make one takes as long as a handshake. */
struct edge *edge_new_on(struct crypto *crypto, const struct ike_policy *policy, uint64_t seed);
void edge_free(struct edge *e);
/* The tunnel of the peer that initiator_wish_default() describes. */
struct tunnel_policy edge_tunnel(void);
void edge_set(struct edge *e, const struct tunnel_policy *t);
enum rc edge_command(struct edge *e, struct ike_cmd cmd);
void edge_input(struct edge *e, const struct path *path, struct span datagram);
void edge_tick(struct edge *e);
void edge_clear(struct edge *e);

size_t edge_sent(const struct edge *e); /* SEND actions since edge_clear() */
const struct act *edge_act(const struct edge *e, enum act_type type);
const struct child_sa *edge_child(const struct edge *e, uint32_t spi_in);
uint64_t edge_count(const struct edge *e, enum ike_count c);
size_t edge_sas(const struct edge *e, struct ike_sa_info *ret_last); /* how many; the last one listed */

/* Nothing is left of what peers did: no SA, no child, no timer. */
void edge_assert_empty(struct edge *e);

#endif
