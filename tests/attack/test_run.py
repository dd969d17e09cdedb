"""One runner: the same promises for recognisers and countermeasures."""

import errno
import itertools
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from art.defences.preprocessor import GaussianAugmentation
from attack_kinds import KINDS, contents, finish, read, run_of, settings_of, victims, write_data
from tiny import RATE, noise

from espnet_ext.attack import AttackRun, PyTorchESPnet, kept
from espnet_ext.attack import run as runner
from espnet_ext.attack.kept import read_kept
from espnet_ext.attack.state import save_state
from espnet_ext.attack.utterances import Utterance
from espnet_ext.data.attack_log import condition_of, read_attack_log
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError
from espnet_ext.metrics.perturbation import measure

pytestmark = pytest.mark.one_python

DEFENCE = GaussianAugmentation(augmentation=False)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def data(kind, tmp_path_factory):
    return write_data(kind, tmp_path_factory.mktemp("data") / "eval")


@pytest.fixture(scope="module")
def reference(kind, data, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    finish(run_of(kind, data, output))
    return output


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_data("recognizer", tmp_path_factory.mktemp("speech") / "eval")


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_data("features", tmp_path_factory.mktemp("tones") / "eval")


def test_log_has_a_row_for_each_utterance_condition_and_step(kind, data, reference):
    rows = read_attack_log(reference)
    settings = settings_of(kind)
    expected = {("clean", 0)} | {
        (condition.tag, step)
        for condition in settings.conditions()
        for step in settings.methods[condition.method].snapshots
    }
    keys = [(condition_of(r), r["step"], r["utterance"]) for r in rows]
    assert len(set(keys)) == len(keys) == 5 * len(expected)
    assert {key[:2] for key in keys} == expected
    kept_inputs = contents(reference)
    assert all((f"adversarial/{tag}/step{step}" in " ".join(kept_inputs)) for tag, step in expected
               if step)  # fmt: skip
    by_name = {u.name: u for u in read(kind, data)}
    for row in rows:
        assert row["version"] == 1 and row["kind"] == "attack"
        assert row.items() >= by_name[row["utterance"]].labels.items()
        assert row["seed"] == (None if row["method"] == "clean" else 0)


def saved_input(reference, row):
    """What was kept of a row: waveform or features."""
    folder = reference / "adversarial" / condition_of(row) / f"step{row['step']}"
    if (folder / "feats.scp").is_file():
        return read_kept(read_table(folder / "feats.scp")[row["utterance"]])
    saved, rate = read_audio(read_table(folder / "wav.scp")[row["utterance"]])
    assert rate == RATE
    return saved


def check_rows(kind, data, reference):
    """The rows are what comes out where the saved inputs are measured and the models asked."""
    found = victims(kind, settings_of(kind))
    own = next(iter(found.values()))
    waves = {u.name: read_audio(u.path)[0] for u in read(kind, data)}
    for row in read_attack_log(reference):
        goal = own.goal_of(row)
        batch = own.speech_batch([row["utterance"]], [waves[row["utterance"]]], [goal])
        (clean,) = batch.arrays(batch.inputs)
        inputs = saved_input(reference, row) if row["step"] else clean
        sizes = measure(clean, inputs)
        assert sizes.l2 == pytest.approx(row["l2"], rel=1e-4)
        assert sizes.linf == pytest.approx(row["linf"], rel=1e-4)
        if row["step"]:
            norm = row["l2"] if kind != "features" else row["linf"]
            assert 0.0 < norm <= row["radius"] * (1 + 1e-6)
            budget = row["budget"]
            if budget["unit"] == "snr":
                assert row["snr"] >= budget["size"]
            elif kind != "features":
                assert norm <= budget["size"]
        else:
            assert (row["l2"], row["snr"], row["radius"]) == (0.0, None, None)
        answers = {name: other.observe(other.adopt(batch), torch.tensor(inputs)[None])[0]
                   for name, other in found.items()}  # fmt: skip
        for name, told in answers.items():
            said = row if name == next(iter(found)) else row["answers"][name]
            assert said["reached"] == told["reached"]
            assert said["loss"] == pytest.approx(told["loss"], rel=1e-3, abs=1e-4)
            if kind == "recognizer":
                assert said["hypothesis"] == told["hypothesis"]
                assert said["loss"] == pytest.approx(
                    0.5 * said["loss_ctc"] + 0.5 * said["loss_att"]
                )
            else:
                assert said["score"] == pytest.approx(told["score"], abs=1e-3)
        if kind == "features":
            continue  # their ratio is that of resynthesised waveforms
        assert row["snr"] == (sizes.snr and pytest.approx(sizes.snr))


def test_rows_measure_the_saved_files(kind, data, reference, tmp_path, monkeypatch):
    check_rows(kind, data, reference)
    if kind == "features":
        return
    # What is saved need not be what was found: a file of another amplitude shows who is measured.
    monkeypatch.setattr(
        kept, "write_wav", lambda path, wave, rate: write_wav(path, 0.999 * wave, rate)
    )
    finish(run_of(kind, data, tmp_path, eps=[30.0], snr=[], steps=[1], methods=["pgd"]))
    check_rows(kind, data, tmp_path)


@pytest.mark.parametrize("shards", [2, 7])
def test_number_of_shards_does_not_change_a_bit(kind, data, reference, tmp_path, shards):
    for shard in range(shards, 0, -1):
        run = run_of(kind, data, tmp_path)
        assert not run.finished()
        run.run(shard, shards)
    assert run.finished()
    run.collect()
    assert contents(tmp_path) == contents(reference)


def test_shards_of_training_mode_give_what_one_job_gives(tones, tmp_path):
    """Its dropout is drawn by batch and condition, whoever attacks them."""
    finish(run_of("features", tones, tmp_path / "one", train_mode=True))
    for shard in (3, 1, 2):
        run = run_of("features", tones, tmp_path / "three", train_mode=True)
        run.run(shard, 3)
    run.collect()
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


class Killed(BaseException):
    """Stands for a signal."""


def kill_after(monkeypatch, saves):
    """Let the run die right after so many states have been saved."""
    count = 0

    def save_and_die(path, what, state):
        nonlocal count
        save_state(path, what, state)
        count += 1
        if count == saves:
            raise Killed

    monkeypatch.setattr(runner, "save_state", save_and_die)


def counted(run):
    """The run, and a list of the gradients that it computes."""
    objective, steps = run.victim.objective, []

    def counting(batch, loss):
        values = objective(batch, loss)

        def count(inputs, rows):
            steps.extend([None] * inputs.requires_grad)
            return values(inputs, rows)

        return count

    run.victim.objective = counting
    return run, steps


@pytest.fixture(scope="module")
def gradients(kind, data, tmp_path_factory):
    """Number of gradients of a whole run."""
    run, steps = counted(run_of(kind, data, tmp_path_factory.mktemp("counted")))
    run.run()
    return len(steps)


@pytest.mark.parametrize("saves", [1, 4, 7])
def test_killed_run_goes_on_and_ends_as_an_uninterrupted_one(
    kind, data, reference, gradients, tmp_path, monkeypatch, saves
):
    kill_after(monkeypatch, saves)
    run, before = counted(run_of(kind, data, tmp_path / "run", checkpoint_seconds=0.0))
    with pytest.raises(Killed):
        run.run()
    assert list(tmp_path.glob("run/state/**/*.pt"))
    monkeypatch.undo()
    run, after = counted(run_of(kind, data, tmp_path / "run"))
    finish(run)
    assert contents(tmp_path / "run") == contents(reference)
    # None is done twice, but what a batch's conditions share: the gradient at the clean input.
    assert gradients <= len(before) + len(after) <= gradients + 1
    assert not list(tmp_path.glob("run/state/**/*.pt"))


def test_the_time_left_counts_what_is_done_of_the_present_batch(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: now[0]))
    progress = runner.Progress([1.0, 3.0])
    now[0] = 60.0
    assert np.isnan(progress.minutes_left())
    assert progress.minutes_left(0.5) == pytest.approx(7.0)  # an eighth took a minute
    progress.finished()
    assert progress.minutes_left() == pytest.approx(3.0)
    assert progress.minutes_left(1.0) == 0.0


