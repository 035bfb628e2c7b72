/* Theory of operation
 *
 * Away are all that count and are not ready, whoever's doing that is: a set that is short of
 * replicas already is no set to take more from. By our doing are away those that a job changes and
 * those that were changed and are not ready yet. Two rules follow:
 *
 *   one that is ready goes      while fewer than max_unavailable are away
 *   one that is away already    while fewer than max_unavailable are away by our doing: changing
 *                               it takes nothing from anybody, and perhaps it is what mends it
 *
 * Both keep those by our doing at or below the limit, which is one until the first has shown that
 * the change can be lived with. A failure of a changed one stops all others.
 * It may go itself: what it is to be changed to is not what it failed with. */
#include "plan/roll.h"

static bool is_away(const struct roll_member *member)
{
	return member->counts && !member->ready;
}

static bool is_ours(const struct roll_member *member)
{
	return member->counts && (member->changing || (!member->ready && !member->pending));
}

enum roll_verdict roll_may_go(const struct roll_member *members, size_t count, size_t self,
			      uint32_t max_unavailable, size_t *ret_for)
{
	size_t away = 0, ours = 0;
	bool proven = false; /* somebody is ready as all shall be */
	size_t first_away = self, first_ours = self;
	if (members[self].unknown) {
		*ret_for = self;
		return ROLL_WAIT;
	}
	for (size_t i = 0; i < count; i++) {
		if (i == self)
			continue;
		if (members[i].counts && members[i].failed) {
			*ret_for = i;
			return ROLL_STOPPED;
		}
		proven |= members[i].counts && members[i].ready && !members[i].pending;
		if (is_away(&members[i]) && !away++)
			first_away = i;
		if (is_ours(&members[i]) && !ours++)
			first_ours = i;
	}
	size_t limit = proven && max_unavailable ? max_unavailable : 1;
	bool takes_one = members[self].counts && members[self].ready;
	*ret_for = takes_one ? first_away : first_ours;
	return (takes_one ? away : ours) < limit ? ROLL_GO : ROLL_WAIT;
}
