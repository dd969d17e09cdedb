import inspect
import re

import pytest
from tiny import tiny_config

from espnet_ext.errors import InputError
from espnet_ext.tasks.foreign import LOADERS, WHISPER, refuse_pickles
from espnet_ext.tasks.mtl_asr import MTLASRTask

CALLS = (
    r"torch\.load\(|from_pretrained\(|load_model\w*\(|S3PRLUpstream\(|S3prlFrontend\("
    r"|build_model_from_file\("
)


def test_every_class_of_this_espnet_that_loads_by_itself_is_known():
    """A new one in a later release must be put into the table."""
    loading = {
        (choices.name, name)
        for choices in MTLASRTask.class_choices_list
        for name, class_ in choices.classes.items()
        if class_ is not None
        and class_.__module__.startswith("espnet2.")
        and re.search(CALLS, inspect.getsource(class_))
    }
    known = {*LOADERS, *((option, "whisper") for option in WHISPER)}
    assert loading <= known, sorted(loading - known)
    assert len(loading) >= 10


@pytest.mark.parametrize(
    "changes",
    [
        {"frontend": "fused", "frontend_conf": {"frontends": [{"frontend_type": "default"}]}},
        {"encoder": "beats", "encoder_conf": {"beats_ckpt_path": None}},
        {"encoder": "whisper", "encoder_conf": {"whisper_model": "tiny.en"}},
        {"frontend_conf": {"allow_pickle": False}},
    ],
)
def test_what_loads_nothing_of_a_stranger_is_not_refused(changes):
    refuse_pickles({**tiny_config(), **changes}, "config.yaml", allow_pickle=False)


def test_whisper_is_saved_only_where_the_user_keeps_it(tmp_path):
    conf = {"whisper_model": "tiny.en", "download_dir": str(tmp_path)}
    config = {"encoder": "whisper", "encoder_conf": conf}
    with pytest.raises(InputError, match=r"encoder_conf\.download_dir: there is no tiny\.en\.pt"):
        refuse_pickles(config, "config.yaml", allow_pickle=False)
    refuse_pickles(config, "config.yaml", allow_pickle=True)
    (tmp_path / "tiny.en.pt").write_bytes(b"")
    refuse_pickles(config, "config.yaml", allow_pickle=False)
