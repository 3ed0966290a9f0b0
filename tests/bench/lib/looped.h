/* looped: a datapath whose tunnels end in itself. What leaves by one tunnel comes back by another, which undoes exactly what was
 * done: a pass needs no new packets, and every packet's verdict is checked. Nothing is timed but dp_from_tun() and dp_from_net().
 */
#ifndef ADIT_BENCH_LOOPED_H
#define ADIT_BENCH_LOOPED_H

#include "adit/dp.h"
#include "measure.h"

#define RING 64 /* packets; as many as the bare cipher runs over */

struct looped_config {
    enum tunnel_type type;
    struct esp_alg alg;
    uint32_t tunnels;
    uint32_t size; /* of the inner packet */
    size_t batch;
    unsigned workers; /* of the datapath; 0: one, and the loop can be walked. Of several number 0 alone is made */
    bool any_order;   /* no replay protection: one SA is sent on by all workers */
};
struct looped {
    struct looped_config config;
    struct crypto *crypto;
    struct dp *dp;
    struct dp_worker *worker;
    struct pkt_pool *pool;
    struct pkt *ring[RING], *out[64 * RING];
    uint32_t tunnel[RING]; /* this pass goes out by */
    uint64_t dice;
    size_t tunnel_bytes, sa_bytes; /* resident, of all together */
    uint32_t walked;               /* tunnels that have had a packet */
    uint64_t now;
};
struct looped *looped_new(const struct looped_config *config);
void looped_free(struct looped *l);
void looped_resize(struct looped *l, uint32_t size, size_t batch); /* other packets through the same tunnels */
void looped_packet(const struct looped *l, struct pkt *p);         /* an inner packet of that size, to tunnel 0 */
void looped_destine(struct pkt *p, uint32_t tunnel);
/* All packets of the ring: s[0] out, s[1] in. With several tunnels each packet takes a random one. */
void looped_pass(void *l, struct series *s);

#endif
