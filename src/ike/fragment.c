/* ike/fragment: reassembly of one IKE message (RFC 7383 2.6). */
#include "fragment.h"

enum rc ike_fragment_admit(const struct ike_fragments *f, uint32_t mid, uint16_t number, uint16_t total, uint16_t max)
{
    /* RFC 7383 2.6: both MUST be non-zero and the number not above the total. */
    if (!number || !total || number > total)
        return RC_SYNTAX;
    if (total > max || total > IKE_FRAGMENTS_MAX)
        return RC_LIMIT;
    if (!f || !f->total || f->mid != mid)
        return RC_OK;
    /* 2.6: a smaller Total than the one known is discarded; only a larger one means a new try with smaller fragments. */
    if (total < f->total)
        return RC_RANGE;
    if (total == f->total && f->piece[number - 1].p)
        return RC_EXISTS;
    return RC_OK;
}

void ike_fragment_clear(struct ike_fragments *f)
{
    for (size_t i = 0; i < f->total; i++)
        buf_free(&f->piece[i]);
    *f = (struct ike_fragments){0};
}

enum rc ike_fragment_store(struct ike_fragments *f, const struct ike_piece *piece)
{
    if (f->total && (f->mid != piece->header.mid || piece->total > f->total))
        ike_fragment_clear(f);
    if (f->bytes + piece->text.n > IKE_REASSEMBLED_MAX) {
        ike_fragment_clear(f);
        return RC_LIMIT;
    }
    struct buf copy = {0};
    /* An empty piece still has to be told from a missing one. */
    enum rc rc = buf_set(&copy, piece->text.n ? piece->text : span_of("", 1));
    if (rc)
        return rc;
    copy.n = piece->text.n;

    f->mid = piece->header.mid;
    f->total = piece->total;
    f->have++;
    f->bytes += piece->text.n;
    if (piece->datagram > f->largest)
        f->largest = piece->datagram;
    f->piece[piece->number - 1] = copy;
    if (piece->number == 1) {
        f->header = piece->header;
        f->first = piece->first;
        f->reserved = piece->reserved;
        f->hash = piece->hash;
    }
    return RC_OK;
}

bool ike_fragment_complete(const struct ike_fragments *f)
{
    return f->total && f->have == f->total;
}

void ike_fragment_join(const struct ike_fragments *f, struct wr *w)
{
    for (size_t i = 0; i < f->total; i++)
        wr_bytes(w, buf_span(&f->piece[i]));
}
