#include "crew.h"

#include "adit/crypto.h"
#include "adit/wire_ip.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct call {
    void (*fn)(struct forward *f, void *arg);
    void *arg;
};

struct bell {
    struct io_bell *bell;
    struct io_watch watch;
};

struct worker { /* the control thread's until its thread starts, and after it has ended */
    struct crew *crew;
    struct forward forward;
    struct io_loop *loop;
    struct bell bell;
    struct io_entropy *entropy;
    struct rng rng;
    struct crypto *crypto;
    pthread_t thread;
    bool runs; /* the thread was started and is not joined: the control thread's */
    _Atomic(const struct call *) call;
    sem_t answered; /* a call is done, or the thread ends */
    atomic_bool ended, lost;
    struct io_error failure; /* once it has ended; empty: it was told to */
};

struct crew {
    struct crew_config config;
    struct forward alone; /* without workers */
    struct worker *worker;
    unsigned n; /* workers, and the control thread's number among the members */
    struct bell bell;
    struct handoff *handoff;
    struct grace *grace;
    struct pkt_pool *pool;
    uint64_t count[FORWARD_COUNT_END]; /* the control thread's */
    bool told;                         /* that one failed */
};

static enum rc bell_hang(struct bell *b, struct io_loop *loop, void (*ready)(void *ctx, unsigned events), void *ctx,
                         struct io_error *e)
{
    enum rc rc = io_bell_new(&b->bell, e);
    if (rc != RC_OK)
        return rc;
    b->watch =
        (struct io_watch){.fd = io_bell_fd(b->bell), .events = IO_READ, .urgent = true, .ready = ready, .ctx = ctx};
    return io_loop_watch(loop, &b->watch, e);
}

static void bell_free(struct bell *b)
{
    io_loop_unwatch(&b->watch);
    io_bell_free(b->bell);
    b->bell = NULL;
}

/* ---- a worker's thread */

static void worker_bell(void *ctx, unsigned events)
{
    struct worker *w = ctx;
    (void)events;
    io_bell_hush(w->bell.bell); /* the round looks at everything it may have rung for */
}

static void worker_lost(void *ctx, uint32_t account)
{
    struct worker *w = ctx;
    (void)account;
    atomic_store(&w->lost, true);
    io_bell_ring(w->crew->bell.bell);
}

static void serve(struct worker *w)
{
    const struct call *call = atomic_load_explicit(&w->call, memory_order_acquire);
    if (!call)
        return;
    forward_settle(&w->forward);
    call->fn(&w->forward, call->arg);
    atomic_store_explicit(&w->call, NULL, memory_order_release);
    sem_post(&w->answered);
}

static uint64_t worker_round(void *ctx, uint64_t now)
{
    struct worker *w = ctx;
    serve(w);
    uint64_t next = forward_round(&w->forward, now);
    if (dp_events_pending(w->forward.worker))
        io_bell_ring(w->crew->bell.bell);
    return next;
}

static void *worker_run(void *ctx)
{
    struct worker *w = ctx;
    char name[16];
    snprintf(name, sizeof name, "adit-w%u", w->forward.config.index);
    pthread_setname_np(pthread_self(), name);
    grace_join();
    if (io_loop_run(w->loop, &w->failure) == RC_OK)
        w->failure.text[0] = 0;
    grace_leave();
    atomic_store(&w->ended, true);
    sem_post(&w->answered);
    io_bell_ring(w->crew->bell.bell);
    return NULL;
}

/* ---- the control thread calls */

static bool is_running(const struct worker *w)
{
    return w->runs && !atomic_load(&w->ended);
}

static void call_one(struct worker *w, const struct call *call)
{
    if (is_running(w)) {
        atomic_store_explicit(&w->call, call, memory_order_release);
        io_bell_ring(w->bell.bell);
        while (sem_wait(&w->answered) < 0 && errno == EINTR)
            ;
        if (!atomic_load_explicit(&w->call, memory_order_acquire))
            return;
        atomic_store(&w->call, NULL); /* it ended before it came to it */
    }
    call->fn(&w->forward, call->arg);
}

void crew_call(struct crew *c, void (*fn)(struct forward *f, void *arg), void *arg)
{
    const struct call call = {fn, arg};
    for (unsigned i = 0; i < c->n; i++)
        call_one(&c->worker[i], &call);
    if (c->n == 0)
        fn(&c->alone, arg);
}

