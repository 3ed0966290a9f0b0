/* ECN, DSCP, TTL and DF across a tunnel: RFC 6040 (figures 3 and 4), RFC 2983, RFC 2003 3.1, RFC 4301 5.1.2; through GRE and through ESP,
 * IPv4 and IPv6 inside and outside. */
#include "lib/inet.h"
#include "lib/world.h"

enum { NOT_ECT = 0, ECT1 = 1, ECT0 = 2, CE = 3, DROPPED = 4 };

/* RFC 6040 figure 4, rows and columns in the order of the RFC. */
static const uint8_t column[] = {NOT_ECT, ECT0, ECT1, CE};
static const struct {
    uint8_t inner, out[4];
} figure4[] = {{NOT_ECT, {NOT_ECT, NOT_ECT, NOT_ECT, DROPPED}},
               {ECT0, {ECT0, ECT0, ECT1, CE}},
               {ECT1, {ECT1, ECT1, ECT1, CE}},
               {CE, {CE, CE, CE, CE}}};

static uint8_t tos_of(const uint8_t *p)
{
    return p[0] >> 4 == 6 ? (uint8_t)(be16(p) >> 4) : p[1];
}

static struct span packet(const char *src4, const char *dst4, const char *src6, const char *dst6, int version,
                          uint8_t tos)
{
    struct span p = version == 6 ? ip_packet(src6, dst6, IP_PROTO_UDP, 30) : ip_packet(src4, dst4, IP_PROTO_UDP, 30);
    uint8_t *b = edit(p);
    if (version == 6) {
        b[0] = (uint8_t)(0x60 | tos >> 4);
        b[1] = (uint8_t)(tos << 4 | 5); /* and a flow label */
        b[2] = b[3] = 0xab;
    } else {
        b[1] = tos;
        ip4_finish(b);
    }
    return p;
}

static struct span from_customer(bool gre, int version, uint8_t tos)
{
    return gre ? packet("10.2.0.1", "10.9.0.1", "2001:db8:2::1", "2001:db8:77::1", version, tos)
               : packet("10.1.0.1", "10.9.0.1", "2001:db8:1::1", "2001:db8:77::1", version, tos);
}

static struct span to_customer(bool gre, int version, uint8_t tos)
{
    return gre ? packet("10.9.0.1", "10.2.0.1", "2001:db8:77::1", "2001:db8:2::1", version, tos)
               : packet("10.9.0.1", "10.1.0.1", "2001:db8:77::1", "2001:db8:1::1", version, tos);
}

/* What the edge makes of a packet of the customer's that arrives under an outer header with `outer`. */
static struct pkt *arrive(struct world *w, bool gre, struct span inner, uint8_t outer)
{
    if (gre) {
        struct pkt_outer o = world_outer(EDGE, 4);
        o.tos = outer;
        return world_net(w, EDGE, &o, PKT_FROM_GRE,
                         gre_packet(0, inner.p[0] >> 4 == 6 ? GRE_PROTO_IPV6 : GRE_PROTO_IPV4, 0, 0, inner));
    }
    struct pkt *p = world_tun(w, PEER, inner);
    assert_int_equal(p->verdict, PKT_TO_ESP);
    p->outer.tos = outer;
    return world_carry(w, EDGE);
}

static void check_decapsulation(struct world *w, bool gre, int version, uint8_t dscp)
{
    for (size_t row = 0; row < 4; row++)
        for (size_t col = 0; col < 4; col++) {
            struct span in = from_customer(gre, version, (uint8_t)(dscp << 2 | figure4[row].inner));
            uint8_t out = figure4[row].out[col];
            struct pkt *p = arrive(w, gre, in, (uint8_t)(46 << 2 | column[col]));
            if (out == DROPPED) {
                assert_dropped(w, EDGE, p, DP_REASON_ECN);
                continue;
            }
            assert_int_equal(p->verdict, PKT_TO_TUN);
            assert_int_equal(tos_of(p->data),
                             dscp << 2 | out); /* the DSCP inside stays: RFC 2983 2, uniform only going in */
            if (version == 4)
                assert_true(ip4_header_ok(span_of(p->data, p->len)));
            else
                assert_int_equal(be32(p->data) & 0xfffff, 0x5abab);
            size_t from = version == 4 ? 12 : 4;
            assert_memory_equal(p->data + from, in.p + from, in.n - from);
            assert_int_equal(p->data[version == 4 ? 8 : 7], 64);
        }
}

