/* One line for the operator: what failed, why, what to do. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static __attribute__((format(printf, 2, 0))) void put_text(struct io_error *e, const char *format, va_list args)
{
    vsnprintf(e->text, sizeof e->text, format, args);
}

enum rc io_fail(struct io_error *ret_error, enum rc rc, const char *format, ...)
{
    if (ret_error) {
        va_list args;
        va_start(args, format);
        put_text(ret_error, format, args);
        va_end(args);
    }
    return rc;
}

enum rc io_fail_errno(struct io_error *ret_error, enum rc rc, int error, const char *format, ...)
{
    if (ret_error) {
        va_list args;
        va_start(args, format);
        put_text(ret_error, format, args);
        va_end(args);
        size_t n = strlen(ret_error->text);
        snprintf(ret_error->text + n, sizeof ret_error->text - n, ": %s", strerrordesc_np(error));
    }
    return rc;
}

enum rc io_rc_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
    case EBADFD: return RC_ABSENT;
    case EEXIST:
    case EBUSY:
    case EADDRINUSE: return RC_EXISTS;
    case ENOMEM:
    case ENOBUFS: return RC_NOMEM;
    case EMFILE:
    case ENFILE: return RC_LIMIT;
    case EPERM:
    case EACCES: return RC_AUTH;
    case EINVAL:
    case ERANGE: return RC_RANGE;
    }
    return RC_UNSUPPORTED;
}
