/* The sockets towards the Internet: opening, options, what a reload changes, counters.
 *
 * One wildcard socket per family and per protocol or port, on port 4500 one for IKE and one per worker. A socket both receives and
 * sends; do-not-fragment is switched by a socket option just before a run of packets that need the other setting (outer_send.c).
 * No IP_RECVERR anywhere: with it, an ICMP error about one peer would fail the next send to another, and anybody can forge such an
 * error. */
#include "bypass.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BULK (16 << 20) /* socket buffers: a burst of some milliseconds at 10 Gbit/s */
#define BUFFER_IKE (4 << 20)

static const struct {
    const char *name;
    int type;
    int protocol[OUTER_FAMILIES];
    int buffer;
    bool urgent;
} kinds[OUTER_KINDS] = {
    [OUTER_GRE] = {"raw GRE", SOCK_RAW, {IPPROTO_GRE, IPPROTO_GRE}, BUFFER_BULK, false},
    [OUTER_ESP] = {"raw ESP", SOCK_RAW, {IPPROTO_ESP, IPPROTO_ESP}, BUFFER_BULK, false},
    [OUTER_ICMP] = {"raw ICMP", SOCK_RAW, {IPPROTO_ICMP, IPPROTO_ICMPV6}, 1 << 20, false},
    [OUTER_IKE] = {"UDP", SOCK_DGRAM, {IPPROTO_UDP, IPPROTO_UDP}, BUFFER_IKE, true},
    [OUTER_NATT_IKE] = {"UDP", SOCK_DGRAM, {IPPROTO_UDP, IPPROTO_UDP}, BUFFER_IKE, true},
    [OUTER_NATT] = {"UDP", SOCK_DGRAM, {IPPROTO_UDP, IPPROTO_UDP}, BUFFER_BULK, false},
};

const char *io_outer_count_name(enum io_outer_count c)
{
    static const char *const names[] = {
#define X(id, text) text,
        IO_OUTER_COUNTS(X)
#undef X
    };
    return (unsigned)c < IO_OUTER_COUNT_END ? names[c] : "?";
}

uint64_t io_outer_count(const struct io_outer *outer, enum io_outer_count c)
{
    return (unsigned)c < IO_OUTER_COUNT_END ? READ(outer->counts[c]) : 0;
}

const char *io_outer_trouble(const struct io_outer *outer)
{
    return outer->trouble.text[0] ? outer->trouble.text : NULL;
}

/* ---- whose sockets are which */

static bool has_socket(const struct io_outer *o, enum outer_kind kind)
{
    bool ike = kind == OUTER_IKE || kind == OUTER_NATT_IKE;
    return o->config.part == IO_OUTER_ALL || ike == (o->config.part == IO_OUTER_IKE);
}

/* The kernel gives every raw socket a copy of each packet, so one worker reads a protocol, the next one the next. */
static bool is_reader(const struct io_outer *o, enum outer_kind kind, unsigned family)
{
    return o->config.part != IO_OUTER_WORKER || kind > OUTER_ICMP ||
           (kind + 2 * family) % o->config.workers == o->config.worker;
}

/* ---- options */

static bool set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* Every datagram comes with its destination, traffic class and TTL: a reply's source is the address the request came to. */
static bool ask_for_details(int fd, enum outer_kind kind, unsigned family)
{
    if (family == OUTER_V4 && outer_has_header(kind, family))
        return true;
    if (family == OUTER_V4)
        return set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) && set_int(fd, IPPROTO_IP, IP_RECVTOS, 1) &&
               set_int(fd, IPPROTO_IP, IP_RECVTTL, 1);
    return set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) && set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
           set_int(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) &&
           (kind < OUTER_IKE || set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)); /* raw sockets are, and refuse it */
}

/* Only what tells of a tunnel's path: destination unreachable (with "fragmentation needed") and IPv6's packet too big; time
 * exceeded and parameter problem say why a customer sees nothing. Echo and all else never wakes us. */
