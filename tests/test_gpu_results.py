"""tools/benchmarks/collect.py: what gpu.sh has left becomes results.json and its page."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "tools/benchmarks"
SPEC = importlib.util.spec_from_file_location("collect", BENCHMARKS / "collect.py")
collect = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(collect)

RATIOS = [
    {"name": "engine / bare loop", "value": 1.0123, "must_be": "<=", "limit": 1.05, "good": True},
    {"name": "ART / engine", "value": 1.234, "must_be": ">=", "limit": 1.4, "good": False},
    {"name": "engine", "value": 0.04, "unit": "s"},
]
BATCHES = [
    {"name": "bfloat16", "value": 0.004, "unit": "s", "batch": 16, "MiB": 345.6},
    {"name": "full precision", "value": 0.005, "unit": "s", "batch": 16, "MiB": 456.7},
]
HOURS = {"device": "X", "million_parameters": 1.0, "training_hours": 2.5}
SWEEP = {"models": 13, "conditions": 16, "all_training_hours": 32.5, "attack_hours": 7.75}
TESTS = """<testsuites><testsuite>
<testcase classname="tests.gpu.test_x" name="test_a[one]">
  <properties><property name="largest" value="1.5e-07"/></properties></testcase>
<testcase classname="tests.gpu.test_x" name="test_a[two]">
  <properties><property name="largest" value="2.5e-07"/></properties></testcase>
<testcase classname="tests.gpu.test_x" name="test_b"><failure message="no"/></testcase>
<testcase classname="tests.gpu.test_x" name="test_c"><skipped/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def found(tmp_path):
    """What a run leaves, with one part that was stopped."""
    parts = "tests\t1\t50\nattack_step\t0\t9\nmockingjay\t124\t60\n"
    (tmp_path / "parts.tsv").write_text(parts)
    (tmp_path / "tests.xml").write_text(TESTS)
    for name, rows in (("attack_step", RATIOS), ("batch_size", BATCHES)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    more = {"utterance_steps": 32000000, "attack_batch": 128}
    (tmp_path / "hours_commonvoice.json").write_text(json.dumps(HOURS | SWEEP | more))
    (tmp_path / "hours_mockingjay.json").write_text(json.dumps(HOURS))
    return {"kind": collect.KIND, **collect.machine("cpu"), **collect.collect(tmp_path)}


def test_all_that_was_measured_is_kept(found):
    tests = found["tests"]
    assert (tests["passed"], tests["skipped"], tests["failed"]) == (2, 1, ["test_x::test_b"])
    assert found["benchmarks"] == {"attack_step": RATIOS, "batch_size": BATCHES}
    assert found["hours"]["commonvoice"]["attack_hours"] == 7.75
    assert found["parts"]["mockingjay"] == {"finished": False, "seconds": 60}


def test_the_page_says_it(found):
    page = "\n".join(collect.render(found | {"notes": ["Why it failed."]}))
    assert "## Notes\n\n- Why it failed." in page
    for said in (
        "2 pass; 1 are skipped",
        "Fails: `test_x::test_b`",
        "| 2.5e-07 |",
        "| 1.012 | ≤ 1.05 |",
    ):
        assert said in page
    assert "| 1.234 | ≥ 1.4 (**no**) |" in page
    assert "| full precision, ms of an utterance | 5 |" in page
    assert "| bfloat16, utterance-steps a second | 250 |" in page
    assert "13 models, 16 conditions | 32.5 | 7.75 | 32,000,000 | 128 |" in page
    assert "Not finished, or failed: tests, mockingjay." in page


@pytest.mark.parametrize("kept", BENCHMARKS.glob("gpu/*/results.json"), ids=lambda p: p.parent.name)
def test_kept_pages_are_made_of_kept_results(kept):
    found = json.loads(kept.read_text())
    assert (found["kind"], found["version"]) == (collect.KIND, collect.VERSION)
    assert kept.with_name("README.md").read_text() == "\n".join(collect.render(found)) + "\n"
