/* check_tunnel: accounts, tunnels and routes, each against the server and its own account. */
#include <stdio.h>

#include "index.h"
#include "loader.h"

#define COUNT(member, ...) +1
enum { BOTH_END = 0 CONFIG_TUNNEL_BOTH_FIELDS(COUNT), GRE_END = BOTH_END CONFIG_TUNNEL_GRE_FIELDS(COUNT) };

static const char *label(const struct config_tunnel *t)
{
    return t->name ? t->name : "?";
}

/* ---- accounts */

static void check_netns(struct loader *l, const struct config_account *a)
{
    if (a->netns && (strchr(a->netns, '/') || a->netns[0] == '.' || a->netns[0] == '-'))
        config_error(l, &a->row, "netns",
                     "account %s: netns %s is not a name of a namespace (ip netns list shows them); correct it", a->id,
                     a->netns);
    if (a->create && !a->netns)
        config_error(l, &a->row, "create",
                     "account %s: create without netns: there is nothing to make; add netns or remove it", a->id);
}

void config_check_accounts(struct loader *l, struct config *c)
{
    struct config_index ids = {.arena = l->scratch}, names = ids, devices = ids;
    CONFIG_EACH(struct config_account, a, c->accounts)
    {
        struct config_account *other;
        if (!a->id)
            continue;
        if ((other = config_index_put(&ids, a, "%s", a->id)))
            config_error(l, &a->row, "id", "account %s: this id is also that of line %u; merge the two or correct one",
                         a->id, other->row.line);
        else if ((other = config_index_put(&names, a, "%s", config_account_label(a))))
            config_error(l, &a->row, "name", "account %s: the name %s is also that of account %s (line %u); rename one",
                         a->id, config_account_label(a), other->id, other->row.line);
        check_netns(l, a);
        if (!a->device || (other && strcmp(other->id, a->id) == 0))
            continue;
        other = config_index_put(&devices, a, "%s/%s", a->netns ? a->netns : "", a->device);
        if (other)
            config_error(
                l, &a->row, a->row.set & CONFIG_BIT(CONFIG_ACCOUNT_device) ? "device" : "id",
                "account %s: device %s is also that of account %s (line %u) in the same namespace; give it a device "
                "or a netns of its own",
                a->id, a->device, other->id, other->row.line);
    }
    config_index_free(&ids);
    config_index_free(&names);
    config_index_free(&devices);
}

/* ---- addresses of a tunnel */

static void check_type(struct loader *l, const struct config_tunnel *t)
{
    static const char *const keywords[] = {
#define KEYWORD(member, ...) #member,
        CONFIG_TUNNEL_FIELDS(KEYWORD)
#undef KEYWORD
    };
    bool gre = t->type == TUNNEL_GRE;
    for (unsigned i = BOTH_END; i < CONFIG_TUNNEL_FIELD_END; i++)
        if (t->row.set & CONFIG_BIT(i) && (i < GRE_END) != gre)
            config_error(l, &t->row, keywords[i], "tunnel %s: %s is a key of %s tunnels, and this one is %s; remove it",
                         label(t), keywords[i], gre ? "ipsec" : "gre", gre ? "gre" : "ipsec");
}

static void check_endpoint(struct loader *l, const struct config *c, const struct config_index *own,
                           const struct config_tunnel *t)
{
    char text[ADDR_TEXT];
    if (!t->endpoint.family || !config_good(&c->row, CONFIG_TOP_endpoints))
        return;
    addr_text(&t->endpoint, text);
    const char *what = config_index_get(own, "%s", text);
    if (!what || strcmp(what, "endpoints") != 0)
        config_error(
            l, &t->row, "endpoint",
            "tunnel %s: endpoint %s is not in endpoints: packets to it would never reach this server; add it to "
            "endpoints or correct it",
            label(t), text);
}

