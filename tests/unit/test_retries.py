import psycopg
import pytest
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    Retry,
    is_retryable,
    open_pool,
    run_transaction,
)
from runstore.retries import _pause_after  # pyright: ignore[reportPrivateUsage]

pytestmark = pytest.mark.once

# What the server's codes say stands in docs/reliability.md, and its test asks for each.


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), Retry.UNKNOWN),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), Retry.SAFE),
        (PoolTimeout("no connection in time"), Retry.SAFE),
        (TooManyRequests("the queue is full"), Retry.SAFE),
        (PoolClosed("the pool is closed"), Retry.NO),
        (psycopg.ProgrammingError("the client's own"), Retry.NO),
        (psycopg.InterfaceError("the client's own"), Retry.NO),
        (Conflict("another row stands in the way"), Retry.NO),
        (InvalidTransition("run", "of yesterday", "completed"), Retry.NO),
        (InvalidPayload("name", "is empty"), Retry.NO),
        (KeyError("the application's own"), Retry.NO),
        (KeyboardInterrupt(), Retry.NO),
    ],
    ids=repr,
)
def test_an_error_without_a_code_says_it_too(error: BaseException, retry: Retry) -> None:
    assert is_retryable(error) is retry


def test_a_connection_that_could_not_be_had_is_safe_to_ask_for_again() -> None:
    with pytest.raises(psycopg.OperationalError) as raised:
        psycopg.connect("host=/nowhere")
    assert is_retryable(raised.value) is Retry.SAFE


def test_no_alone_is_false() -> None:
    assert [retry.value for retry in Retry if retry] == ["safe", "unknown"]
    assert not Retry.NO


def test_less_than_one_attempt_is_refused() -> None:
    with (
        open_pool("host=/nowhere", min_size=0) as pool,
        pytest.raises(InvalidPayload) as raised,
    ):
        run_transaction(pool, lambda _: NewChatRun(), attempts=0)
    assert raised.value.path == "attempts"


def test_pauses_are_random_and_end() -> None:
    for attempt in range(1, 40):
        pauses = {_pause_after(attempt) for _ in range(20)}
        assert len(pauses) == 20
        assert 0 <= min(pauses) <= max(pauses) <= min(2.0, 0.05 * 2 ** (attempt - 1))
