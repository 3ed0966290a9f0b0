/* The keys of one IKE SA in the hands of the other side, and messages under them: sealed, cut, opened, put together
 * (RFC 7296 3.14, RFC 5282, RFC 7383). Written from the RFCs; of the engine's sources it uses the key schedule only, which known
 * answers check. A value that cannot be stops the test.
 */
#ifndef ADIT_TESTS_SESSION_H
#define ADIT_TESTS_SESSION_H

#include "unit/lib/unit.h"

#include "adit/policy.h"
#include "adit/wire_ike.h"
#include "ike/keys.h"

#define PARCEL_MAX 64
#define PLAIN_MAX 65536

struct parcel { /* one message as the datagrams it travels in */
    struct buf v[PARCEL_MAX];
    size_t n;
};
void parcel_add(struct parcel *p, struct span datagram);
void parcel_clear(struct parcel *p);

struct gather { /* fragments of one message */
    uint32_t mid;
    uint16_t total, have;
    struct buf v[PARCEL_MAX];
    uint8_t first, reserved;
};

struct session {
    struct crypto *crypto;
    uint64_t spi_i, spi_r;
    bool began; /* we are its original initiator */
    struct suite suite;
    struct ike_keys keys;
    uint64_t iv;
    size_t limit;            /* octets of a datagram; 0: nothing is cut */
    struct gather gather[2]; /* requests and responses that are coming in */
};
struct sk_alg session_alg(const struct session *s);
void session_clear(struct session *s);

/* Flags of a message of ours. */
struct ike_header session_header(const struct session *s, uint8_t exchange, bool response, uint32_t mid);
void session_seal(struct session *s, const struct ike_header *h, uint8_t first, struct span inner, struct parcel *ret);
/* A single datagram, lawful or not: SKF when total is not 0. */
void session_seal_one(struct session *s, const struct ike_header *h, uint8_t first, struct span text, uint16_t number,
                      uint16_t total, struct buf *ret);

struct plain { /* a message, opened */
    struct ike_header header;
    uint8_t first, reserved;
    uint8_t text[PLAIN_MAX]; /* inner payloads */
    size_t n;
    struct ike_chain chain;
};
enum opened { OPENED_NOT, OPENED_PART, OPENED_WHOLE };
enum opened session_open(struct session *s, struct span datagram, struct plain *ret);
bool plain_notify(const struct plain *p, uint16_t type, struct ike_notify *ret);
uint16_t plain_error(const struct plain *p); /* the first error notify; 0: none */

/* A of RFC 9242 3.3.2: the headers as if the message were whole and in the clear. */
void session_a(const struct ike_header *h, uint8_t first, uint8_t reserved, size_t inner, uint8_t ret[32]);

#endif