static void check_customer(struct loader *l, const struct config_index *own, const struct config_tunnel *t)
{
    char text[ADDR_TEXT];
    const struct addr *a = &t->customer_endpoint;
    if (t->row.bad & CONFIG_BIT(CONFIG_TUNNEL_customer_endpoint))
        return;
    if (!a->family && t->type == TUNNEL_GRE)
        config_error(l, &t->row, NULL,
                     "tunnel %s: customer_endpoint is missing: a gre tunnel is known by its pair of addresses; add it",
                     label(t));
    if (!a->family && t->strict_peer)
        config_error(
            l, &t->row, "strict_peer",
            "tunnel %s: strict_peer without customer_endpoint: there is no address to hold the peer to; add it",
            label(t));
    if (!a->family)
        return;
    addr_text(a, text);
    const char *what = config_index_get(own, "%s", text);
    if (what)
        config_error(
            l, &t->row, "customer_endpoint",
            "tunnel %s: customer_endpoint %s is an address of our own (%s): packets would go in a circle; correct it",
            label(t), text, what);
    else if (addr_is_local_scope(a))
        config_error(
            l, &t->row, "customer_endpoint",
            "tunnel %s: customer_endpoint %s is a loopback, link-local, multicast or broadcast address: no packet "
            "would reach the customer; correct it",
            label(t), text);
    if (t->endpoint.family && t->endpoint.family != a->family)
        config_error(
            l, &t->row, "customer_endpoint",
            "tunnel %s: customer_endpoint %s is IPv%u and endpoint is IPv%u: one outer header carries both; use one "
            "family",
            label(t), text, a->family, t->endpoint.family);
}

/* ---- inner side */

static bool is_unusable(const struct addr *a) /* inner addresses may be link-local (169.254/16 is common on tunnels) */
{
    if (a->family == 4)
        return a->b[0] == 0 || a->b[0] == 127 || a->b[0] >= 224;
    struct addr none = {.family = 6}, loopback = {.family = 6, .b = {[15] = 1}};
    return a->b[0] == 0xff || addr_equal(a, &none) || addr_equal(a, &loopback);
}

static void check_interface(struct loader *l, const struct config_tunnel *t, const char *keyword,
                            const struct prefix *p, bool v6)
{
    char text[PREFIX_TEXT];
    if (!p->addr.family)
        return;
    prefix_text(p, text);
    if ((p->addr.family == 6) != v6) {
        config_error(l, &t->row, keyword, "tunnel %s: %s %s is not IPv%d; write it under %s", label(t), keyword, text,
                     v6 ? 6 : 4, v6 ? "interface_address" : "interface_address6");
        return;
    }
    if (is_unusable(&p->addr))
        config_error(l, &t->row, keyword, "tunnel %s: %s %s is not an address of a host; correct it", label(t), keyword,
                     text);
    else if (v6 ? p->len != 127 : p->len != 31 && p->len != 30)
        config_error(l, &t->row, keyword, "tunnel %s: %s %s has length /%u: a tunnel has two ends; use %s", label(t),
                     keyword, text, p->len, v6 ? "/127 (RFC 6164)" : "/31 (RFC 3021) or /30");
    else if (!v6 && p->len == 30 && ((p->addr.b[3] & 3) == 0 || (p->addr.b[3] & 3) == 3))
        config_error(l, &t->row, keyword, "tunnel %s: %s %s is the %s address of its /30; use one of the two between",
                     label(t), keyword, text, (p->addr.b[3] & 3) ? "broadcast" : "network");
}

static void check_sizes(struct loader *l, const struct config_tunnel *t)
{
    bool mtu = config_good(&t->row, CONFIG_TUNNEL_mtu), mss = config_good(&t->row, CONFIG_TUNNEL_mss);
    if (mtu && t->mtu < 1280 && t->interface_address6.addr.family)
        config_error(l, &t->row, "mtu",
                     "tunnel %s: mtu %u is below 1280, the least IPv6 works with (RFC 8200 5); raise it or "
                     "remove interface_address6",
                     label(t), t->mtu);
    if (mtu && mss && t->mss > t->mtu - 40)
        config_error(l, &t->row, "mss",
                     "tunnel %s: mss %u does not fit into mtu %u: IPv4 and TCP headers take 40; lower it to "
                     "%u or remove it",
                     label(t), t->mss, t->mtu, t->mtu - 40);
    if (t->health_check.enabled && !t->health_check.target.family && !t->interface_address.addr.family &&
        !t->interface_address6.addr.family)
        config_error(l, &t->health_check.row, "enabled",
                     "tunnel %s: health_check has nothing to probe; add target or an interface_address", label(t));
}

