"""The `npusim` program: its commands, and `main`, which turns errors into one line and a code."""

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from npusim.cli import files, run, serve, show, validate
from npusim.errors import NpusimError, nearest

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate LLM inference on multi-core NPUs, transaction by transaction.",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "serve": serve.serve,
    "compare": show.compare,
    "view": show.view,
    "check": files.check,
    "list": files.list_names,
    "schema": files.schema,
    "validate": validate.validate,
    "warmup": run.warmup,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)

INTERRUPTED = 130
BROKEN_PIPE = 141


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    if version:
        from npusim import __version__

        print(f"npusim {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 the simulation failed, 2 bad input."""
    sys.exit(exit_code(arguments))


def exit_code(arguments: list[str] | None = None) -> int:
    """Runs one command; a user's mistake costs one line on stderr and never a traceback."""
    try:
        code = app(arguments, prog_name="npusim", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer's own answer to Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except NpusimError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except MemoryError:
        return _fail("out of memory; try --reuse or a smaller workload", 1)
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _fail(_usage_text(error), getattr(error, "exit_code", 2))


def _usage_text(error: Any) -> str:
    """One line for a mistake on the command line itself."""
    option = getattr(error, "option_name", "")
    if option and hasattr(error, "possibilities"):
        hint = nearest(option, error.possibilities or []) or "; see --help"
        return f"{option} is no option of this command{hint}"
    text = error.format_message()
    return text[:1].lower() + text[1:]


def _fail(text: str, code: int) -> int:
    print("error: " + " ".join(text.split()), file=sys.stderr)
    return code
