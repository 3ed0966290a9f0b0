/* A TUN with several queues, each in a thread of its own: nothing is lost or counted wrong; in another namespace too. */
#include "io/lib/cable.h"
#include "io/lib/place.h"

#include "io/tun.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUES 4
#define PACKETS 400 /* of each queue; as many fit into one */

static struct io_tun *open_tun(struct io_helper *helper, const char *netns, unsigned queues)
{
    const struct io_tun_config config = {
        .netns = netns, .device = "adit0", .queues = queues, .account = 7, .offload = true};
    struct prefix address;
    struct io_tun *tun;
    struct io_error e = {""};
    if (io_tun_open(helper, &config, &tun, &e) != RC_OK)
        fail_msg("%s", e.text);
    OK(io_link_up(tun, 1400, NULL));
    OK(prefix_parse("10.8.0.1/24", &address));
    OK(io_address_add(tun, &address, 0, NULL));
    return tun;
}

static short flags_of(const struct io_tun *tun, unsigned queue)
{
    struct ifreq r = {0};
    assert_int_equal(ioctl(io_tun_fd(tun, queue), TUNGETIFF, &r), 0);
    return r.ifr_flags;
}

static size_t offloads_of(const struct io_tun *tun, unsigned queue)
{
    int size = 0;
    assert_int_equal(ioctl(io_tun_fd(tun, queue), TUNGETVNETHDRSZ, &size), 0);
    return (size_t)size;
}

/* From 10.8.0.9 to the address of the device: a UDP packet whose checksum the kernel does not ask for, RFC 768. */
static struct pkt *datagram(struct pkt_pool *pool, uint16_t sport, uint16_t dport)
{
    static const uint8_t header[] = {0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 8, 0, 9, 10, 8, 0, 1};
    struct pkt *p = pkt_get(pool, false);
    assert_non_null(p);
    struct wr w = wr_of(p->data, 32);
    wr_bytes(&w, span_of(header, sizeof header));
    wr_u16(&w, sport);
    wr_u16(&w, dport);
    wr_u16(&w, 12);
    wr_u16(&w, 0);
    wr_u32(&w, 0x61646974);
    uint32_t sum = 0;
    for (struct rd r = rd_of(span_of(p->data, 20)); rd_left(&r);)
        sum += rd_u16(&r);
    wr_patch_u16(&w, 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
    p->len = 32;
    p->verdict = PKT_TO_TUN;
    return p;
}

/* ---- one queue, one thread */

struct worker {
    struct io_tun *tun;
    unsigned queue;
    struct pkt_pool *pool;
    uint64_t *total; /* packets read by all of them */
    uint64_t wanted, until;
};

static void *work(void *ctx)
{
    struct worker *w = ctx;
    for (uint16_t i = 0; i < PACKETS; i++) {
        struct pkt *p = datagram(w->pool, (uint16_t)(1000 + w->queue), 7);
        size_t dropped;
        assert_int_equal(io_tun_write(w->tun, w->queue, &p, 1, &dropped), RC_OK);
        assert_int_equal(dropped, 0);
        pkt_put(w->pool, p);
    }
    while (__atomic_load_n(w->total, __ATOMIC_RELAXED) < w->wanted && io_clock_now() < w->until) {
        struct pkt *v[PKT_BATCH];
        size_t n;
        assert_int_equal(io_tun_read(w->tun, w->queue, w->pool, v, PKT_BATCH, &n), RC_OK);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(v[i]->account, 7);
            pkt_put(w->pool, v[i]);
        }
        __atomic_fetch_add(w->total, n, __ATOMIC_RELAXED);
        sched_yield();
    }
    return NULL;
}

/* Flows of many ports, into the device: the kernel spreads them. */
static void send_flows(size_t n)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, "10.8.0.2", &to.sin_addr), 1);
    for (size_t i = 0; i < n; i++) {
        to.sin_port = htons((uint16_t)(2000 + i));
        assert_int_equal(sendto(fd, "adit", 4, 0, (struct sockaddr *)&to, sizeof to), 4);
    }
    close(fd);
}

