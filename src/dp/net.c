/* From the network: a batch of outer packets, in passes. Headers and look-ups first (the next packets' bytes on their way into the
 * cache meanwhile), then all ESP in one call of the cipher, then what needs plaintext; the packets leave in the order they came. */
#include "worker.h"

#define AHEAD 3 /* packets */

static void prefetch(const struct batch *b, const struct pkt *p)
{
    __builtin_prefetch(p->data);
    __builtin_prefetch(p->data + LINE);
    (void)b;
}

static void take(struct batch *b, struct pkt *p)
{
    switch ((enum pkt_from)p->from) {
    case PKT_FROM_GRE: gre_in(b, p); return;
    case PKT_FROM_ESP:
    case PKT_FROM_NATT: esp_in_begin(b, p); return;
    case PKT_FROM_ICMP: pmtu_in(b, p); return;
    case PKT_FROM_TUN: break;
    }
    batch_drop(b, p, NULL, DP_REASON_SHORT); /* io's mistake, not a peer's */
}

static void run(struct batch *b, struct pkt **v, size_t n)
{
    for (size_t i = 0; i < n && i < AHEAD; i++)
        prefetch(b, v[i]);
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            prefetch(b, v[i + AHEAD]);
        take(b, v[i]);
    }
    if (b->n_jobs > 0)
        esp_in_finish(b);
    for (size_t i = 0; i < n; i++)
        batch_emit(b, v[i]);
}

void dp_from_net(struct dp_worker *w, uint64_t now, struct pkt **v, size_t n, struct pkt_pool *pool, struct pkt_list *ret)
{
    struct batch b;
    batch_begin(&b, w, now, pool, ret);
    for (size_t i = 0; i < n; i += PKT_BATCH)
        run(&b, v + i, n - i < PKT_BATCH ? n - i : PKT_BATCH);
}
