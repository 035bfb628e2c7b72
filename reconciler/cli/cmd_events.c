/* events: what happened. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/term.h"
#include "base/units.h"
#include "sys/loop.h"

#include <string.h>
#include <time.h>

#define TAIL	    100
#define TAIL_FOLLOW 10
#define TAIL_MAX    100000
#define WAIT_MS	    20000
#define AGAIN_MS    200
#define KIND_WIDTH  11
#define NAME_WIDTH  14

struct followed {
	cJSON *all; /* for -o json and yaml, which want the list as a whole; NULL */
	int64_t offset, since_ms, tail;
	bool follow, only_new;
};

/* "14:03:07", with the date when it was not today. */
static void add_time(struct buf *line, int64_t at_ms)
{
	time_t at = (time_t)(at_ms / 1000), now = time(NULL);
	struct tm then, today;
	char text[32];
	localtime_r(&at, &then);
	localtime_r(&now, &today);
	bool same = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year;
	strftime(text, sizeof(text), same ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
	buf_add(line, text);
}

static void add_padded(struct buf *line, const char *text, size_t width)
{
	size_t before = line->len;
	buf_add_char(line, ' ');
	term_clean(line, text[0] ? text : "-");
	while (line->len - before <= width)
		buf_add_char(line, ' ');
}

static const char *colour_of(const char *kind)
{
	static const struct {
		const char *kind, *colour;
	} colours[] = { { "ready", TERM_GREEN },    { "failed", TERM_RED },
			{ "died", TERM_RED },	    { "not-ready", TERM_RED },
			{ "refused", TERM_YELLOW }, { "held-back", TERM_YELLOW },
			{ "backoff", TERM_YELLOW }, { "invalid", TERM_YELLOW },
			{ "daemon", TERM_DIM } };
	for (size_t i = 0; i < ARRAY_COUNT(colours); i++)
		if (!strcmp(colours[i].kind, kind))
			return colours[i].colour;
	return "";
}

static void print_text(struct cli *cli, const cJSON *event)
{
	auto_buf struct buf line = BUF_INIT;
	const char *kind = json_str(event, "kind", "");
	const char *vm = json_str(event, "vm", ""), *stack = json_str(event, "stack", "");
	const char *colour = cli->colour ? colour_of(kind) : "";
	add_time(&line, json_int(event, "at_ms", 0));
	/* Of a stack as a whole: its name, so that it cannot be taken for a VM's, in brackets. */
	auto_free char *of = vm[0] || !stack[0] ? xstrdup(vm) : xasprintf("[%s]", stack);
	add_padded(&line, of, NAME_WIDTH);
	buf_add(&line, colour);
	add_padded(&line, kind, KIND_WIDTH);
	if (*colour)
		buf_add(&line, TERM_RESET);
	buf_add_char(&line, ' ');
	term_clean(&line, json_str(event, "text", ""));
	cli_say(cli, "%s\n", line.data);
}

static void print_one(struct cli *cli, struct followed *followed, cJSON *event_taken)
{
	auto_json cJSON *event = event_taken;
	if (followed->all) {
		cJSON_AddItemToArray(followed->all, take_ptr(&event));
	} else if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML) {
		auto_free char *text = json_print(event);
		cli_say(cli, "%s\n", text);
	} else if (cli->output == OUTPUT_NAME || cli->quiet) {
		cli_say(cli, "%lld\n", (long long)json_int(event, "id", 0));
	} else {
		print_text(cli, event);
	}
}

static int fetch(struct cli *cli, const struct followed *followed, bool wait, cJSON **ret,
		 struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	if (cli->args.words.count)
		json_add_str(params, "name", cli->args.words.at[0]);
	if (followed->offset)
		json_add_int(params, "offset", followed->offset);
	if (followed->since_ms)
		json_add_int(params, "since_ms", followed->since_ms);
	if (followed->tail)
		json_add_int(params, "tail", followed->tail);
	if (wait)
		json_add_int(params, "timeout_ms", WAIT_MS);
	return conn_call(cli, "events", params, ret, err);
}

/* Prints a page; true when another one follows at once. */
static bool take_page(struct cli *cli, struct followed *followed, cJSON *page)
{
	cJSON *items = cJSON_DetachItemFromObject(page, "items");
	for (cJSON *event; items && (event = cJSON_DetachItemFromArray(items, 0));) {
		int64_t id = json_int(event, "id", 0);
		followed->offset = id > followed->offset ? id : followed->offset;
		if (followed->only_new)
			cJSON_Delete(event);
		else
			print_one(cli, followed, event);
	}
	followed->only_new = false;
	cJSON_Delete(items);
	fflush(cli->io.out);
	followed->tail = 0;
	if (json_int(page, "next", 0))
		return true;
	/* Behind those of other names too; and where a new store begins, we begin with it. */
	followed->offset = json_int(page, "last", followed->offset);
	return false;
}

/* Until there is a daemon again; it is not for us to start one. */
static void wait_for_daemon(struct cli *cli)
{
	struct error err;
	cli_note(cli, "bangerd has ended, waiting for the next one");
	while (conn_open(cli, false, &err) < 0)
		nanosleep(&(struct timespec){ .tv_nsec = AGAIN_MS * 1000000L }, NULL);
}

static int go_through(struct cli *cli, struct followed *followed, struct error *err)
{
	bool begun = false;
	while (!ferror(cli->io.out)) {
		auto_json cJSON *page = NULL;
		if (fetch(cli, followed, begun && followed->follow, &page, err) < 0) {
			if (!begun || !followed->follow || !conn_is_lost(err))
				return -1;
			conn_close(cli);
			wait_for_daemon(cli);
			continue;
		}
		bool more = take_page(cli, followed, page);
		begun |= !more;
		if (!more && !followed->follow)
			return 0;
	}
	return 0;
}

int cmd_events(struct cli *cli)
{
	struct error err = { 0 };
	uint64_t since = 0, tail = 0;
	bool follow = cli_flag(cli, "follow");
	const char *tail_text = cli_value(cli, "tail", NULL);
	if (cli_duration(cli, "since", &since, &err) < 0)
		return cli_misused(cli, "%s", err.text);
	if (tail_text && (units_parse_u64(tail_text, &tail, &err) < 0 || tail > TAIL_MAX))
		return cli_misused(cli, "--tail: '%.40s' is not a number of events", tail_text);
	struct followed followed = {
		.since_ms = since ? clock_wall_ms() - (int64_t)since : 0,
		.tail = tail_text ? (int64_t)tail
			: since	  ? 0
			: follow  ? TAIL_FOLLOW
				  : TAIL,
		.follow = follow,
		.only_new = tail_text && !tail,
	};
	if (followed.only_new)
		followed.tail = 1; /* to learn where we are */
	bool structured = cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML;
	if (structured && !follow)
		followed.all = cJSON_CreateArray();
	int failed = go_through(cli, &followed, &err);
	if (followed.all && failed == 0)
		cli_print_structured(cli, followed.all);
	cJSON_Delete(followed.all);
	return failed < 0 ? cli_fail(cli, &err) : STATUS_DONE;
}