/* Both tunnels have one pair of addresses: in transport mode there is no other header that could say the inner one. */
static void check_protected_pair(struct loader *l, const struct config_tunnel *t, const struct config_tunnel *by)
{
    const struct addr *own = &t->customer_endpoint, *outer = &by->customer_endpoint;
    if (t->endpoint.family && by->endpoint.family && !addr_equal(&t->endpoint, &by->endpoint))
        config_error(l, &t->row, "protect", "tunnel %s: protect %s has another endpoint; give both the same", label(t),
                     t->protect);
    if (own->family && outer->family && !addr_equal(own, outer))
        config_error(l, &t->row, "protect",
                     "tunnel %s: protect %s has another customer_endpoint; give both the same, or remove that of the "
                     "ipsec tunnel",
                     label(t), t->protect);
    if (by->carries && by->carries != t && !addr_equal(own, &by->carries->customer_endpoint))
        config_error(l, &t->row, "protect",
                     "tunnel %s: protect %s carries tunnel %s already, to another customer_endpoint; use an ipsec "
                     "tunnel each",
                     label(t), t->protect, label(by->carries));
}

static void check_protect(struct loader *l, const struct config_tunnel *t)
{
    if (!t->protect || t->type != TUNNEL_GRE)
        return;
    const struct config_tunnel *by = config_tunnel_find(t->account, t->protect);
    if (by && by->type == TUNNEL_IPSEC)
        check_protected_pair(l, t, by);
    else
        config_error(l, &t->row, "protect",
                     "tunnel %s: protect %s is not an ipsec tunnel of the same account; correct it", label(t),
                     t->protect);
}

/* What a tunnel takes from the daemon's lists must be in them: else it would accept less than it says, or nothing. */
static void check_choices(struct loader *l, const struct config_tunnel *t, const struct config_row *row,
                          enum type_id type, const char *keyword, const struct config_choices *some,
                          const char *section, const struct config_choices *all)
{
    for (uint8_t i = 0; i < some->n; i++) {
        bool found = false;
        for (uint8_t k = 0; k < all->n; k++)
            found |= all->v[k] == some->v[i];
        if (!found)
            config_error(l, row, keyword,
                         "tunnel %s: %s is not in ike.%s.%s, which a tunnel can only take from; add it there or "
                         "remove it here",
                         label(t), config_types[type].words[some->v[i]].text, section, keyword);
    }
}

static void check_proposals(struct loader *l, const struct config *c, const struct config_tunnel *t)
{
    static const char ike[] = "proposal", esp[] = "child_proposal";
    const struct config_ike_proposal *p = &c->ike.proposal;
    const struct config_child_proposal *q = &c->ike.child_proposal;
    check_choices(l, t, &t->ike.row, TYPE_IKE_ENCR, "encryption", &t->ike.encryption, ike, &p->encryption);
    check_choices(l, t, &t->ike.row, TYPE_IKE_INTEG, "integrity", &t->ike.integrity, ike, &p->integrity);
    check_choices(l, t, &t->ike.row, TYPE_IKE_PRF, "prf", &t->ike.prf, ike, &p->prf);
    check_choices(l, t, &t->ike.row, TYPE_KE, "key_exchange", &t->ike.key_exchange, ike, &p->key_exchange);
    check_choices(l, t, &t->ike.row, TYPE_ADDKE, "additional_key_exchange", &t->ike.additional_key_exchange, ike,
                  &p->additional_key_exchange);
    check_choices(l, t, &t->esp.row, TYPE_ESP_ENCR, "encryption", &t->esp.encryption, esp, &q->encryption);
    check_choices(l, t, &t->esp.row, TYPE_ESP_INTEG, "integrity", &t->esp.integrity, esp, &q->integrity);
    check_choices(l, t, &t->esp.row, TYPE_KE, "key_exchange", &t->esp.key_exchange, esp, &q->key_exchange);
    check_choices(l, t, &t->esp.row, TYPE_ADDKE, "additional_key_exchange", &t->esp.additional_key_exchange, esp,
                  &q->additional_key_exchange);
}

