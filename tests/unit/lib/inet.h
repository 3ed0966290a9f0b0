/* What the tests know about IP without asking the code under test: the checksum as RFC 1071 4.1 words it, and fields by their offset.
 */
#ifndef ADIT_TESTS_INET_H
#define ADIT_TESTS_INET_H

#include "unit.h"

uint16_t inet_checksum(const uint8_t *p, size_t n);
uint16_t inet_checksum_pseudo(struct span packet, size_t at,
                              uint8_t proto); /* from `at` to the end, under the pseudo-header */
bool ip4_header_ok(struct span packet);       /* length, header length and checksum */
void ip4_finish(uint8_t *p);                  /* write the header checksum */
/* A GRE packet as RFC 2784 and 2890 draw it: `flags` and `proto` verbatim; the fields its bits C, K, S announce, the checksum right. At
 * most 4000 octets; valid until the next but three. */
struct span gre_packet(uint16_t flags, uint16_t proto, uint32_t key, uint32_t sequence, struct span payload);
static inline uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}

#endif
