/* A TUN with several queues, each in a thread of its own: nothing is lost or counted wrong; in another namespace too. */
#include "io/lib/cable.h"
#include "io/lib/place.h"

#include "io/tun.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
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
    struct ifreq r = {.ifr_name = "adit0"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(ioctl(fd, SIOCGIFNETMASK, &r), 0);
    assert_int_equal(((struct sockaddr_in *)&r.ifr_netmask)->sin_addr.s_addr, htonl(0xffffff00));
    close(fd);
    io_tun_close(tun);
}

/* ---- what goes wrong */

/* What the kernel says of a packet is held against the packet. A socket pair instead of the device says what the kernel never would. */
static void a_queue_that_lies(void **state)
{
    if (!*state)
        skip();
    static const struct {
        struct virtio_net_hdr header;
        size_t len;
        bool ok;
    } rows[] = {
        {{.flags = 0}, 60, true},
        {{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 38}, 60, true},
        {{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 39}, 60, false},
        {{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535}, 60, false},
        {{.csum_start = 65535, .csum_offset = 65535}, 60, true}, /* not asked for */
        {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 40}, 60, true},
        {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, .gso_size = 40}, 60, true},
        {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4}, 60, false},
        {{.gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 40}, 60, false}, /* fragments: not agreed on */
        {{.flags = 0}, PKT_LARGE, true},
        {{.flags = 0}, PKT_LARGE + 1, false},
        {{.flags = 0}, PKT_LARGE + 1000, false},
    };
    static uint8_t octets[sizeof(struct virtio_net_hdr) + PKT_LARGE + 1000];
    new_namespace();
    descriptors_note();
    struct io_tun *tun = open_tun(NULL, NULL, 1);
    struct io_tun_counts c;
    struct pkt_pool *pool;
    struct pkt *v[PKT_BATCH];
    int pair[2], size = 4 << 20;
    size_t n;
    OK(pkt_pool_new(PKT_BATCH, PKT_BATCH, &pool));
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(dup2(pair[0], io_tun_fd(tun, 0)), io_tun_fd(tun, 0));
    close(pair[0]);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = sizeof rows[i].header + rows[i].len;
        memcpy(octets, &rows[i].header, sizeof rows[i].header);
        assert_int_equal(write(pair[1], octets, len), len);
        OK(io_tun_read(tun, 0, pool, v, PKT_BATCH, &n));
        assert_int_equal(n, rows[i].ok);
        if (n)
            assert_int_equal(v[0]->len, rows[i].len);
        while (n)
            pkt_put(pool, v[--n]);
    }
    io_tun_counts(tun, &c);
    assert_int_equal(c.read, 6);
    assert_int_equal(c.read_error, 4);
    assert_int_equal(c.read_truncated, 2);
    memset(octets, 0, sizeof(struct virtio_net_hdr));
    for (size_t i = 0; i < 8; i++) /* many large ones at once: not all in one go */
        if (write(pair[1], octets, sizeof(struct virtio_net_hdr) + 60000) < 0)
            break;
    OK(io_tun_read(tun, 0, pool, v, PKT_BATCH, &n));
    assert_int_equal(n, 5); /* the one that goes beyond 256 KiB is the last */
    while (n)
        pkt_put(pool, v[--n]);
    assert_int_equal(pkt_pool_available(pool, false), PKT_BATCH);
    assert_int_equal(pkt_pool_available(pool, true), PKT_BATCH);
    close(pair[1]);
    pkt_pool_free(pool);
    io_tun_close(tun);
    descriptors_check();
}

static void set_device(uint16_t type, unsigned flags)
{
    union netlink_message m;
    struct ifinfomsg *h = netlink_begin(&m, type, 0, sizeof *h);
    *h = (struct ifinfomsg){.ifi_index = (int)if_nametoindex("adit0"), .ifi_flags = flags, .ifi_change = IFF_UP};
    ask(&m);
}

static void a_device_goes_down_and_away(void **state)
{
    if (!*state)
        skip();
    new_namespace();
    descriptors_note();
    struct io_tun *tun = open_tun(NULL, NULL, 1);
    struct io_tun_counts c;
    struct pkt_pool *pool;
    OK(pkt_pool_new(8, 8, &pool));
    struct pkt *p[2] = {datagram(pool, 1, 7), datagram(pool, 2, 7)}, *v[4];
    size_t n;
    set_device(RTM_NEWLINK, 0);
    OK(io_tun_write(tun, 0, p, 2, &n));
    assert_int_equal(n, 2);
    set_device(RTM_NEWLINK, IFF_UP);
    OK(io_tun_write(tun, 0, p, 2, &n));
    assert_int_equal(n, 0);
    io_tun_counts(tun, &c);
    assert_int_equal(c.write_down, 2);
    assert_int_equal(c.written, 2);
    assert_int_equal(c.write_full + c.write_error, 0);
    set_device(RTM_DELLINK, 0);
    assert_int_equal(io_tun_write(tun, 0, p, 2, &n), RC_ABSENT);
    assert_int_equal(n, 2);
    assert_int_equal(io_tun_read(tun, 0, pool, v, 4, &n), RC_ABSENT);
    assert_int_equal(n, 0);
    pkt_put(pool, p[0]);
    pkt_put(pool, p[1]);
    pkt_pool_free(pool);
    io_tun_close(tun);
    descriptors_check();
}

