/* Two datapath cores back to back; see world.h. */
#include "world.h"

const struct esp_alg world_algs[] = {
    {ENCR_AES_GCM_16, 256, INTEG_NONE},           {ENCR_AES_GCM_16, 128, INTEG_NONE},
    {ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128}, {ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128},
    {ENCR_AES_CBC, 256, INTEG_HMAC_SHA1_96},      {ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128},
    {ENCR_NULL, 0, INTEG_HMAC_SHA1_96},
};
const size_t world_n_algs = ARRAY_LEN(world_algs);

struct addr ip(const char *text)
{
    struct addr a;
    OK(addr_parse(text, &a));
    return a;
}

struct prefix net(const char *text)
{
    struct prefix p;
    OK(prefix_parse(text, &p));
    return p;
}

static const char *address(enum side side, uint8_t family)
{
    if (family == 6)
        return side == EDGE ? "2001:db8:5::2" : "2001:db8:9::2";
    return side == EDGE ? "198.51.100.2" : "192.0.2.2";
}

static void fill(void *ctx, void *ret, size_t n)
{
    uint64_t *state = ctx;
    for (uint8_t *p = ret; n > 0; n--)
        *p++ = (uint8_t)(dice(state) >> 32);
}

/* ---- policies --------------------------------------------------------------------------------- */

struct tunnel_policy world_gre(enum side side)
{
    struct tunnel_policy t = {
        .tunnel = GRE_TUNNEL,
        .account = ACCOUNT,
        .type = TUNNEL_GRE,
        .name = "gre",
        .endpoint = ip(address(side, 4)),
        .customer_endpoint = ip(address(!side, 4)),
        .interface4 = net(side == EDGE ? "169.254.1.0/31" : "169.254.1.1/31"),
        .dscp = DSCP_COPY,
        .ttl = 64,
        .path_mtu = 1500,
        .protect = TUNNEL_NONE,
    };
    return t;
}

struct tunnel_policy world_ipsec(enum side side)
{
    struct tunnel_policy t = world_gre(side);
    t.tunnel = IPSEC_TUNNEL;
    t.type = TUNNEL_IPSEC;
    t.name = "ipsec";
    t.customer_endpoint = (struct addr){0};
    t.interface4 = net(side == EDGE ? "10.255.0.0/31" : "10.255.0.1/31");
    t.interface6 = net(side == EDGE ? "2001:db8:ff::0/127" : "2001:db8:ff::1/127");
    t.replay_protection = true;
    t.replay_window = 1024;
    return t;
}

void world_set(struct world *w, enum side side, const struct tunnel_policy *t)
{
    OK(dp_tunnel_set(w->dp[side], t));
    OK(dp_publish(w->dp[side]));
}

void world_unprotect(struct world *w)
{
    for (int side = 0; side < 2; side++) {
        struct tunnel_policy t = world_ipsec(side);
        t.replay_protection = false;
        world_set(w, side, &t);
    }
}

void world_route(struct world *w, enum side side, const char *prefix, uint32_t tunnel, uint32_t priority,
                 uint16_t weight)
{
    struct route_policy r = {
        .account = ACCOUNT, .prefix = net(prefix), .tunnel = tunnel, .priority = priority, .weight = weight};
    OK(dp_route_set(w->dp[side], &r));
    OK(dp_publish(w->dp[side]));
}

/* ---- open, close ------------------------------------------------------------------------------- */

static int open_with(void **state, unsigned workers)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->now = 1000 * NS_PER_S;
    w->dice = 88172645463325252u;
    w->rng = (struct rng){fill, &w->dice};
    w->n_small = 4096;
    w->n_large = 16;
    OK(crypto_new(NULL, &w->crypto));
    OK(pkt_pool_new(w->n_small, w->n_large, &w->pool));
    w->out = calloc(64 * PKT_BATCH, sizeof(struct pkt *));
    assert_non_null(w->out);
    for (int side = 0; side < 2; side++) {
        struct dp_config config = {.crypto = w->crypto,
                                   .rng = &w->rng,
                                   .sender_id = side == EDGE ? SENDER_ID : 1,
                                   .max_tunnels = 64,
                                   .max_sas = 32,
                                   .max_routes = 1000,
                                   .workers = side == EDGE ? workers : 0};
        OK(dp_new(&config, &w->dp[side]));
        OK(dp_worker_new(w->dp[side], 0, NULL, &w->w[side]));
        struct addr ends[2] = {ip(address(side, 4)), ip(address(side, 6))};
        OK(dp_endpoints_set(w->dp[side], ends, 2));
        struct tunnel_policy gre = world_gre(side), ipsec = world_ipsec(side);
        OK(dp_tunnel_set(w->dp[side], &gre));
        OK(dp_tunnel_set(w->dp[side], &ipsec));
    }
    world_route(w, EDGE, "10.1.0.0/16", IPSEC_TUNNEL, 100, 1);
    world_route(w, EDGE, "2001:db8:1::/48", IPSEC_TUNNEL, 100, 1);
    world_route(w, EDGE, "10.2.0.0/16", GRE_TUNNEL, 100, 1);
    world_route(w, EDGE, "2001:db8:2::/48", GRE_TUNNEL, 100, 1);
    world_route(w, PEER, "10.0.0.0/8", IPSEC_TUNNEL, 100, 1);
    world_route(w, PEER, "2001:db8::/32", IPSEC_TUNNEL, 100, 1);
    world_route(w, PEER, "0.0.0.0/0", GRE_TUNNEL, 100, 1);
    w->edge[0] = w->w[EDGE];
    for (unsigned i = 1; i < workers; i++)
        OK(dp_worker_new(w->dp[EDGE], i, NULL, &w->edge[i]));
    *state = w;
    return 0;
}

