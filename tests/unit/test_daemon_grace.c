/* What dp gave away is freed when the worker that may still see it has been between two batches, not before, and the control thread
 * does not wait for that unless it wants to. dp tells which: a removed tunnel's handle is refused until then. */
#include "daemon/grace.h"
#include "lib/world.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#define PATIENCE 5 /* seconds */

struct party {
    struct grace *g;
    sem_t go, done; /* the next step may be done; is */
    pthread_t thread;
    uint64_t before; /* what was taken before there were workers */
};

static sem_t told;

static void tell(void *ctx)
{
    (void)ctx;
    sem_post(&told);
}

static bool waits(sem_t *s, unsigned seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += seconds;
    while (sem_timedwait(s, &t) < 0)
        if (errno != EINTR)
            return false;
    return true;
}

/* A worker: joined; in a batch; between two; waiting; gone. */
static void *worker(void *ctx)
{
    struct party *me = ctx;
    grace_join();
    for (unsigned step = 0; step < 4; step++) {
        sem_wait(&me->go);
        switch (step) {
        case 0: grace_online(); break;
        case 1: grace_quiet(me->g); break;
        case 2: grace_offline(me->g); break;
        default: grace_leave();
        }
        sem_post(&me->done);
    }
    return NULL;
}

static void step(struct party *p)
{
    sem_post(&p->go);
    assert_true(waits(&p->done, PATIENCE));
}

static void begin(struct party *p, struct world *w)
{
    *p = (struct party){0};
    sem_init(&told, 0, 0);
    sem_init(&p->go, 0, 0);
    sem_init(&p->done, 0, 0);
    OK(grace_new(w->dp[EDGE], tell, NULL, &p->g));
    grace_take(p->g); /* what the set-up left behind */
    p->before = grace_taken(p->g);
    grace_begin(p->g);
    assert_int_equal(pthread_create(&p->thread, NULL, worker, p), 0);
    step(p); /* in a batch */
}

static void end(struct party *p)
{
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    grace_end(p->g);
    assert_true(grace_freed(p->g) == grace_taken(p->g));
    grace_free(p->g);
    sem_destroy(&p->go);
    sem_destroy(&p->done);
    sem_destroy(&told);
}

static void remove_tunnel(struct world *w)
{
    dp_tunnel_remove(w->dp[EDGE], GRE_TUNNEL);
    OK(dp_publish(w->dp[EDGE]));
}

static void nothing_goes_under_a_batch(void **state)
{
    struct world *w = *state;
    struct party p;
    struct tunnel_policy gre = world_gre(EDGE);
    begin(&p, w);
    remove_tunnel(w);
    grace_take(p.g);
    assert_false(waits(&told, 1));
    grace_sweep(p.g);
    assert_int_equal(grace_taken(p.g), p.before + 1);
    assert_int_equal(grace_freed(p.g), p.before);
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &gre), RC_LIMIT);
    step(&p); /* between two batches */
    assert_true(waits(&told, PATIENCE));
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &gre), RC_LIMIT); /* it can be freed, and is not yet */
    grace_sweep(p.g);
    assert_int_equal(grace_freed(p.g), p.before + 1);
    world_set(w, EDGE, &gre);
    step(&p);
    step(&p);
    end(&p);
}

static void waiting_worker_is_in_nobodys_way(void **state)
{
    struct world *w = *state;
    struct party p;
    struct tunnel_policy gre = world_gre(EDGE);
    begin(&p, w);
    step(&p);
    step(&p); /* waits for packets */
    for (uint64_t i = 1; i <= 3; i++) {
        remove_tunnel(w);
        grace_wait(p.g);
        assert_int_equal(grace_taken(p.g), p.before + 2 * i - 1);
        assert_int_equal(grace_freed(p.g), p.before + 2 * i - 1);
        world_set(w, EDGE, &gre);
        grace_take(p.g);                     /* the tables before */
        assert_true(waits(&told, PATIENCE)); /* for the first ... */
        assert_true(waits(&told, PATIENCE)); /* ... and this one */
        grace_sweep(p.g);
        assert_int_equal(grace_freed(p.g), p.before + 2 * i);
    }
    step(&p);
    end(&p);
}

/* What liburcu's thread still has when the workers are gone comes back before the end returns. */
static void the_end_waits_for_what_is_on_its_way(void **state)
{
    struct world *w = *state;
    struct party p;
    begin(&p, w);
    step(&p);
    step(&p);
    step(&p);
    remove_tunnel(w);
    grace_take(p.g);
    assert_int_equal(grace_taken(p.g), p.before + 1);
    end(&p);
}

static void without_workers_it_goes_at_once(void **state)
{
    struct world *w = *state;
    struct grace *g;
    struct tunnel_policy gre = world_gre(EDGE);
    sem_init(&told, 0, 0);
    OK(grace_new(w->dp[EDGE], tell, NULL, &g));
    grace_take(g);
    uint64_t before = grace_taken(g);
    remove_tunnel(w);
    grace_take(g);
    assert_int_equal(grace_taken(g), before + 1);
    assert_int_equal(grace_freed(g), before + 1);
    world_set(w, EDGE, &gre);
    assert_false(waits(&told, 0));
    grace_free(g);
    sem_destroy(&told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_goes_under_a_batch, world_open_two, world_close),
        cmocka_unit_test_setup_teardown(waiting_worker_is_in_nobodys_way, world_open_two, world_close),
        cmocka_unit_test_setup_teardown(the_end_waits_for_what_is_on_its_way, world_open_two, world_close),
        cmocka_unit_test_setup_teardown(without_workers_it_goes_at_once, world_open_two, world_close),
    };
    return cmocka_run_group_tests_name("daemon_grace", tests, NULL, NULL);
}
