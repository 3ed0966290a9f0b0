#!/bin/bash
# Narrow links in the middle of the path: IKE, ESP and TCP where packets of 1500 octets do not pass, with a router that says so and
# with one that does not.
# shellcheck disable=SC2317  # functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

setup() {
    lab_up && lab_aditd_conf && lab_strongswan_start cust1 &&
        ns internet sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit'
}

# link MTU: the internet's links have it both ways; its router fragments or answers "fragmentation needed". Nobody remembers
# what he learnt before; aditd, which does for ten minutes, is started anew.
link() {
    lab_ipsec_down
    no_hole
    lab_ip internet route replace $LAB_EDGE via 203.0.113.2 mtu lock "$1"
    lab_ip internet route replace $LAB_CUST1 dev br0 mtu lock "$1"
    lab_ip cust1 route flush cache
    lab_ip edge route flush cache
    lab_ip lan1 route flush cache
    lab_ip srv route flush cache
    shift
    lab_aditd_conf "$@"
}
# hole OCTETS [nft MATCH]: longer packets vanish without a word.
hole() {
    link 1500
    ns internet nft -f - <<NFT
table ip hole {
    chain forward {
        type filter hook forward priority 0;
        ${2:-} ip length > $1 counter drop
    }
}
NFT
}
no_hole() { ns internet nft delete table ip hole 2>/dev/null || :; }
holed() { ns internet nft list table ip hole | sed -n 's/.*counter packets \([0-9]*\).*/\1/p'; }

charon() {    # lines for strongswan.conf
    lab_strongswan_stop cust1
    lab_strongswan_start cust1 cust1 "$@"
}

# suits PATH-MTU MTU: the tunnel finds it out with the first packet that is too long, says it exactly, and TCP follows.
suits() {
    local too_long=$(($2 - 28 + 1))
    expect_not 'the first long packet passes' lab_ping srv 1 10.1.0.2 -M 'do' -s 1400 -W 0.5
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-ipsec path_mtu)" = '"$1"' ]'
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" "$2"
    lab_ip srv route flush cache
    contains 'ICMP, of the interface address' "$(ns srv ping -n -c 1 -W 1 -M 'do' -s $too_long 10.1.0.2 2>&1 || :)" \
        "From 10\.255\.0\.0 .*mtu ?= ?$2"
    lab_ip srv route flush cache
    # the longest that fits goes out in one piece that the link takes as it is
    lab_capture fits internet cust1 "src $LAB_EDGE and proto 50"
    lab_ping srv 3 10.1.0.2 -M 'do' -s $((too_long - 1))
    lab_capture_end fits
    equal 'fragments' "$(lab_captured fits 'ip.flags.mf == 1 || ip.frag_offset > 0' | wc -l)" 0
    expect "at most 3 octets of the link unused" [ "$(lab_captured fits esp ip.len | sort -n | tail -n 1)" -gt $(($1 - 4)) ]
    mss_is $(($2 - 40))
    at_least 'Mbit/s to the customer' "$(ns lan1 timeout 20 iperf3 -J -c 10.0.0.2 -t 1 -R | lab_mbits)" 1
    at_least 'Mbit/s from the customer' "$(ns lan1 timeout 20 iperf3 -J -c 10.0.0.2 -t 1 | lab_mbits)" 1
}

test_mtu_1280_hybrid_and_traffic() {
    link 1280
    up
    suits 1280 1226
}

test_mtu_1280_without_df_everything_passes() {
    link 1280
    up
    # what strongSwan makes of them the link refuses once, then the customer's own kernel knows
    lab_wait_for 5 lab_ping lan1 1 10.0.0.2 -M dont -s 2000 -W 0.3
    lab_ping srv 5 10.1.0.2 -M dont -s 2000
    lab_ping lan1 5 10.0.0.2 -M dont -s 2000
}

test_mtu_1280_in_udp() {
    link 1280
    up conn.encap=yes
    expect_not 'the first long packet passes' lab_ping srv 1 10.1.0.2 -M 'do' -s 1400 -W 0.5
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-ipsec path_mtu)" = 1280 ]'
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" 1218
    lab_ip srv route flush cache
    lab_ping srv 3 10.1.0.2 -M 'do' -s 1190
}

test_mtu_1280_hybrid_without_ike_fragmentation() {
    link 1280
    up conn.fragmentation=no
    pings 3
}

test_mtu_576_hybrid_and_traffic() {
    link 576 top='  fragment_size: 576'
    charon 'fragment_size = 576'
    lab_capture ike internet wan0 'udp'
    up
    lab_capture_end ike
    at_least 'IKE fragments of theirs' "$(lab_captured ike "ip.src == $LAB_CUST1 && isakmp.typepayload == 53" | wc -l)" 3
    at_least 'of ours' "$(lab_captured ike "ip.src == $LAB_EDGE && isakmp.typepayload == 53" | wc -l)" 3
    equal 'IP fragments' "$(lab_captured ike 'ip.flags.mf == 1 || ip.frag_offset > 0' | wc -l)" 0
    suits 576 522
}