static void a_name_that_is_taken(void **state)
{
    if (!*state)
        skip();
    new_namespace();
    struct io_tun *tun = open_tun(NULL, NULL, QUEUES), *other = NULL;
    struct io_tun_config config = {.device = "adit0", .queues = QUEUES, .offload = true};
    struct io_error e = {""};
    descriptors_note();
    assert_int_equal(io_tun_open(NULL, &config, &other, &e), RC_EXISTS); /* another queue of it, it would be */
    config.device = "lo";
    assert_int_equal(io_tun_open(NULL, &config, &other, &e), RC_EXISTS);
    config.device = "adit%d";
    assert_int_equal(io_tun_open(NULL, &config, &other, &e), RC_RANGE);
    config.device = "adit1";
    config.queues = IO_QUEUES_MAX + 1;
    assert_int_equal(io_tun_open(NULL, &config, &other, &e), RC_RANGE);
    assert_null(other);
    descriptors_check();
    io_tun_close(tun);
}

/* ---- routes, and what is wrong around them */

static void routes_of_others_stay(void **state)
{
    static const char *const prefixes[] = {"192.0.2.0/24", "2001:db8:1::/48"};
    if (!*state)
        skip();
    new_namespace();
    struct io_tun *tun = open_tun(NULL, NULL, 1);
    struct io_error e = {""};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        for (uint32_t metric = 0; metric < 20; metric += 10) {
            struct io_route route = {.mtu = 1300, .metric = metric};
            OK(prefix_parse(prefixes[i], &route.prefix));
            OK(io_route_add(tun, &route, &e));
            route.mtu = 1200;
            OK(io_route_add(tun, &route, &e)); /* ours: changed */
            OK(io_route_remove(tun, &route, &e));
            OK(io_route_remove(tun, &route, &e)); /* gone already */
        }
    union netlink_message m;
    struct io_route route = {.metric = 0};
    OK(prefix_parse(prefixes[0], &route.prefix));
    for (unsigned type = 0; type < 2; type++) { /* RTPROT_STATIC: not ours; in place and as it was afterwards */
        struct rtmsg *h = netlink_begin(&m, type ? RTM_DELROUTE : RTM_NEWROUTE, type ? 0 : NLM_F_CREATE, sizeof *h);
        *h = (struct rtmsg){.rtm_family = AF_INET,
                            .rtm_dst_len = 24,
                            .rtm_table = RT_TABLE_MAIN,
                            .rtm_protocol = RTPROT_STATIC,
                            .rtm_type = RTN_UNICAST,
                            .rtm_scope = RT_SCOPE_LINK};
        mnl_attr_put(&m.header, RTA_DST, 4, route.prefix.addr.b);
        mnl_attr_put_u32(&m.header, RTA_OIF, tun->index);
        ask(&m);
        if (type == 0)
            assert_int_equal(io_route_add(tun, &route, &e), RC_EXISTS);
    }
    io_tun_close(tun);
}

static void set_setting(const char *path, char value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, &value, 1), 1);
    close(fd);
}

static void hazards_of_a_namespace(void **state)
{
    if (!*state || geteuid() != 0)
        skip();
    new_namespace();
    struct io_tun *tun = open_tun(NULL, NULL, 1);
    struct io_hazard v[4];
    struct io_route route = {.mtu = 1300};
    set_setting("/proc/sys/net/ipv4/conf/all/rp_filter", '0');
    set_setting("/proc/sys/net/ipv6/conf/all/forwarding", '0');
    assert_int_equal(io_tun_hazards(tun, v, 4), 0); /* no route of IPv6, so nobody misses it */
    set_setting("/proc/sys/net/ipv4/conf/all/rp_filter", '2');
    assert_int_equal(io_tun_hazards(tun, v, 4), 0);
    set_setting("/proc/sys/net/ipv4/conf/all/rp_filter", '1');
    assert_int_equal(io_tun_hazards(tun, v, 4), 1);
    assert_non_null(strstr(v[0].text, "rp_filter is strict"));
    OK(prefix_parse("2001:db8:1::/48", &route.prefix));
    OK(io_route_add(tun, &route, NULL));
    assert_int_equal(io_tun_hazards(tun, v, 4), 2);
    assert_non_null(strstr(v[1].text, "IPv6 is not forwarded"));
    assert_int_equal(io_tun_hazards(tun, v, 1), 1);
    set_setting("/proc/sys/net/ipv4/conf/all/rp_filter", '0');
    set_setting("/proc/sys/net/ipv6/conf/all/forwarding", '1');
    assert_int_equal(io_tun_hazards(tun, v, 4), 0);
    io_tun_close(tun);
}

