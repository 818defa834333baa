#!/bin/sh
# A Slurm of one node on this machine, for the tests: scripts/slurm.sh start [GPUS] | stop
# For root, on a machine that has no Slurm of its own; the packages: scripts/servers.sh install.
# GPUS devices are made up (plain device files): what Slurm places, nothing computes on them.
set -eu

CONF=/etc/slurm/slurm.conf # at this place: jobs do not inherit SLURM_CONF
MARK="# made by universality's scripts/slurm.sh"
STATE=/var/lib/universality-slurm

fail() {
    echo "universality: $1" >&2
    exit 1
}

ours() { [ ! -e $CONF ] || grep -q "^$MARK" $CONF; }

start() {
    [ "$(id -u)" = 0 ] || fail "a Slurm of one node needs root"
    for program in munged slurmctld slurmd sbatch; do
        command -v $program >/dev/null || fail "$program is missing: sh scripts/servers.sh install"
    done
    ours || fail "$CONF belongs to another Slurm; it is left alone"
    stop
    rm -rf $STATE
    mkdir -p $STATE/ctld $STATE/d /run/munge
    node=$(hostname -s)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    gres=
    rm -f /etc/slurm/gres.conf
    if [ "$1" -gt 0 ]; then
        gres="Gres=gpu:$1"
        index=0
        while [ $index -lt "$1" ]; do
            mknod $STATE/gpu$index c 1 3
            index=$((index + 1))
        done
        echo "NodeName=$node Name=gpu File=$STATE/gpu[0-$(($1 - 1))]" >/etc/slurm/gres.conf
    fi
    cat >$CONF <<END
$MARK
ClusterName=universality
SlurmctldHost=$node
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
SchedulerParameters=sched_interval=1
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/d
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
NodeName=$node CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory $gres State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
END
    [ -s /etc/munge/munge.key ] || mungekey --create
    chown -R munge: /etc/munge /run/munge /var/lib/munge /var/log/munge
    chmod 755 /run/munge
    pgrep -x munged >/dev/null || setpriv --reuid munge --regid munge --clear-groups munged --force
    slurmctld
    slurmd
    tries=0
    until sinfo --noheader --format=%t 2>/dev/null | grep -q '^\(idle\|mix\|alloc\)$'; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || fail "Slurm did not start; see $STATE/*.log"
        sleep 0.5
    done
}

stop() {
    ours || fail "$CONF belongs to another Slurm; it is left alone"
    for program in slurmd slurmctld; do
        if [ -s $STATE/$program.pid ]; then
            kill "$(cat $STATE/$program.pid)" 2>/dev/null || true
            while pgrep -x $program >/dev/null; do sleep 0.1; done
        fi
    done
    rm -f $CONF /etc/slurm/gres.conf
}

case "${1:-}" in
start) start "${2:-0}" ;;
stop) stop ;;
*) fail "usage: scripts/slurm.sh start [GPUS] | stop" ;;
esac
