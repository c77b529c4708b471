"""Training: one run, a comparison of runs, and the dict of all methods; the composition root."""
