"""What a failed call can have cost: nothing where nothing was sent, all of it where the end is not known."""

import socket
import struct
import threading
from contextlib import contextmanager
from operator import attrgetter

import pytest

from lookahead_router.failures import Failure, failure_of
from lookahead_router.live import collect
from lookahead_router.live.endpoint import EndpointClient
from lookahead_router.live.pool import CandidateConfig
from lookahead_router.live.sent import was_free
from lookahead_router.live.waiting import wait_for


@contextmanager
def listening(answer=None):
    """A port whose connections are given to a function; without one they are never taken."""
    with socket.create_server(("127.0.0.1", 0), backlog=0 if answer is None else 8) as server:
        if answer is not None:

            def serve():
                try:
                    while True:
                        with server.accept()[0] as connection:
                            answer(connection)
                except OSError:
                    pass

            threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def read(connection):
    while b'"messages"' not in connection.recv(65536):
        pass


def hang_up(connection):
    read(connection)


def reset(connection):
    read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_an_answer(connection):
    read(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"choices"')


def nothing(connection):
    read(connection)
    connection.recv(1)  # comes back when the other side hangs up


def gateway_timeout(connection):
    read(connection)
    connection.sendall(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 2\r\n\r\n{}")


def no_http(connection):
    connection.recv(1000)
    connection.sendall(b"this is no TLS at all")


def failed(url, timeout=5.0):
    """The error of a call."""
    config = CandidateConfig(name="a", base_url=url, timeout=timeout)

    async def call():
        client = EndpointClient(config)
        try:
            await client.complete([{"role": "user", "content": "x"}], key="k")
        except Exception as error:
            return error
        finally:
            await client.close()

    return wait_for(call())


def test_a_refused_connection_costs_nothing(socket_enabled):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = failed(f"http://127.0.0.1:{port}/v1")
    assert was_free(error)
    assert failure_of(error) is Failure.CONNECTION


def test_a_connection_that_nobody_takes_costs_nothing(socket_enabled):
    with listening() as port, socket.create_connection(("127.0.0.1", port)):
        more = [socket.socket() for _ in range(2)]
        for each in more:  # as many as the port keeps waiting
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        error = failed(f"http://127.0.0.1:{port}/v1", timeout=1.0)
        for each in more:
            each.close()
    assert was_free(error)


def test_an_endpoint_that_does_not_speak_tls_costs_nothing(socket_enabled):
    with listening(no_http) as port:
        error = failed(f"https://127.0.0.1:{port}/v1")
    assert was_free(error)
    assert failure_of(error) is Failure.CONNECTION


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (hang_up, Failure.CONNECTION),
        (reset, Failure.CONNECTION),
        (half_an_answer, Failure.CONNECTION),
        (nothing, Failure.TIMEOUT),
        (gateway_timeout, Failure.TIMEOUT),
    ],
)
def test_a_request_that_was_sent_may_be_paid_whatever_then_goes_wrong(socket_enabled, answer, failure):
    with listening(answer) as port:
        error = failed(f"http://127.0.0.1:{port}/v1", timeout=1.0)
    assert not was_free(error)
    assert failure_of(error) is failure


def test_calls_that_were_never_sent_are_no_uncertain_dollars(socket_enabled, endpoint, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    pool = {"a": endpoint("a", base_url=f"http://127.0.0.1:{port}/v1"), "b": endpoint("b")}
    collected = collect([f"{n}" for n in range(4)], pool, output=tmp_path / "answers.jsonl", budget_usd=1)
    assert "cannot be reached" in collected.candidates[0].aside
    assert collected.candidates[1].n_answers == 4
    assert collected.spent.uncertain_usd == 0
    assert collected.spent.usd == pytest.approx(collected.candidates[1].cost_usd)


def test_clients_of_ones_own_say_it_by_the_types_of_their_errors():
    class Refused(Exception):
        status_code = 429

    def raised_from(error, cause):
        error.__cause__ = cause
        return error

    assert was_free(Refused())
    assert was_free(raised_from(RuntimeError(), ConnectionRefusedError()))
    assert not was_free(TimeoutError())
    assert not was_free(raised_from(RuntimeError(), ConnectionResetError()))
    of_another_call = ConnectionResetError()
    of_another_call.__context__ = ConnectionRefusedError()
    assert not was_free(of_another_call)


@pytest.mark.parametrize("package", ["requests", "httpx", "urllib3"])
def test_a_refused_connection_of_any_client_costs_nothing(socket_enabled, package):
    client = pytest.importorskip(package)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    errors = {"requests": "ConnectionError", "httpx": "ConnectError", "urllib3": "exceptions.MaxRetryError"}
    with pytest.raises(attrgetter(errors[package])(client)) as caught:
        client.request("POST", url) if package == "urllib3" else client.post(url)
    assert was_free(caught.value)


def test_a_redirection_is_not_followed(socket_enabled):
    came = []
    with listening(came.append) as elsewhere:

        def redirect(connection):
            read(connection)
            place = f"http://127.0.0.1:{elsewhere}/v1/chat/completions"
            head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())

        with listening(redirect) as port:
            error = failed(f"http://127.0.0.1:{port}/v1")
    assert error.status_code == 307
    assert came == []
