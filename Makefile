# Every target sets up what it needs; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test test-parts test-platform up down status doctor lint bench lock clean java jars superset test-nightly test-superset screenshots pictures dashboards-import dashboards-export docs check-docs audit
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
NIGHTLY ?= none

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F '\t' '{printf "  make %-18s %s\n", $$1, $$2}'

demo: java .venv/.installed ## Start everything, fill it with a shop's traffic, show what comes out
	@$(BIN)/shoplake demo

test: java .venv/.installed jars ## Run the tests; of the nightly ones none, or the share NIGHTLY=0 to 7
	@echo "Functions and rules, and beside them the whole platform ..."
	@$(MAKE) -j 2 test-parts test-platform

test-parts: # what the platform leaves of the machine
	@nice -n 5 $(BIN)/python -m pytest -n 2 --dist loadscope --ignore=tests/e2e --ignore=tests/dashboards --nightly $(NIGHTLY)

test-platform: # told in one piece at its end
	@mkdir -p build; $(BIN)/python -m pytest tests/e2e --nightly $(NIGHTLY) > build/test-platform.log 2>&1; code=$$?; \
		echo "The whole platform:"; cat build/test-platform.log; exit $$code

up: java .venv/.installed ## Start the platform in the background
	@$(BIN)/shoplake up --detach

down: .venv/.installed ## End the platform; data stays
	@$(BIN)/shoplake down

status: .venv/.installed ## Show what runs, where, and how far behind the stream is
	@$(BIN)/shoplake status

doctor: .venv/.installed ## Check this machine, with a remedy per finding
	@$(BIN)/shoplake doctor

lint: .venv/.installed ## Check style, types, and which room imports which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

bench: java .venv/.installed jars ## Measure throughput, freshness, memory, checks, dashboards, gold over HTTP, publishing, peers
	@for one in benchmarks benchmarks.live benchmarks.checks benchmarks.dashboards benchmarks.gold_api benchmarks.publishing benchmarks.peers; do $(BIN)/python -m $$one || exit; done

superset: .venv-superset/.installed ## Install Superset in its own environment; `shoplake up --superset` starts it

test-nightly: java .venv/.installed .venv-superset/.installed jars ## Run all nightly tests, those too that no share has
	@$(BIN)/python -m pytest -m nightly

test-superset: java .venv/.installed .venv-superset/.installed jars ## Test the dashboards in a real Superset
	@$(BIN)/python -m pytest tests/dashboards --nightly $(NIGHTLY)

screenshots: java .venv/.installed .venv-superset/.installed jars ## Take the pictures of docs/images anew
	@$(BIN)/python -m tests.dashboards.screenshots

pictures: ## Draw docs/images/aws.svg from aws.dot; needs Graphviz
	@neato -n2 -Tsvg docs/images/aws.dot -o docs/images/aws.svg

dashboards-import: .venv/.installed ## Bring Superset to what superset/*.yaml says
	@$(BIN)/shoplake superset import

dashboards-export: .venv/.installed ## Write what was changed in Superset into superset/*.yaml
	@$(BIN)/shoplake superset export

audit: .venv-audit/.installed .venv-superset/.installed ## Look for secrets, licences and known vulnerabilities; write bills of materials
	@STRICT=$(STRICT) requirements/audit.sh

docs: .venv-docs/mermaid.min.js ## Build the pages of docs/ into site/; fails on a broken link
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet && echo "The pages are in site/index.html."

check-docs: .venv-docs/.installed ## Look for broken links and anchors in the pages, without building diagrams
	@DIAGRAMS=no NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet --site-dir build/checked-pages

.venv-audit/.installed: .venv/.installed requirements/audit.txt
	@$(BIN)/python requirements/install.py tool .venv-audit requirements/audit.txt

.venv-docs/.installed: .venv/.installed docs/site/requirements.txt
	@$(BIN)/python requirements/install.py tool .venv-docs docs/site/requirements.txt

# The library that draws the diagrams, fetched once and checked, so that the pages need no other server.
MERMAID = mermaid@11.12.1
MERMAID_SHA256 = 198b19442f86f0b46a17e56d3abf744c3a28a3427e66fa8dada3b589a77babcc

.venv-docs/mermaid.min.js: .venv-docs/.installed Makefile
	@command -v npm >/dev/null || { echo "npm was not found: install Node.js with npm." >&2; exit 2; }
	@cd .venv-docs && tar -xzOf "$$(npm pack --silent $(MERMAID))" package/dist/mermaid.min.js > fetched.js && \
		echo "$(MERMAID_SHA256)  fetched.js" | sha256sum --check --quiet && mv fetched.js mermaid.min.js && rm mermaid-*.tgz

COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

lock: java .venv/.installed ## Renew the locked versions and sums of Python packages and JVM parts
	@cd requirements && ../$(BIN)/$(COMPILE) dev.in -o dev.txt
	@cd requirements && ../$(BIN)/$(COMPILE) runtime.in -c dev.txt -o runtime.txt
	@cd requirements && ../$(BIN)/$(COMPILE) audit.in -o audit.txt
	@for folder in docs/site benchmarks/peers superset; do \
		(cd $$folder && "$(CURDIR)"/$(BIN)/$(COMPILE) requirements.in -o requirements.txt) || exit; done
	@$(BIN)/python -m lakehouse.services.jars_lock

clean: ## Remove the environment and caches of this checkout; data in .shoplake/ stays
	@rm -rf .venv .venv-superset .venv-docs .venv-audit site .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

java: # before anything long begins
	@(PATH="$${JAVA_HOME:+$$JAVA_HOME/bin:}$$PATH"; java -version 2>&1) | grep -qE 'version "(17|21)\b' || \
		{ echo "Java 17 or 21 was not found: install it (or set JAVA_HOME to it)." >&2; exit 2; }

jars: .venv/.installed
	@$(BIN)/python -m lakehouse.services.jars

.venv/.installed: requirements/dev.txt requirements/install.py pyproject.toml
	@command -v python3 >/dev/null || { echo "No Python was found: install Python 3.11 or newer." >&2; exit 2; }
	@python3 requirements/install.py venv dev.txt

.venv-superset/.installed: .venv/.installed superset/requirements.txt
	@$(BIN)/python requirements/install.py tool .venv-superset superset/requirements.txt

# On AWS (docs/how-to/aws-deploy.md). SIZE=demo|team|production NAME=shoplake REGION=… RELEASE=… PARAMETERS="-p AlarmEmail=… -p …"
NAME ?= shoplake
AWS = $(BIN)/python -m deploy.aws
WHICH = --name $(NAME) $(if $(REGION),--region $(REGION))

dist: .venv/.installed ## Make the release artefact of what is committed
	@$(AWS) dist

deploy: .venv/.installed ## Deploy to AWS: make deploy SIZE=demo|team|production
	@$(AWS) deploy $(WHICH) $(if $(SIZE),--size $(SIZE)) $(PARAMETERS)

diff: .venv/.installed ## Show what a deploy to AWS would change
	@$(AWS) diff $(WHICH) $(if $(SIZE),--size $(SIZE)) $(PARAMETERS)

rollback: .venv/.installed ## Go back to an earlier release on AWS: make rollback RELEASE=0.1.0-…
	@$(AWS) rollback $(RELEASE) $(WHICH)

destroy: .venv/.installed ## Delete the installation on AWS; its data stays unless DELETE_DATA=yes
	@$(AWS) destroy $(WHICH) $(if $(filter yes,$(DELETE_DATA)),--delete-data)

.PHONY: dist deploy diff rollback destroy