static void decapsulation_by_the_table(void **state)
{
    struct world *w = *state;
    static const uint8_t dscp[] = {0, 10, 46, 63};
    for (size_t i = 0; i < ARRAY_LEN(dscp); i++) {
        check_decapsulation(w, true, 4, dscp[i]);
        check_decapsulation(w, true, 6, dscp[i]);
    }
    for (int version = 4; version <= 6; version += 2) {
        world_up(w, GCM256, 4, false, (uint8_t)version);
        for (size_t i = 0; i < ARRAY_LEN(dscp); i++)
            check_decapsulation(w, false, version, dscp[i]);
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
    assert_int_equal(world_drops(w, EDGE, DP_REASON_ECN), 4 * ARRAY_LEN(dscp));
}

/* The mode of the tunnel is one of encapsulation: RFC 6040 4.2 knows no other way out. */
static void decapsulation_in_either_mode(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.ecn = ECN_COMPAT;
    world_set(w, EDGE, &t);
    check_decapsulation(w, true, 4, 0);
    t.ecn = ECN_NORMAL;
    world_set(w, EDGE, &t);
    check_decapsulation(w, true, 4, 0);
}

/* ---- going in ------------------------------------------------------------------------------------------------- */

static void set_outer(struct world *w, enum df_mode df, uint8_t dscp, enum ecn_mode ecn)
{
    struct tunnel_policy g = world_gre(EDGE), e = world_ipsec(EDGE);
    g.df = e.df = df;
    g.dscp = e.dscp = dscp;
    g.ecn = e.ecn = ecn;
    OK(dp_tunnel_set(w->dp[EDGE], &g));
    world_set(w, EDGE, &e);
}

static void encapsulation_of_every_tos(void **state)
{
    struct world *w = *state;
    static const uint8_t policy[] = {DSCP_COPY, 0, 46, 63};
    for (int version = 4; version <= 6; version += 2) {
        world_up(w, GCM256, 4, false, (uint8_t)version);
        for (size_t d = 0; d < ARRAY_LEN(policy); d++)
            for (int compat = 0; compat < 2; compat++) {
                set_outer(w, DF_COPY, policy[d], compat ? ECN_COMPAT : ECN_NORMAL);
                for (unsigned tos = 0; tos < 256; tos++)
                    for (int gre = 0; gre < 2; gre++) {
                        struct span in = to_customer(gre, version, (uint8_t)tos);
                        struct pkt *p = world_tun(w, EDGE, in);
                        assert_int_equal(p->verdict, gre ? PKT_TO_GRE : PKT_TO_ESP);
                        unsigned dscp = policy[d] == DSCP_COPY ? tos >> 2 : policy[d];
                        /* RFC 6040 4.1 figure 3: normal mode copies, compatibility mode clears */
                        assert_int_equal(p->outer.tos, dscp << 2 | (compat ? NOT_ECT : tos & 3));
                        if (gre) /* and inside all stays */
                            assert_span_equal(span_of(p->data + 4, p->len - 4), in);
                    }
            }
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

static void do_not_fragment(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    for (int df = 0; df < 2; df++)
        for (int gre = 0; gre < 2; gre++) {
            struct span in = to_customer(gre, 4, 0);
            edit(in)[6] = df ? 0x40 : 0;
            ip_mend(in);
            set_outer(w, DF_COPY, DSCP_COPY, ECN_NORMAL);
            assert_int_equal(world_tun(w, EDGE, in)->outer.df, df); /* RFC 2003 3.1: set inside, then set outside */
            set_outer(w, DF_SET, DSCP_COPY, ECN_NORMAL);
            assert_true(world_tun(w, EDGE, in)->outer.df);
            set_outer(w, DF_CLEAR, DSCP_COPY, ECN_NORMAL);
            assert_false(world_tun(w, EDGE, in)->outer.df);
        }
    set_outer(w, DF_COPY, DSCP_COPY, ECN_NORMAL); /* IPv6 is never fragmented on its way: as if DF were set */
    assert_true(world_tun(w, EDGE, to_customer(true, 6, 0))->outer.df);
    set_outer(w, DF_CLEAR, DSCP_COPY, ECN_NORMAL);
    assert_false(world_tun(w, EDGE, to_customer(true, 6, 0))->outer.df);
}

static void fragments_carry_the_same_marks(void **state)
{
    struct world *w = *state;
    set_outer(w, DF_COPY, DSCP_COPY, ECN_NORMAL);
    struct span in = ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 1480);
    edit(in)[1] = 10 << 2 | CE;
    ip_mend(in);
    world_tun(w, EDGE, in);
    assert_int_equal(w->n_out, 2);
    for (size_t i = 0; i < 2; i++) { /* RFC 3168 5.3 */
        assert_int_equal(w->out[i]->outer.tos, 10 << 2 | CE);
        assert_int_equal(w->out[i]->data[4 + 1], 10 << 2 | CE);
        assert_false(w->out[i]->outer.df);
    }
}

static void time_to_live_of_esp(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    struct tunnel_policy t = world_ipsec(EDGE);
    for (unsigned ttl = 1; ttl < 256; ttl += 127) {
        t.ttl = (uint8_t)ttl;
        world_set(w, EDGE, &t);
        struct span in = to_customer(false, 4, 0);
        assert_int_equal(world_tun(w, EDGE, in)->outer.ttl, ttl); /* RFC 4301 5.1.2.1: constructed */
        struct pkt *p = world_carry(w, PEER);
        assert_int_equal(p->data[8], 64); /* forwarding is the namespace's; it alone counts down */
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(decapsulation_by_the_table),     T(decapsulation_in_either_mode),
        T(encapsulation_of_every_tos),     T(do_not_fragment),
        T(fragments_carry_the_same_marks), T(time_to_live_of_esp),
    };
    return cmocka_run_group_tests_name("dp_ecn", tests, NULL, NULL);
}
