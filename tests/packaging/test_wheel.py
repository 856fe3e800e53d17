"""What users install is not this checkout: the archives are built, installed and used."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import psycopg
import pytest

from logins import apply_roles
from runstore.embedded import Server

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]

USE_IT = """
import sys
import psycopg
import runstore

print(runstore.__file__)
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    run = runstore.create_feature_run(conn, runstore.NewFeatureRun(name="x"))
    assert runstore.get_run(conn, run.id).name == "x"
    assert runstore.check_schema(conn).ok
"""


def relative_files(folder: str, *patterns: str) -> set[str]:
    """Name what the checkout has, as the archives name it."""
    found = (path for pattern in patterns for path in (ROOT / folder).rglob(pattern))
    return {path.relative_to(ROOT).as_posix() for path in found}


def secured_tables(server: Server, dbname: str) -> int:
    with psycopg.connect(server.dsn(dbname)) as conn:
        return len(
            conn.execute("SELECT FROM pg_class WHERE relrowsecurity AND relkind = 'r'").fetchall()
        )


def test_the_sdist_has_what_builds_and_tests_it(archives: Path) -> None:
    [sdist] = archives.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    sources = relative_files("src", "*.py") | relative_files("tests", "*.py")
    statements = relative_files("sql", "*.sql") | relative_files("migrations", "*.sql")
    assert {
        "pyproject.toml",
        "LICENSE",
        "scripts/roles.sql",
        "scripts/test",
    } | sources | statements <= names


def test_the_wheel_has_the_package_and_its_sql_and_nothing_else(archives: Path) -> None:
    [wheel] = archives.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    package = relative_files("src", "*.py", "*.sql", "py.typed", "*.jinja", "*.css", "*.js")
    statements = relative_files("sql", "*.sql") | relative_files("migrations", "*.sql")
    assert "migrations/tenants/runstore-tenants-0001-isolate-tenants.sql" in statements
    assert names == {name.removeprefix("src/") for name in package} | {
        "runstore/roles.sql",
        *(f"runstore/{name}" for name in statements),
    }
    assert "runstore/py.typed" in names


def test_the_installed_wheel_migrates_a_database_and_works_on_it(
    archives: Path, tmp_path: Path, server: Server, empty_dbname: str
) -> None:
    [wheel] = archives.glob("*.whl")
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"

    def run(*arguments: str) -> str:
        # Isolated (-I), and away from the checkout, so that only what is installed is found.
        done = subprocess.run(
            [python, "-I", *arguments], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel))
    # Dependencies come from the environment that runs the tests. A path file is not followed to
    # further path files, so the editable install there stays out of sight.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment / "lib" / version / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    database = ("--database", server.yoyo_url(empty_dbname))
    source = "package:runstore:migrations"
    run("-m", "yoyo", "apply", "--batch", "--no-config-file", *database, source)
    imported = run("-c", USE_IT, server.dsn(empty_dbname))
    assert secured_tables(server, empty_dbname) == 0

    # What is optional comes when it is asked for.
    run(
        "-m", "yoyo", "apply", "--batch", "--no-config-file", *database, source, f"{source}/tenants"
    )
    run("-c", USE_IT, server.dsn(empty_dbname))
    assert secured_tables(server, empty_dbname) > 0
    apply_roles(server.dsn(empty_dbname), packages / "runstore" / "roles.sql")

    assert Path(imported.strip()).is_relative_to(packages)
