"""Messages advise options that exist where the user is: of the command, or of its `run.sh`."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from espnet_ext.bin import advice, cli
from espnet_ext.errors import InputError

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {path.name: path for path in (ROOT / "egs2/TEMPLATE").glob("*/*.sh") if "1/" in str(path)}
TASKS = {
    "asr_train": ("espnet_ext.tasks.mtl_asr", "MTLASRTask"),
    "cm_train": ("espnet_ext.tasks.countermeasure", "CountermeasureTask"),
    "ssl_train": ("espnet_ext.tasks.mockingjay", "MockingjayTask"),
}
# What imports do not tell: who says it, and what run.sh always gives or says in another task only.
SAID_BY = {
    "espnet_ext.tasks.resume": set(TASKS),
    "espnet_ext.tasks.trainer": set(TASKS),
    "espnet_ext.report.recognition_report": set(),
}
GIVEN = {("cm_inference", "output"), ("read_list", "heads")}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in (ROOT / "espnet_ext").rglob("*.py")}
COMMANDS = [name for name, path in MODULES.items() if "cli.run(main)" in path.read_text()]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


@cache
def imports(module: str) -> set[str]:
    """Modules of the project that this one imports, or names in a string, as `cli.train` does."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return (found & MODULES.keys()) - {module}


def reached(command: str) -> set[str]:
    """All modules that a command may come to, itself among them."""
    seen, waiting = set(), [command]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imports(module)
    return seen


def messages(module: str) -> Iterator[str]:
    """Sentences of a module that may reach a user: string literals, no docstring or usage."""
    parts = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(value) for value in node.values}
            yield "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
        elif isinstance(node, ast.Expr):  # a docstring
            parts.add(id(node.value))
        elif isinstance(node, ast.keyword) and node.arg == "example":  # of a help text
            parts |= {id(part) for part in ast.walk(node.value)}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def advised(module: str) -> set[str]:
    """Options that a module's messages speak of; not those of others."""
    if module in ("espnet_ext.jobs.slurm", "espnet_ext.bin.entry"):
        return set()
    spoken = [
        m for m in messages(module) if " " in m.strip() and not m.startswith(("usage: ", "  --"))
    ]
    option = r"(?<![\w-])--(\w[\w-]*\w)"
    return {name for m in spoken for name in re.findall(option, advice.SCRIPT.sub("", m))}


@cache
def options(command: str) -> set[str]:
    """Options of a command, those of its sub-commands among them."""
    name = command.rpartition(".")[2]
    if name in TASKS:
        module, task = TASKS[name]
        parser = getattr(importlib.import_module(module), task).get_parser()
    elif hasattr(importlib.import_module(command), "get_parser"):
        parser = importlib.import_module(command).get_parser()
    else:  # run.pl and its like: what their usage names
        return set(re.findall(r"--(\w[\w-]*\w)", MODULES[command].read_text()))
    found, parsers = set(), [parser]
    while parsers:
        for action in parsers.pop()._actions:
            found |= {option.lstrip("-") for option in action.option_strings}
            if isinstance(action.choices, dict):
                parsers += action.choices.values()
    return found


@pytest.mark.parametrize("module", sorted(m for m in MODULES if advised(m)))
def test_a_message_speaks_of_options_that_a_command_has(module):
    saying = [command for command in COMMANDS if module in reached(command)]
    # Whoever reads a list of models speaks of the trainings it is for.
    trainings = [f"espnet_ext.bin.{name}" for name in TASKS]
    known = {option for command in (*saying, *trainings) for option in options(command)}
    for path in SCRIPTS.values():
        known |= set(advice.options_of(path.read_text()))
    known |= {option.replace("-", "_") for option in known}  # of data_dir they are the same
    assert saying and advised(module) <= known, advised(module) - known


