/* Packets from an account's namespace: routes, MTU, fragments, MSS, encapsulation; what leaves for the network must be as it claims.
 *
 * Input: packets, each a part; an odd flag before it mends the IPv4 header checksum. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core c;
    struct rd r = rd_of(span_of(data, n));
    bool udp = rd_u8(&r) & 1;
    struct path none = core_path(PKT_FROM_ESP, "192.0.2.2");
    core_open(&c, udp);
    for (unsigned k = 0; k < PACKETS_MAX && rd_left(&r); k++) {
        uint8_t how = rd_u8(&r);
        struct span packet = fuzz_part(&r, 65535);
        uint8_t *p = (uint8_t *)(uintptr_t)packet.p;
        if (how & 1 && packet.n >= IP4_HEADER && p[0] == 0x45) {
            store_be16(p + 10, 0);
            store_be16(p + 10, wire_checksum(p, IP4_HEADER));
        }
        if (core_packet(&c, PKT_FROM_TUN, &none, packet))
            check(&c);
        core_done(&c);
        exact_free(packet);
    }
    core_close(&c);
    return 0;
}
