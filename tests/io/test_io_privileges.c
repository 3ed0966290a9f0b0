/* After io_privileges_drop(): threads start and do what workers do; processes and namespaces are out of reach. Each test is a child. */
#include "io/lib/place.h"

#include "io/privileges.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 2
#define MUST(x) ((x) ? (void)0 : give_up(#x, __LINE__))

static _Noreturn void give_up(const char *what, int line)
{
    fprintf(stderr, "line %d: %s (errno %d)\n", line, what, errno);
    _exit(1);
}

static void in_a_child(void (*f)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        MUST(io_privileges_drop(NULL) == RC_OK);
        f();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- what a worker does */

struct part {
    struct io_loop *loop;
    struct io_outer *outer;
    struct pkt_pool *pool;
    struct io_bell *bell;
    struct io_watch watch;
    struct io_outer_want want;
    struct io_tun *tun;
    unsigned queue;
    bool woken;
};

static void on_packets(void *ctx, struct pkt **v, size_t n)
{
    struct part *p = ctx;
    for (size_t i = 0; i < n; i++)
        pkt_put(p->pool, v[i]);
}

static void heard(void *ctx, unsigned events)
{
    (void)events;
    struct part *p = ctx;
    io_bell_hush(p->bell);
    p->woken = true;
    io_loop_stop(p->loop);
}

static void part_open(struct part *p, struct addr *endpoint, unsigned number, const struct io_outer *first)
{
    const struct io_loop_hooks hooks = {.ctx = p};
    MUST(pkt_pool_new(128, 8, &p->pool) == RC_OK);
    MUST(io_loop_new(&hooks, &p->loop, NULL) == RC_OK);
    MUST(io_bell_new(&p->bell, NULL) == RC_OK);
    p->want = (struct io_outer_want){.endpoints = endpoint, .n_endpoints = 1, .gre = true, .ipsec = true};
    const struct io_outer_config config = {.want = p->want,
                                           .part = number ? IO_OUTER_WORKER : IO_OUTER_IKE,
                                           .worker = number ? number - 1 : 0,
                                           .workers = WORKERS,
                                           .first = first,
                                           .packet = true,
                                           .pool = p->pool,
                                           .packets = on_packets,
                                           .ctx = p};
    MUST(io_outer_open(p->loop, &config, &p->outer, NULL) == RC_OK);
    MUST(!io_outer_trouble(p->outer));
    p->watch = (struct io_watch){.fd = io_bell_fd(p->bell), .events = IO_READ, .ready = heard, .ctx = p};
    MUST(io_loop_watch(p->loop, &p->watch, NULL) == RC_OK);
}

static void part_close(struct part *p)
{
    io_outer_close(p->outer);
    io_loop_unwatch(&p->watch);
    io_bell_free(p->bell);
    io_loop_free(p->loop);
    pkt_pool_free(p->pool);
}

static void *work(void *ctx)
{
    struct part *p = ctx;
    struct io_outer_want less = p->want;
    struct pkt *v[PKT_BATCH];
    size_t n;
    cpu_set_t cpus;
    less.ipsec = false;
    MUST(pthread_setname_np(pthread_self(), "adit-test") == 0);
    MUST(pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus) == 0);
    MUST(pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus) == 0);
    MUST(io_outer_set(p->outer, &less, NULL) == RC_OK);
    MUST(io_outer_set(p->outer, &p->want, NULL) == RC_OK);
    MUST(io_tun_read(p->tun, p->queue, p->pool, v, PKT_BATCH, &n) == RC_OK);
    for (size_t i = 0; i < n; i++)
        pkt_put(p->pool, v[i]);
    MUST(io_loop_run(p->loop, NULL) == RC_OK);
    MUST(p->woken);
    return NULL;
}

static void run_workers(void)
{
    struct part parts[1 + WORKERS] = {0};
    pthread_t thread[WORKERS];
    struct addr endpoint;
    struct io_tun *tun;
    const struct io_tun_config config = {.device = "adit0", .queues = WORKERS, .offload = true};
    MUST(addr_parse(HERE, &endpoint) == RC_OK);
    MUST(io_tun_open(NULL, &config, &tun, NULL) == RC_OK);
    MUST(io_link_up(tun, 1400, NULL) == RC_OK);
    for (unsigned i = 0; i <= WORKERS; i++)
        part_open(&parts[i], &endpoint, i, i > 1 ? parts[1].outer : NULL);
    for (unsigned i = 0; i < WORKERS; i++) {
        parts[1 + i].tun = tun;
        parts[1 + i].queue = i;
        MUST(pthread_create(&thread[i], NULL, work, &parts[1 + i]) == 0);
        io_bell_ring(parts[1 + i].bell);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        MUST(pthread_join(thread[i], NULL) == 0);
    for (unsigned i = 0; i <= WORKERS; i++)
        part_close(&parts[i]);
    io_tun_close(tun);
}

static void workers_run_after_the_drop(void **state)
{
    if (!*state)
        skip();
    in_a_child(run_workers);
}

/* ---- what nobody does */

static void *reach(void *ctx)
{
    (void)ctx;
    MUST(unshare(CLONE_NEWNET) < 0 && errno == EPERM);
    if (!SANITIZED) {
        MUST(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2);
        MUST(fork() < 0 && errno == EPERM);
        MUST(execl("/bin/true", "true", (char *)NULL) < 0 && errno == EPERM);
    }
    return NULL;
}

static void reach_from_both(void)
{
    pthread_t thread;
    reach(NULL);
    MUST(pthread_create(&thread, NULL, reach, NULL) == 0);
    MUST(pthread_join(thread, NULL) == 0);
}

static void no_processes_no_namespaces(void **state)
{
    if (!*state)
        skip();
    in_a_child(reach_from_both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(workers_run_after_the_drop), TEST(no_processes_no_namespaces)};
    return cmocka_run_group_tests_name("io_privileges", tests, namespace_enter, NULL);
}
