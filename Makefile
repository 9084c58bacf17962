# `make demo` and `make test` do all their set-up themselves: a virtual environment in .venv, filled from PyPI.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test gate baseline reruns soak fuzz check firmware kernels results studies figures pretrained reproduction clean

demo: $(VENV)/.demo
	@rm -rf out/demo
	@$(BIN)/fqtbench run experiments/quickstart.yaml --out out/demo

# A file's tests share what they have built. The slowest files come early by their names; sorted by the number of
# tests, as xdist would, one of them comes last, and the other cores wait for it. Tests of boards wait for these a third
# of their time, so three workers are what keeps two cores busy.
test: check
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

# The project's own gate (docs/ci.md): a training step on each virtual board beside the committed baseline.
gate: $(VENV)/.dev
	@rm -rf out/gate
	@$(BIN)/fqtbench gate experiments/gate.yaml --baseline results/baseline/gate --out out/gate --profile

# After a change that is meant to cost something: make baseline REASON="what it buys"
baseline: export REASON := $(REASON)
baseline: $(VENV)/.dev
	@test -n "$$REASON" || { echo 'make baseline REASON="why": the history of the baseline keeps it' >&2; exit 2; }
	@rm -rf out/baseline
	@$(BIN)/fqtbench run experiments/gate.yaml --out out/baseline
	@$(BIN)/fqtbench baseline update results/baseline/gate out/baseline --reason "$$REASON"

# What takes longer than a test should, on virtual boards: random delays under load, SIGKILL at random instants, faults
# of boards, lines and disks, Ctrl-C, energies through an emulated instrument, a slow-down that the gate must find.
soak: $(VENV)/.dev
	@for name in uart disturbance kills reliability energy gate; do FQTBENCH_STRICT=1 $(BIN)/python -m benchmarks.$$name || exit 1; done

# The gate a hundred times on unchanged code; some ten minutes.
reruns: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.reruns

# Every kind of figure of the paper once, with few samples and one seed.
figures: $(VENV)/.dev
	@rm -rf out/reproduction-quick
	@$(BIN)/fqtbench reproduce --quick

# Any bytes as a model image and on the serial line, for ten minutes each; needs clang.
fuzz: $(VENV)/.dev
	@$(BIN)/python -m tests.fuzz.targets

check: $(VENV)/.dev
	@$(BIN)/ruff check -q harness tests firmware benchmarks
	@$(BIN)/ruff format -q --check harness tests firmware benchmarks
	@$(BIN)/mypy --no-error-summary

# Rebuild the prebuilt firmware; needs Debian's gcc-arm-none-eabi 12.2, with which it comes out bit for bit the same.
firmware: $(VENV)/.dev
	@$(MAKE) -C firmware PYTHON=$(CURDIR)/$(BIN)/python

# After a change of a kernel: prebuilt firmware, results/kernels, the kernels' promises and the documents' tables.
kernels: firmware
	@for name in kernels readme; do $(BIN)/python -m benchmarks.$$name || exit 1; done

# Make the committed figures again: the two suites, every promise, the README's table. Commit first: it clones.
results: $(VENV)/.dev
	@for name in kernels suites uart speed timing_bounds timing_m7 m7_trace flash disturbance kills reliability four_boards energy ppk2_decode trace_hour gate reruns clean_clone readme; do \
		$(BIN)/python -m benchmarks.$$name || exit 1; done

# The accuracy studies on the board `host`, half an hour on one core.
studies: $(VENV)/.dev
	@for name in first_gate arm_swap readme; do $(BIN)/python -m benchmarks.$$name || exit 1; done

# The paper's experiments, whole, into results/reference; an hour or two on two cores. Goes on where it was stopped.
reproduction: $(VENV)/.dev
	@for name in reproduction readme; do $(BIN)/python -m benchmarks.$$name || exit 1; done

# The networks that these start from, in PyTorch (extra `pretrain`).
pretrained: $(VENV)/.pretrain
	@$(BIN)/python -m fqtbench.pretrain

clean:
	@rm -rf $(VENV) build dist out

# Debian without python3-venv has no ensurepip: then the outer pip fills the environment.
$(BIN)/python:
	@$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	@echo "Installing fqtbench into $(VENV) (about 200 MB to download, once)"
	@$(PYTHON) -m pip --python $(BIN)/python install -q --disable-pip-version-check -e '.[virtual]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	@echo "Installing fqtbench and its test tools into $(VENV)"
	@$(PYTHON) -m pip --python $(BIN)/python install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.pretrain: $(VENV)/.dev
	@$(PYTHON) -m pip --python $(BIN)/python install -q --disable-pip-version-check -e '.[pretrain]'
	@touch $@
