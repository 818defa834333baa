"""Finds numbers typed by hand in a typst source: digits of the text itself, not of code."""

import re

ASIDE = re.compile(r"//[^\n]*|`[^`]*`|<[\w:./-]+>|@[\w:./-]+|\bL[01]\b")
"""Comments, raw text (names of models), labels, references; the norms L0 and L1."""
CODE = re.compile(r"#(let|for|if|show|set|import|include)\b|#[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
COMPARED = re.compile(r"[<>]=?\s*$|\bunder\((?:[^()]|\([^()]*\))*,\s*$")
CLOSING = {"(": ")", "[": "]", "{": "}"}


def typed_numbers(source: str) -> list[str]:
    """Return every number in the text, and every value in the code, with what is around it."""
    found: list[str] = []
    _markup(source, 0, "", found)
    return found


def _markup(text: str, at: int, end: str, found: list[str]) -> int:
    while at < len(text):
        if end and text[at] == end:
            return at + 1
        aside = ASIDE.match(text, at)
        if aside:
            at = aside.end()
        elif text[at] == "\\":
            at += 2
        elif text[at] == "$":
            stop = text.index("$", at + 1)
            found += re.findall(r"\d*\.\d+", text[at:stop])
            at = stop + 1
        elif text[at] == "#":
            at = _code(text, at, found)
        elif text[at].isdigit():
            stop = at + len(re.match(r"[\d.,]*", text[at:])[0])  # type: ignore[index]
            found.append(text[max(at - 20, 0) : stop + 10])
            at = stop
        elif text[at] == "[":
            at = _markup(text, at + 1, "]", found)
        else:
            at += 1
    return at


def _code(text: str, at: int, found: list[str]) -> int:
    """Read what follows a hash: a statement to its end of line, or a call with its arguments."""
    head = CODE.match(text, at)
    if head is None:
        stop = at + 1
        if text[stop] in CLOSING:
            return _arguments(text, stop, found)
        if not text[stop].isdigit():  # else it is found as text
            found.append(text[at : at + 12])
        return stop
    at = head.end()
    if head[1]:
        while at < len(text) and text[at] != "\n":
            at = _piece(text, at, found)
        return at
    while at < len(text) and text[at] in "([":
        is_text = text[at] == "["
        at = _markup(text, at + 1, "]", found) if is_text else _arguments(text, at, found)
    return at


def _arguments(text: str, at: int, found: list[str]) -> int:
    end = CLOSING[text[at]]
    at += 1
    while text[at] != end:
        at = _piece(text, at, found)
    return at + 1


def _piece(text: str, at: int, found: list[str]) -> int:
    """Read a string, a bracket, a number or a letter of code."""
    if text[at] == '"':
        stop = text.index('"', at + 1)
        if re.fullmatch(r"[.,%]*\d[\d.,%]*", text[at + 1 : stop]):
            found.append(text[at : stop + 1])
        return stop + 1
    if text[at] == "[":
        return _markup(text, at + 1, "]", found)
    if text[at] in "({":
        return _arguments(text, at, found)
    value = re.match(r"\d+\.\d+", text[at:])
    if value:
        # What a number is compared with is no result, nor is a length.
        is_length = re.match(r"pt|cm|em|fr", text[at + value.end() :])
        if not is_length and not COMPARED.search(text[:at]):
            found.append(text[max(at - 20, 0) : at + 8])
        return at + value.end()
    return at + 1
