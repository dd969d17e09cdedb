"""The arrows between the parts of the package point one way (DESIGN: bin at the top)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "espnet_ext"
LAYERS = [
    {"compat", "errors", "precision"},
    {"metrics", "data"},
    {"jobs"},
    {"frontend"},
    {"asr", "ssl"},
    {"defense"},
    {"cm"},
    {"victims"},
    {"tasks", "attack", "report"},
    {"bin"},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}


def part_of(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imported_parts(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("espnet_ext.") and not name.endswith("__"):
                yield name.split(".")[1]


@pytest.mark.parametrize(
    "path", [p for p in sorted(ROOT.rglob("*.py")) if p.parent != ROOT], ids=str
)
def test_module_imports_only_from_below(path):
    own = part_of(path)
    for other in imported_parts(path):
        assert other == own or RANK[other] < RANK[own], f"{path} imports espnet_ext.{other}"


def test_every_part_has_its_layer():
    parts = {p.stem if p.suffix else p.name for p in ROOT.iterdir() if not p.name.startswith("_")}
    assert parts - {"py", "py.typed"} == set(RANK)
