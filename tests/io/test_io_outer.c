/* Port 4500 through the real kernel, over the loopback device: runs of packets, coalesced datagrams, IKE beside ESP;
 * RFC 3948 2.2, 2.3. */
#include "io/lib/place.h"

#include <sys/socket.h>
#include <unistd.h>

/* ---- tests */

/* Sizes and traffic classes that begin and end runs; three times, as the buffers are laid out by what came before. */
static void runs_keep_every_packet(void **state)
{
    struct place *p = here(state);
    const char *const ends[2][2] = {{HERE, THERE}, {"::1", "::1"}};
    static const struct {
        size_t n, size;
        uint8_t tos;
    } rows[] = {{40, 1400, 0}, {1, 600, 0}, {3, 1400, 2}, {2, 1400, 3},
                {1, 90, 3},    {6, 200, 0}, {2, 201, 0},  {1, 1400, 0}};
    for (unsigned family = 0; family < 2; family++)
        for (uint32_t round = 0; round < 3; round++) {
            struct pkt *v[64];
            size_t n = 0, first = p->n;
            p->longest = 0;
            for (size_t r = 0; r < ARRAY_LEN(rows); r++)
                for (size_t i = 0; i < rows[r].n; i++) {
                    v[n] = esp(p, ends[family][0], ends[family][1], rows[r].size, round * 100 + (uint32_t)n);
                    v[n++]->outer.tos = rows[r].tos;
                }
            assert_int_equal(send_all(p, v, n), 0);
            run(p, n);
            assert_int_equal(p->n - first, n);
            n = 0;
            for (size_t r = 0; r < ARRAY_LEN(rows); r++)
                for (size_t i = 0; i < rows[r].n; i++, n++)
                    assert_got(&p->got[first + n], rows[r].size, round * 100 + (uint32_t)n, rows[r].tos);
            assert_int_equal(p->longest, 41); /* it went as one, and came as one */
        }
}

/* Where a run does not go out as such, its packets do. */
static void run_larger_than_the_mtu(void **state)
{
    struct place *p = here(state);
    struct pkt *v[10];
    for (uint32_t df = 0; df < 2; df++) {
        for (uint32_t i = 0; i < 10; i++) {
            v[i] = esp(p, HERE, THERE, 1400, i);
            v[i]->outer.df = df;
        }
        set_loopback(true, 1300);
        assert_int_equal(send_all(p, v, 10), df ? 10 : 0);
        set_loopback(true, 65536);
    }
    run(p, 10);
    assert_int_equal(p->n, 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_got(&p->got[i], 1400, i, 0);
    assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_SEND_TOO_BIG), 10);
    assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_SENT), 10);
}

/* Larger than an ordinary buffer, alone and in a run. */
static void jumbo_packets(void **state)
{
    struct place *p = here(state);
    struct pkt *v[7];
    for (uint32_t i = 0; i < 7; i++)
        v[i] = esp(p, HERE, THERE, i < 6 ? 8900 : 40000, i);
    assert_int_equal(send_all(p, v, 7), 0);
    run(p, 7);
    assert_int_equal(p->n, 7);
    for (uint32_t i = 0; i < 7; i++)
        assert_got(&p->got[i], i < 6 ? 8900 : 40000, i, 0);
}

/* More ESP than its socket can hold, nothing of it read: IKE arrives all the same, and is first. */
static void ike_does_not_wait_behind_esp(void **state)
{
    struct place *p = here(state);
    uint64_t sent = 0;
    for (uint32_t round = 0; round < 1500; round++) {
        struct pkt *v[64];
        for (uint32_t i = 0; i < 64; i++) {
            v[i] = esp(p, HERE, THERE, 1000 + i, i); /* no two alike: no runs */
            v[i]->outer.tos = (uint8_t)(4 * (i % 2));
        }
        sent += 64 - send_all(p, v, 64);
    }
    struct path path = {.local.port = 4500, .remote.port = 4500};
    OK(addr_parse(HERE, &path.local.addr));
    OK(addr_parse(THERE, &path.remote.addr));
    io_outer_send_datagram(p->outer, &path, true, hex("0102030405060708"));
    run(p, 1);
    assert_true(p->n > 0);
    assert_true(p->got[0].ike);
    assert_span_equal(span_of(p->got[0].first, p->got[0].n), hex("0102030405060708"));
    p->wanted = SIZE_MAX;
    p->until = io_clock_now() + NS_PER_S / 2;
    OK(io_loop_run(p->loop, NULL));
    assert_true(io_outer_count(p->outer, IO_OUTER_COUNT_RECEIVED) < sent); /* it did overflow */
}

static int stranger(size_t segment)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(4500), .sin_addr.s_addr = htonl(0x7f000002)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = (int)segment;
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    if (segment)
        assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size), 0);
    return fd;
}

/* The kernel coalesces by size and ports alone, so one run may hold both kinds, whichever comes first. */
static void runs_of_both_kinds(void **state)
{
    struct place *p = here(state);
    int fd = stranger(12);
    struct span esp_first = hex("00001000 00000001 aaaaaaaa  00000000 11111111 bbbbbbbb  00001000 00000002 cccccccc");
    struct span ike_first = hex("00000000 22222222 dddddddd  00001000 00000003 eeeeeeee  00001000 00000004 ffff");
    assert_int_equal(send(fd, esp_first.p, esp_first.n, 0), 36);
    run(p, 3);
    assert_int_equal(send(fd, ike_first.p, ike_first.n, 0), 34);
    run(p, 3);
    close(fd);
    static const char *const octets[2][3] = {{"11111111bbbbbbbb", "0000100000000001", "0000100000000002"},
                                             {"22222222dddddddd", "0000100000000003", "0000100000000004"}};
    assert_int_equal(p->n, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(p->got[i].ike, i % 3 == 0);
        assert_span_equal(span_of(p->got[i].first, 8), hex(octets[i / 3][i % 3]));
        assert_int_equal(p->got[i].n, i % 3 == 0 ? 8 : i == 5 ? 10 : 12);
    }
}

static void what_is_neither(void **state)
{
    struct place *p = here(state);
    int fd = stranger(0);
    assert_int_equal(send(fd, "\xff", 1, 0), 1);
    assert_int_equal(send(fd, "\xfe", 1, 0), 1);
    assert_int_equal(send(fd, "", 0, 0), 0);
    assert_int_equal(send(fd, "\0\0\0", 3, 0), 3);
    assert_int_equal(send(fd, "\0\0\0\0", 4, 0), 4); /* an empty IKE message: the engine's to refuse */
    run(p, 1);
    close(fd);
    assert_int_equal(p->n, 1);
    assert_true(p->got[0].ike);
    assert_int_equal(p->got[0].n, 0);
    assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_KEEPALIVE), 1);
    assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_DROP_SHORT), 3);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, place_open, place_close)
    const struct CMUnitTest tests[] = {T(runs_keep_every_packet),       T(run_larger_than_the_mtu), T(jumbo_packets),
                                       T(ike_does_not_wait_behind_esp), T(runs_of_both_kinds),      T(what_is_neither)};
    return cmocka_run_group_tests_name("io_outer", tests, namespace_enter, NULL);
}
