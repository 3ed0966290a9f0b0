/* feed: every file of a folder as one datagram to the core, under sanitizers.
 *
 *     build/tests/feed ike|natt|gre|esp DIR
 *
 * ike   UDP payload as it comes to port 500
 * natt  UDP payload as it comes to port 4500: marker and IKE, ESP, or keepalive
 * gre   from the GRE header on (raw socket, protocol 47)
 * esp   from the SPI on (raw socket, protocol 50)
 *
 * The world they meet: endpoint 198.51.100.2; a GRE tunnel to 192.0.2.3 and a hybrid IPsec tunnel to 192.0.2.2 with one Child SA
 * of SPI 0x0ad17001 (AES-GCM-16-256, key octets 00 01 02 ..). One line per file says what became of it; the last line counts. A
 * crash, a sanitizer's report, or an answer that takes longer than SLOW_NS fails the run.
 */
#include "adit/dp.h"
#include "adit/ike.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_MAX (64 * 1024)
#define SLOW_NS (500 * NS_PER_MS) /* 50 ms is the rule of a release build; sanitizers are slower */
#define SPI_IN 0x0ad17001u
#define SPI_OUT 0xc0570001u

enum kind { KIND_IKE, KIND_NATT, KIND_GRE, KIND_ESP };
static const char *const kind_words[] = {"ike", "natt", "gre", "esp"};

struct world {
    struct crypto *crypto;
    struct ike *ike;
    struct dp *dp;
    struct dp_worker *worker;
    struct pkt_pool *pool;
    struct acts acts;
    struct rng rng;
    uint64_t seed, now;
    struct path path;
};

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
    fprintf(stderr, "feed: %s: %s\n", what, rc_name(rc));
    exit(2);
}

static struct addr address(const char *text)
{
    struct addr a;
    must(addr_parse(text, &a), text);
    return a;
}

static void ipsec_tunnel(struct tunnel_policy *t)
{
    static const char identity[] = "acme-ipsec.acme.ipsec.example.net";
    static const char psk[] = "feed only: not a secret of anyone 0123456789";
    t->type = TUNNEL_IPSEC;
    t->tunnel = 1;
    t->name = "acme-ipsec";
    t->customer_endpoint = address("192.0.2.2");
    t->identities[0].type = ID_FQDN;
    t->identities[0].n = sizeof identity - 1;
    memcpy(t->identities[0].data, identity, sizeof identity - 1);
    t->n_identities = 1;
    t->local_identity.type = ID_IPV4_ADDR;
    t->local_identity.n = 4;
    memcpy(t->local_identity.data, t->endpoint.b, 4);
    t->psks[0].value = span_of(psk, sizeof psk - 1);
    t->n_psks = 1;
    t->replay_protection = true;
    t->replay_window = 1024;
    t->n_ts_local = t->n_ts_remote = 1;
    t->ts_local[0] = (struct ts){.port_last = 65535, .first = address("0.0.0.0"), .last = address("255.255.255.255")};
    t->ts_remote[0] = t->ts_local[0];
}

static void world_new(struct world *w, enum kind kind)
{
    static struct prefix sources[1];
    w->seed = 1;
    w->rng = (struct rng){.fill = fill, .ctx = &w->seed};
    w->now = NS_PER_S;
    must(crypto_new(&w->rng, &w->crypto), "crypto");
    struct ike_config ic = {.crypto = w->crypto, .rng = &w->rng};
    ike_policy_default(&ic.policy);
    must(ike_new(&ic, &w->ike), "ike");
    struct dp_config dc = {
        .crypto = w->crypto, .rng = &w->rng, .sender_id = 7, .max_tunnels = 16, .max_sas = 16, .max_routes = 16};
    must(dp_new(&dc, &w->dp), "dp");
    must(prefix_parse("10.0.0.0/8", &sources[0]), "prefix");

    struct tunnel_policy gre = {.type = TUNNEL_GRE,
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
                                .n_sources = 1,
                                .protect = TUNNEL_NONE};
    struct tunnel_policy ipsec = gre;
    ipsec_tunnel(&ipsec);
    must(dp_endpoints_set(w->dp, &gre.endpoint, 1), "endpoints");
    must(dp_tunnel_set(w->dp, &gre), "GRE tunnel");
    must(dp_tunnel_set(w->dp, &ipsec), "IPsec tunnel");
    struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_SET, .tunnel = &ipsec};
    must(ike_command(w->ike, w->now, &cmd, &w->acts), "IKE tunnel");

    uint16_t port = kind == KIND_NATT ? 4500 : 500;
    const char *peer = kind == KIND_GRE ? "192.0.2.3" : "192.0.2.2";
    w->path = (struct path){.local = {gre.endpoint, port}, .remote = {address(peer), port}};
    struct child_sa child = {.tunnel = 1,
                             .spi_in = SPI_IN,
                             .spi_out = SPI_OUT,
                             .alg = {ENCR_AES_GCM_16, 256, INTEG_NONE},
                             .key_len = 36,
                             .udp = kind == KIND_NATT,
                             .path = w->path,
                             .ts_local = ipsec.ts_local[0],
                             .ts_remote = ipsec.ts_remote[0],
                             .hard_expiry = NEVER};
    for (uint8_t i = 0; i < child.key_len; i++)
        child.key_in[i] = child.key_out[i] = i;
    must(dp_child_up(w->dp, w->now, &child), "Child SA");
    must(dp_publish(w->dp), "tables");
    must(dp_worker_new(w->dp, 0, &w->worker), "worker");
    must(pkt_pool_new(2 * PKT_BATCH, 8, &w->pool), "pool");
}

