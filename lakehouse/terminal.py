"""Texts of others on a terminal: no character of theirs steers it, and nothing in them is taken for markup."""


def visible(text: object, keep: str = "") -> str:
    """The text with every control character as it is written in code; those in `keep` stay."""
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in str(text))


def shown(text: object) -> str:
    """The same for rich, which reads markup; lines stay lines."""
    from rich.markup import escape

    return escape(visible(text, keep="\n"))
