/* wire/ike: IKEv2 bytes <-> plain structs (RFC 7296 section 3, RFC 7383, RFC 9242, RFC 9370).
 * Formats only: no keys, no state, no replies, no meaning of values. Parsed structs borrow from the datagram.
 */
#ifndef ADIT_WIRE_IKE_H
#define ADIT_WIRE_IKE_H

#include "adit/base.h"

#define IKE_HEADER_SIZE 28
#define IKE_VERSION 0x20 /* major 2, minor 0 */
#define IKE_FLAG_INITIATOR 0x08
#define IKE_FLAG_RESPONSE 0x20
#define IKE_PAYLOADS_MAX 64 /* per chain; more is malformed (docs/limits.md) */
#define IKE_PROPOSALS_MAX 255
#define IKE_TRANSFORMS_MAX 255

enum ike_exchange {
    IKE_SA_INIT = 34,
    IKE_AUTH = 35,
    CREATE_CHILD_SA = 36,
    INFORMATIONAL = 37,
    IKE_INTERMEDIATE = 43,
    IKE_FOLLOWUP_KE = 44,
};
enum ike_payload_type {
    PAYLOAD_NONE = 0,
    PAYLOAD_SA = 33,
    PAYLOAD_KE = 34,
    PAYLOAD_IDI = 35,
    PAYLOAD_IDR = 36,
    PAYLOAD_CERT = 37,
    PAYLOAD_CERTREQ = 38,
    PAYLOAD_AUTH = 39,
    PAYLOAD_NONCE = 40,
    PAYLOAD_NOTIFY = 41,
    PAYLOAD_DELETE = 42,
    PAYLOAD_VENDOR = 43,
    PAYLOAD_TSI = 44,
    PAYLOAD_TSR = 45,
    PAYLOAD_SK = 46,
    PAYLOAD_CP = 47,
    PAYLOAD_EAP = 48,
    PAYLOAD_SKF = 53,
};
enum ike_notify_type {
    N_UNSUPPORTED_CRITICAL_PAYLOAD = 1,
    N_INVALID_IKE_SPI = 4,
    N_INVALID_MAJOR_VERSION = 5,
    N_INVALID_SYNTAX = 7,
    N_INVALID_MESSAGE_ID = 9,
    N_INVALID_SPI = 11,
    N_NO_PROPOSAL_CHOSEN = 14,
    N_INVALID_KE_PAYLOAD = 17,
    N_AUTHENTICATION_FAILED = 24,
    N_SINGLE_PAIR_REQUIRED = 34,
    N_NO_ADDITIONAL_SAS = 35,
    N_INTERNAL_ADDRESS_FAILURE = 36,
    N_FAILED_CP_REQUIRED = 37,
    N_TS_UNACCEPTABLE = 38,
    N_INVALID_SELECTORS = 39,
    N_TEMPORARY_FAILURE = 43,
    N_CHILD_SA_NOT_FOUND = 44,
    N_STATE_NOT_FOUND = 47,
    N_ERROR_LAST = 16383,
    N_INITIAL_CONTACT = 16384,
    N_SET_WINDOW_SIZE = 16385,
    N_ADDITIONAL_TS_POSSIBLE = 16386,
    N_NAT_DETECTION_SOURCE_IP = 16388,
    N_NAT_DETECTION_DESTINATION_IP = 16389,
    N_COOKIE = 16390,
    N_USE_TRANSPORT_MODE = 16391,
    N_REKEY_SA = 16393,
    N_ESP_TFC_PADDING_NOT_SUPPORTED = 16394,
    N_NON_FIRST_FRAGMENTS_ALSO = 16395,
    N_CHILDLESS_IKEV2_SUPPORTED = 16418,
    N_IKEV2_FRAGMENTATION_SUPPORTED = 16430,
    N_INTERMEDIATE_EXCHANGE_SUPPORTED = 16438,
    N_ADDITIONAL_KEY_EXCHANGE = 16441,
    N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH = 16447,
};
enum ike_protocol { PROTO_NONE = 0, PROTO_IKE = 1, PROTO_AH = 2, PROTO_ESP = 3 };
enum ike_transform_type { T_ENCR = 1, T_PRF = 2, T_INTEG = 3, T_KE = 4, T_ESN = 5, T_ADDKE1 = 6, T_ADDKE7 = 12 };
enum ike_auth_method { AUTH_RSA = 1, AUTH_SHARED_KEY_MIC = 2, AUTH_NULL = 13, AUTH_DIGITAL_SIGNATURE = 14 };

