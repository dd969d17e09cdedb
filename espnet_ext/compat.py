"""Everything whose place or behaviour differs between ESPnet releases, and nothing else.

ESPnet 202511 (Python 3.10, 3.11) keeps the network code in `espnet.nets`,
ESPnet 202611 (Python 3.12, 3.13) in `espnet2.legacy.nets`. Import these names
from here and from nowhere else.

ESPnet is first imported here, by `quick_imports`; the packages `asr` and `tasks` import this
module before all of theirs. When it has been imported, typeguard and `sys.modules` are as before.
"""

import contextlib
import functools
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
import typeguard

Decorator = Callable[..., Callable[..., object]]

CHECKED_LATER: "dict[str, functools._lru_cache_wrapper[object]]" = {}
"""For each function of ESPnet, by module and name: a call that adds its checks of types, once."""

# Imported by every task of ESPnet, and used for few models: g2p_en asks the network for NLTK data
# when it is imported (seconds, or a hang behind a firewall that drops packets), the cleaner reads
# the grammar of English numbers, the filters are for augmentation, and pandas for the tables that
# scikit-learn, which ART imports, might be given.
RARELY_USED = ("g2p_en", "tacotron_cleaner", "tacotron_cleaner.cleaners", "scipy.signal", "pandas")
# Knows a text-to-speech model by its class, and imports a compiler and statistics with it.
ATTENTION_PLOTS = "espnet2.main_funcs.calculate_all_attentions"
ALIGNER = "espnet2.gan_tts.jets.alignments"
FREEZING = tuple(
    f"espnet2.asr.{name}"
    for name in (
        *("frontend.espnet_ssl", "frontend.fused", "frontend.whisper"),
        *("encoder.avhubert_encoder", "encoder.hubert_encoder", "encoder.wav2vec2_encoder"),
    )
)
"""Modules whose classes run frozen parts without gradients, in evaluation mode too."""


class _ModuleOnFirstUse(types.ModuleType):
    """Stands for a module until one of its names is asked for, then imports it.

    `importlib.util.LazyLoader` would not do: `inspect.getmodule` asks every
    module for its `__file__`, and torch and typeguard call it while importing.
    """

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            # Otherwise the import below would find this stand-in again.
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


class _KnownByName(type):
    """A class whose instances are those of any class of its name."""

    def __instancecheck__(cls, instance: object) -> bool:
        return type(instance).__name__ == cls.__name__


@contextlib.contextmanager
def _stands_in(module: types.ModuleType) -> Iterator[None]:
    """Let `import` find this module inside the block; does nothing where one is imported."""
    if sys.modules.setdefault(module.__name__, module) is not module:
        yield
        return
    try:
        yield
    finally:
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]


def on_first_use(name: str) -> types.ModuleType | None:
    """What stands in for a module that is not imported yet; None where it is not installed."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # nor is the package that it is in
        return None
    if spec is None:
        return None
    module = _ModuleOnFirstUse(name)
    module.__spec__ = spec
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    return module


def checked_on_first_call(decorate: Decorator) -> Decorator:
    """Typeguard's decorator `typechecked`, cheap for functions of ESPnet that are never called.

    It parses and compiles a function's whole module again for every function that it decorates:
    more than half of the time that ESPnet's tasks take to import. The checks are the same, and an
    error of a configuration is found by them.
    """

    def _typechecked(target: object = None, **options: object) -> Callable[..., object]:
        # Options and classes are rare and go the usual way.
        ours = getattr(target, "__module__", "").startswith("espnet")
        if options or not isinstance(target, types.FunctionType) or not ours:
            return decorate(target, **options)
        checked = functools.cache(lambda: decorate(target))
        CHECKED_LATER[f"{target.__module__}.{target.__qualname__}"] = checked
        return functools.wraps(target)(lambda *args, **kwargs: checked()(*args, **kwargs))

    return _typechecked


def _normalizers_on_first_use() -> types.ModuleType:
    """What stands in for `whisper.normalizers`: the whole package imports a compiler with it."""

    def _make(name: str) -> object:
        return getattr(importlib.import_module(module.__name__), name)()

    module = types.ModuleType("whisper.normalizers")
    for name in ("BasicTextNormalizer", "EnglishTextNormalizer"):
        module.__dict__[name] = functools.partial(_make, name)
    return module


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import ESPnet within a second, not twelve, or ART; all as before when the block ends.

    Modules that are imported here keep what they were given.
    """
    checked = checked_on_first_call(typeguard.typechecked)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(typeguard, "typechecked", checked))
        for name in RARELY_USED:
            module = None if name in sys.modules else on_first_use(name)
            if module is not None:
                stack.enter_context(_stands_in(module))
        if "whisper" not in sys.modules and importlib.util.find_spec("whisper") is not None:
            stack.enter_context(_stands_in(_normalizers_on_first_use()))
        if ATTENTION_PLOTS not in sys.modules:
            aligner = types.ModuleType(ALIGNER)
            aligner.__dict__["AlignmentModule"] = _KnownByName("AlignmentModule", (), {})
            stack.enter_context(_stands_in(aligner))
        yield


