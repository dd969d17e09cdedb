#!/usr/bin/env bash
# A Slurm cluster of this one machine, for tests: slurmctld, slurmd and munged of Debian, as root.
#     slurm_cluster.sh start <directory>    prints the path for SLURM_CONF
#     slurm_cluster.sh stop <directory>
# Package: apt-get install slurmctld slurmd slurm-client munge
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "Usage: $0 start|stop <directory>" >&2
    exit 2
fi
action=$1
dir=$(mkdir -p "$2" && cd "$2" && pwd)

stop() {
    local name
    for name in slurmd slurmctld munged; do
        if [ -f "${dir}/${name}.pid" ]; then
            kill "$(cat "${dir}/${name}.pid")" 2> /dev/null || true
        fi
    done
}

# Two ports that nothing listens on.
free_ports() {
    python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))'
}

write_conf() {
    local host controller_port node_port
    host=$(hostname -s)
    read -r controller_port node_port < <(free_ports)
    cat > "${dir}/slurm.conf" << EOF
ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${controller_port}
SlurmdPort=${node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is queued again waits until its credential has expired.
AuthInfo=socket=${dir}/munge.sock,cred_expire=5
KillWait=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation=${dir}/state
SlurmdSpoolDir=${dir}/spool
SlurmctldPidFile=${dir}/slurmctld.pid
SlurmdPidFile=${dir}/slurmd.pid
SlurmctldLogFile=${dir}/slurmctld.log
SlurmdLogFile=${dir}/slurmd.log
SlurmctldTimeout=30
MinJobAge=300
NodeName=${host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=test Nodes=${host} Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP
EOF
}

start() {
    mkdir -p "${dir}/state" "${dir}/spool"
    chmod 755 "${dir}"
    head -c 1024 /dev/urandom > "${dir}/munge.key"
    chmod 400 "${dir}/munge.key"
    write_conf
    munged --force --key-file="${dir}/munge.key" --socket="${dir}/munge.sock" \
        --pid-file="${dir}/munged.pid" --log-file="${dir}/munged.log" \
        --seed-file="${dir}/munged.seed" 2> "${dir}/munged.out"
    SLURM_CONF=${dir}/slurm.conf slurmctld -f "${dir}/slurm.conf" 2> "${dir}/slurmctld.out"
    SLURM_CONF=${dir}/slurm.conf slurmd -f "${dir}/slurm.conf" 2> "${dir}/slurmd.out"
    local tries
    for ((tries = 0; tries < 60; tries++)); do
        if SLURM_CONF=${dir}/slurm.conf sinfo --noheader -o %t 2> /dev/null | grep -q idle; then
            echo "${dir}/slurm.conf"
            return
        fi
        sleep 0.5
    done
    echo "$0: the node does not become idle; see ${dir}/*.log" >&2
    stop
    exit 1
}

"${action}"
