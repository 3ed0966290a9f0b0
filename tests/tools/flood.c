/* flood: a flood of packets that nobody should send, onto a wire of the lab.
 *
 *     flood outer DEVICE MAC SEED SECONDS RATE CAPTURE     to MAC, as Ethernet frames; CAPTURE: a pcap file of good packets, to repeat and spoil
 *     flood inner DEVICE SEED SECONDS RATE                 out of a TUN of this namespace, super-packets among them
 *
 * The last line counts: frames sent; `must`: datagrams that a kernel gives to the socket they are for; `may`: those it may refuse, or
 * never make whole. The same seed sends the same packets.
 */
#include "fuzz/lib/hostile.h"
#include "unit/lib/pcap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MTU 1500
#define BATCH 64
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

static struct wire {
    int fd;
    bool inner;
    uint64_t sent, must, may;
    uint8_t front[sizeof(struct virtio_net_hdr)];
    size_t front_len; /* Ethernet header, or offload header */
    uint8_t frame[BATCH][MTU + 64];
    struct iovec iov[BATCH];
    struct mmsghdr m[BATCH];
    size_t n;
} wire;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- leaving */

static void flush(void)
{
    for (size_t at = 0; at < wire.n;) {
        int r = sendmmsg(wire.fd, wire.m + at, (unsigned)(wire.n - at), 0);
        if (r > 0) {
            at += (size_t)r;
            wire.sent += (size_t)r;
        } else if (wire.inner && errno != EINTR)
            at++; /* the kernel looks at offloads too */
        else
            must(errno == EINTR || errno == ENOBUFS, "sending");
    }
    wire.n = 0;
}

/* A packet is begun; finished, it has been counted and will be sent. */
static struct wr begin(void)
{
    if (wire.n == BATCH)
        flush();
    struct wr w = wr_of(wire.frame[wire.n], wire.front_len + MTU);
    wr_bytes(&w, span_of(wire.front, wire.front_len));
    return wr_of(w.at, MTU);
}

