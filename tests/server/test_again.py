"""Requests whose replica is lost, as a proxy of Ray Serve sees them: an application that comes to nothing."""

import asyncio

from lookahead_router.server.again import TRIES, AskAgain

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
BODY = [
    {"type": "http.request", "body": b"one", "more_body": True},
    {"type": "http.request", "body": b"two", "more_body": False},
]


def ask(app, messages=BODY):
    sent, left = [], list(messages)

    async def receive():
        return left.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(AskAgain(app)({"type": "http"}, receive, send))
    return sent


async def read(receive):
    body, message = b"", await receive()
    while True:
        body += message["body"]
        if not message["more_body"]:
            return body
        message = await receive()


def test_another_replica_gets_the_whole_request():
    bodies = []

    async def app(scope, receive, send):
        bodies.append(await read(receive))
        if len(bodies) == 3:
            await send(START)
            await send({"type": "http.response.body", "body": b"answer"})

    assert ask(app)[-1]["body"] == b"answer"
    assert bodies == [b"onetwo"] * 3


def test_one_that_had_read_half_of_it_too():
    tries = []

    async def app(scope, receive, send):
        tries.append(await receive())
        if len(tries) == 2:
            await receive()
            await send(START)

    ask(app)
    assert tries == [BODY[0]] * 2


def test_it_is_given_up_after_some_tries():
    tries = []

    async def app(scope, receive, send):
        tries.append(1)

    assert ask(app) == []
    assert len(tries) == TRIES


def test_whoever_is_gone_gets_no_other_try():
    tries = []

    async def app(scope, receive, send):
        tries.append(await receive())

    ask(app, [{"type": "http.disconnect"}])
    assert len(tries) == 1


def test_a_stream_that_breaks_off_says_so_and_is_not_begun_anew():
    async def app(scope, receive, send):
        await send(START)
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})

    sent = ask(app)
    assert [message["type"] for message in sent] == ["http.response.start"] + ["http.response.body"] * 2
    assert b"stream_interrupted" in sent[-1]["body"]
    assert not sent[-1]["more_body"]
