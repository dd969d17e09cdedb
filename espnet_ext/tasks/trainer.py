"""ESPnet's trainer, whose files are complete at any time and are read without running code."""

import argparse
import contextlib
import copy
import dataclasses
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import torch
from espnet2.main_funcs.average_nbest_models import average_nbest_models
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import Reporter
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.types import str2bool

from espnet_ext import compat
from espnet_ext.data.configurations import Config
from espnet_ext.data.files import disk_problem, write_aside, write_binary
from espnet_ext.data.weights import TRAINING_STATE, UnsafeFileError, load_tensors
from espnet_ext.errors import InputError
from espnet_ext.tasks.checkpoint import check_fits

CHECKPOINT, PREVIOUS = "checkpoint.pth", "checkpoint.pth.previous"
PARTS = ("model", "reporter", "optimizers", "schedulers", "scaler")


@dataclasses.dataclass
class CarefulTrainerOptions(TrainerOptions):
    """Options of ESPnet's trainer, and whether files that it reads may be unpickled."""

    allow_pickle: bool


class CarefulTrainer(Trainer):
    """ESPnet's trainer, which can be killed at any time and goes on as if it had not been.

    Each file is written aside and renamed. The state of the epoch before the last is kept as
    `checkpoint.pth.previous` and used where `checkpoint.pth` is damaged. ESPnet seeds all random
    numbers with the number of the epoch, so the weights are those of a training that nothing
    has interrupted.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add --allow_pickle."""
        super().add_arguments(parser)
        parser.add_argument(
            "--allow_pickle",
            type=str2bool,
            default=False,
            help="Read checkpoints that are pickles, and what classes of ESPnet fetch by "
            "themselves; on the command line only",
        )

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> CarefulTrainerOptions:
        """Options of the trainer."""
        return build_dataclass(CarefulTrainerOptions, args)

    @classmethod
    def run(
        cls,
        *,
        model: torch.nn.Module,
        trainer_options: CarefulTrainerOptions,
        distributed_option: DistributedOption,
        **others: object,
    ) -> None:
        """Train, from the last whole state on where there is one.

        Raises:
            InputError: no state that is there can be read, it holds a pickle that may not be, or
                belongs to another model; or the disk is full.
        """
        options = trainer_options
        files = TrainingFiles(options.output_dir, options.allow_pickle)
        state = files.read_state() if options.resume else None
        # With adapters ESPnet may save a part of the weights, and loads them without asking for the
        # rest.
        if state is not None and not options.use_adapter:
            assert files.state_from is not None
            check_fits(model, state["model"], files.state_from, "Give another --output_dir.")
        # With several processes only the first one writes.
        first = not distributed_option.distributed or distributed_option.dist_rank == 0
        with compat.trainer_files(files.save, files.load, files.average), threads_explained():
            if state is not None and first:
                files.finish_epoch(state["model"], _reporter(state), options)
            if state is not None and options.patience is not None:
                criterion = options.early_stopping_criterion
                if _reporter(state).check_early_stopping(options.patience, *criterion):
                    # ESPnet asks after an epoch only, and would train one more.
                    options = copy.copy(options)
                    options.max_epoch = state["reporter"]["epoch"]
            # ESPnet asks for `checkpoint.pth` first of all; afterwards the state takes no memory.
            files.state, state = state, None
            super().run(
                model=model,
                trainer_options=options,
                distributed_option=distributed_option,
                **others,
            )


@contextlib.contextmanager
def threads_explained() -> Iterator[None]:
    """Say in one line what TensorBoard's thread cannot write; where it matters ESPnet raises it."""
    others = threading.excepthook

    def _explain(failed: threading.ExceptHookArgs) -> None:
        error = failed.exc_value
        problem = disk_problem(error) if isinstance(error, OSError) else None
        if problem:
            logging.warning(problem)
        else:
            others(failed)

    with mock.patch.object(threading, "excepthook", _explain):
        yield


def _reporter(state: Config) -> Reporter:
    reporter = Reporter()
    reporter.load_state_dict(state["reporter"])
    return reporter


