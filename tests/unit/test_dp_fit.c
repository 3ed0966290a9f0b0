/* What becomes of an inner packet that is too big: fragments (RFC 791 3.2, RFC 7588), ICMP "fragmentation needed" and "packet too big"
 * (RFC 1191 4, RFC 1812 4.3, RFC 4443 3.2, RFC 4301 8.2.1), or one piece for outer fragmentation (RFC 2473 7.1). */
#include "lib/super.h"

/* A packet of `len` octets in all for the customer; df: IPv4's bit. */
static struct span to_customer(bool gre, int version, size_t len, bool df)
{
    if (version == 6)
        return ip_packet("2001:db8:77::1", gre ? "2001:db8:2::1" : "2001:db8:1::1", IP_PROTO_UDP, len - 40);
    struct span p = ip_packet("10.9.0.1", gre ? "10.2.0.1" : "10.1.0.1", IP_PROTO_UDP, len - 20);
    edit(p)[6] = df ? 0x40 : 0;
    ip_mend(p);
    return p;
}

static uint16_t mtu_of(struct world *w, uint32_t tunnel)
{
    struct dp_tunnel_info info;
    assert_true(dp_tunnel_info(w->dp[EDGE], tunnel, &info));
    return info.mtu;
}

/* ---- answers ---------------------------------------------------------------------------------------------- */

/* The edge refused `in` with one ICMP message of this content. */
static void assert_answered(struct world *w, struct span in, const char *from, uint32_t mtu)
{
    assert_int_equal(w->n_out, 2);
    struct pkt *icmp = w->out[0], *dropped = w->out[1];
    if (icmp->verdict == PKT_DROP) {
        icmp = w->out[1];
        dropped = w->out[0];
    }
    assert_dropped(w, EDGE, dropped, DP_REASON_TOO_BIG);
    assert_int_equal(icmp->verdict, PKT_TO_TUN);
    assert_int_equal(icmp->account, ACCOUNT);
    struct span p = span_of(icmp->data, icmp->len);
    struct addr src = ip(from), was = wire_ip_src(in.p), s = wire_ip_src(p.p), d = wire_ip_dst(p.p);
    bool v6 = in.p[0] >> 4 == 6;
    assert_int_equal(p.p[0] >> 4, v6 ? 6 : 4);
    assert_true(addr_equal(&s, &src) && addr_equal(&d, &was));
    size_t head = v6 ? 40 : 20, quote = (v6 ? 1280 : 576) - head - 8;
    if (in.n < quote)
        quote = in.n;
    assert_int_equal(p.n, head + 8 + quote);
    if (v6)
        assert_int_equal(inet_checksum_pseudo(p, 40, IP_PROTO_ICMP6), 0);
    else {
        assert_true(ip4_header_ok(p));
        assert_int_equal(inet_checksum(p.p + 20, p.n - 20), 0);
    }
    assert_int_equal(be16(p.p + head), v6 ? 0x0200 : 0x0304);
    assert_int_equal(be32(p.p + head + 4), mtu);
    assert_memory_equal(p.p + head + 8, in.p, quote);
}

static void too_big_is_answered(void **state)
{
    struct world *w = *state;
    uint16_t mtu = mtu_of(w, GRE_TUNNEL);
    for (size_t len = mtu; len < 2000; len += 97) {
        struct span in = exact_copy(to_customer(true, 4, len, true));
        struct pkt *p = world_tun(w, EDGE, in);
        if (len == mtu) { /* what fits exactly, goes */
            assert_int_equal(w->n_out, 1);
            assert_int_equal(p->verdict, PKT_TO_GRE);
            assert_int_equal(p->len + 20, 1500);
            exact_free(in);
            in = exact_copy(to_customer(true, 4, mtu + 1u, true));
            world_tun(w, EDGE, in);
        }
        assert_answered(w, in, "169.254.1.0", mtu); /* from the tunnel's interface address */
        exact_free(in);
    }
    struct span in = exact_copy(to_customer(true, 6, mtu, true));
    assert_int_equal(world_tun(w, EDGE, in)->verdict, PKT_TO_GRE);
    exact_free(in);
    in = exact_copy(to_customer(true, 6, mtu + 1u, true));
    world_tun(w, EDGE, in);
    assert_answered(w, in, "2001:db8:5::2", mtu); /* no IPv6 inside the tunnel: from an endpoint of ours */
    exact_free(in);
}

