/* Somebody else's "nft flush ruleset", or a firewall that loads its own: what guests may do, and
 * what leads to them, is ours to say. It is heard of at once and set right by a worker, though not
 * in a fight: a second time within a while waits. Without a VM on the bridge nothing is listened
 * to. */
#include "daemon/bridge.h"
#include "base/log.h"
#include "driver/net_tables.h"

#include <sys/epoll.h>
#include <unistd.h>

#define PEACE_MS 5000

struct rules_guard {
	int fd;
	struct loop_watch *watch;
	struct loop_timer *later;
	struct net_tables_talk talk;
	struct mending *now; /* under way */
	bool wanted, edited; /* look again */
	uint64_t mended_ms;
};

struct mending {
	struct work work;
	struct bangerd *d;
	bool edited, mended;
	struct error err;
};

static void mend(struct work *work)
{
	struct mending *mending = (struct mending *)work;
	const struct host *host = &mending->d->host;
	if (net_taps_isolate(!host->vm_to_vm, &mending->err) == 0)
		net_rules_mend(host->rules, mending->edited, &mending->mended, &mending->err);
}

static void begin(void *data);

static void mended(struct work *work)
{
	struct mending *mending = (struct mending *)work;
	struct bangerd *d = mending->d;
	struct rules_guard *guard = d->rules_guard;
	guard->now = NULL;
	if (mending->err.code != ERROR_NONE) {
		log_error(NULL, "somebody else changed the rules of '" NET_BRIDGE "': %s",
			  mending->err.text);
	} else if (mending->mended) {
		guard->mended_ms = clock_monotonic_ms();
		log_warn(NULL, "somebody else changed the rules of '" NET_BRIDGE
			       "' in nftables or switched forwarding off: as they were again");
		event_add(d, EVENT_MENDED, NULL,
			  "the rules of '" NET_BRIDGE "', which somebody else had changed");
	}
	free(mending);
	if (guard->wanted)
		begin(d);
}

static void begin(void *data)
{
	struct bangerd *d = data;
	struct rules_guard *guard = d->rules_guard;
	uint64_t now = clock_monotonic_ms(), peace = guard->mended_ms + PEACE_MS;
	guard->wanted = true;
	if (guard->now)
		return;
	if (guard->mended_ms && now < peace) {
		loop_timer_set(guard->later, peace - now);
		return;
	}
	struct mending *mending = xcalloc(1, sizeof(*mending));
	*mending = (struct mending){ .work = { .run = mend, .done = mended },
				     .d = d,
				     .edited = guard->edited };
	guard->wanted = guard->edited = false;
	guard->now = mending;
	pool_submit(d->pool, &mending->work);
}

static void heard(void *data, uint32_t events)
{
	struct bangerd *d = data;
	(void)events;
	enum net_tables_news news = net_tables_read(d->rules_guard->fd, &d->rules_guard->talk);
	if (news == TABLES_QUIET)
		return;
	d->rules_guard->edited |= news == TABLES_EDITED;
	begin(d);
}

static void listen_to(struct bangerd *d, struct rules_guard *guard)
{
	struct error err;
	guard->fd = net_tables_watch(&err);
	if (guard->fd >= 0)
		guard->watch = loop_watch(d->loop, guard->fd, EPOLLIN, heard, d, &err);
	if (!guard->watch)
		log_debug(NULL, "%s", err.text); /* then each resync looks */
}

static void stop_listening(struct rules_guard *guard)
{
	loop_unwatch(guard->watch);
	cleanup_close(&guard->fd);
	loop_timer_stop(guard->later);
	guard->watch = NULL;
	guard->fd = -1;
	guard->wanted = guard->edited = false;
	guard->talk = (struct net_tables_talk){ 0 };
}

void rules_settle(struct bangerd *d, unsigned link)
{
	struct rules_guard *guard = d->rules_guard;
	if (!guard && link) {
		guard = d->rules_guard = xcalloc(1, sizeof(*guard));
		guard->fd = -1;
		guard->later = loop_timer_new(d->loop, begin, d);
	}
	if (link && guard->fd < 0)
		listen_to(d, guard);
	else if (!link && guard && guard->fd >= 0)
		stop_listening(guard);
}

void rules_resync(struct bangerd *d)
{
	if (d->rules_guard && d->rules_guard->fd >= 0)
		begin(d);
}

void rules_free(struct bangerd *d)
{
	if (!d->rules_guard)
		return;
	stop_listening(d->rules_guard);
	loop_timer_free(d->rules_guard->later);
	free(d->rules_guard->now);
	free(d->rules_guard);
	d->rules_guard = NULL;
}
