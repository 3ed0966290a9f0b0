/* A bell wakes a loop of another thread: for the last thing that was written before it rang, too. */
#include "unit/lib/unit.h"

#include "adit/io.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

#define RINGERS 3
#define TIMES 20000
#define PATIENCE (20 * NS_PER_S)

struct tower {
    struct io_loop *loop;
    struct io_bell *bell;
    struct io_watch watch;
    uint64_t until;
    uint64_t written[RINGERS], seen[RINGERS];
    size_t woken;
};

struct ringer {
    struct tower *tower;
    size_t number;
};

static bool is_ringing(const struct io_bell *bell)
{
    struct pollfd p = {.fd = io_bell_fd(bell), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void heard(void *ctx, unsigned events)
{
    struct tower *t = ctx;
    assert_int_equal(events, IO_READ);
    io_bell_hush(t->bell);
    t->woken++;
    bool all = true;
    for (size_t i = 0; i < RINGERS; i++) {
        t->seen[i] = __atomic_load_n(&t->written[i], __ATOMIC_RELAXED);
        all &= t->seen[i] == TIMES;
    }
    if (all)
        io_loop_stop(t->loop);
}

static uint64_t on_round(void *ctx, uint64_t now)
{
    struct tower *t = ctx;
    if (now >= t->until)
        io_loop_stop(t->loop);
    return t->until;
}

static void *ring(void *ctx)
{
    struct ringer *r = ctx;
    for (uint64_t n = 1; n <= TIMES; n++) {
        __atomic_store_n(&r->tower->written[r->number], n, __ATOMIC_RELAXED);
        io_bell_ring(r->tower->bell);
    }
    return NULL;
}

static void the_last_ring_is_heard(void **state)
{
    (void)state;
    struct tower t = {.until = io_clock_now() + PATIENCE};
    const struct io_loop_hooks hooks = {.round = on_round, .ctx = &t};
    pthread_t thread[RINGERS];
    struct ringer ringers[RINGERS];
    OK(io_loop_new(&hooks, &t.loop, NULL));
    OK(io_bell_new(&t.bell, NULL));
    t.watch = (struct io_watch){.fd = io_bell_fd(t.bell), .events = IO_READ, .ready = heard, .ctx = &t};
    OK(io_loop_watch(t.loop, &t.watch, NULL));
    for (size_t i = 0; i < RINGERS; i++) {
        ringers[i] = (struct ringer){&t, i};
        assert_int_equal(pthread_create(&thread[i], NULL, ring, &ringers[i]), 0);
    }
    OK(io_loop_run(t.loop, NULL));
    for (size_t i = 0; i < RINGERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(t.seen[i], TIMES);
    }
    assert_true(t.woken > 0);
    io_loop_unwatch(&t.watch);
    io_bell_free(t.bell);
    io_loop_free(t.loop);
}

static void it_rings_until_it_is_hushed(void **state)
{
    (void)state;
    struct io_bell *bell;
    OK(io_bell_new(&bell, NULL));
    assert_false(is_ringing(bell));
    for (int i = 0; i < 3; i++)
        io_bell_ring(bell);
    assert_true(is_ringing(bell));
    io_bell_hush(bell);
    assert_false(is_ringing(bell));
    io_bell_hush(bell); /* of no consequence */
    io_bell_ring(bell);
    assert_true(is_ringing(bell));
    int fd = io_bell_fd(bell);
    io_bell_free(bell);
    assert_true(fcntl(fd, F_GETFD) < 0);
    io_bell_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(it_rings_until_it_is_hushed), TEST(the_last_ring_is_heard)};
    return cmocka_run_group_tests_name("io_bell", tests, NULL, NULL);
}
