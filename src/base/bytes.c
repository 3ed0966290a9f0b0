/* Owned bytes, wiping, names of result codes. */
#include "adit/base.h"

#include <stdlib.h>

const char *rc_name(enum rc rc)
{
    switch (rc) {
    case RC_OK: return "ok";
    case RC_SHORT: return "input too short";
    case RC_SYNTAX: return "malformed";
    case RC_LIMIT: return "limit reached";
    case RC_NOMEM: return "out of memory";
    case RC_ABSENT: return "not found";
    case RC_EXISTS: return "exists already";
    case RC_RANGE: return "out of range";
    case RC_AUTH: return "authentication failed";
    case RC_CRYPTO: return "refused by the cryptographic library";
    case RC_UNSUPPORTED: return "not supported";
    }
    return "?";
}

void wipe(void *p, size_t n)
{
    if (n)
        explicit_bzero(p, n);
}

enum rc buf_set(struct buf *b, struct span s)
{
    uint8_t *p = malloc(s.n ? s.n : 1);
    if (!p)
        return RC_NOMEM;
    if (s.n)
        memcpy(p, s.p, s.n);
    buf_free(b);
    *b = (struct buf){.p = p, .n = s.n, .cap = s.n ? s.n : 1};
    return RC_OK;
}

enum rc buf_append(struct buf *b, struct span s)
{
    if (b->cap - b->n < s.n) {
        size_t cap = (b->n + s.n) * 2;
        uint8_t *p = malloc(cap); /* not realloc: what is left behind is wiped */
        if (!p)
            return RC_NOMEM;
        if (b->n)
            memcpy(p, b->p, b->n);
        size_t n = b->n;
        buf_free(b);
        *b = (struct buf){.p = p, .n = n, .cap = cap};
    }
    if (s.n)
        memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    return RC_OK;
}

void buf_free(struct buf *b)
{
    if (b->p)
        wipe(b->p, b->cap);
    free(b->p);
    *b = (struct buf){0};
}
