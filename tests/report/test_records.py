import json
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest
from countermeasure_run import lnsr, results_of, write_run

from espnet_ext.data.files import read_json
from espnet_ext.errors import InputError
from espnet_ext.report.records import check, schema
from espnet_ext.report.results import CountermeasureResults

KEPT = sorted(Path(__file__).parents[2].glob("egs2/asvspoof2019/cm1/results/*/results.json"))


class Point(TypedDict):
    """A point."""

    x: float
    name: str | None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a", str),
        (1, float),
        ([1.5, None], list[float | None]),
        ({"a": [1]}, dict[str, list[int]]),
        ("b", Literal["a", "b"]),
        ({"x": 1, "name": None}, Point),
        ({"anything": 1}, dict[str, Any]),
    ],
)
def test_a_value_of_the_type_is_given_back(value, kind):
    assert check(value, kind, "here") is value
    assert json.dumps(schema(kind))


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (1, str, "here: expected text, got 1"),
        (True, float, "here: expected a number, got True"),
        ([1, "a"], list[float], "here: entry 2: expected a number"),
        ("c", Literal["a", "b"], "here: expected"),
        ({"x": 1}, Point, "here: lacks 'name'"),
        ({"x": 1, "name": "a", "nam": 1}, Point, "here: nothing takes 'nam'; did you mean 'name'"),
        ({"x": "1", "name": "a"}, Point, "here: x: expected a number, got '1'"),
        ([], Point, "here: expected keys x, name"),
    ],
)
def test_another_value_is_refused_where_it_is(value, kind, message):
    with pytest.raises(InputError, match=message):
        check(value, kind, "here")


def test_results_follow_their_schema(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema(CountermeasureResults))
    validator.check_schema(schema(CountermeasureResults))
    write_run(tmp_path)
    found = results_of(tmp_path, lnsr={0: lnsr()})
    for results in (found, *map(read_json, KEPT)):
        validator.validate(results)
    assert (found["kind"], found["version"]) == ("countermeasure_report", 1)
    for change in ({"kind": "recognition_sweep"}, {"seeds": ["0"]}, {"cells": [{}]}):
        assert not validator.is_valid({**found, **change})
