#!/bin/bash
# IKEv2 and ESP between aditd and strongSwan: what comes up, what does not, and what both sides say about it.
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

setup() { lab_up && lab_aditd_conf && lab_strongswan_start cust1; }

craft() { ns internet "$LAB_HERE/craft" "$@"; }
charon_log() { cat "$LAB_DIR/cust1/charon.log"; }

# refused PATTERN [KEY=VALUE...]: one that must not; what strongSwan says about it.
refused() {
    local why=$1
    shift
    lab_ipsec_down
    if lab_ipsec_up "$@" >"$LAB_DIR/initiate" 2>&1; then
        tail -n 4 "$LAB_DIR/initiate"
        echo 'it came up'
        exit 1
    fi
    contains 'what strongSwan was told' "$(cat "$LAB_DIR/initiate")" "$why"
}
# Events of aditd's log since mark: failed handshakes that match a pattern.
mark() { wc -l <"$LAB_DIR/aditd/log" >"$LAB_DIR/mark"; }
failures() { tail -n "+$(($(cat "$LAB_DIR/mark") + 1))" "$LAB_DIR/aditd/log" | grep handshake_failed; }
# Handshakes are told apart by their trace: charon is sometimes not ready for an answer that comes within 200 us, and asks again.
one_failure() {    # PATTERN: exactly one handshake failed, and its event says so
    local events
    events=$(failures || :)
    equal 'failed handshakes' "$(grep -o 'trace=[0-9a-f]*' <<<"$events" | sort -u | wc -l)" 1
    contains 'the event' "$events" "$1"
}
pings_both_ways() {
    lab_ping lan1 "$1" 10.0.0.2
    lab_ping srv "$1" 10.1.0.2
}
test_hybrid_of_ecp_384_and_ml_kem_768_comes_up() {
    lab_capture wire internet wan0 'proto 50 or udp'
    up
    contains 'list-sas' "$(lab_swanctl cust1 --list-sas)" 'AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384/KE1_ML_KEM_768'
    equal state "$(lab_tunnel acme-ipsec state)" up
    contains 'suite of the tunnel' "$(lab_tunnel acme-ipsec suite | tr '[:upper:]' '[:lower:]')" 'ml-?_?kem-?_?768'
    contains 'suite of the Child SA' "$(lab_sa acme-ipsec suite | tr '[:upper:]' '[:lower:]')" 'aes.*gcm.*256|aes256gcm|aes-256-gcm'
    pings_both_ways 20
    lab_capture_end wire
}

test_tshark_names_ike_intermediate_and_esp() {
    local names
    names=$(lab_captured wire isakmp)
    at_least 'IKE_INTERMEDIATE' "$(grep -c ' IKE_INTERMEDIATE ' <<<"$names")" 2
    at_least 'IKE_SA_INIT' "$(grep -c ' IKE_SA_INIT ' <<<"$names")" 2
    at_least 'IKE_AUTH' "$(grep -c ' IKE_AUTH ' <<<"$names")" 2
    at_least 'ESP' "$(lab_captured wire esp | grep -c ' ESP (SPI=0x')" 80
    equal 'malformed' "$(lab_captured wire _ws.malformed | wc -l)" 0
}

test_raw_esp_has_our_endpoint_and_spis_both_ways() {
    equal 'protocol, source, destination' "$(lab_captured wire esp ip.proto ip.src ip.dst | sort -u | xargs)" \
        "50 $LAB_CUST1 $LAB_EDGE 50 $LAB_EDGE $LAB_CUST1"
    contains 'our SPI' "$(lab_captured wire "esp && ip.dst == $LAB_EDGE" esp.spi | sort -u)" "^0x0*$(lab_sa acme-ipsec spi_in | sed 's/^0x0*//')$"
    equal 'sequence numbers start at 1' "$(lab_captured wire "esp && ip.src == $LAB_EDGE" esp.sequence | head -n 1)" 1
}

