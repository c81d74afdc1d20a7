"""Secrets in text, found by named patterns: passwords, tokens, keys, credentials in URLs. Pure.

Not a search for what looks random: build-ids, hashes and symbols do, too. A name counts as a whole (the
last word of ``DB_PASSWORD``, ``accessToken``), so ``tokenizer=``, ``keyboard:`` and ``--password-file``
are left alone, and so is what a message says about a secret (``invalid token: '}'``, ``password ==
NULL``): a report that hides the cause is worth nothing. docs/secrets.md lists the patterns.

Time is linear in the length of the text: every scan is consumed, bounded, or anchored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

REDACTED = "[redacted]"

_NAME_MAX = 64
_CHUNK = 256
"""How much of a value is looked at to decide whether it is one."""
_CAMEL = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+"
_PASSWORDS = ("password", "passwd", "passphrase", "pwd")
_SECRETS = (
    *_PASSWORDS, "secret", "token", "apikey", "accesskey", "secretkey", "privatekey", "authkey",
    "sshpass",
)  # fmt: skip
"""A word that ends so is a secret's name: PGPASSWORD, authtoken."""
_WHOLE_WORDS = ("pass", "requirepass", "passin", "passout", "jwt", "credential", "credentials")
_BEFORE_KEY = frozenset((
    "api", "access", "secret", "private", "signing", "encryption", "master", "auth", "account",
    "shared", "storage",
))  # fmt: skip
_BEFORE_AUTH = frozenset(("rediscli", "docker", "registry", "basic"))
_QUESTIONS = frozenset((
    "no", "ask", "use", "without", "show", "skip", "disable", "enable", "require", "prompt",
    "has", "is", "check", "allow", "need", "with",
))  # fmt: skip
"""``--ask-password``, ``no_token``: whether there is one, not what it is."""
_IN_QUERIES = frozenset(("sig", "signature"))
"""Secret in a query only: elsewhere "signature" is what crashes have in common."""
_WORKING_DIRECTORIES = ("PWD", "OLDPWD")
_NO_VALUES = frozenset((
    "null", "nil", "none", "undefined", "true", "false", "yes", "no", "on", "off", "empty",
    "unset", "required", "missing", "string", "str", "bytes", "char", "int",
))  # fmt: skip
_SAID_OF_PASSWORDS = frozenset((
    "incorrect", "invalid", "wrong", "expired", "empty", "is", "was", "must", "cannot", "too",
    "does", "has", "not", "for", "the", "failed", "denied", "changed", "rejected", "mismatch",
    "authentication", "access", "permission", "error", "bad", "no", "please", "enter", "expected",
    "unexpected", "length",
))  # fmt: skip
"""What messages say after "password:"."""
_CORE_HINTS = (
    "pass", "pwd", "secret", "token", "key", "credential", "jwt", "auth", "sig=", "signature=",
)  # fmt: skip
"""Without any of them, no pattern is even compiled: most texts of a report have none."""
_TOKEN_HINTS = (
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "AKIA", "ASIA", "xox",
    "xapp-", "sk-", "k_live_", "k_test_", "whsec_", "AIza", "ya29.", "GOCSPX-", "eyJ", "npm_",
    "pypi-", "hf_", "o_v1_", "SG.", "hvs.", "hvb.", "dapi", "AGE-SECRET", "hooks.slack",
)  # fmt: skip
_WITHOUT_DASHES = str.maketrans("", "", "-_.")
_AUTHORITY = re.compile(r"""[^\s"'<>`/?#]*""")
_RUN = re.compile(r"""[^\s"'<>`]{0,2048}""")
_OPTION = re.compile(r"-[A-Za-z]|--[A-Za-z][A-Za-z-]*(?:=.*)?", re.DOTALL)
_POINTER = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
_COUNT = re.compile(r"-?[0-9]{1,6}(?:\.[0-9]{1,3})?[a-z%]{0,2}")


