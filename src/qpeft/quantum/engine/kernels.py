"""Triton kernels: a whole circuit in one launch, one program a state vector, which stays in registers throughout.

The circuit is data, not code: a table of instructions that each kernel walks through, so that circuits of one size
share one compiled kernel. Only real arithmetic; complex amplitudes are pairs. See ``fused.py`` for the tables.
"""

import triton
import triton.language as tl


@triton.jit
def entry(matrix, place: tl.constexpr, cosine, sine):
    """One number of ``cos(angle/2) M(0) + sin(angle/2) M(pi)``."""
    return cosine * tl.load(matrix + place) + sine * tl.load(matrix + 8 + place)


@triton.jit
def across(index, target, control, upper, lower, neutral):
    """Per amplitude the number of its row of a 2 x 2 matrix; neutral where the control is 0."""
    value = tl.where((index & target) == 0, upper, lower)
    return tl.where((index & control) == control, value, neutral)


@triton.jit
def times(re, im, other_re, other_im, a_re, a_im, b_re, b_im, COMPLEX: tl.constexpr):
    """``a state + b other``, other being the state of the flipped qubit."""
    new_re = a_re * re + b_re * other_re
    new_im = im
    if COMPLEX:
        new_re -= a_im * im + b_im * other_im
        new_im = a_re * im + a_im * re + b_re * other_im + b_im * other_re
    return new_re, new_im


@triton.jit
def flipped(re, im, index, target, COMPLEX: tl.constexpr):
    """The amplitudes with one bit of the index flipped."""
    other_re = tl.gather(re, index ^ target, 0)
    other_im = im
    if COMPLEX:
        other_im = tl.gather(im, index ^ target, 0)
    return other_re, other_im


@triton.jit
def gate(
    re,
    im,
    other_re,
    other_im,
    index,
    target,
    control,
    matrix,
    cosine,
    sine,
    idle,
    ADJOINT: tl.constexpr,
    COMPLEX: tl.constexpr,
):
    """Multiply one qubit by its matrix, or by the adjoint of it, and by ``idle`` where the control is 0."""
    upper_off = entry(matrix, 4, cosine, sine) if ADJOINT else entry(matrix, 2, cosine, sine)
    lower_off = entry(matrix, 2, cosine, sine) if ADJOINT else entry(matrix, 4, cosine, sine)
    a_re = across(index, target, control, entry(matrix, 0, cosine, sine), entry(matrix, 6, cosine, sine), idle)
    b_re = across(index, target, control, upper_off, lower_off, 0.0)
    a_im = a_re
    b_im = b_re
    if COMPLEX:
        sign: tl.constexpr = -1.0 if ADJOINT else 1.0
        upper_off = entry(matrix, 5, cosine, sine) if ADJOINT else entry(matrix, 3, cosine, sine)
        lower_off = entry(matrix, 3, cosine, sine) if ADJOINT else entry(matrix, 5, cosine, sine)
        a_im = across(index, target, control, entry(matrix, 1, cosine, sine), entry(matrix, 7, cosine, sine), 0.0)
        a_im = sign * a_im
        b_im = sign * across(index, target, control, upper_off, lower_off, 0.0)
    return times(re, im, other_re, other_im, a_re, a_im, b_re, b_im, COMPLEX)


@triton.jit
def along(re, im, other_re, other_im, index, target, control, matrix, COMPLEX: tl.constexpr):
    """The derivative of the state by the angle of the last gate: ``M(pi)/2`` times the state after it."""
    # Where the control is 0, nothing depends on the angle.
    new_re, new_im = gate(re, im, other_re, other_im, index, target, control, matrix, 0.0, 1.0, 0.0, False, COMPLEX)
    return 0.5 * new_re, 0.5 * new_im


@triton.jit
def permuted(re, im, source, COMPLEX: tl.constexpr):
    """``new[i] = old[source[i]]``."""
    new_re = tl.gather(re, source, 0)
    new_im = im
    if COMPLEX:
        new_im = tl.gather(im, source, 0)
    return new_re, new_im


@triton.jit
def phased(re, im, phases, index, ADJOINT: tl.constexpr, COMPLEX: tl.constexpr):
    """Multiply by a phase each, or by its conjugate."""
    p_re = tl.load(phases + 2 * index)
    new_re = p_re * re
    new_im = im
    if COMPLEX:
        p_im = tl.load(phases + 2 * index + 1)
        if ADJOINT:
            p_im = -p_im
        new_re -= p_im * im
        new_im = p_re * im + p_im * re
    return new_re, new_im


@triton.jit
def load(state, index, COMPLEX: tl.constexpr):
    """Real and imaginary parts; the real one twice for a real state."""
    if COMPLEX:
        return tl.load(state + 2 * index), tl.load(state + 2 * index + 1)
    re = tl.load(state + index)
    return re, re


