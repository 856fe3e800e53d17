from yoyo.backends.base import DatabaseBackend as _DatabaseBackend
from yoyo.migrations import read_migrations as read_migrations

def get_backend(uri: str, migration_table: str = ...) -> _DatabaseBackend: ...
