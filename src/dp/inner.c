/* A packet that came out of a tunnel: is it what the tunnel may carry? RFC 4301 5.2 (selectors), RFC 6040 4.2 (ECN), and the rules
 * against loops and spoofing through tunnels (CVE-2020-10136, CVE-2024-7595). DSCP and TTL stay as they are: the account's
 * namespace forwards the packet, and decrements there. */
#include "worker.h"

uint8_t ecn_decap(uint8_t inner, uint8_t outer)
{
    enum { NOT_ECT = 0, ECT1 = 1, ECT0 = 2, CE = 3 };
    static const uint8_t table[4][4] = {
        /* RFC 6040 4.2, figure 4; outer:  Not-ECT  ECT(1)   ECT(0)   CE */
        [NOT_ECT] = {NOT_ECT, NOT_ECT, NOT_ECT, ECN_DROP}, /* MUST drop: CE would be lost */
        [ECT1] = {ECT1, ECT1, ECT1, CE},
        [ECT0] = {ECT0, ECT1, ECT0, CE},
        [CE] = {CE, CE, CE, CE},
    };
    return table[inner & 3][outer & 3];
}

/* 0/8, 127/8, multicast, reserved, broadcast. As a destination 169.254/16 belongs to them as well. */
static bool is_martian4(uint32_t a)
{
    uint32_t net = a >> 24;
    return net == 0 || net == 127 || net >= 224;
}

/* ::, ::1, multicast. As a destination fe80::/10 belongs to them as well. */
static bool is_martian6(struct key a)
{
    return a.hi >> 56 == 0xff || (a.hi == 0 && a.lo <= 1);
}

static enum dp_reason check4(const struct batch *b, const uint8_t *p, const struct tun *tun)
{
    uint32_t src = load_be32(p + IP4_SRC), dst = load_be32(p + IP4_DST);
    bool own_net = (dst & tun->mask4) == tun->net4 && tun->mask4;
    if (addr_is_ours(b->t->ours, key4(dst)) || (!own_net && (is_martian4(dst) || dst >> 16 == 0xa9fe)))
        return DP_REASON_INNER_DESTINATION;
    if (is_martian4(src))
        return DP_REASON_INNER_SOURCE;
    if (tun->check_sources && !((src & tun->mask4) == tun->net4 && tun->mask4) &&
        lpm_find(&tun->sources->v4, key4(src)) == 0 && lpm_find(&tun->allow_sources->v4, key4(src)) == 0)
        return DP_REASON_INNER_SOURCE;
    return DP_REASON_NONE;
}

static bool in_net6(const struct tun *tun, struct key a)
{
    return tun->mask6.hi != 0 && (a.hi & tun->mask6.hi) == tun->net6.hi && (a.lo & tun->mask6.lo) == tun->net6.lo;
}

static enum dp_reason check6(const struct batch *b, const uint8_t *p, const struct tun *tun)
{
    struct key src = key6(p + IP6_SRC), dst = key6(p + IP6_DST);
    if (addr_is_ours(b->t->ours, dst) || (!in_net6(tun, dst) && (is_martian6(dst) || dst.hi >> 54 == 0xfe80 >> 6)))
        return DP_REASON_INNER_DESTINATION;
    if (is_martian6(src))
        return DP_REASON_INNER_SOURCE;
    if (tun->check_sources && !in_net6(tun, src) && lpm_find(&tun->sources->v6, src) == 0 &&
        lpm_find(&tun->allow_sources->v6, src) == 0)
        return DP_REASON_INNER_SOURCE;
    return DP_REASON_NONE;
}

static enum dp_reason check(struct batch *b, struct pkt *p, const struct tun *tun, const struct sa *sa, uint8_t version,
                            struct ip_view *ip)
{
    if (p->len > 0 && p->data[0] >> 4 != version)
        return DP_REASON_INNER_VERSION;
    if (wire_ip_parse(p->data, p->len, ip) != RC_OK)
        return DP_REASON_INNER_LENGTH;
    if (tun->type == TUNNEL_IPSEC && !sa_holds(sa, &sa->in, p->data, ip, true))
        return DP_REASON_ESP_SELECTOR; /* RFC 4301 5.2 4: MUST discard */
    /* GRE straight inside GRE is taken for an attempt to pass a filter. */
    if (tun->type == TUNNEL_GRE && ip->proto == IP_PROTO_GRE)
        return DP_REASON_INNER_LOOP;
    return version == 4 ? check4(b, p->data, tun) : check6(b, p->data, tun);
}

