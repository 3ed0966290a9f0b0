/* One SA that four workers send on at once, each in its own thread: no sequence number and no IV comes twice, over new workers and new keys,
 * and the end comes once. */
#include "dp/worker.h"
#include "lib/world.h"

#include <pthread.h>

#define THREADS 4
#define PER_THREAD 40000

struct sent {
    uint32_t seq;
    uint64_t iv;
};
struct sender {
    struct world *world;
    unsigned index;
    struct dp_worker *w;
    struct crypto *crypto;
    struct pkt_pool *pool;
    struct sent *sent; /* of all its lives */
    size_t n, expired, iv_at;
    uint64_t dice;
    pthread_barrier_t *start;
};

static void look(struct sender *me, const struct pkt *p)
{
    if (p->verdict == PKT_TO_ESP)
        me->sent[me->n++] = (struct sent){load_be32(p->data + 4), load_be64(p->data + me->iv_at)};
    else
        me->expired++;
}

static void *send_many(void *ctx)
{
    struct sender *me = ctx;
    uint8_t inner[64];
    struct wr w = wr_of(inner, sizeof inner);
    struct ip_fields f = {
        .src = ip("10.9.0.1"), .dst = ip("10.1.0.1"), .proto = IP_PROTO_UDP, .ttl = 64, .payload_len = 44};
    memset(inner, 0, sizeof inner);
    wire_ip_write(&w, &f);
    pthread_barrier_wait(me->start);
    for (size_t left = PER_THREAD; left > 0;) {
        struct pkt *v[PKT_BATCH], *out[PKT_BATCH];
        struct pkt_list ret = {.v = out, .cap = PKT_BATCH};
        uint64_t draw = dice(&me->dice) >> 32; /* mostly few: workers meet where they take numbers, not in the cipher */
        size_t n = draw % 16 ? draw >> 8 & 1 ? 1 : 2 : (draw >> 16) % PKT_BATCH + 1;
        n = n < left ? n : left;
        left -= n;
        for (size_t i = 0; i < n; i++) {
            v[i] = pkt_get(me->pool, false);
            memcpy(v[i]->data, inner, sizeof inner);
            v[i]->len = sizeof inner;
            v[i]->account = ACCOUNT;
            v[i]->from = PKT_FROM_TUN;
        }
        dp_from_tun(me->w, me->world->now, v, n, me->pool, &ret);
        for (size_t i = 0; i < ret.n; i++) {
            look(me, ret.v[i]);
            pkt_put(me->pool, ret.v[i]);
        }
    }
    return NULL;
}

/* One life of all workers: made anew, each in its own thread with its own crypto; PER_THREAD packets each. Returns DP_EVENT_SA_HARD. */
static size_t live(struct world *w, struct sender *s, size_t iv_at, size_t *ret_soft)
{
    pthread_t thread[THREADS];
    pthread_barrier_t start;
    size_t hard = 0;
    assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        dp_worker_free(w->edge[i]);
        OK(crypto_new(NULL, &s[i].crypto));
        OK(dp_worker_new(w->dp[EDGE], i, s[i].crypto, &w->edge[i]));
        OK(pkt_pool_new(PKT_BATCH, 1, &s[i].pool));
        s[i].world = w;
        s[i].index = i;
        s[i].w = w->edge[i];
        s[i].start = &start;
        s[i].iv_at = iv_at;
        s[i].dice = 4711 + i;
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, send_many, &s[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    *ret_soft = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        struct dp_event e[8];
        for (size_t n = dp_events(w->edge[i], e, 8); n > 0; n--) {
            hard += e[n - 1].type == DP_EVENT_SA_HARD;
            *ret_soft += e[n - 1].type == DP_EVENT_SA_SOFT;
        }
        dp_worker_free(w->edge[i]);
        OK(dp_worker_new(w->dp[EDGE], i, NULL, &w->edge[i]));
        crypto_free(s[i].crypto);
        pkt_pool_free(s[i].pool);
    }
    w->w[EDGE] = w->edge[0];
    pthread_barrier_destroy(&start);
    return hard;
}

static int by_seq(const void *a, const void *b)
{
    uint32_t x = ((const struct sent *)a)->seq, y = ((const struct sent *)b)->seq;
    return (x > y) - (x < y);
}
static int by_iv(const void *a, const void *b)
{
    uint64_t x = ((const struct sent *)a)->iv, y = ((const struct sent *)b)->iv;
    return (x > y) - (x < y);
}

