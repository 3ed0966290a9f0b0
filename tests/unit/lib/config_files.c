/* config_files: the injected reader of the config room's tests. */
#include "config_files.h"

#include <stdio.h>

void files_add(struct files *f, const char *path, const char *text, uint32_t mode, uint32_t uid)
{
    f->v[f->n].path = path;
    f->v[f->n].bytes = span_str(text);
    f->v[f->n].mode = mode;
    f->v[f->n++].uid = uid;
}

static enum rc read_file(void *ctx, const char *path, size_t max, struct buf *ret, uint32_t *ret_mode,
                         uint32_t *ret_uid)
{
    struct files *f = ctx;
    struct span bytes = {0};
    uint32_t mode = 0600, uid = 0;
    size_t i = 0;
    while (i < f->n && strcmp(f->v[i].path, path) != 0)
        i++;
    if (i < f->n) {
        bytes = f->v[i].bytes;
        mode = f->v[i].mode;
        uid = f->v[i].uid;
    } else if (f->any) {
        bytes = span_str(f->any);
    } else {
        return RC_ABSENT;
    }
    if (bytes.n > max)
        return RC_LIMIT;
    enum rc rc = buf_set(ret, bytes);
    if (rc != RC_OK)
        return rc;
    *ret_mode = mode;
    *ret_uid = uid;
    return RC_OK;
}

struct config_reader files_reader(struct files *f)
{
    return (struct config_reader){.read = read_file, .ctx = f};
}

struct loaded load_bytes(struct files *f, struct span bytes)
{
    struct files all = f ? *f : (struct files){0};
    struct loaded l = {0};
    size_t i = 0;
    while (i < all.n && strcmp(all.v[i].path, "adit.yaml") != 0)
        i++;
    if (i == all.n) {
        files_add(&all, "adit.yaml", "", 0600, 0);
        all.v[i].bytes = bytes;
    }
    struct config_reader reader = files_reader(&all);
    l.rc = config_load(&reader, "adit.yaml", &l.report, &l.c);
    return l;
}

struct loaded load_text(struct files *f, const char *text)
{
    return load_bytes(f, span_str(text));
}

struct loaded load_marked(struct files *f, const char *text, struct place *ret)
{
    char plain[16384];
    size_t n = 0;
    struct place at = {.line = 1, .col = 1};
    *ret = (struct place){0};
    for (const char *p = text; *p && n + 1 < sizeof plain; p++) {
        if (*p == '^') {
            *ret = at;
            continue;
        }
        plain[n++] = *p;
        at = *p == '\n' ? (struct place){.line = at.line + 1, .col = 1}
                        : (struct place){.line = at.line, .col = at.col + 1};
    }
    return load_bytes(f, span_of(plain, n));
}

void loaded_free(struct loaded *l)
{
    config_free(l->c);
    config_report_free(&l->report);
    *l = (struct loaded){0};
}

static void print_report(const struct config_report *r)
{
    char line[1024];
    for (size_t i = 0; config_report_line(r, "adit.yaml", i, line, sizeof line) == RC_OK; i++)
        printf("# %s\n", line);
}

bool report_has(const struct config_report *r, unsigned line_number, unsigned col, const char *part, const char *part2,
                const char *part3)
{
    char place[64], line[1024];
    snprintf(place, sizeof place, "adit.yaml:%u:%u: ", line_number, col);
    for (size_t i = 0; config_report_line(r, "adit.yaml", i, line, sizeof line) == RC_OK; i++)
        if (strncmp(line, place, strlen(place)) == 0 && strstr(line, part) && strstr(line, part2) &&
            strstr(line, part3))
            return true;
    printf("# wanted %s... %s ... %s ... %s; the report:\n", place, part, part2, part3);
    print_report(r);
    return false;
}

bool report_empty(const struct config_report *r)
{
    if (r->n)
        print_report(r);
    return r->n == 0;
}
