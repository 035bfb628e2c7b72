/* Theory of operation: the set is kept here and the kernel's tables are made from it as a whole,
 * so that nothing has to be taken apart rule by rule and a kill leaves either the old or the new
 * ones. What the daemon knows of the VMs that run it tells at its start.
 *
 * libnftables, with all that it brings along, is loaded at its first use. Whether there is a table
 * of ours is asked without it: most starts of a daemon find none. */
#include "driver/net_rules.h"
#include "driver/net_bridge.h"
#include "driver/net_hold.h"
#include "driver/net_tables.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/library.h"

#include <netinet/in.h> /* before linux/in.h */

#include <fcntl.h>
#include <linux/netfilter.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FORWARDING	"/proc/sys/net/ipv4/ip_forward"
#define LOCALNET	"/proc/sys/net/ipv4/conf/" NET_BRIDGE "/route_localnet"
#define FORWARDING_FILE "forwarding-was-off"
#define QUOTE_BYTES	300

struct kept {
	char id[16], address[16], mac[18];
	bool nat;
	struct port_list ports; /* owned, with its addresses */
};
DEFINE_VEC(kept_vec, struct kept)

struct net_rules {
	pthread_mutex_t lock;
	char *memory; /* path of FORWARDING_FILE */
	bool vm_to_vm;
	struct kept_vec set;
	uint64_t tables[2]; /* handles, by family */
	struct net_hold_vec holds;
};

/* --- the set --- */

static void ports_clear(struct port_list *ports)
{
	for (size_t i = 0; i < ports->count; i++)
		free((char *)ports->at[i].address);
	free(ports->at);
	*ports = (struct port_list){ 0 };
}

static struct kept kept_from(const struct net_rule *rule)
{
	struct kept kept = { .nat = rule->nat };
	str_copy(kept.id, sizeof(kept.id), rule->id);
	str_copy(kept.address, sizeof(kept.address), rule->address);
	str_copy(kept.mac, sizeof(kept.mac), rule->mac);
	if (!rule->ports || !rule->ports->count)
		return kept;
	kept.ports.at = xcalloc(rule->ports->count, sizeof(*kept.ports.at));
	for (size_t i = 0; i < rule->ports->count; i++) {
		kept.ports.at[i] = rule->ports->at[i];
		kept.ports.at[i].address = xstrdup(rule->ports->at[i].address);
	}
	kept.ports.count = rule->ports->count;
	return kept;
}

static struct kept *find(struct net_rules *rules, const char *id)
{
	for (size_t i = 0; i < rules->set.count; i++)
		if (!strcmp(rules->set.at[i].id, id))
			return &rules->set.at[i];
	return NULL;
}

static void forget(struct net_rules *rules, struct kept *kept)
{
	ports_clear(&kept->ports);
	*kept = rules->set.at[--rules->set.count];
}

static struct net_rule view(const struct kept *kept)
{
	return (struct net_rule){ kept->id, kept->address, kept->mac, kept->nat, &kept->ports };
}

static int check_port(struct net_rules *rules, const char *id, const struct port_spec *port,
		      struct error *err)
{
	for (size_t i = 0; i < rules->set.count; i++) {
		const struct kept *other = &rules->set.at[i];
		for (size_t j = 0; strcmp(other->id, id) && j < other->ports.count; j++) {
			const struct port_spec *p = &other->ports.at[j];
			if (p->host == port->host && p->proto == port->proto &&
			    (!strcmp(p->address, port->address) || !strcmp(p->address, "0.0.0.0") ||
			     !strcmp(port->address, "0.0.0.0")))
				return error_set(err, ERROR_BUSY,
						 "port %s:%u is taken by the VM with the id %s",
						 port->address, port->host, other->id);
		}
	}
	return 0;
}

/* --- the kernel --- */

static struct {
	bool ready;
	LIBRARY_FUNCTION(nft_ctx_new);
	LIBRARY_FUNCTION(nft_ctx_free);
	LIBRARY_FUNCTION(nft_ctx_buffer_error);
	LIBRARY_FUNCTION(nft_ctx_buffer_output);
	LIBRARY_FUNCTION(nft_ctx_get_error_buffer);
	LIBRARY_FUNCTION(nft_run_cmd_from_buffer);
} lib;

