import numpy as np
import pytest

from espnet_ext.asr.waveforms import like, pad, to_list, unpad


def ragged(*arrays):
    x = np.empty(len(arrays), dtype=object)
    for index, array in enumerate(arrays):
        x[index] = array
    return x


@pytest.mark.parametrize(
    "x", [np.ones((2, 3)), ragged(np.ones(3), np.ones(5)), ragged(np.ones(4), np.ones(4))]
)
def test_structure_survives_the_round_trip(x):
    back = like(x, unpad(*pad(to_list(x))))
    assert back.dtype == (object if x.dtype == object else np.float32)
    assert back.shape == x.shape
    for a, b in zip(x, back, strict=True):
        np.testing.assert_array_equal(a, b)


def test_padding_is_zero_and_lengths_are_those_of_the_waves():
    speech, lengths = pad([np.ones(2, np.float32), np.ones(4, np.float32)])
    assert lengths.tolist() == [2, 4]
    assert speech.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    "bad", [np.ones((1, 9, 2)), np.ones((1, 9, 2, 2)), ragged(np.ones(0)), ragged(np.float32(1.0))]
)
def test_what_is_not_a_waveform_is_refused(bad):
    several = "several channels are not supported" if bad[0].ndim == 2 else ""
    with pytest.raises(ValueError, match=rf"shape \(T,\).*{several}"):
        to_list(bad)
