/* tree: YAML text as a tree of nodes that know their place. What a configuration does not need is refused: anchors and
 * aliases (a few lines of them can stand for gigabytes), tags, more than one document, deep nesting. */
#ifndef ADIT_CONFIG_TREE_H
#define ADIT_CONFIG_TREE_H

#include "arena.h"

enum tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAP };

struct tree_node {
    uint32_t line, col; /* from 1 */
    enum tree_kind kind;
    bool quoted;             /* scalar */
    uint32_t n;              /* list: elements; map: pairs */
    struct span text;        /* scalar; a NUL follows it and none is inside */
    struct tree_node *first; /* list: elements; map: key, value, key, value ... */
    struct tree_node *next;  /* sibling */
};

struct tree_error {
    uint32_t line, col;
    char text[200];
};
/* RC_SYNTAX with *ret_err; RC_NOMEM. An empty file gives an empty map. */
enum rc config_tree_parse(struct span text, struct config_arena *arena, struct tree_node **ret,
                          struct tree_error *ret_err) ADIT_MUST_USE;
const struct tree_node *config_tree_find(const struct tree_node *map, const char *key); /* the value, or NULL */

#endif
