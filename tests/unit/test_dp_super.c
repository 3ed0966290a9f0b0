/* Super-packets: cut into segments on the way out, put together on the way in, and the one undone by the other. */
#include "lib/super.h"

static const uint8_t versions[] = {4, 6}, protos[] = {IP_PROTO_TCP, IP_PROTO_UDP};

static uint32_t roll(struct world *w, uint32_t from, uint32_t to) /* both included */
{
    return from + (uint32_t)((dice(&w->dice) >> 32) % (to - from + 1));
}

static struct super_spec draw(struct world *w, uint8_t version, uint8_t proto)
{
    struct super_spec s = {.version = version,
                           .proto = proto,
                           .flags = proto == IP_PROTO_TCP ? (uint8_t)(ACK | (roll(w, 0, 1) ? PSH : 0)) : 0,
                           .options = proto == IP_PROTO_TCP ? (uint8_t)(roll(w, 0, 10) * 4) : 0,
                           .tos = (uint8_t)roll(w, 0, 255),
                           .ttl = (uint8_t)roll(w, 1, 255),
                           .df = roll(w, 0, 1),
                           .id = (uint16_t)roll(w, 0, 65535),
                           .sport = (uint16_t)roll(w, 1, 65535),
                           .size = (uint16_t)roll(w, 1, 1350),
                           .seq = roll(w, 0, UINT32_MAX - 1)};
    s.payload = roll(w, 1, 64u * s.size);
    if (s.payload > 65535 - super_headers(&s))
        s.payload = 65535 - (uint32_t)super_headers(&s);
    return s;
}

/* Out by GRE, whose four octets are all that stands in front. */
static size_t cut(struct world *w, const struct super_spec *s)
{
    struct pkt *p = super_make(w, s, false);
    world_done(w);
    world_run_tun(w, EDGE, &p, 1);
    for (size_t k = 0; k < w->n_out; k++) {
        assert_int_equal(w->out[k]->verdict, PKT_TO_GRE);
        assert_int_equal(w->out[k]->account, ACCOUNT);
    }
    return w->n_out;
}

static void segments_as_a_sender_makes_them(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 400; i++) {
        struct super_spec s = draw(w, versions[i % 2], protos[i / 2 % 2]);
        if (s.proto == IP_PROTO_TCP)
            s.flags = (uint8_t)(ACK | (roll(w, 0, 255) & (FIN | PSH | ECE | CWR | URG)));
        size_t n = cut(w, &s);
        assert_int_equal(n, (s.payload + s.size - 1) / s.size);
        for (size_t k = 0; k < n; k++)
            super_check_segment(&s, k, span_of(w->out[k]->data + 4, w->out[k]->len - 4));
    }
}

static void flags_of_first_and_last(void **state)
{
    struct world *w = *state;
    struct super_spec s = {4,    IP_PROTO_TCP, FIN | PSH | ACK | CWR | ECE, 12, 0, 64, true, 0xfffe, 1000, 1,
                           2500, 0xfffffff0};
    assert_int_equal(cut(w, &s), 3);
    static const uint8_t flags[] = {ACK | CWR | ECE, ACK | ECE, ACK | ECE | FIN | PSH};
    static const uint16_t id[] = {0xfffe, 0xffff, 0};
    static const uint32_t seq[] = {0xfffffff0, 0x3d8, 0x7c0};
    for (size_t k = 0; k < 3; k++) {
        const uint8_t *p = w->out[k]->data + 4;
        assert_int_equal(p[33], flags[k]);
        assert_int_equal(be16(p + 4), id[k]);
        assert_int_equal(be32(p + 24), seq[k]);
    }
    s.payload = 1000; /* just one */
    assert_int_equal(cut(w, &s), 1);
    assert_int_equal(w->out[0]->data[4 + 33], s.flags);
}

