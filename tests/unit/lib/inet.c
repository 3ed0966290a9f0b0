/* The Internet checksum without a trick; see inet.h. */
#include "inet.h"

static uint32_t add(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

uint16_t inet_checksum(const uint8_t *p, size_t n)
{
    return (uint16_t)~add(0, p, n);
}

uint16_t inet_checksum_pseudo(struct span packet, size_t at, uint8_t proto)
{
    bool v6 = packet.p[0] >> 4 == 6;
    size_t n = packet.n - at;
    const uint8_t tail[8] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, proto};
    uint32_t sum = v6 ? add(0, packet.p + 8, 32) : add(0, packet.p + 12, 8);
    return (uint16_t)~add(add(sum, tail, sizeof tail), packet.p + at, n);
}

bool ip4_header_ok(struct span packet)
{
    size_t header = (packet.p[0] & 15u) * 4;
    return packet.n >= header && packet.p[0] >> 4 == 4 && header >= 20 && be16(packet.p + 2) == packet.n &&
           inet_checksum(packet.p, header) == 0;
}

void ip4_finish(uint8_t *p)
{
    p[10] = p[11] = 0;
    uint16_t sum = inet_checksum(p, (p[0] & 15u) * 4);
    p[10] = (uint8_t)(sum >> 8);
    p[11] = (uint8_t)sum;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    return p + 4;
}

struct span gre_packet(uint16_t flags, uint16_t proto, uint32_t key, uint32_t sequence, struct span payload)
{
    static uint8_t ring[4][4096];
    static unsigned turn;
    uint8_t *p = ring[turn++ % 4], *at = put32(p, (uint32_t)flags << 16 | proto);
    assert_in_range(payload.n, 0, 4000);
    if (flags & 0x8000)
        at = put32(at, 0);
    if (flags & 0x2000)
        at = put32(at, key);
    if (flags & 0x1000)
        at = put32(at, sequence);
    if (payload.n)
        memcpy(at, payload.p, payload.n);
    size_t n = (size_t)(at - p) + payload.n;
    if (flags & 0x8000) {
        uint16_t sum = inet_checksum(p, n);
        p[4] = (uint8_t)(sum >> 8);
        p[5] = (uint8_t)sum;
    }
    return span_of(p, n);
}