static void world_free(struct world *w)
{
    acts_clear(w->ike, &w->acts);
    ike_free(w->ike);
    dp_worker_free(w->worker);
    dp_free(w->dp);
    pkt_pool_free(w->pool);
    crypto_free(w->crypto);
}

/* What counters moved, as words; an IKE datagram may count several. */
static void feed_ike(struct world *w, struct span datagram, char *ret, size_t n)
{
    uint64_t before[IKE_COUNT_END];
    for (unsigned c = 0; c < IKE_COUNT_END; c++)
        before[c] = ike_count(w->ike, c);
    ike_input(w->ike, w->now, &w->path, datagram, &w->acts);
    size_t reply = 0, at = 0;
    for (size_t i = 0; i < w->acts.n; i++)
        if (w->acts.v[i].type == ACT_SEND)
            reply += w->acts.v[i].datagram.n;
    acts_clear(w->ike, &w->acts);
    at += (size_t)snprintf(ret, n, "reply %zu", reply);
    for (unsigned c = 0; c < IKE_COUNT_END && at < n; c++)
        if (ike_count(w->ike, c) != before[c] && c != IKE_COUNT_RECEIVED && c != IKE_COUNT_SENT)
            at += (size_t)snprintf(ret + at, n - at, " %s", ike_count_name(c));
}

static void feed_dp(struct world *w, enum pkt_from from, struct span datagram, char *ret, size_t n)
{
    static struct pkt *results[64 * PKT_BATCH];
    struct pkt_list out = {.v = results, .cap = ARRAY_LEN(results)};
    struct pkt *p = pkt_get(w->pool, datagram.n > PKT_SMALL);
    struct wr body = wr_of(p->data, p->cap - PKT_HEADROOM - PKT_TAILROOM);
    wr_bytes(&body, datagram);
    p->len = (uint32_t)wr_len(&body);
    p->from = (uint8_t)from;
    p->outer = (struct pkt_outer){.src = w->path.remote.addr,
                                  .dst = w->path.local.addr,
                                  .sport = w->path.remote.port,
                                  .dport = w->path.local.port,
                                  .ttl = 60};
    dp_from_net(w->worker, w->now, &p, 1, w->pool, &out);
    size_t at = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < out.n && at < n; i++) {
        const struct pkt *r = out.v[i];
        at += r->verdict == PKT_DROP ? (size_t)snprintf(ret + at, n - at, "drop %s ", dp_reason_name(r->reason))
                                     : (size_t)snprintf(ret + at, n - at, "pass %u octets ", r->len);
    }
    for (size_t i = 0; i < out.n; i++)
        pkt_put(w->pool, out.v[i]);
    struct dp_event events[8];
    while (dp_events(w->worker, events, ARRAY_LEN(events)))
        ;
}

static void feed_natt(struct world *w, struct span datagram, char *ret, size_t n)
{
    struct rd r = rd_of(datagram);
    if (datagram.n == 1 && datagram.p[0] == 0xff)
        snprintf(ret, n, "keepalive");
    else if (datagram.n < 4)
        snprintf(ret, n, "drop short");
    else if (rd_u32(&r) == 0)
        feed_ike(w, rd_rest(&r), ret, n);
    else
        feed_dp(w, PKT_FROM_NATT, datagram, ret, n);
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Returns false when the file cannot be read or the answer was slow. */
static bool feed_file(struct world *w, enum kind kind, const char *dir, const char *name)
{
    char path[4096], what[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = malloc(FILE_MAX + 1);
    if (!f || !bytes) {
        printf("%s: %s\n", name, strerror(errno));
        free(bytes);
        return false;
    }
    size_t n = fread(bytes, 1, FILE_MAX + 1, f);
    fclose(f);
    if (n > FILE_MAX)
        n = FILE_MAX;                   /* no datagram is longer */
    uint8_t *exact = malloc(n ? n : 1); /* so that a read past the end is seen */
    memcpy(exact, bytes, n);
    free(bytes);
    uint64_t start = clock_ns();
    w->now += NS_PER_MS;
    switch (kind) {
    case KIND_IKE: feed_ike(w, span_of(exact, n), what, sizeof what); break;
    case KIND_NATT: feed_natt(w, span_of(exact, n), what, sizeof what); break;
    case KIND_GRE: feed_dp(w, PKT_FROM_GRE, span_of(exact, n), what, sizeof what); break;
    case KIND_ESP: feed_dp(w, PKT_FROM_ESP, span_of(exact, n), what, sizeof what); break;
    }
    ike_tick(w->ike, w->now, &w->acts);
    acts_clear(w->ike, &w->acts);
    bool slow = clock_ns() - start > SLOW_NS;
    free(exact);
    printf("%s: %zu octets: %s%s\n", name, n, what, slow ? " TOO SLOW" : "");
    return !slow;
}

int main(int argc, char **argv)
{
    unsigned kind = 0;
    while (argc == 3 && kind < ARRAY_LEN(kind_words) && strcmp(argv[1], kind_words[kind]) != 0)
        kind++;
    if (argc != 3 || kind == ARRAY_LEN(kind_words)) {
        fprintf(stderr, "usage: feed ike|natt|gre|esp DIR\n");
        return 2;
    }
    struct dirent **entries;
    int n = scandir(argv[2], &entries, NULL, alphasort);
    if (n < 0) {
        fprintf(stderr, "feed: %s: %s\n", argv[2], strerror(errno));
        return 2;
    }
    static struct world world;
    world_new(&world, (enum kind)kind);
    unsigned files = 0, failed = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", argv[2], entries[i]->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            files++;
            failed += !feed_file(&world, (enum kind)kind, argv[2], entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    world_free(&world);
    printf("%u datagrams fed, %u failed\n", files, failed);
    return failed || !files;
}
