/* A world in virtual time: one edge, some peers, and between them a network that loses, doubles, delays and reorders, with a NAT
 * that forgets. Everything that happens follows from the seed.
 */
#ifndef ADIT_TESTS_SIM_H
#define ADIT_TESTS_SIM_H

#include "edge.h"
#include "initiator.h"

#define SIM_PEERS 4
#define SIM_RECORD 4096

struct sim_net {
    unsigned loss, twice, late; /* in a hundred: datagrams that get lost, come twice, are held back for seconds */
    uint64_t delay, spread;     /* one way: delay, and up to `spread` more */
};
struct sim_flight {
    uint64_t at;
    unsigned peer;
    bool to_edge;
    struct endpoint from, to;
    struct buf bytes;
};
struct sim_peer {
    struct initiator *i;
    struct tape tape;
    struct rng rng;
    uint32_t tunnel;
    bool nat;
    struct addr outside; /* of the NAT */
    uint16_t port;       /* outside port of 500; that of 4500 is the next */
};
struct sim {
    uint64_t seed, dice;
    struct edge *e;
    struct sim_peer peer[SIM_PEERS];
    unsigned n_peers;
    struct sim_net net;
    struct sim_flight *flight;
    size_t n_flights, max_flights;
    struct sim_flight *record; /* what reached the edge, the first SIM_RECORD of it */
    size_t n_record;
    uint64_t delivered, lost;
    uint64_t lazy; /* the edge looks at its deadline so much too late */
    /* May the network lose this one? Asked before the dice; NULL: never asked. */
    enum sim_fate { FATE_DICE, FATE_LOSE, FATE_LATE } (*fate)(struct sim *s, const struct sim_flight *f);
    void *ctx;
};

struct sim *sim_new(uint64_t seed, const struct ike_policy *policy);
void sim_free(struct sim *s);
struct sim_peer *sim_add(struct sim *s);            /* a peer with a tunnel of its own; not connected */
void sim_rebind(struct sim *s, struct sim_peer *p); /* the NAT gives it new ports */
uint64_t sim_dice(struct sim *s, uint64_t n);       /* 0 .. n-1 */

/* Let `ns` go by, or less: until `done` says so. true: it did. */
bool sim_run(struct sim *s, uint64_t ns, bool (*done)(struct sim *s));
bool sim_all_up(struct sim *s);
/* The network becomes perfect, and everybody finds out who is still there: then both sides have to agree, each peer having one
 * IKE SA. */
void sim_settle(struct sim *s);
/* Everything the edge ever got, once more: nothing comes up, nothing goes down. */
void sim_replay(struct sim *s);

/* Run `world` with as many seeds as SIM_SEEDS says, else `n`; SIM_SEED: only that one. A failure names its seed. */
void sim_seeds(const char *name, unsigned n, void (*world)(struct sim *s), const struct ike_policy *policy);

#endif
