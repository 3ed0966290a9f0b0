/* identity: by which identification payloads (RFC 7296 3.5) a customer may name a tunnel, and how we name ourselves. */
#include <stdio.h>

#include "loader.h"

static void set_text(struct identity *id, enum id_type type, const char *text)
{
    *id = (struct identity){.type = (uint8_t)type};
    for (; text[id->n] && id->n < IDENTITY_MAX; id->n++)
        id->data[id->n] = (uint8_t)text[id->n];
}

static void set_addr(struct identity *id, const struct addr *a)
{
    *id = (struct identity){.type = a->family == 4 ? ID_IPV4_ADDR : ID_IPV6_ADDR, .n = (uint16_t)addr_size(a)};
    for (uint16_t i = 0; i < id->n; i++)
        id->data[i] = a->b[i];
}

bool config_identity_parse(const char *text, struct identity *ret)
{
    struct addr a;
    if (addr_parse(text, &a) == RC_OK)
        set_addr(ret, &a);
    else
        set_text(ret, strchr(text, '@') ? ID_RFC822_ADDR : ID_FQDN, text);
    return ret->n > 0;
}

/* ike.identity, else the address to which the customer sends. */
void config_local_identity(const struct config *c, const struct config_tunnel *t, struct identity *ret)
{
    if (c->ike.identity)
        config_identity_parse(c->ike.identity, ret);
    else
        set_addr(ret, &t->endpoint);
}

uint8_t config_identities(const struct config *c, const struct config_tunnel *t, struct identity ret[TUNNEL_IDENTITIES])
{
    const char *id = t->id ? t->id : t->name, *account = t->account->id, *domain = c->ike.identity_domain;
    char text[IDENTITY_MAX];
    uint8_t n = 0;
    if (id && account && domain) {
        snprintf(text, sizeof text, "ipsec@%s.%s.%s", id, account, domain);
        set_text(&ret[n++], ID_RFC822_ADDR, text);
        set_text(&ret[n++], ID_FQDN, text + strlen("ipsec@"));
    }
    if (id && account) {
        snprintf(text, sizeof text, "%s_%s", account, id);
        set_text(&ret[n++], ID_KEY_ID, text);
    }
    if (t->fqdn)
        set_text(&ret[n++], ID_FQDN, t->fqdn);
    if (t->address_identity)
        set_addr(&ret[n++], &t->customer_endpoint);
    return n;
}

const char *config_identity_text(const struct identity *id, char ret[QUOTE_TEXT])
{
    char text[ADDR_TEXT];
    struct addr a;
    switch ((enum id_type)id->type) {
    case ID_IPV4_ADDR:
    case ID_IPV6_ADDR:
        a = addr_of(id->type == ID_IPV4_ADDR ? 4 : 6, id->data);
        return config_quote(span_str(addr_text(&a, text)), ret);
    case ID_FQDN:
    case ID_RFC822_ADDR:
    case ID_KEY_ID: break;
    }
    return config_quote(span_of(id->data, id->n), ret);
}
