/* corpus_NAME [DIR]: every input of tests/fuzz/corpus/fuzz_NAME through the fuzz target, without a fuzzer. The folder holds what
 * `make corpus` made, what a fuzzer found to reach further (found-*), and every input that ever failed. */
#include "lib/fuzz.h"

#include <stdio.h>

#include "lib/folder.h"

#define SLOW_NS (2 * NS_PER_S) /* of processor time, for one input, sanitized */

static const char *dir;
static unsigned inputs;

static void take(void *ctx, const char *name, struct span bytes)
{
    (void)ctx;
    uint64_t start = cpu_ns();
    print_message("# %s\n", name);
    assert_int_equal(LLVMFuzzerTestOneInput(bytes.p, bytes.n), 0);
    assert_in_range(cpu_ns() - start, 0, SLOW_NS);
    inputs++;
}

static void every_input(void **state)
{
    (void)state;
    assert_true(folder_each(dir, take, NULL));
    assert_in_range(inputs, 1, UINT32_MAX); /* a folder without inputs tests nothing */
}

int main(int argc, char **argv)
{
    char own[256], title[300];
    const char *name = strstr(argv[0], "corpus_");
    snprintf(own, sizeof own, "tests/fuzz/corpus/fuzz_%s", name ? name + strlen("corpus_") : "");
    dir = argc > 1 ? argv[1] : own;
    snprintf(title, sizeof title, "inputs of %s", dir);
    const struct CMUnitTest tests[] = {{.name = title, .test_func = every_input}};
    return cmocka_run_group_tests_name("fuzz", tests, NULL, NULL);
}
