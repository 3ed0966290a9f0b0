/* Sending: packets grouped by socket and do-not-fragment, each group one sendmmsg(); nothing ever waits. The source address, the
 * traffic class and the TTL of each packet go along as control messages. On port 4500, neighbours of one size and one outer header
 * go as one message, which the kernel or the device cuts (UDP_SEGMENT): the kernel's work is done once per run. */
#include "bypass.h"

#include <errno.h>
#include <sys/socket.h>

#define TTL_DEFAULT 64
#define RUN_PACKETS 64   /* UDP_MAX_SEGMENTS of older kernels */
#define RUN_OCTETS 65000 /* with its headers it is one IP packet until it is cut */

struct message { /* what the kernel needs to know of one datagram, or run of them */
    union outer_sockaddr to;
    _Alignas(struct cmsghdr) uint8_t control[OUTER_CONTROL_MAX];
};

static void add_control(struct msghdr *h, int level, int type, const void *value, size_t n)
{
    struct cmsghdr *c = (void *)((uint8_t *)h->msg_control + h->msg_controllen);
    memset(c, 0, CMSG_SPACE(n)); /* padding included: the kernel copies all of it */
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(c), value, n);
    h->msg_controllen += CMSG_SPACE(n);
}

/* Traffic class and TTL are told only where they are not the socket's own: a control message that holds an IPv4 source alone is
 * short enough for the kernel to need no memory of its own for it, for every single packet. */
