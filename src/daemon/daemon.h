/* daemon: wiring. Everything that runs hangs from one struct daemon; each file below uses its own part of it.
 *
 *   main.c      options; --check, --dump, --version
 *   start.c     what is built in which order, and taken down again
 *   apply.c     a configuration, or the difference between two, becomes commands to the cores
 *   inside.c    an account's TUN: addresses, routes, MTU; rebuilt when its namespace comes back
 *   traffic.c   datagrams and actions between sockets, ike and dp
 *   sockets.c   the outer sockets, in as many parts as there are threads
 *   crew.c      the threads that do the packet work, or none
 *   forward.c   one thread's: packets between sockets, TUNs and dp
 *   handoff.c   packets from one thread to another
 *   grace.c     when what dp gave away may be freed
 *   control.c   requests of aditctl
 *   report.c    the JSON they are answered with
 *   handles.c   numbers and names of tunnels and accounts
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "adit/config.h"
#include "adit/dp.h"
#include "adit/ike.h"
#include "adit/io.h"
#include "crew.h"
#include "handles.h"

#define WARNINGS_MAX 16
#define INSIDE_RETRY (2 * NS_PER_S)          /* a TUN that cannot be opened is tried again */
#define RETIRED_MAX 1024                     /* beyond that they go at once */
#define RETIRED_LINGER (2 * NS_PER_S)        /* for packets that a Delete has overtaken: sockets have no common order */
#define SHUTDOWN_PATIENCE (1500 * NS_PER_MS) /* for the peers' answers to our Delete */

struct retired { /* a Child SA that another replaced: it is removed from dp then */
    uint64_t at;
    uint32_t spi_in;
};

struct daemon {
    const char *path;      /* of the configuration */
    struct config *config; /* running; NULL before the first apply */
    struct config *next;   /* to start with; NULL once it runs */
    struct handles handles;

    struct io_logsink *sink;
    struct log log;
    struct io_entropy *entropy;
    struct rng rng;
    struct crypto *crypto;

    struct ike *ike;
    struct acts acts;
    struct dp *dp;
    struct crew *crew;
    bool unpublished;                    /* dp tables changed since dp_publish() */
    struct retired retired[RETIRED_MAX]; /* a ring, oldest first */
    size_t retired_first, n_retired;

    struct io_helper *helper; /* NULL: no account has a namespace of its own */
    struct io_watch helper_watch;
    int lock_fd;
    struct io_loop *loop;
    struct io_outer *outer; /* IKE's part; without workers all of it */
    uint64_t inside_at;     /* when an account's TUN is to be looked at next */
    struct io_control *control;

    uint64_t started;
    uint64_t watchdog_interval, watchdog_at;
    uint64_t stop_at; /* shutting down: give up then; 0 while running */
    struct io_hazard warnings[WARNINGS_MAX];
    size_t n_warnings;
    struct io_error failure; /* of a worker, which ends the daemon */
};

/* start.c */
/* Takes config and helper, which was started before the configuration was read. NULL: out of memory, both stay the caller's. */
struct daemon *daemon_new(const char *path, struct config *config, struct io_helper *helper);
enum rc daemon_start(struct daemon *d, struct io_error *ret_error) ADIT_MUST_USE;
enum rc daemon_run(struct daemon *d, struct io_error *ret_error) ADIT_MUST_USE;
void daemon_free(struct daemon *d);         /* takes everything down, routes and TUNs included */
void daemon_shutdown(struct daemon *d);     /* Delete to every peer, then the loop ends */
void daemon_look_at_host(struct daemon *d); /* what keeps packets from flowing: d->warnings, and a line each */

/* apply.c */
bool apply_wants_helper(const struct config *c); /* an account lives in another namespace */
/* Makes d do what `next` says instead of d->config (NULL at start); takes `next` on success. On failure `next` stays the
 * caller's, nothing that ran before has changed, and the reason stands in ret_error. ret_changes: rows touched. */
enum rc apply_config(struct daemon *d, struct config *next, size_t *ret_changes,
                     struct io_error *ret_error) ADIT_MUST_USE;
/* Reads d->path again and applies it; text for people, error or not, goes to ret. */
enum rc apply_reload(struct daemon *d, struct io_error *ret) ADIT_MUST_USE;

/* inside.c */
/* The device alone: inside_sync() makes the rest. At start a failure is the caller's, later it is logged and tried again. */
enum rc inside_open(struct daemon *d, uint32_t account, struct io_error *ret_error) ADIT_MUST_USE;
/* Closes all that were told to leave, together: the kernel takes 20 ms over each alone, and little more over many. */
void inside_close_left(struct daemon *d);
void inside_leave(struct daemon *d, uint32_t account);
void inside_sync(struct daemon *d, uint32_t account); /* addresses, routes and MTU as configuration and SAs want them */
uint64_t inside_tick(struct daemon *d, uint64_t now); /* opens what could not be opened; next deadline */
struct io_tun *inside_tun(const struct daemon *d, uint32_t account); /* NULL: not there now */
void inside_lost(void *daemon, uint32_t account);                    /* its device is gone */
void inside_lost_by_workers(void *daemon);                           /* whose devices are gone, they know */

/* sockets.c */
/* All parts, or what is missing of them; then what is no longer wanted. */
enum rc sockets_open(struct daemon *d, const struct config *next, const struct io_outer_want *want,
                     struct io_error *ret_error) ADIT_MUST_USE;
enum rc sockets_set(struct daemon *d, const struct io_outer_want *want, struct io_error *ret_error) ADIT_MUST_USE;
void sockets_close(struct daemon *d);
uint64_t sockets_count(const struct daemon *d, enum io_outer_count c); /* of all parts together */

/* traffic.c */
void traffic_datagram(void *daemon, const struct path *path, struct span datagram);
void traffic_publish(struct daemon *d);              /* dp tables become visible, if they changed */
void traffic_execute(struct daemon *d);              /* d->acts, in their order, until none is left */
void traffic_events(struct daemon *d, uint64_t now); /* what dp noticed becomes commands to ike */
void traffic_tick(struct daemon *d, uint64_t now);
uint64_t traffic_retired(struct daemon *d, uint64_t now); /* Child SAs that lingered long enough go; next deadline */

/* control.c */
enum rc control_request(void *daemon, struct span line, struct buf *ret);

#endif
