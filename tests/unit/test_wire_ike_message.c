/* The IKE header and the message writer (RFC 7296 3.1, 3.2), and the names of the registries. */
#include "adit/wire_ike.h"
#include "lib/unit.h"

#define HEADER "0102030405060708 1112131415161718 21 20 22 08 00000007 "

static void header_is_read_field_by_field(void **state)
{
    (void)state;
    struct ike_header h;
    OK(ike_header_read(hex(HEADER "0000001c"), &h));
    assert_true(h.spi_i == UINT64_C(0x0102030405060708));
    assert_true(h.spi_r == UINT64_C(0x1112131415161718));
    assert_int_equal(h.next, PAYLOAD_SA);
    assert_int_equal(h.version, IKE_VERSION);
    assert_int_equal(h.exchange, IKE_SA_INIT);
    assert_int_equal(h.flags, IKE_FLAG_INITIATOR);
    assert_int_equal(h.mid, 7);
    assert_int_equal(h.length, IKE_HEADER_SIZE);
}

static void header_under_28_octets_is_short(void **state)
{
    (void)state;
    struct span whole = hex(HEADER "0000001c");
    struct ike_header h = {.mid = 99};
    for (size_t n = 0; n < IKE_HEADER_SIZE; n++) {
        struct span cut = exact_copy(span_of(whole.p, n));
        assert_int_equal(ike_header_read(cut, &h), RC_SHORT);
        exact_free(cut);
    }
    assert_int_equal(h.mid, 99);
}

static void header_does_not_judge_values(void **state)
{
    (void)state;
    struct ike_header h; /* adversarial rows 1 and 4: the length lies, IKEv1, exchange 255, all flags */
    OK(ike_header_read(hex("0000000000000000 0000000000000000 ff 10 ff ff ffffffff ffffffff"), &h));
    assert_int_equal(h.version, 0x10);
    assert_int_equal(h.exchange, 255);
    assert_true(h.length == UINT32_MAX);
}

static void header_round_trip(void **state)
{
    (void)state;
    uint8_t b[IKE_HEADER_SIZE];
    struct wr w = wr_of(b, sizeof b);
    struct ike_header h;
    OK(ike_header_read(hex(HEADER "0000001c"), &h));
    ike_header_write(&w, &h);
    assert_span_equal(wr_span(&w), hex(HEADER "0000001c"));
}

static const struct ike_header blank = {
    .spi_i = UINT64_C(0x0102030405060708),
    .spi_r = UINT64_C(0x1112131415161718),
    .next = PAYLOAD_EAP, /* ignored by the writer, as is the length */
    .version = IKE_VERSION,
    .exchange = IKE_SA_INIT,
    .flags = IKE_FLAG_INITIATOR,
    .mid = 7,
    .length = 12345,
};

static void writer_chains_payloads(void **state)
{
    (void)state;
    uint8_t b[128];
    struct ike_writer iw;
    struct span s;
    ike_write_message(&iw, wr_of(b, sizeof b), &blank);
    ike_write_ke(&iw, 20, hex("aabb"));
    ike_write_nonce(&iw, hex("00112233445566778899aabbccddeeff"));
    OK(ike_write_finish(&iw, &s));
    assert_span_equal(s, hex("0102030405060708 1112131415161718 22 20 22 08 00000007 0000003a"
                             "28 00 000a 0014 0000 aabb"
                             "00 00 0014 00112233445566778899aabbccddeeff"));
    assert_int_equal(ike_write_first(&iw), PAYLOAD_KE);
}

static void writer_of_an_empty_message(void **state)
{
    (void)state;
    uint8_t b[IKE_HEADER_SIZE];
    struct ike_writer iw;
    struct span s;
    ike_write_message(&iw, wr_of(b, sizeof b), &blank);
    OK(ike_write_finish(&iw, &s));
    assert_span_equal(s, hex("0102030405060708 1112131415161718 00 20 22 08 00000007 0000001c"));
}

static void writer_behind_other_octets(void **state)
{
    (void)state;
    uint8_t b[64];
    struct ike_writer iw;
    struct span s;
    struct wr w = wr_of(b, sizeof b);
    wr_u32(&w, 0); /* say, the marker of port 4500: in no length */
    ike_write_message(&iw, w, &blank);
    ike_write_nonce(&iw, hex("aa"));
    OK(ike_write_finish(&iw, &s));
    assert_ptr_equal(s.p, b + 4);
    assert_span_equal(s, hex("0102030405060708 1112131415161718 28 20 22 08 00000007 00000021 00 00 0005 aa"));
}

static void inner_writer_tells_the_first_type(void **state)
{
    (void)state;
    uint8_t b[64];
    struct ike_writer iw;
    struct span s;
    ike_write_inner(&iw, wr_of(b, sizeof b));
    assert_int_equal(ike_write_first(&iw), PAYLOAD_NONE);
    ike_write_delete_ike(&iw);
    ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_INITIAL_CONTACT, span_of(NULL, 0));
    OK(ike_write_finish(&iw, &s));
    assert_int_equal(ike_write_first(&iw), PAYLOAD_DELETE);
    assert_span_equal(s, hex("29 00 0008 01 00 0000 | 00 00 0008 00 00 4000"));

    ike_write_inner(&iw, wr_of(b, sizeof b));
    OK(ike_write_finish(&iw, &s));
    assert_int_equal(s.n, 0);
}

static void writer_that_does_not_fit_says_so(void **state)
{
    (void)state;
    uint8_t b[128];
    struct ike_writer iw;
    struct span s = {NULL, 77};
    for (size_t room = 0; room < IKE_HEADER_SIZE + 20; room++) {
        ike_write_message(&iw, wr_of(b, room), &blank);
        ike_write_nonce(&iw, hex("00112233445566778899aabbccddeeff"));
        assert_int_equal(ike_write_finish(&iw, &s), RC_LIMIT);
    }
    assert_int_equal(s.n, 77);
}

static void payload_over_64k_is_refused(void **state)
{
    (void)state;
    static uint8_t b[70000], data[66000];
    struct ike_writer iw;
    struct span s;
    ike_write_inner(&iw, wr_of(b, sizeof b));
    ike_write_ke(&iw, 1, span_of(data, 65535 - 8));
    OK(ike_write_finish(&iw, &s));
    ike_write_inner(&iw, wr_of(b, sizeof b));
    ike_write_ke(&iw, 1, span_of(data, 65536 - 8));
    assert_int_equal(ike_write_finish(&iw, &s), RC_LIMIT);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(ike_exchange_name(IKE_INTERMEDIATE), "IKE_INTERMEDIATE");
    assert_string_equal(ike_exchange_name(0), "?");
    assert_string_equal(ike_payload_name(PAYLOAD_IDI), "IDi");
    assert_string_equal(ike_payload_name(49), "?");
    assert_string_equal(ike_notify_name(14), "NO_PROPOSAL_CHOSEN");
    assert_string_equal(ike_notify_name(16441), "ADDITIONAL_KEY_EXCHANGE");
    assert_string_equal(ike_notify_name(40000), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(header_is_read_field_by_field),
        TEST(header_under_28_octets_is_short),
        TEST(header_does_not_judge_values),
        TEST(header_round_trip),
        TEST(writer_chains_payloads),
        TEST(writer_of_an_empty_message),
        TEST(writer_behind_other_octets),
        TEST(inner_writer_tells_the_first_type),
        TEST(writer_that_does_not_fit_says_so),
        TEST(payload_over_64k_is_refused),
        TEST(names),
    };
    return cmocka_run_group_tests_name("wire_ike_message", tests, NULL, NULL);
}
