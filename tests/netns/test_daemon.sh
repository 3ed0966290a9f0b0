#!/bin/bash
# The daemon as a program: start and refusal to start, --check, namespaces and routes it makes and removes, aditctl.
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"

setup() {
    [ -x "$LAB_BUILD/aditd" ] && [ -x "$LAB_BUILD/aditctl" ] || { echo "no $LAB_BUILD/aditd: run make"; return 1; }
    lab_up
}

aditd() { timeout 20 nsenter --net="/run/netns/$LAB_ID-edge" "$LAB_BUILD/aditd" "$@"; }

# yaml [KEY=TEXT...]: lab_conf's YAML as a file of this run; prints its path.
yaml() {
    lab_conf "$@" >"$LAB_DIR/t.yaml"
    lab_render "$LAB_DIR/t.yaml"
}
# checked STATUS FILE: the output of --check, whose exit status must be STATUS.
checked() {
    local status=0 out
    out=$(aditd --check --config "$2" 2>&1) || status=$?
    [ "$status" = "$1" ] || { printf 'exit status %s instead of %s\n%s\n' "$status" "$1" "$out" >&2; return 1; }
    printf '%s\n' "$out"
}
# wrong PATTERN [KEY=TEXT...]: --check names file, line and column, and says this.
wrong() {
    local pattern=$1 file out
    shift
    file=$(yaml "$@")
    out=$(checked 1 "$file")
    contains '--check' "$out" "^$file:[0-9]+:[0-9]+: .*$pattern"
}

test_version_names_what_is_in_it() {
    local version
    version=$(aditd --version)
    contains version "$version" '[0-9]+\.[0-9]+\.[0-9]+'
    contains OpenSSL "$version" 'OpenSSL.*3\.([5-9]|[1-9][0-9])'
    contains ML-KEM "$version" 'ML-KEM'
    contains ipsec-mb "$version" 'ipsec-?mb|IPsec_mb|ipsec_mb'
}

test_check_accepts_the_demo() {
    checked 0 "$(lab_render "$LAB_TREE/conf/demo.yaml")"
}

test_check_says_what_is_accepted_but_not_active_yet() {
    contains '--check' "$(checked 0 "$(yaml top='metrics: {listen: "127.0.0.1:9470"}')")" 'metrics.*not active yet|accepted, not active yet'
}

test_check_names_every_error_with_its_place() {
    local file out
    file=$(yaml top=$'colour: blue\nworkers: many')
    out=$(checked 1 "$file")
    contains 'unknown key' "$out" "^$file:[0-9]+:[0-9]+: .*colour"
    contains 'wrong value' "$out" "^$file:[0-9]+:[0-9]+: .*workers"
    # the place is the right one
    contains 'line' "$out" "^$file:$(grep -n '^colour' "$file" | cut -d: -f1):1: "
}

test_check_refuses_duplicate_tunnels() {
    lab_conf | sed 's/name: acme-ipsec, type/name: acme-gre, type/; s/tunnel: acme-ipsec/tunnel: acme-gre/' >"$LAB_DIR/dup.yaml"
    contains '--check' "$(checked 1 "$(lab_render "$LAB_DIR/dup.yaml")")" 'acme-gre'
}
test_check_refuses_our_own_address_as_a_customer() {
    lab_conf | sed "s/customer_endpoint: $LAB_CUST2/customer_endpoint: $LAB_EDGE/" >"$LAB_DIR/own.yaml"
    contains '--check' "$(checked 1 "$(lab_render "$LAB_DIR/own.yaml")")" "customer_endpoint"
}
test_check_refuses_an_endpoint_that_is_not_listed() {
    lab_conf | sed "s/type: gre, endpoint: $LAB_EDGE/type: gre, endpoint: 198.51.100.9/" >"$LAB_DIR/far.yaml"
    contains '--check' "$(checked 1 "$(lab_render "$LAB_DIR/far.yaml")")" '198\.51\.100\.9'
}
test_check_refuses_protect_by_a_tunnel_to_elsewhere() {
    wrong 'protect acme-ipsec has another customer_endpoint' gre='protect: acme-ipsec'
}
test_check_refuses_a_route_through_an_unknown_tunnel() {
    wrong 'nowhere' routes='      - {prefix: 10.9.0.0/16, tunnel: nowhere}'
}
test_check_refuses_a_world_readable_secret() {
    local file
    file=$(yaml)
    chmod 644 "$LAB_DIR/conf/acme-ipsec.psk"
    contains '--check' "$(checked 1 "$file")" "^$file:[0-9]+:[0-9]+: .*(0?644|0?600|chmod|readable)"
}
test_check_refuses_a_weak_secret() {
    local file
    file=$(yaml)
    (umask 077; echo short >"$LAB_DIR/conf/acme-ipsec.psk")
    contains '--check' "$(checked 1 "$file")" "^$file:[0-9]+:[0-9]+: .*(weak|short|20)"
}
test_check_refuses_a_secret_file_that_is_missing() {
    local file
    file=$(yaml)
    rm "$LAB_DIR/conf/acme-ipsec.psk"
    contains '--check' "$(checked 1 "$file")" "acme-ipsec.psk"
}

