#!/bin/bash
# The daemon with several threads for the packets: what one of them gets may be another's, and everything changes under traffic.
# shellcheck disable=SC2317  # functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

setup() { lab_up && lab_gre_start && lab_gre_tunnel && lab_strongswan_start cust1; }

workers() { lab_ctl status --json | jq "[.workers[]$1] | add"; }
threads() { cat "/proc/$(lab_pid aditd)/task"/*/comm | grep -x 'adit-w.*' | sort | xargs; }

# lose_nothing SECONDS COMMAND...: 100 pings a second through either tunnel, each way, while the command runs; none is lost. Of the last
# ten nothing is said: ping does not wait for them.
lose_nothing() {
    local n=$(($1 * 100)) name pings=()
    shift
    lab_gre_exec "ping -n -i 0.01 -c $n -W 2 10.0.0.2" >"$LAB_DIR/from-gre" 2>&1 & pings+=($!)
    ns lan1 ping -n -i 0.01 -c $n -W 2 10.0.0.2 >"$LAB_DIR/from-ipsec" 2>&1 & pings+=($!)
    ns srv ping -n -i 0.01 -c $n -W 2 10.2.0.1 >"$LAB_DIR/to-gre" 2>&1 & pings+=($!)
    ns srv ping -n -i 0.01 -c $n -W 2 10.1.0.2 >"$LAB_DIR/to-ipsec" 2>&1 & pings+=($!)
    "$@"
    wait "${pings[@]}" || :
    for name in from-gre from-ipsec to-gre to-ipsec; do
        equal "answers, $name" "$(sed -n 's/.*icmp_seq=\([0-9]*\) .*time=.*/\1/p' "$LAB_DIR/$name" | sort -nu |
            awk -v n=$((n - 10)) '$1 <= n' | wc -l)" $((n - 10))
    done
    equal 'drops: handoff, too_big, send' "$(lab_drops handoff) $(lab_drops too_big) $(lab_drops send)" '0 0 0'
}

# What was handed on has been taken over, by whomever; the rest of the sum is what came in.
counters_add_up() {
    local s
    sleep 0.1
    s=$(lab_ctl status --json)
    equal 'handed on and taken over' "$(jq '[.workers[], .control_thread] | [.[].handed_on] | add' <<<"$s")" \
        "$(jq '[.workers[], .control_thread] | [.[].taken_over] | add' <<<"$s")"
    equal 'dropped between threads' "$(jq '[.workers[], .control_thread] | [.[] | .handoff_full + .handoff_lost] | add' <<<"$s")" 0
    at_least 'from the network and in' "$(jq '[.workers[].from_network] | add' <<<"$s")" "$(jq .packets_in <<<"$s")"
}

test_two_threads_lose_nothing() {
    # Tunnels belong to the threads in turn. In this order none of the two is of the thread that reads its protocol.
    lab_conf workers=2 ipsec='replay_protection: true' | sed '/name: acme-gre/{h;d};/name: acme-ipsec/{G}' >"$LAB_DIR/swapped.yaml"
    lab_aditd_start "$LAB_DIR/swapped.yaml"
    equal threads "$(threads)" 'adit-w0 adit-w1'
    up
    lose_nothing 2 true
    counters_add_up
    contains aditctl "$(lab_ctl status)" '^control '
}

test_both_threads_work_and_hand_on() {
    at_least 'packets handed on' "$(workers .handed_on)" 100
    equal 'idle threads' "$(lab_ctl status --json | jq '[.workers[] | select(.from_network + .from_devices + .taken_over < 100)] | length')" 0
}

test_tcp_and_super_packets_both_ways() {
    local way
    for way in '' -R; do
        # shellcheck disable=SC2086  # empty or one option
        at_least "Mbit/s $way" "$(ns lan1 timeout 20 iperf3 -J -c 10.0.0.2 -t 1 -P 2 $way | lab_mbits)" 1
    done
    counters_add_up
}

