#!/bin/bash
# make demo: it ends as it promises, its capture shows what it claims, and ^C leaves nothing behind.
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"

setup() {
    LAB_ROOT=$("$LAB_HERE/peers-root") || return 1
    LAB_DIR=$(mktemp -d "/tmp/$LAB_ID.XXXXXX") || return 1
    trap 'rm -rf "$LAB_DIR"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# What a run of that pid left: namespaces, folders.
left_by() {
    ip netns list | awk -v p="adit$1-" 'index($1, p) == 1 { print $1 }'
    ls -d "/tmp/adit$1".* 2>/dev/null || :
}

# Its own process group with ^C as a terminal gives it; prints the pid.
start_demo() {
    python3 -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.setsid()
os.execv(sys.argv[1], sys.argv[1:])' "$LAB_HERE/demo" >"$LAB_DIR/demo.out" 2>&1 </dev/null &
    echo $! >"$LAB_DIR/demo.pid"
}

test_demo_ends_with_two_tunnels_up_and_nothing_lost() {
    local status=0
    ADIT_DEMO_SECONDS=1 start_demo
    wait "$(cat "$LAB_DIR/demo.pid")" || status=$?
    cat "$LAB_DIR/demo.out"
    equal 'last line' "$(tail -n 1 "$LAB_DIR/demo.out")" 'demo: 2 tunnels up, 0 packets lost'
    equal 'exit status' "$status" 0
    contains table "$(cat "$LAB_DIR/demo.out")" '^acme-gre +gre +up '
    contains table "$(cat "$LAB_DIR/demo.out")" '^acme-ipsec +ipsec +up .*(ML-?_?KEM|mlkem)-?_?768'
    equal 'left behind' "$(left_by "$(cat "$LAB_DIR/demo.pid")")" ''
}

test_demo_capture_names_ike_intermediate_and_esp() {
    local seen
    cp "$LAB_BUILD/demo/internet.pcap" "$LAB_DIR/internet.pcap"
    seen=$(lab_captured internet 'isakmp || esp || gre')
    at_least IKE_INTERMEDIATE "$(grep -c ' IKE_INTERMEDIATE ' <<<"$seen")" 2
    at_least ESP "$(grep -c ' ESP (SPI=0x' <<<"$seen")" 400
    at_least GRE "$(lab_captured internet gre | wc -l)" 400
}

test_interrupted_demo_cleans_up() {
    local pid status=0
    start_demo
    pid=$(cat "$LAB_DIR/demo.pid")
    lab_wait_for 30 grep -q 'aditd runs' "$LAB_DIR/demo.out"
    kill -INT -- "-$pid"
    wait "$pid" || status=$?
    equal 'exit status' "$status" 130
    equal 'left behind' "$(left_by "$pid")" ''
    lab_wait_for 2 eval '! pgrep -g '"$pid" || { pgrep -ag "$pid"; exit 1; }
}

tap_main setup test_demo_ends_with_two_tunnels_up_and_nothing_lost test_demo_capture_names_ike_intermediate_and_esp \
    test_interrupted_demo_cleans_up
