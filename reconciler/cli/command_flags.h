/* cli/command_flags.h - the flags and the longer texts of command_table.c, and only for it. Flags
 * that several commands share are macros, so that they read alike. */
#ifndef CLI_COMMAND_FLAGS_H
#define CLI_COMMAND_FLAGS_H

#include "cli/command.h"

#define FLAG_FILE                                                                                  \
	{                                                                                          \
		.name = "file", .letter = 'f', .value = "FILE|DIR|-", .complete = COMPLETE_FILE,   \
		.doc = "read VMs from it; may be repeated (default: vms.yaml here)"                \
	}
#define FLAG_YES                                                                                   \
	{                                                                                          \
		.name = "yes", .letter = 'y', .doc = "do not ask"                                  \
	}
#define FLAG_TIMEOUT                                                                               \
	{                                                                                          \
		.name = "timeout", .value = "DURATION",                                            \
		.doc = "wait no longer than this (90s, 10m)"                                       \
	}
#define FLAG_NO_WAIT                                                                               \
	{                                                                                          \
		.name = "no-wait", .doc = "print the operations' ids and do not wait for them"     \
	}
#define FLAG_AGENT                                                                                 \
	{                                                                                          \
		.name = "agent", .doc = "run the command through the guest's agent, not by ssh"    \
	}
#define FLAGS_POLICY                                                                               \
	{ .name = "prune", .doc = "delete VMs of the stack that left the files" },                 \
		{ .name = "prune-all", .doc = "like --prune, however many they are" },             \
		{ .name = "adopt", .doc = "take VMs of these names that belong to no stack" },     \
		{ .name = "take-over",                                                             \
		  .doc = "take the stack from the path it was applied from before" },              \
		{ .name = "allow-data-loss", .doc = "let disks shrink or vanish" },                \
		{ .name = "restart",                                                               \
		  .doc = "restart VMs without asking, where that is needed or a guest does not "   \
			 "follow a live change" },                                                 \
		{ .name = "no-restart",                                                            \
		  .doc = "interrupt no VM: do what goes live, leave the rest pending" },           \
	{                                                                                          \
		.name = "update-images",                                                           \
		.doc = "reimage VMs whose image name means another image now"                      \
	}
/* One flag a scalar field; "-" in the flag is "_" in the key (cmd_vm.c: spec_assignments). */
#define FLAGS_SPEC                                                                                 \
	{ .name = "image",                                                                         \
	  .value = "NAME",                                                                         \
	  .doc = "what the system disk is made of",                                                \
	  .complete = COMPLETE_IMAGE },                                                            \
		{ .name = "kernel", .value = "NAME", .doc = "kernel, if not the image's" },        \
		{ .name = "kernel-args",                                                           \
		  .value = "TEXT",                                                                 \
		  .doc = "appended to the kernel's command line" },                                \
		{ .name = "vcpus", .value = "N", .doc = "virtual CPUs" },                          \
		{ .name = "memory", .value = "SIZE", .doc = "such as 512Mi" },                     \
		{ .name = "memory-max", .value = "SIZE", .doc = "how far it can grow live" },      \
		{ .name = "system-disk", .value = "SIZE", .doc = "size of the system disk" },      \
		{ .name = "work-disk",                                                             \
		  .value = "SIZE",                                                                 \
		  .doc = "size of the disk at /root, 0 for none" },                                \
		{ .name = "nat", .doc = "may reach beyond this host" },                            \
		{ .name = "restart",                                                               \
		  .value = "WHEN",                                                                 \
		  .words = "always on-failure never",                                              \
		  .complete = COMPLETE_WORDS,                                                      \
		  .doc = "start again when it ends by itself" },                                   \
		{ .name = "ready", .value = "WHAT", .doc = "ssh, agent, tcp:PORT or none" },       \
		{ .name = "hypervisor", .value = "NAME", .doc = "which one runs it" },             \
		{ .name = "network", .value = "NAME", .doc = "how it is connected" },              \
		{ .name = "ttl", .value = "DURATION", .doc = "delete it after this time" },        \
		{ .name = "protect", .doc = "refuse to delete it" },                               \
		{ .name = "port",                                                                  \
		  .letter = 'p',                                                                   \
		  .value = "HOST:GUEST",                                                           \
		  .doc = "forward a port of this host; may be repeated" },                         \
	{                                                                                          \
		.name = "set", .value = "KEY=VALUE", .doc = "any field of banger-vms(5)"           \
	}

