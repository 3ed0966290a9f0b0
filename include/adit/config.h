/* config: YAML text -> rows -> checked rows -> diff. Pure: the bytes of every file come from an injected reader.
 *
 * One list below drives everything about a field: the struct member, the keyword (the same name), its type, range, default,
 * whether its behaviour is active in this version, its line in docs/configuration.md, how it is parsed, dumped and compared.
 * A field whose status is LATER is parsed, checked and dumped, and `aditd --check` notes that it does nothing yet: the issue
 * that builds the behaviour flips that one word to ACTIVE.
 *
 * Ownership: a struct config owns every row, string and secret below it and wipes all of it in config_free(). Rows never move.
 */
#ifndef ADIT_CONFIG_H
#define ADIT_CONFIG_H

#include "adit/policy.h"

/* ---- limits (docs/limits.md) */
#define CONFIG_FILE_MAX (64u << 20) /* octets of the configuration file */
#define CONFIG_SECRET_FILE_MAX 16384u
#define CONFIG_DEPTH_MAX 12 /* nesting of the YAML; a valid file needs 8 */
#define CONFIG_ACCOUNTS_MAX 20000
#define CONFIG_TUNNELS_MAX 100000 /* all accounts together */
#define CONFIG_ROUTES_MAX 300000  /* all accounts together */
#define CONFIG_MESSAGES_MAX 100   /* kept per level; the rest is counted */

/* ---- the bytes of a file, and who may read them */
struct config_reader {
    /* Whole file into ret (owned by the caller, wiped after use); RC_ABSENT, RC_LIMIT when larger than max, RC_AUTH when not
     * permitted. ret_mode: permission bits; ret_uid: owner. A regular file only. */
    enum rc (*read)(void *ctx, const char *path, size_t max, struct buf *ret, uint32_t *ret_mode, uint32_t *ret_uid);
    void *ctx;
};

/* ---- what is behind a type's name: how a member of that type lies in its row */
struct config_addrs {
    struct addr *v;
    size_t n;
};
struct config_prefixes {
    struct prefix *v;
    size_t n;
};
struct config_texts {
    const char **v;
    size_t n;
};
struct config_choices { /* indexes into the type's table of words, in the order of the file */
    uint8_t v[ALGS_MAX];
    uint8_t n;
};
#define CONFIG_C_BOOL bool
#define CONFIG_C_UINT uint32_t
#define CONFIG_C_DSCP uint32_t     /* 0..63 or DSCP_COPY */
#define CONFIG_C_DURATION uint64_t /* nanoseconds; ranges are in milliseconds */
#define CONFIG_C_TIME uint64_t     /* Unix seconds */
#define CONFIG_C_NAME const char * /* letters, digits, - and _; NULL: absent, as for all texts */
#define CONFIG_C_TEXT const char *
#define CONFIG_C_PATH const char *   /* a relative one starts at the folder of the configuration file */
#define CONFIG_C_DEVICE const char * /* a network device: 15 octets at most */
#define CONFIG_C_DOMAIN const char *
#define CONFIG_C_IDENTITY const char * /* address, domain name or user@domain */
#define CONFIG_C_SECRET struct span    /* as it goes into the PRF: text, or decoded from 0x... */
#define CONFIG_C_ADDR struct addr      /* family 0: absent, as for prefixes */
#define CONFIG_C_INTERFACE struct prefix
#define CONFIG_C_NETWORK struct prefix
#define CONFIG_C_LISTEN struct endpoint
#define CONFIG_C_ADDRS struct config_addrs
#define CONFIG_C_NETWORKS struct config_prefixes
#define CONFIG_C_URLS struct config_texts
#define CONFIG_C_PQ uint32_t          /* enum pq_mode */
#define CONFIG_C_DF uint32_t          /* enum df_mode */
#define CONFIG_C_ECN uint32_t         /* enum ecn_mode */
#define CONFIG_C_TUNNEL_TYPE uint32_t /* enum tunnel_type */
#define CONFIG_C_OUTER_MODE uint32_t  /* enum config_outer_mode */
#define CONFIG_C_LOG_LEVEL uint32_t   /* enum log_level */
#define CONFIG_C_LOG_FORMAT uint32_t  /* enum config_log_format */
#define CONFIG_C_STORE uint32_t       /* enum config_store */
#define CONFIG_C_REPLAY_MODE uint32_t /* enum config_replay_mode */
#define CONFIG_C_DIRECTION uint32_t   /* enum config_direction */
#define CONFIG_C_PROBE uint32_t       /* enum config_probe */
#define CONFIG_C_RATE uint32_t        /* enum config_rate */
#define CONFIG_C_IKE_ENCR struct config_choices
#define CONFIG_C_IKE_INTEG struct config_choices
#define CONFIG_C_IKE_PRF struct config_choices
#define CONFIG_C_ESP_ENCR struct config_choices
#define CONFIG_C_ESP_INTEG struct config_choices
#define CONFIG_C_KE struct config_choices
#define CONFIG_C_ADDKE struct config_choices

