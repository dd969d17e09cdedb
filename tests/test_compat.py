import importlib.util
import subprocess
import sys

import pytest

SLOW = ("inflect", "scipy.signal", "numba", "g2p_en")
IMPORT = """
import sys
import espnet_ext.tasks.cm_loading
real = [name for name in {slow} if type(sys.modules.get(name)).__name__ == "module"]
assert not real, real
"""
USE = """
import scipy.signal
assert scipy.signal.convolve([1, 2], [1, 1]).tolist() == [1, 3, 2]
from espnet2.gan_tts.jets.alignments import AlignmentModule
assert AlignmentModule.__mro__[1].__name__ == "Module"
"""
TYPES = """
import typeguard
from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
# Decorated, but compiled again with its checks only when it is called.
assert TransformerEncoder.__init__.__wrapped__.__name__ == "__init__"
for _ in range(2):
    try:
        TransformerEncoder("80")
    except typeguard.TypeCheckError as error:
        assert "input_size" in str(error)
    else:
        raise AssertionError("80 as text was taken")
assert TransformerEncoder(80, output_size=16).output_size() == 16
"""

# The cleaner is part of ESPnet 202511 only.
CLEAN = """
from espnet2.text.cleaner import TextCleaner
assert TextCleaner("tacotron")("22 & 3") == "TWENTY TWO AND THREE"
"""
ABSENT = """
import sys
from espnet_ext.compat import import_on_first_use
for name in ("no_such_package", "no_such_package.module", "json.no_such_module"):
    import_on_first_use(name)
    assert name not in sys.modules
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_is_slow_is_imported_when_it_is_used():
    run(IMPORT.format(slow=SLOW) + USE + TYPES)


@pytest.mark.skipif(not importlib.util.find_spec("tacotron_cleaner"), reason="not in this ESPnet")
def test_the_cleaner_of_english_text_works():
    run(IMPORT.format(slow=SLOW) + CLEAN)


def test_what_is_not_installed_is_left_alone():
    run(ABSENT)
