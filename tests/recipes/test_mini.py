"""The mini recipe from its archive to its report, on models of one epoch."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from recipes.recipe import ROOT, TINY, copy_recipe, run, start, write_settings
from slurm_cluster import running_cluster, running_tasks, signal_program

pytestmark = pytest.mark.recipe

CONDITIONS = ["1.0 0.0 0.0", "0.7 0.5 0.5", "0.7 0.5 0.0"]
OPTIONS = ("--train_args", TINY, "--pretrain_args", "", "--num_attack_utts", "8")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = copy_recipe("mini/mtl_asr1", tmp_path_factory.mktemp("mini") / "mtl_asr1")
    write_settings(folder, CONDITIONS, "eps: [0.5]\nsnr: [30]")
    return folder


@pytest.fixture(scope="module")
def finished(recipe):
    process = run(recipe, *OPTIONS, "--stop_stage", "11")
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return process


@pytest.fixture(scope="module")
def results(recipe, finished):
    return json.loads((recipe / "exp/report_attack_seed0/results.json").read_text())


def test_it_ends_with_the_path_of_the_report(recipe, finished):
    line = next(li for li in finished.stdout.splitlines() if "The report:" in li)
    assert line.endswith(str(recipe / "exp/report_attack_seed0/RESULTS.md"))


def test_every_stage_says_what_it_does(finished):
    for stage in range(1, 12):
        assert f"Stage {stage}: " in finished.stdout


def test_every_condition_has_all_its_numbers(results):
    assert len(results["conditions"]) == 3
    for condition in results["conditions"]:
        assert condition["benign"]["utterances"] == 72
        assert {(e["budget"], e["step"]) for e in condition["attack"]} == {
            (b, s) for b in ("eps0.5", "snr30") for s in (0, 1, 3)
        }
        for entry in condition["attack"]:
            assert entry["utterances"] == 8
            assert entry["l2_max"] <= (0.5 if entry["budget"] == "eps0.5" else 1e9)
            assert entry["budget"] != "snr30" or (entry["snr_min"] or 99) >= 30.0


def test_heads_are_scored_where_there_are_any(results):
    accuracies = ["accent_accuracy" in c["benign"] for c in results["conditions"]]
    assert accuracies == [False, True, True]


def test_conditions_of_one_model_share_its_training(recipe, finished):
    assert len(list((recipe / "exp").glob("la*_seed0"))) == 2
    log = (recipe / "exp/log/train_seed0/1.log").read_text()
    assert "Initialised from exp/pretrain_seed0/valid.loss.best.pth" in log


def test_report_shows_the_picture_and_the_tables(recipe, finished):
    report = recipe / "exp/report_attack_seed0"
    assert (report / "figure1.png").read_bytes().startswith(b"\x89PNG")
    text = (report / "RESULTS.md").read_text()
    assert "](figure1.png)" in text and "](figure_snr.png)" in text
    assert "PGD-3" in text


def test_page_has_audio_and_every_condition_its_card(recipe, finished):
    report = recipe / "exp/report_attack_seed0"
    page = (report / "report.html").read_text()
    # Eight utterances of two attacks: before, then after and difference of both budgets.
    assert page.count("<audio ") == 8 * 2 * 5
    assert str(recipe) not in page
    cards = [json.loads(path.read_text()) for path in (report / "cards").glob("*/card.json")]
    assert len(cards) == 3 and all(len(card["attacks"]) == 4 for card in cards)


def test_adversarial_audio_is_listed_and_there(recipe, finished):
    scp = recipe / "exp/la0.7_lc0.5_seed0/attack_li0.0/adversarial/pgd/eps0.5/step3/wav.scp"
    lines = scp.read_text().splitlines()
    assert len(lines) == 8
    assert all((recipe / line.split()[1]).is_file() for line in lines)


def test_attack_again_does_no_work_twice(recipe, finished):
    wavs = sorted(recipe.glob("exp/*/attack*/adversarial/*/*/step*/wav/*.wav"))
    assert len(wavs) > 0
    before = [p.stat().st_mtime_ns for p in wavs]
    process = run(recipe, *OPTIONS, "--stage", "9", "--stop_stage", "9")
    assert process.returncode == 0, process.stderr
    assert [p.stat().st_mtime_ns for p in wavs] == before


def test_other_attack_in_the_same_directory_is_refused_with_the_reason(recipe, finished):
    conf = recipe / "conf/attack.yaml"
    before = conf.read_text()
    conf.write_text(before.replace("0.05", "0.01"))
    process = run(recipe, *OPTIONS, "--stage", "9", "--stop_stage", "9")
    conf.write_text(before)
    assert process.returncode != 0
    assert "holds the results of another attack (different: settings" in process.stderr


def test_other_training_in_the_same_directory_is_refused_with_the_reason(recipe, finished):
    options = [o.replace("output_size=16", "output_size=32") for o in OPTIONS]
    process = run(recipe, *options, "--stage", "6", "--stop_stage", "6")
    assert process.returncode != 0
    assert "holds a training with another configuration" in process.stderr
    assert "encoder_conf" in process.stderr


def test_stock_export_is_there_for_every_model(recipe, finished):
    for model in (recipe / "exp").glob("la*_seed0"):
        assert (model / "stock/config.yaml").is_file()
        assert (model / "stock/model.pth").is_file()


def test_the_recipe_of_trained_models_attacks_one_of_these(recipe, finished):
    attack = copy_recipe("mini/attack1", recipe.parent / "attack1")
    short = ("--num_attack_utts", "2", "--attack_shards", "1", "--attack_args", "--set steps=[1]")
    process = run(attack, *short)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    made = attack / "exp/la0.7_lc0.5_seed0/attack"
    assert {row["method"] for row in json.loads((made / "results.json").read_text())["scores"]} == {
        *("pgd", "noise")
    }
    assert "<audio " in (made / "report.html").read_text()
    assert list(made.glob("cards/*/card.md"))


def code(page, heading, language):
    """The one block of a page below a heading, for a shell or for Python."""
    section = (ROOT / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return block


@pytest.mark.parametrize(
    ("page", "heading", "language"),
    [
        ("README.md", "Attack your own model", "bash"),
        ("egs2/own_model.md", "From Python", "python"),
    ],
)
def test_pages_attack_a_model_of_this_recipe_as_typed(
    recipe, finished, page, heading, language, tmp_path
):
    block = code(page, heading, language)
    if language == "bash":
        block += code("egs2/evaluation.md", "Is it true?", "bash")
    copy = tmp_path / "copy"
    shutil.copytree(recipe, copy, symlinks=True)
    # As many targets as the recipe chooses when it is not told to take eight.
    (copy / "exp/targets/test_8").rename(copy / "exp/targets/test_36")
    program = {"bash": ["bash", "-e", "-c"], "python": [sys.executable, "-c"]}[language]
    process = subprocess.run([*program, block], cwd=copy, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr[-3000:]
    if language == "bash":
        assert "<audio " in (copy / "report.html").read_text()
        assert list(copy.glob("exp/my_attack/cards/*/card.json"))
        assert (copy / "exp/my_attack/attack_log.jsonl").is_file()
        assert "exp/my_attack is true: 8 utterances" in process.stdout
        assert len(json.loads((copy / "leaderboard.json").read_text())["entries"]) == 1
    else:
        printed = process.stdout[process.stdout.rindex("[") :]
        assert printed.count("'") + printed.count('"') == 8, "four transcripts"


def test_the_readme_starts_the_mini_recipe_and_names_what_it_leaves(recipe, finished):
    start = code("README.md", "Start", "bash")
    lines = [line.split("#")[0].strip() for line in start.splitlines()]
    assert lines[1] == ". tools/venv/bin/activate"
    assert "`cd egs2/mini/mtl_asr1 && ./run.sh`" in (ROOT / "README.md").read_text()
    target = re.search(r"^install_?venv|^venv:", (ROOT / "tools/Makefile").read_text(), re.M)
    assert lines[0] == "make -C tools venv" and target


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--no_such_option", "1"), "unknown option '--no_such_option'"),
        (("--sweep", "conf/absent.yaml"), "there is no conf/absent.yaml"),
        (("--stage", "9", "--attack_config", "conf/absent.yaml"), "there is no conf/absent.yaml"),
        (("surplus",), "what is 'surplus'"),
    ],
)
def test_wrong_options_stop_at_once_with_a_message(recipe, options, message):
    process = run(recipe, *options)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr


def test_help_lists_stages_and_options(recipe):
    process = run(recipe, "--help")
    assert process.returncode == 0
    assert "Stages:" in process.stdout
    assert "attack_config=conf/attack.yaml" in process.stdout


def test_an_array_on_slurm_gives_what_one_machine_gives(recipe, finished, tmp_path):
    """One task is killed and one is stopped as at its time limit."""
    config = "norm: 2\neps: [0.5]\neps_step: 0.05\nsteps: [1, 10]\nbatch_size: 4\n"
    (recipe / "conf/attack_array.yaml").write_text(config)
    local, remote = tmp_path / "local", tmp_path / "remote"
    for copy in (local, remote):
        shutil.copytree(recipe, copy, symlinks=True)
    options = [*OPTIONS, "--stage", "9", "--stop_stage", "10", "--attack_shards", "2"]
    options += ["--attack_config", "conf/attack_array.yaml"]
    assert run(local, *options).returncode == 0
    with running_cluster(tmp_path / "slurm"):
        process = start(remote, *options, cmd_backend="slurm")
        stopped = _stop_two_tasks(process)
        output = process.communicate()[0]
        assert process.returncode == 0, output[-3000:]
    killed, timed_out = (int(task.split("_")[1]) for task in stopped)
    assert f"jobs {killed} were killed or lost; submitted again" in output
    log = (remote / f"exp/log/attack_array_seed0/{timed_out}.log").read_text()
    assert "# Near the time limit" in log and "# Started again" in log
    rows = [_conditions(copy, "report_attack_array_seed0") for copy in (local, remote)]
    assert rows[0] == rows[1]


def test_two_machines_train_one_model(recipe, finished, tmp_path):
    """Through Slurm and ESPnet's launch, by gloo in place of GPUs."""
    copy = tmp_path / "copy"
    shutil.copytree(recipe, copy, symlinks=True)
    shutil.rmtree(copy / "exp/pretrain_seed0")
    options = [*OPTIONS, "--stage", "5", "--stop_stage", "5", "--num_nodes", "2"]
    with running_cluster(tmp_path / "slurm", nodes=2):
        process = run(copy, *options, cmd_backend="slurm")
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    log = (copy / "exp/log/pretrain_seed0/1.log").read_text()
    assert "0/2]" in log and "The training was finished at 1 epochs" in log
    assert (copy / "exp/pretrain_seed0/valid.loss.best.pth").is_file()


def _stop_two_tasks(process):
    """Kill the program of one running task, and send another what Slurm sends before the limit."""
    killed = _freeze_a_task(process)
    signal_program(killed, "asr_attack", signal.SIGKILL)
    timed_out = _freeze_a_task(process, but=killed)
    # To its shell, as Slurm does. scancel itself fails where the shell is faster: Slurm then finds
    # a task that is being queued again.
    signal_program(timed_out, "slurm_script", signal.SIGUSR1)
    signal_program(timed_out, "asr_attack", signal.SIGCONT)
    return killed, timed_out


def _freeze_a_task(process, but=None):
    """Stop a task whose program runs where it is, so that it cannot end before what follows."""
    while process.poll() is None:
        for task in set(running_tasks()) - {but}:
            if signal_program(task, "asr_attack", signal.SIGSTOP):
                return task
        time.sleep(0.1)
    raise AssertionError("the run ended before: " + process.communicate()[0][-3000:])


def _conditions(recipe, report):
    return json.loads((recipe / "exp" / report / "results.json").read_text())["conditions"]
