/* check_shared: what no two rows may have in common. Each rule is one table of keys; none compares all with all. */
#include <stdlib.h>

#include "index.h"
#include "loader.h"

static const char *label(const struct config_tunnel *t)
{
    return t->name ? t->name : "?";
}

static const char *netns(const struct config_account *a)
{
    return a->netns ? a->netns : "";
}

/* ---- names within an account */

static void check_names(struct loader *l, const struct config_account *a)
{
    struct config_index names = {.arena = l->scratch}, ids = names;
    CONFIG_EACH(struct config_tunnel, t, a->tunnels)
    {
        struct config_tunnel *other = t->name ? config_index_put(&names, t, "%s", t->name) : NULL;
        if (other)
            config_error(l, &t->row, "name",
                         "tunnel %s: this name is also that of line %u in the same account; rename one", t->name,
                         other->row.line);
        if (t->type == TUNNEL_IPSEC && (t->id || t->name) &&
            (other = config_index_put(&ids, t, "%s", t->id ? t->id : t->name)) && other->id)
            config_error(
                l, &t->row, "id",
                "tunnel %s: id %s is also that of tunnel %s (line %u): the customer's identity would name both; give "
                "it another",
                label(t), t->id ? t->id : t->name, label(other), other->row.line);
    }
    config_index_free(&names);
    config_index_free(&ids);
}

/* ---- how packets and peers find their tunnel */

/* A GRE packet finds its tunnel by source, destination and key. */
static void check_gre(struct loader *l, struct config_index *pairs, struct config_tunnel *t)
{
    char ours[ADDR_TEXT], theirs[ADDR_TEXT];
    bool key = t->row.set & CONFIG_BIT(CONFIG_TUNNEL_key);
    if (t->type != TUNNEL_GRE || !t->endpoint.family || !t->customer_endpoint.family)
        return;
    addr_text(&t->endpoint, ours);
    addr_text(&t->customer_endpoint, theirs);
    struct config_tunnel *other = config_index_put(pairs, t, key ? "%s %s %u" : "%s %s", ours, theirs, t->key);
    if (other)
        config_error(
            l, &t->row, "customer_endpoint",
            "tunnel %s: endpoint %s, customer_endpoint %s%s are also those of tunnel %s (line %u): a packet could not "
            "be told apart; give one a key of its own",
            label(t), ours, theirs, key ? " and key" : "", label(other), other->row.line);
}

/* A peer finds its tunnel by (identity, our address), RFC 7296 3.5. */
static void check_identities(struct loader *l, const struct config *c, struct config_index *seen,
                             struct config_tunnel *t)
{
    struct identity ids[TUNNEL_IDENTITIES], local;
    char ours[ADDR_TEXT], text[QUOTE_TEXT];
    if (t->type != TUNNEL_IPSEC || !t->endpoint.family)
        return;
    uint8_t n = config_identities(c, t, ids);
    addr_text(&t->endpoint, ours);
    config_local_identity(c, t, &local);
    for (uint8_t i = 0; i < n; i++) {
        struct span id = span_of(ids[i].data, ids[i].n);
        const char *keyword = ids[i].type == ID_FQDN && t->fqdn && span_equal(id, span_str(t->fqdn)) ? "fqdn" : "id";
        config_identity_text(&ids[i], text);
        if (ids[i].type == local.type && span_equal(id, span_of(local.data, local.n)))
            config_error(
                l, &t->row, keyword,
                "tunnel %s: identity %s is our own (ike.identity): a peer could reflect our proof at us; use another",
                label(t), text);
        /* Of an address the text is all of it, but a long name is cut there. */
        bool address = ids[i].type == ID_IPV4_ADDR || ids[i].type == ID_IPV6_ADDR;
        struct config_tunnel *other =
            address ? config_index_put(seen, t, "%s %u %s", ours, ids[i].type, text)
                    : config_index_put(seen, t, "%s %u %.*s", ours, ids[i].type, (int)id.n, (const char *)id.p);
        if (other && other != t)
            config_error(
                l, &t->row, keyword,
                "tunnel %s: identity %s at endpoint %s is also that of tunnel %s (line %u): a peer could not be told "
                "apart; give it another id or fqdn",
                label(t), text, ours, label(other), other->row.line);
    }
}

