/* Large memory in large pages. */
#include "adit/base.h"

#include <stdlib.h>
#include <sys/mman.h>

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* The kernel aligns a mapping to its small pages only: ask for one more large page, and give back what is before and behind. */
static void *huge_get(size_t n)
{
    size_t most = n + PAGE_HUGE;
    uint8_t *p = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = (PAGE_HUGE - (uintptr_t)p % PAGE_HUGE) % PAGE_HUGE, behind = most - before - n;
    if (before > 0)
        munmap(p, before);
    if (behind > 0)
        munmap(p + before + n, behind);
    madvise(p + before, n, MADV_HUGEPAGE); /* without: slower, nothing else */
    return p + before;
}

void *pages_get(size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    if (n >= PAGE_HUGE)
        return huge_get(round_up(n, PAGE_HUGE));
    size_t lines = round_up(n ? n : 1, LINE);
    void *p = aligned_alloc(LINE, lines);
    if (p)
        memset(p, 0, lines);
    return p;
}

void pages_put(void *p, size_t n)
{
    if (p && n >= PAGE_HUGE)
        munmap(p, round_up(n, PAGE_HUGE));
    else
        free(p);
}

void *pages_guarded_get(void)
{
    uint8_t *p = mmap(NULL, 4 * PAGE_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = 2 * PAGE_HUGE - (uintptr_t)p % PAGE_HUGE; /* more than one page, up to two */
    if (before > PAGE_HUGE)
        munmap(p, before - PAGE_HUGE);
    p += before;
    if (before < 2 * PAGE_HUGE)
        munmap(p + 2 * PAGE_HUGE, 2 * PAGE_HUGE - before);
    if (mprotect(p, PAGE_HUGE, PROT_READ | PROT_WRITE) != 0) {
        munmap(p - PAGE_HUGE, 3 * PAGE_HUGE);
        return NULL;
    }
    madvise(p, PAGE_HUGE, MADV_HUGEPAGE);
    return p;
}

void pages_guarded_put(void *p)
{
    munmap((uint8_t *)p - PAGE_HUGE, 3 * PAGE_HUGE);
}
