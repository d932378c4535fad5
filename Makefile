# make book   the rendered book in _build/html      make lab      the chapters as notebooks in JupyterLab
# make check  what you changed, in two minutes      make edit     the notebooks that the book is made of
# make test   every check                           make pdf      the book on paper: _build/t-vae-book.pdf
# make page   one page alone: PAGE=book/02_kl       make results  the full-length training runs (hours)
# make lint   style only                            make bench    timings, as ratios
# make clean  remove what was built
# make workbooks   the students' workbooks from the teacher's
# make numbers     the computed numbers, written into the text
# make lowest      every check, with the lowest versions that the requirements allow
# make mutants     do the tests notice a changed library? (hours)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
AXE = tests/browser/node_modules/.package-lock.json

# One thread each: sums keep their order, and on a busy machine the threads of BLAS wait for each other (chapter 04: 40 s, not 220).
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
# Notebooks run in this environment's Python, whatever kernels are installed elsewhere under the name python3.
export JUPYTER_PATH =
export JUPYTER_PREFER_ENV_PATH = 1

# The pages' code runs first, two pages at a time. A failed build forgets the pages it read: Sphinx would take them for good the next time.
book: $(VENV)/.book
	$(BIN)/python tools/execute.py
	$(BIN)/jupyter-book build . -W --keep-going || { rm -rf _build/.doctrees; exit 1; }
	@echo 'Open $(CURDIR)/_build/html/index.html'

pdf: $(VENV)/.dev book
	$(BIN)/python tools/make_pdf.py

page: $(VENV)/.book
	@mkdir -p _build/page && printf 'format: jb-book\nroot: $(PAGE)\n' > _build/page/toc.yml
	$(BIN)/jupyter-book build . --toc _build/page/toc.yml --path-output _build/page

# nbval first: the build takes the chapters' outputs from it (book/conftest.py).
test: $(VENV)/.dev lint $(AXE)
	$(BIN)/pytest --nbval-lax --nbval-current-env -n 2 --dist loadfile book/*.ipynb book/workbooks/teacher/*.ipynb
	$(MAKE) book
	$(BIN)/pytest -n 2 --dist worksteal

check: $(VENV)/.dev
	$(BIN)/python tools/check_changed.py

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/python tools/check_notebooks.py book/*.ipynb book/workbooks/*/*.ipynb
	$(BIN)/codespell
	$(BIN)/python tools/make_workbooks.py --check

# The lower end of every range in pyproject.toml, in an environment of its own (6 GB); a fresh .venv has the upper ends.
lowest:
	sed -nE 's/^ *"([a-z0-9-]+)>=([^,]+),.*/\1==\2/p' pyproject.toml > .lowest.txt
	PIP_CONSTRAINT=$(CURDIR)/.lowest.txt $(MAKE) test VENV=.venv-lowest

mutants: $(VENV)/.dev
	$(BIN)/python tools/mutants.py

# Plain copies of the chapters (book/_ext/plain_copies.py), to change as one likes: those that are there already stay.
lab: $(VENV)/.book
	test -d _build/notebooks || $(MAKE) book
	mkdir -p notebooks && cp -n _build/notebooks/*.ipynb notebooks/ || true
	$(BIN)/jupyter trust notebooks/*.ipynb
	$(BIN)/jupyter lab notebooks

edit: $(VENV)/.book
	$(BIN)/jupyter lab book

workbooks: $(VENV)/.book
	$(BIN)/python tools/make_workbooks.py

numbers: $(VENV)/.book
	$(BIN)/python tools/numbers_in_text.py

results: $(VENV)/.book
	$(BIN)/python -m tvae_lib.experiments --jobs 2

bench: $(VENV)/.dev
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf _build .pytest_cache .ruff_cache

# One empty file per list of packages remembers that it is installed.
$(VENV)/.book: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'The book needs Python 3.11 or newer; name one with `make PYTHON=python3.12 ...`.' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml $(VENV)/.book
	$(BIN)/python -m pip install -r requirements-dev.txt
	touch $@

# axe-core, which looks for what readers with a screen reader or weak eyes would stumble over. Everything else works without npm.
$(AXE): tests/browser/package-lock.json
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --fetch-retries 1 || \
	  echo 'axe-core could not be installed with npm: the tests of accessibility will be skipped.' >&2

.PHONY: book pdf page test check lint lowest mutants lab edit workbooks numbers results bench clean
