/* guest keys: made once, private, and the same key for whoever asks. */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct place {
	char path[64];
	int fd;
};

static int make_place(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	str_copy(place->path, sizeof(place->path), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(place->path))
		return -1;
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = place;
	return place->fd < 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;
	struct error err;
	close(place->fd);
	int failed = fs_remove_tree(AT_FDCWD, place->path, &err);
	free(place);
	return failed;
}

static char *read_text(int dirfd, const char *name)
{
	struct error err;
	struct buf text = BUF_INIT;
	if (fs_read(dirfd, name, 65536, &text, &err) < 0)
		fail_msg("%s", err.text);
	return buf_take(&text);
}

static unsigned mode_of(int dirfd, const char *name)
{
	struct stat st;
	assert_int_equal(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode & 07777;
}

static unsigned count_entries(const char *path)
{
	auto_dir DIR *dir = opendir(path);
	unsigned count = 0;
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	return count - 2;
}

static void the_client_key_is_made_once_and_private(void **state)
{
	struct place *place = *state;
	struct error err;
	auto_free char *first = NULL, *second = NULL;
	assert_int_equal(keys_client(place->path, &first, &err), 0);
	assert_int_equal(keys_client(place->path, &second, &err), 0);
	assert_string_equal(first, second);
	assert_memory_equal(first, "ssh-ed25519 ", 12);
	assert_null(strchr(first, '\n'));
	assert_int_equal(mode_of(place->fd, "keys"), 0700);
	assert_int_equal(mode_of(place->fd, "keys/id_ed25519"), 0600);
	auto_free char *file = read_text(place->fd, "keys/id_ed25519.pub");
	auto_free char *line = xasprintf("%s\n", first);
	assert_string_equal(file, line);
	auto_free char *dir = xasprintf("%s/keys", place->path);
	assert_int_equal(count_entries(dir), 2);
}

/* A maker that died between the two files. */
static void a_missing_public_half_is_derived_again(void **state)
{
	struct place *place = *state;
	struct error err;
	assert_int_equal(keys_host(place->fd, "web", &err), 0);
	auto_free char *before = read_text(place->fd, GUEST_FILE_HOST_KEY_PUB);
	assert_int_equal(unlinkat(place->fd, GUEST_FILE_HOST_KEY_PUB, 0), 0);
	assert_int_equal(keys_host(place->fd, "web", &err), 0);
	auto_free char *after = read_text(place->fd, GUEST_FILE_HOST_KEY_PUB);
	assert_string_equal(before, after);
	assert_non_null(strstr(after, " web\n"));
}

static void openssh_reads_the_key_and_agrees(void **state)
{
	struct place *place = *state;
	struct error err;
	assert_int_equal(keys_host(place->fd, "web", &err), 0);
	auto_free char *private = xasprintf("%s/%s", place->path, GUEST_FILE_HOST_KEY);
	const char *const argv[] = { "ssh-keygen", "-y", "-f", private, NULL };
	auto_buf struct buf derived = BUF_INIT;
	if (proc_check(&(struct proc_run){ .argv = argv }, &derived, &err) < 0) {
		if (err.sys == ENOENT)
			skip();
		fail_msg("%s", err.text);
	}
	auto_free char *line = read_text(place->fd, GUEST_FILE_HOST_KEY_PUB);
	derived.data[strcspn(derived.data, "\n")] = '\0';
	assert_memory_equal(line, derived.data, strlen(derived.data));
	auto_free char *text = read_text(place->fd, GUEST_FILE_HOST_KEY);
	for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
		assert_true(strcspn(at, "\n") <= 70);
}

static void a_broken_key_is_an_error_that_names_it(void **state)
{
	struct place *place = *state;
	struct error err;
	assert_int_equal(fs_write(place->fd, GUEST_FILE_HOST_KEY, "junk", 4, 0600, &err), 0);
	assert_int_equal(keys_host(place->fd, "web", &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	assert_non_null(strstr(err.text, "host_key"));
}

static void known_hosts_names_the_alias(void **state)
{
	struct place *place = *state;
	struct error err;
	assert_int_equal(keys_known_hosts(place->fd, "a1b2", &err), -1);
	assert_int_equal(keys_host(place->fd, "a comment of words", &err), 0);
	struct stat first, second;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(keys_known_hosts(place->fd, "a1b2", &err), 0);
		assert_int_equal(fstatat(place->fd, "known_hosts", i ? &second : &first, 0), 0);
	}
	assert_int_equal(first.st_ino, second.st_ino); /* right already: not written again */
	auto_free char *text = read_text(place->fd, "known_hosts");
	assert_memory_equal(text, "banger-a1b2 ssh-ed25519 AAAA", 28);
	assert_null(strstr(text, "comment"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

struct racer {
	const char *path;
	char *line;
	int result;
};

static void *race(void *data)
{
	struct racer *racer = data;
	struct error err;
	racer->result = keys_client(racer->path, &racer->line, &err);
	return NULL;
}

static void threads_that_race_get_one_key(void **state)
{
	struct place *place = *state;
	pthread_t threads[8];
	struct racer racers[8];
	for (int i = 0; i < 8; i++) {
		racers[i] = (struct racer){ .path = place->path };
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(racers[i].result, 0);
		assert_string_equal(racers[i].line, racers[0].line);
	}
	for (int i = 0; i < 8; i++)
		free(racers[i].line);
	auto_free char *dir = xasprintf("%s/keys", place->path);
	assert_int_equal(count_entries(dir), 2);
}

static void processes_that_race_get_one_key(void **state)
{
	struct place *place = *state;
	struct error err;
	pid_t pids[4];
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(keys_client(place->path, NULL, &err) < 0);
	}
	for (int i = 0; i < 4; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	auto_free char *line = NULL;
	assert_int_equal(keys_client(place->path, &line, &err), 0);
	auto_free char *file = read_text(place->fd, "keys/id_ed25519.pub");
	assert_memory_equal(file, line, strlen(line));
}

static void shell_words_survive_quoting(void **state)
{
	(void)state;
	static const char *const words[] = { "",   "plain",	      "two words", "it's",
					     "''", "$HOME `x` \\ \"", "a\nb" };
	struct error err;
	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		auto_buf struct buf script = BUF_INIT;
		auto_buf struct buf out = BUF_INIT;
		buf_add(&script, "printf %s ");
		shell_quote(&script, words[i]);
		const char *const argv[] = { "sh", "-c", script.data, NULL };
		assert_int_equal(proc_check(&(struct proc_run){ .argv = argv }, &out, &err), 0);
		assert_string_equal(out.data, words[i]);
	}
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACED(the_client_key_is_made_once_and_private),
		PLACED(a_missing_public_half_is_derived_again),
		PLACED(openssh_reads_the_key_and_agrees),
		PLACED(a_broken_key_is_an_error_that_names_it),
		PLACED(known_hosts_names_the_alias),
		PLACED(threads_that_race_get_one_key),
		PLACED(processes_that_race_get_one_key),
		cmocka_unit_test(shell_words_survive_quoting),
	};
	ssh_init();
	int failed = cmocka_run_group_tests_name("guest_keys", tests, NULL, NULL);
	ssh_finalize();
	return failed;
}
