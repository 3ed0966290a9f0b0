/* wire/ike_sa: the Security Association payload, proposals > transforms > attributes (RFC 7296 3.3).
 *
 * The nesting is checked once as a whole; after that the iterators cannot fail. What the numbers mean is not known here, only
 * that a transform with an attribute nobody can read must not be chosen (3.3.6).
 */
#include "ike_fault.h"

#define PROPOSAL_HEADER 8
#define TRANSFORM_HEADER 8
#define SUBSTRUCTURE_HEADER 4
#define MORE_PROPOSALS 2
#define MORE_TRANSFORMS 3
#define ATTRIBUTE_TV 0x8000 /* AF: the value is in the two octets after the type, RFC 7296 3.3.5 */
#define ATTRIBUTE_KEY_LENGTH 14

/* "Last Substruc", RESERVED and the length, which both kinds of substructure begin with; `ret` holds the rest of it. */
static bool substructure_read(struct rd *r, size_t header, struct rd *ret, uint8_t *ret_more)
{
    uint8_t more = rd_u8(r);
    rd_u8(r); /* RESERVED: MUST be ignored on receipt */
    uint16_t length = rd_u16(r);
    if (length < header)
        r->failed = true;
    *ret = rd_sub(r, r->failed ? 0 : length - SUBSTRUCTURE_HEADER);
    *ret_more = more;
    return !r->failed;
}

static bool proposal_read(struct rd *sa, struct ike_proposal *ret, uint8_t *ret_more)
{
    struct rd r;
    if (!substructure_read(sa, PROPOSAL_HEADER, &r, ret_more))
        return false;
    struct ike_proposal p;
    p.num = rd_u8(&r);
    p.protocol = rd_u8(&r);
    uint8_t spi_size = rd_u8(&r);
    p.n_transforms = rd_u8(&r);
    p.spi = rd_take(&r, spi_size);
    p.transforms = r;
    if (r.failed)
        return false;
    *ret = p;
    return true;
}

/* Key Length is the only attribute there is; it has two octets, so it MUST come as type and value (3.3.5). */
static bool attributes_read(struct span attrs, struct ike_transform *t)
{
    struct rd r = rd_of(attrs);
    t->acceptable = true;
    t->key_bits = 0;
    while (rd_left(&r)) {
        uint16_t type = rd_u16(&r), value = rd_u16(&r);
        if (!(type & ATTRIBUTE_TV))
            rd_take(&r, value);
        if (type == (ATTRIBUTE_TV | ATTRIBUTE_KEY_LENGTH) && value && !t->key_bits)
            t->key_bits = value;
        else
            t->acceptable = false;
    }
    return rd_done(&r);
}

static bool transform_read(struct rd *transforms, struct ike_transform *ret, uint8_t *ret_more)
{
    struct rd r;
    if (!substructure_read(transforms, TRANSFORM_HEADER, &r, ret_more))
        return false;
    struct ike_transform t;
    t.type = rd_u8(&r);
    rd_u8(&r); /* RESERVED */
    t.id = rd_u16(&r);
    t.attrs = rd_rest(&r);
    if (!attributes_read(t.attrs, &t))
        return false;
    *ret = t;
    return true;
}

static bool transforms_check(struct rd r, uint8_t n)
{
    struct ike_transform t;
    uint8_t more;
    for (unsigned i = 1; i <= n; i++)
        if (!transform_read(&r, &t, &more) || more != (i < n ? MORE_TRANSFORMS : 0))
            return false;
    return rd_done(&r); /* Num Transforms tells the truth */
}

enum rc ike_sa_check(struct span body, struct ike_error *ret_err)
{
    struct rd r = rd_of(body);
    bool numbered = true;
    unsigned n = 0;
    do {
        size_t offset = rd_offset(&r);
        struct ike_proposal p;
        uint8_t more;
        if (!proposal_read(&r, &p, &more))
            return ike_fault(ret_err, RC_SYNTAX, "proposal length", offset, PAYLOAD_SA);
        if (more != (rd_left(&r) ? MORE_PROPOSALS : 0))
            return ike_fault(ret_err, RC_SYNTAX, "last proposal", offset, PAYLOAD_SA);
        if (!transforms_check(p.transforms, p.n_transforms))
            return ike_fault(ret_err, RC_SYNTAX, "transforms of a proposal", offset, PAYLOAD_SA);
        /* A single one may be a response, which repeats the number it accepts (3.3.1). */
        bool single = n == 0 && !more && p.num;
        numbered &= p.num == ++n || single;
    } while (rd_left(&r));
    if (!numbered)
        return ike_fault(ret_err, RC_RANGE, "proposal numbers", 0, PAYLOAD_SA);
    return RC_OK;
}

bool ike_proposal_next(struct rd *sa, struct ike_proposal *ret)
{
    uint8_t more;
    return rd_left(sa) && proposal_read(sa, ret, &more);
}

bool ike_transform_next(struct rd *transforms, struct ike_transform *ret)
{
    uint8_t more;
    return rd_left(transforms) && transform_read(transforms, ret, &more);
}

static void write_transform(struct wr *w, const struct ike_transform_out *t, bool last)
{
    wr_u8(w, last ? 0 : MORE_TRANSFORMS);
    wr_u8(w, 0);
    wr_u16(w, t->key_bits ? TRANSFORM_HEADER + 4 : TRANSFORM_HEADER);
    wr_u8(w, t->type);
    wr_u8(w, 0);
    wr_u16(w, t->id);
    if (t->key_bits) {
        wr_u16(w, ATTRIBUTE_TV | ATTRIBUTE_KEY_LENGTH);
        wr_u16(w, t->key_bits);
    }
}

void ike_write_proposal(struct ike_writer *iw, uint8_t num, uint8_t protocol, struct span spi,
                        const struct ike_transform_out *t, size_t n, bool last)
{
    struct wr *w = &iw->w;
    size_t at = wr_len(w);
    wr_u8(w, last ? 0 : MORE_PROPOSALS);
    wr_u8(w, 0);
    wr_u16(w, 0); /* length, below */
    wr_u8(w, num);
    wr_u8(w, protocol);
    wr_u8(w, (uint8_t)spi.n);
    wr_u8(w, (uint8_t)n);
    wr_bytes(w, spi);
    for (size_t i = 0; i < n; i++)
        write_transform(w, &t[i], i + 1 == n);
    if (n > IKE_TRANSFORMS_MAX || spi.n > UINT8_MAX)
        w->failed = true;
    wr_patch_u16(w, at + 2, (uint16_t)(wr_len(w) - at));
}

void ike_write_sa(struct ike_writer *iw, uint8_t num, uint8_t protocol, struct span spi,
                  const struct ike_transform_out *t, size_t n)
{
    ike_write_begin(iw, PAYLOAD_SA);
    ike_write_proposal(iw, num, protocol, spi, t, n, true);
    ike_write_end(iw);
}
