/* ESP to the network (RFC 4303 3.3): padding, sequence, IV (RFC 4106, RFC 6054: sender id 24 bit, counter 40 bit),
 * then all packets of the batch through the cipher at once. */
#include "worker.h"

static void note_soft_limit(struct batch *b, struct sa *sa, uint64_t seq, uint64_t iv_next)
{
    if (UNLIKELY(seq >= SEQ_SOFT || iv_next >= IV_SOFT))
        batch_event_once(b, &sa->soft, DP_EVENT_SA_SOFT, sa);
}

/* ---- shared SAs --------------------------------------------------------------------------------- */

static void run_count(struct run *r)
{
    if (r->packets == 0)
        return;
    struct sa_shared *s = sa_shared(r->sa);
    (void)TAKE(s->packets_out, r->packets);
    (void)TAKE(s->bytes_out, r->bytes);
    r->packets = 0;
    r->bytes = 0;
}

/* Numbers and IVs for the packet and those of its SA straight behind it: a block that no other worker has, nor will have. What is left
 * of it in the end is lost. */
static void run_begin(struct batch *b, const struct job *j)
{
    struct sa *sa = j->sa;
    struct sa_shared *s = sa_shared(sa);
    uint32_t n = 0;
    for (const struct job *k = j; k < b->job + b->n_jobs && k->sa == sa; k++)
        n++;
    run_count(&b->run);
    uint64_t seq = TAKE(s->seq, n), iv = TAKE(s->iv_next, n), end = seq + n, iv_end = iv + n;
    b->run = (struct run){.sa = sa, .seq = seq, .iv = iv, .left = n};
    if (UNLIKELY(end >= SEQ_HARD || iv_end >= IV_HARD)) {
        uint64_t numbers = seq < SEQ_HARD ? SEQ_HARD - seq : 0, ivs = iv < IV_HARD ? IV_HARD - iv : 0;
        uint64_t most = numbers < ivs ? numbers : ivs;
        b->run.left = most < n ? (uint32_t)most : n;
        WRITE(sa->seq, SEQ_HARD);
    }
    note_soft_limit(b, sa, end, iv_end);
}

static bool run_has(struct batch *b, const struct job *j)
{
    if (b->run.sa != j->sa || b->run.left == 0)
        run_begin(b, j);
    return b->run.left > 0;
}

/* ---- numbers ------------------------------------------------------------------------------------ */

uint32_t esp_out_seq(struct batch *b, const struct job *j)
{
    if (LIKELY(!j->sa->out.shared))
        return j->sa->seq + 1;
    return run_has(b, j) ? (uint32_t)b->run.seq + 1 : 0;
}

struct number {
    uint32_t seq;
    uint64_t iv;
};

/* False: used up, by the packets before it in this batch or by another worker's. */
static bool number_take(struct batch *b, const struct job *j, struct number *ret)
{
    struct sa *sa = j->sa;
    if (UNLIKELY(sa->out.shared)) {
        if (UNLIKELY(!run_has(b, j))) {
            sa_is_exhausted(b, sa);
            return false;
        }
        b->run.left--;
        b->run.packets++;
        b->run.bytes += j->p->len;
        *ret = (struct number){.seq = (uint32_t)++b->run.seq, .iv = b->run.iv++};
        return true;
    }
    if (UNLIKELY(sa_is_exhausted(b, sa)))
        return false;
    *ret = (struct number){.seq = sa->seq + 1, .iv = sa->iv_next};
    WRITE(sa->seq, ret->seq);
    WRITE(sa->iv_next, ret->iv + 1);
    ADD(sa->bytes_out, j->p->len);
    note_soft_limit(b, sa, ret->seq, ret->iv + 1);
    return true;
}

static void iv_write(const struct batch *b, const struct sa *sa, uint64_t counter, uint8_t *p)
{
    if (sa->out.cbc)
        crypto_esp_cbc_iv(b->w->crypto, p); /* RFC 3602 3: unpredictable */
    else if (sa->out.iv == 8)               /* RFC 4106 3.1: never twice under a key */
        store_be64(p, (uint64_t)b->w->dp->config.sender_id << 40 | counter);
}

/* ---- packets ------------------------------------------------------------------------------------ */

bool esp_out_begin(struct batch *b, struct job *j)
{
    struct pkt *p = j->p;
    const struct sa *sa = j->sa;
    struct number number;
    uint32_t head = ESP_HEADER + (uint32_t)sa->out.iv, text_len = wire_esp_text_len(p->len, sa->out.align);
    if (UNLIKELY(pkt_headroom(p) < head || pkt_tailroom(p) < text_len - p->len + sa->out.icv)) {
        batch_drop(b, p, j->tun, DP_REASON_POOL);
        return false;
    }
    if (UNLIKELY(!number_take(b, j, &number))) {
        batch_drop(b, p, j->tun, DP_REASON_ESP_EXPIRED);
        return false;
    }

    uint8_t next = sa->out.transport ? IP_PROTO_GRE : j->version == 4 ? IP_PROTO_IPV4 : IP_PROTO_IPV6;
    wire_esp_trailer_write(p->data, p->len, text_len, next);
    p->data -= head;
    p->len = head + text_len + sa->out.icv;
    store_be32(p->data, sa->spi_out);
    store_be32(p->data + 4, number.seq);
    iv_write(b, sa, number.iv, p->data + ESP_HEADER);

    const struct sa_peer *peer = SEE(sa->peer);
    p->outer = peer->outer;
    p->outer.ttl = j->tun->ttl;
    p->outer.tos = j->tos;
    p->outer.df = j->df;
    p->verdict = peer->udp ? PKT_TO_NATT : PKT_TO_ESP;
    b->op[b->n_ops++] = (struct esp_op){.key = sa->key_out, .pkt = p->data, .text_len = text_len};
    return true;
}

static void unsealed_drop(struct batch *b, const struct esp_op *op)
{
    for (size_t i = 0; i < b->n_jobs; i++)
        if (b->job[i].sa && b->job[i].p->data == op->pkt)
            batch_drop(b, b->job[i].p, b->job[i].tun, DP_REASON_ESP_INTEGRITY);
}

void esp_out_finish(struct batch *b)
{
    run_count(&b->run);
    crypto_esp_seal(b->w->crypto, b->op, b->n_ops);
    for (size_t k = 0; k < b->n_ops; k++)
        if (UNLIKELY(b->op[k].rc != RC_OK)) /* the library failed: never send what may be plaintext */
            unsealed_drop(b, &b->op[k]);
    b->n_ops = 0;
}
