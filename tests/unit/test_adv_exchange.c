/* Adversarial list, rows 13-16, 25: additional key exchanges, a man in the middle, repeated requests. */
#include "lib/adv_exchange.h"

/* ---- rows 13, 14 */

static void adv_13_auth_without_the_negotiated_exchange(void **state)
{
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    struct initiator_sa *sa = adv->i->sa[0];
    initiator_forget_out(adv->i);
    initiator_done(sa);
    sa->mid_out--;
    initiator_auth_start(adv->i, sa); /* a good AUTH, for the keys there are */
    for (int k = 0; k < 3; k++) {
        adv_silent(adv, buf_span(&adv->i->out[0].bytes), IKE_COUNT_DROP_EXCHANGE);
        assert_int_equal(sas(), 1);
        adv->e->now += 9 * NS_PER_S;
        edge_tick(adv->e);
    }
    adv->e->now += 4 * NS_PER_S;
    edge_tick(adv->e);
    edge_assert_empty(adv->e);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_ESTABLISHED), 0);
}

static void adv_14_intermediate_nobody_asked_for(void **state)
{
    uint8_t junk[100] = {0};
    (void)state;
    pair_connect_to(adv, IKE_AUTH);
    silent(sealed(IKE_INTERMEDIATE, 1, PAYLOAD_KE, span_of(junk, sizeof junk), 0, 0), IKE_COUNT_DROP_EXCHANGE);
    finish_handshake();
    uint32_t mid = initiator_current(adv->i)->mid_out;
    silent(sealed(IKE_INTERMEDIATE, mid, PAYLOAD_KE, span_of(junk, sizeof junk), 0, 0), IKE_COUNT_DROP_EXCHANGE);
}

static void adv_14_intermediate_once_more(void **state)
{
    uint8_t junk[100] = {0};
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_AUTH);
    silent(sealed(IKE_INTERMEDIATE, 2, PAYLOAD_KE, span_of(junk, sizeof junk), 0, 0), IKE_COUNT_DROP_EXCHANGE);
    finish_handshake();
}

static void adv_14_intermediate_with_a_wrong_message_id(void **state)
{
    uint8_t junk[100] = {0};
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    static const uint32_t MIDS[] = {0, 2, 3, 0xffffffff};
    for (size_t k = 0; k < ARRAY_LEN(MIDS); k++)
        silent(sealed(IKE_INTERMEDIATE, MIDS[k], PAYLOAD_KE, span_of(junk, sizeof junk), 0, 0),
               IKE_COUNT_DROP_MESSAGE_ID);
    finish_handshake();
}

static void second_first(struct draft *d, const void *arg)
{
    struct ke *ke;
    struct ke_value public;
    uint8_t body[4 + KE_PUBLIC_MAX];
    struct wr w = wr_of(body, sizeof body);
    (void)arg;
    OK(crypto_ke_begin(adv->i->crypto, KE_ML_KEM_1024, &ke, &public));
    crypto_ke_free(ke);
    wr_u16(&w, KE_ML_KEM_1024);
    wr_u16(&w, 0);
    wr_bytes(&w, span_of(public.b, public.n));
    draft_replace(d, PAYLOAD_KE, wr_span(&w));
}

static void adv_14_additional_exchanges_in_another_order(void **state)
{
    struct adv_bend b = {IKE_INTERMEDIATE, second_first, NULL};
    (void)state;
    hybrid();
    adv->i->wish.ike.addke[1] = KE_ML_KEM_1024;
    adv_bend(adv, &b);
    initiator_connect(adv->i, adv->e->now);
    pair_carry(adv);
    assert_int_equal(adv->i->refused, N_INVALID_SYNTAX);
    assert_true(ike_idle(adv->e->ike));
}

static void eighth(struct draft *d, const void *arg)
{
    (void)arg;
    draft_replace(
        d, PAYLOAD_SA,
        hex("0000002c 01010004 0300000c 01000014 800e0100 03000008 02000006 03000008 04000013 00000008 0d000024"));
}

