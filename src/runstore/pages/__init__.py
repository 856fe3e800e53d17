"""Pages: a run, or a subject's usage, as one self-contained HTML file.

They show what is recorded to a person who has no access to the database. A page works offline,
in light and dark, by keyboard and on paper. Nothing in a payload can run in it: every value is
escaped, and the page's own policy (Content-Security-Policy) allows no script but its own.

The extra `runstore[html]` brings what they need.
"""

try:
    from ._run_page import render_run_page
    from ._usage_page import render_usage_page
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"runstore.pages needs {error.name}: pip install 'runstore[html]'", name=error.name
    ) from None

__all__ = ["render_run_page", "render_usage_page"]
