/* The sockets of several threads: which packet comes to which of them, over a cable, in both modes; and after a change too. */
#include "io/lib/cable.h"
#include "io/lib/place.h"

#include <linux/icmp.h>
#include <linux/if.h>
#include <linux/sock_diag.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS 3
#define SPI 0x1000

struct field {
    struct place near;             /* sends, and hears what comes back */
    struct place far[1 + WORKERS]; /* IKE, workers */
    int near_ns, far_ns;
};

static const char *const far_ends[] = {FAR, FAR6};

static int field_open(void **state, bool packet, const char *device)
{
    static struct field f;
    if (!*state)
        return 0;
    struct io_outer_config how = {.want = {.gre = true, .ipsec = true}};
    descriptors_note();
    cable_open(&f.near_ns, &f.far_ns);
    enter(f.near_ns);
    place_start(&f.near, (const char *const[]){NEAR, NEAR6}, 2, &how);
    enter(f.far_ns);
    how.workers = WORKERS;
    how.packet = packet;
    how.device = device;
    set_loopback(false, device ? 0 : IFF_UP); /* what only sends needs none */
    for (unsigned i = 0; i <= WORKERS; i++) {
        how.part = i ? IO_OUTER_WORKER : IO_OUTER_IKE;
        how.worker = i ? i - 1 : 0;
        how.first = i > 1 ? f.far[1].outer : NULL;
        place_start(&f.far[i], far_ends, 2, &how);
        assert_null(io_outer_trouble(f.far[i].outer));
    }
    *state = &f;
    return 0;
}

static int sockets(void **state)
{
    return field_open(state, false, NULL);
}

static int rings(void **state)
{
    return field_open(state, true, NULL);
}

static int sockets_of_a_device(void **state)
{
    return field_open(state, false, "wire");
}

static int rings_of_a_device(void **state)
{
    return field_open(state, true, "wire");
}

static int field_close(void **state)
{
    struct field *f = *state;
    if (!f)
        return 0;
    for (unsigned i = 0; i <= WORKERS; i++)
        place_end(&f->far[i]);
    place_end(&f->near);
    close(f->near_ns);
    close(f->far_ns);
    descriptors_check();
    return 0;
}

static struct field *there(void **state)
{
    if (!*state)
        skip();
    return *state;
}

/* ---- packets */

static struct pkt *packet(struct place *from, enum pkt_verdict verdict, bool back, bool v6, uint32_t spi, uint32_t n)
{
    const char *near = v6 ? NEAR6 : NEAR, *far = v6 ? FAR6 : FAR;
    struct pkt *p = esp(from, back ? far : near, back ? near : far, 100, n);
    struct wr w = wr_of(p->data, 4);
    wr_u32(&w, spi);
    p->verdict = verdict;
    p->outer.dport = verdict == PKT_TO_NATT ? 4500 : 0;
    return p;
}

static void send_one(struct field *f, enum pkt_verdict verdict, bool v6, uint32_t spi, uint32_t n)
{
    struct pkt *p = packet(&f->near, verdict, false, v6, spi, n);
    assert_int_equal(send_all(&f->near, &p, 1), 0);
}

static size_t arrived(const struct field *f)
{
    size_t n = 0;
    for (unsigned i = 0; i <= WORKERS; i++)
        n += f->far[i].n;
    return n;
}

static void listen_for(struct place *p, uint64_t ns)
{
    p->wanted = SIZE_MAX;
    p->until = io_clock_now() + ns;
    OK(io_loop_run(p->loop, NULL));
}

/* Until so many more have come to all together; then for some more time, as there must not be more. */
static void gather(struct field *f, size_t wanted)
{
    uint64_t until = io_clock_now() + PATIENCE;
    for (wanted += arrived(f); arrived(f) < wanted && io_clock_now() < until;)
        for (unsigned i = 0; i <= WORKERS; i++)
            listen_for(&f->far[i], NS_PER_MS);
    for (unsigned i = 0; i <= WORKERS; i++)
        listen_for(&f->far[i], 2 * NS_PER_MS);
    assert_int_equal(arrived(f), wanted);
}

