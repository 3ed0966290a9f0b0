/* The datapath core: nanoseconds of processor time per packet of dp_from_tun() and dp_from_net(), each beside the bare cipher in the
 * same interleaved run; what it costs to find things; what it costs to have 100,000 of them; what several threads do together.
 *     bench_core [core] [lookup] [scale] [workers]     default: all; BUILD names the folder of the report
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "lib/bare.h"
#include "lib/fatal.h"
#include "lib/keys.h"
#include "lib/looped.h"
#include "lib/lookup.h"
#include "lib/report.h"
#include "lib/together.h"

#define CORE_BATCH 32 /* the one of section "core" */

static const struct plan core_plan = {.rounds = 11, .sample_ns = 400000};
static const struct plan scale_plan = {.rounds = 11, .sample_ns = 4000000};
static const uint32_t sizes[] = {64, 256, 512, 1400, 9000};
static const size_t batches[] = {1, 8, 32, 64};
static struct report *report;

static const struct suite_row {
    const char *name;
    enum tunnel_type type;
    struct esp_alg alg;
} suites[] = {
    {"gcm256", TUNNEL_IPSEC, {ENCR_AES_GCM_16, 256, INTEG_NONE}},
    {"gcm128", TUNNEL_IPSEC, {ENCR_AES_GCM_16, 128, INTEG_NONE}},
    {"cbc256_sha256", TUNNEL_IPSEC, {ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128}},
    {"cbc256_sha1", TUNNEL_IPSEC, {ENCR_AES_CBC, 256, INTEG_HMAC_SHA1_96}},
    {"null_sha256", TUNNEL_IPSEC, {ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128}},
    {"gre", TUNNEL_GRE, {0}},
};

/* ---- core ------------------------------------------------------------------------------------- */

/* "esp_out_gcm256_1400", "gre_in_64"; other batches than the usual one by a suffix. */
static void record(const struct suite_row *suite, uint32_t size, size_t batch, int way, const struct series *ours,
                   const struct series *bare)
{
    char name[96], suffix[16] = "";
    const char *section = batch == CORE_BATCH ? "core" : "core_batch";
    if (batch != CORE_BATCH)
        snprintf(suffix, sizeof suffix, "_b%zu", batch);
    if (suite->type == TUNNEL_GRE)
        snprintf(name, sizeof name, "gre_%s_%" PRIu32 "%s", way ? "in" : "out", size, suffix);
    else
        snprintf(name, sizeof name, "esp_%s_%s_%" PRIu32 "%s", way ? "in" : "out", suite->name, size, suffix);
    report_number(report, section, name, "ns", ours->median);
    report_samples(report, section, name, "samples", ours->sample, core_plan.rounds);
    if (bare) {
        report_number(report, section, name, "bare_ns", bare->median);
        report_samples(report, section, name, "bare_samples", bare->sample, core_plan.rounds);
    }
}

static void print_cell(const struct series *ours, const struct series *bare)
{
    if (bare)
        printf(" %7.1f /%7.1f =%5.2f", ours->median, bare->median, ours->median / bare->median);
    else
        printf(" %7.1f               ", ours->median);
}

/* One size at all batches, ours and bare in turn. */
static void core_size(const struct suite_row *suite, struct looped **l, uint32_t size)
{
    enum { N = ARRAY_LEN(batches) };
    struct subject s[2 * N] = {0};
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        looped_resize(l[i], size, batches[i]);
        s[n++] = (struct subject){.pass = looped_pass, .ctx = l[i]};
    }
    for (size_t i = 0; i < N && suite->type == TUNNEL_IPSEC; i++) {
        struct bare *b = bare_new(suite->alg, size, batches[i]);
        if (b)
            s[n++] = (struct subject){.pass = bare_pass, .ctx = b};
    }
    measure(&core_plan, s, n);
    for (int way = 0; way < 2; way++) {
        printf("  %-3s %5" PRIu32, way ? "in" : "out", size);
        for (size_t i = 0; i < N; i++) {
            const struct series *bare = n > N ? &s[N + i].series[way] : NULL;
            print_cell(&s[i].series[way], bare);
            record(suite, size, batches[i], way, &s[i].series[way], bare);
        }
        printf("\n");
    }
    for (size_t i = N; i < n; i++)
        bare_free(s[i].ctx);
}

