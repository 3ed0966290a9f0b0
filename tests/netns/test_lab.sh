#!/bin/bash
# The lab itself, without aditd: do the peers do with each other what the other tests will ask of aditd?
# When these fail, nothing the other files say about aditd counts.
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"

setup() {
    lab_up && lab_ip edge addr add 10.0.0.9/32 dev lo && lab_gre_start && lab_gre_tunnel &&
        lab_strongswan_start cust1 && lab_strongswan_start far edge && far_conf | lab_swanctl_load far
}

# A second strongSwan plays the edge.
far_conf() {
    cat <<CONF
connections {
    far {
        version = 2
        local_addrs = $LAB_EDGE
        proposals = $LAB_PROPOSAL_HYBRID
        local {
            auth = psk
            id = $LAB_EDGE
        }
        remote {
            auth = psk
        }
        children {
            net {
                local_ts = 10.0.0.0/16
                remote_ts = 10.1.0.0/16
                esp_proposals = $LAB_ESP
            }
        }
    }
}
secrets {
    ike-far {
        secret = "$LAB_PSK"
    }
}
CONF
}

test_outside_is_routed() {
    expect 'customer 1 reaches the edge' lab_ping cust1 3 "$LAB_EDGE"
    expect 'customer 2 reaches the edge' lab_gre_ping 3 "$LAB_EDGE"
    expect 'the edge reaches customer 2' lab_ping edge 3 "$LAB_CUST2" -I "$LAB_EDGE"
}

test_inside_is_not_reachable_from_outside() {
    expect_not 'no way to the server without a tunnel' lab_ping edge 1 10.0.0.2 -W 0.3
}

test_strongswan_brings_the_hybrid_up_and_carries_traffic_in_raw_esp() {
    lab_capture wire internet wan0 "proto 50 or udp port 500 or udp port 4500"
    lab_ipsec_up
    contains 'list-sas' "$(lab_swanctl cust1 --list-sas)" 'AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384/KE1_ML_KEM_768'
    lab_ping lan1 20 10.0.0.9
    lab_capture_end wire
    at_least 'IKE_INTERMEDIATE messages' "$(lab_captured wire isakmp | grep -c ' IKE_INTERMEDIATE ')" 2
    equal 'ESP packets in UDP' "$(lab_captured wire 'udp.port == 4500 && esp' | wc -l)" 0
    at_least 'ESP packets' "$(lab_captured wire esp | wc -l)" 40
    lab_ipsec_down
}

test_kernel_gre_talks_to_a_foreign_endpoint() {
    lab_spawn reply nsenter --net="/run/netns/$LAB_ID-edge" "$LAB_HERE/craft" reply "$LAB_EDGE"
    lab_wait_for 5 grep -q ready "$LAB_DIR/reply/log"
    lab_gre_ping 20 10.0.0.9
    lab_stop reply KILL
}

test_kernel_gre_sends_key_checksum_and_sequence() {
    lab_gre_tunnel key 42 csum seq
    lab_capture gre edge eth0 proto 47
    lab_gre_exec 'ping -c 1 -W 0.1 10.0.0.9' || :
    lab_capture_end gre
    equal 'key, checksum bit, sequence bit' "$(lab_captured gre gre gre.key gre.flags.checksum gre.flags.sequence_number |
        head -n 1 | tr 'TF\t' '10 ' | sed 's/rue//g')" '0x0000002a 1 1'
    lab_gre_tunnel
}

test_no_frame_is_longer_than_1500_octets() {
    lab_spawn iperf3-edge nsenter --net="/run/netns/$LAB_ID-edge" iperf3 -s -p 5999
    lab_wait_for 5 ns edge sh -c 'ss -Hltn | grep -q :5999'
    lab_capture frames cust1 eth0 'tcp port 5999 and greater 1515'
    ns cust1 timeout 20 iperf3 -c "$LAB_EDGE" -p 5999 -n 20M >/dev/null
    ns cust1 timeout 20 iperf3 -c "$LAB_EDGE" -p 5999 -n 20M -R >/dev/null
    lab_gre_exec "timeout 20 iperf3 -c $LAB_EDGE -p 5999 -n 20M" >/dev/null
    lab_capture_end frames
    lab_stop iperf3-edge KILL
    equal 'longer frames leaving customer 1' "$(lab_captured frames "ip.src == $LAB_CUST1" | wc -l)" 0
}

tap_main setup test_outside_is_routed test_inside_is_not_reachable_from_outside \
    test_strongswan_brings_the_hybrid_up_and_carries_traffic_in_raw_esp test_kernel_gre_talks_to_a_foreign_endpoint \
    test_kernel_gre_sends_key_checksum_and_sequence test_no_frame_is_longer_than_1500_octets
