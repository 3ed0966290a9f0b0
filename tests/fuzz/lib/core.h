/* A small daemon without descriptors: the IKE engine and the datapath with a few tunnels, for hostile input. What it holds:
 * endpoint 198.51.100.2; GRE tunnels to 192.0.2.3, and to 192.0.2.4 with key 7, checksum and sequence numbers that are checked; a hybrid IPsec tunnel
 * to 192.0.2.2 with two Child SAs, CORE_SPI (AES-GCM-16-256) and CORE_SPI_CBC (AES-CBC-256, HMAC-SHA2-256-128), key octets 00 01 02 ..
 * Inner 10.0.0.0/8 and 2001:db8::/32 go to the IPsec tunnel, 172.16.0.0/12 and 2001:db8:6::/48 to the first GRE tunnel.
 */
#ifndef ADIT_TESTS_CORE_H
#define ADIT_TESTS_CORE_H

#include "adit/dp.h"
#include "adit/ike.h"

#define CORE_ACCOUNT 5
#define CORE_SPI 0x0ad17001u     /* inbound */
#define CORE_SPI_CBC 0x0ad17002u /* inbound */
#define CORE_SPI_OUT 0xc0570001u /* outbound of the first one; the other has one more */

struct core {
    struct crypto *crypto;
    struct ike *ike;
    struct dp *dp;
    struct dp_worker *worker;
    struct pkt_pool *pool;
    struct acts acts;
    struct rng rng;
    uint64_t seed, now;
    struct pkt *out[64 * PKT_BATCH];
    size_t n_out;
};

/* Stops the program if something cannot be made. udp: the Child SAs go in UDP 4500. */
void core_open(struct core *c, bool udp);
void core_close(struct core *c); /* it may be opened again */
void core_end(struct core *c);   /* for good */
/* From the tunnel's peer: packet sockets carry no ports. */
struct path core_path(enum pkt_from from, const char *peer);

/* UDP payload as it comes to port 500, or behind the marker to 4500; the actions are in c->acts. */
void core_ike(struct core *c, const struct path *path, struct span datagram);
/* What came of the packet is c->out until core_done(). false: a datagram too large for a buffer. */
bool core_packet(struct core *c, enum pkt_from from, const struct path *path, struct span data);
/* Several in one batch; one from the TUN with what the kernel left to do. */
bool core_packets(struct core *c, enum pkt_from from, const struct path *path, const struct span *data, size_t n);
bool core_super(struct core *c, struct span data, const struct pkt_offload *offload);
void core_done(struct core *c); /* buffers, actions and events go back */
/* The Child SA's keys. */
struct child_sa core_child(const struct tunnel_policy *ipsec, uint32_t spi_in, bool udp);
struct tunnel_policy core_ipsec(void);

#endif
