/* ike/transitions: every message an IKE SA may see in every state, as rows. An edge that is not here cannot happen; what is
 * refused says why.
 */
#ifndef ADIT_IKE_TRANSITIONS_H
#define ADIT_IKE_TRANSITIONS_H

#include "engine.h"

#define PAYLOAD_BIT(type) (1u << ((type)-PAYLOAD_SA)) /* types 33..53 */

struct ike_transition {
    enum ike_state state;
    uint8_t exchange;
    bool response;
    uint32_t required, optional; /* PAYLOAD_BITs; a message with others, or without the required, takes another row */
    enum ike_state next;         /* after OUTCOME_REPLY or OUTCOME_DONE */
    enum ike_outcome (*handler)(struct ike_inbound *x);
    const char *story;
};
/* The first row for that message. NULL: no row; then either no payloads would have helped (see ike_refusal()) or these do not. */
const struct ike_transition *ike_transition_find(enum ike_state state, uint8_t exchange, bool response,
                                                 const struct ike_chain *chain);
/* Is there any row, whatever the payloads? Asked before decrypting. */
bool ike_transition_any(enum ike_state state, uint8_t exchange, bool response);
/* Why (state, exchange, response) has no row; NULL if it has one. */
const char *ike_refusal(enum ike_state state, uint8_t exchange, bool response);

#endif