static void adv_14_an_eighth_additional_exchange(void **state)
{
    struct adv_bend b = {IKE_SA_INIT, eighth, NULL};
    struct ike_notify n;
    (void)state;
    adv_bend(adv, &b);
    initiator_connect(adv->i, adv->e->now);
    pair_give(adv);
    assert_int_equal(pair_plain_notify(adv, &n), N_NO_PROPOSAL_CHOSEN);
}

static void no_ke(struct draft *d, const void *arg)
{
    draft_replace(d, PAYLOAD_KE, hex("0024 0000"));
    if (arg)
        draft_remove(d, PAYLOAD_KE);
}

static void adv_14_intermediate_without_a_key(void **state)
{
    static const int GONE = 1;
    struct adv_bend b[] = {{IKE_INTERMEDIATE, no_ke, NULL}, {IKE_INTERMEDIATE, no_ke, &GONE}};
    (void)state;
    hybrid();
    for (size_t k = 0; k < ARRAY_LEN(b); k++) {
        adv_bend(adv, &b[k]);
        initiator_connect(adv->i, adv->e->now);
        pair_carry(adv);
        assert_int_equal(adv->i->refused, N_INVALID_SYNTAX);
        assert_true(ike_idle(adv->e->ike));
    }
}

/* ---- row 15: somebody on the way changes IKE_SA_INIT */

enum strip { STRIP_ADDKE, STRIP_INTERMEDIATE, STRIP_FRAGMENTATION, STRIP_TRANSCRIPT, STRIPS };

/* Take the additional key exchange out of a proposal of four transforms, the last of which it is. */
static void strip_addke(struct draft *d)
{
    struct ike_chain chain;
    struct ike_error error;
    uint8_t body[256];
    OK(ike_chain_read(d->first, span_of(d->bytes, d->n), &chain, &error));
    struct span sa = ike_chain_find(&chain, PAYLOAD_SA)->body;
    struct wr w = wr_of(body, sizeof body);
    wr_bytes(&w, span_of(sa.p, sa.n - 8));
    wr_patch_u16(&w, 2, (uint16_t)(sa.n - 8));
    wr_patch_u8(&w, 7, 3);
    wr_patch_u8(&w, sa.n - 16, 0); /* now the last transform */
    assert_false(w.failed);
    draft_replace(d, PAYLOAD_SA, wr_span(&w));
}

static struct buf stripped(struct span message, enum strip what)
{
    static struct draft d;
    static const uint16_t NOTIFY[] = {0, N_INTERMEDIATE_EXCHANGE_SUPPORTED, N_IKEV2_FRAGMENTATION_SUPPORTED,
                                      N_IKE_SA_INIT_FULL_TRANSCRIPT_AUTH};
    struct buf b = {0};
    OK(ike_header_read(message, &d.header));
    d.first = d.header.next;
    d.n = message.n - IKE_HEADER_SIZE;
    memcpy(d.bytes, message.p + IKE_HEADER_SIZE, d.n);
    if (what == STRIP_ADDKE)
        strip_addke(&d);
    else
        draft_remove_notify(&d, NOTIFY[what]);
    OK(buf_set(&b, adv_message(d.header.spi_i, d.header.spi_r, d.first, d.header.exchange, d.header.flags, d.header.mid,
                               span_of(d.bytes, d.n))));
    return b;
}

static void never_comes_up(void)
{
    assert_int_equal(edge_count(adv->e, IKE_COUNT_ESTABLISHED) * (initiator_current(adv->i) != NULL), 0);
    assert_int_equal(adv->i->n_children, 0);
}

