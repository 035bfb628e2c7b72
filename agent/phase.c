#include "agent/phase.h"
#include "base/fs.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#define TABLE_MAX    ((size_t)1 << 20)
#define STATE_LISTEN 0x0A

static const char *const names[PHASE_COUNT_] = {
#define X(name, text) [PHASE_##name] = text,
	PHASES(X)
#undef X
};

const char *phase_name(enum phase phase)
{
	return phase < PHASE_COUNT_ ? names[phase] : "boot";
}

enum phase phases_furthest(const struct phases *phases)
{
	enum phase furthest = PHASE_COUNT_;
	for (int i = 0; i < PHASE_COUNT_; i++)
		if (phases->at_ms[i])
			furthest = (enum phase)i;
	return furthest;
}

uint64_t uptime_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	return ms ? ms : 1;
}

/* The hexadecimal number at *at, which then points behind it; false when there is none. */
static bool hex_number(const char **at, unsigned long *ret)
{
	unsigned long value = 0;
	const char *start = *at;
	for (; isxdigit((unsigned char)**at) && *at - start < 8; (*at)++) {
		unsigned char c = (unsigned char)tolower((unsigned char)**at);
		value = value * 16 + (unsigned long)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*ret = value;
	return *at > start;
}

/* "   0: 00000000:0016 00000000:0000 0A …": slot, local address, remote address, state. */
static bool line_listens(const char *line, uint16_t port)
{
	unsigned long local, state;
	const char *at = line + strcspn(line, ":\n");
	if (*at != ':')
		return false;
	at++;
	at += strspn(at, " ");
	at += strspn(at, "0123456789abcdefABCDEF");
	if (*at++ != ':' || !hex_number(&at, &local) || local != port || *at++ != ' ')
		return false;
	at += strcspn(at, " \n");
	return *at++ == ' ' && hex_number(&at, &state) && state == STATE_LISTEN;
}

bool tcp_table_listens(const char *table, uint16_t port)
{
	for (const char *line = table; *line;) {
		if (line_listens(line, port))
			return true;
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return false;
}

bool tcp_port_listens(uint16_t port)
{
	static const char *const tables[] = { "/proc/net/tcp6", "/proc/net/tcp" };
	for (size_t i = 0; i < 2; i++) {
		struct error ignored;
		auto_buf struct buf text = BUF_INIT;
		/* Listening sockets come first: of a table too long, what was read is enough. */
		if (fs_read(AT_FDCWD, tables[i], TABLE_MAX, &text, &ignored) < 0 && !text.len)
			continue;
		if (tcp_table_listens(text.data, port))
			return true;
	}
	return false;
}