static const struct library_symbol symbols[] = {
	LIBRARY_SYMBOL(lib, nft_ctx_new),
	LIBRARY_SYMBOL(lib, nft_ctx_free),
	LIBRARY_SYMBOL(lib, nft_ctx_buffer_error),
	LIBRARY_SYMBOL(lib, nft_ctx_buffer_output),
	LIBRARY_SYMBOL(lib, nft_ctx_get_error_buffer),
	LIBRARY_SYMBOL(lib, nft_run_cmd_from_buffer),
	{ 0 },
};

static void load(void)
{
	static const char *const names[] = { "libnftables.so.1", NULL };
	lib.ready = library_load(names, symbols);
}

static int run(const char *text, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
	if (!lib.ready)
		return error_set(err, ERROR_NOT_FOUND,
				 "libnftables.so.1 is not installed, which the bridge needs: "
				 "apt-get install libnftables1");
	struct nft_ctx *nft = lib.nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return error_set(err, ERROR_SYSTEM, "cannot begin with nftables");
	lib.nft_ctx_buffer_error(nft);
	lib.nft_ctx_buffer_output(nft);
	int result = 0;
	if (lib.nft_run_cmd_from_buffer(nft, text) != 0) {
		auto_buf struct buf quote = BUF_INIT;
		const char *said = lib.nft_ctx_get_error_buffer(nft);
		buf_add_printable(&quote, said, strnlen(said, QUOTE_BYTES));
		result = error_set(err, ERROR_SYSTEM,
				   "cannot set the rules of '" NET_BRIDGE "': %s", quote.data);
	}
	lib.nft_ctx_free(nft);
	return result;
}

static const int families[] = { NFPROTO_INET, NFPROTO_BRIDGE };

static bool any_table(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(families); i++)
		if (net_table_handle(families[i]))
			return true;
	return false;
}

/* Which tables they are, so that those of somebody else can be told from them. */
static void learn_tables(struct net_rules *rules)
{
	for (size_t i = 0; i < ARRAY_COUNT(families); i++)
		rules->tables[i] = net_table_handle(families[i]);
}

static bool tables_are_ours(const struct net_rules *rules)
{
	for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
		uint64_t now = net_table_handle(families[i]);
		if (!now || (now != NET_TABLE_UNKNOWN && now != rules->tables[i]))
			return false;
	}
	return true;
}

/* --- forwarding --- */

static bool reads(const char *path, char wanted)
{
	char byte = 0;
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &byte, 1) == 1 && byte == wanted;
}

static int write_word(const char *path, const char *word, struct error *err)
{
	if (fs_tell(path, word) < 0)
		return error_sys(err, "cannot write '%s' to '%s'", word, path);
	return 0;
}

static bool has_ports(const struct net_rules *rules)
{
	for (size_t i = 0; i < rules->set.count; i++)
		if (rules->set.at[i].ports.count)
			return true;
	return false;
}

static bool needs_forwarding(const struct net_rules *rules)
{
	for (size_t i = 0; i < rules->set.count; i++)
		if (rules->set.at[i].nat)
			return true;
	return has_ports(rules);
}

/* That it was off is written down first: a crash between makes it be switched off once too often,
 * which whoever switched it on meanwhile would notice, rather than never. */
static int forward(struct net_rules *rules, bool *ret_switched, struct error *err)
{
	bool needed = needs_forwarding(rules);
	if (needed && reads(FORWARDING, '0')) {
		if (fs_write(AT_FDCWD, rules->memory, "", 0, 0600, err) < 0)
			return -1;
		*ret_switched = true;
		return write_word(FORWARDING, "1", err);
	}
	if (needed || access(rules->memory, F_OK) < 0)
		return 0;
	if (write_word(FORWARDING, "0", err) < 0)
		return -1;
	return fs_unlink(AT_FDCWD, rules->memory, err);
}

static int apply(struct net_rules *rules, bool *ret_forwarding, struct error *err)
{
	*ret_forwarding = false;
	auto_buf struct buf text = BUF_INIT;
	auto_free struct net_rule *views = xcalloc(rules->set.count + 1, sizeof(*views));
	for (size_t i = 0; i < rules->set.count; i++)
		views[i] = view(&rules->set.at[i]);
	net_rules_text(views, rules->set.count, rules->vm_to_vm, &text);
	if (!rules->set.count && !any_table())
		return forward(rules, ret_forwarding, err);
	if (run(text.data, err) < 0)
		return -1;
	learn_tables(rules);
	if (forward(rules, ret_forwarding, err) < 0)
		return -1;
	/* Behind the rules that make it safe. */
	return has_ports(rules) ? write_word(LOCALNET, "1", err) : 0;
}