/* What came to each since it was forgotten. */
static void forget(struct field *f)
{
    for (unsigned i = 0; i <= WORKERS; i++)
        f->far[i].n = 0;
}

static bool has_number(const struct place *p, uint32_t number)
{
    for (size_t i = 0; i < p->n; i++) {
        struct rd r = rd_of(span_of(p->got[i].first + 4, 4));
        if (rd_u32(&r) == number)
            return true;
    }
    return false;
}

/* One packet of that kind; the part it came to. */
static unsigned goes_to(struct field *f, enum pkt_verdict verdict, bool v6, uint32_t spi, uint32_t number)
{
    forget(f);
    send_one(f, verdict, v6, spi, number);
    gather(f, 1);
    unsigned part = 0;
    while (f->far[part].n == 0)
        part++;
    assert_true(has_number(&f->far[part], number));
    return part;
}

static void natt_goes_by_spi(struct field *f, bool v6)
{
    for (uint32_t i = 0; i < 2 * WORKERS; i++)
        assert_int_equal(goes_to(f, PKT_TO_NATT, v6, SPI + i, i), 1 + (SPI + i) % WORKERS);
    struct path path = {.local.port = 4500, .remote.port = 4500};
    OK(addr_parse(v6 ? NEAR6 : NEAR, &path.local.addr));
    OK(addr_parse(v6 ? FAR6 : FAR, &path.remote.addr));
    forget(f);
    io_outer_send_datagram(f->near.outer, &path, true, hex("0102030405060708"));
    path.local.port = path.remote.port = 500;
    io_outer_send_datagram(f->near.outer, &path, false, hex("1112131415161718"));
    gather(f, 2);
    assert_int_equal(f->far[0].n, 2);
    assert_true(f->far[0].got[0].ike && f->far[0].got[1].ike);
}

static uint32_t octets_waiting(int fd)
{
    uint32_t info[SK_MEMINFO_VARS];
    socklen_t size = sizeof info;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size), 0);
    return info[SK_MEMINFO_RMEM_ALLOC];
}

/* ---- tests */

static void port_4500_goes_by_spi(void **state)
{
    struct field *f = there(state);
    for (unsigned v6 = 0; v6 < 2; v6++)
        natt_goes_by_spi(f, v6);
}

