/* Chains of payloads and the shape rules (RFC 7296 2.5, 3.2, 3.14, appendix C; adversarial rows 2, 3, 4, 6, 19). */
#include "adit/wire_ike.h"
#include "lib/unit.h"

static enum rc read_chain(uint8_t first, const char *octets, struct ike_chain *ret, struct ike_error *ret_err)
{
    struct span s = exact_copy(hex(octets));
    enum rc rc = ike_chain_read(first, s, ret, ret_err);
    exact_free(s);
    return rc;
}

static void expect_fault(uint8_t first, const char *octets, enum rc rc, size_t offset, uint8_t payload)
{
    struct ike_chain c = {.n = 77};
    struct ike_error e = {0};
    assert_int_equal(read_chain(first, octets, &c, &e), rc);
    assert_non_null(e.what);
    assert_int_equal(e.offset, offset);
    assert_int_equal(e.payload, payload);
    assert_int_equal(c.n, 77);
}

static void chain_of_three(void **state)
{
    (void)state;
    struct ike_chain c;
    struct ike_error e;
    struct span s = hex("28 80 0006 aabb | 2b 7f 0005 01 | 00 00 0004");
    OK(ike_chain_read(PAYLOAD_KE, s, &c, &e));
    assert_int_equal(c.n, 3);
    assert_int_equal(c.v[0].type, PAYLOAD_KE);
    assert_true(c.v[0].critical);
    assert_int_equal(c.v[0].offset, 0);
    assert_ptr_equal(c.v[0].body.p, s.p + 4);
    assert_int_equal(c.v[0].body.n, 2);
    assert_int_equal(c.v[1].type, PAYLOAD_NONCE);
    assert_false(c.v[1].critical); /* C is bit 7 alone; RESERVED is ignored */
    assert_int_equal(c.v[1].offset, 6);
    assert_int_equal(c.v[2].type, PAYLOAD_VENDOR);
    assert_int_equal(c.v[2].body.n, 0);
    assert_ptr_equal(ike_chain_find(&c, PAYLOAD_NONCE), &c.v[1]);
    assert_null(ike_chain_find(&c, PAYLOAD_SA));
}

static void empty_chain(void **state)
{
    (void)state;
    struct ike_chain c;
    struct ike_error e;
    OK(ike_chain_read(PAYLOAD_NONE, span_of(NULL, 0), &c, &e)); /* liveness: an empty INFORMATIONAL */
    assert_int_equal(c.n, 0);
}

static void payload_length_traps(void **state)
{
    (void)state;
    expect_fault(PAYLOAD_KE, "00 00 0000", RC_SYNTAX, 0, PAYLOAD_KE);
    expect_fault(PAYLOAD_KE, "00 00 0001", RC_SYNTAX, 0, PAYLOAD_KE);
    expect_fault(PAYLOAD_KE, "00 00 0003", RC_SYNTAX, 0, PAYLOAD_KE);
    expect_fault(PAYLOAD_KE, "00 00 0005", RC_SHORT, 0, PAYLOAD_KE);
    expect_fault(PAYLOAD_KE, "00 00 ffff 00", RC_SHORT, 0, PAYLOAD_KE);
    expect_fault(PAYLOAD_KE, "28 00 0004 | 00 00 0000", RC_SYNTAX, 4, PAYLOAD_NONCE);
    expect_fault(PAYLOAD_KE, "28 00 0004 | 00 00 0009 00000000", RC_SHORT, 4, PAYLOAD_NONCE);
}

static void chain_must_end_with_the_octets(void **state)
{
    (void)state;
    expect_fault(PAYLOAD_KE, "00 00 0004 | 00", RC_SYNTAX, 4, PAYLOAD_NONE); /* octets left */
    expect_fault(PAYLOAD_NONE, "00", RC_SYNTAX, 0, PAYLOAD_NONE);
    expect_fault(PAYLOAD_KE, "", RC_SHORT, 0, PAYLOAD_KE);
    expect_fault(PAYLOAD_KE, "00 00 00", RC_SHORT, 0, PAYLOAD_KE);
    expect_fault(PAYLOAD_KE, "28 00 0004", RC_SHORT, 4, PAYLOAD_NONCE); /* last Next Payload not 0 */
}

static void encrypted_payload_ends_the_chain(void **state)
{
    (void)state;
    struct ike_chain c;
    struct ike_error e;
    static const uint8_t types[] = {PAYLOAD_SK, PAYLOAD_SKF};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        OK(read_chain(types[i], "23 00 0008 aabbccdd", &c, &e));
        assert_int_equal(c.n, 1);
        assert_int_equal(c.sk_next, PAYLOAD_IDI);
        /* "MUST be the last payload": whatever stands behind it is refused */
        expect_fault(types[i], "29 00 0008 aabbccdd | 00 00 0008 00004000", RC_SYNTAX, 8, PAYLOAD_NONE);
    }
}

