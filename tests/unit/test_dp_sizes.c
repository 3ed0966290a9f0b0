/* The table of inner MTUs in docs/datapath.md, row by row against what the datapath computes. */
#include "lib/unit.h"

#include <stdio.h>
#include <string.h>

#include "adit/dp.h"

#define GCM                              \
    {                                    \
        ENCR_AES_GCM_16, 256, INTEG_NONE \
    }
#define CBC(integ)               \
    {                            \
        ENCR_AES_CBC, 256, integ \
    }

static const struct row {
    const char *name;
    struct dp_overhead overhead; /* over IPv4 */
} rows[] = {
    {"GRE", {.type = TUNNEL_GRE}},
    {"GRE with key", {.type = TUNNEL_GRE, .gre_key = true}},
    {"GRE with key, checksum and sequence",
     {.type = TUNNEL_GRE, .gre_key = true, .gre_checksum = true, .gre_sequence = true}},
    {"ESP, AES-GCM-16", {.type = TUNNEL_IPSEC, .alg = GCM}},
    {"ESP in UDP, AES-GCM-16", {.type = TUNNEL_IPSEC, .udp = true, .alg = GCM}},
    {"ESP, AES-CBC with HMAC-SHA2-256-128", {.type = TUNNEL_IPSEC, .alg = CBC(INTEG_HMAC_SHA2_256_128)}},
    {"ESP in UDP, AES-CBC with HMAC-SHA2-256-128",
     {.type = TUNNEL_IPSEC, .udp = true, .alg = CBC(INTEG_HMAC_SHA2_256_128)}},
    {"ESP, AES-CBC with HMAC-SHA1-96", {.type = TUNNEL_IPSEC, .alg = CBC(INTEG_HMAC_SHA1_96)}},
    {"ESP in UDP, AES-CBC with HMAC-SHA1-96", {.type = TUNNEL_IPSEC, .udp = true, .alg = CBC(INTEG_HMAC_SHA1_96)}},
    {"GRE in ESP, transport mode, AES-GCM-16", {.type = TUNNEL_IPSEC, .gre_in_esp = GRE_IN_ESP_TRANSPORT, .alg = GCM}},
    {"GRE in ESP, tunnel mode, AES-GCM-16", {.type = TUNNEL_IPSEC, .gre_in_esp = GRE_IN_ESP_TUNNEL, .alg = GCM}},
};

static const struct row *row_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static void the_page_says_what_is_computed(void **state)
{
    (void)state;
    FILE *page = fopen("docs/datapath.md", "r");
    char line[512];
    size_t seen = 0;
    assert_non_null(page);
    while (fgets(line, sizeof line, page)) { /* "| GRE | 1476 | 1456 |" */
        char *bar = line[0] == '|' ? strstr(line + 1, " | ") : NULL, *next;
        unsigned long over4 = bar ? strtoul(bar + 3, &next, 10) : 0, over6 = 0;
        if (over4 && strncmp(next, " | ", 3) == 0)
            over6 = strtoul(next + 3, NULL, 10);
        if (!over6)
            continue;
        *bar = 0;
        const char *name = line + 2;
        const struct row *row = row_of(name);
        if (!row)
            fail_msg("docs/datapath.md: %s is a row that this test does not know", name);
        struct dp_overhead o = row->overhead;
        assert_int_equal(dp_inner_mtu(&o, 1500), over4);
        o.outer_v6 = true;
        assert_int_equal(dp_inner_mtu(&o, 1500), over6);
        seen++;
    }
    fclose(page);
    assert_int_equal(seen, ARRAY_LEN(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_page_says_what_is_computed)};
    return cmocka_run_group_tests_name("dp: sizes", tests, NULL, NULL);
}
