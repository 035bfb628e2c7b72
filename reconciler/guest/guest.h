/* guest/guest.h - the host's side of a guest: keys, the seed it boots from, its agent, its SSH.
 *
 * Blocking, worker threads, every call with a deadline; except agent_feed_*, which is the loop's
 * and never blocks. Nothing a guest says is trusted: lines, counts and numbers are bounded. */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "schema/vm_spec.h"

#include <stdbool.h>
#include <stdint.h>

/* --- keys (libssh) --- below a VM's directory: */
#define GUEST_FILE_HOST_KEY	"host_key"
#define GUEST_FILE_HOST_KEY_PUB "host_key.pub"
#define GUEST_FILE_KNOWN_HOSTS	"known_hosts"
/* banger's own client key: <state>/keys/id_ed25519 and .pub, made once (0600). */
int keys_client(const char *state_dir, char **ret_public_line, struct error *err);
/* <state>/keys/group_ed25519, for members of the group; 0: for nobody, and it goes. */
int keys_share(const char *state_dir, gid_t group, struct error *err);
/* A VM's host key: host_key and host_key.pub in its directory (OpenSSH format), made once. */
int keys_host(int vm_dirfd, const char *comment, struct error *err);
/* Rewrites vms/<id>/known_hosts for its host key under the alias "banger-<id>". */
int keys_known_hosts(int vm_dirfd, const char *id, struct error *err);

/* --- the seed: a small cpio (libarchive, newc) with everything that is per VM --- */
struct seed {
	const char *id, *name;
	const struct vm_spec *spec; /* ready, files, ssh_keys, work_disk */
	const char *mac;
	const char *address;	/* of the guest: "10.0.2.15/24"; NULL: no network */
	const char *gateway;	/* "10.0.2.2"; may be NULL */
	const char *dns;	/* "10.0.2.3"; may be NULL */
	const char *client_key; /* banger's own public key line */
	bool modules_disk;	/* there is one, with serial "modules" */
	int vm_dirfd;		/* for the host key */
	const char *home;	/* whose git identity goes in; NULL: $HOME */
};
#define SEED_FILES_MAX (16u << 20) /* bytes of all `files` together */
/* Writes dirfd/VM_FILE_INITRD: modules cpio + agent cpio + seed cpio, replaced whole. Unreadable
 * `files` sources are an error that names VM and file. */
int seed_write_initrd(const struct seed *seed, const char *modules_cpio, const char *agent_cpio,
		      struct error *err);

/* The member "ready" of the seed, which the agent also takes by a call. */
void seed_add_ready(cJSON *to, const struct ready_spec *ready);

/* --- the agent --- agent/PROTOCOL.md */
enum guest_line { GUEST_AGENT, GUEST_EXEC };
/* A connection to the agent or to its commands, whatever the hypervisor has for that; as
 * unix_connect(). */
int guest_connect(int vm_dirfd, enum guest_line line, uint64_t timeout_ms, int nonblocking,
		  struct error *err);
#define AGENT_PHASES 6
extern const char *const agent_phase_names[AGENT_PHASES]; /* kernel … ready, in their order */
struct agent_state {
	char boot_id[40];
	char phase[16]; /* mounted network ssh ready */
	bool ready;
	bool ssh;			 /* its port 22 listens */
	char failed[256];		 /* the agent's last words, "" none */
	uint64_t ready_ms;		 /* since the guest's boot, 0 not yet */
	uint64_t phase_ms[AGENT_PHASES]; /* the same for each of agent_phase_names */
};

/* The loop's end: bytes in, at most one change at a time out. */
struct agent_feed;
enum agent_event {
	AGENT_NOTHING,
	AGENT_CHANGED,
	AGENT_READY,
	AGENT_FAILED,
	AGENT_REPLY,
	AGENT_BROKEN
};
struct agent_feed *agent_feed_new(void);
void agent_feed_free(struct agent_feed *feed);
/* The bytes to send first on a new connection (hello). */
const char *agent_feed_hello(const struct agent_feed *feed);
/* Call with what was read, then with len 0 until AGENT_NOTHING. BROKEN: garbage or too much. */
enum agent_event agent_feed_push(struct agent_feed *feed, const char *data, size_t len);
const struct agent_state *agent_feed_state(const struct agent_feed *feed);

/* Questions over the same connection, answered by AGENT_REPLY in any order or never: deadlines are
 * the caller's. Appends the request's line to send; its id, or -1: BUSY with AGENT_ASKS_MAX on
 * their way, UNAVAILABLE before hello was answered. */
#define AGENT_ASKS_MAX 16
int64_t agent_feed_ask(struct agent_feed *feed, const char *method, const cJSON *params,
		       struct buf *line, struct error *err);
/* Its reply, should it still come, is passed over. */
void agent_feed_forget(struct agent_feed *feed, int64_t id);
/* After AGENT_REPLY, once: whose. *ret is the result, caller's; or NULL and err what the agent
 * said was wrong. */
int64_t agent_feed_take_reply(struct agent_feed *feed, cJSON **ret, struct error *err);
/* What a guest answered to a method that people see (stats, health, ports, boot, ping), reduced to
 * the members that PROTOCOL.md names, each of its kind, texts printable, lists and lengths bounded.
 * Missing members stay missing. Never NULL. */
cJSON *agent_answer_clean(const char *method, const cJSON *result);

/* A worker's call: connects to VM_FILE_AGENT below vm_dirfd, says hello, asks, disconnects. params
 * borrowed or NULL; *ret (may be NULL) the result, caller's. QEMU serves one client of the port at
 * a time: the loop's connection must be closed first. */
int agent_call(int vm_dirfd, const char *method, const cJSON *params, uint64_t timeout_ms,
	       cJSON **ret, struct error *err);

/* --- SSH (libssh), host key pinned to vms/<id>/host_key.pub --- */
struct ssh_target {
	const char *address; /* 127.x.y.z */
	uint16_t port;
	const char *identity; /* path of the private key */
	int vm_dirfd;	      /* for host_key.pub */
};
/* Runs one command as root; its exit status in *ret_status; out (may be NULL): stdout and stderr as
 * they come, the first 64 KiB. The caller ignores SIGPIPE. ERROR_CONFLICT: another host key, or
 * ours is refused; ERROR_UNAVAILABLE: no connection, or it ended before the status came (as after
 * `poweroff`). */
int ssh_run(const struct ssh_target *target, const char *command, uint64_t timeout_ms,
	    int *ret_status, struct buf *out, struct error *err);
/* Shell-quotes for a POSIX shell: 'a'\''b'. Appends. */
void shell_quote(struct buf *to, const char *word);

#endif
