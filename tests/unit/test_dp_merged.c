/* GRE that the kernel's GRO has put together before the socket gets it, and packets whose checksum was left to somebody else: the
 * field holds the pseudo-header's sum. What goes into the TUN must be what its sender would have stood for. */
#include "lib/super.h"

enum { MTU = 1476, FULL = MTU - 40, TCP_FIELD = 36, UDP_FIELD = 26, GRE_C = 0x8000 };

static struct super_spec tcp(uint8_t version, uint32_t payload)
{
    return (struct super_spec){version, IP_PROTO_TCP, ACK, 0, 0, 64, true, 7, 0, 1, payload, 5};
}

/* Into GRE as a socket gets it: no word about offloads. With GRE_C, a checksum that is some other packet's. */
static struct pkt *arrive(struct world *w, const struct super_spec *s, bool whole, uint16_t flags)
{
    struct pkt *p = super_make(w, s, whole);
    uint32_t header = flags & GRE_C ? 8 : 4;
    world_done(w);
    p->offload = (struct pkt_offload){0};
    p->account = ACCOUNT_NONE;
    p->from = PKT_FROM_GRE;
    p->outer = world_outer(PEER, 4);
    p->data -= header;
    p->len += header;
    if (flags & GRE_C)
        store_be32(p->data + 4, 0xbeef0000);
    store_be16(p->data, flags);
    store_be16(p->data + 2, s->version == 4 ? 0x0800 : 0x86dd);
    p = world_run_net(w, PEER, &p, 1);
    assert_int_equal(w->n_out, 1);
    return p;
}

/* One ordinary packet, right in every octet. */
static void assert_finished(struct world *w, struct super_spec s, const struct pkt *p)
{
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->offload.gso, PKT_GSO_NONE);
    assert_false(p->offload.needs_csum);
    s.size = (uint16_t)s.payload;
    super_check_segment(&s, 0, span_of(p->data, p->len));
    assert_int_equal(world_drops(w, PEER, DP_REASON_OFFLOAD), 0);
}

/* A super-packet that, cut at the size it names, gives segments of that size with all their checksums right. */
static void assert_cut(struct world *w, struct super_spec s, struct pkt *p, uint16_t size)
{
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->offload.gso, s.version == 4 ? PKT_GSO_TCP4 : PKT_GSO_TCP6);
    assert_int_equal(p->offload.gso_size, size);
    struct pkt *again = world_packet(w, span_of(p->data, p->len), PKT_FROM_TUN);
    again->offload = p->offload;
    world_done(w);
    world_run_tun(w, EDGE, &again, 1);
    s.size = size;
    assert_int_equal(w->n_out, (s.payload + size - 1) / size);
    for (size_t k = 0; k < w->n_out; k++)
        super_check_segment(&s, k, span_of(w->out[k]->data + 4, w->out[k]->len - 4));
}

static void small_ones_are_finished(void **state)
{
    struct world *w = *state;
    static const uint16_t flags[] = {0, GRE_C};
    for (size_t f = 0; f < ARRAY_LEN(flags); f++)
        for (uint8_t version = 4; version <= 6; version += 2) {
            struct super_spec s = tcp(version, 1000);
            assert_finished(w, s, arrive(w, &s, false, flags[f]));
            s.payload = 0;
            assert_finished(w, s, arrive(w, &s, false, flags[f]));
            s.proto = IP_PROTO_UDP;
            s.payload = 1401; /* one datagram, longer than what is cut */
            assert_finished(w, s, arrive(w, &s, false, flags[f]));
        }
}

static void large_ones_become_super_packets(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP);
    for (uint8_t version = 4; version <= 6; version += 2) {
        uint16_t header = version == 4 ? 40 : 60, full = MTU - header, any = 1280 - header;
        for (uint32_t n = 1; n <= 44; n++) {
            struct super_spec s = tcp(version, n * full);
            struct pkt *p = arrive(w, &s, false, n % 2 ? GRE_C : 0);
            if (n == 1)
                assert_finished(w, s, p);
            else
                assert_cut(w, s, p, full);
            s.payload -= n; /* a last one that is shorter, or none that was full */
            assert_cut(w, s, arrive(w, &s, false, n % 2 ? GRE_C : 0), any);
        }
        struct super_spec s = tcp(version, 20000);
        s.options = 12;
        assert_cut(w, s, arrive(w, &s, false, 0), any - 12);
    }
}

