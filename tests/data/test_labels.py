import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.data.labels import MISSING_LABEL, check_labels, classes
from espnet_ext.errors import InputError

LABELS = st.sampled_from(["us", "gb", "fr", MISSING_LABEL])


def test_classes_are_the_known_labels_sorted():
    labels = {"u1": "us", "u2": "gb", "u3": MISSING_LABEL, "u4": "us"}
    assert classes(labels) == ["gb", "us"]


@pytest.mark.parametrize("labels", [[], ["us", "us"], ["us", MISSING_LABEL], [MISSING_LABEL]])
def test_a_head_needs_two_classes(labels):
    with pytest.raises(InputError, match=r"utt2accent: .* two classes, found \["):
        classes(dict(enumerate(labels)), "utt2accent")


@settings(deadline=None)
@given(st.lists(LABELS).filter(lambda found: len(set(found) - {MISSING_LABEL}) > 1), st.randoms())
def test_classes_do_not_depend_on_the_order_of_utterances(labels, random):
    found = classes(dict(enumerate(labels)))
    random.shuffle(labels)
    assert classes(dict(enumerate(labels))) == found == sorted({*labels} - {MISSING_LABEL})


def test_labels_that_training_has_not_are_named():
    labels = {"u1": "us", "u2": "nz", "u3": MISSING_LABEL, "u4": "au"}
    message = r"dev/utt2accent: .*known: gb, us.*:\nutterance u2: 'nz'\nutterance u4: 'au'$"
    with pytest.raises(InputError, match=message):
        check_labels(labels, ["gb", "us"], "dev/utt2accent")


def test_known_and_missing_labels_pass():
    check_labels({"u1": "us", "u2": MISSING_LABEL}, ["gb", "us"], "utt2accent")
    check_labels({}, ["gb", "us"], "utt2accent")