def redact_text(text: str, *, is_command: bool = False) -> str:
    """``text`` with ``[redacted]`` for each secret; the names of the secrets stay.

    ``is_command``: it is a shell's command rather than a message, so ``--password word`` is one.
    """
    if len(text) < 6:
        return text
    if "-----BEGIN " in text:
        text = _redact_pem(text)
    if "://" in text and "@" in text:
        text = _redact_urls(text)
    if any(hint in text for hint in _TOKEN_HINTS):
        text = _tokens().sub(_replace_token, text)
    lower = text.lower()
    if "bearer" in lower or "authorization" in lower or "cookie" in lower:
        text = _headers().sub(_replace_header, text)
        lower = text.lower()
    if any(hint in lower for hint in _CORE_HINTS):
        text = _redact_assignments(text, is_command=is_command)
    return text


def redact_arguments(words: Iterable[str]) -> list[str]:
    """A command line: also ``--password WORD``, and the whole word after ``TOKEN=``."""
    redacted: list[str] = []
    is_value = False
    before = ""
    for word in words:
        if is_value and not _OPTION.fullmatch(word) and not _is_no_value(before, word):
            shown = word if word.startswith(REDACTED) else REDACTED
        else:
            shown = _redact_argument(word, is_script=before in ("-c", "/c", "-Command"))
        redacted.append(shown)
        name = word.lstrip("-/")
        is_value = word[:1] in ("-", "/") and len(name) <= _NAME_MAX and is_secret_name(name)
        before = word
    return redacted


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether what has this name is secret: an option, a variable, a key of JSON, a header."""
    words = [word.lower() for word in re.findall(_CAMEL, name[-_NAME_MAX:])]
    if not words or name.strip("-_") in _WORKING_DIRECTORIES or words[0] in _QUESTIONS:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "key":
        return before in _BEFORE_KEY
    if last == "auth":
        return before in _BEFORE_AUTH
    return last in _WHOLE_WORDS or last.endswith(_SECRETS)


def redact_value(name: str, value: str) -> str:
    """A value that is not part of a text, such as one of JSON."""
    if is_secret_name(name) and not _is_no_value(name, value):
        return value if value.startswith(REDACTED) else REDACTED
    return redact_text(value)


def _redact_argument(word: str, *, is_script: bool) -> str:
    name, equals, value = word.partition("=")
    is_assignment = bool(equals) and name.translate(_WITHOUT_DASHES).isalnum()
    if word.startswith("/") and not is_assignment:  # Windows: /password:x
        name, equals, value = word.partition(":")
        is_assignment = bool(equals) and name[1:].isalnum()
    is_secret = is_assignment and len(name) <= _NAME_MAX and is_secret_name(name)
    if is_secret and not is_script and not _is_no_value(name, value):
        return word if value.startswith(REDACTED) else name + equals + REDACTED
    return redact_text(word, is_command=True)


def _redact_pem(text: str) -> str:
    """The body of a private key, up to its end or, if it was cut, to the end of the text."""
    return re.sub(
        r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)"
        r"(?=(?:\s|\\n|\\r){0,8}(?:[A-Za-z0-9+/=]{16}|[A-Za-z-]{4,12}:))"
        r"(?:(?!-----END ).)*",
        rf"\1{REDACTED}",
        text,
        flags=re.DOTALL,
    )


def _redact_urls(text: str) -> str:
    """``scheme://user:password@host``."""
    parts, at = [], 0
    while (mark := text.find("://", at)) >= 0:
        start = mark + 3
        authority = _match(_AUTHORITY, text, start)
        if "@" not in authority and _has_raw_password(authority):
            authority = _match(_RUN, text, start)  # the password contains a /
        user, colon, _ = authority.partition(":")
        end = authority.rfind("@")
        if colon and end > len(user) and not authority.startswith("["):
            parts += [text[at : start + len(user) + 1], REDACTED]
            at = start + end
        else:
            parts.append(text[at:start])
            at = start
    return "".join((*parts, text[at:]))


def _match(pattern: re.Pattern[str], text: str, at: int) -> str:
    match = pattern.match(text, at)
    return match[0] if match else ""


def _has_raw_password(authority: str) -> bool:
    _, colon, port = authority.partition(":")
    return bool(colon) and not port.isdigit() and "[" not in authority


