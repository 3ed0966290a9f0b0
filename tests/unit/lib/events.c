/* See events.h. */
#include "events.h"

#include <stdio.h>
#include <stdlib.h>

bool events_open(struct events *e, const char *path, const char **ret_error)
{
    static char text[JSON_ERROR_TEXT_LENGTH + 32];
    json_error_t error;
    memset(e, 0, sizeof *e);
    e->root = json_load_file(path, 0, &error);
    e->list = json_object_get(e->root, "events");
    if (!e->root || !json_is_array(e->list) || json_array_size(e->list) > ARRAY_LEN(e->used)) {
        snprintf(text, sizeof text, "%s (line %d)", e->root ? "no list \"events\" of a sane size" : error.text,
                 error.line);
        *ret_error = text;
        events_close(e);
        return false;
    }
    return true;
}

void events_close(struct events *e)
{
    json_decref(e->root);
    e->root = e->list = NULL;
}

const char *events_string(const struct events *e, const char *name)
{
    return json_string_value(json_object_get(e->root, name));
}

static const char *label_at(const struct events *e, size_t i)
{
    const char *s = json_string_value(json_object_get(json_array_get(e->list, i), "label"));
    return s ? s : "";
}

bool events_take(struct events *e, const char *label, struct span *ret)
{
    for (size_t i = 0; i < json_array_size(e->list); i++) {
        if (e->used[i] || strcmp(label_at(e, i), label) != 0)
            continue;
        const char *hex = json_string_value(json_object_get(json_array_get(e->list, i), "hex"));
        e->used[i] = true;
        *ret = hex ? pool_hex(&e->pool, hex, strlen(hex)) : span_of(NULL, 0);
        return true;
    }
    return false;
}

bool events_has(const struct events *e, const char *label)
{
    for (size_t i = 0; i < json_array_size(e->list); i++)
        if (strcmp(label_at(e, i), label) == 0)
            return true;
    return false;
}

const char *events_left(const struct events *e, const char *label_prefix)
{
    for (size_t i = 0; i < json_array_size(e->list); i++)
        if (!e->used[i] && strncmp(label_at(e, i), label_prefix, strlen(label_prefix)) == 0)
            return label_at(e, i);
    return NULL;
}

const char *events_message(struct events *e, uint8_t exchange, bool response, uint32_t mid)
{
    char want[96];
    snprintf(want, sizeof want, " %s %s %u [", ike_exchange_name(exchange), response ? "response" : "request", mid);
    for (size_t i = 0; i < json_array_size(e->list); i++) {
        const char *label = label_at(e, i), *at = strstr(label, want);
        if (e->used[i] || strncmp(label, "MSG ", 4) != 0 || !at)
            continue;
        e->used[i] = true;
        return at + strlen(want);
    }
    return NULL;
}

/* strongSwan's short names. */
static const struct {
    const char *name;
    uint8_t type;
} payload_names[] = {
    {"SA", PAYLOAD_SA},     {"KE", PAYLOAD_KE},           {"IDi", PAYLOAD_IDI},   {"IDr", PAYLOAD_IDR},
    {"CERT", PAYLOAD_CERT}, {"CERTREQ", PAYLOAD_CERTREQ}, {"AUTH", PAYLOAD_AUTH}, {"No", PAYLOAD_NONCE},
    {"D", PAYLOAD_DELETE},  {"V", PAYLOAD_VENDOR},        {"TSi", PAYLOAD_TSI},   {"TSr", PAYLOAD_TSR},
    {"CP", PAYLOAD_CP},     {"EAP", PAYLOAD_EAP},
};
static const struct {
    const char *name;
    uint16_t type;
} notify_names[] = {
    {"N(NO_PROP)", N_NO_PROPOSAL_CHOSEN},
    {"N(INVAL_KE)", N_INVALID_KE_PAYLOAD},
    {"N(AUTH_FAILED)", N_AUTHENTICATION_FAILED},
    {"N(TS_UNACCEPT)", N_TS_UNACCEPTABLE},
    {"N(INVAL_SYN)", N_INVALID_SYNTAX},
    {"N(TEMP_FAIL)", N_TEMPORARY_FAILURE},
    {"N(NO_CHILD_SA)", N_CHILD_SA_NOT_FOUND},
    {"N(INIT_CONTACT)", N_INITIAL_CONTACT},
    {"N(NATD_S_IP)", N_NAT_DETECTION_SOURCE_IP},
    {"N(NATD_D_IP)", N_NAT_DETECTION_DESTINATION_IP},
    {"N(COOKIE)", N_COOKIE},
    {"N(USE_TRANSP)", N_USE_TRANSPORT_MODE},
    {"N(REKEY_SA)", N_REKEY_SA},
    {"N(ESP_TFC_PAD_N)", N_ESP_TFC_PADDING_NOT_SUPPORTED},
    {"N(CHDLESS_SUP)", N_CHILDLESS_IKEV2_SUPPORTED},
    {"N(FRAG_SUP)", N_IKEV2_FRAGMENTATION_SUPPORTED},
    {"N(IKE_INT_SUP)", N_INTERMEDIATE_EXCHANGE_SUPPORTED},
    {"N(ADD_KE)", N_ADDITIONAL_KEY_EXCHANGE},
};

/* A payload as a number: its type, and for a Notify with a name known above its kind. */
static unsigned payload_code(const struct ike_payload *p)
{
    struct ike_notify n;
    if (p->type != PAYLOAD_NOTIFY || ike_notify_read(p->body, &n) != RC_OK)
        return p->type;
    for (size_t i = 0; i < ARRAY_LEN(notify_names); i++)
        if (notify_names[i].type == n.type)
            return (unsigned)n.type << 8 | PAYLOAD_NOTIFY;
    return PAYLOAD_NOTIFY;
}

static unsigned name_code(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(payload_names); i++)
        if (strlen(payload_names[i].name) == n && strncmp(payload_names[i].name, name, n) == 0)
            return payload_names[i].type;
    for (size_t i = 0; i < ARRAY_LEN(notify_names); i++)
        if (strlen(notify_names[i].name) == n && strncmp(notify_names[i].name, name, n) == 0)
            return (unsigned)notify_names[i].type << 8 | PAYLOAD_NOTIFY;
    return n > 2 && name[0] == 'N' && name[1] == '(' ? PAYLOAD_NOTIFY : 0;
}

bool events_payloads_match(const char *names, const struct ike_chain *chain)
{
    bool seen[IKE_PAYLOADS_MAX] = {false};
    size_t count = 0;
    for (names += strspn(names, " "); *names && *names != ']'; names += strspn(names, " ")) {
        size_t n = strcspn(names, " "), i = 0;
        while (i < chain->n && (seen[i] || payload_code(&chain->v[i]) != name_code(names, n)))
            i++;
        if (i == chain->n)
            return false;
        seen[i] = true;
        count++;
        names += n;
    }
    return count == chain->n;
}
