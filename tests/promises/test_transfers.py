"""tests/promises/transfers.py: which transfers are ours."""

from pathlib import Path

import pytest
import torch
from promises import transfers

from espnet_ext.victims import base

BACKWARD = """
class Waiting(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        found.append(caller())
        return gradient
"""


def place_in_backward(file: str) -> str | None:
    """Whose it is where a backward pass that is written in `file` waits for the device."""
    names = {"torch": torch, "caller": transfers.caller, "found": []}
    exec(compile(BACKWARD, file, "exec"), names)
    base.gradient_of(lambda x, _rows: names["Waiting"].apply(x).sum(dim=-1), torch.ones(2, 3))
    (place,) = names["found"]
    return place


def test_what_waits_in_a_backward_pass_is_of_who_wrote_it():
    assert place_in_backward(f"{transfers.THEIRS}/own.py") is None
    assert place_in_backward(f"{transfers.OURS}/planted.py") == "planted.py:9"


@pytest.mark.parametrize("planted", [False, True])
def test_a_read_that_is_planted_in_a_step_is_seen(planted):
    """As the promise of attacks sees it: once more in each step."""
    names, source = vars(base).copy(), Path(base.__file__).read_text()
    line = (
        "    return torch.zeros_like(inputs) if gradient is None else gradient, values.detach()\n"
    )
    assert source.count(line) == 1
    if planted:
        source = source.replace(line, f"    values.sum().item()\n{line}")
    exec(compile(source, base.__file__, "exec"), names)
    with transfers.host_transfers() as found:
        for _ in range(3):
            names["gradient_of"](lambda x, _rows: x.sum(dim=-1), torch.ones(2, 3))
    assert len(found) == (3 if planted else 0)
    assert all(place.startswith("base.py:") for place in found)
