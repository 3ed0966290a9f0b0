/* Both sides want something at the same moment, and the network interferes (RFC 7296 2.8.1, 2.8.2, 2.25; row 34 of the adversarial
 * list). A match is what the edge does against what the peer does; each is played with every one of the four packets lost or
 * late, and where nonces decide, with either side losing. Whatever happens, in the end there is one IKE SA, the children that
 * should be there and no others, and both sides have the same keys.
 */
#include "lib/agree.h"
#include "lib/sim.h"

#include <stdio.h>

enum move { NOTHING, CHILD_REKEY, CHILD_NEW, CHILD_DELETE, IKE_REKEY, IKE_DELETE };
enum how {
    LOST,
    LATE,
    CUT,
    HOWS
}; /* once; by seconds; lost as often as it is repeated, for longer than anybody waits */
enum fault { NO_FAULT, EDGE_ASKS, PEER_ANSWERS, PEER_ASKS, EDGE_ANSWERS, FAULTS };
static const char *const MOVES[] = {"nothing", "child_rekey", "child_new", "child_delete", "ike_rekey", "ike_delete"};
static const char *const FAULT_NAMES[] = {"", "edge_asks", "peer_answers", "peer_asks", "edge_answers"};
static const char *const HOW_NAMES[] = {" lost", " late", " cut off"};

struct match {
    enum move edge, peer;
    bool nonces;   /* both rekey the same */
    bool hybrid;   /* IKE_FOLLOWUP_KE follows */
    unsigned most; /* children that may be left; the least is this, or 0 where a child is deleted */
};
static const struct match MATCHES[] = {
    {CHILD_REKEY, CHILD_REKEY, true, false, 1},    {CHILD_REKEY, CHILD_REKEY, true, true, 1},
    {IKE_REKEY, IKE_REKEY, true, false, 1},        {IKE_REKEY, IKE_REKEY, true, true, 1},
    {CHILD_REKEY, IKE_REKEY, false, false, 1},     {CHILD_REKEY, IKE_REKEY, false, true, 1},
    {IKE_REKEY, CHILD_REKEY, false, false, 1},     {IKE_REKEY, CHILD_REKEY, false, true, 1},
    {IKE_REKEY, CHILD_NEW, false, false, 2},       {CHILD_REKEY, CHILD_NEW, false, false, 2},
    {CHILD_DELETE, CHILD_REKEY, false, false, 1},  {CHILD_DELETE, IKE_REKEY, false, false, 0},
    {CHILD_DELETE, CHILD_DELETE, false, false, 0}, {CHILD_REKEY, CHILD_DELETE, false, false, 1},
    {IKE_REKEY, CHILD_DELETE, false, false, 0},    {IKE_DELETE, IKE_REKEY, false, false, 1},
    {IKE_DELETE, CHILD_REKEY, false, false, 1},    {IKE_DELETE, IKE_DELETE, false, false, 1},
    {IKE_REKEY, IKE_DELETE, false, false, 1},      {CHILD_REKEY, IKE_DELETE, false, false, 1},
    {CHILD_REKEY, NOTHING, false, false, 1},       {CHILD_REKEY, NOTHING, false, true, 1},
    {IKE_REKEY, NOTHING, false, false, 1},         {IKE_REKEY, NOTHING, false, true, 1},
    {NOTHING, CHILD_REKEY, false, true, 1},        {NOTHING, IKE_REKEY, false, true, 1},
};

struct play {
    const struct match *match;
    enum fault fault;
    enum how how;
    bool peer_loses; /* the comparison of nonces */
    uint64_t struck; /* when first; 0: not yet */
    char name[96];
};

#define LIFE (1000 * NS_PER_S) /* of the edge's IKE SAs */
#define CUT_TIME (25 * NS_PER_S)

/* ---- the network */

static uint8_t exchange_of(enum move m)
{
    return m == CHILD_DELETE || m == IKE_DELETE ? INFORMATIONAL : CREATE_CHILD_SA;
}

