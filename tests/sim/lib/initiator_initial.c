/* The peer's first exchanges: IKE_SA_INIT with cookie and INVALID_KE_PAYLOAD, IKE_INTERMEDIATE, IKE_AUTH; see initiator.h. */
#include "initiator.h"

void initiator_flag(struct ike_writer *iw, uint16_t type)
{
    ike_write_notify(iw, PROTO_NONE, span_of(NULL, 0), type, span_of(NULL, 0));
}

void initiator_initial_free(struct initiator_initial *n)
{
    if (!n)
        return;
    crypto_ke_free(n->ke);
    buf_free(&n->cookie);
    buf_free(&n->request);
    buf_free(&n->response);
    free(n);
}

/* ---- proposals, of IKE SAs and children alike */

size_t initiator_transforms(const struct suite *s, bool ike, bool esn, struct ike_transform_out ret[16])
{
    size_t n = 0;
    ret[n++] = (struct ike_transform_out){T_ENCR, s->encr, s->encr_bits};
    if (ike)
        ret[n++] = (struct ike_transform_out){T_PRF, s->prf, 0};
    if (s->integ)
        ret[n++] = (struct ike_transform_out){T_INTEG, s->integ, 0};
    if (s->ke)
        ret[n++] = (struct ike_transform_out){T_KE, s->ke, 0};
    if (!ike)
        ret[n++] = (struct ike_transform_out){T_ESN, esn, 0};
    for (uint8_t k = 0; k < ADDKE_MAX && s->addke[k]; k++)
        ret[n++] = (struct ike_transform_out){(uint8_t)(T_ADDKE1 + k), s->addke[k], 0};
    return n;
}

/* The single proposal of an answer. */
bool initiator_suite_read(struct span body, uint8_t protocol, struct suite *ret, struct span *ret_spi)
{
    struct ike_error error;
    struct ike_proposal p;
    struct ike_transform t;
    struct suite s = {0};
    size_t addke = 0;
    struct rd r = rd_of(body);
    OK(ike_sa_check(body, &error));
    if (!ike_proposal_next(&r, &p) || p.protocol != protocol)
        return false;
    while (ike_transform_next(&p.transforms, &t)) {
        assert_true(t.acceptable);
        if (t.type == T_ENCR) {
            s.encr = t.id;
            s.encr_bits = t.key_bits;
        } else if (t.type == T_PRF) {
            s.prf = t.id;
        } else if (t.type == T_INTEG) {
            s.integ = t.id;
        } else if (t.type == T_KE) {
            s.ke = t.id;
        } else if (t.type >= T_ADDKE1 && t.id != KE_NONE) {
            s.addke[addke++] = t.id;
        }
    }
    *ret = s;
    *ret_spi = p.spi;
    return true;
}

/* ---- NAT detection, RFC 7296 2.23 */

struct natd {
    uint8_t b[20];
};

static struct natd natd_of(struct initiator *i, uint64_t spi_i, uint64_t spi_r, const struct endpoint *e)
{
    uint8_t spis[16], port[2];
    struct natd ret;
    struct wr w = wr_of(spis, sizeof spis), p = wr_of(port, sizeof port);
    wr_u64(&w, spi_i);
    wr_u64(&w, spi_r);
    wr_u16(&p, e->port);
    const struct span parts[] = {wr_span(&w), span_of(e->addr.b, addr_size(&e->addr)), wr_span(&p)};
    crypto_sha1(i->crypto, parts, ARRAY_LEN(parts), ret.b);
    return ret;
}

static bool natd_says(const struct ike_chain *chain, uint16_t type, const struct natd *expected)
{
    struct ike_notify n = {0};
    if (!ike_notify_find(chain, type, &n))
        return true; /* it says nothing */
    assert_int_equal(n.data.n, sizeof expected->b);
    return span_equal(n.data, span_of(expected->b, sizeof expected->b));
}

/* ---- IKE_SA_INIT */

