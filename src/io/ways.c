/* Next hops. Three questions make one way: the route, the neighbour on it, the device's MTU (not the route's: that one the kernel
 * learns from ICMP that anybody can forge). Events of the kernel only ever forget. */
#include "ways.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEPT NS_PER_S
#define KEPT_UNUSABLE (NS_PER_S / 10) /* until the kernel has resolved the neighbour */
#define FLUSH_INTERVAL (NS_PER_S / 10)
#define EVENTS_OCTETS (32 * 1024)
#define USABLE (NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

/* ---- questions */

struct answer {
    uint16_t type; /* of message expected */
    size_t header;
    const struct nlattr *found[32]; /* attributes by type; the larger types are of no interest */
    struct way *way;
};

static int note_attribute(const struct nlattr *attr, void *ctx)
{
    struct answer *a = ctx;
    uint16_t type = mnl_attr_get_type(attr);
    if (type < ARRAY_LEN(a->found))
        a->found[type] = attr;
    return MNL_CB_OK;
}

static void read_route(const struct rtmsg *r, struct answer *a)
{
    const struct nlattr *device = a->found[RTA_OIF], *gateway = a->found[RTA_GATEWAY];
    if (r->rtm_type != RTN_UNICAST || !device || a->found[RTA_VIA] || a->found[RTA_ENCAP])
        return;
    a->way->device = mnl_attr_get_u32(device);
    if (gateway && mnl_attr_get_payload_len(gateway) == addr_size(&a->way->dst))
        a->way->via = addr_of(a->way->dst.family, mnl_attr_get_payload(gateway));
}

static void read_neighbour(const struct ndmsg *n, struct answer *a)
{
    const struct nlattr *link = a->found[NDA_LLADDR];
    size_t len = link ? mnl_attr_get_payload_len(link) : 0;
    if (!(n->ndm_state & USABLE) || len == 0 || len > sizeof a->way->link)
        return;
    memcpy(a->way->link, mnl_attr_get_payload(link), len);
    a->way->link_len = (uint8_t)len;
}

static int note_answer(const struct nlmsghdr *h, void *ctx)
{
    struct answer *a = ctx;
    if (h->nlmsg_type != a->type || mnl_nlmsg_get_payload_len(h) < a->header)
        return MNL_CB_OK;
    memset(a->found, 0, sizeof a->found);
    mnl_attr_parse(h, a->header, note_attribute, a);
    if (a->type == RTM_NEWROUTE)
        read_route(mnl_nlmsg_get_payload(h), a);
    else if (a->type == RTM_NEWNEIGH)
        read_neighbour(mnl_nlmsg_get_payload(h), a);
    else if (a->found[IFLA_MTU])
        a->way->mtu = mnl_attr_get_u32(a->found[IFLA_MTU]);
    return MNL_CB_OK;
}

static uint8_t family_of(const struct addr *a)
{
    return a->family == 4 ? AF_INET : AF_INET6;
}

static void put_addr(union netlink_message *m, uint16_t type, const struct addr *a)
{
    mnl_attr_put(&m->header, type, addr_size(a), a->b);
}

static bool ask_route(struct ways *w, struct way *way)
{
    union netlink_message m;
    struct answer a = {.type = RTM_NEWROUTE, .header = sizeof(struct rtmsg), .way = way};
    struct rtmsg *r = netlink_begin(&m, RTM_GETROUTE, 0, sizeof *r);
    r->rtm_family = family_of(&way->dst);
    r->rtm_dst_len = r->rtm_src_len = (uint8_t)(8 * addr_size(&way->dst));
    put_addr(&m, RTA_DST, &way->dst);
    put_addr(&m, RTA_SRC, &way->src);
    if (w->mark)
        mnl_attr_put_u32(&m.header, RTA_MARK, w->mark);
    if (w->device)
        mnl_attr_put_u32(&m.header, RTA_OIF, w->device);
    way->device = 0;
    way->via = way->dst;
    return netlink_ask(&w->netlink, &m, note_answer, &a) == 0 && way->device;
}

static bool ask_neighbour(struct ways *w, struct way *way)
{
    union netlink_message m;
    struct answer a = {.type = RTM_NEWNEIGH, .header = sizeof(struct ndmsg), .way = way};
    struct ndmsg *n = netlink_begin(&m, RTM_GETNEIGH, 0, sizeof *n);
    n->ndm_family = family_of(&way->via);
    n->ndm_ifindex = (int)way->device;
    put_addr(&m, NDA_DST, &way->via);
    way->link_len = 0;
    return netlink_ask(&w->netlink, &m, note_answer, &a) == 0 && way->link_len;
}

