/* The bodies of KE, ID, AUTH, Notify, Delete, Nonce and SKF, and each written again.
 *
 * Input: the payload's type, its body. */
#include "lib/fuzz.h"

#include "adit/wire_ike.h"

/* The body of the only payload that was written is the one that was read; `skip` octets that a writer may set otherwise. */
static void assert_written(struct ike_writer *iw, struct span body, size_t from, size_t to)
{
    struct span again;
    OK(ike_write_finish(iw, &again));
    assert_int_equal(again.n, 4 + body.n);
    for (size_t i = 0; i < body.n; i++)
        if (i < from || i >= to)
            assert_int_equal(again.p[4 + i], body.p[i]);
}

static void read_delete(struct span body)
{
    struct ike_delete d;
    if (ike_delete_read(body, &d) != RC_OK)
        return;
    for (unsigned i = 0; i < d.n; i++)
        rd_take(&d.spis, d.spi_size);
    assert_true(rd_done(&d.spis));
}

static void read_body(uint8_t type, struct span body, struct ike_writer *iw)
{
    struct ike_ke ke;
    struct ike_id id;
    struct ike_auth auth;
    struct ike_notify n;
    struct ike_skf skf;
    switch (type) {
    case PAYLOAD_KE:
        if (ike_ke_read(body, &ke) == RC_OK) {
            ike_write_ke(iw, ke.method, ke.data);
            assert_written(iw, body, 2, 4); /* RESERVED */
        }
        break;
    case PAYLOAD_IDI:
        if (ike_id_read(body, &id) == RC_OK) {
            assert_span_equal(id.maced, body);
            ike_write_id(iw, PAYLOAD_IDI, id.type, id.data);
            assert_written(iw, body, 1, 4);
        }
        break;
    case PAYLOAD_AUTH:
        if (ike_auth_read(body, &auth) == RC_OK) {
            ike_write_auth(iw, auth.method, auth.data);
            assert_written(iw, body, 1, 4);
        }
        break;
    case PAYLOAD_NOTIFY:
        if (ike_notify_read(body, &n) == RC_OK) {
            ike_write_notify(iw, n.protocol, n.spi, n.type, n.data);
            assert_written(iw, body, 0, n.spi.n ? 0 : 1); /* RFC 7296 3.10: without an SPI no protocol */
            assert_true(strlen(ike_notify_name(n.type)) > 0);
        }
        break;
    case PAYLOAD_DELETE: read_delete(body); break;
    case PAYLOAD_NONCE: assert_int_equal(ike_nonce_check(body) == RC_OK, body.n >= 16 && body.n <= 256); break;
    case PAYLOAD_SKF:
        if (ike_skf_read(body, &skf) == RC_OK) {
            assert_true(skf.number >= 1 && skf.number <= skf.total);
            assert_within(skf.rest, body);
        }
        break;
    default: break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t room[1 << 17];
    struct rd r = rd_of(span_of(data, n));
    uint8_t type = rd_u8(&r);
    struct span body = fuzz_rest(&r);
    struct ike_writer iw;
    ike_write_inner(&iw, wr_of(room, sizeof room));
    if (body.n < 65536 - 4)
        read_body(type, body, &iw);
    exact_free(body);
    return 0;
}
