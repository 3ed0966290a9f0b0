#!/bin/bash
# GRE between aditd and the Linux kernel (User Mode Linux), and packets that no kernel would send.
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"

setup() { lab_up && lab_aditd_conf && lab_gre_start && lab_gre_tunnel; }

craft() { ns internet "$LAB_HERE/craft" gre "$@"; }

# mss NAME FILTER: the MSS options of a capture's SYNs, each once.
mss() { lab_captured "$1" "tcp.flags.syn == 1 && $2" tcp.options.mss_val | sort -u | xargs; }
knock() { ns srv timeout 3 bash -c ": </dev/tcp/$1/5201"; }

test_pings_both_ways() {
    local in out
    in=$(lab_tunnel acme-gre packets_in) out=$(lab_tunnel acme-gre packets_out)
    lab_gre_ping 100 10.0.0.2
    lab_ping srv 100 10.2.0.1
    at_least 'packets in' $(($(lab_tunnel acme-gre packets_in) - in)) 200
    at_least 'packets out' $(($(lab_tunnel acme-gre packets_out) - out)) 200
}

test_interface_addresses_answer_both_ways() {
    lab_gre_ping 3 10.255.0.2
    lab_ping acme 3 10.255.0.3
}

test_tcp_both_ways() {
    local way
    for way in '' -R; do
        at_least "Mbit/s $way" "$(lab_gre_exec "timeout 20 iperf3 -J -c 10.0.0.2 -t 1 $way" | lab_mbits)" 1
    done
}

# gro NANOSECONDS: so long the edge's device keeps what may be merged, as one with interrupts does; it looks into GRE.
gro() { ip netns exec "$LAB_ID-edge" sh -c "echo $1 >/sys/class/net/eth0/gro_flush_timeout"; }

test_tcp_that_the_kernel_has_merged_before_us() {
    local options
    gro 100000
    for options in '' 'key 42 csum'; do
        lab_aditd_conf gre="${options:+key: 42, checksum: true}"
        # shellcheck disable=SC2086  # several words
        lab_gre_tunnel $options
        lab_capture merged edge eth0 "proto 47 and dst $LAB_EDGE and greater 3000"
        at_least "Mbit/s $options" "$(lab_gre_exec 'timeout 20 iperf3 -J -c 10.0.0.2 -n 20M' | lab_mbits)" 20
        lab_capture_end merged
        at_least 'packets longer than the link takes' "$(lab_captured merged gre | wc -l)" 50
        equal 'drops' "$(lab_ctl tunnels --json | jq -c '.tunnels[] | select(.name == "acme-gre") | .drops')" '{}'
    done
    gro 0
    lab_gre_tunnel
    lab_aditd_conf
}

test_outer_header_has_our_endpoint_ttl_64_and_no_options() {
    lab_capture outer edge eth0 "proto 47 and src $LAB_EDGE"
    lab_gre_ping 3 10.0.0.2
    lab_capture_end outer
    # both headers: outer first
    equal 'source, destination, TTL, header octets' "$(lab_captured outer gre ip.src ip.dst ip.ttl ip.hdr_len |
        awk '{ split($1, s, ","); split($2, d, ","); split($3, t, ","); split($4, h, ",")
               print s[1], d[1], t[1], h[1] }' | sort -u)" "$LAB_EDGE $LAB_CUST2 64 20"
    equal 'GRE flags and version' "$(lab_captured outer gre gre.flags_and_version | sort -u)" 0x0000
}

test_mss_is_clamped_to_1436_in_every_syn() {
    lab_gre_exec "ip route replace 10.0.0.0/16 dev gre1 src 10.2.0.1 advmss 1460; iperf3 -s -D -1"
    lab_capture server srv eth0 'tcp[tcpflags] & tcp-syn != 0'
    lab_capture wire edge eth0 "proto 47"
    lab_gre_exec "timeout 3 bash -c ': </dev/tcp/10.0.0.2/5201'"
    knock 10.2.0.1
    lab_capture_end server
    lab_capture_end wire
    lab_gre_exec 'pkill iperf3; ip route replace 10.0.0.0/16 dev gre1 src 10.2.0.1'
    equal 'what the customer sent' "$(mss wire "ip.src == $LAB_CUST2")" 1460
    equal 'what the server sent' "$(mss server 'ip.src == 10.0.0.2')" 1460
    equal 'what reached the server' "$(mss server 'ip.src == 10.2.0.1')" 1436
    equal 'what went out to the customer' "$(mss wire "ip.src == $LAB_EDGE")" 1436
    equal 'what aditctl says' "$(lab_tunnel acme-gre mss4)" 1436
}

test_largest_packet_passes_and_one_more_is_told_the_mtu() {
    local told
    equal 'inner MTU' "$(lab_tunnel acme-gre mtu)" 1476
    lab_ping srv 3 10.2.0.1 -M 'do' -s 1448
    told=$(ns srv ping -n -c 1 -W 1 -M 'do' -s 1449 10.2.0.1 2>&1 || :)
    contains 'ICMP' "$told" 'mtu ?= ?1476'
    told=$(ns acme ping -n -c 1 -W 1 -M 'do' -s 1449 10.2.0.1 2>&1 || :)
    contains "in the account's own namespace" "$told" 'mtu ?= ?1476'
}