enum config_outer_mode { CONFIG_OUTER_RAW, CONFIG_OUTER_PACKET };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };
enum config_store { CONFIG_STORE_NONE, CONFIG_STORE_DIR, CONFIG_STORE_ETCD };
enum config_replay_mode { CONFIG_REPLAY_OFF, CONFIG_REPLAY_SINGLE_EGRESS };
enum config_direction { CONFIG_UNIDIRECTIONAL, CONFIG_BIDIRECTIONAL };
enum config_probe { CONFIG_PROBE_REPLY, CONFIG_PROBE_REQUEST };
enum config_rate { CONFIG_RATE_LOW, CONFIG_RATE_MID, CONFIG_RATE_HIGH };

/* ---- the fields: X(member = keyword, TYPE, least, most, default as YAML text, status, help)
 * least and most bound a number's value, a duration in milliseconds, a text's octets or a list's length; 0, 0 where the type
 * says it all. The default is NULL (absent) or CONFIG_REQUIRED, or goes through the same parser as a value of the file. */
#define CONFIG_REQUIRED "(required)"

#define CONFIG_NODE_FIELDS(X)                                                                            \
    X(name, NAME, 1, 63, NULL, ACTIVE, "Name of this server in logs and status; default: the host name") \
    X(address, ADDR, 0, 0, NULL, LATER, "Unicast address at which sibling servers reach this one")       \
    X(probe_address, ADDR, 0, 0, NULL, LATER, "Unicast source address of health probes")                 \
    X(slot, UINT, 0, 4095, NULL, LATER, "Number of this server in its fleet, unique")

#define CONFIG_OUTER_FIELDS(X)                                                                        \
    X(mark, UINT, 1, UINT32_MAX, NULL, ACTIVE, "SO_MARK of all encapsulated packets, for an ip rule") \
    X(device, DEVICE, 1, 15, NULL, ACTIVE, "Device to which the outer sockets are bound")             \
    X(mode, OUTER_MODE, 0, 0, "raw", ACTIVE,                                                          \
      "GRE and ESP by raw sockets, or by packet sockets past the kernel's IP layer")

#define CONFIG_IKE_PROPOSAL_FIELDS(X)                                                                        \
    X(encryption, IKE_ENCR, 1, ALGS_MAX, "[aes256gcm16, aes128gcm16, aes256]", ACTIVE,                       \
      "Accepted encryption of the IKE SA, best first")                                                       \
    X(integrity, IKE_INTEG, 1, ALGS_MAX, "[sha256]", ACTIVE, "Accepted integrity where encryption is CBC")   \
    X(prf, IKE_PRF, 1, ALGS_MAX, "[sha384, sha512, sha256]", ACTIVE, "Accepted pseudo-random functions")     \
    X(key_exchange, KE, 1, ALGS_MAX, "[ecp384, modp2048, modp1536]", ACTIVE, "Accepted first key exchanges") \
    X(additional_key_exchange, ADDKE, 0, ALGS_MAX, "[mlkem768, mlkem1024]", ACTIVE,                          \
      "Accepted additional (post-quantum) key exchanges, RFC 9370")

#define CONFIG_CHILD_PROPOSAL_FIELDS(X)                                                                          \
    X(encryption, ESP_ENCR, 1, ALGS_MAX, "[aes256gcm16, aes128gcm16, aes256, aes128]", ACTIVE,                   \
      "Accepted encryption of ESP, best first")                                                                  \
    X(integrity, ESP_INTEG, 1, ALGS_MAX, "[sha256, sha1]", ACTIVE, "Accepted integrity where encryption is CBC") \
    X(key_exchange, KE, 0, ALGS_MAX, "[ecp384, modp2048, modp1536]", ACTIVE, "Accepted groups for PFS")          \
    X(additional_key_exchange, ADDKE, 0, ALGS_MAX, "[mlkem768, mlkem1024]", ACTIVE,                              \
      "Accepted additional key exchanges for PFS")

