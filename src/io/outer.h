/* The outer sockets, between outer.c (life), outer_receive.c and outer_send.c. */
#ifndef ADIT_IO_OUTER_H
#define ADIT_IO_OUTER_H

#include "adit/shared.h"
#include "pace.h"

#include <netinet/in.h>

#ifndef UDP_GRO /* linux/udp.h, which does not go with the C library's headers */
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

/* Port 4500 has two sockets: IKE has a queue of its own, which no amount of ESP fills. */
enum outer_kind { OUTER_GRE, OUTER_ESP, OUTER_ICMP, OUTER_IKE, OUTER_NATT_IKE, OUTER_NATT, OUTER_KINDS };
enum { OUTER_V4, OUTER_V6, OUTER_FAMILIES };

/* What the kernel is to do when a packet exceeds the path: our own datapath knows the path's MTU, the kernel's idea of it comes
 * from ICMP that anybody can forge. */
enum outer_df {
    OUTER_DF_UNSET,
    OUTER_DF_ON,  /* PMTUDISC_PROBE: DF=1, the kernel's path MTU ignored */
    OUTER_DF_OFF, /* PMTUDISC_OMIT: DF=0, fragmented at the device's MTU only */
};

struct outer_socket {
    struct io_watch watch; /* fd -1: not open */
    struct pace pace;      /* of what reads bulk */
    struct io_outer *outer;
    enum outer_kind kind;
    unsigned family;  /* OUTER_V4, OUTER_V6 */
    enum outer_df df; /* as the socket's option stands */
    int tos, ttl;     /* the same; -1: unknown */
    bool apart;       /* the device cannot segment: no runs */
    /* Of the latest coalesced datagrams (UDP_GRO); the next ones most likely look the same. */
    uint32_t run_size, run_length; /* octets of a segment; segments */
    uint32_t batch;                /* messages to make room for: what the latest calls brought, and more */
};

union outer_sockaddr {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Room for the control messages of either direction: packet info, TOS or class, TTL or hop limit. */
#define OUTER_CONTROL_MAX 128

#define OUTER_SLOTS (2 * PKT_BATCH)
struct outer_receiver {
    struct pkt *slot[OUTER_SLOTS]; /* buffers lent to the kernel */
    uint8_t *spill;                /* PKT_BATCH areas of PKT_LARGE, for what exceeds the slots; touched only then */
    size_t last_endpoint;          /* where the last match was */
};

struct outer_bypass;
struct io_outer {
    struct io_loop *loop;
    struct io_outer_config config; /* want.endpoints is owned; device points to device_name */
    char device_name[16];
    struct outer_socket sockets[OUTER_KINDS][OUTER_FAMILIES];
    struct outer_receiver receiver;
    struct outer_bypass *bypass; /* NULL: none */
    struct io_error trouble;     /* why there is none though it was asked for */
    int fanout;                  /* the group of the workers' bypasses, by number; -1: there is none */
    uint64_t counts[IO_OUTER_COUNT_END];
};

static inline void outer_count(struct io_outer *o, enum io_outer_count c, uint64_t n)
{
    ADD(o->counts[c], n);
}

static inline uint16_t outer_port(const struct io_outer *o, enum outer_kind kind)
{
    return kind < OUTER_IKE ? 0 : kind == OUTER_IKE ? o->config.ike_port : o->config.natt_port;
}

/* Only raw IPv4 sockets deliver the IP header; all others tell of it in control messages. */
static inline bool outer_has_header(enum outer_kind kind, unsigned family)
{
    return family == OUTER_V4 && kind <= OUTER_ICMP;
}

enum rc outer_receiver_init(struct io_outer *o, struct io_error *ret_error) ADIT_MUST_USE;
void outer_receiver_clear(struct io_outer *o);
void outer_socket_ready(void *ctx, unsigned events); /* of a struct outer_socket's watch */

#endif