test_packets_larger_than_the_tunnel_go_by_its_thread() {
    lab_gre_ping 5 10.0.0.2 -M dont -s 4000
    lab_ping srv 5 10.2.0.1 -M dont -s 4000
    lab_ping lan1 5 10.0.0.2 -M dont -s 4000
    lab_ping srv 5 10.1.0.2 -M dont -s 4000
    contains 'ICMP' "$(ns srv ping -n -c 1 -W 1 -M 'do' -s 1449 10.2.0.1 2>&1 || :)" 'mtu ?= ?1476'
}

# A tunnel more, another one less, a changed one, and the routes with them.
reloads() {
    local i
    for i in 1 2 3 4 5 6; do
        lab_aditd_reload workers=2 gre="mtu: $((1400 + i))" routes="      - {prefix: 10.$((10 + i)).0.0/16, tunnel: more-$i}" tunnels="      - {name: more-$i, type: gre, endpoint: $LAB_EDGE, customer_endpoint: 192.0.2.$((10 + i)), interface_address: 10.255.1.$((2 * i))/31}
      - {name: $([ $((i % 2)) = 0 ] && echo even || echo odd), type: gre, endpoint: $LAB_EDGE, customer_endpoint: 192.0.2.30, interface_address: 10.255.2.0/31}"
        sleep 0.3
    done
    lab_aditd_reload workers=2
}
test_reloads_under_traffic_lose_nothing() {
    lab_aditd_conf workers=2
    lab_gre_exec 'ping -c 1 -W 2 10.0.0.2' >/dev/null
    up
    lose_nothing 4 reloads
    equal tunnels "$(lab_ctl status --json | jq .tunnels.configured)" 2
}

test_stop_under_traffic_is_quick_and_clean() {
    local before pings=()
    ns lan1 ping -q -n -i 0.01 -c 1000 -W 1 10.0.0.2 >/dev/null 2>&1 & pings+=($!)
    ns srv ping -q -n -i 0.01 -c 1000 -W 1 10.2.0.1 >/dev/null 2>&1 & pings+=($!)
    sleep 0.2
    before=$(date +%s%N)
    equal 'exit status' "$(lab_aditd_stop)" 0
    at_least 'ms left of 2000' $((2000 - ($(date +%s%N) - before) / 1000000)) 0
    kill "${pings[@]}"
    wait "${pings[@]}" || :
    contains 'log' "$(lab_aditd_log)" 'daemon.stopped.*peers_told=true'
    contains_not 'log' "$(lab_aditd_log)" 'ThreadSanitizer'
    equal 'TUN' "$(lab_ip acme -o link show type tun)" ''
}

rekeys() {
    local i
    for i in 1 2 3; do
        lab_swanctl cust1 --rekey --ike acme
        sleep 0.5
    done
    lab_wait_for 10 eval 'lab_aditd_log | grep -q "ike.rekeyed.*what=\"Child SA\" by=us"'
    for i in 1 2 3; do
        lab_swanctl cust1 --rekey --child net
        sleep 0.5
    done
}
test_rekeys_in_udp_lose_nothing() {
    lab_aditd_conf workers=3 top='  child_lifetime: 10s'
    lab_gre_exec 'ping -c 1 -W 2 10.0.0.2'
    up conn.encap=yes child.rekey_time=1h conn.rekey_time=1h
    lose_nothing 12 rekeys
    at_least 'rekeys' "$(lab_aditd_log | grep -c ike.rekeyed)" 7
    lab_wait_for 5 eval '[ "$(lab_sas acme-ipsec) $(ike_sas)" = "1 1" ]'
    counters_add_up
}

# The SPI says whose the tunnel is, and the kernel goes by it.
test_udp_comes_to_the_thread_that_has_the_tunnel() {
    local before owner
    owner=$((0x$(lab_sa acme-ipsec spi_in | sed 's/^0x//') % 3))
    before=$(lab_ctl status --json | jq ".workers[$owner].from_network")
    lab_ping lan1 100 10.0.0.2
    at_least "packets from the network at thread $owner" $(($(lab_ctl status --json | jq ".workers[$owner].from_network") - before)) 100
}