static void adv_15_request_stripped_on_the_way(void **state)
{
    const struct ike_policy policy = adv_policy();
    (void)state;
    for (int transcript = 0; transcript < 2; transcript++)
        for (enum strip what = 0; what < STRIPS; what++) {
            if (what == STRIP_TRANSCRIPT && !transcript)
                continue;
            adv_start_over(&policy);
            hybrid();
            adv->i->wish.full_transcript = transcript;
            adv->i->tampered = true;
            initiator_connect(adv->i, adv->e->now);
            struct buf b = stripped(buf_span(&adv->i->out[0].bytes), what);
            initiator_forget_out(adv->i);
            pair_give_octets(adv, buf_span(&b));
            buf_free(&b);
            pair_carry(adv);
            never_comes_up();
            assert_int_equal(edge_count(adv->e, IKE_COUNT_ESTABLISHED), 0);
        }
}

static void adv_15_response_stripped_on_the_way(void **state)
{
    const struct ike_policy policy = adv_policy();
    (void)state;
    for (int transcript = 0; transcript < 2; transcript++)
        for (enum strip what = 0; what < STRIPS; what++) {
            if (what == STRIP_TRANSCRIPT && !transcript)
                continue;
            adv_start_over(&policy);
            hybrid();
            adv->i->wish.full_transcript = transcript;
            adv->i->tampered = true;
            initiator_connect(adv->i, adv->e->now);
            pair_give(adv);
            struct buf b = stripped(buf_span(&edge_act(adv->e, ACT_SEND)->datagram), what);
            edge_clear(adv->e);
            initiator_input(adv->i, adv->e->now, &adv->path.local, &adv->path.remote, buf_span(&b));
            buf_free(&b);
            pair_carry(adv);
            never_comes_up();
            if (transcript) /* then the edge itself refuses: what it sent is not what the peer got */
                assert_int_equal(edge_count(adv->e, IKE_COUNT_ESTABLISHED), 0);
        }
}

static void adv_15_pq_required_is_never_classical(void **state)
{
    struct tunnel_policy t = edge_tunnel();
    (void)state;
    t.pq = PQ_REQUIRE;
    edge_set(adv->e, &t);
    initiator_connect(adv->i, adv->e->now);
    pair_carry(adv);
    assert_int_equal(adv->i->refused, N_AUTHENTICATION_FAILED);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_FAIL_PQ_REQUIRED), 1);
    hybrid();
    pair_connect(adv);
}

/* ---- row 16 */

static void adv_16_any_bit_of_the_request(void **state)
{
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    unsigned bit = 0;
    for (size_t d = 0; d < adv->i->n_out; d++) {
        struct span good = buf_span(&adv->i->out[d].bytes);
        for (size_t k = 0; k < good.n; k++) {
            struct span bent = exact_copy(good);
            ((uint8_t *)(uintptr_t)bent.p)[k] ^= (uint8_t)(1 << (bit++ % 8));
            pair_give_octets(adv, bent);
            exact_free(bent);
            for (size_t a = 0; a < adv->e->acts.n; a++) { /* a header that names no SA may be told so */
                assert_true(k < IKE_HEADER_SIZE);
                assert_int_equal(adv->e->acts.v[a].type, ACT_SEND);
            }
        }
    }
    assert_int_equal(sas(), 1);
    edge_clear(adv->e);
    finish_handshake();
}

static void adv_16_any_bit_of_the_response(void **state)
{
    (void)state;
    hybrid();
    adv->i->tampered = true;
    pair_connect_to(adv, IKE_INTERMEDIATE);
    pair_give(adv);
    unsigned bit = 0;
    for (size_t a = 0; a < adv->e->acts.n; a++) {
        struct span good = buf_span(&adv->e->acts.v[a].datagram);
        for (size_t k = IKE_HEADER_SIZE; k < good.n; k++) {
            struct span bent = exact_copy(good);
            ((uint8_t *)(uintptr_t)bent.p)[k] ^= (uint8_t)(1 << (bit++ % 8));
            initiator_input(adv->i, adv->e->now, &adv->path.local, &adv->path.remote, bent);
            exact_free(bent);
            assert_int_equal(adv->i->n_out, 0);
        }
    }
    assert_true(adv->i->unauthentic > 1000);
    finish_handshake();
}

