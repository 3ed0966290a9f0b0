/* For the adversarial list; see adv.h. */
#include "adv.h"

struct pair *adv;

/* ---- drafts */

static void put(struct wr *w, uint8_t next, bool critical, struct span body)
{
    adv_payload(w, next, critical ? 0x80 : 0, body);
}

void adv_payload(struct wr *w, uint8_t next, uint8_t flags, struct span body)
{
    wr_u8(w, next);
    wr_u8(w, flags);
    wr_u16(w, (uint16_t)(4 + body.n));
    wr_bytes(w, body);
}

struct part {
    uint8_t type;
    bool critical;
    struct span body;
};
#define PARTS 80

static size_t take_apart(const struct draft *d, struct part v[PARTS])
{
    struct ike_chain chain;
    struct ike_error error;
    OK(ike_chain_read(d->first, span_of(d->bytes, d->n), &chain, &error));
    for (size_t k = 0; k < chain.n; k++)
        v[k] = (struct part){chain.v[k].type, chain.v[k].critical, chain.v[k].body};
    return chain.n;
}

static void put_together(struct draft *d, const struct part *v, size_t n)
{
    static uint8_t bytes[PLAIN_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    for (size_t k = 0; k < n; k++)
        put(&w, k + 1 < n ? v[k + 1].type : PAYLOAD_NONE, v[k].critical, v[k].body);
    assert_false(w.failed);
    d->first = n ? v[0].type : PAYLOAD_NONE;
    d->n = wr_len(&w);
    memcpy(d->bytes, bytes, d->n);
}

void draft_replace(struct draft *d, uint8_t type, struct span body)
{
    struct part v[PARTS];
    size_t n = take_apart(d, v), k = 0;
    while (k < n && v[k].type != type)
        k++;
    assert_true(k < n);
    v[k].body = body;
    put_together(d, v, n);
}

static void remove_if(struct draft *d, uint8_t type, uint16_t notify)
{
    struct part v[PARTS];
    size_t n = take_apart(d, v), left = 0;
    for (size_t k = 0; k < n; k++) {
        struct ike_notify nt = {0};
        bool same = v[k].type == type;
        if (same && notify)
            same = ike_notify_read(v[k].body, &nt) == RC_OK && nt.type == notify;
        if (!same)
            v[left++] = v[k];
    }
    put_together(d, v, left);
}

void draft_remove(struct draft *d, uint8_t type)
{
    remove_if(d, type, 0);
}

void draft_remove_notify(struct draft *d, uint16_t notify)
{
    remove_if(d, PAYLOAD_NOTIFY, notify);
}

void draft_double(struct draft *d, uint8_t type)
{
    struct part v[PARTS];
    size_t n = take_apart(d, v), k = 0;
    while (k < n && v[k].type != type)
        k++;
    assert_true(k < n);
    v[n] = v[k];
    put_together(d, v, n + 1);
}

void draft_append(struct draft *d, uint8_t type, bool critical, struct span body)
{
    struct part v[PARTS];
    size_t n = take_apart(d, v);
    v[n] = (struct part){type, critical, body};
    put_together(d, v, n + 1);
}

void draft_append_notify(struct draft *d, uint16_t notify, struct span data)
{
    uint8_t body[512];
    struct wr w = wr_of(body, sizeof body);
    wr_u16(&w, 0);
    wr_u16(&w, notify);
    wr_bytes(&w, data);
    assert_false(w.failed);
    draft_append(d, PAYLOAD_NOTIFY, false, wr_span(&w));
}

static void hook(void *ctx, struct draft *d)
{
    const struct adv_bend *b = ctx;
    if (d->header.exchange == b->exchange)
        b->bend(d, b->arg);
}

void adv_bend(struct pair *p, struct adv_bend *b)
{
    p->i->bend = b ? hook : NULL;
    p->i->ctx = b;
}

/* ---- messages */

struct span adv_message(uint64_t spi_i, uint64_t spi_r, uint8_t next, uint8_t exchange, uint8_t flags, uint32_t mid,
                        struct span payloads)
{
    static uint8_t bytes[IKE_HEADER_SIZE + PLAIN_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    const struct ike_header h = {
        .spi_i = spi_i,
        .spi_r = spi_r,
        .next = next,
        .version = IKE_VERSION,
        .exchange = exchange,
        .flags = flags,
        .mid = mid,
        .length = (uint32_t)(IKE_HEADER_SIZE + payloads.n),
    };
    ike_header_write(&w, &h);
    wr_bytes(&w, payloads);
    assert_false(w.failed);
    return wr_span(&w);
}

/* ---- counting */

struct adv_counts adv_counts(const struct pair *p)
{
    struct adv_counts c;
    for (unsigned k = 0; k < IKE_COUNT_END; k++)
        c.v[k] = edge_count(p->e, (enum ike_count)k);
    return c;
}

void adv_assert_only(const struct pair *p, const struct adv_counts *before, enum ike_count c, uint64_t n)
{
    for (unsigned k = 0; k < IKE_COUNT_END; k++) {
        uint64_t moved = edge_count(p->e, (enum ike_count)k) - before->v[k];
        if (k == IKE_COUNT_RECEIVED || k == IKE_COUNT_SENT)
            continue;
        if (moved != (k == c ? n : 0))
            fail_msg("counter %s moved by %u; %s is what should move, by %u", ike_count_name((enum ike_count)k),
                     (unsigned)moved, ike_count_name(c), (unsigned)n);
    }
}

void adv_silent(struct pair *p, struct span datagram, enum ike_count c)
{
    struct adv_counts before = adv_counts(p);
    unsigned lines = p->e->lines;
    pair_give_octets(p, datagram);
    assert_int_equal(p->e->acts.n, 0);
    adv_assert_only(p, &before, c, 1);
    assert_in_range(p->e->lines - lines, 0, 1);
}

/* ---- groups */

struct ike_policy adv_policy(void)
{
    struct ike_policy p;
    ike_policy_default(&p);
    p.ike.ke[p.ike.n_ke++] = KE_ECP256;
    p.init_rate_per_ip = p.handshakes_per_second = 0; /* a test may happen in one moment; see test_ike_guard */
    return p;
}

void adv_start_over(const struct ike_policy *policy)
{
    pair_free(adv);
    adv = pair_new(policy);
    adv->i->wish.ike.ke = KE_ECP256;
    adv->i->wish.ike.addke[0] = 0;
    adv->path = (struct path){.local = adv->i->remote, .remote = adv->i->local};
}

int adv_set_up(void **state)
{
    const struct ike_policy policy = adv_policy();
    (void)state;
    adv_start_over(&policy);
    return 0;
}

int adv_tear_down(void **state)
{
    (void)state;
    edge_clear(adv->e);
    (void)edge_command(adv->e, (struct ike_cmd){.type = IKE_CMD_TUNNEL_RESET, .handle = EDGE_TUNNEL});
    for (int k = 0; ike_deadline(adv->e->ike) != NEVER; k++) {
        assert_true(k < 100000);
        adv->e->now = ike_deadline(adv->e->ike);
        edge_clear(adv->e);
        edge_tick(adv->e);
    }
    edge_assert_empty(adv->e);
    pair_free(adv);
    adv = NULL;
    return 0;
}
