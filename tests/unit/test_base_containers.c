/* List, hash map and deadline heap, the latter two against a plain model; slabs and large pages. */
#include "lib/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct item {
    struct list link;
    struct map_node node;
    struct timer timer;
    int value;
    bool in;
};

static void list_keeps_order(void **state)
{
    (void)state;
    struct list head;
    struct item v[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
    list_init(&head);
    assert_true(list_empty(&head));
    for (int i = 0; i < 3; i++)
        list_push_back(&head, &v[i].link);
    list_remove(&v[1].link);
    list_remove(&v[1].link); /* removed already: nothing happens */
    int expected = 0;
    for (struct list *l = head.next; l != &head; l = l->next, expected += 2)
        assert_int_equal(CONTAINER_OF(l, struct item, link)->value, expected);
    assert_int_equal(expected, 4);
    list_remove(&v[0].link);
    list_remove(&v[2].link);
    assert_true(list_empty(&head));
}

static void empty_map(void **state)
{
    (void)state;
    struct map m = {0};
    assert_null(map_first(&m, 7));
    assert_null(map_walk(&m, NULL));
    map_free(&m);
}

static void map_tells_equal_hashes_apart_by_walking(void **state)
{
    (void)state;
    struct map m = {0};
    struct item v[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    for (int i = 0; i < 3; i++)
        OK(map_insert(&m, &v[i].node, 42));
    OK(map_insert(&m, &v[3].node, 42 + 16)); /* same slot, another hash */
    int sum = 0, n = 0;
    for (struct map_node *x = map_first(&m, 42); x; x = map_next(x), n++)
        sum += CONTAINER_OF(x, struct item, node)->value;
    assert_int_equal(n, 3);
    assert_int_equal(sum, 3);
    assert_ptr_equal(map_first(&m, 42 + 16), &v[3].node);
    assert_null(map_first(&m, 42 + 32));
    map_free(&m);
}

static void map_against_a_model(void **state)
{
    (void)state;
    enum { N = 500 };
    struct map m = {0};
    struct item v[N];
    uint64_t seed = 1;
    size_t n = 0;
    memset(v, 0, sizeof v);
    for (int step = 0; step < 20000; step++) {
        size_t i = dice(&seed) % N;
        if (v[i].in) {
            map_remove(&m, &v[i].node);
            n--;
        } else {
            OK(map_insert(&m, &v[i].node, i / 2 * UINT64_C(0x9e3779b97f4a7c15))); /* pairs share a hash */
            n++;
        }
        v[i].in = !v[i].in;
        assert_int_equal(m.n, n);
    }
    for (size_t i = 0; i < N; i++) {
        bool found = false;
        for (struct map_node *x = map_first(&m, i / 2 * UINT64_C(0x9e3779b97f4a7c15)); x; x = map_next(x))
            found |= x == &v[i].node;
        assert_int_equal(found, v[i].in);
    }
    for (struct map_node *x = map_walk(&m, NULL); x; x = map_walk(&m, x)) {
        struct item *it = CONTAINER_OF(x, struct item, node);
        assert_true(it->in);
        it->in = false;
        map_remove(&m, x); /* while walking */
        n--;
    }
    assert_int_equal(n, 0);
    assert_int_equal(m.n, 0);
    map_free(&m);
}

/* Between two slots arrays nothing is lost, found twice or walked twice. */
static void map_is_whole_while_it_grows(void **state)
{
    (void)state;
    enum { N = 700 };
    struct map m = {0};
    static struct item v[N];
    bool grew = false;
    for (size_t n = 0; n < N; n++) {
        OK(map_insert(&m, &v[n].node, n * UINT64_C(0x9e3779b97f4a7c15)));
        grew |= m.n_old > 0 && m.moved < m.n_old;
        if (n % 5 == 4) { /* and back again */
            map_remove(&m, &v[n - 2].node);
            OK(map_insert(&m, &v[n - 2].node, (n - 2) * UINT64_C(0x9e3779b97f4a7c15)));
        }
        for (size_t i = 0; i <= n; i++)
            assert_ptr_equal(map_first(&m, i * UINT64_C(0x9e3779b97f4a7c15)), &v[i].node);
        size_t walked = 0;
        for (struct map_node *x = map_walk(&m, NULL); x; x = map_walk(&m, x))
            walked++;
        assert_int_equal(walked, n + 1);
    }
    assert_true(grew);
    assert_true(m.n_slots >= N);
    map_free(&m);
}

static void empty_heap(void **state)
{
    (void)state;
    struct heap h = {0};
    struct timer t = {0};
    assert_true(heap_deadline(&h) == NEVER);
    assert_null(heap_due(&h, NEVER - 1));
    heap_cancel(&h, &t); /* not armed: nothing happens */
    OK(heap_set(&h, &t, NEVER));
    assert_true(heap_deadline(&h) == NEVER);
    heap_free(&h);
}

static void heap_gives_what_is_due_in_order(void **state)
{
    (void)state;
    struct heap h = {0};
    struct timer t[3] = {{0}};
    OK(heap_set(&h, &t[0], 30));
    OK(heap_set(&h, &t[1], 10));
    OK(heap_set(&h, &t[2], 20));
    assert_true(heap_deadline(&h) == 10);
    assert_null(heap_due(&h, 9));
    assert_ptr_equal(heap_due(&h, 10), &t[1]);
    assert_int_equal(t[1].index, 0);
    OK(heap_set(&h, &t[0], 15)); /* moved forward */
    assert_ptr_equal(heap_due(&h, 100), &t[0]);
    assert_true(t[0].at == NEVER);
    OK(heap_set(&h, &t[2], NEVER)); /* disarmed */
    assert_true(t[2].at == NEVER);
    assert_null(heap_due(&h, 100));
    heap_free(&h);
}

static void heap_against_a_model(void **state)
{
    (void)state;
    enum { N = 200 };
    struct heap h = {0};
    struct item v[N];
    uint64_t seed = 2, now = 0;
    memset(v, 0, sizeof v);
    for (int step = 0; step < 20000; step++) {
        size_t i = dice(&seed) % N;
        switch (dice(&seed) % 4) {
        case 0:
        case 1:
            OK(heap_set(&h, &v[i].timer, now + dice(&seed) % 1000));
            v[i].in = true;
            break;
        case 2:
            heap_cancel(&h, &v[i].timer);
            v[i].in = false;
            break;
        case 3: now += dice(&seed) % 50; break;
        }
        uint64_t earliest = NEVER;
        for (size_t k = 0; k < N; k++)
            if (v[k].in && v[k].timer.at < earliest)
                earliest = v[k].timer.at;
        assert_true(heap_deadline(&h) == earliest);
        for (struct timer *t; (t = heap_due(&h, now));)
            CONTAINER_OF(t, struct item, timer)->in = false;
        for (size_t k = 0; k < N; k++) {
            assert_int_equal(v[k].timer.index != 0, v[k].in);
            assert_true(!v[k].in || v[k].timer.at > now);
        }
    }
    heap_free(&h);
}

static void pages_are_zeroed_and_can_be_written(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 64, 4097, PAGE_HUGE - 1, PAGE_HUGE, 3 * PAGE_HUGE + 1};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t *p = pages_get(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (sizes[i] < PAGE_HUGE ? 64 : PAGE_HUGE), 0);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(p[k], 0);
        memset(p, 0xff, sizes[i]);
        pages_put(p, sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) { /* where others have been, too */
        uint8_t *p = pages_get(sizes[i]);
        assert_non_null(p);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(p[k], 0);
        pages_put(p, sizes[i]);
    }
    pages_put(NULL, 1);
    pages_put(NULL, PAGE_HUGE);
    assert_null(pages_get(SIZE_MAX));
}

static size_t address_space(void) /* in use, octets */
{
    char line[128];
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_int_equal(fclose(f), 0);
    return strtoul(line, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE); /* the first number, in pages */
}

static void pages_leave_nothing_behind(void **state)
{
    (void)state;
    enum { TIMES = 64 };
    size_t before = address_space();
    for (int i = 0; i < TIMES; i++) {
        void *plain = pages_get(PAGE_HUGE + 1), *guarded = pages_guarded_get();
        assert_non_null(plain);
        assert_non_null(guarded);
        pages_put(plain, PAGE_HUGE + 1);
        pages_guarded_put(guarded);
    }
    assert_true(address_space() < before + TIMES / 4 * PAGE_HUGE);
}

/* The octets before and behind can be neither read nor written. */
static void guarded_pages_have_guards(void **state)
{
    (void)state;
    uint8_t *p = pages_guarded_get();
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % PAGE_HUGE, 0);
    p[0] = p[PAGE_HUGE - 1] = 1;
    bool inside = false, before = false, behind = false;
    char line[512];
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char *rest;
        uint64_t at = (uintptr_t)p, start = strtoull(line, &rest, 16), end = strtoull(rest + 1, &rest, 16);
        bool none = strncmp(rest, " ---p", 5) == 0;
        inside |= start == at && end == at + PAGE_HUGE && strncmp(rest, " rw-p", 5) == 0;
        before |= end == at && none;
        behind |= start == at + PAGE_HUGE && none;
    }
    assert_int_equal(fclose(f), 0);
    assert_true(inside && before && behind);
    pages_guarded_put(p);
}

