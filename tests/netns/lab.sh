# shellcheck shell=bash
# The lab: customers, an internet and an edge server in network namespaces. Sourced by demo, lab and test_*.sh.
#
#    lan1            cust1                                                    edge              acme             srv
#  10.1.0.2 --- lan0  10.1.0.1/24                                           (aditd)
#                     strongSwan 6.1                                       anycast address
#                     eth0 192.0.2.2/24 ----.                          lo 198.51.100.2/32
#                                            \        internet
#                                             br0  192.0.2.1/24              |                adit0
#                                            /     wan0 203.0.113.1/30 ------|- eth0          (TUN, made by aditd,
#                     vec0 192.0.2.3/24 ----'                            203.0.113.2/30        lives in acme)
#                     gre1 10.255.0.3/31   (TAP                                                  |
#                     lo   10.2.0.1/32      cust2)                                             srv0 10.0.0.1/24 --- eth0 10.0.0.2/24
#                  cust2: a real Linux kernel                                                  fd00::1/64           fd00::2/64
#                  (User Mode Linux)                                                                            iperf3, ping
#
#  acme-ipsec  192.0.2.2 <-> 198.51.100.2   IKEv2 + ESP, 10.255.0.0/31 (ours .0)   10.1.0.0/16, fd00:1::/48 behind it
#  acme-gre    192.0.2.3 <-> 198.51.100.2   GRE          10.255.0.2/31 (ours .2)   10.2.0.0/16, fd00:2::/48 behind it
#
# Every name on the host is unique to a run: namespaces adit<pid>-edge, ..., one folder LAB_DIR for everything
# else. lab_down removes all of it; lab_up first reaps what runs left behind that had no time to (kill -9).
# No packet on any wire is longer than 1500 bytes: segmentation offloads are off at every sender (GRO is on at
# the receivers, off in the internet).
#
# cust2 is not a namespace: it is the User Mode Linux, whose Ethernet is a TAP port of the internet's bridge.
# ADIT_LAB_GRE=host uses the host kernel's ip_gre in a namespace instead, where the host has it.

# shellcheck disable=SC2016  # $ in texts for other shells
set -u
LAB_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_TREE=$(cd "$LAB_HERE/../.." && pwd)
LAB_BUILD=$(cd "$LAB_TREE" && realpath -m "${ADIT_BUILD:-${BUILD:-build}}")    # BUILD: of a calling make
LAB_ID=adit$$
LAB_DIR=
LAB_ROOT=
LAB_EDGE=198.51.100.2
LAB_CUST1=192.0.2.2
LAB_CUST2=192.0.2.3
# How the account and the tunnel are called in generated identities: by their ids.
LAB_ACCOUNT=123456789
LAB_TUNNEL=f5407d8db1a542b196c59f6d04ba8bd1
LAB_PSK='correct-horse-battery-staple-2741'
LAB_PROPOSAL_HYBRID=aes256gcm16-prfsha384-ecp384-ke1_mlkem768
LAB_PROPOSAL_CLASSIC=aes256gcm16-prfsha384-ecp384
LAB_ESP=aes256gcm16
LAB_TOOLS='ip nsenter unshare ethtool tcpdump iperf3 ping jq python3 flock mmdebstrap'

lab_say() { printf '%s\n' "$*" >&2; }
lab_fail() { lab_say "lab: $*"; return 1; }

# ---- small tools

# lab_wait_for SECONDS COMMAND...: poll until COMMAND succeeds.
lab_wait_for() {
    local limit=$1 end
    shift
    end=$(($(date +%s%N) + limit * 1000000000))
    until "$@" >/dev/null 2>&1; do
        if [ "$(date +%s%N)" -ge "$end" ]; then lab_fail "not within $limit s: $*"; return 1; fi
        sleep 0.05
    done
}

# What this machine lacks, in words; nothing if it can run the lab.
lab_missing() {
    local tool
    [ "$(id -u)" = 0 ] || { echo 'needs root'; return; }
    for tool in $LAB_TOOLS; do
        command -v "$tool" >/dev/null || { echo "no $tool: run conf/setup/deps test"; return; }
    done
    [ -c /dev/net/tun ] || { echo 'no /dev/net/tun on this machine'; return; }
    unshare --net --mount true 2>/dev/null || echo 'may not make namespaces here (container without CAP_SYS_ADMIN?)'
}