static void finish(struct wr *w, bool certain)
{
    bool v6 = wr_len(w) > 0 && w->start[0] >> 4 == 6;
    if (!wire.inner)
        store_be16(wire.frame[wire.n] + 12, v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
    wire.iov[wire.n] = (struct iovec){.iov_base = wire.frame[wire.n], .iov_len = wire.front_len + wr_len(w)};
    wire.m[wire.n].msg_hdr = (struct msghdr){.msg_iov = &wire.iov[wire.n], .msg_iovlen = 1};
    wire.n++;
    *(certain ? &wire.must : &wire.may) += 1;
}

/* ---- outer packets */

static const char *const peers4[] = {"192.0.2.3", "192.0.2.3", "192.0.2.2", "192.0.2.2", "192.0.2.77", "203.0.113.1"};
static const char *const peers6[] = {"2001:db8:9::3", "2001:db8:9::3", "2001:db8:9::77"};

static struct ip_fields fields(struct hostile *g, bool v6, uint8_t proto, size_t n)
{
    struct ip_fields f = {.src = v6 ? ANY_ADDR(g, peers6) : ANY_ADDR(g, peers4),
                          .proto = proto,
                          .tos = (uint8_t)roll(g, 256),
                          .ttl = (uint8_t)(1 + roll(g, 255)),
                          .df = roll(g, 2),
                          .id = (uint16_t)roll(g, 65536),
                          .payload_len = (uint32_t)n};
    must(addr_parse(v6 ? "2001:db8:5::2" : roll(g, 50) ? "198.51.100.2" : "203.0.113.2", &f.dst) == RC_OK, "address");
    return f;
}

/* The ICMP error of some router about one of our packets, or nearly. */
static void put_icmp(struct hostile *g, struct wr *w, bool v6)
{
    static const uint32_t mtu[] = {0, 1, 68, 575, 576, 1279, 1280, 1400, 65535, UINT32_MAX};
    static const uint8_t of[] = {IP_PROTO_GRE, IP_PROTO_ESP, IP_PROTO_UDP, IP_PROTO_TCP};
    struct ip_fields f = fields(g, v6, ANY(g, of), 1400);
    struct addr ours = f.dst;
    f.dst = f.src;
    f.src = ours;
    static const uint8_t types[] = {3, 3, 3, 11, 12};
    wr_u8(w, v6 ? (uint8_t)(1 + roll(g, 4)) : ANY(g, types));
    wr_u8(w, v6 ? 0 : (uint8_t)(roll(g, 3) ? 4 : roll(g, 16)));
    wr_u16(w, 0);
    wr_u32(w, ANY(g, mtu));
    size_t at = wr_len(w);
    wire_ip_write(w, &f);
    if (roll(g, 2))
        put_esp(g, w);
    else
        put_gre_header(g, w);
    if (!w->failed && roll(g, 4) == 0)
        w->at = w->start + at + g->count++ % (wr_len(w) - at);
}

/* The body by protocol, UDP's own header included; the rest of the packet is the caller's. */
static struct span body(struct hostile *g, struct ip_fields *f, uint16_t port)
{
    static uint8_t octets[MTU];
    bool v6 = f->dst.family == 6, udp = f->proto == IP_PROTO_UDP;
    struct wr w = wr_of(octets, MTU - (v6 ? 80 : 60));
    if (udp) {
        wr_u16(&w, roll(g, 2) ? port : (uint16_t)roll(g, 65536));
        wr_u16(&w, port);
        wr_u32(&w, 0);
        if (port == 4500)
            put_natt(g, &w);
        else
            put_kept(g, &w, any_kept(g, IP_PROTO_UDP));
    } else if (f->proto == IP_PROTO_GRE)
        put_gre(g, &w);
    else if (f->proto == IP_PROTO_ESP)
        put_esp(g, &w);
    else
        put_icmp(g, &w, v6);
    f->payload_len = (uint32_t)wr_len(&w);
    uint16_t pseudo = v6 || udp ? wire_sum_pseudo(&f->src, &f->dst, f->proto, f->payload_len) : 0;
    if (udp)
        store_be16(octets + 4, (uint16_t)wr_len(&w));
    if (udp && (v6 || roll(g, 2))) {
        uint16_t sum = (uint16_t)~wire_sum(octets, wr_len(&w), pseudo);
        store_be16(octets + 6, sum ? sum : 0xffff);
    }
    if (f->proto == IP_PROTO_ICMP6 || (f->proto == IP_PROTO_ICMP && roll(g, 8)))
        store_be16(octets + 2, (uint16_t)~wire_sum(octets, wr_len(&w), pseudo));
    return wr_span(&w);
}

static uint8_t any_proto(struct hostile *g, bool v6)
{
    static const uint8_t list[] = {
        IP_PROTO_GRE, IP_PROTO_GRE, IP_PROTO_ESP, IP_PROTO_ESP, IP_PROTO_UDP, IP_PROTO_UDP, 0};
    uint8_t proto = ANY(g, list);
    return proto ? proto : v6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP;
}

static uint16_t any_port(struct hostile *g)
{
    return roll(g, 4) ? 4500 : 500;
}

static void plain(struct hostile *g, bool v6)
{
    struct ip_fields f = fields(g, v6, any_proto(g, v6), 0);
    struct span b = body(g, &f, any_port(g));
    struct wr w = begin();
    wire_ip_write(&w, &f);
    wr_bytes(&w, b);
    finish(&w, true);
}

/* Datagrams of one sender and one size in a row, of all kinds, and a shorter one: UDP_GRO makes one of them. */
static void run(struct hostile *g)
{
    struct ip_fields f = fields(g, false, IP_PROTO_UDP, 0);
    uint32_t n = 2 + roll(g, 40), size = 1 + roll(g, roll(g, 2) ? 40 : 1400);
    uint16_t port = (uint16_t)(1024 + roll(g, 60000));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len = i + 1 < n || roll(g, 2) ? size : 1 + roll(g, size);
        f.payload_len = UDP_HEADER + len;
        f.id++;
        struct wr w = begin();
        wire_ip_write(&w, &f);
        wr_u16(&w, port);
        wr_u16(&w, 4500);
        wr_u16(&w, (uint16_t)f.payload_len);
        wr_u16(&w, 0);
        size_t at = wr_len(&w);
        put_natt(g, &w);
        w.at = w.start + at + (wr_len(&w) - at < len ? wr_len(&w) - at : len);
        put_random(g, &w, len - (wr_len(&w) - at));
        uint16_t sum = (uint16_t)~wire_sum(w.start + IP4_HEADER, f.payload_len,
                                           wire_sum_pseudo(&f.src, &f.dst, IP_PROTO_UDP, f.payload_len));
        wr_patch_u16(&w, IP4_HEADER + 6, sum ? sum : 0xffff);
        finish(&w, true);
    }
}

