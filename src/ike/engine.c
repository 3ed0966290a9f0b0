/* ike/engine: birth and death of the engine, its clockwork, and the actions it hands out.
 */
#include "create.h"
#include "guard.h"

#include <stdlib.h>

static void free_scratch(struct ike *ike)
{
    free(ike->in);
    free(ike->joined);
    free(ike->rates);
    free(ike->out);
    free(ike->inner);
}

enum rc ike_new(const struct ike_config *config, struct ike **ret)
{
    struct ike *ike = calloc(1, sizeof *ike);
    if (!ike)
        return RC_NOMEM;
    ike->policy = config->policy;
    ike->log = config->log;
    ike->crypto = config->crypto;
    ike->rng = config->rng;
    ike->spi_source = config->spi_source;
    ike->spi_ctx = config->spi_ctx;
    ike->unix_time_at_zero = config->unix_time_at_zero;
    rng_fill(ike->rng, ike->hash_key, sizeof ike->hash_key);
    rng_fill(ike->rng, ike->digest_key, sizeof ike->digest_key);

    ike_cookie_secret(&ike->cookies, ike->policy.cookie_secret, ike->rng);
    bucket_init(&ike->explanations, IKE_EXPLAIN_RATE, IKE_EXPLAIN_RATE, 0);
    bucket_init(&ike->stateless, IKE_STATELESS_RATE, IKE_STATELESS_RATE, 0);
    list_init(&ike->half_open);
    list_init(&ike->creates);
    list_init(&ike->queues);

    ike->in = malloc(IKE_DATAGRAM_MAX);
    ike->joined = malloc(IKE_REASSEMBLED_MAX);
    ike->out = malloc(IKE_DATAGRAM_MAX);
    ike->inner = malloc(IKE_INNER_MAX);
    enum rc rc = ike->in && ike->joined && ike->out && ike->inner ? RC_OK : RC_NOMEM;
    if (rc == RC_OK)
        rc = ike_guard_init(ike);
    size_t max = (size_t)ike->policy.max_sas + ike->policy.max_half_open + IKE_TUNNEL_SAS;
    if (rc == RC_OK)
        rc = crypto_arena_new(sizeof(struct ike_secrets), max, &ike->secrets);
    if (rc == RC_OK)
        rc = crypto_arena_new(sizeof(struct child_sa), ACTS_MAX + IKE_CREATES_MAX, &ike->child_keys);
    if (rc == RC_OK)
        rc = crypto_arena_new(sizeof(struct ike_create), IKE_CREATES_MAX, &ike->exchanges);
    if (rc) {
        if (ike->child_keys)
            crypto_arena_free(ike->child_keys);
        if (ike->secrets)
            crypto_arena_free(ike->secrets);
        free_scratch(ike);
        free(ike);
        return rc;
    }
    *ret = ike;
    return RC_OK;
}

void ike_free(struct ike *ike)
{
    if (!ike)
        return;
    while (!list_empty(&ike->creates)) /* first: they own SAs that are in the table */
        ike_create_free(ike, CONTAINER_OF(ike->creates.next, struct ike_create, all));
    for (struct map_node *n = map_walk(&ike->sas, NULL), *next; n; n = next) {
        next = map_walk(&ike->sas, n);
        ike_sa_free(ike, CONTAINER_OF(n, struct ike_sa, by_spi));
    }
    for (size_t i = 0; i < ike->n_tunnels; i++)
        if (ike->tunnels[i])
            ike_tunnel_free(ike, ike->tunnels[i]);
    free(ike->tunnels);
    map_free(&ike->sas);
    map_free(&ike->inits);
    map_free(&ike->children);
    map_free(&ike->sources);
    map_free(&ike->identities);
    map_free(&ike->endpoints);
    heap_free(&ike->timers);
    crypto_arena_free(ike->secrets);
    crypto_arena_free(ike->child_keys);
    crypto_arena_free(ike->exchanges);
    free_scratch(ike);
    wipe(ike, sizeof *ike);
    free(ike);
}

/* ---- actions */

bool ike_acts_room(struct ike_turn *t)
{
    if (t->acts->n + IKE_ACTS_RESERVE <= ACTS_MAX)
        return true;
    t->acts->full = true;
    return false;
}