const struct flag global_flags[] = {
	{ .name = "output",
	  .letter = 'o',
	  .value = "FORMAT",
	  .complete = COMPLETE_WORDS,
	  .words = "table wide json yaml name",
	  .doc = "table, wide, json, yaml or name" },
	{ .name = "no-color", .doc = "no colours (NO_COLOR does the same)" },
	{ .name = "quiet", .letter = 'q', .doc = "only errors; of lists only the names" },
	{ .name = "verbose", .letter = 'v', .doc = "more about what happens" },
	{ .name = "system", .doc = "the VMs of the machine, not your own (BANGER_SYSTEM=1)" },
	{ .name = "help", .letter = 'h', .doc = "about a command" },
	{ 0 },
};

static const struct flag file_flags[] = { FLAG_FILE, { 0 } };
static const struct flag diff_flags[] = {
	FLAG_FILE,
	FLAGS_POLICY,
	{ .name = "out",
	  .value = "FILE",
	  .complete = COMPLETE_FILE,
	  .doc = "write the plan there, for apply --plan" },
	{ 0 },
};
static const struct flag apply_flags[] = {
	FLAG_FILE,
	FLAG_YES,
	FLAGS_POLICY,
	{ .name = "rollback",
	  .doc = "when a change fails, return all that were changed to what was good" },
	{ .name = "plan",
	  .value = "FILE",
	  .complete = COMPLETE_FILE,
	  .doc = "carry out what diff --out wrote, if nothing has moved since" },
	FLAG_NO_WAIT,
	FLAG_TIMEOUT,
	{ 0 },
};
static const struct flag wait_flags[] = { FLAG_NO_WAIT, FLAG_TIMEOUT, { 0 } };
static const struct flag daemon_stop_flags[] = {
	{ .name = "vms", .doc = "shut all VMs down first, until bangerd runs again" },
	FLAG_TIMEOUT,
	{ 0 },
};
static const struct flag delete_flags[] = {
	FLAG_FILE, FLAG_YES, FLAG_NO_WAIT, FLAG_TIMEOUT, { 0 }
};
static const struct flag prune_flags[] = { FLAG_YES, FLAG_NO_WAIT, FLAG_TIMEOUT, { 0 } };
static const struct flag resources_flags[] = {
	{ .name = "orphans", .doc = "only what is nobody's" },
	{ 0 },
};
static const struct flag adopt_flags[] = {
	{ .name = "take", .doc = "make it a VM of banger's, without a restart" },
	{ .name = "name", .value = "NAME", .doc = "of that VM (default: as it calls itself)" },
	{ .name = "image",
	  .value = "NAME",
	  .complete = COMPLETE_IMAGE,
	  .doc = "what its disk was made of, where that cannot be told (default: tiny)" },
	{ 0 },
};
static const struct flag doctor_flags[] = {
	{ .name = "fix", .doc = "mend what can be mended without harm, and say what was done" },
	{ 0 },
};
static const struct flag gc_flags[] = {
	{ .name = "dry-run", .doc = "show what would be removed" },
	FLAG_YES,
	{ 0 },
};
static const struct flag create_flags[] = {
	FLAGS_SPEC,   { .name = "no-start", .doc = "make it, but leave it stopped" },
	FLAG_NO_WAIT, FLAG_TIMEOUT,
	{ 0 },
};
static const struct flag set_flags[] = {
	FLAGS_SPEC,
	FLAG_YES,
	{ .name = "allow-data-loss", .doc = "let disks shrink or vanish" },
	FLAG_NO_WAIT,
	FLAG_TIMEOUT,
	{ 0 },
};
static const struct flag kill_flags[] = {
	{ .name = "signal", .letter = 's', .value = "SIGNAL", .doc = "KILL unless given" },
	FLAG_NO_WAIT,
	FLAG_TIMEOUT,
	{ 0 },
};
static const struct flag ssh_flags[] = {
	{ .name = "tty", .letter = 't', .doc = "give the command a terminal" },
	{ .name = "timeout",
	  .value = "DURATION",
	  .doc = "how long to wait for a VM that is starting (2m)" },
	{ 0 },
};
#define FLAGS_WORKSPACE                                                                            \
	{ .name = "branch", .value = "B", .doc = "make this branch and be on it" },                \
		{ .name = "from", .value = "REF", .doc = "where --branch begins (HEAD)" },         \
		{ .name = "mode",                                                                  \
		  .value = "MODE",                                                                 \
		  .words = "shallow full metadata",                                                \
		  .complete = COMPLETE_WORDS,                                                      \
		  .doc = "one commit, all history and submodules, or .git alone" },                \
		{ .name = "include-untracked", .doc = "untracked files too, never ignored ones" }, \
	{                                                                                          \
		.name = "dry-run", .doc = "list the files that would go, and do nothing"           \
	}
static const struct flag exec_flags[] = {
	{ .name = "auto-prepare",
	  .doc = "prepare the workspace first when it is missing or not up to date" },
	FLAG_AGENT,
	{ .name = "tty", .letter = 't', .doc = "give the command a terminal" },
	{ .name = "timeout",
	  .value = "DURATION",
	  .doc = "how long to wait for a VM that is starting (2m)" },
	{ 0 },
};
static const struct flag run_flags[] = {
	{ .name = "rm", .doc = "delete the VM afterwards, however this ends" },
	{ .name = "name", .value = "N", .doc = "its name (run-xxxxxx)" },
	FLAGS_WORKSPACE,
	FLAG_AGENT,
	{ .name = "tty", .letter = 't', .doc = "give the command a terminal" },
	FLAGS_SPEC,
	{ 0 },
};
static const struct flag prepare_flags[] = {
	FLAGS_WORKSPACE,
	{ .name = "force", .doc = "throw away work that is only in the guest" },
	{ 0 },
};
static const struct flag export_flags[] = {
	{ .name = "base-commit",
	  .value = "SHA",
	  .doc = "compare with this commit, not with what was prepared" },
	{ .name = "file",
	  .letter = 'o',
	  .value = "FILE",
	  .complete = COMPLETE_FILE,
	  .doc = "write the patch there, not to stdout" },
	{ .name = "force", .doc = "write over FILE" },
	{ 0 },
};
static const struct flag ssh_config_flags[] = {
	{ .name = "install", .doc = "include VMs in ~/.ssh/config" },
	{ .name = "uninstall", .doc = "leave ~/.ssh/config as it was" },
	{ 0 },
};
static const struct flag logs_flags[] = {
	{ .name = "follow", .letter = 'f', .doc = "go on as more is written" },
	{ .name = "tail", .letter = 'n', .value = "N", .doc = "begin at the last N lines" },
	{ .name = "raw", .doc = "control sequences too, on a terminal" },
	{ 0 },
};
static const struct flag stats_flags[] = {
	{ .name = "watch", .letter = 'w', .doc = "again every two seconds, until Ctrl-C" },
	{ 0 },
};
static const struct flag watch_flags[] = {
	{ .name = "list", .letter = 'l', .doc = "the directories that are watched" },
	{ .name = "take-over", .doc = "take the stack from the path it was applied from before" },
	{ 0 },
};
static const struct flag pull_flags[] = {
	{ .name = "force", .doc = "again, although it is there" },
	FLAG_NO_WAIT,
	FLAG_TIMEOUT,
	{ 0 },
};
static const struct flag history_flags[] = {
	{ .name = "limit", .value = "N", .doc = "at most so many (50)" },
	{ 0 },
};
static const struct flag rollback_flags[] = {
	FLAG_YES,
	{ .name = "prune", .doc = "delete VMs that were not there then" },
	{ .name = "prune-all", .doc = "like --prune, however many they are" },
	{ .name = "adopt", .doc = "take VMs of these names that belong to no stack" },
	{ .name = "allow-data-loss", .doc = "let disks shrink or vanish" },
	FLAG_NO_WAIT,
	FLAG_TIMEOUT,
	{ 0 },
};
static const struct flag events_flags[] = {
	{ .name = "follow", .letter = 'f', .doc = "go on with those that come" },
	{ .name = "since", .value = "DURATION", .doc = "all since so long ago (10m, 2d)" },
	{ .name = "tail", .value = "N", .doc = "the last N (100; with -f 10)" },
	{ 0 },
};
static const struct flag op_wait_flags[] = { FLAG_TIMEOUT, { 0 } };

#define MORE_ADOPT                                                                                   \
	"Reads the processors, memory, disks, network and ports of a QEMU that was started by "      \
	"hand from its process and its monitor (-qmp unix:PATH), and prints them as YAML. The "      \
	"monitor serves one client at a time: another one has to hang up first.\n\n"                 \
	"--take makes it a VM as it runs: the guest notices nothing. Its disks are linked into "     \
	"banger's directory and stay where they are. ps, show, stop, kill and delete work at once; " \
	"a change of its spec restarts it by banger, on the same disks, and from then on it has "    \
	"banger's agent and keys. What such a restart would not give back (a device, a network, a "  \
	"kernel that banger does not have) is refused by name."
#define MORE_DOCTOR                                                                                  \
	"What does not pass has what to do about it below the table. A warning is about something "  \
	"that works in another way or that not every VM needs. --fix makes /dev/net/tun and the "    \
	"group banger, lets hypervisors open /dev/net/tun, takes from others the right to write to " \
	"banger's directories, and loads modules of the kernel when root calls it; packages it "     \
	"leaves to you, and of the machine's bangerd only root may ask for it. Exits with 4 when a " \
	"check fails, with 0 when there are warnings only."
