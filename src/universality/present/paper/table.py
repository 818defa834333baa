"""A table of numbers, and how it is written: for typst, LaTeX and Markdown."""

from dataclasses import dataclass

from universality.core.numbers import NOT_HERE, AllMetrics, Number

Cell = str | Number


@dataclass(frozen=True)
class Table:
    """A table; rows whose numbers do not exist under these parameters are left out."""

    name: str
    caption: str
    header: list[str]
    rows: list[list[Cell]]
    align: str = ""
    """`l` or `r` for each column; the first left and the others right if empty."""
    keep_empty: bool = False
    """Keep rows without a number."""

    def columns(self) -> str:
        """Return the alignment of each column."""
        return self.align or "l" + "r" * (len(self.header) - 1)

    def addresses(self) -> list[str]:
        """Return the addresses of all numbers in it."""
        numbers = [cell for row in self.rows for cell in row if isinstance(cell, Number)]
        return [address for number in numbers for address in number.addresses]

    def texts(self, metrics: AllMetrics) -> list[list[str]]:
        """Return the cells as text."""
        written = []
        for row in self.rows:
            cells = [cell.text(metrics) if isinstance(cell, Number) else cell for cell in row]
            numbers = [
                text for cell, text in zip(row, cells, strict=True) if isinstance(cell, Number)
            ]
            if self.keep_empty or not numbers or any(text != NOT_HERE for text in numbers):
                written.append(cells)
        return written


def as_json(table: Table, metrics: AllMetrics) -> dict[str, object]:
    """Return what `tab` of paper/lib.typ reads."""
    return {
        "caption": table.caption,
        "header": table.header,
        "align": table.columns(),
        "rows": table.texts(metrics),
        "addresses": table.addresses(),
    }


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "−": "$-$", "–": "--", "×": r"$\times$", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "²": r"$^2$", "→": r"$\to$",
}  # fmt: skip


def escape_tex(text: str) -> str:
    """Return text as LaTeX prints it."""
    return "".join(_TEX.get(letter, letter) for letter in text)


def as_tex(table: Table, metrics: AllMetrics) -> str:
    r"""Return a `table` environment; it needs `\usepackage{booktabs}`."""

    def line(cells: list[str]) -> str:
        return " & ".join(escape_tex(cell) for cell in cells) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_tex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{table.columns()}}}",
            r"\toprule",
            line(table.header),
            r"\midrule",
            *[line(row) for row in table.texts(metrics)],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def as_markdown(table: Table, metrics: AllMetrics) -> str:
    """Return the table in GitHub's Markdown, its caption below."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"

    rule = "|" + "|".join("---:" if side == "r" else "---" for side in table.columns()) + "|"
    lines = [line(table.header), rule, *[line(row) for row in table.texts(metrics)]]
    return "\n".join([*lines, "", table.caption, ""])
