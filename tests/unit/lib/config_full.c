/* config_full: see config_full.h. */
#include "config_full.h"

#include <stdio.h>

#include "unit.h"

#define NODE_KEY "\"0x00112233445566778899aabbccddeeff00112233445566778899aabbccddee"

const char config_full[] =
    "version: 1\n"
    "node: {name: edge-7, address: 203.0.113.7, probe_address: \"2001:db8:f::7\", slot: 9}\n"
    "endpoints: [198.51.100.2, \"2001:db8::2\"]\n"
    "outer: {mark: 0x10, device: bond0.5, mode: packet}\n"
    "workers: 3\n"
    "ike:\n"
    "  identity_domain: ipsec.example.net\n"
    "  identity: edge@example.net\n"
    "  proposal:\n"
    "    encryption: [aes256, aes128gcm16]\n"
    "    integrity: [sha256]\n"
    "    prf: [sha512, sha256]\n"
    "    key_exchange: [modp2048, ecp384]\n"
    "    additional_key_exchange: [mlkem1024]\n"
    "  child_proposal:\n"
    "    encryption: [aes128, aes256gcm16]\n"
    "    integrity: [sha1, sha512, sha384]\n"
    "    key_exchange: [modp1536, modp3072, ecp256, modp4096]\n"
    "    additional_key_exchange: [mlkem1024, mlkem768]\n"
    "  ike_lifetime: 8h\n"
    "  child_lifetime: 45m\n"
    "  lifetime_jitter: 25\n"
    "  dpd_interval: 45s\n"
    "  followup_timeout: 12s\n"
    "  half_open_timeout: 20s\n"
    "  fragment_timeout: 1500ms\n"
    "  fragment_size: 1400\n"
    "  fragment_size_min: 640\n"
    "  max_fragments: 32\n"
    "  max_half_open: 5000\n"
    "  cookie_threshold: 40\n"
    "  cookie_threshold_per_ip: 5\n"
    "  cookie_threshold_per_prefix: 20\n"
    "  cookie_secret_file: cookie.secret\n"
    "  init_rate_per_ip: 7\n"
    "  handshakes_per_second: 900\n"
    "  max_sas: 100000\n"
    "  max_children: 10\n"
    "  retransmit_first: 2s\n"
    "  retransmit_tries: 5\n"
    "  nat_keepalive: 15s\n"
    "  downgrade_protection: false\n"
    "fleet:\n"
    "  store: etcd\n"
    "  cluster: eu\n"
    "  directory: /var/lib/adit/store\n"
    "  etcd:\n"
    "    endpoints: [\"https://etcd-1.example.net:2379\", \"https://etcd-2.example.net:2379\"]\n"
    "    read_endpoints: [\"https://mirror.example.net:2379\"]\n"
    "    write_endpoints: [\"https://leader.example.net:2379\"]\n"
    "    prefix: /adit/eu\n"
    "    ca_file: etcd/ca.pem\n"
    "    cert_file: etcd/cert.pem\n"
    "    key_file: etcd/key.pem\n"
    "    user: adit\n"
    "    password_file: etcd/password\n"
    "    timeout: 3s\n"
    "  kek: [{epoch: 4, file: kek-4}, {epoch: 5, file: kek-5}]\n"
    "  node_key_file: node.key\n"
    "  nodes:\n"
    "    - {slot: 9, name: edge-7, address: 203.0.113.7, public_key: " NODE_KEY "07\"}\n"
    "    - {slot: 10, address: 203.0.113.8, public_key: " NODE_KEY "08\"}\n"
    "  port: 4748\n"
    "  lease: 20s\n"
    "  commit_wait: 200ms\n"
    "  replay: single-egress\n"
    "control: {path: /run/adit/other.sock, group: netops}\n"
    "metrics: {listen: \"[2001:db8:f::7]:9588\"}\n"
    "log: {level: debug, format: json, rate: 100}\n"
    "accounts:\n"
    "  - id: \"123456789\"\n"
    "    name: acme\n"
    "    netns: acme-ns\n"
    "    create: true\n"
    "    device: adit7\n"
    "    tunnels:\n"
    "      - name: acme-gre\n"
    "        description: \"the \\\"old\\\" line, C:\\\\path, \\u00e4\"\n"
    "        type: gre\n"
    "        endpoint: 198.51.100.2\n"
    "        customer_endpoint: 192.0.2.2\n"
    "        interface_address: 10.255.0.1/30\n"
    "        interface_address6: \"fd00::2/127\"\n"
    "        mtu: 1400\n"
    "        mss: 1300\n"
    "        outer: {df: set, dscp: 46, ecn: normal}\n"
    "        health_check: {enabled: true, direction: bidirectional, type: request, rate: high, target: 10.255.0.2}\n"
    "        ttl: 32\n"
    "        key: 4294967295\n"
    "        checksum: true\n"
    "        sequence: true\n"
    "        sequence_check: true\n"
    "        keepalive: false\n"
    "        allow_sources: [172.16.0.0/12, \"2001:db8:77::/48\"]\n"
    "        protect: acme-ipsec\n"
    "      - name: acme-ipsec\n"
    "        type: ipsec\n"
    "        endpoint: 198.51.100.2\n"
    "        customer_endpoint: 192.0.2.2\n"
    "        interface_address: 10.255.0.4/31\n"
    "        outer: {df: clear, dscp: 0, ecn: compat}\n"
    "        id: f5407d8db1a542b196c59f6d04ba8bd1\n"
    "        fqdn: router.acme.example\n"
    "        strict_peer: true\n"
    "        psk:\n"
    "          - {file: keys/old, not_after: 2027-01-31}\n"
    "          - {file: keys/new, not_after: \"2028-02-29T12:30:05Z\"}\n"
    "        pq: require\n"
    "        ike: {encryption: [aes128gcm16, aes256], integrity: [sha256], prf: [sha512], key_exchange: [ecp384],\n"
    "              additional_key_exchange: [mlkem1024]}\n"
    "        esp: {encryption: [aes256gcm16, aes128], integrity: [sha384], key_exchange: [ecp256],\n"
    "              additional_key_exchange: [mlkem768]}\n"
    "        allow_null_cipher: true\n"
    "        replay_protection: true\n"
    "        replay_window: 64\n"
    "      - {name: six, type: ipsec, endpoint: \"2001:db8::2\", psk_file: /etc/adit/six.psk, pq: off}\n"
    "      - {name: inline, type: ipsec, endpoint: 198.51.100.2, psk: [{value: " GOOD_PSK "}]}\n"
    "    routes:\n"
    "      - {prefix: 10.1.0.0/16, tunnel: acme-ipsec, priority: 7, weight: 256}\n"
    "      - {prefix: \"2001:db8:1::/48\", tunnel: six}\n"
    "  - id: other\n"
    "    device: adit8\n";

struct files config_full_files(void)
{
    struct files f = {.any = "a file that is no key\n"};
    files_add(&f, "kek-4", FULL_KEY "\n", 0600, 0);
    files_add(&f, "cookie.secret", FULL_KEY2 "\n", 0600, 0);
    files_add(&f, "kek-5", FULL_KEY2, 0400, 0);
    files_add(&f, "keys/old", "q8Zr7Nw4Kd8Hs3Bf6M-old-0", 0600, 0);
    files_add(&f, "keys/new", FULL_KEY2 "\r\n", 0600, 0);
    files_add(&f, "/etc/adit/six.psk", GOOD_PSK2 "\n", 0600, 0);
    return f;
}

struct loaded config_full_load(void)
{
    struct files f = config_full_files();
    struct loaded l = load_text(&f, config_full);
    if (l.rc != RC_OK)
        report_empty(&l.report); /* prints it */
    assert_int_equal(l.rc, RC_OK);
    return l;
}

char *text_replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("no \"%s\" in the text", from);
    size_t n = strlen(text) + strlen(to) + 1;
    char *p = malloc(n);
    if (!p || !at)
        abort();
    snprintf(p, n, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return p;
}
