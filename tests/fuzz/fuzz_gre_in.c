/* GRE from the network, several packets to one world, so that sequence numbers and rates count.
 *
 * Input: packets; each: where from (1: the tunnel with key, checksum and sequence, 2: nobody), a part; an odd number above 0x80 mends the
 * checksum first. */
#include "lib/core.h"
#include "lib/fuzz.h"

#include "adit/wire_ip.h"

#define PACKETS_MAX 16

static void check(const struct core *c, struct span packet)
{
    for (size_t i = 0; i < c->n_out; i++) {
        const struct pkt *p = c->out[i];
        struct ip_view ip = {0};
        if (p->verdict == PKT_DROP) {
            assert_in_range(p->reason, 1, DP_REASON_END - 1);
        } else if (p->verdict == PKT_TO_TUN) {
            assert_int_equal(p->account, CORE_ACCOUNT);
            OK(wire_ip_parse(p->data, p->len, &ip));
            assert_int_equal(ip.len, p->len);
            assert_int_not_equal(ip.proto, IP_PROTO_GRE); /* decapsulated once */
        } else {                                          /* the answer to a keepalive: what was inside, once */
            assert_int_equal(p->verdict, PKT_TO_GRE);
            assert_in_range(p->len, 0, packet.n);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core c;
    static const char *const peers[] = {"192.0.2.3", "192.0.2.4", "203.0.113.9", "192.0.2.2"};
    struct rd r = rd_of(span_of(data, n));
    core_open(&c, false);
    for (unsigned k = 0; k < PACKETS_MAX && rd_left(&r); k++) {
        uint8_t how = rd_u8(&r);
        struct span packet = fuzz_part(&r, 65535);
        struct path path = core_path(PKT_FROM_GRE, peers[how & 3]);
        struct gre_header h;
        if (how > 0x80 && wire_gre_read(packet.p, packet.n, &h) == RC_OK && h.flags & GRE_CHECKSUM)
            wire_gre_seal((uint8_t *)(uintptr_t)packet.p, packet.n);
        if (core_packet(&c, PKT_FROM_GRE, &path, packet))
            check(&c, packet);
        core_done(&c);
        exact_free(packet);
    }
    core_close(&c);
    return 0;
}
