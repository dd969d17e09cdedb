"""The fsdd recipe on a few strings of the real corpus, attacked in shards."""

import json

import pytest
from recipes.recipe import TINY, copy_recipe, run, write_settings

pytestmark = pytest.mark.recipe

OPTIONS = (
    *("--local_data_opts", "--train_utts 12 --dev_utts 4 --test_utts 6"),
    *("--train_args", TINY, "--pretrain_args", "", "--num_attack_utts", "6"),
    *("--interval_unit", "speaker", "--attack_shards", "2"),
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = copy_recipe("fsdd/mtl_asr1", tmp_path_factory.mktemp("fsdd") / "mtl_asr1")
    write_settings(folder, ["1.0 1.0 1.0", "1.0 0.5 0.5"], "eps: [0.3]")
    return folder


def test_real_speech_from_the_corpus_to_the_report(recipe, shared_data):
    process = run(recipe, *OPTIONS, FSDD=str(shared_data / "fsdd"))
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    results = json.loads((recipe / "exp/report_attack_seed0/results.json").read_text())
    assert [c["heads"] for c in results["conditions"]] == ["STL CTC", "MTL CTC+decoder"]
    assert results["attacked_utterances"] == 6
    assert "of speakers" in results["definitions"]["interval"]
    text = (recipe / "data/test/text").read_text()
    targets = dict(
        line.split(maxsplit=1) for line in (recipe / "exp/targets/test_6").read_text().splitlines()
    )
    for line in text.splitlines():
        name, words = line.split(maxsplit=1)
        if name in targets:
            assert not set(words.split()) & set(targets[name].split())
            assert len(words.split()) == len(targets[name].split())


def test_incomplete_corpus_is_refused_before_anything_is_made(recipe, tmp_path):
    (tmp_path / "recordings").mkdir()
    process = run(recipe, "--stop_stage", "1", "--expdir", "other", FSDD=str(tmp_path))
    assert process.returncode != 0
    assert "not the complete Free Spoken Digit Dataset" in process.stderr
    assert "FSDD in db.sh" in process.stderr