#define CONFIG_IKE_FIELDS(X)                                                                                        \
    X(identity_domain, DOMAIN, 1, 120, NULL, ACTIVE, "Domain of the generated identities of tunnels")               \
    X(identity, IDENTITY, 1, 255, NULL, ACTIVE, "Our own identity (IDr); default: the endpoint's address")          \
    X(proposal, IKE_PROPOSAL, 0, 0, NULL, ACTIVE, "What an IKE SA may use")                                         \
    X(child_proposal, CHILD_PROPOSAL, 0, 0, NULL, ACTIVE, "What a Child SA may use")                                \
    X(ike_lifetime, DURATION, 10000, 86400000, "23h", ACTIVE, "An IKE SA is rekeyed at this age")                   \
    X(child_lifetime, DURATION, 10000, 25200000, "7h", ACTIVE,                                                      \
      "A Child SA is rekeyed at this age, and ends one hour later at the latest")                                   \
    X(lifetime_jitter, UINT, 0, 50, "10", ACTIVE, "Percent by which chance may shorten either lifetime")            \
    X(dpd_interval, DURATION, 0, 86400000, "0s", ACTIVE,                                                            \
      "Silence after which a peer is asked for a sign of life; 0: never")                                           \
    X(followup_timeout, DURATION, 1000, 60000, "20s", ACTIVE,                                                       \
      "A CREATE_CHILD_SA of the peer that waits longer for its IKE_FOLLOWUP_KE is forgotten")                       \
    X(half_open_timeout, DURATION, 1000, 300000, "30s", ACTIVE, "A handshake that takes longer is forgotten")       \
    X(fragment_timeout, DURATION, 1000, 60000, "15s", ACTIVE, "Incomplete fragments of a message are forgotten")    \
    X(fragment_size, UINT, 576, 9000, "1280", ACTIVE, "Largest IP datagram of a fragmented IKE message we send")    \
    X(fragment_size_min, UINT, 576, 9000, "576", ACTIVE, "The same, for a message that has to be repeated")         \
    X(max_fragments, UINT, 2, 64, "64", ACTIVE, "Most fragments of one message")                                    \
    X(max_half_open, UINT, 1, 1000000, "10000", ACTIVE, "Most unfinished handshakes")                               \
    X(cookie_threshold, UINT, 0, 1000000, "30", ACTIVE, "Unfinished handshakes above which cookies are asked for")  \
    X(cookie_threshold_per_ip, UINT, 0, 1000000, "3", ACTIVE, "The same for one source address")                    \
    X(cookie_threshold_per_prefix, UINT, 0, 1000000, "10", ACTIVE, "The same for one /24, or /48 of IPv6")          \
    X(cookie_secret_file, PATH, 1, 1023, NULL, ACTIVE, "File with the 256-bit cookie secret that a fleet shares")   \
    X(init_rate_per_ip, UINT, 0, 1000000, "20", ACTIVE, "IKE_SA_INIT of one address per second; 0: unlimited")      \
    X(handshakes_per_second, UINT, 0, 1000000, "500", ACTIVE, "Key exchanges for new IKE SAs; 0: unlimited")        \
    X(max_sas, UINT, 1, 1000000, "200000", ACTIVE, "Most IKE SAs")                                                  \
    X(max_children, UINT, 1, 100, "100", ACTIVE, "Most Child SAs of one tunnel")                                    \
    X(retransmit_first, DURATION, 100, 60000, "1s", ACTIVE, "Wait before the first repetition of our own requests") \
    X(retransmit_tries, UINT, 1, 20, "12", ACTIVE, "Repetitions before a silent peer's SAs are given up")           \
    X(nat_keepalive, DURATION, 0, 3600000, "20s", ACTIVE, "Interval of NAT keepalives while we are behind a NAT")   \
    X(downgrade_protection, BOOL, 0, 0, "true", ACTIVE, "Authenticate the full IKE_SA_INIT transcript (16447)")

#define CONFIG_ETCD_FIELDS(X)                                                                              \
    X(endpoints, URLS, 0, 16, NULL, LATER, "URLs of the etcd members")                                     \
    X(read_endpoints, URLS, 0, 16, NULL, LATER, "URLs to read and watch, where a site has its own mirror") \
    X(write_endpoints, URLS, 0, 16, NULL, LATER, "URLs to write to, where a site has its own mirror")      \
    X(prefix, TEXT, 1, 255, "/adit/v1", LATER, "Prefix of all keys")                                       \
    X(ca_file, PATH, 1, 1023, NULL, LATER, "Certificates that the members' certificates must chain to")    \
    X(cert_file, PATH, 1, 1023, NULL, LATER, "Our certificate")                                            \
    X(key_file, PATH, 1, 1023, NULL, LATER, "Its private key")                                             \
    X(user, TEXT, 1, 255, NULL, LATER, "User name")                                                        \
    X(password_file, PATH, 1, 1023, NULL, LATER, "File that holds the user's password")                    \
    X(timeout, DURATION, 100, 60000, "5s", LATER, "A request that takes longer has failed")

