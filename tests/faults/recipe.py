"""Run a recipe to its report on a disk that fails at random, and compare with an undisturbed run.

    PYTHONPATH=$PWD:tests:tests/faults python tests/faults/recipe.py fsdd/mtl_asr1 \
        --shim shim.so --work work [--rate 0.002] [--seed 1] [--spared 1]

By hand, for it takes minutes: `run.sh` is called until it ends well, at most `--most` times. The
settings are those of the recipe's tests. It prints how often, how many calls failed, and which
results differ. How `shim.so` is built, `drive.py` says. `mini/cm1` needs `--spared 1`: its first
stage makes a corpus in thousands of calls, anew each time, and would hardly ever end well.
"""

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

from drive import plain
from recipes.recipe import TINY, choose_models, copy_recipe, run, write_settings
from recipes.test_mini_countermeasures import ATTACK, SHORT, SSL_SHORT

SPEECH = ("--train_args", TINY, "--pretrain_args", "")
OPTIONS = {
    "mini/mtl_asr1": (*SPEECH, "--num_attack_utts", "4"),
    "mini/cm1": ("--train_args", SHORT, "--ssl_args", SSL_SHORT),
    "fsdd/mtl_asr1": (
        *SPEECH,
        *("--local_data_opts", "--train_utts 12 --dev_utts 4 --test_utts 6"),
        *("--num_attack_utts", "6", "--interval_unit", "speaker", "--attack_shards", "2"),
    ),
}
MODELS = ("lcnn_mel", "senet_mel", "lcnn_mock")


def results(recipe: Path) -> dict[str, Any]:
    """What the reports and attacks say, without times and environments."""
    found = {}
    for path in sorted(recipe.glob("exp/**/results.json")):
        values = plain(json.loads(path.read_text()))
        for key in ("environment", "made_from", "models", "git"):
            values.pop(key, None)
        # The two runs are in directories of their own.
        text = json.dumps(values, sort_keys=True).replace(str(recipe), "RECIPE")
        found[str(path.relative_to(recipe))] = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)
    return found


def main() -> None:
    """Run the recipe twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", choices=OPTIONS)
    parser.add_argument("--shim", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.002, help="chance of a call to fail")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=100, help="calls of run.sh")
    parser.add_argument("--spared", type=int, default=0, help="stages up to this one meet no fault")
    args = parser.parse_args()
    recipes = [copy_recipe(args.recipe, args.work.absolute() / n) for n in ("plain", "faulty")]
    for recipe in recipes:
        if args.recipe.endswith("mtl_asr1"):
            write_settings(recipe, ["1.0 1.0 1.0", "1.0 0.5 0.5"], "eps: [0.3]")
        else:
            choose_models(recipe, MODELS)
            (recipe / "conf/attack.yaml").write_text(ATTACK)
            (recipe / "conf/attack_lnsr.yaml").write_text(ATTACK)
    options = OPTIONS[args.recipe]
    undisturbed: list[tuple[Path, tuple[str, ...]]] = [(recipes[0], ())]
    if args.spared:
        undisturbed.append((recipes[1], ("--stop_stage", str(args.spared))))
    for recipe, stages in undisturbed:
        done = run(recipe, *options, *stages)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    options = (*options, "--stage", str(args.spared + 1))
    log, said = args.work.absolute() / "faults.log", []
    for count in range(1, args.most + 1):
        environment = {"LD_PRELOAD": str(args.shim.absolute()), "FAULT_DIR": str(recipes[1])}
        environment |= {"FAULT_RATE": str(args.rate), "FAULT_SEED": str(args.seed + count)}
        done = run(recipes[1], *options, **environment, FAULT_LOG=str(log))
        said.append(done.stdout + done.stderr)
        print(f"{count}: {done.returncode}: {said[-1].strip().splitlines()[-1]}", flush=True)
        if done.returncode == 0:
            break
    expected, found = results(recipes[0]), results(recipes[1])
    (args.work / "said.log").write_text("\n=====\n".join(said))
    print(
        json.dumps(
            {
                "ended": done.returncode == 0,
                "runs": count,
                "faults": len(log.read_text().splitlines()) if log.exists() else 0,
                "tracebacks": sum(text.count("Traceback") for text in said),
                "results": len(expected),
                "different": sorted(n for n in expected if expected[n] != found.get(n)),
            }
        )
    )
    os._exit(0)


if __name__ == "__main__":
    main()
