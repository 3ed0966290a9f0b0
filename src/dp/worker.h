/* worker: what one thread of the datapath owns, and the batch it works on. The files of the packet path share this header:
 *     net.c  from the network:  gre.c (in), esp_in.c, pmtu.c  ->  inner.c  ->  the account's TUN
 *     tun.c  from a TUN:        choose.c -> fit.c             ->  gre.c (out), esp_out.c  ->  the network
 */
#ifndef ADIT_DP_WORKER_H
#define ADIT_DP_WORKER_H

#include "tables.h"

#define EVENTS 256 /* an event that finds the ring full is raised again by a later packet */

struct tunnel_count { /* what an ordinary packet changes is on the first line */
    _Alignas(LINE) uint64_t last_in;
    struct dp_counters c;
    /* Of answers; here, for the tunnel may get another owner while this one is in a batch. */
    struct bucket icmp, keepalive;
};

struct dp_worker {
    struct dp *dp;
    struct crypto *crypto;
    unsigned index;
    uint32_t n_count;
    struct tunnel_count *count; /* by handle */
    struct dp_counters total;
    struct dp_event event[EVENTS];
    size_t event_in, event_out; /* events ever written, by the worker, and read, by the control side */
};

struct job { /* a packet between look-up and the end of the batch */
    struct pkt *p;
    const struct tun *tun;
    struct sa *sa;   /* NULL: GRE */
    uint32_t seq;    /* ESP in */
    uint8_t version; /* of the inner packet; in, 0: GRE in transport mode */
    uint8_t tos;     /* out: of the outer header */
    bool df;         /* out */
};

struct in { /* a packet from a TUN, parsed, on its way to a tunnel */
    struct pkt *p;
    struct ip_view ip;
    struct key dst;
    const struct fib *fib; /* its account's */
    uint32_t route;        /* what the fib says of dst; 0: nothing */
    bool ours;             /* dst is one of our endpoints */
};

struct run { /* packets of one shared SA that go out: what they have reserved, what was sent of it */
    struct sa *sa;
    uint64_t seq, iv; /* last one used; next one */
    uint32_t left, packets;
    uint64_t bytes;
};

struct batch {
    struct dp_worker *w;
    const struct tables *t;
    uint64_t now;
    struct pkt_pool *pool;
    struct pkt_list *ret;
    const struct tun *gre_last; /* the last endpoint pair's first tunnel */
    struct sa *sa_last;         /* the last ESP packet's, with its tunnel */
    const struct tun *tun_last;
    struct key ours_last; /* the last outer destination found to be ours */
    bool any_ours;
    uint8_t coalesce; /* DP_COALESCE_* */
    struct run run;
    size_t n_jobs, n_ops;
    struct job job[PKT_BATCH];
    struct esp_op op[PKT_BATCH];
};
/* Not an initialiser: clearing the arrays would cost more than a packet does. */
void batch_begin(struct batch *b, struct dp_worker *w, uint64_t now, struct pkt_pool *pool, struct pkt_list *ret);

/* ---- worker.c: verdicts, counters, events */
void batch_no_room(struct batch *b, struct pkt *p);
static inline void batch_emit(struct batch *b, struct pkt *p) /* verdict is set; the packet leaves */
{
    if (UNLIKELY(!pkt_push(b->ret, p)))
        batch_no_room(b, p);
}
/* Mark as dropped and count; `tun` NULL: no tunnel's. The packet is not emitted yet. */
void batch_drop(struct batch *b, struct pkt *p, const struct tun *tun, enum dp_reason reason);
bool batch_event(struct batch *b, enum dp_event_type type, const struct sa *sa, const struct path *path);
/* The same without a path, by the first to say so, of all workers. */
void batch_event_once(struct batch *b, bool *raised, enum dp_event_type type, const struct sa *sa);
/* Sequence, IV or lifetime at its end; raises the event, of an SA that is not shared at its own worker. */
bool sa_is_exhausted(struct batch *b, struct sa *sa);
/* Does the tunnel belong to another worker? Then the packet, which must still be as it came, gets its verdict. */
static inline bool batch_elsewhere(const struct batch *b, struct pkt *p, const struct tun *tun)
{
    if (LIKELY(tun->owner == b->w->index))
        return false;
    p->verdict = PKT_TO_WORKER;
    p->worker = tun->owner;
    return true;
}
static inline bool bucket_allows(struct bucket *k, uint32_t rate, uint32_t burst, uint64_t now)
{
    if (k->rate == 0)
        bucket_init(k, rate, burst, now);
    return bucket_take(k, now);
}

