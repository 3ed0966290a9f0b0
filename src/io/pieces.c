/* Most packets lie in one buffer; what does not (jumbo frames, reassembled ones, unexpected sizes) is copied once. */
#include "pieces.h"

struct pkt *pieces_join(struct pkt_pool *pool, const struct iovec *piece, size_t at, size_t len, size_t front)
{
    struct pkt *p = pkt_get(pool, len > front + PKT_SMALL);
    if (!p)
        return NULL;
    p->data -= front;
    p->len = (uint32_t)len;
    struct wr w = wr_of(p->data, len);
    for (; at >= piece->iov_len; piece++)
        at -= piece->iov_len;
    for (; len; piece++, at = 0) {
        size_t n = piece->iov_len - at < len ? piece->iov_len - at : len;
        wr_bytes(&w, span_of((const uint8_t *)piece->iov_base + at, n));
        len -= n;
    }
    return p;
}