@triton.jit
def store(state, index, re, im, COMPLEX: tl.constexpr):
    """What ``load`` loads."""
    if COMPLEX:
        tl.store(state + 2 * index, re)
        tl.store(state + 2 * index + 1, im)
    else:
        tl.store(state + index, re)


@triton.jit
def half_turn(angles, parameter):
    """Cosine and sine of half an angle; 1 and 0 for a fixed gate, whose parameter is -1."""
    angle = tl.load(angles + parameter, mask=parameter >= 0, other=0.0)
    return tl.cos(0.5 * angle), tl.sin(0.5 * angle)


@triton.jit
def run_circuit(
    steps, matrices, sources, phases, angles, states, finals, probabilities,
    n_steps, angle_stride, state_stride,
    SIZE: tl.constexpr, COMPLEX: tl.constexpr, PHASES: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    """Probabilities after the circuit, and with KEEP the last states."""
    row = tl.program_id(0).to(tl.int64)
    index = tl.arange(0, SIZE)
    width: tl.constexpr = 2 * SIZE if COMPLEX else SIZE
    re, im = load(states + row * state_stride, index, COMPLEX)
    for step in range(n_steps):
        target = tl.load(steps + 4 * step)
        number = tl.load(steps + 4 * step + 3)
        if target == 0:
            re, im = permuted(re, im, tl.load(sources + number * SIZE + index), COMPLEX)
            if PHASES:
                re, im = phased(re, im, phases + number * 2 * SIZE, index, False, COMPLEX)
        else:
            control = tl.load(steps + 4 * step + 1)
            cosine, sine = half_turn(angles + row * angle_stride, tl.load(steps + 4 * step + 2))
            other_re, other_im = flipped(re, im, index, target, COMPLEX)
            re, im = gate(
                re,
                im,
                other_re,
                other_im,
                index,
                target,
                control,
                matrices + 16 * step,
                cosine,
                sine,
                1.0,
                False,
                COMPLEX,
            )
    if KEEP:
        store(finals + row * width, index, re, im, COMPLEX)
    squares = re * re
    if COMPLEX:
        squares += im * im
    tl.store(probabilities + row * SIZE + index, squares)


@triton.jit
def undo_circuit(
    steps, matrices, inverses, phases, angles, finals, cotangents, angle_gradients, state_gradients,
    n_steps, n_rotations, angle_stride,
    SIZE: tl.constexpr, COMPLEX: tl.constexpr, PHASES: tl.constexpr,
):  # fmt: skip
    """Gradients of every rotation and of the first states, by undoing the circuit from the last ones."""
    row = tl.program_id(0).to(tl.int64)
    index = tl.arange(0, SIZE)
    width: tl.constexpr = 2 * SIZE if COMPLEX else SIZE
    re, im = load(finals + row * width, index, COMPLEX)
    twice = 2.0 * tl.load(cotangents + row * SIZE + index)
    flow_re = twice * re
    flow_im = twice * im
    for back in range(n_steps):
        step = n_steps - 1 - back
        target = tl.load(steps + 4 * step)
        number = tl.load(steps + 4 * step + 3)
        if target == 0:
            if PHASES:
                re, im = phased(re, im, phases + number * 2 * SIZE, index, True, COMPLEX)
                flow_re, flow_im = phased(flow_re, flow_im, phases + number * 2 * SIZE, index, True, COMPLEX)
            places = tl.load(inverses + number * SIZE + index)
            re, im = permuted(re, im, places, COMPLEX)
            flow_re, flow_im = permuted(flow_re, flow_im, places, COMPLEX)
        else:
            control = tl.load(steps + 4 * step + 1)
            parameter = tl.load(steps + 4 * step + 2)
            matrix = matrices + 16 * step
            cosine, sine = half_turn(angles + row * angle_stride, parameter)
            other_re, other_im = flipped(re, im, index, target, COMPLEX)
            by_re, by_im = along(re, im, other_re, other_im, index, target, control, matrix, COMPLEX)
            gradient = flow_re * by_re
            if COMPLEX:
                gradient += flow_im * by_im
            tl.store(angle_gradients + row * n_rotations + number, tl.sum(gradient, 0), mask=parameter >= 0)
            re, im = gate(re, im, other_re, other_im, index, target, control, matrix, cosine, sine, 1.0, True, COMPLEX)
            other_re, other_im = flipped(flow_re, flow_im, index, target, COMPLEX)
            flow_re, flow_im = gate(
                flow_re, flow_im, other_re, other_im, index, target, control, matrix, cosine, sine, 1.0, True, COMPLEX
            )
    store(state_gradients + row * width, index, flow_re, flow_im, COMPLEX)