static void core(void)
{
    printf("core: ns per packet / bare cipher = ratio, at batches of\n             ");
    for (size_t i = 0; i < ARRAY_LEN(batches); i++)
        printf("%-24zu", batches[i]);
    printf("\n");
    for (size_t k = 0; k < ARRAY_LEN(suites); k++) {
        struct looped *l[ARRAY_LEN(batches)];
        struct looped_config c = {.type = suites[k].type, .alg = suites[k].alg, .tunnels = 1, .size = 64, .batch = 1};
        for (size_t i = 0; i < ARRAY_LEN(batches); i++)
            l[i] = looped_new(&c);
        printf("%s\n", suites[k].name);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
            core_size(&suites[k], l, sizes[i]);
        for (size_t i = 0; i < ARRAY_LEN(batches); i++)
            looped_free(l[i]);
    }
}

/* ---- scale ------------------------------------------------------------------------------------ */

/* Beside the datapath with so many SAs the cipher alone with as many keys: what of the cost is that of keys nobody has used lately. */
static const uint32_t counts[] = {1, 1000, 100000};
enum { COUNTS = ARRAY_LEN(counts), MOST = COUNTS - 1 };

static void scale_row(const char *what, const char *of, uint32_t size, uint32_t count, const struct subject *s,
                      const struct subject *one)
{
    char name[64];
    printf("  %5" PRIu32 " B, %6" PRIu32 " %s:", size, count, of);
    for (int way = 0; way < 2; way++) {
        const struct series *x = &s->series[way];
        printf("  %s %7.1f ns (%.2f x)", way ? "in" : "out", x->median, x->median / one->series[way].median);
        snprintf(name, sizeof name, "%s_%s_gcm256_%" PRIu32 "_%s_%" PRIu32, what, way ? "in" : "out", size, of, count);
        report_number(report, "scale", name, "ns", x->median);
        report_samples(report, "scale", name, "samples", x->sample, scale_plan.rounds);
    }
    printf("\n");
}

static void scale_size(struct looped **l, struct keys **k, uint32_t size)
{
    struct subject sas[2 * COUNTS] = {0}, *keys = sas + COUNTS;
    for (size_t i = 0; i < COUNTS; i++) {
        looped_resize(l[i], size, CORE_BATCH);
        sas[i] = (struct subject){.pass = looped_pass, .ctx = l[i]};
        keys_resize(k[i], size, CORE_BATCH);
        keys[i] = (struct subject){.pass = keys_pass, .ctx = k[i]};
    }
    measure(&scale_plan, sas, ARRAY_LEN(sas));
    for (size_t i = 0; i < COUNTS; i++)
        scale_row("esp", "sas", size, counts[i], &sas[i], &sas[0]);
    for (size_t i = 0; i < COUNTS; i++)
        scale_row("cipher", "keys", size, counts[i], &keys[i], &keys[0]);
}

static void scale(void)
{
    struct looped *l[COUNTS];
    struct keys *k[COUNTS];
    for (size_t i = 0; i < COUNTS; i++) {
        struct looped_config c = {
            .alg = suites[0].alg, .type = TUNNEL_IPSEC, .tunnels = counts[i], .size = 64, .batch = CORE_BATCH};
        l[i] = looped_new(&c);
        k[i] = keys_new(suites[0].alg, counts[i]);
    }
    double tunnel = (double)l[MOST]->tunnel_bytes / counts[MOST];
    double sa = (double)l[MOST]->sa_bytes / counts[MOST] / 2;
    printf("scale: resident bytes at %" PRIu32 ": %.0f per tunnel with its route, %.0f per direction of an SA\n",
           counts[MOST], tunnel, sa);
    report_number(report, "scale", "tunnel", "bytes", tunnel);
    report_number(report, "scale", "sa_direction", "bytes", sa);
    scale_size(l, k, 64);
    scale_size(l, k, 1400);
    for (size_t i = 0; i < COUNTS; i++) {
        looped_free(l[i]);
        keys_free(k[i]);
    }
}

/* ---- workers ------------------------------------------------------------------------------------ */

