#include "sys/paths.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef BANGER_SHARE_DIR
#define BANGER_SHARE_DIR "/usr/local/share/banger"
#endif

static const char *home_dir(void)
{
	const char *home = secure_getenv("HOME");
	if (home && home[0] == '/')
		return home;
	struct passwd *pw = getpwuid(getuid());
	return pw && pw->pw_dir ? pw->pw_dir : "/";
}

/* $VAR/banger when VAR is an absolute path (the XDG rule), else $HOME/fallback/banger. */
static char *xdg_dir(const char *variable, const char *fallback)
{
	const char *base = secure_getenv(variable);
	if (base && base[0] == '/')
		return xasprintf("%s/banger", base);
	return xasprintf("%s/%s/banger", home_dir(), fallback);
}

static char *runtime_dir(void)
{
	const char *base = secure_getenv("XDG_RUNTIME_DIR");
	if (base && base[0] == '/')
		return xasprintf("%s/banger", base);
	return xasprintf("/tmp/banger-%u", (unsigned)getuid());
}

static char *executable_dir(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (len <= 0)
		return xstrdup("/usr/local/bin");
	path[len] = '\0';
	char *slash = strrchr(path, '/');
	if (slash && slash != path)
		*slash = '\0';
	return xstrdup(path);
}

/* A build tree carries its share/ beside the programs; an installed one knows its prefix. */
static char *share_dir(const char *bin)
{
	const char *given = secure_getenv("BANGER_SHARE");
	if (given && given[0] == '/')
		return xstrdup(given);
	char *beside = xasprintf("%s/share", bin);
	struct stat st;
	if (stat(beside, &st) == 0 && S_ISDIR(st.st_mode))
		return beside;
	free(beside);
	return xstrdup(BANGER_SHARE_DIR);
}

/* /tmp is everybody's: the directory there must be ours alone. */
static int check_private(const char *path, struct error *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return error_sys(err, "cannot look at '%s'", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 077))
		return error_set(err, ERROR_CONFLICT,
				 "'%s' is not a private directory of yours, remove it or set "
				 "XDG_RUNTIME_DIR",
				 path);
	return 0;
}

static void session_dirs(struct paths *paths)
{
	paths->state = xdg_dir("XDG_STATE_HOME", ".local/state");
	paths->cache = xdg_dir("XDG_CACHE_HOME", ".cache");
	paths->config = xdg_dir("XDG_CONFIG_HOME", ".config");
	paths->runtime = runtime_dir();
}

static void system_dirs(struct paths *paths)
{
	const char *root = secure_getenv("BANGER_ROOT");
	if (!root || root[0] != '/')
		root = "";
	paths->state = xasprintf("%s/var/lib/banger", root);
	paths->cache = xasprintf("%s/var/cache/banger", root);
	paths->config = xasprintf("%s/etc/banger", root);
	paths->runtime = xasprintf("%s/run/banger", root);
}

bool paths_system_asked(void)
{
	const char *value = secure_getenv("BANGER_SYSTEM");
	return value && !strcmp(value, "1");
}

static int make_dirs(const struct paths *paths, struct error *err)
{
	if (fs_mkdirs(paths->state, 0700, err) < 0 || fs_mkdirs(paths->cache, 0700, err) < 0)
		return -1;
	/* Whom the machine's socket is for, its owner and mode say. */
	return fs_mkdirs(paths->runtime, paths->system ? 0755 : 0700, err);
}

int paths_init(struct paths *ret, bool system, struct error *err)
{
	*ret = (struct paths){ .system = system, .bin = executable_dir() };
	ret->share = share_dir(ret->bin);
	if (system)
		system_dirs(ret);
	else
		session_dirs(ret);
	if (system && geteuid() != 0)
		return 0;
	if (make_dirs(ret, err) == 0 && (system || check_private(ret->runtime, err) == 0))
		return 0;
	paths_clear(ret);
	return -1;
}

void paths_clear(struct paths *paths)
{
	free(paths->state);
	free(paths->cache);
	free(paths->config);
	free(paths->runtime);
	free(paths->share);
	free(paths->bin);
	*paths = (struct paths){ 0 };
}
