/* How the files of this room fill a struct io_error. */
#ifndef ADIT_IO_ERROR_H
#define ADIT_IO_ERROR_H

#include "adit/io.h"

/* Write the line (cut at its end when too long) and return rc: `return io_fail(e, RC_ABSENT, "%s: ...", path);` */
enum rc io_fail(struct io_error *ret_error, enum rc rc, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with ": " and the text of the given errno appended. */
enum rc io_fail_errno(struct io_error *ret_error, enum rc rc, int error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum rc io_rc_of_errno(int error); /* ENOENT and its like: RC_ABSENT, EEXIST: RC_EXISTS, ENOMEM: RC_NOMEM ... */

/* A missing capability is the usual reason of EPERM and EACCES; one wording of its remedy. */
#define IO_REMEDY_PRIVILEGE "run aditd as root, or give it CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE"

#endif
