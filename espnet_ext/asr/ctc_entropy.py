"""Entropy of the alignments that CTC sums over."""

import torch

# In place of log 0: finite, so that no gradient becomes 0 * inf.
IMPOSSIBLE = -1e30


def alignment_entropy(
    log_probs: torch.Tensor,
    lengths: torch.Tensor,
    targets: torch.Tensor,
    target_lengths: torch.Tensor,
    blank: int = 0,
) -> torch.Tensor:
    """Entropy in nats of p(pi | l, X) over all alignments pi that CTC reads as the target l.

    This is H of Liu, Jin and Zhang, "Connectionist Temporal Classification with Maximum Entropy
    Regularization" (2018), whose EnCTC minimises L_CTC - beta * H. It is exact: the forward
    recursion of CTC carries, beside the log-probability of each state, the entropy of the paths
    that end in it, by the chain rule of entropy (Hernando, Crespi and Cybenko 2005). That is the
    expectation semiring with its second value normalised, so that nothing large cancels.

    Args:
        log_probs: (B, T, V), logarithms of the frames' probabilities.
        lengths: (B,), frames of each utterance.
        targets: (B, L), token ids; entries beyond `target_lengths` are ignored.
        target_lengths: (B,).
        blank: id of the blank.

    Returns:
        (B,); 0 where an utterance has fewer frames than its target needs.
    """
    # The token of each state (B, 2L + 1): a blank before, between and after the tokens.
    position = torch.arange(targets.size(1), device=targets.device)
    states = targets.new_full((len(targets), 2 * targets.size(1) + 1), blank)
    states[:, 1::2] = targets.masked_fill(position >= target_lengths.unsqueeze(1), blank)
    scores = log_probs.gather(2, states.unsqueeze(1).expand(-1, log_probs.size(1), -1))
    # Whether a state can be reached from the one before the last: over a blank, unless it separates
    # two equal tokens, which would be read as one without it.
    before_last = torch.nn.functional.pad(states, (2, 0), value=blank)[:, :-2]
    may_skip = (states != blank) & (states != before_last)
    number = torch.arange(states.size(1), device=states.device)
    # An alignment begins with a blank or with the first token.
    log_alpha = scores[:, 0].masked_fill(number > 1, IMPOSSIBLE)
    entropy = torch.zeros_like(log_alpha)
    for t in range(1, log_probs.size(1)):
        arriving = torch.stack([log_alpha, *_shifted(log_alpha, IMPOSSIBLE, may_skip)])
        before = torch.stack([entropy, *_shifted(entropy, 0.0, may_skip)])
        mixed, total = _mixture(arriving, before)
        # An utterance that has ended keeps its values while longer ones of the batch go on.
        inside = (t < lengths).unsqueeze(1)
        log_alpha = torch.where(inside, total + scores[:, t], log_alpha)
        entropy = torch.where(inside, mixed, entropy)
    # An alignment ends with the last token or with the blank behind it.
    last = (number >= 2 * target_lengths.unsqueeze(1) - 1) & (
        number <= 2 * target_lengths.unsqueeze(1)
    )
    mixed, total = _mixture(log_alpha.masked_fill(~last, IMPOSSIBLE).T, entropy.T)
    # Log-probabilities of real alignments are far above this limit, and sums with IMPOSSIBLE below.
    return torch.where(total > 0.5 * IMPOSSIBLE, mixed, torch.zeros_like(mixed))


def _shifted(
    values: torch.Tensor, empty: float, may_skip: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (B, S) of the state before, and of the one before that where it may be skipped."""
    pad = torch.nn.functional.pad
    one, two = (pad(values, (n, 0), value=empty)[:, : values.size(1)] for n in (1, 2))
    return one, two.masked_fill(~may_skip, empty)


def _mixture(log_weights: torch.Tensor, entropy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Entropy of choosing in dimension 0 and then as `entropy`; log of the summed weights."""
    # Chain rule: the entropy of the choice, plus the mean of the entropies of what is chosen. A
    # share of 0 has a finite logarithm, so that its term is 0.
    log_share = log_weights.log_softmax(dim=0)
    mixed = (log_share.exp() * (entropy - log_share)).sum(dim=0)
    return mixed, log_weights.logsumexp(dim=0)
