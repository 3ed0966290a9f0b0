/* ike/guard: which IKE_SA_INIT is worth a key exchange (RFC 7296 2.6, RFC 8019). Who has proved its address by a cookie is held to
 * its own rate; who has not is asked for one as soon as there is much to do, and can take nothing away from those who have.
 */
#include "event.h"
#include "guard.h"

#include <stdlib.h>

/* A host has its IPv4 address or an IPv6 /64; a prefix is what one customer of a provider may be given. */
static const uint8_t BITS[IKE_SCOPES][2] = {[SCOPE_HOST] = {32, 64}, [SCOPE_PREFIX] = {24, 48}};

static struct prefix scope_of(const struct addr *a, enum ike_scope scope)
{
    return prefix_network((struct prefix){.addr = *a, .len = BITS[scope][a->family == 6]});
}

static uint64_t hash_of(const struct ike *ike, const struct prefix *p, uint8_t salt)
{
    uint8_t key[16 + 3];
    struct wr w = wr_of(key, sizeof key);
    wr_u8(&w, salt);
    wr_u8(&w, p->addr.family);
    wr_u8(&w, p->len);
    wr_bytes(&w, span_of(p->addr.b, addr_size(&p->addr)));
    return ike_hash(ike, wr_span(&w));
}

/* ---- half-open SAs by host and prefix */

static struct ike_source *find(const struct ike *ike, const struct prefix *p, uint64_t hash)
{
    for (struct map_node *n = map_first(&ike->sources, hash); n; n = map_next(n)) {
        struct ike_source *s = CONTAINER_OF(n, struct ike_source, node);
        if (prefix_equal(&s->prefix, p))
            return s;
    }
    return NULL;
}

static uint32_t half_open(const struct ike *ike, const struct addr *a, enum ike_scope scope)
{
    struct prefix p = scope_of(a, scope);
    const struct ike_source *s = find(ike, &p, hash_of(ike, &p, 0));
    return s ? s->n : 0;
}

static struct ike_source *take(struct ike *ike, const struct addr *a, enum ike_scope scope)
{
    struct prefix p = scope_of(a, scope);
    uint64_t hash = hash_of(ike, &p, 0);
    struct ike_source *s = find(ike, &p, hash);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return NULL;
        s->prefix = p;
        if (map_insert(&ike->sources, &s->node, hash) != RC_OK) {
            free(s);
            return NULL;
        }
    }
    s->n++;
    return s;
}

static void give_back(struct ike *ike, struct ike_source **s)
{
    if (*s && --(*s)->n == 0) {
        map_remove(&ike->sources, &(*s)->node);
        free(*s);
    }
    *s = NULL;
}

bool ike_guard_enter(struct ike *ike, struct ike_sa *sa)
{
    for (size_t i = 0; i < IKE_SCOPES; i++) {
        sa->source[i] = take(ike, &sa->path.remote.addr, (enum ike_scope)i);
        if (!sa->source[i]) {
            ike_guard_leave(ike, sa);
            return false;
        }
    }
    return true;
}

void ike_guard_leave(struct ike *ike, struct ike_sa *sa)
{
    for (size_t i = 0; i < IKE_SCOPES; i++)
        give_back(ike, &sa->source[i]);
}

/* ---- rates: a table of fixed size. In a full row the source that was silent longest goes, and only its rate is forgotten. */

enum rc ike_guard_init(struct ike *ike)
{
    ike->rates = calloc(IKE_RATE_SOURCES_MAX, sizeof *ike->rates);
    return ike->rates ? RC_OK : RC_NOMEM;
}

