/* See core.h. */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>

#define SMALL (2 * PKT_BATCH)
#define LARGE 8
enum { TUNNEL_PLAIN, TUNNEL_SECURE, TUNNEL_KEYED };

static void fill(void *ctx, void *ret, size_t n) /* splitmix64: the same run twice */
{
    uint64_t *x = ctx;
    for (uint8_t *p = ret; n; n--) {
        uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        *p++ = (uint8_t)(z >> 56);
    }
}

static void must(enum rc rc, const char *what)
{
    if (rc == RC_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, rc_name(rc));
    exit(2);
}

static struct addr address(const char *text)
{
    struct addr a;
    must(addr_parse(text, &a), text);
    return a;
}

struct path core_path(enum pkt_from from, const char *peer)
{
    uint16_t port = from == PKT_FROM_NATT ? 4500 : 500;
    struct addr remote = address(peer);
    return (struct path){{address(remote.family == 6 ? "2001:db8:5::2" : "198.51.100.2"), port}, {remote, port}};
}

/* ---- tunnels */

static struct tunnel_policy gre_tunnel(void)
{
    static struct prefix sources[2];
    must(prefix_parse("10.0.0.0/8", &sources[0]), "prefix");
    must(prefix_parse("2001:db8::/32", &sources[1]), "prefix");
    return (struct tunnel_policy){.tunnel = TUNNEL_PLAIN,
                                  .account = CORE_ACCOUNT,
                                  .type = TUNNEL_GRE,
                                  .account_name = "acme",
                                  .name = "acme-gre",
                                  .ttl = 64,
                                  .endpoint = address("198.51.100.2"),
                                  .customer_endpoint = address("192.0.2.3"),
                                  .path_mtu = 1500,
                                  .dscp = DSCP_COPY,
                                  .keepalive = true,
                                  .check_sources = true,
                                  .sources = sources,
                                  .n_sources = ARRAY_LEN(sources),
                                  .protect = TUNNEL_NONE};
}

struct tunnel_policy core_ipsec(void)
{
    static const char identity[] = "acme-ipsec.acme.ipsec.example.net";
    static const char psk[] = "not a secret of anyone 0123456789 abcdefgh";
    struct tunnel_policy t = gre_tunnel();
    t.type = TUNNEL_IPSEC;
    t.tunnel = TUNNEL_SECURE;
    t.name = "acme-ipsec";
    t.customer_endpoint = address("192.0.2.2");
    t.check_sources = false;
    t.identities[0].type = ID_FQDN;
    t.identities[0].n = sizeof identity - 1;
    memcpy(t.identities[0].data, identity, sizeof identity - 1);
    t.n_identities = 1;
    t.local_identity.type = ID_IPV4_ADDR;
    t.local_identity.n = 4;
    memcpy(t.local_identity.data, t.endpoint.b, 4);
    t.psks[0].value = span_of(psk, sizeof psk - 1);
    t.n_psks = 1;
    t.replay_protection = true;
    t.replay_window = 1024;
    t.n_ts_local = t.n_ts_remote = 1;
    t.ts_local[0] = (struct ts){.port_last = 65535, .first = address("0.0.0.0"), .last = address("255.255.255.255")};
    t.ts_remote[0] = t.ts_local[0];
    return t;
}

struct child_sa core_child(const struct tunnel_policy *ipsec, uint32_t spi_in, bool udp)
{
    bool gcm = spi_in == CORE_SPI;
    struct child_sa child = {
        .tunnel = ipsec->tunnel,
        .spi_in = spi_in,
        .spi_out = CORE_SPI_OUT + (spi_in - CORE_SPI),
        .alg = {gcm ? ENCR_AES_GCM_16 : ENCR_AES_CBC, 256, gcm ? INTEG_NONE : INTEG_HMAC_SHA2_256_128},
        .key_len = gcm ? 36 : 64,
        .udp = udp,
        .path = core_path(udp ? PKT_FROM_NATT : PKT_FROM_ESP, "192.0.2.2"),
        .ts_local = ipsec->ts_local[0],
        .ts_remote = ipsec->ts_remote[0],
        .hard_expiry = NEVER};
    for (uint8_t i = 0; i < child.key_len; i++)
        child.key_in[i] = child.key_out[i] = i;
    return child;
}

static void route(struct core *c, const char *prefix, uint32_t tunnel)
{
    struct route_policy r = {.account = CORE_ACCOUNT, .tunnel = tunnel, .priority = 100, .weight = 64};
    must(prefix_parse(prefix, &r.prefix), prefix);
    must(dp_route_set(c->dp, &r), "route");
}

