"""The command ``hone``: picks the verb, prepares the environment, and turns what a user got wrong into one line.

No torch is loaded until a verb needs it: ``hone --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from hone import __version__, checks
from hone.allocator import keep_freed_memory

VERBS = {
    "demo": "pretrain on digits 0-4, transfer to 5-9: the four steps, in under a minute",
    "fit": "fine-tune a pretrained model on your own photos",
    "lr": "draw every group's learning rate before the run; --find tries rates out",
    "groups": "show a model's layers, what trains, and the rate of each",
    "transfer": "account for every tensor of a weights file, without training",
    "doctor": "find out which half-precision formats are safe for your model and photos",
    "plan": "measure which precision, layout and batch train fastest here",
    "evaluate": "measure a run's best weights on other data",
    "predict": "name what is on photos, with a run's best weights",
    "compare": "show runs side by side, the best first",
}

_HELP = """\
hone: fine-tune PyTorch vision models on your own data

  hone VERB [options]      hone VERB --help shows a verb's options

{verbs}

  hone --version           the version
  HONE_TRACEBACK=1         show where an error came from
"""


#: Characters of an error's line.
_LONGEST = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: what follows ``hone``; the process's own by default.

    Returns:
        0; 2 where the user has to change something; 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP.format(verbs="\n".join(f"  {verb:<10} {what}" for verb, what in VERBS.items())), end="")
        return 0
    if words[0] in ("-V", "--version"):
        print(f"hone {__version__}")
        return 0
    _prepare_environment()
    try:
        verb = checks.one_of("hone: the verb", words[0], VERBS)
        return int(importlib.import_module(f"hone.commands.{verb}").main(words[1:]))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _leave_pipe()
    except (ValueError, TypeError, OSError, RuntimeError, ModuleNotFoundError) as error:
        if os.environ.get("HONE_TRACEBACK"):
            raise
        print(f"hone: {_one_line(error)}", file=sys.stderr)
        return 2


def _leave_pipe() -> int:
    """The reader (``head``, ``less``) has seen enough: nothing is wrong, and nothing more can be said to it."""
    with contextlib.suppress(OSError):  # a stdout that is no file has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # as a shell counts SIGPIPE


def _prepare_environment() -> None:
    """Settings that count only where they are made early."""
    keep_freed_memory()
    # Large pages for torch's own memory: a training step of MobileNetV2 is 9 to 30 % faster, and nothing else changes.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # TensorBoard's event writer would load TensorFlow where it is installed, and print its notices.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error.filename or 'while writing'}); what was written before is whole"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error.name} is not installed; pip install 'torch-hone[all]' brings every extra"
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:  # a compiler's output, for one
        text = f"{text[:_LONGEST]} ... (HONE_TRACEBACK=1 shows all of it)"
    return text or type(error).__name__
