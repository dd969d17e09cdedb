"""ASVspoof protocols, and the data preparation of the asvspoof2019 recipe on real layouts."""

import functools
import logging
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from recipes.recipe import call_script, load_script

from espnet_ext.data.asvspoof import attack_of
from espnet_ext.data.check import validate
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError

EGS2 = Path(__file__).parents[2] / "egs2"
LOCAL = EGS2 / "asvspoof2019" / "cm1" / "local"
LINES = {
    "2019_la": ["LA_0079 LA_T_1138215 - - bonafide", "LA_0039 LA_E_2834763 - A11 spoof"],
    "2021_la": [
        "LA_0020 LA_E_7294490 g722 loc_tx bonafide bonafide notrim eval",
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim progress",
    ],
    "2021_df": [
        "LA_0023 DF_E_2000013 nocodec asvspoof bonafide bonafide notrim eval bonafide - - - -",
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim hidden traditional_vocoder - - - -",
    ],
    "asvspoof5": [
        "T_3734 T_0000000011 F - - - - bonafide bonafide -",
        "E_1607 E_0009538969 M C05 2 E_0009486171 AC1 A26 spoof -",
    ],
    "asvspoof5_challenge": [
        "T_3734 T_0000000011 F - bonafide bonafide",
        "T_4850 T_0000000000 F AC3 A05 spoof",
    ],
}
COUNTS = {
    "cm_small": {"train": (100, 216), "dev": (50, 96), "eval": (100, 180)},
    "layouts/ASVspoof2019_LA": {"train": (4, 6), "dev": (4, 6), "eval": (4, 9)},
}


prepare = load_script(LOCAL / "prepare.py")
call = functools.partial(call_script, prepare)


@pytest.fixture
def protocol(tmp_path):
    """Write a protocol; give back its path."""

    def protocol(*lines: str) -> Path:
        path = tmp_path / "protocol.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return protocol


@pytest.fixture
def copy(shared_data, tmp_path) -> Path:
    """A copy of the tiny layout that tests may damage."""
    return Path(shutil.copytree(shared_data / "layouts" / "ASVspoof2019_LA", tmp_path / "corpus"))


def edit(path: Path, old: str, new: str) -> None:
    path.chmod(0o644)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def trials(*names: str, speaker: str = "s", key: str = "spoof") -> list[prepare.Trial]:
    return [prepare.Trial(speaker, name, "A01" if key == "spoof" else "-", key) for name in names]


@pytest.mark.parametrize("layout", prepare.LAYOUTS)
def test_every_layout_is_read_and_told_by_its_columns(protocol, layout):
    path = protocol(*LINES[layout])
    bonafide, spoof = prepare.read_protocol(path, layout)
    assert prepare.read_protocol(path) == [bonafide, spoof]
    assert (bonafide.key, bonafide.attack, spoof.key) == ("bonafide", "-", "spoof")
    words = [line.split() for line in LINES[layout]]
    assert [bonafide.speaker, bonafide.utterance] == words[0][:2]
    assert spoof.attack in ("A11", "A07", "A14", "A26", "A05") and spoof.attack in words[1]


def test_other_columns_are_kept_by_name(protocol):
    assert prepare.read_protocol(protocol(*LINES["2021_la"]))[1].extras == {
        "codec": "alaw",
        "transmission": "ita_tx",
        "trim": "notrim",
        "subset": "progress",
    }
    df = prepare.read_protocol(protocol(*LINES["2021_df"]))[1].extras
    assert (df["vocoder"], df["source"], df["language"]) == ("traditional_vocoder", "asvspoof", "-")
    found = prepare.read_protocol(protocol(*LINES["asvspoof5"]))[1].extras
    assert (found["gender"], found["codec"], found["condition"]) == ("M", "C05", "AC1")


def test_a_df_protocol_without_its_last_column(protocol):
    lines = [line.rsplit(" ", 1)[0] for line in LINES["2021_df"]]
    found = prepare.read_protocol(protocol(*lines))
    assert found[1].attack == "A14" and "language" not in found[1].extras


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LA_1 u2 - A01", "4 columns; there should be 'speaker utterance environment attack key'"),
        ("LA_1 u2 - A01 spoof extra", "6 columns"),
        ("LA_1 u2 - A01 genuine", "unknown key 'genuine'; it must be bonafide or spoof"),
        ("LA_1 u2 - - spoof", "a spoof without the id of its attack"),
        ("LA_1 u2 - A01 bonafide", "a bona fide trial with the attack 'A01'"),
        ("LA_1 u1 - A01 spoof", "utterance u1 stands in line 1 already; remove one"),
        ("", "0 columns"),
    ],
)
def test_a_bad_line_is_named(protocol, line, message):
    path = protocol("LA_1 u1 - - bonafide", line)
    with pytest.raises(InputError) as error:
        prepare.read_protocol(path, "2019_la")
    assert str(error.value).startswith(f"{path}:2: ") and message in str(error.value)


