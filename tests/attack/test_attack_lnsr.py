import pytest
import torch
from tiny_cm import RATE, write_tones
from tiny_countermeasure import model

from espnet_ext.attack.evasion import ball_of
from espnet_ext.attack.lnsr import SAME_NORM, LayerwiseNoise
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import read_trials
from espnet_ext.defense import SmoothingFilter
from espnet_ext.defense.mockingjay import MockingjayDefense
from espnet_ext.errors import InputError
from espnet_ext.metrics.lnsr import noise_to_signal

TINY = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "ff_size": 32, "downsample": 2}
DIMS = 16


def behind_mockingjay(seed, layers=2):
    conf = {**TINY, "num_layers": layers}
    return model(defense=MockingjayDefense(DIMS, seed=seed, encoder_conf=conf), dims=16, seed=seed)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return read_trials(write_tones(tmp_path_factory.mktemp("data") / "eval", 5), RATE)


def measure(trials, models, **values):
    values = {"methods": ["fgsm", "noise"], "eps": [0.5], "batch_size": 2, **values}
    settings = AttackSettings.of("cm", values)
    return LayerwiseNoise(model(seed=9), models, settings, trials)


@pytest.fixture(scope="module")
def models():
    return {"pretrained": behind_mockingjay(1), "random": behind_mockingjay(2)}


@pytest.fixture(scope="module")
def curves(trials, models):
    return measure(trials, models).curves()


def select(curves, **wanted):
    found = [c for c in curves if all(c[key] == value for key, value in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_every_curve_is_there_once(curves):
    perturbations = {curve["perturbation"] for curve in curves}
    assert perturbations == {"fgsm", "noise", f"{SAME_NORM}fgsm"}
    assert len(curves) == 2 * 3 * 2 * 2  # models, perturbations, norms, centred or not


def test_a_number_for_the_input_the_embedding_and_each_layer(trials, models, curves):
    assert measure(trials, models).layers == ["input", "embedding", "layer 1", "layer 2"]
    for curve in curves:
        assert len(curve["mean"]) == len(curve["sum"]) == 4
        assert curve["sum"] == pytest.approx([len(trials) * mean for mean in curve["mean"]])


def test_noise_at_the_input_is_what_was_added(trials, models):
    lnsr = measure(trials, models, methods=["noise"], unit="raw")
    curve = select(lnsr.curves(), model="random", norm="frobenius", centred=False)
    one = measure(trials, models, methods=["noise"], unit="raw", batch_size=1)
    feats = [batch.inputs for batch in one._batches()]
    expected = [0.5 * f.numel() ** 0.5 / f.norm().item() for f in feats]
    assert curve["mean"][0] == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_layers_are_those_of_the_model(trials, models):
    lnsr = measure(trials, models, methods=["noise"], unit="raw")
    upstream = models["random"].defense.upstream
    (condition,) = lnsr.settings.conditions()
    method = lnsr.settings.methods[condition.method]
    ratios = []
    for batch in lnsr._batches():
        ball = ball_of(lnsr.victim, batch, condition.budget)
        noisy = method.run(lnsr.victim, batch, ball).snapshots[1]
        for i, length in enumerate(batch.lengths.tolist()):
            pair = []
            for feats in (batch.inputs[i : i + 1, :length], noisy[i : i + 1, :length]):
                with torch.no_grad():
                    pair.append(upstream.states(feats, torch.tensor([length]))[0][-1][0])
            ratios.append(noise_to_signal([pair[0]], [pair[1]])[0])
    curve = select(lnsr.curves(), model="random", norm="frobenius", centred=False)
    assert curve["mean"][-1] == pytest.approx(sum(ratios) / len(ratios), rel=1e-4)


def test_control_has_the_norm_of_the_attack(curves):
    same = {"model": "random", "norm": "frobenius", "centred": False}
    attack = select(curves, perturbation="fgsm", **same)
    control = select(curves, perturbation=f"{SAME_NORM}fgsm", **same)
    assert attack["mean"][0] == pytest.approx(control["mean"][0], rel=1e-5)
    assert attack["mean"][-1] != pytest.approx(control["mean"][-1], rel=1e-5)


def test_result_does_not_depend_on_the_batches(trials, models, curves):
    alone = measure(trials, models, batch_size=1).curves()
    for curve in curves:
        key = {k: curve[k] for k in ("model", "perturbation", "eps", "norm", "centred")}
        assert select(alone, **key)["mean"] == pytest.approx(curve["mean"], rel=2e-3)


def test_models_of_other_depth_or_without_mockingjay_are_refused(trials):
    with pytest.raises(InputError, match="of one depth"):
        measure(trials, {"a": behind_mockingjay(1), "b": behind_mockingjay(1, layers=1)})
    with pytest.raises(InputError, match="a countermeasure has no Mockingjay"):
        measure(trials, {"a": model(defense=SmoothingFilter(DIMS))})


def test_attack_on_waveforms_is_refused(trials, models):
    with pytest.raises(InputError, match="space: features"):
        measure(trials, models, space="waveform", unit="raw")