static enum sim_fate strike(struct sim *s, const struct sim_flight *f)
{
    struct play *p = s->ctx;
    struct ike_header h;
    OK(ike_header_read(buf_span(&f->bytes), &h));
    bool response = h.flags & IKE_FLAG_RESPONSE;
    bool edge_began = response == f->to_edge;
    enum fault which = edge_began ? (response ? PEER_ANSWERS : EDGE_ASKS) : response ? EDGE_ANSWERS : PEER_ASKS;
    bool over = p->struck && (p->how != CUT || s->e->now > p->struck + CUT_TIME);
    if (over || which != p->fault || h.exchange != exchange_of(edge_began ? p->match->edge : p->match->peer))
        return FATE_DICE;
    p->struck = p->struck ? p->struck : s->e->now;
    return p->how == LATE ? FATE_LATE : FATE_LOSE;
}

/* ---- moves */

static void peer_moves(struct sim *s, enum move m)
{
    static const enum initiator_job_type JOBS[] = {JOB_NONE,         JOB_CHILD_REKEY, JOB_CHILD_NEW,
                                                   JOB_CHILD_DELETE, JOB_IKE_REKEY,   JOB_IKE_DELETE};
    struct initiator *i = s->peer[0].i;
    struct initiator_job job = {.type = JOBS[m]};
    if (m == CHILD_REKEY || m == CHILD_DELETE)
        job.spi_in = i->child[0].spi_in;
    if (m != NOTHING)
        initiator_want(i, s->e->now, job);
}

static void edge_moves(struct sim *s, enum move m)
{
    uint32_t spi_in = s->e->child[0].spi_in;
    switch (m) {
    case CHILD_REKEY: OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_ESP_EXPIRE, .spi_in = spi_in})); break;
    case CHILD_DELETE: OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_ESP_LOST, .spi_in = spi_in})); break;
    case IKE_DELETE:
        OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_RESET, .handle = s->peer[0].tunnel}));
        break;
    case IKE_REKEY: /* comes by itself: the time is chosen so */
    case NOTHING:
    case CHILD_NEW: break;
    }
}

/* Long lives from now on, so that the world can come to rest. */
static void live_long(struct sim *s, struct ike_policy *policy)
{
    policy->ike_lifetime = policy->child_lifetime = 100000 * NS_PER_S;
    policy->dpd_interval = 0;
    OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = policy}));
}

static bool connected(struct sim *s)
{
    return sim_all_up(s) && s->n_flights == 0;
}

/* Children that were replaced or deleted are gone. */
static void assert_nothing_left_over(struct sim *s)
{
    struct ike_sa_info info;
    size_t n = 0;
    for (size_t c = ike_sa_next(s->e->ike, 0, &info); c; c = ike_sa_next(s->e->ike, c, &info))
        n += info.children;
    assert_int_equal(n, s->e->n_children);
    for (unsigned k = 0; k < s->n_peers; k++)
        for (size_t c = 0; c < s->peer[k].i->n_children; c++)
            assert_false(s->peer[k].i->child[c].replaced || s->peer[k].i->child[c].deleting);
}

static struct ike_policy quick_policy(void)
{
    struct ike_policy p;
    ike_policy_default(&p);
    p.ike.ke[p.ike.n_ke++] = KE_ECP256;
    p.esp.ke[p.esp.n_ke++] = KE_ECP256;
    return p;
}

static void set_up(struct initiator_wish *w, const struct play *p)
{
    w->ike.ke = KE_ECP256;
    w->ike.addke[0] = p->match->hybrid ? KE_ML_KEM_768 : KE_NONE;
    w->esp.ke = p->match->hybrid ? KE_ECP256 : KE_NONE;
    w->esp.addke[0] = w->ike.addke[0];
    w->ni_first = p->peer_loses ? 0 : 0xff;
    w->nr_first = p->peer_loses ? 0xff : 0;
}

/* Without a fault it is soon over, and the one that stays is not that of the exchange with the lowest nonce. */
static void assert_winner(struct sim *s, const struct play *p)
{
    struct initiator *i = s->peer[0].i;
    struct ike_sa_info info;
    sim_run(s, 5 * NS_PER_S, NULL);
    assert_int_equal(s->e->n_children, 1);
    assert_int_equal(i->n_children, 1);
    assert_int_equal(edge_sas(s->e, &info), 1);
    if (p->match->edge == CHILD_REKEY)
        assert_int_equal(i->child[0].ours, !p->peer_loses);
    else
        assert_int_equal(initiator_current(i)->s.began, !p->peer_loses);
    agree_assert(s->e, s->peer[0].tunnel, i);
}

