/* Both peers rekey and delete at once (RFC 7296 2.8.1, 2.8.2, 2.25): by hand, and over a network that delays, loses, doubles and
 * reorders. Whatever happens, in the end both hold the same, one SA for each that was there, and no memory is left over.
 */
#include <stdlib.h>

#include "sim/lib/pair.h"

#define IKE_LIFE (1000 * NS_PER_S)

static struct pair *p;

static int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    p = NULL;
    return 0;
}

static void connect_seeded(uint64_t seed, bool hybrid)
{
    struct ike_policy policy;
    pair_free(p);
    ike_policy_default(&policy);
    policy.ike_lifetime = IKE_LIFE;
    p = pair_new(&policy);
    p->tape.seed = 77 * seed + 1;
    p->e->tape.seed = 31 * seed + 2;
    if (!hybrid)
        p->i->wish.ike.addke[0] = KE_NONE;
    pair_connect(p);
    pair_carry(p);
    edge_clear(p->e);
}

static struct ike_sa_info only_sa(void)
{
    struct ike_sa_info info = {0};
    assert_int_equal(edge_sas(p->e, &info), 1);
    return info;
}

static void rekey_child_of_edge(void)
{
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = p->e->child[0].spi_in}));
}

/* Its lifetime is over now: the engine has no command for that. */
static void rekey_ike_of_edge(void)
{
    p->e->now += IKE_LIFE;
    edge_tick(p->e);
}

static void want(enum initiator_job_type type)
{
    uint32_t spi_in = type == JOB_CHILD_REKEY || type == JOB_CHILD_DELETE ? p->i->child[0].spi_in : 0;
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = type, .spi_in = spi_in});
}

/* The requests of both cross: each is given to the other before any answer is. */
static void cross(void)
{
    struct parcel to_peer = {.n = 0};
    struct path path = {0};
    for (size_t k = 0; k < p->e->acts.n; k++)
        if (p->e->acts.v[k].type == ACT_SEND) {
            parcel_add(&to_peer, buf_span(&p->e->acts.v[k].datagram));
            path = p->e->acts.v[k].path;
        }
    assert_true(to_peer.n > 0);
    pair_give(p); /* clears the actions; its answers are the edge's actions now */
    for (size_t k = 0; k < to_peer.n; k++) {
        struct endpoint to = {p->i->local.addr, path.local.port};
        initiator_input(p->i, p->e->now, &path.local, &to, buf_span(&to_peer.v[k]));
    }
    parcel_clear(&to_peer);
    pair_carry(p);
}

#define SEEDS 24 /* either side has the lowest nonce in about half of them */

static void child_and_child(void **state)
{
    (void)state;
    unsigned ours = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        connect_seeded(seed, seed % 4 == 0);
        uint32_t old = p->e->child[0].spi_in;
        rekey_child_of_edge();
        want(JOB_CHILD_REKEY);
        cross();
        pair_pass(p, 10 * NS_PER_S);
        assert_int_equal(p->e->n_children, 1);
        assert_null(edge_child(p->e, old));
        ours += edge_count(p->e, IKE_COUNT_FAIL_COLLISION) > 0;
        pair_assert_agree(p);
    }
    assert_in_range(ours, 1, SEEDS - 1); /* both outcomes were seen */
}

static void ike_and_ike(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        connect_seeded(seed, false);
        uint64_t old = only_sa().spi_r;
        rekey_ike_of_edge();
        want(JOB_IKE_REKEY);
        cross();
        pair_pass(p, 10 * NS_PER_S);
        assert_int_equal(p->e->n_children, 1);
        assert_int_equal(only_sa().children, 1);
        assert_true(only_sa().spi_r != old);
        assert_int_equal(p->e->ups, p->e->downs + 1);
        lost += edge_count(p->e, IKE_COUNT_FAIL_COLLISION) > 0;
        pair_assert_agree(p);
    }
    assert_in_range(lost, 1, SEEDS - 1);
}

static void child_of_ours_and_ike_of_theirs(void **state)
{
    (void)state;
    connect_seeded(1, true);
    rekey_child_of_edge();
    want(JOB_IKE_REKEY);
    cross();
    assert_int_equal(p->e->n_children, 1);
    pair_pass(p, 60 * NS_PER_S); /* the peer comes again */
    assert_int_equal(edge_count(p->e, IKE_COUNT_IKE_REKEYED), 1);
    assert_int_equal(edge_count(p->e, IKE_COUNT_REKEYED), 1);
    pair_assert_agree(p);
}