static void at_most_64_payloads(void **state)
{
    (void)state;
    uint8_t b[4 * (IKE_PAYLOADS_MAX + 1)];
    struct wr w = wr_of(b, sizeof b);
    for (unsigned i = 1; i <= IKE_PAYLOADS_MAX + 1; i++) {
        wr_u8(&w, i < IKE_PAYLOADS_MAX ? PAYLOAD_VENDOR : PAYLOAD_NONE);
        wr_u8(&w, 0);
        wr_u16(&w, 4);
    }
    struct ike_chain c;
    struct ike_error e;
    OK(ike_chain_read(PAYLOAD_VENDOR, span_of(b, 4 * IKE_PAYLOADS_MAX), &c, &e));
    assert_int_equal(c.n, IKE_PAYLOADS_MAX);
    wr_patch_u8(&w, 4 * (IKE_PAYLOADS_MAX - 1), PAYLOAD_VENDOR);
    assert_int_equal(ike_chain_read(PAYLOAD_VENDOR, wr_span(&w), &c, &e), RC_LIMIT);
}

static void unknown_payloads_and_the_critical_bit(void **state)
{
    (void)state;
    struct ike_chain c;
    struct ike_error e;
    /* RFC 7296 2.5: ignored without C; with C the whole message is rejected; C is ignored on known types */
    OK(read_chain(49, "31 00 0004 | 31 80 0004 | 28 80 0004 | 00 80 0004", &c, &e)); /* 49, 49!, 49!, Nonce! */
    assert_ptr_equal(ike_chain_critical(&c), &c.v[1]);
    OK(read_chain(49, "28 00 0004 | 00 80 0004", &c, &e));
    assert_null(ike_chain_critical(&c));
    static const uint8_t unknown[] = {1, 13, 32, 49, 50, 51, 52, 54, 127, 128, 255}; /* 1..13: IKEv1's */
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        assert_false(ike_payload_known(unknown[i]));
        OK(read_chain(unknown[i], "00 80 0004", &c, &e));
        assert_ptr_equal(ike_chain_critical(&c), &c.v[0]);
    }
    for (unsigned t = PAYLOAD_SA; t <= PAYLOAD_EAP; t++)
        assert_true(ike_payload_known((uint8_t)t));
}

/* ---- shapes: chains written as a list of payload types, each with a body its kind may have */

enum { REQ, RSP };
struct types {
    uint8_t v[70];
    size_t n;
};
#define TYPES(...)                                      \
    &(struct types)                                     \
    {                                                   \
        {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}) \
    }
#define NOTHING     \
    &(struct types) \
    {               \
        {0}, 0      \
    }
#define N_ PAYLOAD_NOTIFY
#define V_ PAYLOAD_VENDOR

static enum rc shape(uint8_t exchange, int direction, bool encrypted, const struct types *t, struct ike_error *e)
{
    static const uint8_t notify[] = {0, 0, 0x40, 0x00};
    struct ike_chain c = {.n = t->n};
    for (size_t i = 0; i < t->n; i++)
        c.v[i] =
            (struct ike_payload){.type = t->v[i], .offset = (uint32_t)i * 8, .body = span_of(notify, sizeof notify)};
    return ike_shape_check(exchange, direction == RSP, encrypted, &c, e);
}
static void good(uint8_t exchange, int direction, bool encrypted, const struct types *t)
{
    struct ike_error e = {0};
    if (shape(exchange, direction, encrypted, t, &e) != RC_OK)
        fail_msg("exchange %u: %s of payload %u", exchange, e.what, e.payload);
}
static void bad(uint8_t exchange, int direction, bool encrypted, uint8_t payload, const struct types *t)
{
    struct ike_error e = {0};
    assert_int_equal(shape(exchange, direction, encrypted, t, &e), RC_SYNTAX);
    assert_non_null(e.what);
    assert_int_equal(e.payload, payload);
}

