"""What a gate has to decide, for the thresholds themselves and for the words about them."""

from components.settings import GateConfig

GATE = GateConfig(top_k=5, top_k_accuracy=0.9, max_regression=0.02)

# Value of the gate's metric, the baseline's, and whether the model is to be blessed.
CASES: tuple[tuple[float, float | None, bool], ...] = (
    (0.91, None, True),
    (0.9, None, True),
    (0.899, None, False),
    (0.95, 0.95, True),
    (0.95, 0.969, True),
    (0.95, 0.98, False),
    (0.99, 0.91, True),
    # Better than the baseline, and still too bad.
    (0.89, 0.5, False),
)
