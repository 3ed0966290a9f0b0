/* Traffic selectors of both sides, and narrowing: whatever the peer wants, what it gets lies in the policy and in its own wish.
 *
 * Input: flags (which policy), TSi as a part, TSr. */
#include "lib/fuzz.h"

#include "ike/selector.h"

static struct ts range(const char *first, const char *last, uint8_t proto, uint16_t port_first, uint16_t port_last)
{
    struct ts ts = {.proto = proto, .port_first = port_first, .port_last = port_last};
    OK(addr_parse(first, &ts.first));
    OK(addr_parse(last, &ts.last));
    return ts;
}

static bool addrs_within(const struct addr *first, const struct addr *last, const struct addr *low,
                         const struct addr *high)
{
    return first->family == low->family && addr_compare(first, low) >= 0 && addr_compare(last, high) <= 0;
}

/* The whole of ts lies in one selector of the peer. */
static bool wished(const struct ts *ts, struct span body)
{
    uint8_t n;
    struct rd r;
    bool found = false;
    OK(ike_ts_read(body, &n, &r));
    for (struct ike_ts peer; ike_ts_next(&r, &peer);)
        found |= (peer.type == TS_IPV4_ADDR_RANGE || peer.type == TS_IPV6_ADDR_RANGE) &&
                 addrs_within(&ts->first, &ts->last, &peer.first, &peer.last) &&
                 (!peer.proto || peer.proto == ts->proto);
    return found;
}

static bool allowed(const struct ts *ts, const struct ts *policy, uint8_t n)
{
    bool found = false;
    for (uint8_t i = 0; i < n; i++)
        found |= addrs_within(&ts->first, &ts->last, &policy[i].first, &policy[i].last) &&
                 (!policy[i].proto || policy[i].proto == ts->proto);
    return found;
}

static void read_all(struct span body)
{
    uint8_t n = 0;
    struct rd r;
    unsigned seen = 0;
    if (ike_ts_read(body, &n, &r) != RC_OK)
        return;
    for (struct ike_ts ts; ike_ts_next(&r, &ts); seen++)
        if (ts.type == TS_IPV4_ADDR_RANGE || ts.type == TS_IPV6_ADDR_RANGE)
            assert_int_equal(ts.first.family, ts.last.family);
    assert_int_equal(seen, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct ts any[] = {range("0.0.0.0", "255.255.255.255", 0, 0, 65535),
                             range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0, 0, 65535)};
    const struct ts narrow[] = {range("10.0.0.0", "10.255.255.255", 17, 1024, 2048),
                                range("2001:db8::", "2001:db8::ff", 0, 0, 65535)};
    struct rd r = rd_of(span_of(data, n));
    uint8_t flags = rd_u8(&r);
    struct span remote = fuzz_part(&r, 65535), local = fuzz_rest(&r);
    struct ike_ts_policy policy = {.local = flags & 1 ? narrow : any,
                                   .remote = flags & 2 ? narrow : any,
                                   .n_local = flags & 4 ? 1 : 2,
                                   .n_remote = flags & 8 ? 1 : 2};
    struct ike_ts_pair pair;
    char text[IKE_TS_TEXT];
    read_all(remote);
    read_all(local);
    if (ike_selector_narrow(&policy, remote, local, &pair) == RC_OK) {
        assert_int_equal(pair.local.first.family, pair.remote.first.family);
        assert_true(wished(&pair.remote, remote) && allowed(&pair.remote, policy.remote, policy.n_remote));
        assert_true(wished(&pair.local, local) && allowed(&pair.local, policy.local, policy.n_local));
        assert_true(addr_compare(&pair.local.first, &pair.local.last) <= 0);
        assert_true(addr_compare(&pair.remote.first, &pair.remote.last) <= 0);
    }
    assert_in_range(strlen(ike_selector_text(remote, local, text)), 0, sizeof text - 1);
    exact_free(remote);
    exact_free(local);
    return 0;
}