test_pings_both_ways_are_counted() {
    local in out
    in=$(lab_tunnel acme-ipsec packets_in) out=$(lab_tunnel acme-ipsec packets_out)
    pings_both_ways 100
    equal 'packets in' $(($(lab_tunnel acme-ipsec packets_in) - in)) 200
    equal 'packets out' $(($(lab_tunnel acme-ipsec packets_out) - out)) 200
}

test_tcp_both_ways() {
    local way
    for way in '' -R; do
        # shellcheck disable=SC2086  # empty or one option
        at_least "Mbit/s $way" "$(ns lan1 timeout 20 iperf3 -J -c 10.0.0.2 -t 1 $way | lab_mbits)" 1
    done
}

test_mss_is_clamped_to_1406_in_raw_esp() { mss_is 1406; }

test_largest_packet_passes_and_one_more_is_told_the_mtu() {
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" 1446
    lab_ping srv 3 10.1.0.2 -M 'do' -s 1418
    contains 'ICMP' "$(ns srv ping -n -c 1 -W 1 -M 'do' -s 1419 10.1.0.2 2>&1 || :)" 'mtu ?= ?1446'
}

test_larger_packets_without_df_arrive_in_fragments() {
    lab_ping srv 3 10.1.0.2 -M dont -s 4000
    lab_ping lan1 3 10.0.0.2 -M dont -s 4000
}

test_packets_that_are_not_ours_are_dropped_and_counted() {
    local spi unknown bad
    spi=$(lab_sa acme-ipsec spi_in)
    unknown=$(lab_drops esp_unknown_spi) bad=$(lab_drops esp_integrity)
    craft esp 0x00000fff --count 5
    craft esp "0x${spi#0x}" --sequence 1000000 --count 5
    lab_wait_for 2 eval "[ \$(lab_drops esp_unknown_spi) = $((unknown + 5)) ]"
    lab_wait_for 2 eval "[ \$(lab_drops esp_integrity) = $((bad + 5)) ]"
    pings_both_ways 5
}

test_selectors_are_obeyed() {
    local before
    up local_ts=10.1.0.2/32
    pings_both_ways 3
    before=$(lab_tunnel acme-ipsec packets_out)
    expect_not 'an address outside the selectors answers' lab_ping srv 2 10.1.0.1 -W 0.3
    equal 'packets out' "$(lab_tunnel acme-ipsec packets_out)" "$before"
    at_least 'drops' $(($(lab_drops esp_selector) + $(lab_drops no_sa))) 2
}

test_forced_udp_encapsulation() {
    lab_capture natt internet wan0 'proto 50 or udp'
    up conn.encap=yes
    pings_both_ways 20
    lab_capture_end natt
    equal 'raw ESP packets' "$(lab_captured natt 'ip.proto == 50' | wc -l)" 0
    equal 'ports of ESP from us' "$(lab_captured natt "esp && ip.src == $LAB_EDGE" udp.srcport udp.dstport | sort -u | xargs)" '4500 4500'
    equal 'UDP checksums that are zero' "$(lab_captured natt "esp && ip.src == $LAB_EDGE && udp.checksum == 0" | wc -l)" 0
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" 1438
    lab_ping srv 3 10.1.0.2 -M 'do' -s 1410
}

test_mss_is_clamped_to_1398_in_udp() { mss_is 1398; }

test_replayed_packet_is_dropped() {
    local packet before
    lab_aditd_conf ipsec='replay_protection: true'
    lab_capture once internet wan0 "proto 50 and dst $LAB_EDGE"
    up
    lab_ping lan1 5 10.0.0.2
    lab_capture_end once
    packet=$(packet once esp)
    before=$(lab_tunnel acme-ipsec packets_in)
    craft again "$packet" --count 5
    lab_wait_for 2 eval '[ $(lab_drops esp_replay) = 5 ]'
    equal 'packets in' "$(lab_tunnel acme-ipsec packets_in)" "$before"
}

