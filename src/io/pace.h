/* A socket whose packets come in numbers is not listened to: woken by each, the kernel works more for waking us than for the packet,
 * and we do everything for a few packets at a time. It is looked at after a moment, again and again, until there is little in it.
 * A packet alone is handed over at once. */
#ifndef ADIT_IO_PACE_H
#define ADIT_IO_PACE_H

#include "error.h"

struct pace {
    struct io_loop *loop;
    struct io_watch *watch; /* the socket's */
    struct io_watch timer;  /* fd -1: not open */
};

/* Watches the socket. */
enum rc pace_open(struct pace *p, struct io_loop *loop, struct io_watch *watch,
                  struct io_error *ret_error) ADIT_MUST_USE;
/* Before the socket itself; fine on one that was not opened. */
void pace_close(struct pace *p);
/* The last act of watch->ready(), always: n came at once. A run of UDP_GRO is one. */
void pace_note(struct pace *p, size_t n);

#endif
