/* The pages and the example file against the format: no key is missing in conf/adit.yaml (that its defaults are those of the format is
 * for tests/lint/docs to see), the example of docs/configuration.md loads, and the engine's own defaults are the same. */
#include "lib/unit.h"

#include <stdio.h>

#include "adit/ike.h"
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

/* The example of the page that explains the keys. */
static void test_the_example_of_the_page_loads(void **state)
{
    (void)state;
    struct files f = {.any = GOOD_PSK};
    char text[4096] = "", line[512];
    bool inside = false;
    FILE *page = fopen("docs/configuration.md", "r");
    assert_non_null(page);
    while (fgets(line, sizeof line, page) && strcmp(line, "```\n") != 0) {
        if (inside)
            strncat(text, line, sizeof text - strlen(text) - 1);
        inside |= strcmp(line, "```yaml\n") == 0;
    }
    fclose(page);
    struct loaded l = load_text(&f, text);
    assert_true(report_empty(&l.report));
    assert_int_equal(l.rc, RC_OK);
    assert_int_equal(l.c->n_tunnels, 2);
    assert_int_equal(l.c->n_routes, 2);
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

/* ---- tests and tools run the engine with ike_policy_default(): it must be what a daemon runs with */

static void assert_proposals_equal(const struct proposal_policy *a, const struct proposal_policy *b)
{
    assert_int_equal(a->n_encr, b->n_encr);
    for (uint8_t i = 0; i < a->n_encr; i++) {
        assert_int_equal(a->encr[i].encr, b->encr[i].encr);
        assert_int_equal(a->encr[i].bits, b->encr[i].bits);
    }
    assert_int_equal(a->n_integ, b->n_integ);
    assert_memory_equal(a->integ, b->integ, sizeof a->integ);
    assert_int_equal(a->n_prf, b->n_prf);
    assert_memory_equal(a->prf, b->prf, sizeof a->prf);
    assert_int_equal(a->n_ke, b->n_ke);
    assert_memory_equal(a->ke, b->ke, sizeof a->ke);
    assert_int_equal(a->n_addke, b->n_addke);
    assert_memory_equal(a->addke, b->addke, sizeof a->addke);
}

static void test_the_engine_has_the_same_defaults(void **state)
{
    (void)state;
    struct ike_policy ours, file;
    struct loaded l = load_reference(false);
    assert_int_equal(l.rc, RC_OK);
    config_ike_policy(l.c, &file);
    ike_policy_default(&ours);
    assert_proposals_equal(&ours.ike, &file.ike);
    assert_proposals_equal(&ours.esp, &file.esp);
    assert_int_equal(ours.half_open_timeout, file.half_open_timeout);
    assert_int_equal(ours.fragment_timeout, file.fragment_timeout);
    assert_int_equal(ours.ike_lifetime, file.ike_lifetime);
    assert_int_equal(ours.child_lifetime, file.child_lifetime);
    assert_int_equal(ours.jitter, file.jitter);
    assert_int_equal(ours.followup_timeout, file.followup_timeout);
    assert_int_equal(ours.dpd_interval, file.dpd_interval);
    assert_int_equal(ours.fragment_size_min, file.fragment_size_min);
    assert_int_equal(ours.cookie_threshold_per_prefix, file.cookie_threshold_per_prefix);
    assert_int_equal(ours.init_rate_per_ip, file.init_rate_per_ip);
    assert_int_equal(ours.handshakes_per_second, file.handshakes_per_second);
    assert_int_equal(ours.nat_keepalive, file.nat_keepalive);
    assert_int_equal(ours.retransmit_first, file.retransmit_first);
    assert_int_equal(ours.jitter, file.jitter);
    assert_int_equal(ours.followup_timeout, file.followup_timeout);
    assert_int_equal(ours.retransmit_tries, file.retransmit_tries);
    assert_int_equal(ours.fragment_size, file.fragment_size);
    assert_int_equal(ours.max_fragments, file.max_fragments);
    assert_int_equal(ours.max_half_open, file.max_half_open);
    assert_int_equal(ours.cookie_threshold, file.cookie_threshold);
    assert_int_equal(ours.cookie_threshold_per_ip, file.cookie_threshold_per_ip);
    assert_int_equal(ours.max_sas, file.max_sas);
    assert_int_equal(ours.max_children, file.max_children);
    assert_int_equal(ours.downgrade_protection, file.downgrade_protection);
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_example_of_the_page_loads),
        TEST(test_no_key_is_missing),
        TEST(test_the_engine_has_the_same_defaults),
    };
    return cmocka_run_group_tests_name("config: the reference file", tests, NULL, NULL);
}
