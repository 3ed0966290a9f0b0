#!/bin/bash
# Customers behind a NAT, an edge behind one, and a NAT that changes its mind: nftables in the internet's router.
# shellcheck disable=SC2317  # functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

setup() { lab_up && lab_aditd_conf && lab_strongswan_start cust1; }

craft() { ns internet "$LAB_HERE/craft" "$@"; }

# nat PORTS [to]: the customer's UDP leaves from 203.0.113.1 and one of these ports; "to": what it sends to 192.0.2.1 arrives at
# our endpoint, so that a NAT stands in front of us too. Mappings that exist are forgotten.
nat() {
    local ours='' theirs=''
    [ -z "${2:-}" ] || ours="ip daddr 192.0.2.1 udp dport { 500, 4500 } dnat to $LAB_EDGE"
    [ -z "$1" ] || theirs="oifname wan0 ip saddr $LAB_CUST1 meta l4proto udp masquerade to :$1"
    ns internet nft -f - <<NFT
table ip lab {}
flush table ip lab
table ip lab {
    chain prerouting {
        type nat hook prerouting priority -100;
        $ours
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        $theirs
    }
}
NFT
    craft forget
}
no_nat() { ns internet nft flush table ip lab && craft forget; }

# Where aditd thinks the customer is: what IKE and what ESP is sent to.
place() { lab_ctl sas --json | jq -r '[.ike_sas[0].remote, .sas[0].remote] | unique | join(" and ")'; }
behind() {    # FIRST LAST: it is at one port of these of the NAT's address
    local port
    port=$(place)
    contains 'where the customer is' "$port" '^203\.0\.113\.1:[0-9]+$'
    port=${port##*:}
    expect "a port from $1 to $2, not $port" [ "$port" -ge "$1" ] && [ "$port" -le "$2" ]
}

test_start_on_500_and_float() {
    nat 20000-29999
    lab_capture float edge eth0 'proto 50 or udp'
    up
    pings 20
    lab_capture_end float
    behind 20000 29999
    equal 'a NAT, says aditctl' "$(lab_ctl sas --json | jq '.ike_sas[0].nat')" true
    equal 'our ports' "$(lab_captured float "ip.dst == $LAB_EDGE && isakmp" isakmp.exchangetype udp.dstport | sort -u | xargs)" \
        '34 500 35 4500 43 4500'
    equal 'ESP outside UDP' "$(lab_captured float 'ip.proto == 50' | wc -l)" 0
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" 1438
}

test_start_on_4500() {
    lab_ipsec_down # its Delete goes where the old connection is
    nat 20000-29999
    lab_capture only edge eth0 'proto 50 or udp'
    up conn.remote_port=4500
    pings 20
    lab_capture_end only
    behind 20000 29999
    equal 'packets on port 500' "$(lab_captured only 'udp.dstport == 500 || udp.srcport == 500' | wc -l)" 0
}

test_rekeys_behind_a_nat() {
    nat 20000-29999
    up
    rekey --child net
    pings 5
    rekey --ike acme
    pings 5
    behind 20000 29999
}

test_port_remap_in_mid_life_is_followed_under_traffic() {
    local moved lost
    nat 20000-29999
    up
    moved=$(ike_count moved)
    ns lan1 ping -q -n -i 0.01 -c 400 -W 1 10.0.0.2 >"$LAB_DIR/flow" 2>&1 &
    lab_wait_for 5 eval '[ "$(lab_sa acme-ipsec packets_in)" -gt 50 ]'
    nat 40000-49999
    wait $!
    behind 40000 49999
    equal moved "$(($(ike_count moved) - moved))" 1
    contains 'the event' "$(grep ike.moved "$LAB_DIR/aditd/log" | tail -n 1)" '203\.0\.113\.1:4[0-9]{4}'
    lost=$((400 - $(sed -n 's/.* \([0-9]*\) received.*/\1/p' "$LAB_DIR/flow")))
    expect "no more than 100 ms of answers lost, not $lost of 400" [ "$lost" -le 10 ]
    pings 20
}

test_port_remap_while_nothing_flows_is_followed_with_the_next_request() {
    nat 20000-29999
    up conn.dpd_delay=1s
    nat 30000-39999
    lab_wait_for 5 eval 'place | grep -q "203.0.113.1:3"'
    behind 30000 39999
    lab_ping srv 5 10.1.0.2
}

both_behind_a_nat() {
    nat 20000-29999 to
    lab_aditd_conf top='  nat_keepalive: 1s'
    up remote_addrs=192.0.2.1
}
test_double_nat() {
    both_behind_a_nat
    behind 20000 29999
    pings 20
    rekey --child net
    rekey --ike acme
    pings 20
}

test_keepalives_go_out_when_we_are_behind_a_nat() {
    local before
    both_behind_a_nat
    before=$(ike_count keepalive)
    lab_capture alive internet cust1 'udp[4:2] = 9' # one octet
    lab_wait_for 5 eval '[ "$(ike_count keepalive)" -ge '$((before + 2))' ]'
    lab_capture_end alive
    # through both NATs, to the port that the customer has inside
    at_least 'arrived' "$(lab_captured alive "ip.src == 192.0.2.1 && ip.dst == $LAB_CUST1 && udp.port == 4500 && udp.length == 9" | wc -l)" 2
}

test_only_we_are_behind_a_nat() {
    local before
    nat '' to
    lab_aditd_conf top='  nat_keepalive: 1s'
    up remote_addrs=192.0.2.1
    pings 20
    equal 'where the customer is' "$(place)" "$LAB_CUST1:4500"
    before=$(ike_count keepalive)
    lab_wait_for 5 eval '[ "$(ike_count keepalive)" -ge '$((before + 1))' ]'
    no_nat
}

# again_from NAME FILTER OPTIONS...: such a packet of a capture, five times.
again_from() {
    local octets
    octets=$(packet "$1" "$2")
    shift 2
    expect 'a captured packet' [ -n "$octets" ]
    craft again "$octets" --count 5 "$@"
}

test_replayed_packet_from_elsewhere_moves_nothing_behind_a_nat() {
    local at
    nat 20000-29999
    lab_aditd_conf # replay protection is the default
    lab_capture esp edge eth0 "udp and dst $LAB_EDGE"
    up
    pings 3
    lab_capture_end esp
    at=$(place)
    again_from esp 'udp port 4500 and udp[8:4] != 0' --src 203.0.113.1 # same port, to begin with: the way things are
    again_from esp 'udp port 4500 and udp[8:4] != 0' --src 192.0.2.77
    lab_wait_for 2 eval '[ "$(lab_drops esp_replay)" = 10 ]'
    equal 'nominated and moved' "$(ike_count nominated) $(ike_count moved)" '0 0'
    equal 'where the customer is' "$(place)" "$at"
    pings 5
}

test_replayed_packet_without_replay_protection_only_nominates() {
    local at
    no_nat
    lab_aditd_conf ipsec='replay_protection: false'
    lab_capture plain edge eth0 "proto 50 and dst $LAB_EDGE"
    up
    pings 3
    lab_capture_end plain
    at=$(place)
    lab_capture asked edge eth0 "udp and dst 192.0.2.77"
    again_from plain 'proto 50' --src 192.0.2.77
    lab_wait_for 2 eval '[ "$(ike_count nominated)" = 1 ]'
    pings 20
    lab_capture_end asked
    at_least 'requests to that place' "$(lab_captured asked 'isakmp.exchangetype == 37' | wc -l)" 1
    equal moved "$(ike_count moved)" 0
    equal 'where the customer is' "$(place)" "$at"
}

test_strict_peer_does_not_even_ask() {
    lab_aditd_conf ipsec='replay_protection: false, strict_peer: true'
    lab_capture strict edge eth0 "proto 50 and dst $LAB_EDGE"
    up
    pings 3
    lab_capture_end strict
    again_from strict 'proto 50' --src 192.0.2.77
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-ipsec packets_in)" -ge 11 ]' # they are authentic
    pings 3
    equal 'nominated and moved' "$(ike_count nominated) $(ike_count moved)" '0 0'
    equal 'where the customer is' "$(place)" "$LAB_CUST1:500"
}

