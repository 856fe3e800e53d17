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
    new_run_id,
    open_pool,
    run_transaction,
)
from runstore.retries import _pause_after  # pyright: ignore[reportPrivateUsage]

UNDONE = "40001 40P01 55P03 25006 53200 53300 57P03 08001 08004"
LOST = "08000 08003 08006 08007 08P01 57P01 57P02 57P05"
ANSWERS = "57014 25P02 25P03 25P04 23505 23503 22P02 42P01 42501 53100 58030 0A000 XX000 28P01"


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        *((code, Retry.SAFE) for code in UNDONE.split()),
        *((code, Retry.UNKNOWN) for code in LOST.split()),
        *((code, Retry.NO) for code in ANSWERS.split()),
    ],
)
def test_a_code_of_the_server_says_what_another_attempt_would_be(code: str, retry: Retry) -> None:
    try:
        error = psycopg.errors.lookup(code)("said by the server")
    except KeyError:
        # A newer server's, which psycopg does not know yet.
        error = psycopg.OperationalError("said by the server")
        error.sqlstate = code
    assert is_retryable(error) is retry


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
        (InvalidTransition("run", new_run_id(), "completed"), Retry.NO),
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
