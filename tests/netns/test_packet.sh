#!/bin/bash
# outer: {mode: packet} in the daemon, under its system call filter: both tunnels, what stays with the kernel, and neighbours, routes
# and devices that change.
# shellcheck disable=SC2016,SC2317  # $ for eval; functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

# An answer to a ping has no DF: only with this do all packets of a test go one way.
PACKET=('outer=mode: packet' 'ipsec=outer: {df: set}' 'gre=outer: {df: set}')

setup() {
    lab_up && lab_aditd_conf "${PACKET[@]}" && lab_strongswan_start cust1 && lab_gre_start && lab_gre_tunnel &&
        lab_ipsec_up >"$LAB_DIR/initiate" 2>&1 || { tail -n 8 "$LAB_DIR/initiate"; return 1; }
    # what IP itself sends of our protocols: the first of a second, and what has no DF
    ns edge nft -f - <<'NFT'
table ip watch {
    counter by_kernel {}
    chain output {
        type filter hook output priority 0;
        meta l4proto { gre, esp } counter name by_kernel
    }
}
NFT
}

by_kernel() { ns edge nft -j list counter ip watch by_kernel | jq '.nftables[] | select(.counter) | .counter.packets'; }
socket() { lab_ctl status --json | jq ".sockets.$1"; }
quiet() {    # the log has no errors
    contains_not 'the log' "$(lab_aditd_log)" '^[^ ]+ (error|warn) (daemon\.outer_mode|inside|daemon\.sockets)'
}
both() {    # COUNT: in each direction of each tunnel
    pings "$1"
    lab_ping srv "$1" 10.2.0.1
    lab_gre_ping "$1" 10.0.0.2
}
# alive COUNT: the same until it works, for what is to heal by itself within two seconds; then none may be lost.
alive() {
    lab_wait_for 2 eval 'lab_ping srv 1 10.2.0.1 -W 0.2 && lab_ping srv 1 10.1.0.2 -W 0.2'
    both "$1"
}

test_daemon_is_filtered_and_has_packet_sockets() {
    equal 'seccomp' "$(sed -n 's/^Seccomp:\t//p' "/proc/$(lab_pid aditd)/status")" 2
    equal 'packet sockets' "$(ns edge ss -0pnH | grep -c "pid=$(lab_pid aditd),")" 2
    quiet
}

test_both_tunnels_both_ways_past_the_kernel() {
    local before
    both 5
    before=$(by_kernel)
    lab_capture out internet wan0 "src $LAB_EDGE and (proto 47 or proto 50)" # no tap of the edge sees them
    both 200
    lab_capture_end out
    at_least 'packets out' "$(lab_captured out 'ip.proto == 47 || ip.proto == 50' ip.dst | wc -l)" 800
    expect "$(($(by_kernel) - before)) of 800 by the kernel: few" [ $(($(by_kernel) - before)) -le 80 ]
    equal 'headers' "$(lab_captured out 'ip.proto == 50' ip.src ip.dst ip.ttl ip.flags ip.hdr_len | sort -u | xargs)" \
        "$LAB_EDGE $LAB_CUST1 64 0x02 20"
}

test_every_packet_is_counted_once() {
    local in out received sent
    in=$(lab_ctl status --json | jq .packets_in) out=$(lab_ctl status --json | jq .packets_out)
    received=$(socket received) sent=$(socket sent)
    both 200
    equal 'packets in' $(($(lab_ctl status --json | jq .packets_in) - in)) 800
    equal 'packets out' $(($(lab_ctl status --json | jq .packets_out) - out)) 800
    equal 'received' $(($(socket received) - received)) 800
    equal 'sent' $(($(socket sent) - sent)) 800
}

test_tcp_both_ways() {
    local way
    for way in '' -R; do
        # shellcheck disable=SC2086  # empty or one option
        at_least "ESP, Mbit/s $way" "$(ns lan1 timeout 20 iperf3 -J -c 10.0.0.2 -t 1 $way | lab_mbits)" 1
        at_least "GRE, Mbit/s $way" "$(lab_gre_exec "timeout 20 iperf3 -J -c 10.0.0.2 -t 1 $way" | lab_mbits)" 1
    done
}

