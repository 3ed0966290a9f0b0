/* A world in virtual time; see sim.h. */
#include "sim.h"

#include <stdio.h>

#include "agree.h"

uint64_t sim_dice(struct sim *s, uint64_t n)
{
    return n ? dice(&s->dice) % n : 0;
}

struct sim *sim_new(uint64_t seed, const struct ike_policy *policy)
{
    struct sim *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->seed = seed;
    s->dice = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    s->e = edge_new(policy, dice(&s->dice));
    s->net = (struct sim_net){.delay = 10 * NS_PER_MS, .spread = 5 * NS_PER_MS};
    s->record = calloc(SIM_RECORD, sizeof *s->record);
    assert_non_null(s->record);
    return s;
}

static void forget(struct sim_flight *v, size_t n)
{
    for (size_t k = 0; k < n; k++)
        buf_free(&v[k].bytes);
    free(v);
}

void sim_free(struct sim *s)
{
    forget(s->flight, s->n_flights);
    forget(s->record, s->n_record);
    edge_free(s->e);
    for (unsigned k = 0; k < s->n_peers; k++)
        initiator_free(s->peer[k].i);
    free(s);
}

struct sim_peer *sim_add(struct sim *s)
{
    assert_true(s->n_peers < SIM_PEERS);
    struct sim_peer *p = &s->peer[s->n_peers];
    char address[32];
    p->tape.seed = dice(&s->dice);
    p->rng = (struct rng){tape_fill, &p->tape};
    p->tunnel = EDGE_TUNNEL + s->n_peers;
    snprintf(address, sizeof address, "192.0.2.%u", 2 + s->n_peers);
    p->i = initiator_new(&p->rng, address, EDGE_ADDRESS);
    p->i->now = s->e->now;
    snprintf(address, sizeof address, "203.0.113.%u", 2 + s->n_peers);
    OK(addr_parse(address, &p->outside));
    p->port = 20000;
    p->i->wish.stay = p->i->wish.initial_contact = true;
    /* Its own name: the last letter of the default one differs. */
    uint8_t last = (uint8_t)('a' + s->n_peers);
    p->i->wish.id.data[p->i->wish.id.n - 1] = last;
    struct tunnel_policy t = edge_tunnel();
    t.tunnel = p->tunnel;
    t.identities[0].data[t.identities[0].n - 1] = last;
    edge_set(s->e, &t);
    s->n_peers++;
    return p;
}

void sim_rebind(struct sim *s, struct sim_peer *p)
{
    p->port = (uint16_t)(20000 + 2 * sim_dice(s, 20000));
}

/* ---- the network */

/* SIM_TRACE: everything that is sent, and what became of it. */
static void trace(const struct sim *s, const struct sim_flight *f, const char *fate)
{
    struct ike_header h;
    if (!getenv("SIM_TRACE") || ike_header_read(buf_span(&f->bytes), &h) != RC_OK)
        return;
    fprintf(stderr, "# %9.3f %s %s %s %u, SA %016llx %s\n", (double)s->e->now / 1e9, f->to_edge ? "peer >" : "edge >",
            ike_exchange_name(h.exchange), h.flags & IKE_FLAG_RESPONSE ? "response" : "request", h.mid,
            (unsigned long long)h.spi_i, fate);
}

static void fly(struct sim *s, const struct sim_flight *f, uint64_t more)
{
    if (s->n_flights == s->max_flights) {
        s->max_flights = s->max_flights ? 2 * s->max_flights : 64;
        s->flight = realloc(s->flight, s->max_flights * sizeof *s->flight);
        assert_non_null(s->flight);
    }
    struct sim_flight *copy = &s->flight[s->n_flights++];
    *copy = *f;
    copy->bytes = (struct buf){0};
    copy->at = s->e->now + s->net.delay + sim_dice(s, s->net.spread) + more;
    OK(buf_set(&copy->bytes, buf_span(&f->bytes)));
}

