"""Timing side by side: contestants take turns in one process, so that ratios do not depend on the machine's load."""

import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Any, Literal

import torch
from torch import Tensor

# Seconds of the parts of one turn.
Parts = tuple[float, ...]


def take_turns(
    contestants: Mapping[str, Callable[[], Parts]],
    turns: int,
    warm_up: int,
    tick: Callable[[int], None] = lambda done: None,
) -> dict[str, list[Parts]]:
    """Run every contestant once a turn, in an order that moves on by one each turn.

    Args:
        contestants: What is timed; each returns the seconds of its parts.
        turns: Turns that count.
        warm_up: Turns before them that do not.
        tick: Called with the turns done.

    Returns:
        For each contestant the seconds of its parts, one tuple a turn.
    """
    names = list(contestants)
    times: dict[str, list[Parts]] = {name: [] for name in names}
    for turn in range(warm_up + turns):
        tick(turn)
        # Who runs first finds cold caches; nobody always does.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken = contestants[name]()
            if turn >= warm_up:
                times[name].append(taken)
    return times


def wall(like: Tensor) -> float:
    """Seconds that passed, once the accelerator a tensor lies on has done its work."""
    if like.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def processor(like: Tensor) -> float:
    """Seconds of work of all threads, whatever else the machine does; seconds that passed on an accelerator."""
    return wall(like) if like.is_cuda else time.process_time()


Clock = Callable[[Tensor], float]
ClockName = Literal["wall", "processor"]
CLOCKS: dict[str, Clock] = {"wall": wall, "processor": processor}
CLOCK_HELP = "wall: seconds that passed; processor: seconds of work, to measure beside other load"


def timed_step(
    model: Any, optimizer: torch.optim.Optimizer, ids: Tensor, clock: Clock = wall
) -> tuple[float, float, float]:
    """Seconds of forward, backward and optimizer in one step on ids, which are the labels, too."""
    began = clock(ids)
    loss = model(input_ids=ids, labels=ids).loss
    forward = clock(ids)
    loss.backward()
    backward = clock(ids)
    optimizer.step()
    optimizer.zero_grad()
    return forward - began, backward - forward, clock(ids) - backward


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile.

    >>> quartiles([1.0, 2.0, 3.0])
    (1.5, 2.0, 2.5)
    """
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, median(values), high


def milliseconds(name: str, values: list[float]) -> dict[str, float]:
    """Median and quartiles of seconds, in milliseconds, as cells of a row.

    >>> milliseconds("step", [0.001, 0.002, 0.003])
    {'step_ms': 2.0, 'step_ms_q25': 1.5, 'step_ms_q75': 2.5}
    """
    low, middle, high = (1e3 * value for value in quartiles(values))
    return {f"{name}_ms": middle, f"{name}_ms_q25": low, f"{name}_ms_q75": high}


def ratios(times: list[Parts], reference: list[Parts]) -> dict[str, float]:
    """Median and quartiles of whole turns over those of the reference in the same turn."""
    low, middle, high = quartiles([sum(a) / sum(b) for a, b in zip(times, reference, strict=True)])
    return {"ratio": middle, "ratio_q25": low, "ratio_q75": high}
