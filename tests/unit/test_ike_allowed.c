/* Algorithms that are accepted only where they are configured, for the daemon or for a tunnel. */
#include "sim/lib/one_pair.h"

/* ---- what is accepted only where it is configured */

static void more_transforms_where_configured(void **state)
{
    (void)state;
    static const uint16_t METHODS[] = {KE_MODP3072, KE_MODP4096, KE_ECP256};
    struct ike_policy policy;
    ike_policy_default(&policy);
    for (size_t k = 0; k < ARRAY_LEN(METHODS); k++) {
        policy.ike.integ[0] = policy.esp.integ[0] = k % 2 ? INTEG_HMAC_SHA2_384_192 : INTEG_HMAC_SHA2_512_256;
        policy.ike.ke[0] = policy.esp.ke[0] = METHODS[k];
        pair_free(p);
        p = pair_new(&policy);
        p->i->wish.ike = (struct suite){.encr = ENCR_AES_CBC,
                                        .encr_bits = 256,
                                        .integ = policy.ike.integ[0],
                                        .prf = PRF_HMAC_SHA2_512,
                                        .ke = METHODS[k]};
        p->i->wish.esp =
            (struct suite){.encr = ENCR_AES_CBC, .encr_bits = 128, .integ = policy.esp.integ[0], .ke = METHODS[k]};
        pair_connect(p);
        want_and_carry(JOB_CHILD_REKEY, first_child());
        want_and_carry(JOB_IKE_REKEY, 0);
        pair_pass(p, 10 * NS_PER_S);
        assert_int_equal(edge_count(p->e, IKE_COUNT_REKEYED), 1);
        assert_int_equal(only_sa().suite.ke, METHODS[k]);
        pair_assert_agree(p);
    }
}

static void unconfigured_group_is_refused(void **state)
{
    (void)state;
    pair_connect(p);
    p->i->wish.esp.ke = KE_ECP256;
    want_and_carry(JOB_CHILD_REKEY, first_child());
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    pair_assert_agree(p);
}

static void tunnel_may_allow_less_than_the_daemon(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    t.ike.prf[t.ike.n_prf++] = PRF_HMAC_SHA2_512;
    edge_set(p->e, &t);
    pair_connect_to(p, IKE_AUTH);
    pair_give(p);
    assert_null(edge_act(p->e, ACT_UP));
    pair_take(p);
    assert_int_equal(p->i->refused, N_AUTHENTICATION_FAILED);
    assert_string_equal(p->e->event, "ike.handshake_failed");
    assert_string_equal(p->e->reason, "the tunnel does not allow the algorithms of this IKE SA");
    assert_int_equal(edge_count(p->e, IKE_COUNT_FAIL_PROPOSAL), 1);
}

static void tunnel_restricts_children_and_rekeys(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    t.ike.ke[t.ike.n_ke++] = KE_ECP384;
    t.esp.ke[t.esp.n_ke++] = KE_MODP2048;
    t.esp.encr[t.esp.n_encr++] = (struct encr_choice){ENCR_AES_GCM_16, 256};
    edge_set(p->e, &t);
    pair_connect(p);
    p->i->wish.esp.ke = KE_ECP384;
    want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    p->i->wish.esp.ke = KE_MODP2048;
    want_and_carry(JOB_CHILD_NEW, 0);
    assert_int_equal(p->e->n_children, 2);
    p->i->wish.esp.encr_bits = 128;
    want_and_carry(JOB_CHILD_REKEY, first_child());
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    p->i->child_refused = 0;
    p->i->wish.ike.ke = KE_MODP2048;
    want_and_carry(JOB_IKE_REKEY, 0);
    assert_int_equal(p->i->child_refused, N_NO_PROPOSAL_CHOSEN);
    pair_assert_agree(p);

    t.ike.ke[0] = KE_MODP2048; /* the IKE SA does not fit any more */
    edge_set(p->e, &t);
    assert_true(edge_act(p->e, ACT_DOWN));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(more_transforms_where_configured),
        CASE(unconfigured_group_is_refused),
        CASE(tunnel_may_allow_less_than_the_daemon),
        CASE(tunnel_restricts_children_and_rekeys),
    };
    return cmocka_run_group_tests_name("ike: what is allowed", tests, NULL, NULL);
}