def test_what_is_advised_of_the_scripts_for_data_directories_exists():
    advices = {x for m in MODULES for text in messages(m) for x in advice.SCRIPT.findall(text)}
    named = {option for x in advices for option in re.findall(r"--(\w[\w-]*\w)", x)}
    known = {option.replace("-", "_") for option in options("espnet_ext.bin.data_dir")}
    assert {"clean", "normalize"} <= {name.replace("-", "_") for name in named} <= known


@pytest.mark.parametrize("name", SCRIPTS)
def test_below_run_sh_a_message_speaks_of_options_of_run_sh(name):
    script = SCRIPTS[name].read_text()
    own = advice.options_of(script)
    run = set(re.findall(r"(?<=espnet_ext\.bin\.)\w+", script))
    lost = []
    for command in run:
        for module in reached(f"espnet_ext.bin.{command}"):
            if command not in SAID_BY.get(module, run):
                continue
            for option in advised(module) & options(f"espnet_ext.bin.{command}"):
                said = advice.translated(option, "", command, script)
                if re.match(r"--(\w+)", said)[1] not in own and (command, option) not in GIVEN:
                    lost.append((command, module, option))
    assert run and not lost, "\n".join(map(str, lost))


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_main_script_says_exists(name):
    stages = ROOT / "egs2/TEMPLATE/common/utils/stages.sh"
    for path in (SCRIPTS[name], stages):
        said = [x for x in path.read_text().splitlines() if re.search(r"^\s*(log|echo) |error:", x)]
        mentioned = {option for line in said for option in re.findall(r"--(\w+)", line)}
        assert mentioned <= {*advice.options_of(SCRIPTS[name].read_text()), "help"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_passed_on_is_passed_to_commands_of_the_script(name):
    script = SCRIPTS[name].read_text()
    stages = (ROOT / "egs2/TEMPLATE/common/utils/stages.sh").read_text()
    passing = advice.passing_options(script)
    assert "format_data" in passing
    for command, option in passing.items():
        assert f"espnet_ext.bin.{command}" in script + stages
        assert f"${{{option}}}" in script + stages


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        (
            "format_data",
            "then use --allow_pipes true.",
            'then use --format_args "--allow_pipes true".',
        ),
        (
            "asr_inference",
            "format the data with --resample true",
            '--format_args "--resample true"',
        ),
        ("asr_attack", "give another --output_dir or remove", "another --attack_config or remove"),
        ("asr_train", "Give another --output_dir, or", "Give another --expdir, or"),
        ("make_tokens", "choose another --vocab_size", "choose another --nbpe"),
        ("asr_train", "--ngpu 1, but PyTorch sees no GPU; use --ngpu 0", "--ngpu 1, but PyTorch"),
        ("asr_train", "--model_conf heads.a=F, or", '--train_args "--model_conf heads.a=F", or'),
        (
            "format_data",
            "utils/fix_data_dir.sh --normalize NFC, or --allow_invisible true",
            'utils/fix_data_dir.sh --normalize NFC, or --format_args "--allow_invisible true"',
        ),
        ("data_from_table", "or another --seed, or", '--local_data_opts "--seed", or'),
        ("data_dir", "give either --utt-list <file>", "give either --utt-list <file>"),
        ("asr_attack", "free some space and run the same command again", "run ./run.sh again"),
    ],
)
def test_the_advice_of_a_command_is_said_in_words_of_run_sh(command, message, expected):
    environment = {advice.VARIABLE: str(SCRIPTS["mtl_asr.sh"])}
    assert expected in advice.in_words_of_run_sh(message, command, environment)
    assert advice.in_words_of_run_sh(message, command, {}) == message


def test_a_command_ends_with_advice_for_where_it_was_called(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/x/format_data.py"])
    monkeypatch.setenv(advice.VARIABLE, str(SCRIPTS["ssl.sh"]))

    def fail() -> None:
        raise InputError("leave them out with --drop_bad_audio true")

    with pytest.raises(SystemExit, match='with --format_args "--drop_bad_audio true"'):
        cli.run(fail)
