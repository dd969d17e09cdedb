"""`espnet-ext VERB ...`: all commands under one name, which detects the kind of model.

`espnet-ext infer --model exp/senet_mel_seed0 ...` is `python -m espnet_ext.bin.cm_inference`: that
directory holds a countermeasure.
"""

import contextlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from espnet_ext import __version__
from espnet_ext.bin import cli
from espnet_ext.bin.advice import options
from espnet_ext.errors import InputError


class Verb(NamedTuple):
    """A command of `espnet-ext`.

    Attributes:
        text: one line for the list of commands.
        modules: kind of model -> module in `espnet_ext.bin`; one of them where there is one kind.
    """

    text: str
    modules: Mapping[str, str]


def _verb(text: str, *modules: str, **of_kinds: str) -> Verb:
    return Verb(text, of_kinds or {"": modules[0]})


VERBS = {
    "attack": _verb(
        "attack a recognizer, a countermeasure or speaker verification",
        asr="asr_attack",
        cm="cm_attack",
        spk="spk_attack",
    ),
    "attack file": _verb("attack one audio file; also: attack AUDIO TEXT", "attack_file"),
    "transfer": _verb("let a recognizer hear adversarial audio made on another", "asr_transfer"),
    "verify": _verb("check an attack on a recognizer against its audio and the model", "verify"),
    "infer": _verb(
        "transcribe a data directory, or score it with a countermeasure",
        asr="asr_inference",
        cm="cm_inference",
    ),
    "score": _verb("error rates of a countermeasure from its score file", "cm_score"),
    "results": _verb(
        "tables and figures of a sweep of recognizers, or of countermeasures",
        asr="asr_report",
        cm="cm_report",
    ),
    "report": _verb("one HTML page from result directories", "report"),
    "card": _verb("robustness cards of attacked models", "card"),
    "train": _verb(
        "train a recognizer with heads, a countermeasure or a Mockingjay",
        asr="asr_train",
        cm="cm_train",
        ssl="ssl_train",
    ),
    "defend": _verb("put a defence or a codec before a trained countermeasure", "cm_defend"),
    "reconstruct": _verb("measure and draw what a Mockingjay reconstructs", "ssl_evaluate"),
    "lnsr": _verb("layerwise noise-to-signal ratio of Mockingjays", "cm_lnsr"),
    "probe": _verb("linear probe of the layers of Mockingjays", "cm_probe"),
    "targets": _verb("choose what each attacked utterance shall be heard as", "make_targets"),
    "target-set": _verb("make targets of the words of a small vocabulary", "make_target_set"),
    "tokens": _verb("make the token list of a corpus", "make_tokens"),
    "classes": _verb("list the classes of a classification head", "make_classes"),
    "pretrained": _verb("make a public recognizer the start of others", "asr_pretrained"),
    "export": _verb("write a recognizer for espnet2.bin.asr_inference", "export_stock"),
    "data": _verb("check, fix, copy, split, ... data directories", "data_dir"),
    "data format": _verb("check audio and write the data directory for training", "format_data"),
    "data from-table": _verb("make data directories from a CSV or TSV table", "data_from_table"),
    "demo": _verb("train a small recognizer and attack it: four minutes", "demo"),
    "recipes": _verb("write the recipes into a directory, to run and change there", "recipes"),
    "list": _verb("check a list of models or conditions of a recipe", "read_list"),
    "check": _verb("what is installed, and how to get what is missing", "check"),
}
# Doubled braces are bash's own: the text goes through `str.format`.
COMPLETION = """\
_espnet_ext() {{
    local words='' current=${{COMP_WORDS[COMP_CWORD]}}
    case "${{COMP_WORDS[*]:1:COMP_CWORD - 1}} " in
        " ") words="{verbs}" ;;
{cases}
    esac
    # Values are mostly files: what is not in the list is completed by their names.
    mapfile -t COMPREPLY < <(compgen -W "${{words}}" -- "${{current}}")
}}
complete -o default -F _espnet_ext espnet-ext
"""


def main() -> None:
    """Run the command that the words of `sys.argv` name; see `cli.run` for how it ends."""
    cli.run(dispatch)