static void too_big_for_esp(void **state)
{
    struct world *w = *state;
    for (int version = 4; version <= 6; version += 2)
        for (size_t a = 0; a < world_n_algs; a++)
            for (int udp = 0; udp < 2; udp++) {
                world_up(w, world_algs[a], 4, udp, (uint8_t)version);
                uint16_t mtu = mtu_of(w, IPSEC_TUNNEL);
                struct pkt *p = world_tun(w, EDGE, to_customer(false, version, mtu, true));
                assert_int_equal(p->verdict, udp ? PKT_TO_NATT : PKT_TO_ESP);
                assert_true(p->len + 20 + (udp ? 8 : 0) <= 1500);
                struct span in = exact_copy(to_customer(false, version, mtu + 1u, true));
                world_tun(w, EDGE, in);
                assert_answered(w, in, version == 4 ? "10.255.0.0" : "2001:db8:ff::", mtu);
                exact_free(in);
                dp_child_down(w->dp[EDGE], SPI_EDGE);
                dp_child_down(w->dp[PEER], SPI_PEER);
            }
}

static void answers_without_interface_address(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.interface4 = (struct prefix){0};
    world_set(w, EDGE, &t);
    struct span in = exact_copy(to_customer(true, 4, 1490, true));
    world_tun(w, EDGE, in);
    assert_answered(w, in, "198.51.100.2", 1476); /* the tunnel's endpoint */
    t.endpoint = ip("2001:db8:5::2");
    t.customer_endpoint = ip("2001:db8:9::2");
    world_set(w, EDGE, &t);
    world_tun(w, EDGE, in);
    assert_answered(w, in, "198.51.100.2", 1456); /* any endpoint of that family */
    OK(dp_endpoints_set(w->dp[EDGE], NULL, 0));
    dp_tunnel_remove(w->dp[EDGE], IPSEC_TUNNEL);
    OK(dp_publish(w->dp[EDGE]));
    world_tun(w, EDGE, in);
    assert_answered(w, in, "192.0.0.8", 1456); /* RFC 7600 4.8: the dummy address */
    exact_free(in);
    t = world_gre(EDGE);
    world_set(w, EDGE, &t);
    in = to_customer(true, 6, 1490, true); /* IPv6 has no such address: dropped in silence */
    struct pkt *p = world_tun(w, EDGE, in);
    assert_int_equal(w->n_out, 1);
    assert_dropped(w, EDGE, p, DP_REASON_TOO_BIG);
}

/* RFC 1122 3.2.2, RFC 4443 2.4 (e) */
static void not_answered(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *src, *dst;
        uint8_t proto, first;
    } row[] = {{"10.9.0.1", "10.2.0.1", IP_PROTO_ICMP, 3},
               {"10.9.0.1", "10.2.0.1", IP_PROTO_ICMP, 11},
               {"224.0.0.9", "10.2.0.1", IP_PROTO_UDP, 0},
               {"127.0.0.1", "10.2.0.1", IP_PROTO_UDP, 0},
               {"0.0.0.0", "10.2.0.1", IP_PROTO_UDP, 0},
               {"2001:db8:77::1", "2001:db8:2::1", IP_PROTO_ICMP6, 1},
               {"2001:db8:77::1", "2001:db8:2::1", IP_PROTO_ICMP6, 137},
               {"::", "2001:db8:2::1", IP_PROTO_UDP, 0},
               {"ff02::1", "2001:db8:2::1", IP_PROTO_UDP, 0}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        bool v6 = strchr(row[i].src, ':');
        struct span in = ip_packet(row[i].src, row[i].dst, row[i].proto, 1460);
        edit(in)[v6 ? 40 : 20] = row[i].first;
        if (!v6)
            edit(in)[6] = 0x40;
        ip_mend(in);
        struct pkt *p = world_tun(w, EDGE, in);
        assert_int_equal(w->n_out, 1);
        assert_dropped(w, EDGE, p, DP_REASON_TOO_BIG);
    }
    struct span in = ip_packet("10.9.0.1", "10.2.0.1", IP_PROTO_ICMP, 1470); /* a ping is answered */
    edit(in)[20] = 8;
    edit(in)[6] = 0x40;
    ip_mend(in);
    world_tun(w, EDGE, in);
    assert_answered(w, in, "169.254.1.0", 1476);
    edit(in)[6] = 0x40; /* with DF a fragment other than the first: strange, dropped, and not answered */
    edit(in)[7] = 100;
    ip_mend(in);
    world_tun(w, EDGE, in);
    assert_int_equal(w->n_out, 1);
}

