/* The anti-replay window (RFC 4303 3.4.3, RFC 6479) against a slow model that remembers every number, and row 40 of the adversarial list
 * through the core: replay on one server, on two, and the end of the sequence space. */
#include "dp/worker.h"
#include "lib/inet.h"
#include "lib/world.h"

/* ---- the model: a set of accepted numbers, nothing else --------------------------------------------------- */

struct model {
    uint32_t size;
    uint64_t top;
    uint8_t *got; /* of numbers base .. base + N - 1, one octet each */
    uint64_t base;
};
enum { N = 1 << 20 };

static bool model_accepts(const struct model *m, uint32_t seq)
{
    if (seq == 0) /* RFC 4303 3.3.3: the first one is 1 */
        return false;
    if (seq > m->top)
        return true;
    if (m->top - seq >= m->size) /* left of the window, whose right edge is top */
        return false;
    return seq < m->base || !m->got[seq - m->base];
}

static void model_take(struct model *m, uint32_t seq)
{
    if (seq > m->top)
        m->top = seq;
    assert_true(seq >= m->base && seq - m->base < N);
    m->got[seq - m->base] = 1;
}

static struct window window_new(uint32_t size)
{
    uint32_t words = window_words(size);
    assert_int_equal(words & (words - 1), 0);
    assert_true(words * 64 >= size + 64); /* RFC 6479 2: the ring is larger than the window by a word */
    struct window w = {.size = size, .mask = words - 1, .word = calloc(words, 8)};
    assert_non_null(w.word);
    return w;
}

static void step(struct window *w, struct model *m, uint32_t seq)
{
    bool expected = model_accepts(m, seq);
    if (window_check(w, seq) != expected) {
        print_error("size %u, top %llu, seq %u: expected %d\n", m->size, (unsigned long long)m->top, seq, expected);
        fail();
    }
    assert_int_equal(window_commit(w, seq), expected);
    if (expected) {
        model_take(m, seq);
        assert_false(window_check(w, seq));
        assert_false(window_commit(w, seq)); /* a twin in the same batch */
    }
    assert_true(w->top == m->top);
}

static const uint32_t sizes[] = {64, 65, 96, 127, 128, 129, 192, 500, 1000, 1024, 2000, 2048, 4032, 4095, 4096};

/* Numbers around the right edge, near the left edge, far ahead, and repeated; from `from` on. */
static void random_walk(uint32_t size, uint64_t from, uint64_t *d, int steps)
{
    struct model m = {.size = size, .top = from, .base = from > N / 2 ? from - N / 2 : 0, .got = calloc(1, N)};
    struct window w = window_new(size);
    assert_non_null(m.got);
    w.top = from;
    for (int i = 0; i < steps; i++) {
        uint64_t r = dice(d), near = r >> 8 & 0xff, in = (r >> 16) % (2 * size), seq;
        switch (r & 7) {
        case 0: seq = m.top + 1; break;
        case 1: seq = m.top + near % 70; break;
        case 2: seq = m.top + in; break;
        case 3: seq = m.top - (m.top < in ? m.top : in); break;
        case 4: seq = m.top >= size ? m.top - size + near % 5 - 2 : near; break; /* both sides of the left edge */
        case 5: seq = m.top - (m.top < near ? m.top : near); break;
        case 6: seq = r >> 60 ? m.top : m.top + 3 * (uint64_t)size; break; /* a jump over the whole ring */
        default: seq = m.top - (m.top < 64 ? 0 : near % 64); break;
        }
        if (seq >= m.base && seq - m.base < N && seq <= UINT32_MAX)
            step(&w, &m, (uint32_t)seq);
    }
    free(m.got);
    free(w.word);
}

static void against_the_model(void **state)
{
    (void)state;
    uint64_t d = 20260101;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (int round = 0; round < 4; round++)
            random_walk(sizes[i], 0, &d, 30000);
}

static void near_2_to_32(void **state)
{
    (void)state;
    uint64_t d = 4711;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        random_walk(sizes[i], UINT32_MAX - 100000u, &d, 20000);
        random_walk(sizes[i], UINT32_MAX - 10000u, &d, 20000);
        random_walk(sizes[i], UINT32_MAX - 100u, &d, 20000);
    }
}

static void every_edge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (uint32_t top = sizes[i]; top < sizes[i] + 130; top++) {
            struct window w = window_new(sizes[i]);
            assert_false(window_check(&w, 0));
            assert_false(window_commit(&w, 0));
            assert_true(window_commit(&w, top));
            assert_false(window_check(&w, top - sizes[i])); /* exactly `size` numbers: top - size + 1 .. top */
            assert_true(window_check(&w, top - sizes[i] + 1));
            assert_true(window_check(&w, top - 1));
            assert_false(window_check(&w, top));
            assert_true(window_check(&w, top + 1));
            assert_true(window_check(&w, UINT32_MAX));
            free(w.word);
        }
}

