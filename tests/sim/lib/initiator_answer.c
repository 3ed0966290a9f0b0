/* The peer as responder: the engine's CREATE_CHILD_SA and IKE_FOLLOWUP_KE (RFC 7296 1.3, 2.8, 2.25; RFC 9370 2.2.4). See
 * initiator.h.
 */
#include "initiator.h"

static void refuse(struct initiator *i, struct ike_writer *iw, uint16_t type, struct span data)
{
    *iw = initiator_begin(i);
    ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), type, data);
}

/* ---- choosing */

struct choice {
    struct suite suite;
    uint8_t num;
    struct span spi;
    struct ike_transform_out out[16];
    size_t n;
};

static bool known(uint8_t type, const struct ike_transform *t, bool ike)
{
    struct esp_sizes esp;
    bool aead = t->id == ENCR_AES_GCM_16;
    if (!t->acceptable)
        return false;
    switch (type) {
    case T_ENCR:
        return crypto_esp_sizes((struct esp_alg){t->id, t->key_bits, aead ? INTEG_NONE : INTEG_HMAC_SHA2_256_128},
                                &esp) &&
               !(ike && t->id == ENCR_NULL);
    case T_PRF: return t->id != PRF_HMAC_SHA1 && crypto_prf_size(t->id) > 0;
    case T_INTEG: return t->id == INTEG_HMAC_SHA2_256_128 || t->id == INTEG_HMAC_SHA1_96;
    case T_ESN: return t->id == 0;
    default: return t->id == KE_NONE ? !(ike && type == T_KE) : crypto_ke_known(t->id);
    }
}

static uint16_t *field(struct suite *s, uint8_t type)
{
    switch (type) {
    case T_ENCR: return &s->encr;
    case T_PRF: return &s->prf;
    case T_INTEG: return &s->integ;
    case T_KE: return &s->ke;
    default: return &s->addke[type - T_ADDKE1];
    }
}

/* Of one type the one wished for, else the first known. false: offered, but none will do. */
static bool choose_type(const struct ike_proposal *p, uint8_t type, bool ike, struct suite wish, struct choice *c)
{
    struct rd r = p->transforms;
    struct ike_transform t, best = {0};
    bool offered = false, found = false;
    while (ike_transform_next(&r, &t)) {
        if (t.type != type)
            continue;
        offered = true;
        bool wished = type != T_ESN && t.id == *field(&wish, type);
        if (known(type, &t, ike) && (!found || (wished && best.id != *field(&wish, type)))) {
            best = t;
            found = true;
        }
    }
    if (!found)
        return !offered;
    c->out[c->n++] = (struct ike_transform_out){type, best.id, best.key_bits};
    if (type == T_ENCR)
        c->suite.encr_bits = best.key_bits;
    if (type != T_ESN)
        *field(&c->suite, type) = best.id;
    return true;
}

static bool choose(struct initiator *i, struct span body, bool ike, struct choice *ret)
{
    static const uint8_t TYPES[] = {T_ENCR, T_PRF, T_INTEG, T_KE, T_ESN, 6, 7, 8, 9, 10, 11, 12};
    struct ike_error error;
    struct ike_proposal p;
    struct rd r = rd_of(body);
    OK(ike_sa_check(body, &error));
    while (ike_proposal_next(&r, &p)) {
        struct choice c = {.num = p.num, .spi = p.spi};
        bool good = p.protocol == (ike ? PROTO_IKE : PROTO_ESP);
        assert_int_equal(p.spi.n, ike ? 8 : 4);
        for (size_t k = 0; k < ARRAY_LEN(TYPES) && good; k++)
            good = choose_type(&p, TYPES[k], ike, ike ? i->wish.ike : i->wish.esp, &c);
        size_t n = 0; /* NONE is no exchange */
        for (size_t k = 0; k < ADDKE_MAX; k++)
            if (c.suite.addke[k])
                c.suite.addke[n++] = c.suite.addke[k];
        if (n < ADDKE_MAX)
            c.suite.addke[n] = 0;
        if (good && c.suite.encr && (!ike || (c.suite.prf && c.suite.ke))) {
            *ret = c;
            return true;
        }
    }
    return false;
}

/* ---- may they? */

