/* wire/ike_payload: bodies of the payloads without nesting, decode and encode of each side by side: KE, Nonce, IDi and IDr,
 * AUTH, Notify, Delete (RFC 7296 3.4, 3.9, 3.5, 3.8, 3.10, 3.11) and the numbers of SKF (RFC 7383 2.5).
 */
#include "adit/wire_ike.h"

#define NONCE_MIN 16 /* RFC 7296 3.9 */
#define NONCE_MAX 256
#define SPI_SIZE_ESP 4 /* and AH */

/* ---- Key Exchange: method | RESERVED 2 | data */

enum rc ike_ke_read(struct span body, struct ike_ke *ret)
{
    struct rd r = rd_of(body);
    uint16_t method = rd_u16(&r);
    rd_u16(&r);
    if (r.failed)
        return RC_SHORT;
    *ret = (struct ike_ke){.method = method, .data = rd_rest(&r)};
    return RC_OK;
}

void ike_write_ke(struct ike_writer *iw, uint16_t method, struct span data)
{
    ike_write_begin(iw, PAYLOAD_KE);
    wr_u16(&iw->w, method);
    wr_u16(&iw->w, 0);
    wr_bytes(&iw->w, data);
    ike_write_end(iw);
}

/* ---- Nonce: the whole body */

enum rc ike_nonce_check(struct span body)
{
    /* "The size of the Nonce Data MUST be between 16 and 256 octets, inclusive." */
    return body.n < NONCE_MIN || body.n > NONCE_MAX ? RC_SYNTAX : RC_OK;
}

void ike_write_nonce(struct ike_writer *iw, struct span nonce)
{
    ike_write_begin(iw, PAYLOAD_NONCE);
    wr_bytes(&iw->w, nonce);
    ike_write_end(iw);
}

/* ---- Identification and Authentication: type | RESERVED 3 | data */

static enum rc typed_read(struct span body, uint8_t *ret_type, struct span *ret_data)
{
    struct rd r = rd_of(body);
    uint8_t type = rd_u8(&r);
    rd_take(&r, 3);
    if (r.failed)
        return RC_SHORT;
    *ret_type = type;
    *ret_data = rd_rest(&r);
    return RC_OK;
}

static void typed_write(struct ike_writer *iw, uint8_t payload_type, uint8_t type, struct span data)
{
    ike_write_begin(iw, payload_type);
    wr_u8(&iw->w, type);
    wr_reserve(&iw->w, 3);
    wr_bytes(&iw->w, data);
    ike_write_end(iw);
}

enum rc ike_id_read(struct span body, struct ike_id *ret)
{
    struct ike_id id = {.maced = body}; /* RESERVED as received is part of what AUTH covers, RFC 7296 2.15 */
    enum rc rc = typed_read(body, &id.type, &id.data);
    if (rc == RC_OK)
        *ret = id;
    return rc;
}

void ike_write_id(struct ike_writer *iw, uint8_t payload_type, uint8_t id_type, struct span data)
{
    typed_write(iw, payload_type, id_type, data);
}

enum rc ike_auth_read(struct span body, struct ike_auth *ret)
{
    struct ike_auth auth;
    enum rc rc = typed_read(body, &auth.method, &auth.data);
    if (rc == RC_OK)
        *ret = auth;
    return rc;
}

void ike_write_auth(struct ike_writer *iw, uint8_t method, struct span data)
{
    typed_write(iw, PAYLOAD_AUTH, method, data);
}

/* ---- Notify: protocol | SPI size | type | SPI | data */

enum rc ike_notify_read(struct span body, struct ike_notify *ret)
{
    struct rd r = rd_of(body);
    struct ike_notify n;
    n.protocol = rd_u8(&r);
    uint8_t spi_size = rd_u8(&r);
    n.type = rd_u16(&r);
    n.spi = rd_take(&r, spi_size);
    if (r.failed)
        return RC_SHORT;
    n.data = rd_rest(&r);
    *ret = n;
    return RC_OK;
}

void ike_write_notify(struct ike_writer *iw, uint8_t protocol, struct span spi, uint16_t type, struct span data)
{
    ike_write_begin(iw, PAYLOAD_NOTIFY);
    wr_u8(&iw->w, spi.n ? protocol : PROTO_NONE); /* MUST be zero without an SPI, RFC 7296 3.10 */
    wr_u8(&iw->w, (uint8_t)spi.n);
    wr_u16(&iw->w, type);
    wr_bytes(&iw->w, spi);
    wr_bytes(&iw->w, data);
    if (spi.n > UINT8_MAX)
        iw->w.failed = true;
    ike_write_end(iw);
}

bool ike_notify_find(const struct ike_chain *c, uint16_t type, struct ike_notify *ret)
{
    struct ike_notify n;
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].type == PAYLOAD_NOTIFY && ike_notify_read(c->v[i].body, &n) == RC_OK && n.type == type) {
            *ret = n;
            return true;
        }
    return false;
}

/* ---- Delete: protocol | SPI size | number | SPIs */

enum rc ike_delete_read(struct span body, struct ike_delete *ret)
{
    struct rd r = rd_of(body);
    struct ike_delete d;
    d.protocol = rd_u8(&r);
    d.spi_size = rd_u8(&r);
    d.n = rd_u16(&r);
    d.spis = rd_sub(&r, (size_t)d.n * d.spi_size);
    if (r.failed)
        return RC_SHORT;
    /* "MUST be zero for IKE ... or four for AH and ESP"; an IKE SA is deleted "by a protocol ID of 1 (IKE) but no SPIs" */
    bool fits = d.protocol == PROTO_IKE                             ? d.spi_size == 0 && d.n == 0
                : d.protocol == PROTO_AH || d.protocol == PROTO_ESP ? d.spi_size == SPI_SIZE_ESP
                                                                    : false;
    if (!fits || !rd_done(&r))
        return RC_SYNTAX;
    *ret = d;
    return RC_OK;
}

void ike_write_delete_ike(struct ike_writer *iw)
{
    ike_write_begin(iw, PAYLOAD_DELETE);
    wr_u8(&iw->w, PROTO_IKE);
    wr_u8(&iw->w, 0);
    wr_u16(&iw->w, 0);
    ike_write_end(iw);
}

void ike_write_delete_esp(struct ike_writer *iw, const uint32_t *spis, uint16_t n)
{
    ike_write_begin(iw, PAYLOAD_DELETE);
    wr_u8(&iw->w, PROTO_ESP);
    wr_u8(&iw->w, SPI_SIZE_ESP);
    wr_u16(&iw->w, n);
    for (uint16_t i = 0; i < n; i++)
        wr_u32(&iw->w, spis[i]);
    ike_write_end(iw);
}

/* ---- Encrypted Fragment: number | total | IV | ciphertext | ICV */

enum rc ike_skf_read(struct span body, struct ike_skf *ret)
{
    struct rd r = rd_of(body);
    struct ike_skf f;
    f.number = rd_u16(&r);
    f.total = rd_u16(&r);
    if (r.failed)
        return RC_SHORT;
    /* Both count from 1, and the number MUST be at most the total: RFC 7383 2.5, checked on receipt by 2.6 */
    if (f.number == 0 || f.number > f.total)
        return RC_RANGE;
    f.rest = rd_rest(&r);
    *ret = f;
    return RC_OK;
}
