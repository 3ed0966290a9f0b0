/* GRE, both ways (RFC 2784, RFC 2890), and the answer to keepalives as some routers send them: a GRE packet whose inner packet is
 * already the answer, addressed from our endpoint to the peer, with GRE protocol 0. */
#include "worker.h"

size_t gre_slot(const struct gre_table *g, const struct addr *local, const struct addr *remote)
{
    return (uint32_t)pair_hash(key_of(local), key_of(remote)) & g->mask;
}

const struct tun *gre_find(const struct tables *t, const struct addr *local, const struct addr *remote)
{
    if (local->family != remote->family)
        return NULL;
    for (size_t i = gre_slot(t->gre, local, remote); t->gre->slot[i]; i = (i + 1) & t->gre->mask) {
        const struct tun *tun = t->tun[t->gre->slot[i] - 1];
        if (addr_same(&tun->outer.src, local) && addr_same(&tun->outer.dst, remote))
            return tun;
    }
    return NULL;
}

static const struct tun *pair_of(struct batch *b, const struct pkt_outer *o)
{
    const struct tun *last = b->gre_last;
    if (last && addr_same(&last->outer.dst, &o->src) && addr_same(&last->outer.src, &o->dst))
        return last;
    return b->gre_last = gre_find(b->t, &o->dst, &o->src);
}

static bool has_key(const struct tun *tun, const struct gre_header *h)
{
    return tun->has_key == (bool)(h->flags & GRE_KEY) && (!tun->has_key || tun->key == h->key);
}

/* RFC 2890 2.2: out of order is whatever is at most 2^31 - 1 behind the last one, or the last one itself. */
static bool sequence_advances(struct live *live, uint32_t sequence)
{
    if (sequence - READ(live->seq_in) - 1 >= UINT32_C(1) << 31)
        return false;
    WRITE(live->seq_in, sequence);
    return true;
}

static enum dp_reason reason_of(enum rc rc)
{
    return rc == RC_RANGE ? DP_REASON_GRE_VERSION : rc == RC_SYNTAX ? DP_REASON_GRE_FLAGS : DP_REASON_SHORT;
}

/* The kernel that put the packet together has verified the checksum of each part, and leaves us the first one's. */
static bool is_merged(const struct pkt *p, uint8_t header)
{
    struct ip_view ip;
    return wire_ip_parse(p->data + header, p->len - header, &ip) == RC_OK && merged_is_open(p->data + header, &ip);
}

/* The header, against the tunnels of the endpoint pair. `esp`: the IPsec tunnel it came through, or TUNNEL_NONE: a tunnel takes nothing
 * that came another way. *tun: the right one if all is well, else the one to charge. */
static enum dp_reason header_check(struct batch *b, const struct pkt *p, uint32_t esp, const struct tun **tun,
                                   struct gre_header *h)
{
    enum rc rc = wire_gre_read(p->data, p->len, h);
    if (rc != RC_OK)
        return reason_of(rc);
    if (h->proto != GRE_PROTO_IPV4 && h->proto != GRE_PROTO_IPV6)
        return DP_REASON_GRE_PROTOCOL;
    const struct tun *t = *tun;
    bool any = false;
    for (; t && !(t->esp == esp && has_key(t, h)); t = gre_next(b->t, t))
        any |= t->esp == esp;
    if (!t)
        return any ? DP_REASON_GRE_KEY : DP_REASON_GRE_PROTECT;
    *tun = t;
    if (h->flags & GRE_CHECKSUM && wire_sum(p->data, p->len, 0) != 0xffff && !is_merged(p, h->len))
        return DP_REASON_GRE_CHECKSUM;
    return DP_REASON_NONE;
}

static uint8_t outer_tos(const struct tun *tun)
{
    return tun->dscp == DSCP_COPY ? 0 : (uint8_t)(tun->dscp << 2);
}

/* The packet is at its inner IP header, behind `outer_len` octets of GRE. True: it was a keepalive, and its verdict is made. */
static bool keepalive(struct batch *b, struct pkt *p, const struct tun *tun, uint8_t outer_len)
{
    struct ip_view ip;
    struct gre_header h;
    if (tun->local.family != 4 || p->len < IP4_HEADER || p->data[9] != IP_PROTO_GRE ||
        wire_ip4_parse(p->data, p->len, &ip) != RC_OK || ip.payload != IP4_HEADER || ip.fragment)
        return false;
    if (load_be32(p->data + IP4_SRC) != load_be32(tun->local.b) ||
        load_be32(p->data + IP4_DST) != load_be32(tun->remote.b))
        return false;
    if (wire_gre_read(p->data + IP4_HEADER, ip.len - IP4_HEADER, &h) != RC_OK || h.proto != GRE_PROTO_KEEPALIVE)
        return false;

    if (batch_elsewhere(b, p, tun)) {
        p->data -= outer_len;
        p->len += outer_len;
        return true;
    }
    struct bucket *bucket = &b->w->count[tun->handle].keepalive;
    bool wanted = tun->keepalive && tun->esp == TUNNEL_NONE; /* the answer would go out as it is */
    if (!wanted || !bucket_allows(bucket, KEEPALIVE_RATE, KEEPALIVE_BURST, b->now)) {
        batch_drop(b, p, tun, DP_REASON_KEEPALIVE);
        return true;
    }
    p->data += IP4_HEADER;
    p->len = ip.len - IP4_HEADER;
    p->outer = tun->outer;
    p->outer.tos = outer_tos(tun);
    p->verdict = PKT_TO_GRE;
    return true;
}