/* Who holds a key can claim every identity that shares it. One fqdn at two endpoints is one peer, and may have one key. */
static void check_psks(struct loader *l, struct config_index *seen, struct config_tunnel *t)
{
    for (size_t i = 0; i < t->psk.n; i++) {
        const struct span *value = &t->psk.v[i].value;
        struct config_tunnel *other = value->n ? config_index_put_bytes(seen, t, *value) : NULL;
        const char *keyword = t->psk_file ? "psk_file" : "psk";
        if (!other || other == t || (t->fqdn && other->fqdn && strcmp(t->fqdn, other->fqdn) == 0))
            continue;
        if (other->account != t->account)
            config_error(
                l, &t->row, keyword,
                "tunnel %s: its psk is also that of tunnel %s (line %u) of another account: each customer could come "
                "in as the other; give each its own",
                label(t), label(other), other->row.line);
        else
            config_warn(
                l, &t->row, keyword,
                "tunnel %s: its psk is also that of tunnel %s (line %u): who holds one can come in as the other; give "
                "each its own",
                label(t), label(other), other->row.line);
    }
}

/* ---- inner addresses within a namespace */

struct subnet {
    const struct config_tunnel *t;
    struct prefix network;
    const char *keyword;
};

static int by_place(const void *pa, const void *pb)
{
    const struct subnet *a = pa, *b = pb;
    int order = strcmp(netns(a->t->account), netns(b->t->account));
    if (!order)
        order = addr_compare(&a->network.addr, &b->network.addr);
    if (!order)
        order = (int)a->network.len - (int)b->network.len;
    return order ? order : (a->t > b->t) - (a->t < b->t);
}

static void add_subnet(struct subnet *v, size_t *n, const struct config_tunnel *t, const struct prefix *p,
                       const char *keyword)
{
    if (p->addr.family)
        v[(*n)++] = (struct subnet){.t = t, .network = prefix_network(*p), .keyword = keyword};
}

/* Sorted by address, a subnet can only overlap one that begins before it and has not ended. */
static void check_subnets(struct loader *l, struct config *c)
{
    struct subnet *v = config_arena_take(l->scratch, 2 * c->n_tunnels * sizeof *v + 1);
    size_t n = 0, open = 0;
    if (!v)
        return;
    CONFIG_EACH_TUNNEL(c, a, t)
    {
        add_subnet(v, &n, t, &t->interface_address, "interface_address");
        add_subnet(v, &n, t, &t->interface_address6, "interface_address6");
    }
    if (n)
        qsort(v, n, sizeof *v, by_place);
    for (size_t i = 1; i < n; i++) {
        const struct subnet *first = &v[open], *second = &v[i];
        if (strcmp(netns(first->t->account), netns(second->t->account)) != 0 ||
            !prefix_overlaps(&first->network, &second->network)) {
            open = i;
            continue;
        }
        if (first->t->row.line > second->t->row.line) { /* blame the later row */
            second = first;
            first = &v[i];
        }
        char one[PREFIX_TEXT], two[PREFIX_TEXT];
        config_error(l, &second->t->row, second->keyword,
                     "tunnel %s: %s %s overlaps %s of tunnel %s (line %u) in the same namespace; choose another subnet",
                     label(second->t), second->keyword, prefix_text(&second->network, one),
                     prefix_text(&first->network, two), label(first->t), first->t->row.line);
    }
}

static void check_routes(struct loader *l, struct config *c)
{
    struct config_index seen = {.arena = l->scratch}, kernel = seen;
    CONFIG_EACH_ROUTE(c, a, r)
    {
        char text[PREFIX_TEXT];
        if (!r->prefix.addr.family || !r->tunnel)
            continue;
        prefix_text(&r->prefix, text);
        struct config_route *other =
            config_index_put(&seen, r, "%zu %s %s", (size_t)(a - c->accounts.v), text, r->tunnel);
        if (other)
            config_error(l, &r->row, "prefix", "route %s: also in line %u with the same tunnel; remove one", text,
                         other->row.line);
        struct config_account *holder = config_index_put(&kernel, a, "%s %s", netns(a), text);
        if (holder && holder != a)
            config_error(
                l, &r->row, "prefix",
                "route %s: account %s routes it in the same namespace: one of the two would get no packet; give each "
                "account a netns",
                text, holder->id ? holder->id : "?");
    }
    config_index_free(&seen);
    config_index_free(&kernel);
}

void config_check_shared(struct loader *l, struct config *c)
{
    struct config_index pairs = {.arena = l->scratch}, identities = pairs, psks = pairs;
    CONFIG_EACH(struct config_account, a, c->accounts)
    check_names(l, a);
    CONFIG_EACH_TUNNEL(c, a, t)
    {
        check_gre(l, &pairs, t);
        check_identities(l, c, &identities, t);
        check_psks(l, &psks, t);
    }
    check_subnets(l, c);
    check_routes(l, c);
    config_index_free(&pairs);
    config_index_free(&identities);
    config_index_free(&psks);
}