/* The kernel takes neighbours of one size together, and looks at the first only. */
static void a_run_stays_together(void **state)
{
    struct field *f = there(state);
    struct pkt *v[2 * WORKERS];
    for (uint32_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = packet(&f->near, PKT_TO_NATT, false, false, SPI + i, i);
    assert_int_equal(send_all(&f->near, v, ARRAY_LEN(v)), 0);
    gather(f, ARRAY_LEN(v));
    for (uint32_t i = 0; i < ARRAY_LEN(v); i++) {
        unsigned holders = 0;
        for (unsigned part = 1; part <= WORKERS; part++)
            holders += has_number(&f->far[part], i);
        assert_int_equal(holders, 1);
    }
}

static void raw_packets_have_one_reader(void **state)
{
    struct field *f = there(state);
    for (unsigned v6 = 0; v6 < 2; v6++)
        for (uint32_t i = 0; i < WORKERS; i++) {
            assert_int_equal(goes_to(f, PKT_TO_GRE, v6, SPI + i, i), 1 + 2 * v6 % WORKERS);
            assert_int_equal(goes_to(f, PKT_TO_ESP, v6, SPI + i, i), 1 + (1 + 2 * v6) % WORKERS);
        }
}

/* They are offered what is for the loopback address alone, and even that does not stay. */
static void the_deaf_do_not_fill_up(void **state)
{
    struct field *f = there(state);
    static const char *const loopback[] = {"127.0.0.1", "::1"};
    size_t deaf = 0;
    for (unsigned part = 1; part <= WORKERS; part++)
        for (unsigned kind = OUTER_GRE; kind <= OUTER_ESP; kind++)
            for (unsigned family = 0; family < OUTER_FAMILIES; family++) {
                const struct io_watch *watch = &f->far[part].outer->sockets[kind][family].watch;
                if (watch->loop)
                    continue; /* the reader */
                struct pkt *p = packet(&f->far[part], kind ? PKT_TO_ESP : PKT_TO_GRE, true, family, SPI, 0);
                OK(addr_parse(loopback[family], &p->outer.src));
                OK(addr_parse(loopback[family], &p->outer.dst));
                assert_int_equal(send_all(&f->far[part], &p, 1), 0);
                union outer_sockaddr self;
                socklen_t size = sizeof self;
                assert_int_equal(getsockname(watch->fd, &self.sa, &size), 0);
                assert_true(family ? IN6_IS_ADDR_LOOPBACK(&self.v6.sin6_addr)
                                   : self.v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
                assert_int_equal(octets_waiting(watch->fd), 0);
                deaf++;
            }
    assert_int_equal(deaf, 2 * OUTER_FAMILIES * (WORKERS - 1));
    gather(f, 0);
    uint64_t heard = 0; /* by their readers, who refuse it: no endpoint */
    for (unsigned part = 1; part <= WORKERS; part++)
        heard += io_outer_count(f->far[part].outer, IO_OUTER_COUNT_DROP_DESTINATION);
    assert_int_equal(heard, deaf);
}

static void every_worker_sends_from_the_source_named(void **state)
{
    struct field *f = there(state);
    static const enum pkt_verdict verdicts[] = {PKT_TO_GRE, PKT_TO_ESP, PKT_TO_NATT};
    static const uint8_t from[] = {PKT_FROM_GRE, PKT_FROM_ESP, PKT_FROM_NATT};
    for (unsigned part = 1; part <= WORKERS; part++)
        for (unsigned v6 = 0; v6 < 2; v6++)
            for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
                struct pkt *p = packet(&f->far[part], verdicts[i], true, v6, SPI, part);
                struct addr end;
                OK(addr_parse(far_ends[v6], &end));
                assert_int_equal(send_all(&f->far[part], &p, 1), 0);
                f->near.n = 0;
                run(&f->near, 1);
                assert_int_equal(f->near.n, 1);
                assert_true(addr_equal(&f->near.got[0].outer.src, &end));
                assert_int_equal(f->near.got[0].from, from[i]);
            }
    listen_for(&f->near, 20 * NS_PER_MS);
    assert_int_equal(f->near.n, 1);
}

/* Whichever socket a worker has for it: one that only sends is bound to the loopback address, but not free to name any source. */
static void no_worker_sends_from_a_source_that_is_not_ours(void **state)
{
    struct field *f = there(state);
    static const char *const foreign[] = {"10.9.0.77", "fd09::77"};
    static const enum pkt_verdict verdicts[] = {PKT_TO_GRE, PKT_TO_ESP, PKT_TO_NATT};
    for (unsigned part = 1; part <= WORKERS; part++) {
        struct place *p = &f->far[part];
        for (unsigned v6 = 0; v6 < 2; v6++)
            for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
                struct pkt *k = packet(p, verdicts[i], true, v6, SPI, part);
                OK(addr_parse(foreign[v6], &k->outer.src));
                assert_int_equal(send_all(p, &k, 1), 1);
            }
        assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_SEND_UNREACHABLE), 2 * ARRAY_LEN(verdicts));
        struct pkt *k = packet(p, PKT_TO_ESP, true, false, SPI, part);
        OK(addr_parse(FAR6, &k->outer.src)); /* of the other family */
        assert_int_equal(send_all(p, &k, 1), 1);
        assert_int_equal(io_outer_count(p->outer, IO_OUTER_COUNT_SEND_ERROR), 1);
    }
    listen_for(&f->near, 20 * NS_PER_MS);
    assert_int_equal(f->near.n, 0);
}

