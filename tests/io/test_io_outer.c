/* Port 4500 through the real kernel, over the loopback device: runs of packets, coalesced datagrams, IKE beside ESP;
 * RFC 3948 2.2, 2.3. */
#include "io/lib/place.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
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
    } rows[] = {{40, 1400, 0}, {1, 600, 0}, {3, 1400, 2}, {2, 1400, 3}, {1, 90, 3},
                {2, 80, 3},    {6, 200, 0}, {2, 201, 0},  {1, 1400, 0}};
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
            /* nobody fragments IPv6; of UDP over IPv4 it is not told */
            assert_int_equal(p->got[first].outer.df, family);
        }
    assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_RECEIVED), p->n);
}

/* What is one size but not one header is not one run, and each packet has its own. */
static void neighbours_with_different_headers(void **state)
{
    struct place *p = here(state);
    struct pkt *v[12];
    static const uint8_t ttl[] = {0, 9, 9, 200};
    for (uint32_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = esp(p, i < 3 ? THERE : HERE, i % 2 || i > 5 ? THERE : HERE, 500, i);
        v[i]->outer.ttl = ttl[i / 3];
    }
    assert_int_equal(send_all(p, v, ARRAY_LEN(v)), 0);
    run(p, ARRAY_LEN(v));
    assert_int_equal(p->n, ARRAY_LEN(v));
    for (uint32_t i = 0; i < ARRAY_LEN(v); i++) {
        const struct pkt_outer *outer = &p->got[i].outer;
        struct addr src, dst;
        OK(addr_parse(i < 3 ? THERE : HERE, &src));
        OK(addr_parse(i % 2 || i > 5 ? THERE : HERE, &dst));
        assert_int_equal(p->got[i].last, i);
        assert_true(addr_equal(&outer->src, &src) && addr_equal(&outer->dst, &dst));
        assert_int_equal(outer->ttl, ttl[i / 3] ? ttl[i / 3] : 64);
    }
}

