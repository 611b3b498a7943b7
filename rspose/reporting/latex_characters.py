"""Text as LaTeX prints it, character by character."""

import re
import unicodedata

from rspose.reporting.markup import DAGGER, MISSING

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    DAGGER: r"$^\dagger$",
    MISSING: "---",
    "–": "--",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "°": r"$^\circ$",
    "²": "$^2$",
    "³": "$^3$",
    "·": r"$\cdot$",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "∆": r"$\Delta$",
    "µ": r"$\mu$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    # Greek letters that look like Latin ones have no command.
    **dict(
        zip(
            "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7\u03bf",
            "ABEZHIKMNOPTXo",
            strict=True,
        )
    ),
}
_ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0308\u030a\u0327\u030c", "`'^~\"rcv", strict=True))


def escaped(text: str) -> str:
    """``text`` so that LaTeX prints it as it stands, whichever characters it has.

    One that no font of pdfLaTeX's has is named by its number, as U+4E2D.
    """
    return re.sub(r'-(?=-)|[^ -~]|[\\~^`<>|"&%$#_{}]', lambda match: _command(match.group()), text)


def _command(character: str) -> str:
    """What LaTeX prints as ``character``."""
    if character in _COMMANDS:
        return _COMMANDS[character]
    if character.isascii() and character.isprintable():
        return "-{}" if character == "-" else f"\\{character}"  # two hyphens would join to a dash
    if character.isspace():
        return " "
    if greek := re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(character, "")):
        letter = greek[2].replace("LAMDA", "LAMBDA").lower()
        return rf"$\{letter if greek[1] == 'SMALL' else letter.capitalize()}$"
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"U+{ord(character):04X}"
