/* Receiving: batches straight into packet buffers, everything the outer header says into pkt.outer, and on port 4500 the split
 * of RFC 3948 2.2: an SPI is never zero, so four zero octets in its place (the marker) announce IKE. */
#include "outer.h"
#include "pieces.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define IPV4_HEADER_MIN 20
#define MARKER 4

struct batch { /* what one recvmmsg() fills */
    struct mmsghdr m[PKT_BATCH];
    struct iovec iov[PKT_BATCH][2];
    union outer_sockaddr from[PKT_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[PKT_BATCH][OUTER_CONTROL_MAX];
};

enum rc outer_receiver_init(struct io_outer *o, struct io_error *ret_error)
{
    void *p = mmap(NULL, (size_t)PKT_BATCH * PKT_LARGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return io_fail_errno(ret_error, RC_NOMEM, errno, "memory for received packets");
    o->receiver.spill = p;
    return RC_OK;
}

void outer_receiver_clear(struct io_outer *o)
{
    for (size_t i = 0; i < PKT_BATCH; i++) {
        pkt_put(o->config.pool, o->receiver.slot[i]);
        o->receiver.slot[i] = NULL;
    }
    if (o->receiver.spill)
        munmap(o->receiver.spill, (size_t)PKT_BATCH * PKT_LARGE);
    o->receiver.spill = NULL;
}

/* A raw IPv4 socket delivers the IP header too: without options it comes to lie in the headroom, the payload at its place. */
static size_t header_room(const struct outer_socket *s)
{
    return outer_has_header(s->kind, s->family) ? IPV4_HEADER_MIN : 0;
}

static size_t prepare(struct io_outer *o, const struct outer_socket *s, struct batch *b)
{
    size_t n = 0, front = header_room(s);
    for (; n < PKT_BATCH; n++) {
        struct pkt **slot = &o->receiver.slot[n];
        if (!*slot && !(*slot = pkt_get(o->config.pool, false)))
            break;
        b->iov[n][0] = (struct iovec){.iov_base = (*slot)->data - front, .iov_len = front + PKT_SMALL};
        b->iov[n][1] = (struct iovec){.iov_base = o->receiver.spill + n * PKT_LARGE, .iov_len = PKT_LARGE};
        b->m[n] = (struct mmsghdr){.msg_hdr = {.msg_name = &b->from[n],
                                               .msg_namelen = sizeof b->from[n],
                                               .msg_iov = b->iov[n],
                                               .msg_iovlen = 2,
                                               .msg_control = b->control[n],
                                               .msg_controllen = OUTER_CONTROL_MAX}};
    }
    return n;
}

/* No buffer is free: the packets are lost either way; left in the socket they would wake us without end. */
static void discard(struct io_outer *o, const struct outer_socket *s)
{
    for (size_t i = 0; i < PKT_BATCH && recv(s->watch.fd, o->receiver.spill, PKT_LARGE, MSG_DONTWAIT) >= 0; i++)
        o->counts[IO_OUTER_COUNT_DROP_POOL]++;
}

/* ---- one datagram */

static struct addr address_of(const union outer_sockaddr *sa)
{
    if (sa->sa.sa_family == AF_INET)
        return addr_of(4, (const uint8_t *)&sa->v4.sin_addr);
    return addr_of(6, (const uint8_t *)&sa->v6.sin6_addr);
}

static uint16_t port_of(const union outer_sockaddr *sa)
{
    return ntohs(sa->sa.sa_family == AF_INET ? sa->v4.sin_port : sa->v6.sin6_port);
}

/* Destination, traffic class and TTL from the control messages. */
static bool read_details(struct msghdr *h, struct pkt_outer *ret)
{
    bool found = false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ret->dst = addr_of(4, (const uint8_t *)&info.ipi_addr);
            found = true;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ret->dst = addr_of(6, (const uint8_t *)&info.ipi6_addr);
            ret->df = true; /* no router fragments IPv6 */
            found = true;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            ret->tos = *CMSG_DATA(c);
        } else if (c->cmsg_level == IPPROTO_IP || c->cmsg_level == IPPROTO_IPV6) {
            int value;
            memcpy(&value, CMSG_DATA(c), sizeof value);
            if (c->cmsg_type == (c->cmsg_level == IPPROTO_IP ? IP_TTL : IPV6_HOPLIMIT))
                ret->ttl = (uint8_t)value;
            else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
                ret->tos = (uint8_t)value;
        }
    }
    return found;
}

/* RFC 791 3.1: what a raw IPv4 socket puts in front. */
static bool strip_ipv4(struct pkt *p)
{
    struct rd r = rd_of(span_of(p->data, p->len));
    uint8_t first = rd_u8(&r);
    p->outer.tos = rd_u8(&r);
    rd_take(&r, 4); /* total length (the kernel has trimmed the packet to it), identification */
    p->outer.df = rd_u16(&r) & 0x4000;
    p->outer.ttl = rd_u8(&r);
    rd_take(&r, 3); /* protocol, checksum */
    p->outer.src = addr_of(4, rd_take(&r, 4).p);
    p->outer.dst = addr_of(4, rd_take(&r, 4).p);
    size_t header = (size_t)(first & 15) * 4;
    if (r.failed || first >> 4 != 4 || header < IPV4_HEADER_MIN || header > p->len)
        return false;
    p->data += header;
    p->len -= (uint32_t)header;
    return true;
}

