"""Recipes for other recordings, made by the commands of egs2/own_*.md as printed there."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from recipes.recipe import ROOT

from espnet_ext.data.kaldi import read_table

PAGE = "".join((ROOT / f"egs2/own_{name}.md").read_text() for name in ("recordings", "corpus"))
TASKS = ("mtl_asr1", "cm1", "ssl1", "sv1", "attack1")
START = "A recipe for your own recordings"
EXAMPLES = {
    "librispeech": "${LIBRISPEECH}",
    "table": "/tmp/librispeech.csv",
    "spoofs": "/path/to/spoofs.csv",
}


@pytest.fixture
def repository(tmp_path):
    """The shared part of egs2/ and the recipes that it takes configurations from."""
    for name in (
        "TEMPLATE",
        "fsdd/mtl_asr1/conf",
        "asvspoof2019/cm1/conf",
        "librispeech/ssl1/conf",
    ):
        shutil.copytree(ROOT / "egs2" / name, tmp_path / "egs2" / name, symlinks=True)
    (tmp_path / "espnet_ext").symlink_to(ROOT / "espnet_ext")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/venv").symlink_to(sys.prefix)
    return tmp_path


def bash(command, directory):
    done = subprocess.run(["bash", "-c", command], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def blocks(heading):
    """The commands that the page gives below a heading."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    found = re.findall(
        r"```bash\n(.*?)```", re.split(r"^##", section, flags=re.MULTILINE)[0], re.DOTALL
    )
    assert found, heading
    return found


def follow(heading, repository, **places):
    """Do what the page says below a heading, in one shell; paths of examples become `places`.

    Returns:
        What the commands print.
    """
    commands = "\n".join(blocks(heading))
    for printed, real in places.items():
        commands = commands.replace(EXAMPLES[printed], str(real))
    activate = blocks(START)[0]
    if not Path(sys.prefix, "bin/activate").is_file():
        activate = "true"
    return bash(f"set -eu\n{activate}\n{commands}", repository).stdout