static void check_ipsec(struct loader *l, const struct config *c, const struct config_tunnel *t)
{
    if (t->type != TUNNEL_IPSEC)
        return;
    if (!((t->row.set | t->row.bad) & (CONFIG_BIT(CONFIG_TUNNEL_psk) | CONFIG_BIT(CONFIG_TUNNEL_psk_file))) ||
        (config_good(&t->row, CONFIG_TUNNEL_psk) && !t->psk.n))
        config_error(l, &t->row, NULL, "tunnel %s: psk is missing: the customer could not authenticate; add psk_file",
                     label(t));
    if (t->pq == PQ_REQUIRE && c->ike.proposal.additional_key_exchange.n == 0)
        config_error(
            l, &t->row, "pq",
            "tunnel %s: pq: require, but ike.proposal.additional_key_exchange is empty: no handshake could succeed; "
            "list mlkem768 there",
            label(t));
    check_proposals(l, c, t);
}

static void check_tunnel(struct loader *l, const struct config *c, const struct config_index *own,
                         const struct config_tunnel *t)
{
    if (config_good(&t->row, CONFIG_TUNNEL_type)) {
        check_type(l, t);
        check_customer(l, own, t);
        check_ipsec(l, c, t);
    }
    check_endpoint(l, c, own, t);
    check_interface(l, t, "interface_address", &t->interface_address, false);
    check_interface(l, t, "interface_address6", &t->interface_address6, true);
    check_sizes(l, t);
    check_protect(l, t);
    if (t->sequence && c->fleet.store != CONFIG_STORE_NONE)
        config_warn(
            l, &t->row, "sequence",
            "tunnel %s: sequence with several servers: each counts by itself, and a receiver that checks the order "
            "drops packets; leave it off",
            label(t));
}

/* ---- routes */

static void check_route(struct loader *l, const struct config_account *a, const struct config_route *r)
{
    char text[PREFIX_TEXT];
    if (r->prefix.addr.family && r->prefix.len >= 4 && r->prefix.addr.b[0] != 0 && is_unusable(&r->prefix.addr))
        config_error(l, &r->row, "prefix", "route %s: loopback and multicast are never sent into a tunnel; remove it",
                     prefix_text(&r->prefix, text));
    if (r->tunnel && !config_tunnel_find(a, r->tunnel))
        config_error(l, &r->row, "tunnel", "route %s: account %s has no tunnel %s; correct it or add the tunnel",
                     prefix_text(&r->prefix, text), a->id ? a->id : "?", r->tunnel);
}

/* Addresses that are ours, or a sibling's, with the key that says so. */
static void own_addresses(const struct config *c, struct config_index *ret)
{
    char text[ADDR_TEXT];
    for (size_t i = 0; i < c->endpoints.n; i++)
        config_index_put(ret, (void *)"endpoints", "%s", addr_text(&c->endpoints.v[i], text));
    if (c->node.address.family)
        config_index_put(ret, (void *)"node.address", "%s", addr_text(&c->node.address, text));
    if (c->node.probe_address.family)
        config_index_put(ret, (void *)"node.probe_address", "%s", addr_text(&c->node.probe_address, text));
    for (size_t i = 0; i < c->fleet.nodes.n; i++)
        if (c->fleet.nodes.v[i].address.family)
            config_index_put(ret, (void *)"fleet.nodes", "%s", addr_text(&c->fleet.nodes.v[i].address, text));
}

void config_check_tunnels(struct loader *l, struct config *c)
{
    struct config_index own = {.arena = l->scratch};
    own_addresses(c, &own);
    CONFIG_EACH_TUNNEL(c, a, t)
    check_tunnel(l, c, &own, t);
    CONFIG_EACH_ROUTE(c, a, r)
    check_route(l, a, r);
    config_index_free(&own);
}
