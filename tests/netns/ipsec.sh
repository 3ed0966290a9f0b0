# shellcheck shell=bash
# What the tests of IPsec share. Sourced after tap.sh: everything here ends a test that goes wrong.

# up [KEY=VALUE...]: a fresh connection of cust1 that must come up.
up() {
    lab_ipsec_down
    lab_ipsec_up "$@" >"$LAB_DIR/initiate" 2>&1 || { tail -n 8 "$LAB_DIR/initiate"; exit 1; }
}
pings() {    # COUNT, each way
    lab_ping lan1 "$1" 10.0.0.2 && lab_ping srv "$1" 10.1.0.2
}
listed() { contains 'list-sas' "$(lab_swanctl cust1 --list-sas)" "$1"; }

ike_sas() { lab_ctl sas --json | jq '[.ike_sas[] | select(.state == "established")] | length'; }
ike_count() { lab_ctl status --json | jq ".ike.$1"; }
spis() { lab_ctl sas --json | jq -c '[.ike_sas[].spi_i, .sas[].spi_in]'; }
# rekeyed BEFORE: since spis said so, something was replaced, and nothing but the new is left.
rekeyed() {
    lab_wait_for 5 eval "[ '$1' != \"\$(spis)\" ]"
    lab_wait_for 5 eval '[ "$(lab_sas acme-ipsec) $(ike_sas)" = "1 1" ]'
}
rekey() {    # --child net | --ike acme
    local before
    before=$(spis)
    lab_swanctl cust1 --rekey "$@" >/dev/null
    rekeyed "$before"
}

# packet NAME FILTER: the first such packet of a capture, IPv4 header first, in hexadecimal.
packet() {
    tcpdump -r "$LAB_DIR/$1.pcap" -c 1 -xx -n "$2" 2>/dev/null | sed -n 's/^\t0x[0-9a-f]*: *//p' | tr -d ' \n' | cut -c29-
}

mss() { lab_captured "$1" "tcp.flags.syn == 1 && $2" tcp.options.mss_val | sort -u | xargs; }

# mss_is VALUE: every SYN that arrives at either end carries it.
mss_is() {
    lab_ip lan1 route flush cache # what earlier tests learnt of the path's MTU
    lab_ip srv route flush cache
    lab_spawn iperf3-lan1 nsenter --net="/run/netns/$LAB_ID-lan1" iperf3 -s
    lab_wait_for 5 ns lan1 sh -c 'ss -Hltn | grep -q :5201'
    lab_capture lan lan1 eth0 'tcp[tcpflags] & tcp-syn != 0'
    lab_capture server srv eth0 'tcp[tcpflags] & tcp-syn != 0'
    ns lan1 timeout 3 bash -c ': </dev/tcp/10.0.0.2/5201'
    ns srv timeout 3 bash -c ': </dev/tcp/10.1.0.2/5201'
    lab_capture_end lan
    lab_capture_end server
    lab_stop iperf3-lan1 KILL
    equal 'what the customer sends' "$(mss lan 'ip.src == 10.1.0.2')" 1460
    equal 'what reaches the server' "$(mss server 'ip.src == 10.1.0.2')" "$1"
    equal 'what the server sends' "$(mss server 'ip.src == 10.0.0.2')" 1460
    equal 'what reaches the customer' "$(mss lan 'ip.src == 10.0.0.2')" "$1"
    equal 'what aditctl says' "$(lab_tunnel acme-ipsec mss4)" "$1"
}
