/* The peer's clockwork: SAs, requests and their repetition, who gets a datagram; see initiator.h. */
#include "initiator.h"

#define INTERVAL_MAX (16 * NS_PER_S)
#define CLOSED_LINGER (60 * NS_PER_S)

struct initiator *initiator_new(const struct rng *rng, const char *local, const char *remote)
{
    return initiator_new_on(NULL, rng, local, remote);
}

struct initiator *initiator_new_on(struct crypto *crypto, const struct rng *rng, const char *local, const char *remote)
{
    struct initiator *i = calloc(1, sizeof *i);
    assert_non_null(i);
    i->rng = rng;
    i->crypto = crypto;
    i->borrowed = crypto;
    if (!crypto)
        OK(crypto_new(rng, &i->crypto));
    OK(addr_parse(local, &i->local.addr));
    OK(addr_parse(remote, &i->remote.addr));
    i->local.port = i->remote.port = 500;
    initiator_wish_default(&i->wish);
    return i;
}

/* ---- SAs and children */

static void sa_free(struct initiator_sa *sa)
{
    session_clear(&sa->s);
    initiator_done(sa);
    parcel_clear(&sa->answer);
    initiator_initial_free(sa->initial);
    initiator_exchange_free(sa->ours);
    initiator_exchange_free(sa->theirs);
    free(sa);
}

/* Closed ones go after a while; when there is no room, at once. */
static void bury(struct initiator *i, uint64_t linger)
{
    for (size_t k = i->n_sas; k-- > 0;) {
        struct initiator_sa *sa = i->sa[k];
        if (sa->stage != STAGE_CLOSED || sa->closed + linger > i->now)
            continue;
        sa_free(sa);
        i->sa[k] = i->sa[--i->n_sas];
    }
}

struct initiator_sa *initiator_sa_new(struct initiator *i)
{
    struct initiator_sa *sa = calloc(1, sizeof *sa);
    assert_non_null(sa);
    if (i->n_sas == INITIATOR_SAS)
        bury(i, 0);
    assert_true(i->n_sas < INITIATOR_SAS);
    sa->s.crypto = i->crypto;
    sa->port = 500;
    sa->remote = i->remote;
    sa->born = i->now;
    i->sa[i->n_sas++] = sa;
    return sa;
}

void initiator_done(struct initiator_sa *sa)
{
    parcel_clear(&sa->own.parcel);
    sa->own.job.type = JOB_NONE;
}

/* Its children go with it; it still repeats its last answer. */
void initiator_sa_close(struct initiator *i, struct initiator_sa *sa)
{
    for (size_t c = i->n_children; c-- > 0;)
        if (i->child[c].sa == sa)
            initiator_child_drop(i, &i->child[c]);
    for (size_t k = 0; k < i->n_sas; k++)
        if (i->sa[k]->their_new == sa)
            i->sa[k]->their_new = NULL;
    struct initiator_job job = sa->own.job;
    initiator_done(sa);
    if (job.type == JOB_CHILD_DELETE && initiator_child(i, job.spi_in))
        initiator_queue(i, job); /* the child is with another SA now: again there */
    initiator_initial_free(sa->initial);
    sa->initial = NULL;
    sa->stage = STAGE_CLOSED;
    sa->closed = i->now;
}

void initiator_sa_failed(struct initiator *i, struct initiator_sa *sa)
{
    initiator_sa_close(i, sa);
    if (i->wish.stay && !initiator_current(i)) {
        i->reconnects++;
        initiator_queue(i, (struct initiator_job){.type = JOB_INIT, .at = i->now + NS_PER_S});
    }
}

struct initiator_child *initiator_child_add(struct initiator *i, const struct initiator_child *child)
{
    assert_true(i->n_children < INITIATOR_CHILDREN);
    i->child[i->n_children] = *child;
    return &i->child[i->n_children++];
}

void initiator_child_drop(struct initiator *i, struct initiator_child *child)
{
    wipe(child, sizeof *child);
    *child = i->child[--i->n_children];
}

struct initiator_child *initiator_child(struct initiator *i, uint32_t spi_in)
{
    for (size_t c = 0; c < i->n_children; c++)
        if (i->child[c].spi_in == spi_in)
            return &i->child[c];
    return NULL;
}

