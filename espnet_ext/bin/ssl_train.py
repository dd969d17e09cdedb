"""Pretrain a Mockingjay, or collect statistics for it."""

from espnet_ext.bin import cli
from espnet_ext.bin.training import TRAININGS

main = TRAININGS["ssl_train"].main

if __name__ == "__main__":
    cli.run(main)
