"""Configuration and weights of a model: two files, a directory, or an archive."""

import logging
from contextlib import suppress
from pathlib import Path, PurePath
from typing import NamedTuple

from espnet_ext.data.archives import archive_folder, is_archive, unpacked
from espnet_ext.data.configurations import read_with_base
from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.files import Record, read_yaml
from espnet_ext.errors import InputError

CONFIG, META = "config.yaml", "meta.yaml"
KINDS: dict[str, tuple[str, ...]] = {
    "asr": (),
    "cm": (),
    "ssl": (),
    "spk": ("pooling", "projector", "spk_num"),
    "asr_transducer": ("joint_network_conf",),
}
"""Recognizers, countermeasures, models of self-supervised learning, speaker encoders, and kinds
that `espnet_ext.tasks.building.ModelKind` has added, with keys that tell their configurations."""
ALIKE = {"asr": ("s2t", "asr_transducer")}
"""Kinds whose models are accepted where a model of another kind is asked for."""
WHISPER_PREFIX = "whisper:"
"""Before the path of a checkpoint in OpenAI's layout, given as a model."""
FILE_KEYS = ("token_list", "non_linguistic_symbols", "stats_file", "checkpoint")
"""Keys whose value is a file, at any depth; `bpemodel` is a file for some token types only."""
_HEADS = "model_conf.heads."
"""Below it each value may be a file of classes."""


class ModelFiles(NamedTuple):
    """What a model is read from.

    Attributes:
        config: its `config.yaml`.
        weights: its state dictionary.
        config_name: where the configuration comes from, as the user knows it: a file of an
            archive is `packed.zip/exp/asr/config.yaml`.
        weights_name: likewise.
    """

    config: Path
    weights: Path
    config_name: str
    weights_name: str


class _Folder(NamedTuple):
    """A directory, or an unpacked archive, in which a model of a kind is."""

    path: Path
    given: Path  # what the user calls it
    kind: str

    @classmethod
    def at(cls, given: str | Path, kind: str, max_gb: float | None = None) -> "_Folder | None":
        """The folder that a path stands for; None where it is a file."""
        path = Path(given)
        if path.is_dir():
            return cls(path, path, kind)
        return cls(unpacked(path, max_gb), path, kind) if is_archive(path) else None

    def shown(self, path: Path) -> str:
        """A file for messages: one of an archive is `packed.zip/exp/asr/config.yaml`."""
        return str(PurePath(self.given, path.relative_to(self.path)))

    def meta(self) -> Path | None:
        """The list of a packed model, where there is one."""
        here = self.path / META
        metas = [here] if here.is_file() else sorted(self.path.glob(f"*/{META}"))
        return metas[0] if len(metas) == 1 else None

    def listed(self, section: str, what: str) -> Path | None:
        """The file that the list of a packed model names; None where there is no list."""
        meta = self.meta()
        files = None if meta is None else read_yaml(meta).get(section)
        if meta is None or not isinstance(files, dict):
            return None
        keys = [f"{kind}_{what}" for kind in (self.kind, *ALIKE.get(self.kind, ()))]
        key = next((key for key in keys if key in files), keys[0])
        if not isinstance(files.get(key), str):
            raise InputError(
                f"{self.given}: a packed model without {key} (its {META} lists "
                f"{', '.join(map(str, files)) or 'nothing'}): a model of another task"
            )
        # Packing strips the first slash of a path that leads out of the directory it was called in.
        relative = PurePath(files[key].lstrip("/"))
        for base in (meta.parent, self.path):
            if ".." not in relative.parts and (base / relative).is_file():
                return base / relative
        raise InputError(f"{self.given}: its {META} names {files[key]}, which is not in it")

    def config(self) -> Path:
        """The configuration of the model."""
        if listed := self.listed("yaml_files", "train_config"):
            return listed
        if (self.path / CONFIG).is_file():
            return self.path / CONFIG
        found = sorted(self.path.rglob(CONFIG))
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError(
                f"{self.given}: no {CONFIG} in it; give the directory of a trained model"
            )
        names = ", ".join(self.shown(path.parent) for path in found[:5])
        raise InputError(f"{self.given}: {len(found)} models are in it; give one of them: {names}")

    def weights(self, config: Path) -> Path:
        """The weights that ESPnet's recipes decode with."""
        if listed := self.listed("files", "model_file"):
            return listed
        # Several names may be links to one file; checkpoint.pth is the state of the training.
        files = [p for p in sorted(config.parent.glob("[!.]*.pth")) if p.name != "checkpoint.pth"]
        where, different = self.shown(config.parent), len({path.resolve() for path in files})
        if not files:
            raise InputError(
                f"{where}: no weights in it (*.pth; checkpoint.pth is the state of a training); "
                "has the training been run?"
            )
        values, names = read_yaml(config), {path.name: path for path in files}
        # What the recipes decode with, then what training chose by.
        averaged = self.kind == "asr" and values.get("model") != "mtl_asr"
        preferred = ["valid.acc.ave.pth" if averaged else "valid.loss.best.pth"]
        if self.kind == "cm":
            # The last epoch, at whose end the learning rate is 0; as `inference_model` of cm.sh.
            preferred = ["latest.pth"]
        for criterion in reversed(values.get("best_model_criterion") or []):
            if isinstance(criterion, list) and len(criterion) > 1 and criterion[0] == "valid":
                ends = ("ave", "best") if averaged else ("best", "ave")
                preferred += [f"valid.{criterion[1]}.{end}.pth" for end in ends]
        for name in preferred:
            if name in names:
                if different > 1:
                    logging.info("%s: of its weights, %s are taken", where, name)
                return names[name]
        if different == 1:
            return files[0]
        raise InputError(
            f"{where}: which weights are meant? Give {CONFIG} and one of them as two files: "
            f"{', '.join(list(names)[:8])}"
        )


