/* GRE packets that the kernel has put together, or never finished, before we see them. Its GRO looks into GRE (without a sequence
 * number): it joins the TCP segments of a flow, verifies their checksums, and gives a raw or packet socket one packet of up to 64 KiB.
 * Nothing tells of it but the inner checksum field, which is left open: it holds the sum of the pseudo-header. So does a packet that
 * a virtual machine or container of the same host has sent without a checksum.
 *
 * What is small enough gets its checksum. Larger TCP goes to the TUN as a super-packet, for the kernel to cut again. How long the
 * segments were is not known: full ones if the payload is a multiple of that; else they are made so short that any path takes them. */
#include "worker.h"

enum { TCP_OFFSET = 12 };

bool merged_is_open(const uint8_t *p, const struct ip_view *ip)
{
    if (!merged_looks_open(p, ip))
        return false;
    /* One checksum in 65536 looks like this and is right. One of 0 is none: a sum of what is not all 0 never is (RFC 1071). */
    uint16_t pseudo = load_be16(p + ip->payload + merged_field(ip));
    return pseudo != 0 && wire_sum(p + ip->payload, ip->len - ip->payload, pseudo) != 0xffff;
}

static void finish(uint8_t *p, const struct ip_view *ip, uint8_t field)
{
    uint16_t sum = wire_checksum(p + ip->payload, ip->len - ip->payload);
    if (sum == 0 && ip->proto == IP_PROTO_UDP)
        sum = 0xffff; /* RFC 768: 0 would say that there is none */
    store_be16(p + ip->payload + field, sum);
}

enum dp_reason merged_settle(const struct batch *b, struct pkt *p, const struct ip_view *ip, uint16_t mtu)
{
    bool tcp = ip->proto == IP_PROTO_TCP;
    if (LIKELY(!merged_is_open(p->data, ip)))
        return DP_REASON_NONE;
    if (ip->len <= IP6_MIN_MTU || (!tcp && ip->len <= mtu)) {
        finish(p->data, ip, merged_field(ip));
        return DP_REASON_NONE;
    }
    uint32_t headers = ip->payload + (tcp ? (p->data[ip->payload + TCP_OFFSET] >> 4) * 4u : UDP_HEADER);
    uint32_t full = mtu > headers ? mtu - headers : 0, any = IP6_MIN_MTU - headers;
    uint32_t size = full && (ip->len - headers) % full == 0 ? full : any;
    if (size == ip->len - headers) { /* one segment, and full */
        finish(p->data, ip, merged_field(ip));
        return DP_REASON_NONE;
    }
    p->offload = (struct pkt_offload){.gso = ip->version == 4 ? PKT_GSO_TCP4 : PKT_GSO_TCP6,
                                      .needs_csum = true,
                                      .gso_size = (uint16_t)size,
                                      .hdr_len = (uint16_t)headers,
                                      .csum_start = ip->payload,
                                      .csum_offset = merged_field(ip)};
    if (tcp && headers < IP6_MIN_MTU && b->coalesce & DP_COALESCE_TCP && super_is_sound(p, ip))
        return DP_REASON_NONE;
    p->offload = (struct pkt_offload){0}; /* datagrams joined are datagrams lost */
    return DP_REASON_OFFLOAD;
}