def test_protocols_that_are_none(protocol, tmp_path):
    with pytest.raises(
        InputError, match=r"protocol.txt:1: 2 columns; a protocol has 5 \(2019_la\)"
    ):
        prepare.read_protocol(protocol("LA_1 u1"))
    with pytest.raises(InputError, match="no such file"):
        prepare.read_protocol(tmp_path / "none")
    with pytest.raises(InputError, match="the file is empty"):
        prepare.read_protocol(protocol())
    with pytest.raises(InputError, match="layout '2020' is not known; use one of 2019_la"):
        prepare.read_protocol(protocol("LA_1 u1 - - bonafide"), "2020")


def test_a_protocol_of_another_layout_is_refused(protocol):
    with pytest.raises(InputError, match=":1: 8 columns; there should be"):
        prepare.read_protocol(protocol(*LINES["2021_la"]), "2019_la")


def test_bona_fide_is_written_in_two_ways():
    assert attack_of("-", "bonafide") == attack_of("bonafide", "bonafide") == "-"
    with pytest.raises(ValueError, match="without the id"):
        attack_of("bonafide", "spoof")


def test_verification_trials(protocol):
    path = protocol("LA_1 u1 bonafide target", "LA_2 u1 bonafide nontarget", "LA_1 u2 A07 spoof")
    assert [t.key for t in prepare.read_asv_protocol(path)] == ["target", "nontarget", "spoof"]
    with pytest.raises(InputError, match=r"protocol.txt:1: 'A07' and 'target' contradict"):
        prepare.read_asv_protocol(protocol("LA_1 u1 A07 target"))
    with pytest.raises(InputError, match=r"protocol.txt:1: 3 columns"):
        prepare.read_asv_protocol(protocol("LA_1 u1 target"))


def test_a_missing_audio_file_is_named(tmp_path):
    (tmp_path / "u1.flac").touch()
    assert prepare.audio_paths(trials("u1"), tmp_path) == {"u1": f"{tmp_path}/u1.flac"}
    with pytest.raises(InputError, match=rf"1 of 2 .* missing.*\n{tmp_path}/u2.flac: no such file"):
        prepare.audio_paths(trials("u1", "u2"), tmp_path)


def test_a_class_that_is_absent_is_refused():
    both = [*trials("a"), *trials("b", key="bonafide")]
    prepare.check_classes(both, "train.txt")
    assert prepare.count_keys(both) == (1, 1)
    with pytest.raises(InputError, match=r"train.txt: no bonafide trial among 2"):
        prepare.check_classes(trials("a", "b"), "train.txt")
    with pytest.raises(InputError, match=r"train.txt: no spoof trial among 1"):
        prepare.check_classes(trials("a", key="bonafide"), "train.txt")


def test_a_speaker_in_two_partitions_is_a_warning(caplog):
    parts = {"train": trials("a", speaker="x"), "dev": trials("b", speaker="y")}
    assert prepare.check_disjoint(parts) == [] and not caplog.records
    with caplog.at_level(logging.WARNING):
        found = prepare.check_disjoint({**parts, "eval": trials("c", speaker="x")})
    assert found == ["train and eval have 1 speakers in common (x); results on them are too good"]
    assert [record.message for record in caplog.records] == found


def test_an_utterance_in_two_partitions_is_refused():
    with pytest.raises(InputError, match=r"train and dev have 1 utterances in common \(a\)"):
        prepare.check_disjoint({"train": trials("a"), "dev": trials("a", "b")})


