#!/bin/bash
# The interoperability matrix: every IKE suite, PRF and key exchange, every ESP suite, and the parameter sets of customers'
# devices, each as a strongSwan that comes up, carries traffic and rekeys. One named test per row.
# shellcheck disable=SC2317  # functions called by name
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/ipsec.sh"

setup() { lab_up && lab_aditd_conf pq=prefer ipsec='allow_null_cipher: true' && lab_strongswan_start cust1; }

tests=()

# ---- IKE: encryption x PRF x key exchange

declare -A encr_listed=([aes256gcm16]=AES_GCM_16-256 [aes128gcm16]=AES_GCM_16-128 [aes256]=AES_CBC-256/HMAC_SHA2_256_128)
declare -A prf_listed=([sha256]=SHA2_256 [sha384]=SHA2_384 [sha512]=SHA2_512)
declare -A ke_listed=([ecp384]=ECP_384 [modp2048]=MODP_2048 [modp1536]=MODP_1536
    [ecp384-ke1_mlkem768]=ECP_384/KE1_ML_KEM_768 [ecp384-ke1_mlkem1024]=ECP_384/KE1_ML_KEM_1024
    [modp2048-ke1_mlkem768]=MODP_2048/KE1_ML_KEM_768
    [ecp384-ke1_mlkem768-ke2_mlkem1024]=ECP_384/KE1_ML_KEM_768/KE2_ML_KEM_1024)