test_larger_packets_without_df_arrive_in_fragments() {
    lab_ping srv 3 10.2.0.1 -M dont -s 4000
    lab_gre_ping 3 10.0.0.2 -M dont -s 4000
}

# bad REASON OPTIONS...: five such packets are dropped and counted under that reason.
bad() {
    local reason=$1 before
    shift
    before=$(lab_drops "$reason")
    craft "$@" --count 5
    lab_wait_for 2 eval "[ \$(lab_drops $reason) -ge $((before + 5)) ]" || { echo "$reason: $* not counted"; exit 1; }
    equal "$reason ($*)" $(($(lab_drops "$reason") - before)) 5
}

test_bad_packets_are_dropped_and_counted_while_traffic_flows() {
    lab_capture server srv eth0 'udp port 9'
    (lab_ping srv 400 10.2.0.1 || :) >"$LAB_DIR/flow" &
    bad gre_source --src 192.0.2.9
    bad gre_version --version 1
    bad gre_flags --routing
    bad gre_flags --reserved 0x0800
    bad gre_protocol --protocol 0x88be
    bad gre_checksum --checksum bad
    bad gre_key --key 7
    bad short --cut 3
    bad inner_version --hex 5500001c0000400040110000
    bad inner_length --inner-length 1400
    bad inner_source --inner-src 10.9.0.9 # of no route of the account
    bad inner_destination --inner-dst "$LAB_EDGE"
    bad inner_destination --inner-dst 127.0.0.1
    craft --inner-dst 10.0.0.2
    wait $!
    lab_capture_end server
    equal 'of 400 pings meanwhile' "$(cat "$LAB_DIR/flow")" 400
    equal 'packets that reached the server, all but the last bad' "$(lab_captured server udp | wc -l)" 1
}

test_inner_packet_in_a_loop_is_dropped() {
    local before
    before=$(lab_drops inner_destination)
    # a GRE packet for us inside a GRE packet for us
    craft --hex 4500001c00000000402f00000a020009c63364020000080045000000 --count 5
    lab_wait_for 2 eval "[ \$(( \$(lab_drops inner_destination) + \$(lab_drops inner_loop) )) -ge $((before + 5)) ]"
}

# ecn OUTER INNER: the ECN bits with which such a packet reaches the server; "dropped" if it does not.
ecn() {
    local got
    lab_capture ecn srv eth0 'udp port 9'
    craft --tos "$1" --inner-tos "$2"
    lab_wait_for 1 eval 'tcpdump -r "$LAB_DIR/ecn.pcap" 2>/dev/null | grep -q UDP' 2>/dev/null || :
    lab_capture_end ecn >/dev/null
    got=$(lab_captured ecn udp ip.dsfield.ecn)
    echo "${got:-dropped}"
}

test_ecn_goes_in_by_rfc_6040() {
    local before
    equal 'CE outside, ECT(0) inside' "$(ecn 3 2)" 3
    equal 'CE outside, ECT(1) inside' "$(ecn 3 1)" 3
    equal 'ECT(1) outside, ECT(0) inside' "$(ecn 1 2)" 1
    equal 'Not-ECT outside, ECT(0) inside' "$(ecn 0 2)" 2
    equal 'CE inside stays' "$(ecn 0 3)" 3
    before=$(lab_drops ecn)
    equal 'CE outside, Not-ECT inside' "$(ecn 3 0)" dropped
    equal 'counted' $(($(lab_drops ecn) - before)) 1
}

# ecn_out INNER: the outer ECN bits of such a packet.
ecn_out() {
    lab_capture out edge eth0 "proto 47 and src $LAB_EDGE"
    lab_ping srv 1 10.2.0.1 -Q "$1" >/dev/null
    lab_capture_end out >/dev/null
    lab_captured out gre ip.dsfield.ecn | cut -d, -f1
}

test_ecn_goes_out_by_rfc_6040() {
    local bits
    # a customer's GRE may not know of ECN: compatibility mode unless told otherwise
    for bits in 0 1 2 3; do equal "outer ECN of inner $bits, compat" "$(ecn_out $bits)" 0; done
    lab_aditd_conf gre='outer: {ecn: normal}'
    for bits in 0 1 2 3; do equal "outer ECN of inner $bits, normal" "$(ecn_out $bits)" $bits; done
    lab_aditd_conf
}

test_ipv6_inside() {
    lab_gre_ping 20 fd00::2 -6
    lab_ping srv 20 fd00:2::1 -6
    equal 'MSS for IPv6' "$(lab_tunnel acme-gre mss6)" 1416
    lab_capture server6 srv eth0 'ip6'
    lab_gre_exec 'ip -6 route replace fd00::/64 dev gre1 src fd00:2::1 advmss 1460
        timeout 3 bash -c ": </dev/tcp/fd00::2/5201"'
    lab_capture_end server6
    equal 'what reached the server' "$(mss server6 'ipv6.src == fd00:2::1')" 1416
}

