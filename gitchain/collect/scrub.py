"""Remove secrets from the command lines that statements record.

Hidden: the value of options and variables that are named like a secret (`--token x`, `API_KEY=x`), user and
password in URLs, and the well-known shapes of keys (AWS, GitHub, GitLab, Hugging Face, Slack, OpenAI, JWT,
PEM). A best effort: secrets belong into the environment, which is never recorded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "***"

_WORD = r"(?:(?:api|access|private)[-_]?key|secret|token|passw(?:or)?d|pwd|credentials?|auth|bearer)"
_NAME = re.compile(rf"(?i)(?:^|[-_.]|(?<=[a-z])(?=[A-Z])){_WORD}(?:[-_.](?:id|key|value|json|base64))?$")
_ASSIGNED = re.compile(
    r"""(?P<name>[A-Za-z_][\w.-]{0,100})(?P<mark>=|:\s+)(?P<value>"[^"]*"|'[^']*'|[^\s"'&;|]+)"""
)
_OPTION = re.compile(
    r"""(?P<name>--?[A-Za-z][\w.-]{0,100})(?P<mark>\s+)(?P<value>"[^"]*"|'[^']*'|[^\s"'&;|-][^\s"'&;|]*)"""
)
_URL_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^/@\s\"']*@")
_SIGNED = re.compile(
    r"(?i)([?&](?:sig|signature|token|key|password|secret|x-amz-[a-z-]+|access_token|code)=)[^&\s\"'#]+"
)
_HEADER = re.compile(r"(?i)\b(authorization\s{0,20}[:=]\s{0,20}(?:bearer|basic|token)?\s{0,20})[^\s\"']+")
_SHAPES = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|hf_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|AIza[0-9A-Za-z_-]{30,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)


def scrub_command(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command line with everything that looks like a secret replaced by `***`."""
    scrubbed: list[str] = []
    hide = False
    for argument in argv:
        if hide and not argument.startswith("-"):
            scrubbed.append(HIDDEN)
            hide = False
            continue
        hide = argument.startswith("-") and "=" not in argument and is_secret(argument)
        scrubbed.append(scrub_text(argument))
    return tuple(scrubbed)


def scrub_text(text: str) -> str:
    """Return one argument or a shell command with everything that looks like a secret replaced by `***`."""
    text = _SHAPES.sub(HIDDEN, text)
    text = _URL_USER.sub(rf"\1{HIDDEN}@", text)
    text = _SIGNED.sub(rf"\1{HIDDEN}", text)
    text = _HEADER.sub(rf"\1{HIDDEN}", text)
    text = _ASSIGNED.sub(_hide_value, text)
    return _OPTION.sub(_hide_value, text)


def _hide_value(found: re.Match[str]) -> str:
    if not is_secret(found["name"]):
        return found[0]
    return f"{found['name']}{found['mark']}{HIDDEN}"


def is_secret(name: str) -> bool:
    """Return whether an option, variable or key is named like a secret."""
    return _NAME.search(name.lstrip("-")) is not None
