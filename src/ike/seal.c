/* ike/seal: the Encrypted and Encrypted Fragment payloads (RFC 7296 3.14, RFC 5282, RFC 7383 2.5).
 */
#include "seal.h"

#define GENERIC_HEADER 4
#define FRAGMENT_NUMBERS 4

struct piece { /* one datagram to be */
    uint8_t payload, next;
    uint16_t number, total; /* SKF only */
    struct span text;
};

static size_t overhead(const struct sk_sizes *s, uint8_t payload)
{
    return IKE_HEADER_SIZE + GENERIC_HEADER + (payload == PAYLOAD_SKF ? FRAGMENT_NUMBERS : 0) + s->iv + s->icv;
}

/* Text with padding and its length octet: CBC fills its blocks, GCM needs the length octet only (RFC 5282 3). */
static size_t padded(const struct sk_sizes *s, size_t text)
{
    size_t block = s->block > 1 ? s->block : 1;
    return (text + 1 + block - 1) / block * block;
}

/* SK_e* and SK_a* go by the ORIGINAL initiator, for requests and responses alike (RFC 7296 2.14). */
void ike_seal_half(const struct ike_keys *k, bool of_initiator, struct ike_half *ret)
{
    struct wr e = wr_of(ret->e, sizeof ret->e), a = wr_of(ret->a, sizeof ret->a);
    wr_bytes(&e, span_of(of_initiator ? k->ei : k->er, sizeof k->ei));
    wr_bytes(&a, span_of(of_initiator ? k->ai : k->ar, sizeof k->ai));
}

static enum rc seal_piece(struct ike *ike, struct ike_sa *sa, const struct ike_half *keys, const struct ike_header *h,
                          const struct piece *p, struct wr *w)
{
    struct sk_sizes s;
    if (!crypto_sk_sizes(sa->alg, &s))
        return RC_UNSUPPORTED;
    size_t text = padded(&s, p->text.n), length = overhead(&s, p->payload) + text, start = wr_len(w);
    if (length > UINT16_MAX)
        return RC_LIMIT;

    struct ike_header header = *h;
    header.next = p->payload;
    header.length = (uint32_t)length;
    ike_header_write(w, &header);
    wr_u8(w, p->next);
    wr_u8(w, 0);
    wr_u16(w, (uint16_t)(length - IKE_HEADER_SIZE));
    if (p->payload == PAYLOAD_SKF) {
        wr_u16(w, p->number);
        wr_u16(w, p->total);
    }
    size_t aad = wr_len(w) - start;
    wr_reserve(w, s.iv);
    wr_bytes(w, p->text);
    wr_reserve(w, text - p->text.n - 1);
    wr_u8(w, (uint8_t)(text - p->text.n - 1));
    wr_reserve(w, s.icv);
    if (w->failed)
        return RC_LIMIT;
    return crypto_sk_seal(ike->crypto, sa->alg, keys->e, keys->a, w->start + start, aad, text, sa->iv_out++);
}

/* How much text fits one datagram of `limit`. */
static size_t room(const struct sk_sizes *s, uint8_t payload, size_t limit)
{
    size_t fixed = overhead(s, payload), block = s->block > 1 ? s->block : 1;
    return limit < fixed + block ? 0 : (limit - fixed) / block * block - 1;
}

/* The datagrams of a message whose header, first and text are given: m->bytes, length, n. */
static enum rc cut(struct ike *ike, struct ike_sa *sa, const struct ike_half *keys, struct span inner, size_t chunk,
                   struct ike_message *m)
{
    size_t n = chunk ? (inner.n + chunk - 1) / chunk : 1;
    struct wr w = wr_of(ike->out, IKE_DATAGRAM_MAX);
    struct rd r = rd_of(inner);
    enum rc rc = n > IKE_PIECES_MAX ? RC_LIMIT : RC_OK;
    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        size_t before = wr_len(&w);
        const struct piece p = {
            .payload = chunk ? PAYLOAD_SKF : PAYLOAD_SK,
            .next = i == 0 ? m->first : PAYLOAD_NONE, /* RFC 7383 2.5 */
            .number = (uint16_t)(i + 1),
            .total = (uint16_t)n,
            .text = rd_take(&r, chunk && rd_left(&r) > chunk ? chunk : rd_left(&r)),
        };
        rc = seal_piece(ike, sa, keys, &m->header, &p, &w);
        m->length[i] = (uint16_t)(wr_len(&w) - before);
    }
    m->n = (uint8_t)n;
    return rc == RC_OK ? buf_set(&m->bytes, wr_span(&w)) : rc;
}

