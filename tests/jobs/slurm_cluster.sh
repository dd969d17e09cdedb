#!/usr/bin/env bash
# A Slurm cluster of this one machine, for tests: slurmctld, slurmd and munged of Debian, as root.
#     slurm_cluster.sh start <directory> [<nodes> [<MaxArraySize>]]   prints the path for SLURM_CONF
#     slurm_cluster.sh stop <directory>
# Several nodes are several slurmd of this machine, n1, n2, ...
# Package: apt-get install slurmctld slurmd slurm-client munge
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 4 ]; then
    echo "Usage: $0 start|stop <directory> [<nodes> [<MaxArraySize>]]" >&2
    exit 2
fi
action=$1
nodes=${3:-1}
max_array_size=${4:-1001}
dir=$(mkdir -p "$2" && cd "$2" && pwd)

stop() {
    local file
    for file in "${dir}"/slurmd.*.pid "${dir}"/slurmctld.pid "${dir}"/munged.pid; do
        if [ -f "${file}" ]; then
            kill "$(cat "${file}")" 2> /dev/null || true
        fi
    done
}

# Ports that nothing listens on: free_ports <number>
free_ports() {
    python3 -c '
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))' "$1"
}

write_conf() {
    local host number ports
    host=$(hostname -s)
    read -r -a ports < <(free_ports $((nodes + 1)))
    cat > "${dir}/slurm.conf" << EOF
ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${ports[0]}
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
SlurmdSpoolDir=${dir}/spool.%n
SlurmctldPidFile=${dir}/slurmctld.pid
SlurmdPidFile=${dir}/slurmd.%n.pid
SlurmctldLogFile=${dir}/slurmctld.log
SlurmdLogFile=${dir}/slurmd.%n.log
SlurmctldTimeout=30
MinJobAge=300
MaxArraySize=${max_array_size}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP
EOF
    for ((number = 1; number <= nodes; number++)); do
        echo "NodeName=n${number} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${ports[number]}" \
            "CPUs=2 RealMemory=2000 State=UNKNOWN" >> "${dir}/slurm.conf"
    done
}

start() {
    mkdir -p "${dir}/state"
    chmod 755 "${dir}"
    head -c 1024 /dev/urandom > "${dir}/munge.key"
    chmod 400 "${dir}/munge.key"
    write_conf
    munged --force --key-file="${dir}/munge.key" --socket="${dir}/munge.sock" \
        --pid-file="${dir}/munged.pid" --log-file="${dir}/munged.log" \
        --seed-file="${dir}/munged.seed" 2> "${dir}/munged.out"
    SLURM_CONF=${dir}/slurm.conf slurmctld -f "${dir}/slurm.conf" 2> "${dir}/slurmctld.out"
    local number tries
    for ((number = 1; number <= nodes; number++)); do
        mkdir -p "${dir}/spool.n${number}"
        SLURM_CONF=${dir}/slurm.conf slurmd -N "n${number}" -f "${dir}/slurm.conf" \
            2> "${dir}/slurmd.n${number}.out"
    done
    for ((tries = 0; tries < 60; tries++)); do
        if SLURM_CONF=${dir}/slurm.conf sinfo --noheader -N -o %t 2> /dev/null \
            | grep -c idle | grep -qx "${nodes}"; then
            echo "${dir}/slurm.conf"
            return
        fi
        sleep 0.5
    done
    echo "$0: not all nodes become idle; see ${dir}/*.log" >&2
    stop
    exit 1
}

"${action}"
