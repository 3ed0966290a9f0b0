/* The SA payload: proposals, transforms, attributes (RFC 7296 3.3; adversarial rows 7, 8). */

#include "adit/wire_ike.h"
#include "lib/unit.h"

#define AES256 "03 00 000c 01 00 0014 800e 0100 |" /* AES_GCM_16, 256 bit, not the last transform */
#define PRF384 "03 00 0008 02 00 0006 |"
#define ECP384_LAST "00 00 0008 04 00 0014 |"

static enum rc check(const char *octets)
{
    struct ike_error e = {0};
    struct span s = exact_copy(hex(octets));
    enum rc rc = ike_sa_check(s, &e);
    exact_free(s);
    assert_int_equal(rc != RC_OK, e.what != NULL);
    assert_true(rc == RC_OK || e.payload == PAYLOAD_SA);
    return rc;
}

/* The only transform of the only proposal. */
static struct ike_transform only(const char *octets)
{
    struct ike_proposal p;
    struct ike_transform t;
    struct rd r = rd_of(hex(octets));
    OK(check(octets));
    assert_true(ike_proposal_next(&r, &p));
    assert_false(ike_proposal_next(&r, &p));
    assert_true(ike_transform_next(&p.transforms, &t));
    assert_false(ike_transform_next(&p.transforms, &t));
    return t;
}

static void two_proposals_are_walked(void **state)
{
    (void)state;
    const char *sa = "02 00 0024 01 01 00 03 " AES256 PRF384 ECP384_LAST
                     "00 00 0018 02 03 04 01 aabbccdd 00 00 000c 01 00 000c 800e 0080";
    OK(check(sa));
    struct rd r = rd_of(hex(sa));
    struct ike_proposal p;
    struct ike_transform t;
    assert_true(ike_proposal_next(&r, &p));
    assert_int_equal(p.num, 1);
    assert_int_equal(p.protocol, PROTO_IKE);
    assert_int_equal(p.spi.n, 0);
    assert_int_equal(p.n_transforms, 3);
    assert_true(ike_transform_next(&p.transforms, &t));
    assert_int_equal(t.type, T_ENCR);
    assert_int_equal(t.id, 20);
    assert_int_equal(t.key_bits, 256);
    assert_true(t.acceptable);
    assert_span_equal(t.attrs, hex("800e0100"));
    assert_true(ike_transform_next(&p.transforms, &t));
    assert_int_equal(t.type, T_PRF);
    assert_int_equal(t.key_bits, 0);
    assert_int_equal(t.attrs.n, 0);
    assert_true(ike_transform_next(&p.transforms, &t));
    assert_int_equal(t.type, T_KE);
    assert_false(ike_transform_next(&p.transforms, &t));
    assert_true(ike_proposal_next(&r, &p));
    assert_int_equal(p.num, 2);
    assert_int_equal(p.protocol, PROTO_ESP);
    assert_span_equal(p.spi, hex("aabbccdd"));
    assert_true(ike_transform_next(&p.transforms, &t));
    assert_int_equal(t.key_bits, 128);
    assert_false(ike_proposal_next(&r, &p));
}

static void proposal_length_traps(void **state)
{
    (void)state;
    assert_int_equal(check(""), RC_SYNTAX);
    assert_int_equal(check("00 00 0000 01 01 00 00"), RC_SYNTAX);
    assert_int_equal(check("00 00 0004 01 01 00 00"), RC_SYNTAX);
    assert_int_equal(check("00 00 0007 01 01 00 00"), RC_SYNTAX);
    assert_int_equal(check("00 00 0009 01 01 00 00"), RC_SYNTAX);
    assert_int_equal(check("00 00 ffff 01 01 00 00"), RC_SYNTAX);
    assert_int_equal(check("00 00 0008 01 01 01 00"), RC_SYNTAX); /* SPI of one octet that is not there */
    assert_int_equal(check("00 00 0008 01 01 ff 00"), RC_SYNTAX);
    assert_int_equal(check("00 00 0008 01 01 00 00 00"), RC_SYNTAX); /* octets behind the last */
    OK(check("00 ff 0008 01 01 00 00")); /* RESERVED is ignored; no transforms is for the chooser to refuse */
}

static void last_substructure_must_tell_the_truth(void **state)
{
    (void)state;
    assert_int_equal(check("02 00 0008 01 01 00 00"), RC_SYNTAX);
    assert_int_equal(check("00 00 0008 01 01 00 00 | 00 00 0008 02 01 00 00"), RC_SYNTAX);
    assert_int_equal(check("03 00 0008 01 01 00 00 | 00 00 0008 02 01 00 00"), RC_SYNTAX);
    OK(check("02 00 0008 01 01 00 00 | 00 00 0008 02 01 00 00"));
    assert_int_equal(check("00 00 0010 01 01 00 01 | 03 00 0008 02 00 0006"), RC_SYNTAX);
    assert_int_equal(check("00 00 0018 01 01 00 02 | 00 00 0008 02 00 0006 | 00 00 0008 04 00 0014"), RC_SYNTAX);
    assert_int_equal(check("00 00 0018 01 01 00 02 | 02 00 0008 02 00 0006 | 00 00 0008 04 00 0014"), RC_SYNTAX);
}

