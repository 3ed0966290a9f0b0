/* Every class of error: the place it is reported at, what is wrong and the remedy. One named test each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/config_files.h"

/* Blocks of the files below, with the line each begins at after HEAD. */
#define GRE(rest) "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3" rest "}\n"
#define GRE2(rest) "      - {name: g2, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.4" rest "}\n"
#define IPSEC(rest) "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK rest "}\n"
#define IPSEC2(rest) "      - {name: i2, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK2 rest "}\n"
#define TOP(rest) "version: 1\nendpoints: [198.51.100.2]\n" rest
#define ACCOUNT2         \
    "  - id: other\n"    \
    "    netns: other\n" \
    "    tunnels:\n"

/* X(test, text of the file with ^ before the place to be named, and three parts of the message: where, what, remedy) */
#define ERRORS(X)                                                                                                      \
    /* keys */                                                                                                         \
    X(unknown_key_at_top, TOP("^speling: 1\n"), "unknown key speling", "remove it", "docs/configuration.md")           \
    X(unknown_key_with_suggestion, HEAD GRE(", ^tll: 3"), "tunnel g: ", "unknown key tll", "did you mean ttl?")        \
    X(unknown_key_in_section, TOP("log: {^levle: info}\n"), "log.", "unknown key levle", "did you mean level?")        \
    X(unknown_key_is_escaped, TOP("^\"a\\e[31m\\u202e\": 1\n"), "a\\x1b[31m", "\\xe2\\x80\\xae", "unknown key")        \
    X(duplicate_key, HEAD GRE(", ttl: 3, ^ttl: 4"), "tunnel g: ", "ttl is given twice", "remove one")                  \
    X(duplicate_section, TOP("log: {}\n^log: {}\n"), "log", "given twice", "remove one")                               \
    X(missing_version, "^endpoints: []\n", "version is missing", "every file", "")                                     \
    X(missing_name, HEAD "      - ^{type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3}\n",               \
      "tunnel: ", "name is missing", "every tunnel needs one")                                                         \
    X(missing_type, HEAD "      - ^{name: x, endpoint: 198.51.100.2}\n", "tunnel x: ", "type is missing", "")          \
    X(missing_endpoint, HEAD "      - ^{name: x, type: gre, customer_endpoint: 192.0.2.3}\n",                          \
      "tunnel x: ", "endpoint is missing", "")                                                                         \
    X(missing_account_id, TOP("accounts:\n  - ^{name: acme}\n"), "account: ", "id is missing", "")                     \
    X(missing_route_tunnel, HEAD GRE("") "    routes:\n      - ^{prefix: 10.0.0.0/8}\n",                               \
      "route 10.0.0.0/8: ", "tunnel is missing", "every route")                                                        \
    X(missing_endpoints, "^version: 1\naccounts:\n  - id: a\n    tunnels:\n" GRE(""), "endpoints is missing",          \
      "no tunnel could receive", "list this server's addresses")                                                       \
    /* shapes and scalars */                                                                                           \
    X(version_of_the_future, "version: ^2\n", "version 2", "out of range", "use 1 to 1")                               \
    X(scalar_where_list, TOP("accounts: ^none\n"), "accounts is a single value", "write a list", "")                   \
    X(scalar_where_map, TOP("log: ^info\n"), "log.", "is a single value", "write its keys")                            \
    X(list_where_scalar, TOP("workers: ^[1]\n"), "workers is a list", "write one value", "number")                     \
    X(map_where_scalar, HEAD GRE(", ttl: ^{a: 1}"), "tunnel g: ", "ttl is a map", "write one value")                   \
    X(row_is_no_map, TOP("accounts: [^acme]\n"), "account", "single value", "write its keys")                          \
    X(file_is_a_list, "^- version: 1\n", "top level is a list", "write its keys", "")                                  \
    X(key_is_a_list, TOP("? ^[a, b]\n: 1\n"), "a key is a list", "write key: value", "")                               \
    X(empty_value, TOP("workers:^\n"), "workers has no value", "write one", "remove the key")                          \
    X(null_value, TOP("workers: ^~\n"), "workers has no value", "write one", "")                                       \
    X(bool_word, HEAD GRE(", checksum: ^yes"), "checksum yes", "neither true nor false", "write one of the two")       \
    X(number_text, TOP("workers: ^two\n"), "workers two", "not a number", "decimal digits")                            \
    X(number_octal, TOP("workers: ^010\n"), "workers 010", "not a number", "")                                         \
    X(number_negative, TOP("workers: ^-1\n"), "workers -1", "not a number", "")                                        \
    X(number_too_large, TOP("workers: ^65\n"), "workers 65", "out of range", "use 0 to 64")                            \
    X(fragments_beyond_ours, TOP("ike: {max_fragments: ^65}\n"), "ike.max_fragments 65", "out of range",               \
      "use 2 to 64")                                                                                                   \
    X(number_overflow, TOP("outer: {mark: ^0x10000000000000000}\n"), "mark", "not a number", "")                       \
    X(mtu_too_small, HEAD GRE(", mtu: ^575"), "tunnel g: mtu 575", "out of range", "use 576 to 9192")                  \
    X(weight_zero, HEAD GRE("") "    routes: [{prefix: 10.0.0.0/8, tunnel: g, weight: ^0}]\n",                         \
      "route 10.0.0.0/8: ", "weight 0", "use 1 to 256")                                                                \
    X(ttl_zero, HEAD GRE(", ttl: ^0"), "ttl 0", "out of range", "use 1 to 255")                                        \
    X(word_unknown, HEAD IPSEC(", pq: ^maybe"), "tunnel i: pq maybe", "is unknown", "use require, prefer or off")      \
    X(tunnel_type_unknown, HEAD "      - {name: x, type: ^vxlan, endpoint: 198.51.100.2}\n", "type vxlan",             \
      "is unknown", "use gre or ipsec")                                                                                \
    X(dscp_too_large, HEAD GRE(", outer: {dscp: ^64}"), "tunnel g: outer.dscp 64", "not a DSCP", "0 to 63")            \
    X(duration_without_unit, TOP("ike: {half_open_timeout: ^30}\n"), "ike.half_open_timeout 30", "not a duration",     \
      "such as 30s")                                                                                                   \
    X(duration_too_long, TOP("ike: {child_lifetime: ^8h}\n"), "ike.child_lifetime 8h", "out of range",                 \
      "use 10s to 7h")                                                                                                 \
    X(algorithm_unknown, TOP("ike: {proposal: {encryption: [^3des]}}\n"), "ike.proposal.encryption 3des",              \
      "is unknown", "aes256gcm16, aes128gcm16 or aes256")                                                              \
    X(algorithm_twice, TOP("ike: {proposal: {prf: [sha256, ^sha256]}}\n"), "prf names sha256 twice", "remove one", "") \
    X(algorithm_none, TOP("ike: {proposal: {key_exchange: ^[]}}\n"), "key_exchange has 0 elements", "use 1 to 12", "") \
    X(name_with_space, HEAD "      - {name: ^a b, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3}\n", \
      "name a b", "not a name", "letters, digits")                                                                     \
    X(name_too_long,                                                                                                   \
      HEAD "      - {name: ^a123456789b123456789c123456789d123456789e123456789f123456789wxyz, type: gre, endpoint: "   \
           "198.51.100.2, customer_endpoint: 192.0.2.3}\n",                                                            \
      "name a12", "has 64 characters", "use 1 to 63")                                                                  \
    X(text_with_control, HEAD GRE(", description: ^\"a\\tb\""), "description a\\x09b", "control character",            \
      "printable")                                                                                                     \
    X(device_too_long, TOP("accounts:\n  - {id: a, device: ^interface-123456}\n"), "device interface-123456",          \
      "has 16 characters", "use 1 to 15")                                                                              \
    X(device_with_slash, TOP("accounts:\n  - {id: a, device: ^a/b}\n"), "device a/b", "not a device name", "")         \
    X(domain_malformed, TOP("ike: {identity_domain: ^a..b}\n"), "identity_domain a..b", "not a domain name", "labels") \
    X(identity_malformed, TOP("ike: {identity: ^\"a b\"}\n"), "identity a b", "not an identity",                       \
      "domain name or user@domain")                                                                                    \
    X(url_malformed, TOP("fleet: {etcd: {endpoints: [^etcd:2379]}}\n"), "endpoints etcd:2379", "not a URL",            \
      "https://host:port")                                                                                             \
    X(listen_without_port, TOP("metrics: {listen: ^127.0.0.1}\n"), "listen 127.0.0.1", "address and port",             \
      "127.0.0.1:9587")                                                                                                \
    X(address_malformed, TOP("node: {address: ^192.0.2.300}\n"), "node.address 192.0.2.300", "not an address",         \
      "without a length")                                                                                              \
    X(address_with_length, HEAD "      - {name: x, type: ipsec, endpoint: ^198.51.100.2/32, psk: " GOOD_PSK "}\n",     \
      "endpoint 198.51.100.2/32", "not an address", "without a length")                                                \
    X(route_without_length, HEAD GRE("") "    routes: [{prefix: ^10.0.0.0, tunnel: g}]\n", "prefix 10.0.0.0",          \
      "not a prefix", "such as 10.1.0.0/16")                                                                           \
    X(route_with_host_bits, HEAD GRE("") "    routes: [{prefix: ^10.1.2.3/16, tunnel: g}]\n", "prefix 10.1.2.3/16",    \
      "bits set behind its length", "did you mean 10.1.0.0/16?")                                                       \
    X(time_malformed,                                                                                                  \
      HEAD IPSEC2(                                                                                                     \
          "") "      - name: i\n        type: ipsec\n        endpoint: 198.51.100.2\n        psk: [{value: " GOOD_PSK  \
              ", "                                                                                                     \
              "not_after: ^2027-02-30}]\n",                                                                            \
      "not_after 2027-02-30", "not a date", "2027-01-31")                                                              \
    /* endpoints and addresses */                                                                                      \
    X(endpoint_not_ours,                                                                                               \
      HEAD "      - {name: acme-gre, type: gre, endpoint: ^198.51.100.9, customer_endpoint: "                          \
           "192.0.2.3}\n",                                                                                             \
      "tunnel acme-gre: endpoint 198.51.100.9 is not in endpoints",                                                    \
      "packets to it would never reach this "                                                                          \
      "server",                                                                                                        \
      "add it to endpoints or correct it")                                                                             \
    X(endpoint_loopback, "version: 1\nendpoints: [^127.0.0.1]\n", "endpoint 127.0.0.1", "loopback", "correct it")      \
    X(endpoint_twice, "version: 1\nendpoints: [192.0.2.1, ^192.0.2.1]\n", "192.0.2.1", "listed twice", "remove one")   \
    X(node_address_is_anycast, TOP("node: {address: ^198.51.100.2}\n"), "node.address 198.51.100.2",                   \
      "one of endpoints", "this server alone")                                                                         \
    X(node_address_local, TOP("node: {probe_address: ^ff02::1}\n"), "node.probe_address ff02::1", "local scope",       \
      "correct it")                                                                                                    \
    X(adv_42_customer_is_our_endpoint,                                                                                 \
      HEAD "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: "                                  \
           "^198.51.100.2}\n",                                                                                         \
      "tunnel g: customer_endpoint 198.51.100.2", "our own (endpoints)", "correct it")                                 \
    X(adv_42_customer_is_our_node,                                                                                     \
      "node: {address: 203.0.113.7}\n" HEAD                                                                            \
      "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: ^203.0.113.7}\n",                       \
      "customer_endpoint 203.0.113.7", "our own (node.address)", "circle")                                             \
    X(adv_42_customer_is_a_sibling,                                                                                    \
      "fleet: {nodes: [{slot: 1, address: 203.0.113.8, public_key: "                                                   \
      "\"0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}]}\n" HEAD                               \
      "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: ^203.0.113.8}\n",                       \
      "customer_endpoint 203.0.113.8", "our own (fleet.nodes)", "")                                                    \
    X(customer_multicast,                                                                                              \
      HEAD "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: ^224.0.0.5}\n",                    \
      "customer_endpoint 224.0.0.5", "multicast", "no packet would reach")                                             \
    X(customer_missing_for_gre, HEAD "      - ^{name: g, type: gre, endpoint: 198.51.100.2}\n",                        \
      "tunnel g: ", "customer_endpoint is missing", "add it")                                                          \
    X(strict_peer_without_customer, HEAD IPSEC(", strict_peer: ^true"), "tunnel i: strict_peer",                       \
      "no address to hold the peer to", "add it")                                                                      \
    X(families_differ, HEAD "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: ^2001:db8::9}\n", \
      "customer_endpoint 2001:db8::9 is IPv6", "endpoint is IPv4", "one family")                                       \
    X(interface_length, HEAD GRE(", interface_address: ^10.0.0.1/24"), "interface_address 10.0.0.1/24", "length /24",  \
      "/31 (RFC 3021) or /30")                                                                                         \
    X(interface_network_address, HEAD GRE(", interface_address: ^10.0.0.4/30"), "10.0.0.4/30",                         \
      "network address of its /30", "between")                                                                         \
    X(interface_broadcast_address, HEAD GRE(", interface_address: ^10.0.0.7/30"), "10.0.0.7/30",                       \
      "broadcast address of its /30", "between")                                                                       \
    X(interface_without_length, HEAD GRE(", interface_address: ^10.0.0.1"), "10.0.0.1", "not an interface address",    \
      "such as 10.255.0.0/31")                                                                                         \
    X(interface_wrong_family, HEAD GRE(", interface_address: ^\"fd00::1/127\""), "fd00::1/127", "not IPv4",            \
      "interface_address6")                                                                                            \
    X(interface6_wrong_family, HEAD GRE(", interface_address6: ^10.0.0.1/31"), "10.0.0.1/31", "not IPv6",              \
      "write it under interface_address")                                                                              \
    X(interface6_length, HEAD GRE(", interface_address6: ^\"fd00::1/64\""), "fd00::1/64", "length /64",                \
      "/127 (RFC 6164)")                                                                                               \
    X(interface_multicast, HEAD GRE(", interface_address: ^224.0.0.1/31"), "224.0.0.1/31", "not an address of a host", \
      "")                                                                                                              \
    X(mtu_below_ipv6, HEAD GRE(", mtu: ^1000, interface_address6: \"fd00::1/127\""), "mtu 1000", "below 1280",         \
      "raise it")                                                                                                      \
    X(mss_above_mtu, HEAD GRE(", mtu: 1400, mss: ^1380"), "mss 1380", "does not fit into mtu 1400",                    \
      "lower it to 1360")                                                                                              \
    X(health_check_without_target, HEAD GRE(", health_check: {enabled: ^true}"), "health_check", "nothing to probe",   \
      "add target")                                                                                                    \
    /* types */                                                                                                        \
    X(gre_key_on_ipsec, HEAD IPSEC(", ttl: ^3"), "tunnel i: ttl is a key of gre tunnels", "this one is ipsec",         \
      "remove it")                                                                                                     \
    X(ipsec_key_on_gre, HEAD GRE(", pq: ^off"), "tunnel g: pq is a key of ipsec tunnels", "this one is gre",           \
      "remove it")                                                                                                     \
    X(protect_unknown, HEAD GRE(", protect: ^nobody"), "protect nobody", "not an ipsec tunnel of the same account",    \
      "correct it")                                                                                                    \
    X(protect_by_gre, HEAD GRE(", protect: ^g2") GRE2(""), "protect g2", "not an ipsec tunnel", "")                    \
    X(protect_between_other_ends, HEAD GRE(", protect: ^i") IPSEC(", customer_endpoint: 192.0.2.9"),                   \
      "tunnel g: protect i has another customer_endpoint", "give both the same", "remove that of the ipsec tunnel")    \
    X(protect_of_two_ends, HEAD GRE(", protect: i") GRE2(", protect: ^i") IPSEC(""),                                   \
      "tunnel g2: protect i carries tunnel g already", "another customer_endpoint", "use an ipsec tunnel each")        \
    X(pq_required_but_none_accepted,                                                                                   \
      TOP("ike: {proposal: {additional_key_exchange: []}}\naccounts:\n  - id: a\n    netns: a\n    tunnels:\n")        \
          IPSEC(", pq: ^require"),                                                                                     \
      "pq: require", "additional_key_exchange is empty", "list mlkem768")                                              \
    X(tunnel_allows_what_the_daemon_does_not, HEAD IPSEC(", esp: {key_exchange: ^[ecp384, ecp256]}"),                  \
      "tunnel i: ecp256 is not in ike.child_proposal.key_exchange", "can only take from", "add it there")              \
    X(psk_missing, HEAD "      - ^{name: i, type: ipsec, endpoint: 198.51.100.2}\n", "tunnel i: psk is missing",       \
      "could not authenticate", "add psk_file")                                                                        \
    X(psk_list_empty, HEAD "      - ^{name: i, type: ipsec, endpoint: 198.51.100.2, psk: []}\n", "psk is missing", "", \
      "")                                                                                                              \
    X(psk_list_too_long, HEAD "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: ^[{}, {}, {}, {}, {}]}\n",  \
      "psk has 5 elements", "use 0 to 4", "")                                                                          \
    X(psk_without_value, HEAD "      - {name: i, type: ipsec, endpoint: 198.51.100.2, psk: [^{}]}\n",                  \
      "tunnel i: a key of psk", "needs either value or file", "")                                                      \
    /* shared */                                                                                                       \
    X(account_id_twice, TOP("accounts:\n  - {id: a}\n  - {id: ^a}\n"), "account a: this id", "also that of line 4",    \
      "merge")                                                                                                         \
    X(account_name_twice, TOP("accounts:\n  - {id: a, name: x}\n  - {id: b, name: ^x, netns: b}\n"),                   \
      "account b: the name x", "also that of account a (line 4)", "rename")                                            \
    X(account_device_twice, TOP("accounts:\n  - {id: a}\n  - {id: ^b}\n"), "account b: device adit0",                  \
      "also that of account a (line 4)", "a netns of its own")                                                         \
    X(create_without_netns, TOP("accounts:\n  - {id: a, create: ^true}\n"), "account a: create without netns",         \
      "nothing to make", "add netns")                                                                                  \
    X(netns_is_a_path, TOP("accounts:\n  - {id: a, netns: ^../x}\n"), "netns ../x", "not a name of a namespace",       \
      "correct it")                                                                                                    \
    X(tunnel_name_twice,                                                                                               \
      HEAD GRE("") "      - {name: ^g, type: gre, endpoint: 198.51.100.2, customer_endpoint: "                         \
                   "192.0.2.4}\n",                                                                                     \
      "tunnel g: this name", "also that of line 9", "rename one")                                                      \
    X(tunnel_id_twice, HEAD IPSEC(", id: x") IPSEC2(", id: ^x"), "tunnel i2: id x", "also that of tunnel i (line 9)",  \
      "give it another")                                                                                               \
    X(identity_twice, HEAD IPSEC(", fqdn: r1.example.net") IPSEC2(", fqdn: ^r1.example.net"),                          \
      "tunnel i2: identity r1.example.net at endpoint 198.51.100.2", "tunnel i (line 9)", "another id or fqdn")        \
    X(identity_generated_and_custom, HEAD IPSEC("") IPSEC2(", fqdn: ^i.123456789.ipsec.example.net"),                  \
      "identity i.123456789.ipsec.example.net", "tunnel i (line 9)", "")                                               \
    X(identity_is_our_own,                                                                                             \
      "version: 1\nendpoints: [198.51.100.2]\nike: {identity: edge.example.net}\naccounts:\n"                          \
      "  - id: a\n    netns: a\n    tunnels:\n" IPSEC(", fqdn: ^edge.example.net"),                                    \
      "identity edge.example.net is our own", "reflect", "use another")                                                \
    X(gre_pair_twice,                                                                                                  \
      HEAD GRE("") "      - {name: h, type: gre, endpoint: 198.51.100.2, customer_endpoint: "                          \
                   "^192.0.2.3}\n",                                                                                    \
      "tunnel h: endpoint 198.51.100.2, customer_endpoint 192.0.2.3", "tunnel g (line 9)", "a key of its own")         \
    X(gre_key_twice,                                                                                                   \
      HEAD GRE(", key: 7") "      - {name: h, type: gre, endpoint: 198.51.100.2, customer_endpoint: "                  \
                           "^192.0.2.3, key: 7}\n",                                                                    \
      "and key are also those of tunnel g", "told apart", "")                                                          \
    X(psk_of_another_account,                                                                                          \
      HEAD IPSEC("") ACCOUNT2 "      - {name: z, type: ipsec, endpoint: 198.51.100.2, psk: ^" GOOD_PSK "}\n",          \
      "tunnel z: its psk is also that of tunnel i (line 9) of another account", "come in as the other",                \
      "give each its own")                                                                                             \
    X(subnets_overlap, HEAD GRE(", interface_address: 10.0.0.1/30") GRE2(", interface_address: ^10.0.0.2/31"),         \
      "tunnel g2: interface_address 10.0.0.2/31 overlaps 10.0.0.0/30", "tunnel g (line 9)", "another subnet")          \
    X(subnets_overlap6,                                                                                                \
      HEAD GRE(", interface_address6: \"fd00::/127\"") GRE2(", interface_address6: ^\"fd00::1/127\""),                 \
      "interface_address6 fd00::/127 overlaps fd00::/127", "tunnel g (line 9)", "")                                    \
    X(route_twice,                                                                                                     \
      HEAD GRE("") "    routes:\n      - {prefix: 10.0.0.0/8, tunnel: g}\n"                                            \
                   "      - {prefix: ^10.0.0.0/8, tunnel: g, priority: 5}\n",                                          \
      "route 10.0.0.0/8: also in line 11", "same tunnel", "remove one")                                                \
    X(route_to_nowhere, HEAD GRE("") "    routes: [{prefix: 10.0.0.0/8, tunnel: ^h}]\n",                               \
      "route 10.0.0.0/8: account 123456789 has no tunnel h", "", "correct it or add the tunnel")                       \
    X(route_loopback, HEAD GRE("") "    routes: [{prefix: ^127.0.0.0/8, tunnel: g}]\n", "route 127.0.0.0/8",           \
      "never sent into a tunnel", "remove it")                                                                         \
    X(route_of_two_accounts,                                                                                           \
      TOP("accounts:\n"                                                                                                \
          "  - id: a\n    netns: one\n    tunnels:\n")                                                                 \
          GRE("") "    routes: [{prefix: 10.0.0.0/8, tunnel: g}]\n"                                                    \
                  "  - id: b\n    netns: one\n    device: adit1\n    tunnels:\n" GRE2(                                 \
                      "") "    routes: [{prefix: ^10.0.0.0/8, tunnel: g2}]\n",                                         \
      "account a routes it in the same namespace", "get no packet", "give each account a netns")                       \
    /* loops */                                                                                                        \
    X(loop_by_route,                                                                                                   \
      TOP("accounts:\n  - id: a\n    tunnels:\n") GRE("") "    routes: [{prefix: ^192.0.2.0/24, tunnel: g}]\n",        \
      "route 192.0.2.0/24 covers customer_endpoint 192.0.2.3 in the daemon's own namespace", "into the tunnel again",  \
      "give the account a netns, or set outer.mark or outer.device")                                                   \
    X(loop_by_default_route,                                                                                           \
      TOP("accounts:\n  - id: a\n    tunnels:\n") GRE("") "    routes: [{prefix: ^0.0.0.0/0, tunnel: g}]\n",           \
      "route 0.0.0.0/0 covers customer_endpoint", "", "outer.mark")                                                    \
    X(loop_by_another_account,                                                                                         \
      HEAD GRE("") "  - id: b\n    tunnels:\n" GRE2("") "    routes: [{prefix: ^192.0.2.3/32, tunnel: g2}]\n",         \
      "route 192.0.2.3/32 covers customer_endpoint 192.0.2.3", "", "")                                                 \
    X(loop_over_our_endpoint,                                                                                          \
      TOP("accounts:\n  - id: a\n    tunnels:\n") GRE("") "    routes: [{prefix: ^198.51.100.0/24, tunnel: g}]\n",     \
      "route 198.51.100.0/24 covers our endpoint 198.51.100.2", "", "")                                                \
    X(loop_by_interface, TOP("accounts:\n  - id: a\n    tunnels:\n") GRE(", interface_address: ^192.0.2.2/31"),        \
      "tunnel g: interface subnet 192.0.2.2/31 covers customer_endpoint 192.0.2.3", "", "")                            \
    /* ike and fleet */                                                                                                \
    X(cookie_threshold_above_limit, TOP("ike: ^{max_half_open: 10}\n"), "ike.cookie_threshold 30",                     \
      "above ike.max_half_open 10", "lower it")                                                                        \
    X(fragment_size_min_too_large, TOP("ike: {fragment_size: 1000, fragment_size_min: ^1200}\n"),                      \
      "ike.fragment_size_min", "repeated messages get smaller", "lower it")                                            \
    X(fragment_timeout_too_long, TOP("ike: ^{half_open_timeout: 5s}\n"), "ike.fragment_timeout",                       \
      "handshake ends first", "lower it")                                                                              \
    X(store_without_slot, TOP("fleet: {store: ^dir, cluster: c}\n"), "node.slot is missing",                           \
      "which server owns an SA", "add it")                                                                             \
    X(store_without_directory, TOP("fleet: {store: ^dir}\n"), "fleet.directory is missing", "folder", "")              \
    X(store_without_etcd, TOP("fleet: {store: ^etcd}\n"), "fleet.etcd.endpoints is missing", "", "add it")             \
    X(etcd_half_a_pair, TOP("fleet: {etcd: {cert_file: ^c.pem}}\n"), "cert_file and key_file", "only work together",   \
      "both or none")                                                                                                  \
    X(member_key_malformed,                                                                                            \
      TOP("fleet: {nodes: [{slot: 1, address: 192.0.2.9, public_key: "                                                 \
          "^zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeffzz}]}\n"),                                 \
      "public_key", "64 hexadecimal digits", "correct it")                                                             \
    X(kek_epoch_twice, TOP("fleet: {kek: [{epoch: 1, file: a}, {epoch: ^1, file: b}]}\n"), "fleet.kek: epoch 1",       \
      "twice", "a new number")                                                                                         \
    X(member_slot_twice,                                                                                               \
      TOP("fleet:\n  nodes:\n"                                                                                         \
          "    - {slot: 1, address: 192.0.2.8, public_key: "                                                           \
          "\"0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}\n"                                  \
          "    - {slot: ^1, address: 192.0.2.9, public_key: "                                                          \
          "\"0x10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}\n"),                                \
      "slot 1 is also that of line 5", "", "give each server its own")

