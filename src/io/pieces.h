/* A packet of more than PKT_SMALL octets, read into a small buffer and a spill area behind it. */
#ifndef ADIT_IO_PIECES_H
#define ADIT_IO_PIECES_H

#include "adit/pkt.h"

#include <sys/uio.h>

/* All `len` octets of the two pieces in one large packet, data `front` octets before its usual place. NULL: none is free. */
struct pkt *pieces_join(struct pkt_pool *pool, const struct iovec piece[2], size_t len, size_t front);

#endif
