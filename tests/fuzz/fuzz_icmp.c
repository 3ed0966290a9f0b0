/* Outer ICMP: the codec, and the path MTU that the datapath believes: never raised, never below the floor.
 *
 * Input: flags (1: IPv6, 2: mend the ICMPv4 checksum), the message. */
#include "lib/core.h"
#include "lib/fuzz.h"

#include "adit/wire_ip.h"

enum { TUNNELS = 3, PATH_MTU = 1500, FLOOR4 = 576 };

static void read_message(uint8_t family, struct span message)
{
    struct icmp_too_big m;
    if (wire_icmp_too_big_read(family, message, &m) != RC_OK)
        return;
    assert_within(m.payload, message);
    assert_true(m.payload.n >= 8);
    assert_int_equal(m.src.family, family);
    assert_int_equal(m.dst.family, family);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core c;
    struct rd r = rd_of(span_of(data, n));
    uint8_t flags = rd_u8(&r);
    struct span message = fuzz_rest(&r);
    uint8_t *p = (uint8_t *)(uintptr_t)message.p;
    if (flags & 2 && message.n >= 8) {
        store_be16(p + 2, 0);
        store_be16(p + 2, wire_checksum(p, message.n));
    }
    read_message(flags & 1 ? 6 : 4, message);
    core_open(&c, flags & 4);
    struct path path = core_path(PKT_FROM_ICMP, flags & 1 ? "2001:db8:9::2" : "203.0.113.1");
    if (core_packet(&c, PKT_FROM_ICMP, &path, message)) {
        assert_int_equal(c.n_out, 1);
        assert_int_equal(c.out[0]->verdict, PKT_DROP); /* used or not, it goes nowhere */
    }
    for (uint32_t t = 0; t < TUNNELS; t++) {
        struct dp_tunnel_info info;
        assert_true(dp_tunnel_info(c.dp, t, &info));
        assert_in_range(info.path_mtu, FLOOR4, PATH_MTU);
        assert_in_range(info.mtu, 1, PATH_MTU);
    }
    core_done(&c);
    core_close(&c);
    exact_free(message);
    return 0;
}
