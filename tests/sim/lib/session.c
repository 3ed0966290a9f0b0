/* Messages under the keys of an IKE SA; see session.h. */
#include "session.h"

void parcel_add(struct parcel *p, struct span datagram)
{
    assert_true(p->n < PARCEL_MAX);
    OK(buf_set(&p->v[p->n++], datagram));
}

void parcel_clear(struct parcel *p)
{
    while (p->n)
        buf_free(&p->v[--p->n]);
}

static void gather_clear(struct gather *g)
{
    for (size_t i = 0; i < PARCEL_MAX; i++)
        buf_free(&g->v[i]);
    *g = (struct gather){0};
}

void session_clear(struct session *s)
{
    gather_clear(&s->gather[0]);
    gather_clear(&s->gather[1]);
    wipe(&s->keys, sizeof s->keys);
}

struct sk_alg session_alg(const struct session *s)
{
    return (struct sk_alg){s->suite.encr, s->suite.encr_bits, s->suite.integ};
}

static struct sk_sizes sizes_of(const struct session *s)
{
    struct sk_sizes sizes;
    assert_true(crypto_sk_sizes(session_alg(s), &sizes));
    return sizes;
}

/* ---- out */

struct ike_header session_header(const struct session *s, uint8_t exchange, bool response, uint32_t mid)
{
    return (struct ike_header){
        .spi_i = s->spi_i,
        .spi_r = s->spi_r,
        .version = IKE_VERSION,
        .exchange = exchange,
        .flags = (uint8_t)((s->began ? IKE_FLAG_INITIATOR : 0) | (response ? IKE_FLAG_RESPONSE : 0)),
        .mid = mid,
    };
}

void session_seal_one(struct session *s, const struct ike_header *h, uint8_t first, struct span text, uint16_t number,
                      uint16_t total, struct buf *ret)
{
    struct sk_sizes z = sizes_of(s);
    size_t pad = z.block > 1 ? (z.block - (text.n + 1) % z.block) % z.block : 0;
    size_t aad = IKE_HEADER_SIZE + (total ? 8 : 4), length = aad + z.iv + text.n + pad + 1 + z.icv;
    uint8_t *out = malloc(length);
    assert_non_null(out);
    struct wr w = wr_of(out, length);
    struct ike_header header = *h;
    header.next = total ? PAYLOAD_SKF : PAYLOAD_SK;
    header.length = (uint32_t)length;
    ike_header_write(&w, &header);
    wr_u8(&w, first);
    wr_u8(&w, 0);
    wr_u16(&w, (uint16_t)(length - IKE_HEADER_SIZE));
    if (total) {
        wr_u16(&w, number);
        wr_u16(&w, total);
    }
    wr_reserve(&w, z.iv);
    wr_bytes(&w, text);
    wr_reserve(&w, pad);
    wr_u8(&w, (uint8_t)pad);
    wr_reserve(&w, z.icv);
    assert_true(!w.failed && wr_len(&w) == length);
    const struct ike_keys *k = &s->keys;
    OK(crypto_sk_seal(s->crypto, session_alg(s), s->began ? k->ei : k->er, s->began ? k->ai : k->ar, out, aad,
                      text.n + pad + 1, s->iv++));
    OK(buf_set(ret, span_of(out, length)));
    free(out);
}

void session_seal(struct session *s, const struct ike_header *h, uint8_t first, struct span inner, struct parcel *ret)
{
    struct sk_sizes z = sizes_of(s);
    size_t block = z.block > 1 ? z.block : 1, fixed = IKE_HEADER_SIZE + 4 + z.iv + z.icv;
    size_t whole = fixed + (inner.n + block) / block * block;
    parcel_clear(ret);
    if (!s->limit || whole <= s->limit) {
        session_seal_one(s, h, first, inner, 0, 0, &ret->v[ret->n++]);
        return;
    }
    size_t room = (s->limit - fixed - 4) / block * block - 1, total = (inner.n + room - 1) / room;
    struct rd r = rd_of(inner);
    assert_in_range(total, 2, PARCEL_MAX);
    while (ret->n < total) {
        struct span text = rd_take(&r, rd_left(&r) < room ? rd_left(&r) : room);
        uint8_t next = ret->n ? PAYLOAD_NONE : first; /* RFC 7383 2.5 */
        session_seal_one(s, h, next, text, (uint16_t)(ret->n + 1), (uint16_t)total, &ret->v[ret->n]);
        ret->n++;
    }
}

/* ---- in */

struct piece {
    uint8_t first, reserved;
    uint16_t number, total; /* total 0: the whole message */
    struct span text;       /* in a buffer of session_open() */
};

