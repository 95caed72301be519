# `make demo` routes prompts with the embedded weights; `make test` runs the tests. Both create their environment.
PYTHON ?= python3
# Named before anything that depends on it, so that a CPU wheel at hand is taken.
TORCH ?= torch==2.13.0
DEMO := .venv-demo
DEV := .venv
DOCS := .venv-docs
LOWEST := .venv-lowest
AUDIT := .venv-audit
# In the order of their dependencies: the LLM shares an event with the selector.
INTEGRATIONS := integrations/langchain-lookahead-router integrations/llama-index-selectors-lookahead-router \
  integrations/llama-index-llms-lookahead-router
CORE_TESTS := $(addprefix tests/test_,any_pool.py cascade.py checks.py cooldowns.py dispatch.py dispatch_any_pool.py errors.py \
  failures.py metrics.py policies.py privacy.py router.py routes.py stickiness.py stopping.py types.py workhorse.py) \
  $(addprefix tests/,prompts privacy routes)
BASE_TESTS := $(addprefix tests/,test_policies.py test_restricted.py test_types.py test_dispatch.py test_any_pool.py prompts/test_reading.py prompts/test_content.py)
BASE_TOOLS := "pytest>=8.2" "pytest-socket>=0.7" "hypothesis>=6.100"
# Of huggingface-hub, beside the newest: the floor, and the last that others still pin.
HUBS := 1.31.0 1.33.0
DATA ?= lookahead7.parquet
BACKBONE ?= sentence-transformers/all-MiniLM-L6-v2

.PHONY: demo test test-hubs test-lowest check lint types coverage mutants audit format docs docs-serve docs-deploy release \
  smoke train publish clean

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

# What the base install holds, at the lowest versions that it admits: it routes, and its own tests pass.
test-lowest:
	uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	@# Nothing of others is built: on newer Pythons, lowest is the first that has wheels for them.
	uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --no-build -r pyproject.toml $(BASE_TOOLS)
	uv pip install --quiet --python $(LOWEST)/bin/python --no-deps .
	uv pip list --python $(LOWEST)/bin/python
	$(LOWEST)/bin/python -m pytest --noconftest $(BASE_TESTS)

check: $(DEV)/installed lint
	$(MAKE) test test-hubs

# The hooks of .pre-commit-config.yaml over all files; without git, what they need not know from it.
lint: $(DEV)/installed
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then \
	  PATH="$(abspath $(DEV))/bin:$$PATH" PRE_COMMIT_HOME=$(abspath $(DEV))/pre-commit \
	    pre-commit run --all-files --show-diff-on-failure; \
	else $(DEV)/bin/ruff check . && $(DEV)/bin/ruff format --check . && $(DEV)/bin/codespell; fi

# An application of core and adapters as type checkers see it, and the types of all public names.
types: $(DEV)/installed
	$(DEV)/bin/python -m pytest tests/test_typing.py -m "slow or not slow"

# Branches of what decides that the tests of those rooms reach, with a floor. Two minutes; not part of `check`. Measured
# from before pytest begins, whose filters of warnings import our errors.
coverage: $(DEV)/installed
	$(DEV)/bin/coverage run -m pytest $(CORE_TESTS)
	$(DEV)/bin/coverage report

# Faults put into the small rooms that pyproject.toml names, one by one: their tests should tell each. What survives is
# shown by `mutmut show NAME`, and read by a person. Some twenty minutes.
mutants: $(DEV)/installed
	$(DEV)/bin/pip install --quiet --group mutants
	$(DEV)/bin/mutmut run
	$(DEV)/bin/mutmut results

# Licences, and known vulnerabilities, of what users install; asks PyPI, and fails where that cannot answer.
audit:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(AUDIT)/bin/pip install --quiet ".[serve,live,eval]"
	$(AUDIT)/bin/pip freeze --exclude lookahead-router > $(AUDIT)/installed.txt
	$(AUDIT)/bin/pip install --quiet --group audit
	$(AUDIT)/bin/pip-licenses
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --requirement $(AUDIT)/installed.txt

format: $(DEV)/installed
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

# The site in site/; whatever is wrong with it is an error.
docs: $(DOCS)/installed
	$(DOCS)/bin/mkdocs build --strict

docs-serve: $(DOCS)/installed
	$(DOCS)/bin/mkdocs serve

# To the branch gh-pages: make docs-deploy NAMES="0.1.0 latest"
docs-deploy: $(DOCS)/installed
	@test -n "$(NAMES)" || { echo "name the version: make docs-deploy NAMES=main"; exit 2; }
	@# mike looks for mkdocs in PATH.
	PATH="$(abspath $(DOCS))/bin:$$PATH" $(DOCS)/bin/mike deploy --push --update-aliases $(NAMES)

# Distributions of library and adapters in dist/, as a release uploads them. Uploads nothing.
release: $(DEV)/installed
	rm -rf dist
	for package in . $(INTEGRATIONS); do $(DEV)/bin/python -m build --outdir dist $$package || exit 1; done
	$(DEV)/bin/twine check --strict dist/*

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
	$(DEV)/bin/pip install --quiet -e ".[all]" --group dev --group docs $(addprefix -e ,$(INTEGRATIONS))
	@# Groups name our own packages too; pip takes those for strangers while it installs them.
	$(DEV)/bin/pip install --quiet $(foreach package,$(INTEGRATIONS),--group $(package)/pyproject.toml:test)
	touch $@

$(DOCS)/installed: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(DOCS)/bin/pip install --quiet --group docs
	touch $@

clean:
	rm -rf $(DEMO) $(DEV) $(DOCS) $(LOWEST) $(AUDIT) build dist site mutants
