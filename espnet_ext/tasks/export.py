"""Export of this project's models for users who have only ESPnet."""

from pathlib import Path

from espnet_ext.data.files import write_text
from espnet_ext.data.weights import read_weights, write_weights
from espnet_ext.tasks.building import read_configuration
from espnet_ext.tasks.mtl_asr import MODEL_NAME
from espnet_ext.tasks.recognizer import ASR_KIND

HEAD_OPTIONS = ("asr_weight", "heads", "head_weights", "head_conf", "ctc_entropy_weight")


def export_stock(
    config_file: str | Path,
    model_file: str | Path,
    output_dir: str | Path,
    allow_pickle: bool = False,
) -> tuple[Path, Path]:
    """Write a configuration and weights that `espnet2.bin.asr_inference` takes.

    The classification heads are left out; encoder, CTC and decoder are unchanged.

    Args:
        config_file: configuration of a model of `MTLASRTask`.
        model_file: its weights.
        output_dir: `config.yaml` and `model.pth` are written here.
        allow_pickle: see `espnet_ext.data.weights.read_weights`.

    Returns:
        the two files.

    Raises:
        InputError: a file is missing or damaged, or stock ESPnet would unpickle or fetch
            something when it loads the model.
    """
    from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

    config_path, model_path = Path(output_dir) / "config.yaml", Path(output_dir) / "model.pth"
    config = read_configuration(config_file, ASR_KIND, allow_pickle)
    state = read_weights(model_file, allow_pickle)
    # `espnet2.bin.asr_inference` loads strictly, so tensors and options of the heads must go.
    weights = {k: v for k, v in state.items() if not k.startswith("heads.")}
    if config.get("model") == MODEL_NAME:
        rest = {k: v for k, v in config["model_conf"].items() if k not in HEAD_OPTIONS}
        config |= {"model": "espnet", "model_conf": rest}
    write_text(config_path, yaml_no_alias_safe_dump(config, indent=4, sort_keys=False))
    write_weights(model_path, weights)
    return config_path, model_path