struct initiator_sa *initiator_current(const struct initiator *i)
{
    struct initiator_sa *best = NULL;
    for (size_t k = 0; k < i->n_sas; k++) {
        struct initiator_sa *sa = i->sa[k];
        if (sa->stage == STAGE_UP && !sa->closing && !sa->replaced && !sa->redundant &&
            (!best || sa->born >= best->born))
            best = sa;
    }
    return best;
}

bool initiator_connecting(const struct initiator *i)
{
    for (size_t k = 0; k < i->n_sas; k++)
        if (i->sa[k]->stage < STAGE_UP)
            return true;
    return false;
}

static void forget_all(struct initiator *i)
{
    for (size_t k = 0; k < i->n_sas; k++)
        sa_free(i->sa[k]);
    i->n_sas = i->n_jobs = i->n_children = 0;
}

void initiator_forget_out(struct initiator *i)
{
    while (i->n_out)
        buf_free(&i->out[--i->n_out].bytes);
}

void initiator_free(struct initiator *i)
{
    if (!i)
        return;
    forget_all(i);
    initiator_forget_out(i);
    if (!i->borrowed)
        crypto_free(i->crypto);
    free(i);
}

/* ---- sending */

static void send(struct initiator *i, const struct initiator_sa *sa, const struct parcel *p)
{
    for (size_t k = 0; k < p->n; k++) {
        assert_true(i->n_out < INITIATOR_OUT);
        struct initiator_out *o = &i->out[i->n_out++];
        *o = (struct initiator_out){.from = i->local, .to = sa->remote};
        o->from.port = sa->port;
        OK(buf_set(&o->bytes, buf_span(&p->v[k])));
    }
}

struct ike_writer initiator_begin(struct initiator *i)
{
    struct ike_writer iw;
    ike_write_inner(&iw, wr_of(i->draft.bytes, sizeof i->draft.bytes));
    return iw;
}

static void finish_draft(struct initiator *i, const struct ike_header *h, struct ike_writer *iw)
{
    struct span s;
    OK(ike_write_finish(iw, &s));
    i->draft.header = *h;
    i->draft.first = ike_write_first(iw);
    i->draft.n = s.n;
    if (i->bend)
        i->bend(i->ctx, &i->draft);
}

static void set_limit(struct initiator *i, struct initiator_sa *sa)
{
    size_t headers = (sa->remote.addr.family == 6 ? 40u : 20u) + 8 + (sa->port == 4500 ? 4 : 0);
    sa->s.limit = i->wish.no_fragmentation ? 0 : i->wish.datagram - headers;
}

static void chain_int_auth(struct initiator *i, struct initiator_sa *sa)
{
    uint8_t a[32];
    struct initiator_initial *n = sa->initial;
    const struct ike_keys *k = &sa->s.keys;
    session_a(&i->draft.header, i->draft.first, 0, i->draft.n, a);
    OK(ike_keys_int_auth(i->crypto, sa->s.suite.prf, span_of(k->pi, k->n_prf),
                         span_of(n->int_auth_i, n->int_auth ? k->n_prf : 0), span_of(a, sizeof a),
                         span_of(i->draft.bytes, i->draft.n), n->int_auth_i));
}

void initiator_request(struct initiator *i, struct initiator_sa *sa, struct initiator_job job, uint8_t exchange,
                       struct ike_writer *iw)
{
    struct initiator_request *own = &sa->own;
    struct ike_header h = session_header(&sa->s, exchange, false, exchange == IKE_SA_INIT ? 0 : sa->mid_out);
    assert_int_equal(own->job.type, JOB_NONE); /* the window is 1 */
    finish_draft(i, &h, iw);
    own->job = job;
    own->exchange = exchange;
    own->mid = h.mid;
    own->tries = 1;
    own->interval = i->wish.retransmit;
    own->at = i->now + own->interval;
    parcel_clear(&own->parcel);
    if (exchange == IKE_SA_INIT) {
        uint8_t bytes[IKE_HEADER_SIZE];
        struct wr w = wr_of(bytes, sizeof bytes);
        struct buf *b = &sa->initial->request;
        h = i->draft.header;
        h.next = i->draft.first;
        h.length = (uint32_t)(IKE_HEADER_SIZE + i->draft.n);
        ike_header_write(&w, &h);
        OK(buf_set(b, wr_span(&w)));
        OK(buf_append(b, span_of(i->draft.bytes, i->draft.n)));
        parcel_add(&own->parcel, buf_span(b));
    } else {
        sa->mid_out++;
        if (exchange == IKE_INTERMEDIATE)
            chain_int_auth(i, sa);
        set_limit(i, sa);
        session_seal(&sa->s, &i->draft.header, i->draft.first, span_of(i->draft.bytes, i->draft.n), &own->parcel);
    }
    send(i, sa, &own->parcel);
}

