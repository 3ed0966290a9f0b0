/* The peer's CREATE_CHILD_SA and IKE_FOLLOWUP_KE as requester (RFC 7296 1.3, RFC 9370 2.2.4); what either role makes of an
 * exchange that is through; collisions (RFC 7296 2.8.1, 2.8.2). See initiator.h.
 */
#include "initiator.h"

#define RETRY (2 * NS_PER_S)

void initiator_exchange_free(struct initiator_exchange *x)
{
    if (!x)
        return;
    crypto_ke_free(x->ke);
    wipe(x, sizeof *x);
    free(x);
}

void initiator_nonce(struct initiator *i, int first, uint8_t ret[32])
{
    rng_fill(i->rng, ret, 32);
    if (first >= 0)
        ret[0] = (uint8_t)first;
}

/* ---- requests */

static struct initiator_exchange *begin(struct initiator *i, struct initiator_sa *sa, bool ike)
{
    struct initiator_exchange *x = calloc(1, sizeof *x);
    assert_non_null(x);
    initiator_exchange_free(sa->ours);
    sa->ours = x;
    x->ours = true;
    x->ike = ike;
    x->n_ni = 32;
    initiator_nonce(i, i->wish.ni_first, x->ni);
    x->suite = ike ? i->wish.ike : i->wish.esp;
    return x;
}

static void write_ke(struct initiator *i, struct initiator_exchange *x, uint16_t method, struct ike_writer *iw)
{
    struct ke_value public;
    crypto_ke_free(x->ke);
    x->ke = NULL;
    OK(crypto_ke_begin(i->crypto, method, &x->ke, &public));
    ike_write_ke(iw, method, span_of(public.b, public.n));
}

void initiator_child_start(struct initiator *i, struct initiator_sa *sa, struct initiator_job job)
{
    struct initiator_exchange *x = begin(i, sa, false);
    struct ike_transform_out t[16];
    uint8_t old[4], fresh[4];
    struct wr o = wr_of(old, sizeof old), f = wr_of(fresh, sizeof fresh);
    x->old = job.spi_in;
    x->spi_in = rng_u32(i->rng) | 0x80000000u;
    wr_u32(&o, x->old);
    wr_u32(&f, x->spi_in);
    struct ike_writer iw = initiator_begin(i);
    if (x->old) /* RFC 7296 1.3.3: the SPI its sender receives with */
        ike_write_notify(&iw, PROTO_ESP, wr_span(&o), N_REKEY_SA, span_of(NULL, 0));
    ike_write_sa(&iw, 1, PROTO_ESP, wr_span(&f), t, initiator_transforms(&x->suite, false, i->wish.esn, t));
    ike_write_nonce(&iw, span_of(x->ni, x->n_ni));
    if (x->suite.ke)
        write_ke(i, x, x->suite.ke, &iw);
    initiator_write_ts(&iw, PAYLOAD_TSI, &i->wish.ts_local);
    initiator_write_ts(&iw, PAYLOAD_TSR, &i->wish.ts_remote);
    initiator_request(i, sa, job, CREATE_CHILD_SA, &iw);
}

void initiator_ike_start(struct initiator *i, struct initiator_sa *sa, struct initiator_job job)
{
    struct initiator_exchange *x = begin(i, sa, true);
    struct ike_transform_out t[16];
    uint8_t spi[8];
    struct wr w = wr_of(spi, sizeof spi);
    x->spi_ours = rng_u64(i->rng) | 1;
    wr_u64(&w, x->spi_ours);
    struct ike_writer iw = initiator_begin(i);
    ike_write_sa(&iw, 1, PROTO_IKE, wr_span(&w), t, initiator_transforms(&x->suite, true, false, t));
    ike_write_nonce(&iw, span_of(x->ni, x->n_ni));
    write_ke(i, x, x->suite.ke, &iw);
    initiator_request(i, sa, job, CREATE_CHILD_SA, &iw);
}

static void send_followup(struct initiator *i, struct initiator_sa *sa, struct initiator_job job)
{
    struct initiator_exchange *x = sa->ours;
    struct ike_writer iw = initiator_begin(i);
    write_ke(i, x, x->suite.addke[x->addke_done], &iw);
    ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_ADDITIONAL_KEY_EXCHANGE, span_of(x->link, x->n_link));
    initiator_request(i, sa, job, IKE_FOLLOWUP_KE, &iw);
}

/* ---- what an exchange makes */

static struct ike_nonces nonces_of(const struct initiator_exchange *x)
{
    return (struct ike_nonces){span_of(x->ni, x->n_ni), span_of(x->nr, x->n_nr)};
}

/* SK(1) .. SK(n); SK(0) is returned. */
static struct span secrets_of(const struct initiator_exchange *x, struct span more[ADDKE_MAX], size_t *ret_n)
{
    for (size_t k = 1; k < x->n_secrets; k++)
        more[k - 1] = span_of(x->secret[k].b, x->secret[k].n);
    *ret_n = x->n_secrets ? x->n_secrets - 1 : 0;
    return x->n_secrets ? span_of(x->secret[0].b, x->secret[0].n) : span_of(NULL, 0);
}

