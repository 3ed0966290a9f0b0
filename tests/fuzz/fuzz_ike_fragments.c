/* Reassembly (RFC 7383 2.6): pieces in any order, of several messages, against a plain model of what has to come out.
 *
 * Input: pieces; each: message ID, number and total (one octet each), text as a part. */
#include "lib/fuzz.h"

#include "ike/fragment.h"

struct model { /* of the message being put together */
    uint32_t mid;
    unsigned total, have;
    struct span piece[IKE_FRAGMENTS_MAX + 1]; /* in the input */
    bool here[IKE_FRAGMENTS_MAX + 1];
    size_t bytes;
};

static void compare(const struct model *m, struct ike_fragments *f)
{
    static uint8_t room[IKE_REASSEMBLED_MAX];
    assert_int_equal(ike_fragment_complete(f), m->total && m->have == m->total);
    assert_true(f->bytes <= IKE_REASSEMBLED_MAX);
    if (!ike_fragment_complete(f))
        return;
    struct wr w = wr_of(room, sizeof room);
    ike_fragment_join(f, &w);
    assert_false(w.failed);
    assert_int_equal(wr_len(&w), m->bytes);
    size_t at = 0;
    for (unsigned i = 1; i <= m->total; i++) {
        if (m->piece[i].n)
            assert_memory_equal(room + at, m->piece[i].p, m->piece[i].n);
        at += m->piece[i].n;
    }
}

static void store(struct model *m, struct ike_fragments *f, const struct ike_piece *p, struct span text)
{
    enum rc rc = ike_fragment_store(f, p);
    if (m->total && (m->mid != p->header.mid || p->total > m->total))
        *m = (struct model){0};
    if (m->bytes + p->text.n > IKE_REASSEMBLED_MAX) {
        assert_int_equal(rc, RC_LIMIT);
        *m = (struct model){0};
        return;
    }
    OK(rc);
    m->mid = p->header.mid;
    m->total = p->total;
    m->have++;
    m->bytes += p->text.n;
    m->piece[p->number] = text;
    m->here[p->number] = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_of(span_of(data, n));
    struct ike_fragments f = {0};
    struct model m = {0};
    while (rd_left(&r) > 5) {
        struct ike_piece p = {.header.mid = rd_u8(&r)};
        p.number = rd_u8(&r);
        p.total = rd_u8(&r);
        struct rd same = r;
        p.text = fuzz_part(&r, 65535);
        p.datagram = p.text.n + 60;
        rd_u16(&same);
        struct span text = rd_take(&same, p.text.n);
        enum rc rc = ike_fragment_admit(&f, p.header.mid, p.number, p.total, IKE_FRAGMENTS_MAX);
        if (!p.number || p.number > p.total)
            assert_int_equal(rc, RC_SYNTAX);
        else if (p.total > IKE_FRAGMENTS_MAX)
            assert_int_equal(rc, RC_LIMIT);
        else if (m.total && m.mid == p.header.mid && p.total == m.total && m.here[p.number])
            assert_int_equal(rc, RC_EXISTS);
        if (rc == RC_OK)
            store(&m, &f, &p, text);
        compare(&m, &f);
        exact_free(p.text);
    }
    ike_fragment_clear(&f);
    return 0;
}
