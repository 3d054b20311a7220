# make demo: install and start the demo on http://127.0.0.1:5000
# make test: install and run the whole test suite; make test ARGS=--thorough, with every case in every place
# make test-fast: run the tests that need no servers, browsers or databases but SQLite, in a minute
# make test-oldest: run the same tests with the oldest supported versions of the dependencies
# make test-s3-ceph: run the S3 tests on Ceph's gateway (apt-get install ceph-mon ceph-osd radosgw ceph-common)
# make test-without-linux: run the tests without everything that macOS and BSD lack
# make coverage: run the tests without servers and browsers, and show what they reach; ARGS=... for other tests
# make lint: run ruff and mypy
# make docs: check the documentation and build it in docs/_build
# make links: check the links of the documentation to other sites
# make bench: compare uploads with other servers, up to 2 hours; make bench ARGS=--quick, 8 minutes
# make bench-flaky: measure what broken connections cost, 27 minutes; make bench-flaky ARGS=--quick, 4 minutes
# make picture: make the README's moving picture of the demo anew, docs/demo.gif
# make proof: try for hours to break what is promised; make proof ARGS=--quick, some minutes; ARGS=--help
# make bench-peers: build tusd, rustus and versitygw for both, where go and cargo are installed

PYTHON ?= python3
PORT ?= 5000
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
PAGES = README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs/*.md

# Where bytecode is not kept, as in many containers, each of the hundreds of processes that tests start compiles anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast test-oldest test-s3-ceph test-without-linux coverage lint docs links dist bench bench-flaky bench-peers proof picture clean

demo: $(VENV)/demo demo/node_modules/.installed
	@echo "Open http://127.0.0.1:$(PORT) and upload a file. Finished uploads are in demo/uploads/. Ctrl-C ends it."
	@PORT=$(PORT) $(BIN)/python -m demo

# More processes than most machines have cores: many tests wait rather than compute.
test: $(VENV)/test
	$(BIN)/python -m pytest -n 4 --dist loadgroup -o cache_dir=$(VENV)/pytest $(ARGS)

# Run this before each commit.
test-fast: $(VENV)/test
	$(BIN)/python -m pytest --fast -q -n 2 -o tmp_path_retention_policy=failed -o cache_dir=$(VENV)/pytest $(ARGS)

# The oldest versions that pyproject.toml allows of what the package uses. Not run: tools that need newer ones themselves.
test-oldest: $(OLDEST)/test
	$(OLDEST)/bin/python -m pytest -n 2 --dist loadgroup -o cache_dir=$(OLDEST)/pytest \
	    --ignore tests/test_containers.py --ignore tests/test_deployment_pages.py --ignore tests/test_project.py --ignore tests/typed \
	    --ignore tests/test_mutation.py \
	    --ignore tests/integrations --ignore tests/apps $(ARGS)

test-s3-ceph: $(VENV)/test
	S3_SERVER=ceph $(BIN)/python -m pytest tests/s3 $(ARGS)

# What is not run looks at Linux's own calls, at peers, or at pages.
test-without-linux: $(VENV)/test
	PYTHONPATH=$(CURDIR)/tests/without_linux $(BIN)/python -m pytest -n 4 --dist loadgroup \
	    --ignore tests/browser --ignore tests/test_bench.py $(ARGS)

coverage: $(VENV)/test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist loadgroup $(or $(ARGS),-m "not live and not browser")
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin flask_resumable  # nothing that macOS lacks is taken for granted

# Every warning is an error, so a link that leads nowhere is one. The pages are in docs/_build.
docs: $(VENV)/docs
	$(BIN)/codespell --ignore-words-list nin,iif $(PAGES) flask_resumable
	$(BIN)/proselint check --config docs/proselint.json --output-format compact $(PAGES)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

# The site, and the pages that are not part of it.
links: $(VENV)/docs
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/links
	$(BIN)/python -m sphinx -q -b linkcheck -c docs -D root_doc=README -D suppress_warnings=myst.xref_missing \
	    -D exclude_patterns=$(VENV),$(OLDEST),**/node_modules,docs,build,dist . docs/_build/links-of-the-readme

# What a release uploads. The folder is emptied first, so that no older file is checked or uploaded.
dist: $(VENV)/test
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# Servers to compare with that cannot be installed are left out, with a message.
bench: $(VENV)/bench bench/peers/node_modules/.installed
	$(BIN)/python -m bench $(ARGS)

bench-flaky: $(VENV)/bench bench/peers/node_modules/.installed
	$(BIN)/python -m bench.flaky $(ARGS)

picture: $(VENV)/test
	$(BIN)/python -m tests.browser.picture

# As root: losses of power need file systems of their own.
proof: $(VENV)/test
	$(BIN)/pip install --quiet atheris || echo "atheris cannot be installed: inputs are changed without guidance"
	$(BIN)/python -m proof $(ARGS)

bench-peers:
	-GOBIN=$(CURDIR)/bench/peers/bin go install github.com/tus/tusd/v2/cmd/tusd@v2.9.1
	-GOBIN=$(CURDIR)/bench/peers/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	-timeout 1200 cargo install rustus --root bench/peers

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/test: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,mutation]'
	@touch $@

$(VENV)/docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(OLDEST)/test: pyproject.toml tests/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) tests/oldest.py >$(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install --quiet --disable-pip-version-check --editable '.[test]' --constraint $(OLDEST)/constraints.txt
	@touch $@

$(VENV)/bench: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]' \
	|| ($(BIN)/pip install --quiet --editable . gunicorn \
	    && for peer in 'gevent packaging' granian boto3 Flask-SQLAlchemy 'psycopg[binary]' pymysql 'tuspyserver uvicorn[standard]' 'flowjs==0.1.1 tornado'; do \
	        $(BIN)/pip install --quiet $$peer || echo "$$peer cannot be installed: left out"; done)
	@touch $@

bench/peers/node_modules/.installed: bench/peers/package.json
	-cd bench/peers && npm install --silent --no-audit --no-fund --no-package-lock && touch node_modules/.installed

demo/node_modules/.installed: demo/package.json
	cd demo && npm install --silent --no-audit --no-fund --no-package-lock
	@touch $@

clean:
	rm -rf $(VENV) $(OLDEST) build docs/_build dist *.egg-info demo/node_modules tests/browser/node_modules tests/browser/widgets/node_modules bench/peers/node_modules bench/peers/bin
