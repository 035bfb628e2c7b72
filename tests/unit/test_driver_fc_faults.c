/* driver: each call to Firecracker refused, without an answer, cut off in the midst of it, and
 * answered by the process's end, in every release that differs: the error names the VM, the call
 * and the cause, says by its code whether a second try makes sense, and nothing is left behind. */
#include "test_driver_fc_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>

#define CALL_MS "700" /* how long a call may take when one is to take for ever */

static const char *const versions[] = { "1.5.0",  "1.6.0",  "1.7.0",  "1.8.0",	"1.9.1",
					"1.10.1", "1.11.0", "1.12.1", "1.13.0", "1.14.0",
					"1.15.0", "1.16.1", "1.17.0" };

/* The table of FIRECRACKER.md. */
static const struct fault {
	const char *kind, *text;
	const char *what;  /* for people */
	const char *cause; /* in the error */
	enum error_code code;
	enum error_retry retry;
} faults[] = {
	{ "refuse", "Internal VMM error: it would not", "refuses, in its own words",
	  "refused: Internal VMM error: it would not", ERROR_SYSTEM, RETRY_BACKOFF },
	{ "refuse", "An error occurred when deserializing the json body of a request: no.",
	  "refuses a field or a call that this release does not know",
	  "refused: An error occurred when deserializing", ERROR_INVALID, RETRY_ON_CHANGE },
	{ "delay", "", "does not answer in time", "no answer within " CALL_MS " ms", ERROR_TIMEOUT,
	  RETRY_BACKOFF },
	{ "cut", "", "answers half, a body cut off", "the answer was cut off", ERROR_SYSTEM,
	  RETRY_BACKOFF },
	{ "cut-head", "", "answers half, its headers cut off", "the answer was cut off",
	  ERROR_SYSTEM, RETRY_BACKOFF },
	{ "huge", "", "answers without end", "the answer is longer than", ERROR_SYSTEM,
	  RETRY_BACKOFF },
	{ "crash", "", "ends instead of an answer",
	  "firecracker ended at once: Error: told to crash", ERROR_SYSTEM, RETRY_BACKOFF },
};

/* Only what a start leaves for people: the log, and the lock that nobody holds. */
static void nothing_is_left(const struct world *w)
{
	static const char *const names[] = { VM_FILE_API, VM_FILE_VSOCK, VM_FILE_CONSOLE_PIPE,
					     VM_FILE_KERNEL };
	struct hv_process_vec found = { 0 };
	struct error err;
	struct stat st;
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		MUST(fstatat(w->dirfd, names[i], &st, AT_SYMLINK_NOFOLLOW) < 0);
	MUST(count_entries(w->dir) == 2 + 4 + 2);
	MUST(!lock_is_held(w->dirfd, VM_FILE_LOCK));
	MUST(hv_firecracker.find(w->vms, &found, &err) == 0 && found.count == 0);
	hv_processes_clear(&found);
}

static bool fails_as_it_should(struct world *w, const char *version, const char *call,
			       const struct fault *fault)
{
	struct error err = { 0 };
	auto_free char *text =
		xasprintf("version %s\nfault %s %s %s\n", version, call, fault->kind, fault->text);
	auto_free char *start = xasprintf("firecracker of 'web': %s: ", call);
	script(w, text);
	if (!strcmp(fault->kind, "delay"))
		setenv("BANGER_FC_CALL_MS", CALL_MS, 1);
	int failed = world_start(w, &err);
	unsetenv("BANGER_FC_CALL_MS");
	bool right = failed < 0 && err.code == fault->code &&
		     error_retry(err.code) == fault->retry &&
		     !strncmp(err.text, start, strlen(start)) && strstr(err.text, fault->cause);
	if (!right)
		fprintf(stderr, "%s, %s %s: %d, '%s'\n", version, fault->kind, call, (int)err.code,
			err.text);
	nothing_is_left(w);
	return right;
}

