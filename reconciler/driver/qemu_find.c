/* The command line of a QEMU of ours, read back: the rest of looking for it is find.c. */
#include "driver/find.h"
#include "driver/qemu.h"
#include "base/units.h"

#include <string.h>

/* Is item one of the comma-separated parts of list? */
static bool list_has(const char *list, const char *item)
{
	size_t len = strlen(item);
	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, item, len) && (!at[len] || at[len] == ','))
			return true;
	}
	return false;
}

static uint64_t leading_number(const char *text, const char **ret_end)
{
	uint64_t value = 0;
	for (; *text >= '0' && *text <= '9' && value < UINT64_MAX / 100; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	*ret_end = text;
	return value;
}

static uint64_t parse_memory(const char *text)
{
	const char *end;
	uint64_t value = leading_number(text, &end), bytes;
	uint64_t unit = *end == 'K' ? KIB : *end == 'G' ? GIB : MIB;
	return __builtin_mul_overflow(value, unit, &bytes) ? 0 : bytes;
}

/* "256M" or "256M,maxmem=1024M" */
static void parse_memories(const char *value, struct hv_process *ret)
{
	static const char most[] = ",maxmem=";
	const char *found = strstr(value, most);
	ret->memory = ret->memory_max = parse_memory(value);
	if (found)
		ret->memory_max = parse_memory(found + strlen(most));
}

static void parse_option(const char *option, const char *value, struct hv_process *ret)
{
	const char *end;
	if (!strcmp(option, "-smp"))
		ret->vcpus = (uint32_t)leading_number(value, &end);
	else if (!strcmp(option, "-m"))
		parse_memories(value, ret);
	else if (!strcmp(option, "-accel"))
		ret->accel = list_has(value, "kvm") ? ACCEL_KVM : ACCEL_TCG;
	else if (!strcmp(option, "-netdev"))
		ret->nat = !list_has(value, "restrict=on");
}

static bool takes_no_value(const char *option)
{
	return !strcmp(option, "-nodefaults") || !strcmp(option, "-no-user-config") ||
	       !strcmp(option, "-S");
}

/* Options and their values are walked in pairs, so that a value (kernel arguments are the user's)
 * is never taken for an option. */
bool qemu_cmdline_parse(const char *cmdline, size_t len, struct hv_process *ret,
			struct buf *ret_vms_dir)
{
	const char *at = cmdline, *end = cmdline + len, *option, *value;
	bool ours = false;
	*ret = (struct hv_process){ .pidfd = -1 };
	find_argument(&at, end); /* the program */
	while ((option = find_argument(&at, end))) {
		if (takes_no_value(option))
			continue;
		value = find_argument(&at, end);
		if (!value)
			break;
		if (!strcmp(option, "-pidfile"))
			ours = find_our_path(value, VM_FILE_PID, ret, ret_vms_dir);
		else
			parse_option(option, value, ret);
	}
	return ours;
}

/* The executable may have been replaced by an upgrade: "/usr/bin/qemu-system-x86_64 (deleted)". */
static bool is_qemu(const char *exe, const char *argv0)
{
	(void)argv0;
	return !strncmp(exe, "qemu-system-", strlen("qemu-system-"));
}

int qemu_find_in(int proc_dirfd, const char *state_vms_dir, struct hv_process_vec *ret,
		 struct error *err)
{
	static const struct find_rules rules = { qemu_cmdline_parse, is_qemu };
	return find_processes(&rules, proc_dirfd, state_vms_dir, ret, err);
}