/* --- changes --- */

struct net_rules *net_rules_new(const char *runtime_dir, bool vm_to_vm)
{
	struct net_rules *rules = xcalloc(1, sizeof(*rules));
	pthread_mutex_init(&rules->lock, NULL);
	rules->vm_to_vm = vm_to_vm;
	rules->memory = xasprintf("%s/" FORWARDING_FILE, runtime_dir);
	return rules;
}

void net_rules_free(struct net_rules *rules)
{
	if (!rules)
		return;
	while (rules->set.count)
		forget(rules, rules->set.at);
	free(rules->set.at);
	net_hold_clear(&rules->holds);
	free(rules->memory);
	pthread_mutex_destroy(&rules->lock);
	free(rules);
}

void net_rules_found(struct net_rules *rules, const struct net_rule *rule)
{
	pthread_mutex_lock(&rules->lock);
	struct kept *old = find(rules, rule->id);
	if (old)
		forget(rules, old);
	kept_vec_push(&rules->set, kept_from(rule));
	/* What somebody took while no bangerd ran stays his. */
	struct error ignored;
	net_hold_ports(&rules->holds, rule->id, rule->ports, &ignored);
	net_hold_only(&rules->holds, rule->id, rule->ports);
	pthread_mutex_unlock(&rules->lock);
}

bool net_rules_has(struct net_rules *rules, const char *id)
{
	pthread_mutex_lock(&rules->lock);
	bool has = id ? find(rules, id) != NULL : rules->set.count > 0;
	pthread_mutex_unlock(&rules->lock);
	return has;
}

static int put(struct net_rules *rules, const struct net_rule *rule, bool *ret_forwarding,
	       struct error *err)
{
	for (size_t i = 0; rule->ports && i < rule->ports->count; i++)
		if (check_port(rules, rule->id, &rule->ports->at[i], err) < 0)
			return -1;
	struct kept *at = find(rules, rule->id), before = { 0 };
	if (at)
		before = *at;
	else
		at = kept_vec_push(&rules->set, before);
	*at = kept_from(rule);
	if (net_hold_ports(&rules->holds, rule->id, rule->ports, err) == 0 &&
	    apply(rules, ret_forwarding, err) == 0) {
		net_hold_only(&rules->holds, rule->id, rule->ports);
		ports_clear(&before.ports);
		return 0;
	}
	net_hold_only(&rules->holds, rule->id, &before.ports);
	ports_clear(&at->ports);
	*at = before;
	if (!before.id[0])
		forget(rules, at);
	return -1;
}

int net_rules_put(struct net_rules *rules, const struct net_rule *rule, bool *ret_forwarding,
		  struct error *err)
{
	pthread_mutex_lock(&rules->lock);
	int result = put(rules, rule, ret_forwarding, err);
	pthread_mutex_unlock(&rules->lock);
	return result;
}

int net_rules_drop(struct net_rules *rules, const char *id, struct error *err)
{
	bool ignored;
	pthread_mutex_lock(&rules->lock);
	struct kept *kept = find(rules, id);
	if (kept)
		forget(rules, kept);
	int result = apply(rules, &ignored, err);
	net_hold_only(&rules->holds, id, NULL);
	pthread_mutex_unlock(&rules->lock);
	return result;
}

int net_rules_apply(struct net_rules *rules, struct error *err)
{
	bool ignored;
	pthread_mutex_lock(&rules->lock);
	int result = apply(rules, &ignored, err);
	pthread_mutex_unlock(&rules->lock);
	return result;
}

int net_rules_mend(struct net_rules *rules, bool edited, bool *ret_mended, struct error *err)
{
	bool ignored;
	int result = 0;
	pthread_mutex_lock(&rules->lock);
	bool forwarding = !needs_forwarding(rules) || reads(FORWARDING, '1');
	*ret_mended = rules->set.count && (edited || !forwarding || !tables_are_ours(rules));
	if (*ret_mended)
		result = apply(rules, &ignored, err);
	pthread_mutex_unlock(&rules->lock);
	return result;
}
