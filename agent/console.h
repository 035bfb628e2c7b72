/* agent/console.h - a line for a person, on the VM's console: "banger: …". */
#ifndef AGENT_CONSOLE_H
#define AGENT_CONSOLE_H

/* Keeps errno. Never fails and never grows: a console that takes nothing loses the line. */
void console_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
