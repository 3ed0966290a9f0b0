/* handoff: packets that one thread hands to another, without a copy: a ring of pointers for every pair, with one writer and one
 * reader. The reader works on the packet in the writer's buffer; when it is done, the writer takes the buffer back.
 */
#ifndef DAEMON_HANDOFF_H
#define DAEMON_HANDOFF_H

#include "adit/pkt.h"

#define HANDOFF_SLOTS 1024 /* of a ring; a power of two */

struct handoff;
struct handoff_hooks {
    /* In the writer's thread: the reader sleeps, and there is something for it. */
    void (*wake)(void *ctx, unsigned member);
    void *ctx;
};
enum rc handoff_new(unsigned members, const struct handoff_hooks *hooks, struct handoff **ret) ADIT_MUST_USE;
unsigned handoff_members(const struct handoff *h);
void handoff_free(struct handoff *h); /* what lies in it belongs to its pools */

/* ---- by `from` */
/* False: the ring is full, p stays the caller's. The reader sees it after handoff_publish(). */
bool handoff_put(struct handoff *h, unsigned from, unsigned to, struct pkt *p) ADIT_MUST_USE;
void handoff_publish(struct handoff *h, unsigned from);
void handoff_reclaim(struct handoff *h, unsigned from, struct pkt_pool *pool); /* what the readers are done with */

/* ---- by `to` */
/* The oldest ones, up to max; they stay where they are until the reader says how many it is done with. */
size_t handoff_look(struct handoff *h, unsigned from, unsigned to, struct pkt **ret, size_t max);
void handoff_done(struct handoff *h, unsigned from, unsigned to, size_t n);
/* False: there is something to look at. Else whoever publishes something wakes it, once. */
bool handoff_sleep(struct handoff *h, unsigned to) ADIT_MUST_USE;
void handoff_awake(struct handoff *h, unsigned to); /* nobody needs to wake it */

#endif
