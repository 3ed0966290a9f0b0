/* ike/event: what the operator is told. The initiator's SPI is the trace id: both peers' logs and every capture show it.
 */
#include "event.h"

#include <stdio.h>

#include "create.h"

#define FIELDS_MAX 28

struct fields {
    struct log_field v[FIELDS_MAX];
    size_t n;
    uint8_t spi_i[8], spi_r[8];
};

static void add(struct fields *f, struct log_field field)
{
    if (f->n < FIELDS_MAX)
        f->v[f->n++] = field;
}
#define ADD(f, ...) add((f), (struct log_field)__VA_ARGS__)

static struct span spi_octets(uint8_t octets[8], uint64_t spi)
{
    struct wr w = wr_of(octets, 8);
    wr_u64(&w, spi);
    return wr_span(&w);
}

static const char *id_type_name(uint8_t type)
{
    switch (type) {
    case ID_IPV4_ADDR: return "IPV4_ADDR";
    case ID_FQDN: return "FQDN";
    case ID_RFC822_ADDR: return "RFC822_ADDR";
    case ID_IPV6_ADDR: return "IPV6_ADDR";
    case ID_KEY_ID: return "KEY_ID";
    default: return "other";
    }
}

static void add_identity(struct fields *f, uint8_t type, struct span data)
{
    ADD(f, LOG_STR("id_type", id_type_name(type)));
    if (type == ID_IPV4_ADDR && data.n == 4)
        ADD(f, LOG_ADDR("id", addr_of(4, data.p)));
    else if (type == ID_IPV6_ADDR && data.n == 16)
        ADD(f, LOG_ADDR("id", addr_of(6, data.p)));
    else
        ADD(f, LOG_BYTES("id", data));
}

/* Before authentication the tunnel can only be guessed: by the address the peer comes from. */
static struct ike_tunnel *guess_tunnel(const struct ike *ike, const struct path *path)
{
    const struct addr *a = &path->remote.addr;
    return ike_tunnel_by_identity(ike, &path->local.addr, a->family == 6 ? ID_IPV6_ADDR : ID_IPV4_ADDR,
                                  span_of(a->b, addr_size(a)));
}

/* Which SA, whose, with whom. */
static void add_sa(struct fields *f, const struct ike_sa *sa)
{
    ADD(f, LOG_HEX("trace", spi_octets(f->spi_i, sa->spi_i)));
    ADD(f, LOG_HEX("spi_r", spi_octets(f->spi_r, sa->spi_r)));
    ADD(f, LOG_STR("tunnel", sa->tunnel ? sa->tunnel->name : "?"));
    ADD(f, LOG_ENDPOINT("peer", sa->path.remote));
}

/* What was wanted, and what of it could not be had. */
static void add_choice(struct fields *f, const char *offered, const char *nearest, const char *differs)
{
    if (offered)
        ADD(f, LOG_STR("offered", offered));
    if (nearest)
        ADD(f, LOG_STR("nearest", nearest));
    if (differs)
        ADD(f, LOG_STR("differs", differs));
}

/* How far it came, and how long each part took. */
static void add_progress(struct fields *f, uint64_t now, const struct ike_sa *sa)
{
    ADD(f, LOG_STR("state", ike_state_name(sa->state)));
    if (sa->suite.addke[0])
        ADD(f, LOG_U64("additional_exchanges", sa->addke_done));
    if (sa->keyed)
        ADD(f, LOG_U64("keys_ms", (sa->keyed - sa->created) / NS_PER_MS));
    if (sa->fragments_total) {
        ADD(f, LOG_U64("fragments_received", sa->fragments_have));
        ADD(f, LOG_U64("fragments_total", sa->fragments_total));
    }
    ADD(f, LOG_BOOL("nat_peer", sa->nat_peer));
    ADD(f, LOG_BOOL("nat_local", sa->nat_local));
    ADD(f, LOG_BOOL("fragmentation", sa->fragmentation));
    ADD(f, LOG_U64("after_ms", (now - sa->created) / NS_PER_MS));
}

static void add_candidate(struct fields *f, const struct ike_candidate *c)
{
    ADD(f, LOG_STR("candidate_type", id_type_name(c->identity->type)));
    ADD(f, LOG_BYTES("candidate", span_of(c->identity->data, c->identity->n)));
    ADD(f, LOG_STR("candidate_tunnel", c->tunnel->name));
    ADD(f, LOG_STR("hint", c->hint));
}