static bool all_fail_as_they_should(const char *text)
{
	struct world *w = world_make();
	struct error err = { 0 };
	fc_version version;
	struct fc_call_vec calls = { 0 };
	size_t wrong = 0;
	MUST(fc_version_parse(text, &version));
	MUST(fc_config(&w->machine, w->kernel, version, &calls, &err) == 0);
	size_t descriptors = count_entries("/proc/self/fd");
	for (size_t fault = 0; fault < ARRAY_COUNT(faults); fault++) {
		wrong += !fails_as_it_should(w, text, "GET /version", &faults[fault]);
		for (size_t i = 0; i < calls.count; i++) {
			auto_free char *call =
				xasprintf("%s %s", calls.at[i].method, calls.at[i].path);
			wrong += !fails_as_it_should(w, text, call, &faults[fault]);
		}
	}
	MUST(count_entries("/proc/self/fd") == descriptors);
	/* And then, in the same directory, all is well. */
	auto_free char *fine = xasprintf("version %s\n", text);
	script(w, fine);
	if (world_start(w, &err) < 0) {
		fprintf(stderr, "%s: %s\n", text, err.text);
		wrong++;
	}
	fc_calls_clear(&calls);
	world_end(w);
	return wrong == 0;
}

/* Most of the time is spent in waiting, so all releases wait together. */
static void every_call_may_fail_in_every_way(void **state)
{
	pid_t children[ARRAY_COUNT(versions)];
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		fflush(NULL);
		children[i] = fork();
		if (children[i] == 0)
			_exit(all_fail_as_they_should(versions[i]) ? 0 : 1);
		assert_true(children[i] > 0);
	}
	size_t wrong = 0;
	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		int status = -1;
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		if (status)
			print_error("Firecracker %s: status %#x\n", versions[i], (unsigned)status);
		wrong += status != 0;
	}
	assert_int_equal(wrong, 0);
}

/* What people read about it is what was seen above. */
static void the_document_has_this_table(void **state)
{
	static const char path[] = "reconciler/driver/FIRECRACKER.md";
	struct error err;
	auto_buf struct buf text = BUF_INIT, table = BUF_INIT;
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		auto_free char *cause = xstrndup(faults[i].cause, strcspn(faults[i].cause, ":"));
		buf_addf(&table, "| %s | `%s` | %s | %s |\n", faults[i].what,
			 !strcmp(faults[i].kind, "delay") ? "no answer within" : cause,
			 error_code_name(faults[i].code),
			 faults[i].retry == RETRY_BACKOFF ? "yes, ever later"
							  : "when the spec changes");
	}
	assert_int_equal(fs_read(AT_FDCWD, path, 65536, &text, &err), 0);
	if (!strstr(text.data, table.data))
		fail_msg("'%s' should have this table:\n%s", path, table.data);
}

static void a_firecracker_that_does_not_start_is_quoted(void **state)
{
	struct world *w = world_make();
	struct error err = { 0 };
	(void)state;
	script(w, "exit 3\n");
	assert_int_equal(world_start(w, &err), -1);
	assert_string_equal(err.text, "firecracker of 'web': GET /version: firecracker ended at "
				      "once: the stand-in was told to fail");
	nothing_is_left(w);

	script(w, "version 1.4.2\n");
	assert_int_equal(world_start(w, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	assert_non_null(strstr(err.text, "Firecracker 1.4 is too old"));
	nothing_is_left(w);

	script(w, "version HEAD\n");
	assert_int_equal(world_start(w, &err), -1);
	assert_non_null(strstr(err.text, "GET /version: 'HEAD' is no version"));
	nothing_is_left(w);

	setenv("BANGER_FIRECRACKER", "/nowhere/firecracker", 1);
	assert_int_equal(world_start(w, &err), -1);
	assert_non_null(strstr(err.text, "/nowhere/firecracker"));
	nothing_is_left(w);
	world_end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_firecracker_that_does_not_start_is_quoted),
		cmocka_unit_test(every_call_may_fail_in_every_way),
		cmocka_unit_test(the_document_has_this_table),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