/* The whole window full, then an advance by each distance: what stays known must be known, what is new must be free. */
static void advance_by_every_distance(void **state)
{
    (void)state;
    static const uint32_t some[] = {64, 128, 1000, 4096};
    for (size_t i = 0; i < ARRAY_LEN(some); i++) {
        uint32_t size = some[i], start = 3 * size + 17;
        for (uint32_t jump = 1; jump<2 * size + 200; jump += size> 200 ? 13 : 1) {
            struct window w = window_new(size);
            for (uint32_t s = 1; s <= start; s++)
                assert_true(window_commit(&w, s));
            assert_true(window_commit(&w, start + jump));
            for (uint32_t s = start + jump - size + 1; s <= start + jump; s++)
                assert_int_equal(window_check(&w, s), s > start && s < start + jump);
            free(w.word);
        }
    }
}

static void the_last_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct window w = window_new(sizes[i]);
        assert_true(window_commit(&w, UINT32_MAX)); /* from nothing to the end at once */
        assert_false(window_commit(&w, UINT32_MAX));
        assert_false(window_check(&w, 0));
        assert_false(window_check(&w, 1)); /* and it does not wrap to the start */
        assert_false(window_check(&w, UINT32_MAX - sizes[i]));
        for (uint32_t back = sizes[i] - 1; back > 0; back--)
            assert_true(window_commit(&w, UINT32_MAX - back));
        for (uint32_t back = 0; back < sizes[i] + 2; back++)
            assert_false(window_check(&w, UINT32_MAX - back));
        free(w.word);
    }
}

static void no_window(void **state)
{
    (void)state;
    struct window w = {.size = 0};
    static const uint32_t seq[] = {5, 5, 0, 1, UINT32_MAX, 3};
    for (size_t i = 0; i < ARRAY_LEN(seq); i++)
        assert_true(window_check(&w, seq[i]) && window_commit(&w, seq[i]));
    assert_true(w.top == UINT32_MAX); /* still the highest one, for the status */
}

/* ---- row 40, through the core ------------------------------------------------------------------------------- */

/* n packets of the peer, kept as octets, sequence 1 .. n. */
struct kept {
    uint8_t b[160];
    uint32_t n;
};

static struct kept *record(struct world *w, uint32_t n)
{
    struct kept *v = calloc(n + 1, sizeof *v);
    assert_non_null(v);
    struct span in = exact_copy(ip_packet("10.1.0.1", "10.9.0.1", IP_PROTO_UDP, 8));
    for (uint32_t i = 1; i <= n; i++) {
        const struct pkt *p = world_tun(w, PEER, in);
        assert_int_equal(p->verdict, PKT_TO_ESP);
        assert_int_equal(be32(p->data + 4), i);
        assert_true(p->len <= sizeof v[i].b);
        memcpy(v[i].b, p->data, p->len);
        v[i].n = p->len;
    }
    exact_free(in);
    return v;
}

static bool accepted(struct world *w, const struct kept *k)
{
    struct pkt_outer o = world_outer(EDGE, 4);
    const struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(k->b, k->n));
    if (p->verdict == PKT_TO_TUN)
        return true;
    assert_dropped(w, EDGE, p, DP_REASON_ESP_REPLAY);
    return false;
}

static void replay(struct world *w, uint32_t configured, uint32_t size)
{
    struct tunnel_policy t = world_ipsec(EDGE);
    t.replay_window = configured;
    world_set(w, EDGE, &t);
    world_up(w, GCM256, 4, false, 4);
    uint32_t n = 2 * size + 100;
    struct kept *v = record(w, n);
    struct model m = {.size = size, .got = calloc(1, N)};
    assert_non_null(m.got);
    uint64_t d = size;
    for (uint32_t i = 0; i < 4 * n; i++) { /* shuffled within and beyond the window, each about four times */
        uint32_t ahead = (uint32_t)(dice(&d) % (size + size / 2)), seq = 1 + (i / 4 + ahead) % n;
        assert_int_equal(accepted(w, &v[seq]), model_accepts(&m, seq));
        if (model_accepts(&m, seq))
            model_take(&m, seq);
    }
    for (uint32_t seq = 1; seq <= n; seq++) {
        assert_int_equal(accepted(w, &v[seq]), model_accepts(&m, seq));
        if (model_accepts(&m, seq))
            model_take(&m, seq);
    }
    for (uint32_t seq = 1; seq <= n; seq++)
        assert_false(accepted(w, &v[seq]));
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    assert_int_equal(info.seq_in, n);
    assert_int_equal(info.replay_drops, world_drops(w, EDGE, DP_REASON_ESP_REPLAY));
    free(m.got);
    free(v);
}