static void play(void **state)
{
    struct play *p = *state;
    const struct match *m = p->match;
    struct ike_policy policy = quick_policy();
    policy.ike_lifetime = m->edge == IKE_REKEY ? LIFE : 100 * LIFE;
    policy.jitter = 0;
    p->struck = 0;
    struct sim *s = sim_new(1 + (uint64_t)p->fault + 10 * (uint64_t)p->how, &policy);
    struct sim_peer *peer = sim_add(s);
    set_up(&peer->i->wish, p);
    initiator_connect(peer->i, s->e->now);
    assert_true(sim_run(s, 60 * NS_PER_S, connected));
    struct ike_sa_info info;
    assert_int_equal(edge_sas(s->e, &info), 1);

    sim_run(s, info.since + LIFE - s->e->now - NS_PER_MS, NULL);
    live_long(s, &policy); /* for what comes to be from now on */
    s->ctx = p;
    s->fate = strike;
    sim_run(s, m->edge == IKE_REKEY ? NS_PER_MS : 0, NULL);
    edge_moves(s, m->edge);
    peer_moves(s, m->peer);
    if (m->nonces && p->fault == NO_FAULT)
        assert_winner(s, p);
    sim_run(s, 600 * NS_PER_S, NULL);
    if (p->fault != NO_FAULT)
        assert_true(p->struck > 0);
    if (m->nonces && p->fault == NO_FAULT)
        assert_true(peer->i->collisions > 0 || m->hybrid);

    sim_settle(s);
    assert_nothing_left_over(s);
    bool deletes = m->edge == CHILD_DELETE || m->peer == CHILD_DELETE;
    assert_in_range(s->e->n_children, deletes ? 0 : m->most, m->most);
    if (m->peer != IKE_DELETE || p->how != CUT) /* the edge repeats its last answer for a while only */
        assert_int_equal(peer->i->gave_up, 0);
    sim_replay(s);
    sim_free(s);
}

/* ---- anything against anything, for a long time */

/* Has the peer got the answer that made it? What the edge says of a child before that can overtake that answer, and then nobody
 * could know better; in life that is hours later. */
static bool peer_knows(const struct sim *s, uint32_t spi_in)
{
    const struct initiator *i = s->peer[0].i;
    for (size_t c = 0; c < i->n_children; c++)
        if (i->child[c].spi_out == spi_in)
            return true;
    return false;
}

static void random_move(struct sim *s)
{
    static const enum move EDGE[] = {CHILD_REKEY, CHILD_REKEY, CHILD_DELETE, NOTHING, NOTHING, NOTHING, IKE_DELETE};
    static const enum move PEER[] = {CHILD_REKEY, CHILD_REKEY, CHILD_NEW, CHILD_DELETE,
                                     IKE_REKEY,   IKE_REKEY,   NOTHING,   IKE_DELETE};
    enum move edge = EDGE[sim_dice(s, ARRAY_LEN(EDGE))], peer = PEER[sim_dice(s, ARRAY_LEN(PEER))];
    struct initiator *i = s->peer[0].i;
    if (s->e->n_children && peer_knows(s, s->e->child[0].spi_in) && (edge != IKE_DELETE || sim_dice(s, 8) == 0))
        edge_moves(s, edge);
    if (peer == CHILD_NEW && i->n_children > 3)
        peer = NOTHING;
    if (peer == IKE_DELETE && sim_dice(s, 8))
        peer = NOTHING;
    if (i->n_children || (peer != CHILD_REKEY && peer != CHILD_DELETE))
        peer_moves(s, peer);
    if (s->e->n_children && sim_dice(s, 2))
        OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_ESP_SEEN,
                                               .spi_in = s->e->child[sim_dice(s, s->e->n_children)].spi_in}));
}

