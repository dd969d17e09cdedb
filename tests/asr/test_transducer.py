import itertools
import math

import pytest
import torch
from promises.recognizers import rnnt_losses
from tiny import task_arguments, tiny_config

from espnet_ext.asr.transducer import RNNTLoss
from espnet_ext.errors import InputError
from espnet_ext.tasks.mtl_asr import MTLASRTask

FRAMES, COUNTS = torch.tensor([4, 3]), torch.tensor([2, 0])
LABELS = torch.tensor([[3, 1], [0, 0]])


def logits(seed=0):
    return torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def by_enumeration(scores, ids):
    """Over all orders of labels and blanks in which the last is a blank."""
    frames, total = len(scores), -math.inf
    for places in itertools.combinations(range(frames - 1 + len(ids)), len(ids)):
        t = u = 0
        path = 0.0
        for step in range(frames + len(ids)):
            token = ids[u] if step in places else 0
            path += scores[t, u, token].item()
            t, u = (t, u + 1) if step in places else (t + 1, u)
        total = float(torch.logaddexp(torch.tensor(total), torch.tensor(path)))
    return -total


def test_loss_and_gradient_are_those_of_the_definition():
    x, y = logits(), logits().double().detach().requires_grad_()
    found = RNNTLoss(reduction="none")(x, LABELS, FRAMES, COUNTS)
    expected = rnnt_losses(y, LABELS, FRAMES, COUNTS)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    scores = logits().detach().log_softmax(-1)
    assert expected[0].item() == pytest.approx(by_enumeration(scores[0], [3, 1]), rel=1e-5)
    assert expected[1].item() == pytest.approx(by_enumeration(scores[1, :3], []), rel=1e-5)
    for values, at in ((found, x), (expected, y)):
        values.sum().backward()
        assert at.grad[1, 3].abs().sum() == 0.0
    torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-4, atol=1e-5)
    mean = RNNTLoss()(x, LABELS, FRAMES, COUNTS).item()
    assert mean == pytest.approx(expected.mean().item(), rel=1e-5)


def test_silence_alone_has_a_loss():
    found = RNNTLoss(reduction="none")(logits()[:, :, :1], LABELS[:, :0], FRAMES, 0 * COUNTS)
    assert found.isfinite().all() and (found > 0.0).all()


def test_a_multi_task_model_has_no_transducer():
    config = tiny_config() | {"model": "mtl_asr", "decoder": "transducer", "decoder_conf": {}}
    with pytest.raises(InputError, match="transducer needs model: espnet"):
        MTLASRTask.build_model(task_arguments(config))
