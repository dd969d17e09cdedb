"""Results notice what they are made of: audio, logs, kept inputs, states."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from attack_kinds import contents, run_of, write_data

from espnet_ext.attack import run as runner
from espnet_ext.attack.log import SEAL
from espnet_ext.attack.state import save_state
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError

pytestmark = pytest.mark.one_python

MODEL = {"weights": {"path": "exp/asr/latest.pth", "sha256": "0f3a"}}
HALVES = ["recognizer", "features"]
both = pytest.mark.parametrize("half", HALVES)
FAST = {"steps": [1, 2], "methods": ["pgd"], "snr": []}


@pytest.fixture
def data(tmp_path):
    """Audio of every kind, of a test's own."""
    for half in (*HALVES, "waveform"):
        write_data(half, tmp_path / half)
    return tmp_path


@pytest.fixture
def make(data):
    """A run of either half on what the data are now."""

    def make(half, output="out", model=MODEL, **options):
        return run_of(half, data / half, data / output, model, **{**FAST, **options})

    return make


def replace(data, half):
    """Another clip of the same length; the utterance whose it is, and how to put it back."""
    name, path = sorted(read_table(data / half / "wav.scp").items())[0]
    before = Path(path).read_bytes()
    wave, rate = read_audio(path)
    write_wav(path, wave[::-1].copy(), rate)

    def back():
        Path(path).write_bytes(before)

    return name, back


@both
def test_another_clip_of_the_same_length_is_noticed_before_a_run_goes_on(make, data, half):
    run = make(half)
    run.run()
    run.collect()
    before = contents(run.output_dir)
    name, back = replace(data, half)
    with pytest.raises(InputError, match=rf"audio of 1 utterances has changed.*\({name}\).*former"):
        make(half)
    assert contents(run.output_dir) == before
    back()
    make(half).run()
    make(half).collect()
    assert contents(run.output_dir) == before


@both
def test_a_model_is_the_same_wherever_it_lies(make, half):
    run = make(half)
    run.run()
    before = contents(run.output_dir)
    moved = {"weights": {**MODEL["weights"], "path": "packed.zip/exp/asr/latest.pth"}}
    again = make(half, model=moved)
    assert again.finished() and contents(run.output_dir) == before
    changed = {"weights": {**MODEL["weights"], "sha256": "0f3b"}}
    with pytest.raises(InputError, match=r"another attack \(different: weights"):
        make(half, model=changed)


@both
def test_a_clip_that_is_replaced_while_its_attack_runs_is_noticed(make, data, half):
    run = make(half)
    name, back = replace(data, half)
    with pytest.raises(InputError, match=f"'{name}': the audio was replaced"):
        run.run()
    rows = [line for p in run.output_dir.glob("log/**/*.jsonl") for line in p.open()]
    assert not [row for row in rows if json.loads(row)["utterance"] == name]
    back()
    run.run()
    assert run.finished() and run.collect()


@both
def test_a_state_of_other_audio_is_not_gone_on_with(make, data, half, monkeypatch):
    """The clip changed between two runs, and whoever knew it before is gone."""
    saved = []

    def save_and_die(path, what, state):
        save_state(path, what, state)
        saved.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "save_state", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        make(half, checkpoint_seconds=0.0).run()
    monkeypatch.undo()
    name, _ = replace(data, half)
    with pytest.raises(InputError, match=rf"has changed since it began \({name}\)"):
        make(half)
    state = saved[0].read_bytes()
    shutil.rmtree(data / "out")
    run = make(half)
    saved[0].parent.mkdir(parents=True)
    saved[0].write_bytes(state)
    with pytest.raises(InputError, match=r"state of other utterances, audio or texts; remove it"):
        run.run()


def drop_last(lines):
    return lines[:-1]


def double(lines):
    return [*lines, lines[0]]


def edit(lines):
    return [lines[0].replace('"stalled_steps": 0', '"stalled_steps": 1'), *lines[1:]]


def rename(lines):
    row = json.loads(lines[0])
    return [json.dumps({**row, "utterance": "somebody"}), *lines[1:]]


def tear(lines):
    return [*lines[:-1], lines[-1][:20]]


def unseal(lines):
    row = json.loads(lines[0])
    del row[SEAL]
    return [json.dumps(row), *lines[1:]]


CHANGES = [drop_last, double, edit, rename, tear, unseal, lambda lines: [], None]


@both
@pytest.mark.parametrize("change", CHANGES)
def test_logs_are_compared_with_the_plan(make, half, change):
    run = make(half)
    run.run()
    expected = run.collect() and contents(run.output_dir)
    path = sorted(run.output_dir.glob("log/*/**/*.jsonl"))[-1]
    lines = path.read_text().splitlines()
    names = {json.loads(line)["utterance"] for line in lines}
    if change is None:
        path.unlink()
    else:
        path.write_text("".join(f"{line}\n" for line in change(lines)))
    for other in run.output_dir.glob("*.jsonl"):
        other.unlink()
    with pytest.raises(InputError) as caught:
        run.collect()
    said = str(caught.value)
    assert str(path) in said and any(name in said for name in names)
    assert not list(run.output_dir.glob("*.jsonl"))
    path.unlink(missing_ok=True)  # as it says
    run = make(half)
    run.run()
    run.collect()
    assert contents(run.output_dir) == expected


