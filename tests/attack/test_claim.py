"""Results notice what they are made of: audio, logs, kept inputs, states."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from espnet_ext.attack.cm_settings import CountermeasureAttackSettings
from espnet_ext.attack.runner import AttackRun, save_state
from espnet_ext.attack.transfer import TransferRun
from espnet_ext.attack.trials import read_trials
from tiny import RATE, noise, tiny_recognizer
from tiny_cm import write_tones
from tiny_countermeasure import model

from espnet_ext.attack import PyTorchESPnet
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import read_utterances
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError

TARGETS = {"a1": "one two", "a2": "three", "b1": "four"}
RATE_OF = {"recognizer": RATE, "countermeasure": 8000}
MODEL = {"weights": {"path": "exp/asr/latest.pth", "sha256": "0f3a"}}
HALVES = ["recognizer", "countermeasure"]
both = pytest.mark.parametrize("half", HALVES)


@pytest.fixture(scope="module")
def estimator():
    return PyTorchESPnet(tiny_recognizer(), 0.5)


@pytest.fixture(scope="module")
def countermeasure():
    return model("lcnn", seed=1)


@pytest.fixture
def data(tmp_path):
    """Audio of both halves, of a test's own."""
    folder = tmp_path / "recognizer"
    for name, wave in zip(TARGETS, noise(4000, 3900, 3800), strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    write_table(folder / "wav.scp", {name: str(folder / f"{name}.wav") for name in TARGETS})
    write_table(folder / "targets", TARGETS)
    write_tones(tmp_path / "countermeasure", 4)
    return tmp_path


@pytest.fixture
def make(data, estimator, countermeasure):
    """A run of either half on what the data are now."""

    def make(half, output="out", model=MODEL, **options):
        folder = data / half
        if half == "recognizer":
            listed = read_utterances(folder / "wav.scp", folder / "targets", None, RATE)
            settings = AttackSettings(eps=(0.2,), steps=(1, 2), batch_size=2)
            return AttackRun(estimator, settings, listed, data / output, model, **options)
        values = {"methods": ["noise"], "eps": [0.1, 0.2], "steps": 1, "batch_size": 2}
        settings = CountermeasureAttackSettings.from_mapping({**values, **options})
        trials = read_trials(folder, 8000)
        models = {"lcnn": countermeasure}
        return TransferRun(countermeasure, models, settings, trials, data / output, model)

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


def contents(directory):
    """All that a run has written, without times."""
    found = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in data.decode().splitlines()]
            data = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        found[path.relative_to(directory).as_posix()] = data
    return found


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
    with pytest.raises(InputError, match=r"another attack \(different: model"):
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


def test_a_state_of_other_audio_is_not_gone_on_with(make, data, monkeypatch):
    """The clip changed between two runs, and whoever knew it before is gone."""
    saved = []

    def save_and_die(path, batch, state):
        save_state(path, batch, state)
        saved.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr("espnet_ext.attack.runner.save_state", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        make("recognizer", checkpoint_seconds=0.0).run()
    monkeypatch.undo()
    name, _ = replace(data, "recognizer")
    with pytest.raises(InputError, match=rf"has changed since it began \({name}\)"):
        make("recognizer")
    state = saved[0].read_bytes()
    shutil.rmtree(data / "out")
    run = make("recognizer")
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


CHANGES = [drop_last, double, edit, rename, tear, lambda lines: [], None]


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
        if half == "countermeasure":
            return  # has none
        shutil.rmtree(run.output_dir / "log")
        (run.output_dir / "state" / "eps0.2").mkdir(parents=True, exist_ok=True)
        (run.output_dir / "state" / "eps0.2" / "00000.pt").write_bytes(b"x")
    for act in (lambda: make(half), run.collect):
        with pytest.raises(InputError, match=r"attack\.json: missing.*put it back"):
            act()
    assert not (run.output_dir / "attack.json").exists()


def test_adversarial_audio_that_is_lost_is_named(make):
    run = make("recognizer")
    run.run()
    run.collect()
    lost = run.output_dir / "eps0.2" / "step1" / "wav" / "a2.wav"
    lost.unlink()
    with pytest.raises(InputError, match=r"a2\.wav: missing; remove .*log/eps0\.2"):
        make("recognizer").collect()


@pytest.mark.parametrize("space", ["features", "waveform"])
def test_kept_inputs_that_are_lost_are_named(make, space):
    run = make("countermeasure", keep=True, space=space, unit="raw")
    run.run()
    run.collect()
    pattern = "kept/noise/eps0.1/*.ark" if space == "features" else "kept/noise/eps0.1/wav/*.wav"
    lost = sorted(run.output_dir.glob(pattern))[0]
    lost.unlink()
    with pytest.raises(InputError, match=r"lacks .*remove .*log/noise/eps0\.1"):
        run.collect()
    for path in run.output_dir.glob("log/noise/eps0.1/*"):
        path.unlink()
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
    wave = torch.load(path, weights_only=True)["adversarial"].numpy().tobytes()
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
    "other shape": saved_again(adversarial=lambda a: a[:, :-1]),
    "other rows": saved_again(running=lambda a: a[:-1]),
    "other type": saved_again(adversarial=lambda a: a.double()),
    "not a number": saved_again(adversarial=lambda a: a * float("nan")),
    "snapshot lost": saved_again(snapshots={}),
    "snapshot infinite": saved_again(snapshots=lambda s: {k: v / 0.0 for k, v in s.items()}),
    "step of text": saved_again(step="1"),
    "too many steps": saved_again(step=3),
    "momentum": saved_again(momentum=lambda a: torch.zeros(2, 4000)),
}


@pytest.fixture(scope="module")
def stopped(estimator, tmp_path_factory):
    """A run that was killed in its first batch, and what it would have become."""
    folder = tmp_path_factory.mktemp("stopped")
    for name, wave in zip(TARGETS, noise(4000, 3900, 3800), strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    write_table(folder / "wav.scp", {name: str(folder / f"{name}.wav") for name in TARGETS})
    write_table(folder / "targets", TARGETS)
    settings = AttackSettings(eps=(0.2,), steps=(1, 2), batch_size=2)

    def make(output, **options):
        listed = read_utterances(folder / "wav.scp", folder / "targets", None, RATE)
        return AttackRun(estimator, settings, listed, output, {"w": "sha"}, **options)

    def save_and_die(path, batch, state):
        save_state(path, batch, state)
        raise KeyboardInterrupt

    whole = make(folder / "whole")
    whole.run()
    whole.collect()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("espnet_ext.attack.runner.save_state", save_and_die)
        make(folder / "killed", checkpoint_seconds=0.0).run()
    return make, folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_set_aside_and_its_batch_begins_anew(stopped, tmp_path, caplog, damage):
    make, folder = stopped
    output = tmp_path / "out"
    shutil.copytree(folder / "killed", output)
    (state,) = output.glob("state/*/*.pt")
    DAMAGES[damage](state)
    broken = state.read_bytes()
    run = make(output)
    run.run()
    run.collect()
    assert "renamed to" in caplog.text and "begins anew" in caplog.text
    aside = state.with_name(f"{state.name}.damaged")
    assert aside.read_bytes() == broken
    found = {k: v for k, v in contents(output).items() if not k.endswith((".damaged", "scp"))}
    expected = contents(folder / "whole")
    assert found == {k: v for k, v in expected.items() if not k.endswith("scp")}
