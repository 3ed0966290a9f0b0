/* endpoint: one end of a tunnel for tests/bench/e2e, on the very dp and io rooms of the daemon, with fixed keys: adit only answers
 * in IKE, so two of it cannot negotiate. Never a part of the daemon. By `null=yes` the forwarder of lib/null.h stands in place of
 * dp. Ends by SIGTERM; what was dropped is told then. By `flood=MS` it has no TUN: it sends for so long, and tells what a packet
 * cost.
 *     endpoint KEY=VALUE...      the keys: `options` below
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adit/dp.h"
#include "adit/io.h"
#include "lib/fatal.h"
#include "lib/measure.h"
#include "lib/null.h"

#define ACCOUNT 0
#define TUNNEL 0
#define SPI_BASE 0xb0000000u
#define POOL_SMALL 16384
#define POOL_LARGE 512
#define RESULTS_MAX (64 * PKT_BATCH)
#define READ_PACKETS 16 /* super-packets at a time */
#define FLOOD_OCTETS 1440

enum option { DEVICE, ADDRESS, LOCAL, REMOTE, SUITE, WIRE, SIDE, NULL_MODE, OFFLOAD, FLOOD, OPTIONS };
static const struct {
    const char *key, *value, *help;
} options[OPTIONS] = {
    [DEVICE] = {"device", "adit0", "name of the TUN device"},
    [ADDRESS] = {"address", NULL, "its address with length"},
    [LOCAL] = {"local", NULL, "our outer address"},
    [REMOTE] = {"remote", NULL, "the other end's"},
    [SUITE] = {"suite", "gcm256", "gre, or an ESP suite"},
    [WIRE] = {"wire", "raw", "raw, packet or udp"},
    [SIDE] = {"side", "0", "0 or 1: whose keys are whose"},
    [NULL_MODE] = {"null", "no", "yes: the null forwarder"},
    [OFFLOAD] = {"offload", "yes", "no: one read and one write per packet"},
    [FLOOD] = {"flood", "0", "milliseconds: send only"},
};

static const struct {
    const char *name;
    struct esp_alg alg;
} suites[] = {
    {"gre", {0}},
    {"gcm256", {ENCR_AES_GCM_16, 256, INTEG_NONE}},
    {"gcm128", {ENCR_AES_GCM_16, 128, INTEG_NONE}},
    {"cbc256_sha256", {ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128}},
    {"cbc256_sha1", {ENCR_AES_CBC, 256, INTEG_HMAC_SHA1_96}},
    {"null_sha256", {ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128}},
};

struct end {
    const char *value[OPTIONS];
    size_t suite;
    unsigned side;
    bool udp;
    struct prefix address;
    struct addr local, remote;

    struct rng rng;
    struct io_entropy *entropy;
    struct crypto *crypto;
    struct dp *dp;
    struct dp_worker *worker;
    struct null *null; /* NULL: dp does it */
    struct pkt_pool *pool;
    struct io_loop *loop;
    struct io_outer *outer;
    struct io_tun *tun;
    struct io_watch watch;
};

static bool is(const struct end *e, enum option o, const char *text)
{
    return strcmp(e->value[o], text) == 0;
}

/* ---- the command line */

static void usage(void)
{
    fprintf(stderr, "usage: endpoint KEY=VALUE...\n");
    for (size_t i = 0; i < OPTIONS; i++)
        fprintf(stderr, "  %-8s %s%s%s\n", options[i].key, options[i].help, options[i].value ? "; default " : "",
                options[i].value ? options[i].value : "");
    exit(2);
}

