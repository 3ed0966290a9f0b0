/* seed: writes the first inputs of every fuzz target, below tests/fuzz/corpus (`make corpus`): messages of captures and of a
 * handshake in memory, packets put together by hand, configurations. What a fuzzer found is added to the same folders.
 */
#include "sim/lib/pair.h"
#include "unit/lib/config_full.h"
#include "unit/lib/pcap.h"
#include "unit/lib/world.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/core.h"

#define CORPUS "tests/fuzz/corpus/"
#define INPUT_MAX 65536

/* ---- an input being put together */

static uint8_t room[INPUT_MAX];

static struct wr begin(void)
{
    return wr_of(room, sizeof room);
}

static void part(struct wr *w, struct span s)
{
    wr_u16(w, (uint16_t)s.n);
    wr_bytes(w, s);
}

static void folder(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        fail_msg("%s: %s", path, strerror(errno));
}

static void put(const char *target, const char *name, const struct wr *w)
{
    char path[256];
    assert_false(w->failed);
    snprintf(path, sizeof path, CORPUS "fuzz_%s", target);
    folder(path);
    snprintf(path, sizeof path, CORPUS "fuzz_%s/%s", target, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(w->start, 1, wr_len(w), f), wr_len(w));
    fclose(f);
}

/* ---- captures: whole datagrams as they were */

static void from_capture(const char *name)
{
    char path[128], file[64];
    struct pcap pcap;
    struct pcap_packet p;
    unsigned n = 0;
    snprintf(path, sizeof path, "tests/vectors/capture/%s.pcap", name);
    assert_true(pcap_open(&pcap, path));
    static uint8_t script[INPUT_MAX];
    struct wr input = wr_of(script, sizeof script);
    wr_u8(&input, 0);
    while (pcap_next(&pcap, &p)) {
        bool natt = p.path.local.port == 4500 || p.path.remote.port == 4500;
        struct rd r = rd_of(p.payload);
        if (p.protocol != 17 || (natt && rd_u32(&r) != 0) || rd_left(&r) < IKE_HEADER_SIZE)
            continue;
        struct span datagram = rd_rest(&r);
        struct ike_header h;
        OK(ike_header_read(datagram, &h));
        if (n++ < 6) {
            struct wr w = begin();
            wr_u8(&w, h.exchange);
            wr_u8(&w, h.flags & IKE_FLAG_RESPONSE ? 1 : 0);
            wr_bytes(&w, datagram);
            snprintf(file, sizeof file, "%s-%u", name, n);
            put("ike_message", file, &w);
        }
        if (!(h.flags & IKE_FLAG_RESPONSE) && wr_len(&input) + datagram.n < 8192) {
            wr_u8(&input, natt);
            part(&input, datagram);
        }
    }
    assert_false(pcap.failed);
    pcap_close(&pcap);
    snprintf(file, sizeof file, "%s", name);
    put("ike_input", file, &input);
}

/* ---- a handshake in memory: the inner payloads of both sides */

struct recorder {
    const char *name;
    unsigned n;
};

static void record_body(struct recorder *x, const struct ike_payload *p)
{
    struct wr w = begin();
    char name[64];
    snprintf(name, sizeof name, "%s-%u-%s", x->name, x->n, ike_payload_name(p->type));
    switch (p->type) {
    case PAYLOAD_SA:
        wr_u8(&w, p->body.n > 5 && p->body.p[5] == PROTO_ESP ? 1 | 4 | 8 : 8);
        wr_bytes(&w, p->body);
        put("ike_sa", name, &w);
        break;
    case PAYLOAD_TSI:
    case PAYLOAD_TSR:
        wr_u8(&w, 0);
        part(&w, p->body);
        wr_bytes(&w, p->body);
        put("ike_ts", name, &w);
        break;
    default:
        wr_u8(&w, p->type == PAYLOAD_IDR ? PAYLOAD_IDI : p->type);
        wr_bytes(&w, p->body);
        put("ike_payload", name, &w);
        break;
    }
}

