# banger.   make [DEV=1] [SAN=address,undefined] [COV=1]   builds into build/, build-san/ …
#   make demo, demo-down   boot the VMs of examples/vms.yaml, take them away again
#   make test              everything that must pass, on real VMs; make unit: only what needs none
#   make lab [NAME=…]      all scenarios as root in VMs where everything of a host may be changed; make lab-shell
#   make crash-matrix, soak   kill -9 at every step; at random moments, a thousand times
#   make lint, bench, docs, install
#   make install-units, deb   units of systemd beside it; a package for Debian
# demo, test, lab and lint install the packages they need (scripts/deps.sh), make deps does only that;
# with NODEPS=1 nothing is installed.

VERSION    := 0.1.0
COMMIT     := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
PREFIX     ?= /usr/local
UNITS      ?= $(PREFIX)/lib/systemd/system
PKG_CONFIG ?= pkg-config
BUILD      ?= build$(if $(SAN),-san)$(if $(COV),-cov)$(if $(FAILPOINTS),-fp)
Q          := $(if $(V),,@)
# "  CC    file.c", unless the commands themselves are shown, or with -s nothing.
say         = $(if $(V)$(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),,@printf '  %-6s%s\n' $(1) $(2))

DEPS       := yaml-0.1 sqlite3 libssh libcjson libarchive devmapper libnl-route-3.0
READY      := $(shell command -v $(firstword $(CC)) > /dev/null && $(PKG_CONFIG) --exists $(DEPS) 2> /dev/null && echo yes)
need_packages = $(if $(READY),,$(error packages are missing: 'make deps' installs them))
WARN       := -Wall -Wextra -Wshadow -Wpedantic -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	      -Wpointer-arith -Wwrite-strings $(if $(DEV),-Werror)
CFLAGS     ?= -O2 -g
BASE_FLAGS := -std=c11 -fno-common -fstack-protector-strong
SAN_FLAGS  := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
COV_FLAGS  := $(if $(COV),--coverage -fprofile-update=atomic -DBANGER_COVERAGE)
override CPPFLAGS += -D_GNU_SOURCE -I. -Ireconciler -MMD -MP \
	      -DBANGER_SHARE_DIR='"$(PREFIX)/share/banger"' $(if $(FAILPOINTS)$(SAN),-DBANGER_FAILPOINTS) \
	      $(shell $(PKG_CONFIG) --cflags $(DEPS) 2>/dev/null)
HOST_CFLAGS = $(BASE_FLAGS) $(WARN) $(CFLAGS) $(SAN_FLAGS) $(COV_FLAGS)
LINK        = $(CC) $(HOST_CFLAGS) -Wl,--as-needed $(LDFLAGS)
LDLIBS     := $(shell $(PKG_CONFIG) --libs $(DEPS) 2>/dev/null) -lm -lresolv -pthread

