/* Bounded reader and writer, owned bytes, names of result codes. */
#include "lib/unit.h"

static void reader_takes_integers_in_network_order(void **state)
{
    (void)state;
    struct rd r = rd_of(hex("01 0203 04050607 08090a0b0c0d0e0f"));
    assert_int_equal(rd_u8(&r), 0x01);
    assert_int_equal(rd_u16(&r), 0x0203);
    assert_int_equal(rd_u32(&r), 0x04050607);
    assert_int_equal(rd_offset(&r), 7);
    assert_true(rd_u64(&r) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_true(rd_done(&r));
}

static void reader_error_sticks(void **state)
{
    (void)state;
    struct rd r = rd_of(hex("0102"));
    assert_int_equal(rd_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(rd_u8(&r), 0); /* there would have been an octet */
    assert_false(rd_done(&r));
    assert_null(rd_take(&r, 1).p);
    assert_int_equal(rd_rest(&r).n, 0);
}

static void reader_of_nothing(void **state)
{
    (void)state;
    struct rd r = rd_of(span_of(NULL, 0));
    assert_true(rd_done(&r));
    assert_int_equal(rd_rest(&r).n, 0);
    assert_true(rd_done(&r));
    assert_int_equal(rd_u8(&r), 0);
    assert_false(rd_done(&r));
}

static void sub_reader_is_bounded(void **state)
{
    (void)state;
    struct rd r = rd_of(hex("aabbccdd"));
    struct rd sub = rd_sub(&r, 2);
    assert_int_equal(rd_u16(&sub), 0xaabb);
    assert_true(rd_done(&sub));
    assert_int_equal(rd_u8(&sub), 0);
    assert_true(sub.failed);
    assert_false(r.failed);
    assert_int_equal(rd_left(&r), 2);
}

static void sub_reader_that_is_too_long_fails_both(void **state)
{
    (void)state;
    struct rd r = rd_of(hex("aabb"));
    struct rd sub = rd_sub(&r, 3);
    assert_true(sub.failed);
    assert_true(r.failed);
    r = rd_of(hex("aabb"));
    sub = rd_sub(&r, SIZE_MAX); /* no wrap-around */
    assert_true(sub.failed);
}

static void writer_writes_and_patches(void **state)
{
    (void)state;
    uint8_t b[32];
    struct wr w = wr_of(b, sizeof b);
    wr_u16(&w, 0);
    wr_u8(&w, 0x11);
    wr_u32(&w, 0);
    wr_u64(&w, UINT64_C(0x0102030405060708));
    wr_bytes(&w, hex("cafe"));
    assert_memory_equal(wr_reserve(&w, 2), "\0\0", 2);
    wr_patch_u16(&w, 0, (uint16_t)wr_len(&w));
    wr_patch_u32(&w, 3, 0xdeadbeef);
    wr_patch_u8(&w, 2, 0x12);
    assert_false(w.failed);
    assert_span_equal(wr_span(&w), hex("0013 12 deadbeef 0102030405060708 cafe 0000"));
}

static void writer_error_sticks_and_stays_inside(void **state)
{
    (void)state;
    uint8_t b[4] = {9, 9, 9, 9};
    struct wr w = wr_of(b, 3);
    wr_u16(&w, 0x0102);
    wr_u16(&w, 0x0304);
    assert_true(w.failed);
    wr_u8(&w, 5); /* would fit */
    assert_null(wr_reserve(&w, 1));
    assert_int_equal(wr_len(&w), 2);
    assert_memory_equal(b, ((uint8_t[]){1, 2, 9, 9}), 4);
}

static void writer_refuses_patches_beyond_what_is_written(void **state)
{
    (void)state;
    uint8_t b[8];
    struct wr w = wr_of(b, sizeof b);
    wr_u16(&w, 0);
    wr_patch_u16(&w, 1, 7);
    assert_true(w.failed);
    w = wr_of(b, sizeof b);
    wr_patch_u8(&w, 0, 7);
    assert_true(w.failed);
}

static void buf_owns_a_copy(void **state)
{
    (void)state;
    struct buf b = {0};
    OK(buf_set(&b, hex("010203")));
    assert_span_equal(buf_span(&b), hex("010203"));
    OK(buf_set(&b, span_of(b.p + 1, 2))); /* from itself */
    assert_span_equal(buf_span(&b), hex("0203"));
    OK(buf_set(&b, span_of(NULL, 0)));
    assert_int_equal(b.n, 0);
    buf_free(&b);
    assert_null(b.p);
    buf_free(&b);
}

static void wipe_clears(void **state)
{
    (void)state;
    uint8_t b[3] = {1, 2, 3};
    wipe(b, 2);
    assert_memory_equal(b, ((uint8_t[]){0, 0, 3}), 3);
    wipe(NULL, 0);
}

static void every_code_has_a_name(void **state)
{
    (void)state;
    for (int i = RC_OK; i <= RC_UNSUPPORTED; i++)
        assert_string_not_equal(rc_name((enum rc)i), "?");
    assert_string_equal(rc_name((enum rc)99), "?");
}

static void spans_compare(void **state)
{
    (void)state;
    assert_true(span_equal(span_str("ab"), hex("6162")));
    assert_false(span_equal(span_str("ab"), span_str("abc")));
    assert_true(span_equal(span_of(NULL, 0), span_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reader_takes_integers_in_network_order),
        TEST(reader_error_sticks),
        TEST(reader_of_nothing),
        TEST(sub_reader_is_bounded),
        TEST(sub_reader_that_is_too_long_fails_both),
        TEST(writer_writes_and_patches),
        TEST(writer_error_sticks_and_stays_inside),
        TEST(writer_refuses_patches_beyond_what_is_written),
        TEST(buf_owns_a_copy),
        TEST(wipe_clears),
        TEST(every_code_has_a_name),
        TEST(spans_compare),
    };
    return cmocka_run_group_tests_name("base_bytes", tests, NULL, NULL);
}
