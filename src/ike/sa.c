/* ike/sa: life of an IKE SA: half-open, established, ended.
 */
#include "create.h"
#include "guard.h"

#include <stdlib.h>

const char *ike_state_name(enum ike_state state)
{
    static const char *const NAMES[IKE_STATES] = {
        [IKE_STATE_NEW] = "new",
        [IKE_STATE_ADDING_KEYS] = "adding-keys",
        [IKE_STATE_AWAITING_AUTH] = "awaiting-auth",
        [IKE_STATE_ESTABLISHED] = "established",
        [IKE_STATE_CONTESTED] = "contested",
        [IKE_STATE_REPLACED] = "replaced",
        [IKE_STATE_DELETING] = "deleting",
        [IKE_STATE_ENDED] = "ended",
    };
    return state < IKE_STATES ? NAMES[state] : "?";
}

uint64_t ike_sa_our_spi(const struct ike_sa *sa)
{
    return sa->initiator ? sa->spi_i : sa->spi_r;
}

bool ike_sa_is_pq(const struct ike_sa *sa)
{
    for (size_t i = 0; i < ADDKE_MAX; i++)
        if (sa->suite.addke[i] && crypto_ke_is_pq(sa->suite.addke[i]))
            return true;
    return false;
}

/* SPIs are random numbers of ours: they need no keyed hash. */
struct ike_sa *ike_sa_find(struct ike *ike, uint64_t spi)
{
    for (struct map_node *n = map_first(&ike->sas, spi); n; n = map_next(n)) {
        struct ike_sa *sa = CONTAINER_OF(n, struct ike_sa, by_spi);
        if (ike_sa_our_spi(sa) == spi)
            return sa;
    }
    return NULL;
}

struct ike_sa *ike_sa_find_init(struct ike *ike, uint64_t init_hash, uint64_t spi_i)
{
    for (struct map_node *n = map_first(&ike->inits, init_hash); n; n = map_next(n)) {
        struct ike_sa *sa = CONTAINER_OF(n, struct ike_sa, by_init);
        if (sa->init_hash == init_hash && sa->spi_i == spi_i)
            return sa;
    }
    return NULL;
}

static void leave_half_open(struct ike *ike, struct ike_sa *sa)
{
    if (!sa->source[SCOPE_HOST])
        return;
    ike_guard_leave(ike, sa);
    list_remove(&sa->half_open_order);
    ike->n_half_open--;
}

/* ---- birth */

/* A full table makes room by its oldest entry: a flood pays with its own half-open SAs, an honest peer needs only moments. */
static void make_room(struct ike_turn *t)
{
    struct ike *ike = t->ike;
    while (ike->n_half_open && ike->n_half_open >= ike->policy.max_half_open) {
        struct ike_sa *oldest = CONTAINER_OF(ike->half_open.next, struct ike_sa, half_open_order);
        ike_event_drop(t, &oldest->path, IKE_COUNT_DROP_LIMIT, oldest->spi_i,
                       "half-open table full: oldest entry dropped");
        ike_sa_free(ike, oldest);
    }
}

static uint64_t fresh_spi(struct ike *ike)
{
    uint64_t spi;
    do
        spi = rng_u64(ike->rng);
    while (!spi || ike_sa_find(ike, spi));
    return spi;
}

/* What every SA has: a place in the table, secrets, an armed timer. */
static bool enter(struct ike_turn *t, struct ike_sa *sa, uint64_t timeout)
{
    struct ike *ike = t->ike;
    list_init(&sa->of_tunnel);
    list_init(&sa->children);
    list_init(&sa->half_open_order);
    bucket_init(&sa->resend, IKE_RESEND_RATE, IKE_RESEND_BURST, t->now);
    sa->secrets = crypto_arena_get(ike->secrets);
    if (!sa->secrets)
        return false;
    if (map_insert(&ike->sas, &sa->by_spi, ike_sa_our_spi(sa)) != RC_OK)
        goto no_spi;
    if (!ike_timer_set(ike, &sa->timer, t->now + timeout))
        goto no_timer;
    return true;

no_timer:
    map_remove(&ike->sas, &sa->by_spi);
no_spi:
    crypto_arena_put(ike->secrets, sa->secrets);
    return false;
}

static void leave(struct ike *ike, struct ike_sa *sa)
{
    heap_cancel(&ike->timers, &sa->timer.t);
    map_remove(&ike->sas, &sa->by_spi);
    crypto_arena_put(ike->secrets, sa->secrets); /* NULL: gone already */
}

