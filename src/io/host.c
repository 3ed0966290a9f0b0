/* Things on the host, or in an account's namespace, that break a userspace endpoint, each with its remedy. Best effort: what cannot be looked at is no hazard.
 * (A UDP port that another program has is no hazard but an error of io_outer_open().) */
#include "netlink.h"
#include "tun.h"

#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNTRACK_COUNT "/proc/sys/net/netfilter/nf_conntrack_count"
#define CONNTRACK_LOOKED_AT 20000       /* entries, at most: a busy host has millions */
#define LOCKED_ENOUGH ((rlim_t)1 << 30) /* for the secrets of more SAs than there are tunnels */
#define PORT_IKE 500
#define PORT_NATT 4500

struct findings {
    struct io_hazard *v;
    size_t n, max;
};

static void find(struct findings *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void find(struct findings *f, const char *format, ...)
{
    va_list args;
    if (f->n == f->max)
        return;
    va_start(args, format);
    vsnprintf(f->v[f->n++].text, sizeof f->v->text, format, args);
    va_end(args);
}

/* ---- GRE of the kernel's own */

static void look_for_kernel_gre(struct findings *f)
{
    static const char *const modules[] = {"ip_gre", "ip6_gre"};
    for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
        char path[64];
        snprintf(path, sizeof path, "/sys/module/%s", modules[i]);
        if (access(path, F_OK) == 0)
            find(
                f,
                "the kernel's %s is loaded: it answers customers' GRE packets with ICMP port unreachable, as it has no "
                "tunnel for them: modprobe -r %s, and `blacklist %s` in /etc/modprobe.d; if others need it, drop such ICMP "
                "to customers in the output hook",
                modules[i], modules[i], modules[i]);
    }
}

/* ---- IPsec of the kernel's own */

static int count_policy(const struct nlmsghdr *h, void *ctx)
{
    const struct xfrm_userpolicy_info *policy = mnl_nlmsg_get_payload(h);
    if (h->nlmsg_type == XFRM_MSG_NEWPOLICY && mnl_nlmsg_get_payload_len(h) >= sizeof *policy &&
        policy->dir < XFRM_POLICY_MAX) /* beyond: a socket's own */
        ++*(unsigned *)ctx;
    return MNL_CB_OK;
}

static void look_for_policies(struct findings *f)
{
    union netlink_message m;
    struct netlink netlink;
    unsigned n = 0;
    if (netlink_open(NETLINK_XFRM, &netlink))
        return;
    netlink_begin(&m, XFRM_MSG_GETPOLICY, NLM_F_DUMP, sizeof(struct xfrm_userpolicy_id));
    int error = netlink_ask(&netlink, &m, count_policy, &n);
    netlink_close(&netlink);
    if (!error && n)
        find(
            f,
            "%u IPsec policies are in the kernel, from another IPsec program: packets they match are dropped or encrypted "
            "before adit sees them: `ip xfrm policy` shows them; stop that program, then `ip xfrm policy flush`",
            n);
}

/* ---- connection tracking */

struct tracked {
    bool gre, ipsec; /* wanted */
    unsigned looked_at;
    bool found;
};

static int note_attribute(const struct nlattr *attr, void *ctx)
{
    const struct nlattr **found = ctx;
    if (mnl_attr_get_type(attr) <= CTA_TUPLE_MAX)
        found[mnl_attr_get_type(attr)] = attr;
    return MNL_CB_OK;
}

static bool is_ours(const struct tracked *t, uint8_t protocol, uint16_t port)
{
    return (t->gre && protocol == IPPROTO_GRE) || (t->ipsec && protocol == IPPROTO_ESP) ||
           (t->ipsec && protocol == IPPROTO_UDP && (port == PORT_IKE || port == PORT_NATT));
}

static int look_at_entry(const struct nlmsghdr *h, void *ctx)
{
    struct tracked *t = ctx;
    const struct nlattr *entry[CTA_TUPLE_MAX + 1] = {NULL}, *tuple[CTA_TUPLE_MAX + 1] = {NULL};
    const struct nlattr *attr, *protocol = NULL, *port = NULL;
    mnl_attr_parse(h, sizeof(struct nfgenmsg), note_attribute, entry);
    if (entry[CTA_TUPLE_ORIG])
        mnl_attr_parse_nested(entry[CTA_TUPLE_ORIG], note_attribute, tuple);
    if (tuple[CTA_TUPLE_PROTO])
        mnl_attr_for_each_nested(attr, tuple[CTA_TUPLE_PROTO])
        {
            if (mnl_attr_get_type(attr) == CTA_PROTO_NUM)
                protocol = attr;
            else if (mnl_attr_get_type(attr) == CTA_PROTO_DST_PORT)
                port = attr;
        }
    t->found |= protocol && is_ours(t, mnl_attr_get_u8(protocol), port ? ntohs(mnl_attr_get_u16(port)) : 0);
    return t->found || ++t->looked_at == CONNTRACK_LOOKED_AT ? MNL_CB_STOP : MNL_CB_OK;
}