/* Every path carries so much, or all is lost. */
static size_t least_limit(const struct ike *ike, const struct path *path)
{
    uint16_t least = ike->policy.fragment_size_min;
    return ike_seal_limit(path, path->remote.addr.family == 6 && least < 1280 ? 1280 : least);
}

enum rc ike_seal(struct ike *ike, struct ike_sa *sa, const struct ike_header *h, uint8_t first, struct span inner,
                 size_t limit, struct ike_message *ret)
{
    struct sk_sizes s;
    struct ike_half keys;
    if (!sa->secrets || !crypto_sk_sizes(sa->alg, &s))
        return RC_UNSUPPORTED;
    struct ike_message m = {.header = *h, .first = first};
    size_t whole = overhead(&s, PAYLOAD_SK) + padded(&s, inner.n);
    ike_seal_half(&sa->secrets->keys, sa->initiator, &keys);
    enum rc rc = cut(ike, sa, &keys, inner, sa->fragmentation && whole > limit ? room(&s, PAYLOAD_SKF, limit) : 0, &m);
    if (rc == RC_OK && sa->fragmentation && whole > least_limit(ike, &sa->path))
        rc = buf_set(&m.inner, inner);
    wipe(&keys, sizeof keys);
    if (rc == RC_OK)
        *ret = m;
    else
        ike_message_free(&m);
    return rc;
}

void ike_seal_smaller(struct ike *ike, struct ike_sa *sa, const struct path *path, const struct ike_half *keys,
                      struct ike_message *m)
{
    struct sk_sizes s;
    size_t most = ike_seal_limit(path, ike->policy.fragment_size), least = least_limit(ike, path);
    if (++m->repeats == 1 || !crypto_sk_sizes(sa->alg, &s)) /* the first time it may just have been lost */
        return;
    for (size_t step = m->repeats < 3 ? 1 : 2; step <= 2; step++) {
        size_t chunk = room(&s, PAYLOAD_SKF, least < most ? most - (most - least) / 2 * step : least);
        /* RFC 7383 2.6: only a larger Total makes the peer forget the pieces it has. */
        if (!chunk || (m->inner.n + chunk - 1) / chunk <= m->n)
            continue;
        struct ike_message smaller = {.header = m->header, .first = m->first, .repeats = m->repeats};
        if (cut(ike, sa, keys, buf_span(&m->inner), chunk, &smaller) != RC_OK)
            return;
        smaller.inner = m->inner;
        buf_free(&m->bytes);
        *m = smaller;
        ike_count_add(ike, IKE_COUNT_CUT_SMALLER);
        return;
    }
}

void ike_message_free(struct ike_message *m)
{
    buf_free(&m->bytes);
    buf_free(&m->inner);
    *m = (struct ike_message){0};
}

enum rc ike_open(struct crypto *c, struct sk_alg alg, const uint8_t *key_e, const uint8_t *key_a, uint8_t *msg,
                 size_t n, size_t aad_len, struct span *ret_inner)
{
    struct sk_sizes s;
    if (!crypto_sk_sizes(alg, &s))
        return RC_UNSUPPORTED;
    size_t fixed = aad_len + s.iv + s.icv;
    if (n <= fixed)
        return RC_SHORT;
    size_t text = n - fixed;
    if (s.block > 1 && text % s.block)
        return RC_SHORT;
    enum rc rc = crypto_sk_open(c, alg, key_e, key_a, msg, aad_len, text);
    if (rc)
        return rc;
    const uint8_t *plain = msg + aad_len + s.iv;
    size_t pad = plain[text - 1];
    if (pad + 1 > text)
        return RC_SYNTAX;
    *ret_inner = span_of(plain, text - 1 - pad);
    return RC_OK;
}

void ike_seal_a(const struct ike_header *h, uint8_t first, uint8_t reserved, size_t inner,
                uint8_t ret[IKE_HEADER_SIZE + 4])
{
    struct wr w = wr_of(ret, IKE_HEADER_SIZE + GENERIC_HEADER);
    struct ike_header header = *h;
    header.next = PAYLOAD_SK;
    header.length = (uint32_t)(IKE_HEADER_SIZE + GENERIC_HEADER + inner); /* no IV, padding, ICV: RFC 9242 3.3.2 */
    ike_header_write(&w, &header);
    wr_u8(&w, first);
    wr_u8(&w, reserved);
    wr_u16(&w, (uint16_t)(GENERIC_HEADER + inner));
}

size_t ike_seal_limit(const struct path *path, uint16_t ip_datagram)
{
    size_t headers = (path->remote.addr.family == 6 ? 40u : 20u) + 8 + (path->local.port != 500 ? 4 : 0);
    return ip_datagram > headers ? ip_datagram - headers : 0;
}