#define X(test, text, where, what, remedy)                                        \
    static void test_##test(void **state)                                         \
    {                                                                             \
        (void)state;                                                              \
        struct place at;                                                          \
        struct loaded l = load_marked(NULL, text, &at);                           \
        assert_int_equal(l.rc, RC_SYNTAX);                                        \
        assert_null(l.c);                                                         \
        assert_true(report_has(&l.report, at.line, at.col, where, what, remedy)); \
        loaded_free(&l);                                                          \
    }
ERRORS(X)
#undef X

/* ---- what must not be an error */

#define GOOD(X)                                                                                                                   \
    X(gre_pairs_with_different_keys, HEAD GRE(", key: 7") "      - {name: h, type: gre, endpoint: 198.51.100.2, "                 \
                                                          "customer_endpoint: 192.0.2.3, key: 8}\n")                              \
    X(fqdn_at_two_endpoints,                                                                                                      \
      "version: 1\nendpoints: [198.51.100.2, 198.51.100.3]\naccounts:\n  - id: a\n    netns: a\n    tunnels:\n" IPSEC(            \
          ", fqdn: r1.example.net") "      - {name: j, type: ipsec, endpoint: 198.51.100.3, fqdn: r1.example.net, psk: " GOOD_PSK \
                                    "}\n")                                                                                        \
    X(subnets_of_two_namespaces,                                                                                                  \
      HEAD GRE(", interface_address: 10.0.0.0/31") ACCOUNT2 GRE2(", interface_address: 10.0.0.0/31"))                             \
    X(same_route_in_two_namespaces, HEAD GRE("") "    routes: [{prefix: 10.0.0.0/8, tunnel: g}]\n" ACCOUNT2 GRE2(                 \
                                        "") "    routes: [{prefix: 10.0.0.0/8, tunnel: g2}]\n")                                   \
    X(loop_behind_a_mark, TOP("outer: {mark: 7}\naccounts:\n  - id: a\n    tunnels:\n")                                           \
                              GRE("") "    routes: [{prefix: 0.0.0.0/0, tunnel: g}]\n")                                           \
    X(loop_behind_a_device, TOP("outer: {device: eth0}\naccounts:\n  - id: a\n    tunnels:\n")                                    \
                                GRE("") "    routes: [{prefix: 0.0.0.0/0, tunnel: g}]\n")                                         \
    X(default_route_in_a_namespace, HEAD GRE("") "    routes: [{prefix: 0.0.0.0/0, tunnel: g}, "                                  \
                                                 "{prefix: \"::/0\", tunnel: g}]\n")                                              \
    X(routes_of_equal_cost, HEAD GRE("") GRE2("") "    routes: [{prefix: 10.0.0.0/8, tunnel: g}, "                                \
                                                  "{prefix: 10.0.0.0/8, tunnel: g2}]\n")                                          \
    X(ipv6_tunnel,                                                                                                                \
      HEAD "      - {name: s, type: gre, endpoint: \"2001:db8::2\", customer_endpoint: \"2001:db8:1::1\", "                       \
           "interface_address6: \"fd00::/127\", interface_address: 169.254.10.1/30}\n")                                           \
    X(no_accounts, TOP("accounts: []\n"))                                                                                         \
    X(only_a_version, "version: 1\n")

