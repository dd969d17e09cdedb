"""The recipe of speaker verification, from the corpus to the report, with a small encoder."""

import pytest
import torch
import yaml
from recipes.recipe import copy_recipe, run

from espnet_ext.data.files import read_json
from espnet_ext.tasks.spk import Resemblyzer

pytestmark = pytest.mark.recipe

SMALL = {"kind": "spk", "encoder": "resemblyzer", "encoder_conf": {"size": 8}}


@pytest.fixture(scope="module")
def recipe(shared_data, tmp_path_factory):
    corpus = shared_data / "speechocean762_mini"
    if not corpus.is_dir():
        pytest.skip("speechocean762_mini is not among the data")
    recipe = copy_recipe("speechocean762/sv1", tmp_path_factory.mktemp("speechocean") / "sv1")
    (recipe / "conf/small.yaml").write_text(yaml.safe_dump(SMALL))
    torch.manual_seed(0)
    torch.save(Resemblyzer(8).state_dict(), recipe / "small.pth")
    done = run(
        recipe,
        *("--model_config", "conf/small.yaml", "--model_file", "small.pth", "--num_trials", "6"),
        *("--attack_args", "--set steps=[2] snr=[20] goal=both"),
        SPEECHOCEAN762=str(corpus),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return recipe


def test_all_pairs_are_scored_and_some_attacked(recipe):
    folder = recipe / "exp/small/attack"
    results = read_json(folder / "results.json")
    assert results["trials"] == {"target": 420, "nontarget": 9310} and results["speakers"] == 20
    assert results["attacked_trials"] == {"target": 6, "nontarget": 6}
    assert len((folder / "scores.txt").read_text().splitlines()) == 9730
    assert "Attack on speaker verification" in (folder / "report.html").read_text()
    assert (folder / "RESULTS.md").is_file()


def test_a_wrong_option_is_refused_before_the_first_stage(recipe):
    done = run(recipe, "--attack_args", "--set goal=confuse", "--model_file", "small.pth")
    assert done.returncode == 2 and "goal must be" in done.stderr
    done = run(recipe, "--stage", "3", "--model_file", "nothing.pth")
    assert done.returncode == 2 and "--model_file: there is no nothing.pth" in done.stderr