@lru_cache(maxsize=1)
def _tokens() -> re.Pattern[str]:
    """Tokens that their maker's prefix makes certain."""
    return re.compile(
        r"(?<![A-Za-z0-9])(?P<keep>"
        r"gh[pousr]_(?=[A-Za-z0-9]{16})|github_pat_(?=\w{20})|glpat-(?=[\w-]{16})|"
        r"(?:AKIA|ASIA)(?=[A-Z0-9]{16}(?![A-Za-z0-9]))|"
        r"xox[a-z]-(?=[\w-]{10})|xapp-(?=[\w-]{10})|hooks\.slack\.com/services/(?=\w{6})|"
        r"sk-(?=[\w-]{16})|[srp]k_(?:live|test)_(?=[A-Za-z0-9]{10})|whsec_(?=[A-Za-z0-9+/]{16})|"
        r"AIza(?=[\w-]{35})|ya29\.(?=[\w-]{16})|GOCSPX-(?=[\w-]{20})|"
        r"npm_(?=[A-Za-z0-9]{30})|pypi-(?=[\w-]{32})|hf_(?=[A-Za-z0-9]{20})|"
        r"do[opr]_v1_(?=[a-f0-9]{32})|SG\.(?=[\w-]{16,32}\.)|hv[sb]\.(?=[\w-]{20})|"
        r"dapi(?=[a-f0-9]{32})|AGE-SECRET-KEY-(?=[A-Z0-9]{20})|"
        r"(?<![\w-])eyJ(?=[\w-]{8,4096}\.eyJ))"
        r"(?P<rest>[\w./+=-]+)"
    )


def _replace_token(match: re.Match[str]) -> str:
    prefix, rest = match["keep"], match["rest"]
    if prefix == "sk-" and not any(c.isdigit() for c in rest):
        return match[0]  # sk-learn-contrib-something
    return prefix + REDACTED


@lru_cache(maxsize=1)
def _headers() -> re.Pattern[str]:
    return re.compile(
        r"""(?i)(?<![a-z0-9])(?P<keep>(?P<name>(?:proxy-)?authorization|(?:set-)?cookie)"""
        r"""[\\"']{0,3}[ \t]{0,3}[:=][ \t]{0,3}[\\"']{0,3}"""
        r"""(?P<scheme>(?:bearer|basic|digest|negotiate|ntlm|token|apikey)[ \t]{1,3})?"""
        r"""|bearer[ \t]{1,3})"""
        r"""(?P<rest>(?<=digest )[^\r\n]+|[^\s"'\\][^"'\r\n\\]*)"""
    )


def _replace_header(match: re.Match[str]) -> str:
    rest, name = match["rest"], (match["name"] or "bearer").lower()
    first = rest.split(None, 1)[0]
    if rest.startswith(REDACTED):
        return match[0]
    if name == "bearer":  # in a text: only the word after it
        first = first.rstrip(".,;)")
        is_token = _looks_random(first)
        return match["keep"] + REDACTED + rest[len(first) :] if is_token else match[0]
    if "cookie" in name:
        return match["keep"] + REDACTED if "=" in first else match[0]
    if (match["scheme"] or "").lower().startswith("digest") and "=" in first:
        return match["keep"] + REDACTED
    if match["scheme"] and (_looks_random(first) or first == rest):
        return match["keep"] + REDACTED + rest[len(first) :]
    return match["keep"] + REDACTED if _looks_random(first) else match[0]


@lru_cache(maxsize=1)
def _assignments() -> re.Pattern[str]:
    """The last word of a name, and what separates it from its value."""
    return re.compile(
        r"(?i)(?:passw(?:or)?d|passphrase|passin|passout|pass|pwd|secret|token|key|credentials?|jwt"
        r"|auth|sig(?:nature)?)[0-9]{0,3}"
        r"""(?P<sep>[\\"'\]]{0,4}[ \t]{0,3}(?:=>|:=|=(?![=~])|:(?![:/]))[ \t]{0,3}"""
        r"""|[ \t]{1,3}(?=[^\s=:-]))"""
    )


def _redact_assignments(text: str, *, is_command: bool) -> str:
    pattern = _assignments()
    parts, copied, at = [], 0, 0
    while (match := pattern.search(text, at)) is not None:
        at = match.end()
        name = _read_name(text, match.start(), match.start("sep"))
        if not _names_secret(text, name, match.start("sep")):
            continue
        separator = match["sep"]
        is_pair = not separator.strip()
        if is_pair and not name.startswith("-"):
            continue
        opening = re.match(r"""\\{0,3}["']""", text[at : at + 4])
        start = at + opening.end() if opening else at
        chunk = _read_chunk(text, start, opening[0] if opening else "")
        if not _is_value(
            name,
            chunk,
            is_sure=_is_sure(separator, bool(opening), is_command),
            is_quoted=bool(opening),
        ):
            continue
        end = _find_end(text, start, opening[0] if opening else "")
        parts += [text[copied:start], REDACTED]
        copied = at = max(end, start)
    return "".join((*parts, text[copied:])) if parts else text