static bool filter_icmp(int fd, unsigned family)
{
    if (family == OUTER_V4) {
        uint32_t refused = ~(1u << ICMP_DEST_UNREACH | 1u << ICMP_TIME_EXCEEDED | 1u << ICMP_PARAMETERPROB);
        return setsockopt(fd, SOL_RAW, ICMP_FILTER, &refused, sizeof refused) == 0;
    }
    struct icmp6_filter filter;
    memset(&filter, 0xff, sizeof filter); /* a set bit refuses the type */
    static const uint8_t wanted[] = {ICMPV6_DEST_UNREACH, ICMPV6_PKT_TOOBIG, ICMPV6_TIME_EXCEED, ICMPV6_PARAMPROB};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        filter.data[wanted[i] / 32] &= ~(1u << wanted[i] % 32);
    return setsockopt(fd, IPPROTO_ICMPV6, ICMPV6_FILTER, &filter, sizeof filter) == 0;
}

/* Port 4500: the first socket bound (number 0) gets what begins with the marker, IKE, and what is too short to tell; the workers'
 * (1 and up) all ESP (RFC 3948 2.2), by SPI. Coalescing is asked for on all: the kernel decides on it before it has chosen between
 * them. A run that begins with one kind may hold the other too, so all sockets take both. */
static bool share_port(const struct io_outer *o, int fd, enum outer_kind kind)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* of the UDP payload; where there is less, the result is 0 */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0), /* the marker */
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, o->config.workers),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1), /* after IKE's */
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};
    if (!set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) || !set_int(fd, IPPROTO_UDP, UDP_GRO, 1))
        return false;
    return kind !=
               OUTER_NATT_IKE || /* the program is the group's; a socket that brings one may found a group, not join it */
           setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) == 0;
}

/* A socket that is never read must not fill up. Bound to the loopback address, it is not even offered what is for others; the source
 * of what it sends is named with each packet. FREEBIND, should the loopback device be down; off again, as with it IPv6 may send
 * from any source. */
static bool deafen(int fd, unsigned family)
{
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {.len = 1, .filter = &nothing};
    const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    bool is_v4 = family == OUTER_V4;
    const struct sockaddr *self = is_v4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
    int level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6, option = is_v4 ? IP_FREEBIND : IPV6_FREEBIND;
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0 &&
           set_int(fd, level, option, 1) && bind(fd, self, is_v4 ? sizeof v4 : sizeof v6) == 0 &&
           set_int(fd, level, option, 0);
}

static void size_buffers(int fd, int size)
{
    if (!set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, size)) /* beyond rmem_max with CAP_NET_ADMIN only */
        set_int(fd, SOL_SOCKET, SO_RCVBUF, size);
    if (!set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, size))
        set_int(fd, SOL_SOCKET, SO_SNDBUF, size);
}

static enum rc bind_port(int fd, unsigned family, uint16_t port, struct io_error *ret_error)
{
    union outer_sockaddr any = {.sa.sa_family = family == OUTER_V4 ? AF_INET : AF_INET6};
    if (family == OUTER_V4)
        any.v4.sin_port = htons(port);
    else
        any.v6.sin6_port = htons(port);
    if (bind(fd, &any.sa, family == OUTER_V4 ? sizeof any.v4 : sizeof any.v6) == 0)
        return RC_OK;
    if (errno == EADDRINUSE)
        return io_fail(ret_error, RC_EXISTS,
                       "UDP port %u is in use by another program, most likely another IKE daemon: "
                       "`ss -ulpn sport = :%u` names it; stop it",
                       port, port);
    return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "binding UDP port %u (%s)", port,
                         IO_REMEDY_PRIVILEGE);
}