def test_a_state_is_saved_no_oftener_than_it_is_asked_for(speech, tmp_path, monkeypatch):
    now = itertools.count(1000.0, 4.0)  # seconds between any two looks at the clock
    saves = []
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(runner, "save_state", lambda path, *_: saves.append((path, next(now))))
    finish(run_of("recognizer", speech, tmp_path, checkpoint_seconds=10.0, methods=["pgd"]))
    by_batch = [[at for path, at in saves if path == one] for one, _ in dict(saves).items()]
    assert by_batch and all(len(times) == 1 for times in by_batch)


def test_batches_of_training_mode_begin_anew(tones, tmp_path, monkeypatch):
    """Dropout cannot be gone on with."""
    monkeypatch.setattr(runner, "save_state", None)
    run = run_of("features", tones, tmp_path, train_mode=True, checkpoint_seconds=0.0)
    run.run()
    assert run.finished() and not list(tmp_path.glob("state/**/*"))


def test_progress_says_steps_success_and_minutes_left(kind, data, tmp_path, caplog):
    caplog.set_level("INFO")
    run_of(kind, data, tmp_path, checkpoint_seconds=0.0, methods=["pgd"]).run()
    said = [line for line in caplog.messages if "min of all" in line]
    assert said[0].startswith("batch ") and "(pgd/" in said[0] and "step 1/4" in said[0]
    finished = [line for line in caplog.messages if "finished" in line]
    assert "successful; 0.0 min left" in finished[-1]


