/* TCP's MSS option on SYN segments (RFC 9293 3.2, 3.7.1). */
#include "adit/wire_ip.h"

enum { OPTION_END = 0, OPTION_NOP = 1, OPTION_MSS = 2 };

/* Offset of the MSS value behind `tcp`; 0 if there is none, or if an option before it has a length that cannot be. */
static size_t find_mss(const uint8_t *tcp, size_t header)
{
    struct rd r = rd_of(span_of(tcp, header));
    rd_take(&r, TCP_HEADER);
    while (rd_left(&r) > 0) {
        uint8_t kind = rd_u8(&r);
        if (kind == OPTION_END)
            return 0;
        if (kind == OPTION_NOP)
            continue;
        uint8_t len = rd_u8(&r);
        if (len < 2 || !rd_need(&r, len - 2u))
            return 0;
        if (kind == OPTION_MSS)
            return len == 4 ? rd_offset(&r) : 0;
        rd_take(&r, len - 2u);
    }
    return 0;
}

bool wire_tcp_mss_clamp(uint8_t *tcp, size_t n, uint16_t mss)
{
    if (n < TCP_HEADER || !(tcp[13] & TCP_FLAG_SYN))
        return false;
    size_t header = (tcp[12] >> 4) * 4u;
    if (header < TCP_HEADER || header > n)
        return false;
    size_t at = find_mss(tcp, header);
    if (at == 0)
        return false;
    uint16_t old = load_be16(tcp + at), new = mss;
    if (old <= new)
        return false;
    store_be16(tcp + at, new);
    if (at % 2) { /* the value straddles two words of the sum: there its octets count the other way round */
        old = (uint16_t)(old << 8 | old >> 8);
        new = (uint16_t)(new << 8 | new >> 8);
    }
    store_be16(tcp + 16, wire_checksum_change(load_be16(tcp + 16), old, new));
    return true;
}
