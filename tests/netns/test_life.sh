#!/bin/bash
# A tunnel's days, in short: our own rekeys, both sides' at once, either side dying or being told to start anew.
# shellcheck disable=SC2317  # functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

setup() { lab_up && lab_aditd_conf && lab_strongswan_start cust1; }

# half_a_minute: 100 pings a second each way, none lost.
half_a_minute() {
    ns srv ping -q -n -i 0.01 -c 3000 -W 2 10.1.0.2 >"$LAB_DIR/out" 2>&1 &
    ns lan1 ping -q -n -i 0.01 -c 3000 -W 2 10.0.0.2 >"$LAB_DIR/in" 2>&1 || :
    wait $! || :
    contains 'to the customer' "$(cat "$LAB_DIR/out")" ' 0% packet loss'
    contains 'from the customer' "$(cat "$LAB_DIR/in")" ' 0% packet loss'
}
# Both sides have one IKE SA with one Child SA, the same ones.
one_pair() {
    local theirs
    lab_wait_for 5 eval '[ "$(lab_sas acme-ipsec) $(ike_sas)" = "1 1" ]'
    lab_wait_for 5 eval '[ "$(lab_swanctl cust1 --list-sas | grep -c "ESTABLISHED\|INSTALLED")" = 2 ]'
    theirs=$(lab_swanctl cust1 --list-sas)
    contains 'their IKE SA' "$theirs" "ESTABLISHED.*$(lab_ctl sas --json | jq -r '.ike_sas[] | select(.state == "established").spi_r')_r"
    contains 'what they send to' "$theirs" "out +$(lab_sa acme-ipsec spi_in),"
    contains 'what we send to' "$theirs" "in +$(lab_sa acme-ipsec spi_out),"
}
events() { grep -c "$1" "$LAB_DIR/aditd/log" || :; }

test_our_rekeys_for_half_a_minute_lose_no_packet() {
    lab_aditd_conf top='  child_lifetime: 10s
  ike_lifetime: 13s'
    up conn.rekey_time=1h child.rekey_time=1h
    half_a_minute
    at_least 'Child SAs that we rekeyed' "$(events 'ike.rekeyed.*what="Child SA" by=us')" 2
    at_least 'IKE SAs that we rekeyed' "$(events 'ike.rekeyed.*what="IKE SA" by=us')" 2
    one_pair
}

test_rekeys_of_both_sides_at_once_lose_no_packet() {
    local collided=0
    lab_aditd_conf top='  lifetime_jitter: 0
  child_lifetime: 10s
  ike_lifetime: 13s'
    : >"$LAB_DIR/cust1/charon.log"
    up conn.rekey_time=13s conn.over_time=60s conn.rand_time=0s child.rekey_time=10s child.life_time=60s child.rand_time=0s
    for _ in 1 2 3; do # whether both begin in one millisecond is a matter of chance
        half_a_minute
        collided=$(grep -c 'collision' "$LAB_DIR/cust1/charon.log") && break
    done
    at_least 'rekeys' "$(events 'ike.rekeyed')" 4
    at_least 'collisions, says strongSwan' "$collided" 1
    one_pair
}

test_dead_customer_is_noticed_by_our_dpd() {
    lab_aditd_conf top='  dpd_interval: 1s
  retransmit_first: 100ms
  retransmit_tries: 4'
    up
    # a live one stays, silent or not
    lab_wait_for 5 eval '[ "$(ike_count sent)" -ge 6 ]'
    equal state "$(lab_tunnel acme-ipsec state)" up
    lab_stop cust1 KILL || :
    rm -f "$LAB_DIR/cust1/vici"
    lab_wait_for 10 eval '[ "$(lab_sas acme-ipsec) $(lab_tunnel acme-ipsec state)" = "0 down" ]'
    equal 'IKE SAs' "$(lab_ctl sas --json | jq '.ike_sas | length')" 0
}

test_killed_customer_comes_back_by_itself() {
    local before
    lab_aditd_conf
    lab_strongswan_start cust1
    up
    before=$(lab_sa acme-ipsec spi_in)
    lab_stop cust1 KILL || :
    rm -f "$LAB_DIR/cust1/vici"
    lab_strongswan_start cust1
    lab_capture contact internet cust1 udp
    lab_customer_conf child.start_action=start | lab_swanctl_load cust1
    lab_wait_for 10 eval '[ "$(lab_sas acme-ipsec)" = 1 ] && [ "$(lab_sa acme-ipsec spi_in)" != '"$before"' ]'
    lab_capture_end contact
    pings 5
    one_pair
    # INITIAL_CONTACT: the old one went without a word to an address where nobody knows it
    equal 'Deletes from us' "$(lab_captured contact "ip.src == $LAB_EDGE && isakmp.exchangetype == 37" | wc -l)" 0
}

test_reset_and_the_customer_comes_back_by_itself() {
    local before
    up child.close_action=start
    before=$(lab_sa acme-ipsec spi_in)
    contains aditctl "$(lab_ctl reset acme-ipsec)" '^1 IKE SA '
    lab_wait_for 10 eval '[ "$(lab_sas acme-ipsec)" = 1 ] && [ "$(lab_sa acme-ipsec spi_in)" != '"$before"' ]'
    pings 5
    one_pair
}

test_killed_daemon_is_noticed_and_the_customer_comes_back() {
    up conn.dpd_delay=1s child.dpd_action=restart child.close_action=start
    lab_stop aditd KILL || :
    lab_aditd_conf
    lab_wait_for 25 eval '[ "$(lab_sas acme-ipsec)" -ge 1 ]'
    lab_wait_for 5 pings 3
    one_pair
}

tap_main setup test_our_rekeys_for_half_a_minute_lose_no_packet test_rekeys_of_both_sides_at_once_lose_no_packet \
    test_dead_customer_is_noticed_by_our_dpd test_killed_customer_comes_back_by_itself \
    test_reset_and_the_customer_comes_back_by_itself test_killed_daemon_is_noticed_and_the_customer_comes_back