static uint16_t busy_with(struct initiator_sa *sa, const struct initiator_child *old, bool ike)
{
    const struct initiator_request *own = &sa->own;
    bool child_job =
        own->job.type == JOB_CHILD_NEW || own->job.type == JOB_CHILD_REKEY || own->job.type == JOB_CHILD_DELETE;
    bool followup = own->exchange == IKE_FOLLOWUP_KE;
    if (sa->closing || sa->replaced || sa->redundant)
        return N_TEMPORARY_FAILURE;
    if (ike)
        return child_job || (own->job.type == JOB_IKE_REKEY && followup) ? N_TEMPORARY_FAILURE : 0;
    if (own->job.type == JOB_IKE_REKEY)
        return N_TEMPORARY_FAILURE;
    if (old && (old->deleting || (own->job.type == JOB_CHILD_REKEY && own->job.spi_in == old->spi_in && followup)))
        return N_TEMPORARY_FAILURE;
    return 0;
}

static struct initiator_child *rekeyed(struct initiator *i, const struct initiator_sa *sa, const struct ike_notify *n)
{
    struct rd r = rd_of(n->spi);
    assert_int_equal(n->protocol, PROTO_ESP);
    uint32_t spi = rd_u32(&r); /* what they receive with is what we send with */
    assert_true(rd_done(&r));
    for (size_t c = 0; c < i->n_children; c++)
        if (i->child[c].spi_out == spi && i->child[c].sa == sa)
            return &i->child[c];
    return NULL;
}

/* ---- the answer */

static void completed(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_exchange *x = sa->theirs;
    bool ours = sa->ours && sa->own.job.type != JOB_NONE;
    sa->theirs = NULL;
    if (x->ike) {
        sa->their_new = initiator_make_sa(i, sa, x);
        if (sa->closing || sa->replaced) /* ours has won meanwhile */
            sa->their_new->redundant = i->now + INITIATOR_REDUNDANT;
        else if (!(ours && sa->ours->ike))
            initiator_inherit(i, sa, sa->their_new);
        else
            sa->their_new->redundant = NEVER; /* not to be used before it is known which one stays */
    } else {
        initiator_make_child(i, sa, x);
        struct initiator_child *old = x->old ? initiator_child(i, x->old) : NULL;
        if (old && !(ours && sa->ours->old == x->old))
            old->replaced = true;
    }
    initiator_exchange_free(x);
}

static void write_link(struct initiator *i, struct initiator_exchange *x, struct ike_writer *iw)
{
    x->n_link = 8;
    rng_fill(i->rng, x->link, x->n_link);
    ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), N_ADDITIONAL_KEY_EXCHANGE, span_of(x->link, x->n_link));
}

static void answer_ke(struct initiator *i, struct initiator_exchange *x, const struct ike_ke *ke, struct ike_writer *iw)
{
    struct ke_value public;
    OK(crypto_ke_respond(i->crypto, ke->method, ke->data, &public, &x->secret[x->n_secrets++]));
    ike_write_ke(iw, ke->method, span_of(public.b, public.n));
}

static void write_sa(struct initiator *i, struct initiator_exchange *x, const struct choice *c, struct ike_writer *iw)
{
    uint8_t spi[8];
    struct wr w = wr_of(spi, sizeof spi);
    struct rd r = rd_of(c->spi);
    if (x->ike) {
        x->spi_theirs = rd_u64(&r);
        x->spi_ours = rng_u64(i->rng) | 1;
        wr_u64(&w, x->spi_ours);
    } else {
        x->spi_out = rd_u32(&r);
        x->spi_in = rng_u32(i->rng) | 0x80000000u;
        wr_u32(&w, x->spi_in);
    }
    ike_write_sa(iw, c->num, x->ike ? PROTO_IKE : PROTO_ESP, wr_span(&w), c->out, c->n);
}

/* Everything is acceptable: x becomes sa->theirs, and the answer is written. */
static void accept(struct initiator *i, struct initiator_sa *sa, const struct initiator_exchange *x,
                   const struct choice *c, const struct ike_ke *ke, struct ike_writer *iw)
{
    struct initiator_exchange *theirs = malloc(sizeof *theirs);
    assert_non_null(theirs);
    initiator_exchange_free(sa->theirs);
    *theirs = *x;
    sa->theirs = theirs;
    write_sa(i, theirs, c, iw);
    theirs->n_nr = 32;
    initiator_nonce(i, i->wish.nr_first, theirs->nr);
    ike_write_nonce(iw, span_of(theirs->nr, theirs->n_nr));
    if (theirs->suite.ke)
        answer_ke(i, theirs, ke, iw);
    if (!theirs->ike) {
        initiator_write_ts(iw, PAYLOAD_TSI, &theirs->ts_remote);
        initiator_write_ts(iw, PAYLOAD_TSR, &theirs->ts_local);
    }
    struct initiator_child *old = theirs->old ? initiator_child(i, theirs->old) : NULL;
    struct initiator_exchange *ours = sa->ours;
    if (theirs->ike)
        sa->attempted = true;
    else if (old)
        old->theirs = true;
    if (ours && ours->ike == theirs->ike && ours->old == theirs->old && (ours->ike || ours->old))
        ours->rival = initiator_attempt(theirs);
    if (theirs->suite.addke[0])
        write_link(i, theirs, iw);
    else
        completed(i, sa);
}

