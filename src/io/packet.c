/* outer.mode packet: AF_PACKET. In come packets by a ring shared with the kernel, out they go straight to the device's queue
 * (PACKET_QDISC_BYPASS): no IP layer, no netfilter, no queueing discipline. IPv4 in; IPv4 and IPv6 out: a received IPv6 packet does
 * not tell whether it was reassembled, so the raw socket keeps IPv6.
 *
 * The ring is of version 2, which hands over each packet as it comes. Version 3 hands over blocks, and one that is not full after a
 * millisecond: a quiet tunnel's every packet would wait for that.
 *
 * Port 4500 stays with its sockets: coalesced by the kernel they cost less than a ring. */
#include "bypass.h"
#include "pace.h"
#include "ways.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RING_FRAME 2048 /* of one packet */
#define RING_FRAMES 4096
#define RING_BLOCK (64 * 1024) /* how the kernel allocates it */
#define RING_OCTETS ((size_t)RING_FRAME * RING_FRAMES)
#define RING_PACKET (RING_FRAME - TPACKET_ALIGN(TPACKET2_HDRLEN) - 16) /* fit in; longer ones go to the raw sockets */
#define SEND_OCTETS (16 << 20)
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define DF 0x4000 /* the fragment field of a packet that is none and becomes none, RFC 791 3.1 */
#define TTL_DEFAULT 64

struct packet {
    struct outer_bypass bypass;
    struct io_outer *outer;
    struct io_watch watch; /* receiving; fd -1: not open */
    struct pace pace;
    int send_fd;
    uint8_t *ring;
    size_t frame; /* the kernel's next one to hand over */
    size_t run;   /* packets since the ring was last found empty */
    struct ways ways;
};

/* ---- receiving */

static bool attach(int fd, struct sock_filter *code, size_t n)
{
    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

/* A ring whose socket has been bound and not yet joined the others would have a copy of each packet. */
static bool filter_all(int fd)
{
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    return attach(fd, &nothing, 1);
}

/* To us, protocol 47 or 50, surely no fragment, and short enough. */
static bool filter_ring(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 8),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DF, 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, RING_PACKET, 4, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_GRE, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ESP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, RING_PACKET),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    return attach(fd, code, ARRAY_LEN(code));
}

/* What the ring has, the raw IPv4 sockets do not see; all else they do. But for a datagram that came in pieces with DF in each of them: the
 * kernel leaves DF on the whole, and nothing that a filter sees tells it from a packet of the ring. It is lost (docs/configuration.md). */
static bool filter_raw(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6), /* fragment field */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DF, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2), /* total length */
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, RING_PACKET, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    return attach(fd, code, ARRAY_LEN(code));
}

/* Which ring a packet goes into, modulo their number: ESP by SPI, GRE by the addresses outside (source) and inside (of IPv6 the ends
 * of them). What is too short for that goes into the first. The flags of GRE tell where the inner packet begins, RFC 2890 2. */
static bool choose_ring(int fd)
{
    enum { GRE, SUM }; /* words of memory */
    const uint32_t mix = UINT32_C(0x9e3779b1);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), /* X: where the IP header ends */
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_GRE, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0),
        BPF_STMT(BPF_RET | BPF_A, 0), /* the SPI */
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0),
        BPF_STMT(BPF_ST, GRE), /* flags and protocol */
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 29),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 4), /* checksum: four octets */
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_MEM, GRE),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 27),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 4), /* key: as many */
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_MEM, GRE),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 26),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 4), /* sequence number: as many */
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0), /* X: four octets before the inner packet */
        BPF_STMT(BPF_LD | BPF_MEM, GRE),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffff),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4 + 12), /* IPv4: source */
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, mix),
        BPF_STMT(BPF_ST, SUM),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4 + 16), /* destination */
        BPF_STMT(BPF_JMP | BPF_JA, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4 + 8 + 12), /* IPv6: source */
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, mix),
        BPF_STMT(BPF_ST, SUM),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4 + 24 + 12), /* destination */
        BPF_STMT(BPF_LDX | BPF_MEM, SUM),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, mix),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 12), /* outer source */
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, mix),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16), /* the best mixed of them */
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};
    return setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof program) == 0;
}

