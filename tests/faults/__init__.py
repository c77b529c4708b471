"""Faults on purpose: kills, pairs of processes, full disks, fuzzed inputs; run by hand, outside CI's time."""