static void read_options(struct end *e, int argc, char **argv)
{
    for (size_t i = 0; i < OPTIONS; i++)
        e->value[i] = options[i].value;
    for (int a = 1; a < argc; a++) {
        char *value = strchr(argv[a], '=');
        size_t i = 0;
        while (value && i < OPTIONS && strncmp(argv[a], options[i].key, (size_t)(value - argv[a])) != 0)
            i++;
        if (!value || i == OPTIONS)
            usage();
        e->value[i] = value + 1;
    }
    for (size_t i = 0; i < OPTIONS; i++)
        if (!e->value[i])
            usage();
    while (e->suite < ARRAY_LEN(suites) && !is(e, SUITE, suites[e->suite].name))
        e->suite++;
    if (e->suite == ARRAY_LEN(suites) || prefix_parse(e->value[ADDRESS], &e->address) != RC_OK ||
        addr_parse(e->value[LOCAL], &e->local) != RC_OK || addr_parse(e->value[REMOTE], &e->remote) != RC_OK)
        usage();
    e->side = is(e, SIDE, "1");
    e->udp = is(e, WIRE, "udp");
}

/* ---- dp */

static void tunnel_add(struct end *e)
{
    struct prefix all = {addr_of(4, (const uint8_t[4]){0}), 0};
    struct tunnel_policy t = {
        .tunnel = TUNNEL,
        .account = ACCOUNT,
        .type = e->suite == 0 ? TUNNEL_GRE : TUNNEL_IPSEC,
        .account_name = "bench",
        .name = "bench",
        .endpoint = e->local,
        .customer_endpoint = e->remote,
        .interface4 = e->address,
        .dscp = DSCP_COPY,
        .ttl = 64,
        .path_mtu = 1500,
        .check_sources = true,
        .sources = &all,
        .n_sources = 1,
        .protect = TUNNEL_NONE,
        .replay_protection = true,
        .replay_window = 1024,
    };
    struct route_policy r = {.account = ACCOUNT, .prefix = all, .tunnel = TUNNEL, .priority = 100, .weight = 1};
    MUST(dp_tunnel_set(e->dp, &t) == RC_OK);
    MUST(dp_route_set(e->dp, &r) == RC_OK);
}

static void key_of_side(uint8_t *ret, size_t n, unsigned side)
{
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint8_t)(i * 7 + side * 101 + 3);
}

static void sa_add(struct end *e)
{
    struct esp_sizes sizes;
    uint16_t port = e->udp ? 4500 : 500;
    struct ts all = {.port_last = UINT16_MAX,
                     .first = addr_of(4, (const uint8_t[4]){0}),
                     .last = addr_of(4, (const uint8_t[4]){255, 255, 255, 255})};
    struct child_sa c = {.tunnel = TUNNEL,
                         .spi_in = SPI_BASE + e->side,
                         .spi_out = SPI_BASE + !e->side,
                         .alg = suites[e->suite].alg,
                         .udp = e->udp,
                         .path = {{e->local, port}, {e->remote, port}},
                         .ts_local = all,
                         .ts_remote = all,
                         .hard_expiry = NEVER};
    MUST(crypto_esp_sizes(c.alg, &sizes));
    c.key_len = (uint8_t)(sizes.key_e + sizes.key_a);
    key_of_side(c.key_in, c.key_len, e->side);
    key_of_side(c.key_out, c.key_len, !e->side);
    MUST(dp_child_up(e->dp, io_clock_now(), &c) == RC_OK);
}

static void core_new(struct end *e)
{
    MUST(io_entropy_new(&e->entropy, NULL) == RC_OK);
    e->rng = io_entropy_rng(e->entropy);
    MUST(crypto_new(&e->rng, &e->crypto) == RC_OK);
    struct dp_config c = {
        .crypto = e->crypto, .rng = &e->rng, .sender_id = e->side, .max_tunnels = 1, .max_sas = 1, .max_routes = 4};
    MUST(pkt_pool_new(POOL_SMALL, POOL_LARGE, &e->pool) == RC_OK);
    MUST(dp_new(&c, &e->dp) == RC_OK);
    MUST(dp_worker_new(e->dp, 0, NULL, &e->worker) == RC_OK);
    MUST(dp_endpoints_set(e->dp, &e->local, 1) == RC_OK);
    tunnel_add(e);
    if (e->suite > 0)
        sa_add(e);
    MUST(dp_publish(e->dp) == RC_OK);
    if (is(e, NULL_MODE, "yes"))
        MUST((e->null = null_new(&e->local, &e->remote,
                                 e->udp     ? PKT_TO_NATT
                                 : e->suite ? PKT_TO_ESP
                                            : PKT_TO_GRE)) != NULL);
}

