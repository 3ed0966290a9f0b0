/* A pool that runs empty, and a list of results that is full, at every point of a batch that needs them: super-packets, fragments, ICMP
 * answers, both encapsulations, and on the way in what is put together again. Nothing is lost that no counter has, nothing leaks. */
#include "lib/super.h"

#include <stdio.h>

enum { INPUTS = 12 };

/* Input i goes to host i of the GRE or the IPsec side; what comes out of it is known by that. */
static struct span plain(size_t i, bool esp, uint8_t proto, size_t payload, bool df)
{
    char dst[16];
    snprintf(dst, sizeof dst, "10.%d.0.%zu", esp ? 1 : 2, i + 1);
    struct span p = ip_packet("10.9.0.1", dst, proto, payload);
    edit(p)[6] = df ? 0x40 : 0;
    ip_mend(p);
    return p;
}

static struct pkt *super(struct world *w, size_t i, bool esp, uint8_t proto, uint16_t size, uint32_t payload, bool df)
{
    struct super_spec s = {4, proto, ACK | PSH, 0, 0, 64, df, 7, size, 1, payload, 5};
    struct pkt *p = super_make(w, &s, false);
    store_be16(p->data + 16,
               esp ? 0x0a01 : 0x0a02); /* the checksum left open is of another address: not looked at here */
    p->data[19] = (uint8_t)(i + 1);
    ip4_finish(p->data);
    return p;
}

static void fill(struct world *w, struct pkt *v[INPUTS])
{
    size_t i = 0;
#define PLAIN(...) v[i] = world_packet(w, plain(i, __VA_ARGS__), PKT_FROM_TUN), i++
#define SUPER(...) v[i] = super(w, i, __VA_ARGS__), i++
    PLAIN(false, IP_PROTO_UDP, 100, true);
    SUPER(false, IP_PROTO_TCP, 1000, 7500, true);
    PLAIN(false, IP_PROTO_UDP, 1480, false); /* two fragments */
    PLAIN(true, IP_PROTO_UDP, 100, true);
    PLAIN(false, IP_PROTO_UDP, 1480, true); /* ICMP */
    SUPER(true, IP_PROTO_UDP, 1200, 6100, false);
    PLAIN(true, IP_PROTO_UDP, 1480, false);
    SUPER(false, IP_PROTO_TCP, 1460, 4000, false); /* the last segment fits */
    SUPER(true, IP_PROTO_TCP, 1460, 4000, true);   /* ICMP */
    PLAIN(true, IP_PROTO_UDP, 1480, true);
    PLAIN(false, IP_PROTO_UDP, 4000, false);
    PLAIN(true, IP_PROTO_UDP, 10, false);
    assert_int_equal(i, INPUTS);
}

struct outcome {
    size_t sent[INPUTS], dropped[INPUTS], answers;
};

static size_t input_of(const struct pkt *p) /* at its inner header */
{
    assert_in_range(p->data[19], 1, INPUTS);
    return p->data[19] - 1u;
}

static uint64_t all_drops(const struct world *w, enum side side)
{
    uint64_t n = 0;
    for (int r = 0; r < DP_REASON_END; r++)
        n += world_drops(w, side, (enum dp_reason)r);
    return n;
}

/* What of the edge's results the peer takes for packets of whom. ESP is opened for that, by a core that saw none of it before. */
static void sort(struct world *w, struct outcome *o)
{
    struct pkt *net[64 * PKT_BATCH];
    size_t n = 0, kept = 0;
    *o = (struct outcome){0};
    for (size_t i = 0; i < w->n_out; i++) {
        struct pkt *p = w->out[i];
        if (p->verdict == PKT_TO_TUN) {
            assert_int_equal(p->data[20], 3);
            o->answers++;
        } else if (p->verdict == PKT_DROP) {
            o->dropped[input_of(p)]++;
        } else {
            net[n++] = p;
            continue;
        }
        w->out[kept++] = p;
    }
    w->n_out = kept;
    world_done(w);
    for (size_t at = 0; at < n; at += PKT_BATCH) {
        w->n_out = n - at < PKT_BATCH ? n - at : PKT_BATCH;
        for (size_t i = 0; i < w->n_out; i++)
            w->out[i] = net[at + i];
        world_carry(w, PEER);
        for (size_t i = 0; i < w->n_out; i++) {
            assert_int_equal(w->out[i]->verdict, PKT_TO_TUN);
            o->sent[input_of(w->out[i])]++;
        }
        world_done(w);
    }
}

