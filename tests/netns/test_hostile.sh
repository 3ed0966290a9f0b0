#!/bin/bash
# Packets that nobody should send, by the hundred thousand, while both tunnels carry traffic: no ping is lost, every packet is counted,
# nothing grows. By raw sockets and by packet sockets, by one thread and by two. ADIT_HOSTILE_SECONDS: of each flood (4, with packet sockets
# and threads half of it; make soak: 300), ADIT_HOSTILE_SEED, ADIT_HOSTILE_RATE: packets a second.
# shellcheck disable=SC2016,SC2317  # $ for eval; functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

SECONDS_OF=${ADIT_HOSTILE_SECONDS:-4}
SEED=${ADIT_HOSTILE_SEED:-$(date +%s)}
RATE=${ADIT_HOSTILE_RATE:-100000}
FLOOD=$LAB_BUILD/tests/flood
HALF=$(((SECONDS_OF + 1) / 2))
CONF=('ipsec=replay_protection: true' 'gre=keepalive: false')
PACKET=('outer=mode: packet' 'ipsec=replay_protection: true, outer: {df: set}' 'gre=keepalive: false, outer: {df: set}')
IN_KERNEL='ReasmReqds ReasmOKs ReasmFails InHdrErrors InAddrErrors InDiscards InUnknownProtos'

setup() {
    [ -x "$FLOOD" ] || { echo "no $FLOOD: run make"; return 1; }
    lab_up && lab_strongswan_start cust1 && lab_gre_start && lab_gre_tunnel || return 1
    # an endpoint of IPv6 too; incomplete datagrams do not wait long, nor does one push out the other
    ns edge sh -c 'for f in all lo eth0; do echo 0 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done
        echo 1 >/proc/sys/net/ipv4/ipfrag_time; echo 67108864 >/proc/sys/net/ipv4/ipfrag_high_thresh'
    lab_ip edge addr add 2001:db8:5::2/128 dev lo
    # what is let through must not go on as answers of the account's kernel, which would flood the customers
    ns acme nft -f - <<'NFT'
table inet end {
    counter arrived {}
    chain prerouting {
        type filter hook prerouting priority raw;
        iifname "adit0" ip saddr != { 10.1.0.2, 10.2.0.1 } counter name arrived drop
        iifname "adit0" ip6 saddr fd00:2::9 counter name arrived drop
    }
}
NFT
}

# begin [KEY=TEXT of lab_conf, or KEY.KEY=TEXT of lab_customer_conf...]: aditd, its tunnels, and a capture of good packets to be repeated and
# spoiled.
begin() {
    local arg conf=("${CONF[@]}") customer=()
    for arg; do
        case ${arg%%=*} in *.*) customer+=("$arg") ;; *) conf+=("$arg") ;; esac
    done
    mkdir -p "$LAB_DIR/conf"
    [ ! -s "$LAB_DIR/aditd/pid" ] || lab_aditd_stop >/dev/null
    lab_conf "${conf[@]}" | sed -e "s/endpoints: \[/&2001:db8:5::2, /" -e '/name: acme-gre,/{p
        s/name: acme-gre, type: gre, endpoint: [^,]*, customer_endpoint: [^,]*, .*/name: acme-gre6, type: gre, endpoint: "2001:db8:5::2", customer_endpoint: "2001:db8:9::3"}/}' \
        >"$LAB_DIR/test.yaml"
    lab_aditd_start "$LAB_DIR/test.yaml"
    lab_capture good edge eth0 "dst $LAB_EDGE and (proto 47 or proto 50 or udp)"
    up "${customer[@]}"
    pings 20
    lab_gre_ping 20 10.0.0.2
    ns lan1 timeout 20 iperf3 -c 10.0.0.2 -n 500K >/dev/null
    lab_capture_end good
}

flood() {    # NAME RATE
    lab_spawn "$1" nsenter --net="/run/netns/$LAB_ID-internet" "$FLOOD" outer wan0 \
        "$(lab_ip edge -j link show eth0 | jq -r '.[0].address')" "$SEED" "$SECONDS_OF" "$2" "$LAB_DIR/good.pcap"
}
flood_end() {
    lab_wait_for $((SECONDS_OF + 20)) test -e "$LAB_DIR/$1/rc"
    tail -n 1 "$LAB_DIR/$1/log"
    equal 'exit status of the flood' "$(cat "$LAB_DIR/$1/rc")" 0
}
of_flood() { sed -n "s/.* $2 \([0-9]*\).*/\1/p" "$LAB_DIR/$1/log" | tail -n 1; }

# What the kernel lost on the way to aditd: of full sockets and rings, of the cable.
lost_in_kernel() {
    ns edge awk 'FNR > 1 { n += $NF } END { print n + 0 }' /proc/net/{raw,raw6,udp,udp6}
    lab_ctl status --json | jq .sockets.lost_ring
    lab_ip edge -s -j link show eth0 | jq '.[0].stats64.rx.dropped'
    lab_ip internet -s -j link show wan0 | jq '.[0].stats64.tx.dropped'
}
lost() { lost_in_kernel | awk '{ n += $1 } END { print n }'; }
in_kernel() { ns edge nstat -asz 2>/dev/null | awk -v want=" $IN_KERNEL " '{ n = $1; sub(/^Ip6?/, "", n) } index(want, " " n " ") { print $1, $2 }'; }

