/* rows: the tree, walked along the schema, into rows with every default in place. */
#include "loader.h"

#include <stdio.h>

#include "value.h"

/* Where a value stands, for messages: "tunnel acme-gre: outer.". */
struct scope {
    char text[160];
};

/* ---- messages */

const char *config_why(struct loader *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = config_arena_format(l->scratch, format, args);
    va_end(args);
    return text ? text : "could not be read: out of memory";
}

void config_say(struct loader *l, enum config_level level, const struct config_row *row, const char *keyword,
                const char *format, ...)
{
    const struct tree_node *at = keyword ? config_tree_find(row->at, keyword) : NULL;
    va_list args;
    va_start(args, format);
    const char *text = config_arena_format(l->scratch, format, args);
    va_end(args);
    config_report_add(l->report, level, at ? at->line : row->line, at ? at->col : row->col, "%s", text ? text : "?");
}

#define refuse(l, node, ...) config_report_add((l)->report, CONFIG_ERROR, (node)->line, (node)->col, __VA_ARGS__)

static const char *shape_text(const struct tree_node *n)
{
    return n->kind == TREE_MAP ? "a map of keys" : n->kind == TREE_LIST ? "a list" : "a single value";
}

static const char *words_text(struct loader *l, const struct type *t)
{
    const char *text = t->words[0].text;
    for (size_t i = 1; i < t->n_words; i++)
        text = config_why(l, "%s%s%s", text, i + 1 < t->n_words ? ", " : " or ", t->words[i].text);
    return text;
}

/* ---- unknown keys */

/* Levenshtein distance of two short texts, one row at a time. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[33];
    size_t n = strlen(b);
    if (strlen(a) > 32 || n > 32)
        return 99;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]), drop = row[j] + 1, insert = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < drop ? (change < insert ? change : insert) : (drop < insert ? drop : insert);
        }
    }
    return row[n];
}

static void refuse_key(struct loader *l, const struct section *s, const struct scope *scope,
                       const struct tree_node *key)
{
    char quoted[QUOTE_TEXT];
    const char *nearest = NULL;
    unsigned best = 99;
    config_quote(key->text, quoted);
    for (size_t i = 0; i < s->n_fields; i++) {
        unsigned d = distance(quoted, s->fields[i].keyword);
        if (d < best) {
            best = d;
            nearest = s->fields[i].keyword;
        }
    }
    if (best <= 1 + strlen(quoted) / 4)
        refuse(l, key, "%sunknown key %s; did you mean %s?", scope->text, quoted, nearest);
    else
        refuse(l, key,
               "%sunknown key %s; remove it, or look up the keys of %s in the reference (docs/configuration.md)",
               scope->text, quoted, s->title);
}

/* ---- values */

