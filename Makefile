# Every target sets itself up in .venv, from Python >= 3.11 with venv and a C compiler; a second run is quick.
# What runs is the installed package, never the source tree: sources -> wheel -> .venv.
#   PYTHON=python3.12     the interpreter to use (default: the first that will do)
#   BUILD_FLAGS=-v        show the compiler's output
#   PYTEST_ARGS=...       what to test instead of everything
#   LAB_ARGS=...          notebooks: options of jupyter lab, such as --allow-root in a container
#   QUICK=1               bench: a few layers in about a minute;  BENCH_ARGS=... for python -m benchmarks
#                         upsampling: few steps, in about a minute;  UPSAMPLING_ARGS=... as well
#   DOCS=1                bench, dask: the report and its plots go into docs/performance
#                         upsampling: report and pictures go into docs/upsampling, models into the package
#   DASK_ARGS=...         dask: options of python -m benchmarks.chunked, such as --sizes 0.25 1
#   HISTORY_ARGS=...      history: options of pytest-benchmark

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test notebooks docs bench upsampling dask history lint tools clean

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
    $$p -c '$(SUITABLE)' 2>/dev/null && { echo $$p; break; }; done)
PYTEST_ARGS := --pyargs . pyx_deconv
SOURCES := setup.py pyproject.toml $(wildcard $(foreach e,py pyi pyx pxd pxi h,pyx_deconv/*.$e pyx_deconv/*/*.$e)) \
    $(wildcard pyx_deconv/explanation/page/* pyx_deconv/upsampling/models/*)

help:
	@echo 'make demo        enlarge a photograph, answer the classic examples (under three minutes from nothing)'
	@echo 'make test        run the tests and measure the coverage'
	@echo 'make notebooks   open the lessons in JupyterLab'
	@echo 'make docs        run the code of the pages, build them into build/docs, check every link'
	@echo 'make bench       time the library beside the frameworks (QUICK=1: about a minute); a large download'
	@echo 'make upsampling  fit upsamplers to photographs, measure them on others (QUICK=1: about a minute)'
	@echo 'make dask        time pyx_deconv.dask on threads and processes, and measure its memory'
	@echo 'make history     time pyx_deconv alone and compare with the last time, kept in .benchmarks'
	@echo 'make lint        ruff, cython-lint, codespell; mends what it can'
	@echo 'make tools       put tox and pre-commit into .venv: see CONTRIBUTING.md'
	@echo 'make clean       remove .venv, .tox, build, demo-output, upsampling-output and caches'

demo: $(VENV)/extra-demo
	$(BIN)/pyx-deconv demo

# In tests/ neither pytest nor a child process finds the uncompiled tree. Several test processes share the cores, so
# that waiting OpenMP threads have to sleep.
test: $(VENV)/extra-test,bfloat16,dask,demo,explain,images,onnx
	cd tests && OMP_WAIT_POLICY=passive $(BIN)/pytest -n auto --maxprocesses 8 \
	    --cov --cov-config ../pyproject.toml $(PYTEST_ARGS)

notebooks: $(VENV)/extra-notebooks
	$(BIN)/jupyter lab $(LAB_ARGS) notebooks

docs: $(VENV)/extra-docs
	cd tests && $(BIN)/pytest test_docs.py --pyargs pyx_deconv
	@rm -rf build/docs
	PATH="$(BIN):$$PATH" $(BIN)/sphinx-build -W --keep-going -n -E -q -c docs . build/docs
	$(BIN)/python docs/check_links.py build/docs
	@echo 'To read them: build/docs/index.html'

bench: $(VENV)/extra-bench
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(DOCS),--publish docs/performance) $(BENCH_ARGS)

upsampling: $(VENV)/extra-photographs
	$(BIN)/python -m benchmarks.upsampling $(if $(QUICK),--quick) $(if $(DOCS),--publish) $(UPSAMPLING_ARGS)

dask: $(VENV)/extra-dask,explain
	$(BIN)/python -m benchmarks.chunked --output $(if $(DOCS),docs/performance,bench-output) $(DASK_ARGS)

history: $(VENV)/extra-history
	$(BIN)/pytest benchmarks/history.py -W default --benchmark-autosave --benchmark-compare \
	    --benchmark-sort=fullname --benchmark-columns=min,median,iqr $(HISTORY_ARGS)

lint: tools
	PRE_COMMIT_HOME=$(BIN)/../pre-commit $(BIN)/pre-commit run --all-files

tools: $(VENV)/tools

clean:
	rm -rf $(VENV) .tox build demo-output upsampling-output *.egg-info .pytest_cache .ruff_cache .mypy_cache tests/.coverage* tests/.hypothesis
	find pyx_deconv tests notebooks -name __pycache__ -prune -exec rm -rf {} +

# --- the stamps -----------------------------------------------------------------------------------------------

define CHECK_COMPILER
import os, shutil, sys, sysconfig
cc = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
if not shutil.which(cc):
    sys.exit("There is no C compiler: %s was not found. Install one (Debian: apt install gcc) or set CC." % cc)
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("Python.h was not found. Install the headers of %s (Debian: apt install python3-dev)." % sys.executable)
endef
export CHECK_COMPILER

$(VENV)/python:
	@'$(PYTHON)' -c '$(SUITABLE)' 2>/dev/null || { \
	    echo 'Python 3.11 or later with venv is needed (Debian: apt install python3-venv). PYTHON=... names one.'; exit 1; }
	@'$(PYTHON)' -c "$$CHECK_COMPILER"
	'$(PYTHON)' -m venv --clear $(VENV)
	@touch $@

$(VENV)/wheel: $(VENV)/python $(SOURCES)
	@echo 'Building the kernels ...'
	@rm -rf $(VENV)/dist
	$(PIP) wheel --no-deps --wheel-dir $(VENV)/dist $(BUILD_FLAGS) .
	@$(PIP) install --quiet --no-deps --force-reinstall $(VENV)/dist/*.whl
	@touch $@

$(VENV)/extra-%: $(VENV)/wheel
	@echo 'Installing what "$*" needs ...'
	@$(PIP) install --quiet "$$(echo $(VENV)/dist/*.whl)[$*]"
	@touch $@

$(VENV)/tools: $(VENV)/python
	@$(PIP) install --quiet 'tox>=4.30' 'pre-commit>=4'
	@touch $@
