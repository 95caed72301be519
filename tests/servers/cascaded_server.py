"""A server whose pool file has a cascade, asked by OpenAI's client."""

import json
from contextlib import ExitStack

import openai

from lookahead_router.server.keys import new_key
from servers.openai_server import OpenAIServer, Reply
from servers.router_server import CHEAP, STRONG, ServerProcess, World

QUESTION = [{"role": "user", "content": "hello there"}]
SORRY = "I'm sorry, I cannot say."
CASCADE = {
    "checks": [
        {"name": "refusal", "reliability": {"passes_right": 0.99, "passes_wrong": 0.2}},
        {"name": "confidence", "minimum": 0.5, "reliability": {"passes_right": 0.9, "passes_wrong": 0.3}},
    ],
    "score_per_usd": 20,
    "order": [CHEAP, STRONG],
}
PRICES = {CHEAP: (1.0, 2.0), STRONG: (1.0, 20.0)}


class Cascaded(World):
    """A server with a cascade, and keys: of `rich` and of `poor`, whose budget pays for one cheap answer."""

    def __init__(self, stack: ExitStack, folder) -> None:
        self.behind = {name: stack.enter_context(OpenAIServer()) for name in PRICES}
        self.folder, self.pool, keys = folder, folder / "pool.json", folder / "keys.json"
        entries = [
            {"name": name, "base_url": self.behind[name].url, "input_price": asked, "output_price": said, "timeout": 20}
            for name, (asked, said) in PRICES.items()
        ]
        self.pool.write_text(json.dumps({"candidates": entries, "cascade": CASCADE}))
        self.keys = {"rich": new_key(keys, "rich"), "poor": new_key(keys, "poor", budget_usd=0.001, period="total")}
        options = ("--keys", str(keys), "--decisions", str(folder / "decisions.jsonl"))
        self.server = ServerProcess(self.pool, *options)
        stack.callback(self.server.end)
        self.server.client.headers["authorization"] = f"Bearer {self.keys['rich']}"

    def say(self, cheap: Reply, strong: Reply) -> None:
        """What the two answer."""
        for name, reply in ((CHEAP, cheap), (STRONG, strong)):
            self.behind[name].script = lambda request, reply=reply: reply

    def client(self, name: str = "rich") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.server.url}/v1", api_key=self.keys[name], max_retries=0)

    def ask(self, key: str = "rich", **fields):
        """Headers, and the answer or the chunks, by OpenAI's client."""
        with self.client(key) as client:
            raw = client.chat.completions.with_raw_response.create(**{"model": "auto", "messages": QUESTION, **fields})
            answer = raw.parse()
            return raw.headers, list(answer) if fields.get("stream") else answer

    def asked(self) -> dict[str, int]:
        return {name: len(server.requests) for name, server in self.behind.items()}
