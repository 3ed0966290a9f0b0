/* dump: the effective configuration as YAML that config_load() reads back, secrets excepted. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader.h"

#define LINE_MAX_TEXT 8192 /* a path of 1,023 octets, every one escaped, fits twice */

struct out {
    struct buf bytes;
    bool failed;
};

__attribute__((format(printf, 3, 4))) static void print(struct out *o, unsigned indent, const char *format, ...)
{
    char line[LINE_MAX_TEXT];
    int n = snprintf(line, sizeof line, "%*s", (int)indent, "");
    va_list args;
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    if (o->failed || n >= (int)sizeof line) {
        o->failed = true;
        return;
    }
    if (o->bytes.cap - o->bytes.n < (size_t)n) {
        size_t cap = 2 * o->bytes.cap + LINE_MAX_TEXT;
        uint8_t *p = realloc(o->bytes.p, cap);
        if (!p) {
            o->failed = true;
            return;
        }
        o->bytes.p = p;
        o->bytes.cap = cap;
    }
    memcpy(o->bytes.p + o->bytes.n, line, (size_t)n); /* lint: not wire bytes: text of a dump */
    o->bytes.n += (size_t)n;
}

static void print_value(const struct type *t, const void *value, char *ret, size_t n)
{
    if (t->words)
        snprintf(ret, n, "%s", t->words[*(const uint32_t *)value].text);
    else
        t->print(value, ret, n);
}

static void print_list(struct out *o, const struct type *t, const void *value)
{
    char text[LINE_MAX_TEXT / 2];
    if (!t->element) {
        const struct config_choices *c = value;
        for (uint8_t i = 0; i < c->n; i++)
            print(o, 0, "%s%s", i ? ", " : "", t->words[c->v[i]].text);
        return;
    }
    struct sequence list = sequence_get(value);
    for (size_t i = 0; i < list.n; i++) {
        t->print((const char *)list.v + i * t->element, text, sizeof text);
        print(o, 0, "%s%s", i ? ", " : "", text);
    }
}

static bool is_wanted(const struct section *s, size_t i, const void *row)
{
    if (!config_field_present(s, i, row))
        return false;
    if (s->id == SECTION_TUNNEL) {
        const struct config_tunnel *t = row;
        enum { GRE_FIRST = CONFIG_TUNNEL_ttl, IPSEC_FIRST = CONFIG_TUNNEL_id };
        if (i == CONFIG_TUNNEL_psk && t->psk_file)
            return false; /* psk_file was short for it */
        return i < GRE_FIRST || (i < IPSEC_FIRST) == (t->type == TUNNEL_GRE);
    }
    return true;
}

static void print_section(struct out *o, const struct section *s, const void *row, unsigned indent, bool in_list);

static void print_field(struct out *o, const struct field *f, const void *row, unsigned indent, const char *dash)
{
    const struct type *t = &config_types[f->type];
    const void *value = field_of(f, row);
    char text[LINE_MAX_TEXT / 2];
    size_t mark;
    switch (t->shape) {
    case SHAPE_SCALAR:
        print_value(t, value, text, sizeof text);
        print(o, indent, "%s%s: %s\n", dash, f->keyword, text);
        break;
    case SHAPE_LIST:
        print(o, indent, "%s%s: [", dash, f->keyword);
        print_list(o, t, value);
        print(o, 0, "]\n");
        break;
    case SHAPE_SECTION:
        print(o, indent, "%s%s:", dash, f->keyword);
        mark = o->bytes.n;
        print(o, 0, "\n");
        print_section(o, &config_sections[t->section], value, indent + (unsigned)strlen(dash) + 2, false);
        if (!o->failed && o->bytes.n == mark + 1) { /* nothing in it */
            o->bytes.n = mark;
            print(o, 0, " {}\n");
        }
        break;
    case SHAPE_ROWS: {
        struct sequence rows = sequence_get(value);
        const struct section *of = &config_sections[t->section];
        print(o, indent, "%s%s:\n", dash, f->keyword);
        for (size_t i = 0; i < rows.n; i++)
            print_section(o, of, (const char *)rows.v + i * of->size, indent + (unsigned)strlen(dash) + 2, true);
        break;
    }
    }
}

static void print_section(struct out *o, const struct section *s, const void *row, unsigned indent, bool in_list)
{
    bool first = in_list;
    for (size_t i = 0; i < s->n_fields; i++) {
        if (!is_wanted(s, i, row))
            continue;
        print_field(o, &s->fields[i], row, first || !in_list ? indent : indent + 2, first ? "- " : "");
        first = false;
    }
}

enum rc config_dump(const struct config *c, struct buf *ret)
{
    struct out o = {0};
    print_section(&o, &config_sections[SECTION_TOP], c, 0, false);
    if (o.failed) {
        buf_free(&o.bytes);
        return RC_NOMEM;
    }
    *ret = o.bytes;
    return RC_OK;
}
