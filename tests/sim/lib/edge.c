/* The engine with a small world around it; see edge.h. */
#include "edge.h"

#include <stdio.h>

static void note(void *ctx, const struct log_event *event)
{
    struct edge *e = ctx;
    e->lines++;
    snprintf(e->event, sizeof e->event, "%s", event->name);
    for (size_t i = 0; i < event->n_fields; i++)
        if (!strcmp(event->fields[i].key, "reason"))
            snprintf(e->reason, sizeof e->reason, "%s", event->fields[i].str);
    if (getenv("SIM_TRACE"))
        fprintf(stderr, "# %9.3f edge: %s %s\n", (double)event->now / 1e9, e->event, e->reason);
}

struct tunnel_policy edge_tunnel(void)
{
    static const char PSK[] = "a pre-shared key of sufficient length", PEER[] = "office.example.net",
                      US[] = "edge.example.net";
    struct tunnel_policy t = {
        .tunnel = EDGE_TUNNEL,
        .type = TUNNEL_IPSEC,
        .account_name = "acme",
        .name = "office",
        .n_identities = 1,
        .identities = {{.type = ID_FQDN, .n = sizeof PEER - 1}},
        .local_identity = {.type = ID_FQDN, .n = sizeof US - 1},
        .psks = {{.value = span_of(PSK, sizeof PSK - 1)}},
        .n_psks = 1,
        .pq = PQ_PREFER,
        .n_ts_local = 1,
        .n_ts_remote = 1,
    };
    memcpy(t.identities[0].data, PEER, sizeof PEER - 1);
    memcpy(t.local_identity.data, US, sizeof US - 1);
    OK(addr_parse(EDGE_ADDRESS, &t.endpoint));
    t.ts_local[0].port_last = UINT16_MAX;
    OK(addr_parse("0.0.0.0", &t.ts_local[0].first));
    OK(addr_parse("255.255.255.255", &t.ts_local[0].last));
    t.ts_remote[0] = t.ts_local[0];
    return t;
}

struct edge *edge_new(const struct ike_policy *policy, uint64_t seed)
{
    return edge_new_on(NULL, policy, seed);
}

/* Like the daemon's with several workers: every SPI tells whose tunnel it is. */
#define OWNERS 5
static uint32_t spi_of_owner(void *ctx, uint32_t tunnel, const struct rng *rng)
{
    uint32_t spi = rng_u32(rng);
    (void)ctx;
    return spi - spi % OWNERS + tunnel % OWNERS;
}

struct edge *edge_new_on(struct crypto *crypto, const struct ike_policy *policy, uint64_t seed)
{
    struct edge *e = calloc(1, sizeof *e);
    assert_non_null(e);
    e->tape.seed = seed;
    e->rng = (struct rng){tape_fill, &e->tape};
    e->log = (struct log){.emit = note, .ctx = e, .level = LOG_LEVEL_DEBUG};
    e->now = 1000 * NS_PER_S;
    e->crypto = crypto;
    e->borrowed = crypto;
    if (!crypto)
        OK(crypto_new(&e->rng, &e->crypto));
    struct ike_config config = {.crypto = e->crypto,
                                .rng = &e->rng,
                                .log = &e->log,
                                .spi_source = spi_of_owner,
                                .unix_time_at_zero = EDGE_UNIX_TIME};
    ike_policy_default(&config.policy);
    if (policy)
        config.policy = *policy;
    memcpy(config.policy.cookie_secret, "the same for all edges of a set", 32);
    OK(ike_new(&config, &e->ike));
    struct tunnel_policy t = edge_tunnel();
    edge_set(e, &t);
    return e;
}

void edge_free(struct edge *e)
{
    if (!e)
        return;
    acts_clear(e->ike, &e->acts);
    ike_free(e->ike); /* its arenas complain of secrets not given back */
    if (!e->borrowed)
        crypto_free(e->crypto);
    if (e->child)
        wipe(e->child, e->max_children * sizeof *e->child);
    free(e->child);
    free(e);
}

/* ---- actions */

static struct child_sa *find(const struct edge *e, uint32_t spi_in)
{
    for (size_t i = 0; i < e->n_children; i++)
        if (e->child[i].spi_in == spi_in)
            return &e->child[i];
    return NULL;
}

const struct child_sa *edge_child(const struct edge *e, uint32_t spi_in)
{
    return find(e, spi_in);
}