# The account's packets in the daemon's own namespace: a route to the customer's endpoint would loop.
loop_yaml() {
    lab_conf "$@" | sed '/netns: acme/d; s|prefix: 10.2.0.0/16|prefix: 192.0.2.0/24|' >"$LAB_DIR/loop.yaml"
    lab_render "$LAB_DIR/loop.yaml"
}
test_check_refuses_an_encapsulation_loop_and_names_the_remedy() {
    local out
    out=$(checked 1 "$(loop_yaml)")
    contains '--check' "$out" '192\.0\.2\.'
    contains 'remedy' "$out" 'mark'
}
test_check_takes_a_marked_loop() { checked 0 "$(loop_yaml outer='mark: 66')"; }

test_start_with_an_error_does_not_start() {
    local status=0 out
    out=$(aditd --config "$(yaml top='colour: blue')" 2>&1) || status=$?
    expect 'an exit status' [ "$status" -ge 1 ]
    expect 'no time limit' [ "$status" != 124 ]
    contains 'output' "$out" 'colour'
}

test_start_that_fails_is_noticed_at_once() {
    local began=$SECONDS status=0 out
    lab_conf top='colour: blue' >"$LAB_DIR/blue.yaml"
    out=$(lab_aditd_start "$LAB_DIR/blue.yaml" 30 2>&1) || status=$?
    equal 'exit status of the start' "$status" 1
    contains 'what it says' "$out" 'exit status 1.*'
    contains 'the last lines' "$out" 'blue.yaml:[0-9]+:[0-9]+: .*colour'
    expect 'at once' [ $((SECONDS - began)) -lt 10 ]
}

test_10000_tunnels_are_checked_within_a_second() {
    local began ms
    (
        umask 077
        echo 'version: 1'
        echo "endpoints: [$LAB_EDGE]"
        echo 'ike: {identity_domain: ipsec.example.net}'
        echo 'accounts:'
        awk 'BEGIN {
            for (a = 0; a < 100; a++) {
                printf "  - id: \"%d\"\n    name: a%d\n    device: adit%d\n    tunnels:\n", 1000 + a, a, a
                for (t = 0; t < 100; t++) printf "      - {name: t%d, type: gre, endpoint: 198.51.100.2, customer_endpoint: 172.%d.%d.1, interface_address: 10.%d.%d.0/31}\n", t, 16 + a % 10, t + 100 * int(a / 50), a, t
                print "    routes:"
                for (t = 0; t < 100; t++) printf "      - {prefix: 100.%d.%d.0/24, tunnel: t%d}\n", a, t, t
            }
        }' | awk '/customer_endpoint/ { n++; sub(/customer_endpoint: [0-9.]*/, sprintf("customer_endpoint: 172.%d.%d.%d", 16 + int(n / 62500), int(n / 250) % 250, 1 + n % 250)) } { print }'
    ) >"$LAB_DIR/many.yaml"
    began=$(date +%s%N)
    checked 0 "$LAB_DIR/many.yaml" >/dev/null
    ms=$((($(date +%s%N) - began) / 1000000))
    expect "under a second, not $ms ms" [ "$ms" -lt 1000 ]
}

test_tun_address_and_routes_are_in_the_accounts_namespace_only() {
    lab_aditd_conf
    contains 'address' "$(lab_ip acme -o addr show dev adit0)" '10\.255\.0\.2(/31| peer)'
    contains 'address' "$(lab_ip acme -o addr show dev adit0)" '10\.255\.0\.0(/31| peer)'
    contains 'route' "$(lab_ip acme route show 10.2.0.0/16)" 'dev adit0.*mtu (lock )?1476'
    contains 'route' "$(lab_ip acme route show 10.1.0.0/16)" 'dev adit0'
    contains 'IPv6 route' "$(lab_ip acme -6 route show fd00:2::/48)" 'dev adit0'
    equal 'TUN in the edge' "$(lab_ip edge -o link show type tun)" ''
    equal 'routes in the edge' "$(lab_ip edge route show | grep -c '^10\.' || :)" 0
}

