#include "exec/ledger.h"
#include "base/env.h"
#include "base/failpoint.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

const struct ledger_kind *const ledger_kinds[] = {
	&ledger_hypervisors,  &ledger_jails,  &ledger_dm,
	&ledger_loops, /* those of a device go with it */
	&ledger_links,	      &ledger_rules,  &ledger_vm_files,
	&ledger_leftovers,    &ledger_images, &ledger_cache,
	&ledger_half_written, &ledger_daemon, NULL,
};

struct object *ledger_add(struct ledger *ledger, const struct ledger_kind *from, const char *kind,
			  char *what_taken)
{
	return object_vec_push(&ledger->objects, (struct object){ .from = from,
								  .kind = kind,
								  .what = what_taken,
								  .since_ms = ledger->now_ms });
}

void object_of_file(struct object *object, const struct stat *st)
{
	object->st = *st;
	object->size = (uint64_t)st->st_blocks * 512;
	object->since_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

void object_of_vm(struct object *object, const struct ledger *ledger, const char *id)
{
	str_copy(object->id, sizeof(object->id), id);
	object->need = NEED_RUN;
	object->held = vm_lock_is_held(ledger->host->vms_dir, id);
}

void object_made_when(struct object *object, const char *path)
{
	struct stat st;
	if (lstat(path, &st) == 0)
		object->since_ms = (int64_t)st.st_mtim.tv_sec * 1000;
}

int object_is_there(const struct object *object, int dirfd, const char *name, struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_sys(err, "cannot look at '%s'", object->what);
	bool same = st.st_dev == object->st.st_dev && st.st_ino == object->st.st_ino &&
		    (st.st_mode & S_IFMT) == (object->st.st_mode & S_IFMT);
	/* A directory changes with what is taken out of it. */
	if (same && !S_ISDIR(st.st_mode))
		same = st.st_ctim.tv_sec == object->st.st_ctim.tv_sec &&
		       st.st_ctim.tv_nsec == object->st.st_ctim.tv_nsec;
	if (same)
		return 1;
	return error_set(err, ERROR_CONFLICT, "'%s' is another one meanwhile", object->what);
}

static int by_id(const void *key, const void *owner)
{
	return strcmp(key, ((const struct owner *)owner)->id);
}

const struct owner *ledger_owner(const struct ledger *ledger, const char *id)
{
	if (!ledger->owner_count || !id[0])
		return NULL;
	return bsearch(id, ledger->owners, ledger->owner_count, sizeof(*ledger->owners), by_id);
}

/* --- judgement --- */

static void judge(struct object *object, const struct owner *owner)
{
	object->orphan = false;
	object->why = NULL;
	str_copy(object->owner, sizeof(object->owner),
		 owner		 ? owner->name
		 : object->id[0] ? ""
				 : "banger");
	if (object->need == NEED_MAKER && !object->held && !(owner && owner->busy))
		object->why = "half-made, and nobody is making it";
	else if (object->need == NEED_RUN && owner && !owner->runs && !owner->busy && !object->held)
		object->why = "its VM does not run";
	else if (object->need == NEED_USER && !object->held)
		object->why = "nobody uses it";
	else if (object->id[0] && object->need != NEED_NOTHING && !owner)
		object->why = "of a VM that is in no record";
	object->orphan = object->why != NULL;
}

/* What a hypervisor runs on is as much a user's as the process is, and goes after it. */
static void spare_with_process(struct ledger *ledger, const struct object *process)
{
	for (size_t i = 0; i < ledger->objects.count; i++)
		if (!strcmp(ledger->objects.at[i].id, process->id))
			ledger->objects.at[i].data |= process->data;
}

void ledger_judge(struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->objects.count; i++) {
		struct object *object = &ledger->objects.at[i];
		judge(object, ledger_owner(ledger, object->id));
	}
	for (size_t i = 0; i < ledger->objects.count; i++)
		if (ledger->objects.at[i].pid && ledger->objects.at[i].orphan)
			spare_with_process(ledger, &ledger->objects.at[i]);
}

int ledger_look(struct ledger *ledger, struct error *err)
{
	ledger->now_ms = clock_wall_ms();
	int failed = 0;
	for (size_t i = 0; ledger_kinds[i] && !failed; i++)
		failed = ledger_kinds[i]->probe(ledger, err) < 0
				 ? error_wrap(err, "looking for %s", ledger_kinds[i]->name)
				 : 0;
	ledger_judge(ledger);
	return failed;
}

void ledger_clear(struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->objects.count; i++)
		free(ledger->objects.at[i].what);
	object_vec_clear(&ledger->objects);
}

static int64_t min_age_ms(void)
{
#ifdef BANGER_FAILPOINTS
	/* Nobody can make a process that is older than it is. */
	return (int64_t)env_number("BANGER_GC_MIN_AGE_MS", LEDGER_MIN_AGE_MS);
#else
	return LEDGER_MIN_AGE_MS;
#endif
}

bool ledger_takes(const struct ledger *ledger, const struct object *object, bool data)
{
	return object->orphan && object->from->discard && (data || !object->data) &&
	       (object->maker_gone || ledger->now_ms - object->since_ms >= min_age_ms());
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
	const unsigned char *at = bytes; /* FNV-1a */
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ at[i]) * UINT64_C(1099511628211);
	return hash;
}

uint64_t ledger_digest(const struct ledger *ledger, bool data)
{
	uint64_t hash = UINT64_C(14695981039346656037);
	for (size_t i = 0; i < ledger->objects.count; i++) {
		const struct object *object = &ledger->objects.at[i];
		if (!ledger_takes(ledger, object, data))
			continue;
		hash = mix(hash, object->what, strlen(object->what) + 1);
		hash = mix(hash, &object->st.st_ino, sizeof(object->st.st_ino));
		hash = mix(hash, &object->start_ticks, sizeof(object->start_ticks));
		hash = mix(hash, &object->number, sizeof(object->number));
	}
	return hash;
}

int ledger_discard(const struct ledger *ledger, const struct object *object, struct error *err)
{
	FAILPOINT_STEP("before", object->from->name);
	if (object->from->discard(ledger, object, err) < 0)
		return -1;
	FAILPOINT_STEP("after", object->from->name);
	return 0;
}

void ledger_steps_print(FILE *to)
{
	for (const struct ledger_kind *const *row = ledger_kinds; *row; row++)
		if ((*row)->discard)
			fprintf(to, "gc\t%s\n", (*row)->name);
}
