# banger: make | make demo | make test | make lint | make bench | make install
#   DEV=1 makes warnings errors, SAN=address,undefined builds with sanitizers (into its own folder),
#   COV=1 with coverage. Everything overridable: CC CFLAGS PREFIX DESTDIR BUILD.

VERSION    := 0.1.0
COMMIT     := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
PREFIX     ?= /usr/local
BUILD      ?= build$(if $(SAN),-san)$(if $(COV),-cov)
PKG_CONFIG ?= pkg-config
DEPS       := yaml-0.1 sqlite3 libssh libcjson libarchive
WARN       := -Wall -Wextra -Wshadow -Wpedantic -Wstrict-prototypes -Wmissing-prototypes \
	      -Wvla -Wpointer-arith -Wwrite-strings $(if $(DEV),-Werror)
CFLAGS     ?= -O2 -g
override CFLAGS   += -std=c11 -fno-common -fstack-protector-strong $(WARN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
	$(if $(COV),--coverage -fprofile-update=atomic)
override CPPFLAGS += -D_GNU_SOURCE -I. -Ireconciler -MMD -MP \
	-DBANGER_VERSION='"$(VERSION)"' -DBANGER_SHARE_DIR='"$(PREFIX)/share/banger"' \
	$(shell $(PKG_CONFIG) --cflags $(DEPS))
override LDFLAGS  += $(if $(SAN),-fsanitize=$(SAN)) $(if $(COV),--coverage)
LDLIBS     := $(shell $(PKG_CONFIG) --libs $(DEPS)) -lm -pthread

LIB_SRC    := $(wildcard schema/*.c $(addprefix reconciler/,$(addsuffix /*.c,\
	base sys plan store rpc source driver guest image exec)))
LIB_OBJ    := $(LIB_SRC:%.c=$(BUILD)/%.o)
DAEMON_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard reconciler/daemon/*.c))
CLI_OBJ    := $(patsubst %.c,$(BUILD)/%.o,$(wildcard reconciler/cli/*.c))
AGENT_OBJ  := $(patsubst %.c,$(BUILD)/%.o,$(wildcard agent/*.c))
UNIT       := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
FUZZ       := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

all: $(BUILD)/banger $(BUILD)/bangerd

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(BUILD)/libbanger.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/bangerd: $(DAEMON_OBJ) $(BUILD)/libbanger.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BUILD)/banger: $(CLI_OBJ) $(BUILD)/libbanger.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BUILD)/tests/test_agent_%: tests/unit/test_agent_%.c $(filter-out %/agent/main.o,$(AGENT_OBJ)) $(BUILD)/libbanger.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -lcmocka -o $@

$(BUILD)/tests/%: tests/unit/%.c $(BUILD)/libbanger.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -lcmocka -o $@

unit: $(UNIT)
	@set -e; for t in $(UNIT); do echo "== $$t"; $$t; done

-include $(LIB_OBJ:.o=.d) $(DAEMON_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(AGENT_OBJ:.o=.d) $(UNIT:=.d)

clean:
	rm -rf build build-*

.PHONY: all unit clean
