#include "forward.h"

#include "adit/shared.h"

#include <stdlib.h>

#define RESULTS_MAX (64 * PKT_BATCH) /* what dp may make of one batch */

struct forward_tun {
    struct forward *forward;
    struct io_tun *tun;
    uint32_t account;
    bool lost;
    struct io_watch watch;
};

static struct forward_tun *find(const struct forward *f, uint32_t account)
{
    return account < f->n_tun ? f->tun[account] : NULL;
}

static void count(struct forward *f, enum forward_count c, size_t n)
{
    ADD(f->count[c], n);
}

/* What follows looks at dp's tables. */
static void come_back(struct forward *f)
{
    if (!f->away)
        return;
    f->away = false;
    grace_online();
    handoff_awake(f->config.handoff, f->config.index);
}

static void lose(struct forward *f, struct forward_tun *t)
{
    if (t->lost)
        return;
    t->lost = true;
    io_loop_unwatch(&t->watch);
    f->config.lost(f->config.ctx, t->account); /* t may be gone now */
}

/* ---- out */

static void write_inside(struct forward *f, struct pkt *const *v, size_t n)
{
    struct forward_tun *t = find(f, v[0]->account);
    size_t dropped = n;
    if (t && !t->lost && io_tun_write(t->tun, f->config.index, v, n, &dropped) == RC_ABSENT)
        lose(f, t);
    if (dropped)
        dp_count_drop(f->worker, DP_REASON_SEND, (uint32_t)dropped);
}

static void write_outside(struct forward *f, struct pkt *const *v, size_t n)
{
    size_t refused = f->outer ? io_outer_send(f->outer, v, n) : n;
    if (refused)
        dp_count_drop(f->worker, DP_REASON_SEND, (uint32_t)refused);
}

static bool put(struct forward *f, unsigned to, struct pkt *p)
{
    if (handoff_put(f->config.handoff, f->config.index, to, p))
        return true;
    handoff_reclaim(f->config.handoff, f->config.index, f->pool);
    return handoff_put(f->config.handoff, f->config.index, to, p);
}

/* What was handed on once and belongs to yet another worker, because its tunnel does now, must not go round in circles. False: dropped,
 * and counted. */
static bool hand_on(struct forward *f, struct pkt *p, bool again)
{
    bool ok = !again && put(f, p->worker, p);
    count(f, ok ? FORWARD_COUNT_HANDED_ON : again ? FORWARD_COUNT_HANDOFF_LOST : FORWARD_COUNT_HANDOFF_FULL, 1);
    if (!ok)
        dp_count_drop(f->worker, DP_REASON_HANDOFF, 1);
    return ok;
}

/* Sends what goes outside in one call, and what goes inside in runs of one account; every buffer returns to the pool, but for those that
 * another thread works on now. */
static void dispatch(struct forward *f, const struct pkt_list *results, bool again)
{
    struct pkt *outside[RESULTS_MAX];
    size_t n_outside = 0, run = 0, handed = 0;
    for (size_t i = 0; i < results->n; i++) {
        struct pkt *p = results->v[i];
        bool inside = p->verdict == PKT_TO_TUN;
        if (run && (!inside || p->account != results->v[i - 1]->account)) {
            write_inside(f, results->v + i - run, run);
            run = 0;
        }
        if (inside)
            run++;
        else if (p->verdict == PKT_TO_WORKER) {
            if (hand_on(f, p, again)) {
                results->v[i] = NULL;
                handed++;
            }
        } else if (p->verdict != PKT_DROP)
            outside[n_outside++] = p;
    }
    if (run)
        write_inside(f, results->v + results->n - run, run);
    if (n_outside)
        write_outside(f, outside, n_outside);
    if (handed)
        handoff_publish(f->config.handoff, f->config.index);
    for (size_t i = 0; i < results->n; i++)
        pkt_put(f->pool, results->v[i]);
}

/* ---- in */

static void through_dp(struct forward *f, struct pkt **v, size_t n, bool tun, bool again)
{
    struct pkt *results[RESULTS_MAX];
    struct pkt_list list = {.v = results, .cap = RESULTS_MAX};
    come_back(f);
    (tun ? dp_from_tun : dp_from_net)(f->worker, io_clock_now(), v, n, f->pool, &list);
    dispatch(f, &list, again);
}

void forward_from_outside(void *forward, struct pkt **v, size_t n)
{
    struct forward *f = forward;
    count(f, FORWARD_COUNT_FROM_NETWORK, n);
    through_dp(f, v, n, false, false);
}

