/* schema: the tables. */
#include "schema.h"

#include "value.h"

/* ---- words */

static const struct word pq_words[] = {{"require"}, {"prefer"}, {"off"}};
static const struct word df_words[] = {{"copy"}, {"set"}, {"clear"}};
static const struct word ecn_words[] = {{"normal"}, {"compat"}};
static const struct word tunnel_type_words[] = {{"gre"}, {"ipsec"}};
static const struct word outer_mode_words[] = {{"raw"}, {"packet"}};
static const struct word log_level_words[] = {{"error"}, {"warn"}, {"info"}, {"debug"}};
static const struct word log_format_words[] = {{"text"}, {"json"}};
static const struct word store_words[] = {{"none"}, {"dir"}, {"etcd"}};
static const struct word replay_mode_words[] = {{"off"}, {"single-egress"}};
static const struct word direction_words[] = {{"unidirectional"}, {"bidirectional"}};
static const struct word probe_words[] = {{"reply"}, {"request"}};
static const struct word rate_words[] = {{"low"}, {"mid"}, {"high"}};

/* Transform IDs of the IANA registry "IKEv2 Parameters": encryption (RFC 3602, 4106), PRF and integrity (RFC 2404, 4868), key
 * exchange methods (RFC 2409, 3526, 5903; ML-KEM 36 and 37). A unit test holds them against the crypto room's numbers. */
static const struct word ike_encr_words[] = {{"aes256gcm16", 20, 256}, {"aes128gcm16", 20, 128}, {"aes256", 12, 256}};
static const struct word esp_encr_words[] = {
    {"aes256gcm16", 20, 256}, {"aes128gcm16", 20, 128}, {"aes256", 12, 256}, {"aes128", 12, 128}};
static const struct word ike_integ_words[] = {{"sha256", 12}, {"sha384", 13}, {"sha512", 14}};
static const struct word esp_integ_words[] = {{"sha256", 12}, {"sha1", 2}, {"sha384", 13}, {"sha512", 14}};
static const struct word prf_words[] = {{"sha256", 5}, {"sha384", 6}, {"sha512", 7}};
static const struct word ke_words[] = {{"ecp384", 20},   {"modp2048", 14}, {"modp1536", 5},
                                       {"modp3072", 15}, {"modp4096", 16}, {"ecp256", 19}};
static const struct word addke_words[] = {{"mlkem768", 36}, {"mlkem1024", 37}};

/* ---- types */

