/* ike/transitions: the table of the IKEv2 responder (RFC 7296 1.2-1.4, RFC 9242, RFC 9370).
 */
#include "transitions.h"

#define P(type) PAYLOAD_BIT(PAYLOAD_##type)
#define COMMON (P(NOTIFY) | P(VENDOR)) /* may stand in every message */
#define IKE_AUTH_EXTRA (P(IDR) | P(AUTH) | P(CERT) | P(CERTREQ) | P(CP) | P(EAP))

static const struct ike_transition TRANSITIONS[] = {
    {IKE_STATE_NEW, IKE_SA_INIT, false, P(SA) | P(KE) | P(NONCE), COMMON | P(CERTREQ), IKE_STATE_NEW, ike_init_request,
     "proposal, key exchange, nonces; makes the SA in ADDING_KEYS or AWAITING_AUTH"},

    {IKE_STATE_ADDING_KEYS, IKE_INTERMEDIATE, false, P(KE), COMMON, IKE_STATE_AWAITING_AUTH, ike_intermediate_request,
     "one additional key exchange; stays while more were negotiated"},

    {IKE_STATE_AWAITING_AUTH, IKE_AUTH, false, P(IDI) | P(SA) | P(TSI) | P(TSR), COMMON | IKE_AUTH_EXTRA,
     IKE_STATE_ESTABLISHED, ike_auth_request, "identity and PSK proved, first child negotiated"},

    {IKE_STATE_ESTABLISHED, CREATE_CHILD_SA, false, 0, COMMON | P(SA) | P(NONCE) | P(KE) | P(TSI) | P(TSR) | P(CP),
     IKE_STATE_ESTABLISHED, ike_create_refuse, "one child per IKE SA: NO_ADDITIONAL_SAS"},
    {IKE_STATE_ESTABLISHED, INFORMATIONAL, false, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_ESTABLISHED,
     ike_informational_request, "liveness, Delete of children or of the SA"},
    {IKE_STATE_ESTABLISHED, INFORMATIONAL, true, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_ESTABLISHED,
     ike_informational_response, "the peer answered our Delete of children"},

    {IKE_STATE_DELETING, CREATE_CHILD_SA, false, 0, COMMON | P(SA) | P(NONCE) | P(KE) | P(TSI) | P(TSR) | P(CP),
     IKE_STATE_DELETING, ike_create_refuse_closing, "the SA is being closed: TEMPORARY_FAILURE (RFC 7296 2.25.2)"},
    {IKE_STATE_DELETING, INFORMATIONAL, false, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_DELETING,
     ike_informational_request, "both delete at once, or the peer still checks liveness"},
    {IKE_STATE_DELETING, INFORMATIONAL, true, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_ENDED,
     ike_informational_response, "the peer answered our Delete"},
};

#define S(state) (1u << IKE_STATE_##state)
#define ALL_STATES ((1u << IKE_STATES) - 1)
#define HALF_OPEN (S(ADDING_KEYS) | S(AWAITING_AUTH))
#define OPEN (S(ESTABLISHED) | S(DELETING))

static const struct {
    unsigned states;
    uint8_t exchange;
    bool response;
    const char *story;
} REFUSALS[] = {
    {S(NEW), IKE_AUTH, false, "no SA of that SPI"},
    {S(NEW), CREATE_CHILD_SA, false, "no SA of that SPI"},
    {S(NEW), INFORMATIONAL, false, "no SA of that SPI"},
    {S(NEW), IKE_INTERMEDIATE, false, "no SA of that SPI"},
    {S(NEW), IKE_FOLLOWUP_KE, false, "no SA of that SPI"},
    {ALL_STATES & ~S(NEW), IKE_SA_INIT, false, "IKE_SA_INIT on an SA that exists"},

    {S(AWAITING_AUTH), IKE_INTERMEDIATE, false, "IKE_INTERMEDIATE that was not negotiated (RFC 9242 3.2)"},
    {S(ADDING_KEYS), IKE_AUTH, false, "IKE_AUTH before all additional key exchanges are done (RFC 9370 2.2.2)"},
    {HALF_OPEN, CREATE_CHILD_SA, false, "CREATE_CHILD_SA before IKE_AUTH"},
    {HALF_OPEN, INFORMATIONAL, false, "INFORMATIONAL before IKE_AUTH"},
    {HALF_OPEN, IKE_FOLLOWUP_KE, false, "IKE_FOLLOWUP_KE before IKE_AUTH"},

    {OPEN, IKE_AUTH, false, "IKE_AUTH on an established SA"},
    {OPEN, IKE_INTERMEDIATE, false, "IKE_INTERMEDIATE after IKE_AUTH (RFC 9242 3.2)"},
    {OPEN, IKE_FOLLOWUP_KE, false, "IKE_FOLLOWUP_KE without a CREATE_CHILD_SA that asked for it"},

    {S(ENDED), IKE_AUTH, false, "the SA has ended"},
    {S(ENDED), CREATE_CHILD_SA, false, "the SA has ended"},
    {S(ENDED), INFORMATIONAL, false, "the SA has ended"},
    {S(ENDED), IKE_INTERMEDIATE, false, "the SA has ended"},
    {S(ENDED), IKE_FOLLOWUP_KE, false, "the SA has ended"},

    {ALL_STATES, IKE_SA_INIT, true, "a response, but we are never the initiator"},
    {ALL_STATES, IKE_AUTH, true, "a response, but we are never the initiator"},
    {ALL_STATES, IKE_INTERMEDIATE, true, "a response, but we are never the initiator"},
    {ALL_STATES, CREATE_CHILD_SA, true, "a response to a request we do not send"},
    {ALL_STATES, IKE_FOLLOWUP_KE, true, "a response to a request we do not send"},
    {S(NEW) | HALF_OPEN | S(ENDED), INFORMATIONAL, true, "a response, but no request of ours is outstanding"},
};

static uint32_t present(const struct ike_chain *chain)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < chain->n; i++) {
        uint8_t type = chain->v[i].type; /* unknown ones without the critical bit do not count, RFC 7296 2.5 */
        if ((type >= PAYLOAD_SA && type <= PAYLOAD_EAP) || type == PAYLOAD_SKF)
            bits |= PAYLOAD_BIT(type);
    }
    return bits;
}

const struct ike_transition *ike_transition_find(enum ike_state state, uint8_t exchange, bool response,
                                                 const struct ike_chain *chain)
{
    uint32_t bits = present(chain);
    for (size_t i = 0; i < ARRAY_LEN(TRANSITIONS); i++) {
        const struct ike_transition *row = &TRANSITIONS[i];
        if (row->state == state && row->exchange == exchange && row->response == response &&
            (bits & row->required) == row->required && !(bits & ~(row->required | row->optional)))
            return row;
    }
    return NULL;
}

bool ike_transition_any(enum ike_state state, uint8_t exchange, bool response)
{
    for (size_t i = 0; i < ARRAY_LEN(TRANSITIONS); i++)
        if (TRANSITIONS[i].state == state && TRANSITIONS[i].exchange == exchange && TRANSITIONS[i].response == response)
            return true;
    return false;
}

const char *ike_refusal(enum ike_state state, uint8_t exchange, bool response)
{
    for (size_t i = 0; i < ARRAY_LEN(REFUSALS); i++)
        if (REFUSALS[i].states >> state & 1 && REFUSALS[i].exchange == exchange && REFUSALS[i].response == response)
            return REFUSALS[i].story;
    return NULL;
}
