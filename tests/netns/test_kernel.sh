#!/bin/bash
# The ESP of a real Linux kernel: strongSwan on a kernel of its own (User Mode Linux) does IKE there, XFRM the rest.
# shellcheck disable=SC2317  # functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

setup() {
    lab_up || return 1
    [ "$(lab_gre_kind)" = uml ] || lab_fail 'needs User Mode Linux: ADIT_LAB_GRE=host has no ESP' || return 1
    lab_aditd_conf customer=$LAB_CUST2 ipsec='allow_null_cipher: true' &&
        lab_gre_start && lab_gre_exec 'ip addr add 10.1.0.1/32 dev lo' && lab_kernel_start
}

tests=()

kernel_up() {
    lab_kernel_down
    lab_kernel_up "$@" >"$LAB_DIR/initiate" 2>&1 || { tail -n 12 "$LAB_DIR/initiate"; exit 1; }
}
# At once, as ping does not wait for a late answer any longer than its interval, and this kernel may have to wait for a processor.
kernel_pings() {    # COUNT, each way
    lab_gre_ping "$1" 10.0.0.2 -I 10.1.0.1 -l "$1" -i 0.5 && lab_ping srv "$1" 10.1.0.1 -l "$1" -i 0.5
}
kernel_rekey() {
    local before
    before=$(spis)
    lab_kernel_swanctl --rekey "$@" >/dev/null
    rekeyed "$before"
}
# What XFRM counts as wrong: authentication, replay, policy, mode, ...
kernel_errors() { lab_gre_exec "awk '\$2 != 0 { print \$1, \$2 }' /proc/net/xfrm_stat"; }

# ESP suites, in ESP and in UDP. SUITE, what aditctl calls it, what the kernel calls it, MTU in ESP and in UDP
esp_row() {    # raw | udp, then those
    local encap=no mtu=$5
    [ "$1" = raw ] || { encap=yes mtu=$6; }
    kernel_up esp="$2" conn.encap=$encap child.replay_window=64
    contains 'IKE' "$(lab_kernel_swanctl --list-sas)" 'AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384/KE1_ML_KEM_768'
    contains 'the suite, says aditctl' "$(lab_sa acme-ipsec suite)" "$3"
    local state
    state=$(lab_gre_exec 'ip -s xfrm state')
    contains 'the suite, says the kernel' "$state" "$4"
    contains 'its replay window' "$state" 'replay.window 64|window 64|bitmap-length 2'
    [ "$1" = raw ] || contains 'its encapsulation' "$state" 'espinudp sport 4500 dport 4500'
    equal 'in UDP, says aditctl' "$(lab_sa acme-ipsec udp)" "$([ "$1" = udp ] && echo true || echo false)"
    kernel_pings 20
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" "$mtu"
    lab_ping srv 2 10.1.0.1 -l 2 -i 0.5 -M 'do' -s $((mtu - 28))
    lab_gre_ping 2 10.0.0.2 -I 10.1.0.1 -l 2 -i 0.5 -M 'do' -s $((mtu - 28))
    at_least 'Mbit/s from the kernel' "$(lab_gre_exec 'timeout 20 iperf3 -J -B 10.1.0.1 -c 10.0.0.2 -n 2M' | lab_mbits)" 1
    at_least 'Mbit/s to the kernel' "$(lab_gre_exec 'timeout 20 iperf3 -J -B 10.1.0.1 -c 10.0.0.2 -n 2M -R' | lab_mbits)" 1
    kernel_rekey --child net
    kernel_pings 5
    kernel_rekey --ike acme
    kernel_pings 5
    equal 'errors that the kernel counted' "$(kernel_errors)" ''
}
while read -r suite said kernel raw udp; do
    for encap in raw udp; do
        name=test_${suite//-/_}_$encap
        eval "$name() { esp_row $encap $suite '$said' '$kernel' $raw $udp; }"
        tests+=("$name")
    done
done <<'ROWS'
aes256gcm16 AES.*GCM.*256 rfc4106\(gcm\(aes\)\)\s+0x[0-9a-f]{72}\s 1446 1438
aes128gcm16 AES.*GCM.*128 rfc4106\(gcm\(aes\)\)\s+0x[0-9a-f]{40}\s 1446 1438
aes256-sha256 AES.*CBC.*256.*SHA2.256 hmac\(sha256\) 1438 1422
aes256-sha1 AES.*CBC.*256.*SHA1 hmac\(sha1\) 1438 1422
null-sha256 NULL.*SHA2.256 cipher_null 1454 1446
ROWS

test_pfs_with_ml_kem() {
    kernel_up esp=aes256gcm16-ecp384-ke1_mlkem768
    kernel_pings 5
    kernel_rekey --child net
    contains 'list-sas' "$(lab_kernel_swanctl --list-sas)" 'AES_GCM_16-256/ECP_384/KE1_ML_KEM_768'
    kernel_pings 5
}

test_rekeys_under_traffic_lose_no_packet() {
    kernel_up conn.rekey_time=5s conn.over_time=60s conn.rand_time=0s child.rekey_time=2s child.life_time=60s child.rand_time=0s
    ns srv ping -q -n -i 0.01 -c 1000 -W 2 10.1.0.1 >"$LAB_DIR/out" 2>&1 &
    lab_gre_exec 'ping -q -n -i 0.01 -c 1000 -W 2 -I 10.1.0.1 10.0.0.2' >"$LAB_DIR/in" || :
    wait $!
    contains 'to the customer' "$(cat "$LAB_DIR/out")" ' 0% packet loss'
    contains 'from the customer' "$(cat "$LAB_DIR/in")" ' 0% packet loss'
    equal 'errors that the kernel counted' "$(kernel_errors)" ''
}

test_replayed_packet_is_dropped_by_both() {
    local ours theirs
    lab_capture twice internet wan0 'proto 50'
    kernel_up child.replay_window=64
    kernel_pings 3
    lab_capture_end twice
    theirs=$(packet twice "src $LAB_CUST2") ours=$(packet twice "src $LAB_EDGE")
    ns internet "$LAB_HERE/craft" again "$theirs" --count 5
    lab_wait_for 2 eval '[ "$(lab_drops esp_replay)" = 5 ]'
    ns internet "$LAB_HERE/craft" again "$ours" --count 5
    lab_wait_for 2 eval "[ \"\$(lab_gre_exec \"awk '/XfrmInStateSeqError/ { print \\\$2 }' /proc/net/xfrm_stat\")\" = 5 ]"
    kernel_pings 3
}

test_replayed_packet_in_udp_does_not_move_us_to_udp() {
    # the kernel takes nothing in UDP where no NAT was found in the handshake
    lab_aditd_conf customer=$LAB_CUST2 ipsec='replay_protection: false'
    lab_capture once internet wan0 "proto 50 and src $LAB_CUST2"
    kernel_up
    kernel_pings 3
    lab_capture_end once
    ns internet "$LAB_HERE/craft" again "$(packet once esp)" --udp --count 5
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-ipsec packets_in)" = 11 ]'
    kernel_pings 20
    equal 'nominated and moved' "$(ike_count nominated) $(ike_count moved)" '0 0'
    equal 'in UDP, says aditctl' "$(lab_sa acme-ipsec udp)" false
}