static void transform_counts_must_be_exact(void **state)
{
    (void)state;
    OK(check("00 00 0010 01 01 00 01 " ECP384_LAST));
    assert_int_equal(check("00 00 0010 01 01 00 00 " ECP384_LAST), RC_SYNTAX);
    assert_int_equal(check("00 00 0010 01 01 00 02 " ECP384_LAST), RC_SYNTAX);
    assert_int_equal(check("00 00 0010 01 01 00 ff " ECP384_LAST), RC_SYNTAX);
}

static void transform_length_traps(void **state)
{
    (void)state;
    static const char *const lengths[] = {"0000", "0004", "0007", "0009", "000c", "ffff"};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char text[96] = "00 00 0010 01 01 00 01 00 00 ";
        strcat(text, lengths[i]);
        strcat(text, " 04 00 0014");
        assert_int_equal(check(text), RC_SYNTAX);
    }
}

static void proposals_are_numbered_from_one(void **state)
{
    (void)state;
#define P(more, num) more " 00 0010 " num " 01 00 01 " ECP384_LAST
    OK(check(P("02", "01") P("02", "02") P("00", "03")));
    assert_int_equal(check(P("02", "02") P("00", "03")), RC_RANGE);
    assert_int_equal(check(P("02", "01") P("00", "03")), RC_RANGE);
    assert_int_equal(check(P("02", "01") P("00", "01")), RC_RANGE); /* IKEv1's AND */
    assert_int_equal(check(P("02", "00") P("00", "01")), RC_RANGE);
    OK(check(P("00", "07"))); /* a response repeats the number it accepts */
    assert_int_equal(check(P("00", "00")), RC_RANGE);
    assert_int_equal(check(P("02", "02") P("02", "03")), RC_SYNTAX); /* nesting first */
}

static void key_length(void **state)
{
    (void)state;
    struct ike_transform t = only("00 00 0014 01 01 00 01 | 00 00 000c 01 00 000c 800e 0100");
    assert_true(t.acceptable);
    assert_int_equal(t.key_bits, 256);
    t = only("00 00 0010 01 01 00 01 | 00 00 0008 01 00 000c"); /* missing */
    assert_true(t.acceptable);
    assert_int_equal(t.key_bits, 0);
    t = only("00 00 0014 01 01 00 01 | 00 00 000c 01 00 000c 800e 0000"); /* zero */
    assert_false(t.acceptable);
    t = only("00 00 0014 01 01 00 01 | 00 00 000c 01 00 000c 800e ffff");
    assert_int_equal(t.key_bits, 65535);
    t = only("00 00 0018 01 01 00 01 | 00 00 0010 01 00 000c 800e 0100 800e 0100"); /* twice */
    assert_false(t.acceptable);
    t = only("00 00 0018 01 01 00 01 | 00 00 0010 01 00 000c 800e 0100 800e 0080");
    assert_false(t.acceptable);
    t = only("00 00 0016 01 01 00 01 | 00 00 000e 01 00 000c 000e 0002 0100"); /* as type, length, value */
    assert_false(t.acceptable);
    assert_int_equal(t.key_bits, 0);
}

static void unknown_attributes_spoil_the_transform_only(void **state)
{
    (void)state;
    struct ike_transform t = only("00 00 0014 01 01 00 01 | 00 00 000c 01 00 000c 800f 0100"); /* TV of another type */
    assert_false(t.acceptable);
    t = only(
        "00 00 001b 01 01 00 01 | 00 00 0013 01 00 000c 0011 0003 aabbcc 800e 0100"); /* TLV, then the key length */
    assert_false(t.acceptable);
    assert_int_equal(t.key_bits, 256);
    t = only("00 00 0014 01 01 00 01 | 00 00 000c 01 00 000c 0011 0000"); /* TLV of no octets */
    assert_false(t.acceptable);
    assert_span_equal(t.attrs, hex("00110000"));
}

