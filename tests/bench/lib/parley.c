/* Handshakes in one process; see parley.h. */
#include "parley.h"

#include <stdio.h>
#include <string.h>

#include "adit/io.h"
#include "fatal.h"
#include "measure.h"

#define ENDPOINT "198.51.100.2"
#define STEP (NS_PER_S / 20) /* between two handshakes */

static const char PSK[] = "a pre-shared key of sufficient length";

struct suite parley_ike(uint16_t ke, uint16_t addke)
{
    return (struct suite){
        .encr = ENCR_AES_GCM_16, .encr_bits = 256, .prf = PRF_HMAC_SHA2_384, .ke = ke, .addke = {addke}};
}

struct suite parley_esp(void)
{
    return (struct suite){.encr = ENCR_AES_GCM_16, .encr_bits = 256};
}

/* Events are built as for a log; where they would be written is not the engine's cost. */
static void count_event(void *ctx, const struct log_event *event)
{
    struct parley *p = ctx;
    (void)event;
    p->events++;
}

static struct identity customer(uint32_t i)
{
    struct identity id = {.type = ID_FQDN};
    id.n = (uint16_t)snprintf((char *)id.data, sizeof id.data, "c%06u.customers.example.net", i);
    return id;
}

static void add_tunnel(struct parley *p, uint32_t i)
{
    char name[32];
    snprintf(name, sizeof name, "t%u", i);
    static const struct ts all = {
        .port_last = UINT16_MAX, .first = {.family = 4}, .last = {.family = 4, .b = {255, 255, 255, 255}}};
    struct tunnel_policy t = {
        .tunnel = i,
        .account = 1,
        .account_name = "bench",
        .name = name,
        .type = TUNNEL_IPSEC,
        .dscp = DSCP_COPY,
        .ttl = 64,
        .path_mtu = 1500,
        .protect = TUNNEL_NONE,
        .replay_protection = true,
        .replay_window = 1024,
        .n_identities = 1,
        .identities = {customer(i)},
        .local_identity = {.type = ID_FQDN, .n = 16, .data = "edge.example.net"},
        .psks = {{.value = span_of(PSK, sizeof PSK - 1)}},
        .n_psks = 1,
        .pq = PQ_PREFER,
        .ts_local = {all},
        .ts_remote = {all},
        .n_ts_local = 1,
        .n_ts_remote = 1,
    };
    MUST(addr_parse(ENDPOINT, &t.endpoint) == RC_OK);
    const struct ike_cmd set = {.type = IKE_CMD_TUNNEL_SET, .tunnel = &t};
    MUST(dp_tunnel_set(p->dp, &t) == RC_OK);
    MUST(ike_command(p->ike, p->now, &set, &p->acts) == RC_OK && p->acts.n == 0);
}

static void make_engine(struct parley *p)
{
    struct ike_config c = {.crypto = p->crypto, .rng = &p->rng, .log = &p->log};
    ike_policy_default(&c.policy);
    c.policy.init_rate_per_ip = c.policy.handshakes_per_second = 0; /* what is measured here */
    const struct suite *s = &p->config.ike;
    c.policy.ike = (struct proposal_policy){
        .encr = {{s->encr, s->encr_bits}}, .prf = {s->prf}, .ke = {s->ke}, .n_encr = 1, .n_prf = 1, .n_ke = 1};
    if (s->addke[0]) {
        c.policy.ike.addke[0] = s->addke[0];
        c.policy.ike.n_addke = 1;
    }
    MUST(ike_new(&c, &p->ike) == RC_OK);
    const struct dp_config d = {.crypto = p->crypto,
                                .rng = &p->rng,
                                .sender_id = 0xabc123,
                                .max_tunnels = p->config.tunnels,
                                .max_sas = c.policy.max_sas,
                                .max_routes = 1};
    MUST(dp_new(&d, &p->dp) == RC_OK);
}