/* Asking for the entries loads modules, so first see whether anything is tracked in this namespace. */
static bool tracking_is_on(void)
{
    char text[24] = "";
    int fd = open(CONNTRACK_COUNT, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 && strtoul(text, NULL, 10) > 0;
}

static void look_for_tracking(struct findings *f, bool gre, bool ipsec)
{
    union netlink_message m;
    struct netlink netlink;
    struct tracked t = {.gre = gre, .ipsec = ipsec};
    if (!tracking_is_on() || netlink_open(NETLINK_NETFILTER, &netlink))
        return;
    netlink_begin(&m, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP, sizeof(struct nfgenmsg));
    int error = netlink_ask(&netlink, &m, look_at_entry, &t);
    netlink_close(&netlink);
    if (!error && t.found)
        find(
            f,
            "connection tracking follows the tunnels' packets: a full table drops them, and each one costs a look-up: in a "
            "raw prerouting and a raw output chain, `meta l4proto {gre, esp} notrack` and `udp dport {500, 4500} notrack` "
            "(sport in output)");
}

/* ---- memory that may be locked. Secrets that are not have guard pages and are wiped like the others, but may be swapped out. */

static bool has_swap(void)
{
    char line[256];
    FILE *f = fopen("/proc/swaps", "re");
    bool any = f && fgets(line, sizeof line, f) && fgets(line, sizeof line, f); /* below the heading */
    if (f)
        fclose(f);
    return any;
}

static void look_for_lock_limit(struct findings *f)
{
    struct rlimit have;
    if (getrlimit(RLIMIT_MEMLOCK, &have) == 0 && have.rlim_cur < LOCKED_ENOUGH && has_swap())
        find(f,
             "only %llu KiB of memory may be locked, and there is swap: secrets beyond that may be written to it: "
             "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited` before the start",
             (unsigned long long)have.rlim_cur / 1024);
}

size_t io_host_hazards(bool gre, bool ipsec, struct io_hazard *ret, size_t max)
{
    struct findings f = {.v = ret, .max = max};
    if (gre)
        look_for_kernel_gre(&f);
    if (ipsec) {
        look_for_policies(&f);
        look_for_lock_limit(&f);
    }
    look_for_tracking(&f, gre, ipsec);
    return f.n;
}

/* ---- an account's namespace */

struct settings {
    int32_t forwarding, rp_filter; /* -1: not told */
};

static int note_setting(const struct nlattr *attr, void *ctx)
{
    struct settings *s = ctx;
    if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
        return MNL_CB_OK;
    if (mnl_attr_get_type(attr) == NETCONFA_FORWARDING)
        s->forwarding = (int32_t)mnl_attr_get_u32(attr);
    else if (mnl_attr_get_type(attr) == NETCONFA_RP_FILTER)
        s->rp_filter = (int32_t)mnl_attr_get_u32(attr);
    return MNL_CB_OK;
}

static int note_settings(const struct nlmsghdr *h, void *ctx)
{
    return mnl_attr_parse(h, sizeof(struct netconfmsg), note_setting, ctx);
}

/* What holds for all devices of the namespace. */
static struct settings settings_of_all(struct io_tun *tun, uint8_t family)
{
    union netlink_message m;
    struct settings s = {-1, -1}, unknown = s;
    struct netconfmsg *header = netlink_begin(&m, RTM_GETNETCONF, 0, sizeof *header);
    header->ncm_family = family;
    mnl_attr_put_u32(&m.header, NETCONFA_IFINDEX, (uint32_t)NETCONFA_IFINDEX_ALL);
    return netlink_ask(&tun->netlink, &m, note_settings, &s) == 0 ? s : unknown;
}

size_t io_tun_hazards(struct io_tun *tun, struct io_hazard *ret, size_t max)
{
    struct findings f = {.v = ret, .max = max};
    const char *in = tun->netns[0] ? " in " : "";
    if (settings_of_all(tun, AF_INET).rp_filter == 1)
        find(
            &f,
            "rp_filter is strict for all devices%s%s, so packets of customers whose way back is another one are dropped: "
            "sysctl -w net.ipv4.conf.all.rp_filter=0 there",
            in, tun->netns);
    if (routes_count(tun, 6) && settings_of_all(tun, AF_INET6).forwarding == 0)
        find(
            &f,
            "IPv6 is not forwarded%s%s, so customers' IPv6 packets go no further: sysctl -w net.ipv6.conf.all.forwarding=1 "
            "there",
            in, tun->netns);
    return f.n;
}