unsigned crew_size(const struct crew *c)
{
    return c->n ? c->n : 1;
}

unsigned crew_workers(const struct crew *c)
{
    return c->n;
}

struct forward *crew_forward(struct crew *c, unsigned i)
{
    return c->n ? &c->worker[i].forward : &c->alone;
}

struct grace *crew_grace(const struct crew *c)
{
    return c->grace;
}

/* ---- the control thread's share */

struct pkt_pool *crew_pool(const struct crew *c)
{
    return c->n ? c->pool : c->alone.pool;
}

/* An SPI of ours says whose it is (inbound_spi() in start.c); any worker hands on what is not its own. */
static unsigned worker_of(const struct crew *c, const struct pkt *p)
{
    bool esp = (p->from == PKT_FROM_ESP || p->from == PKT_FROM_NATT) && p->len >= 4;
    return esp ? load_be32(p->data) % c->n : 0;
}

void crew_from_outside(struct crew *c, struct pkt **v, size_t n)
{
    if (c->n == 0) {
        forward_from_outside(&c->alone, v, n);
        return;
    }
    c->count[FORWARD_COUNT_FROM_NETWORK] += n;
    handoff_reclaim(c->handoff, c->n, c->pool);
    for (size_t i = 0; i < n; i++)
        if (handoff_put(c->handoff, c->n, worker_of(c, v[i]), v[i]))
            c->count[FORWARD_COUNT_HANDED_ON]++;
        else {
            c->count[FORWARD_COUNT_HANDOFF_FULL]++;
            pkt_put(c->pool, v[i]);
        }
    handoff_publish(c->handoff, c->n);
}

static void take_datagrams(struct crew *c)
{
    for (unsigned from = 0; from < c->n; from++) {
        struct pkt *v[PKT_BATCH];
        size_t n = handoff_look(c->handoff, from, c->n, v, PKT_BATCH);
        for (size_t i = 0; i < n; i++) {
            const struct path path = {.local = {v[i]->outer.dst, v[i]->outer.dport},
                                      .remote = {v[i]->outer.src, v[i]->outer.sport}};
            c->config.datagram(c->config.ctx, &path, span_of(v[i]->data, v[i]->len));
        }
        handoff_done(c->handoff, from, c->n, n);
        c->count[FORWARD_COUNT_TAKEN_OVER] += n;
    }
}

uint64_t crew_round(struct crew *c, uint64_t now)
{
    if (c->n == 0)
        return NEVER;
    take_datagrams(c);
    handoff_reclaim(c->handoff, c->n, c->pool);
    return handoff_sleep(c->handoff, c->n) ? NEVER : now;
}

static void control_bell(void *ctx, unsigned events)
{
    struct crew *c = ctx;
    bool lost = false;
    (void)events;
    io_bell_hush(c->bell.bell);
    grace_sweep(c->grace);
    for (unsigned i = 0; i < c->n; i++) {
        lost |= atomic_exchange(&c->worker[i].lost, false);
        if (c->worker[i].runs && atomic_load(&c->worker[i].ended) && !c->told) {
            c->told = true;
            c->config.failed(c->config.ctx, &c->worker[i].failure);
        }
    }
    if (lost)
        c->config.lost(c->config.ctx);
}

/* ---- life */

static void wake(void *ctx, unsigned member)
{
    struct crew *c = ctx;
    io_bell_ring(member == c->n ? c->bell.bell : c->worker[member].bell.bell);
}

static void grace_over(void *ctx)
{
    struct crew *c = ctx;
    io_bell_ring(c->bell.bell);
}

static enum rc worker_new(struct crew *c, unsigned index, struct io_error *e)
{
    struct worker *w = &c->worker[index];
    const struct io_loop_hooks hooks = {.round = worker_round, .ctx = w};
    w->crew = c;
    c->n = index + 1; /* to be taken down, whatever follows */
    sem_init(&w->answered, 0, 0);
    enum rc rc = io_loop_new(&hooks, &w->loop, e);
    if (rc == RC_OK)
        rc = bell_hang(&w->bell, w->loop, worker_bell, w, e);
    if (rc == RC_OK)
        rc = io_entropy_new(&w->entropy, e);
    if (rc != RC_OK)
        return rc;
    w->rng = io_entropy_rng(w->entropy);
    rc = crypto_new(&w->rng, &w->crypto);
    const struct forward_config forward = {.index = index,
                                           .loop = w->loop,
                                           .dp = c->config.dp,
                                           .crypto = w->crypto,
                                           .handoff = c->handoff,
                                           .grace = c->grace,
                                           .lost = worker_lost,
                                           .ctx = w};
    return rc == RC_OK ? forward_open(&w->forward, &forward) : rc;
}

