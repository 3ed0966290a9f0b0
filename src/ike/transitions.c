/* ike/transitions: the table of the IKEv2 responder (RFC 7296 1.2-1.4, RFC 9242, RFC 9370).
 */
#include "transitions.h"

#define P(type) PAYLOAD_BIT(PAYLOAD_##type)
#define COMMON (P(NOTIFY) | P(VENDOR)) /* may stand in every message */
#define CREATE_EXTRA (COMMON | P(SA) | P(NONCE) | P(KE) | P(TSI) | P(TSR) | P(CP))
#define IKE_AUTH_EXTRA (P(IDR) | P(AUTH) | P(CERT) | P(CERTREQ) | P(CP) | P(EAP))

static const struct ike_transition TRANSITIONS[] = {
    {IKE_STATE_NEW, IKE_SA_INIT, false, P(SA) | P(KE) | P(NONCE), COMMON | P(CERTREQ), IKE_STATE_NEW, ike_init_request,
     "proposal, key exchange, nonces; makes the SA in ADDING_KEYS or AWAITING_AUTH"},

    {IKE_STATE_ADDING_KEYS, IKE_INTERMEDIATE, false, P(KE), COMMON, IKE_STATE_AWAITING_AUTH, ike_intermediate_request,
     "one additional key exchange; stays while more were negotiated"},

    {IKE_STATE_AWAITING_AUTH, IKE_AUTH, false, P(IDI) | P(SA) | P(TSI) | P(TSR), COMMON | IKE_AUTH_EXTRA,
     IKE_STATE_ESTABLISHED, ike_auth_request, "identity and PSK proved, first child negotiated"},
    {IKE_STATE_AWAITING_AUTH, IKE_AUTH, false, P(IDI), COMMON | IKE_AUTH_EXTRA, IKE_STATE_ESTABLISHED, ike_auth_request,
     "the same without a child (RFC 6023)"},

    {IKE_STATE_ESTABLISHED, CREATE_CHILD_SA, false, P(SA) | P(NONCE) | P(TSI) | P(TSR), COMMON | P(KE) | P(CP),
     IKE_STATE_ESTABLISHED, ike_create_child, "another child, or with REKEY_SA one in the place of another"},
    {IKE_STATE_ESTABLISHED, CREATE_CHILD_SA, false, P(SA) | P(NONCE) | P(KE), COMMON, IKE_STATE_ESTABLISHED,
     ike_create_ike, "the IKE SA itself is rekeyed; becomes REPLACED when the new one has all its keys"},
    {IKE_STATE_ESTABLISHED, CREATE_CHILD_SA, true, 0, CREATE_EXTRA, IKE_STATE_ESTABLISHED, ike_create_response,
     "the peer answered our rekey"},
    {IKE_STATE_ESTABLISHED, IKE_FOLLOWUP_KE, false, P(KE), COMMON, IKE_STATE_ESTABLISHED, ike_followup_request,
     "one additional key exchange of the peer's CREATE_CHILD_SA (RFC 9370 2.2.4)"},
    {IKE_STATE_ESTABLISHED, IKE_FOLLOWUP_KE, true, 0, COMMON | P(KE), IKE_STATE_ESTABLISHED, ike_followup_response,
     "one of ours"},
    {IKE_STATE_ESTABLISHED, INFORMATIONAL, false, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_ESTABLISHED,
     ike_informational_request, "liveness, Delete of children or of the SA"},
    {IKE_STATE_ESTABLISHED, INFORMATIONAL, true, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_ESTABLISHED,
     ike_informational_response, "the peer answered our Delete of children, or lives"},

    {IKE_STATE_CONTESTED, CREATE_CHILD_SA, false, 0, CREATE_EXTRA, IKE_STATE_CONTESTED, ike_create_closing,
     "it has no children yet: TEMPORARY_FAILURE (RFC 7296 2.25.2)"},
    {IKE_STATE_CONTESTED, IKE_FOLLOWUP_KE, false, 0, COMMON | P(KE), IKE_STATE_CONTESTED, ike_create_closing,
     "likewise"},
    {IKE_STATE_CONTESTED, INFORMATIONAL, false, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_CONTESTED,
     ike_informational_request, "liveness; Delete by the peer that has seen it lose (RFC 7296 2.8.2)"},

    {IKE_STATE_REPLACED, CREATE_CHILD_SA, false, 0, CREATE_EXTRA, IKE_STATE_REPLACED, ike_create_closing,
     "the SA has a successor: TEMPORARY_FAILURE (RFC 7296 2.25.2)"},
    {IKE_STATE_REPLACED, CREATE_CHILD_SA, true, 0, CREATE_EXTRA, IKE_STATE_REPLACED, ike_create_response,
     "the peer answered our rekey, which crossed its own (RFC 7296 2.8.2)"},
    {IKE_STATE_REPLACED, IKE_FOLLOWUP_KE, false, 0, COMMON | P(KE), IKE_STATE_REPLACED, ike_create_closing, "likewise"},
    {IKE_STATE_REPLACED, IKE_FOLLOWUP_KE, true, 0, COMMON | P(KE), IKE_STATE_REPLACED, ike_followup_response,
     "our rekey wins and goes on"},
    {IKE_STATE_REPLACED, INFORMATIONAL, false, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_REPLACED,
     ike_informational_request, "the Delete that is to come"},
    {IKE_STATE_REPLACED, INFORMATIONAL, true, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_REPLACED,
     ike_informational_response, "the peer lives"},

    {IKE_STATE_DELETING, CREATE_CHILD_SA, false, 0, CREATE_EXTRA, IKE_STATE_DELETING, ike_create_closing,
     "the SA is being closed: TEMPORARY_FAILURE (RFC 7296 2.25.2)"},
    {IKE_STATE_DELETING, CREATE_CHILD_SA, true, 0, CREATE_EXTRA, IKE_STATE_DELETING, ike_create_response,
     "the peer answered a rekey that we have given up; now the Delete goes out"},
    {IKE_STATE_DELETING, IKE_FOLLOWUP_KE, false, 0, COMMON | P(KE), IKE_STATE_DELETING, ike_create_closing, "likewise"},
    {IKE_STATE_DELETING, IKE_FOLLOWUP_KE, true, 0, COMMON | P(KE), IKE_STATE_DELETING, ike_followup_response,
     "likewise"},
    {IKE_STATE_DELETING, INFORMATIONAL, false, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_DELETING,
     ike_informational_request, "both delete at once, or the peer still checks liveness"},
    {IKE_STATE_DELETING, INFORMATIONAL, true, 0, COMMON | P(DELETE) | P(CP), IKE_STATE_ENDED,
     ike_informational_response, "the peer answered our Delete"},
};

