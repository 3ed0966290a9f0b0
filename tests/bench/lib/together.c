/* Workers side by side; see together.h. */
#include "together.h"

#include <pthread.h>
#include <string.h>

#include "adit/wire_ip.h"
#include "fatal.h"

struct member {
    struct together *all;
    unsigned index;
    struct crypto *crypto;
    struct dp_worker *worker;
    struct pkt_pool *pool;
    struct pkt *ring[RING];
    uint8_t head[IP4_HEADER]; /* encryption takes the packet's own */
    uint64_t dice, ns, cpu_ns, packets;
    pthread_t thread;
};
struct together {
    struct looped *looped;
    unsigned n;
    uint64_t ns;
    pthread_barrier_t start;
    struct member member[TOGETHER_MAX];
};

static void member_open(struct together *t, unsigned i)
{
    struct member *m = &t->member[i];
    m->all = t;
    m->index = i;
    m->dice = 88172645463325252u + i;
    MUST(crypto_new(NULL, &m->crypto) == RC_OK);
    MUST(dp_worker_new(t->looped->dp, i, m->crypto, &m->worker) == RC_OK);
    MUST(pkt_pool_new(RING, RING, &m->pool) == RC_OK);
    for (size_t k = 0; k < RING; k++) {
        MUST((m->ring[k] = pkt_get(m->pool, t->looped->config.size > PKT_SMALL)) != NULL);
        looped_packet(t->looped, m->ring[k]);
    }
    memcpy(m->head, m->ring[0]->data, sizeof m->head);
}

struct together *together_new(const struct looped_config *config, unsigned threads)
{
    struct together *t = calloc(1, sizeof *t);
    struct looped_config c = *config;
    MUST(t != NULL && threads <= TOGETHER_MAX);
    c.workers = threads;
    t->n = threads;
    t->looped = looped_new(&c);
    dp_worker_free(t->looped->worker);
    t->looped->worker = NULL;
    for (unsigned i = 0; i < threads; i++)
        member_open(t, i);
    return t;
}

void together_free(struct together *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        struct member *m = &t->member[i];
        dp_worker_free(m->worker);
        pkt_pool_free(m->pool);
    }
    looped_free(t->looped);
    for (unsigned i = 0; i < t->n; i++)
        crypto_free(t->member[i].crypto);
    free(t);
}

/* The inner packets once more; each to a tunnel of this worker's, or to the only one. */
static void rewind_ring(struct member *m)
{
    const struct looped_config *c = &m->all->looped->config;
    uint32_t own = c->tunnels / m->all->n;
    for (size_t i = 0; i < RING; i++) {
        struct pkt *p = m->ring[i];
        p->data = p->room + PKT_HEADROOM;
        p->len = c->size;
        memcpy(p->data, m->head, sizeof m->head);
        if (own == 0)
            continue;
        m->dice ^= m->dice >> 12;
        m->dice ^= m->dice << 25;
        m->dice ^= m->dice >> 27;
        uint32_t k = (uint32_t)((m->dice * UINT64_C(0x2545f4914f6cdd1d) >> 32) * own >> 32);
        looped_destine(p, k * m->all->n + m->index);
    }
}

static void *member_run(void *ctx)
{
    struct member *m = ctx;
    const struct looped *l = m->all->looped;
    enum pkt_verdict expected = l->config.type == TUNNEL_GRE ? PKT_TO_GRE : PKT_TO_ESP;
    struct pkt *out[RING];
    m->packets = 0;
    pthread_barrier_wait(&m->all->start);
    uint64_t begin = clock_ns(CLOCK_MONOTONIC), cpu_begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    do {
        struct pkt_list ret = {.v = out, .cap = RING};
        rewind_ring(m);
        for (size_t i = 0; i < RING; i += l->config.batch)
            dp_from_tun(m->worker, l->now, m->ring + i, l->config.batch, m->pool, &ret);
        MUST(ret.n == RING);
        for (size_t i = 0; i < RING; i++)
            MUST(out[i]->verdict == expected);
        m->packets += RING;
        m->ns = clock_ns(CLOCK_MONOTONIC) - begin;
    } while (m->ns < m->all->ns);
    m->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_begin;
    return NULL;
}

struct together_rate together_run(struct together *t, uint64_t ns)
{
    struct together_rate rate = {0};
    uint64_t packets = 0, cpu_ns = 0;
    t->ns = ns;
    MUST(pthread_barrier_init(&t->start, NULL, t->n) == 0);
    for (unsigned i = 0; i < t->n; i++)
        MUST(pthread_create(&t->member[i].thread, NULL, member_run, &t->member[i]) == 0);
    for (unsigned i = 0; i < t->n; i++) {
        MUST(pthread_join(t->member[i].thread, NULL) == 0);
        rate.pps += (double)t->member[i].packets * 1e9 / (double)t->member[i].ns;
        packets += t->member[i].packets;
        cpu_ns += t->member[i].cpu_ns;
    }
    rate.ns = (double)cpu_ns / (double)packets;
    pthread_barrier_destroy(&t->start);
    return rate;
}
