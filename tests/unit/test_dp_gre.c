/* GRE through the core, from RFC 2784 and RFC 2890: every form of the header both ways, keys, checksums, sequence numbers, and what must
 * not come in (row 41). What may be inside has test_dp_inner.c. */
#include "lib/inet.h"
#include "lib/world.h"

#include <stdio.h>

enum { C = 0x8000, K = 0x2000, S = 0x1000, IPV4 = 0x0800, IPV6 = 0x86dd };

static struct span inbound4(size_t n)
{
    return ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, n);
}

/* The edge's GRE tunnel with these options, the same at the peer. */
static void configure(struct world *w, unsigned flags, uint32_t key)
{
    for (int side = 0; side < 2; side++) {
        struct tunnel_policy t = world_gre(side);
        t.checksum = flags & C;
        t.has_key = flags & K;
        t.sequence = flags & S;
        t.key = key;
        world_set(w, side, &t);
    }
}

static struct pkt *give(struct world *w, struct span gre)
{
    struct pkt_outer o = world_outer(EDGE, 4);
    return world_net(w, EDGE, &o, PKT_FROM_GRE, gre);
}

static void assert_delivered(const struct world *w, const struct pkt *p, struct span inner)
{
    assert_int_equal(w->n_out, 1);
    assert_string_equal(dp_reason_name(p->reason), "none");
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->account, ACCOUNT);
    assert_span_equal(span_of(p->data, p->len), inner);
}

static void set_check(struct world *w, bool key, bool sequence_check)
{
    struct tunnel_policy t = world_gre(EDGE);
    t.has_key = key;
    t.key = 7;
    t.sequence_check = sequence_check;
    world_set(w, EDGE, &t);
}

/* ---- what goes out, and comes in again ------------------------------------------------------------ */

static void every_form_of_the_header(void **state)
{
    struct world *w = *state;
    for (unsigned form = 0; form < 8; form++) {
        uint16_t flags = (uint16_t)((form & 1 ? C : 0) | (form & 2 ? K : 0) | (form & 4 ? S : 0));
        dp_tunnel_remove(w->dp[EDGE], GRE_TUNNEL); /* the sequence starts anew */
        configure(w, flags, 0xdeadbeef);
        world_route(w, EDGE, "10.2.0.0/16", GRE_TUNNEL, 100, 1);
        world_route(w, EDGE, "2001:db8:2::/48", GRE_TUNNEL, 100, 1);
        for (uint32_t n = 0; n < 100; n++) {
            struct span in = n % 2 ? ip_packet("2001:db8:77::1", "2001:db8:2::1", IP_PROTO_UDP, n)
                                   : ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, n);
            struct pkt *p = world_tun(w, EDGE, in);
            assert_int_equal(p->verdict, PKT_TO_GRE);
            assert_span_equal(span_of(p->data, p->len), gre_packet(flags, n % 2 ? IPV6 : IPV4, 0xdeadbeef, n, in));
            struct addr src = ip("198.51.100.2"), dst = ip("192.0.2.2");
            assert_true(addr_equal(&p->outer.src, &src) && addr_equal(&p->outer.dst, &dst));
            assert_delivered(w, world_carry(w, PEER), in);
        }
    }
}

/* What the peer sends need not be what we send; only the key must be. */
static void options_of_the_peer(void **state)
{
    struct world *w = *state;
    struct span in = inbound4(33);
    static const uint16_t flags[] = {0, C, S, C | S};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        assert_delivered(w, give(w, gre_packet(flags[i], IPV4, 0, 0x80000000, in)), in);
        assert_delivered(w, give(w, gre_packet(flags[i], IPV4, 0, 0, in)),
                         in); /* the sequence is not checked by default */
    }
    set_check(w, true, false);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        assert_delivered(w, give(w, gre_packet(flags[i] | K, IPV4, 7, 5, in)), in);
}

