/* shared: what one thread changes while others look. Numbers and flags have no order among each other and are never seen half
 * written; a pointer is seen after what it points to. On the usual processors these are the instructions of plain accesses.
 */
#ifndef ADIT_SHARED_H
#define ADIT_SHARED_H

#define READ(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define ADD(x, n) WRITE(x, READ(x) + (n)) /* by its only writer */
#define SEE(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define SHOW(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)
/* By one of several writers, who also sees what the one before had written until then. */
#define SWAP(x, v) __atomic_exchange_n(&(x), (v), __ATOMIC_ACQ_REL)
/* By one of several writers: add; what was there before. */
#define TAKE(x, n) __atomic_fetch_add(&(x), (n), __ATOMIC_RELAXED)

#endif