def _read_name(text: str, word_start: int, end: int) -> str:
    """The whole name that ends there, with its dashes."""
    start = max(0, word_start - _NAME_MAX)
    head = text[start:word_start]
    length = len(head)
    while length and (head[length - 1].isalnum() or head[length - 1] in "_-."):
        length -= 1
    return head[length:] + text[word_start:end]


def _names_secret(text: str, name: str, end: int) -> bool:
    before = text[end - len(name) - 1 : end - len(name)] if end > len(name) else ""
    if before in ("?", "&"):
        word = re.split("[-_.]", name.lower())[-1]
        if word in _IN_QUERIES:
            return True
    return is_secret_name(name)


def _read_chunk(text: str, start: int, opening: str) -> str:
    """The beginning of a value: enough to tell whether it is one."""
    window = text[start : start + _CHUNK]
    if opening:
        return window.split(opening, 1)[0]
    return window[: _unquoted_length(window)]


_STOP = re.compile(
    r"""[\s"'<>`]|[,;&](?=\s|$|[\w. -]{1,40}=)|[)\]}](?=\s|$|[.,;:)\]}])|\\[nrt](?![\w+/])"""
)


def _unquoted_length(window: str) -> int:
    if window.startswith(REDACTED):
        return len(REDACTED)
    stop = _STOP.search(window)
    return stop.start() if stop else len(window)


def _find_end(text: str, start: int, opening: str) -> int:
    if not opening:
        if text.startswith(REDACTED, start):
            return start + len(REDACTED)
        stop = _STOP.search(text, start)
        return stop.start() if stop else len(text)
    end = text.find(opening, start)
    while end > 0 and len(opening) == 1 and text[end - 1] == "\\":  # an escaped quote
        end = text.find(opening, end + 1)
    if end < 0:
        end = text.find("\n", start)
    return end if end >= 0 else len(text)


def _is_sure(separator: str, is_quoted: bool, is_command: bool) -> bool:
    """The notation is that of an assignment; else a message may speak about the secret."""
    if separator[:1] in "\\\"']" or separator == "=":
        return bool(separator)
    if not separator.strip():
        return is_command
    return "=" in separator and (is_quoted or is_command)


def _is_value(name: str, value: str, *, is_sure: bool, is_quoted: bool) -> bool:
    if _is_no_value(name, value):
        return False
    if not is_quoted and re.fullmatch(r"[A-Za-z_][\w.:>-]{0,80}\(.{0,100}\)?;?", value):
        return False  # token = next_token(input)
    if is_sure:
        return True
    plain = value.strip(".,;:!?()").lower()
    if name.lower().endswith(_PASSWORDS) and not name.startswith("-"):
        return bool(plain) and plain not in _SAID_OF_PASSWORDS
    return _looks_random(value)


def _is_no_value(name: str, value: str) -> bool:
    """Nothing, a variable, a number that counts, a pointer, a file's path."""
    if not value or value.startswith(REDACTED):
        return True
    if len(value) >= _CHUNK:
        return False
    if value.lower().strip("()") in _NO_VALUES or value.startswith("$") or not value.strip("*.%-"):
        return True
    if (value[0], value[-1]) in (("<", ">"), ("%", "%")) or _POINTER.fullmatch(value):
        return True
    lower = name.lower()
    if _COUNT.fullmatch(value) and not lower.endswith((*_PASSWORDS, "secret")):
        return True
    is_file = lower.endswith(("credential", "credentials", "key", "pwd")) and len(value) != 40
    return is_file and bool(re.fullmatch(r"(?:[/~.]|[A-Za-z]:[\\/])[\w./\\ :~-]*", value))


def _looks_random(value: str) -> bool:
    """Long enough, and not a word of a sentence."""
    return len(value) >= 24 or (
        len(value) >= 6 and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    )