test_narrow_path_is_told_inside_in_both_families() {
    lab_aditd_conf gre='interface_address6: "fd00:ff::2/127"'
    ns internet sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit'
    lab_ip internet route replace "$LAB_CUST2" dev br0 mtu lock 1400
    # the first one is lost on the way, and its router says so
    expect_not 'the first long packet passes' lab_ping srv 1 fd00:2::1 -6 -M 'do' -s 1400 -W 0.5
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-gre path_mtu)" = 1400 ]'
    lab_ip srv route flush cache
    contains 'ICMPv6' "$(ns srv ping -6 -n -c 1 -W 1 -M 'do' -s 1329 fd00:2::1 2>&1 || :)" 'From fd00:ff::2 .*mtu ?= ?1376'
    contains 'ICMP' "$(ns srv ping -n -c 1 -W 1 -M 'do' -s 1349 10.2.0.1 2>&1 || :)" 'From 10\.255\.0\.2 .*mtu ?= ?1376'
    lab_ip srv -6 route flush cache
    lab_ping srv 3 fd00:2::1 -6 -M 'do' -s 1328
    lab_ping srv 3 10.2.0.1 -M 'do' -s 1348
    lab_ip internet route del "$LAB_CUST2" dev br0
    lab_ip srv route flush cache # it would believe in 1376 for ten minutes
    lab_ip srv -6 route flush cache
    lab_aditd_conf
}

test_unicast_packet_for_no_route_goes_nowhere() {
    lab_capture none edge eth0 "proto 47 and src $LAB_EDGE"
    ns acme ping -c 2 -i 0.1 -W 0.2 -I adit0 10.77.0.1 || :
    lab_wait_for 2 eval '[ $(lab_drops no_route) -ge 2 ]'
    lab_capture_end none
    equal 'packets out' "$(lab_captured none gre | wc -l)" 0
}

test_cisco_keepalive_is_sent_back_once() {
    lab_aditd_conf gre='keepalive: true'
    lab_capture keep internet wan0 'proto 47'
    craft --keepalive
    lab_wait_for 2 eval '[ $(lab_tunnel_drops acme-gre keepalive) -ge 1 ]' || :
    lab_gre_ping 3 10.0.0.2
    lab_capture_end keep
    # the answer is the inner packet alone: 24 octets from us to the customer
    equal 'answers' "$(lab_captured keep "gre.proto == 0 && frame.len == 38" ip.src ip.dst)" "$LAB_EDGE"$'\t'"$LAB_CUST2"
}

test_key_checksum_and_sequence_with_the_kernel() {
    local before
    lab_aditd_conf gre='key: 42, checksum: true, sequence: true'
    lab_gre_tunnel key 42 csum seq
    lab_gre_ping 50 10.0.0.2
    lab_ping srv 50 10.2.0.1
    equal 'inner MTU' "$(lab_tunnel acme-gre mtu)" 1464
    lab_ping srv 3 10.2.0.1 -M 'do' -s 1436
    at_least 'Mbit/s' "$(lab_gre_exec "timeout 20 iperf3 -J -c 10.0.0.2 -n 5M -R" | lab_mbits)" 1
    before=$(lab_drops gre_key)
    craft --key 43 --checksum good --sequence 1
    lab_wait_for 2 eval "[ \$(lab_drops gre_key) -ge $((before + 1)) ]"
    lab_gre_tunnel
}

test_key_of_the_customer_without_ours_is_refused() {
    lab_aditd_conf
    lab_gre_tunnel key 42
    expect_not 'a ping comes through' lab_gre_ping 2 10.0.0.2 -W 0.3
    at_least 'gre_key' "$(lab_drops gre_key)" 2
    lab_gre_tunnel
    lab_gre_ping 3 10.0.0.2
}

tap_main setup test_pings_both_ways test_interface_addresses_answer_both_ways test_tcp_both_ways \
    test_tcp_that_the_kernel_has_merged_before_us \
    test_outer_header_has_our_endpoint_ttl_64_and_no_options test_mss_is_clamped_to_1436_in_every_syn \
    test_largest_packet_passes_and_one_more_is_told_the_mtu test_larger_packets_without_df_arrive_in_fragments \
    test_bad_packets_are_dropped_and_counted_while_traffic_flows test_inner_packet_in_a_loop_is_dropped \
    test_ecn_goes_in_by_rfc_6040 test_ecn_goes_out_by_rfc_6040 test_ipv6_inside test_narrow_path_is_told_inside_in_both_families \
    test_unicast_packet_for_no_route_goes_nowhere test_cisco_keepalive_is_sent_back_once \
    test_key_checksum_and_sequence_with_the_kernel test_key_of_the_customer_without_ours_is_refused