void initiator_init_again(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_initial *n = sa->initial;
    struct ike_transform_out t[16];
    const struct initiator_wish *wish = &i->wish;
    size_t n_t = initiator_transforms(&wish->ike, true, false, t);
    if (n->method != wish->ike.ke) /* RFC 7296 1.2: the guess stands among the offers */
        t[n_t++] = (struct ike_transform_out){T_KE, n->method, 0};
    struct ike_writer iw = initiator_begin(i);
    if (n->cookie.n) /* RFC 7296 2.6: first */
        ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_COOKIE, buf_span(&n->cookie));
    ike_write_sa(&iw, 1, PROTO_IKE, span_of(NULL, 0), t, n_t);
    ike_write_ke(&iw, n->method, span_of(n->public.b, n->public.n));
    ike_write_nonce(&iw, span_of(n->ni, sizeof n->ni));
    if (wish->natd) {
        struct natd src = natd_of(i, sa->s.spi_i, 0, &i->local), dst = natd_of(i, sa->s.spi_i, 0, &i->remote);
        ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_NAT_DETECTION_SOURCE_IP, span_of(src.b, sizeof src.b));
        ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), N_NAT_DETECTION_DESTINATION_IP,
                         span_of(dst.b, sizeof dst.b));
    }
    if (!wish->no_fragmentation)
        initiator_flag(&iw, N_IKEV2_FRAGMENTATION_SUPPORTED);
    if (!wish->no_intermediate)
        initiator_flag(&iw, N_INTERMEDIATE_EXCHANGE_SUPPORTED);
    if (wish->full_transcript)
        initiator_flag(&iw, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH);
    initiator_request(i, sa, (struct initiator_job){.type = JOB_INIT}, IKE_SA_INIT, &iw);
}

static void begin_ke(struct initiator *i, struct initiator_initial *n, uint16_t method)
{
    crypto_ke_free(n->ke);
    n->ke = NULL;
    n->method = method;
    OK(crypto_ke_begin(i->crypto, method, &n->ke, &n->public));
}

void initiator_connect(struct initiator *i, uint64_t now)
{
    i->now = now;
    struct initiator_sa *sa = initiator_sa_new(i);
    sa->initial = calloc(1, sizeof *sa->initial);
    assert_non_null(sa->initial);
    sa->s.began = true;
    sa->s.spi_i = rng_u64(i->rng) | 1;
    begin_ke(i, sa->initial, i->wish.ke_guess ? i->wish.ke_guess : i->wish.ike.ke);
    rng_fill(i->rng, sa->initial->ni, sizeof sa->initial->ni);
    initiator_init_again(i, sa);
}

static struct ike_nonces nonces_of(const struct initiator_sa *sa)
{
    const struct initiator_initial *n = sa->initial;
    return (struct ike_nonces){span_of(n->ni, sizeof n->ni), span_of(n->nr, n->n_nr)};
}

/* An answer that makes no SA. */
static void refused_init(struct initiator *i, struct initiator_sa *sa, const struct ike_chain *chain)
{
    struct initiator_initial *n = sa->initial;
    struct ike_notify notify = {0};
    assert_int_equal(chain->n, 1);
    OK(ike_notify_read(chain->v[0].body, &notify));
    struct rd r = rd_of(notify.data);
    uint16_t method;
    switch (notify.type) {
    case N_COOKIE:
        assert_in_range(notify.data.n, 1, 64);
        if (span_equal(buf_span(&n->cookie), notify.data)) /* doubled on the way */
            return;
        OK(buf_set(&n->cookie, notify.data));
        i->cookies++;
        break;
    case N_INVALID_KE_PAYLOAD:
        method = rd_u16(&r);
        assert_true(rd_done(&r));
        assert_int_equal(method, i->wish.ike.ke);
        if (method == n->method)
            return;
        i->wrong_ke++;
        begin_ke(i, n, method);
        break;
    default:
        i->refused = notify.type;
        initiator_sa_failed(i, sa);
        return;
    }
    initiator_done(sa);
    initiator_init_again(i, sa); /* the rest unchanged, RFC 7296 2.6 */
}

static void first_keys(struct initiator *i, struct initiator_sa *sa, struct span public)
{
    struct ke_secret secret;
    uint8_t seed[PRF_MAX];
    uint16_t prf = sa->s.suite.prf;
    OK(crypto_ke_finish(sa->initial->ke, public, &secret));
    OK(ike_keys_seed_initial(i->crypto, prf, nonces_of(sa), span_of(secret.b, secret.n), seed));
    OK(ike_keys_derive(i->crypto, prf, session_alg(&sa->s), span_of(seed, crypto_prf_size(prf)), nonces_of(sa),
                       sa->s.spi_i, sa->s.spi_r, &sa->s.keys));
}