@both
@pytest.mark.parametrize("left", ["log", "state"])
def test_logs_without_attack_json_are_refused(make, half, left):
    run = make(half)
    run.run()
    run.collect()
    (run.output_dir / "attack.json").unlink()
    (run.output_dir / "attack_log.jsonl").unlink()
    if left == "state":
        shutil.rmtree(run.output_dir / "log")
        (run.output_dir / "state" / "pgd" / "eps0.2").mkdir(parents=True, exist_ok=True)
        (run.output_dir / "state" / "pgd" / "eps0.2" / "00000.pt").write_bytes(b"x")
    for act in (lambda: make(half), run.collect):
        with pytest.raises(InputError, match=r"attack\.json: missing.*put it back"):
            act()
    assert not (run.output_dir / "attack.json").exists()


@pytest.mark.parametrize("half", [*HALVES, "waveform"])
def test_adversarial_inputs_that_are_lost_are_named(make, half):
    run = make(half)
    run.run()
    run.collect()
    pattern = "*.ark" if half == "features" else "wav/*.wav"
    lost = sorted(run.output_dir.glob(f"adversarial/pgd/*/step1/{pattern}"))[0]
    tag = lost.relative_to(run.output_dir / "adversarial/pgd").parts[0]
    lost.unlink()
    with pytest.raises(InputError, match=rf"lacks .*remove .*log/pgd/{tag}"):
        make(half).collect()
    for path in run.output_dir.glob(f"log/pgd/{tag}/*"):
        path.unlink()
    run = make(half)
    run.run()
    assert run.collect() and lost.exists()


def garbage(path):
    path.write_bytes(b"\x00garbage" * 50)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flipped(path):
    data = bytearray(path.read_bytes())
    wave = torch.load(path, weights_only=True)["inputs"].numpy().tobytes()
    data[data.index(wave) + 1001] ^= 0x10
    path.write_bytes(bytes(data))


def saved_again(**changes):
    def change(path):
        saved = torch.load(path, weights_only=True)
        for name, value in changes.items():
            saved[name] = value(saved[name]) if callable(value) else value
        torch.save(saved, path)

    return change


DAMAGES = {
    "garbage": garbage,
    "truncated": truncated,
    "empty": empty,
    "flipped": flipped,
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.ones(3), path),
    "other keys": lambda path: torch.save({"batch": [], "weights": torch.ones(3)}, path),
    "other shape": saved_again(inputs=lambda a: a[:, :-1]),
    "other rows": saved_again(running=lambda a: a[:-1]),
    "other type": saved_again(inputs=lambda a: a.double()),
    "not a number": saved_again(inputs=lambda a: a * float("nan")),
    "snapshot lost": saved_again(snapshots={}),
    "snapshot infinite": saved_again(snapshots=lambda s: {k: v / 0.0 for k, v in s.items()}),
    "step of text": saved_again(step="1"),
    "too many steps": saved_again(step=3),
    "stalled": saved_again(stalled=lambda a: a.float()),
    "momentum": saved_again(kept=lambda k: {**k, "momentum": torch.zeros(2, 4000)}),
    "of fewer utterances": saved_again(kept=lambda k: {n: v[:0] for n, v in k.items()}),
}


@pytest.fixture(scope="module", params=HALVES)
def stopped(request, tmp_path_factory):
    """A run that was killed in its first batch, and what it would have become."""
    folder = tmp_path_factory.mktemp("stopped")
    data = write_data(request.param, folder / "data")

    def make(output, **options):
        return run_of(request.param, data, output, **{**FAST, "eps": [0.2], **options})

    def save_and_die(path, what, state):
        save_state(path, what, state)
        raise KeyboardInterrupt

    whole = make(folder / "whole")
    whole.run()
    whole.collect()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner, "save_state", save_and_die)
        make(folder / "killed", checkpoint_seconds=0.0).run()
    return make, folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_set_aside_and_its_batch_begins_anew(stopped, tmp_path, caplog, damage):
    make, folder = stopped
    output = tmp_path / "out"
    shutil.copytree(folder / "killed", output)
    (state,) = output.glob("state/**/*.pt")
    DAMAGES[damage](state)
    broken = state.read_bytes()
    run = make(output)
    run.run()
    run.collect()
    assert "renamed to" in caplog.text and "begins anew" in caplog.text
    assert re.search(r"damaged \((?!\w*Error\))[^\n]+\); renamed", caplog.text)  # and why
    aside = state.with_name(f"{state.name}.damaged")
    assert aside.read_bytes() == broken
    found = {k: v for k, v in contents(output).items() if not k.endswith(".damaged")}
    assert found == contents(folder / "whole")
