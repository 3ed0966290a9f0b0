/* Row 43 of the adversarial list: the IV of ESP's CBC is random for each packet (RFC 3602 3), and shows nothing of a counter. */
#include "lib/inet.h"
#include "lib/world.h"

static int compare_iv(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

enum { IVS = 1000000, BATCH = 50 };

static uint8_t (*capture_ivs(struct world *w, size_t n))[16]
{
    uint8_t(*iv)[16] = calloc(n, sizeof *iv);
    assert_non_null(iv);
    struct span in = exact_copy(ip_packet("10.9.0.1", "10.1.0.1", IP_PROTO_UDP, 4));
    for (size_t i = 0; i < n; i += BATCH) {
        struct pkt *v[BATCH];
        for (size_t k = 0; k < BATCH; k++)
            v[k] = world_packet(w, in, PKT_FROM_TUN);
        world_run_tun(w, EDGE, v, BATCH);
        assert_int_equal(w->n_out, BATCH);
        for (size_t k = 0; k < BATCH; k++)
            memcpy(iv[i + k], w->out[k]->data + 8, 16);
        world_done(w);
    }
    exact_free(in);
    return iv;
}

/* Pearson's statistic against equal counts; about `cells` when the counts are random. Within six standard deviations of it. */
static void assert_uniform(const uint64_t *count, size_t cells, double total)
{
    double chi = 0, mean = total / (double)cells, freedom = (double)cells - 1;
    for (size_t i = 0; i < cells; i++)
        chi += ((double)count[i] - mean) * ((double)count[i] - mean) / mean;
    assert_true((chi - freedom) * (chi - freedom) < 36 * 2 * freedom);
}

static void adv_43_a_million_cbc_ivs(void **state)
{
    struct world *w = *state;
    world_up(w, CBC256, 4, false, 4);
    uint8_t(*iv)[16] = capture_ivs(w, IVS);
    static uint64_t octet[16][256], pair[65536], diff[65536], bit[128];
    for (size_t i = 0; i < IVS; i++) {
        for (size_t k = 0; k < 16; k++)
            octet[k][iv[i][k]]++;
        for (size_t k = 0; k < 128; k++)
            bit[k] += iv[i][k / 8] >> k % 8 & 1;
        pair[be16(iv[i] + 14)]++;
        if (i) /* neighbours: a counter, or a counter under a key that is not a cipher, shows here */
            diff[(uint16_t)(be16(iv[i] + 14) - be16(iv[i - 1] + 14))]++;
    }
    for (size_t k = 0; k < 16; k++)
        assert_uniform(octet[k], 256, IVS);
    assert_uniform(pair, 65536, IVS);
    assert_uniform(diff, 65536, IVS - 1);
    for (size_t k = 0; k < 128; k++) { /* six standard deviations of a fair coin */
        double d = (double)bit[k] - IVS / 2.0;
        assert_true(d * d < 36.0 * IVS / 4);
    }
    qsort(iv, IVS, 16, compare_iv);
    for (size_t i = 1; i < IVS; i++)
        assert_true(memcmp(iv[i - 1], iv[i], 16) != 0);
    free(iv);
}

/* The same SA with the same keys and sequence numbers once more: were the IV made from them, it would come again. */
static void adv_43_iv_is_not_made_from_the_sequence(void **state)
{
    struct world *w = *state;
    enum { FEW = 1000 };
    uint8_t(*once)[16], (*again)[16];
    world_up(w, CBC256, 4, false, 4);
    once = capture_ivs(w, FEW);
    dp_child_down(w->dp[EDGE], SPI_EDGE);
    dp_child_down(w->dp[PEER], SPI_PEER);
    world_up(w, CBC256, 4, false, 4);
    again = capture_ivs(w, FEW);
    struct dp_sa_info info;
    assert_true(dp_sa_info(w->dp[EDGE], SPI_EDGE, &info));
    assert_int_equal(info.seq_out, FEW);
    for (size_t i = 0; i < FEW; i++) {
        assert_true(memcmp(once[i], again[i], 16) != 0);
        for (size_t k = 0; k + 4 <= 16; k++) /* nor does the number stand in it */
            assert_true(be32(once[i] + k) != i + 1 || be32(again[i] + k) != i + 1);
    }
    free(once);
    free(again);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        T(adv_43_a_million_cbc_ivs),
        T(adv_43_iv_is_not_made_from_the_sequence),
    };
    return cmocka_run_group_tests_name("dp_iv", tests, NULL, NULL);
}
