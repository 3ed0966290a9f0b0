/* Which tunnel does a packet take? See ways.h. */
#include "ways.h"

#include <stdio.h>

struct tunnel_policy gre_number(uint32_t i, uint32_t account)
{
    struct tunnel_policy t = world_gre(EDGE);
    char text[32];
    snprintf(text, sizeof text, "192.0.2.%u", 100 + i);
    t.tunnel = FIRST + i;
    t.account = account;
    t.customer_endpoint = ip(text);
    t.interface4 = (struct prefix){0};
    return t;
}

void add_tunnels(struct world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct tunnel_policy t = gre_number(i, ACCOUNT);
        OK(dp_tunnel_set(w->dp[EDGE], &t));
    }
    OK(dp_publish(w->dp[EDGE]));
}

int taken(struct world *w, uint32_t account, struct span packet)
{
    world_done(w);
    struct pkt *p = world_packet(w, packet, PKT_FROM_TUN);
    p->account = account;
    p = world_run_tun(w, EDGE, &p, 1);
    if (p->verdict == PKT_DROP) {
        assert_dropped(w, EDGE, p, DP_REASON_NO_ROUTE);
        return -1;
    }
    assert_int_equal(p->verdict, PKT_TO_GRE);
    return p->outer.dst.b[3] - 100;
}