test_starting_on_port_4500() {
    lab_ipsec_down # its Delete goes where the old connection is
    lab_capture p4500 internet wan0 udp
    up conn.remote_port=4500
    pings_both_ways 5
    lab_capture_end p4500
    equal 'packets on port 500' "$(lab_captured p4500 'udp.port == 500' | wc -l)" 0
}

test_fragmented_messages_are_put_together() {
    # an ML-KEM-768 public key with its headers does not fit a datagram of 1280 octets
    at_least 'fragments from strongSwan' \
        "$(lab_captured p4500 "ip.src == $LAB_CUST1 && isakmp.exchangetype == 43 && isakmp.typepayload == 53" | wc -l)" 2
    # ours are no longer than 1280 octets either, and strongSwan read them
    equal 'longer IKE datagrams from us' "$(lab_captured p4500 "ip.src == $LAB_EDGE && isakmp && ip.len > 1280" | wc -l)" 0
}

test_small_fragments_both_ways() {
    # both sides cut at 600 octets: ours is configured, strongSwan's is an option of the daemon
    lab_aditd_conf top='  fragment_size: 600'
    lab_strongswan_stop cust1
    lab_strongswan_start cust1 cust1 'fragment_size = 600'
    lab_capture small internet wan0 udp
    up
    pings_both_ways 3
    lab_capture_end small
    at_least 'fragments from us' "$(lab_captured small "ip.src == $LAB_EDGE && isakmp.typepayload == 53" | wc -l)" 3
    equal 'longer datagrams from us' "$(lab_captured small "ip.src == $LAB_EDGE && isakmp && ip.len > 600" | wc -l)" 0
    lab_strongswan_stop cust1
    lab_strongswan_start cust1
    lab_aditd_conf
}

test_hybrid_without_ike_fragmentation() {
    up conn.fragmentation=no
    pings_both_ways 3
}

test_through_a_nat() {
    ns internet nft -f - <<'NFT'
table ip lab {
    chain postrouting {
        type nat hook postrouting priority 100;
        oifname "wan0" ip saddr 192.0.2.2 meta l4proto udp masquerade to :20000-30000
    }
}
NFT
    lab_capture nat internet wan0 udp
    up
    pings_both_ways 5
    lab_capture_end nat
    ns internet nft delete table ip lab
    equal 'address of the customer as we see it' "$(lab_captured nat "esp && ip.dst == $LAB_EDGE" ip.src | sort -u)" 203.0.113.1
    at_least 'port that ESP goes to' "$(lab_captured nat "esp && ip.src == $LAB_EDGE" udp.dstport | sort -u)" 20000
    lab_ipsec_down
}

test_invalid_ke_payload_is_answered_with_the_right_group() {
    up proposals=aes256gcm16-prfsha384-x25519-ecp384-ke1_mlkem768
    contains 'the first answer' "$(cat "$LAB_DIR/initiate")" 'INVAL_KE'
    contains 'list-sas' "$(lab_swanctl cust1 --list-sas)" 'ECP_384/KE1_ML_KEM_768'
}

test_every_kind_of_identity() {
    local id
    for id in "$LAB_TUNNEL.$LAB_ACCOUNT.ipsec.example.net" "ipsec@$LAB_TUNNEL.$LAB_ACCOUNT.ipsec.example.net" \
        "keyid:${LAB_ACCOUNT}_$LAB_TUNNEL" "$LAB_CUST1"; do
        echo "identity $id"
        up "id=$id"
        lab_ping lan1 2 10.0.0.2
    done
}

test_ecp_384_alone_is_refused_where_pq_is_required() {
    mark
    refused AUTHENTICATION_FAILED proposals="$LAB_PROPOSAL_CLASSIC"
    one_failure 'acme-ipsec.*(post-quantum|pq|ML-KEM)'
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 0
}

test_wrong_psk() {
    mark
    lab_capture psk internet wan0 udp
    refused AUTHENTICATION_FAILED psk=some-other-secret-of-good-length
    lab_capture_end psk
    one_failure 'acme-ipsec.*(psk|PSK|pre-shared)'
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 0
    equal 'IKE SAs' "$(lab_ctl sas --json | jq '[.ike_sas[] | select(.state == "established")] | length')" 0
}

