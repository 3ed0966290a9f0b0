/* conf/adit.yaml, the file an operator starts from: it loads as it stands, and with every key in use; no key of the format is
 * missing. That its defaults are those of the format is for tests/lint/docs to see. */
#include "lib/unit.h"

#include <stdio.h>

#include "config/schema.h"
#include "lib/config_files.h"

#define KEY "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

/* The file, or the file with one # taken off every line that is not meant to stay a comment. */
static struct buf reference(bool uncommented)
{
    struct buf b = {0};
    char line[512];
    FILE *in = fopen("conf/adit.yaml", "r");
    assert_non_null(in);
    while (fgets(line, sizeof line, in))
        OK(buf_append(&b, span_str(uncommented && line[0] == '#' && line[1] != '#' ? line + 1 : line)));
    fclose(in);
    return b;
}

static struct loaded load_reference(bool uncommented)
{
    struct files f = {.any = KEY};
    files_add(&f, "acme-ipsec.psk", GOOD_PSK "\n", 0600, 0);
    files_add(&f, "acme-2027.psk", GOOD_PSK2 "\n", 0600, 0);
    struct buf text = reference(uncommented);
    struct loaded l = load_bytes(&f, buf_span(&text));
    buf_free(&text);
    return l;
}

static void test_loads_as_it_stands(void **state)
{
    (void)state;
    struct loaded l = load_reference(false);
    assert_true(report_empty(&l.report));
    assert_int_equal(l.rc, RC_OK);
    assert_int_equal(l.c->accounts.n, 0);
    loaded_free(&l);
}

static void test_loads_with_every_key(void **state)
{
    (void)state;
    struct loaded l = load_reference(true);
    if (l.rc != RC_OK)
        report_empty(&l.report);
    assert_int_equal(l.rc, RC_OK);
    assert_int_equal(l.report.total[CONFIG_WARNING], 0);
    assert_int_equal(l.c->accounts.n, 1);
    assert_int_equal(l.c->n_tunnels, 3);
    loaded_free(&l);
}

/* ---- every key is there: the sections of a loaded file, walked along the schema */

static uint64_t used[SECTION_END];

static void collect(const struct section *s, const struct config_row *row)
{
    used[s->id] |= row->set;
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct type *t = &config_types[s->fields[i].type];
        const void *value = field_of(&s->fields[i], row);
        if (t->shape == SHAPE_SECTION)
            collect(&config_sections[t->section], value);
        if (t->shape != SHAPE_ROWS)
            continue;
        struct sequence rows = sequence_get(value);
        for (size_t r = 0; r < rows.n; r++)
            collect(&config_sections[t->section],
                    (const void *)((const char *)rows.v + r * config_sections[t->section].size));
    }
}

static void test_no_key_is_missing(void **state)
{
    (void)state;
    struct loaded l = load_reference(true);
    assert_int_equal(l.rc, RC_OK);
    memset(used, 0, sizeof used);
    collect(&config_sections[SECTION_TOP], &l.c->row);
    bool complete = true;
    for (size_t s = 0; s < SECTION_END; s++)
        for (size_t i = 0; i < config_sections[s].n_fields; i++)
            if (!(used[s] & CONFIG_BIT(i))) {
                printf("# %s: %s is missing\n", config_sections[s].title, config_sections[s].fields[i].keyword);
                complete = false;
            }
    assert_true(complete);
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_loads_as_it_stands),
        TEST(test_loads_with_every_key),
        TEST(test_no_key_is_missing),
    };
    return cmocka_run_group_tests_name("config: the reference file", tests, NULL, NULL);
}
