/* Adversarial list, rows 1-5, 26, 38: headers, chains and messages that belong to nothing. */
#include "lib/adv.h"

static void set_length(struct span s, uint32_t n)
{
    struct wr w = wr_of((void *)(uintptr_t)(s.p + 24), 4);
    wr_u32(&w, n);
}

/* The peer's good IKE_SA_INIT, which it then forgets. */
static struct span good_init(void)
{
    initiator_connect(adv->i, adv->e->now);
    struct span copy = exact_copy(buf_span(&adv->i->out[0].bytes));
    initiator_forget_out(adv->i);
    return copy;
}

static void adv_01_header_and_datagram_length(void **state)
{
    (void)state;
    struct span init = good_init();
    static const uint32_t LIES[] = {0, 1, 27, 28, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t k = 0; k < ARRAY_LEN(LIES); k++) {
        set_length(init, LIES[k]);
        adv_silent(adv, init, IKE_COUNT_DROP_HEADER);
    }
    set_length(init, (uint32_t)init.n - 1);
    adv_silent(adv, init, IKE_COUNT_DROP_HEADER);
    set_length(init, (uint32_t)init.n + 1);
    adv_silent(adv, init, IKE_COUNT_DROP_HEADER);
    set_length(init, (uint32_t)init.n);
    for (size_t n = 0; n < init.n; n++)
        adv_silent(adv, span_of(init.p, n), IKE_COUNT_DROP_HEADER);
    uint8_t *huge = calloc(1, 65507);
    assert_non_null(huge);
    memcpy(huge, init.p, init.n);
    adv_silent(adv, span_of(huge, 65507), IKE_COUNT_DROP_HEADER);
    set_length(span_of(huge, 65507), 65507); /* the header is right, what follows the chain is not */
    adv_silent(adv, span_of(huge, 65507), IKE_COUNT_DROP_SYNTAX);
    free(huge);
    exact_free(init);
    edge_assert_empty(adv->e);
}

/* ---- row 2 */

/* Chains that are none. */
static size_t bad_chain(unsigned which, uint8_t *first, struct wr *w)
{
    *first = PAYLOAD_NOTIFY;
    switch (which) {
    case 0:
    case 1:
    case 2:
    case 3: /* a payload shorter than its header; 0 would go round for ever */
        wr_u16(w, PAYLOAD_NOTIFY << 8);
        wr_u16(w, (uint16_t)which);
        wr_u32(w, N_INITIAL_CONTACT);
        break;
    case 4: /* past the end */
        wr_u16(w, 0);
        wr_u16(w, 9);
        wr_u32(w, N_INITIAL_CONTACT);
        break;
    case 5:
        wr_u16(w, 0);
        wr_u16(w, 0xffff);
        wr_u32(w, N_INITIAL_CONTACT);
        break;
    case 6: /* more than 64 */
        for (int k = 0; k < 65; k++)
            adv_payload(w, k < 64 ? PAYLOAD_NOTIFY : 0, 0, hex("0000 4000"));
        break;
    case 7: /* the last one promises another */ adv_payload(w, PAYLOAD_NOTIFY, 0, hex("0000 4000")); break;
    case 8: /* octets after the end */
        adv_payload(w, 0, 0, hex("0000 4000"));
        wr_u8(w, 0);
        break;
    case 9: /* a header cut short */
        adv_payload(w, PAYLOAD_NOTIFY, 0, hex("0000 4000"));
        wr_u16(w, 0);
        break;
    default: return 0;
    }
    assert_false(w->failed);
    return wr_len(w);
}

static void adv_02_chains_in_the_clear(void **state)
{
    uint8_t bytes[1024], first;
    (void)state;
    for (unsigned k = 0;; k++) {
        struct wr w = wr_of(bytes, sizeof bytes);
        if (!bad_chain(k, &first, &w))
            break;
        adv_silent(adv, adv_message(7, 0, first, IKE_SA_INIT, IKE_FLAG_INITIATOR, 0, wr_span(&w)),
                   IKE_COUNT_DROP_SYNTAX);
    }
    edge_assert_empty(adv->e);
}

