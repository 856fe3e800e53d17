"""Query files of an application's own, made like ours.

`parse` reads a file of named queries. `@query` turns a definition that binds parameters into a
function of either kind of connection; `get`, `many` and `page` make its statement, and
`Statement` itself where the answer has another form. `Input` validates what comes in, `Row` is
what comes out. `runstore.testing` proves that queries, functions and models fit the schema.
"""

from ._models import Input, Page, Row
from ._pages import page
from ._query import Statement, Steps, operation, query, reads
from ._sql import Sql, parse
from ._statements import get, many, one, transition

__all__ = [
    "Input",
    "Page",
    "Row",
    "Sql",
    "Statement",
    "Steps",
    "get",
    "many",
    "one",
    "operation",
    "page",
    "parse",
    "query",
    "reads",
    "transition",
]