static void read_notifies(struct initiator *i, struct initiator_sa *sa, const struct ike_chain *chain)
{
    struct ike_notify n;
    struct natd src = natd_of(i, sa->s.spi_i, sa->s.spi_r, &i->remote);
    struct natd dst = natd_of(i, sa->s.spi_i, sa->s.spi_r, &i->local);
    bool nat =
        !natd_says(chain, N_NAT_DETECTION_SOURCE_IP, &src) || !natd_says(chain, N_NAT_DETECTION_DESTINATION_IP, &dst);
    if (nat)
        sa->port = sa->remote.port = 4500;
    sa->initial->transcript = i->wish.full_transcript && ike_notify_find(chain, N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, &n);
    /* What was negotiated needs the announcement (RFC 9370 2.2.1, RFC 7383 2.3). */
    if (i->tampered)
        return;
    if (sa->s.suite.addke[0])
        assert_true(ike_notify_find(chain, N_INTERMEDIATE_EXCHANGE_SUPPORTED, &n));
    assert_int_equal(ike_notify_find(chain, N_IKEV2_FRAGMENTATION_SUPPORTED, &n), !i->wish.no_fragmentation);
}

void initiator_init_response(struct initiator *i, struct initiator_sa *sa, struct span datagram)
{
    struct initiator_initial *n = sa->initial;
    struct ike_header h;
    struct ike_chain chain;
    struct ike_error error;
    struct ike_ke ke;
    struct span spi = {0};
    struct rd r = rd_of(datagram);
    OK(ike_header_read(datagram, &h));
    rd_take(&r, IKE_HEADER_SIZE);
    OK(ike_chain_read(h.next, rd_rest(&r), &chain, &error));
    OK(ike_shape_check(IKE_SA_INIT, true, false, &chain, &error));
    if (!ike_chain_find(&chain, PAYLOAD_SA)) {
        refused_init(i, sa, &chain);
        return;
    }
    assert_int_not_equal(h.spi_r, 0);
    assert_true(initiator_suite_read(ike_chain_find(&chain, PAYLOAD_SA)->body, PROTO_IKE, &sa->s.suite, &spi));
    assert_int_equal(spi.n, 0);
    OK(ike_ke_read(ike_chain_find(&chain, PAYLOAD_KE)->body, &ke));
    struct span nonce = ike_chain_find(&chain, PAYLOAD_NONCE)->body;
    assert_in_range(nonce.n, 16, sizeof n->nr);
    assert_true(nonce.n * 2 >= crypto_prf_size(sa->s.suite.prf)); /* RFC 7296 2.10 */
    assert_int_equal(ke.method, sa->s.suite.ke);
    if (ke.method != n->method) /* an answer to our request before the last */
        return;
    memcpy(n->nr, nonce.p, nonce.n);
    n->n_nr = nonce.n;
    OK(buf_set(&n->response, datagram));
    sa->s.spi_r = h.spi_r;
    initiator_done(sa);
    first_keys(i, sa, ke.data);
    read_notifies(i, sa, &chain);
    sa->mid_out = 1;
    sa->stage = sa->s.suite.addke[0] ? STAGE_KEYS : STAGE_AUTH;
    if (sa->stage == STAGE_KEYS)
        initiator_intermediate_start(i, sa);
    else
        initiator_auth_start(i, sa);
}

/* ---- IKE_INTERMEDIATE */

void initiator_intermediate_start(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_initial *n = sa->initial;
    begin_ke(i, n, sa->s.suite.addke[n->addke_done]);
    struct ike_writer iw = initiator_begin(i);
    ike_write_ke(&iw, n->method, span_of(n->public.b, n->public.n));
    initiator_request(i, sa, (struct initiator_job){.type = JOB_INTERMEDIATE}, IKE_INTERMEDIATE, &iw);
}