static bool read_ke(struct initiator *i, const struct choice *c, struct ike_ke *ret, struct ike_writer *iw)
{
    const struct ike_payload *payload = ike_chain_find(&i->last.chain, PAYLOAD_KE);
    uint8_t wanted[2];
    struct wr w = wr_of(wanted, sizeof wanted);
    *ret = (struct ike_ke){0};
    if (payload)
        OK(ike_ke_read(payload->body, ret));
    if (!c->suite.ke || ret->method == c->suite.ke)
        return true;
    wr_u16(&w, c->suite.ke);
    refuse(i, iw, N_INVALID_KE_PAYLOAD, wr_span(&w));
    return false;
}

void initiator_create_request(struct initiator *i, struct initiator_sa *sa, struct ike_writer *iw)
{
    const struct plain *p = &i->last;
    struct initiator_exchange x = {.ike = !ike_chain_find(&p->chain, PAYLOAD_TSI)};
    struct ike_notify rekey;
    struct choice c;
    struct ike_ke ke;
    bool rekeys = plain_notify(p, N_REKEY_SA, &rekey);
    struct initiator_child *old = rekeys ? rekeyed(i, sa, &rekey) : NULL;
    struct span nonce = ike_chain_find(&p->chain, PAYLOAD_NONCE)->body;

    if (rekeys && !old && sa->ours) { /* it may be what our own exchange makes: its answer was overtaken */
        refuse(i, iw, N_TEMPORARY_FAILURE, span_of(NULL, 0));
        return;
    }
    if (rekeys && !old && !sa->redundant) { /* RFC 7296 2.25: the SPI as it came */
        *iw = initiator_begin(i);
        ike_write_notify(iw, PROTO_ESP, rekey.spi, N_CHILD_SA_NOT_FOUND, span_of(NULL, 0));
        return;
    }
    uint16_t busy = busy_with(sa, old, x.ike);
    if (busy || !choose(i, ike_chain_find(&p->chain, PAYLOAD_SA)->body, x.ike, &c)) {
        refuse(i, iw, busy ? busy : N_NO_PROPOSAL_CHOSEN, span_of(NULL, 0));
        return;
    }
    if (!read_ke(i, &c, &ke, iw))
        return;
    x.suite = c.suite;
    x.old = old ? old->spi_in : 0;
    assert_in_range(nonce.n, 16, sizeof x.ni);
    memcpy(x.ni, nonce.p, nonce.n);
    x.n_ni = nonce.n;
    if (!x.ike) {
        initiator_read_ts(p, PAYLOAD_TSI, &x.ts_remote);
        initiator_read_ts(p, PAYLOAD_TSR, &x.ts_local);
    }
    accept(i, sa, &x, &c, &ke, iw);
}

void initiator_followup_request(struct initiator *i, struct initiator_sa *sa, struct ike_writer *iw)
{
    struct initiator_exchange *x = sa->theirs;
    struct ike_notify link;
    struct ike_ke ke;
    if (!x || !plain_notify(&i->last, N_ADDITIONAL_KEY_EXCHANGE, &link) ||
        !span_equal(link.data, span_of(x->link, x->n_link))) {
        refuse(i, iw, N_STATE_NOT_FOUND, span_of(NULL, 0));
        return;
    }
    OK(ike_ke_read(ike_chain_find(&i->last.chain, PAYLOAD_KE)->body, &ke));
    assert_int_equal(ke.method, x->suite.addke[x->addke_done]);
    answer_ke(i, x, &ke, iw);
    x->addke_done++;
    if (x->addke_done < ADDKE_MAX && x->suite.addke[x->addke_done])
        write_link(i, x, iw);
    else
        completed(i, sa);
}
