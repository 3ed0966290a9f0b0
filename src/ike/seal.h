/* ike/seal: the Encrypted and Encrypted Fragment payloads (RFC 7296 3.14, RFC 5282, RFC 7383 2.5), both ways.
 */
#ifndef ADIT_IKE_SEAL_H
#define ADIT_IKE_SEAL_H

#include "engine.h"

/* Seal inner payloads (first of type `first`) under our keys of `sa`, in datagrams of at most `limit` octets of UDP payload: as
 * SK when it fits or the peer does not reassemble, else as SKF. `h` gives SPIs, exchange, flags and MID. */
enum rc ike_seal(struct ike *ike, struct ike_sa *sa, const struct ike_header *h, uint8_t first, struct span inner,
                 size_t limit, struct ike_message *ret) ADIT_MUST_USE;

/* It comes to be sent once more: from the second time on in smaller datagrams, down to fragment_size_min, each try in more of them.
 * `keys` are those it was sealed under. Nothing happens when it cannot get smaller. */
void ike_seal_smaller(struct ike *ike, struct ike_sa *sa, const struct path *path, const struct ike_half *keys,
                      struct ike_message *m);
/* Keys of what the original initiator sends, or its responder. */
void ike_seal_half(const struct ike_keys *k, bool of_initiator, struct ike_half *ret);

/* One datagram that ends in SK or SKF: authenticates and decrypts it inside `msg` (n octets). aad_len: through the payload's
 * generic header, for SKF through its numbers. RC_AUTH, RC_SHORT: drop. RC_SYNTAX: authentic, but the padding is longer than the
 * text. */
enum rc ike_open(struct crypto *c, struct sk_alg alg, const uint8_t *key_e, const uint8_t *key_a, uint8_t *msg,
                 size_t n, size_t aad_len, struct span *ret_inner) ADIT_MUST_USE;

/* A of RFC 9242 3.3.2: IKE header and SK generic header as if the message were neither fragmented nor encrypted. */
void ike_seal_a(const struct ike_header *h, uint8_t first, uint8_t reserved, size_t inner,
                uint8_t ret[IKE_HEADER_SIZE + 4]);

/* UDP payload that fits the policy's IP datagram size on this path. */
size_t ike_seal_limit(const struct path *path, uint16_t ip_datagram);

#endif
