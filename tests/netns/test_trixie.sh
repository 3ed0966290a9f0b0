#!/bin/bash
# A Debian 13 with nothing but what conf/setup/deps installs: the tree builds there and its root-free tests pass,
# as a user who is not root. The tree as it lies here is copied: what git knows and what is new, without build folders.
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/tap.sh"

setup() {
    local root
    root=$("$LAB_HERE/peers-root" trixie) || return 1
    LAB_DIR=$(mktemp -d "/var/tmp/$LAB_ID.XXXXXX") || return 1
    trap 'rm -rf --one-file-system "$LAB_DIR"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    cp -a --reflink=auto "$root" "$LAB_DIR/root" && mkdir "$LAB_DIR/root/tree" || return 1
    (cd "$LAB_TREE" && git ls-files -z --cached --others --exclude-standard |
        tar -c --null --ignore-failed-read -T - 2>/dev/null) | tar -x -C "$LAB_DIR/root/tree" || return 1
    chown -R nobody: "$LAB_DIR/root/tree"
}

in_trixie() {
    unshare --mount --pid --net --fork --kill-child sh -ec '
        root=$1
        shift
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        exec chroot --userspec=nobody: "$root" sh -c "cd /tree && exec \"\$@\"" sh "$@"
    ' sh "$LAB_DIR/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 "$@"
}

test_it_is_debian_13() { contains release "$(in_trixie cat /etc/os-release)" 'VERSION_ID="13"'; }
test_all_builds_without_network_or_root() { in_trixie make -j2 all; }
test_openssl_is_the_system_s() { contains '--version' "$(in_trixie build/aditd --version)" 'OpenSSL 3\.[5-9]'; }
test_root_free_tests_pass() {
    # those of the sockets want a network namespace, which a user in a chroot cannot make
    in_trixie make -j2 check IO_SUITES= | tee "$LAB_DIR/check"
    contains 'last line' "$(tail -n 1 "$LAB_DIR/check")" '^[1-9][0-9]* passed, 0 failed$'
}

tap_main setup test_it_is_debian_13 test_all_builds_without_network_or_root test_openssl_is_the_system_s \
    test_root_free_tests_pass