static void answer(struct initiator *i, struct initiator_sa *sa, const struct ike_header *asked, struct ike_writer *iw)
{
    struct ike_header h = session_header(&sa->s, asked->exchange, true, asked->mid);
    finish_draft(i, &h, iw);
    set_limit(i, sa);
    session_seal(&sa->s, &i->draft.header, i->draft.first, span_of(i->draft.bytes, i->draft.n), &sa->answer);
    send(i, sa, &sa->answer);
}

/* ---- jobs */

void initiator_queue(struct initiator *i, struct initiator_job job)
{
    for (size_t k = 0; k < i->n_jobs; k++)
        if (i->job[k].type == job.type && i->job[k].spi_in == job.spi_in && i->job[k].spi_i == job.spi_i)
            return;
    assert_true(i->n_jobs < INITIATOR_JOBS);
    i->job[i->n_jobs++] = job;
}

void initiator_want(struct initiator *i, uint64_t now, struct initiator_job job)
{
    initiator_queue(i, job);
    initiator_tick(i, now);
}

static struct initiator_sa *sa_of_job(struct initiator *i, const struct initiator_job *job)
{
    if (job->spi_in) {
        struct initiator_child *child = initiator_child(i, job->spi_in);
        return child ? child->sa : NULL;
    }
    if (!job->spi_i)
        return initiator_current(i);
    for (size_t k = 0; k < i->n_sas; k++)
        if (i->sa[k]->s.spi_i == job->spi_i && i->sa[k]->stage == STAGE_UP)
            return i->sa[k];
    return NULL;
}

static void start_delete(struct initiator *i, struct initiator_sa *sa, struct initiator_job job)
{
    struct ike_writer iw = initiator_begin(i);
    if (job.type == JOB_IKE_DELETE) {
        sa->closing = true;
        ike_write_delete_ike(&iw);
    } else if (job.type == JOB_CHILD_DELETE) {
        initiator_child(i, job.spi_in)->deleting = true;
        ike_write_delete_esp(&iw, &job.spi_in, 1); /* RFC 7296 3.11: the SPI we receive with */
    }
    initiator_request(i, sa, job, INFORMATIONAL, &iw);
}

static void start(struct initiator *i, struct initiator_sa *sa, struct initiator_job job)
{
    const struct initiator_child *child = job.spi_in ? initiator_child(i, job.spi_in) : NULL;
    switch (job.type) {
    case JOB_CHILD_REKEY: /* pointless when they are at it, or it is over */
        if (child && !child->deleting && !child->replaced && !child->theirs)
            initiator_child_start(i, sa, job);
        break;
    case JOB_CHILD_NEW: initiator_child_start(i, sa, job); break;
    case JOB_IKE_REKEY:
        if (!sa->attempted && !sa->replaced && !sa->closing)
            initiator_ike_start(i, sa, job);
        break;
    case JOB_CHILD_DELETE:
    case JOB_IKE_DELETE:
    case JOB_ALIVE: start_delete(i, sa, job); break;
    case JOB_INIT: initiator_connect(i, i->now); break;
    case JOB_NONE:
    case JOB_INTERMEDIATE:
    case JOB_AUTH:
    case JOB_RAW: fail_msg("job %d cannot be wanted", job.type);
    }
}

static void run_jobs(struct initiator *i)
{
    for (size_t k = 0; k < i->n_jobs;) {
        struct initiator_job job = i->job[k];
        struct initiator_sa *sa = sa_of_job(i, &job);
        bool waits = job.at > i->now || (sa && sa->own.job.type != JOB_NONE);
        bool connecting = !sa && !job.spi_in && !job.spi_i && job.type != JOB_INIT && initiator_connecting(i);
        if (waits || connecting) {
            k++;
            continue;
        }
        i->n_jobs--;
        for (size_t m = k; m < i->n_jobs; m++)
            i->job[m] = i->job[m + 1];
        if (sa || job.type == JOB_INIT)
            start(i, sa, job);
    }
}

