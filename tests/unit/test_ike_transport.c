/* Transport mode (RFC 7296 1.3.1): for a tunnel that carries GRE, between the ends of GRE, and for nothing else. */
#include "lib/adv.h"

#define PEER "192.0.2.2"
#define CHILD_LIFE (1000 * NS_PER_S)

static struct pair *p;
static bool says; /* the peer's requests for a child ask for it, its answers confirm it */

static void ask(void *ctx, struct draft *d)
{
    (void)ctx;
    if (says && (d->header.exchange == IKE_AUTH || d->header.exchange == CREATE_CHILD_SA))
        draft_append_notify(d, N_USE_TRANSPORT_MODE, span_of(NULL, 0));
}

static struct ts one(const char *text, uint8_t proto)
{
    struct ts t = {.proto = proto, .port_last = UINT16_MAX};
    OK(addr_parse(text, &t.first));
    t.last = t.first;
    return t;
}

/* gre: the other end of the GRE that the tunnel carries; NULL: it carries none. */
static void start(const char *gre)
{
    struct ike_policy policy;
    struct tunnel_policy t = edge_tunnel();
    if (gre)
        OK(addr_parse(gre, &t.gre_remote));
    ike_policy_default(&policy);
    policy.child_lifetime = CHILD_LIFE;
    policy.ike_lifetime = 24 * 3600 * NS_PER_S;
    says = true;
    pair_free(p);
    p = pair_new(&policy);
    edge_set(p->e, &t);
    p->i->bend = ask;
    p->i->wish.natd = true;
    p->i->wish.ts_local = one(PEER, 0);
    p->i->wish.ts_remote = one(EDGE_ADDRESS, 0);
}

static bool confirmed(void)
{
    struct ike_notify n;
    return ike_notify_find(&p->i->last.chain, N_USE_TRANSPORT_MODE, &n);
}

static void assert_pair(const struct child_sa *c, uint8_t proto)
{
    const struct ts local = one(EDGE_ADDRESS, proto), remote = one(PEER, proto);
    assert_memory_equal(&c->ts_local, &local, sizeof local);
    assert_memory_equal(&c->ts_remote, &remote, sizeof remote);
}

static void first_child(void **state)
{
    (void)state;
    for (uint8_t proto = 0; proto < 48; proto += 47) {
        start(PEER);
        p->i->wish.ts_local.proto = p->i->wish.ts_remote.proto = proto;
        pair_connect_to(p, IKE_AUTH);
        pair_give(p);
        assert_true(edge_act(p->e, ACT_CHILD_UP)->child->transport);
        assert_pair(edge_act(p->e, ACT_CHILD_UP)->child, 47); /* any protocol is narrowed to GRE */
        pair_carry(p);
        assert_true(confirmed());
        pair_assert_agree(p);
    }
}

static void further_child_and_rekey_by_the_peer(void **state)
{
    (void)state;
    start(PEER);
    pair_connect(p);
    p->i->wish.ts_local.proto = p->i->wish.ts_remote.proto = 47;
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_CHILD_NEW});
    pair_give(p);
    assert_true(edge_act(p->e, ACT_CHILD_UP)->child->transport);
    pair_carry(p);
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = JOB_CHILD_REKEY, .spi_in = p->i->child[0].spi_in});
    pair_give(p);
    assert_true(edge_act(p->e, ACT_CHILD_UP)->child->transport);
    assert_pair(edge_act(p->e, ACT_CHILD_UP)->child, 47);
    pair_carry(p);
    pair_assert_agree(p);
}

/* What does not ask, or must not have it, gets tunnel mode and whatever selectors it may have there. */
static void connect_in_tunnel_mode(uint8_t proto)
{
    pair_connect_to(p, IKE_AUTH);
    pair_give(p);
    assert_false(edge_act(p->e, ACT_CHILD_UP)->child->transport);
    assert_int_equal(edge_act(p->e, ACT_CHILD_UP)->child->ts_local.proto, proto);
    pair_carry(p);
    assert_false(confirmed());
    pair_assert_agree(p);
}

static void otherwise_tunnel_mode(void **state)
{
    (void)state;
    start(PEER);
    says = false;
    connect_in_tunnel_mode(0);
    start(NULL); /* carries no GRE */
    connect_in_tunnel_mode(0);
    start("192.0.2.3"); /* carries GRE to elsewhere */
    connect_in_tunnel_mode(0);
    start(PEER); /* selectors that are not of GRE */
    p->i->wish.ts_local.proto = p->i->wish.ts_remote.proto = 17;
    connect_in_tunnel_mode(17);
    start(PEER); /* or not of its ends */
    p->i->wish.ts_local = one("10.1.0.1", 0);
    connect_in_tunnel_mode(0);
}

static void never_through_a_nat(void **state)
{
    (void)state;
    start("203.0.113.9"); /* even where the GRE's end is what the NAT makes of the peer */
    OK(addr_parse("203.0.113.9", &p->seen.addr));
    p->seen.port = 4500;
    p->i->wish.ts_local = one("203.0.113.9", 0);
    connect_in_tunnel_mode(0);
}

static void rekey_of_ours(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) { /* a peer that confirms, and one that answers with tunnel mode */
        start(PEER);
        pair_connect(p);
        assert_true(p->e->child[0].transport);
        uint32_t old = p->e->child[0].spi_in;
        says = k == 0;
        pair_pass(p, CHILD_LIFE + 60 * NS_PER_S);
        assert_int_equal(p->e->n_children, 1);
        assert_int_not_equal(p->e->child[0].spi_in, old);
        assert_int_equal(p->e->child[0].transport, k == 0);
        assert_pair(&p->e->child[0], 47);
        pair_assert_agree(p);
    }
}

static void change_of_the_gre_ends_what_was_made_for_it(void **state)
{
    (void)state;
    struct tunnel_policy t = edge_tunnel();
    OK(addr_parse(PEER, &t.gre_remote));
    start(PEER);
    pair_connect(p);
    edge_set(p->e, &t);
    assert_int_equal(p->e->n_children, 1); /* as it was */
    t.gre_remote = (struct addr){0};
    edge_set(p->e, &t);
    assert_int_equal(p->e->n_children, 0);
}

static int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    p = NULL;
    return 0;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(first_child),           CASE(further_child_and_rekey_by_the_peer),
        CASE(otherwise_tunnel_mode), CASE(never_through_a_nat),
        CASE(rekey_of_ours),         CASE(change_of_the_gre_ends_what_was_made_for_it),
    };
    return cmocka_run_group_tests_name("ike: transport mode", tests, NULL, NULL);
}
