/* What every fuzz target includes. A target is one file with LLVMFuzzerTestOneInput(): `make fuzz` links it with libFuzzer, `make
 * check` with tests/fuzz/replay.c, which runs it over the committed inputs. It checks by cmocka's assert_*(): outside of a cmocka test a failure
 * ends the process, which libFuzzer takes for a crash. Same input, same run: no clock, no randomness but from a seed.
 */
#ifndef ADIT_TESTS_FUZZ_H
#define ADIT_TESTS_FUZZ_H

#include "unit/lib/unit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Inputs of several parts: a part is a length of 16 bits and as much, cut to what is left. In an allocation of exactly that size,
 * so that a sanitizer sees the first octet read beyond it: exact_free(). */
static inline struct span fuzz_part(struct rd *r, size_t max)
{
    size_t n = rd_u16(r), left = rd_left(r);
    n = n < left ? n : left;
    return exact_copy(rd_take(r, n < max ? n : max));
}
/* What is left, as one part without a length. */
static inline struct span fuzz_rest(struct rd *r)
{
    return exact_copy(rd_rest(r));
}
static inline void assert_within(struct span s, struct span whole)
{
    assert_true(s.n == 0 || (s.p >= whole.p && s.p + s.n <= whole.p + whole.n));
}

#endif
