# make demo   a first run: generated tables, compile, train, evaluate, predict
# make test   all that must hold, in a virtual environment of its own
# make test EXAMPLES=10   with ten times as many random examples of each property
# make test-lsp   the language server over its pipes; `make test` has it, too
# make test-editor   the extension of editors/vscode, packaged and tried in a real VS Code, in Chromium
# make test-oldest   the tests of the core with the oldest packages that pyproject.toml allows
# make test-newest   the tests with the newest
# make lint   ruff and mypy alone        make clean   back to the files of the repository
# make lock   requirements/ anew: the versions, with their hashes, that demo and test install
# make torch  PyTorch in build/torch, for the tests that import what it exports; without it they are left out
# make moto   an S3 server in build/moto, for the tests that read from one
# make peers  PyTorch, JAX, TensorFlow and vflc in build/peers, for benchmarks beside them
# make benchmarks   docs/benchmarks.md and README's table anew, in 10 to 20 minutes on a machine with nothing else to do
# make playground   the page that checks specs in a browser, in build/playground: any web server can serve it
# make site   the documentation as a site, with the playground inside, in build/site; a warning is an error
# make test-playground   the playground in Debian's Chromium, or the one that CHROMIUM names; it needs npm
# make mutants FOLDER=protect SAMPLE=60   what the tests of a folder do not notice

VENV   ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
            $$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
            && echo $$python && break; done)
BUILD   = build