const char *ike_exchange_name(uint8_t exchange); /* "IKE_AUTH"; "?" */
const char *ike_payload_name(uint8_t type);      /* "SA", "KE", "IDi" */
const char *ike_notify_name(uint16_t type);      /* "NO_PROPOSAL_CHOSEN"; "?" */

/* Where and why parsing stopped: for one log line and, after authentication, INVALID_SYNTAX. */
struct ike_error {
    const char *what; /* "payload length", "unknown critical payload", ... a literal */
    size_t offset;    /* in the bytes given */
    uint8_t payload;  /* type */
};

/* ---- header */
struct ike_header {
    uint64_t spi_i, spi_r;
    uint8_t next, version, exchange, flags;
    uint32_t mid, length;
};
/* RC_SHORT under 28 octets. Values are not judged, not even the length. */
enum rc ike_header_read(struct span datagram, struct ike_header *ret) ADIT_MUST_USE;
void ike_header_write(struct wr *w, const struct ike_header *h);

/* ---- chains of payloads */
struct ike_payload {
    uint8_t type;
    bool critical;
    uint32_t offset;  /* of the generic header in the bytes given */
    struct span body; /* after the generic header */
};
struct ike_chain {
    struct ike_payload v[IKE_PAYLOADS_MAX];
    size_t n;
    uint8_t sk_next; /* first inner payload when the chain ends in SK or SKF */
};
/* Walks `bytes` from payload type `first`; must end exactly at the end with NextPayload 0, or in SK/SKF as last payload.
 * RC_SYNTAX / RC_SHORT / RC_LIMIT with ret_err filled. Unknown types are returned too (ike_chain_critical()). */
enum rc ike_chain_read(uint8_t first, struct span bytes, struct ike_chain *ret,
                       struct ike_error *ret_err) ADIT_MUST_USE;
/* First payload of that type, or NULL. */
const struct ike_payload *ike_chain_find(const struct ike_chain *c, uint8_t type);
bool ike_payload_known(uint8_t type); /* a type this codec has a name in enum ike_payload_type for */
/* The first payload of unknown type with the critical bit, or NULL (RFC 7296 2.5). */
const struct ike_payload *ike_chain_critical(const struct ike_chain *c);

/* Shape rules: which payloads an exchange's request or response may hold, how often, in the clear or encrypted; one table.
 * RC_SYNTAX with ret_err when a known payload is missing, doubled or in the wrong place, or a Notify is malformed. Unknown and
 * "ignored" types pass. !encrypted, exchanges after IKE_SA_INIT: the chain must end in SK or SKF. */
enum rc ike_shape_check(uint8_t exchange, bool response, bool encrypted, const struct ike_chain *c,
                        struct ike_error *ret_err) ADIT_MUST_USE;

/* ---- SA payload. Validated once as a whole, then walked by iterators: no storage, O(bytes). */
struct ike_proposal {
    uint8_t num, protocol;
    struct span spi;
    uint8_t n_transforms;
    struct rd transforms; /* for ike_transform_next() */
};
struct ike_transform {
    uint8_t type;
    uint16_t id;
    uint16_t key_bits; /* 0: no key length attribute */
    bool acceptable;   /* false: unknown or repeated attribute, malformed key length */
    struct span attrs; /* raw, to be returned unchanged */
};
/* RC_SYNTAX: nesting, counts. RC_RANGE: all well but the numbers, 1, 2, ..; a single proposal may have any (a response). */
enum rc ike_sa_check(struct span body, struct ike_error *ret_err) ADIT_MUST_USE;
bool ike_proposal_next(struct rd *sa, struct ike_proposal *ret); /* on rd_of(a checked body) */
bool ike_transform_next(struct rd *transforms, struct ike_transform *ret);

