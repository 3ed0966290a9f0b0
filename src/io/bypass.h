/* Ways past the kernel's IP layer (outer.mode). What they carry: whole packets of protocols 47 and 50 with DF. A packet without DF
 * may have been fragmented, or may still be, which is the kernel's business: the raw sockets keep those, both ways, and go on
 * refusing "protocol unreachable" to the peer. */
#ifndef ADIT_IO_BYPASS_H
#define ADIT_IO_BYPASS_H

#include "outer.h"

struct outer_bypass { /* the first member of each kind's own */
    const struct outer_bypass_ops *ops;
};
struct outer_bypass_ops {
    enum rc (*open)(struct io_outer *o, struct outer_bypass **ret, struct io_error *ret_error);
    void (*close)(struct outer_bypass *bypass);
    bool (*share)(int fd); /* keep what the bypass receives from a raw IPv4 socket */
    /* Sends what it can, all of one family and protocol; the others move to the front of v. Returns how many these are; ret_sent:
     * how many went out (what the device refused is neither). */
    size_t (*send)(struct outer_bypass *bypass, uint8_t protocol, struct pkt **v, size_t n, size_t *ret_sent);
};
extern const struct outer_bypass_ops packet_ops; /* packet.c: AF_PACKET rings */

/* For the packets a bypass received, data at the IPv4 header: into pkt.outer and off. False: dropped and counted. */
bool outer_read_header(struct io_outer *o, struct pkt *p) ADIT_MUST_USE;
void outer_count_refusal(struct io_outer *o, int error); /* of a send */

#endif
