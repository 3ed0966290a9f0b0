/* The rings between threads: order, fullness, buffers that come home, nobody asleep while there is something to do; ThreadSanitizer
 * judges the rest (make check BUILD=build/tsan SAN=thread T=test_daemon_handoff). And a pool, which leaves another pool's buffers
 * alone. */
#include "adit/wire_ip.h"
#include "daemon/handoff.h"
#include "lib/unit.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#define MEMBERS 3
#define PACKETS 200000u
#define POOL 700u

static void count_wake(void *ctx, unsigned member)
{
    ((unsigned *)ctx)[member]++;
}

static struct pkt *numbered(struct pkt_pool *pool, uint32_t number)
{
    struct pkt *p = pkt_get(pool, false);
    assert_non_null(p);
    p->len = sizeof number;
    store_be32(p->data, number);
    return p;
}

static void packets_come_in_order_and_buffers_go_home(void **state)
{
    unsigned woken[MEMBERS] = {0};
    struct handoff *h;
    struct pkt_pool *pool;
    struct pkt *v[8];
    (void)state;
    OK(pkt_pool_new(POOL, 1, &pool));
    OK(handoff_new(MEMBERS, &(struct handoff_hooks){count_wake, woken}, &h));
    for (uint32_t i = 0; i < 5; i++)
        assert_true(handoff_put(h, 0, 2, numbered(pool, i)));
    assert_int_equal(handoff_look(h, 0, 2, v, 8), 0); /* not shown yet */
    handoff_publish(h, 0);
    assert_int_equal(handoff_look(h, 1, 2, v, 8), 0); /* another pair's */
    assert_int_equal(handoff_look(h, 0, 1, v, 8), 0);
    assert_int_equal(handoff_look(h, 0, 2, v, 3), 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(load_be32(v[i]->data), i);
    handoff_reclaim(h, 0, pool);
    assert_int_equal(pkt_pool_available(pool, false), POOL - 5); /* still in the reader's hands */
    handoff_done(h, 0, 2, 3);
    handoff_reclaim(h, 0, pool);
    assert_int_equal(pkt_pool_available(pool, false), POOL - 2);
    assert_int_equal(handoff_look(h, 0, 2, v, 8), 2);
    assert_int_equal(load_be32(v[1]->data), 4);
    handoff_done(h, 0, 2, 2);
    handoff_reclaim(h, 0, pool);
    assert_int_equal(pkt_pool_available(pool, false), POOL);
    assert_int_equal(woken[0] + woken[1] + woken[2], 0); /* nobody slept */
    handoff_free(h);
    pkt_pool_free(pool);
}

static void full_ring_says_so_until_buffers_are_taken_back(void **state)
{
    unsigned woken[MEMBERS] = {0};
    struct handoff *h;
    struct pkt_pool *pool;
    struct pkt *v[1];
    (void)state;
    OK(pkt_pool_new(HANDOFF_SLOTS + 1, 1, &pool));
    OK(handoff_new(MEMBERS, &(struct handoff_hooks){count_wake, woken}, &h));
    for (uint32_t i = 0; i < HANDOFF_SLOTS; i++)
        assert_true(handoff_put(h, 1, 0, numbered(pool, i)));
    struct pkt *more = numbered(pool, HANDOFF_SLOTS);
    assert_false(handoff_put(h, 1, 0, more));
    handoff_publish(h, 1);
    assert_int_equal(handoff_look(h, 1, 0, v, 1), 1);
    handoff_done(h, 1, 0, 1);
    assert_false(handoff_put(h, 1, 0, more)); /* its slot still holds our buffer */
    handoff_reclaim(h, 1, pool);
    assert_true(handoff_put(h, 1, 0, more));
    handoff_free(h);
    pkt_pool_free(pool);
}

static void sleeper_is_woken_once_and_not_with_work_at_hand(void **state)
{
    unsigned woken[MEMBERS] = {0};
    struct handoff *h;
    struct pkt_pool *pool;
    (void)state;
    OK(pkt_pool_new(POOL, 1, &pool));
    OK(handoff_new(MEMBERS, &(struct handoff_hooks){count_wake, woken}, &h));
    assert_true(handoff_sleep(h, 1));
    assert_true(handoff_put(h, 0, 1, numbered(pool, 0)));
    assert_int_equal(woken[1], 0);
    handoff_publish(h, 0);
    assert_int_equal(woken[1], 1);
    assert_true(handoff_put(h, 2, 1, numbered(pool, 1)));
    handoff_publish(h, 2);
    assert_int_equal(woken[1], 1); /* it is on its way */
    assert_false(handoff_sleep(h, 1));
    handoff_done(h, 0, 1, 1);
    assert_true(handoff_put(h, 0, 1, numbered(pool, 3)));
    handoff_publish(h, 0);
    assert_int_equal(woken[1], 1); /* it never slept */
    handoff_done(h, 0, 1, 1);
    assert_false(handoff_sleep(h, 1));
    handoff_done(h, 2, 1, 1);
    assert_true(handoff_sleep(h, 1));
    handoff_awake(h, 1);
    assert_true(handoff_put(h, 0, 1, numbered(pool, 2)));
    handoff_publish(h, 0);
    assert_int_equal(woken[1], 1);
    assert_int_equal(woken[0] + woken[2], 0);
    handoff_free(h);
    pkt_pool_free(pool);
}

/* ---- threads: each hands to both others, works on what it gets, and sleeps when there is nothing */

struct party {
    struct handoff *h;
    struct pkt_pool *pool;
    sem_t *bell; /* by member */
    unsigned index;
    uint32_t sent[MEMBERS], seen[MEMBERS]; /* to, from */
    uint64_t full, wrong;
};

static void ring_bell(void *ctx, unsigned member)
{
    sem_post(&((sem_t *)ctx)[member]);
}

static bool done(const struct party *me)
{
    for (unsigned i = 0; i < MEMBERS; i++)
        if (i != me->index && (me->sent[i] < PACKETS || me->seen[i] < PACKETS))
            return false;
    return true;
}

static void send_some(struct party *me)
{
    for (unsigned to = 0; to < MEMBERS; to++)
        for (unsigned i = 0; to != me->index && i < 50 && me->sent[to] < PACKETS; i++) {
            struct pkt *p = pkt_get(me->pool, false);
            if (!p)
                return;
            p->len = 4;
            store_be32(p->data, me->sent[to]);
            if (handoff_put(me->h, me->index, to, p))
                me->sent[to]++;
            else {
                me->full++;
                pkt_put(me->pool, p);
                break;
            }
        }
}

static bool take_some(struct party *me)
{
    bool any = false;
    for (unsigned from = 0; from < MEMBERS; from++) {
        struct pkt *v[PKT_BATCH];
        size_t n = from == me->index ? 0 : handoff_look(me->h, from, me->index, v, PKT_BATCH);
        for (size_t i = 0; i < n; i++) {
            me->wrong += load_be32(v[i]->data) != me->seen[from]++;
            v[i]->data -= 8; /* as encapsulation does, in the other's buffer */
            v[i]->len += 8;
            memset(v[i]->data, (int)me->index, 8);
            pkt_put(me->pool, v[i]); /* as dp does: not ours, so nothing happens */
        }
        handoff_done(me->h, from, me->index, n);
        any |= n > 0;
    }
    return any;
}

static void *work(void *ctx)
{
    struct party *me = ctx;
    while (!done(me)) {
        handoff_reclaim(me->h, me->index, me->pool);
        send_some(me);
        handoff_publish(me->h, me->index);
        bool sending = false;
        for (unsigned i = 0; i < MEMBERS; i++)
            sending |= i != me->index && me->sent[i] < PACKETS;
        if (take_some(me) || sending || done(me) || !handoff_sleep(me->h, me->index)) {
            sched_yield();
            continue;
        }
        sem_wait(&me->bell[me->index]);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    static sem_t bell[MEMBERS];
    struct party party[MEMBERS] = {{0}};
    pthread_t thread[MEMBERS];
    struct handoff *h;
    (void)state;
    OK(handoff_new(MEMBERS, &(struct handoff_hooks){ring_bell, bell}, &h));
    for (unsigned i = 0; i < MEMBERS; i++) {
        assert_int_equal(sem_init(&bell[i], 0, 0), 0);
        party[i] = (struct party){.h = h, .bell = bell, .index = i};
        OK(pkt_pool_new(POOL, 1, &party[i].pool));
    }
    for (unsigned i = 0; i < MEMBERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &party[i]), 0);
    for (unsigned i = 0; i < MEMBERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (unsigned i = 0; i < MEMBERS; i++) {
        assert_int_equal(party[i].wrong, 0);
        handoff_reclaim(h, i, party[i].pool);
        assert_int_equal(pkt_pool_available(party[i].pool, false), POOL); /* neither lost nor gained */
        pkt_pool_free(party[i].pool);
        sem_destroy(&bell[i]);
    }
    handoff_free(h);
}

/* ---- pools */

static void pool_leaves_foreign_buffers_alone(void **state)
{
    struct pkt_pool *a, *b;
    (void)state;
    OK(pkt_pool_new(4, 2, &a));
    OK(pkt_pool_new(4, 2, &b));
    struct pkt *ours = pkt_get(a, false), *theirs = pkt_get(b, false), *large = pkt_get(b, true),
               *last = pkt_get(a, true);
    pkt_put(a, theirs);
    pkt_put(a, large);
    assert_int_equal(pkt_pool_available(a, false), 3);
    assert_int_equal(pkt_pool_available(a, true), 1);
    ours->more = theirs; /* a super-packet made of both, as coalescing does with one that was handed on */
    theirs->more = large;
    large->more = last;
    pkt_put(a, ours);
    assert_int_equal(pkt_pool_available(a, false), 4);
    assert_int_equal(pkt_pool_available(a, true), 2);
    assert_null(theirs->more);
    assert_null(large->more);
    assert_int_equal(pkt_pool_available(b, false), 3); /* not before b gets it */
    pkt_put(b, theirs);
    pkt_put(b, large);
    assert_int_equal(pkt_pool_available(b, false), 4);
    assert_int_equal(pkt_pool_available(b, true), 2);
    pkt_pool_free(a);
    pkt_pool_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_come_in_order_and_buffers_go_home),
        cmocka_unit_test(full_ring_says_so_until_buffers_are_taken_back),
        cmocka_unit_test(sleeper_is_woken_once_and_not_with_work_at_hand),
        cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(pool_leaves_foreign_buffers_alone),
    };
    return cmocka_run_group_tests_name("daemon_handoff", tests, NULL, NULL);
}
