/* forward: one thread's share of the packet work. A batch comes in from its sockets, one of its TUN queues or another thread, goes
 * through its dp_worker, and what comes out leaves at once. All of it belongs to its thread.
 */
#ifndef DAEMON_FORWARD_H
#define DAEMON_FORWARD_H

#include "adit/dp.h"
#include "adit/io.h"
#include "grace.h"
#include "handoff.h"

#define POOL_SMALL 4096
#define POOL_LARGE 64

#define FORWARD_COUNTS(X)                                                            \
    X(FROM_NETWORK, "from_network") /* packets that its sockets brought */           \
    X(FROM_DEVICES, "from_devices") /* and its TUN queues; a super-packet is one */  \
    X(HANDED_ON, "handed_on")       /* to the worker that their tunnel belongs to */ \
    X(TAKEN_OVER, "taken_over")     /* from another thread */                        \
    X(HANDOFF_FULL, "handoff_full") /* no room on the way to the other thread */     \
    X(HANDOFF_LOST, "handoff_lost") /* handed on once, and now another worker's */
enum forward_count {
#define X(id, text) FORWARD_COUNT_##id,
    FORWARD_COUNTS(X)
#undef X
        FORWARD_COUNT_END
};

struct forward_tun;
struct forward_config {
    unsigned index;       /* of the dp_worker, of this thread's queue of every TUN, and among the members of handoff */
    struct io_loop *loop; /* the thread's */
    struct dp *dp;
    struct crypto *crypto;   /* as for dp_worker_new() */
    struct handoff *handoff; /* NULL, both: the control thread does it all */
    struct grace *grace;
    /* The device of that account is gone: forward_tun_remove() now or later. */
    void (*lost)(void *ctx, uint32_t account);
    void *ctx;
};
struct forward {
    struct forward_config config;
    struct pkt_pool *pool;
    struct dp_worker *worker;
    struct io_outer *outer;   /* NULL: not open; somebody else's */
    struct forward_tun **tun; /* by account; NULL: not there */
    uint32_t n_tun;
    bool away; /* asleep, as far as the other threads know */
    uint64_t count[FORWARD_COUNT_END];
};

enum rc forward_open(struct forward *f, const struct forward_config *config) ADIT_MUST_USE;
void forward_close(struct forward *f); /* one that is zero is fine */

/* The account's TUN is read from and written to from now on; its owner closes it after forward_tun_remove(). */
enum rc forward_tun_add(struct forward *f, uint32_t account, struct io_tun *tun,
                        struct io_error *ret_error) ADIT_MUST_USE;
void forward_tun_remove(struct forward *f, uint32_t account);        /* one that is not there is fine */
bool forward_tun_is_lost(const struct forward *f, uint32_t account); /* `lost` was called */

void forward_from_outside(void *forward, struct pkt **v, size_t n);
/* An IKE datagram that came to a worker: a copy goes to the last member of the hand-off. */
void forward_datagram(void *forward, const struct path *path, struct span datagram);

/* All that others have handed on until now is done; forward_round() is to follow. */
void forward_settle(struct forward *f);
/* A worker's loop, after every round: works on what others handed on; when it wants to be called again. */
uint64_t forward_round(struct forward *f, uint64_t now);

const char *forward_count_name(enum forward_count c);
uint64_t forward_count(const struct forward *f, enum forward_count c); /* any thread */

#endif
