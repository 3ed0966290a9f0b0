/* Handshakes through bad networks: whatever is lost, doubled, late or rebound, in the end there is one SA and both sides have the
 * same keys.
 */
#include "lib/sim.h"

/* One of the suites a peer may come with. */
static void any_suite(struct sim *s, struct initiator_wish *w)
{
    switch (sim_dice(s, 8)) {
    case 0: w->ike.addke[0] = 0; break;
    case 1: w->ike.addke[0] = KE_ML_KEM_1024; break;
    case 2: w->ike.addke[1] = KE_ML_KEM_1024; break;
    case 3:
        w->ike.encr = ENCR_AES_CBC;
        w->ike.integ = INTEG_HMAC_SHA2_256_128;
        w->ike.prf = PRF_HMAC_SHA2_256;
        break;
    default: break;
    }
    if (sim_dice(s, 4) == 0)
        w->esp = (struct suite){.encr = ENCR_AES_CBC, .encr_bits = 256, .integ = INTEG_HMAC_SHA2_256_128};
    if (sim_dice(s, 8))
        w->ike.ke = KE_ECP256; /* the cheapest one */
    else
        w->ke_guess = KE_ECP256; /* wrong: the edge likes ECP-384 better */
    w->full_transcript = sim_dice(s, 2);
    w->datagram = sim_dice(s, 2) ? 1280 : 576;
    w->no_fragmentation = sim_dice(s, 16) == 0;
}

static void any_net(struct sim *s, struct sim_net *n)
{
    n->loss = (unsigned)sim_dice(s, 41);
    n->twice = (unsigned)sim_dice(s, 30);
    n->late = (unsigned)sim_dice(s, 10);
    n->delay = (1 + sim_dice(s, 200)) * NS_PER_MS;
    n->spread = sim_dice(s, 300) * NS_PER_MS;
}

static void connect(struct sim *s, bool nat)
{
    any_net(s, &s->net);
    for (unsigned k = 1 + (unsigned)sim_dice(s, 2); k > 0; k--) {
        struct sim_peer *p = sim_add(s);
        any_suite(s, &p->i->wish);
        p->nat = nat;
        initiator_connect(p->i, s->e->now);
    }
}

static void one_sa_each(struct sim *s)
{
    assert_true(sim_run(s, 3600 * NS_PER_S, sim_all_up));
    sim_settle(s);
    assert_int_equal(s->e->n_children, s->n_peers);
    for (unsigned k = 0; k < s->n_peers; k++) {
        const struct initiator *i = s->peer[k].i;
        assert_int_equal(i->n_children, 1);
        assert_int_equal(edge_child(s->e, i->child[0].spi_out)->udp, s->peer[k].nat);
    }
    sim_replay(s);
}

static void plain_world(struct sim *s)
{
    connect(s, false);
    one_sa_each(s);
}

static void nat_world(struct sim *s)
{
    connect(s, true);
    for (int k = 0; k < 5; k++) {
        sim_run(s, sim_dice(s, 3000) * NS_PER_MS, NULL);
        sim_rebind(s, &s->peer[sim_dice(s, s->n_peers)]);
    }
    one_sa_each(s);
    /* Wherever the NAT has put it since, its SA follows. */
    for (unsigned k = 0; k < s->n_peers; k++) {
        const struct path *path = &edge_child(s->e, s->peer[k].i->child[0].spi_out)->path;
        assert_true(addr_equal(&path->remote.addr, &s->peer[k].outside));
        assert_int_equal(path->remote.port, s->peer[k].port + 1);
    }
}

static const struct child_sa *child_of(const struct sim *s, const struct sim_peer *p)
{
    return p->i->n_children ? edge_child(s->e, p->i->child[0].spi_out) : NULL;
}

/* The datapath sees ESP of that peer from where its NAT has put it, or, forged, from somewhere else. */
static void esp_comes(struct sim *s, const struct sim_peer *p, bool forged)
{
    const struct child_sa *child = child_of(s, p);
    struct path path = {.local.port = 4500, .remote = {.addr = p->outside, .port = (uint16_t)(p->port + 1)}};
    OK(addr_parse(EDGE_ADDRESS, &path.local.addr));
    if (forged)
        OK(addr_parse("203.0.113.250", &path.remote.addr));
    if (child)
        OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_ESP_MOVED, .spi_in = child->spi_in, .path = &path}));
}

/* Peers that say nothing in IKE, behind a NAT that forgets: their ESP is enough to be found again, and nobody else's moves them. */
static void moving_world(struct sim *s)
{
    connect(s, true);
    assert_true(sim_run(s, 3600 * NS_PER_S, sim_all_up));
    for (int k = 0; k < 20; k++) {
        struct sim_peer *p = &s->peer[sim_dice(s, s->n_peers)];
        if (sim_dice(s, 3) == 0)
            sim_rebind(s, p);
        esp_comes(s, p, sim_dice(s, 2));
        sim_run(s, sim_dice(s, 20000) * NS_PER_MS, NULL);
        for (unsigned n = 0; n < s->n_peers; n++)
            if (child_of(s, &s->peer[n]))
                assert_true(addr_equal(&child_of(s, &s->peer[n])->path.remote.addr, &s->peer[n].outside));
    }
    s->net = (struct sim_net){.delay = NS_PER_MS};
    sim_run(s, 400 * NS_PER_S, NULL); /* what is on its way comes to an end */
    for (unsigned k = 0; k < s->n_peers; k++)
        esp_comes(s, &s->peer[k], false);
    sim_run(s, NS_PER_S, NULL);
    for (unsigned k = 0; k < s->n_peers; k++)
        if (child_of(s, &s->peer[k]))
            assert_int_equal(child_of(s, &s->peer[k])->path.remote.port, s->peer[k].port + 1);
    one_sa_each(s);
}