static void fill_header(const struct outer_socket *s, struct msghdr *h, struct message *m, struct iovec *iov,
                        const struct pkt_outer *outer, uint16_t port)
{
    int tos = outer->tos, ttl = outer->ttl ? outer->ttl : TTL_DEFAULT;
    bool v4 = outer->dst.family == 4;
    memset(&m->to, 0, sizeof m->to);
    *h = (struct msghdr){.msg_name = &m->to, .msg_iov = iov, .msg_iovlen = 1, .msg_control = m->control};
    if (v4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, outer->src.b, 4);
        m->to.v4.sin_family = AF_INET;
        m->to.v4.sin_port = htons(port);
        memcpy(&m->to.v4.sin_addr, outer->dst.b, 4);
        h->msg_namelen = sizeof m->to.v4;
        add_control(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else {
        struct in6_pktinfo info = {0};
        memcpy(&info.ipi6_addr, outer->src.b, 16);
        m->to.v6.sin6_family = AF_INET6;
        m->to.v6.sin6_port = htons(port);
        memcpy(&m->to.v6.sin6_addr, outer->dst.b, 16);
        h->msg_namelen = sizeof m->to.v6;
        add_control(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
    if (tos != s->tos)
        add_control(h, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof tos);
    if (ttl != s->ttl)
        add_control(h, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, &ttl, sizeof ttl);
}

void outer_count_refusal(struct io_outer *o, int error)
{
    switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM: outer_count(o, IO_OUTER_COUNT_SEND_FULL, 1); break;
    case EMSGSIZE: outer_count(o, IO_OUTER_COUNT_SEND_TOO_BIG, 1); break;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
    case ENETDOWN:
    case EINVAL: /* what the kernel calls a source address that is not local */
        outer_count(o, IO_OUTER_COUNT_SEND_UNREACHABLE, 1);
        break;
    case EPERM:
    case EACCES: outer_count(o, IO_OUTER_COUNT_SEND_REFUSED, 1); break;
    default: outer_count(o, IO_OUTER_COUNT_SEND_ERROR, 1); break;
    }
}

static void set_option(struct outer_socket *s, int v4, int v6, int *has, int wanted)
{
    bool is_v4 = s->family == OUTER_V4;
    if (*has != wanted &&
        setsockopt(s->watch.fd, is_v4 ? IPPROTO_IP : IPPROTO_IPV6, is_v4 ? v4 : v6, &wanted, sizeof wanted) == 0)
        *has = wanted;
}

/* What most packets of a group have in common is made the socket's own. */
static void adopt(struct outer_socket *s, const struct pkt_outer *outer)
{
    set_option(s, IP_TOS, IPV6_TCLASS, &s->tos, outer->tos);
    set_option(s, IP_TTL, IPV6_UNICAST_HOPS, &s->ttl, outer->ttl ? outer->ttl : TTL_DEFAULT);
}

/* The packet's DF bit is a property of the socket; see enum outer_df. */
static void set_df(struct outer_socket *s, bool df)
{
    enum outer_df want = df ? OUTER_DF_ON : OUTER_DF_OFF;
    if (s->df == want)
        return;
    int v4 = df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_OMIT, v6 = df ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_OMIT;
    int failed = s->family == OUTER_V4 ? setsockopt(s->watch.fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof v4)
                                       : setsockopt(s->watch.fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof v6);
    if (!failed)
        s->df = want;
}

struct outcome {
    size_t done, sent; /* packets: no longer to be sent; of these, gone */
    bool apart;        /* a run was refused */
};

/* Send, skipping what the kernel refuses; a full socket buffer ends it, and so does a run that is refused. */
static void send_messages(struct io_outer *o, struct outer_socket *s, struct mmsghdr *m, const size_t *packets,
                          size_t n, struct outcome *ret)
{
    for (size_t at = 0; at < n;) {
        int r = sendmmsg(s->watch.fd, m + at, (unsigned)(n - at), MSG_DONTWAIT);
        int error = r > 0 ? 0 : errno;
        for (; r > 0; r--, at++) {
            ret->sent += packets[at];
            ret->done += packets[at];
        }
        if (error == EAGAIN) {
            for (; at < n; at++) {
                outer_count(o, IO_OUTER_COUNT_SEND_FULL, packets[at]);
                ret->done += packets[at];
            }
        } else if (error && error != EINTR) {
            if (packets[at] > 1) {
                s->apart |= error == EIO; /* no checksum offload on that device: so it will be the next time */
                ret->apart = true;
                return;
            }
            outer_count_refusal(o, error);
            ret->done += packets[at++];
        }
    }
}

/* ---- packets of the datapath */

#define GROUP_NONE UINT8_MAX /* groups: (kind * families + family) * 2 + df */

static uint8_t group_of(const struct io_outer *o, const struct pkt *p)
{
    enum outer_kind kind;
    switch ((enum pkt_verdict)p->verdict) {
    case PKT_TO_GRE: kind = OUTER_GRE; break;
    case PKT_TO_ESP: kind = OUTER_ESP; break;
    case PKT_TO_NATT: kind = OUTER_NATT; break;
    case PKT_DROP:
    case PKT_TO_TUN:
    case PKT_TO_WORKER:
    default: return GROUP_NONE;
    }
    unsigned family = p->outer.dst.family == 4 ? OUTER_V4 : OUTER_V6;
    if (p->outer.dst.family == 0 || p->outer.src.family != p->outer.dst.family || o->sockets[kind][family].watch.fd < 0)
        return GROUP_NONE;
    return (uint8_t)((kind * OUTER_FAMILIES + family) * 2 + p->outer.df);
}

static bool same_header(const struct pkt_outer *a, const struct pkt_outer *b)
{
    return a->tos == b->tos && a->ttl == b->ttl && a->dport == b->dport && addr_equal(&a->dst, &b->dst) &&
           addr_equal(&a->src, &b->src);
}

/* How many of the n packets go as one message: all of one size, only the last may be shorter. */
static size_t run_length(struct pkt *const *v, size_t n)
{
    uint32_t size = v[0]->len, octets = size;
    size_t i = 1;
    while (i < n && i < RUN_PACKETS && v[i - 1]->len == size && v[i]->len <= size && v[i]->len > 0 &&
           octets + v[i]->len <= RUN_OCTETS && same_header(&v[0]->outer, &v[i]->outer))
        octets += v[i++]->len;
    return i;
}

/* Packets of one socket and one DF bit, in their order. */
static size_t send_list(struct io_outer *o, struct outer_socket *s, struct pkt *const *v, size_t n)
{
    struct mmsghdr m[PKT_BATCH];
    struct message messages[PKT_BATCH];
    struct iovec iov[PKT_BATCH];
    size_t packets[PKT_BATCH];
    struct outcome outcome = {.apart = s->kind != OUTER_NATT || s->apart};
    while (outcome.done < n) {
        size_t count = 0;
        for (size_t i = outcome.done; i < n; i += packets[count++]) {
            struct msghdr *h = &m[count].msg_hdr;
            fill_header(s, h, &messages[count], &iov[i], &v[i]->outer, s->kind == OUTER_NATT ? v[i]->outer.dport : 0);
            packets[count] = outcome.apart ? 1 : run_length(v + i, n - i);
            for (size_t k = i; k < i + packets[count]; k++)
                iov[k] = (struct iovec){.iov_base = v[k]->data, .iov_len = v[k]->len};
            h->msg_iovlen = packets[count];
            uint16_t size = (uint16_t)v[i]->len;
            if (packets[count] > 1)
                add_control(h, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
        }
        send_messages(o, s, m, packets, count, &outcome);
    }
    outer_count(o, IO_OUTER_COUNT_SENT, outcome.sent);
    return outcome.sent;
}

static size_t send_group(struct io_outer *o, struct pkt *const *v, const uint8_t *group, size_t n, uint8_t which)
{
    struct outer_socket *s = &o->sockets[which / 2 / OUTER_FAMILIES][which / 2 % OUTER_FAMILIES];
    struct pkt *list[PKT_BATCH];
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (group[i] == which)
            list[count++] = v[i];
    size_t past = 0;
    if (o->bypass && (which & 1) && s->kind <= OUTER_ESP)
        count = o->bypass->ops->send(o->bypass, s->kind == OUTER_GRE ? IPPROTO_GRE : IPPROTO_ESP, list, count, &past);
    outer_count(o, IO_OUTER_COUNT_SENT, past);
    if (count == 0)
        return past;
    set_df(s, which & 1);
    adopt(s, &list[0]->outer);
    return past + send_list(o, s, list, count);
}

size_t io_outer_send(struct io_outer *o, struct pkt *const *v, size_t n)
{
    size_t sent = 0;
    for (size_t at = 0; at < n; at += PKT_BATCH) {
        size_t count = n - at < PKT_BATCH ? n - at : PKT_BATCH;
        uint8_t group[PKT_BATCH];
        uint32_t present = 0;
        for (size_t i = 0; i < count; i++) {
            group[i] = group_of(o, v[at + i]);
            if (group[i] == GROUP_NONE)
                outer_count(o, IO_OUTER_COUNT_SEND_ERROR, 1);
            else
                present |= 1u << group[i];
        }
        for (uint8_t g = 0; present; g++, present >>= 1)
            if (present & 1)
                sent += send_group(o, v + at, group, count, g);
    }
    return n - sent;
}

/* ---- IKE */

void io_outer_send_datagram(struct io_outer *o, const struct path *path, bool marker, struct span datagram)
{
    static const uint8_t zeros[4]; /* RFC 3948 2.2 */
    /* DF=0: a large IKE message must arrive even where the path is narrow; IKE fragments itself when the peer can. */
    struct pkt_outer outer = {.src = path->local.addr, .dst = path->remote.addr};
    enum outer_kind kind = path->local.port == o->config.natt_port ? OUTER_NATT_IKE : OUTER_IKE;
    struct outer_socket *s = &o->sockets[kind][outer.dst.family == 4 ? OUTER_V4 : OUTER_V6];
    if (outer.dst.family == 0 || outer.src.family != outer.dst.family || s->watch.fd < 0) {
        outer_count(o, IO_OUTER_COUNT_SEND_ERROR, 1);
        return;
    }
    struct mmsghdr m;
    struct message message;
    struct iovec iov[2];
    struct outcome outcome = {0};
    size_t pieces = 0, packets = 1;
    if (marker)
        iov[pieces++] = (struct iovec){.iov_base = (void *)zeros, .iov_len = sizeof zeros};
    iov[pieces++] = (struct iovec){.iov_base = (void *)datagram.p, .iov_len = datagram.n};
    fill_header(s, &m.msg_hdr, &message, iov, &outer, path->remote.port);
    m.msg_hdr.msg_iovlen = pieces;
    set_df(s, false);
    send_messages(o, s, &m, &packets, 1, &outcome);
    outer_count(o, IO_OUTER_COUNT_SENT, outcome.sent);
}
