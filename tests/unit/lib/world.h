/* Two datapath cores back to back: EDGE is ours (198.51.100.2, 2001:db8:5::2), PEER the customer's (192.0.2.2, 2001:db8:9::2).
 * Tunnel 0 is GRE, tunnel 1 IPsec, both of account 7. Edge side routes: 10.1.0.0/16 and 2001:db8:1::/48 into IPsec, 10.2.0.0/16 and
 * 2001:db8:2::/48 into GRE; the peer routes 0.0.0.0/0 into GRE and 10.0.0.0/8, 2001:db8::/32 into IPsec.
 */
#ifndef ADIT_TESTS_WORLD_H
#define ADIT_TESTS_WORLD_H

#include "adit/dp.h"
#include "adit/wire_ip.h"
#include "unit.h"

enum side { EDGE, PEER };
enum { GRE_TUNNEL, IPSEC_TUNNEL, ACCOUNT = 7, SENDER_ID = 0xabc123 };
#define WORLD_WORKERS 4
#define SPI_EDGE 0x11111111u /* inbound at the edge */
#define SPI_PEER 0x22222222u

struct world {
    struct crypto *crypto;
    struct pkt_pool *pool;
    uint64_t now, dice;
    struct rng rng;
    struct dp *dp[2];
    struct dp_worker *w[2];                /* number 0 */
    struct dp_worker *edge[WORLD_WORKERS]; /* all of EDGE's */
    struct pkt **out;                      /* of the last run */
    size_t n_out;
    size_t n_small, n_large;
};

extern const struct esp_alg world_algs[]; /* every cipher there is */
extern const size_t world_n_algs;
#define GCM256                                    \
    (struct esp_alg)                              \
    {                                             \
        .encr = ENCR_AES_GCM_16, .encr_bits = 256 \
    }
#define CBC256                                                                   \
    (struct esp_alg)                                                             \
    {                                                                            \
        .encr = ENCR_AES_CBC, .encr_bits = 256, .integ = INTEG_HMAC_SHA2_256_128 \
    }

struct addr ip(const char *text);
struct prefix net(const char *text);

int world_open(void **state); /* cmocka set-up: *state is the world, with both tunnels and routes, no SA */
int world_open_two(
    void **state); /* the same, with as many workers at EDGE; the GRE tunnel is number 0's, the other number 1's */
int world_open_four(void **state);
int world_close(void **state); /* every packet must be back in the pool */
struct tunnel_policy world_gre(enum side side);
struct tunnel_policy world_ipsec(enum side side);
void world_set(struct world *w, enum side side, const struct tunnel_policy *t); /* and publish */
void world_unprotect(struct world *w); /* at both sides: SAs of the IPsec tunnel to come check no replay */
void world_route(struct world *w, enum side side, const char *prefix, uint32_t tunnel, uint32_t priority,
                 uint16_t weight);
struct child_sa world_child(enum side side, struct esp_alg alg); /* 0.0.0.0/0 both ways, raw ESP */
void world_selectors(struct child_sa *c, const char *local, const char *remote);
void world_up(struct world *w, struct esp_alg alg, uint8_t outer_family, bool udp, uint8_t inner_family);
/* The edge's SA of a tunnel that is set, and of which the tables do not know yet. */
void world_up_early(struct world *w);

/* Give one packet to a side. What came out is w->out; returns the first one. The caller frees by world_done(). */
struct pkt *world_tun(struct world *w, enum side side, struct span packet);
struct pkt *world_net(struct world *w, enum side side, const struct pkt_outer *outer, enum pkt_from from,
                      struct span data);
struct pkt *world_run_tun(struct world *w, enum side side, struct pkt **v, size_t n);
struct pkt *world_run_net(struct world *w, enum side side, struct pkt **v, size_t n);
/* Carry what came out of one side to the other one's network side; it is consumed. */
struct pkt *world_carry(struct world *w, enum side to);
void world_done(struct world *w);
struct pkt *world_packet(struct world *w, struct span data, enum pkt_from from); /* account 7 */
struct pkt_outer world_outer(enum side to, uint8_t family);                      /* as it would be received by `to` */

uint64_t world_drops(const struct world *w, enum side side, enum dp_reason reason); /* all together */
/* The packet was dropped for this reason, and the tunnel's (or else only the total's) counter says so. */
#define assert_dropped(w, side, p, why)                                        \
    do {                                                                       \
        assert_non_null(p);                                                    \
        assert_int_equal((p)->verdict, PKT_DROP);                              \
        assert_string_equal(dp_reason_name((p)->reason), dp_reason_name(why)); \
        assert_true(world_drops((w), (side), (why)) > 0);                      \
    } while (0)

/* An IP packet: payload octets 0, 1, 2 ..; the result is valid until the next but three. */
struct span ip_packet(const char *src, const char *dst, uint8_t proto, size_t payload);
struct span ip_packet_of(const char *src, const char *dst, uint8_t proto, struct span payload);
struct span tcp_syn(const char *src, const char *dst, struct span options); /* SYN with right checksum */
bool tcp_checksum_ok(struct span packet);
uint8_t *edit(struct span packet); /* the octets, to be changed; ip_mend() the IPv4 header after */
void ip_mend(struct span packet);

#endif