static void queues_have_threads_of_their_own(void **state)
{
    if (!*state)
        skip();
    new_namespace();
    struct io_tun *tun = open_tun(NULL, NULL, QUEUES);
    pthread_t thread[QUEUES];
    struct worker workers[QUEUES];
    uint64_t total = 0;
    struct io_tun_counts c;
    for (unsigned q = 0; q < QUEUES; q++) {
        assert_int_equal(flags_of(tun, q) & IFF_MULTI_QUEUE, IFF_MULTI_QUEUE);
        assert_int_equal(offloads_of(tun, q), offloads_of(tun, 0));
        workers[q] = (struct worker){
            .tun = tun, .queue = q, .total = &total, .wanted = PACKETS, .until = io_clock_now() + PATIENCE};
        OK(pkt_pool_new(128, 8, &workers[q].pool));
    }
    for (unsigned q = 0; q < QUEUES; q++)
        assert_int_equal(pthread_create(&thread[q], NULL, work, &workers[q]), 0);
    send_flows(PACKETS);
    do {
        io_tun_counts(tun, &c);
        sched_yield();
    } while ((c.written < QUEUES * PACKETS || c.read < PACKETS) && io_clock_now() < workers[0].until);
    for (unsigned q = 0; q < QUEUES; q++) {
        assert_int_equal(pthread_join(thread[q], NULL), 0);
        assert_int_equal(pkt_pool_available(workers[q].pool, false), 128);
        pkt_pool_free(workers[q].pool);
    }
    io_tun_counts(tun, &c);
    assert_true(total >= PACKETS); /* the kernel says a word of its own now and then */
    assert_int_equal(c.read, total);
    assert_int_equal(c.written, QUEUES * PACKETS);
    assert_int_equal(c.write_full + c.write_down + c.write_error + c.read_truncated + c.read_error, 0);
    size_t spread = 0;
    for (unsigned q = 0; q < QUEUES; q++)
        spread += tun->counts[q].v.read > 0;
    assert_int_equal(spread, QUEUES);
    io_tun_close(tun);
}

/* What a flow sends comes out of the queue by which the flow's other direction came in: it stays with its worker. */
static void a_flow_keeps_to_its_queue(void **state)
{
    if (!*state)
        skip();
    new_namespace();
    struct io_tun *tun = open_tun(NULL, NULL, QUEUES);
    struct pkt_pool *pool;
    OK(pkt_pool_new(8, 8, &pool));
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(7)}, to = here;
    assert_int_equal(inet_pton(AF_INET, "10.8.0.1", &here.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET, "10.8.0.9", &to.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof here), 0);
    for (uint16_t i = 0; i < 16; i++) {
        unsigned queue = i % QUEUES, writer = i < 8 ? queue : i < 12 ? 0 : QUEUES - 1;
        struct pkt *p = datagram(pool, (uint16_t)(3000 + i), 7), *v[8];
        size_t n;
        p->queue = i < 4   ? 0
                   : i < 8 ? QUEUES + 1
                           : (uint8_t)(queue + 1); /* the writer's; there is none of that number; another */
        assert_int_equal(io_tun_write(tun, writer, &p, 1, &n), RC_OK);
        pkt_put(pool, p);
        to.sin_port = htons((uint16_t)(3000 + i));
        assert_int_equal(sendto(fd, "adit", 4, 0, (struct sockaddr *)&to, sizeof to), 4);
        for (unsigned q = 0; q < QUEUES; q++) {
            size_t answers = 0;
            assert_int_equal(io_tun_read(tun, q, pool, v, 8, &n), RC_OK);
            for (size_t k = 0; k < n; k++) {
                answers += v[k]->data[0] == 0x45; /* not what IPv6 says by itself */
                pkt_put(pool, v[k]);
            }
            assert_int_equal(answers, q == queue);
        }
    }
    close(fd);
    pkt_pool_free(pool);
    io_tun_close(tun);
}

static void a_single_queue_is_no_multi_queue(void **state)
{
    if (!*state)
        skip();
    new_namespace();
    struct io_tun *tun = open_tun(NULL, NULL, 1);
    assert_int_equal(flags_of(tun, 0) & IFF_MULTI_QUEUE, 0);
    assert_int_equal(io_tun_fd(tun, 1), -1);
    io_tun_close(tun);
}

/* ---- by the helper */

static void helper_brings_all_queues(void **state)
{
    if (!*state)
        skip();
    char path[] = "/tmp/adit-netns-XXXXXX";
    struct io_helper *helper;
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), file = mkstemp(path);
    assert_true(outside >= 0 && file >= 0);
    close(new_namespace());
    assert_int_equal(mount("/proc/self/ns/net", path, "none", MS_BIND, NULL), 0);
    enter(outside);
    OK(io_helper_start(&helper, NULL));
    struct io_tun *tun = open_tun(helper, path, IO_QUEUES_MAX);
    assert_int_equal(if_nametoindex("adit0"), 0); /* it is over there */
    for (unsigned q = 0; q < IO_QUEUES_MAX; q++) {
        assert_int_equal(flags_of(tun, q) & IFF_MULTI_QUEUE, IFF_MULTI_QUEUE);
        assert_int_equal(offloads_of(tun, q), offloads_of(tun, 0));
    }
    io_tun_close(tun);
    io_helper_stop(helper);
    assert_int_equal(umount2(path, MNT_DETACH), 0);
    assert_int_equal(unlink(path), 0);
    close(file);
    close(outside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(queues_have_threads_of_their_own), TEST(a_flow_keeps_to_its_queue),
                                       TEST(a_single_queue_is_no_multi_queue), TEST(helper_brings_all_queues)};
    return cmocka_run_group_tests_name("io_tun", tests, namespace_enter, NULL);
}