static void shape_of_sa_init(void **state)
{
    (void)state;
    good(IKE_SA_INIT, REQ, false, TYPES(33, 34, 40));
    good(IKE_SA_INIT, REQ, false, TYPES(40, 34, 33)); /* order MUST NOT be enforced, 2.5 */
    good(IKE_SA_INIT, REQ, false, TYPES(N_, 33, 34, 40, N_, N_, N_, N_, V_, V_, 38, 49));
    good(IKE_SA_INIT, RSP, false, TYPES(33, 34, 40, N_, 38, 38, V_));
    good(IKE_SA_INIT, RSP, false, TYPES(N_)); /* COOKIE, INVALID_KE_PAYLOAD */
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_SA, TYPES(34, 40));
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_KE, TYPES(33, 40));
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_NONCE, TYPES(33, 34));
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_SA, NOTHING);
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_SA, TYPES(33, 34, 40, 33));
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_KE, TYPES(33, 34, 40, 34));
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_NONCE, TYPES(33, 34, 40, 40));
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_IDI, TYPES(33, 34, 40, 35)); /* identities are never in the clear */
    bad(IKE_SA_INIT, REQ, false, PAYLOAD_SK, TYPES(33, 34, 40, 46));
    bad(IKE_SA_INIT, REQ, true, PAYLOAD_NONE, TYPES(33, 34, 40)); /* and this exchange never encrypted */
}

static void shape_of_the_envelope(void **state)
{
    (void)state;
    static const uint8_t exchanges[] = {IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, IKE_INTERMEDIATE, IKE_FOLLOWUP_KE};
    for (size_t i = 0; i < ARRAY_LEN(exchanges); i++)
        for (int d = REQ; d <= RSP; d++) {
            uint8_t x = exchanges[i];
            good(x, d, false, TYPES(46));
            good(x, d, false, TYPES(53));
            bad(x, d, false, PAYLOAD_SK, NOTHING);
            bad(x, d, false, PAYLOAD_SK, TYPES(N_)); /* an unprotected error is a hint, not a message of the SA */
            bad(x, d, false, N_, TYPES(N_, 46));
            bad(x, d, false, 33, TYPES(33, 46));
            bad(x, d, false, 49, TYPES(49, 53)); /* nothing before SKF: adversarial row 19 */
            bad(x, d, false, V_, TYPES(V_, 53));
        }
    good(IKE_AUTH, REQ, false, TYPES(49, V_, 46));        /* ignored, RFC 7296 2.5 */
    bad(IKE_INTERMEDIATE, REQ, false, 49, TYPES(49, 46)); /* would have to be authenticated, RFC 9242 3.3.2 */
}

static void shape_of_intermediate_and_followup(void **state)
{
    (void)state;
    for (int d = REQ; d <= RSP; d++) {
        good(IKE_INTERMEDIATE, d, true, TYPES(34));
        good(IKE_INTERMEDIATE, d, true, TYPES(34, N_, V_, 49));
        good(IKE_FOLLOWUP_KE, d, true, TYPES(34, N_));
        bad(IKE_INTERMEDIATE, d, true, PAYLOAD_KE, TYPES(34, 34));
        bad(IKE_INTERMEDIATE, d, true, PAYLOAD_NONCE, TYPES(34, 40));
        bad(IKE_FOLLOWUP_KE, d, true, PAYLOAD_SA, TYPES(34, N_, 33));
    }
    good(IKE_FOLLOWUP_KE, RSP, true, TYPES(N_));
    bad(IKE_FOLLOWUP_KE, REQ, true, PAYLOAD_KE, TYPES(N_));
}

static void shape_of_auth(void **state)
{
    (void)state;
    good(IKE_AUTH, REQ, true, TYPES(35, 39, 33, 44, 45));
    good(IKE_AUTH, REQ, true, TYPES(35, N_, 38, 36, 39, 47, N_, N_, 33, 44, 45, N_, N_, N_, V_));
    good(IKE_AUTH, REQ, true, TYPES(35, 37, 37, 38, 38, 39, 33, 44, 45)); /* certificates */
    good(IKE_AUTH, REQ, true, TYPES(35, 36, 47, 33, 44, 45));             /* no AUTH: asks for EAP, refused elsewhere */
    good(IKE_AUTH, REQ, true, TYPES(35, 39));                             /* childless, RFC 6023 */
    good(IKE_AUTH, RSP, true, TYPES(36, 39, 33, 44, 45, N_));
    good(IKE_AUTH, RSP, true, TYPES(36, 39, N_)); /* the child failed */
    good(IKE_AUTH, RSP, true, TYPES(N_));
    bad(IKE_AUTH, REQ, true, PAYLOAD_IDI, TYPES(39, 33, 44, 45));
    bad(IKE_AUTH, REQ, true, PAYLOAD_IDI, TYPES(35, 35, 39, 33, 44, 45));
    bad(IKE_AUTH, REQ, true, PAYLOAD_AUTH, TYPES(35, 39, 39, 33, 44, 45));
    bad(IKE_AUTH, REQ, true, PAYLOAD_SA, TYPES(35, 39, 33, 33, 44, 45));
    bad(IKE_AUTH, REQ, true, PAYLOAD_TSI, TYPES(35, 39, 33, 44, 44, 45));
    bad(IKE_AUTH, REQ, true, PAYLOAD_KE, TYPES(35, 39, 33, 44, 45, 34));
    bad(IKE_AUTH, REQ, true, PAYLOAD_DELETE, TYPES(35, 39, 33, 44, 45, 42));
    bad(IKE_AUTH, REQ, true, PAYLOAD_SK, TYPES(35, 39, 33, 44, 45, 46)); /* SK in SK, SKF in SK */
    bad(IKE_AUTH, REQ, true, PAYLOAD_SKF, TYPES(35, 39, 33, 44, 45, 53));
    bad(IKE_AUTH, RSP, true, PAYLOAD_IDI, TYPES(35, 39, 33, 44, 45));
}

