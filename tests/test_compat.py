import subprocess
import sys

SLOW = ("inflect", "scipy.signal", "numba", "g2p_en")
IMPORT = """
import sys
import espnet_ext.tasks.cm_loading
real = [name for name in {slow} if type(sys.modules.get(name)).__name__ == "module"]
assert not real, real
"""
USE = """
from espnet2.text.cleaner import TextCleaner
assert TextCleaner("tacotron")("22 & 3") == "TWENTY TWO AND THREE"
import scipy.signal
assert scipy.signal.convolve([1, 2], [1, 1]).tolist() == [1, 3, 2]
from espnet2.gan_tts.jets.alignments import AlignmentModule
assert AlignmentModule.__mro__[1].__name__ == "Module"
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_is_slow_is_imported_when_it_is_used():
    run(IMPORT.format(slow=SLOW) + USE)
