/* ESP from the network (RFC 4303 3.4): SPI, lifetime, window; all packets of the batch through the cipher at once; window again,
 * padding, next header, and on to inner.c. Raw ESP and ESP in UDP (RFC 3948) differ by nothing here. */
#include "worker.h"

static bool is_short(const struct pkt *p, const struct sa *sa)
{
    return p->len < (uint32_t)ESP_HEADER + sa->in.iv + ESP_TRAILER + sa->in.icv;
}

static enum dp_reason begin(struct batch *b, const struct pkt *p, struct sa *sa)
{
    if (is_short(p, sa))
        return DP_REASON_SHORT;
    /* RFC 4303 2.4: the text ends on the cipher's block or on four octets. Nothing is read from it before the ICV is good. */
    if (((p->len - ESP_HEADER - sa->in.iv - sa->in.icv) & (sa->in.align - 1u)) != 0)
        return DP_REASON_ESP_PADDING;
    if (UNLIKELY(b->now >= READ(sa->hard_expiry))) {
        sa_is_exhausted(b, sa);
        return DP_REASON_ESP_EXPIRED;
    }
    if (!window_check(&sa->window, load_be32(p->data + 4))) {
        ADD(sa->replay_drops, 1);
        return DP_REASON_ESP_REPLAY;
    }
    return DP_REASON_NONE;
}

static bool is_ours(struct batch *b, struct key dst)
{
    if (LIKELY(b->any_ours && key_equal(dst, b->ours_last)))
        return true;
    if (!addr_is_ours(b->t->ours, dst))
        return false;
    b->ours_last = dst;
    b->any_ours = true;
    return true;
}

/* The SA of an SPI with its tunnel; most often those of the packet before. */
static struct sa *sa_of(struct batch *b, uint32_t spi, const struct tun **ret_tun)
{
    if (!b->sa_last || b->sa_last->spi_in != spi) {
        struct sa *sa = sa_find_in(SEE(b->w->dp->by_in), spi);
        const struct tun *tun = sa && sa->tunnel < b->t->n_tun ? b->t->tun[sa->tunnel] : NULL;
        if (!tun)
            return NULL;
        b->sa_last = sa;
        b->tun_last = tun;
    }
    *ret_tun = b->tun_last;
    return b->sa_last;
}

void esp_in_begin(struct batch *b, struct pkt *p)
{
    if (p->len < ESP_HEADER) {
        batch_drop(b, p, NULL, DP_REASON_SHORT);
        return;
    }
    if (UNLIKELY(!is_ours(b, key_of(&p->outer.dst)))) {
        batch_drop(b, p, NULL, DP_REASON_OUTER_DESTINATION);
        return;
    }
    const struct tun *tun;
    struct sa *sa = sa_of(b, load_be32(p->data), &tun);
    if (UNLIKELY(!sa)) {
        batch_drop(b, p, NULL, DP_REASON_ESP_UNKNOWN_SPI);
        return;
    }
    if (UNLIKELY(batch_elsewhere(b, p, tun)))
        return;
    enum dp_reason reason = begin(b, p, sa);
    if (UNLIKELY(reason != DP_REASON_NONE)) {
        batch_drop(b, p, tun, reason);
        return;
    }
    b->job[b->n_jobs++] = (struct job){.p = p, .tun = tun, .sa = sa, .seq = load_be32(p->data + 4)};
    b->op[b->n_ops++] =
        (struct esp_op){.key = sa->key_in, .pkt = p->data, .text_len = p->len - ESP_HEADER - sa->in.iv - sa->in.icv};
}

/* An authentic packet from elsewhere nominates that place, nothing more: it may be a replay sent by anybody who saw it. */
static void nominate(struct batch *b, struct sa *sa, const struct pkt *p)
{
    bool udp = p->from == PKT_FROM_NATT;
    struct endpoint from = {.addr = p->outer.src, .port = udp ? p->outer.sport : 0};
    if (endpoint_equal(&from, &sa->nominated) && b->now - sa->nominated_at < MOVED_REPEAT)
        return;
    struct path path = {.local = {p->outer.dst, udp ? p->outer.dport : 0}, .remote = from};
    if (batch_event(b, DP_EVENT_PEER_MOVED, sa, &path)) {
        sa->nominated = from;
        sa->nominated_at = b->now;
    }
}

/* The control side has moved the peer. */
static void take_move(struct sa *sa)
{
    const struct sa_peer *peer = SWAP(sa->moved, NULL);
    sa->from = sa_from(peer);
    sa->nominated = (struct endpoint){0};
}

static void note_authentic(struct batch *b, struct sa *sa, const struct pkt *p)
{
    if (UNLIKELY(!sa->seen)) {
        sa->seen = batch_event(b, DP_EVENT_SA_SEEN, sa, NULL);
        if (sa->seen)
            WRITE(sa->early, false);
    }
    if (UNLIKELY(READ(sa->moved) != NULL))
        take_move(sa);
    bool same_port = sa->from.port == 0 || p->from != PKT_FROM_NATT || p->outer.sport == sa->from.port;
    if (UNLIKELY(!(same_port && addr_same(&p->outer.src, &sa->from.addr))))
        nominate(b, sa, p);
}

static enum dp_reason open_trailer(struct job *j, enum rc rc)
{
    struct sa *sa = j->sa;
    struct pkt *p = j->p;
    if (rc != RC_OK) {
        ADD(sa->integrity_drops, 1);
        return DP_REASON_ESP_INTEGRITY;
    }
    if (!window_commit(&sa->window, j->seq)) { /* its twin stood earlier in this batch */
        ADD(sa->replay_drops, 1);
        return DP_REASON_ESP_REPLAY;
    }
    uint32_t text_len = p->len - ESP_HEADER - sa->in.iv - sa->in.icv;
    uint8_t next;
    p->data += ESP_HEADER + sa->in.iv;
    p->len = text_len;
    if (wire_esp_trailer_read(p->data, text_len, &p->len, &next) != RC_OK)
        return DP_REASON_ESP_PADDING;
    if (next == IP_PROTO_NONE) /* RFC 4303 2.6: dummy, MUST be discarded without indicating an error */
        return DP_REASON_ESP_DUMMY;
    bool ip = next == IP_PROTO_IPV4 || next == IP_PROTO_IPV6;
    if (sa->in.transport ? next != IP_PROTO_GRE : !ip)
        return DP_REASON_ESP_NEXT_HEADER;
    j->version = sa->in.transport ? 0 : next == IP_PROTO_IPV4 ? 4 : 6;
    return DP_REASON_NONE;
}

/* In transport mode the selectors say between whom: one address each. */
static void accept(struct batch *b, struct job *j)
{
    const struct selectors *s = &j->sa->selectors;
    if (LIKELY(j->version != 0))
        inner_accept(b, j->p, j->tun, j->sa, j->version);
    else if (!gre_in_esp(b, j->p, j->sa, &s->local.first, &s->remote.first))
        batch_drop(b, j->p, j->tun, DP_REASON_GRE_SOURCE);
}

void esp_in_finish(struct batch *b)
{
    crypto_esp_open(b->w->crypto, b->op, b->n_ops);
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *j = &b->job[i];
        enum dp_reason reason = open_trailer(j, b->op[i].rc);
        if (LIKELY(b->op[i].rc == RC_OK && reason != DP_REASON_ESP_REPLAY))
            note_authentic(b, j->sa, j->p);
        if (LIKELY(reason == DP_REASON_NONE))
            accept(b, j);
        else
            batch_drop(b, j->p, j->tun, reason);
    }
    b->n_jobs = b->n_ops = 0;
}