static bool open_one(struct session *s, struct span datagram, uint8_t *copy, struct ike_header *ret_header,
                     struct piece *ret)
{
    struct ike_chain outer;
    struct ike_error error;
    struct rd r = rd_of(datagram);
    if (ike_header_read(datagram, ret_header) != RC_OK || ret_header->length != datagram.n)
        return false;
    rd_take(&r, IKE_HEADER_SIZE);
    if (ike_chain_read(ret_header->next, rd_rest(&r), &outer, &error) != RC_OK || outer.n != 1)
        return false;
    struct piece p = {.first = outer.sk_next, .reserved = datagram.p[IKE_HEADER_SIZE + 1]};
    if (outer.v[0].type == PAYLOAD_SKF) {
        struct ike_skf skf;
        if (ike_skf_read(outer.v[0].body, &skf) != RC_OK || skf.total > PARCEL_MAX)
            return false;
        p.number = skf.number;
        p.total = skf.total;
    } else if (outer.v[0].type != PAYLOAD_SK) {
        return false;
    }
    struct sk_sizes z = sizes_of(s);
    size_t aad = IKE_HEADER_SIZE + (p.total ? 8 : 4);
    if (datagram.n < aad + z.iv + z.icv + 1)
        return false;
    size_t n = datagram.n - aad - z.iv - z.icv;
    const struct ike_keys *k = &s->keys;
    memcpy(copy, datagram.p, datagram.n);
    if (crypto_sk_open(s->crypto, session_alg(s), s->began ? k->er : k->ei, s->began ? k->ar : k->ai, copy, aad, n) !=
        RC_OK)
        return false;
    const uint8_t *text = copy + aad + z.iv;
    assert_true(text[n - 1] < n);
    p.text = span_of(text, n - 1 - text[n - 1]);
    *ret = p;
    return true;
}

/* true: all there. */
static bool put_together(struct gather *g, const struct ike_header *h, const struct piece *p, struct plain *ret)
{
    if (g->total && (g->mid != h->mid || g->total < p->total))
        gather_clear(g);
    if (g->total > p->total || (g->total && g->v[p->number - 1].p))
        return false;
    g->mid = h->mid;
    g->total = p->total;
    OK(buf_set(&g->v[p->number - 1], p->text));
    if (p->number == 1) {
        g->first = p->first;
        g->reserved = p->reserved;
    }
    if (++g->have < g->total)
        return false;
    struct wr w = wr_of(ret->text, sizeof ret->text);
    for (size_t i = 0; i < g->total; i++)
        wr_bytes(&w, buf_span(&g->v[i]));
    assert_false(w.failed);
    ret->n = wr_len(&w);
    ret->first = g->first;
    ret->reserved = g->reserved;
    gather_clear(g);
    return true;
}

enum opened session_open(struct session *s, struct span datagram, struct plain *ret)
{
    static uint8_t copy[PLAIN_MAX];
    struct piece p;
    struct ike_error error;
    if (datagram.n > sizeof copy || !open_one(s, datagram, copy, &ret->header, &p))
        return OPENED_NOT;
    if (p.total) {
        struct gather *g = &s->gather[(ret->header.flags & IKE_FLAG_RESPONSE) != 0];
        if (!put_together(g, &ret->header, &p, ret))
            return OPENED_PART;
    } else {
        memcpy(ret->text, p.text.p, p.text.n);
        ret->n = p.text.n;
        ret->first = p.first;
        ret->reserved = p.reserved;
    }
    /* What the engine seals must be well formed. */
    OK(ike_chain_read(ret->first, span_of(ret->text, ret->n), &ret->chain, &error));
    OK(ike_shape_check(ret->header.exchange, ret->header.flags & IKE_FLAG_RESPONSE, true, &ret->chain, &error));
    return OPENED_WHOLE;
}

bool plain_notify(const struct plain *p, uint16_t type, struct ike_notify *ret)
{
    return ike_notify_find(&p->chain, type, ret);
}

uint16_t plain_error(const struct plain *p)
{
    for (size_t i = 0; i < p->chain.n; i++) {
        struct ike_notify n;
        if (p->chain.v[i].type == PAYLOAD_NOTIFY && ike_notify_read(p->chain.v[i].body, &n) == RC_OK &&
            n.type <= N_ERROR_LAST)
            return n.type;
    }
    return 0;
}

void session_a(const struct ike_header *h, uint8_t first, uint8_t reserved, size_t inner, uint8_t ret[32])
{
    struct wr w = wr_of(ret, 32);
    struct ike_header header = *h;
    header.next = PAYLOAD_SK;
    header.length = (uint32_t)(32 + inner);
    ike_header_write(&w, &header);
    wr_u8(&w, first);
    wr_u8(&w, reserved);
    wr_u16(&w, (uint16_t)(4 + inner));
}