#define MORE_GC                                                                                      \
	"An orphan is a thing of banger's whose VM is in no record or does not run, or that nobody " \
	"is making any more. It is recognised by more than its name, has to be a minute old, and "   \
	"is compared again at the last moment. Disks of a VM that is in no record are a user's "     \
	"data, and so is a hypervisor that runs on them: they go only here, never by themselves; "   \
	"what holds no data is swept when bangerd starts."
#define MORE_APPLY                                                                                 \
	"Shows the plan, asks on a terminal when running VMs would be interrupted or deleted "     \
	"(elsewhere --yes is wanted), then follows the work until every VM is ready or failed. "   \
	"Ctrl-C leaves the work to the daemon.\n\n"                                                \
	"VMs that left the files are listed and kept, unless --prune is given.\n\n"                \
	"A live change that a guest does not go along with is reported and tried again, the VM "   \
	"runs on; --restart lets it be restarted instead. With --no-restart nothing is "           \
	"interrupted: what goes live is done, the rest is named as pending, and the command ends " \
	"with 3."
#define MORE_SSH                                                                                   \
	"Without a command a shell. Every word of the command reaches the guest as one word, "     \
	"whatever it holds: banger ssh web -- sh -c 'exit 42' ends with 42. The guest's key is "   \
	"known beforehand and always checked. What ssh or banger itself cannot do ends with 125."
#define MORE_EXEC                                                                                  \
	"In the workspace, when one was prepared, and in the environment of mise, when the guest " \
	"has it. Without a command a login shell. Says on stderr when the workspace is missing "   \
	"or the host's HEAD has moved since; --auto-prepare, or auto_prepare in its spec, brings " \
	"it up to date first. By ssh; where the VM is 'ready: agent' without an SSH server, or "   \
	"ssh gets no answer, through its agent, which gives no terminal. Ends with the command's " \
	"status; with 125 when banger itself failed."
#define MORE_RUN                                                                                   \
	"Makes a VM, brings the repository into it at /root/repo when one is named, and runs the " \
	"command there; without one a shell. Ends with the command's status; with 125 when "       \
	"banger itself failed. Without --rm the VM stays. With --rm it goes when the command "     \
	"ends, when anything fails, on Ctrl-C, and when this program is killed: the daemon ties "  \
	"it to the connection."
#define MORE_PREPARE                                                                                                       \
	"Sends the repository around SRC (what its spec says, else here) to /root/repo: its HEAD from git's own objects, " \
	"then what the working tree has changed, deletions too. Untracked files stay here unless "                         \
	"--include-untracked is given, ignored ones always. Submodules go along only with "                                \
	"--mode full. Nothing that the repository's configuration names is run.\n\n"                                       \
	"A workspace that holds work of its own is not replaced without --force."
#define MORE_EXPORT                                                                                \
	"A binary-safe patch of all work in the guest since it was prepared: commits, changes, "   \
	"deletions, renames and new files. Neither the guest's index nor anything on this host "   \
	"is touched; 'git apply' of the patch on what was prepared gives the guest's tree."
#define MORE_CP                                                                                    \
	"SRC or DST is NAME:PATH, a path in the VM, from /root when it is not absolute. "          \
	"Directories go as a whole. Links below what is named stay links."
#define MORE_SSH_CONFIG                                                                            \
	"Then plain ssh, scp, rsync and editors reach a VM as NAME.vm. One Include is written "    \
	"into ~/.ssh/config, nothing else of it is touched; bangerd keeps the included file up "   \
	"to date. Without a flag the line is printed."
#define MORE_HISTORY                                                                               \
	"Every change of what is wanted is a revision: by apply, by a watched directory, by "      \
	"create, set and delete. A number shows what it changed. The last 1,000 are kept."
#define MORE_ROLLBACK                                                                              \
	"A plan like any other: shown, asked for, guarded, followed, and a new revision. A "       \
	"revision is of one stack, whose VMs become what was wanted right after it; disks that "   \
	"were deleted since are made anew and empty. VMs that were not there then are listed and " \
	"kept, unless --prune is given. The stack's file stays as it is, and its next apply "      \
	"undoes this; a watched stack is refused for that reason."
#define MORE_EVENTS                                                                                \
	"Oldest first. With -o json a list, and with -f one object a line. -f goes on over a "     \
	"restart of bangerd and misses nothing. The last 20,000 events are kept, for thirty days."
#define MORE_DELETE                                                                                \
	"Names are deleted without a question; with --file the VMs that the files name are, "      \
	"after "                                                                                   \
	"one. A VM that belongs to a stack is refused by name: take it out of its file."

#endif
