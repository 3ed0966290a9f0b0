/* The IKEv2 responder: processor time of a handshake beside the library calls it cannot do without, in the same interleaved run; and
 * what an SA costs in memory and time when there are 100,000 of them.
 *     bench_handshake [rate] [scale]     default: both; BUILD names the folder of the report
 *     BENCH_ROUNDS   rounds of `rate` and `scale` (7)
 *     BENCH_SAS      IKE SAs of the largest table of `scale` (100000)
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "lib/bound.h"
#include "lib/fatal.h"
#include "lib/measure.h"
#include "lib/parley.h"
#include "lib/report.h"

#define CUSTOMERS 256 /* of `rate`, in turn */
#define BURST 24      /* handshakes of one row in one round, by each of ours and bound */

static struct report *report;
static size_t rounds;

/* ---- rate ------------------------------------------------------------------------------------- */

static struct row {
    const char *name;
    uint16_t ke, addke;
    struct parley *p;
    struct bound *b;
    uint32_t next;
    double ours[ROUNDS_MAX], bound[ROUNDS_MAX], share[ROUNDS_MAX];
    double part[BOUND_PARTS][ROUNDS_MAX];
} rows[] = {
    {.name = "hybrid", .ke = KE_ECP384, .addke = KE_ML_KEM_768},
    {.name = "ecp384", .ke = KE_ECP384},
    {.name = "modp2048", .ke = KE_MODP2048},
};

static void burst(struct row *r, size_t round)
{
    uint64_t part[BOUND_PARTS] = {0}, before = r->p->ns, bound = 0;
    for (int i = 0; i < BURST; i++) {
        parley_handshake(r->p, r->next++ % CUSTOMERS);
        bound_handshake(r->b, part);
    }
    r->ours[round] = (double)(r->p->ns - before) / BURST;
    for (int i = 0; i < BOUND_PARTS; i++) {
        bound += part[i];
        r->part[i][round] = (double)part[i] / BURST;
    }
    r->bound[round] = (double)bound / BURST;
    r->share[round] = r->bound[round] / r->ours[round];
}

static void record(const struct row *r)
{
    double ours = measure_median(r->ours, rounds), bound = measure_median(r->bound, rounds),
           share = measure_median(r->share, rounds);
    char name[64];
    printf("  %-9s %8.1f us, %6.0f per CPU second; bound %8.1f us =", r->name, ours / 1e3, 1e9 / ours, bound / 1e3);
    for (int i = 0; i < BOUND_PARTS; i++) {
        double part = measure_median(r->part[i], rounds);
        printf(" %s %.1f", bound_names[i], part / 1e3);
        report_number(report, "handshake", r->name, bound_names[i], part);
    }
    printf("; share %.3f\n", share);
    report_number(report, "handshake", r->name, "ns", ours);
    report_number(report, "handshake", r->name, "bound_ns", bound);
    report_number(report, "handshake", r->name, "per_cpu_second", 1e9 / ours);
    report_samples(report, "handshake", r->name, "samples", r->ours, rounds);
    report_samples(report, "handshake", r->name, "bound_samples", r->bound, rounds);
    snprintf(name, sizeof name, "%s_crypto_share", r->name);
    report_number(report, "handshake", name, NULL, share);
}

static void rate(void)
{
    printf("rate: processor time of the responder per handshake, and of bare OpenSSL's calls for one\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct row *r = &rows[i];
        const struct parley_config c = {.ike = parley_ike(r->ke, r->addke), .esp = parley_esp(), .tunnels = CUSTOMERS};
        r->p = parley_new(&c);
        parley_handshake(r->p, 0);
        r->b = bound_new(&c.ike, r->p->message, r->p->n_messages);
        burst(r, 0); /* warm up */
    }
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            burst(&rows[i], round);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        record(&rows[i]);
        bound_free(rows[i].b);
        parley_free(rows[i].p);
    }
}

/* ---- scale ------------------------------------------------------------------------------------ */

#define FRESH 100 /* handshakes of one table in one round, by customers who were not there before */

struct table {
    uint32_t sas, next;
    struct parley *p;
    double ns[ROUNDS_MAX];
};

/* With the cheapest key exchange there is: what grows with the table is not cryptography. */
static void fill(struct table *t)
{
    struct suite ike = parley_ike(KE_ECP256, KE_NONE);
    const struct parley_config c = {
        .ike = ike, .esp = parley_esp(), .tunnels = t->sas + (uint32_t)(rounds + 1) * FRESH};
    t->p = parley_new(&c);
    size_t before = measure_resident(), heap = mallinfo2().uordblks + mallinfo2().hblkhd;
    while (t->next < t->sas)
        parley_handshake(t->p, t->next++);
    double bytes = (double)(measure_resident() - before) / t->sas,
           on_heap = (double)(mallinfo2().uordblks + mallinfo2().hblkhd - heap) / t->sas;
    printf("  %6" PRIu32 " SAs: %.0f bytes resident each (IKE SA, Child SA, its ESP keys), %.0f of them on the heap\n",
           t->sas, bytes, on_heap);
    report_number(report, "handshake", "bytes_per_sa", NULL, bytes); /* the largest table is the last one */
    report_number(report, "handshake", "heap_bytes_per_sa", NULL, on_heap);
}

static void grow(struct table *t, size_t round)
{
    uint64_t before = t->p->ns;
    for (int i = 0; i < FRESH; i++)
        parley_handshake(t->p, t->next++);
    t->ns[round] = (double)(t->p->ns - before) / FRESH;
}

static void scale(uint32_t most)
{
    struct table t[] = {{.sas = 1000}, {.sas = 10000}, {.sas = most}};
    printf("scale: SAs that stay\n");
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        fill(&t[i]);
        grow(&t[i], 0);
    }
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < ARRAY_LEN(t); i++)
            grow(&t[i], round);
    double least = measure_median(t[0].ns, rounds);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char field[32];
        double ns = measure_median(t[i].ns, rounds);
        printf("  %6" PRIu32 " SAs: %.1f us to set up another (%.2f x); longest call so far %.1f ms\n", t[i].sas,
               ns / 1e3, ns / least, (double)t[i].p->longest / 1e6);
        snprintf(field, sizeof field, "%" PRIu32, t[i].sas);
        report_number(report, "handshake", "setup_ns", field, ns);
        report_number(report, "handshake", "longest_ns", field, (double)t[i].p->longest);
        parley_free(t[i].p);
    }
}

/* ---- main ------------------------------------------------------------------------------------- */

static bool wanted(int argc, char **argv, const char *part)
{
    bool found = argc < 2;
    for (int i = 1; i < argc; i++)
        found |= strcmp(argv[i], part) == 0;
    return found;
}

static unsigned long number(const char *variable, unsigned long otherwise, unsigned long most)
{
    const char *text = getenv(variable);
    unsigned long v = text && *text ? strtoul(text, NULL, 10) : otherwise;
    return v < 1 ? 1 : v > most ? most : v;
}

int main(int argc, char **argv)
{
    const char *build = getenv("BUILD");
    char path[512];
    snprintf(path, sizeof path, "%s/bench/report.json", build ? build : "build");
    MUST((report = report_open(path)) != NULL);
    rounds = number("BENCH_ROUNDS", 7, ROUNDS_MAX);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (wanted(argc, argv, "rate"))
        rate();
    if (wanted(argc, argv, "scale"))
        scale((uint32_t)number("BENCH_SAS", 100000, 150000));
    if (!report_save(report)) {
        perror(path);
        return 1;
    }
    printf("report: %s\n", path);
    return 0;
}
