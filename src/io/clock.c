/* The only place that asks for the time. */
#include "adit/io.h"

#include <time.h>

uint64_t io_clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t io_clock_unix(void)
{
    return (uint64_t)time(NULL);
}
