"""Train a small recognizer on synthetic speech, attack it, and say where to listen.

Nothing is downloaded: the speech comes with the recipe mini/mtl_asr1, which is written into the
directory. It takes four minutes of one core; called again, it goes on where it was.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from espnet_ext.bin import attack_file, cli
from espnet_ext.errors import InputError

EPOCHS = 20
TRAINING = f"--max_epoch {EPOCHS} --optim_conf lr=2.0e-3 --scheduler_conf warmup_steps=200"
# Of the test set, so that it is not trained on.
UTTERANCE = "gbf08-002"
SAID, TARGET = "red green left stop", "open dark right blue"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, example="espnet-ext demo demo")
    parser.add_argument("directory", nargs="?", default="demo", help="where everything is written")
    return parser


def main() -> None:
    """Write the recipes, run the first stages of one, and attack an utterance of its test set.

    Raises:
        InputError: the recipe failed; the end of its log.
    """
    from espnet_ext.data.recipe_tree import write_recipes

    directory = Path(get_parser().parse_args().directory)
    tree = directory / "egs2"
    if not tree.exists():
        write_recipes(directory)
    recipe, log = tree / "mini" / "mtl_asr1", directory / "demo.log"
    print(f"1. train a recognizer of twelve words on synthetic speech ({log})")
    train(recipe, log)
    print(f'2. attack it: in {UTTERANCE} is said "{SAID}"')
    words = [
        *(str(recipe / f"downloads/wav/{UTTERANCE}.flac"), TARGET),
        *("--model", str(recipe / "exp/demo/pretrain_seed0"), "--out", str(directory / "out")),
    ]
    # As if they were typed: what is printed below can be copied and changed.
    sys.argv[1:] = words
    attack_file.main()
    print(f"the same with another sentence of its words: espnet-ext attack {shlex.join(words)}")


def train(recipe: Path, log: Path) -> None:
    """Run the recipe until its first model is trained; print a line now and then.

    Args:
        recipe: directory of mini/mtl_asr1.
        log: where everything goes that its scripts print.

    Raises:
        InputError: it failed.
    """
    # Not the experiments of the recipe itself, which trains for longer.
    command = ["./run.sh", "--stop_stage", "5", "--expdir", "exp/demo", "--pretrain_args", TRAINING]
    # run.sh must find the Python that runs this, also where no environment is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (
        log.open("w") as file,
        subprocess.Popen(
            command,
            cwd=recipe,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if ": epoch " in line:
                    print(f"   {line.split(': ', 1)[1].rpartition(': ')[2].strip()}", flush=True)
        finally:
            # Ctrl-C here must not leave a training behind.
            if process.poll() is None:
                process.terminate()
    if process.returncode:
        end = "".join(log.read_text().splitlines(keepends=True)[-15:])
        raise InputError(f"{recipe}/run.sh failed; the end of {log}:\n{end}")


if __name__ == "__main__":
    cli.run(main)