/* ---- packets: as src/daemon/traffic.c does */

static void dispatch(struct end *e, struct pkt_list *results)
{
    struct pkt *outside[RESULTS_MAX], *inside[RESULTS_MAX];
    size_t n_outside = 0, n_inside = 0, dropped = 0;
    for (size_t i = 0; i < results->n; i++) {
        struct pkt *p = results->v[i];
        if (p->verdict == PKT_TO_TUN)
            inside[n_inside++] = p;
        else if (p->verdict != PKT_DROP)
            outside[n_outside++] = p;
    }
    if (n_inside)
        MUST(io_tun_write(e->tun, 0, inside, n_inside, &dropped) == RC_OK);
    if (n_outside)
        io_outer_send(e->outer, outside, n_outside);
    for (size_t i = 0; i < results->n; i++)
        pkt_put(e->pool, results->v[i]);
}

static void from_outside(void *ctx, struct pkt **v, size_t n)
{
    struct end *e = ctx;
    struct pkt *results[RESULTS_MAX];
    struct pkt_list list = {.v = results, .cap = RESULTS_MAX};
    if (e->null)
        null_from_net(e->null, v, n, e->pool, &list);
    else
        dp_from_net(e->worker, io_clock_now(), v, n, e->pool, &list);
    dispatch(e, &list);
}

static void from_inside(void *ctx, unsigned events)
{
    struct end *e = ctx;
    struct pkt *v[READ_PACKETS], *results[RESULTS_MAX];
    struct pkt_list list = {.v = results, .cap = RESULTS_MAX};
    size_t n;
    (void)events;
    MUST(io_tun_read(e->tun, 0, e->pool, v, READ_PACKETS, &n) == RC_OK);
    if (n == 0)
        return;
    if (e->null)
        null_from_tun(e->null, v, n, e->pool, &list);
    else
        dp_from_tun(e->worker, io_clock_now(), v, n, e->pool, &list);
    dispatch(e, &list);
}

/* ---- io */

static void must_open(enum rc rc, const struct io_error *error)
{
    if (rc == RC_OK)
        return;
    fprintf(stderr, "endpoint: %s\n", error->text);
    exit(1);
}

static void on_signal(void *ctx, int signo)
{
    struct end *e = ctx;
    (void)signo;
    io_loop_stop(e->loop);
}

static void open_outer(struct end *e)
{
    struct io_error error = {""};
    const struct io_loop_hooks hooks = {.signal = on_signal, .ctx = e};
    struct io_outer_config outer = {
        .want = {.endpoints = &e->local, .n_endpoints = 1, .gre = e->suite == 0, .ipsec = e->suite > 0},
        .packet = is(e, WIRE, "packet"),
        .pool = e->pool,
        .packets = from_outside,
        .ctx = e};
    must_open(io_loop_new(&hooks, &e->loop, &error), &error);
    must_open(io_loop_signals(e->loop, &error), &error);
    must_open(io_outer_open(e->loop, &outer, &e->outer, &error), &error);
    if (io_outer_trouble(e->outer)) {
        fprintf(stderr, "endpoint: %s\n", io_outer_trouble(e->outer));
        exit(1);
    }
}