def find_model(
    config: str | Path,
    weights: str | Path | None = None,
    kind: str = "asr",
    max_gb: float | None = None,
) -> ModelFiles:
    """Configuration and weights of a model.

    Args:
        config: a configuration, a model directory, or an archive of `espnet2.bin.pack`.
        weights: a state dictionary, a model directory or an archive; None for that of `config`.
        kind: under which names an archive lists them: `<kind>_train_config` and
            `<kind>_model_file`.
        max_gb: that an archive may unpack to, see `espnet_ext.data.archives.unpacked`.

    Returns:
        files that exist.

    Raises:
        InputError: nothing is there, or several files could be meant (names them).

    Example:
        >>> find_model("exp/asr").config    # doctest: +SKIP
        PosixPath('exp/asr/config.yaml')
    """
    checkpoint = whisper_checkpoint(config)
    if checkpoint is not None and weights in (None, config, checkpoint):
        return ModelFiles(checkpoint, checkpoint, str(config), str(config))
    config = Path(config)
    folder = _Folder.at(config, kind, max_gb)
    found = folder.config() if folder else config
    if folder is None and weights is not None and config == Path(weights):
        if not config.exists():
            raise InputError(f"{config}: no such model directory or archive")
        here = (config.parent / CONFIG).is_file()
        cure = config.parent if here else f"one with {CONFIG} and weights (*.pth) in it"
        raise InputError(
            f"{config}: not a model directory or an archive of espnet2.bin.pack, but "
            f"{file_sort(config).what}; give the directory, {cure}"
        )
    if not found.is_file():
        raise InputError(f"{config}: no such configuration")
    config_name = folder.shown(found) if folder else str(found)
    if weights is None and folder is None:
        raise InputError(
            f"{config}: give its weights too, or the directory of the model in place of both"
        )
    given = config if weights is None else Path(weights)
    beside = found
    if given != config:
        folder = _Folder.at(given, kind, max_gb)
        if folder is None:
            if not given.is_file():
                raise InputError(f"{given}: no such checkpoint; has the training stage been run?")
            return ModelFiles(found, given, config_name, str(given))
        beside = folder.config()
    assert folder is not None, "else weights were given, or it was refused"
    chosen = folder.weights(beside)
    return ModelFiles(found, chosen, config_name, folder.shown(chosen))