static bool is_endpoint(struct io_outer *o, const struct addr *a)
{
    const struct io_outer_want *want = &o->config.want;
    if (o->receiver.last_endpoint < want->n_endpoints && addr_equal(&want->endpoints[o->receiver.last_endpoint], a))
        return true;
    for (size_t i = 0; i < want->n_endpoints; i++)
        if (addr_equal(&want->endpoints[i], a)) {
            o->receiver.last_endpoint = i;
            return true;
        }
    return false;
}

/* The i-th message of the batch as a packet with `outer` filled, or NULL and a count. */
static struct pkt *take(struct outer_socket *s, struct batch *b, size_t i)
{
    struct io_outer *o = s->outer;
    struct msghdr *h = &b->m[i].msg_hdr;
    size_t len = b->m[i].msg_len, front = header_room(s);
    struct pkt *p = o->receiver.slot[i];
    enum io_outer_count drop = IO_OUTER_COUNT_END;

    if (h->msg_flags & MSG_TRUNC || len > PKT_LARGE) {
        o->counts[IO_OUTER_COUNT_DROP_TRUNCATED]++;
        return NULL; /* the slot keeps its buffer */
    }
    if (len > b->iov[i][0].iov_len) {
        p = pieces_join(o->config.pool, b->iov[i], len, front);
        if (!p) {
            o->counts[IO_OUTER_COUNT_DROP_POOL]++;
            return NULL;
        }
    } else {
        o->receiver.slot[i] = NULL;
        p->data -= front;
        p->len = (uint32_t)len;
    }
    if (front ? !strip_ipv4(p) : !read_details(h, &p->outer))
        drop = IO_OUTER_COUNT_DROP_HEADER;
    else if (!is_endpoint(o, &p->outer.dst))
        drop = IO_OUTER_COUNT_DROP_DESTINATION;
    if (drop != IO_OUTER_COUNT_END) {
        o->counts[drop]++;
        pkt_put(o->config.pool, p);
        return NULL;
    }
    if (!front)
        p->outer.src = address_of(&b->from[i]);
    if (outer_port(o, s->kind)) {
        p->outer.sport = port_of(&b->from[i]);
        p->outer.dport = outer_port(o, s->kind);
    }
    return p;
}

/* RFC 3948 2.2, 2.3. True: p is an IKE datagram, its marker removed. False and *p NULL: nothing is left to do. */
static bool split_natt(struct io_outer *o, struct pkt **p)
{
    struct rd r = rd_of(span_of((*p)->data, (*p)->len));
    enum io_outer_count count = IO_OUTER_COUNT_END;
    uint32_t spi = rd_u32(&r);
    if (r.failed)
        count = (*p)->len == 1 && (*p)->data[0] == 0xff ? IO_OUTER_COUNT_KEEPALIVE : IO_OUTER_COUNT_DROP_SHORT;
    else if (spi == 0) {
        (*p)->data += MARKER;
        (*p)->len -= MARKER;
        return true;
    }
    if (count != IO_OUTER_COUNT_END) {
        o->counts[count]++;
        pkt_put(o->config.pool, *p);
        *p = NULL;
    }
    return false;
}

static void give_datagram(struct io_outer *o, struct pkt *p)
{
    struct path path = {.local = {.addr = p->outer.dst, .port = p->outer.dport},
                        .remote = {.addr = p->outer.src, .port = p->outer.sport}};
    if (o->config.datagram)
        o->config.datagram(o->config.ctx, &path, span_of(p->data, p->len));
    pkt_put(o->config.pool, p);
}

/* One batch per wake-up: the loop serves its urgent watches between two batches, so bulk traffic never starves IKE. Within a
 * batch of port 4500, IKE goes first as well. */
void outer_socket_ready(void *ctx, unsigned events)
{
    static const uint8_t from[OUTER_KINDS] = {[OUTER_GRE] = PKT_FROM_GRE,
                                              [OUTER_ESP] = PKT_FROM_ESP,
                                              [OUTER_ICMP] = PKT_FROM_ICMP,
                                              [OUTER_NATT] = PKT_FROM_NATT};
    (void)events;
    struct outer_socket *s = ctx;
    struct io_outer *o = s->outer;
    struct batch b;
    size_t slots = prepare(o, s, &b), n = 0;
    if (slots == 0) {
        discard(o, s);
        return;
    }
    int got = recvmmsg(s->watch.fd, b.m, (unsigned)slots, MSG_DONTWAIT, NULL);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR)
            o->counts[IO_OUTER_COUNT_RECEIVE_ERROR]++;
        return;
    }
    o->counts[IO_OUTER_COUNT_RECEIVED] += (unsigned)got;
    struct pkt *bulk[PKT_BATCH];
    for (size_t i = 0; i < (size_t)got; i++) {
        struct pkt *p = take(s, &b, i);
        if (!p)
            continue;
        p->from = from[s->kind];
        if (s->kind == OUTER_IKE || (s->kind == OUTER_NATT && split_natt(o, &p)))
            give_datagram(o, p);
        else if (p)
            bulk[n++] = p;
    }
    if (n)
        o->config.packets(o->config.ctx, bulk, n);
}
