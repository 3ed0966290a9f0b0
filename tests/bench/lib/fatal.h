/* A bench that cannot do what it measures says so and stops: a figure of dropped packets would look splendid. */
#ifndef ADIT_BENCH_FATAL_H
#define ADIT_BENCH_FATAL_H

#include <stdio.h>
#include <stdlib.h>

#define MUST(what)                                                     \
    do {                                                               \
        if (!(what)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
            exit(1);                                                   \
        }                                                              \
    } while (0)

#endif