/* ---- inner.c */
/* A decapsulated packet of IP version `version` at p->data: check, mend ECN and MSS, give it the verdict TO_TUN or DROP.
 * sa NULL: out of GRE as it is; a GRE tunnel and an SA: out of GRE inside ESP. */
void inner_accept(struct batch *b, struct pkt *p, const struct tun *tun, struct sa *sa, uint8_t version);
void sa_count_in(const struct batch *b, struct sa *sa, uint32_t n); /* a packet of n octets came out of it */
uint8_t ecn_decap(uint8_t inner, uint8_t outer);                    /* the inner packet's new ECN field; ECN_DROP */
#define ECN_DROP 0xff
/* What the tunnel lets through now, on an SA with this shape; NULL: GRE as it is. Not by value: put together from its fields and read
 * as a whole it would have to wait for them. */
static inline void limits_now(const struct batch *b, const struct tun *tun, const struct sa_shape *sa,
                              struct limits *ret)
{
    const struct limits *l = sa ? &sa->limits : &b->w->dp->live[tun->handle].limits;
    ret->mtu = READ(l->mtu);
    ret->mss4 = READ(l->mss4);
    ret->mss6 = READ(l->mss6);
    if (UNLIKELY(sa && tun->type == TUNNEL_GRE))
        *ret = limits_carried(tun, ret, sa->transport);
}
static inline void mss_clamp(struct pkt *p, const struct ip_view *ip, const struct limits *l)
{
    if (ip->proto == IP_PROTO_TCP && !ip->later && ip->len >= ip->payload + (uint32_t)TCP_HEADER &&
        p->data[ip->payload + 13] & TCP_FLAG_SYN)
        wire_tcp_mss_clamp(p->data + ip->payload, ip->len - ip->payload, ip->version == 4 ? l->mss4 : l->mss6);
}

/* ---- gre.c */
/* Where a pair is looked for first. */
size_t gre_slot(const struct gre_table *g, const struct addr *local, const struct addr *remote);
void gre_in(struct batch *b, struct pkt *p);
bool gre_out(struct batch *b, const struct job *j); /* false: dropped */
/* The only decapsulation inside another: p->data at a GRE header that came out of `sa`. False: no GRE tunnel of that endpoint pair
 * is carried by the SA's tunnel; nothing is done. */
bool gre_in_esp(struct batch *b, struct pkt *p, struct sa *sa, const struct addr *local, const struct addr *remote);
/* The way back: what gre_out() made, on to ESP. False: dropped. */
bool gre_out_esp(struct batch *b, struct job *j);
/* First tunnel of an endpoint pair; the others follow by gre_next(). */
const struct tun *gre_find(const struct tables *t, const struct addr *local, const struct addr *remote);
static inline const struct tun *gre_next(const struct tables *t, const struct tun *tun)
{
    uint32_t next = t->gre->next[tun->handle];
    return next ? t->tun[next - 1] : NULL;
}

/* ---- merged.c: out of GRE from the network */
static inline uint64_t merged_pseudo_sum(const uint8_t *p, const struct ip_view *ip) /* unfolded */
{
    const uint8_t *a = p + (ip->version == 4 ? IP4_SRC : IP6_SRC);
    uint64_t s = (uint64_t)ip->proto + (ip->len - ip->payload) + load_be32(a) + load_be32(a + 4);
    for (size_t i = 8; ip->version == 6 && i < IP6_HEADER - IP6_SRC; i += 4)
        s += load_be32(a + i);
    return s;
}