void initiator_say(struct initiator *i, uint64_t now, uint8_t exchange, uint8_t first, struct span inner)
{
    struct initiator_sa *sa = initiator_current(i);
    assert_non_null(sa);
    i->now = now;
    struct ike_writer iw = initiator_begin(i);
    wr_bytes(&iw.w, inner);
    iw.first = first;
    initiator_request(i, sa, (struct initiator_job){.type = JOB_RAW}, exchange, &iw);
}

bool initiator_busy(const struct initiator *i)
{
    for (size_t k = 0; k < i->n_sas; k++)
        if (i->sa[k]->own.job.type != JOB_NONE)
            return true;
    return i->n_jobs > 0;
}

/* ---- time */

void initiator_gone(struct initiator *i)
{
    i->gave_up++;
    forget_all(i);
    if (!i->wish.stay)
        return;
    i->reconnects++;
    initiator_connect(i, i->now);
}

static void repeat(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_request *own = &sa->own;
    own->tries++;
    own->interval = own->interval * 2 < INTERVAL_MAX ? own->interval * 2 : INTERVAL_MAX;
    own->at = i->now + own->interval;
    send(i, sa, &own->parcel);
}

void initiator_tick(struct initiator *i, uint64_t now)
{
    i->now = now;
    for (size_t k = 0; k < i->n_sas; k++) {
        struct initiator_sa *sa = i->sa[k];
        if (sa->own.job.type == JOB_NONE || sa->own.at > now)
            continue;
        if (sa->own.tries >= i->wish.tries) {
            initiator_gone(i);
            break;
        }
        repeat(i, sa);
    }
    for (size_t k = 0; k < i->n_sas; k++)
        if (i->sa[k]->redundant && i->sa[k]->redundant <= now && i->sa[k]->stage == STAGE_UP)
            initiator_sa_close(i, i->sa[k]);
    bury(i, CLOSED_LINGER);
    run_jobs(i);
}

uint64_t initiator_deadline(const struct initiator *i)
{
    uint64_t at = NEVER;
    for (size_t k = 0; k < i->n_sas; k++)
        if (i->sa[k]->own.job.type != JOB_NONE && i->sa[k]->own.at < at)
            at = i->sa[k]->own.at;
    for (size_t k = 0; k < i->n_sas; k++)
        if (i->sa[k]->redundant && i->sa[k]->stage == STAGE_UP && i->sa[k]->redundant < at)
            at = i->sa[k]->redundant;
    for (size_t k = 0; k < i->n_jobs; k++)
        if (i->job[k].at > i->now && i->job[k].at < at)
            at = i->job[k].at;
    return at;
}

/* ---- what comes in */

static void take_delete(struct initiator *i, struct initiator_sa *sa, struct span body, struct ike_writer *iw,
                        bool *ret_kill)
{
    struct ike_delete d;
    uint32_t gone[INITIATOR_CHILDREN];
    uint16_t n = 0;
    OK(ike_delete_read(body, &d));
    if (d.protocol == PROTO_IKE) {
        *ret_kill = true;
        return;
    }
    assert_int_equal(d.protocol, PROTO_ESP);
    while (d.n--) {
        uint32_t spi_out = rd_u32(&d.spis);
        for (size_t c = i->n_children; c-- > 0;) {
            struct initiator_child *child = &i->child[c];
            if (child->spi_out != spi_out || child->sa != sa)
                continue;
            /* RFC 7296 1.4.1: not if our own Delete for it is on its way */
            bool ours = sa->own.job.type == JOB_CHILD_DELETE && sa->own.job.spi_in == child->spi_in;
            if (!ours)
                gone[n++] = child->spi_in;
            initiator_child_drop(i, child);
        }
    }
    if (n)
        ike_write_delete_esp(iw, gone, n);
}

static void take_request(struct initiator *i, struct initiator_sa *sa)
{
    const struct plain *p = &i->last;
    struct ike_header asked = p->header;
    struct ike_writer iw = initiator_begin(i);
    bool kill = false;
    sa->mid_in++;
    switch (asked.exchange) {
    case INFORMATIONAL:
        for (size_t k = 0; k < p->chain.n; k++)
            if (p->chain.v[k].type == PAYLOAD_DELETE)
                take_delete(i, sa, p->chain.v[k].body, &iw, &kill);
        if (kill) /* RFC 7296 1.4.1: answered empty */
            iw = initiator_begin(i);
        break;
    case CREATE_CHILD_SA: initiator_create_request(i, sa, &iw); break;
    case IKE_FOLLOWUP_KE: initiator_followup_request(i, sa, &iw); break;
    default: fail_msg("the engine sent a request of exchange %u", asked.exchange);
    }
    answer(i, sa, &asked, &iw);
    if (!kill)
        return;
    if (sa->their_new && !sa->replaced) /* they have rekeyed it, and did not see that we would, too (RFC 7296 2.8.2) */
        initiator_inherit(i, sa, sa->their_new);
    initiator_sa_failed(i, sa);
}