static size_t hold(struct world *w, struct pkt **held, size_t leave, bool large)
{
    size_t n = 0;
    while (pkt_pool_available(w->pool, large) > leave)
        held[n++] = pkt_get(w->pool, large);
    return n;
}

static void outgoing_with(struct world *w, size_t buffers, struct outcome *ret)
{
    struct pkt *v[INPUTS], *held[4096 + 16];
    fill(w, v);
    size_t n = hold(w, held, buffers, false);
    n += hold(w, held + n, 0, true);
    uint64_t before = all_drops(w, EDGE);
    w->now += NS_PER_S; /* as many answers as one wants */
    world_run_tun(w, EDGE, v, INPUTS);
    uint64_t counted = all_drops(w, EDGE) - before;
    while (n > 0)
        pkt_put(w->pool, held[--n]);
    size_t dropped = 0;
    sort(w, ret);
    for (size_t i = 0; i < INPUTS; i++)
        dropped += ret->dropped[i];
    assert_int_equal(counted, dropped);
    assert_int_equal(pkt_pool_available(w->pool, false), w->n_small);
    assert_int_equal(pkt_pool_available(w->pool, true), w->n_large);
}

static void empty_at_every_packet(void **state)
{
    struct world *w = *state;
    struct outcome all, some;
    world_up(w, GCM256, 4, false, 4);
    outgoing_with(w, 4000, &all);
    static const size_t sent[INPUTS] = {1, 8, 2, 1, 0, 6, 2, 5, 0, 0, 3, 1};
    for (size_t i = 0; i < INPUTS; i++)
        assert_int_equal(all.sent[i], sent[i]);
    assert_int_equal(all.answers, 3);
    bool whole = false;
    for (size_t buffers = 0; !whole; buffers++) {
        assert_true(buffers < 100);
        outgoing_with(w, buffers, &some);
        whole = some.answers == all.answers;
        for (size_t i = 0; i < INPUTS; i++) {
            assert_true(some.sent[i] <= all.sent[i]);
            if (some.sent[i] < all.sent[i]) /* not all of it: then it says so */
                assert_int_equal(some.dropped[i] > all.dropped[i], true);
            else
                assert_int_equal(some.dropped[i], all.dropped[i]);
            whole &= some.sent[i] == all.sent[i];
        }
    }
}

/* What does not find room goes back to the pool, whole chains included, and is counted. */
static void full_at_every_packet(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP | DP_COALESCE_UDP);
    struct pkt *v[PKT_BATCH];
    for (size_t cap = 0; cap < 40; cap++) {
        fill(w, v);
        struct pkt_list ret = {.v = w->out, .cap = cap};
        uint64_t before = world_drops(w, EDGE, DP_REASON_POOL);
        w->now += NS_PER_S;
        dp_from_tun(w->w[EDGE], w->now, v, INPUTS, w->pool, &ret);
        w->n_out = ret.n;
        assert_int_equal(ret.n + (world_drops(w, EDGE, DP_REASON_POOL) - before), 29 + 3 + 3);
        world_done(w);
        assert_int_equal(pkt_pool_available(w->pool, false), w->n_small);
        assert_int_equal(pkt_pool_available(w->pool, true), w->n_large);
    }
    for (size_t cap = 0; cap < 4; cap++) {
        size_t n = 0;
        struct super_spec s = {4, IP_PROTO_TCP, ACK, 0, 0, 64, true, 7, 500, 1, 2500, 5};
        for (uint16_t flow = 1; flow < 4; flow++) {
            s.sport = flow;
            struct pkt *p = super_make(w, &s, false);
            world_run_tun(w, EDGE, &p, 1);
            assert_int_equal(w->n_out, 5);
            for (size_t i = 0; i < 5; i++) {
                v[n++] = w->out[i];
                w->out[i]->from = PKT_FROM_GRE;
            }
        }
        struct pkt_list ret = {.v = w->out, .cap = cap};
        uint64_t before = world_drops(w, PEER, DP_REASON_POOL);
        dp_from_net(w->w[PEER], w->now, v, n, w->pool, &ret);
        w->n_out = ret.n;
        assert_int_equal(ret.n, cap < 3 ? cap : 3);
        assert_int_equal(world_drops(w, PEER, DP_REASON_POOL) - before, 3 - ret.n);
        world_done(w);
        assert_int_equal(pkt_pool_available(w->pool, false), w->n_small);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(empty_at_every_packet),
        T(full_at_every_packet),
    };
    return cmocka_run_group_tests_name("dp_pool", tests, NULL, NULL);
}