static void shape_of_create_child_sa(void **state)
{
    (void)state;
    good(CREATE_CHILD_SA, REQ, true, TYPES(33, 40, 44, 45));
    good(CREATE_CHILD_SA, REQ, true, TYPES(N_, 33, 40, 34, 44, 45, N_, V_));
    good(CREATE_CHILD_SA, REQ, true, TYPES(33, 40, 34)); /* rekeys the IKE SA */
    good(CREATE_CHILD_SA, RSP, true, TYPES(33, 40, 34, 44, 45, N_));
    good(CREATE_CHILD_SA, RSP, true, TYPES(N_));
    bad(CREATE_CHILD_SA, REQ, true, PAYLOAD_SA, TYPES(40, 44, 45));
    bad(CREATE_CHILD_SA, REQ, true, PAYLOAD_NONCE, TYPES(33, 44, 45));
    bad(CREATE_CHILD_SA, REQ, true, PAYLOAD_KE, TYPES(33, 40, 34, 34, 44, 45));
    bad(CREATE_CHILD_SA, REQ, true, PAYLOAD_IDI, TYPES(33, 40, 35, 44, 45));
}

static void shape_of_informational(void **state)
{
    (void)state;
    for (int d = REQ; d <= RSP; d++) {
        good(INFORMATIONAL, d, true, NOTHING);
        good(INFORMATIONAL, d, true, TYPES(42, 42, N_, N_, 47, V_, 49));
        bad(INFORMATIONAL, d, true, PAYLOAD_SA, TYPES(33));
        bad(INFORMATIONAL, d, true, PAYLOAD_CP, TYPES(47, 47));
    }
}

static void shape_of_unknown_exchanges(void **state)
{
    (void)state;
    for (unsigned x = 0; x < 256; x++)
        if (x != IKE_INTERMEDIATE && x != IKE_FOLLOWUP_KE && (x < IKE_SA_INIT || x > INFORMATIONAL)) {
            bad((uint8_t)x, REQ, true, PAYLOAD_NONE, TYPES(N_));
            bad((uint8_t)x, REQ, false, PAYLOAD_NONE, TYPES(46));
        }
}

static void malformed_notify_is_out_of_shape(void **state)
{
    (void)state;
    struct ike_chain c;
    struct ike_error e;
    OK(read_chain(N_, "29 00 0008 00004000 | 00 00 0008 03044000", &c, &e)); /* an SPI of 4 octets that is not there */
    struct span s = hex("29 00 0008 00004000 | 00 00 0008 03044000");
    OK(ike_chain_read(N_, s, &c, &e));
    assert_int_equal(ike_shape_check(INFORMATIONAL, false, true, &c, &e), RC_SYNTAX);
    assert_int_equal(e.offset, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chain_of_three),
        TEST(empty_chain),
        TEST(payload_length_traps),
        TEST(chain_must_end_with_the_octets),
        TEST(encrypted_payload_ends_the_chain),
        TEST(at_most_64_payloads),
        TEST(unknown_payloads_and_the_critical_bit),
        TEST(shape_of_sa_init),
        TEST(shape_of_the_envelope),
        TEST(shape_of_intermediate_and_followup),
        TEST(shape_of_auth),
        TEST(shape_of_create_child_sa),
        TEST(shape_of_informational),
        TEST(shape_of_unknown_exchanges),
        TEST(malformed_notify_is_out_of_shape),
    };
    return cmocka_run_group_tests_name("wire_ike_chain", tests, NULL, NULL);
}