/* Out by one SA that all workers send on, by a thousand SAs of one worker each, by one GRE tunnel. */
static const struct team_row {
    const char *name;
    enum tunnel_type type;
    bool any_order;
    uint32_t tunnels, size;
} teams[] = {
    {"esp_out_gcm256_64", TUNNEL_IPSEC, true, 1, 64},
    {"esp_out_gcm256_1400", TUNNEL_IPSEC, true, 1, 1400},
    {"esp_out_gcm256_64_sas_1000", TUNNEL_IPSEC, false, 1000, 64},
    {"esp_out_gcm256_1400_sas_1000", TUNNEL_IPSEC, false, 1000, 1400},
    {"gre_out_64", TUNNEL_GRE, false, 1, 64},
    {"gre_out_1400", TUNNEL_GRE, false, 1, 1400},
};

/* One thread and several in turn, the one on a datapath for one: the ratio of each round, and their median. */
static void team(const struct team_row *row, unsigned threads)
{
    enum { ROUNDS = 15, SAMPLE_NS = 20000000 };
    struct looped_config c = {.alg = suites[0].alg,
                              .type = row->type,
                              .tunnels = row->tunnels,
                              .size = row->size,
                              .batch = CORE_BATCH,
                              .any_order = row->any_order};
    struct together *alone = together_new(&c, 1), *all = together_new(&c, threads);
    double one[ROUNDS], many[ROUNDS], ratio[ROUNDS], one_ns[ROUNDS], many_ns[ROUNDS];
    char name[64];
    for (size_t i = 0; i <= ROUNDS; i++) { /* the first to warm up */
        struct together_rate a = together_run(alone, SAMPLE_NS), b = together_run(all, SAMPLE_NS);
        if (i == 0)
            continue;
        one[i - 1] = a.pps;
        many[i - 1] = b.pps;
        ratio[i - 1] = b.pps / a.pps;
        one_ns[i - 1] = a.ns;
        many_ns[i - 1] = b.ns;
    }
    snprintf(name, sizeof name, "workers_%u_%s", threads, row->name);
    printf("  %-40s %7.2f -> %7.2f Mpps %5.2f x; %7.1f -> %7.1f ns of a processor\n", name,
           measure_median(one, ROUNDS) / 1e6, measure_median(many, ROUNDS) / 1e6, measure_median(ratio, ROUNDS),
           measure_median(one_ns, ROUNDS), measure_median(many_ns, ROUNDS));
    report_number(report, "scale", name, "ratio", measure_median(ratio, ROUNDS));
    report_number(report, "scale", name, "pps_1", measure_median(one, ROUNDS));
    report_number(report, "scale", name, "pps", measure_median(many, ROUNDS));
    report_number(report, "scale", name, "ns_1", measure_median(one_ns, ROUNDS));
    report_number(report, "scale", name, "ns", measure_median(many_ns, ROUNDS));
    report_samples(report, "scale", name, "samples", ratio, ROUNDS);
    together_free(alone);
    together_free(all);
}

static void workers(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    printf("workers: %ld processors\n", processors);
    for (unsigned n = 2; n <= TOGETHER_MAX && n <= processors; n *= 2)
        for (size_t i = 0; i < ARRAY_LEN(teams); i++)
            team(&teams[i], n);
}

/* ---- main ------------------------------------------------------------------------------------- */

static bool wanted(int argc, char **argv, const char *part)
{
    bool found = argc < 2;
    for (int i = 1; i < argc; i++)
        found |= strcmp(argv[i], part) == 0;
    return found;
}

int main(int argc, char **argv)
{
    const char *build = getenv("BUILD");
    char path[512];
    snprintf(path, sizeof path, "%s/bench/report.json", build ? build : "build");
    MUST((report = report_open(path)) != NULL);
    struct crypto *c;
    struct crypto_versions v;
    MUST(crypto_new(NULL, &c) == RC_OK);
    crypto_versions(c, &v);
    printf("%s; ESP by %s\n", v.openssl, v.esp_gcm);
    crypto_free(c);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (wanted(argc, argv, "core"))
        core();
    if (wanted(argc, argv, "lookup"))
        lookup(report);
    if (wanted(argc, argv, "scale"))
        scale();
    if (wanted(argc, argv, "workers"))
        workers();
    if (!report_save(report)) {
        perror(path);
        return 1;
    }
    printf("report: %s\n", path);
    return 0;
}