static void over_ipv6(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.endpoint = ip("2001:db8:5::2");
    t.customer_endpoint = ip("2001:db8:9::2");
    world_set(w, EDGE, &t);
    struct span in = inbound4(50);
    struct pkt_outer o = world_outer(EDGE, 6);
    assert_delivered(w, world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(C, IPV4, 0, 0, in)), in);
    struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(p->verdict, PKT_TO_GRE);
    assert_true(addr_equal(&p->outer.src, &t.endpoint) && addr_equal(&p->outer.dst, &t.customer_endpoint));
    p = give(w, gre_packet(0, IPV4, 0, 0, in)); /* the IPv4 pair is no tunnel any more */
    assert_dropped(w, EDGE, p, DP_REASON_GRE_SOURCE);
}

static void time_to_live(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    for (unsigned ttl = 0; ttl < 256; ttl += 51) {
        t.ttl = (uint8_t)ttl;
        world_set(w, EDGE, &t);
        struct pkt *p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8));
        assert_int_equal(p->outer.ttl, ttl ? ttl : 64);
        assert_int_equal(p->data[4 + 8], 64); /* RFC 2003 3.1: the kernel forwards, and it alone counts down */
    }
    struct pkt_outer o = world_outer(EDGE, 4);
    o.ttl = 1;
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(0, IPV4, 0, 0, inbound4(8)));
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->data[8], 64);
}

static void counters(void **state)
{
    struct world *w = *state;
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_true(info.sendable);
    assert_true(info.last_in == 0);
    for (int i = 0; i < 3; i++)
        give(w, gre_packet(0, IPV4, 0, 0, inbound4(80)));
    w->now += 5;
    give(w, gre_packet(0, IPV4, 0, 0, inbound4(0)));
    world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 30));
    give(w, gre_packet(0, 0x6558, 0, 0, inbound4(80)));
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_int_equal(info.counters.packets_in, 4);
    assert_int_equal(info.counters.bytes_in, 320);
    assert_int_equal(info.counters.packets_out, 1);
    assert_int_equal(info.counters.bytes_out, 50);
    assert_int_equal(info.counters.drops[DP_REASON_GRE_PROTOCOL], 1);
    assert_true(info.last_in == w->now);
    struct dp_counters total;
    dp_total_info(w->dp[EDGE], &total);
    assert_int_equal(total.packets_in, 4);
    assert_int_equal(total.bytes_out, 50);
    assert_false(dp_tunnel_info(w->dp[EDGE], 63, &info));
    assert_false(dp_tunnel_info(w->dp[EDGE], 64, &info));
    dp_count_drop(w->w[EDGE], DP_REASON_SEND, 3);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_SEND), 3);
    /* the next tunnel with that handle starts from zero; the total only grows */
    dp_tunnel_remove(w->dp[EDGE], GRE_TUNNEL);
    configure(w, 0, 0);
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_int_equal(info.counters.packets_in + info.counters.bytes_out, 0);
    assert_int_equal(info.counters.drops[DP_REASON_GRE_PROTOCOL], 0);
    assert_true(info.last_in == 0);
    dp_total_info(w->dp[EDGE], &total);
    assert_int_equal(total.packets_in, 4);
}

static void without_headroom(void **state)
{
    struct world *w = *state;
    configure(w, C | K | S, 1);
    for (size_t room = 12; room < 20; room++) {
        struct pkt *p = world_packet(w, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8), PKT_FROM_TUN);
        memmove(p->room + room, p->data, p->len);
        p->data = p->room + room;
        world_done(w);
        p = world_run_tun(w, EDGE, &p, 1);
        if (room < 16)
            assert_dropped(w, EDGE, p, DP_REASON_POOL);
        else
            assert_int_equal(p->verdict, PKT_TO_GRE);
    }
}

/* ---- row 41: what must not come in ------------------------------------------------------------------ */