#define X(test, text)                            \
    static void test_good_##test(void **state)   \
    {                                            \
        (void)state;                             \
        struct loaded l = load_text(NULL, text); \
        assert_true(report_empty(&l.report));    \
        assert_int_equal(l.rc, RC_OK);           \
        assert_non_null(l.c);                    \
        loaded_free(&l);                         \
    }
GOOD(X)
#undef X

/* ---- the report as a whole */

static void test_all_errors_in_one_run(void **state)
{
    (void)state;
    struct loaded l =
        load_text(NULL, "version: 1\n"
                        "endpoints: [198.51.100.2]\n"
                        "workers: many\n"
                        "accounts:\n"
                        "  - id: a\n"
                        "    tunnels:\n"
                        "      - {name: g, type: gre, endpoint: 198.51.100.9, customer_endpoint: nowhere, ttl: 0}\n"
                        "      - {name: g, type: gre, endpoint: 198.51.100.2, customer_endpoint: 198.51.100.2}\n"
                        "    routes:\n"
                        "      - {prefix: 10.0.0.0/8, tunnel: missing}\n");
    assert_int_equal(l.rc, RC_SYNTAX);
    assert_true(report_has(&l.report, 3, 10, "workers many", "", ""));
    assert_true(report_has(&l.report, 7, 40, "endpoint 198.51.100.9", "", ""));
    assert_true(report_has(&l.report, 7, 73, "customer_endpoint nowhere", "", ""));
    assert_true(report_has(&l.report, 7, 87, "ttl 0", "", ""));
    assert_true(report_has(&l.report, 8, 16, "this name", "", ""));
    assert_true(report_has(&l.report, 8, 73, "our own", "", ""));
    assert_true(report_has(&l.report, 10, 38, "no tunnel missing", "", ""));
    assert_int_equal(l.report.total[CONFIG_ERROR], 7);
    for (size_t i = 1; i < l.report.n; i++) /* in the order of the file */
        assert_true(l.report.v[i - 1].line <= l.report.v[i].line);
    loaded_free(&l);
}

