/* ike/cookie: stateless cookies (RFC 7296 2.6). A cookie is
 *     epoch (1 octet) | MAC(secret, epoch number | Ni | IPi | SPIi) (16 octets)
 * SA and KE payloads are not bound, so it survives a retry after INVALID_KE_PAYLOAD (2.6.1). The epoch comes from Unix time and
 * the secret from the configuration, so that any server of an anycast set accepts what another one made.
 */
#ifndef ADIT_IKE_COOKIE_H
#define ADIT_IKE_COOKIE_H

#include "adit/base.h"

#define COOKIE_SIZE 17
#define COOKIE_EPOCH 60 /* seconds; the current and the previous epoch are accepted */

struct ike_cookies {
    uint8_t secret[32], previous[32];
    bool ours; /* the secret is none of the configuration's */
};
/* From now on `secret`, zero: one of our own. The one before it is good as long as a cookie of it may come back. */
void ike_cookie_secret(struct ike_cookies *c, const uint8_t secret[32], const struct rng *rng);
struct ike_cookie_claim {
    struct span ni;
    struct addr addr;
    uint64_t spi_i;
};
void ike_cookie_make(const struct ike_cookies *c, uint64_t unix_time, const struct ike_cookie_claim *claim,
                     uint8_t ret[COOKIE_SIZE]);
bool ike_cookie_good(const struct ike_cookies *c, uint64_t unix_time, const struct ike_cookie_claim *claim,
                     struct span cookie);

#endif