/* ---- other payload bodies */
struct ike_ke {
    uint16_t method;
    struct span data;
};
enum rc ike_ke_read(struct span body, struct ike_ke *ret) ADIT_MUST_USE;
struct ike_id {
    uint8_t type;
    struct span data;
    struct span maced; /* IDtype|RESERVED|data as on the wire: what AUTH covers */
};
enum rc ike_id_read(struct span body, struct ike_id *ret) ADIT_MUST_USE;
struct ike_auth {
    uint8_t method;
    struct span data;
};
enum rc ike_auth_read(struct span body, struct ike_auth *ret) ADIT_MUST_USE;
struct ike_notify {
    uint8_t protocol;
    uint16_t type;
    struct span spi, data;
};
enum rc ike_notify_read(struct span body, struct ike_notify *ret) ADIT_MUST_USE;
/* First Notify of that type in the chain, decoded; false if none. */
bool ike_notify_find(const struct ike_chain *c, uint16_t type, struct ike_notify *ret);
struct ike_delete {
    uint8_t protocol, spi_size;
    uint16_t n;
    struct rd spis; /* n * spi_size octets */
};
enum rc ike_delete_read(struct span body, struct ike_delete *ret) ADIT_MUST_USE;
enum rc ike_nonce_check(struct span body) ADIT_MUST_USE; /* 16..256 octets, RFC 7296 3.9 */

enum { TS_IPV4_ADDR_RANGE = 7, TS_IPV6_ADDR_RANGE = 8 };
struct ike_ts {
    uint8_t type; /* others than 7 and 8: the rest is unset */
    uint8_t proto;
    uint16_t port_first, port_last;
    struct addr first, last;
};
/* ret: reader over the selectors for ike_ts_next(); the whole nesting is checked here. */
enum rc ike_ts_read(struct span body, uint8_t *ret_n, struct rd *ret) ADIT_MUST_USE;
bool ike_ts_next(struct rd *selectors, struct ike_ts *ret);

/* ---- SKF's fragment numbers (RFC 7383 2.5); rest: IV | ciphertext | ICV */
struct ike_skf {
    uint16_t number, total;
    struct span rest;
};
enum rc ike_skf_read(struct span body, struct ike_skf *ret) ADIT_MUST_USE; /* RC_RANGE: a number 0 or above the total */

/* ---- writing a message: payloads chain themselves, lengths are patched at the end */
struct ike_writer {
    struct wr w;
    size_t message_at; /* where it began in w */
    size_t next_at;    /* where the next payload's type goes */
    size_t open_at;    /* generic header of the payload being written */
    uint8_t first;     /* type of the first payload */
    bool bare;         /* inner payloads: no header */
};
/* Starts with a header (next 0, length 0) ... */
void ike_write_message(struct ike_writer *iw, struct wr w, const struct ike_header *h);
/* ... or with bare inner payloads, whose first type is returned by ike_write_first(). */
void ike_write_inner(struct ike_writer *iw, struct wr w);
uint8_t ike_write_first(const struct ike_writer *iw);
void ike_write_begin(struct ike_writer *iw, uint8_t payload_type); /* then write the body to iw->w */
void ike_write_end(struct ike_writer *iw);
/* Patches the header's length; RC_LIMIT when the buffer was too small. */
enum rc ike_write_finish(struct ike_writer *iw, struct span *ret) ADIT_MUST_USE;

struct ike_transform_out {
    uint8_t type;
    uint16_t id, key_bits;
};
/* One proposal as a whole SA payload (what a responder answers), or several by begin/proposal.../end. */
void ike_write_proposal(struct ike_writer *iw, uint8_t num, uint8_t protocol, struct span spi,
                        const struct ike_transform_out *t, size_t n, bool last);
void ike_write_sa(struct ike_writer *iw, uint8_t num, uint8_t protocol, struct span spi,
                  const struct ike_transform_out *t, size_t n);
void ike_write_ke(struct ike_writer *iw, uint16_t method, struct span data);
void ike_write_nonce(struct ike_writer *iw, struct span nonce);
void ike_write_id(struct ike_writer *iw, uint8_t payload_type, uint8_t id_type, struct span data);
void ike_write_auth(struct ike_writer *iw, uint8_t method, struct span data);
void ike_write_notify(struct ike_writer *iw, uint8_t protocol, struct span spi, uint16_t type, struct span data);
void ike_write_delete_ike(struct ike_writer *iw);
void ike_write_delete_esp(struct ike_writer *iw, const uint32_t *spis, uint16_t n);
void ike_write_ts(struct ike_writer *iw, uint8_t payload_type, const struct ike_ts *ts, uint8_t n);

#endif
