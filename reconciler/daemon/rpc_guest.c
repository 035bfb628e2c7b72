/* logs and ssh: how to hear and reach a guest. */
#include "daemon/bangerd.h"
#include "base/fs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Each byte may become six in JSON; a frame holds a mebibyte. */
#define CHUNK (128u << 10)

static int open_vm_dir(struct bangerd *d, const struct vm *vm)
{
	auto_free char *dir = xasprintf("%s/%s", d->vms_dir, vm->row.id);
	return open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* console.log.1 first, console.log behind it. */
struct console_files {
	int fd[2];
	uint64_t size[2];
};

static void files_open(int dirfd, struct console_files *files)
{
	static const char *const names[2] = { VM_FILE_CONSOLE_LOG ".1", VM_FILE_CONSOLE_LOG };
	for (int i = 0; i < 2; i++) {
		struct stat st;
		files->fd[i] = openat(dirfd, names[i],
				      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		/* A hypervisor may put things there: only what we wrote is told. */
		files->size[i] = files->fd[i] >= 0 && fstat(files->fd[i], &st) == 0 &&
						 fs_is_own(&st) && st.st_nlink == 1
					 ? (uint64_t)st.st_size
					 : 0;
	}
}

static size_t files_read(const struct console_files *files, uint64_t offset, char *to, size_t size)
{
	size_t got = 0;
	for (int i = 0; i < 2; i++) {
		while (got < size && offset < files->size[i]) {
			ssize_t n = pread(files->fd[i], to + got, size - got, (off_t)offset);
			if (n <= 0)
				return got;
			got += (size_t)n;
			offset += (uint64_t)n;
		}
		offset = offset > files->size[i] ? offset - files->size[i] : 0;
	}
	return got;
}

/* Where the last `lines` lines begin. */
static uint64_t tail_offset(const struct console_files *files, int64_t lines)
{
	uint64_t total = files->size[0] + files->size[1], at = total;
	auto_free char *chunk = xmalloc(4096);
	while (at > 0) {
		uint64_t from = at > 4096 ? at - 4096 : 0;
		size_t got = files_read(files, from, chunk, (size_t)(at - from));
		for (size_t i = got; i-- > 0;)
			if (chunk[i] == '\n' && from + i + 1 < total && lines-- <= 1)
				return from + i + 1;
		if (got == 0)
			break;
		at = from;
	}
	return 0;
}

/* Console text is bytes, JSON wants UTF-8: what is not ASCII arrives as U+FFFD. */
static char *as_text(const char *data, size_t len)
{
	auto_buf struct buf text = BUF_INIT;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];
		if (c >= 0x80)
			buf_add(&text, "\xef\xbf\xbd");
		else if (c)
			buf_add_char(&text, (char)c);
	}
	return buf_take(&text);
}

HANDLER(rpc_vm_logs)
{
	struct vm *vm = vm_named(request->d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	int64_t tail = json_int(request->params, "tail", -1);
	int64_t offset = json_int(request->params, "offset", -1);
	auto_close int dirfd = open_vm_dir(request->d, vm);
	struct console_files files = { { -1, -1 }, { 0, 0 } };
	if (dirfd >= 0)
		files_open(dirfd, &files);
	/* Positions count from the first byte that this daemon knew of, so a rotation moves none;
	 * one of an earlier daemon may lie behind the end. */
	uint64_t total = files.size[0] + files.size[1], first = vm->log_dropped;
	uint64_t at = 0;
	if (offset >= 0)
		at = (uint64_t)offset > first ? (uint64_t)offset - first : 0;
	else if (tail >= 0)
		at = tail_offset(&files, tail);
	if (at > total)
		at = total;
	auto_free char *chunk = xmalloc(CHUNK);
	size_t got = tail == 0 && offset < 0 ? 0 : files_read(&files, at, chunk, CHUNK);
	if (tail == 0 && offset < 0)
		at = total;
	auto_free char *text = as_text(chunk, got);
	cleanup_close(&files.fd[0]);
	cleanup_close(&files.fd[1]);
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "data", text);
	json_add_int(*ret, "offset", (int64_t)(first + at + got));
	return 0;
}

#define SSH_GRACE_MS 15000

/* The agent's word that port 22 listens; a ready guest that has had its time is worth a try without
 * it, as its agent may be dead or lying. */