/* The same through ESP, to the end: each segment arrives as it was cut. */
static void segments_through_esp(void **state)
{
    struct world *w = *state;
    for (size_t a = 0; a < world_n_algs; a++) {
        world_up(w, world_algs[a], 4, false, 4);
        struct super_spec s = {4, IP_PROTO_TCP, ACK | PSH, 12, 2, 64, true, 7, 1200, 1, 40 * 1200 + 1, 5};
        struct pkt *p = super_make(w, &s, false);
        store_be32(p->data + 16, 0x0a010005); /* 10.1.0.0/16 goes by IPsec */
        ip4_finish(p->data);
        world_done(w);
        world_run_tun(w, EDGE, &p, 1);
        assert_int_equal(w->n_out, 41);
        world_carry(w, PEER);
        for (size_t k = 0; k < 41; k++) {
            assert_int_equal(w->out[k]->verdict, PKT_TO_TUN);
            store_be32(w->out[k]->data + 16, 0x0a020005);
            ip4_finish(w->out[k]->data);
            uint8_t *tcp = w->out[k]->data + 20; /* the checksum covers the destination: 0x0a01 became 0x0a02 */
            store_be16(tcp + 16, wire_checksum_change(be16(tcp + 16), 0x0a01, 0x0a02));
            super_check_segment(&s, k, span_of(w->out[k]->data, w->out[k]->len));
        }
        dp_child_down(w->dp[EDGE], SPI_EDGE);
        dp_child_down(w->dp[PEER], SPI_PEER);
    }
}

static void what_is_no_super_packet(void **state)
{
    struct world *w = *state;
    enum field { GSO, CSUM, SIZE, HDR, START, OFFSET, PROTO, FRAGMENT, DOFF, FLAGS, SHORT, EMPTY };
    static const struct {
        uint8_t version, proto;
        enum field field;
        uint32_t value;
    } row[] = {
        {4, IP_PROTO_TCP, GSO, PKT_GSO_TCP6}, {6, IP_PROTO_TCP, GSO, PKT_GSO_TCP4}, {4, IP_PROTO_TCP, GSO, PKT_GSO_UDP},
        {4, IP_PROTO_UDP, GSO, PKT_GSO_TCP4}, {6, IP_PROTO_UDP, GSO, PKT_GSO_TCP6}, {4, IP_PROTO_TCP, GSO, 4},
        {4, IP_PROTO_TCP, GSO, 255},          {4, IP_PROTO_TCP, GSO, PKT_GSO_NONE}, {4, IP_PROTO_TCP, CSUM, 0},
        {6, IP_PROTO_UDP, CSUM, 0},           {4, IP_PROTO_TCP, SIZE, 0},           {4, IP_PROTO_TCP, HDR, 65535},
        {4, IP_PROTO_TCP, START, 0},          {4, IP_PROTO_TCP, START, 19},         {6, IP_PROTO_TCP, START, 20},
        {4, IP_PROTO_TCP, START, 65535},      {4, IP_PROTO_TCP, OFFSET, 6},         {4, IP_PROTO_UDP, OFFSET, 16},
        {4, IP_PROTO_TCP, OFFSET, 65535},     {4, IP_PROTO_TCP, PROTO, 17},         {6, IP_PROTO_TCP, PROTO, 58},
        {4, IP_PROTO_TCP, FRAGMENT, 0x2000},  {4, IP_PROTO_TCP, FRAGMENT, 0x0001},  {4, IP_PROTO_TCP, DOFF, 4},
        {4, IP_PROTO_TCP, DOFF, 0},           {4, IP_PROTO_TCP, DOFF, 15},          {4, IP_PROTO_TCP, FLAGS, SYN | ACK},
        {4, IP_PROTO_TCP, FLAGS, RST | ACK},  {4, IP_PROTO_TCP, SHORT, 39},         {6, IP_PROTO_TCP, SHORT, 59},
        {4, IP_PROTO_UDP, SHORT, 27},         {4, IP_PROTO_TCP, EMPTY, 40},         {6, IP_PROTO_UDP, EMPTY, 48},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct super_spec s = {row[i].version, row[i].proto, ACK, 0, 0, 64, true, 7, 20, 1, 31, 5};
        struct pkt *p = super_make(w, &s, false);
        struct pkt_offload *o = &p->offload;
        uint8_t *l4 = p->data + (s.version == 4 ? 20 : 40);
        uint16_t v = (uint16_t)row[i].value;
        switch (row[i].field) {
        case GSO: o->gso = (uint8_t)v; break;
        case CSUM: o->needs_csum = false; break;
        case SIZE: o->gso_size = v; break;
        case HDR: o->hdr_len = v; break;
        case START: o->csum_start = v; break;
        case OFFSET: o->csum_offset = v; break;
        case PROTO: p->data[s.version == 4 ? 9 : 6] = (uint8_t)v; break;
        case FRAGMENT: store_be16(p->data + 6, v); break;
        case DOFF: l4[12] = (uint8_t)(v << 4); break;
        case FLAGS: l4[13] = (uint8_t)v; break;
        case SHORT:
        case EMPTY:
            p->len = v;
            store_be16(p->data + (s.version == 4 ? 2 : 4), (uint16_t)(s.version == 4 ? v : v - 40));
            break;
        }
        if (s.version == 4)
            ip4_finish(p->data);
        world_done(w);
        p = world_run_tun(w, EDGE, &p, 1);
        assert_int_equal(w->n_out, 1);
        assert_dropped(w, EDGE, p, DP_REASON_OFFLOAD);
    }
}