/* An IPv4 header that lies, or options: the kernel's business, unless it lets them pass. */
static void lies(struct hostile *g)
{
    struct ip_fields f = fields(g, false, any_proto(g, false), 0);
    struct span b = body(g, &f, any_port(g));
    struct wr w = begin();
    wire_ip_write(&w, &f);
    wr_bytes(&w, b);
    uint32_t how = roll(g, 5);
    if (how == 0)
        put_options4(g, &w, 0);
    else if (how == 1)
        wr_patch_u8(&w, roll(g, 20), (uint8_t)roll(g, 256));
    else if (how == 2)
        wr_patch_u16(&w, 2, (uint16_t)roll(g, 65536));
    else if (how == 3)
        put_random(g, &w, roll(g, 40)); /* behind its end */
    else
        w.at = w.start + roll(g, (uint32_t)wr_len(&w));
    if (wr_len(&w) >= IP4_HEADER && roll(g, 4)) {
        size_t header = (w.start[0] & 15u) * 4;
        wr_patch_u16(&w, 10, 0);
        wr_patch_u16(&w, 10, wire_checksum(w.start, header <= wr_len(&w) ? header : IP4_HEADER));
    }
    finish(&w, false);
}

static void fragment(struct hostile *g, const struct ip_fields *from, struct span b, uint32_t at, uint32_t n, bool more,
                     bool certain)
{
    struct ip_fields f = *from;
    struct wr w = begin();
    f.payload_len = n;
    wire_ip_write(&w, &f);
    if (b.n)
        wr_bytes(&w, span_of(b.p + at, n));
    else
        put_random(g, &w, n);
    wr_patch_u16(&w, 6, (uint16_t)(at / 8 | (more ? 0x2000 : 0)));
    wr_patch_u16(&w, 10, 0);
    wr_patch_u16(&w, 10, wire_checksum(w.start, IP4_HEADER));
    finish(&w, certain);
}

static void fragments(struct hostile *g)
{
    static uint32_t id;
    struct ip_fields f = fields(g, false, any_proto(g, false), 0);
    struct span b = body(g, &f, any_port(g));
    f.df = false;
    f.id = (uint16_t)id++;
    uint32_t half = (uint32_t)b.n / 2 & ~7u, n = (uint32_t)b.n;
    if (half < 8)
        return;
    switch (roll(g, 6)) {
    case 0: /* whole, in two pieces: one datagram */
        fragment(g, &f, b, 0, half, true, true);
        fragment(g, &f, b, half, n - half, false, false);
        return;
    case 1: /* one over the other */
        fragment(g, &f, b, 0, half, true, false);
        fragment(g, &f, b, half - 8, n - half + 8, false, false);
        return;
    case 2: /* tiny ones */
        for (uint32_t at = 0; at < half; at += 8)
            fragment(g, &f, b, at, 8, true, false);
        fragment(g, &f, b, half, n - half, false, false);
        return;
    case 3: fragment(g, &f, b, half, n - half, roll(g, 2), false); return; /* the first is missing */
    case 4: fragment(g, &f, b, 0, half, true, false); return;              /* the last one is */
    default: /* to the end of what an offset can say, and beyond */
        fragment(g, &f, span_of(NULL, 0), 65528 - 8 * roll(g, 2), 8 + roll(g, 900), false, false);
        fragment(g, &f, b, 0, half, true, false);
    }
}

static void extended6(struct hostile *g)
{
    static const uint8_t next[] = {IP_PROTO_HOPOPTS, IP_PROTO_DSTOPTS, IP_PROTO_ROUTING, IP_PROTO_FRAGMENT};
    uint8_t proto = any_proto(g, true);
    struct ip_fields f = fields(g, true, proto, 0);
    struct span b = body(g, &f, any_port(g));
    uint32_t chain = 1 + roll(g, 4);
    f.proto = ANY(g, next);
    f.payload_len += chain * 8;
    struct wr w = begin();
    wire_ip_write(&w, &f);
    for (uint32_t i = 0; i < chain; i++) {
        wr_u8(&w, i + 1 < chain ? ANY(g, next) : proto);
        wr_u8(&w, (uint8_t)(roll(g, 8) ? 0 : roll(g, 256)));
        wr_u16(&w, roll(g, 2) ? 0x0104 : (uint16_t)roll(g, 65536)); /* padding of four octets, or anything */
        put_random(g, &w, 4);
    }
    wr_bytes(&w, b);
    finish(&w, false);
}

