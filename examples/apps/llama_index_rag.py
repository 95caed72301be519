"""Questions about a folder of documents, each answered by the model that it needs.

    pip install llama-index-llms-openai-like llama-index-llms-lookahead-router
    OPENAI_API_KEY=... python llama_index_rag.py FOLDER "When does the contract end?"

Passages are found by their words (a keyword table), so that no embedding has to be downloaded; put a vector index and
your embedding in its place.
"""

import os
import sys
from pathlib import Path

from llama_index.core import Document, SimpleKeywordTableIndex
from llama_index.llms.lookahead_router import LookaheadRouterLLM, routing_records
from llama_index.llms.openai_like import OpenAILike

from lookahead_router import Router

MODELS = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18")


def model(name: str) -> OpenAILike:
    """One candidate, at OpenAI or at whatever speaks its protocol."""
    return OpenAILike(
        model=name,
        api_base=os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "none"),
        is_chat_model=True,
        context_window=128_000,
    )


def main(folder: str, question: str) -> None:
    """Asks once, and shows who answered."""
    documents = [Document(text=path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*.txt"))]
    llm = LookaheadRouterLLM(
        {name: model(name) for name in MODELS}, Router.from_pretrained(candidates=MODELS, quality=0.95)
    )
    engine = SimpleKeywordTableIndex.from_documents(documents).as_query_engine(llm=llm, retriever_mode="simple")
    with routing_records() as records:
        print(engine.query(question))
    for record in records:
        print(f"{record['candidate']} ({record['reason']})")


if __name__ == "__main__":
    main(sys.argv[1], " ".join(sys.argv[2:]))
