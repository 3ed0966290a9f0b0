/* io: file descriptors and bytes. The only room that talks to the kernel: epoll, outer sockets, TUN, netlink, namespaces,
 * control socket, clock, entropy, log output, privileges. Knows no SA, no policy, no meaning of a protocol.
 *
 * Every entry point that can fail for a reason an operator can mend returns enum rc and fills a struct io_error (which may
 * be NULL) with one line: what failed, why, and the remedy. Nothing here logs; the caller does.
 * One thread per object, but for what says "any thread". Outputs are untouched on failure unless said otherwise.
 *
 * Order of a start:  io_signals_block -> io_helper_start (before the configuration is read, so that no secret is in its memory,
 * and before any thread; io_helper_stop when no account has a namespace) -> io_instance_lock -> io_loop_new, io_loop_signals -> io_outer_open -> io_tun_open ... per account
 * -> io_control_open -> io_privileges_drop -> io_notify("READY=1") -> io_loop_run.
 */
#ifndef ADIT_IO_H
#define ADIT_IO_H

#include "adit/base.h"
#include "adit/pkt.h"

#include <sys/types.h>

struct io_error {
    char text[320];
};

/* ---- clock.c */
uint64_t io_clock_now(void);  /* CLOCK_MONOTONIC, ns: the `now` of every room */
uint64_t io_clock_unix(void); /* seconds since 1970 */

/* ---- entropy.c: getrandom(2) behind a buffer of its own, erased as it is handed out. After a fork the child's buffer is
 * empty (MADV_WIPEONFORK), so both sides never draw the same octets. Aborts when the kernel has no randomness. */
struct io_entropy;
enum rc io_entropy_new(struct io_entropy **ret, struct io_error *ret_error) ADIT_MUST_USE;
void io_entropy_free(struct io_entropy *entropy);
struct rng io_entropy_rng(struct io_entropy *entropy);

/* ---- loop.c: one epoll set, level-triggered. A round: all urgent watches that are ready, then the others, then `round`. */
struct io_loop;
enum { IO_READ = 1, IO_WRITE = 2, IO_HANGUP = 4 }; /* HANGUP (error or peer gone) is always reported */
struct io_watch {                                  /* lies in its owner; zero before io_loop_watch() */
    int fd;
    unsigned events;                           /* IO_READ | IO_WRITE */
    bool urgent;                               /* IKE before ESP, control before bulk */
    void (*ready)(void *ctx, unsigned events); /* may unwatch any watch, itself included */
    void *ctx;
    struct io_loop *loop; /* the loop's; NULL: not watched */
};
struct io_loop_hooks {
    /* After every round of callbacks, and when the deadline passed: do what is due, return the next deadline (NEVER). */
    uint64_t (*round)(void *ctx, uint64_t now);
    void (*signal)(void *ctx, int signo); /* SIGTERM, SIGINT, SIGHUP */
    void *ctx;
};
enum rc io_loop_new(const struct io_loop_hooks *hooks, struct io_loop **ret, struct io_error *ret_error) ADIT_MUST_USE;
void io_loop_free(struct io_loop *loop);
enum rc io_loop_watch(struct io_loop *loop, struct io_watch *watch, struct io_error *ret_error) ADIT_MUST_USE;
void io_loop_change(struct io_watch *watch, unsigned events);
void io_loop_unwatch(struct io_watch *watch); /* safe on one that is not watched; before close(fd) */
/* Block SIGTERM, SIGINT, SIGHUP and ignore SIGPIPE: first thing in main(), before any thread or child. */
void io_signals_block(void);
enum rc io_loop_signals(struct io_loop *loop,
                        struct io_error *ret_error) ADIT_MUST_USE;                   /* deliver them to hooks.signal */
enum rc io_loop_run(struct io_loop *loop, struct io_error *ret_error) ADIT_MUST_USE; /* until io_loop_stop() */
void io_loop_stop(struct io_loop *loop); /* deferred: the round ends first */

