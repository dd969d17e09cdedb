"""A defence or a codec before a countermeasure that was trained without it."""

from pathlib import Path

import yaml

from espnet_ext.data.configurations import Config
from espnet_ext.data.files import write_text
from espnet_ext.data.weights import read_weights, write_weights
from espnet_ext.errors import InputError
from espnet_ext.tasks.building import build, read_configuration
from espnet_ext.tasks.countermeasure import CM_KIND


def put_before(
    config_file: str | Path,
    model_file: str | Path,
    output_dir: str | Path,
    defense: str | None,
    defense_conf: Config,
    allow_pickle: bool = False,
    codec: str | None = None,
) -> Path:
    """Write the cascade of a defence or a codec and a trained countermeasure as one model.

    The countermeasure stays as it is: a passive defence (Wu, Liu and Lee 2020, section 4.2.1).

    Args:
        config_file: `config.yaml` of the countermeasure.
        model_file: its weights.
        output_dir: directory for `config.yaml` and for weights under the name of `model_file`.
        defense: a choice of `--defense`; None for a codec alone.
        defense_conf: its arguments.
        allow_pickle: see `espnet_ext.data.weights.read_weights`.
        codec: name in `espnet_ext.data.codecs.CODECS`; speech then goes through it first.

    Returns:
        the weights that were written.

    Raises:
        InputError: the countermeasure has a defence or a codec already, or another input size
            than the defence gives, or a file cannot be read, or nothing is to be put before it.

    Example:
        >>> put_before("exp/lcnn/config.yaml", "exp/lcnn/valid.eer.best.pth",
        ...            "exp/lcnn_median", "filter", {"kind": "median"})   # doctest: +SKIP
    """
    config = read_configuration(config_file, CM_KIND, allow_pickle)
    if defense is None and (codec is None or defense_conf):
        raise InputError("nothing is put before the countermeasure: name a defence or a codec")
    for key, new in (("defense", defense), ("speech_codec", codec)):
        if new is not None and config.get(key) is not None:
            raise InputError(f"{config_file}: has the {key} '{config[key]}' already")
    added = {} if defense is None else {"defense": defense, "defense_conf": dict(defense_conf)}
    config |= added | ({} if codec is None else {"speech_codec": codec})
    config["output_dir"] = str(output_dir)
    model = build(CM_KIND.task, config, config_file, allow_pickle)
    # After `build`, which puts the architecture of a Mockingjay in place of its checkpoint.
    text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False)
    # That of the defence as built, the rest as trained.
    own, trained = model.state_dict(), read_weights(model_file, allow_pickle)
    expected = {name for name in own if not (added and name.startswith("defense."))}
    # Compared here, because `load_state_dict` would list all tensors of the defence as missing.
    if differing := sorted(set(trained) ^ expected):
        raise InputError(f"{model_file}: not the weights of this countermeasure ({differing[0]})")
    if shapes := [n for n, value in trained.items() if value.shape != own[n].shape]:
        raise InputError(
            f"{model_file}: '{shapes[0]}' has another shape behind the defence, which must give as "
            "many dimensions as it takes; train this cascade instead"
        )
    path = Path(output_dir) / Path(model_file).name
    write_weights(path, {**own, **trained})
    write_text(Path(output_dir) / "config.yaml", text)
    return path