static void test_errors_are_bounded(void **state)
{
    (void)state;
    char text[8192] = "version: 1\n", line[256], last[256] = "";
    size_t n = 0;
    for (int i = 0; i < 250; i++)
        strcat(text, "what: 1\n");
    struct loaded l = load_text(NULL, text);
    assert_int_equal(l.rc, RC_SYNTAX);
    assert_int_equal(l.report.total[CONFIG_ERROR], 250);
    while (config_report_line(&l.report, "adit.yaml", n, line, sizeof line) == RC_OK) {
        strcpy(last, line);
        n++;
    }
    assert_int_equal(n, CONFIG_MESSAGES_MAX + 1);
    assert_string_equal(last, "adit.yaml: and 150 more errors");
    loaded_free(&l);
}

static void test_file_cannot_be_read(void **state)
{
    (void)state;
    struct files none = {0};
    struct config_reader reader = files_reader(&none);
    struct config_report report = {0};
    struct config *c = NULL;
    assert_int_equal(config_load(&reader, "adit.yaml", &report, &c), RC_SYNTAX);
    assert_true(report_has(&report, 1, 1, "no such file", "--config", ""));
    assert_null(c);
    config_report_free(&report);
}

static void test_shared_psk_in_one_account_warns(void **state)
{
    (void)state;
    struct loaded l =
        load_text(NULL, HEAD IPSEC("") "      - {name: z, type: ipsec, endpoint: 198.51.100.2, psk: " GOOD_PSK "}\n");
    assert_int_equal(l.rc, RC_OK);
    assert_true(report_has(&l.report, 10, 61, "warning: tunnel z: its psk is also that of tunnel i (line 9)",
                           "give each its own", ""));
    loaded_free(&l);
}

