/* wire/ike_shape: which payloads a message may hold, and how often (RFC 7296 1.2-1.4 and appendix C, RFC 9242, RFC 9370).
 *
 * A response may always be an error Notify alone, so its minima are 0; what belongs together is for the receiver to see.
 */
#include "ike_fault.h"

enum { REQUEST = 1, RESPONSE = 2, BOTH = REQUEST | RESPONSE };
#define ANY IKE_PAYLOADS_MAX

/* IKE_SA_INIT is in the clear, all others are the inner payloads of SK or SKF. */
static const struct shape_rule {
    uint8_t exchange, direction, payload, min, max;
} RULES[] = {
    {IKE_SA_INIT, REQUEST, PAYLOAD_SA, 1, 1},
    {IKE_SA_INIT, REQUEST, PAYLOAD_KE, 1, 1},
    {IKE_SA_INIT, REQUEST, PAYLOAD_NONCE, 1, 1},
    {IKE_SA_INIT, RESPONSE, PAYLOAD_SA, 0, 1},
    {IKE_SA_INIT, RESPONSE, PAYLOAD_KE, 0, 1},
    {IKE_SA_INIT, RESPONSE, PAYLOAD_NONCE, 0, 1},
    {IKE_SA_INIT, BOTH, PAYLOAD_CERTREQ, 0, ANY},
    {IKE_SA_INIT, BOTH, PAYLOAD_NOTIFY, 0, ANY},
    {IKE_SA_INIT, BOTH, PAYLOAD_VENDOR, 0, ANY},

    {IKE_INTERMEDIATE, BOTH, PAYLOAD_KE, 0, 1}, /* RFC 9242 leaves the content open, RFC 9370 puts one KE in */
    {IKE_INTERMEDIATE, BOTH, PAYLOAD_NOTIFY, 0, ANY},
    {IKE_INTERMEDIATE, BOTH, PAYLOAD_VENDOR, 0, ANY},

    {IKE_AUTH, REQUEST, PAYLOAD_IDI, 1, 1},
    {IKE_AUTH, BOTH, PAYLOAD_IDR, 0, 1},
    {IKE_AUTH, BOTH, PAYLOAD_AUTH, 0, 1}, /* a request without it asks for EAP, RFC 7296 2.16 */
    {IKE_AUTH, BOTH, PAYLOAD_SA, 0, 1},   /* none of the three: childless, RFC 6023 */
    {IKE_AUTH, BOTH, PAYLOAD_TSI, 0, 1},
    {IKE_AUTH, BOTH, PAYLOAD_TSR, 0, 1},
    {IKE_AUTH, BOTH, PAYLOAD_CERT, 0, ANY},
    {IKE_AUTH, REQUEST, PAYLOAD_CERTREQ, 0, ANY},
    {IKE_AUTH, BOTH, PAYLOAD_CP, 0, 1},
    {IKE_AUTH, BOTH, PAYLOAD_EAP, 0, 1},
    {IKE_AUTH, BOTH, PAYLOAD_NOTIFY, 0, ANY},
    {IKE_AUTH, BOTH, PAYLOAD_VENDOR, 0, ANY},

    {CREATE_CHILD_SA, REQUEST, PAYLOAD_SA, 1, 1},
    {CREATE_CHILD_SA, REQUEST, PAYLOAD_NONCE, 1, 1},
    {CREATE_CHILD_SA, RESPONSE, PAYLOAD_SA, 0, 1},
    {CREATE_CHILD_SA, RESPONSE, PAYLOAD_NONCE, 0, 1},
    {CREATE_CHILD_SA, BOTH, PAYLOAD_KE, 0, 1},
    {CREATE_CHILD_SA, BOTH, PAYLOAD_TSI, 0, 1}, /* none: the IKE SA itself is rekeyed, RFC 7296 1.3.2 */
    {CREATE_CHILD_SA, BOTH, PAYLOAD_TSR, 0, 1},
    {CREATE_CHILD_SA, BOTH, PAYLOAD_CP, 0, 1},
    {CREATE_CHILD_SA, BOTH, PAYLOAD_NOTIFY, 0, ANY},
    {CREATE_CHILD_SA, BOTH, PAYLOAD_VENDOR, 0, ANY},

    {IKE_FOLLOWUP_KE, REQUEST, PAYLOAD_KE, 1, 1},
    {IKE_FOLLOWUP_KE, RESPONSE, PAYLOAD_KE, 0, 1},
    {IKE_FOLLOWUP_KE, BOTH, PAYLOAD_NOTIFY, 0, ANY},
    {IKE_FOLLOWUP_KE, BOTH, PAYLOAD_VENDOR, 0, ANY},

    {INFORMATIONAL, BOTH, PAYLOAD_NOTIFY, 0, ANY},
    {INFORMATIONAL, BOTH, PAYLOAD_DELETE, 0, ANY},
    {INFORMATIONAL, BOTH, PAYLOAD_CP, 0, 1},
    {INFORMATIONAL, BOTH, PAYLOAD_VENDOR, 0, ANY},
};

