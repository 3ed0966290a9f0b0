/* Do an edge and its peer hold the same? */
#ifndef ADIT_TESTS_AGREE_H
#define ADIT_TESTS_AGREE_H

#include "edge.h"
#include "initiator.h"

/* Every IKE SA and Child SA of the tunnel is one of the peer's and the other way round, with the same keys. */
void agree_assert(const struct edge *e, uint32_t tunnel, const struct initiator *i);

#endif
