"""Finds in a typst source what no section of the paper may have.

These are numbers typed by hand (digits of the text itself, not of code), sentences outside
`#finding` that compare numbers, and sentences with too many numbers.
"""

import re

ASIDE = re.compile(
    r"//[^\n]*|`[^`]*`|<[\w:./-]+>|@[\w:./-]+|\b(?:L[01]|[Ss]tories15M|SmolLM2(?:-135M)?)\b"
)
"""Comments, raw text, labels, references; the norms L0 and L1, names of models."""
CODE = re.compile(r"#(let|for|if|show|set|import|include)\b|#[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
COMPARED = re.compile(r"[<>]=?\s*$")
CLOSING = {"(": ")", "[": "]", "{": "}"}

NUMBERS = {
    "n", "pct", "count", "ci", "cipct", "null", "p", "vs", "ratio", "minus", "span", "med",
    "largest", "least", "avg", "of", "of-two",
}  # fmt: skip
"""The functions of lib.typ that print a number."""
NUMBER = "\N{REPLACEMENT CHARACTER}"
"""Stands for a number in text from which code has been removed."""
COMPARING = re.compile(
    r"\b(more|less|fewer|higher|lower|larger|smaller|greater|stronger|weaker|better|worse|above"
    r"|below|beyond|exceeds?|exceeded|than|twice|half|as (much|many|large|high|low|often))\b",
    re.IGNORECASE,
)
MOST_NUMBERS = 4
"""So many may be in one sentence."""
_BREAK = "\n\n"
_END = re.compile(
    rf"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bal)[.!?][*_'’”\")\]]*\s+(?=[\W_]*[A-Z]|{NUMBER})|\n\s*\n"
)


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


def comparing_sentences(source: str) -> list[str]:
    """Return the sentences that compare numbers and are no finding.

    Such a sentence prints two numbers or more, or one with its null, and has a comparing word. Any
    number in it is shown as `NUMBER`.
    """
    return [
        sentence
        for sentence in sentences(source)
        if sentence.count(NUMBER) >= 2 and COMPARING.search(sentence)
    ]


def crowded_sentences(source: str) -> list[str]:
    """Return the sentences that print more than `MOST_NUMBERS` numbers; a null counts, too."""
    return [text for text in sentences(source) if text.count(NUMBER) > MOST_NUMBERS]


def sentences(source: str) -> list[str]:
    """Return the sentences of the text, findings left out, with `NUMBER` for each number."""
    found = []
    for part in _split(_Text(source).text()):
        words = " ".join(part.split())
        if re.search(r"\w", words) or NUMBER in words:
            found.append(words)
    return found


def _split(text: str) -> list[str]:
    parts, start = [], 0
    for end in _END.finditer(text):
        parts.append(text[start : end.end()])
        start = end.end()
    return [*parts, text[start:]]


class _Text:
    """Takes the code out of a source."""

    def __init__(self, source: str):
        self._source = source
        self._at = 0
        self._numbers = set(NUMBERS)
        """With the functions of the source itself that call one of them."""

    def text(self) -> str:
        return self._markup("")

    def _here(self) -> str:
        return self._source[self._at : self._at + 1]

    def _match(self, pattern: str | re.Pattern[str]) -> re.Match[str] | None:
        return re.compile(pattern).match(self._source, self._at)

    def _markup(self, end: str) -> str:
        """Read markup until `end`."""
        text: list[str] = []
        while self._here():
            if end and self._here() == end:
                self._at += 1
                break
            if aside := self._match(ASIDE):
                text.append("" if aside[0][0] in "/<@" else "Name")
                self._at = aside.end()
            elif self._here() == "\\":
                self._at += 2
            elif self._here() == "$":
                self._at = self._source.index("$", self._at + 1) + 1
                text.append("formula")
            elif self._here() == "#":
                text.append(self._code())
            elif self._here() == "[":
                self._at += 1
                text.append(f"[{self._markup(']')}]")
            else:
                # A heading or an item of a list begins another sentence.
                text.append(_BREAK if self._match(r"\n\s*(=+ |[-+/] )") else self._here())
                self._at += 1
        return "".join(text)

    def _code(self) -> str:
        """Read what follows a hash, and return the text in it."""
        head = self._match(CODE)
        if head is None:
            self._at += 1
            return self._arguments() if self._here() in CLOSING else ""
        self._at = head.end()
        if head[1]:
            return self._statement()
        name, inner = head[0][1:], ""
        while self._here() in ("(", "["):
            if self._here() == "(":
                inner += self._arguments()
            else:
                self._at += 1
                inner += self._markup("]")
        return _BREAK if name == "finding" else self._number(name) or inner

    def _statement(self) -> str:
        """Read to the end of the line, but for brackets."""
        start, text = self._at, _BREAK
        while self._here() not in ("", "\n"):
            text += self._piece()
        defined = re.match(r" ([\w-]+)", self._source[start : self._at])
        if defined and NUMBER in text:
            self._numbers.add(defined[1])
        return text + _BREAK

    def _arguments(self) -> str:
        end, text = CLOSING[self._here()], ""
        self._at += 1
        while self._here() != end:
            text += self._piece()
        self._at += 1
        return text

    def _piece(self) -> str:
        """Read a string, a bracket, a name or a letter of code."""
        if self._here() == '"':
            self._at = self._source.index('"', self._at + 1) + 1
        elif self._here() == "[":
            self._at += 1
            return _BREAK + self._markup("]") + _BREAK
        elif call := self._match(r"([A-Za-z_][\w-]*)(\()?"):
            self._at = call.end(1)
            if call[2] and call[1] in self._numbers:
                self._arguments()
                return self._number(call[1])
        elif self._here() in ("(", "{"):
            return self._arguments()
        else:
            self._at += 1
        return ""

    def _number(self, name: str) -> str:
        """Return what stands for what a function prints: `vs` prints a number with its null."""
        return NUMBER * (1 + (name == "vs")) if name in self._numbers else ""