static void test_gre_sequence_in_a_fleet_warns(void **state)
{
    (void)state;
    struct files f = {0};
    files_add(&f, "k", "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 0600, 0);
    files_add(&f, "n", "key\n", 0600, 0);
    struct loaded l =
        load_text(&f, "fleet: {store: dir, cluster: c, directory: /x, kek: [{epoch: 1, file: k}], "
                      "node_key_file: n}\nnode: {slot: 1, address: 192.0.2.77}\n" HEAD GRE(", sequence: true"));
    assert_int_equal(l.rc, RC_OK);
    assert_true(report_has(&l.report, 11, 94, "warning: tunnel g: sequence with several servers", "leave it off", ""));
    loaded_free(&l);
}

static void test_later_features_are_noted(void **state)
{
    (void)state;
    struct loaded l =
        load_text(NULL, "node: {slot: 4}\nouter: {mode: packet}\nmetrics: {listen: \"127.0.0.1:9587\"}\n" HEAD GRE(
                            ", interface_address: 10.0.0.0/31, health_check: {enabled: true, rate: mid}")
                            IPSEC(", allow_null_cipher: true"));
    assert_int_equal(l.rc, RC_OK);
    assert_true(report_has(&l.report, 1, 14, "note: node.slot: accepted, not active yet", "", ""));
    assert_true(report_has(&l.report, 3, 19, "note: metrics.listen: accepted, not active yet", "", ""));
    assert_true(
        report_has(&l.report, 12, 140, "note: tunnel g: health_check.enabled: accepted, not active yet", "", ""));
    assert_int_equal(l.report.total[CONFIG_NOTE], 3); /* a value that is the default asks for nothing */
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(test, ...) cmocka_unit_test(test_##test),
        ERRORS(X)
#undef X
#define X(test, text) cmocka_unit_test(test_good_##test),
            GOOD(X)
#undef X
                cmocka_unit_test(test_all_errors_in_one_run),
        cmocka_unit_test(test_errors_are_bounded),
        cmocka_unit_test(test_file_cannot_be_read),
        cmocka_unit_test(test_shared_psk_in_one_account_warns),
        cmocka_unit_test(test_gre_sequence_in_a_fleet_warns),
        cmocka_unit_test(test_later_features_are_noted),
    };
    return cmocka_run_group_tests_name("config: errors", tests, NULL, NULL);
}