static void what_cannot_be_cut_is_dropped(void **state)
{
    struct world *w = *state;
    struct super_spec s = tcp(4, 2 * FULL);
    struct pkt *p = arrive(w, &s, false, 0); /* for a TUN without super-packets */
    assert_dropped(w, PEER, p, DP_REASON_OFFLOAD);
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP | DP_COALESCE_UDP);
    s.flags = SYN;
    p = arrive(w, &s, false, 0);
    assert_dropped(w, PEER, p, DP_REASON_OFFLOAD);
    s.flags = ACK;
    s.proto = IP_PROTO_UDP;
    p = arrive(w, &s, false, 0);
    assert_dropped(w, PEER, p, DP_REASON_OFFLOAD);
    assert_int_equal(world_drops(w, PEER, DP_REASON_OFFLOAD), 3);
}

/* A header length that lies, in a packet of every length around what is cut. */
static void lies_in_the_header(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP);
    for (uint8_t version = 4; version <= 6; version += 2)
        for (uint32_t payload = 1200; payload < 1300; payload++)
            for (unsigned offset = 0; offset < 16; offset++) {
                struct super_spec s = tcp(version, payload);
                struct pkt *p = super_make(w, &s, false);
                p->data[(version == 4 ? 20 : 40) + 12] = (uint8_t)(offset << 4);
                struct span packet = super_flat(p);
                pkt_put(w->pool, p);
                uint8_t gre[1500] = {0, 0, version == 4 ? 0x08 : 0x86, version == 4 ? 0x00 : 0xdd};
                memcpy(gre + 4, packet.p, packet.n);
                struct pkt_outer o = world_outer(PEER, 4);
                p = world_net(w, PEER, &o, PKT_FROM_GRE, span_of(gre, 4 + packet.n));
                bool long_one = packet.n > 1280;
                assert_int_equal(p->verdict, long_one && offset < 5 ? PKT_DROP : PKT_TO_TUN);
                assert_true(!p->offload.gso || p->offload.gso_size + p->offload.hdr_len <= 1280);
                free((void *)packet.p);
            }
}

/* Damage is not mended: any other wrong checksum is the account's to see. */
static void wrong_checksums_stay(void **state)
{
    struct world *w = *state;
    struct super_spec s = tcp(4, 700);
    struct pkt *p = super_make(w, &s, true);
    p->data[100] ^= 1;
    uint16_t field = be16(p->data + TCP_FIELD);
    struct span packet = super_flat(p);
    pkt_put(w->pool, p);
    struct pkt_outer o = world_outer(PEER, 4);
    p = world_net(w, PEER, &o, PKT_FROM_GRE, gre_packet(0, 0x0800, 0, 0, packet));
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_span_equal(span_of(p->data, p->len), packet);
    assert_int_equal(be16(p->data + TCP_FIELD), field);
    free((void *)packet.p);
    s.proto = IP_PROTO_UDP; /* no checksum is no open one */
    p = super_make(w, &s, true);
    store_be16(p->data + UDP_FIELD, 0);
    packet = super_flat(p);
    pkt_put(w->pool, p);
    p = world_net(w, PEER, &o, PKT_FROM_GRE, gre_packet(0, 0x0800, 0, 0, packet));
    assert_span_equal(span_of(p->data, p->len), packet);
    free((void *)packet.p);
}