void sa_count_in(const struct batch *b, struct sa *sa, uint32_t n)
{
    ADD(sa->packets_in, 1);
    ADD(sa->bytes_in, n);
    WRITE(sa->last_in, b->now);
}

/* Out of ESP, addressed to us: the GRE of a tunnel that the SA's tunnel carries, or nothing that may be here. */
static enum dp_reason accept_carried(struct batch *b, struct pkt *p, struct sa *sa, const struct ip_view *ip)
{
    struct addr remote = wire_ip_src(p->data), local = wire_ip_dst(p->data);
    uint8_t *data = p->data, ecn = ecn_decap(ip->tos, p->outer.tos);
    uint32_t len = p->len;
    if (ip->proto != IP_PROTO_GRE)
        return DP_REASON_INNER_DESTINATION;
    if (ip->fragment)
        return DP_REASON_FRAGMENT;
    if (ecn == ECN_DROP)
        return DP_REASON_ECN;
    p->outer.tos = (uint8_t)((ip->tos & 0xfc) | ecn); /* what the GRE header's own layer would have come with */
    p->data += ip->payload;
    p->len = ip->len - ip->payload;
    if (gre_in_esp(b, p, sa, &local, &remote))
        return DP_REASON_NONE;
    p->data = data;
    p->len = len;
    return DP_REASON_INNER_DESTINATION;
}

void inner_accept(struct batch *b, struct pkt *p, const struct tun *tun, struct sa *sa, uint8_t version)
{
    struct ip_view ip;
    enum dp_reason reason = check(b, p, tun, sa, version, &ip);
    if (UNLIKELY(reason == DP_REASON_INNER_DESTINATION && tun->type == TUNNEL_IPSEC)) {
        reason = accept_carried(b, p, sa, &ip);
        if (reason == DP_REASON_NONE)
            return; /* its verdict is made */
    }
    if (UNLIKELY(reason != DP_REASON_NONE)) {
        batch_drop(b, p, tun, reason);
        return;
    }
    uint8_t ecn = ecn_decap(ip.tos, p->outer.tos);
    if (UNLIKELY(ecn == ECN_DROP)) {
        batch_drop(b, p, tun, DP_REASON_ECN);
        return;
    }
    if (UNLIKELY(ecn != (ip.tos & 3)))
        wire_ip_ecn_set(p->data, ecn);
    p->len = ip.len; /* what stands behind is padding: Ethernet's, or TFC (RFC 4303 2.7) */
    struct limits limits;
    limits_now(b, tun, sa ? &sa->in : NULL, &limits);
    if (UNLIKELY(!sa && merged_looks_open(p->data, &ip))) {
        const struct ip_view copy = ip;
        reason = merged_settle(b, p, &copy, limits.mtu);
        if (reason != DP_REASON_NONE) {
            batch_drop(b, p, tun, reason);
            return;
        }
    }
    mss_clamp(p, &ip, &limits);
    p->verdict = PKT_TO_TUN;
    p->account = tun->account;
    if (UNLIKELY(sa && sa->in.shared)) /* the answers come by that queue: not all of them by this worker's */
        p->queue = (uint8_t)(flow_hash(b, p->data, &ip) % b->w->dp->config.workers + 1);

    if (LIKELY(tun->type == TUNNEL_IPSEC)) { /* its counters are the sum of its SAs' */
        sa_count_in(b, sa, ip.len);
        return;
    }
    struct tunnel_count *count = &b->w->count[tun->handle];
    ADD(count->c.packets_in, 1);
    ADD(count->c.bytes_in, ip.len);
    WRITE(count->last_in, b->now);
}