#define CONFIG_KEK_FIELDS(X)                                                                  \
    X(epoch, UINT, 1, UINT32_MAX, CONFIG_REQUIRED, LATER, "Number of the key; it only grows") \
    X(file, PATH, 1, 1023, CONFIG_REQUIRED, LATER, "File that holds the 256-bit key as 0x hexadecimal")

#define CONFIG_MEMBER_FIELDS(X)                                              \
    X(slot, UINT, 0, 4095, CONFIG_REQUIRED, LATER, "The server's node.slot") \
    X(name, NAME, 1, 63, NULL, LATER, "Its node.name")                       \
    X(address, ADDR, 0, 0, CONFIG_REQUIRED, LATER, "Its node.address")       \
    X(public_key, TEXT, 66, 66, CONFIG_REQUIRED, LATER, "Its ed25519 public key, 0x and 64 hexadecimal digits")

#define CONFIG_FLEET_FIELDS(X)                                                                          \
    X(store, STORE, 0, 0, "none", LATER, "Where SAs are shared: none (a single server), dir or etcd")   \
    X(cluster, NAME, 1, 63, NULL, LATER, "Name of the fleet; part of every sealed record")              \
    X(directory, PATH, 1, 1023, NULL, LATER, "Folder of the dir store")                                 \
    X(etcd, ETCD, 0, 0, NULL, LATER, "The etcd store")                                                  \
    X(kek, KEKS, 0, 8, NULL, LATER, "Keys that seal the records; more than one during a rotation")      \
    X(node_key_file, PATH, 1, 1023, NULL, LATER, "Our ed25519 private key")                             \
    X(nodes, MEMBERS, 0, 4096, NULL, LATER, "All servers of the fleet, this one included")              \
    X(port, UINT, 1, 65535, "4747", LATER, "UDP port of the channel between servers")                   \
    X(lease, DURATION, 1000, 600000, "10s", LATER, "A server silent for this long is taken for dead")   \
    X(commit_wait, DURATION, 0, 10000, "150ms", LATER, "Longest wait for siblings before an IKE reply") \
    X(replay, REPLAY_MODE, 0, 0, "off", LATER, "How sequence numbers are kept over servers")

#define CONFIG_CONTROL_FIELDS(X)                                                  \
    X(path, PATH, 1, 107, "/run/adit/control.sock", ACTIVE, "Socket for aditctl") \
    X(group, NAME, 1, 31, NULL, ACTIVE, "Group that may use it besides root")

#define CONFIG_METRICS_FIELDS(X) X(listen, LISTEN, 0, 0, NULL, LATER, "Address and port of the metrics page")

#define CONFIG_LOG_FIELDS(X)                                                                     \
    X(level, LOG_LEVEL, 0, 0, "info", ACTIVE, "error, warn, info or debug")                      \
    X(format, LOG_FORMAT, 0, 0, "text", ACTIVE, "One line of text or one JSON object per event") \
    X(rate, UINT, 0, 1000000, "20", ACTIVE, "Events of one name per second; 0: unlimited")

/* Lists of a tunnel that take from the daemon's; absent: all of it. */
#define CONFIG_TUNNEL_IKE_FIELDS(X)                                                                      \
    X(encryption, IKE_ENCR, 1, ALGS_MAX, NULL, ACTIVE, "Of ike.proposal, the encryption of this tunnel") \
    X(integrity, IKE_INTEG, 1, ALGS_MAX, NULL, ACTIVE, "The same of integrity")                          \
    X(prf, IKE_PRF, 1, ALGS_MAX, NULL, ACTIVE, "The same of pseudo-random functions")                    \
    X(key_exchange, KE, 1, ALGS_MAX, NULL, ACTIVE, "The same of first key exchanges")                    \
    X(additional_key_exchange, ADDKE, 1, ALGS_MAX, NULL, ACTIVE, "The same of additional key exchanges")

#define CONFIG_TUNNEL_ESP_FIELDS(X)                                                                            \
    X(encryption, ESP_ENCR, 1, ALGS_MAX, NULL, ACTIVE, "Of ike.child_proposal, the encryption of this tunnel") \
    X(integrity, ESP_INTEG, 1, ALGS_MAX, NULL, ACTIVE, "The same of integrity")                                \
    X(key_exchange, KE, 1, ALGS_MAX, NULL, ACTIVE, "The same of groups for PFS")                               \
    X(additional_key_exchange, ADDKE, 1, ALGS_MAX, NULL, ACTIVE, "The same of additional key exchanges")