#define SCALAR(id, words_of, reader, printer) \
    [TYPE_##id] = {                           \
        .shape = SHAPE_SCALAR, .about = words_of, .size = sizeof(CONFIG_C_##id), .read = reader, .print = printer}
#define WORDS(id, table) \
    [TYPE_##id] = {.shape = SHAPE_SCALAR, .size = sizeof(CONFIG_C_##id), .words = table, .n_words = ARRAY_LEN(table)}
#define LIST(id, words_of, one, reader, printer)  \
    [TYPE_##id] = {.shape = SHAPE_LIST,           \
                   .about = words_of,             \
                   .size = sizeof(CONFIG_C_##id), \
                   .element = sizeof(one),        \
                   .read = reader,                \
                   .print = printer}
#define CHOICES(id, table) \
    [TYPE_##id] = {.shape = SHAPE_LIST, .size = sizeof(CONFIG_C_##id), .words = table, .n_words = ARRAY_LEN(table)}
#define SECTION(id) \
    [TYPE_##id] = {.shape = SHAPE_SECTION, .about = "map", .size = sizeof(CONFIG_C_##id), .section = SECTION_##id}
#define ROWS(id, of, most)                        \
    [TYPE_##id] = {.shape = SHAPE_ROWS,           \
                   .about = "list of maps",       \
                   .size = sizeof(CONFIG_C_##id), \
                   .section = SECTION_##of,       \
                   .total_max = most}

const struct type config_types[TYPE_END] = {
    SCALAR(BOOL, "true or false", config_read_bool, config_print_bool),
    SCALAR(UINT, "number", config_read_uint, config_print_uint),
    SCALAR(DSCP, "copy, or 0 to 63", config_read_dscp, config_print_dscp),
    SCALAR(DURATION, "duration", config_read_duration, config_print_duration),
    SCALAR(TIME, "UTC date or time", config_read_time, config_print_time),
    SCALAR(NAME, "name", config_read_name, config_print_text),
    SCALAR(TEXT, "text", config_read_text, config_print_text),
    SCALAR(PATH, "path", config_read_text, config_print_text),
    SCALAR(DEVICE, "device name", config_read_device, config_print_text),
    SCALAR(DOMAIN, "domain name", config_read_domain, config_print_text),
    SCALAR(IDENTITY, "address, domain name or user@domain", config_read_identity, config_print_text),
    SCALAR(SECRET, "secret", config_read_secret, config_print_secret),
    SCALAR(ADDR, "address", config_read_addr, config_print_addr),
    SCALAR(INTERFACE, "address/length", config_read_interface, config_print_prefix),
    SCALAR(NETWORK, "prefix", config_read_network, config_print_prefix),
    SCALAR(LISTEN, "address:port", config_read_listen, config_print_listen),
    WORDS(PQ, pq_words),
    WORDS(DF, df_words),
    WORDS(ECN, ecn_words),
    WORDS(TUNNEL_TYPE, tunnel_type_words),
    WORDS(OUTER_MODE, outer_mode_words),
    WORDS(LOG_LEVEL, log_level_words),
    WORDS(LOG_FORMAT, log_format_words),
    WORDS(STORE, store_words),
    WORDS(REPLAY_MODE, replay_mode_words),
    WORDS(DIRECTION, direction_words),
    WORDS(PROBE, probe_words),
    WORDS(RATE, rate_words),
    LIST(ADDRS, "list of addresses", struct addr, config_read_addr, config_print_addr),
    LIST(NETWORKS, "list of prefixes", struct prefix, config_read_network, config_print_prefix),
    LIST(URLS, "list of URLs", const char *, config_read_url, config_print_text),
    CHOICES(IKE_ENCR, ike_encr_words),
    CHOICES(IKE_INTEG, ike_integ_words),
    CHOICES(IKE_PRF, prf_words),
    CHOICES(ESP_ENCR, esp_encr_words),
    CHOICES(ESP_INTEG, esp_integ_words),
    CHOICES(KE, ke_words),
    CHOICES(ADDKE, addke_words),
    SECTION(NODE),
    SECTION(OUTER),
    SECTION(IKE),
    SECTION(IKE_PROPOSAL),
    SECTION(CHILD_PROPOSAL),
    SECTION(FLEET),
    SECTION(ETCD),
    SECTION(CONTROL),
    SECTION(METRICS),
    SECTION(LOG),
    SECTION(TUNNEL_OUTER),
    SECTION(TUNNEL_IKE),
    SECTION(TUNNEL_ESP),
    SECTION(HEALTH),
    ROWS(KEKS, KEK, 0),
    ROWS(MEMBERS, MEMBER, 0),
    ROWS(PSKS, PSK, 0),
    ROWS(TUNNELS, TUNNEL, CONFIG_TUNNELS_MAX),
    ROWS(ROUTES, ROUTE, CONFIG_ROUTES_MAX),
    ROWS(ACCOUNTS, ACCOUNT, 0),
};

/* ---- fields */

#define FIELD(tag, member, type_id, lo, hi, fallback_text, status_word, help_text) \
    {.keyword = #member,                                                           \
     .offset = offsetof(struct tag, member),                                       \
     .least = lo,                                                                  \
     .most = hi,                                                                   \
     .fallback = fallback_text,                                                    \
     .help = help_text,                                                            \
     .type = TYPE_##type_id,                                                       \
     .status = CONFIG_STATUS_##status_word},

#define X(m, ...) FIELD(config, m, __VA_ARGS__)
static const struct field top_fields[] = {CONFIG_TOP_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_node, m, __VA_ARGS__)
static const struct field node_fields[] = {CONFIG_NODE_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_outer, m, __VA_ARGS__)
static const struct field outer_fields[] = {CONFIG_OUTER_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_ike, m, __VA_ARGS__)
static const struct field ike_fields[] = {CONFIG_IKE_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_ike_proposal, m, __VA_ARGS__)
static const struct field ike_proposal_fields[] = {CONFIG_IKE_PROPOSAL_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_child_proposal, m, __VA_ARGS__)
static const struct field child_proposal_fields[] = {CONFIG_CHILD_PROPOSAL_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_fleet, m, __VA_ARGS__)
static const struct field fleet_fields[] = {CONFIG_FLEET_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_etcd, m, __VA_ARGS__)
static const struct field etcd_fields[] = {CONFIG_ETCD_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_kek, m, __VA_ARGS__)
static const struct field kek_fields[] = {CONFIG_KEK_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_member, m, __VA_ARGS__)
static const struct field member_fields[] = {CONFIG_MEMBER_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_control, m, __VA_ARGS__)
static const struct field control_fields[] = {CONFIG_CONTROL_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_metrics, m, __VA_ARGS__)
static const struct field metrics_fields[] = {CONFIG_METRICS_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_log, m, __VA_ARGS__)
static const struct field log_fields[] = {CONFIG_LOG_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_account, m, __VA_ARGS__)
static const struct field account_fields[] = {CONFIG_ACCOUNT_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_tunnel, m, __VA_ARGS__)
static const struct field tunnel_fields[] = {CONFIG_TUNNEL_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_tunnel_outer, m, __VA_ARGS__)
static const struct field tunnel_outer_fields[] = {CONFIG_TUNNEL_OUTER_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_tunnel_ike, m, __VA_ARGS__)
static const struct field tunnel_ike_fields[] = {CONFIG_TUNNEL_IKE_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_tunnel_esp, m, __VA_ARGS__)
static const struct field tunnel_esp_fields[] = {CONFIG_TUNNEL_ESP_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_health, m, __VA_ARGS__)
static const struct field health_fields[] = {CONFIG_HEALTH_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_psk, m, __VA_ARGS__)
static const struct field psk_fields[] = {CONFIG_PSK_FIELDS(X)};
#undef X
#define X(m, ...) FIELD(config_route, m, __VA_ARGS__)
static const struct field route_fields[] = {CONFIG_ROUTE_FIELDS(X)};
#undef X

_Static_assert(ARRAY_LEN(tunnel_fields) <= 64 && ARRAY_LEN(ike_fields) <= 64, "row.set has a bit per field");
#define X(id, name, tag, title) \
    _Static_assert(offsetof(struct tag, row) == 0, "generic code finds a row's header at its start");
CONFIG_SECTIONS(X)
#undef X

#define X(section, name, tag, words_of)                                              \
    [SECTION_##section] = {.id = SECTION_##section,                                  \
                           .title = words_of,                                        \
                           .label = SECTION_##section == SECTION_ACCOUNT  ? "id"     \
                                    : SECTION_##section == SECTION_TUNNEL ? "name"   \
                                    : SECTION_##section == SECTION_ROUTE  ? "prefix" \
                                                                          : NULL,     \
                           .fields = name##_fields,                                  \
                           .n_fields = ARRAY_LEN(name##_fields),                     \
                           .size = sizeof(struct tag)},
const struct section config_sections[SECTION_END] = {CONFIG_SECTIONS(X)};
#undef X

/* ---- presence and comparison */

bool config_field_present(const struct section *s, size_t i, const void *row)
{
    const struct field *f = &s->fields[i];
    enum shape shape = config_types[f->type].shape;
    const struct config_row *head = row;
    if (shape == SHAPE_SECTION || f->fallback)
        return true;
    if (shape == SHAPE_ROWS || (shape == SHAPE_LIST && config_types[f->type].element))
        return sequence_get(field_of(f, row)).n > 0;
    return head->set & CONFIG_BIT(i);
}

static bool values_equal(enum type_id type, const void *a, const void *b)
{
    const struct type *t = &config_types[type];
    if (type == TYPE_SECRET) {
        const struct span *x = a, *y = b;
        return span_equal(*x, *y);
    }
    if (t->print == config_print_text) {
        const char *const *x = a, *const *y = b;
        return *x == *y || (*x && *y && strcmp(*x, *y) == 0);
    }
    switch (type) { /* structs: not by memcmp, padding is undefined */
    case TYPE_ADDR: return addr_equal(a, b);
    case TYPE_INTERFACE:
    case TYPE_NETWORK: return prefix_equal(a, b);
    case TYPE_LISTEN: return endpoint_equal(a, b);
    default: return memcmp(a, b, t->size) == 0; /* scalars without padding, and arrays of octets */
    }
}

static bool lists_equal(const struct field *f, const void *a, const void *b)
{
    const struct type *t = &config_types[f->type];
    enum type_id one = f->type == TYPE_ADDRS ? TYPE_ADDR : f->type == TYPE_NETWORKS ? TYPE_NETWORK : TYPE_TEXT;
    if (!t->element) {
        const struct config_choices *x = a, *y = b;
        return x->n == y->n && memcmp(x->v, y->v, x->n) == 0;
    }
    struct sequence x = sequence_get(a), y = sequence_get(b);
    if (x.n != y.n)
        return false;
    for (size_t i = 0; i < x.n; i++)
        if (!values_equal(one, (char *)x.v + i * t->element, (char *)y.v + i * t->element))
            return false;
    return true;
}

static bool rows_equal(const struct section *s, struct sequence a, struct sequence b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (config_row_compare(s, (char *)a.v + i * s->size, (char *)b.v + i * s->size))
            return false;
    return true;
}

/* Recursion ends with the nesting of the sections themselves: three levels. */
uint64_t config_row_compare(const struct section *s, const void *a, const void *b)
{
    uint64_t differ = 0;
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        const struct type *t = &config_types[f->type];
        const void *x = field_of(f, a), *y = field_of(f, b);
        bool equal = config_field_present(s, i, a) == config_field_present(s, i, b);
        switch (t->shape) {
        case SHAPE_SCALAR: equal = equal && values_equal(f->type, x, y); break;
        case SHAPE_LIST: equal = lists_equal(f, x, y); break;
        case SHAPE_SECTION: equal = !config_row_compare(&config_sections[t->section], x, y); break;
        case SHAPE_ROWS: equal = rows_equal(&config_sections[t->section], sequence_get(x), sequence_get(y)); break;
        }
        if (!equal)
            differ |= CONFIG_BIT(i);
    }
    return differ;
}
