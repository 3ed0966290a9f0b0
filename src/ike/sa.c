/* ike/sa: life of an IKE SA: half-open, established, ended.
 */
#include "event.h"

#include <stdlib.h>

const char *ike_state_name(enum ike_state state)
{
    static const char *const NAMES[IKE_STATES] = {
        [IKE_STATE_NEW] = "new",
        [IKE_STATE_ADDING_KEYS] = "adding-keys",
        [IKE_STATE_AWAITING_AUTH] = "awaiting-auth",
        [IKE_STATE_ESTABLISHED] = "established",
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

/* ---- half-open SAs by source address */

static struct ike_source *find_source(struct ike *ike, const struct addr *a)
{
    for (struct map_node *n = map_first(&ike->sources, ike_hash_addr(ike, a)); n; n = map_next(n)) {
        struct ike_source *s = CONTAINER_OF(n, struct ike_source, node);
        if (addr_equal(&s->addr, a))
            return s;
    }
    return NULL;
}

uint32_t ike_source_count(struct ike *ike, const struct addr *a)
{
    const struct ike_source *s = find_source(ike, a);
    return s ? s->n : 0;
}

static struct ike_source *take_source(struct ike *ike, const struct addr *a)
{
    struct ike_source *s = find_source(ike, a);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return NULL;
        s->addr = *a;
        if (map_insert(&ike->sources, &s->node, ike_hash_addr(ike, a)) != RC_OK) {
            free(s);
            return NULL;
        }
    }
    s->n++;
    return s;
}

static void leave_half_open(struct ike *ike, struct ike_sa *sa)
{
    if (!sa->source)
        return;
    if (--sa->source->n == 0) {
        map_remove(&ike->sources, &sa->source->node);
        free(sa->source);
    }
    sa->source = NULL;
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
        .created = t->now,
    };
    list_init(&sa->of_tunnel);
    list_init(&sa->children);
    list_init(&sa->half_open_order);
    bucket_init(&sa->resend, IKE_RESEND_RATE, IKE_RESEND_BURST, t->now);

    sa->secrets = crypto_arena_get(ike->secrets);
    if (!sa->secrets)
        goto no_secrets;
    if (map_insert(&ike->sas, &sa->by_spi, sa->spi_r) != RC_OK)
        goto no_spi;
    if (map_insert(&ike->inits, &sa->by_init, init_hash) != RC_OK)
        goto no_init;
    if (!ike_timer_set(ike, &sa->timer, t->now + ike->policy.half_open_timeout))
        goto no_timer;
    sa->source = take_source(ike, &path->remote.addr);
    if (!sa->source)
        goto no_source;
    list_push_back(&ike->half_open, &sa->half_open_order);
    ike->n_half_open++;
    ike->n_alive++;
    return sa;

no_source:
    heap_cancel(&ike->timers, &sa->timer.t);
no_timer:
    map_remove(&ike->inits, &sa->by_init);
no_init:
    map_remove(&ike->sas, &sa->by_spi);
no_spi:
    crypto_arena_put(ike->secrets, sa->secrets);
no_secrets:
    free(sa);
    ike_event_drop(t, path, IKE_COUNT_DROP_LIMIT, spi_i, "out of memory for another SA");
    return NULL;
}

void ike_sa_establish(struct ike_turn *t, struct ike_sa *sa, struct ike_tunnel *tunnel)
{
    struct ike *ike = t->ike;
    leave_half_open(ike, sa);
    sa->tunnel = tunnel;
    sa->tunnel_handle = tunnel->handle;
    sa->established = t->now;
    list_push_back(&tunnel->sas, &sa->of_tunnel);
    tunnel->n_sas++;
    /* What only IKE_AUTH needed. */
    buf_free(&sa->request);
    buf_free(&sa->response);
    buf_free(&sa->ni);
    buf_free(&sa->nr);
    wipe(sa->secrets->int_auth_i, sizeof sa->secrets->int_auth_i);
    wipe(sa->secrets->int_auth_r, sizeof sa->secrets->int_auth_r);
    sa->secrets->has_int_auth = false;
    (void)ike_timer_set(ike, &sa->timer, t->now + ike->policy.ike_lifetime); /* armed already: moving cannot fail */
    ike_count_add(ike, IKE_COUNT_ESTABLISHED);
    struct act *act = ike_act_add(t, ACT_UP);
    if (act) {
        act->tunnel = tunnel->handle;
        act->sa = ike_sa_our_spi(sa);
    }
    if (tunnel->n_sas > IKE_TUNNEL_SAS)
        ike_sa_delete(t, CONTAINER_OF(tunnel->sas.next, struct ike_sa, of_tunnel), CHILD_DOWN_IKE_GONE);
}

/* ---- death */

/* Children and tunnel let go; what remains can only talk about its own end. */
static void detach(struct ike_turn *t, struct ike_sa *sa, enum child_down why)
{
    while (!list_empty(&sa->children))
        ike_child_down(t, CONTAINER_OF(sa->children.next, struct ike_child, of_sa), why);
    if (!sa->tunnel)
        return;
    ike_event_ended(t, sa, why);
    struct act *act = ike_act_add(t, ACT_DOWN);
    if (act) {
        act->tunnel = sa->tunnel_handle;
        act->sa = ike_sa_our_spi(sa);
    }
    ike_count_add(t->ike, IKE_COUNT_DELETED);
    list_remove(&sa->of_tunnel);
    sa->tunnel->n_sas--;
    sa->tunnel = NULL;
}

static void forget(struct ike *ike, struct ike_sa *sa)
{
    buf_free(&sa->ni);
    buf_free(&sa->nr);
    buf_free(&sa->request);
    buf_free(&sa->response);
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
    buf_free(&sa->answered.message.bytes);
    if (sa->state != IKE_STATE_ENDED)
        ike->n_alive--;
    heap_cancel(&ike->timers, &sa->timer.t);
    map_remove(&ike->inits, &sa->by_init);
    map_remove(&ike->sas, &sa->by_spi);
    wipe(sa, sizeof *sa);
    free(sa);
}

static void time_out(struct ike_turn *t, struct ike_sa *sa)
{
    const struct ike_queue *q = sa->queue[0];
    const char *reason = sa->state == IKE_STATE_AWAITING_AUTH ? "no IKE_AUTH came" : "no IKE_INTERMEDIATE came";
    if (q && q->f.total)
        reason = "fragments of the peer's message were lost";
    const struct ike_report report = {
        .count = IKE_COUNT_FAIL_TIMEOUT,
        .reason = reason,
        .path = &sa->path,
        .spi_i = sa->spi_i,
        .spi_r = sa->spi_r,
        .created = sa->created,
    };
    ike_event_failed(t, &report);
    ike_sa_free(t->ike, sa);
}

void ike_sa_due(struct ike_turn *t, struct ike_sa *sa)
{
    switch (sa->state) {
    case IKE_STATE_ADDING_KEYS:
    case IKE_STATE_AWAITING_AUTH: time_out(t, sa); break;
    case IKE_STATE_ESTABLISHED: ike_sa_delete(t, sa, CHILD_DOWN_EXPIRED); break;
    case IKE_STATE_NEW:
    case IKE_STATE_DELETING:
    case IKE_STATE_ENDED:
    case IKE_STATES: ike_sa_free(t->ike, sa); break;
    }
}