@pytest.mark.parametrize("goal", ["reached", "missed"])
def test_success_that_progress_says_is_that_of_the_rows(kind, data, tmp_path, caplog, goal):
    caplog.set_level("INFO")
    # A recognizer of noise never hears its target; away from it, it always succeeds.
    away = {"goal": "not_reference"} if kind == "recognizer" and goal == "reached" else {}
    sizes = {"eps": [0.5 if goal == "reached" else 1e-6], "snr": []}
    run = run_of(
        *(kind, data, tmp_path), checkpoint_seconds=0.0, methods=["pgd"], steps=[1, 2], best=False,
        **sizes, **away,
    )  # fmt: skip
    rows = finish(run)
    said = [
        int(found[1])
        for line in caplog.messages
        if (found := re.search(r"step 1/2.* (\d+) of \d+ successful so far", line))
    ]
    assert len(said) == len(run.plan)
    assert sum(said) == sum(row["reached"] for row in rows if row["step"] == 1)


def test_finished_batches_are_never_attacked_again(kind, data, reference, tmp_path, caplog):
    caplog.set_level("INFO")
    shutil.copytree(reference, tmp_path / "copy")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*.*") if p.is_file()}
    run = run_of(kind, data, tmp_path / "copy")
    run.victim = None  # any use of the model would fail
    run.run()
    assert {p: p.stat().st_mtime_ns for p in files} == files
    work = len(run.plan) * (1 + len(run.settings.conditions()))
    assert f"{work} batches, {work} of them finished" in caplog.text


