"""Train a multi-task ASR model, or collect statistics for it."""

from espnet_ext.bin import cli
from espnet_ext.bin.training import TRAININGS

main = TRAININGS["asr_train"].main

if __name__ == "__main__":
    cli.run(main)