struct ike_sa *ike_sa_new(struct ike_turn *t, uint64_t spi_i, const struct path *path, uint64_t init_hash)
{
    struct ike *ike = t->ike;
    make_room(t);
    if (ike->sas.n >= (size_t)ike->policy.max_sas + ike->policy.max_half_open) {
        ike_event_drop(t, path, IKE_COUNT_DROP_LIMIT, spi_i, "SA table full");
        return NULL;
    }
    struct ike_sa *sa = calloc(1, sizeof *sa);
    if (!sa)
        return NULL;
    *sa = (struct ike_sa){
        .timer.kind = TIMER_SA,
        .own.timer.kind = TIMER_REQUEST,
        .spi_i = spi_i,
        .spi_r = fresh_spi(ike),
        .state = IKE_STATE_NEW,
        .path = *path,
        .init_hash = init_hash,
        .tunnel_handle = TUNNEL_NONE,
        .rekey_at = NEVER,
        .keepalive_at = NEVER,
        .created = t->now,
    };
    if (!enter(t, sa, ike->policy.half_open_timeout))
        goto no_entry;
    if (map_insert(&ike->inits, &sa->by_init, init_hash) != RC_OK)
        goto no_init;
    if (!ike_guard_enter(ike, sa))
        goto no_source;
    list_push_back(&ike->half_open, &sa->half_open_order);
    ike->n_half_open++;
    ike->n_alive++;
    return sa;

no_source:
    map_remove(&ike->inits, &sa->by_init);
no_init:
    leave(ike, sa);
no_entry:
    free(sa);
    ike_event_drop(t, path, IKE_COUNT_DROP_LIMIT, spi_i, "out of memory for another SA");
    return NULL;
}

struct ike_sa *ike_sa_successor(struct ike_turn *t, const struct ike_sa *old, uint64_t peer_spi, bool ours)
{
    struct ike *ike = t->ike;
    if (ike->sas.n >= (size_t)ike->policy.max_sas + ike->policy.max_half_open)
        return NULL;
    struct ike_sa *sa = calloc(1, sizeof *sa);
    if (!sa)
        return NULL;
    uint64_t our_spi = fresh_spi(ike);
    *sa = (struct ike_sa){
        .timer.kind = TIMER_SA,
        .own.timer.kind = TIMER_REQUEST,
        .spi_i = ours ? our_spi : peer_spi,
        .spi_r = ours ? peer_spi : our_spi,
        .initiator = ours,
        .state = IKE_STATE_NEW,
        .path = old->path,
        .nat_peer = old->nat_peer,
        .nat_local = old->nat_local,
        .natd_seen = old->natd_seen,
        .fragmentation = old->fragmentation,
        .fragments_used = old->fragments_used,
        .tunnel_handle = old->tunnel_handle,
        .peer = old->peer,
        .rekey_at = NEVER,
        .keepalive_at = NEVER,
        .rekeyed = true,
        .created = t->now,
    };
    memcpy(sa->psk_digest, old->psk_digest, sizeof sa->psk_digest); /* lint: not wire bytes: a digest of ours */
    if (!enter(t, sa, IKE_UNBORN_MAX)) {
        free(sa);
        return NULL;
    }
    ike->n_alive++;
    return sa;
}

/* ---- established */

/* One timer for all that time alone brings about. */
static void arm(struct ike_turn *t, struct ike_sa *sa)
{
    uint64_t interval = t->ike->policy.dpd_interval;
    uint64_t at = interval ? sa->heard + interval : NEVER;
    at = sa->rekey_at < at ? sa->rekey_at : at;
    at = sa->keepalive_at < at ? sa->keepalive_at : at;
    /* Never disarmed: moving an armed timer cannot fail. */
    (void)ike_timer_set(t->ike, &sa->timer, at == NEVER ? t->now + IKE_BUSY_MAX : at);
}

/* RFC 3948 4: only who is behind a NAT keeps its mapping alive. */
static bool wants_keepalive(const struct ike_turn *t, const struct ike_sa *sa)
{
    return t->ike->policy.nat_keepalive && sa->nat_local && sa->path.local.port != 500;
}

void ike_sa_rearm(struct ike_turn *t, struct ike_sa *sa)
{
    if (sa->state != IKE_STATE_ESTABLISHED || sa->doomed)
        return;
    sa->keepalive_at = wants_keepalive(t, sa) ? t->now + t->ike->policy.nat_keepalive : NEVER;
    arm(t, sa);
}

void ike_sa_open(struct ike_turn *t, struct ike_sa *sa)
{
    sa->state = IKE_STATE_ESTABLISHED;
    sa->established = sa->heard = t->now;
    sa->rekey_at = t->now + ike_jitter(t->ike, t->ike->policy.ike_lifetime);
    ike_sa_rearm(t, sa);
}

