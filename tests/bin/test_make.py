import sys

import pytest
from tiny import RATE, noise, save_model, task_arguments, tiny_config

from espnet_ext.attack.targets import lorem_ipsum
from espnet_ext.bin import make_classes, make_target_set, make_targets, make_tokens
from espnet_ext.data.audio import write_wav
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError
from espnet_ext.tasks.mtl_asr import MTLASRTask

TEXT = {"a-1": "one two", "a-2": "two", "b-1": "three one"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data directory, in the current directory."""
    monkeypatch.chdir(tmp_path)
    write_table("data/text", TEXT)
    write_table("data/utt2spk", {u: u[0] for u in TEXT})
    write_table("data/utt2accent", {"a-1": "us", "a-2": "unknown", "b-1": "gb"})
    return tmp_path / "data"


@pytest.fixture
def call(monkeypatch, capsys, data):
    """Call a command; give back what it prints."""

    def call(module, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
        module.main()
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        (["--token_type", "word"], ["one", "two", "three"]),
        (["--token_type", "char"], [*"eot", "<space>", *"nwhr"]),
        (["--token_type", "bpe", "--vocab_size", "12"], None),
    ],
)
def test_make_tokens(call, data, options, tokens):
    said = call(make_tokens, "--text", "data/text", "--output_dir", "tokens", *options)
    found = (data.parent / "tokens" / "tokens.txt").read_text().splitlines()
    assert said == f"tokens/tokens.txt: {len(found)} tokens\n"
    assert tokens is None or found == ["<blank>", "<unk>", *tokens, "<sos/eos>"]
    assert (data.parent / "tokens" / "bpe.model").exists() == (tokens is None)


def test_make_tokens_of_a_missing_text(call, data):
    with pytest.raises(InputError, match="none: no such file"):
        call(make_tokens, "--text", "none", "--token_type", "word", "--output_dir", "tokens")
    assert not (data.parent / "tokens").exists()


def test_make_classes(call, data):
    said = call(make_classes, "--labels", "data/utt2accent", "--output", "classes/accent.txt")
    assert said == "classes/accent.txt: gb, us\n"
    assert (data.parent / "classes" / "accent.txt").read_text() == "gb\nus\n"


def test_make_classes_of_one_label(call, data):
    write_table("data/utt2accent", dict.fromkeys(TEXT, "us"))
    with pytest.raises(InputError, match=r"utt2accent: .* found \['us'\]"):
        call(make_classes, "--labels", "data/utt2accent", "--output", "accent.txt")
    assert not (data.parent / "accent.txt").exists()


def test_make_classes_with_a_file_to_check(call, data):
    options = ("--labels", "data/utt2accent", "--output", "accent.txt", "--check", "dev")
    write_table("dev", {"c-1": "gb", "c-2": "unknown"})
    call(make_classes, *options)
    before = (data.parent / "accent.txt").read_text()
    write_table("dev", {"c-1": "gb", "c-2": "nz"})
    with pytest.raises(InputError, match="dev: labels that no training utterance has"):
        call(make_classes, *options)
    assert (data.parent / "accent.txt").read_text() == before == "gb\nus\n"


def test_make_targets_of_the_paper(call):
    said = call(make_targets, "--data_dir", "data", "--output", "targets")
    found = read_table("targets")
    assert list(found) == list(TEXT) and set(found.values()) <= set(lorem_ipsum())
    assert {u: len(t.split()) for u, t in found.items()} == {"a-1": 2, "a-2": 1, "b-1": 2}
    assert said == f"targets: 3 utterances, {len(set(found.values()))} targets\n"


def test_make_targets_of_a_set_and_of_some_utterances(call, data):
    (data.parent / "set.txt").write_text("two four\nfour\nthree five\nseventeen\n")
    options = ("--data_dir", "data", "--target_set", "set.txt", "--output", "targets")
    call(make_targets, *options, "--num_utts", "2")
    assert read_table("targets") == {"a-1": "three five", "b-1": "two four"}
    call(make_targets, *options, "--length_unit", "character")
    assert read_table("targets")["b-1"] in ("two four", "seventeen")
    assert read_table("targets")["a-1"] == "seventeen"


def test_make_targets_that_cannot_be_had(call, data):
    options = ("--data_dir", "data", "--output", "targets")
    with pytest.raises(InputError, match="9 utterances asked for, the data has 3"):
        call(make_targets, *options, "--num_utts", "9")
    (data.parent / "set.txt").write_text("two\n")
    with pytest.raises(InputError, match="utterance a-1: every target shares a word"):
        call(make_targets, *options, "--target_set", "set.txt")
    assert not (data.parent / "targets").exists()


def config_of(folder, tokens, token_type="char", **changes):
    values = {**tiny_config(), "token_list": tokens, "token_type": token_type, **changes}
    return save_model(MTLASRTask.build_model(task_arguments(values)), values, folder)[0]


@pytest.fixture
def audio(data):
    """A second of audio for two utterances, and too little for any model for the third."""
    paths = {}
    for name, wave in zip(TEXT, noise(8000, 8000, 300), strict=True):
        paths[name] = str(data.parent / f"{name}.wav")
        write_wav(paths[name], wave, RATE)
    write_table(data / "wav.scp", paths)


@pytest.mark.parametrize("letters", ["LOREMIPSUMDT", "loremipsumdt"])
def test_targets_are_those_that_the_model_can_write(call, data, audio, letters):
    tokens = ["<blank>", "<unk>", "<space>", *dict.fromkeys(letters), "<sos/eos>"]
    config = config_of(data.parent / "exp", tokens)
    options = ("--data_dir", "data", "--output", "targets", "--asr_train_config", str(config))
    said = call(make_targets, *options)
    found = read_table("targets")
    assert list(found) == ["a-1", "a-2"]  # in any letter case
    assert set("".join(found.values())) <= set("loremipsumdt ")
    assert "targets are left out" in said and "(8 " not in said
    assert "utterance b-1: 300 samples" in said
    call(make_targets, *options[:-1], str(config.parent))  # the directory of the model
    assert read_table("targets") == found


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"caf\xe9\n", r"set\.txt:1: not UTF-8"), (b"six seven \nsix  seven\n", "stands here twice")],
)
def test_a_set_of_targets_is_read_as_text(call, data, content, message):
    (data.parent / "set.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        call(make_targets, "--data_dir", "data", "--output", "targets", "--target_set", "set.txt")


def test_targets_fit_the_audio(call, data, audio):
    tokens = ["<blank>", "<unk>", "<space>", *"abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]
    config = config_of(data.parent / "exp", tokens)
    (data.parent / "set.txt").write_text("a\nbcdefghijklmnopqrstuvwxyzabcdefghijk lmnop\nee\n")
    options = ("--data_dir", "data", "--output", "targets", "--target_set", "set.txt")
    call(make_targets, *options)
    assert len(read_table("targets")["a-1"]) > 30
    call(make_targets, *options, "--asr_train_config", str(config))
    assert set(read_table("targets").values()) <= {"a", "ee"}


def test_each_model_hears_at_its_own_sample_rate(call, data, audio):
    tokens = ["<blank>", "<unk>", "<space>", *"abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]
    other = {**tiny_config()["frontend_conf"], "fs": 2 * RATE}
    configs = [
        str(config_of(data.parent / "8k", tokens)),
        str(config_of(data.parent / "16k", tokens, frontend_conf=other)),
    ]
    options = ("--data_dir", "data", "--output", "targets", "--asr_train_config", *configs)
    with pytest.raises(InputError, match=rf"a-1.*{RATE} Hz.*{2 * RATE}"):
        call(make_targets, *options)


def test_a_model_that_can_write_no_target_is_told_what_to_do(call, data, audio):
    config = config_of(data.parent / "exp", ["<blank>", "<unk>", "one", "two", "<sos/eos>"], "word")
    options = ("--data_dir", "data", "--output", "targets", "--asr_train_config", str(config))
    with pytest.raises(InputError, match=r"no token for .*make_target_set.*--target_set"):
        call(make_targets, *options)
    assert not (data.parent / "targets").exists()


def test_make_targets_of_an_utterance_without_a_transcript(call):
    write_table("data/text", {"a-1": "one"})
    with pytest.raises(InputError, match="a-2"):
        call(make_targets, "--data_dir", "data", "--output", "targets")


def test_make_target_set(call, data):
    options = ("--longest", "3", "--per_length", "4", "--words", "a", "b", "c", "--output", "set")
    assert call(make_target_set, *options) == "set: 11 targets\n"
    first = (data.parent / "set").read_text()
    assert [len(line.split()) for line in first.splitlines()] == [1] * 3 + [2] * 4 + [3] * 4
    call(make_target_set, *options, "--seed", "1")
    assert (data.parent / "set").read_text() != first


def test_make_target_set_longer_than_the_vocabulary(call, data):
    with pytest.raises(InputError, match="3 different words asked of a vocabulary of 2"):
        call(make_target_set, "--longest", "3", "--words", "a", "b", "--output", "set")
    assert not (data.parent / "set").exists()
