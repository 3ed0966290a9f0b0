/* forward: one thread's share of the packet work. A batch comes in from its sockets or one of its TUN queues, goes through its
 * dp_worker, and what comes out leaves at once. Nothing in here is shared.
 */
#ifndef DAEMON_FORWARD_H
#define DAEMON_FORWARD_H

#include "adit/dp.h"
#include "adit/io.h"

struct forward_tun;
struct forward_hooks {
    void (*lost)(void *ctx, uint32_t account); /* the device of that account is gone; may take it away at once */
    void *ctx;
};
struct forward {
    unsigned index;       /* of the dp_worker, and of this thread's queue of every TUN */
    struct io_loop *loop; /* the thread's */
    struct forward_hooks hooks;
    struct pkt_pool *pool;
    struct dp_worker *worker;
    struct io_outer *outer;   /* NULL: not open */
    struct forward_tun **tun; /* by account; NULL: not there */
    uint32_t n_tun;
};

/* Sets all but `outer`. crypto as for dp_worker_new(). */
enum rc forward_open(struct forward *f, struct dp *dp, unsigned index, struct crypto *crypto, struct io_loop *loop,
                     const struct forward_hooks *hooks) ADIT_MUST_USE;
void forward_close(struct forward *f); /* zero is fine; closes `outer` too */

/* The account's TUN is read from and written to from now on; it is closed by its owner, after forward_tun_remove(). */
enum rc forward_tun_add(struct forward *f, uint32_t account, struct io_tun *tun,
                        struct io_error *ret_error) ADIT_MUST_USE;
void forward_tun_remove(struct forward *f, uint32_t account); /* one that is not there is fine */

void forward_from_outside(struct forward *f, struct pkt **v, size_t n);

#endif
