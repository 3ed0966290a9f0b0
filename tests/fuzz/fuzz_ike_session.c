/* Behind the keys: a peer that holds the keys, and says and does anything, in every state of an IKE SA.
 *
 * Input: a profile (which handshake; its first requests pass unchanged), then steps. A message of the genuine peer may be bent on its way
 * into the Encrypted payload; what the script writes itself is sealed with the right keys. After the first such message the
 * genuine peer is out of the game, since its state is no longer that of the engine. In the end time runs out and nothing may be left.
 */
#include "lib/context.h"
#include "lib/fuzz.h"

#include "sim/lib/pair.h"

#define STEPS_MAX 32
#define PATCHES_MAX 4

struct patch {
    uint16_t at;
    uint8_t cut;
    struct span put;
};
struct run {
    struct pair *p;
    struct rd script;
    struct patch patch[PATCHES_MAX]; /* for the next message of the genuine peer */
    size_t n_patches;
    int first; /* its first payload's type; -1: as it is */
    bool bent; /* the message in the queue is */
    bool out;  /* the genuine peer is */
    uint32_t mid;
};

/* ---- bending */

static void splice(struct draft *d, const struct patch *patch)
{
    size_t at = patch->at % (d->n + 1), cut = patch->cut < d->n - at ? patch->cut : d->n - at;
    if (d->n - cut + patch->put.n > 8192) /* a sane size for a message */
        return;
    memmove(d->bytes + at + patch->put.n, d->bytes + at + cut, d->n - at - cut);
    if (patch->put.n)
        memcpy(d->bytes + at, patch->put.p, patch->put.n);
    d->n = d->n - cut + patch->put.n;
}

static void forget_patches(struct run *x)
{
    for (size_t i = 0; i < x->n_patches; i++)
        exact_free(x->patch[i].put);
    x->n_patches = 0;
    x->first = -1;
}

static void bend(void *ctx, struct draft *d)
{
    struct run *x = ctx;
    if (!x->n_patches && x->first < 0)
        return;
    for (size_t i = 0; i < x->n_patches; i++)
        splice(d, &x->patch[i]);
    if (x->first >= 0)
        d->first = (uint8_t)x->first;
    x->bent = true;
    forget_patches(x);
}

static void read_patches(struct run *x)
{
    uint8_t flags = rd_u8(&x->script);
    forget_patches(x);
    if (flags & 0x80)
        x->first = rd_u8(&x->script);
    while (x->n_patches < (flags & 3u) + 1) {
        struct patch patch = {.at = rd_u16(&x->script)};
        patch.cut = rd_u8(&x->script);
        patch.put = fuzz_part(&x->script, 2048);
        x->patch[x->n_patches++] = patch;
    }
}

/* ---- the genuine peer */

static void want(struct run *x)
{
    static const enum initiator_job_type types[] = {JOB_CHILD_NEW, JOB_CHILD_REKEY, JOB_CHILD_DELETE,
                                                    JOB_IKE_REKEY, JOB_ALIVE,       JOB_IKE_DELETE};
    struct initiator *i = x->p->i;
    struct initiator_job job = {.type = types[rd_u8(&x->script) % ARRAY_LEN(types)]};
    bool child = job.type == JOB_CHILD_REKEY || job.type == JOB_CHILD_DELETE;
    if (!initiator_current(i) || initiator_busy(i) || (child && !i->n_children))
        return;
    if (child)
        job.spi_in = i->child[0].spi_in;
    initiator_want(i, x->p->e->now, job);
}

/* One message of the peer to the engine, and what comes back, unless the message was bent. */
static void genuine(struct run *x)
{
    struct pair *p = x->p;
    if (!x->out && !p->i->n_out)
        want(x);
    if (x->out || !p->i->n_out)
        return;
    const struct initiator_sa *sa = p->i->n_sas ? p->i->sa[p->i->n_sas - 1] : NULL;
    x->mid = sa && sa->own.job.type != JOB_NONE ? sa->own.mid + 1 : 0;
    pair_give(p);
    x->out = x->bent;
    if (!x->out)
        pair_take(p);
}

/* ---- the script's own words */

static struct initiator_sa *keyed(const struct run *x)
{
    struct initiator_sa *sa = initiator_current(x->p->i);
    for (size_t k = 0; !sa && k < x->p->i->n_sas; k++)
        if (x->p->i->sa[k]->stage != STAGE_INIT)
            sa = x->p->i->sa[k];
    return sa;
}

