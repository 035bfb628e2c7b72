/* adopt: a hypervisor that was started by hand, as YAML, or as a VM from now on. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "schema/vm_spec.h"

#include <string.h>

static int whom(struct cli *cli, cJSON *params, struct error *err)
{
	const char *word = cli->args.words.at[0];
	size_t digits = strspn(word, "0123456789");
	if (digits && digits < 10 && !word[digits]) {
		json_add_int(params, "pid", strtol(word, NULL, 10));
		return 0;
	}
	auto_free char *path = realpath(word, NULL);
	if (!path)
		return error_set(err, ERROR_NOT_FOUND, "'%s' is neither a pid nor a socket", word);
	json_add_str(params, "socket", path);
	return 0;
}

static int print_yaml(struct cli *cli, const cJSON *reply, struct error *err)
{
	auto_ptr(vm_spec) spec = vm_spec_from_json(json_get(reply, "spec"), err);
	if (!spec)
		return -1;
	const struct vm_spec *one = spec;
	auto_free char *text = vm_specs_to_yaml(NULL, &one, 1);
	cli_say(cli, "%s", text);
	return 0;
}

int cmd_adopt(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	auto_json cJSON *params = cJSON_CreateObject();
	bool take = cli_flag(cli, "take");
	json_add_bool(params, "take", take);
	json_add_str(params, "name", cli_value(cli, "name", NULL));
	json_add_str(params, "image", cli_value(cli, "image", NULL));
	if (whom(cli, params, &err) < 0 || conn_call(cli, "host.adopt", params, &reply, &err) < 0)
		return cli_fail(cli, &err);
	const cJSON *refusal;
	cJSON_ArrayForEach(refusal, json_get(reply, "refusals"))
	{
		cli_note(cli, "--take would be refused: %s", refusal->valuestring);
	}
	if (cli->output == OUTPUT_JSON && cli_print_structured(cli, reply))
		return STATUS_DONE;
	if (!take || cli->output == OUTPUT_YAML)
		return print_yaml(cli, reply, &err) < 0 ? cli_fail(cli, &err) : STATUS_DONE;
	const char *name = json_str(reply, "name", "");
	if (cli->output == OUTPUT_NAME)
		cli_say(cli, "%s\n", name);
	else if (!cli->quiet)
		cli_say(cli, "%s adopted, it runs on as pid %d\n", name,
			(int)json_int(reply, "pid", 0));
	return STATUS_DONE;
}