#define S(state) (1u << IKE_STATE_##state)
#define ALL_STATES ((1u << IKE_STATES) - 1)
#define HALF_OPEN (S(ADDING_KEYS) | S(AWAITING_AUTH))
#define OPEN (S(ESTABLISHED) | S(CONTESTED) | S(REPLACED) | S(DELETING))

#define NO_REQUEST (S(NEW) | HALF_OPEN | S(CONTESTED) | S(ENDED))

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

    {S(ENDED), IKE_AUTH, false, "the SA has ended"},
    {S(ENDED), CREATE_CHILD_SA, false, "the SA has ended"},
    {S(ENDED), INFORMATIONAL, false, "the SA has ended"},
    {S(ENDED), IKE_INTERMEDIATE, false, "the SA has ended"},
    {S(ENDED), IKE_FOLLOWUP_KE, false, "the SA has ended"},

    {ALL_STATES, IKE_SA_INIT, true, "a response, but we are never the initiator"},
    {ALL_STATES, IKE_AUTH, true, "a response, but we are never the initiator"},
    {ALL_STATES, IKE_INTERMEDIATE, true, "a response, but we are never the initiator"},
    {NO_REQUEST, CREATE_CHILD_SA, true, "a response, but no request of ours is outstanding"},
    {NO_REQUEST, IKE_FOLLOWUP_KE, true, "a response, but no request of ours is outstanding"},
    {NO_REQUEST, INFORMATIONAL, true, "a response, but no request of ours is outstanding"},
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
