/* Traffic selectors against inner packets (RFC 4301 4.4.1.1, RFC 7296 3.13.1). */
#include "selector.h"

static bool is_whole(const struct ts *t, uint8_t family)
{
    if (t->first.family != family || t->last.family != family || t->proto != 0 || t->port_first != 0 ||
        t->port_last != UINT16_MAX)
        return false;
    for (size_t i = 0; i < addr_size(&t->first); i++)
        if (t->first.b[i] != 0 || t->last.b[i] != 0xff)
            return false;
    return true;
}

struct selectors selectors_of(const struct ts *local, const struct ts *remote)
{
    return (struct selectors){
        .all4 = is_whole(local, 4) && is_whole(remote, 4),
        .all6 = is_whole(local, 6) && is_whole(remote, 6),
        .local = *local,
        .remote = *remote,
    };
}

struct ports {
    bool known; /* false: a later fragment, or a protocol without */
    uint16_t src, dst;
};

static struct ports ports_of(const uint8_t *p, const struct ip_view *ip)
{
    enum { DCCP = 33, SCTP = 132, UDPLITE = 136 };
    const uint8_t *l4 = p + ip->payload;
    if (ip->later || ip->len < ip->payload + 4u)
        return (struct ports){0};
    switch (ip->proto) {
    case IP_PROTO_ICMP:
    case IP_PROTO_ICMP6: /* type and code take the place of both ports */
        return (struct ports){true, load_be16(l4), load_be16(l4)};
    case IP_PROTO_TCP:
    case IP_PROTO_UDP:
    case DCCP:
    case SCTP:
    case UDPLITE: return (struct ports){true, load_be16(l4), load_be16(l4 + 2)};
    }
    return (struct ports){0};
}

static bool matches(const struct ts *t, const struct addr *a, uint8_t proto, bool known, uint16_t port)
{
    if (a->family != t->first.family || addr_compare(a, &t->first) < 0 || addr_compare(a, &t->last) > 0)
        return false;
    if (t->proto != 0 && t->proto != proto)
        return false;
    if (t->port_first == 0 && t->port_last == UINT16_MAX)
        return true;
    if (t->port_first > t->port_last) /* OPAQUE: packets whose ports cannot be seen */
        return !known;
    return known && port >= t->port_first && port <= t->port_last;
}

bool selectors_match_slow(const struct selectors *s, const uint8_t *p, const struct ip_view *ip, bool inbound)
{
    struct addr src = wire_ip_src(p), dst = wire_ip_dst(p);
    struct ports ports = ports_of(p, ip);
    const struct ts *from = inbound ? &s->remote : &s->local, *to = inbound ? &s->local : &s->remote;
    return matches(from, &src, ip->proto, ports.known, ports.src) &&
           matches(to, &dst, ip->proto, ports.known, ports.dst);
}
