/* Rounds, samples and medians; see measure.h. */
#include "measure.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 8          /* for a sample that nobody disturbs */
#define UNDISTURBED 0.97 /* share of a sample's time that must have been ours */

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(const double *v, size_t n)
{
    double sorted[ROUNDS_MAX];
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
            cost = (uint64_t)(median(v, ROUNDS_MAX) + 0.5);
    }
    return cost;
}

void measure_end(struct series *s, uint64_t begin, size_t packets)
{
    uint64_t ns = clock_ns(CLOCK_MONOTONIC) - begin, cost = clock_cost();
    s->ns += ns > cost ? ns - cost : 0;
    s->packets += packets;
}

static void reset(struct subject *x)
{
    for (int k = 0; k < 2; k++)
        x->series[k].ns = x->series[k].packets = 0;
}

static void sample(const struct plan *plan, struct subject *x)
{
    for (int i = 0; i < TRIES; i++) {
        reset(x);
        uint64_t wall = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        while (x->series[0].ns + x->series[1].ns < plan->sample_ns)
            x->pass(x->ctx, x->series);
        wall = clock_ns(CLOCK_MONOTONIC) - wall;
        cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
        if ((double)cpu >= UNDISTURBED * (double)wall)
            return;
    }
}

void measure(const struct plan *plan, struct subject *v, size_t n)
{
    for (size_t i = 0; i < n; i++) /* warm up */
        sample(plan, &v[i]);
    for (size_t round = 0; round < plan->rounds; round++)
        for (size_t i = 0; i < n; i++) {
            sample(plan, &v[i]);
            for (int k = 0; k < 2; k++) {
                struct series *s = &v[i].series[k];
                s->sample[round] = s->packets ? (double)s->ns / (double)s->packets : 0;
            }
        }
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 2; k++)
            v[i].series[k].median = median(v[i].series[k].sample, plan->rounds);
}