#define CONFIG_TUNNEL_OUTER_FIELDS(X)                                                \
    X(df, DF, 0, 0, "copy", ACTIVE, "Outer do-not-fragment bit: copy, set or clear") \
    X(dscp, DSCP, 0, 0, "copy", ACTIVE, "Outer DSCP: copy, or 0 to 63")              \
    X(ecn, ECN, 0, 0, NULL, ACTIVE, "RFC 6040: normal or compat; default: compat for gre, normal for ipsec")

#define CONFIG_HEALTH_FIELDS(X)                                                                              \
    X(enabled, BOOL, 0, 0, "false", LATER, "Probe this tunnel")                                              \
    X(direction, DIRECTION, 0, 0, "unidirectional", LATER,                                                   \
      "unidirectional (answer outside the tunnel) or bidirectional")                                         \
    X(type, PROBE, 0, 0, "reply", LATER, "ICMP echo reply, which the customer only routes back, or request") \
    X(rate, RATE, 0, 0, "mid", LATER, "low, mid or high")                                                    \
    X(target, ADDR, 0, 0, NULL, LATER, "Address probed; default: the customer's side of the interface subnet")

#define CONFIG_PSK_FIELDS(X)                                                            \
    X(value, SECRET, 0, 0, NULL, ACTIVE, "The key: text, or 0x and hexadecimal digits") \
    X(file, PATH, 1, 1023, NULL, ACTIVE, "File that holds it, in one line")             \
    X(not_after, TIME, 0, 0, NULL, ACTIVE, "The key ends then: 2027-01-31 or 2027-01-31T12:00:00Z")

/* A tunnel's fields in three lists: a key of the wrong list is an error of its own. */
#define CONFIG_TUNNEL_BOTH_FIELDS(X)                                                                   \
    X(name, NAME, 1, 63, CONFIG_REQUIRED, ACTIVE, "Name, unique in the account")                       \
    X(description, TEXT, 0, 1000, NULL, ACTIVE, "For people")                                          \
    X(type, TUNNEL_TYPE, 0, 0, CONFIG_REQUIRED, ACTIVE, "gre or ipsec")                                \
    X(endpoint, ADDR, 0, 0, CONFIG_REQUIRED, ACTIVE, "Our address; one of endpoints")                  \
    X(customer_endpoint, ADDR, 0, 0, NULL, ACTIVE, "The customer's outer address; required for gre")   \
    X(interface_address, INTERFACE, 0, 0, NULL, ACTIVE, "Our inner IPv4 address with /31 or /30")      \
    X(interface_address6, INTERFACE, 0, 0, NULL, ACTIVE, "Our inner IPv6 address with /127")           \
    X(mtu, UINT, 576, 9192, NULL, ACTIVE, "Inner MTU; default: what the encapsulation leaves of 1500") \
    X(mss, UINT, 500, 9152, NULL, ACTIVE, "TCP MSS clamp; default: what the MTU leaves")               \
    X(outer, TUNNEL_OUTER, 0, 0, NULL, ACTIVE, "Outer header")                                         \
    X(health_check, HEALTH, 0, 0, NULL, LATER, "Probes inside the tunnel")

#define CONFIG_TUNNEL_GRE_FIELDS(X)                                                                         \
    X(ttl, UINT, 1, 255, "64", ACTIVE, "TTL or hop limit of the outer header")                              \
    X(key, UINT, 0, UINT32_MAX, NULL, ACTIVE, "RFC 2890 key, both ways")                                    \
    X(checksum, BOOL, 0, 0, "false", ACTIVE, "GRE checksum on what we send")                                \
    X(sequence, BOOL, 0, 0, "false", ACTIVE, "RFC 2890 sequence numbers on what we send")                   \
    X(sequence_check, BOOL, 0, 0, "false", ACTIVE, "Drop what comes with a sequence number that went back") \
    X(keepalive, BOOL, 0, 0, "true", ACTIVE, "Answer Cisco-style GRE keepalives")                           \
    X(allow_sources, NETWORKS, 0, 1000, NULL, ACTIVE,                                                       \
      "Inner sources accepted besides the account's routes and interface subnets")                          \
    X(protect, NAME, 1, 63, NULL, ACTIVE, "Name of the IPsec tunnel that carries this one")

