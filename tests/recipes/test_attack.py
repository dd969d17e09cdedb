"""The recipe of attacks on a trained recognizer, with a small random Whisper."""

import pytest
from recipes.recipe import copy_recipe, run
from whispers import save_whisper

from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import read_table

pytest.importorskip("whisper", reason="needs the package openai-whisper")
pytestmark = pytest.mark.recipe
SPEAKER = "1688"


@pytest.fixture(scope="module")
def recipe(shared_data, tmp_path_factory):
    corpus = shared_data / "librispeech_mini"
    if not corpus.is_dir():
        pytest.skip("librispeech_mini is not among the data")
    folder = tmp_path_factory.mktemp("librispeech")
    small = folder / "corpus"
    (small / "test-other").mkdir(parents=True)
    (small / "SPEAKERS.TXT").symlink_to(corpus / "SPEAKERS.TXT")
    (small / "test-other" / SPEAKER).symlink_to(corpus / "test-other" / SPEAKER)
    recipe = copy_recipe("librispeech/attack1", folder / "attack1")
    done = run(
        recipe,
        *("--model", f"whisper:{save_whisper(folder / 'random.pt')}", "--num_attack_utts", "2"),
        *("--attack_args", "--set steps=[2] snr=[20] goal=silence", "--max_seconds", "5"),
        LIBRISPEECH=str(small),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return recipe


def test_utterances_are_transcribed_attacked_and_shown(recipe):
    folder = recipe / "exp/random"
    heard = read_table(folder / "decode/test/text", allow_empty=True)
    assert heard.keys() == read_table(recipe / "dump/test/wav.scp").keys()
    # Compared in the words of Whisper's authors.
    assert read_table(folder / "decode/test/reference").keys() == heard.keys()
    results = read_json(folder / "attack/results.json")
    assert {row["method"] for row in results["scores"]} >= {"pgd", "noise"}
    assert (folder / "attack/report.html").is_file()
    assert [*(folder / "attack/cards").rglob("card.md")]


def test_a_wrong_option_is_refused_before_the_first_stage(recipe):
    done = run(recipe)
    assert done.returncode == 2 and "which model? Give --model" in done.stderr
    done = run(recipe, "--model", "whisper:nothing.pt")
    assert done.returncode == 2 and "--model: there is no nothing.pt" in done.stderr
