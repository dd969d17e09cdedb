import copy

import numpy as np
import pytest
import torch
from espnet2.tasks.spk import SpeakerTask
from tiny import noise
from tiny_spk import check_gradient, save_stock, tiny_resemblyzer, tiny_stock

from espnet_ext.errors import InputError
from espnet_ext.metrics.eer import det_curve
from espnet_ext.tasks.loading import load_model
from espnet_ext.victims.base import ALL, gradient_of
from espnet_ext.victims.spk import Verifier

KINDS = {"stock": tiny_stock, "resemblyzer": tiny_resemblyzer}
NAMES = ["u1", "u2", "u3"]
CLAIMS = [("anna", "nontarget"), ("anna", "target"), ("ben", "nontarget")]


@pytest.fixture(scope="module", params=KINDS)
def verifier(request):
    found = Verifier(KINDS[request.param](), 0.5, goal="both")
    for name, wave in zip(("anna", "ben"), noise(4400, 3600), strict=True):
        found.enrolments[name] = found.average([wave])
    return found


@pytest.fixture
def batch(verifier):
    return verifier.batch(NAMES, noise(3200, 4000, 4000), CLAIMS)


def test_gradient_agrees_with_finite_differences(verifier, batch):
    exact = Verifier(copy.deepcopy(verifier.module).double(), 0.5, goal="both")
    check_gradient(exact, batch)


def test_padding_and_neighbours_change_no_score(verifier, batch):
    together = verifier.observe(batch, batch.inputs)
    waves = noise(3200, 4000, 4000)
    for name, wave, claim, row in zip(NAMES, waves, CLAIMS, together, strict=True):
        alone = verifier.batch([name], [wave], [claim])
        assert verifier.observe(alone, alone.inputs)[0]["score"] == pytest.approx(
            row["score"], abs=1e-5
        )


def test_scores_rise_for_impostors_and_fall_for_targets(verifier, batch):
    with verifier.attack_mode():
        gradient, before = gradient_of(verifier.objective(batch), batch.inputs)
    moved = batch.inputs + 1e-3 * gradient / gradient.norm(dim=1, keepdim=True)
    old, new = (verifier.observe(batch, inputs) for inputs in (batch.inputs, moved))
    rises = [b["score"] > a["score"] for a, b in zip(old, new, strict=True)]
    assert rises == [True, False, True]
    assert [row["loss"] for row in old] == pytest.approx(before.tolist(), abs=1e-5)


def test_a_decision_is_that_of_the_official_error_rates(verifier, batch):
    scores = [row["score"] for row in verifier.observe(batch, batch.inputs)]
    points = zip(det_curve([scores[1]], [scores[0], scores[2]]).thresholds, strict=False)
    for (threshold,) in points:
        at = Verifier(verifier.module, float(threshold), goal="both")
        at.enrolments = verifier.enrolments
        found = [row["reached"] for row in at.observe(batch, batch.inputs)]
        assert found == [scores[0] > threshold, scores[1] <= threshold, scores[2] > threshold]
        assert at.reached(batch, batch.inputs, ALL).tolist() == found


def test_enrolment_is_the_mean_direction_of_its_utterances(verifier):
    waves = noise(4000, 3000)
    each = np.stack([verifier.embedding(wave).numpy() for wave in waves])
    expected = each.mean(axis=0) / np.linalg.norm(each.mean(axis=0))
    np.testing.assert_allclose(verifier.average(waves).numpy(), expected, atol=1e-6)


def test_another_model_answers_with_its_own_enrolment(verifier, batch):
    other = Verifier(verifier.module, 0.5, goal="both")
    with pytest.raises(InputError, match="anna is not enrolled"):
        other.adopt(batch)
    other.enrolments = {name: -value for name, value in verifier.enrolments.items()}
    scores = [v.observe(v.adopt(batch), batch.inputs)[0]["score"] for v in (verifier, other)]
    assert scores[1] == pytest.approx(-scores[0])


def test_a_trial_must_fit_the_goal(verifier):
    accept = Verifier(verifier.module, 0.5)
    assert accept.problem(4000, ("anna", "nontarget")) is None
    assert "target" in accept.problem(4000, ("anna", "target"))
    with pytest.raises(InputError, match="goal must be accept, reject, both"):
        Verifier(verifier.module, 0.5, goal="confuse")


def test_what_is_too_short_has_no_embedding():
    with pytest.raises(InputError, match="1 samples have no embedding"):
        Verifier(tiny_stock()).embedding(np.full(1, 0.5, dtype=np.float32))


def test_stock_model_scores_as_espnet_does(tmp_path):
    folder = save_stock(tmp_path, specaug=None, normalize=None, init=None)  # as training writes
    ours = load_model(folder)
    speech = torch.from_numpy(noise(4000)[0])[None]
    stock, _ = SpeakerTask.build_model_from_file(
        folder / "config.yaml", folder / "valid.eer.best.pth", "cpu"
    )
    with torch.no_grad():
        expected = stock.eval()(speech, extract_embd=True)
        found = ours.embed(speech, torch.tensor([4000]))
    torch.testing.assert_close(found, expected)
