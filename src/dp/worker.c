/* A worker: made and freed, its events, and how a packet leaves it. */
#include "worker.h"

#include <stdlib.h>

enum rc dp_worker_new(struct dp *dp, unsigned index, struct crypto *crypto, struct dp_worker **ret)
{
    unsigned workers = dp->config.workers ? dp->config.workers : 1;
    if (index >= workers || dp->worker[index])
        return RC_RANGE;
    struct dp_worker *w = calloc(1, sizeof *w);
    if (!w)
        return RC_NOMEM;
    w->dp = dp;
    w->crypto = crypto ? crypto : dp->config.crypto;
    w->index = index;
    w->n_count = dp->config.max_tunnels;
    w->count = pages_get(w->n_count * sizeof *w->count);
    if (!w->count) {
        free(w);
        return RC_NOMEM;
    }
    dp->worker[index] = w;
    *ret = w;
    return RC_OK;
}

void dp_worker_free(struct dp_worker *w)
{
    if (!w)
        return;
    w->dp->worker[w->index] = NULL;
    pages_put(w->count, w->n_count * sizeof *w->count);
    free(w);
}

size_t dp_events(struct dp_worker *w, struct dp_event *ret, size_t max)
{
    size_t n = 0, out = w->event_out, in = SEE(w->event_in);
    while (n < max && out != in)
        ret[n++] = w->event[out++ % EVENTS];
    SHOW(w->event_out, out); /* only now may the worker write there again */
    return n;
}

bool dp_events_pending(const struct dp_worker *w)
{
    return w->event_in != SEE(w->event_out);
}

static struct path path_of(const struct sa_peer *peer)
{
    return (struct path){{peer->outer.src, peer->local_port}, {peer->outer.dst, peer->remote_port}};
}

static bool has_room(const struct dp_worker *w)
{
    return w->event_in - SEE(w->event_out) < EVENTS;
}

bool batch_event(struct batch *b, enum dp_event_type type, const struct sa *sa, const struct path *path)
{
    struct dp_worker *w = b->w;
    size_t in = w->event_in;
    if (!has_room(w))
        return false;
    w->event[in % EVENTS] =
        (struct dp_event){.type = type, .spi_in = sa->spi_in, .path = path ? *path : path_of(SEE(sa->peer))};
    SHOW(w->event_in, in + 1);
    return true;
}

void batch_event_once(struct batch *b, bool *raised, enum dp_event_type type, const struct sa *sa)
{
    if (!READ(*raised) && has_room(b->w) && !SWAP(*raised, true))
        (void)batch_event(b, type, sa, NULL);
}

void batch_begin(struct batch *b, struct dp_worker *w, uint64_t now, struct pkt_pool *pool, struct pkt_list *ret)
{
    b->w = w;
    b->t = SEE(w->dp->tables); /* one look per batch: the whole batch sees one publication */
    b->now = now;
    b->pool = pool;
    b->ret = ret;
    b->gre_last = NULL;
    b->sa_last = NULL;
    b->tun_last = NULL;
    b->any_ours = false;
    b->run = (struct run){0};
    b->coalesce = READ(w->dp->config.coalesce);
    b->n_jobs = b->n_ops = 0;
}

static void count_drop(struct dp_worker *w, const struct tun *tun, enum dp_reason reason)
{
    ADD(w->total.drops[reason], 1);
    if (tun)
        ADD(w->count[tun->handle].c.drops[reason], 1);
}

void batch_drop(struct batch *b, struct pkt *p, const struct tun *tun, enum dp_reason reason)
{
    p->verdict = PKT_DROP;
    p->reason = (uint8_t)reason;
    count_drop(b->w, tun, reason);
}

void batch_no_room(struct batch *b, struct pkt *p)
{
    count_drop(b->w, NULL, DP_REASON_POOL);
    pkt_put(b->pool, p);
}

bool sa_is_exhausted(struct batch *b, struct sa *sa)
{
    if (LIKELY(READ(sa->seq) < SEQ_HARD && READ(sa->iv_next) < IV_HARD && b->now < READ(sa->hard_expiry_out)))
        return false;
    if (sa->out.shared || b->t->tun[sa->tunnel]->owner == b->w->index)
        batch_event_once(b, &sa->expired, DP_EVENT_SA_HARD, sa);
    return true;
}

void dp_count_drop(struct dp_worker *w, enum dp_reason reason, uint32_t n)
{
    ADD(w->total.drops[reason], n);
}