static void too_big_is_said_once(void **state)
{
    struct world *w = *state;
    struct super_spec s = {4, IP_PROTO_TCP, ACK, 0, 0, 64, true, 7, 1460, 1, 20000, 5}; /* 1500 > 1476 */
    struct pkt *p = super_make(w, &s, false);
    world_done(w);
    world_run_tun(w, EDGE, &p, 1);
    assert_int_equal(w->n_out, 2);
    assert_int_equal(w->out[0]->verdict, PKT_TO_TUN); /* ICMP 3/4 */
    assert_int_equal(w->out[0]->data[20], 3);
    assert_int_equal(be16(w->out[0]->data + 26), 1476);
    assert_dropped(w, EDGE, w->out[1], DP_REASON_TOO_BIG);
    s.df = false; /* may be cut smaller: each segment in two fragments */
    p = super_make(w, &s, false);
    world_done(w);
    world_run_tun(w, EDGE, &p, 1);
    assert_int_equal(w->n_out, 2 * (20000 / 1460) + 1);
    s = (struct super_spec){6, IP_PROTO_UDP, 0, 0, 0, 64, true, 7, 1460, 1, 20000, 5};
    p = super_make(w, &s, false);
    world_done(w);
    world_run_tun(w, EDGE, &p, 1);
    assert_int_equal(w->n_out, 2);
    assert_int_equal(w->out[0]->data[40], 2); /* packet too big */
    assert_dropped(w, EDGE, w->out[1], DP_REASON_TOO_BIG);
}

/* Segments longer than an ordinary buffer get a large one. */
static void large_segments(void **state)
{
    struct world *w = *state;
    struct tunnel_policy t = world_gre(EDGE);
    t.path_mtu = 9000;
    world_set(w, EDGE, &t);
    struct super_spec s = {4, IP_PROTO_TCP, ACK, 0, 0, 64, true, 0, 8000, 1, 3 * 8000, 5};
    assert_int_equal(cut(w, &s), 3);
    for (size_t k = 0; k < 3; k++) {
        assert_true(pkt_headroom(w->out[k]) + w->out[k]->len + PKT_TAILROOM <= w->out[k]->cap);
        super_check_segment(&s, k, span_of(w->out[k]->data + 4, w->out[k]->len - 4));
    }
}

/* RFC 768: a datagram whose sum comes out as zero says ffff. */
static void udp_checksum_is_never_zero(void **state)
{
    struct world *w = *state;
    struct super_spec s = {4, IP_PROTO_UDP, 0, 0, 0, 64, true, 0, 700, 1, 1400, 5};
    enum { FIELD = IP4_HEADER + 6, DATA = IP4_HEADER + 8 };
    assert_int_equal(cut(w, &s), 2);
    uint32_t sum = (uint32_t)be16(w->out[0]->data + 4 + FIELD) + be16(w->out[0]->data + 4 + DATA);
    struct pkt *p = super_make(w, &s, false);
    world_done(w);
    store_be16(p->data + DATA, (uint16_t)((sum & 0xffff) + (sum >> 16))); /* what the sum lacks */
    world_run_tun(w, EDGE, &p, 1);
    assert_int_equal(be16(w->out[0]->data + 4 + FIELD), 0xffff);
    assert_int_equal(inet_checksum_pseudo(span_of(w->out[0]->data + 4, w->out[0]->len - 4), IP4_HEADER, IP_PROTO_UDP),
                     0);
}

