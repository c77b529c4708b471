"""``qpeft doctor``: is this installation able to do the main job, and what is optional and absent."""

from importlib.metadata import PackageNotFoundError, requires, version

import typer

EXAMPLE = "Example:  qpeft doctor"


def command() -> int:
    """Check versions against what qpeft needs, the embedded model, and the accelerator; exit 1 on a fault."""
    from packaging.requirements import Requirement

    faults = 0
    for line in requires("qpeft") or []:
        need = Requirement(line)
        optional = need.marker is not None and "extra" in str(need.marker)
        try:
            found = version(need.name)
        except PackageNotFoundError:
            extra = str(need.marker).rsplit("'", 2)[-2] if optional and "'" in str(need.marker) else "dev"
            extra = extra if not optional or '"' not in str(need.marker) else str(need.marker).split('"')[1]
            mark = f"absent (optional: pip install 'qpeft[{extra}]')" if optional else "MISSING"
            faults += not optional
        else:
            good = need.specifier.contains(found, prereleases=True)
            mark = "ok" if good else f"OUTSIDE {need.specifier}"
            faults += not good
            mark = f"{found:14} {mark}"
        typer.echo(f"{need.name:22} {mark}")
    faults += check_embedded()
    faults += check_plugins()
    import torch

    where = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; runs on the CPU"
    typer.echo(f"{'accelerator':22} {where}")
    typer.echo("fit to work" if not faults else f"{faults} fault(s)")
    return 1 if faults else 0


def check_embedded() -> int:
    """Report on the embedded model's files; the number of faults."""
    from qpeft.assets import model_folder

    missing = [n for n in ("config.json", "model.safetensors", "tokenizer.json") if not (model_folder() / n).exists()]
    typer.echo(f"{'embedded model':22} {'ok' if not missing else 'MISSING ' + ', '.join(missing)}")
    return len(missing)


def check_plugins() -> int:
    """Name every plug-in that is installed, what it adds, and what is wrong with it; the number of faulty ones."""
    import warnings

    from qpeft.registry import plugins

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a warning would say stands in the list
        found = plugins()
    for plugin in found:
        said = f"FAULTY {plugin.fault}" if plugin.fault else f"adds {', '.join(plugin.added) or 'nothing'}"
        typer.echo(f"{'plug-in ' + plugin.name:22} {plugin.source}: {said}")
    return sum(bool(plugin.fault) for plugin in found)