test_control_socket_is_for_its_owner_only() {
    expect_not 'others may use it' [ "$(($(stat -c '0%a' "$LAB_DIR/control.sock") & 7))" != 0 ]
}

test_second_instance_in_a_namespace_is_refused() {
    local status=0 out conf
    sed "s|$LAB_DIR/control.sock|$LAB_DIR/second.sock|" "$LAB_DIR/conf/test.yaml" >"$LAB_DIR/conf/second.yaml"
    conf=$LAB_DIR/conf/second.yaml
    out=$(aditd --config "$conf" 2>&1) || status=$?
    expect "an exit status of its own, not $status" [ "$status" != 0 ] && [ "$status" != 124 ]
    contains 'output' "$out" '(already|another|second|in use)'
    lab_ctl status --json >/dev/null
}

test_aditctl_for_people() {
    contains status "$(lab_ctl status)" 'edge-1'
    contains tunnels "$(lab_ctl tunnels)" 'acme-gre +gre +up'
    contains tunnels "$(lab_ctl tunnels)" 'acme-ipsec +ipsec'
    contains 'one tunnel' "$(lab_ctl tunnels acme-gre)" '1476'
    lab_ctl sas
}

test_aditctl_for_programs() {
    lab_ctl status --json | jq -e '.node == "edge-1" and (.version | type) == "string" and (.drops | type) == "object"'
    lab_ctl tunnels --json | jq -e '[.tunnels[] | .account, .name, .type, .state] | length == 8'
    lab_ctl tunnels --json | jq -e '.tunnels[] | select(.name == "acme-gre") | .mtu == 1476 and .mss4 == 1436 and
        (.packets_in | type) == "number" and (.drops | type) == "object"'
    lab_ctl sas --json | jq -e '.sas == [] and .ike_sas == []'
}

test_aditctl_without_a_daemon_says_so() {
    local status=0 out
    out=$(timeout 5 "$LAB_BUILD/aditctl" --socket "$LAB_DIR/nobody.sock" status 2>&1) || status=$?
    expect 'a failure' [ "$status" -ge 1 ]
    contains 'output' "$out" 'nobody.sock'
}

route_of() { lab_ip acme route show "$1"; }

test_reload_follows_the_file() {
    contains 'nothing changed' "$(lab_aditd_reload)" ' 0 rows changed'
    # the route, and what the GRE tunnel takes as a source
    contains 'one route more' "$(lab_aditd_reload routes='      - {prefix: 10.4.0.0/16, tunnel: acme-gre}')" ' 2 rows changed'
    contains 'the new route' "$(route_of 10.4.0.0/16)" 'dev adit0.*mtu (lock )?1476'
    contains 'a tunnel changed' "$(lab_aditd_reload gre='mtu: 1400')" ' 2 rows changed'
    equal 'the route is gone' "$(route_of 10.4.0.0/16)" ''
    contains 'MTU of the route' "$(route_of 10.2.0.0/16)" 'mtu (lock )?1400'
    equal 'MTU that aditctl shows' "$(lab_tunnel acme-gre mtu)" 1400
    contains 'restart needed' "$(lab_aditd_reload outer='mark: 66')" 'restart: outer'
    lab_aditd_reload
}

test_reload_by_sighup() {
    lab_conf routes='      - {prefix: 10.5.0.0/16, tunnel: acme-gre}' >"$LAB_DIR/test.yaml"
    lab_render "$LAB_DIR/test.yaml"
    kill -HUP "$(lab_pid aditd)"
    lab_wait_for 2 eval '[ -n "$(route_of 10.5.0.0/16)" ]'
    lab_aditd_reload
    equal 'the route is gone' "$(route_of 10.5.0.0/16)" ''
}

test_refused_reload_changes_nothing() {
    local before after
    before=$(lab_ip acme route show dev adit0; lab_ctl tunnels --json)
    expect_not 'an unknown key is taken' lab_aditd_reload top='colour: blue'
    after=$(lab_ip acme route show dev adit0; lab_ctl tunnels --json)
    equal 'routes and tunnels' "$after" "$before"
    lab_aditd_reload
}

