/* What fits: overhead of GRE (RFC 2784, 2890) and ESP (RFC 4303), the inner MTU and MSS that follow, and the path MTU learned from
 * ICMP, which may only lower what is configured and is forgotten after ten minutes (RFC 1191 6.3). */
#include "tables.h"

#define TCP4_OVERHEAD (IP4_HEADER + TCP_HEADER)
#define TCP6_OVERHEAD (IP6_HEADER + TCP_HEADER)

uint16_t dp_inner_mtu(const struct dp_overhead *o, uint16_t path_mtu)
{
    int gre = 4 + 4 * o->gre_checksum + 4 * o->gre_key + 4 * o->gre_sequence;
    int room = path_mtu - (o->outer_v6 ? IP6_HEADER : IP4_HEADER);
    if (o->type == TUNNEL_GRE)
        return (uint16_t)(room > gre ? room - gre : 0);

    struct esp_sizes s;
    if (!crypto_esp_sizes(o->alg, &s))
        return 0;
    room -= (o->udp ? UDP_HEADER : 0) + ESP_HEADER + s.iv + s.icv;
    room = room / s.align * s.align - ESP_TRAILER;
    if (o->gre_in_esp != GRE_IN_ESP_NONE)
        room -= gre + (o->gre_in_esp != GRE_IN_ESP_TUNNEL ? 0 : o->outer_v6 ? IP6_HEADER : IP4_HEADER);
    return (uint16_t)(room > 0 ? room : 0);
}

/* A configured MSS lowers what fits; more than fits would be of no use to anyone. */
static uint16_t mss_of(const struct tun *tun, uint16_t mtu, uint16_t overhead)
{
    uint16_t fits = (uint16_t)(mtu > overhead ? mtu - overhead : 1);
    return tun->mss != 0 && tun->mss < fits ? tun->mss : fits;
}

static struct limits limits_of(const struct tun *tun, uint16_t mtu)
{
    if (tun->mtu != 0 && tun->mtu < mtu)
        mtu = tun->mtu;
    return (struct limits){
        .mtu = mtu, .mss4 = mss_of(tun, mtu, TCP4_OVERHEAD), .mss6 = mss_of(tun, mtu, TCP6_OVERHEAD)};
}

static struct dp_overhead overhead_of(const struct tun *tun)
{
    return (struct dp_overhead){
        .type = tun->type,
        .outer_v6 = tun->local.family == 6,
        .gre_key = tun->gre_flags & GRE_KEY,
        .gre_checksum = tun->gre_flags & GRE_CHECKSUM,
        .gre_sequence = tun->gre_flags & GRE_SEQUENCE,
        .alg = {.encr = ENCR_AES_GCM_16, .encr_bits = 256},
    };
}

static void update_sa(struct sa *sa, const struct tun *tun, uint16_t path)
{
    const struct sa_peer *peer = SEE(sa->peer);
    struct dp_overhead o = overhead_of(tun);
    o.outer_v6 = peer->outer.dst.family == 6;
    o.udp = peer->udp;
    o.alg = sa->alg;
    struct limits limits = limits_of(tun, dp_inner_mtu(&o, path));
    limits_write(&sa->in.limits, limits);
    limits_write(&sa->out.limits, limits);
}

static void update(struct live *live, const struct tun *tun, uint16_t path)
{
    /* An IPsec tunnel without an SA: what AES-GCM will allow, so that routes can be made before the peer comes. */
    const struct dp_overhead o = overhead_of(tun);
    limits_write(&live->limits, limits_of(tun, dp_inner_mtu(&o, path)));
    const struct sa_set *sas = SEE(live->sas);
    for (uint32_t i = 0; sas && i < READ(sas->n); i++)
        update_sa(SEE(sas->v[i]), tun, path);
}

static uint16_t path_of(const struct tun *tun, uint16_t learned)
{
    return learned && learned < tun->path_mtu ? learned : tun->path_mtu;
}

/* Two may be at it at once, each of whom wrote path_mtu before: whoever is not the last to write it looks again. */
void limits_update(struct live *live, const struct tun *tun)
{
    uint16_t learned;
    do {
        learned = SEE(live->path_mtu);
        update(live, tun, path_of(tun, learned));
    } while (__atomic_fetch_or(&live->path_mtu, 0, __ATOMIC_ACQ_REL) != learned);
}

void limits_begin(const struct live *live, const struct tun *tun, struct sa *sa)
{
    update_sa(sa, tun, path_of(tun, SEE(live->path_mtu)));
}

struct limits limits_carried(const struct tun *tun, const struct limits *esp, bool transport)
{
    uint16_t head = tun->gre_len;
    if (!transport)
        head += tun->local.family == 6 ? IP6_HEADER : IP4_HEADER;
    return limits_of(tun, (uint16_t)(esp->mtu > head ? esp->mtu - head : 0));
}
