/* Super-packets from a TUN (pkt.offload): TCP and UDP that the kernel left whole, cut into the segments it would have made (RFC 9293,
 * RFC 768; Linux' Documentation/networking/segmentation-offloads). Each goes straight into its send packet: the copy is made by the
 * loop that sums the payload, which has to read every octet anyway. */
#include "worker.h"

enum { TCP_FLAG_FIN = 0x01, TCP_FLAG_RST = 0x04, TCP_FLAG_PSH = 0x08, TCP_FLAG_CWR = 0x80 };
enum { TCP_SEQ = 4, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_CHECKSUM = 16, UDP_LENGTH = 4, UDP_CHECKSUM = 6 };

static bool is_tcp(const struct pkt *p)
{
    return p->offload.gso != PKT_GSO_UDP;
}

static uint32_t headers_of(const struct pkt *p, const struct ip_view *ip)
{
    return ip->payload + (is_tcp(p) ? (p->data[ip->payload + TCP_OFFSET] >> 4) * 4u : UDP_HEADER);
}

bool super_is_sound(const struct pkt *p, const struct ip_view *ip)
{
    const struct pkt_offload *o = &p->offload;
    uint8_t version = o->gso == PKT_GSO_TCP4 ? 4 : o->gso == PKT_GSO_TCP6 ? 6 : ip->version;
    if (o->gso > PKT_GSO_UDP || o->gso_size == 0 || !o->needs_csum || o->hdr_len > p->len)
        return false;
    if (ip->version != version || ip->fragment || ip->proto != (is_tcp(p) ? IP_PROTO_TCP : IP_PROTO_UDP) ||
        o->csum_start != ip->payload || o->csum_offset != (is_tcp(p) ? TCP_CHECKSUM : UDP_CHECKSUM))
        return false;
    if (ip->len < ip->payload + (uint32_t)(is_tcp(p) ? TCP_HEADER : UDP_HEADER))
        return false;
    if (is_tcp(p) && (p->data[ip->payload + TCP_OFFSET] >> 4 < TCP_HEADER / 4 ||
                      p->data[ip->payload + TCP_FLAGS] & (TCP_FLAG_SYN | TCP_FLAG_RST)))
        return false;
    return headers_of(p, ip) < ip->len; /* without payload there is nothing to cut */
}

static uint16_t add16(uint16_t a, uint16_t b) /* one's complement */
{
    uint32_t s = (uint32_t)a + b;
    return (uint16_t)((s & 0xffff) + (s >> 16));
}

struct cut { /* what all segments of a super-packet have in common */
    const struct pkt *p;
    const struct ip_view *ip;
    uint32_t headers; /* of IP and transport together */
    uint16_t pseudo;  /* sum of the pseudo-header, length left out */
    uint16_t id;      /* IPv4 */
};

static struct cut cut_of(const struct in *in)
{
    struct addr src = wire_ip_src(in->p->data), dst = wire_ip_dst(in->p->data);
    return (struct cut){.p = in->p,
                        .ip = &in->ip,
                        .headers = headers_of(in->p, &in->ip),
                        .pseudo = wire_sum_pseudo(&src, &dst, in->ip.proto, 0),
                        .id = load_be16(in->p->data + 4)};
}

static void fix_ip(const struct cut *c, uint8_t *ip, uint32_t len, uint16_t k)
{
    if (c->ip->version == 6) {
        store_be16(ip + 4, (uint16_t)(len - IP6_HEADER));
        return;
    }
    store_be16(ip + 2, (uint16_t)len);
    store_be16(ip + 4, (uint16_t)(c->id + k)); /* RFC 6864 4.3: no two alike */
    store_be16(ip + 10, 0);
    store_be16(ip + 10, wire_checksum(ip, (ip[0] & 15u) * 4));
}

/* Sequence and flags as the sender would have set them: FIN and PSH on the last segment (RFC 9293 3.8.2), CWR on the first (RFC 3168
 * 6.1.2). */
static void fix_tcp(const struct cut *c, uint8_t *tcp, uint32_t len, uint32_t at, uint16_t payload_sum, bool last)
{
    uint32_t header = c->headers - c->ip->payload;
    store_be32(tcp + TCP_SEQ, load_be32(tcp + TCP_SEQ) + at);
    if (!last)
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
    if (at > 0)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_FLAG_CWR;
    store_be16(tcp + TCP_CHECKSUM, 0);
    uint16_t sum = wire_sum(tcp, header, add16(c->pseudo, (uint16_t)len));
    store_be16(tcp + TCP_CHECKSUM, (uint16_t)~add16(sum, payload_sum));
}

static void fix_udp(const struct cut *c, uint8_t *udp, uint32_t len, uint16_t payload_sum)
{
    store_be16(udp + UDP_LENGTH, (uint16_t)len);
    store_be16(udp + UDP_CHECKSUM, 0);
    uint16_t checksum = (uint16_t)~add16(wire_sum(udp, UDP_HEADER, add16(c->pseudo, (uint16_t)len)), payload_sum);
    store_be16(udp + UDP_CHECKSUM, checksum ? checksum : 0xffff); /* RFC 768: 0 would say that there is none */
}

/* Segment k, whose payload starts `at` octets into the super-packet's. */
static void cut_segment(const struct cut *c, struct pkt *s, uint32_t at, uint32_t n, uint16_t k)
{
    const uint8_t *payload = c->p->data + c->headers + at;
    struct wr w = wr_of(s->data, c->headers);
    wr_bytes(&w, span_of(c->p->data, c->headers));
    uint16_t sum = wire_sum_copy(s->data + c->headers, payload, n);
    s->len = c->headers + n;
    s->from = c->p->from;
    s->account = c->p->account;
    fix_ip(c, s->data, s->len, k);
    uint8_t *l4 = s->data + c->ip->payload;
    if (is_tcp(c->p))
        fix_tcp(c, l4, s->len - c->ip->payload, at, sum, c->headers + at + n == c->ip->len);
    else
        fix_udp(c, l4, s->len - c->ip->payload, sum);
}

uint32_t super_piece(const struct in *in)
{
    uint32_t headers = headers_of(in->p, &in->ip), payload = in->ip.len - headers;
    return headers + (payload < in->p->offload.gso_size ? payload : in->p->offload.gso_size);
}

void super_split(struct batch *b, const struct in *in, const struct way *way)
{
    struct cut c = cut_of(in);
    struct ip_view ip = in->ip;
    uint32_t size = in->p->offload.gso_size, payload = ip.len - c.headers;
    uint16_t k = 0;
    struct limits limits;
    way_limits(b, way, &limits);
    uint32_t piece = super_piece(in);
    if (UNLIKELY(piece > limits.mtu && ip.df && !(ip.version == 6 && piece <= IP6_MIN_MTU))) {
        way_too_big(b, in->p, &ip, way->tun, limits.mtu); /* no segment would pass: said once */
        return;
    }
    for (uint32_t at = 0; at < payload; at += size, k++) {
        uint32_t n = payload - at < size ? payload - at : size;
        struct pkt *s = pkt_get(b->pool, c.headers + n > PKT_SMALL);
        if (!s) { /* TCP sends the rest again, UDP is used to loss */
            batch_drop(b, in->p, way->tun, DP_REASON_POOL);
            batch_emit(b, in->p);
            return;
        }
        cut_segment(&c, s, at, n, k);
        ip.len = s->len;
        way_fit(b, s, &ip, way);
    }
    pkt_put(b->pool, in->p);
}
