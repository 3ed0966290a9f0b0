/* check_loops: an encapsulated packet must not be routed into the TUN it came from.
 *
 * That happens where a prefix that the kernel hands to an account's TUN covers the outer destination, and both are looked up
 * in one routing table: the account lives in the daemon's own namespace and the outer sockets carry neither a mark nor a
 * device that an ip rule could tell apart.
 */
#include "index.h"
#include "loader.h"

struct covered { /* a prefix in the daemon's namespace, and the first outer address under it */
    struct prefix prefix;
    const char *what;
    const char *address;
};

struct loops {
    struct loader *l;
    struct config_index prefixes;
    bool lengths[2][129]; /* IPv4, IPv6: prefix lengths in use */
};

static void add(struct loops *x, const struct prefix *p)
{
    char text[PREFIX_TEXT];
    struct prefix network = prefix_network(*p);
    struct covered *c = p->addr.family ? config_arena_take(x->l->scratch, sizeof *c) : NULL;
    if (!c)
        return;
    c->prefix = network;
    config_index_put(&x->prefixes, c, "%s", prefix_text(&network, text));
    x->lengths[p->addr.family == 6][p->len] = true;
}

static struct covered *find(const struct loops *x, const struct prefix *p)
{
    char text[PREFIX_TEXT];
    struct prefix network = prefix_network(*p);
    return p->addr.family ? config_index_get(&x->prefixes, "%s", prefix_text(&network, text)) : NULL;
}

static void mark(struct loops *x, const struct addr *a, const char *what)
{
    char text[ADDR_TEXT];
    for (unsigned len = 0; a->family && len <= 8 * addr_size(a); len++) {
        struct prefix p = {.addr = *a, .len = (uint8_t)len};
        struct covered *c = x->lengths[a->family == 6][len] ? find(x, &p) : NULL;
        if (c && !c->what) {
            c->what = what;
            c->address = config_why(x->l, "%s", addr_text(a, text));
        }
    }
}

static void complain(struct loops *x, const struct config_row *row, const char *who, const char *keyword,
                     const struct prefix *p)
{
    char text[PREFIX_TEXT];
    const struct covered *c = find(x, p);
    if (!c || !c->what)
        return;
    config_error(
        x->l, row, keyword,
        "%s%s covers %s %s in the daemon's own namespace: encapsulated packets would be routed into the tunnel again; "
        "give the account a netns, or set outer.mark or outer.device and an ip rule for it",
        who, prefix_text(p, text), c->what, c->address);
}

void config_check_loops(struct loader *l, struct config *c)
{
    struct loops x = {.l = l, .prefixes = {.arena = l->scratch}};
    if (c->outer.mark || c->outer.device)
        return;
    CONFIG_EACH_ROUTE(c, a, r)
    if (!a->netns)
        add(&x, &r->prefix);
    CONFIG_EACH_TUNNEL(c, a, t)
    if (!a->netns) {
        add(&x, &t->interface_address);
        add(&x, &t->interface_address6);
    }
    CONFIG_EACH_TUNNEL(c, a, t)
    mark(&x, &t->customer_endpoint, "customer_endpoint");
    for (size_t i = 0; i < c->endpoints.n; i++)
        mark(&x, &c->endpoints.v[i], "our endpoint");
    CONFIG_EACH_ROUTE(c, a, r)
    if (!a->netns)
        complain(&x, &r->row, "route ", "prefix", &r->prefix);
    CONFIG_EACH_TUNNEL(c, a, t)
    if (!a->netns) {
        const char *who = config_why(l, "tunnel %s: interface subnet ", t->name ? t->name : "?");
        complain(&x, &t->row, who, "interface_address", &t->interface_address);
        complain(&x, &t->row, who, "interface_address6", &t->interface_address6);
    }
    config_index_free(&x.prefixes);
}
