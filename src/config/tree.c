/* tree: libyaml's events -> nodes. The only file that sees libyaml. */
#include "tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#include "adit/config.h"

#define NODES_MAX 8000000u /* the largest table of docs/limits.md needs half of it */

struct builder {
    struct config_arena *arena;
    struct tree_node *open[CONFIG_DEPTH_MAX]; /* lists and maps that have not ended */
    struct tree_node *last[CONFIG_DEPTH_MAX]; /* newest child of each */
    uint32_t children[CONFIG_DEPTH_MAX];
    unsigned depth, documents;
    uint32_t nodes;
    struct tree_node *root;
    struct tree_error *err;
};

__attribute__((format(printf, 3, 4))) static enum rc refuse(struct builder *b, yaml_mark_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(b->err->text, sizeof b->err->text, format, args);
    va_end(args);
    b->err->line = (uint32_t)at.line + 1;
    b->err->col = (uint32_t)at.column + 1;
    return RC_SYNTAX;
}

static enum rc attach(struct builder *b, struct tree_node *node)
{
    if (!b->depth) {
        b->root = node;
        return RC_OK;
    }
    unsigned top = b->depth - 1;
    if (b->last[top])
        b->last[top]->next = node;
    else
        b->open[top]->first = node;
    b->last[top] = node;
    b->children[top]++;
    return RC_OK;
}

static enum rc add(struct builder *b, const yaml_event_t *e, enum tree_kind kind, struct tree_node **ret)
{
    if (++b->nodes > NODES_MAX)
        return refuse(b, e->start_mark, "more than %u values: the file is too large", NODES_MAX);
    struct tree_node *node = config_arena_take(b->arena, sizeof *node);
    if (!node)
        return RC_NOMEM;
    node->kind = kind;
    node->line = (uint32_t)e->start_mark.line + 1;
    node->col = (uint32_t)e->start_mark.column + 1;
    enum rc rc = attach(b, node);
    if (rc == RC_OK)
        *ret = node;
    return rc;
}

static enum rc add_scalar(struct builder *b, const yaml_event_t *e)
{
    if (e->data.scalar.anchor || e->data.scalar.tag)
        return refuse(b, e->start_mark, "anchors (&) and tags (!) are not part of this format; write the value itself");
    struct span text = span_of(e->data.scalar.value, e->data.scalar.length);
    if (text.n && memchr(text.p, 0, text.n))
        return refuse(b, e->start_mark, "the value holds a NUL character; remove it");
    struct tree_node *node = NULL;
    enum rc rc = add(b, e, TREE_SCALAR, &node);
    if (!node)
        return rc;
    node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = span_of(config_arena_text(b->arena, text), text.n);
    return node->text.p ? RC_OK : RC_NOMEM;
}

static enum rc open_node(struct builder *b, const yaml_event_t *e, enum tree_kind kind, bool decorated)
{
    if (decorated)
        return refuse(b, e->start_mark, "anchors (&) and tags (!) are not part of this format; write the value itself");
    if (b->depth == CONFIG_DEPTH_MAX)
        return refuse(b, e->start_mark, "nested more than %d levels deep; no key of this format is that deep",
                      CONFIG_DEPTH_MAX);
    struct tree_node *node = NULL;
    enum rc rc = add(b, e, kind, &node);
    if (!node)
        return rc;
    b->open[b->depth] = node;
    b->last[b->depth] = NULL;
    b->children[b->depth++] = 0;
    return RC_OK;
}

static enum rc close_node(struct builder *b)
{
    struct tree_node *node = b->open[--b->depth];
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): libyaml closes only what it opened */
    node->n = node->kind == TREE_MAP ? b->children[b->depth] / 2 : b->children[b->depth];
    return RC_OK;
}