# The sockets of the first IPsec tunnel cannot be had: all else of that reload must not have happened either, or be undone.
test_reload_that_fails_on_the_way_changes_nothing() {
    local before after said status=0
    lab_aditd_stop
    lab_conf | sed '/acme-ipsec/d' >"$LAB_DIR/gre.yaml"
    lab_aditd_start "$LAB_DIR/gre.yaml"
    before=$(lab_ip acme -d link show dev adit0; lab_ip acme addr show dev adit0; lab_ip acme route show dev adit0
        lab_ctl tunnels --json | jq '.tunnels | map(del(.packets_in, .packets_out, .bytes_in, .bytes_out))')
    lab_spawn busy nsenter --net="/run/netns/$LAB_ID-edge" python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 500))
print("bound", flush=True)
time.sleep(60)'
    lab_wait_for 5 grep -q bound "$LAB_DIR/busy/log"
    lab_conf gre='ttl: 9, mtu: 1300' routes='      - {prefix: 10.66.0.0/16, tunnel: acme-gre}' |
        sed 's/device: adit0/device: adit1/; /fd00:2/d' >"$LAB_DIR/gre.yaml"
    lab_render "$LAB_DIR/gre.yaml" >/dev/null
    said=$(lab_ctl reload 2>&1) || status=$?
    expect 'a refusal' [ "$status" != 0 ]
    contains 'what it says' "$said" 'UDP port 500 is in use'
    after=$(lab_ip acme -d link show dev adit0; lab_ip acme addr show dev adit0; lab_ip acme route show dev adit0
        lab_ctl tunnels --json | jq '.tunnels | map(del(.packets_in, .packets_out, .bytes_in, .bytes_out))')
    equal 'device, addresses, routes and tunnels' "$after" "$before"
    equal 'lines of a failed rollback' "$(lab_aditd_log | grep -c 'rollback_failed\|inside\.')" 0
    lab_stop busy KILL >/dev/null || :
    contains 'the same reload now' "$(lab_ctl reload)" 'rows changed'
    contains 'its route' "$(lab_ip acme route show dev adit1)" '10.66.0.0/16'
    lab_aditd_conf
}

test_namespace_that_goes_and_comes_back() {
    ip netns del "$LAB_ID-made" 2>/dev/null || :
    ip netns add "$LAB_ID-made"
    lab_conf | sed "s/netns: acme/netns: $LAB_ID-made/" >"$LAB_DIR/made.yaml"
    lab_aditd_stop
    lab_aditd_start "$LAB_DIR/made.yaml"
    ip netns del "$LAB_ID-made"
    lab_wait_for 5 eval '[ "$(lab_tunnel acme-gre state)" = down ]'
    contains warning "$(lab_ctl status)" "warning.*account acme.*$LAB_ID-made"
    ip netns add "$LAB_ID-made"
    lab_wait_for 5 eval '[ "$(lab_tunnel acme-gre state)" = up ]'
    contains route "$(ip -n "$LAB_ID-made" route show 10.2.0.0/16)" 'dev adit0'
    lab_aditd_conf
    ip netns del "$LAB_ID-made"
}

# Clients that ask too much, do not read, or only hold their place, beside one that behaves.
test_control_socket_bears_bad_clients() {
    python3 - "$LAB_DIR/control.sock" <<'PYTHON'
import json, socket, sys
def client():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(3)
    s.connect(sys.argv[1])
    return s
def ask(s, what):
    s.sendall(what)
    return s.makefile().readline()
places = [client() for _ in range(16)]
late = client()
late.sendall(b'{"cmd":"status"}\n')
places.pop().close()
assert "result" in json.loads(late.makefile().readline()), "the 17th is answered when a place is free"
late.close()
s = places.pop()
s.sendall(b'{"cmd":"status"}\n{"cmd":"nope"}\n\n[1]\n')
s.shutdown(socket.SHUT_WR)
kinds = [next(iter(json.loads(line))) for line in s.makefile()]
assert kinds == ["result", "error", "error", "error"], kinds
s = places.pop()
try:
    s.sendall(b"x" * 100000)
    assert s.recv(1) == b"", "a request without end is answered"
except ConnectionError:
    pass
s = places.pop()
s.settimeout(0.2)
try:
    while True:
        s.sendall(b'{"cmd":"tunnels"}\n')
except TimeoutError:
    pass
assert "result" in json.loads(ask(places.pop(), b'{"cmd":"status"}\n')), "others are answered"
PYTHON
    lab_ctl status >/dev/null
}