static void adv_40_replay_window_64(void **state)
{
    replay(*state, 64, 64);
}
static void adv_40_replay_window_1024(void **state)
{
    replay(*state, 1024, 1024);
}
static void adv_40_replay_window_4096(void **state)
{
    replay(*state, 4096, 4096);
}
static void adv_40_replay_window_below_64(void **state)
{
    replay(*state, 1, 64);
}
static void adv_40_replay_window_above_4096(void **state)
{
    replay(*state, 100000, 4096);
}

/* A forged packet far ahead must not push the window away from the honest ones. */
static void adv_40_forgery_does_not_move_the_window(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct kept *v = record(w, 10);
    struct kept forged = v[10];
    forged.b[4] = 0xff;
    struct pkt_outer o = world_outer(EDGE, 4);
    const struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_ESP, span_of(forged.b, forged.n));
    assert_dropped(w, EDGE, p, DP_REASON_ESP_INTEGRITY);
    for (uint32_t seq = 1; seq <= 10; seq++)
        assert_true(accepted(w, &v[seq]));
    free(v);
}

/* Two servers with one SA, as anycast has it: each keeps its own window, so a copy sent to the other one passes there once. */
static void adv_40_replay_across_two_servers(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct dp_config config = {
        .crypto = w->crypto, .rng = &w->rng, .sender_id = 2, .max_tunnels = 4, .max_sas = 4, .max_routes = 4};
    struct dp *mine = w->dp[EDGE], *other;
    struct dp_worker *my_worker = w->w[EDGE], *other_worker;
    OK(dp_new(&config, &other));
    OK(dp_worker_new(other, 0, NULL, &other_worker));
    struct tunnel_policy t = world_ipsec(EDGE);
    OK(dp_tunnel_set(other, &t));
    OK(dp_publish(other));
    struct child_sa c = world_child(EDGE, GCM256);
    OK(dp_child_up(other, w->now, &c));
    struct kept *v = record(w, 20);
    for (int server = 0; server < 2; server++) {
        w->dp[EDGE] = server ? other : mine;
        w->w[EDGE] = server ? other_worker : my_worker;
        for (uint32_t seq = 1; seq <= 20; seq++) {
            assert_true(accepted(w, &v[seq]));
            assert_false(accepted(w, &v[seq]));
        }
    }
    w->dp[EDGE] = mine;
    w->w[EDGE] = my_worker;
    world_done(w);
    dp_worker_free(other_worker);
    dp_free(other);
    free(v);
}

/* RFC 4303 3.3.3: the counter must not cycle. The rekey is asked for long before, and 2^32 - 1 is the last number on the wire. */
static void adv_40_sequence_ends(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct sa *sa = sa_find_in(w->dp[EDGE]->by_in, SPI_EDGE);
    assert_non_null(sa);
    struct span in = exact_copy(ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 8));
    struct dp_event e;
    sa->seq = 0xbffffffe;
    world_tun(w, EDGE, in);
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 0);
    world_tun(w, EDGE, in); /* three quarters of the space */
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 1);
    assert_int_equal(e.type, DP_EVENT_SA_SOFT);
    assert_int_equal(e.spi_in, SPI_EDGE);
    sa->seq = UINT32_MAX - 2;
    const struct pkt *p = world_tun(w, EDGE, in);
    assert_int_equal(be32(p->data + 4), 0xfffffffe);
    p = world_tun(w, EDGE, in);
    assert_int_equal(be32(p->data + 4), 0xffffffff);
    assert_int_equal(world_carry(w, PEER)->verdict, PKT_TO_TUN);
    for (int i = 0; i < 3; i++) {
        p = world_tun(w, EDGE, in);
        assert_dropped(w, EDGE, p, DP_REASON_ESP_EXPIRED);
    }
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 1);
    assert_int_equal(e.type, DP_EVENT_SA_HARD);
    assert_int_equal(dp_events(w->w[EDGE], &e, 1), 0);
    exact_free(in);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(against_the_model),
        TEST(near_2_to_32),
        TEST(every_edge),
        TEST(advance_by_every_distance),
        TEST(the_last_numbers),
        TEST(no_window),
        T(adv_40_replay_window_64),
        T(adv_40_replay_window_1024),
        T(adv_40_replay_window_4096),
        T(adv_40_replay_window_below_64),
        T(adv_40_replay_window_above_4096),
        T(adv_40_forgery_does_not_move_the_window),
        T(adv_40_replay_across_two_servers),
        T(adv_40_sequence_ends),
    };
    return cmocka_run_group_tests_name("dp_window", tests, NULL, NULL);
}
