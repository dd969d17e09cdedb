import importlib.util
import subprocess
import sys

import pytest

# What a user's process has is what it had: nothing stands in for a module, nothing is patched.
UNCHANGED = """
import sys
import typeguard
before = typeguard.typechecked
import espnet_ext.tasks.loading, espnet_ext.tasks.countermeasure, espnet_ext.tasks.mockingjay
assert typeguard.typechecked is before
stand_ins = [n for n, m in list(sys.modules.items()) if type(m).__module__ == "espnet_ext.compat"]
assert not stand_ins, stand_ins
slow = {"inflect", "scipy.signal", "numba", "g2p_en", "tacotron_cleaner", "espnet2.gan_tts.jets"}
assert not slow & set(sys.modules), slow & set(sys.modules)
"""
USE = """
from espnet2.train import preprocessor
assert preprocessor.scipy.signal.convolve([1, 2], [1, 1]).tolist() == [1, 3, 2]
from espnet2.gan_tts.jets.alignments import AlignmentModule
assert AlignmentModule.__mro__[1].__name__ == "Module"
from espnet2.main_funcs import calculate_all_attentions as plots
assert isinstance(AlignmentModule(8, 8), plots.AlignmentModule)
assert not isinstance(1, plots.AlignmentModule)
"""
TYPES = """
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
TOOLBOX = """
import espnet_ext.attack.evasion
assert "sklearn" in sys.modules and "pandas" not in sys.modules
from sklearn.utils import fixes
if getattr(fixes, "pd", None) is not None:
    assert len(fixes.pd.DataFrame({"a": [1, 2]})) == 2
"""

# The cleaner is part of ESPnet 202511 only.
CLEAN = """
from espnet2.text.cleaner import TextCleaner
assert TextCleaner("tacotron")("22 & 3") == "TWENTY TWO AND THREE"
"""
ABSENT = """
import sys
from espnet_ext import compat
for name in ("no_such_package", "no_such_package.module", "json.no_such_module"):
    assert compat.on_first_use(name) is None
module = type(sys)("json")
with compat._stands_in(module):
    import json
assert sys.modules["json"] is json is not module
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_espnet_is_imported_quickly_and_leaves_the_process_as_it_was():
    run(UNCHANGED + USE + TYPES + TOOLBOX)


@pytest.mark.skipif(not importlib.util.find_spec("tacotron_cleaner"), reason="not in this ESPnet")
def test_the_cleaner_of_english_text_works():
    run(UNCHANGED + CLEAN)


def test_what_is_not_installed_is_left_alone():
    run(ABSENT)
