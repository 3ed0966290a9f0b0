/* wire/ike_names: names of the IKEv2 registries, for logs.
 */
#include "adit/wire_ike.h"

struct name {
    uint16_t value;
    const char *text;
};

static const char *name_of(const struct name *names, size_t n, uint16_t value)
{
    for (size_t i = 0; i < n; i++)
        if (names[i].value == value)
            return names[i].text;
    return "?";
}

const char *ike_exchange_name(uint8_t exchange)
{
    static const struct name names[] = {
        {IKE_SA_INIT, "IKE_SA_INIT"},         {IKE_AUTH, "IKE_AUTH"},     {CREATE_CHILD_SA, "CREATE_CHILD_SA"},
        {INFORMATIONAL, "INFORMATIONAL"},     {38, "IKE_SESSION_RESUME"}, {IKE_INTERMEDIATE, "IKE_INTERMEDIATE"},
        {IKE_FOLLOWUP_KE, "IKE_FOLLOWUP_KE"},
    };
    return name_of(names, ARRAY_LEN(names), exchange);
}

const char *ike_payload_name(uint8_t type)
{
    static const struct name names[] = {
        {PAYLOAD_NONE, "none"},       {PAYLOAD_SA, "SA"},         {PAYLOAD_KE, "KE"},
        {PAYLOAD_IDI, "IDi"},         {PAYLOAD_IDR, "IDr"},       {PAYLOAD_CERT, "CERT"},
        {PAYLOAD_CERTREQ, "CERTREQ"}, {PAYLOAD_AUTH, "AUTH"},     {PAYLOAD_NONCE, "Nonce"},
        {PAYLOAD_NOTIFY, "Notify"},   {PAYLOAD_DELETE, "Delete"}, {PAYLOAD_VENDOR, "Vendor ID"},
        {PAYLOAD_TSI, "TSi"},         {PAYLOAD_TSR, "TSr"},       {PAYLOAD_SK, "SK"},
        {PAYLOAD_CP, "CP"},           {PAYLOAD_EAP, "EAP"},       {PAYLOAD_SKF, "SKF"},
        {54, "Puzzle Solution"},
    };
    return name_of(names, ARRAY_LEN(names), type);
}

/* RFC 7296 3.10.1 and the RFCs that add to it; more than we act upon, since a log should name what a peer says. */
const char *ike_notify_name(uint16_t type)
{
    static const struct name names[] = {
        {N_UNSUPPORTED_CRITICAL_PAYLOAD, "UNSUPPORTED_CRITICAL_PAYLOAD"},
        {N_INVALID_IKE_SPI, "INVALID_IKE_SPI"},
        {N_INVALID_MAJOR_VERSION, "INVALID_MAJOR_VERSION"},
        {N_INVALID_SYNTAX, "INVALID_SYNTAX"},
        {N_INVALID_MESSAGE_ID, "INVALID_MESSAGE_ID"},
        {N_INVALID_SPI, "INVALID_SPI"},
        {N_NO_PROPOSAL_CHOSEN, "NO_PROPOSAL_CHOSEN"},
        {N_INVALID_KE_PAYLOAD, "INVALID_KE_PAYLOAD"},
        {N_AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED"},
        {N_SINGLE_PAIR_REQUIRED, "SINGLE_PAIR_REQUIRED"},
        {N_NO_ADDITIONAL_SAS, "NO_ADDITIONAL_SAS"},
        {N_INTERNAL_ADDRESS_FAILURE, "INTERNAL_ADDRESS_FAILURE"},
        {N_FAILED_CP_REQUIRED, "FAILED_CP_REQUIRED"},
        {N_TS_UNACCEPTABLE, "TS_UNACCEPTABLE"},
        {N_INVALID_SELECTORS, "INVALID_SELECTORS"},
        {40, "UNACCEPTABLE_ADDRESSES"},
        {41, "UNEXPECTED_NAT_DETECTED"},
        {N_TEMPORARY_FAILURE, "TEMPORARY_FAILURE"},
        {N_CHILD_SA_NOT_FOUND, "CHILD_SA_NOT_FOUND"},
        {N_STATE_NOT_FOUND, "STATE_NOT_FOUND"},
        {48, "TS_MAX_QUEUE"},
        {N_INITIAL_CONTACT, "INITIAL_CONTACT"},
        {N_SET_WINDOW_SIZE, "SET_WINDOW_SIZE"},
        {N_ADDITIONAL_TS_POSSIBLE, "ADDITIONAL_TS_POSSIBLE"},
        {16387, "IPCOMP_SUPPORTED"},
        {N_NAT_DETECTION_SOURCE_IP, "NAT_DETECTION_SOURCE_IP"},
        {N_NAT_DETECTION_DESTINATION_IP, "NAT_DETECTION_DESTINATION_IP"},
        {N_COOKIE, "COOKIE"},
        {N_USE_TRANSPORT_MODE, "USE_TRANSPORT_MODE"},
        {16392, "HTTP_CERT_LOOKUP_SUPPORTED"},
        {N_REKEY_SA, "REKEY_SA"},
        {N_ESP_TFC_PADDING_NOT_SUPPORTED, "ESP_TFC_PADDING_NOT_SUPPORTED"},
        {N_NON_FIRST_FRAGMENTS_ALSO, "NON_FIRST_FRAGMENTS_ALSO"},
        {16396, "MOBIKE_SUPPORTED"},
        {16400, "UPDATE_SA_ADDRESSES"},
        {16401, "COOKIE2"},
        {16403, "AUTH_LIFETIME"},
        {16404, "MULTIPLE_AUTH_SUPPORTED"},
        {16406, "REDIRECT_SUPPORTED"},
        {16407, "REDIRECT"},
        {16408, "REDIRECTED_FROM"},
        {16417, "EAP_ONLY_AUTHENTICATION"},
        {N_CHILDLESS_IKEV2_SUPPORTED, "CHILDLESS_IKEV2_SUPPORTED"},
        {16419, "QUICK_CRASH_DETECTION"},
        {16420, "IKEV2_MESSAGE_ID_SYNC_SUPPORTED"},
        {16421, "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED"},
        {16422, "IKEV2_MESSAGE_ID_SYNC"},
        {16423, "IPSEC_REPLAY_COUNTER_SYNC"},
        {N_IKEV2_FRAGMENTATION_SUPPORTED, "IKEV2_FRAGMENTATION_SUPPORTED"},
        {16431, "SIGNATURE_HASH_ALGORITHMS"},
        {16434, "PUZZLE"},
        {16435, "USE_PPK"},
        {16436, "PPK_IDENTITY"},
        {16437, "NO_PPK_AUTH"},
        {N_INTERMEDIATE_EXCHANGE_SUPPORTED, "INTERMEDIATE_EXCHANGE_SUPPORTED"},
        {N_ADDITIONAL_KEY_EXCHANGE, "ADDITIONAL_KEY_EXCHANGE"},
        {16442, "USE_AGGFRAG"},
        {16443, "SUPPORTED_AUTH_METHODS"},
        {16444, "SA_RESOURCE_INFO"},
        {N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, "IKE_SA_INIT_FULL_TRANSCRIPT_AUTH"},
    };
    return name_of(names, ARRAY_LEN(names), type);
}