/* Where the checksum field stands behind the transport header's begin; 0: there is none, or not here. */
static inline uint8_t merged_field(const struct ip_view *ip)
{
    enum { TCP_CHECKSUM = 16, UDP_CHECKSUM = 6 };
    uint32_t n = ip->len - ip->payload;
    if (ip->fragment || ip->later)
        return 0;
    if (ip->proto == IP_PROTO_TCP && n >= TCP_HEADER)
        return TCP_CHECKSUM;
    return ip->proto == IP_PROTO_UDP && n >= UDP_HEADER ? UDP_CHECKSUM : 0;
}
/* Nearly always all there is to ask. In line, and with a copy of `ip` for what comes then: fields whose address is given away go to
 * memory, and back. */
static inline bool merged_looks_open(const uint8_t *p, const struct ip_view *ip)
{
    uint8_t field = merged_field(ip);
    /* One's complement sums are equal if they are so modulo 0xffff (RFC 1071), which takes one multiplication. */
    return field && (merged_pseudo_sum(p, ip) + 0xffff - load_be16(p + ip->payload + field)) % 0xffff == 0;
}
bool merged_is_open(const uint8_t *p, const struct ip_view *ip); /* its TCP or UDP checksum is yet to be made */
/* Make such a packet whole, or a super-packet; any other stays as it is. The reason if it cannot be. */
enum dp_reason merged_settle(const struct batch *b, struct pkt *p, const struct ip_view *ip, uint16_t mtu);

/* ---- esp_in.c, esp_out.c */
void esp_in_begin(struct batch *b, struct pkt *p);
void esp_in_finish(struct batch *b);
bool esp_out_begin(struct batch *b, struct job *j);         /* false: dropped */
uint32_t esp_out_seq(struct batch *b, const struct job *j); /* the sequence number that it will have, if any */
void esp_out_finish(struct batch *b);

/* ---- pmtu.c */
void pmtu_in(struct batch *b, struct pkt *p);
void pmtu_forget(struct live *live, const struct tun *tun);

/* ---- choose.c */
uint32_t flow_hash(const struct batch *b, const uint8_t *p, const struct ip_view *ip);
struct way {
    const struct tun *tun;
    struct sa *sa;
};
/* The routes of all packets; what they lead to is on its way into the cache. */
void ways_choose(const struct batch *b, struct in *in, size_t n);
/* Where an inner packet goes. DP_REASON_NONE: *ret is set. */
enum dp_reason way_choose(struct batch *b, const struct in *in, struct way *ret);

/* ---- fit.c */
/* Make the packet fit its way and hand it on by out_add(), in one piece or several; or refuse it, with an ICMP answer. */
void way_fit(struct batch *b, struct pkt *p, const struct ip_view *ip, const struct way *way);
/* Now: a path MTU whose time is over is forgotten. */
static inline void way_limits(const struct batch *b, const struct way *way, struct limits *ret)
{
    uint32_t outer = way->sa ? way->tun->esp : way->tun->handle; /* whose path it takes */
    struct live *live = &b->w->dp->live[outer];
    if (UNLIKELY(b->now >= READ(live->path_mtu_until)))
        pmtu_forget(live, b->t->tun[outer]);
    limits_now(b, way->tun, way->sa ? &way->sa->out : NULL, ret);
}
/* Drop it, with an ICMP answer that names `mtu` (0: nothing would fit, no answer) unless there may be none. */
void way_too_big(struct batch *b, struct pkt *p, const struct ip_view *ip, const struct tun *tun, uint16_t mtu);

/* ---- split.c: super-packets from a TUN */
bool super_is_sound(const struct pkt *p, const struct ip_view *ip);
uint32_t super_piece(const struct in *in); /* octets of the largest segment, with its headers */
void super_split(struct batch *b, const struct in *in, const struct way *way); /* p is consumed */

/* ---- coalesce.c */
size_t coalesce(const struct batch *b, struct pkt **v, size_t n); /* how many are left, in order */

/* ---- tun.c */
struct job *out_add(struct batch *b); /* a new one, to be filled; makes room for it by sending the others */

#endif
