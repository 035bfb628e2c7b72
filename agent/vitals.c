#include "agent/vitals.h"
#include "agent/exec.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define FILE_MAX    ((size_t)65536)
#define UNITS_BYTES ((size_t)16384)
#define SYSTEMD_MS  4000
#define SSH_PORT    22
/* Percent of a disk, of its inodes or of the memory: below that something will fail soon. */
#define LITTLE 3

uint64_t meminfo_bytes(const char *text, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = text; *line; line += *line == '\n') {
		if (!strncmp(line, key, len) && line[len] == ':') {
			uint64_t bytes;
			unsigned long long kib = strtoull(line + len + 1, NULL, 10);
			return __builtin_mul_overflow(kib, 1024ULL, &bytes) ? 0 : bytes;
		}
		line += strcspn(line, "\n");
	}
	return 0;
}

/* "0.52 0.58 0.59 1/467 12345" */
void loadavg_parse(const char *text, uint64_t ret[3])
{
	for (int i = 0; i < 3; i++) {
		char *end;
		unsigned long long whole = strtoull(text, &end, 10);
		ret[i] = whole > 1000000 ? 0 : (uint64_t)whole * 100;
		if (end > text && *end == '.' && end[1] >= '0' && end[1] <= '9') {
			ret[i] += (uint64_t)(end[1] - '0') * 10;
			if (end[2] >= '0' && end[2] <= '9')
				ret[i] += (uint64_t)(end[2] - '0');
		}
		text = end + strcspn(end, " ");
	}
}

void units_parse(char *text, cJSON *list)
{
	char *rest = text, *line;
	while ((line = strsep(&rest, "\n")) && cJSON_GetArraySize(list) < VITALS_UNITS_MAX) {
		line += strspn(line, " \t");
		line[strcspn(line, " \t")] = '\0';
		if (*line)
			cJSON_AddItemToArray(list, cJSON_CreateString(line));
	}
}

/* What a kernel file says, "" when it cannot be read. */
static void read_text(const char *path, struct buf *text)
{
	struct error ignored;
	if (fs_read(AT_FDCWD, path, FILE_MAX, text, &ignored) < 0)
		buf_reset(text);
}