static bool read_word(const struct type *t, const char *text, uint32_t *ret)
{
    for (uint32_t i = 0; i < t->n_words; i++)
        if (strcmp(t->words[i].text, text) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

static bool is_empty(const struct tree_node *n)
{
    return n->kind == TREE_SCALAR && !n->quoted &&
           (n->text.n == 0 || span_equal(n->text, span_str("~")) || span_equal(n->text, span_str("null")));
}

static bool read_scalar(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n,
                        void *ret)
{
    const struct type *t = &config_types[f->type];
    char quoted[QUOTE_TEXT];
    if (n->kind != TREE_SCALAR) {
        refuse(l, n, "%s%s is %s; write one value: %s", scope->text, f->keyword, shape_text(n),
               t->words ? words_text(l, t) : t->about);
        return false;
    }
    if (is_empty(n)) {
        refuse(l, n, "%s%s has no value; write one, or remove the key", scope->text, f->keyword);
        return false;
    }
    const char *text = (const char *)n->text.p, *why = NULL;
    if (t->words) {
        if (!read_word(t, text, ret))
            why = config_why(l, "is unknown; use %s", words_text(l, t));
    } else {
        why = t->read(f, text, l, ret);
    }
    if (why && f->type == TYPE_SECRET) /* the secret itself is no part of a message */
        refuse(l, n, "%s%s %s", scope->text, f->keyword, why);
    else if (why)
        refuse(l, n, "%s%s %s %s", scope->text, f->keyword, config_quote(n->text, quoted), why);
    return !why;
}

static bool check_count(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n)
{
    if (n->kind != TREE_LIST) {
        refuse(l, n, "%s%s is %s; write a list: [a, b], or one line with - for each", scope->text, f->keyword,
               shape_text(n));
        return false;
    }
    if (n->n < (uint64_t)f->least || n->n > (uint64_t)f->most) {
        refuse(l, n, "%s%s has %u elements; use %lld to %lld", scope->text, f->keyword, n->n, (long long)f->least,
               (long long)f->most);
        return false;
    }
    return true;
}

static bool read_choices(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n,
                         struct config_choices *ret)
{
    struct config_choices c = {0};
    uint32_t seen = 0;
    bool good = true;
    for (const struct tree_node *e = n->first; e; e = e->next) {
        uint32_t word = 0;
        if (!read_scalar(l, f, scope, e, &word)) {
            good = false;
        } else if (seen & 1u << word) {
            refuse(l, e, "%s%s names %s twice; remove one", scope->text, f->keyword,
                   config_types[f->type].words[word].text);
            good = false;
        } else {
            seen |= 1u << word;
            c.v[c.n++] = (uint8_t)word; /* at most n_words <= ALGS_MAX different ones */
        }
    }
    if (good)
        *ret = c;
    return good;
}

static bool read_list(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n,
                      void *ret)
{
    const struct type *t = &config_types[f->type];
    if (!check_count(l, f, scope, n))
        return false;
    if (!t->element)
        return read_choices(l, f, scope, n, ret);
    struct sequence list = {.v = config_arena_take(l->arena, n->n * t->element + 1)};
    bool good = list.v;
    for (const struct tree_node *e = n->first; e && list.v; e = e->next, list.n++)
        good &= read_scalar(l, f, scope, e, (char *)list.v + list.n * t->element);
    if (good)
        sequence_set(ret, list);
    return good;
}

/* ---- sections: read_section() and read_field() call each other along the schema, three levels deep */

static bool read_section(struct loader *l, const struct section *s, const struct scope *scope,
                         const struct tree_node *n, void *row);
static bool read_field(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n,
                       void *ret);

/* A row with all defaults. They are read by the same code as the file, once per load, and copied from then on. */
static const void *defaults_of(struct loader *l, const struct section *s)
{
    if (l->defaults[s->id])
        return l->defaults[s->id];
    void *row = config_arena_take(l->scratch, s->size);
    struct scope scope = {.text = ""};
    for (size_t i = 0; row && i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        const struct type *t = &config_types[f->type];
        if (t->shape == SHAPE_SECTION) {
            const void *inner = defaults_of(l, &config_sections[t->section]);
            if (!inner)
                return NULL;
            memcpy(field_in(f, row), inner, t->size); /* lint: not wire bytes: a row of our own */
        } else if (f->fallback && strcmp(f->fallback, CONFIG_REQUIRED) != 0) {
            struct tree_node *node;
            struct tree_error err;
            if (config_tree_parse(span_str(f->fallback), l->scratch, &node, &err) != RC_OK ||
                !read_field(l, f, &scope, node, field_in(f, row)))
                return NULL; /* out of memory: a test reads every default */
        }
    }
    return l->defaults[s->id] = row;
}

static bool read_rows(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n,
                      void *ret)
{
    const struct type *t = &config_types[f->type];
    const struct section *s = &config_sections[t->section];
    if (!check_count(l, f, scope, n))
        return false;
    if (t->total_max && n->n > t->total_max - l->n_rows[s->id]) {
        refuse(l, n, "%smore than %u %s in the file; this is the limit of one server", scope->text, t->total_max,
               f->keyword);
        return false;
    }
    l->n_rows[s->id] += n->n;
    struct sequence rows = {.v = config_arena_take(l->arena, n->n * s->size + 1)};
    bool good = rows.v;
    for (const struct tree_node *e = n->first; e && rows.v; e = e->next, rows.n++)
        good &= read_section(l, s, scope, e, (char *)rows.v + rows.n * s->size);
    sequence_set(ret, rows); /* the good fields of a bad row are checked too: all errors in one run */
    return good;
}

/* psk: "text" is short for psk: [{value: "text"}] */
static bool read_psks(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n,
                      void *ret)
{
    if (n->kind != TREE_SCALAR)
        return read_rows(l, f, scope, n, ret);
    struct config_psk *psk = config_arena_take(l->arena, sizeof *psk);
    const struct field *value = &config_sections[SECTION_PSK].fields[0];
    if (!psk)
        return false;
    psk->row = (struct config_row){.line = n->line, .col = n->col, .set = CONFIG_BIT(0)};
    if (!l->inline_secret)
        l->inline_secret = n;
    struct field named = *value;
    named.keyword = f->keyword;
    if (!read_scalar(l, &named, scope, n, &psk->value))
        return false;
    *(struct config_psks *)ret = (struct config_psks){.v = psk, .n = 1};
    return true;
}

static bool read_field(struct loader *l, const struct field *f, const struct scope *scope, const struct tree_node *n,
                       void *ret)
{
    const struct type *t = &config_types[f->type];
    if (f->type == TYPE_SECRET && !l->inline_secret)
        l->inline_secret = n;
    switch (t->shape) {
    case SHAPE_SCALAR: return read_scalar(l, f, scope, n, ret);
    case SHAPE_LIST: return read_list(l, f, scope, n, ret);
    case SHAPE_ROWS: return f->type == TYPE_PSKS ? read_psks(l, f, scope, n, ret) : read_rows(l, f, scope, n, ret);
    case SHAPE_SECTION: {
        struct scope inner;
        snprintf(inner.text, sizeof inner.text, "%.100s%s.", scope->text, f->keyword);
        return read_section(l, &config_sections[t->section], &inner, n, ret);
    }
    }
    return false;
}

static void name_row(const struct section *s, const struct scope *outer, const struct tree_node *n, struct scope *ret)
{
    char quoted[QUOTE_TEXT];
    const struct tree_node *label = s->label ? config_tree_find(n, s->label) : NULL;
    if (label && label->kind == TREE_SCALAR)
        snprintf(ret->text, sizeof ret->text, "%s %s: ", s->title, config_quote(label->text, quoted));
    else if (s->label)
        snprintf(ret->text, sizeof ret->text, "%s: ", s->title);
    else
        *ret = *outer;
}

static bool read_key(struct loader *l, const struct section *s, const struct scope *scope, const struct tree_node *key,
                     struct config_row *row)
{
    size_t i = 0;
    if (key->kind != TREE_SCALAR) {
        refuse(l, key, "%sa key is %s; write key: value", scope->text, shape_text(key));
        return false;
    }
    while (i < s->n_fields && !span_equal(key->text, span_str(s->fields[i].keyword)))
        i++;
    if (i == s->n_fields) {
        refuse_key(l, s, scope, key);
        return false;
    }
    const struct field *f = &s->fields[i];
    if (row->set & CONFIG_BIT(i)) {
        refuse(l, key, "%skey %s is given twice; the second would win unseen: remove one", scope->text, f->keyword);
        return false;
    }
    row->set |= CONFIG_BIT(i);
    if (!read_field(l, f, scope, key->next, field_in(f, row))) {
        row->bad |= CONFIG_BIT(i);
        return false;
    }
    return true;
}

static bool read_section(struct loader *l, const struct section *s, const struct scope *outer,
                         const struct tree_node *n, void *ret)
{
    const void *defaults = defaults_of(l, s);
    struct config_row *row = ret;
    struct scope scope;
    if (!defaults)
        return false;
    memcpy(row, defaults, s->size); /* lint: not wire bytes: a row of our own */
    row->line = n->line;
    row->col = n->col;
    row->at = n;
    name_row(s, outer, n, &scope);
    if (n->kind != TREE_MAP) {
        refuse(l, n, "%s%s is %s; write its keys: key: value", scope.text, s->title, shape_text(n));
        row->bad = UINT64_MAX;
        return false;
    }
    bool good = true;
    for (const struct tree_node *key = n->first; key; key = key->next->next)
        good &= read_key(l, s, &scope, key, row);
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].fallback && strcmp(s->fields[i].fallback, CONFIG_REQUIRED) == 0 &&
            !(row->set & CONFIG_BIT(i))) {
            refuse(l, n, "%s%s is missing; every %s needs one", scope.text, s->fields[i].keyword,
                   s->id == SECTION_TOP ? "file" : s->title);
            good = false;
        }
    return good;
}

