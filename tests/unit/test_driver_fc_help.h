/* A VM's directory with all that Firecracker is told of, and the stand-in to be it. */
#ifndef TESTS_UNIT_TEST_DRIVER_FC_HELP_H
#define TESTS_UNIT_TEST_DRIVER_FC_HELP_H

#include "driver/fc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/stat.h>

#define START_MS 20000

struct world {
	char root[64]; /* a state directory */
	char *vms, *dir, *kernel, *script;
	int dirfd;
	struct vm_machine machine;
	pid_t pid;
	int pidfd;
};

#define MUST(claim)                                                                                \
	do {                                                                                       \
		if (!(claim)) {                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Beside the tests, as the Makefile builds it. */
static inline void use_stand_in(void)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	MUST(len > 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	auto_free char *path = xasprintf("%s/../fake/firecracker", self);
	setenv("BANGER_FIRECRACKER", path, 1);
}

/* What the stand-in reads at its start. */
static inline void script(const struct world *w, const char *text)
{
	struct error err;
	MUST(fs_write(AT_FDCWD, w->script, text, strlen(text), 0600, &err) == 0);
	setenv("FAKE_FIRECRACKER", w->script, 1);
}

static inline void make_file(int dirfd, const char *name, const char *start, off_t size)
{
	auto_close int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	MUST(fd >= 0 && ftruncate(fd, size) == 0);
	MUST(pwrite(fd, start, strlen(start), 0) == (ssize_t)strlen(start));
}

static inline size_t count_entries(const char *path)
{
	auto_dir DIR *dir = opendir(path);
	size_t count = 0;
	while (dir && readdir(dir))
		count++;
	return count;
}

static inline struct world *world_make(void)
{
	struct error err;
	struct world *w = xcalloc(1, sizeof(*w));
	memcpy(w->root, "/tmp/banger-test-XXXXXX", 24);
	MUST(mkdtemp(w->root));
	w->vms = xasprintf("%s/vms", w->root);
	w->dir = xasprintf("%s/ab12", w->vms);
	w->kernel = xasprintf("%s/vmlinux", w->root);
	w->script = xasprintf("%s/script", w->root);
	MUST(fs_mkdirs(w->dir, 0700, &err) == 0);
	w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_file(AT_FDCWD, w->kernel, "\177ELF", 4096);
	make_file(w->dirfd, VM_FILE_INITRD, "seed", 4);
	make_file(w->dirfd, VM_FILE_ROOT_DISK, "", 1 << 20);
	make_file(w->dirfd, VM_FILE_WORK_DISK, "", 1 << 20);
	make_file(w->dirfd, "modules.ext4", "", 1 << 20);
	w->machine = (struct vm_machine){ .id = "ab12",
					  .name = "web",
					  .dir = w->dir,
					  .dirfd = w->dirfd,
					  .vcpus = 2,
					  .memory = 256 * MIB,
					  .memory_max = GIB,
					  .kernel = w->kernel,
					  .kernel_args = "loglevel=7",
					  .modules_disk = "modules.ext4",
					  .has_work_disk = true,
					  .mac = "52:54:00:01:02:03",
					  .tap = "bgr-ab12",
					  .nat = true,
					  .accel = ACCEL_KVM };
	w->pidfd = -1;
	use_stand_in();
	script(w, "");
	return w;
}

/* What it leaves stays. */
static inline void world_kill(struct world *w)
{
	proc_signal(w->pidfd, SIGKILL);
	MUST(proc_wait_gone(w->pidfd, 5000) == 0);
	close(take_fd(&w->pidfd));
}

static inline void world_end(struct world *w)
{
	struct error err;
	if (w->pidfd >= 0)
		world_kill(w);
	close(w->dirfd);
	fs_remove_tree(AT_FDCWD, w->root, &err);
	free(w->vms);
	free(w->dir);
	free(w->kernel);
	free(w->script);
	free(w);
}

static inline int world_start(struct world *w, struct error *err)
{
	return hv_firecracker.start(&w->machine, START_MS, &w->pid, &w->pidfd, err);
}

#endif
