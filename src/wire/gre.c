/* The GRE header (RFC 2784) with key and sequence number (RFC 2890). */
#include "adit/wire_ip.h"

enum rc wire_gre_read(const uint8_t *p, size_t n, struct gre_header *ret)
{
    if (n < 4)
        return RC_SHORT;
    uint16_t flags = load_be16(p);
    if (flags & GRE_VERSION) /* RFC 2784 2.3.1: MUST be 0; 1 is PPTP's */
        return RC_RANGE;
    if (flags & GRE_RESERVED) /* RFC 2784 2.3: MUST discard if any of bits 1-5 that RFC 2890 left reserved is set */
        return RC_SYNTAX;
    struct gre_header h = {
        .flags = flags & (GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE),
        .proto = load_be16(p + 2),
        .len = wire_gre_len(flags),
    };
    if (n < h.len)
        return RC_SHORT;
    const uint8_t *at = p + (flags & GRE_CHECKSUM ? 8 : 4);
    if (flags & GRE_KEY) {
        h.key = load_be32(at);
        at += 4;
    }
    if (flags & GRE_SEQUENCE)
        h.sequence = load_be32(at);
    *ret = h;
    return RC_OK;
}

void wire_gre_write(uint8_t *p, const struct gre_header *h)
{
    store_be16(p, h->flags);
    store_be16(p + 2, h->proto);
    uint8_t *at = p + 4;
    if (h->flags & GRE_CHECKSUM) {
        store_be32(at, 0);
        at += 4;
    }
    if (h->flags & GRE_KEY) {
        store_be32(at, h->key);
        at += 4;
    }
    if (h->flags & GRE_SEQUENCE)
        store_be32(at, h->sequence);
}

void wire_gre_seal(uint8_t *p, size_t n)
{
    store_be16(p + 4, wire_checksum(p, n)); /* RFC 2784 2.5: over header and payload, the field itself 0 */
}
