"""Who else hears what is made on a recognizer."""

import pytest
from tiny import RATE, noise, tiny_recognizer

from espnet_ext.data.codecs import coded
from espnet_ext.errors import InputError
from espnet_ext.victims.listener import AfterCodec, listeners
from espnet_ext.victims.recognizer import PyTorchESPnet


@pytest.fixture(scope="module")
def victim():
    return PyTorchESPnet(tiny_recognizer(), 0.3)


@pytest.mark.parametrize("codec", ["mulaw", "mp3"])
def test_a_codec_is_what_the_model_hears_of_coded_audio(victim, codec):
    waves = [noise(5000)[0], noise(3000)[0]]
    names, targets = ["a", "b"], ["one", "two"]
    batch = victim.batch(names, waves, targets)
    after = victim.batch(names, [coded(wave, RATE, codec) for wave in waves], targets)
    found = AfterCodec(victim, codec).observe(batch, batch.inputs)
    assert found == victim.observe(after, after.inputs)
    assert [row["loss"] for row in found] != [
        row["loss"] for row in victim.observe(batch, batch.inputs)
    ]


def test_listeners_have_the_names_of_the_log(victim):
    found = listeners(victim, [1, 10], ["gsm"])
    assert list(found) == ["beam1", "beam10", "gsm"]
    assert all(one.recognizer is victim.recognizer for one in found.values())


def test_a_codec_without_the_sample_rate_is_refused_before_it_hears():
    recognizer = tiny_recognizer()
    recognizer.sample_rate = 22050
    with pytest.raises(InputError, match="opus cannot have 22050 Hz"):
        AfterCodec(PyTorchESPnet(recognizer), "opus")