static enum rc set_part(struct field *f, unsigned part, const char *const *ends, size_t n, bool gre, bool ipsec)
{
    struct addr addresses[2];
    for (size_t i = 0; i < n; i++)
        OK(addr_parse(ends[i], &addresses[i]));
    struct io_outer_want want = {.endpoints = addresses, .n_endpoints = n, .gre = gre, .ipsec = ipsec};
    return io_outer_set(f->far[part].outer, &want, NULL);
}

static void set_all(struct field *f, const char *const *ends, size_t n, bool gre, bool ipsec)
{
    for (unsigned part = 0; part <= WORKERS; part++)
        OK(set_part(f, part, ends, n, gre, ipsec));
}

/* As long as somebody reads the protocol, the kernel does not refuse it; then it does. */
static void nobody_is_told_that_a_protocol_is_unreachable(void **state)
{
    struct field *f = there(state);
    for (uint32_t i = 0; i < WORKERS; i++)
        goes_to(f, PKT_TO_GRE, false, SPI, i);
    listen_for(&f->near, 20 * NS_PER_MS);
    assert_int_equal(f->near.n, 0);
    set_all(f, far_ends, 2, false, true);
    send_one(f, PKT_TO_GRE, false, SPI, 9);
    run(&f->near, 1);
    assert_int_equal(f->near.n, 1);
    assert_int_equal(f->near.got[0].from, PKT_FROM_ICMP);
    assert_int_equal(f->near.got[0].first[0], ICMP_DEST_UNREACH);
    assert_int_equal(f->near.got[0].first[1], ICMP_PROT_UNREACH);
}

/* IPsec goes and comes back: the kernel numbers the sockets anew. */
static void a_reload_keeps_the_order(void **state)
{
    struct field *f = there(state);
    for (unsigned round = 0; round < 2; round++) {
        set_all(f, far_ends, 2, true, false);
        set_all(f, far_ends, 2, true, true);
        natt_goes_by_spi(f, round);
    }
}