test_strict_peer_refuses_the_address_of_a_nat() {
    nat 20000-29999
    lab_ipsec_down
    expect_not 'it comes up' lab_ipsec_up >"$LAB_DIR/initiate" 2>&1
    contains 'what strongSwan was told' "$(cat "$LAB_DIR/initiate")" AUTHENTICATION_FAILED
    contains 'the event' "$(grep handshake_failed "$LAB_DIR/aditd/log")" 'strict_peer'
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 0
    at_least fail_peer_address "$(ike_count fail_peer_address)" 1
    no_nat
}

test_forced_encapsulation_and_plain_esp_are_accepted_together() {
    local in
    lab_aditd_conf ipsec='replay_protection: false'
    lab_capture forced edge eth0 "udp and dst $LAB_EDGE"
    up conn.encap=yes
    pings 10
    lab_capture_end forced
    in=$(lab_tunnel acme-ipsec packets_in)
    again_from forced 'udp port 4500 and udp[8:4] != 0' --plain
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-ipsec packets_in)" = '$((in + 5))' ]'
    again_from forced 'udp port 4500 and udp[8:4] != 0' --src $LAB_CUST1
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-ipsec packets_in)" = '$((in + 10))' ]'
    # and ours still goes where it went
    lab_capture ours edge eth0 "src $LAB_EDGE and (proto 50 or udp)"
    pings 3
    lab_capture_end ours
    equal 'ESP from us' "$(lab_captured ours esp udp.dstport | sort -u)" 4500
}

tap_main setup test_start_on_500_and_float test_start_on_4500 test_rekeys_behind_a_nat \
    test_port_remap_in_mid_life_is_followed_under_traffic \
    test_port_remap_while_nothing_flows_is_followed_with_the_next_request \
    test_double_nat test_keepalives_go_out_when_we_are_behind_a_nat test_only_we_are_behind_a_nat \
    test_replayed_packet_from_elsewhere_moves_nothing_behind_a_nat \
    test_replayed_packet_without_replay_protection_only_nominates \
    test_strict_peer_does_not_even_ask test_strict_peer_refuses_the_address_of_a_nat \
    test_forced_encapsulation_and_plain_esp_are_accepted_together
