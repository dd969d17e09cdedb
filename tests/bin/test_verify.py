"""`espnet-ext verify`: an attack is true as it was written, and refused when it was changed."""

import shutil
import sys

import pytest
from tiny import RATE, noise, save_model, task_arguments, tiny_config

from espnet_ext.bin import asr_attack, asr_transfer, verify
from espnet_ext.data.attack_log import read_attack_log, read_attack_record
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_json, read_jsonl, write_json, write_jsonl
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.report.recognition import attack_results
from espnet_ext.tasks.mtl_asr import MTLASRTask

pytestmark = pytest.mark.one_python
ATTACK = "norm: 2\nsnr: [25]\nsteps: [1, 2]\nbatch_size: 2\nmethods: [pgd, noise]\n"
NAMES = ["a-1", "a-2", "b-1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Audio and texts, a model, and an attack on it that is heard after a codec, too."""
    folder = tmp_path_factory.mktemp("verify")
    config = tiny_config()
    model = save_model(MTLASRTask.build_model(task_arguments(config)), config, folder)
    for name, wave in zip(NAMES, noise(5000, 5000, 4500), strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    write_table(folder / "wav.scp", {n: str(folder / f"{n}.wav") for n in NAMES})
    write_table(folder / "text", dict.fromkeys(NAMES, "one two"))
    write_table(folder / "targets", dict.fromkeys(NAMES, "three four"))
    (folder / "attack.yaml").write_text(ATTACK)
    call(
        asr_attack,
        *model_options(model),
        *("--wav_scp", folder / "wav.scp", "--targets", folder / "targets"),
        *("--text", folder / "text", "--config", folder / "attack.yaml"),
        *("--output_dir", folder / "entry", "--also_codec", "pcm16"),
    )
    return folder, model


def model_options(model):
    return "--asr_train_config", model[0], "--asr_model_file", model[1]


def call(command, *options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [command.__file__, *map(str, options)])
        command.main()


@pytest.fixture
def entry(made, tmp_path):
    """A copy of the attack, to be changed."""
    return shutil.copytree(made[0] / "entry", tmp_path / "entry")


def verified(made, entry, *options, wav_scp=None):
    folder, model = made
    audio = wav_scp or folder / "wav.scp"
    call(verify, entry, *model_options(model), "--wav_scp", audio, *options)


def test_an_attack_as_it_was_written_is_true(made, entry, capsys):
    folder, _ = made
    board = entry.parent / "leaderboard.json"
    texts = ("--text", folder / "text", "--targets", folder / "targets")
    for _ in range(2):
        verified(made, entry, *texts, "--leaderboard", board)
    assert "is true: 3 utterances" in capsys.readouterr().out
    (added,) = read_json(board)["entries"]
    assert added["card"]["attacks"] and added["card"]["flags"]
    jsonschema = pytest.importorskip("jsonschema")
    published = jsonschema.Draft202012Validator(read_json(board.with_suffix(".schema.json")))
    published.validate(read_json(board))
    with pytest.raises(jsonschema.ValidationError):
        published.validate({**read_json(board), "entries": [{"card": added["card"]}]})


def in_log(wanted, **changes):
    """A change of one row of the log, that of an utterance after the last step."""

    def tamper(entry):
        rows = read_jsonl(entry / "attack_log.jsonl")
        (row,) = (r for r in rows if (r["utterance"], r["method"], r["step"]) == wanted)
        row.update(changes)
        write_jsonl(entry / "attack_log.jsonl", rows)

    return tamper


def in_json(name, change):
    def tamper(entry):
        found = read_json(entry / name)
        change(found)
        write_json(entry / name, found)

    return tamper


LAST = ("a-1", "pgd", 2)
KEPT = "adversarial/pgd/snr25/step2/wav"


def louder(entry):
    path = entry / KEPT / "a-1.wav"
    clean, _ = read_audio(entry.parent.joinpath("a-1.wav"))
    moved, _ = read_audio(path)
    write_wav(path, clean + 1.5 * (moved - clean), RATE)


def swapped(entry):
    one, other = entry / KEPT / "a-1.wav", entry / KEPT / "a-2.wav"
    samples = read_audio(one)[0], read_audio(other)[0]
    write_wav(one, samples[1], RATE)
    write_wav(other, samples[0], RATE)


def left_out(entry):
    """An utterance that nothing of the entry names any longer."""
    rows = read_jsonl(entry / "attack_log.jsonl")
    write_jsonl(entry / "attack_log.jsonl", [r for r in rows if r["utterance"] != "b-1"])
    record = read_json(entry / "attack.json")
    record["batches"] = [[n for n in batch if n != "b-1"] for batch in record["batches"]]
    record["batches"] = [batch for batch in record["batches"] if batch]
    write_json(entry / "attack.json", record)
    write_table(entry / "utt2sha256", dict([*read_rows(entry / "utt2sha256")][:2]))


def read_rows(path):
    return (line.split() for line in path.read_text().splitlines())


def louder_budget(entry):
    """Everything is said to be within a budget half as large."""
    for name in ("attack.json", "attack_log.jsonl", "results.json"):
        path = entry / name
        path.write_text(path.read_text().replace("snr25", "snr31").replace("25.0", "31.0"))
    for method in ("pgd", "noise"):
        folder = entry / "adversarial" / method
        (folder / "snr25").rename(folder / "snr31")


def consistent_lie(entry):
    """Every transcript is the target, and all that follows from it is right."""
    rows = read_attack_log(entry)
    for row in rows:
        if row["method"] == "pgd":
            row |= {"hypothesis": row["target"], "reached": True}
    write_jsonl(entry / "attack_log.jsonl", rows)
    results = attack_results(rows, read_attack_record(entry / "attack.json"), None, {})
    write_json(entry / "results.json", {**read_json(entry / "results.json"), **results})


TAMPERED = {
    "louder audio": (louder, r"utterance a-1, pgd, snr25, 2 steps: l2 is claimed to be at most"),
    "another budget": (louder_budget, r"pgd, snr31, 2 steps: l2 is claimed to be at most"),
    "a smaller size": (in_log(LAST, snr=60.0), r"a-1, pgd, snr25, 2 steps: snr: claimed 60"),
    "a transcript": (
        in_log(LAST, hypothesis="three four"),
        r"a-1, pgd, snr25, 2 steps: hypothesis: claimed 'three four', found",
    ),
    "a success": (
        in_log(LAST, reached=True),
        r"a-1, pgd, snr25, 2 steps: reached: claimed True, found False",
    ),
    "a target": (in_log(("a-1", "clean", 0), target="one"), r"sha256: claimed"),
    "a consistent lie": (consistent_lie, r"hypothesis: claimed 'three four', found"),
    "what is heard after a codec": (
        in_log(LAST, answers={"pcm16": {"hypothesis": "three four"}}),
        r"answers: pcm16: hypothesis: claimed 'three four'",
    ),
    "swapped audio": (swapped, r"utterance a-1, pgd, snr25, 2 steps: l2 is claimed"),
    "an utterance left out": (left_out, r"(?s)other utterances.*count: claimed 3, found 2"),
    "rows left out": (
        lambda entry: write_jsonl(
            entry / "attack_log.jsonl", read_jsonl(entry / "attack_log.jsonl")[:-1]
        ),
        r"not the whole log",
    ),
    "audio left out": (lambda entry: (entry / KEPT / "b-1.wav").unlink(), r"no audio of:\n.*b-1"),
    "a score": (
        in_json("results.json", lambda r: r["scores"][-1].update(success_rate=[90.0, 80.0, 100.0])),
        r"results.json: scores: .*success_rate: claimed 90.0, found 0.0",
    ),
    "an interval": (
        in_json("results.json", lambda r: r["scores"][0].update(adv_twer=[100.0, 99.0, 101.0])),
        r"results.json: scores: .*adv_twer: claimed",
    ),
    "flags left out": (
        in_json("results.json", lambda r: r.update(flags=[])),
        r"results.json: flags: \w+: claimed None, found",
    ),
    "the look at the gradient": (
        in_json("attack.json", lambda r: r["gradient_check"].update(unusable=1.0)),
        r"gradient_check: unusable: claimed 1.0, found",
    ),
    "what earlier versions did not keep": (
        in_json("attack.json", lambda r: r.pop("gradient_check")),
        r"not whole:\nattack.json: no gradient_check",
    ),
    "weights": (
        in_json("attack.json", lambda r: r["model"]["weights"].update(sha256="0" * 64)),
        r"--model is not .*\n.*weights: sha256: claimed '0{64}'",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_changed_is_refused_by_name(made, entry, what):
    tamper, message = TAMPERED[what]
    for name in NAMES:
        shutil.copy(made[0] / f"{name}.wav", entry.parent)
    tamper(entry)
    board = entry.parent / "leaderboard.json"
    with pytest.raises(InputError, match=message):
        verified(made, entry, "--leaderboard", board)
    assert not board.exists()


def test_other_audio_without_attack_is_refused(made, entry, tmp_path):
    write_wav(tmp_path / "a-1.wav", noise(5000)[0][::-1].copy(), RATE)
    paths = dict(read_rows(made[0] / "wav.scp"))
    write_table(tmp_path / "wav.scp", {**paths, "a-1": str(tmp_path / "a-1.wav")})
    with pytest.raises(InputError, match="has other audio than"):
        verified(made, entry, wav_scp=tmp_path / "wav.scp")


def test_texts_of_another_test_set_are_refused(made, entry, tmp_path):
    write_table(tmp_path / "text", {**dict.fromkeys(NAMES, "one two"), "b-1": "five"})
    with pytest.raises(InputError, match="b-1: reference: claimed 'one two', found 'five'"):
        verified(made, entry, "--text", tmp_path / "text")


def test_a_transfer_is_no_entry(made, tmp_path):
    folder, model = made
    options = ("--attack_dir", folder / "entry", "--wav_scp", folder / "wav.scp")
    call(asr_transfer, *model_options(model), *options, "--output_dir", tmp_path / "heard")
    with pytest.raises(InputError, match="only attacks of asr_attack"):
        verified(made, tmp_path / "heard")
