"""Whichever of qpeft and peft is imported first, and whoever imports peft, peft knows our types."""

import copy
import json
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import peft
import pytest
import torch
from peft import PeftType, get_peft_model
from transformers import AutoModelForCausalLM

import qpeft
from qpeft._registration import _PeftFinder, register_with_peft
from qpeft.tuners import QAAConfig, QAAModel
from qpeft.tuners._peft import peft_type, register

OURS = {"CORE", "FFA", "HEADPREFIX", "QAA", "SORA"}
KNOWN = """
import peft
known = {getattr(t, "value", t): c for t, c in peft.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
assert {"FFA", "HEADPREFIX", "QAA", "SORA"} <= set(known), sorted(known)
assert peft.PeftType("QAA") is peft.PeftType["QAA"] is peft.PeftType.QAA
import qpeft
assert known["QAA"] is qpeft.QAAConfig
assert not [f for f in sys.meta_path if type(f).__module__.startswith("qpeft")], sys.meta_path
"""


def run(code: str, *arguments: Path, path: Path | None = None) -> None:
    """Run code in a new process; it must end without an error."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, "-c", f"import sys\n{code}", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def saved(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A QAA adapter, and the logits of the model with it."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    model = get_peft_model(base, QAAConfig(task_type="CAUSAL_LM", init_weights=False)).eval()
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    ids = torch.arange(2, 22)[None]
    with torch.no_grad():
        torch.save({"ids": ids, "logits": model(input_ids=ids).logits}, folder / "expected.pt")
    return folder


LOAD = """
import torch
from peft import AutoPeftModelForCausalLM
expected = torch.load(sys.argv[1] + "/expected.pt")
model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    assert torch.equal(model(input_ids=expected["ids"]).logits, expected["logits"])
"""


def test_qpeft_alone_imports_neither_torch_nor_peft() -> None:
    run(
        """
import qpeft
heavy = {"torch", "peft", "transformers"} & set(sys.modules)
assert not heavy, heavy
assert set(qpeft.__all__) <= set(dir(qpeft))
from qpeft._registration import register_with_peft
register_with_peft()
finders = [f for f in sys.meta_path if type(f).__module__ == "qpeft._registration"]
assert len(finders) == 1, finders
"""
    )


def test_qpeft_then_peft(saved: Path) -> None:
    run(
        """
import qpeft
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
assert find_spec("peft").origin.endswith("__init__.py")  # looking for peft, as transformers does, must not use us up
import peft
assert type(peft.__spec__.loader) is type(peft.__loader__) is SourceFileLoader
"""
        + KNOWN
        + LOAD,
        saved,
    )


def test_qpeft_then_the_trainer_of_transformers(saved: Path) -> None:
    """Transformers looks for peft first and imports it in the midst of its own import."""
    run("import qpeft\nfrom transformers import Trainer, is_torch_available\n" + KNOWN + LOAD, saved)


def test_peft_then_qpeft_and_peft_alone(saved: Path) -> None:
    run(
        """
import peft
try:
    peft.AutoPeftModelForCausalLM.from_pretrained(sys.argv[1])
except (KeyError, ValueError) as error:
    assert "QAA" in str(error), error
else:
    raise AssertionError("peft knows QAA without qpeft")
import qpeft
"""
        + KNOWN
        + LOAD,
        saved,
    )


def test_a_name_of_qpeft_first() -> None:
    """``from qpeft import QAAMonitor`` starts with transformers, which then imports peft and our tuners."""
    run("from qpeft import QAAMonitor, SoraCallback, QAAConfig, prune\n" + KNOWN)


def test_a_peft_that_fails_once_is_registered_at_the_second_try(tmp_path: Path) -> None:
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "__init__.py").write_text(
        "import sys\nif not hasattr(sys, 'tried'):\n    sys.tried = 1\n    raise ImportError('the first try fails')\n"
    )
    run(
        """
import types
import qpeft
try:
    import peft
except ImportError as error:
    assert "first try" in str(error)
sys.modules["qpeft.tuners"] = types.ModuleType("qpeft.tuners")  # the real one needs the real peft
finders = [f for f in sys.meta_path if type(f).__module__ == "qpeft._registration"]
assert len(finders) == 1
import peft
assert not [f for f in sys.meta_path if type(f).__module__ == "qpeft._registration"]
""",
        path=tmp_path,
    )


def test_without_peft_qpeft_imports_and_peft_is_named() -> None:
    run(
        """
import importlib.machinery
import qpeft
importlib.machinery.PathFinder.find_spec = classmethod(lambda *arguments: None)
try:
    import peft
except ModuleNotFoundError as error:
    assert error.name == "peft"
else:
    raise AssertionError
"""
    )


def test_the_finder_finds_peft_and_nothing_else() -> None:
    finder = _PeftFinder()
    assert finder.find_spec("torch", None) is None
    assert finder.find_spec("peft.tuners", None) is None
    spec, real = finder.find_spec("peft", None), find_spec("peft")
    assert spec is not None
    assert real is not None
    assert spec.origin == real.origin


def test_a_second_registration_does_nothing() -> None:
    members, finders = list(PeftType), list(sys.meta_path)
    register_with_peft()
    register("qaa", QAAConfig, QAAModel)
    assert peft_type("qaa") is PeftType.QAA  # type: ignore[attr-defined]
    assert list(PeftType) == members
    assert sys.meta_path == finders
    assert peft_type("lora") is PeftType.LORA


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_types_behave_as_those_of_peft(name: str) -> None:
    member = PeftType(name)
    assert member is PeftType[name] is getattr(PeftType, name) is PeftType.__members__[name]
    assert member in list(PeftType)
    assert member in PeftType
    assert isinstance(member, PeftType)
    assert (member, member.value, member.name, repr(member)) == (name, name, name, f"<PeftType.{name}: '{name}'>")
    assert pickle.loads(pickle.dumps(member)) is copy.deepcopy(member) is member
    assert json.loads(json.dumps({"type": member})) == {"type": name}
    assert hash(member) == hash(name)
    assert member != PeftType.LORA


def test_every_public_name_is_there() -> None:
    for name in qpeft.__all__:
        assert getattr(qpeft, name) is not None
    with pytest.raises(AttributeError, match=r"qpeft has no 'QAAConfg'; public names: .*QAAConfig"):
        getattr(qpeft, "QAAConfg")  # noqa: B009
    assert qpeft.QAAConfig is peft.PEFT_TYPE_TO_CONFIG_MAPPING[PeftType("QAA")]


def test_unknown_types_are_still_refused() -> None:
    with pytest.raises(KeyError, match="NO_SUCH"):
        peft.get_peft_config({"peft_type": "NO_SUCH"})
