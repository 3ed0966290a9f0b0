/* A configuration: it loads or it does not; what loads is dumped, and the dump loads to the same.
 *
 * Input: the text. Every file that it names holds a key. */
#include "lib/fuzz.h"

#include "unit/lib/config_full.h"

static void check_report(const struct loaded *l)
{
    char line[1024];
    assert_true(l->rc == RC_OK || l->rc == RC_SYNTAX);
    assert_int_equal(l->rc == RC_OK, l->report.total[CONFIG_ERROR] == 0);
    for (size_t i = 0; config_report_line(&l->report, "adit.yaml", i, line, sizeof line) == RC_OK; i++)
        for (const char *p = line; *p; p++) /* never a control sequence for the reader's terminal */
            assert_true(*p >= 0x20 && *p < 0x7f);
}

static void assert_same(const struct config *a, const struct config *b)
{
    struct config_diff diff = {0};
    OK(config_diff(a, b, &diff));
    assert_int_equal(diff.n, 0);
    assert_int_equal(diff.sections, 0);
    config_diff_free(&diff);
}

/* A key in the file itself is redacted in the dump, and every such dump is refused. */
static void round_trip(struct files *f, const struct config *c)
{
    static const char redacted[] = "<redacted>";
    struct buf dump = {0};
    OK(config_dump(c, &dump));
    bool secret = memmem(dump.p, dump.n, redacted, sizeof redacted - 1);
    struct loaded again = load_bytes(f, buf_span(&dump));
    check_report(&again);
    if (again.rc == RC_OK)
        assert_same(c, again.c);
    else
        assert_true(secret);
    loaded_free(&again);
    buf_free(&dump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct files f = {.any = FULL_KEY};
    struct span text = exact_copy(span_of(data, n));
    struct loaded l = load_bytes(&f, text);
    check_report(&l);
    if (l.rc == RC_OK) {
        struct config_diff diff = {0};
        assert_same(l.c, l.c);
        OK(config_diff(NULL, l.c, &diff));
        assert_int_equal(diff.n, l.c->accounts.n + l.c->n_tunnels + l.c->n_routes);
        config_diff_free(&diff);
        round_trip(&f, l.c);
    }
    loaded_free(&l);
    exact_free(text);
    return 0;
}
