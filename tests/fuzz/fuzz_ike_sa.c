/* The SA payload: its nesting, what we choose of it, and what we say about it.
 *
 * Input: flags that vary the rule of choosing, then the payload's body. */
#include "lib/fuzz.h"

#include "adit/ike.h"
#include "ike/proposal.h"

/* Every transform of the choice stands in the proposal chosen. */
static void check_choice(struct span body, const struct ike_choice *choice)
{
    struct rd sa = rd_of(body);
    struct ike_proposal p;
    bool found = false;
    while (!found && ike_proposal_next(&sa, &p))
        found = p.num == choice->num && p.spi.p == choice->spi.p;
    assert_true(found);
    for (uint8_t i = 0; i < choice->n; i++) {
        struct rd transforms = p.transforms;
        const struct ike_transform_out *want = &choice->out[i];
        struct ike_transform t;
        bool offered = false;
        while (ike_transform_next(&transforms, &t))
            offered |= t.acceptable && t.type == want->type && t.id == want->id && t.key_bits == want->key_bits;
        assert_true(offered);
        for (uint8_t k = 0; k < i; k++)
            assert_int_not_equal(choice->out[k].type, want->type);
    }
}

static void choose(uint8_t flags, struct span body)
{
    struct ike_policy policy;
    ike_policy_default(&policy);
    bool esp = flags & 1;
    struct ike_offer_rule rule = {
        .protocol = esp ? PROTO_ESP : PROTO_IKE,
        .spi_size = esp         ? 4
                    : flags & 2 ? 8
                                : 0,
        .policy = esp ? &policy.esp : &policy.ike,
        .ke = !esp        ? KE_RULE_REQUIRED
              : flags & 4 ? KE_RULE_OPTIONAL
                          : KE_RULE_NEVER,
        .addke = flags & 8,
        .addke_must = (flags & 24) == 24,
        .null_cipher = flags & 32,
    };
    struct ike_choice choice;
    struct ike_nearest nearest;
    char text[IKE_SUITE_TEXT], offer[IKE_OFFER_TEXT];
    if (ike_proposal_choose(&rule, body, &choice) == RC_OK) {
        check_choice(body, &choice);
        assert_in_range(strlen(ike_suite_text(&choice.suite, text)), 1, sizeof text - 1);
    }
    ike_proposal_nearest(&rule, body, &nearest);
    if (nearest.text)
        assert_in_range(strlen(nearest.text), 0, sizeof nearest.suite - 1);
    assert_in_range(strlen(ike_offer_text(body, offer)), 0, sizeof offer - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_of(span_of(data, n));
    uint8_t flags = rd_u8(&r);
    struct span body = fuzz_rest(&r);
    struct ike_error e = {0};
    enum rc rc = ike_sa_check(body, &e);
    if (rc == RC_OK || rc == RC_RANGE) {
        struct rd sa = rd_of(body);
        for (struct ike_proposal p; ike_proposal_next(&sa, &p);) {
            unsigned transforms = 0;
            assert_within(p.spi, body);
            for (struct ike_transform t; ike_transform_next(&p.transforms, &t); transforms++)
                assert_within(t.attrs, body);
            assert_int_equal(transforms, p.n_transforms);
            assert_true(rd_done(&p.transforms));
        }
        assert_true(rd_done(&sa));
        if (rc == RC_OK)
            choose(flags, body);
    } else {
        assert_non_null(e.what);
        assert_in_range(e.offset, 0, body.n);
    }
    exact_free(body);
    return 0;
}
