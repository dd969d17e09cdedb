"""The recipe that starts from Whisper, from the corpus to the report, with a tiny one."""

import pytest
from recipes.recipe import NO_PICTURES, copy_recipe, run
from whispers import save_whisper

from espnet_ext.data.files import read_json, read_yaml
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.labels import classes

pytestmark = pytest.mark.recipe
SMALL = (
    "--encoder_conf output_size=16 --encoder_conf linear_units=16 --decoder_conf linear_units=16 "
    f"--max_epoch 1 {NO_PICTURES}"
)


@pytest.fixture(scope="module")
def recipe(shared_data, tmp_path_factory):
    """The recipe with its data prepared."""
    corpus = shared_data / "speechocean762_mini"
    if not corpus.is_dir():
        pytest.skip("speechocean762_mini is not among the data")
    pytest.importorskip("whisper", reason="needs the package openai-whisper")
    recipe = copy_recipe("speechocean762/mtl_asr1", tmp_path_factory.mktemp("so762") / "mtl_asr1")
    save_whisper(recipe / "any.pt")
    done = run(recipe, "--stop_stage", "3", SPEECHOCEAN762=str(corpus))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return recipe


def test_no_speaker_is_in_two_sets(recipe):
    counts = {n: len(read_table(recipe / "dump" / n / "text")) for n in ("train", "dev", "test")}
    assert counts == {"train": 496, "dev": 80, "test": 140}
    speakers = [set(read_table(recipe / "data" / n / "utt2spk").values()) for n in counts]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 92
    for head, names in (("gender", ["f", "m"]), ("age_group", ["adult", "child"])):
        assert classes(read_table(recipe / f"data/train/utt2{head}")) == names


def test_every_stage_runs(recipe):
    for name, speakers in (("train", 2), ("dev", 1), ("test", 1)):
        folder = recipe / "dump" / name
        utt2spk = read_table(folder / "utt2spk")
        chosen = sorted(set(utt2spk.values()))[:speakers]
        for table in (*folder.glob("utt2*"), folder / "text", folder / "wav.scp"):
            rows = [f"{k} {v}\n" for k, v in read_table(table).items() if utt2spk[k] in chosen]
            table.write_text("".join(rows))
    (recipe / "conf/sweep.yaml").write_text("conditions:\n- [0.7, 0.5, 0.0]\n")
    done = run(
        recipe,
        *("--stage", "4", "--train_args", SMALL, "--whisper_checkpoint", "any.pt"),
        *("--num_attack_utts", "3", "--attack_args", "--set steps=[1,3] snr=[30]"),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    trained = read_yaml(recipe / "exp/la0.7_lc0.5_seed0/config.yaml")
    assert trained["frontend_conf"]["encoder_conf"]["n_audio_state"] == 16
    assert list(trained["model_conf"]["heads"]) == ["gender", "age_group"]
    results = read_json(recipe / "exp/report_attack_seed0/results.json")
    assert len(results["conditions"]) == 1