static void say(struct run *x)
{
    static const uint8_t exchanges[] = {IKE_AUTH,         CREATE_CHILD_SA, INFORMATIONAL,
                                        IKE_INTERMEDIATE, IKE_FOLLOWUP_KE, IKE_SA_INIT};
    struct initiator_sa *sa = keyed(x);
    uint8_t what = rd_u8(&x->script), how = rd_u8(&x->script), first = rd_u8(&x->script);
    uint8_t exchange = what % 8 < ARRAY_LEN(exchanges) ? exchanges[what % 8] : rd_u8(&x->script);
    struct span inner = fuzz_part(&x->script, 4096);
    if (sa) {
        if (!x->out)
            x->mid = sa->own.job.type != JOB_NONE ? sa->own.mid : sa->mid_out;
        x->out = true;
        bool response = how & 1;
        uint32_t mid = response ? how >> 4 : x->mid + (how >> 2 & 3) - (how >> 2 & 3 ? 2 : 0);
        struct ike_header h = session_header(&sa->s, exchange, response, mid);
        struct buf one = {0};
        uint8_t total = how & 2 ? rd_u8(&x->script) : 0, number = how & 2 ? rd_u8(&x->script) : 0;
        session_seal_one(&sa->s, &h, first, inner, number, total, &one);
        pair_give_octets(x->p, buf_span(&one));
        for (size_t k = 0; k < x->p->e->acts.n; k++)
            if (!response && x->p->e->acts.v[k].type == ACT_SEND && mid == x->mid)
                x->mid = mid + 1;
        buf_free(&one);
    }
    exact_free(inner);
}

/* ---- time and the daemon */

static void pass(struct run *x)
{
    uint8_t seconds = rd_u8(&x->script);
    uint64_t at = ike_deadline(x->p->e->ike);
    x->p->e->now = seconds || at == NEVER ? x->p->e->now + seconds * NS_PER_S : at;
    edge_clear(x->p->e);
    edge_tick(x->p->e);
}

/* Where the edge sees the peer from now on: its own address, another port of it, another address. */
static struct endpoint place(uint8_t n)
{
    struct endpoint e = {.port = n % 3 == 1 ? 40123 : 4500};
    if (n % 3)
        OK(addr_parse(n % 3 == 1 ? "192.0.2.2" : "203.0.113.9", &e.addr));
    return n % 3 ? e : (struct endpoint){0};
}

static void command(struct run *x)
{
    static const enum ike_cmd_type types[] = {IKE_CMD_TUNNEL_RESET, IKE_CMD_ESP_SEEN, IKE_CMD_ESP_EXPIRE,
                                              IKE_CMD_TUNNEL_SET,   IKE_CMD_ESP_LOST, IKE_CMD_ESP_MOVED,
                                              IKE_CMD_POLICY,       IKE_CMD_SHUTDOWN};
    struct edge *e = x->p->e;
    uint8_t what = rd_u8(&x->script), detail = rd_u8(&x->script);
    struct path path = {.local = x->p->i->remote, .remote = place(detail)};
    struct tunnel_policy t = edge_tunnel();
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.child_lifetime = policy.ike_lifetime = 60 * NS_PER_S;
    t.pq = detail & 1 ? PQ_REQUIRE : PQ_PREFER;
    t.identities[0].data[0] ^= detail & 2;
    t.psks[0].not_after = detail & 4 ? EDGE_UNIX_TIME + 1 : 0;
    t.strict_peer = detail & 8;
    t.customer_endpoint = x->p->i->local.addr;
    struct ike_cmd cmd = {.type = types[what % ARRAY_LEN(types)],
                          .handle = EDGE_TUNNEL,
                          .spi_in =
                              e->n_children ? e->child[what / ARRAY_LEN(types) % e->n_children].spi_in : 0x12345678,
                          .tunnel = &t,
                          .policy = &policy,
                          .path = &path};
    edge_clear(e);
    (void)edge_command(e, cmd);
}

static void step(struct run *x)
{
    uint8_t op = rd_u8(&x->script) % 8;
    if (op == 0)
        genuine(x);
    else if (op == 1)
        read_patches(x);
    else if (op == 2)
        pass(x);
    else if (op == 3)
        command(x);
    else if (op == 4 && x->p->sent.n)
        pair_give_again(x->p);
    else if (op == 6)
        x->p->seen = place(rd_u8(&x->script));
    else
        say(x);
    if ((op == 2 || op == 3) && !x->out)
        pair_take(x->p);
}

/* Whatever happened, it ends: no SA, no child, no timer, and pair_free() finds every secret given back. */
static void drain(struct edge *e)
{
    edge_clear(e);
    (void)edge_command(e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_REMOVE, .handle = EDGE_TUNNEL});
    for (unsigned n = 0; ike_deadline(e->ike) != NEVER; n++) {
        assert_true(n < 1000);
        edge_clear(e);
        if (ike_deadline(e->ike) > e->now)
            e->now = ike_deadline(e->ike);
        edge_tick(e);
    }
    edge_assert_empty(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct run x = {.script = rd_of(span_of(data, n)), .first = -1};
    uint8_t profile = rd_u8(&x.script), passed = profile & 3;
    x.p = pair_new_on(fuzz_crypto(), NULL);
    x.p->i->bend = bend;
    x.p->i->ctx = &x;
    if (profile & 4)
        x.p->i->wish.ike.addke[0] = 0;
    if (profile & 8)
        x.p->i->wish.datagram = 600; /* in fragments */
    if (profile & 16)
        read_patches(&x); /* of IKE_SA_INIT */
    initiator_connect(x.p->i, x.p->e->now);
    for (uint8_t i = 0; i < passed && !x.out; i++)
        genuine(&x);
    for (unsigned k = 0; k < STEPS_MAX && rd_left(&x.script); k++)
        step(&x);
    forget_patches(&x);
    drain(x.p->e);
    pair_free(x.p);
    return 0;
}
