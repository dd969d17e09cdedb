import pytest
import torch

from espnet_ext.cm.xvector import XVector
from espnet_ext.errors import InputError


def test_order_of_the_dimensions_does_not_matter():
    torch.manual_seed(0)
    model = XVector(6, 20, channels=8, pooled=10, embedding=4).eval()
    x, order = torch.randn(2, 20, 6), torch.randperm(6)
    expected = model(x)
    assert expected.shape == (2, model.output_size()) == (2, 4)
    first = model.frames.layers[0]
    first.weight.data = first.weight.data[:, order]
    torch.testing.assert_close(model(x[..., order]), expected)


def test_an_embedding_learns_from_every_frame_and_dimension():
    torch.manual_seed(0)
    x = torch.randn(3, 30, 5, requires_grad=True)
    XVector(5, 30, dropout_rate=0.1)(x)[0].sum().backward()
    assert (x.grad[0] != 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"num_frames": None}, "segments only"), ({"channels": 0}, "at least 1")],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        XVector(5, **options)


def test_whole_utterances_are_refused():
    with pytest.raises(ValueError, match="without padding"):
        XVector(5)(torch.zeros(2, 20, 5), torch.tensor([20, 10]))
