/* Datagrams and actions between sockets, ike and dp. Executes, decides nothing. */
#include "daemon.h"

void traffic_datagram(void *daemon, const struct path *path, struct span datagram)
{
    struct daemon *d = daemon;
    ike_input(d->ike, io_clock_now(), path, datagram, &d->acts);
    traffic_execute(d);
}

void traffic_publish(struct daemon *d)
{
    if (!d->unpublished)
        return;
    enum rc rc = dp_publish(d->dp);
    if (rc != RC_OK) {
        LOG(&d->log, io_clock_now(), LOG_LEVEL_ERROR, "daemon.publish_failed", LOG_STR("reason", rc_name(rc)));
        return;
    }
    d->unpublished = false;
    if (crew_grace(d->crew))
        grace_take(crew_grace(d->crew));
}

static bool mtu_changed(struct daemon *d, uint32_t tunnel)
{
    struct handle_tunnel *t = tunnel < d->handles.n_tunnels ? &d->handles.tunnels[tunnel] : NULL;
    struct dp_tunnel_info info;
    if (!t || !t->row || !dp_tunnel_info(d->dp, tunnel, &info) || info.mtu == t->mtu)
        return false;
    t->mtu = info.mtu;
    return true;
}

/* The suite, the mode and a NAT decide the exact MTU, of what the tunnel carries too: the kernel's routes follow every new SA and
 * every move that changes it. */
static void follow_mtu(struct daemon *d, uint32_t tunnel)
{
    const struct handle_tunnel *t = tunnel < d->handles.n_tunnels ? &d->handles.tunnels[tunnel] : NULL;
    if (!t || !t->row)
        return;
    bool changed = mtu_changed(d, tunnel);
    const struct config_tunnels *all = &t->row->account->tunnels;
    for (size_t i = 0; t->row->carries && i < all->n; i++)
        if (config_tunnel_protector(&all->v[i]) == t->row)
            changed |= mtu_changed(d, handles_find_tunnel(&d->handles, t->account, all->v[i].name));
    if (changed)
        inside_sync(d, t->account);
}

/* RC_ABSENT is no failure: the SA went in the meantime. */
static void command(struct daemon *d, uint64_t now, const struct ike_cmd *cmd)
{
    enum rc rc = ike_command(d->ike, now, cmd, &d->acts);
    if (rc != RC_OK && rc != RC_ABSENT)
        LOG(&d->log, now, LOG_LEVEL_ERROR, "daemon.command_failed", LOG_U64("spi_in", cmd->spi_in),
            LOG_STR("reason", rc_name(rc)));
}

static void child_up(struct daemon *d, const struct child_sa *child)
{
    uint64_t now = io_clock_now();
    enum rc rc = dp_child_up(d->dp, now, child);
    d->unpublished = true;
    if (rc != RC_OK) { /* the peer must not send into the void: the Child SA ends again */
        struct ike_cmd cmd = {.type = IKE_CMD_ESP_LOST, .spi_in = child->spi_in};
        LOG(&d->log, now, LOG_LEVEL_ERROR, "daemon.child_up_failed", LOG_U64("spi_in", child->spi_in),
            LOG_STR("reason", rc_name(rc)));
        command(d, now, &cmd);
        return;
    }
    traffic_publish(d);
    follow_mtu(d, child->tunnel);
}

static void child_down(struct daemon *d, const struct act *a)
{
    uint64_t at = io_clock_now() + RETIRED_LINGER;
    if (a->why == CHILD_DOWN_REKEYED && d->n_retired < RETIRED_MAX) {
        dp_child_retire(d->dp, a->spi_in, at);
        d->retired[(d->retired_first + d->n_retired++) % RETIRED_MAX] = (struct retired){.at = at, .spi_in = a->spi_in};
    } else {
        dp_child_down(d->dp, a->spi_in);
    }
    d->unpublished = true;
}

uint64_t traffic_retired(struct daemon *d, uint64_t now)
{
    for (; d->n_retired && d->retired[d->retired_first].at <= now; d->n_retired--) {
        dp_child_down(d->dp, d->retired[d->retired_first].spi_in);
        d->retired_first = (d->retired_first + 1) % RETIRED_MAX;
        d->unpublished = true;
    }
    return d->n_retired ? d->retired[d->retired_first].at : NEVER;
}

static void child_moved(struct daemon *d, const struct act *a)
{
    enum rc rc = dp_child_moved(d->dp, a->spi_in, &a->path, a->udp);
    d->unpublished = true;
    if (rc == RC_OK)
        follow_mtu(d, a->tunnel);
    else
        LOG(&d->log, io_clock_now(), LOG_LEVEL_ERROR, "daemon.child_moved_failed", LOG_U64("spi_in", a->spi_in),
            LOG_STR("reason", rc_name(rc)));
}

static void execute_one(struct daemon *d, const struct act *a)
{
    switch (a->type) {
    case ACT_SEND: /* any Child SA it tells of came up before it, and is published */
        io_outer_send_datagram(d->outer, &a->path, a->marker, buf_span(&a->datagram));
        break;
    case ACT_CHILD_UP: child_up(d, a->child); break;
    case ACT_CHILD_DOWN: child_down(d, a); break;
    case ACT_CHILD_MOVED: child_moved(d, a); break;
    case ACT_UP: /* logged by ike; `aditctl sas` asks it */
    case ACT_DOWN: break;
    }
}

void traffic_execute(struct daemon *d)
{
    do {
        for (size_t i = 0; i < d->acts.n; i++) /* executing one may append another */
            execute_one(d, &d->acts.v[i]);
        bool more = d->acts.full;
        acts_clear(d->ike, &d->acts);
        if (more)
            ike_tick(d->ike, io_clock_now(), &d->acts);
    } while (d->acts.n);
}

void traffic_tick(struct daemon *d, uint64_t now)
{
    if (ike_deadline(d->ike) > now)
        return;
    ike_tick(d->ike, now, &d->acts);
    traffic_execute(d);
}

static void events_of(struct daemon *d, struct dp_worker *worker, uint64_t now)
{
    struct dp_event events[32];
    size_t n;
    while ((n = dp_events(worker, events, ARRAY_LEN(events)))) {
        for (size_t i = 0; i < n; i++) {
            struct ike_cmd cmd = {.spi_in = events[i].spi_in};
            switch (events[i].type) {
            case DP_EVENT_SA_SEEN: cmd.type = IKE_CMD_ESP_SEEN; break;
            case DP_EVENT_SA_SOFT:
            case DP_EVENT_SA_HARD: cmd.type = IKE_CMD_ESP_EXPIRE; break;
            case DP_EVENT_PEER_MOVED:
                cmd.type = IKE_CMD_ESP_MOVED;
                cmd.path = &events[i].path;
                break;
            }
            command(d, now, &cmd);
            traffic_execute(d);
        }
    }
}

void traffic_events(struct daemon *d, uint64_t now)
{
    for (unsigned i = 0; i < crew_size(d->crew); i++)
        events_of(d, crew_forward(d->crew, i)->worker, now);
}
