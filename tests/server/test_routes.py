"""Routes and privacy of a pool file, asked over HTTP."""

import json

import pytest
from servers.openai_server import OpenAIServer
from servers.router_server import CHEAP, STRONG, ServerProcess, write_pool

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
COOKING = {
    "name": "cooking",
    "description": "recipes and food",
    "examples": ["how long do I boil an egg", "a recipe for leek soup", "what goes with lamb", "how to roast carrots"],
    "candidates": [STRONG],
}


def test_a_pool_files_routes_and_privacy_hold_and_what_is_refused_is_sent_to_nobody(tmp_path):
    with OpenAIServer() as strong, OpenAIServer() as cheap:
        path = write_pool(tmp_path, {STRONG: strong.url, CHEAP: cheap.url})
        pool = json.loads(path.read_text())
        pool["candidates"][1]["local"] = True
        path.write_text(json.dumps({**pool, "routes": {"routes": [COOKING], "otherwise": [CHEAP]}, "privacy": True}))
        server = ServerProcess(path)
        try:
            assert server.chat("a recipe for apple pie").headers["x-lookahead-candidate"] == STRONG
            assert server.chat("who was the emperor Nero?").headers["x-lookahead-candidate"] == CHEAP
            private = server.chat("a recipe for apple pie, to anna@post.de please")
            assert private.headers["x-lookahead-candidate"] == CHEAP
            n_asked = len(strong.requests)
            refused = server.chat("mail anna@post.de", model=STRONG)
            assert refused.status_code == 400
            error = refused.json()["error"]
            assert (error["code"], error["type"]) == ("private_data", "invalid_request_error")
            assert "e-mail address" in error["message"]
            assert "anna" not in refused.text + server.log
            assert len(strong.requests) == n_asked
        finally:
            server.end()
