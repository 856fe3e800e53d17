"""Prove query files, and the functions that send them, against a migrated schema.

For every named query of a directory, without executing it:

- it can be prepared, and every parameter has a definite type;
- its function binds its placeholders, all of them and nothing else, and what it binds can be sent;
- its columns are the fields of the model that its rows are read into: in name, order, type and
  nullability, and where a field is a `Literal`, in the values that the column's CHECK allows;
- every query has one function, and every function one query;
- it reads our tables through indexes.

`docs/testing.md` shows how an application proves its own files. Nothing of the library imports
this package, and of it only `runstore.testing.plugin` imports pytest.
"""

from ._discovery import NamedQuery, find_queries
from ._filling import RUNSTORE_VALUES, fill
from ._proof import Problem, Prover, Unproven, prover
from ._samples import NoSample, Samples

__all__ = [
    "RUNSTORE_VALUES",
    "NamedQuery",
    "NoSample",
    "Problem",
    "Prover",
    "Samples",
    "Unproven",
    "fill",
    "find_queries",
    "prover",
]
