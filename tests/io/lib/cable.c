/* See cable.h. */
#include "cable.h"

#include "place.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>

void enter(int ns)
{
    assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

int new_namespace(void)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    set_loopback(false, IFF_UP);
    return fd;
}

void ask(union netlink_message *m)
{
    struct netlink n;
    assert_int_equal(netlink_open(NETLINK_ROUTE, &n), 0);
    assert_int_equal(netlink_ask(&n, m, NULL, NULL), 0);
    netlink_close(&n);
}

static void add_cable(int far_ns)
{
    union netlink_message m;
    netlink_begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    mnl_attr_put_str(&m.header, IFLA_IFNAME, "wire");
    struct nlattr *info = mnl_attr_nest_start(&m.header, IFLA_LINKINFO);
    mnl_attr_put_str(&m.header, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(&m.header, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(&m.header, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(&m.header, sizeof(struct ifinfomsg));
    mnl_attr_put_str(&m.header, IFLA_IFNAME, "wire");
    mnl_attr_put_u32(&m.header, IFLA_NET_NS_FD, (uint32_t)far_ns);
    mnl_attr_nest_end(&m.header, peer);
    mnl_attr_nest_end(&m.header, data);
    mnl_attr_nest_end(&m.header, info);
    ask(&m);
}

void add_address(const char *device, const char *text, uint8_t len)
{
    union netlink_message m;
    struct addr a;
    OK(addr_parse(text, &a));
    struct ifaddrmsg *h = netlink_begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *h);
    *h = (struct ifaddrmsg){.ifa_family = a.family == 4 ? AF_INET : AF_INET6,
                            .ifa_prefixlen = len,
                            .ifa_flags = IFA_F_NODAD,
                            .ifa_index = if_nametoindex(device)};
    mnl_attr_put(&m.header, IFA_LOCAL, addr_size(&a), a.b);
    mnl_attr_put(&m.header, IFA_ADDRESS, addr_size(&a), a.b);
    ask(&m);
}

static void wire_up(const char *address, const char *address6)
{
    union netlink_message m;
    struct ifinfomsg *h = netlink_begin(&m, RTM_NEWLINK, 0, sizeof *h);
    *h = (struct ifinfomsg){.ifi_index = (int)if_nametoindex("wire"), .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    ask(&m);
    add_address("wire", address, 24);
    add_address("wire", address6, 64);
}

void cable_open(int *ret_near, int *ret_far)
{
    *ret_far = new_namespace();
    *ret_near = new_namespace();
    add_cable(*ret_far);
    wire_up(NEAR, NEAR6);
    enter(*ret_far);
    wire_up(FAR, FAR6);
}
