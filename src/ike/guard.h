/* ike/guard: which IKE_SA_INIT is worth a key exchange.
 */
#ifndef ADIT_IKE_GUARD_H
#define ADIT_IKE_GUARD_H

#include "engine.h"

enum rc ike_guard_init(struct ike *ike) ADIT_MUST_USE;
/* Count a half-open SA for its host and prefix; false: out of memory. */
bool ike_guard_enter(struct ike *ike, struct ike_sa *sa) ADIT_MUST_USE;
void ike_guard_leave(struct ike *ike, struct ike_sa *sa);
/* A well-formed IKE_SA_INIT: may it go on? If not it was answered by a cookie, or dropped and counted. */
bool ike_guard_admit(struct ike_inbound *x, struct span nonce);
/* And may it cost a key exchange? */
bool ike_guard_spend(struct ike_inbound *x, struct span nonce);

#endif