def dispatch() -> None:
    """Run the command that the words name, or print help, version or completion.

    Raises:
        InputError: there is no such command, or no such kind of model.
    """
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return
    if words[0] == "--version":
        print(f"espnet-ext {__version__}")
        return
    if words[0] == "completion":
        print(completion(words[1:]), end="")
        return
    # Commands of two words go before the one that is their first word.
    name = " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]
    if name not in VERBS:
        raise InputError(f"there is no command '{words[0]}'; espnet-ext --help lists them")
    modules, rest = chosen(name, words[len(name.split()) :])
    # Usage, lock files and results name the command as it was typed.
    sys.argv = [f"espnet-ext {name}", *rest]
    for number, module in enumerate(modules, 1):
        # Each help ends its command, and the others are to come.
        with contextlib.suppress(*[SystemExit] * (number < len(modules))):
            cli.run(importlib.import_module(f"espnet_ext.bin.{module}").main, module)


def usage() -> str:
    """The list of commands."""
    width = max(map(len, VERBS)) + 2
    lines = (f"  {name:<{width}}{verb.text}" for name, verb in VERBS.items())
    return "\n".join(
        [
            "usage: espnet-ext COMMAND [option ...]\n",
            "Attack speech models, defend them, and measure both. Commands:\n",
            *lines,
            f"  {'completion':<{width}}completion of commands and options: bash or zsh\n",
            "espnet-ext COMMAND --help tells its options, --version the version. A command for",
            "several kinds of model takes that of --model, or of --kind asr, cm, spk or ssl.",
        ]
    )


def chosen(name: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The module that a command stands for, all of them where help is asked for, and its words.

    Raises:
        InputError: the kind of model is not known, or the command has none for it.
    """
    rest, modules = list(words), VERBS[name].modules
    # A word that is not an option is an audio file; attacks on data directories take options only.
    if name == "attack" and rest and not rest[0].startswith("-"):
        modules = VERBS["attack file"].modules
    kind: str | None
    # One kind of model, or none: nothing has to be found out.
    if "" in modules:
        return [modules[""]], rest
    # Taken out of the words, for the commands themselves do not know it.
    if "--kind" in rest[:-1]:
        at = rest.index("--kind")
        _, kind = rest.pop(at), rest.pop(at)
    else:
        # The directory of a model says what it is; without one, an option that one kind alone has.
        kind = kind_of_words(name, rest)
    if kind is None and (not rest or {"-h", "--help"} & set(rest)):
        return [*modules.values()], ["--help"]
    if kind is None:
        raise InputError(f"which kind of model? Give --model, or --kind: {', '.join(modules)}")
    if kind not in modules:
        raise InputError(f"{name} is for models of kind {' or '.join(modules)}, not {kind}")
    if modules[kind] == "cm_attack":  # its other models are targets
        rest = ["--source" if word == "--model" else word for word in rest]
    return [modules[kind]], rest


def kind_of_words(name: str, words: Sequence[str]) -> str | None:
    """The kind of the model that is named, or the one whose command alone has an option.

    Args:
        name: of the command.
        words: after it.

    Returns:
        "asr", "cm", "spk" or "ssl"; None where the words do not tell.
    """
    from espnet_ext.data.model_files import model_kind

    # What is to be trained has no directory yet: its configuration says what it will be.
    named = "--config" if name == "train" else "--model"
    if named in words[:-1]:
        return model_kind(words[words.index(named) + 1])
    modules = VERBS[name].modules
    for word in words:
        having = [k for k, module in modules.items() if word in options(module)]
        # `options` has the names of sub-commands, too, and a file may be called like one.
        if len(having) == 1 and word.startswith("--"):
            return having[0]
    return None


def completion(words: Sequence[str]) -> str:
    """What a shell evaluates to complete commands and options.

    Raises:
        InputError: the shell is not one of those that are known.
    """
    if list(words) not in (["bash"], ["zsh"]):
        raise InputError('give bash or zsh, as in: eval "$(espnet-ext completion bash)"')
    cases = []
    for name, verb in reversed(VERBS.items()):  # `data format` before `data`
        known = dict.fromkeys(o for module in verb.modules.values() for o in options(module))
        more = ["format", "from-table"] if name == "data" else []
        cases.append(f'        "{name} "*) words="{" ".join([*more, *known])}" ;;')
    names = " ".join(dict.fromkeys(name.split()[0] for name in [*VERBS, "completion"]))
    script = COMPLETION.format(verbs=names, cases="\n".join(cases))
    zsh = "autoload -U +X bashcompinit && bashcompinit\n"
    return script if words[0] == "bash" else zsh + script


if __name__ == "__main__":
    main()
