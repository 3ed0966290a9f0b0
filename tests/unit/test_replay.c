/* Captures between two strongSwan daemons, replayed: every value the initiator logged comes out of our codec, key
 * schedule and ciphers. And the replay itself: it notices what differs, and says what it misses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "adit/base.h"
#include "lib/replay.h"

#define CAPTURES "tests/vectors/capture"

/* The numbers are of packets in the capture, known beforehand: a replay that skipped some would pass no checks. */
static void replayed(const char *name, size_t ike, size_t esp, size_t checks)
{
    struct replay_result ret = {0};
    replay_scenario(CAPTURES, name, NULL, &ret);
    assert_int_equal(ret.failed, 0);
    assert_int_equal(ret.ike_packets, ike);
    assert_int_equal(ret.esp_packets, esp);
    assert_int_equal(ret.passed, checks);
}

static void s1_hybrid_with_followup_rekeys(void **state)
{
    (void)state;
    replayed("s1", 21, 14, 309);
}

static void s3_modp2048_after_invalid_ke_and_cbc(void **state)
{
    (void)state;
    replayed("s3", 12, 14, 233);
}

static void s4_modp1536_and_null_encryption(void **state)
{
    (void)state;
    replayed("s4", 12, 14, 221);
}

static void e1_wrong_psk_is_refused(void **state)
{
    (void)state;
    replayed("e1", 5, 0, 114);
}

static void e3_no_proposal_chosen_in_the_clear(void **state)
{
    (void)state;
    replayed("e3", 0, 0, 29);
}

/* ---- the replay fails where it should */

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/adit-replay.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const files[] = {"x.pcap", "x.keys.json", "x.esp_keys.json"};
    char path[128];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir);
}

/* Copies a file of s1, one octet changed (at < 0: none). */
static size_t copy(const char *suffix, long at)
{
    static uint8_t b[1 << 16];
    char path[128];
    snprintf(path, sizeof path, CAPTURES "/s1.%s", suffix);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(b, 1, sizeof b, f);
    fclose(f);
    if (at >= 0)
        b[at] ^= 1;
    snprintf(path, sizeof path, "%s/x.%s", dir, suffix);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b, 1, n, f), n);
    fclose(f);
    return n;
}

static size_t failures(void)
{
    struct replay_result ret = {0};
    replay_folder(dir, NULL, &ret);
    return ret.failed;
}

static void any_changed_octet_is_noticed(void **state)
{
    (void)state;
    size_t n = copy("pcap", -1), tried = 0;
    copy("keys.json", -1);
    copy("esp_keys.json", -1);
    assert_int_equal(failures(), 0);
    /* packet by packet: an octet in the middle of each UDP payload */
    static uint8_t b[1 << 16];
    FILE *f = fopen(CAPTURES "/s1.pcap", "rb");
    assert_non_null(f);
    assert_int_equal(fread(b, 1, sizeof b, f), n);
    fclose(f);
    for (size_t at = 24; at < n; tried++) {
        size_t length = (size_t)b[at + 8] | (size_t)b[at + 9] << 8;
        copy("pcap", (long)(at + 16 + 42 + (length - 42) / 2));
        assert_true(failures() > 0);
        at += 16 + length;
    }
    assert_int_equal(tried, 37);
}

static void a_changed_log_is_noticed(void **state)
{
    (void)state;
    copy("pcap", -1);
    copy("keys.json", -1);
    size_t n = copy("esp_keys.json", -1);
    assert_int_equal(failures(), 0);
    /* a digit of a key: the file's last hexadecimal one */
    char path[128], text[4096] = {0};
    snprintf(path, sizeof path, "%s/x.esp_keys.json", dir);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof text - 1, f), n);
    char *key = strstr(text, "\"enc_key\": \"");
    assert_non_null(key);
    fseek(f, key + 12 - text, SEEK_SET);
    fputc(key[12] == '0' ? '1' : '0', f);
    fclose(f);
    assert_int_equal(failures(), 1);
}

static void without_esp_keys_it_still_runs(void **state)
{
    (void)state;
    copy("pcap", -1);
    copy("keys.json", -1);
    assert_int_equal(failures(), 0);
}

static void a_missing_log_is_an_error(void **state)
{
    (void)state;
    copy("pcap", -1);
    assert_int_equal(failures(), 1);
}

static void an_empty_folder_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(failures(), 1);
}

static void what_is_no_capture_is_an_error(void **state)
{
    (void)state;
    copy("keys.json", -1);
    copy("pcap", 0); /* the magic number */
    assert_int_equal(failures(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s1_hybrid_with_followup_rekeys),
        cmocka_unit_test(s3_modp2048_after_invalid_ke_and_cbc),
        cmocka_unit_test(s4_modp1536_and_null_encryption),
        cmocka_unit_test(e1_wrong_psk_is_refused),
        cmocka_unit_test(e3_no_proposal_chosen_in_the_clear),
        cmocka_unit_test_setup_teardown(any_changed_octet_is_noticed, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_changed_log_is_noticed, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(without_esp_keys_it_still_runs, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_missing_log_is_an_error, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(an_empty_folder_is_an_error, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_is_no_capture_is_an_error, make_dir, remove_dir),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