/* What the socket is to hear: all, what the bypass leaves to it, or nothing. */
static enum rc set_ears(const struct io_outer *o, const struct outer_socket *s, int fd, struct io_error *ret_error)
{
    if (!is_reader(o, s->kind, s->family))
        return deafen(fd, s->family)
                   ? RC_OK
                   : io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "%s socket for sending", kinds[s->kind].name);
    if (!ask_for_details(fd, s->kind, s->family))
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "options of the %s socket", kinds[s->kind].name);
    if (s->kind == OUTER_ICMP && !filter_icmp(fd, s->family))
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "type filter of the ICMP socket");
    if ((o->bypass || o->fanout >= 0) && s->family == OUTER_V4 && s->kind <= OUTER_ESP && !packet_ops.share(fd))
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "filter of the %s socket", kinds[s->kind].name);
    if (s->kind >= OUTER_NATT_IKE && !share_port(o, fd, s->kind))
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "splitting UDP port %u between IKE and ESP",
                             outer_port(o, s->kind));
    return RC_OK;
}

static enum rc set_options(const struct io_outer *o, const struct outer_socket *s, int fd, struct io_error *ret_error)
{
    const char *device = o->config.device;
    enum rc rc = set_ears(o, s, fd, ret_error);
    if (rc != RC_OK)
        return rc;
    if (o->config.mark && !set_int(fd, SOL_SOCKET, SO_MARK, (int)o->config.mark))
        return io_fail_errno(ret_error, RC_AUTH, errno, "outer.mark %u (%s)", o->config.mark, IO_REMEDY_PRIVILEGE);
    if (device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno,
                             "outer.device %s: no such device, or not permitted", device);
    size_buffers(fd, kinds[s->kind].buffer);
    return RC_OK;
}

/* ---- one socket's life */

static enum rc socket_open(struct io_outer *o, struct outer_socket *s, struct io_error *ret_error)
{
    int domain = s->family == OUTER_V4 ? AF_INET : AF_INET6;
    int fd = socket(domain, kinds[s->kind].type | SOCK_CLOEXEC | SOCK_NONBLOCK, kinds[s->kind].protocol[s->family]);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "opening the IPv%d %s socket (%s)",
                             s->family == OUTER_V4 ? 4 : 6, kinds[s->kind].name, IO_REMEDY_PRIVILEGE);
    uint16_t port = outer_port(o, s->kind);
    enum rc rc = set_options(o, s, fd, ret_error);
    if (rc == RC_OK && port)
        rc = bind_port(fd, s->family, port, ret_error);
    if (rc == RC_OK) {
        s->df = OUTER_DF_UNSET;
        s->tos = s->ttl = -1;
        s->apart = false;
        s->run_length = 1;
        s->batch = PKT_BATCH;
        s->watch = (struct io_watch){
            .fd = fd, .events = IO_READ, .urgent = kinds[s->kind].urgent, .ready = outer_socket_ready, .ctx = s};
        bool bulk = s->kind <= OUTER_ESP || s->kind == OUTER_NATT;
        if (is_reader(o, s->kind, s->family) && bulk)
            rc = pace_open(&s->pace, o->loop, &s->watch, ret_error);
        else if (is_reader(o, s->kind, s->family))
            rc = io_loop_watch(o->loop, &s->watch, ret_error);
    }
    if (rc != RC_OK) {
        close(fd);
        s->watch.fd = -1;
    }
    return rc;
}

static void socket_close(struct outer_socket *s)
{
    if (s->watch.fd < 0)
        return;
    pace_close(&s->pace);
    io_loop_unwatch(&s->watch);
    close(s->watch.fd);
    s->watch.fd = -1;
}

static bool is_wanted(const struct io_outer *o, const struct io_outer_want *want, const struct outer_socket *s)
{
    bool present = false;
    for (size_t i = 0; i < want->n_endpoints; i++)
        present |= want->endpoints[i].family == (s->family == OUTER_V4 ? 4 : 6);
    if (!present || !has_socket(o, s->kind))
        return false;
    switch (s->kind) {
    case OUTER_GRE: return want->gre;
    case OUTER_ESP:
    case OUTER_IKE:
    case OUTER_NATT_IKE:
    case OUTER_NATT: return want->ipsec;
    case OUTER_ICMP: return (want->gre || want->ipsec) && is_reader(o, s->kind, s->family);
    case OUTER_KINDS: break;
    }
    return false;
}

/* ---- all of them */