class TrainingFiles:
    """State and weights in the directory of a training.

    Args:
        directory: directory of the training.
        allow_pickle: see `espnet_ext.data.weights.load_tensors`.

    Attributes:
        state_from: file that holds the last whole state; None where the training begins.
        state: what has been read from it, for ESPnet to take instead of what it asks for.
    """

    def __init__(self, directory: str | Path, allow_pickle: bool = False):
        self.directory = Path(directory)
        self.allow_pickle = allow_pickle
        self.state_from: Path | None = None
        self.state: Config | None = None

    def read_state(self) -> Config | None:
        """The last whole state; says where it is not that of the last epoch.

        Returns:
            what ESPnet's trainer saves; None where nothing has been saved.

        Raises:
            InputError: no file is whole, or one is not the state of a training.
        """
        problems = []
        # ESPnet asks for this file before it goes on; without it a training begins.
        if not (self.directory / CHECKPOINT).exists():
            return None
        for path in (self.directory / CHECKPOINT, self.directory / PREVIOUS):
            if not path.is_file():
                continue
            try:
                state = self.load(path)
            except UnsafeFileError:
                raise
            except InputError as error:
                # Without its advice: another file may do.
                problems.append(str(error).partition("; ")[0])
                continue
            if not isinstance(state, dict) or not set(PARTS) <= set(state):
                raise InputError(
                    f"{path}: not the state of a training; remove it to begin the training anew"
                )
            self.state_from = path
            for problem in problems:
                epoch = state["reporter"]["epoch"]
                logging.warning(
                    "%s; the training goes on from epoch %d, of which %s holds the state",
                    problem, epoch, path,
                )  # fmt: skip
            return state
        raise InputError(
            f"{'; '.join(problems)}; copy it again if there is a copy, or remove it to begin the "
            "training anew"
        )

    def save(self, state: object, path: str | Path) -> None:
        """Replacement of `torch.save`: write aside and rename, and keep the state before.

        Raises:
            InputError: the disk is full; what was there before is untouched.
        """
        path, previous = Path(path), self.directory / PREVIOUS
        if path.name == CHECKPOINT:
            if self.state_from is None:  # of another training
                previous.unlink(missing_ok=True)
            elif self.state_from == path:
                with write_aside(previous) as aside:
                    aside.unlink()
                    try:
                        # A second name takes no time and no room; the file itself is never changed,
                        # only replaced.
                        aside.hardlink_to(path)
                    except OSError:  # a file system that has one name for a file
                        shutil.copyfile(path, aside)
        write_binary(path, lambda file: torch.save(state, file))
        if path.name == CHECKPOINT:
            self.state_from = path

    def finish_epoch(
        self, weights: dict[str, torch.Tensor], reporter: Reporter, options: TrainerOptions
    ) -> None:
        """Do again what ESPnet does after it has saved the state: it may not have come so far.

        Args:
            weights: weights of the model after the last epoch.
            reporter: the reporter at the end of that epoch.
            options: options of the training.
        """
        epoch, keep = reporter.get_epoch(), options.keep_nbest_models
        found = self._whole(epoch) or {}
        same = found.keys() == weights.keys()
        # Written again only if it differs: the weights of an epoch may be large.
        if not same or not all(torch.equal(found[n], value.cpu()) for n, value in weights.items()):
            self.save(weights, self._weights(epoch))
        self._link("latest.pth", epoch)
        criteria = [c for c in options.best_model_criterion if reporter.has(*c[:2])]
        for phase, key, mode in criteria:
            link, ranked = f"{phase}.{key}.best.pth", reporter.sort_epochs(phase, key, mode)
            # The best epoch whose weights are whole.
            if ranked[0] == epoch or not self._whole(link):
                self._link(link, next(e for e in ranked if self._whole(e)))
        interval = options.nbest_averaging_interval
        if interval > 0 and epoch % interval == 0:
            self.average(self.directory, reporter, criteria, keep, suffix=f"till{epoch}epoch")
        most = keep if isinstance(keep, int) else max(keep, default=1)
        kept = {e for criterion in criteria for e in reporter.sort_epochs(*criterion)[:most]}
        for earlier in set(range(1, epoch)) - kept:
            self._weights(earlier).unlink(missing_ok=True)

    def average(
        self,
        output_dir: Path,
        reporter: Reporter,
        best_model_criterion: Sequence[Sequence[str]],
        nbest: int | Iterable[int],
        **options: object,
    ) -> None:
        """Replacement of ESPnet's average of the best epochs: only of epochs with whole weights.

        Args:
            output_dir: directory of the training.
            reporter: what was measured after each epoch.
            best_model_criterion: criteria of the best epochs, with one average for each.
            nbest: number of epochs in an average, or several numbers.
            options: further options of ESPnet's function.
        """
        counts = [nbest] if isinstance(nbest, int) else list(nbest) or [1]
        best = {
            epoch
            for phase, key, mode in best_model_criterion
            if reporter.has(phase, key)
            for epoch in reporter.sort_epochs(phase, key, mode)[: max(counts)]
        }
        lost = [epoch for epoch in sorted(best) if not self._whole(epoch)]
        if lost:
            logging.warning(
                "%s: averages are made without epoch %s, whose weights are absent or damaged",
                output_dir,
                ", ".join(map(str, lost)),
            )
            stats = {e: s for e, s in reporter.stats.items() if self._whole(e)}
            # An average is of no more epochs than are left.
            counts = sorted({min(count, len(stats)) for count in counts})
            reporter = Reporter(reporter.get_epoch())
            reporter.stats = stats
        average_nbest_models(
            output_dir=output_dir,
            reporter=reporter,
            best_model_criterion=best_model_criterion,
            nbest=counts,
            **options,
        )

    def load(self, path: str | Path, **_: object) -> Config:
        """Replacement of `torch.load`: read tensors and what ESPnet's states hold beside them.

        Raises:
            InputError: see `espnet_ext.data.weights.load_tensors`.
        """
        if Path(path).name == CHECKPOINT and self.state is not None:
            state, self.state = self.state, None
            return state
        return load_tensors(path, self.allow_pickle, known=TRAINING_STATE)

    def _weights(self, epoch: int) -> Path:
        return self.directory / f"{epoch}epoch.pth"

    def _whole(self, epoch: int | str) -> dict[str, torch.Tensor] | None:
        """Weights of an epoch, or under another name; None where they are absent or damaged."""
        path = self.directory / epoch if isinstance(epoch, str) else self._weights(epoch)
        try:
            return self.load(path)
        except UnsafeFileError:
            raise
        except InputError:
            return None

    def _link(self, name: str, epoch: int) -> None:
        path, target = self.directory / name, Path(self._weights(epoch).name)
        if not path.is_symlink() or path.readlink() != target:
            with write_aside(path) as aside:
                aside.unlink()
                # A relative target, so that the directory can be moved.
                aside.symlink_to(target)
