/* ike/create: CREATE_CHILD_SA (RFC 7296 1.3). One Child SA per IKE SA, made by IKE_AUTH: a further one, and rekeying, is
 * refused the lawful way, and the peer starts over when its lifetime ends.
 */
#include "engine.h"

enum ike_outcome ike_create_refuse(struct ike_inbound *x)
{
    ike_reply_notify(x, N_NO_ADDITIONAL_SAS, span_of(NULL, 0));
    return OUTCOME_STAY;
}

enum ike_outcome ike_create_refuse_closing(struct ike_inbound *x)
{
    ike_reply_notify(x, N_TEMPORARY_FAILURE, span_of(NULL, 0));
    return OUTCOME_STAY;
}