# ns NAME COMMAND...: run in a namespace of the lab.
ns() {
    local name=$1
    shift
    nsenter --net="/run/netns/$LAB_ID-$name" -- "$@"
}

# ---- processes: each has a folder of its name with pid, log and, at its end, rc

lab_spawn() {    # NAME COMMAND...
    local dir=$LAB_DIR/$1
    shift
    mkdir -p "$dir"
    rm -f "$dir/pid" "$dir/rc"
    (
        set +e   # the caller's must not end this before rc is written
        trap '' INT
        sh -c 'echo $$ >"$0"; exec "$@"' "$dir/pid" "$@" </dev/null
        echo $? >"$dir/rc.tmp" && mv "$dir/rc.tmp" "$dir/rc"
    ) >>"$dir/log" 2>&1 &
    lab_wait_for 5 test -s "$dir/pid"
}

lab_pid() { cat "$LAB_DIR/$1/pid"; }
lab_alive() { [ -s "$LAB_DIR/$1/pid" ] && [ ! -e "$LAB_DIR/$1/rc" ]; }

# lab_stop NAME [SIGNAL [SECONDS]]: end it, print its exit status; killed if it does not end in time.
lab_stop() {
    local name=$1
    [ -s "$LAB_DIR/$name/pid" ] || return 0
    if lab_alive "$name"; then
        kill "-${2:-TERM}" "$(lab_pid "$name")" 2>/dev/null || :
        if ! lab_wait_for "${3:-5}" test -e "$LAB_DIR/$name/rc"; then
            kill -KILL "$(lab_pid "$name")" 2>/dev/null || :
            lab_wait_for 2 test -e "$LAB_DIR/$name/rc" || :
            rm -f "$LAB_DIR/$name/pid"
            return 1
        fi
    fi
    cat "$LAB_DIR/$name/rc"
    rm -f "$LAB_DIR/$name/pid"
}

# ---- the namespaces

lab_ns_add() {
    local name
    for name; do
        ip netns add "$LAB_ID-$name"
        ns "$name" sh -c '
            for f in all default; do
                echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter
                echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad
                echo 0 >/proc/sys/net/ipv6/conf/$f/router_solicitations
            done
            echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            # the wires of the outside carry no IPv6 chatter; inside it is a customer protocol
            case $1 in edge|internet|cust1|cust2) echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 ;; esac
            ip link set lo up' sh "$name"
    done
}

# lab_wire NS1 DEV1 NS2 DEV2: a cable that carries real frames.
lab_wire() {
    ip link add "$2" netns "$LAB_ID-$1" type veth peer name "$4" netns "$LAB_ID-$3"
    lab_wire_end "$1" "$2"
    lab_wire_end "$3" "$4"
}
# Senders cut their segments themselves; receivers may merge (GRO), but the routers of the internet do not.
lab_wire_end() {
    local gro=on
    [ "$1" != internet ] || gro=off
    ns "$1" ethtool -K "$2" tso off gso off tx-udp-segmentation off gro $gro >/dev/null
    ip -n "$LAB_ID-$1" link set "$2" up
}

lab_ip() { local n=$1; shift; ip -n "$LAB_ID-$n" "$@"; }