test_unknown_identity_looks_the_same_on_the_wire() {
    mark
    lab_capture unknown internet wan0 udp
    refused AUTHENTICATION_FAILED id=nobody.acme.ipsec.example.net
    lab_capture_end unknown
    one_failure 'nobody\.acme\.ipsec\.example\.net'
    contains 'the reason' "$(failures)" 'identity'
    local filter="ip.src == $LAB_EDGE && isakmp.exchangetype == 35"
    equal 'answers' "$(lab_captured unknown "$filter" udp.length)" "$(lab_captured psk "$filter" udp.length)"
}

test_unacceptable_proposal() {
    mark
    refused NO_PROPOSAL_CHOSEN proposals=aes128-sha1-modp1024
    one_failure '(1024|MODP|group|proposal)'
}

test_unacceptable_child_proposal_leaves_no_child() {
    refused NO_PROPOSAL_CHOSEN esp=chacha20poly1305
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 0
}

test_last_failure_is_shown() {
    lab_ipsec_down
    refused AUTHENTICATION_FAILED psk=some-other-secret-of-good-length
    contains 'aditctl' "$(lab_tunnel acme-ipsec last_failure.text)" '(psk|PSK|pre-shared)'
}

test_dead_peer_detection_of_the_customer_is_answered() {
    local before
    up conn.dpd_delay=1s
    before=$(charon_log | grep -c 'parsed INFORMATIONAL response' || :)
    lab_wait_for 6 eval '[ $(grep -c "parsed INFORMATIONAL response" "$LAB_DIR/cust1/charon.log") -ge '$((before + 2))' ]'
    equal state "$(lab_tunnel acme-ipsec state)" up
    pings_both_ways 3
}

# Make before break, the hybrid by IKE_FOLLOWUP_KE (RFC 9370 2.2.4): not a packet is lost.
test_rekeys_of_both_kinds_by_the_customer() {
    local child ike
    up esp=aes256gcm16-ecp384-ke1_mlkem768
    child=$(lab_sa acme-ipsec spi_in) ike=$(lab_ctl sas --json | jq -r '.ike_sas[0].spi_r')
    lab_swanctl cust1 --rekey --child net >/dev/null
    lab_wait_for 5 eval '[ "$(lab_sas acme-ipsec)" = 1 ] && [ "$(lab_sa acme-ipsec spi_in)" != '"$child"' ]'
    pings_both_ways 5
    contains suite "$(lab_sa acme-ipsec suite)" 'ECP_384/KE1_ML_KEM_768'
    lab_swanctl cust1 --rekey --ike acme >/dev/null
    lab_wait_for 5 eval '[ "$(lab_ctl sas --json | jq -r "[.ike_sas[].spi_r] | join(\" \")" | grep -v '"$ike"' | wc -w)" = 1 ]'
    pings_both_ways 5
    contains suite "$(lab_tunnel acme-ipsec suite)" 'KE1_ML_KEM_768'
    equal rekeyed "$(lab_ctl status --json | jq '.ike.rekeyed, .ike.ike_rekeyed' | xargs)" '1 1'
}
test_delete_by_the_customer() {
    up
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 1
    lab_swanctl cust1 --terminate --ike acme --timeout 5
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 0
    equal 'IKE SAs' "$(lab_ctl sas --json | jq '.ike_sas | length')" 0
    contains_not state "$(lab_tunnel acme-ipsec state)" '^up$'
}

test_customer_that_lost_its_state_comes_back() {
    up
    lab_stop cust1 KILL || :
    rm -f "$LAB_DIR/cust1/vici"
    lab_strongswan_start cust1
    up
    pings_both_ways 5
    equal 'IKE SAs after INITIAL_CONTACT' "$(lab_ctl sas --json | jq '.ike_sas | length')" 1
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 1
}

