"""Shows functions as they are called and models as tables, in the reference.

A definition under `@query` or `@operation` takes its parameters and answers a `Statement` or
`Steps`; what a user calls takes the connection first and answers what they hold. A model is its
fields: one row each, and not one heading each.
"""

from __future__ import annotations

from typing import Any

from griffe import (
    Attribute,
    Class,
    Docstring,
    Expr,
    ExprName,
    ExprSubscript,
    Extension,
    Function,
    Parameter,
    ParameterKind,
    Parameters,
)

_MAKERS = {"query", "operation"}
_WRAPPERS = {"Statement", "Steps"}


class CallSignatures(Extension):
    """Gives each function of a connection the signature of its calls, each model a table."""

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Put the fields into the text, as a table."""
        fields = [
            member
            for member in cls.members.values()
            if isinstance(member, Attribute)
            and member.annotation is not None
            and member.is_public
            and "instance-attribute" in member.labels
        ]
        if not fields:
            return
        rows = [f"| `{each.name}` | `{_type(each)}` | {_text(each)} |" for each in fields]
        table = "\n".join(["| field | type | |", "| --- | --- | --- |", *rows])
        text = cls.docstring.value if cls.docstring else ""
        cls.docstring = Docstring(f"{text}\n\n{table}", parent=cls)
        for member in list(cls.members.values()):
            if isinstance(member, Attribute):
                cls.del_member(member.name)

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Add `conn`, and unwrap what is answered."""
        decorators = {str(each.value).partition("(")[0] for each in func.decorators}
        if not decorators & _MAKERS:
            return
        conn = Parameter(
            "conn",
            annotation=ExprName("Connection | AsyncConnection"),
            kind=ParameterKind.positional_or_keyword,
        )
        func.parameters = Parameters(conn, *func.parameters)
        func.returns = _unwrapped(func.returns)
        # Decorators say how it is made, which is not the caller's business.
        func.decorators = []


def _unwrapped(returns: str | Expr | None) -> str | Expr | None:
    if isinstance(returns, ExprSubscript) and str(returns.left) in _WRAPPERS:
        return returns.slice
    return returns


def _type(field: Attribute) -> str:
    return str(field.annotation)


def _text(field: Attribute) -> str:
    return " ".join(field.docstring.value.split()) if field.docstring else ""