def test_torn_batch_is_done_again(kind, data, reference, tmp_path):
    output = tmp_path / "copy"
    shutil.copytree(reference, output)
    tag = settings_of(kind).conditions()[-1].tag
    (output / "log" / tag / "00000.jsonl").unlink()
    torn = sorted(
        p for p in (output / "adversarial" / tag).rglob("*") if p.suffix in (".wav", ".ark")
    )
    torn[0].write_bytes(b"torn")
    run = run_of(kind, data, output)
    assert not run.finished()
    finish(run)
    assert contents(output) == contents(reference)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"eps": [0.3]}, "settings"),
        ({"methods": [{"method": "pgd", "decay": 1.0}]}, "settings"),
        ({"model": {"weights": "other"}}, "weights"),
        ({"fewer": True}, "utterances"),
        ({"observers": {}}, "observers"),
    ],
)
def test_directory_of_another_attack_is_refused_and_kept(kind, data, reference, change, named):
    if kind == "recognizer" and "observers" in change:
        change = {"observers": victims(kind, settings_of(kind))}
    before = contents(reference)
    utterances = read(kind, data)[: 3 if "fewer" in change else None]
    options = {key: value for key, value in change.items() if key != "fewer"}
    with pytest.raises(InputError, match=rf"another attack.*{named}"):
        run_of(kind, utterances, reference, **options)
    assert contents(reference) == before


def test_full_disk_leaves_finished_batches_and_a_message(speech, tmp_path, monkeypatch):
    written = 0

    def full_after_five(path, samples, rate):
        nonlocal written
        written += 1
        if written > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_wav(path, samples, rate)

    monkeypatch.setattr(kept, "write_wav", full_after_five)
    with pytest.raises((InputError, OSError)):
        run_of("recognizer", speech, tmp_path).run()
    monkeypatch.undo()
    assert list(tmp_path.glob("log/**/*.jsonl"))
    finish(run_of("recognizer", speech, tmp_path))


def test_the_log_of_a_batch_is_whole_or_absent(kind, data, tmp_path, monkeypatch):
    run = run_of(kind, data, tmp_path)

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(runner, "write_log", fail)
    with pytest.raises(OSError, match="disk"):
        run.run()
    assert not run.finished() and not list(tmp_path.glob("log/**/*.jsonl"))


def test_batches_are_planned_by_the_size_of_the_model(kind, data, tmp_path):
    """Where the settings do not say what one more costs; the record has the number."""
    run_of(kind, data, tmp_path, batch_overhead=None)
    small = 4.0 if kind == "recognizer" else 1.5
    assert read_json(tmp_path / "attack.json")["batch_overhead"] == small


def test_a_directory_without_results_is_free(kind, data, tmp_path):
    run_of(kind, data, tmp_path, eps=[9.0])
    first = run_of(kind, data, tmp_path)
    run_of(kind, data, tmp_path, eps=[0.3]).run()
    with pytest.raises(InputError, match=r"another attack.*settings"):
        first.run()  # the directory was taken before it had any result
    tag = settings_of(kind).conditions()[0].tag
    assert not list(tmp_path.glob(f"log/{tag}/*"))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_attack_json_is_replaced_or_named(tones, tmp_path, content):
    (tmp_path / "attack.json").write_text(content)
    finish(run_of("features", tones, tmp_path))  # nothing was made with it
    (tmp_path / "attack.json").write_text(content)
    with pytest.raises(InputError, match=r"attack\.json.*run again"):
        run_of("features", tones, tmp_path)