static void adv_41_source_not_in_table(void **state)
{
    struct world *w = *state;
    struct span g = gre_packet(0, IPV4, 0, 0, inbound4(8));
    struct pkt_outer o = world_outer(EDGE, 4);
    o.src = ip("192.0.2.3");
    struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_GRE, g);
    assert_dropped(w, EDGE, p, DP_REASON_GRE_SOURCE);
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], GRE_TUNNEL, &info));
    assert_int_equal(info.counters.drops[DP_REASON_GRE_SOURCE], 0); /* it is no tunnel's */
    o = world_outer(PEER, 4);                                       /* our own packet, come back */
    p = world_net(w, EDGE, &o, PKT_FROM_GRE, g);
    assert_dropped(w, EDGE, p, DP_REASON_OUTER_DESTINATION);
    o = world_outer(EDGE, 4);
    o.dst = ip("198.51.100.3");
    p = world_net(w, EDGE, &o, PKT_FROM_GRE, g);
    assert_dropped(w, EDGE, p, DP_REASON_OUTER_DESTINATION);
    o = world_outer(EDGE, 6);
    p = world_net(w, EDGE, &o, PKT_FROM_GRE, g);
    assert_dropped(w, EDGE, p, DP_REASON_GRE_SOURCE);
    o.dst = ip("198.51.100.2"); /* two families */
    p = world_net(w, EDGE, &o, PKT_FROM_GRE, g);
    assert_dropped(w, EDGE, p, DP_REASON_GRE_SOURCE);
}

