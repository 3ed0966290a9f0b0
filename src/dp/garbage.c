/* What the control side took away and a worker may still hold until its batch ends. Where the control
 * thread is the worker it goes at once. */
#include "tables.h"

void garbage_add(struct dp *dp, struct dp_garbage *g, garbage_free_fn *free)
{
    *g = (struct dp_garbage){.free = free};
    if (dp->config.workers == 0) {
        free(dp, g);
        return;
    }
    *dp->garbage_end = g;
    dp->garbage_end = &g->next;
}

struct dp_garbage *dp_garbage_take(struct dp *dp)
{
    struct dp_garbage *g = dp->garbage;
    dp->garbage = NULL;
    dp->garbage_end = &dp->garbage;
    return g;
}

void dp_garbage_free(struct dp *dp, struct dp_garbage *g)
{
    for (struct dp_garbage *next; g; g = next) {
        next = g->next;
        g->free(dp, g);
    }
}