/* Into the group of all workers' rings. The first founds it, under a number that nobody has. */
static bool join_rings(struct io_outer *o, int fd)
{
    int group = o->fanout >= 0 ? o->fanout | PACKET_FANOUT_CBPF << 16
                               : (PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
    socklen_t size = sizeof group;
    if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof group) < 0)
        return false;
    if (o->fanout >= 0)
        return true;
    if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &group, &size) < 0 || !choose_ring(fd))
        return false;
    o->fanout = group & 0xffff;
    return true;
}

/* What ip_rcv() would see to: RFC 1122 3.2.1.2, and the link's padding. Returns the packet's length, 0 if it is none. */
static size_t sound_length(struct span frame)
{
    struct rd r = rd_of(frame), words;
    uint8_t first = rd_u8(&r);
    rd_take(&r, 1);
    size_t total = rd_u16(&r), header = (size_t)(first & 15) * 4;
    uint32_t sum = 0;
    if (r.failed || header < IPV4_HEADER || total < header || total > frame.n)
        return 0;
    for (words = rd_of(span_of(frame.p, header)); rd_left(&words);)
        sum += rd_u16(&words);
    return (sum & 0xffff) + (sum >> 16) == 0xffff ? total : 0;
}

static struct pkt *take(struct packet *k, const struct tpacket2_hdr *h)
{
    struct io_outer *o = k->outer;
    struct span frame = span_of((const uint8_t *)h + h->tp_net, h->tp_snaplen);
    size_t len = sound_length(frame);
    uint8_t protocol = frame.p[9]; /* the filter has read it */
    if (o->sockets[protocol == IPPROTO_GRE ? OUTER_GRE : OUTER_ESP][OUTER_V4].watch.fd < 0)
        return NULL; /* no tunnel of that kind */
    outer_count(o, IO_OUTER_COUNT_RECEIVED, 1);
    if (h->tp_snaplen < h->tp_len || len == 0) {
        outer_count(o, len ? IO_OUTER_COUNT_DROP_TRUNCATED : IO_OUTER_COUNT_DROP_HEADER, 1);
        return NULL;
    }
    struct pkt *p = pkt_get(o->config.pool, len > IPV4_HEADER + PKT_SMALL);
    if (!p) {
        outer_count(o, IO_OUTER_COUNT_DROP_POOL, 1);
        return NULL;
    }
    p->data -= IPV4_HEADER;
    p->len = (uint32_t)len;
    struct wr w = wr_of(p->data, len);
    wr_bytes(&w, span_of(frame.p, len));
    p->from = protocol == IPPROTO_GRE ? PKT_FROM_GRE : PKT_FROM_ESP;
    return outer_read_header(o, p) ? p : NULL;
}