ike_row() {    # ENCR PRF KE
    local integ=
    [ "$1" != aes256 ] || integ=sha256-
    up proposals="$1-${integ}prf$2-$3"
    listed "${encr_listed[$1]}/PRF_HMAC_${prf_listed[$2]}/${ke_listed[$3]}( |$)"
    equal 'post-quantum, says aditctl' "$(lab_tunnel acme-ipsec post_quantum)" "$(case $3 in *mlkem*) echo true ;; *) echo false ;; esac)"
    lab_ping lan1 2 10.0.0.2
    # keys of every generation agree: the IKE SA and its Child SA are replaced once, where the suite is a new one
    rekey --ike acme
    listed "${encr_listed[$1]}/PRF_HMAC_${prf_listed[$2]}/${ke_listed[$3]}( |$)"
    lab_ping lan1 2 10.0.0.2
}
for encr in aes256gcm16 aes128gcm16 aes256; do
    for prf in sha256 sha384 sha512; do
        for ke in ecp384 ecp384-ke1_mlkem768 ecp384-ke1_mlkem1024 modp2048 modp1536; do
            name=test_ike_${encr}_prf${prf}_${ke//-/_}
            eval "$name() { ike_row $encr $prf $ke; }"
            tests+=("$name")
        done
    done
done
for ke in modp2048-ke1_mlkem768 ecp384-ke1_mlkem768-ke2_mlkem1024; do
    name=test_ike_aes256gcm16_prfsha384_${ke//-/_}
    eval "$name() { ike_row aes256gcm16 sha384 $ke; }"
    tests+=("$name")
done

# ---- ESP: every suite, without PFS and rekeyed with each kind of it

esp_row() {    # SUITE, then what aditctl calls it
    local pfs
    for pfs in '' -ecp384 -modp2048 -modp1536 -ecp384-ke1_mlkem768; do
        up esp="$1$pfs"
        pings 3
        contains 'the suite, says aditctl' "$(lab_sa acme-ipsec suite)" "$2"
        rekey --child net
        pings 3
        [ -z "$pfs" ] || listed "${ke_listed[${pfs#-}]}"
    done
}
while read -r suite said; do
    name=test_esp_${suite//-/_}
    eval "$name() { esp_row $suite '$said'; }"
    tests+=("$name")
done <<'ROWS'
aes256gcm16 AES.*GCM.*256
aes128gcm16 AES.*GCM.*128
aes256-sha256 AES.*CBC.*256.*SHA2.256
aes128-sha256 AES.*CBC.*128.*SHA2.256
aes256-sha1 AES.*CBC.*256.*SHA1
aes128-sha1 AES.*CBC.*128.*SHA1
null-sha256 NULL.*SHA2.256
null-sha1 NULL.*SHA1
ROWS

# ---- customers' devices: what their IKE and ESP proposals, identities and timers look like to us

device() {    # IKE ESP [KEY=VALUE...]
    local ike=$1 esp=$2
    shift 2
    up proposals="$ike" esp="$esp" "$@"
    pings 3
    rekey --child net
    rekey --ike acme
    pings 3
}
test_device_strongswan_guide() { device aes256-sha256-ecp384 aes256-sha256-ecp384 conn.rekey_time=24h conn.fragmentation=no child.replay_window=0; }
test_device_cisco_ios_xe() { device aes256-sha512-sha384-sha256-ecp384 aes256-sha256-ecp384,aes256-sha1-ecp384 conn.dpd_delay=10s; }
test_device_cisco_ios_xe_pfs_14() { device aes256-sha512-sha384-sha256-ecp384 aes256-sha256-modp2048; }
test_device_cisco_ios_xr_post_quantum() { device aes256gcm16-prfsha384-ecp384-ke1_mlkem1024 aes256gcm16-ecp384-ke1_mlkem1024; }
test_device_fortios() {
    device aes256gcm16-prfsha512-prfsha384-prfsha256-ecp384 aes256gcm16-aes128gcm16-ecp384 child.rekey_time=28800s child.life_time=30000s
}
test_device_fortios_post_quantum() { device aes256gcm16-prfsha512-prfsha384-ecp384-ke1_mlkem768-ke1_mlkem1024 aes256gcm16-ecp384-ke1_mlkem768; }
test_device_pan_os_and_srx() { device aes256-sha256-ecp384 aes256-sha256-ecp384 conn.rekey_time=8h; }
test_device_vyos() { device aes256gcm16-prfsha512-ecp384 aes256gcm16-ecp384 child.rekey_time=86400s child.life_time=90000s conn.dpd_delay=30s conn.dpd_timeout=120s; }
test_device_pfsense() {
    device aes256-sha256-ecp384 aes256-sha256-ecp384 "id=ipsec@$LAB_TUNNEL.$LAB_ACCOUNT.ipsec.example.net" conn.rekey_time=86400s
}
test_device_unifi_meraki_velocloud() { device aes256-sha256-modp2048 aes256-sha256-modp2048 "id=$LAB_CUST1"; }
test_device_yamaha_rtx() { device aes256-sha256-modp2048 aes256-sha256-modp2048 child.rekey_time=3600s conn.dpd_delay=10s; }
test_device_aws_transit_gateway() { device aes256gcm16-prfsha256-ecp384 aes256gcm16-ecp384 child.dpd_action=restart conn.dpd_delay=10s; }
test_device_azure_vpn_gateway() { device aes256gcm16-prfsha384-ecp384 aes256gcm16-ecp384 conn.dpd_delay=45s child.rekey_time=28800s child.life_time=30000s; }
test_device_oracle_cloud() { device aes256-sha256-ecp384 aes256-sha256-ecp384 conn.rekey_time=86400s; }
for name in $(compgen -A function test_device_); do tests+=("$name"); done

# ---- what we do not do is declined, and the tunnel comes up where a legal choice is left

test_null_without_opt_in_is_refused() {
    lab_aditd_conf pq=prefer
    lab_ipsec_down
    expect_not 'ESP NULL comes up' lab_ipsec_up esp=null-sha256 >"$LAB_DIR/initiate" 2>&1
    contains 'what strongSwan was told' "$(cat "$LAB_DIR/initiate")" NO_PROPOSAL_CHOSEN
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 0
    lab_aditd_conf pq=prefer ipsec='allow_null_cipher: true'
}
test_esn_is_not_chosen() {
    up esp=aes256gcm16-esn-noesn
    pings 3
    contains_not 'list-sas' "$(lab_swanctl cust1 --list-sas)" 'ESN'
}
test_transport_mode_becomes_tunnel_mode() {
    # transport mode speaks for the two hosts alone
    up child.mode=transport local_ts=dynamic remote_ts=dynamic
    listed 'TUNNEL'
}
test_compression_is_not_confirmed() {
    up child.ipcomp=yes
    contains_not 'list-sas' "$(lab_swanctl cust1 --list-sas)" 'IPCOMP'
    pings 3
}
test_mobike_is_not_confirmed() {
    up conn.mobike=yes
    pings 3
}
test_request_for_an_inner_address_is_ignored() {
    up conn.vips=0.0.0.0 || true
    equal 'IKE SAs' "$(lab_ctl sas --json | jq '[.ike_sas[] | select(.state == "established")] | length')" 1
}
test_chacha_and_ctr_proposals_lose_to_gcm() {
    up esp=chacha20poly1305,aes256ctr-sha256,aes256gcm16
    contains 'the suite' "$(lab_sa acme-ipsec suite)" 'GCM'
    pings 3
}
test_first_proposal_unknown_second_taken() {
    up proposals=aes256-sha256-x25519,aes256gcm16-prfsha384-ecp384
    listed AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384
}

# ---- days, in short: rekeys under traffic, and either side dying

test_a_minute_of_rekeys_loses_no_packet() {
    local log=$LAB_DIR/minute
    up esp=aes256gcm16-ecp384-ke1_mlkem768 conn.rekey_time=7s conn.over_time=60s conn.rand_time=0s child.rekey_time=3s child.life_time=60s child.rand_time=0s
    ns srv ping -q -n -i 0.01 -c 6000 -W 2 10.1.0.2 >"$log.out" 2>&1 &
    ns lan1 ping -q -n -i 0.01 -c 6000 -W 2 10.0.0.2 >"$log.in" 2>&1
    wait
    contains 'to the customer' "$(cat "$log.out")" ' 0% packet loss'
    contains 'from the customer' "$(cat "$log.in")" ' 0% packet loss'
    at_least 'child rekeys' "$(grep -c 'CHILD_SA net.*established\|inbound CHILD_SA' "$LAB_DIR/cust1/charon.log")" 15
    lab_ipsec_down
    lab_wait_for 5 eval '[ "$(lab_sas acme-ipsec)" = 0 ]'
}
test_our_restart_is_noticed_by_their_dpd() {
    up conn.dpd_delay=1s child.dpd_action=restart child.close_action=start
    lab_stop aditd KILL || :
    lab_aditd_conf pq=prefer ipsec='allow_null_cipher: true'
    lab_wait_for 25 eval '[ "$(lab_sas acme-ipsec)" -ge 1 ]'
    lab_wait_for 5 lab_ping lan1 3 10.0.0.2
    lab_ipsec_down
}
test_one_hundred_children_and_no_more() {
    local i out
    {
        lab_customer_conf local_ts=10.1.1.1/32 | sed '/^        children {/,$d'
        echo '        children {'
        for ((i = 1; i <= 101; i++)); do
            printf 'c%d {\n local_ts = 10.1.1.%d/32\n remote_ts = 10.0.0.0/16\n esp_proposals = aes256gcm16\n}\n' $i $i
        done
        printf '}\n}\n}\nsecrets {\n ike-acme {\n id = %s\n secret = "%s"\n}\n}\n' "$LAB_EDGE" "$LAB_PSK"
    } | lab_swanctl_load cust1 >/dev/null
    for ((i = 1; i <= 100; i++)); do
        lab_swanctl cust1 --initiate --child c$i --timeout 10 >"$LAB_DIR/initiate" 2>&1 || { tail -n 5 "$LAB_DIR/initiate"; exit 1; }
    done
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 100
    out=$(lab_swanctl cust1 --initiate --child c101 --timeout 10 2>&1 || :)
    contains 'the 101st' "$out" NO_ADD_SAS
    equal 'Child SAs' "$(lab_sas acme-ipsec)" 100
    lab_ipsec_down
}
for name in test_null_without_opt_in_is_refused test_esn_is_not_chosen test_transport_mode_becomes_tunnel_mode \
    test_compression_is_not_confirmed test_mobike_is_not_confirmed test_request_for_an_inner_address_is_ignored \
    test_chacha_and_ctr_proposals_lose_to_gcm test_first_proposal_unknown_second_taken \
    test_a_minute_of_rekeys_loses_no_packet test_our_restart_is_noticed_by_their_dpd \
    test_one_hundred_children_and_no_more; do
    tests+=("$name")
done

tap_main setup "${tests[@]}"
