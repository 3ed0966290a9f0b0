/* wire/ike_ts: the Traffic Selector payloads (RFC 7296 3.13).
 */
#include "adit/wire_ike.h"

#define SELECTOR_HEADER 4 /* type, protocol, length */
#define SELECTOR_SIZE4 16
#define SELECTOR_SIZE6 40

static bool selector_read(struct rd *r, struct ike_ts *ret)
{
    struct ike_ts ts = {.type = rd_u8(r)};
    ts.proto = rd_u8(r);
    uint16_t length = rd_u16(r);
    bool v4 = ts.type == TS_IPV4_ADDR_RANGE, v6 = ts.type == TS_IPV6_ADDR_RANGE;
    if (length < SELECTOR_HEADER || (v4 && length != SELECTOR_SIZE4) || (v6 && length != SELECTOR_SIZE6))
        r->failed = true;
    struct rd s = rd_sub(r, r->failed ? 0 : length - SELECTOR_HEADER);
    if (v4 || v6) {
        ts.port_first = rd_u16(&s);
        ts.port_last = rd_u16(&s);
        struct span first = rd_take(&s, v4 ? 4 : 16), last = rd_take(&s, v4 ? 4 : 16);
        if (s.failed)
            return false;
        ts.first = addr_of(v4 ? 4 : 6, first.p);
        ts.last = addr_of(v4 ? 4 : 6, last.p);
    }
    if (s.failed)
        return false;
    *ret = ts;
    return true;
}

enum rc ike_ts_read(struct span body, uint8_t *ret_n, struct rd *ret)
{
    struct rd r = rd_of(body);
    uint8_t n = rd_u8(&r);
    rd_take(&r, 3); /* RESERVED: MUST be ignored on receipt */
    if (r.failed)
        return RC_SHORT;
    struct rd all = rd_of(rd_rest(&r)), check = all;
    struct ike_ts ts;
    for (unsigned i = 0; i < n; i++)
        if (!selector_read(&check, &ts))
            return RC_SYNTAX;
    if (!rd_done(&check))
        return RC_SYNTAX;
    *ret_n = n;
    *ret = all;
    return RC_OK;
}

bool ike_ts_next(struct rd *selectors, struct ike_ts *ret)
{
    return rd_left(selectors) && selector_read(selectors, ret);
}

void ike_write_ts(struct ike_writer *iw, uint8_t payload_type, const struct ike_ts *ts, uint8_t n)
{
    struct wr *w = &iw->w;
    ike_write_begin(iw, payload_type);
    wr_u8(w, n);
    wr_reserve(w, 3);
    for (uint8_t i = 0; i < n; i++) {
        size_t size = ts[i].type == TS_IPV6_ADDR_RANGE ? 16 : 4;
        wr_u8(w, ts[i].type);
        wr_u8(w, ts[i].proto);
        wr_u16(w, size == 16 ? SELECTOR_SIZE6 : SELECTOR_SIZE4);
        wr_u16(w, ts[i].port_first);
        wr_u16(w, ts[i].port_last);
        wr_bytes(w, span_of(ts[i].first.b, size));
        wr_bytes(w, span_of(ts[i].last.b, size));
    }
    ike_write_end(iw);
}