/* Nor is it where the pseudo-header's sum is 0xffff, of which 0 is another name. */
static void no_checksum_beside_a_sum_of_nothing(void **state)
{
    struct world *w = *state;
    struct super_spec s = tcp(4, 700);
    s.proto = IP_PROTO_UDP;
    struct pkt *p = super_make(w, &s, true);
    store_be16(p->data + IP4_SRC + 2, 0);
    struct addr src = wire_ip_src(p->data), dst = wire_ip_dst(p->data);
    store_be16(p->data + IP4_SRC + 2, (uint16_t)~wire_sum_pseudo(&src, &dst, IP_PROTO_UDP, 708));
    src = wire_ip_src(p->data);
    assert_int_equal(wire_sum_pseudo(&src, &dst, IP_PROTO_UDP, 708), 0xffff);
    struct span packet = super_flat(p);
    pkt_put(w->pool, p);
    struct pkt_outer o = world_outer(PEER, 4);
    static const uint16_t fields[] = {0, 0xffff}; /* none, and an open one */
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        store_be16((uint8_t *)packet.p + UDP_FIELD, fields[i]);
        p = world_net(w, PEER, &o, PKT_FROM_GRE, gre_packet(0, 0x0800, 0, 0, packet));
        assert_int_equal(p->verdict, PKT_TO_TUN);
        if (fields[i] == 0)
            assert_span_equal(span_of(p->data, p->len), packet);
        else
            assert_int_equal(wire_sum(p->data + IP4_HEADER, p->len - IP4_HEADER, 0xffff), 0xffff);
    }
    free((void *)packet.p);
}

/* A word of the payload that makes the octets behind the IP header sum up to `sum`. */
static void settle_sum(uint8_t *p, size_t n, uint16_t sum)
{
    store_be16(p + IP4_HEADER + 40, 0);
    uint16_t rest = wire_sum(p + IP4_HEADER, n - IP4_HEADER, (uint16_t)~sum);
    store_be16(p + IP4_HEADER + 40, (uint16_t)~rest);
}

/* One right checksum of 65536 is the pseudo-header's sum; this packet is too large for an open one to pass. */
static void right_by_chance(void **state)
{
    struct world *w = *state;
    struct super_spec s = tcp(4, 1300);
    struct pkt *p = super_make(w, &s, true);
    struct addr src = wire_ip_src(p->data), dst = wire_ip_dst(p->data);
    uint16_t pseudo = wire_sum_pseudo(&src, &dst, IP_PROTO_TCP, p->len - IP4_HEADER);
    store_be16(p->data + TCP_FIELD, pseudo);
    settle_sum(p->data, p->len, (uint16_t)~pseudo);
    struct span packet = super_flat(p);
    pkt_put(w->pool, p);
    assert_int_equal(inet_checksum_pseudo(packet, IP4_HEADER, IP_PROTO_TCP), 0);
    struct pkt_outer o = world_outer(PEER, 4);
    p = world_net(w, PEER, &o, PKT_FROM_GRE, gre_packet(0, 0x0800, 0, 0, packet));
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->offload.gso, PKT_GSO_NONE);
    assert_span_equal(span_of(p->data, p->len), packet);
    free((void *)packet.p);
}

/* RFC 768: a sum of zero is sent as ffff. */
static void finished_udp_is_never_zero(void **state)
{
    struct world *w = *state;
    struct super_spec s = tcp(4, 700);
    s.proto = IP_PROTO_UDP;
    struct pkt *p = super_make(w, &s, false);
    settle_sum(p->data, p->len, 0xffff);
    struct span packet = super_flat(p);
    pkt_put(w->pool, p);
    struct pkt_outer o = world_outer(PEER, 4);
    p = world_net(w, PEER, &o, PKT_FROM_GRE, gre_packet(0, 0x0800, 0, 0, packet));
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(be16(p->data + UDP_FIELD), 0xffff);
    free((void *)packet.p);
}