void initiator_intermediate_response(struct initiator *i, struct initiator_sa *sa)
{
    struct initiator_initial *n = sa->initial;
    const struct plain *p = &i->last;
    const struct ike_payload *payload = ike_chain_find(&p->chain, PAYLOAD_KE);
    struct ike_keys *k = &sa->s.keys;
    struct ke_secret secret;
    struct ike_ke ke;
    uint8_t a[32], seed[PRF_MAX];
    uint16_t prf = sa->s.suite.prf;
    if (!payload) {
        assert_int_not_equal(i->refused, 0);
        initiator_sa_failed(i, sa);
        return;
    }
    OK(ike_ke_read(payload->body, &ke));
    assert_int_equal(ke.method, sa->s.suite.addke[n->addke_done]);
    session_a(&p->header, p->first, p->reserved, p->n, a);
    OK(ike_keys_int_auth(i->crypto, prf, span_of(k->pr, k->n_prf), span_of(n->int_auth_r, n->int_auth ? k->n_prf : 0),
                         span_of(a, sizeof a), span_of(p->text, p->n), n->int_auth_r));
    OK(crypto_ke_finish(n->ke, ke.data, &secret));
    OK(ike_keys_seed_intermediate(i->crypto, prf, span_of(k->d, k->n_prf), span_of(secret.b, secret.n), nonces_of(sa),
                                  seed));
    OK(ike_keys_derive(i->crypto, prf, session_alg(&sa->s), span_of(seed, crypto_prf_size(prf)), nonces_of(sa),
                       sa->s.spi_i, sa->s.spi_r, k));
    n->int_auth = true;
    n->addke_done++;
    initiator_done(sa);
    if (n->addke_done < ADDKE_MAX && sa->s.suite.addke[n->addke_done]) {
        initiator_intermediate_start(i, sa);
    } else {
        sa->stage = STAGE_AUTH;
        initiator_auth_start(i, sa);
    }
}

/* ---- IKE_AUTH */

static void sign(struct initiator *i, const struct initiator_sa *sa, bool ours, uint32_t mid, struct span maced,
                 uint8_t ret[PRF_MAX])
{
    const struct initiator_initial *n = sa->initial;
    const struct ike_keys *k = &sa->s.keys;
    const struct ike_auth_input in = {
        .message = buf_span(ours ? &n->request : &n->response),
        .peer_message = buf_span(ours ? &n->response : &n->request),
        .full_transcript = n->transcript,
        .peer_nonce = ours ? nonces_of(sa).nr : nonces_of(sa).ni,
        .sk_p = span_of(ours ? k->pi : k->pr, k->n_prf),
        .id = maced,
        .int_auth_i = span_of(n->int_auth_i, n->int_auth ? k->n_prf : 0),
        .int_auth_r = span_of(n->int_auth_r, n->int_auth ? k->n_prf : 0),
        .auth_mid = mid,
    };
    OK(ike_keys_auth(i->crypto, sa->s.suite.prf, span_str(i->wish.psk), &in, ret));
}

void initiator_write_ts(struct ike_writer *iw, uint8_t payload, const struct ts *ts)
{
    const struct ike_ts w = {
        .type = ts->first.family == 6 ? TS_IPV6_ADDR_RANGE : TS_IPV4_ADDR_RANGE,
        .proto = ts->proto,
        .port_first = ts->port_first,
        .port_last = ts->port_last,
        .first = ts->first,
        .last = ts->last,
    };
    ike_write_ts(iw, payload, &w, 1);
}

