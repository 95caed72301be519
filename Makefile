# `make demo` routes prompts with the embedded weights; `make test` runs the tests. Both create their environment.
PYTHON ?= python3
# Named before anything that depends on it, so that a CPU wheel at hand is taken.
TORCH ?= torch==2.13.0
DEMO := .venv-demo
DEV := .venv
# In the order of their dependencies: the LLM shares an event with the selector.
INTEGRATIONS := integrations/langchain-lookahead-router integrations/llama-index-selectors-lookahead-router \
  integrations/llama-index-llms-lookahead-router
# Of huggingface-hub, beside the newest: the floor, and the last that others still pin.
HUBS := 1.31.0 1.33.0
DATA ?= lookahead7.parquet
BACKBONE ?= sentence-transformers/all-MiniLM-L6-v2

.PHONY: demo test test-hubs check format wheel smoke train publish clean

demo: $(DEMO)/installed
	$(DEMO)/bin/lookahead-router route --file examples/prompts.txt

test: $(DEV)/installed
	$(DEV)/bin/python -m pytest
	for package in $(INTEGRATIONS); do $(DEV)/bin/python -m pytest $$package || exit 1; done

# The Hub's tests with older versions of its library.
test-hubs: $(DEV)/installed
	for hub in $(HUBS); do \
	  $(DEV)/bin/pip install --quiet --no-deps --upgrade --target "$(DEV)/hub-$$hub" "huggingface-hub==$$hub" && \
	  export PYTHONPATH="$(DEV)/hub-$$hub" && \
	  $(DEV)/bin/python -c "import huggingface_hub as hub; print('huggingface-hub', hub.__version__)" && \
	  $(DEV)/bin/python -m pytest tests/saved || exit 1; \
	done

check: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(MAKE) test test-hubs

format: $(DEV)/installed
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

wheel: $(DEV)/installed
	$(DEV)/bin/python -m build --wheel

# Data, training, export, evaluation and report of an invented pool, a minute or two on a CPU; the tests run it shortened.
smoke: $(DEV)/installed
	$(DEV)/bin/python examples/train_a_predictor.py

# The embedded default, from its recipe: make train DATA=… BACKBONE=folder-of-all-MiniLM-L6-v2
train: $(DEV)/installed
	$(DEV)/bin/lookahead-router train recipes/Llama-lookahead-mlm-minilm.yaml --data $(DATA) --backbone $(BACKBONE)
	$(DEV)/bin/lookahead-router export runs/Llama-lookahead-mlm-minilm/predictor --data $(DATA) --weight-bits 4

# To the Hub, with the token of `hf auth login`: make publish ORG=… [FOLDERS="runs/NAME/predictor …"]; see docs/development/releasing.md
# The checkpoint of every recipe that was trained here; the embedded predictor stands in for its own.
TRAINED := $(wildcard $(patsubst recipes/%.yaml,runs/%/predictor,$(wildcard recipes/*.yaml)))
EMBEDDED := lookahead_router/pretrained/Llama-lookahead-mlm-minilm
FOLDERS ?= $(TRAINED) $(if $(filter runs/$(notdir $(EMBEDDED))/predictor,$(TRAINED)),,$(EMBEDDED))
publish: $(DEV)/installed
	@test -n "$(ORG)" || { echo "name the organisation: make publish ORG=…"; exit 2; }
	@for folder in $(FOLDERS); do \
	  name=$$($(DEV)/bin/lookahead-router info --json $$folder | $(DEV)/bin/python -c "import json, sys; print(json.load(sys.stdin)['name'])") && \
	  $(DEV)/bin/lookahead-router push $$folder $(ORG)/$$name --tag v$$($(DEV)/bin/lookahead-router --version) $(PUSH) || failed="$$failed $$folder"; \
	done; test -z "$$failed" || { echo "not pushed:$$failed"; exit 1; }

$(DEMO)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet .
	touch $@

$(DEV)/installed: pyproject.toml $(INTEGRATIONS:=/pyproject.toml)
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(DEV)/bin/pip install --quiet "$(TORCH)"
	$(DEV)/bin/pip install --quiet -e ".[all]" --group dev $(addprefix -e ,$(INTEGRATIONS))
	@# Groups name our own packages too; pip takes those for strangers while it installs them.
	$(DEV)/bin/pip install --quiet $(foreach package,$(INTEGRATIONS),--group $(package)/pyproject.toml:test)
	touch $@

clean:
	rm -rf $(DEMO) $(DEV) build dist
