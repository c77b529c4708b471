"""The command line: one file a command; heavy libraries are imported inside the commands, so that help is instant."""

import os
import sys
import tempfile
import traceback
import warnings
from typing import Annotated

import typer

from qpeft.cli import (
    ablate,
    backends,
    compare,
    doctor,
    draw,
    estimate,
    evaluate,
    export,
    models,
    papers,
    preview,
    recipes,
    report,
    study,
    train,
)
from qpeft.cli.names import NamesInHelp
from qpeft.errors import ConfigError, QpeftError
from qpeft.foreign import as_ours, first_line

FAILED, USAGE, INTERRUPTED = 1, 2, 130
GO_ON = "Interrupted; run the same command again to go on."
ANEW = "Interrupted; the same command begins anew."
# These take long and keep nothing before their end.
ALL_AT_ONCE = ("study", "eval", "export", "estimate")

app = typer.Typer(
    name="qpeft",
    help="Fine-tune language models with quantum circuits in the loop, and measure what the circuit was worth.",
    epilog="First steps:  qpeft compare demo  |  qpeft recipes  |  qpeft draw --qubits 5 --depth 2",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command("compare", epilog=compare.EXAMPLE)(compare.command)
app.command("train", epilog=train.EXAMPLE)(train.command)
app.command("ablate", epilog=ablate.EXAMPLE)(ablate.command)
app.command("estimate", epilog=estimate.EXAMPLE)(estimate.command)
app.command("eval", epilog=evaluate.EXAMPLE)(evaluate.command)
app.command("export", epilog=export.EXAMPLE)(export.command)
app.command("report", epilog=report.EXAMPLE)(report.command)
app.command("preview", epilog=preview.EXAMPLE)(preview.command)
app.command("draw", epilog=draw.EXAMPLE, cls=NamesInHelp)(draw.command)
app.command("backends", epilog=backends.EXAMPLE)(backends.command)
app.command("models", epilog=models.EXAMPLE)(models.command)
app.command("recipes", epilog=recipes.EXAMPLE)(recipes.command)
app.add_typer(papers.app, name="papers")
app.command("study", epilog=study.EXAMPLE)(study.command)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.command)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from qpeft import __version__

        typer.echo(f"qpeft {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Fine-tune language models with quantum circuits in the loop, and measure what the circuit was worth."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    elif context.invoked_subcommand != "train" and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            f"only qpeft train runs as several processes; got {os.environ['WORLD_SIZE']} of "
            f"qpeft {context.invoked_subcommand}; start it without accelerate launch or torchrun"
        )


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit 0 done, 1 a run failed, 2 wrong usage or config, 130 interrupted."""
    # Nothing here needs the tokenizers' own threads, and forking after using them warns.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # peft asks transformers for a property by its old name; the user can do nothing about it.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    try:
        code = run(arguments)
    except Exception as error:
        code = stop(own_fault(error), FAILED)
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """The exit code of a command line; errors are printed to stderr, and faults of qpeft itself pass through."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(args=[dashed(word) for word in map(readable, words)], standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return stop(interrupted(words), INTERRUPTED)
    except typer.TyperException as error:
        return stop(f"Error: {error.format_message()}\nSee `qpeft --help` or `qpeft COMMAND --help`.", USAGE)
    except ConfigError as error:
        return stop(f"Error: {error}", USAGE)
    except QpeftError as error:
        return stop(f"Error: {error}", FAILED)
    except BrokenPipeError:
        # `qpeft draw | head`: nobody reads on, so there is nobody to tell; what is buffered has no way out either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        known = as_ours(error)
        if known is None:
            raise
        return stop(f"Error: {known}", FAILED)
    # Typer turns Ctrl-C inside a command into this code and says nothing.
    if result == INTERRUPTED:
        return stop(interrupted(words), INTERRUPTED)
    return result if isinstance(result, int) else 0


def own_fault(error: Exception) -> str:
    """The words for an error that nothing outside of qpeft explains; its trace is kept in a file, for a report."""
    trace = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="qpeft-fault-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(trace)
        where = f"the trace is in {file.name}"
    except OSError:
        where = f"the trace:\n{trace}"
    return (
        f"Error: this is a fault of qpeft, not yours: {type(error).__name__}: {first_line(error)}; please report it "
        f"with the command you typed; {where}"
    )


def readable(word: str) -> str:
    """A word of the command line that is text.

    Raises:
        ConfigError: Its bytes are no UTF-8; no record or page could hold it.
    """
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"the command line must be UTF-8 text; {word!r} is not") from error
    return word


def interrupted(words: list[str]) -> str:
    """What is said of a command that was interrupted.

    >>> interrupted(["train", "--steps", "5"])
    'Interrupted; run the same command again to go on.'
    """
    command = next((word for word in words if not word.startswith("-")), "")
    return ANEW if command in ALL_AT_ONCE else GO_ON


def dashed(word: str) -> str:
    """A flag with dashes, as typed here, from one with underscores, as transformers writes them.

    >>> dashed("--learning_rate"), dashed("--set"), dashed("train.batch_size=2")
    ('--learning-rate', '--set', 'train.batch_size=2')
    """
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word


def stop(message: str, code: int) -> int:
    """Print a message to stderr and pass the exit code on."""
    typer.echo(message, err=True)
    return code
