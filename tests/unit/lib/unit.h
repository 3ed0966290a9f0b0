/* What every unit test includes: cmocka with what it needs, and octets written as hex.
 */
#ifndef ADIT_TESTS_UNIT_H
#define ADIT_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "adit/base.h"

#define OK(call) assert_int_equal((call), RC_OK)
#define TEST(name) cmocka_unit_test(name)

/* What the process has run so far: a bound on it holds on a busy machine too. */
static inline uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

struct octets {
    uint8_t b[1024];
    size_t n;
};

/* "21 00 0008 | 1234": blanks and bars are ignored. The result is valid until the same `o` is used again. */
static inline struct span octets_hex(struct octets *o, const char *text)
{
    unsigned digits = 0, v = 0;
    o->n = 0;
    for (; *text; text++) {
        if (*text == ' ' || *text == '|')
            continue;
        int c = *text | 0x20, d = c >= 'a' ? c - 'a' + 10 : c - '0';
        assert_in_range(d, 0, 15);
        v = v << 4 | (unsigned)d;
        if (++digits % 2 == 0) {
            assert_in_range(o->n, 0, sizeof o->b - 1);
            o->b[o->n++] = (uint8_t)v;
        }
    }
    assert_int_equal(digits % 2, 0);
    return span_of(o->b, o->n);
}
/* At most 16 of them in one expression's life. */
static inline struct span hex(const char *text)
{
    static struct octets ring[16];
    static unsigned at;
    return octets_hex(&ring[at++ % ARRAY_LEN(ring)], text);
}

static inline void assert_span_equal(struct span got, struct span expected)
{
    assert_int_equal(got.n, expected.n);
    if (got.n)
        assert_memory_equal(got.p, expected.p, got.n);
}

/* A copy in its own allocation of exactly that size, so that a sanitizer sees the first octet read beyond it. */
static inline struct span exact_copy(struct span s)
{
    uint8_t *p = malloc(s.n);
    if (!p && s.n)
        abort();
    if (s.n)
        memcpy(p, s.p, s.n);
    return span_of(p, s.n);
}
static inline void exact_free(struct span s)
{
    free((void *)(uintptr_t)s.p);
}

/* xorshift64*: the same numbers in every run */
static inline uint64_t dice(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif
