/* Looking things up in the table of commands. */
#include "cli/command.h"
#include "cli/args.h"

#include <string.h>

const char *command_group_title(enum command_group group)
{
	static const char *const titles[GROUP_COUNT_] = {
		[GROUP_STACK] = "Stacks, from files",
		[GROUP_VM] = "VMs, by name",
		[GROUP_IMAGE] = "Images",
		[GROUP_OP] = "Operations",
		[GROUP_DAEMON] = "The daemon and this program",
	};
	return titles[group];
}

/* How many of the words spell name ("image pull": two); 0 when they do not. */
static size_t matches(const char *name, const char *const *words, size_t count)
{
	const char *space = name ? strchr(name, ' ') : NULL;
	if (!name || !count)
		return 0;
	if (!space)
		return !strcmp(name, words[0]);
	size_t len = (size_t)(space - name);
	return count > 1 && strlen(words[0]) == len && !strncmp(words[0], name, len) &&
			       !strcmp(words[1], space + 1)
		       ? 2
		       : 0;
}

const struct command *command_find(const char *const *words, size_t count, size_t *ret_used)
{
	bool vm = count > 1 && !strcmp(words[0], "vm");
	for (size_t i = 0; i < command_count; i++) {
		const struct command *c = &commands[i];
		if (vm && !c->vm_verb)
			continue;
		size_t used = matches(c->name, words + vm, count - vm);
		if (!used)
			used = matches(c->alias, words + vm, count - vm);
		if (used) {
			*ret_used = used + vm;
			return c;
		}
	}
	return NULL;
}

bool command_is_family(const char *word)
{
	size_t len = strlen(word);
	if (!strcmp(word, "vm"))
		return true;
	for (size_t i = 0; i < command_count; i++)
		if (!strncmp(commands[i].name, word, len) && commands[i].name[len] == ' ')
			return true;
	return false;
}

static const char *const families[] = { "vm", "workspace", "image", "op", "daemon" };

const char *command_suggest(const char *first, const char *second)
{
	struct word_vec names = { 0 };
	bool vm = !strcmp(first, "vm");
	for (size_t i = 0; i < command_count; i++)
		if (!commands[i].hidden && (!vm || commands[i].vm_verb))
			word_vec_push(&names, commands[i].name);
	auto_free char *both = second ? xasprintf("%s %s", first, second) : xstrdup(first);
	const char *meant = suggest(vm && second ? second : both, names.at, names.count);
	for (size_t i = 0; !vm && i < ARRAY_COUNT(families); i++)
		word_vec_push(&names, families[i]);
	if (!meant && !vm)
		meant = suggest(first, names.at, names.count);
	word_vec_clear(&names);
	return meant;
}

const struct flag *command_flag(const struct command *command, const char *name)
{
	for (const struct flag *f = command ? command->flags : NULL; f && f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	for (const struct flag *f = global_flags; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}