/* For people, in the tunnel's status. */
static void remember(struct ike_turn *t, struct ike_tunnel *tunnel, const struct ike_report *r)
{
    const struct {
        const char *before, *text;
    } PARTS[] = {
        {"", r->reason}, {"; offered ", r->offered}, {"; nearest ", r->nearest}, {"; differs in ", r->differs}};
    char *text = tunnel->failure.text;
    size_t at = 0, n = sizeof tunnel->failure.text;
    for (size_t i = 0; i < ARRAY_LEN(PARTS) && at < n; i++)
        if (PARTS[i].text)
            at += (size_t)snprintf(text + at, n - at, "%s%s", PARTS[i].before, PARTS[i].text);
    tunnel->failure.at = t->now;
}

void ike_event_failed(struct ike_turn *t, const struct ike_report *r)
{
    struct fields f = {.n = 0};
    struct ike_tunnel *tunnel = r->tunnel ? r->tunnel : guess_tunnel(t->ike, r->path);

    ike_count_add(t->ike, r->count);
    ADD(&f, LOG_HEX("trace", spi_octets(f.spi_i, r->sa ? r->sa->spi_i : r->spi_i)));
    if (r->sa)
        ADD(&f, LOG_HEX("spi_r", spi_octets(f.spi_r, r->sa->spi_r)));
    ADD(&f, LOG_ENDPOINT("peer", r->path->remote));
    ADD(&f, LOG_ENDPOINT("local", r->path->local));
    if (tunnel) {
        ADD(&f, LOG_STR("tunnel", tunnel->name));
        ADD(&f, LOG_BOOL("tunnel_by_address", !r->tunnel));
    }
    ADD(&f, LOG_STR("reason", r->reason));
    ADD(&f, LOG_STR("class", ike_count_name(r->count)));
    if (r->identity)
        add_identity(&f, r->identity->type, r->identity->data);
    if (r->candidate)
        add_candidate(&f, r->candidate);
    add_choice(&f, r->offered, r->nearest, r->differs);
    if (r->sa)
        add_progress(&f, t->now, r->sa);
    log_event(t->ike->log, t->now, LOG_LEVEL_WARN, "ike.handshake_failed", f.v, f.n);
    if (tunnel)
        remember(t, tunnel, r);
}

void ike_event_established(struct ike_turn *t, const struct ike_sa *sa, const struct ike_child *child)
{
    struct fields f = {.n = 0};
    char ike_suite[IKE_SUITE_TEXT], esp_suite[IKE_SUITE_TEXT];
    add_sa(&f, sa);
    ADD(&f, LOG_ENDPOINT("local", sa->path.local));
    add_identity(&f, sa->peer.type, span_of(sa->peer.data, sa->peer.n));
    ADD(&f, LOG_STR("suite", ike_suite_text(&sa->suite, ike_suite)));
    ADD(&f, LOG_BOOL("pq", ike_sa_is_pq(sa)));
    if (child) {
        ADD(&f, LOG_STR("esp_suite", ike_suite_text(&child->suite, esp_suite)));
        ADD(&f, LOG_U64("spi_in", child->spi_in));
        ADD(&f, LOG_U64("spi_out", child->spi_out));
    }
    ADD(&f, LOG_BOOL("child", child != NULL));
    add_progress(&f, t->now, sa);
    log_event(t->ike->log, t->now, LOG_LEVEL_INFO, "ike.established", f.v, f.n);
}

static void add_exchange(struct fields *f, const struct ike_sa *sa, enum ike_create_kind kind, bool ours)
{
    add_sa(f, sa);
    ADD(f, LOG_STR("what", kind == CREATE_REKEY_IKE ? "IKE SA" : "Child SA"));
    ADD(f, LOG_STR("by", ours ? "us" : "peer"));
}