LAYERS     := base sys plan store rpc source driver guest image exec
objects     = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)))
LIB        := $(BUILD)/libbanger.a
LIB_OBJ    := $(call objects,schema/*.c $(LAYERS:%=reconciler/%/*.c))
AGENT_OBJ  := $(call objects,agent/*.c)
# The guest's own program is never sanitized: its tests on the host are.
GUEST_OBJ  := $(patsubst %.c,$(BUILD)/guest/%.o,$(wildcard agent/*.c) $(addprefix reconciler/base/,\
	      buf.c error.c json.c log.c mem.c units.c fs.c))
SHARE      := $(BUILD)/share/agent.cpio $(patsubst scripts/images/%,$(BUILD)/share/images/%,\
	      $(wildcard scripts/images/*.sh))
UNIT       := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
FUZZ       := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH      := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/bench_*.c))

all: $(BUILD)/banger $(BUILD)/bangerd $(SHARE)

# --- packages: once a checkout, and again when the list changes ---
deps: build/.deps
build/.deps: scripts/deps.sh
	$(if $(NODEPS),,@scripts/deps.sh build run)
	@mkdir -p build && touch $@
test-deps: build/.deps-test
build/.deps-test: scripts/deps.sh
	$(if $(NODEPS),,@scripts/deps.sh build run test)
	@mkdir -p build && touch $@ build/.deps
deb-deps: build/.deps-deb
build/.deps-deb: scripts/deps.sh
	$(if $(NODEPS),,@scripts/deps.sh build deb)
	@mkdir -p build && touch $@
lint-deps: build/.deps-lint
build/.deps-lint: scripts/deps.sh
	$(if $(NODEPS),,@scripts/deps.sh build lint)
	@mkdir -p build && touch $@

# --- objects and programs ---
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(need_packages)
	$(call say,CC,$<)
	$(if $(COV),@rm -f $(@:.o=.gcda))
	$(Q)$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -c $< -o $@

# Those that say which version and commit they are, so that a stale daemon is noticed.
SAYS       := $(shell grep -lE 'BANGER_(VERSION|COMMIT)' agent/*.c reconciler/daemon/*.c reconciler/cli/*.c)
STAMPED    := $(SAYS:%.c=$(BUILD)/%.o) $(patsubst %.c,$(BUILD)/guest/%.o,$(filter agent/%,$(SAYS)))
$(STAMPED): override CPPFLAGS += -DBANGER_VERSION='"$(VERSION)"' -DBANGER_COMMIT='"$(COMMIT)"'
$(STAMPED): $(BUILD)/.commit-$(VERSION)-$(COMMIT)
$(BUILD)/.commit-$(VERSION)-$(COMMIT):
	@mkdir -p $(@D) && rm -f $(BUILD)/.commit-* && touch $@

$(BUILD)/guest/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(BASE_FLAGS) $(WARN) -Os -c $< -o $@

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(Q)$(AR) rcsP $@ $^

$(BUILD)/bangerd: $(call objects,reconciler/daemon/*.c) $(LIB)
$(BUILD)/banger: $(call objects,reconciler/cli/*.c) $(LIB)
$(BUILD)/bangerd $(BUILD)/banger:
	$(call say,LINK,$@)
	$(Q)$(LINK) $^ $(LDLIBS) -o $@

$(BUILD)/banger-agent: $(GUEST_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_FLAGS) -Wl,--as-needed $^ $(shell $(PKG_CONFIG) --libs libcjson 2>/dev/null) -lm -o $@

$(BUILD)/share/agent.cpio: $(BUILD)/banger-agent scripts/agent-initrd.sh
	@mkdir -p $(@D)
	$(Q)scripts/agent-initrd.sh $< $@

$(BUILD)/share/images/%: scripts/images/%
	@mkdir -p $(@D)
	$(Q)install -m 755 $< $@

# --- tests ---
# A test of the CLI or the agent links their objects without main().
TEST_OBJ    = $(if $(findstring test_agent,$@)$(findstring fuzz_agent_request,$@),$(filter-out %/main.o,$(AGENT_OBJ))) \
	      $(if $(findstring test_agent_exec_host,$@),$(BUILD)/reconciler/cli/agent_exec.o) \
	      $(if $(findstring test_cli,$@),$(filter-out %/main.o,$(call objects,reconciler/cli/*.c)))
TEST_LIBS   = $(if $(findstring /tests/,$@),-lcmocka)
$(foreach t,$(UNIT),$(if $(findstring /test_cli,$t),$t)): $(call objects,reconciler/cli/*.c)
$(foreach t,$(UNIT),$(if $(findstring /test_agent,$t),$t)) $(filter %/fuzz_agent_request,$(FUZZ)): $(AGENT_OBJ)
$(BUILD)/tests/test_agent_exec_host: $(BUILD)/reconciler/cli/agent_exec.o
$(FUZZ): tests/fuzz/driver.c
$(BUILD)/tests/%: tests/unit/%.c $(LIB)
	@mkdir -p $(@D)
	@$(PKG_CONFIG) --exists cmocka || { echo "cmocka is missing: 'make test-deps' installs it" >&2; exit 1; }
	$(Q)$(LINK) $(CPPFLAGS) $< $(TEST_OBJ) $(LIB) $(LDLIBS) $(TEST_LIBS) -o $@
$(BUILD)/fuzz/%: tests/fuzz/%.c $(LIB)
	@mkdir -p $(@D)
	$(Q)$(LINK) $(CPPFLAGS) $< tests/fuzz/driver.c $(TEST_OBJ) $(LIB) $(LDLIBS) -o $@
$(BUILD)/bench/%: tests/bench/%.c $(LIB)
	@mkdir -p $(@D)
	$(Q)$(LINK) $(CPPFLAGS) $< $(LIB) $(LDLIBS) -o $@

$(BUILD)/fake/qemu-system-x86_64: tests/fake/qemu.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(BASE_FLAGS) $(WARN) $(CFLAGS) $< -o $@

$(BUILD)/fake/firecracker: tests/fake/firecracker.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(BASE_FLAGS) $(WARN) $(CFLAGS) $< -lcjson -o $@

$(BUILD)/fake/jailer: tests/fake/jailer.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(BASE_FLAGS) $(WARN) $(CFLAGS) $< -o $@

tests-built: all $(UNIT) $(FUZZ) $(addprefix $(BUILD)/fake/,qemu-system-x86_64 firecracker jailer)
unit: tests-built
	@BUILD=$(BUILD) tests/run.sh unit
e2e: tests-built
	@BUILD=$(BUILD) tests/run.sh e2e
test: test-deps
	@$(MAKE) --no-print-directory DEV=1 SAN=address,undefined COV=1 -j$$(nproc) tests-built
	@BUILD=build-san-cov tests/run.sh all
lab lab-shell: test-deps
	@$(MAKE) --no-print-directory DEV=1 SAN=address,undefined COV=1 -j$$(nproc) tests-built
	@BUILD=build-san-cov tests/lab/run.py $(if $(findstring shell,$@),--shell,$(NAME))
# Death at every step; and at random moments, 1,000 times and 20 times on real VMs.
crash-matrix soak: test-deps
	@$(MAKE) --no-print-directory DEV=1 SAN=address,undefined COV=1 -j$$(nproc) tests-built
	@BUILD=build-san-cov BANGER_SOAK=$(or $(BANGER_SOAK),1000) tests/e2e/run.py $(subst -,_,$@)
bench: all $(BENCH)
	@BUILD=$(BUILD) tests/bench/run.sh
demo:
	+@MAKE='$(MAKE)' BUILD=$(BUILD) scripts/demo.sh up
demo-down:
	@BUILD=$(BUILD) scripts/demo.sh down

lint: lint-deps
	@scripts/lint.sh
docs: all
	@scripts/gen-docs.sh $(BUILD)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/banger/images $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	install -m 755 $(BUILD)/banger $(BUILD)/bangerd $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/share/agent.cpio schema/vms.schema.json $(DESTDIR)$(PREFIX)/share/banger
	install -m 755 $(BUILD)/share/images/*.sh $(DESTDIR)$(PREFIX)/share/banger/images
	for page in packaging/man/*.[158]; do install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}; done
	install -m 644 packaging/completion/banger.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/banger
	install -m 644 packaging/completion/_banger $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_banger

# Beside it, on a machine with systemd; then: systemd-sysusers && systemctl enable --now bangerd banger-vms
install-units:
	install -d $(DESTDIR)$(UNITS) $(DESTDIR)$(PREFIX)/lib/systemd/user $(DESTDIR)$(PREFIX)/lib/sysusers.d
	for unit in bangerd banger-vms; do \
		sed 's,@BINDIR@,$(PREFIX)/bin,' packaging/systemd/$$unit.service > $(DESTDIR)$(UNITS)/$$unit.service; done
	sed 's,@BINDIR@,$(PREFIX)/bin,' packaging/systemd/user/bangerd.service > $(DESTDIR)$(PREFIX)/lib/systemd/user/bangerd.service
	install -m 644 packaging/sysusers.d/banger.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d

# build/deb/banger_<version>_amd64.deb; its own build, as the distribution builds
deb: deb-deps
	@CC='$(CC)' scripts/deb.sh $(VERSION) $(COMMIT)

clean:
	rm -rf build build-*

-include $(shell find $(BUILD) -path $(BUILD)/deb -prune -o -type f -name '*.d' -print 2>/dev/null)
.PHONY: all deps test-deps lint-deps tests-built unit e2e test lab lab-shell crash-matrix soak bench demo demo-down lint docs install install-units deb deb-deps clean
