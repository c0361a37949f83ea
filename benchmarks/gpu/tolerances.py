"""How far two computations of the same numbers may be apart, derived from what they round.

Model: the roundings along a path are independent, and each is relative to what it rounds, so errors
add in squares. In a pre-norm decoder with weights of standard deviation 1 / sqrt(hidden) no step
enlarges a relative error much, and what a layer rounds is only a part of the residual stream: the
bounds are generous by a small factor.

A rounding to bfloat16 (8 bits) is off by at most 2^-8, in the root mean square by 2^-9.2; to
float32 (24 bits) by at most 2^-24. A sum of K products in float32, added one after the other, is
off by sqrt(K / 2) 2^-24 of its root mean square; any blocking does better. With TF32 (11 bits) the
factors of each product would be off by 2^-12: hundreds of times the float32 tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BFLOAT16 = 2.0**-9  # root mean square of one rounding's relative error, rounded up
FLOAT32 = 2.0**-24
FLOAT16_STEP = 2.0**-10  # of a stored number: two that round differently are a spacing apart
SIGMAS = 6  # of a normal distribution: one value of 5e8 lies beyond

# Of one decoder layer, on its path from residual to residual. Products: query or key, value,
# scores, mix, output, gate or up, down. Roundings: the nine weights; two norms, query, key, value,
# two rotations, probabilities, mix, output, sum, gate, SiLU, up, product, down, the second sum.
PRODUCTS, ROUNDINGS = 7, 26
# Outside the layers: embedding, last norm and its weight, head, logits.
OUTSIDE = 5


@dataclass(frozen=True)
class Tolerance:
    """Bounds for one model and dtype.

    relative: error of a logit, root mean square, as a share of `spread`. spread: standard deviation
    of a position's logits.
    """

    relative: float
    spread: float

    @property
    def log_prob(self) -> float:
        """Root mean square error of a log-probability: its logit's and the normaliser's."""
        return math.sqrt(2) * self.relative * self.spread

    def of_largest(self, stored: float = 0.0) -> float:
        """Bound of the largest error of many log-probabilities.

        stored: the largest magnitude of a log-probability that is stored in float16, if they are.
        """
        return SIGMAS * self.log_prob + FLOAT16_STEP * stored

    @property
    def swap(self) -> float:
        """Largest gap between two logits that may change places: both errors."""
        return 2 * SIGMAS * self.relative * self.spread

    @property
    def gradient(self) -> float:
        """Error of the gradient as a share of its norm.

        Three times as many products as a forward pass, and the error of the probabilities in it.
        """
        return math.sqrt(3 * (1 + 2 * self.spread**2)) * self.relative

    def loss(self, value: float, positions: int, divisor: int, below: float = 0.0) -> float:
        """Bound for a loss of this value, a sum over so many positions divided by the divisor.

        below: how far the loss has come down since the first step. Adam's steps change it, in first
        order, by a sum of |g|, of which an error d of the gradient takes at most 2 |d|: what has
        come down is off by twice the gradient's relative error.
        """
        at_once = SIGMAS * self.log_prob * math.sqrt(positions) / divisor
        summed = FLOAT32 * math.sqrt(positions / 2) * abs(value)
        return at_once + summed + 2 * self.gradient * abs(below)


def tolerance(layers: int, inner: int, spread: float, dtype: str, sides: int = 2) -> Tolerance:
    """Bounds for a Llama-like decoder.

    layers; inner: longest sum of a product; sides: how many of the two computations round to
    `dtype` (float32: both).
    """
    sums = (PRODUCTS * layers + OUTSIDE) * inner / 2 * FLOAT32**2
    rounded = (ROUNDINGS * layers + OUTSIDE) * BFLOAT16**2 if dtype == "bfloat16" else 0.0
    return Tolerance(math.sqrt(2 * sums + sides * rounded), spread)