/* From IPv4 to IPv6: at the second worker there are no descriptors left, or only for some of the sockets. */
static void a_refused_change_leaves_all_as_before(void **state)
{
    struct field *f = there(state);
    struct rlimit limit, none;
    set_all(f, &far_ends[0], 1, true, true);
    for (unsigned part = 0; part < 2; part++)
        OK(set_part(f, part, far_ends, 2, true, true)); /* the old and the new one, as the header says */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    enum rc rc = RC_LIMIT;
    int first = dup(0), again;
    close(first);
    for (unsigned more = 0, refused = 0; rc != RC_OK; more++) { /* until there are enough */
        none = (struct rlimit){(rlim_t)first + more, limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        rc = set_part(f, 2, far_ends, 2, true, true);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_true(more < 64);
        refused += rc == RC_LIMIT;
        if (rc == RC_OK) {
            assert_true(refused > 4); /* two sockets that send, two that receive, a timer */
            OK(set_part(f, 2, &far_ends[0], 1, true, true));
            break;
        }
        assert_int_equal(rc, RC_LIMIT);
        for (unsigned kind = 0; kind < OUTER_KINDS; kind++)
            assert_true(f->far[2].outer->sockets[kind][OUTER_V6].watch.fd < 0);
        again = dup(0);
        close(again);
        assert_int_equal(again, first);
    }
    for (unsigned part = 0; part < 2; part++)
        OK(set_part(f, part, &far_ends[0], 1, true, true));
    natt_goes_by_spi(f, false);
    set_all(f, far_ends, 2, true, true);
    set_all(f, &far_ends[1], 1, true, true);
    natt_goes_by_spi(f, true);
}

static void each_sends_its_own_only(void **state)
{
    struct field *f = there(state);
    struct pkt *p = packet(&f->far[0], PKT_TO_ESP, true, false, SPI, 0);
    assert_int_equal(send_all(&f->far[0], &p, 1), 1);
    assert_int_equal(io_outer_count(f->far[0].outer, IO_OUTER_COUNT_SEND_ERROR), 1);
    struct path path = {.local.port = 500, .remote.port = 500};
    OK(addr_parse(FAR, &path.local.addr));
    OK(addr_parse(NEAR, &path.remote.addr));
    io_outer_send_datagram(f->far[1].outer, &path, false, hex("0102030405060708"));
    assert_int_equal(io_outer_count(f->far[1].outer, IO_OUTER_COUNT_SEND_ERROR), 1);
    io_outer_send_datagram(f->far[0].outer, &path, false, hex("0102030405060708"));
    run(&f->near, 1);
    assert_int_equal(f->near.n, 1);
    assert_true(f->near.got[0].ike);
}

static void numbers_that_are_none(void **state)
{
    struct field *f = there(state);
    struct io_outer *outer = NULL;
    struct io_outer_config config = {.part = IO_OUTER_WORKER, .worker = 3, .workers = 3, .pool = f->near.pool};
    assert_int_equal(io_outer_open(f->near.loop, &config, &outer, NULL), RC_RANGE);
    config = (struct io_outer_config){.part = IO_OUTER_IKE, .pool = f->near.pool};
    assert_int_equal(io_outer_open(f->near.loop, &config, &outer, NULL), RC_RANGE);
    assert_null(outer);
}

/* ---- in threads */

#define EACH 1000
#define ROUND 50 /* what fits into the socket buffers of any machine */

static void *work(void *ctx)
{
    run(ctx, EACH);
    return NULL;
}

static uint64_t received(const struct field *f)
{
    uint64_t n = 0;
    for (unsigned part = 1; part <= WORKERS; part++)
        n += io_outer_count(f->far[part].outer, IO_OUTER_COUNT_RECEIVED);
    return n;
}

/* The counters are read while they count. */
static void each_in_its_thread(void **state)
{
    struct field *f = there(state);
    pthread_t thread[WORKERS];
    uint64_t until = io_clock_now() + PATIENCE, sent = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &f->far[1 + i]), 0);
    for (uint32_t n = 0; n < EACH; n++) {
        for (uint32_t i = 0; i < WORKERS; i++, sent++)
            send_one(f, PKT_TO_NATT, n % 2, SPI + i, n);
        while (sent - received(f) > ROUND && io_clock_now() < until)
            sched_yield();
    }
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (unsigned part = 1; part <= WORKERS; part++)
        assert_int_equal(f->far[part].n, EACH);
    assert_int_equal(received(f), WORKERS * EACH);
}

/* ---- outer.mode packet */

static void rings_take_esp_by_spi(void **state)
{
    struct field *f = there(state);
    for (uint32_t i = 0; i < 4 * WORKERS; i++)
        assert_int_equal(goes_to(f, PKT_TO_ESP, false, SPI + i, i), 1 + (SPI + i) % WORKERS);
}

static void zeros(struct wr *w, size_t n)
{
    while (n--)
        wr_u8(w, 0);
}

/* A GRE packet of 100 octets: fields of the header by their flags, an inner packet from 10.0.0.x to 10.0.1.y, or the same in IPv6. */
static unsigned gre_goes_to(struct field *f, uint16_t flags, bool inner6, uint8_t x, uint8_t y)
{
    struct pkt *p = packet(&f->near, PKT_TO_GRE, false, false, 0, 0);
    struct wr w = wr_of(p->data, 100);
    wr_u16(&w, flags);
    wr_u16(&w, inner6 ? 0x86dd : 0x0800);
    for (uint16_t bits = flags; bits; bits &= (uint16_t)(bits - 1))
        wr_u32(&w, 7 * x + bits); /* no part of the flow */
    zeros(&w, inner6 ? 8 : 12);
    zeros(&w, inner6 ? 12 : 0);
    wr_u32(&w, UINT32_C(0x0a000000) + x);
    zeros(&w, inner6 ? 12 : 0);
    wr_u32(&w, UINT32_C(0x0a000100) + y);
    assert_false(w.failed);
    forget(f);
    assert_int_equal(send_all(&f->near, &p, 1), 0);
    gather(f, 1);
    unsigned part = 0;
    while (f->far[part].n == 0)
        part++;
    return part;
}

