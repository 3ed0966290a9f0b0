#include "forward.h"

#include <stdlib.h>

#define POOL_SMALL 4096
#define POOL_LARGE 64
#define RESULTS_MAX (64 * PKT_BATCH) /* what dp may make of one batch */

struct forward_tun {
    struct forward *forward;
    struct io_tun *tun;
    uint32_t account;
    struct io_watch watch;
};

static struct forward_tun *find(const struct forward *f, uint32_t account)
{
    return account < f->n_tun ? f->tun[account] : NULL;
}

/* ---- out */

static void write_inside(struct forward *f, struct pkt *const *v, size_t n)
{
    const struct forward_tun *t = find(f, v[0]->account);
    size_t dropped = n;
    if (t && io_tun_write(t->tun, f->index, v, n, &dropped) == RC_ABSENT)
        f->hooks.lost(f->hooks.ctx, v[0]->account);
    if (dropped)
        dp_count_drop(f->worker, DP_REASON_SEND, (uint32_t)dropped);
}

static void write_outside(struct forward *f, struct pkt *const *v, size_t n)
{
    size_t refused = f->outer ? io_outer_send(f->outer, v, n) : n;
    if (refused)
        dp_count_drop(f->worker, DP_REASON_SEND, (uint32_t)refused);
}

/* Sends what goes outside in one call, and what goes inside in runs of one account; every buffer returns to the pool. */
static void dispatch(struct forward *f, const struct pkt_list *results)
{
    struct pkt *outside[RESULTS_MAX];
    size_t n_outside = 0, run = 0;
    for (size_t i = 0; i < results->n; i++) {
        const struct pkt *p = results->v[i];
        bool inside = p->verdict == PKT_TO_TUN;
        if (run && (!inside || p->account != results->v[i - 1]->account)) {
            write_inside(f, results->v + i - run, run);
            run = 0;
        }
        if (inside)
            run++;
        else if (p->verdict != PKT_DROP)
            outside[n_outside++] = results->v[i];
    }
    if (run)
        write_inside(f, results->v + results->n - run, run);
    if (n_outside)
        write_outside(f, outside, n_outside);
    for (size_t i = 0; i < results->n; i++)
        pkt_put(f->pool, results->v[i]);
}

/* ---- in */

void forward_from_outside(struct forward *f, struct pkt **v, size_t n)
{
    struct pkt *results[RESULTS_MAX];
    struct pkt_list list = {.v = results, .cap = RESULTS_MAX};
    dp_from_net(f->worker, io_clock_now(), v, n, f->pool, &list);
    dispatch(f, &list);
}

static void from_inside(struct forward *f, struct pkt **v, size_t n)
{
    struct pkt *results[RESULTS_MAX];
    struct pkt_list list = {.v = results, .cap = RESULTS_MAX};
    dp_from_tun(f->worker, io_clock_now(), v, n, f->pool, &list);
    dispatch(f, &list);
}

static void tun_ready(void *ctx, unsigned events)
{
    struct forward_tun *t = ctx;
    struct forward *f = t->forward;
    uint32_t account = t->account;
    struct pkt *v[PKT_BATCH];
    size_t n = 0;
    (void)events;
    enum rc rc = io_tun_read(t->tun, f->index, f->pool, v, PKT_BATCH, &n);
    if (n)
        from_inside(f, v, n); /* should a write find the device gone, t goes with it */
    if (rc == RC_ABSENT)
        f->hooks.lost(f->hooks.ctx, account);
}

/* ---- TUNs come and go */

static enum rc room_for(struct forward *f, uint32_t account)
{
    if (account < f->n_tun)
        return RC_OK;
    uint32_t n = (account / 64 + 1) * 64;
    struct forward_tun **bigger = realloc(f->tun, n * sizeof *bigger);
    if (!bigger)
        return RC_NOMEM;
    for (uint32_t i = f->n_tun; i < n; i++)
        bigger[i] = NULL;
    f->tun = bigger;
    f->n_tun = n;
    return RC_OK;
}

enum rc forward_tun_add(struct forward *f, uint32_t account, struct io_tun *tun, struct io_error *ret_error)
{
    struct forward_tun *t = room_for(f, account) == RC_OK ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return RC_NOMEM;
    *t = (struct forward_tun){.forward = f, .tun = tun, .account = account};
    t->watch = (struct io_watch){.fd = io_tun_fd(tun, f->index), .events = IO_READ, .ready = tun_ready, .ctx = t};
    enum rc rc = io_loop_watch(f->loop, &t->watch, ret_error);
    if (rc != RC_OK) {
        free(t);
        return rc;
    }
    f->tun[account] = t;
    return RC_OK;
}

void forward_tun_remove(struct forward *f, uint32_t account)
{
    struct forward_tun *t = find(f, account);
    if (!t)
        return;
    io_loop_unwatch(&t->watch);
    free(t);
    f->tun[account] = NULL;
}

/* ---- life */

enum rc forward_open(struct forward *f, struct dp *dp, unsigned index, struct crypto *crypto, struct io_loop *loop,
                     const struct forward_hooks *hooks)
{
    *f = (struct forward){.index = index, .loop = loop, .hooks = *hooks};
    enum rc rc = pkt_pool_new(POOL_SMALL, POOL_LARGE, &f->pool);
    return rc == RC_OK ? dp_worker_new(dp, index, crypto, &f->worker) : rc;
}

void forward_close(struct forward *f)
{
    for (uint32_t i = 0; i < f->n_tun; i++)
        forward_tun_remove(f, i);
    free(f->tun);
    io_outer_close(f->outer);
    dp_worker_free(f->worker);
    pkt_pool_free(f->pool);
    *f = (struct forward){0};
}
