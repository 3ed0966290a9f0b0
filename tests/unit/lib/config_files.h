/* config_files: a configuration and the files it names, held in memory, for tests of the config room. */
#ifndef ADIT_TEST_CONFIG_FILES_H
#define ADIT_TEST_CONFIG_FILES_H

#include "adit/config.h"

#define FILES_MAX 10
struct files {
    struct {
        const char *path;
        struct span bytes;
        uint32_t mode, uid;
    } v[FILES_MAX];
    size_t n;
    const char *any; /* what every other path holds; NULL: it does not exist */
};
void files_add(struct files *f, const char *path, const char *text, uint32_t mode, uint32_t uid);
struct config_reader files_reader(struct files *f);

/* A load of `text` as adit.yaml, mode 0600, beside the files of f (NULL: none). */
struct loaded {
    enum rc rc;
    struct config *c;
    struct config_report report;
};
struct loaded load_text(struct files *f, const char *text);
struct loaded load_bytes(struct files *f, struct span bytes);
/* The same, where a ^ in the text marks a place: it is taken out, and its line and column returned. */
struct place {
    unsigned line, col;
};
struct loaded load_marked(struct files *f, const char *text, struct place *ret);
void loaded_free(struct loaded *l);
/* Whether a line of the report begins with adit.yaml:line:col: and holds every part; prints the report otherwise. */
bool report_has(const struct config_report *r, unsigned line, unsigned col, const char *part, const char *part2,
                const char *part3);
bool report_empty(const struct config_report *r); /* not a line; prints what there is */

/* Key material that passes the bar, and a small valid configuration around both. */
#define GOOD_PSK "Vt0Lx9q2Zr7Nw4Kd8Hs3Bf6M"
#define GOOD_PSK2 "pE5uY1cJ8oT3gW7iR2aX9vQ4"
#define HEAD                                      \
    "version: 1\n"                                \
    "endpoints: [198.51.100.2, 2001:db8::2]\n"    \
    "ike: {identity_domain: ipsec.example.net}\n" \
    "accounts:\n"                                 \
    "  - id: \"123456789\"\n"                     \
    "    name: acme\n"                            \
    "    netns: acme\n"                           \
    "    tunnels:\n" /* 8 lines; tunnels follow at column 7 */

#endif
