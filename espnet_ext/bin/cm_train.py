"""Train a countermeasure, or collect statistics for it."""

from espnet_ext.bin import cli
from espnet_ext.bin.training import TRAININGS

main = TRAININGS["cm_train"].main

if __name__ == "__main__":
    cli.run(main)