test_tcp_in_gre_that_the_kernel_has_merged() {
    ip netns exec "$LAB_ID-edge" sh -c 'echo 100000 >/sys/class/net/eth0/gro_flush_timeout'
    at_least 'Mbit/s' "$(lab_gre_exec 'timeout 20 iperf3 -J -c 10.0.0.2 -n 20M' | lab_mbits)" 20
    ip netns exec "$LAB_ID-edge" sh -c 'echo 0 >/sys/class/net/eth0/gro_flush_timeout'
    equal 'truncated' "$(socket drop_truncated)" 0
}

test_packets_without_df_and_their_fragments_are_the_kernels() {
    local before received
    lab_aditd_conf "${PACKET[0]}" ipsec='outer: {df: clear}' gre='outer: {df: clear}'
    up
    both 5
    before=$(by_kernel)
    both 50
    at_least 'sent by the kernel' $(($(by_kernel) - before)) 200
    # longer than the devices take; strongSwan too sends without DF then
    lab_ip edge link set eth0 mtu 1000
    lab_ip cust1 link set eth0 mtu 1000
    lab_capture pieces internet wan0 'proto 50 and ip[6:2] & 0x3fff != 0'
    received=$(socket received)
    lab_ping srv 5 10.1.0.2 -s 1300
    equal 'received whole' $(($(socket received) - received)) 5
    lab_capture_end pieces
    lab_ip edge link set eth0 mtu 1500
    lab_ip cust1 link set eth0 mtu 1500
    equal 'fragments out' "$(lab_captured pieces "ip.src == $LAB_EDGE" ip.id | wc -l)" 10
    equal 'fragments in' "$(lab_captured pieces "ip.src == $LAB_CUST1" ip.id | wc -l)" 10
    lab_aditd_conf "${PACKET[@]}"
    up
    both 5
}

test_kernel_says_nothing_to_the_peers() {
    lab_capture icmp edge eth0 "icmp and src $LAB_EDGE or icmp and src 203.0.113.2"
    both 50
    ns internet "$LAB_HERE/craft" gre --src 192.0.2.9 --count 20
    ns internet "$LAB_HERE/craft" esp 0x00000fff --count 20
    lab_wait_for 2 eval '[ "$(lab_drops esp_unknown_spi)" -ge 20 ]'
    lab_capture_end icmp
    equal 'ICMP errors' "$(lab_captured icmp 'icmp.type == 3 && icmp.code != 4' ip.dst | wc -l)" 0
}

test_neighbour_with_another_address() {
    local old
    old=$(lab_ip internet -j link show wan0 | jq -r '.[0].address')
    both 5
    ns internet sh -c 'echo 1 >/proc/sys/net/ipv4/conf/wan0/arp_notify'
    lab_ip internet link set wan0 address 02:00:5e:00:53:01
    lab_ip edge neigh del 203.0.113.1 dev eth0 || :
    alive 20
    contains 'neighbour' "$(lab_ip edge neigh show 203.0.113.1)" 02:00:5e:00:53:01
    lab_capture mac edge eth0 "src $LAB_EDGE and proto 50"
    pings 20
    lab_capture_end mac
    equal 'sent to' "$(lab_captured mac esp eth.dst | sort -u)" 02:00:5e:00:53:01
    lab_ip internet link set wan0 address "$old"
    lab_ip edge neigh del 203.0.113.1 dev eth0 || :
    alive 20
}

test_neighbour_is_kept_fresh_and_found_again() {
    ns edge sh -c 'cd /proc/sys/net/ipv4/neigh/eth0 && echo 500 >base_reachable_time_ms && echo 1 >delay_first_probe_time'
    lab_ip edge neigh flush all
    lab_spawn fresh nsenter --net="/run/netns/$LAB_ID-edge" ip monitor neigh
    # 600 pings in 6 s, over some twelve times of the neighbour's life: not one is lost
    equal 'lost' "$(ns srv ping -q -n -i 0.01 -c 600 -W 2 10.2.0.1 | sed -n 's/.*received, \(.*\)% packet loss.*/\1/p')" 0
    lab_stop fresh KILL >/dev/null
    at_least 'changes of its state meanwhile' "$(grep -c '203.0.113.1' "$LAB_DIR/fresh/log")" 4
    lab_ip edge neigh flush all
    both 20
    ns edge sh -c 'cd /proc/sys/net/ipv4/neigh/eth0 && echo 30000 >base_reachable_time_ms && echo 5 >delay_first_probe_time'
}

