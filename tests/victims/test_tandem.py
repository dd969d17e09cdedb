import copy

import pytest
import torch
from tiny import noise
from tiny_countermeasure import model
from tiny_spk import check_gradient, tiny_judge, tiny_resemblyzer, tiny_stock

from espnet_ext.errors import InputError
from espnet_ext.victims.base import ALL
from espnet_ext.victims.countermeasure import PyTorchCountermeasure
from espnet_ext.victims.options import COUNTERMEASURE, SPEAKER, TANDEM, TANDEM_LOSSES
from espnet_ext.victims.tandem import Tandem

NAMES = ["u1", "u2", "u3", "u4"]
SAMPLES = 3200, 4000, 4000, 3600
CLAIMS = [("anna", key) for key in ("nontarget", "target", "nontarget", "nontarget")]


@pytest.fixture(scope="module", params=[tiny_stock, tiny_resemblyzer])
def tandem(request):
    found = Tandem(request.param(), tiny_judge(), 0.5, goal="both")
    found.enrolments["anna"] = found.average(noise(4400))
    return found


@pytest.fixture
def batch(tandem):
    return tandem.batch(NAMES, noise(*SAMPLES), CLAIMS)


@pytest.fixture(params=[SPEAKER, COUNTERMEASURE])
def strict(request, tandem, batch):
    """The tandem of which one model accepts a single trial, and the other one all but one."""
    rows = tandem.observe(batch, batch.inputs)
    scores, others = (sorted(row[key] for row in rows) for key in ("score", "cm_score"))
    first, last = (0, -2) if request.param == COUNTERMEASURE else (-2, 0)
    judge = copy.copy(tandem.countermeasure)
    judge.threshold += sum(others[last:][:2]) / 2
    made = Tandem(tandem.module, judge, sum(scores[first:][:2]) / 2, goal="both")
    made.enrolments = tandem.enrolments
    return made


@pytest.mark.parametrize("loss", TANDEM_LOSSES)
def test_gradient_agrees_with_finite_differences(tandem, batch, loss):
    judge = PyTorchCountermeasure(
        copy.deepcopy(tandem.countermeasure.module).double(), space="waveform", threshold=0.1
    )
    exact = Tandem(copy.deepcopy(tandem.module).double(), judge, 0.5, goal="both")
    check_gradient(exact, batch, loss)


def test_who_is_accepted_is_so_by_both(strict, batch):
    rows = strict.observe(batch, batch.inputs)
    accepted = [row["score"] > strict.threshold and row["cm_score"] > 0.0 for row in rows]
    by_one = [row["score"] > strict.threshold or row["cm_score"] > 0.0 for row in rows]
    assert accepted != by_one
    wrong = [
        taken == (key == "nontarget") for taken, (_, key) in zip(accepted, CLAIMS, strict=True)
    ]
    assert [row["reached"] for row in rows] == wrong
    assert strict.reached(batch, batch.inputs, ALL).tolist() == wrong


def test_the_joint_loss_is_the_smaller_of_both_margins(strict, batch):
    with strict.attack_mode(), torch.no_grad():
        joint, speaker, other = (
            batch.signs * strict.objective(batch, loss)(batch.inputs, ALL)
            for loss in (TANDEM, SPEAKER, COUNTERMEASURE)
        )
    assert joint.tolist() == torch.minimum(speaker, other).tolist()


def test_padding_and_neighbours_change_no_score(tandem, batch):
    together = tandem.observe(batch, batch.inputs)
    for name, wave, claim, row in zip(NAMES, noise(*SAMPLES), CLAIMS, together, strict=True):
        alone = tandem.batch([name], [wave], [claim])
        found = tandem.observe(alone, alone.inputs)[0]
        assert [found[key] for key in ("score", "cm_score")] == pytest.approx(
            [row[key] for key in ("score", "cm_score")], abs=1e-4
        )
        assert tandem.cm_score(wave) == pytest.approx(row["cm_score"], abs=1e-4)


def test_models_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="takes 8000 Hz, the speaker model 16000 Hz"):
        Tandem(tiny_resemblyzer(), PyTorchCountermeasure(model(), space="waveform"))
    with pytest.raises(InputError, match="waveform"):
        Tandem(tiny_resemblyzer(), PyTorchCountermeasure(model(rate=16000)))
