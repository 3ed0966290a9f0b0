/* Do an edge and its peer hold the same? */
#ifndef ADIT_TESTS_AGREE_H
#define ADIT_TESTS_AGREE_H

#include "edge.h"
#include "initiator.h"

/* Every IKE SA and Child SA of one is one of the other, with the same keys; what comes from other peers must be none. */
void agree_assert(const struct edge *e, struct initiator *i);

#endif
