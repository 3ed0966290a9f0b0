/* See null.h. */
#include "null.h"

#include <stdlib.h>
#include <string.h>

#define ESP_FRONT 16 /* SPI, sequence number, IV */
#define ESP_BACK 18  /* padding of none, ICV */
#define GRE_FRONT 4

struct null {
    struct pkt_outer outer;
    enum pkt_verdict wire;
};

struct null *null_new(const struct addr *local, const struct addr *remote, enum pkt_verdict wire)
{
    struct null *n = calloc(1, sizeof *n);
    if (n) {
        n->wire = wire;
        n->outer = (struct pkt_outer){.src = *local, .dst = *remote, .dport = 4500, .ttl = 64, .df = true};
    }
    return n;
}

void null_free(struct null *n)
{
    free(n);
}

/* A copy of the n octets at `from`, with room in front and behind as ESP has it; NULL: none is free. */
static struct pkt *copy(struct pkt_pool *pool, const uint8_t *from, uint32_t len, uint32_t front, uint32_t back)
{
    struct pkt *p = pkt_get(pool, len + front + back > PKT_SMALL);
    if (!p)
        return NULL;
    memcpy(p->data + front, from, len);
    p->len = front + len + back;
    return p;
}

static void put_out(struct null *n, struct pkt *p, struct pkt_list *ret)
{
    struct wr w = wr_of(p->data, p->len);
    if (n->wire == PKT_TO_GRE)
        wr_u32(&w, 0x0800);
    else
        wr_u64(&w, UINT64_C(1) << 32);
    p->verdict = (uint8_t)n->wire;
    p->outer = n->outer;
    pkt_push(ret, p);
}

void null_from_tun(struct null *n, struct pkt **v, size_t count, struct pkt_pool *pool, struct pkt_list *ret)
{
    for (size_t i = 0; i < count; i++) {
        struct pkt *p = v[i];
        if (n->wire == PKT_TO_GRE) {
            p->data -= GRE_FRONT;
            p->len += GRE_FRONT;
        } else {
            p = copy(pool, v[i]->data, v[i]->len, ESP_FRONT, ESP_BACK);
            pkt_put(pool, v[i]);
        }
        if (p)
            put_out(n, p, ret);
    }
}

void null_from_net(struct null *n, struct pkt **v, size_t count, struct pkt_pool *pool, struct pkt_list *ret)
{
    for (size_t i = 0; i < count; i++) {
        struct pkt *p = v[i];
        if (p->from == PKT_FROM_ICMP || p->len <= ESP_FRONT + ESP_BACK) {
            pkt_put(pool, p);
            continue;
        }
        if (n->wire == PKT_TO_GRE) {
            p->data += GRE_FRONT;
            p->len -= GRE_FRONT;
        } else {
            p = copy(pool, v[i]->data + ESP_FRONT, v[i]->len - ESP_FRONT - ESP_BACK, 0, 0);
            pkt_put(pool, v[i]);
        }
        if (!p)
            continue;
        p->verdict = PKT_TO_TUN;
        pkt_push(ret, p);
    }
}