python  = $(VENV)/bin/python
here    = $(subst /,-,$(CURDIR))# an environment that was moved is installed again
core    = $(VENV)/installed-core$(here)
dev     = $(VENV)/installed-dev$(here)
kernels = setup.py $(wildcard runtime/vflc_kernels/src/*)
modules = editors/vscode/node_modules/.package-lock.json
npm     = $(shell command -v npm)
data    = --data alice=$(1)/alice.parquet --data bob=$(1)/bob.parquet

oldest  = $(BUILD)/oldest/installed$(here)
newest  = $(BUILD)/newest/installed$(here)
torch   = $(BUILD)/torch/installed$(here)
# As the extra `torch`, but built for the CPU alone: that build is in PyTorch's own index, where this pip has none.
TORCH   = torch==2.13.0+cpu onnxscript
peers   = $(BUILD)/peers/installed$(here)
PEERS   = $(firstword $(TORCH)) jax==0.10.2 setuptools ".[grpc,keras]"
lsp     = $(BUILD)/lsp/installed$(here)
site    = $(BUILD)/mkdocs/installed$(here)
server  = $(BUILD)/code-server/installed$(here)
moto    = $(BUILD)/moto/installed$(here)
# moto with its S3 server; its libraries pin older packages than others need, so it has an environment of its own.
MOTO    = moto[s3]==5.2.5 flask==3.1.3 flask-cors==6.0.5
# Which extras, and which tests: those of what a version can change.
OLDEST  = dev dp masks grpc tensorboard postgres mysql delta
CORE    = $(addprefix tests/,$(addprefix cli/test_cli_,commands.py main.py outputs.py) compiler data diagnostics ops \
          package/test_wheel.py protect runtime syntax transport)# how a release of rich sets tables is no matter
NEWEST  = $(OLDEST) keras ray tune mlflow# openmined-psi names one release of protobuf and so keeps all others back

# A worker keeps to neighbouring tests, which share what is compiled for them and the import of TensorFlow. What mostly
# waits comes first, while other workers work (tests/order.py).
CORES   = -n auto --dist worksteal

unexport PYTHONDONTWRITEBYTECODE # test processes would each compile the tests again

.PHONY: torch peers benchmarks moto test test-lsp test-editor test-oldest test-newest demo lint editor lock mutants \
        playground test-playground site clean always
.DELETE_ON_ERROR:

test: $(dev) $(lsp) # mypy, which takes half a minute on one core, runs beside the tests; what it says comes at the end
	@mkdir -p $(BUILD); \
	$(MAKE) --no-print-directory --keep-going editor lint test-lsp > $(BUILD)/lint.log 2>&1 & lint=$$!; \
	$(python) -m pytest $(CORES) $(PYTEST); tests=$$?; \
	wait $$lint; lint=$$?; cat $(BUILD)/lint.log; [ $$tests = 0 ] && [ $$lint = 0 ]

test-lsp: $(dev) $(lsp) # in a process of its own, with the packages of $(BUILD)/lsp before others
	PYTHONPATH=$(BUILD)/lsp $(python) -m pytest -o asyncio_default_fixture_loop_scope=module tests/lsp/test_lsp_server.py

test-editor: $(dev) $(lsp) $(modules) $(server)
	cd editors/vscode && npm run -s package && npm run -s test:editor

test-oldest: $(oldest)
	$(BUILD)/oldest/bin/python -m pytest $(CORES) $(or $(PYTEST),$(CORE))

test-newest: $(newest)
	$(BUILD)/newest/bin/python -m pip list --disable-pip-version-check
	$(BUILD)/newest/bin/python -m pytest $(CORES) $(or $(PYTEST),$(CORE) $(addprefix tests/,keras_backend population))

torch: $(torch)

peers: $(peers)

benchmarks: $(peers)
	$(BUILD)/peers/bin/python benchmarks/report.py $(if $(QUICK),--quick --out $(BUILD)/benchmarks.md)

moto: $(moto)

lint: $(dev)
	$(python) -m ruff check .
	$(python) -m mypy

demo: $(core)
	@rm -rf $(BUILD)/demo
	$(python) specs/one_table/prepare.py --generate 200000 --seed 1 --out $(BUILD)/demo/train
	$(python) specs/one_table/prepare.py --generate 20000 --seed 2 --out $(BUILD)/demo/new
	$(VENV)/bin/vflc compile specs/one_table/one_table.vfl -o $(BUILD)/one_table
	$(VENV)/bin/vflc train $(BUILD)/one_table $(call data,$(BUILD)/demo/train) --out $(BUILD)/demo/run --validation 0.1 --epochs 2 # later ones are worse on the validation rows
	$(VENV)/bin/vflc evaluate $(BUILD)/demo/run $(call data,$(BUILD)/demo/new)
	$(VENV)/bin/vflc predict $(BUILD)/demo/run $(call data,$(BUILD)/demo/new) -o $(BUILD)/demo/predictions.csv
	@head -5 $(BUILD)/demo/predictions.csv

editor: $(if $(npm),$(modules))
	$(if $(npm),cd editors/vscode && npm test,@echo "editors/vscode is not tested: there is no npm")

$(modules): editors/vscode/package-lock.json
	cd editors/vscode && npm ci

$(core): requirements/core.txt pyproject.toml $(kernels)
	$(call install,$(VENV),--require-hashes --requirement $<)

$(dev): requirements/all.txt pyproject.toml $(kernels)
	$(call install,$(VENV),--require-hashes --requirement $<)
	@touch $(core)

$(oldest): requirements/oldest.txt pyproject.toml $(kernels)
	$(call install,$(BUILD)/oldest,--require-hashes --requirement $<)

$(newest): always # what is newest is so today
	$(call install,$(BUILD)/newest,--upgrade ".[$(subst $(space),$(comma),$(NEWEST))]")

$(torch): Makefile
	$(call venv,$(BUILD)/torch)
	$(call pip,$(BUILD)/torch) $(TORCH) || $(call pip,$(BUILD)/torch) --extra-index-url https://download.pytorch.org/whl/cpu $(TORCH)
	@touch $@

$(peers): Makefile pyproject.toml $(kernels)
	$(call venv,$(BUILD)/peers)
	$(call pip,$(BUILD)/peers) $(PEERS) || $(call pip,$(BUILD)/peers) --extra-index-url https://download.pytorch.org/whl/cpu $(PEERS)
	$(call pip,$(BUILD)/peers) --no-deps --no-build-isolation --editable .
	@touch $@

$(lsp): requirements/lsp.txt $(dev) # a folder: it and dp-accounting ask for different attrs
	$(call pip,$(VENV)) --require-hashes --requirement $< --upgrade --target $(BUILD)/lsp
	@touch $@

$(site): requirements/site.txt
	$(call venv,$(BUILD)/mkdocs)
	$(call pip,$(BUILD)/mkdocs) --require-hashes --requirement $<
	@touch $@

$(server): editors/vscode/scripts/code-server.sh
	bash $< $(BUILD)/code-server
	@touch $@

$(moto): Makefile
	$(call venv,$(BUILD)/moto)
	$(call pip,$(BUILD)/moto) $(MOTO)
	@touch $@

comma := ,
empty :=
space := $(empty) $(empty)
pip    = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
define venv
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 with venv is needed (on Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(1)
endef
define install
	$(call venv,$(1))
	$(call pip,$(1)) $(2)
	$(call pip,$(1)) --no-deps --no-build-isolation --editable .
	$(1)/bin/python -m compileall -q vflc grammars runtime
	@touch $@
endef

# The core's versions are those that everything is tested with; what is oldest is resolved by itself.
LOCK = $(BUILD)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
       --no-annotate --no-emit-index-url --custom-compile-command "make lock" pyproject.toml
lock:
	$(PYTHON) -m venv $(BUILD)/lock
	$(call pip,$(BUILD)/lock) uv
	$(LOCK) $(addprefix --extra ,$(NEWEST) psi notebook) --output-file requirements/all.txt # all but torch
	echo setuptools | $(LOCK) - --constraint requirements/all.txt --output-file requirements/core.txt
	printf 'pygls>=2\npytest-lsp>=1\n' | $(subst pyproject.toml,-,$(LOCK)) --output-file requirements/lsp.txt # attrs is newer than dp allows
	echo 'mkdocs-material>=9.6' | $(subst pyproject.toml,-,$(LOCK)) --output-file requirements/site.txt
	$(LOCK) --resolution lowest-direct $(addprefix --extra ,$(OLDEST)) --output-file requirements/oldest.txt

playground: $(dev)
	$(python) site/playground/build.py $(BUILD)/playground

site: $(site) playground
	NO_MKDOCS_2_WARNING=1 $(BUILD)/mkdocs/bin/python -m mkdocs build --quiet --config-file site/mkdocs.yml

test-playground: playground
	cd site/playground && PLAYGROUND=$(CURDIR)/$(BUILD)/playground npm test

mutants: $(dev)
	nice $(python) tests/mutants.py $(FOLDER) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
	    $(if $(JOBS),--jobs $(JOBS)) $(if $(AGAIN),--again) $(if $(TESTS),--tests $(TESTS)) $(if $(MOST),--most $(MOST))

clean:
	rm -rf $(VENV) $(BUILD) dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf site/playground/node_modules $(addprefix editors/vscode/,node_modules syntaxes dist *.vsix)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
