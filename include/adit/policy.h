/* policy: values that config makes and ike and dp obey. Plain data, no behaviour.
 * Strings and secrets are borrowed from the configuration that made them; ike and dp copy what they keep.
 */
#ifndef ADIT_POLICY_H
#define ADIT_POLICY_H

#include "adit/base.h"

/* A tunnel's handle: chosen by the daemon, stable over reloads while the tunnel (account, name) exists, dense from 0. */
#define TUNNEL_NONE UINT32_MAX
#define ACCOUNT_NONE UINT32_MAX

enum tunnel_type { TUNNEL_GRE, TUNNEL_IPSEC };
enum pq_mode { PQ_REQUIRE, PQ_PREFER, PQ_OFF };
enum df_mode { DF_COPY, DF_SET, DF_CLEAR };
enum ecn_mode { ECN_NORMAL, ECN_COMPAT };

/* Identification payload types, RFC 7296 3.5 */
enum id_type { ID_IPV4_ADDR = 1, ID_FQDN = 2, ID_RFC822_ADDR = 3, ID_IPV6_ADDR = 5, ID_KEY_ID = 11 };
#define IDENTITY_MAX 256
struct identity {
    uint8_t type; /* enum id_type */
    uint16_t n;
    uint8_t data[IDENTITY_MAX];
};

struct ts {        /* one traffic selector, RFC 7296 3.13.1; OPAQUE ports: first 65535, last 0 */
    uint8_t proto; /* 0 any */
    uint16_t port_first, port_last;
    struct addr first, last; /* same family */
};

/* One transform choice of an IKE or ESP proposal; 0 = that transform type is absent. */
#define ADDKE_MAX 7
struct suite {
    uint16_t encr, encr_bits, integ, prf, ke;
    uint16_t addke[ADDKE_MAX]; /* ADDKE1.. in order of use, 0 ends (RFC 9370) */
};

/* What we accept, in order of preference, one list per transform type. An IKE proposal from the peer is chosen by walking the
 * peer's proposals in order and taking, of each type, the first of ours that the proposal holds. */
#define ALGS_MAX 12
struct encr_choice {
    uint16_t encr, bits;
};
struct proposal_policy {
    struct encr_choice encr[ALGS_MAX];
    uint16_t integ[ALGS_MAX]; /* for non-AEAD encryption */
    uint16_t prf[ALGS_MAX];   /* IKE only */
    uint16_t ke[ALGS_MAX];    /* IKE: KE of IKE_SA_INIT; ESP: PFS groups */
    uint16_t addke[ALGS_MAX]; /* for every ADDKE type */
    uint8_t n_encr, n_integ, n_prf, n_ke, n_addke;
};

#define TUNNEL_IDENTITIES 8
#define TUNNEL_PSKS 4
struct psk {
    struct span value;  /* borrowed */
    uint64_t not_after; /* Unix seconds; 0 = for ever */
};

struct tunnel_policy {
    uint32_t tunnel, account;
    enum tunnel_type type;
    const char *account_name, *name;      /* borrowed */
    struct addr endpoint;                 /* ours */
    struct addr customer_endpoint;        /* family 0: none (IPsec only) */
    struct prefix interface4, interface6; /* our address with its length; family 0: none */

    /* outer header */
    enum df_mode df;
    uint8_t dscp; /* 0..63; DSCP_COPY */
    enum ecn_mode ecn;
    uint8_t ttl;       /* of the outer header; default 64 */
    uint16_t path_mtu; /* of the outer path: 1500 unless configured */
    uint16_t mtu, mss; /* 0: derived from the path MTU and the exact overhead */

    /* GRE */
    bool has_key, checksum, sequence, keepalive;
    bool sequence_check; /* drop received packets whose sequence number went back */
    uint32_t key;
    bool check_sources;                 /* inner source must be in one of the two lists; both are borrowed */
    const struct prefix *sources;       /* route prefixes and interface subnets of the account */
    const struct prefix *allow_sources; /* this tunnel's own */
    size_t n_sources, n_allow_sources;
    uint32_t protect; /* handle of the IPsec tunnel that carries this GRE tunnel; TUNNEL_NONE */

    /* IPsec */
    struct identity identities[TUNNEL_IDENTITIES]; /* accepted IDi; look-up key is (identity, endpoint) */
    uint8_t n_identities;
    struct identity local_identity; /* our IDr */
    struct psk psks[TUNNEL_PSKS];
    uint8_t n_psks;
    enum pq_mode pq;
    struct proposal_policy ike, esp; /* what of the daemon's lists may be used; an empty list: all of it */
    bool strict_peer, allow_null_cipher;
    struct addr gre_remote; /* the other end of the GRE tunnels that it protects; family 0: it protects none */
    bool replay_protection;
    uint32_t replay_window;              /* packets, 64..4096 */
    struct ts ts_local[2], ts_remote[2]; /* policy: IPv4 and IPv6; default 0.0.0.0/0 and ::/0 */
    uint8_t n_ts_local, n_ts_remote;
};
#define DSCP_COPY 64

struct route_policy {
    uint32_t account;
    struct prefix prefix;
    uint32_t tunnel;
    uint32_t priority; /* lower wins */
    uint16_t weight;   /* 1..256, flow-hash ECMP among equals */
};

/* Daemon-wide behaviour of the IKE responder. Times in nanoseconds. */
struct ike_policy {
    struct proposal_policy ike, esp;
    uint64_t half_open_timeout;            /* 30 s */
    uint64_t fragment_timeout;             /* 15 s */
    uint64_t ike_lifetime, child_lifetime; /* soft: we rekey; a child after 7 h at the latest */
    uint8_t jitter;                        /* percent by which a lifetime may be shortened */
    uint64_t followup_timeout;             /* for the peer's IKE_FOLLOWUP_KE, 20 s */
    uint64_t dpd_interval;                 /* silence after which we ask whether the peer lives; 0: never */
    uint64_t nat_keepalive;                /* while we are behind a NAT, 20 s; 0: never */
    uint64_t retransmit_first;             /* of our own requests */
    uint8_t retransmit_tries;
    uint16_t fragment_size;     /* IP datagram limit when sending, 1280 */
    uint16_t fragment_size_min; /* the same, once a message had to be repeated; 576 */
    uint16_t max_fragments;     /* 64 */
    uint32_t max_half_open;     /* table limit */
    uint32_t cookie_threshold, cookie_threshold_per_ip, cookie_threshold_per_prefix;
    uint8_t cookie_secret[32];      /* a fleet shares it; zero: of our own */
    uint32_t init_rate_per_ip;      /* IKE_SA_INIT per second of one host; 0: any */
    uint32_t handshakes_per_second; /* 0: any */
    uint32_t max_sas, max_children; /* per daemon; per tunnel (100) */
    bool downgrade_protection;
};

#endif