# GRE of the kernel inside ESP of the kernel, in either mode. MODE, inner MTU
gre_in_esp() {
    local errors    # the kernel counts since it booted
    errors=$(kernel_errors)
    lab_aditd_conf customer=$LAB_CUST2 gre='protect: acme-ipsec'
    lab_capture clear internet wan0 'proto 47'
    kernel_up local_ts="$LAB_CUST2/32[gre]" remote_ts="$LAB_EDGE/32[gre]" child.mode="$1"
    contains 'mode, says the kernel' "$(lab_gre_exec 'ip xfrm state')" "mode $1"
    equal 'inner MTU' "$(lab_tunnel acme-gre mtu)" "$2"
    lab_gre_tunnel
    lab_gre_ping 20 10.0.0.2 -l 20 -i 0.5
    lab_ping srv 20 10.2.0.1 -l 20 -i 0.5
    lab_ping srv 2 10.2.0.1 -l 2 -i 0.5 -M 'do' -s $(($2 - 28))
    contains 'ICMP' "$(ns srv ping -n -c 1 -W 1 -M 'do' -s $(($2 - 27)) 10.2.0.1 2>&1 || :)" "mtu ?= ?$2"
    at_least 'Mbit/s from the kernel' "$(lab_gre_exec 'timeout 20 iperf3 -J -c 10.0.0.2 -n 2M' | lab_mbits)" 1
    at_least 'Mbit/s to the kernel' "$(lab_gre_exec 'timeout 20 iperf3 -J -c 10.0.0.2 -n 2M -R' | lab_mbits)" 1
    kernel_rekey --child net
    contains 'mode after a rekey' "$(lab_gre_exec 'ip xfrm state')" "mode $1"
    lab_gre_ping 5 10.0.0.2 -l 5 -i 0.5
    lab_ping srv 5 10.2.0.1 -l 5 -i 0.5
    lab_capture_end clear
    equal 'GRE in the clear' "$(lab_captured clear gre ip.src | wc -l)" 0
    equal 'errors that the kernel counted' "$(kernel_errors)" "$errors"
    lab_gre_exec 'ip link del gre1'
}
test_gre_in_esp_of_transport_mode() { gre_in_esp transport 1442; }
test_gre_in_esp_of_tunnel_mode() { gre_in_esp tunnel 1422; }

tap_main setup "${tests[@]}" test_pfs_with_ml_kem test_rekeys_under_traffic_lose_no_packet test_replayed_packet_is_dropped_by_both \
    test_replayed_packet_in_udp_does_not_move_us_to_udp \
    test_gre_in_esp_of_transport_mode test_gre_in_esp_of_tunnel_mode
