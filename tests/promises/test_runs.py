"""What a run of all methods promises about its directory, whatever happens to it."""

import dataclasses
import functools
import itertools
import json
import math
import os
import shutil

import numpy as np
import pytest
from promises.adapters import ON_GPU, ONE_OF_EACH_KIND, PLACES, STEPS, VICTIMS, marks

from espnet_ext.attack.methods import method_named
from espnet_ext.data.files import read_jsonl
from espnet_ext.errors import InputError

pytestmark = pytest.mark.one_python

every_victim = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=marks(name)) for name in VICTIMS]
)
one_of_each_kind = pytest.mark.parametrize("name", ONE_OF_EACH_KIND)


@pytest.fixture
def victim(name, victim_of):
    return victim_of(name)


@pytest.fixture(scope="module")
def finished(victim_of, tmp_path_factory):
    """The directory of a whole run of a victim, made once."""

    @functools.cache
    def run(name, budget):
        return finish(victim_of(name).begin(tmp_path_factory.mktemp("whole"), budget))

    return lambda name, budget=None: run(name, budget or victim_of(name).budgets[0])


def finish(run):
    run.run()
    run.collect()
    return run.output_dir


def contents(folder):
    """All files but the seconds that the attack took."""
    found = {
        str(p.relative_to(folder)): p.read_bytes().replace(bytes(folder), b"OUTPUT")
        for p in folder.rglob("*")
        if p.is_file()
    }
    for name in found:
        if name.endswith(".jsonl"):
            rows = [json.loads(line) for line in found[name].splitlines()]
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return found


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        pytest.param(name, budget, marks=marks(name), id=f"{name}-{budget.norm:g}-{budget.tag}")
        for name, (kind, _) in PLACES.items()
        for budget in kind.budgets[:: len(kind.budgets) - 1 if name in ONE_OF_EACH_KIND else 99]
    ],
)
def test_what_is_saved_holds_the_budget_in_double_precision(victim, name, budget, finished):
    found = list(victim.saved(finished(name, budget)))
    expected = [m for m in victim.methods if budget.norm in method_named(m).norms]
    assert {one.row["method"] for one in found} == {*expected, "much"}
    for row, clean, attacked in found:
        assert attacked.shape == clean.shape and attacked.dtype == np.float32
        assert victim.used(budget, clean, attacked) <= 1.0, row


@every_victim
def test_any_number_of_shards_gives_the_same_bytes(victim, name, finished, tmp_path):
    for shard in (3, 1, 2):
        assert not victim.begin(tmp_path).finished()
        run = victim.begin(tmp_path)
        run.run(shard, 3)
    assert run.finished()
    run.collect()
    assert contents(tmp_path) == contents(finished(name))


class Killed(BaseException):
    """Stands for a signal."""


@one_of_each_kind
def test_a_kill_at_any_file_changes_nothing_and_no_row_lacks_its_audio(
    victim, name, finished, tmp_path, monkeypatch
):
    expected, rename = contents(finished(name)), os.replace
    # Each attempt dies one file later than the one before, until one comes to the end.
    for attempt in itertools.count():
        left = itertools.count(attempt, -1)

        def rename_or_die(*paths, left=left):
            if next(left) == 0:
                raise Killed
            rename(*paths)

        monkeypatch.setattr(os, "replace", rename_or_die)
        try:
            finish(victim.begin(tmp_path))
            break
        except Killed:
            pass
        for log in tmp_path.glob("log/**/*.jsonl"):
            assert all(len(one.attacked) for one in victim.saved(tmp_path, log))
    assert attempt > 5
    assert contents(tmp_path) == expected


@every_victim
def test_what_is_finished_is_never_attacked_again(victim, name, finished, tmp_path):
    shutil.copytree(finished(name), tmp_path / "copy")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*.*") if p.is_file()}
    run = victim.begin(tmp_path / "copy")
    run.victim = None  # any use of the model would fail
    run.run()
    assert run.finished()
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize(
    "name", [*ONE_OF_EACH_KIND, *(pytest.param(name, marks=marks(name)) for name in ON_GPU)]
)
def test_rows_say_where_gradients_said_nothing(victim, tmp_path):
    first, *_ = victim.items
    with victim.spoiled([first], math.nan):
        finish(victim.begin(tmp_path))
    rows = list(read_jsonl(tmp_path / "attack_log.jsonl"))
    for row in rows:
        method, stalled = row["method"], row["stalled_steps"]
        if row["utterance"] != first.name or method in ("clean", "noise", "square"):
            assert stalled == 0, row
        elif method == "worst":  # those of all its attacks along a gradient
            assert stalled >= STEPS, row
        elif method != "apgd":  # ART does not attack what is misclassified
            assert stalled == {"fgsm": 1, "much": 2 * STEPS}.get(method, STEPS), row
    assert any(row["stalled_steps"] for row in rows)


@one_of_each_kind
@pytest.mark.parametrize(
    "change", ["goal", "truth", "samples", "one less", "weights", "seed", "batch_size"]
)
def test_a_directory_belongs_to_one_attack(victim, name, finished, change):
    first, *others = victim.entries
    options = {
        "one less": {"entries": others},
        "weights": {"weights": "other"},
        "seed": {"seed": 7},
        "batch_size": {"batch_size": 1},
    }.get(change)
    if options is None:
        options = {"entries": [dataclasses.replace(first, **other(first, change)), *others]}
    before = contents(finished(name))
    with pytest.raises(InputError, match="another attack"):
        victim.begin(finished(name), **options)
    assert contents(finished(name)) == before


def other(entry, change):
    """Fields of an utterance with another goal, truth or audio."""
    if change == "samples":
        return {"samples": entry.samples - 1}
    keys = {"spoof": "bonafide", "bonafide": "spoof", "target": "nontarget", "nontarget": "target"}
    goals = {"target": "four", "key": keys.get(entry.labels.get("key"))}
    truth = {"reference": "eight", "attack": "A09", "test": "another"}
    changed = goals if change == "goal" else truth
    return {"labels": {k: changed.get(k, v) for k, v in entry.labels.items()}}


@one_of_each_kind
@pytest.mark.parametrize("bad", ["../x", "/x", ".x", "-x", "a/b", "..", "a\\b", ""])
def test_an_id_that_is_no_file_name_is_refused_before_anything_is_written(victim, tmp_path, bad):
    first, *others = victim.entries
    entries = [dataclasses.replace(first, name=bad), *others]
    with pytest.raises(InputError, match="cannot name files"):
        victim.begin(tmp_path / "out", entries=entries)
    assert not list(tmp_path.iterdir())