void ike_sa_heard(struct ike_turn *t, struct ike_sa *sa)
{
    sa->heard = t->now; /* the timer finds out when it fires */
    sa->probe_due = false;
}

static void say(struct ike_turn *t, enum act_type type, const struct ike_sa *sa)
{
    struct act *act = ike_act_add(t, type);
    if (!act)
        return;
    act->tunnel = sa->tunnel_handle;
    act->sa = ike_sa_our_spi(sa);
}

static void join_tunnel(struct ike_turn *t, struct ike_sa *sa, struct ike_tunnel *tunnel)
{
    sa->tunnel = tunnel;
    sa->tunnel_handle = tunnel->handle;
    list_push_back(&tunnel->sas, &sa->of_tunnel);
    tunnel->n_sas++;
    say(t, ACT_UP, sa);
}

static void leave_tunnel(struct ike_turn *t, struct ike_sa *sa)
{
    say(t, ACT_DOWN, sa);
    list_remove(&sa->of_tunnel);
    sa->tunnel->n_sas--;
    sa->tunnel = NULL;
}

struct ike_sa *ike_sa_holder(struct ike *ike, struct ike_sa *sa)
{
    struct ike_sa *heir = sa;
    for (int i = 0; heir && heir->heir && i < 8; i++) /* each is younger than the one before; old ones do not last */
        heir = ike_sa_find(ike, heir->heir);
    return heir ? heir : sa;
}

void ike_sa_inherit(struct ike_turn *t, struct ike_sa *from, struct ike_sa *to)
{
    to->path = from->path;
    to->heir = 0;
    from->heir = ike_sa_our_spi(to);
    join_tunnel(t, to, from->tunnel);
    while (!list_empty(&from->children)) {
        struct ike_child *child = CONTAINER_OF(from->children.next, struct ike_child, of_sa);
        list_remove(&child->of_sa);
        list_push_back(&to->children, &child->of_sa);
        child->sa = to;
    }
    to->n_children = from->n_children;
    from->n_children = 0;
    leave_tunnel(t, from);
}

void ike_sa_retire(struct ike_turn *t, struct ike_sa *sa, enum ike_state state)
{
    sa->state = state;
    sa->rekey_at = NEVER;
    (void)ike_timer_set(t->ike, &sa->timer, t->now + IKE_REPLACED_MAX);
}

void ike_sa_establish(struct ike_turn *t, struct ike_sa *sa, struct ike_tunnel *tunnel)
{
    leave_half_open(t->ike, sa);
    /* What only IKE_AUTH needed. */
    buf_free(&sa->request);
    buf_free(&sa->response);
    buf_free(&sa->ni);
    buf_free(&sa->nr);
    wipe(sa->secrets->int_auth_i, sizeof sa->secrets->int_auth_i);
    wipe(sa->secrets->int_auth_r, sizeof sa->secrets->int_auth_r);
    sa->secrets->has_int_auth = false;
    ike_sa_open(t, sa);
    join_tunnel(t, sa, tunnel);
    ike_count_add(t->ike, IKE_COUNT_ESTABLISHED);
    if (tunnel->n_sas > IKE_TUNNEL_SAS)
        ike_sa_delete(t, CONTAINER_OF(tunnel->sas.next, struct ike_sa, of_tunnel), CHILD_DOWN_IKE_GONE);
}

/* ---- death */

/* Children and tunnel let go; what remains can only talk about its own end. */
static void detach(struct ike_turn *t, struct ike_sa *sa, enum child_down why)
{
    ike_create_free(t->ike, sa->pending);
    ike_create_free(t->ike, sa->own.create);
    while (!list_empty(&sa->children))
        ike_child_down(t, CONTAINER_OF(sa->children.next, struct ike_child, of_sa), why);
    if (!sa->tunnel)
        return;
    ike_event_ended(t, sa, why);
    ike_count_add(t->ike, IKE_COUNT_DELETED);
    leave_tunnel(t, sa);
}

static void forget(struct ike *ike, struct ike_sa *sa)
{
    buf_free(&sa->ni);
    buf_free(&sa->nr);
    buf_free(&sa->request);
    buf_free(&sa->response);
    ike_create_free(ike, sa->pending);
    ike_request_clear(ike, sa);
    for (size_t i = 0; i < ARRAY_LEN(sa->queue); i++)
        if (sa->queue[i])
            ike_queue_free(ike, sa->queue[i]);
    if (sa->secrets)
        crypto_arena_put(ike->secrets, sa->secrets);
    sa->secrets = NULL;
}

