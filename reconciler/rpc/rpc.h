/* rpc/rpc.h - what banger and bangerd say to each other.
 *
 * A frame is a 4-byte big-endian length and that many bytes of JSON, at most RPC_FRAME_MAX; up to
 * RPC_FDS_MAX descriptors may travel with its first byte (SCM_RIGHTS): spec sources are opened by
 * the caller and read by the daemon.
 *
 *	request   {"id":7,"method":"vm.stop","params":{…}}
 *	reply     {"id":7,"result":{…}}  or  {"id":7,"error":{"code":"conflict","text":"…"}}
 *
 * One connection may send several requests; replies may come out of order. Lists are paged:
 * {"offset":0} in, {"items":[…],"next":200} out, next absent at the end. rpc/METHODS.md lists the
 * methods; rpc/method.c is their one table. */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

#include <stddef.h>
#include <stdint.h>

#define RPC_FRAME_MAX	  (1u << 20)
#define RPC_FDS_MAX	  64
#define RPC_KEY_FILES_MAX 64		 /* params.key_files */
#define RPC_SOCKET	  "bangerd.sock" /* below paths.runtime */

/* --- framing, both ends: bytes in, whole frames out; never blocks, no descriptors --- */
struct rpc_frames {
	struct buf in;
};
/* 1: *ret is the next whole frame's JSON (caller's), 0: need more bytes, -1: the peer is broken
 * (too long, not JSON) and the connection must end. */
int rpc_frames_next(struct rpc_frames *frames, cJSON **ret, struct error *err);
void rpc_frame_add(struct buf *out, const cJSON *message); /* BUG() above RPC_FRAME_MAX */
/* The same for what a guest or a user can make long: ERROR_INVALID, and out is as it was. */
int rpc_frame_try(struct buf *out, const cJSON *message, struct error *err);

/* --- the daemon's replies --- */
/* result is taken; NULL: {}. One that is too long for a frame becomes an error reply. */
void rpc_reply(struct buf *out, int64_t id, cJSON *result);
void rpc_reply_error(struct buf *out, int64_t id, const struct error *failure);

/* Reads once, at most 64 KiB, into frames; rpc_frames_next() until 0 is due before the next read.
 * Received descriptors are appended to fds[RPC_FDS_MAX] (CLOEXEC), those beyond closed. 0 more may
 * come, 1 end of file, -1 error. Non-blocking or blocking. */
int rpc_receive(int socket, struct rpc_frames *frames, int *fds, size_t *fd_count,
		struct error *err);

/* --- the client end: blocking, one call at a time --- */
struct rpc_client;
struct rpc_client *rpc_client_new(int socket); /* takes the descriptor */
void rpc_client_free(struct rpc_client *client);
DEFINE_CLEANUP(rpc_client, rpc_client_free)
/* params is borrowed, may be NULL; so are fds. *ret is the result object, caller's. An error reply
 * becomes err. timeout_ms 0: none. ERROR_UNAVAILABLE: the connection is of no more use. After
 * ERROR_TIMEOUT it usually still is. */
int rpc_call(struct rpc_client *client, const char *method, const cJSON *params, const int *fds,
	     size_t fd_count, uint64_t timeout_ms, cJSON **ret, struct error *err);

/* --- the method table --- */
struct rpc_method {
	const char *name;
	const char *params; /* for people: "name, [force]" */
	const char *doc;
};
extern const struct rpc_method rpc_methods[];
extern const size_t rpc_method_count;
const struct rpc_method *rpc_method_find(const char *name); /* NULL: no such method */

#endif
