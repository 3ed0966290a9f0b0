/* What the daemon and its helper use to give up rights. */
#ifndef ADIT_IO_PRIVILEGES_H
#define ADIT_IO_PRIVILEGES_H

#include "error.h"

#define CAPABILITY(number) (UINT64_C(1) << (number))

/* Keep these of the capabilities we have, in the permitted and effective sets; no new privileges by execve(). */
enum rc capabilities_keep(uint64_t keep, struct io_error *ret_error) ADIT_MUST_USE;
/* From now on every other system call answers EPERM (clone3: ENOSYS, so that the C library falls back to clone, whose flags
 * can be seen). Names this machine does not have are skipped. Nothing happens in a sanitizer build. */
enum rc system_calls_allow(const char *const *names, size_t n, struct io_error *ret_error) ADIT_MUST_USE;

#endif
