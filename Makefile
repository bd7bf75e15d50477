# make demo   a first run: generated tables, compile, train, evaluate, predict
# make test   everything that must hold, in a virtual environment of its own
# make lint   ruff and mypy alone        make clean   back to the files of the repository

VENV   ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
            $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
            && echo $$python && break; done)
BUILD   = build

python  = $(VENV)/bin/python
here    = $(subst /,-,$(CURDIR))# an environment that was moved is installed again
core    = $(VENV)/installed-core$(here)
dev     = $(VENV)/installed-dev$(here)
modules = editors/vscode/node_modules/.package-lock.json
npm     = $(shell command -v npm)
data    = --data alice=$(1)/alice.parquet --data bob=$(1)/bob.parquet

.PHONY: test demo lint editor clean
.DELETE_ON_ERROR:

test: $(dev)
	@failed=; \
	$(MAKE) --no-print-directory lint || failed="$$failed lint"; \
	$(MAKE) --no-print-directory editor || failed="$$failed editor"; \
	[ -z "$$failed" ] || echo "failed before pytest:$$failed"; \
	$(python) -m pytest -n auto $(PYTEST) && [ -z "$$failed" ]

lint: $(dev)
	$(python) -m ruff check .
	$(python) -m mypy

demo: $(core)
	@rm -rf $(BUILD)/demo
	$(python) specs/deepfm/prepare.py --generate 200000 --seed 1 --out $(BUILD)/demo/train
	$(python) specs/deepfm/prepare.py --generate 20000 --seed 2 --out $(BUILD)/demo/new
	$(VENV)/bin/vflc compile specs/deepfm/deepfm.vfl -o $(BUILD)/deepfm
	$(VENV)/bin/vflc train $(BUILD)/deepfm $(call data,$(BUILD)/demo/train) --out $(BUILD)/demo/run --validation 0.1
	$(VENV)/bin/vflc evaluate $(BUILD)/demo/run $(call data,$(BUILD)/demo/new)
	$(VENV)/bin/vflc predict $(BUILD)/demo/run $(call data,$(BUILD)/demo/new) -o $(BUILD)/demo/predictions.csv
	@head -5 $(BUILD)/demo/predictions.csv

editor: $(if $(npm),$(modules))
	$(if $(npm),cd editors/vscode && npm test,@echo "editors/vscode is not tested: there is no npm")

$(modules): editors/vscode/package-lock.json
	cd editors/vscode && npm ci

$(core): pyproject.toml
	$(call install,.)

$(dev): pyproject.toml
	$(call install,.[dev$(comma)keras$(comma)dp$(comma)grpc$(comma)psi$(comma)tensorboard])
	@touch $(core)

comma := ,
define install
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer with venv is needed (on Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(python) -m pip install --quiet --disable-pip-version-check --editable "$(1)"
	$(python) -m compileall -q vflc grammars runtime
	@touch $@
endef

clean:
	rm -rf $(VENV) $(BUILD) dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf editors/vscode/node_modules editors/vscode/syntaxes editors/vscode/*.vsix
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