static void post(struct sim *s, const struct sim_flight *f)
{
    enum sim_fate fate = s->fate ? s->fate(s, f) : FATE_DICE;
    if (fate == FATE_LOSE || sim_dice(s, 100) < s->net.loss) {
        s->lost++;
        trace(s, f, "lost");
        return;
    }
    bool late = fate == FATE_LATE || sim_dice(s, 100) < s->net.late;
    trace(s, f, late ? "late" : "");
    fly(s, f, late ? NS_PER_S + sim_dice(s, 10 * NS_PER_S) : 0);
    while (sim_dice(s, 100) < s->net.twice)
        fly(s, f, sim_dice(s, 3 * NS_PER_S));
}

static void from_peer(struct sim *s, unsigned k)
{
    struct sim_peer *p = &s->peer[k];
    for (size_t n = 0; n < p->i->n_out; n++) {
        const struct initiator_out *o = &p->i->out[n];
        struct sim_flight f = {.peer = k, .to_edge = true, .from = o->from, .to = o->to, .bytes = o->bytes};
        if (p->nat)
            f.from = (struct endpoint){p->outside, (uint16_t)(p->port + (o->from.port == 4500))};
        post(s, &f);
    }
    initiator_forget_out(p->i);
}

/* Whose address is it? The NAT forgot its old ports: then nobody's. */
static bool route(struct sim *s, struct sim_flight *f)
{
    for (unsigned k = 0; k < s->n_peers; k++) {
        const struct sim_peer *p = &s->peer[k];
        struct addr a = p->nat ? p->outside : p->i->local.addr;
        if (!addr_equal(&a, &f->to.addr))
            continue;
        f->peer = k;
        if (!p->nat)
            return true;
        f->to = (struct endpoint){p->i->local.addr, f->to.port == p->port ? 500 : 4500};
        return f->from.port == f->to.port;
    }
    return false;
}

static void from_edge(struct sim *s)
{
    for (size_t k = 0; k < s->e->acts.n; k++) {
        const struct act *act = &s->e->acts.v[k];
        struct sim_flight f = {.from = act->path.local, .to = act->path.remote, .bytes = act->datagram};
        if (act->type == ACT_SEND && route(s, &f))
            post(s, &f);
    }
    bool full = s->e->acts.full;
    edge_clear(s->e);
    if (full) {
        edge_tick(s->e);
        from_edge(s);
    }
}

static void to_edge(struct sim *s, const struct sim_flight *f)
{
    const struct path path = {.local = f->to, .remote = f->from};
    if (s->n_record < SIM_RECORD) {
        struct sim_flight *r = &s->record[s->n_record++];
        *r = *f;
        r->bytes = (struct buf){0};
        OK(buf_set(&r->bytes, buf_span(&f->bytes)));
    }
    edge_input(s->e, &path, buf_span(&f->bytes));
    from_edge(s);
}

static void deliver(struct sim *s, size_t n)
{
    struct sim_flight f = s->flight[n];
    s->flight[n] = s->flight[--s->n_flights];
    s->delivered++;
    if (f.to_edge) {
        to_edge(s, &f);
    } else {
        initiator_input(s->peer[f.peer].i, s->e->now, &f.from, &f.to, buf_span(&f.bytes));
        from_peer(s, f.peer);
    }
    buf_free(&f.bytes);
}

/* ---- time */

static uint64_t next_flight(const struct sim *s, size_t *ret)
{
    uint64_t at = NEVER;
    for (size_t k = 0; k < s->n_flights; k++)
        if (s->flight[k].at < at) {
            at = s->flight[k].at;
            *ret = k;
        }
    return at;
}

static void tick(struct sim *s)
{
    bool due = ike_deadline(s->e->ike) <= s->e->now;
    size_t before = s->e->acts.n;
    edge_tick(s->e);
    assert_true(due || s->e->acts.n == before); /* nothing happens without a deadline */
    from_edge(s);
    for (unsigned k = 0; k < s->n_peers; k++) {
        initiator_tick(s->peer[k].i, s->e->now);
        from_peer(s, k);
    }
}