test_route_over_another_device() {
    lab_wire internet wan1 edge eth1
    lab_ip internet addr add 203.0.113.5/30 dev wan1
    lab_ip edge addr add 203.0.113.6/30 dev eth1
    both 5
    lab_capture other internet wan1 "src $LAB_EDGE and (proto 47 or proto 50)"
    lab_ip edge route replace default via 203.0.113.5
    alive 20
    lab_capture_end other
    at_least 'over the other' "$(lab_captured other 'ip.proto == 47 || ip.proto == 50' ip.dst | wc -l)" 70
    lab_ip edge route replace default via 203.0.113.1
    alive 20
    lab_ip edge link del eth1
    both 20
}

test_device_down_and_up() {
    local pid
    pid=$(lab_pid aditd)
    both 5
    lab_ip edge link set eth0 down
    expect_not 'a ping without a device' lab_ping srv 2 10.2.0.1 -W 0.2
    at_least 'send_unreachable' "$(socket send_unreachable)" 2
    lab_ip edge link set eth0 up
    lab_ip edge route add default via 203.0.113.1
    alive 20
    equal 'pid' "$(lab_pid aditd)" "$pid"
    quiet
}

test_mtu_of_the_device() {
    local before
    before=$(socket send_too_big)
    lab_ping srv 2 10.2.0.1 -M 'do' -s 1448
    lab_ip edge link set eth0 mtu 1400
    expect_not 'longer than the device takes' lab_ping srv 2 10.2.0.1 -M 'do' -s 1448 -W 0.3
    at_least 'send_too_big' $(($(socket send_too_big) - before)) 2
    lab_ping srv 5 10.2.0.1 -M 'do' -s 1300
    lab_ip edge link set eth0 mtu 1500
    lab_wait_for 2 lab_ping srv 1 10.2.0.1 -M 'do' -s 1448 -W 0.2
    lab_ping srv 5 10.2.0.1 -M 'do' -s 1448
}

test_reload_that_adds_the_first_ipsec_tunnel() {
    local pid
    lab_ipsec_down
    lab_conf "${PACKET[@]}" | sed '/acme-ipsec/d' >"$LAB_DIR/test.yaml"
    lab_aditd_stop >/dev/null
    lab_aditd_start "$LAB_DIR/test.yaml"
    pid=$(lab_pid aditd)
    lab_ping srv 5 10.2.0.1
    equal 'raw ESP sockets' "$(ns edge sh -c 'ss -nwaH | grep -c ":50 "' || :)" 0
    lab_aditd_reload "${PACKET[@]}"
    up
    both 50
    equal 'pid' "$(lab_pid aditd)" "$pid"
    lab_conf "${PACKET[@]}" | sed '/acme-ipsec/d' >"$LAB_DIR/test.yaml"
    lab_render "$LAB_DIR/test.yaml" >/dev/null
    lab_ctl reload
    lab_ping srv 20 10.2.0.1
    ns internet "$LAB_HERE/craft" esp 0x00000fff --count 3
    lab_aditd_reload "${PACKET[@]}"
    up
    both 20
    quiet
}

tap_main setup test_daemon_is_filtered_and_has_packet_sockets test_both_tunnels_both_ways_past_the_kernel \
    test_every_packet_is_counted_once test_tcp_both_ways test_tcp_in_gre_that_the_kernel_has_merged \
    test_packets_without_df_and_their_fragments_are_the_kernels test_kernel_says_nothing_to_the_peers \
    test_neighbour_with_another_address test_neighbour_is_kept_fresh_and_found_again test_route_over_another_device \
    test_device_down_and_up test_mtu_of_the_device test_reload_that_adds_the_first_ipsec_tunnel