/* A device that goes down leaves an error at a socket bound to it. No ring hands that over, and it would wake us without end. */
static void forget_error(int fd)
{
    int error;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

/* What the kernel found no room for since it was last asked. Only a ring with nothing empty loses packets, and whoever empties that takes
 * as many as it holds: without such a run there is nothing to ask. */
static void count_lost(struct packet *k, size_t n)
{
    struct tpacket_stats stats;
    socklen_t size = sizeof stats;
    k->run += n;
    if (k->run >= RING_FRAMES && getsockopt(k->watch.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
        outer_count(k->outer, IO_OUTER_COUNT_LOST_RING, stats.tp_drops);
    if (n < PKT_BATCH)
        k->run = 0;
}

/* One batch at a time, as of a socket. */
static void ring_ready(void *ctx, unsigned events)
{
    struct packet *k = ctx;
    struct io_outer *o = k->outer;
    struct pkt *v[PKT_BATCH];
    size_t n = 0, i;
    if (events & IO_HANGUP)
        forget_error(k->watch.fd);
    for (i = 0; i < PKT_BATCH; i++) {
        struct tpacket2_hdr *h = (void *)(k->ring + k->frame * RING_FRAME);
        if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
        struct pkt *p = take(k, h);
        if (p)
            v[n++] = p;
        __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        k->frame = (k->frame + 1) % RING_FRAMES;
    }
    if (n)
        o->config.packets(o->config.ctx, v, n);
    count_lost(k, i);
    pace_note(&k->pace, i);
}

/* ---- sending */

static void write_header(struct wr *w, uint8_t protocol, const struct pkt *p)
{
    const struct pkt_outer *outer = &p->outer;
    uint8_t ttl = outer->ttl ? outer->ttl : TTL_DEFAULT;
    if (outer->dst.family == 6) { /* RFC 8200 3 */
        wr_u32(w, UINT32_C(6) << 28 | (uint32_t)outer->tos << 20);
        wr_u16(w, (uint16_t)p->len);
        wr_u8(w, protocol);
        wr_u8(w, ttl);
        wr_bytes(w, span_of(outer->src.b, 16));
        wr_bytes(w, span_of(outer->dst.b, 16));
        return;
    }
    wr_u16(w, (uint16_t)(0x4500 | outer->tos)); /* RFC 791 3.1 */
    wr_u16(w, (uint16_t)(IPV4_HEADER + p->len));
    wr_u16(w, 0); /* identification: of no use with DF, RFC 6864 4.1 */
    wr_u16(w, DF);
    wr_u8(w, ttl);
    wr_u8(w, protocol);
    wr_u16(w, 0);
    wr_bytes(w, span_of(outer->src.b, 4));
    wr_bytes(w, span_of(outer->dst.b, 4));
    uint32_t sum = 0;
    for (struct rd r = rd_of(wr_span(w)); rd_left(&r);)
        sum += rd_u16(&r);
    sum = (sum & 0xffff) + (sum >> 16);
    wr_patch_u16(w, 10, (uint16_t) ~(sum + (sum >> 16)));
}

static size_t send_all(struct packet *k, struct mmsghdr *m, size_t n)
{
    size_t sent = 0;
    for (size_t at = 0; at < n;) {
        int r = sendmmsg(k->send_fd, m + at, (unsigned)(n - at), MSG_DONTWAIT);
        if (r > 0) {
            at += (size_t)r;
            sent += (size_t)r;
        } else if (errno == EAGAIN) {
            outer_count(k->outer, IO_OUTER_COUNT_SEND_FULL, n - at);
            break;
        } else if (errno != EINTR) {
            outer_count_refusal(k->outer, errno);
            at++;
        }
    }
    return sent;
}

static size_t packet_send(struct outer_bypass *bypass, uint8_t protocol, struct pkt **v, size_t n, size_t *ret_sent)
{
    struct packet *k = CONTAINER_OF(bypass, struct packet, bypass);
    struct mmsghdr m[PKT_BATCH];
    struct sockaddr_ll to[PKT_BATCH];
    struct iovec iov[PKT_BATCH][2];
    uint8_t header[PKT_BATCH][IPV6_HEADER];
    size_t count = 0, others = 0;
    uint64_t now = io_clock_now();
    for (size_t i = 0; i < n; i++) {
        const struct pkt_outer *outer = &v[i]->outer;
        struct wr w = wr_of(header[count], IPV6_HEADER);
        const struct way *way = ways_find(&k->ways, now, &outer->src, &outer->dst);
        size_t front = outer->dst.family == 4 ? IPV4_HEADER : IPV6_HEADER;
        if (!way || front + v[i]->len > way->mtu) {
            v[others++] = v[i];
            continue;
        }
        write_header(&w, protocol, v[i]);
        iov[count][0] = (struct iovec){.iov_base = header[count], .iov_len = front};
        iov[count][1] = (struct iovec){.iov_base = v[i]->data, .iov_len = v[i]->len};
        to[count] = (struct sockaddr_ll){.sll_family = AF_PACKET,
                                         .sll_protocol = htons(front == IPV4_HEADER ? ETH_P_IP : ETH_P_IPV6),
                                         .sll_ifindex = (int)way->device,
                                         .sll_halen = way->link_len};
        memcpy(to[count].sll_addr, way->link, sizeof way->link); /* lint: not wire bytes: a socket address */
        m[count] = (struct mmsghdr){
            .msg_hdr = {.msg_name = &to[count], .msg_namelen = sizeof to[0], .msg_iov = iov[count], .msg_iovlen = 2}};
        count++;
    }
    *ret_sent = send_all(k, m, count);
    return others;
}

/* ---- life */

static void packet_close(struct outer_bypass *bypass)
{
    struct packet *k = CONTAINER_OF(bypass, struct packet, bypass);
    ways_close(&k->ways);
    pace_close(&k->pace);
    if (k->ring)
        munmap(k->ring, RING_OCTETS);
    if (k->watch.fd >= 0)
        close(k->watch.fd);
    if (k->send_fd >= 0)
        close(k->send_fd);
    free(k);
}

static enum rc open_ring(struct packet *k, struct io_error *ret_error)
{
    struct io_outer *o = k->outer;
    int version = TPACKET_V2;
    struct tpacket_req request = {.tp_block_size = RING_BLOCK,
                                  .tp_block_nr = RING_OCTETS / RING_BLOCK,
                                  .tp_frame_size = RING_FRAME,
                                  .tp_frame_nr = RING_FRAMES};
    struct sockaddr_ll all = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)k->ways.device};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    k->watch.fd = fd;
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "packet socket (%s)", IO_REMEDY_PRIVILEGE);
    if (!filter_all(fd) || setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "ring of the packet socket");
    void *ring = mmap(NULL, RING_OCTETS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED)
        return io_fail_errno(ret_error, RC_NOMEM, errno, "ring of the packet socket");
    k->ring = ring;
    if (bind(fd, (struct sockaddr *)&all, sizeof all) < 0)
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "binding the packet socket");
    if ((o->config.part == IO_OUTER_WORKER && !join_rings(o, fd)) || !filter_ring(fd))
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "sharing packets among the workers' rings");
    return pace_open(&k->pace, o->loop, &k->watch, ret_error);
}

