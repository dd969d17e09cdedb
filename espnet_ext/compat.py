"""Everything whose place or behaviour differs between ESPnet releases, and nothing else.

ESPnet 202511 (Python 3.10, 3.11) keeps the network code in `espnet.nets`,
ESPnet 202611 (Python 3.12, 3.13) in `espnet2.legacy.nets`. Import these names
from here and from nowhere else.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import typeguard


class _ModuleOnFirstUse(types.ModuleType):
    """Stands for a module until one of its names is asked for, then imports it.

    `importlib.util.LazyLoader` would not do: `inspect.getmodule` asks every
    module for its `__file__`, and torch and typeguard call it while importing.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _find_module(name: str) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which raises where the package of a module is absent."""
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


def import_on_first_use(name: str) -> None:
    """Make a later `import name` cheap: the module is imported when a name in it is first used.

    Does nothing where the module is absent or already imported.
    """
    spec = None if name in sys.modules else _find_module(name)
    if spec is not None:
        module = _ModuleOnFirstUse(name)
        module.__spec__ = spec
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
        sys.modules[name] = module


# ESPnet 202511 imports g2p_en with every tokenizer, and g2p_en asks the network for NLTK data when
# it is imported: seconds lost, or a hang behind a firewall that drops packets.
import_on_first_use("g2p_en")
# A third of the time that ESPnet's tasks take to import: the grammar of English numbers for texts
# that are to be spoken, and filters for augmentation.
import_on_first_use("tacotron_cleaner")
import_on_first_use("tacotron_cleaner.cleaners")
import_on_first_use("scipy.signal")


def check_types_on_first_call() -> None:
    """Make ESPnet's decorator `typechecked` cheap for functions that are never called.

    It parses and compiles a function's whole module again for every function that it decorates:
    more than half of the time that ESPnet's tasks take to import. Functions of other packages are
    decorated as before. The checks are the same, and an error of a configuration is found by them.
    """
    decorate = typeguard.typechecked

    def _typechecked(target: Any = None, **options: Any) -> Any:
        package = getattr(target, "__module__", "").partition(".")[0]
        if (
            options
            or not isinstance(target, types.FunctionType)
            or not package.startswith("espnet")
        ):
            return decorate(target, **options)

        @functools.cache
        def _checked() -> Callable[..., Any]:
            return decorate(target)

        @functools.wraps(target)
        def _check_and_call(*args: Any, **kwargs: Any) -> Any:
            return _checked()(*args, **kwargs)

        return _check_and_call

    typeguard.typechecked = _typechecked


check_types_on_first_call()

try:
    from espnet2.legacy.nets.batch_beam_search import BatchBeamSearch
    from espnet2.legacy.nets.beam_search import BeamSearch
    from espnet2.legacy.nets.ctc_prefix_score import CTCPrefixScoreTH
    from espnet2.legacy.nets.pytorch_backend.nets_utils import make_pad_mask
    from espnet2.legacy.nets.pytorch_backend.transformer.add_sos_eos import add_sos_eos
    from espnet2.legacy.nets.pytorch_backend.transformer.mask import subsequent_mask
    from espnet2.legacy.nets.scorers.ctc import CTCPrefixScorer
except ImportError:
    from espnet.nets.batch_beam_search import BatchBeamSearch
    from espnet.nets.beam_search import BeamSearch
    from espnet.nets.ctc_prefix_score import CTCPrefixScoreTH
    from espnet.nets.pytorch_backend.nets_utils import make_pad_mask
    from espnet.nets.pytorch_backend.transformer.add_sos_eos import add_sos_eos
    from espnet.nets.pytorch_backend.transformer.mask import subsequent_mask
    from espnet.nets.scorers.ctc import CTCPrefixScorer


def _import_attention_plots() -> None:
    """Import what plots attentions, without the text-to-speech model that it knows by its class.

    That model imports a compiler and statistics, a quarter of the time that ESPnet's tasks take.
    """
    jets, plots = "espnet2.gan_tts.jets.alignments", "espnet2.main_funcs.calculate_all_attentions"
    if jets in sys.modules or plots in sys.modules:
        return
    stand_in = types.ModuleType(jets)
    stand_in.__dict__["AlignmentModule"] = type("AlignmentModule", (), {})
    sys.modules[jets] = stand_in
    try:
        importlib.import_module(plots)
    finally:
        del sys.modules[jets]


_import_attention_plots()

__all__ = [
    "BatchBeamSearch",
    "BeamSearch",
    "CTCPrefixScoreTH",
    "CTCPrefixScorer",
    "add_sos_eos",
    "configuration_file",
    "import_on_first_use",
    "make_pad_mask",
    "pretrained_loader",
    "subsequent_mask",
    "trainer_files",
]


@contextlib.contextmanager
def pretrained_loader(loader: Callable[..., Any]) -> Iterator[None]:
    """Let ESPnet's `--init_param` call `loader` inside the block.

    ESPnet has no hook there: its own loader unpickles without restriction and
    does not say what it loaded.
    """
    with mock.patch("espnet2.tasks.abs_task.load_pretrained_model", loader):
        yield


class _Torch(types.ModuleType):
    """Stands for `torch` in a module that saves and loads by these functions."""

    def __init__(self, save: Callable[..., Any], load: Callable[..., Any]):
        super().__init__("torch")
        self.save, self.load = save, load

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextlib.contextmanager
def trainer_files(
    save: Callable[..., Any], load: Callable[..., Any], average: Callable[..., Any]
) -> Iterator[None]:
    """Let ESPnet's trainer write, read and average by these functions inside the block.

    ESPnet has no hook there: it writes its files in place, so that a killed training leaves half
    of one, and unpickles them without restriction.

    Args:
        save: in place of `torch.save`.
        load: in place of `torch.load`, and of `safe_torch_load` in ESPnet 202611.
        average: in place of `average_nbest_models`.
    """
    trainer, averaging = "espnet2.train.trainer", "espnet2.main_funcs.average_nbest_models"
    with contextlib.ExitStack() as patches:
        for name in (trainer, averaging):
            module = importlib.import_module(name)
            patches.enter_context(mock.patch.object(module, "torch", _Torch(save, load)))
            if hasattr(module, "safe_torch_load"):
                patches.enter_context(mock.patch.object(module, "safe_torch_load", load))
        patches.enter_context(mock.patch(f"{trainer}.average_nbest_models", average))
        yield


@contextlib.contextmanager
def configuration_file(path: type[Path]) -> Iterator[None]:
    """Let ESPnet's tasks name the directory in which they write `config.yaml` by this class."""
    with mock.patch("espnet2.tasks.abs_task.Path", path):
        yield
