"""Options of later stages are checked before the first one."""

import re
import shlex

import pytest

from espnet_ext.bin import check_options
from espnet_ext.errors import InputError

ATTACK = "eps: [2.0]\nsteps: [10]\n"
TRAINING = "encoder: conformer\nencoder_conf: {output_size: 16}\noptim_conf: {lr: 0.001}\n"
COUNTERMEASURE = "encoder: lcnn\nsegment_conf: {num_frames: 100}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a configuration of each kind."""
    for name, text in (
        ("attack", ATTACK),
        ("cm_attack", "eps: [2.0]\nmethods: [fgsm]\n"),
        ("asr", TRAINING),
        ("cm", COUNTERMEASURE),
        ("ssl", "encoder_conf: {num_layers: 1}\n"),
        ("misspelt", ATTACK + "stepz: [3]\n"),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)


def test_what_the_commands_accept_passes(folder):
    given = """
        --for --attack_args asr_attack --config attack.yaml --set eps=0.1 steps=[5,10]
        --for --format_args format_data --channel mix --allow_pipes true
        --for --format_args format_data
        --for --attack_args cm_attack --config cm_attack.yaml
        --for --train_args asr_train --config asr.yaml --max_epoch 1 --encoder_conf num_blocks=1
        --for --models cm_train --config cm.yaml --defense mockingjay --defense_conf repeat=false
        --for --ssl_args ssl_train --config ssl.yaml --crop_seconds 3
    """
    check_options.main(given.split())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("asr_attack --config attack.yaml --epss 0.1", "--epss"),
        ("cm_lnsr --config cm_attack.yaml --sett a=1", "--sett a=1; did you mean --set"),
        ("format_data --alow_pipes true", "--alow_pipes true; did you mean --allow_pipes"),
        ("format_data --channel", "--channel: expected one argument"),
        ("asr_attack --config attack.yaml --set epss=1", "no option 'epss'; did you mean 'eps'"),
        ("asr_attack --config attack.yaml --set steps=[0]", "steps must be"),
        ("asr_attack --config misspelt.yaml", "misspelt.yaml: .* 'stepz'"),
        ("cm_attack --config cm_attack.yaml --set methods=[pgdd]", "did you mean 'pgd'"),
        ("asr_train --config asr.yaml --max_epok 1", "--max_epok 1; did you mean --max_epoch"),
        ("asr_train --config asr.yaml --max_epoch one", "--max_epoch: invalid"),
        ("asr_train --config asr.yaml --optim adamm", "--optim: invalid choice"),
        ("asr_train --config asr.yaml --encoder_conf blocks=1", "encoder_conf: .*'blocks'"),
        ("asr_train --config asr.yaml --ctc_conf dropout=1", "ctc_conf: .*'dropout'"),
        ("asr_train --config asr.yaml --optim adam --optim_conf lrr=1", "optim_conf: .*'lrr'"),
        ("cm_train --config cm.yaml --segment_conf frames=1", "segment_conf: .*'frames'"),
        ("cm_train --config cm.yaml --cm_loss a-softmax", "cm_loss"),
        ("ssl_train --config ssl.yaml --encoder_conf layers=1", "encoder_conf: .*'layers'"),
        ("ssl_train --config absent.yaml", "absent.yaml"),
        ("ssl_train --config ssl.yaml ''", "unrecognized arguments"),
    ],
)
def test_what_they_would_refuse_is_refused(folder, given, expected):
    words = ["--for", "--format_args", "format_data", "--for", "--some_args", *shlex.split(given)]
    with pytest.raises(InputError, match=expected) as refused:
        check_options.main(words)
    assert "Correct --some_args" in str(refused.value)


def test_gpus_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    check_options.main(["--ngpu", "1"])
    with pytest.raises(
        InputError, match=re.escape("--ngpu 9, but PyTorch sees 1 GPU; use --ngpu 1")
    ):
        check_options.main(["--ngpu", "9"])