static enum rc open_sender(struct packet *k, struct io_error *ret_error)
{
    int on = 1, size = SEND_OCTETS;
    k->send_fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (k->send_fd < 0 || setsockopt(k->send_fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0)
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "packet socket for sending");
    if (setsockopt(k->send_fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        setsockopt(k->send_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return RC_OK;
}

static enum rc packet_open(struct io_outer *o, struct outer_bypass **ret, struct io_error *ret_error)
{
    struct packet *k = calloc(1, sizeof *k);
    if (!k)
        return io_fail(ret_error, RC_NOMEM, "out of memory for the packet sockets");
    enum rc rc = RC_OK;
    *k = (struct packet){.bypass.ops = &packet_ops,
                         .outer = o,
                         .send_fd = -1,
                         .watch = {.fd = -1, .events = IO_READ, .ready = ring_ready, .ctx = k}};
    if (o->config.worker > 0 && o->fanout < 0)
        rc = io_fail(ret_error, RC_UNSUPPORTED, "worker 0 has no ring");
    if (rc == RC_OK)
        rc = ways_open(o->loop, o->config.mark, o->config.device, &k->ways, ret_error);
    if (rc == RC_OK)
        rc = open_sender(k, ret_error);
    if (rc == RC_OK)
        rc = open_ring(k, ret_error);
    if (rc != RC_OK) {
        packet_close(&k->bypass);
        if (o->config.worker == 0)
            o->fanout = -1; /* its group went with it */
        return rc;
    }
    *ret = &k->bypass;
    return RC_OK;
}

const struct outer_bypass_ops packet_ops = {
    .open = packet_open, .close = packet_close, .send = packet_send, .share = filter_raw};
