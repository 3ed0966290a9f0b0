/* What is wrong with a host: found when it is there, and only then. */
#include "io/lib/place.h"

#include "adit/io.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define HAZARDS 8

static void swaps_are(const char *text)
{
    FILE *f = fopen("/proc/swaps", "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static bool lock_at_most(rlim_t octets) /* false: this machine lets nobody raise it so far */
{
    struct rlimit have;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &have), 0);
    have.rlim_cur = octets;
    if (have.rlim_max < octets)
        have.rlim_max = octets;
    return setrlimit(RLIMIT_MEMLOCK, &have) == 0;
}

static size_t found(bool ipsec, const char *word)
{
    struct io_hazard v[HAZARDS];
    size_t n = io_host_hazards(false, ipsec, v, HAZARDS), hits = 0;
    for (size_t i = 0; i < n; i++)
        hits += strstr(v[i].text, word) != NULL;
    return hits;
}

/* /proc becomes an empty folder that a test fills. */
static int proc_of_ones_own(void **state)
{
    int rc = namespace_enter(state);
    if (!*state)
        return rc;
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("proc", "/proc", "tmpfs", 0, NULL), 0);
    return rc;
}

/* The leak checker looks into /proc at the end. */
static int proc_of_the_host(void **state)
{
    return *state ? umount2("/proc", MNT_DETACH) : 0;
}

static void secrets_may_be_swapped_out(void **state)
{
    if (!*state)
        skip();
    assert_true(lock_at_most(1 << 20));
    swaps_are("Filename Type Size Used Priority\n");
    assert_int_equal(found(true, "may be locked"), 0);
    swaps_are("Filename Type Size Used Priority\n/dev/sda2 partition 1000 0 -2\n");
    assert_int_equal(found(true, "only 1024 KiB of memory may be locked"), 1);
    assert_int_equal(found(false, "may be locked"), 0); /* no IPsec, no secrets */
    assert_int_equal(io_host_hazards(false, true, NULL, 0), 0);
    if (lock_at_most(1 << 30))
        assert_int_equal(found(true, "may be locked"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(secrets_may_be_swapped_out)};
    return cmocka_run_group_tests_name("io_host", tests, proc_of_ones_own, proc_of_the_host);
}
