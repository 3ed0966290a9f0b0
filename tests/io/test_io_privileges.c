/* After io_privileges_drop(): threads start and do what workers do; processes and namespaces are out of reach. Each test is a child. */
#include "io/lib/place.h"

#include "io/privileges.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <linux/capability.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 2
#define MUST(x) ((x) ? (void)0 : give_up(#x, __LINE__))

static _Noreturn void give_up(const char *what, int line)
{
    fprintf(stderr, "line %d: %s (errno %d)\n", line, what, errno);
    _exit(1);
}

static const char *const calls_of_nobody[] = {
    "read",  "write", "close",      "mmap",   "munmap", "mprotect", "madvise",      "futex",           "rt_sigprocmask",
    "prctl", "exit",  "exit_group", "getpid", "gettid", "rseq",     "rt_sigreturn", "set_robust_list", "brk"};

static void run_child(void (*f)(void), bool drop)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        MUST(!drop || io_privileges_drop(NULL) == RC_OK);
        f();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void in_a_child(void (*f)(void)) /* after the drop */
{
    run_child(f, true);
}

static void as_a_child(void (*f)(void)) /* as we are */
{
    run_child(f, false);
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
    sem_t *go = ctx;
    if (go)
        sem_wait(go);
    MUST(unshare(CLONE_NEWNET) < 0 && errno == EPERM);
    if (!SANITIZED) {
        MUST(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2);
        MUST(fork() < 0 && errno == EPERM);
        MUST(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS); /* the C library falls back to clone() */
        MUST(execl("/bin/false", "false", (char *)NULL) < 0 && errno == EPERM);
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

/* The filter is for threads that run already, too. */
static void reach_from_one_that_was_there(void)
{
    pthread_t thread;
    sem_t go;
    sem_init(&go, 0, 0);
    MUST(pthread_create(&thread, NULL, reach, &go) == 0);
    MUST(system_calls_allow(calls_of_nobody, ARRAY_LEN(calls_of_nobody), NULL) == RC_OK);
    sem_post(&go);
    MUST(pthread_join(thread, NULL) == 0);
}

static uint64_t permitted(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    MUST(syscall(SYS_capget, &header, data) == 0);
    return (uint64_t)(data[1].permitted | data[1].effective) << 32 | data[0].permitted | data[0].effective;
}

static void look_at_capabilities(void)
{
    const uint64_t kept = CAPABILITY(CAP_NET_ADMIN) | CAPABILITY(CAP_NET_RAW) | CAPABILITY(CAP_NET_BIND_SERVICE);
    MUST((permitted() & ~kept) == 0);
    MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    MUST(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0);
    MUST(prctl(PR_CAPBSET_READ, CAP_NET_ADMIN, 0, 0, 0) == 1);
}

static void look_for_what_is_missing(void)
{
    struct io_error e = {""};
    MUST(capabilities_keep(CAPABILITY(CAP_NET_ADMIN) | CAPABILITY(CAP_NET_RAW) | CAPABILITY(CAP_NET_BIND_SERVICE),
                           NULL) == RC_OK);
    MUST(io_privileges_check(false, &e) == RC_OK);
    MUST(io_privileges_check(true, &e) == RC_AUTH);
    MUST(strstr(e.text, "CAP_SYS_ADMIN") && !strstr(e.text, "CAP_NET"));
    MUST(capabilities_keep(CAPABILITY(CAP_NET_ADMIN), NULL) == RC_OK);
    MUST(io_privileges_check(false, &e) == RC_AUTH);
    MUST(strstr(e.text, "CAP_NET_RAW") && strstr(e.text, "CAP_NET_BIND_SERVICE") && !strstr(e.text, "CAP_SYS_ADMIN"));
}

static void look_at_limits(void)
{
    struct rlimit have = {16, 1024};
    MUST(setrlimit(RLIMIT_NOFILE, &have) == 0);
    io_privileges_harden();
    MUST(getrlimit(RLIMIT_NOFILE, &have) == 0 && have.rlim_cur == 1024);
    MUST(getrlimit(RLIMIT_CORE, &have) == 0 && have.rlim_max == 0);
    MUST(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

static void no_processes_no_namespaces(void **state)
{
    if (!*state)
        skip();
    in_a_child(reach_from_both);
    if (!SANITIZED)
        as_a_child(reach_from_one_that_was_there);
}

static void capabilities_are_what_is_needed(void **state)
{
    if (!*state || geteuid() != 0)
        skip();
    in_a_child(look_at_capabilities);
    as_a_child(look_for_what_is_missing);
}

static void nothing_of_us_is_dumped(void **state)
{
    if (!*state)
        skip();
    as_a_child(look_at_limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(workers_run_after_the_drop), TEST(no_processes_no_namespaces),
                                       TEST(capabilities_are_what_is_needed), TEST(nothing_of_us_is_dumped)};
    return cmocka_run_group_tests_name("io_privileges", tests, namespace_enter, NULL);
}
