/* check_server: what belongs to this server and to its fleet. */
#include "index.h"
#include "loader.h"

static void check_endpoints(struct loader *l, const struct config *c)
{
    char text[ADDR_TEXT];
    struct config_index seen = {.arena = l->scratch};
    const struct tree_node *list = config_tree_find(c->row.at, "endpoints"), *node = list ? list->first : NULL;
    for (size_t i = 0; i < c->endpoints.n && node; i++, node = node->next) {
        const struct addr *a = &c->endpoints.v[i];
        const struct config_row at = {.line = node->line, .col = node->col};
        addr_text(a, text);
        if (addr_is_local_scope(a))
            config_error(
                l, &at, NULL,
                "endpoint %s is a loopback, link-local, multicast or broadcast address: no customer could reach it; "
                "correct it",
                text);
        if (config_index_put(&seen, (void *)a, "%s", text))
            config_error(l, &at, NULL, "endpoint %s is listed twice; remove one", text);
    }
    config_index_free(&seen);
    size_t tunnels = 0;
    for (size_t i = 0; i < c->accounts.n; i++)
        tunnels += c->accounts.v[i].tunnels.n;
    if (tunnels && !(c->row.set & CONFIG_BIT(CONFIG_TOP_endpoints)))
        config_error(l, &c->row, NULL,
                     "endpoints is missing: no tunnel could receive a packet; list this server's addresses");
}

static bool is_endpoint(const struct config *c, const struct addr *a)
{
    for (size_t i = 0; i < c->endpoints.n; i++)
        if (addr_equal(a, &c->endpoints.v[i]))
            return true;
    return false;
}

/* Siblings and probes need addresses that lead here and nowhere else: not the anycast ones. */
static void check_unicast(struct loader *l, const struct config *c, const char *keyword, const struct addr *a)
{
    char text[ADDR_TEXT];
    if (!a->family)
        return;
    if (is_endpoint(c, a))
        config_error(
            l, &c->node.row, keyword,
            "node.%s %s is one of endpoints, which any server may receive; use an address of this server alone",
            keyword, addr_text(a, text));
    else if (addr_is_local_scope(a))
        config_error(l, &c->node.row, keyword,
                     "node.%s %s is of local scope: no other machine could reach it; correct it", keyword,
                     addr_text(a, text));
}

static void check_ike(struct loader *l, const struct config *c)
{
    const struct config_ike *k = &c->ike;
    if (k->cookie_threshold > k->max_half_open)
        config_error(
            l, &k->row, "cookie_threshold",
            "ike.cookie_threshold %u is above ike.max_half_open %u: handshakes would be refused before cookies are "
            "asked for; lower it",
            k->cookie_threshold, k->max_half_open);
    if (k->fragment_size_min > k->fragment_size)
        config_error(l, &k->row, "fragment_size_min",
                     "ike.fragment_size_min is above ike.fragment_size: repeated messages get smaller; lower it");
    if (k->fragment_timeout > k->half_open_timeout)
        config_error(l, &k->row, "fragment_timeout",
                     "ike.fragment_timeout is above ike.half_open_timeout: the handshake ends first; lower it");
}

/* ---- fleet */

#define need(l, c, present, keyword, why)                                             \
    do {                                                                              \
        if (!(present))                                                               \
            config_error(l, (c)->fleet.row.at ? &(c)->fleet.row : &(c)->row, "store", \
                         "fleet.store: %s is missing: %s; add it", keyword, why);     \
    } while (0)

static void check_store(struct loader *l, const struct config *c)
{
    const struct config_fleet *f = &c->fleet;
    if (f->store == CONFIG_STORE_NONE)
        return;
    need(l, c, f->cluster, "fleet.cluster", "records of two fleets in one store would be taken for each other's");
    need(l, c, f->kek.n, "fleet.kek", "the records hold keys of tunnels and are sealed with it");
    need(l, c, f->node_key_file, "fleet.node_key_file", "records are signed by the server that wrote them");
    need(l, c, c->node.row.set & CONFIG_BIT(3), "node.slot", "SPIs tell by it which server owns an SA");
    need(l, c, c->node.address.family, "node.address", "siblings send packets of our SAs there");
    if (f->store == CONFIG_STORE_DIR)
        need(l, c, f->directory, "fleet.directory", "the dir store is a folder");
    if (f->store == CONFIG_STORE_ETCD)
        need(l, c, f->etcd.endpoints.n || (f->etcd.read_endpoints.n && f->etcd.write_endpoints.n),
             "fleet.etcd.endpoints", "there is nobody to ask");
}

static void check_etcd(struct loader *l, const struct config_fleet *f)
{
    if (!f->etcd.cert_file != !f->etcd.key_file)
        config_error(l, &f->etcd.row, f->etcd.cert_file ? "cert_file" : "key_file",
                     "fleet.etcd: cert_file and key_file only work together; give both or none");
    if (!f->etcd.user != !f->etcd.password_file)
        config_error(l, &f->etcd.row, f->etcd.user ? "user" : "password_file",
                     "fleet.etcd: user and password_file only work together; give both or none");
}

static void check_public_key(struct loader *l, const struct config_member *m)
{
    const char *key = m->public_key;
    if (key && (strncmp(key, "0x", 2) != 0 || strspn(key + 2, "0123456789abcdefABCDEF") != 64))
        config_error(l, &m->row, "public_key",
                     "fleet.nodes: public_key is not 0x and 64 hexadecimal digits; correct it");
}

static void check_fleet(struct loader *l, const struct config *c)
{
    struct config_index slots = {.arena = l->scratch}, addresses = slots, epochs = slots;
    char text[ADDR_TEXT];
    check_store(l, c);
    check_etcd(l, &c->fleet);
    CONFIG_EACH(struct config_kek, k, c->fleet.kek)
    if (config_index_put(&epochs, k, "%u", k->epoch))
        config_error(l, &k->row, "epoch", "fleet.kek: epoch %u is given twice; a new key takes a new number", k->epoch);
    CONFIG_EACH(struct config_member, m, c->fleet.nodes)
    {
        check_public_key(l, m);
        struct config_member *other = config_good(&m->row, 0) ? config_index_put(&slots, m, "%u", m->slot) : NULL;
        if (other)
            config_error(l, &m->row, "slot", "fleet.nodes: slot %u is also that of line %u; give each server its own",
                         m->slot, other->row.line);
        other = m->address.family ? config_index_put(&addresses, m, "%s", addr_text(&m->address, text)) : NULL;
        if (other)
            config_error(l, &m->row, "address",
                         "fleet.nodes: address %s is also that of line %u; give each server its own", text,
                         other->row.line);
    }
    config_index_free(&slots);
    config_index_free(&addresses);
    config_index_free(&epochs);
}

void config_check_server(struct loader *l, struct config *c)
{
    check_endpoints(l, c);
    check_unicast(l, c, "address", &c->node.address);
    check_unicast(l, c, "probe_address", &c->node.probe_address);
    check_ike(l, c);
    check_fleet(l, c);
}
