"""Metrics: perplexity in two definitions, and intervals for it; import from the modules, intervals needs no torch."""