void initiator_auth_start(struct initiator *i, struct initiator_sa *sa)
{
    const struct initiator_wish *wish = &i->wish;
    uint8_t maced[4 + IDENTITY_MAX], auth[PRF_MAX], spi[4];
    struct ike_transform_out t[16];
    struct suite esp = wish->esp;
    struct wr w = wr_of(maced, sizeof maced), s = wr_of(spi, sizeof spi);
    wr_u8(&w, wish->id.type);
    wr_reserve(&w, 3);
    wr_bytes(&w, span_of(wish->id.data, wish->id.n));
    sign(i, sa, true, sa->mid_out, wr_span(&w), auth);
    sa->initial->spi_in = rng_u32(i->rng) | 0x80000000u;
    wr_u32(&s, sa->initial->spi_in);
    esp.ke = 0; /* RFC 7296 1.2: no key exchange in IKE_AUTH */
    esp.addke[0] = 0;

    struct ike_writer iw = initiator_begin(i);
    ike_write_id(&iw, PAYLOAD_IDI, wish->id.type, span_of(wish->id.data, wish->id.n));
    ike_write_auth(&iw, AUTH_SHARED_KEY_MIC, span_of(auth, sa->s.keys.n_prf));
    if (wish->initial_contact)
        initiator_flag(&iw, N_INITIAL_CONTACT);
    ike_write_sa(&iw, 1, PROTO_ESP, wr_span(&s), t, initiator_transforms(&esp, false, wish->esn, t));
    initiator_write_ts(&iw, PAYLOAD_TSI, &wish->ts_local);
    initiator_write_ts(&iw, PAYLOAD_TSR, &wish->ts_remote);
    initiator_request(i, sa, (struct initiator_job){.type = JOB_AUTH}, IKE_AUTH, &iw);
}

void initiator_read_ts(const struct plain *p, uint8_t payload, struct ts *ret)
{
    struct ike_ts w;
    struct rd r;
    uint8_t n;
    assert_non_null(ike_chain_find(&p->chain, payload));
    OK(ike_ts_read(ike_chain_find(&p->chain, payload)->body, &n, &r));
    assert_true(n >= 1);
    assert_true(ike_ts_next(&r, &w));
    *ret = (struct ts){w.proto, w.port_first, w.port_last, w.first, w.last};
}

/* The first child, keyed by the nonces of IKE_SA_INIT. */
static void first_child(struct initiator *i, struct initiator_sa *sa)
{
    const struct plain *p = &i->last;
    struct initiator_exchange x = {.ours = true, .spi_in = sa->initial->spi_in};
    struct ike_nonces n = nonces_of(sa);
    struct span spi = {0};
    assert_true(initiator_suite_read(ike_chain_find(&p->chain, PAYLOAD_SA)->body, PROTO_ESP, &x.suite, &spi));
    struct rd r = rd_of(spi);
    x.spi_out = rd_u32(&r);
    assert_true(rd_done(&r));
    initiator_read_ts(p, PAYLOAD_TSI, &x.ts_local);
    initiator_read_ts(p, PAYLOAD_TSR, &x.ts_remote);
    memcpy(x.ni, n.ni.p, n.ni.n);
    memcpy(x.nr, n.nr.p, n.nr.n);
    x.n_ni = n.ni.n;
    x.n_nr = n.nr.n;
    initiator_make_child(i, sa, &x);
}

void initiator_auth_response(struct initiator *i, struct initiator_sa *sa)
{
    const struct plain *p = &i->last;
    const struct ike_payload *idr = ike_chain_find(&p->chain, PAYLOAD_IDR),
                             *pl = ike_chain_find(&p->chain, PAYLOAD_AUTH);
    struct ike_id id = {0};
    struct ike_auth auth = {0};
    uint8_t expected[PRF_MAX];
    uint32_t mid = sa->own.mid;
    initiator_done(sa);
    if (!idr || !pl) {
        assert_int_not_equal(i->refused, 0);
        initiator_sa_failed(i, sa);
        return;
    }
    OK(ike_id_read(idr->body, &id));
    OK(ike_auth_read(pl->body, &auth));
    sign(i, sa, false, mid, id.maced, expected);
    if (auth.method != AUTH_SHARED_KEY_MIC || !span_equal(auth.data, span_of(expected, sa->s.keys.n_prf))) {
        if (!i->tampered)
            fail_msg("the engine's AUTH is wrong");
        i->engine_unproved++;
        initiator_sa_failed(i, sa);
        return;
    }
    sa->stage = STAGE_UP;
    i->child_refused = i->refused;
    if (ike_chain_find(&p->chain, PAYLOAD_SA))
        first_child(i, sa);
    else
        assert_int_not_equal(i->child_refused, 0);
    initiator_initial_free(sa->initial);
    sa->initial = NULL;
    if (!i->wish.initial_contact)
        return;
    for (size_t k = 0; k < i->n_sas; k++) /* there is nothing else any more, we said */
        if (i->sa[k] != sa && i->sa[k]->stage != STAGE_CLOSED)
            initiator_sa_close(i, i->sa[k]);
}
