/* shared: counters of one thread that others read. They have no order among each other and are never seen half written; on the
 * usual processors these are the instructions of plain accesses. */
#ifndef ADIT_IO_SHARED_H
#define ADIT_IO_SHARED_H

#define READ(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define ADD(x, n) __atomic_store_n(&(x), READ(x) + (n), __ATOMIC_RELAXED) /* by its only writer */

#endif
