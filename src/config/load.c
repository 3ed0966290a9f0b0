/* load: one file, from bytes to a checked configuration or a list of errors; nothing in between survives. */
#include <stdlib.h>

#include "loader.h"

static void refuse_file(struct loader *l, enum rc rc)
{
    const char *why = rc == RC_ABSENT  ? "no such file; give the path with --config"
                      : rc == RC_AUTH  ? "not readable for this user; run as the user that owns it, or change its mode"
                      : rc == RC_LIMIT ? "larger than 64 MiB, the limit; is it the right file?"
                                       : "cannot be read; it must be a regular file";
    config_report_add(l->report, CONFIG_ERROR, 1, 1, "%s", why);
}

static enum rc read_tree(struct loader *l, struct tree_node **ret)
{
    struct buf bytes = {0};
    struct tree_error err;
    enum rc rc = l->reader->read(l->reader->ctx, l->path, CONFIG_FILE_MAX, &bytes, &l->mode, &l->uid);
    if (rc != RC_OK) {
        if (rc != RC_NOMEM)
            refuse_file(l, rc);
        return rc == RC_NOMEM ? rc : RC_SYNTAX;
    }
    rc = config_tree_parse(buf_span(&bytes), l->scratch, ret, &err);
    if (rc == RC_SYNTAX)
        config_report_add(l->report, CONFIG_ERROR, err.line, err.col, "%s", err.text);
    buf_free(&bytes);
    return rc;
}

/* Every check runs, whatever the ones before found: all errors in one run. */
static enum rc check(struct loader *l, struct config *c, bool good)
{
    config_link(l, c);
    if (config_arena_failed(l->arena))
        return RC_NOMEM;
    config_secrets_read(l, c);
    config_derive(l, c);
    config_check_server(l, c);
    config_check_accounts(l, c);
    config_check_tunnels(l, c);
    config_check_shared(l, c);
    config_check_loops(l, c);
    config_notes_add(l, c);
    if (config_arena_failed(l->arena) || config_arena_failed(l->scratch) || config_report_failed(l->report))
        return RC_NOMEM;
    return good && !l->report->total[CONFIG_ERROR] ? RC_OK : RC_SYNTAX;
}

/* The tree goes with the scratch arena: no row may point there. */
static void forget_tree(const struct section *s, struct config_row *row)
{
    row->at = NULL;
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        const struct type *t = &config_types[f->type];
        if (t->shape == SHAPE_SECTION)
            forget_tree(&config_sections[t->section], field_in(f, row));
        if (t->shape != SHAPE_ROWS)
            continue;
        const struct section *of = &config_sections[t->section];
        struct sequence rows = sequence_get(field_of(f, row));
        for (size_t r = 0; r < rows.n; r++)
            forget_tree(of, (void *)((char *)rows.v + r * of->size));
    }
}

static enum rc load(struct loader *l, struct config **ret)
{
    struct tree_node *root;
    struct config *c = config_arena_take(l->arena, sizeof *c);
    if (!c)
        return RC_NOMEM;
    enum rc rc = read_tree(l, &root);
    if (rc == RC_OK) {
        rc = config_rows_read(l, root, c);
        if (rc != RC_NOMEM)
            rc = check(l, c, rc == RC_OK);
    }
    if (rc != RC_OK)
        return rc;
    forget_tree(&config_sections[SECTION_TOP], &c->row);
    c->arena = l->arena;
    l->arena = NULL; /* moved */
    *ret = c;
    return RC_OK;
}

enum rc config_load(const struct config_reader *reader, const char *path, struct config_report *report,
                    struct config **ret)
{
    struct loader l = {
        .reader = reader, .path = path, .report = report, .arena = config_arena_new(), .scratch = config_arena_new()};
    enum rc rc = l.arena && l.scratch ? load(&l, ret) : RC_NOMEM;
    config_report_sort(report);
    config_arena_free(l.arena);
    config_arena_free(l.scratch);
    return rc;
}

void config_free(struct config *c)
{
    if (c)
        config_arena_free(c->arena); /* c lies in it */
}