static void record(struct recorder *x, uint8_t exchange, bool response, uint8_t first, struct span inner)
{
    struct wr w = begin();
    struct ike_chain chain;
    struct ike_error e;
    char name[64];
    x->n++;
    wr_u8(&w, exchange);
    wr_u8(&w, response | 2);
    wr_u8(&w, first);
    wr_bytes(&w, inner);
    snprintf(name, sizeof name, "%s-%u", x->name, x->n);
    put("ike_message", name, &w);
    OK(ike_chain_read(first, inner, &chain, &e));
    for (size_t i = 0; i < chain.n; i++)
        record_body(x, &chain.v[i]);
}

static void bend(void *ctx, struct draft *d)
{
    record(ctx, d->header.exchange, false, d->first, span_of(d->bytes, d->n));
}

static void from_pair(const char *name, bool hybrid)
{
    struct pair *p = pair_new(NULL);
    struct recorder x = {.name = name};
    struct initiator_job jobs[] = {{.type = JOB_CHILD_NEW}, {.type = JOB_IKE_REKEY}, {.type = JOB_IKE_DELETE}};
    p->i->bend = bend;
    p->i->ctx = &x;
    p->i->wish.initial_contact = true;
    if (!hybrid)
        p->i->wish.ike.addke[0] = 0;
    pair_connect(p);
    record(&x, IKE_AUTH, true, p->i->last.first, span_of(p->i->last.text, p->i->last.n));
    for (size_t k = 0; k < ARRAY_LEN(jobs); k++) {
        initiator_want(p->i, p->e->now, jobs[k]);
        pair_carry(p);
        record(&x, p->i->last.header.exchange, true, p->i->last.first, span_of(p->i->last.text, p->i->last.n));
    }
    pair_free(p);
}

/* ---- sessions: see fuzz_ike_session.c */

static void session(const char *name, const char *octets)
{
    struct wr w = begin();
    wr_bytes(&w, hex(octets));
    put("ike_session", name, &w);
}

