"""The programs of `examples/` import each other as Python finds them when one of them is run."""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"

sys.path.insert(0, str(EXAMPLES))
