# The server of docs/serving.md: small, as nobody, on a read-only file system. State goes to /state.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY lookahead_router ./lookahead_router
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir ".[serve]"

FROM python:3.12-slim
COPY --from=build /venv /venv
RUN mkdir /state && chown 65534:65534 /state
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HF_HOME=/state/hub
USER 65534:65534
VOLUME /state
EXPOSE 8400
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8400, timeout=2); \
       c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["lookahead-router"]
CMD ["serve", "/etc/lookahead-router/pool.yaml", "--host", "0.0.0.0", "--keys", "/state/keys.json", \
     "--decisions", "/state/decisions.jsonl", "--learnt", "/state/learnt"]