static enum rc take(struct builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents++)
            return refuse(b, e->start_mark, "a second YAML document begins here; keep one document per file");
        return RC_OK;
    case YAML_ALIAS_EVENT:
        return refuse(b, e->start_mark, "aliases (*) are not part of this format; write the value itself");
    case YAML_SCALAR_EVENT: return add_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(b, e, TREE_LIST, e->data.sequence_start.anchor || e->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return open_node(b, e, TREE_MAP, e->data.mapping_start.anchor || e->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return close_node(b);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return RC_OK;
    }
    return RC_OK;
}

/* libyaml's reader knows only the offset of a bad octet. */
static yaml_mark_t place_of(struct span text, size_t offset)
{
    yaml_mark_t at = {.index = offset};
    for (size_t i = 0; i < offset && i < text.n; i++) {
        at.column++;
        if (text.p[i] == '\n') {
            at.line++;
            at.column = 0;
        }
    }
    return at;
}

static enum rc refuse_syntax(struct builder *b, const yaml_parser_t *p, struct span text)
{
    const char *why = p->problem ? p->problem : "malformed";
    if (p->error == YAML_MEMORY_ERROR)
        return RC_NOMEM;
    if (p->error == YAML_READER_ERROR)
        return refuse(b, place_of(text, p->problem_offset), "not UTF-8 text (%s); save the file as UTF-8", why);
    return refuse(b, p->problem_mark, "not YAML: %s%s%s; look for indentation, quotes and brackets here and above", why,
                  p->context ? " " : "", p->context ? p->context : "");
}

/* Texts pass through the parser's buffers, secrets among them. What its strings left on the heap while they grew is beyond
 * our reach: docs/security.md advises psk_file. */
static void parser_end(yaml_parser_t *p)
{
    wipe(p->raw_buffer.start, (size_t)(p->raw_buffer.end - p->raw_buffer.start));
    wipe(p->buffer.start, (size_t)(p->buffer.end - p->buffer.start));
    yaml_parser_delete(p);
}

static void event_end(yaml_event_t *e)
{
    if (e->type == YAML_SCALAR_EVENT)
        wipe(e->data.scalar.value, e->data.scalar.length);
    yaml_event_delete(e);
}

enum rc config_tree_parse(struct span text, struct config_arena *arena, struct tree_node **ret,
                          struct tree_error *ret_err)
{
    struct tree_error err = {.line = 1, .col = 1};
    struct builder b = {.arena = arena, .err = &err};
    yaml_parser_t parser;
    struct span mark =
        span_str("\xef\xbb\xbf"); /* editors of one large maker put it first; libyaml only drops it when it guesses */
    if (text.n >= mark.n && span_equal(span_of(text.p, mark.n), mark))
        text = span_of(text.p + mark.n, text.n - mark.n);
    if (!yaml_parser_initialize(&parser))
        return RC_NOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING); /* otherwise it would guess UTF-16 */
    yaml_parser_set_input_string(&parser, text.n ? text.p : (const uint8_t *)"", text.n);

    enum rc rc = RC_OK;
    for (bool more = true; more && rc == RC_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            rc = refuse_syntax(&b, &parser, text);
            break;
        }
        more = event.type != YAML_STREAM_END_EVENT;
        rc = take(&b, &event);
        event_end(&event);
    }
    parser_end(&parser);
    if (rc == RC_OK && !b.root) {
        b.root = config_arena_take(arena, sizeof *b.root);
        if (!b.root)
            return RC_NOMEM;
        *b.root = (struct tree_node){.line = 1, .col = 1, .kind = TREE_MAP};
    }
    if (rc == RC_OK)
        *ret = b.root;
    else
        *ret_err = err;
    return rc;
}

const struct tree_node *config_tree_find(const struct tree_node *map, const char *key)
{
    if (!map || map->kind != TREE_MAP)
        return NULL;
    for (const struct tree_node *k = map->first; k && k->next; k = k->next->next)
        if (k->kind == TREE_SCALAR && span_equal(k->text, span_str(key)))
            return k->next;
    return NULL;
}
