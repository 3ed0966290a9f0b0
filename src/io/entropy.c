/* Randomness from getrandom(2) behind a buffer, so that a nonce or an SPI is not a system call each.
 *
 * The buffer is a page of its own: the kernel hands a child an empty one (MADV_WIPEONFORK), no core dump holds it
 * (MADV_DONTDUMP), and octets are erased as they are handed out, so that a later look into memory tells nothing of keys made
 * before. Zero octets left, which is what a wiped page says, means "refill". */
#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

struct io_entropy {
    size_t left; /* octets at the end of b */
    uint8_t b[4096 - sizeof(size_t)];
};

/* Aborts when the kernel has none: carrying on without randomness would be worse than stopping. */
static void draw(uint8_t *ret, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = getrandom(ret + got, n - got, 0);
        if (r > 0)
            got += (size_t)r;
        else if (errno != EINTR)
            abort();
    }
}

static void entropy_fill(void *ctx, void *ret, size_t n)
{
    struct io_entropy *e = ctx;
    if (n > sizeof e->b / 4) {
        draw(ret, n);
        return;
    }
    if (e->left < n) {
        draw(e->b, sizeof e->b);
        e->left = sizeof e->b;
    }
    uint8_t *from = e->b + sizeof e->b - e->left;
    memcpy(ret, from, n);
    wipe(from, n);
    e->left -= n;
}

enum rc io_entropy_new(struct io_entropy **ret, struct io_error *ret_error)
{
    struct io_entropy *e = mmap(NULL, sizeof *e, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (e == MAP_FAILED)
        return io_fail_errno(ret_error, RC_NOMEM, errno, "memory for randomness");
    if (madvise(e, sizeof *e, MADV_WIPEONFORK) < 0) {
        int error = errno;
        munmap(e, sizeof *e);
        return io_fail_errno(ret_error, RC_UNSUPPORTED, error, "MADV_WIPEONFORK (Linux 4.14 or newer is needed)");
    }
    madvise(e, sizeof *e, MADV_DONTDUMP);
    *ret = e;
    return RC_OK;
}

void io_entropy_free(struct io_entropy *entropy)
{
    if (!entropy)
        return;
    wipe(entropy, sizeof *entropy);
    munmap(entropy, sizeof *entropy);
}

struct rng io_entropy_rng(struct io_entropy *entropy)
{
    return (struct rng){.fill = entropy_fill, .ctx = entropy};
}
