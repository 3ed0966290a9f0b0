/* From an account's TUN: look-up and fitting packet by packet, then encapsulation of the whole batch with one call of the cipher. */
#include "worker.h"

#define AHEAD 3 /* packets */

/* Encapsulate and emit what has been collected. */
static void flush(struct batch *b)
{
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *j = &b->job[i];
        if (j->sa)
            esp_out_begin(b, j);
        else
            gre_out(b, j);
    }
    if (b->n_ops > 0)
        esp_out_finish(b);
    for (size_t i = 0; i < b->n_jobs; i++)
        batch_emit(b, b->job[i].p);
    b->n_jobs = 0;
}

void out_add(struct batch *b, const struct job *j)
{
    if (b->n_jobs == PKT_BATCH)
        flush(b);
    b->job[b->n_jobs++] = *j;
}

/* Finish a checksum the kernel left to us: the field holds the pseudo-header's sum (struct virtio_net_hdr, NEEDS_CSUM). */
static bool offload_finish(struct pkt *p)
{
    struct pkt_offload *o = &p->offload;
    size_t at = (size_t)o->csum_start + o->csum_offset;
    if (o->gso != PKT_GSO_NONE || o->gso_size != 0 || at + 2 > p->len || o->csum_offset % 2 != 0)
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
static bool is_loop(const struct batch *b, const uint8_t *p, const struct ip_view *ip, const struct way *way)
{
    struct key dst = ip->version == 4 ? key4(load_be32(p + IP4_DST)) : key6(p + IP6_DST);
    const struct addr *remote = way->sa ? &way->sa->peer->outer.dst : &way->tun->remote;
    return (remote->family == ip->version && key_equal(dst, key_of(remote))) || addr_is_ours(b->t->ours, dst);
}

static enum dp_reason take(struct batch *b, struct pkt *p, struct ip_view *ip, struct way *way)
{
    if (UNLIKELY(p->offload.needs_csum || p->offload.gso != PKT_GSO_NONE || p->offload.gso_size != 0) &&
        !offload_finish(p))
        return DP_REASON_OFFLOAD;
    if (p->len > 0 && p->data[0] >> 4 != 4 && p->data[0] >> 4 != 6)
        return DP_REASON_INNER_VERSION;
    if (wire_ip_parse(p->data, p->len, ip) != RC_OK)
        return DP_REASON_INNER_LENGTH;
    p->len = ip->len;
    enum dp_reason reason = way_choose(b, p, ip, way);
    if (LIKELY(reason == DP_REASON_NONE) && UNLIKELY(is_loop(b, p->data, ip, way)))
        return DP_REASON_INNER_LOOP;
    return reason;
}

void dp_from_tun(struct dp_worker *w, uint64_t now, struct pkt **v, size_t n, struct pkt_pool *pool, struct pkt_list *ret)
{
    struct batch b;
    batch_begin(&b, w, now, pool, ret);
    for (size_t i = 0; i < n && i < AHEAD; i++)
        __builtin_prefetch(v[i]->data);
    for (size_t i = 0; i < n; i++) {
        struct ip_view ip;
        struct way way = {0};
        if (i + AHEAD < n)
            __builtin_prefetch(v[i + AHEAD]->data);
        enum dp_reason reason = take(&b, v[i], &ip, &way);
        if (LIKELY(reason == DP_REASON_NONE))
            way_fit(&b, v[i], &ip, &way);
        else {
            batch_drop(&b, v[i], way.tun, reason);
            batch_emit(&b, v[i]);
        }
    }
    flush(&b);
}
