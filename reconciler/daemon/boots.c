/* How long a VM takes to be ready, from its last starts: what a restart will cost. */
#include "daemon/bangerd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEPT 5

static size_t boots_of(const struct vm *vm, uint64_t ret[KEPT])
{
	const char *at = vm->row.boots ? vm->row.boots : "";
	size_t count = 0;
	while (*at && count < KEPT) {
		char *end;
		ret[count] = strtoull(at, &end, 10);
		if (end == at)
			break;
		count++;
		at = end;
	}
	return count;
}

void vm_note_boot(struct vm *vm, uint64_t ms)
{
	uint64_t boots[KEPT];
	size_t count = boots_of(vm, boots);
	auto_buf struct buf text = BUF_INIT;
	buf_addf(&text, "%" PRIu64, ms);
	for (size_t i = 0; i < count && i < KEPT - 1; i++)
		buf_addf(&text, " %" PRIu64, boots[i]);
	free(vm->row.boots);
	vm->row.boots = buf_take(&text);
	vm_save_or_log(vm);
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

uint64_t vm_expected_boot(const struct vm *vm)
{
	uint64_t boots[KEPT];
	size_t count = boots_of(vm, boots);
	if (!count)
		return 0;
	qsort(boots, count, sizeof(*boots), compare);
	return boots[count / 2];
}