static void take_informational(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_job job = sa->own.job;
    struct initiator_child *child = job.spi_in ? initiator_child(i, job.spi_in) : NULL;
    initiator_done(sa);
    if (job.type == JOB_IKE_DELETE)
        initiator_sa_close(i, sa);
    else if (job.type == JOB_CHILD_DELETE && child)
        initiator_child_drop(i, child);
}

static void take_response(struct initiator *i, struct initiator_sa *sa)
{
    i->refused = plain_error(&i->last);
    if (sa->own.job.type == JOB_RAW) {
        initiator_done(sa);
        return;
    }
    switch (sa->own.exchange) {
    case IKE_INTERMEDIATE: initiator_intermediate_response(i, sa); break;
    case IKE_AUTH: initiator_auth_response(i, sa); break;
    case INFORMATIONAL: take_informational(i, sa); break;
    case CREATE_CHILD_SA: initiator_create_response(i, sa); break;
    case IKE_FOLLOWUP_KE: initiator_followup_response(i, sa); break;
    default: fail_msg("no such exchange");
    }
}

/* Unprotected: a hint at most (RFC 7296 2.21.4). */
static void take_hint(struct initiator *i, struct initiator_sa *sa)
{
    if (sa->stage == STAGE_UP && !sa->closing)
        initiator_queue(i, (struct initiator_job){.type = JOB_ALIVE, .spi_i = sa->s.spi_i});
}

static void take_protected(struct initiator *i, struct initiator_sa *sa, const struct ike_header *h,
                           struct span datagram)
{
    bool response = h->flags & IKE_FLAG_RESPONSE;
    if (h->next != PAYLOAD_SK && h->next != PAYLOAD_SKF) {
        take_hint(i, sa);
        return;
    }
    if (response && (sa->own.job.type == JOB_NONE || h->mid != sa->own.mid || h->exchange != sa->own.exchange))
        return;
    if (!response && h->mid + 1 == sa->mid_in) { /* asked again: of fragments the first one counts (RFC 7383 2.6.1) */
        if (h->next == PAYLOAD_SK || (datagram.n > 33 && datagram.p[33] == 1 && datagram.p[32] == 0))
            send(i, sa, &sa->answer);
        return;
    }
    if (!response && (h->mid != sa->mid_in || sa->stage == STAGE_CLOSED))
        return;
    enum opened opened = session_open(&sa->s, datagram, &i->last);
    if (opened == OPENED_NOT) {
        if (!i->tampered) /* then nobody but the engine can have made it */
            fail_msg("a message of the engine does not authenticate");
        i->unauthentic++;
    }
    if (opened != OPENED_WHOLE)
        return;
    if (response)
        take_response(i, sa);
    else
        take_request(i, sa);
}

void initiator_input(struct initiator *i, uint64_t now, const struct endpoint *from, const struct endpoint *to,
                     struct span datagram)
{
    struct ike_header h;
    i->now = now;
    (void)to;
    OK(ike_header_read(datagram, &h));
    assert_int_equal(h.length, datagram.n);
    for (size_t k = 0; k < i->n_sas; k++) {
        struct initiator_sa *sa = i->sa[k];
        bool began = !(h.flags & IKE_FLAG_INITIATOR);
        if (sa->s.began != began || (began ? sa->s.spi_i != h.spi_i : sa->s.spi_r != h.spi_r))
            continue;
        if (h.exchange == IKE_SA_INIT) {
            if (sa->stage == STAGE_INIT && h.flags & IKE_FLAG_RESPONSE)
                initiator_init_response(i, sa, datagram);
        } else if (sa->stage != STAGE_INIT) {
            if (endpoint_equal(from, &sa->remote) || sa->stage == STAGE_UP)
                take_protected(i, sa, &h, datagram);
        }
        break;
    }
    initiator_tick(i, now);
}