static void adv_41_wrong_key(void **state)
{
    struct world *w = *state;
    struct span in = inbound4(8);
    struct pkt *p = give(w, gre_packet(K, IPV4, 0, 0, in)); /* none is expected, not even 0 */
    assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
    configure(w, K, 0xdeadbeef);
    static const uint32_t wrong[] = {0, 1, 0xdeadbeee, 0x5eadbeef, 0xefbeadde, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        p = give(w, gre_packet(K, IPV4, wrong[i], 0, in));
        assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
        p = give(w, gre_packet(S, IPV4, 0, 0xdeadbeef, in)); /* the sequence number is no key */
        assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
    }
    p = give(w, gre_packet(0, IPV4, 0, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
    assert_delivered(w, give(w, gre_packet(K, IPV4, 0xdeadbeef, 0, in)), in);
    configure(w, K, 0); /* 0 is a key like any other */
    assert_delivered(w, give(w, gre_packet(K, IPV4, 0, 0, in)), in);
    p = give(w, gre_packet(0, IPV4, 0, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
}

static void adv_41_bad_checksum(void **state)
{
    struct world *w = *state;
    for (size_t n = 40; n < 43; n++) { /* even and odd */
        struct octets good;
        struct span g = gre_packet(C, IPV4, 0, 0, inbound4(n));
        memcpy(good.b, g.p, g.n);
        for (size_t i = 0; i < g.n; i++)
            for (unsigned bit = 0; bit < 8; bit++) {
                good.b[i] ^= (uint8_t)(1u << bit);
                struct pkt *p = give(w, span_of(good.b, g.n));
                assert_int_equal(p->verdict, PKT_DROP);
                if (i >= 4)
                    assert_int_equal(p->reason, DP_REASON_GRE_CHECKSUM);
                good.b[i] ^= (uint8_t)(1u << bit);
            }
        assert_int_equal(give(w, span_of(good.b, g.n))->verdict, PKT_TO_TUN);
        for (size_t k = 0; k < g.n; k++)
            assert_int_equal(give(w, span_of(good.b, k))->verdict, PKT_DROP);
    }
}

static void adv_41_version_and_flags(void **state)
{
    struct world *w = *state;
    struct span in = inbound4(8);
    struct pkt *p;
    for (uint16_t version = 1; version < 8; version++) { /* 1 is PPTP's */
        p = give(w, gre_packet(version, IPV4, 0, 0, in));
        assert_dropped(w, EDGE, p, DP_REASON_GRE_VERSION);
    }
    p = give(w, gre_packet(0x3001, 0x880b, 7, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_VERSION);
    for (unsigned bit = 1; bit < 13;
         bit++) { /* RFC 2784 2.3: of bits 1 to 5 any, but K and S of RFC 2890; 6 to 12 are ignored */
        uint16_t flag = (uint16_t)(0x8000 >> bit);
        p = give(w, gre_packet(flag, IPV4, 0, 0, in));
        if (bit == 1 || bit == 4 || bit == 5)
            assert_dropped(w, EDGE, p, DP_REASON_GRE_FLAGS);
        else if (bit == 2)
            assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
        else
            assert_delivered(w, p, in);
    }
    /* RFC 1701: routing present, with checksum, offset and an empty source route */
    p = give(w, hex("4000 0800 0000 0000 00000000 45000014 00000000 40110000 0a020001 0a090001"));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_FLAGS);
    p = give(w, gre_packet(C | 0x4000, IPV4, 0, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_FLAGS);
    for (size_t n = 0; n < 4; n++) {
        p = give(w, span_of("\0\0\x08", n));
        assert_dropped(w, EDGE, p, DP_REASON_SHORT);
    }
}

static void adv_41_protocol_types(void **state)
{
    struct world *w = *state;
    struct span in4 = exact_copy(inbound4(8)),
                in6 = exact_copy(ip_packet("2001:db8:2::1", "2001:db8:77::1", IP_PROTO_UDP, 8));
    for (unsigned proto = 0; proto < 0x10000; proto++) { /* WCCP, bridging, ERSPAN, MPLS, PPP, NHRP and the rest */
        struct pkt *p = give(w, gre_packet(0, (uint16_t)proto, 0, 0, in4));
        if (proto == IPV4)
            assert_delivered(w, p, in4);
        else if (proto == IPV6)
            assert_dropped(w, EDGE, p, DP_REASON_INNER_VERSION);
        else
            assert_dropped(w, EDGE, p, DP_REASON_GRE_PROTOCOL);
    }
    assert_delivered(w, give(w, gre_packet(0, IPV6, 0, 0, in6)), in6);
    struct pkt *p = give(w, gre_packet(0, IPV4, 0, 0, in6));
    assert_dropped(w, EDGE, p, DP_REASON_INNER_VERSION);
    exact_free(in4);
    exact_free(in6);
}

/* ---- sequence numbers (RFC 2890 2.2) --------------------------------------------------------------- */

static bool accepted(struct world *w, uint32_t sequence)
{
    struct pkt *p = give(w, gre_packet(S, IPV4, 0, sequence, inbound4(8)));
    if (p->verdict == PKT_TO_TUN)
        return true;
    assert_dropped(w, EDGE, p, DP_REASON_GRE_SEQUENCE);
    return false;
}

static void sequence_in_order_only(void **state)
{
    struct world *w = *state;
    set_check(w, false, true);
    assert_false(accepted(w, UINT32_MAX)); /* the last one before the first is 2^32 - 1 */
    assert_true(accepted(w, 0));
    assert_false(accepted(w, 0));
    assert_true(accepted(w, 1));
    assert_false(accepted(w, 1));
    assert_false(accepted(w, 0));
    assert_true(accepted(w, 10)); /* a gap */
    assert_false(accepted(w, 9));
    for (uint32_t back = 0; back < 5; back++)
        assert_false(accepted(w, 10 - back));
    assert_false(accepted(w, 10 - 0x7fffffffu)); /* the preceding 2^31 - 1, inclusive */
    assert_true(accepted(w, 10 - 0x80000000u));  /* one more is ahead */
    assert_true(accepted(w, 0xfffffffe));
    assert_true(accepted(w, UINT32_MAX));
    assert_true(accepted(w, 0)); /* modulo 2^32 */
    assert_false(accepted(w, UINT32_MAX));
    /* without the field a packet is in sequence, and moves nothing */
    struct span in = inbound4(8);
    assert_delivered(w, give(w, gre_packet(0, IPV4, 0, 0, in)), in);
    assert_true(accepted(w, 1));
    /* nor does one that is not decapsulated */
    struct span bad = gre_packet(C | S, IPV4, 0, 1000, in);
    edit(bad)[20] ^= 1;
    struct pkt *p = give(w, bad);
    assert_dropped(w, EDGE, p, DP_REASON_GRE_CHECKSUM);
    assert_true(accepted(w, 2));
}

static void sequence_per_key(void **state)
{
    struct world *w = *state;
    struct tunnel_policy a = world_gre(EDGE), b = world_gre(EDGE);
    a.has_key = b.has_key = a.sequence_check = b.sequence_check = true;
    a.sequence = b.sequence = true;
    a.key = 1;
    b.key = 2;
    b.tunnel = 5;
    b.interface4 = net("169.254.2.0/31");
    OK(dp_tunnel_set(w->dp[EDGE], &a));
    world_set(w, EDGE, &b);
    world_route(w, EDGE, "10.3.0.0/16", 5, 100, 1);
    struct span in = inbound4(8);
    assert_delivered(w, give(w, gre_packet(K | S, IPV4, 1, 100, in)), in);
    assert_delivered(w, give(w, gre_packet(K | S, IPV4, 2, 0, in)), in); /* RFC 2890 2.2: specific to the key */
    struct pkt *p = give(w, gre_packet(K | S, IPV4, 1, 50, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_SEQUENCE);
    p = give(w, gre_packet(K | S, IPV4, 3, 200, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
    for (uint32_t n = 0; n < 3; n++) {
        p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_UDP, 8));
        assert_int_equal(be32(p->data + 8), n);
        p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.3.0.1", IP_PROTO_UDP, 8));
        assert_int_equal(be32(p->data + 4), 2);
        assert_int_equal(be32(p->data + 8), n);
    }
    world_set(w, EDGE, &b); /* the same configuration again starts nothing anew */
    p = world_tun(w, EDGE, ip_packet("10.9.0.1", "10.3.0.1", IP_PROTO_UDP, 8));
    assert_int_equal(be32(p->data + 8), 3);
}

/* ---- several tunnels on one pair of endpoints -------------------------------------------------------- */

static void key_tells_tunnels_apart(void **state)
{
    struct world *w = *state;
    enum { N = 20 };
    struct tunnel_policy t = world_gre(EDGE);
    t.has_key = true;
    for (uint32_t i = 0; i < N; i++) {
        t.tunnel = i ? 1 + i : GRE_TUNNEL;
        t.key = i;
        t.account = 100 + i;
        OK(dp_tunnel_set(w->dp[EDGE], &t));
    }
    OK(dp_publish(w->dp[EDGE]));
    struct span in = exact_copy(inbound4(8));
    for (uint32_t i = 0; i < N; i++) {
        struct pkt *p = give(w, gre_packet(K, IPV4, i, 0, in));
        assert_int_equal(p->verdict, PKT_TO_TUN);
        assert_int_equal(p->account, 100 + i);
    }
    struct pkt *p = give(w, gre_packet(K, IPV4, N, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
    /* one batch of many: each finds its own */
    struct pkt *v[N];
    world_done(w);
    for (uint32_t i = 0; i < N; i++) {
        v[i] = world_packet(w, gre_packet(K, IPV4, N - 1 - i, 0, in), PKT_FROM_GRE);
        v[i]->outer = world_outer(EDGE, 4);
    }
    world_run_net(w, EDGE, v, N);
    assert_int_equal(w->n_out, N);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(w->out[i]->account, 100 + N - 1 - i);
    /* a second one with a key that is taken, or with none: refused, and what was published stays */
    t.tunnel = 40;
    t.key = 3;
    OK(dp_tunnel_set(w->dp[EDGE], &t));
    assert_int_equal(dp_publish(w->dp[EDGE]), RC_EXISTS);
    assert_int_equal(give(w, gre_packet(K, IPV4, 3, 0, in))->account, 103);
    t.has_key = false;
    OK(dp_tunnel_set(w->dp[EDGE], &t));
    assert_int_equal(dp_publish(w->dp[EDGE]), RC_EXISTS);
    p = give(w, gre_packet(0, IPV4, 0, 0, in));
    assert_dropped(w, EDGE, p, DP_REASON_GRE_KEY);
    t.has_key = true;
    t.key = 77;
    world_set(w, EDGE, &t);
    assert_int_equal(give(w, gre_packet(K, IPV4, 77, 0, in))->account, 100 + N - 1);
    exact_free(in);
}

static void many_pairs(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    char text[32];
    for (uint32_t i = 2; i < 64; i++) { /* far ends 192.0.2.100 and up; nobody shares one */
        snprintf(text, sizeof text, "192.0.2.%u", 100 + i);
        t.tunnel = i;
        t.account = i;
        t.customer_endpoint = ip(text);
        OK(dp_tunnel_set(w->dp[EDGE], &t));
    }
    OK(dp_publish(w->dp[EDGE]));
    struct span in = exact_copy(inbound4(8));
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 2; i < 64; i++) {
            snprintf(text, sizeof text, "192.0.2.%u", 100 + i);
            struct pkt_outer o = world_outer(EDGE, 4);
            o.src = ip(text);
            struct pkt *p = world_net(w, EDGE, &o, PKT_FROM_GRE, gre_packet(0, IPV4, 0, 0, in));
            if (round == 1 && i % 3 == 0) {
                assert_dropped(w, EDGE, p, DP_REASON_GRE_SOURCE);
                continue;
            }
            assert_int_equal(p->verdict, PKT_TO_TUN);
            assert_int_equal(p->account, i);
            if (i == 63) { /* then every third one goes */
                for (uint32_t k = 3; k < 64; k += 3)
                    dp_tunnel_remove(w->dp[EDGE], k);
                OK(dp_publish(w->dp[EDGE]));
            }
        }
    exact_free(in);
}

/* ---- refusals of the control side (row 42 belongs to config; this is the second lock) ------------------ */

static void adv_42_tunnel_to_ourselves(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.customer_endpoint = t.endpoint;
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_RANGE);
    t = world_gre(EDGE);
    t.customer_endpoint = ip("2001:db8:9::2");
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_RANGE);
    t.customer_endpoint = (struct addr){0};
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_RANGE);
    t = world_gre(EDGE);
    t.endpoint = (struct addr){0};
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_RANGE);
    t = world_gre(EDGE);
    t.dscp = DSCP_COPY + 1;
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_RANGE);
    t = world_gre(EDGE);
    t.tunnel = 64;
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_LIMIT);
    t = world_gre(EDGE);
    t.protect = 64;
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_LIMIT);
    t = world_ipsec(EDGE);
    t.tunnel = GRE_TUNNEL; /* one type turns not into the other */
    assert_int_equal(dp_tunnel_set(w->dp[EDGE], &t), RC_RANGE);
    struct span in = inbound4(8); /* none of that changed anything */
    OK(dp_publish(w->dp[EDGE]));
    assert_delivered(w, give(w, gre_packet(0, IPV4, 0, 0, in)), in);
}

