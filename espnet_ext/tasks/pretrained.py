"""A public ESPnet2 ASR model as the start of a multi-task one."""

import argparse
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import humanfriendly
import torch
from espnet2.tasks.asr import frontend_choices

from espnet_ext.data.configurations import Config, read_with_base
from espnet_ext.data.files import write_aside, write_lines
from espnet_ext.data.model_files import find_model
from espnet_ext.data.weights import pickles, read_weights, write_weights
from espnet_ext.errors import InputError, summarize
from espnet_ext.ssl.checkpoint import default_arguments, differences
from espnet_ext.tasks.building import read_configuration
from espnet_ext.tasks.checkpoint import initialisation_table, upgraded
from espnet_ext.tasks.foreign import refuse_pickles
from espnet_ext.tasks.mtl_asr import MTLASRTask
from espnet_ext.tasks.recognizer import ASR_KIND

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
FRONTEND = ("frontend", "frontend_conf")
HUGGING_FACE = "https://huggingface.co/"
ZENODO = "https://zenodo.org/record/4604011"


class Files(NamedTuple):
    """What a start is made of, all in one directory.

    Attributes:
        model: weights without the optimiser, tensors only.
        tokens: token list.
        bpe: sentencepiece model; None for words and characters.
        stats: feature statistics of global normalisation; None without it.
    """

    model: Path
    tokens: Path
    bpe: Path | None
    stats: Path | None


def obtain(tag_or_file: str, max_gb: float | None = None) -> tuple[Path, Path]:
    """Configuration and weights of a public model.

    Args:
        tag_or_file: an archive of `espnet2.bin.pack`, the directory of a model, or a name that
            `espnet_model_zoo` knows.
        max_gb: size in gigabytes that an archive may unpack to, see
            `espnet_ext.data.archives.unpacked`.

    Raises:
        InputError: see `espnet_ext.data.model_files.find_model`; or a name cannot be fetched.
    """
    if not Path(tag_or_file).exists() and tag_or_file.endswith(ARCHIVES):
        raise InputError(f"{tag_or_file}: no such archive")
    found = tag_or_file if Path(tag_or_file).exists() else download(tag_or_file)
    files = find_model(found, found, max_gb=max_gb)
    return files.config, files.weights


def download(tag: str) -> str:
    """The archive, or the directory, of a name on ESPnet's hub.

    Raises:
        InputError: a package is missing, or it cannot be fetched.
    """
    try:
        from espnet_model_zoo.downloader import ModelDownloader
    except ImportError as error:
        raise InputError(
            f"'{tag}' is no file, and names are fetched by espnet_model_zoo, which is not "
            f"installed ({error}): pip install espnet_model_zoo, or fetch the archive by hand, "
            f"e.g. from {ZENODO}, and give its path"
        ) from error
    try:
        zoo = ModelDownloader()
        # Not `download_and_unpack`: it writes wherever names in the archive lead.
        if tag.startswith(HUGGING_FACE) or HUGGING_FACE.endswith(f"{zoo.get_url(tag).strip('/')}/"):
            return zoo.huggingface_download(tag.removeprefix(HUGGING_FACE))
        return zoo.download(tag)
    except Exception as error:  # whatever its network and cache run into
        raise InputError(
            f"'{tag}' cannot be fetched ({type(error).__name__}: {error}); without a network fetch "
            f"the archive by hand, e.g. from {ZENODO}, and give its path"
        ) from error


