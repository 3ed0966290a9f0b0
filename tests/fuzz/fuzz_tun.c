/* Packets from an account's namespace: routes, MTU, fragments, MSS, encapsulation; what leaves for the network must be as it claims.
 *
 * Input: flags (1: ESP in UDP), then packets, each: how (1: mend the IPv4 header checksum, 2: a super-packet, whose offload fields follow),
 * a part. */
#include "lib/core.h"
#include "lib/fuzz.h"

#include "adit/wire_ip.h"

#define PACKETS_MAX 8
#define PATH_MTU 1500

static void check(const struct core *c)
{
    assert_in_range(c->n_out, 1, ARRAY_LEN(c->out));
    for (size_t i = 0; i < c->n_out; i++) {
        const struct pkt *p = c->out[i];
        struct ip_view ip = {0};
        switch ((enum pkt_verdict)p->verdict) {
        case PKT_DROP: assert_in_range(p->reason, 1, DP_REASON_END - 1); break;
        case PKT_TO_TUN: /* ICMP "too big" */
            OK(wire_ip_parse(p->data, p->len, &ip));
            assert_true(ip.len == p->len && (ip.proto == IP_PROTO_ICMP || ip.proto == IP_PROTO_ICMP6));
            break;
        case PKT_TO_GRE:
        case PKT_TO_ESP: assert_in_range(p->len, 1, PATH_MTU - IP4_HEADER); break;
        case PKT_TO_NATT: assert_in_range(p->len, 1, PATH_MTU - IP4_HEADER - UDP_HEADER); break;
        case PKT_TO_WORKER: fail(); break; /* there is one */
        }
    }
}

/* The kernel's word on a super-packet is not to be trusted either. */
static struct pkt_offload read_offload(struct rd *r)
{
    struct pkt_offload o = {.gso = rd_u8(r)};
    o.needs_csum = o.gso & 0x80;
    o.gso &= 0x7f;
    o.gso_size = rd_u16(r);
    o.hdr_len = rd_u8(r);
    o.csum_start = rd_u8(r);
    o.csum_offset = rd_u8(r);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core c;
    struct rd r = rd_of(span_of(data, n));
    bool udp = rd_u8(&r) & 1;
    core_open(&c, udp);
    for (unsigned k = 0; k < PACKETS_MAX && rd_left(&r); k++) {
        uint8_t how = rd_u8(&r);
        struct pkt_offload offload = how & 2 ? read_offload(&r) : (struct pkt_offload){0};
        struct span packet = fuzz_part(&r, 65535);
        uint8_t *p = (uint8_t *)(uintptr_t)packet.p;
        if (how & 1 && packet.n >= IP4_HEADER && p[0] == 0x45) {
            store_be16(p + 10, 0);
            store_be16(p + 10, wire_checksum(p, IP4_HEADER));
        }
        if (core_super(&c, packet, &offload))
            check(&c);
        core_done(&c);
        exact_free(packet);
    }
    core_close(&c);
    return 0;
}