/* The pair of the packet before serves only packets of both its ends. */
static void batch_of_strangers(void **state)
{
    struct world *w = *state;
    struct pkt *v[4];
    struct span g = gre_packet(0, GRE_PROTO_IPV4, 0, 0, ip_packet("10.2.0.1", "10.9.0.1", IP_PROTO_UDP, 8));
    for (int i = 0; i < 4; i++) {
        v[i] = world_packet(w, g, PKT_FROM_GRE);
        v[i]->outer = world_outer(EDGE, 4);
    }
    v[1]->outer.src = ip("203.0.113.9");
    v[3]->outer.dst = ip("198.51.100.77");
    world_run_net(w, EDGE, v, 4);
    assert_int_equal(w->out[0]->verdict, PKT_TO_TUN);
    assert_dropped(w, EDGE, w->out[1], DP_REASON_GRE_SOURCE);
    assert_int_equal(w->out[2]->verdict, PKT_TO_TUN);
    assert_dropped(w, EDGE, w->out[3], DP_REASON_OUTER_DESTINATION);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(every_form_of_the_header),
        T(options_of_the_peer),
        T(over_ipv6),
        T(time_to_live),
        T(counters),
        T(without_headroom),
        T(adv_41_source_not_in_table),
        T(adv_41_wrong_key),
        T(adv_41_bad_checksum),
        T(adv_41_version_and_flags),
        T(adv_41_protocol_types),
        T(sequence_in_order_only),
        T(sequence_per_key),
        T(key_tells_tunnels_apart),
        T(many_pairs),
        T(adv_42_tunnel_to_ourselves),
        T(batch_of_strangers),
    };
    return cmocka_run_group_tests_name("dp_gre", tests, NULL, NULL);
}
