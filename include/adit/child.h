/* child: a Child SA as ike hands it to dp (and, in a fleet, to fleet). Plain data with keys: wipe() after use. */
#ifndef ADIT_CHILD_H
#define ADIT_CHILD_H

#include "adit/crypto.h"
#include "adit/policy.h"

struct child_sa {
    uint32_t tunnel;          /* handle */
    uint32_t spi_in, spi_out; /* host order; in: chosen by us */
    struct esp_alg alg;
    uint8_t key_in[ESP_KEYMAT_MAX], key_out[ESP_KEYMAT_MAX]; /* encryption key (+ salt) | integrity key */
    uint8_t key_len;                                         /* of each */
    bool udp;                      /* ESP goes in UDP: a NAT was found or encapsulation is forced */
    struct path path;              /* ports of IKE; with `udp` the ESP ports too */
    struct ts ts_local, ts_remote; /* narrowed: ours, the peer's */
    bool transport;                /* GRE in ESP only: next header 47 */
    uint32_t replaces;    /* spi_in of the SA this one rekeys; 0: none. dp keeps sending on the old one until the new
                                  one is seen or the old one goes */
    bool ready;           /* ... unless the peer is known to have the new one already: we asked for it */
    uint64_t hard_expiry; /* monotonic ns; NEVER */
};

#endif
