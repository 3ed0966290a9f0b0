/* Look-ups of routes and SAs; see lookup.h. */
#include "lookup.h"

#include <malloc.h>
#include <string.h>

#include "dp/tables.h"
#include "fatal.h"
#include "measure.h"

#define PREFIXES 1000000
#define SAS 100000
#define BATCH 32
#define RUN 4096 /* look-ups per pass */
#define HOT 64   /* different destinations of the hot run */

static uint64_t state = 88172645463325252u;
static uint64_t draw(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- routes ----------------------------------------------------------------------------------- */

/* Lengths as in the Internet's table of 2024, roughly: per mille of /16, /17 .. /24; the rest are hosts of the account's. */
static uint8_t draw_length(void)
{
    static const uint16_t share[] = {14, 9, 15, 26, 46, 56, 120, 105, 600};
    unsigned at = (unsigned)(draw() >> 32) % 1000;
    for (unsigned i = 0; i < ARRAY_LEN(share); at -= share[i++])
        if (at < share[i])
            return (uint8_t)(16 + i);
    return 32;
}

static int compare(const void *x, const void *y)
{
    const struct lpm_route *a = x, *b = y;
    return a->key.hi != b->key.hi ? (a->key.hi < b->key.hi ? -1 : 1) : a->len - b->len;
}

static size_t draw_routes(struct lpm_route *v)
{
    for (size_t i = 0; i < PREFIXES + PREFIXES / 4; i++) {
        uint8_t len = draw_length();
        uint32_t a = (uint32_t)((draw() >> 32) % 0xdf000000) + 0x01000000; /* 1.0.0.0 .. 223.255.255.255 */
        v[i] = (struct lpm_route){
            .key = key4(a >> (32 - len) << (32 - len)), .len = len, .value = (uint32_t)(draw() >> 48) | 1};
    }
    qsort(v, PREFIXES + PREFIXES / 4, sizeof *v, compare);
    size_t n = 0;
    for (size_t i = 0; i < PREFIXES + PREFIXES / 4; i++)
        if (n == 0 || compare(&v[n - 1], &v[i]) != 0)
            v[n++] = v[i];
    MUST(n >= PREFIXES);
    for (size_t i = n; i-- > 1;) { /* shuffle, so that the first million are a fair choice */
        struct lpm_route t = v[i];
        size_t k = (size_t)(draw() >> 32) % (i + 1);
        v[i] = v[k];
        v[k] = t;
    }
    return PREFIXES;
}

struct routes {
    struct lpm lpm;
    struct key *dst; /* RUN of them, drawn anew for every pass but the hot one's */
    const struct lpm_route *route;
    size_t n;
    bool hot;
    uint32_t sum;
};

static void routes_pass(void *ctx, struct series *s)
{
    struct routes *r = ctx;
    for (size_t i = 0; i < RUN && !r->hot; i++) {
        const struct lpm_route *route = &r->route[(size_t)(draw() >> 32) % r->n];
        uint64_t host = route->len < 32 ? draw() >> 32 >> route->len : 0;
        r->dst[i] = (struct key){.hi = route->key.hi | host << 32};
    }
    uint32_t found[BATCH];
    uint64_t begin = measure_begin();
    for (size_t i = 0; i < RUN; i += BATCH) {
        lpm_find_many(&r->lpm, r->dst + i, found, BATCH);
        for (size_t k = 0; k < BATCH; k++)
            r->sum += found[k] == 0;
    }
    measure_end(&s[0], begin, RUN);
    MUST(r->sum == 0); /* every destination lies in a prefix */
}

/* ---- SAs -------------------------------------------------------------------------------------- */

struct sas {
    struct sa_index *index;
    struct sa *sa;
    uint32_t *spi;
    bool hot;
};

static struct sa_index *index_of(struct sa *sa, size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    struct sa_index *x = calloc(1, sizeof *x + slots * sizeof *x->slot);
    MUST(x != NULL);
    x->mask = slots - 1;
    for (size_t i = 0; i < n; i++) {
        size_t at = sa_slot(x, sa[i].spi_in);
        while (x->slot[at].sa)
            at = (at + 1) & x->mask;
        x->slot[at] = (struct sa_slot){&sa[i], sa[i].spi_in};
    }
    return x;
}

static void sas_pass(void *ctx, struct series *s)
{
    struct sas *x = ctx;
    for (size_t i = 0; i < RUN && !x->hot; i++)
        x->spi[i] = x->sa[(size_t)(draw() >> 32) % SAS].spi_in;
    uint32_t wrong = 0;
    uint64_t begin = measure_begin();
    for (size_t i = 0; i < RUN; i++)
        wrong += sa_find_in(x->index, x->spi[i])->spi_in != x->spi[i];
    measure_end(&s[0], begin, RUN);
    MUST(wrong == 0);
}

/* ---- both ------------------------------------------------------------------------------------- */

static const struct plan plan = {.rounds = 21, .sample_ns = 2000000};

static void print(struct report *report, const char *name, const struct series *s)
{
    printf("  %-24s %6.1f ns\n", name, s->median);
    report_number(report, "scale", name, "ns", s->median);
    report_samples(report, "scale", name, "samples", s->sample, plan.rounds);
}

void lookup(struct report *report)
{
    struct lpm_route *route = calloc(PREFIXES + PREFIXES / 4, sizeof *route);
    struct routes cold = {.dst = calloc(RUN, sizeof(struct key))}, hot;
    struct sas random = {.sa = aligned_alloc(LINE, SAS * sizeof(struct sa)), .spi = calloc(RUN, sizeof(uint32_t))},
               same;
    MUST(route && cold.dst && random.sa && random.spi);
    size_t n = draw_routes(route), before = mallinfo2().uordblks + mallinfo2().hblkhd;
    MUST(lpm_build(&cold.lpm, route, n) == RC_OK);
    double bytes = (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before) / (double)n;
    cold.route = route;
    cold.n = n;
    hot = cold;
    hot.hot = true;
    hot.dst = calloc(RUN, sizeof(struct key));
    same = random;
    same.hot = true;
    same.spi = calloc(RUN, sizeof(uint32_t));
    MUST(hot.dst && same.spi);
    for (size_t i = 0; i < RUN; i++)
        hot.dst[i] = i < HOT ? route[i * 1000].key : hot.dst[i % HOT];
    memset(random.sa, 0, SAS * sizeof(struct sa));
    for (size_t i = 0; i < SAS; i++)
        random.sa[i].spi_in = (uint32_t)((draw() >> 32) % (UINT32_MAX / SAS)) * SAS + (uint32_t)i; /* all different */
    same.sa = random.sa;
    same.index = random.index = index_of(random.sa, SAS);
    for (size_t i = 0; i < RUN; i++)
        same.spi[i] = random.sa[i % HOT * 1000].spi_in;

    struct subject s[] = {{.pass = routes_pass, .ctx = &cold},
                          {.pass = routes_pass, .ctx = &hot},
                          {.pass = sas_pass, .ctx = &random},
                          {.pass = sas_pass, .ctx = &same}};
    measure(&plan, s, ARRAY_LEN(s));
    printf("look-ups: %d prefixes, %d SAs, batches of %d\n", PREFIXES, SAS, BATCH);
    print(report, "route_random", &s[0].series[0]);
    print(report, "route_hot", &s[1].series[0]);
    print(report, "sa_random", &s[2].series[0]);
    print(report, "sa_hot", &s[3].series[0]);
    printf("  %-24s %6.1f\n", "bytes per route", bytes);
    report_number(report, "scale", "route", "bytes", bytes);
    lpm_clear(&cold.lpm);
    free(route);
    free(cold.dst);
    free(hot.dst);
    free(random.sa);
    free(random.spi);
    free(random.index);
    free(same.spi);
}
