"""Help that lists names: they are looked up when help is asked for, so that those of plug-ins are among them."""

import typer
from typer.core import TyperCommand


def listed() -> dict[str, list[str]]:
    """What stands for a list of names in the help of an option."""
    from qpeft.circuits import ANSATZE, ENTANGLERS

    return {"<ansatze>": list(ANSATZE), "<entanglers>": list(ENTANGLERS)}


class NamesInHelp(TyperCommand):
    """A command whose options may hold the marks of `listed` in their help."""

    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]
        """The help, with names in place of marks."""
        for parameter in self.params:
            for mark, names in listed().items():
                if mark in (getattr(parameter, "help", None) or ""):
                    parameter.help = parameter.help.replace(mark, ", ".join(names))  # type: ignore[attr-defined]
        return super().get_help(ctx)
