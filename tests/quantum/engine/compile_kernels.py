"""Compile both kernels for two GPUs and print what they need, a line of JSON each; started by test_fused.py."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from qpeft.quantum.engine.fused import warps_for

INTEGERS = ("steps", "sources", "inverses")


def compiled(kernel: Any, size: int, is_complex: bool, capability: int) -> dict[str, object]:
    # Here, because the collection of tests imports this file where there is no Triton, too.
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {"SIZE": size, "COMPLEX": is_complex, "PHASES": is_complex, "KEEP": True}
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    kinds = {}
    for name in kernel.arg_names:
        number = name.startswith("n_") or name.endswith("stride")
        kinds[name] = "i32" if number else "*i32" if name in INTEGERS else "*fp32"
    kinds |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants)
    options = {"num_warps": warps_for(size)}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        usage = subprocess.run([str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.findall(rf"{word}:(\d+)", usage)[-1]) for word in ("REG", "STACK"))
    found = {"binary": len(made.asm["cubin"]), "registers": registers, "stack": stack, "warps": options["num_warps"]}
    return {"kernel": kernel.__name__, "size": size, "complex": is_complex, "capability": capability, **found}


if __name__ == "__main__":
    from qpeft.quantum.engine import kernels

    for capability in (80, 90):
        for kernel in (kernels.run_circuit, kernels.undo_circuit):
            for size in (64, 1024, 4096):
                for is_complex in (False, True):
                    print(json.dumps(compiled(kernel, size, is_complex, capability)), flush=True)