/* More than one IP packet holds: two runs, none that the kernel refuses. */
static void a_run_is_no_longer_than_a_packet_can_be(void **state)
{
    struct place *p = here(state);
    struct pkt *v[60];
    for (uint32_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = esp(p, HERE, THERE, 1400, i);
    assert_int_equal(send_all(p, v, ARRAY_LEN(v)), 0);
    run(p, ARRAY_LEN(v));
    assert_int_equal(p->n, ARRAY_LEN(v));
    for (uint32_t i = 0; i < ARRAY_LEN(v); i++)
        assert_got(&p->got[i], 1400, i, 0);
    assert_int_equal(p->longest, 65000 / 1400);
}

/* ---- options of the sockets */

static int option(const struct place *p, enum outer_kind kind, unsigned family, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(getsockopt(p->outer->sockets[kind][family].watch.fd, level, name, &value, &size), 0);
    return value;
}

/* DF is as the packet has it, and what ICMP told the kernel of a path, forged or not, decides nothing. */
static void path_mtu_is_not_the_kernels_business(void **state)
{
    struct place *p = here(state);
    struct path path = {.local.port = 4500, .remote.port = 4500};
    for (unsigned v6 = 0; v6 < 2; v6++) {
        const char *from = v6 ? "::1" : HERE, *to = v6 ? "::1" : THERE;
        int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, name = v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER;
        for (unsigned df = 0; df < 2; df++) {
            struct pkt *k = esp(p, from, to, 100, df);
            k->outer.df = df;
            assert_int_equal(send_all(p, &k, 1), 0);
            assert_int_equal(option(p, OUTER_NATT, v6, level, name),
                             v6 ? (df ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_OMIT)
                                : (df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_OMIT));
        }
        OK(addr_parse(from, &path.local.addr));
        OK(addr_parse(to, &path.remote.addr));
        io_outer_send_datagram(p->outer, &path, true, hex("0102030405060708"));
        assert_int_equal(option(p, OUTER_NATT_IKE, v6, level, name), v6 ? IPV6_PMTUDISC_OMIT : IP_PMTUDISC_OMIT);
        run(p, 3);
    }
}

static void icmp_wakes_for_paths_alone(void **state)
{
    struct place *p = here(state);
    struct icmp6_filter v6;
    socklen_t size = sizeof v6;
    for (unsigned type = 0; type < 19; type++)
        assert_int_equal(~option(p, OUTER_ICMP, OUTER_V4, SOL_RAW, ICMP_FILTER) >> type & 1,
                         type == 3 || type == 11 || type == 12); /* RFC 792 */
    assert_int_equal(
        getsockopt(p->outer->sockets[OUTER_ICMP][OUTER_V6].watch.fd, IPPROTO_ICMPV6, ICMPV6_FILTER, &v6, &size), 0);
    for (unsigned type = 0; type < 256; type++)
        assert_int_equal(~v6.data[type / 32] >> type % 32 & 1, type >= 1 && type <= 4); /* RFC 4443 */
}

static void every_socket_is_marked(void **state)
{
    if (!*state)
        skip();
    static struct place p;
    const struct io_outer_config how = {.want = {.gre = true, .ipsec = true}, .mark = 77};
    descriptors_note();
    place_start(&p, (const char *const[]){HERE, "::1"}, 2, &how);
    for (unsigned kind = 0; kind < OUTER_KINDS; kind++)
        for (unsigned family = 0; family < OUTER_FAMILIES && p.outer->sockets[kind][0].watch.fd >= 0; family++) {
            assert_int_equal(option(&p, (enum outer_kind)kind, family, SOL_SOCKET, SO_MARK), 77);
            assert_true(option(&p, (enum outer_kind)kind, family, SOL_SOCKET, SO_RCVBUF) >= 1 << 20);
        }
    place_end(&p);
    descriptors_check();
}

/* ---- what goes wrong */

static void a_port_that_another_has(void **state)
{
    struct place *p = here(state);
    struct io_outer *second = NULL;
    struct io_outer_config config = {.want = p->outer->config.want, .pool = p->pool};
    struct io_error e = {""};
    assert_int_equal(io_outer_open(p->loop, &config, &second, &e), RC_EXISTS);
    assert_non_null(strstr(e.text, "UDP port 500 is in use by another program"));
    assert_null(second);
}

/* Lost, counted, and out of the socket. */
static void no_buffer_is_free(void **state)
{
    struct place *p = here(state);
    static struct pkt *all[1024 + 64];
    struct pkt *v[3];
    size_t n = 0;
    for (uint32_t i = 0; i < 3; i++)
        v[i] = esp(p, HERE, THERE, 100 + i, i);
    assert_int_equal(send_all(p, v, 3), 0);
    for (unsigned large = 0; large < 2; large++)
        for (struct pkt *k; (k = pkt_get(p->pool, large));)
            all[n++] = k;
    p->wanted = SIZE_MAX;
    p->until = io_clock_now() + 50 * NS_PER_MS;
    p->rounds = 0;
    OK(io_loop_run(p->loop, NULL));
    assert_int_equal(p->n, 0);
    assert_in_range(p->rounds, 1, 100);
    assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_DROP_POOL), 3);
    while (n)
        pkt_put(p->pool, all[--n]);
    v[0] = esp(p, HERE, THERE, 100, 7);
    assert_int_equal(send_all(p, v, 1), 0);
    run(p, 1);
    assert_int_equal(p->n, 1);
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

/* Behind a NAT the peer's port is any; ours stays. */
static void ike_to_any_port_comes_from_ours(void **state)
{
    struct place *p = here(state);
    int fd = stranger(0); /* connected: it hears 127.0.0.2:4500 alone */
    struct sockaddr_in self;
    socklen_t size = sizeof self;
    char got[16];
    assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &size), 0);
    struct path path = {.local.port = 4500, .remote.port = ntohs(self.sin_port)};
    OK(addr_parse(THERE, &path.local.addr));
    OK(addr_parse(HERE, &path.remote.addr));
    io_outer_send_datagram(p->outer, &path, true, hex("0102030405060708"));
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 12);
    close(fd);
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
    const struct CMUnitTest tests[] = {T(runs_keep_every_packet),
                                       T(run_larger_than_the_mtu),
                                       T(jumbo_packets),
                                       T(ike_does_not_wait_behind_esp),
                                       T(runs_of_both_kinds),
                                       T(what_is_neither),
                                       T(neighbours_with_different_headers),
                                       T(a_run_is_no_longer_than_a_packet_can_be),
                                       T(path_mtu_is_not_the_kernels_business),
                                       T(icmp_wakes_for_paths_alone),
                                       TEST(every_socket_is_marked),
                                       T(a_port_that_another_has),
                                       T(no_buffer_is_free),
                                       T(ike_to_any_port_comes_from_ours)};
    return cmocka_run_group_tests_name("io_outer", tests, namespace_enter, NULL);
}
