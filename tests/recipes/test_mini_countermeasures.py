"""The mini recipes of the countermeasure half, from the archive to the reports."""

import json
import shutil

import pytest
from recipes.recipe import NO_PICTURES, ROOT, choose_models, copy_recipe, run
from slurm_cluster import running_cluster

pytestmark = pytest.mark.recipe

SHORT = f"--max_epoch 1 {NO_PICTURES}"
SSL_SHORT = f"{SHORT} --num_iters_per_epoch 5"
ATTACK = "methods: [pgd, noise]\neps: [0.3]\nsteps: 2\n"
KEPT = ("lcnn_mel", "senet_mel", "senet_median", "lcnn_mock", "lcnn_rand")


def check(process):
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]


def test_pretraining_ends_with_the_reconstruction(tmp_path):
    recipe = copy_recipe("mini/ssl1", tmp_path / "ssl1")
    check(run(recipe, "--train_args", SSL_SHORT))
    folder = recipe / "exp/train_seed0/reconstruction/test"
    results = json.loads((folder / "results.json").read_text())
    values = {name: value[0] for name, value in results["predictors"].items()}
    assert results["utterances"] == 72
    # Five updates teach nothing: near the zero predictor, far from interpolation.
    assert values["linear interpolation"] < values["model"] < 1.2 * values["zero"]
    assert len(list(folder.glob("*.png"))) == 4


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    recipe = copy_recipe("mini/cm1", tmp_path_factory.mktemp("mini") / "cm1")
    choose_models(recipe, KEPT)
    (recipe / "conf/attack.yaml").write_text(ATTACK)
    (recipe / "conf/attack_lnsr.yaml").write_text(ATTACK)
    check(run(recipe, "--train_args", SHORT, "--ssl_args", SSL_SHORT))
    return recipe


@pytest.fixture(scope="module")
def results(recipe):
    return json.loads((recipe / "exp/report_attack/results.json").read_text())


def test_every_model_is_scored_and_attacked(recipe):
    for name in KEPT:
        for part in ("dev", "eval"):
            assert (recipe / f"exp/{name}_seed0/score/{part}/scores.txt").stat().st_size > 0
        for source in ("lcnn_mel", "senet_mel"):
            scores = recipe / f"exp/{source}_seed0/attack/{name}/pgd/eps0.3/scores.txt"
            # A source attacks itself and the other architecture.
            attacked = name == source or name.split("_")[0] != source.split("_")[0]
            assert scores.is_file() == attacked
            assert not attacked or len(scores.read_text().splitlines()) == 72


def test_lnsr_and_probe_have_every_layer(recipe):
    lnsr = json.loads((recipe / "exp/lnsr_seed0/results.json").read_text())
    assert lnsr["layers"] == ["input", "embedding", "layer 1", "layer 2"]
    assert {curve["model"] for curve in lnsr["curves"]} == {"pretrained", "random"}
    probe = json.loads((recipe / "exp/probe_seed0/results.json").read_text())
    assert [row["layer"] for row in probe["rows"]] == 2 * lnsr["layers"]


def test_report_is_there_with_its_figures_and_without_machine_paths(recipe, results):
    folder = recipe / "exp/report_attack"
    pictures = {path.name for path in folder.glob("*.png")}
    assert {"figure2.png", "figure2_plain.png", "figure3.png", "histograms.png"} <= pictures
    text = (folder / "RESULTS.md").read_text()
    for place in (str(recipe), str(ROOT)):
        assert place not in text and place not in json.dumps(results)


def test_page_and_cards_stand_beside_the_report(recipe):
    folder = recipe / "exp/report_attack"
    page = (folder / "report.html").read_text()
    assert page.count("<img ") == len(list(folder.glob("*.png"))) and str(recipe) not in page
    assert {path.parent.name for path in (folder / "cards").glob("*/card.md")} == {*KEPT}


def test_a_second_run_attacks_nothing_again(recipe):
    files = sorted((recipe / "exp/lcnn_mel_seed0/attack/log").rglob("*.jsonl"))
    assert files
    files += [recipe / f"exp/{name}_seed0/results.json" for name in ("lnsr", "probe")]
    before = [file.stat().st_mtime_ns for file in files]
    scores = (recipe / "exp/lcnn_mel_seed0/attack/senet_mel/pgd/eps0.3/scores.txt").read_bytes()
    # From stage 6: filters that are put before the models again are those that were attacked.
    check(run(recipe, "--stage", "6", "--stop_stage", "9"))
    assert before == [file.stat().st_mtime_ns for file in files]
    again = (recipe / "exp/lcnn_mel_seed0/attack/senet_mel/pgd/eps0.3/scores.txt").read_bytes()
    assert scores == again


def test_all_sources_and_named_targets(recipe):
    attack = ["--attack_sources", "all", "--attack_targets", "senet_median lcnn_rand"]
    config = recipe / "conf/attack_matrix.yaml"
    config.write_text(ATTACK)
    check(
        run(recipe, "--stage", "8", "--attack_config", "conf/attack_matrix.yaml", "--stop_stage",
            "8", *attack)
    )  # fmt: skip
    for name in KEPT:
        folder = recipe / f"exp/{name}_seed0/attack_matrix"
        targets = {path.parent.name for path in folder.glob("*/pgd")} - {"log"}
        assert targets == {"senet_median", "lcnn_rand"}


def test_a_list_of_models_without_attack_has_a_report_of_its_own(recipe):
    choose_models(recipe, ["lcnn_mel"], "models_one")
    options = ["--models", "conf/models_one.yaml", "--attack_config", "none"]
    process = run(recipe, "--stage", "8", *options)
    check(process)
    assert "Stage 8 is left out" in process.stdout
    assert "Stage 9 is left out" in process.stdout
    report = recipe / "exp/report_one_none"
    assert "EER" in (report / "RESULTS.md").read_text()
    assert "No attack from another model" in (report / "report.html").read_text()
    assert not (report / "cards").exists()


def test_two_machines_train_a_mockingjay_and_countermeasures(recipe, tmp_path):
    """Through Slurm and ESPnet's launch, by gloo in place of GPUs."""
    copy = tmp_path / "copy"
    shutil.copytree(recipe, copy, symlinks=True)
    for folder in (copy / "exp").glob("*_seed0"):
        shutil.rmtree(folder)
    choose_models(copy, ["lcnn_mock", "senet_mel"])
    options = ["--stage", "4", "--stop_stage", "5", "--num_nodes", "2", "--nj", "1"]
    options += ["--train_args", SHORT, "--ssl_args", SSL_SHORT]
    with running_cluster(tmp_path / "slurm", nodes=2):
        check(run(copy, *options, cmd_backend="slurm"))
    logs = [copy / "exp/ssl_seed0/log/1.log", *(copy / "exp/log/models/train").glob("[12].log")]
    assert len(logs) == 3
    for log in logs:
        assert "0/2]" in log.read_text() and "finished at 1 epochs" in log.read_text()
