"""The question decides: retrieved text, templates and chat histories around it change no choice."""

import json

import numpy as np
import pytest
from llama_index.core import Document, PromptTemplate, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.indices.query.query_transform import StepDecomposeQueryTransform
from llama_index.core.llms import CustomLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.prompts.default_prompt_selectors import DEFAULT_TEXT_QA_PROMPT_SEL
from llama_index.core.query_engine import (
    CitationQueryEngine,
    MultiStepQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index_world import HashingEmbedding
from lookahead_router import LookaheadPredictor, Prediction, Router, read_request
from pydantic import BaseModel

from llama_index.llms.lookahead_router import LookaheadRouterLLM, routing_records

QUESTIONS = [
    "Write a Python function that merges two sorted lists.",
    "What is the capital of Australia?",
    "Prove that the square root of 2 is irrational.",
    "Translate 'good morning' into Japanese.",
    "How do I reverse a linked list in C?",
    "Who wrote The Brothers Karamazov?",
    "Solve x^2 - 5x + 6 = 0.",
    "Give me a recipe for lentil soup.",
    "Explain the difference between TCP and UDP.",
    "What causes the seasons on Earth?",
    "Write a SQL query that counts orders by customer.",
    "Summarise the plot of Hamlet in two sentences.",
    "How many moles are in 36 grams of water?",
    "Why is my regex [a-z+ not matching plus signs?",
    "Write a haiku about autumn.",
    "What is the derivative of sin(x) * e^x?",
    "Which vitamins does spinach contain?",
    "Refactor this loop into a list comprehension: for i in xs: ys.append(i * 2)",
    "What year did the Berlin Wall fall?",
    "A train leaves at 3 pm at 60 km/h; when has it gone 150 km?",
    "Is it legal to record a phone call in Germany?",
    "Write a bash script that renames all .txt files to .md.",
    "What does the word 'ubiquitous' mean?",
    "How does photosynthesis work?",
    "Implement binary search in Rust.",
    "What are the symptoms of anaemia?",
    "Compute the determinant of [[1, 2], [3, 4]].",
    "Write a polite email declining a job offer.",
    "What is the boiling point of ethanol?",
    "Debug: IndexError: list index out of range in my for loop.",
    "Who painted Guernica?",
    "Explain recursion to a child.",
    "What is the probability of two sixes with two dice?",
    "Convert 72 degrees Fahrenheit to Celsius.",
    "Describe the water cycle.",
    "Write unit tests for a stack class in Java.",
    "What is the tallest mountain in South America?",
    "How do interest rates affect inflation?",
    "Write a CSS rule that centres a div.",
    "Name three consequences of the French Revolution.",
]

CODE = "def merge(left, right):\n    result = []\n    while left and right:\n        result.append(left.pop(0))\n" * 12


class Fact(BaseModel):
    """A fact."""

    answer: str = ""


class Fake(CustomLLM):
    """Answers with whatever the part of LlamaIndex that asks can read."""

    name: str

    @property
    def metadata(self):
        return LLMMetadata(is_chat_model=True, context_window=4000, model_name=self.name)

    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text=answer(prompt))

    def stream_complete(self, prompt, formatted=False, **kwargs):
        yield CompletionResponse(text=answer(prompt), delta=answer(prompt))

    def chat(self, messages, **kwargs):
        text = answer("\n".join(message.content or "" for message in messages))
        return ChatResponse(message=ChatMessage(role="assistant", content=text))

    def stream_chat(self, messages, **kwargs):
        response = self.chat(messages)
        yield response.model_copy(update={"delta": response.message.content})


def answer(prompt):
    if "sub_question" in prompt or "sub-questions" in prompt:
        return "```json\n" + json.dumps({"items": [{"sub_question": "What is 2 + 2?", "tool_name": "code"}]}) + "\n```"
    if "Some choices are given below" in prompt:
        return json.dumps([{"choice": 1, "reason": "x"}])
    if "query_satisfied" in prompt:
        return json.dumps({"answer": "fine", "query_satisfied": True})
    return json.dumps({"answer": "fine"}) if '"answer"' in prompt else "None"


class Remembering:
    """The embedded predictor, which predicts each text once: the question is the same wherever it is asked."""

    def __init__(self):
        self.predictor = LookaheadPredictor.load()
        self.pool, self.name, self.revision = self.predictor.pool, self.predictor.name, self.predictor.revision
        self.rows = {}

    def predict(self, prompts):
        for prompt in prompts:
            if prompt not in self.rows:
                self.rows[prompt] = self.predictor.predict([prompt]).scores[0]
        return Prediction(self.pool, np.array([self.rows[prompt] for prompt in prompts]))


@pytest.fixture(scope="module")
def router():
    return Router(Remembering())


@pytest.fixture(scope="module")
def plain(router):
    """The choice for every question alone."""
    return [decision.name for decision in router.route_batch(QUESTIONS)]


@pytest.fixture
def llm(router):
    return LookaheadRouterLLM({name: Fake(name=name) for name in router.pool.names}, router)


