/* Routes into the tunnels: protocol 173, of the main table, each with its tunnel's MTU. */
#include "netlink.h"
#include "tun.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define METRIC_DEFAULT6 1024 /* what the kernel makes of no metric in IPv6; in IPv4 it stays 0 */
#define DUMP_TRIES 8

struct routes {
    struct io_route *v;
    size_t n, cap;
    uint32_t index; /* of the device they lead to */
    bool failed;    /* out of memory */
};

static uint8_t family_of(const struct prefix *p)
{
    return p->addr.family == 4 ? AF_INET : AF_INET6;
}

/* ---- what is there */

static int note_attribute(const struct nlattr *attr, void *ctx)
{
    const struct nlattr **found = ctx;
    if (mnl_attr_type_valid(attr, RTA_MAX) >= 0)
        found[mnl_attr_get_type(attr)] = attr;
    return MNL_CB_OK;
}

static int note_route(const struct nlmsghdr *h, void *ctx)
{
    struct routes *routes = ctx;
    const struct rtmsg *header = mnl_nlmsg_get_payload(h);
    const struct nlattr *found[RTA_MAX + 1] = {NULL};
    if (h->nlmsg_type != RTM_NEWROUTE || header->rtm_protocol != IO_ROUTE_PROTOCOL ||
        header->rtm_table != RT_TABLE_MAIN || header->rtm_flags & RTM_F_CLONED)
        return MNL_CB_OK;
    mnl_attr_parse(h, sizeof *header, note_attribute, found);
    if (!found[RTA_OIF] || mnl_attr_get_u32(found[RTA_OIF]) != routes->index)
        return MNL_CB_OK;
    struct io_route route = {
        .prefix = {.addr.family = header->rtm_family == AF_INET ? 4 : 6, .len = header->rtm_dst_len}};
    if (found[RTA_DST] && mnl_attr_get_payload_len(found[RTA_DST]) == addr_size(&route.prefix.addr))
        memcpy(route.prefix.addr.b, mnl_attr_get_payload(found[RTA_DST]), addr_size(&route.prefix.addr));
    if (found[RTA_PRIORITY])
        route.metric = mnl_attr_get_u32(found[RTA_PRIORITY]);
    if (routes->n == routes->cap) {
        size_t cap = routes->cap ? 2 * routes->cap : 64;
        struct io_route *v = realloc(routes->v, cap * sizeof *v);
        if (!v) {
            routes->failed = true;
            return MNL_CB_OK;
        }
        routes->v = v;
        routes->cap = cap;
    }
    routes->v[routes->n++] = route;
    return MNL_CB_OK;
}

/* All routes of ours through the device, of one family (AF_INET, AF_INET6); ret->v is the caller's to free. */
static int read_routes(struct io_tun *tun, uint8_t family, struct routes *ret)
{
    struct routes routes = {.index = tun->index};
    int error = EINTR;
    for (int i = 0; error == EINTR && i < DUMP_TRIES; i++) {
        union netlink_message m;
        struct rtmsg *header = netlink_begin(&m, RTM_GETROUTE, NLM_F_DUMP, sizeof *header);
        header->rtm_family = family;
        header->rtm_table = RT_TABLE_MAIN;
        header->rtm_protocol = IO_ROUTE_PROTOCOL;
        mnl_attr_put_u32(&m.header, RTA_OIF, tun->index);
        routes.n = 0;
        error = netlink_ask(&tun->netlink, &m, note_route, &routes);
    }
    if (!error && routes.failed)
        error = ENOMEM;
    if (error) {
        free(routes.v);
        return error == ENOENT ? 0 : error; /* no such table yet: no route either */
    }
    *ret = routes;
    return 0;
}

size_t routes_count(struct io_tun *tun, uint8_t family)
{
    struct routes routes = {0};
    if (read_routes(tun, family == 4 ? AF_INET : AF_INET6, &routes))
        return 0;
    free(routes.v);
    return routes.n;
}

/* ---- changing it */

static uint32_t metric_of(const struct io_route *route)
{
    return !route->metric && route->prefix.addr.family == 6 ? METRIC_DEFAULT6 : route->metric;
}

static void begin_route(const struct io_tun *tun, union netlink_message *m, uint16_t type, uint16_t flags,
                        const struct io_route *route)
{
    struct rtmsg *header = netlink_begin(m, type, flags, sizeof *header);
    *header = (struct rtmsg){.rtm_family = family_of(&route->prefix),
                             .rtm_dst_len = route->prefix.len,
                             .rtm_table = RT_TABLE_MAIN,
                             .rtm_protocol = IO_ROUTE_PROTOCOL,
                             .rtm_type = RTN_UNICAST,
                             .rtm_scope = route->prefix.addr.family == 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE};
    mnl_attr_put(&m->header, RTA_DST, addr_size(&route->prefix.addr), route->prefix.addr.b);
    mnl_attr_put_u32(&m->header, RTA_OIF, tun->index);
    if (metric_of(route))
        mnl_attr_put_u32(&m->header, RTA_PRIORITY, metric_of(route));
}

