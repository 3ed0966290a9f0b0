/* See place.h. */
#include "place.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a namespace, sockets, a loop */

void set_loopback(bool mtu, int value)
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

int namespace_enter(void **state)
{
    static bool may;
    may = unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
    if (may)
        set_loopback(false, IFF_UP | IFF_RUNNING);
    *state = may ? &may : NULL;
    return 0;
}

static size_t noted;

static size_t descriptors_open_now(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

void descriptors_note(void)
{
    noted = descriptors_open_now();
}

void descriptors_check(void)
{
    assert_int_equal(descriptors_open_now(), noted);
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
        assert_true(pkt_headroom(v[i]) >= PKT_HEADROOM);
        struct got *g = note(p, v[i]->data, v[i]->len);
        g->outer = v[i]->outer;
        g->from = v[i]->from;
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
    p->rounds++;
    for (unsigned family = 0; family < OUTER_FAMILIES; family++)
        if (p->outer->sockets[OUTER_NATT][family].run_length > p->longest)
            p->longest = p->outer->sockets[OUTER_NATT][family].run_length;
    if (p->n >= p->wanted || now >= p->until)
        io_loop_stop(p->loop);
    return p->until;
}

void place_start(struct place *p, const char *const *endpoints, size_t n, const struct io_outer_config *how)
{
    struct addr addresses[4];
    *p = (struct place){0};
    for (size_t i = 0; i < n; i++)
        OK(addr_parse(endpoints[i], &addresses[i]));
    const struct io_loop_hooks hooks = {.round = on_round, .ctx = p};
    struct io_outer_config config = *how;
    config.want.endpoints = addresses;
    config.want.n_endpoints = n;
    config.packets = on_packets;
    config.datagram = on_datagram;
    config.ctx = p;
    struct io_error e = {""};
    OK(pkt_pool_new(1024, 64, &p->pool));
    OK(io_loop_new(&hooks, &p->loop, NULL));
    config.pool = p->pool;
    if (io_outer_open(p->loop, &config, &p->outer, &e) != RC_OK)
        fail_msg("%s", e.text);
}

void place_end(struct place *p)
{
    io_outer_close(p->outer);
    io_loop_free(p->loop);
    assert_int_equal(pkt_pool_available(p->pool, false), 1024);
    assert_int_equal(pkt_pool_available(p->pool, true), 64);
    pkt_pool_free(p->pool);
}

int place_open(void **state)
{
    static struct place p;
    if (!*state)
        return 0; /* the test says so */
    descriptors_note();
    place_start(&p, (const char *const[]){HERE, THERE, "::1"}, 3, &(struct io_outer_config){.want.ipsec = true});
    *state = &p;
    return 0;
}

int place_close(void **state)
{
    if (!*state)
        return 0;
    place_end(*state);
    descriptors_check();
    set_loopback(true, 65536);
    return 0;
}

/* Root, or a user who may make namespaces. */
struct place *here(void **state)
{
    if (!*state)
        skip();
    return *state;
}

void run(struct place *p, size_t wanted)
{
    p->wanted = p->n + wanted;
    p->until = io_clock_now() + PATIENCE;
    OK(io_loop_run(p->loop, NULL));
}

/* ---- packets */

struct pkt *esp(struct place *p, const char *from, const char *to, size_t n, uint32_t number)
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

size_t send_all(struct place *p, struct pkt **v, size_t n)
{
    size_t refused = io_outer_send(p->outer, v, n);
    for (size_t i = 0; i < n; i++)
        pkt_put(p->pool, v[i]);
    return refused;
}

void assert_got(const struct got *g, size_t n, uint32_t number, uint8_t tos)
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
    assert_int_equal(g->outer.sport, g->from == PKT_FROM_NATT ? 4500 : 0);
    assert_int_equal(g->outer.dport, g->outer.sport);
}