@pytest.fixture(scope="module")
def index():
    documents = [Document(text=f"# file {i}\n{CODE}") for i in range(2)]
    return VectorStoreIndex.from_documents(
        documents, embed_model=HashingEmbedding(), transformations=[SentenceSplitter(chunk_size=600, chunk_overlap=0)]
    )


def asked(records):
    return records[-1]["candidate"]


def test_the_questions_are_no_matter_of_course(router, plain):
    """Many of them go elsewhere where LlamaIndex's template is routed with them, even around nothing."""
    template = DEFAULT_TEXT_QA_PROMPT_SEL.get_template()
    wrapped = [template.format(context_str="", query_str=question) for question in QUESTIONS[:16]]
    names = [decision.name for decision in router.route_batch(wrapped)]
    assert sum(name != alone for name, alone in zip(names, plain, strict=False)) >= 4
    assert len(plain) == 40


MODES = ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate", "compact_accumulate", "generation"]


@pytest.mark.parametrize("mode", MODES)
def test_every_response_mode(llm, index, plain, mode):
    engine = index.as_query_engine(llm=llm, response_mode=mode)
    for question, name in zip(QUESTIONS, plain, strict=True):
        record = engine.query(question).metadata["lookahead_router"]
        assert {call["candidate"] for call in record["calls"]} == {name}


@pytest.mark.parametrize("mode", MODES)
async def test_every_response_mode_asynchronously(llm, index, plain, mode):
    engine = index.as_query_engine(llm=llm, response_mode=mode, use_async=True)
    for question, name in list(zip(QUESTIONS, plain, strict=True))[::4]:
        record = (await engine.aquery(question)).metadata["lookahead_router"]
        assert {call["candidate"] for call in record["calls"]} == {name}


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize", "generation"])
def test_every_response_mode_that_streams(llm, index, plain, mode):
    engine = index.as_query_engine(llm=llm, response_mode=mode, streaming=True)
    for question, name in list(zip(QUESTIONS, plain, strict=True))[::4]:
        response = engine.query(question)
        assert "".join(response.response_gen)
        assert {call["candidate"] for call in response.metadata["lookahead_router"]["calls"]} == {name}


def structured(llm, index):
    return index.as_query_engine(llm=llm, output_cls=Fact)


def structured_llm(llm, index):
    return index.as_query_engine(llm=llm.as_structured_llm(Fact))


def filtering(llm, index):
    return index.as_query_engine(llm=llm, response_mode="refine", structured_answer_filtering=True)


def citing(llm, index):
    return CitationQueryEngine.from_args(index, llm=llm)


def own_template(llm, index):
    template = PromptTemplate(
        "{notes}\nAnswer {ask}", template_var_mappings={"context_str": "notes", "query_str": "ask"}
    )
    return index.as_query_engine(llm=llm, text_qa_template=template)


def by_router(llm, index):
    tools = [QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), name="code", description="code")]
    return RouterQueryEngine.from_defaults(tools * 2, llm=llm, selector=LLMSingleSelector.from_defaults(llm))


def by_retriever(llm, index):
    return RetrieverQueryEngine.from_args(index.as_retriever(), llm=llm)


@pytest.mark.parametrize("make", [structured, structured_llm, filtering, citing, own_template, by_router, by_retriever])
def test_every_engine(llm, index, plain, make):
    engine = make(llm, index)
    for question, name in zip(QUESTIONS, plain, strict=True):
        record = engine.query(question).metadata["lookahead_router"]
        assert {call["candidate"] for call in record["calls"]} == {name}, record


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question", "simple"])
async def test_every_chat_engine(llm, index, router, plain, mode):
    engine = index.as_chat_engine(chat_mode=mode, llm=llm)
    said = []
    for i, (question, alone) in enumerate(zip(QUESTIONS, plain, strict=True)):
        response = (await engine.achat(question)) if i % 2 else engine.chat(question)
        calls = [call["candidate"] for call in response.metadata["lookahead_router"]["calls"]]
        in_talk = chosen_after(router, said, question)
        assert calls[0] == (alone if mode.startswith("condense") else in_talk), "the question, asked or to be condensed"
        if mode != "condense_question":  # which asks about the condensed question, here "None"
            assert calls[-1] == in_talk
        said = [*said, user(question), assistant(response)]
        if i % 2:
            engine.reset()
            said = []


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": str(text)}


def chosen_after(router, said, question):
    """The choice for a question of a conversation, as any conversation is read."""
    return router.route(read_request([*said, user(question)])).name


async def test_a_chat_engine_that_streams(llm, index, router):
    engine = index.as_chat_engine(chat_mode="condense_plus_context", llm=llm)
    said = []
    for question in QUESTIONS[::4]:
        response = engine.stream_chat(question)
        answer = "".join(response.response_gen)
        assert answer
        assert asked(response.metadata["lookahead_router"]["calls"]) == chosen_after(router, said, question)
        said += [user(question), assistant(answer)]


