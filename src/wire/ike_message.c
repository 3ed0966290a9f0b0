/* wire/ike_message: the IKE header (RFC 7296 3.1) and the writer of whole messages: every payload patches its type into what
 * stands before it, lengths are patched when a payload and the message end (3.2).
 */
#include "adit/wire_ike.h"

#define NEXT_PAYLOAD_AT 16
#define LENGTH_AT 24
#define GENERIC_LENGTH_AT 2

enum rc ike_header_read(struct span datagram, struct ike_header *ret)
{
    struct rd r = rd_of(datagram);
    struct ike_header h;
    h.spi_i = rd_u64(&r);
    h.spi_r = rd_u64(&r);
    h.next = rd_u8(&r);
    h.version = rd_u8(&r);
    h.exchange = rd_u8(&r);
    h.flags = rd_u8(&r);
    h.mid = rd_u32(&r);
    h.length = rd_u32(&r);
    if (r.failed)
        return RC_SHORT;
    *ret = h;
    return RC_OK;
}

void ike_header_write(struct wr *w, const struct ike_header *h)
{
    wr_u64(w, h->spi_i);
    wr_u64(w, h->spi_r);
    wr_u8(w, h->next);
    wr_u8(w, h->version);
    wr_u8(w, h->exchange);
    wr_u8(w, h->flags);
    wr_u32(w, h->mid);
    wr_u32(w, h->length);
}

void ike_write_message(struct ike_writer *iw, struct wr w, const struct ike_header *h)
{
    *iw = (struct ike_writer){.w = w, .message_at = wr_len(&w)};
    struct ike_header header = *h;
    header.next = PAYLOAD_NONE;
    header.length = 0;
    ike_header_write(&iw->w, &header);
    iw->next_at = iw->message_at + NEXT_PAYLOAD_AT;
}

void ike_write_inner(struct ike_writer *iw, struct wr w)
{
    *iw = (struct ike_writer){.w = w, .message_at = wr_len(&w), .bare = true};
}

uint8_t ike_write_first(const struct ike_writer *iw)
{
    return iw->first;
}

void ike_write_begin(struct ike_writer *iw, uint8_t payload_type)
{
    if (iw->first == PAYLOAD_NONE)
        iw->first = payload_type;
    if (!iw->bare || wr_len(&iw->w) > iw->message_at) /* the first of bare payloads is named by its container */
        wr_patch_u8(&iw->w, iw->next_at, payload_type);
    iw->next_at = iw->open_at = wr_len(&iw->w);
    wr_u8(&iw->w, PAYLOAD_NONE);
    wr_u8(&iw->w, 0); /* C is 0 on all payloads RFC 7296 defines, and in every response (2.5, 3.2) */
    wr_u16(&iw->w, 0);
}

void ike_write_end(struct ike_writer *iw)
{
    size_t length = wr_len(&iw->w) - iw->open_at;
    if (length > UINT16_MAX)
        iw->w.failed = true;
    wr_patch_u16(&iw->w, iw->open_at + GENERIC_LENGTH_AT, (uint16_t)length);
}

enum rc ike_write_finish(struct ike_writer *iw, struct span *ret)
{
    size_t length = wr_len(&iw->w) - iw->message_at;
    if (!iw->bare)
        wr_patch_u32(&iw->w, iw->message_at + LENGTH_AT, (uint32_t)length);
    if (iw->w.failed)
        return RC_LIMIT;
    *ret = span_of(iw->w.start + iw->message_at, length);
    return RC_OK;
}
