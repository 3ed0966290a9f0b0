/* wire/ike_chain: the chain of payloads behind the generic headers (RFC 7296 3.2), outer and inner alike.
 */
#include "ike_fault.h"

#define GENERIC_HEADER 4
#define CRITICAL 0x80 /* the C bit is the highest of its octet, RFC 7296 3.2 */

enum rc ike_chain_read(uint8_t first, struct span bytes, struct ike_chain *ret, struct ike_error *ret_err)
{
    struct ike_chain c = {0};
    struct rd r = rd_of(bytes);
    for (uint8_t type = first, next; type != PAYLOAD_NONE; type = next) {
        size_t offset = rd_offset(&r);
        if (c.n == IKE_PAYLOADS_MAX)
            return ike_fault(ret_err, RC_LIMIT, "too many payloads", offset, type);
        next = rd_u8(&r);
        uint8_t flags = rd_u8(&r);
        uint16_t length = rd_u16(&r);
        if (r.failed)
            return ike_fault(ret_err, RC_SHORT, "message ends in a payload header", offset, type);
        if (length < GENERIC_HEADER)
            return ike_fault(ret_err, RC_SYNTAX, "payload length below its header", offset, type);
        struct span body = rd_take(&r, length - GENERIC_HEADER);
        if (r.failed)
            return ike_fault(ret_err, RC_SHORT, "payload length beyond the message", offset, type);
        c.v[c.n++] =
            (struct ike_payload){.type = type, .critical = flags & CRITICAL, .offset = (uint32_t)offset, .body = body};
        if (type == PAYLOAD_SK || type == PAYLOAD_SKF) {
            /* MUST be the last payload; its Next Payload is the type of the first inner one (RFC 7296 3.14, RFC 7383 2.5) */
            c.sk_next = next;
            break;
        }
    }
    if (!rd_done(&r))
        return ike_fault(ret_err, RC_SYNTAX, "octets after the last payload", rd_offset(&r), PAYLOAD_NONE);
    *ret = c;
    return RC_OK;
}

const struct ike_payload *ike_chain_find(const struct ike_chain *c, uint8_t type)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].type == type)
            return &c->v[i];
    return NULL;
}

bool ike_payload_known(uint8_t type)
{
    return (type >= PAYLOAD_SA && type <= PAYLOAD_EAP) || type == PAYLOAD_SKF;
}

const struct ike_payload *ike_chain_critical(const struct ike_chain *c)
{
    for (size_t i = 0; i < c->n; i++) /* the bit MUST be ignored on payloads we understand, RFC 7296 2.5 */
        if (c->v[i].critical && !ike_payload_known(c->v[i].type))
            return &c->v[i];
    return NULL;
}
