"""The words of a command line as they were typed, and texts in the spelling that reaches a config unchanged.

Fire reads every value as Python: ``Study #2`` is ``Study`` and a comment, ``2024_11_29`` a number, ``(a)`` is ``a``.
MONAI passes over a plain ``None``, writes ``::`` for every ``#`` in a text, and takes texts that begin with ``$``,
``@`` or ``%`` for expressions and references. Once a config can look, what was typed is in ``sys.argv`` alone.
"""

from __future__ import annotations

import inspect
import io
import re
import shlex
import sys
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

_RUNS = ("run", "run_workflow")
_EXPORTS = ("ckpt_export", "onnx_export", "trt_export", "verify_net_in_out")
_READ_BY_MONAI = ("bundle_root", "_meta_", "_meta")
"""Ids of a config that an export reads by itself."""
_OF_MONAI = (
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file",
    "workflow_name", "workflow_type", "properties_path",
)  # fmt: skip
_FLAG = re.compile(r"--|-[A-Za-z]")
_ESCAPED = re.compile(r"[\\\"'#@%]|[^\x20-\x7e]")


@dataclass(frozen=True)
class CommandLine:
    """What a user asked for.

    Attributes:
        run_id: what is run, or the network that is exported; "" where that is not known.
        texts: id -> its value as typed, None where no value followed.
        others: ids that a file of arguments sets (``--args_file``).
        files: the configs, in their order.
        is_export: whether a network is exported, or verified, and nothing run.
    """

    run_id: str = ""
    texts: Mapping[str, str | None] = field(default_factory=dict)
    others: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()
    is_export: bool = False

    @property
    def ids(self) -> list[str]:
        """All ids that are set, in their order."""
        return [*self.texts, *sorted(self.others.difference(self.texts))]


def monai_command_line(arguments: Sequence[str] | None = None) -> CommandLine:
    """Return what ``python -m monai.bundle`` was told to run or export; of any other program, that nothing is known.

    Args:
        arguments: with the program's name first; None for those of the process.
    """
    program, *words = sys.argv if arguments is None else arguments
    is_monai = program == "monai.bundle" or Path(program).parts[-3:] == ("monai", "bundle", "__main__.py")
    if not is_monai or not words or words[0] not in (*_RUNS, *_EXPORTS):
        return CommandLine()
    positional, texts = as_fire_splits(words[1:])
    filed = _arguments_in(texts.get("args_file"))
    if words[0] in _EXPORTS:
        return _export_line(words[0], positional, texts, filed)
    first = positional[0] if positional and words[0] == "run" else None
    run_id = texts.get("run_id") or first or filed.get("run_id") or "run"
    others = frozenset(map(_as_id, filed))
    own = {key: text for key, text in texts.items() if key not in _OF_MONAI}
    files = read_value(texts["config_file"]) if texts.get("config_file") else filed.get("config_file", ())
    files = [files] if isinstance(files, str) else files
    return CommandLine(str(run_id), own, others.difference(_OF_MONAI), tuple(map(str, files)))


def _export_line(
    command: str, positional: Sequence[str], texts: Mapping[str, str | None], filed: Mapping[str, Any]
) -> CommandLine:
    from monai import bundle

    own = {*inspect.signature(getattr(bundle, command)).parameters, *_READ_BY_MONAI}
    net_id = texts.get("net_id") or (positional[0] if positional else None) or filed.get("net_id") or "network_def"
    others = frozenset(key for key in map(_as_id, filed) if key.partition("#")[0] not in own)
    own_texts = {key: text for key, text in texts.items() if key.partition("#")[0] not in own}
    return CommandLine(str(net_id), own_texts, others, is_export=True)


def _as_id(key: str) -> str:
    return key.lstrip("+").replace("::", "#")


def _arguments_in(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    from monai.bundle import ConfigParser  # commands that are not MONAI's do without torch

    return ConfigParser.load_config_file(str(DefaultParseValue(file)))


def as_fire_splits(words: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Return the words without a name, and name -> text of the others, as Fire tells them apart."""
    if "--" in words:  # what follows the last one is for Fire itself
        words = words[: len(words) - 1 - list(reversed(words)).index("--")]
    positional: list[str] = []
    named: dict[str, str | None] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not _FLAG.match(word):
            positional.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        key = _as_id(name.replace("-", "_"))
        if equals:
            named[key] = value
        elif waiting and not _FLAG.match(waiting[0]):
            named[key] = waiting.pop(0)
        elif key.startswith("no"):
            named[key[2:]] = "False"
        else:
            named[key] = None
    return positional, named


def read_value(text: str | None) -> Any:
    """Return what Fire makes of the text of a value; True where none follows."""
    return True if text is None else DefaultParseValue(text)


def is_read_otherwise(text: str) -> bool:
    """Tell whether Fire loses a part of a text: a comment, brackets, blanks, or another form of its letters."""
    value = DefaultParseValue(text)
    if isinstance(value, str):
        return value != text and (text[:1] not in "'\"" or _has_comment(text))
    return _has_comment(text)


def _has_comment(text: str) -> bool:
    if "#" not in text or DefaultParseValue(text) == text:
        return False
    return any(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(text).readline))


def as_kept(text: str) -> str:
    """Return a text as it must stand in a config, or on the command line, for MONAI to keep it.

    Args:
        text: any; most come back as they are, others as an expression.
    """
    if not (text.startswith(("$", "@", "%")) or "#" in text or "::" in text):
        return text
    return '$"' + _ESCAPED.sub(_escaped, text) + '"'


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def spelling(key: str, text: str, path: bool) -> str:
    """Return the words of a command line that give an id a text as it stands.

    Args:
        key: the id.
        text: what it should be.
        path: whether it is a path, to which ``./`` may be added.
    """
    if path and not Path(text).is_absolute() and "#" not in text and "::" not in text:
        value = f"./{text}"
    elif as_kept(text) != text:
        value = as_kept(text)
    elif DefaultParseValue(text) == text:
        value = text
    else:
        value = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"--{key} {shlex.quote(value)}"