test_mtu_576_hybrid_without_ike_fragmentation() {
    link 576
    up conn.fragmentation=no
    pings 3
}

test_black_hole_of_1280_hybrid_with_default_sizes() {
    charon
    hole 1280
    up
    pings 3
    rekey --ike acme
    equal 'IKE datagrams that vanished' "$(holed)" 0
}

test_black_hole_of_576_our_fragments_follow_the_size_of_theirs() {
    charon 'fragment_size = 576'
    hole 576
    up
    pings 3
    rekey --ike acme
    equal 'IKE datagrams that vanished' "$(holed)" 0
}

test_black_hole_of_576_on_our_way_alone_makes_our_fragments_shrink() {
    charon
    hole 576 "ip saddr $LAB_EDGE"
    up
    pings 3
    at_least 'IKE datagrams that vanished' "$(holed)" 1
    at_least cut_smaller "$(ike_count cut_smaller)" 1
}

# df_of OPTION: the outer DF bit of such an inner packet.
df_of() {
    lab_capture df edge eth0 "proto 50 and src $LAB_EDGE"
    lab_ping srv 2 10.1.0.2 -M "$1" -s 100 >/dev/null
    lab_capture_end df >/dev/null
    lab_captured df esp ip.flags.df | sort -u | xargs
}
df_mode() {    # MODE, outer DF of a packet with it and of one without
    link 576 ipsec="outer: {df: $1}"
    up
    contains 'with DF' "$(df_of 'do')" "^($2)$"
    contains 'without DF' "$(df_of dont)" "^($3)$"
    lab_ping srv 3 10.1.0.2 -M dont -s 1400
}
test_outer_df_copied() { df_mode copy '1|True' '0|False'; }
test_outer_df_set() {
    link 576 ipsec='outer: {df: set}'
    up
    contains 'with DF' "$(df_of 'do')" '^(1|True)$'
    contains 'without DF' "$(df_of dont)" '^(1|True)$'
    # the first is lost, the others are cut before they are encrypted
    lab_ping srv 1 10.1.0.2 -M dont -s 1400 -W 0.5 || :
    lab_wait_for 2 eval '[ "$(lab_tunnel acme-ipsec path_mtu)" = 576 ]'
    lab_ping srv 3 10.1.0.2 -M dont -s 1400
}
test_outer_df_cleared() {
    df_mode clear '0|False' '0|False'
    # the router may cut what the sender forbade to cut: nothing is lost and nothing is learnt
    lab_ping srv 3 10.1.0.2 -M 'do' -s 1400
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" 1446
}

# What anybody could send: an ICMP "fragmentation needed" that quotes this protocol, and SPI where it is ESP.
forged() {    # PROTOCOL SPI
    ns internet python3 - "$1" "$2" "$LAB_EDGE" "$LAB_CUST1" <<'PY'
import socket, struct, sys
def checksum(b):
    t = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while t >> 16: t = (t & 0xffff) + (t >> 16)
    return ~t & 0xffff
proto, spi, src, dst = int(sys.argv[1]), int(sys.argv[2], 0), socket.inet_aton(sys.argv[3]), socket.inet_aton(sys.argv[4])
quote = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1400, 0, 0x4000, 64, proto, 0, src, dst) + struct.pack("!II", spi, 1)
icmp = struct.pack("!BBHHH", 3, 4, 0, 0, 1000) + quote
icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
    for _ in range(5): s.sendto(icmp, (sys.argv[3], 0))
PY
}
test_icmp_is_believed_only_if_it_quotes_an_spi_of_ours() {
    local unmatched done_ spi
    link 1500
    up
    pings 3
    spi=0x$(lab_sa acme-ipsec spi_out | sed 's/^0x//')
    unmatched=$(lab_drops icmp_unmatched) done_=$(lab_drops icmp_done)
    forged 50 $((spi ^ 1))
    forged 50 0
    forged 47 0
    forged 17 0
    lab_wait_for 2 eval '[ "$(lab_drops icmp_unmatched)" = '$((unmatched + 20))' ]'
    equal 'path MTU' "$(lab_tunnel acme-ipsec path_mtu)" 1500
    forged 50 "$spi"
    lab_wait_for 2 eval '[ "$(lab_drops icmp_done)" = '$((done_ + 5))' ]'
    equal 'path MTU' "$(lab_tunnel acme-ipsec path_mtu)" 1000
    equal 'inner MTU' "$(lab_tunnel acme-ipsec mtu)" 946
    pings 3
}

tap_main setup test_mtu_1280_hybrid_and_traffic test_mtu_1280_without_df_everything_passes test_mtu_1280_in_udp \
    test_mtu_1280_hybrid_without_ike_fragmentation test_mtu_576_hybrid_and_traffic \
    test_mtu_576_hybrid_without_ike_fragmentation test_black_hole_of_1280_hybrid_with_default_sizes \
    test_black_hole_of_576_our_fragments_follow_the_size_of_theirs \
    test_black_hole_of_576_on_our_way_alone_makes_our_fragments_shrink \
    test_outer_df_copied test_outer_df_set test_outer_df_cleared \
    test_icmp_is_believed_only_if_it_quotes_an_spi_of_ours