static void adv_02_chains_inside_sk(void **state)
{
    uint8_t bytes[1024], first;
    (void)state;
    for (unsigned k = 0;; k++) {
        struct wr w = wr_of(bytes, sizeof bytes);
        if (!bad_chain(k, &first, &w))
            break;
        pair_connect(adv);
        struct adv_counts before = adv_counts(adv);
        before.v[IKE_COUNT_DELETED]--; /* RFC 7296 2.21.3: it is fatal */
        initiator_say(adv->i, adv->e->now, INFORMATIONAL, first, wr_span(&w));
        pair_give(adv);
        assert_non_null(edge_act(adv->e, ACT_DOWN));
        pair_carry(adv);
        assert_int_equal(adv->i->refused, N_INVALID_SYNTAX);
        before.v[IKE_COUNT_DELETED] += 2;
        adv_assert_only(adv, &before, IKE_COUNT_DROP_SYNTAX, 1);
        assert_true(ike_idle(adv->e->ike));
        initiator_sa_close(adv->i, initiator_current(adv->i));
    }
}

static void adv_02_padding_longer_than_the_text(void **state)
{
    struct buf b = {0};
    (void)state;
    pair_connect(adv);
    struct session *s = &initiator_current(adv->i)->s;
    struct ike_header h = session_header(s, INFORMATIONAL, false, initiator_current(adv->i)->mid_out);
    session_seal_one(s, &h, 0, span_of(NULL, 0), 0, 0, &b);
    struct sk_sizes z;
    assert_true(crypto_sk_sizes(session_alg(s), &z));
    b.p[32 + z.iv] = 200; /* the only octet of the text: so much padding there is not */
    OK(crypto_sk_seal(s->crypto, session_alg(s), s->keys.ei, s->keys.ai, b.p, 32, 1, s->iv++));
    pair_give_octets(adv, buf_span(&b));
    assert_non_null(edge_act(adv->e, ACT_DOWN));
    assert_int_equal(edge_count(adv->e, IKE_COUNT_DROP_SYNTAX), 1);
    buf_free(&b);
}

/* ---- row 3 */

static void unknown_payload(struct draft *d, const void *arg)
{
    const bool *critical = arg;
    draft_append(d, 200, *critical, hex("00112233"));
}

static void adv_03_unknown_critical_payload(void **state)
{
    static const bool YES = true;
    struct adv_bend b = {IKE_SA_INIT, unknown_payload, &YES};
    struct ike_notify n;
    (void)state;
    adv_bend(adv, &b);
    initiator_connect(adv->i, adv->e->now);
    pair_give(adv);
    assert_int_equal(pair_plain_notify(adv, &n), N_UNSUPPORTED_CRITICAL_PAYLOAD);
    assert_span_equal(n.data, hex("c8"));
    edge_assert_empty(adv->e);
    initiator_sa_close(adv->i, adv->i->sa[0]);

    b.exchange = IKE_AUTH;
    initiator_connect(adv->i, adv->e->now);
    pair_carry(adv);
    assert_int_equal(adv->i->refused, N_UNSUPPORTED_CRITICAL_PAYLOAD);
    assert_true(plain_notify(&adv->i->last, N_UNSUPPORTED_CRITICAL_PAYLOAD, &n));
    assert_span_equal(n.data, hex("c8"));
    assert_true(ike_idle(adv->e->ike));

    adv_bend(adv, NULL);
    pair_connect(adv);
    b.exchange = INFORMATIONAL;
    adv_bend(adv, &b);
    initiator_say(adv->i, adv->e->now, INFORMATIONAL, PAYLOAD_NONE, span_of(NULL, 0));
    pair_carry(adv);
    assert_int_equal(adv->i->refused, N_UNSUPPORTED_CRITICAL_PAYLOAD);
    adv_bend(adv, NULL);
    pair_assert_agree(adv); /* that request failed, the SA did not */
}

static void adv_03_unknown_other_payload_is_ignored(void **state)
{
    static const bool NO = false;
    struct adv_bend b = {IKE_SA_INIT, unknown_payload, &NO};
    (void)state;
    adv_bend(adv, &b);
    pair_connect(adv);
    pair_assert_agree(adv);
    b.exchange = INFORMATIONAL;
    initiator_say(adv->i, adv->e->now, INFORMATIONAL, PAYLOAD_NONE, span_of(NULL, 0));
    pair_carry(adv);
    assert_int_equal(adv->i->refused, 0);
    assert_int_equal(adv->i->last.n, 0);
    adv_bend(adv, NULL);
}