@pytest.mark.parametrize("task", TASKS)
def test_a_new_recipe_has_all_that_it_needs(repository, task):
    folder = repository / "egs2/mine" / task
    bash(f"egs2/TEMPLATE/common/setup.sh egs2/mine/{task}", repository)
    help_text = bash("./run.sh --help", folder).stdout
    assert "Stages:" in help_text
    for name in re.findall(r"=(conf/\S+)", help_text):
        assert (folder / name).is_file() and not (folder / name).is_symlink(), name
    for line in (folder / "run.sh").read_text().splitlines():
        assert not re.match(r"\w+=", line) or re.search(r"#.*\w", line), line
    done = subprocess.run(["local/data.sh"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "not written yet" in done.stderr


def test_what_is_ones_own_stays(repository):
    command = "egs2/TEMPLATE/common/setup.sh egs2/mine/mtl_asr1"
    bash(command, repository)
    own = repository / "egs2/mine/mtl_asr1/conf/train.yaml"
    own.write_text("mine")
    bash(command, repository)
    assert own.read_text() == "mine"


@pytest.fixture
def librispeech(shared_data, tmp_path):
    """Four utterances of each reader, in the layout of LibriSpeech."""
    source, folder = shared_data / "librispeech_mini", tmp_path / "LibriSpeech"
    if not source.is_dir():
        pytest.skip("librispeech_mini is not among the data")
    for transcripts in source.glob("*/*/*/*.trans.txt"):
        chapter = folder / transcripts.parent.relative_to(source)
        chapter.mkdir(parents=True)
        lines = transcripts.read_text().splitlines()[:4]
        (chapter / transcripts.name).write_text("\n".join(lines) + "\n")
        for name in (f"{line.split()[0]}.flac" for line in lines):
            (chapter / name).symlink_to(transcripts.with_name(name))
    shutil.copy(source / "SPEAKERS.TXT", folder)
    return folder


@pytest.fixture
def table(tmp_path, librispeech):
    """The table that the page makes of LibriSpeech."""
    places = {"${LIBRISPEECH}": librispeech, "/tmp/librispeech.csv": tmp_path / "table.csv"}
    command = blocks("Speech recognition under attack: mtl_asr1")[0]
    for printed, real in places.items():
        command = command.replace(printed, str(real))
    bash(command, tmp_path)
    return tmp_path / "table.csv"


def finished(output, last_stage):
    """Whether the stages up to the last one were said, and that all is done."""
    said = re.findall(r"\) Stage (\d+)", output)
    return said == [str(n) for n in range(1, last_stage + 1)] and "Done in" in output


@pytest.mark.recipe
def test_the_page_leads_from_librispeech_to_the_report(repository, librispeech, tmp_path):
    output = follow(
        "Speech recognition under attack: mtl_asr1",
        repository,
        librispeech=librispeech,
        table=tmp_path / "table.csv",
    )
    assert finished(output, 10)
    folder = repository / "egs2/my_speech/mtl_asr1"
    assert "token_type=char" in (folder / "run.sh").read_text()
    assert (folder / "data/classes/gender.txt").read_text().split() == ["f", "m"]
    (report,) = (folder / "exp/first").glob("report_*")
    assert f"The report: {report}/RESULTS.md" in output
    assert "<html" in (report / "report.html").read_text()


@pytest.mark.recipe
def test_the_page_leads_from_spoofs_to_the_report(repository, shared_data, tmp_path):
    corpus = shared_data / "cm_small/LA"
    if not corpus.is_dir():
        pytest.skip("cm_small is not among the data")
    spoofs = write_spoofs(corpus, tmp_path / "my spoofs")
    output = follow("Spoofing countermeasures: cm1", repository, spoofs=spoofs)
    assert "no model of conf/models_first.yaml has a pretrained Mockingjay" in output
    folder = repository / "egs2/my_spoofs/cm1"
    assert set(read_table(folder / "dump/eval/utt2label").values()) == {"bonafide", "spoof"}
    report = folder / "exp/first/report_first_attack"
    assert "<html" in (report / "report.html").read_text()
    assert "lcnn" in (report / "RESULTS.md").read_text()


def write_spoofs(corpus, folder):
    """WAV files with blanks in their names, and their table with Windows line ends."""
    folder.mkdir()
    rows = []
    for part, split in (("train.trn", "Train"), ("dev.trl", "Dev"), ("eval.trl", "Test")):
        (protocol,) = corpus.glob(f"*_cm_protocols/*.cm.{part}.txt")
        lines = [line.split() for line in protocol.read_text().splitlines()]
        kept = [x for key in ("bonafide", "spoof") for x in [y for y in lines if y[4] == key][::7]]
        for number, (speaker, name, _, attack, key) in enumerate(kept):
            (source,) = corpus.glob(f"*/flac/{name}.flac")
            file = folder / f"{split} recording {number}.wav"
            soundfile.write(file, *soundfile.read(source))
            rows.append([file.name, speaker, key.capitalize(), attack.strip("-"), split])
    with (folder / "List of files.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Path", "Speaker", "Label", "Attack", "Split"])
        writer.writerows(rows)
    return f"'{folder / 'List of files.csv'}'"


@pytest.mark.recipe
def test_the_page_pretrains_on_librispeech(repository, table):
    output = follow("Pretraining of Mockingjay: ssl1", repository, table=table)
    assert finished(output, 5)
    folder = repository / "egs2/my_speech/ssl1/exp/first/train_seed0"
    assert (folder / "reconstruction/dev/RESULTS.md").is_file()
    assert (folder / "valid.loss.best.pth").is_file()


def test_a_head_without_labels_is_refused_before_anything_is_formatted(repository):
    bash("egs2/TEMPLATE/common/setup.sh egs2/mine/mtl_asr1", repository)
    folder = repository / "egs2/mine/mtl_asr1"
    (folder / "data/train").mkdir(parents=True)
    (folder / "data/train/utt2gender").write_text("a f\n")
    command = ["./run.sh", "--stage", "2", "--stop_stage", "2", "--heads", "gender age"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2 and "no data/train/utt2age for the head 'age'" in done.stderr
    assert not list((folder / "dump").glob("[!.]*"))