static void ike_of_ours_and_child_of_theirs(void **state)
{
    (void)state;
    connect_seeded(2, true);
    rekey_ike_of_edge();
    want(JOB_CHILD_REKEY);
    cross();
    pair_pass(p, 60 * NS_PER_S);
    assert_int_equal(edge_count(p->e, IKE_COUNT_IKE_REKEYED), 1);
    assert_int_equal(p->e->n_children, 1);
    assert_int_equal(only_sa().children, 1);
    pair_assert_agree(p);
}

static void delete_of_the_child_we_rekey(void **state)
{
    (void)state;
    connect_seeded(3, true);
    rekey_child_of_edge();
    want(JOB_CHILD_DELETE);
    cross();
    pair_pass(p, 60 * NS_PER_S);
    assert_true(only_sa().established);
    pair_assert_agree(p);
}

static void rekey_of_the_child_we_delete(void **state)
{
    (void)state;
    connect_seeded(4, true);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_ESP_LOST, .spi_in = p->e->child[0].spi_in}));
    want(JOB_CHILD_REKEY);
    cross();
    pair_pass(p, 60 * NS_PER_S);
    assert_int_equal(p->e->n_children, 0);
    pair_assert_agree(p);
}

static void delete_of_the_ike_sa_we_rekey(void **state)
{
    (void)state;
    connect_seeded(5, true);
    rekey_ike_of_edge();
    want(JOB_IKE_DELETE);
    cross();
    pair_pass(p, 60 * NS_PER_S);
    edge_assert_empty(p->e);
}

static void rekey_of_the_ike_sa_we_delete(void **state)
{
    (void)state;
    connect_seeded(6, true);
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_RESET, .handle = EDGE_TUNNEL}));
    want(JOB_IKE_REKEY);
    cross();
    pair_pass(p, 60 * NS_PER_S);
    edge_assert_empty(p->e);
}

/* ---- a bad network */

#define FLIGHT_MAX 4096
struct flight {
    struct buf bytes;
    bool to_edge;
    struct path path; /* as the edge sees it */
    uint64_t at;
};
static struct {
    struct flight v[FLIGHT_MAX];
    size_t n;
    struct tape tape;
    struct rng rng;
    unsigned loss, doubling; /* percent */
    uint64_t delay;          /* up to */
} net;

static unsigned chance(unsigned n)
{
    return rng_u32(&net.rng) % n;
}

static void launch(struct span bytes, bool to_edge, const struct path *path)
{
    unsigned copies = chance(100) < net.loss ? 0 : chance(100) < net.doubling ? 2 : 1;
    while (copies--) {
        assert_true(net.n < FLIGHT_MAX);
        struct flight *f = &net.v[net.n++];
        *f = (struct flight){.to_edge = to_edge, .path = *path, .at = p->e->now + 1 + rng_u64(&net.rng) % net.delay};
        OK(buf_set(&f->bytes, bytes));
    }
}

static void collect(void)
{
    for (size_t k = 0; k < p->e->acts.n; k++)
        if (p->e->acts.v[k].type == ACT_SEND)
            launch(buf_span(&p->e->acts.v[k].datagram), false, &p->e->acts.v[k].path);
    edge_clear(p->e);
    for (size_t k = 0; k < p->i->n_out; k++) {
        const struct path path = {.local = p->i->out[k].to, .remote = p->i->out[k].from};
        launch(buf_span(&p->i->out[k].bytes), true, &path);
    }
    initiator_forget_out(p->i);
}

static void land(size_t k)
{
    struct flight f = net.v[k];
    net.v[k] = net.v[--net.n];
    if (f.to_edge)
        edge_input(p->e, &f.path, buf_span(&f.bytes));
    else
        initiator_input(p->i, p->e->now, &f.path.local, &f.path.remote, buf_span(&f.bytes));
    buf_free(&f.bytes);
}

/* Of two IKE SAs made at once it is open which one stays: the peer of the tests would already use one. */
static bool undecided(void)
{
    for (size_t k = 0; k < p->i->n_sas; k++) {
        const struct initiator_sa *sa = p->i->sa[k];
        if (sa->stage == STAGE_UP && sa->their_new && !sa->replaced)
            return true;
    }
    return false;
}

