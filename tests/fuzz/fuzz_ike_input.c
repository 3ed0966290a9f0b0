/* Raw datagrams to the engine, several to one engine, with time between them. No keys: what anybody on the network can do.
 *
 * Input: flags (1: cookies are asked for at once), then datagrams; each: how it comes (1: port 4500, 2: another source, 4: to an
 * address that is not ours; from 0xf0 on time passes instead), the datagram as a part. */
#include "lib/context.h"
#include "lib/fuzz.h"

#include "sim/lib/edge.h"

#define DATAGRAMS_MAX 16

static struct path path_of(uint8_t how)
{
    struct path path = {.local.port = how & 1 ? 4500 : 500, .remote.port = how & 1 ? 4500 : 500};
    OK(addr_parse(how & 4 ? "198.51.100.9" : EDGE_ADDRESS, &path.local.addr));
    OK(addr_parse(how & 2 ? "203.0.113.9" : "192.0.2.2", &path.remote.addr));
    return path;
}

/* RFC 7296 2.4 and adversarial row 24: who has not proved an address gets no more than a reply to IKE_SA_INIT of 1.5 times its size. */
static void check_answers(const struct edge *e, struct span datagram)
{
    size_t sent = 0;
    for (size_t i = 0; i < e->acts.n; i++)
        if (e->acts.v[i].type == ACT_SEND)
            sent += e->acts.v[i].datagram.n;
    assert_in_range(edge_sent(e), 0, 1);
    assert_in_range(sent, 0, datagram.n + datagram.n / 2);
    assert_int_equal(e->n_children, 0); /* nobody can have authenticated */
    assert_int_equal(e->ups, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_of(span_of(data, n));
    struct ike_policy policy;
    ike_policy_default(&policy);
    policy.init_rate_per_ip = policy.handshakes_per_second = 0;
    if (rd_u8(&r) & 1)
        policy.cookie_threshold = policy.cookie_threshold_per_ip = 0;
    struct edge *e = edge_new_on(fuzz_crypto(), &policy, 1);
    for (unsigned k = 0; k < DATAGRAMS_MAX && rd_left(&r); k++) {
        uint8_t how = rd_u8(&r);
        edge_clear(e);
        if (how >= 0xf0) {
            e->now += (how - 0xefu) * NS_PER_S;
            edge_tick(e);
            continue;
        }
        struct path path = path_of(how);
        struct span datagram = fuzz_part(&r, 65535);
        edge_input(e, &path, datagram);
        check_answers(e, datagram);
        exact_free(datagram);
    }
    edge_clear(e);
    e->now += policy.half_open_timeout;
    edge_tick(e);
    edge_assert_empty(e);
    edge_free(e);
    return 0;
}