static void without_buffers(void **state)
{
    struct world *w = *state;
    struct super_spec s = {4, IP_PROTO_TCP, ACK, 0, 0, 64, true, 7, 1000, 1, 40000, 5};
    struct pkt *p = super_make(w, &s, false), *held[4096];
    size_t n = 0;
    world_done(w);
    while (pkt_pool_available(w->pool, false) > 10)
        held[n++] = pkt_get(w->pool, false);
    world_run_tun(w, EDGE, &p, 1);
    assert_int_equal(w->n_out, 11); /* what there was room for, and the rest */
    size_t dropped = 0;
    for (size_t i = 0; i < w->n_out; i++)
        dropped += w->out[i]->verdict == PKT_DROP;
    assert_int_equal(dropped, 1);
    assert_int_equal(world_drops(w, EDGE, DP_REASON_POOL), 1);
    while (n > 0)
        pkt_put(w->pool, held[--n]);
}

/* ---- both ways ---------------------------------------------------------------------------------- */

static void cut_and_put_together(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP | DP_COALESCE_UDP);
    size_t supers = 0;
    for (int i = 0; i < 600; i++) {
        struct super_spec s = draw(w, versions[i % 2], protos[i / 2 % 2]);
        if (s.proto == IP_PROTO_TCP && roll(w, 0, 3) == 0)
            s.flags |= FIN;
        s.tos &= 0xfc; /* compat ECN would clear it */
        struct pkt *p = super_make(w, &s, false);
        struct pkt_offload offload = p->offload;
        struct span before = super_flat(p);
        world_done(w);
        world_run_tun(w, EDGE, &p, 1);
        bool one = w->n_out == 1;
        p = world_carry(w, PEER);
        assert_int_equal(w->n_out, 1);
        struct span after = super_flat(p);
        if (one)
            assert_int_equal(p->offload.gso, PKT_GSO_NONE);
        else {
            assert_span_equal(after, before);
            assert_memory_equal(&p->offload, &offload, sizeof offload);
            supers++;
        }
        exact_free(before);
        exact_free(after);
    }
    assert_true(supers > 500);
}

/* ---- what may not join --------------------------------------------------------------------------- */

/* Give packets to the peer as they come out of GRE; all of them must leave as they came, in order. */
static void arrive(struct world *w, struct pkt **v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i]->data -= 4;
        v[i]->len += 4;
        store_be16(v[i]->data, 0);
        store_be16(v[i]->data + 2, v[i]->data[4] >> 4 == 4 ? 0x0800 : 0x86dd);
        v[i]->from = PKT_FROM_GRE;
        v[i]->outer = world_outer(PEER, 4);
    }
    world_done(w);
    world_run_net(w, PEER, v, n);
}

static void spoil(struct pkt *p, const struct super_spec *s, int how)
{
    uint8_t *ip = p->data, *l4 = ip + (s->version == 4 ? 20 : 40);
    bool tcp = s->proto == IP_PROTO_TCP, v4 = s->version == 4;
    switch (how) {
    case 0: ip[1] ^= v4 ? 0x08 : 0x10; break;                     /* DSCP, traffic class */
    case 1: ip[1] = (uint8_t)(ip[1] ^ (v4 ? 0x02 : 0x20)); break; /* ECN */
    case 2: ip[v4 ? 8 : 7]--; break;                              /* TTL */
    case 3: ip[v4 ? 6 : 3] ^= v4 ? 0x40 : 0x01; break;            /* DF, flow label */
    case 4: ip[v4 ? 4 : 2] ^= 0x01; break;                        /* ID, flow label */
    case 5: ip[v4 ? 15 : 23] ^= 0x01; break;                      /* source */
    case 6: l4[1] ^= 1; break;                                    /* source port */
    case 7: l4[3] ^= 1; break;
    case 8: l4[tcp ? 7 : 5] ^= 1; break;   /* sequence, UDP length */
    case 9: l4[tcp ? 11 : 8] ^= 1; break;  /* acknowledgement */
    case 10: l4[tcp ? 15 : 9] ^= 1; break; /* window */
    case 11: l4[tcp ? 13 : 10] ^= SYN; break;
    case 12: l4[tcp ? 13 : 11] ^= RST; break;
    case 13: l4[tcp ? 13 : 12] ^= URG; break;
    case 14: l4[13] ^= ECE; break;
    case 15: l4[tcp ? 13 : 14] ^= CWR; break;
    case 16: l4[tcp ? 13 : 15] ^= ACK; break;
    case 17: l4[tcp ? 12 : 16] ^= 1; break; /* reserved bits */
    case 18: l4[tcp ? 20 : 17] ^= 1; break; /* an option */
    case 19: l4[tcp ? 19 : 18] ^= 1; break; /* urgent pointer */
    }
}
enum { SPOILS = 20, MENDED = SPOILS, BAD_L4, BAD_IP, LONGER, NO_DATA, NO_CHECKSUM, CASES };

