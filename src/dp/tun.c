/* From an account's TUN: a batch of inner packets, in passes: headers; routes of all; each packet's way, and whether it fits; then
 * encapsulation of all with one call of the cipher. */
#include "worker.h"

#define AHEAD 3 /* packets */

/* Encapsulate and emit what has been collected. */
static void flush(struct batch *b)
{
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *j = &b->job[i];
        if (j->tun->type == TUNNEL_IPSEC)
            esp_out_begin(b, j);
        else if (gre_out(b, j) && j->sa)
            gre_out_esp(b, j);
    }
    if (b->n_ops > 0)
        esp_out_finish(b);
    for (size_t i = 0; i < b->n_jobs; i++)
        batch_emit(b, b->job[i].p);
    b->n_jobs = 0;
}

struct job *out_add(struct batch *b)
{
    if (b->n_jobs == PKT_BATCH)
        flush(b);
    return &b->job[b->n_jobs++];
}

/* Finish a checksum the kernel left to us: the field holds the pseudo-header's sum (struct virtio_net_hdr, NEEDS_CSUM). */
static bool checksum_finish(struct pkt *p)
{
    struct pkt_offload *o = &p->offload;
    size_t at = (size_t)o->csum_start + o->csum_offset;
    if (o->gso_size != 0 || at + 2 > p->len || o->csum_offset % 2 != 0)
        return false;
    uint16_t sum = wire_checksum(p->data + o->csum_start, p->len - o->csum_start);
    enum { UDP_CHECKSUM = 6 };
    if (sum == 0 && o->csum_offset == UDP_CHECKSUM)
        sum = 0xffff; /* RFC 768: 0 would say that there is none */
    store_be16(p->data + at, sum);
    *o = (struct pkt_offload){0};
    return true;
}

/* An outer packet that came back in: its destination is an endpoint of ours, or the far end of the tunnel it would go into. */
static bool is_for(const struct in *in, const struct addr *a)
{
    return a->family == in->ip.version && key_equal(in->dst, key_of(a));
}
static bool is_loop(const struct in *in, const struct way *way)
{
    return in->ours || (way->sa && is_for(in, &SEE(way->sa->peer)->outer.dst)) ||
           (way->tun->type == TUNNEL_GRE && is_for(in, &way->tun->outer.dst));
}

static enum dp_reason take(struct pkt *p, struct in *ret)
{
    bool super = p->offload.gso != PKT_GSO_NONE;
    if (UNLIKELY(!super && (p->offload.needs_csum || p->offload.gso_size != 0)) && !checksum_finish(p))
        return DP_REASON_OFFLOAD;
    if (p->len > 0 && p->data[0] >> 4 != 4 && p->data[0] >> 4 != 6)
        return DP_REASON_INNER_VERSION;
    if (wire_ip_parse(p->data, p->len, &ret->ip) != RC_OK)
        return DP_REASON_INNER_LENGTH;
    if (UNLIKELY(super && !super_is_sound(p, &ret->ip)))
        return DP_REASON_OFFLOAD;
    p->len = ret->ip.len;
    ret->p = p;
    ret->dst = ret->ip.version == 4 ? key4(load_be32(p->data + IP4_DST)) : key6(p->data + IP6_DST);
    return DP_REASON_NONE;
}

/* Is there something about the packet that only the tunnel's worker may do? ESP, but on a shared SA, to the last reason why it cannot
 * be sent; a GRE sequence number; an answer, which is limited per tunnel. */
static bool needs_owner(const struct batch *b, const struct in *in, const struct way *way)
{
    const struct tun *tun = way->tun;
    if ((tun->esp != TUNNEL_NONE && !(way->sa && way->sa->out.shared)) || tun->gre_flags & GRE_SEQUENCE)
        return true;
    uint32_t len = in->p->offload.gso != PKT_GSO_NONE ? super_piece(in) : in->ip.len;
    struct limits limits;
    limits_now(b, tun, way->sa ? &way->sa->out : NULL, &limits);
    return len > limits.mtu;
}

static void refuse(struct batch *b, struct pkt *p, const struct tun *tun, enum dp_reason reason)
{
    batch_drop(b, p, tun, reason);
    batch_emit(b, p);
}

static void run(struct batch *b, struct pkt **v, size_t n)
{
    struct in in[PKT_BATCH];
    size_t k = 0;
    for (size_t i = 0; i < n && i < AHEAD; i++)
        prefetch(v[i]->data, 1);
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            prefetch(v[i + AHEAD]->data, 1);
        enum dp_reason reason = take(v[i], &in[k]);
        if (LIKELY(reason == DP_REASON_NONE))
            k++;
        else
            refuse(b, v[i], NULL, reason);
    }
    ways_choose(b, in, k);
    for (size_t i = 0; i < k; i++) {
        struct way way = {0};
        enum dp_reason reason = way_choose(b, &in[i], &way);
        if (UNLIKELY(way.tun && way.tun->owner != b->w->index) && needs_owner(b, &in[i], &way) &&
            batch_elsewhere(b, in[i].p, way.tun)) {
            batch_emit(b, in[i].p);
            continue;
        }
        if (LIKELY(reason == DP_REASON_NONE) && UNLIKELY(is_loop(&in[i], &way)))
            reason = DP_REASON_INNER_LOOP;
        if (UNLIKELY(reason != DP_REASON_NONE))
            refuse(b, in[i].p, way.tun, reason);
        else if (in[i].p->offload.gso != PKT_GSO_NONE)
            super_split(b, &in[i], &way);
        else
            way_fit(b, in[i].p, &in[i].ip, &way);
    }
    flush(b);
}

void dp_from_tun(struct dp_worker *w, uint64_t now, struct pkt **v, size_t n, struct pkt_pool *pool,
                 struct pkt_list *ret)
{
    struct batch b;
    batch_begin(&b, w, now, pool, ret);
    for (size_t i = 0; i < n; i += PKT_BATCH)
        run(&b, v + i, n - i < PKT_BATCH ? n - i : PKT_BATCH);
}