/* What all have sent since the last time, sorted: no number twice, none of them 0, no IV twice. */
static size_t assert_once(struct sender *s, struct sent *all)
{
    size_t n = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        memcpy(all + n, s[i].sent, s[i].n * sizeof *all);
        n += s[i].n;
        s[i].n = 0;
    }
    qsort(all, n, sizeof *all, by_iv);
    for (size_t i = 1; i < n; i++)
        assert_true(all[i].iv != all[i - 1].iv);
    qsort(all, n, sizeof *all, by_seq);
    assert_true(n == 0 || all[0].seq > 0);
    for (size_t i = 1; i < n; i++)
        assert_true(all[i].seq != all[i - 1].seq);
    return n;
}

static struct sender *senders(void)
{
    struct sender *s = calloc(THREADS, sizeof *s);
    assert_non_null(s);
    for (unsigned i = 0; i < THREADS; i++) {
        s[i].sent = calloc(2 * PER_THREAD, sizeof *s[i].sent);
        assert_non_null(s[i].sent);
    }
    return s;
}

static void senders_free(struct sender *s)
{
    for (unsigned i = 0; i < THREADS; i++)
        free(s[i].sent);
    free(s);
}

static struct dp_sa_info info_of(const struct world *w, uint32_t spi)
{
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], spi, &info));
    return info;
}

/* Two lives of the workers on one SA, then a rekey: the old key's numbers and IVs are over, the new one's begin. */
static void each_number_and_iv_once(void **state)
{
    struct world *w = *state;
    struct sender *s = senders();
    struct sent *all = calloc(2 * THREADS * PER_THREAD, sizeof *all);
    const struct esp_alg algs[] = {GCM256, CBC256};
    size_t soft;
    assert_non_null(all);
    world_unprotect(w);
    for (uint32_t k = 0; k < 3; k++) {
        struct child_sa c = world_child(EDGE, algs[k % 2]);
        c.spi_in = 0x1000 + k;
        c.replaces = k ? 0x0fff + k : 0;
        c.ready = true;
        OK(dp_child_up(w->dp[EDGE], w->now, &c));
        for (int life = 0; life < 2; life++)
            assert_int_equal(live(w, s, k % 2 ? 16 : 8, &soft), 0); /* CBC: the second half of its 16 octets */
        assert_int_equal(assert_once(s, all), 2 * THREADS * PER_THREAD);
        assert_int_equal(all[2 * THREADS * PER_THREAD - 1].seq, 2 * THREADS * PER_THREAD); /* and none left out */
        struct dp_sa_info info = info_of(w, c.spi_in);
        assert_int_equal(info.packets_out, 2 * THREADS * PER_THREAD);
        assert_int_equal(info.bytes_out, 64 * 2 * THREADS * PER_THREAD);
        assert_int_equal(info.seq_out, 2 * THREADS * PER_THREAD);
        if (k)
            assert_int_equal(info_of(w, 0x0fff + k).packets_out, 2 * THREADS * PER_THREAD); /* no more than before */
    }
    free(all);
    senders_free(s);
}

/* Four at once run into the end: exactly what was left goes out, and one of them says it is over. */
static void the_end_comes_once(void **state)
{
    struct world *w = *state;
    struct sender *s = senders();
    struct sent *all = calloc(THREADS * PER_THREAD, sizeof *all);
    enum { LEFT = 30011 };
    size_t soft;
    assert_non_null(all);
    world_unprotect(w);
    for (int iv = 0; iv < 2; iv++) {
        struct child_sa c = world_child(EDGE, GCM256);
        OK(dp_child_up(w->dp[EDGE], w->now, &c));
        struct sa_shared *shared = sa_shared(sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE));
        if (iv)
            shared->iv_next = IV_HARD - LEFT;
        else
            shared->seq = SEQ_HARD - LEFT;
        assert_int_equal(live(w, s, 8, &soft), 1);
        assert_int_equal(soft, 1);
        assert_int_equal(assert_once(s, all), LEFT);
        assert_int_equal(info_of(w, SPI_EDGE).packets_out, LEFT);
        if (!iv)
            assert_int_equal(all[LEFT - 1].seq, UINT32_MAX);
        for (size_t i = 0; i < LEFT; i++)
            assert_int_equal(all[i].iv >> 40, SENDER_ID);
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_garbage_free(w->dp[EDGE], dp_garbage_take(w->dp[EDGE]));
    }
    free(all);
    senders_free(s);
}

int main(void)
{
#define T4(f) cmocka_unit_test_setup_teardown(f, world_open_four, world_close)
    const struct CMUnitTest tests[] = {
        T4(each_number_and_iv_once),
        T4(the_end_comes_once),
    };
    return cmocka_run_group_tests_name("dp_numbers", tests, NULL, NULL);
}
