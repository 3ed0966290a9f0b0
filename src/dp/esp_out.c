/* ESP to the network (RFC 4303 3.3): padding, sequence, IV (RFC 4106, RFC 6054: sender id 24 bit, counter 40 bit),
 * then all packets of the batch through the cipher at once. */
#include "worker.h"

static void note_soft_limit(struct batch *b, struct sa *sa)
{
    if (UNLIKELY((sa->seq >= SEQ_SOFT || sa->iv_next >= IV_SOFT) && !sa->soft))
        sa->soft = batch_event(b, DP_EVENT_SA_SOFT, sa, NULL);
}

static void iv_write(struct batch *b, struct sa *sa, uint8_t *p)
{
    if (sa->out.cbc)
        crypto_esp_cbc_iv(b->w->crypto, p); /* RFC 3602 3: unpredictable */
    else if (sa->out.iv == 8)
        store_be64(p, (uint64_t)b->w->dp->config.sender_id << 40 |
                          sa->iv_next); /* RFC 4106 3.1: never twice under a key */
    ADD(sa->iv_next, 1);
}

bool esp_out_begin(struct batch *b, struct job *j)
{
    struct pkt *p = j->p;
    struct sa *sa = j->sa;
    uint32_t head = ESP_HEADER + (uint32_t)sa->out.iv, text_len = wire_esp_text_len(p->len, sa->out.align);
    if (UNLIKELY(pkt_headroom(p) < head || pkt_tailroom(p) < text_len - p->len + sa->out.icv)) {
        batch_drop(b, p, j->tun, DP_REASON_POOL);
        return false;
    }
    if (UNLIKELY(sa_is_exhausted(b, sa))) { /* by the packets before it in this batch */
        batch_drop(b, p, j->tun, DP_REASON_ESP_EXPIRED);
        return false;
    }
    ADD(sa->bytes_out, p->len);

    uint8_t next = sa->out.transport ? IP_PROTO_GRE : j->version == 4 ? IP_PROTO_IPV4 : IP_PROTO_IPV6;
    wire_esp_trailer_write(p->data, p->len, text_len, next);
    p->data -= head;
    p->len = head + text_len + sa->out.icv;
    store_be32(p->data, sa->spi_out);
    ADD(sa->seq, 1);
    store_be32(p->data + 4, sa->seq);
    iv_write(b, sa, p->data + ESP_HEADER);
    note_soft_limit(b, sa);

    const struct sa_peer *peer = SEE(sa->peer);
    p->outer = peer->outer;
    p->outer.ttl = j->tun->ttl;
    p->outer.tos = j->tos;
    p->outer.df = j->df;
    p->verdict = peer->udp ? PKT_TO_NATT : PKT_TO_ESP;
    b->op[b->n_ops++] = (struct esp_op){.key = sa->key_out, .pkt = p->data, .text_len = text_len};
    return true;
}

void esp_out_finish(struct batch *b)
{
    crypto_esp_seal(b->w->crypto, b->op, b->n_ops);
    for (size_t i = 0, k = 0; i < b->n_jobs; i++) {
        const struct job *j = &b->job[i];
        if (!j->sa || j->p->verdict == PKT_DROP)
            continue;
        if (UNLIKELY(b->op[k++].rc != RC_OK)) /* the library failed: never send what may be plaintext */
            batch_drop(b, j->p, j->tun, DP_REASON_ESP_INTEGRITY);
    }
    b->n_ops = 0;
}