static int put_route(struct io_tun *tun, const struct io_route *route, const struct addr *source, uint16_t flags)
{
    union netlink_message m;
    begin_route(tun, &m, RTM_NEWROUTE, NLM_F_CREATE | flags, route);
    if (source->family)
        mnl_attr_put(&m.header, RTA_PREFSRC, addr_size(source), source->b);
    if (route->mtu) {
        struct nlattr *metrics = mnl_attr_nest_start(&m.header, RTA_METRICS);
        mnl_attr_put_u32(&m.header, RTAX_MTU, route->mtu);
        mnl_attr_nest_end(&m.header, metrics);
    }
    return netlink_ask(&tun->netlink, &m, NULL, NULL);
}

static int delete_route(struct io_tun *tun, const struct io_route *route)
{
    union netlink_message m;
    begin_route(tun, &m, RTM_DELROUTE, 0, route);
    int error = netlink_ask(&tun->netlink, &m, NULL, NULL);
    return error == ESRCH ? 0 : error;
}

static bool contains(const struct routes *routes, const struct io_route *route)
{
    for (size_t i = 0; i < routes->n; i++)
        if (prefix_equal(&routes->v[i].prefix, &route->prefix) && routes->v[i].metric == metric_of(route))
            return true;
    return false;
}

/* The route that a packet to one address of the prefix takes: most often this one, or the one in its place. The address is the
 * last one, or in the subnet of `source` the one opposite: the peer's. */
static int read_match(struct io_tun *tun, const struct prefix *p, const struct addr *source, struct routes *ret)
{
    union netlink_message m;
    struct rtmsg *header = netlink_begin(&m, RTM_GETROUTE, 0, sizeof *header);
    struct addr to = source->family ? *source : p->addr;
    size_t bits = 8 * addr_size(&to);
    for (size_t i = p->len; i < bits; i++)
        to.b[i / 8] ^= (uint8_t)(0x80 >> i % 8);
    header->rtm_family = family_of(p);
    header->rtm_dst_len = (uint8_t)bits;
    header->rtm_flags = RTM_F_FIB_MATCH;
    mnl_attr_put(&m.header, RTA_DST, bits / 8, to.b);
    return netlink_ask(&tun->netlink, &m, note_route, ret);
}

/* Only a dump knows for certain, but it is long, and the MTU of many routes changes at once when a tunnel's does. */
static int is_ours(struct io_tun *tun, const struct io_route *route, const struct addr *source, bool *ret)
{
    struct routes match = {.index = tun->index}, all = {0};
    bool ours = read_match(tun, &route->prefix, source, &match) == 0 && contains(&match, route);
    free(match.v);
    int error = ours ? 0 : read_routes(tun, family_of(&route->prefix), &all);
    if (error)
        return error;
    *ret = ours || contains(&all, route);
    free(all.v);
    return 0;
}

enum rc route_add(struct io_tun *tun, const struct io_route *route, const struct addr *source,
                  struct io_error *ret_error)
{
    char text[PREFIX_TEXT], what[PREFIX_TEXT + 16];
    bool ours = false;
    int error = put_route(tun, route, source, NLM_F_EXCL);
    if (error == EEXIST && (error = is_ours(tun, route, source, &ours)) == 0) {
        if (!ours)
            return io_fail(
                ret_error, RC_EXISTS,
                "a route to %s that is not ours exists%s%s; it stays, and the tunnel gets none of its packets: "
                "`ip route show %s` there, and delete one of the two",
                prefix_text(&route->prefix, text), tun->netns[0] ? " in " : "", tun->netns, text);
        error = put_route(tun, route, source, NLM_F_REPLACE);
    }
    if (!error)
        return RC_OK;
    snprintf(what, sizeof what, "route %s", prefix_text(&route->prefix, text));
    return tun_fail(tun, error, what, ret_error);
}

enum rc io_route_add(struct io_tun *tun, const struct io_route *route, struct io_error *ret_error)
{
    return route_add(tun, route, &(struct addr){0}, ret_error);
}

enum rc io_route_remove(struct io_tun *tun, const struct io_route *route, struct io_error *ret_error)
{
    char text[PREFIX_TEXT], what[PREFIX_TEXT + 32];
    int error = delete_route(tun, route);
    if (!error)
        return RC_OK;
    snprintf(what, sizeof what, "removing route %s", prefix_text(&route->prefix, text));
    return tun_fail(tun, error, what, ret_error);
}

/* ---- the daemon's own namespace */

static int note_type(const struct nlmsghdr *h, void *ctx)
{
    const struct rtmsg *header = mnl_nlmsg_get_payload(h);
    *(bool *)ctx = header->rtm_type == RTN_LOCAL;
    return MNL_CB_OK;
}

/* By its route, not by the addresses of devices: a whole prefix may be local (`ip route add local PREFIX dev lo`). */
bool io_address_is_local(const struct addr *address)
{
    union netlink_message m;
    struct netlink netlink;
    bool local = false;
    if (netlink_open(NETLINK_ROUTE, &netlink))
        return false;
    struct rtmsg *header = netlink_begin(&m, RTM_GETROUTE, 0, sizeof *header);
    header->rtm_family = address->family == 4 ? AF_INET : AF_INET6;
    header->rtm_dst_len = (uint8_t)(8 * addr_size(address));
    mnl_attr_put(&m.header, RTA_DST, addr_size(address), address->b);
    int error = netlink_ask(&netlink, &m, note_type, &local);
    netlink_close(&netlink);
    return !error && local;
}