/* ---- bell.c: wakes another thread's loop. */
struct io_bell;
enum rc io_bell_new(struct io_bell **ret, struct io_error *ret_error) ADIT_MUST_USE;
void io_bell_free(struct io_bell *bell);
int io_bell_fd(const struct io_bell *bell); /* for a watch on IO_READ */
/* Any thread: what it wrote before, the thread that is woken sees after its io_bell_hush(). */
void io_bell_ring(struct io_bell *bell);
/* By the thread that was woken, before it looks for what it was woken for: takes all that rang until now. */
void io_bell_hush(struct io_bell *bell);

/* ---- outer.c: the sockets towards the Internet: raw 47, raw 50, UDP 500, UDP 4500, ICMP, per family, wildcard.
 * Received: a datagram to an address that is none of `endpoints` is ignored and counted. Sent: from exactly the source the
 * packet or path names. Every buffer handed over has PKT_HEADROOM in front.
 *
 * Several threads share the work, each with an io_outer of its own in its own loop. The kernel spreads port 4500 by SPI:
 * worker SPI % workers, and IKE to the control thread; in packet mode ESP by SPI and GRE by flow as well. Raw sockets
 * it does not spread: each protocol and family has one worker that reads, the others only send. All this is for speed: what
 * belongs to another thread may come to any (a coalesced run goes where its first segment does), and both callbacks may be
 * called in every part.
 *
 * Order, as the kernel numbers the sockets of port 4500 in the order they come: open the IKE part first, then worker 0 to the
 * last, and io_outer_set() them in the same order. A closed socket's number goes to another, so in a change whatever one part
 * may close, none of them may open again before all have closed it: first set all of them to the old and the new want together,
 * then all to the new one (or, when a part refuses, to the old one). */
struct io_outer;
enum io_outer_part {
    IO_OUTER_ALL,    /* one loop has every socket */
    IO_OUTER_IKE,    /* the control thread: UDP 500, and IKE on 4500; sends datagrams only */
    IO_OUTER_WORKER, /* a share of the rest; sends packets only */
};
struct io_outer_want {            /* what a reload may change */
    const struct addr *endpoints; /* copied */
    size_t n_endpoints;
    bool gre;   /* GRE tunnels exist: raw 47 */
    bool ipsec; /* IPsec tunnels exist: raw 50, UDP 500 and 4500 */
};
struct io_outer_config {
    struct io_outer_want want;
    enum io_outer_part part;
    unsigned worker, workers;     /* IO_OUTER_WORKER: 0 .. workers - 1; IO_OUTER_IKE: `workers` alone */
    const struct io_outer *first; /* of workers 1 and up with `packet`: worker 0; read in io_outer_open() only */
    uint16_t ike_port, natt_port; /* 0: 500, 4500 */
    uint32_t mark;                /* SO_MARK; 0 none */
    const char *device;           /* SO_BINDTODEVICE; NULL none */
    bool packet;                  /* GRE and ESP with DF past the kernel's IP layer, see io_outer_trouble() */
    struct pkt_pool *pool;        /* outlives it */
    /* The batch becomes the callee's: dp_from_net(). */
    void (*packets)(void *ctx, struct pkt **v, size_t n);
    /* One IKE datagram from either port; on 4500 the marker is already removed. Borrowed for the call. */
    void (*datagram)(void *ctx, const struct path *path, struct span datagram);
    void *ctx;
};
enum rc io_outer_open(struct io_loop *loop, const struct io_outer_config *config, struct io_outer **ret,
                      struct io_error *ret_error) ADIT_MUST_USE;
void io_outer_close(struct io_outer *outer);
/* Why the sockets do all the work though `packet` was asked for; NULL: it is as asked. */
const char *io_outer_trouble(const struct io_outer *outer);
/* Opens what is wanted and not open, closes what is not wanted any more; on failure all is as before. */
enum rc io_outer_set(struct io_outer *outer, const struct io_outer_want *want,
                     struct io_error *ret_error) ADIT_MUST_USE;