struct act *ike_act_add(struct ike_turn *t, enum act_type type)
{
    struct acts *a = t->acts;
    if (a->n == ACTS_MAX) {
        a->full = true;
        return NULL;
    }
    struct act *act = &a->v[a->n++];
    *act = (struct act){.type = type, .tunnel = TUNNEL_NONE};
    return act;
}

void ike_act_send(struct ike_turn *t, const struct path *path, struct span datagram)
{
    struct buf copy = {0};
    if (buf_set(&copy, datagram) != RC_OK)
        return; /* as if the network had lost it */
    struct act *act = ike_act_add(t, ACT_SEND);
    if (!act) {
        buf_free(&copy);
        return;
    }
    act->path = *path;
    act->marker = path->local.port != 500; /* RFC 3948 2.2: the non-ESP marker is of port 4500 */
    act->datagram = copy;
    ike_count_add(t->ike, IKE_COUNT_SENT);
}

void ike_act_send_message(struct ike_turn *t, const struct path *path, const struct ike_message *m)
{
    struct rd r = rd_of(buf_span(&m->bytes));
    for (uint8_t i = 0; i < m->n; i++)
        ike_act_send(t, path, rd_take(&r, m->length[i]));
}

void acts_clear(struct ike *ike, struct acts *a)
{
    for (size_t i = 0; i < a->n; i++) {
        buf_free(&a->v[i].datagram);
        if (a->v[i].child)
            crypto_arena_put(ike->child_keys, a->v[i].child);
    }
    a->n = 0;
    a->full = false;
}

/* ---- time */

bool ike_timer_set(struct ike *ike, struct ike_timer *timer, uint64_t at)
{
    return heap_set(&ike->timers, &timer->t, at) == RC_OK;
}

uint64_t ike_jitter(const struct ike *ike, uint64_t life)
{
    uint64_t span = life / 100 * ike->policy.jitter;
    return life - (span ? rng_u64(ike->rng) % (span + 1) : 0);
}

uint64_t ike_unix_time(const struct ike *ike, uint64_t now)
{
    return ike->unix_time_at_zero + now / NS_PER_S;
}

static void fire(struct ike_turn *t, struct ike_timer *timer)
{
    switch (timer->kind) {
    case TIMER_SA: ike_sa_due(t, CONTAINER_OF(timer, struct ike_sa, timer)); break;
    case TIMER_REQUEST: ike_request_due(t, CONTAINER_OF(timer, struct ike_sa, own.timer)); break;
    case TIMER_FRAGMENTS: {
        struct ike_queue *q = CONTAINER_OF(timer, struct ike_queue, timer);
        ike_event_drop(t, &q->sa->path, IKE_COUNT_DROP_FRAGMENT, q->sa->spi_i,
                       "fragments of a message did not all come");
        ike_queue_free(t->ike, q);
        break;
    }
    case TIMER_CHILD: ike_child_due(t, CONTAINER_OF(timer, struct ike_child, timer)); break;
    case TIMER_CREATE: ike_create_due(t, CONTAINER_OF(timer, struct ike_create, timer)); break;
    }
}

void ike_tick(struct ike *ike, uint64_t now, struct acts *ret)
{
    struct ike_turn t = {ike, now, ret};
    struct timer *due;
    while (heap_deadline(&ike->timers) <= now && ike_acts_room(&t) && (due = heap_due(&ike->timers, now)))
        fire(&t, CONTAINER_OF(due, struct ike_timer, t));
}

uint64_t ike_deadline(const struct ike *ike)
{
    return heap_deadline(&ike->timers);
}

bool ike_idle(const struct ike *ike)
{
    return ike->n_alive == 0;
}

/* ---- hashes of what peers choose */

uint64_t ike_hash(const struct ike *ike, struct span s)
{
    return crypto_siphash(ike->hash_key, s);
}

uint64_t ike_hash_addr(const struct ike *ike, const struct addr *a)
{
    return ike_hash(ike, span_of(a->b, addr_size(a)));
}

/* ---- counters */

const char *ike_count_name(enum ike_count c)
{
    static const char *const NAMES[] = {
#define X(id, text) text,
        IKE_COUNTS(X)
#undef X
    };
    return c < IKE_COUNT_END ? NAMES[c] : "?";
}

uint64_t ike_count(const struct ike *ike, enum ike_count c)
{
    return c < IKE_COUNT_END ? ike->counts[c] : 0;
}