static bool may_answer_ssh(const struct vm *vm)
{
	if (vm->feed && agent_feed_state(vm->feed)->ssh)
		return true;
	return vm->ready && clock_wall_ms() - vm->started_ms > SSH_GRACE_MS;
}

static bool agent_answers(const struct vm *vm)
{
	return vm->pid && vm->feed && agent_feed_state(vm->feed)->boot_id[0];
}

/* Its spec does not count on one, and none listens. */
static bool has_no_ssh(const struct vm *vm)
{
	return agent_answers(vm) && vm->ready && vm->want->ready.kind == READY_AGENT &&
	       !agent_feed_state(vm->feed)->ssh;
}

HANDLER(rpc_vm_ssh)
{
	struct bangerd *d = request->d;
	struct vm *vm = vm_named(d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	if (!vm->pid && !vm->job && !vm->dirty && !(vm->retry && loop_timer_is_set(vm->retry)))
		return error_set(err, ERROR_CONFLICT,
				 "vm '%s' is not running (%s), start it with "
				 "banger start %s",
				 vm->row.name, vm_phase_name(vm), vm->row.name);
	auto_free char *known_hosts = xasprintf("%s/%s/known_hosts", d->vms_dir, vm->row.id);
	auto_free char *alias = xasprintf("banger-%s", vm->row.id);
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "name", vm->row.name);
	if (vm->row.workspace)
		cJSON_AddItemToObject(
			*ret, "workspace",
			json_parse(vm->row.workspace, strlen(vm->row.workspace), err));
	if (vm->want->workspace.source[0])
		cJSON_AddItemToObject(*ret, "wanted_workspace",
				      workspace_spec_to_json(&vm->want->workspace));
	json_add_str(*ret, "address", vm->row.address);
	json_add_int(*ret, "port", net_ssh_port(vm->row.address));
	json_add_str(*ret, "user", "root");
	json_add_str(*ret, "identity",
		     conn_is_trusted(request->conn) ? d->identity : d->group_identity);
	json_add_str(*ret, "known_hosts", known_hosts);
	json_add_str(*ret, "alias", alias);
	json_add_int(*ret, "run", (int64_t)vm->start_ticks);
	json_add_bool(*ret, "ready", may_answer_ssh(vm));
	json_add_bool(*ret, "agent", agent_answers(vm));
	json_add_bool(*ret, "agent_only", has_no_ssh(vm));
	json_add_str(*ret, "state", vm_phase_name(vm));
	return 0;
}

#define CHANNEL_CONNECT_MS 50

static int hand_over(int to, int fd, struct error *err)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte = 0;
	struct iovec bytes = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
		return error_sys(err, "cannot hand a descriptor over");
	return 0;
}

/* The client does the talking: what a guest says there is none of the loop's business. */
HANDLER(rpc_vm_exec)
{
	struct vm *vm = vm_named(request->d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	if (request->fd_count != 1)
		return error_set(err, ERROR_INVALID, "vm.exec needs one end of a socket pair");
	if (!agent_answers(vm))
		return error_set(err, ERROR_UNAVAILABLE,
				 "the agent of vm '%s' does not answer (it is %s)", vm->row.name,
				 vm_phase_name(vm));
	auto_close int fd = guest_connect(vm->dirfd, GUEST_EXEC, CHANNEL_CONNECT_MS, 0, err);
	if (fd < 0 && err->code == ERROR_TIMEOUT)
		return error_set(err, ERROR_BUSY, "too many commands wait for the agent of vm '%s'",
				 vm->row.name);
	if (fd < 0 || hand_over(request->fds[0], fd, err) < 0)
		return error_wrap(err, "vm '%s'", vm->row.name);
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "name", vm->row.name);
	return 0;
}

/* What its end can be seen by, and nothing else be done with that the caller could not do by its
 * pid: who is not root cannot signal it. */
HANDLER(rpc_vm_pidfd)
{
	struct vm *vm = vm_named(request->d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	if (request->fd_count != 1)
		return error_set(err, ERROR_INVALID, "vm.pidfd needs one end of a socket pair");
	if (!vm->pid || vm->start_ticks != (uint64_t)json_int(request->params, "run", 0))
		return error_set(err, ERROR_CONFLICT, "that run of vm '%s' has ended",
				 vm->row.name);
	if (hand_over(request->fds[0], vm->pidfd, err) < 0)
		return error_wrap(err, "vm '%s'", vm->row.name);
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "name", vm->row.name);
	return 0;
}