/* ---- row 4 */

static void adv_04_versions(void **state)
{
    struct ike_notify n;
    (void)state;
    struct span init = good_init();
    uint8_t *version = (uint8_t *)(uintptr_t)init.p + 17;
    for (unsigned v = 0; v < 0x20; v++) {
        *version = (uint8_t)v;
        adv_silent(adv, init, IKE_COUNT_DROP_VERSION);
    }
    for (unsigned v = 0x30; v < 0x100; v += 0x0f) {
        *version = (uint8_t)v;
        pair_give_octets(adv, init);
        assert_int_equal(pair_plain_notify(adv, &n), N_INVALID_MAJOR_VERSION);
        assert_true(edge_act(adv->e, ACT_SEND)->datagram.n <= init.n);
    }
    /* At a bounded rate. */
    size_t answered = 0;
    for (int k = 0; k < 3000; k++) {
        pair_give_octets(adv, init);
        answered += edge_sent(adv->e);
    }
    assert_in_range(answered, 1, 500);
    assert_true(edge_count(adv->e, IKE_COUNT_DROP_RATE) >= 2500);
    edge_assert_empty(adv->e);
    *version = 0x21; /* RFC 7296 2.5: minor versions are ignored */
    pair_give_octets(adv, init);
    assert_int_equal(pair_header(adv, 0).version, IKE_VERSION);
    assert_int_not_equal(pair_header(adv, 0).spi_r, 0);
    exact_free(init);
}

static void adv_04_exchange_types(void **state)
{
    (void)state;
    struct span init = good_init();
    uint8_t *exchange = (uint8_t *)(uintptr_t)init.p + 18;
    for (unsigned x = 0; x < 256; x++) {
        bool known = (x >= IKE_SA_INIT && x <= INFORMATIONAL) || x == IKE_INTERMEDIATE || x == IKE_FOLLOWUP_KE;
        if (x == IKE_SA_INIT)
            continue;
        *exchange = (uint8_t)x;
        adv_silent(adv, init, known ? IKE_COUNT_DROP_UNKNOWN_SPI : IKE_COUNT_DROP_EXCHANGE);
    }
    exact_free(init);
    edge_assert_empty(adv->e);
}

static void adv_04_payload_types_of_version_1(void **state)
{
    uint8_t bytes[64];
    (void)state;
    for (unsigned type = 1; type < PAYLOAD_SA; type++) {
        struct wr w = wr_of(bytes, sizeof bytes);
        adv_payload(&w, 0, 0, hex("0000000100000001"));
        adv_silent(adv, adv_message(7, 0, (uint8_t)type, IKE_SA_INIT, IKE_FLAG_INITIATOR, 0, wr_span(&w)),
                   IKE_COUNT_DROP_SYNTAX);
    }
    edge_assert_empty(adv->e);
}

/* ---- row 5 */

static void adv_05_spis_ids_and_flags_of_the_first_message(void **state)
{
    static const struct {
        uint64_t spi_i, spi_r;
        uint32_t mid;
        uint8_t flags;
        enum ike_count count;
    } CASES[] = {
        {0, 0, 0, IKE_FLAG_INITIATOR, IKE_COUNT_DROP_HEADER},
        {0, 5, 0, IKE_FLAG_INITIATOR, IKE_COUNT_DROP_HEADER},
        {7, 5, 0, IKE_FLAG_INITIATOR, IKE_COUNT_DROP_HEADER},
        {7, 0, 1, IKE_FLAG_INITIATOR, IKE_COUNT_DROP_HEADER},
        {7, 0, 0xffffffff, IKE_FLAG_INITIATOR, IKE_COUNT_DROP_HEADER},
        {7, 0, 0, 0, IKE_COUNT_DROP_HEADER},
        {7, 0, 0, IKE_FLAG_INITIATOR | IKE_FLAG_RESPONSE, IKE_COUNT_DROP_UNKNOWN_SPI},
        {7, 5, 0, IKE_FLAG_RESPONSE, IKE_COUNT_DROP_UNKNOWN_SPI},
    };
    (void)state;
    struct span init = good_init();
    for (size_t k = 0; k < ARRAY_LEN(CASES); k++)
        adv_silent(adv,
                   adv_message(CASES[k].spi_i, CASES[k].spi_r, init.p[16], IKE_SA_INIT, CASES[k].flags, CASES[k].mid,
                               span_of(init.p + IKE_HEADER_SIZE, init.n - IKE_HEADER_SIZE)),
                   CASES[k].count);
    exact_free(init);
    edge_assert_empty(adv->e);
}

