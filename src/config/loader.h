/* loader: what the steps of one load share. */
#ifndef ADIT_CONFIG_LOADER_H
#define ADIT_CONFIG_LOADER_H

#include "arena.h"
#include "report.h"
#include "schema.h"
#include "tree.h"

struct loader {
    const struct config_reader *reader;
    const char *path;   /* of the configuration file */
    uint32_t mode, uid; /* of it */
    struct config_report *report;
    struct config_arena *arena;   /* becomes the configuration's */
    struct config_arena *scratch; /* the tree and all that ends with the load */
    void *defaults[SECTION_END];  /* a row of each section with every default in it, made once */
    uint32_t n_rows[SECTION_END];
    const struct tree_node *inline_secret; /* the first secret in the file itself */
};

/* Why a value is refused, in the scratch arena; never NULL. */
const char *config_why(struct loader *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A message at the value of `keyword` in the row; at the row's own place when keyword is NULL or not in the file. */
#define config_error(l, row, keyword, ...) config_say((l), CONFIG_ERROR, (row), (keyword), __VA_ARGS__)
#define config_warn(l, row, keyword, ...) config_say((l), CONFIG_WARNING, (row), (keyword), __VA_ARGS__)
void config_say(struct loader *l, enum config_level level, const struct config_row *row, const char *keyword,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

/* rows.c: the tree into rows. */
enum rc config_rows_read(struct loader *l, const struct tree_node *root, struct config *ret) ADIT_MUST_USE;
void config_notes_add(struct loader *l, const struct config *c); /* what is accepted but not active yet */

/* secret.c */
void config_secrets_read(struct loader *l, struct config *c); /* files of secrets into the rows; who may read them */
struct psk_strength {
    unsigned length; /* characters; of 0x...: octets */
    unsigned bits;   /* an upper estimate of what a guesser has to try */
};
struct psk_strength config_psk_strength(struct span text, bool hex);

/* derive.c: what follows from several rows. */
void config_link(struct loader *l, struct config *c); /* before the checks: rows know their account, names are sorted */
void config_derive(struct loader *l,
                   struct config *c); /* sources, address identities, defaults that depend on others */

/* check_*.c: messages, nothing else. */
void config_check_server(struct loader *l, struct config *c);
void config_check_accounts(struct loader *l, struct config *c);
void config_check_tunnels(struct loader *l, struct config *c);
void config_check_shared(struct loader *l, struct config *c); /* what no two rows may share */
void config_check_loops(struct loader *l, struct config *c);

/* identity.c */
bool config_identity_parse(const char *text, struct identity *ret);
uint8_t config_identities(const struct config *c, const struct config_tunnel *t,
                          struct identity ret[TUNNEL_IDENTITIES]);
const char *config_identity_text(const struct identity *id, char ret[QUOTE_TEXT]);
void config_local_identity(const struct config *c, const struct config_tunnel *t, struct identity *ret);

/* Walk a list. An empty one has no array, and to a null pointer nothing may be added (C11 6.5.6). */
#define CONFIG_EACH(type, e, list) for (type *e = (list).v; (e) && (e) < (list).v + (list).n; (e)++)
/* All tunnels, all routes, in the order of the file. */
#define CONFIG_EACH_TUNNEL(c, a, t)                      \
    CONFIG_EACH(struct config_account, a, (c)->accounts) \
    CONFIG_EACH(struct config_tunnel, t, (a)->tunnels)
#define CONFIG_EACH_ROUTE(c, a, r)                       \
    CONFIG_EACH(struct config_account, a, (c)->accounts) \
    CONFIG_EACH(struct config_route, r, (a)->routes)

/* In the file and well read. */
static inline bool config_good(const struct config_row *row, unsigned field)
{
    return (row->set & ~row->bad) & CONFIG_BIT(field);
}

#endif
