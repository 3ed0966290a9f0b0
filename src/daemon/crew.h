/* crew: who does the packet work. Without workers, one forwarder on the control thread's loop. With N of them, N threads, each with
 * a loop, a forwarder and a crypto context of its own; the control thread has IKE and everything else, and is the last member of the
 * hand-off: IKE that came to a worker goes to it, packets that came to its sockets go from it.
 */
#ifndef DAEMON_CREW_H
#define DAEMON_CREW_H

#include "forward.h"

struct crew;
struct crew_config {
    unsigned workers; /* threads; 0: the control thread */
    struct dp *dp;
    struct io_loop *loop; /* the control thread's, as all that is called back */
    void (*datagram)(void *ctx, const struct path *path, struct span datagram);
    void (*lost)(void *ctx);                               /* forward_tun_is_lost() for some account, by a worker */
    void (*tun_lost)(void *ctx, uint32_t account);         /* the same without workers, for this one */
    void (*failed)(void *ctx, const struct io_error *why); /* a worker ended */
    void *ctx;
};
/* The threads do not run yet: until crew_start() everything happens in the caller's. */
enum rc crew_new(const struct crew_config *config, struct crew **ret, struct io_error *ret_error) ADIT_MUST_USE;
enum rc crew_start(struct crew *c, struct io_error *ret_error) ADIT_MUST_USE;
void crew_stop(struct crew *c); /* they have ended; from now on as before crew_start() */
void crew_free(struct crew *c); /* after crew_stop() */

unsigned crew_size(const struct crew *c);    /* forwarders: at least one */
unsigned crew_workers(const struct crew *c); /* threads */
struct forward *crew_forward(struct crew *c, unsigned i);

/* fn(forwarder, arg) for every one, in order, each in its own thread between two batches, when all that was handed to it before is done.
 * Waits for it. */
void crew_call(struct crew *c, void (*fn)(struct forward *f, void *arg), void *arg);

/* Sockets: with workers the control thread's part has `pool`, and its packets are given away here. */
struct pkt_pool *crew_pool(const struct crew *c);
void crew_from_outside(struct crew *c, struct pkt **v, size_t n);

/* What dp gave away goes when it can; without workers dp needs nobody for it, and both do nothing. */
struct grace *crew_grace(const struct crew *c); /* NULL without workers */

/* The control thread's loop, after every round; when it wants to be called again. */
uint64_t crew_round(struct crew *c, uint64_t now);

struct crew_info {
    uint64_t count[FORWARD_COUNT_END];
    uint64_t cpu; /* ns that the thread has run; 0: unknown */
};
/* worker: crew_workers() for the control thread. */
void crew_info(const struct crew *c, unsigned worker, struct crew_info *ret);

#endif