def test_the_official_partition_is_known_by_its_counts():
    official = {name: part.official for name, part in prepare.PARTITIONS_2019.items()}
    assert {name: sum(counts) for name, counts in official.items()} == {
        "train": 25380,
        "dev": 24844,
        "eval": 71237,
    }
    both = [*trials("a"), *trials("b", key="bonafide")]
    assert prepare.describe_trials(both) == "1 bona fide, 1 spoof"
    assert prepare.describe_trials(both, (1, 1)) == "1 bona fide, 1 spoof; the official partition"
    assert prepare.describe_trials(both, (1, 2)).endswith(
        "not the official partition (1 bona fide, 2 spoof)"
    )


def test_tables_of_a_data_directory():
    found = prepare.trial_directory(trials("a", "b"), {"a": "x/a.flac", "b": "x/b.flac"}).tables
    assert found["utt2attack"] == {"a": "A01", "b": "A01"}
    assert set(found) == {"wav.scp", "utt2spk", "utt2label", "utt2attack"}


@pytest.mark.parametrize("corpus", COUNTS)
def test_real_corpora_become_valid_data_directories(shared_data, tmp_path, corpus, capsys):
    call(shared_data / corpus, directory=tmp_path)
    said = capsys.readouterr().out.splitlines()
    for line, (name, counts) in zip(said, COUNTS[corpus].items(), strict=True):
        directory = tmp_path / "data" / name
        validate(directory, text=False)
        labels, attacks = (read_table(directory / f) for f in ("utt2label", "utt2attack"))
        found = Counter(labels.values())
        assert (found["bonafide"], found["spoof"]) == counts
        assert {u for u, a in attacks.items() if a == "-"} == {
            u for u, key in labels.items() if key == "bonafide"
        }
        assert line.startswith(f"data/{name}: {counts[0]} bona fide, {counts[1]} spoof; not the")
        assert (directory / "asv_scores").is_file() == (name != "train")


def test_attacks_and_speakers_of_the_small_corpus(shared_data, tmp_path):
    call(shared_data / "cm_small" / "LA", directory=tmp_path)
    attacks = Counter(read_table(tmp_path / "data" / "eval" / "utt2attack").values())
    unseen = ("A07", "A08", "A09", "A10", "A11", "A13", "A16", "A17", "A19")
    assert attacks == {"-": 100, **dict.fromkeys(unseen, 20)}
    speakers = [
        set(read_table(tmp_path / "data" / n / "utt2spk").values()) for n in COUNTS["cm_small"]
    ]
    assert [len(s) for s in speakers] == [20, 10, 20]


def test_the_same_command_makes_the_same_bytes(shared_data, tmp_path):
    made = []
    for name in ("one", "two"):
        call(shared_data / "cm_small", "--output", tmp_path / name, directory=tmp_path)
        call(shared_data / "cm_small", "--output", tmp_path / name, directory=tmp_path)
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        made.append({p.relative_to(tmp_path / name): p.read_bytes() for p in files})
    assert made[0] == made[1] and len(made[0]) == 3 * 5 + 2


def test_files_that_no_protocol_lists_are_not_taken(copy, tmp_path):
    folder = copy / "LA" / "ASVspoof2019_LA_eval" / "flac"
    folder.chmod(0o755)
    (folder / "LA_E_0000000.flac").touch()
    call("corpus", directory=tmp_path)
    assert "LA_E_0000000" not in read_table(tmp_path / "data" / "eval" / "wav.scp")
    assert read_table(tmp_path / "data" / "eval" / "wav.scp")
    first = next(iter(read_table(tmp_path / "data" / "dev" / "wav.scp").values()))
    assert first.startswith("corpus/LA/ASVspoof2019_LA_dev/flac/LA_D_")


def protocol_of(corpus: Path, name: str) -> Path:
    return corpus / "LA" / prepare.PARTITIONS_2019[name].protocol