# The kernel coalesces datagrams of one length that follow each other, and spreads them by the first one.
test_ike_in_a_run_of_esp_reaches_the_control_thread() {
    local before
    before=$(ike_count received)
    run_with_ike() {
        ns cust1 python3 - "$LAB_EDGE" <<'PYTHON'
import os, socket, sys
ike = bytes(4) + os.urandom(8) + bytes(8) + bytes([33, 0x20, 34, 8]) + bytes(4) + (128).to_bytes(4, "big") + bytes(100)
esp = (0x1000).to_bytes(4, "big") + os.urandom(len(ike) - 4)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, len(ike))    # UDP_SEGMENT
s.sendto(esp + ike, (sys.argv[1], 4500))
PYTHON
        sleep 0.05
        [ "$(lab_ctl status --json | jq .control_thread.taken_over)" -ge 1 ]
    }
    lab_wait_for 5 run_with_ike
    at_least 'IKE datagrams' "$(ike_count received)" $((before + 1))
    at_least 'unknown SPIs' "$(lab_drops esp_unknown_spi)" 1
    counters_add_up
}

# Without replay protection one SA is every thread's: flows come out of all queues of the TUN, and go out where they come.
test_one_sa_sends_from_all_threads() {
    lab_aditd_conf workers=2 ipsec='replay_protection: false'
    up child.replay_window=0
    at_least 'Mbit/s' "$(ns lan1 timeout 20 iperf3 -J -c 10.0.0.2 -t 2 -P 16 -R | lab_mbits)" 1
    equal 'idle threads' "$(lab_ctl status --json | jq '[.workers[] | select(.from_devices < 100)] | length')" 0
    equal 'SAs' "$(lab_sas acme-ipsec)" 1
    at_least 'packets out' "$(lab_sa acme-ipsec packets_out)" 1000
    equal 'drops' "$(lab_drops esp_expired) $(lab_drops no_sa)" '0 0'
    counters_add_up
}

test_packet_mode_loses_nothing() {
    lab_aditd_conf workers=2 outer='mode: packet'
    contains_not log "$(lab_aditd_log)" 'daemon.outer_mode'
    up
    lose_nothing 2 true
    counters_add_up
}

test_namespace_that_goes_and_comes_back() {
    lab_conf workers=2 | sed "s/netns: acme/netns: $LAB_ID-gone/" >"$LAB_DIR/gone.yaml"
    ip netns add "$LAB_ID-gone"
    lab_aditd_stop
    lab_aditd_start "$LAB_DIR/gone.yaml"
    ip netns del "$LAB_ID-gone"
    lab_wait_for 5 eval 'lab_aditd_log | grep -q inside.lost'
    ip netns add "$LAB_ID-gone"
    lab_wait_for 5 eval '[ -n "$(ip -n "$LAB_ID-gone" route show 10.2.0.0/16 proto 173)" ]'
    # and the device alone, under the threads' hands
    ip -n "$LAB_ID-gone" link del adit0
    lab_wait_for 5 eval '[ "$(lab_aditd_log | grep -c inside.recovered)" = 2 ]'
    ip -n "$LAB_ID-gone" link set lo up
    ip -n "$LAB_ID-gone" addr add 10.0.0.1/32 dev lo
    lab_gre_ping 20 10.0.0.1
    equal 'exit status' "$(lab_aditd_stop)" 0
    ip netns del "$LAB_ID-gone"
}

tap_main setup test_two_threads_lose_nothing test_both_threads_work_and_hand_on test_tcp_and_super_packets_both_ways \
    test_packets_larger_than_the_tunnel_go_by_its_thread test_reloads_under_traffic_lose_nothing \
    test_stop_under_traffic_is_quick_and_clean test_rekeys_in_udp_lose_nothing \
    test_udp_comes_to_the_thread_that_has_the_tunnel test_ike_in_a_run_of_esp_reaches_the_control_thread \
    test_one_sa_sends_from_all_threads test_packet_mode_loses_nothing \
    test_namespace_that_goes_and_comes_back
