/* ike/proposal: choosing from the peer's SA payload (RFC 7296 3.3, RFC 9370 2.2.1). Pure: policy and bytes in, choice out.
 */
#ifndef ADIT_IKE_PROPOSAL_H
#define ADIT_IKE_PROPOSAL_H

#include "adit/crypto.h"
#include "adit/policy.h"
#include "adit/wire_ike.h"

enum ike_ke_rule {
    KE_RULE_NEVER,    /* IKE_AUTH: no key exchange but NONE (RFC 7296 1.2) */
    KE_RULE_OPTIONAL, /* a child of CREATE_CHILD_SA: PFS if the peer wants it */
    KE_RULE_REQUIRED, /* an IKE SA: NONE is refused */
};
struct ike_offer_rule { /* what the situation allows */
    uint8_t protocol;   /* PROTO_IKE or PROTO_ESP */
    uint8_t spi_size;   /* 0 in IKE_SA_INIT, 8 in an IKE rekey, 4 for ESP */
    const struct proposal_policy *policy;
    enum ike_ke_rule ke;
    bool addke;       /* both sides can do additional key exchanges */
    bool addke_must;  /* the SA being rekeyed had them: no step back */
    bool null_cipher; /* ESP: ENCR_NULL with integrity, after all others */
};

#define IKE_CHOICE_TRANSFORMS (5 + ADDKE_MAX)
struct ike_choice {
    uint8_t num;     /* of the proposal chosen */
    struct span spi; /* the peer's */
    struct suite suite;
    struct ike_transform_out out[IKE_CHOICE_TRANSFORMS]; /* exactly one per transform type of the proposal */
    uint8_t n;
};

/* `body` has passed ike_sa_check(). The peer's proposals in order, of each transform type the first of ours; a proposal that
 * brings a post-quantum key exchange goes before all that do not. RC_ABSENT: none is acceptable. */
enum rc ike_proposal_choose(const struct ike_offer_rule *rule, struct span body, struct ike_choice *ret) ADIT_MUST_USE;
/* Of what `wide` accepts the part that `narrow` lists, in its order; an empty list of `narrow` leaves that type as it is. */
void ike_proposal_restrict(const struct proposal_policy *wide, const struct proposal_policy *narrow,
                           struct proposal_policy *ret);
bool ike_proposal_allows(const struct proposal_policy *narrow, const struct suite *s);

/* "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/ADDKE1_ML_KEM_768"; always terminated */
#define IKE_SUITE_TEXT 224
#define IKE_OFFER_TEXT 512
#define IKE_DIFFERS_TEXT 128
/* Of the proposals refused the one with the fewest faults, as text, with ours in the place of what was wrong, and what that was:
 * "key exchange, PRF". Both NULL: there was no proposal. They live in the struct. */
struct ike_nearest {
    const char *text, *differs;
    char suite[IKE_SUITE_TEXT], parts[IKE_DIFFERS_TEXT];
};
void ike_proposal_nearest(const struct ike_offer_rule *rule, struct span body, struct ike_nearest *ret);
const char *ike_suite_text(const struct suite *s, char ret[IKE_SUITE_TEXT]);
/* Proposals apart by "; ", types by "/", alternatives by "+"; ends in "..." when it does not fit. */
const char *ike_offer_text(struct span body, char ret[IKE_OFFER_TEXT]);

#endif