int world_open(void **state)
{
    return open_with(state, 0);
}

int world_open_two(void **state)
{
    return open_with(state, 2);
}

int world_open_four(void **state)
{
    return open_with(state, 4);
}

int world_close(void **state)
{
    struct world *w = *state;
    world_done(w);
    assert_int_equal(pkt_pool_available(w->pool, false), w->n_small);
    assert_int_equal(pkt_pool_available(w->pool, true), w->n_large);
    for (unsigned i = 1; i < WORLD_WORKERS; i++)
        dp_worker_free(w->edge[i]);
    for (int side = 0; side < 2; side++) {
        dp_worker_free(w->w[side]);
        dp_free(w->dp[side]);
    }
    pkt_pool_free(w->pool);
    crypto_free(w->crypto);
    free(w->out);
    free(w);
    return 0;
}

/* ---- SAs -------------------------------------------------------------------------------------- */

static struct ts ts_of(const char *text)
{
    struct prefix p = net(text);
    struct ts t = {.port_last = UINT16_MAX, .first = p.addr, .last = p.addr};
    for (unsigned i = p.len; i < addr_size(&p.addr) * 8; i++)
        t.last.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
    return t;
}

void world_selectors(struct child_sa *c, const char *local, const char *remote)
{
    c->ts_local = ts_of(local);
    c->ts_remote = ts_of(remote);
}

struct child_sa world_child(enum side side, struct esp_alg alg)
{
    struct esp_sizes sizes;
    struct child_sa c = {
        .tunnel = IPSEC_TUNNEL,
        .spi_in = side == EDGE ? SPI_EDGE : SPI_PEER,
        .spi_out = side == EDGE ? SPI_PEER : SPI_EDGE,
        .alg = alg,
        .path = {{ip(address(side, 4)), 4500}, {ip(address(!side, 4)), 4500}},
        .hard_expiry = NEVER,
    };
    assert_true(crypto_esp_sizes(alg, &sizes));
    c.key_len = (uint8_t)(sizes.key_e + sizes.key_a);
    for (uint8_t i = 0; i < c.key_len; i++) {
        c.key_in[i] = (uint8_t)(i * 3 + (side == EDGE ? 1 : 2));
        c.key_out[i] = (uint8_t)(i * 3 + (side == EDGE ? 2 : 1));
    }
    world_selectors(&c, "0.0.0.0/0", "0.0.0.0/0");
    return c;
}

void world_up(struct world *w, struct esp_alg alg, uint8_t outer_family, bool udp, uint8_t inner_family)
{
    for (int side = 0; side < 2; side++) {
        struct child_sa c = world_child(side, alg);
        c.udp = udp;
        c.path.local.addr = ip(address(side, outer_family));
        c.path.remote.addr = ip(address(!side, outer_family));
        if (udp && side == EDGE)
            c.path.remote.port = 61234; /* the peer sits behind a NAT */
        if (inner_family == 6)
            world_selectors(&c, "::/0", "::/0");
        OK(dp_child_up(w->dp[side], w->now, &c));
    }
}

void world_up_early(struct world *w)
{
    struct tunnel_policy t = world_ipsec(EDGE);
    t.tunnel = 60;
    t.interface4 = t.interface6 = (struct prefix){0};
    OK(dp_tunnel_set(w->dp[EDGE], &t));
    struct child_sa c = world_child(EDGE, GCM256);
    c.tunnel = 60;
    OK(dp_child_up(w->dp[EDGE], w->now, &c));
}

/* ---- packets ---------------------------------------------------------------------------------- */

struct pkt_outer world_outer(enum side to, uint8_t family)
{
    return (struct pkt_outer){.src = ip(address(!to, family)), .dst = ip(address(to, family)), .ttl = 60};
}

struct pkt *world_packet(struct world *w, struct span data, enum pkt_from from)
{
    struct pkt *p = pkt_get(w->pool, data.n > PKT_SMALL);
    assert_non_null(p);
    assert_true(data.n <= PKT_LARGE);
    if (data.n)
        memcpy(p->data, data.p, data.n);
    p->len = (uint32_t)data.n;
    p->from = from;
    p->account = ACCOUNT;
    return p;
}