#define CONFIG_TUNNEL_IPSEC_FIELDS(X)                                                                               \
    X(id, NAME, 1, 63, NULL, ACTIVE, "The <tunnel> part of the generated identities; default: the name")            \
    X(fqdn, DOMAIN, 1, 255, NULL, ACTIVE, "A further identity (ID_FQDN) of the customer")                           \
    X(strict_peer, BOOL, 0, 0, "false", ACTIVE, "Refuse a peer whose address is not customer_endpoint")             \
    X(psk, PSKS, 0, TUNNEL_PSKS, NULL, ACTIVE, "Pre-shared key: text, 0x hexadecimal, or a list of keys")           \
    X(psk_file, PATH, 1, 1023, NULL, ACTIVE, "File that holds the one pre-shared key")                              \
    X(pq, PQ, 0, 0, "prefer", ACTIVE, "Post-quantum key exchange: require, prefer or off")                          \
    X(ike, TUNNEL_IKE, 0, 0, NULL, ACTIVE, "What of ike.proposal this tunnel's IKE SAs may use")                    \
    X(esp, TUNNEL_ESP, 0, 0, NULL, ACTIVE, "What of ike.child_proposal its Child SAs may use")                      \
    X(allow_null_cipher, BOOL, 0, 0, "false", ACTIVE, "Accept ESP without encryption")                              \
    X(replay_protection, BOOL, 0, 0, NULL, ACTIVE, "Anti-replay window; default: true without a fleet, else false") \
    X(replay_window, UINT, 64, 4096, "1024", ACTIVE, "Packets that the window spans")

#define CONFIG_TUNNEL_FIELDS(X) CONFIG_TUNNEL_BOTH_FIELDS(X) CONFIG_TUNNEL_GRE_FIELDS(X) CONFIG_TUNNEL_IPSEC_FIELDS(X)

#define CONFIG_ROUTE_FIELDS(X)                                                         \
    X(prefix, NETWORK, 0, 0, CONFIG_REQUIRED, ACTIVE, "Destinations")                  \
    X(tunnel, NAME, 1, 63, CONFIG_REQUIRED, ACTIVE, "Name of a tunnel of the account") \
    X(priority, UINT, 0, 999999, "100", ACTIVE, "Lower wins")                          \
    X(weight, UINT, 1, 256, "64", ACTIVE, "Share of flows among routes of one prefix and priority")

#define CONFIG_ACCOUNT_FIELDS(X)                                                                             \
    X(id, NAME, 1, 63, CONFIG_REQUIRED, ACTIVE, "Number or name that identifies the customer")               \
    X(name, NAME, 1, 63, NULL, ACTIVE, "Name in logs and status; default: the id")                           \
    X(netns, TEXT, 1, 63, NULL, ACTIVE, "Network namespace of the inner packets; default: the daemon's own") \
    X(create, BOOL, 0, 0, "false", ACTIVE, "Make the namespace when it does not exist")                      \
    X(device, DEVICE, 1, 15, "adit0", ACTIVE, "Name of the account's TUN device")                            \
    X(tunnels, TUNNELS, 0, CONFIG_TUNNELS_MAX, NULL, ACTIVE, "Tunnels")                                      \
    X(routes, ROUTES, 0, CONFIG_ROUTES_MAX, NULL, ACTIVE, "What goes into the tunnels")

#define CONFIG_TOP_FIELDS(X)                                                              \
    X(version, UINT, 1, 1, CONFIG_REQUIRED, ACTIVE, "Version of this format")             \
    X(node, NODE, 0, 0, NULL, ACTIVE, "This server")                                      \
    X(endpoints, ADDRS, 0, 64, NULL, ACTIVE, "Anycast addresses this server terminates")  \
    X(outer, OUTER, 0, 0, NULL, ACTIVE, "Sockets of the outer side")                      \
    X(workers, UINT, 0, 64, "0", ACTIVE, "Datapath threads; 0: the one loop does it all") \
    X(ike, IKE, 0, 0, NULL, ACTIVE, "IKEv2 responder")                                    \
    X(fleet, FLEET, 0, 0, NULL, LATER, "Several servers that share their SAs")            \
    X(control, CONTROL, 0, 0, NULL, ACTIVE, "Control socket")                             \
    X(metrics, METRICS, 0, 0, NULL, LATER, "Metrics page")                                \
    X(log, LOG, 0, 0, NULL, ACTIVE, "Log")                                                \
    X(accounts, ACCOUNTS, 0, CONFIG_ACCOUNTS_MAX, NULL, ACTIVE, "Customers")

/* ---- the structs that follow from the lists */
struct config_row {
    uint32_t line, col;         /* from 1; where the row begins in the file; 0: it is not in the file */
    uint64_t set;               /* bit i: field i of the list stands in the file, or its default was derived */
    uint64_t bad;               /* while loading: its value was refused */
    const struct tree_node *at; /* while loading; NULL afterwards */
};
#define CONFIG_MEMBER_(member, type, lo, hi, fallback, status, help) CONFIG_C_##type member;
#define CONFIG_STRUCT_(tag, FIELDS) \
    struct tag {                    \
        struct config_row row;      \
        FIELDS(CONFIG_MEMBER_)      \
    }
#define CONFIG_ROWS_(tag, of) \
    struct tag {              \
        struct of *v;         \
        size_t n;             \
    }

