/* A datapath that receives what it sends; see looped.h. */
#include "looped.h"

#include <string.h>

#include "adit/wire_ip.h"
#include "fatal.h"

#define ACCOUNT 7
#define SPI_BASE 0x10000000u
#define PATH_MTU 9300 /* the largest inner packet fits */

static struct addr addr4(uint32_t a)
{
    uint8_t b[4];
    store_be32(b, a);
    return addr_of(4, b);
}

static struct addr endpoint(void)
{
    return addr4(0xc6336402); /* 198.51.100.2 */
}

static struct addr customer(uint32_t i)
{
    return addr4(0x64400000 + i); /* 100.64.0.0 and on: carrier-grade NAT, as they often are */
}

static uint32_t destination(uint32_t i)
{
    return 0x0a000000 + i;
}

/* What leaves by tunnel i comes back by this one: with several never the same, or its state would still be in the cache. */
static uint32_t partner(const struct looped *l, uint32_t i)
{
    return (i + l->config.tunnels / 2) % l->config.tunnels;
}

static void key_of_direction(uint8_t *ret, size_t n, uint32_t i)
{
    for (size_t k = 0; k < n; k++)
        ret[k] = (uint8_t)(k * 7 + i * 13 + (i >> 8) * 5 + (i >> 16));
}

static void add_sa(struct looped *l, uint32_t i)
{
    struct esp_sizes sizes;
    struct ts all = {.port_last = UINT16_MAX, .first = addr4(0), .last = addr4(UINT32_MAX)};
    struct child_sa c = {
        .tunnel = i,
        .spi_in = SPI_BASE + i,
        .spi_out = SPI_BASE + partner(l, i),
        .alg = l->config.alg,
        .path = {{endpoint(), 0}, {customer(i), 0}},
        .ts_local = all,
        .ts_remote = all,
        .hard_expiry = NEVER,
    };
    MUST(crypto_esp_sizes(l->config.alg, &sizes));
    c.key_len = (uint8_t)(sizes.key_e + sizes.key_a);
    key_of_direction(c.key_in, c.key_len, i);
    key_of_direction(c.key_out, c.key_len, partner(l, i));
    MUST(dp_child_up(l->dp, l->now, &c) == RC_OK);
}

static void add_tunnel(struct looped *l, uint32_t i)
{
    struct prefix sources = {addr4(0x0a000000), 8};
    struct tunnel_policy t = {
        .tunnel = i,
        .account = ACCOUNT,
        .type = l->config.type,
        .name = "bench",
        .endpoint = endpoint(),
        .customer_endpoint = l->config.type == TUNNEL_GRE ? customer(i) : (struct addr){0},
        .dscp = DSCP_COPY,
        .ttl = 64,
        .path_mtu = PATH_MTU,
        .check_sources = l->config.type == TUNNEL_GRE,
        .sources = &sources,
        .n_sources = 1,
        .protect = TUNNEL_NONE,
        .replay_protection = !l->config.any_order,
        .replay_window = 1024,
    };
    struct route_policy r = {
        .account = ACCOUNT, .prefix = {addr4(destination(i)), 32}, .tunnel = i, .priority = 100, .weight = 1};
    MUST(dp_tunnel_set(l->dp, &t) == RC_OK);
    MUST(dp_route_set(l->dp, &r) == RC_OK);
}

void looped_packet(const struct looped *l, struct pkt *p)
{
    uint32_t size = l->config.size;
    p->data = p->room + PKT_HEADROOM;
    p->len = size;
    p->account = ACCOUNT;
    p->from = PKT_FROM_TUN;
    struct ip_fields f = {.src = addr4(0x0aff0001),
                          .dst = addr4(destination(0)),
                          .proto = IP_PROTO_UDP,
                          .ttl = 60,
                          .payload_len = size - IP4_HEADER};
    struct wr w = wr_of(p->data, size);
    wire_ip_write(&w, &f);
    for (uint32_t i = IP4_HEADER; i < size; i++)
        wr_u8(&w, (uint8_t)(i * 11));
}

void looped_resize(struct looped *l, uint32_t size, size_t batch)
{
    l->config.size = size;
    l->config.batch = batch;
    for (size_t i = 0; i < RING; i++) {
        pkt_put(l->pool, l->ring[i]);
        l->ring[i] = NULL;
    }
    for (size_t i = 0; i < RING; i++) {
        MUST((l->ring[i] = pkt_get(l->pool, size > PKT_SMALL)) != NULL);
        looped_packet(l, l->ring[i]);
    }
}