def test_a_corpus_without_a_class_to_train_on_is_refused(copy, tmp_path):
    path = protocol_of(copy, "train")
    path.chmod(0o644)
    lines = [line for line in path.read_text().splitlines() if line.endswith("spoof")]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"trn.txt: no bonafide trial among 6"):
        call(copy, directory=tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_corpus_with_a_missing_file_is_refused_before_anything_is_written(copy, tmp_path):
    utterance = prepare.read_protocol(protocol_of(copy, "eval"))[-1].utterance
    folder = copy / "LA" / "ASVspoof2019_LA_eval" / "flac"
    folder.chmod(0o755)
    (folder / f"{utterance}.flac").unlink()
    with pytest.raises(InputError, match=rf"{folder}/{utterance}.flac: no such file"):
        call(copy, directory=tmp_path)
    assert not (tmp_path / "data").exists()


def test_verification_scores_of_other_trials_are_refused(copy, tmp_path):
    scores = copy / "LA" / prepare.PARTITIONS_2019["dev"].asv_scores
    edit(scores, "A01 spoof", "A02 spoof")
    with pytest.raises(InputError, match="attack A01: 0 trials there, 1 countermeasure trials"):
        call(copy, directory=tmp_path)


def test_verification_scores_in_another_order_are_refused(copy, tmp_path):
    scores = copy / "LA" / prepare.PARTITIONS_2019["dev"].asv_scores
    scores.chmod(0o644)
    scores.write_text("".join(reversed(scores.read_text().splitlines(keepends=True))))
    with pytest.raises(InputError, match=r"scores and ASV protocol disagree:\n.*scores.txt:1: "):
        call(copy, directory=tmp_path)


def test_a_corpus_without_verification_scores(copy, tmp_path, caplog):
    folder = copy / "LA" / "ASVspoof2019_LA_asv_scores"
    for path in (copy / "LA", folder):
        path.chmod(0o755)
    shutil.rmtree(folder)
    call(copy, directory=tmp_path)
    assert "there will be no t-DCF" in caplog.text
    assert not (tmp_path / "data" / "eval" / "asv_scores").exists()


def test_a_folder_that_is_no_corpus(tmp_path):
    with pytest.raises(InputError, match="no ASVspoof2019_LA_cm_protocols/ here or in LA/; set"):
        prepare.la_2019(tmp_path)


@pytest.fixture
def evaluation(protocol, tmp_path) -> list[object]:
    """Arguments for another evaluation set, of one progress and two evaluation trials."""
    path = protocol(*LINES["2021_la"], "LA_0030 LA_E_1 alaw ita_tx A08 spoof notrim eval")
    audio = tmp_path / "audio"
    audio.mkdir()
    for trial in prepare.read_protocol(path):
        (audio / f"{trial.utterance}.flac").touch()
    return ["--protocol", path, "--audio", "audio", "--name", "la2021"]


def test_another_evaluation_set(evaluation, tmp_path, capsys):
    call(*evaluation, directory=tmp_path)
    assert capsys.readouterr().out == "data/la2021: 1 bona fide, 2 spoof\n"
    call(*evaluation, "--subset", "eval", directory=tmp_path)
    found = read_table(tmp_path / "data" / "la2021" / "utt2attack")
    assert found == {"LA_E_7294490": "-", "LA_E_1": "A08"}


def test_another_evaluation_set_of_one_class(evaluation, tmp_path, caplog):
    call(*evaluation, "--subset", "progress", directory=tmp_path)
    assert "only one class" in caplog.text
    with pytest.raises(InputError, match="no trial of subset 'hidden'; it has eval, progress"):
        call(*evaluation, "--subset", "hidden", directory=tmp_path)


@pytest.mark.parametrize("arguments", [[], ["corpus", "--name", "x"], ["--name", "x"]])
def test_arguments_that_do_not_go_together(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call(*arguments, directory=tmp_path)
    assert "give the corpus, or --protocol with --audio and --name" in capsys.readouterr().err


def test_the_shell_script_of_the_recipe(shared_data, tmp_path):
    """In a copy of the recipe, linked as TEMPLATE/common/setup.sh links it."""
    for name in ("path.sh", "db.sh", "utils"):
        (tmp_path / name).symlink_to(EGS2 / "TEMPLATE" / "common" / name)
    (tmp_path / "local").symlink_to(LOCAL)
    corpus = shared_data / "layouts" / "ASVspoof2019_LA"
    done = run(
        tmp_path,
        "--asvspoof2019_la",
        str(corpus),
        "--eval_name",
        "again",
        *(
            "--eval_protocol",
            f"{corpus}/LA/{prepare.PARTITIONS_2019['eval'].protocol}",
            "--eval_audio",
            f"{corpus}/LA/{prepare.PARTITIONS_2019['eval'].audio}",
        ),
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == [
        "again",
        "dev",
        "eval",
        "train",
    ]
    shutil.rmtree(tmp_path / "data")
    done = run(tmp_path)
    assert done.returncode == 1 and "set ASVSPOOF2019_LA in db.sh" in done.stderr


def run(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "local/data.sh", *arguments],
        cwd=directory,
        env={"PATH": path},
        capture_output=True,
        text=True,
    )