static void open_tun(struct end *e)
{
    struct io_error error = {""};
    struct dp_tunnel_info info;
    struct io_tun_config tun = {
        .device = e->value[DEVICE], .queues = 1, .account = ACCOUNT, .offload = is(e, OFFLOAD, "yes")};
    must_open(io_tun_open(NULL, &tun, &e->tun, &error), &error);
    dp_coalesce(e->dp, (uint8_t)((io_tun_super(e->tun) & IO_SUPER_TCP ? DP_COALESCE_TCP : 0) |
                                 (io_tun_super(e->tun) & IO_SUPER_UDP ? DP_COALESCE_UDP : 0)));
    MUST(dp_tunnel_info(e->dp, TUNNEL, &info));
    must_open(io_link_up(e->tun, info.mtu, &error), &error);
    must_open(io_address_add(e->tun, &e->address, 0, &error), &error);
    e->watch = (struct io_watch){.fd = io_tun_fd(e->tun, 0), .events = IO_READ, .ready = from_inside, .ctx = e};
    must_open(io_loop_watch(e->loop, &e->watch, &error), &error);
}

/* What sending alone costs, in nanoseconds of the processor per packet: to a neighbour that drops them. */
static void flood(struct end *e, uint64_t ns)
{
    struct pkt *v[PKT_BATCH];
    for (size_t i = 0; i < PKT_BATCH; i++) {
        MUST((v[i] = pkt_get(e->pool, false)) != NULL);
        memset(v[i]->data, (int)i + 1, FLOOD_OCTETS);
        v[i]->len = FLOOD_OCTETS;
        v[i]->verdict = e->udp ? PKT_TO_NATT : e->suite ? PKT_TO_ESP : PKT_TO_GRE;
        v[i]->outer = (struct pkt_outer){.src = e->local, .dst = e->remote, .dport = 4500, .ttl = 64, .df = true};
    }
    MUST(io_outer_send(e->outer, v, PKT_BATCH) == 0); /* whatever is done once has been */
    uint64_t packets = 0, end = clock_ns(CLOCK_MONOTONIC) + ns, used = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (; clock_ns(CLOCK_MONOTONIC) < end; packets += PKT_BATCH)
        MUST(io_outer_send(e->outer, v, PKT_BATCH) == 0);
    used = clock_ns(CLOCK_THREAD_CPUTIME_ID) - used;
    printf("%.1f\n", (double)used / (double)packets);
    for (size_t i = 0; i < PKT_BATCH; i++)
        pkt_put(e->pool, v[i]);
}

static void tell(const struct end *e)
{
    struct dp_counters c;
    struct io_tun_counts tun;
    dp_total_info(e->dp, &c);
    io_tun_counts(e->tun, &tun);
    fprintf(stderr, "tun: offloads %s, read %" PRIu64 ", written %" PRIu64 ", refused %" PRIu64 "\n",
            io_tun_offloads(e->tun), tun.read, tun.written, tun.write_full + tun.write_error);
    for (unsigned i = 0; i < IO_OUTER_COUNT_END; i++)
        if (io_outer_count(e->outer, (enum io_outer_count)i))
            fprintf(stderr, "outer: %s %" PRIu64 "\n", io_outer_count_name((enum io_outer_count)i),
                    io_outer_count(e->outer, (enum io_outer_count)i));
    for (unsigned i = 1; i < DP_REASON_END; i++)
        if (c.drops[i])
            fprintf(stderr, "dp: %s %" PRIu64 "\n", dp_reason_name((enum dp_reason)i), c.drops[i]);
}

int main(int argc, char **argv)
{
    static struct end e;
    struct io_error error = {""};
    read_options(&e, argc, argv);
    io_signals_block();
    core_new(&e);
    open_outer(&e);
    if (is(&e, FLOOD, "0")) {
        open_tun(&e);
        puts("ready");
        fflush(stdout);
        must_open(io_loop_run(e.loop, &error), &error);
        tell(&e);
        io_loop_unwatch(&e.watch);
    } else {
        flood(&e, strtoul(e.value[FLOOD], NULL, 10) * NS_PER_MS);
    }
    io_outer_close(e.outer);
    io_tun_close(e.tun);
    io_loop_free(e.loop);
    null_free(e.null);
    dp_worker_free(e.worker);
    dp_free(e.dp);
    pkt_pool_free(e.pool);
    crypto_free(e.crypto);
    io_entropy_free(e.entropy);
}
