/* null: what a tunnel costs without being one. The same sockets, TUN, batches, splitting and coalescing as dp; in place of ESP room
 * for its header and trailer and, of a whole packet, a copy; in place of GRE its header; no look-up, no window, no counters. One
 * peer.
 */
#ifndef ADIT_BENCH_NULL_H
#define ADIT_BENCH_NULL_H

#include "adit/pkt.h"

struct null;
struct null *null_new(const struct addr *local, const struct addr *remote, enum pkt_verdict wire); /* NULL: no memory */
void null_free(struct null *n);
/* As dp_from_tun() and dp_from_net(). */
void null_from_tun(struct null *n, struct pkt **v, size_t count, struct pkt_pool *pool, struct pkt_list *ret);
void null_from_net(struct null *n, struct pkt **v, size_t count, struct pkt_pool *pool, struct pkt_list *ret);

#endif