#define CONFIG_C_NODE struct config_node
#define CONFIG_C_OUTER struct config_outer
#define CONFIG_C_IKE_PROPOSAL struct config_ike_proposal
#define CONFIG_C_CHILD_PROPOSAL struct config_child_proposal
#define CONFIG_C_IKE struct config_ike
#define CONFIG_C_ETCD struct config_etcd
#define CONFIG_C_KEKS struct config_keks
#define CONFIG_C_MEMBERS struct config_members
#define CONFIG_C_FLEET struct config_fleet
#define CONFIG_C_CONTROL struct config_control
#define CONFIG_C_METRICS struct config_metrics
#define CONFIG_C_LOG struct config_log
#define CONFIG_C_TUNNEL_OUTER struct config_tunnel_outer
#define CONFIG_C_TUNNEL_IKE struct config_tunnel_ike
#define CONFIG_C_TUNNEL_ESP struct config_tunnel_esp
#define CONFIG_C_HEALTH struct config_health
#define CONFIG_C_PSKS struct config_psks
#define CONFIG_C_TUNNELS struct config_tunnels
#define CONFIG_C_ROUTES struct config_routes
#define CONFIG_C_ACCOUNTS struct config_accounts

CONFIG_STRUCT_(config_node, CONFIG_NODE_FIELDS);
CONFIG_STRUCT_(config_outer, CONFIG_OUTER_FIELDS);
CONFIG_STRUCT_(config_ike_proposal, CONFIG_IKE_PROPOSAL_FIELDS);
CONFIG_STRUCT_(config_child_proposal, CONFIG_CHILD_PROPOSAL_FIELDS);
struct config_ike {
    struct config_row row;
    CONFIG_IKE_FIELDS(CONFIG_MEMBER_)
    uint8_t cookie_secret[32]; /* zero: none is shared */
};
CONFIG_STRUCT_(config_etcd, CONFIG_ETCD_FIELDS);
CONFIG_STRUCT_(config_kek, CONFIG_KEK_FIELDS);
CONFIG_ROWS_(config_keks, config_kek);
CONFIG_STRUCT_(config_member, CONFIG_MEMBER_FIELDS);
CONFIG_ROWS_(config_members, config_member);
CONFIG_STRUCT_(config_fleet, CONFIG_FLEET_FIELDS);
CONFIG_STRUCT_(config_control, CONFIG_CONTROL_FIELDS);
CONFIG_STRUCT_(config_metrics, CONFIG_METRICS_FIELDS);
CONFIG_STRUCT_(config_log, CONFIG_LOG_FIELDS);
CONFIG_STRUCT_(config_tunnel_outer, CONFIG_TUNNEL_OUTER_FIELDS);
CONFIG_STRUCT_(config_tunnel_ike, CONFIG_TUNNEL_IKE_FIELDS);
CONFIG_STRUCT_(config_tunnel_esp, CONFIG_TUNNEL_ESP_FIELDS);
CONFIG_STRUCT_(config_health, CONFIG_HEALTH_FIELDS);
CONFIG_STRUCT_(config_psk, CONFIG_PSK_FIELDS);
CONFIG_ROWS_(config_psks, config_psk);
struct config_tunnel {
    struct config_row row;
    CONFIG_TUNNEL_FIELDS(CONFIG_MEMBER_)
    const struct config_account *account;
    const struct config_tunnel *carries; /* ipsec: the first gre tunnel that it protects, or NULL */
    bool address_identity; /* (endpoint, customer_endpoint) is unique: the address identifies the tunnel */
};
CONFIG_ROWS_(config_tunnels, config_tunnel);
CONFIG_STRUCT_(config_route, CONFIG_ROUTE_FIELDS);
CONFIG_ROWS_(config_routes, config_route);
struct config_account {
    struct config_row row;
    CONFIG_ACCOUNT_FIELDS(CONFIG_MEMBER_)
    const struct config_tunnel **by_name; /* its tunnels, sorted */
    struct config_prefixes sources;       /* route prefixes and interface subnets, each once, sorted */
};
CONFIG_ROWS_(config_accounts, config_account);
struct config {
    struct config_row row;
    CONFIG_TOP_FIELDS(CONFIG_MEMBER_) /* c->node.name, c->endpoints.v[0], c->accounts.v[0].tunnels.v[0].name ... */
    struct config_arena *arena;
    size_t n_tunnels, n_routes; /* of all accounts */
};

