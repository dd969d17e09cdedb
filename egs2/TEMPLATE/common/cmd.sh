# shellcheck shell=bash
# Where jobs run. Source this file; it sets train_cmd, cuda_cmd and decode_cmd.
#
#     local    on this machine
#     slurm    as job arrays; conf/slurm.conf of the recipe says what options mean to your cluster
#     sge      with Kaldi's queue.pl, which must be on PATH
cmd_backend=${cmd_backend:-local}

case ${cmd_backend} in
    local) _runner=run.pl ;;
    slurm) _runner=slurm.pl ;;
    sge) _runner=queue.pl ;;
    *)
        echo "cmd.sh: cmd_backend must be local, slurm or sge, not '${cmd_backend}'" >&2
        return 1
        ;;
esac

if [ "${cmd_backend}" = sge ] && ! command -v queue.pl > /dev/null; then
    echo "cmd.sh: sge needs Kaldi's queue.pl on PATH; put it there, or set cmd_backend=local" >&2
    return 1
fi

# Preparation and statistics; training, with GPUs; decoding and attacks. Add options that
# your cluster needs here, such as "${_runner} --time 48:00:00 --mem 8G".
export train_cmd="${_runner}"
export cuda_cmd="${_runner}"
export decode_cmd="${_runner}"