static unsigned answers(struct world *w, unsigned n, bool gre)
{
    unsigned answered = 0;
    for (unsigned i = 0; i < n; i++) {
        world_tun(w, EDGE, to_customer(gre, 4, 1490, true));
        answered += w->n_out == 2;
    }
    return answered;
}

/* RFC 1812 4.3.2.8, RFC 4443 2.4 (f): the rate MUST or SHOULD be limited; per tunnel, so that one cannot use up another's. */
static void answers_are_limited(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    assert_int_equal(answers(w, 1000, true), 100);
    assert_int_equal(answers(w, 1000, false), 100);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_TOO_BIG), 2000);
    w->now += NS_PER_S / 10;
    assert_in_range(answers(w, 1000, true), 9, 11);
    w->now += 100 * NS_PER_S;
    assert_int_equal(answers(w, 1000, true), 100); /* it does not pile up */
}

/* ---- fragments ---------------------------------------------------------------------------------------------- */

/* Carry all that came out to the peer and put the fragments of `in` together there. */
static void assert_arrives(struct world *w, struct span in)
{
    static uint8_t whole[PKT_LARGE];
    size_t header = (in.p[0] & 15u) * 4, seen = 0, last = 0;
    world_carry(w, PEER);
    for (size_t i = 0; i < w->n_out; i++) {
        struct pkt *p = w->out[i];
        assert_int_equal(p->verdict, PKT_TO_TUN);
        assert_true(ip4_header_ok(span_of(p->data, p->len)));
        assert_memory_equal(p->data + 4, in.p + 4, 2);
        size_t h = (p->data[0] & 15u) * 4, at = (be16(p->data + 6) & 0x1fffu) * 8;
        memcpy(whole + at, p->data + h, p->len - h);
        seen += p->len - h;
        if (!(p->data[6] & 0x20))
            last = at + p->len - h;
    }
    assert_int_equal(seen, in.n - header);
    assert_int_equal(last, in.n - header);
    assert_memory_equal(whole, in.p + header, in.n - header);
}

static void fragments_arrive(void **state)
{
    struct world *w = *state;
    world_up(w, CBC256, 4, true, 4);
    for (int gre = 0; gre < 2; gre++)
        for (size_t len = 1400; len < 3100; len += 61) {
            struct span in = exact_copy(to_customer(gre, 4, len, false));
            uint16_t mtu = mtu_of(w, gre ? GRE_TUNNEL : IPSEC_TUNNEL);
            world_tun(w, EDGE, in);
            size_t room = (mtu - 20u) / 8 * 8, n = len <= mtu ? 1 : (len - 20 + room - 1) / room;
            assert_int_equal(w->n_out, n);
            for (size_t i = 0; i < n; i++) {
                assert_true(w->out[i]->len + 20 + (gre ? 0 : 8) <= 1500);
                assert_false(w->out[i]->outer.df);
            }
            assert_arrives(w, in);
            exact_free(in);
        }
    assert_int_equal(world_drops(w, EDGE, DP_REASON_TOO_BIG), 0);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_FRAGMENT), 0);
}