/* Packets with verdict PKT_TO_GRE, PKT_TO_ESP or PKT_TO_NATT, as pkt.outer says. They stay the caller's. Never blocks: returns
 * how many the kernel refused (for dp_count_drop()); other verdicts are refused too. */
size_t io_outer_send(struct io_outer *outer, struct pkt *const *v, size_t n);
/* An IKE datagram (act SEND). Refusals are counted, not retried: the peer retransmits, and so do we. */
void io_outer_send_datagram(struct io_outer *outer, const struct path *path, bool marker, struct span datagram);

#define IO_OUTER_COUNTS(X)                                                                      \
    X(RECEIVED, "received") /* datagrams, all sockets */                                        \
    X(SENT, "sent")                                                                             \
    X(DROP_DESTINATION, "drop_destination") /* not one of our endpoints */                      \
    X(DROP_HEADER, "drop_header")           /* no or malformed IP header or control messages */ \
    X(DROP_SHORT, "drop_short")             /* port 4500: shorter than a marker or an SPI */    \
    X(DROP_TRUNCATED, "drop_truncated")     /* larger than any buffer */                        \
    X(DROP_POOL, "drop_pool")               /* no buffer was free */                            \
    X(LOST_RING, "lost_ring")               /* outer.mode packet: ring full; not received */    \
    X(KEEPALIVE, "keepalive")               /* NAT-T keepalive, RFC 3948 2.3 */                 \
    X(RECEIVE_ERROR, "receive_error")                                                           \
    X(SEND_FULL, "send_full")               /* EAGAIN, ENOBUFS: queue or socket buffer full */  \
    X(SEND_TOO_BIG, "send_too_big")         /* EMSGSIZE: DF and larger than the device's MTU */ \
    X(SEND_UNREACHABLE, "send_unreachable") /* no route, no such source address */              \
    X(SEND_REFUSED, "send_refused")         /* EPERM: a packet filter */                        \
    X(SEND_ERROR, "send_error")             /* anything else */
enum io_outer_count {
#define X(id, text) IO_OUTER_COUNT_##id,
    IO_OUTER_COUNTS(X)
#undef X
        IO_OUTER_COUNT_END
};
const char *io_outer_count_name(enum io_outer_count c);
uint64_t io_outer_count(const struct io_outer *outer, enum io_outer_count c); /* any thread */

/* ---- helper.c: the namespace helper. The same binary, forked before privileges drop; keeps CAP_SYS_ADMIN, CAP_NET_ADMIN
 * and what reaching a namespace's file needs; answers one request: namespace, device -> rtnetlink and TUN descriptors. */
struct io_helper;
enum rc io_helper_start(struct io_helper **ret, struct io_error *ret_error) ADIT_MUST_USE;
void io_helper_stop(struct io_helper *helper); /* it ends by itself when the daemon dies */
pid_t io_helper_pid(const struct io_helper *helper);
int io_helper_fd(const struct io_helper *helper); /* for a watch on IO_HANGUP only: the helper died */

/* ---- tun.c: an account's TUN device and the routes into it */
#define IO_QUEUES_MAX 64
#define IO_ROUTE_PROTOCOL 173 /* rtm_protocol of all our routes: `ip route show proto 173` */
struct io_tun;
struct io_tun_config {
    const char *netns;  /* name below /run/netns, or an absolute path; NULL: the daemon's own */
    bool create;        /* make the namespace (as `ip netns add` does) when it does not exist */
    const char *device; /* at most 15 octets; must not exist there */
    unsigned queues;    /* 1 .. IO_QUEUES_MAX; each may be read and written by a thread of its own */
    uint32_t account;   /* goes into every pkt read */
    bool offload;       /* super-packets and unfinished checksums may be read and written: pkt.offload */
};
/* helper: may be NULL when netns is NULL. Blocks for the helper's answer, 5 s at most. RC_ABSENT: no such namespace;
 * RC_EXISTS: the device's name is taken. Sets on the device: IPv4 forwarding, rp_filter 0, accept_local, addr_gen_mode none.
 * The link is still down. When the device was deleted its descriptor reports IO_HANGUP, and reading RC_ABSENT. */
