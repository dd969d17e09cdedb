"""Put a defence or a codec before a trained countermeasure."""

import argparse

from espnet_ext.bin import cli
from espnet_ext.data.codecs import CODECS


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Write the cascade of a defence or a codec and a trained countermeasure as one model.",
        example=(
            "espnet-ext defend --model exp/lcnn --defense filter --defense_conf kind=median "
            "--output_dir exp/lcnn_median"
        ),
    )
    add = parser.add_argument
    cli.CM_MODEL.add(parser, "the countermeasure")
    add("--output_dir", required=True, help="config.yaml and weights of the cascade")
    add("--defense", help="filter, or another choice of cm_train")
    add("--defense_conf", type=key_value, action="append", default=[], help="KEY=VALUE, repeatable")
    add("--speech_codec", choices=[*CODECS], help="codec before the front end")
    cli.add_allow_pickle(parser)
    return parser


def key_value(text: str) -> tuple[str, object]:
    """Type of an option that takes KEY=VALUE, the value as in YAML.

    Example:
        >>> key_value("size=3")
        ('size', 3)
    """
    import yaml

    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, not '{text}'")
    # Types as in a YAML file, which has the same keys: 3 is a number and null is None.
    return key, yaml.safe_load(value)


def main() -> None:
    """Write the cascade and say where."""
    args = cli.parse(get_parser())
    files = cli.CM_MODEL.find(args)
    from espnet_ext.tasks.cascade import put_before

    path = put_before(
        files.config,
        files.weights,
        args.output_dir,
        args.defense,
        dict(args.defense_conf),
        args.allow_pickle,
        args.speech_codec,
    )
    print(path)


if __name__ == "__main__":
    cli.run(main)