/* ---- by the helper */

static void helper_brings_all_queues(void **state)
{
    if (!*state)
        skip();
    char path[] = "/tmp/adit-netns-XXXXXX";
    struct io_helper *helper;
    descriptors_note();
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
    const struct io_tun_config taken = {.netns = path, .device = "adit0", .queues = 2, .offload = true};
    struct io_tun *other = NULL;
    struct io_error e = {""};
    assert_int_equal(io_tun_open(helper, &taken, &other, &e), RC_EXISTS);
    assert_non_null(strstr(e.text, "exists already"));
    assert_false(io_tun_is_orphan(tun));
    assert_int_equal(umount2(path, MNT_DETACH), 0);
    close(new_namespace());
    assert_int_equal(mount("/proc/self/ns/net", path, "none", MS_BIND, NULL), 0);
    assert_true(io_tun_is_orphan(tun)); /* the name leads elsewhere */
    assert_int_equal(umount2(path, MNT_DETACH), 0);
    assert_int_equal(unlink(path), 0);
    assert_true(io_tun_is_orphan(tun)); /* or nowhere */
    io_tun_close(tun);
    io_helper_stop(helper);
    close(file);
    close(outside);
    descriptors_check();
}

struct server {
    int fd, own;
};

static void *serve(void *ctx)
{
    struct server *s = ctx;
    helper_serve(s->fd, s->own);
    close(s->fd);
    return NULL;
}

/* The helper's other end in a thread of ours: neither side keeps a descriptor that it should not. */
static void helper_keeps_nothing(void **state)
{
    if (!*state)
        skip();
    char path[64];
    int pair[2], inside = new_namespace(), own = new_namespace();
    struct io_helper *helper;
    pthread_t thread;
    snprintf(path, sizeof path, "/proc/self/fd/%d", inside);
    OK(io_helper_start(&helper, NULL));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(dup2(pair[0], io_helper_fd(helper)), io_helper_fd(helper));
    close(pair[0]);
    descriptors_note();
    struct server server = {.fd = dup(pair[1]), .own = own};
    assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
    for (unsigned i = 0; i < 3; i++) {
        struct io_tun *tun = open_tun(helper, path, QUEUES);
        io_tun_close(tun);
        enter(inside);
        for (uint64_t until = io_clock_now() + PATIENCE; if_nametoindex("adit0") && io_clock_now() < until;)
            sched_yield();
        assert_int_equal(if_nametoindex("adit0"), 0); /* gone with its last descriptor */
        enter(own);
    }
    assert_int_equal(shutdown(io_helper_fd(helper), SHUT_RDWR), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    descriptors_check();
    close(pair[1]);
    io_helper_stop(helper);
    close(inside);
    close(own);
}

static void answer(int fd, uint32_t id, size_t n)
{
    struct helper_answer a = {.id = id, .rc = RC_OK};
    struct iovec iov = {.iov_base = &a, .iov_len = sizeof a};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(4 * sizeof(int))] = {0};
    struct msghdr h = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    for (size_t i = 0; i < n; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof fd);
    assert_int_equal(sendmsg(fd, &h, 0), sizeof a);
}

/* An answer that came too late is not taken for the next one, nor one with fewer descriptors than asked for. */
static void answers_that_do_not_fit(void **state)
{
    if (!*state)
        skip();
    int pair[2];
    struct io_helper *helper;
    struct io_tun *tun = NULL;
    const struct io_tun_config config = {.netns = "/proc/self/ns/net", .device = "adit0", .queues = 2};
    OK(io_helper_start(&helper, NULL));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(dup2(pair[0], io_helper_fd(helper)), io_helper_fd(helper));
    close(pair[0]);
    descriptors_note();
    struct io_error e = {""};
    answer(pair[1], 0, 3);
    answer(pair[1], 1, 2);
    assert_int_equal(io_tun_open(helper, &config, &tun, &e), RC_LIMIT);
    assert_non_null(strstr(e.text, "too many open files"));
    assert_null(tun);
    descriptors_check();
    close(pair[1]);
    io_helper_stop(helper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(queues_have_threads_of_their_own),
                                       TEST(a_flow_keeps_to_its_queue),
                                       TEST(a_single_queue_is_no_multi_queue),
                                       TEST(helper_brings_all_queues),
                                       TEST(helper_keeps_nothing),
                                       TEST(answers_that_do_not_fit),
                                       TEST(a_queue_that_lies),
                                       TEST(a_device_goes_down_and_away),
                                       TEST(a_name_that_is_taken),
                                       TEST(routes_of_others_stay),
                                       TEST(hazards_of_a_namespace)};
    return cmocka_run_group_tests_name("io_tun", tests, namespace_enter, NULL);
}