test_stop_removes_everything_and_a_start_follows() {
    local _
    for _ in 1 2; do
        equal 'exit status' "$(lab_aditd_stop)" 0
        equal 'TUN' "$(lab_ip acme -o link show type tun)" ''
        equal 'routes' "$(lab_ip acme route show | grep -c adit0 || :)" 0
        expect_not 'the control socket stays' [ -e "$LAB_DIR/control.sock" ]
        equal 'processes left in the edge' "$(ip netns pids "$LAB_ID-edge" | wc -l)" 0
        lab_aditd_conf
    done
}

# One after the other the kernel needs some 20 ms for each device that goes: systemd's patience would end before it does.
many_accounts() { # COUNT
    echo 'version: 1'
    echo "endpoints: [$LAB_EDGE]"
    echo 'control: {path: /run/adit/control.sock}'
    echo 'accounts:'
    for i in $(seq "$1"); do
        echo "  - {id: \"$i\", name: a$i, device: many$i, tunnels: [{name: t, type: gre, endpoint: $LAB_EDGE, customer_endpoint: 203.0.$((i / 250)).$((i % 250 + 1)), interface_address: 10.$((i / 250)).$((i % 250)).0/31}]}"
    done
}
devices() { lab_ip edge -o link show | grep -c ' many[0-9]*:'; }
since() { echo $((($(date +%s%N) - $1) / 1000000)); } # in ms

# One after the other, 200 take four seconds.
test_many_accounts_leave_together() {
    local began ms
    lab_aditd_stop
    many_accounts 400 >"$LAB_DIR/many.yaml"
    lab_aditd_start "$LAB_DIR/many.yaml" 30
    equal devices "$(devices)" 400
    many_accounts 200 >"$LAB_DIR/many.yaml"
    lab_render "$LAB_DIR/many.yaml" >/dev/null
    began=$(date +%s%N)
    lab_ctl reload
    ms=$(since "$began")
    equal 'devices left' "$(devices)" 200
    echo "# reload without 200 devices: $ms ms"
    expect "reload under 2 s, not $ms ms" [ "$ms" -lt 2000 ]
    began=$(date +%s%N)
    equal 'exit status' "$(lab_stop aditd TERM 20)" 0
    ms=$(since "$began")
    equal 'devices left' "$(devices)" 0
    echo "# stop with 200 devices: $ms ms"
    expect "stop under 2 s, not $ms ms" [ "$ms" -lt 2000 ]
    lab_aditd_conf
}

test_kill_leaves_nothing_that_hinders_the_next_start() {
    lab_stop aditd KILL || :
    lab_wait_for 3 eval '[ -z "$(ip netns pids "$LAB_ID-edge")" ]'
    lab_wait_for 3 eval '[ -z "$(lab_ip acme -o link show type tun)" ]'
    lab_aditd_conf
}

test_shutdown_by_aditctl() {
    lab_ctl shutdown --delete
    lab_wait_for 3 test -e "$LAB_DIR/aditd/rc"
    equal 'exit status' "$(cat "$LAB_DIR/aditd/rc")" 0
    rm -f "$LAB_DIR/aditd/pid"
}

test_missing_namespace_is_named() {
    local status=0 out
    out=$(aditd --config "$(yaml | xargs -I{} sh -c 'sed -i "s/netns: .*-acme/netns: '"$LAB_ID"'-nosuch/" {}; echo {}')" 2>&1) || status=$?
    expect "an exit status of its own, not $status" [ "$status" != 0 ] && [ "$status" != 124 ]
    contains 'output' "$out" "$LAB_ID-nosuch"
}

test_namespace_is_made_where_create_says_so() {
    lab_conf | sed "s/netns: acme/netns: $LAB_ID-made\n    create: true/" >"$LAB_DIR/made.yaml"
    lab_aditd_start "$LAB_DIR/made.yaml"
    contains 'link' "$(ip -n "$LAB_ID-made" -o link show)" adit0
    equal 'exit status' "$(lab_aditd_stop)" 0
}