static void attribute_length_traps(void **state)
{
    (void)state;
    assert_int_equal(check("00 00 0014 01 01 00 01 | 00 00 000c 01 00 000c 0011 0001"), RC_SYNTAX);
    assert_int_equal(check("00 00 0014 01 01 00 01 | 00 00 000c 01 00 000c 000e ffff"), RC_SYNTAX);
    assert_int_equal(check("00 00 0013 01 01 00 01 | 00 00 000b 01 00 000c 800e 01"), RC_SYNTAX);
    assert_int_equal(check("00 00 0011 01 01 00 01 | 00 00 0009 01 00 000c 80"), RC_SYNTAX);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const struct ike_transform_out out[] = {{T_ENCR, 20, 256}, {T_PRF, 6, 0}, {T_KE, 20, 0}, {T_ADDKE1, 36, 0}};
    uint8_t b[256];
    struct ike_writer iw;
    struct span s;
    struct ike_chain c;
    struct ike_error e;
    ike_write_inner(&iw, wr_of(b, sizeof b));
    ike_write_begin(&iw, PAYLOAD_SA);
    ike_write_proposal(&iw, 1, PROTO_IKE, hex("0102030405060708"), out, 4, false);
    ike_write_proposal(&iw, 2, PROTO_IKE, span_of(NULL, 0), out, 3, true);
    ike_write_end(&iw);
    OK(ike_write_finish(&iw, &s));
    OK(ike_chain_read(ike_write_first(&iw), s, &c, &e));
    assert_int_equal(c.n, 1);
    OK(ike_sa_check(c.v[0].body, &e));
    struct rd r = rd_of(c.v[0].body);
    struct ike_proposal p;
    struct ike_transform t;
    for (unsigned num = 1; num <= 2; num++) {
        assert_true(ike_proposal_next(&r, &p));
        assert_int_equal(p.num, num);
        assert_int_equal(p.spi.n, num == 1 ? 8 : 0);
        assert_int_equal(p.n_transforms, num == 1 ? 4 : 3);
        for (unsigned i = 0; i < p.n_transforms; i++) {
            assert_true(ike_transform_next(&p.transforms, &t));
            assert_int_equal(t.type, out[i].type);
            assert_int_equal(t.id, out[i].id);
            assert_int_equal(t.key_bits, out[i].key_bits);
            assert_true(t.acceptable);
        }
    }
    ike_write_inner(&iw, wr_of(b, sizeof b));
    ike_write_sa(&iw, 2, PROTO_ESP, hex("aabbccdd"), out, 1);
    OK(ike_write_finish(&iw, &s));
    assert_span_equal(s, hex("00 00 001c | 00 00 0018 02 03 04 01 aabbccdd | 00 00 000c 01 00 0014 800e 0100"));
}

static void too_many_transforms_are_not_written(void **state)
{
    (void)state;
    static struct ike_transform_out out[256];
    uint8_t b[4096];
    struct ike_writer iw;
    struct span s;
    ike_write_inner(&iw, wr_of(b, sizeof b));
    ike_write_sa(&iw, 1, PROTO_IKE, span_of(NULL, 0), out, 255);
    OK(ike_write_finish(&iw, &s));
    ike_write_inner(&iw, wr_of(b, sizeof b));
    ike_write_sa(&iw, 1, PROTO_IKE, span_of(NULL, 0), out, 256);
    assert_int_equal(ike_write_finish(&iw, &s), RC_LIMIT);
}

/* Row 7: as many proposals and transforms as 64 KB hold; time grows with the octets, not with their square. */
static void largest_sa_is_checked_fast(void **state)
{
    (void)state;
    static struct ike_transform_out out[255];
    static uint8_t b[65535];
    struct ike_writer iw;
    struct span s;
    struct ike_error e;
    for (unsigned i = 0; i < 255; i++)
        out[i] = (struct ike_transform_out){T_KE, (uint16_t)i, 0};
    ike_write_inner(&iw, wr_of(b, sizeof b));
    ike_write_begin(&iw, PAYLOAD_SA);
    for (unsigned num = 1; num <= 31; num++)
        ike_write_proposal(&iw, (uint8_t)num, PROTO_IKE, span_of(NULL, 0), out, 255, num == 31);
    ike_write_end(&iw);
    OK(ike_write_finish(&iw, &s));
    assert_in_range(s.n, 60000, 65535);
    uint64_t before = cpu_ns();
    OK(ike_sa_check(span_of(s.p + 4, s.n - 4), &e));
    assert_in_range(cpu_ns() - before, 0, 20 * NS_PER_MS); /* 5 ms is the rule; valgrind is slower */
    /* 255 proposals of 31 transforms, and a 256th, which no number is left for */
    for (unsigned more = 0; more <= 1; more++) {
        ike_write_inner(&iw, wr_of(b, sizeof b));
        ike_write_begin(&iw, PAYLOAD_SA);
        for (unsigned num = 1; num <= 255 + more; num++)
            ike_write_proposal(&iw, (uint8_t)num, PROTO_IKE, span_of(NULL, 0), out, 30, num == 255 + more);
        ike_write_end(&iw);
        OK(ike_write_finish(&iw, &s));
        assert_int_equal(ike_sa_check(span_of(s.p + 4, s.n - 4), &e), more ? RC_RANGE : RC_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_proposals_are_walked),
        TEST(proposal_length_traps),
        TEST(last_substructure_must_tell_the_truth),
        TEST(transform_counts_must_be_exact),
        TEST(transform_length_traps),
        TEST(proposals_are_numbered_from_one),
        TEST(key_length),
        TEST(unknown_attributes_spoil_the_transform_only),
        TEST(attribute_length_traps),
        TEST(what_is_written_is_read),
        TEST(too_many_transforms_are_not_written),
        TEST(largest_sa_is_checked_fast),
    };
    return cmocka_run_group_tests_name("wire_ike_sa", tests, NULL, NULL);
}