static void tunnels(struct core *c, bool udp)
{
    struct tunnel_policy plain = gre_tunnel(), keyed = plain, ipsec = core_ipsec();
    keyed.tunnel = TUNNEL_KEYED;
    keyed.name = "acme-keyed";
    keyed.customer_endpoint = address("192.0.2.4");
    keyed.has_key = keyed.checksum = keyed.sequence = keyed.sequence_check = true;
    keyed.key = 7;
    must(dp_endpoints_set(c->dp, &plain.endpoint, 1), "endpoints");
    must(dp_tunnel_set(c->dp, &plain), "GRE tunnel");
    must(dp_tunnel_set(c->dp, &keyed), "GRE tunnel with a key");
    must(dp_tunnel_set(c->dp, &ipsec), "IPsec tunnel");
    struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_SET, .tunnel = &ipsec};
    must(ike_command(c->ike, c->now, &cmd, &c->acts), "IKE tunnel");
    for (uint32_t spi = CORE_SPI; spi <= CORE_SPI_CBC; spi++) {
        struct child_sa child = core_child(&ipsec, spi, udp);
        must(dp_child_up(c->dp, c->now, &child), "Child SA");
    }
    route(c, "10.0.0.0/8", TUNNEL_SECURE);
    route(c, "2001:db8::/32", TUNNEL_SECURE);
    route(c, "172.16.0.0/12", TUNNEL_PLAIN);
    route(c, "2001:db8:6::/48", TUNNEL_PLAIN);
    must(dp_publish(c->dp), "tables");
}

/* ---- life */

void core_open(struct core *c, bool udp)
{
    c->seed = 1;
    c->rng = (struct rng){.fill = fill, .ctx = &c->seed};
    c->now = NS_PER_S;
    if (!c->crypto) { /* the dearest parts, which hold no state of the others: a second world has the same */
        must(crypto_new(&c->rng, &c->crypto), "crypto");
        must(pkt_pool_new(SMALL, LARGE, &c->pool), "pool");
    }
    struct ike_config ic = {.crypto = c->crypto, .rng = &c->rng};
    ike_policy_default(&ic.policy);
    must(ike_new(&ic, &c->ike), "ike");
    struct dp_config dc = {
        .crypto = c->crypto, .rng = &c->rng, .sender_id = 7, .max_tunnels = 16, .max_sas = 16, .max_routes = 16};
    must(dp_new(&dc, &c->dp), "dp");
    tunnels(c, udp);
    must(dp_worker_new(c->dp, 0, NULL, &c->worker), "worker");
}

void core_close(struct core *c)
{
    acts_clear(c->ike, &c->acts);
    ike_free(c->ike);
    dp_worker_free(c->worker);
    dp_free(c->dp);
}

void core_end(struct core *c)
{
    core_close(c);
    pkt_pool_free(c->pool);
    crypto_free(c->crypto);
}

void core_ike(struct core *c, const struct path *path, struct span datagram)
{
    ike_input(c->ike, c->now, path, datagram, &c->acts);
}

static struct pkt *packet_of(struct core *c, enum pkt_from from, const struct path *path, struct span data)
{
    struct pkt *p = pkt_get(c->pool, data.n > PKT_SMALL);
    if (!p || data.n > p->cap - PKT_HEADROOM - PKT_TAILROOM) {
        pkt_put(c->pool, p);
        return NULL;
    }
    struct wr body = wr_of(p->data, p->cap - PKT_HEADROOM - PKT_TAILROOM);
    wr_bytes(&body, data);
    p->len = (uint32_t)data.n;
    p->from = (uint8_t)from;
    p->account = from == PKT_FROM_TUN ? CORE_ACCOUNT : ACCOUNT_NONE;
    p->outer = (struct pkt_outer){.src = path->remote.addr,
                                  .dst = path->local.addr,
                                  .sport = path->remote.port,
                                  .dport = path->local.port,
                                  .ttl = 60};
    return p;
}

bool core_packet(struct core *c, enum pkt_from from, const struct path *path, struct span data)
{
    if (from == PKT_FROM_TUN)
        return core_super(c, data, &(struct pkt_offload){0});
    return core_packets(c, from, path, &data, 1);
}

bool core_packets(struct core *c, enum pkt_from from, const struct path *path, const struct span *data, size_t n)
{
    struct pkt_list out = {.v = c->out, .cap = ARRAY_LEN(c->out)};
    struct pkt *v[PKT_BATCH];
    size_t k = 0;
    for (size_t i = 0; i < n && k < PKT_BATCH; i++)
        if ((v[k] = packet_of(c, from, path, data[i])) != NULL)
            k++;
    dp_from_net(c->worker, c->now, v, k, c->pool, &out);
    c->n_out = out.n;
    return k > 0;
}

bool core_super(struct core *c, struct span data, const struct pkt_offload *offload)
{
    struct pkt_list out = {.v = c->out, .cap = ARRAY_LEN(c->out)};
    struct path none = {0};
    struct pkt *p = packet_of(c, PKT_FROM_TUN, &none, data);
    if (!p)
        return false;
    p->offload = *offload;
    dp_from_tun(c->worker, c->now, &p, 1, c->pool, &out);
    c->n_out = out.n;
    return true;
}

void core_done(struct core *c)
{
    struct dp_event events[8];
    for (size_t i = 0; i < c->n_out; i++)
        pkt_put(c->pool, c->out[i]);
    c->n_out = 0;
    acts_clear(c->ike, &c->acts);
    while (dp_events(c->worker, events, ARRAY_LEN(events)))
        ;
    if (pkt_pool_available(c->pool, false) != SMALL || pkt_pool_available(c->pool, true) != LARGE) {
        fprintf(stderr, "a packet did not come back\n");
        abort();
    }
}