struct initiator_child *initiator_make_child(struct initiator *i, struct initiator_sa *sa, struct initiator_exchange *x)
{
    struct initiator_child c = {.spi_in = x->spi_in,
                                .spi_out = x->spi_out,
                                .sa = sa,
                                .ours = x->ours,
                                .suite = x->suite,
                                .ts_local = x->ts_local,
                                .ts_remote = x->ts_remote};
    uint8_t keymat[2 * ESP_KEYMAT_MAX];
    struct esp_sizes z;
    struct span more[ADDKE_MAX];
    size_t n_more;
    struct span shared = secrets_of(x, more, &n_more);
    assert_true(crypto_esp_sizes((struct esp_alg){c.suite.encr, c.suite.encr_bits, c.suite.integ}, &z));
    c.key_len = (size_t)z.key_e + z.key_a;
    OK(ike_keys_child(i->crypto, sa->s.suite.prf, span_of(sa->s.keys.d, sa->s.keys.n_prf), shared, nonces_of(x), more,
                      n_more, keymat, 2 * c.key_len));
    /* RFC 7296 2.17: the first half is for what the initiator of the exchange sends. */
    memcpy(x->ours ? c.key_out : c.key_in, keymat, c.key_len);
    memcpy(x->ours ? c.key_in : c.key_out, keymat + c.key_len, c.key_len);
    return initiator_child_add(i, &c);
}

struct initiator_sa *initiator_make_sa(struct initiator *i, struct initiator_sa *sa, struct initiator_exchange *x)
{
    struct initiator_sa *fresh = initiator_sa_new(i);
    uint8_t seed[PRF_MAX];
    struct span more[ADDKE_MAX];
    size_t n_more;
    struct span shared = secrets_of(x, more, &n_more);
    uint16_t old_prf = sa->s.suite.prf, prf = x->suite.prf;
    fresh->s.began = x->ours;
    fresh->s.suite = x->suite;
    fresh->s.spi_i = x->ours ? x->spi_ours : x->spi_theirs;
    fresh->s.spi_r = x->ours ? x->spi_theirs : x->spi_ours;
    fresh->port = sa->port;
    fresh->remote = sa->remote;
    fresh->stage = STAGE_UP;
    OK(ike_keys_seed_rekey(i->crypto, old_prf, span_of(sa->s.keys.d, sa->s.keys.n_prf), shared, nonces_of(x), more,
                           n_more, seed));
    OK(ike_keys_derive(i->crypto, prf, session_alg(&fresh->s), span_of(seed, crypto_prf_size(old_prf)), nonces_of(x),
                       fresh->s.spi_i, fresh->s.spi_r, &fresh->s.keys));
    return fresh;
}

/* RFC 7296 2.8.1: octet by octet, a prefix is lower. */
static int compare(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    int c = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return c ? c : (n_a > n_b) - (n_a < n_b);
}

struct initiator_attempt initiator_attempt(const struct initiator_exchange *x)
{
    struct initiator_attempt a = {.made = true};
    bool initiators = compare(x->ni, x->n_ni, x->nr, x->n_nr) < 0;
    a.n = initiators ? x->n_ni : x->n_nr;
    memcpy(a.lowest, initiators ? x->ni : x->nr, a.n);
    return a;
}

static bool ours_loses(const struct initiator_exchange *x)
{
    struct initiator_attempt ours = initiator_attempt(x);
    return x->rival.made && compare(ours.lowest, ours.n, x->rival.lowest, x->rival.n) < 0;
}

static void delete_child(struct initiator *i, struct initiator_child *child)
{
    child->deleting = true;
    initiator_queue(i, (struct initiator_job){.type = JOB_CHILD_DELETE, .spi_in = child->spi_in});
}

static void child_through(struct initiator *i, struct initiator_sa *sa, struct initiator_exchange *x)
{
    uint32_t spi_in = initiator_make_child(i, sa, x)->spi_in;
    struct initiator_child *old = x->old ? initiator_child(i, x->old) : NULL; /* they may have deleted it meanwhile */
    i->collisions += x->rival.made;
    if (ours_loses(x)) {
        if (old)
            old->replaced = true;
        delete_child(i, initiator_child(i, spi_in));
    } else if (old) {
        delete_child(i, old);
    }
}

void initiator_inherit(struct initiator *i, struct initiator_sa *from, struct initiator_sa *to)
{
    from->replaced = true;
    to->redundant = 0;
    for (size_t c = 0; c < i->n_children; c++)
        if (i->child[c].sa == from)
            i->child[c].sa = to;
}

static void delete_ike(struct initiator *i, struct initiator_sa *sa)
{
    sa->closing = true;
    initiator_queue(i, (struct initiator_job){.type = JOB_IKE_DELETE, .spi_i = sa->s.spi_i});
}

