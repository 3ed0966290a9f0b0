#include "grace.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <urcu-qsbr.h>

/* liburcu orders memory by instructions that ThreadSanitizer does not see: it is told here what they guarantee. */
#if defined(__SANITIZE_THREAD__)
#define SANITIZED_THREADS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED_THREADS 1
#endif
#endif
#ifdef SANITIZED_THREADS
void __tsan_acquire(void *where);
void __tsan_release(void *where);
#define BEFORE(where) __tsan_release(where) /* what this thread did so far is seen by ... */
#define AFTER(where) __tsan_acquire(where)  /* ... those who come here later */
#else
#define BEFORE(where) ((void)(where))
#define AFTER(where) ((void)(where))
#endif

struct bag { /* what one grace_take() took */
    struct rcu_head head;
    struct grace *grace;
    struct dp_garbage *garbage;
    struct bag *next; /* in `ready` */
};
struct grace {
    struct dp *dp;
    void (*tell)(void *ctx);
    void *ctx;
    _Atomic(struct bag *) ready; /* latest first; liburcu's thread adds, the control thread takes all */
    sem_t one_over;              /* for each bag, when liburcu's thread is done with it */
    uint64_t bags, over;         /* ever given to that thread, and seen to come back */
    uint64_t taken, freed;
    bool workers;
    char quiet; /* stands for "every worker was quiescent" */
};

enum rc grace_new(struct dp *dp, void (*tell)(void *ctx), void *ctx, struct grace **ret)
{
    struct grace *g = calloc(1, sizeof *g);
    if (!g)
        return RC_NOMEM;
    *g = (struct grace){.dp = dp, .tell = tell, .ctx = ctx};
    sem_init(&g->one_over, 0, 0);
    rcu_register_thread(); /* who calls call_rcu() must be one; the control thread reads nothing under it */
    rcu_thread_offline();
    *ret = g;
    return RC_OK;
}

void grace_free(struct grace *g)
{
    if (!g)
        return;
    rcu_unregister_thread();
    sem_destroy(&g->one_over);
    free(g);
}

/* ---- the control thread */

/* In liburcu's thread, in the order of the bags. */
static void over(struct rcu_head *head)
{
    struct bag *bag = CONTAINER_OF(head, struct bag, head);
    AFTER(bag);
    struct grace *g = bag->grace;
    bag->next = atomic_load_explicit(&g->ready, memory_order_relaxed);
    while (
        !atomic_compare_exchange_weak_explicit(&g->ready, &bag->next, bag, memory_order_release, memory_order_relaxed))
        ;
    g->tell(g->ctx);
    sem_post(&g->one_over); /* the last look at g */
}

void grace_begin(struct grace *g)
{
    g->workers = true;
}

void grace_end(struct grace *g)
{
    grace_wait(g);
    g->workers = false;
}

void grace_take(struct grace *g)
{
    struct dp_garbage *garbage = dp_garbage_take(g->dp);
    struct bag *bag = garbage && g->workers ? malloc(sizeof *bag) : NULL;
    if (!garbage)
        return;
    g->taken++;
    if (bag) {
        *bag = (struct bag){.grace = g, .garbage = garbage};
        BEFORE(bag);
        g->bags++;
        rcu_thread_online();
        call_rcu(&bag->head, over);
        rcu_thread_offline();
        return;
    }
    if (g->workers) { /* no memory for waiting later */
        synchronize_rcu();
        AFTER(&g->quiet);
    }
    dp_garbage_free(g->dp, garbage);
    g->freed++; /* those before may take longer; should a handle then be used too early, dp says so */
}

void grace_sweep(struct grace *g)
{
    while (sem_trywait(&g->one_over) == 0)
        g->over++;
    struct bag *next, *bag = atomic_exchange_explicit(&g->ready, NULL, memory_order_acquire);
    AFTER(&g->quiet);
    for (; bag; bag = next) {
        next = bag->next;
        dp_garbage_free(g->dp, bag->garbage);
        free(bag);
        g->freed++;
    }
}

void grace_wait(struct grace *g)
{
    grace_take(g);
    while (g->over != g->bags)
        if (sem_wait(&g->one_over) == 0)
            g->over++;
    grace_sweep(g);
}

uint64_t grace_taken(const struct grace *g)
{
    return g->taken;
}

uint64_t grace_freed(const struct grace *g)
{
    return g->freed;
}

/* ---- workers */

void grace_join(void)
{
    rcu_register_thread();
    rcu_thread_offline();
}

void grace_leave(void)
{
    rcu_unregister_thread();
}

void grace_online(void)
{
    rcu_thread_online();
}

void grace_quiet(struct grace *g)
{
    BEFORE(&g->quiet);
    rcu_quiescent_state();
}

void grace_offline(struct grace *g)
{
    BEFORE(&g->quiet);
    rcu_thread_offline();
}
