/* Token bucket, and the log sink's rate limit per event name. */
#include <stdio.h>

#include "lib/unit.h"

static void bucket_starts_full_and_refills(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 10, 3, 1000);
    for (int i = 0; i < 3; i++)
        assert_true(bucket_take(&b, 1000));
    assert_false(bucket_take(&b, 1000));
    assert_false(bucket_take(&b, 1000 + 99 * NS_PER_MS));
    assert_true(bucket_take(&b, 1000 + 100 * NS_PER_MS));
    assert_false(bucket_take(&b, 1000 + 100 * NS_PER_MS));
}

static void bucket_holds_at_most_its_burst(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 1000, 2, 0);
    assert_true(bucket_take(&b, NEVER - 1)); /* 584 years later: no overflow */
    assert_true(bucket_take(&b, NEVER - 1));
    assert_false(bucket_take(&b, NEVER - 1));
    bucket_init(&b, UINT32_MAX, UINT32_MAX, 0);
    assert_true(bucket_take(&b, NEVER - 1));
}

static void bucket_rate_over_time(void **state)
{
    (void)state;
    struct bucket b;
    unsigned taken = 0;
    bucket_init(&b, 7, 5, 0);
    for (uint64_t now = 0; now <= 10 * NS_PER_S; now += NS_PER_MS)
        taken += bucket_take(&b, now);
    assert_int_equal(taken, 5 + 7 * 10);
}

static void bucket_without_rate_never_refills(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 0, 1, 0);
    assert_true(bucket_take(&b, 5));
    assert_false(bucket_take(&b, 1000 * NS_PER_S));
}

struct seen {
    unsigned n;
    uint64_t suppressed;
    const char *name;
    size_t n_fields;
};
static void emit(void *ctx, const struct log_event *event)
{
    struct seen *s = ctx;
    s->n++;
    s->suppressed = event->suppressed;
    s->name = event->name;
    s->n_fields = event->n_fields;
}

static void log_without_a_sink_swallows(void **state)
{
    (void)state;
    struct log log = {0};
    LOG(NULL, 1, LOG_LEVEL_ERROR, "a.b", LOG_U64("x", 1));
    LOG(&log, 1, LOG_LEVEL_ERROR, "a.b", LOG_U64("x", 1));
}

static void log_has_levels(void **state)
{
    (void)state;
    struct seen s = {0};
    struct log log = {.emit = emit, .ctx = &s, .level = LOG_LEVEL_WARN};
    LOG(&log, 1, LOG_LEVEL_INFO, "a.b", LOG_U64("x", 1));
    assert_int_equal(s.n, 0);
    LOG(&log, 1, LOG_LEVEL_WARN, "a.b", LOG_U64("x", 1), LOG_STR("y", "z"));
    assert_int_equal(s.n, 1);
    assert_int_equal(s.n_fields, 2);
    log_event(&log, 1, LOG_LEVEL_ERROR, "a.c", NULL, 0);
    assert_string_equal(s.name, "a.c");
}

static void log_limits_each_name_by_itself(void **state)
{
    (void)state;
    struct seen s = {0};
    struct log log = {.emit = emit, .ctx = &s, .level = LOG_LEVEL_DEBUG, .rate = 1, .burst = 2};
    char same_name[] = "a.b"; /* equal text at another address is the same name */
    for (int i = 0; i < 10; i++)
        log_event(&log, 0, LOG_LEVEL_INFO, i % 2 ? "a.b" : same_name, NULL, 0);
    assert_int_equal(s.n, 2);
    log_event(&log, 0, LOG_LEVEL_INFO, "a.c", NULL, 0);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.suppressed, 0);
    log_event(&log, NS_PER_S, LOG_LEVEL_INFO, "a.b", NULL, 0);
    assert_int_equal(s.n, 4);
    assert_int_equal(s.suppressed, 8);
    log_event(&log, 2 * NS_PER_S, LOG_LEVEL_INFO, "a.b", NULL, 0);
    assert_int_equal(s.n, 5);
    assert_int_equal(s.suppressed, 0); /* told already */
}

static void log_survives_more_names_than_classes(void **state)
{
    (void)state;
    struct seen s = {0};
    struct log log = {.emit = emit, .ctx = &s, .level = LOG_LEVEL_DEBUG, .rate = 1, .burst = 1};
    static char names[LOG_CLASSES + 8][8];
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(names[i], sizeof names[i], "n.%u", i);
        log_event(&log, 0, LOG_LEVEL_INFO, names[i], NULL, 0);
    }
    assert_int_equal(s.n, LOG_CLASSES); /* the rest shares the last one's token */
    log_event(&log, NS_PER_S, LOG_LEVEL_INFO, names[0], NULL, 0);
    assert_int_equal(s.suppressed, 0); /* the first is by itself */
    log_event(&log, NS_PER_S, LOG_LEVEL_INFO, names[LOG_CLASSES + 3], NULL, 0);
    assert_int_equal(s.suppressed, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bucket_starts_full_and_refills), TEST(bucket_holds_at_most_its_burst),
        TEST(bucket_rate_over_time),          TEST(bucket_without_rate_never_refills),
        TEST(log_without_a_sink_swallows),    TEST(log_has_levels),
        TEST(log_limits_each_name_by_itself), TEST(log_survives_more_names_than_classes),
    };
    return cmocka_run_group_tests_name("base_log", tests, NULL, NULL);
}
