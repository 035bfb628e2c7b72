#include "exec/handles.h"
#include "base/fs.h"
#include "base/json.h"
#include "driver/driver.h"

#include <string.h>

int handles_write(int vm_dirfd, const struct handles *handles, struct error *err)
{
	auto_json cJSON *json = cJSON_CreateObject();
	json_add_int(json, "pid", handles->pid);
	json_add_int(json, "start_ticks", (int64_t)handles->start_ticks);
	json_add_int(json, "started_ms", handles->started_ms);
	auto_free char *text = json_print(json);
	return fs_write(vm_dirfd, VM_FILE_HANDLES, text, strlen(text), 0600, err);
}

int handles_read(int vm_dirfd, struct handles *ret)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT;
	if (fs_read_own(vm_dirfd, VM_FILE_HANDLES, 4096, &text, &ignored) < 0)
		return -1;
	auto_json cJSON *json = json_parse(text.data, text.len, &ignored);
	int64_t pid = json_int(json, "pid", 0), ticks = json_int(json, "start_ticks", 0);
	int64_t started = json_int(json, "started_ms", 0);
	if (pid <= 0 || pid > INT32_MAX || ticks <= 0 || started <= 0)
		return -1;
	*ret = (struct handles){ (pid_t)pid, (uint64_t)ticks, started };
	return 0;
}

int made_write(int vm_dirfd, const char *digest, struct error *err)
{
	return fs_write(vm_dirfd, VM_FILE_MADE, digest, strlen(digest), 0600, err);
}

int made_read(int vm_dirfd, char ret_digest[65])
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT;
	if (fs_read_own(vm_dirfd, VM_FILE_MADE, 64, &text, &ignored) < 0 || text.len != 64 ||
	    strspn(text.data, "0123456789abcdef") != 64)
		return -1;
	memcpy(ret_digest, text.data, 65);
	return 0;
}
