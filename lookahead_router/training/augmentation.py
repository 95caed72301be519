"""Benchmark instructions and passages around a question: taken away, added and swapped at random in training."""

import random
import re
from collections.abc import Sequence

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

EXAMPLES = ("Question: {q}\nAnswer: {a}\n\n", "Q: {q}\nA: {a}\n\n", "Input: {q}\nOutput: {a}\n\n")


def strip_instructions(text: str) -> str:
    """The text without the instructions that benchmarks put around it."""
    return INSTRUCTIONS.sub("\n", text).strip() or text


class Augmenter:
    """Variants of a question that ask for the same."""

    def __init__(self, passages: Sequence[str], examples: Sequence[tuple[str, str]], seed: int = 0) -> None:
        """Makes the draws repeatable.

        Args:
            passages: texts that stand for retrieved passages.
            examples: pairs of question and answer for few-shot frames.
            seed: of the draws.
        """
        self._passages, self._examples = passages, examples
        self._random = random.Random(seed)

    def vary(self, text: str) -> str:
        """The question in other clothes: instructions, roles, frames, few-shot examples or passages around it."""
        r = self._random
        question = strip_instructions(text)
        if r.random() < 0.15:
            question = OPTIONS.sub("", question).strip() or question
        if r.random() < 0.35 and self._passages:
            return self.with_passages(question)
        return self.with_instructions(question)

    def with_instructions(self, question: str) -> str:
        """The question with one to three instructions of benchmarks, or a frame of chats."""
        r = self._random
        if r.random() < 0.12 and len(self._examples) > 4:
            frame = r.choice(EXAMPLES)
            shots = "".join(frame.format(q=q, a=a) for q, a in r.sample(self._examples, r.randint(1, 4)))
            return shots + frame.partition("{a}")[0].format(q=question).rstrip()
        if r.random() < 0.35:
            question = r.choice(FRAMES).replace("{q}", question)
        if r.random() < 0.35:
            question = r.choice(PREFIXES) + r.choice((" ", "\n", "\n\n")) + question
        if r.random() < 0.75:
            question = question + r.choice((" ", "\n", "\n\n")) + r.choice(SUFFIXES)
        return question

    def with_passages(self, question: str) -> str:
        """The question among 0.5 to 6 KB of text that has nothing to do with it."""
        r = self._random
        template = r.choice(PASSAGES)
        if r.random() < 0.3:
            question = self.with_instructions(question)
        before, after = self._text(r.choice((500, 1500, 3000, 5000))), self._text(r.choice((300, 2500)))
        return template.replace("{c}", before).replace("{d}", after).replace("{q}", question)

    def _text(self, length: int) -> str:
        r, parts, n = self._random, [], 0
        label = r.choice(("", "", "[{i}] ", "Document {i}:\n", "Source {i}: ", "- ", "file_path: docs/{i}.md\n\n"))
        while n < length:
            part = label.replace("{i}", str(len(parts) + 1)) + r.choice(self._passages)
            parts.append(part)
            n += len(part)
        return r.choice(("\n\n", "\n", " ")).join(parts)[: length + 200]
