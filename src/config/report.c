/* report: collect, bound, sort and print messages. */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

#include "arena.h"

const char *config_quote(struct span s, char ret[QUOTE_TEXT])
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (n + 8 > QUOTE_TEXT) {
            snprintf(ret + n, QUOTE_TEXT - n, "...");
            return ret;
        }
        uint8_t c = s.p[i];
        bool plain = c >= 0x20 && c < 0x7f;
        n += (size_t)snprintf(ret + n, QUOTE_TEXT - n, plain ? "%c" : "\\x%02x", c);
    }
    ret[n] = 0;
    return ret;
}

void config_report_add(struct config_report *r, enum config_level level, uint32_t line, uint32_t col,
                       const char *format, ...)
{
    if (++r->total[level] > CONFIG_MESSAGES_MAX)
        return;
    if (!r->arena)
        r->arena = config_arena_new();
    if (!r->arena)
        return;
    va_list args;
    va_start(args, format);
    const char *text = config_arena_format(r->arena, format, args);
    va_end(args);
    if (text)
        r->v[r->n++] = (struct config_message){.level = level, .line = line, .col = col, .text = text};
}

static int by_place(const void *pa, const void *pb)
{
    const struct config_message *a = pa, *b = pb;
    if (a->level != b->level)
        return a->level < b->level ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->col != b->col)
        return a->col < b->col ? -1 : 1;
    return strcmp(a->text, b->text);
}

void config_report_sort(struct config_report *r)
{
    qsort(r->v, r->n, sizeof r->v[0], by_place);
}

bool config_report_failed(const struct config_report *r)
{
    return r->total[CONFIG_ERROR] + r->total[CONFIG_WARNING] + r->total[CONFIG_NOTE] > 0 &&
           (!r->arena || config_arena_failed(r->arena));
}

enum rc config_report_line(const struct config_report *r, const char *path, size_t i, char *ret, size_t n)
{
    static const char *const words[CONFIG_LEVEL_END] = {"", "warning: ", "note: "};
    static const char *const plurals[CONFIG_LEVEL_END] = {"errors", "warnings", "notes"};
    size_t at = 0;
    for (unsigned level = 0; level < CONFIG_LEVEL_END; level++) {
        size_t kept = 0;
        for (; at < r->n && r->v[at].level == level; at++, kept++)
            if (i-- == 0) {
                const struct config_message *m = &r->v[at];
                snprintf(ret, n, "%s:%u:%u: %s%s", path, m->line, m->col, words[level], m->text);
                return RC_OK;
            }
        if (r->total[level] > kept && i-- == 0) {
            snprintf(ret, n, "%s: and %zu more %s", path, r->total[level] - kept, plurals[level]);
            return RC_OK;
        }
    }
    return RC_ABSENT;
}

void config_report_free(struct config_report *r)
{
    config_arena_free(r->arena);
    *r = (struct config_report){0};
}
