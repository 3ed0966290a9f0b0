# Sourced by what needs packages of another Debian than this machine's: an apt with a configuration, lists and cache of its own
# below $tmp. Nothing outside is touched, and only what Debian's archive keys have signed is taken.
# shellcheck shell=bash disable=SC2016,SC2154  # apt's own $(...); tmp is the caller's

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt with lists, cache and sources of its own, but the machine's proxies and transports.
apt_private() { local cmd=$1; shift; "$cmd" -q -c "$tmp/apt/apt.conf" "$@"; }

# The mirror this machine uses for Debian (or its security archive), as its apt knows it.
mirror() {
    local uri
    uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
          awk -v l="$1" -v p="/$2/?\$" '$1 == l || $NF ~ p { print $NF; exit }') || uri=
    echo "${uri:-http://deb.debian.org/$2}"
}

# The lists of Debian 13: deb-src, or deb and the architecture.
apt_lists() {    # deb-src | deb ARCH
    local by="[signed-by=$keyring]" main sec
    main=$(mirror Debian debian)
    sec=$(mirror Debian-Security debian-security)
    mkdir -p "$tmp"/apt/{state/lists/partial,cache/archives/partial} && : >"$tmp/apt/status"
    cat >"$tmp/apt/apt.conf" <<CONF
Dir::State "$tmp/apt/state";
Dir::State::status "$tmp/apt/status";
Dir::Cache "$tmp/apt/cache";
Dir::Etc::sourcelist "$tmp/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
APT::Sandbox::User "$(id -un)";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "2";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
    [ -z "${2:-}" ] || printf 'APT::Architecture "%s";\nAPT::Architectures "%s";\n' "$2" "$2" >>"$tmp/apt/apt.conf"
    printf "$1 %s %s main\n" "$by $main" trixie "$by $main" trixie-updates "$by $sec" trixie-security \
        >"$tmp/apt/sources.list"
    cat "$tmp/apt/sources.list"
    apt_private apt-get update || [ $? = 100 ]     # a missing suite is no error as long as one has what is sought
}
