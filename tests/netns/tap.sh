# shellcheck shell=bash
# TAP for the lab's test files. Sourced after lab.sh.
#
#   tap_main SETUP TEST...
#
# SETUP runs in this shell (it brings the lab up); each TEST is a function that runs in a subshell with "set -e" and
# fails by any command that fails, most readably by expect or equal. A test's output is shown when it fails. What
# makes the lab impossible (no root, a missing tool) fails every test with that reason: nothing is skipped silently.
# ADIT_TEST=PATTERN: only the tests whose names match.

tap_dir=$(mktemp -d)
# shellcheck disable=SC2064  # its value now
trap "rm -rf '$tap_dir'" EXIT

# expect TEXT COMMAND...: the command succeeds.
expect() {
    local text=$1
    shift
    "$@" || { echo "expected: $text"; exit 1; }
}
expect_not() {
    local text=$1
    shift
    ! "$@" || { echo "expected: $text"; exit 1; }
}
# equal WHAT GOT WANTED
equal() { [ "$2" = "$3" ] || { echo "$1: got '$2', expected '$3'"; exit 1; }; }
# at_least WHAT GOT WANTED, numbers
at_least() { [ "$2" -ge "$3" ] || { echo "$1: got '$2', expected at least $3"; exit 1; }; }
# contains WHAT TEXT PATTERN (extended regular expression)
contains() { grep -qE -- "$3" <<<"$2" || { printf '%s: no "%s" in:\n%s\n' "$1" "$3" "$2"; exit 1; }; }
contains_not() { ! grep -qE -- "$3" <<<"$2" || { printf '%s: unexpected "%s" in:\n%s\n' "$1" "$3" "$2"; exit 1; }; }

tap_result() {    # ok|"not ok", name, log
    tap_count=$((tap_count + 1))
    printf '%s %d - %s\n' "$1" "$tap_count" "$2"
    if [ "$1" != ok ]; then
        tap_failed=$((tap_failed + 1))
        tail -n 25 "$3" | cut -c1-300 | sed 's/^/# /'
    fi
}

tap_main() {
    local setup=$1 tests=() t file reason log=$tap_dir/log
    shift
    for t; do
        # shellcheck disable=SC2254  # a pattern
        case $t in ${ADIT_TEST:-test_*}) tests+=("$t") ;; esac
    done
    file=$(basename "$0" .sh)
    tap_count=0 tap_failed=0
    echo "1..${#tests[@]}"
    reason=$(lab_missing)
    if [ -n "$reason" ]; then
        echo "$reason" >"$log"
    elif ! "$setup" >"$log" 2>&1; then
        reason=set-up
    fi
    for t in "${tests[@]}"; do
        local name="$file: ${t#test_}"
        name=${name//_/ }
        if [ -n "$reason" ]; then
            tap_result 'not ok' "${name/#test /test_}" "$log"
            continue
        fi
        # Not in a condition: "set -e" would be switched off inside.
        (set -e; "$t") >"$log" 2>&1
        # shellcheck disable=SC2181  # see above
        if [ $? = 0 ]; then
            tap_result ok "${name/#test /test_}" "$log"
        else
            [ -z "$LAB_DIR" ] || [ ! -s "$LAB_DIR/aditd/log" ] ||
                { echo '--- last lines of aditd'; tail -n 6 "$LAB_DIR/aditd/log"; echo '--- its counters'
                  lab_ctl status | sed -n '/^drops by reason/,$p' | xargs; } >>"$log" 2>&1
            tap_result 'not ok' "${name/#test /test_}" "$log"
        fi
    done
    rm -rf "$tap_dir"
    [ "$tap_failed" = 0 ]
    exit
}