def test_everything_is_checked_before_a_directory_is_claimed(speech, tmp_path):
    """Short audio beside long, targets of unknown words or too many: all named, nothing begun."""
    folder = tmp_path / "data"
    write_wav(folder / "short.wav", noise(300)[0], RATE)
    targets = read_table(speech / "targets")
    paths = {**read_table(speech / "wav.scp"), "a0": str(folder / "short.wav")}
    write_table(folder / "wav.scp", paths)
    write_table(folder / "text", dict.fromkeys(paths, "nine"))
    bad = {"a0": "one", "b1": "lorem", "c1": " ".join(["one"] * 30)}
    write_table(folder / "targets", targets | bad)
    with pytest.raises(InputError) as caught:
        run_of("recognizer", folder, tmp_path / "out")
    said = str(caught.value)
    assert "targets:1: utterance a0: too short: 300 samples" in said
    assert "targets:4: utterance b1: 'lorem'" in said
    assert "targets:6: utterance c1:" in said and "needs 59 encoder frames" in said
    assert "3 of 6" in said and not (tmp_path / "out").exists()
    write_table(folder / "targets", targets)
    finish(run_of("recognizer", folder, tmp_path / "out"))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("recognizer", "autocast", "bfloat16"),
        ("recognizer", "loss_ctc_weight", 1.0),
        ("recognizer", "goal", "not_reference"),
        ("features", "frames", 25),
        ("features", "train_mode", True),
    ],
)
def test_settings_that_the_victim_does_not_have_are_refused(
    speech, tones, tmp_path, name, key, value
):
    listed = read(name, speech if name == "recognizer" else tones)
    settings = settings_of(name, **{key: value})
    victim, *_ = victims(name, settings_of(name)).values()
    with pytest.raises(InputError, match=f"{key} is .* in the settings and"):
        AttackRun(victim, settings, listed, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()
    victim, *_ = victims(name, settings).values()
    AttackRun(victim, settings, listed, tmp_path / "out", {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_values": (-0.05, 0.05)}, "clip_values"),
        ({"clip_values": None}, "clip_values"),
        ({"preprocessing_defences": DEFENCE}, "preprocessing_defences"),
    ],
)
def test_what_attack_json_would_not_say_is_refused(speech, tmp_path, options, message):
    same, *_ = victims("recognizer", settings_of("recognizer")).values()
    other = PyTorchESPnet(same.recognizer, 0.5, **options)
    with pytest.raises(InputError, match=message):
        AttackRun(other, settings_of("recognizer"), read("recognizer", speech), tmp_path / "o", {})
    assert not (tmp_path / "o").exists()


def test_an_utterance_that_is_listed_twice_is_refused(kind, data, tmp_path):
    utterances = read(kind, data)
    with pytest.raises(InputError, match=utterances[0].name):
        run_of(kind, [*utterances, utterances[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shard", [(0, 2), (3, 2)])
def test_a_shard_that_is_none_is_refused(speech, tmp_path, shard):
    with pytest.raises(InputError, match="not between 1 and 2"):
        run_of("recognizer", speech, tmp_path / "out").run(*shard)


def test_an_output_directory_that_is_a_file_is_refused(kind, data, tmp_path):
    (tmp_path / "out").write_text("mine")
    for output in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(InputError, match="is no directory"):
            run_of(kind, data, output)
    assert (tmp_path / "out").read_text() == "mine"


def test_utterance_id_that_cannot_be_a_file_name_is_refused(kind, data, tmp_path):
    first, *_ = read(kind, data)
    with pytest.raises(InputError, match="cannot name files"):
        run_of(kind, [Utterance("../x", "x.wav", 4000, first.labels)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_methods_with_keys_of_their_own_stand_beside_each_other(kind, data, reference, tmp_path):
    """A method may be there twice; what it is called decides no number."""
    methods = ["pgd", {"method": "pgd", "name": "long", "steps": 6, "start": "clean"}]
    rows = finish(run_of(kind, data, tmp_path, methods=methods))
    steps = {(row["method"], row["step"]) for row in rows}
    assert steps == {("clean", 0), ("pgd", 2), ("pgd", 4), ("long", 6)}

    def of_pgd(rows):
        return [{**row, "seconds": 0} for row in rows if row["method"] == "pgd"]

    assert of_pgd(rows) == of_pgd(read_attack_log(reference))


def test_noise_has_the_size_that_the_attack_may_have(speech, tmp_path):
    changes = {"methods": ["pgd", "noise", "fgsm"], "eps": [2.0], "steps": [10], "alpha": 0.3}
    rows = finish(run_of("recognizer", speech, tmp_path, **changes))
    loss = {}
    for row in rows:
        if row["method"] == "noise":
            assert row["l2"] == pytest.approx(row["radius"], rel=1e-3)
        loss.setdefault(row["method"], []).append(row["loss"])
    assert np.mean(loss["pgd"]) < np.mean(loss["fgsm"]) < np.mean(loss["noise"])
