/* Adversarial list, rows 18-21: fragments. */
#include "lib/adv_exchange.h"

#include "ike/engine.h"

/* ---- rows 18, 19, 21 */

static struct buf fragment(uint16_t number, uint16_t total, struct span text)
{
    uint32_t mid = adv->i->sa[0]->own.mid;
    return sealed(IKE_INTERMEDIATE, mid, number == 1 ? PAYLOAD_KE : 0, text, number, total);
}

static void adv_18_fragment_numbers(void **state)
{
    static const struct {
        uint16_t number, total;
    } BAD[] = {{0, 2}, {0, 0xffff}, {3, 2}, {0xffff, 1}, {1, 65}, {65, 65}, {1, 0xffff}, {0xffff, 0xffff}};
    uint8_t text[64] = {0};
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    for (size_t k = 0; k < ARRAY_LEN(BAD); k++)
        silent(fragment(BAD[k].number, BAD[k].total, span_of(text, sizeof text)), IKE_COUNT_DROP_FRAGMENT);
    finish_handshake();
}

static void adv_18_totals_up_and_down(void **state)
{
    uint8_t text[64] = {0};
    struct span t = span_of(text, sizeof text);
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    struct adv_counts before = adv_counts(adv);
    struct buf b = fragment(2, 3, t);
    pair_give_octets(adv, buf_span(&b));
    adv_assert_only(adv, &before, IKE_COUNT_DROP_FRAGMENT, 0);
    buf_free(&b);
    silent(fragment(1, 2, t), IKE_COUNT_DROP_FRAGMENT); /* fewer than before */
    memset(text, 0x55, sizeof text);
    silent(fragment(2, 3, t), IKE_COUNT_DROP_FRAGMENT); /* there is one already, whatever this one says */
    b = fragment(64, 64, t);
    before = adv_counts(adv);
    pair_give_octets(adv, buf_span(&b)); /* more: a new try, the old pieces go */
    adv_assert_only(adv, &before, IKE_COUNT_DROP_FRAGMENT, 0);
    buf_free(&b);
    silent(fragment(1, 3, t), IKE_COUNT_DROP_FRAGMENT);
    assert_int_equal(((struct ike *)adv->e->ike)->queued, sizeof text);
    adv->e->now += 16 * NS_PER_S; /* the rest does not come */
    edge_tick(adv->e);
    assert_int_equal(((struct ike *)adv->e->ike)->queued, 0);
    assert_int_equal(sas(), 1);
    finish_handshake();
}

static void adv_18_last_fragments_only_and_those_of_a_finished_message(void **state)
{
    (void)state;
    hybrid();
    adv->i->wish.datagram = 576;
    pair_connect_to(adv, IKE_INTERMEDIATE);
    assert_int_equal(adv->i->n_out, 3);
    for (size_t k = 1; k < 3; k++)
        pair_give_octets(adv, buf_span(&adv->i->out[k].bytes));
    assert_int_equal(adv->e->acts.n, 0);
    adv->e->now += 16 * NS_PER_S;
    edge_tick(adv->e);
    assert_int_equal(edge_count(adv->e, IKE_COUNT_DROP_FRAGMENT), 1);
    pair_give(adv); /* all of it */
    assert_true(edge_sent(adv->e) > 0);
    for (size_t k = 1; k < 3; k++) { /* only the first one of a finished message is heard */
        struct span copy = exact_copy(buf_span(&adv->sent.v[k]));
        struct adv_counts before = adv_counts(adv);
        struct acts none = {.n = 0};
        ike_input(adv->e->ike, adv->e->now, &adv->path, copy, &none);
        assert_int_equal(none.n, 0);
        adv_assert_only(adv, &before, IKE_COUNT_DROP_MESSAGE_ID, 1);
        exact_free(copy);
    }
    finish_handshake();
}