# The daemon's descriptors keep a deleted namespace alive, so nothing but its name tells.
test_deleted_namespace_is_noticed_and_its_tun_made_anew() {
    lab_conf | sed "s/netns: acme/netns: $LAB_ID-gone/" >"$LAB_DIR/gone.yaml"
    ip netns add "$LAB_ID-gone"
    lab_aditd_start "$LAB_DIR/gone.yaml"
    ip netns del "$LAB_ID-gone"
    lab_wait_for 5 eval 'lab_aditd_log | grep -q inside.lost'
    ip netns add "$LAB_ID-gone"
    lab_wait_for 5 eval '[ -n "$(ip -n "$LAB_ID-gone" route show 10.2.0.0/16 proto 173)" ]'
    contains 'log' "$(lab_aditd_log)" 'inside.recovered'
    equal 'exit status' "$(lab_aditd_stop)" 0
    ip netns del "$LAB_ID-gone"
}

# A route of the operator's own: it stays, ours to that prefix is refused, everything else works; both are told apart at the end.
test_foreign_route_stays() {
    lab_ip acme route add 10.2.0.0/16 dev srv0
    lab_aditd_conf
    contains 'log' "$(lab_aditd_log)" 'inside.refused.*10\.2\.0\.0/16'
    contains 'theirs' "$(lab_ip acme route show 10.2.0.0/16)" 'dev srv0'
    contains 'ours' "$(lab_ip acme route show proto 173)" '10\.1\.0\.0/16 dev adit0'
    equal 'exit status' "$(lab_aditd_stop)" 0
    contains 'theirs' "$(lab_ip acme route show 10.2.0.0/16)" 'dev srv0'
    lab_ip acme route del 10.2.0.0/16 dev srv0
}

# without NAME...: start aditd as root that lacks these capabilities; what it says.
without() {
    local drop status=0 out
    drop=$(printf ',-%s' "$@")
    out=$(timeout 20 nsenter --net="/run/netns/$LAB_ID-edge" setpriv --bounding-set="${drop#,}" --inh-caps="${drop#,}" \
        "$LAB_BUILD/aditd" --config "$(yaml)" 2>&1) || status=$?
    [ "$status" != 0 ] && [ "$status" != 124 ] || { echo "exit status $status"; return 1; }
    printf '%s\n' "$out"
}
test_missing_capability_is_named() {
    contains 'all missing' "$(without all)" 'CAP_NET_(ADMIN|RAW)'
    contains 'one missing' "$(without net_raw)" CAP_NET_RAW
    contains 'one missing' "$(without sys_admin)" CAP_SYS_ADMIN
}

test_endpoint_that_is_no_local_address_is_warned_of() {
    lab_ip edge addr del "$LAB_EDGE/32" dev lo
    lab_aditd_conf
    contains 'log' "$(lab_aditd_log)" "$LAB_EDGE"
    lab_aditd_stop
    lab_ip edge addr add "$LAB_EDGE/32" dev lo
}

tap_main setup test_version_names_what_is_in_it test_check_accepts_the_demo \
    test_check_says_what_is_accepted_but_not_active_yet test_check_names_every_error_with_its_place \
    test_check_refuses_duplicate_tunnels test_check_refuses_our_own_address_as_a_customer \
    test_check_refuses_an_endpoint_that_is_not_listed test_check_refuses_a_route_through_an_unknown_tunnel \
    test_check_refuses_protect_by_a_tunnel_to_elsewhere test_check_refuses_a_world_readable_secret \
    test_check_refuses_a_weak_secret \
    test_check_refuses_a_secret_file_that_is_missing test_check_refuses_an_encapsulation_loop_and_names_the_remedy \
    test_check_takes_a_marked_loop test_start_with_an_error_does_not_start \
    test_start_that_fails_is_noticed_at_once \
    test_10000_tunnels_are_checked_within_a_second test_tun_address_and_routes_are_in_the_accounts_namespace_only \
    test_control_socket_is_for_its_owner_only test_second_instance_in_a_namespace_is_refused test_aditctl_for_people \
    test_aditctl_for_programs test_aditctl_without_a_daemon_says_so test_reload_follows_the_file test_reload_by_sighup \
    test_refused_reload_changes_nothing \
    test_reload_that_fails_on_the_way_changes_nothing test_control_socket_bears_bad_clients \
    test_namespace_that_goes_and_comes_back test_stop_removes_everything_and_a_start_follows \
    test_many_accounts_leave_together \
    test_kill_leaves_nothing_that_hinders_the_next_start test_shutdown_by_aditctl test_missing_namespace_is_named \
    test_namespace_is_made_where_create_says_so test_deleted_namespace_is_noticed_and_its_tun_made_anew \
    test_foreign_route_stays test_missing_capability_is_named \
    test_endpoint_that_is_no_local_address_is_warned_of