enum rc config_rows_read(struct loader *l, const struct tree_node *root, struct config *ret)
{
    struct scope scope = {.text = ""};
    bool good = read_section(l, &config_sections[SECTION_TOP], &scope, root, ret);
    if (config_arena_failed(l->arena) || config_arena_failed(l->scratch))
        return RC_NOMEM;
    return good ? RC_OK : RC_SYNTAX;
}

/* ---- notes */

static void note_section(struct loader *l, const struct section *s, const struct config_row *row, const char *where);

static void note_field(struct loader *l, const struct section *s, size_t i, const struct config_row *row,
                       const char *where)
{
    const struct field *f = &s->fields[i];
    const struct type *t = &config_types[f->type];
    const void *value = field_of(f, row);
    char name[200];
    snprintf(name, sizeof name, "%s%s", where, f->keyword);
    if (t->shape == SHAPE_SECTION) {
        snprintf(name, sizeof name, "%s%s.", where, f->keyword);
        note_section(l, &config_sections[t->section], value, name);
    } else if (t->shape == SHAPE_ROWS && f->status == CONFIG_STATUS_ACTIVE) {
        struct sequence rows = sequence_get(value);
        const struct section *of = &config_sections[t->section];
        for (size_t r = 0; r < rows.n; r++) {
            const struct config_row *inner = (const void *)((const char *)rows.v + r * of->size);
            struct scope outer, named;
            snprintf(outer.text, sizeof outer.text, "%s", where);
            name_row(of, &outer, inner->at, &named);
            note_section(l, of, inner, named.text);
        }
    } else if (f->status == CONFIG_STATUS_LATER && row->set & CONFIG_BIT(i) &&
               config_row_compare(s, row, l->defaults[s->id]) & CONFIG_BIT(i)) {
        config_say(l, CONFIG_NOTE, row, f->keyword, "%s: accepted, not active yet", name);
    }
}

static void note_section(struct loader *l, const struct section *s, const struct config_row *row, const char *where)
{
    for (size_t i = 0; i < s->n_fields; i++)
        note_field(l, s, i, row, where);
}

/* Only what differs from the default: `metrics: {}` asks for nothing that is missing. */
void config_notes_add(struct loader *l, const struct config *c)
{
    note_section(l, &config_sections[SECTION_TOP], &c->row, "");
}
