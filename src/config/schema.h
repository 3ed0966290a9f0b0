/* schema: the field lists of config.h as tables, and what a type is. Everything that walks fields (load, dump, compare,
 * reference) walks these. */
#ifndef ADIT_CONFIG_SCHEMA_H
#define ADIT_CONFIG_SCHEMA_H

#include "adit/config.h"

#define CONFIG_SECTIONS(X)                                                         \
    X(TOP, top, config, "top level")                                               \
    X(NODE, node, config_node, "node")                                             \
    X(OUTER, outer, config_outer, "outer")                                         \
    X(IKE, ike, config_ike, "ike")                                                 \
    X(IKE_PROPOSAL, ike_proposal, config_ike_proposal, "ike.proposal")             \
    X(CHILD_PROPOSAL, child_proposal, config_child_proposal, "ike.child_proposal") \
    X(FLEET, fleet, config_fleet, "fleet")                                         \
    X(ETCD, etcd, config_etcd, "fleet.etcd")                                       \
    X(KEK, kek, config_kek, "fleet.kek")                                           \
    X(MEMBER, member, config_member, "fleet.nodes")                                \
    X(CONTROL, control, config_control, "control")                                 \
    X(METRICS, metrics, config_metrics, "metrics")                                 \
    X(LOG, log, config_log, "log")                                                 \
    X(ACCOUNT, account, config_account, "account")                                 \
    X(TUNNEL, tunnel, config_tunnel, "tunnel")                                     \
    X(TUNNEL_OUTER, tunnel_outer, config_tunnel_outer, "tunnel.outer")             \
    X(TUNNEL_IKE, tunnel_ike, config_tunnel_ike, "tunnel.ike")                     \
    X(TUNNEL_ESP, tunnel_esp, config_tunnel_esp, "tunnel.esp")                     \
    X(HEALTH, health, config_health, "tunnel.health_check")                        \
    X(PSK, psk, config_psk, "tunnel.psk")                                          \
    X(ROUTE, route, config_route, "route")
enum section_id {
#define X(id, name, tag, title) SECTION_##id,
    CONFIG_SECTIONS(X)
#undef X
        SECTION_END
};

enum config_status { CONFIG_STATUS_ACTIVE, CONFIG_STATUS_LATER };

/* Scalars first, then lists of scalars, then sections, then rows. (The formatter would never come to rest here.) */
/* clang-format off */
#define CONFIG_TYPES(X)                                                                            \
    X(BOOL) X(UINT) X(DSCP) X(DURATION) X(TIME) X(NAME) X(TEXT) X(PATH) X(DEVICE) X(DOMAIN)        \
    X(IDENTITY) X(SECRET) X(ADDR) X(INTERFACE) X(NETWORK) X(LISTEN) X(PQ) X(DF) X(ECN)             \
    X(TUNNEL_TYPE) X(OUTER_MODE) X(LOG_LEVEL) X(LOG_FORMAT) X(STORE) X(REPLAY_MODE) X(DIRECTION)   \
    X(PROBE) X(RATE) X(ADDRS) X(NETWORKS) X(URLS) X(IKE_ENCR) X(IKE_INTEG) X(IKE_PRF) X(ESP_ENCR)  \
    X(ESP_INTEG) X(KE) X(ADDKE) X(NODE) X(OUTER) X(IKE) X(IKE_PROPOSAL) X(CHILD_PROPOSAL) X(FLEET) \
    X(ETCD) X(CONTROL) X(METRICS) X(LOG) X(TUNNEL_OUTER) X(TUNNEL_IKE) X(TUNNEL_ESP) X(HEALTH)     \
    X(KEKS) X(MEMBERS) X(PSKS) X(TUNNELS) X(ROUTES) X(ACCOUNTS)
/* clang-format on */
enum type_id {
#define X(id) TYPE_##id,
    CONFIG_TYPES(X)
#undef X
        TYPE_END
};

struct field {
    const char *keyword;
    size_t offset;
    int64_t least, most;
    const char *fallback; /* NULL, CONFIG_REQUIRED, or YAML text */
    const char *help;
    enum type_id type;
    enum config_status status;
};
struct section {
    enum section_id id;
    const char *title; /* where it stands: "ike.proposal"; for rows what one row is: "tunnel" */
    const char *label; /* rows: keyword whose value names a row in messages; NULL: rows are numbered by their line */
    const struct field *fields;
    size_t n_fields, size;
};
extern const struct section config_sections[SECTION_END];

/* A word of the file for an enumeration: its index is the value; for algorithms also the IANA number and key length. */
struct word {
    const char *text;
    uint16_t number, bits;
};

enum shape { SHAPE_SCALAR, SHAPE_LIST, SHAPE_SECTION, SHAPE_ROWS };
struct loader;
struct type {
    enum shape shape;
    const char *about; /* for the reference and for "expected ..." */
    size_t size;
    const struct word *words; /* SCALAR or LIST over words; n_words of them */
    size_t n_words;
    enum section_id section; /* SECTION, ROWS */
    uint32_t total_max;      /* ROWS: of all rows in the file together; 0: no such limit */
    /* SCALAR, and one element of a LIST: text -> *ret, or NULL on success, else why it was refused. */
    const char *(*read)(const struct field *f, const char *text, struct loader *l, void *ret);
    void (*print)(const void *value, char *ret, size_t n); /* as YAML */
    size_t element;                                        /* LIST: size of one element; 0: struct config_choices */
};
extern const struct type config_types[TYPE_END];

static inline void *field_in(const struct field *f, void *row)
{
    return (char *)row + f->offset;
}
static inline const void *field_of(const struct field *f, const void *row)
{
    return (const char *)row + f->offset;
}

/* Lists and rows are all {pointer, count}: generic code sees them as this, by copy. */
struct sequence {
    void *v;
    size_t n;
};
static inline struct sequence sequence_get(const void *list)
{
    struct sequence s;
    memcpy(&s, list, sizeof s); /* lint: not wire bytes: one of our own {pointer, count} pairs */
    return s;
}
static inline void sequence_set(void *list, struct sequence s)
{
    memcpy(list, &s, sizeof s); /* lint: not wire bytes: one of our own {pointer, count} pairs */
}

/* A value of its own, from the file or by default: what dump prints and compare compares. */
bool config_field_present(const struct section *s, size_t i, const void *row);
/* Bits of the fields whose values differ. */
uint64_t config_row_compare(const struct section *s, const void *a, const void *b);

#endif
