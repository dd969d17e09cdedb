import pytest
import torch

from espnet_ext.data.files import read_json
from espnet_ext.report.findings import Finding, sentence
from espnet_ext.report.reconstruction import PREDICTORS, errors_of, reconstruction_results
from espnet_ext.report.reports import write_report
from espnet_ext.ssl.pictures import Reconstruction

pytestmark = pytest.mark.one_python


def row(predicted, name="utt1"):
    target = torch.tensor([[0.0], [2.0], [4.0], [10.0]])
    hidden = torch.tensor([False, True, False, True])
    return Reconstruction(name, target, torch.tensor(predicted)[:, None], target, hidden)


def test_errors_by_hand():
    found = errors_of(row([9.0, 3.0, 9.0, 8.0]))
    # Between 0 and 4 the line is right; behind the last visible frame it stays at 4.
    assert found.sums == pytest.approx((1.0 + 2.0, 0.0 + 6.0, 2.0 + 10.0))
    assert found.values == 2


def test_means_are_over_all_hidden_values():
    errors = [errors_of(row([0.0, 2.0, 0.0, 10.0])), errors_of(row([0.0, 4.0, 0.0, 10.0]))]
    found = reconstruction_results(dict(enumerate(errors)), "cpu")["predictors"]
    assert found["model"][0] == pytest.approx(2.0 / 4)
    assert found["zero"][0] == pytest.approx(24.0 / 4)
    assert found["model"][1] <= 0.5 <= found["model"][2]


@pytest.mark.parametrize(
    ("predicted", "verb"),
    [
        ([10.0, 10.0], "beats"),
        ([0.0, 0.0], "is worse than"),
        ([10.0, 0.0], "cannot be told from"),
        ([10.0], "cannot be told from"),
    ],
)
def test_results_say_whether_interpolation_is_beaten(tmp_path, predicted, verb):
    errors = {f"utt{n}": errors_of(row([0.0, 2.0, 0.0, p])) for n, p in enumerate(predicted)}
    (tmp_path / "utt1.png").write_bytes(b"drawn before")
    write_report(reconstruction_results(errors, "cpu"), tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert f"The model {verb} linear interpolation" in text and "](utt1.png)" in text
    results = read_json(tmp_path / "results.json")
    assert list(results["predictors"]) == list(PREDICTORS) and results["utterances"] == len(
        predicted
    )


@pytest.mark.parametrize(("model", "side"), [(9.0, "10 % below"), (10.6, "6 % above")])
def test_an_error_is_below_or_above_that_of_zeros(model, side):
    values = {"difference": [1.0, 0.5, 2.0], "model": 10.0 * (model - 10.0), "line": -50.0}
    text = sentence(Finding("reconstruction", values))
    assert f"its error is {side} that of the zero predictor" in text and "50 % below it" in text
    assert "-" not in text.split("its error is")[1].split(".")[0]
