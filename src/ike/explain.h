/* ike/explain: whom the peer may have meant, for the operator alone.
 */
#ifndef ADIT_IKE_EXPLAIN_H
#define ADIT_IKE_EXPLAIN_H

#include "engine.h"

struct ike_candidate {
    const struct ike_tunnel *tunnel;
    const struct ike_identity *identity;
    const char *hint; /* in what it differs */
};
/* The configured identity nearest to the one received; false: none is near, or too many were asked for. */
bool ike_explain_identity(struct ike_turn *t, const struct addr *local, const struct ike_id *received,
                          struct ike_candidate *ret);

#endif
