/* logs: what a VM's console said. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/term.h"
#include "base/units.h"

#include <string.h>
#include <time.h>

#define FOLLOW_MS 250

static int fetch(struct cli *cli, int64_t tail, int64_t offset, cJSON **ret, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	json_add_str(params, "name", cli->args.words.at[0]);
	if (offset >= 0)
		json_add_int(params, "offset", offset);
	else if (tail >= 0)
		json_add_int(params, "tail", tail);
	return conn_call(cli, "vm.logs", params, ret, err);
}

static void print(struct cli *cli, struct term_filter *filter, const char *data)
{
	/* A file or a pipe gets what was written, a terminal what is harmless. */
	if (!cli->io.out_tty || cli_flag(cli, "raw")) {
		fputs(data, cli->io.out);
	} else {
		auto_buf struct buf clean = BUF_INIT;
		term_filter_add(filter, &clean, data, strlen(data));
		fputs(clean.data, cli->io.out);
	}
	fflush(cli->io.out);
}

int cmd_logs(struct cli *cli)
{
	struct error err = { 0 };
	struct term_filter filter = { 0 };
	const char *tail_text = cli_value(cli, "tail", NULL);
	uint64_t tail = 0;
	bool begun = false, follow = cli_flag(cli, "follow");
	int64_t offset = -1;
	if (tail_text && (units_parse_u64(tail_text, &tail, &err) < 0 || tail > INT32_MAX))
		return cli_misused(cli, "--tail: '%.40s' is not a number of lines", tail_text);
	while (!ferror(cli->io.out)) {
		auto_json cJSON *reply = NULL;
		if (fetch(cli, tail_text ? (int64_t)tail : -1, offset, &reply, &err) < 0) {
			/* Deleted while it was followed: that is the end of it. */
			bool over = begun && err.code == ERROR_NOT_FOUND;
			return over ? STATUS_DONE : cli_fail_vm(cli, cli->args.words.at[0], &err);
		}
		const char *data = json_str(reply, "data", "");
		int64_t next = json_int(reply, "offset", offset);
		bool moved = data[0] || (begun && next != offset);
		begun = true;
		offset = next;
		print(cli, &filter, data);
		if (moved)
			continue;
		if (!follow)
			return STATUS_DONE;
		struct timespec pause = { .tv_nsec = FOLLOW_MS * 1000000L };
		nanosleep(&pause, NULL);
	}
	return STATUS_FAILED;
}