static void adv_16_transcripts_that_differ(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        hybrid();
        pair_connect_to(adv, IKE_INTERMEDIATE);
        struct initiator_sa *sa = adv->i->sa[adv->i->n_sas - 1];
        pair_give(adv);
        if (which == 0)
            sa->initial->int_auth_i[0] ^= 1;
        adv->i->bend = NULL;
        assert_true(pair_take(adv));
        if (which == 1) { /* the peer took note of another answer */
            initiator_forget_out(adv->i);
            initiator_done(sa);
            sa->mid_out--;
            sa->initial->int_auth_r[0] ^= 1;
            initiator_auth_start(adv->i, sa);
        }
        pair_carry(adv);
        assert_int_equal(adv->i->refused, N_AUTHENTICATION_FAILED);
        assert_true(ike_idle(adv->e->ike));
    }
    assert_int_equal(edge_count(adv->e, IKE_COUNT_FAIL_PSK), 2);
}

/* ---- row 25 */

static void adv_25_repeated_requests(void **state)
{
    struct ike_writer iw;
    uint8_t bytes[64];
    (void)state;
    pair_connect(adv);
    initiator_want(adv->i, adv->e->now,
                   (struct initiator_job){.type = JOB_CHILD_DELETE, .spi_in = adv->i->child[0].spi_in});
    pair_give(adv);
    assert_int_equal(adv->e->child_downs, 1);
    struct span first = exact_copy(buf_span(&edge_act(adv->e, ACT_SEND)->datagram));
    size_t answered = 0;
    for (int k = 0; k < 100; k++) {
        pair_give_again(adv);
        if (edge_sent(adv->e)) {
            answered++;
            assert_span_equal(buf_span(&edge_act(adv->e, ACT_SEND)->datagram), first);
        }
    }
    assert_in_range(answered, 1, 20);
    assert_int_equal(adv->e->child_downs, 1); /* done once */
    edge_clear(adv->e);
    initiator_done(initiator_current(adv->i));
    initiator_child_drop(adv->i, &adv->i->child[0]);
    adv->e->now += 10 * NS_PER_S;

    /* Another content under the same number: the answer of then, and not done. */
    uint32_t mid = initiator_current(adv->i)->mid_out;
    ike_write_inner(&iw, wr_of(bytes, sizeof bytes));
    ike_write_delete_ike(&iw);
    struct span inner;
    OK(ike_write_finish(&iw, &inner));
    struct buf b = sealed(INFORMATIONAL, mid - 1, PAYLOAD_DELETE, inner, 0, 0);
    pair_give_octets(adv, buf_span(&b));
    buf_free(&b);
    assert_span_equal(buf_span(&edge_act(adv->e, ACT_SEND)->datagram), first);
    assert_null(edge_act(adv->e, ACT_DOWN));
    exact_free(first);
    static const int OFF[] = {-2, 1, 2, 1000};
    for (size_t k = 0; k < ARRAY_LEN(OFF); k++)
        silent(sealed(INFORMATIONAL, mid + (uint32_t)OFF[k], PAYLOAD_DELETE, inner, 0, 0), IKE_COUNT_DROP_MESSAGE_ID);
    edge_clear(adv->e);
    pair_assert_agree(adv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADV(adv_13_auth_without_the_negotiated_exchange),
        ADV(adv_14_intermediate_nobody_asked_for),
        ADV(adv_14_intermediate_once_more),
        ADV(adv_14_intermediate_with_a_wrong_message_id),
        ADV(adv_14_additional_exchanges_in_another_order),
        ADV(adv_14_an_eighth_additional_exchange),
        ADV(adv_14_intermediate_without_a_key),
        ADV(adv_15_request_stripped_on_the_way),
        ADV(adv_15_response_stripped_on_the_way),
        ADV(adv_15_pq_required_is_never_classical),
        ADV(adv_16_any_bit_of_the_request),
        ADV(adv_16_any_bit_of_the_response),
        ADV(adv_16_transcripts_that_differ),
        ADV(adv_25_repeated_requests),
    };
    return cmocka_run_group_tests_name("adversarial: exchanges", tests, NULL, NULL);
}