static void sessions(void)
{
    static const char *const jobs[] = {"new", "rekey", "delete", "ike-rekey", "alive", "ike-delete"};
    char name[64], text[256];
    for (unsigned profile = 0; profile < 16; profile++) { /* how far, hybrid or not, fragments or not */
        snprintf(name, sizeof name, "handshake-%u", profile);
        snprintf(text, sizeof text, "%02x 00 00 00", profile);
        session(name, text);
    }
    for (unsigned classical = 0; classical < 2; classical++)
        for (unsigned job = 0; job < ARRAY_LEN(jobs);
             job++) { /* twice, with all that follows, then the same octets again */
            snprintf(name, sizeof name, "%s-%s", classical ? "classical" : "hybrid", jobs[job]);
            snprintf(text, sizeof text, "%02x 00%02x 00%02x 00%02x 00%02x 00%02x 00%02x 04", classical ? 7 : 3, job,
                     job, job, job, job, job);
            session(name, text);
        }
    /* One patch each: at, cut, what instead. */
    session("bent-init", "10 00 0004 01 0001 ff");
    session("bent-intermediate", "01 01 00 0010 02 0002 ffff 00");
    session("bent-auth", "02 01 00 0030 01 0001 ff 00");
    session("bent-auth-first", "06 01 80 29 0000 00 0000 00");
    session("bent-child", "07 01 00 0008 01 0001 0c 00 00");
    /* Its own words: op, exchange, how, first payload, part. */
    session("own-alive", "07 05 02 00 00 0000 05 02 00 00 0000");
    session("own-delete-ike", "07 05 02 00 2a 0008 00000008 01000000");
    session("own-delete-child", "07 05 02 00 2a 000c 0000000c 03040001 11223344");
    session("own-notify", "07 05 02 00 29 0008 00000008 00004009");
    session("own-fragment", "07 05 02 02 29 0008 00000008 00004009 02 01 05 02 02 00 0004 00000000 02 02");
    session("own-auth-early", "05 05 00 00 23 000c 0000000c 02000000 61626364");
    session("own-create", "07 05 01 00 29 0008 00000008 00004009");
    session("own-followup", "07 05 04 00 22 0008 00000008 00140000");
    session("own-response", "07 03 02 00 05 02 01 00 0000");
    /* Commands: op, which, detail. Then the peer's answers. */
    session("seen-and-reset", "07 03 01 00 03 00 00 00 00 00 00 02 00 02 ff");
    session("edge-rekeys", "03 03 02 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
    session("edge-rekeys-bent", "07 03 02 00 01 00 0008 01 0001 0c 00 00 00 00");
    session("edge-deletes", "07 03 04 00 00 00 00 00 00 00");
    session("lifetime", "07 03 06 00 00 01 02 3c 00 00 02 3c 00 00 02 3c 00 00 00 00");
    session("another-tunnel", "07 03 03 02 00 00 00 00");
    session("psk-ended", "06 03 03 04 02 05 00 00 00 00");
    session("esp-moved", "07 03 05 02 00 00 06 02 00 00 00 00");
    session("moved", "07 06 01 00 04 00 00 06 02 00 04 00 00");
    session("shutdown", "07 03 07 00 00 00 02 ff");
    session("time", "07 02 ff 02 00 02 00 02 00 02 00 02 00 02 00 02 00");
}

/* ---- packets */

static struct span inner4(void)
{
    return ip_packet("10.1.0.1", "10.2.0.9", IP_PROTO_UDP, 64);
}

static struct span inner6(void)
{
    return ip_packet("2001:db8:1::1", "2001:db8:2::9", IP_PROTO_UDP, 64);
}

/* Sealed around an inner packet with its trailer; `next` 4 or 41. */
static void esp(const char *name, bool udp, bool cbc, struct span inner, uint8_t next, uint32_t sequence)
{
    struct wr w = begin();
    uint32_t align = cbc ? 16 : 4, n = wire_esp_text_len((uint32_t)inner.n, align);
    uint8_t text[2048];
    memcpy(text, inner.p, inner.n);
    wire_esp_trailer_write(text, (uint32_t)inner.n, n, next);
    wr_u8(&w, udp);
    for (unsigned twice = 0; twice < 2; twice++) { /* the second one is a replay */
        wr_u8(&w, 1 | cbc << 1);
        wr_u32(&w, sequence);
        part(&w, span_of(text, n));
    }
    put("esp_in", name, &w);
}

static void esp_packets(void)
{
    esp("gcm4", false, false, inner4(), 4, 1);
    esp("gcm6", false, false, inner6(), 41, 1);
    esp("cbc4", false, true, inner4(), 4, 1);
    esp("udp4", true, false, inner4(), 4, 70000);
    esp("dummy", false, false, inner4(), 59, 1);
    esp("lies", false, false, inner4(), 41, 1);
    esp("syn", false, false, tcp_syn("10.1.0.1", "10.2.0.9", hex("020405b4")), 4, 1);
    struct wr w = begin();
    wr_u8(&w, 0);
    wr_u8(&w, 0);
    part(&w,
         hex("0ad17001 00000001 0000000000000000 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"));
    put("esp_in", "forged", &w);
}

static void gre(const char *name, uint8_t how, const char *header, struct span inner)
{
    struct wr w = begin();
    struct span h = hex(header);
    for (unsigned twice = 0; twice < 2; twice++) {
        wr_u8(&w, how);
        wr_u16(&w, (uint16_t)(h.n + inner.n));
        wr_bytes(&w, h);
        wr_bytes(&w, inner);
    }
    put("gre_in", name, &w);
}

static void gre_packets(void)
{
    gre("plain4", 0, "0000 0800", inner4());
    gre("plain6", 0, "0000 86dd", inner6());
    gre("all", 0xf1, "b000 0800 00000000 00000007 00000001", inner4());
    gre("other-key", 0xf1, "b000 0800 00000000 00000008 00000001", inner4());
    gre("routing", 0, "4000 0800 00000000", inner4());
    gre("pptp", 0, "3081 880b 0000 0000", inner4());
    gre("ethernet", 0, "0000 6558", inner4());
    gre("gre-in-gre", 0, "0000 0800", ip_packet("10.1.0.1", "10.2.0.9", IP_PROTO_GRE, 40));
    gre("martian", 0, "0000 0800", ip_packet("127.0.0.1", "10.2.0.9", IP_PROTO_UDP, 40));
    gre("syn", 0, "0000 0800", tcp_syn("10.1.0.1", "10.2.0.9", hex("0101020405b4")));
    /* A Cisco-style keepalive: an empty GRE packet from us to them, inside. */
    gre("keepalive", 0, "0000 0800", ip_packet_of("198.51.100.2", "192.0.2.3", IP_PROTO_GRE, hex("00000000")));
}

static void tun(const char *name, struct span packet)
{
    struct wr w = begin();
    wr_u8(&w, 0);
    wr_u8(&w, 0);
    part(&w, packet);
    put("tun", name, &w);
}

/* TCP that the kernel left whole, with its word on how to cut it. */
static void tun_super(const char *name, const char *offload, const char *dst, uint16_t payload)
{
    struct wr w = begin();
    uint8_t tcp[TCP_HEADER + 8192] = {0x12, 0x34, 0, 80, [12] = 0x50, [13] = 0x18};
    wr_u8(&w, 0);
    wr_u8(&w, 2);
    wr_bytes(&w, hex(offload));
    part(&w, ip_packet_of(strchr(dst, ':') ? "2001:db8:ff::1" : "192.168.0.1", dst, IP_PROTO_TCP,
                          span_of(tcp, TCP_HEADER + payload)));
    put("tun", name, &w);
}

static void tun_packets(void)
{
    tun_super("super4", "81 03e8 28 14 10", "10.2.0.9", 3500);
    tun_super("super4-gre", "81 03e8 28 14 10", "172.16.0.9", 3500);
    tun_super("super6", "82 03e8 3c 28 10", "2001:db8:2::9", 3500);
    tun_super("super-lies", "82 0000 ff 00 ff", "10.2.0.9", 3500);
    tun("secure4", ip_packet("192.168.0.1", "10.2.0.9", IP_PROTO_UDP, 64));
    tun("secure6", ip_packet("2001:db8:ff::1", "2001:db8:2::9", IP_PROTO_UDP, 64));
    tun("plain4", ip_packet("192.168.0.1", "172.16.0.9", IP_PROTO_UDP, 64));
    tun("large4", ip_packet("192.168.0.1", "10.2.0.9", IP_PROTO_UDP, 3000));
    tun("large6", ip_packet("2001:db8:ff::1", "2001:db8:2::9", IP_PROTO_UDP, 3000));
    tun("nowhere", ip_packet("192.168.0.1", "8.8.8.8", IP_PROTO_UDP, 64));
    tun("syn", tcp_syn("192.168.0.1", "10.2.0.9", hex("020405b4")));
    tun("loop", ip_packet("198.51.100.2", "192.0.2.2", IP_PROTO_ESP, 64));
    struct span df = ip_packet("192.168.0.1", "172.16.0.9", IP_PROTO_UDP, 1490);
    edit(df)[6] = 0x40;
    ip_mend(df);
    tun("too-big", df);
}

static struct span tcp_data(uint32_t sequence, size_t n)
{
    static uint8_t tcp[4000];
    memset(tcp, 0x61, sizeof tcp);
    struct wr w = wr_of(tcp, sizeof tcp);
    wr_bytes(&w, hex("c001 01bb"));
    wr_u32(&w, sequence);
    wr_bytes(&w, hex("00000001 5010 1000 0000 0000"));
    struct span p = ip_packet_of("10.0.0.1", "172.16.0.9", IP_PROTO_TCP, span_of(tcp, TCP_HEADER + n));
    edit(p)[6] = 0x40;
    ip_mend(p);
    return p;
}

static void split(const char *name, uint8_t gso, uint16_t size, struct span packet)
{
    struct wr w = begin();
    wr_u8(&w, gso);
    wr_u8(&w, 3);
    wr_u16(&w, size);
    for (int i = 0; i < 3; i++)
        wr_u16(&w, 0);
    wr_bytes(&w, packet);
    put("split", name, &w);
}

static void super_packets(void)
{
    split("tcp4", PKT_GSO_TCP4, 1000, tcp_data(1, 3500));
    split("tcp4-tiny", PKT_GSO_TCP4, 1, tcp_data(1, 300));
    split("tcp4-large", PKT_GSO_TCP4, 2000, tcp_data(1, 3500));
    split("udp4", PKT_GSO_UDP, 500, ip_packet("10.0.0.1", "172.16.0.9", IP_PROTO_UDP, 3000));
    split("udp6", PKT_GSO_UDP, 500, ip_packet("2001:db8:ff::1", "2001:db8:2::9", IP_PROTO_UDP, 3000));
    split("wrong", PKT_GSO_TCP6, 500, tcp_data(1, 3500));
    for (int step = 1; step >= 0; step--) {
        struct wr w = begin();
        for (uint16_t i = 0; i < 5; i++) {
            struct span p = tcp_data(i * 100u, i == 4 ? 50 : 100);
            store_be16(edit(p) + 4, (uint16_t)(i * step));
            wr_u8(&w, 3);
            part(&w, p);
        }
        put("coalesce", step ? "tcp4" : "tcp4-one-id", &w);
    }
    struct wr w = begin();
    for (int i = 0; i < 5; i++) {
        wr_u8(&w, 3);
        part(&w, ip_packet("2001:db8:ff::1", "2001:db8:2::9", IP_PROTO_UDP, 120));
    }
    put("coalesce", "udp6", &w);
}

/* "Too big" with a packet of ours in it. */
static void icmp(const char *name, uint8_t flags, const char *header, struct span original)
{
    struct wr w = begin();
    wr_u8(&w, flags);
    wr_bytes(&w, hex(header));
    wr_bytes(&w, original);
    put("icmp", name, &w);
}

static void icmp_messages(void)
{
    struct span esp_ours =
        ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_ESP, hex("c0570001 00000001 0000000000000000"));
    struct span gre_ours = ip_packet_of("198.51.100.2", "192.0.2.3", IP_PROTO_GRE, hex("00000800 4500"));
    struct span keyed =
        ip_packet_of("198.51.100.2", "192.0.2.4", IP_PROTO_GRE, hex("b0000800 00000000 00000007 00000001"));
    struct span udp =
        ip_packet_of("198.51.100.2", "192.0.2.2", IP_PROTO_UDP, hex("11941194 00400000 c0570001 00000001"));
    icmp("esp", 2, "0304 0000 0000 0514", esp_ours);
    icmp("esp-floor", 2, "0304 0000 0000 0044", esp_ours);
    icmp("esp-old-router", 2, "0304 0000 0000 0000", esp_ours);
    icmp("gre", 2, "0304 0000 0000 0514", gre_ours);
    icmp("gre-key", 2, "0304 0000 0000 0514", keyed);
    icmp("natt", 6, "0304 0000 0000 0514", udp);
    icmp("unreachable", 2, "0301 0000 0000 0000", esp_ours);
    icmp("esp6", 1, "0200 0000 0000 0500",
         ip_packet_of("2001:db8:5::2", "2001:db8:9::2", IP_PROTO_ESP, hex("c0570001 00000001 0000000000000000")));
}

