/* Most packets fit a small buffer; what exceeds it (super-packets, jumbo frames, reassembled ones) is copied once. */
#include "pieces.h"

struct pkt *pieces_join(struct pkt_pool *pool, const struct iovec piece[2], size_t len, size_t front)
{
    struct pkt *p = pkt_get(pool, true);
    if (!p)
        return NULL;
    p->data -= front;
    p->len = (uint32_t)len;
    struct wr w = wr_of(p->data, len);
    wr_bytes(&w, span_of(piece[0].iov_base, piece[0].iov_len));
    wr_bytes(&w, span_of(piece[1].iov_base, len - piece[0].iov_len));
    return p;
}