static void add_disk(cJSON *result, const char *name, const char *path)
{
	struct statvfs fs;
	auto_free char *size = xasprintf("%s_size", name);
	auto_free char *used = xasprintf("%s_used", name);
	if (statvfs(path, &fs) < 0)
		return;
	json_add_int(result, size, (int64_t)((uint64_t)fs.f_blocks * fs.f_frsize));
	json_add_int(result, used, (int64_t)((uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize));
}

int vitals_stats(const struct agent *agent, cJSON *result, struct error *err)
{
	static const char *const loads[] = { "load_1", "load_5", "load_15" };
	char boot_id[AGENT_BOOT_ID_SIZE];
	uint64_t load[3];
	auto_buf struct buf memory = BUF_INIT;
	auto_buf struct buf average = BUF_INIT;
	(void)err;
	read_text("/proc/meminfo", &memory);
	read_text("/proc/loadavg", &average);
	loadavg_parse(average.data, load);
	agent_boot_id(boot_id);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	json_add_str(result, "boot_id", boot_id);
	json_add_int(result, "uptime_ms", (int64_t)uptime_ms());
	json_add_int(result, "cpus", cpus > 0 ? cpus : 1);
	json_add_int(result, "memory_total", (int64_t)meminfo_bytes(memory.data, "MemTotal"));
	json_add_int(result, "memory_available",
		     (int64_t)meminfo_bytes(memory.data, "MemAvailable"));
	for (int i = 0; i < 3; i++)
		json_add_int(result, loads[i], (int64_t)load[i]);
	add_disk(result, "root", "/");
	if (agent->seed->work_mount)
		add_disk(result, "work", agent->seed->work_mount);
	return 0;
}

/* --- health --- */

static void add_problem(cJSON *problems, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add_problem(cJSON *problems, const char *fmt, ...)
{
	char text[200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cJSON_AddItemToArray(problems, cJSON_CreateString(text));
}

static void check_disk(cJSON *problems, const char *name, const char *path)
{
	struct statvfs fs;
	if (statvfs(path, &fs) < 0) {
		add_problem(problems, "the %s disk at '%s' does not answer: %s", name, path,
			    strerror(errno));
		return;
	}
	if (fs.f_flag & ST_RDONLY)
		add_problem(problems, "the %s disk is read-only", name);
	if (fs.f_blocks && fs.f_bavail * 100 / fs.f_blocks < LITTLE)
		add_problem(problems, "the %s disk is full: %llu KiB are free", name,
			    (unsigned long long)fs.f_bavail * fs.f_frsize / 1024);
	if (fs.f_files && fs.f_favail * 100 / fs.f_files < LITTLE)
		add_problem(problems, "the %s disk has room for only %llu more files", name,
			    (unsigned long long)fs.f_favail);
}

static void check_memory(cJSON *problems)
{
	auto_buf struct buf text = BUF_INIT;
	read_text("/proc/meminfo", &text);
	uint64_t total = meminfo_bytes(text.data, "MemTotal");
	uint64_t available = meminfo_bytes(text.data, "MemAvailable");
	if (total && available < total / 100 * LITTLE)
		add_problem(problems, "little memory is left: %llu KiB",
			    (unsigned long long)available / 1024);
}

_Noreturn static void exec_systemctl(int out)
{
	static const char *const argv[] = { "systemctl", "list-units",	"--state=failed",
					    "--plain",	 "--no-legend", "--no-pager",
					    NULL };
	static const char *const env[] = { "HOME=/root", "SYSTEMD_COLORS=0", EXEC_PATH, NULL };
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(out, STDOUT_FILENO) >= 0) {
		exec_program("/bin/systemctl", argv, env);
		exec_program("/usr/bin/systemctl", argv, env);
	}
	_exit(127);
}

/* All that is said until the end or the deadline; what comes later is not waited for. */
static bool read_until(int fd, uint64_t deadline, struct buf *text)
{
	while (text->len < UNITS_BYTES) {
		struct pollfd look = { .fd = fd, .events = POLLIN };
		uint64_t now = uptime_ms();
		if (now >= deadline || poll(&look, 1, (int)(deadline - now)) <= 0)
			return false;
		ssize_t got = read(fd, buf_grow(text, 4096), 4096);
		if (got <= 0)
			return got == 0;
		buf_grown(text, (size_t)got);
	}
	return true;
}

/* systemd's own word on its units; a guest without it has none that failed. */
static void check_units(cJSON *problems, cJSON *units)
{
	int ends[2];
	auto_buf struct buf text = BUF_INIT;
	if (access("/run/systemd/system", F_OK) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return;
	auto_close int read_end = ends[0];
	pid_t pid = fork();
	if (pid == 0)
		exec_systemctl(ends[1]);
	close(ends[1]);
	if (pid < 0)
		return;
	bool answered = read_until(read_end, uptime_ms() + SYSTEMD_MS, &text);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!answered)
		add_problem(problems, "systemd does not say which units have failed");
	units_parse(text.data, units);
	const cJSON *unit;
	cJSON_ArrayForEach(unit, units)
	{
		add_problem(problems, "unit '%s' has failed", unit->valuestring);
	}
}

int vitals_health(const struct agent *agent, cJSON *result, struct error *err)
{
	(void)err;
	bool ssh = tcp_port_listens(SSH_PORT);
	cJSON *problems = cJSON_AddArrayToObject(result, "problems");
	cJSON *units = cJSON_AddArrayToObject(result, "failed_units");
	if (!agent_is_ready(agent))
		add_problem(problems, "it is not ready yet");
	if (!ssh && agent->phases.at_ms[PHASE_SSH])
		add_problem(problems, "its SSH server no longer listens");
	check_disk(problems, "root", "/");
	if (agent->seed->work_mount)
		check_disk(problems, "work", agent->seed->work_mount);
	check_memory(problems);
	check_units(problems, units);
	json_add_bool(result, "ok", !problems->child);
	json_add_str(result, "phase", phase_name(phases_furthest(&agent->phases)));
	json_add_bool(result, "ready", agent_is_ready(agent));
	json_add_bool(result, "ssh", ssh);
	return 0;
}
