/* place: outer sockets in a network namespace of the test's own, a loop, and what arrived. */
#ifndef ADIT_TESTS_IO_PLACE_H
#define ADIT_TESTS_IO_PLACE_H

#include "unit/lib/unit.h"

#include "io/outer.h"

#define HERE "127.0.0.1"
#define THERE "127.0.0.2"
#define GOT_MAX 512
#define PATIENCE (5 * NS_PER_S)

struct place {
    struct pkt_pool *pool;
    struct io_loop *loop;
    struct io_outer *outer;
    uint64_t until;
    size_t rounds;    /* of the loop */
    size_t wanted;    /* packets and datagrams; then the loop ends */
    uint32_t longest; /* coalesced datagram: its segments */
    struct got {
        struct pkt_outer outer;
        size_t n;
        uint8_t first[8], last, from;
        bool ike;
    } got[GOT_MAX];
    size_t n;
};

/* Group set-up: a new namespace with its loopback device up. Without the right to make one *state becomes NULL. */
int namespace_enter(void **state);
/* What a test opens it closes: the number of descriptors is noted before it, and compared afterwards. */
void descriptors_note(void);
void descriptors_check(void);
void set_loopback(bool mtu, int value); /* MTU, or flags */

/* Its want.endpoints, callbacks and pool are the place's. */
void place_start(struct place *p, const char *const *endpoints, size_t n, const struct io_outer_config *how);
void place_end(struct place *p);
/* For a test: one place at HERE, THERE and ::1. */
int place_open(void **state);
int place_close(void **state);
struct place *here(void **state); /* skips the test where there is none */

void run(struct place *p, size_t wanted); /* until so many more have arrived, or PATIENCE has passed */
/* An ESP packet of n octets with that number in it, verdict PKT_TO_NATT, DF set. */
struct pkt *esp(struct place *p, const char *from, const char *to, size_t n, uint32_t number);
size_t send_all(struct place *p, struct pkt **v, size_t n); /* how many were refused; all are given back */
void assert_got(const struct got *g, size_t n, uint32_t number, uint8_t tos);

#endif