/* tun: the first of the endpoint pair. sa NULL: straight from the network. */
static void open_header(struct batch *b, struct pkt *p, const struct tun *tun, struct sa *sa)
{
    struct gre_header h;
    enum dp_reason reason = header_check(b, p, sa ? sa->tunnel : TUNNEL_NONE, &tun, &h);
    if (reason == DP_REASON_NONE && UNLIKELY(tun->sequence_check && h.flags & GRE_SEQUENCE)) {
        if (batch_elsewhere(b, p, tun))
            return;
        if (!sequence_advances(&b->w->dp->live[tun->handle], h.sequence))
            reason = DP_REASON_GRE_SEQUENCE;
    }
    if (UNLIKELY(reason != DP_REASON_NONE)) {
        batch_drop(b, p, tun, reason);
        return;
    }
    p->data += h.len;
    p->len -= h.len;
    if (h.proto == GRE_PROTO_IPV6)
        inner_accept(b, p, tun, sa, 6);
    else if (!keepalive(b, p, tun, h.len))
        inner_accept(b, p, tun, sa, 4);
}

void gre_in(struct batch *b, struct pkt *p)
{
    const struct tun *tun = pair_of(b, &p->outer);
    if (LIKELY(tun)) {
        open_header(b, p, tun, NULL);
        return;
    }
    bool ours = addr_is_ours(b->t->ours, key_of(&p->outer.dst));
    batch_drop(b, p, NULL, ours ? DP_REASON_GRE_SOURCE : DP_REASON_OUTER_DESTINATION);
}

/* A GRE tunnel inside ESP has the worker of the tunnel that carries it: nothing is handed on from here. */
bool gre_in_esp(struct batch *b, struct pkt *p, struct sa *sa, const struct addr *local, const struct addr *remote)
{
    const struct tun *first = gre_find(b->t, local, remote), *t = first;
    while (t && t->esp != sa->tunnel)
        t = gre_next(b->t, t);
    if (!t)
        return false;
    sa_count_in(b, sa, p->len);
    open_header(b, p, first, sa);
    return true;
}

bool gre_out(struct batch *b, const struct job *j)
{
    struct pkt *p = j->p;
    const struct tun *tun = j->tun;
    if (pkt_headroom(p) < tun->gre_len) {
        batch_drop(b, p, tun, DP_REASON_POOL);
        return false;
    }
    struct tunnel_count *count = &b->w->count[tun->handle];
    ADD(count->c.packets_out, 1);
    ADD(count->c.bytes_out, p->len);

    struct gre_header h = {
        .flags = tun->gre_flags,
        .proto = j->version == 4 ? GRE_PROTO_IPV4 : GRE_PROTO_IPV6,
        .key = tun->key,
        .len = tun->gre_len,
    };
    if (h.flags & GRE_SEQUENCE)
        h.sequence = TAKE(b->w->dp->live[tun->handle].seq_out, 1);
    p->data -= h.len;
    p->len += h.len;
    wire_gre_write(p->data, &h);
    if (h.flags & GRE_CHECKSUM)
        wire_gre_seal(p->data, p->len);
    p->outer = tun->outer;
    p->outer.tos = j->tos;
    p->outer.df = j->df;
    p->verdict = PKT_TO_GRE;
    return true;
}

/* Tunnel mode: the outer header that the kernel would have made. Its identification is the ESP sequence number to come: no two packets
 * of an SA that could be fragmented have one (RFC 6864 4.2). */
static bool prepend_ip(struct batch *b, struct job *j)
{
    struct pkt *p = j->p;
    const struct tun *tun = j->tun;
    size_t n = tun->local.family == 6 ? IP6_HEADER : IP4_HEADER;
    if (pkt_headroom(p) < n) {
        batch_drop(b, p, tun, DP_REASON_POOL);
        return false;
    }
    const struct ip_fields f = {
        .src = tun->outer.src,
        .dst = tun->outer.dst,
        .proto = IP_PROTO_GRE,
        .tos = j->tos,
        .ttl = tun->ttl,
        .df = j->df,
        .id = (uint16_t)esp_out_seq(b, j),
        .payload_len = p->len,
    };
    struct wr w = wr_of(p->data - n, n);
    wire_ip_write(&w, &f);
    p->data -= n;
    p->len += (uint32_t)n;
    j->version = tun->local.family;
    return true;
}

bool gre_out_esp(struct batch *b, struct job *j)
{
    if (!j->sa->out.transport && !prepend_ip(b, j))
        return false;
    j->tun = b->t->tun[j->tun->esp]; /* from here on it is the carrier's packet */
    return esp_out_begin(b, j);
}