/* Pieces longer than an ordinary buffer get a large one. */
static void large_fragments_arrive(void **state)
{
    struct world *w = *state;
    for (int side = 0; side < 2; side++) {
        struct tunnel_policy t = world_gre(side);
        t.path_mtu = 5000;
        world_set(w, side, &t);
    }
    struct span in = exact_copy(to_customer(true, 4, 14000, false));
    world_tun(w, EDGE, in);
    assert_int_equal(w->n_out, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(pkt_headroom(w->out[i]) + w->out[i]->len + PKT_TAILROOM <= w->out[i]->cap);
        assert_int_equal(w->out[i]->account, ACCOUNT);
    }
    assert_arrives(w, in);
    exact_free(in);
}

/* Fragments go by the same SA, each under a sequence number of its own. */
static void fragments_have_their_own_numbers(void **state)
{
    struct world *w = *state;
    world_up(w, GCM256, 4, false, 4);
    world_tun(w, EDGE, to_customer(false, 4, 4000, false));
    assert_int_equal(w->n_out, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(be32(w->out[i]->data + 4), i + 1);
    struct tunnel_policy t = world_gre(EDGE);
    t.sequence = true;
    world_set(w, EDGE, &t);
    world_tun(w, EDGE, to_customer(true, 4, 4000, false));
    assert_int_equal(w->n_out, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(be32(w->out[i]->data + 4), i);
}

static void a_batch_of_many_fragments(void **state)
{
    struct world *w = *state;
    struct pkt *v[PKT_BATCH];
    for (size_t i = 0; i < PKT_BATCH; i++)
        v[i] = world_packet(w, to_customer(true, 4, 1400 + 10 * i, false), PKT_FROM_TUN);
    world_run_tun(w, EDGE, v, PKT_BATCH);
    size_t next = 1400, seen = 20; /* in order: each packet's parts one after another */
    for (size_t i = 0; i < w->n_out; i++) {
        assert_int_equal(w->out[i]->verdict, PKT_TO_GRE);
        const uint8_t *p = w->out[i]->data + 4;
        assert_int_equal((be16(p + 6) & 0x1fff) * 8, seen - 20);
        seen += be16(p + 2) - 20u;
        if (!(p[6] & 0x20)) {
            assert_int_equal(seen, next);
            next += 10;
            seen = 20;
        }
    }
    assert_int_equal(next, 1400 + 10 * PKT_BATCH);
}

static void too_many_fragments(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.mtu = 576;
    world_set(w, EDGE, &t);
    world_tun(w, EDGE, to_customer(true, 4, 20 + 64 * 552, false));
    assert_int_equal(w->n_out, 64);
    struct pkt *p = world_tun(w, EDGE, to_customer(true, 4, 20 + 64 * 552 + 1, false));
    assert_int_equal(w->n_out, 1);
    assert_dropped(w, EDGE, p, DP_REASON_FRAGMENT);
    p = world_tun(w, EDGE, to_customer(true, 4, 65535, false));
    assert_dropped(w, EDGE, p, DP_REASON_FRAGMENT);
    struct span in = to_customer(true, 4, 1490, false); /* RFC 791: it reaches beyond 65535 */
    edit(in)[6] = 0x1f;
    edit(in)[7] = 0xff;
    ip_mend(in);
    p = world_tun(w, EDGE, in);
    assert_dropped(w, EDGE, p, DP_REASON_FRAGMENT);
}

static void no_buffers_left(void **state)
{
    struct world *w = *state;
    static struct pkt *taken[5000];
    size_t n = 0;
    while (pkt_pool_available(w->pool, false) > 2)
        taken[n++] = pkt_get(w->pool, false);
    struct pkt *p = world_tun(w, EDGE, to_customer(true, 4, 6000, false)); /* needs four more */
    assert_int_equal(w->n_out, 1);
    assert_dropped(w, EDGE, p, DP_REASON_POOL);
    assert_int_equal(pkt_pool_available(w->pool, false), 2); /* all given back */
    world_done(w);
    while (pkt_pool_available(w->pool, false) > 1)
        taken[n++] = pkt_get(w->pool, false);
    p = world_tun(w, EDGE, to_customer(true, 4, 1490, true)); /* the answer finds no buffer: dropped all the same */
    assert_int_equal(w->n_out, 1);
    assert_dropped(w, EDGE, p, DP_REASON_TOO_BIG);
    world_done(w);
    while (n > 0)
        pkt_put(w->pool, taken[--n]);
}

static void results_are_full(void **state)
{
    struct world *w = *state;
    struct pkt *v = world_packet(w, to_customer(true, 4, 6000, false), PKT_FROM_TUN), *out[2];
    struct pkt_list ret = {.v = out, .cap = 2};
    size_t before = pkt_pool_available(w->pool, false);
    dp_from_tun(w->w[EDGE], w->now, &v, 1, w->pool, &ret);
    assert_int_equal(ret.n, 2);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_POOL), 3);
    pkt_put(w->pool, out[0]);
    pkt_put(w->pool, out[1]);
    assert_int_equal(pkt_pool_available(w->pool, false), before);
}

