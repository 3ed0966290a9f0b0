/* window: the anti-replay window of RFC 4303 3.4.3 in the form of RFC 6479: a ring of words in which an advance clears whole words
 * instead of shifting. 64-bit arithmetic, so that the comparison near 2^32 cannot overflow.
 */
#ifndef ADIT_DP_WINDOW_H
#define ADIT_DP_WINDOW_H

#include "adit/base.h"
#include "adit/shared.h"

#define WINDOW_MIN 64
#define WINDOW_MAX 4096

struct window {
    uint64_t top;  /* highest authentic sequence number */
    uint32_t size; /* packets; 0: nothing is checked */
    uint32_t mask; /* words - 1; the words hold at least 64 packets more than `size`, RFC 6479 3 */
    uint64_t *word;
};

#define WINDOW_CLASSES 7 /* sizes that window_words() may have: 2, 4 .. 128 */

static inline uint32_t window_words(uint32_t size) /* power of two */
{
    uint32_t n = 2;
    while (n * 64 < size + 64)
        n *= 2;
    return n;
}

/* Before the check value is verified: could this number still be accepted? 0 never is (RFC 4303 3.3.3: the first one is 1). */
static inline bool window_check(const struct window *w, uint32_t seq)
{
    if (w->size == 0)
        return true;
    if (seq == 0)
        return false;
    if (seq > w->top)
        return true;
    return seq + (uint64_t)w->size > w->top && !(w->word[seq >> 6 & w->mask] >> (seq & 63) & 1);
}

/* After it is: check once more (a copy may stand earlier in the same batch) and record. */
static inline bool window_commit(struct window *w, uint32_t seq)
{
    if (!window_check(w, seq))
        return false;
    if (seq > w->top) {
        if (w->size != 0) {
            uint64_t from = (w->top >> 6) + 1, to = seq >> 6;
            if (to >= from + w->mask)
                from = to - w->mask; /* all of them */
            for (uint64_t i = from; i <= to; i++)
                w->word[i & w->mask] = 0;
        }
        WRITE(w->top, seq);
    }
    if (w->size != 0)
        w->word[seq >> 6 & w->mask] |= UINT64_C(1) << (seq & 63);
    return true;
}

#endif