/* A batch: what is put together, then packets; see fuzz_split_coalesce.c. */
static void batch(const char *name, const char *octets)
{
    struct wr w = begin();
    wr_bytes(&w, hex(octets));
    put("split_coalesce", name, &w);
}

static void batches(void)
{
    batch("tcp4", "01 00c8 00c8 00c8 20c7");
    batch("tcp6", "01 01c8 01c8 01c8 21c7");
    batch("udp4", "02 02c8 02c8 02c8 0210");
    batch("udp6", "02 03c8 03c8 03c8 0310");
    batch("both", "03 00c8 02c8 00c8 02c8 04c8 06c8 00c8 02c8");
    batch("off", "00 00c8 00c8 00c8");
    batch("gap", "01 00c8 00c8 10c8 00c8 30c8 00c8");
    batch("shorter-longer", "01 00c8 0010 00c8 00c8 00ff");
    batch("bent-checksum", "01 00c8 c0c80011ff 00c8 00c8");
    batch("bent-header", "01 00c8 40c80001ff 00c8 40c8000820 00c8");
    batch("identical", "01 00c8 10c8 10c8");
    batch("flows", "03 00c8 04c8 08c8 0cc8 01c8 05c8 09c8 0dc8 02c8 06c8 0ac8 0ec8 00c8 04c8 08c8 0cc8 01c8 05c8");
}