static bool within_rate(struct ike_turn *t, const struct addr *a, bool proved)
{
    struct ike *ike = t->ike;
    uint32_t rate = ike->policy.init_rate_per_ip;
    if (!rate)
        return true;
    struct prefix p = scope_of(a, SCOPE_HOST);
    uint64_t hash =
        hash_of(ike, &p, proved ? 2 : 1); /* a flood in somebody's name does not use up what he may himself */
    struct ike_rate *row = &ike->rates[hash % (IKE_RATE_SOURCES_MAX / IKE_RATE_ROW) * IKE_RATE_ROW], *mine = row;
    for (struct ike_rate *r = row; r < row + IKE_RATE_ROW; r++) {
        if (r->hash == hash && r->bucket.rate == rate)
            return bucket_take(&r->bucket, t->now);
        if (r->bucket.at < mine->bucket.at)
            mine = r;
    }
    mine->hash = hash;
    bucket_init(&mine->bucket, rate, rate, t->now);
    return bucket_take(&mine->bucket, t->now);
}

/* ---- the budget */

static bool within_budget(struct ike_turn *t, bool proved)
{
    struct ike *ike = t->ike;
    uint32_t rate = ike->policy.handshakes_per_second;
    if (!rate)
        return true;
    if (ike->handshakes.rate != rate) {
        bucket_init(&ike->handshakes, rate, rate, t->now);
        bucket_init(&ike->strangers, rate / 2, rate / 2, t->now);
    }
    /* Half of it is for those who have proved their address. */
    return (proved || bucket_take(&ike->strangers, t->now)) && bucket_take(&ike->handshakes, t->now);
}

/* ---- the verdict */

static bool crowded(struct ike_turn *t, const struct addr *a)
{
    const struct ike *ike = t->ike;
    const struct ike_policy *p = &ike->policy;
    return ike->n_half_open >= p->cookie_threshold || half_open(ike, a, SCOPE_HOST) >= p->cookie_threshold_per_ip ||
           half_open(ike, a, SCOPE_PREFIX) >= p->cookie_threshold_per_prefix || !within_rate(t, a, false);
}

static void ask_for_cookie(struct ike_inbound *x, const struct ike_cookie_claim *claim)
{
    struct ike *ike = x->turn->ike;
    uint8_t fresh[COOKIE_SIZE];
    ike_cookie_make(&ike->cookies, ike_unix_time(ike, x->turn->now), claim, fresh);
    ike_stateless_notify(x->turn, &x->path, &x->header, N_COOKIE, span_of(fresh, sizeof fresh));
    ike_count_add(ike, IKE_COUNT_COOKIE_SENT);
}

static bool has_proved(const struct ike_inbound *x, const struct ike_cookie_claim *claim)
{
    const struct ike *ike = x->turn->ike;
    struct ike_notify cookie; /* a wrong one counts as none */
    return ike_notify_find(&x->chain, N_COOKIE, &cookie) &&
           ike_cookie_good(&ike->cookies, ike_unix_time(ike, x->turn->now), claim, cookie.data);
}

bool ike_guard_admit(struct ike_inbound *x, struct span nonce)
{
    const struct addr *a = &x->path.remote.addr;
    const struct ike_cookie_claim claim = {nonce, *a, x->header.spi_i};
    if (!has_proved(x, &claim)) {
        if (!crowded(x->turn, a))
            return true;
        ask_for_cookie(x, &claim);
        return false;
    }
    if (within_rate(x->turn, a, true))
        return true;
    ike_event_drop(x->turn, &x->path, IKE_COUNT_DROP_RATE, x->header.spi_i, "too many IKE_SA_INIT of one address");
    return false;
}

bool ike_guard_spend(struct ike_inbound *x, struct span nonce)
{
    const struct ike_cookie_claim claim = {nonce, x->path.remote.addr, x->header.spi_i};
    bool proved = has_proved(x, &claim);
    if (within_budget(x->turn, proved))
        return true;
    ike_event_drop(x->turn, &x->path, IKE_COUNT_DROP_BUDGET, x->header.spi_i,
                   "more handshakes than handshakes_per_second");
    if (!proved)
        ask_for_cookie(x, &claim);
    return false;
}
