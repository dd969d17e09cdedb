"""The options that a message advises, in the form that the typed command takes.

Messages name options of the command that says them. Below a recipe's `run.sh` nobody typed that
command: there `--allow_pipes true` of `format_data` is `--format_args "--allow_pipes true"`. The
main script of the recipe says what it takes: a line for each option, and "more options of
espnet_ext.bin.x" where it passes options on.
"""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path

from espnet_ext.bin.training import TRAININGS

# Set by egs2/TEMPLATE/common/utils/stages.sh: the main script, such as mtl_asr.sh.
VARIABLE = "ESPNET_EXT_RUN_SH"
OPTION = re.compile(r"(?<![\w-])--(\w[\w-]*\w)( (?:true|false|\d[\w.]*|[A-Z]+\b|[\w.]+=[^\s,;]+))?")
# A script with its options stays as it is, wherever it is advised.
SCRIPT = re.compile(r"utils/\w+\.sh(?: --[\w-]+(?: \w+)?)*")
# Options of a command that run.sh has under another name; an attack is named after its YAML file.
RENAMED = {
    "make_tokens": {"vocab_size": "nbpe"},
    "format_data": {"sample_rate": "fs", "source": "local_data_opts", "destination": "dumpdir"},
    "asr_attack": {"output_dir": "attack_config", "config": "attack_config"},
    "cm_attack": {"output_dir": "attack_config", "config": "attack_config"},
    "spk_attack": {"output_dir": "attack_config", "config": "attack_config"},
    "asr_train": {"output_dir": "expdir", "config": "train_config"},
    "cm_train": {"output_dir": "expdir"},
    "ssl_train": {"output_dir": "expdir"},
}


def in_words_of_run_sh(message: str, command: str, environment: Mapping[str, str]) -> str:
    """`message` of `command`, with the options of `run.sh` where `run.sh` called the command.

    Example:
        >>> in_words_of_run_sh("use --drop_bad_audio true", "format_data", {})
        'use --drop_bad_audio true'
    """
    # Empty where a person has typed the command: then the options are its own already.
    script = Path(environment.get(VARIABLE, ""))
    if not script.is_file():
        return message
    # The script itself is the list of its options: a second one would fall behind.
    text = script.read_text(errors="replace")
    message = message.replace(
        "run the same command again", "run ./run.sh again with the same options"
    )

    scripts = SCRIPT.findall(message)
    parts = [
        OPTION.sub(lambda found: translated(found[1], found[2] or "", command, text), part)
        for part in SCRIPT.split(message)
    ]
    return parts[0] + "".join(a + b for a, b in zip(scripts, parts[1:], strict=True))


def translated(name: str, value: str, command: str, script: str) -> str:
    """The option `name` of `command` as the main script whose text is `script` takes it.

    Options that the script neither has nor passes on stay as they are.
    """
    plain = f"--{name}{value}"
    if command == "data_from_table":  # local/data.sh calls it and hands its own options on
        return f'--local_data_opts "{plain}"'
    own = RENAMED.get(command, {}).get(name, name)
    # A main script may have the option itself, or hand it on in a string of options.
    if own in options_of(script):
        return f"--{own}{value}"
    passed_on = passing_options(script)
    # Of the command itself, else of another, such as format_data; one training for another never.
    for other in sorted(passed_on, key=lambda each: each != command):
        if f"--{name}" in options(other) and (other == command or other not in TRAININGS):
            return f'--{passed_on[other]} "{plain}"'
    return plain


def options(module: str) -> list[str]:
    """Options of a command, and names of its sub-commands; of trainings those of their help.

    ESPnet's parser takes seconds to build.
    """
    if module in TRAININGS:
        return re.findall(r"--\w+", TRAININGS[module].help)
    command = importlib.import_module(f"espnet_ext.bin.{module}")
    found: list[str] = []
    for action in command.get_parser()._actions:
        found += action.option_strings
        if isinstance(action.choices, dict):
            found += action.choices
    return found


def options_of(script: str) -> list[str]:
    """Names of the options of a main script with this text."""
    return re.findall(r"^([a-z_]+)=", script.partition("\n# General\n")[2], re.MULTILINE)


def passing_options(script: str) -> dict[str, str]:
    """Command -> the option of the main script that holds more options of it."""
    passing = r"^([a-z_]+_args)=.*more options of espnet_ext\.bin\.([a-z_]+)"
    return {command: name for name, command in re.findall(passing, script, re.MULTILINE)}
