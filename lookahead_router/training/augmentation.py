"""Benchmark instructions and passages around a question: taken away, added and swapped at random in training."""

import random
import re
from collections.abc import Sequence

from lookahead_router.training import clothes

INSTRUCTIONS = re.compile(
    r"(?:\n|^)\s*(?:"
    r"Please reason step by step, and put your final answer within \\boxed\{\}\."
    r"|Print only a single choice\s+from [^\n]*? without explanation\.(?:[ \t]*Answer:)?"
    r"|Please answer with the letter of the correct answer\."
    r"|You are given a Python function and an assertion containing an input to the function\. Complete the assertion "
    r"with a literal[^\n]*"
    r"|Read the following function signature and docstring, and fully implement the function described\. Your response "
    r"should only contain the code for this function\."
    r"|Your code should pass the following assertions:|Your code should pass these tests:"
    r")[ \t]*",
)
"""The sentences that benchmarks in the training data put around their questions."""

OPTIONS = re.compile(r"(?:\n[ \t]*\(?[A-J][.):][ \t][^\n]*){2,}\s*$")
"""Lettered options at the end of a question."""

SUFFIXES = (
    "Please reason step by step, and put your final answer within \\boxed{}.",
    "Put your final answer within \\boxed{}.",
    "Let's think step by step.",
    "Think step by step and then give the answer.",
    "Please think step by step before answering.",
    "Explain your reasoning before you give the final answer.",
    "Show your work.",
    "Answer in JSON.",
    "Respond with a JSON object.",
    'Respond in JSON format: {"reasoning": "...", "answer": "..."}',
    'Return your answer as JSON with the keys "answer" and "explanation".',
    "Output valid JSON only.",
    "Reply only with valid YAML.",
    "Format your answer as Markdown.",
    "Use bullet points.",
    "Answer with a single word or number.",
    "Be concise.",
    "Be brief: one sentence.",
    "Answer in at most three sentences.",
    "Give only the final answer, without explanation.",
    "Answer with the letter of the correct option only.",
    'Print only a single choice from "A" or "B" or "C" or "D" without explanation. Answer:',
    'The last line of your response should be of the form "Answer: $LETTER".',
    "Finish your answer with 'The answer is (X)'.",
    "End your response with #### followed by the final answer.",
    "Write your final answer after 'Final answer:'.",
    "Wrap your answer in <answer></answer> tags.",
    "Put your thinking in <thinking> tags and the result in <result> tags.",
    "If you do not know, say so.",
    "Do not make anything up.",
    "Take a deep breath and work on this problem step by step.",
    "This is very important to my career.",
    "You will be graded on correctness.",
    "Your code should pass these tests.",
    "Wrap code in ```python fences.",
    "Your response should only contain the code for this function.",
    "Answer:",
    "A:",
    "Thanks!",
    "Thank you in advance.",
    "Please double-check your answer.",
    "Answer in English.",
    "Bitte Schritt für Schritt begründen.",
    "Raisonne étape par étape.",
    "Responde paso a paso.",
    "ステップごとに考えてください。",
)

PREFIXES = (
    "You are a helpful assistant.",
    "You are a helpful, respectful and honest assistant.",
    "You are an expert in your field.",
    "You are a world-class mathematician.",
    "You are an experienced software engineer.",
    "You are a careful tutor who explains clearly.",
    "You are ChatGPT, a large language model.",
    "Act as a senior consultant.",
    "Please answer the following question.",
    "Please answer with the letter of the correct answer.",
    "Answer the following multiple choice question.",
    "The following are multiple choice questions (with answers).",
    "The following is a question. Think step by step and then finish your answer.",
    "Solve the following problem.",
    "Solve the following math problem step by step.",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "Given the following problem, reason and give a final answer to the problem.",
    "Read the following and respond.",
    "Read the following function signature and docstring, and fully implement the function described.",
    "Respond to the user below.",
    "Reply to the last message.",
    "Follow the instructions carefully.",
    "Hello!",
    "Hi there,",
    "Quick question:",
    "Today's date: 3 March 2025.",
)

