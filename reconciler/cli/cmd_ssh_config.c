/* ssh-config: let plain ssh, scp, rsync and editors find VMs as NAME.vm.
 *
 * bangerd keeps <state>/ssh_config, and one for members of its group; all that is done to the
 * user's own file is one Include. A link stays a link: the file it leads to is replaced, in its own
 * directory, with its mode. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/ssh_include.h"
#include "base/fs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_MAX (4u << 20)

struct config {
	char *path; /* of the file itself, links resolved */
	bool exists;
	mode_t mode;
	struct buf text;
};

static void config_clear(struct config *config)
{
	free(config->path);
	buf_clear(&config->text);
}

static int config_read(struct config *config, struct error *err)
{
	const char *home = getenv("HOME");
	struct stat st;
	*config = (struct config){ .text = BUF_INIT, .mode = 0600 };
	if (!home || home[0] != '/')
		return error_set(err, ERROR_INVALID, "HOME is not set");
	auto_free char *named = xasprintf("%s/.ssh/config", home);
	config->path = realpath(named, NULL);
	if (!config->path && errno == ENOENT && lstat(named, &st) == 0)
		return error_set(err, ERROR_INVALID, "'%s' is a link that leads nowhere", named);
	if (!config->path && errno != ENOENT)
		return error_sys(err, "cannot open '%s'", named);
	if (!config->path) {
		config->path = xstrdup(named);
		return 0;
	}
	if (stat(config->path, &st) < 0)
		return error_sys(err, "cannot look at '%s'", config->path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERROR_INVALID, "'%s' is not a file", config->path);
	config->exists = true;
	config->mode = st.st_mode & 0777;
	return fs_read(AT_FDCWD, config->path, CONFIG_MAX, &config->text, err);
}

static int config_write(const struct config *config, const struct buf *text, struct error *err)
{
	if (config->exists && text->len == config->text.len &&
	    !memcmp(text->data, config->text.data, text->len))
		return 0;
	if (!config->exists) {
		auto_free char *dir =
			xstrndup(config->path, strlen(config->path) - strlen("/config"));
		if (fs_mkdirs(dir, 0700, err) < 0)
			return -1;
	}
	return fs_write(AT_FDCWD, config->path, text->data, text->len, config->mode, err);
}

static char *included(const struct cli *cli)
{
	return xasprintf("%s/%s", cli->paths.state,
			 cli_is_member(cli) ? PATHS_GROUP_SSH_CONFIG : PATHS_SSH_CONFIG);
}

static int install(struct cli *cli, const struct config *config, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	auto_free char *ours = included(cli);
	if (strpbrk(ours, "\"\n*?["))
		return error_set(err, ERROR_INVALID, "'%s' cannot be written into an ssh_config",
				 ours);
	if (ssh_include_add(&config->text, ours, !config->exists, &text, err) < 0)
		return error_wrap(err, "'%s'", config->path);
	if (config_write(config, &text, err) < 0)
		return -1;
	cli_say(cli, "'%s' includes '%s': ssh NAME.vm\n", config->path, ours);
	return 0;
}

static int uninstall(struct cli *cli, const struct config *config, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	bool created;
	if (!config->exists)
		return 0;
	if (ssh_include_remove(&config->text, &text, &created, err) < 0)
		return error_wrap(err, "'%s'", config->path);
	if (created && !text.len)
		return fs_unlink(AT_FDCWD, config->path, err);
	if (config_write(config, &text, err) < 0)
		return -1;
	if (text.len != config->text.len)
		cli_say(cli, "'%s' is without banger again\n", config->path);
	return 0;
}

int cmd_ssh_config(struct cli *cli)
{
	struct error err = { 0 };
	__attribute__((cleanup(config_clear))) struct config config = { .text = BUF_INIT };
	bool add = cli_flag(cli, "install"), take = cli_flag(cli, "uninstall");
	if (add && take)
		return cli_misused(cli, "--install or --uninstall, not both");
	/* The daemon keeps what is included. To be rid of it none is needed. */
	if ((take ? paths_init(&cli->paths, cli->system, &err) : conn_open(cli, true, &err)) < 0)
		return cli_fail(cli, &err);
	if (!add && !take) {
		auto_free char *ours = included(cli);
		cli_say(cli, "Include \"%s\"\n", ours);
		return STATUS_DONE;
	}
	int failed = config_read(&config, &err);
	if (failed == 0)
		failed = add ? install(cli, &config, &err) : uninstall(cli, &config, &err);
	return failed < 0 ? cli_fail(cli, &err) : STATUS_DONE;
}