static bool changes_udp(int how)
{
    return how <= 8;
}

static void strangers(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP | DP_COALESCE_UDP);
    for (int c = 0; c < 4 * CASES; c++) {
        int how = c / 4;
        struct super_spec s = {versions[c % 2], protos[c / 2 % 2], ACK, 0, 0, 64, true, 7, 500, 1, 500, 5};
        bool tcp = s.proto == IP_PROTO_TCP;
        if (tcp)
            s.options = 12;
        if ((how < SPOILS && !tcp && !changes_udp(how)) || (how == BAD_IP && s.version == 6) ||
            (how == NO_CHECKSUM && (tcp || s.version == 6)) || (how == NO_DATA && !tcp))
            continue;
        struct pkt *v[2] = {super_make(w, &s, true), NULL};
        s.id++;
        s.seq += s.payload;
        if (how == LONGER)
            s.payload++;
        if (how == NO_DATA)
            s.payload = 0;
        v[1] = super_make(w, &s, true);
        uint8_t *l4 = v[1]->data + (s.version == 4 ? 20 : 40);
        if (how < SPOILS) {
            spoil(v[1], &s, how);
            store_be16(l4 + (tcp ? 16 : 6), 0);
            store_be16(l4 + (tcp ? 16 : 6),
                       inet_checksum_pseudo(span_of(v[1]->data, v[1]->len), s.version == 4 ? 20 : 40, s.proto));
        }
        if (s.version == 4)
            ip4_finish(v[1]->data);
        if (how == BAD_L4)
            l4[tcp ? 17 : 7] ^= 1;
        if (how == BAD_IP)
            v[1]->data[11] ^= 1;
        if (how == NO_CHECKSUM)
            store_be16(l4 + 6, 0);
        struct span before[2] = {super_flat(v[0]), super_flat(v[1])};
        arrive(w, v, 2);
        if (how == MENDED) { /* nothing is wrong with it */
            assert_int_equal(w->n_out, 1);
            assert_int_equal(w->out[0]->offload.gso_size, 500);
        } else {
            assert_int_equal(w->n_out, 2);
            for (size_t i = 0; i < 2; i++) {
                assert_int_equal(w->out[i]->verdict, PKT_TO_TUN);
                assert_int_equal(w->out[i]->offload.gso, PKT_GSO_NONE);
                assert_null(w->out[i]->more);
                assert_span_equal(span_of(w->out[i]->data, w->out[i]->len), before[i]);
            }
        }
        exact_free(before[0]);
        exact_free(before[1]);
    }
}

static void off_unless_asked_for(void **state)
{
    struct world *w = *state;
    for (uint8_t what = 0; what < 4; what++) {
        dp_coalesce(w->dp[PEER], what);
        for (int i = 0; i < 2; i++) {
            struct super_spec s = {4, protos[i], ACK, 0, 0, 64, true, 7, 500, 1, 500, 5};
            struct pkt *v[2] = {super_make(w, &s, true), NULL};
            s.id++;
            s.seq += 500;
            v[1] = super_make(w, &s, true);
            arrive(w, v, 2);
            assert_int_equal(w->n_out, what >> i & 1 ? 1 : 2);
        }
    }
}