FRAMES = (
    "Question: {q}\nAnswer:",
    "Q: {q}\nA:",
    "### Instruction:\n{q}\n\n### Response:",
    "### Human: {q}\n### Assistant:",
    "User: {q}\nAssistant:",
    "[INST] {q} [/INST]",
    "<|user|>\n{q}\n<|assistant|>",
    "Human: {q}\n\nAssistant:",
    "<question>\n{q}\n</question>",
    "## Question\n{q}\n\n## Answer\n",
    "Task: {q}",
    "Problem:\n{q}\n\nSolution:",
    '"""\n{q}\n"""',
    "Given the following question, answer it.\n\nQuestion: {q}",
    'The user asks: "{q}"',
    "Query: {q}\nAnswer: ",
)

PASSAGES = (
    "Context information is below.\n---------------------\n{c}\n---------------------\nGiven the context information "
    "and not prior knowledge, answer the query.\nQuery: {q}\nAnswer: ",
    "Use the following pieces of context to answer the question at the end. If you don't know the answer, just say "
    "that you don't know, don't try to make up an answer.\n\n{c}\n\nQuestion: {q}\nHelpful Answer:",
    "You are an assistant for question-answering tasks. Use the following pieces of retrieved context to answer the "
    "question. If you don't know the answer, just say that you don't know.\nQuestion: {q}\nContext: {c}\nAnswer:",
    "{c}\n\n{q}",
    "{c}\n\nQuestion: {q}",
    "{q}\n\n{c}",
    "{q}\n\nContext:\n{c}",
    "{q}\n\nHere are some documents that may help:\n\n{c}",
    "<documents>\n{c}\n</documents>\n\n{q}",
    "<context>{c}</context>\n<question>{q}</question>",
    "Search results:\n{c}\n\nUsing the results above, answer: {q}",
    "Here is some background.\n\n{c}\n\nWith this in mind: {q}",
    "Document:\n{c}\n\nUser question: {q}",
    "{c}\n\n{q}\n\n{d}",
    "Background:\n{c}\n\nQuestion: {q}\n\nFurther material:\n{d}",
    "[Retrieved passages]\n{c}\n\n[User]\n{q}\n\n[More passages]\n{d}",
)


def strip_instructions(text: str) -> str:
    """The text without the instructions that benchmarks put around it."""
    return INSTRUCTIONS.sub("\n", text).strip() or text


