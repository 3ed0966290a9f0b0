/* See pcap.h. */
#include "pcap.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINK_ETHERNET = 1, LINK_RAW = 101, LINK_COOKED = 113 };
#define FILE_MAX ((size_t)64 << 20)

static bool bad(struct pcap *p, const char *why)
{
    p->failed = true;
    p->error = why;
    return false;
}

static uint32_t field(struct pcap *p, struct rd *r)
{
    uint32_t v = rd_u32(r);
    return p->little ? __builtin_bswap32(v) : v;
}

bool pcap_open(struct pcap *p, const char *path)
{
    *p = (struct pcap){0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return bad(p, "cannot be read");
    p->data = malloc(FILE_MAX);
    p->n = p->data ? fread(p->data, 1, FILE_MAX, f) : 0;
    fclose(f);
    p->at = rd_of(span_of(p->data, p->n));
    uint32_t magic = rd_u32(&p->at);
    p->little = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1; /* micro- or nanoseconds */
    if (!p->little && magic != 0xa1b2c3d4 && magic != 0xa1b23c4d)
        return bad(p, "not a pcap file");
    rd_take(&p->at, 16);
    p->link = field(p, &p->at);
    if (p->at.failed || (p->link != LINK_ETHERNET && p->link != LINK_RAW && p->link != LINK_COOKED))
        return bad(p, "a link type other than Ethernet, cooked or raw IP");
    return true;
}

static bool network(struct pcap *p, struct rd *frame, struct pcap_packet *ret)
{
    uint16_t type = 0;
    if (p->link == LINK_RAW) {
        type = rd_left(frame) && *frame->at >> 4 == 6 ? 0x86dd : 0x0800;
    } else {
        rd_take(frame, p->link == LINK_ETHERNET ? 12 : 14);
        type = rd_u16(frame);
    }
    const uint8_t *ip = frame->at;
    if (type == 0x0800 && rd_left(frame) >= 20) {
        size_t header = (ip[0] & 0x0fu) * 4, total = (size_t)(ip[2] << 8 | ip[3]);
        if (header < 20 || total < header || total > rd_left(frame))
            return bad(p, "a malformed IPv4 header");
        if ((ip[6] & 0x3f) || ip[7])
            return bad(p, "an IP fragment: capture whole packets");
        ret->protocol = ip[9];
        ret->path = (struct path){.local.addr = addr_of(4, ip + 16), .remote.addr = addr_of(4, ip + 12)};
        rd_take(frame, header);
        ret->payload = rd_take(frame, total - header);
        return true;
    }
    if (type == 0x86dd && rd_left(frame) >= 40) {
        size_t n = (size_t)(ip[4] << 8 | ip[5]);
        ret->protocol = ip[6];
        ret->path = (struct path){.local.addr = addr_of(6, ip + 24), .remote.addr = addr_of(6, ip + 8)};
        rd_take(frame, 40);
        ret->payload = rd_take(frame, n);
        return !frame->failed || bad(p, "a malformed IPv6 header");
    }
    ret->protocol = 0; /* ARP and the like */
    ret->payload = span_of(NULL, 0);
    return true;
}

bool pcap_next(struct pcap *p, struct pcap_packet *ret)
{
    if (p->failed || rd_left(&p->at) == 0)
        return false;
    rd_take(&p->at, 8);
    uint32_t captured = field(p, &p->at), length = field(p, &p->at);
    struct rd frame = rd_sub(&p->at, captured);
    if (p->at.failed || captured != length)
        return bad(p, "a packet cut short");
    if (!network(p, &frame, ret))
        return false;
    if (ret->protocol == 17) {
        struct rd udp = rd_of(ret->payload);
        ret->path.remote.port = rd_u16(&udp);
        ret->path.local.port = rd_u16(&udp);
        uint16_t n = rd_u16(&udp);
        rd_u16(&udp);
        ret->payload = n >= 8 ? rd_take(&udp, n - 8u) : span_of(NULL, 0);
        if (n < 8 || udp.failed)
            return bad(p, "a malformed UDP header");
    }
    return true;
}

void pcap_close(struct pcap *p)
{
    free(p->data);
    p->data = NULL;
}