/* Until `end`; every `pause` or so the peer does something, too. */
static void run(uint64_t end, uint64_t pause, const enum initiator_job_type *jobs, size_t n_jobs)
{
    uint64_t next = n_jobs ? p->e->now + rng_u64(&net.rng) % pause : NEVER;
    for (;;) {
        size_t first = 0;
        uint64_t a = ike_deadline(p->e->ike), b = initiator_deadline(p->i), at = a < b ? a : b;
        for (size_t k = 1; k < net.n; k++)
            if (net.v[k].at < net.v[first].at)
                first = k;
        at = next < at ? next : at;
        at = net.n && net.v[first].at < at ? net.v[first].at : at;
        if (at > end)
            break;
        if (at > p->e->now)
            p->e->now = at;
        if (net.n && net.v[first].at <= p->e->now) {
            land(first);
        } else if (next <= p->e->now) {
            next = p->e->now + rng_u64(&net.rng) % pause;
            if (p->i->n_children && !undecided())
                want(jobs[chance((unsigned)n_jobs)]);
        } else {
            edge_tick(p->e);
            initiator_tick(p->i, p->e->now);
        }
        collect();
    }
    p->e->now = end;
}

static void set_lifetimes(uint64_t child, uint64_t ike)
{
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.child_lifetime = child;
    policy.ike_lifetime = ike;
    policy.jitter = 50;
    OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
}

static void storm(uint64_t seed, unsigned loss, const enum initiator_job_type *jobs, size_t n_jobs)
{
    net.tape = (struct tape){.seed = 1000 + seed};
    net.rng = (struct rng){tape_fill, &net.tape};
    net.loss = loss;
    net.doubling = 10;
    net.delay = 400 * NS_PER_MS;
    connect_seeded(seed, seed % 5 == 0);
    set_lifetimes(4 * NS_PER_S, 9 * NS_PER_S);
    want(JOB_CHILD_NEW);
    want(JOB_IKE_REKEY); /* both get their short lives by this */
    pair_carry(p);
    run(p->e->now + 60 * NS_PER_S, 4 * NS_PER_S, jobs, n_jobs);
    set_lifetimes(7 * 3600 * NS_PER_S, 24 * 3600 * NS_PER_S);
    net.loss = 0;
    run(p->e->now + 700 * NS_PER_S, NEVER, NULL, 0);
    assert_int_equal(net.n, 0);
}

static unsigned seeds(void)
{
    const char *n = getenv("ADIT_SEEDS");
    return n ? (unsigned)strtoul(n, NULL, 10) : 30;
}

static void storm_of_rekeys_loses_nothing(void **state)
{
    (void)state;
    static const enum initiator_job_type JOBS[] = {JOB_CHILD_REKEY, JOB_CHILD_REKEY, JOB_IKE_REKEY, JOB_ALIVE};
    uint64_t collisions = 0;
    for (unsigned seed = 0; seed < seeds(); seed++) {
        storm(seed, seed % 3 * 6, JOBS, ARRAY_LEN(JOBS));
        collisions += edge_count(p->e, IKE_COUNT_FAIL_COLLISION) + p->i->collisions;
        assert_int_equal(p->e->n_children, 2);
        assert_int_equal(only_sa().children, 2);
        pair_assert_agree(p);
    }
    assert_true(collisions > seeds());
}

static void storm_with_deletes_leaves_nothing_behind(void **state)
{
    (void)state;
    static const enum initiator_job_type JOBS[] = {JOB_CHILD_REKEY, JOB_IKE_REKEY, JOB_CHILD_DELETE, JOB_CHILD_NEW,
                                                   JOB_CHILD_NEW};
    for (unsigned seed = 0; seed < seeds(); seed++) {
        storm(seed, seed % 3 * 6, JOBS, ARRAY_LEN(JOBS));
        pair_assert_agree(p);
        OK(edge_command(p->e, (struct ike_cmd){.type = IKE_CMD_SHUTDOWN}));
        collect();
        run(p->e->now + 700 * NS_PER_S, NEVER, NULL, 0);
        edge_assert_empty(p->e);
    }
}

#define CASE(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(child_and_child),
        CASE(ike_and_ike),
        CASE(child_of_ours_and_ike_of_theirs),
        CASE(ike_of_ours_and_child_of_theirs),
        CASE(delete_of_the_child_we_rekey),
        CASE(rekey_of_the_child_we_delete),
        CASE(delete_of_the_ike_sa_we_rekey),
        CASE(rekey_of_the_ike_sa_we_delete),
        CASE(storm_of_rekeys_loses_nothing),
        CASE(storm_with_deletes_leaves_nothing_behind),
    };
    return cmocka_run_group_tests_name("ike: collisions", tests, NULL, NULL);
}
