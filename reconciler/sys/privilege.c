#include "sys/privilege.h"
#include "sys/child.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int privilege_keep(const unsigned *capabilities, size_t count, struct error *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];
	uint64_t keep = 0;
	for (size_t i = 0; i < count; i++)
		keep |= UINT64_C(1) << capabilities[i];
	if (child_bound(keep) < 0 || syscall(SYS_capget, &header, have) < 0)
		return error_sys(err, "cannot drop capabilities");
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		/* What a container has taken away already stays so. */
		have[i].permitted &= (uint32_t)(keep >> 32 * i);
		have[i].effective = have[i].permitted;
		have[i].inheritable = 0;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) < 0 ||
	    syscall(SYS_capset, &header, have) < 0)
		return error_sys(err, "cannot drop capabilities");
	return 0;
}
