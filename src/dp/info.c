/* What can be asked of a dp: names, counters, limits. Counters live in the workers and only grow; a handle that gets a new tunnel
 * starts from zero by subtraction, so that nobody but its worker ever writes a counter. */
#include "tables.h"
#include "worker.h"

const char *dp_reason_name(enum dp_reason r)
{
    static const char *const name[DP_REASON_END] = {
#define X(id, text) text,
        DP_REASONS(X)
#undef X
    };
    return (unsigned)r < DP_REASON_END ? name[r] : "?";
}

static void add(struct dp_counters *to, const struct dp_counters *c)
{
    to->packets_in += READ(c->packets_in);
    to->bytes_in += READ(c->bytes_in);
    to->packets_out += READ(c->packets_out);
    to->bytes_out += READ(c->bytes_out);
    for (int i = 0; i < DP_REASON_END; i++)
        to->drops[i] += READ(c->drops[i]);
}

static void subtract(struct dp_counters *from, const struct dp_counters *c)
{
    from->packets_in -= c->packets_in;
    from->bytes_in -= c->bytes_in;
    from->packets_out -= c->packets_out;
    from->bytes_out -= c->bytes_out;
    for (int i = 0; i < DP_REASON_END; i++)
        from->drops[i] -= c->drops[i];
}

void worker_counters_sum(const struct dp *dp, uint32_t tunnel, struct dp_counters *ret)
{
    *ret = (struct dp_counters){0};
    for (unsigned i = 0; i < DP_WORKERS_MAX; i++)
        if (dp->worker[i])
            add(ret, &dp->worker[i]->count[tunnel].c);
}

/* ---- IPsec: an SA's own counters are all that a packet touches ---------------------------------- */

void traffic_add(struct traffic *to, const struct traffic *t)
{
    to->packets_in += t->packets_in;
    to->bytes_in += t->bytes_in;
    to->packets_out += t->packets_out;
    to->bytes_out += t->bytes_out;
    if (t->last_in > to->last_in)
        to->last_in = t->last_in;
}

struct traffic traffic_of_sa(const struct sa *sa)
{
    const struct sa_shared *s = sa->out.shared ? sa_shared(sa) : NULL;
    return (struct traffic){.packets_in = READ(sa->packets_in),
                            .bytes_in = READ(sa->bytes_in),
                            .packets_out = s ? READ(s->packets_out) : READ(sa->seq),
                            .bytes_out = s ? READ(s->bytes_out) : READ(sa->bytes_out),
                            .last_in = READ(sa->last_in)};
}

static uint64_t seq_out(const struct sa *sa)
{
    if (!sa->out.shared)
        return READ(sa->seq);
    uint64_t given = READ(sa_shared(sa)->seq);
    return given < SEQ_HARD ? given : SEQ_HARD;
}

struct traffic traffic_of_tunnel(const struct live *live)
{
    struct traffic sum = live->gone;
    for (uint32_t i = 0; live->sas && i < live->sas->n; i++) {
        struct traffic t = traffic_of_sa(live->sas->v[i]);
        traffic_add(&sum, &t);
    }
    return sum;
}

static void counters_add(struct dp_counters *to, const struct traffic *t)
{
    to->packets_in += t->packets_in;
    to->bytes_in += t->bytes_in;
    to->packets_out += t->packets_out;
    to->bytes_out += t->bytes_out;
}

/* ---- what can be asked -------------------------------------------------------------------------- */

/* The SA a tunnel sends on now, selectors aside. */
static const struct sa *sending(const struct live *live)
{
    const struct sa *early = NULL;
    for (uint32_t i = 0; live->sas && i < live->sas->n; i++) {
        const struct sa *sa = live->sas->v[i];
        if (READ(sa->expired) || READ(sa->seq) >= SEQ_HARD || READ(sa->iv_next) >= IV_HARD)
            continue;
        if (!READ(sa->early))
            return sa;
        if (!early)
            early = sa;
    }
    return early;
}