static void rings_take_gre_by_flow(void **state)
{
    struct field *f = there(state);
    static const uint16_t flags[] = {0, 0x8000, 0x2000, 0x1000, 0xb000};
    for (unsigned inner6 = 0; inner6 < 2; inner6++) {
        size_t flows[1 + WORKERS] = {0};
        for (uint8_t i = 0; i < 24; i++) {
            unsigned part = gre_goes_to(f, 0, inner6, i / 4, i % 4);
            flows[part]++;
            uint16_t other = flags[1 + i % 4]; /* the optional fields change nothing */
            assert_int_equal(gre_goes_to(f, other, inner6, i / 4, i % 4), part);
        }
        for (unsigned part = 1; part <= WORKERS; part++)
            assert_in_range(flows[part], 2, 16);
    }
}

/* What may have been a fragment is the raw sockets' business: one of them reads it, and none what a ring has. */
static void rings_leave_the_rest(void **state)
{
    struct field *f = there(state);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct pkt *p = packet(&f->near, PKT_TO_ESP, false, false, SPI + i, i);
        p->outer.df = false;
        forget(f);
        assert_int_equal(send_all(&f->near, &p, 1), 0);
        gather(f, 1);
        assert_int_equal(f->far[1 + OUTER_ESP].n, 1);
        assert_int_equal(goes_to(f, PKT_TO_GRE, true, SPI + i, i), 1 + 2 % WORKERS);
    }
    natt_goes_by_spi(f, false);
}

static void rings_stay_over_a_reload(void **state)
{
    struct field *f = there(state);
    set_all(f, far_ends, 2, true, false);
    send_one(f, PKT_TO_ESP, false, SPI, 0);
    for (unsigned part = 1; part <= WORKERS; part++)
        listen_for(&f->far[part], 20 * NS_PER_MS); /* a busy machine may take its time over it */
    gather(f, 0);
    set_all(f, far_ends, 2, true, true);
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(goes_to(f, PKT_TO_ESP, false, SPI + i, i), 1 + (SPI + i) % WORKERS);
}

int main(void)
{
#define S(f) cmocka_unit_test_setup_teardown(f, sockets, field_close)
#define R(f) cmocka_unit_test_setup_teardown(f, rings, field_close)
#define S_DEVICE(f)                                                  \
    {                                                                \
#f "_of_a_device", f, sockets_of_a_device, field_close, NULL \
    }
#define R_DEVICE(f)                                                \
    {                                                              \
#f "_of_a_device", f, rings_of_a_device, field_close, NULL \
    }
    const struct CMUnitTest tests[] = {
        S(port_4500_goes_by_spi),
        S(a_run_stays_together),
        S(raw_packets_have_one_reader),
        S(the_deaf_do_not_fill_up),
        S(every_worker_sends_from_the_source_named),
        S(no_worker_sends_from_a_source_that_is_not_ours),
        S(nobody_is_told_that_a_protocol_is_unreachable),
        S(a_reload_keeps_the_order),
        S(a_refused_change_leaves_all_as_before),
        S(each_sends_its_own_only),
        S(numbers_that_are_none),
        S(each_in_its_thread),
        R(rings_take_esp_by_spi),
        R(rings_take_gre_by_flow),
        R(rings_leave_the_rest),
        R(rings_stay_over_a_reload),
        {"every_worker_sends_from_the_source_named_with_rings", every_worker_sends_from_the_source_named, rings,
         field_close, NULL},
        S_DEVICE(every_worker_sends_from_the_source_named),
        S_DEVICE(raw_packets_have_one_reader),
        R_DEVICE(rings_take_esp_by_spi),
    };
    return cmocka_run_group_tests_name("io_workers", tests, namespace_enter, NULL);
}
