/* What the daemon and its helper use to give up rights. */
#ifndef ADIT_IO_PRIVILEGES_H
#define ADIT_IO_PRIVILEGES_H

#include "error.h"

#define CAPABILITY(number) (UINT64_C(1) << (number))

/* Sanitizers make system calls of their own: such a build has no filter. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Keep these of the capabilities we have, in the permitted and effective sets; no new privileges by execve(). */
enum rc capabilities_keep(uint64_t keep, struct io_error *ret_error) ADIT_MUST_USE;
/* From now on every other system call answers EPERM, in threads of later too (clone3: ENOSYS, so that the C library falls back to
 * clone, whose flags can be seen: a thread, no process). Names this machine does not have are skipped. Nothing happens in a sanitizer build. */
enum rc system_calls_allow(const char *const *names, size_t n, struct io_error *ret_error) ADIT_MUST_USE;

#endif
