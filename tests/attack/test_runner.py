import json
import shutil

import numpy as np
import pytest
import torch
from art.defences.preprocessor import GaussianAugmentation
from espnet_ext.attack.pgd import AttackBatch, AttackState
from espnet_ext.attack.runner import AttackRun, load_state, save_state
from tiny import RATE, noise, tiny_recognizer

from espnet_ext.attack import PyTorchESPnet
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance, read_utterances
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError

LENGTHS = {"a1": 6000, "a2": 4000, "b1": 5900, "b2": 4100, "c1": 3000}
TARGETS = {"a1": "one two", "a2": "three", "b1": "four", "b2": "five six", "c1": "seven"}
SETTINGS = AttackSettings(eps=(0.2,), snr=(30.0,), steps=(2, 4), batch_size=2)
DEFENCE = GaussianAugmentation(augmentation=False)


@pytest.fixture(scope="module")
def estimator():
    return PyTorchESPnet(tiny_recognizer(), 0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory with a target for all but one utterance."""
    folder = tmp_path_factory.mktemp("data")
    waves = noise(*LENGTHS.values(), 3000)
    for name, wave in zip([*LENGTHS, "unattacked"], waves, strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    paths = {name: str(folder / f"{name}.wav") for name in [*LENGTHS, "unattacked"]}
    write_table(folder / "wav.scp", paths)
    write_table(folder / "text", dict.fromkeys(paths, "nine"))
    write_table(folder / "targets", TARGETS)
    return folder


@pytest.fixture(scope="module")
def utterances(data):
    return read_utterances(data / "wav.scp", data / "targets", data / "text", RATE)


def run_of(estimator, utterances, output, settings=SETTINGS, **options):
    return AttackRun(estimator, settings, utterances, output, {"weights": "sha"}, **options)


def results(directory):
    """Everything a run has written but the seconds, in comparable form."""
    rows = [json.loads(line) for line in (directory / "attack_log.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    waves = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.glob("*/step*/wav/*.wav"))
    }
    return rows, waves


@pytest.fixture(scope="module")
def reference(estimator, utterances, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    run = run_of(estimator, utterances, output)
    run.run()
    run.collect()
    return output


def test_only_utterances_with_a_target_are_attacked(utterances):
    assert [u.name for u in utterances] == sorted(TARGETS)
    assert [u.samples for u in utterances] == [LENGTHS[u.name] for u in utterances]
    assert {u.reference for u in utterances} == {"nine"}


def test_log_has_a_row_for_each_utterance_budget_and_step(reference):
    rows, waves = results(reference)
    keys = [(r["utterance"], r["budget"], r["step"]) for r in rows]
    assert len(set(keys)) == len(keys) == 5 * 2 * 3
    assert {k[1:] for k in keys} == {(b, s) for b in ("eps0.2", "snr30") for s in (0, 2, 4)}
    assert len(waves) == 5 * 2 * 2


def check_rows(reference, data):
    """The rows are what comes out where the saved files are measured."""
    clean = {name: read_audio(data / f"{name}.wav")[0].astype(np.float64) for name in LENGTHS}
    for row in results(reference)[0]:
        if row["step"] == 0:
            assert row["l2"] == 0.0
            assert row["snr"] is None
            continue
        table = read_table(reference / row["budget"] / f"step{row['step']}" / "wav.scp")
        saved, rate = read_audio(table[row["utterance"]])
        delta = saved.astype(np.float64) - clean[row["utterance"]]
        assert rate == RATE
        assert np.linalg.norm(delta) == pytest.approx(row["l2"])
        assert np.abs(delta).max() == pytest.approx(row["linf"])
        energy = np.sum(clean[row["utterance"]] ** 2) / np.sum(delta**2)
        assert 10 * np.log10(energy) == pytest.approx(row["snr"])
        assert np.linalg.norm(delta) <= row["radius"]
        if row["budget"] == "snr30":
            assert row["snr"] >= 30.0


def test_rows_measure_the_saved_files(
    reference, estimator, utterances, data, tmp_path, monkeypatch
):
    check_rows(reference, data)
    # What is saved need not be what was found: a file of another amplitude shows who is measured.
    monkeypatch.setattr(
        "espnet_ext.attack.runner.write_wav",
        lambda path, wave, rate: write_wav(path, 0.999 * wave, rate),
    )
    run = run_of(estimator, utterances, tmp_path, AttackSettings(eps=(30.0,), steps=(1,)))
    run.run()
    run.collect()
    check_rows(tmp_path, data)


def test_hypotheses_and_losses_are_those_of_the_saved_files(reference, estimator):
    for row in results(reference)[0]:
        if row["step"] == 0:
            continue
        path = reference / row["budget"] / f"step{row['step']}" / "wav" / f"{row['utterance']}.wav"
        wave = read_audio(path)[0][None]
        assert estimator.predict(wave)[0] == row["hypothesis"]
        assert estimator.compute_loss(wave, [row["target"]])[0] == pytest.approx(
            row["loss"], rel=1e-4
        )
        assert row["loss"] == pytest.approx(0.5 * row["loss_ctc"] + 0.5 * row["loss_att"])


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_number_of_shards_does_not_change_a_bit(reference, estimator, utterances, tmp_path, shards):
    for shard in range(shards, 0, -1):
        run = run_of(estimator, utterances, tmp_path)
        assert not run.finished()
        run.run(shard, shards)
    assert run.finished()
    run.collect()
    assert results(tmp_path) == results(reference)


class Killed(BaseException):
    """Stands for a signal."""


def kill_after(monkeypatch, saves):
    """Let the run die right after so many states have been saved."""
    count = 0

    def save_and_die(path, batch, state):
        nonlocal count
        save_state(path, batch, state)
        count += 1
        if count == saves:
            raise Killed

    monkeypatch.setattr("espnet_ext.attack.runner.save_state", save_and_die)


@pytest.mark.parametrize("saves", [1, 2, 4, 9])
def test_killed_run_goes_on_and_ends_as_an_uninterrupted_one(
    reference, estimator, utterances, tmp_path, monkeypatch, saves
):
    gradient, steps = estimator.input_gradient, []

    def counted(*args):
        steps.append(args)
        return gradient(*args)

    kill_after(monkeypatch, saves)
    monkeypatch.setattr(estimator, "input_gradient", counted)
    with pytest.raises(Killed):
        run_of(estimator, utterances, tmp_path, checkpoint_seconds=0.0).run()
    assert list(tmp_path.glob("state/*/*.pt"))
    monkeypatch.undo()
    monkeypatch.setattr(estimator, "input_gradient", counted)
    run = run_of(estimator, utterances, tmp_path)
    run.run()
    run.collect()
    assert results(tmp_path) == results(reference)
    assert len(steps) == 4 * 3 * 2  # of 3 batches and 2 budgets: none is done twice
    assert not list(tmp_path.glob("state/*/*.pt"))


def test_progress_says_steps_success_and_minutes_left(estimator, utterances, tmp_path, caplog):
    caplog.set_level("INFO")
    run_of(estimator, utterances, tmp_path, checkpoint_seconds=0.0).run()
    said = [line for line in caplog.messages if "min of all" in line]
    assert said[0].startswith("batch 1/") and "step 1/4" in said[0]
    assert "0 of 2 successful so far; left:" in said[0]
    assert "successful; 0.0 min left" in [m for m in caplog.messages if "finished" in m][-1]


def test_finished_batches_are_never_attacked_again(reference, estimator, utterances, tmp_path):
    shutil.copytree(reference, tmp_path / "copy")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*.wav")}
    run = run_of(estimator, utterances, tmp_path / "copy")
    run.estimator = None  # any use of the model would fail
    run.run()
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_torn_batch_is_done_again(reference, estimator, utterances, tmp_path):
    output = tmp_path / "copy"
    shutil.copytree(reference, output)
    (output / "log" / "eps0.2" / "00000.jsonl").unlink()
    wav = next((output / "eps0.2" / "step4" / "wav").glob("*.wav"))
    wav.write_bytes(b"torn")
    run = run_of(estimator, utterances, output)
    assert not run.finished()
    run.run()
    assert results(output)[1] == results(reference)[1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"settings": AttackSettings(eps=(0.3,), steps=(2, 4))}, "settings"),
        ({"model": {"weights": "other"}}, "model"),
        ({"utterances": 3}, "utterances"),
    ],
)
def test_directory_of_another_attack_is_refused_and_kept(
    reference, estimator, utterances, change, named
):
    before = (reference / "attack.json").read_bytes()
    with pytest.raises(InputError, match=rf"another attack.*{named}"):
        AttackRun(
            estimator,
            change.get("settings", SETTINGS),
            utterances[: change.get("utterances", 99)],
            reference,
            change.get("model", {"weights": "sha"}),
        )
    assert (reference / "attack.json").read_bytes() == before


def test_full_disk_leaves_finished_batches_and_a_message(
    estimator, utterances, tmp_path, monkeypatch
):
    import errno

    from espnet_ext.attack import runner

    written = 0

    def full_after_five(path, samples, rate):
        nonlocal written
        written += 1
        if written > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_wav(path, samples, rate)

    monkeypatch.setattr(runner, "write_wav", full_after_five)
    with pytest.raises((InputError, OSError)):
        run_of(estimator, utterances, tmp_path).run()
    monkeypatch.undo()
    run = run_of(estimator, utterances, tmp_path)
    assert list(tmp_path.glob("log/*/*.jsonl"))
    run.run()
    assert run.finished()


@pytest.mark.parametrize("missing", ["wav.scp", "text"])
def test_utterance_that_is_in_one_file_only_is_named(data, tmp_path, missing):
    table = read_table(data / missing)
    del table["b1"]
    write_table(tmp_path / missing, table)
    files = {name: data / name for name in ("wav.scp", "targets", "text")}
    files[missing] = tmp_path / missing
    with pytest.raises(InputError, match=rf"(?s){missing} has not.*utterance b1"):
        read_utterances(files["wav.scp"], files["targets"], files["text"], RATE)


def test_audio_of_another_rate_is_refused(data):
    with pytest.raises(InputError, match=r"a1.*8000 Hz instead of 16000"):
        read_utterances(data / "wav.scp", data / "targets", None, 16000)


def test_everything_is_checked_before_a_directory_is_claimed(estimator, data, tmp_path):
    """Short audio beside long, targets of unknown words or too many: all named, nothing begun."""
    write_wav(tmp_path / "short.wav", noise(300)[0], RATE)
    paths = {**read_table(data / "wav.scp"), "a0": str(tmp_path / "short.wav")}
    write_table(tmp_path / "wav.scp", paths)
    bad = {"a0": "one", "b1": "lorem", "c1": " ".join(["one"] * 30)}
    write_table(tmp_path / "targets", TARGETS | bad)
    files = (tmp_path / "wav.scp", tmp_path / "targets")
    with pytest.raises(InputError) as caught:
        run_of(estimator, read_utterances(*files, None, RATE), tmp_path / "out")
    said = str(caught.value)
    assert "targets:1: utterance a0: too short: 300 samples" in said
    assert "targets:4: utterance b1: 'lorem'" in said
    assert "targets:6: utterance c1:" in said and "needs 59 encoder frames" in said
    assert "3 of 6" in said and not (tmp_path / "out").exists()
    write_table(tmp_path / "targets", TARGETS)
    run = run_of(estimator, read_utterances(*files, None, RATE), tmp_path / "out")
    run.run()
    assert run.finished()


def test_all_audio_that_cannot_be_used_is_named(data, tmp_path):
    (tmp_path / "torn.wav").write_bytes((data / "a1.wav").read_bytes()[:999])
    paths = read_table(data / "wav.scp")
    paths |= {"a1": str(tmp_path / "torn.wav"), "b1": "cat b1.wav |", "c1": "raw.ark:17"}
    write_table(tmp_path / "wav.scp", paths)
    with pytest.raises(InputError) as caught:
        read_utterances(tmp_path / "wav.scp", data / "targets", None, RATE)
    said = str(caught.value)
    assert "'a1': cut off" in said and "'b1': a command" in said and "'c1': a command" in said
    assert "format_data" in said


def test_a_directory_without_results_is_free(estimator, utterances, reference, tmp_path):
    run_of(estimator, utterances, tmp_path, AttackSettings(eps=(9.0,), steps=(1,)))
    first = run_of(estimator, utterances, tmp_path)
    second = run_of(estimator, utterances, tmp_path, AttackSettings(eps=(3.0,), steps=(1,)))
    second.run()
    with pytest.raises(InputError, match="another attack"):
        first.run()  # the directory was taken before it had any result
    assert not list(tmp_path.glob("log/eps0.2/*"))


@pytest.mark.parametrize("name", ["autocast", "loss_ctc_weight"])
def test_settings_that_the_estimator_does_not_have_are_refused(
    estimator, utterances, tmp_path, name
):
    values = {"autocast": "bfloat16", "loss_ctc_weight": 1.0}
    settings = AttackSettings(eps=(0.2,), steps=(1,), **{name: values[name]})
    with pytest.raises(InputError, match=f"{name} is .* in the settings and None"):
        run_of(estimator, utterances, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()
    same = PyTorchESPnet(estimator.recognizer, 0.5, **{name: values[name]})
    run_of(same, utterances, tmp_path / "out", settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_values": (-0.05, 0.05)}, "clip_values"),
        ({"clip_values": None}, "clip_values"),
        (
            {"preprocessing_defences": DEFENCE},
            "preprocessing_defences",
        ),
    ],
)
def test_what_attack_json_would_not_say_is_refused(
    estimator, utterances, tmp_path, options, message
):
    other = PyTorchESPnet(estimator.recognizer, 0.5, **options)
    with pytest.raises(InputError, match=message):
        run_of(other, utterances, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_utterance_that_is_listed_twice_is_refused(estimator, utterances, tmp_path):
    with pytest.raises(InputError, match=utterances[0].name):
        run_of(estimator, [*utterances, utterances[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shard", [(0, 2), (3, 2)])
def test_a_shard_that_is_none_is_refused(estimator, utterances, tmp_path, shard):
    with pytest.raises(InputError, match="not between 1 and 2"):
        run_of(estimator, utterances, tmp_path / "out").run(*shard)


def test_an_output_directory_that_is_a_file_is_refused(estimator, utterances, tmp_path):
    (tmp_path / "out").write_text("mine")
    for output in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(InputError, match="is no directory"):
            run_of(estimator, utterances, output)
    assert (tmp_path / "out").read_text() == "mine"


def test_utterance_id_that_cannot_be_a_file_name_is_refused(estimator, tmp_path):
    bad = [Utterance("../x", "x.wav", 4000, "one", None)]
    with pytest.raises(InputError, match="cannot name files"):
        run_of(estimator, bad, tmp_path)


def test_state_comes_back_and_only_for_its_own_batch(tmp_path):
    batch = AttackBatch(["a", "b"], noise(10, 8), ["one", "two"])
    state = AttackState(
        3,
        torch.rand(2, 10),
        torch.rand(2, 10),
        torch.tensor([True, False]),
        torch.tensor([0, 1]),
        {2: torch.rand(2, 10)},
        1.5,
    )
    save_state(tmp_path / "s.pt", batch, state)
    back = load_state(tmp_path / "s.pt", batch, "cpu")
    assert back.step == 3
    assert back.seconds == 1.5
    assert torch.equal(back.snapshots[2], state.snapshots[2])
    assert load_state(tmp_path / "absent.pt", batch, "cpu") is None
    other = AttackBatch(["a", "c"], batch.waves, batch.transcripts)
    with pytest.raises(InputError, match="other utterances"):
        load_state(tmp_path / "s.pt", other, "cpu")
    (tmp_path / "s.pt").write_bytes((tmp_path / "s.pt").read_bytes()[:300])
    assert load_state(tmp_path / "s.pt", batch, "cpu") is None  # the batch begins anew
