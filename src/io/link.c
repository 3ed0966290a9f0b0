/* The device and its addresses, through the rtnetlink socket of its namespace. */
#include "tun.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>

/* ---- the device */

static int note_index(const struct nlmsghdr *h, void *ctx)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
    *(uint32_t *)ctx = (uint32_t)info->ifi_index;
    return MNL_CB_OK;
}

static int find_index(struct io_tun *tun)
{
    union netlink_message m;
    netlink_begin(&m, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(&m.header, IFLA_IFNAME, tun->device);
    return netlink_ask(&tun->netlink, &m, note_index, &tun->index);
}

static void begin_change(const struct io_tun *tun, union netlink_message *m, unsigned flags)
{
    struct ifinfomsg *info = netlink_begin(m, RTM_NEWLINK, 0, sizeof *info);
    info->ifi_index = (int)tun->index;
    info->ifi_flags = info->ifi_change = flags;
}

/* What /proc/sys/net/ipv4/conf would say. Customers' packets come from anywhere (rp_filter), and an ICMP error of our own bears
 * an address of this device as its source (accept_local). */
static int set_ipv4(struct io_tun *tun)
{
    union netlink_message m;
    begin_change(tun, &m, 0);
    struct nlattr *all = mnl_attr_nest_start(&m.header, IFLA_AF_SPEC);
    struct nlattr *inet = mnl_attr_nest_start(&m.header, AF_INET);
    struct nlattr *conf = mnl_attr_nest_start(&m.header, IFLA_INET_CONF);
    mnl_attr_put_u32(&m.header, IPV4_DEVCONF_FORWARDING, 1);
    mnl_attr_put_u32(&m.header, IPV4_DEVCONF_RP_FILTER, 0);
    mnl_attr_put_u32(&m.header, IPV4_DEVCONF_ACCEPT_LOCAL, 1);
    mnl_attr_nest_end(&m.header, conf);
    mnl_attr_nest_end(&m.header, inet);
    mnl_attr_nest_end(&m.header, all);
    return netlink_ask(&tun->netlink, &m, NULL, NULL);
}

/* No link-local address, and so no router solicitations to customers. */
static int set_ipv6(struct io_tun *tun)
{
    union netlink_message m;
    begin_change(tun, &m, 0);
    struct nlattr *all = mnl_attr_nest_start(&m.header, IFLA_AF_SPEC);
    struct nlattr *inet6 = mnl_attr_nest_start(&m.header, AF_INET6);
    mnl_attr_put_u8(&m.header, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    mnl_attr_nest_end(&m.header, inet6);
    mnl_attr_nest_end(&m.header, all);
    int error = netlink_ask(&tun->netlink, &m, NULL, NULL);
    return error == EAFNOSUPPORT ? 0 : error; /* a kernel without IPv6 */
}

enum rc link_set_up(struct io_tun *tun, struct io_error *ret_error)
{
    int error = find_index(tun);
    if (!error)
        error = set_ipv4(tun);
    if (!error)
        error = set_ipv6(tun);
    return error ? tun_fail(tun, error, "first settings", ret_error) : RC_OK;
}

enum rc io_link_up(struct io_tun *tun, uint32_t mtu, struct io_error *ret_error)
{
    union netlink_message m;
    char what[32];
    begin_change(tun, &m, IFF_UP);
    mnl_attr_put_u32(&m.header, IFLA_MTU, mtu);
    int error = netlink_ask(&tun->netlink, &m, NULL, NULL);
    if (!error)
        return RC_OK;
    snprintf(what, sizeof what, "MTU %u and up", mtu);
    return tun_fail(tun, error, what, ret_error);
}

/* ---- addresses */

static int change_address(struct io_tun *tun, uint16_t type, uint16_t flags, const struct prefix *a)
{
    union netlink_message m;
    struct ifaddrmsg *header = netlink_begin(&m, type, flags, sizeof *header);
    header->ifa_family = a->addr.family == 4 ? AF_INET : AF_INET6;
    header->ifa_prefixlen = a->len;
    header->ifa_index = tun->index;
    mnl_attr_put(&m.header, IFA_LOCAL, addr_size(&a->addr), a->addr.b);
    mnl_attr_put(&m.header, IFA_ADDRESS, addr_size(&a->addr), a->addr.b);
    /* The kernel would make a route to the subnet itself, with the device's MTU; ours has the tunnel's. */
    if (type == RTM_NEWADDR)
        mnl_attr_put_u32(&m.header, IFA_FLAGS, IFA_F_NOPREFIXROUTE | (a->addr.family == 6 ? IFA_F_NODAD : 0));
    return netlink_ask(&tun->netlink, &m, NULL, NULL);
}

static bool has_subnet(const struct prefix *a)
{
    return a->len < 8 * addr_size(&a->addr);
}

enum rc io_address_add(struct io_tun *tun, const struct prefix *address, uint32_t mtu, struct io_error *ret_error)
{
    char text[PREFIX_TEXT], what[PREFIX_TEXT + 16];
    int error = change_address(tun, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, address);
    if (error) {
        snprintf(what, sizeof what, "address %s", prefix_text(address, text));
        return tun_fail(tun, error, what, ret_error);
    }
    struct io_route subnet = {.prefix = prefix_network(*address), .mtu = mtu};
    enum rc rc = has_subnet(address) ? route_add(tun, &subnet, &address->addr, ret_error) : RC_OK;
    if (rc != RC_OK && rc != RC_ABSENT)
        (void)change_address(tun, RTM_DELADDR, 0, address);
    return rc;
}

enum rc io_address_remove(struct io_tun *tun, const struct prefix *address, struct io_error *ret_error)
{
    char text[PREFIX_TEXT], what[PREFIX_TEXT + 32];
    struct io_route subnet = {.prefix = prefix_network(*address)};
    enum rc rc = has_subnet(address) ? io_route_remove(tun, &subnet, ret_error) : RC_OK;
    if (rc != RC_OK)
        return rc;
    int error = change_address(tun, RTM_DELADDR, 0, address);
    if (!error || error == EADDRNOTAVAIL)
        return RC_OK;
    snprintf(what, sizeof what, "removing address %s", prefix_text(address, text));
    return tun_fail(tun, error, what, ret_error);
}