enum rc io_tun_open(struct io_helper *helper, const struct io_tun_config *config, struct io_tun **ret,
                    struct io_error *ret_error) ADIT_MUST_USE;
void io_tun_close(struct io_tun *tun);                    /* the device, its addresses and routes go with it */
void io_tuns_close(struct io_tun *const *tuns, size_t n); /* many at once, in threads that end before it returns */
int io_tun_fd(const struct io_tun *tun, unsigned queue);  /* non-blocking, for a watch on IO_READ */
/* Up to max packets from a queue into ret (ret_n of them). RC_OK: all read that was there, or max or some 256 KiB
 * reached, or the pool is empty (then packets wait in the device's queue). RC_ABSENT: the device or its namespace is gone: close and open anew. */
enum rc io_tun_read(struct io_tun *tun, unsigned queue, struct pkt_pool *pool, struct pkt **ret, size_t max,
                    size_t *ret_n) ADIT_MUST_USE;
/* Packets with verdict PKT_TO_TUN, each into its own queue or this one, by the thread of this one. They stay the caller's. ret_dropped is
 * always set. RC_ABSENT as above. */
enum rc io_tun_write(struct io_tun *tun, unsigned queue, struct pkt *const *v, size_t n,
                     size_t *ret_dropped) ADIT_MUST_USE;
/* The name of its namespace is gone, or names another one now. The kernel does not say so: our descriptors keep alive what was
 * deleted. Ask every few seconds; close and open anew. */
bool io_tun_is_orphan(const struct io_tun *tun);
/* What the kernel agreed to, for people: "csum tso4 tso6 uso4 uso6", or "none". Each kernel is offered all and gives what it has. */
const char *io_tun_offloads(const struct io_tun *tun);
enum { IO_SUPER_TCP = 1, IO_SUPER_UDP = 2 };    /* both IP versions of each */
uint8_t io_tun_super(const struct io_tun *tun); /* which super-packets it gives and takes: IO_SUPER_* */
struct io_tun_counts {
    uint64_t read, written;
    uint64_t read_truncated; /* larger than any buffer */
    uint64_t read_error;     /* an offload that was not agreed on */
    uint64_t write_full, write_down, write_error;
};
void io_tun_counts(const struct io_tun *tun, struct io_tun_counts *ret); /* of all queues; any thread */

/* ---- link.c, route.c: what is done through the account's rtnetlink descriptor. RC_ABSENT: the device is gone. Adding what is
 * there and removing what is not are fine. */
enum rc io_link_up(struct io_tun *tun, uint32_t mtu, struct io_error *ret_error) ADIT_MUST_USE; /* up, or a new MTU */
/* The address and, as our own route, its subnet: `mtu` is the tunnel's (0: the device's). Both or neither. */
enum rc io_address_add(struct io_tun *tun, const struct prefix *address, uint32_t mtu,
                       struct io_error *ret_error) ADIT_MUST_USE;
enum rc io_address_remove(struct io_tun *tun, const struct prefix *address, struct io_error *ret_error) ADIT_MUST_USE;
struct io_route {
    struct prefix prefix;
    uint32_t metric; /* 0: the kernel's default */
    uint32_t mtu;    /* RTAX_MTU; 0: the device's */
};
/* Key: prefix and metric. A route of ours is replaced; RC_EXISTS: somebody else's stands there, and stays. */
enum rc io_route_add(struct io_tun *tun, const struct io_route *route, struct io_error *ret_error) ADIT_MUST_USE;
enum rc io_route_remove(struct io_tun *tun, const struct io_route *route, struct io_error *ret_error) ADIT_MUST_USE;
/* What in the account's namespace keeps packets from flowing: strict rp_filter for all devices, IPv6 forwarding off. */
struct io_hazard {
    char text[320]; /* what it is, what it does, the remedy */
};
size_t io_tun_hazards(struct io_tun *tun, struct io_hazard *ret, size_t max);
bool io_address_is_local(const struct addr *address); /* assigned in the daemon's own namespace */

