/* ike/unlock: from a protected datagram to inner payloads: authenticate first, then decrypt, then collect fragments
 * (RFC 7296 3.14, RFC 7383 2.6). What does not authenticate leaves no trace but a counter.
 */
#include "event.h"
#include "seal.h"

#include <stdlib.h>

struct sealed { /* the one payload of a protected message */
    bool skf;
    uint16_t number, total;
    uint8_t first, reserved;
    size_t aad;
};

static bool drop(struct ike_inbound *x, enum ike_count count, const char *why)
{
    ike_event_drop(x->turn, &x->path, count, x->header.spi_i, why);
    return false;
}

static bool read_outer(struct ike_inbound *x, struct sealed *ret)
{
    struct ike_chain *outer = &x->chain;
    struct ike_error error = {.what = "malformed"};
    struct rd r = rd_of(x->datagram);
    rd_take(&r, IKE_HEADER_SIZE);
    if (ike_chain_read(x->header.next, rd_rest(&r), outer, &error) != RC_OK ||
        ike_shape_check(x->header.exchange, x->header.flags & IKE_FLAG_RESPONSE, false, outer, &error) != RC_OK)
        return drop(x, IKE_COUNT_DROP_SYNTAX, error.what);
    if (ike_chain_critical(outer))
        return drop(x, IKE_COUNT_DROP_SYNTAX, "unknown critical payload in the clear");

    const struct ike_payload *last = &outer->v[outer->n - 1]; /* SK or SKF: the shape says so */
    struct sealed s = {.first = outer->sk_next, .aad = IKE_HEADER_SIZE + last->offset + 4, .number = 1, .total = 1};
    struct rd flags = rd_of(x->datagram);
    rd_take(&flags, IKE_HEADER_SIZE + last->offset + 1);
    s.reserved = rd_u8(&flags);
    if (last->type == PAYLOAD_SKF) {
        struct ike_skf skf;
        if (ike_skf_read(last->body, &skf) != RC_OK)
            return drop(x, IKE_COUNT_DROP_FRAGMENT, "short fragment");
        s.skf = true;
        s.number = skf.number;
        s.total = skf.total;
        s.aad += 4; /* RFC 7383 2.5: the numbers are authenticated too */
    }
    *ret = s;
    return true;
}

static enum rc open_copy(struct ike_inbound *x, const struct sealed *s, const uint8_t *key_e, const uint8_t *key_a,
                         struct span *ret)
{
    struct ike *ike = x->turn->ike;
    struct wr w = wr_of(ike->in, IKE_DATAGRAM_MAX);
    wr_bytes(&w, x->datagram);
    if (w.failed)
        return RC_LIMIT;
    return ike_open(ike->crypto, x->sa->alg, key_e, key_a, ike->in, x->datagram.n, s->aad, ret);
}

/* ---- reassembly */

void ike_queue_free(struct ike *ike, struct ike_queue *q)
{
    heap_cancel(&ike->timers, &q->timer.t);
    list_remove(&q->age);
    ike->queued -= q->f.bytes;
    q->sa->queue[q->response] = NULL;
    ike_fragment_clear(&q->f);
    free(q);
}

static struct ike_queue *queue_of(struct ike_inbound *x)
{
    struct ike *ike = x->turn->ike;
    bool response = x->header.flags & IKE_FLAG_RESPONSE;
    struct ike_queue *q = x->sa->queue[response];
    if (q)
        return q;
    q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->timer.kind = TIMER_FRAGMENTS;
    q->sa = x->sa;
    q->response = response;
    if (!ike_timer_set(ike, &q->timer, x->turn->now + ike->policy.fragment_timeout)) {
        free(q);
        return NULL;
    }
    list_push_back(&ike->queues, &q->age);
    x->sa->queue[response] = q;
    return q;
}

/* The budget is for all SAs together; the oldest incomplete message pays. */
static bool make_room(struct ike_inbound *x, const struct ike_queue *mine, size_t n)
{
    struct ike *ike = x->turn->ike;
    while (ike->queued + n > IKE_FRAGMENT_BUDGET) {
        struct ike_queue *oldest = CONTAINER_OF(ike->queues.next, struct ike_queue, age);
        if (oldest == mine)
            return false;
        ike_count_add(ike, IKE_COUNT_DROP_LIMIT);
        ike_queue_free(ike, oldest);
    }
    return true;
}

