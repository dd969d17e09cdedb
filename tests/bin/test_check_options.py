"""Options of later stages are checked before the first one."""

import re

import pytest

from espnet_ext.bin import check_options


def test_what_the_command_accepts_passes():
    check_options.main(["asr_attack", "--set", "eps=0.1"])
    check_options.main(["format_data", "--channel", "mix", "--allow_pipes", "true"])
    check_options.main(["cm_attack"])


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("asr_attack", ["--epss", "0.1"], "asr_attack: error: .*--epss"),
        ("cm_lnsr", ["--sett", "a=1"], "cm_lnsr: error: .*--sett"),
        ("format_data", ["--alow_pipes", "true"], "format_data: error: .*--alow_pipes"),
    ],
)
def test_what_it_would_refuse_is_refused(command, options, expected, capsys):
    with pytest.raises(SystemExit, match="2"):
        check_options.main([command, *options])
    assert re.search(expected, capsys.readouterr().err)
