/* Super-packets of the tests' own making, and what they consist of.
 */
#ifndef ADIT_TESTS_SUPER_H
#define ADIT_TESTS_SUPER_H

#include "inet.h"
#include "world.h"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 0x10, URG = 0x20, ECE = 0x40, CWR = 0x80 };

struct super_spec {
    uint8_t version, proto; /* 6 TCP, 17 UDP */
    uint8_t flags, options; /* TCP; octets of options, a multiple of 4 */
    uint8_t tos, ttl;
    bool df;
    uint16_t id, size, sport; /* size: of a segment's payload */
    uint32_t payload, seq;
};
size_t super_headers(const struct super_spec *s);
/* To tunnel GRE_TUNNEL of the world's EDGE. `whole`: the checksum field is finished, no offload: an ordinary packet. */
struct pkt *super_make(struct world *w, const struct super_spec *s, bool whole);
/* A chain in one piece; the caller frees. */
struct span super_flat(const struct pkt *p);
/* Every segment that `out` must consist of, looked at on its own: lengths, ID, sequence, flags, checksums, and its payload. */
void super_check_segment(const struct super_spec *s, size_t k, struct span segment);

#endif