static void random_world(struct sim *s)
{
    struct ike_policy policy = quick_policy();
    policy.ike_lifetime = (30 + sim_dice(s, 300)) * NS_PER_S;
    policy.child_lifetime = (20 + sim_dice(s, 100)) * NS_PER_S;
    policy.dpd_interval = sim_dice(s, 2) * 30 * NS_PER_S;
    policy.jitter = (uint8_t)(10 * sim_dice(s, 4));
    OK(edge_command(s->e, (struct ike_cmd){.type = IKE_CMD_POLICY, .policy = &policy}));
    s->net = (struct sim_net){.loss = (unsigned)sim_dice(s, 30),
                              .twice = (unsigned)sim_dice(s, 20),
                              .late = (unsigned)sim_dice(s, 10),
                              .delay = (1 + sim_dice(s, 100)) * NS_PER_MS,
                              .spread = sim_dice(s, 200) * NS_PER_MS};
    struct sim_peer *p = sim_add(s);
    struct play any = {.match = &MATCHES[sim_dice(s, 2)]};
    set_up(&p->i->wish, &any);
    p->i->wish.ni_first = p->i->wish.nr_first = -1;
    p->nat = sim_dice(s, 3) == 0;
    s->lazy = sim_dice(s, 3) * 700 * NS_PER_MS;
    initiator_connect(p->i, s->e->now);
    assert_true(sim_run(s, 3600 * NS_PER_S, sim_all_up));
    for (int k = 0; k < 15; k++) {
        random_move(s);
        sim_run(s, sim_dice(s, 2) ? sim_dice(s, 30) * NS_PER_S : sim_dice(s, 500) * NS_PER_MS, NULL);
        if (p->nat && sim_dice(s, 5) == 0)
            sim_rebind(s, p);
    }
    live_long(s, &policy);
    s->net = (struct sim_net){.delay = 10 * NS_PER_MS};
    sim_run(s, 1000 * NS_PER_S, NULL); /* what was made before lives out its short life */
    sim_settle(s);
    assert_nothing_left_over(s);
    sim_replay(s);
}

static void anything_against_anything(void **state)
{
    const struct ike_policy policy = quick_policy();
    (void)state;
    sim_seeds(__func__, 150, random_world, &policy);
}

/* ---- the list */

#define PLAYS_MAX (ARRAY_LEN(MATCHES) * 2 * (1 + HOWS * (FAULTS - 1)))
static struct play plays[PLAYS_MAX];
static struct CMUnitTest tests[PLAYS_MAX + 1];

/* Is there such a packet in this match? */
static bool can_strike(const struct match *m, enum fault f)
{
    if (f == EDGE_ASKS || f == PEER_ANSWERS)
        return m->edge != NOTHING;
    return f == NO_FAULT || m->peer != NOTHING;
}

static size_t list_plays(void)
{
    size_t n = 0;
    for (size_t k = 0; k < ARRAY_LEN(MATCHES); k++)
        for (int loses = 0; loses < (MATCHES[k].nonces ? 2 : 1); loses++)
            for (enum fault f = 0; f < FAULTS; f++)
                for (enum how h = 0; h < (f == NO_FAULT ? 1 : HOWS) && can_strike(&MATCHES[k], f); h++) {
                    const struct match *m = &MATCHES[k];
                    struct play *p = &plays[n];
                    *p = (struct play){.match = m, .fault = f, .how = h, .peer_loses = loses};
                    snprintf(p->name, sizeof p->name, "adv_34 %s against %s%s%s%s%s%s", MOVES[m->edge], MOVES[m->peer],
                             m->hybrid ? ", hybrid" : "",
                             !m->nonces ? ""
                             : loses    ? ", peer loses"
                                        : ", edge loses",
                             f ? ", " : "", FAULT_NAMES[f], f ? HOW_NAMES[h] : "");
                    tests[n++] = (struct CMUnitTest){.name = p->name, .test_func = play, .initial_state = p};
                }
    return n;
}

int main(void)
{
    size_t n = list_plays();
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(anything_against_anything);
    return _cmocka_run_group_tests("sim: collisions", tests, n, NULL, NULL);
}