static void tun_ready(void *ctx, unsigned events)
{
    struct forward_tun *t = ctx;
    struct forward *f = t->forward;
    uint32_t account = t->account;
    struct pkt *v[PKT_BATCH];
    size_t n = 0;
    (void)events;
    enum rc rc = io_tun_read(t->tun, f->config.index, f->pool, v, PKT_BATCH, &n);
    count(f, FORWARD_COUNT_FROM_DEVICES, n);
    if (n)
        through_dp(f, v, n, true, false);
    t = find(f, account); /* a write that found the device gone may have taken it away */
    if (rc == RC_ABSENT && t)
        lose(f, t);
}

/* ---- between threads */

void forward_datagram(void *forward, const struct path *path, struct span datagram)
{
    struct forward *f = forward;
    struct pkt *p = datagram.n > PKT_LARGE ? NULL : pkt_get(f->pool, datagram.n > PKT_SMALL);
    if (p) {
        struct wr w = wr_of(p->data, datagram.n);
        wr_bytes(&w, datagram);
        p->len = (uint32_t)datagram.n;
        p->outer = (struct pkt_outer){
            .src = path->remote.addr, .dst = path->local.addr, .sport = path->remote.port, .dport = path->local.port};
    }
    if (p && put(f, handoff_members(f->config.handoff) - 1, p)) {
        count(f, FORWARD_COUNT_HANDED_ON, 1);
        handoff_publish(f->config.handoff, f->config.index);
        return;
    }
    pkt_put(f->pool, p);
    count(f, FORWARD_COUNT_HANDOFF_FULL, 1);
    dp_count_drop(f->worker, DP_REASON_HANDOFF, 1);
}

/* One batch of what `from` handed on. The buffers are that one's again afterwards. */
static size_t take_over(struct forward *f, unsigned from)
{
    struct pkt *v[PKT_BATCH], *net[PKT_BATCH], *tun[PKT_BATCH];
    size_t n = handoff_look(f->config.handoff, from, f->config.index, v, PKT_BATCH), n_net = 0, n_tun = 0;
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (v[i]->from == PKT_FROM_TUN)
            tun[n_tun++] = v[i];
        else
            net[n_net++] = v[i];
    count(f, FORWARD_COUNT_TAKEN_OVER, n);
    if (n_net)
        through_dp(f, net, n_net, false, true);
    if (n_tun)
        through_dp(f, tun, n_tun, true, true);
    handoff_done(f->config.handoff, from, f->config.index, n);
    return n;
}

void forward_settle(struct forward *f)
{
    for (unsigned from = 0; from < handoff_members(f->config.handoff); from++)
        for (size_t i = 0; i < HANDOFF_SLOTS / PKT_BATCH && take_over(f, from); i++)
            ;
}

uint64_t forward_round(struct forward *f, uint64_t now)
{
    for (unsigned from = 0; from < handoff_members(f->config.handoff); from++)
        take_over(f, from);
    handoff_reclaim(f->config.handoff, f->config.index, f->pool);
    if (!f->away)
        grace_quiet(f->config.grace);
    if (!handoff_sleep(f->config.handoff, f->config.index))
        return now;
    if (!f->away)
        grace_offline(f->config.grace);
    f->away = true;
    return NEVER;
}

/* ---- counters */

const char *forward_count_name(enum forward_count c)
{
    static const char *const names[] = {
#define X(id, text) text,
        FORWARD_COUNTS(X)
#undef X
    };
    return (unsigned)c < FORWARD_COUNT_END ? names[c] : "?";
}

uint64_t forward_count(const struct forward *f, enum forward_count c)
{
    return (unsigned)c < FORWARD_COUNT_END ? READ(f->count[c]) : 0;
}

/* ---- TUNs come and go */

static enum rc room_for(struct forward *f, uint32_t account)
{
    if (account < f->n_tun)
        return RC_OK;
    uint32_t n = (account / 64 + 1) * 64;
    struct forward_tun **bigger = realloc(f->tun, n * sizeof(struct forward_tun *));
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
    t->watch =
        (struct io_watch){.fd = io_tun_fd(tun, f->config.index), .events = IO_READ, .ready = tun_ready, .ctx = t};
    enum rc rc = io_loop_watch(f->config.loop, &t->watch, ret_error);
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

bool forward_tun_is_lost(const struct forward *f, uint32_t account)
{
    const struct forward_tun *t = find(f, account);
    return t && t->lost;
}

/* ---- life */

enum rc forward_open(struct forward *f, const struct forward_config *config)
{
    *f = (struct forward){.config = *config, .away = config->grace != NULL};
    enum rc rc = pkt_pool_new(POOL_SMALL, POOL_LARGE, &f->pool);
    return rc == RC_OK ? dp_worker_new(config->dp, config->index, config->crypto, &f->worker) : rc;
}

void forward_close(struct forward *f)
{
    for (uint32_t i = 0; i < f->n_tun; i++)
        forward_tun_remove(f, i);
    free(f->tun);
    dp_worker_free(f->worker);
    pkt_pool_free(f->pool);
    *f = (struct forward){0};
}