# Received by the sockets, and what became of it: the two are one number.
received() { jq '.sockets.received'; }
accounted() {
    jq '.sockets as $s | (.drops | del(.no_route, .no_sa, .too_big, .send) | add // 0) as $drops |
        .ike.received + .packets_in + $drops + $s.keepalive + $s.drop_destination + $s.drop_header + $s.drop_pool + $s.drop_short + $s.drop_truncated'
}
same_number() {
    local status
    status=$(lab_ctl status --json)
    [ "$(received <<<"$status")" = "$(accounted <<<"$status")" ] || { echo "received $(received <<<"$status"), accounted for $(accounted <<<"$status")"; return 1; }
}
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$(lab_pid aditd)/status"; }

# Errors: none. The rest within its limit of 20 of one name in a second.
log_is_calm() {    # SECONDS
    local names lines
    contains_not 'the log' "$(lab_aditd_log)" '^[^ ]+ error |Sanitizer|runtime error'
    names=$(lab_aditd_log | awk '{ print $3 }' | sort -u | wc -l)
    lines=$(lab_aditd_log | wc -l)
    expect "$lines lines of $names names in $1 s" [ "$lines" -le $((20 * names * ($1 + 1))) ]
}

good_traffic() {
    local flow name from to
    rm -f "$LAB_DIR"/{ipsec-out,ipsec-in,gre-out,tcp,fire,inner}/log
    for flow in 'ipsec-out srv 10.1.0.2' 'ipsec-in lan1 10.0.0.2' 'gre-out srv 10.2.0.1'; do
        read -r name from to <<<"$flow"
        lab_spawn "$name" nsenter --net="/run/netns/$LAB_ID-$from" ping -q -n -i 0.01 -c $((SECONDS_OF * 100)) -W 2 "$to"
    done
    lab_spawn tcp nsenter --net="/run/netns/$LAB_ID-lan1" iperf3 -J -c 10.0.0.2 -b 20M -t "$SECONDS_OF"
}
good_traffic_end() {    # KERNEL: packets that it lost since
    local name lost=0
    for name in ipsec-out ipsec-in gre-out; do
        lab_wait_for 20 test -e "$LAB_DIR/$name/rc"
        sed -n "s/^/$name: /; /received/p" "$LAB_DIR/$name/log"
        lost=$((lost + $(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1-\2/p' "$LAB_DIR/$name/log" | tail -n 1)))
    done
    expect "$lost pings lost, $1 packets lost by the kernel" [ "$lost" -le "$1" ]
    lab_wait_for 20 test -e "$LAB_DIR/tcp/rc"
    at_least 'Mbit/s meanwhile' "$(lab_mbits <"$LAB_DIR/tcp/log")" 5
}

# The sockets are what the configuration says, and every thread has had its part.
threads_and_rings() {    # WORKERS RINGS
    local idle
    equal 'packet sockets' "$(ns edge ss -0pnH | grep -c "pid=$(lab_pid aditd),")" $((2 * $2))
    idle=$(lab_ctl status --json | jq -c '[.workers[] | select(.from_network < 100)]')
    equal 'workers' "$(lab_ctl status --json | jq '.workers | length')" "$1"
    equal 'idle threads' "$idle" '[]'
}

# Alone: what was sent, what the sockets got and what was made of it are compared number by number.
accounted_for() {    # [KEY=TEXT...]
    local before got lost
    begin "$@"
    lab_wait_for 2 same_number
    before=$(lab_ctl status --json | received) lost=$(lost)
    flood alone "$RATE"
    flood_end alone
    sleep 1.5 # what waits for its fragments, or in a socket
    lab_wait_for 5 same_number || { same_number; lab_ctl status --json; exit 1; }
    got=$(($(lab_ctl status --json | received) - before)) lost=$(($(lost) - lost))
    in_kernel
    lab_ctl status | sed -n '/^drops by reason/,$p'
    at_least 'packets a second' $(($(of_flood alone sent) / SECONDS_OF)) $((RATE / 10))
    at_least 'received, and lost by the kernel' $((got + lost)) "$(of_flood alone must)"
    expect "no more than came: $got" [ "$got" -le $(($(of_flood alone must) + $(of_flood alone may))) ]
    at_least 'inner packets that were let through' "$(ns acme nft -j list counter inet end arrived | jq '.nftables[] | select(.counter) | .counter.packets')" 100
    log_is_calm $((SECONDS_OF + 10))
    pings 20
}
test_every_hostile_packet_is_accounted_for() { accounted_for; }
test_every_hostile_packet_in_packet_mode() {
    local SECONDS_OF=$HALF
    accounted_for "${PACKET[@]}"
    threads_and_rings 0 1
}
test_every_hostile_packet_with_two_workers() {
    local SECONDS_OF=$HALF
    accounted_for workers=2
    threads_and_rings 2 0
}

# The same while everything else goes on.
under_fire() {    # RATE [KEY=TEXT...]
    local pid rss_half lost rate=$1 status i
    shift
    begin "$@"
    pid=$(lab_pid aditd) lost=$(lost)
    good_traffic
    flood fire "$rate"
    for ((i = 0; i < SECONDS_OF; i++)); do
        expect 'an answer within a second' timeout 1 "$LAB_BUILD/aditctl" --socket "$LAB_DIR/control.sock" status >/dev/null
        [ $i -lt $((SECONDS_OF / 2)) ] || rss_half=${rss_half:-$(rss)}
        sleep 0.9
    done
    flood_end fire
    status=$(rss)
    good_traffic_end $(($(lost) - lost))
    equal 'pid' "$(lab_pid aditd)" "$pid"
    sleep 1.5
    lab_wait_for 5 same_number || { same_number; lab_ctl status --json; exit 1; }
    [ "$LAB_BUILD" = "${LAB_BUILD%/asan}/asan" ] || expect "memory: $rss_half kB, then $status kB" [ "$status" -le $((rss_half + 1024)) ]
    log_is_calm $((2 * SECONDS_OF + 15))
    equal 'path MTU of the tunnel whose SPIs nobody knows' "$(lab_tunnel acme-ipsec path_mtu)" 1500
    pings 20
    at_least 'Mbit/s afterwards' "$(ns lan1 timeout 20 iperf3 -J -c 10.0.0.2 -t 1 | lab_mbits)" 20
}
test_raw_esp_and_gre_under_fire() { under_fire "$RATE"; }
test_esp_in_udp_under_fire() { under_fire "$RATE" conn.encap=yes; }
test_packet_mode_under_fire() {
    local SECONDS_OF=$HALF
    under_fire "$RATE" "${PACKET[@]}"
    threads_and_rings 0 1
}
test_packet_mode_with_two_workers_under_fire() {
    local SECONDS_OF=$HALF
    under_fire "$RATE" "${PACKET[@]}" workers=2
    threads_and_rings 2 2
}

# Out of the account's namespace: anything at all, and super-packets whose headers lie.
test_hostile_packets_and_super_packets_out_of_the_tun() {
    local read out drops before pid
    begin
    pid=$(lab_pid aditd)
    before=$(lab_ctl status --json)
    rm -f "$LAB_DIR/inner/log"
    lab_spawn ping nsenter --net="/run/netns/$LAB_ID-srv" ping -q -n -i 0.01 -c $((SECONDS_OF * 100)) -W 2 10.1.0.2
    lab_spawn inner nsenter --net="/run/netns/$LAB_ID-acme" "$FLOOD" inner adit0 "$SEED" "$SECONDS_OF" 3000
    flood_end inner
    lab_wait_for 10 test -e "$LAB_DIR/ping/rc"
    sleep 0.5
    lab_ctl status --json >"$LAB_DIR/after"
    read=$(jq --argjson b "$before" '.devices.read - $b.devices.read' "$LAB_DIR/after")
    out=$(jq --argjson b "$before" '.packets_out - $b.packets_out' "$LAB_DIR/after")
    drops=$(jq --argjson b "$before" '(.drops | add // 0) - ($b.drops | add // 0)' "$LAB_DIR/after")
    lab_ctl status | sed -n '/^drops by reason/,$p'
    at_least 'read' "$read" $((SECONDS_OF * 500))
    at_least 'sent or dropped' $((out + drops)) "$read"
    at_least 'super-packets and others that were refused' "$drops" 100
    equal 'pings lost' "$(sed -n 's/.*received, \(.*\)% packet loss.*/\1/p' "$LAB_DIR/ping/log")" 0
    equal 'pid' "$(lab_pid aditd)" "$pid"
    log_is_calm $((SECONDS_OF + 10))
    pings 20
}

test_all_of_it_under_sanitizers() {
    local status LAB_BUILD=${LAB_BUILD%/asan}/asan
    export ASAN_OPTIONS=detect_leaks=1
    under_fire $((RATE / 5))
    lab_spawn inner nsenter --net="/run/netns/$LAB_ID-acme" "$FLOOD" inner adit0 "$SEED" $((SECONDS_OF / 2 + 1)) 3000
    flood_end inner
    pings 20
    status=$(lab_stop aditd TERM 15)
    log_is_calm $((3 * SECONDS_OF + 30))
    equal 'exit status' "$status" 0
}

echo "# ADIT_HOSTILE_SEED=$SEED"
tap_main setup test_every_hostile_packet_is_accounted_for test_every_hostile_packet_in_packet_mode \
    test_every_hostile_packet_with_two_workers test_raw_esp_and_gre_under_fire test_esp_in_udp_under_fire test_packet_mode_under_fire \
    test_packet_mode_with_two_workers_under_fire test_hostile_packets_and_super_packets_out_of_the_tun test_all_of_it_under_sanitizers
