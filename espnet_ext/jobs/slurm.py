"""Run a `JobArray` on Slurm: what Kaldi calls slurm.pl.

An array is submitted as one Slurm job array with `sbatch`, or as several where it has more tasks
than the cluster takes (MaxArraySize). A task writes its own log, head and
end included, as `espnet_ext.jobs.local` does. So that logs say whether it ended, no accounting
database is needed, and `--pick` works on either back end's logs.

A task that was killed, timed out, preempted or lost with its node leaves a log without an end, or
with a code of a signal: it is submitted again, alone, up to `--retries` times. After a task was
cancelled nothing is submitted again, for somebody wanted it to stop. A task near its time limit is
asked to stop and is put into the queue again; the stages continue with what is finished.
"""

import contextlib
import dataclasses
import itertools
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_ext.data.files import write_text
from espnet_ext.errors import InputError
from espnet_ext.jobs.array import JobArray, earlier_code, pick_jobs
from espnet_ext.jobs.program import begin, say, say_of_stage
from espnet_ext.jobs.progress import progress_lines
from espnet_ext.jobs.signals import stopping

PROGRAM = "slurm.pl"
CONF = Path("conf/slurm.conf")
# Kaldi's defaults, less its partitions: those are of a cluster.
DEFAULT_CONF = """\
command sbatch --export=ALL
option mem=* --mem-per-cpu=$0
option mem=0
option num-threads=* --cpus-per-task=$0
option num-nodes=* --nodes=$0 --ntasks-per-node=1
option time=* --time=$0
option gpu=* --gres=gpu:$0
option gpu=0
option max-jobs-run=*
default gpu=0
"""
OWN_OPTIONS = {
    *("pick", "retries", "requeues", "notice-seconds", "progress-seconds"),
    *("max-jobs-run", "config", "dry-run"),
}
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
LIVE = WAITING | {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"}
NOTICE_SECONDS = 120  # before the time limit; Slurm may give the signal up to 60 s early
REQUEUES = 20  # a task that saves nothing in its time would never end
POLL_SECONDS = 3.0
# A log on shared storage may arrive later than the news that its task is gone.
LAG_SECONDS = 15.0
LOST, CANCELLED = 128 + signal.SIGTERM, 128 + signal.SIGINT
MAX_ARRAY_SIZE = 1001  # Slurm's default
PATIENCE_SECONDS = 600.0  # with a controller that does not answer

# 'set -m' gives the job a process group, so that the notice reaches all it starts. 'wait' ends
# early when the notice comes, hence the loop around it.
_BODY = r"""
again= child=
# First of all, for the notice may come at any time.
trap 'again=1; [ -z "${child}" ] || kill -TERM -- "-${child}"' USR1
if [ -f ./path.sh ]; then . ./path.sh > /dev/null; fi
if [ "${SLURM_RESTART_COUNT:-0}" = 0 ]; then
    printf '# %s\n' "${command//$'\n'/$'\n# '}" "Started at $(date)" > "${log}"
else
    echo "# Started again at $(date)" >> "${log}"
fi
start=$(date +%s)
set -m
( eval "${command}" ) < /dev/null >> "${log}" 2>&1 &
child=$!
if [ -n "${again}" ]; then kill -TERM -- "-${child}"; fi
while wait "${child}"; code=$?; kill -0 "${child}" 2> /dev/null; do :; done
if [ -n "${again}" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "${requeues}" ]; then
    echo "# Near the time limit: into the queue again at $(date)" >> "${log}"
    task=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
    for _ in {1..20}; do
        # Slurm may answer: try again later.
        if scontrol requeue "${task}"; then sleep 600; fi
        sleep 3
    done
fi
printf '# Accounting: time=%s threads=1\n# Ended (code %s) at %s\n' \
    "$(($(date +%s) - start))" "${code}" "$(date)" >> "${log}"
exit "${code}"
"""


@dataclasses.dataclass
class SlurmConf:
    """How options of the command line become options of `sbatch` (Kaldi's conf/slurm.conf).

    Attributes:
        command: `sbatch` with what is always given.
        options: name and value -> options of sbatch; value "*" is any, "$0" stands for it.
        defaults: value of an option that is not given.
    """

    command: list[str]
    options: dict[tuple[str, str], str]
    defaults: dict[str, str]

    def translate(self, given: Mapping[str, str]) -> list[str]:
        """Options of sbatch.

        Raises:
            InputError: an option that the file does not know.
        """
        words: list[str] = []
        for name, value in {**self.defaults, **given}.items():
            # These options are for this module, but a site may translate them as well.
            if name in OWN_OPTIONS and (name, "*") not in self.options:
                continue
            text = self.options.get((name, value), self.options.get((name, "*")))
            if text is None:
                raise InputError(
                    f"--{name} {value}: conf/slurm.conf does not say what it means to Slurm; add "
                    f"'option {name}=* ...' there"
                )
            words += shlex.split(text.replace("$0", value))
        return words


def read_conf(path: str | Path | None = None) -> SlurmConf:
    """Read `conf/slurm.conf`, or take the defaults where there is none.

    Args:
        path: a file that must be there; None for `conf/slurm.conf`.

    Raises:
        InputError: the file is missing or a line is not of its kind.
    """
    if path is not None and not Path(path).is_file():
        raise InputError(f"{path}: no such configuration of Slurm")
    chosen = Path(path) if path is not None else CONF
    text = chosen.read_text(encoding="utf-8") if chosen.is_file() else DEFAULT_CONF
    conf = SlurmConf(["sbatch"], {}, {})
    for number, line in enumerate(text.splitlines(), 1):
        kind, rest = [*line.split("#", 1)[0].split(None, 1), "", ""][:2]
        match = re.fullmatch(r"([\w-]+)=(\S+)\s*(.*)", rest.strip())
        if kind == "command" and rest:
            conf.command = shlex.split(rest)
        elif kind == "option" and match:
            conf.options[match[1].replace("_", "-"), match[2]] = match[3]
        elif kind == "default" and match:
            conf.defaults[match[1].replace("_", "-")] = match[2]
        elif kind:
            raise InputError(
                f"{chosen}:{number}: should be 'command ...', 'option name=value ...' or "
                f"'default name=value', not '{line.strip()}'"
            )
    return conf


@dataclasses.dataclass(frozen=True)
class Part:
    """Jobs that are one array of Slurm.

    Attributes:
        numbers: numbers of the jobs.
        offset: number of a job less that of its task in Slurm, which has an upper limit.
        script: path of its script.
    """

    numbers: Sequence[int]
    offset: int
    script: Path


def split(array: JobArray, numbers: Sequence[int], largest: int) -> list[Part]:
    """Divide jobs into arrays that Slurm takes.

    Args:
        array: the jobs.
        numbers: those to run.
        largest: Slurm's MaxArraySize; the tasks of an array are below it.
    """
    log = array.log_of(array.first)
    name = Path(array.log).stem.replace(f".{array.name}", "")
    parts: list[Part] = []
    for block, listed in itertools.groupby(numbers, lambda n: (n - 1) // (largest - 1)):
        script = log.parent / "q" / (f"{name}.{block + 1}.sh" if block else f"{name}.sh")
        parts.append(Part(list(listed), block * (largest - 1), script))
    return parts


def max_array_size() -> int:
    """Slurm's MaxArraySize, or its default where Slurm does not tell."""
    try:
        command = ["scontrol", "show", "config"]
        told = subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:
        told = ""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told, re.MULTILINE)
    return max(2, int(found[1])) if found else MAX_ARRAY_SIZE


def batch_script(array: JobArray, part: Part) -> str:
    """The script that sbatch gets, with a task for each number of `part`.

    Each task has its command and log in it, takes its environment from `path.sh`, and asks to be
    queued again when its time is nearly over.

    Raises:
        InputError: an option has a bad value.
    """
    cases = "\n".join(
        f"{number - part.offset}) log={shlex.quote(str(array.log_of(number)))}\n"
        f"   command={shlex.quote(array.command_of(number))} ;;"
        for number in part.numbers
    )
    notice = array.number("notice-seconds", NOTICE_SECONDS)
    requeues = array.number("requeues", 0 if _on_several_nodes(array) else REQUEUES)
    return (
        "#!/bin/bash\n"
        f"#SBATCH --requeue --open-mode=append --signal=B:USR1@{notice}\n"
        f"requeues={requeues}\n"
        f'case "${{SLURM_ARRAY_TASK_ID}}" in\n{cases}\nesac\n{_BODY.lstrip()}'
    )


def _on_several_nodes(array: JobArray) -> bool:
    """Whether a job has several nodes, whose processes find each other through a file.

    ESPnet's launch names that file, and after a run that was cut off it cannot serve another one:
    such a job is not begun again by itself.
    """
    return array.options.get("num-nodes", "1") != "1"


def sbatch_command(array: JobArray, part: Part, conf: SlurmConf, after: str = "") -> list[str]:
    """The command that submits `part`.

    Args:
        array: the jobs.
        part: some of them.
        conf: what options mean.
        after: job that must have ended, so that no more than `max-jobs-run` run at once.

    Raises:
        InputError: see `SlurmConf.translate`.
    """
    limit = array.number("max-jobs-run", 0)
    tasks = task_ranges([n - part.offset for n in part.numbers]) + (f"%{limit}" if limit else "")
    output = part.script.with_suffix("")
    return [
        *conf.command,
        "--parsable",
        f"--job-name={output.name}",
        f"--array={tasks}",
        f"--output={output}-%a.out",
        *([f"--dependency=afterany:{after}"] if after and limit else []),
        *conf.translate(array.options),
        str(part.script),
    ]


def task_ranges(numbers: Sequence[int]) -> str:
    """Numbers as Slurm writes them.

    Example:
        >>> task_ranges([1, 2, 3, 7])
        '1-3,7'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def run_array(array: JobArray) -> dict[int, int]:
    """Run all jobs of `array` that its option `pick` asks for, and wait for them.

    Options used: `pick`, `max-jobs-run`, `retries` (2), `requeues` (20), both 0 on several
    nodes, `notice-seconds` (120), `progress-seconds` (60), `config`, `dry-run`; `conf/slurm.conf`
    translates others. SIGINT, SIGTERM and SIGHUP cancel the jobs and raise `SystemExit`.

    Returns:
        job number -> exit code; 143 for a task that vanished more often than `retries`, 130
        for one that was cancelled by hand.

    Raises:
        InputError: an option has a bad value, or Slurm refuses the jobs.
    """
    conf = read_conf(array.options.get("config"))
    retries = array.number("retries", 0 if _on_several_nodes(array) else 2)
    largest = max_array_size()
    if array.options.get("dry-run", "false") != "false":
        finished = pick_jobs(array)
        for part in split(array, [n for n in array.numbers if n not in finished], largest):
            print(
                shlex.join(sbatch_command(array, part, conf)), batch_script(array, part), sep="\n"
            )
        return dict.fromkeys(array.numbers, 0)
    codes, todo = begin(array, PROGRAM)
    for attempt in range(retries + 1):
        codes |= run_once(array, split(array, todo, largest), conf)
        cancelled = [number for number in todo if codes[number] == CANCELLED]
        todo = [number for number in todo if codes[number] >= 128 and number not in cancelled]
        if cancelled:
            rest = f", nor jobs {task_ranges(todo)} that were killed or lost" if todo else ""
            say(
                f"jobs {task_ranges(cancelled)} were cancelled (scancel); they are not submitted "
                f"again{rest}",
                PROGRAM,
            )
            break
        if not todo or attempt == retries:
            break
        say(f"jobs {task_ranges(todo)} were killed or lost; submitted again", PROGRAM)
    return dict(sorted(codes.items()))


def run_once(array: JobArray, parts: Sequence[Part], conf: SlurmConf) -> dict[int, int]:
    """Submit these jobs and wait for all of them.

    Args:
        array: the jobs.
        parts: those to submit.
        conf: what options mean.

    Returns:
        job number -> exit code, as `run_array`, which submits again what was lost.

    Raises:
        InputError: an earlier run's job still lives, or Slurm refuses the jobs.
    """
    for part in parts:
        _refuse_earlier(part)
    for part in parts:
        write_text(part.script, batch_script(array, part))
        for number in part.numbers:
            # The log of an earlier run must not tell that this one has ended.
            array.log_of(number).unlink(missing_ok=True)
    jobs: dict[str, Part] = {}

    def _cancel() -> None:
        if jobs:
            subprocess.run(["scancel", *jobs], capture_output=True)
        for part in jobs.values():
            _record(part).unlink(missing_ok=True)

    with stopping(_cancel):
        job = ""
        for part in parts:
            job = _submit(sbatch_command(array, part, conf, job))
            jobs[job] = part
            write_text(_record(part), job)
            say(f"job {job}, {len(part.numbers)} tasks; log is in {array.log_pattern}", PROGRAM)
        codes = wait_for(array, jobs)
    for part in parts:
        _record(part).unlink(missing_ok=True)
    return codes


def _record(part: Part) -> Path:
    """Where the job of a part stands while this program waits for it."""
    return part.script.with_suffix(".job")


def _refuse_earlier(part: Part) -> None:
    """Refuse to submit what an earlier run has submitted, where that was killed and this lives."""
    try:
        job = _record(part).read_text(encoding="utf-8").strip()
        name = f"--name={part.script.stem}"
        states = _squeue(f"--jobs={job}", name, "--format=%T").stdout.split()
    except OSError:  # there was none, or there is no Slurm here
        return
    if LIVE & set(states):
        raise InputError(
            f"job {job} of an earlier run, which was killed, still runs or waits; wait until it "
            f"has ended (squeue -j {job}), or cancel it (scancel {job}), then run this again"
        )


def _submit(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise InputError(
            f"{command[0]}: cannot be run ({error.strerror}); is this a machine of the cluster? "
            "cmd_backend=local runs jobs here"
        ) from None
    if done.returncode:
        raise InputError(f"Slurm refuses the jobs: {done.stderr.strip()}\n{shlex.join(command)}")
    # --parsable puts the name of the cluster behind a semicolon.
    return done.stdout.strip().split(";")[0]


def wait_for(array: JobArray, jobs: Mapping[str, Part]) -> dict[int, int]:
    """Wait for submitted jobs, and say how far they are.

    Args:
        array: the jobs.
        jobs: parts by their number in Slurm.

    Returns:
        job number -> exit code.

    Raises:
        InputError: see `task_states`.
    """
    todo = [number for part in jobs.values() for number in part.numbers]
    interval = array.number("progress-seconds", 60)
    codes: dict[int, int] = {}
    gone_since: dict[int, float] = {}
    started: dict[int, float] = {}
    seconds: dict[int, float] = {}
    due = time.monotonic() + interval
    while True:
        states = task_states(jobs)
        now = time.monotonic()
        for number in (n for n in todo if n not in codes):
            if states.get(number) == "RUNNING":
                seconds[number] = now - started.setdefault(number, now)
            code = _code(array.log_of(number), states.get(number), gone_since, number, now)
            if code is not None:
                codes[number] = code
        if len(codes) == len(todo):
            return codes
        if interval and now >= due:
            waiting = len(todo) - len(codes.keys() | seconds.keys())
            for line in progress_lines(array, codes, seconds, waiting):
                say_of_stage(line, PROGRAM)
            due = now + interval
        time.sleep(POLL_SECONDS)


def _code(
    log: Path, state: str | None, gone_since: dict[int, float], number: int, now: float
) -> int | None:
    """Exit code of a task; None while it is not known."""
    if state in LIVE:
        gone_since.pop(number, None)
        return None
    code = earlier_code(log)
    if code is not None:
        return code
    if now - gone_since.setdefault(number, now) < LAG_SECONDS:
        return None
    # Slurm forgets a task at once that is cancelled while it waits.
    cancelled = state == "CANCELLED" or (state is None and not log.exists())
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as f:
        said = "CANCELLED" if cancelled else state or "nothing"
        f.write(f"# Lost: Slurm says {said} of this task\n")
    return CANCELLED if cancelled else LOST


def _squeue(*options: str) -> "subprocess.CompletedProcess[str]":
    """What the controller answers, of jobs in its queue."""
    return subprocess.run(["squeue", "--noheader", *options], capture_output=True, text=True)


def task_states(jobs: Mapping[str, Part]) -> dict[int, str]:
    """State of each job of the array whose task the controller knows.

    Args:
        jobs: parts by their number in Slurm.

    Returns:
        job number -> state, such as "RUNNING".

    Raises:
        InputError: the controller has not answered for a long time.
    """
    listed = ",".join(jobs)
    # Tasks that have ended are listed as well, because their state says why they ended.
    options = ["--array", "--states=all", f"--jobs={listed}", "--format=%F %K %T"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = _squeue(*options)
        # The controller forgets jobs some minutes after their end.
        if done.returncode == 0 or "Invalid job id" in done.stderr:
            lines = (line.split() for line in done.stdout.splitlines())
            return {
                int(task) + jobs[job].offset: state
                for job, task, state in lines
                if job in jobs and task.isdecimal()
            }
        if time.monotonic() > deadline:
            raise InputError(
                f"Slurm does not answer: {done.stderr.strip()}; jobs {listed} may still run"
            )
        time.sleep(POLL_SECONDS)