/* ---- host.c: things on the host that break a userspace endpoint (modules, policies, conntrack). Best effort, at start. */
size_t io_host_hazards(bool gre, bool ipsec, struct io_hazard *ret, size_t max);

/* ---- lock.c: one instance per network namespace (raw sockets deliver a copy to each). RC_EXISTS names the other's pid.
 * The descriptor is the lock: it goes when the process does. */
enum rc io_instance_lock(int *ret_fd, struct io_error *ret_error) ADIT_MUST_USE;

/* ---- control.c: lines of text in, lines of text out, over a Unix socket. Limits: docs/limits.md. */
#define IO_CONTROL_CLIENTS 16
#define IO_CONTROL_REQUEST_MAX (64u * 1024)
#define IO_CONTROL_IDLE (30 * NS_PER_S) /* a client that neither asks nor reads for this long is closed */
struct io_control;
struct io_control_config {
    const char *path;  /* its folder is made (0750) when missing, one level */
    const char *group; /* may connect besides root and our own user; NULL none */
    /* Append the answer, without its newline, to ret. Anything but RC_OK closes the connection unanswered. */
    enum rc (*request)(void *ctx, struct span line, struct buf *ret);
    void *ctx;
};
enum rc io_control_open(struct io_loop *loop, const struct io_control_config *config, struct io_control **ret,
                        struct io_error *ret_error) ADIT_MUST_USE;  /* RC_EXISTS: another daemon listens there */
void io_control_close(struct io_control *control);                  /* removes the socket's file */
uint64_t io_control_tick(struct io_control *control, uint64_t now); /* closes idle clients; the next deadline */

/* ---- logsink.c: one line per event on stderr, text or JSON; with journald's level prefix under systemd. Octets from a peer
 * are escaped. For struct log: emit = io_logsink_emit, ctx = the sink. */
struct io_logsink;
enum rc io_logsink_new(int fd, bool json, struct io_logsink **ret) ADIT_MUST_USE;
void io_logsink_free(struct io_logsink *sink);
void io_logsink_emit(void *ctx, const struct log_event *event);
void io_logsink_set_json(struct io_logsink *sink, bool json);

/* ---- files.c: the `read` of struct config_reader; ctx is not used. */
enum rc io_file_read(void *ctx, const char *path, size_t max, struct buf *ret, uint32_t *ret_mode,
                     uint32_t *ret_uid) ADIT_MUST_USE;

/* ---- notify.c: systemd's notification socket. All of it does nothing when there is none. */
void io_notify(const char *state); /* "READY=1", "STOPPING=1", "STATUS=3 tunnels up", "WATCHDOG=1" */
void io_notify_reloading(void);    /* RELOADING=1 with the time stamp that systemd wants */
/* Send WATCHDOG=1 this often (half of what systemd waits); NEVER: not wanted. */
uint64_t io_notify_watchdog_interval(void);

/* ---- privileges.c */
/* The capabilities a start needs are there; else an error that names the missing ones and the remedy. */
enum rc io_privileges_check(bool helper, struct io_error *ret_error) ADIT_MUST_USE;
/* Early: no core dump, no ptrace, RLIMIT_MEMLOCK and RLIMIT_NOFILE as high as allowed. */
void io_privileges_harden(void);
/* Late: keep CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE only, no new privileges, system call filter (not in
 * sanitizer builds). io_outer_open() and io_tun_open() still work afterwards. Threads that start later inherit all of it. */
enum rc io_privileges_drop(struct io_error *ret_error) ADIT_MUST_USE;

#endif