/* A datagram is one if it fits the tunnel, or is no longer than any path takes; one octet more, and it may be several. */
static void datagrams_at_the_limit(void **state)
{
    struct world *w = *state;
    static const struct {
        uint16_t mtu, longest;
    } row[] = {{1476, 1476}, {28 + 626, 1280}}; /* 1280 would be two full ones */
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct tunnel_policy t = world_gre(PEER);
        t.mtu = row[i].mtu;
        world_set(w, PEER, &t);
        struct super_spec s = tcp(4, row[i].longest - 28u);
        s.proto = IP_PROTO_UDP;
        struct pkt *p = arrive(w, &s, false, 0);
        assert_int_equal(p->verdict, PKT_TO_TUN);
        assert_int_equal(inet_checksum_pseudo(span_of(p->data, p->len), IP4_HEADER, IP_PROTO_UDP), 0);
        s.payload++;
        p = arrive(w, &s, false, 0);
        assert_dropped(w, PEER, p, DP_REASON_OFFLOAD);
    }
}

/* What follows in another account may have the same addresses, ports and numbers: nothing of it joins. */
static void accounts_stay_apart(void **state)
{
    struct world *w = *state;
    enum { KEYED = 0x2000, OTHER = 9 };
    for (uint32_t i = 0; i < 2; i++) {
        struct tunnel_policy t = world_gre(PEER);
        t.tunnel = i ? OTHER : GRE_TUNNEL;
        t.account = ACCOUNT + i;
        t.has_key = true;
        t.key = 1 + i;
        OK(dp_tunnel_set(w->dp[PEER], &t));
    }
    OK(dp_publish(w->dp[PEER]));
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP);
    struct super_spec s = tcp(4, 1000);
    s.size = 500;
    for (uint32_t other = 0; other < 2; other++) {
        struct pkt *v[2], *p = super_make(w, &s, false);
        world_done(w);
        world_run_tun(w, EDGE, &p, 1);
        assert_int_equal(w->n_out, 2);
        for (uint32_t i = 0; i < 2; i++) {
            struct span segment = span_of(w->out[i]->data + 4, w->out[i]->len - 4);
            v[i] = world_packet(w, gre_packet(KEYED, 0x0800, 1 + i * other, 0, segment), PKT_FROM_GRE);
            v[i]->outer = world_outer(PEER, 4);
        }
        world_done(w);
        world_run_net(w, PEER, v, 2);
        assert_int_equal(w->n_out, 1 + other);
        for (uint32_t i = 0; i < w->n_out; i++)
            assert_int_equal(w->out[i]->account, ACCOUNT + i);
    }
}

/* Headers longer than any segment may be leave no room to cut. */
static void headers_without_end(void **state)
{
    struct world *w = *state;
    enum { OPTIONS = 1272, L4 = IP6_HEADER + OPTIONS, PAYLOAD = 400 };
    uint8_t p[L4 + TCP_HEADER + PAYLOAD] = {0x60, 0, 0, 0, 0, 0, 60, 64};
    struct addr src = ip("2001:db8:77::1"), dst = ip("2001:db8:2::1");
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP);
    store_be16(p + 4, sizeof p - IP6_HEADER);
    memcpy(p + IP6_SRC, src.b, 16);
    memcpy(p + IP6_DST, dst.b, 16);
    p[IP6_HEADER] = IP_PROTO_TCP;
    p[IP6_HEADER + 1] = OPTIONS / 8 - 1;
    p[L4 + 12] = 5 << 4;
    p[L4 + 13] = ACK;
    store_be16(p + L4 + 16, wire_sum_pseudo(&src, &dst, IP_PROTO_TCP, TCP_HEADER + PAYLOAD));
    struct pkt_outer o = world_outer(PEER, 4);
    struct pkt *got = world_net(w, PEER, &o, PKT_FROM_GRE, gre_packet(0, 0x86dd, 0, 0, span_of(p, sizeof p)));
    assert_dropped(w, PEER, got, DP_REASON_OFFLOAD);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(small_ones_are_finished),
        T(large_ones_become_super_packets),
        T(what_cannot_be_cut_is_dropped),
        T(lies_in_the_header),
        T(wrong_checksums_stay),
        T(no_checksum_beside_a_sum_of_nothing),
        T(right_by_chance),
        T(finished_udp_is_never_zero),
        T(datagrams_at_the_limit),
        T(headers_without_end),
        T(accounts_stay_apart),
    };
    return cmocka_run_group_tests_name("dp_merged", tests, NULL, NULL);
}
