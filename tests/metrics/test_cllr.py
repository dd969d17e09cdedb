import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from espnet_ext.metrics.cllr import cllr_terms

BONAFIDE = np.array([True, True, False, False, False])
SCORES = np.array([2.0, -0.5, -1.0, 0.25, -3.0])


def cllr(scores, bonafide=BONAFIDE):
    bits = cllr_terms(scores, bonafide)
    return 0.5 * (bits[bonafide].mean() + bits[~bonafide].mean())


def test_cllr_is_the_log_loss_of_balanced_classes_in_bits():
    weights = np.where(BONAFIDE, 0.5 / BONAFIDE.sum(), 0.5 / (~BONAFIDE).sum())
    expected = log_loss(BONAFIDE, 1 / (1 + np.exp(-SCORES)), sample_weight=weights) / math.log(2)
    assert cllr(SCORES) == pytest.approx(expected)


def test_no_information_costs_one_bit_and_certainty_what_it_is_worth():
    assert cllr(np.zeros(5)) == 1.0
    sure = np.where(BONAFIDE, 1e4, -1e4)
    assert cllr(sure) == 0.0
    assert cllr(-sure) == pytest.approx(1e4 / math.log(2))  # no overflow


def test_scores_that_are_no_log_likelihood_ratios_pay_for_it():
    """The order of trials is the same, so all error rates are."""
    assert cllr(10.0 * SCORES) > cllr(SCORES) and cllr(SCORES - 5.0) > cllr(SCORES)
