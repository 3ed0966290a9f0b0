/* measure: how long does a piece of the datapath take? Nanoseconds per packet, by the monotonic clock
 * around passes of some microseconds. A sample is the median of many passes, so that those in which somebody else had the processor
 * fall out. Subjects are measured in turn, round after round, so that what disturbs one disturbs all, and ratios within one call
 * hold even on a busy machine.
 */
#ifndef ADIT_BENCH_MEASURE_H
#define ADIT_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define ROUNDS_MAX 64

struct series {
    uint64_t ns, packets; /* of the pass under way, which adds to them */
    double sample[ROUNDS_MAX];
    double median; /* ns per packet */
};
struct subject {
    void (*pass)(void *ctx, struct series *s); /* s[0], and s[1] where a pass times two things */
    void *ctx;
    struct series series[2];
};

struct plan {
    size_t rounds;
    uint64_t sample_ns; /* timed nanoseconds per subject and round */
};
double measure_median(const double *v, size_t n); /* of at most 512 */
void measure(const struct plan *plan, struct subject *v, size_t n);

static inline uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static inline uint64_t measure_begin(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}
void measure_end(struct series *s, uint64_t begin, size_t packets); /* the clock's own cost is taken off */

size_t measure_resident(void); /* octets of memory this process has */

#endif
