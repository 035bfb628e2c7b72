/* agent/exec_port.h - commands for the host in a guest without an SSH server.
 *
 * Theory of operation. A process and a port of its own: whatever a command does with its pipes,
 * `poweroff` goes another way. One session at a time; a new EXEC_MAGIC ends the one before, and so
 * does a host that hangs up: the command's whole session is killed. What waits in either direction
 * is bounded by not reading on. */
#ifndef AGENT_EXEC_PORT_H
#define AGENT_EXEC_PORT_H

#include "agent/channel.h"

#include <sys/types.h>

#define EXEC_ARGV_MAX 256

struct exec_session {
	int port; /* owned */
	bool connected;
	bool hung_up; /* the host has closed it; a virtio port may be opened again, others not */
	bool greeted; /* frames follow */
	bool input_ended;
	pid_t pid;	  /* 0: no command */
	int in, out, err; /* our ends of its pipes, -1: closed */
	struct buf from_host, to_host, to_command;
};

void exec_session_init(struct exec_session *session, int port);
void exec_session_clear(struct exec_session *session);
/* One turn: waits at most timeout_ms, then moves bytes, starts, ends. also: a signalfd that
 * ends the waiting and is emptied, -1 for none. */
void exec_session_turn(struct exec_session *session, int also, int timeout_ms);

/* Forks the process that serves the port, or the connections to VSOCK_EXEC_PORT; a machine without
 * either has none. */
void exec_port_start(bool vsock);

#endif