/* Keep one authentic fragment; true when the message is whole: then x holds it. */
static bool collect(struct ike_inbound *x, const struct sealed *s, struct span text)
{
    struct ike *ike = x->turn->ike;
    struct ike_queue *q = queue_of(x);
    if (!q || !make_room(x, q, text.n))
        return drop(x, IKE_COUNT_DROP_LIMIT, "no memory for fragments");
    const struct ike_piece piece = {s->number,   s->total, x->header,     s->first,
                                    s->reserved, x->hash,  x->datagram.n, text};
    size_t before = q->f.bytes;
    enum rc rc = ike_fragment_store(&q->f, &piece);
    ike->queued += q->f.bytes - before; /* may shrink: a new try threw the old one away */
    if (rc != RC_OK) {
        ike_queue_free(ike, q);
        return drop(x, IKE_COUNT_DROP_FRAGMENT, "message of fragments too large");
    }
    if (q->f.have == 1) /* armed already: moving it cannot fail */
        (void)ike_timer_set(ike, &q->timer, x->turn->now + ike->policy.fragment_timeout);
    x->sa->fragments_have = q->f.have;
    x->sa->fragments_total = q->f.total;
    if (!ike_fragment_complete(&q->f))
        return false;
    x->sa->fragments_have = x->sa->fragments_total = 0;

    struct wr w = wr_of(ike->joined, IKE_REASSEMBLED_MAX);
    ike_fragment_join(&q->f, &w);
    x->inner = wr_span(&w);
    x->first = q->f.first;
    x->hash = q->f.hash;
    x->largest = q->f.largest;
    x->fragmented = true;
    ike_seal_a(&q->f.header, q->f.first, q->f.reserved, x->inner.n, x->a);
    x->sa->fragments_used = true;
    ike_queue_free(ike, q);
    return true;
}

static bool admit(struct ike_inbound *x, const struct sealed *s)
{
    const struct ike_queue *q = x->sa->queue[(x->header.flags & IKE_FLAG_RESPONSE) != 0];
    if (!x->sa->fragmentation) /* RFC 7383 2.3: only if both announced it */
        return drop(x, IKE_COUNT_DROP_FRAGMENT, "fragment, but fragmentation was not negotiated");
    switch (
        ike_fragment_admit(q ? &q->f : NULL, x->header.mid, s->number, s->total, x->turn->ike->policy.max_fragments)) {
    case RC_OK: return true;
    case RC_EXISTS: return drop(x, IKE_COUNT_DROP_FRAGMENT, "fragment came before");
    case RC_LIMIT: return drop(x, IKE_COUNT_DROP_FRAGMENT, "more fragments than we take");
    default: return drop(x, IKE_COUNT_DROP_FRAGMENT, "fragment numbers do not fit");
    }
}

bool ike_unlock(struct ike_inbound *x)
{
    struct sealed s;
    struct span text;
    if (!read_outer(x, &s) || (s.skf && !admit(x, &s)))
        return false;
    const struct ike_keys *k = &x->sa->secrets->keys;
    enum rc rc = open_copy(x, &s, x->sa->initiator ? k->er : k->ei, x->sa->initiator ? k->ar : k->ai, &text);
    if (rc == RC_SYNTAX && !s.skf)
        x->malformed = "padding longer than the payload";
    else if (rc == RC_SYNTAX)
        return drop(x, IKE_COUNT_DROP_FRAGMENT, "padding longer than the fragment");
    else if (rc != RC_OK)
        return drop(x, IKE_COUNT_DROP_INTEGRITY, "integrity check failed");
    if (s.skf)
        return collect(x, &s, text);

    x->inner = rc == RC_OK ? text : span_of(NULL, 0);
    x->first = s.first;
    ike_seal_a(&x->header, s.first, s.reserved, x->inner.n, x->a);
    return true;
}

bool ike_unlock_repeated(struct ike_inbound *x)
{
    struct sealed s;
    struct span text;
    if (!x->sa->secrets || !read_outer(x, &s) || s.number != 1)
        return false;
    return open_copy(x, &s, x->sa->secrets->last_in.e, x->sa->secrets->last_in.a, &text) == RC_OK;
}
