#!/bin/sh
# The servers, and the browser, that tests start for themselves. Usage: sh scripts/servers.sh install
# It takes from Debian or Ubuntu what is missing, and starts none of it.
set -eu

fail() {
    echo "universality: $1" >&2
    exit 1
}

has() {
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null
}

# One function a server: it names the packages that lack here.
ssh() {
    has sshd || echo openssh-server
    has ssh-keygen || echo openssh-client
}

http() {
    has nginx || echo nginx
}

slurm() {
    has slurmctld && has slurmd || echo slurm-wlm
    has munged || echo munge
}

browser() {
    has chromium || echo chromium
}

install() {
    missing=$(echo $(ssh; http; slurm; browser))
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] && has apt-get || fail "install as root, with apt-get or your own: $missing"
    # Their packages would start them at once, for everybody, on the ports that all know.
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f "$log" $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq --no-install-recommends $missing; } >"$log" 2>&1 ||
        { tail -20 "$log" >&2; fail "apt-get could not install $missing"; }
    echo "installed: $missing"
}

case ${1:-} in
install) install ;;
*) fail "usage: sh scripts/servers.sh install" ;;
esac