static bool exchange_known(uint8_t exchange)
{
    for (size_t i = 0; i < ARRAY_LEN(RULES); i++)
        if (RULES[i].exchange == exchange)
            return true;
    return false;
}

static const struct shape_rule *rule_of(uint8_t exchange, uint8_t direction, uint8_t payload)
{
    for (size_t i = 0; i < ARRAY_LEN(RULES); i++)
        if (RULES[i].exchange == exchange && (RULES[i].direction & direction) && RULES[i].payload == payload)
            return &RULES[i];
    return NULL;
}

static size_t count(const struct ike_chain *c, uint8_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->v[i].type == type;
    return n;
}

/* The outer payloads of a protected message: SK or SKF, and in front of a whole SK at most what the receiver ignores anyway.
 * In front of SKF, where RFC 7383 2.5.3 would allow more, and in IKE_INTERMEDIATE, where RFC 9242 would authenticate it, nothing
 * is known to send any, and nothing is let in. */
static enum rc envelope_check(uint8_t exchange, const struct ike_chain *c, struct ike_error *ret_err)
{
    const struct ike_payload *last = c->n ? &c->v[c->n - 1] : NULL;
    if (!last || (last->type != PAYLOAD_SK && last->type != PAYLOAD_SKF))
        return ike_fault(ret_err, RC_SYNTAX, "no encrypted payload", 0, PAYLOAD_SK);
    bool alone = last->type == PAYLOAD_SKF || exchange == IKE_INTERMEDIATE;
    for (const struct ike_payload *p = c->v; p < last; p++)
        if (alone || (ike_payload_known(p->type) && p->type != PAYLOAD_VENDOR))
            return ike_fault(ret_err, RC_SYNTAX, "payload in the clear", p->offset, p->type);
    return RC_OK;
}

enum rc ike_shape_check(uint8_t exchange, bool response, bool encrypted, const struct ike_chain *c,
                        struct ike_error *ret_err)
{
    if (!exchange_known(exchange) || (encrypted && exchange == IKE_SA_INIT))
        return ike_fault(ret_err, RC_SYNTAX, "exchange type", 0, PAYLOAD_NONE);
    if (!encrypted && exchange != IKE_SA_INIT)
        return envelope_check(exchange, c, ret_err);

    uint8_t direction = response ? RESPONSE : REQUEST;
    for (const struct ike_payload *p = c->v; p < c->v + c->n; p++) {
        if (!ike_payload_known(p->type))
            continue; /* ignored, or refused as critical: RFC 7296 2.5 */
        const struct shape_rule *rule = rule_of(exchange, direction, p->type);
        if (!rule)
            return ike_fault(ret_err, RC_SYNTAX, "payload does not belong here", p->offset, p->type);
        if (rule->max < ANY && count(c, p->type) > rule->max)
            return ike_fault(ret_err, RC_SYNTAX, "payload more than once", p->offset, p->type);
        struct ike_notify notify;
        if (p->type == PAYLOAD_NOTIFY && ike_notify_read(p->body, &notify) != RC_OK)
            return ike_fault(ret_err, RC_SYNTAX, "malformed notify", p->offset, p->type);
    }
    for (size_t i = 0; i < ARRAY_LEN(RULES); i++)
        if (RULES[i].exchange == exchange && (RULES[i].direction & direction) &&
            count(c, RULES[i].payload) < RULES[i].min)
            return ike_fault(ret_err, RC_SYNTAX, "payload missing", 0, RULES[i].payload);
    return RC_OK;
}
