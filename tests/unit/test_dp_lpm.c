/* The trie against a walk over all prefixes, with every width of its root, at the edges of the prefixes where it matters. */
#include "dp/lpm.h"
#include "lib/unit.h"

static uint64_t state = 7;

static struct key mask(struct key k, uint8_t len)
{
    uint64_t hi = len == 0 ? 0 : len >= 64 ? UINT64_MAX : ~(UINT64_MAX >> len);
    uint64_t lo = len <= 64 ? 0 : len >= 128 ? UINT64_MAX : ~(UINT64_MAX >> (len - 64));
    return (struct key){k.hi & hi, k.lo & lo};
}

static uint32_t walk(const struct lpm_route *r, size_t n, struct key k)
{
    const struct lpm_route *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (key_equal(mask(k, r[i].len), r[i].key) && (!best || r[i].len > best->len))
            best = &r[i];
    return best ? best->value : 0;
}

static int by_prefix(const void *x, const void *y)
{
    const struct lpm_route *a = x, *b = y;
    if (a->key.hi != b->key.hi)
        return a->key.hi < b->key.hi ? -1 : 1;
    if (a->key.lo != b->key.lo)
        return a->key.lo < b->key.lo ? -1 : 1;
    return a->len - b->len;
}

/* Prefixes crowd together (few different high bits), so that many lie inside others. */
static size_t draw_routes(struct lpm_route *r, size_t n, uint8_t family)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t max = family == 4 ? 32 : 128, len = (uint8_t)(dice(&state) >> 32 & 255);
        len = i < 3 ? (uint8_t)(i * max / 2) : (uint8_t)(len % (max + 1u));
        struct key k = {dice(&state), dice(&state)};
        if (i % 2)
            k.hi = (k.hi & UINT64_C(0x00ffffffffffffff)) | UINT64_C(0x0a00000000000000);
        if (family == 4)
            k = key4((uint32_t)(k.hi >> 32));
        r[i] = (struct lpm_route){.key = mask(k, len), .len = len, .value = (uint32_t)(dice(&state) >> 33) | 1};
    }
    qsort(r, n, sizeof *r, by_prefix);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || by_prefix(&r[kept - 1], &r[i]) != 0)
            r[kept++] = r[i];
    return kept;
}

/* The first and the last address of a prefix, and their neighbours outside. */
static struct key probe(const struct lpm_route *r, unsigned which, uint8_t family)
{
    struct key first = r->key, m = mask((struct key){UINT64_MAX, UINT64_MAX}, r->len);
    struct key last = {first.hi | ~m.hi, first.lo | ~m.lo};
    struct key k = which == 0   ? first
                   : which == 1 ? last
                   : which == 2 ? (struct key){first.hi - (first.lo == 0), first.lo - 1}
                                : (struct key){last.hi + (last.lo == UINT64_MAX), last.lo + 1};
    if (family == 4)
        k = key4((uint32_t)((which == 2 ? first.hi - (UINT64_C(1) << 32) : which == 3 ? last.hi + 1 : k.hi) >> 32));
    return k;
}

static void check(size_t n, uint8_t family, size_t probes, uint8_t expected_bits)
{
    struct lpm_route *r = calloc(n ? n : 1, sizeof *r);
    struct lpm t;
    assert_non_null(r);
    n = draw_routes(r, n, family);
    OK(lpm_build(&t, r, n));
    assert_int_equal(t.root_bits, expected_bits);
    size_t found = 0;
    for (size_t i = 0; i < probes;) {
        struct key k[LPM_AT_ONCE];
        uint32_t many[LPM_AT_ONCE];
        size_t batch = (size_t)(dice(&state) >> 32) % LPM_AT_ONCE + 1;
        for (size_t j = 0; j < batch; j++)
            k[j] = n > 0 && j % 5 ? probe(&r[(dice(&state) >> 32) % n], j % 5 - 1, family)
                   : family == 4  ? key4((uint32_t)(dice(&state) >> 32))
                                  : (struct key){dice(&state), dice(&state)};
        lpm_find_many(&t, k, many, batch);
        for (size_t j = 0; j < batch; j++, i++) {
            assert_int_equal(many[j], walk(r, n, k[j]));
            assert_int_equal(lpm_find(&t, k[j]), many[j]);
            found += many[j] != 0;
        }
    }
    assert_true(found * 4 > probes || n < 4);
    lpm_clear(&t);
    assert_int_equal(lpm_bytes(&t), 0);
    free(r);
}

static void like_a_walk(void **unused)
{
    (void)unused;
    static const struct {
        size_t n, probes;
        uint8_t bits;
    } row[] = {{0, 100, 6}, {1, 500, 6}, {3, 2000, 6}, {100, 20000, 6}, {1500, 5000, 12}, {150000, 300, 18}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        check(row[i].n, 4, row[i].probes, row[i].bits);
        check(row[i].n, 6, row[i].probes, row[i].bits);
    }
}

static void octets_per_route(void **unused)
{
    (void)unused;
    enum { N = 200000 };
    struct lpm_route *r = calloc(N, sizeof *r);
    struct lpm t;
    assert_non_null(r);
    for (uint32_t i = 0; i < N; i++) /* the worst there is: hosts apart, no two with one value */
        r[i] = (struct lpm_route){.key = key4(i * 21473u), .len = 32, .value = i + 1};
    OK(lpm_build(&t, r, N));
    for (uint32_t i = 0; i < N; i += 7)
        assert_int_equal(lpm_find(&t, key4(i * 21473u)), i + 1);
    assert_in_range(lpm_bytes(&t), N, (size_t)N * 150);
    for (uint32_t i = 0; i < N; i++) /* as in the Internet's table: most are /24 */
        r[i] = (struct lpm_route){.key = key4(i * 1009u << 8), .len = 24, .value = i + 1};
    lpm_clear(&t);
    OK(lpm_build(&t, r, N));
    assert_in_range(lpm_bytes(&t), N, (size_t)N * 40);
    lpm_clear(&t);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(like_a_walk), TEST(octets_per_route)};
    return cmocka_run_group_tests_name("dp_lpm", tests, NULL, NULL);
}