def prepare(
    model_files: tuple[Path, Path],
    train_config: str | Path,
    output_dir: str | Path,
    *,
    token_type: str,
    allow_pickle: bool = False,
) -> Files:
    """Check a model against a configuration, and write what the stages of a recipe start from.

    Args:
        model_files: result of `obtain`.
        train_config: training configuration of the models that are initialised from it.
        output_dir: directory for `model.pth`, `tokens.txt`, `bpe.model`, `feats_stats.npz`.
        token_type: type of tokens that the recipe uses.
        allow_pickle: see `espnet_ext.data.weights.read_weights`.

    Raises:
        InputError: front end, token list or shapes do not agree; names what differs.
    """
    config_file, model_file = model_files
    config = read_configuration(config_file, ASR_KIND, allow_pickle)
    wanted = read_with_base(train_config)
    refuse_pickles(wanted, train_config, allow_pickle)
    tokens = _tokens(config, token_type, config_file)
    there, here = _frontend(config), _frontend(wanted)
    wrong = differences(there, here, "the pretrained model", f"in {train_config}")
    if wrong:
        raise InputError(f"the front ends differ:\n{summarize(wrong)}\nUse those of the model.")
    weights = read_weights(model_file, allow_pickle)
    with pickles(allow_pickle):
        table = _check_shapes(weights, wanted, tokens, train_config)
    logging.info("%s: %s\n%s", model_file, train_config, table)
    bpe = config.get("bpemodel") if token_type == "bpe" else None
    stats = None
    if config.get("normalize") == "global_mvn":
        stats = (config.get("normalize_conf") or {}).get("stats_file")
    output = Path(output_dir)
    files = Files(
        output / "model.pth",
        output / "tokens.txt",
        None if bpe is None else output / "bpe.model",
        None if stats is None else output / "feats_stats.npz",
    )
    write_weights(files.model, weights)
    write_lines(files.tokens, tokens)
    for source, target in ((bpe, files.bpe), (stats, files.stats)):
        if source is not None and target is not None:
            with write_aside(target) as aside:
                shutil.copyfile(source, aside)
    return files


def _tokens(config: Config, token_type: str, where: Path) -> list[str]:
    if config.get("token_type") != token_type:
        raise InputError(
            f"{where}: its tokens are of type {config.get('token_type')}, not {token_type}; say "
            f"--token_type {config.get('token_type')}"
        )
    tokens = config.get("token_list")
    if not isinstance(tokens, list) or not tokens:
        raise InputError(f"{where}: no token_list in it; is it the config.yaml of an ASR model?")
    return [str(token) for token in tokens]


def _frontend(config: Config) -> Config:
    """Every option of the front end, those that are left out with ESPnet's default."""
    name = config.get("frontend") or "default"
    options = {
        **default_arguments(frontend_choices.get_class(name)),
        **(config.get("frontend_conf") or {}),
    }
    if options.get("fs") is not None:
        options["fs"] = humanfriendly.parse_size(str(options["fs"]))
    return {"frontend": name, **options}


def _check_shapes(
    weights: Mapping[str, torch.Tensor],
    wanted: Config,
    tokens: list[str],
    where: str | Path,
) -> str:
    """The table of what will be loaded.

    Raises:
        InputError: a tensor of encoder, decoder or CTC is missing or of another shape.
    """
    arguments = MTLASRTask.get_parser().parse_args([])
    # Statistics are those of the pretrained model, and no shape depends on them.
    options = {**wanted, "token_list": tokens, "normalize": None, "normalize_conf": {}}
    merged = argparse.Namespace(**{**vars(arguments), **options})
    # Shapes alone: nothing is allocated and nothing drawn.
    with torch.device("meta"):
        own = MTLASRTask.build_model(merged)
    given = upgraded(own, weights)
    shapes = own.state_dict()
    fitting = {k: v for k, v in given.items() if k in shapes and shapes[k].shape == v.shape}
    # Heads are new, so only what both models have must agree.
    shared = ("encoder.", "decoder.", "ctc.")
    wrong = [
        f"{name}: {tuple(given[name].shape) if name in given else 'not there'} in the pretrained "
        f"model, {tuple(value.shape)} in {where}"
        for name, value in shapes.items()
        if name.startswith(shared) and name not in fitting
    ]
    if wrong:
        raise InputError(f"the models differ:\n{summarize(wrong)}\nConfigure the model's sizes.")
    return initialisation_table(str(where), shapes, given, fitting)
