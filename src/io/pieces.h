/* Packets that were read into several buffers, one behind the other. */
#ifndef ADIT_IO_PIECES_H
#define ADIT_IO_PIECES_H

#include "adit/pkt.h"

#include <sys/uio.h>

/* `len` octets of the pieces (there are so many), from offset `at`, in one packet, data `front` octets before its usual place.
 * NULL: none is free. */
struct pkt *pieces_join(struct pkt_pool *pool, const struct iovec *piece, size_t at, size_t len, size_t front);

#endif