lab_up() {
    local missing
    missing=$(lab_missing)
    [ -z "$missing" ] || { lab_fail "$missing"; return 1; }
    lab_reap
    trap lab_down EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    LAB_ROOT=$("$LAB_HERE/peers-root") || { lab_fail "no peers' root"; return 1; }
    LAB_DIR=$(mktemp -d "/tmp/$LAB_ID.XXXXXX") || return 1
    awk '{ print $22 }' /proc/$$/stat >"$LAB_DIR/started"
    lab_ns_add edge internet cust1 lan1 acme srv || return 1

    lab_wire internet wan0 edge eth0
    lab_ip internet addr add 203.0.113.1/30 dev wan0
    lab_ip edge addr add 203.0.113.2/30 dev eth0
    lab_ip edge addr add $LAB_EDGE/32 dev lo
    lab_ip edge route add default via 203.0.113.1
    lab_ip internet route add $LAB_EDGE via 203.0.113.2

    lab_ip internet link add br0 type bridge forward_delay 0 mcast_snooping 0
    lab_ip internet addr add 192.0.2.1/24 dev br0
    lab_ip internet link set br0 up
    lab_wire internet cust1 cust1 eth0
    lab_ip internet link set cust1 master br0
    lab_ip cust1 addr add $LAB_CUST1/24 dev eth0
    lab_ip cust1 route add default via 192.0.2.1

    lab_wire cust1 lan0 lan1 eth0
    lab_ip cust1 addr add 10.1.0.1/24 dev lan0
    lab_ip lan1 addr add 10.1.0.2/24 dev eth0
    lab_ip lan1 route add default via 10.1.0.1

    lab_wire acme srv0 srv eth0
    lab_ip acme addr add 10.0.0.1/24 dev srv0
    lab_ip acme addr add fd00::1/64 dev srv0
    lab_ip srv addr add 10.0.0.2/24 dev eth0
    lab_ip srv addr add fd00::2/64 dev eth0
    lab_ip srv route add default via 10.0.0.1
    lab_ip srv route add default via fd00::1
    lab_spawn iperf3-srv nsenter --net="/run/netns/$LAB_ID-srv" iperf3 -s
}

lab_down() {
    local status=$? name
    trap - EXIT
    trap '' INT TERM HUP
    if [ "${LAB_KEEP:-}" = logs ] && [ -d "$LAB_DIR" ]; then lab_say "lab: logs kept in $LAB_DIR"; fi
    [ ! -s "$LAB_DIR/aditd/pid" ] || lab_stop aditd TERM 3 >/dev/null 2>&1
    for name in $(ip netns list 2>/dev/null | awk -v p="$LAB_ID-" 'index($1, p) == 1 { print $1 }'); do
        lab_ns_remove "$name"
    done
    [ -z "$LAB_DIR" ] || [ "${LAB_KEEP:-}" = logs ] || rm -rf --one-file-system "$LAB_DIR"
    exit "$status"
}

