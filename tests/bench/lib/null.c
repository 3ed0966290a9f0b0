/* See null.h. Split and coalescing are as plain as they can be and yet right for what e2e sends: IPv4, TCP of one shape per flow. */
#include "null.h"

#include <stdlib.h>
#include <string.h>

#include "adit/wire_ip.h"

#define ESP_FRONT 16 /* SPI, sequence number, IV */
#define ESP_BACK 18  /* padding of none, ICV */
#define GRE_FRONT 4
#define FLOWS 16
#define TCP_HEADER 20
#define IP_MAX 65535
enum { TCP_ACK = 0x10, TCP_PSH = 0x08, TCP_FIN = 0x01 };

struct flow { /* of the batch under way: TCP segments that continue each other */
    struct pkt *p, *last;
    uint32_t headers, size, next; /* octets; of a segment; sequence number */
    uint32_t len, n;              /* octets and segments of all */
};
struct null {
    struct pkt_outer outer;
    enum pkt_verdict wire;
    uint32_t front, back;
    struct flow flow[FLOWS];
    size_t n_flows;
};

struct null *null_new(const struct addr *local, const struct addr *remote, enum pkt_verdict wire)
{
    struct null *n = calloc(1, sizeof *n);
    if (n) {
        n->wire = wire;
        n->front = wire == PKT_TO_GRE ? GRE_FRONT : ESP_FRONT;
        n->back = wire == PKT_TO_GRE ? 0 : ESP_BACK;
        n->outer = (struct pkt_outer){.src = *local, .dst = *remote, .dport = 4500, .ttl = 64, .df = true};
    }
    return n;
}

void null_free(struct null *n)
{
    free(n);
}

/* ---- out */

/* The packet, at its place behind the header to come, is complete. */
static void put_out(struct null *n, struct pkt *p, struct pkt_list *ret)
{
    p->data -= n->front;
    p->len += n->front + n->back;
    struct wr w = wr_of(p->data, p->len);
    if (n->wire == PKT_TO_GRE)
        wr_u32(&w, 0x0800);
    else
        wr_u64(&w, UINT64_C(1) << 32);
    p->verdict = (uint8_t)n->wire;
    p->outer = n->outer;
    p->offload = (struct pkt_offload){0};
    pkt_push(ret, p);
}

/* payload: its sum, where the headers are of an even length */
static void sum_tcp(uint8_t *ip, uint32_t header, uint32_t headers, uint32_t len, uint16_t payload)
{
    struct addr src = wire_ip_src(ip), dst = wire_ip_dst(ip);
    uint32_t pseudo = wire_sum_pseudo(&src, &dst, IP_PROTO_TCP, len - header) + (uint32_t)payload;
    store_be16(ip + 10, 0);
    store_be16(ip + 10, wire_checksum(ip, header));
    store_be16(ip + header + 16, 0);
    store_be16(ip + header + 16,
               (uint16_t)~wire_sum(ip + header, headers - header, (uint16_t)((pseudo & 0xffff) + (pseudo >> 16))));
}

