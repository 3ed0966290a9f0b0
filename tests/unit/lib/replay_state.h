/* What the parts of replay share: replay.c (packets, messages), replay_sa.c (IKE SA keys, IntAuth, AUTH), replay_child.c
 * (Child SAs, rekeys, ESP). */
#ifndef ADIT_TESTS_REPLAY_STATE_H
#define ADIT_TESTS_REPLAY_STATE_H

#include "events.h"
#include "ike/keys.h"
#include "pcap.h"
#include "replay.h"

#define INNER_MAX 65535
#define PARTS_MAX 64
#define ADDKE_MAX 7

struct inner { /* a whole decrypted message */
    struct ike_header h;
    uint8_t first, reserved; /* of the first fragment's generic header */
    uint8_t text[INNER_MAX];
    size_t n;
    struct ike_chain chain;
};

struct offer { /* one proposal */
    uint8_t num, protocol;
    struct span spi;
    uint16_t encr, bits, prf, integ, ke, addke[ADDKE_MAX];
    size_t n_addke; /* without NONE */
};

struct parts { /* of one direction: the fragments of one message */
    uint32_t mid;
    uint16_t total, got;
    uint8_t first, reserved;
    struct buf text[PARTS_MAX];
};

struct exchange { /* CREATE_CHILD_SA until its last IKE_FOLLOWUP_KE */
    bool open;
    struct inner request, response;
    struct offer offered, chosen;
    size_t followups;
    struct buf link;
};

struct sa {
    uint64_t spi_i, spi_r;
    uint16_t prf;
    struct sk_alg alg;
    struct ike_keys keys;
    struct offer suite;
    struct buf init_request, init_response, ni, nr;
    uint8_t int_auth_i[PRF_MAX], int_auth_r[PRF_MAX];
    size_t intermediates; /* finished */
    struct parts parts[2];
    struct inner auth_request;
    struct exchange child[2]; /* by who asked: [1] the original initiator of the IKE SA */
};

struct esp_sa {
    uint32_t spi;
    struct esp_alg alg;
    struct esp_key *key;
    size_t packets;
};

struct replay {
    const char *dir, *name;
    FILE *tap;
    struct replay_result *ret;
    struct crypto *c;
    struct events events;
    json_t *esp_keys; /* NULL: no such file */
    struct span psk;
    struct buf init_request; /* the last IKE_SA_INIT request */
    struct sa *sas[8];
    size_t n_sas;
    struct esp_sa esp[64];
    size_t n_esp;
    uint8_t seen[4096][32]; /* SHA-256 of IKE datagrams: a retransmit is the same octets */
    size_t n_seen;
};

/* replay.c */
bool check(struct replay *r, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The next logged value of that label is `got`. */
bool check_event(struct replay *r, const char *label, struct span got, const char *what);
bool offer_read(struct span sa_body, uint8_t num, struct offer *ret); /* num 0: the first */
struct span body_of(const struct ike_chain *c, uint8_t type);         /* {NULL, 0} when absent */
bool ke_of(const struct ike_chain *c, struct ike_ke *ret);
void inner_keep(struct inner *copy, const struct inner *m); /* m has been parsed */

/* replay_sa.c */
struct sa *sa_new(struct replay *r);
void sa_free(struct sa *sa);
void sa_begin(struct replay *r, struct span request, struct span response, const struct ike_chain *ci,
              const struct ike_chain *cr);
bool sa_keys(struct replay *r, struct sa *sa, struct span seed, const char *what);
void sa_intermediate(struct replay *r, struct sa *sa, const struct inner *m, bool response);
void sa_auth(struct replay *r, struct sa *sa, const struct inner *m, bool response);

/* replay_child.c */
void child_first(struct replay *r, struct sa *sa, const struct inner *response);
void child_request(struct replay *r, struct exchange *x, const struct inner *m);
void child_response(struct replay *r, struct sa *sa, struct exchange *x, const struct inner *m);
void followup_request(struct replay *r, const struct exchange *x, const struct inner *m);
void followup_response(struct replay *r, struct sa *sa, struct exchange *x, const struct inner *m);
void esp_packet(struct replay *r, struct span packet);
void esp_finish(struct replay *r);

#endif
