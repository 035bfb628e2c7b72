/* Which actions go through which phases, and the one table of what a VM is made of. */
#include "exec/capability.h"

const struct capability *const capabilities[] = {
	&cap_directory,	 &cap_system_disk, &cap_work_disk, &cap_host_key, &cap_made,
	&cap_network,	 &cap_rules,	   &cap_seed,	   &cap_sockets,  &cap_access,
	&cap_hypervisor, &cap_handles,	   NULL,
};

static const enum phase phases_of[ACTION_COUNT_][6] = {
	[ACTION_CREATE] = { PHASE_RELEASE, PHASE_MAKE, PHASE_PREPARE },
	[ACTION_START] = { PHASE_RELEASE, PHASE_FIT, PHASE_PREPARE },
	[ACTION_RESTART] = { PHASE_RELEASE, PHASE_FIT, PHASE_PREPARE },
	[ACTION_REIMAGE] = { PHASE_RELEASE, PHASE_RETIRE, PHASE_MAKE, PHASE_FIT, PHASE_PREPARE },
	[ACTION_STOP] = { PHASE_RELEASE },
	[ACTION_DELETE] = { PHASE_RELEASE, PHASE_REMOVE },
};
/* LIVE changes the guest, or what a stopped VM will start with. */
static const enum phase live_running[] = { PHASE_CHANGE, PHASE_END },
			live_stopped[] = { PHASE_FIT, PHASE_END };

static const enum phase *action_phases(enum action_kind kind, bool runs)
{
	if (kind == ACTION_LIVE)
		return runs ? live_running : live_stopped;
	if (!phases_of[kind][0])
		BUG("'%s' is nothing to execute", action_kind_name(kind));
	return phases_of[kind];
}

struct steps {
	const struct step **at;
	size_t count;
};

static void push(struct steps *steps, const struct step *step)
{
	if (!step->run)
		return;
	if (steps->count == STEPS_MAX)
		BUG("an action of more than %d steps", STEPS_MAX);
	steps->at[steps->count++] = step;
}

/* job NULL: of a VM that has everything. */
static void push_phase(struct steps *steps, enum phase phase, const struct job *job)
{
	size_t rows = ARRAY_COUNT(capabilities) - 1;
	bool goes = phase == PHASE_RELEASE || phase == PHASE_REMOVE;
	bool ask = job && (phase == PHASE_MAKE || phase == PHASE_PREPARE);
	for (size_t i = 0; i < rows; i++) {
		const struct capability *row = capabilities[goes ? rows - 1 - i : i];
		if (!ask || !row->wanted || row->wanted(job))
			push(steps, &row->steps[phase]);
	}
	for (const struct step *step = steps_live; phase == PHASE_CHANGE && step->run; step++)
		push(steps, step);
}

size_t job_steps(const struct job *job, const struct step *ret[STEPS_MAX])
{
	struct steps steps = { ret, 0 };
	bool runs = job->pidfd >= 0 || job->tidy,
	     shall_run = job->want && job->want->state == STATE_RUNNING;
	for (const enum phase *phase = action_phases(job->kind, runs); *phase; phase++)
		if ((*phase != PHASE_RELEASE || runs) && (*phase != PHASE_PREPARE || shall_run))
			push_phase(&steps, *phase, job);
	return steps.count;
}

void steps_print(FILE *to)
{
	for (enum action_kind kind = 0; kind < ACTION_COUNT_; kind++) {
		const struct step *list[STEPS_MAX];
		struct steps steps = { list, 0 };
		bool runs = kind != ACTION_CREATE && kind != ACTION_START;
		if (kind != ACTION_LIVE && !phases_of[kind][0])
			continue;
		for (const enum phase *phase = action_phases(kind, runs); *phase; phase++)
			if (*phase != PHASE_RELEASE || runs)
				push_phase(&steps, *phase, NULL);
		for (size_t i = 0; i < steps.count; i++)
			fprintf(to, "%s\t%s\n", action_kind_name(kind), list[i]->name);
	}
}