static void ike_through(struct initiator *i, struct initiator_sa *sa, struct initiator_exchange *x)
{
    struct initiator_sa *fresh = initiator_make_sa(i, sa, x);
    i->collisions += x->rival.made;
    if (ours_loses(x)) {
        if (sa->their_new) /* else their follow-ups are still to come */
            initiator_inherit(i, sa, sa->their_new);
        delete_ike(i, fresh);
        return;
    }
    if (sa->their_new)
        sa->their_new->redundant = i->now + INITIATOR_REDUNDANT;
    initiator_inherit(i, sa, fresh);
    delete_ike(i, sa);
}

/* ---- responses */

static void again(struct initiator *i, struct initiator_job job)
{
    job.at = i->now + RETRY;
    initiator_queue(i, job);
}

static void refused(struct initiator *i, struct initiator_sa *sa, struct initiator_job job)
{
    struct initiator_child *old = job.spi_in ? initiator_child(i, job.spi_in) : NULL;
    bool ike = sa->ours->ike;
    i->child_refused = i->refused;
    initiator_exchange_free(sa->ours);
    sa->ours = NULL;
    switch (i->refused) {
    case N_TEMPORARY_FAILURE:
    case N_STATE_NOT_FOUND: again(i, job); break;
    case N_CHILD_SA_NOT_FOUND: /* RFC 7296 2.25: away with it, and a new one */
        if (!old)
            break;
        initiator_child_drop(i, old);
        again(i, (struct initiator_job){.type = JOB_CHILD_NEW});
        break;
    default: break;
    }
    if (ike && sa->their_new && !sa->replaced) /* only their attempt came to something */
        initiator_inherit(i, sa, sa->their_new);
}

static void through(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_exchange *x = sa->ours;
    sa->ours = NULL;
    if (x->ike)
        ike_through(i, sa, x);
    else
        child_through(i, sa, x);
    initiator_exchange_free(x);
}

/* The link to the next exchange has to be there exactly while key exchanges are left (RFC 9370 2.2.4). */
static void next_step(struct initiator *i, struct initiator_sa *sa, struct initiator_job job)
{
    struct initiator_exchange *x = sa->ours;
    struct ike_notify n;
    bool more = x->addke_done < ADDKE_MAX && x->suite.addke[x->addke_done];
    bool linked = plain_notify(&i->last, N_ADDITIONAL_KEY_EXCHANGE, &n);
    assert_int_equal(more, linked);
    if (!more) {
        through(i, sa);
        return;
    }
    assert_in_range(n.data.n, 1, sizeof x->link);
    memcpy(x->link, n.data.p, n.data.n);
    x->n_link = n.data.n;
    send_followup(i, sa, job);
}

static void read_chosen(struct initiator *i, struct initiator_exchange *x)
{
    const struct plain *p = &i->last;
    struct span spi = {0};
    assert_true(initiator_suite_read(ike_chain_find(&p->chain, PAYLOAD_SA)->body, x->ike ? PROTO_IKE : PROTO_ESP,
                                     &x->suite, &spi));
    struct rd r = rd_of(spi);
    if (x->ike) {
        x->spi_theirs = rd_u64(&r);
    } else {
        x->spi_out = rd_u32(&r);
        initiator_read_ts(p, PAYLOAD_TSI, &x->ts_local);
        initiator_read_ts(p, PAYLOAD_TSR, &x->ts_remote);
    }
    assert_true(rd_done(&r));
    struct span nonce = ike_chain_find(&p->chain, PAYLOAD_NONCE)->body;
    assert_in_range(nonce.n, 16, sizeof x->nr);
    memcpy(x->nr, nonce.p, nonce.n);
    x->n_nr = nonce.n;
}

static void finish_ke(struct initiator *i, struct initiator_exchange *x, uint16_t method)
{
    const struct ike_payload *payload = ike_chain_find(&i->last.chain, PAYLOAD_KE);
    struct ike_ke ke;
    assert_non_null(payload);
    OK(ike_ke_read(payload->body, &ke));
    assert_int_equal(ke.method, method);
    OK(crypto_ke_finish(x->ke, ke.data, &x->secret[x->n_secrets++]));
}

void initiator_create_response(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_exchange *x = sa->ours;
    struct initiator_job job = sa->own.job;
    assert_non_null(x);
    initiator_done(sa);
    if (i->refused) {
        refused(i, sa, job);
        return;
    }
    read_chosen(i, x);
    if (x->suite.ke)
        finish_ke(i, x, x->suite.ke);
    next_step(i, sa, job);
}

void initiator_followup_response(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_exchange *x = sa->ours;
    struct initiator_job job = sa->own.job;
    assert_non_null(x);
    initiator_done(sa);
    if (i->refused) {
        refused(i, sa, job);
        return;
    }
    finish_ke(i, x, x->suite.addke[x->addke_done]);
    x->addke_done++;
    next_step(i, sa, job);
}
