/* parley: the engine and the datapath behind it, as aditd has them, and in the same process every customer's device. The devices
 * are the test initiator of tests/sim in the role of one after the other. Only what the engine's side does counts: ike_input(), the
 * execution of its actions and ike_tick(), by the thread's processor clock.
 */
#ifndef ADIT_BENCH_PARLEY_H
#define ADIT_BENCH_PARLEY_H

#include "sim/lib/initiator.h"

#include "adit/dp.h"
#include "adit/ike.h"

#define PARLEY_MESSAGES 16

struct parley_config {
    struct suite ike, esp;
    uint32_t tunnels; /* a customer each, by an FQDN of its own */
};
struct parley_message { /* one datagram of a handshake, in its order */
    size_t n;
    bool from_us, sealed;
};
struct parley {
    struct parley_config config;
    struct io_entropy *entropy;
    struct rng rng;
    struct crypto *crypto, *their_crypto;
    struct ike *ike;
    struct dp *dp;
    struct acts acts;
    struct log log;
    struct initiator *peer;
    uint64_t now; /* virtual */
    uint64_t events;
    struct parley_message message[PARLEY_MESSAGES]; /* of the last handshake */
    size_t n_messages;
    uint64_t ns;      /* of the engine's side, all handshakes so far */
    uint64_t longest; /* for one datagram */
};
struct parley *parley_new(const struct parley_config *config);
void parley_free(struct parley *p);
/* The customer of that tunnel connects: IKE SA and Child SA come up, or the program stops. It takes 50 ms of virtual time. */
void parley_handshake(struct parley *p, uint32_t tunnel);

/* The suites that are measured. */
struct suite parley_ike(uint16_t ke, uint16_t addke);
struct suite parley_esp(void);

#endif