static bool ask_mtu(struct ways *w, struct way *way)
{
    union netlink_message m;
    struct answer a = {.type = RTM_NEWLINK, .header = sizeof(struct ifinfomsg), .way = way};
    struct ifinfomsg *i = netlink_begin(&m, RTM_GETLINK, 0, sizeof *i);
    i->ifi_index = (int)way->device;
    way->mtu = 0;
    return netlink_ask(&w->netlink, &m, note_answer, &a) == 0 && way->mtu;
}

/* ---- what is kept */

static size_t place_of(const struct addr *src, const struct addr *dst)
{
    uint64_t h = 0; /* not keyed: who fills a place sends by the kernel, no more */
    for (size_t i = 0; i < sizeof dst->b; i++)
        h = (h ^ dst->b[i] ^ (uint64_t)src->b[i] << 8) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> 32) % WAYS;
}

static void forget_all(struct ways *w)
{
    for (size_t i = 0; i < WAYS; i++)
        w->v[i].until = 0;
}

const struct way *ways_find(struct ways *w, uint64_t now, const struct addr *src, const struct addr *dst)
{
    struct way *way = &w->v[place_of(src, dst)];
    if (w->stale && now >= w->next_flush) {
        forget_all(w);
        w->stale = false;
        w->next_flush = now + FLUSH_INTERVAL;
    }
    if (now < way->until)
        return way->device && addr_equal(&way->dst, dst) && addr_equal(&way->src, src) ? way : NULL;
    way->src = *src;
    way->dst = *dst;
    bool usable = ask_route(w, way) && ask_neighbour(w, way) && ask_mtu(w, way);
    if (!usable)
        way->device = 0;
    way->until = now + (usable ? KEPT : KEPT_UNUSABLE);
    return NULL;
}

/* ---- events */

/* A neighbour changes often, and concerns few; a route or a device rarely, and may concern all. */
static int note_event(const struct nlmsghdr *h, void *ctx)
{
    struct ways *w = ctx;
    struct answer a = {.header = sizeof(struct ndmsg)};
    if (h->nlmsg_type != RTM_NEWNEIGH && h->nlmsg_type != RTM_DELNEIGH) {
        w->stale = true;
        return MNL_CB_OK;
    }
    if (mnl_nlmsg_get_payload_len(h) < a.header)
        return MNL_CB_OK;
    mnl_attr_parse(h, a.header, note_attribute, &a);
    const struct nlattr *found = a.found[NDA_DST];
    size_t len = found ? mnl_attr_get_payload_len(found) : 0;
    if (len != 4 && len != 16)
        return MNL_CB_OK;
    struct addr neighbour = addr_of(len == 4 ? 4 : 6, mnl_attr_get_payload(found));
    for (size_t i = 0; i < WAYS; i++)
        if (w->v[i].until && addr_equal(&w->v[i].via, &neighbour))
            w->v[i].until = 0;
    return MNL_CB_OK;
}

static void events_ready(void *ctx, unsigned events)
{
    (void)events;
    struct ways *w = ctx;
    _Alignas(struct nlmsghdr) uint8_t octets[EVENTS_OCTETS];
    ssize_t len = recv(w->events.fd, octets, sizeof octets, MSG_DONTWAIT);
    if (len > 0)
        mnl_cb_run(octets, (size_t)len, 0, 0, note_event, w);
    else if (len < 0 && errno == ENOBUFS) /* more happened than we heard of */
        w->stale = true;
}

static int open_events(struct ways *w)
{
    static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_NEIGH,     RTNLGRP_IPV4_ROUTE,
                                 RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE};
    struct netlink n;
    int error = netlink_open(NETLINK_ROUTE, &n);
    if (error)
        return error;
    w->events.fd = n.fd;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (setsockopt(n.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) < 0)
            return errno;
    return 0;
}

enum rc ways_open(struct io_loop *loop, uint32_t mark, const char *device, struct ways *ret, struct io_error *ret_error)
{
    *ret = (struct ways){.netlink.fd = -1,
                         .mark = mark,
                         .device = device ? if_nametoindex(device) : 0,
                         .events = {.fd = -1, .events = IO_READ, .ready = events_ready, .ctx = ret},
                         .v = calloc(WAYS, sizeof *ret->v)};
    if (!ret->v)
        return io_fail(ret_error, RC_NOMEM, "out of memory for next hops");
    int error = netlink_open(NETLINK_ROUTE, &ret->netlink);
    if (!error)
        error = open_events(ret);
    enum rc rc = error ? io_fail_errno(ret_error, io_rc_of_errno(error), error, "rtnetlink for next hops")
                       : io_loop_watch(loop, &ret->events, ret_error);
    if (rc != RC_OK)
        ways_close(ret);
    return rc;
}

void ways_close(struct ways *w)
{
    if (!w->v)
        return;
    io_loop_unwatch(&w->events);
    if (w->events.fd >= 0)
        close(w->events.fd);
    netlink_close(&w->netlink);
    free(w->v);
    *w = (struct ways){0};
}