void ike_sa_end(struct ike_turn *t, struct ike_sa *sa, enum child_down why)
{
    if (sa->own.create && sa->own.create->rival) /* the peer has rekeyed it and did not see that we would, too: 2.8.2 */
        ike_create_abandon(t, sa->own.create);
    detach(t, sa, why);
    forget(t->ike, sa);
    if (sa->state != IKE_STATE_ENDED)
        t->ike->n_alive--;
    sa->state = IKE_STATE_ENDED;
    if (!ike_timer_set(t->ike, &sa->timer, t->now + IKE_LINGER))
        ike_sa_free(t->ike, sa);
}

void ike_sa_delete(struct ike_turn *t, struct ike_sa *sa, enum child_down why)
{
    struct ike_create *own = sa->own.create;
    struct ike_sa *rival = own && own->rival_spi ? ike_sa_find(t->ike, own->rival_spi) : NULL;
    if (rival && rival->state == IKE_STATE_CONTESTED)
        ike_sa_delete(t, rival, why); /* it waits at ours, so it has none of its own: no deeper than this */
    detach(t, sa, why);
    sa->state = IKE_STATE_DELETING;
    heap_cancel(&t->ike->timers, &sa->timer.t); /* from here the request's retransmissions set the end */
    ike_request_next(t, sa);
}

void ike_sa_free(struct ike *ike, struct ike_sa *sa)
{
    leave_half_open(ike, sa);
    while (!list_empty(&sa->children))
        ike_child_free(ike, CONTAINER_OF(sa->children.next, struct ike_child, of_sa));
    if (sa->tunnel) {
        list_remove(&sa->of_tunnel);
        sa->tunnel->n_sas--;
    }
    forget(ike, sa);
    ike_message_free(&sa->answered.message);
    if (sa->state != IKE_STATE_ENDED)
        ike->n_alive--;
    if (!sa->rekeyed)
        map_remove(&ike->inits, &sa->by_init);
    leave(ike, sa);
    wipe(sa, sizeof *sa);
    free(sa);
}

static void time_out(struct ike_turn *t, struct ike_sa *sa)
{
    const char *reason = sa->state == IKE_STATE_AWAITING_AUTH ? "no IKE_AUTH came" : "no IKE_INTERMEDIATE came";
    if (sa->fragments_total)
        reason = "fragments of the peer's message were lost";
    const struct ike_report report = {
        .count = IKE_COUNT_FAIL_TIMEOUT,
        .reason = reason,
        .path = &sa->path,
        .sa = sa,
    };
    ike_event_failed(t, &report);
    ike_sa_free(t->ike, sa);
}

static void established_due(struct ike_turn *t, struct ike_sa *sa)
{
    uint64_t interval = t->ike->policy.dpd_interval;
    if (sa->doomed) {
        ike_sa_delete(t, sa, CHILD_DOWN_ADMIN);
        return;
    }
    if (t->now >= sa->rekey_at) {
        sa->rekey_due = true;
        sa->rekey_at = NEVER;
    }
    if (t->now >= sa->keepalive_at) {
        sa->keepalive_at = t->now + t->ike->policy.nat_keepalive;
        ike_move_keepalive(t, sa);
    }
    if (interval && t->now >= sa->heard + interval) {
        /* Its answer, or the end of its repetitions, decides; until then the interval starts anew. */
        sa->probe_due = true;
        sa->heard = t->now;
    }
    arm(t, sa);
    ike_request_next(t, sa);
}

/* The peer has not deleted what it replaced; and should our own rekey still be on its way, it is too late now. */
static void replaced_due(struct ike_turn *t, struct ike_sa *sa)
{
    if (sa->own.create && !sa->doomed)
        ike_create_abandon(t, sa->own.create);
    ike_sa_delete(t, sa, sa->doomed ? CHILD_DOWN_ADMIN : CHILD_DOWN_REKEYED);
}

void ike_sa_due(struct ike_turn *t, struct ike_sa *sa)
{
    switch (sa->state) {
    case IKE_STATE_ADDING_KEYS:
    case IKE_STATE_AWAITING_AUTH: time_out(t, sa); break;
    case IKE_STATE_ESTABLISHED: established_due(t, sa); break;
    case IKE_STATE_CONTESTED: /* our own rekey, that it waits for, has its retransmissions to end it */
    case IKE_STATE_NEW: break;
    case IKE_STATE_REPLACED: replaced_due(t, sa); break;
    case IKE_STATE_DELETING:
    case IKE_STATE_ENDED:
    case IKE_STATES: ike_sa_free(t->ike, sa); break;
    }
}
