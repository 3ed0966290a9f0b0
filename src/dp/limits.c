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
        room -= gre + (o->gre_in_esp == GRE_IN_ESP_TUNNEL ? IP4_HEADER : 0);
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

void limits_update(struct live *live, const struct tun *tun)
{
    uint16_t path = live->path_mtu && live->path_mtu < tun->path_mtu ? live->path_mtu : tun->path_mtu;
    struct dp_overhead o = {
        .type = tun->type,
        .outer_v6 = tun->local.family == 6,
        .gre_key = tun->gre_flags & GRE_KEY,
        .gre_checksum = tun->gre_flags & GRE_CHECKSUM,
        .gre_sequence = tun->gre_flags & GRE_SEQUENCE,
        .alg = {.encr = ENCR_AES_GCM_16, .encr_bits = 256},
    };
    /* An IPsec tunnel without an SA: what AES-GCM will allow, so that routes can be made before the peer comes. */
    live->limits = limits_of(tun, dp_inner_mtu(&o, path));
    for (uint32_t i = 0; live->sas && i < live->sas->n; i++) {
        struct sa *sa = live->sas->v[i];
        o.outer_v6 = sa->peer->outer.dst.family == 6;
        o.udp = sa->peer->udp;
        o.alg = sa->alg;
        sa->in.limits = sa->out.limits = limits_of(tun, dp_inner_mtu(&o, path));
    }
}