static void install(struct edge *e, const struct child_sa *child)
{
    assert_null(find(e, child->spi_in));
    assert_true(child->spi_in > 255 && child->spi_out > 255); /* RFC 4303 2.1 */
    assert_int_equal(child->spi_in % OWNERS, child->tunnel % OWNERS);
    assert_true(child->hard_expiry > e->now);
    if (e->n_children == e->max_children) {
        e->max_children = e->max_children ? 2 * e->max_children : 16;
        e->child = realloc(e->child, e->max_children * sizeof *e->child);
        assert_non_null(e->child);
    }
    e->child[e->n_children++] = *child;
    e->child_ups++;
}

static void execute(struct edge *e, const struct act *act)
{
    struct child_sa *child = find(e, act->spi_in);
    switch (act->type) {
    case ACT_SEND:
        if (act->datagram.n == 1) { /* RFC 3948 2.3: a keepalive */
            assert_true(act->datagram.p[0] == 0xff && !act->marker && act->path.local.port == 4500);
            break;
        }
        assert_true(act->datagram.n >= 28);
        assert_int_equal(act->marker, act->path.local.port == 4500);
        break;
    case ACT_CHILD_UP: install(e, act->child); break;
    case ACT_CHILD_DOWN:
        assert_non_null(child);
        *child = e->child[--e->n_children];
        e->child_downs++;
        break;
    case ACT_CHILD_MOVED:
        assert_non_null(child);
        child->path = act->path;
        child->udp = act->udp;
        break;
    case ACT_UP: e->ups++; break;
    case ACT_DOWN:
        e->downs++;
        assert_true(e->downs <= e->ups);
        break;
    }
}

/* The list for aditctl and the actions tell the same story. */
static void compare_lists(const struct edge *e)
{
    struct ike_child_info info;
    size_t n = 0;
    for (size_t c = ike_child_next(e->ike, 0, &info); c; c = ike_child_next(e->ike, c, &info)) {
        const struct child_sa *child = find(e, info.spi_in);
        assert_non_null(child);
        assert_int_equal(child->spi_out, info.spi_out);
        n++;
    }
    assert_int_equal(n, e->n_children);
}

static void settle(struct edge *e)
{
    while (e->seen < e->acts.n)
        execute(e, &e->acts.v[e->seen++]);
    compare_lists(e);
}

void edge_clear(struct edge *e)
{
    acts_clear(e->ike, &e->acts);
    e->seen = 0;
}

void edge_input(struct edge *e, const struct path *path, struct span datagram)
{
    struct span copy = exact_copy(datagram);
    ike_input(e->ike, e->now, path, copy, &e->acts);
    exact_free(copy);
    settle(e);
}

void edge_tick(struct edge *e)
{
    ike_tick(e->ike, e->now, &e->acts);
    settle(e);
    assert_true(e->acts.full || ike_deadline(e->ike) > e->now);
}

enum rc edge_command(struct edge *e, struct ike_cmd cmd)
{
    enum rc rc = ike_command(e->ike, e->now, &cmd, &e->acts);
    settle(e);
    return rc;
}

void edge_set(struct edge *e, const struct tunnel_policy *t)
{
    OK(edge_command(e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_SET, .tunnel = t}));
}

/* ---- to look at */

size_t edge_sent(const struct edge *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->acts.n; i++)
        n += e->acts.v[i].type == ACT_SEND;
    return n;
}

const struct act *edge_act(const struct edge *e, enum act_type type)
{
    for (size_t i = 0; i < e->acts.n; i++)
        if (e->acts.v[i].type == type)
            return &e->acts.v[i];
    return NULL;
}

uint64_t edge_count(const struct edge *e, enum ike_count c)
{
    return ike_count(e->ike, c);
}

size_t edge_sas(const struct edge *e, struct ike_sa_info *ret_last)
{
    struct ike_sa_info info;
    size_t n = 0;
    for (size_t c = ike_sa_next(e->ike, 0, &info); c; c = ike_sa_next(e->ike, c, &info)) {
        *ret_last = info;
        n++;
    }
    return n;
}

void edge_assert_empty(struct edge *e)
{
    struct ike_sa_info info;
    assert_int_equal(edge_sas(e, &info), 0);
    assert_int_equal(e->n_children, 0);
    assert_true(ike_idle(e->ike));
    assert_true(ike_deadline(e->ike) == NEVER);
    assert_int_equal(e->ups, e->downs);
}