bool sim_run(struct sim *s, uint64_t ns, bool (*done)(struct sim *s))
{
    uint64_t end = s->e->now + ns;
    tick(s); /* what a test asked for a moment ago */
    for (unsigned long steps = 0;; steps++) {
        size_t n = 0;
        uint64_t flight = next_flight(s, &n), at = ike_deadline(s->e->ike);
        at = at == NEVER ? NEVER : at + s->lazy;
        if (done && done(s))
            return true;
        assert_true(steps < 1000000); /* or somebody is talking to himself */
        for (unsigned k = 0; k < s->n_peers; k++)
            if (initiator_deadline(s->peer[k].i) < at)
                at = initiator_deadline(s->peer[k].i);
        uint64_t next = flight < at ? flight : at;
        if (next > end)
            break;
        if (next > s->e->now)
            s->e->now = next;
        if (flight <= at)
            deliver(s, n);
        else
            tick(s);
    }
    s->e->now = end;
    tick(s);
    return done && done(s);
}

bool sim_all_up(struct sim *s)
{
    for (unsigned k = 0; k < s->n_peers; k++)
        if (!initiator_current(s->peer[k].i))
            return false;
    return true;
}

static bool quiet(struct sim *s)
{
    for (unsigned k = 0; k < s->n_peers; k++)
        if (initiator_busy(s->peer[k].i) || initiator_connecting(s->peer[k].i))
            return false;
    return s->n_flights == 0;
}

void sim_settle(struct sim *s)
{
    s->net = (struct sim_net){.delay = 10 * NS_PER_MS};
    s->fate = NULL;
    for (int round = 0; round < 3; round++) {
        for (unsigned k = 0; k < s->n_peers; k++) {
            struct initiator *i = s->peer[k].i;
            if (!initiator_current(i) && !initiator_connecting(i))
                initiator_connect(i, s->e->now);
            for (size_t n = 0; n < i->n_sas; n++)
                if (i->sa[n]->stage == STAGE_UP && !i->sa[n]->closing)
                    initiator_want(i, s->e->now, (struct initiator_job){.type = JOB_ALIVE, .spi_i = i->sa[n]->s.spi_i});
        }
        assert_true(sim_run(s, 1200 * NS_PER_S, quiet));
        sim_run(s, 120 * NS_PER_S, NULL); /* half-open ones and ended ones go */
    }
    for (unsigned k = 0; k < s->n_peers; k++) {
        size_t up = 0;
        for (size_t n = 0; n < s->peer[k].i->n_sas; n++)
            up += s->peer[k].i->sa[n]->stage == STAGE_UP;
        assert_int_equal(up, 1);
        agree_assert(s->e, s->peer[k].tunnel, s->peer[k].i);
    }
    struct ike_sa_info info;
    assert_int_equal(edge_sas(s->e, &info), s->n_peers);
}

void sim_replay(struct sim *s)
{
    unsigned ups = s->e->ups + s->e->child_ups, downs = s->e->downs + s->e->child_downs;
    for (size_t k = 0; k < s->n_record; k++) {
        const struct path path = {.local = s->record[k].to, .remote = s->record[k].from};
        edge_input(s->e, &path, buf_span(&s->record[k].bytes));
        edge_clear(s->e);
    }
    assert_int_equal(s->e->ups + s->e->child_ups, ups);
    assert_int_equal(s->e->downs + s->e->child_downs, downs);
    s->e->now += 120 * NS_PER_S;
    edge_tick(s->e);
    edge_clear(s->e);
    for (unsigned k = 0; k < s->n_peers; k++)
        agree_assert(s->e, s->peer[k].tunnel, s->peer[k].i);
}

/* ---- seeds */

static struct {
    const char *name;
    uint64_t seed;
    bool running;
} current;

static void report(void)
{
    if (current.running)
        fprintf(stderr, "# to repeat: SIM_SEED=%llu, simulation %s\n", (unsigned long long)current.seed, current.name);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void sim_seeds(const char *name, unsigned n, void (*world)(struct sim *s), const struct ike_policy *policy)
{
    static bool told;
    const char *one = getenv("SIM_SEED"), *many = getenv("SIM_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    n = one ? 1 : many ? (unsigned)strtoul(many, NULL, 10) : n;
    if (!told) {
        atexit(report);
        if (__sanitizer_set_death_callback)
            __sanitizer_set_death_callback(report);
        told = true;
    }
    report(); /* of an earlier simulation that failed */
    current.name = name;
    for (uint64_t seed = first; seed < first + n; seed++) {
        current.seed = seed;
        current.running = true;
        struct sim *s = sim_new(seed, policy);
        world(s);
        sim_free(s);
        current.running = false;
    }
}
