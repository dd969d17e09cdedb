"""The long table of a report, and everything that is measured on it.

A row is one utterance (or trial) under one condition, answered by the model of one training seed.
Columns name it: `utterance`, `unit` (what the bootstrap draws: its speaker, or itself), `seed` (of
training) and what the condition is, e.g. `method`, `budget` and `step`. A measure has two columns:
`wer` is what is counted and `of wer` over how much, so that each is a ratio of two sums over rows;
both are NaN where a row has no such measure. What needs no threshold is taken from `score`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from espnet_ext.data.attack_log import Row, Setting, rows_by_setting
from espnet_ext.errors import InputError
from espnet_ext.metrics.bootstrap import Draws, Interval, equal_error, interval, ratio
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.metrics.error_rate import Errors
from espnet_ext.metrics.tdcf import Coefficients, min_tdcf, normalised_cost
from espnet_ext.report.comparisons import strengths
from espnet_ext.report.results import CurvePoint, Spent

Gain = Callable[[pd.DataFrame, pd.DataFrame], np.ndarray]
PAIRED = ["target", "unit", "utterance", "seed"]


def reached(row: Row) -> dict[str, Errors]:
    """Success of an attack, by the own decision of the model."""
    return {"success_rate": Errors(int(row["reached"]), 1)}


def log_table(
    log: Sequence[Row],
    units: Mapping[str, object] | None = None,
    seed: int = 0,
    counted: Callable[[Row], Mapping[str, Errors]] = reached,
) -> pd.DataFrame:
    """The table of a log: its own columns but for nested ones, and two for each measure.

    Args:
        log: rows of one setting or several; what is heard without attack stands in the table once
            for each attack and budget.
        units: what the bootstrap draws of each utterance; utterances themselves if not given.
        seed: of training.
        counted: what is counted in a row of each measure, and over how much.
    """
    return pd.DataFrame(
        [
            # What is nested, such as answers of other listeners, is counted by `counted`.
            {key: value for key, value in row.items() if not isinstance(value, dict | list)}
            | setting._asdict()
            | {"unit": units[row["utterance"]] if units else row["utterance"], "seed": seed}
            | columns(counted(row))
            for setting, same in rows_by_setting(log).items()
            for row in same
        ]
    )


def columns(counts: Mapping[str, Errors]) -> dict[str, int]:
    """The two columns of each measure, of one row."""
    pairs = (((name, e.errors), (f"of {name}", e.units)) for name, e in counts.items())
    return dict(column for pair in pairs for column in pair)


def measures(table: pd.DataFrame) -> list[str]:
    """Names of the measures of a table."""
    return [name for name in table if f"of {name}" in table]


def has(rows: pd.DataFrame, name: str) -> bool:
    """Whether a column is known in all rows."""
    return name in rows and bool(rows[name].notna().all())


def by_setting(table: pd.DataFrame) -> dict[Setting, pd.DataFrame]:
    """Rows of each setting, in the order of the log, sorted by training seed and utterance."""
    if table.empty:  # it has no columns either
        return {}
    return {
        Setting(method, budget, int(step)): rows.sort_values(["seed", "utterance"])
        for (method, budget, step), rows in table.groupby([*Setting._fields], sort=False)
    }


def by_seed(rows: pd.DataFrame, values: np.ndarray | pd.Series) -> np.ndarray:
    """Values of rows (K * N,) by training seed and trial (K, N); each seed has the same trials."""
    # Rows are sorted by seed and then by utterance.
    return np.asarray(values).reshape(rows["seed"].nunique(), -1)


def share(
    rows: pd.DataFrame,
    counted: np.ndarray | pd.Series,
    over: np.ndarray | pd.Series,
    draws: Draws | None = None,
    *,
    pooled: bool = False,
) -> np.ndarray:
    """`100 * sum(counted) / sum(over)` over rows, for every draw (R + 1,).

    Args:
        rows: of one condition.
        counted: a number for each row.
        over: likewise; 0 where a row does not count.
        draws: of all units of a report, where rows have their numbers, sorted by seed and then by
            utterance. Without, the units and training seeds of these rows are drawn.
        pooled: draw no training seeds; needs `draws`.
    """
    if draws is None:
        return ratio([*counted], [*over], rows["unit"].tolist(), rows["seed"].tolist())
    number, of = (by_seed(rows, values).astype(np.float64) for values in (counted, over))
    units = by_seed(rows, rows["unit"])[0]
    return draws.ratio(number, of, units, draw_seeds=not pooled)


def measured(rows: pd.DataFrame, name: str) -> Interval:
    """A measure over the rows that have it, with its interval."""
    known = rows if has(rows, name) else rows[rows[name].notna()]
    return interval(share(known, known[name], known[f"of {name}"]))


def difference(
    rows: pd.DataFrame,
    baseline: pd.DataFrame | None,
    name: str,
    where: str = "without attack",
) -> np.ndarray:
    """Draws of a measure less that of a baseline, paired by utterance, of seeds that both have.

    Args:
        rows: of one setting.
        baseline: likewise.
        name: of a measure that all rows have.
        where: the setting, for messages.

    Raises:
        InputError: the two are not of the same utterances and targets, or have no training seed
            in common.
    """
    # A seed that only one side has cannot be paired.
    seeds = {*rows["seed"]} & ({*baseline["seed"]} if baseline is not None else set())
    if baseline is None or not seeds:
        raise InputError("a condition and the baseline have no training seed in common")
    keys = [key for key in PAIRED if key in rows]
    # By seed and then by utterance, so that rows of both stand in pairs.
    own, other = (
        side.loc[side["seed"].isin(seeds), [*keys, name, f"of {name}"]].sort_values(keys[::-1])
        for side in (rows, baseline)
    )
    if not all(own[key].tolist() == other[key].tolist() for key in keys):
        raise InputError(
            f"{where}: the condition and the baseline are of different utterances or targets; "
            "repeat that stage"
        )
    first, second = (share(side, side[name], side[f"of {name}"]) for side in (own, other))
    return first - second


def detection(
    rows: pd.DataFrame, positive: pd.Series, draws: Draws, costs: Sequence[Coefficients] = ()
) -> list[Interval]:
    """The equal error rate in percent and minimum costs of scores, means over training seeds.

    Args:
        rows: of one condition, sorted by seed and then by utterance; with `score`.
        positive: of which trials the score should be high.
        draws: see `share`.
        costs: weights of normalised detection costs.

    Returns:
        1 + len(costs) intervals, without a value where there are no trials of one kind.
    """
    scores, real = by_seed(rows, rows["score"]), by_seed(rows, positive)[0]
    if real.all() or not real.any():
        return [Interval(None, None, None)] * (1 + len(costs))

    def _measured(miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        lowest = [normalised_cost(miss, false_alarm, weights).min(axis=1) for weights in costs]
        return np.stack([equal_error(miss, false_alarm), *lowest])

    drawn = draws.curve(scores, real, by_seed(rows, rows["unit"])[0], _measured)
    # Of many trials the curve is thinned, so the values themselves are not taken from it.
    exact = [
        [100.0 * equal_error_rate(row[real], row[~real]).rate]
        + [min_tdcf(row[real], row[~real], weights).value for weights in costs]
        for row in scores
    ]
    return [*map(interval, drawn, np.mean(exact, axis=0).tolist())]


GAIN = partial(difference, name="success_rate")


def success_curve(
    table: pd.DataFrame, gain: Gain = GAIN
) -> Iterator[tuple[pd.DataFrame, CurvePoint]]:
    """Rows and success of every setting of an attack.

    Args:
        table: of one log, or of logs of the same utterances that differ in the training seed.
        gain: draws of how much stronger the attack of the first rows is than that of the second.
    """
    every = by_setting(table)
    strength = strengths(every, gain)
    for setting, own in every.items():
        point: CurvePoint = {
            **strength.get(setting, {}),
            **setting._asdict(),  # type: ignore[typeddict-item]
            "utterances": own["utterance"].nunique(),
            "success_rate": measured(own, "success_rate"),
            "loss_mean": statistic(own, "loss", np.mean),
            "stalled_utterances": int((own["stalled_steps"] > 0).sum()),
            **_spent(own),
        }
        if "strongest" in own and own["strongest"].notna().any():
            # Utterances that no attack made worse have none, and count in shares of all.
            point["strongest"] = dict(Counter(own["strongest"].fillna("None")))
        yield own, point


def _spent(rows: pd.DataFrame) -> Spent:
    """Gradients and queries of an utterance, means; nothing of logs that do not have them."""
    if not has(rows, "gradients"):
        return {}
    return {
        "gradients": float(rows["gradients"].to_numpy().mean()),
        "queries": float(rows["queries"].to_numpy().mean()),
    }


def statistic(
    rows: pd.DataFrame, name: str, of: Callable[[np.ndarray], np.floating]
) -> float | None:
    """A statistic of what is known of a column; None where nothing is."""
    values = rows[name].dropna().to_numpy(dtype=np.float64)
    return float(of(values)) if len(values) else None