/* Where the SAs and the path MTU of a tunnel are: of GRE inside ESP at the tunnel that carries it. */
static const struct live *outer_of(const struct dp *dp, uint32_t handle)
{
    uint32_t esp = dp->tunnel[handle]->view->esp;
    return &dp->live[esp == TUNNEL_NONE ? handle : esp];
}

bool dp_tunnel_info(const struct dp *dp, uint32_t handle, struct dp_tunnel_info *ret)
{
    const struct tunnel *t = handle < dp->config.max_tunnels ? dp->tunnel[handle] : NULL;
    if (!t)
        return false;
    const struct live *live = &dp->live[handle], *outer = outer_of(dp, handle);
    const struct sa *sa = sending(outer);
    struct limits limits = limits_read(sa ? &sa->out.limits : &outer->limits);
    uint16_t learned = READ(outer->path_mtu);
    if (outer != live) /* without an SA: what its larger overhead allows */
        limits = limits_carried(t->view, &limits, sa && sa->out.transport);
    struct dp_tunnel_info info = {
        .mtu = limits.mtu,
        .mss4 = limits.mss4,
        .mss6 = limits.mss6,
        .path_mtu = learned ? learned : t->view->path_mtu,
        .sendable = t->view->esp == TUNNEL_NONE || sa,
    };
    worker_counters_sum(dp, handle, &info.counters);
    subtract(&info.counters, &t->base);
    for (unsigned i = 0; i < DP_WORKERS_MAX; i++)
        if (dp->worker[i] && READ(dp->worker[i]->count[handle].last_in) > info.last_in)
            info.last_in = READ(dp->worker[i]->count[handle].last_in);
    if (info.counters.packets_in == 0)
        info.last_in = 0; /* the handle's former holder's */
    struct traffic traffic = traffic_of_tunnel(live);
    counters_add(&info.counters, &traffic);
    if (t->view->type == TUNNEL_IPSEC)
        info.last_in = traffic.last_in;
    *ret = info;
    return true;
}

bool dp_sa_info(const struct dp *dp, uint32_t spi_in, struct dp_sa_info *ret)
{
    const struct sa *sa = sa_find_in(dp->by_in, spi_in);
    if (!sa)
        return false;
    struct traffic traffic = traffic_of_sa(sa);
    *ret = (struct dp_sa_info){
        .packets_in = traffic.packets_in,
        .bytes_in = traffic.bytes_in,
        .packets_out = traffic.packets_out,
        .bytes_out = traffic.bytes_out,
        .seq_in = READ(sa->window.top),
        .seq_out = seq_out(sa),
        .replay_drops = READ(sa->replay_drops),
        .integrity_drops = READ(sa->integrity_drops),
        .mtu = READ(sa->out.limits.mtu),
        .mss4 = READ(sa->out.limits.mss4),
        .mss6 = READ(sa->out.limits.mss6),
        .sending = sending(&dp->live[sa->tunnel]) == sa,
    };
    return true;
}

void dp_total_info(const struct dp *dp, struct dp_counters *ret)
{
    struct dp_counters sum = {0};
    for (unsigned i = 0; i < DP_WORKERS_MAX; i++) {
        const struct dp_worker *w = dp->worker[i];
        if (!w)
            continue;
        add(&sum, &w->total); /* drops */
        for (uint32_t k = 0; k < w->n_count; k++) {
            sum.packets_in += READ(w->count[k].c.packets_in);
            sum.bytes_in += READ(w->count[k].c.bytes_in);
            sum.packets_out += READ(w->count[k].c.packets_out);
            sum.bytes_out += READ(w->count[k].c.bytes_out);
        }
    }
    struct traffic traffic = dp->gone;
    for (uint32_t i = 0; i < dp->config.max_tunnels; i++) {
        struct traffic t = traffic_of_tunnel(&dp->live[i]);
        traffic_add(&traffic, &t);
    }
    counters_add(&sum, &traffic);
    *ret = sum;
}