static void adv_18_a_message_beyond_64_kilobytes(void **state)
{
    static uint8_t text[1100];
    struct adv_counts before;
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    before = adv_counts(adv);
    for (uint16_t k = 64; k > 4; k--) { /* 60 of 1100 octets: 66000 */
        struct buf b = fragment(k, 64, span_of(text, sizeof text));
        pair_give_octets(adv, buf_span(&b));
        assert_int_equal(adv->e->acts.n, 0);
        assert_true(((struct ike *)adv->e->ike)->queued <= IKE_REASSEMBLED_MAX);
        buf_free(&b);
    }
    assert_true(edge_count(adv->e, IKE_COUNT_DROP_FRAGMENT) > before.v[IKE_COUNT_DROP_FRAGMENT]);
    finish_handshake();
}

/* A datagram that ends in the given sealed one, with payloads in the clear before it. */
static void in_front(struct buf *b, struct span payload, uint8_t type)
{
    uint8_t bytes[4096];
    struct wr w = wr_of(bytes, sizeof bytes);
    wr_bytes(&w, span_of(b->p, IKE_HEADER_SIZE));
    adv_payload(&w, b->p[16], 0, payload);
    wr_bytes(&w, span_of(b->p + IKE_HEADER_SIZE, b->n - IKE_HEADER_SIZE));
    wr_patch_u8(&w, 16, type);
    wr_patch_u32(&w, 24, (uint32_t)wr_len(&w));
    assert_false(w.failed);
    OK(buf_set(b, wr_span(&w)));
}

static void adv_19_payloads_around_fragments(void **state)
{
    static const uint8_t TYPES[] = {200, PAYLOAD_VENDOR, PAYLOAD_NOTIFY, PAYLOAD_KE};
    uint8_t text[64] = {0};
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    for (size_t k = 0; k < ARRAY_LEN(TYPES); k++) {
        struct buf b = fragment(1, 2, span_of(text, sizeof text));
        in_front(&b, hex("0000 4000"), TYPES[k]);
        silent(b, IKE_COUNT_DROP_SYNTAX);
        b = fragment(1, 2, span_of(text, sizeof text)); /* and behind: SKF is the last, so its length cannot be right */
        OK(buf_append(&b, hex("00000008 00004000")));
        struct wr w = wr_of(b.p + 24, 4);
        wr_u32(&w, (uint32_t)b.n);
        silent(b, IKE_COUNT_DROP_SYNTAX);
    }
    for (int n = 0; n < 70; n++) { /* a great many of them */
        struct buf b = fragment(1, 2, span_of(text, sizeof text));
        for (int m = 0; m < n; m++)
            in_front(&b, span_of(NULL, 0), 200);
        pair_give_octets(adv, buf_span(&b));
        assert_int_equal(adv->e->acts.n, 0);
        buf_free(&b);
    }
    edge_clear(adv->e);
    adv->e->now += 16 * NS_PER_S;
    edge_tick(adv->e);
    finish_handshake();
}

static void adv_19_skf_inside_sk(void **state)
{
    uint8_t inner[64];
    struct wr w = wr_of(inner, sizeof inner);
    (void)state;
    adv_payload(&w, 0, 0, hex("0001 0001 00112233445566778899aabbccddeeff"));
    pair_connect(adv);
    initiator_say(adv->i, adv->e->now, INFORMATIONAL, PAYLOAD_SKF, wr_span(&w));
    pair_carry(adv);
    assert_int_equal(adv->i->refused, N_INVALID_SYNTAX);
    assert_true(ike_idle(adv->e->ike));
}

static void adv_19_whole_and_in_pieces_at_once(void **state)
{
    uint8_t text[64] = {0};
    (void)state;
    hybrid();
    adv->i->wish.datagram = 9000;
    pair_connect_to(adv, IKE_INTERMEDIATE);
    struct buf b = fragment(2, 2, span_of(text, sizeof text));
    pair_give_octets(adv, buf_span(&b));
    assert_int_equal(adv->e->acts.n, 0);
    pair_give(adv); /* whole: that is the message */
    assert_true(edge_sent(adv->e) > 0);
    struct acts none = {.n = 0};
    ike_input(adv->e->ike, adv->e->now, &adv->path, buf_span(&b), &none);
    assert_int_equal(none.n, 0);
    buf_free(&b);
    finish_handshake();
    adv->e->now += 40 * NS_PER_S;
    edge_tick(adv->e);
    assert_int_equal(((struct ike *)adv->e->ike)->queued, 0);
}

