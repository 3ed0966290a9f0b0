/* A datagram or inner payloads through the codec: header, chain, shape rules, every body; and the chain written again.
 *
 * Input: exchange, flags (1: response, 2: inner payloads, whose first type follows), bytes. */
#include "lib/fuzz.h"

#include "adit/wire_ike.h"

static void read_header(struct span bytes)
{
    struct ike_header h;
    uint8_t copy[IKE_HEADER_SIZE];
    if (ike_header_read(bytes, &h) != RC_OK) {
        assert_in_range(bytes.n, 0, IKE_HEADER_SIZE - 1);
        return;
    }
    struct wr w = wr_of(copy, sizeof copy);
    ike_header_write(&w, &h);
    assert_span_equal(wr_span(&w), span_of(bytes.p, IKE_HEADER_SIZE));
}

/* What the writer makes of the same payloads differs in the C and RESERVED bits only. */
static void write_again(uint8_t first, struct span bytes, const struct ike_chain *c)
{
    struct ike_writer iw;
    struct span again;
    uint8_t *copy = malloc(bytes.n + 1);
    assert_non_null(copy);
    ike_write_inner(&iw, wr_of(copy, bytes.n));
    for (size_t i = 0; i < c->n; i++) {
        ike_write_begin(&iw, c->v[i].type);
        wr_bytes(&iw.w, c->v[i].body);
        ike_write_end(&iw);
    }
    OK(ike_write_finish(&iw, &again));
    assert_int_equal(again.n, bytes.n);
    if (c->n)
        assert_int_equal(ike_write_first(&iw), first);
    for (size_t i = 0; i < c->n && again.p && bytes.p; i++) {
        size_t at = c->v[i].offset;
        bool encrypted = c->v[i].type == PAYLOAD_SK || c->v[i].type == PAYLOAD_SKF; /* NextPayload is that inside */
        if (!encrypted)
            assert_int_equal(again.p[at], bytes.p[at]);
        assert_memory_equal(again.p + at + 2, bytes.p + at + 2, 2 + c->v[i].body.n);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_of(span_of(data, n));
    uint8_t exchange = rd_u8(&r), flags = rd_u8(&r), first = 0;
    bool inner = flags & 2;
    if (inner)
        first = rd_u8(&r);
    struct span whole = fuzz_rest(&r), bytes = whole;
    struct ike_chain c;
    struct ike_error e = {0};
    if (!inner) {
        struct ike_header h;
        read_header(whole);
        if (ike_header_read(whole, &h) == RC_OK) {
            first = h.next;
            bytes = span_of(whole.p + IKE_HEADER_SIZE, whole.n - IKE_HEADER_SIZE);
        }
    }
    if (ike_chain_read(first, bytes, &c, &e) == RC_OK) {
        struct ike_notify notify;
        assert_in_range(c.n, 0, IKE_PAYLOADS_MAX);
        for (size_t i = 0; i < c.n; i++)
            assert_within(c.v[i].body, bytes);
        write_again(first, bytes, &c);
        const struct ike_payload *critical = ike_chain_critical(&c);
        assert_true(!critical || (critical->critical && !ike_payload_known(critical->type)));
        ike_notify_find(&c, N_COOKIE, &notify);
        if (ike_shape_check(exchange, flags & 1, inner, &c, &e) != RC_OK)
            assert_non_null(e.what);
    } else {
        assert_non_null(e.what);
        assert_in_range(e.offset, 0, bytes.n);
    }
    exact_free(whole);
    return 0;
}
