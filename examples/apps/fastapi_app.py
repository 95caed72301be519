"""An endpoint of one's own that asks the model a prompt needs, and the next one where that fails.

    pip install lookahead-router fastapi uvicorn openai
    OPENAI_API_KEY=... uvicorn fastapi_app:app
    curl localhost:8000/ask -H 'content-type: application/json' -d '{"prompt": "Plan a weekend in Rome."}'

For an address that speaks OpenAI's protocol itself, `lookahead-router serve` is less work.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from openai import AsyncOpenAI, OpenAIError
from pydantic import BaseModel, Field

from lookahead_router import Dispatcher

MODELS = ["gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"]


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """Loads the router, and keeps one client, for as long as the app runs."""
    app.state.dispatcher = Dispatcher(None, MODELS, quality=0.95, fallbacks="next-best")
    async with AsyncOpenAI(max_retries=0) as app.state.client:  # the next model comes instead
        yield


app = FastAPI(lifespan=opened)


class Question(BaseModel):
    """What is asked."""

    prompt: str = Field(min_length=1, max_length=20_000)


@app.post("/ask")
async def ask(question: Question) -> dict:
    """The answer, and who gave it."""
    attempts = await asyncio.to_thread(app.state.dispatcher.plan, question.prompt)  # computes, so off the event loop
    while True:
        messages = [{"role": "user", "content": question.prompt}]
        try:
            answer = await app.state.client.chat.completions.create(model=attempts.name, messages=messages)
        except OpenAIError as error:
            if not attempts.move_on(error):
                raise HTTPException(502, "no model could answer") from error
        else:
            return {"answer": answer.choices[0].message.content, "model": attempts.name}
