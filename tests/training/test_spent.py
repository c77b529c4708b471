"""What was spent on circuits: every session adds, and a file that cannot be read is told."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from qpeft.training.spent import SPENT, ModulesSpent, Spent


def test_sessions_add_up_and_a_later_one_reads_what_a_killed_one_wrote(tmp_path: Path) -> None:
    first = Spent(tmp_path)
    first(3, 60)
    first(1, 20)  # killed here: nothing is closed or flushed
    second = Spent(tmp_path)
    assert (second.circuits, second.shots, second.note) == (4, 80, "")
    second(10**15, 0)
    assert Spent(tmp_path).circuits == 4 + 10**15


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / SPENT).write_text("4 eighty")
    spent = Spent(tmp_path)
    assert (spent.circuits, spent.shots) == (0, 0)
    assert spent.note == "spent.txt is damaged: circuits of the sessions before are not counted as spent"


def test_every_process_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    spent = Spent(tmp_path)
    spent(2, 10)
    assert (spent.circuits, spent.shots) == (6, 30)
    monkeypatch.setenv("RANK", "1")
    Spent(tmp_path)(100, 100)
    monkeypatch.setenv("RANK", "0")
    assert Spent(tmp_path).circuits == 6  # one process writes


def test_modules_run_one_circuit_a_token_from_where_the_session_began(tmp_path: Path) -> None:
    spent = Spent(tmp_path)
    watch, state = ModulesSpent(spent, 4), SimpleNamespace(num_input_tokens_seen=100)
    watch.on_train_begin(None, state, None)
    for seen, expected in ((130, 120), (150, 200)):
        state.num_input_tokens_seen = seen
        watch.on_substep_end(None, state, None)
        watch.on_step_end(None, state, None)
        assert spent.circuits == expected