static void worker_free(struct worker *w)
{
    forward_close(&w->forward);
    crypto_free(w->crypto);
    io_entropy_free(w->entropy);
    if (w->bell.bell)
        bell_free(&w->bell);
    io_loop_free(w->loop);
    sem_destroy(&w->answered);
}

static enum rc workers_new(struct crew *c, struct io_error *e)
{
    unsigned n = c->config.workers;
    const struct handoff_hooks hooks = {.wake = wake, .ctx = c};
    c->worker = calloc(n, sizeof *c->worker);
    enum rc rc = c->worker ? handoff_new(n + 1, &hooks, &c->handoff) : RC_NOMEM;
    if (rc == RC_OK)
        rc = pkt_pool_new(POOL_SMALL, POOL_LARGE, &c->pool);
    if (rc == RC_OK)
        rc = grace_new(c->config.dp, grace_over, c, &c->grace);
    if (rc == RC_OK)
        rc = bell_hang(&c->bell, c->config.loop, control_bell, c, e);
    for (unsigned i = 0; i < n && rc == RC_OK; i++)
        rc = worker_new(c, i, e);
    return rc;
}

enum rc crew_new(const struct crew_config *config, struct crew **ret, struct io_error *e)
{
    struct crew *c = calloc(1, sizeof *c);
    if (!c)
        return RC_NOMEM;
    c->config = *config;
    const struct forward_config alone = {
        .loop = config->loop, .dp = config->dp, .lost = config->tun_lost, .ctx = config->ctx};
    enum rc rc = config->workers ? workers_new(c, e) : forward_open(&c->alone, &alone);
    if (rc == RC_OK)
        *ret = c;
    else
        crew_free(c);
    return rc;
}

enum rc crew_start(struct crew *c, struct io_error *e)
{
    sigset_t all, before;
    int error = 0;
    sigfillset(&all);
    if (c->grace)
        grace_begin(c->grace);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the control thread's */
    for (unsigned i = 0; i < c->n && !error; i++) {
        error = pthread_create(&c->worker[i].thread, NULL, worker_run, &c->worker[i]);
        c->worker[i].runs = !error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        return RC_OK;
    snprintf(e->text, sizeof e->text, "starting %u worker threads: %s", c->n, strerror(error));
    return RC_LIMIT;
}

static void stop(struct forward *f, void *arg)
{
    (void)arg;
    io_loop_stop(f->config.loop);
}

void crew_stop(struct crew *c)
{
    if (!c)
        return;
    const struct call call = {stop, NULL};
    c->told = true; /* what ends now is meant to */
    for (unsigned i = 0; i < c->n; i++) {
        struct worker *w = &c->worker[i];
        if (!w->runs)
            continue;
        call_one(w, &call);
        pthread_join(w->thread, NULL);
        w->runs = false;
    }
    if (c->grace)
        grace_end(c->grace);
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    forward_close(&c->alone);
    for (unsigned i = 0; i < c->n; i++)
        worker_free(&c->worker[i]);
    grace_free(c->grace);
    if (c->bell.bell)
        bell_free(&c->bell);
    handoff_free(c->handoff);
    pkt_pool_free(c->pool);
    free(c->worker);
    free(c);
}

/* ---- to look at */

void crew_info(const struct crew *c, unsigned worker, struct crew_info *ret)
{
    struct timespec t;
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
    const struct worker *w = worker < c->n ? &c->worker[worker] : NULL;
    bool known = !w || (w->runs && pthread_getcpuclockid(w->thread, &clock) == 0);
    known = known && clock_gettime(clock, &t) == 0;
    ret->cpu = known ? (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec : 0;
    for (unsigned i = 0; i < FORWARD_COUNT_END; i++)
        ret->count[i] = w ? forward_count(&w->forward, (enum forward_count)i) : c->count[i];
}