# ESPnet prints which optional packages it does without.
with quick_imports(), contextlib.redirect_stdout(io.StringIO()):
    # With the first comes all that the tasks and models of this project need.
    for name in ("espnet2.tasks.asr", "espnet2.spk.encoder.xvector_encoder"):
        importlib.import_module(name)
    try:
        from espnet2.legacy.nets.beam_search import BeamSearch
        from espnet2.legacy.nets.ctc_prefix_score import CTCPrefixScoreTH
        from espnet2.legacy.nets.pytorch_backend.nets_utils import make_pad_mask
        from espnet2.legacy.nets.pytorch_backend.transformer.mask import subsequent_mask
        from espnet2.legacy.nets.scorer_interface import ScorerInterface
        from espnet2.legacy.nets.scorers.ctc import CTCPrefixScorer
    except ImportError:
        from espnet.nets.beam_search import BeamSearch
        from espnet.nets.ctc_prefix_score import CTCPrefixScoreTH
        from espnet.nets.pytorch_backend.nets_utils import make_pad_mask
        from espnet.nets.pytorch_backend.transformer.mask import subsequent_mask
        from espnet.nets.scorer_interface import ScorerInterface
        from espnet.nets.scorers.ctc import CTCPrefixScorer

__all__ = [
    "BeamSearch",
    "CTCPrefixScoreTH",
    "CTCPrefixScorer",
    "ScorerInterface",
    "configuration_file",
    "gradients_through",
    "make_pad_mask",
    "pretrained_loader",
    "subsequent_mask",
    "trainer_files",
    "transducer_loss",
]


@contextlib.contextmanager
def transducer_loss(loss: type[torch.nn.Module]) -> Iterator[None]:
    """Let ESPnet build transducers with this loss where warp-transducer is not installed."""
    module = types.ModuleType("warprnnt_pytorch")
    module.__dict__["RNNTLoss"] = loss
    absent = importlib.util.find_spec(module.__name__) is None
    with _stands_in(module) if absent else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def pretrained_loader(loader: Callable[..., object]) -> Iterator[None]:
    """Let ESPnet's `--init_param` call `loader` inside the block.

    ESPnet has no hook there: its own loader unpickles without restriction and
    does not say what it loaded.
    """
    # In the module that uses it: a patch where it is defined would not reach the imported name.
    with mock.patch("espnet2.tasks.abs_task.load_pretrained_model", loader):
        yield


class _Torch(types.ModuleType):
    """Stands for `torch` in a module, with these functions instead of its own."""

    def __init__(self, **functions: Callable[..., object]):
        super().__init__("torch")
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


@contextlib.contextmanager
def trainer_files(
    save: Callable[..., object], load: Callable[..., object], average: Callable[..., object]
) -> Iterator[None]:
    """Let ESPnet's trainer write, read and average by these functions inside the block.

    ESPnet has no hook there: it writes its files in place, so that a killed training leaves half
    of one, and unpickles them without restriction.

    Args:
        save: replacement of `torch.save`.
        load: replacement of `torch.load`, and of `safe_torch_load` in ESPnet 202611.
        average: replacement of `average_nbest_models`.
    """
    trainer, averaging = "espnet2.train.trainer", "espnet2.main_funcs.average_nbest_models"
    with contextlib.ExitStack() as patches:
        for name in (trainer, averaging):
            module = importlib.import_module(name)
            patches.enter_context(mock.patch.object(module, "torch", _Torch(save=save, load=load)))
            if hasattr(module, "safe_torch_load"):
                patches.enter_context(mock.patch.object(module, "safe_torch_load", load))
        patches.enter_context(mock.patch(f"{trainer}.average_nbest_models", average))
        yield


@contextlib.contextmanager
def gradients_through(model: torch.nn.Module) -> Iterator[None]:
    """Let gradients reach the input of a model through what ESPnet has frozen in its training.

    These classes freeze by `torch.no_grad`, which cuts off the input as well as the parameters.
    """
    with contextlib.ExitStack() as patches:
        for name in {type(module).__module__ for module in model.modules()}.intersection(FREEZING):
            stand_in = _Torch(no_grad=contextlib.nullcontext)
            patches.enter_context(mock.patch.object(sys.modules[name], "torch", stand_in))
        yield


@contextlib.contextmanager
def configuration_file(path: type[Path]) -> Iterator[None]:
    """Let ESPnet's tasks name the directory in which they write `config.yaml` by this class."""
    with mock.patch("espnet2.tasks.abs_task.Path", path):
        yield