enum rc io_outer_set(struct io_outer *o, const struct io_outer_want *want, struct io_error *ret_error)
{
    struct outer_socket *all = &o->sockets[0][0], *opened[OUTER_KINDS * OUTER_FAMILIES];
    size_t n_opened = 0;
    struct addr *endpoints = calloc(want->n_endpoints + 1, sizeof *endpoints);
    if (!endpoints)
        return io_fail(ret_error, RC_NOMEM, "out of memory for the endpoints");
    enum rc rc = RC_OK;
    for (size_t i = 0; rc == RC_OK && i < ARRAY_LEN(opened); i++)
        if (all[i].watch.fd < 0 && is_wanted(o, want, &all[i])) {
            rc = socket_open(o, &all[i], ret_error);
            if (rc == RC_OK)
                opened[n_opened++] = &all[i];
        }
    if (rc != RC_OK) {
        while (n_opened)
            socket_close(opened[--n_opened]);
        free(endpoints);
        return rc;
    }
    for (size_t i = 0; i < ARRAY_LEN(opened); i++)
        if (!is_wanted(o, want, &all[i]))
            socket_close(&all[i]);
    for (size_t i = 0; i < want->n_endpoints; i++)
        endpoints[i] = want->endpoints[i];
    free((void *)o->config.want.endpoints);
    o->config.want = *want;
    o->config.want.endpoints = endpoints;
    o->receiver.last_endpoint = 0;
    return RC_OK;
}

enum rc io_outer_open(struct io_loop *loop, const struct io_outer_config *config, struct io_outer **ret,
                      struct io_error *ret_error)
{
    bool spread = config->part != IO_OUTER_ALL;
    if (spread && (!config->workers || (config->part == IO_OUTER_WORKER && config->worker >= config->workers)))
        return io_fail(ret_error, RC_RANGE, "worker %u of %u", config->worker, config->workers);
    struct io_outer *o = calloc(1, sizeof *o);
    if (!o)
        return io_fail(ret_error, RC_NOMEM, "out of memory for the outer sockets");
    o->loop = loop;
    o->config = *config;
    o->config.want = (struct io_outer_want){0};
    o->config.workers = spread ? config->workers : 1;
    o->config.worker = config->part == IO_OUTER_WORKER ? config->worker : 0;
    o->config.ike_port = config->ike_port ? config->ike_port : 500;
    o->config.natt_port = config->natt_port ? config->natt_port : 4500;
    o->config.first = NULL;
    o->fanout = config->first ? config->first->fanout : -1;
    for (unsigned kind = 0; kind < OUTER_KINDS; kind++)
        for (unsigned family = 0; family < OUTER_FAMILIES; family++)
            o->sockets[kind][family] =
                (struct outer_socket){.watch.fd = -1, .outer = o, .kind = (enum outer_kind)kind, .family = family};
    enum rc rc = RC_OK;
    if (config->device) {
        snprintf(o->device_name, sizeof o->device_name, "%s", config->device);
        o->config.device = o->device_name;
    }
    rc = outer_receiver_init(o, ret_error);
    if (rc == RC_OK && config->packet && config->part != IO_OUTER_IKE &&
        packet_ops.open(o, &o->bypass, &o->trouble) != RC_OK)
        o->bypass = NULL; /* io_outer_trouble() says why; the sockets do all of it */
    if (rc == RC_OK)
        rc = io_outer_set(o, &config->want, ret_error);
    if (rc != RC_OK) {
        io_outer_close(o);
        return rc;
    }
    *ret = o;
    return RC_OK;
}

void io_outer_close(struct io_outer *outer)
{
    if (!outer)
        return;
    for (unsigned kind = 0; kind < OUTER_KINDS; kind++)
        for (unsigned family = 0; family < OUTER_FAMILIES; family++)
            socket_close(&outer->sockets[kind][family]);
    if (outer->bypass)
        outer->bypass->ops->close(outer->bypass);
    outer_receiver_clear(outer);
    free((void *)outer->config.want.endpoints);
    free(outer);
}
