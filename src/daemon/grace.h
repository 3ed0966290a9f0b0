/* grace: when what the datapath gave away may be freed: once every worker has been between two batches since (liburcu, by quiescent
 * states: a worker is quiescent after each batch, and offline while it waits for packets). The control thread does not wait for
 * that; liburcu's thread does, and tells.
 */
#ifndef DAEMON_GRACE_H
#define DAEMON_GRACE_H

#include "adit/dp.h"

struct grace;
/* tell: called by liburcu's thread when something can be freed: have the control thread call grace_sweep(). */
enum rc grace_new(struct dp *dp, void (*tell)(void *ctx), void *ctx, struct grace **ret) ADIT_MUST_USE;
void grace_free(struct grace *g); /* after grace_end() */

/* ---- by the control thread */
/* Workers run now, or none does any more: what is taken then is freed at once. liburcu's thread starts with the first thing taken from
 * workers, so that it has no rights that the control thread has given up before. */
void grace_begin(struct grace *g);
void grace_end(struct grace *g);
void grace_take(struct grace *g);  /* what dp gave away until now is to be freed */
void grace_sweep(struct grace *g); /* frees what can be */
void grace_wait(struct grace *g);  /* for all that was taken, and frees it: some batches, and some 10 ms of liburcu's */
/* Number of the latest grace_take() that had something to take, and of the latest one whose all is freed. */
uint64_t grace_taken(const struct grace *g);
uint64_t grace_freed(const struct grace *g);

/* ---- by a worker: joins offline, leaves offline; between online and offline it may look at dp's tables */
void grace_join(void);
void grace_leave(void);
void grace_online(void);
void grace_quiet(struct grace *g); /* between two batches */
void grace_offline(struct grace *g);

#endif