/* An atomic datagram need not be numbered (RFC 6864 4.1): all with one ID join, or all with rising ones, never a mixture. */
static void numbers_of_datagrams(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP);
    static const struct {
        uint16_t id[3];
        bool df;
        size_t n_out;
    } row[] = {{{7, 8, 9}, true, 1},  {{7, 8, 9}, false, 1},    {{0, 0, 0}, true, 1},  {{0, 0, 0}, false, 3},
               {{7, 8, 8}, true, 2},  {{7, 7, 8}, true, 2},     {{7, 9, 10}, true, 2}, {{7, 6, 5}, true, 3},
               {{7, 8, 10}, true, 2}, {{65535, 0, 1}, false, 1}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct super_spec s = {4, IP_PROTO_TCP, ACK, 0, 0, 64, row[i].df, 0, 500, 1, 500, 5};
        struct pkt *v[3];
        for (size_t k = 0; k < 3; k++, s.seq += 500) {
            s.id = row[i].id[k];
            v[k] = super_make(w, &s, true);
        }
        arrive(w, v, 3);
        assert_int_equal(w->n_out, row[i].n_out);
    }
}

/* PSH, FIN and a shorter one end it, whatever follows. */
static void what_ends_it(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP);
    static const struct {
        uint8_t flags[4];
        uint16_t size[4];
        size_t n_out;
    } row[] = {{{ACK, ACK, ACK, ACK}, {500, 500, 500, 500}, 1},
               {{ACK, ACK | PSH, ACK, ACK}, {500, 500, 500, 500}, 2},
               {{ACK, ACK, ACK | FIN, ACK}, {500, 500, 500, 500}, 2},
               {{ACK | PSH, ACK, ACK, ACK}, {500, 500, 500, 500}, 2},
               {{ACK, ACK, ACK, ACK}, {500, 499, 500, 500}, 2},
               {{ACK, ACK, ACK, ACK}, {500, 500, 501, 500}, 2},
               {{ACK, ACK, ACK, ACK}, {500, 500, 0, 500}, 3},
               {{ACK, ACK, ACK | ECE, ACK | ECE}, {500, 500, 500, 500}, 3}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct super_spec s = {4, IP_PROTO_TCP, ACK, 0, 0, 64, true, 0, 500, 1, 500, 5};
        struct pkt *v[4];
        for (size_t k = 0; k < 4; k++, s.seq += s.payload, s.id++) {
            s.payload = row[i].size[k];
            s.flags = row[i].flags[k];
            v[k] = super_make(w, &s, true);
        }
        arrive(w, v, 4);
        assert_int_equal(w->n_out, row[i].n_out);
    }
}

static void many_flows_at_once(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP | DP_COALESCE_UDP);
    struct pkt *v[64];
    for (uint32_t i = 0; i < 64; i++) { /* eight flows in turn, eight packets each */
        struct super_spec s = {versions[i % 2],
                               protos[i / 2 % 2],
                               ACK,
                               0,
                               0,
                               64,
                               true,
                               (uint16_t)(i / 8),
                               700,
                               (uint16_t)(1000 + i % 8),
                               700,
                               i / 8 * 700};
        v[i] = super_make(w, &s, true);
    }
    arrive(w, v, 64);
    assert_int_equal(w->n_out, 8);
    for (size_t i = 0; i < 8; i++) {
        size_t n = 0;
        for (const struct pkt *p = w->out[i]; p; p = p->more)
            n++;
        assert_int_equal(n, 8);
    }
    for (uint32_t i = 0; i < 64; i++) { /* more flows than are kept: nothing is lost, nothing is out of order */
        struct super_spec s = {
            4,   IP_PROTO_TCP, ACK, 0, 0, 64, true, (uint16_t)(i / 16), 700, (uint16_t)(1000 + i % 16),
            700, i / 16 * 700};
        v[i] = super_make(w, &s, true);
    }
    arrive(w, v, 64);
    uint32_t next[16] = {0}, seen = 0;
    for (size_t i = 0; i < w->n_out; i++) {
        const uint8_t *tcp = w->out[i]->data + 20;
        uint16_t flow = (uint16_t)(be16(tcp) - 1000);
        assert_in_range(flow, 0, 15);
        assert_int_equal(be32(tcp + 4), next[flow]);
        for (const struct pkt *p = w->out[i]; p; p = p->more, seen++)
            next[flow] += 700;
    }
    assert_int_equal(seen, 64);
}

/* ---- the property -------------------------------------------------------------------------------- */

/* Random streams of three flows with gaps, repeats and damage. Whatever comes out, cut by the other half, is what went in, flow by flow
 * and in order. */