/* Half the network at a time works: everything goes one way only for a while. */
static enum sim_fate one_way(struct sim *s, const struct sim_flight *f)
{
    bool deaf = (s->e->now / (5 * NS_PER_S)) & 1;
    return f->to_edge == deaf ? FATE_LOSE : FATE_DICE;
}

static void one_way_world(struct sim *s)
{
    s->fate = one_way;
    connect(s, false);
    s->net.loss = 0;
    sim_run(s, 60 * NS_PER_S, sim_all_up);
    s->fate = NULL;
    one_sa_each(s);
}

/* Liveness, Deletes and new handshakes in any order. */
static void restless_world(struct sim *s)
{
    connect(s, sim_dice(s, 2));
    for (int k = 0; k < 12; k++) {
        struct initiator *i = s->peer[sim_dice(s, s->n_peers)].i;
        static const enum initiator_job_type JOBS[] = {JOB_ALIVE, JOB_ALIVE, JOB_IKE_DELETE, JOB_CHILD_DELETE};
        struct initiator_job job = {.type = JOBS[sim_dice(s, ARRAY_LEN(JOBS))]};
        sim_run(s, sim_dice(s, 20) * NS_PER_S, NULL);
        if (job.type == JOB_CHILD_DELETE && i->n_children)
            job.spi_in = i->child[0].spi_in;
        if (job.type != JOB_CHILD_DELETE || job.spi_in)
            initiator_want(i, s->e->now, job);
        if (sim_dice(s, 8) == 0) /* it restarts, and remembers nothing */
            initiator_gone(i);
        if (sim_dice(s, 8) == 0)
            (void)edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_RESET, .handle = s->peer[0].tunnel});
    }
    sim_settle(s);
    sim_replay(s);
}

/* The edge ends while the network is at its worst: it must come to an end all the same. */
static bool idle(struct sim *s)
{
    return ike_idle(s->e->ike);
}

static void shutdown_world(struct sim *s)
{
    connect(s, false);
    for (unsigned k = 0; k < s->n_peers; k++)
        s->peer[k].i->wish.stay = false;
    sim_run(s, sim_dice(s, 10) * NS_PER_S, NULL);
    OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_SHUTDOWN}));
    if (sim_dice(s, 4) == 0)
        s->net.loss = 100;
    (void)sim_run(s, 1200 * NS_PER_S, idle);
    sim_run(s, 120 * NS_PER_S, NULL);
    /* A peer whose IKE_AUTH came after the command may be up again; nothing else may be. */
    struct ike_sa_info info;
    assert_in_range(edge_sas(s->e, &info), 0, s->n_peers);
}

static struct ike_policy policy(void)
{
    struct ike_policy p;
    ike_policy_default(&p);
    p.ike.ke[p.ike.n_ke++] = KE_ECP256;
    return p;
}

static void esp_leads_to_who_has_moved(void **state)
{
    const struct ike_policy p = policy();
    (void)state;
    sim_seeds(__func__, 200, moving_world, &p);
}

static void handshakes_through_loss_and_reordering(void **state)
{
    const struct ike_policy p = policy();
    (void)state;
    sim_seeds(__func__, 300, plain_world, &p);
}

static void handshakes_under_load_with_cookies(void **state)
{
    struct ike_policy p = policy();
    (void)state;
    p.cookie_threshold = 0;
    sim_seeds(__func__, 200, plain_world, &p);
}

static void handshakes_behind_a_nat_that_rebinds(void **state)
{
    const struct ike_policy p = policy();
    (void)state;
    sim_seeds(__func__, 200, nat_world, &p);
}

static void handshakes_while_one_direction_is_dead(void **state)
{
    const struct ike_policy p = policy();
    (void)state;
    sim_seeds(__func__, 100, one_way_world, &p);
}

static void liveness_deletes_and_restarts(void **state)
{
    const struct ike_policy p = policy();
    (void)state;
    sim_seeds(__func__, 200, restless_world, &p);
}

static void shutdown_comes_to_an_end(void **state)
{
    const struct ike_policy p = policy();
    (void)state;
    sim_seeds(__func__, 100, shutdown_world, &p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes_through_loss_and_reordering),
        cmocka_unit_test(handshakes_under_load_with_cookies),
        cmocka_unit_test(handshakes_behind_a_nat_that_rebinds),
        cmocka_unit_test(esp_leads_to_who_has_moved),
        cmocka_unit_test(handshakes_while_one_direction_is_dead),
        cmocka_unit_test(liveness_deletes_and_restarts),
        cmocka_unit_test(shutdown_comes_to_an_end),
    };
    return cmocka_run_group_tests_name("sim: handshakes", tests, NULL, NULL);
}
