"""What a finished attack says on the terminal."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_ext.data.attack_log import CLEAN, NOISE, Row, rows_by_setting

EXAMPLES = 3


def attack_summary(rows: Sequence[Row], directory: str | Path) -> Iterator[str]:
    """Lines that tell how often each attack succeeded, what was heard, and where to listen.

    Args:
        rows: of the attack's log, for any kind of model.
        directory: of the attack.

    Yields:
        One line per method and budget, after the last step: share of the utterances that reached
        the goal, and median SNR in dB. Then, of recognizers, the first utterances under the last
        attack, and the folder of its audio where it is kept.
    """
    # Steps ascend, so the last one of each method and budget remains.
    last = {setting[:2]: (setting, made) for setting, made in rows_by_setting(rows).items()}
    shown = None
    for (method, budget), (setting, made) in last.items():
        if method == CLEAN or (not setting.step and method != NOISE):
            continue
        reached = sum(bool(row["reached"]) for row in made)
        snr = [row["snr"] for row in made if row.get("snr") is not None]
        size = f", median SNR {statistics.median(snr):.1f} dB" if snr else ""
        yield (
            f"{method} {budget}, step {setting.step}: {reached} of {len(made)} reach the goal "
            f"({100 * reached / len(made):.0f} %){size}"
        )
        if method != NOISE:
            shown = setting, made
    if shown is None:
        return
    setting, made = shown
    for row in made[:EXAMPLES]:
        # Other kinds of model write no text.
        if "hypothesis" in row:
            heard = row["hypothesis"] + (f" (target: {row['target']})" if row.get("target") else "")
            yield f"  {row['utterance']}: {row.get('reference') or '?'} -> {heard}"
    if setting.wav_dir(directory).is_dir():
        yield f"listen to: {setting.wav_dir(directory)}"