void world_done(struct world *w)
{
    for (size_t i = 0; i < w->n_out; i++)
        pkt_put(w->pool, w->out[i]);
    w->n_out = 0;
}

struct pkt *world_run_tun(struct world *w, enum side side, struct pkt **v, size_t n)
{
    struct pkt_list ret = {.v = w->out, .cap = 64 * PKT_BATCH};
    dp_from_tun(w->w[side], w->now, v, n, w->pool, &ret);
    w->n_out = ret.n;
    return ret.n ? ret.v[0] : NULL;
}

struct pkt *world_run_net(struct world *w, enum side side, struct pkt **v, size_t n)
{
    struct pkt_list ret = {.v = w->out, .cap = 64 * PKT_BATCH};
    dp_from_net(w->w[side], w->now, v, n, w->pool, &ret);
    w->n_out = ret.n;
    return ret.n ? ret.v[0] : NULL;
}

struct pkt *world_tun(struct world *w, enum side side, struct span packet)
{
    world_done(w);
    struct pkt *p = world_packet(w, packet, PKT_FROM_TUN);
    return world_run_tun(w, side, &p, 1);
}

struct pkt *world_net(struct world *w, enum side side, const struct pkt_outer *outer, enum pkt_from from,
                      struct span data)
{
    world_done(w);
    struct pkt *p = world_packet(w, data, from);
    p->outer = *outer;
    return world_run_net(w, side, &p, 1);
}

struct pkt *world_carry(struct world *w, enum side to)
{
    struct pkt *v[PKT_BATCH];
    size_t n = w->n_out;
    assert_in_range(n, 1, PKT_BATCH);
    for (size_t i = 0; i < n; i++) {
        v[i] = w->out[i];
        assert_in_range(v[i]->verdict, PKT_TO_GRE, PKT_TO_NATT);
        v[i]->from = v[i]->verdict == PKT_TO_GRE   ? PKT_FROM_GRE
                     : v[i]->verdict == PKT_TO_ESP ? PKT_FROM_ESP
                                                   : PKT_FROM_NATT;
        v[i]->account = ACCOUNT_NONE;
    }
    return world_run_net(w, to, v, n);
}

uint64_t world_drops(const struct world *w, enum side side, enum dp_reason reason)
{
    struct dp_counters c;
    dp_total_info(w->dp[side], &c);
    return c.drops[reason];
}

/* ---- IP packets ------------------------------------------------------------------------------- */

static uint8_t *scratch(void)
{
    static uint8_t ring[4][PKT_LARGE];
    static unsigned at;
    return ring[at++ % 4];
}

struct span ip_packet_of(const char *src, const char *dst, uint8_t proto, struct span payload)
{
    struct wr w = wr_of(scratch(), PKT_LARGE);
    struct ip_fields f = {
        .src = ip(src), .dst = ip(dst), .proto = proto, .ttl = 64, .id = 0x1234, .payload_len = (uint32_t)payload.n};
    wire_ip_write(&w, &f);
    wr_bytes(&w, payload);
    assert_false(w.failed);
    return wr_span(&w);
}

struct span ip_packet(const char *src, const char *dst, uint8_t proto, size_t payload)
{
    uint8_t *p = scratch();
    for (size_t i = 0; i < payload; i++)
        p[i] = (uint8_t)i;
    return ip_packet_of(src, dst, proto, span_of(p, payload));
}

struct span tcp_syn(const char *src, const char *dst, struct span options)
{
    uint8_t tcp[60] = {0x12, 0x34, 0x00, 0x50, 1, 2, 3, 4};
    size_t n = TCP_HEADER + (options.n + 3) / 4 * 4;
    assert_true(n <= sizeof tcp);
    tcp[12] = (uint8_t)(n / 4 << 4);
    tcp[13] = TCP_FLAG_SYN;
    if (options.n)
        memcpy(tcp + TCP_HEADER, options.p, options.n);
    struct addr s = ip(src), d = ip(dst);
    uint16_t sum = wire_sum(tcp, n, wire_sum_pseudo(&s, &d, IP_PROTO_TCP, (uint32_t)n));
    store_be16(tcp + 16, (uint16_t)~sum);
    return ip_packet_of(src, dst, IP_PROTO_TCP, span_of(tcp, n));
}

bool tcp_checksum_ok(struct span packet)
{
    struct ip_view v;
    OK(wire_ip_parse(packet.p, packet.n, &v));
    struct addr s = wire_ip_src(packet.p), d = wire_ip_dst(packet.p);
    uint32_t n = v.len - v.payload;
    return wire_sum(packet.p + v.payload, n, wire_sum_pseudo(&s, &d, IP_PROTO_TCP, n)) == 0xffff;
}

uint8_t *edit(struct span packet)
{
    return (uint8_t *)(uintptr_t)packet.p;
}

void ip_mend(struct span packet)
{
    uint8_t *p = edit(packet);
    if (p[0] >> 4 != 4)
        return;
    store_be16(p + 10, 0);
    store_be16(p + 10, wire_checksum(p, (p[0] & 15u) * 4));
}
