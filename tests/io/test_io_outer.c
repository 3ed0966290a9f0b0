/* Port 4500 through the real kernel, over the loopback device of a network namespace of the test's own: runs of packets, coalesced
 * datagrams, IKE beside ESP; RFC 3948 2.2, 2.3. */
#include "unit/lib/unit.h"

#include "io/outer.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HERE "127.0.0.1"
#define THERE "127.0.0.2"
#define GOT_MAX 512
#define PATIENCE (5 * NS_PER_S)

struct place {
    struct pkt_pool *pool;
    struct io_loop *loop;
    struct io_outer *outer;
    uint64_t until;
    size_t wanted;    /* packets and datagrams; then the loop ends */
    uint32_t longest; /* coalesced datagram: its segments */
    struct got {
        struct pkt_outer outer;
        size_t n;
        uint8_t first[8], last;
        bool ike;
    } got[GOT_MAX];
    size_t n;
};

/* ---- a namespace, sockets, a loop */

static void set_loopback(bool mtu, int value)
{
    struct ifreq r = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (mtu)
        r.ifr_mtu = value;
    else
        r.ifr_flags = (short)value;
    assert_int_equal(ioctl(fd, mtu ? SIOCSIFMTU : SIOCSIFFLAGS, &r), 0);
    close(fd);
}

static int namespace_enter(void **state)
{
    static bool may;
    may = unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
    if (may)
        set_loopback(false, IFF_UP | IFF_RUNNING);
    *state = may ? &may : NULL;
    return 0;
}

static struct got *note(struct place *p, const uint8_t *octets, size_t n)
{
    struct got *g = &p->got[p->n++ % GOT_MAX];
    *g = (struct got){.n = n};
    memcpy(g->first, octets, n < sizeof g->first ? n : sizeof g->first);
    g->last = n ? octets[n - 1] : 0;
    return g;
}

static void on_packets(void *ctx, struct pkt **v, size_t n)
{
    struct place *p = ctx;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(v[i]->from, PKT_FROM_NATT);
        assert_true(pkt_headroom(v[i]) >= PKT_HEADROOM);
        note(p, v[i]->data, v[i]->len)->outer = v[i]->outer;
        memset(v[i]->data, 0xee, v[i]->len); /* as decryption in place would */
        pkt_put(p->pool, v[i]);
    }
}

static void on_datagram(void *ctx, const struct path *path, struct span datagram)
{
    struct got *g = note(ctx, datagram.p, datagram.n);
    g->ike = true;
    g->outer.sport = path->remote.port;
}

static uint64_t on_round(void *ctx, uint64_t now)
{
    struct place *p = ctx;
    for (unsigned family = 0; family < OUTER_FAMILIES; family++)
        if (p->outer->sockets[OUTER_NATT][family].run_length > p->longest)
            p->longest = p->outer->sockets[OUTER_NATT][family].run_length;
    if (p->n >= p->wanted || now >= p->until)
        io_loop_stop(p->loop);
    return p->until;
}

static int place_open(void **state)
{
    static struct place p;
    static struct addr endpoints[3];
    if (!*state)
        return 0; /* the test says so */
    p = (struct place){0};
    assert_true(addr_parse(HERE, &endpoints[0]) == RC_OK);
    assert_true(addr_parse(THERE, &endpoints[1]) == RC_OK);
    assert_true(addr_parse("::1", &endpoints[2]) == RC_OK);
    const struct io_loop_hooks hooks = {.round = on_round, .ctx = &p};
    struct io_outer_config config = {.want = {.endpoints = endpoints, .n_endpoints = 3, .ipsec = true},
                                     .packets = on_packets,
                                     .datagram = on_datagram,
                                     .ctx = &p};
    struct io_error e = {""};
    OK(pkt_pool_new(1024, 64, &p.pool));
    OK(io_loop_new(&hooks, &p.loop, NULL));
    config.pool = p.pool;
    if (io_outer_open(p.loop, &config, &p.outer, &e) != RC_OK)
        fail_msg("%s", e.text);
    *state = &p;
    return 0;
}

static int place_close(void **state)
{
    struct place *p = *state;
    if (!p)
        return 0;
    io_outer_close(p->outer);
    io_loop_free(p->loop);
    assert_int_equal(pkt_pool_available(p->pool, false), 1024);
    assert_int_equal(pkt_pool_available(p->pool, true), 64);
    pkt_pool_free(p->pool);
    set_loopback(true, 65536);
    return 0;
}

/* Root, or a user who may make namespaces. */
static struct place *here(void **state)
{
    if (!*state)
        skip();
    return *state;
}

static void run(struct place *p, size_t wanted)
{
    p->wanted = p->n + wanted;
    p->until = io_clock_now() + PATIENCE;
    OK(io_loop_run(p->loop, NULL));
}

/* ---- packets */

static struct pkt *esp(struct place *p, const char *from, const char *to, size_t n, uint32_t number)
{
    struct pkt *k = pkt_get(p->pool, n > PKT_SMALL);
    assert_non_null(k);
    struct wr w = wr_of(k->data, n);
    wr_u32(&w, 0x1000);
    wr_u32(&w, number);
    memset(k->data + 8, (int)(number & 0xff), n - 8);
    k->len = (uint32_t)n;
    k->verdict = PKT_TO_NATT;
    k->outer = (struct pkt_outer){.dport = 4500, .df = true};
    OK(addr_parse(from, &k->outer.src));
    OK(addr_parse(to, &k->outer.dst));
    return k;
}

static size_t send_all(struct place *p, struct pkt **v, size_t n)
{
    size_t refused = io_outer_send(p->outer, v, n);
    for (size_t i = 0; i < n; i++)
        pkt_put(p->pool, v[i]);
    return refused;
}

static void assert_got(const struct got *g, size_t n, uint32_t number, uint8_t tos)
{
    uint8_t first[8];
    struct wr w = wr_of(first, sizeof first);
    wr_u32(&w, 0x1000);
    wr_u32(&w, number);
    assert_false(g->ike);
    assert_int_equal(g->n, n);
    assert_memory_equal(g->first, first, sizeof first);
    assert_int_equal(g->last, number & 0xff);
    assert_int_equal(g->outer.tos, tos);
    assert_int_equal(g->outer.ttl, 64);
    assert_int_equal(g->outer.sport, 4500);
    assert_int_equal(g->outer.dport, 4500);
}

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
