/* ike/fragment: reassembly of one IKE message from Encrypted Fragment payloads (RFC 7383 2.6). Pieces come here decrypted and
 * authenticated: ike_fragment_admit() says beforehand whether decrypting is worth it, ike_fragment_store() keeps.
 */
#ifndef ADIT_IKE_FRAGMENT_H
#define ADIT_IKE_FRAGMENT_H

#include "adit/wire_ike.h"

#define IKE_FRAGMENTS_MAX 64
#define IKE_REASSEMBLED_MAX 65536

struct ike_fragments {
    uint32_t mid;
    uint16_t total, have;  /* total 0: empty */
    size_t bytes, largest; /* octets stored; UDP payload of the largest datagram */
    struct buf piece[IKE_FRAGMENTS_MAX];
    /* Of fragment 1, from which the unfragmented message is rebuilt for IntAuth (RFC 9242 3.3.2). */
    struct ike_header header;
    uint8_t first, reserved; /* NextPayload; C and RESERVED */
    uint64_t hash;           /* of its datagram */
};

struct ike_piece {
    uint16_t number, total;
    struct ike_header header;
    uint8_t first, reserved;
    uint64_t hash;
    size_t datagram; /* its UDP payload */
    struct span text;
};

/* RC_SYNTAX: numbers that cannot be. RC_LIMIT: more fragments than we take. RC_RANGE: fewer in total than the message being
 * reassembled has. RC_EXISTS: already here. A queue of another message ID does not count. */
enum rc ike_fragment_admit(const struct ike_fragments *f, uint32_t mid, uint16_t number, uint16_t total,
                           uint16_t max) ADIT_MUST_USE;
/* An admitted, authenticated piece. A larger Total, or another message ID, throws away what was there. RC_LIMIT: message too
 * large, all thrown away. */
enum rc ike_fragment_store(struct ike_fragments *f, const struct ike_piece *piece) ADIT_MUST_USE;
bool ike_fragment_complete(const struct ike_fragments *f);
void ike_fragment_join(const struct ike_fragments *f, struct wr *w);
void ike_fragment_clear(struct ike_fragments *f); /* wipes and frees */

#endif