/* ---- IPv6 of up to 1280 octets (RFC 2473 7.1 b) ------------------------------------------------------------------ */

static void ipv6_of_1280_always_passes(void **state)
{
    struct world *w = *state;
    world_up(w, CBC256, 4, true, 6);
    for (int gre = 0; gre < 2; gre++) {
        struct tunnel_policy t = gre ? world_gre(EDGE) : world_ipsec(EDGE);
        t.path_mtu = 1280;
        t.df = DF_SET;
        world_set(w, EDGE, &t);
        uint16_t mtu = mtu_of(w, gre ? GRE_TUNNEL : IPSEC_TUNNEL);
        assert_true(mtu < 1280);
        for (size_t len = mtu - 3u; len <= 1280; len++) {
            struct pkt *p = world_tun(w, EDGE, to_customer(gre, 6, len, true));
            assert_int_equal(w->n_out, 1);
            assert_int_equal(p->verdict, gre ? PKT_TO_GRE : PKT_TO_NATT);
            assert_int_equal(p->outer.df, len <= mtu); /* too big: the outer packet may be cut */
            if (gre)
                assert_int_equal(p->len, len + 4);
        }
        struct span in = exact_copy(to_customer(gre, 6, 1281, true));
        world_tun(w, EDGE, in);
        assert_answered(w, in, gre ? "2001:db8:5::2" : "2001:db8:ff::", 1280); /* max(tunnel MTU, 1280) */
        exact_free(in);
        in = exact_copy(to_customer(true, 4, 1281, true)); /* IPv4 gets the true number */
        if (gre) {
            world_tun(w, EDGE, in);
            assert_answered(w, in, "169.254.1.0", mtu);
        }
        exact_free(in);
    }
}

/* IPv6 of up to 1280 octets must pass, cut from a super-packet or not; longer than the tunnel takes, it is left to outer fragmentation. */
static void segments_of_1280_always_pass(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.mtu = 1000;
    t.df = DF_SET;
    world_set(w, EDGE, &t);
    struct super_spec s = {6, IP_PROTO_TCP, ACK, 0, 0, 64, true, 0, 1280 - 60, 1, 3 * (1280 - 60), 5};
    struct pkt *p = super_make(w, &s, false);
    world_done(w);
    world_run_tun(w, EDGE, &p, 1);
    assert_int_equal(w->n_out, 3);
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(w->out[k]->verdict, PKT_TO_GRE);
        assert_int_equal(w->out[k]->len, 4 + 1280);
        assert_false(w->out[k]->outer.df);
    }
    s.size++;
    p = super_make(w, &s, false);
    world_done(w);
    world_run_tun(w, EDGE, &p, 1);
    assert_int_equal(w->n_out, 2);
    assert_dropped(w, EDGE, w->out[1], DP_REASON_TOO_BIG);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(too_big_is_answered),
        T(too_big_for_esp),
        T(answers_without_interface_address),
        T(not_answered),
        T(answers_are_limited),
        T(fragments_arrive),
        T(large_fragments_arrive),
        T(fragments_have_their_own_numbers),
        T(a_batch_of_many_fragments),
        T(too_many_fragments),
        T(no_buffers_left),
        T(results_are_full),
        T(ipv6_of_1280_always_passes),
        T(segments_of_1280_always_pass),
    };
    return cmocka_run_group_tests_name("dp_fit", tests, NULL, NULL);
}
