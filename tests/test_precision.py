import logging

import pytest
import torch

from espnet_ext.errors import InputError
from espnet_ext.precision import check_autocast

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("autocast", "device", "has", "warned"),
    [
        ("bfloat16", CPU, (), True),
        ("bfloat16", CPU, ("amx_tile",), False),
        ("bfloat16", CPU, ("avx512_bf16",), False),
        ("bfloat16", torch.device("cuda"), (), False),
        (None, CPU, (), False),
    ],
)
def test_bfloat16_is_warned_of_where_it_is_slower(
    autocast, device, has, warned, monkeypatch, caplog
):
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda n=name: n in has)
    with caplog.at_level(logging.WARNING):
        check_autocast(autocast, device)
    assert bool(caplog.records) == warned


def test_another_precision_is_refused():
    with pytest.raises(InputError, match="float16"):
        check_autocast("float16", CPU)
