"""Studies: measurements of circuits and methods - the one dict of them."""

from qpeft.training.studies import (
    counts,
    gradient_check,
    gradient_variance,
    noise_distance,
    qaa_complexity,
    qaa_noise,
    step_time,
)
from qpeft.training.studies.study import Study as Study
from qpeft.training.studies.study import run_study as run_study

STUDIES: dict[str, Study] = {
    "gradient-check": gradient_check.STUDY,
    "gradient-variance": gradient_variance.STUDY,
    "counts": counts.STUDY,
    "step-time": step_time.STUDY,
    "qaa-complexity": qaa_complexity.STUDY,
    "noise-distance": noise_distance.STUDY,
    "qaa-noise": qaa_noise.STUDY,
}