void ike_event_create_failed(struct ike_turn *t, const struct ike_create_report *r)
{
    struct fields f = {.n = 0};
    bool rekey = r->kind != CREATE_CHILD;
    ike_count_add(t->ike, r->count);
    add_exchange(&f, r->sa, r->kind, r->ours);
    ADD(&f, LOG_STR("reason", r->reason));
    ADD(&f, LOG_STR("class", ike_count_name(r->count)));
    if (r->old)
        ADD(&f, LOG_U64("spi_in", r->old));
    add_choice(&f, r->offered, r->nearest, r->differs);
    log_event(t->ike->log, t->now, LOG_LEVEL_WARN, rekey ? "ike.rekey_failed" : "ike.child_failed", f.v, f.n);
}

/* Before what it made is installed, and what that replaces is gone. */
void ike_event_created(struct ike_turn *t, const struct ike_create *c)
{
    struct fields f = {.n = 0};
    char suite[IKE_SUITE_TEXT];
    uint8_t new_i[8], new_r[8];
    add_exchange(&f, c->sa, c->kind, c->ours);
    ADD(&f, LOG_STR("suite", ike_suite_text(&c->suite, suite)));
    if (c->fresh) {
        ADD(&f, LOG_HEX("new_trace", spi_octets(new_i, c->fresh->spi_i)));
        ADD(&f, LOG_HEX("new_spi_r", spi_octets(new_r, c->fresh->spi_r)));
        ADD(&f, LOG_BOOL("pq", ike_sa_is_pq(c->fresh)));
    } else {
        ADD(&f, LOG_U64("spi_in", c->child->spi_in));
        ADD(&f, LOG_U64("spi_out", c->child->spi_out));
    }
    if (c->old)
        ADD(&f, LOG_U64("replaces", c->old));
    log_event(t->ike->log, t->now, LOG_LEVEL_INFO, c->kind == CREATE_CHILD ? "ike.child_up" : "ike.rekeyed", f.v, f.n);
}

void ike_event_moved(struct ike_turn *t, const struct ike_sa *sa, const struct path *from)
{
    struct fields f = {.n = 0};
    ike_count_add(t->ike, IKE_COUNT_MOVED);
    ADD(&f, LOG_HEX("trace", spi_octets(f.spi_i, sa->spi_i)));
    ADD(&f, LOG_STR("tunnel", sa->tunnel->name));
    ADD(&f, LOG_ENDPOINT("from", from->remote));
    ADD(&f, LOG_ENDPOINT("peer", sa->path.remote));
    ADD(&f, LOG_ENDPOINT("local", sa->path.local));
    log_event(t->ike->log, t->now, LOG_LEVEL_INFO, "ike.moved", f.v, f.n);
}

void ike_event_ended(struct ike_turn *t, const struct ike_sa *sa, enum child_down why)
{
    static const char *const WHY[] = {
        [CHILD_DOWN_PEER] = "deleted by the peer",    [CHILD_DOWN_REKEYED] = "rekeyed",
        [CHILD_DOWN_EXPIRED] = "lifetime over",       [CHILD_DOWN_IKE_GONE] = "replaced or lost",
        [CHILD_DOWN_ADMIN] = "taken down by command",
    };
    struct fields f = {.n = 0};
    ADD(&f, LOG_HEX("trace", spi_octets(f.spi_i, sa->spi_i)));
    ADD(&f, LOG_STR("tunnel", sa->tunnel ? sa->tunnel->name : "?"));
    ADD(&f, LOG_ENDPOINT("peer", sa->path.remote));
    ADD(&f, LOG_STR("reason", WHY[why]));
    ADD(&f, LOG_U64("lived_s", (t->now - sa->established) / NS_PER_S));
    log_event(t->ike->log, t->now, LOG_LEVEL_INFO, "ike.down", f.v, f.n);
}

void ike_event_drop(struct ike_turn *t, const struct path *path, enum ike_count count, uint64_t spi_i, const char *why)
{
    struct fields f = {.n = 0};
    ike_count_add(t->ike, count);
    ADD(&f, LOG_STR("class", ike_count_name(count)));
    ADD(&f, LOG_STR("reason", why));
    ADD(&f, LOG_ENDPOINT("peer", path->remote));
    ADD(&f, LOG_ENDPOINT("local", path->local));
    if (spi_i)
        ADD(&f, LOG_HEX("trace", spi_octets(f.spi_i, spi_i)));
    log_event(t->ike->log, t->now, LOG_LEVEL_INFO, "ike.drop", f.v, f.n);
}