static void nobody_can_tell(void **state)
{
    struct world *w = *state;
    dp_coalesce(w->dp[PEER], DP_COALESCE_TCP | DP_COALESCE_UDP);
    size_t supers = 0;
    for (int round = 0; round < 300; round++) {
        struct super_spec s[3];
        struct span sent[3][64] = {{{0}}};
        size_t n_sent[3] = {0}, n_got[3] = {0}, n = roll(w, 2, 64);
        struct pkt *v[64];
        for (int f = 0; f < 3; f++) {
            s[f] = draw(w, versions[roll(w, 0, 1)], protos[roll(w, 0, 1)]);
            s[f].df = true;
            s[f].tos = 0;
            s[f].sport = (uint16_t)(100 + f);
            s[f].size = (uint16_t)roll(w, 1, 1300);
        }
        for (size_t i = 0; i < n; i++) {
            uint32_t f = roll(w, 0, 2);
            s[f].payload = roll(w, 0, 9) ? s[f].size : roll(w, 0, 1300);
            s[f].flags = s[f].proto == IP_PROTO_TCP ? (uint8_t)(roll(w, 0, 19) ? ACK : roll(w, 0, 255)) : 0;
            v[i] = super_make(w, &s[f], true);
            s[f].seq += roll(w, 0, 19) ? s[f].payload : 1;
            s[f].id = (uint16_t)(s[f].id + (roll(w, 0, 19) ? 1 : 2));
            if (roll(w, 0, 19) == 0) { /* anything behind version, length and ports, which tell the flows apart */
                uint32_t at = roll(w, s[f].version == 4 ? 24 : 44, v[i]->len - 1);
                v[i]->data[at] ^= (uint8_t)(1 << roll(w, 0, 7));
            }
            sent[f][n_sent[f]++] = super_flat(v[i]);
        }
        arrive(w, v, n);
        struct pkt *out[64];
        size_t n_out = w->n_out;
        for (size_t i = 0; i < n_out; i++)
            out[i] = w->out[i];
        w->n_out = 0;
        for (size_t i = 0; i < n_out; i++) {
            struct pkt *p = out[i];
            assert_int_equal(p->verdict, PKT_TO_TUN);
            int f = be16(p->data + (p->data[0] >> 4 == 4 ? 20 : 40)) - 100;
            assert_in_range(f, 0, 2);
            if (p->offload.gso == PKT_GSO_NONE) {
                assert_span_equal(span_of(p->data, p->len), sent[f][n_got[f]++]);
                pkt_put(w->pool, p);
                continue;
            }
            supers++;
            struct span flat = super_flat(p);
            struct pkt *whole = world_packet(w, flat, PKT_FROM_TUN);
            uint16_t first_id = be16(whole->data + 4);
            bool constant =
                whole->data[0] >> 4 == 4 && n_got[f] + 1 < n_sent[f] && be16(sent[f][n_got[f] + 1].p + 4) == first_id;
            whole->offload = p->offload;
            pkt_put(w->pool, p);
            exact_free(flat);
            world_run_tun(w, EDGE, &whole, 1);
            for (size_t k = 0; k < w->n_out; k++) {
                uint8_t *got = w->out[k]->data + 4;
                assert_true(n_got[f] < n_sent[f]);
                if (constant) { /* the cutter numbers them; nobody may care */
                    store_be16(got + 4, first_id);
                    ip4_finish(got);
                }
                assert_span_equal(span_of(got, w->out[k]->len - 4), sent[f][n_got[f]++]);
            }
            world_done(w);
        }
        for (int f = 0; f < 3; f++) {
            assert_int_equal(n_got[f], n_sent[f]);
            for (size_t i = 0; i < n_sent[f]; i++)
                exact_free(sent[f][i]);
        }
    }
    assert_true(supers > 500);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(segments_as_a_sender_makes_them),
        T(flags_of_first_and_last),
        T(segments_through_esp),
        T(what_is_no_super_packet),
        T(too_big_is_said_once),
        T(large_segments),
        T(udp_checksum_is_never_zero),
        T(without_buffers),
        T(cut_and_put_together),
        T(strangers),
        T(off_unless_asked_for),
        T(numbers_of_datagrams),
        T(what_ends_it),
        T(many_flows_at_once),
        T(nobody_can_tell),
    };
    return cmocka_run_group_tests_name("dp_super", tests, NULL, NULL);
}
