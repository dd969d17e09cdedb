from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.cm.scoring import plan_batches


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 9)), st.integers(1, 4))
def test_batches_are_of_like_lengths_and_do_not_depend_on_the_order(lengths, size):
    batches = plan_batches(lengths, size)
    assert batches == plan_batches(dict(reversed(lengths.items())), size)
    planned = [lengths[name] for batch in batches for name in batch]
    assert planned == sorted(lengths.values(), reverse=True)
    assert all(len(batch) == size for batch in batches[:-1])