/* ---- row 26 */

static void adv_26_requests_before_auth(void **state)
{
    static const uint8_t EXCHANGES[] = {INFORMATIONAL, CREATE_CHILD_SA, IKE_FOLLOWUP_KE};
    struct buf b = {0};
    (void)state;
    pair_connect_to(adv, IKE_AUTH);
    struct session *s = &adv->i->sa[0]->s;
    for (size_t k = 0; k < ARRAY_LEN(EXCHANGES); k++)
        for (uint32_t mid = 0; mid < 4; mid++) {
            struct ike_header h = session_header(s, EXCHANGES[k], false, mid);
            session_seal_one(s, &h, 0, span_of(NULL, 0), 0, 0, &b);
            adv_silent(adv, buf_span(&b), mid == 1 ? IKE_COUNT_DROP_EXCHANGE : IKE_COUNT_DROP_MESSAGE_ID);
        }
    buf_free(&b);
    assert_int_equal(adv->e->ups + adv->e->child_ups, 0);
    pair_carry(adv);
    pair_assert_agree(adv);
}

/* ---- row 38 */

static void adv_38_unprotected_notifies_remove_nothing(void **state)
{
    static const uint16_t NOTIFIES[] = {N_INVALID_IKE_SPI, N_AUTHENTICATION_FAILED, N_INVALID_SPI,
                                        N_INVALID_SYNTAX,  N_INVALID_MAJOR_VERSION, N_NO_PROPOSAL_CHOSEN,
                                        N_COOKIE};
    static const uint8_t EXCHANGES[] = {IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, IKE_INTERMEDIATE};
    (void)state;
    pair_connect(adv);
    const struct initiator_sa *sa = initiator_current(adv->i);
    struct ike_sa_info info;
    for (size_t k = 0; k < ARRAY_LEN(NOTIFIES); k++)
        for (size_t x = 0; x < ARRAY_LEN(EXCHANGES); x++)
            for (unsigned flags = 0; flags < 0x40; flags += 8) {
                uint8_t bytes[16];
                struct wr w = wr_of(bytes, sizeof bytes);
                adv_payload(&w, 0, 0, span_of((uint8_t[]){0, 0, (uint8_t)(NOTIFIES[k] >> 8), (uint8_t)NOTIFIES[k]}, 4));
                for (uint32_t mid = 0; mid < 4; mid++) {
                    pair_give_octets(adv, adv_message(sa->s.spi_i, sa->s.spi_r, PAYLOAD_NOTIFY, EXCHANGES[x],
                                                      (uint8_t)flags, mid, wr_span(&w)));
                    assert_null(edge_act(adv->e, ACT_DOWN));
                    assert_null(edge_act(adv->e, ACT_CHILD_DOWN));
                }
            }
    assert_int_equal(edge_sas(adv->e, &info), 1);
    edge_clear(adv->e);
    pair_assert_agree(adv);
    initiator_want(adv->i, adv->e->now, (struct initiator_job){.type = JOB_ALIVE});
    pair_carry(adv);
    assert_false(initiator_busy(adv->i)); /* and it answers as before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADV(adv_01_header_and_datagram_length),
        ADV(adv_02_chains_in_the_clear),
        ADV(adv_02_chains_inside_sk),
        ADV(adv_02_padding_longer_than_the_text),
        ADV(adv_03_unknown_critical_payload),
        ADV(adv_03_unknown_other_payload_is_ignored),
        ADV(adv_04_versions),
        ADV(adv_04_exchange_types),
        ADV(adv_04_payload_types_of_version_1),
        ADV(adv_05_spis_ids_and_flags_of_the_first_message),
        ADV(adv_26_requests_before_auth),
        ADV(adv_38_unprotected_notifies_remove_nothing),
    };
    return cmocka_run_group_tests_name("adversarial: headers and chains", tests, NULL, NULL);
}
