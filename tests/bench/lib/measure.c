/* Rounds, samples and medians; see measure.h. */
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fatal.h"

#define PASSES_MAX 512 /* in one sample */

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

double measure_median(const double *v, size_t n)
{
    double sorted[PASSES_MAX];
    memcpy(sorted, v, n * sizeof *v);
    qsort(sorted, n, sizeof *sorted, compare);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static uint64_t clock_cost(void)
{
    static uint64_t cost;
    double v[ROUNDS_MAX];
    for (size_t i = 0; !cost && i < ROUNDS_MAX; i++) {
        uint64_t from = clock_ns(CLOCK_MONOTONIC), to = from;
        for (int k = 0; k < 100; k++)
            to = clock_ns(CLOCK_MONOTONIC);
        v[i] = (double)(to - from) / 100;
        if (i + 1 == ROUNDS_MAX)
            cost = (uint64_t)(measure_median(v, ROUNDS_MAX) + 0.5);
    }
    return cost;
}

void measure_end(struct series *s, uint64_t begin, size_t packets)
{
    uint64_t ns = clock_ns(CLOCK_MONOTONIC) - begin, cost = clock_cost();
    s->ns += ns > cost ? ns - cost : 0;
    s->packets += packets;
}

static void sample(const struct plan *plan, struct subject *x, size_t round)
{
    static double v[2][PASSES_MAX];
    size_t n = 0;
    for (uint64_t ns = 0; n < PASSES_MAX && (n < 5 || ns < plan->sample_ns); n++) {
        for (int k = 0; k < 2; k++)
            x->series[k].ns = x->series[k].packets = 0;
        x->pass(x->ctx, x->series);
        for (int k = 0; k < 2; k++) {
            const struct series *s = &x->series[k];
            v[k][n] = s->packets ? (double)s->ns / (double)s->packets : 0;
            ns += s->ns;
        }
    }
    for (int k = 0; k < 2; k++)
        x->series[k].sample[round] = measure_median(v[k], n);
}

void measure(const struct plan *plan, struct subject *v, size_t n)
{
    for (size_t i = 0; i < n; i++) /* warm up */
        sample(plan, &v[i], 0);
    for (size_t round = 0; round < plan->rounds; round++)
        for (size_t i = 0; i < n; i++)
            sample(plan, &v[i], round);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 2; k++)
            v[i].series[k].median = measure_median(v[i].series[k].sample, plan->rounds);
}

size_t measure_resident(void)
{
    char text[128], *at;
    FILE *f = fopen("/proc/self/statm", "r");
    MUST(f && fgets(text, sizeof text, f));
    fclose(f);
    (void)strtoul(text, &at, 10); /* all of its address space */
    return strtoul(at, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}