static void mss(const char *name, uint16_t value, const char *options)
{
    struct wr w = begin();
    struct span packet = tcp_syn("10.1.0.1", "10.2.0.9", hex(options));
    wr_u16(&w, value);
    wr_bytes(&w, span_of(packet.p + IP4_HEADER, packet.n - IP4_HEADER));
    put("mss", name, &w);
}

static void mss_segments(void)
{
    mss("lower", 1200, "020405b4");
    mss("odd", 1200, "01020405b4");
    mss("keep", 1460, "02040400");
    mss("late", 1200, "0101 0402 0303 07 020405b4");
    mss("none", 1200, "0402");
    mss("length-zero", 1200, "0800 020405b4");
    mss("length-long", 1200, "02ff05b4");
    mss("ends", 1200, "00 020405b4");
}

/* ---- texts */

static void text(const char *name, const char *s)
{
    struct wr w = begin();
    wr_bytes(&w, span_str(s));
    put("config", name, &w);
}

static void file(const char *name, const char *path)
{
    static char s[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(s, 1, sizeof s - 1, f);
    fclose(f);
    s[n] = 0;
    text(name, s);
}

static void configurations(void)
{
    text("full", config_full);
    file("demo", "conf/demo.yaml");
    file("reference", "conf/adit.yaml");
    text("empty", "");
    text("least", "version: 1\n");
    text("json", "{\"version\": 1, \"endpoints\": [\"198.51.100.2\"], \"log\": {\"level\": \"warn\"}}");
    text("gre", HEAD
         "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3, mtu: 1400, key: 7}\n");
    text("ipsec", HEAD "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK "}\n"
                       "    routes: [{prefix: 10.0.0.0/8, tunnel: i}]\n");
    text("psks",
         HEAD "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: [{file: k, not_after: 2027-01-31}]}\n");
    text("alias", "version: &a 1\nworkers: *a\n");
    text("nested", "[[[[[[[[[[[[[[[[");
    text("escapes", "version: 1\nnode: {name: \"\\x41\\u0042\"}\ncontrol: {path: \"/a\\\"b\\\\c\"}\n");
    text("duplicate", "version: 1\nversion: 1\n");
}

