#!/usr/bin/env python3
"""CPU time of a recipe's attacks over that of their steps alone, and what a finished sweep costs.

The mini recipe attacks 16 conditions of four models, 30 utterances and 50 steps each; utterances
are heard without attack, with noise and after the last step. The models are trained first where
they are not there; how well does not matter. CPU time is that of ./run.sh and of all it starts.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = Path(__file__).resolve().parents[2] / "egs2/mini/mtl_asr1"
# lambda_A and lambda_C of training, and those of inference.
MODELS = {
    (1.0, 0.0): (0.0,),
    (1.0, 1.0): (1.0,),
    (1.0, 0.5): (0.0, 0.25, 0.5, 0.75, 1.0),
    (0.7, 0.5): (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
}
ATTACK, STEPS = "conf/attack.yaml", 50
UTTERANCES = 30


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--expdir", default="exp_sweep", help="models and attacks, in the recipe's directory")
    add("--dumpdir", default="dump", help="formatted data, likewise")
    add("--nj", type=int, default=2, help="attacks at once (default: 2)")
    add("--epochs", type=int, default=5, help="of each training (default: 5)")
    add("--bare", metavar="J/N", help="only the steps alone, of the J-th of N parts of the sweep")
    return parser


def main() -> None:
    """Train, take the steps alone before and after stage 9, and print the ratios."""
    args = get_parser().parse_args()
    if args.bare:
        print(bare(args, *map(int, args.bare.split("/"))))
        return
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "sweep.yaml"
        rows = [[*model, weight] for model, weights in MODELS.items() for weight in weights]
        sweep.write_text(json.dumps({"conditions": rows}))
        epochs = f"--max_epoch {args.epochs}"
        options = [
            *("--expdir", args.expdir, "--dumpdir", args.dumpdir, "--nj", str(args.nj)),
            *("--sweep", sweep, "--pretrain_args", epochs, "--train_args", epochs),
            *("--num_attack_utts", str(UTTERANCES), "--attack_config", ATTACK),
            *("--attack_args", f"--set steps=[{STEPS}]"),
        ]
        if not (RECIPE / args.expdir / f"targets/test_{UTTERANCES}").is_file():
            run(*options, "--stop_stage", "8")
        for directory in (RECIPE / args.expdir).glob("la*/attack_li*"):
            shutil.rmtree(directory)
        attack = [*options, "--stage", "9", "--stop_stage", "9"]
        steps = [bare_of_all(args)]
        cpu, wall = run(*attack)
        steps.append(bare_of_all(args))
        again, seconds = run(*attack)
    alone = sum(steps) / len(steps)
    print(f"steps alone {alone:.1f} s of CPU time ({', '.join(f'{s:.1f}' for s in steps)})")
    print(f"stage 9 {cpu:.1f} s of CPU time, {wall:.1f} s; again {again:.1f} s, {seconds:.1f} s")
    for text, value, limit in (
        ("stage 9 / its steps, CPU time", cpu / alone, 1.15),
        ("a finished sweep, seconds", seconds, 40.0),
    ):
        print(f"{text:<52}{value:9.4g}   (<= {limit}: {'yes' if value <= limit else 'NO'})")


def run(*options: str | Path) -> tuple[float, float]:
    """CPU seconds and seconds of the recipe's run.sh."""

    def _now() -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime, time.monotonic()

    before = _now()
    subprocess.run(["./run.sh", *options], cwd=RECIPE, stdout=sys.stderr, check=True)
    return _now()[0] - before[0], _now()[1] - before[1]


def bare_of_all(args: argparse.Namespace) -> float:
    """CPU seconds of all steps, in as many processes at once as there are attacks."""
    # In the environment of the recipe: it has one thread, and keeps memory.
    alone = [
        "bash",
        "-c",
        '. ./path.sh; exec python3 -W ignore "$@"',
        "bash",
        str(Path(__file__).resolve()),
    ]
    places = ["--expdir", args.expdir, "--dumpdir", args.dumpdir]
    parts = [
        subprocess.Popen(
            [*alone, *places, "--bare", f"{part}/{args.nj}"],
            cwd=RECIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(1, args.nj + 1)
    ]
    return sum(float(part.communicate()[0].split()[-1]) for part in parts)


def bare(args: argparse.Namespace, part: int, parts: int) -> float:
    """CPU seconds of forward, gradient, step and projection for a part of the conditions."""
    from attack_step import bare_loop

    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.attack.utterances import read_examined, read_utterances
    from espnet_ext.tasks.loading import load_model
    from espnet_ext.victims.recognizer import PyTorchESPnet

    settings = AttackSettings.read(RECIPE / ATTACK, "asr", [])
    data, seconds = RECIPE / args.dumpdir / "test", 0.0
    conditions = [(model, weight) for model, weights in MODELS.items() for weight in weights]
    for (asr, ctc), weight in conditions[part - 1 :: parts]:
        model = RECIPE / args.expdir / f"la{asr}_lc{ctc}_seed0"
        recognizer = load_model(model / "config.yaml", model / "valid.loss.best.pth")
        victim = PyTorchESPnet(recognizer, weight)
        targets = RECIPE / args.expdir / f"targets/test_{UTTERANCES}"
        found = read_utterances(data / "wav.scp", targets, None, recognizer.sample_rate)
        waves = [read_examined(u, recognizer.sample_rate) for u in found]
        options = settings.run
        overhead = options.batch_overhead
        overhead = victim.batch_overhead if overhead is None else overhead
        for batch in victim.plan([len(w) for w in waves], options.batch_size, overhead):
            goals = [victim.goal_of(found[i].labels) for i in batch]
            began = time.process_time()
            bare_loop(victim, [waves[i] for i in batch], goals, STEPS)
            seconds += time.process_time() - began
    return seconds


if __name__ == "__main__":
    main()