/* The number of a field in its list: bit in row.set and config_delta.fields. */
#define X(member, ...) CONFIG_ACCOUNT_##member,
enum config_account_field { CONFIG_ACCOUNT_FIELDS(X) CONFIG_ACCOUNT_FIELD_END };
#undef X
#define X(member, ...) CONFIG_TUNNEL_##member,
enum config_tunnel_field { CONFIG_TUNNEL_FIELDS(X) CONFIG_TUNNEL_FIELD_END };
#undef X
#define X(member, ...) CONFIG_ROUTE_##member,
enum config_route_field { CONFIG_ROUTE_FIELDS(X) CONFIG_ROUTE_FIELD_END };
#undef X
#define X(member, ...) CONFIG_TOP_##member,
enum config_top_field { CONFIG_TOP_FIELDS(X) CONFIG_TOP_FIELD_END };
#undef X
#define CONFIG_BIT(field) (UINT64_C(1) << (field))

/* ---- messages */
enum config_level { CONFIG_ERROR, CONFIG_WARNING, CONFIG_NOTE, CONFIG_LEVEL_END };
struct config_message {
    enum config_level level;
    uint32_t line, col;
    const char *text; /* "tunnel acme-gre: endpoint 198.51.100.9 is not in endpoints: ..." */
};
struct config_report { /* zero it before use */
    struct config_message v[CONFIG_LEVEL_END * CONFIG_MESSAGES_MAX];
    size_t n;
    size_t total[CONFIG_LEVEL_END]; /* found, kept or not */
    struct config_arena *arena;
};
/* One line of the report, "adit.yaml:12:18: tunnel acme-gre: ..." (warnings and notes say so after the place), into ret;
 * RC_ABSENT when i is past the end. After the kept messages of a level comes "and N more errors". */
enum rc config_report_line(const struct config_report *report, const char *path, size_t i, char *ret,
                           size_t n) ADIT_MUST_USE;
void config_report_free(struct config_report *report);

/* ---- life */
/* Reads and checks the file at path. RC_OK: *ret is complete, report may hold warnings and notes. RC_SYNTAX: the report holds
 * every error found and nothing was made. RC_NOMEM. */
enum rc config_load(const struct config_reader *reader, const char *path, struct config_report *report,
                    struct config **ret) ADIT_MUST_USE;
void config_free(struct config *c); /* wipes; NULL is fine */

/* The effective configuration as YAML, defaults included; secrets of the file itself appear as <redacted>, which a load
 * refuses. */
enum rc config_dump(const struct config *c, struct buf *ret) ADIT_MUST_USE;

/* ---- policies: plain values for ike and dp; texts, secrets and sources are borrowed from c */
/* protect: handle of the tunnel named by t->protect (config_tunnel_protector()), or TUNNEL_NONE. */
void config_tunnel_policy(const struct config *c, const struct config_tunnel *t, uint32_t tunnel, uint32_t account,
                          uint32_t protect, struct tunnel_policy *ret);
const struct config_tunnel *config_tunnel_protector(const struct config_tunnel *t); /* NULL: none */
void config_route_policy(const struct config_route *r, uint32_t account, uint32_t tunnel, struct route_policy *ret);
void config_ike_policy(const struct config *c, struct ike_policy *ret);
const struct config_tunnel *config_tunnel_find(const struct config_account *a, const char *name); /* NULL: none */
const char *config_account_label(const struct config_account *a); /* its name, else its id */

/* ---- diff */
enum config_kind { CONFIG_KIND_ACCOUNT, CONFIG_KIND_TUNNEL, CONFIG_KIND_ROUTE };
enum config_change { CONFIG_REMOVED, CONFIG_ADDED, CONFIG_CHANGED };
struct config_delta {
    enum config_kind kind;
    enum config_change change;
    uint64_t fields; /* CHANGED: bits of the fields that differ; accounts: without tunnels and routes */
    bool derived;    /* CHANGED tunnel: its identities or accepted sources differ, through other rows or sections */
    const struct config_account *old_account,
        *new_account;                                    /* of the row, or the row; NULL on the side where it is not */
    const struct config_tunnel *old_tunnel, *new_tunnel; /* KIND_TUNNEL */
    const struct config_route *old_route, *new_route;    /* KIND_ROUTE */
};
struct config_diff {
    struct config_delta
        *v; /* in an order that can be executed: routes, tunnels, accounts go; then accounts, tunnels, routes
                               come or change */
    size_t n;
    uint64_t sections; /* bits of enum config_top_field: sections that differ (never accounts) */
    uint64_t restart;  /* those of them that a running daemon cannot follow */
};
/* An account is known by its id, a tunnel by (account, name), a route by (account, prefix, tunnel). Both configurations must
 * outlive the diff. old NULL: everything is added. */
enum rc config_diff(const struct config *old, const struct config *new, struct config_diff *ret) ADIT_MUST_USE;
void config_diff_free(struct config_diff *d);

#endif