static void outer(struct hostile *g)
{
    uint32_t kind = roll(g, 100);
    if (kind < 70)
        plain(g, kind < 15);
    else if (kind < 72)
        run(g);
    else if (kind < 82)
        lies(g);
    else if (kind < 90)
        fragments(g);
    else
        extended6(g);
}

/* Out of a TUN: anything, and half of it with something left to do. */
static void inner(struct hostile *g)
{
    static const uint8_t types[] = {VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP_L4};
    struct wr w = begin();
    struct virtio_net_hdr h = {0};
    put_inner(g, &w);
    if (roll(g, 2)) {
        h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        h.gso_type = roll(g, 3) ? ANY(g, types) : VIRTIO_NET_HDR_GSO_NONE;
        h.gso_size = h.gso_type ? (uint16_t)(1 + roll(g, roll(g, 2) ? 100 : 1500)) : 0;
        h.hdr_len = (uint16_t)roll(g, 100);
        h.csum_start = roll(g, 4) ? (wr_len(&w) && w.start[0] >> 4 == 6 ? 40 : 20) : (uint16_t)roll(g, 100);
        h.csum_offset = roll(g, 2) ? 16 : 6;
    }
    struct wr front = wr_of(wire.frame[wire.n], sizeof h);
    wr_bytes(&front, span_of(&h, sizeof h));
    finish(&w, false);
}

/* ---- life */

static void keep(struct hostile *g, const char *path)
{
    static struct pcap pcap; /* what is kept points into it */
    struct pcap_packet p;
    must(pcap_open(&pcap, path), path);
    while (g->n_kept < HOSTILE_KEPT && pcap_next(&pcap, &p)) {
        bool natt = p.protocol == IP_PROTO_UDP && p.path.local.port == 4500;
        struct rd r = rd_of(p.payload);
        if (natt && rd_u32(&r) == 0)
            p.payload = rd_rest(&r);
        else if (natt)
            p.protocol = IP_PROTO_ESP;
        g->kept[g->n_kept] = p.payload;
        g->kept_proto[g->n_kept++] = p.protocol;
    }
    must(g->n_kept > 0, "a capture without packets");
}

static void open_device(const char *device, const char *mac)
{
    int on = 1;
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(wire.inner ? ETHERTYPE_IP : 0),
                             .sll_ifindex = (int)if_nametoindex(device)};
    wire.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    must(wire.fd >= 0 && (!wire.inner || setsockopt(wire.fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) == 0),
         "packet socket");
    must(bind(wire.fd, (struct sockaddr *)&to, sizeof to) == 0, device);
    wire.front_len = sizeof(struct virtio_net_hdr);
    if (wire.inner)
        return;
    struct wr w = wr_of(wire.front, sizeof wire.front);
    char *end = NULL;
    for (int i = 0; i < 6; i++, mac = end + (*end == ':'))
        wr_u8(&w, (uint8_t)strtoul(mac, &end, 16));
    wr_u16(&w, 0x0200);
    wr_u32(&w, 0x5e005302);
    wire.front_len = ETHER_HDR_LEN;
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    static struct hostile g;
    wire.inner = argc == 6 && strcmp(argv[1], "inner") == 0;
    if (!wire.inner && !(argc == 8 && strcmp(argv[1], "outer") == 0)) {
        fprintf(stderr,
                "usage: flood outer DEVICE MAC SEED SECONDS RATE CAPTURE | flood inner DEVICE SEED SECONDS RATE\n");
        return 2;
    }
    char **rest = argv + (wire.inner ? 3 : 4);
    g.dice = strtoull(rest[0], NULL, 0);
    uint64_t seconds = strtoull(rest[1], NULL, 0), rate = strtoull(rest[2], NULL, 0), start = clock_ns(), now = start;
    if (!wire.inner)
        keep(&g, rest[3]);
    open_device(argv[2], wire.inner ? NULL : argv[3]);
    while ((now = clock_ns()) - start < seconds * NS_PER_S) {
        if (wire.sent * NS_PER_S / rate > now - start) {
            usleep(500);
            continue;
        }
        for (size_t i = 0; i < BATCH; i++)
            wire.inner ? inner(&g) : outer(&g);
        flush();
    }
    printf("seed %s sent %llu must %llu may %llu seconds %.1f\n", rest[0], (unsigned long long)wire.sent,
           (unsigned long long)wire.must, (unsigned long long)wire.may, (double)(clock_ns() - start) / NS_PER_S);
    return 0;
}