class Augmenter:
    """Variants of a question that ask for the same."""

    def __init__(self, passages: Sequence[str], examples: Sequence[tuple[str, str]], seed: int = 0) -> None:
        """Makes the draws repeatable.

        Args:
            passages: texts that stand for retrieved passages.
            examples: pairs of question and answer for few-shot frames, beside those of `clothes`.
            seed: of the draws.
        """
        self._passages, self._examples = passages, examples
        self._random = random.Random(seed)

    def vary(self, text: str) -> str:
        """The question in other clothes: instructions, frames, shots, passages, padding, or what messages hold."""
        r = self._random
        question = strip_instructions(text)
        if r.random() < 0.15:
            question = OPTIONS.sub("", question).strip() or question
        what = r.random()
        if what < 0.3 and self._passages:
            return self.with_passages(question)
        if what < 0.45:
            return self.with_shots(question)
        if what < 0.6:
            return self.with_instructions(question)
        if what < 0.7:
            question = self._slips(question)
        elif r.random() < 0.4:
            question = self.with_instructions(question)
        if r.random() < 0.6:
            question = self.with_padding(question)
        return question if r.random() < 0.4 else self.as_message(question)

    def with_instructions(self, question: str) -> str:
        """The question with one to three instructions of benchmarks, or a frame of chats."""
        r = self._random
        if r.random() < 0.4:
            question = self._filled(r.choice(FRAMES + clothes.FRAMES)).replace("{q}", question)
        if r.random() < 0.35:
            question = r.choice(PREFIXES) + self._gap() + question
        if r.random() < 0.75:
            question = question + self._gap() + r.choice(SUFFIXES)
        return question

    def with_shots(self, question: str) -> str:
        """The question behind one to four others that are answered, of the same frame."""
        r = self._random
        frame = r.choice(clothes.SHOT_FRAMES)
        pool = self._examples if len(self._examples) > 4 and r.random() < 0.4 else clothes.SHOTS
        shots = "".join(frame.replace("{q}", q).replace("{a}", a) for q, a in r.sample(pool, r.randint(1, 4)))
        opening = r.choice(("", "", "", "Follow the pattern.\n\n", "Here are some examples.\n", "Examples:\n\n"))
        return opening + shots + frame.partition("{a}")[0].replace("{q}", question).rstrip()

    def with_passages(self, question: str) -> str:
        """The question among 0.5 to 6 KB of text that has nothing to do with it."""
        r = self._random
        template = r.choice(PASSAGES)
        if r.random() < 0.3:
            question = self.with_instructions(question)
        before, after = self._text(r.choice((500, 1500, 3000, 5000))), self._text(r.choice((300, 2500)))
        return template.replace("{c}", before).replace("{d}", after).replace("{q}", question)

    def with_padding(self, question: str) -> str:
        """The question with an appeal, small talk, filler words, a row of marks or a list of topics."""
        r = self._random
        kind = r.randrange(5)
        if kind == 0:
            added = " ".join(r.sample(clothes.APPEALS, r.randint(1, 3)))
        elif kind == 1:
            told = " ".join(r.sample(clothes.SMALL_TALK, r.randint(1, 7)))
            added = f"{told} {r.choice(clothes.TURNS)}".strip()
        elif kind == 2:
            added = " ".join(r.choice(clothes.FILLERS) for _ in range(r.randint(2, 14)))
        elif kind == 3:
            added = r.choice(clothes.MARKS) * r.randint(4, 100)
        else:
            listed = ", ".join(r.sample(clothes.TOPICS, r.randint(2, 9)))
            added = r.choice(clothes.TOPIC_LINES).replace("{t}", listed)
        return self._beside(question, added, before=(0.5, 0.75, 0.4, 0.25, 0.3)[kind])

    def as_message(self, question: str) -> str:
        """The question as mails, tickets, chats and system prompts hold it."""
        r = self._random
        if r.random() < 0.45:
            question = self._filled(r.choice(clothes.GREETINGS)) + self._gap() + question
        if r.random() < 0.45:
            question = question + r.choice(("\n", "\n\n")) + self._filled(r.choice(clothes.CLOSINGS))
        if r.random() < 0.25:
            question = question + r.choice(("\n\n", "\n\n--\n")) + self._filled(r.choice(clothes.FOOTS))
        if r.random() < 0.3:
            question = self._filled(r.choice(clothes.HEADS)) + r.choice(("\n", "\n\n")) + question
        if r.random() < 0.3:
            system = self._filled(" ".join(r.sample(clothes.SYSTEM, r.randint(1, 5))))
            question = system + r.choice(("\n\n", "\n", " ")) + question
        return question

    def _slips(self, text: str) -> str:
        """The question in small or large letters, or with letters left out, swapped or doubled."""
        r = self._random
        how = r.randrange(4)
        if how < 2:
            return text.lower() if how == 0 or len(text) > 600 else text.upper()
        letters, rate = list(text), r.choice((0.005, 0.02, 0.04))
        for at in range(1, len(letters) - 1):
            if letters[at].isalpha() and r.random() < rate:
                first, second = letters[at], letters[at + 1]
                letters[at] = r.choice(("", first * 2, second if second.isalpha() else first))
        return "".join(letters)

    def _filled(self, text: str) -> str:
        r = self._random
        number = str(r.randint(2, 99_999))
        return text.replace("{name}", r.choice(clothes.NAMES)).replace("{firm}", r.choice(clothes.FIRMS)).replace(
            "{n}", number
        )  # fmt: skip

    def _gap(self) -> str:
        return self._random.choice((" ", "\n", "\n\n"))

    def _beside(self, question: str, added: str, before: float) -> str:
        first, second = (added, question) if self._random.random() < before else (question, added)
        return first + self._gap() + second

    def _text(self, length: int) -> str:
        r, parts, n = self._random, [], 0
        label = r.choice(("", "", "[{i}] ", "Document {i}:\n", "Source {i}: ", "- ", "file_path: docs/{i}.md\n\n"))
        while n < length:
            part = label.replace("{i}", str(len(parts) + 1)) + r.choice(self._passages)
            parts.append(part)
            n += len(part)
        return r.choice(("\n\n", "\n", " ")).join(parts)[: length + 200]