/* ---- fragments: see fuzz_ike_fragments.c */

static void fragments(void)
{
    static const char *const scripts[][2] = {
        {"in-order", "01 01 02 0003 616263 01 02 02 0002 6465"},
        {"reversed", "01 02 02 0002 6465 01 01 02 0003 616263"},
        {"twice", "01 01 02 0001 61 01 01 02 0001 62 01 02 02 0000"},
        {"larger-total", "01 01 02 0001 61 01 01 03 0001 61 01 02 02 0001 62 01 02 03 0001 62 01 03 03 0001 63"},
        {"another-message", "01 01 02 0001 61 02 01 01 0001 7a 01 02 02 0001 62"},
        {"impossible", "01 00 02 0001 61 01 03 02 0001 61 01 01 00 0001 61 01 01 ff 0001 61"},
    };
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct wr w = begin();
        wr_bytes(&w, hex(scripts[i][1]));
        put("ike_fragments", scripts[i][0], &w);
    }
}

int main(void)
{
    static const char *const captures[] = {"e1", "e3", "s1", "s3", "s4"};
    folder(CORPUS);
    for (size_t i = 0; i < ARRAY_LEN(captures); i++)
        from_capture(captures[i]);
    from_pair("hybrid", true);
    from_pair("classical", false);
    sessions();
    fragments();
    esp_packets();
    gre_packets();
    tun_packets();
    super_packets();
    icmp_messages();
    mss_segments();
    batches();
    configurations();
    return 0;
}
