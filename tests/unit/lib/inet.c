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