static void adv_21_fragment_with_a_bad_icv_is_never_stored(void **state)
{
    (void)state;
    hybrid();
    pair_connect_to(adv, IKE_INTERMEDIATE);
    for (size_t k = 0; k < adv->i->n_out; k++) {
        struct span bent = exact_copy(buf_span(&adv->i->out[k].bytes));
        ((uint8_t *)(uintptr_t)bent.p)[bent.n - 1] ^= 1;
        adv_silent(adv, bent, IKE_COUNT_DROP_INTEGRITY);
        exact_free(bent);
    }
    assert_int_equal(((struct ike *)adv->e->ike)->queued, 0);
    finish_handshake();
}

/* ---- row 20 */

static void adv_20_ten_thousand_half_open_with_a_fragment_each(void **state)
{
    struct ike_policy policy = adv_policy();
    static uint8_t text[60000];
    const struct ike *engine;
    uint64_t seed = 5;
    (void)state;
    policy.cookie_threshold = policy.cookie_threshold_per_ip = policy.cookie_threshold_per_prefix = 100000;
    policy.init_rate_per_ip = policy.handshakes_per_second = 0;
    adv_start_over(&policy);
    engine = adv->e->ike;
    hybrid();
    /* Some with a huge fragment: the budget for all of them is what they can have. */
    for (int k = 0; k < 600; k++) {
        pair_connect_to(adv, IKE_INTERMEDIATE);
        initiator_forget_out(adv->i);
        struct buf b = sealed(IKE_INTERMEDIATE, 1, PAYLOAD_KE, span_of(text, sizeof text), 1, 2);
        pair_give_octets(adv, buf_span(&b));
        assert_int_equal(adv->e->acts.n, 0);
        assert_true(engine->queued <= IKE_FRAGMENT_BUDGET);
        buf_free(&b);
        initiator_sa_close(adv->i, adv->i->sa[adv->i->n_sas - 1]);
    }
    assert_true(engine->queued > IKE_FRAGMENT_BUDGET - 2 * sizeof text);
    assert_true(edge_count(adv->e, IKE_COUNT_DROP_LIMIT) >= 600 - IKE_FRAGMENT_BUDGET / sizeof text);
    /* All the others just there. */
    initiator_connect(adv->i, adv->e->now);
    struct span init = exact_copy(buf_span(&adv->i->out[0].bytes));
    initiator_forget_out(adv->i);
    initiator_sa_close(adv->i, adv->i->sa[adv->i->n_sas - 1]);
    for (int k = 0; k < 10000; k++) {
        struct wr spi = wr_of((void *)(uintptr_t)init.p, 8);
        wr_u64(&spi, dice(&seed) | 1);
        pair_give_octets(adv, init);
    }
    exact_free(init);
    assert_int_equal(engine->n_half_open, policy.max_half_open);
    edge_clear(adv->e);
    pair_connect(adv); /* nobody honest notices */
    edge_clear(adv->e);
    pair_assert_agree(adv);
    adv->e->now += 60 * NS_PER_S;
    edge_tick(adv->e);
    assert_int_equal(engine->n_half_open, 0);
    assert_int_equal(engine->queued, 0);
    assert_int_equal(crypto_arena_used(engine->secrets), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADV(adv_18_fragment_numbers),
        ADV(adv_18_totals_up_and_down),
        ADV(adv_18_last_fragments_only_and_those_of_a_finished_message),
        ADV(adv_18_a_message_beyond_64_kilobytes),
        ADV(adv_19_payloads_around_fragments),
        ADV(adv_19_skf_inside_sk),
        ADV(adv_19_whole_and_in_pieces_at_once),
        ADV(adv_20_ten_thousand_half_open_with_a_fragment_each),
        ADV(adv_21_fragment_with_a_bad_icv_is_never_stored),
    };
    return cmocka_run_group_tests_name("adversarial: fragments", tests, NULL, NULL);
}