@pytest.mark.parametrize("use_async", [False, True])
async def test_sub_questions_are_routed_as_what_they_ask(llm, router, index, plain, use_async):
    """In a running loop, since LlamaIndex leaves the one open that it makes for itself."""
    tool = QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), name="code", description="code")
    engine = SubQuestionQueryEngine.from_defaults(
        [tool],
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm),
        use_async=use_async,
        verbose=False,
    )
    part = router.route("What is 2 + 2?").name
    for question, name in zip(QUESTIONS, plain, strict=True):
        calls = engine.query(question).metadata["lookahead_router"]["calls"]
        assert [call["candidate"] for call in calls] == [name, part, name]


def test_steps_of_a_question_too(llm, index, plain):
    engine = MultiStepQueryEngine(
        index.as_query_engine(llm=llm), StepDecomposeQueryTransform(llm), index_summary="code", num_steps=1
    )
    for question, name in list(zip(QUESTIONS, plain, strict=True))[::4]:
        record = engine.query(question).metadata["lookahead_router"]
        assert (record["calls"][0]["candidate"], record["candidate"]) == (name, name)


def test_the_nodes_of_a_query_engine_reach_a_predictor_that_reads_them(router, index):
    class Reading:
        reads_context = True
        pool, name, revision = router.pool, "reading", None

        def __init__(self):
            self.seen = []

        def predict(self, prompts):
            self.seen += prompts
            return router.predict([request.text for request in prompts])

    predictor = Reading()
    llm = LookaheadRouterLLM({name: Fake(name=name) for name in router.pool.names}, Router(predictor))
    response = index.as_query_engine(llm=llm).query(QUESTIONS[0])
    (request,) = predictor.seen
    assert request.text == QUESTIONS[0]
    assert request.passages == tuple(node.text for node in response.source_nodes)
    assert 0 < request.n_context_tokens < request.n_tokens


def test_a_function_says_what_the_question_is(router, index, plain):
    """For templates whose question goes by a name of its own, and calls outside of engines."""
    llm = LookaheadRouterLLM(
        {name: Fake(name=name) for name in router.pool.names},
        router,
        route_on=lambda prompt: (prompt if isinstance(prompt, str) else prompt[-1].content).partition("Q: ")[2] or None,
    )
    for question, name in zip(QUESTIONS, plain, strict=True):
        text = f"{CODE}\nQ: {question}"
        for response in (llm.complete(text), llm.chat([ChatMessage(content=text)]), llm.complete(question)):
            assert response.additional_kwargs["lookahead_router"]["candidate"] == name


def qa_template():
    return PromptTemplate(f"{CODE}\n{{context_str}}\nAnswer: {{query_str}}")


def test_templates_outside_of_engines(llm, plain):
    for question, name in zip(QUESTIONS, plain, strict=True):
        with routing_records() as records:
            template = qa_template()  # a structured call leaves its parser in the template
            llm.predict(template, context_str=CODE, query_str=question)
            llm.structured_predict(Fact, template, context_str=CODE, query_str=question)
            "".join(llm.stream(qa_template().partial_format(query_str=question), context_str=CODE))
            list(llm.stream_structured_predict(Fact, template, context_str=CODE, query_str=question))
            llm.as_structured_llm(Fact).predict(qa_template(), context_str=CODE, query_str=question)
        assert [record["candidate"] for record in records] == [name] * 5


async def test_templates_outside_of_engines_asynchronously(llm, plain):
    for question, name in list(zip(QUESTIONS, plain, strict=True))[::4]:
        with routing_records() as records:
            template = qa_template()
            await llm.apredict(template, context_str=CODE, query_str=question)
            await llm.astructured_predict(Fact, template, context_str=CODE, query_str=question)
            [token async for token in await llm.astream(qa_template(), context_str=CODE, query_str=question)]
            stream = await llm.astream_structured_predict(Fact, template, context_str=CODE, query_str=question)
            [item async for item in stream]
        assert [record["candidate"] for record in records] == [name] * 4


def test_a_call_beside_the_question_is_routed_on_its_own_text(llm, router, index):
    """A query engine's question must not decide about what a post-processor asks in the meantime."""

    class Asks(TransformQueryEngine):
        def _query(self, query_bundle):
            llm.complete("Write a Python function that adds two numbers.")
            return self._query_engine.query(query_bundle)

    engine = Asks(index.as_query_engine(llm=llm), StepDecomposeQueryTransform(llm))
    calls = engine.query("Describe the water cycle.").metadata["lookahead_router"]["calls"]
    alone = router.route("Write a Python function that adds two numbers.").name
    assert calls[0]["candidate"] == alone


def test_an_engine_that_failed_leaves_no_question_behind(llm, router, index):
    class Fails(TransformQueryEngine):
        def _query(self, query_bundle):
            raise RuntimeError("no")

    question = "Describe the water cycle."
    with pytest.raises(RuntimeError):
        Fails(index.as_query_engine(llm=llm), StepDecomposeQueryTransform(llm)).query(question)
    text = f"Write a Python function that prints: {question}"
    record = llm.complete(text).additional_kwargs["lookahead_router"]
    assert record["scores"] == router.route(text).scores