def whisper_checkpoint(model: str | Path) -> Path | None:
    """The file that `whisper:PATH` means, PATH being it or its directory; or any file ``*.pt``.

    ESPnet's weights are called ``*.pth``.

    Returns:
        the file; None for every other model.

    Raises:
        InputError: there is no such file, or there are several.

    Example:
        >>> whisper_checkpoint("whisper:tiny.en.pt")    # doctest: +SKIP
        PosixPath('tiny.en.pt')
    """
    if not str(model).startswith(WHISPER_PREFIX):
        return Path(model) if Path(model).suffix == ".pt" and Path(model).is_file() else None
    path = Path(str(model).removeprefix(WHISPER_PREFIX))
    files = sorted(path.glob("*.pt")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        found = f"{len(files)} files *.pt are in it" if path.is_dir() else "there is no such file"
        raise InputError(
            f"{model}: {found}; give a checkpoint in OpenAI's layout, such as tiny.en.pt"
        )
    return files[0]


def model_kind(model: str | Path) -> str:
    """What kind of model a configuration, a model directory or an archive is of.

    Returns:
        "asr", "cm", "ssl" or another, see `model_kind_of`.

    Raises:
        InputError: nothing is there, or no configuration is found.

    Example:
        >>> model_kind("egs2/librispeech/ssl1/conf/train_base.yaml")    # doctest: +SKIP
        'ssl'
    """
    if whisper_checkpoint(model) is not None:
        return "asr"
    folder = _Folder.at(model, "asr")
    if folder is None:
        return model_kind_of(read_with_base(model))
    if meta := folder.meta():
        listed = read_yaml(meta).get("yaml_files")
        for kind in (*KINDS, *ALIKE["asr"]):
            if isinstance(listed, dict) and f"{kind}_train_config" in listed:
                return kind
    return model_kind_of(read_yaml(folder.config()))


def model_kind_of(config: Record) -> str:
    """The kind of model of a configuration: what its key `kind` says, or keys that no other has.

    Example:
        >>> model_kind_of({"encoder": "lcnn", "segment_conf": {"num_frames": 100}})
        'cm'
    """
    if isinstance(config.get("kind"), str):
        return str(config["kind"])
    for kind, keys in KINDS.items():
        if keys and all(key in config for key in keys):
            return kind
    if config.get("preprocessor") == "s2t":
        return "s2t"
    # Not every configuration names its kind.
    if "segment_conf" in config or config.get("encoder") in ("lcnn", "senet", "xvector"):
        return "cm"
    return "ssl" if config.get("encoder") == "mockingjay" else "asr"


def model_paths(
    config: str | Path, weights: str | Path | None, kind: str
) -> tuple[Path, Path | None]:
    """As `find_model`, for loaders: weights that are not given stay None for a lone configuration.

    Raises:
        InputError: see `find_model`.
    """
    if weights is None and whisper_checkpoint(config) is None and _Folder.at(config, kind) is None:
        return Path(config), None
    found = find_model(config, weights, kind)
    return found.config, found.weights


def find_files(section: Record, config: str | Path, above: str = "") -> None:
    """Replace the name of each file in a configuration by that of the file that is there now.

    Args:
        section: keys and values of the configuration, or of a part of it; changed.
        config: its file.
        above: the key of the part with a dot at its end.

    Raises:
        InputError: a file is not there, or lies outside of the archive of the configuration.
    """
    for key, value in section.items():
        if isinstance(value, dict):
            find_files(value, config, f"{above}{key}.")
        if not isinstance(value, str) or not (key in FILE_KEYS or above == _HEADS):
            continue
        folder = False  # the directory of a pretrained model
        if key == "checkpoint" and archive_folder(config) is None:
            with suppress(OSError):  # a name that no file can have
                folder = Path(value).is_dir()
        if not folder:
            section[key] = found_file(value, f"{above}{key}", config)


def found_file(named: str, key: str, config: str | Path) -> str:
    """The file that a key of a configuration names; the name as it is where that leads to the file.

    Raises:
        InputError: see `find_files`.
    """
    found = nearby_file(named, config)
    if found is None and archive_folder(config) is not None:
        raise InputError(
            f"{config}: {key}: names {named}, which is not in the archive of the model; nothing "
            "outside of it is read"
        )
    if found is None:
        raise InputError(
            f"{config}: {key}: there is no {named}, neither from here nor from the directories of "
            f"the configuration; put {Path(named).name} beside it, or correct the path"
        )
    if Path(named).is_file() and found.samefile(named):
        return named
    logging.info("%s: %s: %s is read", config, key, found)
    return str(found)


def nearby_file(named: str, config: str | Path) -> Path | None:
    """A file that a configuration names, for models that were packed, copied or moved.

    Looked for, in this order: as ESPnet does, from the directories above the configuration (the
    training was started in one of them; an archive keeps its folders), beside the configuration,
    and from the current directory. For a configuration in an archive, only in the archive.

    Args:
        named: the path in the configuration.
        config: the configuration.

    Returns:
        the file; None where there is none.
    """
    path, config = Path(named), Path(config).absolute()
    relative = path.relative_to("/") if path.is_absolute() else path
    within = archive_folder(config)
    # The last of the parents is the root: an absolute path as it is.
    for found in (*(above / relative for above in config.parents), config.parent / path.name, path):
        with suppress(OSError, ValueError):  # a name that no file can have
            if found.is_file() and (within is None or within in found.resolve().parents):
                return found
    return None