static void split(struct null *n, struct pkt *super, struct pkt_pool *pool, struct pkt_list *ret)
{
    uint32_t header = (super->data[0] & 15u) * 4, headers = header + (super->data[header + 12] >> 4) * 4u;
    uint32_t sequence = load_be32(super->data + header + 4), size = super->offload.gso_size, len;
    uint16_t id = load_be16(super->data + 4);
    for (uint32_t at = headers; at < super->len; at += len, id++) {
        struct pkt *p = pkt_get(pool, false);
        if (!p)
            break;
        len = super->len - at < size ? super->len - at : size;
        memcpy(p->data, super->data, headers);
        uint16_t sum = wire_sum_copy(p->data + headers, super->data + at, len);
        p->len = headers + len;
        store_be16(p->data + 2, (uint16_t)p->len);
        store_be16(p->data + 4, id);
        store_be32(p->data + header + 4, sequence + at - headers);
        if (at + len < super->len)
            p->data[header + 13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
        sum_tcp(p->data, header, headers, p->len, sum);
        put_out(n, p, ret);
    }
}

void null_from_tun(struct null *n, struct pkt **v, size_t count, struct pkt_pool *pool, struct pkt_list *ret)
{
    for (size_t i = 0; i < count; i++) {
        struct pkt *p = v[i];
        const struct pkt_offload *o = &p->offload;
        if (o->gso == PKT_GSO_TCP4) {
            split(n, p, pool, ret);
            pkt_put(pool, p);
            continue;
        }
        if (o->needs_csum)
            store_be16(p->data + o->csum_start + o->csum_offset,
                       wire_checksum(p->data + o->csum_start, p->len - o->csum_start));
        if (n->wire == PKT_TO_GRE || p->len > PKT_SMALL) {
            put_out(n, p, ret);
            continue;
        }
        struct pkt *copy = pkt_get(pool, false);
        if (copy) {
            memcpy(copy->data, p->data, p->len);
            copy->len = p->len;
            put_out(n, copy, ret);
        }
        pkt_put(pool, p);
    }
}

/* ---- in */

static void finish(struct flow *f)
{
    struct pkt *p = f->p;
    if (f->n == 1)
        return;
    uint32_t header = (p->data[0] & 15u) * 4;
    struct addr src = wire_ip_src(p->data), dst = wire_ip_dst(p->data);
    store_be16(p->data + 2, (uint16_t)f->len);
    store_be16(p->data + 10, 0);
    store_be16(p->data + 10, wire_checksum(p->data, header));
    store_be16(p->data + header + 16, wire_sum_pseudo(&src, &dst, IP_PROTO_TCP, f->len - header));
    p->offload = (struct pkt_offload){.gso = PKT_GSO_TCP4,
                                      .needs_csum = true,
                                      .gso_size = (uint16_t)f->size,
                                      .hdr_len = (uint16_t)f->headers,
                                      .csum_start = (uint16_t)header,
                                      .csum_offset = 16};
}

/* The headers say the same: all but length, id and checksum of IP; all but sequence, PSH and checksum of TCP. */
static bool same_shape(const struct flow *f, const uint8_t *q, uint32_t headers)
{
    const uint8_t *p = f->p->data;
    uint32_t h = (p[0] & 15u) * 4;
    return f->headers == headers && memcmp(p, q, 2) == 0 && memcmp(p + 6, q + 6, 4) == 0 &&
           memcmp(p + 12, q + 12, h - 12 + 4) == 0 && memcmp(p + h + 8, q + h + 8, 5) == 0 &&
           memcmp(p + h + 14, q + h + 14, 2) == 0 && memcmp(p + h + 18, q + h + 18, headers - h - 18) == 0;
}

/* True: the packet has become part of one that went before. */
static bool append(struct null *n, struct pkt *q, uint32_t headers)
{
    uint32_t h = (q->data[0] & 15u) * 4, len = q->len - headers;
    for (size_t i = 0; i < n->n_flows; i++) {
        struct flow *f = &n->flow[i];
        if (f->next != load_be32(q->data + h + 4) || len > f->size || f->len + len > IP_MAX || f->n == PKT_SUPER_MAX ||
            (f->len - f->headers) % f->size != 0 || !same_shape(f, q->data, headers))
            continue;
        f->p->data[h + 13] |= q->data[h + 13];
        q->data += headers;
        q->len = len;
        f->last->more = q;
        f->last = q;
        f->len += len;
        f->next += len;
        f->n++;
        return true;
    }
    return false;
}

static bool is_plain_tcp(const struct pkt *p, uint32_t *ret_headers)
{
    const uint8_t *d = p->data;
    uint32_t h = (d[0] & 15u) * 4;
    if (p->len < IP4_HEADER + TCP_HEADER || d[0] >> 4 != 4 || d[9] != IP_PROTO_TCP || load_be16(d + 2) != p->len)
        return false;
    struct addr src = wire_ip_src(d), dst = wire_ip_dst(d);
    *ret_headers = h + (d[h + 12] >> 4) * 4u;
    return (d[h + 13] & ~TCP_PSH) == TCP_ACK && *ret_headers < p->len &&
           wire_sum(d + h, p->len - h, wire_sum_pseudo(&src, &dst, IP_PROTO_TCP, p->len - h)) == 0xffff;
}

void null_from_net(struct null *n, struct pkt **v, size_t count, struct pkt_pool *pool, struct pkt_list *ret)
{
    n->n_flows = 0;
    for (size_t i = 0; i < count; i++) {
        struct pkt *p = v[i];
        uint32_t headers = 0;
        if (p->from == PKT_FROM_ICMP || p->len <= n->front + n->back) {
            pkt_put(pool, p);
            continue;
        }
        p->data += n->front;
        p->len -= n->front + n->back;
        p->verdict = PKT_TO_TUN;
        bool plain = is_plain_tcp(p, &headers);
        if (plain && append(n, p, headers))
            continue;
        if (plain && n->n_flows < FLOWS)
            n->flow[n->n_flows++] =
                (struct flow){.p = p,
                              .last = p,
                              .headers = headers,
                              .size = p->len - headers,
                              .next = load_be32(p->data + (p->data[0] & 15u) * 4 + 4) + p->len - headers,
                              .len = p->len,
                              .n = 1};
        pkt_push(ret, p);
    }
    for (size_t i = 0; i < n->n_flows; i++)
        finish(&n->flow[i]);
}