/* Objects come and go at random; what is written into one stays until it goes. */
static void slab_against_a_model(void **state)
{
    (void)state;
    enum { N = 9000, SIZE = 1000, STEPS = 40000 };
    static uint64_t *o[N];
    static uint64_t mark[N];
    struct slab s;
    uint64_t seed = 3;
    slab_init(&s, SIZE);
    for (size_t step = 0; step < STEPS; step++) {
        size_t i = dice(&seed) % N;
        if (o[i]) {
            for (size_t k = 0; k < SIZE / sizeof *o[i]; k++)
                assert_true(o[i][k] == mark[i]);
            slab_put(&s, o[i]);
            o[i] = NULL;
            continue;
        }
        assert_non_null(o[i] = slab_get(&s));
        assert_int_equal((uintptr_t)o[i] % 64, 0);
        mark[i] = step;
        for (size_t k = 0; k < SIZE / sizeof *o[i]; k++)
            o[i][k] = step;
    }
    for (size_t i = 0; i < N; i++)
        slab_put(&s, o[i]);
    slab_clear(&s);
    assert_non_null(o[0] = slab_get(&s)); /* as new */
    slab_put(&s, o[0]);
    slab_clear(&s);
}

static void slab_of_large_objects(void **state)
{
    (void)state;
    static const size_t sizes[] = {100000, PAGE_HUGE + 1}; /* larger than the first piece, than any */
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct slab s;
        uint8_t *o[3];
        slab_init(&s, sizes[i]);
        for (size_t k = 0; k < ARRAY_LEN(o); k++) {
            assert_non_null(o[k] = slab_get(&s));
            memset(o[k], 0xff, sizes[i]);
        }
        for (size_t k = 0; k < ARRAY_LEN(o); k++)
            slab_put(&s, o[k]);
        slab_clear(&s);
    }
}

/* A piece is as large as all before it, but not beyond one large page. */
static void slab_pieces_have_a_limit(void **state)
{
    (void)state;
    enum { N = 4000, SIZE = 4096 };
    static void *o[N];
    struct slab s;
    slab_init(&s, SIZE);
    for (size_t i = 0; i < N; i++) {
        size_t before = s.total;
        assert_non_null(o[i] = slab_get(&s));
        assert_true(s.total - before <= PAGE_HUGE / SIZE);
    }
    for (size_t i = 0; i < N; i++)
        slab_put(&s, o[i]);
    slab_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(list_keeps_order),
        TEST(empty_map),
        TEST(map_tells_equal_hashes_apart_by_walking),
        TEST(map_against_a_model),
        TEST(map_is_whole_while_it_grows),
        TEST(empty_heap),
        TEST(heap_gives_what_is_due_in_order),
        TEST(heap_against_a_model),
        TEST(pages_are_zeroed_and_can_be_written),
        TEST(pages_leave_nothing_behind),
        TEST(guarded_pages_have_guards),
        TEST(slab_against_a_model),
        TEST(slab_of_large_objects),
        TEST(slab_pieces_have_a_limit),
    };
    return cmocka_run_group_tests_name("base_containers", tests, NULL, NULL);
}