struct parley *parley_new(const struct parley_config *config)
{
    struct parley *p = calloc(1, sizeof *p);
    struct io_error error;
    MUST(p != NULL);
    p->config = *config;
    p->now = 1000 * NS_PER_S;
    p->log = (struct log){.emit = count_event, .ctx = p, .level = LOG_LEVEL_INFO};
    MUST(io_entropy_new(&p->entropy, &error) == RC_OK);
    p->rng = io_entropy_rng(p->entropy);
    MUST(crypto_new(&p->rng, &p->crypto) == RC_OK && crypto_new(&p->rng, &p->their_crypto) == RC_OK);
    make_engine(p);
    for (uint32_t i = 0; i < config->tunnels; i++)
        add_tunnel(p, i);
    MUST(dp_publish(p->dp) == RC_OK);
    MUST((p->peer = initiator_new_on(p->their_crypto, &p->rng, "192.0.2.2", ENDPOINT)) != NULL);
    p->peer->wish.psk = PSK;
    p->peer->wish.ike = config->ike;
    p->peer->wish.esp = config->esp;
    p->peer->wish.initial_contact = true;
    return p;
}

void parley_free(struct parley *p)
{
    initiator_free(p->peer);
    acts_clear(p->ike, &p->acts);
    ike_free(p->ike);
    dp_free(p->dp);
    crypto_free(p->their_crypto);
    crypto_free(p->crypto);
    io_entropy_free(p->entropy);
    free(p);
}

/* ---- the engine's side: this is timed */

static void execute(struct parley *p)
{
    bool changed = false;
    for (size_t i = 0; i < p->acts.n; i++) {
        const struct act *act = &p->acts.v[i];
        if (act->type == ACT_CHILD_UP)
            MUST(dp_child_up(p->dp, p->now, act->child) == RC_OK);
        else if (act->type == ACT_CHILD_DOWN)
            dp_child_down(p->dp, act->spi_in);
        changed |= act->type == ACT_CHILD_UP || act->type == ACT_CHILD_DOWN;
    }
    if (changed)
        MUST(dp_publish(p->dp) == RC_OK);
}

static void engine_input(struct parley *p, const struct path *path, struct span datagram)
{
    uint64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    ike_input(p->ike, p->now, path, datagram, &p->acts);
    execute(p);
    uint64_t ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
    p->ns += ns;
    p->longest = ns > p->longest ? ns : p->longest;
}

static void engine_tick(struct parley *p)
{
    uint64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    do {
        acts_clear(p->ike, &p->acts);
        ike_tick(p->ike, p->now, &p->acts);
        execute(p);
    } while (p->acts.full);
    acts_clear(p->ike, &p->acts);
    p->ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
}

/* ---- the wire between them */

static void note(struct parley *p, struct span datagram, bool from_us)
{
    struct ike_header h;
    MUST(p->n_messages < PARLEY_MESSAGES && ike_header_read(datagram, &h) == RC_OK);
    p->message[p->n_messages++] = (struct parley_message){datagram.n, from_us, h.exchange != IKE_SA_INIT};
}

static void carry(struct parley *p)
{
    struct initiator_out out[PARLEY_MESSAGES];
    size_t n = p->peer->n_out;
    MUST(n <= PARLEY_MESSAGES);
    memcpy(out, p->peer->out, n * sizeof *out);
    p->peer->n_out = 0;
    for (size_t i = 0; i < n; i++) {
        const struct path path = {.local = out[i].to, .remote = out[i].from};
        note(p, buf_span(&out[i].bytes), false);
        engine_input(p, &path, buf_span(&out[i].bytes));
        buf_free(&out[i].bytes);
        for (size_t k = 0; k < p->acts.n; k++) {
            const struct act *act = &p->acts.v[k];
            if (act->type != ACT_SEND)
                continue;
            note(p, buf_span(&act->datagram), true);
            initiator_input(p->peer, p->now, &act->path.local, &act->path.remote, buf_span(&act->datagram));
        }
        acts_clear(p->ike, &p->acts);
    }
}

void parley_handshake(struct parley *p, uint32_t tunnel)
{
    uint64_t before = ike_count(p->ike, IKE_COUNT_ESTABLISHED);
    uint8_t b[4];
    struct wr w = wr_of(b, sizeof b);
    wr_u32(&w, 0x0a000001 + tunnel); /* 10.0.0.1 and on */
    initiator_gone(p->peer);
    initiator_forget_out(p->peer);
    p->peer->local.addr = addr_of(4, b);
    p->peer->wish.id = customer(tunnel);
    p->now += STEP;
    p->n_messages = 0;
    initiator_connect(p->peer, p->now);
    while (p->peer->n_out)
        carry(p);
    engine_tick(p);
    MUST(ike_count(p->ike, IKE_COUNT_ESTABLISHED) == before + 1);
    MUST(initiator_current(p->peer) && p->peer->n_children == 1);
}
