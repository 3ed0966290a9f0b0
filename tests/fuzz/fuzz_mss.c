/* TCP's MSS clamp: it touches the option and the checksum of a SYN, lowers only, and a checksum that was right stays right.
 *
 * Input: the MSS, the segment. */
#include "lib/fuzz.h"

#include "adit/wire_ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_of(span_of(data, n));
    uint16_t mss = rd_u16(&r);
    if (rd_left(&r) == 0)
        return 0;
    struct span before = fuzz_rest(&r), after = exact_copy(before);
    uint8_t *tcp = (uint8_t *)(uintptr_t)after.p;
    bool changed = wire_tcp_mss_clamp(tcp, after.n, mss);
    size_t first = after.n, last = 0;
    for (size_t i = 0; i < after.n; i++)
        if (after.p[i] != before.p[i] && i != 16 && i != 17) {
            first = i < first ? i : first;
            last = i;
        }
    assert_true(changed || (first == after.n && memcmp(after.p, before.p, after.n) == 0));
    if (changed) {
        size_t header = (size_t)(before.p[12] >> 4) * 4;
        assert_true(before.p[13] & TCP_FLAG_SYN);
        assert_in_range(first, TCP_HEADER + 2, header - 1);
        assert_in_range(last - first, 0, 1);
        /* One's complement: over all 16-bit words the sum is what it was (RFC 1624); an odd option straddles two of them. */
        assert_int_equal(wire_sum(after.p, after.n, 0), wire_sum(before.p, before.n, 0));
        struct span again = exact_copy(after); /* clamped once is enough */
        assert_false(wire_tcp_mss_clamp((uint8_t *)(uintptr_t)again.p, again.n, mss));
        exact_free(again);
    }
    exact_free(before);
    exact_free(after);
    return 0;
}