test_datagram_to_an_address_that_is_no_endpoint_is_ignored() {
    local init
    # strongSwan's own IKE_SA_INIT request, with another initiator SPI
    init=$(lab_captured p4500 "isakmp.exchangetype == 34 && ip.dst == $LAB_EDGE" udp.payload | head -n 1)
    init=${init#00000000}
    init=0102030405060708${init:16}
    expect_not '203.0.113.2 answers' craft udp 203.0.113.2 500 "$init" --wait 0.5
    expect 'the endpoint answers the same' craft udp "$LAB_EDGE" 500 "$init" --bind 192.0.2.1
}

test_garbage_on_the_ike_ports_is_survived() {
    local i
    for i in 00 0000000000 ffffffff00000000 000000000102030405060708; do
        craft udp "$LAB_EDGE" 500 "$i" --wait 0.05 || :
        craft udp "$LAB_EDGE" 4500 "$i" --wait 0.05 || :
    done
    # a NAT keepalive gets no answer
    expect_not 'a keepalive is answered' craft udp "$LAB_EDGE" 4500 ff --wait 0.2
    up
    pings_both_ways 3
}

test_pq_prefer_takes_both() {
    lab_aditd_conf pq=prefer
    up proposals="$LAB_PROPOSAL_CLASSIC"
    contains 'list-sas' "$(lab_swanctl cust1 --list-sas)" 'AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384$'
    pings_both_ways 5
    contains_not 'suite of the tunnel' "$(lab_tunnel acme-ipsec suite | tr '[:upper:]' '[:lower:]')" 'kem'
    up
    contains 'list-sas' "$(lab_swanctl cust1 --list-sas)" 'ECP_384/KE1_ML_KEM_768'
    pings_both_ways 5
}

test_reset_deletes_and_the_customer_may_come_back() {
    up
    contains aditctl "$(lab_ctl reset acme-ipsec)" '^1 IKE SA '
    lab_wait_for 2 eval '! lab_swanctl cust1 --list-sas | grep -q ESTABLISHED'
    equal 'IKE SAs' "$(lab_ctl sas --json | jq '.ike_sas | length')" 0
    up
    pings_both_ways 3
}

test_reload_leaves_running_sas_alone() {
    local spi
    spi=$(lab_sa acme-ipsec spi_in)
    lab_aditd_reload pq=prefer routes='      - {prefix: 10.7.0.0/16, tunnel: acme-ipsec}'
    pings_both_ways 5
    equal 'the SA' "$(lab_sa acme-ipsec spi_in)" "$spi"
}

test_tunnel_that_a_reload_removes_says_goodbye() {
    lab_conf | sed '/acme-ipsec/d' >"$LAB_DIR/less.yaml"
    lab_render "$LAB_DIR/less.yaml"
    cp "$LAB_DIR/conf/less.yaml" "$LAB_DIR/conf/test.yaml"
    lab_ctl reload
    lab_wait_for 2 eval '! lab_swanctl cust1 --list-sas | grep -q ESTABLISHED'
    contains 'strongSwan' "$(charon_log | tail -n 20)" 'received DELETE for IKE_SA'
    lab_wait_for 2 eval '[ -z "$(ns edge ss -Huln sport = :500)" ]'
    lab_aditd_reload
    up
    pings_both_ways 3
}

test_sigterm_says_goodbye() {
    local began status
    lab_aditd_conf
    up
    began=$(date +%s%N)
    status=$(lab_aditd_stop)
    equal 'exit status' "$status" 0
    expect 'within 2 s' [ $((($(date +%s%N) - began) / 1000000)) -lt 2000 ]
    lab_wait_for 2 eval '! lab_swanctl cust1 --list-sas | grep -q ESTABLISHED'
    contains 'strongSwan' "$(charon_log | tail -n 20)" 'received DELETE for IKE_SA'
    equal 'TUN' "$(lab_ip acme -o link show type tun)" ''
    equal 'routes' "$(lab_ip acme route show 10.1.0.0/16)" ''
}

# GRE inside ESP: charon's ESP takes what a router of the customer would have put out as GRE. Tunnel mode: its ESP knows no other.
test_gre_inside_esp_both_ways() {
    local in out naked
    lab_aditd_conf customer="$LAB_CUST1" gre='protect: acme-ipsec' gre_customer="$LAB_CUST1"
    up local_ts="$LAB_CUST1/32[gre]" remote_ts="$LAB_EDGE/32[gre]"
    equal 'state of the gre tunnel' "$(lab_tunnel acme-gre state)" up
    equal 'inner MTU' "$(lab_tunnel acme-gre mtu)" 1422
    in=$(lab_tunnel acme-gre packets_in) out=$(lab_tunnel acme-gre packets_out) naked=$(lab_drops gre_protect)
    lab_capture wire internet wan0 'proto 47 or proto 50'
    lab_capture server srv eth0 'udp port 9'
    ns cust1 "$LAB_HERE/craft" gre --src "$LAB_CUST1" --count 5
    lab_wait_for 2 eval "[ \$(lab_tunnel acme-gre packets_in) = $((in + 5)) ]"
    lab_capture inside cust1 ipsec0 'proto 47'
    expect_not 'nobody answers there' lab_ping srv 3 10.2.0.77 -W 0.3
    lab_wait_for 2 eval "[ \$(lab_tunnel acme-gre packets_out) -ge $((out + 3)) ]"
    lab_capture_end inside
    lab_capture_end server
    lab_capture_end wire
    equal 'at the server' "$(lab_captured server 'ip.src == 10.2.0.9' ip.src | wc -l)" 5
    at_least 'at the customer' "$(lab_captured inside "gre && ip.src == $LAB_EDGE && ip.dst == 10.2.0.77 || icmp" ip.dst | grep -c '10\.2\.0\.77')" 3
    equal 'GRE in the clear' "$(lab_captured wire 'ip.proto == 47' ip.src | wc -l)" 0
    at_least 'ESP' "$(lab_captured wire esp ip.src | wc -l)" 8
    craft gre --src "$LAB_CUST1" --count 5
    lab_wait_for 2 eval "[ \$(lab_drops gre_protect) = $((naked + 5)) ]"
    lab_aditd_conf
}

tap_main setup test_hybrid_of_ecp_384_and_ml_kem_768_comes_up test_tshark_names_ike_intermediate_and_esp \
    test_raw_esp_has_our_endpoint_and_spis_both_ways test_pings_both_ways_are_counted test_tcp_both_ways \
    test_mss_is_clamped_to_1406_in_raw_esp test_largest_packet_passes_and_one_more_is_told_the_mtu \
    test_larger_packets_without_df_arrive_in_fragments test_packets_that_are_not_ours_are_dropped_and_counted \
    test_selectors_are_obeyed test_forced_udp_encapsulation test_mss_is_clamped_to_1398_in_udp \
    test_replayed_packet_is_dropped test_starting_on_port_4500 test_fragmented_messages_are_put_together \
    test_small_fragments_both_ways test_hybrid_without_ike_fragmentation test_through_a_nat \
    test_invalid_ke_payload_is_answered_with_the_right_group test_every_kind_of_identity \
    test_ecp_384_alone_is_refused_where_pq_is_required test_wrong_psk test_unknown_identity_looks_the_same_on_the_wire \
    test_unacceptable_proposal test_unacceptable_child_proposal_leaves_no_child test_last_failure_is_shown \
    test_dead_peer_detection_of_the_customer_is_answered test_rekeys_of_both_kinds_by_the_customer \
    test_delete_by_the_customer \
    test_customer_that_lost_its_state_comes_back test_datagram_to_an_address_that_is_no_endpoint_is_ignored \
    test_garbage_on_the_ike_ports_is_survived test_pq_prefer_takes_both \
    test_reset_deletes_and_the_customer_may_come_back test_reload_leaves_running_sas_alone \
    test_tunnel_that_a_reload_removes_says_goodbye test_sigterm_says_goodbye \
    test_gre_inside_esp_both_ways
