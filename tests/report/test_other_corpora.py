"""Bona fide speech of corpora that are not in training."""

import pytest
from countermeasure_run import LISTED, read, results_of, write_run

from espnet_ext.data.files import write_lines
from espnet_ext.errors import InputError
from espnet_ext.report.countermeasure_tables import countermeasure_tables
from espnet_ext.report.other_corpora import TITLE, read_other_corpora

SPEAKERS = {"u1": "s1", "u2": "s1", "u3": "s2", "u4": "s2"}


def write(expdir, model, scores, seed=0, key="- bonafide"):
    lines = [f"{u} {key} {score}" for u, score in zip(SPEAKERS, scores, strict=True)]
    write_lines(expdir / f"{model}_seed{seed}/score/bonafide/libri/scores.txt", lines)


@pytest.fixture
def expdir(tmp_path):
    """Thresholds of all models are at -0.5, see `countermeasure_run.DEV`."""
    write_run(tmp_path)
    write_lines(tmp_path / "dump/libri/utt2spk", (" ".join(pair) for pair in SPEAKERS.items()))
    for seed in (0, 1):
        write(tmp_path, "lcnn_mel", [1, 1, 1, -1], seed)
        write(tmp_path, "lcnn_mock", [-1, -1, -0.4, -1], seed)
    return tmp_path


def test_shares_at_the_development_threshold_with_intervals_by_speaker(expdir):
    run = read(expdir)
    found = read_other_corpora(run, expdir, [expdir / "dump/libri"], resamples=200)
    assert [(row["target"], row["bonafide_accuracy"][0]) for row in found] == [
        *(("lcnn_mel", 75.0), ("lcnn_mock", 25.0))
    ]
    # A draw of speakers has both, or one of them twice.
    assert found[0]["bonafide_accuracy"][1:] == (50.0, 100.0)
    assert (found[0]["utterances"], found[0]["speakers"], found[0]["seeds"]) == (4, 2, [0, 1])
    assert any(line.startswith("senet_mel: no scores of libri") for line in run.missing)


def test_the_report_has_a_table_of_them(expdir):
    run = read(expdir)
    found = read_other_corpora(run, expdir, [expdir / "dump/libri"], resamples=200)
    results = results_of(expdir, other_corpora=found)
    sections = countermeasure_tables(results)
    text, table = sections[sections.index(TITLE) + 1 :][:2]
    assert text.endswith("libri: 4 utterances of 2 speakers.")
    assert "| lcnn_mel | 75.0 (50.0 to 100.0) |" in " ".join(table.split())
    assert TITLE not in countermeasure_tables(results_of(expdir))


def test_spoofs_and_other_utterances_are_refused(expdir):
    run, directories = read(expdir, LISTED), [expdir / "dump/libri"]
    write(expdir, "senet_mel", [1, 1, 1, 1], key="A07 spoof")
    with pytest.raises(InputError, match="u1 is a spoof; give a directory of bona fide speech"):
        read_other_corpora(run, expdir, directories)
    path = expdir / "senet_mel_seed0/score/bonafide/libri/scores.txt"
    write_lines(path, ["u1 - bonafide 1"])
    with pytest.raises(InputError, match="not of the same trials"):
        read_other_corpora(run, expdir, directories)
