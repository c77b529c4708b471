"""The environment of a run, as the record keeps it."""

import os
import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from qpeft.records import MetaInfo

# peft's own tools read the bitsandbytes row, so it is named even where the library is absent.
PACKAGES = (
    "qpeft", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy",
    "bitsandbytes", "pennylane", "qiskit",
)  # fmt: skip


def package_versions() -> dict[str, str | None]:
    """Installed versions, None where a package is absent; keys as peft's method_comparison names them."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[f"{name}-version"] = version(name)
        except PackageNotFoundError:
            found[f"{name}-version"] = None
    return found


def system_info() -> dict[str, Any]:
    """Processor and torch's kernels for it, on which the last bits of results depend; cores, threads, accelerator."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "N/A",
    }


def processor() -> str:
    """The processor's name, with family and model where the system tells them, as names alone are often vague."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in told:
        return platform.processor() or platform.machine()
    return f"{told['model name']} (family {told.get('cpu family', '?')}, model {told.get('model', '?')})"


def meta_info(model: dict[str, Any], dataset: dict[str, Any]) -> MetaInfo:
    """Everything about the environment."""
    return MetaInfo(
        model_info=model,
        dataset_info=dataset,
        package_info=package_versions(),
        system_info=system_info(),
        pytorch_info=f"torch {torch.__version__}, {torch.get_num_threads()} threads",
    )


def peak_memory() -> tuple[int, int]:
    """Peak bytes on the accelerator (0 on CPU) and of the whole process since it started."""
    device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return device, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