struct looped *looped_new(const struct looped_config *config)
{
    struct looped *l = calloc(1, sizeof *l);
    MUST(l != NULL);
    l->config = *config;
    l->now = 1000 * NS_PER_S;
    l->dice = 88172645463325252u;
    MUST(crypto_new(NULL, &l->crypto) == RC_OK);
    struct dp_config c = {.crypto = l->crypto,
                          .sender_id = 0xabc123,
                          .max_tunnels = config->tunnels,
                          .max_sas = config->tunnels,
                          .max_routes = config->tunnels,
                          .workers = config->workers};
    MUST(dp_new(&c, &l->dp) == RC_OK);
    MUST(dp_worker_new(l->dp, 0, NULL, &l->worker) == RC_OK);
    MUST(pkt_pool_new(RING, RING, &l->pool) == RC_OK);
    size_t before = measure_resident();
    for (uint32_t i = 0; i < config->tunnels; i++)
        add_tunnel(l, i);
    MUST(dp_publish(l->dp) == RC_OK);
    l->tunnel_bytes = measure_resident() - before;
    for (uint32_t i = 0; i < config->tunnels && config->type == TUNNEL_IPSEC; i++)
        add_sa(l, i);
    l->sa_bytes = measure_resident() - before - l->tunnel_bytes;
    looped_resize(l, config->size, config->batch);
    for (struct series unused[2]; !config->workers && l->walked < config->tunnels;)
        looped_pass(l, unused);
    return l;
}

void looped_free(struct looped *l)
{
    for (size_t i = 0; i < RING; i++)
        pkt_put(l->pool, l->ring[i]);
    pkt_pool_free(l->pool);
    dp_worker_free(l->worker);
    dp_free(l->dp);
    crypto_free(l->crypto);
    free(l);
}

void looped_destine(struct pkt *p, uint32_t tunnel)
{
    store_be32(p->data + IP4_DST, destination(tunnel));
}

/* Tunnels by lot, but each of them once before: the first packet of a tunnel finds pages that nobody has touched. The inner destination
 * leads to them. */
static void draw(struct looped *l)
{
    for (size_t i = 0; i < RING; i++) {
        if (l->walked < l->config.tunnels) {
            l->tunnel[i] = l->walked++;
            looped_destine(l->ring[i], l->tunnel[i]);
            continue;
        }
        l->dice ^= l->dice >> 12;
        l->dice ^= l->dice << 25;
        l->dice ^= l->dice >> 27;
        l->tunnel[i] = (uint32_t)((l->dice * UINT64_C(0x2545f4914f6cdd1d) >> 32) * l->config.tunnels >> 32);
        looped_destine(l->ring[i], l->tunnel[i]);
    }
}

/* Packets lie where a socket's would: the outer payload at PKT_HEADROOM, and before it goes out again the inner packet. */
static void move(struct pkt *p)
{
    memmove(p->room + PKT_HEADROOM, p->data, p->len);
    p->data = p->room + PKT_HEADROOM;
}

static void travel(struct looped *l)
{
    enum pkt_verdict expected = l->config.type == TUNNEL_GRE ? PKT_TO_GRE : PKT_TO_ESP;
    for (size_t i = 0; i < RING; i++) {
        struct pkt *p = l->ring[i];
        MUST(p->verdict == expected);
        p->from = l->config.type == TUNNEL_GRE ? PKT_FROM_GRE : PKT_FROM_ESP;
        p->outer.dst = endpoint();
        p->outer.src = customer(l->config.type == TUNNEL_GRE ? l->tunnel[i] : partner(l, l->tunnel[i]));
        move(p);
    }
}

static void arrive(struct looped *l)
{
    for (size_t i = 0; i < RING; i++) {
        struct pkt *p = l->ring[i];
        MUST(p->verdict == PKT_TO_TUN && p->len == l->config.size);
        p->from = PKT_FROM_TUN;
        move(p);
    }
}

void looped_pass(void *ctx, struct series *s)
{
    struct looped *l = ctx;
    size_t batch = l->config.batch;
    draw(l);
    struct pkt_list ret = {.v = l->out, .cap = ARRAY_LEN(l->out)};
    uint64_t begin = measure_begin();
    for (size_t i = 0; i < RING; i += batch)
        dp_from_tun(l->worker, l->now, l->ring + i, batch, l->pool, &ret);
    measure_end(&s[0], begin, RING);
    MUST(ret.n == RING);
    travel(l);
    ret.n = 0;
    begin = measure_begin();
    for (size_t i = 0; i < RING; i += batch)
        dp_from_net(l->worker, l->now, l->ring + i, batch, l->pool, &ret);
    measure_end(&s[1], begin, RING);
    MUST(ret.n == RING);
    arrive(l);
    struct dp_event events[8]; /* SA_SEEN */
    while (dp_events(l->worker, events, ARRAY_LEN(events)) > 0)
        ;
}