lab_ns_remove() {    # full name
    local pids
    # twice: a shell that waits for a killed child may start another
    for _ in 1 2; do
        pids=$(ip netns pids "$1" 2>/dev/null) || :
        # shellcheck disable=SC2086  # several numbers
        [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || :
    done
    ip netns del "$1" 2>/dev/null || :
}

# Namespaces and folders whose owner is gone. A pid may have been given to somebody else: its start time tells.
lab_reap() {
    local dir id pid name
    for dir in /tmp/adit[0-9]*.??????; do
        [ -d "$dir" ] || continue
        id=${dir#/tmp/}
        id=${id%%.*}
        pid=${id#adit}
        if [ -r "$dir/started" ] && [ "$(awk '{ print $22 }' "/proc/$pid/stat" 2>/dev/null)" = "$(cat "$dir/started")" ]; then
            continue
        fi
        [ -r "$dir/started" ] || [ ! -d "/proc/$pid" ] || continue
        for name in $(ip netns list 2>/dev/null | awk -v p="$id-" 'index($1, p) == 1 { print $1 }'); do
            lab_ns_remove "$name"
        done
        rm -rf --one-file-system "$dir"
    done
    for name in $(ip netns list 2>/dev/null | awk '$1 ~ /^adit[0-9]+-/ { print $1 }'); do
        pid=${name#adit}
        pid=${pid%%-*}
        [ -d "/proc/$pid" ] || lab_ns_remove "$name"
    done
}

# ---- strongSwan

# lab_inroot FOLDER COMMAND...: run a command in the peers' root; FOLDER is /lab there. In the caller's namespace.
lab_inroot() {
    local folder=$1
    shift
    unshare --mount --pid --fork --kill-child "$LAB_HERE/inroot" "$LAB_ROOT" "$folder" "$@"
}

# lab_strongswan_conf EXTRA PLUGINS: strongswan.conf; lines for the section charon, and for its plugins.
lab_strongswan_conf() {
    cat <<CONF
charon {
    load_modular = yes
    install_virtual_ip = no
    retry_initiate_interval = 0
    retransmit_timeout = 1.0
    retransmit_base = 1.2
    retransmit_tries = 4
    $1
    plugins {
        include /etc/strongswan.d/charon/*.conf
        $2
    }
    filelog {
        lab {
            path = /lab/charon.log
            flush_line = yes
            default = 1
            ike = 2
            net = 1
        }
    }
}
CONF
}

# lab_strongswan_start NAME [NS [EXTRA]]: one charon that does ESP itself. EXTRA: lines for the section charon.
# fwmark: the selectors may cover the peer's own address, and IKE and ESP must not be routed into ipsec0.
lab_strongswan_start() {
    local name=$1 dir=$LAB_DIR/$1
    mkdir -p "$dir"
    lab_strongswan_conf "${3:-}" '
        kernel-libipsec {
            load = yes
            raw_esp = yes
            allow_peer_ts = yes
        }
        kernel-netlink {
            fwmark = !0x42
        }
        socket-default {
            fwmark = 0x42
        }
        vici {
            socket = unix:///lab/vici
        }' >"$dir/strongswan.conf"
    lab_spawn "$name" nsenter --net="/run/netns/$LAB_ID-${2:-cust1}" unshare --mount --pid --fork --kill-child \
        "$LAB_HERE/inroot" "$LAB_ROOT" "$dir" env STRONGSWAN_CONF=/lab/strongswan.conf /usr/lib/ipsec/charon
    if ! lab_wait_for 10 lab_swanctl "$name" --stats; then tail -n 20 "$dir/log" >&2; return 1; fi
}

# Its end: charon tells the peer (Delete) where it can.
lab_strongswan_stop() {
    [ -s "$LAB_DIR/$1/pid" ] || return 0
    pkill -TERM -P "$(lab_pid "$1")" 2>/dev/null || :
    lab_wait_for 5 test -e "$LAB_DIR/$1/rc" || lab_stop "$1" KILL >/dev/null
    rm -f "$LAB_DIR/$1/pid" "$LAB_DIR/$1/vici"
}

lab_swanctl() {    # NAME ARGUMENTS...
    local name=$1 command=$2
    shift 2
    lab_inroot "$LAB_DIR/$name" swanctl "$command" --uri unix:///lab/vici "$@"
}

lab_swanctl_conf() {    # NAME <conf
    local dir=$LAB_DIR/$1/swanctl
    mkdir -p "$dir"/{x509,x509ca,x509ocsp,x509aa,x509ac,x509crl,pubkey,private,rsa,ecdsa,pkcs8,pkcs12}
    cat >"$dir/swanctl.conf"
}

# lab_swanctl_load NAME <conf: replaces all connections and secrets. swanctl looks for keys beside the file.
lab_swanctl_load() {
    lab_swanctl_conf "$1"
    lab_swanctl "$1" --load-all --clear --file /lab/swanctl/swanctl.conf
}

# lab_customer_conf [KEY=VALUE...]: swanctl.conf of the customer's connection "acme" with child "net". The keys id,
# psk, proposals, esp, local_addrs, remote_addrs, local_ts, remote_ts; conn.KEY and child.KEY go into those sections as they are.
lab_customer_conf() {
    local id=$LAB_TUNNEL.$LAB_ACCOUNT.ipsec.example.net psk=$LAB_PSK proposals=$LAB_PROPOSAL_HYBRID esp=$LAB_ESP
    local local_ts=10.1.0.0/16 remote_ts=10.0.0.0/16 local_addrs=$LAB_CUST1 remote_addrs=$LAB_EDGE conn='' child='' arg key
    for arg; do
        key=${arg%%=*}
        case $key in
        conn.*) conn+="${key#conn.} = ${arg#*=}"$'\n' ;;
        child.*) child+="${key#child.} = ${arg#*=}"$'\n' ;;
        id|psk|proposals|esp|local_ts|remote_ts|local_addrs|remote_addrs) printf -v "$key" %s "${arg#*=}" ;;
        *) lab_fail "lab_customer_conf: no key $key"; return 1 ;;
        esac
    done
    cat <<CONF
connections {
    acme {
        version = 2
        local_addrs = $local_addrs
        remote_addrs = $remote_addrs
        proposals = $proposals
        mobike = no
        $conn
        local {
            auth = psk
            id = $id
        }
        remote {
            auth = psk
            id = $LAB_EDGE
        }
        children {
            net {
                local_ts = $local_ts
                remote_ts = $remote_ts
                esp_proposals = $esp
                $child
            }
        }
    }
}
secrets {
    ike-acme {
        id = $LAB_EDGE
        secret = "$psk"
    }
}
CONF
}

# lab_ipsec_up [KEY=VALUE...]: load that configuration into cust1 and bring it up; output of --initiate.
lab_ipsec_up() {
    lab_customer_conf "$@" | lab_swanctl_load cust1 >/dev/null || return 1
    lab_swanctl cust1 --initiate --child net --timeout 20
}
lab_ipsec_down() { lab_swanctl cust1 --terminate --ike acme --timeout 5 >/dev/null 2>&1 || :; }

# ---- the customer with the kernel's GRE

lab_gre_kind() {
    if [ "${ADIT_LAB_GRE:-uml}" = uml ] && [ -x "$LAB_ROOT/usr/bin/linux.uml" ]; then echo uml; else echo host; fi
}

# lab_gre_start: the customer's router boots; no tunnel yet.
lab_gre_start() {
    if [ "$(lab_gre_kind)" = uml ]; then lab_uml_start; else lab_gre_host_start; fi || return 1
    lab_gre_exec "
        ip addr replace $LAB_CUST2/24 dev eth0
        ip link set lo up; ip link set eth0 up
        ip route replace default via 192.0.2.1
        ip addr replace 10.2.0.1/32 dev lo
        ip addr replace fd00:2::1/128 dev lo
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
}

# lab_gre_tunnel [OPTIONS of ip link add type gre...]: (re)make gre1.
lab_gre_tunnel() {
    lab_gre_exec "
        ip link del gre1 2>/dev/null
        ip link add gre1 type gre local $LAB_CUST2 remote $LAB_EDGE ttl 64 $* &&
        ip addr add 10.255.0.3/31 dev gre1 && ip link set gre1 up &&
        ip route add 10.0.0.0/16 dev gre1 src 10.2.0.1 &&
        ip -6 route add fd00::/64 dev gre1 src fd00:2::1"
}

lab_uml_start() {
    local dir=$LAB_DIR/cust2
    mkdir -p "$dir"
    rm -f "$dir"/*.rc "$dir/ready" "$dir/in"
    cp "$LAB_HERE/uml-init" "$dir/"
    mkfifo "$dir/in"
    echo 0 >"$dir/number"
    # HOME: UML segfaults without a writable one. The pipe: its console wants no file.
    lab_spawn cust2 nsenter --net="/run/netns/$LAB_ID-internet" bash -c '
        exec 7<>"$1/in"
        shift
        "$@" 2>&1 | cat
    ' bash "$dir" "$LAB_HERE/tapexec" cust2 unshare --mount --pid --fork --kill-child \
        "$LAB_HERE/inroot" "$LAB_ROOT" "$dir" env HOME=/run linux.uml mem=256M \
        root=/dev/root rootfstype=hostfs rootflags=/ rw con=null con0=null,fd:1 con1=fd:7,null init=/lab/uml-init \
        vec0:transport=fd,fd=9,vec=0 umid=cust2 || return 1
    lab_wait_for 5 lab_ip internet link show cust2 || { tail -n 20 "$dir/log" >&2; return 1; }
    lab_ip internet link set cust2 master br0 up
    lab_wait_for 20 test -e "$dir/ready" || { tail -n 30 "$dir/log" >&2; return 1; }
    lab_gre_exec 'ip link set vec0 name eth0; modprobe -a ip_gre ip6_gre'
}

lab_gre_host_start() {
    lab_ns_add cust2
    lab_wire internet cust2 cust2 eth0
    lab_ip internet link set cust2 master br0
    lab_ip cust2 link add probe0 type gre local $LAB_CUST2 remote $LAB_EDGE 2>/dev/null || {
        lab_fail "no GRE customer: neither User Mode Linux in the peers' root nor ip_gre in this kernel"
        return 1
    }
    lab_ip cust2 link del probe0
}

# lab_gre_exec 'SHELL COMMAND': on the customer's router; its output and exit status.
lab_gre_exec() {
    local dir=$LAB_DIR/cust2 n
    if [ "$(lab_gre_kind)" = host ]; then ns cust2 bash -c "$1"; return; fi
    n=$(flock "$dir/number" sh -c 'n=$(($(cat "$1") + 1)); echo $n | tee "$1"' sh "$dir/number")
    printf '%s %s\n' "$n" "$(printf %s "$1" | base64 -w0)" >"$dir/in"
    until [ -e "$dir/$n.rc" ]; do
        lab_alive cust2 || { tail -n 20 "$dir/log" >&2; lab_fail 'the GRE customer died'; return 1; }
        sleep 0.02
    done
    cat "$dir/$n.out"
    return "$(cat "$dir/$n.rc")"
}

# ---- the customer with the kernel's ESP: strongSwan on the same router, which only does IKE there

lab_kernel_start() {
    lab_strongswan_conf '' '
        vici {
            socket = unix:///run/vici
        }' >"$LAB_DIR/cust2/strongswan.conf"
    lab_gre_exec '
        modprobe -a esp4 xfrm_user gcm ctr cbc authenc seqiv echainiv hmac || exit 1
        modprobe crypto_null 2>/dev/null
        STRONGSWAN_CONF=/lab/strongswan.conf setsid /usr/lib/ipsec/charon >/lab/charon.out 2>&1 &
        for i in $(seq 100); do swanctl --stats --uri unix:///run/vici >/dev/null 2>&1 && exit 0; sleep 0.1; done
        cat /lab/charon.out; exit 1'
}
lab_kernel_swanctl() { lab_gre_exec "swanctl $1 --uri unix:///run/vici ${*:2} 2>&1"; }
# lab_kernel_up [KEY=VALUE...]: like lab_ipsec_up.
lab_kernel_up() {
    lab_customer_conf local_addrs=$LAB_CUST2 "$@" | lab_swanctl_conf cust2 || return 1
    lab_kernel_swanctl --load-all --clear --file /lab/swanctl/swanctl.conf >/dev/null || return 1
    lab_kernel_swanctl --initiate --child net --timeout 20
}
lab_kernel_down() { lab_kernel_swanctl --terminate --ike acme --timeout 5 >/dev/null || :; }

# ---- aditd

# lab_render FILE: a configuration for this run. The account's namespace gets its unique name, the secret is written
# beside it (0600: git keeps no such mode), the control socket goes into the run's folder.
lab_render() {
    local dir=$LAB_DIR/conf out
    mkdir -p "$dir"
    out=$dir/$(basename "$1")
    rm -f "$dir/acme-ipsec.psk" # an older one may have another mode
    (umask 077 && printf '%s\n' "$LAB_PSK" >"$dir/acme-ipsec.psk")
    sed -E -e "s/(netns: *)acme\b/\1$LAB_ID-acme/" \
        -e "s|(psk_file: *)acme-ipsec.psk|\1$dir/acme-ipsec.psk|" \
        -e "s|/run/adit/control.sock|$LAB_DIR/control.sock|" "$1" >"$out"
    printf '%s\n' "$out"
}

# lab_conf [KEY=TEXT...]: the YAML that tests use, ready for lab_aditd_start. pq=, gre= (further keys of acme-gre),
# ipsec= (of acme-ipsec), customer= (its address), top= (lines of the section ike), outer= (keys of that section), routes= and tunnels=
# (further items), workers= (ADIT_LAB_WORKERS: by default, to run any file of tests with them).
lab_conf() {
    local pq=require gre='' ipsec='' customer=$LAB_CUST1 gre_customer=$LAB_CUST2 top='' outer='' routes='' tunnels='' arg
    local workers=${ADIT_LAB_WORKERS:-0}
    for arg; do
        case ${arg%%=*} in
        pq|gre|ipsec|customer|gre_customer|top|outer|routes|tunnels|workers) printf -v "${arg%%=*}" %s "${arg#*=}" ;;
        *) lab_fail "lab_conf: no key ${arg%%=*}"; return 1 ;;
        esac
    done
    cat <<YAML
version: 1
workers: $workers
node: {name: edge-1}
endpoints: [$LAB_EDGE]
control: {path: /run/adit/control.sock}
outer: {$outer}
ike:
  identity_domain: ipsec.example.net
$top
accounts:
  - id: "123456789"
    name: acme
    netns: acme
    device: adit0
    tunnels:
      - {name: acme-gre, type: gre, endpoint: $LAB_EDGE, customer_endpoint: $gre_customer, interface_address: 10.255.0.2/31${gre:+, $gre}}
      - {name: acme-ipsec, type: ipsec, id: f5407d8db1a542b196c59f6d04ba8bd1, endpoint: $LAB_EDGE, customer_endpoint: $customer, interface_address: 10.255.0.0/31, psk_file: acme-ipsec.psk, pq: $pq${ipsec:+, $ipsec}}
$tunnels
    routes:
      - {prefix: 10.1.0.0/16, tunnel: acme-ipsec, priority: 100}
      - {prefix: 10.2.0.0/16, tunnel: acme-gre, priority: 100, weight: 64}
      - {prefix: "fd00:2::/48", tunnel: acme-gre}
$routes
YAML
}

# lab_aditd_start FILE [SECONDS]: rendered, started in the edge, waited for.
lab_aditd_start() {
    local conf
    [ -x "$LAB_BUILD/aditd" ] || { lab_fail "no $LAB_BUILD/aditd: run make"; return 1; }
    conf=$(lab_render "$1") || return 1
    mkdir -p "$LAB_DIR/aditd"
    : >"$LAB_DIR/aditd/log"
    lab_spawn aditd nsenter --net="/run/netns/$LAB_ID-edge" "$LAB_BUILD/aditd" --config "$conf"
    lab_wait_for "${2:-5}" lab_aditd_settled || :
    if ! lab_aditd_ready; then
        lab_fail "aditd did not come up: $(lab_alive aditd && echo 'it runs, but does not answer' || echo "exit status $(cat "$LAB_DIR/aditd/rc")"); its log:"
        tail -n 20 "$LAB_DIR/aditd/log" >&2
        lab_stop aditd KILL >/dev/null
        return 1
    fi
}
lab_aditd_ready() { lab_alive aditd && lab_ctl status --json >/dev/null 2>&1; }
lab_aditd_settled() { lab_aditd_ready || ! lab_alive aditd; } # there is nothing more to wait for
lab_aditd_stop() { lab_stop aditd TERM 3; }
lab_aditd_log() { cat "$LAB_DIR/aditd/log"; }

# lab_aditd_conf [KEY=TEXT...]: (re)start aditd with lab_conf's YAML.
lab_aditd_conf() {
    mkdir -p "$LAB_DIR/conf"
    lab_conf "$@" >"$LAB_DIR/test.yaml" || return 1
    [ ! -s "$LAB_DIR/aditd/pid" ] || lab_aditd_stop >/dev/null || return 1
    lab_aditd_start "$LAB_DIR/test.yaml"
}

# lab_aditd_reload [KEY=TEXT...]: the same YAML, read by the running aditd; what aditctl said and its exit status.
lab_aditd_reload() {
    lab_conf "$@" >"$LAB_DIR/test.yaml" && lab_render "$LAB_DIR/test.yaml" >/dev/null && lab_ctl reload
}

# All reading of aditctl's JSON is here.
lab_ctl() { timeout 5 "$LAB_BUILD/aditctl" --socket "$LAB_DIR/control.sock" "$@"; }
lab_tunnel() { lab_ctl tunnels --json | jq -r --arg n "$1" ".tunnels[] | select(.name == \$n) | .$2"; }
lab_sa() { lab_ctl sas --json | jq -r --arg n "acme/$1" "[.sas[] | select(.tunnel == \$n)] | last | .$2"; }
lab_sas() { lab_ctl sas --json | jq -r --arg n "acme/$1" '[.sas[] | select(.tunnel == $n)] | length'; }
# Drops by reason of the whole daemon: those that belong to no tunnel and those of all tunnels.
lab_drops() { lab_ctl status --json | jq -r --arg r "$1" '.drops[$r] // 0'; }
lab_tunnel_drops() { lab_ctl tunnels --json | jq -r --arg n "$1" --arg r "$2" '.tunnels[] | select(.name == $n) | .drops[$r] // 0'; }

# ---- traffic

# lab_ping NS COUNT ADDRESS [OPTIONS...]: pings; prints "received"; fails unless all came back. They go in handfuls of 10 at
# once (more overrun User Mode Linux) with an interval of a second: after the last one ping waits for two round trips or one
# interval only, whichever is longer, and with a short interval an answer that is merely late counts as lost.
lab_ping() {
    local from=$1
    shift
    lab_ping_by "nsenter --net=/run/netns/$LAB_ID-$from -- sh -c" "$@"
}
lab_gre_ping() { lab_ping_by lab_gre_exec "$@"; }    # COUNT ADDRESS [OPTIONS...]
lab_ping_by() {    # PREFIX of a shell command, COUNT, ADDRESS, OPTIONS
    local by=$1 count=$2 to=$3 all='' got=0 n left
    shift 3
    for ((left = count; left > 0; left -= n)); do
        n=$((left < 10 ? left : 10))
        # shellcheck disable=SC2086  # several words
        all+=$($by "timeout 60 ping -q -n -c $n -l $n -i 1 -W 2 $* $to 2>&1" || :)$'\n'
    done
    got=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' <<<"$all" | awk '{ sum += $1 } END { print sum + 0 }')
    lab_ping_result "$count" "$got" "$all"
}
lab_ping_result() {    # COUNT, received, ping's output
    echo "$2"
    [ "$1" = "$2" ] || { printf '%s\n' "$3" >&2; return 1; }
}

# iperf3's JSON on stdin -> Mbit/s as the receiver saw them.
lab_mbits() { jq -r '(.end.sum_received.bits_per_second // 0) / 1e6 | floor'; }

# lab_capture NAME NS DEV [FILTER...]: start tcpdump; lab_capture_end NAME prints the file's path.
lab_capture() {
    local name=$1 where=$2 dev=$3 file=$LAB_DIR/$1.pcap
    shift 3
    rm -f "$file" "$LAB_DIR/capture-$name/log"
    lab_spawn "capture-$name" nsenter --net="/run/netns/$LAB_ID-$where" \
        tcpdump -Z root -n -U --immediate-mode -s 0 -i "$dev" -w "$file" "$@" || return 1
    lab_wait_for 5 grep -q 'listening on' "$LAB_DIR/capture-$name/log"
}
lab_capture_end() {
    lab_wait_for 2 lab_capture_drained "$1" || :
    lab_stop "capture-$1" INT >/dev/null
    printf '%s\n' "$LAB_DIR/$1.pcap"
}
# What the kernel counted has been written: tcpdump tells when asked by SIGUSR1.
lab_capture_drained() {
    local log=$LAB_DIR/capture-$1/log before counts
    before=$(grep -c 'packets* captured' "$log")
    kill -USR1 "$(lab_pid "capture-$1")" || return 1
    lab_wait_for 1 eval '[ "$(grep -c "packets* captured" "$log")" -gt '"$before" ] || return 1
    counts=$(sed -n 's/.*: \([0-9]*\) packets* captured, \([0-9]*\) packets* received.*/\1 \2/p' "$log" | tail -n 1)
    [ "${counts% *}" = "${counts#* }" ]
}
# lab_captured NAME FILTER [FIELD...]: what tshark sees in a capture that was ended. The peers' tshark: the one of
# Debian 12 calls IKE_INTERMEDIATE "Unknown 43".
lab_captured() {
    local name=$1 filter=$2 fields=() f
    shift 2
    for f; do fields+=(-e "$f"); done
    [ ${#fields[@]} = 0 ] || fields=(-T fields "${fields[@]}")
    lab_inroot "$LAB_DIR" env HOME=/tmp tshark -n -r "/lab/$name.pcap" -Y "$filter" "${fields[@]}" 2>/dev/null
}
