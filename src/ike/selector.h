/* ike/selector: narrowing traffic selectors to a single pair (RFC 7296 2.9). Pure. "remote" is the peer's side: TSi when the
 * peer initiates, TSr when we do.
 */
#ifndef ADIT_IKE_SELECTOR_H
#define ADIT_IKE_SELECTOR_H

#include "adit/policy.h"
#include "adit/wire_ike.h"

struct ike_ts_policy {
    const struct ts *local, *remote;
    uint8_t n_local, n_remote;
};
struct ike_ts_pair {
    struct ts local, remote;
    bool more; /* other acceptable selectors were left out: ADDITIONAL_TS_POSSIBLE */
};
/* The widest pair of one address family that holds what is acceptable of the peer's first selectors. RC_ABSENT: nothing is
 * acceptable (TS_UNACCEPTABLE); RC_SYNTAX, RC_SHORT: malformed. */
enum rc ike_selector_narrow(const struct ike_ts_policy *policy, struct span peer_remote, struct span peer_local,
                            struct ike_ts_pair *ret) ADIT_MUST_USE;
/* The same when a child with the pair `old` is rekeyed: never narrower than that (2.9.2), RC_ABSENT. */
enum rc ike_selector_rekey(const struct ike_ts_policy *policy, struct span peer_remote, struct span peer_local,
                           const struct ts *old_local, const struct ts *old_remote,
                           struct ike_ts_pair *ret) ADIT_MUST_USE;
struct ike_ts ike_selector_wire(const struct ts *ts);
/* The first selector of each side, for logs: "10.0.0.0-10.0.0.255 === 0.0.0.0-255.255.255.255" */
#define IKE_TS_TEXT 224
const char *ike_selector_policy_text(const struct ike_ts_policy *policy, char ret[IKE_TS_TEXT]); /* what is allowed */
const char *ike_selector_text(struct span peer_remote, struct span peer_local, char ret[IKE_TS_TEXT]);

#endif
